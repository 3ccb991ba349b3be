// SPDX-License-Identifier: ISC
#pragma once

/* Which way to one peer: a pure core, one `struct path` for each peer. It probes every way that is
 * known with path packets (wire/path.h) beside WireGuard, and moves WireGuard's endpoint only to a
 * way that was just proven.
 *
 * A way is an endpoint of the peer (LAN, public, punched), or its mailbox at a relay. Unknown ->
 * probed -> proven (its last question was answered, fewer than PATH_MISSES_MAX missed since) ->
 * perhaps chosen. A way is proven by the peer alone, end to end: to a relay's mailbox one first
 * BINDs, and the relay passes the PING on to the peer, if that one is bound, too.
 *
 * Invariants, checked by the unit tests at every step:
 *  - PATH_ENDPOINT names a proven way only, whose last question was answered; the spare ones are
 *    asked as soon as the chosen one misses an answer, so no old proof is trusted.
 *  - A chosen way is left for one of a better class, for a clearly shorter one of the same class,
 *    for one that carries what it does not carry, or when it is no longer proven; never for a way
 *    that is only believed in.
 *  - Without any proven way the endpoint stays as it is.
 *  - Nothing is sent before path_deadline but in answer to an event.
 *
 * Who is asked how often:
 *  - The chosen way each second while packets are sent and none come, else every two seconds while
 *    many go, every five while few do, every ten in silence; more often where a NAT was seen to
 *    forget sooner.
 *  - All others, spare or silent, only while the pair is needed: packets were sent within the last
 *    minute, or no way is proven. So thousands of members that do not talk cost next to nothing.
 *
 * What fails, and what happens:
 *  - The chosen way dies: found within 5 s while packets are sent, within 15 s otherwise.
 *  - A relay dies, or the peer left it: the same; the spare one is bound already.
 *  - The machine was too busy to hear an answer: a question that is judged late waits once more.
 *  - A NAT forgets or renumbers: the proof is lost, or PATH_HEARD tells the new place, which is
 *    probed. That it forgets early is learnt (path_keepalive_s).
 *  - Addresses change, the machine woke: PATH_VOID, all proofs are void, everything is asked at
 *    once, and the peer is told to do the same.
 *  - A better way appears: probed beside the one in use, then chosen.
 *  - Large packets are lost: found by PINGs of that size (path_mtu).
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
    PATH_BRIDGES_MAX = 2, /* relays over TCP */
    PATH_HEARD_MAX = 2, /* places that a question of the peer came from: a NAT's newest mappings */
    PATH_WAYS_MAX = PPN_ENDPOINTS_MAX + PATH_HEARD_MAX + PATH_RELAYS_MAX + PATH_BRIDGES_MAX,
    PATH_UPDATES_MAX = 3 * PATH_WAYS_MAX + 2,
    PATH_MISSES_MAX = 3,
    PATH_TIMEOUT_MS = 700,     /* a question without an answer, as long as no round trip is known */
    PATH_TIMEOUT_MIN_MS = 500, /* else two round trips and PATH_TIMEOUT_ADD_MS, within these */
    PATH_TIMEOUT_ADD_MS = 300,
    PATH_TIMEOUT_MAX_MS = 2000,
    PATH_DOUBT_MS = 1000,  /* chosen way, between questions: packets are sent and none come */
    PATH_ACTIVE_MS = 2000, /* many go both ways */
    PATH_LIGHT_MS = 5000,  /* few do, as gossip's: that none comes any more is seen soon enough */
    PATH_BUSY_BYTES_S = 500,
    PATH_IDLE_MS = 10000,  /* silence */
    PATH_SPARE_MS = 15000, /* other proven ways, and binds: a third of a bind's life */
    PATH_NEEDED_MS = 60000,
    PATH_RETRY_MS = 500, /* first repetition to a silent place, doubled each time */
    PATH_RETRY_MAX_MS = 32000,
    PATH_CALL_MS = 5000,       /* between calls, doubled up to PATH_RETRY_MAX_MS */
    PATH_CALL_SOON_MS = 250,   /* after a switch: WireGuard has its endpoint by then */
    PATH_TRAFFIC_MS = 5000,    /* so long after a packet was seen to be sent there is traffic */
    PATH_STAY_MS = 10000,      /* a way of the same class is not left sooner for a shorter one */
    PATH_KEEP_MS = 25000,      /* RFC 4787's laggards keep a mapping for 30 s */
    PATH_KEEP_MIN_MS = 2000,   /* where one was seen to live shorter: never more often than this */
    PATH_MTU_MIN = 1280,       /* of IPv6: less cannot be had inside the mesh */
    PATH_MTU_MAX = 1420,       /* of the interface */
    PATH_MTU_HEADER = 32,      /* WireGuard's, around a packet of the mesh; UDP payload is both */
    PATH_MTU_CHECK_MS = 30000, /* a way in use is asked again whether it carries what it did */
    PATH_MTU_RAISE_FIRST_MS = 60000, /* and for more, ever later up to the next */
    PATH_MTU_RAISE_MS = 600000       /* PMTU_RAISE_TIMER of RFC 8899 section 5.1.1 */
};

