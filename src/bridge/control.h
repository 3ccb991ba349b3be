// SPDX-License-Identifier: ISC
#pragma once

/* What a ppn-bridge says to the ppn-node that started it, over a socket pair (descriptor
 * BRIDGE_CONTROL_FD): reports of one size. Nothing goes the other way; when it closes, the bridge
 * ends. Both are of one build and on one machine. */

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { BRIDGE_CONTROL_FD = 3, BRIDGE_TEXT = 96, BRIDGE_REPORT = 10 * 8 + BRIDGE_TEXT };

struct bridge_report {
    uint64_t open;           /* connections; of a node: 1 while the relay's bridge answers */
    uint64_t strangers;      /* of them, nobody answered yet */
    uint64_t refused;        /* connections, so far */
    uint64_t wireguard_port; /* of a node: its local port that leads to the relay's WireGuard */
    uint64_t up_packets, up_bytes, down_packets, down_bytes; /* up: towards the relay */
    uint64_t dropped_packets, dropped_bytes;
    char text[BRIDGE_TEXT]; /* of a node: why there is no connection, or "" */
};

void bridge_report_write(struct ppn_writer *writer, const struct bridge_report *report);
void bridge_report_read(const uint8_t bytes[static BRIDGE_REPORT], struct bridge_report *report);
