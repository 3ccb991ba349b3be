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
#include "image/image_inside.h"
#include "os/os_file.h"

enum { HASH_DIGITS_MIN = 8 };

void image_file_name(const struct ppn_hash *hash, enum image_format format, char *name)
{
    char hex[IMAGE_HEX_MAX];
    ppn_hex(hash->bytes, PPN_HASH_SIZE, hex);
    (void)snprintf(name, IMAGE_FILE_NAME_MAX, "%s.%s", hex, image_format_name(format));
}

static int compare(const void *left, const void *right)
{
    const struct image *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : ppn_hash_compare(&a->hash, &b->hash);
}

static void sort(struct image_store *store)
{
    qsort(store->images, store->count, sizeof(store->images[0]), compare);
}

static uint32_t entries_of(const struct image_store *store, const struct ppn_hash *hash)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->count; i++)
        count += ppn_hash_equal(&store->images[i].hash, hash);
    return count;
}

/* Takes a name away; an image's last entry stays, without a name. */
static void drop_name(struct image_store *store, const char *name)
{
    for (uint32_t i = 0; i < store->count; i++) {
        struct image *image = &store->images[i];
        if (strcmp(image->name, name) != 0)
            continue;
        if (entries_of(store, &image->hash) == 1)
            image->name[0] = 0;
        else
            *image = store->images[--store->count];
        return;
    }
}

enum ppn_error image_table_add(struct image_store *store, const struct ppn_hash *hash,
                               const struct image_facts *facts, const char *name)
{
    PPN_ASSERT(!name[0] || ppn_image_name_valid(name));
    const struct image *named = name[0] ? image_store_find(store, name) : NULL;
    if (named && !strcmp(named->name, name) && ppn_hash_equal(&named->hash, hash))
        return PPN_OK;
    if (name[0])
        drop_name(store, name);
    struct image *target = NULL;
    for (uint32_t i = 0; i < store->count; i++) {
        struct image *image = &store->images[i];
        if (ppn_hash_equal(&image->hash, hash) && (!image->name[0] || !name[0]))
            target = image;
    }
    if (!target) {
        if (store->count == PPN_IMAGES_MAX)
            return PPN_ERROR_FULL;
        target = &store->images[store->count++];
        *target = (struct image){.hash = *hash, .facts = *facts};
    }
    if (name[0])
        (void)ppn_text_copy(target->name, sizeof(target->name), name);
    sort(store);
    return PPN_OK;
}

/* A file with its final name was whole when it got it; its header says the rest. */
static void add_file(struct image_store *store, const char *file, const struct ppn_hash *hash)
{
    struct ppn_failure failure = {0};
    struct image_facts facts;
    struct stat status;
    int fd = -1;
    if (os_file_open_beneath(store->directory, file, O_RDONLY, 0, &fd, &failure)) {
        ppn_log(PPN_LOG_ERROR, "image-skipped", "%s", failure.text);
        return;
    }
    uint8_t *header = malloc(IMAGE_HEADER_MAX);
    ssize_t size = header ? pread(fd, header, IMAGE_HEADER_MAX, 0) : -1;
    bool ok = size >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    close(fd);
    char expected[IMAGE_FILE_NAME_MAX];
    ok = ok && !image_inspect(ppn_slice(header, (size_t)size), (uint64_t)status.st_size, &facts,
                              &failure);
    free(header);
    if (!ok) {
        ppn_log(PPN_LOG_ERROR, "image-skipped", "file=%s %s", file, failure.text);
        return;
    }
    image_file_name(hash, facts.format, expected);
    if (strcmp(expected, file) != 0)
        ppn_log(PPN_LOG_ERROR, "image-skipped", "file=%s its content is of another format", file);
    else if (image_table_add(store, hash, &facts, ""))
        ppn_log(PPN_LOG_ERROR, "image-skipped", "file=%s more than %d images", file,
                PPN_IMAGES_MAX);
}

static bool look_at(void *context, const char *file)
{
    struct image_store *store = context;
    char hex[IMAGE_HEX_MAX] = "";
    struct ppn_hash hash;
    if (!strncmp(file, "incoming-", 9)) {
        (void)!os_directory_remove(store->directory, file, NULL);
        return true;
    }
    if (strlen(file) < IMAGE_HEX_MAX)
        return true;
    memcpy(hex, file, IMAGE_HEX_MAX - 1);
    const char *rest = file + IMAGE_HEX_MAX - 1;
    if (!ppn_unhex(hex, hash.bytes, sizeof(hash.bytes)) &&
        (!strcmp(rest, ".qcow2") || !strcmp(rest, ".raw")))
        add_file(store, file, &hash);
    return true;
}

