// SPDX-License-Identifier: ISC
#pragma once

/* The one seam between the admission core and cryptography, so that the simulator can stub it.
 * Ed25519 (RFC 8032) for signatures, BLAKE2b-256 (RFC 7693) for hashes; the product always uses
 * admission_crypto_sodium(). All functions are pure. */

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/slice.h"

enum { ADMISSION_KEY_SIZE = 32, ADMISSION_SIGNATURE_SIZE = 64, ADMISSION_SEED_SIZE = 32 };

/* An Ed25519 public key that authors or cosigns entries: an admin, an invite, or a node (its id).
 */
struct admission_key {
    uint8_t bytes[ADMISSION_KEY_SIZE];
};

struct admission_signature {
    uint8_t bytes[ADMISSION_SIGNATURE_SIZE];
};

/* The hash is BLAKE2b-256(domain || bytes). */
struct admission_crypto {
    void *ctx;
    bool (*verify)(void *ctx, const struct admission_key *key, struct ppn_slice message,
                   const struct admission_signature *signature);
    struct ppn_hash (*hash)(void *ctx, struct ppn_slice domain, struct ppn_slice bytes);
};

const struct admission_crypto *admission_crypto_sodium(void);

/* Something that holds a private key: a key in memory, a key agent, a stub. */
struct admission_signer {
    struct admission_key key;
    void *ctx;
    /* False when the holder refuses or cannot; nothing is signed then. */
    bool (*sign)(void *ctx, struct ppn_slice message, struct admission_signature *signature);
};

/* An expanded Ed25519 key pair in memory. Wipe it with admission_keypair_wipe. */
struct admission_keypair {
    struct admission_key key;
    uint8_t secret[64];
};

void admission_keypair_from_seed(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                 struct admission_keypair *pair);
void admission_keypair_wipe(struct admission_keypair *pair);

/* Borrows the pair, which must outlive the signer. */
struct admission_signer admission_keypair_signer(struct admission_keypair *pair);

static inline struct ppn_node_id admission_key_node(const struct admission_key *key)
{
    struct ppn_node_id id;
    __builtin_memcpy(id.bytes, key->bytes, sizeof id.bytes);
    return id;
}

static inline struct admission_key admission_node_key(const struct ppn_node_id *id)
{
    struct admission_key key;
    __builtin_memcpy(key.bytes, id->bytes, sizeof key.bytes);
    return key;
}

int admission_key_compare(const struct admission_key *a, const struct admission_key *b);
bool admission_key_equal(const struct admission_key *a, const struct admission_key *b);
