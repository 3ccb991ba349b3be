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
    bool has_next; /* a WireGuard key that is to replace it: durable, whether the log names it or
                      not */
    uint8_t next_private[NODE_WG_KEY_SIZE];
    uint8_t next_public[NODE_WG_KEY_SIZE];
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

/* The next WireGuard key, written to the disk; and that key in the place of the present one, which
 * is gone then. Any thread; identities are not touched: read the file with node_identity_open, or
 * set the fields. */
enum ppn_error node_identity_write_next(const char *directory,
                                        const uint8_t key[static NODE_WG_KEY_SIZE],
                                        struct ppn_failure *failure) PPN_CHECK;
enum ppn_error node_identity_settle_next(const char *directory,
                                         const uint8_t key[static NODE_WG_KEY_SIZE],
                                         struct ppn_failure *failure) PPN_CHECK;
/* Fields of the next key from its private half, and its move into the place of the present one. */
void node_identity_set_next(struct node_identity *identity,
                            const uint8_t key[static NODE_WG_KEY_SIZE]);
void node_identity_use_next(struct node_identity *identity);

void node_identity_wipe(struct node_identity *identity);
