// SPDX-License-Identifier: ISC
#include "node/peers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/node.h"
#include "os/os_address.h"

enum { PING_S = NODE_LINK_IDLE_S / 3 };

struct node_link {
    struct node_peers *peers;
    struct os_frames *frames; /* NULL once the connection ended */
    struct ppn_node_id peer;
    bool dialled;
    bool greeted;   /* its HELLO came */
    uint32_t epoch; /* the peer's start that was known when it was dialled; 0 for none */
    uint32_t next_stream;
    uint32_t last_peer_stream;
    struct ppn_instant ping_at; /* while streams are open */
    uint32_t exchange_count;
    struct node_exchange *exchanges[NODE_EXCHANGES_MAX];
    struct node_link *next;
};

struct node_peers {
    struct node *node;
    struct os_listener *listener;
    struct os_timer sweep;
    struct node_link *links;
    uint32_t link_count;
    bool closing; /* no new connections: the owners of the old ones may ask for some */
    uint64_t boot;
    uint8_t scratch[PPN_FRAME_MAX + WIRE_FRAME_PREFIX];
};

static const struct os_frames_handler link_handler;

static void unlink_link(struct node_link *link)
{
    struct node_link **at = &link->peers->links;
    while (*at != link) {
        PPN_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    link->peers->link_count--;
    if (!link->dialled)
        os_listener_release(link->peers->listener);
}

/* Takes the exchange off its link and tells its owner, who may open new ones meanwhile. */
static void end_exchange(struct node_exchange *exchange, enum ppn_error reason, const char *text)
{
    struct node_link *link = exchange->link;
    for (uint32_t i = 0; i < link->exchange_count; i++) {
        if (link->exchanges[i] == exchange) {
            link->exchanges[i] = link->exchanges[--link->exchange_count];
            exchange->link = NULL;
            if (reason != PPN_OK || text != NULL)
                exchange->on_end(exchange->context, reason, text);
            return;
        }
    }
    PPN_UNREACHABLE();
}

/* The owner of one stream may send on another one of this link while it hears of the end. */
static void end_link(struct node_link *link, enum ppn_error reason, const char *text)
{
    link->frames = NULL;
    unlink_link(link);
    while (link->exchange_count > 0)
        end_exchange(link->exchanges[link->exchange_count - 1],
                     reason == PPN_OK ? PPN_ERROR_CLOSED : reason, text);
    free(link);
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    end_link(context, reason, text);
}

static void close_link(struct node_link *link, enum ppn_error reason, const char *text)
{
    os_frames_close(link->frames);
    end_link(link, reason, text);
}

enum ppn_error node_link_send(struct node_link *link, const struct wire_peer_frame *frame)
{
    struct node_peers *peers = link->peers;
    struct ppn_writer writer = ppn_writer(peers->scratch, sizeof(peers->scratch));
    if (link->frames == NULL)
        return PPN_ERROR_CLOSED;
    enum ppn_error error = wire_peer_encode(frame, &writer);
    if (error != PPN_OK)
        return error;
    PPN_ASSERT(writer.size > WIRE_FRAME_PREFIX);
    return os_frames_send(
        link->frames, ppn_slice(writer.data + WIRE_FRAME_PREFIX, writer.size - WIRE_FRAME_PREFIX));
}

const struct ppn_node_id *node_link_peer(const struct node_link *link)
{
    return &link->peer;
}

static enum ppn_error greet(struct node_link *link)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_HELLO};
    frame.hello.major_min = frame.hello.major_max = WIRE_PEER_MAJOR;
    frame.hello.boot = link->peers->boot;
    (void)ppn_text_copy(frame.hello.name, sizeof(frame.hello.name), link->peers->node->name);
    (void)ppn_text_copy(frame.hello.software, sizeof(frame.hello.software), PPN_VERSION);
    return node_link_send(link, &frame);
}

