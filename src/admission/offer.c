// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/kept.h"
#include "admission/state.h"
#include "base/assert.h"

/* What happens to an envelope at the door: shape, id, signatures, parents, judgement, fold. */

enum ppn_error admission_read_attempt(const struct admission *log, struct ppn_slice bytes,
                                      struct admission_attempt *attempt, struct ppn_failure *why)
{
    memset(attempt, 0, sizeof *attempt);
    attempt->bytes = bytes;
    attempt->envelope_size = bytes.size;
    enum ppn_error error = admission_envelope_decode(bytes, &attempt->envelope);
    if (error == PPN_OK)
        error = admission_body_decode(attempt->envelope.body, &attempt->entry);
    if (error == PPN_ERROR_VERSION)
        return ppn_fail(why, error,
                        "an entry of a kind or version that this program does not know");
    if (error != PPN_OK)
        return ppn_fail(why, error, "not a canonical entry: %s", ppn_error_text(error));
    if (attempt->envelope.signature_count != 1 + attempt->entry.cosigner_count)
        return ppn_fail(why, PPN_ERROR_INVALID, "it needs %u signatures and has %u",
                        1 + attempt->entry.cosigner_count, attempt->envelope.signature_count);
    attempt->id = admission_body_id(log->crypto, attempt->envelope.body);
    return PPN_OK;
}

static enum ppn_error check_network(const struct admission *log,
                                    const struct admission_attempt *attempt,
                                    struct ppn_failure *why)
{
    bool genesis = attempt->entry.kind == ADMISSION_GENESIS;
    const struct ppn_hash *network = genesis ? &attempt->id : &attempt->entry.network;
    if (!ppn_hash_is_zero(&log->network) && !ppn_hash_equal(network, &log->network))
        return ppn_fail(why, PPN_ERROR_CONFLICT, "it belongs to another network");
    return PPN_OK;
}

enum ppn_error admission_check_signatures(const struct admission *log,
                                          const struct admission_attempt *attempt,
                                          struct ppn_failure *why)
{
    uint8_t buffer[ADMISSION_SIGN_TRANSCRIPT];
    struct ppn_slice transcript = admission_sign_transcript(&attempt->id, buffer);
    for (uint32_t i = 0; i < attempt->envelope.signature_count; i++) {
        const struct admission_key *key =
            i == 0 ? &attempt->entry.author : &attempt->entry.cosigners[i - 1];
        if (!log->crypto->verify(log->crypto->ctx, key, transcript,
                                 &attempt->envelope.signatures[i]))
            return ppn_fail(why, PPN_ERROR_SIGNATURE, "a signature does not match");
    }
    return PPN_OK;
}

bool admission_find_parents(const struct admission *log, struct admission_attempt *attempt,
                            struct ppn_hash *missing)
{
    bool knows = log->checkpoint == 0, named = knows;
    attempt->parent_count = 0;
    for (uint32_t i = 0; i < attempt->entry.parent_count; i++) {
        uint32_t index;
        if (admission_item_find(log, &attempt->entry.parents[i], &index)) {
            const struct admission_mark *mark = &log->items[index].mark;
            attempt->parents[attempt->parent_count++] = index;
            knows = knows || (!mark->kept && !mark->late);
            named = named || index + 1 == log->checkpoint;
        } else if (!admission_closed_has(log, &attempt->entry.parents[i])) {
            *missing = attempt->entry.parents[i];
            return false;
        }
    }
    attempt->mark.late = !knows;
    if (!named)
        attempt->parents[attempt->parent_count++] = log->checkpoint - 1;
    return true;
}

static bool is_waiting(const struct admission *log, const struct ppn_hash *id)
{
    for (uint32_t i = 0; i < log->waiting_count; i++) {
        if (ppn_hash_equal(&log->waiting[i].id, id))
            return true;
    }
    return false;
}

static enum ppn_error wait_for(struct admission *log, const struct admission_attempt *attempt,
                               const struct ppn_hash *missing, uint32_t source,
                               struct ppn_failure *why)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < log->waiting_count; i++)
        held += log->waiting[i].source == source;
    if (log->waiting_count >= ADMISSION_PENDING_MAX ||
        (source != 0 && held >= ADMISSION_PENDING_PER_SOURCE))
        return ppn_fail(why, PPN_ERROR_BUSY, "too many entries wait for their parents");
    void *waiting = log->waiting;
    admission_grow(&waiting, &log->waiting_capacity, log->waiting_count + 1, sizeof *log->waiting);
    log->waiting = waiting;
    struct admission_waiting *new = &log->waiting[log->waiting_count++];
    *new = (struct admission_waiting){attempt->id, *missing, admission_take(attempt->bytes.size, 1),
                                      (uint16_t)attempt->bytes.size, source};
    memcpy(new->bytes, attempt->bytes.data, attempt->bytes.size);
    return PPN_OK;
}

