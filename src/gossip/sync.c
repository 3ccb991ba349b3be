// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* Anti-entropy: making two views equal without sending either. Every packet carries a digest of its
 * sender's view. Two that differ for a while compare digests of 64 buckets of the tag space, then
 * rows of version numbers for a few buckets that differ, then fetch or give exactly the items that
 * are newer on one side. Small networks skip the buckets. It never sends a full state: rows are 31
 * bytes a member, and only of the buckets in question.
 *
 * Lost members take part with their verdicts, so that a death spreads by this way too, and meets
 * the one who knows better. */

enum {
    BUCKETS_LEAST = 3, /* answered at once */
    BUCKETS_MOST = 16,
    ROWS_AT_ONCE = 128, /* about, between those two */
    GIVE_PACKETS_MAX = 8,
    BUCKET_SHIFT = 58
};

/* Packets under way to one peer during a step. */
static struct gossip_packet *giving(struct gossip *g)
{
    struct gossip_pool *pool = g->pool;
    return g->giving == 0 ? NULL : pool->packets[g->giving - 1];
}

static void give_record(struct gossip *g, uint16_t to, uint32_t record)
{
    if (record == 0 || g->given >= GIVE_PACKETS_MAX)
        return;
    struct gossip_packet *packet = giving(g);
    if (packet != NULL && gossip_packet_item(g, packet, record))
        return;
    gossip_sync_give_end(g, to);
    packet = gossip_packet_begin(g, GOSSIP_NEWS);
    if (packet == NULL)
        return;
    g->giving = g->pool->packet_count;
    gossip_packet_item(g, packet, record);
}

void gossip_sync_give(struct gossip *g, uint16_t to, uint16_t subject, uint8_t kinds)
{
    const struct gossip_slot *slot = &g->slots[subject];
    if ((kinds & GOSSIP_WANT_LIFE) != 0)
        give_record(g, to, slot->life);
    if ((kinds & GOSSIP_WANT_PROFILE) != 0)
        give_record(g, to, slot->profile);
    if ((kinds & GOSSIP_WANT_LOAD) != 0)
        give_record(g, to, slot->load);
    const struct gossip_case *c = gossip_case_of(g, subject);
    for (uint32_t i = 0; (kinds & GOSSIP_WANT_VERDICT) != 0 && c != NULL && i < c->count; i++)
        if (c->opinions[i].opinion != GOSSIP_OPINION_OK)
            give_record(g, to, c->opinions[i].record);
}

void gossip_sync_give_end(struct gossip *g, uint16_t to)
{
    struct gossip_packet *packet = giving(g);
    g->giving = 0;
    if (packet == NULL || packet->item_count == 0)
        return;
    gossip_packet_send(g, to, packet);
    g->given++;
}

static bool loads_too(const struct gossip *g)
{
    return g->members <= GOSSIP_LOAD_RECONCILE_MAX;
}

/* Pages of rows for the tags first..last, each page a whole statement about its own part. */
static void send_range(struct gossip *g, uint16_t to, gossip_tag first, gossip_tag last)
{
    const struct pool_order *order = &g->pool->orders[POOL_BY_TAG];
    struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_RANGE);
    uint32_t at = gossip_pool_position_from(g->pool, first);
    for (; packet != NULL; at++) {
        bool end = at >= g->pool->live || order->keys[at] > last;
        if (!end && !gossip_is_member(g, order->nodes[at]))
            continue;
        if (end || packet->of.range.count == GOSSIP_ROWS_MAX) {
            packet->of.range.first = first;
            packet->of.range.last = end ? last : order->keys[at] - 1;
            gossip_packet_send(g, to, packet);
            if (end)
                return;
            first = order->keys[at];
            packet = gossip_packet_begin(g, GOSSIP_RANGE);
            if (packet == NULL)
                return;
        }
        gossip_row_of(g, order->nodes[at], &packet->of.range.rows[packet->of.range.count++]);
    }
}

/* After a restart the numbers are all known and only who is there is not: a bucket with members not
 * heard of yet is made to differ, so that the peer sends its rows. */
static void send_digest(struct gossip *g, uint16_t to)
{
    struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_DIGEST);
    if (packet == NULL)
        return;
    for (uint32_t i = 0; i < GOSSIP_BUCKETS; i++)
        packet->of.digest.buckets[i] = g->buckets[i];
    const struct pool_order *order = &g->pool->orders[POOL_BY_TAG];
    for (uint32_t i = 0; g->states[GOSSIP_UNKNOWN] > 0 && i < g->pool->live; i++) {
        uint16_t index = order->nodes[i];
        uint32_t bucket = (uint32_t)(order->keys[i] >> BUCKET_SHIFT);
        if (gossip_is_member(g, index) && g->slots[index].state == GOSSIP_UNKNOWN)
            packet->of.digest.buckets[bucket] = ~g->buckets[bucket];
    }
    gossip_packet_send(g, to, packet);
}

