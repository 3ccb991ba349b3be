// SPDX-License-Identifier: ISC
#include <string.h>

#include "fuzz.h"
#include "wg/path.h"
#include "wg/path_window.h"

/* One path core whose peer, relays, device and clock do anything; what tests/unit/wg/path_world.c
 * asserts must hold: a switch goes to a proven way only, no busy loop, a legal MTU, a bounded
 * number of updates; and no counter is taken twice. */

enum { STEPS_MAX = 400, NONCES = 16 };

struct script {
    const uint8_t *data;
    size_t size;
};

static uint8_t take(struct script *script)
{
    if (script->size == 0)
        return 0;
    script->size--;
    return *script->data++;
}

static struct ppn_endpoint place(uint8_t n)
{
    struct ppn_endpoint endpoint = {{0}, (uint16_t)(n / 4)};
    endpoint.address[10] = endpoint.address[11] = 0xff;
    endpoint.address[12] = n % 4 == 3 ? 127 : 192;
    endpoint.address[15] = n % 4;
    return endpoint;
}

static void fill(struct script *script, struct path_event *event, struct path_candidate *list,
                 const struct path_updates *last)
{
    event->kind = (enum path_event_kind)(take(script) % (PATH_VOID + 1));
    event->from = place(take(script));
    event->port = take(script);
    event->moved = (event->port & 1) != 0;
    event->missed = (uint8_t)(event->port >> 4);
    event->observed = place((uint8_t)event->port);
    if (last->count > 0) {
        const struct path_update *update = &last->list[take(script) % last->count];
        event->nonce = update->nonce;
        if (event->port % 4 != 0)
            event->from = update->to;
    }
    event->candidates.count = take(script) % (PATH_WAYS_MAX + 2);
    event->candidates.list = list;
    for (size_t i = 0; event->kind == PATH_CANDIDATES && i < event->candidates.count; i++)
        list[i] = (struct path_candidate){(enum path_class)(take(script) % (PATH_RELAY_TCP + 1)),
                                          place(take(script))};
    event->wireguard.has_endpoint = (event->port & 2) != 0;
    event->wireguard.endpoint = event->from;
    event->wireguard.tx_bytes = (uint64_t)take(script) << (take(script) % 40);
    event->wireguard.rx_bytes = (uint64_t)take(script) << (take(script) % 40);
}

static void check(const struct path *path, struct ppn_instant now,
                  const struct path_updates *updates)
{
    PPN_ASSERT(updates->count <= PATH_UPDATES_MAX && path->way_count <= PATH_WAYS_MAX);
    PPN_ASSERT(ppn_before(now, path_deadline(path)));
    PPN_ASSERT(path_mtu(path) >= PATH_MTU_MIN && path_mtu(path) <= PATH_MTU_MAX);
    PPN_ASSERT(path_keepalive_s(path, true) <= PATH_KEEP_MS / 1000);
    for (size_t i = 0; i < updates->count; i++) {
        const struct path_way *way = path_current(path);
        if (updates->list[i].kind == PATH_ENDPOINT)
            PPN_ASSERT(way != NULL && way->proven && way->misses == 0);
    }
    for (size_t i = 0; i < path->way_count; i++) {
        (void)path_way_standing(path, &path->ways[i]);
        PPN_ASSERT(path_loss_per_mille(&path->ways[i]) <= 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct ppn_instant now = {ppn_seconds(1000).ns};
    struct path path;
    static struct path_updates updates;
    struct path_window window = {0};
    uint64_t highest = 0;
    updates.count = 0;
    path_init(&path, now, take(&script));
    for (int i = 0; i < STEPS_MAX && script.size > 0; i++) {
        struct path_candidate list[PATH_WAYS_MAX + 2];
        struct path_event event = {.kind = PATH_TICK};
        uint8_t pause = take(&script);
        struct ppn_instant later = ppn_after(now, ppn_ms((int64_t)1 << (pause % 16)));
        now =
            pause >= 128 && ppn_before(path_deadline(&path), later) ? path_deadline(&path) : later;
        if (pause % 3 != 0)
            fill(&script, &event, list, &updates);
        if (path_step(&path, now, &event, &updates) == PPN_OK)
            check(&path, now, &updates);
        uint64_t counter = UINT64_C(1000000000) + (uint64_t)take(&script) * 10000;
        if (path_window_take(&window, counter)) {
            PPN_ASSERT(!path_window_take(&window, counter));
            highest = counter > highest ? counter : highest;
        }
        PPN_ASSERT(window.highest == highest);
    }
    return 0;
}
