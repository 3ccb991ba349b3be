// SPDX-License-Identifier: ISC
#include "gossip/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "gossip/item.h"

enum { POOL_TABLE_FIRST = 64 };

bool gossip_pool_grow(void **array, uint32_t *capacity, uint32_t wanted, size_t size)
{
    if (wanted <= *capacity)
        return true;
    uint32_t next = *capacity == 0 ? 16 : *capacity;
    while (next < wanted)
        next *= 2;
    void *grown = realloc(*array, (size_t)next * size);
    if (grown == NULL)
        return false;
    memset((uint8_t *)grown + (size_t)*capacity * size, 0, (size_t)(next - *capacity) * size);
    *array = grown;
    *capacity = next;
    return true;
}

struct gossip_pool *gossip_pool_new(void)
{
    return calloc(1, sizeof(struct gossip_pool));
}

void gossip_pool_free(struct gossip_pool *pool)
{
    if (pool == NULL)
        return;
    for (uint32_t i = 0; i < pool->record_count; i++)
        free(pool->records[i]);
    for (uint32_t i = 0; i < pool->packet_capacity; i++)
        free(pool->packets[i]);
    for (uint32_t i = 0; i < POOL_ORDERS; i++) {
        free(pool->orders[i].keys);
        free(pool->orders[i].nodes);
        free(pool->orders[i].positions);
    }
    free(pool->nodes);
    free(pool->table);
    free(pool->unused);
    free(pool->records);
    free(pool->vacant);
    free(pool->released);
    free(pool->actions);
    free(pool->packets);
    free(pool);
}

/* The tag of an Ed25519 key is random enough to be its own table hash. */
static uint32_t table_home(const struct gossip_pool *pool, gossip_tag tag)
{
    return (uint32_t)(tag ^ tag >> 32) & (pool->table_size - 1);
}

uint16_t gossip_pool_node_find(const struct gossip_pool *pool, gossip_tag tag)
{
    if (pool->table_size == 0)
        return POOL_INDEX_NONE;
    for (uint32_t at = table_home(pool, tag);; at = (at + 1) & (pool->table_size - 1)) {
        uint16_t entry = pool->table[at];
        if (entry == 0)
            return POOL_INDEX_NONE;
        if (pool->nodes[entry - 1].tag == tag)
            return (uint16_t)(entry - 1);
    }
}

static void table_put(struct gossip_pool *pool, uint16_t index)
{
    uint32_t at = table_home(pool, pool->nodes[index].tag);
    while (pool->table[at] != 0)
        at = (at + 1) & (pool->table_size - 1);
    pool->table[at] = (uint16_t)(index + 1);
}

/* Nodes leave rarely (a revocation), so the table is simply filled again. */
static void table_refill(struct gossip_pool *pool)
{
    memset(pool->table, 0, pool->table_size * sizeof(*pool->table));
    for (uint32_t i = 0; i < pool->node_count; i++)
        if (pool->nodes[i].refs > 0)
            table_put(pool, (uint16_t)i);
}

static bool pool_reserve(struct gossip_pool *pool)
{
    if (pool->node_count < pool->node_capacity && pool->table_size > 2 * pool->node_capacity)
        return true;
    uint32_t capacity = pool->node_capacity == 0 ? 16 : pool->node_capacity;
    while (capacity <= pool->node_count)
        capacity *= 2;
    uint32_t had = pool->node_capacity, unused = had;
    if (!gossip_pool_grow((void **)&pool->unused, &unused, capacity, sizeof(uint16_t)))
        return false;
    for (uint32_t i = 0; i < POOL_ORDERS; i++) {
        uint32_t keys = had, nodes = had, positions = had;
        struct pool_order *order = &pool->orders[i];
        if (!gossip_pool_grow((void **)&order->keys, &keys, capacity, sizeof(uint64_t)) ||
            !gossip_pool_grow((void **)&order->nodes, &nodes, capacity, sizeof(uint16_t)) ||
            !gossip_pool_grow((void **)&order->positions, &positions, capacity, sizeof(uint16_t)))
            return false;
    }
    if (!gossip_pool_grow((void **)&pool->nodes, &pool->node_capacity, capacity,
                          sizeof(*pool->nodes)))
        return false;
    uint32_t size = POOL_TABLE_FIRST;
    while (size <= 2 * pool->node_capacity)
        size *= 2;
    uint16_t *table = calloc(size, sizeof(*table));
    if (table == NULL)
        return false;
    free(pool->table);
    pool->table = table;
    pool->table_size = size;
    table_refill(pool);
    return true;
}

