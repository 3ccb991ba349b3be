// SPDX-License-Identifier: ISC
#include "bridge/gate.h"

#include <string.h>

#include "base/assert.h"
#include "bridge/frame.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void gate_init(struct gate *gate, const struct gate_config *config)
{
    PPN_ASSERT(config->relay_first >= BRIDGE_PORT_MIN && config->relay_last >= config->relay_first);
    memset(gate, 0, sizeof(*gate));
    gate->config = *config;
}

/* A household has one IPv4 address, or a /64 of IPv6. */
static void source_of(const struct ppn_endpoint *endpoint, uint8_t source[static 16])
{
    memcpy(source, endpoint->address, 16);
    if (memcmp(source, mapped, sizeof(mapped)) != 0)
        memset(source + 8, 0, 8);
}

static bool is_open(const struct gate_seat *seat)
{
    return seat->state == GATE_STRANGER || seat->state == GATE_ANSWERED;
}

uint32_t gate_enter(struct gate *gate, struct ppn_instant now, const struct ppn_endpoint *source)
{
    struct gate_seat made = {.state = GATE_STRANGER,
                             .until = ppn_after(now, ppn_seconds(GATE_PROOF_S))};
    uint32_t free_seat = GATE_NONE, same = 0;
    source_of(source, made.source);
    for (uint32_t i = 0; i < GATE_SEATS; i++) {
        const struct gate_seat *seat = &gate->seats[i];
        if (seat->state == GATE_FREE && free_seat == GATE_NONE)
            free_seat = i;
        same += is_open(seat) && memcmp(seat->source, made.source, sizeof(made.source)) == 0;
    }
    if (free_seat == GATE_NONE || gate->stats.open >= GATE_OPEN_MAX ||
        gate->stats.strangers >= GATE_STRANGERS_MAX || same >= GATE_SOURCE_MAX) {
        gate->stats.refused++;
        return GATE_NONE;
    }
    gate->seats[free_seat] = made;
    gate->stats.open++;
    gate->stats.strangers++;
    return free_seat;
}

void gate_dropped(struct gate *gate, size_t size)
{
    gate->stats.dropped.packets++;
    gate->stats.dropped.bytes += size;
}

static void count(struct gate_count *counter, size_t size)
{
    counter->packets++;
    counter->bytes += size;
}

enum gate_verdict gate_up(struct gate *gate, uint32_t index, uint16_t frame_port, size_t size,
                          uint16_t *port)
{
    PPN_ASSERT(index < GATE_SEATS && is_open(&gate->seats[index]));
    struct gate_seat *seat = &gate->seats[index];
    bool relay = frame_port >= gate->config.relay_first && frame_port <= gate->config.relay_last;
    if (frame_port != BRIDGE_PORT_WIREGUARD && !relay)
        return GATE_CLOSE;
    if (seat->state == GATE_STRANGER) {
        seat->bytes += (uint32_t)size;
        if (seat->bytes > GATE_STRANGER_BYTES)
            return GATE_CLOSE;
    }
    *port = relay ? frame_port : gate->config.wireguard;
    count(&gate->stats.up, size);
    return GATE_PASS;
}

enum gate_verdict gate_down(struct gate *gate, struct ppn_instant now, uint32_t index,
                            const struct ppn_endpoint *from, size_t size, uint16_t *port)
{
    PPN_ASSERT(index < GATE_SEATS);
    struct gate_seat *seat = &gate->seats[index];
    bool local = memcmp(from->address, mapped, sizeof(mapped)) == 0 && from->address[12] == 127;
    bool relay = from->port >= gate->config.relay_first && from->port <= gate->config.relay_last;
    if (!is_open(seat) || !local || !(relay || from->port == gate->config.wireguard)) {
        gate_dropped(gate, size);
        return GATE_DROP;
    }
    if (seat->state == GATE_STRANGER) {
        seat->state = GATE_ANSWERED;
        gate->stats.strangers--;
    }
    seat->until = ppn_after(now, ppn_seconds(GATE_QUIET_S));
    *port = relay ? from->port : BRIDGE_PORT_WIREGUARD;
    count(&gate->stats.down, size);
    return GATE_PASS;
}

bool gate_leave(struct gate *gate, struct ppn_instant now, uint32_t index)
{
    PPN_ASSERT(index < GATE_SEATS && is_open(&gate->seats[index]));
    struct gate_seat *seat = &gate->seats[index];
    bool rests = seat->state == GATE_ANSWERED;
    PPN_ASSERT(gate->stats.open > 0 && (rests || gate->stats.strangers > 0));
    gate->stats.open--;
    gate->stats.strangers -= !rests;
    *seat = (struct gate_seat){.state = rests ? GATE_RESTING : GATE_FREE,
                               .until = ppn_after(now, ppn_seconds(GATE_REST_S))};
    return rests;
}

uint32_t gate_expired(struct gate *gate, struct ppn_instant now, bool *resting)
{
    for (uint32_t i = 0; i < GATE_SEATS; i++) {
        struct gate_seat *seat = &gate->seats[i];
        if (seat->state == GATE_FREE || !ppn_due(seat->until, now))
            continue;
        *resting = seat->state == GATE_RESTING;
        if (*resting)
            seat->state = GATE_FREE;
        return i;
    }
    return GATE_NONE;
}

struct ppn_instant gate_deadline(const struct gate *gate)
{
    struct ppn_instant deadline = PPN_NEVER;
    for (uint32_t i = 0; i < GATE_SEATS; i++) {
        if (gate->seats[i].state != GATE_FREE)
            deadline = ppn_earlier(deadline, gate->seats[i].until);
    }
    return deadline;
}
