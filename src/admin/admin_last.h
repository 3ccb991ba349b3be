// SPDX-License-Identifier: ISC
#pragma once

/* What a key signed last, kept beside its file as FILE.last. A key that signs two entries with one
 * number contradicts itself and is out for good; that must not happen to an honest person whose
 * command was cut off, or who asks another node before the first one's news has come there. So the
 * envelope is written down before it is handed in, and the next command hands it in first, or
 * waits. It holds nothing secret. */

#include "admission/admission.h"
#include "base/error.h"
#include "base/slice.h"

/* One command at a time signs with a key: between reading what it signed last and the answer to
 * what it signs now. Waits up to ADMIN_LAST_WAIT_S for another one. BUSY; IO. Close *fd to let go;
 * the end of the program does so too. */
enum { ADMIN_LAST_WAIT_S = 10 };
enum ppn_error admin_last_lock(const char *key_path, int *fd,
                               struct ppn_failure *failure) PPN_CHECK;

/* Durable when this returns. IO. */
enum ppn_error admin_last_write(const char *key_path, struct ppn_slice envelope,
                                struct ppn_failure *failure) PPN_CHECK;

/* NOT_FOUND: nothing was signed yet, or the note is of no use any more. IO. */
enum ppn_error admin_last_read(const char *key_path, uint8_t bytes[static ADMISSION_ENVELOPE_MAX],
                               size_t *size, struct ppn_failure *failure) PPN_CHECK;

/* An entry of the same author with the same number, or a later one, is in the log. */
bool admin_overtaken(const struct admission *log, const struct admission_entry *entry);

enum admin_last {
    ADMIN_LAST_SETTLED, /* in the log, or never to be: of another network, or refused everywhere */
    ADMIN_LAST_MISSING, /* was not there; is in this copy now: hand it in before anything else */
    ADMIN_LAST_BEHIND   /* the log lacks what came before it: nothing may be signed from it */
};

/* Whether an entry is refused depends on its ancestors alone, so that one refused here is refused
 * everywhere. */
enum admin_last admin_last_settle(struct admission *log, struct ppn_wall now,
                                  struct ppn_slice envelope);
