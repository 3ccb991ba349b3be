// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/kept.h"
#include "admission/state.h"
#include "base/assert.h"

/* A log that begins with a checkpoint: made from its records, then given what lies beyond it. */

/* ---- from records ---- */

/* What a kept entry that does not count is there for: its place in its author's chain. An admin key
 * that was added in vain stays known, root keys that a recovery named in vain stay dropped, and
 * seals in conflict stay in conflict. */
static bool means_nothing(enum admission_kind kind, enum admission_void why)
{
    if (kind == ADMISSION_CHECKPOINT || why == ADMISSION_VOID_CLOSED)
        return true;
    if (why == ADMISSION_VOID_NOT || kind == ADMISSION_ADMIN_ADD || kind == ADMISSION_RECOVER)
        return false;
    if (kind == ADMISSION_ADMIT || kind == ADMISSION_REDEEM)
        return why != ADMISSION_VOID_REVOKED;
    return kind != ADMISSION_SEAL || why != ADMISSION_VOID_CONFLICT;
}

static uint32_t flags_of(enum admission_kind kind)
{
    uint32_t claims = ADMISSION_KEPT_WG | ADMISSION_KEPT_ROOT_TIER;
    if (kind == ADMISSION_ADMIT || kind == ADMISSION_REDEEM)
        return claims | ADMISSION_KEPT_ADDRESS | ADMISSION_KEPT_FORCE;
    if (kind == ADMISSION_REKEY)
        return claims | ADMISSION_KEPT_REKEY;
    if (kind == ADMISSION_ADMIN_ADD)
        return ADMISSION_KEPT_ROOT_TIER | ADMISSION_KEPT_LATE_ROOT;
    return ADMISSION_KEPT_ROOT_TIER | (kind == ADMISSION_POLICY ? ADMISSION_KEPT_RULES : 0);
}

static bool refers(const struct admission *fresh, const struct ppn_hash *id, bool invite)
{
    uint32_t index;
    if (!admission_item_find(fresh, id, &index) || fresh->items[index].mark.inert)
        return false;
    uint8_t kind = fresh->items[index].kind;
    return invite ? kind == ADMISSION_INVITE
                  : kind == ADMISSION_GENESIS || kind == ADMISSION_RECOVER;
}

/* What the fold asserts of entries that were judged, records must show. */
static bool consistent(const struct admission *fresh, const struct admission_attempt *attempt)
{
    const struct admission_entry *entry = &attempt->entry;
    const struct admission_mark *mark = &attempt->mark;
    uint32_t person;
    if ((mark->flags & ~flags_of(entry->kind)) != 0 ||
        (mark->inert && mark->flags != 0 && mark->flags != ADMISSION_KEPT_ROOT_TIER))
        return false;
    bool genesis = entry->kind == ADMISSION_GENESIS;
    if (genesis != (fresh->count == 0) || (genesis && mark->why != ADMISSION_VOID_NOT))
        return false;
    if (mark->inert)
        return true;
    switch (entry->kind) {
    case ADMISSION_REDEEM:
        return refers(fresh, &entry->as.redeem.invite, true);
    case ADMISSION_RECOVER:
        return refers(fresh, &entry->as.recover.base, false);
    case ADMISSION_ADMIN_REMOVE:
        return admission_person_find(fresh, &entry->as.admin_remove.key, &person) &&
               fresh->persons[person].admin != 0;
    case ADMISSION_INVITE:
        return mark->value <= entry->as.invite.uses;
    case ADMISSION_POLICY:
        return mark->value <= UINT16_MAX;
    case ADMISSION_GENESIS:
    case ADMISSION_ADMIT:
    case ADMISSION_DENY:
    case ADMISSION_REVOKE:
    case ADMISSION_ADMIN_ADD:
    case ADMISSION_REKEY:
    case ADMISSION_SEAL:
    case ADMISSION_CHECKPOINT:
        return true;
    }
    return false;
}

