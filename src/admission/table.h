// SPDX-License-Identifier: ISC
#pragma once

/* Memory and hash tables of the log; private to the folder. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

/* Zeroed memory. A log that cannot hold what was admitted must not act on half of it: when memory
 * ends the process ends here, and starts again from what is durable. Never NULL. */
void *admission_take(size_t count, size_t size);

/* Makes room for `needed` items of `size` bytes, doubling; new room is not zeroed. */
void admission_grow(void **items, uint32_t *capacity, uint32_t needed, size_t size);

/* Keyed 64-bit hashes to numbers. Several entries may share a hash: admission_table_next walks the
 * candidates and the caller compares the real keys. */
struct admission_slot {
    uint64_t hash;
    uint32_t value; /* 0: empty, else value + 1 */
};

struct admission_table {
    struct admission_slot *slots;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
};

void admission_table_add(struct admission_table *table, uint64_t hash, uint32_t value);

/* Removes the pair; it must be there. */
void admission_table_remove(struct admission_table *table, uint64_t hash, uint32_t value);
void admission_table_clear(struct admission_table *table);
void admission_table_free(struct admission_table *table);

/* *cursor starts at 0. False when no further candidate has this hash. */
bool admission_table_next(const struct admission_table *table, uint64_t hash, uint32_t *cursor,
                          uint32_t *value);
