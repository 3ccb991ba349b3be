// SPDX-License-Identifier: ISC
#pragma once

/* Between paths_world.c (what nodes do) and paths_make.c (what is done to them). */

#include "paths_world.h"

enum {
    RELAY_PORT = 51821,
    MAILBOX_FIRST = 51822,
    MAILBOXES = 32,
    SMALL = 80,
    PROFILE_MS = 800, /* gossip carries what a node says of itself */
    NETLINK_MS = 250,
    WG_SET_MS = 20,
    READ_MS = 2000,
    TALK_MS = 100,
    GOSSIP_MS = 15000
};

enum event { EVENT_PACKET, EVENT_PROFILE, EVENT_VOID, EVENT_SET, EVENT_READ, EVENT_TALK };

static inline struct paths_link *paths_link(struct paths_world *world, uint32_t a, uint32_t b)
{
    return &world->nodes[a].links[b];
}

/* One packet inside the mesh, if it is time for one. */
void paths_say_something(struct paths_world *world, uint32_t a, uint32_t b);
/* What a node says of itself goes to all, by and by. */
void paths_announce(struct paths_world *world, uint32_t node);
