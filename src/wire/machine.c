// SPDX-License-Identifier: ISC
#include "wire/machine.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    MACHINE_MAJOR = 1,
    SPEC_FIELDS = 8,
    SPEC_FIELDS_MIN = 7, /* without no_network */
    DEMAND_FIELDS = 12,
    VM_FIELDS = 12,
    LIST_FIELDS = 3,
    DEMAND_SIZE_MAX = 2 + WIRE_SIZE_NAME + WIRE_SIZE_BIN32 + 3 * WIRE_SIZE_UINT + WIRE_SIZE_U32 +
                      2 * WIRE_SIZE_BOOL + 1 + WIRE_SIZE_LABELS + WIRE_SIZE_NAME,
    SPEC_SIZE_MAX = 2 + WIRE_SIZE_BIN16 + WIRE_SIZE_NAME + WIRE_DEMAND_MAX + 2 + PPN_USER_MAX + 1 +
                    PPN_SSH_KEYS_MAX * (3 + PPN_SSH_KEY_TEXT_MAX) + 5 + PPN_USER_DATA_MAX +
                    WIRE_SIZE_BOOL,
    VM_SIZE_MAX = 2 + WIRE_SIZE_BIN16 + 2 * WIRE_SIZE_NAME + 4 + 3 * WIRE_SIZE_UINT +
                  WIRE_SIZE_U32 + 3 + PPN_REASON_MAX
};

_Static_assert(DEMAND_SIZE_MAX + 0 <= WIRE_DEMAND_MAX, "a demand always fits");
_Static_assert(SPEC_SIZE_MAX + 0 <= WIRE_SPEC_MAX, "a spec always fits");
_Static_assert(VM_SIZE_MAX + 0 <= WIRE_VM_INFO_MAX, "a VM always fits");
_Static_assert(16 + PPN_VMS_MAX * WIRE_VM_INFO_MAX <= WIRE_VM_LIST_MAX, "a full list fits");

static const struct wire_scan_limits spec_limits = {
    .bytes_max = WIRE_SPEC_MAX, .items_max = 512, .depth_max = WIRE_DEPTH_MAX, .minimal = true};
static const struct wire_scan_limits list_limits = {.bytes_max = WIRE_VM_LIST_MAX,
                                                    .items_max = PPN_VMS_MAX * 32,
                                                    .depth_max = WIRE_DEPTH_MAX,
                                                    .minimal = true};

static enum ppn_error pack_demand(const struct ppn_demand *demand, struct ppn_writer *writer)
{
    if (!ppn_image_name_valid(demand->image) ||
        (demand->node[0] != '\0' && !ppn_name_valid(demand->node)))
        return PPN_ERROR_INVALID;
    wire_pack_array(writer, DEMAND_FIELDS);
    wire_pack_uint(writer, MACHINE_MAJOR);
    wire_pack_text(writer, demand->image);
    wire_pack_bytes(writer, demand->image_hash.bytes, PPN_HASH_SIZE);
    wire_pack_uint(writer, demand->image_bytes);
    wire_pack_uint(writer, demand->memory_bytes);
    wire_pack_uint(writer, demand->disk_bytes);
    wire_pack_uint(writer, demand->vcpus);
    wire_pack_bool(writer, demand->kvm_required);
    wire_pack_bool(writer, demand->allow_emulation);
    wire_pack_uint(writer, demand->isolation_min);
    if (!wire_pack_labels(writer, demand->labels, demand->label_count))
        return PPN_ERROR_INVALID;
    wire_pack_text(writer, demand->node);
    return wire_pack_finish(writer);
}

static void read_demand(struct wire_reader *reader, struct ppn_demand *demand)
{
    struct wire_array array = wire_message_begin(reader, MACHINE_MAJOR, DEMAND_FIELDS);
    wire_read_image_name(reader, demand->image, false);
    wire_read_bytes(reader, demand->image_hash.bytes, PPN_HASH_SIZE);
    demand->image_bytes = wire_read_uint(reader, UINT64_MAX);
    demand->memory_bytes = wire_read_uint(reader, UINT64_MAX);
    demand->disk_bytes = wire_read_uint(reader, UINT64_MAX);
    demand->vcpus = (uint32_t)wire_read_uint(reader, UINT32_MAX);
    demand->kvm_required = wire_read_bool(reader);
    demand->allow_emulation = wire_read_bool(reader);
    demand->isolation_min = (enum ppn_isolation)wire_read_uint(reader, PPN_ISOLATION_TDX);
    wire_read_labels(reader, demand->labels, &demand->label_count);
    wire_read_name(reader, demand->node, true);
    wire_array_end(reader, array);
}

