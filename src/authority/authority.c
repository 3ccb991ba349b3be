// SPDX-License-Identifier: ISC
#include "authority/authority.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static const char state_magic[] = "ppn-authority-1\n";
static const char operator_domain[] = "ppn-operator-1";

enum { MAGIC = sizeof(state_magic) - 1, WORDS_MAX = 4 };
_Static_assert(sizeof(operator_domain) - 1 + ADMISSION_KEY_SIZE + PPN_HASH_SIZE ==
                   AUTHORITY_TRANSCRIPT,
               "the transcript is domain, key and id");
_Static_assert(MAGIC + 1 + 4 * 32 + 8 + 8 + 4 + ADMISSION_ENVELOPE_MAX <= AUTHORITY_STATE_MAX,
               "a state fits");

void authority_init(struct authority *authority, const uint8_t seed[static ADMISSION_SEED_SIZE])
{
    *authority = (struct authority){0};
    memcpy(authority->seed, seed, ADMISSION_SEED_SIZE);
    admission_keypair_from_seed(seed, &authority->pair);
}

void authority_save(const struct authority *authority, struct ppn_writer *state)
{
    ppn_write(state, ppn_slice(state_magic, MAGIC));
    ppn_write(state, ppn_slice(authority->seed, sizeof(authority->seed)));
    ppn_write_u8(state, authority->owned);
    ppn_write(state, ppn_slice(authority->network.bytes, PPN_HASH_SIZE));
    ppn_write(state, ppn_slice(authority->operator_key.bytes, ADMISSION_KEY_SIZE));
    ppn_write_u64(state, authority->seq);
    ppn_write(state, ppn_slice(authority->last.bytes, PPN_HASH_SIZE));
    ppn_write_u64(state, authority->seal);
    ppn_write_u32(state, authority->envelope_size);
    ppn_write(state, ppn_slice(authority->envelope, authority->envelope_size));
    PPN_ASSERT(!state->overflow);
}

static void take(struct ppn_slice *from, void *to, size_t size)
{
    PPN_ASSERT(from->size >= size);
    memcpy(to, from->data, size);
    *from = ppn_slice(from->data + size, from->size - size);
}

enum ppn_error authority_load(struct authority *authority, struct ppn_slice state)
{
    uint8_t magic[MAGIC], seed[ADMISSION_SEED_SIZE], owned, number[8];
    if (state.size < MAGIC + 1 + 4 * 32 + 8 + 8 + 4)
        return PPN_ERROR_CORRUPT;
    take(&state, magic, MAGIC);
    take(&state, seed, sizeof(seed));
    authority_init(authority, seed);
    take(&state, &owned, 1);
    take(&state, authority->network.bytes, PPN_HASH_SIZE);
    take(&state, authority->operator_key.bytes, ADMISSION_KEY_SIZE);
    take(&state, number, 8);
    authority->seq = ppn_read_u64(number);
    take(&state, authority->last.bytes, PPN_HASH_SIZE);
    take(&state, number, 8);
    authority->seal = ppn_read_u64(number);
    take(&state, number, 4);
    authority->envelope_size = ppn_read_u32(number);
    if (memcmp(magic, state_magic, MAGIC) != 0 || owned > 1 ||
        authority->envelope_size != state.size || state.size > ADMISSION_ENVELOPE_MAX)
        return PPN_ERROR_CORRUPT;
    authority->owned = owned;
    take(&state, authority->envelope, authority->envelope_size);
    return PPN_OK;
}

struct ppn_slice authority_transcript(const struct admission_key *authority,
                                      const struct ppn_hash *id,
                                      uint8_t buffer[static AUTHORITY_TRANSCRIPT])
{
    struct ppn_writer writer = ppn_writer(buffer, AUTHORITY_TRANSCRIPT);
    ppn_write(&writer, ppn_slice(operator_domain, sizeof(operator_domain) - 1));
    ppn_write(&writer, ppn_slice(authority->bytes, ADMISSION_KEY_SIZE));
    ppn_write(&writer, ppn_slice(id->bytes, PPN_HASH_SIZE));
    PPN_ASSERT(!writer.overflow && writer.size == AUTHORITY_TRANSCRIPT);
    return ppn_written(&writer);
}

