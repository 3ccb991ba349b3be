// SPDX-License-Identifier: ISC
#include "image/image_format.h"

#include <string.h>

#include "base/assert.h"

enum {
    QCOW2_V2_HEADER = 72,
    QCOW2_V3_HEADER = 104,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    EXTENSION_DATA_FILE = 0x44415441,
    EXTENSIONS_MAX = 64
};

/* Incompatible features, qcow2 version 3. */
enum {
    FEATURE_DIRTY = 1 << 0,
    FEATURE_CORRUPT = 1 << 1,
    FEATURE_DATA_FILE = 1 << 2,
    FEATURE_COMPRESSION = 1 << 3,
    FEATURE_EXTENDED_L2 = 1 << 4
};

const char *image_format_name(enum image_format format)
{
    return format == IMAGE_QCOW2 ? "qcow2" : "raw";
}

static uint32_t u32_at(struct ppn_slice header, size_t at)
{
    PPN_ASSERT(at + 4 <= header.size);
    return ppn_read_u32(header.data + at);
}

static uint64_t u64_at(struct ppn_slice header, size_t at)
{
    PPN_ASSERT(at + 8 <= header.size);
    return ppn_read_u64(header.data + at);
}

/* Formats that people hand over by mistake, by the first bytes. */
static const char *foreign(struct ppn_slice header)
{
    static const struct {
        size_t at;
        const char *magic;
        size_t size;
        const char *name;
    } table[] = {
        {0, "KDMV", 4, "VMDK; convert it: qemu-img convert -O qcow2"},
        {0, "# Disk DescriptorFile", 21, "VMDK; convert it: qemu-img convert -O qcow2"},
        {64, "\x7f\x10\xda\xbe", 4, "VDI; convert it: qemu-img convert -O qcow2"},
        {0, "vhdxfile", 8, "VHDX; convert it: qemu-img convert -O qcow2"},
        {0, "conectix", 8, "VHD; convert it: qemu-img convert -O qcow2"},
        {32769, "CD001", 5, "an ISO installer; PPN boots disk images (qcow2 or raw)"},
        {0, "\x1f\x8b", 2, "compressed with gzip; decompress it first"},
        {0,
         "\xfd"
         "7zXZ",
         5, "compressed with xz; decompress it first"},
        {0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd; decompress it first"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (header.size >= table[i].at + table[i].size &&
            memcmp(header.data + table[i].at, table[i].magic, table[i].size) == 0)
            return table[i].name;
    }
    return NULL;
}

static bool names_data_file(struct ppn_slice header, size_t at, size_t end)
{
    for (int i = 0; i < EXTENSIONS_MAX && at + 8 <= end && at + 8 <= header.size; i++) {
        uint32_t type = u32_at(header, at), length = u32_at(header, at + 4);
        if (type == 0)
            return false;
        if (type == EXTENSION_DATA_FILE)
            return true;
        if (length > end - at - 8)
            return false;
        at += 8 + (((size_t)length + 7) & ~(size_t)7);
    }
    return false;
}

static enum ppn_error inspect_v3(struct ppn_slice header, uint32_t cluster_bits,
                                 struct ppn_failure *failure)
{
    uint64_t features = u64_at(header, 72);
    uint32_t length = u32_at(header, 100);
    uint64_t known = FEATURE_COMPRESSION | FEATURE_EXTENDED_L2;
    if ((features & FEATURE_DATA_FILE) != 0 ||
        (length <= header.size && names_data_file(header, length, (size_t)1 << cluster_bits)))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image keeps its data in another file, which is refused; convert it: "
                        "qemu-img convert -O qcow2");
    if ((features & (FEATURE_DIRTY | FEATURE_CORRUPT)) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image is marked dirty or corrupt; repair it: qemu-img check -r all");
    if ((features & ~known) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image uses features that are not known here; convert it: qemu-img "
                        "convert -O qcow2");
    if (length < QCOW2_V3_HEADER || length > (uint32_t)1 << cluster_bits)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the qcow2 header is damaged");
    return PPN_OK;
}

static enum ppn_error inspect_qcow2(struct ppn_slice header, struct image_facts *facts,
                                    struct ppn_failure *failure)
{
    if (header.size < QCOW2_V3_HEADER)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the qcow2 header is cut short");
    uint32_t version = u32_at(header, 4), cluster_bits = u32_at(header, 20);
    uint64_t size = u64_at(header, 24);
    if (version != 2 && version != 3)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "qcow2 version %u is not known here; versions 2 and 3 are", version);
    if (u64_at(header, 8) != 0 || u32_at(header, 16) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image rests on a backing file, which is refused; make it whole: "
                        "qemu-img convert -O qcow2");
    if (u32_at(header, 32) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the image is encrypted, which is refused");
    if (u32_at(header, 60) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image holds snapshots, which is refused; convert it: qemu-img convert "
                        "-O qcow2");
    if (cluster_bits < CLUSTER_BITS_MIN || cluster_bits > CLUSTER_BITS_MAX)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the qcow2 header is damaged");
    uint64_t l1_offset = u64_at(header, 40), refcount_offset = u64_at(header, 48);
    uint64_t mask = (UINT64_C(1) << cluster_bits) - 1;
    uint64_t l1_needed = (size >> (2 * cluster_bits - 3)) + 1;
    if ((l1_offset & mask) != 0 || (refcount_offset & mask) != 0 || l1_offset > facts->file_bytes ||
        refcount_offset >= facts->file_bytes ||
        (size > 0 && u32_at(header, 36) + UINT64_C(1) < l1_needed))
        return ppn_fail(failure, PPN_ERROR_INVALID, "the qcow2 header contradicts itself");
    facts->format = IMAGE_QCOW2;
    facts->virtual_bytes = size;
    return version == 3 ? inspect_v3(header, cluster_bits, failure) : PPN_OK;
}

enum ppn_error image_inspect(struct ppn_slice header, uint64_t file_bytes,
                             struct image_facts *facts, struct ppn_failure *failure)
{
    enum ppn_error error = PPN_OK;
    *facts = (struct image_facts){.format = IMAGE_RAW, .file_bytes = file_bytes};
    if (file_bytes == 0)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the image is empty");
    if (file_bytes > IMAGE_FILE_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the image is over 1 TiB");
    const char *name = foreign(header);
    if (name != NULL)
        return ppn_fail(failure, PPN_ERROR_INVALID, "this is no disk image PPN takes: it is %s",
                        name);
    if (header.size >= 4 && memcmp(header.data, "QFI\xfb", 4) == 0) {
        error = inspect_qcow2(header, facts, failure);
    } else if (file_bytes % IMAGE_SECTOR != 0) {
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "this is neither qcow2 nor a raw disk (a raw one is a multiple of %d "
                        "bytes)",
                        IMAGE_SECTOR);
    } else {
        facts->virtual_bytes = file_bytes;
    }
    if (error == PPN_OK && (facts->virtual_bytes == 0 || facts->virtual_bytes > IMAGE_VIRTUAL_MAX))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the disk inside claims %llu bytes; 1 byte to 4 TiB are allowed",
                        (unsigned long long)facts->virtual_bytes);
    return error;
}
