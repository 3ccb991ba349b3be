// SPDX-License-Identifier: ISC
#include "bridge/frame.h"

#include <string.h>

#include "base/assert.h"

enum { WIREGUARD_DATA = 4 };

static uint16_t read_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

bool bridge_frame_put(struct ppn_writer *writer, uint16_t port, struct ppn_slice datagram)
{
    size_t size = datagram.size;
    if (size == 0 || size > BRIDGE_DATAGRAM_MAX)
        return false;
    PPN_ASSERT(writer->capacity - writer->size >= BRIDGE_HEADER + size);
    const uint8_t header[BRIDGE_HEADER] = {(uint8_t)(size >> 8), (uint8_t)size,
                                           (uint8_t)(port >> 8), (uint8_t)port};
    ppn_write(writer, ppn_slice(header, sizeof(header)));
    ppn_write(writer, datagram);
    return true;
}

bool bridge_frame_fits(size_t queued, struct ppn_slice datagram)
{
    bool data = datagram.size > 0 && datagram.data[0] == WIREGUARD_DATA;
    return queued + datagram.size <=
           (size_t)(data ? BRIDGE_QUEUE_MAX : BRIDGE_QUEUE_MAX + BRIDGE_QUEUE_URGENT);
}

static void fill(struct bridge_reader *reader, struct ppn_slice *input, size_t wanted)
{
    size_t missing = wanted > reader->size ? wanted - reader->size : 0;
    size_t taken = missing < input->size ? missing : input->size;
    if (taken == 0)
        return;
    memcpy(reader->bytes + reader->size, input->data, taken);
    reader->size += taken;
    *input = ppn_slice(input->data + taken, input->size - taken);
}

static bool shape(const uint8_t header[static BRIDGE_HEADER], size_t *size)
{
    size_t datagram = read_u16(header);
    *size = BRIDGE_HEADER + datagram;
    return datagram > 0 && datagram <= BRIDGE_DATAGRAM_MAX;
}

static enum bridge_read whole(const uint8_t *bytes, size_t size, struct bridge_frame *frame)
{
    frame->port = read_u16(bytes + 2);
    frame->datagram = ppn_slice(bytes + BRIDGE_HEADER, size - BRIDGE_HEADER);
    return BRIDGE_READ_FRAME;
}

enum bridge_read bridge_reader_next(struct bridge_reader *reader, struct ppn_slice *input,
                                    struct bridge_frame *frame)
{
    size_t size;
    PPN_ASSERT(reader->size < BRIDGE_FRAME_MAX);
    if (reader->size == 0 && input->size >= BRIDGE_HEADER) {
        if (!shape(input->data, &size))
            return BRIDGE_READ_BAD;
        if (input->size >= size) {
            const uint8_t *bytes = input->data;
            *input = ppn_slice(bytes + size, input->size - size);
            return whole(bytes, size, frame);
        }
    }
    fill(reader, input, BRIDGE_HEADER);
    if (reader->size < BRIDGE_HEADER)
        return BRIDGE_READ_MORE;
    if (!shape(reader->bytes, &size))
        return BRIDGE_READ_BAD;
    fill(reader, input, size);
    if (reader->size < size)
        return BRIDGE_READ_MORE;
    reader->size = 0;
    return whole(reader->bytes, size, frame);
}

void bridge_alive_heard(struct bridge_alive *alive, struct ppn_instant now)
{
    alive->heard_at = now;
    alive->sent = alive->asked = false;
}

void bridge_alive_sent(struct bridge_alive *alive, struct ppn_instant now)
{
    if (alive->sent)
        return;
    alive->sent = true;
    alive->sent_at = now;
}

enum bridge_alive_verdict bridge_alive_tick(struct bridge_alive *alive, struct ppn_instant now)
{
    if (alive->asked)
        return ppn_due(ppn_after(alive->asked_at, ppn_ms(BRIDGE_PATIENCE_MS)), now) ? BRIDGE_DEAD
                                                                                    : BRIDGE_ALIVE;
    bool quiet = ppn_due(ppn_after(alive->heard_at, ppn_ms(BRIDGE_QUIET_MS)), now);
    bool doubt = alive->sent && ppn_due(ppn_after(alive->sent_at, ppn_ms(BRIDGE_DOUBT_MS)), now);
    if (!quiet && !doubt)
        return BRIDGE_ALIVE;
    alive->asked = true;
    alive->asked_at = now;
    return BRIDGE_ASK;
}
