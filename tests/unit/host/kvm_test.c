// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/kvm_internal.h"
#include "os/os_clock.h"
#include "os/os_file.h"
#include "os/os_loop.h"

static char directory[64];
static struct os_loop *loop;
static struct host_kvm_report report;
static int reports;

static void open_all(void)
{
    struct ppn_failure failure;
    snprintf(directory, sizeof(directory), "/tmp/ppn-kvm-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    cr_assert(os_loop_open(&loop, &failure) == PPN_OK);
    reports = 0;
}

static void close_all(void)
{
    struct ppn_failure failure;
    os_loop_close(loop);
    cr_assert(os_directory_remove("/tmp", directory + strlen("/tmp/"), &failure) == PPN_OK);
}

TestSuite(host_kvm, .init = open_all, .fini = close_all);

static void on_done(void *context, const struct host_kvm_report *found)
{
    (void)context;
    report = *found;
    reports++;
    os_loop_stop(loop);
}

/* A script in place of a program. */
static const char *script(const char *name, const char *text)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    fclose(file);
    cr_assert(chmod(path, 0700) == 0);
    return path;
}

static void probe(const char *child, const char *qemu, const char *device, const char *cache)
{
    struct ppn_failure failure = {0};
    struct host_kvm_probe *running;
    struct host_kvm_config config = {.probe_path = child,
                                     .qemu_path = qemu,
                                     .device = device,
                                     .cache_path = cache,
                                     .work_dir = directory,
                                     .on_done = on_done};
    reports = 0;
    cr_assert(host_kvm_start(loop, &config, &running, &failure) == PPN_OK);
    cr_assert(reports == 0);
    os_loop_run(loop);
    cr_assert(reports == 1);
    host_kvm_free(running);
}

Test(host_kvm, each_line_raises_the_level)
{
    static const struct {
        const char *text;
        enum ppn_kvm_level level;
    } cases[] = {{"", PPN_KVM_NONE},
                 {"garbage\ndevice\n", PPN_KVM_NONE},
                 {"device\n", PPN_KVM_DEVICE},
                 {"device\nfast\n", PPN_KVM_DEVICE},
                 {"device\nruns\n", PPN_KVM_RUNS},
                 {"device\nruns\nrate 700000\n", PPN_KVM_RUNS},
                 {"device\nruns\nrate x\nfast\n", PPN_KVM_RUNS},
                 {"device\nruns\nrate 1\nfaster\n", PPN_KVM_RUNS},
                 {"device\nruns\nrate 2000000000\nfast\n", PPN_KVM_FAST}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct host_kvm_report found = {.level = PPN_KVM_NONE};
        host_kvm_output_parse(cases[i].text, &found);
        cr_assert(found.level == cases[i].level, "case %zu", i);
    }
}

Test(host_kvm, the_cache_is_believed_for_the_same_key_only)
{
    struct host_kvm_report found = {.level = PPN_KVM_BOOTS,
                                    .cpu = "host,-arch-capabilities",
                                    .loop_iterations_per_second = 12345};
    struct host_kvm_report read = {.level = PPN_KVM_NONE};
    char text[HOST_KVM_CACHE_MAX];
    host_kvm_cache_write(&found, "key one", text);
    cr_assert(!host_kvm_cache_read(text, "key two", &read) && read.level == PPN_KVM_NONE);
    cr_assert(host_kvm_cache_read(text, "key one", &read));
    cr_assert(read.level == PPN_KVM_BOOTS && read.cached);
    cr_assert_str_eq(read.cpu, found.cpu);
    for (size_t cut = 0; cut + 8 < strlen(text); cut++) {
        char part[HOST_KVM_CACHE_MAX];
        memcpy(part, text, cut);
        part[cut] = '\0';
        cr_assert(!host_kvm_cache_read(part, "key one", &read), "cut at %zu", cut);
    }
}

Test(host_kvm, no_device_is_none_and_says_why)
{
    probe(PROBE_KVM, script("qemu", "echo QEMU 1"), "/nonexistent/kvm", NULL);
    cr_assert(report.level == PPN_KVM_NONE && report.cpu[0] == '\0');
    cr_assert(strstr(report.reason, "No such file") != NULL, "%s", report.reason);
}

