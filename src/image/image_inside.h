// SPDX-License-Identifier: ISC
#pragma once

/* The inside of the image store, shared by its files and nobody else. */

#include "image/image_store.h"
#include "os/os_child.h"
#include "os/os_worker.h"

enum { IMAGE_FILE_NAME_MAX = 80, IMAGE_HEX_MAX = 2 * PPN_HASH_SIZE + 1 };

/* One entry a name; an image without a name has one entry with "". */
struct image_store {
    struct os_loop *loop;
    struct os_worker *worker;
    char directory[IMAGE_PATH_MAX + 1];
    uint32_t count;
    struct image images[PPN_IMAGES_MAX];
    uint64_t next_import;
    struct image_check *checks; /* under way */
    bool closing;
};

/* "SHA256.qcow2" or "SHA256.raw". */
void image_file_name(const struct ppn_hash *hash, enum image_format format, char *name);
/* Adds or finds the image and gives it the name, if any; sorted, names.json not yet written. */
enum ppn_error image_table_add(struct image_store *store, const struct ppn_hash *hash,
                               const struct image_facts *facts, const char *name);
enum ppn_error image_names_load(struct image_store *store, struct ppn_failure *failure);
enum ppn_error image_names_save(const struct image_store *store, struct ppn_failure *failure);

/* From a file full of bytes to an image in its place: hash and header (worker), qemu-img (child),
 * rename and sync (worker), name. */
struct image_check {
    struct image_store *store;
    struct image_check *next;
    char path[IMAGE_PATH_MAX + 1]; /* of the temporary file; placed or, at an error, left */
    int fd;                        /* of the same; the check closes it */
    char name[PPN_NAME_MAX + 1];
    bool has_wanted;
    struct ppn_hash wanted; /* CORRUPT when the hash differs */
    /* error PPN_OK: the image is in the table. The check is freed after the call. */
    void (*done)(void *context, const struct image *image, const struct ppn_failure *failure);
    void *context;

    struct os_worker *worker; /* copies: the store may be closed while a job runs */
    char directory[IMAGE_PATH_MAX + 1];
    bool working;   /* a job of the worker is under way */
    bool abandoned; /* by the store; that job frees it */
    struct ppn_hash hash;
    struct image_facts facts;
    struct ppn_failure failure;
    struct os_child *child;
};

/* Takes the check over; done follows from the loop. */
void image_check_start(struct image_check *check);
/* At close: all end with CANCELLED. */
void image_check_cancel_all(struct image_store *store);
