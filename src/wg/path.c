// SPDX-License-Identifier: ISC
#include "wg/path.h"

#include <string.h>

#include "base/assert.h"

_Static_assert(PATH_ACTIVE_MS + PATH_MISSES_MAX * PATH_TIMEOUT_MS < 4000,
               "a dead way is left within seconds");

static bool same(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static struct path_way *find(struct path *path, const struct ppn_endpoint *endpoint)
{
    for (size_t i = 0; i < path->way_count; i++) {
        if (endpoint->port != 0 && same(&path->ways[i].endpoint, endpoint))
            return &path->ways[i];
    }
    return NULL;
}

static struct path_way *current(struct path *path)
{
    return path->has_current ? find(path, &path->current) : NULL;
}

const struct path_way *path_current(const struct path *path)
{
    for (size_t i = 0; path->has_current && i < path->way_count; i++) {
        if (same(&path->ways[i].endpoint, &path->current))
            return &path->ways[i];
    }
    return NULL;
}

void path_init(struct path *path, struct ppn_instant now, uint64_t seed)
{
    memset(path, 0, sizeof(*path));
    ppn_random_init(&path->random, seed);
    path->since = path->traffic_until = path->call_at = now;
    path->call_every = ppn_ms(PATH_CALL_MS);
}

static void emit(struct path_updates *updates, enum path_update_kind kind,
                 const struct ppn_endpoint *to, uint64_t nonce)
{
    PPN_ASSERT(updates->count < PATH_UPDATES_MAX);
    struct path_update *update = &updates->list[updates->count++];
    update->kind = kind;
    update->nonce = nonce;
    if (to != NULL)
        update->to = *to;
}

static void ask(struct path *path, struct path_way *way, struct ppn_instant now,
                struct path_updates *updates)
{
    enum path_update_kind kind = PATH_SEND_PING;
    const struct ppn_endpoint *to = &way->endpoint;
    if (way->class == PATH_RELAY) {
        bool known = way->endpoint.port != 0;
        kind = known ? PATH_SEND_BIND : PATH_SEND_MAILBOX;
        to = known ? &way->endpoint : &way->relay;
    }
    way->nonce = ppn_random_u64(&path->random);
    way->waiting = true;
    way->sent_at = now;
    way->asked++;
    emit(updates, kind, to, way->nonce);
}

/* ---- what is known of the peer's places ---- */

static bool relay_is(const struct path_way *way, const struct path_candidate *candidate)
{
    if (candidate->class == PATH_RELAY)
        return way->class == PATH_RELAY && same(&way->relay, &candidate->endpoint);
    return way->class != PATH_RELAY && same(&way->endpoint, &candidate->endpoint);
}

static struct path_way new_way(const struct path_candidate *candidate, struct ppn_instant now)
{
    struct path_way way = {.class = candidate->class, .next_at = now};
    way.endpoint = candidate->endpoint;
    if (candidate->class == PATH_RELAY) {
        way.relay = candidate->endpoint;
        way.endpoint.port = 0;
    }
    return way;
}

/* Places that the peer does not name but was heard at, and the one in use, if there is room. */
static size_t keep_heard(struct path *path, const struct path_event *event, struct path_way *ways,
                         size_t count)
{
    const struct path_way *used = current(path);
    size_t heard = 0;
    for (size_t j = 0; j < path->way_count; j++)
        heard += path->ways[j].heard;
    for (size_t j = 0; j < path->way_count; j++) {
        const struct path_way *way = &path->ways[j];
        bool named = false;
        for (size_t i = 0; i < event->candidates.count; i++)
            named = named || relay_is(way, &event->candidates.list[i]);
        bool in_use = way == used && way->class != PATH_RELAY && heard < PATH_HEARD_MAX;
        if (named || !(way->heard || in_use))
            continue;
        ways[count] = *way;
        ways[count++].heard = true;
    }
    return count;
}

static enum ppn_error take_candidates(struct path *path, struct ppn_instant now,
                                      const struct path_event *event)
{
    struct path_way ways[PATH_WAYS_MAX];
    size_t count = 0, relays = 0;
    for (size_t i = 0; i < event->candidates.count; i++)
        relays += event->candidates.list[i].class == PATH_RELAY;
    if (relays > PATH_RELAYS_MAX || event->candidates.count - relays > PPN_ENDPOINTS_MAX)
        return PPN_ERROR_INVALID;
    for (size_t i = 0; i < event->candidates.count; i++) {
        const struct path_candidate *candidate = &event->candidates.list[i];
        bool twice = false;
        for (size_t j = 0; j < count; j++)
            twice = twice || relay_is(&ways[j], candidate);
        if (twice || candidate->endpoint.port == 0)
            continue;
        ways[count] = new_way(candidate, now);
        for (size_t j = 0; j < path->way_count; j++) {
            if (!relay_is(&path->ways[j], candidate))
                continue;
            ways[count] = path->ways[j];
            ways[count].class = candidate->class;
            ways[count].heard = false;
        }
        count++;
    }
    count = keep_heard(path, event, ways, count);
    PPN_ASSERT(count <= PATH_WAYS_MAX);
    memcpy(path->ways, ways, count * sizeof(ways[0]));
    path->way_count = count;
    return PPN_OK;
}

/* A place that the peer was heard at, in the room for such places: the one that was proven longest
 * ago gives way, but never the one in use. */
static struct path_way *heard_way(struct path *path, const struct ppn_endpoint *from,
                                  struct ppn_instant now)
{
    struct path_way *way = find(path, from), *oldest = NULL;
    size_t count = 0;
    if (way != NULL || from->port == 0)
        return way;
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *old = &path->ways[i];
        if (!old->heard)
            continue;
        count++;
        if (old != current(path) &&
            (oldest == NULL || ppn_before(old->proven_at, oldest->proven_at)))
            oldest = old;
    }
    if (count < PATH_HEARD_MAX)
        oldest = &path->ways[path->way_count++];
    PPN_ASSERT(oldest != NULL && path->way_count <= PATH_WAYS_MAX);
    const struct path_candidate candidate = {.class = PATH_PUNCHED, .endpoint = *from};
    *oldest = new_way(&candidate, now);
    oldest->heard = true;
    return oldest;
}

