// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "path_world.h"

Test(path, symmetric_nats_meet_at_a_relay)
{
    struct world world;
    world_begin(&world, 1);
    world_add(&world, world_at(1, 51820), PATH_PUNCHED, 20)->answers = false;
    world_add(&world, world_at(9, 51821), PATH_RELAY, 20);
    world_name_all(&world);
    world_pass(&world, 500, true);
    cr_assert_eq(world_class(&world), PATH_RELAY);
    cr_assert_eq(world.endpoint.port, RELAY_MAILBOX);
    world_pass(&world, 20000, true);
    cr_assert_eq(world.moves, 1);
    cr_assert_gt(world.calls, 1, "and goes on asking for more");
}

Test(path, a_punched_way_replaces_the_relay_once)
{
    struct world world;
    world_begin(&world, 2);
    world_add(&world, world_at(1, 51820), PATH_PUNCHED, 20)->answers = false;
    world_add(&world, world_at(9, 51821), PATH_RELAY, 20);
    world_name_all(&world);
    world_pass(&world, 10000, true);
    world.places[0].answers = true;
    const struct path_event called = {.kind = PATH_CALLED};
    world_step(&world, &called);
    world_pass(&world, 100, true);
    cr_assert_eq(world_class(&world), PATH_PUNCHED);
    world_pass(&world, 60000, true);
    cr_assert_eq(world.moves, 2);
}

Test(path, lan_is_better_than_public_whatever_the_delay)
{
    struct world world;
    world_begin(&world, 3);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 10);
    world_add(&world, world_at(2, 51820), PATH_LAN, 200);
    world_name_all(&world);
    world_pass(&world, 1000, true);
    cr_assert_eq(world_class(&world), PATH_LAN);
}

Test(path, a_dead_relay_is_left_within_four_seconds)
{
    struct world world;
    world_begin(&world, 4);
    world_add(&world, world_at(8, 51821), PATH_RELAY, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 12);
    world_name_all(&world);
    world_pass(&world, 7000, true);
    cr_assert_eq(world.endpoint.address[15], 8);
    world.places[0].answers = world.places[0].relays = false;
    world_pass(&world, 4000, true);
    cr_assert_eq(world.endpoint.address[15], 9);
    cr_assert_eq(world.moves, 2);
    world.places[0].answers = world.places[0].relays = true;
    world_pass(&world, 120000, true);
    cr_assert_eq(world.moves, 2, "relays are not traded for a little delay");
}

Test(path, a_peer_that_left_the_relay_is_noticed_though_the_relay_answers)
{
    struct world world;
    world_begin(&world, 4);
    world_add(&world, world_at(8, 51821), PATH_RELAY, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 12);
    world_name_all(&world);
    world_pass(&world, 20000, true);
    cr_assert_eq(world.endpoint.address[15], 8);
    world.places[0].answers = false;
    world_pass(&world, 4500, true);
    cr_assert_eq(world.endpoint.address[15], 9);
    cr_assert_eq(path_way_standing(&world.path, &world.path.ways[0]), PATH_PEER_AWAY);
    world.places[0].relays = false;
    world_pass(&world, 20000, true);
    cr_assert_eq(path_way_standing(&world.path, &world.path.ways[0]), PATH_NO_RELAY);
}

Test(path, a_much_nearer_relay_is_taken_in_time)
{
    struct world world;
    world_begin(&world, 4);
    world_add(&world, world_at(8, 51821), PATH_RELAY, 80);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10)->relays = false;
    world_name_all(&world);
    world_pass(&world, 5000, true);
    cr_assert_eq(world.endpoint.address[15], 8);
    world.places[1].relays = true;
    world_pass(&world, 60000, true);
    cr_assert_eq(world.endpoint.address[15], 9);
    cr_assert_eq(world.moves, 2);
}

Test(path, a_dead_way_without_packets_is_left_within_fifteen_seconds)
{
    struct world world;
    world_begin(&world, 5);
    world_add(&world, world_at(1, 51820), PATH_LAN, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 30);
    world_name_all(&world);
    world_pass(&world, 200000, false);
    cr_assert_eq(world_class(&world), PATH_LAN);
    world.places[0].answers = false;
    world_pass(&world, 15000, false);
    cr_assert_eq(world_class(&world), PATH_RELAY, "though the relay had rested");
}

