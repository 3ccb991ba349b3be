// SPDX-License-Identifier: ISC
#include "admission/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void *admission_take(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);
    PPN_ASSERT(memory != NULL);
    return memory;
}

void admission_grow(void **items, uint32_t *capacity, uint32_t needed, size_t size)
{
    if (needed <= *capacity)
        return;
    uint32_t room = *capacity < 8 ? 8 : *capacity;
    while (room < needed)
        room *= 2;
    void *grown = realloc(*items, room * size);
    PPN_ASSERT(grown != NULL);
    *items = grown;
    *capacity = room;
}

static void place(struct admission_table *table, uint64_t hash, uint32_t stored)
{
    uint32_t mask = table->capacity - 1;
    uint32_t at = (uint32_t)hash & mask;
    while (table->slots[at].value != 0)
        at = (at + 1) & mask;
    table->slots[at] = (struct admission_slot){hash, stored};
}

void admission_table_add(struct admission_table *table, uint64_t hash, uint32_t value)
{
    PPN_ASSERT(value < UINT32_MAX);
    if ((table->count + 1) * 4 > table->capacity * 3) {
        struct admission_table grown = {.capacity = table->capacity == 0 ? 16 : table->capacity * 2,
                                        .count = table->count};
        grown.slots = admission_take(grown.capacity, sizeof *grown.slots);
        for (uint32_t i = 0; i < table->capacity; i++) {
            if (table->slots[i].value != 0)
                place(&grown, table->slots[i].hash, table->slots[i].value);
        }
        free(table->slots);
        *table = grown;
    }
    place(table, hash, value + 1);
    table->count++;
}

/* Backward shift (Knuth, 6.4, algorithm R): no tombstones to clean up. */
void admission_table_remove(struct admission_table *table, uint64_t hash, uint32_t value)
{
    PPN_ASSERT(table->count > 0);
    uint32_t mask = table->capacity - 1;
    uint32_t hole = (uint32_t)hash & mask;
    while (table->slots[hole].value != value + 1 || table->slots[hole].hash != hash) {
        PPN_ASSERT(table->slots[hole].value != 0);
        hole = (hole + 1) & mask;
    }
    for (uint32_t at = (hole + 1) & mask; table->slots[at].value != 0; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)table->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].value = 0;
    table->count--;
}

void admission_table_clear(struct admission_table *table)
{
    if (table->capacity > 0)
        memset(table->slots, 0, table->capacity * sizeof *table->slots);
    table->count = 0;
}

void admission_table_free(struct admission_table *table)
{
    free(table->slots);
    *table = (struct admission_table){0};
}

bool admission_table_next(const struct admission_table *table, uint64_t hash, uint32_t *cursor,
                          uint32_t *value)
{
    if (table->capacity == 0)
        return false;
    uint32_t mask = table->capacity - 1;
    for (; *cursor < table->capacity; (*cursor)++) {
        const struct admission_slot *slot = &table->slots[((uint32_t)hash + *cursor) & mask];
        if (slot->value == 0)
            return false;
        if (slot->hash == hash) {
            *value = slot->value - 1;
            (*cursor)++;
            return true;
        }
    }
    return false;
}
