// SPDX-License-Identifier: ISC
#include "admission/keyfile.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/id.h"

/* One line: "ppn-admin-key-1 plain PUBLIC SEED", or
 * "ppn-admin-key-1 argon2id PASSES MEMORY_KIB PUBLIC SALT NONCE BOX", all bytes in hexadecimal. */

enum {
    PASSES_MAX = 8,
    MEMORY_KIB_MIN = 8,
    MEMORY_KIB_MAX = 1024 * 1024,
    BOX = ADMISSION_SEED_SIZE + crypto_secretbox_MACBYTES
};
_Static_assert(ADMISSION_KEYFILE_SALT == crypto_pwhash_argon2id_SALTBYTES, "salt");
_Static_assert(ADMISSION_KEYFILE_NONCE == crypto_secretbox_NONCEBYTES, "nonce");

static const char magic[] = "ppn-admin-key-1";

struct keyfile {
    bool locked;
    struct admission_keyfile_cost cost;
    struct admission_key key;
    uint8_t salt[ADMISSION_KEYFILE_SALT];
    uint8_t nonce[ADMISSION_KEYFILE_NONCE];
    uint8_t box[BOX]; /* plain: the seed */
};

struct admission_keyfile_cost admission_keyfile_default_cost(void)
{
    return (struct admission_keyfile_cost){3, 64 * 1024};
}

static struct admission_key public_of(const uint8_t seed[static ADMISSION_SEED_SIZE])
{
    struct admission_keypair pair;
    admission_keypair_from_seed(seed, &pair);
    struct admission_key key = pair.key;
    admission_keypair_wipe(&pair);
    return key;
}

enum ppn_error admission_keyfile_plain(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                       char text[static ADMISSION_KEYFILE_TEXT_MAX])
{
    char key_hex[65], seed_hex[65];
    struct admission_key key = public_of(seed);
    ppn_hex(key.bytes, sizeof key.bytes, key_hex);
    ppn_hex(seed, ADMISSION_SEED_SIZE, seed_hex);
    int size =
        snprintf(text, ADMISSION_KEYFILE_TEXT_MAX, "%s plain %s %s\n", magic, key_hex, seed_hex);
    PPN_ASSERT(size > 0 && size < ADMISSION_KEYFILE_TEXT_MAX);
    sodium_memzero(seed_hex, sizeof seed_hex);
    return PPN_OK;
}

static bool cost_valid(struct admission_keyfile_cost cost)
{
    return cost.passes >= 1 && cost.passes <= PASSES_MAX && cost.memory_kib >= MEMORY_KIB_MIN &&
           cost.memory_kib <= MEMORY_KIB_MAX;
}

static enum ppn_error stretch(struct ppn_slice passphrase, struct admission_keyfile_cost cost,
                              const uint8_t *salt, uint8_t key[static crypto_secretbox_KEYBYTES])
{
    if (passphrase.size > ADMISSION_PASSPHRASE_MAX || !cost_valid(cost))
        return PPN_ERROR_INVALID;
    int failed = crypto_pwhash(key, crypto_secretbox_KEYBYTES, (const char *)passphrase.data,
                               passphrase.size, salt, cost.passes, (size_t)cost.memory_kib * 1024,
                               crypto_pwhash_ALG_ARGON2ID13);
    return failed != 0 ? PPN_ERROR_NO_MEMORY : PPN_OK;
}

enum ppn_error admission_keyfile_locked(const uint8_t seed[static ADMISSION_SEED_SIZE],
                                        struct ppn_slice passphrase,
                                        struct admission_keyfile_cost cost,
                                        const uint8_t salt[static ADMISSION_KEYFILE_SALT],
                                        const uint8_t nonce[static ADMISSION_KEYFILE_NONCE],
                                        char text[static ADMISSION_KEYFILE_TEXT_MAX])
{
    uint8_t key[crypto_secretbox_KEYBYTES], box[BOX];
    enum ppn_error error = stretch(passphrase, cost, salt, key);
    if (error != PPN_OK)
        return error;
    int failed = crypto_secretbox_easy(box, seed, ADMISSION_SEED_SIZE, nonce, key);
    PPN_ASSERT(failed == 0);
    sodium_memzero(key, sizeof key);
    char key_hex[65], salt_hex[33], nonce_hex[49], box_hex[2 * BOX + 1];
    struct admission_key public = public_of(seed);
    ppn_hex(public.bytes, sizeof public.bytes, key_hex);
    ppn_hex(salt, ADMISSION_KEYFILE_SALT, salt_hex);
    ppn_hex(nonce, ADMISSION_KEYFILE_NONCE, nonce_hex);
    ppn_hex(box, sizeof box, box_hex);
    int size = snprintf(text, ADMISSION_KEYFILE_TEXT_MAX, "%s argon2id %u %u %s %s %s %s\n", magic,
                        cost.passes, cost.memory_kib, key_hex, salt_hex, nonce_hex, box_hex);
    PPN_ASSERT(size > 0 && size < ADMISSION_KEYFILE_TEXT_MAX);
    return PPN_OK;
}

