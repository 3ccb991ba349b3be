// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admission/explain.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

enum {
    TARGET_MAX = 512,
    OPTION_ROLE = CLI_LONG,
    OPTION_LABEL,
    OPTION_USES,
    OPTION_TTL,
    OPTION_REASON,
    OPTION_VERIFY,
    OPTION_EXPORT,
    OPTION_KEY,
    OPTION_VMS,
    OPTION_INVITE,
    OPTION_LEASE
};

static const struct option plain_options[] = {CLI_COMMON_OPTIONS};

int cmd_joins(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"NAME",  "FINGERPRINT", "WORDS", "FROM", ">WAITS",
                                        ">CPUS", ">MEMORY",     "KVM",   "NOTE"};
    struct cli_table table;
    json_t *answer, *join;
    size_t index;
    while (cli_getopt(cli, argc, argv, "h", plain_options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_simple(cli, API_GET, "/v1/joins", NULL, &answer);
    if (answer == NULL)
        return code;
    const json_t *joins = json_object_get(answer, "joins");
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    json_array_foreach(joins, index, join)
    {
        char age[CLI_TEXT_MAX], memory[CLI_TEXT_MAX];
        cli_age_text(cli_now_ms() - cli_number(join, "asked_unix_ms", 0), age);
        cli_size_text((uint64_t)cli_number(join, "memory_total_bytes", 0), memory);
        cli_cell(&table, CLI_BOLD, "%s", cli_text(join, "name"));
        cli_cell(&table, CLI_CYAN, "%s", cli_text(join, "fingerprint"));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(join, "words"));
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(join, "address"));
        cli_cell(&table, CLI_PLAIN, "%s", age);
        cli_cell(&table, CLI_PLAIN, "%lld", (long long)cli_number(join, "cpus", 0));
        cli_cell(&table, CLI_PLAIN, "%s", memory);
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(join, "kvm"));
        cli_cell(&table, CLI_YELLOW, "%s",
                 cli_flag(join, "lease_ended") ? "a member whose lease ended" : "");
    }
    if (!cli->json && json_array_size(joins) > 0) {
        cli_table_print(cli, &table, stdout);
        (void)fprintf(stderr, "Compare the words with those that machine shows, then "
                              "\"ppn admit NAME\" (or \"ppn deny NAME\").\n");
    } else {
        free(table.cells);
    }
    if (!cli->json && json_array_size(joins) == 0)
        (void)fprintf(stderr, "Nobody is waiting. A machine asks with \"ppn-node --seed HOST\".\n");
    json_decref(answer);
    return cli_finish(CLI_OK);
}

/* A body with optional "role", "lease_seconds" and "labels". */
static int add_option(struct cli *cli, json_t *body, int letter)
{
    char *key, *value;
    uint32_t seconds;
    if (letter == OPTION_LEASE) {
        if (!cli_parse_seconds(optarg, &seconds) || seconds == 0 || seconds > API_LEASE_SECONDS_MAX)
            return cli_usage(cli, "--lease: a time from 1s to 3650d, for example 90d");
        (void)json_object_set_new(body, "lease_seconds", json_integer(seconds));
        return CLI_OK;
    }
    if (letter == OPTION_ROLE)
        return json_object_set_new(body, "role", json_string(optarg)) == 0 ? CLI_OK : CLI_USAGE;
    if (!cli_split_pair(optarg, &key, &value))
        return cli_usage(cli, "--label: write KEY=VALUE");
    json_t *labels = json_object_get(body, "labels");
    if (labels == NULL) {
        labels = json_object();
        (void)json_object_set_new(body, "labels", labels);
    }
    return json_object_set_new(labels, key, json_string(value)) == 0 ? CLI_OK : CLI_USAGE;
}

