// SPDX-License-Identifier: ISC
#include "host/host_read.h"

#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "host/facts.h"
#include "os/os_file.h"

enum { FULL_PATH_MAX = 2048 };

static bool full_path(const char *root, const char *path, char full[static FULL_PATH_MAX])
{
    int size = snprintf(full, FULL_PATH_MAX, "%s%s", root, path);
    return size > 0 && size < FULL_PATH_MAX;
}

bool host_read(const char *root, const char *path, char text[static HOST_TEXT_MAX])
{
    char full[FULL_PATH_MAX];
    return full_path(root, path, full) && os_file_read_text(full, text, HOST_TEXT_MAX) == PPN_OK;
}

bool host_read_start(const char *root, const char *path, char text[static HOST_TEXT_MAX])
{
    char full[FULL_PATH_MAX];
    if (!full_path(root, path, full))
        return false;
    FILE *file = fopen(full, "re");
    if (file == NULL)
        return false;
    size_t size = fread(text, 1, HOST_TEXT_MAX - 1, file);
    text[size] = '\0';
    fclose(file);
    return size > 0;
}

bool host_number(const char *text, uint64_t *value)
{
    *value = 0;
    while (*text == ' ' || *text == '\t')
        text++;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
            return false;
    }
    return true;
}

bool host_read_number(const char *root, const char *path, uint64_t *value)
{
    char text[HOST_TEXT_MAX];
    return host_read(root, path, text) && host_number(text, value);
}

static bool take_name(void *context, const char *name)
{
    struct host_names *names = context;
    if (names->count == HOST_ENTRIES_MAX)
        return false;
    if (ppn_text_copy(names->names[names->count], sizeof(names->names[0]), name))
        names->count++;
    return true;
}

void host_list(const char *root, const char *path, struct host_names *names)
{
    char full[FULL_PATH_MAX];
    names->count = 0;
    if (!full_path(root, path, full) || os_directory_each(full, take_name, names, NULL) != PPN_OK)
        return;
}
