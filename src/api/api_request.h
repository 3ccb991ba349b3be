// SPDX-License-Identifier: ISC
#pragma once

/* One request and its answer, whatever it came over. On one side stands a transport (the HTTP
 * server on the local socket, or the peer connection over which another node forwards a person's
 * request); on the other a backend that answers now or later. Between them this object keeps the
 * bounded queue of bytes, so that neither side knows the other.
 *
 * Life: the transport opens it, feeds the body, pulls the answer and releases it. The backend is
 * called once by the router with checked arguments and owes exactly one answer: a reply, or a
 * stream ended, or an upgrade ended. With that call its pointer is void. When the asker goes away
 * first, `gone` (if watched) is called once instead, and the pointer is void after it. One thread
 * only; calls may nest (a backend may answer inside the call that asked it). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api_args.h"
#include "api/api_views.h"
#include "base/error.h"
#include "base/id.h"
#include "base/slice.h"

struct api_request;
struct api_backend;

enum {
    API_TARGET_MAX = 1024,             /* path and query */
    API_BODY_MAX = 256 * 1024,         /* a body that is not streamed; keys and user data in JSON */
    API_REPLY_MAX = 64 * 1024 * 1024,  /* one reply: a list over PPN_MEMBERS_MAX nodes fits */
    API_STREAM_QUEUE_MAX = 256 * 1024, /* unsent bytes of a stream */
    /* Likewise, another node's answer: it may be ahead of a slow asker by a whole serial log. */
    API_RELAY_QUEUE_MAX = 8 * 1024 * 1024,
    API_EVENT_QUEUE_MAX = 48 * 1024 * 1024, /* likewise, events: the present state of everything */
    API_REQUESTS_MAX = 256                  /* at a time, over all transports */
};

enum api_method { API_GET, API_POST, API_PUT, API_PATCH, API_DELETE, API_METHOD_COUNT };

const char *api_method_name(enum api_method method);
/* PPN_ERROR_INVALID for any other word. */
enum ppn_error api_method_parse(const char *name, enum api_method *method) PPN_CHECK;

/* Who asks: a person on this machine, or a member forwarding what a person there asked. */
struct api_asker {
    bool local;
    struct ppn_node_id member; /* when not local: authenticated by the mesh address */
};

/* ---- for backends: the question ---- */

enum api_method api_request_method(const struct api_request *request);
/* Path and query as they came, for forwarding. */
const char *api_request_target(const struct api_request *request);
/* The whole body of a request that is not streamed, for forwarding. */
struct ppn_slice api_request_body_bytes(const struct api_request *request);
struct api_asker api_request_asker(const struct api_request *request);

/* What a backend wants to hear while it holds a request; members may be NULL. */
struct api_watch {
    void *context;
    /* Bytes of a streamed body (image upload) or of the console. Returns how many were taken; fewer
     * than offered pauses the asker until api_request_resume(). */
    size_t (*body)(void *context, struct api_request *request, struct ppn_slice bytes);
    /* The streamed body is whole. (A console has no such end: its asker goes away.) */
    void (*body_end)(void *context, struct api_request *request);
    /* A stream that had been over half of its queue is below it again. */
    void (*writable)(void *context, struct api_request *request);
    /* The asker went away. The pointer is void after this. Whoever streams or may answer much later
     * sets it; without it the request lives on until it is answered, to nobody. */
    void (*gone)(void *context, struct api_request *request);
};

void api_request_watch(struct api_request *request, const struct api_watch *watch);
/* After `body` took less than offered: offer the rest. May call `body` before it returns. */
void api_request_resume(struct api_request *request);

/* ---- for backends: one whole answer ---- */

/* {"schema":1,"error":{"code":..,"message":..}} with the HTTP status of the code. In a stream
 * of lines that has begun: the line {"error":{...}}, then the end. Other streams and consoles are
 * cut, so that the asker sees that something is missing. */
