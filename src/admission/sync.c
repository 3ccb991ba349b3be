// SPDX-License-Identifier: ISC
#include "admission/sync.h"

#include <string.h>

#include "admission/kept.h"
#include "admission/state.h"

void admission_sync_have(const struct admission *log, struct admission_sync_have *have)
{
    memset(have, 0, sizeof *have);
    have->network = log->network;
    have->digest = admission_digest(log);
    have->entry_count = log->count;
    for (uint32_t i = 0; i < log->head_count && i < ADMISSION_SYNC_HEADS_MAX; i++)
        have->ids[have->id_count++] = log->heads[i];
    for (uint32_t back = 1; back <= log->count && have->id_count < ADMISSION_SYNC_HAVE_MAX;
         back *= 2)
        have->ids[have->id_count++] = log->items[log->count - back].id;
    have->checkpoint = admission_checkpoint_now(log).id;
    (void)admission_staged(log, &have->staged, &have->staged_count);
}

/* All that the peer has for sure: what it named and this log knows, with their ancestors. */
static void known_past(const struct admission *log, const struct admission_sync_have *have,
                       struct admission_past *past)
{
    uint32_t known[ADMISSION_SYNC_HAVE_MAX + 1], count = 0;
    for (uint32_t i = 0; i < have->id_count; i++)
        count += admission_item_find(log, &have->ids[i], &known[count]);
    if (log->checkpoint != 0)
        known[count++] = log->checkpoint - 1;
    admission_past_of(log, known, count, past);
}

static bool add(const struct admission *log, struct admission_sync_batch *batch, uint32_t index)
{
    uint8_t buffer[ADMISSION_RECORD_MAX];
    uint32_t size = (uint32_t)admission_transfer_at(log, index, buffer).size;
    batch->more = batch->count == ADMISSION_SYNC_ENTRIES_MAX ||
                  batch->bytes + size > ADMISSION_SYNC_BATCH_MAX;
    if (batch->more)
        return false;
    batch->indexes[batch->count++] = index;
    batch->bytes += size;
    return true;
}

/* To a log that does not begin as this one does: the checkpoint, then, where it asks for them, the
 * records behind it. One that begins with a checkpoint which this log never saw knows more, or
 * holds the better of two: our checkpoint lets it decide. */
static void answer_closed(const struct admission *log, const struct admission_sync_have *have,
                          struct admission_sync_batch *batch)
{
    struct ppn_hash own = log->items[log->checkpoint - 1].id;
    if (!ppn_hash_equal(&have->staged, &own)) {
        (void)add(log, batch, 0);
        batch->more = true;
        return;
    }
    uint32_t end = admission_transfer_count(log);
    for (uint32_t i = 1 + have->staged_count; i > have->staged_count && i < end; i++) {
        if (!add(log, batch, i))
            return;
    }
}

enum ppn_error admission_sync_answer(const struct admission *log,
                                     const struct admission_sync_have *have,
                                     struct admission_sync_batch *batch)
{
    batch->count = batch->bytes = 0;
    batch->more = false;
    if (!ppn_hash_is_zero(&have->network) && !ppn_hash_is_zero(&log->network) &&
        !ppn_hash_equal(&have->network, &log->network))
        return PPN_ERROR_CONFLICT;
    if (have->id_count > ADMISSION_SYNC_HAVE_MAX)
        return PPN_ERROR_INVALID;
    struct ppn_hash digest = admission_digest(log);
    if (ppn_hash_equal(&digest, &have->digest))
        return PPN_OK;
    struct ppn_hash own = admission_checkpoint_now(log).id;
    if (!ppn_hash_equal(&have->checkpoint, &own)) {
        if (log->checkpoint != 0)
            answer_closed(log, have, batch);
        return PPN_OK;
    }
    struct admission_past past;
    known_past(log, have, &past);
    for (uint32_t i = past.base; i < log->count; i++) {
        if (!admission_past_has(&past, i) && !add(log, batch, admission_transfer_of(log, i)))
            break;
    }
    admission_past_free(&past);
    return PPN_OK;
}

bool admission_sync_wanted(const struct admission *log, const struct admission_sync_have *have)
{
    struct ppn_hash own = admission_checkpoint_now(log).id;
    for (uint32_t i = 0; i < have->id_count && i < ADMISSION_SYNC_HAVE_MAX; i++) {
        if (!admission_knows(log, &have->ids[i]))
            return true;
    }
    return have->entry_count > log->count && ppn_hash_equal(&have->checkpoint, &own);
}
