// SPDX-License-Identifier: ISC
#pragma once

/* The joiner's end of the join channel: goes round the seeds with backoff and jitter until one
 * answers, shows who asks whom, waits to be admitted, takes the log. A member that has lost every
 * other one asks in the same way and learns what it missed. */

#include <stdbool.h>

#include "base/error.h"
#include "base/facts.h"

struct node;
struct node_join_client;

enum { NODE_JOIN_RETRY_FIRST_MS = 500, NODE_JOIN_RETRY_MAX_MS = 30000 };

/* With the options' seeds and token, else with the seeds of the first start. INVALID: the token is
 * wrong; NOT_FOUND: there is nobody to ask. */
enum ppn_error node_join_client_open(struct node *node, struct node_join_client **client,
                                     struct ppn_failure *failure) PPN_CHECK;
void node_join_client_close(struct node_join_client *client);

/* For status: where it stands, in words. */
const char *node_join_client_phase(const struct node_join_client *client);
