// SPDX-License-Identifier: ISC
#pragma once

/* What a person asks for (a request's machine) and what exists (a VM as everybody sees it). Plain
 * data shared by placement, fleet, vm, wire and api; no behaviour here. */

#include <stdbool.h>
#include <stdint.h>

#include "base/facts.h"
#include "base/id.h"

enum { PPN_USER_MAX = 31, PPN_REASON_MAX = 160 };

/* The part of a request that placement and the target's admission look at. */
struct ppn_demand {
    char image[PPN_NAME_MAX + 1];
    struct ppn_hash image_hash; /* SHA-256 of the image file; zero until resolved at the origin */
    uint64_t image_bytes;
    uint64_t memory_bytes;
    uint64_t disk_bytes; /* virtual size of the overlay; 0: the image's own */
    uint32_t vcpus;
    bool kvm_required;    /* unless emulation was allowed, always true */
    bool allow_emulation; /* TCG gives no isolation; the person said so */
    enum ppn_isolation isolation_min;
    uint32_t label_count; /* every label must match the node's */
    struct ppn_label labels[PPN_LABELS_MAX];
    char node[PPN_NAME_MAX + 1]; /* only this node, or "" */
};

/* A whole request. Text and keys are borrowed slices only inside wire; here they are owned copies.
 */
struct ppn_machine_spec {
    struct ppn_request_id id;
    char name[PPN_NAME_MAX + 1];
    struct ppn_demand demand;
    char user[PPN_USER_MAX + 1];
    uint32_t ssh_key_count;
    char ssh_keys[PPN_SSH_KEYS_MAX][PPN_SSH_KEY_TEXT_MAX + 1];
    bool no_network; /* no network card: reached by its consoles and its channel alone */
    uint32_t user_data_size;
    uint8_t
        *user_data; /* cloud-init user-data as given; owned by whoever owns the spec, may be NULL */
};

enum ppn_vm_state {
    PPN_VM_PREPARED,
    PPN_VM_STARTING,
    PPN_VM_RUNNING,
    PPN_VM_STOPPING,
    PPN_VM_STOPPED,
    PPN_VM_FAILED,
    PPN_VM_LOST /* only ever said by others: its node is dead */
};

/* A VM as its own node publishes it. A VM's id is its request's id. */
struct ppn_vm_info {
    struct ppn_request_id id;
    char name[PPN_NAME_MAX + 1];
    enum ppn_vm_state state;
    bool ready; /* first boot finished */
    char image[PPN_NAME_MAX + 1];
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    uint32_t vcpus;
    enum ppn_isolation isolation;
    int64_t created_unix_ms;
    char reason[PPN_REASON_MAX + 1]; /* of FAILED and of a stop nobody asked for */
};
