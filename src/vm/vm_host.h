// SPDX-License-Identifier: ISC
#pragma once

/* All VMs of this node: carries the vm core's updates out with QEMU, QMP, files and the network,
 * and feeds back what happens. What node uses of the vm folder; everything else here is its inside.
 *
 * One thread, the loop's. A VM outlives this object and the process: vm_host_close leaves QEMU
 * running, and vm_host_restore finds it again.
 *
 * On the disk: STATE/vms/UUID/ holds disk.qcow2, seed.img, console.log, qemu.log, lock and the
 * sockets. QEMU holds a lock on `lock` for its whole life, which is how a later daemon knows,
 * without trusting a pid file, whether it is alive. */

#include "base/error.h"
#include "base/machine.h"
#include "base/slice.h"
#include "base/time.h"
#include "image/image_format.h"
#include "vm/vm_msg.h"

struct os_loop;
struct os_worker;
struct vm_host;

enum { VM_PATH_MAX = 511 };

struct vm_image {
    char path[VM_PATH_MAX + 1]; /* the base file, never written */
    enum image_format format;
    uint64_t virtual_bytes;
};

/* Called from the loop, never from inside vm_host_open. */
struct vm_host_hooks {
    /* The base image by its hash; false when it is not here. */
    bool (*image)(void *context, const struct ppn_hash *hash, struct vm_image *image);
    /* Make the record durable (forget: delete it), then call vm_host_persisted(ticket), later or at
     * once. Until then nothing that depends on it is done. */
    void (*persist)(void *context, const struct vm_record *record, uint64_t ticket);
    void (*forget)(void *context, const struct ppn_request_id *id, uint64_t ticket);
    /* Something that people see changed: publish it. */
    void (*changed)(void *context, const struct ppn_vm_info *info);
    /* The VM, its files and its record are gone. */
    void (*removed)(void *context, const struct ppn_request_id *id);
};

struct vm_host_config {
    struct os_loop *loop;
    struct os_worker *worker;
    const char *state_dir; /* VMs live in state_dir/vms */
    const char *qemu_path; /* NULL: qemu-system-x86_64 on PATH */
    const char *cpu;       /* -cpu under KVM, as host/kvm.h proved it; NULL or "": QEMU's default */
    uint32_t uid_base;     /* 0: VM_UID_BASE; the VM in slot N runs as user uid_base + N */
    bool network;          /* false: VMs have no network card's other end */
    const struct vm_host_hooks *hooks;
    void *context;
};

enum { VM_UID_BASE = 210000 };

/* Makes the directories. Without root everything still works, but QEMU runs as our own user and VMs
 * have no network; vm_host_warning says so. */
enum ppn_error vm_host_open(const struct vm_host_config *config, struct vm_host **host,
                            struct ppn_failure *failure) PPN_CHECK;
/* Leaves every QEMU running. NULL is allowed. */
void vm_host_close(struct vm_host *host);

/* Once, before anything else: the records of the store. Re-attaches to the living, tells of the
 * dead, continues what was cut off, and removes directories that no record names. A record that
 * fails vm_record_check is skipped, logged and its directory left alone. */
enum ppn_error vm_host_restore(struct vm_host *host, const struct vm_record *records,
                               uint32_t count, struct ppn_failure *failure) PPN_CHECK;

/* The CPU string, once the KVM probe has ended. */
void vm_host_set_cpu(struct vm_host *host, const char *cpu);

/* What stands in the way of full isolation or network here, for `ppn status`; "" when nothing. */
const char *vm_host_warning(const struct vm_host *host);

/* Makes disk and seed and then the durable record; the VM is PREPARED. done comes once: failure
 * NULL at success. An id that is PREPARED or further is left as it is, and its done comes before
 * this returns; an id being prepared is BUSY. After an error here done is not called. kvm and
 * isolation are the caller's decision. */
typedef void vm_prepared_fn(void *context, const struct ppn_request_id *id,
                            const struct ppn_failure *failure);
