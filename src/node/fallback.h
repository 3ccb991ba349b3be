// SPDX-License-Identifier: ISC
#pragma once

/* Relays over TCP, where the network lets no UDP out: bridge/fallback.h decides when, a ppn-bridge
 * for each of the first relays carries it. paths.c tells what it hears of relays by UDP, and offers
 * the ways that are there: a relay's ports, and the WireGuard of its node, under addresses of this
 * machine's loopback. */

#include <stdbool.h>
#include <stdint.h>

#include "base/facts.h"
#include "base/id.h"

struct node;
struct node_fallback;

enum { NODE_FALLBACK_RELAYS_MAX = 8, NODE_FALLBACK_BRIDGES_MAX = 2 };

struct node_fallback_config {
    void *context;
    /* Ask this relay by UDP: its own port with its relay key, or, before it said where that is,
     * the WireGuard port of its node with that one's key. */
    void (*ask)(void *context, const struct ppn_node_id *relay, const struct ppn_endpoint *to,
                bool relay_port);
    /* Ways came or went. over: UDP works again. */
    void (*changed)(void *context, bool over);
};

/* NULL: out of memory. The functions below take NULL for it and then do nothing. */
struct node_fallback *node_fallback_open(struct node *node,
                                         const struct node_fallback_config *config);
void node_fallback_close(struct node_fallback *fallback);

/* The fold changed: who has the role relay. */
void node_fallback_members(struct node_fallback *fallback);
void node_fallback_profile(struct node_fallback *fallback, const struct ppn_node_id *id,
                           const struct ppn_profile *profile);
/* Where a member was reached, before it said anything: a node that joins behind such a network
 * knows no more. */
void node_fallback_hint(struct node_fallback *fallback, const struct ppn_node_id *id,
                        const struct ppn_endpoint *endpoint);

/* A question went to a port of a relay. */
void node_fallback_asked(struct node_fallback *fallback, const struct ppn_endpoint *to);
/* An authentic answer came. */
void node_fallback_answered(struct node_fallback *fallback, const struct ppn_endpoint *from);
/* Another network, or the machine slept. */
void node_fallback_void(struct node_fallback *fallback);

/* No relay answers by UDP. */
bool node_fallback_on(const struct node_fallback *fallback);

struct node_fallback_way {
    struct ppn_node_id relay;
    struct ppn_endpoint port;      /* the relay's own, through the bridge */
    struct ppn_endpoint wireguard; /* of its node, through the bridge */
    struct ppn_endpoint over;      /* the TCP connection */
};

/* The ways there are now, at most NODE_FALLBACK_BRIDGES_MAX; none while UDP works. */
uint32_t node_fallback_ways(const struct node_fallback *fallback,
                            struct node_fallback_way ways[static NODE_FALLBACK_BRIDGES_MAX]);

/* Why there is none of the first relay's: "" or a sentence's end. */
const char *node_fallback_problem(const struct node_fallback *fallback);

/* An address of this machine's loopback: of a bridge, at whichever end. */
bool node_fallback_local(const struct ppn_endpoint *endpoint);
