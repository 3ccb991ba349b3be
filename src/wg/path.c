// SPDX-License-Identifier: ISC
#include "wg/path.h"

#include <string.h>

#include "base/assert.h"
#include "wg/path_internal.h"

enum {
    LATE_MS = 250, /* a TICK that comes so late says that this machine was busy, not the way dead */
    GRACE_MS = 200,
    KEEPALIVES_BYTES = 64, /* two empty packets of WireGuard between two looks: nobody talks */
    LEARN_GAP_MIN_MS = 2000
};

/* A peer may name a place of a relay's as its own: then what is proven counts, best first. */
const struct path_way *path_current(const struct path *path)
{
    const struct path_way *found = NULL;
    for (size_t i = 0; path->has_current && i < path->way_count; i++) {
        const struct path_way *way = &path->ways[i];
        if (way->endpoint.port == 0 || !path_same(&way->endpoint, &path->current))
            continue;
        if (found == NULL || way->proven > found->proven ||
            (way->proven == found->proven && way->class < found->class))
            found = way;
    }
    return found;
}

struct path_way *path_used(struct path *path)
{
    const struct path_way *used = path_current(path);
    return used == NULL ? NULL : &path->ways[used - path->ways];
}

void path_init(struct path *path, struct ppn_instant now, uint64_t seed)
{
    memset(path, 0, sizeof(*path));
    ppn_random_init(&path->random, seed);
    path->looked_at = path->busy_until = now;
    path->since = path->sent_at = path->traffic_until = path->call_at = now;
    path->call_every = ppn_ms(PATH_CALL_MS);
    path->keep = ppn_ms(PATH_KEEP_MS);
    path->choose_at = PPN_NEVER;
}

void path_emit(struct path_updates *updates, const struct path_update *update)
{
    PPN_ASSERT(updates->count < PATH_UPDATES_MAX);
    updates->list[updates->count++] = *update;
}

bool path_needed(const struct path *path, struct ppn_instant now)
{
    const struct path_way *used = path_current(path);
    return used == NULL || !used->proven ||
           ppn_before(now, ppn_after(path->traffic_until, ppn_ms(PATH_NEEDED_MS)));
}

/* ---- questions ---- */

struct ppn_duration path_timeout(const struct path_way *way)
{
    if (way->answered == 0)
        return ppn_ms(PATH_TIMEOUT_MS);
    struct ppn_duration wait = ppn_ns(2 * way->rtt.ns + ppn_ms(PATH_TIMEOUT_ADD_MS).ns);
    if (wait.ns < ppn_ms(PATH_TIMEOUT_MIN_MS).ns)
        return ppn_ms(PATH_TIMEOUT_MIN_MS);
    return path_shorter(wait, ppn_ms(PATH_TIMEOUT_MAX_MS));
}

void path_question_sent(struct path *path, struct path_question *question,
                        const struct path_way *way, struct ppn_instant now)
{
    PPN_ASSERT(!question->waiting);
    question->nonce = ppn_random_u64(&path->random);
    question->waiting = true;
    question->late = false;
    question->sent_at = now;
    question->at = ppn_after(now, path_timeout(way));
}

bool path_question_missed(struct path_question *question, struct ppn_instant now)
{
    if (!question->waiting || !ppn_due(question->at, now))
        return false;
    if (!question->late && ppn_due(ppn_after(question->at, ppn_ms(LATE_MS)), now)) {
        question->late = true;
        question->at = ppn_after(now, ppn_ms(GRACE_MS));
        return false;
    }
    return true;
}

static struct ppn_duration retry_after(uint32_t misses)
{
    PPN_ASSERT(misses > 0);
    uint32_t doubled = misses < 8 ? misses - 1 : 7;
    return path_shorter(ppn_ms((int64_t)PATH_RETRY_MS << doubled), ppn_ms(PATH_RETRY_MAX_MS));
}

static void ask_ping(struct path *path, struct path_way *way, struct ppn_instant now,
                     struct path_updates *updates)
{
    PPN_ASSERT(way->endpoint.port != 0);
    way->asked++;
    path_question_sent(path, &way->ping, way, now);
    path_emit(updates, &(struct path_update){
                           .kind = PATH_SEND_PING, .to = way->endpoint, .nonce = way->ping.nonce});
}

