// SPDX-License-Identifier: ISC
#include "os/os_random.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/assert.h"

void os_random_bytes(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        PPN_ASSERT(got > 0);
        at += got;
        size -= (size_t)got;
    }
}

uint64_t os_random_u64(void)
{
    uint64_t value;
    os_random_bytes(&value, sizeof value);
    return value;
}
