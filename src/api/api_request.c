// SPDX-License-Identifier: ISC
#include "api/api_request.h"

#include <stdlib.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/assert.h"
#include "base/name.h"

static uint32_t requests_open;

enum api_method api_request_method(const struct api_request *request)
{
    return request->question.method;
}

const char *api_request_target(const struct api_request *request)
{
    return request->target;
}

struct ppn_slice api_request_body_bytes(const struct api_request *request)
{
    return ppn_slice(request->body, request->body_size);
}

struct api_asker api_request_asker(const struct api_request *request)
{
    return request->question.asker;
}

void api_request_watch(struct api_request *request, const struct api_watch *watch)
{
    PPN_ASSERT(request->owed);
    request->watch = *watch;
}

void api_request_wake(struct api_request *request)
{
    if (request->transport.wake != NULL)
        request->transport.wake(request->transport.context, request);
}

void api_request_resume(struct api_request *request)
{
    if (!request->body_paused)
        return;
    request->body_paused = false;
    if (request->transport.resume != NULL)
        request->transport.resume(request->transport.context, request);
}

void api_request_answer_begin(struct api_request *request, enum api_answer_kind kind,
                              unsigned status, const char *content_type)
{
    PPN_ASSERT(!request->answering);
    PPN_ASSERT(status >= 100 && status <= 599);
    request->answer = (struct api_answer){kind, status, content_type, 0};
    request->answering = true;
}

static void destroy(struct api_request *request)
{
    if (request->arguments != NULL && request->route->release != NULL)
        request->route->release(request->arguments);
    free(request->arguments);
    free(request->body);
    api_queue_free(&request->queue);
    free(request);
    PPN_ASSERT(requests_open > 0);
    requests_open--;
}

void api_request_answer_end(struct api_request *request)
{
    PPN_ASSERT(request->answering && !request->ended);
    request->ended = true;
    request->owed = false;
    request->watch = (struct api_watch){0};
    if (request->answer.kind == API_ANSWER_WHOLE)
        request->answer.size = request->queue.size;
    bool paused = request->body_paused;
    request->body_paused = false;
    if (paused && request->transport.resume != NULL)
        request->transport.resume(request->transport.context, request); /* to be swallowed */
    if (request->orphan)
        destroy(request);
    else
        api_request_wake(request);
}

static enum ppn_error prepare(struct api_request *request, struct ppn_failure *failure)
{
    const struct api_route *route = request->route;
    if (!route->present(request->backend) && request->backend->closed != NULL)
        return ppn_fail(failure, PPN_ERROR_UNSUPPORTED, "%s", request->backend->closed);
    if (!route->present(request->backend))
        return ppn_fail(failure, PPN_ERROR_UNSUPPORTED,
                        "%s %s is not supported by this version of ppn-node (%s)",
                        api_method_name(request->question.method), request->target, PPN_VERSION);
    if (route->arguments_size == 0)
        return PPN_OK;
    request->arguments = calloc(1, route->arguments_size);
    if (request->arguments == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "ppn-node is out of memory");
    struct api_call call = {request->argument, &request->query, api_request_body_bytes(request),
                            &request->question};
    return route->parse(&call, request->arguments, failure);
}

static void dispatch(struct api_request *request)
{
    struct ppn_failure failure = {0};
    PPN_ASSERT(!request->dispatched);
    request->dispatched = true;
    request->owed = true;
    if (prepare(request, &failure) != PPN_OK) {
        api_reply_failure(request, &failure);
        return;
    }
    request->route->call(request->backend, request, request->arguments);
}

/* An answer before any backend was asked. */
static void refuse(struct api_request *request, enum ppn_error code, const char *text)
{
    PPN_ASSERT(!request->dispatched);
    request->dispatched = true;
    request->owed = true;
    api_reply_error(request, code, "%s", text);
}

_Static_assert(API_BODY_MAX == 256 * 1024, "said in a text below");

static enum ppn_error check_question(struct api_request *request, struct ppn_failure *failure)
{
    const struct api_question *question = &request->question;
    request->route = api_route_find(question, request->argument, &request->query, failure);
    if (request->route == NULL)
        return failure->code;
    request->queue_max = request->route->queue_max;
    if (!question->asker.local && request->route->scope == API_SCOPE_LOCAL)
        return ppn_fail(failure, PPN_ERROR_UNAUTHORIZED,
                        "this is only taken from the node's own socket; run the command there");
    if (request->route->shape == API_SHAPE_CONSOLE && !question->upgrade)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the console needs an upgraded connection: send the headers "
                        "\"Connection: Upgrade\" and \"Upgrade: ppn-console\"");
    if (request->route->shape == API_SHAPE_UPLOAD)
        return PPN_OK;
    uint64_t size = question->body_size == UINT64_MAX ? 0 : question->body_size;
    if (size > 0 && !request->route->takes_body)
        return ppn_fail(failure, PPN_ERROR_INVALID, "this request takes no body");
    if (size > API_BODY_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the body is over 256 KiB");
    return PPN_OK;
}

