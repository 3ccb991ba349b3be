// SPDX-License-Identifier: ISC
#pragma once

/* The seed's end of the join channel: TCP on the public port, open to anybody. Who may stand there
 * and for how long is decided by admission/door.h; this carries it out. */

#include "base/error.h"

struct node;
struct node_join_server;

enum ppn_error node_join_server_open(struct node *node, struct node_join_server **server,
                                     struct ppn_failure *failure) PPN_CHECK;
void node_join_server_close(struct node_join_server *server);
/* The fold changed: those who wait may have been admitted or denied. */
void node_join_server_members(struct node_join_server *server);
