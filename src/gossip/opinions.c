// SPDX-License-Identifier: ISC
#include "gossip/internal.h"

/* What the observers of one member said of it, one opinion each: kept, replaced, withdrawn. What
 * follows from them is verdict.c's. */

struct gossip_case *gossip_case_of(struct gossip *g, uint16_t subject)
{
    uint16_t trial = g->slots[subject].trial;
    return trial == 0 ? NULL : &g->cases[trial - 1];
}

struct gossip_case *gossip_case_open(struct gossip *g, uint16_t subject)
{
    struct gossip_case *c = gossip_case_of(g, subject);
    if (c != NULL)
        return c;
    if (!gossip_pool_grow((void **)&g->cases, &g->case_capacity, g->case_count + 1,
                          sizeof(*g->cases))) {
        g->out_of_memory = true;
        return NULL;
    }
    c = &g->cases[g->case_count++];
    *c = (struct gossip_case){.subject = subject,
                              .first = PPN_NEVER,
                              .suspected = PPN_NEVER,
                              .refused = PPN_NEVER,
                              .flapped = {INT64_MIN},
                              .held = {INT64_MIN},
                              .next = PPN_NEVER};
    g->slots[subject].trial = (uint16_t)g->case_count;
    return c;
}

static void entry_release(struct gossip *g, const struct gossip_opinion_entry *entry)
{
    gossip_pool_record_release(g->pool, entry->record);
    gossip_pool_record_release(g->pool, entry->degraded);
}

void gossip_opinion_remove(struct gossip *g, struct gossip_case *c, uint32_t at)
{
    entry_release(g, &c->opinions[at]);
    c->opinions[at] = c->opinions[--c->count];
}

/* That a member was silent is taken back by its next word. That its link is bad is not: a word that
 * came through says nothing of those that did not. So an accuser that called the link bad before it
 * called the member silent is taken at its older word again. */
bool gossip_opinion_withdraw(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                             uint32_t at)
{
    struct gossip_opinion_entry *entry = &c->opinions[at];
    struct ppn_instant end = ppn_after(entry->degraded_heard, ppn_ms(GOSSIP_DEGRADED_TTL_MS));
    if (entry->degraded == 0 || ppn_due(end, now)) {
        gossip_opinion_remove(g, c, at);
        return false;
    }
    gossip_pool_record_release(g->pool, entry->record);
    entry->opinion = GOSSIP_OPINION_DEGRADED;
    entry->record = entry->degraded;
    entry->heard = entry->degraded_heard;
    entry->degraded = 0;
    return true;
}

void gossip_case_drop(struct gossip *g, uint16_t subject)
{
    struct gossip_case *c = gossip_case_of(g, subject);
    if (c == NULL)
        return;
    while (c->count > 0)
        gossip_opinion_remove(g, c, 0);
    g->slots[subject].trial = 0;
    struct gossip_case *last = &g->cases[--g->case_count];
    if (c != last) {
        *c = *last;
        g->slots[c->subject].trial = (uint16_t)(c - g->cases + 1);
    }
}

const struct gossip_opinion_entry *gossip_opinion_by(const struct gossip *g, uint16_t subject,
                                                     uint16_t accuser)
{
    uint16_t trial = g->slots[subject].trial;
    if (trial == 0)
        return NULL;
    const struct gossip_case *c = &g->cases[trial - 1];
    for (uint32_t i = 0; i < c->count; i++)
        if (c->opinions[i].accuser == accuser)
            return &c->opinions[i];
    return NULL;
}

/* What `old` knows of a bad link goes on behind a worse opinion of the same accuser. */
static void replace(struct gossip *g, struct gossip_opinion_entry *old,
                    const struct gossip_opinion_entry *entry)
{
    struct gossip_opinion_entry was = *old;
    *old = *entry;
    bool worse =
        entry->opinion == GOSSIP_OPINION_NO_ANSWER || entry->opinion == GOSSIP_OPINION_REFUSED;
    if (worse && was.opinion == GOSSIP_OPINION_DEGRADED) {
        old->degraded = was.record;
        old->degraded_heard = was.heard;
        was.record = 0;
    } else if (worse) {
        old->degraded = was.degraded;
        old->degraded_heard = was.degraded_heard;
        was.degraded = 0;
    }
    entry_release(g, &was);
}

void gossip_opinion_place(struct gossip *g, struct gossip_case *c,
                          const struct gossip_opinion_entry *entry)
{
    uint32_t at = 0;
    while (at < c->count && c->opinions[at].accuser != entry->accuser)
        at++;
    if (at == c->count && c->count == GOSSIP_OPINIONS_MAX) {
        for (at = 0; at < c->count && c->opinions[at].opinion != GOSSIP_OPINION_OK; at++)
            continue;
        if (at == c->count) {
            gossip_pool_record_release(g->pool, entry->record);
            return;
        }
        entry_release(g, &c->opinions[at]);
        c->opinions[at] = *entry;
    } else if (at == c->count) {
        c->opinions[c->count++] = *entry;
    } else {
        replace(g, &c->opinions[at], entry);
    }
    c->next = entry->heard;
    g->case_next = ppn_earlier(g->case_next, c->next);
}

struct ppn_instant gossip_opinion_end(const struct gossip *g, const struct gossip_case *c,
                                      const struct gossip_opinion_entry *entry)
{
    if (entry->opinion == GOSSIP_OPINION_DEGRADED)
        return ppn_after(entry->heard, ppn_ms(GOSSIP_DEGRADED_TTL_MS));
    return gossip_is_lost(&g->slots[c->subject])
               ? PPN_NEVER
               : ppn_after(entry->heard, ppn_ms(GOSSIP_OPINION_TTL_MS));
}
