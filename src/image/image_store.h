// SPDX-License-Identifier: ISC
#pragma once

/* The images of this node: STATE/images/SHA256.FORMAT, read-only files named by their content, and
 * names.json, which gives them names. A file gets its final name only when its bytes are hashed,
 * inspected and synced, so whatever has a final name is whole. Temporary files (incoming-*, and
 * SHA256.part of a fetch) are swept at start, parts of a fetch kept for resuming.
 *
 * One thread, the loop's; hashing and inspection run in the worker and in a child. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/name.h"
#include "base/slice.h"
#include "image/image_format.h"

struct os_loop;
struct os_worker;
struct image_store;

enum { IMAGE_PATH_MAX = 511 };

struct image {
    char name[PPN_NAME_MAX + 1]; /* "" when only its hash is known */
    struct ppn_hash hash;
    struct image_facts facts;
};

/* Makes STATE/images (0750), reads names.json and lists the files. A damaged names.json is set
 * aside and logged; the images stay reachable by hash. */
enum ppn_error image_store_open(struct os_loop *loop, struct os_worker *worker,
                                const char *state_dir, struct image_store **store,
                                struct ppn_failure *failure) PPN_CHECK;
/* Running imports are cancelled: their done gets CANCELLED before this returns. NULL is allowed. */
void image_store_close(struct image_store *store);

/* By name, or by 8 or more hexadecimal digits of the hash that fit one image only. NULL: none. The
 * pointer is good until the store changes. */
const struct image *image_store_find(const struct image_store *store, const char *name);
const struct image *image_store_by_hash(const struct image_store *store,
                                        const struct ppn_hash *hash);
/* Sorted by name, then hash. */
const struct image *image_store_list(const struct image_store *store, uint32_t *count);
/* The file's path, IMAGE_PATH_MAX + 1 bytes. */
void image_store_path(const struct image_store *store, const struct image *image, char *path);

/* Gives an image another or a first name; a name in use moves to it. */
enum ppn_error image_store_name(struct image_store *store, const struct ppn_hash *hash,
                                const char *name, struct ppn_failure *failure) PPN_CHECK;
/* BUSY when in_use says that a VM's disk rests on it, or it is being read for a peer. */
enum ppn_error image_store_remove(struct image_store *store, const struct ppn_hash *hash,
                                  bool in_use, struct ppn_failure *failure) PPN_CHECK;

/* A chunk for a peer. Read at once, since it is small and mostly cached: `capacity` at most
 * IMAGE_CHUNK. NOT_FOUND; INVALID for an offset past the end. */
enum ppn_error image_store_read(struct image_store *store, const struct ppn_hash *hash,
                                uint64_t offset, uint8_t *bytes, size_t capacity,
                                size_t *size) PPN_CHECK;

/* Import by streaming (ppn image add). The bytes go to a temporary file as they come; finish
 * hashes, inspects (header parser, then `qemu-img info` in a limited child), syncs, renames and
 * names. */
struct image_import;
typedef void image_done_fn(void *context, const struct image *image,
                           const struct ppn_failure *failure); /* one of the two is NULL */

/* file_bytes 0: unknown. NO_SPACE when it cannot fit (with a reserve of 1 GiB or 5 % left free),
 * INVALID for a bad name. */
enum ppn_error image_import_begin(struct image_store *store, const char *name, uint64_t file_bytes,
                                  struct image_import **import,
                                  struct ppn_failure *failure) PPN_CHECK;
/* Writes now (page cache). After an error only image_import_cancel is allowed. */
enum ppn_error image_import_write(struct image_import *import, struct ppn_slice bytes,
                                  struct ppn_failure *failure) PPN_CHECK;
/* The handle ends with done, which is called once, from the loop. An image that is here already
 * only gets the name. */
void image_import_finish(struct image_import *import, image_done_fn *done, void *context);
void image_import_cancel(struct image_import *import);

/* The partial file of a fetch (image_fetch.h decides what goes in). BUSY: one is open already. */
struct image_part;
enum ppn_error image_part_open(struct image_store *store, const struct ppn_hash *hash,
                               uint64_t file_bytes, uint64_t *have_bytes, struct image_part **part,
                               struct ppn_failure *failure) PPN_CHECK;
enum ppn_error image_part_write(struct image_part *part, uint64_t offset, struct ppn_slice bytes,
                                struct ppn_failure *failure) PPN_CHECK;
enum ppn_error image_part_reset(struct image_part *part, struct ppn_failure *failure) PPN_CHECK;
/* Hashes and inspects; done as above, and the handle ends when it succeeded. CORRUPT: the hash is
 * wrong (say IMAGE_FETCH_CORRUPT and go on); any other failure: close it. name may be "". */
void image_part_finish(struct image_part *part, const char *name, image_done_fn *done,
                       void *context);
/* Keeps the bytes for a later resume; a finish that runs goes on without its done. NULL is allowed.
 */
void image_part_close(struct image_part *part);
