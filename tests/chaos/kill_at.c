// SPDX-License-Identifier: ISC
/* Ends the process at its PPN_KILL_AT-th write or sync of an LMDB file: before it, or for every
 * other write after half of it, as a killed process may leave it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long count;
static int of_store(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return strstr(path, "data.mdb") != NULL || strstr(path, ".mdb") != NULL;
}
static int due(int fd)
{
    const char *at = getenv("PPN_KILL_AT"), *seen = getenv("PPN_KILL_COUNT");
    if (at == NULL || !of_store(fd))
        return 0;
    long now = ++count;
    if (seen != NULL) {
        FILE *file = fopen(seen, "w");
        if (file != NULL) {
            fprintf(file, "%ld\n", now);
            fclose(file);
        }
    }
    return now == atol(at);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    if (due(fd)) {
        if (atol(getenv("PPN_KILL_AT")) % 2)
            real(fd, bytes, size / 2, offset);
        raise(SIGKILL);
    }
    return real(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite(fd, bytes, size, offset);
}
ssize_t pwritev(int fd, const struct iovec *parts, int parts_count, off_t offset)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");
    if (due(fd)) {
        if (atol(getenv("PPN_KILL_AT")) % 2)
            real(fd, parts, parts_count / 2, offset);
        raise(SIGKILL);
    }
    return real(fd, parts, parts_count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *p, int n, off_t o)
{
    return pwritev(fd, p, n, o);
}
ssize_t writev(int fd, const struct iovec *parts, int n)
{
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    if (due(fd))
        raise(SIGKILL);
    return real(fd, parts, n);
}
ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (fd > 2 && size >= 512 && due(fd))
        raise(SIGKILL);
    return real(fd, bytes, size);
}
int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (due(fd))
        raise(SIGKILL);
    return real(fd);
}
int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (due(fd))
        raise(SIGKILL);
    return real(fd);
}
