// SPDX-License-Identifier: ISC
#include <string.h>

#include <sodium.h>

#include "fuzz.h"
#include "wire/channel.h"

/* Three games, chosen by the first byte: raw bytes at a server, raw bytes at a client, and two
 * honest sides with somebody in between who edits, drops and repeats what they say. In the last one
 * a message that arrives is always the next one that was sent. */

enum { BUFFER = 2048, OUT = 8192, MESSAGES = 4 };

struct side {
    struct wire_channel channel;
    struct wire_channel_config config;
    uint8_t secret_key[64], buffer[BUFFER], out[OUT];
    struct ppn_writer writer;
    uint8_t sent, received;
    bool ready;
};

static void start_side(struct side *side, enum wire_channel_role role, uint8_t flags)
{
    uint8_t seed[32];
    memset(side, 0, sizeof(*side));
    memset(seed, role == WIRE_CHANNEL_CLIENT ? 1 : 2, sizeof(seed));
    crypto_sign_seed_keypair(side->config.self.bytes, side->secret_key, seed);
    memset(side->config.randomness, seed[0] + 10, sizeof(side->config.randomness));
    side->config.role = role;
    side->config.secret_key = side->secret_key;
    side->config.cookie_required = (flags & 4) != 0;
    side->config.buffer = side->buffer;
    side->config.buffer_size = sizeof(side->buffer);
    if (role == WIRE_CHANNEL_SERVER || (flags & 8))
        memset(side->config.network.bytes, 9, PPN_HASH_SIZE);
    side->writer = ppn_writer(side->out, sizeof(side->out));
    PPN_ASSERT(wire_channel_init(&side->channel, &side->config, &side->writer) == PPN_OK);
}

/* Feeds bytes; false when the side gave up. */
static bool feed(struct side *to, struct ppn_slice bytes, bool honest)
{
    while (bytes.size > 0) {
        struct wire_channel_event event;
        if (wire_channel_receive(&to->channel, &bytes, &to->writer, &event) != PPN_OK)
            return false;
        if (event.kind == WIRE_CHANNEL_READY)
            to->ready = true;
        if (event.kind == WIRE_CHANNEL_MESSAGE || event.kind == WIRE_CHANNEL_ENDED) {
            PPN_ASSERT(honest && to->ready); /* without the keys nobody makes a record */
            PPN_ASSERT(event.message.size == 1 && event.message.data[0] == to->received);
            to->received++;
        }
    }
    return true;
}

/* One flight from `from` to `to`, edited as three bytes of the script say. */
static bool flight(struct side *from, struct side *to, struct ppn_slice *script)
{
    uint8_t copy[OUT + 1];
    size_t size = from->writer.size;
    memcpy(copy, from->out, size);
    from->writer = ppn_writer(from->out, sizeof(from->out));
    if (script->size >= 3) {
        const uint8_t *s = script->data;
        if (size > 0 && s[0] != 0xff)
            copy[(s[0] | (s[1] & 1u) << 8) % size] ^= s[2];
        if (s[1] & 2)
            size /= 2;
        if ((s[1] & 4) && !feed(to, ppn_slice(copy, size), true))
            return false;
        script->data += 3;
        script->size -= 3;
    }
    return feed(to, ppn_slice(copy, size), true);
}

static void two_sides(uint8_t flags, struct ppn_slice script)
{
    static struct side client, server;
    start_side(&client, WIRE_CHANNEL_CLIENT, flags);
    start_side(&server, WIRE_CHANNEL_SERVER, flags);
    for (int i = 0; i < 4 + MESSAGES; i++) {
        if (!flight(&client, &server, &script) || !flight(&server, &client, &script))
            return;
        struct side *speaker = i % 2 ? &client : &server;
        if (speaker->ready && wire_channel_send(&speaker->channel, ppn_slice(&speaker->sent, 1),
                                                i == MESSAGES, &speaker->writer) == PPN_OK)
            speaker->sent++;
    }
    PPN_ASSERT(client.received <= server.sent && server.received <= client.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct side alone;
    struct ppn_slice input = ppn_slice(data, size);
    uint8_t flags = fuzz_choice(&input);
    if (input.size > OUT)
        return 0;
    if ((flags & 3) >= 2) {
        two_sides(flags, input);
        return 0;
    }
    start_side(&alone, flags & 1 ? WIRE_CHANNEL_CLIENT : WIRE_CHANNEL_SERVER, flags);
    (void)feed(&alone, input, false);
    return 0;
}
