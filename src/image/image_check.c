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
#include "image/image_inside.h"
#include "os/os_file.h"
#include "os/os_process.h"

enum { READ_BYTES = 1024 * 1024, NOBODY = 65534 };

_Static_assert(PPN_HASH_SIZE == crypto_hash_sha256_BYTES, "an image's name is its SHA-256");

static void unlink_check(struct image_check *check)
{
    struct image_check **at = &check->store->checks;
    while (*at && *at != check)
        at = &(*at)->next;
    PPN_ASSERT(*at == check);
    *at = check->next;
}

static void free_check(struct image_check *check)
{
    close(check->fd);
    free(check);
}

static void end(struct image_check *check)
{
    const struct image *image = NULL;
    unlink_check(check);
    if (!check->failure.code)
        image = image_store_by_hash(check->store, &check->hash);
    /* Two names, one content: the caller gets the entry with the name it asked for. */
    const struct image *named =
        image && check->name[0] ? image_store_find(check->store, check->name) : image;
    check->done(check->context, named, image ? NULL : &check->failure);
    free_check(check);
}

static void place_work(void *context)
{
    struct image_check *check = context;
    char name[IMAGE_FILE_NAME_MAX], path[IMAGE_PATH_MAX + 1];
    image_file_name(&check->hash, check->facts.format, name);
    enum ppn_error error = os_path_join(path, sizeof(path), check->directory, name);
    PPN_ASSERT(error == PPN_OK);
    if (fchmod(check->fd, 0440) < 0 || rename(check->path, path) < 0) {
        (void)ppn_fail(&check->failure, os_errno(errno), "%s: %s", path, strerror(errno));
        return;
    }
    (void)!os_directory_sync(check->directory, &check->failure);
}

static void cancelled(struct image_check *check)
{
    (void)ppn_fail(&check->failure, PPN_ERROR_CANCELLED, "ppn-node is stopping");
}

static void place_done(void *context, bool was_cancelled)
{
    struct image_check *check = context;
    check->working = false;
    if (check->abandoned) {
        free_check(check);
        return;
    }
    if (was_cancelled)
        cancelled(check);
    if (!check->failure.code &&
        image_table_add(check->store, &check->hash, &check->facts, check->name))
        (void)ppn_fail(&check->failure, PPN_ERROR_FULL, "this node has %d images already",
                       PPN_IMAGES_MAX);
    if (!check->failure.code && check->name[0])
        (void)!image_names_save(check->store, &check->failure);
    end(check);
}

static void place(struct image_check *check)
{
    check->working = true;
    if (os_worker_submit(check->worker, place_work, place_done, check)) {
        check->working = false;
        (void)ppn_fail(&check->failure, PPN_ERROR_BUSY,
                       "too much is going on at once on this node; try again");
        end(check);
    }
}

/* The second opinion: QEMU's own reader must see what our parser saw. */
static bool agrees(const struct image_check *check, struct ppn_slice text)
{
    json_error_t where;
    json_t *root = json_loadb((const char *)text.data, text.size, 0, &where);
    const char *format = json_string_value(json_object_get(root, "format"));
    json_t *size = json_object_get(root, "virtual-size");
    json_t *specific = json_object_get(json_object_get(root, "format-specific"), "data");
    bool ok = format && !strcmp(format, "qcow2") && json_is_integer(size) &&
              (uint64_t)json_integer_value(size) == check->facts.virtual_bytes &&
              !json_object_get(root, "backing-filename") &&
              !json_object_get(root, "full-backing-filename") &&
              !json_is_true(json_object_get(root, "encrypted")) &&
              !json_object_get(specific, "data-file") &&
              !json_is_true(json_object_get(specific, "corrupt"));
    json_decref(root);
    return ok;
}

static void on_info(void *context, const struct os_child_result *result)
{
    struct image_check *check = context;
    check->child = NULL;
    if (!os_child_ok(result)) {
        size_t line = strcspn((const char *)result->err.data, "\n");
        (void)ppn_fail(&check->failure, PPN_ERROR_INVALID,
                       "this image cannot be used: qemu-img: %s %.*s", result->text,
                       (int)(line > 120 ? 120 : line), (const char *)result->err.data);
        end(check);
    } else if (!agrees(check, result->out)) {
        (void)ppn_fail(&check->failure, PPN_ERROR_INVALID,
                       "this image cannot be used: qemu-img reads its header in another way");
        end(check);
    } else {
        place(check);
    }
}

