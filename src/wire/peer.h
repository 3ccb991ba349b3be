// SPDX-License-Identifier: ISC
#pragma once

/* Frames between members, over TCP on the mesh address. The mesh proves who the peer is (a packet's
 * source address is derived from its node id), so a frame carries no signature of its own.
 *
 *   frame    4-byte length, then [major, kind, stream, payload]
 *   payload  an array, per kind; fields may be appended by a newer minor version
 *
 * Streams. Stream 0 is the connection itself. Every other stream is one exchange: the side that
 * dialled opens odd numbers, the side that accepted even ones, each number once and rising. A
 * stream ends with its last answer (see the table), API_END in both directions, or CLOSE.
 *
 * Flow control (API streams): a side may send as many API_DATA bytes as the other granted:
 * WIRE_API_WINDOW at first, then API_WINDOW adds. More is a protocol error: CLOSE of the stream.
 * Other answers are bounded by one frame.
 *
 * An unknown kind is skipped on stream 0 and answered with CLOSE(unsupported) elsewhere, so that a
 * newer node may try. Frames before HELLO, or a HELLO whose range does not contain our major
 * version, close the connection. */

#include "base/facts.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/name.h"
#include "base/slice.h"

enum {
    WIRE_PEER_MAJOR = 1,
    WIRE_FRAME_PREFIX = 4 /* the length; os/os_frames.h cuts the stream by it */
};

/* Who may send a kind. Every peer is a member; what a member may ask for is the API's and the
 * cores' decision (a fleet message names its origin, which must be the sender). */
enum wire_peer_rule {
    WIRE_RULE_CONNECTION, /* stream 0, either side */
    WIRE_RULE_OPENER,     /* a new stream, by the side that owns its number */
    WIRE_RULE_ANSWERER,   /* an open stream, by the other side */
    WIRE_RULE_EITHER      /* an open stream, both sides */
};

/*  X(KIND, number, rule)                                       carries */
#define WIRE_PEER_KINDS(X)                                                                         \
    X(HELLO, 1, CONNECTION)       /* range, name, software; once, first */                         \
    X(PING, 2, CONNECTION)        /* token, answered by PONG */                                    \
    X(PONG, 3, CONNECTION)        /* the same token */                                             \
    X(LOG_HEADS, 4, CONNECTION)   /* hashes of entries nothing follows */                          \
    X(LOG_WANT, 5, CONNECTION)    /* have-hashes and want-hashes */                                \
    X(LOG_ENTRIES, 6, CONNECTION) /* a batch, in answer to LOG_WANT */                             \
    X(LOG_PUSH, 7, CONNECTION)    /* a batch nobody asked for: new entries, to all at once */      \
    X(FLEET, 8, CONNECTION)       /* one fleet message */                                          \
    X(VM_CHANGED, 9, CONNECTION)  /* digest of the sender's VM list, which has just changed */     \
    X(JOIN, 10, CONNECTION)       /* a join request that knocked at the sender */                  \
    X(VM_LIST_WANT, 16, OPENER)   /* known digest */                                               \
    X(VM_LIST, 17, ANSWERER)      /* ends the stream */                                            \
    X(IMAGE_LIST_WANT, 18, OPENER)                                                                 \
    X(IMAGE_LIST, 19, ANSWERER) /* ends the stream */                                              \
    X(IMAGE_WANT, 20, OPENER)   /* hash, offset, length */                                         \
    X(IMAGE_DATA, 21, ANSWERER) /* ends the stream */                                              \
    X(IMAGE_NONE, 22, ANSWERER) /* ends the stream */                                              \
    X(API_REQUEST, 32, OPENER)  /* method, path, query, body, flags, hops */                       \
    X(API_HEAD, 33, ANSWERER)   /* status, content type */                                         \
    X(API_DATA, 34, EITHER)     /* body bytes; from the opener only when it said streaming */      \
    X(API_END, 35, EITHER)      /* no more body from this side */                                  \
    X(API_WINDOW, 36, EITHER)   /* credit */                                                       \
    X(CLOSE, 37, EITHER)        /* error and text; on stream 0 the whole connection */

enum wire_peer_kind {
#define X(name, number, rule) WIRE_PEER_##name = (number),
    WIRE_PEER_KINDS(X)
#undef X
};

enum {
    WIRE_PEER_OVERHEAD = 32, /* length, frame array, major, kind, stream, payload's own headers */
    WIRE_SOFTWARE_MAX = 31,
    WIRE_LOG_HASHES_MAX = 256,
    WIRE_JOIN_NOTE_MAX = 4096,
    WIRE_IMAGE_CHUNK_MAX = 128 * 1024,
    WIRE_API_PATH_MAX = 512,
    WIRE_API_QUERY_MAX = 1024,
    WIRE_API_CONTENT_TYPE_MAX = 63,
    WIRE_API_BODY_MAX = 160 * 1024, /* inside API_REQUEST; a longer body streams */
    WIRE_API_DATA_MAX = 32 * 1024,
    WIRE_API_WINDOW = 128 * 1024,
    WIRE_API_HOPS_MAX = 4,
    WIRE_CLOSE_TEXT_MAX = 255,
    WIRE_OPAQUE_MAX = PPN_FRAME_MAX - WIRE_PEER_OVERHEAD
};

enum wire_api_method { WIRE_API_GET, WIRE_API_POST, WIRE_API_PUT, WIRE_API_DELETE };

struct wire_hello {
    uint32_t major_min, major_max;
    char name[PPN_NAME_MAX + 1]; /* the sender's admitted name, for logs only */
    char software[WIRE_SOFTWARE_MAX + 1];
    uint64_t boot; /* a number of this start: a new one tells that the peer restarted */
};

