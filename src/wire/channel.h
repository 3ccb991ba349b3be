// SPDX-License-Identifier: ISC
#pragma once

/* The join channel: how a machine that is not yet in the mesh talks to one that is, over TCP on the
 * public port. A pure state machine: bytes in, bytes out; keys, randomness and the decision "we are
 * under load" come from the caller. It is the shape of SIGMA-I (Krawczyk 2003) with the pieces of
 * libsodium.
 *
 *   client                                   server
 *   HELLO  magic, version, e_c, cookie  ->
 *                                       <-   COOKIE cookie                    only under load
 *   HELLO  again, with the cookie       ->
 *                                       <-   ANSWER magic, version, e_s, then at once record 1:
 *                                            PROOF(id_s, network, signature_s)
 *   record 1: PROOF(id_c, network,      ->
 *                   signature_c)
 *   records                            <->   records
 *
 *   shared       X25519(e_c, e_s); an all-zero result is refused
 *   transcript   h  = BLAKE2b-256("ppn-join-transcript-1" || HELLO without cookie || ANSWER)
 *   keys         BLAKE2b-512 keyed with shared over ("ppn-join-keys-1" || direction || h) gives the
 *                32-byte key and 24-byte header of one secretstream; the two directions differ
 *   signature_s  Ed25519 over ("ppn-join-server-1" || h || network || id_s)
 *   signature_c  Ed25519 over ("ppn-join-client-1" || h || network || id_s || id_c)
 *   record       4-byte big-endian size, then crypto_secretstream_xchacha20poly1305 of one message
 *                with the 4 bytes as additional data; the final tag ends a direction
 *
 * What follows from it:
 *   - A passive observer learns neither node id nor the network id: proofs travel inside records.
 *     Somebody who answers in the seed's place learns the joiner's id unless the joiner expects a
 *     certain server id or network (a token names both) and leaves before its own proof.
 *   - Both ephemeral keys are wiped when the channel ends: a node key stolen later opens no
 *     recorded session.
 *   - Replay: a recorded HELLO meets a fresh e_s, a recorded proof a different h. Reflection: the
 *     roles sign under different names and encrypt under different keys, and e_s == e_c or
 *     id_s == id_c is refused. Identity misbinding: each proof names its signer, the client's also
 *     the server it believes to talk to.
 *   - Truncation: a stream that ends without the final tag is PPN_ERROR_CLOSED to the caller, who
 *     sees TCP's end; secretstream's counter makes dropping or reordering records a failure.
 *   - Load: before the cookie is checked the server has done no public-key work and holds nothing
 *     but this struct. The cookie is a keyed hash of the source address; nobody keeps it, and it
 *     serves for one to two minutes, on later connections too.
 *
 * The server proves a node key, not membership: a joiner without a token shows both ids to the
 * person and checks, once it has the log, that the genesis hashes to the network id and that id_s
 * is a member (join's caller does that).
 *
 *   what goes wrong                              code         what to do
 *   not our protocol, broken size or proof       INVALID      close
 *   a record over the buffer                     TOO_BIG      close
 *   major version not shared                     VERSION      close; update the older machine
 *   a proof or record does not verify            SIGNATURE    close; somebody is in between
 *   the server is not the expected one           CONFLICT     close; wrong address or network
 *   server too busy                              BUSY         try again later
 *   used after an error or the end               CLOSED       close
 */

#include "base/id.h"
#include "base/slice.h"

enum {
    WIRE_CHANNEL_MAJOR = 1,
    WIRE_CHANNEL_MESSAGE_MAX = 64 * 1024,
    WIRE_CHANNEL_OVERHEAD = 4 + 17, /* size prefix and secretstream's own */
    WIRE_CHANNEL_RECORD_MAX = WIRE_CHANNEL_MESSAGE_MAX + WIRE_CHANNEL_OVERHEAD,
    WIRE_CHANNEL_COOKIE_SIZE = 16,
    WIRE_CHANNEL_HANDSHAKE_MAX = 256, /* output of any step before READY */
    WIRE_CHANNEL_SECRET_KEY_SIZE = 64
};

