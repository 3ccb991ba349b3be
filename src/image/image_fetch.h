// SPDX-License-Identifier: ISC
#pragma once

/* Fetching one image from peers in chunks: which (offset, length) to ask of whom next. Pure: the
 * shell sends the asks, writes what comes, and verifies the whole hash at the end. Chunks arrive in
 * any order from one peer at a time; written bytes are a prefix of the file, so a fetch that was
 * cut resumes where the partial file ends. A peer that is slow, lies or lacks the image costs time
 * and is passed over; the fetch fails only when no peer is left. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/time.h"

enum {
    IMAGE_CHUNK = 128 * 1024,
    IMAGE_WINDOW = 16, /* chunks asked for and not yet answered */
    IMAGE_PEERS_MAX = 16,
    IMAGE_FETCH_UPDATES_MAX = IMAGE_WINDOW + 2
};

struct image_fetch_config {
    struct ppn_hash hash;
    uint64_t file_bytes;            /* 0: learn it from the first answer */
    uint64_t have_bytes;            /* of a partial file from before; 0: start anew */
    struct ppn_duration chunk_wait; /* no chunk for so long: next peer; 0: 10 s */
    uint32_t peer_count;            /* the best first */
    struct ppn_node_id peers[IMAGE_PEERS_MAX];
};

enum image_fetch_event_kind {
    IMAGE_FETCH_TIME,     /* the deadline came */
    IMAGE_FETCH_DATA,     /* a chunk from `peer` */
    IMAGE_FETCH_REFUSED,  /* `peer` lacks it, is busy, or the connection ended */
    IMAGE_FETCH_VERIFIED, /* outcome of IMAGE_FETCH_VERIFY */
    IMAGE_FETCH_CORRUPT   /* the same, wrong hash: all of it is thrown away */
};

struct image_fetch_event {
    enum image_fetch_event_kind kind;
    struct ppn_node_id peer;
    uint64_t offset;     /* DATA */
    uint32_t length;     /* DATA */
    uint64_t file_bytes; /* DATA: of the whole file, as the peer says */
};

enum image_fetch_update_kind {
    IMAGE_FETCH_ASK,    /* ask `peer` for (offset, length) */
    IMAGE_FETCH_WRITE,  /* write the bytes of this event at `offset` of the partial file */
    IMAGE_FETCH_VERIFY, /* everything is there: hash the file, then say VERIFIED or CORRUPT */
    IMAGE_FETCH_RESET,  /* truncate the partial file to nothing */
    IMAGE_FETCH_DONE,   /* the image may be put in place */
    IMAGE_FETCH_FAILED  /* `failure` says why; the partial file may stay for a later try */
};

struct image_fetch_update {
    enum image_fetch_update_kind kind;
    struct ppn_node_id peer;
    uint64_t offset;
    uint32_t length;
    struct ppn_failure failure;
};

struct image_fetch_updates {
    uint32_t count;
    struct image_fetch_update list[IMAGE_FETCH_UPDATES_MAX];
};

struct image_fetch {
    struct image_fetch_config config;
    uint32_t peer;              /* the one in use; == peer_count: none left */
    uint64_t file_bytes;        /* 0: not known yet */
    uint64_t written;           /* prefix that is on the disk */
    uint64_t asked;             /* everything below was asked for of the present peer */
    uint64_t got[IMAGE_WINDOW]; /* offsets of chunks written beyond `written`, UINT64_MAX: none */
    struct ppn_instant deadline;
    bool verifying, over;
    uint32_t corrupt_count;
    enum ppn_error last_error;
};

/* Fills the first asks. */
void image_fetch_init(struct image_fetch *fetch, const struct image_fetch_config *config,
                      struct ppn_instant now, struct image_fetch_updates *updates);
/* INVALID: a chunk nobody asked for, or one that contradicts the size; the peer is passed over. */
enum ppn_error image_fetch_step(struct image_fetch *fetch, struct ppn_instant now,
                                const struct image_fetch_event *event,
                                struct image_fetch_updates *updates) PPN_CHECK;
struct ppn_instant image_fetch_deadline(const struct image_fetch *fetch);

struct image_fetch_progress {
    uint64_t done_bytes, total_bytes; /* total 0: not known yet */
};
struct image_fetch_progress image_fetch_progress(const struct image_fetch *fetch);
