// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admin/admin_key.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

/* The way back when a root key was lost or stolen: keys that were hashed into the founding entry,
 * and kept in a drawer, name new root keys. The old ones fall, with what nobody had seen of them;
 * protection is never switched off. */

enum { OPTION_RECOVERY = CLI_LONG, OPTION_ROOT, OPTION_NEXT, OPTION_CUT };

struct recovering {
    struct cli_keys drawer;
    struct admission_recover recover;
    struct admission_key next[ADMISSION_RECOVERY_MAX];
    uint32_t next_count;
};

static int compare_keys(const void *a, const void *b)
{
    return admission_key_compare(a, b);
}

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ppn_hash));
}

static int compare_cuts(const void *a, const void *b)
{
    return admission_key_compare(&((const struct admission_cut *)a)->key,
                                 &((const struct admission_cut *)b)->key);
}

static int cut_option(struct cli *cli, struct admission_recover *recover, char *text)
{
    char *colon = strchr(text, ':'), *end = NULL;
    struct admission_cut *cut = &recover->cuts[recover->cut_count];
    if (recover->cut_count == ADMISSION_CUTS_MAX)
        return cli_usage(cli, "at most %d cuts", ADMISSION_CUTS_MAX);
    if (colon != NULL) {
        *colon = '\0';
        cut->cut = strtoull(colon + 1, &end, 10);
    }
    if (colon == NULL || end == colon + 1 || *end != '\0' || !cli_parse_key(text, &cut->key))
        return cli_usage(cli, "--cut: the 64 digits of a root key, a colon, and the number of its "
                              "last entry that is trusted");
    recover->cut_count++;
    return CLI_OK;
}

static int option(struct cli *cli, struct recovering *asked, int letter)
{
    struct admission_recover *recover = &asked->recover;
    if (letter == OPTION_CUT)
        return cut_option(cli, recover, optarg);
    if (letter == OPTION_RECOVERY)
        return cli_keys_add(cli, &asked->drawer, optarg) ? CLI_OK : CLI_USAGE;
    bool root = letter == OPTION_ROOT;
    uint32_t *count = root ? &recover->root_count : &asked->next_count;
    uint32_t max = root ? ADMISSION_ROOTS_MAX : ADMISSION_RECOVERY_MAX;
    struct admission_key *key = root ? &recover->roots[*count] : &asked->next[*count];
    if (*count == max)
        return cli_usage(cli, "at most %u keys", max);
    if (!cli_parse_key(optarg, key))
        return cli_usage(cli, "a key is the line of 64 digits that \"ppn key show FILE\" prints");
    (*count)++;
    return CLI_OK;
}

int cli_admin_open_drawer(struct cli *cli, const struct cli_keys *keys, struct cli_admin *admin)
{
    struct ppn_failure why = {0};
    for (uint32_t i = 0; i < keys->count; i++) {
        enum ppn_error error =
            admin_key_read(keys->paths[i], cli_ask_passphrase, NULL, &admin->pairs[i], &why);
        if (error != PPN_OK)
            return cli_admin_failed(cli, error, &why);
        admin->signers[i] = admission_keypair_signer(&admin->pairs[i]);
        admin->count = i + 1;
    }
    return CLI_OK;
}

/* The next recovery keys: those named, or the same again, which the log knows by hash alone. */
static void fill(struct recovering *asked, const struct cli_admin *admin)
{
    struct admission_recover *recover = &asked->recover;
    if (asked->next_count == 0) {
        asked->next_count = admin->count;
        for (uint32_t i = 0; i < admin->count; i++)
            asked->next[i] = admin->pairs[i].key;
    }
    for (uint32_t i = 0; i < asked->next_count; i++)
        recover->recovery[i] = admission_recovery_hash(admission_crypto_sodium(), &asked->next[i]);
    recover->recovery_count = asked->next_count;
    recover->recovery_needed = 1;
    recover->root_needed = 1;
    recover->base = admission_roots_by(admin->log);
    qsort(recover->roots, recover->root_count, sizeof(recover->roots[0]), compare_keys);
    qsort(recover->cuts, recover->cut_count, sizeof(recover->cuts[0]), compare_cuts);
    qsort(recover->recovery, recover->recovery_count, sizeof(recover->recovery[0]), compare_hashes);
}

int cmd_recover(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"recovery", required_argument, NULL, OPTION_RECOVERY},
                                            {"root", required_argument, NULL, OPTION_ROOT},
                                            {"next", required_argument, NULL, OPTION_NEXT},
                                            {"cut", required_argument, NULL, OPTION_CUT},
                                            CLI_COMMON_OPTIONS};
    struct recovering asked = {0};
    struct cli_admin admin;
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        code = option(cli, &asked, letter);
    if (code != CLI_OK || !cli_arguments(cli, argc, 0, 0))
        return code != CLI_OK ? code : cli->exit;
    if (asked.drawer.count == 0 || asked.recover.root_count == 0)
        return cli_usage(cli, "name the recovery key and the new root key");
    code = cli_admin_open_log(cli, &admin);
    if (code == CLI_OK)
        code = cli_admin_open_drawer(cli, &asked.drawer, &admin);
    if (code == CLI_OK) {
        fill(&asked, &admin);
        struct admission_entry entry = {.kind = ADMISSION_RECOVER, .as.recover = asked.recover};
        code = cli_admin_sign(cli, &admin, &entry);
    }
    if (code == CLI_OK && !cli->json)
        (void)printf("The root key%s of this network %s new; the old fall with what they signed "
                     "and nobody had seen. See ppn admins\n",
                     asked.recover.root_count == 1 ? "" : "s",
                     asked.recover.root_count == 1 ? "is" : "are");
    cli_admin_close(&admin);
    return cli_finish(code);
}
