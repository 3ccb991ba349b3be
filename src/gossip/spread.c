// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* Spreading news: three queues (verdicts and lives; profiles; loads) of references to what the view
 * holds, so a superseded item is never sent. Every packet that goes anywhere carries what fits;
 * while there is news of the first two kinds, a few random members also get a packet of their own
 * every GOSSIP_PUSH_MS. An item is passed on a logarithmic number of times and then dropped;
 * anti-entropy finds whom that missed.
 *
 * What a node sends is capped by a token bucket. Answers to probes are always sent, and paid for
 * later; news waits for tokens. Loads have a smaller bucket of their own besides and wait until the
 * large one is half full, so that they are the first to be thinned. */

enum {
    PUSH_FANOUT = 3,
    LOAD_FANOUT = 2,
    COPIES = 4,
    COPIES_LIVES = 6,
    COPIES_VERDICTS = 3, /* of which several say the same */
    COPIES_LEAST = 3,
    CROWD = 48, /* news waiting */
    SYNC_SHARE = 8,
    LOAD_RESERVE = 190
};

static enum gossip_class class_of(enum gossip_item_kind kind)
{
    return kind == GOSSIP_ITEM_PROFILE ? GOSSIP_CLASS_MEMBERSHIP
           : kind == GOSSIP_ITEM_LOAD  ? GOSSIP_CLASS_LOAD
                                       : GOSSIP_CLASS_VERDICTS;
}

static uint32_t log2_up(uint32_t n)
{
    return n <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n - 1);
}

/* Random pushes of one item by everybody who has it reach all but e^-copies of the members. When
 * there is a crowd of news (everybody joins at once, half of the network falls), what each copy
 * brings to the few that the first three missed is worth less than the next item: digests find
 * them. */
static uint32_t copies(const struct gossip *g, enum gossip_item_kind kind)
{
    uint32_t others = g->members > 1 ? g->members - 1 : 1;
    uint32_t wanted = COPIES_LEAST;
    if (kind != GOSSIP_ITEM_LOAD && g->queues[class_of(kind)].count <= CROWD)
        wanted = log2_up(g->members) / 2 + (kind == GOSSIP_ITEM_LIFE      ? COPIES_LIVES
                                            : kind == GOSSIP_ITEM_PROFILE ? COPIES
                                                                          : COPIES_VERDICTS);
    return wanted < 2 * others ? wanted : 2 * others;
}

static void queue_drop(struct gossip *g, struct gossip_queue *queue, uint32_t at)
{
    const struct gossip_queued *entry = &queue->entries[at];
    if (entry->kind != GOSSIP_ITEM_VERDICT && gossip_is_member(g, entry->subject))
        g->slots[entry->subject].queued &= (uint8_t) ~(1u << entry->kind);
    queue->entries[at] = queue->entries[--queue->count];
}

void gossip_queue_add(struct gossip *g, struct ppn_instant now, uint16_t subject,
                      enum gossip_item_kind kind, uint16_t accuser)
{
    enum gossip_class class = class_of(kind);
    struct gossip_queue *queue = &g->queues[class];
    bool waiting = kind == GOSSIP_ITEM_VERDICT || (g->slots[subject].queued & 1u << kind) != 0;
    for (uint32_t i = 0; i < queue->count && waiting; i++) {
        struct gossip_queued *entry = &queue->entries[i];
        if (entry->subject == subject && entry->kind == kind && entry->accuser == accuser) {
            entry->sent = 0;
            return;
        }
    }
    if (queue->count == GOSSIP_QUEUE_MAX)
        queue_drop(g, queue, (uint32_t)ppn_random_below(&g->random, queue->count));
    if (!gossip_pool_grow((void **)&queue->entries, &queue->capacity, queue->count + 1,
                          sizeof(*queue->entries))) {
        g->out_of_memory = true;
        return;
    }
    queue->entries[queue->count++] =
        (struct gossip_queued){.subject = subject, .accuser = accuser, .kind = (uint8_t)kind};
    if (kind != GOSSIP_ITEM_VERDICT)
        g->slots[subject].queued |= (uint8_t)(1u << kind);
    int64_t wait = class == GOSSIP_CLASS_LOAD ? GOSSIP_PUSH_LOAD_MS : GOSSIP_PUSH_MS / 5;
    g->push_next = ppn_earlier(g->push_next, ppn_after(now, ppn_ms(wait)));
}

