// SPDX-License-Identifier: ISC
#include "admission/request.h"
#include "admission/state.h"

#include "base/assert.h"

/* Acceptance. Every answer here depends on the entry and its ancestors alone, so that all replicas
 * accept the same entries whatever the order in which they came. */

enum { ADMINS_MAX = 256 };

static bool in_past(const struct admission_attempt *attempt, uint32_t index)
{
    return admission_past_has(&attempt->past, index);
}

uint64_t admission_seal_after(const struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    if (item->kind != ADMISSION_SEAL)
        return item->seal;
    return item->mark.inert ? item->mark.value : log->control[item->control].number;
}

bool admission_author_known(const struct admission *log, const struct admission_entry *entry)
{
    uint32_t person;
    if (!admission_person_find(log, &entry->author, &person))
        return false;
    bool node = entry->kind == ADMISSION_REDEEM || entry->kind == ADMISSION_REKEY;
    return node ? log->persons[person].first_about != 0 : log->persons[person].admin != 0;
}

/* Heights and seals follow from the parents. Of a late entry some are no longer there: its seal
 * lies between those that are and what the checkpoint had seen. */
static enum ppn_error judge_place(const struct admission *log, struct admission_attempt *attempt,
                                  struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    uint64_t seal = 0, most = 0;
    for (uint32_t i = 0; i < attempt->parent_count; i++) {
        const struct admission_item *parent = &log->items[attempt->parents[i]];
        uint64_t number = admission_seal_after(log, attempt->parents[i]);
        bool implied = attempt->mark.late && attempt->parents[i] + 1 == log->checkpoint;
        most = number > most ? number : most;
        seal = !implied && number > seal ? number : seal;
        attempt->height =
            parent->height + 1 > attempt->height ? parent->height + 1 : attempt->height;
    }
    bool fits =
        attempt->mark.late ? entry->seal >= seal && entry->seal <= most : entry->seal == seal;
    if (!fits || (entry->kind == ADMISSION_SEAL && entry->as.seal_of.number != entry->seal + 1))
        return ppn_fail(why, PPN_ERROR_INVALID, "its seal number does not fit its ancestors");
    return PPN_OK;
}

static enum ppn_error judge_chain(const struct admission *log, struct admission_attempt *attempt,
                                  struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    uint32_t author;
    if (admission_person_find(log, &entry->author, &author) &&
        entry->seq <= log->persons[author].kept_seq)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "a checkpoint closed its author's chain behind this number: what it says "
                        "must be said anew");
    bool member = entry->kind == ADMISSION_REDEEM || entry->kind == ADMISSION_REKEY;
    uint64_t cap = member ? ADMISSION_MEMBER_SEQ_MAX : ADMISSION_ADMIN_SEQ_MAX;
    if (entry->seq > cap)
        return ppn_fail(why, PPN_ERROR_FULL, "its author has made %llu entries, the most allowed",
                        (unsigned long long)cap);
    if (entry->seq > 1 && ADMISSION_RULE(log, GAPLESS)) {
        uint32_t prev;
        if (!admission_item_find(log, &entry->prev, &prev) ||
            (!in_past(attempt, prev) && ADMISSION_RULE(log, PREV_ANCESTOR)))
            return ppn_fail(why, PPN_ERROR_INVALID,
                            "its author's previous entry is not among its ancestors");
        const struct admission_item *item = &log->items[prev];
        if (item->seq + 1 != entry->seq ||
            !admission_key_equal(&log->persons[item->author].key, &entry->author))
            return ppn_fail(why, PPN_ERROR_INVALID, "it does not follow its author's chain");
    }
    return judge_place(log, attempt, why);
}

static uint32_t power_of(const struct admission *log, const struct admission_authority *a,
                         const struct admission_key *key)
{
    uint32_t person;
    if (!admission_person_find(log, key, &person) || log->persons[person].admin == 0 ||
        log->persons[person].admin > a->admins)
        return 0;
    return a->powers[log->persons[person].admin - 1];
}

