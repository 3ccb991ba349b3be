// SPDX-License-Identifier: ISC
#pragma once

/* The local HTTP/1.1 server on a UNIX socket. It is one file descriptor to its owner: readable when
 * there is work. No thread, no callback before api_server_dispatch(), except the backend's own
 * answers made in between. Owned by the caller; the backend must outlive it. */

#include "api/api_backend.h"
#include "base/error.h"

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
enum ppn_error api_server_open(struct api_server **server, const struct api_server_config *config,
                               struct ppn_failure *failure) PPN_CHECK;

/* Watch it for reading; the same number as long as the server lives. */
int api_server_fd(const struct api_server *server);

/* Does all that can be done without waiting. */
void api_server_dispatch(struct api_server *server);

/* Ends every connection (backends hear `gone`), removes the socket. NULL is fine. */
void api_server_close(struct api_server *server);
