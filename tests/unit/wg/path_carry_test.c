// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "path_world.h"
#include "wg/path_window.h"

Test(path_carry, the_largest_size_that_arrives_is_found)
{
    static const struct {
        uint16_t carries, mtu; /* UDP payload, and what the interface may send */
    } rows[] = {
        {1500, 1420}, {1452, 1420}, {1451, 1408}, {1440, 1408}, {1439, 1392},
        {1372, 1328}, {1352, 1312}, {1328, 1296}, {1327, 1280}, {1312, 1280},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world world;
        world_begin(&world, i);
        world_add(&world, world_at(1, 51820), PATH_PUBLIC, 20)->carries = rows[i].carries;
        world_name_all(&world);
        world_pass(&world, 15000, true);
        cr_assert_eq(path_mtu(&world.path), rows[i].mtu, "%u: %u", rows[i].carries,
                     path_mtu(&world.path));
        cr_assert_eq(path_way_mtu(&world.path.ways[0]), rows[i].mtu);
    }
}

Test(path_carry, the_usual_way_costs_one_packet_and_one_each_half_minute)
{
    struct world world;
    world_begin(&world, 1);
    world_add(&world, world_at(1, 51820), PATH_LAN, 2);
    world_name_all(&world);
    world_pass(&world, 1000, true);
    cr_assert_eq(world.large, 1);
    world_pass(&world, 300000, true);
    cr_assert_leq(world.large, 11);
    uint32_t before = world.large;
    world_pass(&world, 300000, false);
    cr_assert_leq(world.large, before + 1, "and none in silence");
}

Test(path_carry, a_way_that_narrows_in_use_is_noticed)
{
    struct world world;
    world_begin(&world, 2);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 20);
    world_name_all(&world);
    world_pass(&world, 5000, true);
    world.places[0].carries = 1372;
    world_pass(&world, 45000, true);
    cr_assert_eq(path_mtu(&world.path), 1328);
    world.places[0].carries = 1500;
    world_pass(&world, PATH_MTU_RAISE_MS + 60000, true);
    cr_assert_eq(path_mtu(&world.path), PATH_MTU_MAX, "and that it widened");
}

Test(path_carry, large_packets_are_safe_soon)
{
    struct world world;
    world_begin(&world, 3);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 20)->carries = 1372;
    world_name_all(&world);
    world_pass(&world, 2000, true);
    cr_assert_leq(path_mtu(&world.path), 1328);
}

Test(path_carry, the_own_links_word_is_taken_at_once)
{
    struct world world;
    world_begin(&world, 4);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 20)->carries = 1000;
    world_name_all(&world);
    world_pass(&world, 50, true);
    for (int i = 0; i < 5 && !world.path.ways[0].carry.settled; i++) {
        const struct path_event big = {.kind = PATH_TOO_BIG,
                                       .nonce = world.path.ways[0].carry.question.nonce};
        world_step(&world, &big);
    }
    cr_assert(world.path.ways[0].carry.settled);
}

Test(path_carry, a_way_that_carries_too_little_is_left_for_any_other)
{
    struct world world;
    world_begin(&world, 5);
    world_add(&world, world_at(1, 51820), PATH_LAN, 2)->carries = 1000;
    world_add(&world, world_at(9, 51821), PATH_RELAY, 50);
    world_name_all(&world);
    world_pass(&world, 30000, true);
    cr_assert_eq(world_class(&world), PATH_RELAY);
    cr_assert_eq(path_way_mtu(&world.path.ways[0]), 1);
    cr_assert_eq(path_way_standing(&world.path, &world.path.ways[0]), PATH_NARROW);
    world.places[1].relays = false;
    world_pass(&world, 10000, true);
    cr_assert_eq(world_class(&world), PATH_LAN, "but it is better than none");
    cr_assert_eq(path_mtu(&world.path), PATH_MTU_MIN);
}

Test(path_carry, a_dead_way_is_not_a_narrow_one)
{
    struct world world;
    world_begin(&world, 6);
    world_add(&world, world_at(1, 51820), PATH_LAN, 2);
    world_name_all(&world);
    world_pass(&world, 29000, true);
    world.places[0].answers = false;
    world_pass(&world, 120000, true);
    world.places[0].answers = true;
    world_pass(&world, 60000, true);
    cr_assert_eq(path_mtu(&world.path), PATH_MTU_MAX);
    cr_assert(world.path.ways[0].carry.settled);
}

Test(path_carry, loss_narrows_nothing_for_long)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world world;
        world_begin(&world, seed);
        world_add(&world, world_at(1, 51820), PATH_LAN, 2)->loss_percent = 10;
        world_name_all(&world);
        world_pass(&world, 600000, true);
        cr_assert_geq(path_mtu(&world.path), 1280);
        world.places[0].loss_percent = 0;
        world_pass(&world, PATH_MTU_RAISE_MS + 60000, true);
        cr_assert_eq(path_mtu(&world.path), PATH_MTU_MAX);
    }
}

Test(path_window, a_counter_may_be_overtaken_but_not_come_twice)
{
    struct path_window window = {0};
    cr_assert(path_window_take(&window, 10000000));
    cr_assert(path_window_take(&window, 10000500));
    cr_assert(path_window_take(&window, 10000200), "overtaken");
    cr_assert_not(path_window_take(&window, 10000200));
    cr_assert_not(path_window_take(&window, 10000000));
    cr_assert_not(path_window_take(&window, 10000500 - PATH_WINDOW_US - 1), "too old to tell");
    cr_assert(path_window_take(&window, 10000500 - PATH_WINDOW_US));
    for (uint64_t i = 0; i < 3 * (uint64_t)PATH_WINDOW_SEEN; i++)
        cr_assert(path_window_take(&window, 20000000 + i));
    for (uint64_t i = 0; i < 3 * (uint64_t)PATH_WINDOW_SEEN; i++)
        cr_assert_not(path_window_take(&window, 20000000 + i),
                      "whoever was forgotten is not taken");
}

Test(path_window, nothing_is_taken_twice_in_any_order)
{
    struct ppn_random random;
    struct path_window window = {0};
    static bool taken[4096];
    ppn_random_init(&random, 7);
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t at = i / 25 + ppn_random_below(&random, 90);
        if (at >= 4096 || !path_window_take(&window, 1000000000 + at * 20000))
            continue;
        cr_assert_not(taken[at]);
        taken[at] = true;
    }
}
