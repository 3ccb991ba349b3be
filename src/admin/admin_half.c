// SPDX-License-Identifier: ISC
#include "admin/admin_half.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static const char first_line[] = "ppn-entry-1";

enum ppn_error admin_half_begin(struct admin_half *half, struct ppn_slice body)
{
    memset(half, 0, sizeof(*half));
    if (body.size > sizeof(half->body) || admission_body_decode(body, &half->entry) != PPN_OK)
        return PPN_ERROR_INVALID;
    memcpy(half->body, body.data, body.size);
    half->body_size = (uint32_t)body.size;
    return PPN_OK;
}

static struct ppn_slice transcript(const struct admin_half *half,
                                   uint8_t buffer[static ADMISSION_SIGN_TRANSCRIPT])
{
    struct ppn_hash id =
        admission_body_id(admission_crypto_sodium(), ppn_slice(half->body, half->body_size));
    return admission_sign_transcript(&id, buffer);
}

static bool has_signed(const struct admin_half *half, const struct admission_key *key)
{
    for (uint32_t i = 0; i < half->count; i++) {
        if (admission_key_equal(&half->keys[i], key))
            return true;
    }
    return false;
}

static bool names(const struct admin_half *half, const struct admission_key *key)
{
    bool named = admission_key_equal(&half->entry.author, key);
    for (uint32_t i = 0; i < half->entry.cosigner_count; i++)
        named = named || admission_key_equal(&half->entry.cosigners[i], key);
    return named;
}

bool admin_half_next(const struct admin_half *half, struct admission_key *key)
{
    *key = half->entry.author;
    for (uint32_t i = 0; i < half->entry.cosigner_count; i++) {
        if (!has_signed(half, &half->entry.cosigners[i])) {
            *key = half->entry.cosigners[i];
            return true;
        }
    }
    return !has_signed(half, key);
}

enum ppn_error admin_half_sign(struct admin_half *half, struct admission_keypair *pair,
                               struct ppn_failure *failure)
{
    uint8_t buffer[ADMISSION_SIGN_TRANSCRIPT];
    struct admission_key next;
    struct admission_signer signer = admission_keypair_signer(pair);
    if (!names(half, &pair->key))
        return ppn_fail(failure, PPN_ERROR_UNAUTHORIZED, "the entry does not name this key");
    if (has_signed(half, &pair->key))
        return ppn_fail(failure, PPN_ERROR_CONFLICT, "this key has signed it already");
    bool author = admission_key_equal(&half->entry.author, &pair->key);
    if (author && admin_half_next(half, &next) && !admission_key_equal(&next, &pair->key))
        return ppn_fail(failure, PPN_ERROR_CONFLICT,
                        "its author signs last: others are still to sign");
    PPN_ASSERT(half->count < ADMISSION_SIGNATURES_MAX);
    if (!signer.sign(signer.ctx, transcript(half, buffer), &half->signatures[half->count]))
        return ppn_fail(failure, PPN_ERROR_REFUSED, "the holder of the key did not sign");
    half->keys[half->count++] = pair->key;
    return PPN_OK;
}

static struct admission_signature signature_of(const struct admin_half *half,
                                               const struct admission_key *key)
{
    for (uint32_t i = 0; i < half->count; i++) {
        if (admission_key_equal(&half->keys[i], key))
            return half->signatures[i];
    }
    PPN_UNREACHABLE();
}

void admin_half_made(const struct admin_half *half, struct admission_made *made)
{
    struct admission_envelope envelope = {.body = ppn_slice(half->body, half->body_size),
                                          .signature_count = 1 + half->entry.cosigner_count};
    struct ppn_writer writer = ppn_writer(made->bytes, sizeof(made->bytes));
    envelope.signatures[0] = signature_of(half, &half->entry.author);
    for (uint32_t i = 0; i < half->entry.cosigner_count; i++)
        envelope.signatures[1 + i] = signature_of(half, &half->entry.cosigners[i]);
    enum ppn_error error = admission_envelope_encode(&envelope, &writer);
    PPN_ASSERT(error == PPN_OK);
    made->id = admission_body_id(admission_crypto_sodium(), envelope.body);
    made->size = (uint32_t)writer.size;
}

