// SPDX-License-Identifier: ISC
#include "wire/channel.h"

#include <string.h>

#include <sodium.h>

#include "base/assert.h"

/* Plain messages start with magic, what it is and the major version. */
enum {
    PLAIN_HEADER = 6,
    PLAIN_HELLO = 1,
    PLAIN_COOKIE = 2,
    PLAIN_ANSWER = 3,
    PLAIN_REFUSE = 4,
    REFUSED_VERSION = 1,
    REFUSED_BUSY = 2,
    KEY_SIZE = 32,
    /* The part of HELLO that the transcript covers; the cookie after it says nothing of the
     * session and may differ between the two tries. */
    HELLO_SIGNED = PLAIN_HEADER + KEY_SIZE,
    HELLO_SIZE = HELLO_SIGNED + WIRE_CHANNEL_COOKIE_SIZE,
    COOKIE_SIZE = PLAIN_HEADER + WIRE_CHANNEL_COOKIE_SIZE,
    ANSWER_SIZE = PLAIN_HEADER + KEY_SIZE,
    REFUSE_SIZE = PLAIN_HEADER + 1,
    PREFIX = 4,
    ABYTES = crypto_secretstream_xchacha20poly1305_ABYTES,
    PROOF_SIZE = PPN_ID_SIZE + PPN_HASH_SIZE + crypto_sign_BYTES
};

_Static_assert(sizeof(crypto_secretstream_xchacha20poly1305_state) == 52, "push and pull");
_Static_assert(PREFIX + ABYTES == WIRE_CHANNEL_OVERHEAD, "as promised");
_Static_assert(ANSWER_SIZE + PREFIX + ABYTES + PROOF_SIZE <= WIRE_CHANNEL_HANDSHAKE_MAX,
               "the longest flight of the handshake");
_Static_assert(crypto_sign_SECRETKEYBYTES == WIRE_CHANNEL_SECRET_KEY_SIZE, "Ed25519");

enum state { WAIT_HELLO, WAIT_ANSWER, WAIT_PROOF, OPEN, PEER_ENDED, DEAD };

static const uint8_t magic[4] = {'P', 'P', 'N', 'J'};

static crypto_secretstream_xchacha20poly1305_state *stream(uint8_t *bytes)
{
    return (crypto_secretstream_xchacha20poly1305_state *)(void *)bytes;
}

static void absorb(crypto_generichash_state *hash, const char *label)
{
    crypto_generichash_update(hash, (const uint8_t *)label, strlen(label));
}

static void write_plain(struct ppn_writer *out, uint8_t what)
{
    ppn_write(out, ppn_slice(magic, sizeof(magic)));
    ppn_write_u8(out, what);
    ppn_write_u8(out, WIRE_CHANNEL_MAJOR);
}

static void write_hello(const struct wire_channel *channel, struct ppn_writer *out)
{
    write_plain(out, PLAIN_HELLO);
    ppn_write(out, ppn_slice(channel->ephemeral_public, KEY_SIZE));
    ppn_write(out, ppn_slice(channel->config.cookie, WIRE_CHANNEL_COOKIE_SIZE));
}

enum ppn_error wire_channel_init(struct wire_channel *channel,
                                 const struct wire_channel_config *config, struct ppn_writer *out)
{
    PPN_ASSERT(config->buffer && config->buffer_size >= WIRE_CHANNEL_HANDSHAKE_MAX);
    PPN_ASSERT(memcmp(config->secret_key + 32, config->self.bytes, PPN_ID_SIZE) == 0);
    *channel = (struct wire_channel){.config = *config, .state = DEAD};
    memcpy(channel->ephemeral_secret, config->randomness, KEY_SIZE);
    sodium_memzero(channel->config.randomness, sizeof(channel->config.randomness));
    channel->state = config->role == WIRE_CHANNEL_CLIENT ? WAIT_ANSWER : WAIT_HELLO;
    if (config->role == WIRE_CHANNEL_CLIENT) {
        if (crypto_scalarmult_base(channel->ephemeral_public, channel->ephemeral_secret) != 0)
            return PPN_ERROR_INVALID;
        write_hello(channel, out);
    }
    return out->overflow ? PPN_ERROR_TOO_BIG : PPN_OK;
}

void wire_channel_wipe(struct wire_channel *channel)
{
    sodium_memzero(channel, sizeof(*channel));
    channel->state = DEAD;
}

void wire_channel_cookie(const struct wire_channel *channel,
                         uint8_t cookie[static WIRE_CHANNEL_COOKIE_SIZE])
{
    memcpy(cookie, channel->config.cookie, WIRE_CHANNEL_COOKIE_SIZE);
}

