// SPDX-License-Identifier: ISC
#pragma once

/* Fleet messages <-> the payload of a FLEET frame, and fleet rows <-> stored values. A message is
 *   [1, kind, request, attempt, round, phase, node, step, percent, removed, code, reason, spec]
 * with nil for a zero node and an absent spec. A row carries its own key, so that a value under the
 * wrong key is noticed. An error code of a newer program reads as PPN_ERROR_REFUSED. */

#include "base/error.h"
#include "base/slice.h"
#include "fleet/fleet.h"
#include "fleet/fleet_msg.h"

enum {
    WIRE_FLEET_MAX = FLEET_SPEC_MAX + 512,
    WIRE_FLEET_ROW_MAX = FLEET_SPEC_MAX + 2048,
    WIRE_FLEET_KEY_MAX = PPN_REQUEST_ID_SIZE + PPN_ID_SIZE
};

enum ppn_error wire_fleet_encode(const struct fleet_msg *message,
                                 struct ppn_writer *writer) PPN_CHECK;

/* spec is borrowed. PREPARE has one, the other kinds have none: else PPN_ERROR_INVALID. */
enum ppn_error wire_fleet_decode(struct ppn_slice bytes, struct fleet_msg *message) PPN_CHECK;

enum ppn_error wire_fleet_row_encode(const struct fleet_row *row,
                                     struct ppn_writer *writer) PPN_CHECK;

/* spec is borrowed. The shape only: which states may be stored is the core's to judge at RESTORE.
 */
enum ppn_error wire_fleet_row_decode(struct ppn_slice bytes, struct fleet_row *row) PPN_CHECK;

/* A row's key inside its table: the request id, for HOLD followed by the origin's node id. */
void wire_fleet_key_encode(const struct fleet_key *key, struct ppn_writer *writer);