static enum ppn_error add_kept(struct admission *fresh, struct ppn_slice bytes,
                               const struct admission_base_record *record, bool checked)
{
    struct admission_attempt attempt;
    uint32_t index;
    enum ppn_error error = admission_read_attempt(fresh, record->envelope, &attempt, NULL);
    if (error != PPN_OK)
        return error;
    bool genesis = attempt.entry.kind == ADMISSION_GENESIS;
    const struct ppn_hash *network = genesis ? &attempt.id : &attempt.entry.network;
    attempt.mark = record->mark;
    attempt.mark.inert = means_nothing(attempt.entry.kind, (enum admission_void)record->mark.why);
    if ((!ppn_hash_is_zero(&fresh->network) && !ppn_hash_equal(network, &fresh->network)) ||
        !consistent(fresh, &attempt) || fresh->closed_count != 0 ||
        fresh->count == ADMISSION_ENTRIES_MAX || admission_item_find(fresh, &attempt.id, &index))
        return PPN_ERROR_INVALID;
    if (!checked && admission_check_signatures(fresh, &attempt, NULL) != PPN_OK)
        return PPN_ERROR_SIGNATURE;
    attempt.bytes = bytes;
    attempt.envelope_at = (size_t)(record->envelope.data - bytes.data);
    attempt.height = record->height;
    attempt.root_tier = (record->mark.flags & ADMISSION_KEPT_ROOT_TIER) != 0;
    admission_past_prefix(fresh->count, &attempt.past);
    (void)admission_insert(fresh, &attempt);
    return PPN_OK;
}

static enum ppn_error add_ids(struct admission *fresh, const struct admission_base_record *record,
                              uint32_t *capacity)
{
    uint32_t count = (uint32_t)record->ids.size / ADMISSION_SHORT_ID;
    void *ids = fresh->closed_ids;
    if (fresh->count == 0 || fresh->closed_count + count > ADMISSION_CLOSED_MAX)
        return PPN_ERROR_INVALID;
    admission_grow(&ids, capacity, fresh->closed_count + count, sizeof *fresh->closed_ids);
    fresh->closed_ids = ids;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = ppn_read_u64(record->ids.data + i * ADMISSION_SHORT_ID);
        if (fresh->closed_count > 0 && id < fresh->closed_ids[fresh->closed_count - 1])
            return PPN_ERROR_INVALID;
        fresh->closed_ids[fresh->closed_count++] = id;
    }
    return PPN_OK;
}

static enum ppn_error add_records(struct admission *fresh, const struct admission_base *base,
                                  bool checked, struct ppn_failure *why)
{
    struct admission_base_record record;
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < base->count; i++) {
        struct ppn_slice bytes = admission_base_at(base, i);
        enum ppn_error error = admission_base_record_decode(bytes, &record);
        if (error == PPN_OK && record.index != i)
            error = PPN_ERROR_INVALID;
        if (error == PPN_OK)
            error = record.envelope.size > 0 ? add_kept(fresh, bytes, &record, checked)
                                             : add_ids(fresh, &record, &capacity);
        if (error != PPN_OK)
            return ppn_fail(why, error, "record %u of the checkpoint is malformed", i);
    }
    return fresh->count > 0 ? PPN_OK
                            : ppn_fail(why, PPN_ERROR_INVALID, "a checkpoint that keeps nothing");
}

/* The checkpoint's own place: behind what it kept, signed by whom that gives the power. */
static enum ppn_error add_checkpoint(struct admission *fresh, struct ppn_slice envelope,
                                     bool checked, struct ppn_failure *why)
{
    struct admission_attempt attempt;
    enum ppn_error error = admission_read_attempt(fresh, envelope, &attempt, why);
    if (error != PPN_OK)
        return error;
    const struct admission_entry *entry = &attempt.entry;
    uint32_t author, prev;
    uint64_t last =
        admission_person_find(fresh, &entry->author, &author) ? fresh->persons[author].kept_seq : 0;
    bool follows =
        entry->seq == last + 1 &&
        (last == 0 || (admission_item_find(fresh, &entry->prev, &prev) &&
                       fresh->items[prev].author == author && fresh->items[prev].seq == last));
    if (!ppn_hash_equal(&entry->network, &fresh->network) || !follows)
        return ppn_fail(why, PPN_ERROR_INVALID, "the checkpoint does not follow what it keeps");
    attempt.height = entry->as.checkpoint.height;
    admission_past_prefix(fresh->count, &attempt.past);
    const struct admission_authority *a = admission_authority_now(fresh);
    if (!checked)
        error = admission_judge_recovery_keys(fresh, a, &attempt, why);
    if (error == PPN_OK && a->policy.version > ADMISSION_VERSION)
        error = ppn_fail(why, PPN_ERROR_VERSION,
                         "the network has moved to version %u of the log: update this program",
                         a->policy.version);
    if (error == PPN_OK) {
        (void)admission_insert(fresh, &attempt);
        fresh->checkpoint = fresh->count;
    }
    admission_past_free(&attempt.past);
    return error;
}

