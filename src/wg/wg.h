// SPDX-License-Identifier: ISC
#pragma once

/* Which WireGuard peers this node should have against which it has: a pure core that turns the
 * admission log's members and the nodes' own endpoint candidates into ordered changes of one
 * device. It reads no clock and touches no device; wg/device.h carries its updates out.
 *
 * What it promises, by construction rather than by care:
 *  - AllowedIPs of a peer come from the log alone: a candidate, a hint or an observation cannot
 *    carry any.
 *  - One operation is outstanding at a time. Nothing is emitted while the device works on a batch,
 *    and every batch is computed afresh from the newest log version when it is emitted. So a
 *    change of a peer (WireGuard would *create* a missing one) never overtakes or follows its
 *    removal: after the removal the peer is in no member list that a later batch is computed from.
 *  - A batch holds removals before additions before changes, and no addition or change as long as
 *    a removal is still due (removals beyond one batch fill the next).
 *  - A peer found on the device that the log does not know is removed, whoever put it there.
 *  - A peer that gets its first endpoint is removed and, by the next batch, added anew; so is one
 *    without a session when a way to it is proven, and again, a few times, while no handshake comes
 *    about over that way: WireGuard would wait 5 s from its last attempt.
 *  - An endpoint with a fresh handshake over which packets still arrive is never replaced. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "base/random.h"
#include "base/time.h"

enum {
    WG_KEY_SIZE = 32,
    WG_PEERS_MAX = PPN_MEMBERS_MAX,
    WG_DEVICE_PEERS_MAX = 2 * WG_PEERS_MAX, /* a dump may hold removed ones still */
    WG_BATCH_MAX = 64,                      /* changes in one batch: one `wg set` command line */
    WG_PREFIX_MAX = 32,                     /* local prefixes looked at */
    WG_CANDIDATES_MAX =
        PPN_ENDPOINTS_MAX + 3, /* the proven way, the hint, the last one that worked */
    WG_KEEPALIVE_S = 25,       /* below the 30 s that RFC 4787's laggards keep a mapping */
    WG_MTU = 1420,             /* of the interface */
    WG_MTU_MIN = 1280          /* of IPv6 */
};

struct wg_key {
    uint8_t bytes[WG_KEY_SIZE];
};

/* A member of the network as the log's fold says. */
struct wg_member {
    struct ppn_node_id node;
    struct wg_key key;   /* X25519, public */
    uint8_t address[16]; /* the node's mesh address; its AllowedIPs are the /96 around it */
};

struct wg_prefix {
    uint8_t address[16]; /* IPv4 as IPv4-mapped, its length then counted from bit 96 on */
    uint8_t length;      /* 0..128 */
};

/* A peer as the device shows it. */
struct wg_observed {
    struct wg_key key;
    bool has_endpoint;
    struct ppn_endpoint endpoint;
    bool has_handshake;
    struct ppn_duration handshake_age;
    uint64_t rx_bytes, tx_bytes;
    uint16_t keepalive_s; /* 0: off */
    bool allowed_one;     /* exactly one AllowedIPs entry, and it is a /96 */
    uint8_t allowed[16];  /* that entry's address, host bits zero */
};

enum wg_event_kind {
    WG_EVENT_TICK,       /* the deadline came */
    WG_EVENT_MEMBERS,    /* the complete member list of a log version */
    WG_EVENT_CANDIDATES, /* what a node says of its own endpoints, complete */
    WG_EVENT_HINT,       /* one endpoint learned elsewhere: the seed joined through, a stored one */
    WG_EVENT_PATH,       /* the way that was proven to a node; port 0: none is any more */
    WG_EVENT_LOCAL,      /* this node's own prefixes, and whether a NAT is assumed before it */
    WG_EVENT_APPLIED,    /* the batch was carried out, or failed; the device may hold parts of it */
    WG_EVENT_OBSERVED,   /* the device's complete peer list */
    WG_EVENT_RESET       /* the device was made anew and holds no peer; ends what was outstanding */
};

/* Slices and arrays are borrowed for the call. */
struct wg_event {
    enum wg_event_kind kind;
    union {
        struct {
            uint64_t log_version; /* the caller's counter; a lower one is ignored as STALE */
            size_t count;         /* <= WG_PEERS_MAX, self may be among them */
            const struct wg_member *members;
        } members;
        struct {
            struct ppn_node_id node;
            size_t count; /* <= PPN_ENDPOINTS_MAX */
            const struct ppn_candidate *list;
        } candidates;
        struct {
            struct ppn_node_id node;
            struct ppn_endpoint endpoint;
        } hint;
        struct {
            struct ppn_node_id node;
            struct ppn_endpoint endpoint;
            uint16_t keepalive_s; /* 0: the way needs none */
            uint16_t mtu;         /* WG_MTU_MIN..WG_MTU, for packets to that peer */
        } path;
        struct {
            bool behind_nat; /* no public address of our own: keep the NAT's mapping alive */
            size_t count;    /* <= WG_PREFIX_MAX */
            const struct wg_prefix *prefixes;
        } local;
        struct {
            uint64_t batch;
            enum ppn_error error;
        } applied;
        struct {
            enum ppn_error error; /* not PPN_OK: nothing was learned */
            size_t count;         /* <= WG_DEVICE_PEERS_MAX */
            const struct wg_observed *peers;
        } observed;
    };
};