/* Views that differ for a moment are news under way; only what stays different is worth a look. A
 * node that knows nothing yet does not wait. */
void gossip_sync_consider(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet)
{
    bool same = packet->view_digest == g->view_digest &&
                (!loads_too(g) || packet->load_digest == g->load_digest);
    bool ignorant = g->states[GOSSIP_UNKNOWN] > 0;
    if (same)
        g->differs_since = PPN_NEVER;
    else if (g->differs_since.ns == PPN_NEVER.ns)
        g->differs_since = now;
    if (same && !ignorant)
        return;
    struct ppn_instant patient = ppn_after(g->differs_since, ppn_ms(GOSSIP_SYNC_PATIENCE_MS));
    if (!ppn_due(g->sync_next, now) || (!ignorant && !ppn_due(patient, now)) || g->tokens <= 0)
        return;
    int64_t wait = GOSSIP_SYNC_EVERY_MS * (g->members > GOSSIP_RANGE_DIRECT_MAX ? 4 : 1);
    wait += (int64_t)ppn_random_below(&g->random, GOSSIP_SYNC_EVERY_MS);
    g->sync_next = ppn_after(now, ppn_ms(wait));
    if (ignorant)
        send_digest(g, from);
    else if (g->members <= GOSSIP_RANGE_DIRECT_MAX ||
             (loads_too(g) && packet->view_digest == g->view_digest))
        send_range(g, from, 0, UINT64_MAX);
    else
        send_digest(g, from);
}

static void digest_receive(struct gossip *g, uint16_t from, const struct gossip_packet *packet)
{
    uint32_t first = (uint32_t)ppn_random_below(&g->random, GOSSIP_BUCKETS), sent = 0;
    uint32_t most = ROWS_AT_ONCE * GOSSIP_BUCKETS / g->members;
    most = most < BUCKETS_LEAST ? BUCKETS_LEAST : most > BUCKETS_MOST ? BUCKETS_MOST : most;
    if (g->members <= GOSSIP_RANGE_DIRECT_MAX) {
        send_range(g, from, 0, UINT64_MAX);
        return;
    }
    for (uint32_t i = 0; i < GOSSIP_BUCKETS && sent < most; i++) {
        uint64_t bucket = (first + i) % GOSSIP_BUCKETS;
        if (packet->of.digest.buckets[bucket] == g->buckets[bucket] || g->tokens <= 0)
            continue;
        gossip_tag low = bucket << BUCKET_SHIFT;
        send_range(g, from, low, low | (((gossip_tag)1 << BUCKET_SHIFT) - 1));
        sent++;
    }
}

struct exchange {
    uint8_t want, give;
};

static void compare_bodies(const struct gossip *g, const struct gossip_row *mine,
                           const struct gossip_row *theirs, struct exchange *exchange)
{
    if (mine->profile_sequence < theirs->profile_sequence)
        exchange->want |= GOSSIP_WANT_PROFILE;
    else if (mine->profile_sequence > theirs->profile_sequence)
        exchange->give |= GOSSIP_WANT_PROFILE;
    if (!loads_too(g))
        return;
    if (mine->load_sequence < theirs->load_sequence)
        exchange->want |= GOSSIP_WANT_LOAD;
    else if (mine->load_sequence > theirs->load_sequence)
        exchange->give |= GOSSIP_WANT_LOAD;
}

static struct exchange compare(const struct gossip *g, const struct gossip_row *mine,
                               const struct gossip_row *theirs)
{
    struct exchange exchange = {0, 0};
    const uint8_t all = GOSSIP_WANT_LIFE | GOSSIP_WANT_PROFILE | GOSSIP_WANT_LOAD;
    if (mine->epoch != theirs->epoch) {
        if (mine->epoch < theirs->epoch)
            exchange.want = all;
        else
            exchange.give = all;
        return exchange;
    }
    compare_bodies(g, mine, theirs, &exchange);
    if (mine->incarnation < theirs->incarnation)
        exchange.want |= GOSSIP_WANT_LIFE;
    else if (mine->incarnation > theirs->incarnation)
        exchange.give |= GOSSIP_WANT_LIFE;
    else if ((theirs->standing & GOSSIP_ROW_LOST) != (mine->standing & GOSSIP_ROW_LOST)) {
        if ((theirs->standing & GOSSIP_ROW_LOST) != 0)
            exchange.want |= GOSSIP_WANT_VERDICT;
        else
            exchange.give |= GOSSIP_WANT_VERDICT;
    }
    return exchange;
}