static void ask_relay(struct path *path, struct path_way *way, struct ppn_instant now,
                      struct path_updates *updates)
{
    bool known = way->endpoint.port != 0;
    way->asked += !known;
    path_question_sent(path, &way->bind, way, now);
    path_emit(updates, &(struct path_update){.kind = known ? PATH_SEND_BIND : PATH_SEND_MAILBOX,
                                             .to = known ? way->endpoint : way->relay,
                                             .nonce = way->bind.nonce});
}

/* Questions that rest are asked now; `all`: those that wait for a better time, too. */
static void wake(struct path *path, struct ppn_instant now, bool all)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        bool relayed = path_mailbox_class(way->class);
        if (relayed && !way->bind.waiting &&
            (way->bind.at.ns == PPN_NEVER.ns || (all && !way->bound)))
            way->bind.at = now;
        if (way->proven || way->ping.waiting || (relayed && !way->bound))
            continue;
        if (all || way->ping.at.ns == PPN_NEVER.ns)
            way->ping.at = now;
    }
}

/* Questions to every place that is silent, now, and quickly for a while. */
static void hurry(struct path *path, struct ppn_instant now)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (path_mailbox_class(way->class) && !way->bound) {
            way->bind.waiting = false;
            way->bind_misses = 0;
        }
        if (!way->proven) {
            way->ping.waiting = false;
            way->misses = 0;
            if (path_mailbox_class(way->class) && !way->bound)
                way->ping.at = PPN_NEVER;
        }
    }
    wake(path, now, true);
}

/* ---- what the device shows ---- */

static void take_wireguard(struct path *path, struct ppn_instant now,
                           const struct path_event *event)
{
    bool sent = event->wireguard.tx_bytes > path->tx_bytes + KEEPALIVES_BYTES;
    bool came = event->wireguard.rx_bytes > path->rx_bytes + KEEPALIVES_BYTES;
    bool needed = path_needed(path, now);
    uint64_t bytes = (sent ? event->wireguard.tx_bytes - path->tx_bytes : 0) +
                     (came ? event->wireguard.rx_bytes - path->rx_bytes : 0);
    int64_t since_ms = ppn_to_ms(ppn_between(path->looked_at, now));
    if (bytes * 1000 > (uint64_t)since_ms * PATH_BUSY_BYTES_S)
        path->busy_until = ppn_after(now, ppn_ms(PATH_TRAFFIC_MS));
    path->looked_at = now;
    path->tx_bytes = event->wireguard.tx_bytes;
    path->rx_bytes = event->wireguard.rx_bytes;
    path->doubted = sent && !came;
    if (sent || came)
        path->traffic_until = ppn_after(now, ppn_ms(PATH_TRAFFIC_MS));
    if (sent)
        path->sent_at = now;
    if (!needed && path_needed(path, now))
        wake(path, now, false);
    if (event->wireguard.has_endpoint &&
        (!path->has_current || !path_same(&path->current, &event->wireguard.endpoint))) {
        (void)path_heard_way(path, &event->wireguard.endpoint, now);
        path->has_current = true;
        path->current = event->wireguard.endpoint;
        path->since = now;
    }
    struct path_way *way = path_used(path);
    if (way != NULL && way->proven && !way->ping.waiting)
        way->ping.at =
            ppn_earlier(way->ping.at, ppn_after(way->proven_at, path_pace(path, way, now)));
}

static void take_called(struct path *path, struct ppn_instant now, bool moved)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (!way->proven)
            continue;
        if (moved && !path_mailbox_class(way->class))
            way->proven = false;
        if (!way->ping.waiting && ppn_due(ppn_after(way->proven_at, ppn_ms(PATH_RETRY_MS)), now))
            way->ping.at = now;
    }
    hurry(path, now);
}

static void take_void(struct path *path, struct ppn_instant now)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        way->proven = way->bound = false;
        way->observed.port = 0;
        if (path_mailbox_class(way->class))
            way->ping.at = PPN_NEVER;
        path_carry_init(&way->carry);
    }
    hurry(path, now);
    path->moved = true;
    path->keep = ppn_ms(PATH_KEEP_MS);
    path->call_at = now;
    path->call_every = ppn_ms(PATH_CALL_MS);
}

/* ---- time ---- */

/* The chosen way is silent: are the others still what they were when last asked? */
static void ask_spares(struct path *path, const struct path_way *used, struct ppn_instant now)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (way != used && way->proven && !way->ping.waiting)
            way->ping.at = now;
    }
    wake(path, now, false);
}