Test(host_kvm, a_device_that_hangs_is_killed_at_the_deadline)
{
    char device[128];
    snprintf(device, sizeof(device), "%s/kvm", directory);
    cr_assert(mkfifo(device, 0600) == 0);
    /* Opened for reading and writing a pipe opens at once, and a read from it never returns. */
    const char *child = script("probe", "exec 3<>\"$1\"; echo device; read line <&3");
    struct ppn_instant start = os_clock_monotonic();
    probe(child, script("qemu", "echo QEMU 1"), device, NULL);
    int64_t spent_ms = ppn_to_ms(ppn_between(start, os_clock_monotonic()));
    cr_assert(report.level == PPN_KVM_DEVICE && report.reason[0] != '\0');
    cr_assert(spent_ms >= HOST_KVM_CHILD_MS && spent_ms < HOST_KVM_CHILD_MS + 3000);
}

Test(host_kvm, a_child_that_ignores_sigterm_is_killed_too)
{
    const char *child = script("probe", "trap '' TERM; echo device; echo runs; "
                                        "while :; do read line </dev/zero; done");
    struct ppn_instant start = os_clock_monotonic();
    probe(child, script("qemu", "echo QEMU 1"), "/dev/null", NULL);
    cr_assert(report.level == PPN_KVM_RUNS);
    cr_assert(ppn_to_ms(ppn_between(start, os_clock_monotonic())) < HOST_KVM_CHILD_MS + 3000);
}

static const char fast_child[] = "echo device; echo runs; echo rate 2000000000; echo fast";

Test(host_kvm, fast_without_a_boot_stays_fast)
{
    probe(script("probe", fast_child),
          script("qemu", "[ \"$1\" = --version ] && echo QEMU 1 || { echo no luck >&2; exit 1; }"),
          "/dev/null", NULL);
    cr_assert(report.level == PPN_KVM_FAST && report.cpu[0] == '\0');
    cr_assert_str_eq(report.reason, "no luck");
}

Test(host_kvm, the_second_cpu_of_the_ladder_is_taken_and_remembered)
{
    char cache[128];
    snprintf(cache, sizeof(cache), "%s/cache", directory);
    const char *qemu = script("qemu", "[ \"$1\" = --version ] && { echo QEMU 1; exit; }\n"
                                      "case \"$*\" in *host,-*) echo ppn-boots; exit 1;; esac\n"
                                      "exit 134");
    probe(script("probe", fast_child), qemu, "/dev/null", cache);
    cr_assert(report.level == PPN_KVM_BOOTS && !report.cached && report.reason[0] == '\0');
    cr_assert_str_eq(report.cpu, "host,-arch-capabilities");
    probe("/nonexistent/probe", qemu, "/dev/null", cache);
    cr_assert(report.level == PPN_KVM_BOOTS && report.cached);
    cr_assert_str_eq(report.cpu, "host,-arch-capabilities");
    probe("/nonexistent/probe", qemu, "/nonexistent/kvm", cache);
    cr_assert(report.level == PPN_KVM_NONE, "a device that went away is not believed in");
}

Test(host_kvm, a_claim_needs_the_lab)
{
    setenv("PPN_LAB_KVM", "boots", 1);
    unsetenv("PPN_LAB");
    probe("/nonexistent/probe", script("qemu", "echo QEMU 1"), "/nonexistent/kvm", NULL);
    cr_assert(report.level == PPN_KVM_NONE && !report.claimed);
    setenv("PPN_LAB", "1", 1);
    probe("/nonexistent/probe", script("qemu", "echo QEMU 1"), "/nonexistent/kvm", NULL);
    cr_assert(report.level == PPN_KVM_BOOTS && report.claimed);
}

Test(host_kvm, this_machine_is_measured_without_hanging)
{
    struct ppn_instant start = os_clock_monotonic();
    probe(PROBE_KVM, NULL, NULL, NULL);
    cr_assert(ppn_to_ms(ppn_between(start, os_clock_monotonic())) < 60000);
    cr_assert(report.level <= PPN_KVM_BOOTS);
    cr_assert((report.level == PPN_KVM_BOOTS) == (report.reason[0] == '\0'));
}
