// SPDX-License-Identifier: ISC
#include "os/os_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_child_exec.h"
#include "os/os_file.h"
#include "os/os_loop_internal.h"

enum {
    GRACE_MS = 2000,
    DRAIN_MS = 1000, /* for output that a grandchild still holds open */
    CHUNK = 4096
};

enum phase { PHASE_RUN, PHASE_TERM, PHASE_KILL, PHASE_DRAIN };

/* One captured stream. */
struct capture {
    struct os_child *child;
    int fd; /* -1: none, or ended */
    struct os_io io;
    uint8_t *bytes; /* always room for a NUL */
    size_t size, capacity;
};

struct os_child {
    struct os_loop *loop;
    pid_t pid;
    int pidfd;
    bool adopted;
    struct os_io io;
    struct os_timer timer;
    enum phase phase;
    struct ppn_duration grace;
    bool timed_out, exited, orphaned;
    siginfo_t status;
    struct capture captures[2]; /* output, errors */
    size_t output_max;
    bool truncated;
    int status_fd; /* the read end of the exec failure pipe; -1 if adopted */
    char name[48]; /* of the program, for texts */
    os_child_exit_fn *on_exit;
    void *context;
    struct os_orphan orphan;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void release(struct os_child *child)
{
    os_io_stop(&child->io);
    os_timer_stop(&child->timer);
    for (int i = 0; i < 2; i++) {
        os_io_stop(&child->captures[i].io);
        close_fd(&child->captures[i].fd);
        free(child->captures[i].bytes);
    }
    close_fd(&child->status_fd);
    close_fd(&child->pidfd);
    free(child);
}

/* The child of a failed exec tells which step failed. */
static void describe(struct os_child *child, struct os_child_result *result)
{
    struct os_exec_failure failed;
    if (child->status_fd >= 0 &&
        read(child->status_fd, &failed, sizeof failed) == (ssize_t)sizeof failed) {
        result->error = os_errno(failed.number);
        result->exit_code = -1;
        snprintf(result->text, sizeof result->text, "cannot start %s: %s: %s", child->name,
                 os_exec_stage_text(failed.stage), strerror(failed.number));
    } else if (child->timed_out) {
        result->error = PPN_ERROR_TIMEOUT;
        snprintf(result->text, sizeof result->text, "%s took too long and was ended", child->name);
    } else if (result->signal) {
        snprintf(result->text, sizeof result->text, "%s was ended by signal %d (%s)", child->name,
                 result->signal, strsignal(result->signal));
    } else if (result->exit_code > 0) {
        snprintf(result->text, sizeof result->text, "%s failed with exit code %d", child->name,
                 result->exit_code);
    }
}

static struct ppn_slice captured(const struct capture *capture)
{
    static const uint8_t empty[1];
    return capture->bytes ? ppn_slice(capture->bytes, capture->size) : ppn_slice(empty, 0);
}

static void finish(struct os_child *child)
{
    PPN_ASSERT(child->exited);
    struct os_child_result result = {.error = PPN_OK, .exit_code = -1};
    for (int i = 0; i < 2; i++)
        if (child->captures[i].bytes)
            child->captures[i].bytes[child->captures[i].size] = 0;
    if (!child->adopted && child->status.si_code == CLD_EXITED)
        result.exit_code = child->status.si_status;
    else if (!child->adopted)
        result.signal = child->status.si_status;
    result.out = captured(&child->captures[0]);
    result.err = captured(&child->captures[1]);
    result.truncated = child->truncated;
    describe(child, &result);
    os_io_stop(&child->io);
    os_timer_stop(&child->timer);
    if (child->orphaned)
        os_loop_orphan_remove(child->loop, &child->orphan);
    else if (child->on_exit)
        child->on_exit(child->context, &result);
    release(child);
}

static void kill_group(struct os_child *child, int number)
{
    if (child->exited)
        return;
    if (child->adopted)
        pidfd_send_signal(child->pidfd, number, NULL, 0);
    else if (kill(-child->pid, number) != 0 && errno == ESRCH)
        kill(child->pid, number); /* it has not made its group yet */
}

static void on_exited(void *context, unsigned ready)
{
    (void)ready;
    struct os_child *child = context;
    /* While the leader is not reaped, its group number cannot be anybody else's. */
    if (child->phase == PHASE_TERM || child->phase == PHASE_KILL)
        kill_group(child, SIGKILL);
    if (!child->adopted &&
        (waitid(P_PIDFD, (id_t)child->pidfd, &child->status, WEXITED | WNOHANG) != 0 ||
         child->status.si_pid == 0))
        return;
    child->exited = true;
    os_io_stop(&child->io);
    if (child->orphaned || (child->captures[0].fd < 0 && child->captures[1].fd < 0)) {
        finish(child);
        return;
    }
    child->phase = PHASE_DRAIN;
    os_timer_after(&child->timer, ppn_ms(DRAIN_MS));
}

static void on_timer(void *context)
{
    struct os_child *child = context;
    switch (child->phase) {
    case PHASE_RUN:
        child->timed_out = true;
        os_child_terminate(child, child->grace);
        break;
    case PHASE_TERM:
        child->phase = PHASE_KILL;
        kill_group(child, SIGKILL);
        break;
    case PHASE_KILL:
        break;
    case PHASE_DRAIN:
        finish(child);
        break;
    }
}

/* Appends what fits; the rest is read and thrown away, so that the child never blocks on us. */
static void keep(struct capture *capture, const uint8_t *bytes, size_t size)
{
    struct os_child *child = capture->child;
    size_t room = child->output_max - capture->size;
    if (size > room) {
        child->truncated = true;
        size = room;
    }
    if (capture->size + size + 1 > capture->capacity) {
        size_t capacity = (capture->size + size) * 2 + 1;
        capacity = capacity > child->output_max + 1 ? child->output_max + 1 : capacity;
        uint8_t *grown = realloc(capture->bytes, capacity);
        if (!grown) {
            child->truncated = true;
            return;
        }
        capture->bytes = grown;
        capture->capacity = capacity;
    }
    memcpy(capture->bytes + capture->size, bytes, size);
    capture->size += size;
}

static void on_output(void *context, unsigned ready)
{
    (void)ready;
    struct capture *capture = context;
    struct os_child *child = capture->child;
    uint8_t chunk[CHUNK];
    ssize_t got = read(capture->fd, chunk, sizeof chunk);
    if (got > 0) {
        keep(capture, chunk, (size_t)got);
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    os_io_stop(&capture->io);
    close_fd(&capture->fd);
    if (child->exited && child->captures[0].fd < 0 && child->captures[1].fd < 0)
        finish(child);
}

/* The child's ends of its standard descriptors; our ends of the pipes go into the captures. */
struct ends {
    int input, output, error, status;
};

static void close_ends(struct ends *ends)
{
    close_fd(&ends->input);
    close_fd(&ends->output);
    close_fd(&ends->error);
    close_fd(&ends->status);
}

static bool make_pipe(int *ours, int *theirs)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return false;
    *ours = pipe_fds[0];
    *theirs = pipe_fds[1];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

/* Input goes through a memory file: whole before the start, so that nothing has to be fed. */
static bool make_input(struct ppn_slice input, int *fd)
{
    if (input.size == 0) {
        *fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return *fd >= 0;
    }
    *fd = memfd_create("input", MFD_CLOEXEC);
    return *fd >= 0 && write(*fd, input.data, input.size) == (ssize_t)input.size &&
           lseek(*fd, 0, SEEK_SET) == 0;
}

static bool make_ends(struct os_child *child, const struct os_child_config *config,
                      struct ends *ends)
{
    if (!make_pipe(&child->status_fd, &ends->status) || !make_input(config->input, &ends->input))
        return false;
    switch (config->output) {
    case OS_CHILD_CAPTURE:
        return make_pipe(&child->captures[0].fd, &ends->output) &&
               make_pipe(&child->captures[1].fd, &ends->error);
    case OS_CHILD_NULL:
        ends->output = open("/dev/null", O_WRONLY | O_CLOEXEC);
        break;
    case OS_CHILD_INHERIT:
        ends->output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        ends->error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        return ends->output >= 0 && ends->error >= 0;
    case OS_CHILD_FD:
        ends->output = fcntl(config->output_fd, F_DUPFD_CLOEXEC, 3);
        break;
    }
    if (ends->output >= 0)
        ends->error = fcntl(ends->output, F_DUPFD_CLOEXEC, 3);
    return ends->output >= 0 && ends->error >= 0;
}

static struct os_child *make(struct os_loop *loop, os_child_exit_fn *on_exit, void *context)
{
    struct os_child *child = calloc(1, sizeof *child);
    if (!child)
        return NULL;
    child->loop = loop;
    child->pidfd = child->status_fd = -1;
    for (int i = 0; i < 2; i++) {
        child->captures[i].child = child;
        child->captures[i].fd = -1;
    }
    child->on_exit = on_exit;
    child->context = context;
    os_timer_init(&child->timer, loop, on_timer, child);
    return child;
}

static void watch(struct os_child *child, struct ppn_duration timeout)
{
    os_io_init(&child->io, child->loop, child->pidfd, on_exited, child);
    os_io_want(&child->io, OS_READABLE);
    for (int i = 0; i < 2; i++) {
        struct capture *capture = &child->captures[i];
        if (capture->fd < 0)
            continue;
        os_io_init(&capture->io, child->loop, capture->fd, on_output, capture);
        os_io_want(&capture->io, OS_READABLE);
    }
    if (timeout.ns > 0)
        os_timer_after(&child->timer, timeout);
}

/* Forks with all signals blocked, so that no handler of ours ever runs in the child. */
static bool start(struct os_child *child, const struct os_exec_plan *plan)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    child->pid = fork();
    if (child->pid == 0)
        os_exec_run(plan);
    int number = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    if (child->pid < 0)
        return false;
    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd >= 0)
        return true;
    number = errno;
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    errno = number;
    return false;
}

