// SPDX-License-Identifier: ISC
#pragma once

/* A small FAT12 file system with a few files in its root: the seed's medium. Written here because
 * it is one page of code and no child process, where mkfs.vfat and mcopy are two of each. Pure. */

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum {
    VM_FAT_BYTES = 256 * 1024, /* of every image */
    VM_FAT_FILES_MAX = 8,
    VM_FAT_NAME_MAX = 26 /* two long-name entries */
};

struct vm_fat_file {
    const char *name; /* lower-case ASCII */
    struct ppn_slice bytes;
};

/* Fills image, VM_FAT_BYTES long. label: up to 11 upper-case characters. TOO_BIG when the files do
 * not fit. Same files, same bytes: all times are 1 January 2000. */
enum ppn_error vm_fat_build(uint8_t *image, const char *label, const struct vm_fat_file *files,
                            uint32_t count) PPN_CHECK;