static int decide(struct cli *cli, const char *who, const char *folder, const char *rest,
                  json_t *body, const char *done)
{
    char target[TARGET_MAX];
    json_t *answer;
    if (!cli_target(target, sizeof(target), folder, who, rest)) {
        json_decref(body);
        return cli_usage(cli, "the name is too long");
    }
    int code = cli_simple(cli, API_POST, target, body, &answer);
    const json_t *node = json_object_get(answer, "node");
    if (answer != NULL && !cli->json) {
        const char *name = cli_text(node, "name");
        (void)printf("%s %s", name[0] != '\0' ? name : who, done);
        if (cli_text(node, "fingerprint")[0] != '\0')
            (void)printf(" (%s)", cli_text(node, "fingerprint"));
        (void)printf("\n");
    }
    json_decref(answer);
    return cli_finish(code);
}

int cmd_admit(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"role", required_argument, NULL, OPTION_ROLE},
                                            {"label", required_argument, NULL, OPTION_LABEL},
                                            {"lease", required_argument, NULL, OPTION_LEASE},
                                            {"key", required_argument, NULL, OPTION_KEY},
                                            CLI_COMMON_OPTIONS};
    struct cli_keys keys = {0};
    json_t *body = json_object();
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        if (letter == OPTION_KEY)
            code = cli_keys_add(cli, &keys, optarg) ? CLI_OK : CLI_USAGE;
        else
            code = add_option(cli, body, letter);
    }
    if (code != CLI_OK || !cli_arguments(cli, argc, 1, 1)) {
        json_decref(body);
        return code != CLI_OK ? code : cli->exit;
    }
    if (cli_signs_here(cli, &keys))
        return cli_finish(cli_sign_admit(cli, &keys, argv[optind], body));
    return decide(cli, argv[optind], "joins", "/admit", body, "is admitted");
}

int cmd_deny(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            CLI_COMMON_OPTIONS};
    struct cli_keys keys = {0};
    while (cli_getopt(cli, argc, argv, "h", options) == OPTION_KEY) {
        if (!cli_keys_add(cli, &keys, optarg))
            return CLI_USAGE;
    }
    if (!cli_arguments(cli, argc, 1, 1))
        return cli->exit;
    if (cli_signs_here(cli, &keys))
        return cli_finish(cli_sign_deny(cli, &keys, argv[optind]));
    return decide(cli, argv[optind], "joins", "/deny", NULL, "is denied");
}

int cmd_revoke(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"reason", required_argument, NULL, OPTION_REASON},
                                            {"key", required_argument, NULL, OPTION_KEY},
                                            {"vms", required_argument, NULL, OPTION_VMS},
                                            {"invite", required_argument, NULL, OPTION_INVITE},
                                            CLI_COMMON_OPTIONS};
    const char *reason = "", *vms = NULL, *invite = NULL;
    struct cli_keys keys = {0};
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        reason = letter == OPTION_REASON ? optarg : reason;
        vms = letter == OPTION_VMS ? optarg : vms;
        invite = letter == OPTION_INVITE ? optarg : invite;
        if (letter == OPTION_KEY && !cli_keys_add(cli, &keys, optarg))
            return CLI_USAGE;
    }
    if (!cli_arguments(cli, argc, invite == NULL, invite == NULL))
        return cli->exit;
    if (invite != NULL && vms != NULL)
        return cli_usage(cli, "--vms is for members, not for an invite");
    if (invite != NULL)
        return cli_finish(cli_close_invite(cli, &keys, invite, reason));
    if (vms != NULL && strcmp(vms, "keep") != 0 && strcmp(vms, "stop") != 0 &&
        strcmp(vms, "kill") != 0)
        return cli_usage(cli, "--vms: keep, stop or kill, not \"%s\"", vms);
    int code = cli_settle_vms(cli, argv[optind], vms);
    if (code != CLI_OK)
        return cli_finish(code);
    if (cli_signs_here(cli, &keys))
        return cli_finish(cli_sign_revoke(cli, &keys, argv[optind], reason));
    json_t *body = json_object();
    if (reason[0] != '\0')
        (void)json_object_set_new(body, "reason", json_string(reason));
    return decide(cli, argv[optind], "nodes", "/revoke", body,
                  "is revoked; its identity never comes back");
}

