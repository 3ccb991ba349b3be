// SPDX-License-Identifier: ISC
#include "base/name.h"

#include <string.h>

#include "base/assert.h"

static bool name_valid(const char *name, bool dots)
{
    size_t size = strnlen(name, PPN_NAME_MAX + 1);
    if (size == 0 || size > PPN_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool inner = i > 0 && i + 1 < size;
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool mark = c == '-' || (dots && c == '.' && name[i - (i > 0)] != '.');
        if (!alnum && !(mark && inner))
            return false;
    }
    return true;
}

bool ppn_name_valid(const char *name)
{
    return name_valid(name, false);
}

bool ppn_image_name_valid(const char *name)
{
    return name_valid(name, true);
}

bool ppn_label_value_valid(const char *value)
{
    size_t size = strnlen(value, PPN_LABEL_VALUE_MAX + 1);
    if (size > PPN_LABEL_VALUE_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (value[i] <= ' ' || value[i] > '~' || strchr("\"'\\,=", value[i]) != NULL)
            return false;
    }
    return true;
}

bool ppn_text_copy(char *to, size_t capacity, const char *from)
{
    PPN_ASSERT(capacity > 0);
    size_t size = strnlen(from, capacity);
    bool whole = size < capacity;
    if (!whole)
        size = capacity - 1;
    memcpy(to, from, size);
    to[size] = '\0';
    return whole;
}