/* ---- what lies beyond ---- */

static void forget_persists(struct admission_update *update)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < update->count; i++) {
        if (update->items[i].kind != ADMISSION_PERSIST)
            update->items[kept++] = update->items[i];
    }
    update->count = kept;
}

/* Returns how many of the old entries have no place in the fresh log. */
static uint32_t carry_over(struct admission *fresh, struct admission *old)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < old->count; i++) {
        const struct admission_item *item = &old->items[i];
        struct ppn_slice envelope = ppn_slice(item->bytes + item->envelope_at, item->envelope_size);
        if (!admission_knows(fresh, &item->id))
            lost += admission_reenter(fresh, envelope) != PPN_OK;
    }
    fresh->waiting = old->waiting;
    fresh->waiting_count = old->waiting_count;
    fresh->waiting_capacity = old->waiting_capacity;
    old->waiting = NULL;
    old->waiting_count = old->waiting_capacity = 0;
    return lost;
}

enum ppn_error admission_rebase(struct admission *log, struct ppn_slice checkpoint,
                                struct admission_base *base, bool checked,
                                struct admission_update *update, struct ppn_failure *why)
{
    struct admission_config config = {log->crypto, log->network, log->table_key.low};
    struct admission *fresh = admission_new(&config);
    struct admission_attempt attempt;
    PPN_ASSERT(fresh != NULL);
#ifdef ADMISSION_MUTANTS
    fresh->mutant = log->mutant;
#endif
    enum ppn_error error = admission_read_attempt(log, checkpoint, &attempt, why);
    PPN_ASSERT(error == PPN_OK);
    admission_base_name(base, &attempt.id);
    error = add_records(fresh, base, checked, why);
    if (error == PPN_OK)
        error = add_checkpoint(fresh, checkpoint, checked, why);
    if (error != PPN_OK) {
        admission_free(fresh);
        return error;
    }
    uint32_t count, lost = carry_over(fresh, log);
    struct admission_member *old = admission_members_copy(log, &count);
    fresh->now_unix_ms = log->now_unix_ms;
    fresh->alarmed_frozen = log->alarmed_frozen;
    fresh->conflict_alarmed = log->conflict_alarmed;
    admission_refold(fresh);
    struct admission swap = *log;
    *log = *fresh;
    *fresh = swap;
    admission_free(fresh);
    forget_persists(update);
    admission_update_add(update, ADMISSION_CLOSED)->lost = lost;
    admission_members_report(log, old, count, update);
    free(old);
    return PPN_OK;
}

/* ---- staging ---- */

void admission_staging_free(struct admission *log)
{
    if (log->staging == NULL)
        return;
    admission_base_free(&log->staging->base);
    free(log->staging);
    log->staging = NULL;
}

/* Where there are no recovery keys, a root key that retired could be stolen and name records in
 * which it never did; who saw it go does not believe them. */
static bool signed_by_removed(struct admission *log, const struct admission_entry *entry)
{
    const struct admission_authority *now = admission_authority_now(log);
    for (uint32_t i = 0; i <= entry->cosigner_count; i++) {
        const struct admission_key *key = i == 0 ? &entry->author : &entry->cosigners[i - 1];
        uint32_t person;
        if (admission_person_find(log, key, &person) && admission_removed(log, now, person))
            return true;
    }
    return false;
}

