// SPDX-License-Identifier: ISC
#pragma once

/* The inside of vm_host, shared by its files and nobody else: one VM with its core, its process and
 * its connections (struct vm_machine), and one that is being made (struct vm_making). */

#include "os/os_child.h"
#include "os/os_loop.h"
#include "os/os_worker.h"
#include "vm/vm.h"
#include "vm/vm_console.h"
#include "vm/vm_fat.h"
#include "vm/vm_host.h"
#include "vm/vm_launch.h"
#include "vm/vm_nic.h"
#include "vm/vm_qmp.h"

enum {
    VM_QUEUE_MAX = 64,  /* updates of one VM not yet carried out */
    VM_FIND_TRIES = 50, /* looks for a process that holds the lock but is not to be seen yet */
    VM_FIND_MS = 100,
    VM_PERSIST_RETRY_MS = 2000,
    VM_LOG_TRIM_MS = 5000,
    VM_LAST_EVENTS_MS = 1000 /* after the exit, for what QEMU still said through QMP */
};

struct vm_machine {
    struct vm_host *host;
    struct vm vm;
    char uuid[PPN_UUID_TEXT];
    char directory[VM_PATH_MAX + 1];
    int directory_fd; /* for socket paths; -1 while there is no process */
    enum vm_update_kind queue[VM_QUEUE_MAX];
    uint32_t queued;
    bool carrying;   /* in carry_all: what is queued now is carried by it */
    bool persisting; /* waits for `ticket` */
    bool forgetting; /* that ticket is the record's end */
    bool wants_tap;  /* the launch waits for the network's rules */
    bool exited;     /* the process ended; its last QMP events are still awaited */
    uint64_t ticket;
    uint32_t find_tries;
    bool remove_asked;     /* while it was looked for */
    struct os_timer timer; /* the core's deadline */
    struct os_timer retry; /* look for the process again, last events, remove files again */
    struct os_timer persist_again;
    struct os_closure drop; /* the end of a forgotten machine, outside of its own functions */
    struct os_child *process;
    struct os_child *disk;      /* qemu-img, re-making the overlay */
    struct vm_removal *removal; /* the worker removes the directory */
    struct vm_qmp *qmp;
    struct vm_console *console;
    struct vm_console *channel; /* one viewer at a time */
    uint64_t log_base;
    struct vm_making *making; /* whose end this record's first persistence is */
};

/* A VM on its way to its first record. Disk (child) and seed (worker) are made side by side. */
struct vm_making {
    struct vm_host *host;
    struct vm_record record;
    struct ppn_machine_spec spec;
    char directory[VM_PATH_MAX + 1];
    vm_prepared_fn *done;
    void *context;
    struct os_child *disk;
    bool seed_pending;
    bool network;
    bool cancelled;
    bool recorded;              /* waits for its machine's record */
    struct ppn_failure failure; /* the first one; code PPN_OK: none */
    struct ppn_failure seed_failure;
    uint8_t image[VM_FAT_BYTES];
};

struct vm_host {
    struct os_loop *loop;
    struct os_worker *worker;
    struct vm_host_hooks hooks;
    void *context;
    char root[VM_PATH_MAX + 1]; /* STATE/vms */
    char program[VM_PATH_MAX + 1];
    char cpu[128];
    char warning[PPN_FAILURE_TEXT_MAX];
    uid_t uid_base; /* 0: our own user */
    bool closing;
    uint32_t jobs;      /* of the worker, not yet reported */
    struct vm_nic *nic; /* NULL: no network asked for */
    struct os_timer trim;
    uint64_t next_ticket;
    uint32_t machine_count, making_count;
    struct vm_machine *machines[PPN_VMS_MAX];
    struct vm_making *makings[PPN_VMS_MAX];
};

struct vm_machine *vm_machine_find(const struct vm_host *host, const struct ppn_request_id *id);
/* NULL: out of memory. The record is checked. */
struct vm_machine *vm_machine_add(struct vm_host *host, const struct vm_record *record);
/* Frees it and what it watches; QEMU runs on. */
void vm_machine_drop(struct vm_machine *machine);

/* One event into the core, and its updates carried out. */
enum ppn_error vm_machine_step(struct vm_machine *machine, const struct vm_event *event);
void vm_machine_event(struct vm_machine *machine, enum vm_event_kind kind, const char *text);
/* The first persistence of a new machine. */
void vm_machine_record(struct vm_machine *machine);
/* The outcome of its ticket. */
void vm_machine_persisted(struct vm_machine *machine, enum ppn_error error);
/* Goes on with the queue: after a persistence, or when the network's rules are there. */
void vm_machine_continue(struct vm_machine *machine);
/* Takes up the process that holds the lock. */
void vm_machine_adopt(struct vm_machine *machine);

/* STATE/vms/UUID. */
void vm_host_directory(const struct vm_host *host, const struct ppn_request_id *id, char *path);
uid_t vm_host_uid(const struct vm_host *host, uint32_t slot);

/* qemu-img making an empty overlay in the VM's directory. */
enum ppn_error vm_disk_create(struct vm_host *host, const char *directory,
                              const struct vm_image *image, uint64_t bytes,
                              os_child_exit_fn *on_exit, void *context, struct os_child **child,
                              struct ppn_failure *failure) PPN_CHECK;
/* The sentence for people about a qemu-img that failed. */
void vm_disk_failure(const struct os_child_result *result, struct ppn_failure *failure);

/* The making's record is durable, or could not be. */
void vm_making_recorded(struct vm_making *making, enum ppn_error error);
struct vm_making *vm_making_find(const struct vm_host *host, const struct ppn_request_id *id);
/* It ends as soon as its parts do, with CANCELLED and without a trace. */
void vm_making_cancel(struct vm_making *making);
/* At close: ends without a word; what it leaves in its directory is swept at the next start. */
void vm_making_close(struct vm_making *making);

/* A job of the worker ended; at close the last one frees the host. */
void vm_host_job_done(struct vm_host *host);
