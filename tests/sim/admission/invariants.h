// SPDX-License-Identifier: ISC
#pragma once

/* The fourteen invariants of the log, asserted directly: from what the accepted entries say and
 * what the fold says of them, without the model. Each is one-sided, a bound that no right fold
 * crosses; that the fold is right in full is for the model.
 *
 *    1 one set of entries, one fold: any order, repetition, partition; incremental or from scratch
 *    2 a removal is undone by a root cut, a recovery or rule 8 alone, and has its effect
 *    3 nobody's own entries undo its removal, or count after it
 *    4 what is void is void for a reason that concerns it
 *    5 no bytes make the fold fail, and whoever has power can use it
 *    6 every member and everything in force chains to the genesis
 *    7 fewer keys than the quorum change nothing
 *    8 what a seal covers is final, and what it left out of a removed author is void
 *    9 a checkpoint changes nothing (tested where checkpoints are)
 *   10 addresses, WireGuard keys and names are unique
 *   11 who listens to updates knows the members
 *   12 an author's entries are one chain without gaps (the caps are in the unit tests)
 *   13 logs that were apart are equal after as many rounds as they are far from each other
 *   14 clocks touch leases only
 */

#include "admission/state.h"
#include "world.h"

enum { INVARIANTS = 14 };

/* What was broken, and how it was first: by number. Zero-initialise. */
struct invariants {
    uint32_t broken; /* bit n: invariant n */
    const char *how[INVARIANTS + 1];
};

static inline void invariants_break(struct invariants *out, uint32_t number, const char *how)
{
    if ((out->broken >> number & 1) == 0)
        out->how[number] = how;
    out->broken |= 1u << number;
}

/* Reads one log as it is at any moment: 2, 3, 4, 6, 7, 8, 10, 12, 14. */
void invariants_of_log(const struct admission *log, struct invariants *out);

struct picture;

/* Of them 6, 7, 8, 10, 12, 14; part of invariants_of_log. */
void invariants_of_authority(const struct picture *picture, const struct admission *log,
                             struct invariants *out);

/* Plays on with a log that holds all of a history: 1, 5, 8, 13, 14. The log grows. */
void invariants_of_history(struct admission *log, const struct world *world,
                           struct invariants *out);
