// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "api/api_fields.h"
#include "api/api_internal.h"
#include "base/assert.h"

const char *api_query_get(const struct api_query *query, const char *key)
{
    for (uint32_t i = 0; i < query->count; i++) {
        if (strcmp(query->keys[i], key) == 0)
            return query->values[i];
    }
    return NULL;
}

static enum ppn_error no_body(const struct api_call *call, struct ppn_failure *failure)
{
    struct api_fields fields = api_fields_open(call->body, failure);
    return api_fields_close(&fields);
}

/* "?follow", "?follow=1" and "?follow=true" mean yes. */
static enum ppn_error query_bool(const struct api_call *call, const char *key, bool *value,
                                 struct ppn_failure *failure)
{
    const char *text = api_query_get(call->query, key);
    if (text == NULL)
        return PPN_OK;
    *value = text[0] == '\0' || strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    if (!*value && strcmp(text, "0") != 0 && strcmp(text, "false") != 0)
        return ppn_fail(failure, PPN_ERROR_INVALID, "parameter \"%s\" must be true or false", key);
    return PPN_OK;
}

static enum ppn_error query_u64(const struct api_call *call, const char *key, uint64_t max,
                                uint64_t *value, struct ppn_failure *failure)
{
    const char *text = api_query_get(call->query, key);
    uint64_t number = 0;
    if (text == NULL)
        return PPN_OK;
    bool valid = text[0] != '\0';
    for (const char *c = text; *c != '\0' && valid; c++)
        valid = *c >= '0' && *c <= '9' && !__builtin_mul_overflow(number, 10U, &number) &&
                !__builtin_add_overflow(number, (uint64_t)(*c - '0'), &number) && number <= max;
    if (!valid)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "parameter \"%s\" must be a whole number up to %llu", key,
                        (unsigned long long)max);
    *value = number;
    return PPN_OK;
}

static enum ppn_error parse_vm_ref(const char *text, struct api_vm_ref *vm,
                                   struct ppn_failure *failure)
{
    vm->is_id = ppn_request_id_parse(text, &vm->id) == PPN_OK;
    if ((!vm->is_id && !ppn_name_valid(text)) || !ppn_text_copy(vm->text, sizeof(vm->text), text))
        return ppn_fail(failure, PPN_ERROR_INVALID, "this is no name and no id of a VM");
    return PPN_OK;
}

