// SPDX-License-Identifier: ISC
#pragma once

/* Starting QEMU, and finding one that an earlier daemon started. What a VM may touch is decided
 * here: its own user, no capability, its own session and cgroup, and the descriptors named in
 * vm_argv.h. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "os/os_child.h"
#include "vm/vm_host.h"

struct vm_launch {
    struct os_loop *loop;
    const char *directory; /* of the VM */
    const struct vm_record *record;
    const struct vm_image *image;
    const char *program;
    const char *cpu;
    int tap_fd; /* -1: no network card; stays the caller's */
    uid_t uid;  /* 0: our own user */
    os_child_exit_fn *on_exit;
    void *context;
};

/* Takes the VM's lock, binds its sockets, and starts QEMU, which inherits all of them. BUSY: a
 * process of this VM still lives. */
enum ppn_error vm_launch(const struct vm_launch *launch, struct os_child **child,
                         struct ppn_failure *failure) PPN_CHECK;

/* Removes the cgroup of a VM that ended, if there is one. */
void vm_launch_clean(const struct ppn_request_id *id);

/* Whether a process holds the lock of the VM in this directory. */
bool vm_process_alive(const char *directory);
/* QEMU's process of this VM, by its command line; NOT_FOUND. Reads /proc. */
enum ppn_error vm_process_find(const struct ppn_request_id *id, pid_t *pid, int *pidfd) PPN_CHECK;

/* The last line of QEMU's own messages, without its program name; "" when there is none. */
void vm_last_words(const char *directory, char *text, size_t capacity);

/* A short path to a socket in the VM's directory, whatever the directory's length; good while
 * directory_fd is open. */
enum { VM_SOCKET_PATH = 64 };
void vm_socket_path(int directory_fd, const char *name, char path[static VM_SOCKET_PATH]);
