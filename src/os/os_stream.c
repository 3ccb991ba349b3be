// SPDX-License-Identifier: ISC
#include "os/os_stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "os/os_stream_internal.h"

/* How long a stream that its owner let go may take to send its last bytes. */
enum { FAREWELL_MS = 5000 };

static void bytes_free(struct os_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct os_bytes){0};
}

static void bytes_consume(struct os_bytes *bytes, size_t size)
{
    PPN_ASSERT(size <= bytes->size);
    bytes->start += size;
    bytes->size -= size;
    if (bytes->size == 0)
        bytes_free(bytes);
}

/* Room for `more` bytes after the content; NULL: no memory. */
static uint8_t *bytes_reserve(struct os_bytes *bytes, size_t more)
{
    if (bytes->start + bytes->size + more > bytes->capacity && bytes->start > 0) {
        memmove(bytes->data, bytes->data + bytes->start, bytes->size);
        bytes->start = 0;
    }
    size_t wanted = bytes->start + bytes->size + more;
    if (wanted > bytes->capacity) {
        size_t capacity = bytes->capacity * 2 > wanted ? bytes->capacity * 2 : wanted;
        uint8_t *data = realloc(bytes->data, capacity);
        if (!data)
            return NULL;
        bytes->data = data;
        bytes->capacity = capacity;
    }
    return bytes->data + bytes->start + bytes->size;
}

static bool bytes_append(struct os_bytes *bytes, struct ppn_slice more)
{
    if (more.size == 0)
        return true;
    uint8_t *to = bytes_reserve(bytes, more.size);
    if (!to)
        return false;
    memcpy(to, more.data, more.size);
    bytes->size += more.size;
    return true;
}

static void release(struct os_stream *stream)
{
    bytes_free(&stream->in);
    bytes_free(&stream->out);
    free(stream);
}

/* Stops everything; frees it unless one of its callbacks is running. */
static void shut(struct os_stream *stream)
{
    PPN_ASSERT(!stream->closed);
    stream->closed = true;
    os_io_stop(&stream->io);
    os_timer_stop(&stream->timer);
    os_defer_cancel(stream->loop, &stream->later);
    if (stream->farewell)
        os_loop_orphan_remove(stream->loop, &stream->orphan);
    close(stream->fd);
    stream->fd = -1;
    if (stream->depth == 0)
        release(stream);
}

static void enter(struct os_stream *stream)
{
    stream->depth++;
}

/* False when the stream was closed meanwhile and is gone. */
static bool leave(struct os_stream *stream)
{
    PPN_ASSERT(stream->depth > 0);
    stream->depth--;
    if (!stream->closed)
        return true;
    if (stream->depth == 0)
        release(stream);
    return false;
}

static void watch(struct os_stream *stream)
{
    unsigned wanted = 0;
    if (stream->closed || stream->failed)
        wanted = 0;
    else if (stream->connecting)
        wanted = OS_WRITABLE;
    else {
        if (!stream->ended && (!stream->paused || stream->farewell))
            wanted |= OS_READABLE;
        if (stream->out.size > 0 || (stream->finish && !stream->finished))
            wanted |= OS_WRITABLE;
    }
    if (!stream->closed)
        os_io_want(&stream->io, wanted);
}

void os_stream_fail(struct os_stream *stream, enum ppn_error reason, const char *format, ...)
{
    if (stream->failed || stream->closed)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(stream->text, sizeof stream->text, format, arguments);
    va_end(arguments);
    stream->failed = true;
    stream->reason = reason;
    os_timer_stop(&stream->timer);
    watch(stream);
    os_defer(stream->loop, &stream->later);
}

static void fail_errno(struct os_stream *stream, const char *what, int number)
{
    os_stream_fail(stream, os_errno(number), "%s: %s", what, strerror(number));
}

/* Shows `bytes`, which are not in the buffer; *consumed of them are done with. False: closed. */
static bool show(struct os_stream *stream, struct ppn_slice bytes, size_t *consumed)
{
    *consumed = 0;
    if (!stream->handler) {
        *consumed = bytes.size;
        return true;
    }
    enter(stream);
    size_t used = stream->handler->on_read(stream->context, bytes);
    if (!leave(stream))
        return false;
    PPN_ASSERT(used <= bytes.size);
    *consumed = used;
    return true;
}

