// SPDX-License-Identifier: ISC
#pragma once

/* Child processes by argument vector, never a shell. Each child is watched through a pidfd, so that
 * nothing else in the process is reaped and a reused pid is never signalled. A child gets a clean
 * signal mask and default handlers, only the descriptors named here (close_range), its own process
 * group, and the time that it was given. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"
#include "base/time.h"
#include "os/os_loop.h"

enum {
    OS_CHILD_OUTPUT_MAX = 256 * 1024, /* default bound on each captured stream */
    OS_CHILD_FDS_MAX = 16,
    OS_CHILD_FD_NUMBER_MAX = 64, /* child_fd is below it */
    OS_CHILD_GROUPS_MAX = 8,
    OS_CHILD_STDIN_MAX = 1024 * 1024
};

enum os_child_output {
    OS_CHILD_CAPTURE, /* into the result, bounded; more is read and thrown away */
    OS_CHILD_NULL,    /* /dev/null */
    OS_CHILD_INHERIT, /* ours */
    OS_CHILD_FD       /* both to output_fd (a log file) */
};

struct os_child_fd {
    int fd;       /* ours; stays ours */
    int child_fd; /* its number in the child, >= 3 */
};

/* Everything is copied or used before os_child_spawn returns. Zero is a sensible default. */
struct os_child_config {
    const char *const *argv;        /* NULL-terminated; argv[0] is searched in PATH */
    const char *const *environment; /* NULL: PATH, LANG=C.UTF-8 and HOME=/ only */
    const char *directory;          /* NULL: "/" */
    struct ppn_slice input;         /* standard input; empty: /dev/null */
    enum os_child_output output;
    int output_fd;     /* OS_CHILD_FD only */
    size_t output_max; /* of each captured stream; 0: OS_CHILD_OUTPUT_MAX */
    struct os_child_fd fds[OS_CHILD_FDS_MAX];
    uint32_t fd_count;
    bool set_user; /* become uid, gid and groups, with no capability left */
    uid_t uid;
    gid_t gid;
    gid_t groups[OS_CHILD_GROUPS_MAX];
    uint32_t group_count;
    bool no_new_privileges;
    bool drop_bounding_set;      /* no capability can ever come back by exec */
    bool new_session;            /* setsid: survives a terminal's hang-up and outlives the daemon */
    int cgroup_fd;               /* > 0: an open cgroup.procs which the child enters before exec */
    int oom_score_adj;           /* 0: unchanged */
    struct ppn_duration timeout; /* then SIGTERM to its group; 0: none */
    struct ppn_duration grace;   /* after SIGTERM, then SIGKILL; 0: 2 s */
};

/* How it ended. error: OK it ran to its end (whatever the exit code), TIMEOUT it was killed for
 * taking too long, NOT_FOUND / PERMISSION / IO it could not be started (text says why). */
struct os_child_result {
    enum ppn_error error;
    int exit_code;             /* -1 when a signal ended it or it never ran */
    int signal;                /* 0 unless a signal ended it */
    struct ppn_slice out, err; /* captured; each followed by a NUL not counted in size */
    bool truncated;            /* either had more than output_max */
    char text[160];            /* one line for people when this is not a clean success, else "" */
};

/* True when it ran and exited 0. */
static inline bool os_child_ok(const struct os_child_result *result)
{
    return result->error == PPN_OK && result->exit_code == 0;
}

struct os_child;

/* Called once from the loop, after the last output was read; the handle and the slices end with the
 * call. Output that a surviving grandchild holds open is waited for one second at most. */
typedef void os_child_exit_fn(void *context, const struct os_child_result *result);

/* `child` may be NULL when the caller wants no handle; on_exit may be NULL too. */
enum ppn_error os_child_spawn(struct os_loop *loop, const struct os_child_config *config,
                              os_child_exit_fn *on_exit, void *context, struct os_child **child,
                              struct ppn_failure *failure) PPN_CHECK;

/* Watches a process that is not our child (an earlier daemon started it). Takes the pidfd over.
 * The result has no exit code: its exit_code is -1 and signal 0. */
enum ppn_error os_child_adopt(struct os_loop *loop, pid_t pid, int pidfd, os_child_exit_fn *on_exit,
                              void *context, struct os_child **child,
                              struct ppn_failure *failure) PPN_CHECK;

pid_t os_child_pid(const struct os_child *child);
/* A signal to the process group (to the process alone if adopted). */
void os_child_signal(struct os_child *child, int number);
/* SIGTERM now, SIGKILL after `grace`; on_exit follows. */
void os_child_terminate(struct os_child *child, struct ppn_duration grace);
/* Forgets the child without ending it; on_exit is not called. For processes that outlive us. While
 * the loop exists it is still reaped when it ends. */
void os_child_abandon(struct os_child *child);
/* Kills the group and forgets it; on_exit is not called. NULL is allowed. */
void os_child_kill(struct os_child *child);

/* A pidfd for a running process whose start time (field 22 of /proc/PID/stat, clock ticks since
 * boot) equals start_ticks; NOT_FOUND when it is gone or its pid was reused. */
enum ppn_error os_process_open(pid_t pid, uint64_t start_ticks, int *pidfd) PPN_CHECK;
enum ppn_error os_process_start_ticks(pid_t pid, uint64_t *start_ticks) PPN_CHECK;

/* Runs a child to its end on this thread: for start-up, tools, worker threads and tests, never on
 * the running loop. Without a time-out in the config, 30 s. Free the result. Any thread. */
enum ppn_error os_child_run_sync(const struct os_child_config *config,
                                 struct os_child_result *result,
                                 struct ppn_failure *failure) PPN_CHECK;
void os_child_result_free(struct os_child_result *result);
