// SPDX-License-Identifier: ISC
#include "vm/vm_fat.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

/* Microsoft, "FAT: General Overview of On-Disk Format", 1.03. */
enum {
    SECTOR = 512,
    SECTORS = VM_FAT_BYTES / SECTOR,
    RESERVED = 1,
    FATS = 2,
    FAT_SECTORS = 2, /* 12 bits a cluster */
    ROOT_ENTRIES = 64,
    ENTRY = 32,
    ROOT_SECTORS = ROOT_ENTRIES * ENTRY / SECTOR,
    ROOT_AT = (RESERVED + FATS * FAT_SECTORS) * SECTOR,
    DATA_AT = ROOT_AT + ROOT_SECTORS * SECTOR,
    CLUSTERS = SECTORS - DATA_AT / SECTOR,
    LONG_CHARS = 13,
    DATE_2000 = (20 << 9) | (1 << 5) | 1
};

_Static_assert((CLUSTERS + 2) * 3 / 2 <= FAT_SECTORS * SECTOR, "the table covers all clusters");
_Static_assert(CLUSTERS < 4085, "more would be FAT16");
_Static_assert(VM_FAT_FILES_MAX * 3 + 1 <= ROOT_ENTRIES, "every file has room in the root");
_Static_assert(VM_FAT_NAME_MAX == 2 * LONG_CHARS, "two long-name entries");

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

static void put_boot_sector(uint8_t *image, const char label[11])
{
    static const uint8_t start[] = {0xeb, 0x3c, 0x90, 'P', 'P', 'N', ' ', ' ', ' ', ' ', ' '};
    memcpy(image, start, sizeof(start));
    put16(image + 11, SECTOR);
    image[13] = 1; /* sectors a cluster */
    put16(image + 14, RESERVED);
    image[16] = FATS;
    put16(image + 17, ROOT_ENTRIES);
    put16(image + 19, SECTORS);
    image[21] = 0xf8; /* fixed disk */
    put16(image + 22, FAT_SECTORS);
    put16(image + 24, 32); /* geometry that nobody asks for */
    put16(image + 26, 2);
    image[36] = 0x80;
    image[38] = 0x29; /* serial, label and type follow */
    put32(image + 39, 0x50504e31);
    memcpy(image + 43, label, 11);
    memcpy(image + 54, "FAT12   ", 8);
    image[510] = 0x55;
    image[511] = 0xaa;
}

static void put_cluster(uint8_t *image, uint32_t cluster, uint32_t next)
{
    for (uint32_t copy = 0; copy < FATS; copy++) {
        uint8_t *at = image + (RESERVED + copy * FAT_SECTORS) * SECTOR + cluster * 3 / 2;
        if (cluster % 2 == 0) {
            at[0] = (uint8_t)next;
            at[1] = (uint8_t)((at[1] & 0xf0) | (next >> 8));
        } else {
            at[0] = (uint8_t)((at[0] & 0x0f) | (next << 4));
            at[1] = (uint8_t)(next >> 4);
        }
    }
}

static uint8_t short_checksum(const uint8_t name[11])
{
    uint8_t sum = 0;
    for (int i = 0; i < 11; i++)
        sum = (uint8_t)((uint8_t)((sum & 1) << 7 | sum >> 1) + name[i]);
    return sum;
}

static void put_long_name(uint8_t *entry, const char *name, uint32_t part, bool last,
                          uint8_t checksum)
{
    static const uint8_t places[LONG_CHARS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    size_t length = strlen(name);
    entry[0] = (uint8_t)((part + 1) | (last ? 0x40 : 0));
    entry[11] = 0x0f;
    entry[13] = checksum;
    for (uint32_t i = 0; i < LONG_CHARS; i++) {
        size_t at = part * LONG_CHARS + i;
        uint32_t value = at < length ? (uint8_t)name[at] : at == length ? 0 : 0xffff;
        put16(entry + places[i], value);
    }
}

/* The entries of one file, long name first, at *entry. */
static void put_name(uint8_t **entry, uint32_t index, const struct vm_fat_file *file,
                     uint32_t cluster)
{
    char short_name[12];
    (void)snprintf(short_name, sizeof(short_name), "FILE%02u  DAT", (unsigned)index % 100);
    uint8_t checksum = short_checksum((const uint8_t *)short_name);
    uint32_t parts = (uint32_t)((strlen(file->name) + LONG_CHARS - 1) / LONG_CHARS);
    for (uint32_t part = parts; part-- > 0; *entry += ENTRY)
        put_long_name(*entry, file->name, part, part == parts - 1, checksum);
    uint8_t *e = *entry;
    memcpy(e, short_name, 11);
    e[11] = 0x01; /* read-only */
    put16(e + 16, DATE_2000);
    put16(e + 18, DATE_2000);
    put16(e + 24, DATE_2000);
    put16(e + 26, cluster);
    put32(e + 28, (uint32_t)file->bytes.size);
    *entry += ENTRY;
}

enum ppn_error vm_fat_build(uint8_t *image, const char *label, const struct vm_fat_file *files,
                            uint32_t count)
{
    size_t label_length = strlen(label);
    PPN_ASSERT(count <= VM_FAT_FILES_MAX && label_length <= 11);
    char padded[12] = "           ";
    memcpy(padded, label, label_length);
    memset(image, 0, VM_FAT_BYTES);
    put_boot_sector(image, padded);
    put_cluster(image, 0, 0xff8);
    put_cluster(image, 1, 0xfff);
    uint8_t *entry = image + ROOT_AT;
    memcpy(entry, padded, 11);
    entry[11] = 0x08; /* volume label */
    put16(entry + 24, DATE_2000);
    entry += ENTRY;
    uint32_t next = 2;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = files[i].bytes.size;
        PPN_ASSERT(strlen(files[i].name) <= VM_FAT_NAME_MAX);
        if (size > (size_t)(CLUSTERS + 2 - next) * SECTOR)
            return PPN_ERROR_TOO_BIG;
        put_name(&entry, i, &files[i], size > 0 ? next : 0);
        if (size > 0)
            memcpy(image + DATA_AT + (size_t)(next - 2) * SECTOR, files[i].bytes.data, size);
        for (size_t left = size; left > 0; next++) {
            bool last = left <= SECTOR;
            put_cluster(image, next, last ? 0xfff : next + 1);
            left = last ? 0 : left - SECTOR;
        }
    }
    PPN_ASSERT(next <= CLUSTERS + 2);
    return PPN_OK;
}
