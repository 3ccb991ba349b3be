// SPDX-License-Identifier: ISC
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "image/image_fetch.h"
#include "image/image_inside.h"
#include "os/os_file.h"

#define RESERVE_MAX ((uint64_t)1 << 30)

struct image_import {
    struct image_store *store;
    int fd;
    uint64_t written;
    char path[IMAGE_PATH_MAX + 1];
    char name[PPN_NAME_MAX + 1];
    image_done_fn *done;
    void *context;
};

struct image_part {
    struct image_store *store;
    int fd;
    char path[IMAGE_PATH_MAX + 1];
    struct ppn_hash hash;
    bool finishing, closed; /* closed while it finishes: the check's end frees it */
    image_done_fn *done;
    void *context;
};

/* VMs' overlays grow on the same disk, so an image must leave room. */
static enum ppn_error check_space(const struct image_store *store, uint64_t needed,
                                  struct ppn_failure *failure)
{
    struct os_space space;
    enum ppn_error error = os_file_space(store->directory, &space, failure);
    if (error)
        return error;
    uint64_t reserve = space.total_bytes / 20;
    if (reserve > RESERVE_MAX)
        reserve = RESERVE_MAX;
    if (needed > IMAGE_FILE_MAX || space.free_bytes < reserve ||
        space.free_bytes - reserve < needed)
        return ppn_fail(failure, PPN_ERROR_NO_SPACE,
                        "%" PRIu64 " MiB do not fit: %s has %" PRIu64 " MiB free, of which %" PRIu64
                        " MiB stay in reserve",
                        needed >> 20, store->directory, space.free_bytes >> 20, reserve >> 20);
    return PPN_OK;
}

static enum ppn_error write_all(int fd, const char *path, uint64_t offset, struct ppn_slice bytes,
                                struct ppn_failure *failure)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t wrote = pwrite(fd, bytes.data + done, bytes.size - done, (off_t)(offset + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return ppn_fail(failure, wrote < 0 ? os_errno(errno) : PPN_ERROR_NO_SPACE, "%s: %s",
                            path, wrote < 0 ? strerror(errno) : "nothing could be written");
        done += (size_t)wrote;
    }
    return PPN_OK;
}

enum ppn_error image_import_begin(struct image_store *store, const char *name, uint64_t file_bytes,
                                  struct image_import **out, struct ppn_failure *failure)
{
    if (!ppn_image_name_valid(name))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "an image's name is 1 to 63 of a-z, 0-9, '-' and '.'");
    if (store->count == PPN_IMAGES_MAX)
        return ppn_fail(failure, PPN_ERROR_FULL, "this node has %d images already", PPN_IMAGES_MAX);
    enum ppn_error error = check_space(store, file_bytes, failure);
    if (error)
        return error;
    struct image_import *import = calloc(1, sizeof(*import));
    if (!import)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    char file[IMAGE_FILE_NAME_MAX];
    (void)snprintf(file, sizeof(file), "incoming-%" PRIu64, ++store->next_import);
    import->store = store;
    (void)ppn_text_copy(import->name, sizeof(import->name), name);
    error = os_path_join(import->path, sizeof(import->path), store->directory, file);
    if (!error)
        error = os_file_open_beneath(store->directory, file, O_RDWR | O_CREAT | O_EXCL, 0640,
                                     &import->fd, failure);
    if (error) {
        free(import);
        return error;
    }
    *out = import;
    return PPN_OK;
}

enum ppn_error image_import_write(struct image_import *import, struct ppn_slice bytes,
                                  struct ppn_failure *failure)
{
    if (bytes.size > IMAGE_FILE_MAX - import->written)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the image is larger than 1 TiB");
    enum ppn_error error = write_all(import->fd, import->path, import->written, bytes, failure);
    if (!error)
        import->written += bytes.size;
    return error;
}

static void import_done(void *context, const struct image *image, const struct ppn_failure *failure)
{
    struct image_import *import = context;
    if (failure)
        (void)unlink(import->path);
    import->done(import->context, image, failure);
    free(import);
}

