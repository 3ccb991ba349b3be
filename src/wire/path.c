// SPDX-License-Identifier: ISC
#include "wire/path.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"

enum {
    OFFSET_VERSION = 1,
    OFFSET_KIND = 2,
    OFFSET_FLAGS = 3,
    OFFSET_SENDER = 4,
    OFFSET_RECIPIENT = 12,
    OFFSET_COUNTER = 20,
    OFFSET_NONCE = 28,
    ENDPOINT_SIZE = 18,
    BODY_MAX = 2 + 2 + ENDPOINT_SIZE
};

_Static_assert(OFFSET_NONCE + 8 == WIRE_PATH_HEADER_SIZE, "the header is the sum of its fields");
_Static_assert(WIRE_PATH_HEADER_SIZE + BODY_MAX + WIRE_PATH_MAC_SIZE <= WIRE_PATH_SIZE_MIN,
               "every kind fits into the shortest packet");
_Static_assert(WIRE_PATH_KEY_SIZE == crypto_scalarmult_BYTES &&
                   WIRE_PATH_KEY_SIZE == crypto_generichash_BYTES,
               "keys are hashes of shared secrets");
_Static_assert(WIRE_PATH_MAC_SIZE == crypto_generichash_BYTES_MIN, "BLAKE2b-128");

static void hash_text(crypto_generichash_state *state, const char *text)
{
    (void)crypto_generichash_update(state, (const uint8_t *)text, strlen(text));
}