static uint32_t order_position(const struct pool_order *order, uint32_t count, uint64_t key)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (order->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t gossip_pool_position_from(const struct gossip_pool *pool, gossip_tag tag)
{
    return order_position(&pool->orders[POOL_BY_TAG], pool->live, tag);
}

static uint64_t order_key(const struct gossip_pool *pool, uint32_t which, uint16_t index)
{
    const struct pool_node *node = &pool->nodes[index];
    if (which == POOL_BY_TAG)
        return node->tag;
    struct ppn_hash_key key = {pool->ring_key, which};
    return ppn_hash64(key, ppn_slice(node->id.bytes, sizeof(node->id.bytes)));
}

static void order_insert(struct gossip_pool *pool, uint32_t which, uint16_t index)
{
    struct pool_order *order = &pool->orders[which];
    uint64_t key = order_key(pool, which, index);
    uint32_t at = order_position(order, pool->live, key);
    memmove(order->keys + at + 1, order->keys + at, (pool->live - at) * sizeof(*order->keys));
    memmove(order->nodes + at + 1, order->nodes + at, (pool->live - at) * sizeof(*order->nodes));
    order->keys[at] = key;
    order->nodes[at] = index;
    for (uint32_t i = at; i <= pool->live; i++)
        order->positions[order->nodes[i]] = (uint16_t)i;
}

static void order_remove(struct gossip_pool *pool, uint32_t which, uint16_t index)
{
    struct pool_order *order = &pool->orders[which];
    uint32_t at = order->positions[index];
    PPN_ASSERT(at < pool->live && order->nodes[at] == index);
    uint32_t rest = pool->live - at - 1;
    memmove(order->keys + at, order->keys + at + 1, rest * sizeof(*order->keys));
    memmove(order->nodes + at, order->nodes + at + 1, rest * sizeof(*order->nodes));
    for (uint32_t i = at; i + 1 < pool->live; i++)
        order->positions[order->nodes[i]] = (uint16_t)i;
}

static bool order_in_use(const struct gossip_pool *pool, uint32_t which)
{
    return which < pool->rings || which == POOL_BY_TAG;
}

uint16_t gossip_pool_node_add(struct gossip_pool *pool, const struct ppn_node_id *id, bool *clash)
{
    PPN_ASSERT(pool->keyed);
    gossip_tag tag = gossip_tag_of(id);
    uint16_t index = gossip_pool_node_find(pool, tag);
    *clash = index != POOL_INDEX_NONE && !ppn_node_id_equal(&pool->nodes[index].id, id);
    if (*clash)
        return POOL_INDEX_NONE;
    if (index != POOL_INDEX_NONE) {
        pool->nodes[index].refs++;
        return index;
    }
    if (pool->unused_count > 0) {
        index = pool->unused[--pool->unused_count];
    } else {
        if (pool->node_count >= POOL_NODES_MAX || !pool_reserve(pool))
            return POOL_INDEX_NONE;
        index = (uint16_t)pool->node_count++;
    }
    pool->nodes[index] = (struct pool_node){.id = *id, .tag = tag, .refs = 1};
    table_put(pool, index);
    for (uint32_t i = 0; i < POOL_ORDERS; i++)
        if (order_in_use(pool, i))
            order_insert(pool, i, index);
    pool->live++;
    return index;
}

void gossip_pool_node_release(struct gossip_pool *pool, uint16_t index)
{
    struct pool_node *node = &pool->nodes[index];
    PPN_ASSERT(node->refs > 0);
    if (--node->refs > 0)
        return;
    for (uint32_t i = 0; i < POOL_ORDERS; i++)
        if (order_in_use(pool, i))
            order_remove(pool, i, index);
    pool->live--;
    /* Records that packets of this step point at outlive their author's entry. */
    for (uint32_t r = node->records; r != 0; r = pool->records[r]->next)
        pool->records[r]->author = POOL_INDEX_NONE;
    pool->unused[pool->unused_count++] = index;
    table_refill(pool);
}

uint32_t gossip_pool_record_find(const struct gossip_pool *pool, uint16_t author,
                                 struct ppn_slice bytes)
{
    for (uint32_t r = pool->nodes[author].records; r != 0; r = pool->records[r]->next) {
        const struct pool_record *record = pool->records[r];
        if (record->size == bytes.size && memcmp(record->bytes, bytes.data, bytes.size) == 0)
            return r;
    }
    return 0;
}

uint32_t gossip_pool_record_add(struct gossip_pool *pool, uint16_t author, struct ppn_slice bytes)
{
    PPN_ASSERT(bytes.size <= GOSSIP_ITEM_SIZE_MAX);
    struct gossip_item item;
    if (gossip_item_read(bytes, &item) != PPN_OK)
        PPN_UNREACHABLE();
    struct pool_record *record = malloc(sizeof(*record) + bytes.size);
    uint32_t at = pool->record_count == 0 ? 1 : pool->record_count; /* 0 means none */
    if (pool->vacant_count > 0)
        at = pool->vacant[--pool->vacant_count];
    if (record == NULL || !gossip_pool_grow((void **)&pool->records, &pool->record_capacity, at + 1,
                                            sizeof(*pool->records))) {
        free(record);
        return 0;
    }
    if (at >= pool->record_count)
        pool->record_count = at + 1;
    *record = (struct pool_record){.refs = 1,
                                   .next = pool->nodes[author].records,
                                   .epoch = item.epoch,
                                   .sequence = item.sequence,
                                   .author = author,
                                   .size = (uint16_t)bytes.size,
                                   .kind = (uint8_t)item.kind,
                                   .standing = (uint8_t)item.standing};
    memcpy(record->bytes, bytes.data, bytes.size);
    pool->records[at] = record;
    pool->nodes[author].records = at;
    return at;
}

void gossip_pool_record_hold(struct gossip_pool *pool, uint32_t record)
{
    PPN_ASSERT(record != 0 && pool->records[record] != NULL);
    pool->records[record]->refs++;
}

void gossip_pool_record_release(struct gossip_pool *pool, uint32_t record)
{
    if (record == 0)
        return;
    PPN_ASSERT(pool->records[record]->refs > 0);
    if (--pool->records[record]->refs > 0)
        return;
    /* Out of memory here only delays the reuse of a few bytes until the pool goes. */
    if (gossip_pool_grow((void **)&pool->released, &pool->released_capacity,
                         pool->released_count + 1, sizeof(*pool->released)))
        pool->released[pool->released_count++] = record;
}

static void record_unlink(struct gossip_pool *pool, uint32_t record)
{
    uint16_t author = pool->records[record]->author;
    if (author == POOL_INDEX_NONE)
        return;
    uint32_t *link = &pool->nodes[author].records;
    while (*link != record) {
        PPN_ASSERT(*link != 0);
        link = &pool->records[*link]->next;
    }
    *link = pool->records[record]->next;
}

void gossip_pool_step(struct gossip_pool *pool)
{
    for (uint32_t i = 0; i < pool->released_count; i++) {
        uint32_t record = pool->released[i];
        /* Held again since, or listed twice. */
        if (pool->records[record] == NULL || pool->records[record]->refs > 0)
            continue;
        if (!gossip_pool_grow((void **)&pool->vacant, &pool->vacant_capacity,
                              pool->vacant_count + 1, sizeof(*pool->vacant)))
            continue;
        record_unlink(pool, record);
        free(pool->records[record]);
        pool->records[record] = NULL;
        pool->vacant[pool->vacant_count++] = record;
    }
    pool->released_count = 0;
    pool->action_count = 0;
    pool->packet_count = 0;
}

struct gossip_action *gossip_pool_action(struct gossip_pool *pool)
{
    if (!gossip_pool_grow((void **)&pool->actions, &pool->action_capacity, pool->action_count + 1,
                          sizeof(*pool->actions)))
        return NULL;
    struct gossip_action *action = &pool->actions[pool->action_count++];
    *action = (struct gossip_action){0};
    return action;
}

struct gossip_packet *gossip_pool_packet(struct gossip_pool *pool)
{
    if (!gossip_pool_grow((void **)&pool->packets, &pool->packet_capacity, pool->packet_count + 1,
                          sizeof(*pool->packets)))
        return NULL;
    struct gossip_packet **at = &pool->packets[pool->packet_count];
    if (*at == NULL)
        *at = malloc(sizeof(**at));
    if (*at == NULL)
        return NULL;
    pool->packet_count++;
    return *at;
}
