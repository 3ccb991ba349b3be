// SPDX-License-Identifier: ISC
#pragma once

/* The ppn-bridge of one end: started, listened to, started again when it ends. Beside this node's
 * relay it serves others over TCP; on a node that reaches no relay by UDP, fallback.c has one for
 * each relay. It is told nothing and holds no key. */

#include <stdbool.h>
#include <stdint.h>

#include "base/facts.h"
#include "bridge/control.h"

struct node;
struct node_bridge;

/* Something of the report changed that others look at: up or down. */
typedef void node_bridge_fn(void *context);

/* The bridge beside the relay. NULL: out of memory, or none is wanted (--relay-tcp off). */
struct node_bridge *node_bridge_serve(struct node *node);

struct node_bridge_target {
    struct ppn_endpoint to; /* TCP */
    uint8_t index;          /* its local address is 127.83.0.(index + 1) */
    uint16_t relay_port;
};
/* NULL: out of memory. */
struct node_bridge *node_bridge_connect(struct node *node, const struct node_bridge_target *target,
                                        node_bridge_fn *changed, void *context);

/* NULL is allowed. */
void node_bridge_close(struct node_bridge *bridge);

/* serve: the port is open. connect: the relay's bridge answers. NULL is allowed. */
bool node_bridge_up(const struct node_bridge *bridge);
/* The TCP port to announce; 0: none. NULL is allowed. */
uint16_t node_bridge_port(const struct node_bridge *bridge);
/* The last report; zero before the first. */
const struct bridge_report *node_bridge_report(const struct node_bridge *bridge);
/* Where WireGuard finds the relay's own port on this machine, or, with wireguard set, the WireGuard
 * of its node. connect only, while it is up. */
struct ppn_endpoint node_bridge_local(const struct node_bridge *bridge, bool wireguard);
