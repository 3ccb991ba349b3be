// SPDX-License-Identifier: ISC
#pragma once

/* An invite as one line of text that a person can paste:
 * "ppn1-" and base32 (RFC 4648 alphabet in lower case, no padding) of network id, one-time key
 * seed, addresses to try and a checksum. Whoever has the text can join: it is a secret. */

#include <stdint.h>

#include "admission/crypto.h"
#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"

enum {
    ADMISSION_TOKEN_ENDPOINTS_MAX = 4,
    /* version, network, seed, count, endpoints, 4 bytes of checksum; 8 characters for 5 bytes */
    ADMISSION_TOKEN_BYTES_MAX =
        1 + PPN_HASH_SIZE + ADMISSION_SEED_SIZE + 1 + ADMISSION_TOKEN_ENDPOINTS_MAX * 18 + 4,
    ADMISSION_TOKEN_TEXT_MAX = 5 + (ADMISSION_TOKEN_BYTES_MAX + 4) / 5 * 8 + 1
};

struct admission_token {
    struct ppn_hash network;
    uint8_t seed[ADMISSION_SEED_SIZE];
    uint32_t endpoint_count; /* at least 1 */
    struct ppn_endpoint endpoints[ADMISSION_TOKEN_ENDPOINTS_MAX];
};

/* INVALID when there is no endpoint or too many. */
enum ppn_error admission_token_text(const struct admission_token *token,
                                    char text[static ADMISSION_TOKEN_TEXT_MAX]) PPN_CHECK;

/* Ignores surrounding blanks, and whether letters are capital. INVALID (with the cause in *why: cut short, mistyped), VERSION. */
enum ppn_error admission_token_parse(const char *text, struct admission_token *token,
                                     struct ppn_failure *why) PPN_CHECK;
