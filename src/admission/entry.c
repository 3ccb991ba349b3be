// SPDX-License-Identifier: ISC
#include "admission/entry.h"

#include <string.h>

#include "admission/payload.h"
#include "base/assert.h"

_Static_assert(ADMISSION_PARENTS_MAX *(PPN_HASH_SIZE + 2) +
                       ADMISSION_COSIGNERS_MAX * (ADMISSION_KEY_SIZE + 2) +
                       PPN_LABELS_MAX * (PPN_NAME_MAX + PPN_LABEL_VALUE_MAX + 5) + 512 <
                   ADMISSION_BODY_MAX,
               "the largest entry fits a body");

const char *admission_kind_name(enum admission_kind kind)
{
    static const char *const names[] = {"unknown", "genesis", "admit",     "deny",         "revoke",
                                        "invite",  "redeem",  "admin-add", "admin-remove", "rekey",
                                        "policy",  "seal",    "recover",   "checkpoint"};
    uint32_t number = (uint32_t)kind;
    return names[number < sizeof names / sizeof names[0] ? number : 0];
}

static void pack_parents(struct admission_pack *pack, struct admission_entry *entry)
{
    bool genesis = entry->kind == ADMISSION_GENESIS;
    admission_pack_count(pack, &entry->parent_count, genesis ? 0 : 1,
                         genesis ? 0 : ADMISSION_PARENTS_MAX);
    for (uint32_t i = 0; i < entry->parent_count && pack->error == PPN_OK; i++)
        admission_pack_fixed(pack, entry->parents[i].bytes, PPN_HASH_SIZE);
    admission_pack_ascending(pack, entry->parents, entry->parent_count, sizeof entry->parents[0],
                             PPN_HASH_SIZE);
}

static void pack_cosigners(struct admission_pack *pack, struct admission_entry *entry)
{
    admission_pack_count(pack, &entry->cosigner_count, 0, ADMISSION_COSIGNERS_MAX);
    for (uint32_t i = 0; i < entry->cosigner_count && pack->error == PPN_OK; i++) {
        admission_pack_fixed(pack, entry->cosigners[i].bytes, ADMISSION_KEY_SIZE);
        if (admission_key_equal(&entry->cosigners[i], &entry->author))
            admission_pack_fail(pack, PPN_ERROR_INVALID);
    }
    admission_pack_ascending(pack, entry->cosigners, entry->cosigner_count,
                             sizeof entry->cosigners[0], ADMISSION_KEY_SIZE);
}

/* Shapes that hold for every kind: only a genesis has no network, only a first entry no prev. */
static bool header_consistent(const struct admission_entry *entry)
{
    bool genesis = entry->kind == ADMISSION_GENESIS;
    if (ppn_hash_is_zero(&entry->network) != genesis)
        return false;
    if (ppn_hash_is_zero(&entry->prev) != (entry->seq == 1))
        return false;
    return !genesis || (entry->seq == 1 && entry->seal == 0);
}

static void pack_body(struct admission_pack *pack, struct admission_entry *entry)
{
    admission_pack_array(pack, 11);
    admission_pack_u32(pack, &entry->version, 1, UINT16_MAX);
    if (pack->error == PPN_OK && entry->version != ADMISSION_VERSION)
        admission_pack_fail(pack, PPN_ERROR_VERSION);
    admission_pack_fixed(pack, entry->network.bytes, PPN_HASH_SIZE);
    uint32_t kind = (uint32_t)entry->kind;
    admission_pack_u32(pack, &kind, 1, UINT8_MAX);
    if (pack->error == PPN_OK && kind > ADMISSION_CHECKPOINT)
        admission_pack_fail(pack, PPN_ERROR_VERSION);
    if (pack->error != PPN_OK)
        return;
    entry->kind = (enum admission_kind)kind;
    admission_pack_fixed(pack, entry->author.bytes, ADMISSION_KEY_SIZE);
    admission_pack_u64(pack, &entry->seq, 1, INT64_MAX);
    admission_pack_fixed(pack, entry->prev.bytes, PPN_HASH_SIZE);
    pack_parents(pack, entry);
    admission_pack_u64(pack, &entry->seal, 0, INT64_MAX);
    admission_pack_time(pack, &entry->time_unix_ms);
    pack_cosigners(pack, entry);
    admission_pack_payload(pack, entry);
    if (pack->error == PPN_OK && !header_consistent(entry))
        admission_pack_fail(pack, PPN_ERROR_INVALID);
}

enum ppn_error admission_body_encode(const struct admission_entry *entry, struct ppn_writer *body)
{
    struct admission_entry copy = *entry;
    struct admission_pack pack = admission_pack_writer(body);
    size_t start = body->size;
    pack_body(&pack, &copy);
    enum ppn_error error = admission_pack_end(&pack);
    if (error == PPN_OK && body->size - start > ADMISSION_BODY_MAX)
        return PPN_ERROR_TOO_BIG;
    return error;
}

enum ppn_error admission_body_decode(struct ppn_slice body, struct admission_entry *entry)
{
    if (body.size > ADMISSION_BODY_MAX)
        return PPN_ERROR_TOO_BIG;
    memset(entry, 0, sizeof *entry);
    struct admission_pack pack = admission_pack_reader(body);
    pack_body(&pack, entry);
    return admission_pack_end(&pack);
}

static void pack_envelope(struct admission_pack *pack, struct admission_envelope *envelope)
{
    admission_pack_array(pack, 2);
    admission_pack_bytes(pack, &envelope->body, ADMISSION_BODY_MAX);
    admission_pack_count(pack, &envelope->signature_count, 1, ADMISSION_SIGNATURES_MAX);
    for (uint32_t i = 0; i < envelope->signature_count && pack->error == PPN_OK; i++)
        admission_pack_fixed(pack, envelope->signatures[i].bytes, ADMISSION_SIGNATURE_SIZE);
}

enum ppn_error admission_envelope_encode(const struct admission_envelope *envelope,
                                         struct ppn_writer *bytes)
{
    struct admission_envelope copy = *envelope;
    struct admission_pack pack = admission_pack_writer(bytes);
    pack_envelope(&pack, &copy);
    return admission_pack_end(&pack);
}

enum ppn_error admission_envelope_decode(struct ppn_slice bytes,
                                         struct admission_envelope *envelope)
{
    if (bytes.size > ADMISSION_ENVELOPE_MAX)
        return PPN_ERROR_TOO_BIG;
    memset(envelope, 0, sizeof *envelope);
    struct admission_pack pack = admission_pack_reader(bytes);
    pack_envelope(&pack, envelope);
    return admission_pack_end(&pack);
}

struct ppn_hash admission_body_id(const struct admission_crypto *crypto, struct ppn_slice body)
{
    return crypto->hash(crypto->ctx, ppn_slice("ppn-log-1", 9), body);
}

struct ppn_slice admission_sign_transcript(const struct ppn_hash *id,
                                           uint8_t buffer[static ADMISSION_SIGN_TRANSCRIPT])
{
    static const char domain[14] = "ppn-log-sign-1";
    memcpy(buffer, domain, sizeof domain);
    memcpy(buffer + sizeof domain, id->bytes, sizeof id->bytes);
    return ppn_slice(buffer, ADMISSION_SIGN_TRANSCRIPT);
}

struct ppn_hash admission_recovery_hash(const struct admission_crypto *crypto,
                                        const struct admission_key *key)
{
    return crypto->hash(crypto->ctx, ppn_slice("ppn-recovery-1", 14),
                        ppn_slice(key->bytes, sizeof key->bytes));
}