static enum ppn_error add_link(struct node_peers *peers, const struct ppn_node_id *peer,
                               bool dialled, struct node_link **out)
{
    if (peers->link_count >= NODE_LINKS_MAX)
        return PPN_ERROR_FULL;
    struct node_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return PPN_ERROR_NO_MEMORY;
    link->peers = peers;
    link->peer = *peer;
    link->dialled = dialled;
    link->next_stream = dialled ? 1 : 2;
    link->ping_at = ppn_after(os_now(peers->node->loop), ppn_seconds(PING_S));
    link->next = peers->links;
    peers->links = link;
    peers->link_count++;
    *out = link;
    return PPN_OK;
}

static struct os_frames_config frames_config(struct node_link *link)
{
    return (struct os_frames_config){
        .handler = &link_handler,
        .context = link,
        .connect_timeout = ppn_seconds(NODE_DIAL_TIMEOUT_S),
        .idle_timeout = ppn_seconds(NODE_LINK_IDLE_S),
    };
}

static enum ppn_error dial(struct node_peers *peers, const struct ppn_node_id *to,
                           struct node_link **out)
{
    struct node_link *link;
    struct os_stream_target target = {.to.port = PPN_PORT_PEER};
    struct ppn_failure failure = {0};
    struct gossip_member seen;
    if (!node_member_address(peers->node, to, target.to.address))
        return PPN_ERROR_UNREACHABLE;
    memcpy(target.from.address, peers->node->mesh_address, sizeof(target.from.address));
    enum ppn_error error = add_link(peers, to, true, &link);
    if (error != PPN_OK)
        return error;
    struct os_frames_config config = frames_config(link);
    error = os_frames_connect(peers->node->loop, &target, &config, &link->frames, &failure);
    if (error != PPN_OK) {
        unlink_link(link);
        free(link);
        return error;
    }
    error = greet(link);
    if (error != PPN_OK) {
        close_link(link, error, "greeting failed");
        return error;
    }
    if (node_gossip_member(peers->node, to, &seen) == PPN_OK)
        link->epoch = seen.epoch;
    *out = link;
    return PPN_OK;
}

static struct node_link *find_link(struct node_peers *peers, const struct ppn_node_id *peer)
{
    for (struct node_link *link = peers->links; link != NULL; link = link->next) {
        if (link->dialled && ppn_node_id_equal(&link->peer, peer))
            return link;
    }
    return NULL;
}

static enum ppn_error reach(struct node_peers *peers, const struct ppn_node_id *to,
                            struct node_link **link)
{
    if (peers == NULL || peers->closing)
        return PPN_ERROR_UNREACHABLE;
    *link = find_link(peers, to);
    return *link != NULL ? PPN_OK : dial(peers, to, link);
}

enum ppn_error node_peers_send(struct node_peers *peers, const struct ppn_node_id *to,
                               const struct wire_peer_frame *frame)
{
    struct node_link *link;
    enum ppn_error error = reach(peers, to, &link);
    return error != PPN_OK ? error : node_link_send(link, frame);
}

static enum ppn_error attach(struct node_link *link, struct node_exchange *exchange,
                             uint32_t stream, struct ppn_duration patience)
{
    PPN_ASSERT(exchange->link == NULL && exchange->on_frame != NULL && exchange->on_end != NULL);
    if (link->exchange_count == NODE_EXCHANGES_MAX)
        return PPN_ERROR_FULL;
    exchange->link = link;
    exchange->stream = stream;
    exchange->patience = patience;
    exchange->deadline =
        patience.ns > 0 ? ppn_after(os_now(link->peers->node->loop), patience) : PPN_NEVER;
    link->exchanges[link->exchange_count++] = exchange;
    return PPN_OK;
}

enum ppn_error node_exchange_open(struct node_peers *peers, const struct ppn_node_id *to,
                                  struct node_exchange *exchange, struct ppn_duration patience,
                                  struct wire_peer_frame *first)
{
    struct node_link *link;
    enum ppn_error error = reach(peers, to, &link);
    if (error == PPN_OK)
        error = attach(link, exchange, link->next_stream, patience);
    if (error != PPN_OK)
        return error;
    link->next_stream += 2;
    error = node_exchange_send(exchange, first);
    if (error != PPN_OK)
        end_exchange(exchange, PPN_OK, NULL);
    return error;
}

