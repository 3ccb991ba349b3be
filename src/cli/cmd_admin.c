// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli_admin.h"
#include "cli/cli_print.h"

enum { OPTION_KEY = CLI_LONG, OPTION_POWERS, OPTION_CUT, OPTION_REASON, POWERS_TEXT = 64 };

static const struct {
    const char *name;
    uint32_t power;
} powers[] = {{"admit", ADMISSION_POWER_ADMIT},
              {"revoke", ADMISSION_POWER_REVOKE},
              {"admin", ADMISSION_POWER_ADMIN},
              {"seal", ADMISSION_POWER_SEAL},
              {"root", ADMISSION_POWER_ROOT}};

enum { POWERS = sizeof(powers) / sizeof(powers[0]) };

static void powers_text(uint32_t set, char text[static POWERS_TEXT])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < POWERS; i++) {
        if ((set & powers[i].power) != 0)
            used += (size_t)snprintf(text + used, POWERS_TEXT - used, "%s%s", used > 0 ? "," : "",
                                     powers[i].name);
    }
}

static bool parse_powers(const char *text, uint32_t *set)
{
    *set = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        uint32_t before = *set;
        for (size_t i = 0; i < POWERS; i++) {
            if (strlen(powers[i].name) == size && memcmp(text, powers[i].name, size) == 0)
                *set |= powers[i].power;
        }
        if (*set == before)
            return false;
        text += size + (text[size] == ',');
    }
    return *set != 0;
}

static void fingerprint(const struct admission_key *key, char text[static PPN_FINGERPRINT_TEXT])
{
    struct ppn_node_id id = admission_key_node(key);
    ppn_fingerprint(&id, text);
}

/* ---- keys ---- */

static bool ask_new(char passphrase[static ADMISSION_PASSPHRASE_MAX + 1])
{
    char again[ADMISSION_PASSPHRASE_MAX + 1] = "";
    bool same = cli_ask_hidden("New passphrase (empty: none): ", passphrase) &&
                (passphrase[0] == '\0' ||
                 (cli_ask_hidden("The same again: ", again) && strcmp(passphrase, again) == 0));
    explicit_bzero(again, sizeof(again));
    return same;
}

static int key_new(struct cli *cli, const char *path, bool plain)
{
    char passphrase[ADMISSION_PASSPHRASE_MAX + 1] = "";
    char print[PPN_FINGERPRINT_TEXT];
    struct ppn_failure why = {0};
    struct admission_key key;
    if (!plain && !ask_new(passphrase)) {
        (void)fprintf(stderr, "ppn key: no passphrase was given twice alike; without a terminal "
                              "only --no-passphrase works\n");
        return CLI_FAILED;
    }
    enum ppn_error error =
        admin_key_create(path, passphrase[0] != '\0' ? passphrase : NULL, &key, &why);
    explicit_bzero(passphrase, sizeof(passphrase));
    if (error != PPN_OK) {
        (void)fprintf(stderr, "ppn key: %s\n", why.text);
        return cli_exit_code(error);
    }
    fingerprint(&key, print);
    for (size_t i = 0; i < sizeof(key.bytes); i++)
        (void)printf("%02x", key.bytes[i]);
    (void)printf("\n");
    (void)fprintf(stderr,
                  "The key %s is in %s; keep a copy elsewhere. To let it decide, on a machine with "
                  "an admin key: ppn admin add NAME and the line above\n",
                  print, path);
    return cli->exit >= 0 ? cli->exit : CLI_OK;
}

static int key_show(const char *path)
{
    struct ppn_failure why = {0};
    struct admission_key key;
    bool locked = false;
    enum ppn_error error = admin_key_public(path, &key, &locked, &why);
    if (error != PPN_OK) {
        (void)fprintf(stderr, "ppn key: %s\n", why.text);
        return cli_exit_code(error);
    }
    for (size_t i = 0; i < sizeof(key.bytes); i++)
        (void)printf("%02x", key.bytes[i]);
    (void)printf("\n");
    (void)fprintf(stderr, "%s a passphrase\n", locked ? "under" : "without");
    return CLI_OK;
}

int cmd_key(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"no-passphrase", no_argument, NULL, OPTION_KEY},
                                            CLI_COMMON_OPTIONS};
    bool plain = false;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        plain = plain || letter == OPTION_KEY;
    if (!cli_arguments(cli, argc, 2, 2))
        return cli->exit;
    if (strcmp(argv[optind], "new") == 0)
        return cli_finish(key_new(cli, argv[optind + 1], plain));
    if (strcmp(argv[optind], "show") == 0)
        return cli_finish(key_show(argv[optind + 1]));
    return cli_usage(cli, "new or show, not \"%s\"", argv[optind]);
}

