// SPDX-License-Identifier: ISC
#include "api/api_server.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_server_internal.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"

enum {
    CONNECTION_MEMORY = 32 * 1024,
    IDLE_SECONDS = 60, /* of a connection that asks nothing */
    READ_BLOCK = 32 * 1024,
    GROUP_BUFFER = 16 * 1024
};

/* ---- the loop ---- */

static void turn(struct api_server *server)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    (void)MHD_run(server->daemon);
    if (MHD_get_timeout(server->daemon, &ms) != MHD_YES)
        os_timer_stop(&server->timer);
    else if (ms == 0)
        os_defer(server->loop, &server->again);
    else
        os_timer_after(&server->timer, ppn_ms((int64_t)ms));
}

static void on_ready(void *context, unsigned ready)
{
    (void)ready;
    turn(context);
}

static void on_again(void *context)
{
    turn(context);
}

/* ---- waiting connections ---- */

static void suspend(struct api_connection *connection)
{
    PPN_ASSERT(!connection->suspended);
    connection->suspended = true;
    MHD_suspend_connection(connection->http);
    os_io_want(&connection->hang_up, OS_READABLE);
}

static void resume(struct api_connection *connection)
{
    if (!connection->suspended)
        return;
    connection->suspended = false;
    os_io_stop(&connection->hang_up);
    MHD_resume_connection(connection->http);
    /* Resuming is carried out by the next MHD_run, and nothing becomes readable for it. */
    os_defer(connection->server->loop, &connection->server->again);
}

/* A suspended connection became readable: its end, or bytes for later. */
static void on_hang_up(void *context, unsigned ready)
{
    struct api_connection *connection = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection->http, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    (void)ready;
    ssize_t size = recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0) {
        os_io_stop(&connection->hang_up);
        return;
    }
    struct api_request *request = connection->request;
    connection->request = NULL;
    if (request != NULL)
        api_request_release(request);
    resume(connection);
}

static void on_wake(void *context, struct api_request *request)
{
    struct api_connection *connection = context;
    (void)request;
    if (connection->upgrade != NULL)
        api_console_wake(connection);
    else
        resume(connection);
}

static void on_resume(void *context, struct api_request *request)
{
    struct api_connection *connection = context;
    (void)request;
    if (connection->upgrade != NULL)
        api_console_resume(connection);
    else
        resume(connection);
}

/* ---- answers ---- */

static enum MHD_Result answer_fixed(struct api_connection *connection, unsigned status,
                                    const char *code, const char *message)
{
    char text[512];
    int size =
        snprintf(text, sizeof(text),
                 "{\"schema\":1,\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code, message);
    PPN_ASSERT(size > 0 && (size_t)size < sizeof(text));
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)size, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result result = MHD_queue_response(connection->http, status, response);
    MHD_destroy_response(response);
    return result;
}

static ssize_t read_answer(void *context, uint64_t position, char *bytes, size_t capacity)
{
    struct api_connection *connection = context;
    size_t size = 0;
    (void)position;
    if (connection->request == NULL)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    switch (api_request_pull(connection->request, (uint8_t *)bytes, capacity, &size)) {
    case API_PULL_BYTES:
        return (ssize_t)size;
    case API_PULL_END:
        return api_request_failed(connection->request) ? MHD_CONTENT_READER_END_WITH_ERROR
                                                       : MHD_CONTENT_READER_END_OF_STREAM;
    case API_PULL_WAIT:
        break;
    }
    suspend(connection);
    return 0;
}

static struct MHD_Response *make_response(struct api_connection *connection,
                                          const struct api_answer *answer)
{
    if (answer->kind == API_ANSWER_UPGRADE) {
        struct MHD_Response *upgrade =
            MHD_create_response_for_upgrade(api_console_begin, connection);
        if (upgrade != NULL)
            (void)MHD_add_response_header(upgrade, MHD_HTTP_HEADER_UPGRADE, "ppn-console");
        return upgrade;
    }
    uint64_t size = answer->kind == API_ANSWER_WHOLE ? answer->size : MHD_SIZE_UNKNOWN;
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, READ_BLOCK, read_answer, connection, NULL);
    if (response == NULL)
        return NULL;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    return response;
}

static enum MHD_Result answer(struct api_connection *connection)
{
    const struct api_answer *head = api_request_answer(connection->request);
    if (head == NULL) {
        suspend(connection);
        return MHD_YES;
    }
    struct MHD_Response *response = make_response(connection, head);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection->http, head->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- questions ---- */

static const char *header(struct api_connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection->http, MHD_HEADER_KIND, name);
}

/* A browser must never speak to this socket, not even through a proxy that somebody put before it:
 * no page's request, and no name that an outsider's DNS could answer for. */
static bool from_browser(struct api_connection *connection)
{
    static const char *const hosts[] = {"localhost", "ppn"};
    const char *host = header(connection, "Host");
    bool known = host == NULL;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]) && !known; i++)
        known = strcmp(host, hosts[i]) == 0;
    return !known || header(connection, "Origin") != NULL ||
           header(connection, "Referer") != NULL || header(connection, "Sec-Fetch-Site") != NULL;
}

