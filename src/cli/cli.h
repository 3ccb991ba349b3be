// SPDX-License-Identifier: ISC
#pragma once

/* ppn, the command line: a table of subcommands, each a client of the node's API. Data goes to
 * standard output, everything else to standard error. */

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "api/api_client.h"
#include "base/error.h"
#include "base/facts.h"

/* Exit codes; documented in ppn(1), and never renumbered. */
enum cli_exit {
    CLI_OK,
    CLI_FAILED,      /* anything not below */
    CLI_USAGE,       /* the command line was wrong */
    CLI_NO_DAEMON,   /* ppn-node does not answer on the socket */
    CLI_REFUSED,     /* refused, not allowed, or no node can take it */
    CLI_NOT_FOUND,   /* no such VM, node or image */
    CLI_TIMEOUT,     /* no end in time; it may still come */
    CLI_UNSUPPORTED, /* this ppn-node cannot do it */
    CLI_PROBLEMS     /* ppn doctor found problems, ppn log --verify a broken log */
};

#define CLI_DEFAULT_SOCKET "/run/ppn/ppn.sock"

struct cli {
    const char *socket;
    const char *node;          /* HOST[:PORT] of --node; NULL: this machine's */
    const char *node_key;      /* the admin key of --key before the command */
    struct cli_tunnel *tunnel; /* to that node */
    bool json;
    bool colour;            /* on standard output */
    bool progress;          /* standard error is a terminal */
    bool terminal;          /* standard output is one */
    struct api_client *api; /* opened on first use */
    const struct cli_command *command;
    int exit; /* what an option already decided: usage or help */
};

struct cli_command {
    const char *name;
    const char *synopsis; /* arguments and options */
    const char *summary;  /* one line */
    const char *options;  /* the lines of its help, or "" */
    int (*run)(struct cli *cli, int argc, char **argv);
};

/* The table, ended by a NULL name, and its finder. */
extern const struct cli_command cli_commands[];
const struct cli_command *cli_find(const char *name);

/* The whole program; argv as of main(). */
int cli_main(int argc, char **argv);

/* ---- options ---- */

/* One table a subcommand; names without a short form use values from CLI_LONG on. */
enum { CLI_LONG = 256 };

#define CLI_COMMON_OPTIONS                                                                         \
    {"socket", required_argument, NULL, 'S'}, {"json", no_argument, NULL, 'J'},                    \
        {"help", no_argument, NULL, 'h'},                                                          \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

/* getopt_long that takes the common options by itself. -1 at the end or when cli->exit was set
 * (>= 0): then the subcommand returns cli->exit at once. */
int cli_getopt(struct cli *cli, int argc, char **argv, const char *letters,
               const struct option *options);

/* True when no option failed and min..max arguments are left; else says what was expected. */
bool cli_arguments(struct cli *cli, int argc, int min, int max);

/* Usage error with a text; returns CLI_USAGE. */
int cli_usage(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "512M", "1G", "1.5G", "2T", "1048576": binary multiples, "iB" or "B" allowed after them. */
bool cli_parse_size(const char *text, uint64_t *bytes);
/* "90", "90s", "15m", "1h", "2d": seconds. */
bool cli_parse_seconds(const char *text, uint32_t *seconds);
bool cli_parse_count(const char *text, uint32_t min, uint32_t max, uint32_t *count);
/* Splits "key=value" in place; false without '='. */
bool cli_split_pair(char *text, char **key, char **value);

/* At most max bytes of a file; *bytes is NUL-terminated, the caller frees. */
bool cli_read_file(const char *path, size_t max, char **bytes, size_t *size);

/* A new UUID version 7 (RFC 9562, 5.7). */
void cli_new_request_id(struct ppn_request_id *id);

/* ---- the API ---- */

/* The whole answer as JSON (caller releases), and as text when text is not NULL (caller frees).
 * NULL: it was told to the user, *code is the exit code. body is released. */
json_t *cli_call(struct cli *cli, enum api_method method, const char *target, json_t *body,
                 char **text, int *code);

/* Tells an error on standard error (or as JSON with --json on a stream) and gives its exit code. */
int cli_failed(struct cli *cli, const struct api_client_failure *failure);
int cli_exit_code(enum ppn_error error);

/* The client, opened once; ends the program when memory is out. */
struct api_client *cli_api(struct cli *cli);

/* "/v1/<folder>/<name><rest>", name percent-encoded. */
bool cli_target(char *target, size_t capacity, const char *folder, const char *name,
                const char *rest);

/* A call whose answer is only told: prints the JSON with --json, else nothing; the exit code. */
int cli_simple(struct cli *cli, enum api_method method, const char *target, json_t *body,
               json_t **answer);

/* One line of JSON on standard output; takes `answer` over. */
void cli_print_json(json_t *answer);
/* Flushes standard output; CLI_FAILED when that failed (a full disk, a closed pipe). */
int cli_finish(int code);

/* ---- subcommands ---- */

int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_explain(struct cli *cli, int argc, char **argv);
int cmd_ps(struct cli *cli, int argc, char **argv);
int cmd_stop(struct cli *cli, int argc, char **argv);
int cmd_kill(struct cli *cli, int argc, char **argv);
int cmd_start(struct cli *cli, int argc, char **argv);
int cmd_rm(struct cli *cli, int argc, char **argv);
int cmd_logs(struct cli *cli, int argc, char **argv);
int cmd_console(struct cli *cli, int argc, char **argv);
int cmd_nodes(struct cli *cli, int argc, char **argv);
int cmd_why(struct cli *cli, int argc, char **argv);
int cmd_cordon(struct cli *cli, int argc, char **argv);
int cmd_uncordon(struct cli *cli, int argc, char **argv);
int cmd_set(struct cli *cli, int argc, char **argv);
int cmd_rekey(struct cli *cli, int argc, char **argv);
int cmd_leave(struct cli *cli, int argc, char **argv);
int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_joins(struct cli *cli, int argc, char **argv);
int cmd_admit(struct cli *cli, int argc, char **argv);
int cmd_deny(struct cli *cli, int argc, char **argv);
int cmd_revoke(struct cli *cli, int argc, char **argv);
int cmd_invite(struct cli *cli, int argc, char **argv);
int cmd_invites(struct cli *cli, int argc, char **argv);
int cmd_key(struct cli *cli, int argc, char **argv);
int cmd_authority(struct cli *cli, int argc, char **argv);
int cmd_admins(struct cli *cli, int argc, char **argv);
int cmd_admin(struct cli *cli, int argc, char **argv);
int cmd_compact(struct cli *cli, int argc, char **argv);
int cmd_recover(struct cli *cli, int argc, char **argv);
int cmd_policy(struct cli *cli, int argc, char **argv);
int cmd_sign(struct cli *cli, int argc, char **argv);
int cmd_seal(struct cli *cli, int argc, char **argv);
int cmd_log(struct cli *cli, int argc, char **argv);
int cmd_image(struct cli *cli, int argc, char **argv);
int cmd_events(struct cli *cli, int argc, char **argv);
