// SPDX-License-Identifier: ISC
#include "scenario.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "control_play.h"
#include "paths_play.h"

enum {
    SAMPLES_MAX = 4096,
    NODES_DEFAULT = 16,
    WARM_NODES = 2000,
    WARM_SETTLE_S = 60,
    REST_S = 30,
    AWAKE_S = 3,
    BIG_NODES = 12, /* from so many on a node held back as flapping is no voice that is missed */

    /* what is promised of a thousand nodes, and holds for fewer */
    SUSPECT_MOST_MS = 5000,
    DEAD_MOST_MS = 10000,
    KILLED_MOST_MS = 1500,
    MEMBERSHIP_MOST = 700
};

struct samples {
    double ms[SAMPLES_MAX];
    uint32_t count;
};

struct run {
    const struct scenario_options *options;
    struct scenario_result *result;
    struct world *world;
    struct samples suspect, verdict, everywhere;
    uint64_t membership_from, load_from; /* counters when the network had settled */
    struct ppn_instant settled;
    uint64_t false_dead_from, false_suspect_from;
};

static void broken(struct run *run, const char *format, ...)
{
    va_list arguments;
    if (run->result->invariants_broken++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(run->result->first_broken, SCENARIO_BROKEN_MAX, format, arguments);
    va_end(arguments);
}

static void sample(struct samples *samples, struct ppn_instant from, struct ppn_instant to)
{
    if (samples->count < SAMPLES_MAX)
        samples->ms[samples->count++] = (double)(to.ns - from.ns) / 1e6;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(struct samples *samples, uint32_t percent)
{
    if (samples->count == 0)
        return -1;
    qsort(samples->ms, samples->count, sizeof(*samples->ms), compare_double);
    uint32_t at = (samples->count * percent + 99) / 100;
    return samples->ms[at == 0 ? 0 : at - 1];
}

/* Starts everybody and waits until all views agree. */
static void settle(struct run *run)
{
    struct world *w = run->world;
    uint32_t most = 120 + w->options.nodes / 10;
    world_start_all(w, ppn_seconds(w->options.warm ? 0 : 1 + w->options.nodes / 500));
    if (w->options.warm) {
        world_run_for(w, ppn_ms(100));
        world_acquaint(w);
        most = WARM_SETTLE_S;
    }
    for (uint32_t s = 0; s < most; s++) {
        world_run_for(w, ppn_seconds(1));
        if (!w->options.warm && w->running == w->options.nodes && world_converged(w))
            break;
    }
    if (!w->options.warm && world_converged(w))
        run->result->join_ms = (double)(w->now.ns - 1000000000) / 1e6;
    if (!w->options.warm && w->options.loss_per_million == 0 && !world_converged(w))
        broken(run, "no common view %u s after the start", most);
    world_run_for(w, ppn_seconds(5));
    world_bytes(w, &run->membership_from, &run->load_from);
    run->settled = w->now;
    run->false_dead_from = w->false_dead;
    run->false_suspect_from = w->false_suspect;
}

/* Loads change about as often as real ones: every node every 20 to 40 seconds. */
static void loads_for(struct run *run, struct ppn_duration time)
{
    struct world *w = run->world;
    struct ppn_instant end = ppn_after(w->now, time);
    int64_t step = 30000000000 / (int64_t)w->options.nodes;
    int64_t from_ns = w->now.ns, told_s = -1;
    while (ppn_before(w->now, end) && !run->result->stopped) {
        int64_t at_s = (w->now.ns - from_ns) / 1000000000;
        if (run->options->progress != NULL && at_s != told_s)
            fprintf(run->options->progress, "\r%lld of %lld virtual seconds ",
                    (long long)(told_s = at_s), (long long)(time.ns / 1000000000));
        run->result->stopped = run->options->stop != NULL && *run->options->stop != 0;
        struct ppn_instant next = ppn_after(
            w->now, ppn_ns(step / 2 + (int64_t)ppn_random_below(&w->random, (uint64_t)step)));
        world_run(w, ppn_before(next, end) ? next : end);
        uint32_t node = (uint32_t)ppn_random_below(&w->random, w->options.nodes);
        if (!w->nodes[node].running)
            continue;
        uint8_t load[48];
        for (uint32_t i = 0; i < sizeof(load); i++)
            load[i] = (uint8_t)ppn_random_u64(&w->random);
        world_body(w, node, GOSSIP_PLANE_LOAD, ppn_slice(load, sizeof(load)));
    }
    if (run->options->progress != NULL)
        fputs("\r", run->options->progress);
}

/* What a start of many at once leaves to be told is over: what is measured from here on is a
 * network at rest. */
static void rest(struct run *run)
{
    world_run_for(run->world, ppn_seconds(REST_S));
    world_bytes(run->world, &run->membership_from, &run->load_from);
    run->settled = run->world->now;
}

static void play_idle(struct run *run)
{
    rest(run);
    uint32_t minutes = run->options->minutes == 0 ? 2 : run->options->minutes;
    loads_for(run, ppn_seconds(60 * (int64_t)minutes));
}

static void fault_begin(struct world *w, uint32_t node)
{
    struct world_node *n = &w->nodes[node];
    n->healthy = false;
    n->fault_at = w->now;
    world_fault_clear(n);
}

/* Once one node of many is gone, everybody must say DEAD; few may have no majority for it. */
static void fault_sample(struct run *run, uint32_t node)
{
    struct world_node *n = &run->world->nodes[node];
    struct ppn_instant everywhere =
        run->world->options.nodes < BIG_NODES ? n->everywhere : n->dead_everywhere;
    if (everywhere.ns == 0) {
        broken(run, "%s was never dead everywhere", n->name);
        return;
    }
    sample(&run->suspect, n->fault_at, n->first_suspect);
    sample(&run->verdict, n->fault_at, n->first_lost);
    sample(&run->everywhere, n->fault_at, everywhere);
}

/* Hosts are cut one after another and come back. With many nodes several at once, far apart. */
static void play_crash(struct run *run)
{
    struct world *w = run->world;
    uint32_t rounds = run->options->minutes == 0 ? 20 : 2 * run->options->minutes;
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t node = (uint32_t)ppn_random_below(&w->random, w->options.nodes);
        world_run_for(w, ppn_ms((int64_t)ppn_random_below(&w->random, 2000)));
        fault_begin(w, node);
        w->nodes[node].host = false;
        world_run_for(w, ppn_seconds(15));
        fault_sample(run, node);
        w->nodes[node].host = true;
        world_run_for(w, ppn_seconds(15));
        w->nodes[node].healthy = true;
    }
}

static void play_kill(struct run *run)
{
    struct world *w = run->world;
    uint32_t rounds = run->options->minutes == 0 ? 20 : 2 * run->options->minutes;
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t node = (uint32_t)ppn_random_below(&w->random, w->options.nodes);
        world_run_for(w, ppn_ms((int64_t)ppn_random_below(&w->random, 2000)));
        fault_begin(w, node);
        world_stop(w, node);
        world_run_for(w, ppn_seconds(10));
        fault_sample(run, node);
        world_start(w, node);
        world_run_for(w, ppn_seconds(20));
        w->nodes[node].healthy = true;
    }
}

