// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli_authority.h"
#include "cli/cli_print.h"

enum { OPTION_VM = CLI_LONG, OPTION_OPERATOR };

static bool is_zero(const struct admission_key *key)
{
    return sodium_is_zero(key->bytes, sizeof(key->bytes)) == 1;
}

static void print_key(const char *what, const struct admission_key *key)
{
    char print[PPN_FINGERPRINT_TEXT];
    struct ppn_node_id id = admission_key_node(key);
    ppn_fingerprint(&id, print);
    (void)printf("%-9s %s\n", what, is_zero(key) ? "none yet" : print);
}

static int show(struct cli *cli, const char *vm)
{
    struct cli_authority *authority = NULL;
    int code = cli_authority_open(cli, vm, &authority);
    if (code == CLI_OK) {
        print_key("key", cli_authority_key(authority));
        print_key("operator", cli_authority_operator(authority));
    }
    cli_authority_close(authority);
    return code;
}

/* The VM's key comes in with all powers, seals, and only then the founder's key goes. */
static int hand_over(struct cli *cli, struct cli_admin *founder, const char *vm,
                     const struct admission_key *key)
{
    struct admission_key old = founder->pairs[0].key;
    const struct admission_admin *known = admission_admin_by_key(founder->log, key);
    struct admission_entry add = {.kind = ADMISSION_ADMIN_ADD};
    struct admission_entry retire = {.kind = ADMISSION_ADMIN_REMOVE};
    add.as.admin_add.key = *key;
    add.as.admin_add.powers = ADMISSION_POWERS_ALL;
    (void)ppn_text_copy(add.as.admin_add.name, sizeof(add.as.admin_add.name), vm);
    retire.as.admin_remove.key = old;
    (void)ppn_text_copy(retire.as.admin_remove.reason, sizeof(retire.as.admin_remove.reason),
                        "the authority moved into a VM");
    int code = known != NULL && known->live ? CLI_OK : cli_admin_sign(cli, founder, &add);
    return code == CLI_OK ? cli_admin_sign(cli, founder, &retire) : code;
}

/* A lost VM must not be the end of the network: some other root key has to be in force. */
static bool has_spare(const struct cli_admin *founder, const struct admission_key *vm)
{
    for (uint32_t i = 0; i < admission_admin_count(founder->log); i++) {
        const struct admission_admin *admin = admission_admin_at(founder->log, i);
        if (admin->live && (admin->powers & ADMISSION_POWER_ROOT) != 0 &&
            !admission_key_equal(&admin->key, vm) &&
            !admission_key_equal(&admin->key, &founder->pairs[0].key))
            return true;
    }
    return false;
}

static int move(struct cli *cli, const char *vm, const char *path)
{
    static const struct cli_keys own_key;
    struct admission_key key;
    struct ppn_failure why = {0};
    struct cli_authority *authority = NULL;
    struct cli_admin founder;
    struct ppn_hash network;
    bool locked;
    enum ppn_error error = admin_key_public(path, &key, &locked, &why);
    if (error != PPN_OK)
        return cli_admin_failed(cli, error, &why);
    int code = cli_admin_open(cli, &own_key, &founder);
    if (code == CLI_OK)
        code = cli_authority_open(cli, vm, &authority);
    if (code == CLI_OK && !has_spare(&founder, cli_authority_key(authority))) {
        (void)fprintf(stderr, "ppn authority: should the VM be lost, nobody could admit any more; "
                              "first make a key that is kept elsewhere (ppn key new FILE) and add "
                              "it: ppn admin add spare KEY --may admit,revoke,admin,seal,root\n");
        code = CLI_REFUSED;
    }
    if (code == CLI_OK) {
        network = admission_record_at(founder.log, 0).id;
        code = cli_authority_own(cli, authority, &network, &key);
    }
    if (code == CLI_OK)
        code = hand_over(cli, &founder, vm, cli_authority_key(authority));
    if (code == CLI_OK && !cli->json)
        (void)printf("The authority is in %s now, and obeys the key in %s alone:\n"
                     "  ppn admit NAME --key vm:%s:%s\n",
                     vm, path, vm, path);
    cli_authority_close(authority);
    cli_admin_close(&founder);
    return code;
}

int cmd_authority(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"to-vm", required_argument, NULL, OPTION_VM},
                                            {"operator", required_argument, NULL, OPTION_OPERATOR},
                                            CLI_COMMON_OPTIONS};
    const char *vm = NULL, *path = NULL;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        vm = letter == OPTION_VM ? optarg : vm;
        path = letter == OPTION_OPERATOR ? optarg : path;
    }
    if (!cli_arguments(cli, argc, 1, 2))
        return cli->exit;
    int left = argc - optind;
    if (strcmp(argv[optind], "show") == 0 && left == 2)
        return cli_finish(show(cli, argv[optind + 1]));
    if (strcmp(argv[optind], "move") == 0 && left == 1 && vm != NULL && path != NULL)
        return cli_finish(move(cli, vm, path));
    return cli_usage(cli, "show VM, or move --to-vm VM --operator FILE");
}
