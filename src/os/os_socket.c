// SPDX-License-Identifier: ISC
#include "os/os_socket.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_file.h"

static bool is_any(const struct ppn_endpoint *endpoint)
{
    static const uint8_t zero[16];
    return memcmp(endpoint->address, zero, sizeof zero) == 0;
}

static bool set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static int choose_family(const struct os_socket_config *config)
{
    const struct ppn_endpoint *decides = config->bind;
    if (is_any(decides) && config->peer)
        decides = config->peer;
    return os_endpoint_is_ipv4(decides) ? AF_INET : AF_INET6;
}

static enum ppn_error bind_failure(const struct ppn_endpoint *bind, struct ppn_failure *failure)
{
    int number = errno;
    char text[OS_ENDPOINT_TEXT];
    os_endpoint_text(bind, text);
    if (number == EADDRINUSE)
        return ppn_fail(failure, PPN_ERROR_EXISTS,
                        "cannot listen on %s: another program uses this port; stop it or choose "
                        "another port",
                        text);
    if (number == EADDRNOTAVAIL)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND,
                        "cannot listen on %s: this machine has no such address", text);
    return ppn_fail(failure, os_errno(number), "cannot listen on %s: %s", text, strerror(number));
}

static enum ppn_error configure(int fd, int family, const struct os_socket_config *config,
                                struct ppn_failure *failure)
{
    if (family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any(config->bind));
    if (config->reuse)
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (config->freebind)
        set(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
            family == AF_INET6 ? IPV6_FREEBIND : IP_FREEBIND, 1);
    if (config->interface && config->interface[0] &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, config->interface,
                   (socklen_t)strlen(config->interface)) != 0)
        return ppn_fail(failure, os_errno(errno), "cannot use the interface %s: %s",
                        config->interface, strerror(errno));
    if (config->bind_skip_any && is_any(config->bind) && config->bind->port == 0)
        return PPN_OK;
    struct sockaddr_storage address;
    socklen_t size = os_endpoint_to_sockaddr(config->bind, family, &address);
    const uint8_t *bytes = config->bind->address;
    bool link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    if (family == AF_INET6 && link_local && config->interface)
        ((struct sockaddr_in6 *)&address)->sin6_scope_id = if_nametoindex(config->interface);
    if (bind(fd, (struct sockaddr *)&address, size) != 0)
        return bind_failure(config->bind, failure);
    return PPN_OK;
}

enum ppn_error os_socket_open(const struct os_socket_config *config, int *out, int *out_family,
                              struct ppn_failure *failure)
{
    PPN_ASSERT(config->bind != NULL);
    *out = -1;
    int family = choose_family(config);
    int type = config->type | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(family, type, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && is_any(config->bind) && !config->peer) {
        family = AF_INET;
        fd = socket(family, type, 0);
    }
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot make a socket: %s", strerror(errno));
    enum ppn_error error = configure(fd, family, config, failure);
    if (error != PPN_OK) {
        close(fd);
        return error;
    }
    *out = fd;
    *out_family = family;
    return PPN_OK;
}

enum ppn_error os_socket_local(int fd, struct ppn_endpoint *endpoint)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    *endpoint = (struct ppn_endpoint){0};
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return os_errno(errno);
    return os_endpoint_from_sockaddr(&address, endpoint) ? PPN_OK : PPN_ERROR_UNSUPPORTED;
}
