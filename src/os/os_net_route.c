// SPDX-License-Identifier: ISC
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/id.h"
#include "base/name.h"
#include "os/os_address.h"
#include "os/os_file.h"
#include "os/os_net.h"

enum { ROUTES_TEXT_MAX = 256 * 1024 };

/* Calls fn for each line of a table of /proc/net; for none when it cannot be read. */
static void each_line(const char *path, void (*fn)(void *context, const char *line), void *context)
{
    uint8_t *bytes;
    size_t size;
    char *rest = NULL;
    if (os_file_read(path, ROUTES_TEXT_MAX, &bytes, &size, NULL) != PPN_OK)
        return;
    for (char *line = strtok_r((char *)bytes, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest))
        fn(context, line);
    free(bytes);
}

_Static_assert(sizeof(struct os_net_route) == OS_INTERFACE_NAME_MAX + 1 + 2 * 16 + 4,
               "no padding: compared byte by byte");

struct best_route {
    unsigned metric;
    struct os_net_route route;
};

/* Of equal ones the first counts: the kernel's own order, which stays while nothing changes. */
static bool consider(struct best_route *best, unsigned metric, const char *interface)
{
    if ((best->route.interface[0] && metric >= best->metric) || strcmp(interface, "lo") == 0)
        return false;
    best->route = (struct os_net_route){0};
    if (!ppn_text_copy(best->route.interface, sizeof best->route.interface, interface))
        return false;
    best->metric = metric;
    return true;
}

static void route4_line(void *context, const char *line)
{
    struct best_route *best = context;
    char interface[32];
    unsigned destination, gateway, mask, metric;
    if (sscanf(line, "%31s %x %x %*x %*u %*u %u %x", interface, &destination, &gateway, &metric,
               &mask) != 5 ||
        destination != 0 || mask != 0 || !consider(best, metric, interface))
        return;
    if (gateway == 0)
        return;
    memset(best->route.gateway + 10, 0xff, 2);
    memcpy(best->route.gateway + 12, &gateway, 4); /* the table shows it as it lies in memory */
}

static void route6_line(void *context, const char *line)
{
    struct best_route *best = context;
    char destination[33], gateway[33], interface[32];
    uint8_t bytes[16];
    unsigned bits, metric;
    if (sscanf(line, "%32s %x %*s %*x %32s %x %*x %*x %*x %31s", destination, &bits, gateway,
               &metric, interface) != 5 ||
        bits != 0 || strspn(destination, "0") != 32 ||
        ppn_unhex(gateway, bytes, sizeof bytes) != PPN_OK || !consider(best, metric, interface))
        return;
    memcpy(best->route.gateway, bytes, sizeof bytes);
}

/* The address from which the kernel would send to a far one: connecting a datagram socket asks the
 * routing table, and sends nothing. */
static void find_source(struct os_net_route *route, bool ipv4)
{
    struct ppn_endpoint endpoint = {.port = 9};
    struct sockaddr_storage to, own = {0};
    socklen_t size = sizeof own;
    static const uint8_t far4[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};  /* RFC 5737 */
    static const uint8_t far6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}; /* RFC 3849 */
    memcpy(endpoint.address, ipv4 ? far4 : far6, sizeof endpoint.address);
    int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t to_size = os_endpoint_to_sockaddr(&endpoint, ipv4 ? AF_INET : AF_INET6, &to);
    if (connect(fd, (const struct sockaddr *)&to, to_size) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
        os_endpoint_from_sockaddr(&own, &endpoint))
        memcpy(route->source, endpoint.address, sizeof route->source);
    close(fd);
}

struct link_query {
    struct nlmsghdr header;
    struct ifinfomsg link;
};

static uint32_t carrier_changes_in(const uint8_t *bytes, size_t size)
{
    struct nlmsghdr header;
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct ifinfomsg));
    if (size < at)
        return 0;
    memcpy(&header, bytes, sizeof header);
    if (header.nlmsg_type != RTM_NEWLINK || header.nlmsg_len > size)
        return 0;
    while (header.nlmsg_len - at >= RTA_LENGTH(sizeof(uint32_t))) {
        struct rtattr attribute;
        uint32_t value;
        memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > header.nlmsg_len - at)
            return 0;
        if (attribute.rta_type == IFLA_CARRIER_CHANGES &&
            attribute.rta_len == RTA_LENGTH(sizeof value)) {
            memcpy(&value, bytes + at + RTA_LENGTH(0), sizeof value);
            return value;
        }
        at += RTA_ALIGN(attribute.rta_len);
        if (at > header.nlmsg_len)
            return 0;
    }
    return 0;
}

/* A cable pulled and put into another socket, a Wi-Fi left for another of the same addresses: only
 * the kernel's count of it shows that. Asked by netlink, for /sys may show another namespace. */
static void count_carrier(struct os_net_route *route)
{
    uint8_t answer[16384];
    struct link_query query = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST},
        .link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(route->interface)}};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return;
    /* The kernel answers within the call that asks; nothing is waited for. */
    ssize_t got = send(fd, &query, query.header.nlmsg_len, 0);
    if (got > 0)
        got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got > 0)
        route->carrier_changes = carrier_changes_in(answer, (size_t)got);
    close(fd);
}

void os_net_default_routes(struct os_net_routes *routes)
{
    struct best_route ipv4 = {0}, ipv6 = {0};
    each_line("/proc/net/route", route4_line, &ipv4);
    each_line("/proc/net/ipv6_route", route6_line, &ipv6);
    *routes = (struct os_net_routes){.ipv4 = ipv4.route, .ipv6 = ipv6.route};
    if (routes->ipv4.interface[0]) {
        find_source(&routes->ipv4, true);
        count_carrier(&routes->ipv4);
    }
    if (routes->ipv6.interface[0]) {
        find_source(&routes->ipv6, false);
        count_carrier(&routes->ipv6);
    }
}

void os_net_default_interface(char name[static OS_INTERFACE_NAME_MAX + 1])
{
    struct best_route best = {0};
    each_line("/proc/net/route", route4_line, &best);
    if (best.route.interface[0] == 0)
        each_line("/proc/net/ipv6_route", route6_line, &best);
    memcpy(name, best.route.interface, sizeof best.route.interface);
}
