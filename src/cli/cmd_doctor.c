// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_print.h"

/* Each finding has a stable code, what is wrong, and the exact fix. What is well is told too. */

enum { TEXT_MAX = 320, FREE_BYTES_LOW = 1 << 30, LEASE_SHORT_S = 7 * 24 * 3600 };

struct doctor {
    struct cli *cli;
    json_t *findings;
    unsigned problems;
};

enum severity { GOOD, HINT, PROBLEM };

static void find(struct doctor *doctor, enum severity severity, const char *code, const char *fix,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

static void find(struct doctor *doctor, enum severity severity, const char *code, const char *fix,
                 const char *format, ...)
{
    static const char *const words[] = {"ok", "hint", "problem"};
    static const char *const marks[] = {"✓", "!", "✗"};
    static const enum cli_colour colours[] = {CLI_GREEN, CLI_YELLOW, CLI_RED};
    const struct cli *cli = doctor->cli;
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cli_clean(text);
    doctor->problems += severity == PROBLEM;
    if (cli->json) {
        (void)json_array_append_new(doctor->findings,
                                    json_pack("{s:s,s:s,s:s,s:s}", "code", code, "severity",
                                              words[severity], "text", text, "fix", fix));
        return;
    }
    (void)printf("%s%s%s %s\n", cli_colour(cli, colours[severity]), marks[severity],
                 cli_colour(cli, CLI_PLAIN), text);
    if (fix[0] != '\0')
        (void)printf("    %s\n", fix);
}

static bool on_path(const char *program)
{
    static const char *const directories[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                              "/usr/bin",        "/sbin",          "/bin"};
    char path[128];
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", directories[i], program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_programs(struct doctor *doctor)
{
    static const struct {
        const char *program, *package, *what;
    } needs[] = {{"qemu-system-x86_64", "qemu-system-x86", "run VMs"},
                 {"qemu-img", "qemu-utils", "make disks"},
                 {"wg", "wireguard-tools", "build the mesh"},
                 {"nft", "nftables", "keep guests apart from this machine"},
                 {"ip", "iproute2", "set up interfaces"}};
    char fix[96];
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (on_path(needs[i].program))
            continue;
        (void)snprintf(fix, sizeof(fix), "sudo apt install %s", needs[i].package);
        find(doctor, PROBLEM, "program-missing", fix, "%s is not installed: cannot %s",
             needs[i].program, needs[i].what);
    }
    struct stat about;
    if (stat("/sys/module/wireguard", &about) != 0 && !on_path("wireguard-go"))
        find(doctor, HINT, "wireguard-kernel",
             "load it with \"sudo modprobe wireguard\", or \"sudo apt install wireguard-go\"",
             "the kernel's WireGuard is not loaded and wireguard-go is not installed");
    if (stat("/dev/net/tun", &about) != 0)
        find(doctor, PROBLEM, "no-tun", "sudo modprobe tun",
             "/dev/net/tun is missing: neither wireguard-go nor VM networks can work");
}

static void check_machine(struct doctor *doctor)
{
    struct stat about;
    struct statvfs space;
    struct timex clock = {0};
    if (stat("/dev/kvm", &about) != 0)
        find(doctor, HINT, "no-kvm",
             "enable virtualisation in the firmware (VT-x, AMD-V, SVM), or nested virtualisation "
             "at the provider",
             "/dev/kvm is missing: this machine runs VMs only with --allow-emulation");
    if (adjtimex(&clock) >= 0 && (clock.status & STA_UNSYNC) != 0)
        find(doctor, HINT, "clock-unsynced", "sudo timedatectl set-ntp true",
             "the clock is not kept by NTP: ages and the expiry of invites may be wrong");
    if (statvfs("/var/lib/ppn", &space) == 0 &&
        (uint64_t)space.f_bavail * space.f_frsize < FREE_BYTES_LOW)
        find(doctor, PROBLEM, "disk-low", "free space there, or move the state with --state-dir",
             "under 1G is free for /var/lib/ppn");
}

static void check_lease(struct doctor *doctor, const json_t *node)
{
    char left[CLI_TEXT_MAX];
    int64_t until = cli_number(node, "lease_until_unix_ms", 0), now = cli_now_ms();
    if (until == 0 || until - now > (int64_t)LEASE_SHORT_S * 1000)
        return;
    cli_age_text(until - now, left);
    find(doctor, HINT, "lease-ends", "ppn seal --renew TIME, where an admin's key is",
         "node %s is a member for %s more; then all drop it", cli_text(node, "name"),
         strcmp(left, "now") == 0 ? "a moment" : left);
}

static void check_nodes(struct doctor *doctor, const json_t *nodes, const char *version)
{
    size_t index;
    json_t *node;
    json_array_foreach(nodes, index, node)
    {
        const char *name = cli_text(node, "name"), *state = cli_text(node, "state");
        const char *kvm = cli_text(node, "kvm");
        if (strcmp(state, "dead") == 0 || strcmp(state, "suspect") == 0)
            find(doctor, PROBLEM, "node-not-alive",
                 "look at it: is it on, on the network, and ppn-node running?", "node %s is %s%s%s",
                 name, state, cli_text(node, "state_detail")[0] != '\0' ? ": " : "",
                 cli_text(node, "state_detail"));
        if (cli_text(node, "version")[0] != '\0' && strcmp(cli_text(node, "version"), version) != 0)
            find(doctor, HINT, "version-skew", "bring all nodes to one version",
                 "node %s has version %s, this one %s", name, cli_text(node, "version"), version);
        check_lease(doctor, node);
        if (!cli_flag(node, "self"))
            continue;
        if (strcmp(kvm, "runs") == 0)
            find(doctor, PROBLEM, "kvm-slow",
                 "this is nested virtualisation without hardware help; use another machine type",
                 "KVM works here, but far too slowly to be real");
        else if (strcmp(kvm, "boots") == 0 || strcmp(kvm, "fast") == 0)
            find(doctor, GOOD, "kvm", "", "KVM is proven (%s)", kvm);
        else
            find(doctor, HINT, "kvm-not-proven", "look for \"event=kvm\" in the log of ppn-node",
                 "KVM is not proven on this node: it runs VMs only with --allow-emulation");
    }
}

static void check_daemon(struct doctor *doctor, const json_t *status, const json_t *nodes)
{
    const char *phase = cli_text(status, "phase"), *version = cli_text(status, "version");
    size_t index;
    json_t *alarm;
    find(doctor, GOOD, "daemon", "", "ppn-node %s answers", version);
    if (strcmp(version, PPN_VERSION) != 0)
        find(doctor, HINT, "version-skew", "sudo systemctl restart ppn-node",
             "ppn is version " PPN_VERSION ", ppn-node %s", version);
    if (strcmp(phase, "member") == 0)
        find(doctor, GOOD, "member", "", "member of %s as %s", cli_text(status, "network"),
             cli_text(status, "name"));
    else
        find(doctor, HINT, "not-a-member",
             "found a network, join one, or have the waiting request admitted",
             "not yet a member: %s", phase);
    if (strcmp(cli_text(status, "mesh"), "plain") == 0)
        find(doctor, PROBLEM, "mesh-plain", "remove \"mesh = plain\" from the configuration",
             "the mesh is not encrypted");
    json_array_foreach(json_object_get(status, "alarms"), index, alarm)
    {
        find(doctor, PROBLEM, cli_text(alarm, "code"), cli_text(alarm, "fix"), "%s",
             cli_text(alarm, "text"));
    }
    if (cli_text(status, "problem")[0] != '\0')
        find(doctor, PROBLEM, "node-problem", "", "%s", cli_text(status, "problem"));
    if (cli_flag(status, "udp_blocked"))
        find(doctor, HINT, "udp-blocked", "let UDP out to the relays' ports, 51820 and above",
             "no relay answers by UDP: this network lets none out, or all relays are off");
    if (cli_number(status, "joins_waiting", 0) > 0)
        find(doctor, HINT, "joins-waiting", "ppn joins", "%lld waiting to be admitted",
             (long long)cli_number(status, "joins_waiting", 0));
    check_nodes(doctor, nodes, version);
}

int cmd_doctor(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct api_client_failure failure;
    struct api_client_call call = {.method = API_GET, .target = "/v1/status"};
    struct doctor doctor = {.cli = cli, .findings = json_array()};
    char *status_text = NULL, *nodes_text = NULL;
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0)) {
        json_decref(doctor.findings);
        return cli->exit;
    }
    enum ppn_error error = api_client_do(cli_api(cli), &call, &status_text, &failure);
    call.target = "/v1/nodes";
    if (error == PPN_OK)
        error = api_client_do(cli_api(cli), &call, &nodes_text, &failure);
    if (error != PPN_OK) {
        find(&doctor, PROBLEM, "daemon-unreachable", "", "%s", failure.failure.text);
    } else {
        json_t *status = json_loads(status_text, 0, NULL), *nodes = json_loads(nodes_text, 0, NULL);
        check_daemon(&doctor, status, json_object_get(nodes, "nodes"));
        json_decref(status);
        json_decref(nodes);
    }
    free(status_text);
    free(nodes_text);
    check_programs(&doctor);
    check_machine(&doctor);
    if (cli->json) {
        json_t *all = json_pack("{s:i,s:O}", "schema", API_SCHEMA, "findings", doctor.findings);
        char *text = json_dumps(all, JSON_COMPACT);
        (void)puts(text != NULL ? text : "");
        free(text);
        json_decref(all);
    }
    json_decref(doctor.findings);
    return cli_finish(doctor.problems > 0 ? CLI_PROBLEMS : CLI_OK);
}