/* Questions to every place that is silent, now and quickly. */
static void hurry(struct path *path, struct ppn_instant now)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (way->proven)
            continue;
        way->waiting = false;
        way->misses = 0;
        way->next_at = now;
    }
}

/* ---- answers ---- */

static void answered(struct path *path, struct path_way *way, struct ppn_instant now)
{
    struct ppn_duration rtt = ppn_between(way->sent_at, now);
    bool first = way->answered++ == 0;
    way->rtt = first ? rtt : ppn_ns(way->rtt.ns + (rtt.ns - way->rtt.ns) / 8);
    way->waiting = false;
    way->misses = 0;
    way->proven = true;
    way->proven_at = now;
    bool active = way == current(path) && ppn_before(now, path->traffic_until);
    way->next_at = ppn_after(now, ppn_ms(active ? PATH_ACTIVE_MS : PATH_SPARE_MS));
}

static void take_answer(struct path *path, struct ppn_instant now, const struct path_event *event)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (!way->waiting || way->nonce != event->nonce)
            continue;
        bool relayed = way->class == PATH_RELAY;
        const struct ppn_endpoint *asked =
            relayed && way->endpoint.port == 0 ? &way->relay : &way->endpoint;
        if (!same(asked, &event->from))
            return;
        if (event->kind == PATH_PONG && !relayed)
            answered(path, way, now);
        if (event->kind == PATH_BOUND && relayed && way->endpoint.port != 0)
            answered(path, way, now);
        if (event->kind == PATH_MAILBOX_IS && relayed) {
            way->waiting = false;
            way->proven = false;
            way->endpoint.port = event->port;
            way->next_at = ppn_after(now, ppn_ms(event->port == 0 ? PATH_SPARE_MS : 0));
        }
        return;
    }
}

static void take_wireguard(struct path *path, struct ppn_instant now,
                           const struct path_event *event)
{
    if (event->wireguard.tx_bytes > path->tx_bytes)
        path->traffic_until = ppn_after(now, ppn_ms(PATH_TRAFFIC_MS));
    path->tx_bytes = event->wireguard.tx_bytes;
    if (event->wireguard.has_endpoint &&
        (!path->has_current || !same(&path->current, &event->wireguard.endpoint))) {
        path->has_current = true;
        path->current = event->wireguard.endpoint;
        path->since = now;
        (void)heard_way(path, &path->current, now);
    }
    struct path_way *way = current(path);
    if (way == NULL || way->waiting || !ppn_before(now, path->traffic_until))
        return;
    struct ppn_instant due = ppn_after(way->sent_at, ppn_ms(PATH_ACTIVE_MS));
    if (way->proven)
        way->next_at = ppn_earlier(way->next_at, due);
}

/* ---- time ---- */