void api_reply_failure(struct api_request *request, const struct ppn_failure *failure);
void api_reply_error(struct api_request *request, enum ppn_error code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* {"schema":1,"ok":true} and, where text is not NULL, "message". */
void api_reply_done(struct api_request *request, const char *text);

void api_reply_status(struct api_request *request, const struct api_status *status);
void api_reply_vm(struct api_request *request, const struct api_vm_view *vm);
void api_reply_invite(struct api_request *request, const struct api_invite_view *invite);
void api_reply_path(struct api_request *request, const struct api_path_view *path);
/* The member that was admitted, denied, revoked, ...: {"schema":1,"node":{"id","name"}}. */
void api_reply_node(struct api_request *request, const struct ppn_node_id *id, const char *name);

/* Lists: begin, add each, end; all in one call of the backend or over several. The members' order
 * is the order of adding. end is the answer. */
enum api_list {
    API_LIST_NODES,
    API_LIST_VMS,
    API_LIST_JOINS,
    API_LIST_LOG,
    API_LIST_IMAGES,
    API_LIST_PLACEMENT
};

void api_list_begin(struct api_request *request, enum api_list list);
void api_list_add_node(struct api_request *request, const struct api_node_view *node);
void api_list_add_vm(struct api_request *request, const struct api_vm_view *vm);
void api_list_add_join(struct api_request *request, const struct api_join_view *join);
void api_list_add_entry(struct api_request *request, const struct api_log_entry_view *entry);
void api_list_add_image(struct api_request *request, const struct api_image_view *image);
void api_list_add_row(struct api_request *request, const struct api_placement_row *row);
/* Adds "verdict" beside the entries; once, before the end. */
void api_list_set_verdict(struct api_request *request, const struct api_log_verdict *verdict);
void api_list_end(struct api_request *request);

/* ---- for backends: streams ---- */

enum api_stream_kind { API_STREAM_LINES, API_STREAM_BYTES };

/* Sends status 200 and starts the stream. */
void api_stream_begin(struct api_request *request, enum api_stream_kind kind);

/* How many bytes may be queued now. */
size_t api_stream_room(const struct api_request *request);

/* Queues raw bytes, all or none. PPN_ERROR_FULL: wait for `writable`. */
enum ppn_error api_stream_bytes(struct api_request *request, struct ppn_slice bytes) PPN_CHECK;

/* The answer is whole; what is queued is still sent. Where none was begun, the answer is an error.
 */
void api_stream_end(struct api_request *request);

/* Lines of a run, an image upload or a fetch. The first begins the stream by itself. A progress
 * line that finds no room is dropped: only the last line matters. */
void api_stream_progress(struct api_request *request, const struct api_progress *progress);
/* {"vm":{...}} and the end; likewise {"image":{...}}. Failure: api_reply_failure(). */
void api_stream_vm(struct api_request *request, const struct api_vm_view *vm);
void api_stream_image(struct api_request *request, const struct api_image_view *image);

/* One event as a line; the first begins the stream. PPN_ERROR_FULL: the asker is far behind; it
 * got {"type":"overrun"} as its last line, the stream is ended and the pointer is void. */
enum ppn_error api_stream_event(struct api_request *request,
                                const struct api_event *event) PPN_CHECK;

/* The request becomes two raw byte streams (console): bytes out by api_stream_bytes(), bytes in by
 * `body`; over by api_stream_end() or `gone`. Only where the route allows it; checked. */
void api_upgrade(struct api_request *request);

/* ---- for backends that forward: another node's answer, as it is ---- */

/* The other node's head; then api_stream_bytes() and api_stream_end(). status 101 upgrades a
 * console. What makes no sense (a second head, an upgrade of anything else) is ignored or becomes
 * 502: the other node may be broken. */
void api_relay_head(struct api_request *request, unsigned status, const char *content_type);

/* ---- for transports ---- */

enum api_answer_kind { API_ANSWER_WHOLE, API_ANSWER_STREAM, API_ANSWER_UPGRADE };

/* The answer's head; known before its first byte can be pulled. */
struct api_answer {
    enum api_answer_kind kind;
    unsigned status;
    const char *content_type; /* constant text */
    size_t size;              /* WHOLE: of the body, all of it ready to be pulled */
};

struct api_transport {
    void *context;
    /* The head is known, or there are new bytes to pull, or the end was reached: look at
     * api_request_answer() and api_request_pull(). May be called inside any call that the
     * transport makes. It must not release the request inside it. */
    void (*wake)(void *context, struct api_request *request);
    /* A paused body may go on: offer it again. */
    void (*resume)(void *context, struct api_request *request);
};

struct api_question {
    enum api_method method;
    const char *target; /* path and query, percent-encoded as in HTTP */
    uint64_t body_size; /* announced; UINT64_MAX: unknown */
    bool upgrade;       /* the asker can do an upgrade (always true for a peer) */
    struct api_asker asker;
};

/* Routes and checks. Always sets *request unless PPN_ERROR_FULL or NO_MEMORY: a question that is
 * wrong becomes a request whose answer is the error. Streamed routes reach the backend here, the
 * others at the end of their body. */
enum ppn_error api_request_open(struct api_request **request, const struct api_backend *backend,
                                const struct api_transport *transport,
                                const struct api_question *question) PPN_CHECK;

/* Returns how many bytes were taken; fewer only where a streamed body is paused (see `resume`).
 * Bytes for a request that is answered already are swallowed. */
size_t api_request_feed(struct api_request *request, struct ppn_slice bytes);
void api_request_feed_end(struct api_request *request);

/* NULL until the backend began to answer. */
const struct api_answer *api_request_answer(const struct api_request *request);

enum api_pull { API_PULL_BYTES, API_PULL_WAIT, API_PULL_END };

/* Moves up to capacity (> 0) queued bytes out. BYTES: *size > 0. WAIT: nothing now, wake follows.
 * END: all was pulled and the answer is whole. */
enum api_pull api_request_pull(struct api_request *request, uint8_t *bytes, size_t capacity,
                               size_t *size);

/* At API_PULL_END: the answer was cut short and its asker should see that. */
bool api_request_failed(const struct api_request *request);

/* The transport is done with it, whether the answer was whole or the asker went (then the backend
 * hears `gone`). Frees it. */
void api_request_release(struct api_request *request);
