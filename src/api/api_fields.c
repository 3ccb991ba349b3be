// SPDX-License-Identifier: ISC
#include "api/api_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/assert.h"
#include "base/name.h"

enum { JSON_DEPTH_MAX = 8, JSON_VALUES_MAX = 4096 };

/* jansson allocates about a hundred bytes for a value of two: count before it does. Not a parser,
 * an upper bound; it errs only on text that is no JSON anyway. */
static enum ppn_error bounded(struct ppn_slice body, struct ppn_failure *failure)
{
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < body.size; i++) {
        uint8_t c = body.data[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            values++;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (depth > JSON_DEPTH_MAX || values > JSON_VALUES_MAX)
            return ppn_fail(failure, PPN_ERROR_TOO_BIG,
                            "the JSON body is nested over %d deep or has over %d values",
                            JSON_DEPTH_MAX, JSON_VALUES_MAX);
    }
    return PPN_OK;
}

enum ppn_error api_body_object(struct ppn_slice body, json_t **object, struct ppn_failure *failure)
{
    json_error_t why;
    *object = NULL;
    if (body.size == 0) {
        *object = json_object();
        return *object != NULL ? PPN_OK : ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    }
    enum ppn_error error = bounded(body, failure);
    if (error != PPN_OK)
        return error;
    *object = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &why);
    if (*object == NULL)
        return ppn_fail(failure, PPN_ERROR_INVALID, "the body is no valid JSON: line %d: %s",
                        why.line, why.text);
    if (!json_is_object(*object)) {
        json_decref(*object);
        *object = NULL;
        return ppn_fail(failure, PPN_ERROR_INVALID, "the body must be a JSON object");
    }
    return PPN_OK;
}

struct api_fields api_fields_open(struct ppn_slice body, struct ppn_failure *failure)
{
    struct api_fields fields = {NULL, PPN_OK, failure};
    fields.error = api_body_object(body, &fields.object, failure);
    return fields;
}

enum ppn_error api_fields_close(struct api_fields *fields)
{
    const char *key;
    json_t *value;
    if (fields->error == PPN_OK) {
        json_object_foreach(fields->object, key, value)
        {
            api_fields_fail(fields, "field \"%.40s\" is not known here", key);
            break;
        }
    }
    json_decref(fields->object);
    fields->object = NULL;
    return fields->error;
}

void api_fields_fail(struct api_fields *fields, const char *format, ...)
{
    char text[PPN_FAILURE_TEXT_MAX];
    va_list arguments;
    if (fields->error != PPN_OK)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    fields->error = ppn_fail(fields->failure, PPN_ERROR_INVALID, "%s", text);
}

bool api_fields_has(const struct api_fields *fields, const char *key)
{
    return fields->error == PPN_OK && json_object_get(fields->object, key) != NULL;
}

json_t *api_field_take(struct api_fields *fields, const char *key)
{
    if (fields->error != PPN_OK)
        return NULL;
    json_t *value = json_object_get(fields->object, key);
    if (value == NULL)
        return NULL;
    json_incref(value);
    (void)json_object_del(fields->object, key);
    return value;
}

void api_field_bool(struct api_fields *fields, const char *key, bool *value)
{
    json_t *json = api_field_take(fields, key);
    if (json == NULL)
        return;
    if (json_is_boolean(json))
        *value = json_is_true(json);
    else
        api_fields_fail(fields, "field \"%s\" must be true or false", key);
    json_decref(json);
}

void api_field_u64(struct api_fields *fields, const char *key, uint64_t min, uint64_t max,
                   uint64_t *value)
{
    PPN_ASSERT(min <= max && max <= INT64_MAX);
    json_t *json = api_field_take(fields, key);
    if (json == NULL)
        return;
    json_int_t number = json_integer_value(json);
    if (json_is_integer(json) && number >= (json_int_t)min && number <= (json_int_t)max)
        *value = (uint64_t)number;
    else
        api_fields_fail(fields, "field \"%s\" must be a whole number from %llu to %llu", key,
                        (unsigned long long)min, (unsigned long long)max);
    json_decref(json);
}

void api_field_u32(struct api_fields *fields, const char *key, uint32_t min, uint32_t max,
                   uint32_t *value)
{
    uint64_t wide = *value;
    api_field_u64(fields, key, min, max, &wide);
    *value = (uint32_t)wide;
}

void api_field_text(struct api_fields *fields, const char *key, char *text, size_t capacity)
{
    json_t *json = api_field_take(fields, key);
    if (json == NULL)
        return;
    if (!json_is_string(json))
        api_fields_fail(fields, "field \"%s\" must be a text", key);
    else if (!ppn_text_copy(text, capacity, json_string_value(json)))
        api_fields_fail(fields, "field \"%s\" is over %zu bytes", key, capacity - 1);
    json_decref(json);
}

void api_field_name(struct api_fields *fields, const char *key, bool image, char *text,
                    size_t capacity)
{
    bool there = api_fields_has(fields, key);
    api_field_text(fields, key, text, capacity);
    if (!there || fields->error != PPN_OK)
        return;
    if (!(image ? ppn_image_name_valid(text) : ppn_name_valid(text)))
        api_fields_fail(fields,
                        "field \"%s\": a name is 1 to %d of a-z, 0-9 and '-'%s, and does not "
                        "begin or end with '-'",
                        key, PPN_NAME_MAX, image ? " (or '.')" : "");
}

void api_field_labels(struct api_fields *fields, const char *key, struct ppn_label *labels,
                      uint32_t *count)
{
    const char *name;
    json_t *value;
    json_t *json = api_field_take(fields, key);
    if (json == NULL)
        return;
    *count = 0;
    if (!json_is_object(json))
        api_fields_fail(fields, "field \"%s\" must be an object {\"key\":\"value\"}", key);
    else if (json_object_size(json) > PPN_LABELS_MAX)
        api_fields_fail(fields, "field \"%s\" has over %d labels", key, PPN_LABELS_MAX);
    json_object_foreach(json, name, value)
    {
        if (fields->error != PPN_OK)
            break;
        struct ppn_label *label = &labels[*count];
        if (!ppn_name_valid(name) || !ppn_text_copy(label->key, sizeof(label->key), name))
            api_fields_fail(fields, "label \"%.70s\": a key is 1 to 63 of a-z, 0-9 and '-'", name);
        else if (!json_is_string(value) || !ppn_label_value_valid(json_string_value(value)) ||
                 !ppn_text_copy(label->value, sizeof(label->value), json_string_value(value)))
            api_fields_fail(fields,
                            "label \"%s\": a value is up to 63 printable characters without "
                            "space, quote, backslash, comma or '='",
                            name);
        else
            (*count)++;
    }
    json_decref(json);
}
