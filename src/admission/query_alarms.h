// SPDX-License-Identifier: ISC
#pragma once

/* What the log as it is now proves to be wrong, and nobody has put right yet. It follows from the
 * accepted entries alone, so it is the same on every replica and after every start. */

#include "admission/admission.h"

enum { ADMISSION_CONTRADICTED_MAX = 8 };

/* A key that signed two different entries with one number: stolen or copied, or its owner lies. */
struct admission_contradicted {
    struct admission_key author;
    uint64_t seq; /* the lowest number used twice */
};

struct admission_alarms {
    uint32_t frozen_version; /* of the log, above ADMISSION_VERSION: nothing more is accepted here;
                                0: not frozen */
    uint64_t seal_conflict;  /* the lowest number that two seals carry since the last recovery: an
                                authority runs twice; 0: none */
    /* Keys that nothing has put out yet but their own contradiction: admin keys that no removal and
     * no recovery dropped, and nodes that are members. The first of them; more counts the rest. */
    uint32_t contradicted_count, more;
    struct admission_contradicted contradicted[ADMISSION_CONTRADICTED_MAX];
};

void admission_alarms(const struct admission *log, struct admission_alarms *alarms);
