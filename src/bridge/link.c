// SPDX-License-Identifier: ISC
#include "bridge/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_stream.h"

enum {
    CONNECT_S = 5,
    KERNEL_QUEUE = 32 * 1024, /* unsent bytes in the kernel: what waits there cannot be dropped */
    WRITE_MAX = 256 * 1024    /* of records; frames are held back long before */
};

_Static_assert(WRITE_MAX > 2 * (BRIDGE_QUEUE_MAX + BRIDGE_QUEUE_URGENT), "records always fit");
_Static_assert((int)TLS_PLAIN_MAX >= (int)BRIDGE_FRAME_MAX, "a frame fits into a record");

struct link {
    struct os_loop *loop;
    struct os_stream *stream;
    struct tls *tls;
    const struct link_handler *handler;
    void *context;
    bool open;
    uint32_t depth; /* callbacks running */
    bool closed;    /* freed once none runs */
    struct os_closure flush;
    struct bridge_reader reader;
    size_t pending; /* bytes of frames that no record has yet */
    uint8_t frames[TLS_PLAIN_MAX];
};

static void release(struct link *link)
{
    tls_free(link->tls);
    free(link);
}

void link_close(struct link *link)
{
    if (link == NULL)
        return;
    PPN_ASSERT(!link->closed);
    link->closed = true;
    os_defer_cancel(link->loop, &link->flush);
    os_stream_close(link->stream);
    link->stream = NULL;
    if (link->depth == 0)
        release(link);
}

/* Tells the owner and ends; *link may be gone. */
static void fail(struct link *link, const char *text)
{
    if (link->closed)
        return;
    link->depth++;
    link->handler->on_close(link->context, text);
    link->depth--;
    if (!link->closed)
        link_close(link);
    else if (link->depth == 0)
        release(link);
}

static bool send_out(struct link *link)
{
    struct ppn_slice out = tls_out(link->tls);
    if (out.size > 0 && os_stream_write(link->stream, out) != PPN_OK)
        return false;
    tls_out_taken(link->tls);
    return true;
}

static bool write_record(struct link *link)
{
    size_t size = link->pending;
    link->pending = 0;
    return size == 0 || (tls_write(link->tls, ppn_slice(link->frames, size)) && send_out(link));
}

static void on_flush(void *context)
{
    struct link *link = context;
    if (!write_record(link))
        fail(link, "the connection takes no more");
}

bool link_send(struct link *link, uint16_t port, struct ppn_slice datagram)
{
    PPN_ASSERT(!link->closed);
    if (!link->open || !bridge_frame_fits(os_stream_queued(link->stream) + link->pending, datagram))
        return false;
    /* The stream says by itself when it ends; the owner is never called back from here. */
    if (link->pending + BRIDGE_FRAME_MAX > sizeof(link->frames) && !write_record(link))
        return false;
    struct ppn_writer writer =
        ppn_writer(link->frames + link->pending, sizeof(link->frames) - link->pending);
    if (!bridge_frame_put(&writer, port, datagram))
        return false;
    link->pending += writer.size;
    os_defer(link->loop, &link->flush);
    return true;
}

static bool take_plain(struct link *link, struct ppn_slice plain)
{
    struct bridge_frame frame;
    enum bridge_read got = BRIDGE_READ_MORE;
    while (!link->closed &&
           (got = bridge_reader_next(&link->reader, &plain, &frame)) == BRIDGE_READ_FRAME)
        link->handler->on_frame(link->context, &frame);
    return got != BRIDGE_READ_BAD;
}

static bool take(struct link *link, struct ppn_slice wire, const char **why)
{
    uint8_t plain[TLS_PLAIN_MAX];
    int got = 0;
    *why = "no TLS";
    if (!tls_feed(link->tls, wire))
        return false;
    if (!link->open) {
        enum tls_step step = tls_handshake(link->tls);
        if (step == TLS_FAILED || !send_out(link))
            return false;
        if (step == TLS_WAIT)
            return true;
        link->open = true;
        link->handler->on_open(link->context);
    }
    *why = "no bridge speaks there";
    while (!link->closed && (got = tls_read(link->tls, plain, sizeof(plain))) > 0) {
        if (!take_plain(link, ppn_slice(plain, (size_t)got)))
            return false;
    }
    *why = "the other end closed the connection";
    return link->closed || (got == 0 && send_out(link));
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct link *link = context;
    const char *why;
    link->depth++;
    bool fine = take(link, bytes, &why);
    link->depth--;
    if (link->closed) {
        if (link->depth == 0)
            release(link);
    } else if (!fine) {
        fail(link, why);
    }
    return bytes.size;
}

static void on_connect(void *context)
{
    struct link *link = context;
    if (tls_handshake(link->tls) == TLS_FAILED || !send_out(link))
        fail(link, "TLS did not begin");
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct link *link = context;
    (void)reason;
    link->stream = NULL;
    fail(link, text);
}

static struct link *make(struct os_loop *loop, const struct tls_context *tls,
                         const struct link_handler *handler, void *context)
{
    struct link *link = malloc(sizeof(*link));
    if (link == NULL)
        return NULL;
    memset(link, 0, offsetof(struct link, frames));
    link->loop = loop;
    link->handler = handler;
    link->context = context;
    link->tls = tls_new(tls);
    os_closure_init(&link->flush, on_flush, link);
    if (link->tls != NULL)
        return link;
    free(link);
    return NULL;
}

static const struct os_stream_handler stream_handler = {
    .on_connect = on_connect, .on_read = on_read, .on_close = on_close};

static struct os_stream_config stream_config(struct link *link)
{
    return (struct os_stream_config){.handler = &stream_handler,
                                     .context = link,
                                     .connect_timeout = ppn_seconds(CONNECT_S),
                                     .write_max = WRITE_MAX,
                                     .kernel_queue_max = KERNEL_QUEUE};
}

enum ppn_error link_accept(struct os_loop *loop, const struct tls_context *tls, int fd,
                           const struct link_handler *handler, void *context, struct link **out,
                           struct ppn_failure *failure)
{
    struct link *link = make(loop, tls, handler, context);
    if (link == NULL) {
        close(fd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    }
    struct os_stream_config config = stream_config(link);
    enum ppn_error error = os_stream_adopt(loop, fd, &config, &link->stream, failure);
    if (error != PPN_OK) {
        release(link);
        return error;
    }
    *out = link;
    return PPN_OK;
}

enum ppn_error link_connect(struct os_loop *loop, const struct tls_context *tls,
                            const struct ppn_endpoint *to, const struct link_handler *handler,
                            void *context, struct link **out, struct ppn_failure *failure)
{
    struct os_stream_target target = {.to = *to};
    struct link *link = make(loop, tls, handler, context);
    if (link == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct os_stream_config config = stream_config(link);
    enum ppn_error error = os_stream_connect(loop, &target, &config, &link->stream, failure);
    if (error != PPN_OK) {
        release(link);
        return error;
    }
    *out = link;
    return PPN_OK;
}
