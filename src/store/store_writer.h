// SPDX-License-Identifier: ISC
#pragma once

/* The thread that commits. Batches that wait are committed together with one sync; if that fails
 * for want of room, each is tried alone, so that a large one does not take small ones with it. */

#include "os/os_loop.h"
#include "store/store_env.h"

/* What one writer works for. Durable jobs come back in the order of submission; view jobs are only
 * counted when they fail. */
struct store_job {
    struct store_job *next;
    struct store_batch batch;
    bool view;
    enum ppn_error error; /* set already: refused, only reported in its turn; then batch is empty */
    bool finished;        /* under the writer's lock */
    bool waited;          /* store_writer_wait owns it; it is never reported */
    store_done_fn *done;
    void *context;
};

struct store_writer;

/* `report` is called in the loop for each finished job, which is then the caller's again. */
typedef void store_report_fn(void *context, struct store_job *job);

struct store_writer_config {
    struct os_loop *loop;
    struct store_env *durable, *view;
    const char *directory; /* to tell a full disk from a broken one */
    store_report_fn *report;
    void *context;
};

enum ppn_error store_writer_open(const struct store_writer_config *config,
                                 struct store_writer **writer,
                                 struct ppn_failure *failure) PPN_CHECK;
/* Commits what waits, then reports all that was not reported yet. */
void store_writer_close(struct store_writer *writer);

void store_writer_submit(struct store_writer *writer, struct store_job *job);
/* Returns when the job is finished; it is not reported. */
void store_writer_wait(struct store_writer *writer, struct store_job *job);

struct store_writer_stats {
    uint64_t queued_bytes, syncs;
};
struct store_writer_stats store_writer_stats(struct store_writer *writer);
