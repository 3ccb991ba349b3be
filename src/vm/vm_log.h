// SPDX-License-Identifier: ISC
#pragma once

/* Reading and bounding a VM's serial log, which QEMU appends to by itself. Small reads of a file
 * that is in the page cache, so they are done where they are asked for. */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* base: how many bytes were cut off at the front since the log began. */
enum ppn_error vm_log_read(const char *directory, uint64_t base, uint64_t offset, uint8_t *bytes,
                           size_t capacity, size_t *size, uint64_t *next_offset) PPN_CHECK;
uint64_t vm_log_end(const char *directory, uint64_t base);
/* Keeps the last half of `max` once it is longer than `max`; adds to *base what was cut off. What
 * the guest writes in that very moment may be lost. */
void vm_log_trim(const char *directory, uint64_t max, uint64_t *base);
