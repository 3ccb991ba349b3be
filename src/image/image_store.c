// SPDX-License-Identifier: ISC
#include "image/image_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "image/image_internal.h"
#include "os/os_file.h"

void image_file_name(const struct ppn_hash *hash, enum image_format format,
                     char name[static IMAGE_FILE_NAME])
{
    ppn_hex(hash->bytes, sizeof(hash->bytes), name);
    size_t size = strlen(name);
    (void)snprintf(name + size, IMAGE_FILE_NAME - size, ".%s", image_format_name(format));
}

void image_store_path(const struct image_store *store, const struct image *image, char *path)
{
    char name[IMAGE_FILE_NAME];
    image_file_name(&image->hash, image->facts.format, name);
    (void)snprintf(path, IMAGE_PATH_MAX + 1, "%s/%s", store->directory, name);
}

static int compare(const void *a, const void *b)
{
    const struct image *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : ppn_hash_compare(&x->hash, &y->hash);
}

void image_store_sort(struct image_store *store)
{
    qsort(store->images, store->count, sizeof(store->images[0]), compare);
}

struct image *image_store_get(struct image_store *store, const struct ppn_hash *hash)
{
    for (uint32_t i = 0; i < store->count; i++) {
        if (ppn_hash_equal(&store->images[i].hash, hash))
            return &store->images[i];
    }
    return NULL;
}

const struct image *image_store_by_hash(const struct image_store *store,
                                        const struct ppn_hash *hash)
{
    for (uint32_t i = 0; i < store->count; i++) {
        if (ppn_hash_equal(&store->images[i].hash, hash))
            return &store->images[i];
    }
    return NULL;
}

enum ppn_error image_store_add(struct image_store *store, const struct image *image,
                               struct ppn_failure *failure)
{
    struct image *known = image_store_get(store, &image->hash);
    if (known == NULL && store->count == PPN_IMAGES_MAX)
        return ppn_fail(failure, PPN_ERROR_FULL,
                        "this node has %d images already; remove one: ppn image rm",
                        PPN_IMAGES_MAX);
    if (known == NULL)
        store->images[store->count++] = *image;
    image_store_sort(store);
    return PPN_OK;
}

const struct image *image_store_find(const struct image_store *store, const char *name)
{
    const struct image *found = NULL;
    char hex[PPN_HEX_MAX];
    size_t size = strlen(name);
    for (uint32_t i = 0; i < store->count; i++) {
        if (store->images[i].name[0] != '\0' && strcmp(store->images[i].name, name) == 0)
            return &store->images[i];
    }
    if (size < 8 || strspn(name, "0123456789abcdef") != size)
        return NULL;
    for (uint32_t i = 0; i < store->count; i++) {
        ppn_hex(store->images[i].hash.bytes, PPN_HASH_SIZE, hex);
        if (strncmp(hex, name, size) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &store->images[i];
    }
    return found;
}

const struct image *image_store_list(const struct image_store *store, uint32_t *count)
{
    *count = store->count;
    return store->images;
}

enum ppn_error image_store_name(struct image_store *store, const struct ppn_hash *hash,
                                const char *name, struct ppn_failure *failure)
{
    struct image *image = image_store_get(store, hash);
    if (!ppn_image_name_valid(name))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "'%s' is no image name: 1 to 63 of a-z, 0-9, '-' and '.'", name);
    if (image == NULL)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "no such image on this node");
    for (uint32_t i = 0; i < store->count; i++) {
        if (strcmp(store->images[i].name, name) == 0)
            store->images[i].name[0] = '\0';
    }
    (void)ppn_text_copy(image->name, sizeof(image->name), name);
    image_store_sort(store);
    return image_names_save(store, failure);
}

enum ppn_error image_store_remove(struct image_store *store, const struct ppn_hash *hash,
                                  bool in_use, struct ppn_failure *failure)
{
    struct image *image = image_store_get(store, hash);
    char path[IMAGE_PATH_MAX + 1];
    if (image == NULL)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "no such image on this node");
    if (in_use)
        return ppn_fail(failure, PPN_ERROR_BUSY,
                        "VMs on this node rest on this image; remove them first: ppn ps");
    image_store_path(store, image, path);
    enum ppn_error error = os_file_remove(path, failure);
    if (error != PPN_OK)
        return error;
    *image = store->images[--store->count];
    image_store_sort(store);
    return image_names_save(store, failure);
}

