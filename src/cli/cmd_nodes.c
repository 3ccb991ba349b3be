// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli.h"
#include "cli/cli_print.h"

enum { TARGET_MAX = 512, NOTE_MAX = 160, OPTION_YES = CLI_LONG };

static const struct option plain_options[] = {CLI_COMMON_OPTIONS};

static void note(char text[static NOTE_MAX], const char *words)
{
    size_t size = strlen(text);
    (void)snprintf(text + size, NOTE_MAX - size, "%s%s", size > 0 ? ", " : "", words);
}

static void gather_notes(const json_t *node, char text[static NOTE_MAX])
{
    char words[64], label[2 * PPN_NAME_MAX + 2];
    const char *key;
    json_t *value;
    text[0] = '\0';
    if (cli_flag(node, "self"))
        note(text, "this node");
    if (cli_flag(node, "cordoned"))
        note(text, "cordoned");
    if (cli_flag(node, "relay"))
        note(text, "relay");
    if (strcmp(cli_text(node, "power"), "battery") == 0) {
        (void)snprintf(words, sizeof(words), "battery %lld%%",
                       (long long)cli_number(node, "battery_percent", 0));
        note(text, words);
    }
    if (cli_flag(node, "throttled"))
        note(text, "throttled");
    if (cli_number(node, "lease_until_unix_ms", 0) > 0) {
        char left[CLI_TEXT_MAX];
        cli_age_text(cli_number(node, "lease_until_unix_ms", 0) - cli_now_ms(), left);
        (void)snprintf(words, sizeof(words), "lease %s", left);
        note(text, words);
    }
    json_object_foreach(json_object_get(node, "labels"), key, value)
    {
        (void)snprintf(label, sizeof(label), "%s=%s", key, json_string_value(value));
        note(text, label);
    }
    if (cli_text(node, "state_detail")[0] != '\0')
        note(text, cli_text(node, "state_detail"));
}

static void add_node(struct cli_table *table, const json_t *node)
{
    char free_text[CLI_TEXT_MAX], total[CLI_TEXT_MAX], seen[CLI_TEXT_MAX] = "", notes[NOTE_MAX];
    const char *state = cli_text(node, "state"), *kvm = cli_text(node, "kvm");
    bool kvm_good = strcmp(kvm, "fast") == 0 || strcmp(kvm, "boots") == 0;
    cli_size_text((uint64_t)cli_number(node, "memory_free_bytes", 0), free_text);
    cli_size_text((uint64_t)cli_number(node, "memory_total_bytes", 0), total);
    if (cli_number(node, "seen_ms_ago", -1) >= 0)
        cli_age_text(cli_number(node, "seen_ms_ago", 0), seen);
    gather_notes(node, notes);
    cli_cell(table, CLI_BOLD, "%s", cli_text(node, "name"));
    cli_cell(table, cli_state_colour(state), "%s", state);
    cli_cell(table, kvm_good ? CLI_GREEN : CLI_YELLOW, "%s", kvm_good ? "yes" : kvm);
    cli_cell(table, CLI_PLAIN, "%lld", (long long)cli_number(node, "cpus", 0));
    cli_cell(table, CLI_PLAIN, "%s/%s", free_text, total);
    cli_cell(table, CLI_PLAIN, "%lld", (long long)cli_number(node, "vm_count", 0));
    cli_cell(table, CLI_PLAIN, "%s", cli_text(node, "path"));
    cli_cell(table, CLI_PLAIN, "%s", seen);
    cli_cell(table, CLI_PLAIN, "%s", cli_text(node, "address"));
    cli_cell(table, CLI_DIM, "%s", notes);
}

