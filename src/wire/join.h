// SPDX-License-Identifier: ISC
#pragma once

/* Messages inside the join channel, one per record: [major, kind, fields...].
 *
 *   joiner -> seed   REQUEST (first), KEEPALIVE, DONE (last)
 *   admin  -> seed   ADMIN (first), DATA..., DONE (last)
 *   seed -> joiner   STATUS (whenever it changes, and first), LOG_BATCH..., PEER_HINTS...,
 *                    KEEPALIVE, DONE (last)
 *
 * A joiner whose request waits keeps the channel open; either side says KEEPALIVE every
 * WIRE_JOIN_KEEPALIVE_MS and closes when nothing came for three times as long. After STATUS
 * admitted the seed sends the log in batches and then hints, then DONE. The joiner trusts none of
 * it before the log verifies: an admission is true when the fold says so, not when STATUS does. A
 * member that lost its way back into the mesh asks in the same way and is admitted at once.
 *
 * Who proved an admin's key may say ADMIN instead. After STATUS admitted DATA carries, both ways, a
 * stream of the node's HTTP API, of which it may use what is listed in docs/PROTOCOL.md. */

#include "base/facts.h"
#include "base/id.h"
#include "base/name.h"
#include "base/slice.h"
#include "wire/peer.h"

enum {
    WIRE_JOIN_MAJOR = 1,
    WIRE_JOIN_REQUEST_BYTES_MAX = 4096, /* admission's join request, opaque here */
    WIRE_JOIN_REDEMPTION_MAX = 4096,    /* admission's invite redemption, opaque here */
    WIRE_JOIN_HAVE_MAX = 64,
    WIRE_JOIN_REASON_MAX = 255,
    WIRE_JOIN_HINTS_MAX = 64, /* in one message; several may follow each other */
    WIRE_JOIN_MESSAGE_MAX = 64 * 1024,
    WIRE_JOIN_DATA_MAX = 8 * 1024,
    WIRE_JOIN_KEEPALIVE_MS = 15000
};

enum wire_join_kind {
    WIRE_JOIN_REQUEST = 1,
    WIRE_JOIN_STATUS = 2,
    WIRE_JOIN_LOG_BATCH = 3,
    WIRE_JOIN_PEER_HINTS = 4,
    WIRE_JOIN_KEEPALIVE = 5,
    WIRE_JOIN_DONE = 6,
    WIRE_JOIN_ADMIN = 7,
    WIRE_JOIN_DATA = 8
};

enum wire_join_state { WIRE_JOIN_PENDING, WIRE_JOIN_DENIED, WIRE_JOIN_ADMITTED };

struct wire_join_request {
    struct ppn_slice request;
    struct ppn_slice redemption; /* empty: no invite */
    struct wire_hashes have;     /* log heads that the joiner kept from earlier */
};

struct wire_join_status {
    enum wire_join_state state;
    char network_name[PPN_NAME_MAX + 1]; /* for people; may be "" */
    uint32_t position;                   /* PENDING: 1 is next; 0 unknown */
    enum ppn_error error;                /* DENIED: why, in a word */
    struct ppn_slice reason;             /* DENIED: in a printable sentence */
};

/* Where a member was last seen, so that the joiner's WireGuard can reach it. Keys come from the
 * log, never from here. */
struct wire_join_hint {
    struct ppn_node_id node;
    uint32_t endpoint_count;
    struct ppn_endpoint endpoints[PPN_ENDPOINTS_MAX];
};

struct wire_join_message {
    enum wire_join_kind kind;
    union {
        struct wire_join_request request;
        struct wire_join_status status;
        struct ppn_slice batch; /* wire/log.h */
        struct ppn_slice hints; /* wire_join_hints_* */
        struct ppn_slice data;
    };
};

/* Slices are borrowed. Encoding asserts on broken limits. */
enum ppn_error wire_join_encode(const struct wire_join_message *message,
                                struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_join_decode(struct ppn_slice bytes,
                                struct wire_join_message *message) PPN_CHECK;

/* The payload of PEER_HINTS; at most WIRE_JOIN_HINTS_MAX, WIRE_JOIN_HINTS_BYTES_MAX bytes. */
enum { WIRE_JOIN_HINTS_BYTES_MAX = 16 * 1024 };
enum ppn_error wire_join_hints_encode(const struct wire_join_hint *hints, uint32_t count,
                                      struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_join_hints_decode(struct ppn_slice bytes, struct wire_join_hint *hints,
                                      uint32_t capacity, uint32_t *count) PPN_CHECK;