/* ---- admins ---- */

static void print_admins(struct cli *cli, const struct admission *log)
{
    static const char *const heads[] = {"NAME", "KEY", "MAY", "STATE"};
    struct cli_table table;
    cli_table_init(&table, heads, 4);
    for (uint32_t i = 0; i < admission_admin_count(log); i++) {
        const struct admission_admin *admin = admission_admin_at(log, i);
        char print[PPN_FINGERPRINT_TEXT], may[POWERS_TEXT];
        fingerprint(&admin->key, print);
        powers_text(admin->powers, may);
        cli_cell(&table, CLI_BOLD, "%s", admin->name[0] != '\0' ? admin->name : "founder");
        cli_cell(&table, CLI_CYAN, "%s", print);
        cli_cell(&table, CLI_PLAIN, "%s", may);
        cli_cell(&table, admin->live ? CLI_GREEN : CLI_DIM, "%s",
                 admin->live ? "in force" : "removed");
    }
    cli_table_print(cli, &table, stdout);
}

static void print_admins_json(const struct admission *log)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < admission_admin_count(log); i++) {
        const struct admission_admin *admin = admission_admin_at(log, i);
        char print[PPN_FINGERPRINT_TEXT], may[POWERS_TEXT], key[65];
        fingerprint(&admin->key, print);
        powers_text(admin->powers, may);
        for (size_t k = 0; k < 32; k++)
            (void)snprintf(key + 2 * k, 3, "%02x", admin->key.bytes[k]);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "name",
                                                    admin->name, "key", key, "fingerprint", print,
                                                    "powers", may, "live", admin->live));
    }
    cli_print_json(json_pack("{s:i, s:o}", "schema", 1, "admins", list));
}

int cmd_admins(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_admin admin;
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    int code = cli_admin_open_log(cli, &admin);
    if (code == CLI_OK && cli->json)
        print_admins_json(admin.log);
    else if (code == CLI_OK)
        print_admins(cli, admin.log);
    cli_admin_close(&admin);
    return cli_finish(code);
}

/* By name, 64 digits, or fingerprint; NULL after it told the person. */
static const struct admission_admin *find_admin(struct cli *cli, const struct admission *log,
                                                const char *who)
{
    const struct admission_admin *found = NULL;
    struct admission_key key;
    bool is_key = cli_parse_key(who, &key);
    for (uint32_t i = 0; i < admission_admin_count(log); i++) {
        const struct admission_admin *admin = admission_admin_at(log, i);
        char print[PPN_FINGERPRINT_TEXT];
        fingerprint(&admin->key, print);
        bool same = is_key ? admission_key_equal(&admin->key, &key)
                           : strcmp(admin->name, who) == 0 || strcmp(print, who) == 0;
        if (same && found != NULL && found->live && admin->live) {
            (void)fprintf(stderr,
                          "ppn admin: several admins are called %s; name one by its "
                          "fingerprint: ppn admins\n",
                          who);
            return NULL;
        }
        if (same && (found == NULL || admin->live))
            found = admin;
    }
    if (found == NULL)
        (void)fprintf(stderr, "ppn %s: no admin is called %s; see ppn admins\n", cli->command->name,
                      who);
    return found;
}

struct admin_options {
    struct cli_keys keys;
    uint32_t powers;
    bool has_cut;
    uint64_t cut;
    const char *cut_entry, *reason;
};

static int add(struct cli *cli, const struct admin_options *asked, char **arguments)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_ADD};
    struct cli_admin admin;
    char print[PPN_FINGERPRINT_TEXT];
    if (!ppn_name_valid(arguments[0]) ||
        !ppn_text_copy(entry.as.admin_add.name, sizeof(entry.as.admin_add.name), arguments[0]))
        return cli_usage(cli, "a name is 1 to %d of a-z, 0-9 and '-'", PPN_NAME_MAX);
    if (!cli_parse_key(arguments[1], &entry.as.admin_add.key))
        return cli_usage(cli, "the key is the line of 64 digits that \"ppn key show FILE\" prints");
    entry.as.admin_add.powers = asked->powers;
    int code = cli_admin_open(cli, &asked->keys, &admin);
    const struct admission_admin *known =
        code == CLI_OK ? admission_admin_by_key(admin.log, &entry.as.admin_add.key) : NULL;
    if (known != NULL && known->live && known->powers == asked->powers) {
        (void)fprintf(stderr, "ppn admin: that key is an admin already; see ppn admins\n");
        code = CLI_REFUSED;
    }
    if (code == CLI_OK)
        code = cli_admin_sign(cli, &admin, &entry);
    fingerprint(&entry.as.admin_add.key, print);
    if (code == CLI_OK && !cli->json)
        (void)printf("%s (%s) is an admin now\n", arguments[0], print);
    cli_admin_close(&admin);
    return code;
}

