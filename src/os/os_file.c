// SPDX-License-Identifier: ISC
#include "os/os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_random.h"

enum ppn_error os_errno(int number)
{
    switch (number) {
    case 0:
        return PPN_OK;
    case ENOSPC:
    case EDQUOT:
        return PPN_ERROR_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return PPN_ERROR_PERMISSION;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
    case EADDRNOTAVAIL:
        return PPN_ERROR_NOT_FOUND;
    case EEXIST:
    case EADDRINUSE:
        return PPN_ERROR_EXISTS;
    case ENOMEM:
        return PPN_ERROR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return PPN_ERROR_FULL;
    case EAGAIN:
    case EBUSY:
        return PPN_ERROR_BUSY;
    case ECONNREFUSED:
        return PPN_ERROR_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
        return PPN_ERROR_UNREACHABLE;
    case ETIMEDOUT:
        return PPN_ERROR_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
        return PPN_ERROR_CLOSED;
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case EOPNOTSUPP:
    case ENOSYS:
        return PPN_ERROR_UNSUPPORTED;
    case ENAMETOOLONG:
    case EFBIG:
        return PPN_ERROR_TOO_BIG;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EXDEV:
        return PPN_ERROR_INVALID;
    default:
        return PPN_ERROR_IO;
    }
}

/* "cannot VERB PATH: why", from errno. */
static enum ppn_error fail_path(struct ppn_failure *failure, const char *verb, const char *path)
{
    int number = errno;
    return ppn_fail(failure, os_errno(number), "cannot %s %s: %s", verb, path, strerror(number));
}

enum ppn_error os_path_join(char *path, size_t capacity, const char *directory, const char *name)
{
    int size = snprintf(path, capacity, "%s/%s", directory, name);
    return size > 0 && (size_t)size < capacity ? PPN_OK : PPN_ERROR_TOO_BIG;
}

