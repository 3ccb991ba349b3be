// SPDX-License-Identifier: ISC
#include "store/store_env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "store/store_check.h"
#include "store/store_value.h"

enum { READERS_MAX = 16 };
_Static_assert((int)READERS_MAX > (int)STORE_READS_MAX, "nested reads have slots");

static enum ppn_error from_lmdb(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return PPN_OK;
    case MDB_NOTFOUND:
        return PPN_ERROR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return PPN_ERROR_NO_SPACE;
    case ENOMEM:
        return PPN_ERROR_NO_MEMORY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
        return PPN_ERROR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return PPN_ERROR_VERSION;
    case MDB_READERS_FULL:
        return PPN_ERROR_BUSY;
    case EACCES:
    case EPERM:
    case EROFS:
        return PPN_ERROR_PERMISSION;
    default:
        return PPN_ERROR_IO;
    }
}

static MDB_val to_val(struct ppn_slice slice)
{
    return (MDB_val){slice.size, (void *)(uintptr_t)slice.data};
}

static struct ppn_slice from_val(const MDB_val *val)
{
    return ppn_slice(val->mv_data, val->mv_size);
}

static int open_tables(struct store_env *env)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(env->env, NULL, 0, &txn);
    if (code != MDB_SUCCESS)
        return code;
    for (int table = 0; table < STORE_TABLE_COUNT && code == MDB_SUCCESS; table++)
        if (store_table_durable((enum store_table)table) == env->durable)
            code = mdb_dbi_open(txn, store_table_name((enum store_table)table), MDB_CREATE,
                                &env->tables[table]);
    if (code == MDB_SUCCESS)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

static enum ppn_error open_failure(const char *path, int code, struct ppn_failure *failure)
{
    enum ppn_error error = from_lmdb(code);
    if (error == PPN_ERROR_CORRUPT)
        return ppn_fail(failure, error,
                        "%s is damaged; restore it from a copy, or move it away to start anew",
                        path);
    return ppn_fail(failure, error, "cannot open the store in %s: %s", path, mdb_strerror(code));
}

/* A new database appears whole or not at all: what was cut short within its first two pages could
 * not be told from a damaged one, and would have to be moved away by hand. */
