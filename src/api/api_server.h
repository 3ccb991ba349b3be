// SPDX-License-Identifier: ISC
#pragma once

/* The local HTTP/1.1 server on a UNIX socket, in the caller's event loop (libmicrohttpd without a
 * thread of its own). Owned by the caller; loop and backend must outlive it. */

#include "api/api_backend.h"
#include "base/error.h"
#include "os/os_loop.h"

struct api_server;

enum { API_CONNECTIONS_MAX = 128 };

struct api_server_config {
    const char *path;  /* of the socket; its directory must exist */
    const char *group; /* may also connect (mode 0660), when such a group exists; NULL: nobody */
    const struct api_backend *backend;
};

/* Listens on path with mode 0660. A socket file that no process answers is replaced; one that
 * answers is PPN_ERROR_EXISTS ("another ppn-node runs"). INVALID: the path is too long or no
 * socket. */
enum ppn_error api_server_open(struct os_loop *loop, const struct api_server_config *config,
                               struct api_server **server, struct ppn_failure *failure) PPN_CHECK;

/* Ends every connection (backends hear `gone`), removes the socket. NULL is fine. */
void api_server_close(struct api_server *server);