enum ppn_error node_exchange_accept(struct node_link *link, const struct wire_peer_frame *frame,
                                    struct node_exchange *exchange, struct ppn_duration patience)
{
    return attach(link, exchange, frame->stream, patience);
}

bool node_exchange_is_open(const struct node_exchange *exchange)
{
    return exchange->link != NULL;
}

enum ppn_error node_exchange_send(struct node_exchange *exchange, struct wire_peer_frame *frame)
{
    if (exchange->link == NULL)
        return PPN_ERROR_CLOSED;
    frame->stream = exchange->stream;
    return node_link_send(exchange->link, frame);
}

bool node_exchange_congested(const struct node_exchange *exchange)
{
    return exchange->link != NULL && exchange->link->frames != NULL &&
           os_frames_congested(exchange->link->frames);
}

void node_exchange_close(struct node_exchange *exchange, bool tell, enum ppn_error reason,
                         const char *text)
{
    if (exchange->link == NULL)
        return;
    if (tell) {
        struct wire_peer_frame frame = {.kind = WIRE_PEER_CLOSE};
        frame.close.reason = reason;
        frame.close.text = ppn_slice(text, text != NULL ? strnlen(text, WIRE_CLOSE_TEXT_MAX) : 0);
        if (node_exchange_send(exchange, &frame) != PPN_OK)
            ppn_log(PPN_LOG_DEBUG, "peer-close-unsent", "stream=%u", exchange->stream);
    }
    end_exchange(exchange, PPN_OK, NULL);
}

static void refuse_stream(struct node_link *link, uint32_t stream, enum ppn_error reason)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_CLOSE, .stream = stream};
    const char *text = ppn_error_text(reason);
    frame.close.reason = reason;
    frame.close.text = ppn_slice(text, strlen(text));
    if (node_link_send(link, &frame) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "peer-refuse-unsent", "stream=%u", stream);
}

static struct node_exchange *find_exchange(struct node_link *link, uint32_t stream)
{
    for (uint32_t i = 0; i < link->exchange_count; i++) {
        if (link->exchanges[i]->stream == stream)
            return link->exchanges[i];
    }
    return NULL;
}

static void stream_frame(struct node_exchange *exchange, const struct wire_peer_frame *frame)
{
    if (frame->kind == WIRE_PEER_CLOSE) {
        char text[WIRE_CLOSE_TEXT_MAX + 1] = "closed by the other node";
        if (frame->close.text.size > 0 && frame->close.text.size <= WIRE_CLOSE_TEXT_MAX) {
            memcpy(text, frame->close.text.data, frame->close.text.size);
            text[frame->close.text.size] = '\0';
        }
        end_exchange(exchange,
                     frame->close.reason == PPN_OK ? PPN_ERROR_CLOSED : frame->close.reason, text);
        return;
    }
    if (exchange->patience.ns > 0)
        exchange->deadline =
            ppn_after(os_now(exchange->link->peers->node->loop), exchange->patience);
    exchange->on_frame(exchange->context, frame);
}

/* Returns false when the link is gone. */
static bool take_hello(struct node_link *link, const struct wire_peer_frame *frame)
{
    if (link->greeted || frame->hello.major_min > WIRE_PEER_MAJOR ||
        frame->hello.major_max < WIRE_PEER_MAJOR) {
        close_link(link, PPN_ERROR_VERSION, "no common protocol version");
        return false;
    }
    link->greeted = true;
    return true;
}

