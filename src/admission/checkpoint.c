// SPDX-License-Identifier: ISC
#include "admission/checkpoint.h"

#include <string.h>

#include "admission/kept.h"
#include "admission/state.h"
#include "base/assert.h"

bool admission_closed_has(const struct admission *log, const struct ppn_hash *id)
{
    uint64_t wanted = admission_short_id(id);
    uint32_t low = 0, high = log->closed_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->closed_ids[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->closed_count && log->closed_ids[low] == wanted;
}

bool admission_knows(const struct admission *log, const struct ppn_hash *id)
{
    uint32_t index;
    return admission_item_find(log, id, &index) || admission_closed_has(log, id);
}

struct admission_checkpoint_state admission_checkpoint_now(const struct admission *log)
{
    struct admission_checkpoint_state state = {.dropped = log->closed_count};
    struct admission_entry entry;
    if (log->checkpoint == 0)
        return state;
    admission_decode(log, log->checkpoint - 1, &entry);
    state.id = log->items[log->checkpoint - 1].id;
    state.number = entry.as.checkpoint.number;
    state.time_unix_ms = entry.time_unix_ms;
    state.kept = log->checkpoint - 1;
    return state;
}

bool admission_checkpoint_better(const struct admission *log, const struct ppn_hash *id,
                                 uint64_t number)
{
    struct admission_checkpoint_state now = admission_checkpoint_now(log);
    return number > now.number || (number == now.number && ppn_hash_compare(id, &now.id) < 0);
}

enum ppn_error admission_checkpoint_at(const struct admission *log,
                                       const struct admission_past *past, int64_t time_unix_ms,
                                       struct admission_base *base, struct ppn_failure *why)
{
    struct admission *own = admission_replay(log, past);
    enum ppn_error error = admission_base_make(own, time_unix_ms, base, why);
    admission_free(own);
    return error;
}

void admission_checkpoint_preview(const struct admission *log, uint32_t *kept, uint32_t *dropped)
{
    struct admission_past past;
    struct admission_base base;
    *kept = log->count;
    *dropped = 0;
    admission_past_prefix(log->count, &past);
    if (admission_checkpoint_at(log, &past, log->now_unix_ms, &base, NULL) == PPN_OK) {
        struct admission_base_record record;
        *kept = 0;
        for (uint32_t i = 0; i < base.count; i++) {
            enum ppn_error error =
                admission_base_record_decode(admission_base_at(&base, i), &record);
            PPN_ASSERT(error == PPN_OK);
            *kept += record.envelope.size > 0;
        }
        *dropped = log->count - *kept;
        admission_base_free(&base);
    }
    admission_past_free(&past);
}

enum ppn_error admission_judge_checkpoint(struct admission *log,
                                          const struct admission_attempt *attempt,
                                          struct admission_base *base, struct ppn_failure *why)
{
    const struct admission_checkpoint *says = &attempt->entry.as.checkpoint;
    if (says->number != admission_checkpoint_now(log).number + 1)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "its number does not follow the last checkpoint's");
    if (says->height != attempt->height)
        return ppn_fail(why, PPN_ERROR_INVALID, "its height does not fit its ancestors");
    enum ppn_error error =
        admission_checkpoint_at(log, &attempt->past, attempt->entry.time_unix_ms, base, why);
    if (error != PPN_OK)
        return error;
    if (base->count == says->records && ppn_hash_equal(&base->digest, &says->digest))
        return PPN_OK;
    admission_base_free(base);
    return ppn_fail(why, PPN_ERROR_INVALID,
                    "the checkpoint keeps something else than follows from the log at its place: "
                    "its maker's program follows other rules, or lies");
}

enum ppn_error admission_make_checkpoint(const struct admission *log,
                                         struct admission_authors authors, struct ppn_wall now,
                                         struct admission_made *made, struct ppn_failure *why)
{
    struct admission_entry entry = {.kind = ADMISSION_CHECKPOINT};
    uint32_t kept, dropped;
    admission_checkpoint_preview(log, &kept, &dropped);
    if (dropped == 0)
        return ppn_fail(why, PPN_ERROR_CONFLICT,
                        "everything in the log is still needed: a checkpoint would drop nothing");
    return admission_make(log, authors, now, &entry, made, why);
}

/* ---- transfer ---- */

static uint32_t ids_records(const struct admission *log)
{
    return (log->closed_count + ADMISSION_IDS_PER_RECORD - 1) / ADMISSION_IDS_PER_RECORD;
}

uint32_t admission_transfer_count(const struct admission *log)
{
    return log->count + (log->checkpoint != 0 ? ids_records(log) : 0);
}

uint32_t admission_transfer_of(const struct admission *log, uint32_t record)
{
    PPN_ASSERT(record < log->count);
    if (log->checkpoint == 0)
        return record;
    if (record + 1 == log->checkpoint)
        return 0;
    return record < log->checkpoint ? record + 1 : record + ids_records(log);
}

static struct ppn_slice stored(const struct admission *log, uint32_t index)
{
    return ppn_slice(log->items[index].bytes, log->items[index].size);
}

struct ppn_slice admission_transfer_at(const struct admission *log, uint32_t index,
                                       uint8_t buffer[static ADMISSION_RECORD_MAX])
{
    PPN_ASSERT(index < admission_transfer_count(log));
    if (log->checkpoint == 0)
        return stored(log, index);
    uint32_t kept = log->checkpoint - 1, records = ids_records(log);
    if (index == 0)
        return stored(log, kept);
    if (index <= kept)
        return stored(log, index - 1);
    if (index > kept + records)
        return stored(log, index - records);
    uint32_t first = (index - 1 - kept) * ADMISSION_IDS_PER_RECORD;
    uint8_t ids[ADMISSION_IDS_PER_RECORD * ADMISSION_SHORT_ID];
    struct ppn_writer writer = ppn_writer(ids, sizeof ids);
    for (uint32_t i = first; i < log->closed_count && i < first + ADMISSION_IDS_PER_RECORD; i++)
        ppn_write_u64(&writer, log->closed_ids[i]);
    struct admission_base_record record = {
        .checkpoint = log->items[kept].id, .index = index - 1, .ids = ppn_written(&writer)};
    struct ppn_writer out = ppn_writer(buffer, ADMISSION_RECORD_MAX);
    admission_base_record_encode(&record, &out);
    return ppn_written(&out);
}

bool admission_staged(const struct admission *log, struct ppn_hash *id, uint32_t *count)
{
    if (log->staging == NULL)
        return false;
    *id = log->staging->checkpoint.id;
    *count = log->staging->base.count;
    return true;
}
