// SPDX-License-Identifier: ISC
#include "node/options.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { CONFIG_LINE_MAX = 4096 };

static const char default_config[] = "/etc/ppn/ppn-node.conf";

_Static_assert(NODE_INTERFACE_MAX + 1 == IF_NAMESIZE, "an interface name is the kernel's");

static const char usage_text[] =
    "usage: ppn-node [--found NETWORK | --seed HOST[:PORT]...] [options]\n"
    "\n"
    "The first start needs one of:\n"
    "  --found NETWORK         found a new network on this machine\n"
    "  --recovery-key KEY      with it: a key that may name new admin keys one day (repeatable)\n"
    "  --seed HOST[:PORT]      join through a machine that is a member (repeatable)\n"
    "  --token TOKEN           join with an invite (it names the seeds); @FILE reads it from a "
    "file\n"
    "A later start with the same state directory needs none: the node knows its network.\n"
    "\n"
    "  --name NAME             this node's name (default: the host name)\n"
    "  --state-dir DIR         keys, log and VMs (default: /var/lib/ppn)\n"
    "  --socket PATH           where ppn talks to this node (default: /run/ppn/ppn.sock)\n"
    "  --listen [ADDR:]PORT    UDP and TCP port for other machines (default: 51820)\n"
    "  --advertise ADDR[:PORT] public address others reach this node at (repeatable)\n"
    "  --interface NAME        the mesh interface (default: ppn0)\n"
    "  --mesh MODE             auto, kernel, userspace or plain (plain: labs only, no encryption)\n"
    "  --label KEY=VALUE       a label of this node (repeatable; see also ppn set)\n"
    "  --relay-ports FIRST-LAST  UDP ports of a relay, the first for asking (default: "
    "51821-52077)\n"
    "  --relay-tcp PORT|off    TCP port of a relay for nodes in networks without UDP (default: "
    "443)\n"
    "  --relay-rate SIZE       bytes a second that one node may send through (default: 32M; 0: no "
    "limit)\n"
    "  --memory-reserve SIZE   memory never given to VMs, e.g. 512M\n"
    "  --log-level LEVEL       debug, info, warn or error\n"
    "  --config FILE           flat KEY = VALUE lines, the same keys without the dashes\n"
    "                          (default: /etc/ppn/ppn-node.conf if it exists)\n"
    "  --check-config          read the options and the file, say whether they are right, end\n"
    "  --help, --version\n";

const char *node_options_usage(void)
{
    return usage_text;
}

static enum ppn_error parse_port(const char *text, uint16_t *port)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < 1 || value > 65535)
        return PPN_ERROR_INVALID;
    *port = (uint16_t)value;
    return PPN_OK;
}

static bool host_valid(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || strchr("-._:%", *c) != NULL;
        if (!plain)
            return false;
    }
    return host[0] != '\0' && host[0] != '-';
}

/* HOST, HOST:PORT, [ADDR]:PORT, or a bare IPv6 address (two colons or more). */
static enum ppn_error parse_host(const char *key, const char *text, struct node_host *host,
                                 struct ppn_failure *failure)
{
    char copy[NODE_HOST_MAX + 8];
    *host = (struct node_host){0};
    if (!ppn_text_copy(copy, sizeof(copy), text))
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s: the address is too long", key);
    char *name = copy, *port = NULL;
    if (copy[0] == '[') {
        char *close = strchr(copy, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return ppn_fail(failure, PPN_ERROR_INVALID, "%s: write '%s' as [ADDR]:PORT", key, text);
        name = copy + 1;
        port = close[1] == ':' ? close + 2 : NULL;
        *close = '\0';
    } else {
        char *colon = strchr(copy, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL) {
            *colon = '\0';
            port = colon + 1;
        }
    }
    if (!host_valid(name) || !ppn_text_copy(host->host, sizeof(host->host), name))
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s: '%s' is no host name or address", key,
                        text);
    if (port != NULL && parse_port(port, &host->port) != PPN_OK)
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s: '%s' is no port (1 to 65535)", key, port);
    return PPN_OK;
}

static enum ppn_error parse_listen(const char *value, struct node_host *listen,
                                   struct ppn_failure *failure)
{
    *listen = (struct node_host){0};
    if (parse_port(value, &listen->port) == PPN_OK)
        return PPN_OK;
    enum ppn_error error = parse_host("listen", value, listen, failure);
    if (error == PPN_OK && listen->port == 0)
        return ppn_fail(failure, PPN_ERROR_INVALID, "listen: '%s' has no port; write ADDR:PORT",
                        value);
    return error;
}

