// SPDX-License-Identifier: ISC
#pragma once

/* The control plane on top of a gossip world: on every node a real admission log (control_log.h), a
 * real fleet core, real placement over what its gossip core knows, and fakes for the rest: a disk
 * with a write queue, peer connections, and a hypervisor whose machines outlive the agent and never
 * move. */

#include "fleet/fleet.h"
#include "world.h"

enum {
    CONTROL_NODES_MAX = 32,
    CONTROL_REQUESTS_MAX = 64,
    CONTROL_MACHINES_MAX = 64,
    CONTROL_ROWS_MAX = 256,
    CONTROL_WRITES_MAX = 256,
    CONTROL_SPEC_SIZE = 16
};

/* A machine on one host, from the first byte of its disk on. */
struct control_machine {
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    uint64_t memory_bytes;
    bool prepared, launched;
};

struct control_row {
    struct fleet_row row;
    uint8_t spec[CONTROL_SPEC_SIZE];
};

struct control_write {
    bool put;
    uint64_t ticket;
    struct fleet_key key;
    struct control_row row;
};

struct control_node {
    struct fleet *fleet;
    struct ppn_instant timer, disk_free;
    int64_t wall_skew_ms;
    struct control_machine machines[CONTROL_MACHINES_MAX];
    uint32_t machine_count;
    struct control_row rows[CONTROL_ROWS_MAX];
    uint32_t row_count;
    struct control_write writes[CONTROL_WRITES_MAX];
    uint32_t write_count;
};

/* What the client saw, per request. */
struct control_request {
    struct ppn_request_id id;
    uint64_t memory_bytes;
    uint32_t origins[2];
    uint32_t origin_count;
    bool accepted[2];
};

struct control {
    struct world *world;
    struct control_log *log;
    struct ppn_random random;
    struct control_node nodes[CONTROL_NODES_MAX];
    struct control_request requests[CONTROL_REQUESTS_MAX];
    uint32_t request_count;
    uint32_t fail_per_million; /* of works and writes */
    uint32_t broken;
    char first_broken[160];
    int64_t launches;
    int64_t joins, revokes; /* people let in and thrown out */
    int64_t false_dead;
};

struct control *control_new(struct world *world);
void control_free(struct control *control);

/* A person asks `node` for a machine. */
struct control_request *control_ask(struct control *control, uint32_t node, uint64_t memory_bytes);
/* The same request once more, at the same or another node. */
void control_ask_again(struct control *control, struct control_request *request, uint32_t node);

/* At most one machine a request, anywhere, ever. Called with each launch, which is the only step
 * that can break it, and now and then besides. */
void control_check(struct control *control);

/* After everything healed: every accepted request settled, with its one machine or none; nothing
 * left over on any host. False with `why` while that is not so. */
bool control_settled(struct control *control, char *why, size_t capacity);
