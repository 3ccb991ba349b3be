// SPDX-License-Identifier: ISC
#include "vm/vm_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os_file.h"

enum { MEMBERSHIP_MAX = 4096, GROUP_PATH = 1024 };

/* Our own group's path beneath the hierarchy: the "0::" line (cgroups(7)). False: none, or one that
 * is outside of what this namespace shows. */
static bool own_group(char path[static GROUP_PATH])
{
    char text[MEMBERSHIP_MAX];
    if (os_file_read_text("/proc/self/cgroup", text, sizeof(text)))
        return false;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    line = strstr(line, "0::") + 3;
    size_t length = strcspn(line, "\n");
    if (length >= GROUP_PATH || line[0] != '/' || memmem(line, length, "/..", 3))
        return false;
    memcpy(path, line, length);
    path[length] = 0;
    return true;
}

/* Version 2 alone, or beside version 1 ("hybrid"). A daemon that systemd gave a subtree is in its
 * service's group, so the VMs' groups are its children. */
static bool group_path(const char *uuid, char path[static GROUP_PATH])
{
    char own[GROUP_PATH];
    if (!own_group(own))
        return false;
    const char *root =
        os_file_exists("/sys/fs/cgroup/cgroup.procs") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
    int length = snprintf(path, GROUP_PATH, "%s%s%sppn-vm-%s", root, own,
                          strcmp(own, "/") != 0 ? "/" : "", uuid);
    return length > 0 && length < GROUP_PATH;
}

int vm_cgroup_make(const char *uuid)
{
    char path[GROUP_PATH], procs[GROUP_PATH + 16];
    if (!group_path(uuid, path) || (mkdir(path, 0755) < 0 && errno != EEXIST))
        return -1;
    (void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        (void)rmdir(path);
    return fd;
}

void vm_cgroup_remove(const char *uuid)
{
    char path[GROUP_PATH];
    if (group_path(uuid, path))
        (void)rmdir(path);
}
