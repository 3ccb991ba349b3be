// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/join.h"
#include "wire/log.h"

struct hints {
    uint32_t count;
    struct wire_join_hint items[WIRE_JOIN_HINTS_MAX];
};

static enum ppn_error decode_hints(struct ppn_slice bytes, struct hints *hints)
{
    return wire_join_hints_decode(bytes, hints->items, WIRE_JOIN_HINTS_MAX, &hints->count);
}

static enum ppn_error encode_hints(const struct hints *hints, struct ppn_writer *writer)
{
    return wire_join_hints_encode(hints->items, hints->count, writer);
}

static void read_batch(struct ppn_slice bytes)
{
    struct wire_log_reader reader;
    struct ppn_slice entry, signatures;
    size_t total = 0;
    if (wire_log_read_start(&reader, bytes) != PPN_OK)
        PPN_ASSERT(reader.left == 0);
    while (wire_log_read_next(&reader, &entry, &signatures))
        total += entry.size + signatures.size;
    PPN_ASSERT(total <= bytes.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct wire_join_message, wire_join_decode, wire_join_encode,
                    WIRE_JOIN_MESSAGE_MAX, input);
    FUZZ_ROUND_TRIP(struct hints, decode_hints, encode_hints, WIRE_JOIN_HINTS_BYTES_MAX, input);
    read_batch(input);
    return 0;
}
