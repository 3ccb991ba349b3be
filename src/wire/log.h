// SPDX-License-Identifier: ISC
#pragma once

/* A batch of admission entries: [1, more, [[entry, signatures]...]]. Both are the bytes as received
 * or stored, never re-encoded: the id and the signatures are over them. The batch is in an order in
 * which parents come before their children. */

#include "base/slice.h"

enum {
    WIRE_LOG_ENTRY_MAX = 8 * 1024,
    WIRE_LOG_SIGNATURES_MAX = 8 * 1024,
    WIRE_LOG_BATCH_ENTRIES_MAX = 512,
    WIRE_LOG_BATCH_MAX = 60 * 1024 /* fits a record of the join channel and a peer frame */
};

/* Fills a batch entry by entry in the caller's bytes. */
struct wire_log_batch {
    struct ppn_writer *writer;
    size_t start;
    uint32_t count;
};

void wire_log_batch_start(struct wire_log_batch *batch, struct ppn_writer *writer);

/* false: it would not fit, nothing was added; send this batch and start another one. One entry of
 * maximal size fits an empty batch whose writer has WIRE_LOG_BATCH_MAX bytes. */
bool wire_log_batch_add(struct wire_log_batch *batch, struct ppn_slice entry,
                        struct ppn_slice signatures) PPN_CHECK;
enum ppn_error wire_log_batch_finish(struct wire_log_batch *batch, bool more) PPN_CHECK;

/* Reads a batch entry by entry; slices are borrowed from the bytes. */
struct wire_log_reader {
    struct ppn_slice bytes;
    size_t at;
    uint32_t left;
    bool more; /* the sender has further entries to give */
};

enum ppn_error wire_log_read_start(struct wire_log_reader *reader,
                                   struct ppn_slice bytes) PPN_CHECK;

/* false at the end. */
bool wire_log_read_next(struct wire_log_reader *reader, struct ppn_slice *entry,
                        struct ppn_slice *signatures);
