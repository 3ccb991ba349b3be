// SPDX-License-Identifier: ISC

/* ppn-bridge: other nodes' and this node's datagrams over TCP and TLS, for networks that let no UDP
 * out. A child of ppn-node: `serve` beside a relay, `connect` on a node that reaches no relay by
 * UDP. It has no key, knows no member and reads no packet; see frame.h and gate.h. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bridge.h"
#include "bridge/frame.h"
#include "os/os_address.h"
#include "os/os_process.h"

enum { EXIT_USAGE = 2, FILES_WANTED = 2048 };

struct options {
    struct bridge_serve_config serve;
    struct bridge_connect_config connect;
    uint64_t port, wireguard, first, last, user;
};

static bool parse_number(const char *text, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *number = value;
    return errno == 0 && end != text && *end == '\0' && value <= most;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},        {"wireguard", required_argument, NULL, 'w'},
        {"relay-first", required_argument, NULL, 'f'}, {"relay-last", required_argument, NULL, 'l'},
        {"user", required_argument, NULL, 'u'},        {"to", required_argument, NULL, 't'},
        {"local", required_argument, NULL, 'a'},       {NULL, 0, NULL, 0}};
    int option;
    bool fine = true;
    while (fine && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        fine = (option == 'p' && parse_number(optarg, UINT16_MAX, &o->port)) ||
               (option == 'w' && parse_number(optarg, UINT16_MAX, &o->wireguard)) ||
               (option == 'f' && parse_number(optarg, UINT16_MAX, &o->first)) ||
               (option == 'l' && parse_number(optarg, UINT16_MAX, &o->last)) ||
               (option == 'u' && parse_number(optarg, UINT32_MAX - 1, &o->user)) ||
               (option == 't' && os_endpoint_parse(optarg, 0, &o->connect.to) == PPN_OK) ||
               (option == 'a' && os_endpoint_parse(optarg, 0, &o->connect.local) == PPN_OK);
    }
    o->serve =
        (struct bridge_serve_config){(uint16_t)o->port, (uint16_t)o->wireguard, (uint16_t)o->first,
                                     (uint16_t)o->last, (uint32_t)o->user};
    o->connect.wireguard = (uint16_t)o->wireguard;
    o->connect.relay_port = (uint16_t)o->first;
    return fine && o->wireguard > 0 && o->first >= BRIDGE_PORT_MIN;
}

static enum ppn_error start(const char *verb, struct options *options, struct os_loop **loop,
                            struct ppn_failure *failure)
{
    struct bridge_pipe *pipe;
    enum ppn_error error = os_loop_open(loop, failure);
    if (error == PPN_OK)
        error = bridge_pipe_open(*loop, &pipe, failure);
    if (error != PPN_OK)
        return error;
    return strcmp(verb, "serve") == 0 ? bridge_serve(*loop, pipe, &options->serve, failure)
                                      : bridge_connect(*loop, pipe, &options->connect, failure);
}

int main(int argc, char **argv)
{
    static struct options options;
    struct os_loop *loop;
    struct ppn_failure failure = {0};
    const char *verb = argc > 1 ? argv[1] : "";
    bool serve = strcmp(verb, "serve") == 0, connect = strcmp(verb, "connect") == 0;
    if (!(serve || connect) || !parse(argc - 1, argv + 1, &options) ||
        (serve && (options.port == 0 || options.last < options.first)) ||
        (connect && (options.connect.to.port == 0))) {
        (void)fputs("usage: ppn-bridge serve --port P --wireguard P --relay-first P --relay-last P "
                    "[--user UID]\n"
                    "       ppn-bridge connect --to ADDRESS:PORT --local ADDRESS --wireguard P "
                    "--relay-first P\n"
                    "ppn-node starts it\n",
                    stderr);
        return EXIT_USAGE;
    }
    os_process_harden();
    (void)os_process_file_limit(FILES_WANTED);
    if (start(verb, &options, &loop, &failure) != PPN_OK) {
        (void)fprintf(stderr, "%s\n", failure.text);
        return 1;
    }
    os_loop_run(loop);
    return 0;
}
