// SPDX-License-Identifier: ISC
#pragma once

/* The life of one VM: what was asked for against what is observed, and what to do about it. Pure:
 * no process, no file, no clock. The shell (vm_host.h) carries the updates out and reports what
 * came of them. Nothing here draws lots, so there is no seed.
 *
 *   PREPARED --start--> STARTING --QMP says running--> RUNNING --stop--> STOPPING --exit--> STOPPED
 *
 * A guest that switches itself off is STOPPED with a reason; a QEMU that ends by itself is FAILED.
 * Neither is started again unless somebody asks. Not being ready in time means "still booting" and
 * never "failed". */

#include "base/error.h"
#include "base/machine.h"
#include "base/time.h"
#include "vm/vm_msg.h"

struct vm_config {
    struct ppn_duration start_timeout; /* launch to QMP "running", then it FAILED */
    struct ppn_duration
        first_boot_timeout;             /* not ready by then: still booting, but its disk is kept */
    struct ppn_duration stop_timeout;   /* ACPI power-down to exit, then it is killed */
    struct ppn_duration press_interval; /* the power button again: early guests miss it */
    struct ppn_duration reconnect_interval; /* to QMP, while the process lives */
};

/* 30 s, 10 min, 60 s, 5 s, 1 s. */
struct vm_config vm_config_default(void);

enum vm_event_kind {
    VM_EVENT_TIME, /* the deadline came; also safe at any other time */
    /* Asked for. */
    VM_EVENT_START,
    VM_EVENT_STOP, /* power-down, and a kill after the time-out */
    VM_EVENT_KILL,
    VM_EVENT_REMOVE, /* ends the guest at once, if it runs */
    /* Observed. */
    VM_EVENT_RESTORED_ALIVE, /* first event of a record read back from the store: a process ... */
    VM_EVENT_RESTORED_DEAD,  /* ... holds the VM's lock, or none does */
    VM_EVENT_DISK_MADE,
    VM_EVENT_DISK_FAILED, /* text */
    VM_EVENT_LAUNCHED,
    VM_EVENT_LAUNCH_FAILED, /* text */
    VM_EVENT_RUNNING,       /* QMP negotiated, and QEMU says that the guest's CPUs run */
    VM_EVENT_READY,         /* the guest's last first-boot stage spoke */
    VM_EVENT_GUEST_OFF,     /* the guest switched itself off */
    VM_EVENT_GUEST_RESET,
    VM_EVENT_QMP_LOST,
    VM_EVENT_EXITED, /* text: QEMU's last words, may be "" */
    VM_EVENT_FILES_REMOVED
};

struct vm_event {
    enum vm_event_kind kind;
    const char *text;                 /* see above; else NULL. Copied. */
    struct ppn_duration stop_timeout; /* VM_EVENT_STOP: 0 is the configured one */
};

/* To be carried out in this order; PERSIST is done when the record is durable. */
enum vm_update_kind {
    VM_UPDATE_PERSIST,   /* write vm->record */
    VM_UPDATE_PUBLISH,   /* vm_info() differs from what was published */
    VM_UPDATE_MAKE_DISK, /* an empty overlay in place of whatever is there: DISK_MADE or _FAILED */
    VM_UPDATE_LAUNCH,    /* LAUNCHED or LAUNCH_FAILED */
    VM_UPDATE_CONNECT,   /* QMP to the process: RUNNING or QMP_LOST */
    VM_UPDATE_POWERDOWN, /* ACPI power button through QMP */
    VM_UPDATE_KILL,      /* SIGKILL; EXITED follows */
    VM_UPDATE_REMOVE_FILES, /* the VM's directory: FILES_REMOVED */
    VM_UPDATE_FORGET        /* delete the record; the last update of a VM */
};

enum { VM_UPDATES_MAX = 6 };

struct vm_update {
    uint32_t count;
    enum vm_update_kind kinds[VM_UPDATES_MAX];
};

/* Where the machinery is, beneath the state that people see. */
enum vm_process {
    VM_PROCESS_NONE,
    VM_PROCESS_DISK,      /* the overlay is being made */
    VM_PROCESS_LAUNCHING, /* LAUNCH was said, its outcome is open */
    VM_PROCESS_ALIVE      /* runs until EXITED */
};

struct vm {
    struct vm_config config;
    struct vm_record record;
    enum vm_process process;
    bool qmp_running;
    bool killed;     /* KILL was said for this process */
    bool guest_off;  /* the guest switched itself off, the exit is due */
    uint32_t resets; /* of this process, before ready */
    struct ppn_instant start_deadline, first_boot_deadline, stop_deadline, press_at, reconnect_at;
};

/* The record is either a new one (PREPARED; persist it yourself before people may rely on it) or
 * one read back, which VM_EVENT_RESTORED_* must follow. */
void vm_init(struct vm *vm, const struct vm_config *config, const struct vm_record *record,
             struct ppn_instant now);

/* Fills *update. INVALID never happens by timing: an observation that no longer matters is ignored.
 * CONFLICT: what was asked for does not fit the state (the update is empty). */
enum ppn_error vm_step(struct vm *vm, struct ppn_instant now, const struct vm_event *event,
                       struct vm_update *update) PPN_CHECK;

/* PPN_NEVER when nothing is waited for. */
struct ppn_instant vm_deadline(const struct vm *vm);

struct ppn_vm_info vm_info(const struct vm *vm);

#define VM_MEMORY_MIN ((uint64_t)32 << 20)
#define VM_MEMORY_MAX ((uint64_t)1 << 40)
#define VM_DISK_MAX   ((uint64_t)1 << 42)
enum { VM_VCPUS_MAX = 64 };

/* A record of a new VM that is sound enough to run: names, sizes, enums and slot in range. Also for
 * records read back. */
enum ppn_error vm_record_check(const struct vm_record *record) PPN_CHECK;

/* Memory of the host that a VM may take in all: guest memory, QEMU itself, and under TCG its
 * translation cache (vm_tb_mib). The one number that placement, admission and launch share. */
uint64_t vm_host_memory_bytes(uint64_t guest_bytes, bool kvm);
uint32_t vm_tb_mib(uint64_t guest_bytes);
