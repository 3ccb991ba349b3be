// SPDX-License-Identifier: ISC
#pragma once

/* Faults in the disk calls that LMDB makes: this executable defines them in front of the C library,
 * passes them on, and at the chosen call dies or fails instead. */

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
    FAULT_KILL,  /* SIGKILL before the call */
    FAULT_ERROR, /* the call fails with `number`, once or for ever */
    FAULT_SHORT  /* half of it is written */
};

struct fault {
    bool armed;
    enum fault_kind kind;
    int64_t at; /* which call from now on: 1 the next; counted down */
    int number;
    bool for_ever;
    bool only_sync; /* fdatasync alone counts */
};

extern struct fault fault;
