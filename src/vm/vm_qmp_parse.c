// SPDX-License-Identifier: ISC
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/id.h"
#include "base/name.h"
#include "vm/vm_qmp.h"

static void copy(char *to, size_t capacity, const json_t *value)
{
    const char *text = json_string_value(value);
    (void)ppn_text_copy(to, capacity, text ? text : "");
}

static void parse_event(const json_t *root, const json_t *name, struct vm_qmp_message *message)
{
    const json_t *data = json_object_get(root, "data");
    message->kind = VM_QMP_EVENT;
    copy(message->word, sizeof(message->word), name);
    copy(message->reason, sizeof(message->reason), json_object_get(data, "reason"));
    message->guest = json_is_true(json_object_get(data, "guest"));
}

static void parse_answer(const json_t *root, const json_t *value, const json_t *error,
                         struct vm_qmp_message *message)
{
    const json_t *id = json_object_get(root, "id");
    message->id = json_is_integer(id) ? json_integer_value(id) : -1;
    if (error) {
        message->kind = VM_QMP_ERROR;
        copy(message->word, sizeof(message->word), json_object_get(error, "class"));
        copy(message->text, sizeof(message->text), json_object_get(error, "desc"));
        return;
    }
    message->kind = VM_QMP_RETURN;
    message->running = json_is_true(json_object_get(value, "running"));
    copy(message->text, sizeof(message->text), value);
}

void vm_qmp_parse(struct ppn_slice line, struct vm_qmp_message *message)
{
    memset(message, 0, sizeof(*message));
    message->kind = VM_QMP_OTHER;
    message->id = -1;
    if (line.size > VM_QMP_LINE_MAX)
        return;
    json_error_t where;
    json_t *root = json_loadb((const char *)line.data, line.size, JSON_ALLOW_NUL, &where);
    if (json_is_object(root)) {
        const json_t *event = json_object_get(root, "event");
        const json_t *value = json_object_get(root, "return");
        const json_t *error = json_object_get(root, "error");
        if (json_object_get(root, "QMP"))
            message->kind = VM_QMP_GREETING;
        else if (event)
            parse_event(root, event, message);
        else if (value || error)
            parse_answer(root, value, error, message);
    }
    json_decref(root);
}

bool vm_ready_parse(const char *text, const char *uuid, bool *errors)
{
    char wanted[PPN_UUID_TEXT + 16];
    int length = snprintf(wanted, sizeof(wanted), "ready %s ", uuid);
    PPN_ASSERT(length > 0 && (size_t)length < sizeof(wanted));
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++) {
        if (at != text && at[-1] != '\n')
            continue;
        const char *result = at + length;
        size_t size = strcspn(result, "\r\n");
        if (result[size] == 0)
            return false; /* the line has not ended yet */
        if ((size == 2 && !memcmp(result, "ok", 2)) ||
            (size == 6 && !memcmp(result, "errors", 6))) {
            *errors = size == 6;
            return true;
        }
    }
    return false;
}
