// SPDX-License-Identifier: ISC
#include <stdio.h>

#include "base/assert.h"
#include "placement/placement.h"

enum { SIZE_TEXT = 32 };

/* "640 MiB", "1.5 GiB": tenths, cut; needs are given as they are so that the two compare. */
static const char *size_text(uint64_t bytes, char text[static SIZE_TEXT])
{
    uint64_t mib = bytes / PLACEMENT_MIB;
    if (mib < 1024)
        snprintf(text, SIZE_TEXT, "%llu MiB", (unsigned long long)mib);
    else
        snprintf(text, SIZE_TEXT, "%llu.%llu GiB", (unsigned long long)(mib / 1024),
                 (unsigned long long)(mib % 1024 * 10 / 1024));
    return text;
}

const char *placement_reason_name(enum placement_reason reason)
{
    static const char *const names[] = {
#define X(name, word) [PLACEMENT_##name] = word,
        PLACEMENT_REASONS(X)
#undef X
    };
    return (unsigned)reason < PLACEMENT_REASON_COUNT ? names[reason] : "unknown";
}

static const char *kvm_text(enum ppn_kvm_level level)
{
    switch (level) {
    case PPN_KVM_NONE:
        return "there is no /dev/kvm that may be used";
    case PPN_KVM_DEVICE:
        return "/dev/kvm opens, but runs no guest";
    case PPN_KVM_RUNS:
        return "KVM runs guests far too slowly to be real";
    case PPN_KVM_FAST:
    case PPN_KVM_BOOTS:
        break;
    }
    return "KVM is fast";
}

static const char *isolation_text(enum ppn_isolation isolation)
{
    static const char *const names[] = {"tcg", "kvm", "kvm+sandbox", "sev-snp", "tdx"};
    return (unsigned)isolation < sizeof(names) / sizeof(*names) ? names[isolation] : "unknown";
}

/* Reasons that rest on what the node is or on how it is seen. */
static void text_of_node(const struct placement_node *node, const struct placement_request *request,
                         const struct placement_verdict *verdict, char *text, size_t capacity)
{
    const struct ppn_demand *demand = request->demand;
    const struct ppn_profile *profile = node->profile;
    switch ((int)verdict->reason) { /* the rest is the other function's */
    case PLACEMENT_NOT_NAMED:
        snprintf(text, capacity, "the request names another node, %s", demand->node);
        return;
    case PLACEMENT_LEFT:
        snprintf(text, capacity, "it left the pool; start ppn-node on it again");
        return;
    case PLACEMENT_DEAD:
        snprintf(text, capacity, "it is dead; see `ppn why %s`", node->name);
        return;
    case PLACEMENT_UNREACHABLE:
        snprintf(text, capacity, "it cannot be reached from here; see `ppn why %s`", node->name);
        return;
    case PLACEMENT_SUSPECT:
        snprintf(text, capacity, "it does not answer just now (suspect)");
        return;
    case PLACEMENT_UNKNOWN:
        snprintf(text, capacity, "it has not told what it has yet; try again in a moment");
        return;
    case PLACEMENT_ARCH:
        snprintf(text, capacity, "it is %s, the image is for %s", profile->arch, request->arch);
        return;
    case PLACEMENT_KVM:
        snprintf(text, capacity, "%s; --allow-emulation runs it without isolation, slowly",
                 kvm_text(profile->kvm));
        return;
    case PLACEMENT_ISOLATION:
        snprintf(text, capacity, "it isolates by %s at most, %s is required",
                 isolation_text(verdict->emulated ? PPN_ISOLATION_TCG : profile->isolation_max),
                 isolation_text(demand->isolation_min));
        return;
    default:
        PPN_ASSERT(verdict->reason == PLACEMENT_LABEL);
        snprintf(text, capacity, "it lacks the label %s=%s", demand->labels[verdict->label].key,
                 demand->labels[verdict->label].value);
    }
}

