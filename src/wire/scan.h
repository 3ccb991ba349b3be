// SPDX-License-Identifier: ISC
#pragma once

/* The gate in front of every msgpack decoder: walks untrusted bytes once, without allocating and
 * without recursion, and says whether they are one well-formed item within the given bounds. It
 * exists because msgpack-c believes the counts in the headers: five bytes "array of 2^32 - 1" make
 * it reserve gigabytes. Here a container's count is checked against the bytes that are left before
 * anything else happens.
 *
 * Accepted is the subset that this project writes: nil, bool, integers, str, bin, array. Maps,
 * floats, extension types and the reserved byte 0xc1 are PPN_ERROR_INVALID: none of our messages
 * has them, and a map could carry duplicate keys. Strings are not checked for UTF-8; whoever reads
 * a text validates its alphabet. */

#include "base/error.h"
#include "base/slice.h"

enum {
    WIRE_DEPTH_MAX = 8,    /* arrays within arrays; the deepest message has 6 */
    WIRE_ITEMS_MAX = 65536 /* items of all kinds; a full frame of one-byte items would be more */
};

struct wire_scan_limits {
    size_t bytes_max;
    uint32_t items_max; /* <= WIRE_ITEMS_MAX */
    uint32_t depth_max; /* <= WIRE_DEPTH_MAX; an item outside any array has depth 0 */
    bool minimal;       /* integers, lengths and counts only in their shortest form */
};

/* Walks the first item. *length gets the item's bytes; bytes after it are not looked at.
 * PPN_ERROR_INVALID: truncated or a kind outside the subset; PPN_ERROR_TOO_BIG: over a limit. */
enum ppn_error wire_scan(struct ppn_slice bytes, const struct wire_scan_limits *limits,
                         size_t *length) PPN_CHECK;

/* The same, and the item must end where the bytes end: trailing bytes are PPN_ERROR_INVALID. */
enum ppn_error wire_scan_all(struct ppn_slice bytes,
                             const struct wire_scan_limits *limits) PPN_CHECK;
