// SPDX-License-Identifier: ISC
#pragma once

/* The machine's own network: addresses, default route, changes, and the few changes that a mesh
 * needs (through the `ip` tool, in a child). */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "os/os_loop.h"

enum { OS_INTERFACE_NAME_MAX = 15, OS_NET_ADDRESSES_MAX = 64 };

struct os_net_address {
    char interface[OS_INTERFACE_NAME_MAX + 1];
    uint8_t address[16]; /* IPv4 mapped */
    uint8_t prefix_bits; /* of the family: 0..32 or 0..128 */
    bool up, loopback, link_local, temporary;
};

struct os_net_addresses {
    uint32_t count;
    bool truncated;
    struct os_net_address list[OS_NET_ADDRESSES_MAX];
};

enum ppn_error os_net_addresses(struct os_net_addresses *addresses,
                                struct ppn_failure *failure) PPN_CHECK;

/* The interface of the default route (IPv4 first, then IPv6), "" when there is none. */
void os_net_default_interface(char name[static OS_INTERFACE_NAME_MAX + 1]);

/* How this machine sends to what is far. */
struct os_net_route {
    char interface[OS_INTERFACE_NAME_MAX + 1]; /* "": no default route of the family */
    uint8_t gateway[16];      /* IPv4 mapped; zeros: none, the far is on the link */
    uint8_t source[16];       /* the address that the kernel prefers for it */
    uint32_t carrier_changes; /* of the interface, since it is there */
};
struct os_net_routes {
    struct os_net_route ipv4, ipv6;
};
/* Both default routes, those of the lowest metric. What is not known is zero, and there is no
 * padding: two of them may be compared byte by byte. */
void os_net_default_routes(struct os_net_routes *routes);

/* Wi-Fi, cable or unknown, by /sys/class/net. Bridges and bonds count as their first member. */
enum ppn_link os_net_link(const char *interface);
bool os_net_interface_exists(const char *interface);
/* 1..15 of [a-zA-Z0-9_.-], not "." or "..", not starting with '-'. */
bool os_net_interface_name_valid(const char *interface);

/* Tells that links, addresses or routes changed, at most once per 250 ms. */
struct os_net_watch;
enum ppn_error os_net_watch_open(struct os_loop *loop, os_fn *on_change, void *context,
                                 struct os_net_watch **watch,
                                 struct ppn_failure *failure) PPN_CHECK;
void os_net_watch_close(struct os_net_watch *watch);

/* Asynchronous changes; done once, from the loop, failure NULL at success. Doing what is already so
 * succeeds. prefix_bits as above. The call itself fails only when no child can be made. */
typedef void os_net_done_fn(void *context, const struct ppn_failure *failure);
struct os_net_change {
    const char *interface;
    const uint8_t *address; /* 16 bytes; NULL for up/down only */
    uint8_t prefix_bits;
    bool remove; /* remove the address, instead of adding it and setting the link up */
};
enum ppn_error os_net_apply(struct os_loop *loop, const struct os_net_change *change,
                            os_net_done_fn *done, void *context,
                            struct ppn_failure *failure) PPN_CHECK;
