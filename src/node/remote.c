// SPDX-License-Identifier: ISC
#include "node/remote.h"

#include <stdlib.h>
#include <string.h>

#include "api/api_server.h"
#include "base/assert.h"
#include "node/node.h"
#include "node/peers.h"
#include "node/serve.h"

enum {
    SWITCHING_PROTOCOLS = 101,
    ANSWERS_MAX = 128, /* open at a time for other members ... */
    ANSWERS_PER_MEMBER_MAX = 32
};

_Static_assert(ANSWERS_MAX + API_CONNECTIONS_MAX <= API_REQUESTS_MAX,
               "members leave room for the people on this machine");

/* Both ends of a forwarded request. Forwarding: `request` is a person's here and the exchange asks
 * elsewhere. Answering: `request` was opened here for a peer. Credit is what we may still send. */
struct relay {
    struct node_remote *remote;
    struct relay *next;
    struct api_request *request;
    struct node_exchange exchange;
    struct ppn_node_id member;
    bool answering;
    bool head_sent; /* answering */
    bool body_over; /* what we send as the asker */
    bool upgrade;
    uint32_t credit; /* at most WIRE_API_WINDOW */
    uint32_t taken;  /* received bytes whose credit was not given back yet */
    struct os_closure pump;
};

struct node_remote {
    struct node *node;
    struct relay *relays;
};

static void free_relay(struct relay *relay)
{
    struct relay **at = &relay->remote->relays;
    while (*at != relay)
        at = &(*at)->next;
    *at = relay->next;
    os_defer_cancel(relay->remote->node->loop, &relay->pump);
    free(relay);
}

static void give_back(struct relay *relay, uint32_t bytes)
{
    relay->taken += bytes;
    if (relay->taken < WIRE_API_WINDOW / 4)
        return;
    struct wire_peer_frame frame = {.kind = WIRE_PEER_API_WINDOW, .window = relay->taken};
    if (node_exchange_send(&relay->exchange, &frame) == PPN_OK)
        relay->taken = 0;
}

/* False: the peer sends more than it has credit for. */
static bool within_credit(const struct relay *relay, struct ppn_slice bytes)
{
    PPN_ASSERT(relay->taken <= WIRE_API_WINDOW);
    return bytes.size <= WIRE_API_WINDOW - relay->taken;
}

/* False: the peer gives back more than was sent. */
static bool take_credit(struct relay *relay, uint32_t bytes)
{
    PPN_ASSERT(relay->credit <= WIRE_API_WINDOW);
    if (bytes > WIRE_API_WINDOW - relay->credit)
        return false;
    relay->credit += bytes;
    return true;
}

static bool send_data(struct relay *relay, struct ppn_slice bytes)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_API_DATA, .api_data = bytes};
    PPN_ASSERT(bytes.size > 0 && bytes.size <= relay->credit);
    if (node_exchange_send(&relay->exchange, &frame) != PPN_OK)
        return false;
    relay->credit -= (uint32_t)bytes.size;
    return true;
}

static bool send_end(struct relay *relay)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_API_END};
    return node_exchange_send(&relay->exchange, &frame) == PPN_OK;
}

/* ---- forwarding ---- */

static void fail_forward(struct relay *relay, enum ppn_error reason, const char *text)
{
    struct api_request *request = relay->request;
    char scratch[PPN_FINGERPRINT_TEXT];
    const char *name = node_member_name(relay->remote->node, &relay->member, scratch);
    node_exchange_close(&relay->exchange, true, reason, text);
    relay->request = NULL;
    if (request != NULL)
        api_reply_error(request, reason, "node %s: %s", name, text);
    free_relay(relay);
}

static size_t forward_body(void *context, struct api_request *request, struct ppn_slice bytes)
{
    struct relay *relay = context;
    size_t size = bytes.size < WIRE_API_DATA_MAX ? bytes.size : WIRE_API_DATA_MAX;
    (void)request;
    if (size > relay->credit)
        size = relay->credit;
    if (size == 0 || node_exchange_congested(&relay->exchange) ||
        !send_data(relay, ppn_slice(bytes.data, size)))
        return 0;
    return size;
}

static void forward_body_end(void *context, struct api_request *request)
{
    struct relay *relay = context;
    (void)request;
    relay->body_over = true;
    (void)send_end(relay);
}

