// SPDX-License-Identifier: ISC
#pragma once

/* The serial console of one VM for several viewers. QEMU serves one client, so this is it,
 * connected only while somebody looks: a client that stops reading would stall the guest, and the
 * log, which QEMU writes by itself, has the past. A viewer that does not keep up is the caller's
 * concern: output is handed over as it comes. */

#include "base/error.h"
#include "base/slice.h"
#include "vm/vm_host.h"

struct vm_console;

/* path: of QEMU's console socket, at most OS_UNIX_PATH_MAX; copied. */
enum ppn_error vm_console_open(struct os_loop *loop, const char *path, struct vm_console **console,
                               struct ppn_failure *failure) PPN_CHECK;
/* Ends every viewer with on_end. NULL is allowed. */
void vm_console_close(struct vm_console *console);

/* Whether somebody is attached. */
bool vm_console_used(const struct vm_console *console);

enum ppn_error vm_console_attach(struct vm_console *console,
                                 const struct vm_viewer_handler *handler, void *context,
                                 struct vm_viewer **viewer, struct ppn_failure *failure) PPN_CHECK;
