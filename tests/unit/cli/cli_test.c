// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/id.h"
#include "cli/cli.h"
#include "cli/cli_print.h"
#include "cli/cli_upload.h"
#include "fake_daemon.h"

/* ---- parsing ---- */

Test(parse, sizes)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t bytes;
    } cases[] = {{"0", true, 0},
                 {"1048576", true, 1048576},
                 {"1K", true, 1024},
                 {"512M", true, 512ULL << 20},
                 {"1G", true, 1ULL << 30},
                 {"1GiB", true, 1ULL << 30},
                 {"2gb", true, 2ULL << 30},
                 {"1.5G", true, 3ULL << 29},
                 {"0.25M", true, 256 << 10},
                 {"3T", true, 3ULL << 40},
                 {"", false, 0},
                 {"G", false, 0},
                 {"-1", false, 0},
                 {"1X", false, 0},
                 {"1.5", false, 0},
                 {"1G!", false, 0},
                 {" 1G", false, 0},
                 {"18446744073709551615K", false, 0},
                 {"99999999999999999999", false, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = 0;
        cr_expect_eq(cli_parse_size(cases[i].text, &bytes), cases[i].valid, "%s", cases[i].text);
        if (cases[i].valid)
            cr_expect_eq(bytes, cases[i].bytes, "%s: %llu", cases[i].text,
                         (unsigned long long)bytes);
    }
}

Test(parse, times)
{
    static const struct {
        const char *text;
        bool valid;
        uint32_t seconds;
    } cases[] = {{"90", true, 90},   {"90s", true, 90},      {"15m", true, 900},
                 {"1h", true, 3600}, {"2d", true, 172800},   {"", false, 0},
                 {"h", false, 0},    {"1w", false, 0},       {"1hh", false, 0},
                 {"-1s", false, 0},  {"99999999d", false, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t seconds = 0;
        cr_expect_eq(cli_parse_seconds(cases[i].text, &seconds), cases[i].valid, "%s",
                     cases[i].text);
        if (cases[i].valid)
            cr_expect_eq(seconds, cases[i].seconds, "%s", cases[i].text);
    }
}

Test(parse, a_new_request_id_is_a_uuid_of_version_7)
{
    struct ppn_request_id one, two;
    char text[PPN_UUID_TEXT];
    cli_new_request_id(&one);
    cli_new_request_id(&two);
    ppn_request_id_text(&one, text);
    cr_assert_eq(text[14], '7');
    cr_assert_not_null(strchr("89ab", text[19]));
    cr_assert_not(ppn_request_id_equal(&one, &two));
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | one.bytes[i];
    cr_assert_leq(cli_now_ms() - (int64_t)ms, 10000);
}

Test(parse, targets_are_escaped)
{
    char target[64];
    cr_assert(cli_target(target, sizeof(target), "vms", "a/..?b", "/stop"));
    cr_assert_str_eq(target, "/v1/vms/a%2F..%3Fb/stop");
    cr_assert_not(cli_target(target, sizeof(target), "vms",
                             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                             ""));
}

/* ---- looks ---- */

Test(print, human_texts)
{
    char text[CLI_TEXT_MAX];
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0B"},          {1023, "1023B"},      {1024, "1K"},         {1536, "1.5K"},
        {1ULL << 30, "1G"}, {10ULL << 30, "10G"}, {3ULL << 29, "1.5G"}, {UINT64_MAX, "15E"}};
    static const struct {
        int64_t ms;
        const char *text;
    } ages[] = {{-5, "now"},   {0, "now"},      {1000, "1s"},     {59999, "59s"},
                {60000, "1m"}, {7200000, "2h"}, {86400000, "1d"}, {3153600000000, "100y"}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        cli_size_text(sizes[i].bytes, text);
        cr_expect_str_eq(text, sizes[i].text);
    }
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        cli_age_text(ages[i].ms, text);
        cr_expect_str_eq(text, ages[i].text);
    }
}