static enum ppn_error check(const struct os_child_config *config, struct ppn_failure *failure)
{
    PPN_ASSERT(config->argv && config->argv[0] && config->fd_count <= OS_CHILD_FDS_MAX);
    PPN_ASSERT(config->group_count <= OS_CHILD_GROUPS_MAX);
    for (uint32_t i = 0; i < config->fd_count; i++)
        PPN_ASSERT(config->fds[i].child_fd >= 3 &&
                   config->fds[i].child_fd < OS_CHILD_FD_NUMBER_MAX);
    if (config->input.size > OS_CHILD_STDIN_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the input of %s is too large",
                        config->argv[0]);
    return PPN_OK;
}

enum ppn_error os_child_spawn(struct os_loop *loop, const struct os_child_config *config,
                              os_child_exit_fn *on_exit, void *context, struct os_child **out,
                              struct ppn_failure *failure)
{
    char program[OS_PATH_MAX];
    struct ends ends = {-1, -1, -1, -1};
    if (out)
        *out = NULL;
    enum ppn_error error = check(config, failure);
    if (error == PPN_OK)
        error = os_exec_find(config, program, sizeof program, failure);
    if (error != PPN_OK)
        return error;
    struct os_child *child = make(loop, on_exit, context);
    if (!child)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory to run %s", config->argv[0]);
    const char *slash = strrchr(program, '/');
    snprintf(child->name, sizeof child->name, "%.40s", slash ? slash + 1 : program);
    child->output_max = config->output_max ? config->output_max : OS_CHILD_OUTPUT_MAX;
    child->grace = config->grace.ns > 0 ? config->grace : ppn_ms(GRACE_MS);
    bool started = make_ends(child, config, &ends);
    if (started) {
        struct os_exec_plan plan = {config,      program,    ends.input,
                                    ends.output, ends.error, ends.status};
        started = start(child, &plan);
    }
    int number = errno;
    close_ends(&ends);
    if (!started) {
        release(child);
        return ppn_fail(failure, os_errno(number), "cannot start %s: %s", config->argv[0],
                        strerror(number));
    }
    watch(child, config->timeout);
    if (out)
        *out = child;
    return PPN_OK;
}

