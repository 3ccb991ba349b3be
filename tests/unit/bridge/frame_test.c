// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/random.h"
#include "bridge/frame.h"

Test(bridge_frame, comes_back_from_pieces_of_any_size)
{
    static uint8_t stream[64 * BRIDGE_FRAME_MAX], datagram[BRIDGE_DATAGRAM_MAX];
    struct ppn_random random;
    ppn_random_init(&random, 7);
    for (int round = 0; round < 50; round++) {
        struct ppn_writer writer = ppn_writer(stream, sizeof(stream));
        struct bridge_reader reader = {0};
        size_t sizes[64];
        for (size_t i = 0; i < 64; i++) {
            sizes[i] = 1 + ppn_random_u64(&random) % (i % 4 == 0 ? BRIDGE_DATAGRAM_MAX : 40);
            memset(datagram, (int)i, sizes[i]);
            cr_assert(
                bridge_frame_put(&writer, (uint16_t)(i * 1000), ppn_slice(datagram, sizes[i])));
        }
        size_t at = 0, seen = 0;
        while (at < writer.size) {
            size_t piece = 1 + ppn_random_u64(&random) % (round % 2 == 0 ? 7 : 3000);
            if (piece > writer.size - at)
                piece = writer.size - at;
            struct ppn_slice input = ppn_slice(stream + at, piece);
            struct bridge_frame frame;
            enum bridge_read got;
            at += piece;
            while ((got = bridge_reader_next(&reader, &input, &frame)) == BRIDGE_READ_FRAME) {
                cr_assert_eq(frame.port, (uint16_t)(seen * 1000));
                cr_assert_eq(frame.datagram.size, sizes[seen]);
                cr_assert_eq(frame.datagram.data[0], (uint8_t)seen);
                cr_assert_eq(frame.datagram.data[sizes[seen] - 1], (uint8_t)seen);
                seen++;
            }
            cr_assert_eq(got, BRIDGE_READ_MORE);
            cr_assert_eq(input.size, 0);
        }
        cr_assert_eq(seen, 64);
    }
}

Test(bridge_frame, sizes_that_none_has_are_refused_in_one_piece_and_in_many)
{
    static const uint8_t wrong[][BRIDGE_HEADER] = {
        {0, 0, 0, 1},
        {BRIDGE_DATAGRAM_MAX >> 8, (BRIDGE_DATAGRAM_MAX & 0xff) + 1, 0, 0},
        {0xff, 0xff, 0, 0},
        {'G', 'E', 'T', ' '}};
    struct bridge_frame frame;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct bridge_reader reader = {0};
        struct ppn_slice input = ppn_slice(wrong[i], BRIDGE_HEADER);
        cr_assert_eq(bridge_reader_next(&reader, &input, &frame), BRIDGE_READ_BAD);
        reader = (struct bridge_reader){0};
        for (size_t k = 0; k < BRIDGE_HEADER; k++) {
            input = ppn_slice(&wrong[i][k], 1);
            cr_assert_eq(bridge_reader_next(&reader, &input, &frame),
                         k + 1 < BRIDGE_HEADER ? BRIDGE_READ_MORE : BRIDGE_READ_BAD);
        }
    }
    uint8_t bytes[BRIDGE_FRAME_MAX];
    static const uint8_t large[BRIDGE_DATAGRAM_MAX + 1];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    cr_assert_not(bridge_frame_put(&writer, 1, ppn_slice(large, 0)));
    cr_assert_not(bridge_frame_put(&writer, 1, ppn_slice(large, sizeof(large))));
    cr_assert_eq(writer.size, 0);
}

Test(bridge_frame, data_waits_in_a_bounded_queue_and_handshakes_and_probes_pass_it)
{
    static const uint8_t data[1452] = {4}, handshake[148] = {1}, probe[80] = {0xd5};
    cr_assert(bridge_frame_fits(0, ppn_slice(data, sizeof(data))));
    cr_assert(bridge_frame_fits(BRIDGE_QUEUE_MAX - sizeof(data), ppn_slice(data, sizeof(data))));
    cr_assert_not(bridge_frame_fits(BRIDGE_QUEUE_MAX, ppn_slice(data, sizeof(data))));
    cr_assert(bridge_frame_fits(BRIDGE_QUEUE_MAX, ppn_slice(handshake, sizeof(handshake))));
    cr_assert(bridge_frame_fits(BRIDGE_QUEUE_MAX, ppn_slice(probe, sizeof(probe))));
    cr_assert_not(
        bridge_frame_fits(BRIDGE_QUEUE_MAX + BRIDGE_QUEUE_URGENT, ppn_slice(probe, sizeof(probe))));
}

static struct ppn_instant at_ms(int64_t ms)
{
    return (struct ppn_instant){ms * 1000000};
}

/* Seconds until the connection counts as dead, told each second. */
static int64_t dies_after(bool sends)
{
    struct bridge_alive alive = {0};
    int asked = 0;
    bridge_alive_heard(&alive, at_ms(0));
    for (int64_t s = 1; s < 100; s++) {
        if (sends)
            bridge_alive_sent(&alive, at_ms(s * 1000 - 500));
        enum bridge_alive_verdict verdict = bridge_alive_tick(&alive, at_ms(s * 1000));
        asked += verdict == BRIDGE_ASK;
        if (verdict == BRIDGE_DEAD) {
            cr_assert_eq(asked, 1);
            return s;
        }
    }
    return -1;
}

Test(bridge_alive, a_silent_end_is_asked_once_and_left)
{
    cr_assert_eq(dies_after(true), 7);
    cr_assert_eq(dies_after(false), 14);
}

Test(bridge_alive, one_that_answers_lives)
{
    struct bridge_alive alive = {0};
    int asked = 0;
    bridge_alive_heard(&alive, at_ms(0));
    for (int64_t s = 1; s < 1000; s++) {
        enum bridge_alive_verdict verdict = bridge_alive_tick(&alive, at_ms(s * 1000));
        cr_assert_neq(verdict, BRIDGE_DEAD);
        if (verdict == BRIDGE_ASK) {
            asked++;
            bridge_alive_heard(&alive, at_ms(s * 1000 + 40));
        }
    }
    cr_assert(asked > 80 && asked < 100, "%d questions", asked);
}
