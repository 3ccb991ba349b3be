// SPDX-License-Identifier: ISC
#pragma once

/* What this machine is and how it is doing: memory, CPUs, disk, power, lid, heat, link. Readers of
 * /proc and /sys; each takes a root directory ("" for the real one) in front of which those paths
 * are put, so that tests feed it trees of their own. A file that is missing or holds nonsense gives
 * the value "unknown" (0, or the UNKNOWN of the enum), never a failure of the caller, unless said.
 * All of them are short reads of kernel files and may run on the loop. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"

enum { HOST_KERNEL_MAX = 64, HOST_BOOT_ID_MAX = 36, HOST_PATH_MAX = 512 };

struct host_memory {
    uint64_t total_bytes;     /* MemTotal, or the smaller limit of our cgroup */
    uint64_t available_bytes; /* MemAvailable, or what is left under that limit */
};

/* CORRUPT when /proc/meminfo has no MemTotal. cgroup v2 and v1 limits count when they are below. */
enum ppn_error host_memory(const char *root, struct host_memory *memory) PPN_CHECK;

/* CPUs this process may use (affinity), at most what a cgroup's quota allows, at least 1. */
uint32_t host_cpus(const char *root);

struct host_disk {
    uint64_t total_bytes;
    uint64_t free_bytes; /* for an ordinary user */
};

/* Of the file system that holds `path`, which must exist: NOT_FOUND or IO. */
enum ppn_error host_disk(const char *path, struct host_disk *disk) PPN_CHECK;

struct host_identity {
    char arch[PPN_ARCH_MAX + 1]; /* uname -m */
    char kernel[HOST_KERNEL_MAX + 1];
    char boot_id[HOST_BOOT_ID_MAX + 1]; /* "" if unknown */
    uint64_t uptime_seconds;
};

void host_identity(const char *root, struct host_identity *identity);

/* 1 minute load average per CPU, in thousandths. */
uint32_t host_load_per_mille(const char *root, uint32_t cpus);

struct host_power {
    enum ppn_power power;    /* BATTERY only when a battery discharges and no mains is on line */
    uint8_t battery_percent; /* 255: no battery or unknown */
};

void host_power(const char *root, struct host_power *power);

/* The lid switch, where the machine has one that the kernel shows in /proc/acpi/button/lid. */
bool host_lid_closed(const char *root);

/* Whether a cooling device that throttles processors is engaged. */
bool host_throttled(const char *root);

/* The link that carries the default route: Wi-Fi, cable, or unknown (virtual, none). */
enum ppn_link host_link(const char *root);

/* Fills arch, version, cpus, memory and disk totals and link of *profile; leaves the rest alone.
 * vm_path: where VMs are kept. */
void host_fill_profile(const char *root, const char *vm_path, struct ppn_profile *profile);

/* Fills memory_available_bytes, disk_free_bytes, load, power, lid and heat; leaves the rest alone.
 */
void host_fill_load(const char *root, const char *vm_path, struct ppn_load *load);
