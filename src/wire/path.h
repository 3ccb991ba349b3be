// SPDX-License-Identifier: ISC
#pragma once

/* Path packets: what nodes and relays say to each other outside the mesh, beside WireGuard and from
 * the same UDP port, to find out which ways exist. Fixed layout, big-endian,
 * docs/protocol-paths.md. They are authenticated and not secret, carry nothing of anybody's, and
 * prove one thing only: a member who knows the pair's key is (or was, see the counter) at the
 * address they came from.
 *
 * A question is at least as long as its answer, and an answer is always WIRE_PATH_SIZE_MIN long:
 * nobody can be made to send more than was sent to him. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "base/slice.h"
#include "base/time.h"

enum {
    WIRE_PATH_MAGIC = 0xd5, /* never WireGuard: its messages begin with 1..4 and three zero bytes */
    WIRE_PATH_VERSION = 1,
    WIRE_PATH_HEADER_SIZE = 36,
    WIRE_PATH_MAC_SIZE = 16,
    WIRE_PATH_KEY_SIZE = 32,
    WIRE_PATH_SIZE_MIN = 80,  /* every kind fits; shorter packets are refused */
    WIRE_PATH_SIZE_MAX = 8972 /* UDP payload of a 9000 byte link; longer ones nobody probes for */
};

/* Whom a packet is from or for: the first 8 bytes, as a number, of
 * BLAKE2b-256("ppn-path-tag-1" || network || node id). Two members with one tag are as likely as
 * 2^-37 in the largest network; they could not tell their packets apart, and the MAC would fail. */
uint64_t wire_path_tag(const struct ppn_hash *network, const struct ppn_node_id *node);

struct wire_path_key {
    uint8_t bytes[WIRE_PATH_KEY_SIZE];
};

/* The key of two nodes, the same for both: BLAKE2b-256 keyed by X25519 of the two identity keys
 * (Ed25519 turned to Curve25519, RFC 7748 section 4.1) over
 * "ppn-path-1" || network || lower id || higher id. INVALID: `peer` is no proper public key. */
enum ppn_error wire_path_key(const struct ppn_hash *network, const uint8_t secret_key[static 64],
                             const struct ppn_node_id *self, const struct ppn_node_id *peer,
                             struct wire_path_key *key) PPN_CHECK;

/* The key for packets to and from the ports of a relay, of the pair key with the relay's node:
 * BLAKE2b-256 keyed by it over "ppn-relay-1". A relay's process knows only this one, so that it can
 * neither answer for its node nor for anybody else. */
void wire_path_relay_key(const struct wire_path_key *pair, struct wire_path_key *key);

enum wire_path_kind {
    WIRE_PATH_PING = 1,
    WIRE_PATH_PONG = 2,       /* answers PING */
    WIRE_PATH_BIND = 3,       /* to a mailbox's port: this is where I send to that node from */
    WIRE_PATH_BOUND = 4,      /* answers BIND */
    WIRE_PATH_MAILBOX = 5,    /* to any port of a relay: where is that node's mailbox? */
    WIRE_PATH_MAILBOX_IS = 6, /* answers MAILBOX, and a BIND at a port that is another node's */
    WIRE_PATH_STALE = 7,      /* answers a question whose counter is no higher than one before */
    WIRE_PATH_KIND_MAX = WIRE_PATH_STALE
};

/* Answers echo the nonce and are believed for it, once: only questions are held to the counter. */
struct wire_path_packet {
    enum wire_path_kind kind;
    uint64_t sender, recipient; /* tags */
    uint64_t counter;           /* of this sender towards this recipient, strictly rising */
    uint64_t nonce;             /* random in a question, echoed by its answer */
    uint16_t size;              /* of the datagram; encoding pads with zeros up to it */
    union {
        struct {
            struct ppn_endpoint observed; /* where the PING came from */
            uint16_t size;                /* of the PING as it arrived */
            uint8_t missed; /* questions that the answerer asked in vain just before */
        } pong;
        struct {
            uint64_t node; /* tag: whose mailbox this should be */
        } bind, mailbox;
        struct {
            uint16_t port;                /* the mailbox */
            uint16_t lifetime_s;          /* bind again before that */
            struct ppn_endpoint observed; /* where the BIND came from */
        } bound;
        struct {
            uint16_t port; /* 0: the relay has none to give now */
        } mailbox_is;
        struct {
            uint64_t counter; /* go on above it */
        } stale;
    };
};

/* A first counter that is above all of an earlier start: microseconds of the wall clock. A clock
 * that went back costs one STALE answer. */
static inline uint64_t wire_path_counter(struct ppn_wall now)
{
    return now.unix_ms > 0 ? (uint64_t)now.unix_ms * 1000 : 1;
}

static inline bool wire_path_is_question(enum wire_path_kind kind)
{
    return kind == WIRE_PATH_PING || kind == WIRE_PATH_BIND || kind == WIRE_PATH_MAILBOX;
}

/* Whose key to take: the tags of a packet that has the shape of one. Nothing is proven. False: no
 * path packet of this version. */
bool wire_path_peek(struct ppn_slice datagram, uint64_t *sender, uint64_t *recipient);

/* INVALID: a size out of bounds, an answer longer than WIRE_PATH_SIZE_MIN; NO_SPACE. */
enum ppn_error wire_path_encode(const struct wire_path_packet *packet,
                                const struct wire_path_key *key,
                                struct ppn_writer *writer) PPN_CHECK;

/* SIGNATURE: not made with this key. INVALID, VERSION, TOO_BIG: not of this shape (kinds that this
 * version does not know, flags or padding that are not zero). */
enum ppn_error wire_path_decode(struct ppn_slice datagram, const struct wire_path_key *key,
                                struct wire_path_packet *packet) PPN_CHECK;

/* CALL: a datagram inside the mesh, whose source address names its sender: "I look for a way to you
 * now; do the same". moved: my addresses changed. */
enum { WIRE_PATH_CALL_SIZE = 4 };

void wire_path_call_encode(bool moved, uint8_t bytes[static WIRE_PATH_CALL_SIZE]);
/* INVALID: none of this version. */
enum ppn_error wire_path_call_decode(struct ppn_slice datagram, bool *moved) PPN_CHECK;
