// SPDX-License-Identifier: ISC
#include "os/os_batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"
#include "os/os_socket.h"

enum {
    RECEIVE_BUFFER = 1 << 20,
    CONTROL_SIZE = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))
};

struct batch_socket {
    struct os_batch *batch;
    struct os_io io;
    int fd, family;
};

union control {
    size_t align; /* as struct cmsghdr begins */
    uint8_t bytes[CONTROL_SIZE];
};

struct outgoing {
    uint32_t socket;
    uint16_t segment;
    bool sent;
    struct os_batch_own own;
    struct sockaddr_storage to;
    socklen_t to_size;
    struct iovec vector;
};

struct os_batch {
    struct os_loop *loop;
    os_batch_fn *on_packet;
    void *context;
    struct os_batch_stats stats;
    uint32_t socket_count, out_count;
    bool no_segments; /* the kernel refused UDP_SEGMENT once */
    uint8_t *bytes;   /* OS_BATCH_PACKETS * OS_BATCH_BYTES, touched as used */
    struct mmsghdr in[OS_BATCH_PACKETS], ready[OS_BATCH_PACKETS];
    struct iovec in_vectors[OS_BATCH_PACKETS];
    struct sockaddr_storage in_from[OS_BATCH_PACKETS];
    union control in_control[OS_BATCH_PACKETS], out_control[OS_BATCH_PACKETS];
    struct outgoing out[OS_BATCH_PACKETS];
    struct batch_socket sockets[OS_BATCH_SOCKETS_MAX];
};

enum ppn_error os_batch_open(struct os_loop *loop, os_batch_fn *on_packet, void *context,
                             struct os_batch **out, struct ppn_failure *failure)
{
    struct os_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a relay's buffers");
    void *bytes = mmap(NULL, (size_t)OS_BATCH_PACKETS * OS_BATCH_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        free(batch);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a relay's buffers");
    }
    batch->loop = loop;
    batch->on_packet = on_packet;
    batch->context = context;
    batch->bytes = bytes;
    for (int i = 0; i < OS_BATCH_PACKETS; i++) {
        batch->in_vectors[i].iov_base = batch->bytes + (size_t)i * OS_BATCH_BYTES;
        batch->in_vectors[i].iov_len = OS_BATCH_BYTES;
    }
    *out = batch;
    return PPN_OK;
}

void os_batch_close(struct os_batch *batch)
{
    if (batch == NULL)
        return;
    for (uint32_t i = 0; i < batch->socket_count; i++) {
        os_io_stop(&batch->sockets[i].io);
        close(batch->sockets[i].fd);
    }
    munmap(batch->bytes, (size_t)OS_BATCH_PACKETS * OS_BATCH_BYTES);
    free(batch);
}

/* ---- out ---- */

static void add_control(struct msghdr *header, union control *control, int level, int type,
                        const void *data, size_t size)
{
    struct cmsghdr *item = (struct cmsghdr *)(void *)(control->bytes + header->msg_controllen);
    PPN_ASSERT(header->msg_controllen + CMSG_SPACE(size) <= CONTROL_SIZE);
    header->msg_control = control->bytes;
    header->msg_controllen += CMSG_SPACE(size);
    item->cmsg_level = level;
    item->cmsg_type = type;
    item->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(item), data, size);
}

