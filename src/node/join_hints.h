// SPDX-License-Identifier: ISC
#pragma once

/* Where the members were last seen, for one that joins (wire/join.h). */

#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/slice.h"

struct node;

/* Writes the payload of PEER_HINTS, without `but`; at most WIRE_JOIN_HINTS_BYTES_MAX bytes. *count:
 * how many members are in it. */
enum ppn_error node_join_hints(struct node *node, const struct ppn_node_id *but,
                               struct ppn_writer *writer, uint32_t *count) PPN_CHECK;