static enum ppn_error parse_label(const char *value, struct node_options *options,
                                  struct ppn_failure *failure)
{
    const char *equals = strchr(value, '=');
    struct ppn_label label = {0};
    if (equals == NULL || (size_t)(equals - value) >= sizeof(label.key))
        return ppn_fail(failure, PPN_ERROR_INVALID, "label: '%s' is not KEY=VALUE", value);
    memcpy(label.key, value, (size_t)(equals - value));
    if (!ppn_name_valid(label.key) || !ppn_label_value_valid(equals + 1))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "label: '%s': keys are a-z, 0-9 and '-', values printable without spaces",
                        value);
    (void)ppn_text_copy(label.value, sizeof(label.value), equals + 1);
    if (options->label_count == PPN_LABELS_MAX)
        return ppn_fail(failure, PPN_ERROR_FULL, "label: at most %d labels", PPN_LABELS_MAX);
    options->labels[options->label_count++] = label;
    return PPN_OK;
}

static enum ppn_error parse_size(const char *key, const char *value, uint64_t *bytes,
                                 struct ppn_failure *failure)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    int shift = unit != NULL ? 10 * ((int)(unit - units) + 1) : 0;
    bool tail = *end == '\0' || (unit != NULL && end[1] == '\0');
    if (errno != 0 || value[0] < '0' || value[0] > '9' || !tail || number > UINT64_MAX >> shift)
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s: '%s' is no size; write 512M or 2G", key,
                        value);
    *bytes = (uint64_t)number << shift;
    return PPN_OK;
}

static enum ppn_error parse_relay_tcp(const char *value, struct node_options *options,
                                      struct ppn_failure *failure)
{
    options->relay_tcp_port = 0;
    if (strcmp(value, "off") == 0 || parse_port(value, &options->relay_tcp_port) == PPN_OK)
        return PPN_OK;
    return ppn_fail(failure, PPN_ERROR_INVALID,
                    "relay-tcp: '%s' is neither a port from 1 to 65535 nor off", value);
}

/* The first port is for asking, at least one more for mailboxes. */
static enum ppn_error parse_relay_ports(const char *value, struct node_options *options,
                                        struct ppn_failure *failure)
{
    char first[8] = {0};
    const char *dash = strchr(value, '-');
    if (dash != NULL && (size_t)(dash - value) < sizeof(first)) {
        memcpy(first, value, (size_t)(dash - value));
        if (parse_port(first, &options->relay_port) == PPN_OK &&
            parse_port(dash + 1, &options->relay_port_last) == PPN_OK &&
            options->relay_port_last > options->relay_port &&
            options->relay_port_last - options->relay_port <= NODE_RELAY_PORTS_MAX)
            return PPN_OK;
    }
    return ppn_fail(failure, PPN_ERROR_INVALID,
                    "relay-ports: '%s' is not FIRST-LAST, with 1 to %d ports after the first",
                    value, NODE_RELAY_PORTS_MAX);
}

static enum ppn_error parse_choice(const char *key, const char *value, const char *const *words,
                                   int *choice, struct ppn_failure *failure)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], value) == 0) {
            *choice = i;
            return PPN_OK;
        }
    }
    return ppn_fail(failure, PPN_ERROR_INVALID, "%s: '%s' is not among the choices (see --help)",
                    key, value);
}

static enum ppn_error add_recovery(const char *value, struct node_options *options,
                                   struct ppn_failure *failure)
{
    size_t size = 0;
    if (options->recovery_count == NODE_RECOVERY_KEYS_MAX)
        return ppn_fail(failure, PPN_ERROR_INVALID, "recovery-key: at most %d of them",
                        NODE_RECOVERY_KEYS_MAX);
    if (strlen(value) != 2 * NODE_RECOVERY_KEY_SIZE ||
        sodium_hex2bin(options->recovery[options->recovery_count], NODE_RECOVERY_KEY_SIZE, value,
                       strlen(value), NULL, &size, NULL) != 0 ||
        size != NODE_RECOVERY_KEY_SIZE)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "recovery-key: give the 64 digits that \"ppn key new FILE\" prints");
    options->recovery_count++;
    return PPN_OK;
}

static enum ppn_error parse_token(const char *value, struct node_options *options,
                                  struct ppn_failure *failure)
{
    if (value[0] == '\0')
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "token: it is empty; give what \"ppn invite\" printed");
    if (value[0] != '@') {
        if (!ppn_text_copy(options->token, sizeof(options->token), value))
            return ppn_fail(failure, PPN_ERROR_INVALID, "token: too long to be a PPN invite");
        return PPN_OK;
    }
    FILE *file = fopen(value + 1, "re");
    if (file == NULL)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "token: cannot read %s: %s", value + 1,
                        strerror(errno));
    bool got = fgets(options->token, sizeof(options->token), file) != NULL;
    (void)fclose(file);
    options->token[strcspn(options->token, " \t\r\n")] = '\0';
    if (!got || options->token[0] == '\0')
        return ppn_fail(failure, PPN_ERROR_INVALID, "token: %s holds no invite", value + 1);
    return PPN_OK;
}

