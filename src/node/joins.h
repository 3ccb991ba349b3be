// SPDX-License-Identifier: ISC
#pragma once

/* Machines that ask to become members: the table of those that wait, on whichever member they
 * knocked, told to every member so that any of them can show it and the one with the admin key can
 * decide. A row lives as long as its knocking goes on. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/request.h"
#include "base/facts.h"
#include "base/slice.h"
#include "base/time.h"
#include "wire/peer.h"

struct node;
struct node_joins;
struct node_link;

enum {
    NODE_JOINS_MAX = 256,
    NODE_JOINS_PER_MEMBER_MAX = 128, /* of these, told by one member (or knocking here) */
    NODE_JOIN_REPEAT_S = 15,         /* how often a waiting request is told again */
    NODE_JOIN_EXPIRY_S = 50          /* forgotten when not told again */
};

struct node_join {
    struct admission_request request;
    struct ppn_endpoint from;
    struct ppn_node_id told_by;
    int64_t asked_unix_ms;
    struct ppn_instant expires;
};

struct node_joins *node_joins_open(struct node *node);
void node_joins_close(struct node_joins *joins);

/* A request that knocked here (its signature was checked): shown, and told to the other members. */
void node_joins_knock(struct node_joins *joins, const struct admission_request *request,
                      struct ppn_slice bytes, const struct ppn_endpoint *from);
/* Another member's word that somebody knocked there. */
void node_joins_told(struct node_joins *joins, const struct ppn_node_id *by,
                     const struct wire_peer_frame *frame);

uint32_t node_joins_count(struct node_joins *joins);
/* NULL beyond the end; ordered by time of asking. */
const struct node_join *node_joins_at(struct node_joins *joins, uint32_t index);