static void play_loss(struct run *run)
{
    play_idle(run);
}

static void play_update(struct run *run)
{
    struct world *w = run->world;
    struct samples updates = {.count = 0};
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t node = (uint32_t)ppn_random_below(&w->random, w->options.nodes), seen = 0;
        uint8_t profile[200] = {0};
        for (uint32_t i = 0; i < sizeof(profile); i++)
            profile[i] = (uint8_t)ppn_random_u64(&w->random);
        struct ppn_instant from = w->now;
        world_body(w, node, GOSSIP_PLANE_PROFILE, ppn_slice(profile, sizeof(profile)));
        for (uint32_t ms = 0; ms < 20000 && seen < w->running; ms += 10) {
            world_run_for(w, ppn_ms(10));
            seen = 0;
            for (uint32_t i = 0; i < w->options.nodes; i++) {
                struct gossip_member member;
                if (w->nodes[i].running &&
                    gossip_member(w->nodes[i].core, &w->nodes[node].id, &member) == PPN_OK)
                    seen += ppn_slice_equal(member.profile, ppn_slice(profile, sizeof(profile)));
            }
        }
        if (seen < w->running)
            broken(run, "an update of %s reached %u of %u", w->nodes[node].name, seen, w->running);
        sample(&updates, from, w->now);
        world_run_for(w, ppn_seconds(3));
    }
    run->result->update_ms = percentile(&updates, 50);
}

