// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "wire/path.h"

struct person {
    struct ppn_node_id id;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

static struct ppn_hash network = {{9, 9, 9}};

static struct person person(uint8_t number)
{
    struct person person;
    uint8_t seed[crypto_sign_SEEDBYTES] = {number};
    cr_assert(sodium_init() >= 0);
    crypto_sign_seed_keypair(person.id.bytes, person.secret, seed);
    return person;
}

static struct wire_path_key key_of(const struct person *a, const struct person *b)
{
    struct wire_path_key key;
    cr_assert(wire_path_key(&network, a->secret, &a->id, &b->id, &key) == PPN_OK);
    return key;
}

static struct wire_path_packet sample(enum wire_path_kind kind)
{
    struct wire_path_packet packet = {.kind = kind, .sender = UINT64_C(0x0102030405060708)};
    packet.recipient = UINT64_MAX - 1;
    packet.counter = UINT64_C(1) << 50;
    packet.nonce = 77;
    packet.size = WIRE_PATH_SIZE_MIN;
    if (kind == WIRE_PATH_PONG) {
        memset(packet.pong.observed.address, 0xab, 16);
        packet.pong.observed.port = 51820;
        packet.pong.size = 1400;
        packet.pong.missed = 3;
    } else if (kind == WIRE_PATH_BIND || kind == WIRE_PATH_MAILBOX) {
        packet.bind.node = 5;
    } else if (kind == WIRE_PATH_BOUND) {
        packet.bound.port = 51822;
        packet.bound.lifetime_s = 30;
        memset(packet.bound.observed.address, 0xcd, 16);
        packet.bound.observed.port = 1;
    } else if (kind == WIRE_PATH_MAILBOX_IS) {
        packet.mailbox_is.port = 51823;
    } else if (kind == WIRE_PATH_STALE) {
        packet.stale.counter = UINT64_MAX;
    }
    return packet;
}

Test(wire_path, both_sides_make_one_key_and_others_another)
{
    struct person a = person(1), b = person(2), c = person(3);
    struct wire_path_key ab = key_of(&a, &b), ba = key_of(&b, &a), ac = key_of(&a, &c), relay;
    cr_assert_arr_eq(ab.bytes, ba.bytes, sizeof(ab.bytes));
    cr_assert(memcmp(ab.bytes, ac.bytes, sizeof(ab.bytes)) != 0);
    wire_path_relay_key(&ab, &relay);
    cr_assert(memcmp(ab.bytes, relay.bytes, sizeof(ab.bytes)) != 0);
    cr_assert(wire_path_tag(&network, &a.id) != wire_path_tag(&network, &b.id));
    struct ppn_hash other = {{8}};
    struct wire_path_key elsewhere;
    cr_assert(wire_path_key(&other, a.secret, &a.id, &b.id, &elsewhere) == PPN_OK);
    cr_assert(memcmp(ab.bytes, elsewhere.bytes, sizeof(ab.bytes)) != 0);
}

Test(wire_path, a_key_that_is_no_point_is_refused)
{
    struct person a = person(1);
    struct ppn_node_id zero = {{0}};
    struct wire_path_key key;
    cr_assert(wire_path_key(&network, a.secret, &a.id, &zero, &key) == PPN_ERROR_INVALID);
}

Test(wire_path, every_kind_comes_back_as_it_went)
{
    struct wire_path_key key = {{4}};
    for (int kind = WIRE_PATH_PING; kind <= WIRE_PATH_KIND_MAX; kind++) {
        uint8_t bytes[2 * WIRE_PATH_SIZE_MIN], again[2 * WIRE_PATH_SIZE_MIN];
        struct wire_path_packet packet = sample((enum wire_path_kind)kind), read;
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        struct ppn_writer second = ppn_writer(again, sizeof(again));
        uint64_t sender, recipient;
        if (wire_path_is_question(packet.kind))
            packet.size = 131;
        cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_OK);
        cr_assert(writer.size == packet.size && bytes[0] == WIRE_PATH_MAGIC);
        cr_assert(wire_path_peek(ppn_written(&writer), &sender, &recipient));
        cr_assert(sender == packet.sender && recipient == packet.recipient);
        cr_assert(wire_path_decode(ppn_written(&writer), &key, &read) == PPN_OK);
        cr_assert(read.kind == packet.kind && read.counter == packet.counter &&
                  read.nonce == packet.nonce && read.size == packet.size);
        cr_assert(wire_path_encode(&read, &key, &second) == PPN_OK);
        cr_assert_arr_eq(bytes, again, packet.size);
    }
}

