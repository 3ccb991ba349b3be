// SPDX-License-Identifier: ISC
#pragma once

/* Random bytes of the kernel (getrandom). Waits at most for the kernel's first seed after boot; any
 * other failure ends the process, because nothing sound can follow. Any thread. */

#include <stddef.h>
#include <stdint.h>

void os_random_bytes(void *bytes, size_t size);
uint64_t os_random_u64(void);
