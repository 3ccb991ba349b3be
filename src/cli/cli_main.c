// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_print.h"
#include "cli/cli_tunnel.h"

#define MACHINE_OPTIONS                                                                            \
    "  --name NAME      of the VM (default: made of the image's)\n"                                \
    "  --memory SIZE    default 1G\n"                                                              \
    "  --cpus N         default 1\n"                                                               \
    "  --disk SIZE      default: the image's own\n"                                                \
    "  --ssh-key FILE   public key for the user; repeatable\n"                                     \
    "  --user NAME      default \"ppn\"\n"                                                         \
    "  --user-data FILE cloud-init user data\n"                                                    \
    "  --node NAME      only there\n"                                                              \
    "  --label K=V      only on nodes that carry it; repeatable\n"                                 \
    "  --allow-emulation   also without KVM: slow, and not isolated from its host\n"               \
    "  --no-network     no network card: the VM is reached by its console alone\n"                 \
    "  --isolation MIN  kvm, kvm+sandbox, sev-snp, tdx\n"                                          \
    "  --request-id ID  repeat an earlier request: never a second VM\n"

#define KEY_OPTION                                                                                 \
    "  --key FILE       sign with this admin key, here; repeat it where several must sign;\n"      \
    "                   at:KEY names one that is elsewhere (ppn sign)\n"

