// SPDX-License-Identifier: ISC
#pragma once

/* The seed's end of the join channel: TCP on the public port, open to anybody. Cheap checks come
 * before expensive ones, every table is fixed, every state has a deadline. */

#include "base/error.h"

struct node;
struct node_join_server;

enum {
    NODE_JOIN_SESSIONS_MAX = 64,
    NODE_JOIN_SESSIONS_PER_SOURCE = 8,
    NODE_JOIN_SESSIONS_EASY = 16,     /* more than these unproven: cookies first */
    NODE_JOIN_HANDSHAKE_S = 10,       /* to prove a key and to send the request */
    NODE_JOIN_HANDSHAKES_PER_MIN = 30 /* of one source address */
};

enum ppn_error node_join_server_open(struct node *node, struct node_join_server **server,
                                     struct ppn_failure *failure) PPN_CHECK;
void node_join_server_close(struct node_join_server *server);
/* The fold changed: those who wait may have been admitted or denied. */
void node_join_server_members(struct node_join_server *server);
