// SPDX-License-Identifier: ISC
#include "control_play.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "control_faults.h"
#include "control_internal.h"
#include "control_log.h"
#include "placement/placement.h"

enum {
    NODES_LEAST = 3,
    NODES_SPAN = 18,
    PHASE_ONE_S = 150,
    REQUESTS = 24,
    PART_S = 600,    /* who was lost time and again is held for some minutes */
    SETTLE_S = 3600, /* the longest patience of all parts, and some */
    TWICE_NODES_MAX = 9
};

_Static_assert((int)CONTROL_NODES_MAX == (int)CONTROL_PLAY_NODES_MAX,
               "what the command line lets through");

struct play {
    struct world *world;
    struct control *control;
    struct faults faults;
    struct ppn_random random;
};

static uint32_t any_node(struct play *p)
{
    return (uint32_t)ppn_random_below(&p->random, p->world->options.nodes);
}

/* The same id at a second node is a client that tried elsewhere. Only in whole networks, of an id
 * that everybody was heard of since, at a node that knows the first one as a member: fleet.c tells
 * what a client that reaches both sides of a cut must expect, and news of a joiner that is still
 * under way is such a cut. */
static void ask_twice(struct play *p, struct control_request *request)
{
    struct world *w = p->world;
    uint32_t node = any_node(p);
    bool whole = control_faults_whole(&p->faults) && w->options.nodes <= TWICE_NODES_MAX &&
                 p->faults.flaws == 0;
    whole = whole && control_log_is_member(p->control, node, request->origins[0]);
    if (!whole && node != request->origins[0])
        return;
    if (ppn_due(w->nodes[node].paused_until, w->now))
        control_ask_again(p->control, request, node);
}

static void people(struct play *p, uint32_t second)
{
    struct control *c = p->control;
    uint32_t node = any_node(p);
    control_log_people(c);
    if (second % (PHASE_ONE_S / REQUESTS) == 0 &&
        ppn_due(p->world->nodes[node].paused_until, p->world->now)) {
        uint64_t mib = 256 + ppn_random_below(&p->random, 2745);
        control_ask(c, node, mib * PLACEMENT_MIB);
    }
    if (c->request_count > 0 && ppn_random_chance(&p->random, 200000))
        ask_twice(p, &c->requests[ppn_random_below(&p->random, c->request_count)]);
}

static void run_tenth(struct play *p)
{
    control_faults_tick(&p->faults);
    world_run_for(p->world, ppn_ms(100));
    control_check(p->control);
}

static void phase_one(struct play *p, uint32_t seconds)
{
    for (uint32_t tenth = 0; tenth < 10 * seconds && p->control->broken == 0; tenth++) {
        if (tenth % 10 == 0) {
            control_faults_strike(&p->faults);
            people(p, tenth / 10);
        }
        run_tenth(p);
    }
}

static bool in(uint32_t part, uint32_t node)
{
    return (part >> node & 1) != 0;
}

/* A random half of the members, of whom each knows each as a member: news of a joiner whose seed is
 * not among them has no way to them. */
static uint32_t part_draw(struct play *p)
{
    uint32_t part = 0;
    for (uint32_t i = 0; i < p->world->options.nodes; i++) {
        bool fits = ppn_random_chance(&p->random, 500000) && !p->world->nodes[i].outside &&
                    !control_log_thrown_out(p->control, i);
        for (uint32_t j = 0; j < i && fits; j++)
            fits = !in(part, j) || (control_log_is_member(p->control, i, j) &&
                                    control_log_is_member(p->control, j, i));
        part |= (uint32_t)fits << i;
    }
    return part;
}

/* One log, and each alive in the eyes of each; whoever is thrown out meanwhile is no part of it. */
static bool part_whole(const struct play *p, uint32_t part, char *why, size_t capacity)
{
    const struct world *w = p->world;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        for (uint32_t j = 0; j < w->options.nodes; j++) {
            if (i == j || !in(part, i) || !in(part, j) || control_log_thrown_out(p->control, i) ||
                control_log_thrown_out(p->control, j))
                continue;
            if (!w->nodes[i].running || !w->nodes[j].running) {
                snprintf(why, capacity, "%s or %s does not run", w->nodes[i].name,
                         w->nodes[j].name);
                return false;
            }
            if (world_state(w, i, j) != GOSSIP_ALIVE || !control_log_equal(p->control, i, j)) {
                snprintf(why, capacity, "%s holds %s for %d, %s log", w->nodes[i].name,
                         w->nodes[j].name, (int)world_state(w, i, j),
                         control_log_equal(p->control, i, j) ? "the same" : "another");
                return false;
            }
        }
    }
    return true;
}

