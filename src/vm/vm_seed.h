// SPDX-License-Identifier: ISC
#pragma once

/* The NoCloud seed of a VM (cloud-init's reference, "NoCloud"): meta-data, user-data, vendor-data
 * and network-config on a FAT volume labelled CIDATA, made from typed fields by the JSON library
 * (JSON is YAML), so that no name or key can change the document's shape.
 *
 * The person's user-data stays untouched. PPN's own parts are where it cannot overrule them by
 * accident: host name and keys in meta-data, user and readiness in vendor-data. Readiness is a
 * script, not runcmd: a runcmd in user-data would replace it. It waits until cloud-init has written
 * its result, flushes the disk, and says "ready INSTANCE ok|errors" on the port VM_READY_PORT. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/machine.h"

struct vm_network {
    bool present;
    uint8_t mac[6];
    uint8_t address[4]; /* of the guest */
    uint8_t gateway[4]; /* the host's end, which is the resolver too */
    uint8_t prefix_bits;
};

/* Checks what a person gave: user name, keys, user-data. INVALID names the field. */
enum ppn_error vm_seed_check(const struct ppn_machine_spec *spec,
                             struct ppn_failure *failure) PPN_CHECK;

enum vm_seed_part { VM_SEED_META, VM_SEED_VENDOR, VM_SEED_NETWORK };

/* One of the generated documents; NULL when out of memory. Free it with free(). */
char *vm_seed_text(const struct ppn_machine_spec *spec, const struct vm_network *network,
                   enum vm_seed_part part);

/* The whole medium, VM_FAT_BYTES long (vm_fat.h), of a spec that vm_seed_check took. */
enum ppn_error vm_seed_build(const struct ppn_machine_spec *spec, const struct vm_network *network,
                             uint8_t *image) PPN_CHECK;