static enum ppn_error set_name(const char *key, const char *value, char name[PPN_NAME_MAX + 1],
                               struct ppn_failure *failure)
{
    if (!ppn_name_valid(value))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "%s: '%s' is no valid name: 1 to 63 of a-z, 0-9 and '-'", key, value);
    (void)ppn_text_copy(name, PPN_NAME_MAX + 1, value);
    return PPN_OK;
}

static enum ppn_error set_text(const char *key, const char *value, char *to, size_t capacity,
                               struct ppn_failure *failure)
{
    if (value[0] == '\0' || !ppn_text_copy(to, capacity, value))
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s: empty or longer than %zu characters", key,
                        capacity - 1);
    return PPN_OK;
}

static enum ppn_error add_host(const char *key, const char *value, struct node_host *hosts,
                               uint32_t *count, uint32_t most, struct ppn_failure *failure)
{
    if (*count == most)
        return ppn_fail(failure, PPN_ERROR_FULL, "%s: at most %u of them", key, most);
    enum ppn_error error = parse_host(key, value, &hosts[*count], failure);
    if (error == PPN_OK)
        (*count)++;
    return error;
}

static const char *const mesh_words[] = {"auto", "kernel", "userspace", "plain", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};

enum ppn_error node_options_set(struct node_options *o, const char *key, const char *value,
                                struct ppn_failure *failure)
{
    int choice = 0;
    enum ppn_error error;
    if (strcmp(key, "found") == 0)
        return set_name(key, value, o->found, failure);
    if (strcmp(key, "recovery-key") == 0)
        return add_recovery(value, o, failure);
    if (strcmp(key, "name") == 0)
        return set_name(key, value, o->name, failure);
    if (strcmp(key, "seed") == 0)
        return add_host(key, value, o->seeds, &o->seed_count, PPN_SEEDS_MAX, failure);
    if (strcmp(key, "advertise") == 0)
        return add_host(key, value, o->advertise, &o->advertise_count, PPN_ENDPOINTS_MAX, failure);
    if (strcmp(key, "token") == 0)
        return parse_token(value, o, failure);
    if (strcmp(key, "state-dir") == 0)
        return set_text(key, value, o->state_dir, sizeof(o->state_dir), failure);
    if (strcmp(key, "socket") == 0)
        return set_text(key, value, o->socket, sizeof(o->socket), failure);
    if (strcmp(key, "interface") == 0)
        return set_text(key, value, o->interface, sizeof(o->interface), failure);
    if (strcmp(key, "listen") == 0)
        return parse_listen(value, &o->listen, failure);
    if (strcmp(key, "label") == 0)
        return parse_label(value, o, failure);
    if (strcmp(key, "relay-ports") == 0)
        return parse_relay_ports(value, o, failure);
    if (strcmp(key, "relay-tcp") == 0)
        return parse_relay_tcp(value, o, failure);
    if (strcmp(key, "relay-rate") == 0)
        return parse_size(key, value, &o->relay_rate_bytes, failure);
    if (strcmp(key, "memory-reserve") == 0)
        return parse_size(key, value, &o->memory_reserve_bytes, failure);
    if (strcmp(key, "mesh") == 0) {
        error = parse_choice(key, value, mesh_words, &choice, failure);
        o->mesh = (enum node_mesh_mode)choice;
        return error;
    }
    if (strcmp(key, "log-level") == 0) {
        error = parse_choice(key, value, level_words, &choice, failure);
        o->log_level = (enum ppn_log_level)choice;
        return error;
    }
    return ppn_fail(failure, PPN_ERROR_INVALID, "unknown setting '%s' (see ppn-node --help)", key);
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    char *end = text + strlen(text);
    while (end > text && strchr(" \t\r\n", end[-1]) != NULL)
        *--end = '\0';
    return text;
}

static enum ppn_error read_config(const char *path, bool must_exist, struct node_options *options,
                                  struct ppn_failure *failure)
{
    char line[CONFIG_LINE_MAX];
    enum ppn_error error = PPN_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        if (!must_exist && errno == ENOENT)
            return PPN_OK;
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "cannot read %s: %s", path, strerror(errno));
    }
    for (int number = 1; error == PPN_OK && fgets(line, sizeof(line), file) != NULL; number++) {
        struct ppn_failure cause = {0};
        char *key = trim(line);
        if (*key == '\0' || *key == '#' || *key == ';')
            continue;
        char *equals = strchr(key, '=');
        if (equals == NULL) {
            error = ppn_fail(failure, PPN_ERROR_INVALID, "%s:%d: not KEY = VALUE", path, number);
            break;
        }
        *equals = '\0';
        error = node_options_set(options, trim(key), trim(equals + 1), &cause);
        if (error != PPN_OK)
            (void)ppn_fail(failure, error, "%s:%d: %s", path, number, cause.text);
    }
    (void)fclose(file);
    return error;
}