struct gossip_packet *gossip_packet_begin(struct gossip *g, enum gossip_packet_kind kind)
{
    struct gossip_packet *packet = gossip_pool_packet(g->pool);
    if (packet == NULL) {
        g->out_of_memory = true;
        return NULL;
    }
    packet->kind = kind;
    packet->probe = 0;
    packet->view_digest = g->view_digest;
    packet->load_digest = g->load_digest;
    packet->health = g->health;
    packet->item_count = 0;
    if (kind == GOSSIP_CHECK || kind == GOSSIP_CHECKED)
        packet->of.check.outcome = GOSSIP_OUTCOME_REACHED;
    else if (kind == GOSSIP_RANGE)
        packet->of.range.count = 0;
    else if (kind == GOSSIP_WANT)
        packet->of.want.count = 0;
    return packet;
}

uint32_t gossip_packet_size_max(const struct gossip_packet *packet)
{
    uint32_t size = GOSSIP_ENCODED_HEADER_MAX;
    if (packet->kind == GOSSIP_CHECK || packet->kind == GOSSIP_CHECKED)
        size += GOSSIP_ENCODED_CHECK_MAX;
    else if (packet->kind == GOSSIP_DIGEST)
        size += GOSSIP_BUCKETS * GOSSIP_ENCODED_BUCKET_MAX;
    else if (packet->kind == GOSSIP_RANGE)
        size += GOSSIP_ENCODED_RANGE_MAX + packet->of.range.count * GOSSIP_ENCODED_ROW_MAX;
    else if (packet->kind == GOSSIP_WANT)
        size += packet->of.want.count * GOSSIP_ENCODED_WANT_MAX;
    for (uint32_t i = 0; i < packet->item_count; i++)
        size += GOSSIP_ENCODED_ITEM_OVERHEAD + (uint32_t)packet->items[i].size;
    return size;
}

static bool packet_has(const struct gossip *g, const struct gossip_packet *packet, uint32_t record)
{
    const struct pool_record *item = pool_record(g->pool, record);
    for (uint32_t i = 0; i < packet->item_count; i++)
        if (packet->items[i].data == item->bytes)
            return true;
    return false;
}

/* False when it does not fit. The same item twice is once. */
bool gossip_packet_item(struct gossip *g, struct gossip_packet *packet, uint32_t record)
{
    const struct pool_record *item = pool_record(g->pool, record);
    if (packet_has(g, packet, record))
        return true;
    if (packet->item_count == GOSSIP_ITEMS_MAX ||
        gossip_packet_size_max(packet) + GOSSIP_ENCODED_ITEM_OVERHEAD + item->size >
            PPN_DATAGRAM_MAX)
        return false;
    packet->items[packet->item_count++] = ppn_slice(item->bytes, item->size);
    return true;
}

/* The record that a queue entry stands for now; 0: nothing any more. */
static uint32_t queued_record(const struct gossip *g, const struct gossip_queued *entry)
{
    if (!gossip_is_member(g, entry->subject))
        return 0;
    const struct gossip_slot *slot = &g->slots[entry->subject];
    if (entry->kind == GOSSIP_ITEM_VERDICT) {
        const struct gossip_opinion_entry *said =
            gossip_opinion_by(g, entry->subject, entry->accuser);
        return said == NULL ? 0 : said->record;
    }
    return entry->kind == GOSSIP_ITEM_LIFE      ? slot->life
           : entry->kind == GOSSIP_ITEM_PROFILE ? slot->profile
                                                : slot->load;
}

/* Adds from one queue until the packet holds `limit` bytes. Nobody is told about itself,
 * accusations excepted. */