void wire_channel_busy(struct ppn_writer *out)
{
    write_plain(out, PLAIN_REFUSE);
    ppn_write_u8(out, REFUSED_BUSY);
}

/* Moves input into the buffer until it holds `wanted` bytes; false: more is needed. */
static bool gather(struct wire_channel *channel, struct ppn_slice *bytes, size_t wanted)
{
    PPN_ASSERT(wanted <= channel->config.buffer_size);
    if (channel->have < wanted) {
        size_t n = wanted - channel->have < bytes->size ? wanted - channel->have : bytes->size;
        if (n > 0)
            memcpy(channel->config.buffer + channel->have, bytes->data, n);
        bytes->data += n;
        bytes->size -= n;
        channel->have += n;
    }
    return channel->have >= wanted;
}

static void make_cookie(const struct wire_channel *channel, int which,
                        uint8_t cookie[static WIRE_CHANNEL_COOKIE_SIZE])
{
    static const char label[] = "ppn-join-cookie-1";
    uint8_t input[sizeof(label) - 1 + sizeof(channel->config.source)];
    memcpy(input, label, sizeof(label) - 1);
    memcpy(input + sizeof(label) - 1, channel->config.source, sizeof(channel->config.source));
    crypto_generichash(cookie, WIRE_CHANNEL_COOKIE_SIZE, input, sizeof(input),
                       channel->config.cookie_secrets[which], 32);
}

static bool cookie_valid(const struct wire_channel *channel, const uint8_t *given)
{
    uint8_t present[WIRE_CHANNEL_COOKIE_SIZE], previous[WIRE_CHANNEL_COOKIE_SIZE];
    make_cookie(channel, 0, present);
    make_cookie(channel, 1, previous);
    int a = sodium_memcmp(given, present, sizeof(present));
    int b = sodium_memcmp(given, previous, sizeof(previous));
    return a == 0 || b == 0;
}

/* Like crypto_secretstream_*_init_push, but with a header of the key schedule in place of a random
 * one: the key is used for this one stream, so the header need not be random, and the machine stays
 * pure. Both initialisers set the same state for the same header. */
static void start_stream(uint8_t state[52], const uint8_t shared[static KEY_SIZE],
                         uint8_t direction, const uint8_t transcript[static KEY_SIZE])
{
    uint8_t okm[KEY_SIZE + crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, shared, KEY_SIZE, sizeof(okm));
    absorb(&hash, "ppn-join-keys-1");
    crypto_generichash_update(&hash, &direction, 1);
    crypto_generichash_update(&hash, transcript, KEY_SIZE);
    crypto_generichash_final(&hash, okm, sizeof(okm));
    crypto_secretstream_xchacha20poly1305_init_pull(stream(state), okm + KEY_SIZE, okm);
    sodium_memzero(okm, sizeof(okm));
    sodium_memzero(&hash, sizeof(hash));
}

/* Both ephemeral keys are there: transcript, shared secret, two streams; then the secret goes. */
static enum ppn_error agree(struct wire_channel *channel)
{
    bool client = channel->config.role == WIRE_CHANNEL_CLIENT;
    const uint8_t *client_key = client ? channel->ephemeral_public : channel->peer_ephemeral;
    const uint8_t *server_key = client ? channel->peer_ephemeral : channel->ephemeral_public;
    uint8_t plain[HELLO_SIGNED + ANSWER_SIZE], shared[KEY_SIZE];
    struct ppn_writer writer = ppn_writer(plain, sizeof(plain));
    crypto_generichash_state hash;

    if (memcmp(client_key, server_key, KEY_SIZE) == 0)
        return PPN_ERROR_INVALID;
    if (crypto_scalarmult(shared, channel->ephemeral_secret, channel->peer_ephemeral) != 0)
        return PPN_ERROR_INVALID;
    write_plain(&writer, PLAIN_HELLO);
    ppn_write(&writer, ppn_slice(client_key, KEY_SIZE));
    write_plain(&writer, PLAIN_ANSWER);
    ppn_write(&writer, ppn_slice(server_key, KEY_SIZE));
    PPN_ASSERT(!writer.overflow && writer.size == sizeof(plain));
    crypto_generichash_init(&hash, NULL, 0, KEY_SIZE);
    absorb(&hash, "ppn-join-transcript-1");
    crypto_generichash_update(&hash, plain, sizeof(plain));
    crypto_generichash_final(&hash, channel->transcript, KEY_SIZE);
    start_stream(client ? channel->push : channel->pull, shared, 'c', channel->transcript);
    start_stream(client ? channel->pull : channel->push, shared, 's', channel->transcript);
    sodium_memzero(shared, sizeof(shared));
    sodium_memzero(channel->ephemeral_secret, KEY_SIZE);
    return PPN_OK;
}

