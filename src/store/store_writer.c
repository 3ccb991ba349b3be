// SPDX-License-Identifier: ISC
#include "store/store_writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"

enum {
    GROUP_MAX = 64,          /* batches in one transaction */
    STACK_SIZE = 256 * 1024, /* LMDB needs a few KiB */
    ROOM_BYTES = 1024 * 1024 /* less free than this beside the batch: the disk is full */
};

struct list {
    struct store_job *first, *last;
};

struct store_writer {
    struct store_writer_config config;
    pthread_mutex_t mutex;
    pthread_cond_t wanted;   /* work waits, or stopping */
    pthread_cond_t progress; /* jobs were finished */
    struct list waiting, finished;
    uint64_t queued_bytes, syncs;
    bool stopping, started;
    bool broken; /* an error of the disk: nothing is tried any more; writer thread only */
    pthread_t thread;
    int event_fd;
    struct os_io io;
};

static void push(struct list *list, struct store_job *job)
{
    job->next = NULL;
    if (list->last)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
}

static struct store_job *pop(struct list *list)
{
    struct store_job *job = list->first;
    if (!job)
        return NULL;
    list->first = job->next;
    if (!list->first)
        list->last = NULL;
    job->next = NULL;
    return job;
}

/* LMDB calls a short write EIO, and a short write is how a disk becomes full. Nothing that was
 * acknowledged depends on the pages of a failed transaction, so calling it full is safe. */
static enum ppn_error judge(struct store_writer *writer, enum ppn_error error, size_t bytes)
{
    struct os_space space;
    if (error != PPN_ERROR_IO)
        return error;
    if (os_file_space(writer->config.directory, &space, NULL) == PPN_OK &&
        space.free_bytes < bytes * 2 + ROOM_BYTES)
        return PPN_ERROR_NO_SPACE;
    return PPN_ERROR_IO;
}

static enum ppn_error commit(struct store_writer *writer, struct store_job *const *jobs,
                             uint32_t count)
{
    const struct store_batch *batches[GROUP_MAX];
    size_t bytes = 0, operations = 0;
    bool view = jobs[0]->view;
    for (uint32_t i = 0; i < count; i++) {
        batches[i] = &jobs[i]->batch;
        bytes += jobs[i]->batch.size;
        operations += jobs[i]->batch.count;
    }
    if (writer->broken)
        return PPN_ERROR_IO;
    if (operations == 0)
        return PPN_OK;
    enum ppn_error error =
        judge(writer,
              store_env_commit(view ? writer->config.view : writer->config.durable, batches, count),
              bytes);
    /* Damage found while writing is as final as an error of the disk. */
    if (error == PPN_ERROR_CORRUPT)
        error = PPN_ERROR_IO;
    writer->broken |= error == PPN_ERROR_IO && !view;
    return error;
}

static void commit_group(struct store_writer *writer, struct store_job *const *jobs, uint32_t count)
{
    enum ppn_error error = commit(writer, jobs, count);
    bool alone = count > 1 && (error == PPN_ERROR_NO_SPACE || error == PPN_ERROR_NO_MEMORY);
    for (uint32_t i = 0; i < count; i++)
        if (jobs[i]->error == PPN_OK)
            jobs[i]->error = alone ? commit(writer, &jobs[i], 1) : error;
}

/* Takes jobs of one environment from the front. */
static uint32_t take_group(struct store_writer *writer, struct store_job **jobs)
{
    uint32_t count = 0;
    while (count < GROUP_MAX && writer->waiting.first &&
           (count == 0 || writer->waiting.first->view == jobs[0]->view))
        jobs[count++] = pop(&writer->waiting);
    return count;
}

static void *run(void *context)
{
    struct store_writer *writer = context;
    struct store_job *jobs[GROUP_MAX];
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        while (!writer->waiting.first && !writer->stopping)
            pthread_cond_wait(&writer->wanted, &writer->mutex);
        uint32_t count = take_group(writer, jobs);
        if (count == 0)
            break;
        pthread_mutex_unlock(&writer->mutex);
        commit_group(writer, jobs, count);
        pthread_mutex_lock(&writer->mutex);
        writer->syncs++;
        for (uint32_t i = 0; i < count; i++) {
            writer->queued_bytes -= jobs[i]->batch.size;
            jobs[i]->finished = true;
            if (!jobs[i]->waited)
                push(&writer->finished, jobs[i]);
        }
        pthread_cond_broadcast(&writer->progress);
        uint64_t one = 1;
        ssize_t written = write(writer->event_fd, &one, sizeof one);
        PPN_ASSERT(written == sizeof one);
    }
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}

static void report_all(struct store_writer *writer)
{
    for (;;) {
        pthread_mutex_lock(&writer->mutex);
        struct store_job *job = pop(&writer->finished);
        pthread_mutex_unlock(&writer->mutex);
        if (!job)
            return;
        writer->config.report(writer->config.context, job);
    }
}

static void on_finished(void *context, unsigned ready)
{
    (void)ready;
    struct store_writer *writer = context;
    uint64_t count;
    if (read(writer->event_fd, &count, sizeof count) == (ssize_t)sizeof count)
        report_all(writer);
}

static bool start(struct store_writer *writer)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's business */
    writer->started = pthread_create(&writer->thread, &attributes, run, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return writer->started;
}

enum ppn_error store_writer_open(const struct store_writer_config *config,
                                 struct store_writer **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->report != NULL);
    *out = NULL;
    struct store_writer *writer = calloc(1, sizeof *writer);
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!writer || event_fd < 0) {
        free(writer);
        if (event_fd >= 0)
            close(event_fd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the store");
    }
    writer->config = *config;
    writer->event_fd = event_fd;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->wanted, NULL);
    pthread_cond_init(&writer->progress, NULL);
    os_io_init(&writer->io, config->loop, event_fd, on_finished, writer);
    os_io_want(&writer->io, OS_READABLE);
    if (!start(writer)) {
        store_writer_close(writer);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "cannot start the store's thread");
    }
    *out = writer;
    return PPN_OK;
}

void store_writer_close(struct store_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_signal(&writer->wanted);
    pthread_mutex_unlock(&writer->mutex);
    if (writer->started)
        pthread_join(writer->thread, NULL);
    report_all(writer);
    PPN_ASSERT(!writer->waiting.first && writer->queued_bytes == 0);
    os_io_stop(&writer->io);
    close(writer->event_fd);
    pthread_cond_destroy(&writer->progress);
    pthread_cond_destroy(&writer->wanted);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

void store_writer_submit(struct store_writer *writer, struct store_job *job)
{
    pthread_mutex_lock(&writer->mutex);
    PPN_ASSERT(!writer->stopping);
    push(&writer->waiting, job);
    writer->queued_bytes += job->batch.size;
    pthread_cond_signal(&writer->wanted);
    pthread_mutex_unlock(&writer->mutex);
}

void store_writer_wait(struct store_writer *writer, struct store_job *job)
{
    job->waited = true;
    store_writer_submit(writer, job);
    pthread_mutex_lock(&writer->mutex);
    while (!job->finished)
        pthread_cond_wait(&writer->progress, &writer->mutex);
    pthread_mutex_unlock(&writer->mutex);
}

struct store_writer_stats store_writer_stats(struct store_writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    struct store_writer_stats stats = {writer->queued_bytes, writer->syncs};
    pthread_mutex_unlock(&writer->mutex);
    return stats;
}
