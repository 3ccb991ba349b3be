// SPDX-License-Identifier: ISC
#include "control_faults.h"

#include <stdarg.h>

#include "control_log.h"

enum {
    RECOVERY_S = 5,      /* after a fault ended: its last verdicts are told, and taken back */
    WALL_SKEW_MS = 25000 /* fleet's contract is a minute between any two clocks */
};

static uint32_t any_node(struct faults *f)
{
    return (uint32_t)ppn_random_below(&f->random, f->world->options.nodes);
}

static int64_t between(struct faults *f, int64_t least, int64_t most)
{
    return least + (int64_t)ppn_random_below(&f->random, (uint64_t)(most - least + 1));
}

static bool chance(struct faults *f, uint32_t times)
{
    return ppn_random_chance(&f->random, f->flaws * times);
}

static struct ppn_instant in_ms(struct faults *f, int64_t least, int64_t most)
{
    return ppn_after(f->world->now, ppn_ms(between(f, least, most)));
}

/* A line in the story. */
__attribute__((format(printf, 2, 3))) static void tell(const struct faults *f, const char *format,
                                                       ...)
{
    FILE *story = f->world->options.story;
    va_list arguments;
    if (story == NULL)
        return;
    fprintf(story, "%9.3f -- ", (double)(f->world->now.ns - 1000000000) / 1e9);
    va_start(arguments, format);
    vfprintf(story, format, arguments);
    va_end(arguments);
    fputc('\n', story);
}

/* Runs, and is not stopped or asleep. */
static bool awake(const struct faults *f, uint32_t node)
{
    const struct world_node *n = &f->world->nodes[node];
    return n->running && ppn_due(n->paused_until, f->world->now);
}

static void stop(struct faults *f, bool power)
{
    uint32_t node = any_node(f);
    if (!awake(f, node))
        return;
    world_stop(f->world, node);
    f->world->nodes[node].host = !power;
    f->back[node] = in_ms(f, 200, 25000);
    tell(f, power ? "n%u loses power" : "n%u's agent is killed", node + 1);
}

static void partition(struct faults *f)
{
    if (!control_faults_whole(f))
        return;
    for (uint32_t i = 0; i < f->world->options.nodes; i++)
        f->world->nodes[i].group = (uint32_t)ppn_random_below(&f->random, 2);
    tell(f, "a partition");
    f->mend = in_ms(f, 2000, 50000);
}

static void cut(struct faults *f, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    world_cut(f->world, from, to, true);
    tell(f, "n%u is no longer heard by n%u", from + 1, to + 1);
    f->cut_with[from] |= 1u << to;
    f->cut_with[to] |= 1u << from;
    if (f->mend.ns == PPN_NEVER.ns)
        f->mend = in_ms(f, 2000, 50000);
}

/* One node is not heard by some others, which it hears; or hears none of them. */
static void cut_one_way(struct faults *f)
{
    uint32_t node = any_node(f), share = (uint32_t)between(f, 100000, 1000000);
    bool deaf = ppn_random_chance(&f->random, 500000);
    for (uint32_t i = 0; i < f->world->options.nodes; i++)
        if (ppn_random_chance(&f->random, share))
            cut(f, deaf ? i : node, deaf ? node : i);
}

/* A few pairs that do not reach each other, while others reach both. */
static void cut_pairs(struct faults *f)
{
    for (int64_t pairs = between(f, 1, 4); pairs > 0; pairs--) {
        uint32_t a = any_node(f), b = any_node(f);
        cut(f, a, b);
        cut(f, b, a);
    }
}

static void pause_or_sleep(struct faults *f, bool sleep)
{
    uint32_t node = any_node(f);
    if (!awake(f, node))
        return;
    int64_t ms = sleep ? between(f, 2000, 60000) : between(f, 200, 9000);
    tell(f, "n%u %s for %lld ms", node + 1, sleep ? "sleeps" : "is stopped", (long long)ms);
    if (sleep)
        world_sleep(f->world, node, ppn_ms(ms));
    else
        world_pause(f->world, node, ppn_ms(ms));
}

static void lossy(struct faults *f)
{
    uint32_t node = any_node(f);
    f->world->nodes[node].drop_in = (uint32_t)between(f, 0, 900000);
    f->world->nodes[node].drop_out = (uint32_t)between(f, 0, 900000);
    f->lossy[node] = in_ms(f, 2000, 90000);
    tell(f, "n%u loses %u in and %u out of a million", node + 1, f->world->nodes[node].drop_in,
         f->world->nodes[node].drop_out);
}

/* A clock that is set jumps; nobody's health depends on it. */
static void wall_jump(struct faults *f)
{
    f->control->nodes[any_node(f)].wall_skew_ms = between(f, -WALL_SKEW_MS, WALL_SKEW_MS);
}

/* Clocks that part for another reason than sleep look like sleep. */
static void suspended(struct faults *f)
{
    uint32_t node = any_node(f);
    if (awake(f, node))
        world_event(f->world, node, &(struct gossip_event){.kind = GOSSIP_EVENT_SUSPENDED});
}

