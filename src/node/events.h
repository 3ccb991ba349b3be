// SPDX-License-Identifier: ISC
#pragma once

/* `ppn events`: everybody who watches, and what they are told. */

#include <stdbool.h>
#include <stdint.h>

#include "api/api_request.h"
#include "base/id.h"

struct node;
struct node_change;
struct node_events;
struct node_join;
struct node_vm;

struct node_events *node_events_open(struct node *node);
void node_events_close(struct node_events *events);

/* A new watcher: present state, "synced", then changes. */
void node_events_subscribe(struct node_events *events, struct api_request *request);

void node_events_gossip(struct node_events *events, const struct node_change *change);
void node_events_vm(struct node_events *events, const struct node_vm *vm, bool removed);
void node_events_join(struct node_events *events, const struct node_join *join, bool ended);
/* Tells what the log proves to be wrong since it was told last. */
void node_events_alarms(struct node_events *events);
/* `index` of the admission log's records. New alarms that follow from it come after it. */
void node_events_log_entry(struct node_events *events, uint32_t index);