/* Every signer has the power: one without it makes the entry wrong, not merely weaker. */
static bool all_have(const struct admission *log, const struct admission_authority *a,
                     const struct admission_entry *entry, uint32_t power)
{
    bool all = (power_of(log, a, &entry->author) & power) == power;
    for (uint32_t i = 0; i < entry->cosigner_count; i++)
        all = all && (power_of(log, a, &entry->cosigners[i]) & power) == power;
    return all;
}

static enum ppn_error judge_signers(const struct admission *log,
                                    const struct admission_authority *a,
                                    struct admission_attempt *attempt, struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    uint32_t power = admission_power_needed(entry->kind);
    uint32_t quorum = admission_quorum(&a->policy, entry->kind);
    uint32_t signers = 1 + entry->cosigner_count;
    attempt->root_tier = all_have(log, a, entry, ADMISSION_POWER_ROOT) && signers >= a->policy.root;
    if (entry->kind == ADMISSION_ADMIN_ADD &&
        (entry->as.admin_add.powers & ADMISSION_POWER_ROOT) != 0) {
        power = ADMISSION_POWER_ROOT;
        quorum = a->policy.root;
    }
    bool retires = entry->kind == ADMISSION_ADMIN_REMOVE &&
                   admission_key_equal(&entry->author, &entry->as.admin_remove.key);
    if (retires) {
        power = 0;
        quorum = 1;
    }
    attempt->quorum = quorum;
    if (power_of(log, a, &entry->author) == 0)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "its author is no admin, or no longer one, where it was made");
    if (!all_have(log, a, entry, power) && ADMISSION_RULE(log, CLASS))
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "a key that signed it has not the power to %s",
                        admission_kind_name(entry->kind));
    if (signers < quorum && ADMISSION_RULE(log, QUORUM))
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "%u keys must sign a %s entry, %u did", quorum,
                        admission_kind_name(entry->kind), signers);
    return PPN_OK;
}

/* An entry of `kind` about the key among the ancestors. */
static bool told(const struct admission *log, const struct admission_attempt *attempt,
                 const struct admission_authority *a, const struct admission_key *key,
                 enum admission_kind kind)
{
    uint32_t person;
    if (!admission_person_find(log, key, &person))
        return false;
    for (uint32_t at = log->persons[person].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        uint32_t admin = log->persons[item->author].admin;
        bool cut = admin != 0 && admin <= a->admins && item->seq > a->cut_all[admin - 1];
        if (item->kind == kind && in_past(attempt, at - 1) && !cut)
            return true;
    }
    return false;
}

static bool was_admin(const struct admission *log, const struct admission_attempt *attempt,
                      const struct admission_key *key)
{
    uint32_t person;
    if (!admission_person_find(log, key, &person))
        return false;
    for (uint32_t i = 0; i < log->control_count; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        bool names = item->kind == ADMISSION_ADMIN_ADD && item->subject == person;
        for (uint32_t k = 0; k < control->root_count; k++)
            names = names || control->roots[k] == person;
        if (names && in_past(attempt, control->index))
            return true;
    }
    return false;
}

static enum ppn_error judge_admin_add(const struct admission *log,
                                      const struct admission_authority *a,
                                      const struct admission_attempt *attempt,
                                      struct ppn_failure *why)
{
    const struct admission_key *key = &attempt->entry.as.admin_add.key;
    uint32_t person, granted = 0;
    if (admission_person_find(log, key, &person) && admission_removed(log, a, person) &&
        ADMISSION_RULE(log, REMOVED_FOR_GOOD))
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "the key was removed before and never comes back; make a new key");
    for (uint32_t i = 0; i < log->control_count; i++)
        granted += in_past(attempt, log->control[i].index) &&
                   log->items[log->control[i].index].kind == ADMISSION_ADMIN_ADD;
    if (granted >= ADMINS_MAX)
        return ppn_fail(why, PPN_ERROR_FULL, "%d admin keys were added, the most allowed",
                        ADMINS_MAX);
    return PPN_OK;
}

