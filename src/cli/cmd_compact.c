// SPDX-License-Identifier: ISC
#include <stdio.h>

#include "admission/checkpoint.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* Makes the log short again. Only keys that nobody outranks may: recovery keys from a drawer, or
 * root keys where the network was founded without any. */

enum { OPTION_RECOVERY = CLI_LONG, OPTION_KEY, OPTION_DRY_RUN };

struct compacting {
    struct cli_keys drawer, keys;
    bool dry_run;
};

static int option(struct cli *cli, struct compacting *asked, int letter)
{
    if (letter == OPTION_DRY_RUN)
        asked->dry_run = true;
    else if (!cli_keys_add(cli, letter == OPTION_KEY ? &asked->keys : &asked->drawer, optarg))
        return CLI_USAGE;
    return CLI_OK;
}

static int open_keys(struct cli *cli, const struct compacting *asked, struct cli_admin *admin)
{
    if (asked->drawer.count == 0 && !asked->dry_run)
        return cli_admin_open(cli, &asked->keys, admin);
    int code = cli_admin_open_log(cli, admin);
    return code == CLI_OK && !asked->dry_run ? cli_admin_open_drawer(cli, &asked->drawer, admin)
                                             : code;
}

static int tell(struct cli *cli, const struct compacting *asked, uint32_t kept, uint32_t dropped)
{
    if (cli->json) {
        cli_print_json(json_pack("{s:i, s:i, s:i, s:b}", "schema", 1, "kept", (int)kept, "dropped",
                                 (int)dropped, "done", (int)(!asked->dry_run && dropped > 0)));
        return CLI_OK;
    }
    if (dropped == 0)
        (void)printf("All %u entries are still needed: nothing to drop\n", kept);
    else if (asked->dry_run)
        (void)printf("It would keep %u entries of %u\n", kept, kept + dropped);
    else
        (void)printf("The log is closed: of %u entries %u are kept, and the members follow from "
                     "these. Nodes that are off now take them over when they are back\n",
                     kept + dropped, kept);
    return CLI_OK;
}

int cmd_compact(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"recovery", required_argument, NULL, OPTION_RECOVERY},
                                            {"key", required_argument, NULL, OPTION_KEY},
                                            {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                            CLI_COMMON_OPTIONS};
    struct compacting asked = {0};
    struct cli_admin admin;
    uint32_t kept = 0, dropped = 0;
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        code = option(cli, &asked, letter);
    if (code != CLI_OK || !cli_arguments(cli, argc, 0, 0))
        return code != CLI_OK ? code : cli->exit;
    if (asked.drawer.count > 0 && asked.keys.count > 0)
        return cli_usage(cli, "--recovery or --key: a network has recovery keys, or it has none");
    code = open_keys(cli, &asked, &admin);
    if (code == CLI_OK)
        admission_checkpoint_preview(admin.log, &kept, &dropped);
    if (code == CLI_OK && dropped > 0 && !asked.dry_run) {
        struct admission_entry entry = {.kind = ADMISSION_CHECKPOINT};
        code = cli_admin_sign(cli, &admin, &entry);
    }
    if (code == CLI_OK)
        code = tell(cli, &asked, kept, dropped);
    cli_admin_close(&admin);
    return cli_finish(code);
}