/* Half of the network is cut off for a minute, or for `minutes`. */
static void play_partition(struct run *run)
{
    struct world *w = run->world;
    uint32_t half = w->options.nodes / 2;
    int64_t seconds = run->options->minutes == 0 ? 60 : 60 * (int64_t)run->options->minutes;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        w->nodes[i].group = i < half ? 1 : 0;
        w->nodes[i].healthy = false;
    }
    struct ppn_instant cut = w->now;
    double all_out = -1;
    for (int64_t ms = 0; ms < seconds * 1000; ms += 100) {
        world_run_for(w, ppn_ms(100));
        bool out = all_out < 0;
        for (uint32_t i = 0; i < w->options.nodes && out; i++)
            out = w->nodes[i].lost_by >= (i < half ? w->options.nodes - half : half);
        if (out)
            all_out = (double)(w->now.ns - cut.ns) / 1e6;
    }
    if (all_out < 0)
        broken(run, "a half was not lost to the other in %lld s", (long long)seconds);
    sample(&run->everywhere, (struct ppn_instant){0},
           ppn_after((struct ppn_instant){0}, ppn_ms((int64_t)all_out)));
    for (uint32_t i = 0; i < w->options.nodes; i++)
        w->nodes[i].group = 0;
    struct ppn_instant healed = w->now;
    for (uint32_t ms = 0; ms < 120000 && !world_converged(w); ms += 50)
        world_run_for(w, ppn_ms(50));
    run->result->heal_ms = (double)(w->now.ns - healed.ns) / 1e6;
    if (!world_converged(w))
        broken(run, "no common view two minutes after the heal");
    for (uint32_t i = 0; i < w->options.nodes; i++)
        w->nodes[i].healthy = true;
}

static void play_restart(struct run *run)
{
    struct world *w = run->world;
    for (uint32_t i = 0; i < w->options.nodes; i++)
        world_stop(w, i);
    world_run_for(w, ppn_seconds(600));
    struct ppn_instant from = w->now;
    world_start_all(w, ppn_seconds(2));
    for (uint32_t ms = 0; ms < 120000; ms += 100) {
        world_run_for(w, ppn_ms(100));
        if (w->running == w->options.nodes && world_converged(w))
            break;
    }
    run->result->heal_ms = (double)(w->now.ns - from.ns) / 1e6;
    if (!world_converged(w))
        broken(run, "no common view two minutes after the restart");
}

/* 5 % of the nodes are stopped for half a second to thirty, again and again: none of the others may
 * be called dead for it. */
static void play_stall(struct run *run)
{
    struct world *w = run->world;
    uint32_t minutes = run->options->minutes == 0 ? 3 : run->options->minutes;
    uint32_t stalled = w->options.nodes / 20 + 1;
    for (uint32_t i = 0; i < stalled; i++)
        w->nodes[i].healthy = false;
    for (uint32_t s = 0; s < 60 * minutes; s++) {
        for (uint32_t i = 0; i < stalled; i++)
            if (ppn_due(w->nodes[i].paused_until, w->now) && ppn_random_chance(&w->random, 150000))
                world_pause(w, i, ppn_ms(500 + (int64_t)ppn_random_below(&w->random, 29500)));
        world_run_for(w, ppn_seconds(1));
    }
    world_run_for(w, ppn_seconds(60));
}

/* What tools/bench gossip does to real agents: one in eight is stopped at any moment, for 1 to 8 s.
 * Nobody may be given up who has been awake for a few seconds, not even by one who just woke and
 * reads what others said meanwhile. */
