// SPDX-License-Identifier: ISC
#pragma once

/* Making entries: fills network, seq, prev, parents and seal from the present log, encodes, signs.
 * The log is not changed: offer the envelope to it (source 0) like anybody else's. Whoever holds a
 * key must make one entry at a time and offer it before making the next, else it contradicts
 * itself (equivocation). The daemon never sees an admin key: ppn and ppn-admin call this. */

#include "admission/admission.h"
#include "admission/request.h"

/* An envelope with its storage. */
struct admission_made {
    struct ppn_hash id;
    uint32_t size;
    uint8_t bytes[ADMISSION_ENVELOPE_MAX];
};

static inline struct ppn_slice admission_made_slice(const struct admission_made *made)
{
    return ppn_slice(made->bytes, made->size);
}

/* Keys that sign one entry: the author first, then its cosigners in any order. */
struct admission_authors {
    const struct admission_signer *signers;
    uint32_t count;
};

/* The body that a caller of several machines has signed elsewhere: fills everything but `kind` and
 * `as`, which the caller set, and encodes. cosigners: keys other than the author's. */
enum ppn_error admission_make_body(const struct admission *log, const struct admission_key *author,
                                   const struct admission_key *cosigners, uint32_t cosigner_count,
                                   struct ppn_wall now, struct admission_entry *entry,
                                   struct ppn_writer *body, struct ppn_failure *why) PPN_CHECK;

/* As above and signs by all: the general form. */
enum ppn_error admission_make(const struct admission *log, struct admission_authors authors,
                              struct ppn_wall now, struct admission_entry *entry,
                              struct admission_made *made, struct ppn_failure *why) PPN_CHECK;

/* The first entry of a new network; needs no log. Policy zero: every quorum 1, grace 2. */
enum ppn_error admission_make_genesis(const struct admission_crypto *crypto,
                                      struct admission_authors roots, struct ppn_wall now,
                                      const struct admission_genesis *genesis,
                                      struct admission_made *made,
                                      struct ppn_failure *why) PPN_CHECK;

/* By a single key each; quorums above 1 go through admission_make. Each refuses with the reason
 * what the log would not accept or what would have no effect (already a member, revoked before,
 * ...). */
enum ppn_error admission_make_admit(const struct admission *log,
                                    const struct admission_signer *admin, struct ppn_wall now,
                                    const struct admission_admit *admit,
                                    struct admission_made *made, struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_make_deny(const struct admission *log,
                                   const struct admission_signer *admin, struct ppn_wall now,
                                   const struct ppn_node_id *node, const char *reason,
                                   struct admission_made *made, struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_make_revoke(const struct admission *log,
                                     const struct admission_signer *admin, struct ppn_wall now,
                                     const struct admission_key *subject, const char *reason,
                                     struct admission_made *made,
                                     struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_make_invite(const struct admission *log,
                                     const struct admission_signer *admin, struct ppn_wall now,
                                     const struct admission_invite *invite,
                                     struct admission_made *made,
                                     struct ppn_failure *why) PPN_CHECK;

/* A member (its node key signs) admits a joiner whose request carries an invite's signature. Checks
 * the request, the invite, its expiry by `now`, and that the joiner is no member yet. */
enum ppn_error admission_make_redeem(const struct admission *log,
                                     const struct admission_signer *member, struct ppn_wall now,
                                     const struct admission_request *request,
                                     struct admission_made *made,
                                     struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_make_rekey(const struct admission *log,
                                    const struct admission_signer *node, struct ppn_wall now,
                                    const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE],
                                    struct admission_made *made, struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_make_admin_add(const struct admission *log,
                                        const struct admission_signer *admin, struct ppn_wall now,
                                        const struct admission_admin_add *add,
                                        struct admission_made *made,
                                        struct ppn_failure *why) PPN_CHECK;
enum ppn_error
admission_make_admin_remove(const struct admission *log, const struct admission_signer *admin,
                            struct ppn_wall now, const struct admission_admin_remove *remove,
                            struct admission_made *made, struct ppn_failure *why) PPN_CHECK;

/* Seals what the log holds now; renew_unix_ms as in struct admission_seal. */
enum ppn_error admission_make_seal(const struct admission *log,
                                   const struct admission_signer *sealer, struct ppn_wall now,
                                   int64_t renew_unix_ms, struct admission_made *made,
                                   struct ppn_failure *why) PPN_CHECK;
