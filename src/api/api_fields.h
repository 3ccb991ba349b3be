// SPDX-License-Identifier: ISC
#pragma once

/* Reading the fields of a JSON body, strictly: each function checks one field and takes it out, and
 * what is left at the end was not understood and is an error. Absent fields leave the value as it
 * was. Errors name the field and what it should be. Inside src/api only. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/slice.h"

struct api_fields {
    json_t *object; /* owned */
    enum ppn_error error;
    struct ppn_failure *failure;
};

/* Parses; an empty body is {}. After any error all reading functions do nothing. */
struct api_fields api_fields_open(struct ppn_slice body, struct ppn_failure *failure);

/* The first error of all, INVALID for a field that nobody took; frees. */
enum ppn_error api_fields_close(struct api_fields *fields) PPN_CHECK;

/* Records an error, unless one is recorded already. */
void api_fields_fail(struct api_fields *fields, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool api_fields_has(const struct api_fields *fields, const char *key);
void api_field_bool(struct api_fields *fields, const char *key, bool *value);
void api_field_u64(struct api_fields *fields, const char *key, uint64_t min, uint64_t max,
                   uint64_t *value);
void api_field_u32(struct api_fields *fields, const char *key, uint32_t min, uint32_t max,
                   uint32_t *value);
/* At most capacity - 1 bytes. */
void api_field_text(struct api_fields *fields, const char *key, char *text, size_t capacity);
/* By ppn_name_valid, or ppn_image_name_valid. */
void api_field_name(struct api_fields *fields, const char *key, bool image, char *text,
                    size_t capacity);
/* {"key":"value"}, at most PPN_LABELS_MAX. */
void api_field_labels(struct api_fields *fields, const char *key, struct ppn_label *labels,
                      uint32_t *count);
/* The value itself, taken out of the object (caller releases), or NULL. */
json_t *api_field_take(struct api_fields *fields, const char *key);