static bool has_a_say(const struct admission *log, const struct admission_key *key)
{
    uint32_t person;
    if (!admission_person_find(log, key, &person))
        return false;
    uint32_t admin = log->persons[person].admin;
    return log->persons[person].member != 0 ||
           (admin != 0 && admin <= log->now.admins && log->now.powers[admin - 1] != 0);
}

/* Whether somebody else, who has a say today, builds on the entry: then it must not be refused, or
 * all that follows would wait for ever. */
static bool is_needed(const struct admission *log, const struct admission_attempt *attempt)
{
    struct admission_attempt waits;
    for (uint32_t i = 0; i < log->waiting_count; i++) {
        const struct admission_waiting *waiting = &log->waiting[i];
        enum ppn_error error =
            admission_read_attempt(log, ppn_slice(waiting->bytes, waiting->size), &waits, NULL);
        PPN_ASSERT(error == PPN_OK);
        bool builds = false;
        for (uint32_t k = 0; k < waits.entry.parent_count; k++)
            builds = builds || ppn_hash_equal(&waits.entry.parents[k], &attempt->id);
        if (builds && !admission_key_equal(&waits.entry.author, &attempt->entry.author) &&
            has_a_say(log, &waits.entry.author))
            return true;
    }
    return false;
}

static enum ppn_error check_room(const struct admission *log,
                                 const struct admission_attempt *attempt, struct ppn_failure *why)
{
    uint32_t author, other;
    if (log->count >= ADMISSION_ENTRIES_MAX)
        return ppn_fail(why, PPN_ERROR_FULL, "the log holds %d entries, the most it can",
                        ADMISSION_ENTRIES_MAX);
    if (admission_person_find(log, &attempt->entry.author, &author) &&
        admission_by_seq(log, author, attempt->entry.seq, &other) &&
        log->persons[author].forks >= ADMISSION_FORKS_MAX && !is_needed(log, attempt))
        return ppn_fail(why, PPN_ERROR_FULL,
                        "its author has contradicted itself %d times: no more is kept",
                        ADMISSION_FORKS_MAX);
    return PPN_OK;
}

/* A checkpoint over what this log holds: what it keeps follows from here, so it can be compared. */
static enum ppn_error close_log(struct admission *log, const struct admission_attempt *attempt,
                                struct admission_update *update, struct ppn_failure *why)
{
    struct admission_base base;
    enum ppn_error error = admission_judge_checkpoint(log, attempt, &base, why);
    if (error != PPN_OK)
        return error;
    error = admission_rebase(log, attempt->bytes, &base, true, update, why);
    admission_base_free(&base);
    return error;
}

/* All parents are there and all signatures were checked. */
static enum ppn_error enter(struct admission *log, struct admission_attempt *attempt,
                            struct admission_update *update, struct ppn_failure *why)
{
    enum ppn_error error = check_room(log, attempt, why);
    if (error == PPN_OK)
        error = admission_judge(log, attempt, why);
    bool closes = attempt->entry.kind == ADMISSION_CHECKPOINT && !attempt->mark.inert;
    if (error == PPN_OK && closes)
        error = close_log(log, attempt, update, why);
    if (error != PPN_OK || closes) {
        admission_past_free(&attempt->past);
        return error;
    }
    uint32_t index = admission_insert(log, attempt);
    struct admission_update_item *persist = admission_update_add(update, ADMISSION_PERSIST);
    persist->id = log->items[index].id;
    persist->bytes = ppn_slice(log->items[index].bytes, log->items[index].size);
    admission_fold_entry(log, index, update);
    uint32_t first;
    bool known = admission_by_seq(log, log->items[index].author, attempt->entry.seq, &first);
    PPN_ASSERT(known);
    if (first != index)
        admission_update_add(update, ADMISSION_EQUIVOCATION)->author = attempt->entry.author;
    return PPN_OK;
}

enum ppn_error admission_reenter(struct admission *log, struct ppn_slice envelope)
{
    struct admission_attempt attempt;
    struct ppn_hash missing;
    enum ppn_error error = admission_read_attempt(log, envelope, &attempt, NULL);
    PPN_ASSERT(error == PPN_OK);
    if (!admission_find_parents(log, &attempt, &missing))
        return PPN_ERROR_NOT_FOUND;
    error = admission_judge(log, &attempt, NULL);
    if (error == PPN_OK)
        (void)admission_insert(log, &attempt);
    admission_past_free(&attempt.past);
    return error;
}

