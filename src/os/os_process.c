// SPDX-License-Identifier: ISC
#include "os/os_process.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"

void os_process_harden(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    umask(077);
}

/* Leaving the user id 0 clears every set of capabilities but the bounding one, which an exec alone
 * could draw from: no_new_privs forbids that. */
enum ppn_error os_process_become(uid_t uid, struct ppn_failure *failure)
{
    PPN_ASSERT(uid != 0);
    if (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ppn_fail(failure, PPN_ERROR_PERMISSION, "cannot become user %u: %s", (unsigned)uid,
                        strerror(errno));
    PPN_ASSERT(geteuid() == uid && setuid(0) != 0);
    os_process_harden(); /* changing the user undid part of it */
    return PPN_OK;
}

bool os_process_lock_memory(void *bytes, size_t size)
{
    madvise(bytes, size, MADV_DONTDUMP);
    return mlock(bytes, size) == 0;
}

uint64_t os_process_file_limit(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t raised = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (raised > limit.rlim_cur) {
        limit.rlim_cur = raised;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

void os_process_program(const char *name, char path[static OS_PROGRAM_MAX])
{
    size_t length = strlen(name);
    PPN_ASSERT(length > 0 && length <= 32);
    ssize_t size = readlink("/proc/self/exe", path, OS_PROGRAM_MAX - 34);
    if (size > 0) {
        path[size] = '\0';
        char *slash = strrchr(path, '/');
        if (slash != NULL) {
            memcpy(slash + 1, name, length + 1);
            if (os_file_exists(path))
                return;
        }
    }
    memcpy(path, name, length + 1);
}

bool os_process_is_root(void)
{
    return geteuid() == 0;
}

uint64_t os_process_page_size(void)
{
    long size = sysconf(_SC_PAGESIZE);
    PPN_ASSERT(size > 0);
    return (uint64_t)size;
}

uint64_t os_process_resident_bytes(void)
{
    char text[128];
    unsigned long pages = 0;
    if (os_file_read_text("/proc/self/statm", text, sizeof text) != PPN_OK ||
        sscanf(text, "%*u %lu", &pages) != 1)
        return 0;
    return pages * os_process_page_size();
}

uint32_t os_process_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint32_t count = 0;
    if (!directory)
        return 0;
    for (const struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count - 1; /* less the directory itself */
}
