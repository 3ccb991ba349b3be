// SPDX-License-Identifier: ISC
#include "wire/reader.h"

#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "wire/address.h"

/* For a cursor over bytes that the scan has passed. */
static const struct wire_scan_limits unlimited = {
    .bytes_max = SIZE_MAX, .items_max = WIRE_ITEMS_MAX, .depth_max = WIRE_DEPTH_MAX};

void wire_read_fail(struct wire_reader *reader, enum ppn_error error)
{
    PPN_ASSERT(error != PPN_OK);
    if (reader->error == PPN_OK)
        reader->error = error;
}

struct wire_reader wire_read_start(struct ppn_slice bytes, const struct wire_scan_limits *limits)
{
    struct wire_reader reader = {.data = bytes.data, .size = bytes.size};
    enum ppn_error error = wire_scan_all(bytes, limits);
    if (error)
        wire_read_fail(&reader, error);
    return reader;
}

enum ppn_error wire_read_finish(const struct wire_reader *reader)
{
    if (reader->error)
        return reader->error;
    return reader->at == reader->size ? PPN_OK : PPN_ERROR_INVALID;
}

/* The tag of the next item, or 0xc1 (never valid) when there is none. */
static uint8_t peek(struct wire_reader *reader)
{
    if (reader->error == PPN_OK && reader->at >= reader->size)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return reader->error ? 0xc1 : reader->data[reader->at];
}

/* Takes `width` bytes after the tag as a big-endian number. */
static uint64_t take_number(struct wire_reader *reader, size_t width)
{
    uint64_t value = 0;
    if (reader->size - reader->at < 1 + width) {
        wire_read_fail(reader, PPN_ERROR_INVALID);
        return 0;
    }
    reader->at++;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | reader->data[reader->at++];
    return value;
}

static uint32_t take_array(struct wire_reader *reader)
{
    uint8_t tag = peek(reader);
    if (tag >= 0x90 && tag <= 0x9f) {
        reader->at++;
        return tag & 0x0f;
    }
    if (tag == 0xdc)
        return (uint32_t)take_number(reader, 2);
    if (tag == 0xdd)
        return (uint32_t)take_number(reader, 4);
    wire_read_fail(reader, PPN_ERROR_INVALID);
    return 0;
}

struct wire_array wire_array_begin(struct wire_reader *reader, uint32_t fields)
{
    uint32_t count = take_array(reader);
    if (reader->error == PPN_OK && count < fields)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return (struct wire_array){.count = count, .taken = fields};
}

void wire_array_end(struct wire_reader *reader, struct wire_array array)
{
    for (uint32_t i = array.taken; i < array.count && reader->error == PPN_OK; i++)
        wire_read_skip(reader);
}

struct wire_array wire_message_begin(struct wire_reader *reader, uint32_t major, uint32_t fields)
{
    struct wire_array array = wire_array_begin(reader, 1);
    if (wire_read_uint(reader, UINT32_MAX) != major)
        wire_read_fail(reader, PPN_ERROR_VERSION);
    PPN_ASSERT(fields >= 1);
    wire_array_need(reader, &array, fields - 1);
    return array;
}

