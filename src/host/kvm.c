// SPDX-License-Identifier: ISC
#include "host/kvm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"
#include "host/facts.h"
#include "host/host_read.h"
#include "host/kvm_internal.h"
#include "os/os_child.h"
#include "os/os_file.h"
#include "os/os_loop.h"
#include "os/os_process.h"

enum {
    PROBE_NAME_MAX = 1024,
    KILL_GRACE_MS = 200,
    HANG_MS = 2000, /* a killed child that is still not gone sits in the kernel for good */
    VERSION_MS = 5000,
    OUTPUT_MAX = 64 * 1024
};

enum step { STEP_CLAIM, STEP_VERSION, STEP_MEASURE, STEP_BOOT, STEP_DONE };

struct host_kvm_probe {
    struct os_loop *loop;
    void *context;
    void (*on_done)(void *context, const struct host_kvm_report *report);
    char probe_path[PROBE_NAME_MAX], qemu_path[PROBE_NAME_MAX], device[PROBE_NAME_MAX];
    char cache_path[PROBE_NAME_MAX], boot_path[PROBE_NAME_MAX];
    struct host_kvm_report report;
    char key[HOST_KVM_KEY_MAX];
    enum step step;
    size_t rung;
    struct os_child *child;
    struct os_timer watchdog;
    struct os_closure next;
};

/* From the best CPU down. Without arch-capabilities: some hosts' KVM refuses the MSR behind it, and
 * QEMU aborts (MSR 0x10a, seen on nested EPYC). */
static const char *const ladder[] = {"host", "host,-arch-capabilities", "qemu64"};
enum { LADDER = sizeof(ladder) / sizeof(ladder[0]) };

static const char *const level_names[] = {"none", "device", "runs", "fast", "boots"};

const char *host_kvm_level_name(enum ppn_kvm_level level)
{
    PPN_ASSERT((size_t)level < sizeof(level_names) / sizeof(level_names[0]));
    return level_names[level];
}