static void fill_class(struct gossip *g, struct gossip_packet *packet, uint16_t to,
                       enum gossip_class class, bool lives_only, uint32_t limit)
{
    struct gossip_queue *queue = &g->queues[class];
    for (uint32_t looked = queue->count; looked > 0 && queue->count > 0; looked--) {
        if (queue->cursor >= queue->count)
            queue->cursor = 0;
        struct gossip_queued *entry = &queue->entries[queue->cursor];
        uint32_t record = queued_record(g, entry);
        if (record == 0 || entry->sent >= copies(g, (enum gossip_item_kind)entry->kind)) {
            queue_drop(g, queue, queue->cursor);
            continue;
        }
        bool own = entry->subject == to && entry->kind != GOSSIP_ITEM_VERDICT;
        bool later = lives_only && entry->kind != GOSSIP_ITEM_LIFE;
        if (own || later || entry->accuser == to || packet_has(g, packet, record)) {
            queue->cursor++;
            continue;
        }
        uint32_t size = gossip_packet_size_max(packet) + GOSSIP_ENCODED_ITEM_OVERHEAD +
                        pool_record(g->pool, record)->size;
        if (size > limit || !gossip_packet_item(g, packet, record))
            return;
        entry->sent++;
        queue->cursor++;
    }
}

/* Pushes leave some to anti-entropy, which finds in one exchange what they bring twice. */
static bool news_may_go(const struct gossip *g)
{
    return g->tokens > (int64_t)g->config.bandwidth_bytes_s * GOSSIP_TOKENS_SECONDS / SYNC_SHARE;
}

static bool loads_may_go(const struct gossip *g)
{
    return g->load_tokens > 0 &&
           g->tokens > (int64_t)g->config.bandwidth_bytes_s * GOSSIP_TOKENS_SECONDS / 2;
}

/* Verdicts go first, yet leave room for the others: no storm of one kind starves the next. Of the
 * verdicts' class lives go before all: one that objects makes a dozen accusations void. */
void gossip_packet_fill(struct gossip *g, struct gossip_packet *packet, uint16_t to)
{
    /* What goes to one that does not answer is wasted, and each item has only so many copies. */
    if (g->tokens <= 0 || !gossip_in_ring(g, to) || g->slots[to].state == GOSSIP_SUSPECT)
        return;
    uint32_t free_bytes = PPN_DATAGRAM_MAX - gossip_packet_size_max(packet);
    uint32_t reserve = g->queues[GOSSIP_CLASS_MEMBERSHIP].count > 0 ? free_bytes / 3 : 0;
    if (g->queues[GOSSIP_CLASS_LOAD].count > 0)
        reserve += LOAD_RESERVE < free_bytes / 4 ? LOAD_RESERVE : free_bytes / 4;
    fill_class(g, packet, to, GOSSIP_CLASS_VERDICTS, true, PPN_DATAGRAM_MAX - reserve);
    fill_class(g, packet, to, GOSSIP_CLASS_VERDICTS, false, PPN_DATAGRAM_MAX - reserve);
    reserve = g->queues[GOSSIP_CLASS_LOAD].count > 0 ? LOAD_RESERVE : 0;
    fill_class(g, packet, to, GOSSIP_CLASS_MEMBERSHIP, false, PPN_DATAGRAM_MAX - reserve);
    if (loads_may_go(g))
        fill_class(g, packet, to, GOSSIP_CLASS_LOAD, false, PPN_DATAGRAM_MAX);
    fill_class(g, packet, to, GOSSIP_CLASS_VERDICTS, false, PPN_DATAGRAM_MAX);
    fill_class(g, packet, to, GOSSIP_CLASS_MEMBERSHIP, false, PPN_DATAGRAM_MAX);
}

