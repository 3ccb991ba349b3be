// SPDX-License-Identifier: ISC
#include "os/os_net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "os/os_address.h"
#include "os/os_child.h"
#include "os/os_file.h"

enum { ADDRESSES_TEXT_MAX = 256 * 1024, IP_TIMEOUT_S = 10 };

bool os_net_interface_name_valid(const char *interface)
{
    size_t length = strlen(interface);
    if (length == 0 || length > OS_INTERFACE_NAME_MAX || interface[0] == '-' ||
        strcmp(interface, ".") == 0 || strcmp(interface, "..") == 0)
        return false;
    return strspn(interface, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "_.-") == length;
}

bool os_net_interface_exists(const char *interface)
{
    return if_nametoindex(interface) != 0;
}

static uint8_t prefix_bits(const struct sockaddr *mask)
{
    const uint8_t *bytes;
    size_t size;
    unsigned bits = 0;
    if (!mask)
        return 0;
    if (mask->sa_family == AF_INET) {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr;
        size = 4;
    } else {
        bytes = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr;
        size = 16;
    }
    for (size_t i = 0; i < size; i++)
        bits += (unsigned)__builtin_popcount(bytes[i]);
    return (uint8_t)bits;
}

/* Temporary (privacy) addresses of IPv6 are marked only here and in netlink. */
static void mark_temporary(struct os_net_addresses *addresses)
{
    uint8_t *bytes;
    size_t size;
    if (os_file_read("/proc/net/if_inet6", ADDRESSES_TEXT_MAX, &bytes, &size, NULL) != PPN_OK)
        return;
    char *rest = NULL;
    for (char *line = strtok_r((char *)bytes, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        uint8_t address[16];
        unsigned flags;
        if (strlen(line) < 33 || sscanf(line + 32, "%*x %*x %*x %x", &flags) != 1)
            continue;
        line[32] = 0;
        if (!(flags & IFA_F_TEMPORARY) || ppn_unhex(line, address, sizeof address) != PPN_OK)
            continue;
        for (uint32_t i = 0; i < addresses->count; i++)
            if (memcmp(addresses->list[i].address, address, sizeof address) == 0)
                addresses->list[i].temporary = true;
    }
    free(bytes);
}

static bool is_link_local(const uint8_t address[static 16], bool ipv4)
{
    if (ipv4)
        return address[12] == 169 && address[13] == 254; /* RFC 3927 */
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

enum ppn_error os_net_addresses(struct os_net_addresses *addresses, struct ppn_failure *failure)
{
    struct ifaddrs *list;
    *addresses = (struct os_net_addresses){0};
    if (getifaddrs(&list) != 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot list this machine's addresses");
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        struct sockaddr_storage storage = {0};
        struct ppn_endpoint endpoint;
        if (!i->ifa_addr ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        bool ipv4 = i->ifa_addr->sa_family == AF_INET;
        memcpy(&storage, i->ifa_addr,
               ipv4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        if (!os_endpoint_from_sockaddr(&storage, &endpoint))
            continue;
        if (addresses->count == OS_NET_ADDRESSES_MAX) {
            addresses->truncated = true;
            break;
        }
        struct os_net_address *address = &addresses->list[addresses->count];
        if (!ppn_text_copy(address->interface, sizeof address->interface, i->ifa_name))
            continue;
        memcpy(address->address, endpoint.address, sizeof address->address);
        address->prefix_bits = prefix_bits(i->ifa_netmask);
        address->up = (i->ifa_flags & IFF_UP) != 0;
        address->loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;
        address->link_local = is_link_local(endpoint.address, ipv4);
        addresses->count++;
    }
    freeifaddrs(list);
    mark_temporary(addresses);
    return PPN_OK;
}

static bool first_member(void *context, const char *name)
{
    return !ppn_text_copy(context, OS_INTERFACE_NAME_MAX + 1, name);
}

static bool has(const char *interface, const char *what, char *path, size_t capacity)
{
    int size = snprintf(path, capacity, "/sys/class/net/%s/%s", interface, what);
    return size > 0 && (size_t)size < capacity && os_file_exists(path);
}

enum ppn_link os_net_link(const char *interface)
{
    char path[128], member[OS_INTERFACE_NAME_MAX + 1] = "", type[16];
    if (!os_net_interface_name_valid(interface))
        return PPN_LINK_UNKNOWN;
    if (has(interface, "brif", path, sizeof path) &&
        os_directory_each(path, first_member, member, NULL) == PPN_OK && member[0])
        interface = member;
    else if (has(interface, "bonding/slaves", path, sizeof path) &&
             os_file_read_text(path, member, sizeof member) == PPN_OK && member[0]) {
        member[strcspn(member, " ")] = 0;
        interface = member;
    }
    if (has(interface, "wireless", path, sizeof path) ||
        has(interface, "phy80211", path, sizeof path))
        return PPN_LINK_WIFI;
    /* Only what has a device behind it is a cable; tunnels and taps are not. */
    if (has(interface, "device", path, sizeof path) && has(interface, "type", path, sizeof path) &&
        os_file_read_text(path, type, sizeof type) == PPN_OK && strcmp(type, "1") == 0)
        return PPN_LINK_CABLE;
    return PPN_LINK_UNKNOWN;
}

/* One change in progress: first the address, then the link. */
struct apply {
    struct os_loop *loop;
    char interface[OS_INTERFACE_NAME_MAX + 1];
    bool bring_up;
    os_net_done_fn *done;
    void *context;
};

static void apply_end(struct apply *apply, const struct ppn_failure *failure)
{
    apply->done(apply->context, failure);
    free(apply);
}

static void on_ip_exit(void *context, const struct os_child_result *result);

static enum ppn_error run_ip(struct apply *apply, const char *const *argv,
                             struct ppn_failure *failure)
{
    struct os_child_config config = {.argv = argv, .timeout = ppn_seconds(IP_TIMEOUT_S)};
    return os_child_spawn(apply->loop, &config, on_ip_exit, apply, NULL, failure);
}

static void on_ip_exit(void *context, const struct os_child_result *result)
{
    struct apply *apply = context;
    struct ppn_failure failure;
    if (!os_child_ok(result)) {
        const char *why = result->err.size > 0 ? (const char *)result->err.data : result->text;
        ppn_fail(&failure, result->error != PPN_OK ? result->error : PPN_ERROR_IO,
                 "cannot change the interface %s: %.*s", apply->interface, (int)strcspn(why, "\n"),
                 why);
        apply_end(apply, &failure);
        return;
    }
    if (!apply->bring_up) {
        apply_end(apply, NULL);
        return;
    }
    apply->bring_up = false;
    const char *argv[] = {"ip", "link", "set", "dev", apply->interface, "up", NULL};
    if (run_ip(apply, argv, &failure) != PPN_OK)
        apply_end(apply, &failure);
}

static bool has_address(const struct os_net_change *change)
{
    struct os_net_addresses addresses;
    if (os_net_addresses(&addresses, NULL) != PPN_OK)
        return false;
    for (uint32_t i = 0; i < addresses.count; i++)
        if (strcmp(addresses.list[i].interface, change->interface) == 0 &&
            memcmp(addresses.list[i].address, change->address, 16) == 0)
            return true;
    return false;
}

enum ppn_error os_net_apply(struct os_loop *loop, const struct os_net_change *change,
                            os_net_done_fn *done, void *context, struct ppn_failure *failure)
{
    char text[OS_ENDPOINT_TEXT], prefix[OS_ENDPOINT_TEXT + 5];
    PPN_ASSERT(done != NULL);
    if (!os_net_interface_name_valid(change->interface))
        return ppn_fail(failure, PPN_ERROR_INVALID, "\"%.32s\" is not the name of an interface",
                        change->interface);
    struct apply *apply = calloc(1, sizeof *apply);
    if (!apply)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory to run ip");
    *apply = (struct apply){.loop = loop, .done = done, .context = context};
    memcpy(apply->interface, change->interface, strlen(change->interface) + 1);
    apply->bring_up = change->address && !change->remove;
    const char *set_link[] = {
        "ip", "link", "set", "dev", apply->interface, change->remove ? "down" : "up", NULL};
    const char *const *argv = set_link;
    /* `replace` succeeds where the address is already there; without duplicate address detection
     * it can be bound to at once, and nobody else in the mesh can have it. */
    const char *add[] = {"ip", "address", "replace", prefix, "dev", apply->interface, NULL, NULL};
    static const char *const nothing[] = {"true", NULL}; /* it is as wanted already */
    const char *remove[] = {"ip", "address", "delete", prefix, "dev", apply->interface, NULL};
    if (change->address) {
        os_address_text(change->address, text);
        int size = snprintf(prefix, sizeof prefix, "%s/%u", text, change->prefix_bits);
        PPN_ASSERT(size > 0 && (size_t)size < sizeof prefix);
        if (strchr(text, ':'))
            add[6] = "nodad";
        argv = change->remove ? remove : add;
        if (change->remove && !has_address(change))
            argv = nothing;
    }
    enum ppn_error error = run_ip(apply, argv, failure);
    if (error != PPN_OK)
        free(apply);
    return error;
}