static bool show_buffered(struct os_stream *stream)
{
    size_t consumed;
    if (stream->in.size == 0)
        return true;
    /* Taken out of the stream meanwhile, so that its end cannot free what a callback looks at. */
    struct os_bytes taken = stream->in;
    stream->in = (struct os_bytes){0};
    bool alive = show(stream, ppn_slice(taken.data + taken.start, taken.size), &consumed);
    if (!alive) {
        bytes_free(&taken);
        return false;
    }
    bytes_consume(&taken, consumed);
    PPN_ASSERT(stream->in.size == 0);
    stream->in = taken;
    if (stream->in.size > OS_STREAM_READ_MAX)
        os_stream_fail(stream, PPN_ERROR_TOO_BIG, "the peer sent more than can be taken at once");
    return true;
}

/* New bytes in the loop's scratch buffer. False: closed. */
static bool take_in(struct os_stream *stream, struct ppn_slice bytes)
{
    size_t consumed = 0;
    if (stream->in.size == 0) {
        if (!show(stream, bytes, &consumed))
            return false;
        bytes = ppn_slice(bytes.data + consumed, bytes.size - consumed);
        if (bytes.size > 0 && !bytes_append(&stream->in, bytes))
            os_stream_fail(stream, PPN_ERROR_NO_MEMORY, "no memory for received bytes");
        return true;
    }
    if (!bytes_append(&stream->in, bytes)) {
        os_stream_fail(stream, PPN_ERROR_NO_MEMORY, "no memory for received bytes");
        return true;
    }
    return show_buffered(stream);
}

static bool peer_finished(struct os_stream *stream)
{
    stream->ended = true;
    if (stream->farewell) {
        if (stream->out.size == 0)
            shut(stream);
        return !stream->closed;
    }
    if (!stream->handler->on_finish || stream->finished) {
        os_stream_fail(stream, PPN_ERROR_CLOSED, "the peer closed the connection");
        return true;
    }
    enter(stream);
    stream->handler->on_finish(stream->context);
    return leave(stream);
}

/* False: closed. */
static bool on_readable(struct os_stream *stream)
{
    uint8_t *scratch = os_loop_scratch(stream->loop);
    if (!scratch) {
        os_stream_fail(stream, PPN_ERROR_NO_MEMORY, "no memory for received bytes");
        return true;
    }
    ssize_t got = recv(stream->fd, scratch, OS_SCRATCH_SIZE, MSG_DONTWAIT);
    if (got > 0) {
        stream->active_at = os_now(stream->loop);
        return take_in(stream, ppn_slice(scratch, (size_t)got));
    }
    if (got == 0)
        return peer_finished(stream);
    if (errno != EAGAIN && errno != EINTR) {
        fail_errno(stream, "receiving failed", errno);
        if (stream->farewell)
            shut(stream);
    }
    return !stream->closed;
}

/* Sends what the socket takes; an error ends the stream. */
static void send_queued(struct os_stream *stream)
{
    while (stream->out.size > 0) {
        ssize_t sent = send(stream->fd, stream->out.data + stream->out.start, stream->out.size,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (errno != EAGAIN)
                fail_errno(stream, "sending failed", errno);
            return;
        }
        stream->active_at = os_now(stream->loop);
        bytes_consume(&stream->out, (size_t)sent);
    }
    if (stream->finish && !stream->finished) {
        stream->finished = true;
        shutdown(stream->fd, SHUT_WR);
    }
}

/* False: closed. */
static bool on_writable(struct os_stream *stream)
{
    send_queued(stream);
    if (stream->farewell && (stream->failed || (stream->finished && stream->ended))) {
        shut(stream);
        return false;
    }
    if (stream->finished && stream->ended)
        os_stream_fail(stream, PPN_ERROR_CLOSED, "both sides finished");
    if (stream->failed || !stream->congested || stream->out.size > stream->write_max / 4)
        return true;
    stream->congested = false;
    if (!stream->handler || !stream->handler->on_drain)
        return true;
    enter(stream);
    stream->handler->on_drain(stream->context);
    return leave(stream);
}