void wire_array_need(struct wire_reader *reader, struct wire_array *array, uint32_t more)
{
    array->taken += more;
    if (array->count < array->taken)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

bool wire_array_more(const struct wire_reader *reader, struct wire_array *array)
{
    if (reader->error != PPN_OK || array->taken >= array->count)
        return false;
    array->taken++;
    return true;
}

void wire_read_tuple(struct wire_reader *reader, uint32_t n)
{
    if (take_array(reader) != n)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

uint32_t wire_read_list(struct wire_reader *reader, uint32_t max)
{
    uint32_t count = take_array(reader);
    if (count > max)
        wire_read_fail(reader, PPN_ERROR_TOO_BIG);
    return reader->error ? 0 : count;
}

uint64_t wire_read_uint(struct wire_reader *reader, uint64_t max)
{
    uint8_t tag = peek(reader);
    uint64_t value = 0;
    if (tag <= 0x7f) {
        reader->at++;
        value = tag;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        value = take_number(reader, (size_t)1 << (tag - 0xcc));
    } else {
        wire_read_fail(reader, PPN_ERROR_INVALID);
    }
    if (value > max)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return reader->error ? 0 : value;
}

int64_t wire_read_int(struct wire_reader *reader)
{
    uint8_t tag = peek(reader);
    int64_t value;
    if (tag >= 0xe0) {
        reader->at++;
        value = (int8_t)tag;
    } else if (tag >= 0xd0 && tag <= 0xd3) {
        size_t width = (size_t)1 << (tag - 0xd0);
        unsigned shift = (unsigned)(64 - 8 * width);
        value = (int64_t)(take_number(reader, width) << shift) >> shift;
    } else {
        value = (int64_t)wire_read_uint(reader, INT64_MAX);
    }
    return reader->error ? 0 : value;
}

bool wire_read_bool(struct wire_reader *reader)
{
    uint8_t tag = peek(reader);
    if (tag == 0xc2 || tag == 0xc3)
        reader->at++;
    else
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return tag == 0xc3;
}

bool wire_read_nil(struct wire_reader *reader)
{
    if (peek(reader) != 0xc0)
        return false;
    reader->at++;
    return true;
}

struct ppn_slice wire_read_raw(struct wire_reader *reader)
{
    size_t length = 0;
    peek(reader);
    if (reader->error)
        return (struct ppn_slice){0};
    struct ppn_slice rest = ppn_slice(reader->data + reader->at, reader->size - reader->at);
    enum ppn_error error = wire_scan(rest, &unlimited, &length);
    if (error) {
        wire_read_fail(reader, error);
        return (struct ppn_slice){0};
    }
    reader->at += length;
    return ppn_slice(rest.data, length);
}

void wire_read_skip(struct wire_reader *reader)
{
    (void)wire_read_raw(reader);
}

/* Takes `size` payload bytes of a bin or str whose length was just read. */
static struct ppn_slice take_bytes(struct wire_reader *reader, uint64_t size)
{
    if (reader->error || size > reader->size - reader->at) {
        wire_read_fail(reader, PPN_ERROR_INVALID);
        return (struct ppn_slice){0};
    }
    struct ppn_slice bytes = ppn_slice(reader->data + reader->at, (size_t)size);
    reader->at += (size_t)size;
    return bytes;
}

struct ppn_slice wire_read_bin(struct wire_reader *reader, size_t min, size_t max)
{
    uint8_t tag = peek(reader);
    if (tag < 0xc4 || tag > 0xc6) {
        wire_read_fail(reader, PPN_ERROR_INVALID);
        return (struct ppn_slice){0};
    }
    struct ppn_slice bytes = take_bytes(reader, take_number(reader, (size_t)1 << (tag - 0xc4)));
    if (bytes.size > max)
        wire_read_fail(reader, PPN_ERROR_TOO_BIG);
    if (bytes.size < min)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return reader->error ? (struct ppn_slice){0} : bytes;
}

void wire_read_bytes(struct wire_reader *reader, uint8_t *to, size_t exact)
{
    struct ppn_slice bytes = wire_read_bin(reader, exact, exact);
    if (reader->error)
        memset(to, 0, exact);
    else if (exact > 0)
        memcpy(to, bytes.data, exact);
}

struct ppn_slice wire_read_str(struct wire_reader *reader, size_t max)
{
    uint8_t tag = peek(reader);
    uint64_t size = 0;
    if (tag >= 0xa0 && tag <= 0xbf) {
        reader->at++;
        size = tag & 0x1f;
    } else if (tag >= 0xd9 && tag <= 0xdb) {
        size = take_number(reader, (size_t)1 << (tag - 0xd9));
    } else {
        wire_read_fail(reader, PPN_ERROR_INVALID);
    }
    struct ppn_slice text = take_bytes(reader, size);
    if (text.size > max)
        wire_read_fail(reader, PPN_ERROR_TOO_BIG);
    return reader->error ? (struct ppn_slice){0} : text;
}

void wire_read_text(struct wire_reader *reader, char *to, size_t max)
{
    struct ppn_slice text = wire_read_str(reader, max);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            wire_read_fail(reader, PPN_ERROR_INVALID);
    if (reader->error)
        text.size = 0;
    if (text.size > 0)
        memcpy(to, text.data, text.size);
    to[text.size] = '\0';
}

void wire_read_name(struct wire_reader *reader, char to[static PPN_NAME_MAX + 1], bool empty)
{
    wire_read_text(reader, to, PPN_NAME_MAX);
    if (reader->error == PPN_OK && !(empty && to[0] == '\0') && !ppn_name_valid(to))
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

void wire_read_image_name(struct wire_reader *reader, char to[static PPN_NAME_MAX + 1], bool empty)
{
    wire_read_text(reader, to, PPN_NAME_MAX);
    if (reader->error == PPN_OK && !(empty && to[0] == '\0') && !ppn_image_name_valid(to))
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

void wire_read_labels(struct wire_reader *reader, struct ppn_label *labels, uint32_t *count)
{
    *count = wire_read_list(reader, PPN_LABELS_MAX);
    for (uint32_t i = 0; i < *count; i++) {
        wire_read_tuple(reader, 2);
        wire_read_name(reader, labels[i].key, false);
        wire_read_text(reader, labels[i].value, PPN_LABEL_VALUE_MAX);
        if (!ppn_label_value_valid(labels[i].value))
            wire_read_fail(reader, PPN_ERROR_INVALID);
    }
}

void wire_read_endpoint(struct wire_reader *reader, struct ppn_endpoint *endpoint)
{
    wire_read_tuple(reader, 2);
    struct ppn_slice address = wire_read_bin(reader, 4, 16);
    *endpoint = (struct ppn_endpoint){.port = (uint16_t)wire_read_uint(reader, UINT16_MAX)};
    if (reader->error)
        return;
    if (address.size == 16) {
        memcpy(endpoint->address, address.data, 16);
        if (memcmp(endpoint->address, wire_mapped_prefix, WIRE_MAPPED_PREFIX) == 0)
            wire_read_fail(reader, PPN_ERROR_INVALID); /* one form for one address */
    } else if (address.size == 4) {
        memcpy(endpoint->address, wire_mapped_prefix, WIRE_MAPPED_PREFIX);
        memcpy(endpoint->address + WIRE_MAPPED_PREFIX, address.data, 4);
    } else {
        wire_read_fail(reader, PPN_ERROR_INVALID);
    }
}
