// SPDX-License-Identifier: ISC
#include "os/os_udp.h"

#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_file.h"
#include "os/os_socket.h"

struct os_udp {
    struct os_loop *loop;
    int fd;
    int family;
    struct os_io io;
    os_udp_receive_fn *on_receive;
    os_udp_unreachable_fn *on_unreachable;
    void *context;
    struct os_udp_stats stats;
    struct ppn_endpoint local;
    bool in_callback, closed;
    struct mmsghdr messages[OS_UDP_BATCH];
    struct iovec vectors[OS_UDP_BATCH];
    struct sockaddr_storage from[OS_UDP_BATCH];
    uint8_t buffers[OS_UDP_BATCH][OS_UDP_DATAGRAM_MAX];
};

_Static_assert((int)OS_UDP_DATAGRAM_MAX >= (int)PPN_DATAGRAM_MAX, "our own datagrams fit");
_Static_assert(OS_UDP_ROUND_MAX % OS_UDP_BATCH == 0, "a round is whole batches");

static void release(struct os_udp *udp)
{
    close(udp->fd);
    free(udp);
}

/* RFC 4443 type 1 code 4 and RFC 792 type 3 code 3, sent by the destination itself. */
static bool from_host(const struct sock_extended_err *error, const struct ppn_endpoint *to)
{
    struct sockaddr_storage offender = {0};
    struct ppn_endpoint by;
    bool port_unreachable =
        (error->ee_origin == SO_EE_ORIGIN_ICMP6 && error->ee_type == ICMP6_DST_UNREACH &&
         error->ee_code == ICMP6_DST_UNREACH_NOPORT) ||
        (error->ee_origin == SO_EE_ORIGIN_ICMP && error->ee_type == ICMP_DEST_UNREACH &&
         error->ee_code == ICMP_PORT_UNREACH);
    if (!port_unreachable)
        return false;
    const struct sockaddr *address = SO_EE_OFFENDER(error);
    size_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    memcpy(&offender, address, size);
    return os_endpoint_from_sockaddr(&offender, &by) &&
           memcmp(by.address, to->address, sizeof by.address) == 0;
}

