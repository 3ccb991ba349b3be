// SPDX-License-Identifier: ISC
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "authority/authority.h"

enum { PAUSE_MS = 100, LISTEN_TRIES = 20, WRITE_MS = 5000, PATH_SIZE = 512 };

struct agent {
    struct authority authority;
    const char *directory;
    int port;
    size_t size;
    bool skip; /* the rest of a line that was too long */
    char line[AUTHORITY_LINE_MAX];
};

static bool write_whole(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(fd, at, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Beside, synced, renamed, synced: the old state or the new one, after a power cut too. */
static bool save(const struct agent *agent)
{
    uint8_t bytes[AUTHORITY_STATE_MAX];
    struct ppn_writer state = ppn_writer(bytes, sizeof(bytes));
    authority_save(&agent->authority, &state);
    int directory = open(agent->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = directory >= 0 ? openat(directory, "authority.new",
                                     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                            : -1;
    bool done = fd >= 0 && write_whole(fd, bytes, state.size) && fsync(fd) == 0 &&
                renameat(directory, "authority.new", directory, "authority") == 0 &&
                fsync(directory) == 0;
    sodium_memzero(bytes, sizeof(bytes));
    if (fd >= 0)
        (void)close(fd);
    if (directory >= 0)
        (void)close(directory);
    if (!done)
        (void)fprintf(stderr, "ppn-admin: %s: %s\n", agent->directory, strerror(errno));
    return done;
}

static bool load(struct agent *agent)
{
    uint8_t bytes[AUTHORITY_STATE_MAX + 1], seed[ADMISSION_SEED_SIZE];
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/authority", agent->directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        randombytes_buf(seed, sizeof(seed));
        authority_init(&agent->authority, seed);
        sodium_memzero(seed, sizeof(seed));
        return save(agent);
    }
    ssize_t got = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;
    if (fd >= 0)
        (void)close(fd);
    /* A damaged state is never replaced: a new key would be of no use, and might hide the loss. */
    if (got < 0 || authority_load(&agent->authority, ppn_slice(bytes, (size_t)got)) != PPN_OK) {
        (void)fprintf(stderr,
                      "ppn-admin: %s is damaged; this authority is lost, recover the "
                      "network with its recovery key\n",
                      path);
        return false;
    }
    return true;
}

/* The news that somebody listens comes apart from his bytes, and may come later. When nobody does
 * the answer is dropped, and asked for again. */
static void send_answer(const struct agent *agent, const char *text)
{
    size_t size = strlen(text);
    int tries = 0;
    while (size > 0) {
        struct pollfd port = {agent->port, POLLOUT, 0};
        if (poll(&port, 1, WRITE_MS) <= 0 || tries > LISTEN_TRIES)
            return;
        if ((port.revents & POLLHUP) != 0) {
            tries++;
            (void)poll(NULL, 0, PAUSE_MS);
            continue;
        }
        ssize_t sent = write(agent->port, text, size);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (sent > 0) {
            text += sent;
            size -= (size_t)sent;
        }
    }
}

/* False: the state cannot be kept, and nothing more may be signed. */
static bool take_byte(struct agent *agent, char byte)
{
    char answer[AUTHORITY_LINE_MAX];
    if (byte != '\n' && agent->size + 1 < sizeof(agent->line)) {
        agent->line[agent->size++] = byte;
        return true;
    }
    if (byte != '\n') {
        agent->skip = true;
        return true;
    }
    agent->line[agent->size] = '\0';
    bool whole = !agent->skip;
    agent->size = 0;
    agent->skip = false;
    if (!whole)
        return true;
    if (authority_answer(&agent->authority, agent->line, answer) && !save(agent))
        return false;
    send_answer(agent, answer);
    return true;
}

/* PCI class 02: network controllers (PCI Code and ID Assignment). A driver is not needed to count:
 * the card alone is a way in for what may be loaded one day. */
static bool network_card(void)
{
    glob_t found;
    bool card = false;
    if (glob("/sys/bus/pci/devices/*/class", 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char class[16] = "";
        int fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, class, sizeof(class) - 1) : -1;
        if (fd >= 0)
            (void)close(fd);
        card = card || (got > 4 && strncmp(class, "0x02", 4) == 0);
    }
    globfree(&found);
    return card;
}

static int serve(struct agent *agent)
{
    char bytes[4096];
    for (;;) {
        struct pollfd port = {agent->port, POLLIN, 0};
        if (poll(&port, 1, -1) < 0 && errno != EINTR)
            return 1;
        ssize_t got = read(agent->port, bytes, sizeof(bytes));
        if (got <= 0) { /* the host's end is closed: what was begun is void */
            agent->size = 0;
            agent->skip = false;
            (void)poll(NULL, 0, PAUSE_MS);
            continue;
        }
        for (ssize_t i = 0; i < got; i++)
            if (!take_byte(agent, bytes[i]))
                return 1;
    }
}

int main(int argc, char **argv)
{
    static struct agent agent;
    char key[65];
    if (argc != 4 || strcmp(argv[1], "agent") != 0) {
        (void)fputs("Usage: ppn-admin agent DIRECTORY PORT\n"
                    "Keeps an admin key in DIRECTORY and signs what its operator asks for at "
                    "PORT; see docs/authority.md.\n",
                    stderr);
        return 2;
    }
    if (sodium_init() < 0)
        return 1;
    agent.directory = argv[2];
    agent.port = open(argv[3], O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (agent.port < 0) {
        (void)fprintf(stderr, "ppn-admin: %s: %s\n", argv[3], strerror(errno));
        return 1;
    }
    if (!load(&agent))
        return 1;
    sodium_bin2hex(key, sizeof(key), agent.authority.pair.key.bytes, 32);
    agent.authority.closed = network_card();
    (void)printf("PPN-AUTHORITY %s%s\n",
                 agent.authority.closed ? "closed: a network card, " : "key ", key);
    (void)fflush(stdout);
    return serve(&agent);
}
