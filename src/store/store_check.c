// SPDX-License-Identifier: ISC
#include "store/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "store/store_value.h"

/* The meta page of LMDB 0.9 (mdb.c, struct MDB_page and struct MDB_meta) on a 64-bit machine.
 * Fields are in the byte order of the machine. */
enum {
    PAGE_FLAGS = 10,
    PAGE_IS_META = 0x08,
    META_MAGIC = 16,
    META_VERSION = 20,
    META_PAGE_SIZE = 40, /* the first field of the free-list table */
    META_LAST_PAGE = 136,
    META_TRANSACTION = 144,
    META_SIZE = 152,
    VERSION_1 = 1,
    PAGE_SIZE_MIN = 512,
    PAGE_SIZE_MAX = 65536,
    RECORD_SIZE_MIN = 11, /* index, header, one byte of key */
    VISIT_CPU_S = 10
};
#define MAGIC 0xBEEFC0DEU

struct meta {
    uint32_t page_size;
    uint64_t last_page, transaction;
};

static bool read_meta(int fd, uint64_t offset, struct meta *meta)
{
    uint8_t bytes[META_SIZE];
    uint16_t flags;
    uint32_t magic, version;
    if (pread(fd, bytes, sizeof bytes, (off_t)offset) != (ssize_t)sizeof bytes)
        return false;
    memcpy(&flags, bytes + PAGE_FLAGS, sizeof flags);
    memcpy(&magic, bytes + META_MAGIC, sizeof magic);
    memcpy(&version, bytes + META_VERSION, sizeof version);
    memcpy(&meta->page_size, bytes + META_PAGE_SIZE, sizeof meta->page_size);
    memcpy(&meta->last_page, bytes + META_LAST_PAGE, sizeof meta->last_page);
    memcpy(&meta->transaction, bytes + META_TRANSACTION, sizeof meta->transaction);
    bool power_of_two = (meta->page_size & (meta->page_size - 1)) == 0;
    return (flags & PAGE_IS_META) && magic == MAGIC && version == VERSION_1 && power_of_two &&
           meta->page_size >= PAGE_SIZE_MIN && meta->page_size <= PAGE_SIZE_MAX &&
           meta->last_page < (UINT64_C(1) << 40);
}

static enum ppn_error damaged(const char *path, const char *why, struct ppn_failure *failure)
{
    return ppn_fail(failure, PPN_ERROR_CORRUPT,
                    "%s is damaged: %s; restore it from a copy, or move it away to start anew",
                    path, why);
}

/* *filled: there is something to visit. */
static enum ppn_error check_metas(int fd, const char *path, uint64_t max_bytes, bool *filled,
                                  struct ppn_failure *failure)
{
    struct stat info;
    struct meta first, second;
    if (fstat(fd, &info) != 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot look at %s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)info.st_size;
    *filled = size > 0;
    if (size == 0)
        return PPN_OK;
    if (!read_meta(fd, 0, &first) || !read_meta(fd, first.page_size, &second) ||
        second.page_size != first.page_size)
        return damaged(path, "it does not begin as a database does", failure);
    const struct meta *newest = second.transaction > first.transaction ? &second : &first;
    uint64_t wanted = (newest->last_page + 1) * newest->page_size;
    if (wanted > size && wanted > max_bytes)
        return damaged(path, "it says that it is larger than it may be", failure);
    if (wanted > size && ftruncate(fd, (off_t)wanted) != 0)
        return ppn_fail(failure, os_errno(errno), "cannot extend %s: %s", path, strerror(errno));
    return PPN_OK;
}

/* A record of the free list: a count, then so many page numbers in falling order. */
static bool free_list_record_sound(const MDB_val *value, uint64_t last_page)
{
    const uint8_t *bytes = value->mv_data;
    uint64_t count, page, before = last_page + 1;
    if (value->mv_size < sizeof count || value->mv_size % sizeof page != 0)
        return false;
    memcpy(&count, bytes, sizeof count);
    if (count > value->mv_size / sizeof page - 1)
        return false;
    for (uint64_t i = 1; i <= count; i++) {
        memcpy(&page, bytes + i * sizeof page, sizeof page);
        if (page < 2 || page >= before)
            return false;
        before = page;
    }
    return true;
}

static bool known_table(const MDB_val *name, bool durable)
{
    for (int table = 0; table < STORE_TABLE_COUNT; table++) {
        const char *known = store_table_name((enum store_table)table);
        if (store_table_durable((enum store_table)table) == durable &&
            name->mv_size == strlen(known) && memcmp(name->mv_data, known, name->mv_size) == 0)
            return true;
    }
    return false;
}

