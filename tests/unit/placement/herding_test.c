// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

/* Many requests at once on one stale view: each goes down its ranking until a target really has
 * room. Best fit sends all of them to the same node; what is measured is attempts per machine. */

enum { NODES = 10 };

enum policy { RENDEZVOUS, BEST_FIT, WORST_FIT };

static struct pool pool, stale;
static struct placement_row rows[POOL_MAX];

static int by_room(const void *left, const void *right)
{
    const struct placement_row *a = left, *b = right;
    if (a->verdict.memory_free_bytes != b->verdict.memory_free_bytes)
        return a->verdict.memory_free_bytes < b->verdict.memory_free_bytes ? -1 : 1;
    return ppn_node_id_compare(&a->node->id, &b->node->id);
}

static void order(enum policy policy, size_t fits)
{
    if (policy == RENDEZVOUS)
        return;
    qsort(rows, fits, sizeof(*rows), by_room);
    for (size_t i = 0; policy == WORST_FIT && i < fits / 2; i++) {
        struct placement_row swap = rows[i];
        rows[i] = rows[fits - 1 - i];
        rows[fits - 1 - i] = swap;
    }
}

/* The stale copy must point at its own facts. */
static void freeze(void)
{
    stale.count = pool.count;
    for (uint32_t i = 0; i < stale.count; i++) {
        stale.nodes[i] = pool.nodes[i];
        stale.profiles[i] = pool.profiles[i];
        stale.loads[i] = pool.loads[i];
        memcpy(stale.names[i], pool.names[i], sizeof(stale.names[i]));
        stale.nodes[i].name = stale.names[i];
        stale.nodes[i].profile = &stale.profiles[i];
        stale.nodes[i].load = &stale.loads[i];
    }
}

static uint32_t place(enum policy policy, const struct placement_request *request, bool *placed)
{
    size_t fits = placement_rank(stale.nodes, stale.count, request, rows);
    uint32_t attempts = 0;
    *placed = false;
    order(policy, fits);
    for (size_t i = 0; i < fits && !*placed; i++) {
        uint32_t index = (uint32_t)(rows[i].node - stale.nodes);
        struct placement_verdict verdict;
        attempts++;
        if (placement_fit(&pool.nodes[index], request, &verdict) == PLACEMENT_FITS) {
            pool_take(&pool.nodes[index], &pool, request->demand);
            *placed = true;
        } else {
            stale.loads[index] = pool.loads[index]; /* a refusal tells the present state */
        }
    }
    return attempts;
}

static double attempts_per_machine(enum policy policy, uint32_t at_once)
{
    static const uint64_t sizes[] = {1, 2, 4, 8};
    struct ppn_random random;
    uint32_t attempts = 0, machines = 0;
    ppn_random_init(&random, 77);
    for (int trial = 0; trial < 200; trial++) {
        pool_office(&pool, NODES, &random);
        for (uint32_t i = 0; i < pool.count; i++) {
            uint64_t used = ppn_random_below(&random, 50);
            pool.loads[i].memory_reserved_bytes = pool.profiles[i].memory_total_bytes / 100 * used;
        }
        freeze();
        for (uint32_t k = 0; k < at_once; k++) {
            struct ppn_demand demand = demand_of(sizes[ppn_random_below(&random, 4)] * GIB, 1);
            struct placement_request request = request_of(&demand, &random);
            bool placed;
            struct ppn_load before[NODES];
            memcpy(before, stale.loads, sizeof(before)); /* each chooser has its own stale view */
            uint32_t tried = place(policy, &request, &placed);
            memcpy(stale.loads, before, sizeof(before));
            attempts += placed ? tried : 0;
            machines += placed;
        }
    }
    return (double)attempts / machines;
}

Test(placement_herding, simultaneous_requests_spread, .timeout = 60)
{
    for (uint32_t at_once = 8; at_once <= 16; at_once += 8) {
        double ours = attempts_per_machine(RENDEZVOUS, at_once);
        double best = attempts_per_machine(BEST_FIT, at_once);
        double worst = attempts_per_machine(WORST_FIT, at_once);
        printf("placement: %2u at once, 10 nodes, attempts a machine: rendezvous %.2f, "
               "best fit %.2f, worst fit %.2f\n",
               at_once, ours, best, worst);
        cr_assert(ours <= 1.2 && ours < best);
    }
}

Test(placement_herding, spreading_costs_little_room)
{
    static const uint64_t sizes[] = {1, 2, 4, 8};
    struct ppn_random random;
    uint64_t promised = 0, capacity = 0;
    ppn_random_init(&random, 78);
    for (int trial = 0; trial < 10; trial++) {
        pool_office(&pool, NODES, &random);
        for (uint32_t refused = 0; refused < 10;) {
            struct ppn_demand demand = demand_of(sizes[ppn_random_below(&random, 4)] * GIB, 1);
            struct placement_request request = request_of(&demand, &random);
            if (placement_rank(pool.nodes, pool.count, &request, rows) == 0)
                refused++;
            else
                pool_take(rows[0].node, &pool, &demand);
        }
        for (uint32_t i = 0; i < pool.count; i++) {
            promised += pool.loads[i].memory_reserved_bytes;
            capacity += pool.profiles[i].memory_total_bytes - PLACEMENT_HOST_RESERVE_BYTES;
        }
    }
    printf("placement: %.0f %% of the memory is promised after ten refusals\n",
           100.0 * (double)promised / (double)capacity);
    cr_assert(promised > capacity / 100 * 90);
}
