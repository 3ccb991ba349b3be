// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "wg/path_internal.h"

/* RFC 1918, 6598 and 4193: addresses that mean another machine in another network. */
static bool is_private(const uint8_t address[static 16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const uint8_t *v4 = address + sizeof(mapped);
    if (memcmp(address, mapped, sizeof(mapped)) != 0)
        return (address[0] & 0xfe) == 0xfc;
    return v4[0] == 10 || (v4[0] == 172 && (v4[1] & 0xf0) == 16) ||
           (v4[0] == 192 && v4[1] == 168) || (v4[0] == 100 && (v4[1] & 0xc0) == 64);
}

struct path_candidate path_candidate_of(const struct ppn_candidate *named, bool on_link)
{
    struct path_candidate candidate = {PATH_LAN, named->endpoint};
    if (named->kind == PPN_ENDPOINT_OBSERVED)
        candidate.class = PATH_PUNCHED;
    else if (named->kind == PPN_ENDPOINT_PUBLIC ||
             (!on_link && !is_private(named->endpoint.address)))
        candidate.class = PATH_PUBLIC;
    return candidate;
}

static bool is_candidate(const struct path_way *way, const struct path_candidate *candidate)
{
    if (path_mailbox_class(candidate->class))
        return path_mailbox_class(way->class) && path_same(&way->relay, &candidate->endpoint);
    return !path_mailbox_class(way->class) && path_same(&way->endpoint, &candidate->endpoint);
}

static struct path_way new_way(const struct path_candidate *candidate, struct ppn_instant now)
{
    struct path_way way = {.class = candidate->class, .endpoint = candidate->endpoint};
    way.ping.at = way.bind.at = now;
    path_carry_init(&way.carry);
    if (path_mailbox_class(candidate->class)) {
        way.relay = candidate->endpoint;
        way.endpoint.port = 0;
        way.ping.at = PPN_NEVER;
    }
    return way;
}

static bool is_named(const struct path_way *way, const struct path_event *event)
{
    for (size_t i = 0; i < event->candidates.count; i++) {
        if (is_candidate(way, &event->candidates.list[i]))
            return true;
    }
    return false;
}

/* Places that the peer does not name but was heard at: the one in use, whatever it was before, then
 * those that were proven last. */
static size_t keep_heard(struct path *path, const struct path_event *event, struct path_way *ways,
                         size_t count)
{
    const struct path_way *used = path_used(path);
    bool kept[PATH_WAYS_MAX] = {false};
    for (size_t room = 0; room < PATH_HEARD_MAX; room++) {
        const struct path_way *next = NULL;
        for (size_t j = 0; j < path->way_count; j++) {
            const struct path_way *way = &path->ways[j];
            if (kept[j] || path_mailbox_class(way->class) || !(way->heard || way == used) ||
                is_named(way, event))
                continue;
            if (next == NULL || way == used ||
                (next != used && ppn_before(next->proven_at, way->proven_at)))
                next = way;
        }
        if (next == NULL)
            break;
        kept[next - path->ways] = true;
        ways[count] = *next;
        ways[count++].heard = true;
    }
    return count;
}

enum ppn_error path_take_candidates(struct path *path, struct ppn_instant now,
                                    const struct path_event *event)
{
    struct path_way ways[PATH_WAYS_MAX];
    size_t count = 0, relays = 0, bridged = 0;
    for (size_t i = 0; i < event->candidates.count; i++) {
        relays += event->candidates.list[i].class == PATH_RELAY;
        bridged += event->candidates.list[i].class > PATH_RELAY;
    }
    if (relays > PATH_RELAYS_MAX || bridged > PATH_BRIDGES_MAX ||
        event->candidates.count - relays - bridged > PPN_ENDPOINTS_MAX)
        return PPN_ERROR_INVALID;
    for (size_t i = 0; i < event->candidates.count; i++) {
        const struct path_candidate *candidate = &event->candidates.list[i];
        bool twice = false;
        for (size_t j = 0; j < count; j++)
            twice = twice || is_candidate(&ways[j], candidate);
        if (twice || candidate->endpoint.port == 0)
            continue;
        ways[count] = new_way(candidate, now);
        for (size_t j = 0; j < path->way_count; j++) {
            if (!is_candidate(&path->ways[j], candidate))
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

/* What was asked and answered at a place, under another name for it. */
static void inherit(struct path_way *way, const struct path_way *from)
{
    struct path_way own = *way;
    *way = *from;
    way->class = own.class;
    way->heard = false;
    way->relay = own.relay;
    way->bind = own.bind;
    way->bound = own.bound;
    way->bind_misses = own.bind_misses;
}

void path_mailbox(struct path *path, struct path_way *way, uint16_t port, struct ppn_instant now)
{
    PPN_ASSERT(path_mailbox_class(way->class));
    way->bind.waiting = false;
    way->bound = way->proven = false;
    way->ping.waiting = false;
    way->ping.at = PPN_NEVER;
    way->endpoint.port = port;
    way->bind.at = ppn_after(now, ppn_ms(port == 0 ? PATH_SPARE_MS : 0));
    /* What was heard through the relay before its mailbox was known was no place of the peer's. */
    struct path_way *twin = NULL;
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *other = &path->ways[i];
        if (!path_mailbox_class(other->class) && other->heard &&
            path_same(&other->endpoint, &way->endpoint))
            twin = other;
    }
    if (twin == NULL)
        return;
    inherit(way, twin);
    size_t after = path->way_count - (size_t)(twin - path->ways) - 1;
    memmove(twin, twin + 1, after * sizeof(*twin));
    path->way_count--;
}

/* A place at the address of a relay whose mailbox is not known yet is most likely that. */
static struct path_way *relay_unknown(struct path *path, const struct ppn_endpoint *from)
{
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *way = &path->ways[i];
        if (path_mailbox_class(way->class) && way->endpoint.port == 0 &&
            memcmp(way->relay.address, from->address, sizeof(from->address)) == 0)
            return way;
    }
    return NULL;
}

/* In the room for such places one that is not proven gives way, else the one that was proven
 * longest ago, but never the one in use. */
struct path_way *path_heard_way(struct path *path, const struct ppn_endpoint *from,
                                struct ppn_instant now)
{
    struct path_way *oldest = NULL;
    size_t count = 0;
    if (from->port == 0)
        return NULL;
    for (size_t i = 0; i < path->way_count; i++) {
        if (path_same(&path->ways[i].endpoint, from))
            return &path->ways[i];
    }
    if (relay_unknown(path, from) != NULL)
        return NULL;
    for (size_t i = 0; i < path->way_count; i++) {
        struct path_way *old = &path->ways[i];
        if (!old->heard)
            continue;
        count++;
        if (old == path_used(path))
            continue;
        if (oldest == NULL || (oldest->proven && !old->proven) ||
            (oldest->proven == old->proven && ppn_before(old->proven_at, oldest->proven_at)))
            oldest = old;
    }
    if (count < PATH_HEARD_MAX)
        oldest = &path->ways[path->way_count++];
    PPN_ASSERT(oldest != NULL && path->way_count <= PATH_WAYS_MAX);
    /* This machine's loopback is a bridge, at whichever end of it. */
    static const uint8_t loopback[13] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
    bool bridged = memcmp(from->address, loopback, sizeof(loopback)) == 0;
    const struct path_candidate candidate = {.class = bridged ? PATH_TCP : PATH_PUNCHED,
                                             .endpoint = *from};
    *oldest = new_way(&candidate, now);
    oldest->heard = true;
    return oldest;
}

int32_t path_loss_per_mille(const struct path_way *way)
{
    if (way->outcome_count == 0)
        return -1;
    uint32_t answered = (uint32_t)__builtin_popcountll(way->outcomes);
    return (int32_t)(1000 - 1000 * answered / way->outcome_count);
}

enum path_standing path_way_standing(const struct path *path, const struct path_way *way)
{
    if (way->proven && way == path_current(path))
        return PATH_USED;
    if (way->proven)
        return path_way_mtu(way) == 1 ? PATH_NARROW : PATH_SPARE;
    bool rests = !way->ping.waiting && way->ping.at.ns == PPN_NEVER.ns;
    if (path_mailbox_class(way->class))
        rests = rests && !way->bind.waiting && way->bind.at.ns == PPN_NEVER.ns;
    if (rests)
        return PATH_RESTING;
    if (path_mailbox_class(way->class) && !way->bound) {
        if (way->bind_misses > 0)
            return PATH_NO_RELAY;
        if (way->endpoint.port == 0 && way->asked > 0 && !way->bind.waiting)
            return PATH_NO_MAILBOX;
    }
    if (path_mailbox_class(way->class) && way->bound)
        return PATH_PEER_AWAY;
    return way->answered > 0 ? PATH_LOST : PATH_SILENT;
}