static void arm_idle(struct os_stream *stream)
{
    if (stream->connected && !stream->farewell && stream->idle_timeout.ns > 0)
        os_timer_at(&stream->timer, ppn_after(stream->active_at, stream->idle_timeout));
}

/* False: closed. */
static bool connected(struct os_stream *stream)
{
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
        number = errno;
    if (number == EINPROGRESS || number == EALREADY)
        return true;
    if (number != 0) {
        fail_errno(stream, "cannot connect", number);
        if (stream->farewell)
            shut(stream);
        return !stream->closed;
    }
    stream->connecting = false;
    stream->connected = true;
    stream->active_at = os_now(stream->loop);
    if (!stream->farewell)
        os_timer_stop(&stream->timer);
    arm_idle(stream);
    if (!stream->handler || !stream->handler->on_connect)
        return true;
    enter(stream);
    stream->handler->on_connect(stream->context);
    return leave(stream);
}

static void on_ready(void *context, unsigned ready)
{
    struct os_stream *stream = context;
    enter(stream); /* whatever happens below, it is not freed before the end */
    bool open = true;
    if (stream->connecting) {
        open = connected(stream);
    } else {
        /* Reading first: the last words of a peer that closed are worth more than the error that
         * sending to it gives. */
        if (ready & OS_READABLE)
            open = on_readable(stream);
        if (open && (ready & OS_WRITABLE) && !stream->failed)
            open = on_writable(stream);
    }
    if (open)
        watch(stream);
    leave(stream);
}

static void on_timer(void *context)
{
    struct os_stream *stream = context;
    if (stream->farewell) {
        shut(stream);
        return;
    }
    if (stream->connecting) {
        os_stream_fail(stream, PPN_ERROR_TIMEOUT, "no answer to the connection in time");
        return;
    }
    if (!ppn_due(ppn_after(stream->active_at, stream->idle_timeout), os_now(stream->loop)))
        arm_idle(stream);
    else
        os_stream_fail(stream, PPN_ERROR_TIMEOUT, "the connection was idle for too long");
}

static void on_later(void *context)
{
    struct os_stream *stream = context;
    if (stream->failed) {
        const struct os_stream_handler *handler = stream->handler;
        enter(stream); /* on_close may call os_stream_close; the stream is freed below */
        if (handler)
            handler->on_close(stream->context, stream->reason, stream->text);
        if (!stream->closed)
            shut(stream);
        leave(stream);
        return;
    }
    if (!stream->show_again)
        return;
    stream->show_again = false;
    enter(stream);
    if (!stream->paused && show_buffered(stream))
        watch(stream);
    leave(stream);
}

enum ppn_error os_stream_make(struct os_loop *loop, int fd, bool unix_socket, bool connecting,
                              const struct os_stream_config *config, struct os_stream **out,
                              struct ppn_failure *failure)
{
    PPN_ASSERT(config->handler && config->handler->on_read && config->handler->on_close);
    *out = NULL;
    struct os_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        close(fd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a connection");
    }
    stream->loop = loop;
    stream->fd = fd;
    stream->unix_socket = unix_socket;
    stream->handler = config->handler;
    stream->context = config->context;
    stream->write_max = config->write_max ? config->write_max : OS_STREAM_WRITE_MAX;
    stream->idle_timeout = config->idle_timeout;
    stream->active_at = os_now(loop);
    stream->connecting = connecting;
    stream->connected = !connecting;
    os_io_init(&stream->io, loop, fd, on_ready, stream);
    os_timer_init(&stream->timer, loop, on_timer, stream);
    os_closure_init(&stream->later, on_later, stream);
    if (connecting)
        os_timer_after(&stream->timer,
                       config->connect_timeout.ns > 0 ? config->connect_timeout : ppn_seconds(10));
    arm_idle(stream);
    watch(stream);
    *out = stream;
    return PPN_OK;
}

