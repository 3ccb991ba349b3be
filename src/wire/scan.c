// SPDX-License-Identifier: ISC
#include "wire/scan.h"

#include "base/assert.h"

/* One msgpack header: how many header bytes, then payload bytes, then child items. */
struct header {
    size_t size;
    uint64_t payload;
    uint64_t children;
    bool array;
};

static uint64_t big_endian(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The smallest value that needs `width` bytes, given what the next shorter form holds. */
static bool shortest(uint64_t value, size_t width, uint64_t fix_max)
{
    if (width == 1)
        return value > fix_max;
    return value >> (8 * (width / 2)) != 0;
}

/* Signed forms are for negative numbers only: msgpack-c packs others unsigned. */
static bool shortest_signed(uint64_t raw, size_t width)
{
    int64_t value = (int64_t)(raw << (64 - 8 * width)) >> (64 - 8 * width);
    if (value >= 0)
        return false;
    if (width == 1)
        return value < -32;
    return value < -((int64_t)1 << (8 * (width / 2) - 1));
}

static size_t number_width(uint8_t tag)
{
    return (size_t)1 << (tag & 3); /* cc..cf and d0..d3 */
}

/* Lengths in 1, 2 or 4 bytes: `first` is the tag of the shortest of them. */
static enum ppn_error length_header(struct ppn_slice bytes, uint8_t first, size_t shortest_width,
                                    uint64_t fix_max, bool minimal, struct header *header)
{
    size_t width = shortest_width << (bytes.data[0] - first);
    if (bytes.size < 1 + width)
        return PPN_ERROR_INVALID;
    uint64_t length = big_endian(bytes.data + 1, width);
    bool short_enough =
        width == shortest_width ? length > fix_max : shortest(length, width, fix_max);
    if (minimal && !short_enough)
        return PPN_ERROR_INVALID;
    header->size = 1 + width;
    if (header->array)
        header->children = length;
    else
        header->payload = length;
    return PPN_OK;
}

static enum ppn_error number_header(struct ppn_slice bytes, bool minimal, struct header *header)
{
    uint8_t tag = bytes.data[0];
    size_t width = number_width(tag);
    if (bytes.size < 1 + width)
        return PPN_ERROR_INVALID;
    uint64_t raw = big_endian(bytes.data + 1, width);
    if (minimal && !(tag < 0xd0 ? shortest(raw, width, 0x7f) : shortest_signed(raw, width)))
        return PPN_ERROR_INVALID;
    header->size = 1;
    header->payload = width;
    return PPN_OK;
}

static enum ppn_error read_header(struct ppn_slice bytes, bool minimal, struct header *header)
{
    uint8_t tag = bytes.data[0];
    *header = (struct header){.size = 1};
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return PPN_OK;
    if (tag >= 0x90 && tag <= 0x9f) {
        header->array = true;
        header->children = tag & 0x0f;
        return PPN_OK;
    }
    if (tag >= 0xa0 && tag <= 0xbf) {
        header->payload = tag & 0x1f;
        return PPN_OK;
    }
    if (tag >= 0xcc && tag <= 0xd3)
        return number_header(bytes, minimal, header);
    if (tag >= 0xc4 && tag <= 0xc6)
        /* bin has no form without a length byte, so a short bin8 is shortest. */
        return tag == 0xc4 ? length_header(bytes, 0xc4, 1, 0, false, header)
                           : length_header(bytes, 0xc4, 1, 0, minimal, header);
    if (tag >= 0xd9 && tag <= 0xdb)
        return length_header(bytes, 0xd9, 1, 0x1f, minimal, header);
    if (tag == 0xdc || tag == 0xdd) {
        header->array = true;
        return length_header(bytes, 0xdc, 2, 0x0f, minimal, header);
    }
    return PPN_ERROR_INVALID; /* map, float, extension, 0xc1 */
}

enum ppn_error wire_scan(struct ppn_slice bytes, const struct wire_scan_limits *limits,
                         size_t *length)
{
    PPN_ASSERT(limits->items_max <= WIRE_ITEMS_MAX && limits->depth_max <= WIRE_DEPTH_MAX);
    uint64_t open[WIRE_DEPTH_MAX + 1]; /* items still to come in each enclosing array */
    uint32_t depth = 0, items = 0;
    size_t at = 0;

    open[0] = 1;
    while (true) {
        while (depth > 0 && open[depth] == 0)
            depth--;
        if (depth == 0 && open[0] == 0)
            break;
        open[depth]--;
        if (++items > limits->items_max)
            return PPN_ERROR_TOO_BIG;
        if (at >= bytes.size)
            return PPN_ERROR_INVALID;
        struct header header;
        enum ppn_error error =
            read_header(ppn_slice(bytes.data + at, bytes.size - at), limits->minimal, &header);
        if (error)
            return error;
        at += header.size;
        /* A child takes at least one byte, so a count over the rest is a lie. */
        if (header.payload > bytes.size - at || header.children > bytes.size - at)
            return PPN_ERROR_INVALID;
        at += (size_t)header.payload;
        if (at > limits->bytes_max)
            return PPN_ERROR_TOO_BIG;
        if (header.array) {
            if (depth == limits->depth_max)
                return PPN_ERROR_TOO_BIG;
            open[++depth] = header.children;
        }
    }
    PPN_ASSERT(at <= bytes.size && at <= limits->bytes_max);
    *length = at;
    return PPN_OK;
}

enum ppn_error wire_scan_all(struct ppn_slice bytes, const struct wire_scan_limits *limits)
{
    size_t length = 0;
    if (bytes.size > limits->bytes_max)
        return PPN_ERROR_TOO_BIG;
    enum ppn_error error = wire_scan(bytes, limits, &length);
    if (error)
        return error;
    return length == bytes.size ? PPN_OK : PPN_ERROR_INVALID;
}
