// SPDX-License-Identifier: ISC
#pragma once

/* What a process does to itself at its start. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "base/error.h"

/* No core dumps and no ptrace by the same user, since keys are in memory; umask 077. */
void os_process_harden(void);
/* Becomes a user without groups and, for good, without capabilities, after what needed them was
 * opened. PERMISSION: the process goes on as it was and should end. */
enum ppn_error os_process_become(uid_t uid, struct ppn_failure *failure) PPN_CHECK;
/* Keeps a key out of swap; false when the limit (RLIMIT_MEMLOCK) forbids it, which is no error. */
bool os_process_lock_memory(void *bytes, size_t size);
/* Raises the soft limit of open files to the hard one, at most `wanted`; returns what it is now. */
uint64_t os_process_file_limit(uint64_t wanted);
/* Where another of our programs is: beside this one, else its bare name, for PATH. name: at most 32
 * bytes. */
enum { OS_PROGRAM_MAX = 512 };
void os_process_program(const char *name, char path[static OS_PROGRAM_MAX]);
bool os_process_is_root(void);
uint64_t os_process_page_size(void);
/* Own resident set, for status. 0 when unknown. */
uint64_t os_process_resident_bytes(void);
/* Number of open descriptors, for tests and status. 0 when unknown. */
uint32_t os_process_open_files(void);
