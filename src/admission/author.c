// SPDX-License-Identifier: ISC
#include "admission/author.h"

#include <stdlib.h>
#include <string.h>

#include "admission/kept.h"
#include "admission/state.h"
#include "base/assert.h"

/* The author's last entry: the end of its chain, 0 if it has none. */
static uint32_t chain_end(const struct admission *log, const struct admission_key *author)
{
    uint32_t person;
    if (!admission_person_find(log, author, &person))
        return 0;
    uint32_t best = log->persons[person].last_authored;
    if (best == 0 || (log->persons[person].fork_seq == 0 && log->persons[person].kept_seq == 0))
        return best;
    for (uint32_t at = log->persons[person].first_authored; at != 0;
         at = log->items[at - 1].next_of_author)
        best = log->items[at - 1].seq > log->items[best - 1].seq ? at : best;
    return best;
}

static int compare_hashes(const void *a, const void *b)
{
    return ppn_hash_compare(a, b);
}

/* The heads, but never more than fit; the author's own last entry is among the ancestors. */
static void fill_parents(const struct admission *log, uint32_t own, struct admission_entry *entry)
{
    entry->parent_count = 0;
    if (own != 0 && !log->items[own - 1].has_child)
        entry->parents[entry->parent_count++] = log->items[own - 1].id;
    bool own_covered = own == 0 || entry->parent_count > 0;
    for (uint32_t i = 0; i < log->head_count; i++) {
        uint32_t left = log->head_count - i;
        uint32_t index;
        bool known = admission_item_find(log, &log->heads[i], &index);
        PPN_ASSERT(known);
        if (own != 0 && index == own - 1)
            continue;
        bool covers = own != 0 && admission_before(log, own - 1, index);
        bool last_place = entry->parent_count == ADMISSION_PARENTS_MAX - 1;
        if (entry->parent_count == ADMISSION_PARENTS_MAX ||
            (last_place && !own_covered && !covers && left > 1))
            continue;
        entry->parents[entry->parent_count++] = log->heads[i];
        own_covered = own_covered || covers;
    }
    PPN_ASSERT(own_covered);
    qsort(entry->parents, entry->parent_count, sizeof entry->parents[0], compare_hashes);
}

static uint64_t seal_of_parents(const struct admission *log, const struct admission_entry *entry)
{
    uint64_t seal = 0;
    for (uint32_t i = 0; i < entry->parent_count; i++) {
        uint32_t index;
        bool known = admission_item_find(log, &entry->parents[i], &index);
        PPN_ASSERT(known);
        uint64_t number = admission_seal_after(log, index);
        seal = number > seal ? number : seal;
    }
    return seal;
}

static void past_of_parents(const struct admission *log, const struct admission_entry *entry,
                            struct admission_past *past)
{
    struct admission_attempt attempt = {.entry = *entry};
    struct ppn_hash missing;
    bool there = admission_find_parents(log, &attempt, &missing);
    PPN_ASSERT(there);
    admission_past_of(log, attempt.parents, attempt.parent_count, past);
}

static void fill_seal(const struct admission *log, struct admission_entry *entry)
{
    struct admission_past past;
    past_of_parents(log, entry, &past);
    entry->as.seal_of.number = entry->seal + 1;
    entry->as.seal_of.members = admission_seal_members(log, &past);
    admission_past_free(&past);
}

static enum ppn_error fill_checkpoint(const struct admission *log, struct admission_entry *entry,
                                      struct ppn_failure *why)
{
    struct admission_past past;
    struct admission_base base;
    past_of_parents(log, entry, &past);
    enum ppn_error error = admission_checkpoint_at(log, &past, entry->time_unix_ms, &base, why);
    admission_past_free(&past);
    if (error != PPN_OK)
        return error;
    entry->as.checkpoint.number = admission_checkpoint_now(log).number + 1;
    entry->as.checkpoint.digest = base.digest;
    entry->as.checkpoint.records = base.count;
    for (uint32_t i = 0; i < entry->parent_count; i++) {
        uint32_t index;
        bool known = admission_item_find(log, &entry->parents[i], &index);
        PPN_ASSERT(known);
        uint32_t height = log->items[index].height + 1;
        if (height > entry->as.checkpoint.height)
            entry->as.checkpoint.height = height;
    }
    admission_base_free(&base);
    return PPN_OK;
}

static int compare_keys(const void *a, const void *b)
{
    return admission_key_compare(a, b);
}

static enum ppn_error set_signers(struct admission_entry *entry, const struct admission_key *author,
                                  const struct admission_key *cosigners, uint32_t count,
                                  struct ppn_failure *why)
{
    if (count > ADMISSION_COSIGNERS_MAX)
        return ppn_fail(why, PPN_ERROR_TOO_BIG, "at most %d keys sign one entry",
                        ADMISSION_SIGNATURES_MAX);
    entry->version = ADMISSION_VERSION;
    entry->author = *author;
    entry->cosigner_count = count;
    for (uint32_t i = 0; i < count; i++)
        entry->cosigners[i] = cosigners[i];
    qsort(entry->cosigners, count, sizeof entry->cosigners[0], compare_keys);
    return PPN_OK;
}

