// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_file.h"
#include "os/os_socket.h"
#include "os/os_stream.h"

enum {
    BACKLOG = 64,
    ACCEPTS_A_ROUND = 16,
    /* Out of descriptors, accept fails at once and for ever while the socket stays readable. */
    BACK_OFF_MS = 200
};

struct os_listener {
    struct os_loop *loop;
    int fd;
    struct os_io io;
    struct os_timer back_off;
    os_accept_fn *on_accept;
    void *context;
    uint32_t connections, connections_max;
    struct ppn_endpoint local;
    char unix_path[OS_UNIX_PATH_MAX + 1]; /* "" for TCP */
    bool in_callback, closed;
};

static void watch(struct os_listener *listener)
{
    bool open =
        listener->connections < listener->connections_max && !os_timer_armed(&listener->back_off);
    os_io_want(&listener->io, open ? OS_READABLE : 0);
}

static void on_back_off_over(void *context)
{
    watch(context);
}

/* False when there is nothing to accept now. */
static bool accept_one(struct os_listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    struct ppn_endpoint from = {0};
    int fd =
        accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            os_timer_after(&listener->back_off, ppn_ms(BACK_OFF_MS));
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (!os_endpoint_from_sockaddr(&address, &from))
        from = (struct ppn_endpoint){0};
    listener->connections++;
    listener->on_accept(listener->context, fd, &from);
    return true;
}

static void on_ready(void *context, unsigned ready)
{
    (void)ready;
    struct os_listener *listener = context;
    listener->in_callback = true;
    for (int i = 0; i < ACCEPTS_A_ROUND && !listener->closed &&
                    listener->connections < listener->connections_max;
         i++)
        if (!accept_one(listener))
            break;
    listener->in_callback = false;
    if (listener->closed)
        free(listener);
    else
        watch(listener);
}

/* Whether somebody answers on a UNIX socket; only a socket that nobody answers on may be replaced.
 */
static enum ppn_error clear_stale(const char *path, const struct sockaddr_un *address,
                                  struct ppn_failure *failure)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return PPN_OK;
    if (!S_ISSOCK(info.st_mode))
        return ppn_fail(failure, PPN_ERROR_EXISTS, "%s exists and is no socket: remove it", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot make a socket: %s", strerror(errno));
    bool answers =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
    close(fd);
    if (answers)
        return ppn_fail(failure, PPN_ERROR_EXISTS, "another process answers on %s", path);
    return os_file_remove(path, failure);
}

enum ppn_error os_listen_unix(const char *path, mode_t mode, gid_t group, int *out,
                              struct ppn_failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *out = -1;
    if (strlen(path) > OS_UNIX_PATH_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the socket path %.80s... is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    enum ppn_error error = clear_stale(path, &address, failure);
    if (error != PPN_OK)
        return error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ppn_fail(failure, os_errno(errno), "cannot make a socket: %s", strerror(errno));
    /* Nobody can connect before listen, so the mode set after bind leaves no gap. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, mode) != 0 ||
        (group != (gid_t)-1 && lchown(path, (uid_t)-1, group) != 0) || listen(fd, BACKLOG) != 0) {
        int number = errno;
        close(fd);
        return ppn_fail(failure, os_errno(number), "cannot listen on %s: %s", path,
                        strerror(number));
    }
    *out = fd;
    return PPN_OK;
}

enum ppn_error os_listen_tcp(const struct ppn_endpoint *bind, const char *interface, bool freebind,
                             int *out, struct ppn_failure *failure)
{
    int fd, family;
    *out = -1;
    struct os_socket_config config = {.type = SOCK_STREAM,
                                      .bind = bind,
                                      .interface = interface,
                                      .freebind = freebind,
                                      .reuse = true};
    enum ppn_error error = os_socket_open(&config, &fd, &family, failure);
    if (error != PPN_OK)
        return error;
    if (listen(fd, BACKLOG) != 0) {
        char text[OS_ENDPOINT_TEXT];
        int number = errno;
        close(fd);
        os_endpoint_text(bind, text);
        return ppn_fail(failure, os_errno(number), "cannot listen on %s: %s", text,
                        strerror(number));
    }
    *out = fd;
    return PPN_OK;
}

enum ppn_error os_listener_open(struct os_loop *loop, const struct os_listener_config *config,
                                struct os_listener **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->on_accept != NULL && config->connections_max > 0);
    *out = NULL;
    struct os_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a listener");
    enum ppn_error error = config->unix_path
                               ? os_listen_unix(config->unix_path, config->unix_mode,
                                                config->unix_group, &listener->fd, failure)
                               : os_listen_tcp(&config->bind, config->interface, config->freebind,
                                               &listener->fd, failure);
    if (error != PPN_OK) {
        free(listener);
        return error;
    }
    if (config->unix_path)
        memcpy(listener->unix_path, config->unix_path, strlen(config->unix_path) + 1);
    else if (os_socket_local(listener->fd, &listener->local) != PPN_OK)
        listener->local = config->bind;
    listener->loop = loop;
    listener->on_accept = config->on_accept;
    listener->context = config->context;
    listener->connections_max = config->connections_max;
    os_io_init(&listener->io, loop, listener->fd, on_ready, listener);
    os_timer_init(&listener->back_off, loop, on_back_off_over, listener);
    watch(listener);
    *out = listener;
    return PPN_OK;
}

void os_listener_close(struct os_listener *listener)
{
    if (!listener)
        return;
    PPN_ASSERT(!listener->closed);
    listener->closed = true;
    os_io_stop(&listener->io);
    os_timer_stop(&listener->back_off);
    close(listener->fd);
    if (listener->unix_path[0])
        unlink(listener->unix_path);
    if (!listener->in_callback)
        free(listener);
}

void os_listener_release(struct os_listener *listener)
{
    PPN_ASSERT(listener->connections > 0);
    listener->connections--;
    if (!listener->closed)
        watch(listener);
}

struct ppn_endpoint os_listener_local(const struct os_listener *listener)
{
    return listener->local;
}
