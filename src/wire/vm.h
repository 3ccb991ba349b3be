// SPDX-License-Identifier: ISC
#pragma once

/* What a node keeps of a VM of its own <-> the stored value. */

#include "base/slice.h"
#include "vm/vm_msg.h"

enum { WIRE_VM_RECORD_MAX = 512 };

/* PPN_ERROR_INVALID for a name that no decoder takes. */
enum ppn_error wire_vm_record_encode(const struct vm_record *record,
                                     struct ppn_writer *writer) PPN_CHECK;

/* The shape only; whether it may run is vm_record_check's to judge. */
enum ppn_error wire_vm_record_decode(struct ppn_slice bytes, struct vm_record *record) PPN_CHECK;