enum { SIGN_TRANSCRIPT_MAX = 32 + KEY_SIZE + PPN_HASH_SIZE + 2 * PPN_ID_SIZE };

/* What `signer` signs: see the header. */
static struct ppn_slice sign_transcript(const struct wire_channel *channel,
                                        enum wire_channel_role signer,
                                        uint8_t buffer[static SIGN_TRANSCRIPT_MAX])
{
    bool by_self = signer == channel->config.role;
    const struct ppn_node_id *own = &channel->config.self, *peer = &channel->peer;
    struct ppn_writer writer = ppn_writer(buffer, SIGN_TRANSCRIPT_MAX);
    const char *label = signer == WIRE_CHANNEL_SERVER ? "ppn-join-server-1" : "ppn-join-client-1";
    ppn_write(&writer, ppn_slice(label, strlen(label)));
    ppn_write(&writer, ppn_slice(channel->transcript, KEY_SIZE));
    ppn_write(&writer, ppn_slice(channel->network.bytes, PPN_HASH_SIZE));
    if (signer == WIRE_CHANNEL_CLIENT)
        ppn_write(&writer, ppn_slice((by_self ? peer : own)->bytes, PPN_ID_SIZE));
    ppn_write(&writer, ppn_slice((by_self ? own : peer)->bytes, PPN_ID_SIZE));
    PPN_ASSERT(!writer.overflow);
    return ppn_written(&writer);
}

static enum ppn_error write_record(struct wire_channel *channel, struct ppn_slice message,
                                   uint8_t tag, struct ppn_writer *out)
{
    size_t size = message.size + WIRE_CHANNEL_OVERHEAD;
    if (out->overflow || size > out->capacity - out->size)
        return PPN_ERROR_TOO_BIG;
    uint8_t *record = out->data + out->size;
    ppn_write_u32(out, (uint32_t)(message.size + ABYTES));
    int failed =
        crypto_secretstream_xchacha20poly1305_push(stream(channel->push), record + PREFIX, NULL,
                                                   message.data, message.size, record, PREFIX, tag);
    PPN_ASSERT(!failed);
    out->size += size - PREFIX;
    return PPN_OK;
}

static enum ppn_error write_proof(struct wire_channel *channel, struct ppn_writer *out)
{
    uint8_t proof[PROOF_SIZE], buffer[SIGN_TRANSCRIPT_MAX];
    struct ppn_slice transcript = sign_transcript(channel, channel->config.role, buffer);
    memcpy(proof, channel->config.self.bytes, PPN_ID_SIZE);
    memcpy(proof + PPN_ID_SIZE, channel->network.bytes, PPN_HASH_SIZE);
    crypto_sign_detached(proof + PPN_ID_SIZE + PPN_HASH_SIZE, NULL, transcript.data,
                         transcript.size, channel->config.secret_key);
    return write_record(channel, ppn_slice(proof, sizeof(proof)),
                        crypto_secretstream_xchacha20poly1305_TAG_MESSAGE, out);
}

/* The first bytes are looked at as they come: what is no HELLO of ours is not waited for. */
static enum ppn_error check_plain(const uint8_t *header)
{
    if (memcmp(header, magic, sizeof(magic)) != 0)
        return PPN_ERROR_INVALID;
    return PPN_OK;
}

static enum ppn_error server_hello(struct wire_channel *channel, struct ppn_slice *bytes,
                                   struct ppn_writer *out)
{
    const uint8_t *hello = channel->config.buffer;
    if (!gather(channel, bytes, PLAIN_HEADER))
        return PPN_OK;
    enum ppn_error error = check_plain(hello);
    if (error || hello[4] != PLAIN_HELLO)
        return PPN_ERROR_INVALID;
    if (hello[5] != WIRE_CHANNEL_MAJOR) {
        write_plain(out, PLAIN_REFUSE);
        ppn_write_u8(out, REFUSED_VERSION);
        return PPN_ERROR_VERSION;
    }
    if (!gather(channel, bytes, HELLO_SIZE))
        return PPN_OK;
    channel->have = 0;
    if (channel->config.cookie_required && !cookie_valid(channel, hello + HELLO_SIGNED)) {
        uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE];
        if (channel->cookie_seen)
            return PPN_ERROR_INVALID;
        channel->cookie_seen = true;
        make_cookie(channel, 0, cookie);
        write_plain(out, PLAIN_COOKIE);
        ppn_write(out, ppn_slice(cookie, sizeof(cookie)));
        return out->overflow ? PPN_ERROR_TOO_BIG : PPN_OK;
    }
    memcpy(channel->peer_ephemeral, hello + PLAIN_HEADER, KEY_SIZE);
    if (crypto_scalarmult_base(channel->ephemeral_public, channel->ephemeral_secret) != 0)
        return PPN_ERROR_INVALID;
    error = agree(channel);
    if (error)
        return error;
    write_plain(out, PLAIN_ANSWER);
    ppn_write(out, ppn_slice(channel->ephemeral_public, KEY_SIZE));
    channel->network = channel->config.network;
    channel->state = WAIT_PROOF;
    return write_proof(channel, out);
}

