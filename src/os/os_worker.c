// SPDX-License-Identifier: ISC
#include "os/os_worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

struct job {
    os_work_fn *work;
    os_work_done_fn *done;
    void *context;
};

/* A ring of at most OS_WORKER_JOBS_MAX jobs. */
struct ring {
    uint32_t first, count;
    struct job jobs[OS_WORKER_JOBS_MAX];
};

struct os_worker {
    pthread_mutex_t mutex;
    pthread_cond_t wanted; /* a job waits, or stopping */
    struct ring waiting, finished;
    bool stopping;
    uint32_t jobs; /* waiting, running and finished; loop thread only */
    uint32_t thread_count;
    pthread_t threads[OS_WORKER_THREADS_MAX];
    int event_fd;
    struct os_io io;
};

/* A worker's stack: enough for getaddrinfo and LMDB, far less than the default 8 MiB. */
enum { STACK_SIZE = 512 * 1024 };

static void ring_push(struct ring *ring, struct job job)
{
    PPN_ASSERT(ring->count < OS_WORKER_JOBS_MAX);
    ring->jobs[(ring->first + ring->count++) % OS_WORKER_JOBS_MAX] = job;
}

static struct job ring_pop(struct ring *ring)
{
    PPN_ASSERT(ring->count > 0);
    struct job job = ring->jobs[ring->first];
    ring->first = (ring->first + 1) % OS_WORKER_JOBS_MAX;
    ring->count--;
    return job;
}

static void *run(void *context)
{
    struct os_worker *worker = context;
    pthread_mutex_lock(&worker->mutex);
    for (;;) {
        while (worker->waiting.count == 0 && !worker->stopping)
            pthread_cond_wait(&worker->wanted, &worker->mutex);
        if (worker->stopping)
            break;
        struct job job = ring_pop(&worker->waiting);
        pthread_mutex_unlock(&worker->mutex);
        job.work(job.context);
        pthread_mutex_lock(&worker->mutex);
        ring_push(&worker->finished, job);
        uint64_t one = 1;
        ssize_t written = write(worker->event_fd, &one, sizeof one);
        PPN_ASSERT(written == sizeof one);
    }
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

/* False when there is none. */
static bool take(struct os_worker *worker, struct ring *ring, struct job *job)
{
    pthread_mutex_lock(&worker->mutex);
    bool any = ring->count > 0;
    if (any)
        *job = ring_pop(ring);
    pthread_mutex_unlock(&worker->mutex);
    return any;
}

/* One report a call: a callback may close the worker. The event counter is put back while more
 * wait. */
static void on_finished(void *context, unsigned ready)
{
    (void)ready;
    struct os_worker *worker = context;
    uint64_t count = 0;
    if (read(worker->event_fd, &count, sizeof count) != sizeof count)
        return;
    PPN_ASSERT(count > 0);
    count--;
    if (count > 0) {
        ssize_t written = write(worker->event_fd, &count, sizeof count);
        PPN_ASSERT(written == sizeof count);
    }
    struct job job;
    if (!take(worker, &worker->finished, &job))
        return;
    worker->jobs--;
    job.done(job.context, false);
}

static enum ppn_error start_threads(struct os_worker *worker, uint32_t threads)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int error = 0;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's business */
    for (uint32_t i = 0; i < threads && error == 0; i++) {
        error = pthread_create(&worker->threads[i], &attributes, run, worker);
        worker->thread_count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? PPN_OK : PPN_ERROR_NO_MEMORY;
}

enum ppn_error os_worker_open(struct os_loop *loop, uint32_t threads, struct os_worker **out,
                              struct ppn_failure *failure)
{
    PPN_ASSERT(threads >= 1 && threads <= OS_WORKER_THREADS_MAX);
    *out = NULL;
    struct os_worker *worker = calloc(1, sizeof *worker);
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!worker || event_fd < 0) {
        free(worker);
        if (event_fd >= 0)
            close(event_fd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "cannot make the worker threads");
    }
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->wanted, NULL);
    worker->event_fd = event_fd;
    os_io_init(&worker->io, loop, event_fd, on_finished, worker);
    os_io_want(&worker->io, OS_READABLE);
    if (start_threads(worker, threads) != PPN_OK) {
        os_worker_close(worker);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "cannot start the worker threads");
    }
    *out = worker;
    return PPN_OK;
}

void os_worker_close(struct os_worker *worker)
{
    if (!worker)
        return;
    struct job job;
    pthread_mutex_lock(&worker->mutex);
    PPN_ASSERT(!worker->stopping);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->wanted);
    pthread_mutex_unlock(&worker->mutex);
    for (uint32_t i = 0; i < worker->thread_count; i++)
        pthread_join(worker->threads[i], NULL);
    while (take(worker, &worker->finished, &job))
        job.done(job.context, false);
    while (take(worker, &worker->waiting, &job))
        job.done(job.context, true);
    os_io_stop(&worker->io);
    close(worker->event_fd);
    pthread_cond_destroy(&worker->wanted);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

enum ppn_error os_worker_submit(struct os_worker *worker, os_work_fn *work, os_work_done_fn *done,
                                void *context)
{
    PPN_ASSERT(work != NULL && done != NULL);
    if (worker->jobs == OS_WORKER_JOBS_MAX)
        return PPN_ERROR_BUSY;
    pthread_mutex_lock(&worker->mutex);
    bool stopping = worker->stopping;
    if (!stopping) {
        ring_push(&worker->waiting, (struct job){work, done, context});
        pthread_cond_signal(&worker->wanted);
    }
    pthread_mutex_unlock(&worker->mutex);
    if (stopping)
        return PPN_ERROR_CLOSED;
    worker->jobs++;
    return PPN_OK;
}

bool os_worker_stopping(struct os_worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    bool stopping = worker->stopping;
    pthread_mutex_unlock(&worker->mutex);
    return stopping;
}
