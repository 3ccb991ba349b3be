// SPDX-License-Identifier: ISC
#pragma once

/* What is still to happen in a world, soonest first; of two at one instant the one put in first. */

#include "world.h"

enum event_kind {
    EVENT_TIMER,
    EVENT_PACKET,
    EVENT_REFUSED,
    EVENT_PERSISTED,
    EVENT_START,
    EVENT_CALL,
    EVENT_WAKE
};

struct world_event {
    struct ppn_instant at;
    uint64_t order;
    enum event_kind kind;
    uint32_t node, from;
    uint32_t value;               /* epoch, or the agent's start that it is meant for */
    struct gossip_packet *packet; /* owned; items point behind it */
    void *payload;                /* owned */
    int64_t slept_ns;
};

void world_heap_push(struct world *world, struct world_event event);

/* Of a heap that holds something. */
struct world_event world_heap_pop(struct world *world);
