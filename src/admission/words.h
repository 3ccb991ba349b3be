// SPDX-License-Identifier: ISC
#pragma once

/* Six words that two people compare over the telephone before a machine is admitted: 48 bits of
 * H("ppn-words-1" || network || node id || WireGuard key), one of 256 words for each byte. Somebody
 * who wants another machine to show the same words must try 2^47 key pairs on average for one given
 * request; a look-alike among N waiting requests costs N times less. */

#include <stdint.h>

#include "admission/crypto.h"
#include "admission/entry.h"
#include "base/id.h"

enum {
    ADMISSION_WORDS = 6,
    ADMISSION_WORD_MAX = 6,
    ADMISSION_WORDS_TEXT = ADMISSION_WORDS * (ADMISSION_WORD_MAX + 1) /* with spaces and NUL */
};

void admission_words(const struct admission_crypto *crypto, const struct ppn_hash *network,
                     const struct ppn_node_id *node,
                     const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE],
                     char text[static ADMISSION_WORDS_TEXT]);

/* The same for a network alone, which a joiner without a token compares before it trusts a seed. */
void admission_network_words(const struct admission_crypto *crypto, const struct ppn_hash *network,
                             char text[static ADMISSION_WORDS_TEXT]);

/* The word for a byte; every word is 3 to 6 lower-case letters, no two are alike. */
const char *admission_word(uint8_t byte);
