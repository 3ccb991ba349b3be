// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/limits.h"
#include "base/name.h"
#include "vm/vm.h"

#define MIB ((uint64_t)1 << 20)

struct ppn_vm_info vm_info(const struct vm *vm)
{
    const struct vm_record *record = &vm->record;
    struct ppn_vm_info info = {
        .id = record->id,
        .state = record->state,
        .ready = record->ready,
        .memory_bytes = record->memory_bytes,
        .disk_bytes = record->disk_bytes,
        .vcpus = record->vcpus,
        .isolation = record->isolation,
        .created_unix_ms = record->created_unix_ms,
    };
    (void)ppn_text_copy(info.name, sizeof(info.name), record->name);
    (void)ppn_text_copy(info.image, sizeof(info.image), record->image);
    (void)ppn_text_copy(info.reason, sizeof(info.reason), record->reason);
    return info;
}

static bool terminated(const char *text, size_t capacity)
{
    return memchr(text, 0, capacity) != NULL;
}

enum ppn_error vm_record_check(const struct vm_record *record)
{
    if (!terminated(record->name, sizeof(record->name)) ||
        !terminated(record->image, sizeof(record->image)) ||
        !terminated(record->reason, sizeof(record->reason)))
        return PPN_ERROR_INVALID;
    if (!ppn_name_valid(record->name) || ppn_hash_is_zero(&record->image_hash))
        return PPN_ERROR_INVALID;
    if (record->image[0] && !ppn_image_name_valid(record->image))
        return PPN_ERROR_INVALID;
    if (record->memory_bytes < VM_MEMORY_MIN || record->memory_bytes > VM_MEMORY_MAX ||
        record->vcpus < 1 || record->vcpus > VM_VCPUS_MAX)
        return PPN_ERROR_INVALID;
    if (record->disk_bytes == 0 || record->disk_bytes > VM_DISK_MAX || record->slot >= PPN_VMS_MAX)
        return PPN_ERROR_INVALID;
    if ((unsigned)record->disk > VM_DISK_KEPT || (unsigned)record->state >= PPN_VM_LOST ||
        (unsigned)record->isolation > PPN_ISOLATION_TDX)
        return PPN_ERROR_INVALID;
    if (record->removing && record->want_running)
        return PPN_ERROR_INVALID;
    return PPN_OK;
}

/* QEMU's default translation cache is 1 GiB for any guest; a quarter of the guest's memory showed
 * no difference in boot time at a fifth of the resident size. */
uint32_t vm_tb_mib(uint64_t guest_bytes)
{
    uint64_t mib = guest_bytes / 4 / MIB;
    if (mib < 32)
        mib = 32;
    if (mib > 512)
        mib = 512;
    return (uint32_t)mib;
}

/* QEMU without its guest: 60 MiB measured with these devices; page tables and slack make it more
 * with the guest's size. */
uint64_t vm_host_memory_bytes(uint64_t guest_bytes, bool kvm)
{
    uint64_t overhead = 80 * MIB + guest_bytes / 64;
    if (!kvm)
        overhead += vm_tb_mib(guest_bytes) * MIB;
    return guest_bytes + overhead;
}
