// SPDX-License-Identifier: ISC
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"

enum { TARGET_MAX = 512, BUFFER = 4096, DETACH = 0x1d /* Ctrl-] */ };

static struct termios saved;
static volatile sig_atomic_t raw_on;
static volatile sig_atomic_t ended_by;

static void restore(void)
{
    if (raw_on) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
        raw_on = 0;
    }
}

static void on_signal(int number)
{
    ended_by = number;
}

static void go_raw(void)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: poll must return */
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &action, NULL);
    if (tcgetattr(STDIN_FILENO, &saved) != 0)
        return;
    struct termios raw = saved;
    cfmakeraw(&raw);
    raw_on = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, bytes, size);
        if (sent < 0 && errno == EINTR && !ended_by)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

enum outcome { GOING, DETACHED, ENDED };

/* Keys to the guest; the detach key ends it, on a terminal only. */
static enum outcome from_keys(int fd, bool terminal, bool *input_open)
{
    char bytes[BUFFER];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR)
        return GOING;
    if (got <= 0) {
        *input_open = false; /* a pipe's end; what the guest says is still shown */
        return GOING;
    }
    const char *detach = terminal ? memchr(bytes, DETACH, (size_t)got) : NULL;
    size_t size = detach != NULL ? (size_t)(detach - bytes) : (size_t)got;
    if (!write_all(fd, bytes, size))
        return ENDED;
    return detach != NULL ? DETACHED : GOING;
}

static enum outcome from_guest(int fd)
{
    char bytes[BUFFER];
    ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR)
        return GOING;
    if (got <= 0 || !write_all(STDOUT_FILENO, bytes, (size_t)got))
        return ENDED;
    return GOING;
}

static enum outcome carry(int fd, bool terminal)
{
    bool input_open = true;
    enum outcome outcome = GOING;
    while (outcome == GOING && !ended_by) {
        struct pollfd both[] = {{fd, POLLIN, 0}, {input_open ? STDIN_FILENO : -1, POLLIN, 0}};
        if (poll(both, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return ENDED;
        }
        if (both[0].revents != 0)
            outcome = from_guest(fd);
        if (outcome == GOING && both[1].revents != 0)
            outcome = from_keys(fd, terminal, &input_open);
    }
    return outcome;
}

int cmd_console(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct api_client_failure failure;
    char target[TARGET_MAX];
    int fd = -1;
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    const char *name = argv[optind];
    if (!cli_target(target, sizeof(target), "vms", name, "/console"))
        return cli_usage(cli, "the name is too long");
    if (api_client_upgrade(cli_api(cli), target, &fd, &failure) != PPN_OK)
        return cli_failed(cli, &failure);
    bool terminal = isatty(STDIN_FILENO) == 1;
    if (terminal) {
        (void)fprintf(stderr, "Connected to %s. Leave with Ctrl-]; press Enter for a prompt.\n",
                      name);
        go_raw();
    }
    enum outcome outcome = carry(fd, terminal);
    restore();
    (void)close(fd);
    if (outcome == DETACHED) {
        (void)fprintf(stderr, "\nDetached; %s runs on.\n", name);
        return CLI_OK;
    }
    if (ended_by) {
        (void)signal(ended_by, SIG_DFL);
        (void)raise(ended_by);
    }
    (void)fprintf(stderr,
                  "\nThe console of %s was closed: the VM stopped, or the way to its node "
                  "was lost; look at \"ppn ps\".\n",
                  name);
    return CLI_OK;
}
