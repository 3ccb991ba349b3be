// SPDX-License-Identifier: ISC
#pragma once

/* The server's connections: api_server.c speaks HTTP with them, api_console.c takes over those that
 * became two raw streams. */

#include <microhttpd.h>

#include "api/api_request.h"
#include "api/api_server.h"
#include "os/os_stream.h"

struct api_connection {
    struct api_connection *next, *previous;
    struct api_server *server;
    struct MHD_Connection *http;
    struct api_request *request;     /* NULL before it begins and after the asker went */
    char target[API_TARGET_MAX + 2]; /* one over the limit still shows that it is over */
    bool begun, fed, suspended;
    struct os_io hang_up; /* only while suspended: libmicrohttpd does not look then */

    struct os_stream *stream; /* of a console */
    struct MHD_UpgradeResponseHandle *upgrade;
    struct os_closure pump;
    bool finished; /* the console's output was sent whole */
};

struct api_server {
    struct os_loop *loop;
    struct MHD_Daemon *daemon;
    struct os_io io;
    struct os_timer timer;
    struct os_closure again;
    const struct api_backend *backend;
    struct api_connection *connections;
    char path[OS_UNIX_PATH_MAX + 1];
};

/* The callback that libmicrohttpd calls when the connection is ours; context: the connection. */
void api_console_begin(void *context, struct MHD_Connection *http, void *request_context,
                       const char *extra, size_t extra_size, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *upgrade);

/* The backend has bytes, or takes some again. */
void api_console_wake(struct api_connection *connection);
void api_console_resume(struct api_connection *connection);

/* Ends it now; the backend hears `gone` if it still owed. */
void api_console_close(struct api_connection *connection);