static void missed_ping(struct path *path, struct path_way *way, struct ppn_instant now)
{
    bool used = way == path_used(path);
    way->ping.waiting = false;
    way->misses++;
    if (way->answered > 0)
        path_outcome(way, false);
    if (path_mailbox_class(way->class) && way->misses == 1 && !way->bind.waiting)
        way->bind.at = now;
    if (used && way->misses == 1)
        ask_spares(path, way, now);
    if (way->proven && way->misses < PATH_MISSES_MAX) {
        way->ping.at = now;
        return;
    }
    bool lost = way->proven;
    way->proven = false;
    way->ping.at = ppn_after(now, retry_after(way->misses));
    if (!used || !lost)
        return;
    path->call_every = ppn_ms(PATH_CALL_MS);
    wake(path, now, true);
}

static void missed_bind(struct path_way *way, struct ppn_instant now)
{
    way->bind.waiting = false;
    way->bind_misses++;
    if (way->bound && way->bind_misses < PATH_MISSES_MAX) {
        way->bind.at = now;
        return;
    }
    way->bound = false;
    /* Often enough that both sides are soon back at a relay that is back. */
    way->bind.at =
        ppn_after(now, path_shorter(retry_after(way->bind_misses), ppn_ms(PATH_SPARE_MS)));
    if (!way->proven && !way->ping.waiting)
        way->ping.at = PPN_NEVER;
    /* A relay that began anew may have given the mailbox to another. */
    if (way->bind_misses % (2 * PATH_MISSES_MAX) == 0) {
        way->endpoint.port = 0;
        way->proven = false;
        way->ping = (struct path_question){.at = PPN_NEVER};
    }
}

static bool narrow(const struct path_way *way)
{
    return path_way_mtu(way) == 1;
}

static bool better(const struct path_way *a, const struct path_way *b)
{
    if (b == NULL || narrow(a) != narrow(b))
        return b == NULL || narrow(b);
    if (a->class != b->class)
        return a->class < b->class;
    return a->rtt.ns < b->rtt.ns;
}

/* The chosen way was asked again a moment ago (addresses changed, a call): its answer may be the
 * next one. */
static struct ppn_instant awaited_until(const struct path_way *way)
{
    const struct path_question *question =
        path_mailbox_class(way->class) && !way->bound ? &way->bind : &way->ping;
    struct ppn_duration patience = ppn_ns(2 * way->rtt.ns + ppn_ms(GRACE_MS / 2).ns);
    bool asked = way->answered > 0 && way->misses == 0 && way->bind_misses == 0;
    return asked && question->waiting ? ppn_after(question->sent_at, patience) : question->sent_at;
}

/* Within a class the margin is a third and five milliseconds, so that noise moves nobody. */
static bool worth(const struct path *path, const struct path_way *best, const struct path_way *used,
                  struct ppn_instant now)
{
    if (used == NULL)
        return true;
    if (!used->proven)
        return true;
    if (narrow(best) != narrow(used))
        return narrow(used);
    if (best->class != used->class)
        return best->class < used->class;
    return best->rtt.ns + best->rtt.ns / 2 + ppn_ms(5).ns < used->rtt.ns &&
           ppn_due(ppn_after(path->since, ppn_ms(PATH_STAY_MS)), now);
}

static void choose(struct path *path, struct ppn_instant now, struct path_updates *updates)
{
    struct path_way *best = NULL, *used = path_used(path);
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (way->proven && (way->misses == 0 || way == used) && better(way, best))
            best = way;
    }
    path->choose_at = PPN_NEVER;
    if (best == NULL || best == used || !worth(path, best, used, now))
        return;
    if (used != NULL && !used->proven && !ppn_due(awaited_until(used), now)) {
        path->choose_at = awaited_until(used);
        return;
    }
    PPN_ASSERT(best->proven && best->endpoint.port != 0);
    path->current = best->endpoint;
    path->has_current = true;
    path->since = now;
    /* What is sent now makes the peer's WireGuard follow, and it looks for itself. */
    path->news = true;
    path->call_at = ppn_after(now, ppn_ms(PATH_CALL_SOON_MS));
    if (!best->carry.question.waiting && ppn_due(best->carry.question.at, now))
        best->carry.question.at = path->call_at; /* what a spare way carried may have changed */
    if (!best->ping.waiting)
        best->ping.at = ppn_earlier(best->ping.at, ppn_after(now, path_pace(path, best, now)));
    path_emit(updates, &(struct path_update){.kind = PATH_ENDPOINT, .to = best->endpoint});
}

