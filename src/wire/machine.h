// SPDX-License-Identifier: ISC
#pragma once

/* Requests and VMs <-> bytes: inside fleet messages, in peer frames and in stored rows. Versioned
 * arrays as in wire/facts.h. */

#include "base/machine.h"
#include "base/slice.h"

enum {
    WIRE_DEMAND_MAX = 3072,
    WIRE_SPEC_MAX = 80 * 1024, /* 64 KiB of user data, 8 keys, the demand */
    WIRE_VM_INFO_MAX = 416,
    WIRE_VM_LIST_MAX = 128 * 1024
};

/* The image's hash may be zero (not resolved yet). */
enum ppn_error wire_spec_encode(const struct ppn_machine_spec *spec,
                                struct ppn_writer *writer) PPN_CHECK;

/* spec->user_data points into `bytes` (borrowed; NULL when there is none): copy it before the bytes
 * go away. Everything else is copied. SSH keys must be one line of printable ASCII. */
enum ppn_error wire_spec_decode(struct ppn_slice bytes, struct ppn_machine_spec *spec) PPN_CHECK;

/* All VMs of one node under the digest that its load announces: [1, digest, [vm...]]. A full list
 * fits one peer frame and one stored value. `digest` is whatever the node publishes as vm_digest.
 */
enum ppn_error wire_vm_list_encode(uint64_t digest, const struct ppn_vm_info *vms, uint32_t count,
                                   struct ppn_writer *writer) PPN_CHECK;

/* At most `capacity` VMs (PPN_VMS_MAX is always enough); a longer list is PPN_ERROR_TOO_BIG. */
enum ppn_error wire_vm_list_decode(struct ppn_slice bytes, uint64_t *digest,
                                   struct ppn_vm_info *vms, uint32_t capacity,
                                   uint32_t *count) PPN_CHECK;

/* The vm_digest for a list in its order: a SipHash-2-4 chain over the encoded VMs, 0 only when
 * there is none. A change detector, not a proof. */
uint64_t wire_vm_list_digest(const struct ppn_vm_info *vms, uint32_t count);
