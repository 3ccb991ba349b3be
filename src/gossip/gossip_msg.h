// SPDX-License-Identifier: ISC
#pragma once

/* What gossip cores say to each other, decoded. The core makes and reads these; wire turns a packet
 * into one datagram of at most PPN_DATAGRAM_MAX bytes and back, and knows nothing of what the items
 * inside mean: an item is opaque bytes that are stored, forwarded and verified exactly as received.
 *
 * Packets are not signed: the mesh address they come from is the identity of their sender. Items
 * are signed by their author and travel through anybody. */

#include <stdint.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/slice.h"

enum gossip_packet_kind {
    GOSSIP_PING = 1, /* are you there? */
    GOSSIP_ACK,      /* I am; answers the PING with this probe number */
    GOSSIP_CHECK,    /* please probe `subject` yourself and tell me: the indirect probe */
    GOSSIP_CHECKED,  /* what the probe asked for by CHECK found so far (`outcome`) */
    GOSSIP_NEWS,     /* items only */
    GOSSIP_DIGEST,   /* anti-entropy: one digest for each bucket of my view */
    GOSSIP_RANGE,    /* anti-entropy: all that I know of members first..last, as version rows */
    GOSSIP_WANT,     /* anti-entropy: please send these items */
    GOSSIP_PACKET_KIND_END
};

/* In a CHECKED packet. */
enum gossip_outcome {
    GOSSIP_OUTCOME_REACHED = 1, /* the subject answered me */
    GOSSIP_OUTCOME_PENDING,     /* it has not yet; I am alive, do not count me as lost (the nack) */
    GOSSIP_OUTCOME_FAILED,      /* it did not; my signed verdict is among the items */
    GOSSIP_OUTCOME_REFUSED,     /* its host answers, its agent does not */
    GOSSIP_OUTCOME_END
};

/* What an item is; its first byte. */
enum gossip_item_kind {
    GOSSIP_ITEM_LIFE = 1, /* by the subject: I live (or leave) under this epoch and incarnation */
    GOSSIP_ITEM_PROFILE,  /* by the subject: the body of the membership plane */
    GOSSIP_ITEM_LOAD,     /* by the subject: the body of the heartbeat plane */
    GOSSIP_ITEM_VERDICT,  /* by an observer: what my own probes say of that subject */
    GOSSIP_ITEM_KIND_END
};

enum {
    GOSSIP_SIGNATURE_SIZE = 64,
    GOSSIP_PROFILE_BODY_MAX = 640,
    GOSSIP_LOAD_BODY_MAX = 96,

    /* Every item: kind u8, version u8, author's tag u64, epoch u32, sequence u32, then its own
     * part, then the signature. Integers are big-endian. */
    GOSSIP_ITEM_HEADER_SIZE = 18,
    GOSSIP_LIFE_SIZE = GOSSIP_ITEM_HEADER_SIZE + 1 + GOSSIP_SIGNATURE_SIZE,
    GOSSIP_VERDICT_SIZE = GOSSIP_ITEM_HEADER_SIZE + 18 + GOSSIP_SIGNATURE_SIZE,
    GOSSIP_LOAD_SIZE_MAX = GOSSIP_ITEM_HEADER_SIZE + GOSSIP_LOAD_BODY_MAX + GOSSIP_SIGNATURE_SIZE,
    GOSSIP_PROFILE_SIZE_MAX =
        GOSSIP_ITEM_HEADER_SIZE + GOSSIP_PROFILE_BODY_MAX + GOSSIP_SIGNATURE_SIZE,
    GOSSIP_ITEM_SIZE_MAX = GOSSIP_PROFILE_SIZE_MAX,

    GOSSIP_ITEMS_MAX = 14, /* the smallest item, LIFE, fits no oftener into one datagram */
    GOSSIP_BUCKETS = 64,
    GOSSIP_ROWS_MAX = 36,
    GOSSIP_WANTS_MAX = 64,

    /* Upper bounds of the encoding, which wire keeps and tests: the core packs by them. */
    GOSSIP_ENCODED_HEADER_MAX = 48, /* all of a packet that carries nothing else */
    GOSSIP_ENCODED_ITEM_OVERHEAD = 3,
    GOSSIP_ENCODED_CHECK_MAX = 24, /* subject, epoch, incarnation, outcome */
    GOSSIP_ENCODED_BUCKET_MAX = 5,
    GOSSIP_ENCODED_ROW_MAX = 31,
    GOSSIP_ENCODED_RANGE_MAX = 20, /* first and last of a RANGE */
    GOSSIP_ENCODED_WANT_MAX = 11
};

