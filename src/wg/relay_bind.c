// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "wg/relay_internal.h"

static uint32_t *pair_bucket(const struct relay *relay, uint32_t member, uint32_t to)
{
    uint64_t hash = relay_mix(relay->seed ^ ((uint64_t)member << 32 | to));
    return &relay->by_pair[hash & (RELAY_BUCKETS - 1)];
}

static uint32_t *source_bucket(const struct relay *relay, uint32_t to,
                               const struct ppn_endpoint *source)
{
    uint64_t high, low;
    memcpy(&high, source->address, sizeof(high));
    memcpy(&low, source->address + sizeof(high), sizeof(low));
    uint64_t hash = relay_mix(relay->seed ^ low) ^ ((uint64_t)to << 16 | source->port);
    hash = relay_mix(relay_mix(hash) ^ high);
    return &relay->by_source[hash & (RELAY_BUCKETS - 1)];
}

static bool same_source(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

uint32_t relay_bind_by_pair(const struct relay *relay, uint32_t member, uint32_t to)
{
    uint32_t index = *pair_bucket(relay, member, to);
    while (index != RELAY_NONE &&
           (relay->binds[index].member != member || relay->binds[index].to != to))
        index = relay->binds[index].next_pair;
    return index;
}

uint32_t relay_bind_by_source(const struct relay *relay, uint32_t to,
                              const struct ppn_endpoint *source)
{
    uint32_t index = *source_bucket(relay, to, source);
    while (index != RELAY_NONE &&
           (relay->binds[index].to != to || !same_source(&relay->binds[index].source, source)))
        index = relay->binds[index].next_source;
    return index;
}

static void source_add(struct relay *relay, uint32_t index)
{
    struct relay_bind *bind = &relay->binds[index];
    uint32_t *bucket = source_bucket(relay, bind->to, &bind->source);
    bind->next_source = *bucket;
    *bucket = index;
}

static void source_remove(struct relay *relay, uint32_t index)
{
    struct relay_bind *bind = &relay->binds[index];
    uint32_t *at = source_bucket(relay, bind->to, &bind->source);
    while (*at != index)
        at = &relay->binds[*at].next_source;
    *at = bind->next_source;
}

static void age_append(struct relay *relay, uint32_t index)
{
    struct relay_bind *bind = &relay->binds[index];
    bind->older = relay->newest;
    bind->newer = RELAY_NONE;
    if (relay->newest != RELAY_NONE)
        relay->binds[relay->newest].newer = index;
    else
        relay->oldest = index;
    relay->newest = index;
}

static void age_remove(struct relay *relay, uint32_t index)
{
    struct relay_bind *bind = &relay->binds[index];
    if (bind->older != RELAY_NONE)
        relay->binds[bind->older].newer = bind->newer;
    else
        relay->oldest = bind->newer;
    if (bind->newer != RELAY_NONE)
        relay->binds[bind->newer].older = bind->older;
    else
        relay->newest = bind->older;
}

void relay_bind_drop(struct relay *relay, uint32_t index)
{
    struct relay_bind *bind = &relay->binds[index];
    PPN_ASSERT(bind->used && relay->bind_count > 0);
    PPN_ASSERT(relay->slots[bind->member].bind_count > 0);
    uint32_t *at = pair_bucket(relay, bind->member, bind->to);
    while (*at != index)
        at = &relay->binds[*at].next_pair;
    *at = bind->next_pair;
    source_remove(relay, index);
    age_remove(relay, index);
    if (bind->previous_to != RELAY_NONE)
        relay->binds[bind->previous_to].next_to = bind->next_to;
    else
        relay->slots[bind->to].first_to = bind->next_to;
    if (bind->next_to != RELAY_NONE)
        relay->binds[bind->next_to].previous_to = bind->previous_to;
    if (bind->reverse != RELAY_NONE)
        relay->binds[bind->reverse].reverse = RELAY_NONE;
    relay->slots[bind->member].bind_count--;
    relay->bind_count--;
    bind->used = false;
    bind->next_pair = relay->bind_free;
    relay->bind_free = index;
}

void relay_bind_expire(struct relay *relay, struct ppn_instant now)
{
    while (relay->oldest != RELAY_NONE && ppn_due(relay->binds[relay->oldest].expires, now))
        relay_bind_drop(relay, relay->oldest);
}

static uint32_t take_free(struct relay *relay)
{
    uint32_t index = relay->bind_free;
    if (index != RELAY_NONE) {
        relay->bind_free = relay->binds[index].next_pair;
        return index;
    }
    return relay->bind_limit < RELAY_BINDS_MAX ? relay->bind_limit++ : RELAY_NONE;
}

static uint32_t make(struct relay *relay, uint32_t member, uint32_t to,
                     const struct ppn_endpoint *source)
{
    if (relay->slots[member].bind_count >= relay->quota)
        return RELAY_NONE;
    uint32_t index = take_free(relay);
    if (index == RELAY_NONE)
        return RELAY_NONE;
    struct relay_bind *bind = &relay->binds[index];
    *bind = (struct relay_bind){.used = true, .member = member, .to = to, .source = *source};
    bind->reverse = relay_bind_by_pair(relay, to, member);
    if (bind->reverse != RELAY_NONE)
        relay->binds[bind->reverse].reverse = index;
    uint32_t *bucket = pair_bucket(relay, member, to);
    bind->next_pair = *bucket;
    *bucket = index;
    bind->previous_to = RELAY_NONE;
    bind->next_to = relay->slots[to].first_to;
    if (bind->next_to != RELAY_NONE)
        relay->binds[bind->next_to].previous_to = index;
    relay->slots[to].first_to = index;
    source_add(relay, index);
    age_append(relay, index);
    relay->slots[member].bind_count++;
    relay->bind_count++;
    return index;
}

/* A source at a mailbox is one member's: who binds it later has it, for its NAT gave it the address
 * that another's had before. */
bool relay_bind_put(struct relay *relay, struct ppn_instant now, uint32_t member, uint32_t to,
                    const struct ppn_endpoint *source, const uint8_t own[static 16])
{
    PPN_ASSERT(member != to && relay->slots[member].used && relay->slots[to].used);
    uint32_t index = relay_bind_by_pair(relay, member, to);
    uint32_t holder = relay_bind_by_source(relay, to, source);
    if (holder != RELAY_NONE && holder != index)
        relay_bind_drop(relay, holder);
    if (index == RELAY_NONE) {
        index = make(relay, member, to, source);
        if (index == RELAY_NONE)
            return false;
    } else {
        if (holder != index) {
            source_remove(relay, index);
            relay->binds[index].source = *source;
            source_add(relay, index);
        }
        age_remove(relay, index);
        age_append(relay, index);
    }
    memcpy(relay->binds[index].own, own, sizeof(relay->binds[index].own));
    relay->binds[index].expires = ppn_after(now, ppn_seconds(RELAY_LIFETIME_S));
    return true;
}