static bool from_hex(const char *text, uint8_t *bytes, size_t capacity, size_t *size)
{
    const char *end;
    size_t length = strlen(text);
    return length % 2 == 0 && length / 2 <= capacity &&
           sodium_hex2bin(bytes, capacity, text, length, NULL, size, &end) == 0 &&
           *size == length / 2;
}

static bool exactly(const char *text, uint8_t *bytes, size_t wanted)
{
    size_t size;
    return from_hex(text, bytes, wanted, &size) && size == wanted;
}

static void say(char answer[static AUTHORITY_LINE_MAX], const char *tag, const char *what,
                const char *words)
{
    int length = snprintf(answer, AUTHORITY_LINE_MAX, "%s %s %s\n", tag, what, words);
    PPN_ASSERT(length > 0 && length < AUTHORITY_LINE_MAX);
}

static bool refuse(char answer[static AUTHORITY_LINE_MAX], const char *tag, const char *words)
{
    say(answer, tag, "refused", words);
    return false;
}

static void introduce(const struct authority *authority, const char *tag,
                      char answer[static AUTHORITY_LINE_MAX])
{
    char key[65], network[65], operator_key[65], last[2 * ADMISSION_ENVELOPE_MAX + 1] = "-";
    sodium_bin2hex(key, sizeof(key), authority->pair.key.bytes, 32);
    sodium_bin2hex(network, sizeof(network), authority->network.bytes, 32);
    sodium_bin2hex(operator_key, sizeof(operator_key), authority->operator_key.bytes, 32);
    if (authority->envelope_size > 0)
        sodium_bin2hex(last, sizeof(last), authority->envelope, authority->envelope_size);
    int length =
        snprintf(answer, AUTHORITY_LINE_MAX, "%s is %s %s %s %llu %d %s\n", tag, key, network,
                 operator_key, (unsigned long long)authority->seq, authority->sealed, last);
    PPN_ASSERT(length > 0 && length < AUTHORITY_LINE_MAX);
}

static bool own(struct authority *authority, char *const words[WORDS_MAX],
                char answer[static AUTHORITY_LINE_MAX])
{
    struct ppn_hash network;
    struct admission_key key;
    if (!exactly(words[2], network.bytes, 32) || !exactly(words[3], key.bytes, 32))
        return refuse(answer, words[0], "own takes a network and an operator's key");
    bool same = authority->owned && ppn_hash_equal(&network, &authority->network) &&
                admission_key_equal(&key, &authority->operator_key);
    if (authority->owned && !same)
        return refuse(answer, words[0], "this authority has an operator, and keeps it");
    authority->owned = true;
    authority->network = network;
    authority->operator_key = key;
    introduce(authority, words[0], answer);
    return !same;
}

/* NULL, or why this body is not signed. */
static const char *objection(const struct authority *authority, const struct admission_entry *entry)
{
    if (!ppn_hash_equal(&entry->network, &authority->network))
        return "the entry belongs to another network";
    if (!admission_key_equal(&entry->author, &authority->pair.key))
        return "the entry has another author";
    if (entry->cosigner_count > 0)
        return "this authority signs alone";
    if (entry->seq != authority->seq + 1 || !ppn_hash_equal(&entry->prev, &authority->last))
        return "the entry does not follow the last one that was signed here: the log that it was "
               "made from is old, or this authority runs twice";
    if (entry->kind == ADMISSION_SEAL && entry->as.seal_of.number <= authority->seal)
        return "a seal with this number was made here before";
    if (entry->kind != ADMISSION_SEAL && !authority->sealed)
        return "after a start the first entry is a seal";
    return NULL;
}

