// SPDX-License-Identifier: ISC
#pragma once

/* Admin keys as files on the machine of the person who signs: a laptop that is no member, a USB
 * stick, or the founding node's own. The key is read by the command that signs and by nothing else;
 * it never goes to a daemon, into arguments or into the environment. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admission/crypto.h"
#include "admission/keyfile.h"
#include "base/error.h"

/* Asks the person for the passphrase of the file at `path` into text, NUL-terminated. False: there
 * is nobody to ask, or no answer came. */
typedef bool admin_ask_fn(void *context, const char *path,
                          char text[static ADMISSION_PASSPHRASE_MAX + 1]);

/* Reads the file: what admin_key_create wrote, or the 32 raw bytes that a founding node keeps.
 * Takes as long as Argon2id's cost in the file says. NOT_FOUND, PERMISSION (others may read it),
 * CORRUPT, UNAUTHORIZED (wrong passphrase or nobody to ask), IO. Wipe the pair after use. */
enum ppn_error admin_key_read(const char *path, admin_ask_fn *ask, void *context,
                              struct admission_keypair *pair,
                              struct ppn_failure *failure) PPN_CHECK;

/* The public key alone; needs no passphrase. */
enum ppn_error admin_key_public(const char *path, struct admission_key *key, bool *locked,
                                struct ppn_failure *failure) PPN_CHECK;

/* Draws a new key and writes it with mode 0600, under the passphrase unless that is NULL. A file
 * that exists is never touched: EXISTS. */
enum ppn_error admin_key_create(const char *path, const char *passphrase, struct admission_key *key,
                                struct ppn_failure *failure) PPN_CHECK;
