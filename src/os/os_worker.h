// SPDX-License-Identifier: ISC
#pragma once

/* A few threads for what would block the loop: hashing, fsync, name lookup, big copies. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/os_loop.h"

enum { OS_WORKER_THREADS_MAX = 4, OS_WORKER_JOBS_MAX = 64 };

struct os_worker;

/* threads: 1..OS_WORKER_THREADS_MAX; the daemon uses 2. */
enum ppn_error os_worker_open(struct os_loop *loop, uint32_t threads, struct os_worker **worker,
                              struct ppn_failure *failure) PPN_CHECK;

/* Waits for running jobs (a job that may last looks at os_worker_stopping), then calls `done` with
 * cancelled = true for every job that had not started, and `done` for those that finished. */
void os_worker_close(struct os_worker *worker);

/* In a worker thread: touches nothing of the loop. */
typedef void os_work_fn(void *context);
/* In the loop. cancelled: the work never ran. */
typedef void os_work_done_fn(void *context, bool cancelled);

/* PPN_ERROR_BUSY when OS_WORKER_JOBS_MAX jobs are waiting, running or not yet reported. */
enum ppn_error os_worker_submit(struct os_worker *worker, os_work_fn *work, os_work_done_fn *done,
                                void *context) PPN_CHECK;
/* Any thread. */
bool os_worker_stopping(struct os_worker *worker);
