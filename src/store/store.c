// SPDX-License-Identifier: ISC
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "os/os_file.h"
#include "store/store_value.h"
#include "store/store_writer.h"

enum {
    VIEW_DELAY_MS = 1000,       /* how old the view on the disk may be */
    VIEW_FLUSH_SIZE = 64 * 1024 /* written sooner when this much waits */
};
#define DURABLE_MAX_BYTES (UINT64_C(1) << 30)
#define VIEW_MAX_BYTES    (UINT64_C(1) << 28)

struct store {
    struct os_loop *loop;
    int lock_fd;
    char directory[OS_PATH_MAX];
    struct store_env durable, view;
    struct store_writer *writer;
    struct store_batch view_batch;
    struct os_timer view_timer;
    store_fatal_fn *on_fatal;
    void *context;
    bool fatal_told;
    uint32_t reads; /* nested now */
    struct store_stats stats;
};

static void tell_fatal(struct store *store)
{
    if (store->fatal_told)
        return;
    store->fatal_told = true;
    char text[PPN_FAILURE_TEXT_MAX];
    snprintf(text, sizeof text,
             "the disk failed to write %.150s: nothing more is promised; look at the kernel log, "
             "then start again",
             store->directory);
    ppn_log(PPN_LOG_ERROR, "store-failed", "directory=%s", store->directory);
    if (store->on_fatal)
        store->on_fatal(store->context, text);
}

static void report(void *context, struct store_job *job)
{
    struct store *store = context;
    store->stats.batches++;
    store->stats.no_space += job->error == PPN_ERROR_NO_SPACE;
    if (job->view && job->error != PPN_OK) {
        store->stats.view_dropped += job->batch.count;
        ppn_log(PPN_LOG_WARN, "view-not-saved", "reason=%s", ppn_error_name(job->error));
    }
    enum ppn_error error = job->error;
    bool fatal = error == PPN_ERROR_IO && !job->view;
    if (job->done)
        job->done(job->context, error);
    store_batch_free(&job->batch);
    free(job);
    if (fatal)
        tell_fatal(store);
}

/* The view is only a memory of what gossip says anyway: damaged, it is made anew. */
static enum ppn_error open_view(struct store *store, const char *directory, uint64_t max_bytes,
                                struct ppn_failure *failure)
{
    enum ppn_error error = store_env_open(&store->view, directory, false, max_bytes, failure);
    if (error != PPN_ERROR_CORRUPT && error != PPN_ERROR_VERSION)
        return error;
    ppn_log(PPN_LOG_WARN, "view-damaged", "directory=%s made anew", directory);
    error = os_directory_remove(store->directory, "view", failure);
    if (error != PPN_OK)
        return error;
    return store_env_open(&store->view, directory, false, max_bytes, failure);
}

static enum ppn_error open_all(struct store *store, const struct store_config *config,
                               struct ppn_failure *failure)
{
    char path[OS_PATH_MAX];
    if (snprintf(store->directory, sizeof store->directory, "%s", config->directory) >=
        (int)sizeof store->directory - 32)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path of the state directory is too long");
    enum ppn_error error = os_directory_make_all(store->directory, 0700, failure);
    if (error == PPN_OK)
        error = os_path_join(path, sizeof path, store->directory, "lock");
    if (error == PPN_OK)
        error = os_file_lock(path, &store->lock_fd, failure);
    if (error == PPN_OK)
        error = os_path_join(path, sizeof path, store->directory, "durable");
    if (error == PPN_OK)
        error = store_env_open(
            &store->durable, path, true,
            config->durable_max_bytes ? config->durable_max_bytes : DURABLE_MAX_BYTES, failure);
    if (error == PPN_OK)
        error = os_path_join(path, sizeof path, store->directory, "view");
    if (error == PPN_OK)
        error = open_view(
            store, path, config->view_max_bytes ? config->view_max_bytes : VIEW_MAX_BYTES, failure);
    /* The names of new files must survive a power cut as their content does. */
    if (error == PPN_OK)
        error = os_directory_sync(store->directory, failure);
    if (error != PPN_OK)
        return error;
    struct store_writer_config writer = {.loop = store->loop,
                                         .durable = &store->durable,
                                         .view = &store->view,
                                         .directory = store->directory,
                                         .report = report,
                                         .context = store};
    return store_writer_open(&writer, &store->writer, failure);
}

static void flush_view(void *context)
{
    struct store *store = context;
    os_timer_stop(&store->view_timer);
    if (store->view_batch.count == 0)
        return;
    struct store_job *job = calloc(1, sizeof *job);
    if (!job) {
        store->stats.view_dropped += store->view_batch.count;
        store_batch_free(&store->view_batch);
        return;
    }
    job->batch = store->view_batch;
    job->view = true;
    store_batch_init(&store->view_batch);
    store_writer_submit(store->writer, job);
}

enum ppn_error store_open(struct os_loop *loop, const struct store_config *config,
                          struct store **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->directory != NULL);
    *out = NULL;
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the store");
    store->loop = loop;
    store->lock_fd = -1;
    store->on_fatal = config->on_fatal;
    store->context = config->context;
    store_batch_init(&store->view_batch);
    os_timer_init(&store->view_timer, loop, flush_view, store);
    enum ppn_error error = open_all(store, config, failure);
    if (error != PPN_OK) {
        store_close(store);
        return error;
    }
    *out = store;
    return PPN_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    PPN_ASSERT(store->reads == 0);
    if (store->writer)
        flush_view(store);
    store_writer_close(store->writer);
    os_timer_stop(&store->view_timer);
    store_env_close(&store->view);
    store_env_close(&store->durable);
    store_batch_free(&store->view_batch);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store);
}