enum ppn_error image_store_open(struct os_loop *loop, struct os_worker *worker,
                                const char *state_dir, struct image_store **out,
                                struct ppn_failure *failure)
{
    struct image_store *store = calloc(1, sizeof(*store));
    if (!store)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    store->loop = loop;
    store->worker = worker;
    int length = snprintf(store->directory, sizeof(store->directory), "%s/images", state_dir);
    enum ppn_error error = PPN_OK;
    if (length < 0 || (size_t)length + IMAGE_FILE_NAME_MAX > sizeof(store->directory))
        error = ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path of the state directory is too long");
    if (!error)
        error = os_directory_make(store->directory, 0750, failure);
    if (!error)
        error = os_directory_each(store->directory, look_at, store, failure);
    if (!error)
        error = image_names_load(store, failure);
    if (error) {
        free(store);
        return error;
    }
    *out = store;
    return PPN_OK;
}

void image_store_close(struct image_store *store)
{
    if (!store)
        return;
    store->closing = true;
    image_check_cancel_all(store);
    free(store);
}

const struct image *image_store_by_hash(const struct image_store *store,
                                        const struct ppn_hash *hash)
{
    for (uint32_t i = 0; i < store->count; i++)
        if (ppn_hash_equal(&store->images[i].hash, hash))
            return &store->images[i];
    return NULL;
}

const struct image *image_store_find(const struct image_store *store, const char *name)
{
    const struct image *found = NULL;
    char hex[IMAGE_HEX_MAX];
    for (uint32_t i = 0; i < store->count; i++)
        if (name[0] && !strcmp(store->images[i].name, name))
            return &store->images[i];
    size_t digits = strlen(name);
    if (digits < HASH_DIGITS_MIN || digits >= IMAGE_HEX_MAX)
        return NULL;
    for (uint32_t i = 0; i < store->count; i++) {
        ppn_hex(store->images[i].hash.bytes, PPN_HASH_SIZE, hex);
        if (strncmp(hex, name, digits) != 0)
            continue;
        if (found && !ppn_hash_equal(&found->hash, &store->images[i].hash))
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

void image_store_path(const struct image_store *store, const struct image *image, char *path)
{
    char name[IMAGE_FILE_NAME_MAX];
    image_file_name(&image->hash, image->facts.format, name);
    enum ppn_error error = os_path_join(path, IMAGE_PATH_MAX + 1, store->directory, name);
    PPN_ASSERT(error == PPN_OK);
}

enum ppn_error image_store_name(struct image_store *store, const struct ppn_hash *hash,
                                const char *name, struct ppn_failure *failure)
{
    const struct image *image = image_store_by_hash(store, hash);
    if (!image)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "no such image on this node");
    if (!ppn_image_name_valid(name))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "an image's name is 1 to 63 of a-z, 0-9, '-' and '.'");
    struct image_facts facts = image->facts;
    struct ppn_hash copy = *hash;
    if (image_table_add(store, &copy, &facts, name))
        return ppn_fail(failure, PPN_ERROR_FULL, "this node has %d images already", PPN_IMAGES_MAX);
    return image_names_save(store, failure);
}

enum ppn_error image_store_remove(struct image_store *store, const struct ppn_hash *hash,
                                  bool in_use, struct ppn_failure *failure)
{
    const struct image *image = image_store_by_hash(store, hash);
    struct ppn_hash gone = *hash;
    char path[IMAGE_PATH_MAX + 1];
    if (!image)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "no such image on this node");
    if (in_use)
        return ppn_fail(failure, PPN_ERROR_BUSY,
                        "a VM's disk rests on this image; remove the VM first");
    image_store_path(store, image, path);
    enum ppn_error error = os_file_remove(path, failure);
    if (error)
        return error;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < store->count; i++)
        if (!ppn_hash_equal(&store->images[i].hash, &gone))
            store->images[kept++] = store->images[i];
    store->count = kept;
    return image_names_save(store, failure);
}

enum ppn_error image_store_read(struct image_store *store, const struct ppn_hash *hash,
                                uint64_t offset, uint8_t *bytes, size_t capacity, size_t *size)
{
    const struct image *image = image_store_by_hash(store, hash);
    if (!image)
        return PPN_ERROR_NOT_FOUND;
    if (offset >= image->facts.file_bytes)
        return PPN_ERROR_INVALID;
    char name[IMAGE_FILE_NAME_MAX];
    image_file_name(&image->hash, image->facts.format, name);
    int fd = -1;
    enum ppn_error error = os_file_open_beneath(store->directory, name, O_RDONLY, 0, &fd, NULL);
    if (error)
        return error;
    ssize_t got = pread(fd, bytes, capacity, (off_t)offset);
    error = got < 0 ? os_errno(errno) : PPN_OK;
    close(fd);
    *size = got > 0 ? (size_t)got : 0;
    return error;
}