Test(path, a_bind_that_a_nat_lost_is_renewed_at_the_first_miss)
{
    struct world world;
    world_begin(&world, 5);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 30);
    world_name_all(&world);
    world_pass(&world, 7000, true);
    uint32_t binds = world.binds;
    world.places[0].answers = false;
    world_pass(&world, 2800, true);
    cr_assert_gt(world.binds, binds);
}

Test(path, nothing_proven_leaves_the_endpoint)
{
    struct world world;
    world_begin(&world, 5);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 10);
    world_add(&world, world_at(2, 51820), PATH_PUNCHED, 10);
    world_name_all(&world);
    world_pass(&world, 3000, true);
    world.places[0].answers = world.places[1].answers = false;
    world_pass(&world, 60000, true);
    cr_assert_eq(world.moves, 1);
    cr_assert_eq(world.endpoint.address[15], 1);
}

Test(path, after_sleep_everything_is_proven_anew_and_the_peer_is_told)
{
    struct world world;
    world_begin(&world, 6);
    world_add(&world, world_at(1, 51820), PATH_LAN, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10);
    world_name_all(&world);
    world_pass(&world, 3000, true);
    world.places[0].answers = false;
    world.now = ppn_after(world.now, ppn_seconds(600));
    const struct path_event woke = {.kind = PATH_VOID};
    world_step(&world, &woke);
    world_pass(&world, 500, true);
    cr_assert_eq(world_class(&world), PATH_RELAY);
    cr_assert_eq(world.calls_moved, 1);
}

Test(path, a_void_that_changed_nothing_moves_nothing)
{
    struct world world;
    world_begin(&world, 6);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 30);
    world_add(&world, world_at(2, 51820), PATH_PUNCHED, 2);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 1);
    world_name_all(&world);
    world_pass(&world, 3000, true);
    uint32_t moves = world.moves;
    const struct path_event woke = {.kind = PATH_VOID};
    world_step(&world, &woke);
    world_pass(&world, 5000, true);
    cr_assert_eq(world.moves, moves, "what was used is given the time of an answer");
    const struct path_event called = {.kind = PATH_CALLED, .moved = true};
    world_step(&world, &called);
    world_pass(&world, 5000, true);
    cr_assert_eq(world.moves, moves);
}

Test(path, every_switch_is_followed_by_one_call)
{
    struct world world;
    world_begin(&world, 6);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 30);
    world_name_all(&world);
    world_pass(&world, 200, true);
    cr_assert_eq(world.calls, 0);
    world_pass(&world, 300, true);
    cr_assert_eq(world.calls, 1);
    world_pass(&world, 60000, true);
    cr_assert_eq(world.calls, 1);
}

Test(path, a_nat_that_renumbers_is_followed_by_ear)
{
    struct world world;
    world_begin(&world, 7);
    world_add(&world, world_at(1, 40000), PATH_PUNCHED, 10);
    world_name_all(&world);
    world_pass(&world, 3000, true);
    world.places[0].at.port = 40777;
    struct path_event heard = {.kind = PATH_HEARD, .from = world_at(1, 40777)};
    world_step(&world, &heard);
    world_pass(&world, 4000, true);
    cr_assert_eq(world.endpoint.port, 40777);
}

Test(path, what_comes_through_a_relay_is_no_place_of_the_peers)
{
    struct world world;
    world_begin(&world, 7);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10);
    world_name_all(&world);
    struct path_event heard = {.kind = PATH_HEARD, .from = world_at(9, RELAY_MAILBOX)};
    world_step(&world, &heard);
    cr_assert_eq(world.path.way_count, 1);
    world.endpoint = heard.from;
    world_traffic(&world);
    world_pass(&world, 1000, true);
    cr_assert_eq(world.path.way_count, 1);
    cr_assert_eq(world_class(&world), PATH_RELAY, "also when WireGuard went there first");
    cr_assert(path_current(&world.path)->proven);
}

Test(path, the_way_in_use_outlives_the_peers_list)
{
    struct world world;
    world_begin(&world, 7);
    world_add(&world, world_at(1, 40000), PATH_PUNCHED, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10);
    world_name_all(&world);
    world_pass(&world, 3000, true);
    for (uint16_t port = 1; port <= 4; port++) {
        const struct path_event heard = {.kind = PATH_HEARD, .from = world_at(1, port)};
        world_step(&world, &heard);
    }
    const struct path_candidate relay = {PATH_RELAY, world_at(9, 51821)};
    const struct path_event list = {
        .kind = PATH_CANDIDATES, .candidates.count = 1, .candidates.list = &relay};
    for (int i = 0; i < 2; i++) {
        world_step(&world, &list);
        cr_assert_eq(world_class(&world), PATH_PUNCHED);
        cr_assert_eq(world.path.way_count, 1 + PATH_HEARD_MAX);
    }
    cr_assert_eq(world.moves, 1);
}

