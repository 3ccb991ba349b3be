// SPDX-License-Identifier: ISC
#pragma once

/* The keys of this node, made at its first start and kept 0600 in STATE/keys: the node key
 * (Ed25519; its public half is the node id), the WireGuard key (X25519), and on the machine that
 * founded the network the admin key. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"

enum { NODE_SECRET_SIZE = 64, NODE_WG_KEY_SIZE = 32 };

struct node_identity {
    struct ppn_node_id id;
    uint8_t secret_key[NODE_SECRET_SIZE]; /* libsodium's form */
    uint8_t wg_private[NODE_WG_KEY_SIZE];
    uint8_t wg_public[NODE_WG_KEY_SIZE];
    bool has_admin;
    struct ppn_node_id admin_id;
    uint8_t admin_secret[NODE_SECRET_SIZE];
};

/* Reads the keys in directory/keys, making what a first start lacks. A file of a wrong size, or one
 * that others may read, is refused: PPN_ERROR_CORRUPT, PPN_ERROR_PERMISSION. */
enum ppn_error node_identity_open(const char *directory, struct node_identity *identity,
                                  struct ppn_failure *failure) PPN_CHECK;

/* Makes the admin key of a new network. EXISTS when there is one. */
enum ppn_error node_identity_found(const char *directory, struct node_identity *identity,
                                   struct ppn_failure *failure) PPN_CHECK;

void node_identity_wipe(struct node_identity *identity);
