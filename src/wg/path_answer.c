// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "wg/path_internal.h"

enum { STALE_MAX = 3, LEARN_GAP_MIN_MS = 2000 };

struct ppn_duration path_pace(const struct path *path, const struct path_way *way,
                              struct ppn_instant now)
{
    if (way != path_current(path))
        return ppn_ms(PATH_SPARE_MS);
    if (ppn_before(now, path->traffic_until))
        return ppn_ms(path->doubted                       ? PATH_DOUBT_MS
                      : ppn_before(now, path->busy_until) ? PATH_ACTIVE_MS
                                                          : PATH_LIGHT_MS);
    return path_shorter(ppn_ms(PATH_IDLE_MS), path->keep);
}

void path_outcome(struct path_way *way, bool answered)
{
    way->outcomes = way->outcomes << 1 | answered;
    if (way->outcome_count < 64)
        way->outcome_count++;
}

/* A mapping of our NAT that was gone after a silence of known length: the peer saw another port of
 * the same address, or had asked in vain just before our question opened it again. Questions go
 * out twice as often from then on. */
static void learn(struct path *path, const struct path_way *way, struct ppn_instant before,
                  const struct path_event *event)
{
    struct ppn_duration gap = ppn_between(before, way->ping.sent_at);
    bool silent = ppn_before(path->sent_at, before) && way == path_current(path);
    bool moved = way->observed.port != 0 && way->observed.port != event->observed.port &&
                 memcmp(way->observed.address, event->observed.address, 16) == 0;
    bool forgot = way->misses == 0 && (moved || event->missed >= 2);
    if (!silent || !forgot || gap.ns < ppn_ms(LEARN_GAP_MIN_MS).ns ||
        gap.ns > ppn_ms(PATH_KEEP_MS).ns)
        return;
    path->keep = path_shorter(path->keep, ppn_ns(gap.ns / 2));
    if (path->keep.ns < ppn_ms(PATH_KEEP_MIN_MS).ns)
        path->keep = ppn_ms(PATH_KEEP_MIN_MS);
}

static void take_pong(struct path *path, struct path_way *way, struct ppn_instant now,
                      const struct path_event *event)
{
    struct ppn_duration rtt = ppn_between(way->ping.sent_at, now);
    struct ppn_instant before = way->proven_at;
    bool was = way->proven;
    if (was)
        learn(path, way, before, event);
    bool first = way->answered++ == 0;
    way->rtt = first ? rtt : ppn_ns(way->rtt.ns + (rtt.ns - way->rtt.ns) / 8);
    way->ping.waiting = false;
    way->ping.stale = 0;
    way->misses = 0;
    way->proven = true;
    way->proven_at = now;
    way->observed = event->observed;
    path_outcome(way, true);
    way->ping.at = ppn_after(now, path_pace(path, way, now));
    if (!was && !way->carry.question.waiting)
        way->carry.question.at = ppn_earlier(way->carry.question.at, now);
}

static void take_bound(struct path *path, struct path_way *way, struct ppn_instant now)
{
    bool was = way->bound;
    way->bind.waiting = false;
    way->bind.stale = 0;
    way->bind_misses = 0;
    way->bound = true;
    way->bind.at = ppn_after(now, path_shorter(ppn_ms(PATH_SPARE_MS), path->keep));
    /* The mapping is open again, so what was asked before may have been lost for want of it. */
    if (!was || (!way->proven && !way->ping.waiting))
        way->ping.at = now;
}

static bool question_is(const struct path_question *question, uint64_t nonce)
{
    return question->waiting && question->nonce == nonce;
}

bool path_waits_for(const struct path *path, uint64_t nonce)
{
    for (size_t i = 0; i < path->way_count; i++) {
        const struct path_way *way = &path->ways[i];
        if (question_is(&way->ping, nonce) || question_is(&way->bind, nonce) ||
            question_is(&way->carry.question, nonce))
            return true;
    }
    return false;
}

void path_take_answer(struct path *path, struct ppn_instant now, const struct path_event *event)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (event->kind == PATH_PONG && path_same(&way->endpoint, &event->from)) {
            if (question_is(&way->ping, event->nonce)) {
                take_pong(path, way, now, event);
                return;
            }
            if (question_is(&way->carry.question, event->nonce)) {
                path_carry_answered(&way->carry, now);
                return;
            }
        }
        if (event->kind == PATH_PONG || !question_is(&way->bind, event->nonce))
            continue;
        bool known = way->endpoint.port != 0;
        if (!path_same(known ? &way->endpoint : &way->relay, &event->from))
            return;
        if (event->kind == PATH_MAILBOX_IS)
            path_mailbox(path, way, event->port, now);
        else if (known)
            take_bound(path, way, now);
        return;
    }
}

/* A relay or peer whose clock is ahead; the shell counts from its counter on. */
void path_take_stale(struct path *path, struct ppn_instant now, uint64_t nonce)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        struct path_question *all[] = {&way->ping, &way->bind, &way->carry.question};
        for (size_t k = 0; k < 3; k++) {
            if (!question_is(all[k], nonce) || all[k]->stale == STALE_MAX)
                continue;
            all[k]->stale++;
            all[k]->waiting = false;
            all[k]->at = now;
        }
    }
}

void path_take_too_big(struct path *path, struct ppn_instant now, uint64_t nonce)
{
    for (size_t i = 0; i < path->way_count; i++) {
        if (question_is(&path->ways[i].carry.question, nonce))
            path_carry_failed(&path->ways[i].carry, now, true);
    }
}

uint16_t path_keepalive_s(const struct path *path, bool behind_nat)
{
    const struct path_way *way = path_current(path);
    if (!behind_nat || way == NULL || way->class == PATH_LAN || way->class >= PATH_RELAY)
        return 0;
    return (uint16_t)(path->keep.ns / ppn_seconds(1).ns);
}

uint8_t path_missed(const struct path *path)
{
    const struct path_way *way = path_current(path);
    uint32_t missed = way == NULL ? 0 : way->misses;
    return (uint8_t)(missed < UINT8_MAX ? missed : UINT8_MAX);
}
