// SPDX-License-Identifier: ISC
#include "os/os_clock.h"

#include <time.h>

#include "base/assert.h"

static int64_t read_ns(clockid_t clock)
{
    struct timespec t;
    int result = clock_gettime(clock, &t);
    PPN_ASSERT(result == 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct ppn_instant os_clock_monotonic(void)
{
    return (struct ppn_instant){read_ns(CLOCK_MONOTONIC)};
}

struct ppn_instant os_clock_boottime(void)
{
    return (struct ppn_instant){read_ns(CLOCK_BOOTTIME)};
}

struct ppn_wall os_clock_wall(void)
{
    return (struct ppn_wall){read_ns(CLOCK_REALTIME) / 1000000};
}
