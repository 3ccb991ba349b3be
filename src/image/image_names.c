// SPDX-License-Identifier: ISC
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "image/image_internal.h"
#include "os/os_file.h"

enum { NAMES_MAX = 256 * 1024 };

static void path_of(const struct image_store *store, char *path, size_t capacity)
{
    (void)snprintf(path, capacity, "%s/names.json", store->directory);
}

static void set_aside(const char *path)
{
    char aside[IMAGE_PATH_MAX + 32];
    (void)snprintf(aside, sizeof(aside), "%s.damaged", path);
    (void)rename(path, aside);
    ppn_log(PPN_LOG_WARN, "image-names",
            "text=\"the names of images were damaged and are set aside; images keep their hashes\" "
            "file=%s",
            aside);
}

void image_names_load(struct image_store *store)
{
    char path[IMAGE_PATH_MAX + 16];
    uint8_t *bytes;
    size_t size;
    const char *name;
    json_t *value;
    path_of(store, path, sizeof(path));
    if (!os_file_exists(path) || os_file_read(path, NAMES_MAX, &bytes, &size, NULL) != PPN_OK)
        return;
    json_t *root = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);
    json_t *names = json_object_get(root, "names");
    if (!json_is_object(names)) {
        json_decref(root);
        set_aside(path);
        return;
    }
    json_object_foreach(names, name, value)
    {
        struct ppn_hash hash;
        const char *hex = json_string_value(value);
        if (hex == NULL || !ppn_image_name_valid(name) ||
            ppn_unhex(hex, hash.bytes, sizeof(hash.bytes)) != PPN_OK)
            continue;
        struct image *image = image_store_get(store, &hash);
        if (image != NULL)
            (void)ppn_text_copy(image->name, sizeof(image->name), name);
    }
    json_decref(root);
}

enum ppn_error image_names_save(const struct image_store *store, struct ppn_failure *failure)
{
    char path[IMAGE_PATH_MAX + 16], hex[PPN_HEX_MAX];
    json_t *names = json_object();
    for (uint32_t i = 0; i < store->count; i++) {
        const struct image *image = &store->images[i];
        if (image->name[0] == '\0')
            continue;
        ppn_hex(image->hash.bytes, sizeof(image->hash.bytes), hex);
        (void)json_object_set_new(names, image->name, json_string(hex));
    }
    json_t *root = json_pack("{s:i,s:o}", "schema", 1, "names", names);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    if (text == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    path_of(store, path, sizeof(path));
    enum ppn_error error = os_file_replace(path, ppn_slice(text, strlen(text)), 0640, failure);
    free(text);
    return error;
}
