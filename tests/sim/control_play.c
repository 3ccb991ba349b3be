// SPDX-License-Identifier: ISC
#include "control_play.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "control.h"
#include "control_log.h"
#include "placement/placement.h"

enum {
    NODES_LEAST = 3,
    NODES_SPAN = 18,
    PHASE_ONE_S = 150,
    REQUESTS = 24,
    SETTLE_S = 3600, /* the longest patience of all parts, and some */
    TWICE_NODES_MAX = 9
};

struct play {
    struct world *world;
    struct control *control;
    struct ppn_random random;
    struct ppn_instant back[CONTROL_NODES_MAX]; /* when a stopped agent starts again */
    struct ppn_instant heal;                    /* of the partition; PPN_NEVER: none */
    uint32_t flaws; /* how bad this seed is: per million and second, each kind of fault */
};

static uint32_t any_node(struct play *p)
{
    return (uint32_t)ppn_random_below(&p->random, p->world->options.nodes);
}

static int64_t between(struct play *p, int64_t least, int64_t most)
{
    return least + (int64_t)ppn_random_below(&p->random, (uint64_t)(most - least + 1));
}

static void stop(struct play *p, uint32_t node, bool power)
{
    struct world_node *n = &p->world->nodes[node];
    if (!n->running || ppn_before(p->world->now, n->paused_until))
        return;
    n->healthy = false;
    world_stop(p->world, node);
    n->host = !power;
    p->back[node] = ppn_after(p->world->now, ppn_ms(between(p, 200, 25000)));
}

static void partition(struct play *p)
{
    if (p->heal.ns != PPN_NEVER.ns)
        return;
    for (uint32_t i = 0; i < p->world->options.nodes; i++) {
        p->world->nodes[i].group = (uint32_t)ppn_random_below(&p->random, 2);
        p->world->nodes[i].healthy = false;
    }
    p->heal = ppn_after(p->world->now, ppn_ms(between(p, 2000, 50000)));
}

static void heal(struct play *p)
{
    for (uint32_t i = 0; i < p->world->options.nodes; i++)
        p->world->nodes[i].group = 0;
    p->heal = PPN_NEVER;
}

static bool chance(struct play *p, uint32_t times)
{
    return ppn_random_chance(&p->random, p->flaws * times);
}

static void faults(struct play *p)
{
    struct world *w = p->world;
    if (chance(p, 4))
        stop(p, any_node(p), false);
    if (chance(p, 2))
        stop(p, any_node(p), true);
    if (chance(p, 1))
        partition(p);
    if (chance(p, 3)) {
        uint32_t node = any_node(p);
        w->nodes[node].healthy = false;
        world_pause(w, node, ppn_ms(between(p, 200, 9000)));
    }
    if (chance(p, 1)) {
        uint32_t node = any_node(p);
        w->nodes[node].healthy = false;
        w->nodes[node].drop_in = (uint32_t)between(p, 0, 900000);
        w->nodes[node].drop_out = (uint32_t)between(p, 0, 900000);
    }
    if (chance(p, 2) && w->nodes[any_node(p)].running) {
        uint32_t node = any_node(p);
        if (w->nodes[node].running && ppn_due(w->nodes[node].paused_until, w->now))
            world_event(w, node, &(struct gossip_event){.kind = GOSSIP_EVENT_SUSPENDED});
    }
}

static void repairs(struct play *p)
{
    for (uint32_t i = 0; i < p->world->options.nodes; i++) {
        if (p->world->nodes[i].running || p->world->nodes[i].outside ||
            !ppn_due(p->back[i], p->world->now))
            continue;
        p->world->nodes[i].host = true;
        world_start(p->world, i);
    }
    if (ppn_due(p->heal, p->world->now))
        heal(p);
}

/* The same id at a second node is a client that tried elsewhere. Only in whole networks, of an id
 * that everybody was heard of since, at a node that knows the first one as a member: fleet.c tells
 * what a client that reaches both sides of a cut must expect, and news of a joiner that is still
 * under way is such a cut. */