static void sign_body(struct authority *authority, const struct admission_entry *entry,
                      struct ppn_slice body, const struct ppn_hash *id)
{
    uint8_t buffer[ADMISSION_SIGN_TRANSCRIPT];
    struct admission_envelope envelope = {.body = body, .signature_count = 1};
    struct admission_signer signer = admission_keypair_signer(&authority->pair);
    struct ppn_writer writer = ppn_writer(authority->envelope, sizeof(authority->envelope));
    bool done =
        signer.sign(signer.ctx, admission_sign_transcript(id, buffer), &envelope.signatures[0]);
    PPN_ASSERT(done);
    enum ppn_error error = admission_envelope_encode(&envelope, &writer);
    PPN_ASSERT(error == PPN_OK);
    authority->envelope_size = (uint32_t)writer.size;
    authority->seq = entry->seq;
    authority->last = *id;
    if (entry->kind == ADMISSION_SEAL) {
        authority->seal = entry->as.seal_of.number;
        authority->sealed = true;
    }
}

static bool sign(struct authority *authority, char *const words[WORDS_MAX],
                 char answer[static AUTHORITY_LINE_MAX])
{
    uint8_t body[ADMISSION_BODY_MAX], buffer[AUTHORITY_TRANSCRIPT];
    char hex[2 * ADMISSION_ENVELOPE_MAX + 1];
    const struct admission_crypto *crypto = admission_crypto_sodium();
    struct admission_signature signature;
    struct admission_entry entry;
    size_t size;
    if (!from_hex(words[2], body, sizeof(body), &size) ||
        !exactly(words[3], signature.bytes, sizeof(signature.bytes)))
        return refuse(answer, words[0], "sign takes a body and an operator's signature");
    if (!authority->owned)
        return refuse(answer, words[0], "this authority has no operator yet");
    struct ppn_hash id = admission_body_id(crypto, ppn_slice(body, size));
    if (!crypto->verify(crypto->ctx, &authority->operator_key,
                        authority_transcript(&authority->pair.key, &id, buffer), &signature))
        return refuse(answer, words[0], "its operator has not asked for this");
    bool again = authority->seq > 0 && ppn_hash_equal(&id, &authority->last);
    if (!again) {
        if (admission_body_decode(ppn_slice(body, size), &entry) != PPN_OK)
            return refuse(answer, words[0], "this is no entry that this version knows");
        const char *why = objection(authority, &entry);
        if (why != NULL)
            return refuse(answer, words[0], why);
        sign_body(authority, &entry, ppn_slice(body, size), &id);
    }
    sodium_bin2hex(hex, sizeof(hex), authority->envelope, authority->envelope_size);
    say(answer, words[0], "signed", hex);
    return !again;
}

bool authority_answer(struct authority *authority, const char *line,
                      char answer[static AUTHORITY_LINE_MAX])
{
    char copy[AUTHORITY_LINE_MAX], *words[WORDS_MAX + 1] = {NULL}, *rest = copy;
    size_t count = 0;
    answer[0] = '\0';
    if (strlen(line) >= sizeof(copy))
        return false;
    memcpy(copy, line, strlen(line) + 1);
    while (count <= WORDS_MAX && (words[count] = strtok_r(rest, " ", &rest)) != NULL)
        count++;
    if (count < 2 || count > WORDS_MAX || strlen(words[0]) > AUTHORITY_TAG_MAX)
        return false;
    if (authority->closed)
        return refuse(answer, words[0],
                      "its VM has a network card: run it again with --no-network");
    if (strcmp(words[1], "hello") == 0 && count == 2)
        introduce(authority, words[0], answer);
    else if (strcmp(words[1], "own") == 0 && count == 4)
        return own(authority, words, answer);
    else if (strcmp(words[1], "sign") == 0 && count == 4)
        return sign(authority, words, answer);
    else
        return refuse(answer, words[0], "no such request");
    return false;
}