Test(path, silent_places_and_idle_ways_cost_little)
{
    struct world world;
    world_begin(&world, 8);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 10);
    world_add(&world, world_at(2, 51820), PATH_LAN, 10)->answers = false;
    world_add(&world, world_at(3, 51820), PATH_PUNCHED, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10);
    world_name_all(&world);
    world_pass(&world, 120000, false);
    uint32_t before = world.questions;
    world_pass(&world, 3600000, false);
    cr_assert_leq(world.questions - before, 3600 / 10 + 1, "the chosen way alone is asked");
    cr_assert_eq(path_way_standing(&world.path, &world.path.ways[3]), PATH_RESTING);
    world_pass(&world, 10000, true);
    cr_assert_eq(path_way_standing(&world.path, &world.path.ways[3]), PATH_SPARE);
}

Test(path, a_late_look_at_the_clock_is_no_miss)
{
    struct world world;
    world_begin(&world, 8);
    world_add(&world, world_at(1, 51820), PATH_LAN, 10);
    world_add(&world, world_at(9, 51821), PATH_RELAY, 10);
    world_name_all(&world);
    world_pass(&world, 9000, true);
    for (int i = 0; i < 20; i++) {
        const struct path_event tick = {.kind = PATH_TICK};
        world.now = ppn_after(path_deadline(&world.path), ppn_seconds(3));
        world_step(&world, &tick);
        world_pass(&world, 150, false);
        cr_assert(path_current(&world.path)->proven);
    }
    cr_assert_eq(world_class(&world), PATH_LAN);
}

Test(path, a_nat_that_forgets_soon_is_learnt)
{
    struct world world;
    world_begin(&world, 8);
    world_add(&world, world_at(1, 51820), PATH_PUNCHED, 10);
    world.observed = world_at(200, 4000);
    world_name_all(&world);
    world_pass(&world, 30000, false);
    cr_assert_eq(path_keepalive_s(&world.path, true), 25);
    cr_assert_eq(path_keepalive_s(&world.path, false), 0, "no NAT before this node");
    world.observed.port++;
    world_pass(&world, 10000, false);
    uint16_t once = path_keepalive_s(&world.path, true);
    cr_assert_leq(once, 5);
    world.missed = 3;
    world_pass(&world, 60000, false);
    cr_assert_eq(path_keepalive_s(&world.path, true), PATH_KEEP_MIN_MS / 1000, "and not below");
    world.missed = 0;
    const struct path_event moved = {.kind = PATH_VOID};
    world_step(&world, &moved);
    cr_assert_eq(path_keepalive_s(&world.path, true), 25, "another network, another NAT");
}

