// SPDX-License-Identifier: ISC
#pragma once

/* Borrowed bytes, and a writer into bytes that somebody else owns. Neither ever allocates. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct ppn_slice {
    const uint8_t *data;
    size_t size;
};

static inline struct ppn_slice ppn_slice(const void *data, size_t size)
{
    return (struct ppn_slice){data, size};
}

bool ppn_slice_equal(struct ppn_slice a, struct ppn_slice b);

/* Orders as memcmp does, a prefix before what it is a prefix of. */
int ppn_slice_compare(struct ppn_slice a, struct ppn_slice b);

/* Appends until full; once anything did not fit, `overflow` stays set and nothing more is added. */
struct ppn_writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool overflow;
};

static inline struct ppn_writer ppn_writer(void *data, size_t capacity)
{
    return (struct ppn_writer){data, capacity, 0, false};
}

void ppn_write(struct ppn_writer *writer, struct ppn_slice bytes);

static inline struct ppn_slice ppn_written(const struct ppn_writer *writer)
{
    return ppn_slice(writer->data, writer->size);
}

/* Fixed-width big-endian integers, for signed transcripts and store keys. */
void ppn_write_u8(struct ppn_writer *writer, uint8_t value);
void ppn_write_u32(struct ppn_writer *writer, uint32_t value);
void ppn_write_u64(struct ppn_writer *writer, uint64_t value);
uint32_t ppn_read_u32(const uint8_t bytes[static 4]);
uint64_t ppn_read_u64(const uint8_t bytes[static 8]);
