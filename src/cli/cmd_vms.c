// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_print.h"

enum { TARGET_MAX = 512, OPTION_GRACE = CLI_LONG, OPTION_RAW, OPTION_YES };

static const struct option plain_options[] = {CLI_COMMON_OPTIONS};

static const char *shown_state(const json_t *vm)
{
    const char *state = cli_text(vm, "state");
    return strcmp(state, "running") == 0 && !cli_flag(vm, "ready") ? "booting" : state;
}

int cmd_ps(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"NAME",  "STATE", "NODE",      "IMAGE", ">MEMORY",
                                        ">CPUS", ">AGE",  "ISOLATION", "NOTE"};
    struct cli_table table;
    json_t *answer, *vm;
    size_t index;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_simple(cli, API_GET, "/v1/vms", NULL, &answer);
    if (answer == NULL)
        return code;
    const json_t *vms = json_object_get(answer, "vms");
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    json_array_foreach(vms, index, vm)
    {
        char memory[CLI_TEXT_MAX], age[CLI_TEXT_MAX];
        cli_size_text((uint64_t)cli_number(vm, "memory_bytes", 0), memory);
        cli_age_text(cli_now_ms() - cli_number(vm, "created_unix_ms", cli_now_ms()), age);
        cli_cell(&table, CLI_BOLD, "%s", cli_text(vm, "name"));
        cli_cell(&table, cli_state_colour(shown_state(vm)), "%s", shown_state(vm));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(vm, "node"));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(vm, "image"));
        cli_cell(&table, CLI_PLAIN, "%s", memory);
        cli_cell(&table, CLI_PLAIN, "%lld", (long long)cli_number(vm, "vcpus", 0));
        cli_cell(&table, CLI_PLAIN, "%s", age);
        cli_cell(&table, strcmp(cli_text(vm, "isolation"), "tcg") == 0 ? CLI_YELLOW : CLI_PLAIN,
                 "%s", cli_text(vm, "isolation"));
        cli_cell(&table, CLI_DIM, "%s", cli_text(vm, "reason"));
    }
    if (!cli->json && json_array_size(vms) > 0)
        cli_table_print(cli, &table, stdout);
    else
        free(table.cells);
    if (!cli->json && json_array_size(vms) == 0)
        (void)fprintf(stderr, "No VMs yet. Start one with \"ppn run IMAGE\"; \"ppn image ls\" "
                              "shows the images.\n");
    json_decref(answer);
    return cli_finish(CLI_OK);
}

struct verb {
    enum api_method method;
    const char *rest;
    const char *done; /* told after the name */
};

/* One or more VMs, each by itself; the first failure gives the exit code, the rest go on. */
static int each(struct cli *cli, int argc, char **argv, const struct verb *verb, json_t *body)
{
    int code = CLI_OK;
    for (int i = optind; i < argc; i++) {
        char target[TARGET_MAX];
        json_t *answer = NULL;
        int one = CLI_USAGE;
        if (cli_target(target, sizeof(target), "vms", argv[i], verb->rest))
            one = cli_simple(cli, verb->method, target, json_incref(body), &answer);
        else
            (void)cli_usage(cli, "\"%.40s...\" is too long for a name", argv[i]);
        const char *state = cli_text(json_object_get(answer, "vm"), "state");
        if (one == CLI_OK && !cli->json)
            (void)printf("%s %s\n", argv[i], state[0] != '\0' ? state : verb->done);
        json_decref(answer);
        if (code == CLI_OK)
            code = one;
    }
    json_decref(body);
    return cli_finish(code);
}

static int simple_verb(struct cli *cli, int argc, char **argv, const struct verb *verb)
{
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 1, INT16_MAX))
        return cli->exit;
    return each(cli, argc, argv, verb, NULL);
}

int cmd_stop(struct cli *cli, int argc, char **argv)
{
    static const struct verb verb = {API_POST, "/stop", "stopping"};
    static const struct option options[] = {{"grace", required_argument, NULL, OPTION_GRACE},
                                            CLI_COMMON_OPTIONS};
    json_t *body = NULL;
    uint32_t seconds;
    while (cli_getopt(cli, argc, argv, "h", options) == OPTION_GRACE) {
        if (!cli_parse_seconds(optarg, &seconds))
            return cli_usage(cli, "--grace: \"%s\" is no time; write 90s or 5m", optarg);
        json_decref(body);
        body = json_pack("{s:I}", "grace_seconds", (json_int_t)seconds);
    }
    if (!cli_arguments(cli, argc, 1, INT16_MAX)) {
        json_decref(body);
        return cli->exit;
    }
    return each(cli, argc, argv, &verb, body);
}

