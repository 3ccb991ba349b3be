// SPDX-License-Identifier: ISC
#include "store/store_value.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

static const char *const names[STORE_TABLE_COUNT] = {
#define X(name, text, durable) text,
    STORE_TABLES(X)
#undef X
};

static const bool durables[STORE_TABLE_COUNT] = {
#define X(name, text, durable) durable,
    STORE_TABLES(X)
#undef X
};

const char *store_table_name(enum store_table table)
{
    PPN_ASSERT((int)table >= 0 && table < STORE_TABLE_COUNT);
    return names[table];
}

bool store_table_durable(enum store_table table)
{
    PPN_ASSERT((int)table >= 0 && table < STORE_TABLE_COUNT);
    return durables[table];
}

/* Table and key make the hash key for the value, so that a value found under another key fails. The
 * table counts by its name: the enumeration may be reordered. */
static uint64_t checksum(enum store_table table, struct ppn_slice key, struct ppn_slice value)
{
    const char *name = store_table_name(table);
    uint64_t table_hash =
        ppn_hash64((struct ppn_hash_key){STORE_FORMAT, 0}, ppn_slice(name, strlen(name)));
    struct ppn_hash_key derived = {
        .low = ppn_hash64((struct ppn_hash_key){table_hash, 1}, key),
        .high = ppn_hash64((struct ppn_hash_key){table_hash, 2}, key),
    };
    return ppn_hash64(derived, value);
}

void store_value_seal(enum store_table table, struct ppn_slice key, struct ppn_slice value,
                      uint8_t *sealed)
{
    struct ppn_writer writer = ppn_writer(sealed, STORE_VALUE_HEADER + value.size);
    ppn_write_u8(&writer, STORE_FORMAT);
    ppn_write_u64(&writer, checksum(table, key, value));
    ppn_write(&writer, value);
    PPN_ASSERT(!writer.overflow && writer.size == writer.capacity);
}

enum ppn_error store_value_open(enum store_table table, struct ppn_slice key,
                                struct ppn_slice sealed, struct ppn_slice *value)
{
    *value = ppn_slice(NULL, 0);
    if (sealed.size < STORE_VALUE_HEADER)
        return PPN_ERROR_CORRUPT;
    struct ppn_slice inner =
        ppn_slice(sealed.data + STORE_VALUE_HEADER, sealed.size - STORE_VALUE_HEADER);
    if (sealed.data[0] > STORE_FORMAT)
        return PPN_ERROR_VERSION;
    if (sealed.data[0] != STORE_FORMAT ||
        ppn_read_u64(sealed.data + 1) != checksum(table, key, inner))
        return PPN_ERROR_CORRUPT;
    *value = inner;
    return PPN_OK;
}
