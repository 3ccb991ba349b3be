// SPDX-License-Identifier: ISC
#pragma once

/* Shared by the wg core's files only. */

#include "wg/wg.h"

enum { WG_ALLOWED_BYTES = 12 }; /* the /96 */

/* A member. */
struct wg_peer {
    struct ppn_node_id node;
    struct wg_key key;
    uint8_t allowed[16]; /* host bits zero */
    struct wg_endpoints endpoints;
    uint16_t route_mtu; /* as the device has it; 0: no route of its own */
    bool anew;          /* a way was proven and there is no session: begin one at once */
    /* A way was proven when there was no session: if there is none by then, the handshake went
     * astray. PPN_NEVER: not looked at. */
    struct ppn_instant anew_at;
    uint32_t anew_tries;
};

/* A key or an address and whose it is, for sorted look-up; a shorter one is padded with zeros. */
struct wg_index {
    uint8_t bytes[WG_KEY_SIZE];
    uint32_t peer;
};

/* A peer as the device holds it, and what we know of its path. */
struct wg_entry {
    struct wg_observed seen; /* at seen_at; handshake_age as of then */
    struct ppn_instant seen_at;
    struct ppn_instant tried_at;  /* the present endpoint was chosen */
    uint64_t tx_at_try;           /* of then: nothing sent since means nothing was tried */
    struct ppn_instant heard_at;  /* rx_bytes last grew */
    uint64_t tx_at_heard;         /* of then: what was sent into silence since */
    struct ppn_instant unwell_at; /* the path was last seen to stop working */
    struct ppn_duration dwell;    /* this choice is given so long */
    bool has_good;
    struct ppn_endpoint good; /* the endpoint of the last handshake */
    uint32_t tries;           /* choices made since then */
};

/* wg_endpoint.c */

bool wg_endpoint_equal(const struct ppn_endpoint *a, const struct ppn_endpoint *b);

/* Handshake fresh and not sending into silence. */
bool wg_path_good(const struct wg_entry *entry, struct ppn_instant now);

/* A handshake so fresh that packets can be read with its keys. */
bool wg_session_alive(const struct wg_entry *entry, struct ppn_instant now);

/* Sent something on the present endpoint, or cannot tell; no handshake came of it. */
bool wg_path_tried(const struct wg_entry *entry);

/* The endpoints to try for a peer, best first, without duplicates; entry may be NULL. */
size_t wg_endpoint_order(const struct wg *wg, const struct wg_peer *peer,
                         const struct wg_entry *entry,
                         struct ppn_endpoint order[static WG_CANDIDATES_MAX]);

/* Some way is known that is not only an address in another LAN. */
bool wg_endpoint_likely(const struct wg *wg, const struct wg_peer *peer);

/* Whether the peer's endpoint should change now, and to what. */
bool wg_endpoint_choose(const struct wg *wg, const struct wg_peer *peer,
                        const struct wg_entry *entry, struct ppn_instant now,
                        struct ppn_endpoint *endpoint);

/* Notes that the device now dials `endpoint`. */
void wg_entry_tried(struct wg *wg, struct wg_entry *entry, size_t choices, struct ppn_instant now);

/* wg_diff.c */

/* The next batch from members and entries; false when they agree. Writes all of *update. */
bool wg_diff(const struct wg *wg, struct ppn_instant now, struct wg_update *update);

/* Carries the batch that was applied over to the entries. Room for its additions was reserved. */
void wg_diff_applied(struct wg *wg, struct ppn_instant now, const struct wg_update *update);

/* wg.c */

struct wg_entry *wg_entry_find(const struct wg *wg, const struct wg_key *key);
struct wg_peer *wg_peer_by_key(const struct wg *wg, const struct wg_key *key);
