// SPDX-License-Identifier: ISC
#include "cli/cli_tunnel.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/admin_key.h"
#include "admin/admin_last.h"
#include "admission/entry.h"
#include "base/limits.h"
#include "base/name.h"
#include "cli/cli_admin.h"

enum { HOST_MAX = 255, PORT_TEXT = 6, QUEUE = 8 };

struct cli_tunnel {
    struct admission_keypair pair;
    struct cli_tunnel_target target;
    struct cli_tunnel_seen *seen; /* shared with the process beside */
    char host[HOST_MAX + 1], port[PORT_TEXT];
    char directory[32];
    char socket[48];
    int alive;
    pid_t pump;
};

const struct admission_keypair *cli_tunnel_pair(const struct cli_tunnel *tunnel)
{
    return &tunnel->pair;
}

enum ppn_error cli_tunnel_check(const struct cli_tunnel *tunnel, const struct admission *log,
                                struct ppn_failure *failure)
{
    struct ppn_hash network = admission_network(log);
    if (!ppn_hash_equal(&network, &tunnel->seen->network))
        return ppn_fail(failure, PPN_ERROR_CONFLICT,
                        "%s shows the log of another network than it named", tunnel->host);
    if (admission_member_by_id(log, &tunnel->seen->server) == NULL)
        return ppn_fail(failure, PPN_ERROR_UNAUTHORIZED,
                        "who answers at %s is no member of %s by the log that it shows: ask "
                        "another node",
                        tunnel->host, admission_network_name(log));
    return PPN_OK;
}

/* "host", "host:port", "[address]:port", or an IPv6 address alone. */
static bool split_host(struct cli_tunnel *tunnel, const char *text)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    bool bare_v6 = colon != NULL && strchr(text, ':') != colon && bracket == NULL;
    size_t size = strlen(text);
    (void)snprintf(tunnel->port, sizeof(tunnel->port), "%d", PPN_PORT_PUBLIC);
    if (colon != NULL && !bare_v6 && (bracket == NULL || colon > bracket)) {
        uint32_t port;
        if (!cli_parse_count(colon + 1, 1, UINT16_MAX, &port))
            return false;
        (void)snprintf(tunnel->port, sizeof(tunnel->port), "%u", port & UINT16_MAX);
        size = (size_t)(colon - text);
    }
    if (size > 1 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size == 0 || size > HOST_MAX)
        return false;
    memcpy(tunnel->host, text, size);
    return true;
}

/* The network for which the key signed last: nobody can show it another one. */
static struct ppn_hash pinned(const char *key_path)
{
    uint8_t bytes[ADMISSION_ENVELOPE_MAX];
    struct ppn_failure why = {0};
    struct admission_envelope envelope;
    struct admission_entry entry;
    size_t size;
    if (admin_last_read(key_path, bytes, &size, &why) == PPN_OK &&
        admission_envelope_decode(ppn_slice(bytes, size), &envelope) == PPN_OK &&
        admission_body_decode(envelope.body, &entry) == PPN_OK)
        return entry.network;
    return (struct ppn_hash){0};
}

static int listen_private(struct cli_tunnel *tunnel)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(tunnel->directory, sizeof(tunnel->directory), "/tmp/ppn-XXXXXX");
    if (mkdtemp(tunnel->directory) == NULL) {
        tunnel->directory[0] = '\0';
        return -1;
    }
    (void)snprintf(tunnel->socket, sizeof(tunnel->socket), "%s/api", tunnel->directory);
    (void)ppn_text_copy(address.sun_path, sizeof(address.sun_path), tunnel->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, QUEUE) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static bool start_pump(struct cli_tunnel *tunnel)
{
    int ends[2];
    int listener = listen_private(tunnel);
    tunnel->seen = mmap(NULL, sizeof(*tunnel->seen), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (listener < 0 || tunnel->seen == MAP_FAILED ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    tunnel->pump = fork();
    if (tunnel->pump == 0) {
        (void)close(ends[0]);
        (void)signal(SIGINT, SIG_IGN); /* the command decides what an interrupt means */
        (void)signal(SIGPIPE, SIG_IGN);
        cli_tunnel_run(&tunnel->target, listener, ends[1], tunnel->seen);
        (void)unlink(tunnel->socket);
        (void)rmdir(tunnel->directory);
        _exit(0);
    }
    (void)close(listener);
    (void)close(ends[1]);
    tunnel->alive = ends[0];
    return tunnel->pump > 0;
}

int cli_tunnel_open(struct cli *cli)
{
    struct ppn_failure why = {0};
    if (cli->node == NULL && cli->node_key == NULL)
        return CLI_OK;
    if (cli->node == NULL || cli->node_key == NULL)
        return cli_usage(cli, "--node HOST[:PORT] and --key FILE go together before the command");
    struct cli_tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (tunnel == NULL) {
        (void)fputs("ppn: out of memory\n", stderr);
        return CLI_FAILED;
    }
    tunnel->alive = -1;
    if (!split_host(tunnel, cli->node)) {
        cli_tunnel_close(tunnel);
        return cli_usage(cli, "--node %s: HOST, HOST:PORT or [ADDRESS]:PORT", cli->node);
    }
    enum ppn_error error =
        admin_key_read(cli->node_key, cli_ask_passphrase, NULL, &tunnel->pair, &why);
    tunnel->target = (struct cli_tunnel_target){.host = tunnel->host,
                                                .port = tunnel->port,
                                                .pair = &tunnel->pair,
                                                .network = pinned(cli->node_key)};
    if (error == PPN_OK && !start_pump(tunnel))
        error = ppn_fail(&why, PPN_ERROR_IO, "cannot make a private socket in /tmp: %s",
                         strerror(errno));
    if (error != PPN_OK) {
        cli_tunnel_close(tunnel);
        return cli_admin_failed(cli, error, &why);
    }
    cli->tunnel = tunnel;
    cli->socket = tunnel->socket;
    return CLI_OK;
}

void cli_tunnel_close(struct cli_tunnel *tunnel)
{
    if (tunnel == NULL)
        return;
    if (tunnel->alive >= 0)
        (void)close(tunnel->alive);
    while (tunnel->pump > 0 && waitpid(tunnel->pump, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (tunnel->pump <= 0 && tunnel->directory[0] != '\0') {
        (void)unlink(tunnel->socket);
        (void)rmdir(tunnel->directory);
    }
    if (tunnel->seen != NULL && tunnel->seen != MAP_FAILED)
        (void)munmap(tunnel->seen, sizeof(*tunnel->seen));
    sodium_memzero(tunnel, sizeof(*tunnel));
    free(tunnel);
}
