// SPDX-License-Identifier: ISC
#pragma once

/* What the seed breaks in the scenario "control", for how long, and who is well meanwhile. A node
 * is well when nothing was done to it for a while: then whoever gives it up is wrong. */

#include "control.h"

struct faults {
    struct world *world;
    struct control *control;
    struct ppn_random random;
    uint32_t flaws; /* how bad this seed is: per million and second, each kind of fault */
    struct ppn_instant back[CONTROL_NODES_MAX];    /* when a stopped agent starts again */
    struct ppn_instant lossy[CONTROL_NODES_MAX];   /* until when it loses packets */
    struct ppn_instant well_at[CONTROL_NODES_MAX]; /* if nothing else happens to it */
    uint32_t cut_with[CONTROL_NODES_MAX];          /* nodes that it has a cut with, a bit each */
    struct ppn_instant mend; /* of all cuts and of the partition; PPN_NEVER: none */
    uint32_t frozen;         /* nodes whose faults stay as they are, a bit each */
    uint64_t well_ticks, ticks;
};

/* How bad it will be, and the network that it happens on: both from the seed. */
void control_faults_draw(struct faults *faults, uint64_t seed, struct world_options *options);
void control_faults_begin(struct faults *faults, struct control *control);

/* Once a second of phase one. */
void control_faults_strike(struct faults *faults);

/* Ten times a second: what has lasted long enough ends, and who is well is said anew. */
void control_faults_tick(struct faults *faults);

/* No partition and no cut. */
bool control_faults_whole(const struct faults *faults);

/* Ends all that is wrong with the nodes of `part` (a bit each) and between them. The others stay as
 * they are, or beyond a partition. */
void control_faults_heal_part(struct faults *faults, uint32_t part, bool apart);
void control_faults_heal(struct faults *faults);

/* Of all node-time so far, in which share the nodes were well. */
double control_faults_well_share(const struct faults *faults);