const struct cli_command cli_commands[] = {
    {"run", "IMAGE [OPTION]...", "Runs a new VM on the node that suits it best",
     MACHINE_OPTIONS "  --wait-ready     until its first boot has finished\n"
                     "  --dry-run        only show where it would go\n",
     cmd_run},
    {"ps", "", "Lists all VMs of the network", "", cmd_ps},
    {"logs", "VM [-f] [-n LINES] [--raw]", "Shows what a VM said on its serial console",
     "  -f, --follow     go on as it speaks\n"
     "  -n, --tail LINES only the last ones\n"
     "  --raw            escape sequences too\n",
     cmd_logs},
    {"console", "VM", "Opens a VM's serial console; Ctrl-] leaves it", "", cmd_console},
    {"stop", "VM... [--grace TIME]", "Asks VMs to shut down",
     "  --grace TIME     after it they are ended (default 60s)\n", cmd_stop},
    {"start", "VM...", "Starts stopped VMs again", "", cmd_start},
    {"kill", "VM...", "Ends VMs at once, as pulling the plug does", "", cmd_kill},
    {"rm", "VM... [--yes]", "Removes VMs and their disks; one that runs is ended first",
     "  --yes            do not ask about VMs that run\n", cmd_rm},
    {"explain", "IMAGE [OPTION]...", "Shows where a VM would go, and why not elsewhere",
     MACHINE_OPTIONS, cmd_explain},
    {"image", "ls | add FILE --name NAME | pull NAME | fetch NAME | rm NAME", "Handles images",
     "  ls               all images, and which nodes have them\n"
     "  add FILE         takes a qcow2 or raw file\n"
     "  pull NAME        downloads debian-12 or ubuntu-24.04 and checks it\n"
     "  fetch NAME       copies it from another node to this one\n"
     "  rm NAME          removes it from this node\n"
     "  --name NAME      of the image, with add\n"
     "  --sha256 HEX     the file must have it, with add\n",
     cmd_image},
    {"nodes", "", "Lists all nodes of the network", "", cmd_nodes},
    {"why", "NODE", "Says which way packets to a node take, and why", "", cmd_why},
    {"cordon", "NODE", "Lets a node take no new VMs", "", cmd_cordon},
    {"uncordon", "NODE", "Lets a node take new VMs again", "", cmd_uncordon},
    {"set", "KEY=VALUE...", "Sets labels of this node; KEY= removes one", "", cmd_set},
    {"rekey", "", "Gives this node a new WireGuard key", "", cmd_rekey},
    {"leave", "--yes", "Takes this node out until ppn-node starts again",
     "  --yes            really\n", cmd_leave},
    {"joins", "", "Lists machines that ask to join", "", cmd_joins},
    {"admit", "NAME|FINGERPRINT [--role relay] [--lease TIME] [--label K=V]... [--key FILE]...",
     "Admits a machine",
     "  --role relay     it may also relay for others\n"
     "  --lease TIME     it is a member so long, unless ppn seal --renew extends it\n"
     "  --label K=V      a label by admission; repeatable\n" KEY_OPTION,
     cmd_admit},
    {"deny", "NAME|FINGERPRINT [--key FILE]...", "Refuses a machine that asks to join", KEY_OPTION,
     cmd_deny},
    {"revoke",
     "NAME|FINGERPRINT|ID [--vms keep|stop|kill] [--reason TEXT] [--key FILE]... | --invite ID",
     "Takes a member out for good, or closes an invite",
     "  --invite ID      instead of a member: nobody comes in by this invite any more; ppn\n"
     "                   invites shows its id\n"
     "  --vms WHAT       what becomes of its VMs: keep them running there, or stop or kill\n"
     "                   them first; asked for when it matters\n"
     "  --reason TEXT    for the log\n" KEY_OPTION,
     cmd_revoke},
    {"admins", "", "Lists the keys that decide who is a member", "", cmd_admins},
    {"admin", "add NAME KEY [--may LIST] | remove NAME [--cut ENTRY] [--key FILE]...",
     "Adds or removes such a key",
     "  --may LIST       with add: of admit,revoke,admin,seal,root (default: the first three)\n"
     "  --cut ENTRY      with remove: the last entry of that key that is still trusted, as its\n"
     "                   id or number; what it signed later is void. 0 voids all of it\n"
     "  --reason TEXT    for the log\n" KEY_OPTION,
     cmd_admin},
    {"policy",
     "[--admit N] [--revoke N] [--admin N] [--root N] [--grace N] [--delay N] [--key FILE]...",
     "Shows or changes how many keys must sign",
     "  --admit N        to admit, deny and invite\n"
     "  --revoke N       to revoke\n"
     "  --admin N        to add and remove admins\n"
     "  --root N         to change the policy and root keys\n"
     "  --grace N        seals that a removed admin's entries may miss\n"
     "  --delay N        seals until another policy rules; until then it can be "
     "undone\n" KEY_OPTION,
     cmd_policy},
    {"seal", "[--renew TIME] [--key FILE]...", "Closes what the log says so far",
     "  --renew TIME     leases of members last at least that long from now\n" KEY_OPTION,
     cmd_seal},
    {"sign", "FILE --key FILE", "Adds a signature to an entry that several keys sign",
     "  --key FILE       of those that it names\n", cmd_sign},
    {"authority", "show VM | move --to-vm VM --operator FILE",
     "Moves the right to decide into a VM, or shows one that has it",
     "  --to-vm VM       which runs the authority image (tools/image-authority)\n"
     "  --operator FILE  the key that it will obey; from then on: --key vm:VM:FILE\n",
     cmd_authority},
    {"recover", "--recovery FILE... --root KEY... [--next KEY]... [--cut KEY:NUMBER]...",
     "Names new root keys when the old are lost or stolen",
     "  --recovery FILE  a recovery key that the network was founded with\n"
     "  --root KEY       the public half of a new root key\n"
     "  --next KEY       of the recovery keys from now on (default: the same)\n"
     "  --cut KEY:NUMBER what that root key signed after its entry NUMBER is void: so a\n"
     "                   policy that waits is undone, naming the same root keys again\n",
     cmd_recover},
    {"compact", "[--dry-run] [--recovery FILE]... [--key FILE]...",
     "Closes the log of admissions: what nobody needs any more is dropped everywhere",
     "  --dry-run        only say what it would keep\n"
     "  --recovery FILE  a recovery key that the network was founded with\n"
     "  --key FILE       a root key, where the network has no recovery keys\n",
     cmd_compact},
    {"key", "new FILE [--no-passphrase] | show FILE",
     "Makes an admin key, or shows its public half",
     "  --no-passphrase  whoever has the file has the key\n", cmd_key},
    {"invite",
     "[--uses N] [--ttl TIME] [--role relay] [--lease TIME] [--label K=V]... [--key FILE]...",
     "Prints a token with which machines join without being asked for",
     "  --uses N         how many machines (default 1)\n"
     "  --ttl TIME       how long it is good (default 1h)\n"
     "  --role relay     they may also relay for others\n"
     "  --lease TIME     each is a member so long, unless ppn seal --renew extends it\n"
     "  --label K=V      repeatable\n" KEY_OPTION,
     cmd_invite},
    {"invites", "", "Lists invites: used how often, by whom made, open or why not", "",
     cmd_invites},
    {"log", "[audit NODE | --verify | --export FILE]", "Shows the signed log of admissions",
     "  audit NODE       who admitted it, when, and on whose authority\n"
     "  --verify         check every signature anew\n"
     "  --export FILE    write the signed entries; - is standard output\n",
     cmd_log},
    {"events", "", "Tells changes as they happen, the present state first", "", cmd_events},
    {"status", "", "Shows this node", "", cmd_status},
    {"doctor", "", "Looks for problems, each with its fix", "", cmd_doctor},
    {NULL, NULL, NULL, NULL, NULL}};