enum wire_channel_role { WIRE_CHANNEL_CLIENT, WIRE_CHANNEL_SERVER };

struct wire_channel_config {
    enum wire_channel_role role;
    struct ppn_node_id self;
    const uint8_t *secret_key; /* libsodium's 64-byte Ed25519 form; borrowed until READY */
    uint8_t randomness[32];  /* fresh from the caller for each channel; becomes the ephemeral key */
    struct ppn_hash network; /* server: its own; client: the pinned one, or zero */

    /* client */
    struct ppn_node_id expected_server;       /* from a token or from the last time; or zero */
    uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE]; /* of an earlier COOKIE from this server, or zero */

    /* server */
    bool cookie_required; /* set under load */
    uint8_t cookie_secrets[2]
                          [32]; /* present and previous; the caller draws a new one each minute */
    uint8_t source[16];         /* the client's IP address, IPv4 mapped */

    /* Holds one record; longer ones are refused. A server needs far less than a client. */
    uint8_t *buffer;
    size_t buffer_size; /* >= WIRE_CHANNEL_HANDSHAKE_MAX */
};

/* For the buffer of a server: its clients only send join messages. */
enum { WIRE_CHANNEL_SERVER_BUFFER = 16 * 1024 };

enum wire_channel_event_kind {
    WIRE_CHANNEL_NOTHING, /* more bytes are needed, or only the handshake moved */
    WIRE_CHANNEL_READY,   /* the peer's node key is proven */
    WIRE_CHANNEL_MESSAGE,
    WIRE_CHANNEL_ENDED /* the peer said its last message; it may have carried one */
};

struct wire_channel_event {
    enum wire_channel_event_kind kind;
    struct ppn_node_id peer;  /* READY */
    struct ppn_hash network;  /* READY: what the server said */
    struct ppn_slice message; /* MESSAGE, ENDED; borrowed from the buffer until the next call */
};

/* Opaque outside wire, in the open so that the caller can place it. Never copy it. */
struct wire_channel {
    struct wire_channel_config config;
    int state;
    bool cookie_seen;
    bool sent_final;
    size_t have;
    uint8_t ephemeral_secret[32];
    uint8_t ephemeral_public[32];
    uint8_t peer_ephemeral[32];
    uint8_t transcript[32];
    uint8_t push[52]; /* crypto_secretstream_xchacha20poly1305_state */
    uint8_t pull[52];
    struct ppn_node_id peer;
    struct ppn_hash network;
};

/* A client's HELLO goes to `out`; a server writes nothing. `out` holds at least
 * WIRE_CHANNEL_HANDSHAKE_MAX free bytes (here and in wire_channel_receive). */
enum ppn_error wire_channel_init(struct wire_channel *channel,
                                 const struct wire_channel_config *config,
                                 struct ppn_writer *out) PPN_CHECK;

/* Takes bytes from *bytes, which advances, up to the first event. What it wrote to `out` goes to
 * the peer also when an error is returned (a server tells the version it speaks). Call again while
 * bytes are left. After an error the channel only answers PPN_ERROR_CLOSED. */
enum ppn_error wire_channel_receive(struct wire_channel *channel, struct ppn_slice *bytes,
                                    struct ppn_writer *out,
                                    struct wire_channel_event *event) PPN_CHECK;

/* Only after READY. Appends one record of message.size + WIRE_CHANNEL_OVERHEAD bytes. `final`: the
 * last message of this direction. */
enum ppn_error wire_channel_send(struct wire_channel *channel, struct ppn_slice message, bool final,
                                 struct ppn_writer *out) PPN_CHECK;

/* The cookie that a COOKIE answer gave to a client; zero when there was none. */
void wire_channel_cookie(const struct wire_channel *channel,
                         uint8_t cookie[static WIRE_CHANNEL_COOKIE_SIZE]);

/* What a server whose table is full writes before it closes, without any channel. */
void wire_channel_busy(struct ppn_writer *out);

/* Forgets every key. The struct may then be used for another wire_channel_init. */
void wire_channel_wipe(struct wire_channel *channel);