/* A call is worth its packet when there is news, or as long as something better may be had. */
static bool may_call(const struct path *path)
{
    const struct path_way *used = path_current(path);
    return used != NULL && used->proven && (path->news || path->moved || used->class >= PATH_RELAY);
}

static void call(struct path *path, struct ppn_instant now, struct path_updates *updates)
{
    if (!may_call(path) || !ppn_due(path->call_at, now))
        return;
    path->call_at = ppn_after(now, path->call_every);
    if (!path->news && !path->moved && !path_needed(path, now))
        return;
    if (path->call_every.ns < ppn_ms(PATH_RETRY_MAX_MS).ns)
        path->call_every = ppn_ns(path->call_every.ns * 2);
    path_emit(updates, &(struct path_update){.kind = PATH_CALL, .moved = path->moved});
    path->news = path->moved = false;
    if (path_current(path)->class >= PATH_RELAY)
        hurry(path, now);
}

/* True: ask now. A question that is due and not needed rests until something needs it. */
static bool due(const struct path *path, const struct path_way *way, struct path_question *question,
                struct ppn_instant now)
{
    if (question->waiting || !ppn_due(question->at, now))
        return false;
    if (way == path_current(path) || path_needed(path, now))
        return true;
    question->at = PPN_NEVER;
    return false;
}

static void run_way(struct path *path, struct path_way *way, struct ppn_instant now,
                    struct path_updates *updates)
{
    if (path_mailbox_class(way->class) && due(path, way, &way->bind, now))
        ask_relay(path, way, now, updates);
    path_carry_run(path, way, now, updates);
    if (due(path, way, &way->ping, now))
        ask_ping(path, way, now, updates);
    bool rests = !way->ping.waiting && way->ping.at.ns == PPN_NEVER.ns;
    if (path_mailbox_class(way->class) && !way->bind.waiting && way->bind.at.ns == PPN_NEVER.ns)
        way->bound = false;
    if (rests) {
        way->proven = false;
        way->misses = 0;
    }
}

static void run(struct path *path, struct ppn_instant now, struct path_updates *updates)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (path_question_missed(&way->bind, now))
            missed_bind(way, now);
        if (path_question_missed(&way->ping, now))
            missed_ping(path, way, now);
    }
    call(path, now, updates);
    for (size_t i = 0; i < path->way_count; i++)
        run_way(path, &path->ways[i], now, updates);
    choose(path, now, updates);
}

enum ppn_error path_step(struct path *path, struct ppn_instant now, const struct path_event *event,
                         struct path_updates *updates)
{
    struct path_way *way;
    updates->count = 0;
    switch (event->kind) {
    case PATH_TICK:
        break;
    case PATH_CANDIDATES:
        if (path_take_candidates(path, now, event) != PPN_OK)
            return PPN_ERROR_INVALID;
        break;
    case PATH_PONG:
    case PATH_MAILBOX_IS:
    case PATH_BOUND:
        path_take_answer(path, now, event);
        break;
    case PATH_STALE:
        path_take_stale(path, now, event->nonce);
        break;
    case PATH_TOO_BIG:
        path_take_too_big(path, now, event->nonce);
        break;
    case PATH_HEARD:
        way = path_heard_way(path, &event->from, now);
        if (way != NULL && !way->proven && !way->ping.waiting &&
            (!path_mailbox_class(way->class) || way->bound))
            way->ping.at = now;
        break;
    case PATH_WIREGUARD:
        take_wireguard(path, now, event);
        break;
    case PATH_CALLED:
        take_called(path, now, event->moved);
        break;
    case PATH_VOID:
        take_void(path, now);
        break;
    }
    run(path, now, updates);
    return PPN_OK;
}

struct ppn_instant path_deadline(const struct path *path)
{
    struct ppn_instant deadline = path->choose_at;
    for (size_t i = 0; i < path->way_count; i++) {
        const struct path_way *way = &path->ways[i];
        deadline = ppn_earlier(deadline, way->ping.at);
        if (path_mailbox_class(way->class))
            deadline = ppn_earlier(deadline, way->bind.at);
        deadline = ppn_earlier(deadline, path_carry_deadline(path, way));
    }
    if (may_call(path))
        deadline = ppn_earlier(deadline, path->call_at);
    return deadline;
}