/* From which of this machine's addresses. An IPv6 socket takes mapped IPv4 ones, too. */
static void add_own(struct msghdr *header, union control *control, int family,
                    const struct os_batch_own *own)
{
    static const uint8_t none[sizeof(own->address)];
    struct in6_pktinfo info = {.ipi6_ifindex = 0};
    struct in_pktinfo info4 = {.ipi_ifindex = 0};
    if (memcmp(own->address, none, sizeof(none)) == 0)
        return;
    memcpy(&info.ipi6_addr, own->address, sizeof(own->address));
    memcpy(&info4.ipi_spec_dst, own->address + 12, sizeof(info4.ipi_spec_dst));
    if (family == AF_INET)
        add_control(header, control, IPPROTO_IP, IP_PKTINFO, &info4, sizeof(info4));
    else
        add_control(header, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

static void fill_message(struct os_batch *batch, struct outgoing *out, size_t at)
{
    struct msghdr *header = &batch->ready[at].msg_hdr;
    union control *control = &batch->out_control[at];
    *header = (struct msghdr){.msg_name = &out->to,
                              .msg_namelen = out->to_size,
                              .msg_iov = &out->vector,
                              .msg_iovlen = 1};
    add_own(header, control, batch->sockets[out->socket].family, &out->own);
    if (out->segment < out->vector.iov_len)
        add_control(header, control, SOL_UDP, UDP_SEGMENT, &out->segment, sizeof(out->segment));
}

static uint32_t segments_of(const struct outgoing *out)
{
    return (uint32_t)((out->vector.iov_len + out->segment - 1) / out->segment);
}

static bool send_one(const struct os_batch *batch, const struct outgoing *out,
                     struct ppn_slice datagram)
{
    const struct batch_socket *socket = &batch->sockets[out->socket];
    struct iovec vector = {(void *)(uintptr_t)datagram.data, datagram.size};
    struct msghdr header = {.msg_name = (void *)(uintptr_t)&out->to,
                            .msg_namelen = out->to_size,
                            .msg_iov = &vector,
                            .msg_iovlen = 1};
    union control control = {0};
    add_own(&header, &control, socket->family, &out->own);
    return sendmsg(socket->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* One datagram a call: for a kernel or a device without segmentation. */
static void send_singly(struct os_batch *batch, const struct outgoing *out)
{
    const uint8_t *bytes = out->vector.iov_base;
    size_t left = out->vector.iov_len;
    while (left > 0) {
        size_t size = left < out->segment ? left : out->segment;
        if (!send_one(batch, out, ppn_slice(bytes, size)))
            batch->stats.send_failed++;
        bytes += size;
        left -= size;
    }
}

/* What sendmmsg stopped at is given one more try, since the error may be an earlier datagram's (an
 * ICMP message that came back), and then given up. */
static void send_run(struct os_batch *batch, uint32_t socket, struct outgoing **run, size_t count)
{
    size_t done = 0;
    bool again = false;
    while (done < count) {
        int sent = sendmmsg(batch->sockets[socket].fd, batch->ready + done,
                            (unsigned)(count - done), MSG_DONTWAIT | MSG_NOSIGNAL);
        batch->stats.sent_calls++;
        if (sent > 0) {
            done += (size_t)sent;
            again = false;
            continue;
        }
        bool segmented = run[done]->segment < run[done]->vector.iov_len;
        if (segmented && (errno == EINVAL || errno == EIO || errno == EOPNOTSUPP)) {
            batch->no_segments |= errno == EOPNOTSUPP;
            send_singly(batch, run[done++]);
        } else if (again || errno == EAGAIN || errno == ENOBUFS) {
            batch->stats.send_failed += segments_of(run[done++]);
            again = false;
        } else {
            again = true;
        }
    }
}

/* Packets that leave from one socket go together, those of one flow in their order. */
static void flush(struct os_batch *batch)
{
    struct outgoing *run[OS_BATCH_PACKETS];
    for (uint32_t first = 0; first < batch->out_count; first++) {
        size_t count = 0;
        if (batch->out[first].sent)
            continue;
        for (uint32_t i = first; i < batch->out_count; i++) {
            struct outgoing *out = &batch->out[i];
            if (out->sent || out->socket != batch->out[first].socket)
                continue;
            out->sent = true;
            if (batch->no_segments && out->segment < out->vector.iov_len) {
                send_singly(batch, out);
                continue;
            }
            fill_message(batch, out, count);
            run[count++] = out;
        }
        send_run(batch, batch->out[first].socket, run, count);
    }
    batch->out_count = 0;
}

static socklen_t address_of(const struct batch_socket *socket, const struct ppn_endpoint *to,
                            struct sockaddr_storage *address)
{
    if (socket->family == AF_INET && !os_endpoint_is_ipv4(to))
        return 0;
    return os_endpoint_to_sockaddr(to, socket->family, address);
}

void os_batch_forward(struct os_batch *batch, const struct os_batch_packet *packet, uint32_t socket,
                      const struct ppn_endpoint *to, const struct os_batch_own *own)
{
    PPN_ASSERT(socket < batch->socket_count && batch->out_count < OS_BATCH_PACKETS);
    PPN_ASSERT(packet->segment > 0);
    struct outgoing *out = &batch->out[batch->out_count];
    out->to_size = address_of(&batch->sockets[socket], to, &out->to);
    out->own = *own;
    out->segment = packet->segment;
    out->vector = (struct iovec){(void *)(uintptr_t)packet->bytes.data, packet->bytes.size};
    if (out->to_size == 0) {
        batch->stats.send_failed += segments_of(out);
        return;
    }
    out->socket = socket;
    out->sent = false;
    batch->out_count++;
}

bool os_batch_answer(struct os_batch *batch, uint32_t socket, const struct ppn_endpoint *to,
                     const struct os_batch_own *own, struct ppn_slice datagram)
{
    PPN_ASSERT(socket < batch->socket_count);
    struct outgoing out = {.socket = socket, .own = *own};
    out.to_size = address_of(&batch->sockets[socket], to, &out.to);
    for (int attempt = 0; out.to_size > 0 && attempt < 2; attempt++) {
        if (send_one(batch, &out, datagram))
            return true;
    }
    batch->stats.send_failed++;
    return false;
}

/* ---- in ---- */

/* The size of its segments, and which of this machine's addresses it was sent to. */
static void read_control(struct msghdr *header, struct os_batch_packet *packet)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    size_t size = packet->bytes.size;
    packet->segment = (uint16_t)size;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
            if (segment > 0 && (size_t)segment < size && segment <= UINT16_MAX)
                packet->segment = (uint16_t)segment;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            memcpy(packet->own.address, &info.ipi6_addr, sizeof(packet->own.address));
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            memcpy(packet->own.address, mapped, sizeof(mapped));
            memcpy(packet->own.address + sizeof(mapped), &info.ipi_addr, sizeof(info.ipi_addr));
        }
    }
}

static bool read_once(struct os_batch *batch, uint32_t number)
{
    struct batch_socket *socket = &batch->sockets[number];
    for (int i = 0; i < OS_BATCH_PACKETS; i++)
        batch->in[i].msg_hdr = (struct msghdr){.msg_name = &batch->in_from[i],
                                               .msg_namelen = sizeof(batch->in_from[i]),
                                               .msg_iov = &batch->in_vectors[i],
                                               .msg_iovlen = 1,
                                               .msg_control = batch->in_control[i].bytes,
                                               .msg_controllen = CONTROL_SIZE};
    int count = recvmmsg(socket->fd, batch->in, OS_BATCH_PACKETS, MSG_DONTWAIT, NULL);
    batch->stats.received_calls++;
    for (int i = 0; i < count; i++) {
        struct os_batch_packet packet = {.socket = number};
        size_t size = batch->in[i].msg_len;
        if (size == 0 || size > UINT16_MAX || (batch->in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 ||
            !os_endpoint_from_sockaddr(&batch->in_from[i], &packet.from))
            continue;
        packet.bytes = ppn_slice(batch->in_vectors[i].iov_base, size);
        read_control(&batch->in[i].msg_hdr, &packet);
        batch->on_packet(batch->context, &packet);
    }
    flush(batch);
    return count == OS_BATCH_PACKETS;
}

static void on_readable(void *context, unsigned ready)
{
    (void)ready;
    struct batch_socket *socket = context;
    struct os_batch *batch = socket->batch;
    uint32_t number = (uint32_t)(socket - batch->sockets);
    for (int round = 0; round < OS_BATCH_ROUNDS && read_once(batch, number); round++)
        continue;
}

enum ppn_error os_batch_listen(struct os_batch *batch, uint16_t port, struct ppn_failure *failure)
{
    PPN_ASSERT(batch->socket_count < OS_BATCH_SOCKETS_MAX && port != 0);
    struct batch_socket *socket = &batch->sockets[batch->socket_count];
    struct ppn_endpoint any = {.port = port};
    struct os_socket_config config = {.type = SOCK_DGRAM, .bind = &any};
    enum ppn_error error = os_socket_open(&config, &socket->fd, &socket->family, failure);
    if (error != PPN_OK)
        return error;
    int size = RECEIVE_BUFFER, on = 1;
    if (setsockopt(socket->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        setsockopt(socket->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(socket->fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
    if (socket->family == AF_INET)
        setsockopt(socket->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
    else
        setsockopt(socket->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
    socket->batch = batch;
    batch->socket_count++;
    os_io_init(&socket->io, batch->loop, socket->fd, on_readable, socket);
    os_io_want(&socket->io, OS_READABLE);
    return PPN_OK;
}

const struct os_batch_stats *os_batch_stats(const struct os_batch *batch)
{
    return &batch->stats;
}