enum wg_change_kind {
    WG_REMOVE,   /* key */
    WG_ADD,      /* key, allowed, keepalive_s, and the endpoint if there is one */
    WG_ALLOWED,  /* key, allowed: replace what the peer has */
    WG_ENDPOINT, /* key, keepalive_s, and the endpoint if it changes; the peer exists */
    WG_ROUTE     /* allowed, mtu: no packet larger than that goes to it. Alone in its batch */
};

struct wg_change {
    enum wg_change_kind kind;
    struct wg_key key;
    uint8_t allowed[16]; /* /96, host bits zero */
    bool has_endpoint;
    struct ppn_endpoint endpoint;
    uint16_t keepalive_s;
    uint16_t mtu;
};

enum wg_update_kind {
    WG_UPDATE_NONE,
    WG_UPDATE_APPLY,  /* carry out the batch in order, then answer WG_EVENT_APPLIED */
    WG_UPDATE_OBSERVE /* read the device's peers, then answer WG_EVENT_OBSERVED */
};

struct wg_update {
    enum wg_update_kind kind;
    uint64_t batch;       /* counts up; of APPLY */
    uint64_t log_version; /* that the batch was computed from */
    size_t count;
    struct wg_change changes[WG_BATCH_MAX];
};

struct wg_config {
    struct wg_key self; /* own public key: never made a peer */
    bool plain;         /* `--mesh plain`: there is no device, no update is ever emitted */
};

struct wg_peer;
struct wg_entry;
struct wg_index;

enum { WG_KEPT_MAX = 64 }; /* nodes whose endpoints came before the log named them */

/* What is known of a node's endpoints, in the order of arrival. */
struct wg_endpoints {
    bool has_hint, has_path;
    struct ppn_endpoint hint, path;
    uint16_t path_keepalive_s;
    uint16_t mtu; /* 0: as the interface */
    uint32_t count;
    struct ppn_candidate list[PPN_ENDPOINTS_MAX];
};

struct wg_kept {
    struct ppn_node_id node;
    struct wg_endpoints endpoints;
};

/* Fields belong to the core. Memory grows with the members, by malloc, up to the limits above;
 * wg_free gives it back. */
struct wg {
    struct wg_config config;
    struct ppn_random random;
    uint64_t log_version;
    bool has_members;
    bool behind_nat;
    size_t prefix_count;
    struct wg_prefix prefixes[WG_PREFIX_MAX];
    size_t peer_count;
    struct wg_peer *peers;   /* members but this node, sorted by node id */
    struct wg_index *by_key; /* the same ones, sorted by key */
    size_t entry_count, entry_capacity;
    struct wg_entry *entries; /* what the device holds, as far as known, sorted by key */
    size_t kept_count, kept_next;
    struct wg_kept kept[WG_KEPT_MAX];
    enum wg_update_kind outstanding;
    bool device_known; /* entries are true: read or made since the last failure */
    struct ppn_duration retry;
    struct ppn_instant observe_at;
    struct wg_update in_flight; /* the batch outstanding */
};

void wg_init(struct wg *wg, const struct wg_config *config, struct ppn_instant now, uint64_t seed);
void wg_free(struct wg *wg);

/* *update is written whole: kind NONE when there is nothing to do. After an error the state is as
 * it was and the kind NONE: INVALID (counts; two members with one node id, key or address), STALE
 * (an older log version), NO_MEMORY. Endpoints that can never be dialled (port 0, loopback,
 * multicast, link-local, inside the mesh) are skipped. An APPLIED or OBSERVED that answers nothing
 * outstanding is ignored, since RESET may cross it. */
enum ppn_error wg_step(struct wg *wg, struct ppn_instant now, const struct wg_event *event,
                       struct wg_update *update) PPN_CHECK;

/* Whether an address lies within a prefix. */
bool wg_prefix_has(const struct wg_prefix *prefix, const uint8_t address[static 16]);

/* When a TICK is due; PPN_NEVER while an operation is outstanding. */
struct ppn_instant wg_deadline(const struct wg *wg);

enum wg_peer_state {
    WG_PEER_CONNECTED,   /* fresh handshake, and no sign of a dead path */
    WG_PEER_IDLE,        /* nothing was sent lately, so nothing is known */
    WG_PEER_CONNECTING,  /* sending, no handshake yet on the endpoint being tried */
    WG_PEER_NO_CANDIDATE /* no endpoint to try: the node must call us */
};

struct wg_peer_status {
    enum wg_peer_state state;
    bool has_endpoint;
    struct ppn_endpoint endpoint;
    bool has_handshake;
    struct ppn_duration handshake_age; /* at `now` */
    uint64_t rx_bytes, tx_bytes;
    uint32_t candidate_count;
    uint32_t rotations; /* endpoints tried since the last handshake */
};

/* For `ppn why` and the API. NOT_FOUND: not a member, or this node itself. */
enum ppn_error wg_peer_status(const struct wg *wg, struct ppn_instant now,
                              const struct ppn_node_id *node,
                              struct wg_peer_status *status) PPN_CHECK;