_Static_assert(GOSSIP_ENCODED_HEADER_MAX +
                       GOSSIP_ITEMS_MAX * (GOSSIP_LIFE_SIZE + GOSSIP_ENCODED_ITEM_OVERHEAD) >
                   PPN_DATAGRAM_MAX,
               "more items than GOSSIP_ITEMS_MAX never fit");
_Static_assert(GOSSIP_ENCODED_HEADER_MAX + GOSSIP_ITEM_SIZE_MAX + GOSSIP_ENCODED_ITEM_OVERHEAD <=
                   PPN_DATAGRAM_MAX,
               "every item fits a datagram");
_Static_assert(GOSSIP_ENCODED_HEADER_MAX + GOSSIP_BUCKETS * GOSSIP_ENCODED_BUCKET_MAX <=
                   PPN_DATAGRAM_MAX,
               "all buckets fit a datagram");
_Static_assert(GOSSIP_ENCODED_HEADER_MAX + GOSSIP_ENCODED_RANGE_MAX +
                       GOSSIP_ROWS_MAX * GOSSIP_ENCODED_ROW_MAX <=
                   PPN_DATAGRAM_MAX,
               "a full range fits a datagram");
_Static_assert(GOSSIP_ENCODED_HEADER_MAX + GOSSIP_WANTS_MAX * GOSSIP_ENCODED_WANT_MAX <=
                   PPN_DATAGRAM_MAX,
               "a full want list fits a datagram");

/* A member in few bytes: the first eight of its node id. Two members never share a tag: the second
 * is refused when it is added. Signatures cover the whole id. */
typedef uint64_t gossip_tag;

/* The versions that a node holds of one member. Sequences count only within `epoch`; 0: none. */
struct gossip_row {
    gossip_tag tag;
    uint32_t epoch;
    uint32_t incarnation;
    uint32_t profile_sequence;
    uint32_t load_sequence;
    uint8_t standing; /* enum gossip_standing, plus GOSSIP_ROW_LOST */
};

enum gossip_standing {
    GOSSIP_STANDING_NONE,
    GOSSIP_STANDING_ALIVE,
    GOSSIP_STANDING_LEFT,
    GOSSIP_STANDING_UNHEARD /* in rows only: known as alive, but not yet in this run */
};
enum { GOSSIP_ROW_LOST = 4, GOSSIP_ROW_STANDING_END = 8 };

/* One bit for each item kind in gossip_want.kinds. */
enum {
    GOSSIP_WANT_LIFE = 1 << GOSSIP_ITEM_LIFE,
    GOSSIP_WANT_PROFILE = 1 << GOSSIP_ITEM_PROFILE,
    GOSSIP_WANT_LOAD = 1 << GOSSIP_ITEM_LOAD,
    GOSSIP_WANT_VERDICT = 1 << GOSSIP_ITEM_VERDICT
};

struct gossip_want {
    gossip_tag tag;
    uint8_t kinds;
};

/* `kind` says which part of `of` is in use: CHECK and CHECKED `check`, DIGEST `digest`, RANGE
 * `range`, WANT `want`, the others none. Any packet may carry items. A decoder sets every field,
 * and lets no count pass its limit and no enum its END; everything else is the core's to judge. */
struct gossip_packet {
    enum gossip_packet_kind kind;
    uint32_t probe;       /* pairs PING with ACK and CHECK with CHECKED; else 0 */
    uint64_t view_digest; /* of the sender's membership plane */
    uint64_t load_digest; /* of its heartbeat plane */
    uint8_t health;       /* Lifeguard's local health of the sender; 0 is well */
    uint32_t item_count;
    struct ppn_slice items[GOSSIP_ITEMS_MAX]; /* whole items, signature included; borrowed */
    union {
        struct {
            gossip_tag subject;
            uint32_t epoch, incarnation; /* of the subject, as the sender knows it */
            enum gossip_outcome outcome; /* CHECKED only; REACHED in a CHECK */
        } check;
        struct {
            uint32_t buckets[GOSSIP_BUCKETS];
        } digest;
        struct {
            gossip_tag first, last; /* inclusive; members between them and not listed: unknown */
            uint32_t count;
            struct gossip_row rows[GOSSIP_ROWS_MAX]; /* rising by tag */
        } range;
        struct {
            uint32_t count;
            struct gossip_want wants[GOSSIP_WANTS_MAX];
        } want;
    } of;
};

/* The most bytes that `packet` may take when encoded, by the bounds above. */
uint32_t gossip_packet_size_max(const struct gossip_packet *packet);