_Static_assert(PATH_ACTIVE_MS + PATH_MISSES_MAX * PATH_TIMEOUT_MS < 5000,
               "with packets on it, a dead way is left within 5 s");
_Static_assert(PATH_IDLE_MS + PATH_MISSES_MAX * PATH_TIMEOUT_MS < 15000,
               "without packets, a dead way is left within 15 s");

/* Best first. The last two are for networks without UDP: to a relay's own node over TCP, and to
 * everybody else through a relay over TCP. */
enum path_class { PATH_LAN, PATH_PUBLIC, PATH_PUNCHED, PATH_RELAY, PATH_TCP, PATH_RELAY_TCP };

/* A way through a relay's mailbox. */
static inline bool path_mailbox_class(enum path_class class)
{
    return class == PATH_RELAY || class == PATH_RELAY_TCP;
}

struct path_candidate {
    enum path_class class;
    struct ppn_endpoint endpoint; /* RELAY*: the relay's own port; its mailbox is asked for */
};

/* A place that a peer names. on_link: in one of this node's own networks. A place that the whole
 * internet routes to is as good as a public one, also if the peer says that it is its own: IPv6
 * without a NAT. */
struct path_candidate path_candidate_of(const struct ppn_candidate *named, bool on_link);

enum path_event_kind {
    PATH_TICK,
    PATH_CANDIDATES, /* complete; a way that is named again keeps what is known of it */
    PATH_PONG,
    PATH_MAILBOX_IS, /* port 0: none now */
    PATH_BOUND,
    PATH_STALE,     /* a question had an old counter: it is asked again with the next one */
    PATH_TOO_BIG,   /* the own link does not carry a PING of that size */
    PATH_HEARD,     /* an authentic question of the peer came from `from` */
    PATH_WIREGUARD, /* what the device shows of the peer */
    PATH_CALLED,    /* the peer asks to be probed now; it does the same */
    PATH_VOID       /* own addresses or default route changed, or the machine slept */
};

/* Arrays are borrowed for the call. */
struct path_event {
    enum path_event_kind kind;
    struct ppn_endpoint from;     /* PONG, MAILBOX_IS, BOUND, HEARD */
    uint64_t nonce;               /* PONG, MAILBOX_IS, BOUND, STALE, TOO_BIG */
    uint16_t port;                /* MAILBOX_IS */
    struct ppn_endpoint observed; /* PONG: where the peer saw us */
    uint8_t missed;               /* PONG: questions that the peer asked us in vain just before */
    bool moved;                   /* CALLED: the peer's addresses changed */
    struct {
        size_t count;
        const struct path_candidate *list;
    } candidates;
    struct {
        bool has_endpoint;
        struct ppn_endpoint endpoint;
        uint64_t tx_bytes, rx_bytes;
    } wireguard;
};

enum path_update_kind {
    PATH_SEND_PING,    /* with the peer's key, also where it is a relay's mailbox */
    PATH_SEND_MAILBOX, /* to a relay's port: where is the peer's mailbox? */
    PATH_SEND_BIND,    /* to the mailbox */
    PATH_ENDPOINT,     /* WireGuard's endpoint of the peer from now on */
    PATH_CALL          /* ask the peer through the mesh to probe us now */
};

struct path_update {
    enum path_update_kind kind;
    struct ppn_endpoint to; /* all but CALL */
    uint64_t nonce;         /* SEND_ */
    uint16_t size;          /* SEND_PING: of the whole UDP payload; 0: the smallest */
    bool moved;             /* CALL: our addresses changed */
};

struct path_updates {
    size_t count;
    struct path_update list[PATH_UPDATES_MAX];
};