const struct cli_command *cli_find(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

static void print_commands(FILE *out)
{
    (void)fprintf(out,
                  "Usage: ppn [--socket PATH] [--json] COMMAND [ARGUMENT]...\n"
                  "       ppn --node HOST[:PORT] --key FILE COMMAND   for an admin elsewhere\n\n");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        (void)fprintf(out, "  %-9s %s\n", command->name, command->summary);
    (void)fprintf(out, "\n\"ppn COMMAND --help\" tells more, \"man ppn\" all of it.\n");
}

/* What the bash completion asks: the commands, or one command's long options. */
static int print_words(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (name == NULL)
            (void)puts(command->name);
    }
    const struct cli_command *command = name != NULL ? cli_find(name) : NULL;
    const char *at = command != NULL ? command->options : "";
    while ((at = strstr(at, "--")) != NULL) {
        size_t size = strcspn(at, " ,\n");
        if (size > 2)
            (void)printf("%.*s\n", (int)size, at);
        at += size;
    }
    if (command != NULL)
        (void)puts("--json\n--socket\n--help");
    return cli_finish(CLI_OK);
}

static void look_around(struct cli *cli)
{
    const char *socket = getenv("PPN_SOCKET"), *no_colour = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    bool dumb = kind != NULL && strcmp(kind, "dumb") == 0;
    cli->socket = socket != NULL && socket[0] != '\0' ? socket : CLI_DEFAULT_SOCKET;
    cli->terminal = isatty(STDOUT_FILENO) == 1;
    cli->progress = isatty(STDERR_FILENO) == 1 && !dumb;
    cli->colour = cli->terminal && !dumb && (no_colour == NULL || no_colour[0] == '\0');
    cli->exit = -1;
}

/* Options before the command; the exit code, or -1 to go on at optind. */
static int global_options(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"version", no_argument, NULL, 'V'},
                                            {"node", required_argument, NULL, 'N'},
                                            {"key", required_argument, NULL, 'k'},
                                            CLI_COMMON_OPTIONS};
    int letter;
    while ((letter = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
        switch (letter) {
        case 'S':
            cli->socket = optarg;
            break;
        case 'J':
            cli->json = true;
            break;
        case 'N':
            cli->node = optarg;
            break;
        case 'k':
            cli->node_key = optarg;
            break;
        case 'V':
            (void)puts("ppn " PPN_VERSION);
            return cli_finish(CLI_OK);
        case 'h':
            print_commands(stdout);
            return cli_finish(CLI_OK);
        default:
            (void)fputs("Try \"ppn --help\".\n", stderr);
            return CLI_USAGE;
        }
    }
    return -1;
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {0};
    look_around(&cli);
    int code = global_options(&cli, argc, argv);
    if (code >= 0)
        return code;
    if (optind == argc) {
        print_commands(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[optind];
    if (strcmp(name, "version") == 0 || strcmp(name, "help") == 0) {
        char *again[] = {argv[0], name[0] == 'v' ? "--version" : "--help", NULL};
        if (name[0] == 'h' && optind + 1 < argc && cli_find(argv[optind + 1]) != NULL)
            name = again[0] = argv[optind + 1];
        argc = 2;
        argv = again;
        optind = 0;
        if (cli_find(name) == NULL)
            return global_options(&cli, argc, argv);
    } else if (strcmp(name, "complete") == 0) {
        return print_words(argv[optind + 1]);
    } else {
        argc -= optind;
        argv += optind;
        optind = 0; /* the subcommand scans its own arguments from the start */
    }
    cli.command = cli_find(name);
    if (cli.command == NULL) {
        (void)fprintf(stderr, "ppn: there is no command \"%s\"; \"ppn --help\" lists them\n", name);
        return CLI_USAGE;
    }
    if (sodium_init() < 0) {
        (void)fputs("ppn: libsodium does not start\n", stderr);
        return CLI_FAILED;
    }
    code = cli_tunnel_open(&cli);
    if (code != CLI_OK)
        return code;
    code = cli.command->run(&cli, argc, argv);
    api_client_close(cli.api);
    cli_tunnel_close(cli.tunnel);
    return cli.exit >= 0 ? cli.exit : code;
}
