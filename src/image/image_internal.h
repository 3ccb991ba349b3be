// SPDX-License-Identifier: ISC
#pragma once

/* Between the files of the image store: image_store.c lists and reads, image_names.c keeps names,
 * image_import.c takes in new files. */

#include "image/image_store.h"
#include "os/os_loop.h"
#include "os/os_worker.h"

enum { IMAGE_FILE_NAME = 2 * PPN_HASH_SIZE + 8, IMAGE_PARTS_MAX = 16, IMAGE_IMPORTS_MAX = 16 };

struct image_job;

struct image_store {
    struct os_loop *loop;
    struct os_worker *worker;
    char directory[IMAGE_PATH_MAX + 1];
    uint32_t count;
    struct image images[PPN_IMAGES_MAX];
    struct image_job *jobs; /* imports and parts that are open */
};

/* HASH.FORMAT beneath the directory. */
void image_file_name(const struct ppn_hash *hash, enum image_format format,
                     char name[static IMAGE_FILE_NAME]);
/* Adds or replaces; FULL at the limit. Keeps the list sorted. */
enum ppn_error image_store_add(struct image_store *store, const struct image *image,
                               struct ppn_failure *failure) PPN_CHECK;
void image_store_sort(struct image_store *store);
struct image *image_store_get(struct image_store *store, const struct ppn_hash *hash);

/* names.json: {"schema":1,"names":{NAME:HASH}}. */
void image_names_load(struct image_store *store);
enum ppn_error image_names_save(const struct image_store *store,
                                struct ppn_failure *failure) PPN_CHECK;

/* Ends every import and part; done callbacks get CANCELLED. */
void image_jobs_close(struct image_store *store);