static void forward_gone(void *context, struct api_request *request)
{
    struct relay *relay = context;
    (void)request;
    relay->request = NULL;
    node_exchange_close(&relay->exchange, true, PPN_ERROR_CANCELLED, "the asker went away");
    free_relay(relay);
}

static void forward_frame(void *context, const struct wire_peer_frame *frame)
{
    struct relay *relay = context;
    char type[WIRE_API_CONTENT_TYPE_MAX + 1];
    if (frame->kind == WIRE_PEER_API_HEAD) {
        memcpy(type, frame->api_head.content_type.data, frame->api_head.content_type.size);
        type[frame->api_head.content_type.size] = '\0';
        relay->upgrade = frame->api_head.status == SWITCHING_PROTOCOLS;
        relay->head_sent = true;
        api_relay_head(relay->request, frame->api_head.status, type);
        return;
    }
    if (frame->kind == WIRE_PEER_API_DATA) {
        if (!relay->head_sent || !within_credit(relay, frame->api_data) ||
            api_stream_bytes(relay->request, frame->api_data) != PPN_OK) {
            fail_forward(relay, PPN_ERROR_FULL, "it sends more than was asked for");
            return;
        }
        give_back(relay, (uint32_t)frame->api_data.size);
        return;
    }
    if (frame->kind == WIRE_PEER_API_END) {
        struct api_request *request = relay->request;
        relay->request = NULL;
        node_exchange_close(&relay->exchange, !relay->body_over, PPN_OK, "done");
        free_relay(relay);
        api_stream_end(request);
        return;
    }
    if (frame->kind == WIRE_PEER_API_WINDOW) {
        if (take_credit(relay, frame->window))
            api_request_resume(relay->request);
        else
            fail_forward(relay, PPN_ERROR_INVALID, "it takes more than was sent");
        return;
    }
    fail_forward(relay, PPN_ERROR_INVALID, "an answer of the wrong kind");
}

static void forward_end(void *context, enum ppn_error reason, const char *text)
{
    fail_forward(context, reason, text);
}

static void forward_drain(void *context)
{
    struct relay *relay = context;
    give_back(relay, 0);
    if (relay->request != NULL && !relay->body_over)
        api_request_resume(relay->request);
}

static struct relay *new_relay(struct node_remote *remote, const struct ppn_node_id *member)
{
    struct relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL)
        return NULL;
    relay->remote = remote;
    relay->member = *member;
    relay->credit = WIRE_API_WINDOW;
    relay->exchange.context = relay;
    relay->next = remote->relays;
    remote->relays = relay;
    return relay;
}

static bool method_of(enum api_method method, enum wire_api_method *out)
{
    static const enum wire_api_method methods[] = {[API_GET] = WIRE_API_GET,
                                                   [API_POST] = WIRE_API_POST,
                                                   [API_PUT] = WIRE_API_PUT,
                                                   [API_PATCH] = WIRE_API_POST,
                                                   [API_DELETE] = WIRE_API_DELETE};
    *out = methods[method];
    return method != API_PATCH;
}

static void pump_nothing(void *context)
{
    (void)context;
}

void node_remote_forward(struct node_remote *remote, struct api_request *request,
                         const struct ppn_node_id *to)
{
    const char *target = api_request_target(request);
    const char *mark = strchr(target, '?');
    struct wire_peer_frame frame = {.kind = WIRE_PEER_API_REQUEST};
    struct ppn_slice body = api_request_body_bytes(request);
    bool known = method_of(api_request_method(request), &frame.api_request.method);
    struct relay *relay = known ? new_relay(remote, to) : NULL;
    if (relay == NULL) {
        api_reply_error(request, PPN_ERROR_UNSUPPORTED, "this cannot be asked of another node");
        return;
    }
    os_closure_init(&relay->pump, pump_nothing, relay);
    size_t path = mark != NULL ? (size_t)(mark - target) : strlen(target);
    frame.api_request.path = ppn_slice(target, path);
    frame.api_request.query = ppn_slice(mark != NULL ? mark + 1 : target, 0);
    if (mark != NULL)
        frame.api_request.query.size = strlen(mark + 1);
    frame.api_request.body = body;
    frame.api_request.content_length = body.size;
    /* Only a console and a channel go on sending after their request. */
    frame.api_request.streaming =
        strstr(target, "/console") != NULL || strstr(target, "/channel") != NULL;
    relay->body_over = !frame.api_request.streaming;
    frame.api_request.hops = api_request_asker(request).local ? 0 : 1;
    relay->request = request;
    relay->exchange.on_frame = forward_frame;
    relay->exchange.on_end = forward_end;
    relay->exchange.on_drain = forward_drain;
    enum ppn_error error =
        body.size > WIRE_API_BODY_MAX
            ? PPN_ERROR_TOO_BIG
            : node_exchange_open(remote->node->peers, to, &relay->exchange, ppn_seconds(0), &frame);
    if (error != PPN_OK) {
        fail_forward(relay, error, ppn_error_text(error));
        return;
    }
    struct api_watch watch = {
        .context = relay, .body = forward_body, .body_end = forward_body_end, .gone = forward_gone};
    api_request_watch(request, &watch);
}

