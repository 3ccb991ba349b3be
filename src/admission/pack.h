// SPDX-License-Identifier: ISC
#pragma once

/* The log's own canonical subset of msgpack: arrays, unsigned integers in their shortest form, and
 * bin. One description of a message serves both directions: each call writes the field when `out`
 * is set, else reads it and insists on the canonical bytes. The first error sticks; after it every
 * call does nothing. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct admission_pack {
    struct ppn_writer *out; /* NULL: reading */
    struct ppn_slice in;
    size_t at;
    enum ppn_error error;
};

struct admission_pack admission_pack_reader(struct ppn_slice bytes);
struct admission_pack admission_pack_writer(struct ppn_writer *out);

/* The final word: the first error, or TOO_BIG for an overflown writer, or INVALID for bytes left.
 */
enum ppn_error admission_pack_end(const struct admission_pack *pack) PPN_CHECK;
void admission_pack_fail(struct admission_pack *pack, enum ppn_error error);

/* An array of exactly `count` items follows. */
void admission_pack_array(struct admission_pack *pack, uint32_t count);

/* An array of min .. max items follows; the count is read or written. It is 0 after an error. */
void admission_pack_count(struct admission_pack *pack, uint32_t *count, uint32_t min, uint32_t max);
void admission_pack_u64(struct admission_pack *pack, uint64_t *value, uint64_t min, uint64_t max);
void admission_pack_u32(struct admission_pack *pack, uint32_t *value, uint32_t min, uint32_t max);
void admission_pack_bool(struct admission_pack *pack, bool *value);

/* Milliseconds since 1970, not before. */
void admission_pack_time(struct admission_pack *pack, int64_t *unix_ms);

/* Exactly `size` bytes. */
void admission_pack_fixed(struct admission_pack *pack, uint8_t *bytes, uint32_t size);

/* 0 .. max bytes of printable ASCII; text holds max + 1. */
void admission_pack_text(struct admission_pack *pack, char *text, uint32_t max);

/* Borrowed bytes, 0 .. max. */
void admission_pack_bytes(struct admission_pack *pack, struct ppn_slice *bytes, uint32_t max);