static enum ppn_error client_refused(const struct wire_channel *channel)
{
    switch (channel->config.buffer[PLAIN_HEADER]) {
    case REFUSED_VERSION:
        return PPN_ERROR_VERSION;
    case REFUSED_BUSY:
        return PPN_ERROR_BUSY;
    default:
        return PPN_ERROR_REFUSED;
    }
}

static enum ppn_error client_answer(struct wire_channel *channel, struct ppn_slice *bytes,
                                    struct ppn_writer *out)
{
    const uint8_t *answer = channel->config.buffer;
    if (!gather(channel, bytes, PLAIN_HEADER))
        return PPN_OK;
    enum ppn_error error = check_plain(answer);
    if (error)
        return error;
    if (answer[4] == PLAIN_REFUSE)
        return gather(channel, bytes, REFUSE_SIZE) ? client_refused(channel) : PPN_OK;
    if (answer[5] != WIRE_CHANNEL_MAJOR)
        return PPN_ERROR_VERSION;
    if (answer[4] == PLAIN_COOKIE) {
        if (channel->cookie_seen)
            return PPN_ERROR_INVALID;
        if (!gather(channel, bytes, COOKIE_SIZE))
            return PPN_OK;
        channel->have = 0;
        channel->cookie_seen = true;
        memcpy(channel->config.cookie, answer + PLAIN_HEADER, WIRE_CHANNEL_COOKIE_SIZE);
        write_hello(channel, out);
        return out->overflow ? PPN_ERROR_TOO_BIG : PPN_OK;
    }
    if (answer[4] != PLAIN_ANSWER)
        return PPN_ERROR_INVALID;
    if (!gather(channel, bytes, ANSWER_SIZE))
        return PPN_OK;
    channel->have = 0;
    memcpy(channel->peer_ephemeral, answer + PLAIN_HEADER, KEY_SIZE);
    channel->state = WAIT_PROOF;
    return agree(channel);
}

/* One whole record into the event; event->message.data stays NULL while bytes are missing. */
static enum ppn_error take_record(struct wire_channel *channel, struct ppn_slice *bytes,
                                  size_t message_max, struct wire_channel_event *event,
                                  uint8_t *tag)
{
    uint8_t *buffer = channel->config.buffer;
    if (!gather(channel, bytes, PREFIX))
        return PPN_OK;
    size_t size = ppn_read_u32(buffer);
    if (size < ABYTES)
        return PPN_ERROR_INVALID;
    if (size > message_max + ABYTES || size > channel->config.buffer_size - PREFIX)
        return PPN_ERROR_TOO_BIG;
    if (!gather(channel, bytes, PREFIX + size))
        return PPN_OK;
    channel->have = 0;
    /* In place: the message begins where its ciphertext does, after the encrypted tag. */
    uint8_t *message = buffer + PREFIX + 1;
    if (crypto_secretstream_xchacha20poly1305_pull(stream(channel->pull), message, NULL, tag,
                                                   buffer + PREFIX, size, buffer, PREFIX) != 0)
        return PPN_ERROR_SIGNATURE;
    event->message = ppn_slice(message, size - ABYTES);
    return PPN_OK;
}

static enum ppn_error check_expected(const struct wire_channel *channel,
                                     const struct ppn_hash *network)
{
    const struct wire_channel_config *config = &channel->config;
    bool pinned = config->role == WIRE_CHANNEL_SERVER || !ppn_hash_is_zero(&config->network);
    if (pinned && !ppn_hash_equal(network, &config->network))
        return PPN_ERROR_CONFLICT;
    if (config->role == WIRE_CHANNEL_CLIENT && !ppn_node_id_is_zero(&config->expected_server) &&
        !ppn_node_id_equal(&channel->peer, &config->expected_server))
        return PPN_ERROR_CONFLICT;
    return PPN_OK;
}