/* qemu-img reads hostile bytes: as nobody, by an open descriptor, with bounded memory and time. */
static void ask_qemu_img(struct image_check *check)
{
    static const char *const argv[] = {"prlimit",
                                       "--as=2147483648",
                                       "--cpu=20",
                                       "--fsize=0",
                                       "--",
                                       "qemu-img",
                                       "info",
                                       "-U",
                                       "--output=json",
                                       "-f",
                                       "qcow2",
                                       "/proc/self/fd/3",
                                       NULL};
    bool root = os_process_is_root();
    struct os_child_config config = {
        .argv = argv,
        .fds = {{check->fd, 3}},
        .fd_count = 1,
        .set_user = root,
        .uid = NOBODY,
        .gid = NOBODY,
        .no_new_privileges = true,
        .drop_bounding_set = root,
        .timeout = ppn_seconds(30),
    };
    if (os_child_spawn(check->store->loop, &config, on_info, check, &check->child, &check->failure))
        end(check);
}

static enum ppn_error hash_file(struct image_check *check, uint64_t *size)
{
    crypto_hash_sha256_state state;
    uint8_t *bytes = malloc(READ_BYTES);
    if (!bytes)
        return ppn_fail(&check->failure, PPN_ERROR_NO_MEMORY, "out of memory");
    crypto_hash_sha256_init(&state);
    enum ppn_error error = PPN_OK;
    *size = 0;
    for (;;) {
        ssize_t got = pread(check->fd, bytes, READ_BYTES, (off_t)*size);
        if (got <= 0) {
            if (got < 0)
                error = ppn_fail(&check->failure, os_errno(errno), "%s: %s", check->path,
                                 strerror(errno));
            break;
        }
        crypto_hash_sha256_update(&state, bytes, (size_t)got);
        *size += (uint64_t)got;
        if (os_worker_stopping(check->worker)) {
            error = ppn_fail(&check->failure, PPN_ERROR_CANCELLED, "ppn-node is stopping");
            break;
        }
    }
    crypto_hash_sha256_final(&state, check->hash.bytes);
    free(bytes);
    return error;
}

static void check_work(void *context)
{
    struct image_check *check = context;
    uint64_t size = 0;
    if (hash_file(check, &size))
        return;
    if (check->has_wanted && !ppn_hash_equal(&check->hash, &check->wanted)) {
        (void)ppn_fail(&check->failure, PPN_ERROR_CORRUPT, "its SHA-256 is not what was asked for");
        return;
    }
    uint8_t *header = malloc(IMAGE_HEADER_MAX);
    ssize_t got = header ? pread(check->fd, header, IMAGE_HEADER_MAX, 0) : -1;
    if (got < 0)
        (void)ppn_fail(&check->failure, PPN_ERROR_IO, "%s cannot be read", check->path);
    else if (!image_inspect(ppn_slice(header, (size_t)got), size, &check->facts, &check->failure) &&
             (fchmod(check->fd, 0444) < 0 || fsync(check->fd) < 0))
        (void)ppn_fail(&check->failure, os_errno(errno), "%s: %s", check->path, strerror(errno));
    free(header);
}

static void check_done(void *context, bool was_cancelled)
{
    struct image_check *check = context;
    check->working = false;
    if (check->abandoned) {
        free_check(check);
        return;
    }
    if (was_cancelled)
        cancelled(check);
    if (check->failure.code)
        end(check);
    else if (check->facts.format == IMAGE_QCOW2)
        ask_qemu_img(check);
    else
        place(check);
}

void image_check_start(struct image_check *check)
{
    check->next = check->store->checks;
    check->store->checks = check;
    check->worker = check->store->worker;
    memcpy(check->directory, check->store->directory, sizeof(check->directory));
    check->working = true;
    if (os_worker_submit(check->worker, check_work, check_done, check)) {
        check->working = false;
        (void)ppn_fail(&check->failure, PPN_ERROR_BUSY,
                       "too much is going on at once on this node; try again");
        end(check);
    }
}

/* A job of the worker may be writing the check's failure at this moment, so it is left alone. */
static void end_cancelled(struct image_check *check)
{
    struct ppn_failure failure;
    (void)ppn_fail(&failure, PPN_ERROR_CANCELLED, "ppn-node is stopping");
    unlink_check(check);
    check->done(check->context, NULL, &failure);
    if (check->working)
        check->abandoned = true;
    else
        free_check(check);
}

void image_check_cancel_all(struct image_store *store)
{
    while (store->checks) {
        struct image_check *check = store->checks;
        os_child_kill(check->child);
        check->child = NULL;
        end_cancelled(check);
    }
}