static int invite_option(struct cli *cli, json_t *body, int letter)
{
    uint32_t number;
    if (letter == OPTION_USES) {
        if (!cli_parse_count(optarg, 1, API_INVITE_USES_MAX, &number))
            return cli_usage(cli, "--uses: a number from 1 to %d", API_INVITE_USES_MAX);
        (void)json_object_set_new(body, "uses", json_integer(number));
        return CLI_OK;
    }
    if (letter == OPTION_TTL) {
        if (!cli_parse_seconds(optarg, &number) || number == 0 || number > API_TTL_SECONDS_MAX)
            return cli_usage(cli, "--ttl: a time from 1s to 30d, for example 1h");
        (void)json_object_set_new(body, "ttl_seconds", json_integer(number));
        return CLI_OK;
    }
    return add_option(cli, body, letter);
}

int cmd_invite(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"uses", required_argument, NULL, OPTION_USES},
                                            {"ttl", required_argument, NULL, OPTION_TTL},
                                            {"role", required_argument, NULL, OPTION_ROLE},
                                            {"label", required_argument, NULL, OPTION_LABEL},
                                            {"lease", required_argument, NULL, OPTION_LEASE},
                                            {"key", required_argument, NULL, OPTION_KEY},
                                            CLI_COMMON_OPTIONS};
    json_t *answer = NULL, *body = json_object();
    struct cli_keys keys = {0};
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        if (letter == OPTION_KEY)
            code = cli_keys_add(cli, &keys, optarg) ? CLI_OK : CLI_USAGE;
        else
            code = invite_option(cli, body, letter);
    }
    if (code != CLI_OK || !cli_arguments(cli, argc, 0, 0)) {
        json_decref(body);
        return code != CLI_OK ? code : cli->exit;
    }
    code = cli_signs_here(cli, &keys) ? cli_sign_invite(cli, &keys, body, &answer)
                                      : cli_simple(cli, API_POST, "/v1/invites", body, &answer);
    if (answer != NULL && !cli->json) {
        char left[CLI_TEXT_MAX];
        cli_age_text(cli_number(answer, "expires_unix_ms", 0) - cli_now_ms(), left);
        (void)printf("%s\n", cli_text(answer, "token"));
        (void)fflush(stdout);
        (void)fprintf(stderr,
                      "Invite %s, good for %lld use%s and %s. Whoever has it gets in: hand it over "
                      "privately. On the other machine: ppn-node --token TOKEN\n",
                      cli_text(answer, "id"), (long long)cli_number(answer, "uses", 1),
                      cli_number(answer, "uses", 1) == 1 ? "" : "s", left);
    }
    json_decref(answer);
    return cli_finish(code);
}

/* ---- log ---- */

