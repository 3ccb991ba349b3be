// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/options.h"

enum { ARGUMENTS_MAX = 40 };

static struct node_options options;
static struct ppn_failure failure;

static const char empty_file[] = "/dev/null";

/* A NULL-terminated list; --config is put in front, so that a file of this machine says nothing. */
static enum ppn_error parse(const char *config, const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 4] = {"ppn-node", "--config", (char *)config};
    int argc = 3;
    failure = (struct ppn_failure){0};
    for (; *arguments != NULL; arguments++) {
        cr_assert_lt(argc, ARGUMENTS_MAX + 3);
        argv[argc++] = (char *)*arguments;
    }
    return node_options_parse(argc, argv, &options, &failure);
}

#define PARSE(...) parse(empty_file, (const char *const[]){__VA_ARGS__, NULL})

static enum ppn_error set(const char *key, const char *value)
{
    memset(&options, 0, sizeof(options));
    failure = (struct ppn_failure){0};
    return node_options_set(&options, key, value, &failure);
}

static void write_file(char path[static 32], const char *text)
{
    (void)snprintf(path, 32, "/tmp/ppn-options-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(close(fd), 0);
}

Test(options, defaults)
{
    cr_assert_eq(parse(empty_file, (const char *const[]){NULL}), PPN_OK, "%s", failure.text);
    cr_expect_str_eq(options.state_dir, "/var/lib/ppn");
    cr_expect_str_eq(options.socket, "/run/ppn/ppn.sock");
    cr_expect_str_eq(options.interface, "ppn0");
    cr_expect_eq(options.listen.port, PPN_PORT_PUBLIC);
    cr_expect_str_empty(options.listen.host);
    cr_expect_eq(options.log_level, PPN_LOG_INFO);
    cr_expect_eq(options.mesh, NODE_MESH_AUTO);
    cr_expect_eq(options.memory_reserve_bytes, 0);
    cr_expect_str_empty(options.found);
    cr_expect_str_empty(options.name);
    cr_expect_str_empty(options.token);
    cr_expect_eq(options.seed_count + options.advertise_count + options.label_count, 0);
    cr_expect_not(options.check_config || options.help || options.version);
}

Test(options, every_option_reaches_its_field)
{
    cr_assert_eq(PARSE("--seed", "a.example", "--seed", "203.0.113.7:7000", "--token", "abc",
                       "--name", "ant", "--state-dir", "/s", "--socket", "/s/sock", "--listen",
                       "7777", "--advertise", "[2001:db8::1]:7778", "--interface", "mesh1",
                       "--mesh", "userspace", "--label", "disk=ssd", "--label", "room=",
                       "--memory-reserve", "512M", "--log-level", "debug", "--check-config"),
                 PPN_OK, "%s", failure.text);
    cr_expect_eq(options.seed_count, 2);
    cr_expect_str_eq(options.seeds[0].host, "a.example");
    cr_expect_eq(options.seeds[0].port, 0);
    cr_expect_str_eq(options.seeds[1].host, "203.0.113.7");
    cr_expect_eq(options.seeds[1].port, 7000);
    cr_expect_str_eq(options.token, "abc");
    cr_expect_str_eq(options.name, "ant");
    cr_expect_str_eq(options.state_dir, "/s");
    cr_expect_str_eq(options.socket, "/s/sock");
    cr_expect_eq(options.listen.port, 7777);
    cr_expect_eq(options.advertise_count, 1);
    cr_expect_str_eq(options.advertise[0].host, "2001:db8::1");
    cr_expect_eq(options.advertise[0].port, 7778);
    cr_expect_str_eq(options.interface, "mesh1");
    cr_expect_eq(options.mesh, NODE_MESH_USERSPACE);
    cr_expect_eq(options.label_count, 2);
    cr_expect_str_eq(options.labels[0].key, "disk");
    cr_expect_str_eq(options.labels[0].value, "ssd");
    cr_expect_str_empty(options.labels[1].value);
    cr_expect_eq(options.memory_reserve_bytes, 512ULL << 20);
    cr_expect_eq(options.log_level, PPN_LOG_DEBUG);
    cr_expect(options.check_config);
    cr_assert_eq(PARSE("--found", "office"), PPN_OK);
    cr_expect_str_eq(options.found, "office");
    cr_expect_eq(options.seed_count, 0, "nothing is left of the parsing before");
}

Test(options, help_and_version_look_at_nothing_else)
{
    cr_assert_eq(parse("/nonexistent/file", (const char *const[]){"--help", NULL}), PPN_OK);
    cr_expect(options.help);
    cr_assert_eq(PARSE("--version", "--mesh", "nonsense"), PPN_OK);
    cr_expect(options.version);
}

Test(options, usage_names_every_option)
{
    static const char *const names[] = {
        "found",     "seed",      "token",        "name", "state-dir", "socket",
        "listen",    "advertise", "interface",    "mesh", "label",     "memory-reserve",
        "log-level", "config",    "check-config", "help", "version"};
    char word[32];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(word, sizeof(word), "--%s", names[i]);
        cr_expect_not_null(strstr(node_options_usage(), word), "%s", word);
    }
}

