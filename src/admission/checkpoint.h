// SPDX-License-Identifier: ISC
#pragma once

/* Checkpoints: how a log that only grows is made short again.
 *
 * A checkpoint is an entry that closes its own past. Of what lies in that past only those entries
 * stay that something later could depend on (kept.h): who is a member and by what, who may admit,
 * which identities, WireGuard keys and addresses are taken for good, open invites, the end of each
 * author's chain. Kept entries stay as they were signed, so an audit still names who admitted whom.
 * What the checkpoint decided of them is final: what counted counts for good unless a later entry
 * removes it by name, what was void stays void.
 *
 * It is signed by those whom nobody outranks: a quorum of the recovery keys, or of the root keys
 * where a network was founded without any. A node that has the whole past makes the same records
 * from it and refuses a checkpoint that names others. A node that has not (a joiner, one that was
 * off) takes the records from a peer; they must match what the checkpoint signed.
 *
 * Every entry beyond the checkpoint is held to know all that the checkpoint knew, whether its
 * author did or not. So what was decided meanwhile on the other side of a partition is not lost: it
 * is judged as if made right after. Such a LATE entry that is not allowed there stays in the log
 * without effect, because others may build on it; a late seal never counts.
 *
 *   this log                 what comes                                  then
 *   has the whole past       the checkpoint                              makes the records,
 * compares, closes itself lacks some of it         the checkpoint STAGED: asks for records staged
 * the next record                             STAGED staged                   the last record; the
 * digest fits            closes; own entries beyond the checkpoint enter again staged the last
 * record; the digest does not fit    REFUSED, starts again staged                   the missing
 * ancestors                       as above, without records closed by this one       a record or
 * the checkpoint again            KNOWN closed by another        one of a higher number, or of the
 * same      STAGED, takes its place number and a lower id closed by another        any other inert
 */

#include "admission/admission.h"
#include "admission/author.h"

enum {
    ADMISSION_CLOSED_MAX = 1 << 20, /* entries that all checkpoints together may have dropped */
    ADMISSION_BASE_BYTES_MAX = 12 * 1024 * 1024, /* of the records of one checkpoint */
    ADMISSION_RECORD_MAX = ADMISSION_ENVELOPE_MAX + 96
};

struct admission_checkpoint_state {
    struct ppn_hash id; /* of the checkpoint's entry; zero: this log was never closed */
    uint64_t number;
    int64_t time_unix_ms;
    uint32_t kept;    /* entries from before it */
    uint32_t dropped; /* by it and all before it */
};
struct admission_checkpoint_state admission_checkpoint_now(const struct admission *log);

/* What it would keep and drop if it were made now. */
void admission_checkpoint_preview(const struct admission *log, uint32_t *kept, uint32_t *dropped);

/* Closes all that the log holds now. authors: recovery keys, or root keys where the network has no
 * recovery keys, enough of them. Nothing to drop: CONFLICT. */
enum ppn_error admission_make_checkpoint(const struct admission *log,
                                         struct admission_authors authors, struct ppn_wall now,
                                         struct admission_made *made,
                                         struct ppn_failure *why) PPN_CHECK;

/* Whether an entry is in the log, or was before a checkpoint dropped it. */
bool admission_knows(const struct admission *log, const struct ppn_hash *id);

/* All that another log, or this one after a restart, must be offered to become equal, in order:
 * envelopes, and records of the checkpoint behind it. The slices live as long as the log does not
 * change; the ids among the records are written into `buffer`. */
uint32_t admission_transfer_count(const struct admission *log);
struct ppn_slice admission_transfer_at(const struct admission *log, uint32_t index,
                                       uint8_t buffer[static ADMISSION_RECORD_MAX]);

/* Where an entry (admission_record_at) is among them. */
uint32_t admission_transfer_of(const struct admission *log, uint32_t record);

/* The checkpoint whose records are arriving and how many have come; false: none. */
bool admission_staged(const struct admission *log, struct ppn_hash *id, uint32_t *count);

/* Whether a transferred item, not necessarily well-formed, is a record and no envelope. */
bool admission_is_record(struct ppn_slice bytes);