static int print_log(struct cli *cli, const json_t *answer)
{
    static const char *const heads[] = {"TIME", "ENTRY", "KIND", "BY", "WHAT"};
    struct cli_table table;
    size_t index;
    json_t *entry;
    const json_t *verdict = json_object_get(answer, "verdict");
    cli_table_init(&table, heads, 5);
    json_array_foreach(json_object_get(answer, "entries"), index, entry)
    {
        char when[32] = "";
        time_t seconds = (time_t)(cli_number(entry, "time_unix_ms", 0) / 1000);
        struct tm parts;
        if (localtime_r(&seconds, &parts) != NULL)
            (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
        bool effective = cli_flag(entry, "effective");
        const char *author = cli_text(entry, "author_name");
        char key[20];
        (void)snprintf(key, sizeof(key), "key %.4s-%.4s", cli_text(entry, "author"),
                       cli_text(entry, "author") + strnlen(cli_text(entry, "author"), 4));
        cli_cell(&table, CLI_DIM, "%s", when);
        cli_cell(&table, CLI_CYAN, "%.12s", cli_text(entry, "id"));
        cli_cell(&table, effective ? CLI_BOLD : CLI_DIM, "%s", cli_text(entry, "kind"));
        cli_cell(&table, CLI_PLAIN, "%.20s", author[0] != '\0' ? author : key);
        cli_cell(&table, effective ? CLI_PLAIN : CLI_DIM, "%s%s",
                 cli_text(entry, "text")[0] != '\0' ? cli_text(entry, "text")
                                                    : cli_text(entry, "subject"),
                 effective ? "" : " (overruled)");
    }
    cli_table_print(cli, &table, stdout);
    if (verdict != NULL)
        (void)printf("%s%s%s: %s\n",
                     cli_colour(cli, cli_flag(verdict, "valid") ? CLI_GREEN : CLI_RED),
                     cli_flag(verdict, "valid") ? "valid" : "NOT VALID", cli_colour(cli, CLI_PLAIN),
                     cli_text(verdict, "text"));
    return CLI_OK;
}

static bool on_export(void *context, struct ppn_slice bytes)
{
    return fwrite(bytes.data, 1, bytes.size, context) == bytes.size;
}

static int export_log(struct cli *cli, const char *path)
{
    struct api_client_failure failure;
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *file = to_stdout ? stdout : fopen(path, "wxe");
    if (file == NULL) {
        (void)fprintf(stderr, "ppn log: cannot make %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    struct api_client_call call = {
        .method = API_GET, .target = "/v1/log/export", .context = file, .on_bytes = on_export};
    enum ppn_error error = api_client_do(cli_api(cli), &call, NULL, &failure);
    bool written = to_stdout ? fflush(file) == 0 : fclose(file) == 0;
    if (error != PPN_OK) {
        if (!to_stdout)
            (void)unlink(path);
        return cli_failed(cli, &failure);
    }
    if (!written)
        (void)fprintf(stderr, "ppn log: cannot write %s: %s\n", path, strerror(errno));
    return written ? CLI_OK : CLI_FAILED;
}

static int audit(struct cli *cli, const char *who)
{
    static struct admission_audit story;
    struct cli_admin admin;
    struct ppn_node_id id;
    int code = cli_admin_open_log(cli, &admin);
    enum ppn_error error = PPN_ERROR_NOT_FOUND;
    if (code == CLI_OK && cli_log_node(admin.log, who, &id))
        error = admission_audit_node(admin.log, &id, &story);
    if (code == CLI_OK && error != PPN_OK) {
        (void)fprintf(stderr, "ppn log: the log names no node \"%s\"; see ppn log\n", who);
        code = CLI_NOT_FOUND;
    }
    for (uint32_t i = 0; code == CLI_OK && i < story.count; i++) {
        char when[32] = "";
        time_t seconds = (time_t)(story.lines[i].time_unix_ms / 1000);
        struct tm parts;
        if (localtime_r(&seconds, &parts) != NULL)
            (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
        json_t *line =
            json_pack("{s:I, s:s}", "time_unix_ms", (json_int_t)story.lines[i].time_unix_ms, "text",
                      story.lines[i].text);
        if (cli->json)
            (void)json_dumpf(line, stdout, JSON_COMPACT);
        else
            (void)printf("%s%s%s  %s", cli_colour(cli, CLI_DIM), when, cli_colour(cli, CLI_PLAIN),
                         story.lines[i].text);
        (void)printf("\n");
        json_decref(line);
    }
    if (code == CLI_OK && story.cut)
        (void)fprintf(stderr, "There is more; ppn log --json has all of it.\n");
    cli_admin_close(&admin);
    return code;
}

int cmd_log(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"verify", no_argument, NULL, OPTION_VERIFY},
                                            {"export", required_argument, NULL, OPTION_EXPORT},
                                            CLI_COMMON_OPTIONS};
    const char *file = NULL;
    bool verify = false;
    json_t *answer;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        verify = verify || letter == OPTION_VERIFY;
        file = letter == OPTION_EXPORT ? optarg : file;
    }
    if (optind < argc && strcmp(argv[optind], "audit") == 0 && !verify && file == NULL) {
        if (!cli_arguments(cli, argc, 2, 2))
            return cli->exit;
        return cli_finish(audit(cli, argv[optind + 1]));
    }
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    if (file != NULL)
        return cli_finish(export_log(cli, file));
    int code = cli_simple(cli, API_GET, verify ? "/v1/log?verify=1" : "/v1/log", NULL, &answer);
    if (answer == NULL)
        return code;
    if (!cli->json)
        code = print_log(cli, answer);
    if (verify && !cli_flag(json_object_get(answer, "verdict"), "valid"))
        code = CLI_PROBLEMS;
    json_decref(answer);
    return cli_finish(code);
}
