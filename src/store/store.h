// SPDX-License-Identifier: ISC
#pragma once

/* What a node keeps on its disk: two LMDB environments in its state directory.
 *
 *   durable  what was promised: synced before it is acknowledged, by a writer thread that commits
 *            everything waiting with one sync (group commit)
 *   view     what gossip said: written by the same thread a few seconds late, many changes at once;
 *            rebuildable, so found damaged it is made anew
 *
 * Only this folder uses LMDB. Every value carries a format byte and a checksum over table, key and
 * value; a damaged one is reported, never returned. One process owns the directory (a lock file):
 * tools ask the daemon.
 *
 * A full disk or map (PPN_ERROR_NO_SPACE) fails the batches concerned, loses nothing that was
 * acknowledged, and later batches work again once there is room. A write error of the disk is
 * fatal: what the kernel holds is unknown from then on (a later sync may report success without
 * it), so on_fatal is called once, every later batch fails with PPN_ERROR_IO, and the daemon must
 * exit non-zero with the text given; its next start reads what really is on the disk. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "os/os_loop.h"

enum {
    STORE_KEY_MAX = 511, /* LMDB's */
    STORE_VALUE_MAX = 1024 * 1024,
    STORE_BATCH_MAX = 4 * 1024 * 1024,  /* bytes of one batch */
    STORE_QUEUE_MAX = 16 * 1024 * 1024, /* bytes submitted and not yet committed */
    STORE_READS_MAX = 8                 /* reads nested in callbacks */
};

#define STORE_TABLES(X)                                                                            \
    X(META, "meta", true)                 /* singletons: keys, epoch, settings */                  \
    X(LOG, "log", true)                   /* admission entries by id */                            \
    X(REQUESTS, "requests", true)         /* requests accepted here (origin) */                    \
    X(RESERVATIONS, "reservations", true) /* prepared here (target), tombstones */                 \
    X(VMS, "vms", true)                   /* machines of this node */                              \
    X(IMAGES, "images", true)             /* images in the cache */                                \
    X(JOINS, "joins", true)               /* join requests that wait */                            \
    X(EVENTS, "events", true)             /* what people see in `ppn events` */                    \
    X(VIEW_MEMBERS, "members", false)     /* last known state of others */                         \
    X(VIEW_VMS, "vms", false)             /* VM lists of others */                                 \
    X(VIEW_PATHS, "paths", false)         /* endpoints that worked */

enum store_table {
#define X(name, text, durable) STORE_##name,
    STORE_TABLES(X)
#undef X
        STORE_TABLE_COUNT
};

struct store;

typedef void store_fatal_fn(void *context, const char *text);

struct store_config {
    const char *directory; /* made 0700 when missing; durable/ and view/ beneath */
    /* Limits of growth; 0: 1 GiB and 256 MiB. The files start small and grow by use. */
    uint64_t durable_max_bytes, view_max_bytes;
    store_fatal_fn *on_fatal; /* in the loop */
    void *context;
};

/* Checks both files before LMDB maps them: a truncated or foreign file is PPN_ERROR_CORRUPT with
 * its path, never a crash. BUSY when another process owns the directory. May block: start-up only.
 */
enum ppn_error store_open(struct os_loop *loop, const struct store_config *config,
                          struct store **store, struct ppn_failure *failure) PPN_CHECK;
/* Commits what is waiting, calls the callbacks that are due, closes. */
void store_close(struct store *store);

/* Writes that become durable together or not at all, in the order given. The first failure (a key
 * or value over its limit, memory) sticks and is what committing reports. Durable tables only. */
struct store_batch {
    uint8_t *bytes;
    size_t size, capacity;
    uint32_t count;
    enum ppn_error error;
};

void store_batch_init(struct store_batch *batch);
void store_batch_put(struct store_batch *batch, enum store_table table, struct ppn_slice key,
                     struct ppn_slice value);
/* Deleting what is not there succeeds. */
void store_batch_delete(struct store_batch *batch, enum store_table table, struct ppn_slice key);
/* Only for a batch that is not committed. */
void store_batch_free(struct store_batch *batch);

/* In the loop, in the order of submission. OK: it is on the disk and readable. */
typedef void store_done_fn(void *context, enum ppn_error error);

/* Takes the batch's content (the batch is empty afterwards, at failure too). done is always called,
 * exactly once and never from inside this call; it may be NULL. PPN_ERROR_BUSY when more than
 * STORE_QUEUE_MAX bytes wait. An empty batch completes after everything before it. */
void store_commit(struct store *store, struct store_batch *batch, store_done_fn *done,
                  void *context);
/* The same, waited for: start-up and shut-down only. Callbacks of earlier batches stay due. */
enum ppn_error store_commit_sync(struct store *store, struct store_batch *batch) PPN_CHECK;

/* Writes to view tables, on the disk after at most some seconds, or at store_close. What does not
 * fit is dropped and counted: gossip will say it again. */
void store_view_put(struct store *store, enum store_table table, struct ppn_slice key,
                    struct ppn_slice value);
void store_view_delete(struct store *store, enum store_table table, struct ppn_slice key);

/* Reads see what was committed (durable) or has been written (view), from the loop's thread only.
 * The slices live until the callback returns. */
typedef void store_value_fn(void *context, struct ppn_slice value);
/* NOT_FOUND, CORRUPT, VERSION (a newer daemon wrote it), BUSY (nested too deep), IO. */
enum ppn_error store_get(struct store *store, enum store_table table, struct ppn_slice key,
                         store_value_fn *fn, void *context) PPN_CHECK;
/* Into the caller's buffer; TOO_BIG when it does not fit, *size then says what it takes. */
enum ppn_error store_get_copy(struct store *store, enum store_table table, struct ppn_slice key,
                              void *buffer, size_t capacity, size_t *size) PPN_CHECK;

/* Every key that starts with prefix, in the order of memcmp; return false to stop. A damaged value
 * comes as error CORRUPT (one of a newer daemon as VERSION) with an empty slice: the rest is still
 * shown. */
typedef bool store_scan_fn(void *context, struct ppn_slice key, struct ppn_slice value,
                           enum ppn_error error);
enum ppn_error store_scan(struct store *store, enum store_table table, struct ppn_slice prefix,
                          store_scan_fn *fn, void *context) PPN_CHECK;

struct store_stats {
    uint64_t batches, syncs, durable_bytes, view_bytes, queued_bytes;
    uint64_t no_space, corrupt, view_dropped;
};
/* durable_bytes, view_bytes: of the files in use. */
struct store_stats store_stats(struct store *store);
