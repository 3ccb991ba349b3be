// SPDX-License-Identifier: ISC
#pragma once

/* What happens between fork and exec. Between the two only async-signal-safe calls are allowed,
 * since other threads may have held any lock, so everything is prepared before the fork. */

#include "os/os_child.h"

/* Why the child could not be started, sent through a close-on-exec pipe. */
struct os_exec_failure {
    int stage; /* index into os_exec_stages */
    int number;
};

const char *os_exec_stage_text(int stage);

struct os_exec_plan {
    const struct os_child_config *config;
    const char *program; /* the resolved path of argv[0] */
    int input, output, error, status;
};

/* Finds argv[0] in PATH (of the child's environment, else the default one). */
enum ppn_error os_exec_find(const struct os_child_config *config, char *program, size_t capacity,
                            struct ppn_failure *failure) PPN_CHECK;

/* In the child: never returns. */
_Noreturn void os_exec_run(const struct os_exec_plan *plan);
