// SPDX-License-Identifier: ISC

/* What a way carries: DPLPMTUD (RFC 8899) with PINGs as its probe packets. The largest size is
 * tried first, since most ways carry it; a way that does not is narrowed to PATH_MTU_MIN at once
 * and then searched by halves. A size counts as lost when it is missed PROBES times and a small
 * PING was answered after each, so that neither a dead way nor a few losses narrow anything; what
 * much loss narrowed is widened again soon. */

#include "base/assert.h"
#include "wg/path_internal.h"

/* Multiples of 16, since wireguard-go fills packets up to them, and the interface's own MTU. */
enum { STEPS = 10, STEP = 16, PROBES = 3, PROBES_LOWEST = 6 };

_Static_assert(PATH_MTU_MIN + (STEPS - 2) * STEP < PATH_MTU_MAX, "the last step is the largest");

static uint16_t mtu_of(int step)
{
    PPN_ASSERT(step >= 0 && step < STEPS);
    return step == STEPS - 1 ? PATH_MTU_MAX : (uint16_t)(PATH_MTU_MIN + step * STEP);
}

void path_carry_init(struct path_carry *carry)
{
    *carry = (struct path_carry){.low = -1, .high = STEPS, .trying = STEPS - 1};
    carry->raise_at = PPN_NEVER;
}

/* Chooses the next size, or settles. */
static void next_step(struct path_carry *carry, struct ppn_instant now)
{
    carry->misses = 0;
    carry->question.at = now;
    carry->settled = carry->high - carry->low <= 1;
    if (carry->settled) {
        carry->trying = carry->low;
        carry->question.at = ppn_after(now, ppn_ms(PATH_MTU_CHECK_MS));
        int64_t raise_ms = (int64_t)PATH_MTU_RAISE_FIRST_MS << carry->raises;
        if (raise_ms < PATH_MTU_RAISE_MS)
            carry->raises++;
        else
            raise_ms = PATH_MTU_RAISE_MS;
        carry->raise_at = carry->high == STEPS ? PPN_NEVER : ppn_after(now, ppn_ms(raise_ms));
        return;
    }
    carry->trying = (int8_t)(carry->high == STEPS ? STEPS - 1 : (carry->low + carry->high) / 2);
    if (carry->trying <= carry->low)
        carry->trying = (int8_t)(carry->low + 1);
    PPN_ASSERT(carry->trying > carry->low && carry->trying < carry->high);
}

void path_carry_answered(struct path_carry *carry, struct ppn_instant now)
{
    carry->question.waiting = false;
    if (carry->settled && carry->low >= 0) {
        carry->misses = 0;
        carry->question.at = ppn_after(now, ppn_ms(PATH_MTU_CHECK_MS));
        return;
    }
    if (carry->settled)
        carry->high = STEPS;
    carry->low = carry->trying < 0 ? 0 : carry->trying;
    next_step(carry, now);
}

void path_carry_failed(struct path_carry *carry, struct ppn_instant now, bool certain)
{
    carry->question.waiting = false;
    carry->question.at = now;
    if (!certain && ++carry->misses < (carry->trying <= 0 ? PROBES_LOWEST : PROBES))
        return;
    if (carry->settled) {
        if (carry->low < 0) {
            carry->misses = 0;
            carry->question.at = ppn_after(now, ppn_ms(PATH_MTU_CHECK_MS));
            return;
        }
        /* It carried this before. */
        carry->settled = false;
        carry->low = -1;
    }
    carry->high = carry->trying;
    next_step(carry, now);
}

void path_carry_run(struct path *path, struct path_way *way, struct ppn_instant now,
                    struct path_updates *updates)
{
    struct path_carry *carry = &way->carry;
    if (path_question_missed(&carry->question, now)) {
        if (way->proven && ppn_before(carry->question.sent_at, way->proven_at)) {
            path_carry_failed(carry, now, false);
        } else {
            carry->question.waiting = false;
            carry->question.at = now;
        }
    }
    if (carry->question.waiting || !way->proven)
        return;
    if (carry->settled && ppn_due(carry->raise_at, now)) {
        carry->settled = false;
        carry->high = STEPS;
        next_step(carry, now);
    }
    if (!ppn_due(carry->question.at, now) || (carry->settled && way != path_current(path)))
        return;
    if (carry->settled && !ppn_before(now, path->traffic_until)) {
        carry->question.at = ppn_after(now, ppn_ms(PATH_MTU_CHECK_MS));
        return;
    }
    const struct path_update ping = {
        .kind = PATH_SEND_PING,
        .to = way->endpoint,
        .size = (uint16_t)(mtu_of(carry->trying < 0 ? 0 : carry->trying) + PATH_MTU_HEADER)};
    if (!way->ping.waiting)
        way->ping.at = now;
    path_question_sent(path, &carry->question, way, now);
    path_emit(updates, &ping);
    updates->list[updates->count - 1].nonce = carry->question.nonce;
}

/* What was settled holds for ways that are not used, until it is time to try for more; one that is
 * used is asked again. */
struct ppn_instant path_carry_deadline(const struct path *path, const struct path_way *way)
{
    const struct path_carry *carry = &way->carry;
    if (carry->question.waiting || (way->proven && !carry->settled))
        return carry->question.at;
    if (!way->proven)
        return PPN_NEVER;
    return way == path_current(path) ? ppn_earlier(carry->question.at, carry->raise_at)
                                     : carry->raise_at;
}

uint16_t path_way_mtu(const struct path_way *way)
{
    const struct path_carry *carry = &way->carry;
    if (carry->low >= 0)
        return mtu_of(carry->low);
    return carry->settled ? 1 : 0;
}

/* Until the largest size was missed, a new way is believed to carry it. */
uint16_t path_mtu(const struct path *path)
{
    const struct path_way *way = path_current(path);
    if (way == NULL || (way->carry.low < 0 && way->carry.high == STEPS))
        return PATH_MTU_MAX;
    return way->carry.low >= 0 ? mtu_of(way->carry.low) : PATH_MTU_MIN;
}
