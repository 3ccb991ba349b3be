// SPDX-License-Identifier: ISC
#include "bridge/fallback.h"

#include "base/assert.h"

_Static_assert(FALLBACK_DOUBT_MS + FALLBACK_ASKS * FALLBACK_ASK_MS < 10000,
               "a blocked network is left in 10 s");

void fallback_init(struct fallback *fallback, struct ppn_instant now)
{
    *fallback = (struct fallback){.heard_at = now, .next_at = now};
}

static void doubt(struct fallback *fallback, struct ppn_instant now)
{
    if (fallback->asking)
        return;
    fallback->asking = true;
    fallback->asked = 0;
    fallback->next_at = now;
}

static struct ppn_instant doubt_at(const struct fallback *fallback)
{
    struct ppn_instant stale = ppn_after(fallback->heard_at, ppn_seconds(FALLBACK_FRESH_S));
    return fallback->unanswered
               ? ppn_earlier(stale, ppn_after(fallback->unanswered_at, ppn_ms(FALLBACK_DOUBT_MS)))
               : stale;
}

static void tick(struct fallback *fallback, struct ppn_instant now, struct fallback_update *update)
{
    if (ppn_due(doubt_at(fallback), now))
        doubt(fallback, now);
    if (!fallback->asking || !ppn_due(fallback->next_at, now))
        return;
    fallback->on = fallback->on || fallback->asked == FALLBACK_ASKS;
    fallback->asked++;
    update->ask = true;
    fallback->next_at = ppn_after(now, ppn_ms(fallback->on ? FALLBACK_RETRY_MS : FALLBACK_ASK_MS));
}

void fallback_step(struct fallback *fallback, struct ppn_instant now, enum fallback_event event,
                   struct fallback_update *update)
{
    bool was = fallback->on;
    *update = (struct fallback_update){0};
    switch (event) {
    case FALLBACK_TICK:
        break;
    case FALLBACK_RELAYS:
        if (!fallback->relays)
            fallback_init(fallback, now);
        if (!fallback->relays) /* nothing was ever heard by UDP here */
            doubt(fallback, now);
        fallback->relays = true;
        break;
    case FALLBACK_NO_RELAYS:
        fallback_init(fallback, now);
        break;
    case FALLBACK_ASKED:
        if (!fallback->unanswered)
            fallback->unanswered_at = now;
        fallback->unanswered = true;
        break;
    case FALLBACK_ANSWERED:
        fallback->heard_at = now;
        fallback->unanswered = fallback->asking = fallback->on = false;
        break;
    case FALLBACK_VOID:
        fallback->asking = fallback->on; /* its time begins anew */
        doubt(fallback, now);
        break;
    }
    if (fallback->relays)
        tick(fallback, now, update);
    PPN_ASSERT(!fallback->on || fallback->asking);
    update->changed = fallback->on != was;
}

struct ppn_instant fallback_deadline(const struct fallback *fallback)
{
    if (!fallback->relays)
        return PPN_NEVER;
    return fallback->asking ? fallback->next_at : doubt_at(fallback);
}