/* The next word of at most max characters, blanks around it skipped; false when there is none. */
static bool next_word(const char **text, char *word, size_t max)
{
    size_t length = 0;
    while (**text == ' ' || **text == '\n' || **text == '\r' || **text == '\t')
        (*text)++;
    while ((*text)[length] > ' ')
        length++;
    if (length == 0 || length > max)
        return false;
    memcpy(word, *text, length);
    word[length] = '\0';
    *text += length;
    return true;
}

static bool next_bytes(const char **text, uint8_t *bytes, size_t size)
{
    char word[2 * BOX + 1];
    bool good = next_word(text, word, sizeof word - 1) && ppn_unhex(word, bytes, size) == PPN_OK;
    sodium_memzero(word, sizeof word);
    return good;
}

static bool next_number(const char **text, uint32_t *number)
{
    char word[11];
    if (!next_word(text, word, 9))
        return false;
    *number = 0;
    for (const char *c = word; *c != '\0'; c++) {
        if (*c < '0' || *c > '9')
            return false;
        *number = *number * 10 + (uint32_t)(*c - '0');
    }
    return true;
}

static enum ppn_error parse(const char *text, struct keyfile *file)
{
    char word[sizeof magic + 8];
    memset(file, 0, sizeof *file);
    if (strnlen(text, ADMISSION_KEYFILE_TEXT_MAX) == ADMISSION_KEYFILE_TEXT_MAX ||
        !next_word(&text, word, sizeof word - 1))
        return PPN_ERROR_INVALID;
    if (strcmp(word, magic) != 0)
        return strncmp(word, magic, sizeof magic - 2) == 0 ? PPN_ERROR_VERSION : PPN_ERROR_INVALID;
    if (!next_word(&text, word, sizeof word - 1))
        return PPN_ERROR_INVALID;
    file->locked = strcmp(word, "argon2id") == 0;
    if (!file->locked && strcmp(word, "plain") != 0)
        return PPN_ERROR_VERSION;
    bool good = true;
    if (file->locked)
        good = next_number(&text, &file->cost.passes) &&
               next_number(&text, &file->cost.memory_kib) && cost_valid(file->cost);
    good = good && next_bytes(&text, file->key.bytes, sizeof file->key.bytes);
    if (file->locked)
        good = good && next_bytes(&text, file->salt, sizeof file->salt) &&
               next_bytes(&text, file->nonce, sizeof file->nonce);
    good = good && next_bytes(&text, file->box, file->locked ? BOX : ADMISSION_SEED_SIZE);
    return good && !next_word(&text, word, sizeof word - 1) ? PPN_OK : PPN_ERROR_INVALID;
}

enum ppn_error admission_keyfile_peek(const char *text, bool *locked, struct admission_key *key)
{
    struct keyfile file;
    enum ppn_error error = parse(text, &file);
    *locked = file.locked;
    *key = file.key;
    sodium_memzero(&file, sizeof file);
    return error;
}

enum ppn_error admission_keyfile_open(const char *text, struct ppn_slice passphrase,
                                      uint8_t seed[static ADMISSION_SEED_SIZE])
{
    struct keyfile file;
    uint8_t key[crypto_secretbox_KEYBYTES];
    enum ppn_error error = parse(text, &file);
    if (error == PPN_OK && !file.locked)
        memcpy(seed, file.box, ADMISSION_SEED_SIZE);
    if (error == PPN_OK && file.locked) {
        error = stretch(passphrase, file.cost, file.salt, key);
        if (error == PPN_OK &&
            crypto_secretbox_open_easy(seed, file.box, BOX, file.nonce, key) != 0)
            error = PPN_ERROR_UNAUTHORIZED;
        sodium_memzero(key, sizeof key);
    }
    if (error == PPN_OK) {
        struct admission_key public = public_of(seed);
        if (!admission_key_equal(&public, &file.key))
            error = PPN_ERROR_CORRUPT;
    }
    if (error != PPN_OK)
        sodium_memzero(seed, ADMISSION_SEED_SIZE);
    sodium_memzero(&file, sizeof file);
    return error;
}
