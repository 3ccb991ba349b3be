// SPDX-License-Identifier: ISC
#include <string.h>

#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* How many keys must sign what, and seals: entries that close what was before them. */

enum {
    OPTION_KEY = CLI_LONG,
    OPTION_ADMIT,
    OPTION_REVOKE,
    OPTION_ADMIN,
    OPTION_ROOT,
    OPTION_GRACE,
    OPTION_DELAY,
    OPTION_RENEW,
    NUMBERS = OPTION_DELAY - OPTION_ADMIT + 1,
    SEALS_MAX = 1000, /* that a policy may ask to wait */
    WAITING_MAX = 8
};

static void print_json(const struct admission_policy *policy, const char *more)
{
    (void)printf("{%s\"admit\":%u,\"revoke\":%u,\"admin\":%u,\"root\":%u,\"grace\":%u,"
                 "\"delay\":%u,\"version\":%u",
                 more, policy->admit, policy->revoke, policy->admin, policy->root, policy->grace,
                 policy->delay, policy->version);
}

static void print_words(const struct admission_policy *policy)
{
    (void)printf("To admit, deny and invite:       %u key%s\n", policy->admit,
                 policy->admit == 1 ? "" : "s");
    (void)printf("To revoke a node or an invite:   %u\n", policy->revoke);
    (void)printf("To add and remove admins:        %u\n", policy->admin);
    (void)printf("To change this, and root keys:   %u\n", policy->root);
    (void)printf("Seals a removed admin may miss:  %u\n", policy->grace);
    (void)printf("Seals until a change rules:      %u\n", policy->delay);
}

static void print_policy(const struct cli *cli, const struct admission *log)
{
    struct admission_policy_waiting waiting[WAITING_MAX];
    struct admission_policy policy = admission_policy_now(log);
    uint32_t count = admission_policy_waiting(log, waiting, WAITING_MAX);
    char more[64];
    if (cli->json) {
        print_json(&policy, "\"schema\":1,");
        (void)printf(",\"waiting\":[");
        for (uint32_t i = 0; i < count; i++) {
            (void)snprintf(more, sizeof(more), "\"seals\":%llu,",
                           (unsigned long long)waiting[i].seals);
            (void)printf("%s", i > 0 ? "," : "");
            print_json(&waiting[i].policy, more);
            (void)printf("}");
        }
        (void)printf("]}\n");
        return;
    }
    print_words(&policy);
    for (uint32_t i = 0; i < count; i++) {
        (void)printf("\nSigned, and in force after %llu more seal%s (ppn seal); until then the "
                     "recovery keys can undo it:\n",
                     (unsigned long long)waiting[i].seals, waiting[i].seals == 1 ? "" : "s");
        print_words(&waiting[i].policy);
    }
}

struct policy_options {
    struct cli_keys keys;
    bool given[NUMBERS];
    uint32_t wanted[NUMBERS];
    bool change;
};

static int policy_option(struct cli *cli, struct policy_options *asked, int letter)
{
    if (letter == OPTION_KEY)
        return cli_keys_add(cli, &asked->keys, optarg) ? CLI_OK : CLI_USAGE;
    bool seals = letter == OPTION_GRACE || letter == OPTION_DELAY;
    uint32_t min = seals ? 0 : 1, max = seals ? SEALS_MAX : ADMISSION_SIGNATURES_MAX;
    int at = letter - OPTION_ADMIT;
    if (!cli_parse_count(optarg, min, max, &asked->wanted[at]))
        return cli_usage(cli, "\"%s\" is no number from %u to %u", optarg, min, max);
    asked->given[at] = asked->change = true;
    return CLI_OK;
}

int cmd_policy(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            {"admit", required_argument, NULL, OPTION_ADMIT},
                                            {"revoke", required_argument, NULL, OPTION_REVOKE},
                                            {"admin", required_argument, NULL, OPTION_ADMIN},
                                            {"root", required_argument, NULL, OPTION_ROOT},
                                            {"grace", required_argument, NULL, OPTION_GRACE},
                                            {"delay", required_argument, NULL, OPTION_DELAY},
                                            CLI_COMMON_OPTIONS};
    struct policy_options asked = {.change = false};
    struct cli_admin admin;
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        code = policy_option(cli, &asked, letter);
    if (code != CLI_OK || !cli_arguments(cli, argc, 0, 0))
        return code != CLI_OK ? code : cli->exit;
    code =
        asked.change ? cli_admin_open(cli, &asked.keys, &admin) : cli_admin_open_log(cli, &admin);
    if (code == CLI_OK && asked.change) {
        struct admission_entry entry = {.kind = ADMISSION_POLICY,
                                        .as.policy = admission_policy_now(admin.log)};
        uint32_t *fields[NUMBERS] = {&entry.as.policy.admit, &entry.as.policy.revoke,
                                     &entry.as.policy.admin, &entry.as.policy.root,
                                     &entry.as.policy.grace, &entry.as.policy.delay};
        for (size_t i = 0; i < NUMBERS; i++)
            *fields[i] = asked.given[i] ? asked.wanted[i] : *fields[i];
        code = cli_admin_sign(cli, &admin, &entry);
    }
    if (code == CLI_OK)
        print_policy(cli, admin.log);
    cli_admin_close(&admin);
    return cli_finish(code);
}

/* Leases end as they were given unless the seal renews them. */
int cmd_seal(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            {"renew", required_argument, NULL, OPTION_RENEW},
                                            CLI_COMMON_OPTIONS};
    struct admission_entry entry = {.kind = ADMISSION_SEAL};
    struct cli_keys keys = {0};
    struct cli_admin admin;
    uint32_t renew_s = 0;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        if (letter == OPTION_KEY && !cli_keys_add(cli, &keys, optarg))
            return CLI_USAGE;
        if (letter == OPTION_RENEW && (!cli_parse_seconds(optarg, &renew_s) || renew_s == 0))
            return cli_usage(cli, "\"%s\" is no time such as 12h or 30d", optarg);
    }
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_admin_open(cli, &keys, &admin);
    if (code == CLI_OK) {
        entry.as.seal_of.renew_unix_ms = renew_s == 0 ? 0 : cli_now_ms() + (int64_t)renew_s * 1000;
        code = cli_admin_sign(cli, &admin, &entry);
    }
    if (code == CLI_OK && !cli->json)
        (void)printf("Sealed: entry %llu of the seals closes all that came before it\n",
                     (unsigned long long)entry.as.seal_of.number);
    cli_admin_close(&admin);
    return cli_finish(code);
}
