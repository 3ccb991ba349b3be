// SPDX-License-Identifier: ISC
#pragma once

/* QEMU's argument vector for one VM. Pure. QEMU is started in the VM's directory and opens only
 * disk.qcow2, seed.img and console.log there, by name; everything else comes as an open descriptor,
 * so that it needs no path and no right outside. The VM's id is in the vector (-uuid), which is how
 * a process is recognised later. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/name.h"
#include "image/image_format.h"

/* Numbers of the descriptors in the child. */
enum {
    VM_FD_LOCK = 3,
    VM_FD_QMP = 4,
    VM_FD_CONSOLE = 5,
    VM_FD_BASE = 6,
    VM_FD_TAP = 7,
    VM_FD_CHANNEL = 8
};

/* The guest writes its readiness line into this port; QEMU keeps it until QMP reads it. */
#define VM_READY_PORT    "org.ppn.ready.0"
#define VM_READY_CHARDEV "ready"
enum { VM_READY_BUFFER = 4096 };

/* Lines between a program in the guest and members; see vm_host_channel_attach. */
#define VM_CHANNEL_PORT "org.ppn.channel.0"

struct vm_qemu {
    const char *program; /* "qemu-system-x86_64" */
    struct ppn_request_id id;
    const char *name; /* valid by ppn_name_valid */
    uint64_t memory_bytes;
    uint32_t vcpus;
    bool kvm;
    const char *cpu; /* -cpu under KVM; "": QEMU's default.*/
    enum image_format base_format;
    bool network; /* a tap comes as VM_FD_TAP */
    uint8_t mac[6];
};

enum { VM_ARGV_MAX = 80, VM_ARGV_TEXT = 4096 };

struct vm_argv {
    const char *list[VM_ARGV_MAX + 1]; /* NULL at the end */
    uint32_t count;
    char uuid[PPN_UUID_TEXT];
    char text[VM_ARGV_TEXT]; /* what list points into, besides constants */
    size_t text_size;
};

/* INVALID: a name or CPU string that could be read as something else. The struct must not move. */
enum ppn_error vm_argv_build(struct vm_argv *argv, const struct vm_qemu *qemu) PPN_CHECK;
