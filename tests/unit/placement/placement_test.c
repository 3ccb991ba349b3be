// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "base/name.h"
#include "pool.h"

static struct pool pool;
static struct placement_row rows[POOL_MAX];

static void setup(void)
{
    pool.count = 0;
    (void)pool_add(&pool, 16 * GIB, 8);
}

/* What must change on a good node, or in the request, for each reason to be given. */
static void spoil(enum placement_reason reason, struct ppn_demand *demand,
                  struct placement_request *request)
{
    struct ppn_profile *profile = &pool.profiles[0];
    struct ppn_load *load = &pool.loads[0];
    switch (reason) {
    case PLACEMENT_FITS:
    case PLACEMENT_REASON_COUNT:
        break;
    case PLACEMENT_NOT_NAMED:
        (void)ppn_text_copy(demand->node, sizeof(demand->node), "other");
        break;
    case PLACEMENT_LEFT:
        pool.nodes[0].state = PLACEMENT_STATE_LEFT;
        break;
    case PLACEMENT_DEAD:
        pool.nodes[0].state = PLACEMENT_STATE_DEAD;
        break;
    case PLACEMENT_UNREACHABLE:
        pool.nodes[0].state = PLACEMENT_STATE_UNREACHABLE;
        break;
    case PLACEMENT_SUSPECT:
        pool.nodes[0].state = PLACEMENT_STATE_SUSPECT;
        break;
    case PLACEMENT_UNKNOWN:
        pool.nodes[0].load = NULL;
        break;
    case PLACEMENT_ARCH:
        request->arch = "aarch64";
        break;
    case PLACEMENT_KVM:
        profile->kvm = PPN_KVM_RUNS;
        break;
    case PLACEMENT_ISOLATION:
        demand->isolation_min = PPN_ISOLATION_SEV_SNP;
        break;
    case PLACEMENT_LABEL:
        demand->labels[demand->label_count++] = (struct ppn_label){"gpu", "yes"};
        break;
    case PLACEMENT_CORDONED:
        profile->cordoned = true;
        break;
    case PLACEMENT_BATTERY:
        load->power = PPN_POWER_BATTERY;
        break;
    case PLACEMENT_LID:
        load->power = PPN_POWER_UNKNOWN;
        load->lid_closed = true;
        break;
    case PLACEMENT_CPUS:
        demand->vcpus = 9;
        break;
    case PLACEMENT_VCPUS:
        load->vcpus_reserved = 8 * PLACEMENT_VCPUS_PER_CPU;
        break;
    case PLACEMENT_MEMORY:
        load->memory_reserved_bytes = 15 * GIB;
        break;
    case PLACEMENT_MEMORY_AVAILABLE:
        load->memory_available_bytes = GIB;
        break;
    case PLACEMENT_DISK:
        load->disk_free_bytes = GIB / 2;
        break;
    }
}

Test(placement_fit, each_reason_is_given_and_told)
{
    for (int reason = 0; reason < PLACEMENT_REASON_COUNT; reason++) {
        struct ppn_demand demand = demand_of(GIB, 1);
        struct placement_request request = {.demand = &demand, .arch = ""};
        struct placement_verdict verdict;
        char text[PPN_FAILURE_TEXT_MAX];
        setup();
        spoil((enum placement_reason)reason, &demand, &request);
        cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict),
                     (enum placement_reason)reason, "%s, not %s",
                     placement_reason_name((enum placement_reason)reason),
                     placement_reason_name(verdict.reason));
        placement_verdict_text(&pool.nodes[0], &request, &verdict, text, sizeof(text));
        cr_assert(strlen(text) >= 4 && strlen(text) < sizeof(text) - 1);
    }
}

Test(placement_fit, a_named_node_may_run_on_battery_with_its_lid_closed)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = "x86_64"};
    struct placement_verdict verdict;
    setup();
    pool.loads[0].power = PPN_POWER_BATTERY;
    pool.loads[0].lid_closed = true;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_BATTERY);
    (void)ppn_text_copy(demand.node, sizeof(demand.node), "n1");
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_FITS);
    pool.profiles[0].cordoned = true;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_CORDONED);
}

Test(placement_fit, a_dead_battery_on_mains_and_a_closed_lid_on_mains_are_fine)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = ""};
    struct placement_verdict verdict;
    setup();
    pool.loads[0].battery_percent = 0;
    pool.loads[0].lid_closed = true;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_FITS);
}

Test(placement_fit, emulation_only_when_said_and_never_with_isolation)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = ""};
    struct placement_verdict verdict;
    setup();
    pool.profiles[0].kvm = PPN_KVM_RUNS;
    demand.kvm_required = false;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_KVM);
    demand.allow_emulation = true;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_FITS);
    cr_assert(verdict.emulated);
    demand.isolation_min = PPN_ISOLATION_KVM;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_ISOLATION);
}

Test(placement_fit, memory_boundary_is_exact_and_huge_demands_do_not_wrap)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = ""};
    struct placement_verdict verdict;
    setup();
    uint64_t need = placement_memory_need_bytes(&demand, false);
    uint64_t promised = 16 * GIB - PLACEMENT_HOST_RESERVE_BYTES;
    pool.loads[0].memory_reserved_bytes = promised - need;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_FITS);
    pool.loads[0].memory_reserved_bytes++;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_MEMORY);
    demand.memory_bytes = UINT64_MAX;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_MEMORY);
    pool.loads[0].memory_reserved_bytes = UINT64_MAX;
    demand.memory_bytes = 1;
    cr_assert_eq(placement_fit(&pool.nodes[0], &request, &verdict), PLACEMENT_MEMORY);
}