/* ---- answering ---- */

static void finish_answer(struct relay *relay)
{
    struct api_request *request = relay->request;
    relay->request = NULL;
    if (request != NULL)
        api_request_release(request);
    free_relay(relay);
}

static void abandon_answer(struct relay *relay, enum ppn_error reason, const char *text)
{
    node_exchange_close(&relay->exchange, true, reason, text);
    finish_answer(relay);
}

static bool send_head(struct relay *relay, const struct api_answer *answer)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_API_HEAD};
    const char *type = answer->content_type != NULL ? answer->content_type : "application/json";
    frame.api_head.status =
        answer->kind == API_ANSWER_UPGRADE ? SWITCHING_PROTOCOLS : answer->status;
    frame.api_head.content_type = ppn_slice(type, strnlen(type, WIRE_API_CONTENT_TYPE_MAX));
    relay->head_sent = node_exchange_send(&relay->exchange, &frame) == PPN_OK;
    return relay->head_sent;
}

/* Moves as much of the answer as credit and queue allow. */
static void pump_answer(void *context)
{
    static uint8_t bytes[WIRE_API_DATA_MAX];
    struct relay *relay = context;
    const struct api_answer *answer =
        relay->request != NULL ? api_request_answer(relay->request) : NULL;
    size_t size;
    if (answer == NULL)
        return;
    if (!relay->head_sent && !send_head(relay, answer))
        return;
    while (relay->credit > 0 && !node_exchange_congested(&relay->exchange)) {
        size_t room = relay->credit < sizeof(bytes) ? relay->credit : sizeof(bytes);
        enum api_pull pull = api_request_pull(relay->request, bytes, room, &size);
        if (pull == API_PULL_WAIT)
            return;
        if (pull == API_PULL_END && api_request_failed(relay->request)) {
            abandon_answer(relay, PPN_ERROR_CLOSED, "the answer was cut short");
            return;
        }
        if (pull == API_PULL_END) {
            if (!send_end(relay))
                return;
            node_exchange_close(&relay->exchange, false, PPN_OK, NULL);
            finish_answer(relay);
            return;
        }
        if (!send_data(relay, ppn_slice(bytes, size))) {
            abandon_answer(relay, PPN_ERROR_FULL, "the connection's queue is full");
            return;
        }
    }
}

static void answer_wake(void *context, struct api_request *request)
{
    struct relay *relay = context;
    (void)request;
    os_defer(relay->remote->node->loop, &relay->pump);
}

static void answer_resume(void *context, struct api_request *request)
{
    (void)context;
    (void)request;
}

static void answer_frame(void *context, const struct wire_peer_frame *frame)
{
    struct relay *relay = context;
    if (frame->kind == WIRE_PEER_API_DATA) {
        if (!within_credit(relay, frame->api_data)) {
            abandon_answer(relay, PPN_ERROR_INVALID, "more bytes than credit");
            return;
        }
        size_t fed = api_request_feed(relay->request, frame->api_data);
        if (fed < frame->api_data.size) {
            abandon_answer(relay, PPN_ERROR_FULL, "the receiver cannot take it so fast");
            return;
        }
        give_back(relay, (uint32_t)fed);
        return;
    }
    if (frame->kind == WIRE_PEER_API_END) {
        api_request_feed_end(relay->request);
        return;
    }
    if (frame->kind == WIRE_PEER_API_WINDOW) {
        if (take_credit(relay, frame->window))
            os_defer(relay->remote->node->loop, &relay->pump);
        else
            abandon_answer(relay, PPN_ERROR_INVALID, "more credit than was used");
        return;
    }
    abandon_answer(relay, PPN_ERROR_INVALID, "unexpected frame");
}

static void answer_end(void *context, enum ppn_error reason, const char *text)
{
    (void)reason;
    (void)text;
    finish_answer(context);
}

