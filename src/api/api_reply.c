// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_internal.h"
#include "api/api_json.h"
#include "base/assert.h"

static const char json_media_type[] = "application/json";
static const char lines_type[] = "application/x-ndjson";
static const char bytes_type[] = "application/octet-stream";

/* Bounded by API_REPLY_MAX. What does not fit (or finds no memory) is told by failed_reply(). */
static bool reply_add(struct api_request *request, const char *bytes, size_t size)
{
    if (request->orphan)
        return true;
    return size <= API_REPLY_MAX - request->queue.size &&
           api_queue_add(&request->queue, bytes, size);
}

static unsigned http_status(enum ppn_error code)
{
    switch (code) {
    case PPN_ERROR_INVALID:
        return 400;
    case PPN_ERROR_UNAUTHORIZED:
    case PPN_ERROR_SIGNATURE:
    case PPN_ERROR_PERMISSION:
        return 403;
    case PPN_ERROR_NOT_FOUND:
        return 404;
    case PPN_ERROR_EXISTS:
    case PPN_ERROR_CONFLICT:
    case PPN_ERROR_STALE:
    case PPN_ERROR_REFUSED:
    case PPN_ERROR_CANCELLED:
        return 409;
    case PPN_ERROR_TOO_BIG:
        return 413;
    case PPN_ERROR_UNSUPPORTED:
    case PPN_ERROR_VERSION:
        return 501;
    case PPN_ERROR_UNREACHABLE:
    case PPN_ERROR_CLOSED:
        return 502;
    case PPN_ERROR_BUSY:
    case PPN_ERROR_FULL:
    case PPN_ERROR_NO_CANDIDATE:
        return 503;
    case PPN_ERROR_TIMEOUT:
        return 504;
    case PPN_ERROR_NO_SPACE:
        return 507;
    case PPN_ERROR_OK:
    case PPN_ERROR_NO_MEMORY:
    case PPN_ERROR_IO:
    case PPN_ERROR_CORRUPT:
    case PPN_ERROR_COUNT:
        break;
    }
    return 500;
}