Test(placement_rank, order_of_the_view_does_not_matter)
{
    struct ppn_random random;
    ppn_random_init(&random, 11);
    for (int round = 0; round < 200; round++) {
        struct ppn_demand demand = demand_of((1 + ppn_random_below(&random, 8)) * GIB, 2);
        struct placement_request request = request_of(&demand, &random);
        static struct placement_node shuffled[64];
        static struct placement_row again[64];
        pool_office(&pool, 40, &random);
        for (uint32_t i = 0; i < pool.count; i++)
            pool.nodes[i].state = (enum placement_state)(ppn_random_below(&random, 8) / 4);
        memcpy(shuffled, pool.nodes, pool.count * sizeof(*shuffled));
        for (uint32_t i = pool.count; i > 1; i--) {
            uint32_t j = (uint32_t)ppn_random_below(&random, i);
            struct placement_node swap = shuffled[i - 1];
            shuffled[i - 1] = shuffled[j];
            shuffled[j] = swap;
        }
        size_t fits = placement_rank(pool.nodes, pool.count, &request, rows);
        cr_assert_eq(fits, placement_rank(shuffled, pool.count, &request, again));
        for (uint32_t i = 0; i < pool.count; i++) {
            cr_assert(ppn_node_id_equal(&rows[i].node->id, &again[i].node->id));
            cr_assert_eq(rows[i].verdict.reason == PLACEMENT_FITS, i < fits);
            cr_assert_eq(rows[i].draw, again[i].draw);
        }
    }
}

/* A draw computed once and kept: another platform, compiler or year must give the same. */
Test(placement_rank, known_draws_stay)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = ""};
    setup();
    (void)pool_add(&pool, 32 * GIB, 8);
    cr_assert_eq(placement_rank(pool.nodes, 2, &request, rows), 2);
    cr_assert_str_eq(rows[0].node->name, "n1");
    cr_assert_eq(rows[0].draw, 20021601443, "%llu", (unsigned long long)rows[0].draw);
}

Test(placement_rank, chances_follow_the_weights)
{
    struct ppn_random random;
    uint32_t wins = 0, rounds = 40000;
    ppn_random_init(&random, 5);
    setup();
    (void)pool_add(&pool, 16 * GIB, 8);
    pool.profiles[1].images[0] = (struct ppn_image_tag){{7, 7, 7, 7, 7, 7, 7, 7}};
    pool.profiles[1].image_count = 1;
    struct ppn_demand demand = demand_of(GIB, 1);
    for (uint32_t i = 0; i < rounds; i++) {
        struct placement_request request = request_of(&demand, &random);
        (void)placement_rank(pool.nodes, 2, &request, rows);
        wins += rows[0].node == &pool.nodes[1];
    }
    /* The image triples the weight: three of four. */
    cr_assert(wins > rounds * 74 / 100 && wins < rounds * 76 / 100, "%u of %u", wins, rounds);
}

Test(placement_rank, real_kvm_beats_emulation_always)
{
    struct ppn_random random;
    ppn_random_init(&random, 6);
    setup();
    (void)pool_add(&pool, 64 * GIB, 32);
    pool.profiles[1].kvm = PPN_KVM_NONE;
    struct ppn_demand demand = demand_of(GIB, 1);
    demand.kvm_required = false;
    demand.allow_emulation = true;
    for (int i = 0; i < 1000; i++) {
        struct placement_request request = request_of(&demand, &random);
        cr_assert_eq(placement_rank(pool.nodes, 2, &request, rows), 2);
        cr_assert(rows[0].node == &pool.nodes[0]);
    }
}

Test(placement_text, nothing_fits_names_the_commonest_reason)
{
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = {.demand = &demand, .arch = ""};
    char text[PPN_FAILURE_TEXT_MAX];
    setup();
    (void)pool_add(&pool, 16 * GIB, 8);
    (void)pool_add(&pool, 16 * GIB, 8);
    pool.nodes[0].state = PLACEMENT_STATE_DEAD;
    pool.profiles[1].cordoned = pool.profiles[2].cordoned = true;
    cr_assert_eq(placement_rank(pool.nodes, 3, &request, rows), 0);
    placement_none_text(rows, 3, &request, text, sizeof(text));
    cr_assert(strstr(text, "cordoned") != NULL, "%s", text);
    (void)ppn_text_copy(demand.node, sizeof(demand.node), "nowhere");
    cr_assert_eq(placement_rank(pool.nodes, 3, &request, rows), 0);
    placement_none_text(rows, 3, &request, text, sizeof(text));
    cr_assert(strstr(text, "no node is named nowhere") != NULL, "%s", text);
    placement_none_text(rows, 0, &request, text, sizeof(text));
    cr_assert(text[0] != '\0');
}

Test(placement_rank, ten_thousand_nodes_take_milliseconds)
{
    struct ppn_random random;
    struct timespec from, to;
    ppn_random_init(&random, 9);
    pool_office(&pool, POOL_MAX, &random);
    struct ppn_demand demand = demand_of(GIB, 1);
    struct placement_request request = request_of(&demand, &random);
    clock_gettime(CLOCK_MONOTONIC, &from);
    cr_assert_eq(placement_rank(pool.nodes, pool.count, &request, rows), POOL_MAX);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    printf("placement: %d nodes ranked in %.1f ms\n", POOL_MAX, ms);
    cr_assert(ms < 500);
}