/* The loop of a boot sector: prints its message on COM1, then writes to QEMU's exit port. */
static void boot_sector(uint8_t sector[static 512])
{
    static const uint8_t code[] = {
        0xfa,                               /* cli */
        0x31, 0xc0, 0x8e, 0xd8,             /* ds = 0 */
        0xbe, 0x1a, 0x7c,                   /* si = the message, at 0x7c00 + 0x1a */
        0xba, 0xf8, 0x03,                   /* dx = COM1 */
        0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, /* lodsb; until zero: out dx, al */
        0xeb, 0xf8,                         /* again */
        0xba, 0xf4, 0x00, 0xee,             /* isa-debug-exit */
        0xf4, 0xeb, 0xfd                    /* hlt, for ever */
    };
    _Static_assert(sizeof(code) == 0x1a, "the message follows the code");
    memset(sector, 0, 512);
    memcpy(sector, code, sizeof(code));
    memcpy(sector + sizeof(code), HOST_KVM_GREETING, sizeof(HOST_KVM_GREETING));
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void say_done(struct host_kvm_probe *probe)
{
    const struct host_kvm_report *report = &probe->report;
    struct ppn_failure failure;
    os_timer_stop(&probe->watchdog);
    probe->step = STEP_DONE;
    if (probe->boot_path[0] != '\0' && os_file_remove(probe->boot_path, &failure) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "kvm-probe-file", "cause=\"%s\"", failure.text);
    if (report->level == PPN_KVM_BOOTS && !report->cached && !report->claimed &&
        probe->cache_path[0] != '\0') {
        char text[HOST_KVM_CACHE_MAX];
        host_kvm_cache_write(report, probe->key, text);
        if (os_file_replace(probe->cache_path, ppn_slice(text, strlen(text)), 0600, &failure) !=
            PPN_OK)
            ppn_log(PPN_LOG_WARN, "kvm-cache", "cause=\"%s\"", failure.text);
    }
    probe->on_done(probe->context, report);
}

static void reason(struct host_kvm_probe *probe, const char *text)
{
    (void)ppn_text_copy(probe->report.reason, sizeof(probe->report.reason), text);
    probe->report.reason[strcspn(probe->report.reason, "\r\n")] = '\0';
}

static void child_ended(void *context, const struct os_child_result *result);

/* A child with a deadline; the watchdog is for one that even SIGKILL does not end. */
static void run(struct host_kvm_probe *probe, const char *const *argv, int64_t deadline_ms)
{
    struct os_child_config config = {.argv = argv,
                                     .output = OS_CHILD_CAPTURE,
                                     .output_max = OUTPUT_MAX,
                                     .timeout = ppn_ms(deadline_ms),
                                     .grace = ppn_ms(KILL_GRACE_MS)};
    struct ppn_failure failure;
    enum ppn_error error =
        os_child_spawn(probe->loop, &config, child_ended, probe, &probe->child, &failure);
    if (error != PPN_OK) {
        struct os_child_result result = {.error = error, .exit_code = -1};
        (void)ppn_text_copy(result.text, sizeof(result.text), failure.text);
        child_ended(probe, &result);
        return;
    }
    os_timer_after(&probe->watchdog, ppn_ms(deadline_ms + KILL_GRACE_MS + HANG_MS));
}

static void hangs(void *context)
{
    struct host_kvm_probe *probe = context;
    os_child_abandon(probe->child);
    probe->child = NULL;
    if (probe->report.level < PPN_KVM_DEVICE)
        probe->report.level = PPN_KVM_DEVICE;
    reason(probe, "a process that used KVM hangs in the kernel and cannot be killed");
    say_done(probe);
}

static void ask_version(struct host_kvm_probe *probe)
{
    const char *argv[] = {probe->qemu_path, "--version", NULL};
    probe->step = STEP_VERSION;
    run(probe, argv, VERSION_MS);
}

static void measure(struct host_kvm_probe *probe)
{
    const char *argv[] = {probe->probe_path, probe->device, NULL};
    probe->step = STEP_MEASURE;
    run(probe, argv, HOST_KVM_CHILD_MS);
}

static void boot(struct host_kvm_probe *probe)
{
    char drive[PROBE_NAME_MAX + 64];
    snprintf(drive, sizeof(drive), "if=none,id=d,format=raw,readonly=on,file=%s", probe->boot_path);
    const char *argv[] = {probe->qemu_path,
                          "-no-user-config",
                          "-nodefaults",
                          "-machine",
                          "q35",
                          "-accel",
                          "kvm",
                          "-cpu",
                          ladder[probe->rung],
                          "-m",
                          "32",
                          "-smp",
                          "1",
                          "-display",
                          "none",
                          "-serial",
                          "stdio",
                          "-drive",
                          drive,
                          "-device",
                          "virtio-blk-pci,drive=d",
                          "-device",
                          "isa-debug-exit,iobase=0xf4,iosize=4",
                          "-no-reboot",
                          NULL};
    probe->step = STEP_BOOT;
    run(probe, argv, HOST_KVM_BOOT_MS);
}

static void first_boot(struct host_kvm_probe *probe)
{
    uint8_t sector[512];
    struct ppn_failure failure;
    boot_sector(sector);
    if (strchr(probe->boot_path, ',') != NULL ||
        os_file_replace(probe->boot_path, ppn_slice(sector, sizeof(sector)), 0600, &failure) !=
            PPN_OK) {
        reason(probe, "the boot sector for the probe could not be written");
        say_done(probe);
        return;
    }
    probe->rung = 0;
    boot(probe);
}

static void version_known(struct host_kvm_probe *probe, const struct os_child_result *result)
{
    char text[HOST_TEXT_MAX];
    host_kvm_key("", os_child_ok(result) ? (const char *)result->out.data : "", probe->key);
    if (probe->cache_path[0] != '\0' && os_child_ok(result) && os_file_exists(probe->device) &&
        os_file_read_text(probe->cache_path, text, sizeof(text)) == PPN_OK &&
        host_kvm_cache_read(text, probe->key, &probe->report)) {
        say_done(probe);
        return;
    }
    measure(probe);
}

static void measured(struct host_kvm_probe *probe, const struct os_child_result *result)
{
    if (result->out.data != NULL)
        host_kvm_output_parse((const char *)result->out.data, &probe->report);
    if (probe->report.level == PPN_KVM_FAST) {
        first_boot(probe);
        return;
    }
    if (result->err.size > 0)
        reason(probe, (const char *)result->err.data);
    else
        reason(probe, result->text);
    say_done(probe);
}

static void booted(struct host_kvm_probe *probe, const struct os_child_result *result)
{
    if (result->out.data != NULL &&
        strstr((const char *)result->out.data, HOST_KVM_GREETING) != NULL) {
        probe->report.level = PPN_KVM_BOOTS;
        probe->report.reason[0] = '\0';
        (void)ppn_text_copy(probe->report.cpu, sizeof(probe->report.cpu), ladder[probe->rung]);
        say_done(probe);
        return;
    }
    if (result->err.size > 0)
        reason(probe, (const char *)result->err.data);
    else if (result->error == PPN_ERROR_TIMEOUT)
        reason(probe, "QEMU with KVM printed nothing on the serial port in time");
    else
        reason(probe, result->text);
    if (++probe->rung < LADDER)
        boot(probe);
    else
        say_done(probe);
}

static void child_ended(void *context, const struct os_child_result *result)
{
    struct host_kvm_probe *probe = context;
    probe->child = NULL;
    os_timer_stop(&probe->watchdog);
    switch (probe->step) {
    case STEP_VERSION:
        version_known(probe, result);
        return;
    case STEP_MEASURE:
        measured(probe, result);
        return;
    case STEP_BOOT:
        booted(probe, result);
        return;
    case STEP_CLAIM:
    case STEP_DONE:
        break;
    }
    PPN_UNREACHABLE();
}

static void first_step(void *context)
{
    struct host_kvm_probe *probe = context;
    if (probe->step == STEP_CLAIM)
        say_done(probe);
    else
        ask_version(probe);
}

/* Labs place VMs by levels that this machine does not have; nobody else may. */
static bool claim(struct host_kvm_report *report)
{
    const char *lab = getenv("PPN_LAB"), *level = getenv("PPN_LAB_KVM");
    if (lab == NULL || strcmp(lab, "1") != 0 || level == NULL)
        return false;
    if (strcmp(level, "none") != 0 && strcmp(level, "boots") != 0) {
        ppn_log(PPN_LOG_WARN, "kvm-claim-ignored", "PPN_LAB_KVM=\"%s\" expected=none|boots", level);
        return false;
    }
    report->level = level[0] == 'b' ? PPN_KVM_BOOTS : PPN_KVM_NONE;
    report->claimed = true;
    ppn_log(PPN_LOG_WARN, "kvm-claimed", "level=%s warning=\"NOT MEASURED, set by PPN_LAB_KVM\"",
            level);
    return true;
}

static void copy_paths(struct host_kvm_probe *probe, const struct host_kvm_config *config)
{
    struct host_identity identity;
    char directory[PROBE_NAME_MAX] = "/tmp";
    host_identity("", &identity);
    snprintf(probe->device, PROBE_NAME_MAX, "%s",
             config->device != NULL ? config->device : "/dev/kvm");
    if (config->qemu_path != NULL)
        (void)ppn_text_copy(probe->qemu_path, PROBE_NAME_MAX, config->qemu_path);
    else
        snprintf(probe->qemu_path, PROBE_NAME_MAX, "qemu-system-%s", identity.arch);
    if (config->probe_path != NULL)
        (void)ppn_text_copy(probe->probe_path, PROBE_NAME_MAX, config->probe_path);
    else
        os_process_program("ppn-probe-kvm", probe->probe_path);
    if (config->cache_path != NULL)
        (void)ppn_text_copy(probe->cache_path, PROBE_NAME_MAX, config->cache_path);
    if (config->work_dir != NULL) {
        (void)ppn_text_copy(directory, sizeof(directory) - 64, config->work_dir);
    } else if (strrchr(probe->cache_path, '/') != NULL) {
        (void)ppn_text_copy(directory, sizeof(directory) - 64, probe->cache_path);
        *strrchr(directory, '/') = '\0';
    }
    directory[sizeof(directory) - 65] = '\0';
    int size = snprintf(probe->boot_path, PROBE_NAME_MAX, "%s/ppn-kvm-boot-%d.img", directory,
                        (int)getpid());
    PPN_ASSERT(size > 0 && size < PROBE_NAME_MAX);
}

enum ppn_error host_kvm_start(struct os_loop *loop, const struct host_kvm_config *config,
                              struct host_kvm_probe **probe, struct ppn_failure *failure)
{
    PPN_ASSERT(config->on_done != NULL);
    struct host_kvm_probe *made = calloc(1, sizeof(*made));
    *probe = made;
    if (made == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    made->loop = loop;
    made->context = config->context;
    made->on_done = config->on_done;
    copy_paths(made, config);
    made->step = claim(&made->report) ? STEP_CLAIM : STEP_VERSION;
    os_timer_init(&made->watchdog, loop, hangs, made);
    os_closure_init(&made->next, first_step, made);
    os_defer(loop, &made->next);
    return PPN_OK;
}

void host_kvm_free(struct host_kvm_probe *probe)
{
    struct ppn_failure failure;
    if (probe == NULL)
        return;
    os_timer_stop(&probe->watchdog);
    os_defer_cancel(probe->loop, &probe->next);
    os_child_kill(probe->child);
    if (probe->step == STEP_BOOT && os_file_remove(probe->boot_path, &failure) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "kvm-probe-file", "cause=\"%s\"", failure.text);
    free(probe);
}
