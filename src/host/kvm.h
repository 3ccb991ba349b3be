// SPDX-License-Identifier: ISC
#pragma once

/* How far KVM is proven on this machine. /dev/kvm opening proves nothing: nested or emulated
 * virtualisation may run a thousand times too slowly, or never reach the firmware. So three steps:
 *
 *  device  /dev/kvm opens
 *  runs    a guest executed instructions
 *  fast    a paged long-mode guest loop of HOST_KVM_LOOP iterations halted within
 *          HOST_KVM_LOOP_MS (hardware needs tens of ms; an emulated one 30 s)
 *  boots   QEMU itself, with the accelerator and CPU string that VMs will get, ran a boot sector
 *          that printed on the serial port; the CPU strings are tried from the best one down
 *
 * The first three run in a child of their own (`ppn-probe-kvm`), the last is QEMU, also a child;
 * each has a deadline after which it is killed. Nothing of KVM is ever touched by the daemon's own
 * process, since an ioctl there may never return. The result of a completed probe is kept in a file
 * and believed as long as kernel release, QEMU version and microcode are the same. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"

struct os_loop;
struct host_kvm_probe;

enum {
    HOST_KVM_LOOP = 20000000, /* iterations */
    HOST_KVM_LOOP_MS = 200,   /* for `fast` */
    HOST_KVM_CHILD_MS = 2000, /* the probe child, then SIGKILL */
    HOST_KVM_BOOT_MS = 10000, /* QEMU to the first serial byte, then SIGKILL */
    HOST_CPU_MAX = 127,       /* the CPU string's length */
    HOST_KVM_REASON_MAX = 160
};

struct host_kvm_report {
    enum ppn_kvm_level level;
    char cpu[HOST_CPU_MAX + 1];           /* QEMU's -cpu value that booted; "" below `boots` */
    char reason[HOST_KVM_REASON_MAX + 1]; /* why no higher level, for people; "" at `boots` */
    uint64_t loop_iterations_per_second;  /* 0: not measured */
    bool cached;                          /* read from the cache file */
    bool claimed;                         /* PPN_LAB_KVM, not a measurement */
};

struct host_kvm_config {
    const char *probe_path; /* the ppn-probe-kvm executable; NULL: beside this one, then on PATH */
    const char *qemu_path;  /* NULL: qemu-system-ARCH on PATH */
    const char *device;     /* NULL: /dev/kvm */
    const char *cache_path; /* NULL: no cache */
    const char *work_dir;   /* for the boot sector; NULL: the directory of cache_path, or /tmp */
    void *context;
    /* Called once on the loop, never from inside host_kvm_start; the report lives for the call. */
    void (*on_done)(void *context, const struct host_kvm_report *report);
};

/* "none", "device", "runs", "fast", "boots". */
const char *host_kvm_level_name(enum ppn_kvm_level level);

/* Starts the probe; the strings of config are copied. With PPN_LAB=1, the environment variable
 * PPN_LAB_KVM=none|boots is reported instead of measuring, and a warning is logged. NO_MEMORY, IO.
 */
enum ppn_error host_kvm_start(struct os_loop *loop, const struct host_kvm_config *config,
                              struct host_kvm_probe **probe, struct ppn_failure *failure) PPN_CHECK;

/* Kills what runs and frees; on_done is not called if it was not yet. Needed after on_done too. */
void host_kvm_free(struct host_kvm_probe *probe);