struct path_question {
    bool waiting;  /* for the answer to `nonce` */
    bool late;     /* it was judged late once */
    uint8_t stale; /* times in a row */
    uint64_t nonce;
    struct ppn_instant sent_at;
    struct ppn_instant at; /* waiting: when it counts as missed; else when it is asked */
};

/* What a way carries, by steps of path_carry.c. */
struct path_carry {
    struct path_question question;
    int8_t low, high; /* steps that arrived, that did not; searched between */
    int8_t trying;
    uint8_t misses, raises;
    bool settled;
    struct ppn_instant raise_at;
};

struct path_way {
    enum path_class class;
    bool heard;                   /* found by HEARD or roaming, not named by the peer */
    struct ppn_endpoint endpoint; /* WireGuard's; RELAY: port 0 until the mailbox is known */
    struct ppn_endpoint relay;    /* RELAY: its own port */
    struct path_question bind;    /* RELAY: MAILBOX, then BIND */
    bool bound;
    uint32_t bind_misses; /* in a row */
    struct path_question ping;
    bool proven;
    struct ppn_instant proven_at; /* last answer */
    struct ppn_duration rtt;      /* smoothed as in RFC 6298 section 2 */
    uint32_t misses;              /* in a row */
    uint64_t asked, answered;
    uint64_t outcomes;            /* of the last questions, newest in bit 0: answered */
    uint32_t outcome_count;       /* up to 64, counted from the first answer on */
    struct ppn_endpoint observed; /* where the peer saw us */
    struct path_carry carry;
};

/* Fields belong to the core. */
struct path {
    struct ppn_random random;
    size_t way_count;
    struct path_way ways[PATH_WAYS_MAX];
    bool has_current;
    struct ppn_endpoint current; /* as WireGuard has it, proven or not */
    struct ppn_instant since;
    uint64_t tx_bytes, rx_bytes;
    bool doubted; /* when last looked at, packets had been sent and none had come */
    struct ppn_instant looked_at, sent_at, traffic_until, busy_until, call_at, choose_at;
    struct ppn_duration call_every, keep;
    bool news;  /* the endpoint was switched, and nothing was sent through it yet */
    bool moved; /* the peer was not yet told that our addresses changed */
};

void path_init(struct path *path, struct ppn_instant now, uint64_t seed);

/* *updates is written whole. INVALID: more than PPN_ENDPOINTS_MAX direct candidates or
 * PATH_RELAYS_MAX relays or PATH_BRIDGES_MAX over TCP; nothing changed. Answers whose nonce or
 * place does not fit are ignored.
 */
enum ppn_error path_step(struct path *path, struct ppn_instant now, const struct path_event *event,
                         struct path_updates *updates) PPN_CHECK;

/* When a TICK is due. */
struct ppn_instant path_deadline(const struct path *path);

/* Whether a relay's answer, or a STALE, with that nonce is one that this core waits for. */
bool path_waits_for(const struct path *path, uint64_t nonce);

/* The way in use, NULL when WireGuard's endpoint is none that is known. */
const struct path_way *path_current(const struct path *path);

/* What the interface may send to the peer at once, PATH_MTU_MIN..PATH_MTU_MAX. */
uint16_t path_mtu(const struct path *path);

/* The same of one way; 0: not known, 1: less than PATH_MTU_MIN. */
uint16_t path_way_mtu(const struct path_way *way);

/* WireGuard's own keepalive for the way in use: 0 where no NAT of ours needs it (one LAN; a relay,
 * whose BINDs and PINGs do it; none before us). behind_nat: one is assumed before this node. */
uint16_t path_keepalive_s(const struct path *path, bool behind_nat);

/* Questions to the peer without an answer just now, for the PONGs to its own. */
uint8_t path_missed(const struct path *path);

/* Of the last 64 questions since the first answer; -1: never answered. */
int32_t path_loss_per_mille(const struct path_way *way);

/* Why a way is not the one in use, or that it is. */
enum path_standing {
    PATH_USED,
    PATH_SPARE,      /* proven, of a worse class or no shorter */
    PATH_NARROW,     /* proven, and does not carry PATH_MTU_MIN */
    PATH_RESTING,    /* not asked, since nothing needs it */
    PATH_LOST,       /* was proven once, and answers no more */
    PATH_SILENT,     /* asked, never answered */
    PATH_NO_RELAY,   /* the relay does not answer */
    PATH_NO_MAILBOX, /* the relay has no room */
    PATH_PEER_AWAY   /* the relay answers, the peer does not answer through it */
};

enum path_standing path_way_standing(const struct path *path, const struct path_way *way);