static void play_starve(struct run *run)
{
    struct world *w = run->world;
    uint32_t minutes = run->options->minutes == 0 ? 3 : run->options->minutes;
    uint32_t most = w->options.nodes / 8 + 1;
    w->judge_subjects_only = true;
    for (uint32_t tenth = 0; tenth < 600 * minutes; tenth++) {
        uint32_t stopped = 0;
        for (uint32_t i = 0; i < w->options.nodes; i++) {
            struct ppn_instant well = ppn_after(w->nodes[i].paused_until, ppn_seconds(AWAKE_S));
            w->nodes[i].healthy = ppn_due(well, w->now) || w->nodes[i].paused_until.ns == 0;
            stopped += ppn_before(w->now, w->nodes[i].paused_until);
        }
        for (; stopped < most; stopped++) {
            uint32_t node = (uint32_t)ppn_random_below(&w->random, w->options.nodes);
            if (ppn_before(w->now, w->nodes[node].paused_until))
                continue;
            w->nodes[node].healthy = false;
            world_pause(w, node, ppn_ms(1000 + (int64_t)ppn_random_below(&w->random, 7000)));
        }
        world_run_for(w, ppn_ms(100));
    }
}

/* Counts the faulty that are out of placement in nearly everybody's eyes: one observer in a hundred
 * may just be hearing of it. */
static void placement_count(struct run *run, uint32_t faulty, uint64_t *out, uint64_t *seen)
{
    struct world *w = run->world;
    for (uint32_t i = 0; i < faulty; i++) {
        *out += w->nodes[i].suspected_by + w->nodes[i].lost_by >=
                (w->options.nodes - faulty) * 99 / 100;
        ++*seen;
    }
}

static void play_rapid(struct run *run, bool one_way)
{
    struct world *w = run->world;
    uint32_t faulty = w->options.nodes / 100 + (w->options.nodes < 100);
    uint32_t minutes = run->options->minutes == 0 ? 5 : run->options->minutes;
    uint64_t out = 0, seen = 0;
    for (uint32_t i = 0; i < faulty; i++)
        w->nodes[i].healthy = false;
    for (uint32_t s = 0; s < 60 * minutes; s++) {
        for (uint32_t i = 0; i < faulty; i++) {
            if (one_way)
                w->nodes[i].drop_in = s / 20 % 2 == 0 ? 1000000 : 0;
            else
                w->nodes[i].drop_out = 800000;
        }
        world_run_for(w, ppn_seconds(1));
        if (s >= 40 * minutes)
            placement_count(run, faulty, &out, &seen);
    }
    run->result->faulty_out = seen == 0 ? -1 : (double)out / (double)seen;
}

static void play_rapid_one_way(struct run *run)
{
    play_rapid(run, true);
}

static void play_rapid_loss(struct run *run)
{
    play_rapid(run, false);
}

static const struct scenario {
    const char *name, *about;
    void (*play)(struct run *);
    bool needs_views, fixed_length;
    uint32_t nodes_least, nodes_most;
} scenarios[] = {
    {"idle", "nothing happens; loads change", play_idle, false, false, 2, PPN_MEMBERS_MAX},
    {"loss", "the same, for use with --loss", play_loss, false, false, 2, PPN_MEMBERS_MAX},
    {"crash", "hosts are cut off one after another", play_crash, false, false, 2, PPN_MEMBERS_MAX},
    {"kill", "agents are killed, their hosts live", play_kill, true, false, 2, PPN_MEMBERS_MAX},
    {"update", "profiles change; how long until all have them", play_update, false, true, 2,
     PPN_MEMBERS_MAX},
    {"partition", "one half is cut from the other, then healed", play_partition, false, false, 2,
     PPN_MEMBERS_MAX},
    {"restart", "all are switched off and on again", play_restart, true, true, 2, PPN_MEMBERS_MAX},
    {"stall", "one in twenty is stopped now and then", play_stall, false, false, 2,
     PPN_MEMBERS_MAX},
    {"starve", "one in eight is stopped at any moment, for seconds", play_starve, false, false, 2,
     PPN_MEMBERS_MAX},
    {"rapid-oneway", "1 % hear nothing for 20 s of every 40 (Rapid)", play_rapid_one_way, false,
     false, 2, PPN_MEMBERS_MAX},
    {"rapid-loss", "1 % lose 80 % of what they send (Rapid)", play_rapid_loss, false, false, 2,
     PPN_MEMBERS_MAX},
    {"control", "admission, fleet and placement too, while everything breaks", NULL, true, false, 2,
     CONTROL_PLAY_NODES_MAX},
    {"paths", "homes, routers and relays, while everything breaks", NULL, true, false,
     PATHS_PLAY_NODES_LEAST, PATHS_PLAY_NODES_MAX},
};

