// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/slice.h"
#include "bridge/frame.h"
#include "bridge/gate.h"
#include "fuzz.h"

/* A stream from anybody in pieces, and the gate behind it, told by the same bytes what else
 * happens. What is read is what one whole piece would have given. */

static size_t read_all(const uint8_t *data, size_t size, size_t piece, uint64_t *sum)
{
    struct bridge_reader reader = {0};
    struct bridge_frame frame;
    size_t count = 0;
    *sum = 0;
    for (size_t at = 0; at < size;) {
        size_t take = size - at < piece ? size - at : piece;
        struct ppn_slice input = ppn_slice(data + at, take);
        enum bridge_read got;
        at += take;
        while ((got = bridge_reader_next(&reader, &input, &frame)) == BRIDGE_READ_FRAME) {
            PPN_ASSERT(frame.datagram.size > 0 && frame.datagram.size <= BRIDGE_DATAGRAM_MAX);
            for (size_t i = 0; i < frame.datagram.size; i++)
                *sum = *sum * 31 + frame.datagram.data[i];
            *sum = *sum * 31 + frame.port;
            count++;
        }
        if (got == BRIDGE_READ_BAD)
            return count;
        PPN_ASSERT(input.size == 0);
    }
    return count;
}

static void live(const uint8_t *data, size_t size)
{
    static struct gate gate;
    static const struct gate_config config = {51820, 51821, 51830};
    int64_t now_ms = 0;
    bool open[GATE_SEATS] = {false};
    gate_init(&gate, &config);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t seat = (uint32_t)(data[i + 1] << 8 | data[i + 2]) % GATE_SEATS;
        struct ppn_instant now = {now_ms * 1000000};
        struct ppn_endpoint from = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1},
                                    51821};
        uint16_t port;
        bool resting;
        from.address[15] = data[i + 3];
        if (data[i] % 4 == 0) {
            seat = gate_enter(&gate, now, &from);
            if (seat != GATE_NONE)
                open[seat] = true;
        } else if (data[i] % 4 == 1 && open[seat]) {
            if (gate_up(&gate, seat, (uint16_t)(51818 + data[i + 3] % 16), 1452, &port) ==
                GATE_CLOSE) {
                (void)gate_leave(&gate, now, seat);
                open[seat] = false;
            }
        } else if (data[i] % 4 == 2) {
            (void)gate_down(&gate, now, seat, &from, 80, &port);
        } else {
            now_ms += data[i + 3] * 16;
            while ((seat = gate_expired(&gate, (struct ppn_instant){now_ms * 1000000}, &resting)) !=
                   GATE_NONE) {
                PPN_ASSERT(open[seat] != resting);
                if (!resting)
                    (void)gate_leave(&gate, (struct ppn_instant){now_ms * 1000000}, seat);
                open[seat] = false;
            }
        }
        uint32_t count = 0;
        for (size_t k = 0; k < GATE_SEATS; k++)
            count += open[k];
        PPN_ASSERT(count == gate.stats.open && count <= GATE_OPEN_MAX);
        PPN_ASSERT(gate.stats.strangers <= GATE_STRANGERS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t whole, pieces;
    size_t count = read_all(data, size, size > 0 ? size : 1, &whole);
    PPN_ASSERT(read_all(data, size, size > 0 ? 1 + data[0] : 1, &pieces) == count);
    PPN_ASSERT(whole == pieces);
    live(data, size);
    return 0;
}
