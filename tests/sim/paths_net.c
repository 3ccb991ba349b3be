// SPDX-License-Identifier: ISC
#include "paths_net.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { HEADERS = 28, HOPS_MAX = 4, LAN_US = 500, JITTER_US = 3000 };

static bool same_address(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static bool same(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && same_address(a, b);
}

static struct ppn_endpoint ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct ppn_endpoint){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 0};
}

static struct ppn_endpoint fresh_address(struct net *net, uint32_t segment)
{
    uint32_t n = ++net->addresses;
    if (segment == NET_INTERNET)
        return ipv4(198, 51, (uint8_t)(n >> 8), (uint8_t)n);
    return ipv4(192, 168, 1, (uint8_t)(2 + n % 250));
}

void net_init(struct net *net, uint64_t seed)
{
    memset(net, 0, sizeof(*net));
    ppn_random_init(&net->random, seed);
    net->now = (struct ppn_instant){ppn_seconds(1000).ns};
}

void net_free(struct net *net)
{
    free(net->heap);
}

uint32_t net_router(struct net *net, enum net_kind kind, uint32_t outside,
                    struct ppn_duration timeout)
{
    PPN_ASSERT(net->router_count < NET_ROUTERS_MAX && outside <= net->router_count);
    struct net_router *router = &net->routers[net->router_count++];
    router->kind = kind;
    router->outside = outside;
    router->timeout = timeout;
    router->mtu = 1500;
    router->address = fresh_address(net, outside);
    return net->router_count;
}

uint32_t net_host(struct net *net, uint32_t segment)
{
    PPN_ASSERT(net->host_count < NET_HOSTS_MAX && segment <= net->router_count);
    struct net_host *host = &net->hosts[net->host_count++];
    host->segment = segment;
    host->address = fresh_address(net, segment);
    host->latency_us = 1000 + (int64_t)ppn_random_below(&net->random, 30000);
    return net->host_count - 1;
}

void net_move(struct net *net, uint32_t host, uint32_t segment)
{
    net->hosts[host].segment = segment;
    net->hosts[host].address = fresh_address(net, segment);
}

void net_rebind(struct net *net, uint32_t router)
{
    net->routers[router].mapping_count = 0;
    net->routers[router].address = fresh_address(net, net->routers[router].outside);
}

/* ---- what is to happen ---- */

static bool before(const struct net_event *a, const struct net_event *b)
{
    return a->at.ns != b->at.ns ? a->at.ns < b->at.ns : a->order < b->order;
}

void net_push(struct net *net, struct net_event event)
{
    if (net->heap_count == net->heap_capacity) {
        net->heap_capacity = net->heap_capacity == 0 ? 256 : 2 * net->heap_capacity;
        net->heap = realloc(net->heap, net->heap_capacity * sizeof(*net->heap));
        PPN_ASSERT(net->heap != NULL);
    }
    event.order = net->order++;
    uint32_t at = net->heap_count++;
    while (at > 0 && before(&event, &net->heap[(at - 1) / 2])) {
        net->heap[at] = net->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net->heap[at] = event;
}

static struct net_event pop(struct net *net)
{
    struct net_event top = net->heap[0], last = net->heap[--net->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= net->heap_count)
            break;
        if (child + 1 < net->heap_count && before(&net->heap[child + 1], &net->heap[child]))
            child++;
        if (!before(&net->heap[child], &last))
            break;
        net->heap[at] = net->heap[child];
        at = child;
    }
    net->heap[at] = last;
    return top;
}

struct ppn_instant net_next(const struct net *net)
{
    return net->heap_count == 0 ? PPN_NEVER : net->heap[0].at;
}

/* ---- routers ---- */

static bool port_taken(const struct net *net, const struct net_router *router,
                       const struct ppn_endpoint *inner, uint16_t port)
{
    for (uint32_t i = 0; i < router->mapping_count; i++) {
        const struct net_mapping *mapping = &router->mappings[i];
        if (mapping->port == port && !same(&mapping->inner, inner) &&
            ppn_before(net->now, mapping->expires))
            return true;
    }
    return false;
}

static uint16_t choose_port(struct net *net, const struct net_router *router,
                            const struct ppn_endpoint *inner)
{
    uint16_t port = inner->port;
    for (uint32_t i = 0; router->kind == NET_CONE && i < router->mapping_count; i++) {
        if (same(&router->mappings[i].inner, inner) &&
            ppn_before(net->now, router->mappings[i].expires))
            return router->mappings[i].port;
    }
    if (router->kind == NET_SYMMETRIC)
        port = (uint16_t)(20000 + ppn_random_below(&net->random, 30000));
    while (port_taken(net, router, inner, port))
        port = (uint16_t)(20000 + ppn_random_below(&net->random, 30000));
    return port;
}

