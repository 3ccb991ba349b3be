// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/stored.h"
#include "wire/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct wire_settings, wire_settings_decode, wire_settings_encode,
                    WIRE_SETTINGS_MAX, input);
    FUZZ_ROUND_TRIP(struct wire_reached, wire_reached_decode, wire_reached_encode, WIRE_REACHED_MAX,
                    input);
    FUZZ_ROUND_TRIP(struct vm_record, wire_vm_record_decode, wire_vm_record_encode,
                    WIRE_VM_RECORD_MAX, input);
    return 0;
}