static enum ppn_error judge_admin_remove(const struct admission *log,
                                         const struct admission_authority *a,
                                         const struct admission_attempt *attempt,
                                         struct ppn_failure *why)
{
    const struct admission_admin_remove *remove = &attempt->entry.as.admin_remove;
    if (!was_admin(log, attempt, &remove->key))
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "it removes a key that never was an admin");
    bool root = (power_of(log, a, &remove->key) & ADMISSION_POWER_ROOT) != 0;
    if (!root || !ADMISSION_RULE(log, ROOT_IMMUNE))
        return PPN_OK;
    if (!admission_key_equal(&attempt->entry.author, &remove->key) || remove->has_cut)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "a root key is removed by itself or by a recovery only");
    uint32_t others = 0;
    for (uint32_t i = 0; i < a->admins; i++)
        others += (a->powers[i] & ADMISSION_POWER_ROOT) != 0;
    if (others - 1 < a->policy.root)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "without this root key the root quorum of %u could not be met: add another "
                        "root key first",
                        a->policy.root);
    return PPN_OK;
}

/* Its author was admitted and not revoked, as far as it knew. */
static enum ppn_error judge_member(const struct admission *log, const struct admission_authority *a,
                                   const struct admission_attempt *attempt, struct ppn_failure *why)
{
    const struct admission_key *author = &attempt->entry.author;
    bool admitted = told(log, attempt, a, author, ADMISSION_ADMIT) ||
                    told(log, attempt, a, author, ADMISSION_REDEEM);
    if (attempt->entry.cosigner_count != 0)
        return ppn_fail(why, PPN_ERROR_INVALID, "a node signs alone");
    if ((!admitted && ADMISSION_RULE(log, WITNESS)) ||
        told(log, attempt, a, author, ADMISSION_REVOKE))
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "its author is no member where it was made");
    return PPN_OK;
}

static enum ppn_error judge_redeem(const struct admission *log, const struct admission_authority *a,
                                   const struct admission_attempt *attempt, struct ppn_failure *why)
{
    const struct admission_redeem *redeem = &attempt->entry.as.redeem;
    enum ppn_error error = judge_member(log, a, attempt, why);
    if (error != PPN_OK)
        return error;
    uint32_t index;
    if (!admission_item_find(log, &redeem->invite, &index) || !in_past(attempt, index) ||
        log->items[index].kind != ADMISSION_INVITE || log->items[index].mark.inert)
        return ppn_fail(why, PPN_ERROR_NOT_FOUND, "it redeems no invite that it knew");
    struct admission_entry invite;
    admission_decode(log, index, &invite);
    uint8_t buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    struct ppn_slice transcript = admission_invite_transcript(
        &log->network, &invite.as.invite.key, &redeem->node, redeem->wg_key, redeem->name, buffer);
    if (!log->crypto->verify(log->crypto->ctx, &invite.as.invite.key, transcript,
                             &redeem->signature))
        return ppn_fail(why, PPN_ERROR_SIGNATURE, "the invite's signature does not match");
    int64_t expires = invite.as.invite.expires_unix_ms;
    if (expires != 0 && attempt->entry.time_unix_ms > expires && ADMISSION_RULE(log, EXPIRY))
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "the invite had expired");
    return PPN_OK;
}

static bool recovery_key(const struct admission *log, const struct admission_key *key,
                         const struct ppn_hash *hashes, uint32_t count)
{
    struct ppn_hash hash = admission_recovery_hash(log->crypto, key);
    for (uint32_t i = 0; i < count; i++) {
        if (ppn_hash_equal(&hashes[i], &hash))
            return true;
    }
    return false;
}

