// SPDX-License-Identifier: ISC
#include "wg/relay.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wg/relay_internal.h"

static uint32_t *filled(uint32_t count)
{
    uint32_t *table = malloc(count * sizeof(*table));
    if (table != NULL)
        memset(table, 0xff, count * sizeof(*table)); /* RELAY_NONE */
    return table;
}

struct relay *relay_new(const struct relay_config *config, struct ppn_instant now, uint64_t seed)
{
    (void)now;
    PPN_ASSERT(config->mailbox_count >= 1 && config->mailbox_count <= RELAY_MAILBOXES_MAX);
    struct relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL)
        return NULL;
    relay->config = *config;
    relay->seed = relay_mix(seed);
    uint64_t burst = config->rate_bytes_s / 1000 * RELAY_BURST_MS;
    relay->burst = burst > RELAY_BURST_MIN ? (int64_t)(burst & INT64_MAX) : RELAY_BURST_MIN;
    relay->quota = RELAY_BINDS_MAX / config->mailbox_count;
    relay->slot_free = relay->bind_free = RELAY_NONE;
    relay->oldest = relay->newest = RELAY_NONE;
    relay->slots = calloc(PPN_MEMBERS_MAX, sizeof(*relay->slots));
    relay->binds = calloc(RELAY_BINDS_MAX, sizeof(*relay->binds));
    relay->by_tag = filled(RELAY_TAG_BUCKETS);
    relay->by_pair = filled(RELAY_BUCKETS);
    relay->by_source = filled(RELAY_BUCKETS);
    memset(relay->owner, 0xff, sizeof(relay->owner));
    if (relay->slots == NULL || relay->binds == NULL || relay->by_tag == NULL ||
        relay->by_pair == NULL || relay->by_source == NULL) {
        relay_free(relay);
        return NULL;
    }
    return relay;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    free(relay->slots);
    free(relay->binds);
    free(relay->by_tag);
    free(relay->by_pair);
    free(relay->by_source);
    free(relay);
}

/* ---- members ---- */

static uint32_t *tag_bucket(const struct relay *relay, uint64_t tag)
{
    return &relay->by_tag[relay_mix(relay->seed ^ tag) & (RELAY_TAG_BUCKETS - 1)];
}

uint32_t relay_find(const struct relay *relay, uint64_t tag)
{
    uint32_t index = *tag_bucket(relay, tag);
    while (index != RELAY_NONE && relay->slots[index].tag != tag)
        index = relay->slots[index].next;
    return index;
}

static void mailbox_release(struct relay *relay, uint32_t member)
{
    struct relay_slot *slot = &relay->slots[member];
    while (slot->first_to != RELAY_NONE)
        relay_bind_drop(relay, slot->first_to);
    if (slot->mailbox != RELAY_NONE) {
        relay->owner[slot->mailbox] = RELAY_NONE;
        slot->mailbox = RELAY_NONE;
        relay->mailbox_count--;
    }
}

static void member_remove(struct relay *relay, uint32_t member)
{
    struct relay_slot *slot = &relay->slots[member];
    mailbox_release(relay, member);
    for (uint32_t i = 0; slot->bind_count > 0 && i < relay->bind_limit; i++) {
        if (relay->binds[i].used && relay->binds[i].member == member)
            relay_bind_drop(relay, i);
    }
    PPN_ASSERT(slot->bind_count == 0);
    uint32_t *at = tag_bucket(relay, slot->tag);
    while (*at != member)
        at = &relay->slots[*at].next;
    *at = slot->next;
    *slot = (struct relay_slot){.next = relay->slot_free};
    relay->slot_free = member;
    relay->member_count--;
}

static void member_add(struct relay *relay, struct ppn_instant now,
                       const struct relay_member *member)
{
    uint32_t index = relay->slot_free;
    if (index != RELAY_NONE)
        relay->slot_free = relay->slots[index].next;
    else
        index = relay->slot_limit++;
    PPN_ASSERT(index < PPN_MEMBERS_MAX);
    uint32_t *bucket = tag_bucket(relay, member->tag);
    struct relay_slot *slot = &relay->slots[index];
    *slot = (struct relay_slot){.used = true,
                                .kept = true,
                                .mailbox = RELAY_NONE,
                                .first_to = RELAY_NONE,
                                .next = *bucket,
                                .tag = member->tag,
                                .counter = relay->config.first_counter,
                                .tokens = relay->burst,
                                .refilled = now};
    memcpy(slot->key, member->key, sizeof(slot->key));
    *bucket = index;
    relay->member_count++;
}