/* One message of the error queue; false when it is empty. */
static bool read_error(struct os_udp *udp)
{
    uint8_t payload[64];
    union {
        struct cmsghdr align;
        uint8_t bytes[512];
    } control;
    struct sockaddr_storage name = {0};
    struct iovec vector = {payload, sizeof payload};
    struct msghdr message = {.msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (recvmsg(udp->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    struct ppn_endpoint to;
    if (!os_endpoint_from_sockaddr(&name, &to))
        return true;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        bool ours = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                    (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
        if (!ours)
            continue;
        const struct sock_extended_err *error = (const void *)CMSG_DATA(part);
        if (error->ee_errno == EMSGSIZE)
            continue; /* path MTU news, not a verdict on the host */
        udp->stats.unreachable++;
        if (udp->on_unreachable && !udp->closed)
            udp->on_unreachable(udp->context, &to, from_host(error, &to));
    }
    return true;
}

static void read_errors(struct os_udp *udp)
{
    for (int i = 0; i < OS_UDP_BATCH && !udp->closed && read_error(udp); i++)
        continue;
}

/* Reads one batch; false when the socket is drained or the round must end. */
static bool read_batch(struct os_udp *udp)
{
    for (int i = 0; i < OS_UDP_BATCH; i++)
        udp->messages[i].msg_hdr.msg_namelen = sizeof udp->from[i];
    int count = recvmmsg(udp->fd, udp->messages, OS_UDP_BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) {
        /* EAGAIN too: an error queue that is not empty keeps the descriptor readable. */
        read_errors(udp);
        return false;
    }
    for (int i = 0; i < count && !udp->closed; i++) {
        struct ppn_endpoint from;
        size_t size = udp->messages[i].msg_len;
        udp->stats.received++;
        udp->stats.received_bytes += size;
        if (udp->messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
            udp->stats.dropped_too_big++;
            continue;
        }
        if (os_endpoint_from_sockaddr(&udp->from[i], &from))
            udp->on_receive(udp->context, &from, ppn_slice(udp->buffers[i], size));
    }
    return count == OS_UDP_BATCH && !udp->closed;
}

static void on_ready(void *context, unsigned ready)
{
    (void)ready;
    struct os_udp *udp = context;
    udp->in_callback = true;
    for (int i = 0; i < OS_UDP_ROUND_MAX / OS_UDP_BATCH && read_batch(udp); i++)
        continue;
    udp->in_callback = false;
    if (udp->closed)
        release(udp);
}

static void prepare_buffers(struct os_udp *udp)
{
    for (int i = 0; i < OS_UDP_BATCH; i++) {
        udp->vectors[i] = (struct iovec){udp->buffers[i], OS_UDP_DATAGRAM_MAX};
        udp->messages[i].msg_hdr = (struct msghdr){.msg_name = &udp->from[i],
                                                   .msg_namelen = sizeof udp->from[i],
                                                   .msg_iov = &udp->vectors[i],
                                                   .msg_iovlen = 1};
    }
}

enum ppn_error os_udp_open(struct os_loop *loop, const struct os_udp_config *config,
                           struct os_udp **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->on_receive != NULL);
    *out = NULL;
    struct os_udp *udp = malloc(sizeof *udp);
    if (!udp)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a UDP socket");
    /* The buffers stay untouched, so that a quiet socket costs no memory for them. */
    memset(udp, 0, offsetof(struct os_udp, messages));
    struct os_socket_config socket_config = {.type = SOCK_DGRAM,
                                             .bind = &config->bind,
                                             .interface = config->interface,
                                             .freebind = config->freebind};
    enum ppn_error error = os_socket_open(&socket_config, &udp->fd, &udp->family, failure);
    if (error != PPN_OK) {
        free(udp);
        return error;
    }
    int on = 1;
    setsockopt(udp->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    if (udp->family == AF_INET6)
        setsockopt(udp->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    /* Root may go over the system's limit; the kernel's default holds under 100 full datagrams. */
    const int *size = &config->receive_buffer_bytes;
    if (*size > 0 && setsockopt(udp->fd, SOL_SOCKET, SO_RCVBUFFORCE, size, sizeof *size) != 0)
        setsockopt(udp->fd, SOL_SOCKET, SO_RCVBUF, size, sizeof *size);
    error = os_socket_local(udp->fd, &udp->local);
    PPN_ASSERT(error == PPN_OK);
    udp->loop = loop;
    udp->on_receive = config->on_receive;
    udp->on_unreachable = config->on_unreachable;
    udp->context = config->context;
    prepare_buffers(udp);
    os_io_init(&udp->io, loop, udp->fd, on_ready, udp);
    os_io_want(&udp->io, OS_READABLE);
    *out = udp;
    return PPN_OK;
}

void os_udp_close(struct os_udp *udp)
{
    if (!udp)
        return;
    PPN_ASSERT(!udp->closed);
    udp->closed = true;
    os_io_stop(&udp->io);
    if (!udp->in_callback)
        release(udp);
}

bool os_udp_send(struct os_udp *udp, const struct ppn_endpoint *to, struct ppn_slice datagram)
{
    PPN_ASSERT(!udp->closed);
    struct sockaddr_storage address;
    if (udp->family == AF_INET && !os_endpoint_is_ipv4(to)) {
        udp->stats.dropped_error++;
        return false;
    }
    socklen_t size = os_endpoint_to_sockaddr(to, udp->family, &address);
    /* A second try, because an ICMP error of an earlier datagram is reported to the next call. */
    for (int attempt = 0; attempt < 2; attempt++) {
        ssize_t sent = sendto(udp->fd, datagram.data, datagram.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                              (struct sockaddr *)&address, size);
        if (sent >= 0) {
            udp->stats.sent++;
            udp->stats.sent_bytes += datagram.size;
            return true;
        }
        if (errno == EAGAIN || errno == ENOBUFS) {
            udp->stats.dropped_full++;
            return false;
        }
    }
    udp->stats.dropped_error++;
    return false;
}

struct ppn_endpoint os_udp_local(const struct os_udp *udp)
{
    return udp->local;
}

const struct os_udp_stats *os_udp_stats(const struct os_udp *udp)
{
    return &udp->stats;
}
