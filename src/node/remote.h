// SPDX-License-Identifier: ISC
#pragma once

/* API requests that another node answers: forwarded over the peer connection, both ends. */

#include "api/api_request.h"
#include "base/id.h"

struct node;
struct node_link;
struct node_remote;
struct wire_peer_frame;

struct node_remote *node_remote_open(struct node *node);
void node_remote_close(struct node_remote *remote);

/* Hands the request to another node; its answer becomes this one's, as it is. */
void node_remote_forward(struct node_remote *remote, struct api_request *request,
                         const struct ppn_node_id *to);
/* API_REQUEST of a member. */
void node_remote_frame(struct node_remote *remote, struct node_link *link,
                       const struct wire_peer_frame *frame);