void gossip_packet_send(struct gossip *g, uint16_t to, struct gossip_packet *packet)
{
    PPN_ASSERT(to != g->self);
    if (!g->may_send)
        return;
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_SEND, to);
    if (action == NULL)
        return;
    action->packet = packet;
    uint32_t size = gossip_packet_size_max(packet), load = 0;
    PPN_ASSERT(size <= PPN_DATAGRAM_MAX);
    for (uint32_t i = 0; i < packet->item_count; i++)
        if (packet->items[i].data[0] == GOSSIP_ITEM_LOAD)
            load += GOSSIP_ENCODED_ITEM_OVERHEAD + (uint32_t)packet->items[i].size;
    /* A packet that carries nothing but loads is there because of them. */
    if (packet->kind == GOSSIP_NEWS && load + GOSSIP_ENCODED_HEADER_MAX == size)
        load = size;
    g->tokens -= size;
    g->load_tokens -= load;
    g->counters.packets_sent++;
    g->counters.bytes_load += load;
    g->counters.bytes_membership += size - load;
}

static int64_t refilled(int64_t tokens, int64_t rate, int64_t ms)
{
    int64_t most = rate * GOSSIP_TOKENS_SECONDS;
    tokens += rate * ms / 1000;
    return tokens > most ? most : tokens < -most ? -most : tokens;
}

void gossip_tokens_refill(struct gossip *g, struct ppn_instant now)
{
    int64_t ms = ppn_between(g->tokens_at, now).ns / 1000000;
    if (ms <= 0)
        return;
    bool full = ms > GOSSIP_TOKENS_SECONDS * 1000;
    g->tokens_at = full ? now : ppn_after(g->tokens_at, ppn_ms(ms));
    ms = full ? GOSSIP_TOKENS_SECONDS * 1000 : ms;
    g->tokens = refilled(g->tokens, g->config.bandwidth_bytes_s, ms);
    g->load_tokens = refilled(g->load_tokens, gossip_load_bytes_s(g), ms);
}

static bool news_waiting(const struct gossip *g)
{
    return g->queues[GOSSIP_CLASS_VERDICTS].count > 0 ||
           g->queues[GOSSIP_CLASS_MEMBERSHIP].count > 0;
}

static void push(struct gossip *g, uint32_t fanout)
{
    for (uint32_t i = 0; i < fanout; i++) {
        uint16_t to = gossip_random_member(g, true);
        struct gossip_packet *packet =
            to == POOL_INDEX_NONE ? NULL : gossip_packet_begin(g, GOSSIP_NEWS);
        if (packet == NULL)
            return;
        gossip_packet_fill(g, packet, to);
        if (packet->item_count == 0)
            continue;
        gossip_packet_send(g, to, packet);
    }
}

void gossip_push_tick(struct gossip *g, struct ppn_instant now)
{
    if (!ppn_due(g->push_next, now))
        return;
    bool news = news_waiting(g), loads = g->queues[GOSSIP_CLASS_LOAD].count > 0;
    g->push_next = PPN_NEVER;
    if (!g->may_send || (!news && !loads))
        return;
    if (news ? news_may_go(g) : loads_may_go(g))
        push(g, news ? PUSH_FANOUT : LOAD_FANOUT);
    else
        g->counters.deferred++;
    news = news_waiting(g);
    loads = g->queues[GOSSIP_CLASS_LOAD].count > 0;
    int64_t wait = news ? GOSSIP_PUSH_MS : GOSSIP_PUSH_LOAD_MS;
    wait += (int64_t)ppn_random_below(&g->random, (uint64_t)wait / 4);
    if (news || loads)
        g->push_next = ppn_after(now, ppn_ms(wait));
}

/* The last packets of one who leaves; they must do without him. */
void gossip_goodbye(struct gossip *g)
{
    uint16_t told[GOSSIP_TARGETS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->target_count; i++)
        told[count++] = g->targets[i].index;
    for (uint32_t i = 0; i < count; i++) {
        struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_NEWS);
        if (packet == NULL || !gossip_packet_item(g, packet, g->slots[g->self].life))
            return;
        gossip_packet_send(g, told[i], packet);
    }
    push(g, PUSH_FANOUT);
}