/* The checkpoint that waits for its records may instead find its past here. */
static bool release_staged(struct admission *log, struct admission_update *update)
{
    struct admission_attempt attempt;
    struct ppn_hash missing;
    if (log->staging == NULL)
        return false;
    struct admission_made made = log->staging->checkpoint;
    enum ppn_error error = admission_read_attempt(log, admission_made_slice(&made), &attempt, NULL);
    PPN_ASSERT(error == PPN_OK);
    if (log->count == 0 || !admission_find_parents(log, &attempt, &missing) || attempt.mark.late)
        return false;
    admission_staging_free(log);
    return enter(log, &attempt, update, NULL) == PPN_OK;
}

/* Entries that waited, until none can move. One that is refused now is dropped: only its sender
 * could have known better. */
static void release(struct admission *log, struct admission_update *update)
{
    struct admission_attempt attempt;
    for (uint32_t i = 0; i < log->waiting_count || release_staged(log, update);) {
        if (i >= log->waiting_count) {
            i = 0;
            continue;
        }
        struct admission_waiting *waiting = &log->waiting[i];
        if (!admission_knows(log, &waiting->missing) && !admission_knows(log, &waiting->id)) {
            i++;
            continue;
        }
        struct admission_waiting taken = *waiting;
        enum ppn_error error =
            admission_read_attempt(log, ppn_slice(taken.bytes, taken.size), &attempt, NULL);
        PPN_ASSERT(error == PPN_OK);
        bool known = admission_knows(log, &taken.id);
        if (!known && !admission_find_parents(log, &attempt, &waiting->missing)) {
            i++;
            continue;
        }
        log->waiting[i] = log->waiting[--log->waiting_count];
        if (!known && check_network(log, &attempt, NULL) == PPN_OK)
            error = enter(log, &attempt, update, NULL);
        free(taken.bytes);
        i = 0;
    }
}

static void raise_alarms(struct admission *log, struct admission_update *update)
{
    const struct admission_authority *now = admission_authority_now(log);
    if (now->policy.version > ADMISSION_VERSION && !log->alarmed_frozen) {
        log->alarmed_frozen = true;
        admission_update_add(update, ADMISSION_FROZEN);
    }
    if (now->conflict != 0 && now->conflict != log->conflict_alarmed)
        admission_update_add(update, ADMISSION_SEAL_CONFLICT);
    log->conflict_alarmed = now->conflict;
}

static enum admission_verdict accepted(struct admission *log, struct admission_update *update)
{
    release(log, update);
    raise_alarms(log, update);
    admission_update_add(update, ADMISSION_HEADS_CHANGED);
    return ADMISSION_ACCEPTED;
}

/* A checkpoint whose past is not all here, or not under the one in force. */
static enum admission_verdict offer_foreign(struct admission *log,
                                            const struct admission_attempt *attempt,
                                            struct ppn_failure *why)
{
    if (admission_checkpoint_better(log, &attempt->id, attempt->entry.as.checkpoint.number))
        return admission_stage(log, attempt, why);
    (void)ppn_fail(why, PPN_ERROR_CONFLICT, "another checkpoint is in force");
    return ADMISSION_REFUSED;
}

enum admission_verdict admission_offer(struct admission *log, struct ppn_wall now, uint32_t source,
                                       struct ppn_slice envelope, struct admission_update *update,
                                       struct ppn_failure *why)
{
    struct admission_attempt attempt;
    struct ppn_hash missing;
    log->now_unix_ms = now.unix_ms;
    if (admission_is_record(envelope)) {
        enum admission_verdict verdict = admission_stage_record(log, envelope, update, why);
        return verdict == ADMISSION_ACCEPTED ? accepted(log, update) : verdict;
    }
    if (admission_read_attempt(log, envelope, &attempt, why) != PPN_OK)
        return ADMISSION_REFUSED;
    if (admission_knows(log, &attempt.id) || is_waiting(log, &attempt.id))
        return ADMISSION_KNOWN;
    if (check_network(log, &attempt, why) != PPN_OK ||
        admission_check_signatures(log, &attempt, why) != PPN_OK)
        return ADMISSION_REFUSED;
    bool closes = attempt.entry.kind == ADMISSION_CHECKPOINT;
    bool there = admission_find_parents(log, &attempt, &missing);
    bool better =
        closes && admission_checkpoint_better(log, &attempt.id, attempt.entry.as.checkpoint.number);
    if (closes && (!there || (attempt.mark.late && better)))
        return offer_foreign(log, &attempt, why);
    if (!there)
        return wait_for(log, &attempt, &missing, source, why) == PPN_OK ? ADMISSION_PENDING
                                                                        : ADMISSION_REFUSED;
    return enter(log, &attempt, update, why) == PPN_OK ? accepted(log, update) : ADMISSION_REFUSED;
}