static bool fingerprint_valid(const char *text)
{
    if (strlen(text) != PPN_FINGERPRINT_TEXT - 1)
        return false;
    for (size_t i = 0; text[i] != '\0'; i++) {
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (i % 5 == 4 ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

static enum ppn_error parse_who_text(const char *text, struct api_who *who,
                                     struct ppn_failure *failure)
{
    if (strlen(text) == sizeof(who->text) - 1 &&
        ppn_unhex(text, who->id.bytes, sizeof(who->id.bytes)) == PPN_OK)
        who->kind = API_WHO_ID;
    else if (fingerprint_valid(text))
        who->kind = API_WHO_FINGERPRINT;
    else if (ppn_name_valid(text))
        who->kind = API_WHO_NAME;
    else
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "this is no node name, no fingerprint (xxxx-xxxx-xxxx-xxxx) and no id");
    bool fits = ppn_text_copy(who->text, sizeof(who->text), text);
    PPN_ASSERT(fits);
    return PPN_OK;
}

enum ppn_error api_parse_vm(const struct api_call *call, void *arguments,
                            struct ppn_failure *failure)
{
    enum ppn_error error = no_body(call, failure);
    return error != PPN_OK ? error : parse_vm_ref(call->argument, arguments, failure);
}

enum ppn_error api_parse_stop(const struct api_call *call, void *arguments,
                              struct ppn_failure *failure)
{
    struct api_stop *stop = arguments;
    struct api_fields fields = api_fields_open(call->body, failure);
    api_field_u32(&fields, "grace_seconds", 0, API_GRACE_SECONDS_MAX, &stop->grace_seconds);
    enum ppn_error error = api_fields_close(&fields);
    return error != PPN_OK ? error : parse_vm_ref(call->argument, &stop->vm, failure);
}

enum ppn_error api_parse_logs(const struct api_call *call, void *arguments,
                              struct ppn_failure *failure)
{
    struct api_logs *logs = arguments;
    uint64_t tail = 0;
    enum ppn_error error = query_bool(call, "follow", &logs->follow, failure);
    if (error == PPN_OK)
        error = query_u64(call, "tail", API_TAIL_LINES_MAX, &tail, failure);
    logs->tail_lines = (uint32_t)tail;
    return error != PPN_OK ? error : parse_vm_ref(call->argument, &logs->vm, failure);
}

enum ppn_error api_parse_who(const struct api_call *call, void *arguments,
                             struct ppn_failure *failure)
{
    enum ppn_error error = no_body(call, failure);
    return error != PPN_OK ? error : parse_who_text(call->argument, arguments, failure);
}

static void read_role(struct api_fields *fields, bool *relay)
{
    char role[16] = "node";
    api_field_text(fields, "role", role, sizeof(role));
    *relay = strcmp(role, "relay") == 0;
    if (!*relay && strcmp(role, "node") != 0)
        api_fields_fail(fields, "field \"role\" must be \"node\" or \"relay\"");
}

enum ppn_error api_parse_admit(const struct api_call *call, void *arguments,
                               struct ppn_failure *failure)
{
    struct api_admit *admit = arguments;
    struct api_fields fields = api_fields_open(call->body, failure);
    read_role(&fields, &admit->relay);
    api_field_u32(&fields, "lease_seconds", 1, API_LEASE_SECONDS_MAX, &admit->lease_seconds);
    api_field_labels(&fields, "labels", admit->labels, &admit->label_count);
    enum ppn_error error = api_fields_close(&fields);
    return error != PPN_OK ? error : parse_who_text(call->argument, &admit->who, failure);
}

enum ppn_error api_parse_revoke(const struct api_call *call, void *arguments,
                                struct ppn_failure *failure)
{
    struct api_revoke *revoke = arguments;
    struct api_fields fields = api_fields_open(call->body, failure);
    api_field_text(&fields, "reason", revoke->reason, sizeof(revoke->reason));
    for (const char *c = revoke->reason; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            api_fields_fail(&fields, "field \"reason\" must be one line of text");
    }
    enum ppn_error error = api_fields_close(&fields);
    return error != PPN_OK ? error : parse_who_text(call->argument, &revoke->who, failure);
}

enum ppn_error api_parse_invite(const struct api_call *call, void *arguments,
                                struct ppn_failure *failure)
{
    struct api_invite *invite = arguments;
    struct api_fields fields = api_fields_open(call->body, failure);
    invite->uses = 1;
    invite->ttl_seconds = 3600;
    api_field_u32(&fields, "uses", 1, API_INVITE_USES_MAX, &invite->uses);
    api_field_u32(&fields, "ttl_seconds", 1, API_TTL_SECONDS_MAX, &invite->ttl_seconds);
    read_role(&fields, &invite->relay);
    api_field_u32(&fields, "lease_seconds", 1, API_LEASE_SECONDS_MAX, &invite->lease_seconds);
    api_field_labels(&fields, "labels", invite->labels, &invite->label_count);
    return api_fields_close(&fields);
}

enum ppn_error api_parse_log(const struct api_call *call, void *arguments,
                             struct ppn_failure *failure)
{
    struct api_log_query *query = arguments;
    return query_bool(call, "verify", &query->verify, failure);
}

enum ppn_error api_parse_entries(const struct api_call *call, void *arguments,
                                 struct ppn_failure *failure)
{
    struct api_entries *entries = arguments;
    if (call->body.size == 0)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the body is empty: send signed entries as GET /v1/log/export gives them");
    entries->bytes = call->body;
    return PPN_OK;
}

static enum ppn_error parse_image_name(const char *text, char name[static PPN_NAME_MAX + 1],
                                       struct ppn_failure *failure)
{
    if (!ppn_image_name_valid(text) || !ppn_text_copy(name, PPN_NAME_MAX + 1, text))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "an image name is 1 to %d of a-z, 0-9, '-' and '.'", PPN_NAME_MAX);
    return PPN_OK;
}

enum ppn_error api_parse_image(const struct api_call *call, void *arguments,
                               struct ppn_failure *failure)
{
    struct api_image_ref *image = arguments;
    enum ppn_error error = no_body(call, failure);
    return error != PPN_OK ? error : parse_image_name(call->argument, image->name, failure);
}

enum ppn_error api_parse_image_put(const struct api_call *call, void *arguments,
                                   struct ppn_failure *failure)
{
    struct api_image_put *put = arguments;
    const char *sha256 = api_query_get(call->query, "sha256");
    if (sha256 != NULL && ppn_unhex(sha256, put->sha256, sizeof(put->sha256)) != PPN_OK)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "parameter \"sha256\" must be 64 hexadecimal digits");
    put->has_sha256 = sha256 != NULL;
    put->size_bytes = call->question->body_size == UINT64_MAX ? 0 : call->question->body_size;
    return parse_image_name(call->argument, put->name, failure);
}

enum ppn_error api_parse_labels(const struct api_call *call, void *arguments,
                                struct ppn_failure *failure)
{
    struct api_labels *labels = arguments;
    const char *key;
    json_t *value, *object;
    enum ppn_error error = api_body_object(call->body, &object, failure);
    if (error != PPN_OK)
        return error;
    if (json_object_size(object) == 0 || json_object_size(object) > PPN_LABELS_MAX)
        error = ppn_fail(failure, PPN_ERROR_INVALID,
                         "the body must be {\"key\":\"value\"} with 1 to %d labels, null removing",
                         PPN_LABELS_MAX);
    json_object_foreach(object, key, value)
    {
        if (error != PPN_OK)
            break;
        struct api_label_change *change = &labels->changes[labels->change_count++];
        const char *text = json_is_null(value) ? "" : json_string_value(value);
        change->remove = json_is_null(value);
        if (!ppn_name_valid(key) || text == NULL || !ppn_label_value_valid(text) ||
            !ppn_text_copy(change->label.key, sizeof(change->label.key), key) ||
            !ppn_text_copy(change->label.value, sizeof(change->label.value), text))
            error = ppn_fail(failure, PPN_ERROR_INVALID,
                             "label %u: a key is 1 to 63 of a-z, 0-9 and '-'; a value is up to 63 "
                             "printable characters without space, quote, backslash, comma or '='",
                             labels->change_count);
    }
    json_decref(object);
    return error;
}