void os_stream_close(struct os_stream *stream)
{
    if (!stream)
        return;
    PPN_ASSERT(!stream->farewell);
    shut(stream);
}

static void drop_orphan(struct os_orphan *orphan)
{
    struct os_stream *stream =
        (struct os_stream *)(void *)((char *)orphan - offsetof(struct os_stream, orphan));
    stream->farewell = false; /* it has left the list already */
    shut(stream);
}

void os_stream_close_after_write(struct os_stream *stream)
{
    if (!stream)
        return;
    if (stream->failed) {
        shut(stream);
        return;
    }
    stream->handler = NULL;
    stream->farewell = true;
    stream->finish = true;
    stream->orphan.drop = drop_orphan;
    os_loop_orphan_add(stream->loop, &stream->orphan);
    bytes_free(&stream->in);
    os_timer_after(&stream->timer, ppn_ms(FAREWELL_MS));
    watch(stream);
    if (stream->ended && stream->finished)
        shut(stream);
}

void os_stream_finish(struct os_stream *stream)
{
    stream->finish = true;
    watch(stream);
}

/* Sends both parts at once when nothing is queued; returns how many bytes the socket took. An error
 * is met again, and told, when the socket is next ready. */
static size_t send_now(struct os_stream *stream, struct ppn_slice first, struct ppn_slice second)
{
    if (stream->connecting || stream->out.size > 0)
        return 0;
    struct iovec parts[] = {{(void *)(uintptr_t)first.data, first.size},
                            {(void *)(uintptr_t)second.data, second.size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    stream->active_at = os_now(stream->loop);
    return (size_t)sent;
}

enum ppn_error os_stream_write_two(struct os_stream *stream, struct ppn_slice first,
                                   struct ppn_slice second)
{
    PPN_ASSERT(!stream->closed && stream->out.size <= stream->write_max);
    size_t size = first.size + second.size;
    if (stream->failed || stream->finish)
        return PPN_ERROR_CLOSED;
    if (size > stream->write_max - stream->out.size)
        return PPN_ERROR_FULL;
    size_t sent = send_now(stream, first, second);
    size_t skip = sent < first.size ? sent : first.size;
    first = ppn_slice(first.data + skip, first.size - skip);
    second = ppn_slice(second.data + (sent - skip), second.size - (sent - skip));
    if (first.size + second.size > 0 && !bytes_reserve(&stream->out, first.size + second.size)) {
        os_stream_fail(stream, PPN_ERROR_NO_MEMORY, "no memory for bytes to send");
        return PPN_ERROR_NO_MEMORY;
    }
    bytes_append(&stream->out, first);
    bytes_append(&stream->out, second);
    stream->congested |= stream->out.size > stream->write_max / 2;
    watch(stream);
    return PPN_OK;
}

enum ppn_error os_stream_write(struct os_stream *stream, struct ppn_slice bytes)
{
    return os_stream_write_two(stream, bytes, ppn_slice(NULL, 0));
}

size_t os_stream_queued(const struct os_stream *stream)
{
    return stream->out.size;
}

bool os_stream_congested(const struct os_stream *stream)
{
    return stream->congested;
}

void os_stream_read_pause(struct os_stream *stream)
{
    stream->paused = true;
    watch(stream);
}

void os_stream_read_resume(struct os_stream *stream)
{
    stream->paused = false;
    if (stream->in.size > 0 || stream->depth > 0) {
        stream->show_again = true;
        os_defer(stream->loop, &stream->later);
    }
    watch(stream);
}

void os_stream_idle_timeout(struct os_stream *stream, struct ppn_duration timeout)
{
    stream->idle_timeout = timeout;
    if (!stream->connected)
        return;
    os_timer_stop(&stream->timer);
    arm_idle(stream);
}

void os_stream_handler(struct os_stream *stream, const struct os_stream_handler *handler,
                       void *context)
{
    PPN_ASSERT(handler && handler->on_read && handler->on_close);
    stream->handler = handler;
    stream->context = context;
}
