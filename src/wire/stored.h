// SPDX-License-Identifier: ISC
#pragma once

/* Small values that ppn-node itself keeps in the store, each a versioned array. What the cores
 * persist (log entries, fleet rows, VM rows, signed gossip items) has its own coding. A value
 * that does not decode is PPN_ERROR_CORRUPT, a major version of a newer program PPN_ERROR_VERSION.
 */

#include "base/facts.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/slice.h"

/* What a person set on this node, and what it needs to start again without any flag. */
struct wire_settings {
    char name[PPN_NAME_MAX + 1];         /* this node's */
    char network_name[PPN_NAME_MAX + 1]; /* may be "" until known */
    struct ppn_hash network;             /* pinned network id; zero until known */
    bool cordoned;
    uint32_t label_count;
    struct ppn_label labels[PPN_LABELS_MAX];
    uint32_t seed_count;
    struct ppn_endpoint seeds[PPN_SEEDS_MAX]; /* of the first start; kept for a cold restart */
};

/* Where one member was last reached, newest first; the key of the row is its node id. */
struct wire_reached {
    uint32_t count;
    struct ppn_endpoint endpoints[PPN_ENDPOINTS_MAX];
    int64_t unix_ms; /* of the last handshake over the first one; 0 never */
};

enum { WIRE_SETTINGS_MAX = 3072, WIRE_REACHED_MAX = 192 };

enum ppn_error wire_settings_encode(const struct wire_settings *settings,
                                    struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_settings_decode(struct ppn_slice bytes,
                                    struct wire_settings *settings) PPN_CHECK;
enum ppn_error wire_reached_encode(const struct wire_reached *reached,
                                   struct ppn_writer *writer) PPN_CHECK;
enum ppn_error wire_reached_decode(struct ppn_slice bytes, struct wire_reached *reached) PPN_CHECK;
