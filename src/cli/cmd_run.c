// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/name.h"
#include "cli/cli.h"
#include "cli/cli_print.h"

enum {
    OPTION_NAME = CLI_LONG,
    OPTION_MEMORY,
    OPTION_CPUS,
    OPTION_DISK,
    OPTION_KEY,
    OPTION_USER,
    OPTION_USER_DATA,
    OPTION_NODE,
    OPTION_LABEL,
    OPTION_EMULATION,
    OPTION_ISOLATION,
    OPTION_NO_NETWORK,
    OPTION_WAIT,
    OPTION_ID,
    OPTION_DRY
};

static const struct option options[] = {{"name", required_argument, NULL, OPTION_NAME},
                                        {"memory", required_argument, NULL, OPTION_MEMORY},
                                        {"cpus", required_argument, NULL, OPTION_CPUS},
                                        {"disk", required_argument, NULL, OPTION_DISK},
                                        {"ssh-key", required_argument, NULL, OPTION_KEY},
                                        {"user", required_argument, NULL, OPTION_USER},
                                        {"user-data", required_argument, NULL, OPTION_USER_DATA},
                                        {"node", required_argument, NULL, OPTION_NODE},
                                        {"label", required_argument, NULL, OPTION_LABEL},
                                        {"allow-emulation", no_argument, NULL, OPTION_EMULATION},
                                        {"isolation", required_argument, NULL, OPTION_ISOLATION},
                                        {"no-network", no_argument, NULL, OPTION_NO_NETWORK},
                                        {"wait-ready", no_argument, NULL, OPTION_WAIT},
                                        {"request-id", required_argument, NULL, OPTION_ID},
                                        {"dry-run", no_argument, NULL, OPTION_DRY},
                                        CLI_COMMON_OPTIONS};

/* What the command line asks, as the request's JSON body grows. */
struct ask {
    json_t *body, *keys, *labels;
    bool wait_ready, dry_run, id_given;
    char id[PPN_UUID_TEXT];
};

static void set(struct ask *ask, const char *key, json_t *value)
{
    if (json_object_set_new(ask->body, key, value) != 0) {
        (void)fputs("ppn: out of memory, or an argument that is no UTF-8\n", stderr);
        exit(CLI_FAILED);
    }
}

static int add_size(struct cli *cli, struct ask *ask, const char *key, const char *option)
{
    uint64_t bytes;
    if (!cli_parse_size(optarg, &bytes) || bytes > INT64_MAX)
        return cli_usage(cli, "--%s: \"%s\" is no size; write 512M or 2G", option, optarg);
    set(ask, key, json_integer((json_int_t)bytes));
    return CLI_OK;
}

/* Each line of a public key file that is a key. */
static int add_keys(struct cli *cli, struct ask *ask)
{
    char *text, *rest = NULL;
    size_t size, before = json_array_size(ask->keys);
    if (!cli_read_file(optarg, (size_t)PPN_SSH_KEYS_MAX * PPN_SSH_KEY_TEXT_MAX, &text, &size))
        return CLI_FAILED;
    if (strstr(text, "PRIVATE KEY") != NULL) {
        (void)fprintf(
            stderr, "ppn run: %s is a private key and was not sent; give the public one (%s.pub)\n",
            optarg, optarg);
        free(text);
        return CLI_USAGE;
    }
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL;
         line = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, " \t");
        if (*line != '\0' && *line != '#')
            (void)json_array_append_new(ask->keys, json_string(line));
    }
    free(text);
    if (json_array_size(ask->keys) == before)
        return cli_usage(cli, "--ssh-key: there is no public key in %s", optarg);
    return CLI_OK;
}

static int add_user_data(struct ask *ask)
{
    char *bytes;
    size_t size;
    if (!cli_read_file(optarg, PPN_USER_DATA_MAX, &bytes, &size))
        return CLI_FAILED;
    size_t capacity = sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(capacity);
    if (text != NULL) {
        (void)sodium_bin2base64(text, capacity, (const unsigned char *)bytes, size,
                                sodium_base64_VARIANT_ORIGINAL);
        set(ask, "user_data_base64", json_string(text));
    }
    free(text);
    free(bytes);
    return text != NULL ? CLI_OK : CLI_FAILED;
}

static int add_label(struct cli *cli, struct ask *ask)
{
    char *key, *value;
    if (!cli_split_pair(optarg, &key, &value))
        return cli_usage(cli, "--label: write KEY=VALUE");
    return json_object_set_new(ask->labels, key, json_string(value)) == 0 ? CLI_OK : CLI_USAGE;
}