static void missed(struct path_way *way, struct ppn_instant now)
{
    way->waiting = false;
    way->misses++;
    if (way->proven && way->misses < PATH_MISSES_MAX) {
        way->next_at = now;
        return;
    }
    way->proven = false;
    uint32_t doubled = way->misses < 7 ? way->misses : 7;
    int64_t wait_ms = (int64_t)PATH_RETRY_MS << (doubled - 1);
    way->next_at =
        ppn_after(now, ppn_ms(wait_ms < PATH_RETRY_MAX_MS ? wait_ms : PATH_RETRY_MAX_MS));
    /* A relay that began anew may have given the mailbox to another. */
    if (way->class == PATH_RELAY && way->misses % (2 * PATH_MISSES_MAX) == 0)
        way->endpoint.port = 0;
}

/* The chosen way is silent: are the others still what they were when last asked? */
static void ask_spares(struct path *path, const struct path_way *used, struct ppn_instant now)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (way != used && way->proven && !way->waiting)
            way->next_at = now;
    }
}

static bool better(const struct path_way *a, const struct path_way *b)
{
    if (b == NULL || a->class != b->class)
        return b == NULL || a->class < b->class;
    return a->rtt.ns < b->rtt.ns;
}

/* Within a class the margin is a third and two milliseconds, so that noise moves nobody. */
static bool worth(const struct path_way *best, const struct path_way *now)
{
    if (now == NULL || !now->proven || best->class < now->class)
        return true;
    return best->class == now->class && best->class != PATH_RELAY &&
           best->rtt.ns + best->rtt.ns / 2 + ppn_ms(2).ns < now->rtt.ns;
}

static void choose(struct path *path, struct ppn_instant now, struct path_updates *updates)
{
    struct path_way *best = NULL, *used = current(path);
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (way->proven && (way->misses == 0 || way == used) && better(way, best))
            best = way;
    }
    if (best == NULL || best == used || !worth(best, used))
        return;
    PPN_ASSERT(best->proven && best->endpoint.port != 0);
    path->current = best->endpoint;
    path->has_current = true;
    path->since = now;
    emit(updates, PATH_ENDPOINT, &best->endpoint, 0);
}

static void run(struct path *path, struct ppn_instant now, struct path_updates *updates)
{
    const struct path_way *used = current(path);
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (!way->waiting || !ppn_due(ppn_after(way->sent_at, ppn_ms(PATH_TIMEOUT_MS)), now))
            continue;
        missed(way, now);
        if (way == used && way->misses == 1)
            ask_spares(path, used, now);
    }
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (!way->waiting && ppn_due(way->next_at, now))
            ask(path, way, now, updates);
    }
    choose(path, now, updates);
    used = current(path);
    if (used == NULL || !used->proven || used->class < PATH_RELAY || !ppn_due(path->call_at, now))
        return;
    path->call_at = ppn_after(now, path->call_every);
    if (path->call_every.ns < ppn_ms(PATH_RETRY_MAX_MS).ns)
        path->call_every = ppn_ns(path->call_every.ns * 2);
    emit(updates, PATH_CALL, NULL, 0);
}

enum ppn_error path_step(struct path *path, struct ppn_instant now, const struct path_event *event,
                         struct path_updates *updates)
{
    updates->count = 0;
    switch (event->kind) {
    case PATH_TICK:
        break;
    case PATH_CANDIDATES:
        if (take_candidates(path, now, event) != PPN_OK)
            return PPN_ERROR_INVALID;
        break;
    case PATH_PONG:
    case PATH_MAILBOX_IS:
    case PATH_BOUND:
        take_answer(path, now, event);
        break;
    case PATH_HEARD: {
        struct path_way *way = heard_way(path, &event->from, now);
        if (way != NULL && !way->proven && !way->waiting)
            way->next_at = now;
        break;
    }
    case PATH_WIREGUARD:
        take_wireguard(path, now, event);
        break;
    case PATH_CALLED:
        hurry(path, now);
        break;
    case PATH_VOID:
        for (size_t i = 0; i < path->way_count; i++)
            path->ways[i].proven = false;
        hurry(path, now);
        path->call_at = now;
        path->call_every = ppn_ms(PATH_CALL_MS);
        break;
    }
    run(path, now, updates);
    return PPN_OK;
}

struct ppn_instant path_deadline(const struct path *path)
{
    struct ppn_instant deadline = PPN_NEVER;
    for (size_t i = 0; i < path->way_count; i++) {
        const struct path_way *way = &path->ways[i];
        struct ppn_instant next =
            way->waiting ? ppn_after(way->sent_at, ppn_ms(PATH_TIMEOUT_MS)) : way->next_at;
        deadline = ppn_earlier(deadline, next);
    }
    const struct path_way *used = path_current(path);
    if (used != NULL && used->proven && used->class == PATH_RELAY)
        deadline = ppn_earlier(deadline, path->call_at);
    return deadline;
}