enum admission_verdict admission_stage(struct admission *log,
                                       const struct admission_attempt *attempt,
                                       struct ppn_failure *why)
{
    struct admission_attempt signers = {.entry = attempt->entry};
    bool trusted =
        log->count > 0 &&
        admission_judge_recovery_keys(log, admission_authority_now(log), &signers, why) == PPN_OK;
    struct admission_staging *staging = log->staging;
    uint64_t number = attempt->entry.as.checkpoint.number;
    if (log->count > 0 && signed_by_removed(log, &attempt->entry)) {
        (void)ppn_fail(why, PPN_ERROR_CONFLICT, "a key that signed it was removed");
        return ADMISSION_REFUSED;
    }
    if (staging != NULL && ppn_hash_equal(&staging->checkpoint.id, &attempt->id))
        return ADMISSION_STAGED;
    bool better = staging == NULL || number > staging->says.number ||
                  (number == staging->says.number &&
                   ppn_hash_compare(&attempt->id, &staging->checkpoint.id) < 0);
    if (staging != NULL && staging->trusted && !(trusted && better)) {
        (void)ppn_fail(why, PPN_ERROR_BUSY, "another checkpoint is arriving");
        return ADMISSION_REFUSED;
    }
    admission_staging_free(log);
    log->staging = staging = admission_take(1, sizeof *staging);
    staging->trusted = trusted;
    staging->says = attempt->entry.as.checkpoint;
    staging->checkpoint.id = attempt->id;
    staging->checkpoint.size = (uint32_t)attempt->bytes.size;
    memcpy(staging->checkpoint.bytes, attempt->bytes.data, attempt->bytes.size);
    return ADMISSION_STAGED;
}

/* Every failure is a CONFLICT: who brought the last record need not be who brought a wrong one. */
static enum ppn_error adopt(struct admission *log, struct admission_staging *staging,
                            struct admission_update *update, struct ppn_failure *why)
{
    if (!ppn_hash_equal(&staging->base.digest, &staging->says.digest))
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "the records are not those that the checkpoint signed");
    if (admission_rebase(log, admission_made_slice(&staging->checkpoint), &staging->base, false,
                         update, why) == PPN_OK)
        return PPN_OK;
    if (why != NULL && why->code != PPN_ERROR_VERSION)
        why->code = PPN_ERROR_CONFLICT;
    return PPN_ERROR_CONFLICT;
}

enum admission_verdict admission_stage_record(struct admission *log, struct ppn_slice bytes,
                                              struct admission_update *update,
                                              struct ppn_failure *why)
{
    struct admission_base_record record;
    struct admission_staging *staging = log->staging;
    enum ppn_error error = admission_base_record_decode(bytes, &record);
    if (error != PPN_OK) {
        (void)ppn_fail(why, error, "not a record of a checkpoint: %s", ppn_error_text(error));
        return ADMISSION_REFUSED;
    }
    struct ppn_hash now = admission_checkpoint_now(log).id;
    if (ppn_hash_equal(&record.checkpoint, &now))
        return ADMISSION_KNOWN;
    if (staging == NULL || !ppn_hash_equal(&record.checkpoint, &staging->checkpoint.id) ||
        record.index > staging->base.count) {
        (void)ppn_fail(why, PPN_ERROR_BUSY, "a record of a checkpoint that is not awaited");
        return ADMISSION_REFUSED;
    }
    if (record.index < staging->base.count)
        return ADMISSION_KNOWN;
    error = admission_base_add(&staging->base, log->crypto, bytes);
    if (error == PPN_OK && staging->base.count < staging->says.records)
        return ADMISSION_STAGED;
    log->staging = NULL;
    if (error == PPN_OK)
        error = adopt(log, staging, update, why);
    else
        (void)ppn_fail(why, error, "the records of the checkpoint are over %d MiB",
                       ADMISSION_BASE_BYTES_MAX >> 20);
    admission_base_free(&staging->base);
    free(staging);
    return error == PPN_OK ? ADMISSION_ACCEPTED : ADMISSION_REFUSED;
}
