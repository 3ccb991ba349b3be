// SPDX-License-Identifier: ISC
#pragma once

/* A whole network of real gossip cores in one process, on virtual time: the fake clock, the fake
 * network and the fake machines around them. Everything random comes from the seed, so the same
 * seed gives the same run, and the same trace hash, on every machine.
 *
 * All cores share one gossip pool. Signatures are stubbed by a keyed hash (same interface,
 * forgeable by whoever reads this file), because a network of thousands would do nothing else. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/random.h"
#include "gossip/gossip.h"

enum {
    WORLD_NAME_MAX = 16,
    /* What docs/protocol-gossip.md promises: over any span of time a node sends at most so much a
     * second, and on top one burst of eight seconds' worth, and two seconds' worth of answers,
     * which are given at once and paid for later. */
    WORLD_BANDWIDTH_BYTES_S = 16 * 1024,
    WORLD_BURST_BYTES = 10 * WORLD_BANDWIDTH_BYTES_S
};

struct world_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t loss_per_million; /* of every packet, each way */
    uint32_t duplicate_per_million;
    int64_t delay_us, jitter_us; /* one way; jitter above delay reorders */
    bool warm; /* everybody starts knowing what everybody will sign first: a network at rest, which
                  a large one would take long to reach through its bandwidth caps */
    bool keep_views; /* disks: needed for restarts, N*N in size */
    FILE *story;     /* one line per state change, or NULL */
};

/* What the machine of one node is in; all may be changed at any time. */
struct world_node {
    struct gossip *core;
    struct ppn_node_id id;
    char name[WORLD_NAME_MAX];
    bool running; /* the agent */
    bool outside; /* no member: nobody starts it, nobody waits for it */
    bool host;    /* the machine: without it nothing answers, with it a dead agent refuses */
    bool healthy; /* nothing was done to it lately: whoever calls it dead is wrong */
    bool blamed;  /* a fault is or was on it: may be taken out of placement */
    struct ppn_instant paused_until;
    bool asleep;                /* paused with its machine: world_sleep */
    struct ppn_duration slept;  /* its monotonic clock is so far behind the world's */
    uint32_t drop_in, drop_out; /* per million, on top of the network's loss */
    uint32_t group;             /* packets pass only inside one group */
    uint32_t epoch;             /* on its disk */
    uint32_t starts;
    struct world_row *rows; /* its view environment */
    uint32_t row_count, row_capacity;
    struct ppn_instant timer;

    /* bookkeeping of the present fault on this node */
    struct ppn_instant fault_at, first_suspect, first_lost, everywhere, dead_everywhere;
    uint32_t suspected_by, lost_by, dead_by; /* running nodes that hold it so now; lost: or dead */

    /* what it sent, as a bucket that leaks at the rate: bytes times 10^9 */
    int64_t sent_level;
    struct ppn_instant sent_at;
};

struct world_row {
    struct ppn_node_id node;
    enum gossip_item_kind kind;
    uint32_t size;
    uint8_t bytes[GOSSIP_ITEM_SIZE_MAX];
};

struct world {
    struct world_options options;
    struct ppn_random random;
    struct ppn_instant now;
    struct gossip_pool *pool;
    struct world_node *nodes;
    bool *cuts; /* what does not pass from one node to another: [from * nodes + to]; NULL: none */
    uint32_t running;
    struct world_event *heap;
    uint32_t heap_count, heap_capacity;
    uint64_t order;
    uint64_t trace;
    uint64_t steps, packets;
    bool judge_subjects_only; /* a sick observer who gives up a healthy node is wrong, too */
    uint64_t false_dead, false_suspect, clones, forged;
    uint64_t bytes_membership, bytes_load; /* of cores that are gone */
    uint64_t burst_bytes_most;             /* that any node had sent beyond its rate */
    bool refused_answers;                  /* hosts of dead agents answer with ICMP */
    void (*on_member)(struct world *, uint32_t observer, uint32_t subject,
                      const struct gossip_action *);
    /* Whom the core is told at its start, into room for all nodes; NULL: all nodes. */
    uint32_t (*members_of)(struct world *, uint32_t node, struct ppn_node_id *members);
    void (*on_start)(struct world *, uint32_t node); /* after the core's START */
    void (*on_stop)(struct world *, uint32_t node);  /* before the core goes */
    void (*on_call)(struct world *, uint32_t node, void *payload);
    void *context; /* of whoever set these */
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *world);

/* Admits all nodes to all views and starts the agents, spread over `spread`. */
void world_start_all(struct world *world, struct ppn_duration spread);
void world_start(struct world *world, uint32_t node);
/* Everybody hears one packet from everybody: the other half of a warm start. */
void world_acquaint(struct world *world);
void world_stop(struct world *world, uint32_t node);  /* kill -9 of the agent */
void world_leave(struct world *world, uint32_t node); /* graceful stop */
/* SIGSTOP: packets and timers wait. */
void world_pause(struct world *world, uint32_t node, struct ppn_duration time);
/* The machine sleeps: what is sent to it is lost, its monotonic clock stands, and when it wakes its
 * agent is told first of all that it slept. */
void world_sleep(struct world *world, uint32_t node, struct ppn_duration time);

/* A node's monotonic clock, and when in the world's time it will show `clock`. */
struct ppn_instant world_clock(const struct world *world, uint32_t node);
struct ppn_instant world_when(const struct world *world, uint32_t node, struct ppn_instant clock);
void world_body(struct world *world, uint32_t node, enum gossip_plane plane, struct ppn_slice body);
void world_event(struct world *world, uint32_t node, const struct gossip_event *event);

/* Hands `payload` (from malloc; freed afterwards, delivered or not) to on_call at `at`, if the
 * agent that runs on `node` now still does then. */
void world_call(struct world *world, uint32_t node, struct ppn_instant at, void *payload);

/* Cuts one direction between two nodes, or mends it. */
void world_cut(struct world *world, uint32_t from, uint32_t to, bool cut);
/* Mends all that is between nodes: cuts and groups. */
void world_mend(struct world *world);

/* Whether a packet from one node to the other would arrive now. */
bool world_connected(const struct world *world, uint32_t a, uint32_t b);

/* Mixes something of the caller's into the trace hash. */
void world_trace(struct world *world, uint64_t value);

/* Runs everything until `until`. */
void world_run(struct world *world, struct ppn_instant until);
void world_run_for(struct world *world, struct ppn_duration time);

/* Index of a node id; UINT32_MAX: none. */
uint32_t world_find(const struct world *world, const struct ppn_node_id *id);
enum gossip_state world_state(const struct world *world, uint32_t observer, uint32_t subject);

/* Nothing has happened to the node yet: of the times of a fault. */
void world_fault_clear(struct world_node *node);

/* Every running node holds every running node for alive, and all views are equal. */
bool world_converged(const struct world *world);

/* The cores' own count plus what restarted ones had sent. */
void world_bytes(const struct world *world, uint64_t *membership, uint64_t *load);
