// SPDX-License-Identifier: ISC
#include "vm/vm_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os_file.h"

static int open_log(const char *directory, int flags)
{
    int fd = -1;
    if (os_file_open_beneath(directory, "console.log", flags, 0, &fd, NULL))
        return -1;
    return fd;
}

static uint64_t size_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_size > 0 ? (uint64_t)status.st_size : 0;
}

enum ppn_error vm_log_read(const char *directory, uint64_t base, uint64_t offset, uint8_t *bytes,
                           size_t capacity, size_t *size, uint64_t *next_offset)
{
    *size = 0;
    *next_offset = offset;
    int fd = open_log(directory, O_RDONLY);
    if (fd < 0)
        return PPN_OK; /* never started: nothing was said yet */
    uint64_t end = base + size_of(fd);
    if (offset < base)
        offset = base;
    if (offset > end)
        offset = end;
    ssize_t got = pread(fd, bytes, capacity, (off_t)(offset - base));
    int error = errno;
    close(fd);
    if (got < 0)
        return os_errno(error);
    *size = (size_t)got;
    *next_offset = offset + (uint64_t)got;
    return PPN_OK;
}

uint64_t vm_log_end(const char *directory, uint64_t base)
{
    int fd = open_log(directory, O_RDONLY);
    if (fd < 0)
        return base;
    uint64_t end = base + size_of(fd);
    close(fd);
    return end;
}

void vm_log_trim(const char *directory, uint64_t max, uint64_t *base)
{
    int fd = open_log(directory, O_RDWR | O_APPEND);
    if (fd < 0)
        return;
    uint64_t size = size_of(fd);
    size_t kept = (size_t)(max / 2);
    uint8_t *bytes = size > max ? malloc(kept) : NULL;
    if (bytes) {
        ssize_t got = pread(fd, bytes, kept, (off_t)(size - kept));
        if (got > 0 && ftruncate(fd, 0) == 0 && write(fd, bytes, (size_t)got) == got)
            *base += size - (uint64_t)got;
    }
    free(bytes);
    close(fd);
}
