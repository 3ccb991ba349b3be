// SPDX-License-Identifier: ISC
#include "base/slice.h"

#include <string.h>

#include "base/assert.h"

bool ppn_slice_equal(struct ppn_slice a, struct ppn_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int ppn_slice_compare(struct ppn_slice a, struct ppn_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.size > b.size) - (a.size < b.size);
}

void ppn_write(struct ppn_writer *writer, struct ppn_slice bytes)
{
    PPN_ASSERT(writer->size <= writer->capacity);
    if (writer->overflow || bytes.size > writer->capacity - writer->size) {
        writer->overflow = true;
        return;
    }
    if (bytes.size > 0)
        memcpy(writer->data + writer->size, bytes.data, bytes.size);
    writer->size += bytes.size;
}

void ppn_write_u8(struct ppn_writer *writer, uint8_t value)
{
    ppn_write(writer, ppn_slice(&value, 1));
}

void ppn_write_u32(struct ppn_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
    ppn_write(writer, ppn_slice(bytes, sizeof(bytes)));
}

void ppn_write_u64(struct ppn_writer *writer, uint64_t value)
{
    ppn_write_u32(writer, (uint32_t)(value >> 32));
    ppn_write_u32(writer, (uint32_t)value);
}

uint32_t ppn_read_u32(const uint8_t bytes[static 4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t ppn_read_u64(const uint8_t bytes[static 8])
{
    return (uint64_t)ppn_read_u32(bytes) << 32 | ppn_read_u32(bytes + 4);
}