/* LMDB's own numbers of its free list and of its table of tables. */
enum { FREE_LIST = 0, TABLES = 1 };

/* Walks a table; it must hold exactly as many records as it says. */
static bool visit(MDB_txn *txn, MDB_dbi table, uint64_t last_page, bool durable)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat stat;
    volatile uint8_t touched = 0;
    int code;
    uint64_t count = 0;
    if (mdb_stat(txn, table, &stat) != MDB_SUCCESS ||
        mdb_cursor_open(txn, table, &cursor) != MDB_SUCCESS)
        return false;
    /* More records than bytes / their least size: the pages form a ring. */
    uint64_t most = (last_page + 1) * stat.ms_psize / RECORD_SIZE_MIN;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        const uint8_t *bytes = value.mv_data;
        if (++count > stat.ms_entries || count > most ||
            (table == FREE_LIST && !free_list_record_sound(&value, last_page)) ||
            (table == TABLES && !known_table(&key, durable)))
            return false;
        if (value.mv_size > 0)
            touched = (uint8_t)(touched ^ bytes[0] ^ bytes[value.mv_size - 1]);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND && count == stat.ms_entries;
}

/* In the child. */
static bool visit_all(const char *directory, bool durable, uint64_t max_bytes)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_envinfo info;
    if (mdb_env_create(&env) != MDB_SUCCESS ||
        mdb_env_set_maxdbs(env, STORE_TABLE_COUNT) != MDB_SUCCESS ||
        mdb_env_set_mapsize(env, max_bytes) != MDB_SUCCESS ||
        mdb_env_open(env, directory, MDB_RDONLY | MDB_NOLOCK, 0600) != MDB_SUCCESS ||
        mdb_env_info(env, &info) != MDB_SUCCESS ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS)
        return false;
    bool sound = visit(txn, FREE_LIST, info.me_last_pgno, durable) &&
                 visit(txn, TABLES, info.me_last_pgno, durable);
    for (int table = 0; table < STORE_TABLE_COUNT && sound; table++) {
        MDB_dbi handle;
        if (store_table_durable((enum store_table)table) != durable)
            continue;
        int code = mdb_dbi_open(txn, store_table_name((enum store_table)table), 0, &handle);
        sound = code == MDB_SUCCESS ? visit(txn, handle, info.me_last_pgno, durable)
                                    : code == MDB_NOTFOUND;
    }
    return sound;
}

_Noreturn static void visit_in_child(const char *directory, bool durable, uint64_t max_bytes)
{
    static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM};
    /* Damage may also be a ring of pages: this much computing is no honest visit any more. */
    struct rlimit cpu = {VISIT_CPU_S, VISIT_CPU_S}, core = {0, 0};
    for (size_t i = 0; i < sizeof fatal_signals / sizeof fatal_signals[0]; i++)
        signal(fatal_signals[i], SIG_DFL);
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO); /* LMDB's assertions */
    _exit(visit_all(directory, durable, max_bytes) ? 0 : 1);
}

static enum ppn_error check_pages(const char *directory, const char *path, bool durable,
                                  uint64_t max_bytes, struct ppn_failure *failure)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        visit_in_child(directory, durable, max_bytes);
    if (pid < 0)
        return ppn_fail(failure, os_errno(errno), "cannot check %s: %s", path, strerror(errno));
    while (waitpid(pid, &status, 0) < 0)
        PPN_ASSERT(errno == EINTR);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return PPN_OK;
    return damaged(path, "its pages do not fit together", failure);
}

enum ppn_error store_check(const char *directory, bool durable, uint64_t max_bytes,
                           struct ppn_failure *failure)
{
    _Static_assert(sizeof(void *) == 8, "the offsets are those of a 64-bit machine");
    char path[OS_PATH_MAX];
    bool filled = false;
    enum ppn_error error = os_path_join(path, sizeof path, directory, "data.mdb");
    if (error != PPN_OK)
        return ppn_fail(failure, error, "the path of the state directory is too long");
    /* Closed before LMDB opens the file: closing a second descriptor later would drop its locks. */
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return PPN_OK;
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot open %s: %s", path, strerror(errno));
    error = check_metas(fd, path, max_bytes, &filled, failure);
    close(fd);
    if (error == PPN_OK && filled)
        error = check_pages(directory, path, durable, max_bytes, failure);
    return error;
}