/* A peer's word on a member that this node has not heard of in this run: taken for what it is. */
static void hearsay(struct gossip *g, struct ppn_instant now, uint16_t index,
                    const struct gossip_row *theirs)
{
    struct gossip_slot *slot = &g->slots[index];
    if (slot->state != GOSSIP_UNKNOWN || index == g->self)
        return;
    if ((theirs->standing & GOSSIP_ROW_LOST) != 0) {
        slot->flags |= SLOT_DOUBTFUL;
        return;
    }
    if (slot->life != 0 && theirs->epoch == gossip_epoch_of(g, index) &&
        theirs->incarnation == gossip_incarnation_of(g, index) &&
        theirs->standing == GOSSIP_STANDING_ALIVE)
        gossip_state_set(g, now, index, GOSSIP_ALIVE, GOSSIP_CAUSE_NONE);
}

static void want_add(struct gossip_packet *want, gossip_tag tag, uint8_t kinds)
{
    if (want == NULL || kinds == 0 || want->of.want.count == GOSSIP_WANTS_MAX)
        return;
    want->of.want.wants[want->of.want.count++] = (struct gossip_want){tag, kinds};
}

/* A member that is heard of for the first time by its own packet: its news was spread before most
 * others were there to hear, and nobody may have it but itself. */
void gossip_sync_introduce(struct gossip *g, uint16_t from)
{
    struct gossip_packet *want = gossip_packet_begin(g, GOSSIP_WANT);
    want_add(want, g->pool->nodes[from].tag,
             GOSSIP_WANT_LIFE | GOSSIP_WANT_PROFILE | GOSSIP_WANT_LOAD);
    if (want != NULL)
        gossip_packet_send(g, from, want);
}

static void range_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet)
{
    const struct pool_order *order = &g->pool->orders[POOL_BY_TAG];
    struct gossip_packet *want = gossip_packet_begin(g, GOSSIP_WANT);
    uint32_t at = gossip_pool_position_from(g->pool, packet->of.range.first), row = 0;
    for (; at < g->pool->live && order->keys[at] <= packet->of.range.last; at++) {
        uint16_t index = order->nodes[at];
        if (!gossip_is_member(g, index))
            continue;
        while (row < packet->of.range.count && packet->of.range.rows[row].tag < order->keys[at])
            row++;
        bool listed =
            row < packet->of.range.count && packet->of.range.rows[row].tag == order->keys[at];
        struct gossip_row mine, theirs = {.tag = order->keys[at]};
        gossip_row_of(g, index, &mine);
        if (listed) {
            theirs = packet->of.range.rows[row];
            hearsay(g, now, index, &theirs);
        }
        struct exchange exchange = compare(g, &mine, &theirs);
        want_add(want, theirs.tag, exchange.want);
        if (listed && index != from)
            gossip_sync_give(g, from, index, exchange.give);
        /* Lost here only: it has nothing to refute, so one ping must tell. */
        if ((exchange.give & GOSSIP_WANT_VERDICT) != 0 && index != g->self)
            gossip_probe_start(g, now, index, GOSSIP_PROBE_LOST, NULL);
    }
    gossip_sync_give_end(g, from);
    if (want != NULL && want->of.want.count > 0)
        gossip_packet_send(g, from, want);
}

static void want_receive(struct gossip *g, uint16_t from, const struct gossip_packet *packet)
{
    for (uint32_t i = 0; i < packet->of.want.count && g->tokens > 0; i++) {
        uint16_t index = gossip_pool_node_find(g->pool, packet->of.want.wants[i].tag);
        if (index != POOL_INDEX_NONE && gossip_is_member(g, index))
            gossip_sync_give(g, from, index, packet->of.want.wants[i].kinds);
    }
    gossip_sync_give_end(g, from);
}

void gossip_sync_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                         const struct gossip_packet *packet)
{
    if (packet->kind == GOSSIP_DIGEST)
        digest_receive(g, from, packet);
    else if (packet->kind == GOSSIP_RANGE)
        range_receive(g, now, from, packet);
    else
        want_receive(g, from, packet);
}
