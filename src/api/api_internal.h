// SPDX-License-Identifier: ISC
#pragma once

/* What the files of src/api share: the request's insides, routes, and the checks of bodies. */

#include <jansson.h>

#include "api/api_backend.h"
#include "api/api_request.h"

/* Bytes to be sent: appended at the end, taken from the front. */
struct api_queue {
    uint8_t *data;
    size_t head, size, capacity; /* the bytes are data[head .. head + size) */
};

/* False: out of memory, and nothing was added. */
bool api_queue_add(struct api_queue *queue, const void *bytes, size_t size);
size_t api_queue_take(struct api_queue *queue, uint8_t *bytes, size_t capacity);
void api_queue_free(struct api_queue *queue);

/* How a route takes its body and may answer. */
enum api_route_shape {
    API_SHAPE_PLAIN,   /* small body, any answer */
    API_SHAPE_UPLOAD,  /* the body is streamed to the backend */
    API_SHAPE_CONSOLE, /* may become two raw streams */
};

/* From whom a route is taken. Whatever needs the key or the files of this very machine is for
 * people on it alone: another member may be broken or evil. */
enum api_scope { API_SCOPE_LOCAL, API_SCOPE_MEMBERS };

enum { API_SEGMENTS_MAX = 5, API_SEGMENT_MAX = 80, API_QUERY_MAX = 8 };

/* The query's parameters, decoded. */
struct api_query {
    uint32_t count;
    char keys[API_QUERY_MAX][API_SEGMENT_MAX + 1];
    char values[API_QUERY_MAX][API_SEGMENT_MAX + 1];
};

/* What a route's parser and caller see. argument: the segment that stood for "*" in the pattern. */
struct api_call {
    const char *argument;
    const struct api_query *query;
    struct ppn_slice body;
    const struct api_question *question;
};

struct api_route {
    enum api_method method;
    const char *pattern; /* segments after "/v1/"; "*" is the argument */
    enum api_scope scope;
    enum api_route_shape shape;
    size_t queue_max;
    const char *query;     /* the parameters it knows, space-separated, or "" */
    bool takes_body;       /* else a body is refused */
    size_t arguments_size; /* of what parse fills; 0: nothing to parse */
    /* Fills *arguments (zeroed). */
    enum ppn_error (*parse)(const struct api_call *call, void *arguments,
                            struct ppn_failure *failure);
    void (*release)(void *arguments); /* what parse allocated; may be NULL */
    bool (*present)(const struct api_backend *backend);
    void (*call)(const struct api_backend *backend, struct api_request *request,
                 const void *arguments);
};

/* The route of a path, NULL with *failure when there is none. `argument` and `query` are decoded.
 */
const struct api_route *api_route_find(const struct api_question *question,
                                       char argument[static API_SEGMENT_MAX + 1],
                                       struct api_query *query, struct ppn_failure *failure);

/* All routes, for tests and documentation. */
const struct api_route *api_routes(size_t *count);

/* Parsers of arguments, in api_parse_*.c; each is the `parse` of some routes. */
enum ppn_error api_parse_vm(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_stop(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_logs(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_who(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_admit(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_revoke(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_invite(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_log(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_entries(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_image(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_image_put(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_labels(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_run(const struct api_call *, void *, struct ppn_failure *);
enum ppn_error api_parse_placement(const struct api_call *, void *, struct ppn_failure *);
void api_run_release(void *run);

/* A JSON object of bounded depth and size, without duplicate keys; an empty body is {}. The caller
 * releases *object. */
enum ppn_error api_body_object(struct ppn_slice body, json_t **object,
                               struct ppn_failure *failure) PPN_CHECK;

/* The value of a query parameter, or NULL. */
const char *api_query_get(const struct api_query *query, const char *key);

struct api_request {
    const struct api_backend *backend;
    struct api_transport transport;
    struct api_question question; /* its target points to `target` */
    char target[API_TARGET_MAX + 1];
    char argument[API_SEGMENT_MAX + 1];
    struct api_query query;
    const struct api_route *route; /* NULL: the question was wrong */
    void *arguments;
    uint8_t *body;
    size_t body_size, body_capacity;
    bool body_whole;
    bool dispatched;  /* the backend has it and owes an answer */
    bool owed;        /* it still does */
    bool answering;   /* `answer` is set */
    bool ended;       /* nothing will be added to the queue */
    bool failed;      /* it ended early, where no line can say so */
    bool was_full;    /* `writable` is owed once there is room */
    bool body_paused; /* the watch took less than offered */
    struct api_answer answer;
    size_t queue_max; /* the route's, or API_RELAY_QUEUE_MAX */
    struct api_queue queue;
    struct api_watch watch;
    bool orphan;          /* released while owed: its answer goes nowhere */
    bool list_started;    /* a list has an element already */
    bool list_failed;     /* it did not fit */
    char list_tail[1024]; /* what follows the list */
};

/* The answer's head, and the end of the backend's hold on the request (which may free it). */
void api_request_answer_begin(struct api_request *request, enum api_answer_kind kind,
                              unsigned status, const char *content_type);
void api_request_answer_end(struct api_request *request);
void api_request_wake(struct api_request *request);
