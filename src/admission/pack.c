// SPDX-License-Identifier: ISC
#include "admission/pack.h"

#include <string.h>

#include "base/assert.h"

struct admission_pack admission_pack_reader(struct ppn_slice bytes)
{
    return (struct admission_pack){.in = bytes, .error = PPN_OK};
}

struct admission_pack admission_pack_writer(struct ppn_writer *out)
{
    PPN_ASSERT(out != NULL);
    return (struct admission_pack){.out = out, .error = PPN_OK};
}

enum ppn_error admission_pack_end(const struct admission_pack *pack)
{
    if (pack->error != PPN_OK)
        return pack->error;
    if (pack->out != NULL)
        return pack->out->overflow ? PPN_ERROR_TOO_BIG : PPN_OK;
    return pack->at == pack->in.size ? PPN_OK : PPN_ERROR_INVALID;
}

void admission_pack_fail(struct admission_pack *pack, enum ppn_error error)
{
    if (pack->error == PPN_OK)
        pack->error = error;
}

/* Big-endian value of 1, 2, 4 or 8 bytes; 0 after an error. */
static uint64_t take(struct admission_pack *pack, uint32_t size)
{
    if (pack->error != PPN_OK || pack->in.size - pack->at < size) {
        admission_pack_fail(pack, PPN_ERROR_INVALID);
        return 0;
    }
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++)
        value = value << 8 | pack->in.data[pack->at++];
    return value;
}

static void put(struct admission_pack *pack, uint64_t value, uint32_t size)
{
    for (uint32_t i = size; i-- > 0;)
        ppn_write_u8(pack->out, (uint8_t)(value >> (8 * i)));
}

static void put_uint(struct admission_pack *pack, uint64_t value)
{
    if (value < 0x80) {
        put(pack, value, 1);
    } else if (value <= UINT8_MAX) {
        put(pack, 0xcc, 1);
        put(pack, value, 1);
    } else if (value <= UINT16_MAX) {
        put(pack, 0xcd, 1);
        put(pack, value, 2);
    } else if (value <= UINT32_MAX) {
        put(pack, 0xce, 1);
        put(pack, value, 4);
    } else {
        put(pack, 0xcf, 1);
        put(pack, value, 8);
    }
}

static uint64_t take_uint(struct admission_pack *pack)
{
    static const uint64_t least[] = {0x80, UINT8_MAX + 1u, UINT16_MAX + 1u, UINT32_MAX + 1ull};
    uint64_t head = take(pack, 1);
    if (head < 0x80)
        return head;
    if (head < 0xcc || head > 0xcf) {
        admission_pack_fail(pack, PPN_ERROR_INVALID);
        return 0;
    }
    uint64_t value = take(pack, 1u << (head - 0xcc));
    if (value < least[head - 0xcc])
        admission_pack_fail(pack, PPN_ERROR_INVALID);
    return value;
}

void admission_pack_count(struct admission_pack *pack, uint32_t *count, uint32_t min, uint32_t max)
{
    PPN_ASSERT(min <= max && max <= UINT16_MAX);
    if (pack->error == PPN_OK && pack->out != NULL) {
        if (*count < 16)
            put(pack, 0x90u | *count, 1);
        else {
            put(pack, 0xdc, 1);
            put(pack, *count, 2);
        }
    } else if (pack->error == PPN_OK) {
        uint64_t head = take(pack, 1);
        if (head >> 4 == 9)
            *count = head & 15;
        else if (head == 0xdc)
            *count = (uint32_t)take(pack, 2);
        if ((head >> 4 != 9 && head != 0xdc) || (head == 0xdc && *count < 16))
            admission_pack_fail(pack, PPN_ERROR_INVALID);
    }
    if (pack->error == PPN_OK && (*count < min || *count > max))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
    if (pack->error != PPN_OK && pack->out == NULL)
        *count = 0;
}

void admission_pack_array(struct admission_pack *pack, uint32_t count)
{
    uint32_t found = count;
    admission_pack_count(pack, &found, count, count);
}

void admission_pack_u64(struct admission_pack *pack, uint64_t *value, uint64_t min, uint64_t max)
{
    if (pack->error == PPN_OK && pack->out == NULL)
        *value = take_uint(pack);
    if (pack->error == PPN_OK && (*value < min || *value > max))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
    if (pack->error == PPN_OK && pack->out != NULL)
        put_uint(pack, *value);
}

void admission_pack_u32(struct admission_pack *pack, uint32_t *value, uint32_t min, uint32_t max)
{
    uint64_t wide = *value;
    admission_pack_u64(pack, &wide, min, max);
    *value = pack->error == PPN_OK ? (uint32_t)wide : *value;
}

void admission_pack_bool(struct admission_pack *pack, bool *value)
{
    uint32_t number = *value;
    admission_pack_u32(pack, &number, 0, 1);
    *value = number == 1;
}

void admission_pack_time(struct admission_pack *pack, int64_t *unix_ms)
{
    uint64_t wide = (uint64_t)*unix_ms;
    admission_pack_u64(pack, &wide, 0, INT64_MAX);
    *unix_ms = pack->error == PPN_OK ? (int64_t)wide : *unix_ms;
}

void admission_pack_bytes(struct admission_pack *pack, struct ppn_slice *bytes, uint32_t max)
{
    PPN_ASSERT(max <= UINT16_MAX);
    if (pack->error != PPN_OK)
        return;
    if (pack->out != NULL) {
        if (bytes->size > max) {
            admission_pack_fail(pack, PPN_ERROR_TOO_BIG);
            return;
        }
        bool small = bytes->size <= UINT8_MAX;
        put(pack, small ? 0xc4 : 0xc5, 1);
        put(pack, bytes->size, small ? 1 : 2);
        ppn_write(pack->out, *bytes);
        return;
    }
    uint64_t head = take(pack, 1);
    uint64_t size = head == 0xc4 ? take(pack, 1) : head == 0xc5 ? take(pack, 2) : UINT64_MAX;
    if (pack->error != PPN_OK || size > max || (head == 0xc5 && size <= UINT8_MAX) ||
        size > pack->in.size - pack->at) {
        admission_pack_fail(pack, PPN_ERROR_INVALID);
        return;
    }
    *bytes = ppn_slice(pack->in.data + pack->at, (size_t)size);
    pack->at += (size_t)size;
}

void admission_pack_fixed(struct admission_pack *pack, uint8_t *bytes, uint32_t size)
{
    struct ppn_slice slice = ppn_slice(bytes, size);
    admission_pack_bytes(pack, &slice, size);
    if (pack->error == PPN_OK && slice.size != size)
        admission_pack_fail(pack, PPN_ERROR_INVALID);
    if (pack->error == PPN_OK && pack->out == NULL)
        memcpy(bytes, slice.data, size);
}

void admission_pack_text(struct admission_pack *pack, char *text, uint32_t max)
{
    struct ppn_slice slice = ppn_slice(text, pack->out != NULL ? strnlen(text, max + 1) : 0);
    admission_pack_bytes(pack, &slice, max);
    if (pack->error != PPN_OK)
        return;
    for (size_t i = 0; i < slice.size; i++) {
        if (slice.data[i] < 0x20 || slice.data[i] > 0x7e) {
            admission_pack_fail(pack, PPN_ERROR_INVALID);
            return;
        }
    }
    if (pack->out == NULL) {
        memcpy(text, slice.data, slice.size);
        text[slice.size] = '\0';
    }
}
