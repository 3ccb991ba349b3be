// SPDX-License-Identifier: ISC
#pragma once

/* Datagrams in a byte stream, for networks that let no UDP out. A bridge carries the datagrams that
 * a node's WireGuard and its path packets exchange with one relay over one TLS connection to that
 * relay's machine; nothing in them changes, and neither end of it has a key to them.
 *
 * A frame is two numbers of 16 bits, big-endian, and a datagram: its size (1 to
 * BRIDGE_DATAGRAM_MAX), then which port of the relay's machine it goes to or comes from. Ports
 * below 1024 are none of a relay's; two of them mean something else:
 *  - BRIDGE_PORT_WIREGUARD: the WireGuard port of the relay's own node, whatever its number.
 *  - BRIDGE_PORT_LINK: nobody; the datagram is the version alone. The node says it first and when
 *    it heard nothing for long, the relay's end says it back: so both know that they speak to a
 *    bridge, and that it lives.
 *
 * What fails, and what happens: a frame of size 0 or above the maximum, or another version, is a
 * stranger's and ends the connection; a datagram that does not fit into what may wait is dropped,
 * the newest first, as a full queue of a router would, and path packets and handshakes may wait
 * when data may not any more. Nothing grows. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/time.h"

enum {
    BRIDGE_VERSION = 1,
    BRIDGE_HEADER = 4,
    BRIDGE_DATAGRAM_MAX = 1472, /* what an Ethernet carries behind IPv4 and UDP headers */
    BRIDGE_FRAME_MAX = BRIDGE_HEADER + BRIDGE_DATAGRAM_MAX,
    BRIDGE_PORT_WIREGUARD = 0,
    BRIDGE_PORT_LINK = 1,
    BRIDGE_PORT_MIN = 1024, /* of a relay */
    BRIDGE_QUEUE_MAX = 64 * 1024,
    BRIDGE_QUEUE_URGENT = 16 * 1024 /* more, for all but WireGuard's data */
};

struct bridge_frame {
    uint16_t port;
    struct ppn_slice datagram;
};

/* False: a size that no frame has; nothing written. *writer must have the room. */
bool bridge_frame_put(struct ppn_writer *writer, uint16_t port, struct ppn_slice datagram);

/* May this datagram wait behind `queued` bytes? */
bool bridge_frame_fits(size_t queued, struct ppn_slice datagram);

/* Puts frames together that came in pieces. Zero at first. */
struct bridge_reader {
    size_t size;
    uint8_t bytes[BRIDGE_FRAME_MAX];
};

enum bridge_read { BRIDGE_READ_MORE, BRIDGE_READ_FRAME, BRIDGE_READ_BAD };

/* Takes the next frame off the front of *input, or all of it when the frame is not complete. The
 * frame borrows *input's bytes or the reader's, until the next call. */
enum bridge_read bridge_reader_next(struct bridge_reader *reader, struct ppn_slice *input,
                                    struct bridge_frame *frame);

/* Is the other end still there? Kept by the end that connected. */
enum {
    BRIDGE_QUIET_MS = 10000, /* nothing heard: a question */
    BRIDGE_DOUBT_MS = 2000,  /* the same, while datagrams are sent */
    BRIDGE_PATIENCE_MS = 4000
};

struct bridge_alive {
    struct ppn_instant heard_at, sent_at, asked_at;
    bool sent, asked; /* since something was heard */
};

enum bridge_alive_verdict { BRIDGE_ALIVE, BRIDGE_ASK, BRIDGE_DEAD };

void bridge_alive_heard(struct bridge_alive *alive, struct ppn_instant now);
void bridge_alive_sent(struct bridge_alive *alive, struct ppn_instant now);
/* To be asked about once a second. ASK counts as asked. */
enum bridge_alive_verdict bridge_alive_tick(struct bridge_alive *alive, struct ppn_instant now);
