// SPDX-License-Identifier: ISC
#pragma once

/* What a node says of itself <-> the opaque bodies that gossip signs and carries.
 *
 *   profile  [1, arch, version, cpus, memory, disk, kvm, isolation, link, cordoned,
 *             [[[address, port], kind]...], [[key, value]...], image tags as one bin,
 *             relay port]
 *   load     [1, available, reserved, disk free, vcpus, load, vms, power, battery, flags, digest]
 *
 * The first field is the major version: another one is PPN_ERROR_VERSION. Fields appended by a
 * newer minor version are ignored; everything else is strict, names and labels are validated.
 *
 * A profile must fit one gossip record. All candidates always fit; labels fit up to
 * WIRE_LABELS_BYTES_MAX together (encoding more is PPN_ERROR_TOO_BIG: refuse the label when it is
 * set, with wire_labels_fit); image tags take what is left, the first ones in the profile's order,
 * the rest is dropped: a tag only saves a transfer. */

#include "base/facts.h"
#include "base/slice.h"

enum {
    WIRE_PROFILE_MAX = 640,
    WIRE_LOAD_MAX = 96,
    WIRE_LABELS_BYTES_MAX = 352 /* over all labels: 5 + the lengths of key and value */
};

bool wire_labels_fit(const struct ppn_label *labels, uint32_t count);

/* Appends; PPN_ERROR_TOO_BIG when the labels or the writer are too small. PPN_ERROR_INVALID:
 * an invalid label. Counts over their limits are bugs. */
enum ppn_error wire_profile_encode(const struct ppn_profile *profile,
                                   struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_profile_decode(struct ppn_slice bytes, struct ppn_profile *profile) PPN_CHECK;

enum ppn_error wire_load_encode(const struct ppn_load *load, struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_load_decode(struct ppn_slice bytes, struct ppn_load *load) PPN_CHECK;
