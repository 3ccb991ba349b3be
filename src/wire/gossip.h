// SPDX-License-Identifier: ISC
#pragma once

/* Gossip packets <-> datagrams of at most PPN_DATAGRAM_MAX bytes:
 *
 *   [1, kind, probe, view digest, load digest, health, [item...], part]
 *
 * `part` is [subject, epoch, incarnation, outcome] of CHECK and CHECKED, [bucket...] of DIGEST,
 * [first, last, [[tag, epoch, incarnation, profile, load, standing]...]] of RANGE, [[tag,
 * kinds]...] of WANT, nil of the others. Items are bin, their bytes untouched. The bounds in
 * gossip/gossip_msg.h (GOSSIP_ENCODED_*) hold; the core packs by them. */

#include "base/error.h"
#include "base/slice.h"
#include "gossip/gossip_msg.h"

/* A packet whose gossip_packet_size_max is within PPN_DATAGRAM_MAX always fits that many bytes;
 * PPN_ERROR_TOO_BIG otherwise. Counts over their limits are bugs. */
enum ppn_error wire_gossip_encode(const struct gossip_packet *packet,
                                  struct ppn_writer *writer) PPN_CHECK;

/* Sets every field; items are borrowed from the bytes. What a newer minor version appended is
 * ignored. An unknown kind, a count over its limit, an enum out of range: PPN_ERROR_INVALID. */
enum ppn_error wire_gossip_decode(struct ppn_slice bytes, struct gossip_packet *packet) PPN_CHECK;
