// SPDX-License-Identifier: ISC
#include "os/os_frames.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_stream_internal.h"

_Static_assert((int)OS_STREAM_READ_MAX >= (int)PPN_FRAME_MAX + (int)OS_FRAME_HEADER,
               "a whole frame is kept");
_Static_assert((int)OS_STREAM_WRITE_MAX >= (int)PPN_FRAME_MAX + (int)OS_FRAME_HEADER,
               "a whole frame is queued");

struct os_frames {
    struct os_stream *stream;
    const struct os_frames_handler *handler;
    void *context;
    uint32_t frame_max;
    uint32_t depth; /* callbacks running */
    bool paused, closed;
};

/* False when the owner closed it meanwhile and it is gone. */
static bool leave(struct os_frames *frames)
{
    PPN_ASSERT(frames->depth > 0);
    frames->depth--;
    if (!frames->closed)
        return true;
    if (frames->depth == 0)
        free(frames);
    return false;
}

static void on_connect(void *context)
{
    struct os_frames *frames = context;
    if (!frames->handler->on_connect)
        return;
    frames->depth++;
    frames->handler->on_connect(frames->context);
    leave(frames);
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct os_frames *frames = context;
    size_t used = 0;
    while (!frames->paused && bytes.size - used >= OS_FRAME_HEADER) {
        uint32_t size = ppn_read_u32(bytes.data + used);
        if (size == 0) {
            os_stream_fail(frames->stream, PPN_ERROR_INVALID, "the peer sent an empty frame");
            return bytes.size;
        }
        if (size > frames->frame_max) {
            os_stream_fail(frames->stream, PPN_ERROR_TOO_BIG,
                           "the peer announced a frame of %u bytes, over the limit of %u", size,
                           frames->frame_max);
            return bytes.size;
        }
        if (bytes.size - used - OS_FRAME_HEADER < size)
            break;
        frames->depth++;
        frames->handler->on_frame(frames->context,
                                  ppn_slice(bytes.data + used + OS_FRAME_HEADER, size));
        used += OS_FRAME_HEADER + size;
        if (!leave(frames))
            break;
    }
    return used;
}

static void on_drain(void *context)
{
    struct os_frames *frames = context;
    if (!frames->handler->on_drain)
        return;
    frames->depth++;
    frames->handler->on_drain(frames->context);
    leave(frames);
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct os_frames *frames = context;
    frames->depth++;
    frames->handler->on_close(frames->context, reason, text);
    frames->closed = true;
    leave(frames);
}

static const struct os_stream_handler stream_handler = {
    .on_connect = on_connect, .on_read = on_read, .on_drain = on_drain, .on_close = on_close};

static struct os_frames *make(const struct os_frames_config *config,
                              struct os_stream_config *stream_config)
{
    PPN_ASSERT(config->handler && config->handler->on_frame && config->handler->on_close);
    struct os_frames *frames = calloc(1, sizeof *frames);
    if (!frames)
        return NULL;
    frames->handler = config->handler;
    frames->context = config->context;
    os_frames_limit(frames, config->frame_max ? config->frame_max : PPN_FRAME_MAX);
    *stream_config = (struct os_stream_config){.handler = &stream_handler,
                                               .context = frames,
                                               .connect_timeout = config->connect_timeout,
                                               .idle_timeout = config->idle_timeout,
                                               .write_max = config->write_max};
    return frames;
}

enum ppn_error os_frames_connect(struct os_loop *loop, const struct os_stream_target *target,
                                 const struct os_frames_config *config, struct os_frames **out,
                                 struct ppn_failure *failure)
{
    struct os_stream_config stream_config;
    *out = NULL;
    struct os_frames *frames = make(config, &stream_config);
    if (!frames)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a connection");
    enum ppn_error error =
        os_stream_connect(loop, target, &stream_config, &frames->stream, failure);
    if (error != PPN_OK) {
        free(frames);
        return error;
    }
    *out = frames;
    return PPN_OK;
}

enum ppn_error os_frames_adopt(struct os_loop *loop, int fd, const struct os_frames_config *config,
                               struct os_frames **out, struct ppn_failure *failure)
{
    struct os_stream_config stream_config;
    *out = NULL;
    struct os_frames *frames = make(config, &stream_config);
    if (!frames) {
        close(fd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a connection");
    }
    enum ppn_error error = os_stream_adopt(loop, fd, &stream_config, &frames->stream, failure);
    if (error != PPN_OK) {
        free(frames);
        return error;
    }
    *out = frames;
    return PPN_OK;
}

static void end(struct os_frames *frames)
{
    frames->closed = true;
    if (frames->depth == 0)
        free(frames);
}

void os_frames_close(struct os_frames *frames)
{
    if (!frames)
        return;
    PPN_ASSERT(!frames->closed);
    os_stream_close(frames->stream);
    end(frames);
}

void os_frames_close_after_write(struct os_frames *frames)
{
    if (!frames)
        return;
    PPN_ASSERT(!frames->closed);
    os_stream_close_after_write(frames->stream);
    end(frames);
}

enum ppn_error os_frames_send(struct os_frames *frames, struct ppn_slice payload)
{
    PPN_ASSERT(!frames->closed && payload.size > 0);
    if (payload.size > PPN_FRAME_MAX)
        return PPN_ERROR_TOO_BIG;
    uint8_t header[OS_FRAME_HEADER];
    struct ppn_writer writer = ppn_writer(header, sizeof header);
    ppn_write_u32(&writer, (uint32_t)payload.size);
    return os_stream_write_two(frames->stream, ppn_written(&writer), payload);
}

bool os_frames_congested(const struct os_frames *frames)
{
    return os_stream_congested(frames->stream);
}

void os_frames_pause(struct os_frames *frames)
{
    frames->paused = true;
    os_stream_read_pause(frames->stream);
}

void os_frames_resume(struct os_frames *frames)
{
    frames->paused = false;
    os_stream_read_resume(frames->stream);
}

void os_frames_limit(struct os_frames *frames, uint32_t frame_max)
{
    PPN_ASSERT(frame_max > 0 && frame_max <= PPN_FRAME_MAX);
    frames->frame_max = frame_max;
}

void os_frames_idle_timeout(struct os_frames *frames, struct ppn_duration timeout)
{
    os_stream_idle_timeout(frames->stream, timeout);
}

struct ppn_endpoint os_frames_peer(const struct os_frames *frames)
{
    return os_stream_peer(frames->stream);
}

struct ppn_endpoint os_frames_local(const struct os_frames *frames)
{
    return os_stream_local(frames->stream);
}