Test(print, a_table_is_aligned_and_clean)
{
    static const char *const heads[] = {"NAME", ">SIZE", "NOTE"};
    char *text;
    size_t size;
    struct cli cli = {0};
    struct cli_table table;
    FILE *out = open_memstream(&text, &size);
    cli_table_init(&table, heads, 3);
    cli_cell(&table, CLI_BOLD, "wéb");
    cli_cell(&table, CLI_PLAIN, "1G");
    cli_cell(&table, CLI_PLAIN, "evil\033[2Jtext");
    cli_cell(&table, CLI_BOLD, "database");
    cli_cell(&table, CLI_PLAIN, "512M");
    cli_cell(&table, CLI_PLAIN, "%s", "");
    cli_table_print(&cli, &table, out);
    (void)fclose(out);
    cr_assert_str_eq(text, "NAME      SIZE  NOTE\n"
                           "wéb         1G  evil?[2Jtext\n"
                           "database  512M  -\n");
    free(text);
}

Test(print, guest_output_loses_its_escapes)
{
    static const char in[] = "a\033[31mred\033[0m\033]0;title\007b\r\nc\001\033Md";
    uint8_t out[sizeof(in)];
    struct cli_filter filter = {0};
    size_t size = 0;
    for (size_t i = 0; i + 1 < sizeof(in); i++) /* byte by byte: the state is kept between calls */
        size += cli_filter(&filter, (const uint8_t *)in + i, 1, out + size);
    cr_assert_eq(size, strlen("aredb\r\ncd"));
    cr_assert_eq(memcmp(out, "aredb\r\ncd", size), 0);
}

/* ---- whole commands, in a child each ---- */

static char out_text[8 * 1024 * 1024];
static char err_text[64 * 1024];

static void read_back(int fd, char *text, size_t capacity)
{
    ssize_t size = pread(fd, text, capacity - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    (void)close(fd);
}

/* Runs ppn with these words; its exit code. */
static int ppn(const char *socket, const char *const *words)
{
    char *argv[32] = {"ppn", "--socket", (char *)socket};
    int argc = 3, status, out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", 0);
    while (*words != NULL)
        argv[argc++] = strdup(*words++);
    pid_t pid = fork();
    if (pid == 0) {
        int nothing = open("/dev/null", O_RDONLY);
        (void)dup2(nothing, 0);
        (void)dup2(out, 1);
        (void)dup2(err, 2);
        optind = 1;
        _exit(cli_finish(cli_main(argc, argv)));
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    while (argc > 3)
        free(argv[--argc]);
    read_back(out, out_text, sizeof(out_text));
    read_back(err, err_text, sizeof(err_text));
    cr_assert(WIFEXITED(status), "%s", err_text);
    return WEXITSTATUS(status);
}

#define PPN(...) ppn(daemon_.socket, (const char *const[]){__VA_ARGS__, NULL})

static struct fake_daemon daemon_;

static void setup(void)
{
    fake_daemon_start(&daemon_);
}

static void teardown(void)
{
    cr_assert_eq(fake_daemon_stop(&daemon_), 0);
}

TestSuite(command, .init = setup, .fini = teardown, .timeout = 60);

Test(command, exit_codes)
{
    cr_expect_eq(PPN("nodes"), CLI_OK, "%s", err_text);
    cr_expect_eq(PPN("nodes", "extra"), CLI_USAGE);
    cr_expect_eq(PPN("nodes", "--wrong"), CLI_USAGE);
    cr_expect_eq(PPN("no-such-command"), CLI_USAGE);
    cr_expect_eq(PPN("run"), CLI_USAGE);
    cr_expect_eq(PPN("run", "a", "--memory", "lots"), CLI_USAGE);
    cr_expect_eq(PPN("run", "a", "--request-id", "x"), CLI_USAGE);
    cr_expect_eq(PPN("stop", "none"), CLI_NOT_FOUND);
    cr_expect_eq(PPN("stop", "web", "none"), CLI_NOT_FOUND);
    cr_expect_eq(PPN("rm", "web"), CLI_OK);
    cr_expect_eq(PPN("run", "debian-12", "--name", "stuck"), CLI_REFUSED);
    cr_expect_eq(PPN("explain", "debian-12", "--name", "stuck"), CLI_REFUSED);
    cr_expect_eq(PPN("invite"), CLI_UNSUPPORTED);
    cr_expect_eq(PPN("invite", "--lease", "soon"), CLI_USAGE);
    cr_expect_eq(PPN("admit", "n9", "--lease", "0"), CLI_USAGE);
    cr_expect_eq(PPN("revoke", "n9", "--invite", "0123-4567-89ab-cdef"), CLI_USAGE);
    cr_expect_eq(PPN("revoke", "--invite", "0123-4567-89ab-cdef", "--vms", "stop"), CLI_USAGE);
    cr_expect_eq(PPN("console", "none"), CLI_NOT_FOUND);
    cr_expect_eq(PPN("logs", "none"), CLI_NOT_FOUND);
    cr_expect_eq(PPN("image", "add", "/nonexistent", "--name", "a"), CLI_FAILED);
    cr_expect_eq(PPN("image", "pull", "windows"), CLI_NOT_FOUND);
    cr_expect_eq(PPN("image", "frob"), CLI_USAGE);
    cr_expect_eq(PPN("leave"), CLI_USAGE);
    cr_expect_eq(PPN("--version"), CLI_OK);
    cr_expect_eq(PPN("help", "run"), CLI_OK);
    cr_expect_not_null(strstr(out_text, "--ssh-key"));
    const char *const nodes[] = {"nodes", NULL};
    cr_expect_eq(ppn("/nonexistent/ppn.sock", nodes), CLI_NO_DAEMON);
    cr_expect_not_null(strstr(err_text, "systemctl start ppn-node"));
}

Test(command, every_command_has_help)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        cr_expect_eq(PPN(command->name, "--help"), CLI_OK, "%s", command->name);
        cr_expect_not_null(strstr(out_text, command->summary), "%s", command->name);
    }
}

