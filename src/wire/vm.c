// SPDX-License-Identifier: ISC
#include "wire/vm.h"

#include <string.h>

#include "base/limits.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    RECORD_MAJOR = 1,
    RECORD_FIELDS = 19,
    RECORD_FIELDS_MIN = 18, /* without no_network */
    RECORD_SIZE_MAX = 3 + 1 + WIRE_SIZE_BIN16 + 2 * WIRE_SIZE_NAME + WIRE_SIZE_BIN32 +
                      3 * WIRE_SIZE_UINT + 2 * WIRE_SIZE_U32 + 5 * WIRE_SIZE_BOOL + 3 + 2 +
                      PPN_REASON_MAX
};

_Static_assert(RECORD_SIZE_MAX + 0 <= WIRE_VM_RECORD_MAX, "a record always fits");

static const struct wire_scan_limits limits = {
    .bytes_max = WIRE_VM_RECORD_MAX, .items_max = 64, .depth_max = WIRE_DEPTH_MAX, .minimal = true};

enum ppn_error wire_vm_record_encode(const struct vm_record *record, struct ppn_writer *writer)
{
    if (!ppn_name_valid(record->name) || !ppn_image_name_valid(record->image))
        return PPN_ERROR_INVALID;
    wire_pack_array(writer, RECORD_FIELDS);
    wire_pack_uint(writer, RECORD_MAJOR);
    wire_pack_bytes(writer, record->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_pack_text(writer, record->name);
    wire_pack_text(writer, record->image);
    wire_pack_bytes(writer, record->image_hash.bytes, PPN_HASH_SIZE);
    wire_pack_uint(writer, record->memory_bytes);
    wire_pack_uint(writer, record->disk_bytes);
    wire_pack_uint(writer, record->vcpus);
    wire_pack_uint(writer, record->slot);
    wire_pack_bool(writer, record->kvm);
    wire_pack_bool(writer, record->want_running);
    wire_pack_bool(writer, record->removing);
    wire_pack_bool(writer, record->ready);
    wire_pack_uint(writer, record->disk);
    wire_pack_uint(writer, record->state);
    wire_pack_uint(writer, record->isolation);
    wire_pack_int(writer, record->created_unix_ms);
    wire_pack_printable(writer, record->reason, PPN_REASON_MAX);
    wire_pack_bool(writer, record->no_network);
    return wire_pack_finish(writer);
}

enum ppn_error wire_vm_record_decode(struct ppn_slice bytes, struct vm_record *record)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(record, 0, sizeof(*record));
    struct wire_array array = wire_message_begin(&reader, RECORD_MAJOR, RECORD_FIELDS_MIN);
    wire_read_bytes(&reader, record->id.bytes, PPN_REQUEST_ID_SIZE);
    wire_read_name(&reader, record->name, false);
    wire_read_image_name(&reader, record->image, false);
    wire_read_bytes(&reader, record->image_hash.bytes, PPN_HASH_SIZE);
    record->memory_bytes = wire_read_uint(&reader, UINT64_MAX);
    record->disk_bytes = wire_read_uint(&reader, UINT64_MAX);
    record->vcpus = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    record->slot = (uint32_t)wire_read_uint(&reader, PPN_VMS_MAX - 1);
    record->kvm = wire_read_bool(&reader);
    record->want_running = wire_read_bool(&reader);
    record->removing = wire_read_bool(&reader);
    record->ready = wire_read_bool(&reader);
    record->disk = (enum vm_disk)wire_read_uint(&reader, VM_DISK_KEPT);
    record->state = (enum ppn_vm_state)wire_read_uint(&reader, PPN_VM_FAILED);
    record->isolation = (enum ppn_isolation)wire_read_uint(&reader, PPN_ISOLATION_TDX);
    record->created_unix_ms = wire_read_int(&reader);
    wire_read_text(&reader, record->reason, PPN_REASON_MAX);
    if (wire_array_more(&reader, &array))
        record->no_network = wire_read_bool(&reader);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}
