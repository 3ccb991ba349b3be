// SPDX-License-Identifier: ISC
#pragma once

/* Nodes with real path cores and real relay cores in a network of homes (paths_net.h). WireGuard is
 * modelled as far as paths see it: one endpoint a peer, which follows whatever authentic packet
 * came last, and counters that are read every two seconds. What must always hold is checked at each
 * step of each core. */

#include "paths_net.h"
#include "wg/path.h"
#include "wg/path_window.h"
#include "wg/relay.h"

enum { PATHS_NODES_MAX = NET_HOSTS_MAX, PATHS_BROKEN_MAX = 160, PATHS_STORM_PER_S = 48 };

/* One node's end of a pair. */
struct paths_link {
    struct path core;
    struct path_window window;
    struct ppn_instant deadline, called_at, heard_at;
    bool has_endpoint;
    struct ppn_endpoint endpoint; /* WireGuard's */
    uint64_t tx_bytes, rx_bytes;
    bool talks; /* ten packets a second, else one now and then */
    uint32_t turn;
    struct ppn_duration gap; /* longest silence of a talking pair since it was last cleared */
    struct ppn_instant window_from;
    uint32_t asked, asked_most; /* questions within one second */
    enum path_class told;
    uint32_t told_relay;
    bool told_any;
};

struct paths_node {
    bool up, is_public;
    struct relay *relay; /* NULL: none, or it is down */
    bool relays;         /* announces one */
    uint64_t counter;
    struct ppn_endpoint seen_by_node, seen_by_relay;
    struct paths_link links[PATHS_NODES_MAX];
};

struct paths_world {
    struct net net;
    FILE *story; /* or NULL */
    uint32_t count;
    struct paths_node nodes[PATHS_NODES_MAX];
    uint64_t trace, steps, questions, moves;
    uint32_t broken;
    char first_broken[PATHS_BROKEN_MAX];
};

struct paths_world *paths_world_new(uint64_t seed, FILE *story);
void paths_world_free(struct paths_world *world);

uint32_t paths_node(struct paths_world *world, uint32_t segment, bool is_public, bool relays);
/* Everybody is told of everybody. */
void paths_start(struct paths_world *world);
void paths_run_for(struct paths_world *world, struct ppn_duration time);

void paths_move(struct paths_world *world, uint32_t node, uint32_t segment);
void paths_sleep(struct paths_world *world, uint32_t node);
void paths_wake(struct paths_world *world, uint32_t node);
/* The process; a new one knows nothing. */
void paths_relay(struct paths_world *world, uint32_t node, bool runs);
void paths_talk(struct paths_world *world, uint32_t a, uint32_t b, bool talks);
/* Longest silences are counted from now on. */
void paths_clear_gaps(struct paths_world *world);

/* The class of the proven way in use; -1: none. */
int paths_class(const struct paths_world *world, uint32_t from, uint32_t to);
/* The best that the network allows. */
int paths_best(const struct paths_world *world, uint32_t from, uint32_t to);
void paths_broken(struct paths_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
