// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "wire/channel.h"

struct side {
    struct wire_channel channel;
    struct wire_channel_config config;
    uint8_t secret_key[64];
    uint8_t buffer[WIRE_CHANNEL_RECORD_MAX];
    uint8_t out[4 * WIRE_CHANNEL_RECORD_MAX];
    struct ppn_writer writer;
    struct wire_channel_event last;
    bool ready;
};

static struct side client, server;

static void make_side(struct side *side, enum wire_channel_role role, uint8_t seed)
{
    uint8_t seeds[32];
    memset(side, 0, sizeof(*side));
    memset(seeds, seed, sizeof(seeds));
    crypto_sign_seed_keypair(side->config.self.bytes, side->secret_key, seeds);
    memset(side->config.randomness, seed + 1, sizeof(side->config.randomness));
    side->config.role = role;
    side->config.secret_key = side->secret_key;
    side->config.buffer = side->buffer;
    side->config.buffer_size = sizeof(side->buffer);
    side->writer = ppn_writer(side->out, sizeof(side->out));
}

static void start(void)
{
    make_side(&client, WIRE_CHANNEL_CLIENT, 1);
    make_side(&server, WIRE_CHANNEL_SERVER, 50);
    memset(server.config.network.bytes, 9, PPN_HASH_SIZE);
    memset(server.config.cookie_secrets, 7, sizeof(server.config.cookie_secrets));
    server.config.source[15] = 1;
}

static void begin(void)
{
    cr_assert(wire_channel_init(&client.channel, &client.config, &client.writer) == PPN_OK);
    cr_assert(wire_channel_init(&server.channel, &server.config, &server.writer) == PPN_OK);
}

static enum ppn_error deliver(struct side *to, const uint8_t *data, size_t size)
{
    struct ppn_slice bytes = ppn_slice(data, size);
    enum ppn_error error = PPN_OK;
    while (bytes.size > 0 && !error) {
        error = wire_channel_receive(&to->channel, &bytes, &to->writer, &to->last);
        if (!error && to->last.kind == WIRE_CHANNEL_READY)
            to->ready = true;
    }
    return error;
}

/* All that `from` has written goes to `to`, in pieces of `piece` bytes. */
static enum ppn_error carry(struct side *from, struct side *to, size_t piece)
{
    enum ppn_error error = PPN_OK;
    size_t size = from->writer.size;
    from->writer.size = 0;
    for (size_t at = 0; at < size && !error; at += piece)
        error = deliver(to, from->out + at, size - at < piece ? size - at : piece);
    return error;
}

static enum ppn_error shake(size_t piece)
{
    enum ppn_error error = PPN_OK;
    for (int i = 0; i < 4 && !error; i++) {
        error = carry(&client, &server, piece);
        if (!error)
            error = carry(&server, &client, piece);
    }
    return error;
}

TestSuite(wire_channel, .init = start);

Test(wire_channel, both_sides_know_each_other_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 3, 64, 4096};
    for (size_t i = 0; i < 4; i++) {
        start();
        begin();
        cr_assert(shake(pieces[i]) == PPN_OK && client.ready && server.ready);
        cr_assert(ppn_node_id_equal(&client.channel.peer, &server.config.self));
        cr_assert(ppn_node_id_equal(&server.channel.peer, &client.config.self));
        cr_assert(ppn_hash_equal(&client.channel.network, &server.config.network));
    }
}

Test(wire_channel, messages_of_every_size_pass_and_the_end_is_seen)
{
    static uint8_t message[WIRE_CHANNEL_MESSAGE_MAX];
    size_t sizes[] = {0, 1, 1000, sizeof(message)};
    memset(message, 0x42, sizeof(message));
    begin();
    cr_assert(shake(4096) == PPN_OK);
    for (size_t i = 0; i < 4; i++) {
        cr_assert(wire_channel_send(&server.channel, ppn_slice(message, sizes[i]), false,
                                    &server.writer) == PPN_OK);
        cr_assert(carry(&server, &client, 1000) == PPN_OK);
        cr_assert(client.last.kind == WIRE_CHANNEL_MESSAGE && client.last.message.size == sizes[i]);
    }
    cr_assert(wire_channel_send(&client.channel, ppn_slice("bye", 3), true, &client.writer) ==
              PPN_OK);
    cr_assert(carry(&client, &server, 7) == PPN_OK && server.last.kind == WIRE_CHANNEL_ENDED);
    cr_assert(wire_channel_send(&client.channel, ppn_slice("x", 1), false, &client.writer) ==
              PPN_ERROR_CLOSED);
    cr_assert(deliver(&server, message, 1) == PPN_ERROR_INVALID);
}

