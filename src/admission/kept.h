// SPDX-License-Identifier: ISC
#pragma once

/* What a checkpoint keeps of its past, as records; private to the folder.
 *
 * Kept is an entry on which something later could depend:
 *   - genesis, all recoveries, all additions of admins, removals of admins that stand;
 *   - the policy that rules and those that wait; the last seal that counts; seals in conflict;
 *   - admissions and rekeys in force, and those that hold a claim to a key or an address for good;
 *   - an invite while it can be used, or while an admission that is kept names it; its closing;
 *   - one revocation and one denial of each identity;
 *   - the last entry of each author, and two that contradict each other.
 * An invite that expired more than INVITE_GRACE before the checkpoint's own time is not.
 *
 * Their order: what decides authority first, by the recoveries that it had seen; then all others
 * but admissions, by height and id; then admissions in the order in which they claim things. */

#include "admission/checkpoint.h"
#include "admission/state.h"

/* The records of a checkpoint in one piece of memory. */
struct admission_base {
    uint8_t *bytes;
    size_t size, capacity;
    uint32_t *ends; /* where each record ends */
    uint32_t count, end_capacity;
    struct ppn_hash digest;
};

/* Chooses from the whole of the log, whose fold is present, and writes the records without the id
 * of the checkpoint. time_unix_ms: the checkpoint's own. TOO_BIG, FULL: over the limits. */
enum ppn_error admission_base_make(const struct admission *log, int64_t time_unix_ms,
                                   struct admission_base *base, struct ppn_failure *why) PPN_CHECK;
void admission_base_free(struct admission_base *base);
struct ppn_slice admission_base_at(const struct admission_base *base, uint32_t index);

/* Appends a record and takes it into the digest. TOO_BIG: over ADMISSION_BASE_BYTES_MAX. */
enum ppn_error admission_base_add(struct admission_base *base,
                                  const struct admission_crypto *crypto,
                                  struct ppn_slice record) PPN_CHECK;

/* Names the checkpoint in every record: the digest does not cover it. */
void admission_base_name(struct admission_base *base, const struct ppn_hash *checkpoint);

/* One record: [checkpoint, index, flags, why, height, value, envelope], or of the ids of what was
 * dropped [checkpoint, index, ids]. */
enum { ADMISSION_IDS_PER_RECORD = 256, ADMISSION_SHORT_ID = 8 };

struct admission_base_record {
    struct ppn_hash checkpoint;
    uint32_t index;
    struct admission_mark mark;
    uint32_t height;
    struct ppn_slice envelope; /* borrowed; empty: a record of ids */
    struct ppn_slice ids;      /* borrowed; ADMISSION_SHORT_ID bytes each */
};

void admission_base_record_encode(const struct admission_base_record *record,
                                  struct ppn_writer *bytes);
enum ppn_error admission_base_record_decode(struct ppn_slice bytes,
                                            struct admission_base_record *record) PPN_CHECK;

/* The first bytes of an id as a number: enough to know again what was dropped. A collision makes an
 * unknown parent look like a dropped one; its child is judged by what is there all the same. */
static inline uint64_t admission_short_id(const struct ppn_hash *id)
{
    return ppn_read_u64(id->bytes);
}

/* Whether the id is of an entry that a checkpoint dropped. */
bool admission_closed_has(const struct admission *log, const struct ppn_hash *id);

/* ---- rebase.c ---- */

struct admission_staging {
    struct admission_made checkpoint;
    struct admission_checkpoint says;
    bool trusted;               /* signed by keys that may, as far as this log knows */
    struct admission_base base; /* as far as it came */
};

/* A checkpoint that cannot be judged here because its past is not. */
enum admission_verdict admission_stage(struct admission *log,
                                       const struct admission_attempt *attempt,
                                       struct ppn_failure *why);
void admission_staging_free(struct admission *log);

/* One record of the checkpoint that is staged. */
enum admission_verdict admission_stage_record(struct admission *log, struct ppn_slice bytes,
                                              struct admission_update *update,
                                              struct ppn_failure *why);

/* The log begins anew with this checkpoint, whose records are `base`; entries of the old one that
 * lie beyond it enter again. checked: the records were made from this log, so their signatures hold
 * and the checkpoint was judged. */
enum ppn_error admission_rebase(struct admission *log, struct ppn_slice checkpoint,
                                struct admission_base *base, bool checked,
                                struct admission_update *update, struct ppn_failure *why) PPN_CHECK;

/* ---- checkpoint.c ---- */

/* What a checkpoint with this past would keep. */
enum ppn_error admission_checkpoint_at(const struct admission *log,
                                       const struct admission_past *past, int64_t time_unix_ms,
                                       struct admission_base *base,
                                       struct ppn_failure *why) PPN_CHECK;

/* A checkpoint whose past is all here: number, height, records. Fills *base on PPN_OK. */
enum ppn_error admission_judge_checkpoint(struct admission *log,
                                          const struct admission_attempt *attempt,
                                          struct admission_base *base,
                                          struct ppn_failure *why) PPN_CHECK;

/* Whether this one takes the place of the checkpoint in force. */
bool admission_checkpoint_better(const struct admission *log, const struct ppn_hash *id,
                                 uint64_t number);