uint64_t wire_path_tag(const struct ppn_hash *network, const struct ppn_node_id *node)
{
    crypto_generichash_state state;
    uint8_t hash[PPN_HASH_SIZE];
    (void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    hash_text(&state, "ppn-path-tag-1");
    (void)crypto_generichash_update(&state, network->bytes, sizeof(network->bytes));
    (void)crypto_generichash_update(&state, node->bytes, sizeof(node->bytes));
    (void)crypto_generichash_final(&state, hash, sizeof(hash));
    return ppn_read_u64(hash);
}

enum ppn_error wire_path_key(const struct ppn_hash *network, const uint8_t secret_key[static 64],
                             const struct ppn_node_id *self, const struct ppn_node_id *peer,
                             struct wire_path_key *key)
{
    crypto_generichash_state state;
    uint8_t secret[crypto_scalarmult_SCALARBYTES], public_key[crypto_scalarmult_BYTES];
    uint8_t shared[crypto_scalarmult_BYTES];
    bool lower = ppn_node_id_compare(self, peer) < 0;
    const struct ppn_node_id *first = lower ? self : peer, *second = lower ? peer : self;
    enum ppn_error error = PPN_ERROR_INVALID;
    if (crypto_sign_ed25519_pk_to_curve25519(public_key, peer->bytes) == 0 &&
        crypto_sign_ed25519_sk_to_curve25519(secret, secret_key) == 0 &&
        crypto_scalarmult(shared, secret, public_key) == 0) {
        (void)crypto_generichash_init(&state, shared, sizeof(shared), sizeof(key->bytes));
        hash_text(&state, "ppn-path-1");
        (void)crypto_generichash_update(&state, network->bytes, sizeof(network->bytes));
        (void)crypto_generichash_update(&state, first->bytes, sizeof(first->bytes));
        (void)crypto_generichash_update(&state, second->bytes, sizeof(second->bytes));
        (void)crypto_generichash_final(&state, key->bytes, sizeof(key->bytes));
        error = PPN_OK;
    }
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(shared, sizeof(shared));
    sodium_memzero(&state, sizeof(state));
    return error;
}

void wire_path_relay_key(const struct wire_path_key *pair, struct wire_path_key *key)
{
    static const char text[] = "ppn-relay-1";
    (void)crypto_generichash(key->bytes, sizeof(key->bytes), (const uint8_t *)text,
                             sizeof(text) - 1, pair->bytes, sizeof(pair->bytes));
}

static void mac(struct ppn_slice bytes, const struct wire_path_key *key,
                uint8_t out[static WIRE_PATH_MAC_SIZE])
{
    (void)crypto_generichash(out, WIRE_PATH_MAC_SIZE, bytes.data, bytes.size, key->bytes,
                             sizeof(key->bytes));
}

bool wire_path_peek(struct ppn_slice datagram, uint64_t *sender, uint64_t *recipient)
{
    if (datagram.size < WIRE_PATH_SIZE_MIN || datagram.size > WIRE_PATH_SIZE_MAX ||
        datagram.data[0] != WIRE_PATH_MAGIC || datagram.data[OFFSET_VERSION] != WIRE_PATH_VERSION)
        return false;
    *sender = ppn_read_u64(datagram.data + OFFSET_SENDER);
    *recipient = ppn_read_u64(datagram.data + OFFSET_RECIPIENT);
    return true;
}

static void write_u16(struct ppn_writer *writer, uint16_t value)
{
    ppn_write_u8(writer, (uint8_t)(value >> 8));
    ppn_write_u8(writer, (uint8_t)value);
}

static void write_endpoint(struct ppn_writer *writer, const struct ppn_endpoint *endpoint)
{
    ppn_write(writer, ppn_slice(endpoint->address, sizeof(endpoint->address)));
    write_u16(writer, endpoint->port);
}

static void write_body(struct ppn_writer *writer, const struct wire_path_packet *packet)
{
    switch (packet->kind) {
    case WIRE_PATH_PING:
        break;
    case WIRE_PATH_PONG:
        write_endpoint(writer, &packet->pong.observed);
        write_u16(writer, packet->pong.size);
        ppn_write_u8(writer, packet->pong.missed);
        break;
    case WIRE_PATH_BIND:
    case WIRE_PATH_MAILBOX:
        ppn_write_u64(writer, packet->bind.node);
        break;
    case WIRE_PATH_BOUND:
        write_u16(writer, packet->bound.port);
        write_u16(writer, packet->bound.lifetime_s);
        write_endpoint(writer, &packet->bound.observed);
        break;
    case WIRE_PATH_MAILBOX_IS:
        write_u16(writer, packet->mailbox_is.port);
        break;
    case WIRE_PATH_STALE:
        ppn_write_u64(writer, packet->stale.counter);
        break;
    default:
        PPN_UNREACHABLE();
    }
}

enum ppn_error wire_path_encode(const struct wire_path_packet *packet,
                                const struct wire_path_key *key, struct ppn_writer *writer)
{
    static const uint8_t zeros[64];
    PPN_ASSERT(packet->kind >= WIRE_PATH_PING && packet->kind <= WIRE_PATH_KIND_MAX);
    size_t largest = wire_path_is_question(packet->kind) ? WIRE_PATH_SIZE_MAX : WIRE_PATH_SIZE_MIN;
    if (packet->size < WIRE_PATH_SIZE_MIN || packet->size > largest)
        return PPN_ERROR_INVALID;
    if (writer->overflow || writer->capacity - writer->size < packet->size)
        return PPN_ERROR_NO_SPACE;
    size_t start = writer->size, end = start + packet->size - WIRE_PATH_MAC_SIZE;
    ppn_write_u8(writer, WIRE_PATH_MAGIC);
    ppn_write_u8(writer, WIRE_PATH_VERSION);
    ppn_write_u8(writer, (uint8_t)packet->kind);
    ppn_write_u8(writer, 0);
    ppn_write_u64(writer, packet->sender);
    ppn_write_u64(writer, packet->recipient);
    ppn_write_u64(writer, packet->counter);
    ppn_write_u64(writer, packet->nonce);
    write_body(writer, packet);
    while (writer->size < end) {
        size_t missing = end - writer->size;
        ppn_write(writer, ppn_slice(zeros, missing < sizeof(zeros) ? missing : sizeof(zeros)));
    }
    uint8_t code[WIRE_PATH_MAC_SIZE];
    mac(ppn_slice(writer->data + start, end - start), key, code);
    ppn_write(writer, ppn_slice(code, sizeof(code)));
    PPN_ASSERT(!writer->overflow && writer->size - start == packet->size);
    return PPN_OK;
}

/* Fields behind a shape that was checked: the shortest packet has room for every body. */
struct cursor {
    const uint8_t *next;
};

static uint16_t read_u16(struct cursor *cursor)
{
    uint16_t value = (uint16_t)(cursor->next[0] << 8 | cursor->next[1]);
    cursor->next += 2;
    return value;
}

static uint64_t read_u64(struct cursor *cursor)
{
    uint64_t value = ppn_read_u64(cursor->next);
    cursor->next += 8;
    return value;
}

static void read_endpoint(struct cursor *cursor, struct ppn_endpoint *endpoint)
{
    memcpy(endpoint->address, cursor->next, sizeof(endpoint->address));
    cursor->next += sizeof(endpoint->address);
    endpoint->port = read_u16(cursor);
}

static bool read_body(struct cursor *cursor, struct wire_path_packet *packet)
{
    switch (packet->kind) {
    case WIRE_PATH_PING:
        return true;
    case WIRE_PATH_PONG:
        read_endpoint(cursor, &packet->pong.observed);
        packet->pong.size = read_u16(cursor);
        packet->pong.missed = *cursor->next++;
        return true;
    case WIRE_PATH_BIND:
    case WIRE_PATH_MAILBOX:
        packet->bind.node = read_u64(cursor);
        return true;
    case WIRE_PATH_BOUND:
        packet->bound.port = read_u16(cursor);
        packet->bound.lifetime_s = read_u16(cursor);
        read_endpoint(cursor, &packet->bound.observed);
        return true;
    case WIRE_PATH_MAILBOX_IS:
        packet->mailbox_is.port = read_u16(cursor);
        return true;
    case WIRE_PATH_STALE:
        packet->stale.counter = read_u64(cursor);
        return true;
    default:
        return false;
    }
}

enum ppn_error wire_path_decode(struct ppn_slice datagram, const struct wire_path_key *key,
                                struct wire_path_packet *packet)
{
    uint8_t code[WIRE_PATH_MAC_SIZE];
    *packet = (struct wire_path_packet){0};
    if (datagram.size < WIRE_PATH_SIZE_MIN || datagram.data[0] != WIRE_PATH_MAGIC)
        return PPN_ERROR_INVALID;
    if (datagram.size > WIRE_PATH_SIZE_MAX)
        return PPN_ERROR_TOO_BIG;
    if (datagram.data[OFFSET_VERSION] != WIRE_PATH_VERSION)
        return PPN_ERROR_VERSION;
    size_t end = datagram.size - WIRE_PATH_MAC_SIZE;
    mac(ppn_slice(datagram.data, end), key, code);
    if (sodium_memcmp(code, datagram.data + end, sizeof(code)) != 0)
        return PPN_ERROR_SIGNATURE;
    struct cursor cursor = {datagram.data + OFFSET_SENDER};
    struct wire_path_packet read = {.kind = (enum wire_path_kind)datagram.data[OFFSET_KIND]};
    read.size = (uint16_t)datagram.size;
    read.sender = read_u64(&cursor);
    read.recipient = read_u64(&cursor);
    read.counter = read_u64(&cursor);
    read.nonce = read_u64(&cursor);
    if (datagram.data[OFFSET_FLAGS] != 0 || !read_body(&cursor, &read) ||
        (!wire_path_is_question(read.kind) && read.size != WIRE_PATH_SIZE_MIN))
        return PPN_ERROR_INVALID;
    for (const uint8_t *byte = cursor.next; byte < datagram.data + end; byte++) {
        if (*byte != 0)
            return PPN_ERROR_INVALID;
    }
    *packet = read;
    return PPN_OK;
}

enum { CALL_KIND = 16, CALL_MOVED = 1 };

void wire_path_call_encode(bool moved, uint8_t bytes[static WIRE_PATH_CALL_SIZE])
{
    bytes[0] = WIRE_PATH_MAGIC;
    bytes[OFFSET_VERSION] = WIRE_PATH_VERSION;
    bytes[OFFSET_KIND] = CALL_KIND;
    bytes[OFFSET_FLAGS] = moved ? CALL_MOVED : 0;
}

enum ppn_error wire_path_call_decode(struct ppn_slice datagram, bool *moved)
{
    const uint8_t *bytes = datagram.data;
    if (datagram.size != WIRE_PATH_CALL_SIZE || bytes[0] != WIRE_PATH_MAGIC ||
        bytes[OFFSET_VERSION] != WIRE_PATH_VERSION || bytes[OFFSET_KIND] != CALL_KIND ||
        (bytes[OFFSET_FLAGS] & ~CALL_MOVED) != 0)
        return PPN_ERROR_INVALID;
    *moved = bytes[OFFSET_FLAGS] == CALL_MOVED;
    return PPN_OK;
}