struct vm_prepare {
    const struct ppn_machine_spec *spec; /* copied; demand.image_hash must be set */
    bool kvm;
    enum ppn_isolation isolation;
    int64_t created_unix_ms;
    vm_prepared_fn *done;
    void *context;
};
enum ppn_error vm_host_prepare(struct vm_host *host, const struct vm_prepare *prepare,
                               struct ppn_failure *failure) PPN_CHECK;

/* NOT_FOUND; CONFLICT when it does not fit the state; BUSY while it is being prepared, or looked
 * for after a restart. The outcome shows as `changed`. Removing fits any state, one being prepared
 * included (its done then gets CANCELLED): once it returned OK, `removed` follows. */
enum ppn_error vm_host_start(struct vm_host *host, const struct ppn_request_id *id) PPN_CHECK;
enum ppn_error vm_host_stop(struct vm_host *host, const struct ppn_request_id *id,
                            struct ppn_duration timeout) PPN_CHECK; /* 0: 60 s, then killed */
enum ppn_error vm_host_kill(struct vm_host *host, const struct ppn_request_id *id) PPN_CHECK;
enum ppn_error vm_host_remove(struct vm_host *host, const struct ppn_request_id *id) PPN_CHECK;

void vm_host_persisted(struct vm_host *host, uint64_t ticket, enum ppn_error error);

bool vm_host_find(const struct vm_host *host, const struct ppn_request_id *id,
                  struct ppn_vm_info *info);
/* At most `capacity` VMs, in order of creation; returns how many there are. */
uint32_t vm_host_list(const struct vm_host *host, struct ppn_vm_info *infos, uint32_t capacity);
/* Whether some VM's overlay rests on this image. */
bool vm_host_uses_image(const struct vm_host *host, const struct ppn_hash *hash);

struct vm_host_usage {
    uint64_t memory_bytes; /* of all VMs that run or are about to, with overhead */
    uint64_t disk_bytes;   /* what overlays may still grow to */
    uint32_t vcpus, vm_count;
};
struct vm_host_usage vm_host_usage(const struct vm_host *host);

/* The serial log, written by QEMU itself; kept to about VM_CONSOLE_LOG_MAX. Offsets count bytes
 * ever written as far as this log reaches back: reading at an offset that was cut off continues at
 * the oldest byte there is. Returns bytes read (0: nothing new, poll again) and the next offset. */
enum { VM_CONSOLE_LOG_MAX = 4 * 1024 * 1024 };
enum ppn_error vm_host_log_read(struct vm_host *host, const struct ppn_request_id *id,
                                uint64_t offset, uint8_t *bytes, size_t capacity, size_t *size,
                                uint64_t *next_offset) PPN_CHECK;
/* Where the last `tail` bytes start, for logs --tail and for what a new console shows first. */
uint64_t vm_host_log_tail(struct vm_host *host, const struct ppn_request_id *id, uint64_t tail);

/* The serial console, shared by up to VM_CONSOLE_VIEWERS_MAX at once. Output since the attachment
 * comes through on_output; on_end once, when the VM ended: the viewer ends with it. */
enum { VM_CONSOLE_VIEWERS_MAX = 8 };
struct vm_viewer;
struct vm_viewer_handler {
    void (*on_output)(void *context, struct ppn_slice bytes);
    void (*on_end)(void *context);
};
enum ppn_error vm_host_console_attach(struct vm_host *host, const struct ppn_request_id *id,
                                      const struct vm_viewer_handler *handler, void *context,
                                      struct vm_viewer **viewer,
                                      struct ppn_failure *failure) PPN_CHECK;
/* The guest's channel port, for one at a time (BUSY): what a program in the guest says to members
 * and they to it, without a network. Bytes as they come; an older QEMU process has none
 * (NOT_FOUND). */
enum ppn_error vm_host_channel_attach(struct vm_host *host, const struct ppn_request_id *id,
                                      const struct vm_viewer_handler *handler, void *context,
                                      struct vm_viewer **viewer,
                                      struct ppn_failure *failure) PPN_CHECK;
/* Keystrokes. FULL: the guest does not read; try later. */
enum ppn_error vm_viewer_write(struct vm_viewer *viewer, struct ppn_slice bytes) PPN_CHECK;
void vm_viewer_detach(struct vm_viewer *viewer);
