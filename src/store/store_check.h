// SPDX-License-Identifier: ISC
#pragma once

/* Looking at an LMDB file before LMDB maps it: mapped and shorter than it says, it would end the
 * process with SIGBUS. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A missing or empty file is fine: LMDB makes it. One that is no LMDB file is CORRUPT. One that is
 * shorter than its newest meta page says is filled up with zeros and *doubtful is set: LMDB may
 * leave pages at the end unwritten that it freed at once, so this alone is no damage, but every
 * page in use must then be visited before the content is believed. */
enum ppn_error store_check_file(const char *path, bool *doubtful,
                                struct ppn_failure *failure) PPN_CHECK;