/* Returns false when the link is gone. */
static bool handle_frame(struct node_link *link, struct wire_peer_frame *frame)
{
    struct node_exchange *exchange = frame->stream != 0 ? find_exchange(link, frame->stream) : NULL;
    if (wire_peer_check(frame, !link->dialled, exchange != NULL) != PPN_OK) {
        /* Late frames of a stream that we closed already are normal. */
        if (frame->stream != 0 && exchange == NULL &&
            wire_peer_rule(frame->kind) != WIRE_RULE_OPENER)
            return true;
        close_link(link, PPN_ERROR_INVALID, "protocol error");
        return false;
    }
    if (!link->greeted && frame->kind != WIRE_PEER_HELLO) {
        close_link(link, PPN_ERROR_INVALID, "no greeting");
        return false;
    }
    if (exchange != NULL) {
        stream_frame(exchange, frame);
        return true;
    }
    if (frame->kind == WIRE_PEER_HELLO)
        return take_hello(link, frame);
    if (frame->kind == WIRE_PEER_PING) {
        struct wire_peer_frame pong = *frame;
        pong.kind = WIRE_PEER_PONG;
        if (node_link_send(link, &pong) != PPN_OK)
            ppn_log(PPN_LOG_DEBUG, "peer-pong-unsent", "token=%llu",
                    (unsigned long long)frame->token);
        return true;
    }
    if (frame->kind == WIRE_PEER_CLOSE) {
        close_link(link, PPN_ERROR_CLOSED, "closed by the other node");
        return false;
    }
    if (frame->stream != 0) {
        if (frame->stream <= link->last_peer_stream) {
            close_link(link, PPN_ERROR_INVALID, "stream number used twice");
            return false;
        }
        link->last_peer_stream = frame->stream;
    }
    if (!node_dispatch(link->peers->node, link, frame) && frame->stream != 0)
        refuse_stream(link, frame->stream, PPN_ERROR_UNSUPPORTED);
    return true;
}

static void on_frame(void *context, struct ppn_slice payload)
{
    struct node_link *link = context;
    struct wire_peer_frame frame;
    enum ppn_error error = wire_peer_decode(payload, &frame);
    if (error == PPN_ERROR_UNSUPPORTED) {
        if (frame.stream != 0)
            refuse_stream(link, frame.stream, PPN_ERROR_UNSUPPORTED);
        return;
    }
    if (error != PPN_OK) {
        char name[PPN_FINGERPRINT_TEXT];
        ppn_fingerprint(&link->peer, name);
        ppn_log(PPN_LOG_WARN, "peer-frame-broken", "peer=%s cause=\"%s\"", name,
                ppn_error_text(error));
        close_link(link, error, "broken frame");
        return;
    }
    /* Answers pile up faster than the peer takes them: hear no more questions until it did. */
    if (handle_frame(link, &frame) && os_frames_congested(link->frames))
        os_frames_pause(link->frames);
}

/* Backwards: an exchange that ends meanwhile leaves its place to one that was called already. */
static void on_drain(void *context)
{
    struct node_link *link = context;
    os_frames_resume(link->frames);
    for (uint32_t i = link->exchange_count; i-- > 0;) {
        if (i >= link->exchange_count)
            continue;
        struct node_exchange *exchange = link->exchanges[i];
        if (exchange->on_drain != NULL)
            exchange->on_drain(exchange->context);
    }
}

static const struct os_frames_handler link_handler = {
    .on_frame = on_frame,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct node_peers *peers = context;
    struct ppn_node_id peer;
    struct node_link *link = NULL;
    struct ppn_failure failure = {0};
    uint32_t same = 0;
    if (!node_member_by_address(peers->node, from->address, &peer)) {
        char text[OS_ENDPOINT_TEXT];
        os_endpoint_text(from, text);
        ppn_log(PPN_LOG_WARN, "peer-unknown", "from=%s", text);
        goto refuse;
    }
    for (link = peers->links; link != NULL; link = link->next)
        same += !link->dialled && ppn_node_id_equal(&link->peer, &peer);
    if (same >= NODE_LINKS_PER_PEER_MAX || add_link(peers, &peer, false, &link) != PPN_OK)
        goto refuse;
    struct os_frames_config config = frames_config(link);
    if (os_frames_adopt(peers->node->loop, fd, &config, &link->frames, &failure) != PPN_OK) {
        unlink_link(link);
        free(link);
        return;
    }
    if (greet(link) != PPN_OK)
        close_link(link, PPN_ERROR_FULL, "greeting failed");
    return;
refuse:
    (void)close(fd);
    os_listener_release(peers->listener);
}

