// SPDX-License-Identifier: ISC
#pragma once

/* One pair in virtual time: places that answer or not after a delay, relays with one mailbox each,
 * and WireGuard, whose endpoint is what the core said last. What must always hold is asserted here,
 * at every step. */

#include <criterion/criterion.h>

#include "wg/path.h"

enum { PLACES_MAX = 8, PENDING_MAX = 64, RELAY_MAILBOX = 60001 };

struct place {
    struct ppn_endpoint at; /* a relay: its own port */
    enum path_class class;
    bool answers; /* a relay: the peer, through it; else the peer */
    bool relays;  /* a relay: it answers BINDs */
    int64_t delay_ms;
    uint16_t carries; /* of UDP payload; larger PINGs are lost */
    uint8_t loss_percent;
};

struct world {
    struct path path;
    struct ppn_instant now;
    struct ppn_random random;
    size_t place_count, pending_count;
    struct place places[PLACES_MAX];
    struct {
        struct ppn_instant at;
        struct path_event event;
    } pending[PENDING_MAX];
    struct ppn_endpoint endpoint, observed;
    uint32_t moves, calls, calls_moved, questions, binds, large;
    uint8_t missed;
    uint64_t tx_bytes, rx_bytes;
    struct ppn_instant last_call;
};

struct ppn_endpoint world_at(uint8_t host, uint16_t port);
void world_begin(struct world *world, uint64_t seed);
struct place *world_add(struct world *world, struct ppn_endpoint where, enum path_class class,
                        int64_t delay_ms);
/* All places as candidates. */
void world_name_all(struct world *world);
void world_step(struct world *world, const struct path_event *event);
/* What the device shows after packets went out, and came in if the chosen way works. */
void world_traffic(struct world *world);
/* In steps of 10 ms; `talking`: packets are sent all the time, and the device is read as ppn-node
 * does it, every two seconds. */
void world_pass(struct world *world, int64_t ms, bool talking);
enum path_class world_class(const struct world *world);