static int take_id(struct cli *cli, struct ask *ask)
{
    struct ppn_request_id id;
    if (ppn_request_id_parse(optarg, &id) != PPN_OK)
        return cli_usage(cli, "--request-id: \"%s\" is no UUID", optarg);
    ppn_request_id_text(&id, ask->id);
    ask->id_given = true;
    return CLI_OK;
}

static int take_option(struct cli *cli, struct ask *ask, int letter)
{
    uint32_t count;
    switch (letter) {
    case OPTION_NAME:
        set(ask, "name", json_string(optarg));
        return CLI_OK;
    case OPTION_MEMORY:
        return add_size(cli, ask, "memory_bytes", "memory");
    case OPTION_DISK:
        return add_size(cli, ask, "disk_bytes", "disk");
    case OPTION_CPUS:
        if (!cli_parse_count(optarg, 1, 256, &count))
            return cli_usage(cli, "--cpus: a number from 1 to 256");
        set(ask, "vcpus", json_integer(count));
        return CLI_OK;
    case OPTION_KEY:
        return add_keys(cli, ask);
    case OPTION_USER:
        set(ask, "user", json_string(optarg));
        return CLI_OK;
    case OPTION_USER_DATA:
        return add_user_data(ask);
    case OPTION_NODE:
        set(ask, "node", json_string(optarg));
        return CLI_OK;
    case OPTION_LABEL:
        return add_label(cli, ask);
    case OPTION_EMULATION:
        set(ask, "allow_emulation", json_true());
        return CLI_OK;
    case OPTION_ISOLATION:
        set(ask, "isolation_min", json_string(optarg));
        return CLI_OK;
    case OPTION_NO_NETWORK:
        set(ask, "network", json_false());
        return CLI_OK;
    case OPTION_WAIT:
        ask->wait_ready = true;
        return CLI_OK;
    case OPTION_ID:
        return take_id(cli, ask);
    case OPTION_DRY:
        ask->dry_run = true;
        return CLI_OK;
    default:
        return CLI_USAGE;
    }
}

/* Fills the body; false: cli->exit says why. */
static bool read_ask(struct cli *cli, struct ask *ask, int argc, char **argv)
{
    int letter;
    ask->body = json_object();
    ask->keys = json_array();
    ask->labels = json_object();
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        int code = take_option(cli, ask, letter);
        if (code != CLI_OK) {
            cli->exit = code;
            return false;
        }
    }
    if (!cli_arguments(cli, argc, 1, 1))
        return false;
    set(ask, "image", json_string(argv[optind]));
    if (json_array_size(ask->keys) > 0)
        set(ask, "ssh_keys", json_incref(ask->keys));
    if (json_object_size(ask->labels) > 0)
        set(ask, "labels", json_incref(ask->labels));
    return true;
}

static void free_ask(struct ask *ask)
{
    json_decref(ask->body);
    json_decref(ask->keys);
    json_decref(ask->labels);
}

/* ---- run ---- */

struct running {
    struct cli *cli;
    struct cli_progress progress;
    bool wait_ready;
    json_t *vm;
    struct ppn_failure failure;
};

static bool on_line(void *context, json_t *line, struct ppn_slice text)
{
    struct running *running = context;
    const json_t *progress = json_object_get(line, "progress");
    const json_t *error = json_object_get(line, "error");
    json_t *vm = json_object_get(line, "vm");
    if (running->cli->json) {
        (void)fwrite(text.data, 1, text.size, stdout);
        (void)fputc('\n', stdout);
        (void)fflush(stdout);
    }
    if (progress != NULL) {
        const char *words = cli_text(progress, "text");
        cli_progress_show(&running->progress, (int)cli_number(progress, "percent", -1), "%s%s",
                          words[0] != '\0' ? words : cli_text(progress, "stage"),
                          running->wait_ready &&
                                  strcmp(cli_text(progress, "stage"), "in-service") == 0
                              ? "; waiting for its first boot"
                              : "");
    }
    if (vm != NULL && running->vm == NULL)
        running->vm = json_incref(vm);
    if (error != NULL)
        (void)ppn_fail(&running->failure,
                       api_error_parse(cli_text(error, "code")) != PPN_OK
                           ? api_error_parse(cli_text(error, "code"))
                           : PPN_ERROR_IO,
                       "%s", cli_text(error, "message"));
    return true;
}

static void on_tick(void *context)
{
    struct running *running = context;
    cli_progress_tick(&running->progress);
}

