// SPDX-License-Identifier: ISC
#pragma once

/* What a bad entry costs the member that sent it: a pure core, no clock, fixed memory.
 *
 * Whether an entry is accepted follows from its bytes and its ancestors alone, so an honest member
 * never passes on what this node refuses for good: whoever sends it made it up, or runs other
 * rules. Nothing of it is in the log; but each costs this node a decode, a hash and signature
 * checks. So its log frames are not read for a while, twice as long each time:
 *
 *     quiet --refused--> muted for 10 s --time--> watched --refused--> muted for 20, 40 ... 600 s
 *                                                    '--half an hour without another--> quiet
 *
 * A mute always ends: a member that was repaired, or whose rules this program learns by an update,
 * catches up. What it would have told comes from the others meanwhile. Entries that it made and
 * others pass on are read as ever: this is about senders, not authors. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/time.h"

enum {
    ADMISSION_CONDUCT_MAX =
        256, /* members remembered; of more, who is forgiven next is forgotten */
    ADMISSION_MUTE_MIN_S = 10,
    ADMISSION_MUTE_MAX_S = 600,
    ADMISSION_FORGIVEN_S = 1800 /* after the end of the last mute */
};

_Static_assert(ADMISSION_FORGIVEN_S >= 2 * ADMISSION_MUTE_MAX_S,
               "who offends at every end of a mute is never forgiven");

struct admission_offender {
    struct ppn_node_id node;
    struct ppn_instant muted_until;
    uint32_t mute_s; /* how long the last mute was */
};

/* The caller owns it; the fields are for admission_conduct_* alone. */
struct admission_conduct {
    uint32_t count;
    struct admission_offender offenders[ADMISSION_CONDUCT_MAX];
};

void admission_conduct_init(struct admission_conduct *conduct);

/* Whether the refusal of an entry, or of the batch around it, is its sender's fault: INVALID,
 * SIGNATURE, UNAUTHORIZED and NOT_FOUND (it names what its ancestors do not hold). Not VERSION and
 * TOO_BIG, which a newer program may say in good faith, nor what this node lacks (BUSY, FULL,
 * NO_MEMORY), nor CONFLICT. */
bool admission_conduct_blames(enum ppn_error error);

/* What came from `node` was refused with `error`. True when a mute begins by it: then report it,
 * and only then, so that a flood makes one line. */
bool admission_conduct_refused(struct admission_conduct *conduct, struct ppn_instant now,
                               const struct ppn_node_id *node, enum ppn_error error);

/* How long log frames of `node` are still to be dropped unread; 0: read them. */
struct ppn_duration admission_conduct_muted(const struct admission_conduct *conduct,
                                            struct ppn_instant now, const struct ppn_node_id *node);
