// SPDX-License-Identifier: ISC
#pragma once

/* One LMDB environment: opened once per process, written by one thread at a time, read by short
 * transactions. The map is as large as the limit from the start: it costs address space only, the
 * file grows by use, and the map never has to be resized under a reader. */

#include <lmdb.h>

#include "store/store.h"
#include "store/store_batch.h"

struct store_env {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLE_COUNT]; /* only those of this environment are set */
    bool durable;
};

/* Checks the file, then opens it and its tables. CORRUPT when it is damaged. */
enum ppn_error store_env_open(struct store_env *env, const char *directory, bool durable,
                              uint64_t max_bytes, struct ppn_failure *failure) PPN_CHECK;
void store_env_close(struct store_env *env);

/* Applies all batches in one synced transaction: all or nothing. NO_SPACE: nothing changed and
 * later ones may succeed. IO: what the disk holds is unknown. */
enum ppn_error store_env_commit(struct store_env *env, const struct store_batch *const *batches,
                                uint32_t count) PPN_CHECK;

enum ppn_error store_env_get(struct store_env *env, enum store_table table, struct ppn_slice key,
                             store_value_fn *fn, void *context) PPN_CHECK;
/* *damaged counts the values that came as errors. */
enum ppn_error store_env_scan(struct store_env *env, enum store_table table,
                              struct ppn_slice prefix, store_scan_fn *fn, void *context,
                              uint64_t *damaged) PPN_CHECK;
uint64_t store_env_bytes(const struct store_env *env);
