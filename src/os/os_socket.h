// SPDX-License-Identifier: ISC
#pragma once

/* Making and binding sockets, for the files of src/os only. */

#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/facts.h"

struct os_socket_config {
    int type; /* SOCK_STREAM or SOCK_DGRAM */
    const struct ppn_endpoint *bind;
    const struct ppn_endpoint *peer; /* decides the family when bind is any address; may be NULL */
    const char *interface;
    bool freebind;
    bool reuse;
    bool bind_skip_any; /* do not bind an all-zero endpoint at all (outgoing connections) */
};

/* A non-blocking, close-on-exec socket. Any address: IPv6 that also takes IPv4, or IPv4 alone where
 * the kernel has no IPv6. */
enum ppn_error os_socket_open(const struct os_socket_config *config, int *fd, int *family,
                              struct ppn_failure *failure) PPN_CHECK;
enum ppn_error os_socket_local(int fd, struct ppn_endpoint *endpoint) PPN_CHECK;