static void ask_twice(struct play *p, struct control_request *request)
{
    struct world *w = p->world;
    uint32_t node = any_node(p);
    bool whole = p->heal.ns == PPN_NEVER.ns && w->options.nodes <= TWICE_NODES_MAX && p->flaws == 0;
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
        ppn_due(p->world->nodes[node].paused_until, p->world->now))
        control_ask(c, node, (uint64_t)between(p, 256, 3000) * PLACEMENT_MIB);
    if (c->request_count > 0 && ppn_random_chance(&p->random, 200000))
        ask_twice(p, &c->requests[ppn_random_below(&p->random, c->request_count)]);
}

static void phase_one(struct play *p)
{
    for (uint32_t tenth = 0; tenth < 10 * PHASE_ONE_S && p->control->broken == 0; tenth++) {
        if (tenth % 10 == 0) {
            faults(p);
            people(p, tenth / 10);
        }
        repairs(p);
        world_run_for(p->world, ppn_ms(100));
        control_check(p->control);
    }
}

static void phase_two(struct play *p, struct scenario_result *result)
{
    struct world *w = p->world;
    char why[SCENARIO_BROKEN_MAX];
    struct ppn_instant from = w->now;
    heal(p);
    p->control->fail_per_million = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        w->nodes[i].drop_in = w->nodes[i].drop_out = 0;
        p->back[i] = w->now;
    }
    for (uint32_t s = 0; s < SETTLE_S && p->control->broken == 0; s++) {
        repairs(p);
        world_run_for(w, ppn_seconds(1));
        control_check(p->control);
        if (control_settled(p->control, why, sizeof(why))) {
            result->heal_ms = (double)(w->now.ns - from.ns) / 1e6;
            return;
        }
    }
    if (p->control->broken++ == 0)
        snprintf(p->control->first_broken, sizeof(p->control->first_broken),
                 "not settled an hour after the heal: %.100s", why);
}

void control_play(const struct scenario_options *options, struct scenario_result *result)
{
    uint32_t nodes = options->nodes;
    if (nodes == 0 || nodes > CONTROL_NODES_MAX)
        nodes = NODES_LEAST + (uint32_t)(options->seed % NODES_SPAN);
    struct world_options world_options = {.seed = options->seed,
                                          .nodes = nodes,
                                          .loss_per_million = options->loss_per_million,
                                          .duplicate_per_million = 2000,
                                          .delay_us = 300,
                                          .jitter_us = 2000,
                                          .keep_views = true,
                                          .story = options->story};
    struct play p = {.world = world_new(&world_options), .heal = PPN_NEVER};
    p.control = control_new(p.world);
    ppn_random_init(&p.random, options->seed ^ 0x706c6179);
    p.flaws = (uint32_t)ppn_random_below(&p.random, 5) * 10000;
    p.control->fail_per_million = p.flaws == 0 ? 0 : 50000;
    if (options->loss_per_million == 0)
        p.world->options.loss_per_million = (uint32_t)ppn_random_below(&p.random, 4) * 20000;
    world_start_all(p.world, ppn_seconds(2));
    world_run_for(p.world, ppn_seconds(20));
    phase_one(&p);
    phase_two(&p, result);
    result->virtual_s = (double)(p.world->now.ns - 1000000000) / 1e9;
    result->nodes = nodes;
    result->trace_hash = p.world->trace;
    result->steps = p.world->steps;
    result->packets = p.world->packets;
    result->launches = p.control->launches;
    result->joins = p.control->joins;
    result->revokes = p.control->revokes;
    result->invariants_broken = p.control->broken;
    snprintf(result->first_broken, sizeof(result->first_broken), "%s", p.control->first_broken);
    if (p.world->clones + p.world->forged > 0 && result->invariants_broken++ == 0)
        snprintf(result->first_broken, sizeof(result->first_broken), "a clone or a forgery");
    control_free(p.control);
    p.world->on_stop = NULL;
    world_free(p.world);
}