enum { SCENARIOS = sizeof(scenarios) / sizeof(*scenarios) };

static const struct scenario *find(const char *name)
{
    for (uint32_t i = 0; i < SCENARIOS; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

bool scenario_known(const char *name)
{
    return find(name) != NULL;
}

const char *scenario_refuses(const struct scenario_options *options)
{
    static char text[64];
    const struct scenario *scenario = find(options->scenario);
    if (options->minutes > 0 && scenario->fixed_length)
        return "lasts as long as it needs: no --minutes";
    if (options->nodes == 0 ||
        (options->nodes >= scenario->nodes_least && options->nodes <= scenario->nodes_most))
        return NULL;
    snprintf(text, sizeof(text), "has %u to %u nodes", scenario->nodes_least, scenario->nodes_most);
    return text;
}

void scenario_list(FILE *to)
{
    for (uint32_t i = 0; i < SCENARIOS; i++)
        fprintf(to, "  %-13s %s\n", scenarios[i].name, scenarios[i].about);
}

/* Whatever happens, nobody dies for nothing, and nobody sends more than the protocol promises. */
static void bounds_of_all(struct run *run)
{
    struct world *w = run->world;
    struct scenario_result *r = run->result;
    if (r->false_dead > 0)
        broken(run, "%lld false deaths", (long long)r->false_dead);
    if (w->clones > 0 || w->forged > 0)
        broken(run, "%llu clones and %llu forgeries where there were none",
               (unsigned long long)w->clones, (unsigned long long)w->forged);
    if (w->burst_bytes_most > WORLD_BURST_BYTES)
        broken(run, "a node sent %llu bytes beyond %d a second",
               (unsigned long long)w->burst_bytes_most, WORLD_BANDWIDTH_BYTES_S);
}

static void bound(struct run *run, const char *what, double measured, double most)
{
    if (measured > most)
        broken(run, "%s is %.0f, over %.0f", what, measured, most);
}

/* What a scenario is there to show. Of the faulty nodes of Rapid's scenarios every one must be out
 * in every second of the last third: one that comes back for a moment gets work in it, which is
 * what these scenarios are about. The membership plane's bound is for up to 10 % of loss, beyond
 * which more pings go out for each answer. */
static void bounds_of_one(struct run *run, const struct scenario *scenario)
{
    const struct scenario_result *r = run->result;
    bool quiet = scenario->play == play_idle || scenario->play == play_loss;
    bool rapid = scenario->play == play_rapid_one_way || scenario->play == play_rapid_loss;
    if (scenario->play == play_crash) {
        bound(run, "first SUSPECT p99 in ms", r->first_suspect_p99_ms, SUSPECT_MOST_MS);
        bound(run, "dead everywhere p99 in ms", r->dead_everywhere_p99_ms, DEAD_MOST_MS);
    }
    if (scenario->play == play_kill)
        bound(run, "dead everywhere p50 in ms", r->dead_everywhere_p50_ms, KILLED_MOST_MS);
    if (quiet && run->options->loss_per_million <= 100000)
        bound(run, "membership bytes/s a node", r->membership_bytes_per_node_s, MEMBERSHIP_MOST);
    if (quiet)
        bound(run, "bytes/s a node", r->total_bytes_per_node_s, WORLD_BANDWIDTH_BYTES_S);
    if (rapid && r->faulty_out < 1)
        broken(run, "faulty nodes are out of placement %.4f of the time", r->faulty_out);
    if (rapid && r->touched > 0)
        broken(run, "%lld healthy nodes were taken out of placement", (long long)r->touched);
}

static void measure(struct run *run)
{
    struct world *w = run->world;
    struct scenario_result *r = run->result;
    uint64_t membership, load;
    world_bytes(w, &membership, &load);
    double node_seconds = (double)(w->now.ns - run->settled.ns) / 1e9 * (double)w->options.nodes;
    r->virtual_s = (double)(w->now.ns - 1000000000) / 1e9;
    r->trace_hash = w->trace;
    r->nodes = w->options.nodes;
    r->false_dead = (int64_t)w->false_dead;
    r->false_suspect = (int64_t)(w->false_suspect - run->false_suspect_from);
    r->membership_bytes_per_node_s = (double)(membership - run->membership_from) / node_seconds;
    r->total_bytes_per_node_s =
        r->membership_bytes_per_node_s + (double)(load - run->load_from) / node_seconds;
    r->first_suspect_p50_ms = percentile(&run->suspect, 50);
    r->first_suspect_p99_ms = percentile(&run->suspect, 99);
    r->first_verdict_p50_ms = percentile(&run->verdict, 50);
    r->dead_everywhere_p50_ms = percentile(&run->everywhere, 50);
    r->dead_everywhere_p99_ms = percentile(&run->everywhere, 99);
    r->steps = w->steps;
    r->packets = w->packets;
    r->touched = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++)
        r->touched += w->nodes[i].blamed;
    r->burst_bytes_most = (int64_t)w->burst_bytes_most;
}

/* A healthy node that a healthy one takes out of placement. */
static void watch(struct world *w, uint32_t observer, uint32_t subject,
                  const struct gossip_action *action)
{
    bool out = action->state == GOSSIP_SUSPECT || action->state == GOSSIP_DEAD ||
               action->state == GOSSIP_UNREACHABLE;
    if ((action->what & GOSSIP_CHANGED_STATE) != 0 && out && w->nodes[subject].healthy &&
        w->nodes[observer].healthy)
        w->nodes[subject].blamed = true;
}

static const struct scenario_result scenario_unmeasured = {.false_dead = -1,
                                                           .false_suspect = -1,
                                                           .touched = -1,
                                                           .first_suspect_p50_ms = -1,
                                                           .first_suspect_p99_ms = -1,
                                                           .first_verdict_p50_ms = -1,
                                                           .dead_everywhere_p50_ms = -1,
                                                           .dead_everywhere_p99_ms = -1,
                                                           .membership_bytes_per_node_s = -1,
                                                           .total_bytes_per_node_s = -1,
                                                           .join_ms = -1,
                                                           .heal_ms = -1,
                                                           .part_heal_ms = -1,
                                                           .update_ms = -1,
                                                           .faulty_out = -1,
                                                           .burst_bytes_most = -1,
                                                           .healthy_share = -1,
                                                           .launches = -1,
                                                           .joins = -1,
                                                           .revokes = -1,
                                                           .best_ms = -1,
                                                           .relay_outage_ms = -1,
                                                           .idle_questions_s = -1};

void scenario_run(const struct scenario_options *options, struct scenario_result *result)
{
    const struct scenario *scenario = find(options->scenario);
    PPN_ASSERT(scenario != NULL);
    *result = scenario_unmeasured;
    if (scenario->play == NULL) {
        if (strcmp(scenario->name, "paths") == 0)
            paths_play(options, result);
        else
            control_play(options, result);
        return;
    }
    struct run *run = calloc(1, sizeof(*run));
    PPN_ASSERT(run != NULL);
    struct world_options world_options = {
        .seed = options->seed,
        .nodes = options->nodes == 0 ? NODES_DEFAULT : options->nodes,
        .loss_per_million = options->loss_per_million,
        .duplicate_per_million = options->loss_per_million > 0 ? 2000 : 0,
        .delay_us = 300,
        .jitter_us = 700,
        .warm = options->nodes >= WARM_NODES,
        .keep_views = scenario->needs_views,
        .story = options->story};
    run->options = options;
    run->result = result;
    run->world = world_new(&world_options);
    run->world->on_member = watch;
    settle(run);
    for (uint32_t i = 0; i < world_options.nodes; i++)
        run->world->nodes[i].blamed = false;
    scenario->play(run);
    measure(run);
    bounds_of_all(run);
    bounds_of_one(run, scenario);
    world_free(run->world);
    free(run);
}
