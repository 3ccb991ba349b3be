// SPDX-License-Identifier: ISC
#pragma once

/* Pools of made-up machines for the placement tests. */

#include <stdio.h>

#include "base/random.h"
#include "placement/placement.h"

#define GIB (UINT64_C(1) << 30)

enum { POOL_MAX = 10000 };

struct pool {
    uint32_t count;
    struct placement_node nodes[POOL_MAX];
    struct ppn_profile profiles[POOL_MAX];
    struct ppn_load loads[POOL_MAX];
    char names[POOL_MAX][16];
};

static inline struct placement_node *pool_add(struct pool *pool, uint64_t memory_bytes,
                                              uint32_t cpus)
{
    uint32_t i = pool->count++;
    snprintf(pool->names[i], sizeof(pool->names[i]), "n%u", i + 1);
    pool->profiles[i] = (struct ppn_profile){.arch = "x86_64",
                                             .cpus = cpus,
                                             .memory_total_bytes = memory_bytes,
                                             .disk_total_bytes = 500 * GIB,
                                             .kvm = PPN_KVM_BOOTS,
                                             .isolation_max = PPN_ISOLATION_KVM_SANDBOX};
    pool->loads[i] = (struct ppn_load){.memory_available_bytes = memory_bytes,
                                       .disk_free_bytes = 400 * GIB,
                                       .power = PPN_POWER_MAINS,
                                       .battery_percent = 255};
    pool->nodes[i] = (struct placement_node){
        .name = pool->names[i], .profile = &pool->profiles[i], .load = &pool->loads[i]};
    pool->nodes[i].id.bytes[0] = (uint8_t)(i >> 8);
    pool->nodes[i].id.bytes[1] = (uint8_t)i;
    pool->nodes[i].id.bytes[31] = 1;
    return &pool->nodes[i];
}

/* The pool of a small business: a 64 GB server, a 2 GB cloud machine, laptops of 8 to 32 GB. */
static inline void pool_office(struct pool *pool, uint32_t count, struct ppn_random *random)
{
    static const uint64_t sizes[] = {8, 16, 32};
    pool->count = 0;
    (void)pool_add(pool, 64 * GIB, 32);
    (void)pool_add(pool, 2 * GIB, 2);
    while (pool->count < count)
        (void)pool_add(pool, sizes[ppn_random_below(random, 3)] * GIB, 8);
}

static inline struct ppn_demand demand_of(uint64_t memory_bytes, uint32_t vcpus)
{
    return (struct ppn_demand){.image = "debian-12",
                               .image_hash = {{7, 7, 7, 7, 7, 7, 7, 7}},
                               .image_bytes = GIB / 2,
                               .memory_bytes = memory_bytes,
                               .vcpus = vcpus,
                               .kvm_required = true,
                               .isolation_min = PPN_ISOLATION_TCG};
}

static inline struct placement_request request_of(const struct ppn_demand *demand,
                                                  struct ppn_random *random)
{
    struct placement_request request = {.demand = demand, .arch = ""};
    for (int i = 0; i < PPN_REQUEST_ID_SIZE; i++)
        request.id.bytes[i] = (uint8_t)ppn_random_u64(random);
    return request;
}

static inline void pool_take(const struct placement_node *node, struct pool *pool,
                             const struct ppn_demand *demand)
{
    struct ppn_load *load = &pool->loads[node - pool->nodes];
    load->memory_reserved_bytes += placement_memory_need_bytes(demand, false);
    load->vcpus_reserved += demand->vcpus;
}
