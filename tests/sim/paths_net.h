// SPDX-License-Identifier: ISC
#pragma once

/* A network of homes on virtual time: machines on the internet or behind routers that translate
 * addresses, two of them in a row if need be. Every home has the same addresses, 192.168.1.N, as in
 * the real world. Packets are lost, late, too large, or dropped by routers that did not expect
 * them. */

#include <stdbool.h>
#include <stdio.h>

#include "base/facts.h"
#include "base/random.h"
#include "base/time.h"

enum {
    NET_INTERNET = 0, /* segment 0; router R's own is R + 1 */
    NET_ROUTERS_MAX = 16,
    NET_HOSTS_MAX = 16,
    NET_MAPPINGS_MAX = 1024,
    NET_HOME_PORT = 51820
};

enum net_kind {
    NET_CONE,     /* one port for a machine's port, whomever it talks to (RFC 4787, REQ-1) */
    NET_SYMMETRIC /* another random port for each destination */
};

/* What came in from outside is let through from those addresses only that were sent to before. */
struct net_mapping {
    struct ppn_endpoint inner, other;
    uint16_t port;
    struct ppn_instant expires;
};

struct net_router {
    enum net_kind kind;
    uint32_t outside; /* segment */
    struct ppn_endpoint address;
    struct ppn_duration timeout;
    uint16_t mtu;
    bool blocks; /* lets nothing out */
    uint32_t mapping_count;
    struct net_mapping mappings[NET_MAPPINGS_MAX];
};

struct net_host {
    uint32_t segment;
    struct ppn_endpoint address; /* port 0 */
    int64_t latency_us;          /* to the middle of the internet */
};

/* Opaque to the network but for its size, of the UDP payload. */
struct net_packet {
    struct ppn_endpoint from, to;
    uint16_t size;
    uint64_t words[8];
    struct ppn_endpoint endpoint;
};

struct net_event {
    struct ppn_instant at;
    uint64_t order;
    uint32_t kind; /* 0: a packet; else the caller's */
    uint32_t a, b, segment;
    uint64_t value;
    struct net_packet packet;
};

struct net {
    struct ppn_random random;
    struct ppn_instant now;
    uint32_t loss_per_million;
    uint32_t router_count, host_count, addresses;
    struct net_router routers[NET_ROUTERS_MAX];
    struct net_host hosts[NET_HOSTS_MAX];
    struct net_event *heap;
    uint32_t heap_count, heap_capacity;
    uint64_t order, sent;
};

void net_init(struct net *net, uint64_t seed);
void net_free(struct net *net);

/* The segment behind it. */
uint32_t net_router(struct net *net, enum net_kind kind, uint32_t outside,
                    struct ppn_duration timeout);
uint32_t net_host(struct net *net, uint32_t segment);
void net_move(struct net *net, uint32_t host, uint32_t segment);
/* Another outside address; what it translated is forgotten. */
void net_rebind(struct net *net, uint32_t router);

void net_send(struct net *net, uint32_t host, const struct net_packet *packet);
void net_push(struct net *net, struct net_event event);

/* When something happens next; PPN_NEVER. */
struct ppn_instant net_next(const struct net *net);
/* What happens at `now`, soonest first; false when nothing does. Of a packet that arrives, *host is
 * where; UINT32_MAX when it was dropped. */
bool net_pop(struct net *net, struct net_event *event, uint32_t *host);

/* Whether two hosts can meet without a relay, by the rules of their routers. */
bool net_can_punch(const struct net *net, uint32_t a, uint32_t b);
