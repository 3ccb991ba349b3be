// SPDX-License-Identifier: ISC
#pragma once

/* A handful of fleet cores in one process and virtual time: a network that loses, repeats, delays
 * and is cut; disks that forget what was not synced when the daemon dies; a hypervisor that takes
 * its time, fails, and whose machines outlive the daemon. The world checks after every step that no
 * request ever got two machines and that nothing was said that is not true. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/random.h"
#include "fleet/fleet.h"

enum { WORLD_NODES_MAX = 5, WORLD_REQUESTS_MAX = 8, WORLD_NEWS_MAX = 64 };

/* Chances are per million. */
struct world_faults {
    uint32_t loss, repeat;
    uint32_t delay_max_ms; /* of a message */
    uint32_t sync_max_ms;  /* of a row */
    uint32_t sync_fails;   /* a full disk */
    uint32_t fit_refuses;
    uint32_t prepare_fails, launch_fails;
    uint32_t work_max_ms;
    uint32_t ranks_dead; /* a candidate list that names nodes out of reach */
};

struct world;

struct world *world_new(uint32_t nodes, uint64_t seed, const struct world_faults *faults);
void world_free(struct world *world);
void world_set_faults(struct world *world, const struct world_faults *faults);
/* One line per message, row, piece of work and news; NULL: none. */
void world_trace(struct world *world, FILE *trace);
/* A hash of everything that every core ever said. */
uint64_t world_hash(const struct world *world);
int64_t world_now_ms(const struct world *world);

/* The first violation, or NULL. */
const char *world_problem(const struct world *world);

/* Runs until that time; false once something is wrong. */
bool world_run(struct world *world, int64_t until_ms);

void world_kill(struct world *world, uint32_t node); /* the daemon; machines live on */
void world_start(struct world *world, uint32_t node);
bool world_up(const struct world *world, uint32_t node);
void world_cut(struct world *world, uint32_t a, uint32_t b, bool cut);
/* Whether `node` heard of `of` at that time or later. */
bool world_heard(const struct world *world, uint32_t node, uint32_t of, int64_t since_ms);
/* Everybody hears that the node is no member any more; it is killed for good. */
void world_revoke(struct world *world, uint32_t node);
/* Sets how node ranks candidates: NULL: at random. `order` lists node numbers, -1 ends. */
void world_rank(struct world *world, const int *order);
/* Next answers of that node's hypervisor: fails once. */
void world_fail_next(struct world *world, uint32_t node, bool fit, bool prepare, bool launch);

/* Submits request number r (its id is made at first use) at a node. */
enum ppn_error world_submit(struct world *world, uint32_t node, uint32_t r, bool fresh);
enum ppn_error world_give_up(struct world *world, uint32_t node, uint32_t r);
/* Removes the running machine of r, wherever it is; false: there is none on a live node. */
bool world_remove(struct world *world, uint32_t r);

bool world_said(const struct world *world, uint32_t node, uint32_t r, enum fleet_news news);
int world_machine_node(const struct world *world, uint32_t r); /* -1: none */

/* After everything was healed and had its time: what must hold at the end. */
bool world_check_end(struct world *world);
