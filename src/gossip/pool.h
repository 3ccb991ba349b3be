// SPDX-License-Identifier: ISC
#pragma once

/* What cores of one process share: the directory of node ids with their ring positions, the signed
 * items, and scratch memory for one step. A daemon's core has a pool of its own; a simulator's
 * cores share one, which is why an item is stored once however many views hold it. Not thread-safe.
 */

#include "gossip/gossip.h"

enum {
    POOL_INDEX_NONE = 0xffff,
    POOL_NODES_MAX = 0xfffe,
    POOL_RINGS_MAX = GOSSIP_OBSERVERS_MAX,
    POOL_BY_TAG = POOL_RINGS_MAX, /* one more order, by tag, for anti-entropy */
    POOL_ORDERS = POOL_RINGS_MAX + 1
};

struct pool_node {
    struct ppn_node_id id;
    gossip_tag tag;
    uint32_t refs;    /* views that hold it as a member */
    uint32_t records; /* first record by this author */
};

struct pool_record {
    uint32_t refs;
    uint32_t next; /* of the same author */
    uint32_t epoch, sequence;
    uint16_t author;
    uint16_t size;
    uint8_t kind;
    uint8_t standing; /* LIFE */
    uint8_t bytes[];
};

struct pool_order {
    uint64_t *keys;      /* rising */
    uint16_t *nodes;     /* by position */
    uint16_t *positions; /* by node */
};

struct gossip_pool {
    struct pool_node *nodes;
    uint32_t node_count, node_capacity; /* count: indices ever used */
    uint32_t live;                      /* nodes in the orders */
    uint16_t *table;                    /* open addressing by tag, index + 1 */
    uint32_t table_size;
    uint16_t *unused;
    uint32_t unused_count;
    struct pool_order orders[POOL_ORDERS];
    uint32_t rings;
    bool keyed;
    uint64_t ring_key;

    struct pool_record **records;
    uint32_t record_count, record_capacity;
    uint32_t *vacant; /* handles to use again */
    uint32_t vacant_count, vacant_capacity;
    uint32_t *released; /* freed at the next step, because packets may still point at them */
    uint32_t released_count, released_capacity;

    struct gossip_action *actions;
    uint32_t action_count, action_capacity;
    struct gossip_packet **packets;
    uint32_t packet_count, packet_capacity;
};

/* Index of a node, added with one more reference; POOL_INDEX_NONE when the pool is full, memory is
 * out, or another id has its tag (*clash). */
uint16_t gossip_pool_node_add(struct gossip_pool *pool, const struct ppn_node_id *id, bool *clash);
void gossip_pool_node_release(struct gossip_pool *pool, uint16_t index);
uint16_t gossip_pool_node_find(const struct gossip_pool *pool, gossip_tag tag);

/* The first node in tag order whose tag is at least `tag`, as a position. */
uint32_t gossip_pool_position_from(const struct gossip_pool *pool, gossip_tag tag);

/* The record of `author` with exactly these bytes, or 0. Whatever is in the pool was verified. */
uint32_t gossip_pool_record_find(const struct gossip_pool *pool, uint16_t author,
                                 struct ppn_slice bytes);

/* A record with one reference; 0 out of memory. */
uint32_t gossip_pool_record_add(struct gossip_pool *pool, uint16_t author, struct ppn_slice bytes);
void gossip_pool_record_hold(struct gossip_pool *pool, uint32_t record);
void gossip_pool_record_release(struct gossip_pool *pool, uint32_t record);

static inline const struct pool_record *pool_record(const struct gossip_pool *pool, uint32_t record)
{
    return pool->records[record];
}

/* A new step: last step's actions and packets are gone. */
void gossip_pool_step(struct gossip_pool *pool);
struct gossip_action *gossip_pool_action(struct gossip_pool *pool);
struct gossip_packet *gossip_pool_packet(struct gossip_pool *pool);

/* Grows an array of `size`-byte elements to hold at least `wanted`; false out of memory. */
bool gossip_pool_grow(void **array, uint32_t *capacity, uint32_t wanted, size_t size);