size_t admin_half_write(const struct admin_half *half, char text[static ADMIN_HALF_TEXT_MAX])
{
    static char hex[2 * ADMISSION_BODY_MAX + 1];
    char key[2 * ADMISSION_KEY_SIZE + 1], signature[2 * ADMISSION_SIGNATURE_SIZE + 1];
    (void)sodium_bin2hex(hex, sizeof(hex), half->body, half->body_size);
    int size = snprintf(text, ADMIN_HALF_TEXT_MAX, "%s\nbody %s\n", first_line, hex);
    for (uint32_t i = 0; i < half->count; i++) {
        (void)sodium_bin2hex(key, sizeof(key), half->keys[i].bytes, ADMISSION_KEY_SIZE);
        (void)sodium_bin2hex(signature, sizeof(signature), half->signatures[i].bytes,
                             ADMISSION_SIGNATURE_SIZE);
        size += snprintf(text + size, (size_t)(ADMIN_HALF_TEXT_MAX - size), "signed %s %s\n", key,
                         signature);
    }
    PPN_ASSERT(size > 0 && size < ADMIN_HALF_TEXT_MAX);
    return (size_t)size;
}

/* The next line, without its end and without blanks around it. */
static struct ppn_slice take_line(struct ppn_slice *text)
{
    const uint8_t *end = text->size > 0 ? memchr(text->data, '\n', text->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;
    struct ppn_slice line = ppn_slice(text->data, size);
    *text = ppn_slice(text->data + size + (end != NULL), text->size - size - (end != NULL));
    while (line.size > 0 && (line.data[line.size - 1] == '\r' || line.data[line.size - 1] == ' '))
        line.size--;
    return line;
}

static bool from_hex(struct ppn_slice hex, uint8_t *bytes, size_t capacity, size_t *size)
{
    return hex.size % 2 == 0 && hex.size / 2 <= capacity &&
           sodium_hex2bin(bytes, capacity, (const char *)hex.data, hex.size, NULL, size, NULL) ==
               0 &&
           *size == hex.size / 2;
}

/* "WORD REST": the rest; empty where the line starts otherwise. */
static struct ppn_slice after(struct ppn_slice line, const char *word)
{
    size_t size = strlen(word);
    if (line.size <= size || memcmp(line.data, word, size) != 0)
        return ppn_slice(NULL, 0);
    return ppn_slice(line.data + size, line.size - size);
}

static enum ppn_error take_signature(struct admin_half *half, struct ppn_slice rest,
                                     struct ppn_failure *failure)
{
    enum { KEY_HEX = 2 * ADMISSION_KEY_SIZE };
    const struct admission_crypto *crypto = admission_crypto_sodium();
    uint8_t buffer[ADMISSION_SIGN_TRANSCRIPT];
    struct admission_key key;
    struct admission_signature signature;
    size_t size;
    bool shaped = rest.size == KEY_HEX + 1 + 2 * ADMISSION_SIGNATURE_SIZE &&
                  rest.data[KEY_HEX] == ' ' &&
                  from_hex(ppn_slice(rest.data, KEY_HEX), key.bytes, sizeof(key.bytes), &size) &&
                  from_hex(ppn_slice(rest.data + KEY_HEX + 1, rest.size - KEY_HEX - 1),
                           signature.bytes, sizeof(signature.bytes), &size);
    if (!shaped || half->count == ADMISSION_SIGNATURES_MAX)
        return ppn_fail(failure, PPN_ERROR_INVALID, "a line with a signature is damaged");
    if (!names(half, &key) || has_signed(half, &key))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "it is signed twice by one key, or by one that it does not name");
    if (!crypto->verify(crypto->ctx, &key, transcript(half, buffer), &signature))
        return ppn_fail(failure, PPN_ERROR_SIGNATURE,
                        "a signature does not fit the entry: one of them was changed");
    half->keys[half->count] = key;
    half->signatures[half->count++] = signature;
    return PPN_OK;
}

enum ppn_error admin_half_read(struct ppn_slice text, struct admin_half *half,
                               struct ppn_failure *failure)
{
    uint8_t body[ADMISSION_BODY_MAX];
    size_t size = 0;
    struct ppn_slice line = take_line(&text);
    if (line.size != sizeof(first_line) - 1 || memcmp(line.data, first_line, line.size) != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "it is no entry to be signed: such a file begins with %s", first_line);
    line = after(take_line(&text), "body ");
    if (!from_hex(line, body, sizeof(body), &size) ||
        admin_half_begin(half, ppn_slice(body, size)) != PPN_OK)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the entry in it is damaged");
    while (text.size > 0) {
        line = take_line(&text);
        if (line.size == 0)
            continue;
        struct ppn_slice rest = after(line, "signed ");
        enum ppn_error error = take_signature(half, rest, failure);
        if (error != PPN_OK)
            return error;
    }
    return PPN_OK;
}