static void heal_part(struct play *p, struct scenario_result *result)
{
    char why[SCENARIO_BROKEN_MAX] = "";
    struct ppn_instant from = p->world->now;
    uint32_t part = part_draw(p);
    control_faults_heal_part(&p->faults, part, ppn_random_chance(&p->random, 500000));
    for (uint32_t tenth = 0; tenth < 10 * PART_S && p->control->broken == 0; tenth++) {
        run_tenth(p);
        if (tenth % 10 == 9 && part_whole(p, part, why, sizeof(why))) {
            result->part_heal_ms = (double)(p->world->now.ns - from.ns) / 1e6;
            return;
        }
    }
    control_broken(p->control, "a healed part is not whole after %d s: %.90s", PART_S, why);
}

static void heal_all(struct play *p, struct scenario_result *result)
{
    struct world *w = p->world;
    char why[SCENARIO_BROKEN_MAX];
    struct ppn_instant from = w->now;
    control_faults_heal(&p->faults);
    p->control->fail_per_million = 0;
    for (uint32_t s = 0; s < SETTLE_S && p->control->broken == 0; s++) {
        for (uint32_t tenth = 0; tenth < 10; tenth++)
            run_tenth(p);
        if (control_settled(p->control, why, sizeof(why))) {
            result->heal_ms = (double)(w->now.ns - from.ns) / 1e6;
            return;
        }
    }
    control_broken(p->control, "not settled an hour after the heal: %.100s", why);
}

static void measure(const struct play *p, struct scenario_result *result)
{
    const struct world *w = p->world;
    const struct control *c = p->control;
    result->virtual_s = (double)(w->now.ns - 1000000000) / 1e9;
    result->nodes = w->options.nodes;
    result->trace_hash = w->trace;
    result->steps = w->steps;
    result->packets = w->packets;
    result->launches = c->launches;
    result->joins = c->joins;
    result->revokes = c->revokes;
    result->false_dead = c->false_dead;
    result->healthy_share = control_faults_well_share(&p->faults);
    result->burst_bytes_most = (int64_t)w->burst_bytes_most;
    result->invariants_broken = c->broken;
    snprintf(result->first_broken, sizeof(result->first_broken), "%s", c->first_broken);
}

void control_play(const struct scenario_options *options, struct scenario_result *result)
{
    uint32_t nodes = options->nodes;
    if (nodes == 0)
        nodes = NODES_LEAST + (uint32_t)(options->seed % NODES_SPAN);
    struct world_options world_options = {.seed = options->seed,
                                          .nodes = nodes,
                                          .loss_per_million = options->loss_per_million,
                                          .keep_views = true,
                                          .story = options->story};
    struct play p;
    control_faults_draw(&p.faults, options->seed, &world_options);
    p.world = world_new(&world_options);
    p.control = control_new(p.world);
    ppn_random_init(&p.random, options->seed ^ 0x706c6179);
    control_faults_begin(&p.faults, p.control);
    world_start_all(p.world, ppn_seconds(2));
    world_run_for(p.world, ppn_seconds(20));
    phase_one(&p, options->minutes == 0 ? PHASE_ONE_S : 60 * options->minutes);
    heal_part(&p, result);
    heal_all(&p, result);
    if (p.world->clones + p.world->forged > 0)
        control_broken(p.control, "a clone or a forgery");
    if (p.world->burst_bytes_most > WORLD_BURST_BYTES)
        control_broken(p.control, "a node sent %llu bytes beyond its rate",
                       (unsigned long long)p.world->burst_bytes_most);
    measure(&p, result);
    control_free(p.control);
    p.world->on_stop = NULL;
    world_free(p.world);
}
