// SPDX-License-Identifier: ISC
#pragma once

/* The path core of each member <-> raw datagrams beside WireGuard, and calls inside the mesh. What
 * it finds it hands to the mesh, whose ordered batches alone touch the device. */

#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "wg/path.h"
#include "wg/wg.h"

struct node;
struct node_paths;

/* More members than this are reached as WireGuard's endpoints say, without probing. */
enum { NODE_PATHS_MAX = 256 };

/* port: WireGuard's. PERMISSION: no raw sockets here; NO_MEMORY. */
enum ppn_error node_paths_open(struct node *node, uint16_t port, struct node_paths **paths,
                               struct ppn_failure *failure) PPN_CHECK;
void node_paths_close(struct node_paths *paths);

/* Each takes NULL for paths. */

/* The fold changed. */
void node_paths_members(struct node_paths *paths);
/* What a member says of its endpoints and of its relay. */
void node_paths_profile(struct node_paths *paths, const struct ppn_node_id *id,
                        const struct ppn_profile *profile);
/* What the device shows of a peer. Before the wg core hears of it, so that a way that WireGuard
 * found by itself is not taken back. */
void node_paths_observed(struct node_paths *paths, const struct ppn_node_id *id,
                         const struct wg_observed *seen);
/* Where a member was reached before it said anything. */
void node_paths_hint(struct node_paths *paths, const struct ppn_node_id *id,
                     const struct ppn_endpoint *endpoint);
/* Where the TCP connection goes that carries what is sent to this endpoint of the loopback. False:
 * it is none of this node's. */
bool node_paths_over(const struct node_paths *paths, const struct ppn_endpoint *endpoint,
                     struct ppn_endpoint *over);
/* No relay answers by UDP: they are reached over TCP, if they are. */
bool node_paths_blocked(const struct node_paths *paths);
/* Own addresses or the default route changed, or the machine slept: nothing that was proven
 * counts. */
void node_paths_void(struct node_paths *paths);

/* "lan", "public", "punched", "relayed", "tcp", "relayed-tcp". */
const char *node_paths_class_name(enum path_class class);

/* Where others see this node's packets come from, when that is the same for all of them. */
bool node_paths_seen(const struct node_paths *paths, struct ppn_endpoint *endpoint);

/* The interface was made anew. */
void node_paths_rebind(struct node_paths *paths);

/* All that is known of the ways to a member; NULL: nothing. */
const struct path *node_paths_core(const struct node_paths *paths, const struct ppn_node_id *id);
/* Whose relay a way goes through. */
bool node_paths_whose_relay(const struct node_paths *paths, const struct ppn_endpoint *endpoint,
                            struct ppn_node_id *id);