/* --cut names the last entry of that admin that is still trusted: its number, or its id. */
static bool resolve_cut(const struct admin_options *asked, const struct admission *log,
                        const struct admission_key *key, struct admission_admin_remove *remove)
{
    uint32_t index;
    remove->has_cut = asked->has_cut || asked->cut_entry != NULL;
    remove->cut = asked->cut;
    if (asked->cut_entry == NULL)
        return true;
    if (admission_record_find_text(log, asked->cut_entry, &index) != PPN_OK)
        return false;
    struct admission_record record = admission_record_at(log, index);
    remove->cut = record.seq;
    return admission_key_equal(&record.author, key);
}

static int remove_admin(struct cli *cli, const struct admin_options *asked, char **arguments)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_REMOVE};
    struct admission_admin_remove *remove = &entry.as.admin_remove;
    struct cli_admin admin;
    if (asked->reason != NULL &&
        !ppn_text_copy(remove->reason, sizeof(remove->reason), asked->reason))
        return cli_usage(cli, "--reason: at most %d bytes", ADMISSION_REASON_MAX);
    int code = cli_admin_open(cli, &asked->keys, &admin);
    const struct admission_admin *who =
        code == CLI_OK ? find_admin(cli, admin.log, arguments[0]) : NULL;
    if (code == CLI_OK && who == NULL) {
        code = CLI_NOT_FOUND;
    } else if (code == CLI_OK && !resolve_cut(asked, admin.log, &who->key, remove)) {
        (void)fprintf(stderr, "ppn admin: %s is no entry of %s; see ppn log\n", asked->cut_entry,
                      arguments[0]);
        code = CLI_NOT_FOUND;
    } else if (code == CLI_OK) {
        remove->key = who->key;
        uint32_t before = admission_member_count(admin.log);
        code = cli_admin_sign(cli, &admin, &entry);
        uint32_t after = admission_member_count(admin.log);
        if (code == CLI_OK && !cli->json)
            (void)printf("%s is no admin any more%s\n", arguments[0],
                         remove->has_cut ? "; what it signed after the cut is void" : "");
        if (code == CLI_OK && !cli->json && after < before)
            (void)printf("%u member%s out with it\n", before - after,
                         before - after == 1 ? " goes" : "s go");
    }
    cli_admin_close(&admin);
    return code;
}

static int admin_option(struct cli *cli, struct admin_options *asked, int letter)
{
    char *end;
    switch (letter) {
    case OPTION_KEY:
        return cli_keys_add(cli, &asked->keys, optarg) ? CLI_OK : CLI_USAGE;
    case OPTION_POWERS:
        return parse_powers(optarg, &asked->powers)
                   ? CLI_OK
                   : cli_usage(cli, "--may: some of admit,revoke,admin,seal,root");
    case OPTION_CUT:
        asked->cut = strtoull(optarg, &end, 10);
        asked->has_cut = *end == '\0' && end != optarg && strlen(optarg) < 8;
        asked->cut_entry = asked->has_cut ? NULL : optarg;
        return CLI_OK;
    default:
        asked->reason = optarg;
        return CLI_OK;
    }
}

int cmd_admin(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            {"may", required_argument, NULL, OPTION_POWERS},
                                            {"cut", required_argument, NULL, OPTION_CUT},
                                            {"reason", required_argument, NULL, OPTION_REASON},
                                            CLI_COMMON_OPTIONS};
    struct admin_options asked = {.powers = ADMISSION_POWERS_ADMIN};
    int letter, code = CLI_OK;
    while (code == CLI_OK && (letter = cli_getopt(cli, argc, argv, "h", options)) != -1)
        code = admin_option(cli, &asked, letter);
    if (code != CLI_OK || !cli_arguments(cli, argc, 2, 3))
        return code != CLI_OK ? code : cli->exit;
    int left = argc - optind;
    if (strcmp(argv[optind], "add") == 0 && left == 3)
        return cli_finish(add(cli, &asked, argv + optind + 1));
    if (strcmp(argv[optind], "remove") == 0 && left == 2)
        return cli_finish(remove_admin(cli, &asked, argv + optind + 1));
    return cli_usage(cli, "add NAME KEY, or remove NAME");
}
