// SPDX-License-Identifier: ISC
#include "fixture.h"
#include <ctype.h>

#include <stdio.h>
#include <string.h>

#include "admission/keyfile.h"
#include "admission/request.h"
#include "admission/token.h"
#include "admission/words.h"

Test(text, a_token_survives_paste_and_every_typing_error_is_noticed)
{
    struct admission_token token = {.endpoint_count = 2}, back;
    char text[ADMISSION_TOKEN_TEXT_MAX], padded[ADMISSION_TOKEN_TEXT_MAX + 4];
    struct ppn_failure why;
    memset(token.network.bytes, 7, PPN_HASH_SIZE);
    memset(token.seed, 9, sizeof token.seed);
    token.endpoints[1].port = 51820;
    cr_assert_eq(admission_token_text(&token, text), PPN_OK);
    snprintf(padded, sizeof padded, " %s\n", text);
    cr_assert_eq(admission_token_parse(padded, &back, &why), PPN_OK);
    cr_assert_eq(back.endpoints[1].port, 51820);
    cr_assert_eq(memcmp(back.seed, token.seed, sizeof token.seed), 0);
    for (size_t i = 0; padded[i] != '\0'; i++)
        padded[i] = (char)toupper((unsigned char)padded[i]);
    memset(&back, 0, sizeof back);
    cr_assert_eq(admission_token_parse(padded, &back, &why), PPN_OK, "in capitals: %s", why.text);
    cr_assert_eq(memcmp(back.seed, token.seed, sizeof token.seed), 0);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char kept = text[i];
        text[i] = kept == 'q' ? 'r' : 'q';
        cr_assert_neq(admission_token_parse(text, &back, &why), PPN_OK, "character %zu", i);
        text[i] = '\0';
        cr_assert_neq(admission_token_parse(text, &back, &why), PPN_OK, "cut at %zu", i);
        text[i] = kept;
    }
    token.endpoint_count = 0;
    cr_assert_eq(admission_token_text(&token, text), PPN_ERROR_INVALID);
}

Test(text, words_are_distinct_and_six)
{
    char text[ADMISSION_WORDS_TEXT];
    struct ppn_hash network = {{1}};
    struct ppn_node_id node = {{2}};
    uint8_t wg_key[32] = {3};
    for (uint32_t i = 0; i < 256; i++) {
        size_t length = strlen(admission_word((uint8_t)i));
        cr_assert(length >= 3 && length <= ADMISSION_WORD_MAX);
        for (uint32_t k = 0; k < i; k++)
            cr_assert_str_neq(admission_word((uint8_t)i), admission_word((uint8_t)k));
    }
    admission_words(admission_crypto_sodium(), &network, &node, wg_key, text);
    uint32_t blanks = 0;
    for (const char *c = text; *c != '\0'; c++)
        blanks += *c == ' ';
    cr_assert_eq(blanks, 5);
    admission_network_words(admission_crypto_sodium(), &network, text);
}

Test(text, a_request_that_was_touched_is_refused)
{
    struct fixture f = fixture_new();
    struct admission_keypair node = pair(10), key = pair(100);
    struct admission_signer signer = admission_keypair_signer(&node);
    struct admission_signer invited = admission_keypair_signer(&key);
    struct admission_request made = {.network = admission_network(f.log), .name = "laptop"}, back;
    uint8_t bytes[ADMISSION_REQUEST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
    made.wg_key[0] = 1;
    cr_assert_eq(admission_request_make(&made, &signer, &invited, &writer), PPN_OK);
    cr_assert_eq(admission_request_decode(admission_crypto_sodium(), ppn_written(&writer), &back),
                 PPN_OK);
    cr_assert(back.has_invite);
    for (size_t i = 0; i < writer.size; i++) {
        bytes[i] ^= 4;
        cr_assert_neq(
            admission_request_decode(admission_crypto_sodium(), ppn_written(&writer), &back),
            PPN_OK, "byte %zu", i);
        bytes[i] ^= 4;
    }
    fixture_free(&f);
}

Test(text, a_key_file_opens_with_its_passphrase_only)
{
    uint8_t seed[32], back[32], salt[ADMISSION_KEYFILE_SALT] = {1};
    uint8_t nonce[ADMISSION_KEYFILE_NONCE] = {2};
    char text[ADMISSION_KEYFILE_TEXT_MAX];
    struct admission_keyfile_cost cost = {1, 64};
    struct ppn_slice good = ppn_slice("correct horse", 13), bad = ppn_slice("battery", 7);
    struct admission_key key;
    bool locked;
    memset(seed, 5, sizeof seed);
    cr_assert_eq(admission_keyfile_locked(seed, good, cost, salt, nonce, text), PPN_OK);
    cr_assert_eq(admission_keyfile_peek(text, &locked, &key), PPN_OK);
    cr_assert(locked);
    cr_assert_eq(admission_keyfile_open(text, bad, back), PPN_ERROR_UNAUTHORIZED);
    cr_assert_eq(admission_keyfile_open(text, good, back), PPN_OK);
    cr_assert_eq(memcmp(seed, back, sizeof seed), 0);
    cr_assert_eq(admission_keyfile_plain(seed, text), PPN_OK);
    cr_assert_eq(admission_keyfile_open(text, bad, back), PPN_OK);
    text[30] = text[30] == '0' ? '1' : '0';
    cr_assert_eq(admission_keyfile_open(text, bad, back), PPN_ERROR_CORRUPT);
    cr_assert_eq(admission_keyfile_open("ppn-admin-key-2 x", bad, back), PPN_ERROR_VERSION);
    cr_assert_eq(admission_keyfile_open("hello", bad, back), PPN_ERROR_INVALID);
}
