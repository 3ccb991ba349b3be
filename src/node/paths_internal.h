// SPDX-License-Identifier: ISC
#pragma once

/* Shared by paths.c (packets, both ways) and paths_members.c (who, and what they offer). */

#include "node/paths.h"
#include "os/os_loop.h"
#include "wg/path_window.h"
#include "wire/path.h"

struct node_calls;
struct node_fallback;
struct os_raw_udp;

struct member_path {
    struct ppn_node_id id;
    uint64_t tag;
    struct wire_path_key key, relay_key;
    struct path_window window; /* of its questions */
    bool has_profile, is_public;
    struct ppn_profile profile;
    struct ppn_instant called; /* it called us last */
    bool told, was_proven;
    struct ppn_endpoint chosen; /* as the mesh was told */
    uint16_t keepalive_s, mtu;
    struct ppn_instant unproven; /* since when nothing is proven; PPN_NEVER */
    struct path core;
    struct ppn_instant deadline; /* of the core, as of its last step */
};

struct node_paths {
    struct node *node;
    struct os_raw_udp *raw;
    struct node_fallback *fallback; /* NULL: this node has a public address */
    uint64_t fallback_nonce;        /* of its last question; they count up */
    struct node_calls *calls;       /* NULL: the port could not be had */
    struct os_timer timer;
    uint64_t tag, counter;
    struct ppn_endpoint seen_by_node, seen_by_relay; /* where our packets come from; port 0 */
    bool announced;
    bool crowded; /* more members than NODE_PATHS_MAX, and said so */
    uint32_t count;
    struct member_path *members[NODE_PATHS_MAX];
    struct path_updates updates;
};

struct member_path *node_paths_find(const struct node_paths *paths, const struct ppn_node_id *id);
/* Whose relay listens at that address; NULL. */
const struct member_path *node_paths_relay_at(const struct node_paths *paths,
                                              const struct ppn_endpoint *to);
/* Whether a member names that as its public address. */
bool node_paths_public_at(const struct member_path *member, const struct ppn_endpoint *endpoint);

/* One step of a member's core, and what follows from it. */
void node_paths_step(struct node_paths *paths, struct member_path *member,
                     const struct path_event *event);
/* Ways over TCP came or went; over: UDP works again. */
void node_paths_fallback(struct node_paths *paths, bool over);
/* After steps: the timer stands at the next deadline. */
void node_paths_arm(struct node_paths *paths);
