// SPDX-License-Identifier: ISC
#include <sodium.h>

#include "gossip/gossip.h"

_Static_assert(crypto_sign_BYTES == GOSSIP_SIGNATURE_SIZE, "Ed25519");

static void sign(void *context, struct ppn_slice transcript, uint8_t *signature)
{
    crypto_sign_detached(signature, NULL, transcript.data, transcript.size, context);
}

static bool verify(void *context, const struct ppn_node_id *author, struct ppn_slice transcript,
                   const uint8_t *signature)
{
    (void)context;
    return crypto_sign_verify_detached(signature, transcript.data, transcript.size,
                                       author->bytes) == 0;
}

struct gossip_crypto gossip_ed25519(const uint8_t *secret_key)
{
    /* The seam hands the context back untouched and sign() only reads it. */
    union {
        const uint8_t *read;
        void *context;
    } key = {.read = secret_key};
    return (struct gossip_crypto){key.context, sign, verify};
}