int cmd_nodes(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"NAME", "STATE", "KVM",   ">CPUS",   ">MEMORY FREE",
                                        ">VMS", "PATH",  ">SEEN", "ADDRESS", "NOTE"};
    struct cli_table table;
    json_t *answer, *node;
    size_t index;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_simple(cli, API_GET, "/v1/nodes", NULL, &answer);
    if (answer == NULL)
        return code;
    const json_t *nodes = json_object_get(answer, "nodes");
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    json_array_foreach(nodes, index, node)
    {
        add_node(&table, node);
    }
    if (!cli->json && json_array_size(nodes) > 0)
        cli_table_print(cli, &table, stdout);
    else
        free(table.cells);
    if (!cli->json && json_array_size(nodes) == 0)
        (void)fprintf(stderr, "This machine is in no network yet. Start one with \"ppn-node "
                              "--found NAME\" or join one with \"ppn-node --seed HOST\".\n");
    if (!cli->json && cli->terminal && json_array_size(nodes) == 1)
        (void)fprintf(stderr, "Alone so far. On another machine: \"ppn-node --seed THIS-HOST\"; "
                              "then here \"ppn joins\" and \"ppn admit NAME\".\n");
    json_decref(answer);
    return cli_finish(CLI_OK);
}

static void line(const struct cli *cli, const char *name, const char *value)
{
    char clean[CLI_CELL_MAX + 1];
    if (value[0] == '\0')
        return;
    (void)snprintf(clean, sizeof(clean), "%s", value);
    cli_clean(clean);
    (void)printf("%s%-10s%s %s\n", cli_colour(cli, CLI_DIM), name, cli_colour(cli, CLI_PLAIN),
                 clean);
}

static void milliseconds(int64_t us, char text[static CLI_TEXT_MAX])
{
    text[0] = '\0';
    if (us >= 0)
        (void)snprintf(text, CLI_TEXT_MAX, "%lld.%lld ms", (long long)(us / 1000),
                       (long long)(us % 1000 / 100));
}

static void percent(int64_t per_mille, char text[static CLI_TEXT_MAX])
{
    text[0] = '\0';
    if (per_mille >= 0)
        (void)snprintf(text, CLI_TEXT_MAX, "%lld.%lld %%", (long long)(per_mille / 10),
                       (long long)(per_mille % 10));
}

static void age_line(const struct cli *cli, const json_t *answer, const char *key, const char *name)
{
    char age[CLI_TEXT_MAX], text[CLI_TEXT_MAX + 8];
    int64_t ms = cli_number(answer, key, -1);
    if (ms < 0)
        return;
    cli_age_text(ms, age);
    (void)snprintf(text, sizeof(text), "%s%s", age, strcmp(age, "now") == 0 ? "" : " ago");
    line(cli, name, text);
}

/* All that was tried. */
static void print_ways(const struct cli *cli, const json_t *ways)
{
    static const char *const heads[] = {"TRIED",       "VIA",   "ENDPOINT",
                                        ">ROUND TRIP", ">LOSS", "RESULT"};
    struct cli_table table;
    size_t index;
    json_t *way;
    if (json_array_size(ways) == 0)
        return;
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    json_array_foreach(ways, index, way)
    {
        char rtt[CLI_TEXT_MAX], loss[CLI_TEXT_MAX];
        bool used = strcmp(cli_text(way, "state"), "used") == 0;
        milliseconds(cli_number(way, "round_trip_us", -1), rtt);
        percent(cli_number(way, "loss_per_mille", -1), loss);
        cli_cell(&table, used ? CLI_GREEN : CLI_PLAIN, "%s", cli_text(way, "path"));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(way, "relay"));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(way, "endpoint"));
        cli_cell(&table, CLI_PLAIN, "%s", rtt);
        cli_cell(&table, CLI_PLAIN, "%s", loss);
        cli_cell(&table, used ? CLI_GREEN : CLI_DIM, "%s", cli_text(way, "reason"));
    }
    (void)printf("\n");
    cli_table_print(cli, &table, stdout);
}

