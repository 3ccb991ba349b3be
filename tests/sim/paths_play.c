// SPDX-License-Identifier: ISC
#include "paths_play.h"

#include <stdio.h>

#include "base/assert.h"
#include "paths_world.h"

enum {
    NODES_LEAST = PATHS_PLAY_NODES_LEAST,
    NODES_SPAN = 6,
    SETTLE_S = 30,
    BREAK_S = 240,
    REACH_S = 40, /* after the heal: what is silent is asked every PATH_RETRY_MAX_MS at least */
    BEST_S = 120,
    IDLE_S = 120,
    OUTAGES_MAX = 256
};

_Static_assert((int)PATHS_NODES_MAX == (int)PATHS_PLAY_NODES_MAX,
               "what the command line lets through");

struct play {
    struct paths_world *world;
    struct ppn_random random;
    struct ppn_instant wakes[PATHS_NODES_MAX];
    uint32_t homes; /* segments 1..homes have machines */
};

static uint32_t below(struct play *p, uint32_t limit)
{
    return (uint32_t)ppn_random_below(&p->random, limit);
}

/* Node 0 is public and a relay, perhaps node 1, too; the others are at home. */
static void build(struct play *p, uint32_t nodes)
{
    static const int64_t timeouts_s[] = {120, 120, 30, 12};
    struct net *net = &p->world->net;
    uint32_t homes = 1 + nodes / 2, relays = 1 + below(p, 2);
    uint32_t inner[NET_ROUTERS_MAX];
    for (uint32_t i = 0; i < homes; i++) {
        struct ppn_duration timeout = ppn_seconds(timeouts_s[below(p, 4)]);
        enum net_kind kind = below(p, 3) == 0 ? NET_SYMMETRIC : NET_CONE;
        uint32_t outside = NET_INTERNET;
        if (below(p, 5) == 0)
            outside = net_router(net, below(p, 2) == 0 ? NET_SYMMETRIC : NET_CONE, NET_INTERNET,
                                 ppn_seconds(120));
        inner[i] = net_router(net, kind, outside, timeout);
    }
    for (uint32_t i = 0; i < relays; i++)
        (void)paths_node(p->world, NET_INTERNET, true, true);
    for (uint32_t i = relays; i < nodes; i++) {
        bool is_public = below(p, 6) == 0;
        (void)paths_node(p->world, is_public ? NET_INTERNET : inner[below(p, homes)], is_public,
                         false);
    }
    paths_start(p->world);
    for (uint32_t a = 0; a < nodes; a++) {
        for (uint32_t b = 0; b < a; b++)
            paths_talk(p->world, a, b, below(p, 3) == 0);
    }
}

/* Some home's segment that is not a provider's own. */
static uint32_t any_home(struct play *p)
{
    for (;;) {
        uint32_t segment = 1 + below(p, p->world->net.router_count);
        bool provider = false;
        for (uint32_t i = 0; i < p->world->net.router_count; i++)
            provider = provider || p->world->net.routers[i].outside == segment;
        if (!provider)
            return segment;
    }
}

static void break_something(struct play *p)
{
    struct paths_world *w = p->world;
    struct net_router *router = &w->net.routers[below(p, w->net.router_count)];
    uint32_t node = below(p, w->count);
    switch (below(p, 8)) {
    case 0:
        node = below(p, 2);
        if (w->nodes[node].relays)
            paths_relay(w, node, w->nodes[node].relay == NULL);
        break;
    case 1:
        if (!w->nodes[node].is_public)
            paths_move(w, node, any_home(p));
        break;
    case 2:
        net_rebind(&w->net, (uint32_t)(router - w->net.routers));
        break;
    case 3:
        router->mapping_count = 0;
        break;
    case 4:
        if (!w->nodes[node].up)
            break;
        paths_sleep(w, node);
        p->wakes[node] = ppn_after(w->net.now, ppn_seconds(1 + below(p, 60)));
        break;
    case 5:
        w->net.loss_per_million = below(p, 2) * below(p, 200000);
        break;
    case 6:
        router->mtu = (uint16_t)(below(p, 2) == 0 ? 1500 : 1340 + below(p, 160));
        break;
    default:
        router->blocks = below(p, 2) == 0;
        break;
    }
}

static void wake_due(struct play *p, bool all)
{
    for (uint32_t i = 0; i < p->world->count; i++) {
        if (!p->world->nodes[i].up && (all || ppn_due(p->wakes[i], p->world->net.now)))
            paths_wake(p->world, i);
    }
}

static void heal(struct play *p)
{
    struct paths_world *w = p->world;
    w->net.loss_per_million = 0;
    for (uint32_t i = 0; i < w->net.router_count; i++)
        w->net.routers[i].blocks = false;
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->nodes[i].relays && w->nodes[i].relay == NULL)
            paths_relay(w, i, true);
    }
    wake_due(p, true);
}

