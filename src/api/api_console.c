// SPDX-License-Identifier: ISC
#include <fcntl.h>
#include <unistd.h>

#include "api/api_server_internal.h"
#include "base/assert.h"
#include "base/log.h"

enum { PUMP_BYTES = 16 * 1024, CONSOLE_CLOSE_SECONDS = 10 };

static void leave(struct api_connection *connection)
{
    if (connection->request != NULL) {
        struct api_request *request = connection->request;
        connection->request = NULL;
        api_request_release(request);
    }
    os_defer_cancel(connection->server->loop, &connection->pump);
    if (connection->upgrade != NULL) {
        struct MHD_UpgradeResponseHandle *upgrade = connection->upgrade;
        connection->upgrade = NULL;
        (void)MHD_upgrade_action(upgrade, MHD_UPGRADE_ACTION_CLOSE);
    }
}

/* The end is a half-close: the asker sees it, closes, and only then does the HTTP library get its
 * descriptor back, so that nothing queued is cut off. */
static void pump(void *context)
{
    uint8_t bytes[PUMP_BYTES];
    struct api_connection *connection = context;
    while (connection->stream != NULL && connection->request != NULL && !connection->finished &&
           os_stream_queued(connection->stream) < 4 * PUMP_BYTES) {
        size_t size = 0;
        enum api_pull pull = api_request_pull(connection->request, bytes, sizeof(bytes), &size);
        if (pull == API_PULL_WAIT)
            return;
        if (pull == API_PULL_END) {
            connection->finished = true;
            os_stream_finish(connection->stream);
            os_stream_idle_timeout(connection->stream, ppn_seconds(CONSOLE_CLOSE_SECONDS));
            return;
        }
        if (os_stream_write(connection->stream, ppn_slice(bytes, size)) != PPN_OK) {
            api_console_close(connection);
            return;
        }
    }
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct api_connection *connection = context;
    if (connection->request == NULL || connection->finished)
        return bytes.size;
    size_t taken = api_request_feed(connection->request, bytes);
    if (taken < bytes.size && connection->stream != NULL)
        os_stream_read_pause(connection->stream);
    return taken;
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct api_connection *connection = context;
    (void)reason;
    (void)text;
    connection->stream = NULL;
    leave(connection);
}

static const struct os_stream_handler handler = {
    .on_read = on_read,
    .on_drain = pump,
    .on_close = on_close,
};

void api_console_begin(void *context, struct MHD_Connection *http, void *request_context,
                       const char *extra, size_t extra_size, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *upgrade)
{
    struct api_connection *connection = context;
    struct ppn_failure failure = {0};
    struct os_stream_config config = {.handler = &handler, .context = connection};
    (void)http;
    (void)request_context;
    os_closure_init(&connection->pump, pump, connection);
    connection->upgrade = upgrade;
    /* The library closes its own descriptor at the end; the stream owns a copy. */
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0 || os_stream_adopt(connection->server->loop, copy, &config, &connection->stream,
                                    &failure) != PPN_OK) {
        ppn_log(PPN_LOG_WARN, "console-failed", "reason=\"%s\"", failure.text);
        leave(connection);
        return;
    }
    if (extra_size > 0)
        (void)on_read(connection, ppn_slice(extra, extra_size));
    os_defer(connection->server->loop, &connection->pump);
}

void api_console_wake(struct api_connection *connection)
{
    if (connection->stream != NULL)
        os_defer(connection->server->loop, &connection->pump);
}

void api_console_resume(struct api_connection *connection)
{
    if (connection->stream != NULL)
        os_stream_read_resume(connection->stream);
}

void api_console_close(struct api_connection *connection)
{
    struct os_stream *stream = connection->stream;
    connection->stream = NULL;
    os_stream_close(stream);
    leave(connection);
}