int cmd_why(struct cli *cli, int argc, char **argv)
{
    char target[TARGET_MAX], text[CLI_TEXT_MAX];
    json_t *answer;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    if (!cli_target(target, sizeof(target), "nodes", argv[optind], "/path"))
        return cli_usage(cli, "the name is too long");
    int code = cli_simple(cli, API_GET, target, NULL, &answer);
    if (answer == NULL || cli->json)
        goto out;
    line(cli, "node", cli_text(answer, "node"));
    line(cli, "path", cli_text(answer, "path"));
    line(cli, "relay", cli_text(answer, "relay"));
    line(cli, "endpoint", cli_text(answer, "endpoint"));
    age_line(cli, answer, "since_ms_ago", "since");
    age_line(cli, answer, "handshake_ms_ago", "handshake");
    milliseconds(cli_number(answer, "round_trip_us", -1), text);
    line(cli, "round trip", text);
    percent(cli_number(answer, "loss_per_mille", -1), text);
    line(cli, "loss", text);
    if (cli_number(answer, "mtu", 0) > 0) {
        (void)snprintf(text, sizeof(text), "%lld bytes", (long long)cli_number(answer, "mtu", 0));
        line(cli, "carries", text);
    }
    line(cli, "why", cli_text(answer, "reason"));
    line(cli, "to do", cli_text(answer, "advice"));
    print_ways(cli, json_object_get(answer, "ways"));
out:
    json_decref(answer);
    return cli_finish(code);
}

static int cordon(struct cli *cli, int argc, char **argv, const char *rest, const char *done)
{
    char target[TARGET_MAX];
    json_t *answer;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    if (!cli_target(target, sizeof(target), "nodes", argv[optind], rest))
        return cli_usage(cli, "the name is too long");
    int code = cli_simple(cli, API_POST, target, NULL, &answer);
    if (answer != NULL && !cli->json)
        (void)printf("%s %s\n", argv[optind], done);
    json_decref(answer);
    return cli_finish(code);
}

int cmd_cordon(struct cli *cli, int argc, char **argv)
{
    return cordon(cli, argc, argv, "/cordon", "takes no new VMs");
}

int cmd_uncordon(struct cli *cli, int argc, char **argv)
{
    return cordon(cli, argc, argv, "/uncordon", "takes new VMs again");
}

int cmd_set(struct cli *cli, int argc, char **argv)
{
    char *key, *value;
    json_t *answer, *body = json_object();
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 1, PPN_LABELS_MAX)) {
        json_decref(body);
        return cli->exit;
    }
    for (int i = optind; i < argc; i++) {
        if (!cli_split_pair(argv[i], &key, &value)) {
            json_decref(body);
            return cli_usage(cli, "write KEY=VALUE, or KEY= to remove it");
        }
        (void)json_object_set_new(body, key, value[0] != '\0' ? json_string(value) : json_null());
    }
    int code = cli_simple(cli, API_PATCH, "/v1/labels", body, &answer);
    if (answer != NULL && !cli->json)
        (void)printf("labels of this node changed\n");
    json_decref(answer);
    return cli_finish(code);
}

int cmd_rekey(struct cli *cli, int argc, char **argv)
{
    json_t *answer;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_simple(cli, API_POST, "/v1/rekey", NULL, &answer);
    if (answer != NULL && !cli->json)
        (void)printf("%s\n", cli_text(answer, "message"));
    json_decref(answer);
    return cli_finish(code);
}

int cmd_leave(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"yes", no_argument, NULL, OPTION_YES},
                                            CLI_COMMON_OPTIONS};
    bool yes = false;
    json_t *answer;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        yes = yes || letter == OPTION_YES;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    if (!yes) {
        (void)fprintf(stderr, "ppn leave: this node would tell the others that it goes, and take "
                              "no part until ppn-node starts again. Say --yes to do it.\n");
        return CLI_USAGE;
    }
    int code = cli_simple(cli, API_POST, "/v1/leave", NULL, &answer);
    if (answer != NULL && !cli->json)
        (void)printf("left\n");
    json_decref(answer);
    return cli_finish(code);
}
