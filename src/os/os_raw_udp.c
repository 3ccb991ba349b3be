// SPDX-License-Identifier: ISC
#include "os/os_raw_udp.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_address.h"

enum { FAMILIES = 2, ROUND_MAX = 64, HEADER_SIZE = 8, IPV4_HEADER_MAX = 60 };

struct side {
    struct os_raw_udp *raw;
    int fd, family;
    struct os_io io;
};

struct os_raw_udp {
    uint16_t port;
    os_udp_receive_fn *on_receive;
    void *context;
    bool in_callback;
    struct side sides[FAMILIES];
    uint8_t buffer[IPV4_HEADER_MAX + HEADER_SIZE + OS_RAW_UDP_DATAGRAM_MAX];
};

/* A raw IPv4 socket sees the IP header, an IPv6 one does not. */
static enum ppn_error attach_filter(int fd, int family, uint16_t port, uint8_t first)
{
    struct sock_filter v4[] = {
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, HEADER_SIZE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_filter v6[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, HEADER_SIZE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof v4 / sizeof v4[0], v4};
    if (family == AF_INET6)
        program = (struct sock_fprog){sizeof v6 / sizeof v6[0], v6};
    int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    return result == 0 ? PPN_OK : PPN_ERROR_IO;
}

static void receive(struct side *side, size_t size, const struct sockaddr_storage *address)
{
    struct os_raw_udp *raw = side->raw;
    size_t start = side->family == AF_INET ? (size_t)(raw->buffer[0] & 0x0f) * 4 : 0;
    struct ppn_endpoint from;
    struct udphdr header;
    if (size < start + HEADER_SIZE || !os_endpoint_from_sockaddr(address, &from))
        return;
    memcpy(&header, raw->buffer + start, sizeof header);
    size_t length = ntohs(header.uh_ulen);
    if (length < HEADER_SIZE || length > size - start)
        return;
    from.port = ntohs(header.uh_sport);
    raw->on_receive(raw->context, &from,
                    ppn_slice(raw->buffer + start + HEADER_SIZE, length - HEADER_SIZE));
}

static void on_ready(void *context, unsigned ready)
{
    (void)ready;
    struct side *side = context;
    struct os_raw_udp *raw = side->raw;
    raw->in_callback = true;
    for (int i = 0; i < ROUND_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        ssize_t got = recvfrom(side->fd, raw->buffer, sizeof raw->buffer, MSG_DONTWAIT | MSG_TRUNC,
                               (struct sockaddr *)&address, &size);
        if (got < 0)
            break;
        if ((size_t)got <= sizeof raw->buffer)
            receive(side, (size_t)got, &address);
    }
    raw->in_callback = false;
}

static enum ppn_error open_side(struct os_raw_udp *raw, struct os_loop *loop,
                                const struct os_raw_udp_config *config, struct side *side,
                                int family)
{
    int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0)
        return errno == EPERM ? PPN_ERROR_PERMISSION : PPN_ERROR_IO;
    int probe = family == AF_INET ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE, offset = 6;
    int result;
    if (family == AF_INET)
        result = setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
    else /* The kernel fills in the checksum, and checks it. */
        result = setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe) |
                 setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof offset);
    if (result != 0 || attach_filter(fd, family, config->port, config->first_byte) != PPN_OK) {
        close(fd);
        return PPN_ERROR_IO;
    }
    side->raw = raw;
    side->fd = fd;
    side->family = family;
    os_io_init(&side->io, loop, fd, on_ready, side);
    os_io_want(&side->io, OS_READABLE);
    return PPN_OK;
}

