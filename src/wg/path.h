// SPDX-License-Identifier: ISC
#pragma once

/* Which way to one peer: a pure core, one `struct path` for each peer. It probes every way that is
 * known with path packets (wire/path.h) beside WireGuard, and moves WireGuard's endpoint only to a
 * way that was just proven.
 *
 * A way is an endpoint of the peer (LAN, public, punched), or its mailbox at a relay. Unknown ->
 * probed -> proven (its last question was answered, fewer than PATH_MISSES_MAX missed since) ->
 * perhaps chosen. A relay forwards only WireGuard, so a way through it is proven by the relay's
 * BOUND, and whether the peer is bound, too, WireGuard finds out.
 *
 * Invariants, checked by the unit tests at every step:
 *  - PATH_ENDPOINT names a proven way only, whose last question was answered; the spare ones are
 *    asked as soon as the chosen one misses an answer, so no old proof is trusted.
 *  - A chosen way is left for one of a better class, for a clearly shorter one of the same direct
 *    class, or when it is no longer proven; never for a way that is only believed in. Two relays
 *    are never traded for their delay: both ends would chase each other.
 *  - Without any proven way the endpoint stays as it is.
 *  - Nothing is sent before path_deadline but in answer to an event.
 *
 * What fails, and what happens:
 *  - The chosen way dies while packets are sent: it is asked each second, and left after three
 *    questions without an answer.
 *  - It dies while nothing is sent: found at the first packet, which makes it be asked at once.
 *  - A relay dies: the same; the spare one is bound already.
 *  - A NAT forgets or renumbers: the proof is lost, or PATH_HEARD tells the new place, which is
 *    probed.
 *  - Addresses change, the machine woke: PATH_VOID, all proofs are void, everything is asked at
 *    once.
 *  - A better way appears: probed beside the one in use, then chosen.
 *  - WireGuard roams: taken over; a place that is no known way becomes one.
 *  - The peer lies about its places: PATH_WAYS_MAX places are asked, ever more slowly. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/random.h"
#include "base/time.h"

enum {
    PATH_RELAYS_MAX = 4,
    PATH_HEARD_MAX = 2, /* places that a question of the peer came from: a NAT's newest mappings */
    PATH_WAYS_MAX = PPN_ENDPOINTS_MAX + PATH_HEARD_MAX + PATH_RELAYS_MAX,
    PATH_UPDATES_MAX = 2 * PATH_WAYS_MAX + 2,
    PATH_MISSES_MAX = 3,
    PATH_TIMEOUT_MS = 700, /* a question without an answer */
    PATH_ACTIVE_MS = 1000, /* between questions on the chosen way while packets are sent */
    PATH_SPARE_MS = 15000, /* on other proven ways, and without traffic: keeps mappings open, too */
    PATH_RETRY_MS = 500,   /* first repetition to a silent place, doubled each time */
    PATH_RETRY_MAX_MS = 32000,
    PATH_CALL_MS = 5000,   /* between calls */
    PATH_TRAFFIC_MS = 5000 /* so long after a packet was sent there is traffic */
};

/* Best first. */
enum path_class { PATH_LAN, PATH_PUBLIC, PATH_PUNCHED, PATH_RELAY };

struct path_candidate {
    enum path_class class;
    struct ppn_endpoint endpoint; /* RELAY: the relay's own port; its mailbox is asked for */
};

enum path_event_kind {
    PATH_TICK,
    PATH_CANDIDATES, /* complete; a way that is named again keeps what is known of it */
    PATH_PONG,
    PATH_MAILBOX_IS, /* port 0: none now */
    PATH_BOUND,
    PATH_HEARD,     /* an authentic question of the peer came from `from` */
    PATH_WIREGUARD, /* what the device shows of the peer */
    PATH_CALLED,    /* the peer asks to be probed now; it does the same */
    PATH_VOID       /* own addresses changed, or the machine slept */
};

/* Arrays are borrowed for the call. */
struct path_event {
    enum path_event_kind kind;
    struct ppn_endpoint from; /* PONG, MAILBOX_IS, BOUND, HEARD */
    uint64_t nonce;           /* PONG, MAILBOX_IS, BOUND */
    uint16_t port;            /* MAILBOX_IS */
    struct {
        size_t count;
        const struct path_candidate *list;
    } candidates;
    struct {
        bool has_endpoint;
        struct ppn_endpoint endpoint;
        uint64_t tx_bytes;
    } wireguard;
};

enum path_update_kind {
    PATH_SEND_PING,
    PATH_SEND_MAILBOX, /* to a relay's port: where is the peer's mailbox? */
    PATH_SEND_BIND,    /* to the mailbox */
    PATH_ENDPOINT,     /* WireGuard's endpoint of the peer from now on */
    PATH_CALL          /* ask the peer through the mesh to probe us now */
};

struct path_update {
    enum path_update_kind kind;
    struct ppn_endpoint to; /* all but CALL */
    uint64_t nonce;         /* SEND_ */
};

struct path_updates {
    size_t count;
    struct path_update list[PATH_UPDATES_MAX];
};

struct path_way {
    enum path_class class;
    bool heard;                   /* found by HEARD or roaming, not named by the peer */
    struct ppn_endpoint endpoint; /* WireGuard's; RELAY: port 0 until the mailbox is known */
    struct ppn_endpoint relay;    /* RELAY: its own port */
    bool waiting;                 /* for the answer to `nonce` */
    uint64_t nonce;
    struct ppn_instant sent_at, next_at;
    bool proven;
    struct ppn_instant proven_at; /* last answer */
    struct ppn_duration rtt;      /* smoothed as in RFC 6298 section 2 */
    uint32_t misses;              /* in a row */
    uint64_t asked, answered;
};

/* Fields belong to the core. */
struct path {
    struct ppn_random random;
    size_t way_count;
    struct path_way ways[PATH_WAYS_MAX];
    bool has_current;
    struct ppn_endpoint current; /* as WireGuard has it, proven or not */
    struct ppn_instant since;
    uint64_t tx_bytes;
    struct ppn_instant traffic_until, call_at;
    struct ppn_duration call_every;
};

void path_init(struct path *path, struct ppn_instant now, uint64_t seed);

/* *updates is written whole. INVALID: more than PPN_ENDPOINTS_MAX direct candidates or
 * PATH_RELAYS_MAX relays; nothing changed. Answers whose nonce or place does not fit are ignored.
 */
enum ppn_error path_step(struct path *path, struct ppn_instant now, const struct path_event *event,
                         struct path_updates *updates) PPN_CHECK;

/* When a TICK is due. */
struct ppn_instant path_deadline(const struct path *path);

/* The way in use, NULL when WireGuard's endpoint is none that is known. */
const struct path_way *path_current(const struct path *path);
