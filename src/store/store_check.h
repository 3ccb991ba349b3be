// SPDX-License-Identifier: ISC
#pragma once

/* Looking at an LMDB file before this process maps it. LMDB believes what it finds in a file: one
 * that is shorter than it says ends the process with SIGBUS, and one with damaged pages may end it
 * in many ways. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Checks directory/data.mdb. A missing or empty file is fine: LMDB makes it. Otherwise its two meta
 * pages must be LMDB's; a file shorter than the newer one says is filled up with zeros (LMDB may
 * leave pages at the end unwritten that it freed at once, so this alone is no damage); then a child
 * process visits every page, so that whatever damage does to LMDB, it does to the child. Anything
 * wrong is CORRUPT. Damaged values are not looked for: those are found when they are read. */
enum ppn_error store_check(const char *directory, bool durable, uint64_t max_bytes,
                           struct ppn_failure *failure) PPN_CHECK;
