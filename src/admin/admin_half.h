// SPDX-License-Identifier: ISC
#pragma once

/* An entry that several keys must sign, on its way between the places where they are: a text file
 * with the body and the signatures so far.
 *
 *     ppn-entry-1
 *     body HEX
 *     signed KEY SIGNATURE        a line each
 *
 * The body names all who are to sign, so that nobody can be left out or put in later. The author
 * signs last: until then its chain is free, and nobody can hold it back. Nothing in it is secret.
 */

#include "admission/author.h"
#include "admission/entry.h"
#include "base/error.h"

enum {
    ADMIN_HALF_TEXT_MAX =
        64 + 2 * ADMISSION_BODY_MAX +
        ADMISSION_SIGNATURES_MAX * (10 + 2 * (ADMISSION_KEY_SIZE + ADMISSION_SIGNATURE_SIZE))
};

struct admin_half {
    struct admission_entry entry;
    uint32_t body_size, count;
    uint8_t body[ADMISSION_BODY_MAX];
    struct admission_key keys[ADMISSION_SIGNATURES_MAX];
    struct admission_signature signatures[ADMISSION_SIGNATURES_MAX]; /* beside keys */
};

/* From a body as admission_make_body wrote it. INVALID. */
enum ppn_error admin_half_begin(struct admin_half *half, struct ppn_slice body) PPN_CHECK;

/* Every signature in it was checked. INVALID, SIGNATURE: with the cause. */
enum ppn_error admin_half_read(struct ppn_slice text, struct admin_half *half,
                               struct ppn_failure *failure) PPN_CHECK;
size_t admin_half_write(const struct admin_half *half, char text[static ADMIN_HALF_TEXT_MAX]);

/* UNAUTHORIZED: the entry does not name this key. CONFLICT: it signed already, or is the author's
 * and others are still to sign. */
enum ppn_error admin_half_sign(struct admin_half *half, struct admission_keypair *pair,
                               struct ppn_failure *failure) PPN_CHECK;

/* The next that is to sign, cosigners first; false: all have. */
bool admin_half_next(const struct admin_half *half, struct admission_key *key);

/* The envelope of a half that all have signed. */
void admin_half_made(const struct admin_half *half, struct admission_made *made);
