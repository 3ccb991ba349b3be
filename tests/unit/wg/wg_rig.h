// SPDX-License-Identifier: ISC
#pragma once

#include <criterion/criterion.h>
#include <string.h>

#include "wg/wg.h"

/* One core, a clock, and its last update; and short ways to say what happens to it. */
static struct wg wg;
static struct wg_update update;
static struct ppn_instant now;

static inline struct wg_key key(uint8_t n)
{
    struct wg_key k = {{0}};
    memset(k.bytes, n, sizeof(k.bytes));
    return k;
}

static inline struct ppn_node_id node(uint8_t n)
{
    struct ppn_node_id id = {{0}};
    memset(id.bytes, (uint8_t)(200 - n), sizeof(id.bytes));
    return id;
}

static inline struct wg_member member(uint8_t n)
{
    struct wg_member m = {.node = node(n), .key = key(n)};
    m.address[0] = 0xfd;
    m.address[11] = n;
    m.address[15] = 1;
    return m;
}

static inline struct ppn_endpoint ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct ppn_endpoint){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 51820};
}

static inline enum ppn_error step(const struct wg_event *event)
{
    return wg_step(&wg, now, event, &update);
}

static inline void start(void)
{
    struct wg_config config = {.self = key(1)};
    memset(&update, 0, sizeof(update));
    now = (struct ppn_instant){ppn_seconds(1000).ns};
    wg_init(&wg, &config, now, 7);
}

static inline void stop(void)
{
    wg_free(&wg);
}

/* Members 1..last (1 is this node itself) less `absent`. */
static inline enum ppn_error members(uint64_t version, uint8_t last, uint8_t absent)
{
    struct wg_member list[100];
    struct wg_event event = {.kind = WG_EVENT_MEMBERS};
    for (uint8_t n = 1; n <= last; n++) {
        if (n != absent)
            list[event.members.count++] = member(n);
    }
    event.members.log_version = version;
    event.members.members = list;
    return step(&event);
}

static inline enum ppn_error candidates(uint8_t n, const struct ppn_candidate *list, size_t count)
{
    struct wg_event event = {.kind = WG_EVENT_CANDIDATES,
                             .candidates = {.node = node(n), .count = count, .list = list}};
    return step(&event);
}

static inline enum ppn_error applied(enum ppn_error error)
{
    struct wg_event event = {.kind = WG_EVENT_APPLIED,
                             .applied = {.batch = update.batch, .error = error}};
    return step(&event);
}

static inline enum ppn_error observed(const struct wg_observed *peers, size_t count)
{
    struct wg_event event = {.kind = WG_EVENT_OBSERVED,
                             .observed = {.error = PPN_OK, .count = count, .peers = peers}};
    return step(&event);
}

static inline enum ppn_error tick(void)
{
    struct wg_event event = {.kind = WG_EVENT_TICK};
    return step(&event);
}

static inline struct wg_observed seen(uint8_t n, struct ppn_endpoint endpoint)
{
    struct wg_observed peer = {
        .key = key(n), .has_endpoint = true, .endpoint = endpoint, .allowed_one = true};
    peer.allowed[0] = 0xfd;
    peer.allowed[11] = n;
    return peer;
}

/* Lets the next deadline come and expects that the device is read. */
static inline void until_observe(void)
{
    cr_assert(wg_deadline(&wg).ns != INT64_MAX);
    now = wg_deadline(&wg).ns > now.ns ? wg_deadline(&wg) : now;
    cr_assert(tick() == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_OBSERVE);
}
