// SPDX-License-Identifier: ISC
#pragma once

/* What an image file is, from its first bytes alone, and whether it may be trusted with a guest.
 * The header is hostile: a qcow2 that names a backing or data file would make QEMU read a file of
 * the host. Pure; reads at most IMAGE_HEADER_MAX bytes. */

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum image_format { IMAGE_RAW, IMAGE_QCOW2 };

enum {
    IMAGE_HEADER_MAX = 64 * 1024, /* give this much, or the whole file when it is shorter */
    IMAGE_SECTOR = 512
};

#define IMAGE_FILE_MAX    ((uint64_t)1 << 40) /* 1 TiB in the file */
#define IMAGE_VIRTUAL_MAX ((uint64_t)1 << 42) /* 4 TiB seen by the guest */

struct image_facts {
    enum image_format format;
    uint64_t file_bytes;
    uint64_t virtual_bytes;
};

/* Reads the header (docs/interop/qcow2.txt of QEMU, versions 2 and 3). INVALID with the reason in
 * *failure: backing file, external data file, encryption, snapshots, dirty or corrupt flag, unknown
 * incompatible feature, sizes that contradict each other, another format by its magic (VMDK, VDI,
 * VHDX, VHD, ISO, gzip, xz, zstd), a raw image that is no whole number of sectors. */
enum ppn_error image_inspect(struct ppn_slice header, uint64_t file_bytes,
                             struct image_facts *facts, struct ppn_failure *failure) PPN_CHECK;

/* "raw" or "qcow2", as QEMU spells it. */
const char *image_format_name(enum image_format format);