/* The recovery keys that the roots in force named, or none. */
static uint32_t recovery_keys(const struct admission *log, const struct admission_authority *a,
                              struct admission_entry *generation, const struct ppn_hash **hashes,
                              uint32_t *needed)
{
    admission_decode(log, a->generation, generation);
    bool genesis = generation->kind == ADMISSION_GENESIS;
    *hashes = genesis ? generation->as.genesis.recovery : generation->as.recover.recovery;
    *needed =
        genesis ? generation->as.genesis.recovery_needed : generation->as.recover.recovery_needed;
    return genesis ? generation->as.genesis.recovery_count : generation->as.recover.recovery_count;
}

enum ppn_error admission_judge_recovery_keys(const struct admission *log,
                                             const struct admission_authority *a,
                                             struct admission_attempt *attempt,
                                             struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    struct admission_entry generation;
    const struct ppn_hash *hashes;
    uint32_t needed, count = recovery_keys(log, a, &generation, &hashes, &needed);
    if (needed == 0 && entry->kind == ADMISSION_CHECKPOINT) {
        attempt->quorum = a->policy.root;
        if (!all_have(log, a, entry, ADMISSION_POWER_ROOT) ||
            1 + entry->cosigner_count < a->policy.root)
            return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                            "this network has no recovery keys: %u root key%s must sign",
                            a->policy.root, a->policy.root == 1 ? "" : "s");
        return PPN_OK;
    }
    bool all = recovery_key(log, &entry->author, hashes, count);
    for (uint32_t i = 0; i < entry->cosigner_count; i++)
        all = all && recovery_key(log, &entry->cosigners[i], hashes, count);
    attempt->quorum = needed;
    if (!all || needed == 0)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "a key that signed it is no recovery key");
    if (1 + entry->cosigner_count < needed)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED, "%u recovery keys must sign, %u did", needed,
                        1 + entry->cosigner_count);
    return PPN_OK;
}

static enum ppn_error judge_recover(const struct admission *log,
                                    const struct admission_authority *a,
                                    struct admission_attempt *attempt, struct ppn_failure *why)
{
    uint32_t base;
    if (!admission_item_find(log, &attempt->entry.as.recover.base, &base) || base != a->generation)
        return ppn_fail(why, PPN_ERROR_CONFLICT, "it replaces roots that did not rule");
    return admission_judge_recovery_keys(log, a, attempt, why);
}

static enum ppn_error judge_genesis(struct admission_attempt *attempt, struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    const struct admission_genesis *genesis = &entry->as.genesis;
    uint32_t signers = 0;
    for (uint32_t i = 0; i < genesis->root_count; i++) {
        signers += admission_key_equal(&genesis->roots[i], &entry->author);
        for (uint32_t k = 0; k < entry->cosigner_count; k++)
            signers += admission_key_equal(&genesis->roots[i], &entry->cosigners[k]);
    }
    attempt->quorum = genesis->policy.root;
    attempt->root_tier = true;
    if (signers != 1 + entry->cosigner_count || signers < genesis->policy.root)
        return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                        "a genesis is signed by a quorum of its root keys and nobody else");
    return PPN_OK;
}

static enum ppn_error judge_seal(const struct admission *log,
                                 const struct admission_attempt *attempt, struct ppn_failure *why)
{
    struct ppn_hash members = admission_seal_members(log, &attempt->past);
    if (!ppn_hash_equal(&members, &attempt->entry.as.seal_of.members) &&
        ADMISSION_RULE(log, SEAL_MEMBERS))
        return ppn_fail(why, PPN_ERROR_INVALID,
                        "the seal names other members than the log had at its place: its maker's "
                        "program follows other rules, or lies");
    return PPN_OK;
}

