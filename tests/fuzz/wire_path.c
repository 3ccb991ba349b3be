// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <string.h>

#include "fuzz.h"
#include "wire/path.h"

/* The input without its code, sealed with a key we know: so the fields behind the code are read,
 * too. What decodes encodes to the same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[WIRE_PATH_SIZE_MAX + WIRE_PATH_MAC_SIZE], again[WIRE_PATH_SIZE_MAX];
    static const struct wire_path_key key = {{1, 2, 3}};
    struct wire_path_packet packet;
    uint64_t sender, recipient;
    if (size > WIRE_PATH_SIZE_MAX)
        return 0;
    (void)wire_path_peek(ppn_slice(data, size), &sender, &recipient);
    PPN_ASSERT(wire_path_decode(ppn_slice(data, size), &key, &packet) != PPN_OK || size >= 80);
    memcpy(bytes, data, size);
    (void)crypto_generichash(bytes + size, WIRE_PATH_MAC_SIZE, bytes, size, key.bytes,
                             sizeof(key.bytes));
    struct ppn_slice sealed = ppn_slice(bytes, size + WIRE_PATH_MAC_SIZE);
    if (wire_path_decode(sealed, &key, &packet) != PPN_OK)
        return 0;
    struct ppn_writer writer = ppn_writer(again, sizeof(again));
    enum ppn_error error = wire_path_encode(&packet, &key, &writer);
    PPN_ASSERT(error == PPN_OK && ppn_slice_equal(sealed, ppn_written(&writer)));
    return 0;
}