/* Somebody's log does not name it yet, or no longer: that one does not answer it. */
static bool unknown_to_one(const struct faults *f, uint32_t node)
{
    for (uint32_t i = 0; i < f->world->options.nodes; i++)
        if (f->world->nodes[i].running && !control_log_is_member(f->control, i, node))
            return true;
    return false;
}

/* Something is wrong with it now. */
static bool ill(const struct faults *f, uint32_t node)
{
    const struct world_node *n = &f->world->nodes[node];
    bool apart = false;
    for (uint32_t i = 0; i < f->world->options.nodes; i++)
        apart = apart || f->world->nodes[i].group != n->group;
    return !awake(f, node) || n->outside || n->drop_in > 0 || n->drop_out > 0 || apart ||
           f->cut_with[node] != 0 || control_log_thrown_out(f->control, node) ||
           unknown_to_one(f, node);
}

static void judge_health(struct faults *f)
{
    for (uint32_t i = 0; i < f->world->options.nodes; i++) {
        bool bad = ill(f, i);
        if (bad)
            f->well_at[i] = ppn_after(f->world->now, ppn_seconds(RECOVERY_S));
        f->world->nodes[i].healthy = ppn_due(f->well_at[i], f->world->now);
    }
}

void control_faults_strike(struct faults *f)
{
    if (chance(f, 4))
        stop(f, false);
    if (chance(f, 2))
        stop(f, true);
    if (chance(f, 1))
        partition(f);
    if (chance(f, 1))
        cut_one_way(f);
    if (chance(f, 1))
        cut_pairs(f);
    if (chance(f, 3))
        pause_or_sleep(f, false);
    if (chance(f, 1))
        pause_or_sleep(f, true);
    if (chance(f, 1))
        lossy(f);
    if (chance(f, 1))
        wall_jump(f);
    if (chance(f, 2))
        suspended(f);
    judge_health(f);
}

static void mend(struct faults *f)
{
    tell(f, "the network is whole");
    world_mend(f->world);
    for (uint32_t i = 0; i < CONTROL_NODES_MAX; i++)
        f->cut_with[i] = 0;
    f->mend = PPN_NEVER;
}

static void node_repair(struct faults *f, uint32_t node)
{
    struct world_node *n = &f->world->nodes[node];
    if (n->drop_in + n->drop_out > 0 && ppn_due(f->lossy[node], f->world->now)) {
        n->drop_in = n->drop_out = 0;
        tell(f, "n%u loses no more", node + 1);
    }
    if (n->running || n->outside || !ppn_due(f->back[node], f->world->now))
        return;
    n->host = true;
    tell(f, "n%u starts", node + 1);
    world_start(f->world, node);
}

void control_faults_tick(struct faults *f)
{
    if (ppn_due(f->mend, f->world->now))
        mend(f);
    for (uint32_t i = 0; i < f->world->options.nodes; i++) {
        if ((f->frozen >> i & 1) == 0)
            node_repair(f, i);
        f->ticks += f->world->nodes[i].running;
        f->well_ticks += f->world->nodes[i].running && f->world->nodes[i].healthy;
    }
    judge_health(f);
}

bool control_faults_whole(const struct faults *f)
{
    return f->mend.ns == PPN_NEVER.ns;
}

void control_faults_heal_part(struct faults *f, uint32_t part, bool apart)
{
    uint32_t nodes = f->world->options.nodes;
    f->mend = PPN_NEVER;
    f->frozen = ~part;
    for (uint32_t i = 0; i < nodes; i++) {
        if ((part >> i & 1) == 0) {
            f->world->nodes[i].group = apart ? 1 : f->world->nodes[i].group;
            continue;
        }
        f->world->nodes[i].group = 0;
        f->back[i] = f->lossy[i] = f->world->now;
        f->cut_with[i] &= ~part;
        for (uint32_t j = 0; j < nodes; j++)
            if ((part >> j & 1) != 0)
                world_cut(f->world, i, j, false);
    }
}

void control_faults_heal(struct faults *f)
{
    mend(f);
    f->frozen = 0;
    for (uint32_t i = 0; i < f->world->options.nodes; i++)
        f->back[i] = f->lossy[i] = f->world->now;
}

double control_faults_well_share(const struct faults *f)
{
    return f->ticks == 0 ? -1 : (double)f->well_ticks / (double)f->ticks;
}

void control_faults_draw(struct faults *f, uint64_t seed, struct world_options *options)
{
    *f = (struct faults){.mend = PPN_NEVER};
    ppn_random_init(&f->random, seed ^ 0x6661756c7473);
    static const uint32_t flaws[] = {0, 3000, 10000, 20000, 40000};
    f->flaws = flaws[ppn_random_below(&f->random, 5)];
    options->duplicate_per_million = (uint32_t)between(f, 0, 20000);
    options->delay_us = between(f, 100, 15000);
    options->jitter_us = between(f, 0, 3 * options->delay_us);
    uint32_t loss = (uint32_t)ppn_random_below(&f->random, 4) * 20000;
    if (options->loss_per_million == 0)
        options->loss_per_million = loss;
}

void control_faults_begin(struct faults *f, struct control *control)
{
    f->control = control;
    f->world = control->world;
    control->fail_per_million = f->flaws == 0 ? 0 : 50000;
    judge_health(f); /* nobody runs yet */
}
