// SPDX-License-Identifier: ISC
#pragma once

/* What ppn-node and its ppn-relay say to each other over a socket pair of their own (descriptor
 * RELAY_CONTROL_FD of the relay): the members downwards, the counters upwards. Both are of one
 * build and on one machine; the format is theirs alone. A frame is a kind and a count, both 32 bits
 * and big-endian, then `count` items of that kind's size. When the pipe closes, the relay ends. */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "wg/relay.h"

enum {
    RELAY_CONTROL_FD = 3,
    RELAY_CONTROL_HEADER = 8,
    RELAY_CONTROL_MEMBER = 8 + RELAY_KEY_SIZE, /* tag, key */
    RELAY_CONTROL_MEMBERS_MAX = RELAY_CONTROL_HEADER + PPN_MEMBERS_MAX * RELAY_CONTROL_MEMBER,
    RELAY_CONTROL_STATS = 8 * 2 * RELAY_VERDICTS + 3 * 4,
    RELAY_CONTROL_USE = 8 * 5 /* tag, packets, bytes, packets and bytes over the rate */
};

enum relay_control_kind {
    RELAY_CONTROL_KIND_MEMBERS = 1, /* the complete list, ascending by tag */
    RELAY_CONTROL_KIND_STATS = 2,   /* one item; the first one says that the ports are open */
    RELAY_CONTROL_KIND_USE = 3      /* members whose counters changed */
};

struct relay_use {
    uint64_t tag;
    struct relay_count forwarded, over_rate;
};

void relay_control_header(struct ppn_writer *writer, enum relay_control_kind kind, uint32_t count);
void relay_control_member(struct ppn_writer *writer, const struct relay_member *member);
void relay_control_stats(struct ppn_writer *writer, const struct relay_stats *stats);
void relay_control_use(struct ppn_writer *writer, const struct relay_use *use);

/* The size of the whole frame that begins with these RELAY_CONTROL_HEADER bytes; 0: no such kind,
 * or too many items. */
size_t relay_control_frame(const uint8_t header[static RELAY_CONTROL_HEADER],
                           enum relay_control_kind *kind, uint32_t *count);
void relay_control_read_member(const uint8_t item[static RELAY_CONTROL_MEMBER],
                               struct relay_member *member);
void relay_control_read_stats(const uint8_t item[static RELAY_CONTROL_STATS],
                              struct relay_stats *stats);
void relay_control_read_use(const uint8_t item[static RELAY_CONTROL_USE], struct relay_use *use);
