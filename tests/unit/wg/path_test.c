// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "wg/path.h"

/* A world of one pair in virtual time: places that answer or not after a delay, a relay with one
 * mailbox, and WireGuard, whose endpoint is what the core said last. */

enum { PLACES_MAX = 6, PENDING_MAX = 64, RELAY_MAILBOX = 60001 };

struct place {
    struct ppn_endpoint at; /* a relay: its own port */
    enum path_class class;
    bool answers;
    int64_t delay_ms;
};

struct world {
    struct path path;
    struct ppn_instant now;
    size_t place_count, pending_count;
    struct place places[PLACES_MAX];
    struct {
        struct ppn_instant at;
        struct path_event event;
    } pending[PENDING_MAX];
    struct ppn_endpoint endpoint;
    uint32_t moves, calls, questions;
    uint64_t tx_bytes;
};

static struct ppn_endpoint at(uint8_t host, uint16_t port)
{
    struct ppn_endpoint endpoint = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, host},
                                    port};
    return endpoint;
}

static struct place *place(struct world *world, const struct ppn_endpoint *to)
{
    for (size_t i = 0; i < world->place_count; i++) {
        const struct place *one = &world->places[i];
        bool port =
            one->at.port == to->port || (one->class == PATH_RELAY && to->port == RELAY_MAILBOX);
        if (port && memcmp(one->at.address, to->address, sizeof(to->address)) == 0)
            return &world->places[i];
    }
    return NULL;
}

static void carry_out(struct world *world, const struct path_updates *updates)
{
    cr_assert_leq(updates->count, PATH_UPDATES_MAX);
    for (size_t i = 0; i < updates->count; i++) {
        const struct path_update *update = &updates->list[i];
        if (update->kind == PATH_CALL) {
            world->calls++;
            continue;
        }
        if (update->kind == PATH_ENDPOINT) {
            const struct path_way *way = path_current(&world->path);
            cr_assert(way != NULL && way->proven, "only proven ways are chosen");
            world->endpoint = update->to;
            world->moves++;
            continue;
        }
        world->questions++;
        const struct place *to = place(world, &update->to);
        if (to == NULL || !to->answers || world->pending_count == PENDING_MAX)
            continue;
        struct path_event event = {.kind = PATH_PONG, .from = update->to, .nonce = update->nonce};
        if (update->kind == PATH_SEND_MAILBOX) {
            event.kind = PATH_MAILBOX_IS;
            event.port = RELAY_MAILBOX;
        }
        if (update->kind == PATH_SEND_BIND)
            event.kind = PATH_BOUND;
        world->pending[world->pending_count].at = ppn_after(world->now, ppn_ms(to->delay_ms));
        world->pending[world->pending_count++].event = event;
    }
}

static void step(struct world *world, const struct path_event *event)
{
    struct path_updates updates;
    cr_assert_eq(path_step(&world->path, world->now, event, &updates), PPN_OK);
    carry_out(world, &updates);
}

static void traffic(struct world *world)
{
    struct path_event event = {.kind = PATH_WIREGUARD};
    event.wireguard.has_endpoint = world->endpoint.port != 0;
    event.wireguard.endpoint = world->endpoint;
    event.wireguard.tx_bytes = world->tx_bytes += 100;
    step(world, &event);
}

/* In steps of 10 ms; packets are sent ten times a second if `talking`. */
static void pass(struct world *world, int64_t ms, bool talking)
{
    for (int64_t t = 0; t < ms; t += 10) {
        world->now = ppn_after(world->now, ppn_ms(10));
        for (size_t i = 0; i < world->pending_count; i++) {
            if (!ppn_due(world->pending[i].at, world->now))
                continue;
            struct path_event event = world->pending[i].event;
            world->pending[i--] = world->pending[--world->pending_count];
            step(world, &event);
        }
        if (talking && t % 100 == 0)
            traffic(world);
        const struct path_event tick = {.kind = PATH_TICK};
        if (ppn_due(path_deadline(&world->path), world->now))
            step(world, &tick);
        cr_assert(ppn_before(world->now, path_deadline(&world->path)), "no busy loop");
    }
}

static void add(struct world *world, struct ppn_endpoint where, enum path_class class, int64_t ms)
{
    world->places[world->place_count++] = (struct place){where, class, true, ms};
}

static void name_all(struct world *world)
{
    struct path_candidate list[PLACES_MAX];
    for (size_t i = 0; i < world->place_count; i++)
        list[i] = (struct path_candidate){world->places[i].class, world->places[i].at};
    struct path_event event = {.kind = PATH_CANDIDATES};
    event.candidates.count = world->place_count;
    event.candidates.list = list;
    step(world, &event);
}

static void begin(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    path_init(&world->path, world->now, seed);
}

static enum path_class class_now(const struct world *world)
{
    const struct path_way *way = path_current(&world->path);
    cr_assert(way != NULL);
    return way->class;
}

Test(path, symmetric_nats_meet_at_a_relay)
{
    struct world world;
    begin(&world, 1);
    add(&world, at(1, 51820), PATH_PUNCHED, 20);
    add(&world, at(9, 51821), PATH_RELAY, 20);
    world.places[0].answers = false;
    name_all(&world);
    pass(&world, 500, true);
    cr_assert_eq(class_now(&world), PATH_RELAY);
    cr_assert_eq(world.endpoint.port, RELAY_MAILBOX);
    pass(&world, 20000, true);
    cr_assert_eq(world.moves, 1);
    cr_assert_gt(world.calls, 0, "and goes on asking for more");
}