int cmd_kill(struct cli *cli, int argc, char **argv)
{
    return simple_verb(cli, argc, argv, &(struct verb){API_POST, "/kill", "killed"});
}

int cmd_start(struct cli *cli, int argc, char **argv)
{
    return simple_verb(cli, argc, argv, &(struct verb){API_POST, "/start", "starting"});
}

/* Its disk goes with it: on a terminal, a VM that is not stopped is asked for. */
static bool confirmed(const json_t *vms, const char *name)
{
    size_t index;
    json_t *vm;
    char answer[16] = "";
    json_array_foreach(vms, index, vm)
    {
        const char *state = cli_text(vm, "state");
        bool meant =
            strcmp(cli_text(vm, "name"), name) == 0 || strcmp(cli_text(vm, "id"), name) == 0;
        if (!meant || strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0)
            continue;
        (void)fprintf(stderr, "%s is %s on %s. End it and remove its disk? [y/N] ", name,
                      shown_state(vm), cli_text(vm, "node"));
        return fgets(answer, sizeof(answer), stdin) != NULL &&
               (answer[0] == 'y' || answer[0] == 'Y');
    }
    return true;
}

int cmd_rm(struct cli *cli, int argc, char **argv)
{
    static const struct verb verb = {API_DELETE, "", "removed"};
    static const struct option options[] = {{"yes", no_argument, NULL, OPTION_YES},
                                            CLI_COMMON_OPTIONS};
    bool yes = isatty(STDIN_FILENO) != 1 || cli->json;
    int letter, code = CLI_OK;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        yes = yes || letter == OPTION_YES;
    if (!cli_arguments(cli, argc, 1, INT16_MAX))
        return cli->exit;
    json_t *answer = yes ? NULL : cli_call(cli, API_GET, "/v1/vms", NULL, NULL, &code);
    for (int i = optind; i < argc && answer != NULL && code == CLI_OK; i++) {
        if (!confirmed(json_object_get(answer, "vms"), argv[i]))
            code = CLI_REFUSED;
    }
    json_decref(answer);
    return code == CLI_OK ? each(cli, argc, argv, &verb, NULL) : code;
}

/* ---- logs ---- */

struct logs {
    bool raw;
    struct cli_filter filter;
};

static bool on_log(void *context, struct ppn_slice bytes)
{
    struct logs *logs = context;
    uint8_t clean[16 * 1024];
    while (bytes.size > 0) {
        size_t size = bytes.size < sizeof(clean) ? bytes.size : sizeof(clean);
        const uint8_t *from = bytes.data;
        size_t made = size;
        if (!logs->raw) {
            made = cli_filter(&logs->filter, bytes.data, size, clean);
            from = clean;
        }
        if (fwrite(from, 1, made, stdout) != made)
            return false;
        bytes.data += size;
        bytes.size -= size;
    }
    return fflush(stdout) == 0;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
                                            {"tail", required_argument, NULL, 'n'},
                                            {"raw", no_argument, NULL, OPTION_RAW},
                                            CLI_COMMON_OPTIONS};
    char target[TARGET_MAX], rest[64];
    struct api_client_failure failure;
    struct logs logs = {.raw = !cli->terminal};
    bool follow = false;
    uint32_t tail = 0;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "hfn:", options)) != -1) {
        follow = follow || letter == 'f';
        logs.raw = logs.raw || letter == OPTION_RAW;
        if (letter == 'n' && !cli_parse_count(optarg, 0, API_TAIL_LINES_MAX, &tail))
            return cli_usage(cli, "--tail: a number of lines up to %d", API_TAIL_LINES_MAX);
    }
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    (void)snprintf(rest, sizeof(rest), "/logs?follow=%d&tail=%u", follow, tail);
    if (!cli_target(target, sizeof(target), "vms", argv[optind], rest))
        return cli_usage(cli, "the name is too long");
    struct api_client_call call = {
        .method = API_GET, .target = target, .context = &logs, .on_bytes = on_log};
    api_client_timeout(cli_api(cli), 0);
    if (api_client_do(cli_api(cli), &call, NULL, &failure) != PPN_OK)
        return cli_failed(cli, &failure);
    return cli_finish(CLI_OK);
}