/* The mapping of a flow, made when there is none; the oldest gives way. */
static struct net_mapping *outbound(struct net *net, struct net_router *router,
                                    const struct ppn_endpoint *inner,
                                    const struct ppn_endpoint *other)
{
    struct net_mapping *free_one = NULL;
    for (uint32_t i = 0; i < router->mapping_count; i++) {
        struct net_mapping *mapping = &router->mappings[i];
        bool lives = ppn_before(net->now, mapping->expires);
        if (lives && same(&mapping->inner, inner) && same(&mapping->other, other)) {
            mapping->expires = ppn_after(net->now, router->timeout);
            return mapping;
        }
        if (!lives)
            free_one = mapping;
    }
    uint16_t port = choose_port(net, router, inner);
    if (free_one == NULL) {
        PPN_ASSERT(router->mapping_count < NET_MAPPINGS_MAX);
        free_one = &router->mappings[router->mapping_count++];
    }
    *free_one = (struct net_mapping){*inner, *other, port, ppn_after(net->now, router->timeout)};
    return free_one;
}

static bool inbound(const struct net *net, const struct net_router *router,
                    struct net_packet *packet)
{
    for (uint32_t i = 0; i < router->mapping_count; i++) {
        const struct net_mapping *mapping = &router->mappings[i];
        if (mapping->port == packet->to.port && same(&mapping->other, &packet->from) &&
            ppn_before(net->now, mapping->expires)) {
            packet->to = mapping->inner;
            return true;
        }
    }
    return false;
}

/* ---- packets ---- */

static bool in_segment(const struct net *net, uint32_t segment, const struct ppn_endpoint *address)
{
    for (uint32_t i = 0; i < net->host_count; i++) {
        if (net->hosts[i].segment == segment && same_address(&net->hosts[i].address, address))
            return true;
    }
    for (uint32_t i = 0; i < net->router_count; i++) {
        if (net->routers[i].outside == segment && same_address(&net->routers[i].address, address))
            return true;
    }
    return false;
}

void net_send(struct net *net, uint32_t host, const struct net_packet *packet)
{
    struct net_event event = {.packet = *packet};
    uint32_t segment = net->hosts[host].segment;
    memcpy(event.packet.from.address, net->hosts[host].address.address, 16);
    net->sent++;
    while (!in_segment(net, segment, &packet->to)) {
        if (segment == NET_INTERNET)
            return;
        struct net_router *router = &net->routers[segment - 1];
        if (router->blocks || packet->size + HEADERS > router->mtu)
            return;
        const struct net_mapping *mapping =
            outbound(net, router, &event.packet.from, &event.packet.to);
        event.packet.from = router->address;
        event.packet.from.port = mapping->port;
        segment = router->outside;
    }
    if (ppn_random_below(&net->random, 1000000) < net->loss_per_million)
        return;
    bool local = segment == net->hosts[host].segment && segment != NET_INTERNET;
    int64_t us =
        local ? LAN_US
              : net->hosts[host].latency_us + (int64_t)ppn_random_below(&net->random, JITTER_US);
    event.at = ppn_after(net->now, ppn_ns(us * 1000));
    event.segment = segment;
    net_push(net, event);
}

/* In through the routers; the host, or UINT32_MAX. */
static uint32_t arrive(const struct net *net, uint32_t segment, struct net_packet *packet)
{
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        for (uint32_t i = 0; i < net->host_count; i++) {
            if (net->hosts[i].segment == segment &&
                same_address(&net->hosts[i].address, &packet->to))
                return i;
        }
        uint32_t found = UINT32_MAX;
        for (uint32_t i = 0; i < net->router_count; i++) {
            if (net->routers[i].outside == segment &&
                same_address(&net->routers[i].address, &packet->to))
                found = i;
        }
        if (found == UINT32_MAX || packet->size + HEADERS > net->routers[found].mtu ||
            !inbound(net, &net->routers[found], packet))
            return UINT32_MAX;
        segment = found + 1;
    }
    return UINT32_MAX;
}

bool net_pop(struct net *net, struct net_event *event, uint32_t *host)
{
    if (net->heap_count == 0 || !ppn_due(net->heap[0].at, net->now))
        return false;
    *event = pop(net);
    *host = event->kind == 0 ? arrive(net, event->segment, &event->packet) : UINT32_MAX;
    return true;
}

static bool is_cone(const struct net *net, uint32_t host)
{
    for (uint32_t segment = net->hosts[host].segment; segment != NET_INTERNET;
         segment = net->routers[segment - 1].outside) {
        if (net->routers[segment - 1].kind != NET_CONE)
            return false;
    }
    return true;
}

bool net_can_punch(const struct net *net, uint32_t a, uint32_t b)
{
    return is_cone(net, a) && is_cone(net, b);
}
