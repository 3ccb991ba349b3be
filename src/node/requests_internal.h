// SPDX-License-Identifier: ISC
#pragma once

/* Between the three files of the requests flow: requests.c carries the core's updates, runs.c
 * speaks with the people who wait, work.c does what the core asks of this node as a target. */

#include "fleet/fleet.h"
#include "node/node.h"
#include "node/peers.h"
#include "node/requests.h"

struct queued;
struct run;
struct work;

struct node_requests {
    struct node *node;
    struct fleet *core;
    struct os_timer timer, ready_timer;
    struct os_closure drain;
    struct queued *queue, **queue_end;
    struct run *runs;
    struct work *works;
};

/* Copies the event and gives it to the core before the loop sleeps. */
void node_requests_event(struct node_requests *requests, const struct fleet_event *event);
/* Gives it to the core now; not while an update is being carried out. */
enum ppn_error node_requests_step(struct node_requests *requests,
                                  struct fleet_event *event) PPN_CHECK;

/* runs.c */
void node_runs_news(struct node_requests *requests, const struct fleet_action *action);
void node_runs_ready(void *context);
void node_runs_close(struct node_requests *requests);
void node_requests_candidates(struct node_requests *requests, const struct fleet_action *action);
void node_requests_members(struct node_requests *requests, const struct fleet_action *action);

/* work.c */
void node_work_fit(struct node_requests *requests, const struct fleet_action *action);
void node_work_prepare(struct node_requests *requests, const struct fleet_action *action);
void node_work_launch(struct node_requests *requests, const struct fleet_action *action);
void node_work_release(struct node_requests *requests, const struct fleet_action *action);
void node_work_close(struct node_requests *requests);