/* One of two members with one tag would speak for the other: neither list is taken. */
static bool mark(struct relay *relay, const struct relay_member *list, uint32_t count)
{
    for (uint32_t i = 0; i < relay->slot_limit; i++)
        relay->slots[i].kept = false;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && list[i].tag <= list[i - 1].tag)
            return false;
        uint32_t index = relay_find(relay, list[i].tag);
        if (index != RELAY_NONE)
            relay->slots[index].kept =
                memcmp(relay->slots[index].key, list[i].key, sizeof(list[i].key)) == 0;
    }
    return true;
}

static enum ppn_error take_members(struct relay *relay, struct ppn_instant now,
                                   const struct relay_member *list, uint32_t count)
{
    if (count > PPN_MEMBERS_MAX)
        return PPN_ERROR_TOO_BIG;
    if (!mark(relay, list, count))
        return PPN_ERROR_INVALID;
    for (uint32_t i = 0; i < relay->slot_limit; i++) {
        if (relay->slots[i].used && !relay->slots[i].kept)
            member_remove(relay, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (relay_find(relay, list[i].tag) == RELAY_NONE)
            member_add(relay, now, &list[i]);
    }
    PPN_ASSERT(relay->member_count == count);
    return PPN_OK;
}

/* ---- questions ---- */

static uint32_t mailbox_give(struct relay *relay, uint32_t member, uint32_t mailbox)
{
    PPN_ASSERT(relay->owner[mailbox] == RELAY_NONE);
    relay->owner[mailbox] = member;
    relay->slots[member].mailbox = mailbox;
    relay->mailbox_count++;
    return mailbox;
}

/* The member's mailbox, given now if need be: `wished` if that is free, else one that its tag
 * chooses, so that a relay that starts anew mostly chooses the same. */
static uint32_t mailbox_of(struct relay *relay, uint32_t member, uint32_t wished)
{
    uint32_t count = relay->config.mailbox_count;
    struct relay_slot *slot = &relay->slots[member];
    if (slot->mailbox != RELAY_NONE)
        return slot->mailbox;
    if (wished != RELAY_NONE && relay->owner[wished] == RELAY_NONE)
        return mailbox_give(relay, member, wished);
    uint32_t first = (uint32_t)(relay_mix(slot->tag) % count);
    for (uint32_t i = 0; i < count; i++) {
        if (relay->owner[(first + i) % count] == RELAY_NONE)
            return mailbox_give(relay, member, (first + i) % count);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t owner = relay->owner[(first + i) % count];
        if (relay->slots[owner].bind_count == 0) {
            mailbox_release(relay, owner);
            return mailbox_give(relay, member, (first + i) % count);
        }
    }
    return RELAY_NONE;
}

static void answer_bind(struct relay *relay, struct ppn_instant now,
                        const struct relay_question *question, struct relay_answer *answer)
{
    uint32_t to = relay_find(relay, question->node);
    answer->kind = RELAY_MAILBOX_IS;
    answer->mailbox = RELAY_NONE;
    if (to == RELAY_NONE)
        return;
    if (to == question->member || question->source.port == 0) {
        answer->kind = RELAY_SILENT;
        return;
    }
    answer->mailbox = mailbox_of(relay, to, question->mailbox);
    if (answer->mailbox == RELAY_NONE || answer->mailbox != question->mailbox)
        return;
    if (relay_bind_put(relay, now, question->member, to, &question->source, question->own))
        answer->kind = RELAY_BOUND;
    else
        answer->mailbox = RELAY_NONE;
}

static void answer_question(struct relay *relay, struct ppn_instant now,
                            const struct relay_question *question, struct relay_answer *answer)
{
    PPN_ASSERT(question->member < relay->slot_limit && relay->slots[question->member].used);
    PPN_ASSERT(question->mailbox == RELAY_NONE || question->mailbox < relay->config.mailbox_count);
    struct relay_slot *slot = &relay->slots[question->member];
    if (question->counter <= slot->counter) {
        relay->count[RELAY_DROP_STALE].packets++;
        answer->kind = RELAY_STALE;
        answer->counter = slot->counter;
        return;
    }
    slot->counter = question->counter;
    if (question->kind == RELAY_PING) {
        answer->kind = RELAY_PONG;
    } else if (question->kind == RELAY_BIND) {
        answer_bind(relay, now, question, answer);
    } else {
        uint32_t to = relay_find(relay, question->node);
        answer->kind = RELAY_MAILBOX_IS;
        answer->mailbox = to == RELAY_NONE ? RELAY_NONE : mailbox_of(relay, to, RELAY_NONE);
    }
}

enum ppn_error relay_step(struct relay *relay, struct ppn_instant now,
                          const struct relay_event *event, struct relay_answer *answer)
{
    *answer = (struct relay_answer){.kind = RELAY_SILENT, .mailbox = RELAY_NONE};
    relay_bind_expire(relay, now);
    if (event->kind == RELAY_EVENT_MEMBERS)
        return take_members(relay, now, event->members.list, event->members.count);
    if (event->kind == RELAY_EVENT_QUESTION)
        answer_question(relay, now, &event->question, answer);
    return PPN_OK;
}

struct ppn_instant relay_deadline(const struct relay *relay)
{
    return relay->oldest == RELAY_NONE ? PPN_NEVER : relay->binds[relay->oldest].expires;
}

/* ---- packets ---- */

/* A full bucket after RELAY_BURST_MS of silence; no fraction of a byte is kept, so that a packet a
 * nanosecond would starve: refilled moves only when something was added. */
static bool take_tokens(const struct relay *relay, struct relay_slot *slot, struct ppn_instant now,
                        uint64_t bytes)
{
    if (relay->config.rate_bytes_s == 0)
        return true;
    int64_t elapsed_us = ppn_between(slot->refilled, now).ns / 1000;
    if (elapsed_us > 1000000)
        elapsed_us = 1000000;
    if (elapsed_us > 0) {
        uint64_t earned = (uint64_t)elapsed_us * (relay->config.rate_bytes_s / 1000) / 1000;
        if (earned > 0) {
            slot->refilled = now;
            slot->tokens += earned < (uint64_t)relay->burst ? (int64_t)earned : relay->burst;
            if (slot->tokens > relay->burst)
                slot->tokens = relay->burst;
        }
    }
    if (bytes > (uint64_t)slot->tokens)
        return false;
    slot->tokens -= (int64_t)bytes;
    return true;
}

static enum relay_verdict judge(struct relay *relay, struct ppn_instant now, uint32_t mailbox,
                                const struct ppn_endpoint *source, uint32_t packets, uint64_t bytes,
                                struct relay_route *route)
{
    uint32_t owner = relay->owner[mailbox];
    if (owner == RELAY_NONE)
        return RELAY_DROP_UNBOUND;
    uint32_t index = relay_bind_by_source(relay, owner, source);
    if (index == RELAY_NONE || ppn_due(relay->binds[index].expires, now))
        return RELAY_DROP_UNBOUND;
    const struct relay_bind *bind = &relay->binds[index];
    if (bind->reverse == RELAY_NONE || ppn_due(relay->binds[bind->reverse].expires, now))
        return RELAY_DROP_PEER;
    struct relay_slot *slot = &relay->slots[bind->member];
    if (!take_tokens(relay, slot, now, bytes)) {
        slot->over_rate.packets += packets;
        slot->over_rate.bytes += bytes;
        return RELAY_DROP_RATE;
    }
    slot->forwarded.packets += packets;
    slot->forwarded.bytes += bytes;
    PPN_ASSERT(slot->mailbox != RELAY_NONE);
    route->mailbox = slot->mailbox;
    route->to = relay->binds[bind->reverse].source;
    memcpy(route->own, relay->binds[bind->reverse].own, sizeof(route->own));
    route->member = bind->member;
    return RELAY_FORWARD;
}

enum relay_verdict relay_forward(struct relay *relay, struct ppn_instant now, uint32_t mailbox,
                                 const struct ppn_endpoint *source, uint32_t packets,
                                 uint64_t bytes, struct relay_route *route)
{
    PPN_ASSERT(mailbox < relay->config.mailbox_count && packets > 0);
    enum relay_verdict verdict = judge(relay, now, mailbox, source, packets, bytes, route);
    relay_drop(relay, verdict, packets, bytes);
    return verdict;
}

void relay_drop(struct relay *relay, enum relay_verdict why, uint32_t packets, uint64_t bytes)
{
    PPN_ASSERT(why < RELAY_VERDICTS);
    relay->count[why].packets += packets;
    relay->count[why].bytes += bytes;
}

/* ---- for the shell and for people ---- */

const uint8_t *relay_member_key(const struct relay *relay, uint32_t member)
{
    PPN_ASSERT(member < relay->slot_limit && relay->slots[member].used);
    return relay->slots[member].key;
}

uint64_t relay_member_tag(const struct relay *relay, uint32_t member)
{
    PPN_ASSERT(member < relay->slot_limit);
    return relay->slots[member].tag;
}

uint32_t relay_member_limit(const struct relay *relay)
{
    return relay->slot_limit;
}

void relay_member_counts(const struct relay *relay, uint32_t member, struct relay_count *forwarded,
                         struct relay_count *over_rate)
{
    PPN_ASSERT(member < relay->slot_limit);
    *forwarded = relay->slots[member].forwarded;
    *over_rate = relay->slots[member].over_rate;
}

void relay_stats(const struct relay *relay, struct relay_stats *stats)
{
    *stats = (struct relay_stats){.members = relay->member_count,
                                  .mailboxes = relay->mailbox_count,
                                  .binds = relay->bind_count};
    memcpy(stats->count, relay->count, sizeof(stats->count));
}
