// SPDX-License-Identifier: ISC
#include "store/store_batch.h"

#include <stdlib.h>

#include "base/assert.h"

/* put (1), table (1), key size (4), value size (4). */
enum { OPERATION_HEADER = 10, FIRST_CAPACITY = 512 };

_Static_assert(STORE_TABLE_COUNT <= UINT8_MAX, "a table is one byte");
_Static_assert((int)STORE_BATCH_MAX > (int)STORE_VALUE_MAX + (int)STORE_KEY_MAX + OPERATION_HEADER,
               "the largest value fits into a batch");
_Static_assert((int)STORE_QUEUE_MAX > (int)STORE_BATCH_MAX, "the largest batch fits the queue");

void store_batch_init(struct store_batch *batch)
{
    *batch = (struct store_batch){0};
}

void store_batch_free(struct store_batch *batch)
{
    free(batch->bytes);
    *batch = (struct store_batch){0};
}

static enum ppn_error reserve(struct store_batch *batch, size_t more)
{
    size_t wanted = batch->size + more;
    if (wanted > STORE_BATCH_MAX)
        return PPN_ERROR_TOO_BIG;
    if (wanted <= batch->capacity)
        return PPN_OK;
    size_t capacity = batch->capacity * 2 > wanted ? batch->capacity * 2 : wanted;
    capacity = capacity < FIRST_CAPACITY ? FIRST_CAPACITY : capacity;
    uint8_t *bytes = realloc(batch->bytes, capacity);
    if (!bytes)
        return PPN_ERROR_NO_MEMORY;
    batch->bytes = bytes;
    batch->capacity = capacity;
    return PPN_OK;
}

static void append(struct store_batch *batch, const struct store_operation *operation)
{
    PPN_ASSERT((int)operation->table >= 0 && operation->table < STORE_TABLE_COUNT);
    if (batch->error != PPN_OK)
        return;
    if (operation->key.size == 0)
        batch->error = PPN_ERROR_INVALID;
    else if (operation->key.size > STORE_KEY_MAX || operation->value.size > STORE_VALUE_MAX)
        batch->error = PPN_ERROR_TOO_BIG;
    else
        batch->error =
            reserve(batch, OPERATION_HEADER + operation->key.size + operation->value.size);
    if (batch->error != PPN_OK)
        return;
    struct ppn_writer writer =
        ppn_writer(batch->bytes + batch->size, batch->capacity - batch->size);
    ppn_write_u8(&writer, operation->put);
    ppn_write_u8(&writer, (uint8_t)operation->table);
    ppn_write_u32(&writer, (uint32_t)operation->key.size);
    ppn_write_u32(&writer, (uint32_t)operation->value.size);
    ppn_write(&writer, operation->key);
    ppn_write(&writer, operation->value);
    PPN_ASSERT(!writer.overflow);
    batch->size += writer.size;
    batch->count++;
}

void store_batch_put(struct store_batch *batch, enum store_table table, struct ppn_slice key,
                     struct ppn_slice value)
{
    append(batch, &(struct store_operation){true, table, key, value});
}

void store_batch_delete(struct store_batch *batch, enum store_table table, struct ppn_slice key)
{
    append(batch, &(struct store_operation){false, table, key, ppn_slice(NULL, 0)});
}

bool store_batch_next(const struct store_batch *batch, size_t *offset,
                      struct store_operation *operation)
{
    if (*offset == batch->size)
        return false;
    PPN_ASSERT(batch->size - *offset > OPERATION_HEADER);
    const uint8_t *at = batch->bytes + *offset;
    size_t key_size = ppn_read_u32(at + 2), value_size = ppn_read_u32(at + 6);
    *offset += OPERATION_HEADER + key_size + value_size;
    PPN_ASSERT(*offset <= batch->size);
    *operation = (struct store_operation){
        .put = at[0] != 0,
        .table = (enum store_table)at[1],
        .key = ppn_slice(at + OPERATION_HEADER, key_size),
        .value = ppn_slice(at + OPERATION_HEADER + key_size, value_size),
    };
    return true;
}