enum ppn_error image_store_read(struct image_store *store, const struct ppn_hash *hash,
                                uint64_t offset, uint8_t *bytes, size_t capacity, size_t *size)
{
    const struct image *image = image_store_by_hash(store, hash);
    char path[IMAGE_PATH_MAX + 1];
    PPN_ASSERT(capacity <= IMAGE_FILE_MAX);
    if (image == NULL)
        return PPN_ERROR_NOT_FOUND;
    if (offset >= image->facts.file_bytes)
        return PPN_ERROR_INVALID;
    image_store_path(store, image, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return os_errno(errno);
    ssize_t got = pread(fd, bytes, capacity, (off_t)offset);
    enum ppn_error error = got < 0 ? os_errno(errno) : PPN_OK;
    (void)close(fd);
    *size = got < 0 ? 0 : (size_t)got;
    return error;
}

/* ---- start ---- */

static bool is_ours(const char *name, struct ppn_hash *hash, enum image_format *format)
{
    char hex[PPN_HEX_MAX];
    size_t size = strlen(name);
    if (size <= PPN_HEX_MAX || name[PPN_HEX_MAX - 1] != '.')
        return false;
    memcpy(hex, name, PPN_HEX_MAX - 1);
    hex[PPN_HEX_MAX - 1] = '\0';
    const char *ending = name + PPN_HEX_MAX;
    *format = strcmp(ending, "qcow2") == 0 ? IMAGE_QCOW2 : IMAGE_RAW;
    return (strcmp(ending, "qcow2") == 0 || strcmp(ending, "raw") == 0) &&
           ppn_unhex(hex, hash->bytes, sizeof(hash->bytes)) == PPN_OK;
}

static bool look_at(void *context, const char *name)
{
    struct image_store *store = context;
    char path[IMAGE_PATH_MAX + IMAGE_FILE_NAME + 2];
    static uint8_t header[IMAGE_HEADER_MAX];
    struct image image = {0};
    struct ppn_failure failure = {0};
    struct stat status;
    enum image_format format;
    (void)snprintf(path, sizeof(path), "%s/%s", store->directory, name);
    if (strncmp(name, "incoming-", 9) == 0) {
        (void)unlink(path);
        return true;
    }
    if (!is_ours(name, &image.hash, &format) || store->count == PPN_IMAGES_MAX)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t size = fd >= 0 && fstat(fd, &status) == 0 ? pread(fd, header, sizeof(header), 0) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (size >= 0 &&
        image_inspect(ppn_slice(header, (size_t)size), (uint64_t)status.st_size, &image.facts,
                      &failure) == PPN_OK &&
        image.facts.format == format)
        store->images[store->count++] = image;
    else
        ppn_log(PPN_LOG_WARN, "image-skipped", "file=%s cause=\"%s\"", name, failure.text);
    return true;
}

enum ppn_error image_store_open(struct os_loop *loop, struct os_worker *worker,
                                const char *state_dir, struct image_store **out,
                                struct ppn_failure *failure)
{
    struct image_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    store->loop = loop;
    store->worker = worker;
    int size = snprintf(store->directory, sizeof(store->directory), "%s/images", state_dir);
    enum ppn_error error =
        size < 0 || (size_t)size + IMAGE_FILE_NAME + 2 > sizeof(store->directory)
            ? ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path %s is too long", state_dir)
            : os_directory_make(store->directory, 0750, failure);
    if (error == PPN_OK)
        error = os_directory_each(store->directory, look_at, store, failure);
    if (error != PPN_OK) {
        free(store);
        return error;
    }
    image_names_load(store);
    image_store_sort(store);
    *out = store;
    return PPN_OK;
}

void image_store_close(struct image_store *store)
{
    if (store == NULL)
        return;
    image_jobs_close(store);
    free(store);
}