Test(options, command_lines_that_are_wrong)
{
    static const struct {
        const char *arguments[5];
        const char *says;
    } cases[] = {
        {{"--nonsense"}, "--nonsense"},
        {{"--name"}, "--name"},
        {{"-x"}, "-x"},
        {{"stray"}, "stray"},
        {{"--name", "ant", "stray"}, "stray"},
        {{"--found", "office", "--seed", "a"}, "choose"},
        {{"--seed", "a", "--found", "office"}, "choose"},
        {{"--found", "office", "--token", "abc"}, "choose"},
        {{"--name", "Ant"}, "--name: 'Ant'"},
        {{"--mesh", "magic"}, "'magic'"},
        {{"--help=yes"}, "--help=yes"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum ppn_error error = parse(empty_file, cases[i].arguments);
        cr_expect_eq(error, PPN_ERROR_INVALID, "%s", cases[i].arguments[0]);
        cr_expect_not_null(strstr(failure.text, cases[i].says), "%s: %s", cases[i].says,
                           failure.text);
    }
}

Test(options, hosts)
{
    static const struct {
        const char *text, *host;
        int port; /* -1: refused */
    } cases[] = {
        {"a", "a", 0},
        {"a.example:1", "a.example", 1},
        {"192.0.2.1:65535", "192.0.2.1", 65535},
        {"2001:db8::1", "2001:db8::1", 0},
        {"[2001:db8::1]", "2001:db8::1", 0},
        {"[2001:db8::1]:9", "2001:db8::1", 9},
        {"fe80::1%eth0", "fe80::1%eth0", 0},
        {"a:0", NULL, -1},
        {"a:65536", NULL, -1},
        {"a:", NULL, -1},
        {"a:12x", NULL, -1},
        {":7", NULL, -1},
        {"", NULL, -1},
        {"[]", NULL, -1},
        {"[::1", NULL, -1},
        {"[::1]7", NULL, -1},
        {"-a", NULL, -1},
        {"a b", NULL, -1},
        {"a;b", NULL, -1},
        {"a/b", NULL, -1},
        {"http://a", NULL, -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum ppn_error error = set("seed", cases[i].text);
        cr_expect_eq(error, cases[i].port < 0 ? PPN_ERROR_INVALID : PPN_OK, "'%s': %s",
                     cases[i].text, failure.text);
        cr_expect_eq(options.seed_count, cases[i].port < 0 ? 0 : 1, "'%s'", cases[i].text);
        if (cases[i].port >= 0) {
            cr_expect_str_eq(options.seeds[0].host, cases[i].host);
            cr_expect_eq(options.seeds[0].port, cases[i].port, "'%s'", cases[i].text);
        }
    }
    char longest[NODE_HOST_MAX + 32];
    memset(longest, 'a', sizeof(longest));
    longest[NODE_HOST_MAX + 1] = '\0';
    cr_expect_eq(set("seed", longest), PPN_ERROR_INVALID);
    longest[NODE_HOST_MAX] = '\0';
    cr_expect_eq(set("seed", longest), PPN_OK);
}

Test(options, listening)
{
    cr_expect_eq(set("listen", "1"), PPN_OK);
    cr_expect_eq(options.listen.port, 1);
    cr_expect_eq(set("listen", "192.0.2.1:5"), PPN_OK);
    cr_expect_str_eq(options.listen.host, "192.0.2.1");
    cr_expect_eq(set("listen", "[::1]:6"), PPN_OK);
    cr_expect_eq(options.listen.port, 6);
    static const char *const wrong[] = {"", "0", "65536", "192.0.2.1", "::1", "a:b"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_eq(set("listen", wrong[i]), PPN_ERROR_INVALID, "'%s'", wrong[i]);
}

Test(options, sizes)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t bytes;
    } cases[] = {
        {"0", true, 0},
        {"1048576", true, 1048576},
        {"1K", true, 1024},
        {"512M", true, 512ULL << 20},
        {"2G", true, 2ULL << 30},
        {"1T", true, 1ULL << 40},
        {"16777215T", true, 16777215ULL << 40},
        {"16777216T", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"M", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 M", false, 0},
        {"1MB", false, 0},
        {"1m", false, 0},
        {"1.5G", false, 0},
        {"0x10", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum ppn_error error = set("memory-reserve", cases[i].text);
        cr_expect_eq(error, cases[i].valid ? PPN_OK : PPN_ERROR_INVALID, "'%s'", cases[i].text);
        cr_expect_eq(options.memory_reserve_bytes, cases[i].bytes, "'%s'", cases[i].text);
    }
}

Test(options, labels)
{
    static const char *const good[] = {"a=b", "a=", "gpu-1=rtx-4090", "a=b:c/d_e.f"};
    static const char *const wrong[] = {"",      "a",     "=b",      "A=b",       "a_b=c",
                                        "a=b c", "a=b=c", "a=\"b\"", "a=\x1b[0m", "a=b,c"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect_eq(set("label", good[i]), PPN_OK, "'%s': %s", good[i], failure.text);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_eq(set("label", wrong[i]), PPN_ERROR_INVALID, "'%s'", wrong[i]);
    char text[2 * PPN_NAME_MAX];
    memset(text, 'a', sizeof(text));
    (void)snprintf(text + PPN_NAME_MAX, 3, "=b");
    cr_expect_eq(set("label", text), PPN_OK);
    memset(text, 'a', sizeof(text));
    (void)snprintf(text + PPN_NAME_MAX + 1, 3, "=b");
    cr_expect_eq(set("label", text), PPN_ERROR_INVALID);
}

Test(options, words_and_texts)
{
    static const struct {
        const char *key, *value;
        bool valid;
    } cases[] = {
        {"mesh", "auto", true},
        {"mesh", "kernel", true},
        {"mesh", "userspace", true},
        {"mesh", "plain", true},
        {"mesh", "", false},
        {"mesh", "Auto", false},
        {"log-level", "debug", true},
        {"log-level", "info", true},
        {"log-level", "warn", true},
        {"log-level", "error", true},
        {"log-level", "loud", false},
        {"found", "office", true},
        {"found", "my office", false},
        {"found", "", false},
        {"name", "a-1", true},
        {"name", "-a", false},
        {"name", "a-", false},
        {"name", "a.b", false},
        {"state-dir", "", false},
        {"socket", "", false},
        {"interface", "", false},
        {"interface", "ppn0", true},
        {"interface", "fifteen-letters", true},
        {"interface", "sixteen-letters-", false},
        {"config", "/x", false},
        {"help", "", false},
        {"Name", "a", false},
        {"", "a", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(set(cases[i].key, cases[i].value), cases[i].valid ? PPN_OK : PPN_ERROR_INVALID,
                     "%s=%s: %s", cases[i].key, cases[i].value, failure.text);
}

Test(options, lists_have_an_end)
{
    static const struct {
        const char *key, *value;
        uint32_t most;
    } cases[] = {
        {"seed", "a", PPN_SEEDS_MAX},
        {"advertise", "192.0.2.1", PPN_ENDPOINTS_MAX},
        {"label", "a=b", PPN_LABELS_MAX},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&options, 0, sizeof(options));
        for (uint32_t n = 0; n < cases[i].most; n++)
            cr_assert_eq(node_options_set(&options, cases[i].key, cases[i].value, &failure),
                         PPN_OK);
        cr_expect_eq(node_options_set(&options, cases[i].key, cases[i].value, &failure),
                     PPN_ERROR_FULL, "%s", cases[i].key);
    }
}

Test(options, tokens)
{
    char path[32], word[34];
    cr_expect_eq(set("token", "ppn-invite"), PPN_OK);
    cr_expect_str_eq(options.token, "ppn-invite");
    static char huge[NODE_TOKEN_MAX + 2];
    memset(huge, 'a', sizeof(huge) - 1);
    cr_expect_eq(set("token", huge), PPN_ERROR_INVALID);

    cr_expect_eq(set("token", "@/nonexistent/file"), PPN_ERROR_NOT_FOUND);
    cr_expect_not_null(strstr(failure.text, "/nonexistent/file"));

    static const struct {
        const char *content, *token; /* NULL: refused */
    } files[] = {{"abc\n", "abc"},  {"abc", "abc"}, {"abc\r\nmore\n", "abc"},
                 {"abc \n", "abc"}, {"", NULL},     {"\n", NULL},
                 {" \n", NULL}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        write_file(path, files[i].content);
        (void)snprintf(word, sizeof(word), "@%s", path);
        cr_expect_eq(set("token", word), files[i].token != NULL ? PPN_OK : PPN_ERROR_INVALID,
                     "file %zu", i);
        if (files[i].token != NULL)
            cr_expect_str_eq(options.token, files[i].token);
        cr_expect_eq(unlink(path), 0);
    }
}

Test(options, a_file_and_the_command_line_over_it)
{
    char path[32];
    write_file(path, "# a comment\n"
                     "; another\n"
                     "\n"
                     "  name = ant  \n"
                     "mesh=kernel\n"
                     "seed = a.example\r\n"
                     "seed = b.example\n"
                     "advertise = 192.0.2.1\n"
                     "label = disk=ssd\n"
                     "memory-reserve = 1G");
    cr_assert_eq(parse(path, (const char *const[]){NULL}), PPN_OK, "%s", failure.text);
    cr_expect_str_eq(options.name, "ant");
    cr_expect_eq(options.mesh, NODE_MESH_KERNEL);
    cr_expect_eq(options.seed_count, 2);
    cr_expect_str_eq(options.seeds[0].host, "a.example");
    cr_expect_str_eq(options.labels[0].value, "ssd");
    cr_expect_eq(options.memory_reserve_bytes, 1ULL << 30);

    const char *const over[] = {"--name",    "bee",    "--seed",    "c.example", "--advertise",
                                "192.0.2.2", "--seed", "d.example", NULL};
    cr_assert_eq(parse(path, over), PPN_OK, "%s", failure.text);
    cr_expect_str_eq(options.name, "bee");
    cr_expect_eq(options.mesh, NODE_MESH_KERNEL, "what the command line leaves alone stays");
    cr_expect_eq(options.seed_count, 2, "a list is replaced, not lengthened");
    cr_expect_str_eq(options.seeds[0].host, "c.example");
    cr_expect_eq(options.advertise_count, 1);
    cr_expect_str_eq(options.advertise[0].host, "192.0.2.2");

    const char *const found[] = {"--found", "office", NULL};
    cr_expect_eq(parse(path, found), PPN_ERROR_INVALID, "the file's seeds count, too");
    cr_expect_eq(unlink(path), 0);
}

Test(options, files_that_are_wrong)
{
    static const struct {
        const char *content, *where, *says;
    } cases[] = {
        {"name = ant\nnonsense\n", ":2:", "KEY = VALUE"},
        {"\n\nnonsense = 1\n", ":3:", "'nonsense'"},
        {"name = A\n", ":1:", "'A'"},
        {"config = /etc/other\n", ":1:", "'config'"},
        {"--name = ant\n", ":1:", "'--name'"},
        {"= ant\n", ":1:", "unknown"},
        {"name =\n", ":1:", "name"},
        {"memory-reserve = lots\n", ":1:", "'lots'"},
    };
    char path[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(path, cases[i].content);
        cr_expect_eq(parse(path, (const char *const[]){NULL}), PPN_ERROR_INVALID, "file %zu", i);
        cr_expect_not_null(strstr(failure.text, path), "%s", failure.text);
        cr_expect_not_null(strstr(failure.text, cases[i].where), "%s", failure.text);
        cr_expect_not_null(strstr(failure.text, cases[i].says), "%s", failure.text);
        cr_expect_eq(unlink(path), 0);
    }
    cr_expect_eq(parse("/nonexistent/file", (const char *const[]){NULL}), PPN_ERROR_NOT_FOUND);
    cr_expect_not_null(strstr(failure.text, "/nonexistent/file"));
}

Test(options, tcp_port_of_a_relay)
{
    cr_assert_eq(PARSE("--found", "x"), PPN_OK);
    cr_expect_eq(options.relay_tcp_port, PPN_PORT_RELAY_TCP);
    cr_assert_eq(set("relay-tcp", "8443"), PPN_OK);
    cr_expect_eq(options.relay_tcp_port, 8443);
    cr_assert_eq(set("relay-tcp", "off"), PPN_OK);
    cr_expect_eq(options.relay_tcp_port, 0);
    cr_expect_eq(set("relay-tcp", "0"), PPN_ERROR_INVALID);
    cr_expect_eq(set("relay-tcp", "65536"), PPN_ERROR_INVALID);
    cr_expect_eq(set("relay-tcp", "on"), PPN_ERROR_INVALID);
}