static enum ppn_error take_proof(struct wire_channel *channel, struct ppn_slice *bytes,
                                 struct ppn_writer *out, struct wire_channel_event *event)
{
    uint8_t tag = 0, buffer[SIGN_TRANSCRIPT_MAX];
    struct wire_channel_event record = {0};
    enum ppn_error error = take_record(channel, bytes, PROOF_SIZE, &record, &tag);
    if (error || !record.message.data)
        return error;
    if (record.message.size != PROOF_SIZE ||
        tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE)
        return PPN_ERROR_INVALID;

    const uint8_t *proof = record.message.data;
    bool client = channel->config.role == WIRE_CHANNEL_CLIENT;
    memcpy(channel->peer.bytes, proof, PPN_ID_SIZE);
    memcpy(channel->network.bytes, proof + PPN_ID_SIZE, PPN_HASH_SIZE);
    if (ppn_node_id_equal(&channel->peer, &channel->config.self))
        return PPN_ERROR_CONFLICT;
    struct ppn_slice transcript =
        sign_transcript(channel, client ? WIRE_CHANNEL_SERVER : WIRE_CHANNEL_CLIENT, buffer);
    if (crypto_sign_verify_detached(proof + PPN_ID_SIZE + PPN_HASH_SIZE, transcript.data,
                                    transcript.size, channel->peer.bytes) != 0)
        return PPN_ERROR_SIGNATURE;
    error = check_expected(channel, &channel->network);
    if (error)
        return error;
    if (client) {
        error = write_proof(channel, out);
        if (error)
            return error;
    }
    channel->config.secret_key = NULL;
    channel->state = OPEN;
    event->kind = WIRE_CHANNEL_READY;
    event->peer = channel->peer;
    event->network = channel->network;
    return PPN_OK;
}

static enum ppn_error take_message(struct wire_channel *channel, struct ppn_slice *bytes,
                                   struct wire_channel_event *event)
{
    uint8_t tag = 0;
    enum ppn_error error = take_record(channel, bytes, WIRE_CHANNEL_MESSAGE_MAX, event, &tag);
    if (error || !event->message.data)
        return error;
    if (tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL) {
        event->kind = WIRE_CHANNEL_ENDED;
        channel->state = PEER_ENDED;
    } else if (tag == crypto_secretstream_xchacha20poly1305_TAG_MESSAGE) {
        event->kind = WIRE_CHANNEL_MESSAGE;
    } else {
        return PPN_ERROR_INVALID;
    }
    return PPN_OK;
}

static enum ppn_error step(struct wire_channel *channel, struct ppn_slice *bytes,
                           struct ppn_writer *out, struct wire_channel_event *event)
{
    switch ((enum state)channel->state) {
    case WAIT_HELLO:
        return server_hello(channel, bytes, out);
    case WAIT_ANSWER:
        return client_answer(channel, bytes, out);
    case WAIT_PROOF:
        return take_proof(channel, bytes, out, event);
    case OPEN:
        return take_message(channel, bytes, event);
    case PEER_ENDED:
        return bytes->size > 0 ? PPN_ERROR_INVALID : PPN_OK;
    case DEAD:
        return PPN_ERROR_CLOSED;
    }
    PPN_UNREACHABLE();
}

enum ppn_error wire_channel_receive(struct wire_channel *channel, struct ppn_slice *bytes,
                                    struct ppn_writer *out, struct wire_channel_event *event)
{
    enum ppn_error error;
    size_t before;
    *event = (struct wire_channel_event){.kind = WIRE_CHANNEL_NOTHING};
    do {
        before = bytes->size;
        error = step(channel, bytes, out, event);
    } while (!error && event->kind == WIRE_CHANNEL_NOTHING && bytes->size > 0 &&
             bytes->size < before);
    if (error) {
        uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE];
        memcpy(cookie, channel->config.cookie, sizeof(cookie));
        *event = (struct wire_channel_event){.kind = WIRE_CHANNEL_NOTHING};
        wire_channel_wipe(channel);
        memcpy(channel->config.cookie, cookie, sizeof(cookie)); /* for the next try */
    }
    return error;
}

enum ppn_error wire_channel_send(struct wire_channel *channel, struct ppn_slice message, bool final,
                                 struct ppn_writer *out)
{
    if ((channel->state != OPEN && channel->state != PEER_ENDED) || channel->sent_final)
        return PPN_ERROR_CLOSED;
    PPN_ASSERT(message.size <= WIRE_CHANNEL_MESSAGE_MAX);
    uint8_t tag = final ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                        : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    enum ppn_error error = write_record(channel, message, tag, out);
    if (!error)
        channel->sent_final = final;
    return error;
}
