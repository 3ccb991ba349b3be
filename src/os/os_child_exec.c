// SPDX-License-Identifier: ISC
#include "os/os_child_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"

/* Descriptors that the child keeps are first copied above this number, so that no copy to its final
 * number can hit another one's source. */
enum { FD_NUMBER_MAX = OS_CHILD_FD_NUMBER_MAX, CAPABILITY_MAX = 64 };

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static char *const default_environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/",
    NULL};

enum stage {
    STAGE_SESSION,
    STAGE_CGROUP,
    STAGE_FILES,
    STAGE_DIRECTORY,
    STAGE_PRIVILEGES,
    STAGE_USER,
    STAGE_EXEC,
    STAGE_COUNT
};

static const char *const stage_texts[STAGE_COUNT] = {
    [STAGE_SESSION] = "making its session",
    [STAGE_CGROUP] = "entering its control group",
    [STAGE_FILES] = "passing its descriptors",
    [STAGE_DIRECTORY] = "entering its directory",
    [STAGE_PRIVILEGES] = "dropping privileges",
    [STAGE_USER] = "becoming its user",
    [STAGE_EXEC] = "executing it",
};

const char *os_exec_stage_text(int stage)
{
    return stage >= 0 && stage < STAGE_COUNT ? stage_texts[stage] : "an unknown step";
}

static bool executable(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

enum ppn_error os_exec_find(const struct os_child_config *config, char *program, size_t capacity,
                            struct ppn_failure *failure)
{
    const char *name = config->argv[0], *path = default_path;
    PPN_ASSERT(name && name[0]);
    if (strchr(name, '/')) {
        if (snprintf(program, capacity, "%s", name) < (int)capacity && executable(program))
            return PPN_OK;
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "cannot run %s: no such program", name);
    }
    for (const char *const *e = config->environment; e && *e; e++)
        if (strncmp(*e, "PATH=", 5) == 0)
            path = *e + 5;
    while (*path) {
        int length = (int)strcspn(path, ":");
        int size = snprintf(program, capacity, "%.*s/%s", length, path, name);
        if (length > 0 && size > 0 && (size_t)size < capacity && executable(program))
            return PPN_OK;
        path += length + (path[length] == ':');
    }
    return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "cannot find the program %s: is it installed?",
                    name);
}

_Noreturn static void give_up(int status, enum stage stage)
{
    struct os_exec_failure failure = {(int)stage, errno};
    ssize_t written = write(status, &failure, sizeof failure);
    (void)written;
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* SIGKILL and SIGSTOP refuse, rightly */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool write_small(const char *path, int value)
{
    char text[16];
    size_t at = sizeof text;
    unsigned rest = value < 0 ? 0u - (unsigned)value : (unsigned)value;
    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        text[--at] = '-';
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text + at, sizeof text - at) > 0;
    close(fd);
    return ok;
}

static bool pass_files(struct os_exec_plan *plan)
{
    const struct os_child_config *config = plan->config;
    int high[OS_CHILD_FDS_MAX];
    int *standard[] = {&plan->input, &plan->output, &plan->error};
    for (int i = 0; i < 3; i++)
        if ((*standard[i] = fcntl(*standard[i], F_DUPFD_CLOEXEC, FD_NUMBER_MAX)) < 0)
            return false;
    for (uint32_t i = 0; i < config->fd_count; i++)
        if ((high[i] = fcntl(config->fds[i].fd, F_DUPFD_CLOEXEC, FD_NUMBER_MAX)) < 0)
            return false;
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (dup2(*standard[i], i) < 0)
            return false;
    for (uint32_t i = 0; i < config->fd_count; i++)
        if (dup2(high[i], config->fds[i].child_fd) < 0)
            return false;
    return true;
}

static bool become_user(const struct os_child_config *config)
{
    return setgroups(config->group_count, config->groups) == 0 &&
           setresgid(config->gid, config->gid, config->gid) == 0 &&
           setresuid(config->uid, config->uid, config->uid) == 0;
}

static bool drop_bounding_set(void)
{
    for (int capability = 0; capability < CAPABILITY_MAX; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return errno == EINVAL && capability > 0; /* past the last one the kernel knows */
    return true;
}

_Noreturn void os_exec_run(const struct os_exec_plan *const_plan)
{
    struct os_exec_plan plan = *const_plan;
    const struct os_child_config *config = plan.config;
    reset_signals();
    plan.status = fcntl(plan.status, F_DUPFD_CLOEXEC, FD_NUMBER_MAX);
    if (config->new_session ? setsid() < 0 : setpgid(0, 0) != 0)
        give_up(plan.status, STAGE_SESSION);
    if (config->cgroup_fd > 0 && write(config->cgroup_fd, "0", 1) != 1)
        give_up(plan.status, STAGE_CGROUP);
    if (config->oom_score_adj != 0 &&
        !write_small("/proc/self/oom_score_adj", config->oom_score_adj) && geteuid() == 0)
        give_up(plan.status, STAGE_CGROUP);
    if (!pass_files(&plan))
        give_up(plan.status, STAGE_FILES);
    if (chdir(config->directory ? config->directory : "/") != 0)
        give_up(plan.status, STAGE_DIRECTORY);
    if (config->drop_bounding_set && !drop_bounding_set())
        give_up(plan.status, STAGE_PRIVILEGES);
    if (config->set_user && !become_user(config))
        give_up(plan.status, STAGE_USER);
    if (config->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        give_up(plan.status, STAGE_PRIVILEGES);
    char *const *environment =
        config->environment ? (char *const *)(uintptr_t)config->environment : default_environment;
    execve(plan.program, (char *const *)(uintptr_t)config->argv, environment);
    give_up(plan.status, STAGE_EXEC);
}
