// SPDX-License-Identifier: ISC
#pragma once

/* wg core <-> the WireGuard device: members from the log, candidates from gossip, hints from the
 * seed and from what worked before. */

#include "base/error.h"
#include "base/facts.h"
#include "wg/device.h"
#include "wg/path.h"
#include "wg/wg.h"

struct node;
struct node_mesh;

/* Starts making the interface; node_mesh_ready of node.c hears when it is up. */
enum ppn_error node_mesh_open(struct node *node, struct node_mesh **mesh,
                              struct ppn_failure *failure) PPN_CHECK;
/* remove: the interface goes too, because this node left or was revoked. */
/* The device has this WireGuard key from now on. */
void node_mesh_key(struct node_mesh *mesh, const uint8_t private_key[static 32]);
void node_mesh_close(struct node_mesh *mesh, bool remove);

/* The way to a member that was proven beside WireGuard (paths.h), and what it needs and carries;
 * port 0: none any more. */
struct node_mesh_path {
    struct ppn_endpoint endpoint;
    uint16_t keepalive_s, mtu;
};
void node_mesh_path(struct node_mesh *mesh, const struct ppn_node_id *id,
                    const struct node_mesh_path *path);
/* Whether an address is in one of this machine's own networks, and whether it has IPv4 at all. */
bool node_mesh_on_link(const struct node_mesh *mesh, const uint8_t address[static 16]);
bool node_mesh_has_ipv4(const struct node_mesh *mesh);
/* All that is known of the ways to a member, NULL: nothing is probed there. mesh may be NULL. */
const struct path *node_mesh_core(const struct node_mesh *mesh, const struct ppn_node_id *id);
bool node_mesh_whose_relay(const struct node_mesh *mesh, const struct ppn_endpoint *endpoint,
                           struct ppn_node_id *id);
/* The proven way to a member; NULL: none, or nothing is probed there. mesh may be NULL. */
const struct path_way *node_mesh_way(const struct node_mesh *mesh, const struct ppn_node_id *id);
/* As node_paths_seen. NULL is allowed. */
bool node_mesh_seen(const struct node_mesh *mesh, struct ppn_endpoint *endpoint);
/* The machine slept: what was proven before counts no more. NULL is allowed. */
void node_mesh_void(struct node_mesh *mesh);
/* Where the TCP connection goes that carries what is sent to this endpoint. NULL is allowed. */
bool node_mesh_over(const struct node_mesh *mesh, const struct ppn_endpoint *endpoint,
                    struct ppn_endpoint *over);
/* No relay answers by UDP. NULL is allowed. */
bool node_mesh_udp_blocked(const struct node_mesh *mesh);

/* The fold changed: the peers follow. */
void node_mesh_members(struct node_mesh *mesh);
/* A node's own word on where it can be reached. */
void node_mesh_candidates(struct node_mesh *mesh, const struct ppn_node_id *id,
                          const struct ppn_profile *profile);
/* An endpoint learnt elsewhere. */
void node_mesh_hint(struct node_mesh *mesh, const struct ppn_node_id *id,
                    const struct ppn_endpoint *endpoint);
/* The machine's addresses changed. */
void node_mesh_local(struct node_mesh *mesh);

enum wg_backend node_mesh_backend(const struct node_mesh *mesh);
enum ppn_error node_mesh_status(const struct node_mesh *mesh, const struct ppn_node_id *id,
                                struct wg_peer_status *status) PPN_CHECK;