static uint64_t body_size(struct api_connection *connection)
{
    const char *text = header(connection, "Content-Length");
    if (text == NULL)
        return header(connection, "Transfer-Encoding") != NULL ? UINT64_MAX : 0;
    char *end;
    errno = 0;
    unsigned long long size = strtoull(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' ? UINT64_MAX : size;
}

static enum MHD_Result begin(struct api_connection *connection, const char *method_name)
{
    struct api_question question = {.target = connection->target,
                                    .body_size = body_size(connection),
                                    .upgrade = header(connection, "Upgrade") != NULL,
                                    .asker = {.local = true}};
    struct api_transport transport = {connection, on_wake, on_resume};
    connection->begun = true;
    os_io_init(
        &connection->hang_up, connection->server->loop,
        MHD_get_connection_info(connection->http, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
        on_hang_up, connection);
    if (from_browser(connection))
        return answer_fixed(connection, 403, "unauthorized",
                            "this API is not for browsers: send Host: localhost and neither "
                            "Origin nor Referer");
    if (api_method_parse(method_name, &question.method) != PPN_OK)
        return answer_fixed(connection, 405, "invalid", "this method is not known");
    if (api_request_open(&connection->request, connection->server->backend, &transport,
                         &question) != PPN_OK)
        return answer_fixed(connection, 503, "busy", "too many requests at a time, try again");
    /* A body that is waiting for our word need not be sent when the answer is known. */
    const char *expect = header(connection, "Expect");
    if (expect != NULL && api_request_answer(connection->request) != NULL)
        return answer(connection);
    return MHD_YES;
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *http, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request_context)
{
    struct api_connection *connection = *request_context;
    (void)context;
    (void)url;
    (void)version;
    if (connection == NULL)
        return MHD_NO;
    connection->http = http;
    if (!connection->begun)
        return begin(connection, method);
    if (connection->request == NULL)
        return MHD_NO;
    if (*upload_size > 0) {
        *upload_size -= api_request_feed(connection->request, ppn_slice(upload, *upload_size));
        if (*upload_size > 0)
            suspend(connection);
        return MHD_YES;
    }
    if (!connection->fed) {
        connection->fed = true;
        api_request_feed_end(connection->request);
    }
    return answer(connection);
}

/* Called with the request line as it came, before anything else. */
static void *on_target(void *context, const char *target, struct MHD_Connection *http)
{
    struct api_server *server = context;
    struct api_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->server = server;
    connection->http = http;
    (void)ppn_text_copy(connection->target, sizeof(connection->target), target);
    connection->next = server->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    server->connections = connection;
    return connection;
}

static void on_completed(void *context, struct MHD_Connection *http, void **request_context,
                         enum MHD_RequestTerminationCode reason)
{
    struct api_server *server = context;
    struct api_connection *connection = *request_context;
    (void)http;
    (void)reason;
    if (connection == NULL)
        return;
    *request_context = NULL;
    PPN_ASSERT(connection->stream == NULL);
    os_io_stop(&connection->hang_up);
    if (connection->request != NULL)
        api_request_release(connection->request);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    free(connection);
}

/* Paths are decoded by the router, which knows where a segment ends. */
static size_t keep_escapes(void *context, struct MHD_Connection *http, char *text)
{
    (void)context;
    (void)http;
    return strlen(text);
}

static void on_library_log(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void on_library_log(void *context, const char *format, va_list arguments)
{
    char text[256];
    (void)context;
    (void)vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    ppn_log(PPN_LOG_DEBUG, "http", "text=\"%s\"", text);
}

/* ---- life ---- */

static gid_t find_group(const char *name)
{
    char buffer[GROUP_BUFFER];
    struct group group, *found = NULL;
    if (name == NULL || getgrnam_r(name, &group, buffer, sizeof(buffer), &found) != 0 ||
        found == NULL)
        return (gid_t)-1;
    return group.gr_gid;
}

static struct MHD_Daemon *start(struct api_server *server, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
}

enum ppn_error api_server_open(struct os_loop *loop, const struct api_server_config *config,
                               struct api_server **out, struct ppn_failure *failure)
{
    int fd = -1;
    *out = NULL;
    struct api_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    server->loop = loop;
    server->backend = config->backend;
    if (!ppn_text_copy(server->path, sizeof(server->path), config->path)) {
        free(server);
        return ppn_fail(failure, PPN_ERROR_INVALID, "the socket path is over %d bytes: %s",
                        OS_UNIX_PATH_MAX, config->path);
    }
    enum ppn_error error =
        os_listen_unix(config->path, 0660, find_group(config->group), &fd, failure);
    if (error != PPN_OK) {
        free(server);
        return error;
    }
    server->daemon = start(server, fd);
    if (server->daemon == NULL) {
        (void)close(fd);
        (void)unlink(server->path);
        free(server);
        return ppn_fail(failure, PPN_ERROR_IO, "the HTTP server cannot start on %s", config->path);
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    os_timer_init(&server->timer, loop, on_again, server);
    os_closure_init(&server->again, on_again, server);
    os_io_init(&server->io, loop, info->epoll_fd, on_ready, server);
    os_io_want(&server->io, OS_READABLE);
    *out = server;
    return PPN_OK;
}

void api_server_close(struct api_server *server)
{
    if (server == NULL)
        return;
    os_io_stop(&server->io);
    os_timer_stop(&server->timer);
    for (struct api_connection *c = server->connections; c != NULL; c = c->next) {
        if (c->upgrade != NULL) {
            api_console_close(c);
            continue;
        }
        struct api_request *request = c->request;
        c->request = NULL;
        if (request != NULL)
            api_request_release(request);
        resume(c);
    }
    os_defer_cancel(server->loop, &server->again);
    MHD_stop_daemon(server->daemon); /* closes the listening descriptor too */
    PPN_ASSERT(server->connections == NULL);
    (void)unlink(server->path);
    free(server);
}
