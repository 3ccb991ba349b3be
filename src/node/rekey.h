// SPDX-License-Identifier: ISC
#pragma once

/* A new WireGuard key for this node, without a moment in which a crash leaves it without one.
 *
 * The new key is durable beside the old one before the log names it. Which of the two the device
 * has follows the log: at a start that names the new one, and a second or two after the entry was
 * committed (so that it still reaches the others by the old one). The old key is kept until
 * somebody met this node by the new one. As long as nobody did, the two take turns: a member that
 * has not heard of the entry is met by the old key, hears of it, and then knows the new one. */

#include <stdint.h>

#include "base/error.h"

struct api_request;
struct node;
struct node_rekey;

enum {
    NODE_REKEY_SWAP_MS = 1000, /* and up to a second more from the commit to the change */
    NODE_REKEY_TURN_S = 20     /* of a key that nobody answers */
};

enum ppn_error node_rekey_open(struct node *node, struct node_rekey **rekey,
                               struct ppn_failure *failure) PPN_CHECK;
void node_rekey_close(struct node_rekey *rekey);

/* The key that the device has, or is to be made with. */
void node_rekey_keys(const struct node_rekey *rekey, uint8_t private_key[static 32],
                     uint8_t public_key[static 32]);

/* The fold changed: whether it names the new key. */
void node_rekey_check(struct node_rekey *rekey);

/* POST /v1/rekey; context: struct node. */
void node_serve_rekey(void *context, struct api_request *request);
