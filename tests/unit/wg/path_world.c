// SPDX-License-Identifier: ISC
#include "path_world.h"

#include <string.h>

struct ppn_endpoint world_at(uint8_t host, uint16_t port)
{
    struct ppn_endpoint endpoint = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, host},
                                    port};
    return endpoint;
}

static struct place *place(struct world *world, const struct ppn_endpoint *to)
{
    for (size_t i = 0; i < world->place_count; i++) {
        const struct place *one = &world->places[i];
        bool port = one->at.port == to->port ||
                    (path_mailbox_class(one->class) && to->port == RELAY_MAILBOX);
        if (port && memcmp(one->at.address, to->address, sizeof(to->address)) == 0)
            return &world->places[i];
    }
    return NULL;
}

static void note(struct world *world, const struct path_update *update)
{
    const struct path_way *way = path_current(&world->path);
    if (update->kind == PATH_CALL) {
        cr_assert(way != NULL && way->proven, "a call needs a way");
        world->calls++;
        world->calls_moved += update->moved;
        world->last_call = world->now;
    } else {
        cr_assert(way != NULL && way->proven && way->misses == 0, "only proven ways are chosen");
        world->endpoint = update->to;
        world->moves++;
    }
}

static void carry_out(struct world *world, const struct path_updates *updates)
{
    cr_assert_leq(updates->count, PATH_UPDATES_MAX);
    for (size_t i = 0; i < updates->count; i++) {
        const struct path_update *update = &updates->list[i];
        if (update->kind == PATH_CALL || update->kind == PATH_ENDPOINT) {
            note(world, update);
            continue;
        }
        bool ping = update->kind == PATH_SEND_PING;
        world->questions++;
        world->binds += update->kind == PATH_SEND_BIND;
        world->large += ping && update->size > 0;
        cr_assert(update->size == 0 || (update->size >= PATH_MTU_MIN + PATH_MTU_HEADER &&
                                        update->size <= PATH_MTU_MAX + PATH_MTU_HEADER));
        const struct place *to = place(world, &update->to);
        if (to == NULL ||
            !(ping ? to->answers && (!path_mailbox_class(to->class) || to->relays) : to->relays))
            continue;
        if (world->pending_count == PENDING_MAX || update->size > to->carries ||
            ppn_random_below(&world->random, 100) < to->loss_percent)
            continue;
        struct path_event event = {.kind = PATH_PONG, .from = update->to, .nonce = update->nonce};
        event.observed = world->observed;
        event.missed = world->missed;
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

void world_step(struct world *world, const struct path_event *event)
{
    struct path_updates updates;
    cr_assert_eq(path_step(&world->path, world->now, event, &updates), PPN_OK);
    carry_out(world, &updates);
    cr_assert(path_mtu(&world->path) >= PATH_MTU_MIN && path_mtu(&world->path) <= PATH_MTU_MAX);
    cr_assert(ppn_before(world->now, path_deadline(&world->path)), "no busy loop");
}

void world_traffic(struct world *world)
{
    struct path_event event = {.kind = PATH_WIREGUARD};
    const struct place *to = place(world, &world->endpoint);
    event.wireguard.has_endpoint = world->endpoint.port != 0;
    event.wireguard.endpoint = world->endpoint;
    event.wireguard.tx_bytes = world->tx_bytes += 1000;
    world->rx_bytes += to != NULL && to->answers ? 1000 : 0;
    event.wireguard.rx_bytes = world->rx_bytes;
    world_step(world, &event);
}

void world_pass(struct world *world, int64_t ms, bool talking)
{
    for (int64_t t = 0; t < ms; t += 10) {
        world->now = ppn_after(world->now, ppn_ms(10));
        for (size_t i = 0; i < world->pending_count; i++) {
            if (!ppn_due(world->pending[i].at, world->now))
                continue;
            struct path_event event = world->pending[i].event;
            world->pending[i--] = world->pending[--world->pending_count];
            world_step(world, &event);
        }
        if (talking && world->now.ns % ppn_seconds(2).ns == 0)
            world_traffic(world);
        const struct path_event tick = {.kind = PATH_TICK};
        if (ppn_due(path_deadline(&world->path), world->now))
            world_step(world, &tick);
    }
}

struct place *world_add(struct world *world, struct ppn_endpoint where, enum path_class class,
                        int64_t delay_ms)
{
    cr_assert_lt(world->place_count, PLACES_MAX);
    struct place *place = &world->places[world->place_count++];
    *place = (struct place){where, class, true, path_mailbox_class(class), delay_ms, 1500, 0};
    return place;
}

void world_name_all(struct world *world)
{
    struct path_candidate list[PLACES_MAX];
    for (size_t i = 0; i < world->place_count; i++)
        list[i] = (struct path_candidate){world->places[i].class, world->places[i].at};
    struct path_event event = {.kind = PATH_CANDIDATES};
    event.candidates.count = world->place_count;
    event.candidates.list = list;
    world_step(world, &event);
}

void world_begin(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->now = (struct ppn_instant){ppn_seconds(1000).ns};
    ppn_random_init(&world->random, ~seed);
    path_init(&world->path, world->now, seed);
}

enum path_class world_class(const struct world *world)
{
    const struct path_way *way = path_current(&world->path);
    cr_assert_not_null(way);
    return way->class;
}