static void answer_drain(void *context)
{
    struct relay *relay = context;
    give_back(relay, 0);
    os_defer(relay->remote->node->loop, &relay->pump);
}

/* Whether one more answer for this member is within its share. */
static bool share_left(const struct node_remote *remote, const struct ppn_node_id *member)
{
    uint32_t all = 0, same = 0;
    for (const struct relay *relay = remote->relays; relay != NULL; relay = relay->next) {
        all += relay->answering;
        same += relay->answering && ppn_node_id_equal(&relay->member, member);
    }
    return all < ANSWERS_MAX && same < ANSWERS_PER_MEMBER_MAX;
}

static void refuse(struct node_link *link, const struct wire_peer_frame *frame,
                   enum ppn_error reason, const char *text)
{
    struct wire_peer_frame close = {.kind = WIRE_PEER_CLOSE, .stream = frame->stream};
    close.close.reason = reason;
    close.close.text = ppn_slice(text, strlen(text));
    (void)(node_link_send(link, &close) == PPN_OK);
}

void node_remote_frame(struct node_remote *remote, struct node_link *link,
                       const struct wire_peer_frame *frame)
{
    static const enum api_method methods[] = {[WIRE_API_GET] = API_GET,
                                              [WIRE_API_POST] = API_POST,
                                              [WIRE_API_PUT] = API_PUT,
                                              [WIRE_API_DELETE] = API_DELETE};
    const struct wire_api_request *asked = &frame->api_request;
    char target[WIRE_API_PATH_MAX + WIRE_API_QUERY_MAX + 2];
    struct ppn_writer writer = ppn_writer(target, sizeof(target) - 1);
    ppn_write(&writer, asked->path);
    if (asked->query.size > 0) {
        ppn_write_u8(&writer, '?');
        ppn_write(&writer, asked->query);
    }
    target[writer.size] = '\0';
    if (asked->hops >= WIRE_API_HOPS_MAX || writer.overflow) {
        refuse(link, frame, PPN_ERROR_REFUSED, "forwarded too often");
        return;
    }
    if (!share_left(remote, node_link_peer(link))) {
        refuse(link, frame, PPN_ERROR_BUSY, "too many requests at a time");
        return;
    }
    struct relay *relay = new_relay(remote, node_link_peer(link));
    if (relay == NULL) {
        refuse(link, frame, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    relay->answering = true;
    relay->exchange.on_frame = answer_frame;
    relay->exchange.on_end = answer_end;
    relay->exchange.on_drain = answer_drain;
    os_closure_init(&relay->pump, pump_answer, relay);
    struct api_transport transport = {
        .context = relay, .wake = answer_wake, .resume = answer_resume};
    struct api_question question = {
        .method = methods[asked->method],
        .target = target,
        .body_size = asked->content_length,
        .upgrade = true,
        .asker = {.local = false, .member = *node_link_peer(link)},
    };
    enum ppn_error error = node_exchange_accept(link, frame, &relay->exchange, ppn_seconds(0));
    if (error == PPN_OK) {
        error = api_request_open(&relay->request, node_serve_backend(remote->node->serve),
                                 &transport, &question);
        if (error != PPN_OK)
            node_exchange_close(&relay->exchange, false, PPN_OK, NULL);
    }
    if (error != PPN_OK) {
        relay->request = NULL;
        free_relay(relay);
        refuse(link, frame, error, "this node is busy");
        return;
    }
    if (asked->body.size > 0)
        (void)api_request_feed(relay->request, asked->body);
    api_request_feed_end(relay->request);
    os_defer(remote->node->loop, &relay->pump);
}

struct node_remote *node_remote_open(struct node *node)
{
    struct node_remote *remote = calloc(1, sizeof(*remote));
    if (remote != NULL)
        remote->node = node;
    return remote;
}

void node_remote_close(struct node_remote *remote)
{
    if (remote == NULL)
        return;
    while (remote->relays != NULL) {
        struct relay *relay = remote->relays;
        node_exchange_close(&relay->exchange, true, PPN_ERROR_CLOSED, "this node stops");
        if (relay->answering) {
            finish_answer(relay);
        } else {
            struct api_request *request = relay->request;
            relay->request = NULL;
            if (request != NULL)
                api_reply_error(request, PPN_ERROR_CLOSED, "this node stops");
            free_relay(relay);
        }
    }
    free(remote);
}
