// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

#include <msgpack.h>

#include "wire/scan.h"

/* What the walker passes, msgpack-c must be able to unpack whole and within the same bytes: the two
 * agree on where an item ends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct wire_scan_limits limits = {
        .bytes_max = 4096, .items_max = 1024, .depth_max = WIRE_DEPTH_MAX};
    size_t length = 0, off = 0;
    if (wire_scan(ppn_slice(data, size), &limits, &length) != PPN_OK)
        return 0;
    PPN_ASSERT(length >= 1 && length <= size);
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return result = msgpack_unpack_next(&unpacked, (const char *)data, length, &off);
    PPN_ASSERT(result == MSGPACK_UNPACK_SUCCESS && off == length);
    msgpack_unpacked_destroy(&unpacked);
    return 0;
}