/* In each flight of the handshake every flipped bit is noticed by somebody before both are ready.
 * Alone the cookie field of a HELLO to a server without load means nothing. */
Test(wire_channel, a_changed_bit_never_makes_a_channel)
{
    size_t flights[2] = {54, 38 + 4 + 17 + 128}, third = 4 + 17 + 128;
    for (int flight = 0; flight < 2; flight++)
        for (size_t bit = 0; bit < 8 * flights[flight]; bit += flight == 0 ? 1 : 5) {
            if (flight == 0 && bit / 8 >= 38)
                break;
            start();
            begin();
            struct side *from = flight == 0 ? &client : &server;
            if (flight == 1)
                cr_assert(carry(&client, &server, 4096) == PPN_OK);
            cr_assert(from->writer.size == flights[flight]);
            from->out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            (void)shake(4096);
            cr_assert(!client.ready && !server.ready, "flight %d bit %zu", flight, bit);
        }
    for (size_t bit = 0; bit < 8 * third; bit += 5) {
        start();
        begin();
        cr_assert(carry(&client, &server, 4096) == PPN_OK);
        cr_assert(carry(&server, &client, 4096) == PPN_OK && client.ready);
        client.out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)carry(&client, &server, 4096);
        cr_assert(!server.ready, "third flight bit %zu", bit);
    }
}

Test(wire_channel, cut_replayed_and_swapped_records_fail)
{
    uint8_t first[200], size;
    begin();
    cr_assert(shake(4096) == PPN_OK);
    cr_assert(wire_channel_send(&client.channel, ppn_slice("one", 3), false, &client.writer) ==
              PPN_OK);
    size = (uint8_t)client.writer.size;
    memcpy(first, client.out, size);
    cr_assert(carry(&client, &server, 4096) == PPN_OK);
    cr_assert(deliver(&server, first, size) == PPN_ERROR_SIGNATURE);
    cr_assert(deliver(&server, first, size) == PPN_ERROR_CLOSED);
}

Test(wire_channel, a_recorded_session_opens_nothing)
{
    uint8_t hello[54], proof[4 + 17 + 128];
    begin();
    memcpy(hello, client.out, sizeof(hello));
    cr_assert(carry(&client, &server, 4096) == PPN_OK);
    cr_assert(carry(&server, &client, 4096) == PPN_OK);
    memcpy(proof, client.out, sizeof(proof));
    /* The same bytes against a server with another ephemeral key. */
    server.config.randomness[9] ^= 1;
    server.ready = false;
    server.writer.size = 0;
    cr_assert(wire_channel_init(&server.channel, &server.config, &server.writer) == PPN_OK);
    cr_assert(deliver(&server, hello, sizeof(hello)) == PPN_OK);
    cr_assert(deliver(&server, proof, sizeof(proof)) == PPN_ERROR_SIGNATURE && !server.ready);
}

Test(wire_channel, reflected_bytes_are_refused)
{
    begin();
    /* The client's own HELLO is no ANSWER. */
    cr_assert(deliver(&client, client.out, client.writer.size) == PPN_ERROR_INVALID);
    start();
    begin();
    /* An ANSWER with the client's own ephemeral key. */
    uint8_t answer[38];
    memcpy(answer, client.out, sizeof(answer));
    answer[4] = 3;
    cr_assert(deliver(&client, answer, sizeof(answer)) == PPN_ERROR_INVALID);
    start();
    begin();
    /* A low-order point gives an all-zero secret. */
    memset(answer + 6, 0, 32);
    cr_assert(deliver(&client, answer, sizeof(answer)) == PPN_ERROR_INVALID);
}

