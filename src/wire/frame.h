// SPDX-License-Identifier: ISC
#pragma once

/* Cuts a byte stream into length-prefixed frames: 4 bytes big-endian, then as many bytes. The
 * buffer belongs to the caller, holds one whole frame and never grows; a length over the buffer is
 * refused as soon as its four bytes are there. */

#include "base/error.h"
#include "base/slice.h"

enum { WIRE_FRAME_PREFIX = 4 };

struct wire_splitter {
    uint8_t *buffer;
    size_t capacity; /* the largest frame accepted */
    size_t have;     /* bytes of the present frame, its prefix included */
    uint8_t prefix[WIRE_FRAME_PREFIX];
    bool broken;
};

void wire_splitter_init(struct wire_splitter *splitter, uint8_t *buffer, size_t capacity);

/* Takes bytes from *bytes (which advances past them) until one frame is whole. *frame is then that
 * frame without its prefix, borrowed from the buffer until the next call; or has data == NULL when
 * the bytes ran out first. PPN_ERROR_TOO_BIG or PPN_ERROR_INVALID (an empty frame): the stream
 * cannot be resynchronised, close it. */
enum ppn_error wire_splitter_take(struct wire_splitter *splitter, struct ppn_slice *bytes,
                                  struct ppn_slice *frame) PPN_CHECK;