static enum ppn_error judge_kind(const struct admission *log, const struct admission_authority *a,
                                 struct admission_attempt *attempt, struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    switch (entry->kind) {
    case ADMISSION_ADMIN_ADD:
        return judge_admin_add(log, a, attempt, why);
    case ADMISSION_ADMIN_REMOVE:
        return judge_admin_remove(log, a, attempt, why);
    case ADMISSION_ADMIT: {
        struct admission_key node = admission_node_key(&entry->as.admit.node);
        if (told(log, attempt, a, &node, ADMISSION_REVOKE) && ADMISSION_RULE(log, REMOVED_FOR_GOOD))
            return ppn_fail(why, PPN_ERROR_UNAUTHORIZED,
                            "the node was revoked and never comes back under this key");
        return PPN_OK;
    }
    case ADMISSION_POLICY:
        if (entry->as.policy.version < a->policy.version)
            return ppn_fail(why, PPN_ERROR_CONFLICT, "the version never goes back");
        attempt->delay = a->policy.delay;
        return PPN_OK;
    case ADMISSION_SEAL:
        return attempt->mark.late ? PPN_OK : judge_seal(log, attempt, why);
    case ADMISSION_GENESIS:
    case ADMISSION_DENY:
    case ADMISSION_REVOKE:
    case ADMISSION_INVITE:
    case ADMISSION_REDEEM:
    case ADMISSION_REKEY:
    case ADMISSION_RECOVER:
    case ADMISSION_CHECKPOINT:
        return PPN_OK;
    }
    PPN_UNREACHABLE();
}

static enum ppn_error judge_signed(struct admission *log, struct admission_attempt *attempt,
                                   struct ppn_failure *why)
{
    const struct admission_entry *entry = &attempt->entry;
    const struct admission_authority *a = admission_authority_at(log, &attempt->past);
    if (a->policy.version > ADMISSION_VERSION)
        return ppn_fail(why, PPN_ERROR_VERSION,
                        "the network has moved to version %u of the log: update this program",
                        a->policy.version);
    if (entry->kind == ADMISSION_REDEEM)
        return judge_redeem(log, a, attempt, why);
    if (entry->kind == ADMISSION_REKEY)
        return judge_member(log, a, attempt, why);
    if (entry->kind == ADMISSION_RECOVER)
        return judge_recover(log, a, attempt, why);
    if (entry->kind == ADMISSION_CHECKPOINT)
        return admission_judge_recovery_keys(log, a, attempt, why);
    enum ppn_error error = judge_signers(log, a, attempt, why);
    return error != PPN_OK ? error : judge_kind(log, a, attempt, why);
}

/* What came late is judged at the checkpoint, where its author never was: others may have built on
 * it in good faith, so it keeps its place, without effect. */
static bool stays_inert(const struct admission *log, const struct admission_attempt *attempt,
                        enum ppn_error error)
{
    bool place = error == PPN_OK || error == PPN_ERROR_UNAUTHORIZED ||
                 error == PPN_ERROR_CONFLICT || error == PPN_ERROR_NOT_FOUND;
    bool closing = attempt->entry.kind == ADMISSION_CHECKPOINT;
    if (!attempt->mark.late || !place)
        return false;
    if (error == PPN_OK)
        return closing || attempt->entry.kind == ADMISSION_SEAL;
    return !closing && admission_author_known(log, &attempt->entry);
}

enum ppn_error admission_judge(struct admission *log, struct admission_attempt *attempt,
                               struct ppn_failure *why)
{
    attempt->height = 0;
    attempt->quorum = 1;
    attempt->delay = 0;
    attempt->root_tier = false;
    if (attempt->entry.kind == ADMISSION_GENESIS)
        return judge_genesis(attempt, why);
    PPN_ASSERT(log->count > 0);
    admission_past_of(log, attempt->parents, attempt->parent_count, &attempt->past);
    enum ppn_error error = judge_chain(log, attempt, why);
    if (error != PPN_OK)
        return error;
    struct ppn_failure cause = {0};
    error = judge_signed(log, attempt, &cause);
    if (stays_inert(log, attempt, error)) {
        attempt->mark.inert = true;
        return PPN_OK;
    }
    if (error != PPN_OK && why != NULL)
        *why = cause;
    return error;
}
