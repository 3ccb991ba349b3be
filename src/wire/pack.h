// SPDX-License-Identifier: ISC
#pragma once

/* msgpack-c's packer over a bounded writer. Packing never fails by itself: what does not fit sets
 * the writer's overflow, which the encoder turns into PPN_ERROR_TOO_BIG at its end. The packed form
 * is the shortest one, so equal structs give equal bytes. */

#include "base/facts.h"
#include "base/id.h"
#include "base/slice.h"

/* Worst-case packed sizes, for limits that are proven by addition. */
enum {
    WIRE_SIZE_UINT = 9,
    WIRE_SIZE_U32 = 5,
    WIRE_SIZE_U16 = 3,
    WIRE_SIZE_U8 = 2,
    WIRE_SIZE_BOOL = 1,
    WIRE_SIZE_BIN16 = 2 + 16,
    WIRE_SIZE_BIN32 = 2 + 32,
    WIRE_SIZE_SIGNATURE = 2 + 64,
    WIRE_SIZE_NAME = 2 + PPN_NAME_MAX,
    WIRE_SIZE_ENDPOINT = 1 + WIRE_SIZE_BIN16 + WIRE_SIZE_U16,
    WIRE_SIZE_LABELS = 3 + PPN_LABELS_MAX * (1 + 2 * WIRE_SIZE_NAME)
};

void wire_pack_array(struct ppn_writer *writer, uint32_t count);
void wire_pack_uint(struct ppn_writer *writer, uint64_t value);
void wire_pack_int(struct ppn_writer *writer, int64_t value);
void wire_pack_bool(struct ppn_writer *writer, bool value);
void wire_pack_nil(struct ppn_writer *writer);
void wire_pack_bin(struct ppn_writer *writer, struct ppn_slice bytes);
void wire_pack_bytes(struct ppn_writer *writer, const uint8_t *bytes, size_t size);
void wire_pack_text(struct ppn_writer *writer, const char *text);
void wire_pack_str(struct ppn_writer *writer, struct ppn_slice text);

/* At most max bytes of it, others than printable ASCII as '?': what wire_read_text accepts. */
void wire_pack_printable(struct ppn_writer *writer, const char *text, size_t max);

/* Asserts count <= PPN_LABELS_MAX; false when one is not valid (nothing is promised of the bytes
 * then). */
bool wire_pack_labels(struct ppn_writer *writer, const struct ppn_label *labels,
                      uint32_t count) PPN_CHECK;

/* IPv4-mapped addresses are packed as 4 bytes. */
void wire_pack_endpoint(struct ppn_writer *writer, const struct ppn_endpoint *endpoint);

/* PPN_OK, or PPN_ERROR_TOO_BIG when something did not fit. */
enum ppn_error wire_pack_finish(const struct ppn_writer *writer) PPN_CHECK;
