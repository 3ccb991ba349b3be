// SPDX-License-Identifier: ISC
#pragma once

/* Who must hear of what: one function per kind of news, so that the flow in which it happens does
 * not know who cares. */

#include "base/id.h"
#include "gossip/gossip.h"

struct node;

/* A member changed in gossip's eyes; `what` as in gossip_action. */
struct node_change {
    struct ppn_node_id node;
    uint32_t what;
    enum gossip_state was, state;
    enum gossip_cause cause;
};

void node_notify_gossip(struct node *node, const struct node_change *change);
/* The machine slept: addresses and paths may be others now. */
void node_notify_resumed(struct node *node);
/* The fold of the log changed: members came or went, or a role changed. */
void node_notify_members(struct node *node, const struct ppn_node_id *added, uint32_t added_count,
                         const struct ppn_node_id *removed, uint32_t removed_count);
/* The mesh interface is up, or (failure) never will be. */
void node_notify_mesh(struct node *node, const struct ppn_failure *failure);
/* The mesh interface is another one now, under the same name. */
void node_notify_mesh_reset(struct node *node);
/* The list of this node's VMs changed in a way that people see. */
void node_notify_machines(struct node *node);
