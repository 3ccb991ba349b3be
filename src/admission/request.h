// SPDX-License-Identifier: ISC
#pragma once

/* A join request: what a machine that wants to become a member says of itself, signed by its node
 * key. It is never an entry of the log; whoever approves it makes one. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/crypto.h"
#include "admission/entry.h"
#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"

enum {
    ADMISSION_REQUEST_VERSION = 1,
    ADMISSION_OS_MAX = 63,
    ADMISSION_REQUEST_MAX = 1024 /* encoded bytes */
};

/* What the machine offers; shown to the person who approves, believed by nobody. */
struct admission_offer_facts {
    char arch[PPN_ARCH_MAX + 1];
    char os[ADMISSION_OS_MAX + 1]; /* printable ASCII, "Debian GNU/Linux 12" */
    uint32_t cpus;
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    enum ppn_kvm_level kvm;
};

struct admission_request {
    struct ppn_hash network; /* the one it wants to join; zero is refused */
    struct ppn_node_id node;
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    char name[PPN_NAME_MAX + 1];
    int64_t time_unix_ms;
    struct admission_offer_facts offers;
    bool has_invite;
    struct admission_key invite;                 /* public half of the token's key */
    struct admission_signature invite_signature; /* see admission_invite_transcript */
};

enum { ADMISSION_INVITE_TRANSCRIPT_MAX = 13 + 32 + 32 + 32 + 32 + 1 + PPN_NAME_MAX };

/* What the invite's key signs: "ppn-invite-1" and NUL, network, invite key, node id, WireGuard key,
 * length of the name, name. So a redemption admits this node with this key and no other. */
struct ppn_slice
admission_invite_transcript(const struct ppn_hash *network, const struct admission_key *invite,
                            const struct ppn_node_id *node,
                            const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE], const char *name,
                            uint8_t buffer[static ADMISSION_INVITE_TRANSCRIPT_MAX]);

/* Encodes and signs: the node's signature covers every byte before it. invite may be NULL; when
 * given, its key and signature are filled into *request. */
enum ppn_error admission_request_make(struct admission_request *request,
                                      const struct admission_signer *node,
                                      const struct admission_signer *invite,
                                      struct ppn_writer *bytes) PPN_CHECK;

/* Decodes strictly, then checks the node's signature and, if there is one, the invite's. INVALID,
 * TOO_BIG, VERSION, SIGNATURE. */
enum ppn_error admission_request_decode(const struct admission_crypto *crypto,
                                        struct ppn_slice bytes,
                                        struct admission_request *request) PPN_CHECK;

/* Shape only, no signature checked: for cheap refusal before expensive work. */
enum ppn_error admission_request_peek(struct ppn_slice bytes,
                                      struct admission_request *request) PPN_CHECK;
