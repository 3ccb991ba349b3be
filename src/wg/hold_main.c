// SPDX-License-Identifier: ISC

/* ppn-hold PARENT GRACE-MS PROGRAM [ARGUMENT...]: runs PROGRAM and ends as it ends, and sees that
 * it outlives the process PARENT by GRACE-MS and no longer, however that one dies.
 *
 * The daemon starts wireguard-go under it. Without the daemon nobody takes revoked peers off the
 * interface, so it must go; but where it goes in the same moment, the peers see a machine that
 * vanished, and find out seconds later. Meanwhile the machine answers inside the mesh that nobody
 * listens on the agent's port, and that is news at once.
 *
 * Signals: SIGTERM is passed on. SIGKILL of this process ends PROGRAM too. */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PARENT_GONE = SIGUSR1, EXIT_USAGE = 2, EXIT_CANNOT = 126, GRACE_MAX_MS = 60000 };

/* True when `text` is a decimal number from 1 to `most`. */
static bool number(const char *text, long most, long *value)
{
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= 1 && *value <= most;
}

static int give_up(const char *what)
{
    fprintf(stderr, "ppn-hold: %s: %s\n", what, strerror(errno));
    return EXIT_CANNOT;
}

/* In the child: never returns. */
static void become(pid_t holder, const sigset_t *before, char *const *argv)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != holder ||
        sigprocmask(SIG_SETMASK, before, NULL) != 0)
        _exit(EXIT_CANNOT);
    execvp(argv[0], argv);
    _exit(give_up(argv[0]));
}

/* Waits for one of `set`, at most until `end` unless that is NULL; 0: the time is over. */
static int next_signal(const sigset_t *set, const struct timespec *end)
{
    for (;;) {
        struct timespec now, left = {0};
        if (end != NULL) {
            clock_gettime(CLOCK_MONOTONIC, &now);
            left.tv_sec = end->tv_sec - now.tv_sec;
            left.tv_nsec = end->tv_nsec - now.tv_nsec;
            if (left.tv_nsec < 0) {
                left.tv_sec--;
                left.tv_nsec += 1000000000;
            }
            if (left.tv_sec < 0)
                return 0;
        }
        int got = end == NULL ? sigwaitinfo(set, NULL) : sigtimedwait(set, NULL, &left);
        if (got > 0)
            return got;
        if (errno == EAGAIN)
            return 0;
    }
}

static int hold(pid_t child, const sigset_t *set, long grace_ms)
{
    struct timespec end;
    bool ending = false;
    for (;;) {
        int status, got = next_signal(set, ending ? &end : NULL);
        if (got == SIGTERM) {
            kill(child, SIGTERM);
        } else if (got == PARENT_GONE && !ending) {
            ending = true;
            clock_gettime(CLOCK_MONOTONIC, &end);
            end.tv_sec += grace_ms / 1000;
            end.tv_nsec += grace_ms % 1000 * 1000000;
            if (end.tv_nsec >= 1000000000) {
                end.tv_sec++;
                end.tv_nsec -= 1000000000;
            }
        } else if (got == 0) {
            kill(child, SIGKILL);
        }
        if (waitpid(child, &status, got == 0 ? 0 : WNOHANG) != child)
            continue;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

int main(int argc, char **argv)
{
    long parent, grace_ms;
    if (argc < 4 || !number(argv[1], 1L << 30, &parent) ||
        !number(argv[2], GRACE_MAX_MS, &grace_ms)) {
        fprintf(stderr, "usage: ppn-hold PARENT GRACE-MS PROGRAM [ARGUMENT...]\n");
        return EXIT_USAGE;
    }
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, PARENT_GONE);
    if (sigprocmask(SIG_BLOCK, &set, &before) != 0 || prctl(PR_SET_PDEATHSIG, PARENT_GONE) != 0)
        return give_up("cannot watch the parent");
    if (getppid() != parent) {
        fprintf(stderr, "ppn-hold: process %ld is not its parent, or is gone\n", parent);
        return EXIT_CANNOT;
    }
    pid_t self = getpid(), child = fork();
    if (child < 0)
        return give_up("cannot start a process");
    if (child == 0)
        become(self, &before, argv + 3);
    return hold(child, &set, grace_ms);
}