/* ppn(1) names every command and every long option of it. */
Test(man, page_is_complete)
{
    static char text[128 * 1024];
    FILE *file = fopen(PPN_MAN_PAGE, "re");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        char words[64];
        (void)snprintf(words, sizeof(words), "Ic %s", command->name);
        cr_expect_not_null(strstr(text, words), "ppn.1 lacks %s", command->name);
        for (const char *at = command->options; (at = strstr(at, "--")) != NULL;) {
            size_t size = strcspn(at, " ,\n");
            (void)snprintf(words, sizeof(words), "Fl %.*s", (int)size - 1, at + 1);
            cr_expect_not_null(strstr(text, words), "ppn.1 lacks %s of %s", words, command->name);
            at += size;
        }
    }
}

Test(command, json_of_nodes_and_vms_is_the_apis)
{
    cr_assert_eq(PPN("nodes", "--json"), CLI_OK);
    json_t *json = json_loads(out_text, 0, NULL);
    cr_assert_eq(json_integer_value(json_object_get(json, "schema")), 1);
    json_t *node = json_array_get(json_object_get(json, "nodes"), 0);
    static const char *const keys[] = {"id",
                                       "name",
                                       "address",
                                       "state",
                                       "incarnation",
                                       "kvm",
                                       "memory_total_bytes",
                                       "memory_free_bytes",
                                       "labels"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        cr_expect_not_null(json_object_get(node, keys[i]), "%s", keys[i]);
    json_decref(json);
    cr_assert_eq(PPN("ps", "--json"), CLI_OK);
    cr_assert_eq(strstr(out_text, "{\"schema\":1,\"vms\":[{\"id\":\"01900000-"), out_text);
}

Test(command, tables_for_people)
{
    cr_assert_eq(PPN("nodes"), CLI_OK);
    cr_assert_eq(strncmp(out_text, "NAME  STATE    KVM ", 19), 0, "%s", out_text);
    cr_assert_not_null(strstr(out_text, "n2    suspect  none"));
    cr_assert_null(strchr(out_text, '\033'), "colour without a terminal");
    cr_assert_eq(PPN("ps"), CLI_OK);
    cr_assert_not_null(strstr(out_text, "web   running  n1    debian-12"));
    cr_assert_eq(PPN("image", "ls"), CLI_OK);
    cr_assert_str_eq(out_text, "");
    cr_assert_not_null(strstr(err_text, "ppn image pull"));
    cr_assert_eq(PPN("status"), CLI_OK);
    cr_assert_not_null(strstr(out_text, "office"));
    cr_assert_eq(PPN("run", "debian-12", "--dry-run"), CLI_OK);
    cr_assert_not_null(strstr(out_text, "suspect since 3s"));
}

Test(command, alarms_are_shown_with_their_fix)
{
    cr_assert_eq(PPN("status"), CLI_OK);
    cr_expect_not_null(strstr(out_text, "ALARM     two seals carry the number 7\n"), "%s",
                       out_text);
    cr_expect_not_null(strstr(out_text, "stop one of them"));
    cr_expect_eq(PPN("doctor", "--json"), CLI_PROBLEMS);
    cr_expect_not_null(strstr(out_text, "{\"code\":\"seal-conflict\",\"severity\":\"problem\","
                                        "\"text\":\"two seals carry the number 7\","
                                        "\"fix\":\"stop one of them\"}"),
                       "%s", out_text);
    cr_assert_eq(PPN("status", "--json"), CLI_OK);
    cr_expect_not_null(strstr(out_text, "\"alarms\":[{\"code\":\"seal-conflict\","), "%s",
                       out_text);
}

Test(command, run_tells_its_request_and_ends_with_the_vm)
{
    cr_assert_eq(PPN("run", "debian-12", "--name", "web"), CLI_OK, "%s", err_text);
    cr_assert_str_eq(out_text, "web is running on n1\n");
    cr_assert_eq(strncmp(err_text, "Request ", 8), 0);
    cr_assert_not_null(strstr(err_text, "Preparing on n1\n"));
    cr_assert_eq(PPN("run", "debian-12", "--json"), CLI_OK);
    const char *last = strrchr(out_text, '{');
    cr_assert_not_null(last);
    cr_assert_not_null(strstr(out_text, "\n{\"vm\":{"));
    cr_assert_eq(PPN("run", "debian-12", "--name", "stuck", "--json"), CLI_REFUSED);
    cr_assert_not_null(strstr(out_text, "{\"error\":{\"code\":\"no_candidate\""));
}

Test(command, a_private_key_is_not_sent)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/key", daemon_.directory);
    FILE *file = fopen(path, "we");
    (void)fputs("-----BEGIN OPENSSH PRIVATE KEY-----\n", file);
    (void)fclose(file);
    cr_expect_eq(PPN("run", "debian-12", "--ssh-key", path), CLI_USAGE);
    cr_expect_not_null(strstr(err_text, "private key"));
    (void)unlink(path);
}

Test(command, image_add_streams_the_file)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/image", daemon_.directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, 300000), 0);
    (void)close(fd);
    cr_expect_eq(PPN("image", "add", path, "--name", "tiny"), CLI_OK, "%s", err_text);
    cr_expect_not_null(strstr(out_text, "tiny is here, 292K"), "%s", out_text);
    cr_expect_eq(PPN("image", "add", path, "--name", "taken"), CLI_FAILED);
    cr_expect_not_null(strstr(err_text, "there is an image \"taken\" already"));
    (void)unlink(path);
}

Test(command, logs_come_whole)
{
    cr_assert_eq(PPN("logs", "web"), CLI_OK);
    cr_assert_eq(strlen(out_text), FAKE_LOG_BYTES);
}