enum { OPTION_KEYED = 1000, OPTION_CONFIG, OPTION_CHECK, OPTION_HELP, OPTION_VERSION };

static const struct option long_options[] = {
    {"found", required_argument, NULL, OPTION_KEYED},
    {"recovery-key", required_argument, NULL, OPTION_KEYED},
    {"seed", required_argument, NULL, OPTION_KEYED},
    {"token", required_argument, NULL, OPTION_KEYED},
    {"name", required_argument, NULL, OPTION_KEYED},
    {"state-dir", required_argument, NULL, OPTION_KEYED},
    {"socket", required_argument, NULL, OPTION_KEYED},
    {"listen", required_argument, NULL, OPTION_KEYED},
    {"advertise", required_argument, NULL, OPTION_KEYED},
    {"interface", required_argument, NULL, OPTION_KEYED},
    {"mesh", required_argument, NULL, OPTION_KEYED},
    {"label", required_argument, NULL, OPTION_KEYED},
    {"relay-ports", required_argument, NULL, OPTION_KEYED},
    {"relay-tcp", required_argument, NULL, OPTION_KEYED},
    {"relay-rate", required_argument, NULL, OPTION_KEYED},
    {"memory-reserve", required_argument, NULL, OPTION_KEYED},
    {"log-level", required_argument, NULL, OPTION_KEYED},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"check-config", no_argument, NULL, OPTION_CHECK},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static void set_defaults(struct node_options *options)
{
    *options = (struct node_options){.log_level = PPN_LOG_INFO};
    (void)ppn_text_copy(options->state_dir, sizeof(options->state_dir), "/var/lib/ppn");
    (void)ppn_text_copy(options->socket, sizeof(options->socket), "/run/ppn/ppn.sock");
    (void)ppn_text_copy(options->interface, sizeof(options->interface), "ppn0");
    options->listen.port = PPN_PORT_PUBLIC;
    options->relay_port = PPN_PORT_RELAY;
    options->relay_port_last = PPN_PORT_RELAY + NODE_RELAY_PORTS_DEFAULT;
    options->relay_tcp_port = PPN_PORT_RELAY_TCP;
    options->relay_rate_bytes = UINT64_C(32) << 20;
}

/* Two passes: the file first, so that the command line wins. Lists given on the command line
 * replace those of the file. */
enum ppn_error node_options_parse(int argc, char **argv, struct node_options *options,
                                  struct ppn_failure *failure)
{
    const char *config = NULL;
    int index = 0, option;
    set_defaults(options);
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == '?')
            return ppn_fail(failure, PPN_ERROR_INVALID,
                            "'%s' is unknown or lacks its value (see ppn-node --help)",
                            argv[optind - 1]);
        if (option == OPTION_CONFIG)
            config = optarg;
        options->check_config |= option == OPTION_CHECK;
        options->help |= option == OPTION_HELP;
        options->version |= option == OPTION_VERSION;
    }
    if (optind < argc)
        return ppn_fail(failure, PPN_ERROR_INVALID, "'%s' is no option (see ppn-node --help)",
                        argv[optind]);
    if (options->help || options->version)
        return PPN_OK;
    enum ppn_error error =
        read_config(config != NULL ? config : default_config, config != NULL, options, failure);
    bool seen_seed = false, seen_advertise = false, seen_label = false;
    optind = 1;
    while (error == PPN_OK && (option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option != OPTION_KEYED)
            continue;
        const char *key = long_options[index].name;
        if (strcmp(key, "seed") == 0 && !seen_seed) {
            seen_seed = true;
            options->seed_count = 0;
        }
        if (strcmp(key, "advertise") == 0 && !seen_advertise) {
            seen_advertise = true;
            options->advertise_count = 0;
        }
        if (strcmp(key, "label") == 0 && !seen_label) {
            seen_label = true;
            options->label_count = 0;
        }
        struct ppn_failure cause = {0};
        error = node_options_set(options, key, optarg, &cause);
        if (error != PPN_OK)
            (void)ppn_fail(failure, error, "--%s", cause.text);
    }
    if (error == PPN_OK && options->found[0] != '\0' &&
        (options->seed_count > 0 || options->token[0] != '\0'))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "--found makes a new network, --seed and --token join one: choose");
    return error;
}