/* The text of {"schema":1,KEY:value} or, without schema, {KEY:value}; NULL: out of memory. */
static char *wrapped(const char *key, json_t *value, bool schema)
{
    json_t *object = json_object();
    char *text = NULL;
    if (schema && json_object_set_new(object, "schema", json_integer(API_SCHEMA)) != 0)
        json_decref(value);
    else if (json_object_set_new(object, key, value) == 0)
        text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static void reply_failed(struct api_request *request)
{
    static const char text[] = "{\"schema\":1,\"error\":{\"code\":\"no_memory\","
                               "\"message\":\"the answer does not fit into memory\"}}\n";
    api_queue_free(&request->queue);
    (void)reply_add(request, text, sizeof(text) - 1);
    api_request_answer_begin(request, API_ANSWER_WHOLE, 500, json_media_type);
    api_request_answer_end(request);
}

/* One whole answer from a text that is freed here. */
static void reply_text(struct api_request *request, unsigned status, char *text)
{
    PPN_ASSERT(request->owed && !request->answering);
    bool ok = text != NULL && reply_add(request, text, strlen(text)) && reply_add(request, "\n", 1);
    free(text);
    if (!ok) {
        reply_failed(request);
        return;
    }
    api_request_answer_begin(request, API_ANSWER_WHOLE, status, json_media_type);
    api_request_answer_end(request);
}

static void reply_object(struct api_request *request, json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    reply_text(request, 200, text);
}

static char *failure_text(const struct ppn_failure *failure, bool schema)
{
    return wrapped("error", api_json_failure(failure->code, failure->text), schema);
}

void api_reply_failure(struct api_request *request, const struct ppn_failure *failure)
{
    PPN_ASSERT(request->owed);
    if (!request->answering) {
        api_queue_free(&request->queue); /* of a list that was begun */
        reply_text(request, http_status(failure->code), failure_text(failure, true));
        return;
    }
    bool lines = request->answer.kind == API_ANSWER_STREAM &&
                 strcmp(request->answer.content_type, lines_type) == 0;
    if (lines && !request->orphan) {
        char *text = failure_text(failure, false);
        if (text != NULL && api_queue_add(&request->queue, text, strlen(text)))
            (void)api_queue_add(&request->queue, "\n", 1);
        free(text);
    }
    request->failed = !lines;
    api_request_answer_end(request);
}

void api_reply_error(struct api_request *request, enum ppn_error code, const char *format, ...)
{
    struct ppn_failure failure = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(failure.text, sizeof(failure.text), format, arguments);
    va_end(arguments);
    api_reply_failure(request, &failure);
}

void api_reply_done(struct api_request *request, const char *text)
{
    json_t *object = json_pack("{s:i,s:b}", "schema", API_SCHEMA, "ok", 1);
    if (text != NULL && json_object_set_new(object, "message", json_string(text)) != 0) {
        json_decref(object);
        object = NULL;
    }
    reply_object(request, object);
}

void api_reply_status(struct api_request *request, const struct api_status *status)
{
    reply_object(request, api_json_status(status));
}

void api_reply_vm(struct api_request *request, const struct api_vm_view *vm)
{
    reply_text(request, 200, wrapped("vm", api_json_vm(vm), true));
}

void api_reply_invite(struct api_request *request, const struct api_invite_view *invite)
{
    reply_object(request, api_json_invite(invite));
}

void api_reply_path(struct api_request *request, const struct api_path_view *path)
{
    reply_object(request, api_json_path(path));
}

void api_reply_node(struct api_request *request, const struct ppn_node_id *id, const char *name)
{
    reply_text(request, 200, wrapped("node", api_json_member(id, name), true));
}

/* ---- lists: written as text at once, so that no tree of 10,000 nodes is ever built ---- */

void api_list_begin(struct api_request *request, enum api_list list)
{
    static const char *const keys[] = {"nodes", "vms", "joins", "entries", "images", "nodes"};
    char head[64];
    PPN_ASSERT(request->owed && !request->answering && request->queue.size == 0);
    PPN_ASSERT((size_t)list < sizeof(keys) / sizeof(keys[0]));
    int size = snprintf(head, sizeof(head), "{\"schema\":%d,\"%s\":[", API_SCHEMA, keys[list]);
    request->list_started = false;
    request->list_failed = !reply_add(request, head, (size_t)size);
    request->list_tail[0] = '\0';
}

static void list_add(struct api_request *request, json_t *object)
{
    PPN_ASSERT(request->owed && !request->answering);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    bool ok = text != NULL && (!request->list_started || reply_add(request, ",\n", 2)) &&
              reply_add(request, text, strlen(text));
    free(text);
    request->list_started = true;
    if (!ok)
        request->list_failed = true;
}

void api_list_add_node(struct api_request *request, const struct api_node_view *node)
{
    list_add(request, api_json_node(node));
}

void api_list_add_vm(struct api_request *request, const struct api_vm_view *vm)
{
    list_add(request, api_json_vm(vm));
}

void api_list_add_join(struct api_request *request, const struct api_join_view *join)
{
    list_add(request, api_json_join(join));
}

void api_list_add_entry(struct api_request *request, const struct api_log_entry_view *entry)
{
    list_add(request, api_json_entry(entry));
}

void api_list_add_image(struct api_request *request, const struct api_image_view *image)
{
    list_add(request, api_json_image(image));
}

void api_list_add_row(struct api_request *request, const struct api_placement_row *row)
{
    list_add(request, api_json_row(row));
}

void api_list_set_verdict(struct api_request *request, const struct api_log_verdict *verdict)
{
    json_t *object = api_json_verdict(verdict);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    int size = text == NULL ? -1
                            : snprintf(request->list_tail, sizeof(request->list_tail),
                                       ",\"verdict\":%s", text);
    free(text);
    if (size < 0 || (size_t)size >= sizeof(request->list_tail))
        request->list_failed = true;
}

void api_list_end(struct api_request *request)
{
    PPN_ASSERT(request->owed && !request->answering);
    if (request->list_failed || !reply_add(request, "]", 1) ||
        !reply_add(request, request->list_tail, strlen(request->list_tail)) ||
        !reply_add(request, "}\n", 2)) {
        reply_failed(request);
        return;
    }
    api_request_answer_begin(request, API_ANSWER_WHOLE, 200, json_media_type);
    api_request_answer_end(request);
}

/* ---- streams ---- */

void api_stream_begin(struct api_request *request, enum api_stream_kind kind)
{
    PPN_ASSERT(request->owed && !request->answering);
    api_request_answer_begin(request, API_ANSWER_STREAM, 200,
                             kind == API_STREAM_LINES ? lines_type : bytes_type);
    if (!request->orphan)
        api_request_wake(request);
}

size_t api_stream_room(const struct api_request *request)
{
    size_t max = request->queue_max;
    return request->queue.size < max ? max - request->queue.size : 0;
}

enum ppn_error api_stream_bytes(struct api_request *request, struct ppn_slice bytes)
{
    PPN_ASSERT(request->owed && request->answering);
    PPN_ASSERT(request->answer.kind != API_ANSWER_WHOLE);
    if (request->orphan || bytes.size == 0)
        return PPN_OK;
    if (bytes.size > api_stream_room(request)) {
        request->was_full = true;
        return PPN_ERROR_FULL;
    }
    if (!api_queue_add(&request->queue, bytes.data, bytes.size))
        return PPN_ERROR_NO_MEMORY;
    if (request->queue.size > request->queue_max / 2)
        request->was_full = true;
    api_request_wake(request);
    return PPN_OK;
}

void api_stream_end(struct api_request *request)
{
    PPN_ASSERT(request->owed);
    if (request->answering)
        api_request_answer_end(request);
    else
        api_reply_error(request, PPN_ERROR_CLOSED, "the answer ended before it began; try again");
}

/* One line, all or none; text is freed here. */
static enum ppn_error stream_line(struct api_request *request, char *text)
{
    if (!request->answering)
        api_stream_begin(request, API_STREAM_LINES);
    if (text == NULL)
        return PPN_ERROR_NO_MEMORY;
    size_t size = strlen(text);
    text[size] = '\n'; /* in the NUL's place: the length is carried beside */
    enum ppn_error error = api_stream_bytes(request, ppn_slice(text, size + 1));
    free(text);
    return error;
}

void api_stream_progress(struct api_request *request, const struct api_progress *progress)
{
    /* Half of the queue stays free, so that the last line always fits. */
    if (request->answering && api_stream_room(request) < API_STREAM_QUEUE_MAX / 2)
        return;
    (void)stream_line(request, wrapped("progress", api_json_progress(progress), false));
}

static void stream_last(struct api_request *request, char *text)
{
    bool sent = stream_line(request, text) == PPN_OK;
    if (sent)
        api_stream_end(request);
    else
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "ppn-node is out of memory");
}

