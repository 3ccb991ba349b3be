// SPDX-License-Identifier: ISC
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "image/image_internal.h"
#include "os/os_child.h"
#include "os/os_file.h"
#include "os/os_random.h"

enum { HASH_BUFFER = 256 * 1024, INFO_TIMEOUT_S = 30, INFO_OUTPUT_MAX = 64 * 1024 };

#define RESERVE_BYTES (UINT64_C(1) << 30)

/* A file on its way in, by upload or by fetch. Two handles of the header share it. */
struct image_job {
    struct image_store *store;
    struct image_job *next;
    int fd;
    char path[IMAGE_PATH_MAX + IMAGE_FILE_NAME + 2];
    char name[PPN_NAME_MAX + 1];
    uint64_t size;
    bool is_part;
    struct ppn_hash wanted; /* of a part */
    bool working;           /* a worker or a child has it */
    bool abandoned;         /* the handle is gone; free when the work returns */
    image_done_fn *done;
    void *context;
    struct os_child *child;
    struct image image; /* what the worker found */
    struct ppn_failure failure;
};

struct image_import {
    struct image_job job;
};

struct image_part {
    struct image_job job;
};

static void link_job(struct image_store *store, struct image_job *job)
{
    job->store = store;
    job->next = store->jobs;
    store->jobs = job;
}

