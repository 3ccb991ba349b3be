// SPDX-License-Identifier: ISC
#pragma once

/* Anti-entropy between two logs. Each side says what it HAS (heads, and a sample of older entries
 * that gets sparser with age); the other answers with entries that are no ancestors of those, in an
 * order that can be applied as it comes, at most ADMISSION_SYNC_BATCH_MAX bytes at a time. After
 * each batch the receiver says again what it has; when nothing is missing the answer is empty.
 * Who begins with another checkpoint, or with none, gets this log's own first; when its own past
 * cannot carry that, it asks for the records. Works from an empty log, after a partition and after
 * a restore. Stateless on both sides. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/checkpoint.h"

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
    struct ppn_hash checkpoint; /* that the log begins with; zero: with the genesis */
    struct ppn_hash staged;     /* whose records are arriving; zero: none */
    uint32_t staged_count;      /* how many came */
};

void admission_sync_have(const struct admission *log, struct admission_sync_have *have);

/* Indexes of what to send, in order, for admission_transfer_at. */
struct admission_sync_batch {
    uint32_t count;
    uint32_t indexes[ADMISSION_SYNC_ENTRIES_MAX];
    uint32_t bytes; /* of them together */
    bool more;      /* ask again after applying */
};

/* What a peer that has `have` lacks. CONFLICT for another network; NO_MEMORY. */
enum ppn_error admission_sync_answer(const struct admission *log,
                                     const struct admission_sync_have *have,
                                     struct admission_sync_batch *batch) PPN_CHECK;

/* True when the peer said that it has something this log lacks: then send it our HAVE. */
bool admission_sync_wanted(const struct admission *log, const struct admission_sync_have *have);