/* Pairs for which something is missing; the first one is named. */
static uint32_t missing(const struct paths_world *w, bool best, uint32_t *from, uint32_t *to)
{
    uint32_t count = 0;
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; b < w->count; b++) {
            int class = paths_class(w, a, b);
            if (a == b || (class >= 0 && (!best || class <= paths_best(w, a, b))))
                continue;
            *from = a;
            *to = b;
            count++;
        }
    }
    return count;
}

/* -1: not within the bound. */
static double until(struct play *p, bool best, int64_t bound_s)
{
    struct ppn_instant from = p->world->net.now;
    uint32_t a = 0, b = 0;
    while (missing(p->world, best, &a, &b) > 0) {
        if (p->world->broken > 0)
            return -1;
        if (ppn_due(ppn_after(from, ppn_seconds(bound_s)), p->world->net.now)) {
            paths_broken(p->world, "n%u has %s way to n%u %lld s after the heal (%d, best %d)", a,
                         best ? "not the best" : "no", b, (long long)bound_s,
                         paths_class(p->world, a, b), paths_best(p->world, a, b));
            return -1;
        }
        paths_run_for(p->world, ppn_ms(100));
    }
    return (double)(p->world->net.now.ns - from.ns) / 1e6;
}

/* Packets go through on every way that is said to work, whatever way that is. */
static void check_talk(struct play *p)
{
    struct paths_world *w = p->world;
    paths_clear_gaps(w);
    paths_run_for(w, ppn_seconds(10));
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; b < w->count; b++) {
            struct paths_link *link = &w->nodes[a].links[b];
            if (a != b && link->talks &&
                (link->gap.ns > ppn_seconds(1).ns ||
                 ppn_between(link->heard_at, w->net.now).ns > ppn_seconds(1).ns))
                paths_broken(w, "n%u hears n%u with gaps of %lld ms in peace", a, b,
                             (long long)ppn_to_ms(link->gap));
        }
    }
}

static double silence(struct play *p)
{
    double longest = 0;
    for (uint32_t a = 0; a < p->world->count; a++) {
        for (uint32_t b = 0; b < p->world->count; b++) {
            double ms = (double)p->world->nodes[a].links[b].gap.ns / 1e6;
            longest = ms > longest ? ms : longest;
        }
    }
    return longest;
}

/* One of two relays dies in peace: how long do pairs hear nothing that went through it? */
static double relay_dies(struct play *p)
{
    struct paths_world *w = p->world;
    if (!w->nodes[1].relays || w->broken > 0)
        return -1;
    paths_run_for(w, ppn_seconds(20));
    paths_clear_gaps(w);
    paths_relay(w, below(p, 2), false);
    paths_run_for(w, ppn_seconds(15));
    double longest = silence(p);
    if (longest > 5000)
        paths_broken(w, "silence of %.0f ms when a relay died and another was there", longest);
    for (uint32_t i = 0; i < 2; i++) {
        if (w->nodes[i].relay == NULL)
            paths_relay(w, i, true);
    }
    return longest;
}

static double idle_cost(struct play *p)
{
    struct paths_world *w = p->world;
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; b < a; b++)
            paths_talk(w, a, b, false);
    }
    paths_run_for(w, ppn_seconds(IDLE_S));
    uint64_t before = w->questions;
    paths_run_for(w, ppn_seconds(IDLE_S));
    double pairs = (double)w->count * (double)(w->count - 1);
    return (double)(w->questions - before) / pairs / IDLE_S;
}

void paths_play(const struct scenario_options *options, struct scenario_result *result)
{
    uint32_t nodes = options->nodes;
    struct play p = {.world = paths_world_new(options->seed, options->story)};
    struct paths_world *w = p.world;
    ppn_random_init(&p.random, options->seed ^ 0x7061746873);
    if (nodes == 0)
        nodes = NODES_LEAST + below(&p, NODES_SPAN);
    w->net.loss_per_million = options->loss_per_million;
    build(&p, nodes);
    result->join_ms = until(&p, false, SETTLE_S);
    int64_t seconds = options->minutes > 0 ? (int64_t)options->minutes * 60 : BREAK_S;
    struct ppn_instant end = ppn_after(w->net.now, ppn_seconds(seconds));
    while (w->broken == 0 && ppn_before(w->net.now, end)) {
        break_something(&p);
        wake_due(&p, false);
        paths_run_for(w, ppn_ms(200 + below(&p, 8000)));
    }
    heal(&p);
    result->heal_ms = until(&p, false, REACH_S);
    result->best_ms = until(&p, true, BEST_S);
    check_talk(&p);
    result->relay_outage_ms = relay_dies(&p);
    result->idle_questions_s = idle_cost(&p);
    result->virtual_s = (double)(w->net.now.ns - ppn_seconds(1000).ns) / 1e9;
    result->nodes = nodes;
    result->trace_hash = w->trace;
    result->steps = w->steps;
    result->packets = w->net.sent;
    result->invariants_broken = w->broken;
    (void)snprintf(result->first_broken, sizeof(result->first_broken), "%s", w->first_broken);
    paths_world_free(w);
}
