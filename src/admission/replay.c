// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

/* What the log said at a place in it: the fold of one past alone. A seal names the members there,
 * so that two nodes whose rules differ find out at the next seal and not by chance. */

static void copy_item(const struct admission *log, uint32_t index, struct admission *own)
{
    const struct admission_item *item = &log->items[index];
    struct admission_attempt attempt;
    struct ppn_hash missing;
    struct ppn_slice envelope = ppn_slice(item->bytes + item->envelope_at, item->envelope_size);
    enum ppn_error error = admission_read_attempt(log, envelope, &attempt, NULL);
    PPN_ASSERT(error == PPN_OK);
    bool closing = index + 1 == log->checkpoint;
    if (item->mark.kept || closing) {
        admission_past_prefix(own->count, &attempt.past);
    } else {
        bool there = admission_find_parents(own, &attempt, &missing);
        PPN_ASSERT(there);
        admission_past_of(own, attempt.parents, attempt.parent_count, &attempt.past);
    }
    attempt.bytes = ppn_slice(item->bytes, item->size);
    attempt.envelope_at = item->envelope_at;
    attempt.mark = item->mark;
    attempt.height = item->height;
    attempt.quorum = item->quorum;
    attempt.root_tier = item->root_tier;
    if (item->control != UINT32_MAX)
        attempt.delay = log->control[item->control].delay;
    (void)admission_insert(own, &attempt);
    if (closing)
        own->checkpoint = own->count;
}

/* They were accepted at their own pasts, which are the
 * same here, so nothing is judged again. */
struct admission *admission_replay(const struct admission *log, const struct admission_past *past)
{
    struct admission_config config = {log->crypto, log->network, log->table_key.low};
    struct admission *own = admission_new(&config);
    PPN_ASSERT(own != NULL);
#ifdef ADMISSION_MUTANTS
    own->mutant = log->mutant;
#endif
    if (log->closed_count > 0) {
        own->closed_ids = admission_take(log->closed_count, sizeof *own->closed_ids);
        memcpy(own->closed_ids, log->closed_ids, log->closed_count * sizeof *own->closed_ids);
        own->closed_count = log->closed_count;
    }
    for (uint32_t i = 0; i < log->count; i++) {
        if (admission_past_has(past, i))
            copy_item(log, i, own);
    }
    admission_refold(own);
    return own;
}

static bool holds_all(const struct admission *log, const struct admission_past *past)
{
    for (uint32_t i = past->base; i < log->count; i++) {
        if (!admission_past_has(past, i))
            return false;
    }
    return true;
}

enum { ROW = PPN_ID_SIZE + ADMISSION_WG_KEY_SIZE + PPN_HASH_SIZE };

static int compare_rows(const void *a, const void *b)
{
    return memcmp(a, b, PPN_ID_SIZE);
}

/* Of everybody whose admission is in force, its lease over or not: clocks say nothing here. */
static struct ppn_hash digest(const struct admission *log)
{
    uint8_t *rows = admission_take((size_t)log->person_count * ROW, 1);
    size_t count = 0;
    for (uint32_t i = 0; i < log->person_count; i++) {
        const struct admission_person *person = &log->persons[i];
        if (person->force == 0)
            continue;
        uint32_t keyed = person->rekey != 0 ? person->rekey - 1 : person->force - 1;
        uint8_t *row = rows + ROW * count++;
        memcpy(row, person->key.bytes, PPN_ID_SIZE);
        memcpy(row + PPN_ID_SIZE, log->facts[log->items[keyed].facts - 1].wg_key,
               ADMISSION_WG_KEY_SIZE);
        memcpy(row + PPN_ID_SIZE + ADMISSION_WG_KEY_SIZE, log->items[person->force - 1].id.bytes,
               PPN_HASH_SIZE);
    }
    qsort(rows, count, ROW, compare_rows);
    struct ppn_hash members = log->crypto->hash(
        log->crypto->ctx, ppn_slice("ppn-seal-members-1", 18), ppn_slice(rows, ROW * count));
    free(rows);
    return members;
}

struct ppn_hash admission_seal_members(const struct admission *log,
                                       const struct admission_past *past)
{
    if (holds_all(log, past))
        return digest(log);
    struct admission *own = admission_replay(log, past);
    struct ppn_hash members = digest(own);
    admission_free(own);
    return members;
}