enum ppn_error api_request_open(struct api_request **request, const struct api_backend *backend,
                                const struct api_transport *transport,
                                const struct api_question *question)
{
    struct ppn_failure failure = {0};
    *request = NULL;
    if (requests_open >= API_REQUESTS_MAX)
        return PPN_ERROR_FULL;
    struct api_request *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PPN_ERROR_NO_MEMORY;
    requests_open++;
    r->backend = backend;
    r->transport = *transport;
    r->question = *question;
    bool fits = ppn_text_copy(r->target, sizeof(r->target), question->target);
    r->question.target = r->target;
    *request = r;
    enum ppn_error error =
        fits ? check_question(r, &failure)
             : ppn_fail(&failure, PPN_ERROR_TOO_BIG, "the path is over %d bytes", API_TARGET_MAX);
    if (error != PPN_OK)
        refuse(r, failure.code, failure.text);
    else if (r->route->shape == API_SHAPE_UPLOAD)
        dispatch(r);
    return PPN_OK;
}

static size_t feed_streamed(struct api_request *request, struct ppn_slice bytes)
{
    if (request->watch.body == NULL)
        return bytes.size;
    size_t taken = request->watch.body(request->watch.context, request, bytes);
    PPN_ASSERT(taken <= bytes.size);
    if (request->ended)
        return bytes.size;
    request->body_paused = taken < bytes.size;
    return taken;
}

static void feed_buffered(struct api_request *request, struct ppn_slice bytes)
{
    if (!request->route->takes_body) {
        refuse(request, PPN_ERROR_INVALID, "this request takes no body");
        return;
    }
    if (bytes.size > API_BODY_MAX - request->body_size) {
        refuse(request, PPN_ERROR_TOO_BIG, "the body is over 256 KiB");
        return;
    }
    if (request->body_size + bytes.size > request->body_capacity) {
        size_t capacity = 2 * (request->body_size + bytes.size);
        uint8_t *body = realloc(request->body, capacity);
        if (body == NULL) {
            refuse(request, PPN_ERROR_NO_MEMORY, "ppn-node is out of memory");
            return;
        }
        request->body = body;
        request->body_capacity = capacity;
    }
    memcpy(request->body + request->body_size, bytes.data, bytes.size);
    request->body_size += bytes.size;
}

size_t api_request_feed(struct api_request *request, struct ppn_slice bytes)
{
    if (bytes.size == 0 || request->ended)
        return bytes.size;
    bool upgraded = request->answering && request->answer.kind == API_ANSWER_UPGRADE;
    if (upgraded || (request->route != NULL && request->route->shape == API_SHAPE_UPLOAD))
        return feed_streamed(request, bytes);
    if (!request->dispatched)
        feed_buffered(request, bytes);
    return bytes.size;
}

void api_request_feed_end(struct api_request *request)
{
    bool upgraded = request->answering && request->answer.kind == API_ANSWER_UPGRADE;
    if (request->ended || (request->body_whole && !upgraded))
        return;
    request->body_whole = true;
    if (!request->dispatched) {
        dispatch(request);
        return;
    }
    if (request->watch.body_end != NULL)
        request->watch.body_end(request->watch.context, request);
}

const struct api_answer *api_request_answer(const struct api_request *request)
{
    return request->answering && (request->answer.kind != API_ANSWER_WHOLE || request->ended)
               ? &request->answer
               : NULL;
}

enum api_pull api_request_pull(struct api_request *request, uint8_t *bytes, size_t capacity,
                               size_t *size)
{
    PPN_ASSERT(capacity > 0);
    *size = api_queue_take(&request->queue, bytes, capacity);
    if (request->was_full && request->queue.size <= request->queue_max / 2) {
        request->was_full = false;
        if (request->watch.writable != NULL)
            request->watch.writable(request->watch.context, request);
    }
    if (*size > 0)
        return API_PULL_BYTES;
    if (request->queue.size > 0) { /* `writable` has just added some */
        *size = api_queue_take(&request->queue, bytes, capacity);
        return API_PULL_BYTES;
    }
    return request->ended ? API_PULL_END : API_PULL_WAIT;
}

bool api_request_failed(const struct api_request *request)
{
    return request->failed;
}

void api_request_release(struct api_request *request)
{
    request->transport = (struct api_transport){0};
    if (request->owed && request->watch.gone == NULL) {
        request->orphan = true; /* the backend still answers, to nobody */
        api_queue_free(&request->queue);
        return;
    }
    if (request->owed) {
        struct api_watch watch = request->watch;
        request->owed = false;
        watch.gone(watch.context, request);
    }
    destroy(request);
}