/* Reads to the end of the file, at most capacity bytes. */
static ssize_t read_all(int fd, uint8_t *bytes, size_t capacity)
{
    size_t size = 0;
    while (size < capacity) {
        ssize_t got = read(fd, bytes + size, capacity - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

static bool write_all(int fd, struct ppn_slice bytes)
{
    while (bytes.size > 0) {
        ssize_t put = write(fd, bytes.data, bytes.size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes = ppn_slice(bytes.data + put, bytes.size - (size_t)put);
    }
    return true;
}

/* Grows as needed, because files of /proc say that their size is zero. */
static enum ppn_error read_growing(int fd, const char *path, size_t max, uint8_t **out,
                                   size_t *out_size, struct ppn_failure *failure)
{
    size_t capacity = 0, size = 0;
    uint8_t *bytes = NULL;
    struct stat info;
    size_t first = fstat(fd, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size + 2 : 4096;
    for (size_t next = first;; next = capacity * 2) {
        next = next > max + 2 ? max + 2 : next; /* one to see that it is too big, one for NUL */
        uint8_t *grown = realloc(bytes, next);
        if (!grown) {
            free(bytes);
            return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory to read %s", path);
        }
        bytes = grown;
        capacity = next;
        ssize_t got = read_all(fd, bytes + size, capacity - 1 - size);
        if (got < 0) {
            enum ppn_error error = fail_path(failure, "read", path);
            free(bytes);
            return error;
        }
        size += (size_t)got;
        if (size < capacity - 1)
            break;
        if (size > max) {
            free(bytes);
            return ppn_fail(failure, PPN_ERROR_TOO_BIG, "%s is larger than %zu bytes", path, max);
        }
    }
    bytes[size] = 0;
    *out = bytes;
    *out_size = size;
    return PPN_OK;
}

enum ppn_error os_file_read(const char *path, size_t max, uint8_t **bytes, size_t *size,
                            struct ppn_failure *failure)
{
    *bytes = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_path(failure, "open", path);
    enum ppn_error error = read_growing(fd, path, max, bytes, size, failure);
    close(fd);
    return error;
}

enum ppn_error os_file_read_text(const char *path, char *text, size_t capacity)
{
    PPN_ASSERT(capacity > 0);
    text[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return os_errno(errno);
    ssize_t size = read_all(fd, (uint8_t *)text, capacity);
    enum ppn_error error = size < 0 ? os_errno(errno) : PPN_OK;
    close(fd);
    if (size == (ssize_t)capacity) {
        text[0] = 0;
        return PPN_ERROR_TOO_BIG;
    }
    if (error != PPN_OK)
        return error;
    text[size] = 0;
    if (size > 0 && text[size - 1] == '\n')
        text[size - 1] = 0;
    return PPN_OK;
}

static enum ppn_error sync_parent(const char *path, struct ppn_failure *failure)
{
    char parent[OS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    PPN_ASSERT(length < sizeof parent - 1);
    if (slash)
        memcpy(parent, path, length > 0 ? length : 1);
    else
        parent[0] = '.';
    parent[length > 0 ? length : 1] = 0;
    return os_directory_sync(parent, failure);
}

enum ppn_error os_file_replace(const char *path, struct ppn_slice bytes, mode_t mode,
                               struct ppn_failure *failure)
{
    char temporary[OS_PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.%016llx.new", path,
                          (unsigned long long)os_random_u64());
    if (length < 0 || (size_t)length >= sizeof temporary)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path %.100s... is too long", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return fail_path(failure, "make", temporary);
    enum ppn_error error = PPN_OK;
    if (fchmod(fd, mode) != 0 || !write_all(fd, bytes) || fsync(fd) != 0)
        error = fail_path(failure, "write", temporary);
    if (close(fd) != 0 && error == PPN_OK)
        error = fail_path(failure, "write", temporary);
    if (error == PPN_OK && rename(temporary, path) != 0)
        error = fail_path(failure, "replace", path);
    if (error != PPN_OK) {
        unlink(temporary);
        return error;
    }
    return sync_parent(path, failure);
}

enum ppn_error os_file_write_control(const char *path, const char *text,
                                     struct ppn_failure *failure)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_path(failure, "open", path);
    enum ppn_error error = PPN_OK;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        error = fail_path(failure, "write to", path);
    close(fd);
    return error;
}

bool os_file_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

enum ppn_error os_file_remove(const char *path, struct ppn_failure *failure)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return PPN_OK;
    return fail_path(failure, "remove", path);
}

enum ppn_error os_file_open_beneath(const char *directory, const char *path, int flags, mode_t mode,
                                    int *fd, struct ppn_failure *failure)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    *fd = -1;
    int root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fail_path(failure, "open", directory);
    long result = syscall(SYS_openat2, root, path, &how, sizeof how);
    int number = errno;
    close(root);
    if (result < 0)
        return ppn_fail(failure, os_errno(number), "cannot open %s in %s: %s", path, directory,
                        strerror(number));
    *fd = (int)result;
    return PPN_OK;
}

enum ppn_error os_file_lock(const char *path, int *out, struct ppn_failure *failure)
{
    char owner[32] = "";
    *out = -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_path(failure, "open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int number = errno;
        ssize_t size = pread(fd, owner, sizeof owner - 1, 0);
        owner[size > 0 ? size : 0] = 0;
        owner[strcspn(owner, "\n")] = 0;
        close(fd);
        if (number != EWOULDBLOCK)
            return ppn_fail(failure, os_errno(number), "cannot lock %s: %s", path,
                            strerror(number));
        return ppn_fail(failure, PPN_ERROR_BUSY,
                        "%s is held by process %s: another daemon runs with this directory", path,
                        owner[0] ? owner : "(unknown)");
    }
    int size = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    PPN_ASSERT(size > 0);
    /* The pid only helps people; a full disk must not keep the daemon from starting. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, owner, (size_t)size, 0) < 0)
        errno = 0;
    *out = fd;
    return PPN_OK;
}

enum ppn_error os_file_space(const char *path, struct os_space *space, struct ppn_failure *failure)
{
    struct statvfs info;
    *space = (struct os_space){0};
    if (statvfs(path, &info) != 0)
        return fail_path(failure, "look at the file system of", path);
    space->total_bytes = (uint64_t)info.f_blocks * info.f_frsize;
    space->free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return PPN_OK;
}
