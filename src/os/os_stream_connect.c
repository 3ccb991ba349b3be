// SPDX-License-Identifier: ISC
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_file.h"
#include "os/os_socket.h"
#include "os/os_stream_internal.h"

/* Small frames must not wait for each other, and a peer that vanished without a word must be
 * noticed while we wait for nothing but it: TCP_USER_TIMEOUT bounds unacknowledged data, keepalive
 * bounds silence. Silence is rare: who waits for an answer sends pings of its own, and connections
 * without work are closed before the first keepalive, which would cost a network of idle nodes more
 * than its gossip does. */
enum {
    USER_TIMEOUT_MS = 30000,
    KEEPALIVE_IDLE_S = 120,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3
};

static void set(int fd, int level, int option, int value)
{
    /* Refusal only makes detection slower. */
    if (setsockopt(fd, level, option, &value, sizeof value) != 0)
        errno = 0;
}

static void tune_tcp(int fd, const struct os_stream_config *config)
{
    if (config->kernel_queue_max > 0)
        set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)config->kernel_queue_max);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
}

enum ppn_error os_stream_connect(struct os_loop *loop, const struct os_stream_target *target,
                                 const struct os_stream_config *config, struct os_stream **stream,
                                 struct ppn_failure *failure)
{
    int fd, family;
    struct sockaddr_storage address;
    char text[OS_ENDPOINT_TEXT];
    *stream = NULL;
    struct os_socket_config socket_config = {.type = SOCK_STREAM,
                                             .bind = &target->from,
                                             .peer = &target->to,
                                             .interface = target->interface,
                                             .bind_skip_any = true};
    enum ppn_error error = os_socket_open(&socket_config, &fd, &family, failure);
    if (error != PPN_OK)
        return error;
    tune_tcp(fd, config);
    socklen_t size = os_endpoint_to_sockaddr(&target->to, family, &address);
    if (connect(fd, (struct sockaddr *)&address, size) != 0 && errno != EINPROGRESS) {
        int number = errno;
        close(fd);
        os_endpoint_text(&target->to, text);
        return ppn_fail(failure, os_errno(number), "cannot connect to %s: %s", text,
                        strerror(number));
    }
    return os_stream_make(loop, fd, false, true, config, stream, failure);
}

enum ppn_error os_stream_connect_unix(struct os_loop *loop, const char *path,
                                      const struct os_stream_config *config,
                                      struct os_stream **stream, struct ppn_failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *stream = NULL;
    if (strlen(path) > OS_UNIX_PATH_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the socket path %.80s... is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot make a socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int number = errno;
        close(fd);
        return ppn_fail(failure, os_errno(number), "cannot connect to %s: %s", path,
                        strerror(number));
    }
    return os_stream_make(loop, fd, true, true, config, stream, failure);
}

enum ppn_error os_stream_adopt(struct os_loop *loop, int fd, const struct os_stream_config *config,
                               struct os_stream **stream, struct ppn_failure *failure)
{
    PPN_ASSERT(fd >= 0);
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) {
        int number = errno;
        *stream = NULL;
        close(fd);
        return ppn_fail(failure, os_errno(number), "not a socket: %s", strerror(number));
    }
    if (family != AF_UNIX)
        tune_tcp(fd, config);
    return os_stream_make(loop, fd, family == AF_UNIX, false, config, stream, failure);
}

struct ppn_endpoint os_stream_peer(const struct os_stream *stream)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    struct ppn_endpoint peer = {0};
    if (!stream->unix_socket && stream->fd >= 0 &&
        getpeername(stream->fd, (struct sockaddr *)&address, &size) == 0 &&
        !os_endpoint_from_sockaddr(&address, &peer))
        peer = (struct ppn_endpoint){0};
    return peer;
}

struct ppn_endpoint os_stream_local(const struct os_stream *stream)
{
    struct ppn_endpoint local = {0};
    if (stream->unix_socket || stream->fd < 0 || os_socket_local(stream->fd, &local) != PPN_OK)
        return (struct ppn_endpoint){0};
    return local;
}

bool os_stream_peer_uid(const struct os_stream *stream, uid_t *uid, gid_t *gid)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (!stream->unix_socket || stream->fd < 0 ||
        getsockopt(stream->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return false;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return true;
}

enum ppn_error os_stream_pair(int fds[static 2], struct ppn_failure *failure)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0)
        return PPN_OK;
    return ppn_fail(failure, os_errno(errno), "cannot make a socket pair: %s", strerror(errno));
}