static enum ppn_error make_file(const char *directory, const char *path,
                                struct ppn_failure *failure)
{
    char fresh[OS_PATH_MAX];
    struct stat info;
    MDB_env *env;
    if (lstat(path, &info) == 0 || errno != ENOENT)
        return PPN_OK;
    enum ppn_error error = os_path_join(fresh, sizeof fresh, directory, "data.mdb.new");
    if (error != PPN_OK)
        return ppn_fail(failure, error, "the path of the state directory is too long");
    if (unlink(fresh) != 0 && errno != ENOENT)
        return open_failure(fresh, errno, failure);
    int code = mdb_env_create(&env);
    if (code != MDB_SUCCESS)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the store");
    /* Nobody else knows this name, so there is nothing to lock. */
    code = mdb_env_open(env, fresh, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (code == MDB_SUCCESS)
        code = mdb_env_sync(env, 1);
    mdb_env_close(env);
    if (code == MDB_SUCCESS && rename(fresh, path) != 0)
        code = errno;
    return code == MDB_SUCCESS ? os_directory_sync(directory, failure)
                               : open_failure(path, code, failure);
}

enum ppn_error store_env_open(struct store_env *env, const char *directory, bool durable,
                              uint64_t max_bytes, struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    int dead;
    *env = (struct store_env){.durable = durable};
    enum ppn_error error = os_directory_make(directory, 0700, failure);
    if (error == PPN_OK)
        error = os_path_join(path, sizeof path, directory, "data.mdb");
    if (error == PPN_OK)
        error = make_file(directory, path, failure);
    if (error == PPN_OK)
        error = store_check(directory, durable, max_bytes, failure);
    if (error != PPN_OK)
        return error;
    int code = mdb_env_create(&env->env);
    if (code != MDB_SUCCESS)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the store");
    mdb_env_set_maxdbs(env->env, STORE_TABLE_COUNT);
    mdb_env_set_maxreaders(env->env, READERS_MAX);
    code = mdb_env_set_mapsize(env->env, max_bytes);
    /* No thread-local readers: a read belongs to its transaction. No read-ahead: it would only pull
     * a large file into a small daemon's memory. */
    if (code == MDB_SUCCESS)
        code = mdb_env_open(env->env, directory, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (code == MDB_SUCCESS)
        code = mdb_reader_check(env->env, &dead); /* slots of a killed predecessor */
    if (code == MDB_SUCCESS)
        code = open_tables(env);
    if (code == MDB_SUCCESS)
        return PPN_OK;
    store_env_close(env);
    return open_failure(path, code, failure);
}

void store_env_close(struct store_env *env)
{
    if (env->env)
        mdb_env_close(env->env);
    env->env = NULL;
}

static int apply(struct store_env *env, MDB_txn *txn, const struct store_operation *operation)
{
    MDB_val key = to_val(operation->key);
    MDB_dbi table = env->tables[operation->table];
    PPN_ASSERT(store_table_durable(operation->table) == env->durable);
    if (!operation->put) {
        int code = mdb_del(txn, table, &key, NULL);
        return code == MDB_NOTFOUND ? MDB_SUCCESS : code;
    }
    MDB_val value = {STORE_VALUE_HEADER + operation->value.size, NULL};
    int code = mdb_put(txn, table, &key, &value, MDB_RESERVE);
    if (code == MDB_SUCCESS)
        store_value_seal(operation->table, operation->key, operation->value, value.mv_data);
    return code;
}

enum ppn_error store_env_commit(struct store_env *env, const struct store_batch *const *batches,
                                uint32_t count)
{
    MDB_txn *txn;
    struct store_operation operation;
    int code = mdb_txn_begin(env->env, NULL, 0, &txn);
    if (code != MDB_SUCCESS)
        return from_lmdb(code);
    for (uint32_t i = 0; i < count && code == MDB_SUCCESS; i++)
        for (size_t at = 0; code == MDB_SUCCESS && store_batch_next(batches[i], &at, &operation);)
            code = apply(env, txn, &operation);
    if (code == MDB_SUCCESS)
        return from_lmdb(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return from_lmdb(code);
}

enum ppn_error store_env_get(struct store_env *env, enum store_table table, struct ppn_slice key,
                             store_value_fn *fn, void *context)
{
    MDB_txn *txn;
    MDB_val name = to_val(key), sealed;
    struct ppn_slice value;
    int code = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn);
    if (code != MDB_SUCCESS)
        return from_lmdb(code);
    code = mdb_get(txn, env->tables[table], &name, &sealed);
    enum ppn_error error = from_lmdb(code);
    if (error == PPN_OK)
        error = store_value_open(table, key, from_val(&sealed), &value);
    if (error == PPN_OK)
        fn(context, value);
    mdb_txn_abort(txn);
    return error;
}

static bool starts_with(struct ppn_slice key, struct ppn_slice prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

enum ppn_error store_env_scan(struct store_env *env, enum store_table table,
                              struct ppn_slice prefix, store_scan_fn *fn, void *context,
                              uint64_t *damaged)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key = to_val(prefix), sealed;
    int code = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn);
    if (code != MDB_SUCCESS)
        return from_lmdb(code);
    code = mdb_cursor_open(txn, env->tables[table], &cursor);
    if (code != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return from_lmdb(code);
    }
    code = mdb_cursor_get(cursor, &key, &sealed, prefix.size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (code == MDB_SUCCESS && starts_with(from_val(&key), prefix)) {
        struct ppn_slice value;
        enum ppn_error error = store_value_open(table, from_val(&key), from_val(&sealed), &value);
        *damaged += error != PPN_OK;
        if (!fn(context, from_val(&key), value, error))
            break;
        code = mdb_cursor_get(cursor, &key, &sealed, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? PPN_OK : from_lmdb(code);
}

uint64_t store_env_bytes(const struct store_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(env->env, &info) != 0 || mdb_env_stat(env->env, &stat) != 0)
        return 0;
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}
