// SPDX-License-Identifier: ISC
#pragma once

/* The image store <-> members: serving chunks, and fetching what this node lacks. */

#include "base/error.h"
#include "base/facts.h"
#include "image/image_store.h"

struct node;
struct node_images;
struct node_link;
struct wire_peer_frame;

enum { NODE_FETCHES_MAX = 4 };

enum ppn_error node_images_open(struct node *node, struct node_images **images,
                                struct ppn_failure *failure) PPN_CHECK;
void node_images_close(struct node_images *images);
struct image_store *node_images_store(struct node_images *images);
/* The tags this node announces, newest names first; returns how many. */
uint32_t node_images_tags(const struct node_images *images, struct ppn_image_tag *tags,
                          uint32_t capacity);

/* IMAGE_* frames that open a stream. */
void node_images_frame(struct node_images *images, struct node_link *link,
                       const struct wire_peer_frame *frame);

/* Brings an image here. `from` is asked first (may be zero), then every member whose tags name it.
 * Several callers of one hash share a fetch. progress may be NULL. done comes once, never from
 * inside the call: failure NULL at success. */
struct node_fetch_caller {
    void *context;
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void (*done)(void *context, const struct ppn_failure *failure);
};
void node_images_fetch(struct node_images *images, const struct ppn_hash *hash, uint64_t file_bytes,
                       const char *name, const struct ppn_node_id *from,
                       const struct node_fetch_caller *caller);
/* The caller does not want to hear of it any more; the fetch goes on if others do. */
void node_images_fetch_cancel(struct node_images *images, void *context);

/* Which image a name means anywhere in the pool: own store first, then the members' lists (asked
 * over the mesh). found comes once, maybe from inside the call: failure NULL and the image, or why
 * not. */
struct node_image_found {
    struct ppn_hash hash;
    uint64_t file_bytes, virtual_bytes;
    char name[PPN_NAME_MAX + 1];
    struct ppn_node_id holder; /* one of them; zero: here */
};
typedef void node_image_found_fn(void *context, const struct node_image_found *image,
                                 const struct ppn_failure *failure);
void node_images_resolve(struct node_images *images, const char *name, node_image_found_fn *found,
                         void *context);
/* What the members' lists said last: each image once per holder. For `ppn image ls`. */
typedef void node_image_each_fn(void *context, const struct node_image_found *image);
void node_images_survey(struct node_images *images, node_image_each_fn *each,
                        void (*end)(void *context), void *context);
