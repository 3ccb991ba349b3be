// SPDX-License-Identifier: ISC
#pragma once

/* The ppn-relay of this node: started when its admission has the role relay and a public address is
 * advertised, told who the members are, started again when it ends, ended when the role ends. It
 * gets the members' tags and the keys of their path packets to the relay, and no other secret. */

#include "base/id.h"
#include "bridge/control.h"
#include "wg/relay.h"

struct node;
struct node_relay;

/* NULL: out of memory; then nothing is relayed. */
struct node_relay *node_relay_open(struct node *node);
void node_relay_close(struct node_relay *relay);

/* The fold changed: who was revoked is gone from the relay before anything else is done. */
void node_relay_members(struct node_relay *relay);

/* The port to announce: 0 while nothing is relayed here. NULL is allowed. */
uint16_t node_relay_port(const struct node_relay *relay);

/* The TCP port of the bridge beside it, for nodes whose network lets no UDP out; 0: none. */
uint16_t node_relay_tcp_port(const struct node_relay *relay);
/* What passes that bridge; NULL: none runs. */
const struct bridge_report *node_relay_tcp(const struct node_relay *relay);

/* False: no relay runs here. NULL is allowed. */
bool node_relay_stats(const struct node_relay *relay, struct relay_stats *stats);
/* What a member sent through this relay. False likewise, or no such member. */
bool node_relay_use(const struct node_relay *relay, const struct ppn_node_id *id,
                    struct relay_count *forwarded, struct relay_count *over_rate);
