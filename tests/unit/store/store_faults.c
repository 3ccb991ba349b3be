// SPDX-License-Identifier: ISC
#include "store_faults.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct fault fault;

/* Those of the C library, which declares them with attributes of its own. */
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset);
ssize_t writev(int fd, const struct iovec *parts, int count);
int fdatasync(int fd);

/* True when the call at hand is the one. */
static bool strikes(bool sync)
{
    if (!fault.armed || (fault.only_sync && !sync))
        return false;
    fault.at--;
    if (fault.at > 0 || (fault.at < 0 && !fault.for_ever))
        return false;
    if (fault.kind == FAULT_KILL)
        kill(getpid(), SIGKILL);
    errno = fault.number;
    return true;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    if (strikes(false)) {
        if (fault.kind != FAULT_SHORT)
            return -1;
        size /= 2;
    }
    return syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite(fd, bytes, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (strikes(false) && fault.kind == FAULT_ERROR)
        return -1;
    return syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    if (strikes(true))
        return -1;
    return (int)syscall(SYS_fdatasync, fd);
}
