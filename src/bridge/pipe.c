// SPDX-License-Identifier: ISC
#include <stdlib.h>

#include "base/assert.h"
#include "bridge/bridge.h"
#include "os/os_stream.h"

struct bridge_pipe {
    struct os_loop *loop;
    struct os_stream *stream;
};

static size_t on_read(void *context, struct ppn_slice bytes)
{
    (void)context;
    return bytes.size;
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct bridge_pipe *pipe = context;
    (void)reason;
    (void)text;
    pipe->stream = NULL;
    os_loop_stop(pipe->loop);
}

enum ppn_error bridge_pipe_open(struct os_loop *loop, struct bridge_pipe **out,
                                struct ppn_failure *failure)
{
    static const struct os_stream_handler handler = {.on_read = on_read, .on_close = on_close};
    struct bridge_pipe *pipe = calloc(1, sizeof(*pipe));
    struct os_stream_config config = {
        .handler = &handler, .context = pipe, .write_max = (size_t)4 * BRIDGE_REPORT};
    if (pipe == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    pipe->loop = loop;
    enum ppn_error error =
        os_stream_adopt(loop, BRIDGE_CONTROL_FD, &config, &pipe->stream, failure);
    if (error != PPN_OK) {
        free(pipe);
        return error;
    }
    *out = pipe;
    return PPN_OK;
}

void bridge_pipe_report(struct bridge_pipe *pipe, const struct bridge_report *report)
{
    uint8_t bytes[BRIDGE_REPORT];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (pipe->stream == NULL || os_stream_queued(pipe->stream) > 0)
        return;
    bridge_report_write(&writer, report);
    PPN_ASSERT(!writer.overflow && writer.size == BRIDGE_REPORT);
    if (os_stream_write(pipe->stream, ppn_written(&writer)) != PPN_OK)
        os_loop_stop(pipe->loop);
}
