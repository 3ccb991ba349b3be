// SPDX-License-Identifier: ISC
#pragma once

/* Shared by the two halves of the world: what the cores ask for (world_step.c), and time, people
 * and trouble (world.c). */

#include "world.h"

enum {
    EVENTS_MAX = 4096,
    ROWS_MAX = 64,
    MACHINES_MAX = 32,
    DEATH_MS = 5000, /* out of reach this long: others take it for dead */
    DEATH_CHECK_MS = 1000
};

enum due_kind { DUE_MESSAGE, DUE_SYNC, DUE_FIT, DUE_PREPARE, DUE_LAUNCH, DUE_RELEASE };

static const int64_t START_WALL_MS = 1790000000000;

/* Something that will happen at a node. */
struct due {
    int64_t at_ms;
    uint64_t order; /* among equals, and the identity in traces */
    enum due_kind kind;
    uint32_t node, from;
    uint32_t life; /* of the node's daemon; a dead one's events are void, but for messages */
    uint64_t ticket;
    bool forget;
    struct fleet_key key;
    struct fleet_row *row;
    struct fleet_msg *message;
    uint32_t attempt;
};

struct machine {
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    bool running;
};

struct node {
    struct fleet *fleet; /* NULL: down */
    uint32_t life;
    bool revoked;
    int64_t sync_free_ms; /* rows reach the disk in order */
    int64_t down_since_ms;
    uint32_t row_count;
    struct fleet_row *rows[ROWS_MAX];
    uint32_t machine_count;
    struct machine machines[MACHINES_MAX];
    bool fit_fails, prepare_fails, launch_fails;
    int64_t heard_ms[WORLD_NODES_MAX];
    enum fleet_node_state told[WORLD_NODES_MAX];
};

struct wish {
    bool used;
    struct ppn_request_id id;
    uint32_t launches; /* that succeeded, ever */
    bool removed;
    uint32_t removed_at;
    bool banished; /* it ran on a node that was revoked, which is no part of the pool any more */
    bool said[WORLD_NODES_MAX][FLEET_NEWS_LOST + 1];
    bool denied[WORLD_NODES_MAX]; /* that origin said: there is no VM */
};

struct world {
    uint32_t count;
    struct ppn_random random;
    struct world_faults faults;
    int64_t now_ms;
    int64_t death_check_ms;
    uint64_t order, hash;
    FILE *trace;
    const int *ranking;
    bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX];
    struct node nodes[WORLD_NODES_MAX];
    struct wish wishes[WORLD_REQUESTS_MAX];
    uint32_t due_count;
    struct due dues[EVENTS_MAX];
    bool wrong;
    char problem[256];
};

void __attribute__((format(printf, 2, 3)))
world_wrong(struct world *world, const char *format, ...);
void __attribute__((format(printf, 2, 3))) world_say(struct world *world, const char *format, ...);
struct ppn_node_id world_node_id(uint32_t node);
uint32_t world_node_number(const struct ppn_node_id *id);
int world_wish_number(const struct world *world, const struct ppn_request_id *id);
uint32_t world_draw(struct world *world, uint32_t max);
bool world_reachable(const struct world *world, uint32_t a, uint32_t b);
struct fleet_event world_event(const struct world *world, enum fleet_event_kind kind);
void world_step(struct world *world, uint32_t node, const struct fleet_event *event);
enum ppn_error world_try_step(struct world *world, uint32_t node, const struct fleet_event *event);
struct machine *world_find_machine(struct node *node, const struct fleet_key *key);
void world_drop_machine(struct node *node, struct machine *machine);
void world_launch(struct world *world, uint32_t node, const struct fleet_key *key);
void world_on_sync(struct world *world, const struct due *due);
void world_on_work(struct world *world, const struct due *due);
