// SPDX-License-Identifier: ISC
#pragma once

/* The log as an admin's machine sees it: what a node exported, checked here from the genesis on, so
 * that a node which lies can withhold but not deceive. Entries are made from this copy (see
 * admission/author.h) and handed to any node. */

#include "admission/admission.h"
#include "base/error.h"
#include "base/slice.h"

enum { ADMIN_EXPORT_MAX = 256 * 1024 * 1024 }; /* ADMISSION_ENTRIES_MAX of the largest */

/* exported: envelopes and records, each behind 4 bytes of length, as GET /v1/log/export gives them. network is
 * the id that the genesis must have; zero takes what comes (and the caller shows it). On PPN_OK
 * *log is the caller's to admission_free. CORRUPT: cut short, an entry that does not verify, or one
 * whose ancestors are missing; NOT_FOUND: no entry at all; NO_MEMORY. */
enum ppn_error admin_log_read(struct ppn_slice exported, const struct ppn_hash *network,
                              struct ppn_wall now, struct admission **log,
                              struct ppn_failure *failure) PPN_CHECK;

/* Offers an entry made here to the copy, so that the reason of a refusal is known before anything
 * is sent, and the next entry follows this one. UNAUTHORIZED and others as admission_offer says. */
enum ppn_error admin_log_add(struct admission *log, struct ppn_wall now, struct ppn_slice envelope,
                             struct ppn_failure *failure) PPN_CHECK;
