// SPDX-License-Identifier: ISC
#include "fuzz.h"
#include "wire/machine.h"

struct list {
    uint64_t digest;
    uint32_t count;
    struct ppn_vm_info vms[PPN_VMS_MAX];
};

static enum ppn_error decode_list(struct ppn_slice bytes, struct list *list)
{
    return wire_vm_list_decode(bytes, &list->digest, list->vms, PPN_VMS_MAX, &list->count);
}

static enum ppn_error encode_list(const struct list *list, struct ppn_writer *writer)
{
    return wire_vm_list_encode(list->digest, list->vms, list->count, writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ppn_slice input = ppn_slice(data, size);
    FUZZ_ROUND_TRIP(struct ppn_machine_spec, wire_spec_decode, wire_spec_encode, WIRE_SPEC_MAX,
                    input);
    FUZZ_ROUND_TRIP(struct list, decode_list, encode_list, WIRE_VM_LIST_MAX, input);
    return 0;
}
