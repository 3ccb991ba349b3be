// SPDX-License-Identifier: ISC
#pragma once

/* The content of an admin key file: an Ed25519 seed, plain or under a passphrase (Argon2id 1.3,
 * RFC 9106, then XSalsa20-Poly1305). Text, so that it survives being copied by people. Reading and
 * writing files, and drawing the salt, is the caller's. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/crypto.h"
#include "base/error.h"
#include "base/slice.h"

enum {
    ADMISSION_KEYFILE_SALT = 16,
    ADMISSION_KEYFILE_NONCE = 24,
    ADMISSION_KEYFILE_TEXT_MAX = 512,
    ADMISSION_PASSPHRASE_MAX = 1024
};

/* Argon2id cost; sealed into the file. */
struct admission_keyfile_cost {
    uint32_t passes;
    uint32_t memory_kib;
};

/* 3 passes over 64 MiB: RFC 9106, section 4, second recommended option. */
struct admission_keyfile_cost admission_keyfile_default_cost(void);

enum ppn_error admission_keyfile_plain(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                       char text[static ADMISSION_KEYFILE_TEXT_MAX]) PPN_CHECK;

/* Takes as long as the cost says: on a worker thread in a daemon. NO_MEMORY. */
enum ppn_error admission_keyfile_locked(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                        struct ppn_slice passphrase,
                                        struct admission_keyfile_cost cost,
                                        const uint8_t salt[static ADMISSION_KEYFILE_SALT],
                                        const uint8_t nonce[static ADMISSION_KEYFILE_NONCE],
                                        char text[static ADMISSION_KEYFILE_TEXT_MAX]) PPN_CHECK;

/* Whether a passphrase is needed, and the public key, without opening it. INVALID, VERSION. */
enum ppn_error admission_keyfile_peek(const char *text, bool *locked,
                                      struct admission_key *key) PPN_CHECK;

/* passphrase is ignored for a plain file. UNAUTHORIZED: wrong passphrase. CORRUPT: the seed does
 * not give the key that the file names. Refuses costs above 8 passes or 1 GiB (INVALID). */
enum ppn_error admission_keyfile_open(const char *text, struct ppn_slice passphrase,
                                      uint8_t seed[static ADMISSION_SEED_SIZE]) PPN_CHECK;
