// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "host/facts.h"
#include "host/host_read.h"
#include "host/kvm_internal.h"

#define CACHE_HEAD "ppn-kvm-1"

static bool line_is(const char **text, const char *line)
{
    size_t length = strlen(line);
    if (strncmp(*text, line, length) != 0 || (*text)[length] != '\n')
        return false;
    *text += length + 1;
    return true;
}

void host_kvm_output_parse(const char *text, struct host_kvm_report *report)
{
    if (!line_is(&text, "device"))
        return;
    report->level = PPN_KVM_DEVICE;
    if (!line_is(&text, "runs"))
        return;
    report->level = PPN_KVM_RUNS;
    if (strncmp(text, "rate ", 5) != 0 ||
        !host_number(text + 5, &report->loop_iterations_per_second))
        return;
    text += strcspn(text, "\n");
    if (*text == '\n' && strcmp(text + 1, "fast\n") == 0)
        report->level = PPN_KVM_FAST;
}

/* The value of the first line of that name in /proc/cpuinfo, cut to fit; "" without one. */
static void cpu_field(const char *cpuinfo, const char *name, char *value, size_t capacity)
{
    const char *at = strstr(cpuinfo, name);
    value[0] = '\0';
    at = at == NULL ? NULL : strchr(at, ':');
    if (at != NULL)
        snprintf(value, capacity, "%.*s", (int)strcspn(at, "\n"), at);
}

void host_kvm_key(const char *root, const char *qemu_version, char key[static HOST_KVM_KEY_MAX])
{
    struct host_identity identity;
    char cpuinfo[HOST_TEXT_MAX], model[64], microcode[32];
    host_identity(root, &identity);
    /* One CPU's worth is enough, and the whole file may be longer than the buffer. */
    if (!host_read_start(root, "/proc/cpuinfo", cpuinfo))
        cpuinfo[0] = '\0';
    cpu_field(cpuinfo, "model name", model, sizeof(model));
    cpu_field(cpuinfo, "microcode", microcode, sizeof(microcode));
    snprintf(key, HOST_KVM_KEY_MAX, "%s|%.*s|%s|%s", identity.kernel,
             (int)strcspn(qemu_version, "\n"), qemu_version, model, microcode);
}

void host_kvm_cache_write(const struct host_kvm_report *report, const char *key,
                          char text[static HOST_KVM_CACHE_MAX])
{
    snprintf(text, HOST_KVM_CACHE_MAX, CACHE_HEAD "\n%s\n%s\n%s\n%llu\n", key,
             host_kvm_level_name(report->level), report->cpu,
             (unsigned long long)report->loop_iterations_per_second);
}

bool host_kvm_cache_read(const char *text, const char *key, struct host_kvm_report *report)
{
    struct host_kvm_report found = {.level = PPN_KVM_BOOTS, .cached = true};
    if (!line_is(&text, CACHE_HEAD) || !line_is(&text, key) ||
        !line_is(&text, host_kvm_level_name(PPN_KVM_BOOTS)))
        return false;
    size_t length = strcspn(text, "\n");
    if (length == 0 || length > HOST_CPU_MAX || text[length] != '\n')
        return false;
    memcpy(found.cpu, text, length);
    if (strspn(found.cpu, "abcdefghijklmnopqrstuvwxyz0123456789,-+_.") != length ||
        !host_number(text + length + 1, &found.loop_iterations_per_second))
        return false;
    *report = found;
    return true;
}
