// SPDX-License-Identifier: ISC
#include "wire/log.h"

#include "base/assert.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    LOG_MAJOR = 1,
    /* [3 fields] [major] [more] [array 16, count]: counts are filled in at the end, so they have
     * their two-byte form always. */
    BATCH_HEADER = 6,
    BATCH_MORE_AT = 2,
    BATCH_COUNT_AT = 4,
    ENTRY_OVERHEAD = 1 + 2 * 5
};

_Static_assert(BATCH_HEADER + ENTRY_OVERHEAD + WIRE_LOG_ENTRY_MAX + WIRE_LOG_SIGNATURES_MAX <=
                   WIRE_LOG_BATCH_MAX,
               "the largest entry fits an empty batch");
_Static_assert(WIRE_LOG_BATCH_ENTRIES_MAX <= UINT16_MAX, "the count has two bytes");

static const struct wire_scan_limits limits = {.bytes_max = WIRE_LOG_BATCH_MAX,
                                               .items_max = 8 * WIRE_LOG_BATCH_ENTRIES_MAX,
                                               .depth_max = WIRE_DEPTH_MAX};

void wire_log_batch_start(struct wire_log_batch *batch, struct ppn_writer *writer)
{
    static const uint8_t header[BATCH_HEADER] = {0x93, LOG_MAJOR, 0xc2, 0xdc, 0, 0};
    *batch = (struct wire_log_batch){.writer = writer, .start = writer->size};
    ppn_write(writer, ppn_slice(header, sizeof(header)));
}

bool wire_log_batch_add(struct wire_log_batch *batch, struct ppn_slice entry,
                        struct ppn_slice signatures)
{
    struct ppn_writer *writer = batch->writer;
    PPN_ASSERT(entry.size >= 1 && entry.size <= WIRE_LOG_ENTRY_MAX);
    PPN_ASSERT(signatures.size <= WIRE_LOG_SIGNATURES_MAX);
    size_t needed = ENTRY_OVERHEAD + entry.size + signatures.size;
    if (writer->overflow || batch->count == WIRE_LOG_BATCH_ENTRIES_MAX ||
        needed > writer->capacity - writer->size ||
        writer->size - batch->start + needed > WIRE_LOG_BATCH_MAX)
        return false;
    wire_pack_array(writer, 2);
    wire_pack_bin(writer, entry);
    wire_pack_bin(writer, signatures);
    batch->count++;
    return true;
}

enum ppn_error wire_log_batch_finish(struct wire_log_batch *batch, bool more)
{
    if (batch->writer->overflow)
        return PPN_ERROR_TOO_BIG;
    uint8_t *header = batch->writer->data + batch->start;
    header[BATCH_MORE_AT] = more ? 0xc3 : 0xc2;
    header[BATCH_COUNT_AT] = (uint8_t)(batch->count >> 8);
    header[BATCH_COUNT_AT + 1] = (uint8_t)batch->count;
    return PPN_OK;
}

static bool read_entry(struct wire_reader *reader, struct ppn_slice *entry,
                       struct ppn_slice *signatures)
{
    struct wire_array array = wire_array_begin(reader, 2);
    *entry = wire_read_bin(reader, 1, WIRE_LOG_ENTRY_MAX);
    *signatures = wire_read_bin(reader, 0, WIRE_LOG_SIGNATURES_MAX);
    wire_array_end(reader, array);
    return reader->error == PPN_OK;
}

/* Looks at every entry's shape, so that reading one after the other cannot fail. */
enum ppn_error wire_log_read_start(struct wire_log_reader *reader, struct ppn_slice bytes)
{
    struct ppn_slice entry, signatures;
    struct wire_reader cursor = wire_read_start(bytes, &limits);
    *reader = (struct wire_log_reader){.bytes = bytes};
    struct wire_array array = wire_message_begin(&cursor, LOG_MAJOR, 3);
    reader->more = wire_read_bool(&cursor);
    reader->left = wire_read_list(&cursor, WIRE_LOG_BATCH_ENTRIES_MAX);
    reader->at = cursor.at;
    for (uint32_t i = 0; i < reader->left; i++)
        if (!read_entry(&cursor, &entry, &signatures))
            break;
    wire_array_end(&cursor, array);
    enum ppn_error error = wire_read_finish(&cursor);
    if (error)
        reader->left = 0;
    return error;
}

bool wire_log_read_next(struct wire_log_reader *reader, struct ppn_slice *entry,
                        struct ppn_slice *signatures)
{
    if (reader->left == 0)
        return false;
    struct wire_reader cursor = {
        .data = reader->bytes.data, .size = reader->bytes.size, .at = reader->at};
    bool good = read_entry(&cursor, entry, signatures);
    PPN_ASSERT(good);
    reader->at = cursor.at;
    reader->left--;
    return true;
}
