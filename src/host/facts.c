// SPDX-License-Identifier: ISC
#include "host/facts.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/assert.h"
#include "base/name.h"
#include "host/host_read.h"
#include "os/os_file.h"

enum { CGROUP_DEPTH_MAX = 16 };

static uint64_t meminfo_field(const char *text, const char *name)
{
    uint64_t kib;
    const char *at = strstr(text, name);
    if (at == NULL || (at != text && at[-1] != '\n') || !host_number(at + strlen(name), &kib) ||
        kib > UINT64_MAX / 1024)
        return 0;
    return kib * 1024;
}

/* The path of our cgroup in the hierarchy of `controller` ("" for version 2), "" if unknown. */
static void cgroup_path(const char *root, const char *controller, char path[static HOST_PATH_MAX])
{
    char text[HOST_TEXT_MAX];
    char *state = NULL;
    path[0] = '\0';
    if (!host_read(root, "/proc/self/cgroup", text))
        return;
    for (char *line = strtok_r(text, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state)) {
        char *names = strchr(line, ':');
        char *where = names == NULL ? NULL : strchr(names + 1, ':');
        if (where == NULL)
            continue;
        *where++ = '\0';
        if (strcmp(names + 1, controller) == 0 && strstr(where, "..") == NULL)
            (void)ppn_text_copy(path, HOST_PATH_MAX, where);
    }
}

/* The least limit from our cgroup up to the top, with what is used beneath it. */
static void cgroup_limit(const char *root, const char *mount, const char *controller,
                         const char *limit_name, const char *used_name, struct host_memory *memory)
{
    char path[HOST_PATH_MAX], file[2 * HOST_PATH_MAX];
    cgroup_path(root, controller, path);
    for (int depth = 0; path[0] != '\0' && depth < CGROUP_DEPTH_MAX; depth++) {
        uint64_t limit, used = 0;
        snprintf(file, sizeof(file), "%s%s/%s", mount, path, limit_name);
        if (host_read_number(root, file, &limit) && limit > 0 && limit < memory->total_bytes) {
            snprintf(file, sizeof(file), "%s%s/%s", mount, path, used_name);
            if (!host_read_number(root, file, &used) || used > limit)
                used = 0;
            memory->total_bytes = limit;
            if (limit - used < memory->available_bytes)
                memory->available_bytes = limit - used;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

enum ppn_error host_memory(const char *root, struct host_memory *memory)
{
    char text[HOST_TEXT_MAX];
    memset(memory, 0, sizeof(*memory));
    if (!host_read(root, "/proc/meminfo", text))
        return PPN_ERROR_CORRUPT;
    memory->total_bytes = meminfo_field(text, "MemTotal:");
    memory->available_bytes = meminfo_field(text, "MemAvailable:");
    if (memory->total_bytes == 0)
        return PPN_ERROR_CORRUPT;
    if (memory->available_bytes > memory->total_bytes)
        memory->available_bytes = memory->total_bytes;
    cgroup_limit(root, "/sys/fs/cgroup", "", "memory.max", "memory.current", memory);
    cgroup_limit(root, "/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes",
                 "memory.usage_in_bytes", memory);
    PPN_ASSERT(memory->available_bytes <= memory->total_bytes);
    return PPN_OK;
}

uint32_t host_cpus(const char *root)
{
    cpu_set_t set;
    char path[HOST_PATH_MAX], file[2 * HOST_PATH_MAX], text[HOST_TEXT_MAX];
    uint32_t cpus = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        cpus = (uint32_t)CPU_COUNT(&set);
    cgroup_path(root, "", path);
    if (path[0] == '\0')
        return cpus;
    snprintf(file, sizeof(file), "/sys/fs/cgroup%s/cpu.max", path);
    if (!host_read(root, file, text))
        return cpus;
    uint64_t quota, period;
    const char *space = strchr(text, ' ');
    if (space == NULL || !host_number(text, &quota) || !host_number(space, &period) || period == 0)
        return cpus;
    uint64_t whole = quota / period > 0 ? quota / period : 1;
    return whole < cpus ? (uint32_t)whole : cpus;
}

enum ppn_error host_disk(const char *path, struct host_disk *disk)
{
    struct os_space space;
    memset(disk, 0, sizeof(*disk));
    enum ppn_error error = os_file_space(path, &space, NULL);
    if (error != PPN_OK)
        return error == PPN_ERROR_NOT_FOUND ? error : PPN_ERROR_IO;
    disk->total_bytes = space.total_bytes;
    disk->free_bytes = space.free_bytes;
    return PPN_OK;
}

void host_identity(const char *root, struct host_identity *identity)
{
    struct utsname name;
    char text[HOST_TEXT_MAX];
    memset(identity, 0, sizeof(*identity));
    if (uname(&name) == 0) {
        (void)ppn_text_copy(identity->arch, sizeof(identity->arch), name.machine);
        (void)ppn_text_copy(identity->kernel, sizeof(identity->kernel), name.release);
    }
    if (host_read(root, "/proc/sys/kernel/random/boot_id", text) &&
        strspn(text, "0123456789abcdef-") == HOST_BOOT_ID_MAX)
        (void)ppn_text_copy(identity->boot_id, sizeof(identity->boot_id), text);
    if (!host_read_number(root, "/proc/uptime", &identity->uptime_seconds))
        identity->uptime_seconds = 0;
}

uint32_t host_load_per_mille(const char *root, uint32_t cpus)
{
    char text[HOST_TEXT_MAX];
    uint64_t whole, hundredths = 0;
    PPN_ASSERT(cpus > 0);
    if (!host_read(root, "/proc/loadavg", text) || !host_number(text, &whole) || whole > 1000000)
        return 0;
    const char *point = strchr(text, '.');
    if (point != NULL && (!host_number(point + 1, &hundredths) || hundredths > 99))
        hundredths = 0;
    return (uint32_t)((whole * 1000 + hundredths * 10) / cpus);
}

void host_fill_profile(const char *root, const char *vm_path, struct ppn_profile *profile)
{
    struct host_identity identity;
    struct host_memory memory;
    struct host_disk disk;
    host_identity(root, &identity);
    (void)ppn_text_copy(profile->arch, sizeof(profile->arch), identity.arch);
    (void)ppn_text_copy(profile->version, sizeof(profile->version), PPN_VERSION);
    profile->cpus = host_cpus(root);
    profile->memory_total_bytes = host_memory(root, &memory) == PPN_OK ? memory.total_bytes : 0;
    profile->disk_total_bytes = host_disk(vm_path, &disk) == PPN_OK ? disk.total_bytes : 0;
    profile->link = host_link(root);
}

void host_fill_load(const char *root, const char *vm_path, struct ppn_load *load)
{
    struct host_memory memory;
    struct host_disk disk;
    struct host_power power;
    load->memory_available_bytes =
        host_memory(root, &memory) == PPN_OK ? memory.available_bytes : 0;
    load->disk_free_bytes = host_disk(vm_path, &disk) == PPN_OK ? disk.free_bytes : 0;
    load->load_per_mille = host_load_per_mille(root, host_cpus(root));
    host_power(root, &power);
    load->power = power.power;
    load->battery_percent = power.battery_percent;
    load->lid_closed = host_lid_closed(root);
    load->throttled = host_throttled(root);
}
