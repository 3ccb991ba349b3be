// SPDX-License-Identifier: ISC
#pragma once

/* "Probe me now", between members inside the mesh: one small datagram, whose source address is the
 * identity. */

#include <stdbool.h>

#include "base/error.h"
#include "base/id.h"

struct node;
struct node_calls;

struct node_calls_config {
    void *context;
    void (*called)(void *context, const struct ppn_node_id *by, bool moved);
};

enum ppn_error node_calls_open(struct node *node, const struct node_calls_config *config,
                               struct node_calls **calls, struct ppn_failure *failure) PPN_CHECK;
void node_calls_close(struct node_calls *calls);

/* NULL is allowed. A call that does not arrive is repeated by the core that wants it. */
void node_calls_send(struct node_calls *calls, const struct ppn_node_id *to, bool moved);
