// SPDX-License-Identifier: ISC
#include "admission/token.h"

#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

enum { TOKEN_VERSION = 1, CHECKSUM = 4, ENDPOINT = 18, PREFIX = 5 };

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char prefix[] = "ppn1-";

static void checksum(struct ppn_slice bytes, uint8_t out[static CHECKSUM])
{
    const struct admission_crypto *crypto = admission_crypto_sodium();
    struct ppn_hash hash = crypto->hash(crypto->ctx, ppn_slice("ppn-token-1", 11), bytes);
    memcpy(out, hash.bytes, CHECKSUM);
}

/* RFC 4648 base32, lower case, no padding. */
static void to_text(struct ppn_slice bytes, char *text)
{
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        bits = bits << 8 | bytes.data[i];
        held += 8;
        for (; held >= 5; held -= 5)
            *text++ = alphabet[bits >> (held - 5) & 31];
    }
    if (held > 0)
        *text++ = alphabet[bits << (5 - held) & 31];
    *text = '\0';
}

/* False for a character outside the alphabet, more than fits, or bits left over that are not 0. */
static bool from_text(const char *text, size_t length, struct ppn_writer *bytes)
{
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        const char *found = c == '\0' ? NULL : strchr(alphabet, c);
        if (found == NULL)
            return false;
        bits = bits << 5 | (uint32_t)(found - alphabet);
        held += 5;
        if (held >= 8) {
            held -= 8;
            ppn_write_u8(bytes, (uint8_t)(bits >> held));
        }
    }
    return !bytes->overflow && held < 5 && (bits & ((1u << held) - 1)) == 0;
}

enum ppn_error admission_token_text(const struct admission_token *token,
                                    char text[static ADMISSION_TOKEN_TEXT_MAX])
{
    uint8_t bytes[ADMISSION_TOKEN_BYTES_MAX], sum[CHECKSUM];
    if (token->endpoint_count == 0 || token->endpoint_count > ADMISSION_TOKEN_ENDPOINTS_MAX)
        return PPN_ERROR_INVALID;
    struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
    ppn_write_u8(&writer, TOKEN_VERSION);
    ppn_write(&writer, ppn_slice(token->network.bytes, PPN_HASH_SIZE));
    ppn_write(&writer, ppn_slice(token->seed, sizeof token->seed));
    ppn_write_u8(&writer, (uint8_t)token->endpoint_count);
    for (uint32_t i = 0; i < token->endpoint_count; i++) {
        ppn_write(&writer, ppn_slice(token->endpoints[i].address, 16));
        ppn_write_u8(&writer, (uint8_t)(token->endpoints[i].port >> 8));
        ppn_write_u8(&writer, (uint8_t)token->endpoints[i].port);
    }
    checksum(ppn_written(&writer), sum);
    ppn_write(&writer, ppn_slice(sum, sizeof sum));
    PPN_ASSERT(!writer.overflow);
    memcpy(text, prefix, PREFIX);
    to_text(ppn_written(&writer), text + PREFIX);
    return PPN_OK;
}

static bool has_prefix(const char *text, size_t length)
{
    bool same = length >= PREFIX;
    for (size_t i = 0; same && i < PREFIX; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        same = c == prefix[i];
    }
    return same;
}

enum ppn_error admission_token_parse(const char *text, struct admission_token *token,
                                     struct ppn_failure *why)
{
    uint8_t bytes[ADMISSION_TOKEN_BYTES_MAX], sum[CHECKSUM];
    const char *blanks = " \t\r\n";
    while (*text != '\0' && strchr(blanks, *text) != NULL)
        text++;
    size_t length = strlen(text);
    while (length > 0 && strchr(blanks, text[length - 1]) != NULL)
        length--;
    if (!has_prefix(text, length))
        return ppn_fail(why, PPN_ERROR_INVALID,
                        "this is no token: it starts with %s. Paste all that ppn invite printed",
                        prefix);
    struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
    bool decoded = from_text(text + PREFIX, length - PREFIX, &writer);
    size_t least = 1 + PPN_HASH_SIZE + ADMISSION_SEED_SIZE + 1 + ENDPOINT + CHECKSUM;
    if (!decoded || writer.size < least)
        return ppn_fail(why, PPN_ERROR_INVALID,
                        "the token is cut short or mistyped: paste it again, whole");
    checksum(ppn_slice(bytes, writer.size - CHECKSUM), sum);
    if (memcmp(sum, bytes + writer.size - CHECKSUM, CHECKSUM) != 0)
        return ppn_fail(why, PPN_ERROR_INVALID, "the token is mistyped: its checksum is wrong");
    if (bytes[0] != TOKEN_VERSION)
        return ppn_fail(why, PPN_ERROR_VERSION, "the token is of version %u: update this program",
                        bytes[0]);
    const uint8_t *at = bytes + 1;
    memcpy(token->network.bytes, at, PPN_HASH_SIZE);
    memcpy(token->seed, at + PPN_HASH_SIZE, ADMISSION_SEED_SIZE);
    at += PPN_HASH_SIZE + ADMISSION_SEED_SIZE;
    token->endpoint_count = *at++;
    size_t size = least - ENDPOINT + (size_t)token->endpoint_count * ENDPOINT;
    if (token->endpoint_count == 0 || token->endpoint_count > ADMISSION_TOKEN_ENDPOINTS_MAX ||
        size != writer.size)
        return ppn_fail(why, PPN_ERROR_INVALID, "the token names no address to try");
    for (uint32_t i = 0; i < token->endpoint_count; i++, at += ENDPOINT) {
        memcpy(token->endpoints[i].address, at, 16);
        token->endpoints[i].port = (uint16_t)(at[16] << 8 | at[17]);
    }
    return PPN_OK;
}
