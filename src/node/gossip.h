// SPDX-License-Identifier: ISC
#pragma once

/* Gossip core <-> UDP socket on the mesh address and view tables. */

#include "base/error.h"
#include "gossip/gossip.h"

struct node;
struct node_gossip;

enum { NODE_CLONES_MAX = 8 };

/* Restores the persisted view and adds the log's members. */
enum ppn_error node_gossip_open(struct node *node, struct node_gossip **gossip,
                                struct ppn_failure *failure) PPN_CHECK;
/* The bodies were published and the members added: take part. */
void node_gossip_start(struct node_gossip *gossip);
void node_gossip_close(struct node_gossip *gossip);

/* The mesh interface was made anew: the socket belongs to the old one. */
enum ppn_error node_gossip_rebind(struct node_gossip *gossip,
                                  struct ppn_failure *failure) PPN_CHECK;

/* This node's body of a plane changed. */
void node_gossip_publish(struct node_gossip *gossip, enum gossip_plane plane,
                         struct ppn_slice body);
void node_gossip_members(struct node_gossip *gossip, const struct ppn_node_id *nodes,
                         uint32_t count, bool added);
/* Says goodbye; the datagrams are out when it returns. */
void node_gossip_leave(struct node_gossip *gossip);
/* Members under whose keys two machines spoke since the start, this node perhaps among them. */
uint32_t node_gossip_clones(const struct node_gossip *gossip,
                            struct ppn_node_id nodes[static NODE_CLONES_MAX]);
const struct gossip *node_gossip_core(const struct node_gossip *gossip);