/* Hashes back to back, size a multiple of PPN_HASH_SIZE; borrowed when decoded. */
struct wire_hashes {
    struct ppn_slice bytes;
};

static inline uint32_t wire_hashes_count(struct wire_hashes hashes)
{
    return (uint32_t)(hashes.bytes.size / PPN_HASH_SIZE);
}

struct ppn_hash wire_hashes_at(struct wire_hashes hashes, uint32_t index);

struct wire_log_want {
    struct wire_hashes have; /* the asker's heads: their ancestors need not be sent */
    /* Of checkpoints: that its log begins with (zero: the genesis), then, if one is arriving, that.
     */
    struct wire_hashes closed;
    uint32_t staged; /* how many records of the arriving one have come */
};

/* A machine that knocks at one member is told to all, so that the one with the admin key sees it.
 */
struct wire_join_note {
    struct ppn_slice request; /* admission's join request, 1..WIRE_JOIN_NOTE_MAX bytes, opaque */
    struct ppn_endpoint from; /* where it knocked from, as the sender saw it */
};

struct wire_image_item {
    char name[PPN_NAME_MAX + 1];
    struct ppn_hash hash; /* SHA-256 of the file */
    uint64_t size_bytes;
    uint64_t virtual_bytes; /* of the disk inside */
};

struct wire_image_want {
    struct ppn_hash hash;
    uint64_t offset;
    uint32_t length; /* 1..WIRE_IMAGE_CHUNK_MAX */
};

struct wire_image_data {
    struct ppn_hash hash;
    uint64_t offset;
    uint64_t size_bytes;    /* of the whole file */
    struct ppn_slice bytes; /* shorter than asked for at the file's end only */
};

struct wire_image_none {
    struct ppn_hash hash;
    enum ppn_error reason; /* NOT_FOUND, BUSY */
};

struct wire_api_request {
    enum wire_api_method method;
    struct ppn_slice path;   /* starts with '/', printable ASCII without '?', '#' and space */
    struct ppn_slice query;  /* without '?', printable ASCII */
    struct ppn_slice body;   /* the whole body, or its beginning when streaming */
    uint64_t content_length; /* of the whole body; UINT64_MAX: unknown */
    bool streaming;          /* API_DATA from the opener follows, up to its API_END */
    uint32_t hops; /* forwards so far; at WIRE_API_HOPS_MAX it is refused, not forwarded */
};

struct wire_api_head {
    uint32_t status; /* 100..599 */
    struct ppn_slice content_type;
};

struct wire_close {
    enum ppn_error reason; /* PPN_OK: done, nothing wrong; an unknown number decodes as REFUSED */
    struct ppn_slice text; /* printable; for people */
};

/* One frame. All slices are borrowed: of the caller when encoding, of the frame when decoding. */
struct wire_peer_frame {
    enum wire_peer_kind kind;
    uint32_t stream;
    union {
        struct wire_hello hello;
        uint64_t token; /* PING, PONG */
        struct wire_hashes heads;
        struct wire_log_want log_want;
        struct ppn_slice batch; /* LOG_ENTRIES, LOG_PUSH: wire/log.h */
        struct ppn_slice fleet; /* wire/fleet.h */
        struct wire_join_note join;
        uint64_t known_digest; /* VM_LIST_WANT, VM_CHANGED; VM_LIST is empty when it still holds */
        struct ppn_slice vm_list; /* wire/machine.h; empty: unchanged */
        struct ppn_slice images;  /* wire_image_list_* */
        struct wire_image_want image_want;
        struct wire_image_data image_data;
        struct wire_image_none image_none;
        struct wire_api_request api_request;
        struct wire_api_head api_head;
        struct ppn_slice api_data;
        uint32_t window; /* bytes added, 1..WIRE_API_WINDOW */
        struct wire_close close;
    };
};

/* Appends prefix and frame. Asserts on a frame that breaks a limit above; PPN_ERROR_TOO_BIG when
 * the writer is too small (PPN_FRAME_MAX + WIRE_FRAME_PREFIX always is enough). */
enum ppn_error wire_peer_encode(const struct wire_peer_frame *frame,
                                struct ppn_writer *writer) PPN_CHECK;

/* One frame without its prefix. PPN_ERROR_VERSION: another major; PPN_ERROR_UNSUPPORTED: an unknown
 * kind (frame->stream is set, frame->kind holds its number); PPN_ERROR_INVALID, PPN_ERROR_TOO_BIG:
 * the peer is broken, close the connection. Opaque payloads are not looked into. */
enum ppn_error wire_peer_decode(struct ppn_slice bytes, struct wire_peer_frame *frame) PPN_CHECK;

/* Whether a decoded frame may come from the peer: `peer_dialled` says which side it is,
 * `stream_open` whether our table holds frame->stream. PPN_ERROR_INVALID: close the connection. */
enum ppn_error wire_peer_check(const struct wire_peer_frame *frame, bool peer_dialled,
                               bool stream_open) PPN_CHECK;

enum wire_peer_rule wire_peer_rule(enum wire_peer_kind kind);
const char *wire_peer_kind_name(enum wire_peer_kind kind);

/* IMAGE_LIST's payload: [1, [[name, hash, size, virtual size]...]]. */
enum { WIRE_IMAGE_LIST_MAX = 48 * 1024 };
enum ppn_error wire_image_list_encode(const struct wire_image_item *items, uint32_t count,
                                      struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_image_list_decode(struct ppn_slice bytes, struct wire_image_item *items,
                                      uint32_t capacity, uint32_t *count) PPN_CHECK;