static void assert_durable(const struct store_batch *batch)
{
    struct store_operation operation;
    for (size_t at = 0; store_batch_next(batch, &at, &operation);)
        PPN_ASSERT(store_table_durable(operation.table));
}

void store_commit(struct store *store, struct store_batch *batch, store_done_fn *done,
                  void *context)
{
    assert_durable(batch);
    struct store_job *job = calloc(1, sizeof *job);
    /* Without memory for 100 bytes there is no way to promise a callback. */
    PPN_ASSERT(job != NULL);
    enum ppn_error error = batch->error;
    job->batch = *batch;
    job->done = done;
    job->context = context;
    store_batch_init(batch);
    if (error == PPN_OK && store->fatal_told)
        error = PPN_ERROR_IO;
    if (error == PPN_OK &&
        store_writer_stats(store->writer).queued_bytes + job->batch.size > STORE_QUEUE_MAX)
        error = PPN_ERROR_BUSY;
    /* A refused one goes the same way, empty, so that callbacks keep the order of submission. */
    if (error != PPN_OK)
        store_batch_free(&job->batch);
    job->error = error;
    store_writer_submit(store->writer, job);
}

enum ppn_error store_commit_sync(struct store *store, struct store_batch *batch)
{
    struct store_job job = {.batch = *batch};
    assert_durable(batch);
    store_batch_init(batch);
    enum ppn_error error = job.batch.error;
    if (error == PPN_OK) {
        store_writer_wait(store->writer, &job);
        error = job.error;
        store->stats.batches++;
        store->stats.no_space += error == PPN_ERROR_NO_SPACE;
    }
    store_batch_free(&job.batch);
    return error;
}

static void view_write(struct store *store, bool put, enum store_table table, struct ppn_slice key,
                       struct ppn_slice value)
{
    PPN_ASSERT(!store_table_durable(table));
    struct store_batch *batch = &store->view_batch;
    if (put)
        store_batch_put(batch, table, key, value);
    else
        store_batch_delete(batch, table, key);
    if (batch->error != PPN_OK) {
        batch->error = PPN_OK;
        store->stats.view_dropped++;
        return;
    }
    if (batch->size >= VIEW_FLUSH_SIZE &&
        store_writer_stats(store->writer).queued_bytes < STORE_QUEUE_MAX / 2)
        flush_view(store);
    else if (!os_timer_armed(&store->view_timer))
        os_timer_after(&store->view_timer, ppn_ms(VIEW_DELAY_MS));
}

void store_view_put(struct store *store, enum store_table table, struct ppn_slice key,
                    struct ppn_slice value)
{
    view_write(store, true, table, key, value);
}

void store_view_delete(struct store *store, enum store_table table, struct ppn_slice key)
{
    view_write(store, false, table, key, ppn_slice(NULL, 0));
}

static struct store_env *env_of(struct store *store, enum store_table table)
{
    return store_table_durable(table) ? &store->durable : &store->view;
}

enum ppn_error store_get(struct store *store, enum store_table table, struct ppn_slice key,
                         store_value_fn *fn, void *context)
{
    if (key.size == 0 || key.size > STORE_KEY_MAX)
        return PPN_ERROR_NOT_FOUND;
    if (store->reads == STORE_READS_MAX)
        return PPN_ERROR_BUSY;
    store->reads++;
    enum ppn_error error = store_env_get(env_of(store, table), table, key, fn, context);
    store->reads--;
    store->stats.corrupt += error == PPN_ERROR_CORRUPT;
    return error;
}

struct copy {
    void *buffer;
    size_t capacity, size;
};

static void copy_value(void *context, struct ppn_slice value)
{
    struct copy *copy = context;
    copy->size = value.size;
    if (value.size > 0 && value.size <= copy->capacity)
        memcpy(copy->buffer, value.data, value.size);
}

enum ppn_error store_get_copy(struct store *store, enum store_table table, struct ppn_slice key,
                              void *buffer, size_t capacity, size_t *size)
{
    struct copy copy = {buffer, capacity, 0};
    enum ppn_error error = store_get(store, table, key, copy_value, &copy);
    *size = copy.size;
    if (error == PPN_OK && copy.size > capacity)
        return PPN_ERROR_TOO_BIG;
    return error;
}

enum ppn_error store_scan(struct store *store, enum store_table table, struct ppn_slice prefix,
                          store_scan_fn *fn, void *context)
{
    uint64_t damaged = 0;
    if (prefix.size > STORE_KEY_MAX)
        return PPN_OK;
    if (store->reads == STORE_READS_MAX)
        return PPN_ERROR_BUSY;
    store->reads++;
    enum ppn_error error =
        store_env_scan(env_of(store, table), table, prefix, fn, context, &damaged);
    store->reads--;
    store->stats.corrupt += damaged;
    return error;
}

struct store_stats store_stats(struct store *store)
{
    struct store_writer_stats writer = store_writer_stats(store->writer);
    struct store_stats stats = store->stats;
    stats.syncs = writer.syncs;
    stats.queued_bytes = writer.queued_bytes;
    stats.durable_bytes = store_env_bytes(&store->durable);
    stats.view_bytes = store_env_bytes(&store->view);
    return stats;
}