static void free_job(struct image_job *job)
{
    struct image_job **at = &job->store->jobs;
    while (*at != job) {
        PPN_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = job->next;
    if (job->fd >= 0)
        (void)close(job->fd);
    free(job);
}

static enum ppn_error check_space(const struct image_store *store, uint64_t file_bytes,
                                  struct ppn_failure *failure)
{
    struct os_space space;
    enum ppn_error error = os_file_space(store->directory, &space, failure);
    if (error != PPN_OK)
        return error;
    uint64_t reserve =
        space.total_bytes / 20 < RESERVE_BYTES ? space.total_bytes / 20 : RESERVE_BYTES;
    if (space.free_bytes < reserve || space.free_bytes - reserve < file_bytes)
        return ppn_fail(failure, PPN_ERROR_NO_SPACE,
                        "the image needs %llu MiB and the disk has %llu MiB to give; free some "
                        "space, or remove images: ppn image rm",
                        (unsigned long long)(file_bytes >> 20),
                        (unsigned long long)(space.free_bytes >> 20));
    return PPN_OK;
}

static enum ppn_error write_at(struct image_job *job, uint64_t offset, struct ppn_slice bytes,
                               struct ppn_failure *failure)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t wrote =
            pwrite(job->fd, bytes.data + done, bytes.size - done, (off_t)(offset + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return ppn_fail(failure, os_errno(errno),
                            errno == ENOSPC ? "the disk is full; nothing of the image is kept"
                                            : "the image cannot be written: %s",
                            strerror(errno));
        done += (size_t)wrote;
    }
    if (offset + bytes.size > job->size)
        job->size = offset + bytes.size;
    return PPN_OK;
}

/* ---- taking in: hash and look (worker), qemu-img's opinion (child), final name (worker) ---- */

static void hash_file(void *context)
{
    struct image_job *job = context;
    crypto_hash_sha256_state state;
    uint8_t *buffer = malloc(HASH_BUFFER);
    uint64_t at = 0;
    crypto_hash_sha256_init(&state);
    while (buffer != NULL) {
        ssize_t size = pread(job->fd, buffer, HASH_BUFFER, (off_t)at);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            (void)ppn_fail(&job->failure, os_errno(errno), "the image cannot be read back: %s",
                           strerror(errno));
        if (size <= 0)
            break;
        crypto_hash_sha256_update(&state, buffer, (unsigned long long)size);
        at += (uint64_t)size;
        if (os_worker_stopping(job->store->worker)) {
            (void)ppn_fail(&job->failure, PPN_ERROR_CANCELLED, "this node stops");
            break;
        }
    }
    crypto_hash_sha256_final(&state, job->image.hash.bytes);
    if (buffer == NULL)
        (void)ppn_fail(&job->failure, PPN_ERROR_NO_MEMORY, "out of memory");
    if (job->failure.code == PPN_OK && job->is_part &&
        !ppn_hash_equal(&job->image.hash, &job->wanted))
        (void)ppn_fail(&job->failure, PPN_ERROR_CORRUPT, "the bytes have another hash");
    if (job->failure.code == PPN_OK) {
        ssize_t size = pread(job->fd, buffer, IMAGE_HEADER_MAX, 0);
        (void)image_inspect(ppn_slice(buffer, size > 0 ? (size_t)size : 0), at, &job->image.facts,
                            &job->failure);
    }
    if (job->failure.code == PPN_OK && fsync(job->fd) != 0)
        (void)ppn_fail(&job->failure, os_errno(errno), "the image cannot be written: %s",
                       strerror(errno));
    free(buffer);
}

/* The handle ends here, except for a part that failed: that one goes on. */
static void report(struct image_job *job)
{
    struct image_store *store = job->store;
    const struct image *image = NULL;
    struct ppn_failure failure = job->failure;
    image_done_fn *done = job->done;
    void *context = job->context;
    bool keep = job->is_part && failure.code != PPN_OK && !job->abandoned;
    job->working = false;
    job->failure = (struct ppn_failure){0};
    if (failure.code == PPN_OK)
        image = image_store_by_hash(store, &job->image.hash);
    if (failure.code != PPN_OK && !job->is_part)
        (void)unlink(job->path);
    if (!keep)
        free_job(job);
    if (done != NULL)
        done(context, image, image == NULL ? &failure : NULL);
}

static void sync_directory(void *context)
{
    struct image_job *job = context;
    (void)(os_directory_sync(job->store->directory, &job->failure) == PPN_OK);
}

static void on_synced(void *context, bool cancelled)
{
    (void)cancelled;
    report(context);
}

static void put_in_place(struct image_job *job)
{
    struct image_store *store = job->store;
    char final[IMAGE_PATH_MAX + 1];
    enum ppn_error error = PPN_OK;
    if (image_store_by_hash(store, &job->image.hash) != NULL) {
        (void)unlink(job->path);
    } else {
        image_store_path(store, &job->image, final);
        if (fchmod(job->fd, 0640) != 0 || rename(job->path, final) != 0)
            error = ppn_fail(&job->failure, os_errno(errno), "the image cannot be put in place: %s",
                             strerror(errno));
        else
            error = image_store_add(store, &job->image, &job->failure);
    }
    if (error == PPN_OK && job->name[0] != '\0')
        error = image_store_name(store, &job->image.hash, job->name, &job->failure);
    if (error != PPN_OK ||
        os_worker_submit(store->worker, sync_directory, on_synced, job) != PPN_OK)
        report(job);
}

static void on_info(void *context, const struct os_child_result *result)
{
    struct image_job *job = context;
    json_t *root = NULL;
    job->child = NULL;
    if (os_child_ok(result))
        root = json_loadb((const char *)result->out.data, result->out.size, 0, NULL);
    json_t *specific = json_object_get(json_object_get(root, "format-specific"), "data");
    if (root == NULL)
        (void)ppn_fail(&job->failure, PPN_ERROR_INVALID, "qemu-img cannot read the image: %.150s",
                       result->err.size > 0 ? (const char *)result->err.data : result->text);
    else if (json_object_get(root, "backing-filename") != NULL ||
             json_object_get(specific, "data-file") != NULL ||
             json_is_true(json_object_get(root, "encrypted")))
        (void)ppn_fail(&job->failure, PPN_ERROR_INVALID,
                       "the image refers to other files or is encrypted, which is refused");
    json_decref(root);
    if (job->failure.code != PPN_OK)
        report(job);
    else
        put_in_place(job);
}

static void on_hashed(void *context, bool cancelled)
{
    struct image_job *job = context;
    if (cancelled)
        (void)ppn_fail(&job->failure, PPN_ERROR_CANCELLED, "this node stops");
    if (job->abandoned && job->failure.code == PPN_OK)
        (void)ppn_fail(&job->failure, PPN_ERROR_CANCELLED, "nobody waits for it any more");
    if (job->failure.code != PPN_OK || image_store_by_hash(job->store, &job->image.hash) != NULL) {
        if (job->failure.code != PPN_OK)
            report(job);
        else
            put_in_place(job);
        return;
    }
    const char *const argv[] = {
        "qemu-img", "info", "--output=json", "-f", image_format_name(job->image.facts.format), "--",
        job->path,  NULL};
    struct os_child_config config = {.argv = argv,
                                     .output_max = INFO_OUTPUT_MAX,
                                     .no_new_privileges = true,
                                     .timeout = ppn_seconds(INFO_TIMEOUT_S)};
    if (os_child_spawn(job->store->loop, &config, on_info, job, &job->child, &job->failure) !=
        PPN_OK)
        report(job);
}

static void take_in(struct image_job *job, image_done_fn *done, void *context)
{
    job->done = done;
    job->context = context;
    job->working = true;
    job->failure = (struct ppn_failure){0};
    if (os_worker_submit(job->store->worker, hash_file, on_hashed, job) != PPN_OK) {
        (void)ppn_fail(&job->failure, PPN_ERROR_BUSY, "this node is busy; try again in a moment");
        report(job);
    }
}

/* Nobody wants the outcome; the work may still hold the job. */
static void abandon(struct image_job *job)
{
    job->abandoned = true;
    job->done = NULL;
    if (!job->working)
        free_job(job);
}

/* ---- import ---- */

enum ppn_error image_import_begin(struct image_store *store, const char *name, uint64_t file_bytes,
                                  struct image_import **out, struct ppn_failure *failure)
{
    if (!ppn_image_name_valid(name))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "'%s' is no image name: 1 to 63 of a-z, 0-9, '-' and '.'", name);
    enum ppn_error error = check_space(store, file_bytes, failure);
    if (error != PPN_OK)
        return error;
    struct image_import *import = calloc(1, sizeof(*import));
    if (import == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    (void)snprintf(import->job.path, sizeof(import->job.path), "%s/incoming-%016llx",
                   store->directory, (unsigned long long)os_random_u64());
    (void)ppn_text_copy(import->job.name, sizeof(import->job.name), name);
    import->job.fd = open(import->job.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (import->job.fd < 0) {
        error = ppn_fail(failure, os_errno(errno), "cannot write to %s: %s", store->directory,
                         strerror(errno));
        free(import);
        return error;
    }
    link_job(store, &import->job);
    *out = import;
    return PPN_OK;
}

enum ppn_error image_import_write(struct image_import *import, struct ppn_slice bytes,
                                  struct ppn_failure *failure)
{
    if (import->job.size + bytes.size > IMAGE_FILE_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the image is over 1 TiB");
    return write_at(&import->job, import->job.size, bytes, failure);
}

void image_import_finish(struct image_import *import, image_done_fn *done, void *context)
{
    take_in(&import->job, done, context);
}

void image_import_cancel(struct image_import *import)
{
    (void)unlink(import->job.path);
    abandon(&import->job);
}

/* ---- part ---- */

enum ppn_error image_part_open(struct image_store *store, const struct ppn_hash *hash,
                               uint64_t file_bytes, uint64_t *have_bytes, struct image_part **out,
                               struct ppn_failure *failure)
{
    char hex[PPN_HEX_MAX];
    struct stat status;
    for (struct image_job *job = store->jobs; job != NULL; job = job->next) {
        if (job->is_part && ppn_hash_equal(&job->wanted, hash))
            return ppn_fail(failure, PPN_ERROR_BUSY, "the image is being fetched already");
    }
    enum ppn_error error = check_space(store, file_bytes, failure);
    if (error != PPN_OK)
        return error;
    struct image_part *part = calloc(1, sizeof(*part));
    if (part == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    ppn_hex(hash->bytes, sizeof(hash->bytes), hex);
    (void)snprintf(part->job.path, sizeof(part->job.path), "%s/%s.part", store->directory, hex);
    part->job.is_part = true;
    part->job.wanted = *hash;
    part->job.fd = open(part->job.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (part->job.fd < 0 || fstat(part->job.fd, &status) != 0) {
        error = ppn_fail(failure, os_errno(errno), "cannot write to %s: %s", store->directory,
                         strerror(errno));
        if (part->job.fd >= 0)
            (void)close(part->job.fd);
        free(part);
        return error;
    }
    part->job.size = (uint64_t)status.st_size;
    *have_bytes = part->job.size;
    link_job(store, &part->job);
    *out = part;
    return PPN_OK;
}

enum ppn_error image_part_write(struct image_part *part, uint64_t offset, struct ppn_slice bytes,
                                struct ppn_failure *failure)
{
    return write_at(&part->job, offset, bytes, failure);
}

enum ppn_error image_part_reset(struct image_part *part, struct ppn_failure *failure)
{
    part->job.size = 0;
    if (ftruncate(part->job.fd, 0) != 0)
        return ppn_fail(failure, os_errno(errno), "the image cannot be written: %s",
                        strerror(errno));
    return PPN_OK;
}

void image_part_finish(struct image_part *part, const char *name, image_done_fn *done,
                       void *context)
{
    (void)ppn_text_copy(part->job.name, sizeof(part->job.name), name);
    take_in(&part->job, done, context);
}

void image_part_close(struct image_part *part)
{
    abandon(&part->job);
}

void image_jobs_close(struct image_store *store)
{
    while (store->jobs != NULL) {
        struct image_job *job = store->jobs;
        if (job->child != NULL)
            os_child_kill(job->child);
        job->child = NULL;
        (void)ppn_fail(&job->failure, PPN_ERROR_CANCELLED, "this node stops");
        job->abandoned = true;
        report(job);
    }
}
