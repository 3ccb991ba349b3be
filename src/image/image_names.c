// SPDX-License-Identifier: ISC
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "image/image_inside.h"
#include "os/os_file.h"

enum { NAMES_SCHEMA = 1, NAMES_FILE_MAX = 256 * 1024 };

static enum ppn_error names_path(const struct image_store *store, char *path)
{
    return os_path_join(path, IMAGE_PATH_MAX + 1, store->directory, "names.json");
}

static bool take_names(struct image_store *store, json_t *root)
{
    const char *name;
    json_t *value, *names = json_object_get(root, "names");
    if (json_integer_value(json_object_get(root, "schema")) != NAMES_SCHEMA ||
        !json_is_object(names))
        return false;
    json_object_foreach(names, name, value)
    {
        struct ppn_hash hash;
        const char *hex = json_string_value(value);
        if (!hex || !ppn_image_name_valid(name) || ppn_unhex(hex, hash.bytes, sizeof(hash.bytes)))
            return false;
        const struct image *image = image_store_by_hash(store, &hash);
        if (!image)
            continue; /* its file is gone */
        struct image_facts facts = image->facts;
        if (image_table_add(store, &hash, &facts, name))
            return false;
    }
    return true;
}

enum ppn_error image_names_load(struct image_store *store, struct ppn_failure *failure)
{
    char path[IMAGE_PATH_MAX + 1], aside[IMAGE_PATH_MAX + 16];
    uint8_t *text = NULL;
    size_t size = 0;
    enum ppn_error error = names_path(store, path);
    if (!error)
        error = os_file_read(path, NAMES_FILE_MAX, &text, &size, failure);
    if (error)
        return error == PPN_ERROR_NOT_FOUND ? PPN_OK : error;
    json_error_t where;
    json_t *root = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, &where);
    free(text);
    bool ok = root && take_names(store, root);
    json_decref(root);
    if (ok)
        return PPN_OK;
    (void)snprintf(aside, sizeof(aside), "%s.damaged", path);
    (void)rename(path, aside);
    ppn_log(PPN_LOG_ERROR, "image-names",
            "%s is damaged and was set aside; images keep their hashes, name them again", path);
    return PPN_OK;
}

enum ppn_error image_names_save(const struct image_store *store, struct ppn_failure *failure)
{
    char path[IMAGE_PATH_MAX + 1], hex[IMAGE_HEX_MAX];
    json_t *names = json_object();
    for (uint32_t i = 0; i < store->count; i++) {
        if (!store->images[i].name[0])
            continue;
        ppn_hex(store->images[i].hash.bytes, PPN_HASH_SIZE, hex);
        json_object_set_new(names, store->images[i].name, json_string(hex));
    }
    json_t *root = json_pack("{s:i, s:o}", "schema", NAMES_SCHEMA, "names", names);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    if (!text)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    enum ppn_error error = names_path(store, path);
    if (!error)
        error = os_file_replace(path, ppn_slice(text, strlen(text)), 0640, failure);
    free(text);
    return error;
}