enum ppn_error os_raw_udp_open(struct os_loop *loop, const struct os_raw_udp_config *config,
                               struct os_raw_udp **out, struct ppn_failure *failure)
{
    PPN_ASSERT(config->on_receive != NULL && config->port != 0);
    *out = NULL;
    struct os_raw_udp *raw = calloc(1, sizeof *raw);
    if (raw == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for a raw socket");
    raw->port = config->port;
    raw->on_receive = config->on_receive;
    raw->context = config->context;
    raw->sides[0].fd = raw->sides[1].fd = -1;
    enum ppn_error v4 = open_side(raw, loop, config, &raw->sides[0], AF_INET);
    enum ppn_error v6 = open_side(raw, loop, config, &raw->sides[1], AF_INET6);
    if (v4 != PPN_OK && v6 != PPN_OK) {
        free(raw);
        return ppn_fail(failure, v4, "no raw socket for UDP port %u: %s (CAP_NET_RAW is needed)",
                        config->port, ppn_error_text(v4));
    }
    *out = raw;
    return PPN_OK;
}

void os_raw_udp_close(struct os_raw_udp *raw)
{
    if (raw == NULL)
        return;
    PPN_ASSERT(!raw->in_callback);
    for (int i = 0; i < FAMILIES; i++) {
        if (raw->sides[i].fd < 0)
            continue;
        os_io_stop(&raw->sides[i].io);
        close(raw->sides[i].fd);
    }
    free(raw);
}

/* The address that the routing table would send from: the checksum covers it. */
static bool source_of(const struct sockaddr_in *to, struct in_addr *source)
{
    struct sockaddr_in local;
    socklen_t size = sizeof local;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool found = connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 &&
                 getsockname(fd, (struct sockaddr *)&local, &size) == 0;
    close(fd);
    if (found)
        *source = local.sin_addr;
    return found;
}

static uint32_t sum(uint32_t start, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return start;
}

/* RFC 768, over the pseudo header, too. */
static uint16_t checksum(const struct in_addr *from, const struct in_addr *to,
                         const struct udphdr *header, struct ppn_slice datagram)
{
    uint32_t total = IPPROTO_UDP + (uint32_t)ntohs(header->uh_ulen);
    total = sum(total, (const uint8_t *)from, sizeof *from);
    total = sum(total, (const uint8_t *)to, sizeof *to);
    total = sum(total, (const uint8_t *)header, sizeof *header);
    total = sum(total, datagram.data, datagram.size);
    total = (total >> 16) + (total & 0xffff);
    total += total >> 16;
    uint16_t result = (uint16_t)~total;
    return result == 0 ? 0xffff : result;
}

enum ppn_error os_raw_udp_send(struct os_raw_udp *raw, const struct ppn_endpoint *to,
                               struct ppn_slice datagram)
{
    PPN_ASSERT(datagram.size <= OS_RAW_UDP_DATAGRAM_MAX);
    bool ipv4 = os_endpoint_is_ipv4(to);
    const struct side *side = &raw->sides[ipv4 ? 0 : 1];
    struct sockaddr_storage address = {0};
    if (side->fd < 0)
        return PPN_ERROR_IO;
    socklen_t size = os_endpoint_to_sockaddr(to, side->family, &address);
    struct udphdr header = {.uh_sport = htons(raw->port), .uh_dport = htons(to->port)};
    header.uh_ulen = htons((uint16_t)(HEADER_SIZE + datagram.size));
    if (ipv4) {
        struct sockaddr_in destination;
        struct in_addr source;
        memcpy(&destination, &address, sizeof destination);
        if (!source_of(&destination, &source))
            return PPN_ERROR_IO;
        header.uh_sum = htons(checksum(&source, &destination.sin_addr, &header, datagram));
    } else {
        /* A raw IPv6 socket takes the protocol for the port. */
        struct sockaddr_in6 destination;
        memcpy(&destination, &address, sizeof destination);
        destination.sin6_port = 0;
        memcpy(&address, &destination, sizeof destination);
    }
    struct iovec parts[2] = {{&header, sizeof header},
                             {(void *)(uintptr_t)datagram.data, datagram.size}};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = size, .msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(side->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return PPN_OK;
    return errno == EMSGSIZE ? PPN_ERROR_TOO_BIG : PPN_ERROR_IO;
}