Test(path, what_a_peer_names_has_a_class)
{
    static const struct {
        uint8_t first[2];
        bool ipv6, on_link;
        enum ppn_endpoint_kind kind;
        enum path_class class;
    } rows[] = {
        {{192, 168}, false, false, PPN_ENDPOINT_LAN, PATH_LAN},
        {{192, 168}, false, true, PPN_ENDPOINT_LAN, PATH_LAN},
        {{10, 1}, false, false, PPN_ENDPOINT_LAN, PATH_LAN},
        {{172, 31}, false, false, PPN_ENDPOINT_LAN, PATH_LAN},
        {{172, 32}, false, false, PPN_ENDPOINT_LAN, PATH_PUBLIC},
        {{100, 64}, false, false, PPN_ENDPOINT_LAN, PATH_LAN},
        {{100, 128}, false, false, PPN_ENDPOINT_LAN, PATH_PUBLIC},
        {{8, 8}, false, false, PPN_ENDPOINT_LAN, PATH_PUBLIC},
        {{8, 8}, false, true, PPN_ENDPOINT_LAN, PATH_LAN},
        {{0x20, 1}, true, false, PPN_ENDPOINT_LAN, PATH_PUBLIC},
        {{0x20, 1}, true, true, PPN_ENDPOINT_LAN, PATH_LAN},
        {{0xfd, 1}, true, false, PPN_ENDPOINT_LAN, PATH_LAN},
        {{10, 1}, false, false, PPN_ENDPOINT_PUBLIC, PATH_PUBLIC},
        {{8, 8}, false, false, PPN_ENDPOINT_OBSERVED, PATH_PUNCHED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ppn_candidate named = {world_at(1, 51820), rows[i].kind};
        if (rows[i].ipv6)
            memset(named.endpoint.address, 0, 16);
        memcpy(named.endpoint.address + (rows[i].ipv6 ? 0 : 12), rows[i].first, 2);
        struct path_candidate candidate = path_candidate_of(&named, rows[i].on_link);
        cr_assert_eq(candidate.class, rows[i].class, "row %zu", i);
    }
}

Test(path, keepalives_are_for_nats)
{
    static const struct {
        enum path_class class;
        uint16_t behind, open;
    } rows[] = {{PATH_LAN, 0, 0}, {PATH_PUBLIC, 25, 0}, {PATH_PUNCHED, 25, 0}, {PATH_RELAY, 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world world;
        world_begin(&world, 8);
        world_add(&world, world_at(9, 51821), rows[i].class, 10);
        world_name_all(&world);
        world_pass(&world, 1000, true);
        cr_assert_eq(path_keepalive_s(&world.path, true), rows[i].behind);
        cr_assert_eq(path_keepalive_s(&world.path, false), rows[i].open);
    }
}

Test(path, loss_is_that_of_the_last_questions)
{
    struct world world;
    world_begin(&world, 8);
    world_add(&world, world_at(1, 51820), PATH_LAN, 10)->loss_percent = 20;
    world_name_all(&world);
    world_pass(&world, 300000, true);
    const struct path_way *way = &world.path.ways[0];
    cr_assert(path_loss_per_mille(way) > 50 && path_loss_per_mille(way) < 400, "%d",
              path_loss_per_mille(way));
    world.places[0].loss_percent = 0;
    world_pass(&world, 150000, true);
    cr_assert_eq(path_loss_per_mille(way), 0);
}

Test(path, a_stale_counter_is_asked_again_at_once_but_not_for_ever)
{
    struct world world;
    world_begin(&world, 9);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 10)->answers = false;
    world_name_all(&world);
    uint32_t before = world.questions;
    for (int i = 0; i < 10; i++) {
        const struct path_event stale = {.kind = PATH_STALE,
                                         .nonce = world.path.ways[0].ping.nonce};
        world_step(&world, &stale);
    }
    cr_assert_eq(world.questions, before + 3);
}

Test(path, wrong_nonce_or_place_proves_nothing)
{
    struct world world;
    world_begin(&world, 9);
    world_add(&world, world_at(1, 51820), PATH_PUBLIC, 10)->answers = false;
    world_name_all(&world);
    struct path_event pong = {.kind = PATH_PONG, .from = world_at(1, 51820)};
    pong.nonce = world.path.ways[0].ping.nonce + 1;
    world_step(&world, &pong);
    pong.nonce--;
    pong.from = world_at(2, 51820);
    world_step(&world, &pong);
    cr_assert_null(path_current(&world.path));
    cr_assert_eq(world.moves, 0);
}

Test(path, the_same_seed_asks_the_same)
{
    struct world a, b;
    for (int i = 0; i < 2; i++) {
        struct world *world = i == 0 ? &a : &b;
        world_begin(world, 10);
        world_add(world, world_at(1, 51820), PATH_PUBLIC, 10);
        world_add(world, world_at(9, 51821), PATH_RELAY, 10);
        world_name_all(world);
        world_pass(world, 30000, true);
    }
    cr_assert_arr_eq(&a.path, &b.path, sizeof(a.path));
}

Test(path, more_places_than_fit_are_refused)
{
    struct path path;
    struct path_updates updates;
    struct path_candidate list[PPN_ENDPOINTS_MAX + 1];
    for (size_t i = 0; i < PPN_ENDPOINTS_MAX + 1; i++)
        list[i] = (struct path_candidate){PATH_PUBLIC, world_at((uint8_t)i, 1)};
    path_init(&path, (struct ppn_instant){0}, 11);
    struct path_event event = {.kind = PATH_CANDIDATES};
    event.candidates.count = PPN_ENDPOINTS_MAX + 1;
    event.candidates.list = list;
    cr_assert_eq(path_step(&path, (struct ppn_instant){0}, &event, &updates), PPN_ERROR_INVALID);
    cr_assert_eq(updates.count, 0);
}

/* Ways that come and go at random, loss, busy machines: the invariants of world_step hold, and a
 * way that works is found within bounded time. */
static void random_life(uint64_t seed)
{
    struct world world;
    struct ppn_random random;
    ppn_random_init(&random, seed);
    world_begin(&world, seed);
    size_t count = 1 + ppn_random_below(&random, 6);
    for (size_t i = 0; i < count; i++) {
        enum path_class class = (enum path_class)ppn_random_below(&random, 4);
        uint16_t port = class == PATH_RELAY ? 51821 : 51820;
        struct place *one = world_add(&world, world_at((uint8_t)(i + 1), port), class,
                                      1 + (int64_t)ppn_random_below(&random, 150));
        one->carries = (uint16_t)(1280 + ppn_random_below(&random, 300));
        one->loss_percent = (uint8_t)ppn_random_below(&random, 10);
    }
    world_name_all(&world);
    for (int round = 0; round < 60; round++) {
        struct place *one = &world.places[ppn_random_below(&random, count)];
        struct path_event event = {.kind = PATH_CALLED, .moved = ppn_random_below(&random, 2) == 0};
        switch (ppn_random_below(&random, 8)) {
        case 0:
            one->answers = !one->answers;
            break;
        case 1:
            one->relays = one->class == PATH_RELAY && !one->relays;
            break;
        case 2:
            event.kind = PATH_VOID;
            world_step(&world, &event);
            break;
        case 3:
            world_step(&world, &event);
            break;
        case 4:
            event.kind = PATH_HEARD;
            event.from = world_at((uint8_t)(1 + ppn_random_below(&random, 9)), 51820);
            world_step(&world, &event);
            break;
        case 5:
            world_name_all(&world);
            break;
        default:
            break;
        }
        world_pass(&world, (int64_t)ppn_random_below(&random, 8000) + 10,
                   ppn_random_below(&random, 2) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        world.places[i].answers = true;
        world.places[i].relays = world.places[i].class == PATH_RELAY;
        world.places[i].loss_percent = 0;
        world.places[i].carries = 1500;
    }
    const struct path_event called = {.kind = PATH_CALLED};
    world_step(&world, &called);
    world_pass(&world, 5000, true);
    const struct path_way *way = path_current(&world.path);
    cr_assert(way != NULL && way->proven, "seed %llu", (unsigned long long)seed);
    enum path_class best = PATH_RELAY;
    for (size_t i = 0; i < count; i++)
        best = world.places[i].class < best ? world.places[i].class : best;
    world_pass(&world, 660000, true);
    cr_assert_eq(world_class(&world), best, "seed %llu", (unsigned long long)seed);
    cr_assert_eq(path_mtu(&world.path), PATH_MTU_MAX, "seed %llu", (unsigned long long)seed);
}

Test(path, whatever_happens_the_best_way_is_found)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        random_life(seed);
}

static struct ppn_endpoint bridge(uint16_t port)
{
    struct ppn_endpoint endpoint = world_at(1, port);
    memcpy(endpoint.address + 12, (const uint8_t[]){127, 83, 0, 1}, 4);
    return endpoint;
}

Test(path, tcp_is_taken_where_nothing_else_answers_and_left_for_anything)
{
    static const enum path_class better[] = {PATH_RELAY, PATH_PUNCHED, PATH_PUBLIC, PATH_LAN};
    for (size_t i = 0; i < sizeof(better) / sizeof(better[0]); i++) {
        struct world world;
        world_begin(&world, 1);
        bool mailbox = better[i] == PATH_RELAY;
        world_add(&world, world_at(9, mailbox ? 51821 : 51820), better[i], 90)->answers = false;
        world.places[0].relays = false;
        world_add(&world, bridge(51821), PATH_RELAY_TCP, 5)->relays = true;
        world_name_all(&world);
        world_pass(&world, 20000, true);
        cr_assert_eq(world_class(&world), PATH_RELAY_TCP);
        world.places[0].answers = true;
        world.places[0].relays = mailbox;
        world_pass(&world, 80000, true);
        cr_assert_eq(world_class(&world), better[i], "though it is much longer");
    }
}

Test(path, a_question_from_a_bridge_is_no_punched_way)
{
    struct world world;
    world_begin(&world, 1);
    world_add(&world, bridge(40000), PATH_TCP, 10);
    world_step(&world, &(struct path_event){.kind = PATH_HEARD, .from = bridge(40000)});
    world_pass(&world, 1000, true);
    cr_assert_eq(world_class(&world), PATH_TCP);
    cr_assert_eq(world.path.ways[0].class, PATH_TCP);
}