void api_stream_vm(struct api_request *request, const struct api_vm_view *vm)
{
    stream_last(request, wrapped("vm", api_json_vm(vm), false));
}

void api_stream_image(struct api_request *request, const struct api_image_view *image)
{
    stream_last(request, wrapped("image", api_json_image(image), false));
}

enum ppn_error api_stream_event(struct api_request *request, const struct api_event *event)
{
    static const char overrun[] = "{\"type\":\"overrun\"}\n";
    json_t *object = api_json_event(event);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (stream_line(request, text) == PPN_OK)
        return PPN_OK;
    (void)api_queue_add(&request->queue, overrun, sizeof(overrun) - 1);
    api_stream_end(request);
    return PPN_ERROR_FULL;
}

void api_upgrade(struct api_request *request)
{
    PPN_ASSERT(request->owed && !request->answering);
    PPN_ASSERT(request->route->shape == API_SHAPE_CONSOLE);
    api_request_answer_begin(request, API_ANSWER_UPGRADE, 101, NULL);
    if (!request->orphan)
        api_request_wake(request);
}

void api_relay_head(struct api_request *request, unsigned status, const char *content_type)
{
    const char *const types[] = {json_media_type, lines_type, bytes_type};
    const char *type = bytes_type;
    PPN_ASSERT(request->owed);
    if (request->answering)
        return;
    if (status == 101 && request->route->shape == API_SHAPE_CONSOLE) {
        api_upgrade(request);
        return;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && content_type != NULL; i++) {
        if (strcmp(content_type, types[i]) == 0)
            type = types[i];
    }
    if (request->queue_max < API_RELAY_QUEUE_MAX)
        request->queue_max = API_RELAY_QUEUE_MAX;
    api_request_answer_begin(request, API_ANSWER_STREAM,
                             status >= 200 && status <= 599 ? status : 502, type);
    if (!request->orphan)
        api_request_wake(request);
}
