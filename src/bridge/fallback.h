// SPDX-License-Identifier: ISC
#pragma once

/* Does this network let UDP out? A pure core, one for a node: it decides when relays are to be
 * reached over TCP (src/bridge) and when no longer.
 *
 * UDP works as long as some relay answered a UDP question in the last FALLBACK_FRESH_S seconds; the
 * questions of the path core keep that true for free. When a question waits for FALLBACK_DOUBT_MS,
 * or nothing was heard for FALLBACK_FRESH_S, every relay is asked each FALLBACK_ASK_MS; when none
 * answers FALLBACK_ASKS questions, the fallback is on. Questions count, not time, so that a machine
 * that was too busy to listen gets another one. It stays on, and relays are asked each
 * FALLBACK_RETRY_MS, until one answers: TCP is worse than any UDP, and both at once would have two
 * addresses for one node at a relay, which sends to the newest.
 *
 * What fails, and what happens: all relays are down, so UDP is silent though nothing blocks it: the
 * fallback is on and finds nobody over TCP either, and the first answer ends it. UDP comes and
 * goes: the fallback follows after FALLBACK_ASKS questions, so at most once in that time. */

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum {
    FALLBACK_FRESH_S = 20, /* above PATH_SPARE_MS: a pool with relays in use is never asked more */
    FALLBACK_DOUBT_MS = 1000,
    FALLBACK_ASK_MS = 750,
    FALLBACK_ASKS = 4,
    FALLBACK_RETRY_MS = 3000
};

/* Fields belong to the core. */
struct fallback {
    bool relays, on;
    bool asking;    /* always true while on */
    uint32_t asked; /* since asking */
    bool unanswered;
    struct ppn_instant heard_at, unanswered_at, next_at;
};

enum fallback_event {
    FALLBACK_TICK,
    FALLBACK_RELAYS,    /* there is a relay that offers TCP */
    FALLBACK_NO_RELAYS, /* there is none */
    FALLBACK_ASKED,     /* a UDP question went to a relay */
    FALLBACK_ANSWERED,  /* an authentic answer came from one, by UDP */
    FALLBACK_VOID       /* another network: nothing that was heard counts */
};

struct fallback_update {
    bool ask;     /* every relay, by UDP, now */
    bool changed; /* `on` did */
};

void fallback_init(struct fallback *fallback, struct ppn_instant now);
void fallback_step(struct fallback *fallback, struct ppn_instant now, enum fallback_event event,
                   struct fallback_update *update);
/* When a TICK is due. */
struct ppn_instant fallback_deadline(const struct fallback *fallback);