/* Reasons that rest on the moment. */
static void text_of_room(const struct placement_node *node, const struct placement_request *request,
                         const struct placement_verdict *verdict, char *text, size_t capacity)
{
    char need[SIZE_TEXT], have[SIZE_TEXT];
    switch ((int)verdict->reason) { /* the rest is the other function's */
    case PLACEMENT_CORDONED:
        snprintf(text, capacity, "it is cordoned; `ppn uncordon %s` ends that", node->name);
        return;
    case PLACEMENT_BATTERY:
        snprintf(text, capacity, "it runs on battery; plug it in, or insist with --node %s",
                 node->name);
        return;
    case PLACEMENT_LID:
        snprintf(text, capacity,
                 "its lid is closed and it is not on mains; or insist with --node %s", node->name);
        return;
    case PLACEMENT_CPUS:
        snprintf(text, capacity, "it has %u CPUs, %u vcpus are wanted", node->profile->cpus,
                 request->demand->vcpus);
        return;
    case PLACEMENT_VCPUS:
        snprintf(text, capacity, "%u more vcpus may be promised (%d a CPU), %u are wanted",
                 verdict->vcpus_free, PLACEMENT_VCPUS_PER_CPU, request->demand->vcpus);
        return;
    case PLACEMENT_MEMORY:
        snprintf(text, capacity, "it needs %s of memory with QEMU's own, %s is left to promise",
                 size_text(verdict->memory_need_bytes, need),
                 size_text(verdict->memory_free_bytes, have));
        return;
    case PLACEMENT_MEMORY_AVAILABLE:
        snprintf(text, capacity, "it needs %s of memory, other programs leave %s available",
                 size_text(verdict->memory_need_bytes, need),
                 size_text(node->load->memory_available_bytes, have));
        return;
    default:
        PPN_ASSERT(verdict->reason == PLACEMENT_DISK);
        snprintf(text, capacity, "it needs %s of disk%s, %s is free",
                 size_text(verdict->disk_need_bytes, need),
                 verdict->image_present ? "" : " with the image",
                 size_text(verdict->disk_free_bytes, have));
    }
}

void placement_verdict_text(const struct placement_node *node,
                            const struct placement_request *request,
                            const struct placement_verdict *verdict, char *text, size_t capacity)
{
    PPN_ASSERT(capacity > 0);
    if (verdict->reason == PLACEMENT_FITS)
        snprintf(text, capacity, "%s",
                 verdict->emulated ? "fits, under emulation: no isolation" : "fits");
    else if (verdict->reason <= PLACEMENT_LABEL)
        text_of_node(node, request, verdict, text, capacity);
    else
        text_of_room(node, request, verdict, text, capacity);
}

void placement_none_text(const struct placement_row *rows, size_t count,
                         const struct placement_request *request, char *text, size_t capacity)
{
    uint32_t counts[PLACEMENT_REASON_COUNT] = {0};
    const struct placement_row *nearest = NULL;
    PPN_ASSERT(capacity > 0);
    for (size_t i = 0; i < count; i++) {
        PPN_ASSERT(rows[i].verdict.reason != PLACEMENT_FITS);
        counts[rows[i].verdict.reason]++;
    }
    /* Rows come nearest to fitting first; where a node was named only that one is of interest. */
    for (size_t i = 0; i < count; i++) {
        if (rows[i].verdict.reason == PLACEMENT_NOT_NAMED)
            continue;
        if (nearest == NULL || counts[rows[i].verdict.reason] > counts[nearest->verdict.reason])
            nearest = &rows[i];
    }
    if (nearest == NULL && request->demand->node[0] != '\0') {
        snprintf(text, capacity, "no node is named %s; see `ppn nodes`", request->demand->node);
        return;
    }
    if (nearest == NULL) {
        snprintf(text, capacity, "no node is known; see `ppn nodes`");
        return;
    }
    char reason[PPN_FAILURE_TEXT_MAX];
    placement_verdict_text(nearest->node, request, &nearest->verdict, reason, sizeof(reason));
    snprintf(text, capacity, "none of %zu nodes can take it; %s: %s", count, nearest->node->name,
             reason);
}
