// SPDX-License-Identifier: ISC
#include "admission/sync.h"

#include <string.h>

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
}

/* All that the peer has for sure: what it named and this log knows, with their ancestors. */
static void known_past(const struct admission *log, const struct admission_sync_have *have,
                       struct admission_past *past)
{
    uint32_t known[ADMISSION_SYNC_HAVE_MAX], count = 0;
    for (uint32_t i = 0; i < have->id_count; i++)
        count += admission_item_find(log, &have->ids[i], &known[count]);
    admission_past_of(log, known, count, past);
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
    struct admission_past past;
    known_past(log, have, &past);
    for (uint32_t i = past.base; i < log->count; i++) {
        if (admission_past_has(&past, i))
            continue;
        if (batch->count == ADMISSION_SYNC_ENTRIES_MAX ||
            batch->bytes + log->items[i].size > ADMISSION_SYNC_BATCH_MAX) {
            batch->more = true;
            break;
        }
        batch->indexes[batch->count++] = i;
        batch->bytes += log->items[i].size;
    }
    admission_past_free(&past);
    return PPN_OK;
}

bool admission_sync_wanted(const struct admission *log, const struct admission_sync_have *have)
{
    for (uint32_t i = 0; i < have->id_count && i < ADMISSION_SYNC_HAVE_MAX; i++) {
        uint32_t index;
        if (!admission_item_find(log, &have->ids[i], &index))
            return true;
    }
    return have->entry_count > log->count;
}