Test(wire_channel, a_node_does_not_join_itself)
{
    memcpy(server.config.self.bytes, client.config.self.bytes, PPN_ID_SIZE);
    server.config.secret_key = client.secret_key;
    begin();
    cr_assert(shake(4096) == PPN_ERROR_CONFLICT && !client.ready && !server.ready);
}

Test(wire_channel, a_client_with_a_token_leaves_before_it_names_itself)
{
    memset(client.config.network.bytes, 8, PPN_HASH_SIZE);
    begin();
    cr_assert(shake(4096) == PPN_ERROR_CONFLICT && !server.ready && client.writer.size == 0);
    start();
    memset(client.config.expected_server.bytes, 8, PPN_ID_SIZE);
    begin();
    cr_assert(shake(4096) == PPN_ERROR_CONFLICT && !server.ready && client.writer.size == 0);
    start();
    client.config.network = server.config.network;
    client.config.expected_server = server.config.self;
    begin();
    cr_assert(shake(4096) == PPN_OK && server.ready);
}

Test(wire_channel, under_load_a_cookie_comes_first_and_serves_again)
{
    uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE];
    server.config.cookie_required = true;
    begin();
    cr_assert(carry(&client, &server, 4096) == PPN_OK && server.writer.size == 22);
    cr_assert(carry(&server, &client, 4096) == PPN_OK && client.writer.size == 54);
    cr_assert(shake(4096) == PPN_OK && client.ready && server.ready);
    wire_channel_cookie(&client.channel, cookie);
    /* Later, after the secret was changed once. */
    start();
    server.config.cookie_required = true;
    memset(server.config.cookie_secrets[0], 3, 32);
    memcpy(client.config.cookie, cookie, sizeof(cookie));
    begin();
    cr_assert(carry(&client, &server, 4096) == PPN_OK && server.writer.size > 100);
    /* From another address it is worth nothing, and asking twice ends it. */
    start();
    server.config.cookie_required = true;
    server.config.source[15] = 2;
    memcpy(client.config.cookie, cookie, sizeof(cookie));
    begin();
    uint8_t hello[54];
    memcpy(hello, client.out, sizeof(hello));
    cr_assert(carry(&client, &server, 4096) == PPN_OK && server.writer.size == 22);
    cr_assert(deliver(&server, hello, sizeof(hello)) == PPN_ERROR_INVALID);
}

Test(wire_channel, refusals_are_told_apart)
{
    begin();
    client.out[5] = 9; /* version */
    cr_assert(carry(&client, &server, 4096) == PPN_ERROR_VERSION);
    cr_assert(carry(&server, &client, 4096) == PPN_ERROR_VERSION);
    start();
    begin();
    server.writer.size = 0;
    wire_channel_busy(&server.writer);
    cr_assert(carry(&server, &client, 1) == PPN_ERROR_BUSY);
    start();
    begin();
    cr_assert(deliver(&server, (const uint8_t *)"GET / HTTP/1.1\r\n", 16) == PPN_ERROR_INVALID);
}

Test(wire_channel, a_record_over_the_buffer_is_refused_at_its_size)
{
    server.config.buffer_size = 512;
    begin();
    cr_assert(shake(4096) == PPN_OK && server.ready);
    uint8_t prefix[4] = {0, 0, 2, 0};
    cr_assert(deliver(&server, prefix, 4) == PPN_ERROR_TOO_BIG);
}

/* The shortcut of wire/channel.c: a stream started by init_pull with a given header writes what a
 * stream started by init_push with the same header reads, and the other way round. */
Test(wire_channel, init_pull_makes_the_state_of_init_push)
{
    crypto_secretstream_xchacha20poly1305_state pushed, pulled;
    uint8_t key[32] = {5}, header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    cr_assert(sodium_init() >= 0);
    memset(&pushed, 0, sizeof(pushed));
    memset(&pulled, 0, sizeof(pulled));
    crypto_secretstream_xchacha20poly1305_init_push(&pushed, header, key);
    cr_assert(crypto_secretstream_xchacha20poly1305_init_pull(&pulled, header, key) == 0);
    cr_assert(memcmp(&pushed, &pulled, sizeof(pushed)) == 0);
}
