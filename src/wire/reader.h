// SPDX-License-Identifier: ISC
#pragma once

/* A cursor over msgpack bytes. Each call takes the next item or fails; the first failure stays in
 * `error` and every later call does nothing and gives zero, so a decoder reads a whole message and
 * looks at the error once. Nothing is allocated; "borrow" calls give slices of the input, "copy"
 * calls fill fields of the caller.
 *
 * Versioned arrays: every struct is an array whose first fields never change meaning. A newer minor
 * version appends fields; wire_array_begin accepts more fields than it knows and wire_array_end
 * skips them. An array that is too short is malformed. */

#include "base/facts.h"
#include "base/id.h"
#include "base/slice.h"
#include "wire/scan.h"

struct wire_reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    enum ppn_error error;
};

/* An open array: how many of its items the decoder has not taken yet is known at its end. */
struct wire_array {
    uint32_t count; /* as the bytes say */
    uint32_t taken; /* fields that the decoder reads */
};

/* Scans first (wire_scan_all), so the cursor never meets truncated bytes inside one message. */
struct wire_reader wire_read_start(struct ppn_slice bytes, const struct wire_scan_limits *limits);

/* PPN_OK, or the first failure; PPN_ERROR_INVALID also when bytes are left over. */
enum ppn_error wire_read_finish(const struct wire_reader *reader) PPN_CHECK;

/* An array with at least `fields` items, all of which the caller then reads. Close it. */
struct wire_array wire_array_begin(struct wire_reader *reader, uint32_t fields);
void wire_array_end(struct wire_reader *reader, struct wire_array array);

/* A top-level array: its first field is the major version, another one than ours is
 * PPN_ERROR_VERSION whatever else the array holds. The version counts among `fields`. */
struct wire_array wire_message_begin(struct wire_reader *reader, uint32_t major, uint32_t fields);

/* `more` further fields are read, once the ones before them told how many. */
void wire_array_need(struct wire_reader *reader, struct wire_array *array, uint32_t more);

/* Whether the array has one more field, which is then to be read: one that older writers left out.
 * Ask in the order of the fields. */
bool wire_array_more(const struct wire_reader *reader, struct wire_array *array);

/* An array of exactly n items. */
void wire_read_tuple(struct wire_reader *reader, uint32_t n);

/* A list: 0..max items; more is PPN_ERROR_TOO_BIG. */
uint32_t wire_read_list(struct wire_reader *reader, uint32_t max);

/* 0..max; more is PPN_ERROR_INVALID. */
uint64_t wire_read_uint(struct wire_reader *reader, uint64_t max);
int64_t wire_read_int(struct wire_reader *reader); /* whole int64 range */
bool wire_read_bool(struct wire_reader *reader);

/* Takes a nil when one is next, and says so; anything else stays. */
bool wire_read_nil(struct wire_reader *reader);
void wire_read_skip(struct wire_reader *reader);

/* bin of min..max bytes; outside is PPN_ERROR_TOO_BIG or PPN_ERROR_INVALID. Borrowed. */
struct ppn_slice wire_read_bin(struct wire_reader *reader, size_t min, size_t max);
void wire_read_bytes(struct wire_reader *reader, uint8_t *to, size_t exact);

/* str of 0..max bytes. Borrowed, not terminated. */
struct ppn_slice wire_read_str(struct wire_reader *reader, size_t max);

/* str of printable ASCII (0x20..0x7e) into char[max + 1], terminated; else PPN_ERROR_INVALID. Texts
 * end up in terminals and in JSON, so no other byte passes. */
void wire_read_text(struct wire_reader *reader, char *to, size_t max);

/* str that passes ppn_name_valid / ppn_image_name_valid; or, with `empty`, "". */
void wire_read_name(struct wire_reader *reader, char to[static PPN_NAME_MAX + 1], bool empty);
void wire_read_image_name(struct wire_reader *reader, char to[static PPN_NAME_MAX + 1], bool empty);

void wire_read_labels(struct wire_reader *reader, struct ppn_label *labels, uint32_t *count);

/* [address, port]: bin of 4 (IPv4) or 16 bytes. */
void wire_read_endpoint(struct wire_reader *reader, struct ppn_endpoint *endpoint);

/* The next whole item as raw bytes, for a later decoder or for storing as received. Borrowed. */
struct ppn_slice wire_read_raw(struct wire_reader *reader);

void wire_read_fail(struct wire_reader *reader, enum ppn_error error);