enum ppn_error os_child_adopt(struct os_loop *loop, pid_t pid, int pidfd, os_child_exit_fn *on_exit,
                              void *context, struct os_child **out, struct ppn_failure *failure)
{
    PPN_ASSERT(pid > 0 && pidfd >= 0);
    *out = NULL;
    struct os_child *child = make(loop, on_exit, context);
    if (!child) {
        close(pidfd);
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory to watch process %ld", (long)pid);
    }
    child->pid = pid;
    child->pidfd = pidfd;
    child->adopted = true;
    child->grace = ppn_ms(GRACE_MS);
    snprintf(child->name, sizeof child->name, "process %ld", (long)pid);
    watch(child, ppn_ns(0));
    *out = child;
    return PPN_OK;
}

pid_t os_child_pid(const struct os_child *child)
{
    return child->pid;
}

void os_child_signal(struct os_child *child, int number)
{
    kill_group(child, number);
}

void os_child_terminate(struct os_child *child, struct ppn_duration grace)
{
    if (child->exited || child->phase != PHASE_RUN)
        return;
    child->phase = PHASE_TERM;
    kill_group(child, SIGTERM);
    os_timer_after(&child->timer, grace);
}

static void drop_orphan(struct os_orphan *orphan)
{
    release((struct os_child *)(void *)((char *)orphan - offsetof(struct os_child, orphan)));
}

void os_child_abandon(struct os_child *child)
{
    if (!child)
        return;
    PPN_ASSERT(!child->orphaned);
    if (child->exited || child->adopted) {
        release(child);
        return;
    }
    /* Stays only to be reaped. */
    child->orphaned = true;
    os_timer_stop(&child->timer);
    child->orphan.drop = drop_orphan;
    os_loop_orphan_add(child->loop, &child->orphan);
    for (int i = 0; i < 2; i++) {
        os_io_stop(&child->captures[i].io);
        close_fd(&child->captures[i].fd);
    }
}

void os_child_kill(struct os_child *child)
{
    if (!child)
        return;
    kill_group(child, SIGKILL);
    os_child_abandon(child);
}