void image_import_finish(struct image_import *import, image_done_fn *done, void *context)
{
    import->done = done;
    import->context = context;
    struct image_check *check = calloc(1, sizeof(*check));
    if (!check) {
        struct ppn_failure failure;
        (void)ppn_fail(&failure, PPN_ERROR_NO_MEMORY, "out of memory");
        close(import->fd);
        import_done(import, NULL, &failure);
        return;
    }
    check->store = import->store;
    check->fd = import->fd;
    memcpy(check->path, import->path, sizeof(check->path));
    memcpy(check->name, import->name, sizeof(check->name));
    check->done = import_done;
    check->context = import;
    image_check_start(check);
}

void image_import_cancel(struct image_import *import)
{
    if (!import)
        return;
    close(import->fd);
    (void)unlink(import->path);
    free(import);
}

enum ppn_error image_part_open(struct image_store *store, const struct ppn_hash *hash,
                               uint64_t file_bytes, uint64_t *have_bytes, struct image_part **out,
                               struct ppn_failure *failure)
{
    char hex[IMAGE_HEX_MAX], file[IMAGE_FILE_NAME_MAX];
    ppn_hex(hash->bytes, PPN_HASH_SIZE, hex);
    (void)snprintf(file, sizeof(file), "%s.part", hex);
    struct image_part *part = calloc(1, sizeof(*part));
    if (!part)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    part->store = store;
    part->hash = *hash;
    enum ppn_error error = os_path_join(part->path, sizeof(part->path), store->directory, file);
    if (!error)
        error = os_file_open_beneath(store->directory, file, O_RDWR | O_CREAT, 0640, &part->fd,
                                     failure);
    if (error) {
        free(part);
        return error;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    off_t size = lseek(part->fd, 0, SEEK_END);
    /* Chunks may have come out of order, at most a window ahead of the first one missing. */
    const uint64_t ahead = (uint64_t)IMAGE_WINDOW * IMAGE_CHUNK;
    uint64_t have = size > 0 && (uint64_t)size > ahead ? (uint64_t)size - ahead : 0;
    if (fcntl(part->fd, F_OFD_SETLK, &lock) < 0)
        error = ppn_fail(failure, PPN_ERROR_BUSY, "this image is being fetched already");
    else
        error = check_space(store, file_bytes > have ? file_bytes - have : 0, failure);
    if (!error && ftruncate(part->fd, (off_t)have) < 0)
        error = ppn_fail(failure, os_errno(errno), "%s: %s", part->path, strerror(errno));
    if (error) {
        close(part->fd);
        free(part);
        return error;
    }
    *have_bytes = have;
    *out = part;
    return PPN_OK;
}

enum ppn_error image_part_write(struct image_part *part, uint64_t offset, struct ppn_slice bytes,
                                struct ppn_failure *failure)
{
    PPN_ASSERT(bytes.size <= IMAGE_CHUNK);
    return write_all(part->fd, part->path, offset, bytes, failure);
}

enum ppn_error image_part_reset(struct image_part *part, struct ppn_failure *failure)
{
    if (ftruncate(part->fd, 0) < 0)
        return ppn_fail(failure, os_errno(errno), "%s: %s", part->path, strerror(errno));
    return PPN_OK;
}

static void part_done(void *context, const struct image *image, const struct ppn_failure *failure)
{
    struct image_part *part = context;
    image_done_fn *done = part->closed ? NULL : part->done;
    void *owner = part->context;
    part->finishing = false;
    if (image || part->closed) {
        close(part->fd);
        free(part);
    }
    if (done)
        done(owner, image, failure);
}

void image_part_finish(struct image_part *part, const char *name, image_done_fn *done,
                       void *context)
{
    PPN_ASSERT(!part->finishing);
    part->done = done;
    part->context = context;
    part->finishing = true;
    struct image_check *check = calloc(1, sizeof(*check));
    int fd = check ? fcntl(part->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0) {
        struct ppn_failure failure;
        (void)ppn_fail(&failure, PPN_ERROR_NO_MEMORY, "out of memory or descriptors");
        free(check);
        part_done(part, NULL, &failure);
        return;
    }
    check->store = part->store;
    check->fd = fd;
    memcpy(check->path, part->path, sizeof(check->path));
    (void)ppn_text_copy(check->name, sizeof(check->name), name);
    check->has_wanted = true;
    check->wanted = part->hash;
    check->done = part_done;
    check->context = part;
    image_check_start(check);
}

void image_part_close(struct image_part *part)
{
    if (!part)
        return;
    if (part->finishing) {
        part->closed = true;
        return;
    }
    close(part->fd);
    free(part);
}