Test(wire_path, every_flipped_bit_and_every_cut_is_refused)
{
    struct wire_path_key key = {{4}};
    for (int kind = WIRE_PATH_PING; kind <= WIRE_PATH_KIND_MAX; kind++) {
        uint8_t bytes[WIRE_PATH_SIZE_MIN];
        struct wire_path_packet packet = sample((enum wire_path_kind)kind), read;
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_OK);
        for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert(wire_path_decode(ppn_slice(bytes, sizeof(bytes)), &key, &read) != PPN_OK);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t size = 0; size < sizeof(bytes); size++)
            cr_assert(wire_path_decode(ppn_slice(bytes, size), &key, &read) != PPN_OK);
        struct wire_path_key other = {{5}};
        cr_assert(wire_path_decode(ppn_slice(bytes, sizeof(bytes)), &other, &read) ==
                  PPN_ERROR_SIGNATURE);
    }
}

Test(wire_path, sizes_have_bounds_and_answers_do_not_grow)
{
    static uint8_t bytes[WIRE_PATH_SIZE_MAX + 1];
    struct wire_path_key key = {{4}};
    struct wire_path_packet packet = sample(WIRE_PATH_PING), read;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    packet.size = WIRE_PATH_SIZE_MAX;
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_OK);
    cr_assert(wire_path_decode(ppn_written(&writer), &key, &read) == PPN_OK);
    writer = ppn_writer(bytes, sizeof(bytes));
    packet.size = WIRE_PATH_SIZE_MAX + 1;
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_ERROR_INVALID);
    packet.size = WIRE_PATH_SIZE_MIN - 1;
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_ERROR_INVALID);
    packet = sample(WIRE_PATH_PONG);
    packet.size++;
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_ERROR_INVALID);
    packet.size--;
    writer = ppn_writer(bytes, WIRE_PATH_SIZE_MIN - 1);
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_ERROR_NO_SPACE);
}

/* Fixed for ever: another build must make the same bytes of the same keys. */
Test(wire_path, the_layout_is_the_documented_one)
{
    uint8_t bytes[WIRE_PATH_SIZE_MIN];
    struct wire_path_key key = {{4}};
    struct wire_path_packet packet = sample(WIRE_PATH_BOUND);
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    cr_assert(wire_path_encode(&packet, &key, &writer) == PPN_OK);
    static const uint8_t head[] = {
        0xd5, 1, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
        0,    4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0,    0,    77,   0xca, 0x6e, 0,    30};
    cr_assert_arr_eq(bytes, head, sizeof(head));
    cr_assert(bytes[40] == 0xcd && bytes[55] == 0xcd && bytes[56] == 0 && bytes[57] == 1);
    for (size_t i = 58; i < 64; i++)
        cr_assert(bytes[i] == 0);
}

Test(wire_path, a_call_is_four_bytes_and_nothing_else_is_one)
{
    for (int moved = 0; moved < 2; moved++) {
        uint8_t bytes[WIRE_PATH_CALL_SIZE + 1] = {0};
        bool read;
        wire_path_call_encode(moved != 0, bytes);
        cr_assert_eq(wire_path_call_decode(ppn_slice(bytes, WIRE_PATH_CALL_SIZE), &read), PPN_OK);
        cr_assert_eq(read, moved != 0);
        cr_assert_neq(wire_path_call_decode(ppn_slice(bytes, WIRE_PATH_CALL_SIZE + 1), &read),
                      PPN_OK);
        cr_assert_neq(wire_path_call_decode(ppn_slice(bytes, WIRE_PATH_CALL_SIZE - 1), &read),
                      PPN_OK);
        cr_assert_neq(wire_path_call_decode(ppn_slice(NULL, 0), &read), PPN_OK);
        for (size_t i = 0; i < WIRE_PATH_CALL_SIZE; i++) {
            bytes[i] ^= 0x40;
            cr_assert_neq(wire_path_call_decode(ppn_slice(bytes, WIRE_PATH_CALL_SIZE), &read),
                          PPN_OK);
            bytes[i] ^= 0x40;
        }
    }
}
