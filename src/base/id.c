// SPDX-License-Identifier: ISC
#include "base/id.h"

#include <string.h>

#include "base/assert.h"

int ppn_node_id_compare(const struct ppn_node_id *a, const struct ppn_node_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool ppn_node_id_equal(const struct ppn_node_id *a, const struct ppn_node_id *b)
{
    return ppn_node_id_compare(a, b) == 0;
}

bool ppn_node_id_is_zero(const struct ppn_node_id *id)
{
    static const struct ppn_node_id zero;
    return ppn_node_id_equal(id, &zero);
}

int ppn_hash_compare(const struct ppn_hash *a, const struct ppn_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool ppn_hash_equal(const struct ppn_hash *a, const struct ppn_hash *b)
{
    return ppn_hash_compare(a, b) == 0;
}

bool ppn_hash_is_zero(const struct ppn_hash *hash)
{
    static const struct ppn_hash zero;
    return ppn_hash_equal(hash, &zero);
}

bool ppn_request_id_equal(const struct ppn_request_id *a, const struct ppn_request_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void ppn_hex(const uint8_t *bytes, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum ppn_error ppn_unhex(const char *text, uint8_t *bytes, size_t size)
{
    if (strlen(text) != 2 * size)
        return PPN_ERROR_INVALID;
    for (size_t i = 0; i < size; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return PPN_ERROR_INVALID;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    return PPN_OK;
}

void ppn_fingerprint(const struct ppn_node_id *id, char text[static PPN_FINGERPRINT_TEXT])
{
    for (size_t group = 0; group < 4; group++) {
        ppn_hex(id->bytes + 2 * group, 2, text + 5 * group);
        text[5 * group + 4] = group == 3 ? '\0' : '-';
    }
}

static const uint8_t uuid_groups[] = {4, 2, 2, 2, 6};

void ppn_request_id_text(const struct ppn_request_id *id, char text[static PPN_UUID_TEXT])
{
    size_t from = 0;
    char *to = text;
    for (size_t i = 0; i < sizeof(uuid_groups); i++) {
        ppn_hex(id->bytes + from, uuid_groups[i], to);
        from += uuid_groups[i];
        to += 2 * uuid_groups[i];
        *to++ = i + 1 == sizeof(uuid_groups) ? '\0' : '-';
    }
    PPN_ASSERT(to == text + PPN_UUID_TEXT);
}

enum ppn_error ppn_request_id_parse(const char *text, struct ppn_request_id *id)
{
    char hex[2 * PPN_REQUEST_ID_SIZE + 1];
    size_t size = 0;
    if (strlen(text) != PPN_UUID_TEXT - 1)
        return PPN_ERROR_INVALID;
    for (size_t i = 0; i < PPN_UUID_TEXT - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (text[i] == '-'))
            return PPN_ERROR_INVALID;
        if (!dash)
            hex[size++] = text[i];
    }
    hex[size] = '\0';
    return ppn_unhex(hex, id->bytes, sizeof(id->bytes));
}

struct ppn_request_id ppn_request_id_make(int64_t unix_ms, const uint8_t random[static 10])
{
    struct ppn_request_id id;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)((uint64_t)unix_ms >> (40 - 8 * i));
    memcpy(id.bytes + 6, random, 10);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x70);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

bool ppn_request_id_time(const struct ppn_request_id *id, int64_t *unix_ms)
{
    if (id->bytes[6] >> 4 != 7)
        return false;
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    *unix_ms = (int64_t)ms;
    return true;
}