/* Ends exchanges whose patience is over. An owner may close or open others meanwhile, so the search
 * starts anew after each. */
static bool expire_one(struct node_peers *peers, struct ppn_instant now)
{
    for (struct node_link *link = peers->links; link != NULL; link = link->next) {
        for (uint32_t i = 0; i < link->exchange_count; i++) {
            if (ppn_due(link->exchanges[i]->deadline, now)) {
                end_exchange(link->exchanges[i], PPN_ERROR_TIMEOUT, "no answer in time");
                return true;
            }
        }
    }
    return false;
}

/* A quiet stream (a console, a followed log) is work, too: it must not be taken for idleness. */
static void ping(struct node_link *link, struct ppn_instant now)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_PING};
    if (link->exchange_count == 0 || !ppn_due(link->ping_at, now))
        return;
    link->ping_at = ppn_after(now, ppn_seconds(PING_S));
    if (node_link_send(link, &frame) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "peer-ping-unsent", "streams=%u", link->exchange_count);
}

static void sweep(void *context)
{
    struct node_peers *peers = context;
    bool busy = false;
    while (expire_one(peers, os_now(peers->node->loop)))
        ;
    for (struct node_link *link = peers->links; link != NULL; link = link->next) {
        ping(link, os_now(peers->node->loop));
        busy |= link->exchange_count > 0;
    }
    os_timer_after(&peers->sweep, ppn_ms(busy ? 500 : 2000));
}

enum ppn_error node_peers_open(struct node *node, struct node_peers **out,
                               struct ppn_failure *failure)
{
    struct node_peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    peers->node = node;
    peers->boot = node->boot;
    struct os_listener_config config = {
        .bind.port = PPN_PORT_PEER,
        .interface = node->options.interface,
        .freebind = true,
        .connections_max = NODE_LINKS_MAX / 2,
        .on_accept = on_accept,
        .context = peers,
    };
    memcpy(config.bind.address, node->mesh_address, sizeof(config.bind.address));
    enum ppn_error error = os_listener_open(node->loop, &config, &peers->listener, failure);
    if (error != PPN_OK) {
        free(peers);
        return error;
    }
    os_timer_init(&peers->sweep, node->loop, sweep, peers);
    os_timer_after(&peers->sweep, ppn_ms(500));
    *out = peers;
    return PPN_OK;
}

void node_peers_epoch(struct node_peers *peers, const struct ppn_node_id *peer, uint32_t epoch)
{
    struct node_link *link = peers->links;
    while (link != NULL) {
        if (link->dialled && link->epoch != 0 && link->epoch < epoch &&
            ppn_node_id_equal(&link->peer, peer)) {
            close_link(link, PPN_ERROR_CLOSED, "the node was started anew");
            link = peers->links;
        } else {
            link = link->next;
        }
    }
}

void node_peers_drop(struct node_peers *peers, const struct ppn_node_id *peer)
{
    struct node_link *link = peers->links;
    while (link != NULL) {
        if (ppn_node_id_equal(&link->peer, peer)) {
            close_link(link, PPN_ERROR_CLOSED, "no member any more");
            link = peers->links;
        } else {
            link = link->next;
        }
    }
}

void node_peers_close(struct node_peers *peers)
{
    if (peers == NULL)
        return;
    os_timer_stop(&peers->sweep);
    peers->closing = true;
    while (peers->links != NULL)
        close_link(peers->links, PPN_ERROR_CLOSED, "this node stops");
    os_listener_close(peers->listener);
    free(peers);
}
