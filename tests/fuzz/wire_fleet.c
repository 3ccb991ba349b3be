// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/fleet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct fleet_msg, wire_fleet_decode, wire_fleet_encode, WIRE_FLEET_MAX, input);
    FUZZ_ROUND_TRIP(struct fleet_row, wire_fleet_row_decode, wire_fleet_row_encode,
                    WIRE_FLEET_ROW_MAX, input);
    return 0;
}
