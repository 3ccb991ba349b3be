// SPDX-License-Identifier: ISC
#pragma once

/* The fleet core <-> store, peers, placement and VMs. */

#include "api/api_args.h"
#include "base/error.h"
#include "fleet/fleet.h"
#include "placement/placement.h"

struct api_request;
struct node;
struct node_requests;
struct wire_peer_frame;

enum ppn_error node_requests_open(struct node *node, struct node_requests **requests,
                                  struct ppn_failure *failure) PPN_CHECK;
void node_requests_close(struct node_requests *requests);

struct fleet_reserve node_requests_reserved(const struct node_requests *requests);

/* A person's run: progress lines, then the VM or the failure. */
void node_requests_run(struct node_requests *requests, struct api_request *request,
                       const struct api_run *run);
/* The table for explain and --dry-run. */
void node_requests_placement(struct node_requests *requests, struct api_request *request,
                             const struct api_run *run);

/* FLEET frame of a member. */
void node_requests_frame(struct node_requests *requests, const struct ppn_node_id *from,
                         const struct wire_peer_frame *frame);
/* A member's state changed, or it is none any more. */
void node_requests_member(struct node_requests *requests, const struct ppn_node_id *id,
                          enum fleet_node_state state);
/* A VM of this node changed (info) or is gone (NULL). */
void node_requests_vm(struct node_requests *requests, const struct ppn_request_id *id,
                      const struct ppn_vm_info *info);

/* The view placement sees, one row a member; *count of them. Free rows and nothing else: names and
 * facts live in the same allocation. NULL: out of memory. */
struct placement_node *node_placement_view(const struct node *node, size_t *count);
