// SPDX-License-Identifier: ISC
#pragma once

/* Anti-entropy between two logs. Each side says what it HAS (heads, and a sample of older entries
 * that gets sparser with age); the other answers with entries that are no ancestors of those, in an
 * order that can be applied as it comes, at most ADMISSION_SYNC_BATCH_MAX bytes at a time. After
 * each batch the receiver says again what it has; when nothing is missing the answer is empty.
 * Works from an empty log, after a partition and after a restore. Stateless on both sides. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/admission.h"

enum {
    ADMISSION_SYNC_HAVE_MAX = 64, /* ids in one HAVE */
    ADMISSION_SYNC_HEADS_MAX = 32,
    ADMISSION_SYNC_BATCH_MAX = 200 * 1024, /* bytes of envelopes in one answer */
    ADMISSION_SYNC_ENTRIES_MAX = 1024      /* envelopes in one answer */
};

struct admission_sync_have {
    struct ppn_hash network; /* zero: wants any genesis (a joiner without a token) */
    struct ppn_hash digest;
    uint32_t entry_count; /* of the whole log */
    uint32_t id_count;    /* 0: has nothing */
    struct ppn_hash ids[ADMISSION_SYNC_HAVE_MAX];
};

void admission_sync_have(const struct admission *log, struct admission_sync_have *have);

/* Indexes of accepted entries (admission_record_at) to send, in order. */
struct admission_sync_batch {
    uint32_t count;
    uint32_t indexes[ADMISSION_SYNC_ENTRIES_MAX];
    uint32_t bytes; /* sum of the envelopes */
    bool more;      /* ask again after applying */
};

/* What a peer that has `have` lacks. CONFLICT for another network; NO_MEMORY. */
enum ppn_error admission_sync_answer(const struct admission *log,
                                     const struct admission_sync_have *have,
                                     struct admission_sync_batch *batch) PPN_CHECK;

/* True when the peer said that it has something this log lacks: then send it our HAVE. */
bool admission_sync_wanted(const struct admission *log, const struct admission_sync_have *have);
