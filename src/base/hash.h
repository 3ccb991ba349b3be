// SPDX-License-Identifier: ISC
#pragma once

/* A keyed 64-bit hash for tables, rings and rendezvous: the same on every platform. Not a signature
 * and not collision-proof against somebody who knows the key. */

#include <stdint.h>

#include "base/slice.h"

struct ppn_hash_key {
    uint64_t low, high;
};

/* SipHash-2-4 (Aumasson, Bernstein 2012). */
uint64_t ppn_hash64(struct ppn_hash_key key, struct ppn_slice bytes);