enum ppn_error admission_make_body(const struct admission *log, const struct admission_key *author,
                                   const struct admission_key *cosigners, uint32_t cosigner_count,
                                   struct ppn_wall now, struct admission_entry *entry,
                                   struct ppn_writer *body, struct ppn_failure *why)
{
    if (log->count == 0)
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "the log is empty: it has no genesis yet");
    enum ppn_error error = set_signers(entry, author, cosigners, cosigner_count, why);
    if (error != PPN_OK)
        return error;
    uint32_t own = chain_end(log, author);
    entry->network = log->network;
    entry->seq = own != 0 ? log->items[own - 1].seq + 1 : 1;
    entry->prev = own != 0 ? log->items[own - 1].id : (struct ppn_hash){0};
    entry->time_unix_ms = now.unix_ms;
    fill_parents(log, own, entry);
    entry->seal = seal_of_parents(log, entry);
    if (entry->kind == ADMISSION_SEAL)
        fill_seal(log, entry);
    if (entry->kind == ADMISSION_CHECKPOINT && (error = fill_checkpoint(log, entry, why)) != PPN_OK)
        return error;
    error = admission_body_encode(entry, body);
    if (error != PPN_OK)
        return ppn_fail(why, error, "a field of the %s entry is out of range",
                        admission_kind_name(entry->kind));
    return PPN_OK;
}

static const struct admission_signer *signer_of(struct admission_authors authors,
                                                const struct admission_key *key)
{
    for (uint32_t i = 0; i < authors.count; i++) {
        if (admission_key_equal(&authors.signers[i].key, key))
            return &authors.signers[i];
    }
    PPN_UNREACHABLE();
}

static enum ppn_error sign(const struct admission_crypto *crypto, struct admission_authors authors,
                           const struct admission_entry *entry, struct ppn_slice body,
                           struct admission_made *made, struct ppn_failure *why)
{
    struct admission_envelope envelope = {.body = body,
                                          .signature_count = 1 + entry->cosigner_count};
    uint8_t buffer[ADMISSION_SIGN_TRANSCRIPT];
    made->id = admission_body_id(crypto, body);
    struct ppn_slice transcript = admission_sign_transcript(&made->id, buffer);
    for (uint32_t i = 0; i < envelope.signature_count; i++) {
        const struct admission_key *key = i == 0 ? &entry->author : &entry->cosigners[i - 1];
        const struct admission_signer *signer = signer_of(authors, key);
        if (!signer->sign(signer->ctx, transcript, &envelope.signatures[i]))
            return ppn_fail(why, PPN_ERROR_REFUSED, "the holder of the key did not sign");
    }
    struct ppn_writer writer = ppn_writer(made->bytes, sizeof made->bytes);
    enum ppn_error error = admission_envelope_encode(&envelope, &writer);
    PPN_ASSERT(error == PPN_OK);
    made->size = (uint32_t)writer.size;
    return PPN_OK;
}

static enum ppn_error split(struct admission_authors authors, struct admission_key *cosigners,
                            struct ppn_failure *why)
{
    PPN_ASSERT(authors.count > 0);
    if (authors.count > ADMISSION_SIGNATURES_MAX)
        return ppn_fail(why, PPN_ERROR_TOO_BIG, "at most %d keys sign one entry",
                        ADMISSION_SIGNATURES_MAX);
    for (uint32_t i = 1; i < authors.count; i++)
        cosigners[i - 1] = authors.signers[i].key;
    return PPN_OK;
}

enum ppn_error admission_make(const struct admission *log, struct admission_authors authors,
                              struct ppn_wall now, struct admission_entry *entry,
                              struct admission_made *made, struct ppn_failure *why)
{
    struct admission_key cosigners[ADMISSION_COSIGNERS_MAX];
    uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    enum ppn_error error = split(authors, cosigners, why);
    if (error == PPN_OK)
        error = admission_make_body(log, &authors.signers[0].key, cosigners, authors.count - 1, now,
                                    entry, &body, why);
    if (error != PPN_OK)
        return error;
    return sign(log->crypto, authors, entry, ppn_written(&body), made, why);
}

enum ppn_error admission_make_genesis(const struct admission_crypto *crypto,
                                      struct admission_authors roots, struct ppn_wall now,
                                      const struct admission_genesis *genesis,
                                      struct admission_made *made, struct ppn_failure *why)
{
    struct admission_key cosigners[ADMISSION_COSIGNERS_MAX];
    struct admission_entry entry = {.kind = ADMISSION_GENESIS, .seq = 1};
    uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    if (crypto == NULL)
        crypto = admission_crypto_sodium();
    enum ppn_error error = split(roots, cosigners, why);
    if (error == PPN_OK)
        error = set_signers(&entry, &roots.signers[0].key, cosigners, roots.count - 1, why);
    if (error != PPN_OK)
        return error;
    entry.time_unix_ms = now.unix_ms;
    entry.as.genesis = *genesis;
    if (genesis->policy.version == 0)
        entry.as.genesis.policy = (struct admission_policy){ADMISSION_VERSION, 1, 1, 1, 1, 2, 0};
    qsort(entry.as.genesis.roots,
          genesis->root_count <= ADMISSION_ROOTS_MAX ? genesis->root_count : 0,
          sizeof genesis->roots[0], compare_keys);
    qsort(entry.as.genesis.recovery,
          genesis->recovery_count <= ADMISSION_RECOVERY_MAX ? genesis->recovery_count : 0,
          sizeof genesis->recovery[0], compare_hashes);
    if (admission_body_encode(&entry, &body) != PPN_OK)
        return ppn_fail(why, PPN_ERROR_INVALID,
                        "a genesis needs a valid name, 1 to %d distinct root keys and quorums that "
                        "they can meet",
                        ADMISSION_ROOTS_MAX);
    return sign(crypto, roots, &entry, ppn_written(&body), made, why);
}
