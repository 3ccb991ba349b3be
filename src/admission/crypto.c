// SPDX-License-Identifier: ISC
#include "admission/crypto.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"

static bool sodium_verify(void *ctx, const struct admission_key *key, struct ppn_slice message,
                          const struct admission_signature *signature)
{
    (void)ctx;
    return crypto_sign_verify_detached(signature->bytes, message.data, message.size, key->bytes) ==
           0;
}

static struct ppn_hash sodium_hash(void *ctx, struct ppn_slice domain, struct ppn_slice bytes)
{
    (void)ctx;
    crypto_generichash_state state;
    struct ppn_hash hash;
    int failed = crypto_generichash_init(&state, NULL, 0, sizeof hash.bytes);
    failed |= crypto_generichash_update(&state, domain.data, domain.size);
    failed |= crypto_generichash_update(&state, bytes.data, bytes.size);
    failed |= crypto_generichash_final(&state, hash.bytes, sizeof hash.bytes);
    PPN_ASSERT(failed == 0);
    return hash;
}

const struct admission_crypto *admission_crypto_sodium(void)
{
    static const struct admission_crypto crypto = {NULL, sodium_verify, sodium_hash};
    return &crypto;
}

void admission_keypair_from_seed(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                 struct admission_keypair *pair)
{
    _Static_assert(sizeof pair->secret == crypto_sign_SECRETKEYBYTES, "Ed25519 secret key");
    int failed = crypto_sign_seed_keypair(pair->key.bytes, pair->secret, seed);
    PPN_ASSERT(failed == 0);
}

void admission_keypair_wipe(struct admission_keypair *pair)
{
    sodium_memzero(pair, sizeof *pair);
}

static bool pair_sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    const struct admission_keypair *pair = ctx;
    return crypto_sign_detached(signature->bytes, NULL, message.data, message.size, pair->secret) ==
           0;
}

struct admission_signer admission_keypair_signer(struct admission_keypair *pair)
{
    return (struct admission_signer){pair->key, pair, pair_sign};
}

int admission_key_compare(const struct admission_key *a, const struct admission_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool admission_key_equal(const struct admission_key *a, const struct admission_key *b)
{
    return admission_key_compare(a, b) == 0;
}