enum ppn_error wire_spec_encode(const struct ppn_machine_spec *spec, struct ppn_writer *writer)
{
    PPN_ASSERT(spec->ssh_key_count <= PPN_SSH_KEYS_MAX);
    PPN_ASSERT(spec->user_data_size <= PPN_USER_DATA_MAX);
    if (!ppn_name_valid(spec->name))
        return PPN_ERROR_INVALID;
    wire_pack_array(writer, SPEC_FIELDS);
    wire_pack_uint(writer, MACHINE_MAJOR);
    wire_pack_bytes(writer, spec->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_pack_text(writer, spec->name);
    enum ppn_error error = pack_demand(&spec->demand, writer);
    if (error)
        return error;
    wire_pack_printable(writer, spec->user, PPN_USER_MAX);
    wire_pack_array(writer, spec->ssh_key_count);
    for (uint32_t i = 0; i < spec->ssh_key_count; i++)
        wire_pack_printable(writer, spec->ssh_keys[i], PPN_SSH_KEY_TEXT_MAX);
    if (spec->user_data)
        wire_pack_bytes(writer, spec->user_data, spec->user_data_size);
    else
        wire_pack_nil(writer);
    wire_pack_bool(writer, spec->no_network);
    return wire_pack_finish(writer);
}

enum ppn_error wire_spec_decode(struct ppn_slice bytes, struct ppn_machine_spec *spec)
{
    struct wire_reader reader = wire_read_start(bytes, &spec_limits);
    memset(spec, 0, sizeof(*spec));
    struct wire_array array = wire_message_begin(&reader, MACHINE_MAJOR, SPEC_FIELDS_MIN);
    wire_read_bytes(&reader, spec->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_read_name(&reader, spec->name, false);
    read_demand(&reader, &spec->demand);
    wire_read_text(&reader, spec->user, PPN_USER_MAX);
    spec->ssh_key_count = wire_read_list(&reader, PPN_SSH_KEYS_MAX);
    for (uint32_t i = 0; i < spec->ssh_key_count; i++)
        wire_read_text(&reader, spec->ssh_keys[i], PPN_SSH_KEY_TEXT_MAX);
    if (!wire_read_nil(&reader)) {
        struct ppn_slice data = wire_read_bin(&reader, 0, PPN_USER_DATA_MAX);
        spec->user_data = (uint8_t *)data.data;
        spec->user_data_size = (uint32_t)data.size;
    }
    if (wire_array_more(&reader, &array))
        spec->no_network = wire_read_bool(&reader);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

static enum ppn_error pack_vm(const struct ppn_vm_info *vm, struct ppn_writer *writer)
{
    if (!ppn_name_valid(vm->name) || !ppn_image_name_valid(vm->image))
        return PPN_ERROR_INVALID;
    wire_pack_array(writer, VM_FIELDS);
    wire_pack_uint(writer, MACHINE_MAJOR);
    wire_pack_bytes(writer, vm->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_pack_text(writer, vm->name);
    wire_pack_uint(writer, vm->state);
    wire_pack_bool(writer, vm->ready);
    wire_pack_text(writer, vm->image);
    wire_pack_uint(writer, vm->memory_bytes);
    wire_pack_uint(writer, vm->disk_bytes);
    wire_pack_uint(writer, vm->vcpus);
    wire_pack_uint(writer, vm->isolation);
    wire_pack_int(writer, vm->created_unix_ms);
    wire_pack_printable(writer, vm->reason, PPN_REASON_MAX);
    return wire_pack_finish(writer);
}

static void read_vm(struct wire_reader *reader, struct ppn_vm_info *vm)
{
    memset(vm, 0, sizeof(*vm));
    struct wire_array array = wire_message_begin(reader, MACHINE_MAJOR, VM_FIELDS);
    wire_read_bytes(reader, vm->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_read_name(reader, vm->name, false);
    vm->state = (enum ppn_vm_state)wire_read_uint(reader, PPN_VM_LOST);
    vm->ready = wire_read_bool(reader);
    wire_read_image_name(reader, vm->image, false);
    vm->memory_bytes = wire_read_uint(reader, UINT64_MAX);
    vm->disk_bytes = wire_read_uint(reader, UINT64_MAX);
    vm->vcpus = (uint32_t)wire_read_uint(reader, UINT32_MAX);
    vm->isolation = (enum ppn_isolation)wire_read_uint(reader, PPN_ISOLATION_TDX);
    vm->created_unix_ms = wire_read_int(reader);
    wire_read_text(reader, vm->reason, PPN_REASON_MAX);
    wire_array_end(reader, array);
}

enum ppn_error wire_vm_list_encode(uint64_t digest, const struct ppn_vm_info *vms, uint32_t count,
                                   struct ppn_writer *writer)
{
    PPN_ASSERT(count <= PPN_VMS_MAX);
    wire_pack_array(writer, LIST_FIELDS);
    wire_pack_uint(writer, MACHINE_MAJOR);
    wire_pack_uint(writer, digest);
    wire_pack_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        enum ppn_error error = pack_vm(&vms[i], writer);
        if (error)
            return error;
    }
    return wire_pack_finish(writer);
}

enum ppn_error wire_vm_list_decode(struct ppn_slice bytes, uint64_t *digest,
                                   struct ppn_vm_info *vms, uint32_t capacity, uint32_t *count)
{
    struct wire_reader reader = wire_read_start(bytes, &list_limits);
    struct wire_array array = wire_message_begin(&reader, MACHINE_MAJOR, LIST_FIELDS);
    *digest = wire_read_uint(&reader, UINT64_MAX);
    *count = wire_read_list(&reader, capacity);
    for (uint32_t i = 0; i < *count; i++)
        read_vm(&reader, &vms[i]);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

uint64_t wire_vm_list_digest(const struct ppn_vm_info *vms, uint32_t count)
{
    uint64_t digest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[WIRE_VM_INFO_MAX];
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        /* One that does not encode is in no list either, so it changes no digest. */
        if (pack_vm(&vms[i], &writer) == PPN_OK)
            digest = ppn_hash64((struct ppn_hash_key){digest, i + 1}, ppn_written(&writer));
    }
    return count > 0 && digest == 0 ? 1 : digest;
}
