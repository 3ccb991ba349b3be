// SPDX-License-Identifier: ISC
#include "store/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"

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
    PAGE_SIZE_MAX = 65536
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

static enum ppn_error check(int fd, const char *path, bool *doubtful, struct ppn_failure *failure)
{
    struct stat info;
    struct meta first, second;
    if (fstat(fd, &info) != 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot look at %s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)info.st_size;
    if (size == 0)
        return PPN_OK;
    if (!read_meta(fd, 0, &first) || !read_meta(fd, first.page_size, &second) ||
        second.page_size != first.page_size)
        return damaged(path, "it does not begin as a database does", failure);
    const struct meta *newest = second.transaction > first.transaction ? &second : &first;
    uint64_t wanted = (newest->last_page + 1) * newest->page_size;
    if (size >= wanted)
        return PPN_OK;
    *doubtful = true;
    if (ftruncate(fd, (off_t)wanted) != 0)
        return ppn_fail(failure, os_errno(errno), "cannot extend %s: %s", path, strerror(errno));
    return PPN_OK;
}

enum ppn_error store_check_file(const char *path, bool *doubtful, struct ppn_failure *failure)
{
    _Static_assert(sizeof(void *) == 8, "the offsets are those of a 64-bit machine");
    *doubtful = false;
    /* Before LMDB opens it: closing a second descriptor later would drop LMDB's locks. */
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return PPN_OK;
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot open %s: %s", path, strerror(errno));
    enum ppn_error error = check(fd, path, doubtful, failure);
    close(fd);
    return error;
}
