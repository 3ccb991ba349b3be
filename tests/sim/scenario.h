// SPDX-License-Identifier: ISC
#pragma once

/* What happens to a network during a run, what must hold throughout, and what is measured. */

#include <signal.h>

#include "world.h"

enum { SCENARIO_BROKEN_MAX = 160 };

struct scenario_options {
    uint64_t seed;
    uint32_t nodes; /* 0: as the scenario likes */
    uint32_t loss_per_million;
    uint32_t minutes; /* 0: as long as the scenario needs */
    const char *scenario;
    FILE *story;
    /* Set from outside (a signal), a long run ends with what it has measured so far; or NULL. */
    const volatile sig_atomic_t *stop;
    FILE *progress; /* a terminal that is told how far idle and loss are; or NULL */
};

/* Where nothing else is said, -1 is "not measured". */
struct scenario_result {
    uint32_t nodes;
    double virtual_s;
    bool stopped; /* from outside, before its end */
    uint64_t trace_hash;
    uint32_t invariants_broken;
    char first_broken[SCENARIO_BROKEN_MAX];
    int64_t false_dead, false_suspect;
    double first_suspect_p50_ms, first_suspect_p99_ms;
    double first_verdict_p50_ms;
    double dead_everywhere_p50_ms, dead_everywhere_p99_ms;
    double membership_bytes_per_node_s, total_bytes_per_node_s;
    double join_ms; /* all started at once until one view */
    double heal_ms;
    double update_ms;         /* a changed profile seen by all */
    double faulty_out;        /* share of faulty nodes out of placement in the last third */
    int64_t touched;          /* healthy nodes that somebody took out of placement meanwhile */
    int64_t burst_bytes_most; /* that any node had sent beyond its rate */
    uint64_t steps, packets;
    /* in the scenario "control" */
    int64_t launches; /* machines */
    int64_t joins, revokes;
    double healthy_share; /* of all node-time, that in which a death would have been a false one */
    double part_heal_ms;  /* a random part is whole again while the rest is not */
    /* in the scenario "paths" */
    double best_ms;          /* after the heal until every pair has the best way there is */
    double relay_outage_ms;  /* longest silence when one of two relays dies in peace */
    double idle_questions_s; /* of one node to another that nothing is sent to */
};

bool scenario_known(const char *name);
/* What a known scenario cannot do of what is asked, for people; NULL: it can. */
const char *scenario_refuses(const struct scenario_options *options);
void scenario_list(FILE *to);
void scenario_run(const struct scenario_options *options, struct scenario_result *result);
void scenario_print(const struct scenario_options *options, const struct scenario_result *result,
                    FILE *to);
