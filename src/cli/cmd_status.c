// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_print.h"

static void row(const struct cli *cli, const char *name, enum cli_colour colour, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void row(const struct cli *cli, const char *name, enum cli_colour colour, const char *format,
                ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cli_clean(text);
    (void)printf("%s%-9s%s %s%s%s\n", cli_colour(cli, CLI_DIM), name, cli_colour(cli, CLI_PLAIN),
                 colour == CLI_PLAIN ? "" : cli_colour(cli, colour), text,
                 colour == CLI_PLAIN ? "" : cli_colour(cli, CLI_PLAIN));
}

static void print_status(const struct cli *cli, const json_t *status)
{
    char up[CLI_TEXT_MAX];
    size_t index;
    json_t *alarm;
    const char *network = cli_text(status, "network"), *phase = cli_text(status, "phase");
    cli_age_text(cli_number(status, "uptime_ms", 0), up);
    row(cli, "network", CLI_BOLD, "%s", network[0] != '\0' ? network : "none yet");
    row(cli, "node", CLI_PLAIN, "%s (%s)%s", cli_text(status, "name"),
        cli_text(status, "fingerprint"), cli_flag(status, "admin") ? ", holds the admin key" : "");
    row(cli, "phase", strcmp(phase, "member") == 0 ? CLI_GREEN : CLI_YELLOW, "%s", phase);
    row(cli, "mesh", strcmp(cli_text(status, "mesh"), "plain") == 0 ? CLI_RED : CLI_PLAIN,
        "%s%s%s %s", cli_text(status, "mesh"),
        strcmp(cli_text(status, "mesh"), "plain") == 0 ? " (NOT ENCRYPTED)" : "",
        cli_text(status, "interface")[0] != '\0' ? "," : "", cli_text(status, "interface"));
    if (cli_text(status, "address")[0] != '\0')
        row(cli, "address", CLI_PLAIN, "%s, port %lld", cli_text(status, "address"),
            (long long)cli_number(status, "listen_port", 0));
    row(cli, "nodes", CLI_PLAIN, "%lld alive, %lld suspect, %lld dead",
        (long long)cli_number(status, "nodes_alive", 0),
        (long long)cli_number(status, "nodes_suspect", 0),
        (long long)cli_number(status, "nodes_dead", 0));
    row(cli, "VMs here", CLI_PLAIN, "%lld, %lld running",
        (long long)cli_number(status, "vms_here", 0),
        (long long)cli_number(status, "vms_running_here", 0));
    row(cli, "log", CLI_PLAIN, "%lld entries, head %.16s",
        (long long)cli_number(status, "log_entries", 0), cli_text(status, "log_head"));
    const json_t *relay = json_object_get(status, "relay");
    if (relay != NULL) {
        row(cli, "relay", CLI_PLAIN, "%lld of %lld nodes bound, %lld MiB forwarded, port %lld",
            (long long)cli_number(relay, "mailboxes", 0),
            (long long)cli_number(relay, "members", 0),
            (long long)cli_number(relay, "forwarded_bytes", 0) / (1 << 20),
            (long long)cli_number(relay, "port", 0));
        if (cli_number(relay, "tcp_port", 0) > 0)
            row(cli, "", CLI_PLAIN, "%lld connections over TCP %lld",
                (long long)cli_number(relay, "tcp_connections", 0),
                (long long)cli_number(relay, "tcp_port", 0));
        else
            row(cli, "", CLI_YELLOW, "nobody without UDP reaches it: no TCP port (see the log)");
    }
    if (cli_flag(status, "udp_blocked"))
        row(cli, "UDP", CLI_YELLOW, "no relay answers: this network lets no UDP out");
    row(cli, "version", CLI_PLAIN, "%s, up %s", cli_text(status, "version"), up);
    if (cli_flag(status, "cordoned"))
        row(cli, "cordoned", CLI_YELLOW, "takes no new VMs; \"ppn uncordon %s\" ends it",
            cli_text(status, "name"));
    if (cli_number(status, "joins_waiting", 0) > 0)
        row(cli, "joins", CLI_YELLOW, "%lld waiting; see \"ppn joins\"",
            (long long)cli_number(status, "joins_waiting", 0));
    json_array_foreach(json_object_get(status, "alarms"), index, alarm)
    {
        row(cli, "ALARM", CLI_RED, "%s", cli_text(alarm, "text"));
        row(cli, "", CLI_PLAIN, "%s", cli_text(alarm, "fix"));
    }
    if (cli_text(status, "problem")[0] != '\0')
        row(cli, "problem", CLI_RED, "%s", cli_text(status, "problem"));
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    json_t *answer;
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_simple(cli, API_GET, "/v1/status", NULL, &answer);
    if (answer != NULL && !cli->json)
        print_status(cli, answer);
    json_decref(answer);
    return cli_finish(code);
}