Test(path, a_punched_way_replaces_the_relay_once)
{
    struct world world;
    begin(&world, 2);
    add(&world, at(1, 51820), PATH_PUNCHED, 20);
    add(&world, at(9, 51821), PATH_RELAY, 20);
    world.places[0].answers = false;
    name_all(&world);
    pass(&world, 10000, true);
    world.places[0].answers = true;
    const struct path_event called = {.kind = PATH_CALLED};
    step(&world, &called);
    pass(&world, 100, true);
    cr_assert_eq(class_now(&world), PATH_PUNCHED);
    pass(&world, 60000, true);
    cr_assert_eq(world.moves, 2);
}

Test(path, lan_is_better_than_public_whatever_the_delay)
{
    struct world world;
    begin(&world, 3);
    add(&world, at(1, 51820), PATH_PUBLIC, 10);
    add(&world, at(2, 51820), PATH_LAN, 200);
    name_all(&world);
    pass(&world, 1000, true);
    cr_assert_eq(class_now(&world), PATH_LAN);
}

Test(path, a_dead_relay_is_left_within_four_seconds)
{
    struct world world;
    begin(&world, 4);
    add(&world, at(8, 51821), PATH_RELAY, 10);
    add(&world, at(9, 51821), PATH_RELAY, 30);
    name_all(&world);
    pass(&world, 7000, true);
    cr_assert_eq(world.endpoint.address[15], 8);
    world.places[0].answers = false;
    pass(&world, 4000, true);
    cr_assert_eq(world.endpoint.address[15], 9);
    cr_assert_eq(world.moves, 2);
    world.places[0].answers = true;
    pass(&world, 120000, true);
    cr_assert_eq(world.moves, 2, "relays are not traded for delay");
}

Test(path, nothing_proven_leaves_the_endpoint)
{
    struct world world;
    begin(&world, 5);
    add(&world, at(1, 51820), PATH_PUBLIC, 10);
    add(&world, at(2, 51820), PATH_PUNCHED, 10);
    name_all(&world);
    pass(&world, 3000, true);
    world.places[0].answers = world.places[1].answers = false;
    pass(&world, 60000, true);
    cr_assert_eq(world.moves, 1);
    cr_assert_eq(world.endpoint.address[15], 1);
}

Test(path, after_sleep_everything_is_proven_anew)
{
    struct world world;
    begin(&world, 6);
    add(&world, at(1, 51820), PATH_LAN, 10);
    add(&world, at(9, 51821), PATH_RELAY, 10);
    name_all(&world);
    pass(&world, 3000, true);
    world.places[0].answers = false;
    world.now = ppn_after(world.now, ppn_seconds(600));
    const struct path_event woke = {.kind = PATH_VOID};
    step(&world, &woke);
    pass(&world, 200, true);
    cr_assert_eq(class_now(&world), PATH_RELAY);
}

Test(path, a_nat_that_renumbers_is_followed_by_ear)
{
    struct world world;
    begin(&world, 7);
    add(&world, at(1, 40000), PATH_PUNCHED, 10);
    name_all(&world);
    pass(&world, 3000, true);
    world.places[0].at.port = 40777;
    struct path_event heard = {.kind = PATH_HEARD, .from = at(1, 40777)};
    step(&world, &heard);
    pass(&world, 4000, true);
    cr_assert_eq(world.endpoint.port, 40777);
}

Test(path, silent_places_and_idle_ways_cost_little)
{
    struct world world;
    begin(&world, 8);
    add(&world, at(1, 51820), PATH_PUBLIC, 10);
    add(&world, at(2, 51820), PATH_LAN, 10);
    world.places[1].answers = false;
    name_all(&world);
    pass(&world, 3600000, false);
    cr_assert_lt(world.questions, 3600 / 15 + 3600 / 32 + 20);
}

Test(path, wrong_nonce_or_place_proves_nothing)
{
    struct world world;
    begin(&world, 9);
    add(&world, at(1, 51820), PATH_PUBLIC, 10);
    world.places[0].answers = false;
    name_all(&world);
    struct path_event pong = {.kind = PATH_PONG, .from = at(1, 51820)};
    pong.nonce = world.path.ways[0].nonce + 1;
    step(&world, &pong);
    pong.nonce--;
    pong.from = at(2, 51820);
    step(&world, &pong);
    cr_assert_null(path_current(&world.path));
    cr_assert_eq(world.moves, 0);
}

Test(path, the_same_seed_asks_the_same)
{
    struct world a, b;
    for (int i = 0; i < 2; i++) {
        struct world *world = i == 0 ? &a : &b;
        begin(world, 10);
        add(world, at(1, 51820), PATH_PUBLIC, 10);
        add(world, at(9, 51821), PATH_RELAY, 10);
        name_all(world);
        pass(world, 30000, true);
    }
    cr_assert_arr_eq(&a.path, &b.path, sizeof(a.path));
}

Test(path, more_places_than_fit_are_refused)
{
    struct path path;
    struct path_updates updates;
    struct path_candidate list[PPN_ENDPOINTS_MAX + 1];
    for (size_t i = 0; i < PPN_ENDPOINTS_MAX + 1; i++)
        list[i] = (struct path_candidate){PATH_PUBLIC, at((uint8_t)i, 1)};
    path_init(&path, (struct ppn_instant){0}, 11);
    struct path_event event = {.kind = PATH_CANDIDATES};
    event.candidates.count = PPN_ENDPOINTS_MAX + 1;
    event.candidates.list = list;
    cr_assert_eq(path_step(&path, (struct ppn_instant){0}, &event, &updates), PPN_ERROR_INVALID);
    cr_assert_eq(updates.count, 0);
}
