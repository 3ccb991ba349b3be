// SPDX-License-Identifier: ISC
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "os/os_net.h"

enum { QUIET_MS = 250, READS_A_ROUND = 64 };

struct os_net_watch {
    int fd;
    struct os_io io;
    struct os_timer timer;
    os_fn *on_change;
    void *context;
};

/* What changed does not matter: whoever is told looks at everything anew. So the messages are only
 * drained, and an overrun (ENOBUFS) is a change like any other. */
static void on_ready(void *context, unsigned ready)
{
    (void)ready;
    struct os_net_watch *watch = context;
    char buffer[4096];
    for (int i = 0; i < READS_A_ROUND; i++) {
        ssize_t got = recv(watch->fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got <= 0 && errno != ENOBUFS)
            break;
    }
    if (!os_timer_armed(&watch->timer))
        os_timer_after(&watch->timer, ppn_ms(QUIET_MS));
}

static void on_quiet(void *context)
{
    struct os_net_watch *watch = context;
    watch->on_change(watch->context);
}

enum ppn_error os_net_watch_open(struct os_loop *loop, os_fn *on_change, void *context,
                                 struct os_net_watch **out, struct ppn_failure *failure)
{
    PPN_ASSERT(on_change != NULL);
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                  .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
                                               RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                                               RTMGRP_IPV6_ROUTE};
    *out = NULL;
    struct os_net_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory to watch the network");
    watch->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (watch->fd < 0 || bind(watch->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int number = errno;
        if (watch->fd >= 0)
            close(watch->fd);
        free(watch);
        return ppn_fail(failure, os_errno(number), "cannot watch the network for changes: %s",
                        strerror(number));
    }
    watch->on_change = on_change;
    watch->context = context;
    os_io_init(&watch->io, loop, watch->fd, on_ready, watch);
    os_timer_init(&watch->timer, loop, on_quiet, watch);
    os_io_want(&watch->io, OS_READABLE);
    *out = watch;
    return PPN_OK;
}

void os_net_watch_close(struct os_net_watch *watch)
{
    if (!watch)
        return;
    os_io_stop(&watch->io);
    os_timer_stop(&watch->timer);
    close(watch->fd);
    free(watch);
}
