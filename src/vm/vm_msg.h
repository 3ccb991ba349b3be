// SPDX-License-Identifier: ISC
#pragma once

/* What a node keeps of a VM of its own, in its durable store: wire turns it into bytes, store keeps
 * them, the vm core is the only one that changes it. A record exists only when the VM's disk and
 * seed exist too, so a half-made VM leaves a directory without a record, and that is swept. */

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/machine.h"

/* What may be thrown away with the overlay. A guest killed in its first boot has lost part of it
 * for good (cloud-init marks steps as done before they are on the disk), so such an overlay is made
 * anew at the next start; any other one is the person's data. */
enum vm_disk {
    VM_DISK_FRESH,      /* never booted */
    VM_DISK_FIRST_BOOT, /* being set up for the first time */
    VM_DISK_KEPT        /* set up, switched off cleanly, or simply in use for long enough */
};

struct vm_record {
    struct ppn_request_id id;
    char name[PPN_NAME_MAX + 1];
    char image[PPN_NAME_MAX + 1];
    struct ppn_hash image_hash; /* SHA-256 of the base image */
    uint64_t memory_bytes;
    uint64_t disk_bytes; /* virtual size of the overlay */
    uint32_t vcpus;
    uint32_t slot; /* 0..PPN_VMS_MAX-1, unique on this node: user id, tap and addresses */
    bool kvm;      /* false: emulated */
    bool no_network;
    bool want_running;
    bool removing; /* asked to go; ends with the record */
    bool ready;    /* first boot finished once */
    enum vm_disk disk;
    enum ppn_vm_state state; /* never PPN_VM_LOST */
    enum ppn_isolation isolation;
    int64_t created_unix_ms;
    char reason[PPN_REASON_MAX + 1];
};