static void tell_vm(struct cli *cli, const json_t *vm)
{
    const char *name = cli_text(vm, "name");
    const char *state = cli_text(vm, "state");
    (void)fprintf(stdout, "%s%s%s is %s%s%s on %s\n", cli_colour(cli, CLI_BOLD), name,
                  cli_colour(cli, CLI_PLAIN), cli_colour(cli, cli_state_colour(state)), state,
                  cli_colour(cli, CLI_PLAIN), cli_text(vm, "node"));
    (void)fflush(stdout);
    if (strcmp(cli_text(vm, "isolation"), "tcg") == 0)
        (void)fprintf(stderr,
                      "%s is emulated: slow, and not isolated from its host. Run nothing "
                      "in it that you do not trust.\n",
                      name);
    if (cli->terminal)
        (void)fprintf(stderr, "%s: \"ppn logs -f %s\", \"ppn console %s\"\n",
                      cli_flag(vm, "ready") ? "Look inside" : "It is booting; watch it", name,
                      name);
}

static int run(struct cli *cli, struct ask *ask)
{
    struct running running = {.cli = cli, .progress = {.cli = cli}, .wait_ready = ask->wait_ready};
    struct api_client_failure failure;
    struct api_client_call call = {.method = API_POST,
                                   .target = "/v1/vms",
                                   .body = ask->body,
                                   .context = &running,
                                   .on_tick = on_tick,
                                   .on_line = on_line};
    set(ask, "id", json_string(ask->id));
    if (!ask->id_given)
        set(ask, "fresh", json_true());
    if (ask->wait_ready)
        set(ask, "wait_ready", json_true());
    api_client_timeout(cli_api(cli), 0);
    if (!cli->json)
        (void)fprintf(stderr, "Request %s\n", ask->id);
    enum ppn_error error = api_client_do(cli_api(cli), &call, NULL, &failure);
    cli_progress_clear(&running.progress);
    if (error == PPN_OK && running.vm == NULL)
        error = running.failure.code != PPN_OK
                    ? running.failure.code
                    : ppn_fail(&running.failure, PPN_ERROR_CLOSED,
                               "the connection to ppn-node ended before the VM was in service");
    if (error == PPN_OK) {
        if (!cli->json)
            tell_vm(cli, running.vm);
        json_decref(running.vm);
        return cli_finish(CLI_OK);
    }
    json_decref(running.vm);
    if (running.failure.code != PPN_OK)
        failure.failure = running.failure;
    int code = cli_failed(cli, &failure);
    if (failure.failure.code == PPN_ERROR_CLOSED || failure.failure.code == PPN_ERROR_TIMEOUT)
        (void)fprintf(stderr,
                      "It may still come. To ask again without making a second VM, repeat the "
                      "command with --request-id %s\n",
                      ask->id);
    return code;
}

static int placement(struct cli *cli, struct ask *ask)
{
    static const char *const heads[] = {">RANK", "NODE", ">SCORE", "WHY"};
    struct cli_table table;
    json_t *answer;
    size_t index;
    json_t *row;
    bool any = false;
    if (ask->id_given)
        set(ask, "id", json_string(ask->id));
    int code = cli_simple(cli, API_POST, "/v1/placement", json_incref(ask->body), &answer);
    if (answer == NULL)
        return code;
    const json_t *rows = json_object_get(answer, "nodes");
    cli_table_init(&table, heads, 4);
    json_array_foreach(rows, index, row)
    {
        bool fits = cli_flag(row, "fits");
        any = any || fits;
        if (fits) {
            cli_cell(&table, CLI_GREEN, "%lld", (long long)cli_number(row, "rank", 0));
            cli_cell(&table, CLI_BOLD, "%s", cli_text(row, "node"));
            cli_cell(&table, CLI_PLAIN, "%lld", (long long)cli_number(row, "score", 0));
        } else {
            cli_cell(&table, CLI_DIM, "-");
            cli_cell(&table, CLI_PLAIN, "%s", cli_text(row, "node"));
            cli_cell(&table, CLI_DIM, "-");
        }
        cli_cell(&table, fits ? CLI_PLAIN : CLI_YELLOW, "%s", cli_text(row, "reason"));
    }
    if (!cli->json)
        cli_table_print(cli, &table, stdout);
    else
        free(table.cells);
    json_decref(answer);
    if (!any && !cli->json)
        (void)fprintf(stderr, "No node can take it now.\n");
    return cli_finish(any ? CLI_OK : CLI_REFUSED);
}

static int run_or_ask(struct cli *cli, int argc, char **argv, bool question)
{
    struct ask ask = {.dry_run = question};
    struct ppn_request_id id;
    int code;
    cli_new_request_id(&id);
    ppn_request_id_text(&id, ask.id);
    if (!read_ask(cli, &ask, argc, argv))
        code = cli->exit;
    else
        code = ask.dry_run ? placement(cli, &ask) : run(cli, &ask);
    free_ask(&ask);
    return code;
}

int cmd_run(struct cli *cli, int argc, char **argv)
{
    return run_or_ask(cli, argc, argv, false);
}

int cmd_explain(struct cli *cli, int argc, char **argv)
{
    return run_or_ask(cli, argc, argv, true);
}
