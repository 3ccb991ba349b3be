// SPDX-License-Identifier: ISC
#pragma once

/* The log in words, for `ppn log`. */

#include "admission/admission.h"

enum { ADMISSION_TEXT_MAX = 512, ADMISSION_AUDIT_LINES_MAX = 64 };

/* One line: what the entry does and who made it ("admits laptop (1f2e-...) by key 9ab3-..."). Names
 * are those in the entry. Always terminated. */
void admission_describe(const struct admission *log, uint32_t index,
                        char text[static ADMISSION_TEXT_MAX]);

/* What an entry does that need not be in the log: "revokes ...". */
void admission_describe_entry(const struct admission *log, const struct admission_entry *entry,
                              char text[static ADMISSION_TEXT_MAX]);

/* "in force", or why the entry does not count and since which entry. */
void admission_explain(const struct admission *log, uint32_t index,
                       char text[static ADMISSION_TEXT_MAX]);

/* The story of a node in order: who admitted it, when, on whose authority back to the genesis, and
 * what became of it. */
struct admission_audit {
    uint32_t count;
    bool cut; /* there was more than fits */
    struct {
        uint32_t index;       /* of the entry */
        int64_t time_unix_ms; /* the author's clock */
        char text[ADMISSION_TEXT_MAX];
    } lines[ADMISSION_AUDIT_LINES_MAX];
};

/* NOT_FOUND when no entry names the node. */
enum ppn_error admission_audit_node(const struct admission *log, const struct ppn_node_id *node,
                                    struct admission_audit *audit) PPN_CHECK;
