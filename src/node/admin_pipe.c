// SPDX-License-Identifier: ISC
#include "node/admin_pipe.h"

#include <stdlib.h>

#include "node/node.h"
#include "node/serve.h"
#include "os/os_stream.h"
#include "wire/join.h"

struct node_admin_pipe {
    const struct node_admin_pipe_handler *handler;
    void *context;
    struct os_stream *stream;
    bool *closed; /* set while a callback of the owner runs */
};

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct node_admin_pipe *pipe = context;
    size_t taken = 0;
    bool closed = false;
    pipe->closed = &closed;
    while (taken < bytes.size) {
        size_t rest = bytes.size - taken;
        size_t size = rest < WIRE_JOIN_DATA_MAX ? rest : (size_t)WIRE_JOIN_DATA_MAX;
        bool more = pipe->handler->on_data(pipe->context, ppn_slice(bytes.data + taken, size));
        taken += size;
        if (closed)
            return bytes.size;
        if (!more) {
            os_stream_read_pause(pipe->stream);
            break;
        }
    }
    pipe->closed = NULL;
    return taken;
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct node_admin_pipe *pipe = context;
    const struct node_admin_pipe_handler *handler = pipe->handler;
    void *owner = pipe->context;
    (void)reason;
    (void)text;
    free(pipe);
    handler->on_end(owner);
}

static const struct os_stream_handler stream_handler = {.on_read = on_read, .on_close = on_close};

enum ppn_error node_admin_pipe_open(struct node *node,
                                    const struct node_admin_pipe_handler *handler, void *context,
                                    struct node_admin_pipe **out, struct ppn_failure *failure)
{
    struct node_admin_pipe *pipe = calloc(1, sizeof(*pipe));
    if (pipe == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct os_stream_config config = {.handler = &stream_handler, .context = pipe};
    pipe->handler = handler;
    pipe->context = context;
    enum ppn_error error = os_stream_connect_unix(node->loop, node_serve_admin_socket(node->serve),
                                                  &config, &pipe->stream, failure);
    if (error != PPN_OK) {
        free(pipe);
        return error;
    }
    *out = pipe;
    return PPN_OK;
}

enum ppn_error node_admin_pipe_write(struct node_admin_pipe *pipe, struct ppn_slice bytes)
{
    return os_stream_write(pipe->stream, bytes);
}

void node_admin_pipe_resume(struct node_admin_pipe *pipe)
{
    os_stream_read_resume(pipe->stream);
}

void node_admin_pipe_close(struct node_admin_pipe *pipe)
{
    if (pipe == NULL)
        return;
    if (pipe->closed != NULL)
        *pipe->closed = true;
    os_stream_close(pipe->stream);
    free(pipe);
}
