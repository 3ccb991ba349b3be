// SPDX-License-Identifier: ISC
#pragma once

/* Who may use the bridge of a relay, and how much of it: what src/bridge/serve.c decides, pure.
 *
 * Anybody may connect to TCP port 443, so nothing here trusts anybody. Each connection gets a UDP
 * port of its own on the loopback, from which its datagrams go to the relay's ports (its own, and
 * those of the mailboxes) and to the WireGuard port of the relay's node, and nowhere else. So a
 * connection is to them what an address in the internet is to them without a bridge: the relay
 * forwards for it once it bound with a member's code, WireGuard talks to it once it proved a key,
 * and neither says a word to anybody else. The bridge needs to know no member and holds no key.
 *
 * A stranger is a connection to which neither of the two said anything yet. Strangers have few
 * places, little time and few bytes; once answered, a connection has a place until it is quiet for
 * long, and no number of strangers takes it away.
 *
 * One datagram in, one datagram of the same size out, both ways: there is no amplification.
 *
 * A port from which a member bound is kept, deaf, for as long as the bind may live after the
 * connection ended (RELAY_LIFETIME_S): the kernel must not give it to the next stranger, who would
 * be taken for the member. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/facts.h"
#include "base/time.h"

enum {
    GATE_SEATS = 384,    /* connections, and ports kept for binds */
    GATE_OPEN_MAX = 256, /* connections */
    GATE_STRANGERS_MAX = 48,
    GATE_SOURCE_MAX = 16, /* connections of one address (IPv6: one /64) */
    GATE_PROOF_S = 15,    /* a stranger's time */
    GATE_STRANGER_BYTES = 32 * 1024,
    GATE_QUIET_S = 60, /* without a datagram from the relay's side */
    GATE_REST_S = 46   /* a bind lives 45 s (RELAY_LIFETIME_S) */
};

#define GATE_NONE UINT32_MAX

_Static_assert(GATE_STRANGERS_MAX < GATE_OPEN_MAX && GATE_OPEN_MAX < GATE_SEATS,
               "strangers leave room for those who were answered, and these for kept ports");

struct gate_config {
    uint16_t wireguard;               /* UDP port of the relay's node */
    uint16_t relay_first, relay_last; /* of the relay and its mailboxes, at least BRIDGE_PORT_MIN */
};

enum gate_state { GATE_FREE, GATE_STRANGER, GATE_ANSWERED, GATE_RESTING };

struct gate_seat {
    enum gate_state state;
    uint8_t source[16];
    struct ppn_instant until; /* when it is over, whatever its state */
    uint32_t bytes;           /* of a stranger */
};

struct gate_count {
    uint64_t packets, bytes;
};

struct gate_stats {
    uint32_t open, strangers; /* now */
    uint64_t refused;         /* connections */
    struct gate_count up, down, dropped;
};

/* Fields belong to the core. */
struct gate {
    struct gate_config config;
    struct gate_seat seats[GATE_SEATS];
    struct gate_stats stats;
};

enum gate_verdict {
    GATE_PASS,
    GATE_DROP, /* this datagram; counted */
    GATE_CLOSE /* the connection: no node of ours behaves so */
};

void gate_init(struct gate *gate, const struct gate_config *config);

/* A connection from `source`: its seat, or GATE_NONE when it is one too many. */
uint32_t gate_enter(struct gate *gate, struct ppn_instant now, const struct ppn_endpoint *source);

/* A frame of the connection. *port: where the datagram goes, on the loopback. */
enum gate_verdict gate_up(struct gate *gate, uint32_t seat, uint16_t frame_port, size_t size,
                          uint16_t *port);

/* A datagram from `from` for the connection. *port: what its frame says. */
enum gate_verdict gate_down(struct gate *gate, struct ppn_instant now, uint32_t seat,
                            const struct ppn_endpoint *from, size_t size, uint16_t *port);

/* Counts what the shell did not get rid of. */
void gate_dropped(struct gate *gate, size_t size);

/* The connection ended. True: keep its UDP port, deaf, until gate_expired names the seat. */
bool gate_leave(struct gate *gate, struct ppn_instant now, uint32_t seat);

/* A seat whose time is over, or GATE_NONE: a connection to be ended (gate_leave follows), or, if it
 * was resting, a port to be given back (the seat is free already: *resting). */
uint32_t gate_expired(struct gate *gate, struct ppn_instant now, bool *resting);

struct ppn_instant gate_deadline(const struct gate *gate);
