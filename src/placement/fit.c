// SPDX-License-Identifier: ISC
#include "placement/placement.h"

#include <string.h>

#include "base/assert.h"

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t subtract(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

uint64_t placement_memory_need_bytes(const struct ppn_demand *demand, bool emulated)
{
    uint64_t need = demand->memory_bytes;
    need = add(need, demand->memory_bytes / PLACEMENT_OVERHEAD_MEMORY_DIVISOR);
    need = add(need, PLACEMENT_OVERHEAD_BASE_BYTES);
    need = add(need, demand->vcpus * PLACEMENT_OVERHEAD_VCPU_BYTES);
    return emulated ? add(need, PLACEMENT_OVERHEAD_TCG_BYTES) : need;
}

bool placement_emulated(const struct ppn_profile *profile, const struct ppn_demand *demand)
{
    return demand->allow_emulation && profile->kvm < PPN_KVM_FAST;
}

/* The gossiped list is cut at PPN_IMAGE_TAGS_MAX, so absence only means "not known to be there". */
static bool image_present(const struct ppn_profile *profile, const struct ppn_demand *demand)
{
    if (ppn_hash_is_zero(&demand->image_hash))
        return false;
    for (uint32_t i = 0; i < profile->image_count; i++)
        if (memcmp(profile->images[i].bytes, demand->image_hash.bytes, PPN_IMAGE_TAG_SIZE) == 0)
            return true;
    return false;
}

static bool label_matches(const struct ppn_profile *profile, const struct ppn_label *wanted)
{
    for (uint32_t i = 0; i < profile->label_count; i++)
        if (strcmp(profile->labels[i].key, wanted->key) == 0)
            return strcmp(profile->labels[i].value, wanted->value) == 0;
    return false;
}

static void measure(const struct placement_node *node, const struct ppn_demand *demand,
                    struct placement_verdict *verdict)
{
    const struct ppn_profile *profile = node->profile;
    const struct ppn_load *load = node->load;
    uint64_t promised = add(load->memory_reserved_bytes, PLACEMENT_HOST_RESERVE_BYTES);
    uint64_t vcpus = (uint64_t)profile->cpus * PLACEMENT_VCPUS_PER_CPU;
    uint64_t vcpus_free = subtract(vcpus, load->vcpus_reserved);

    verdict->emulated = placement_emulated(profile, demand);
    verdict->image_present = image_present(profile, demand);
    verdict->memory_need_bytes = placement_memory_need_bytes(demand, verdict->emulated);
    verdict->memory_free_bytes = subtract(profile->memory_total_bytes, promised);
    verdict->disk_need_bytes = demand->disk_bytes ? demand->disk_bytes : demand->image_bytes;
    if (!verdict->image_present)
        verdict->disk_need_bytes = add(verdict->disk_need_bytes, demand->image_bytes);
    verdict->disk_free_bytes = subtract(load->disk_free_bytes, PLACEMENT_DISK_MARGIN_BYTES);
    verdict->vcpus_free = vcpus_free > UINT32_MAX ? UINT32_MAX : (uint32_t)vcpus_free;
}

static enum placement_reason judge_state(const struct placement_node *node,
                                         const struct ppn_demand *demand)
{
    if (demand->node[0] != '\0' && strcmp(demand->node, node->name) != 0)
        return PLACEMENT_NOT_NAMED;
    switch (node->state) {
    case PLACEMENT_STATE_ALIVE:
        break;
    case PLACEMENT_STATE_SUSPECT:
        return PLACEMENT_SUSPECT;
    case PLACEMENT_STATE_UNREACHABLE:
        return PLACEMENT_UNREACHABLE;
    case PLACEMENT_STATE_DEAD:
        return PLACEMENT_DEAD;
    case PLACEMENT_STATE_LEFT:
        return PLACEMENT_LEFT;
    }
    return node->profile == NULL || node->load == NULL ? PLACEMENT_UNKNOWN : PLACEMENT_FITS;
}

/* What the machine is. Emulation must be allowed in so many words: QEMU promises no isolation under
 * TCG, whatever the level asked for. */
static enum placement_reason judge_profile(const struct placement_node *node,
                                           const struct placement_request *request,
                                           struct placement_verdict *verdict)
{
    const struct ppn_profile *profile = node->profile;
    const struct ppn_demand *demand = request->demand;
    if (request->arch[0] != '\0' && strcmp(request->arch, profile->arch) != 0)
        return PLACEMENT_ARCH;
    if ((demand->kvm_required || !demand->allow_emulation) && profile->kvm < PPN_KVM_FAST)
        return PLACEMENT_KVM;
    if ((verdict->emulated ? PPN_ISOLATION_TCG : profile->isolation_max) < demand->isolation_min)
        return PLACEMENT_ISOLATION;
    for (uint32_t i = 0; i < demand->label_count; i++) {
        if (!label_matches(profile, &demand->labels[i])) {
            verdict->label = i;
            return PLACEMENT_LABEL;
        }
    }
    return profile->cordoned ? PLACEMENT_CORDONED : PLACEMENT_FITS;
}

/* A machine on battery will be carried away or run dry at any level of charge; a closed lid off the
 * mains is about to sleep. Who names the node has seen it and decides. A battery that reports 0 %
 * while on mains is merely dead, so the level is not judged. */
static enum placement_reason judge_power(const struct ppn_load *load,
                                         const struct ppn_demand *demand)
{
    if (demand->node[0] != '\0')
        return PLACEMENT_FITS;
    if (load->power == PPN_POWER_BATTERY)
        return PLACEMENT_BATTERY;
    return load->lid_closed && load->power != PPN_POWER_MAINS ? PLACEMENT_LID : PLACEMENT_FITS;
}

/* MemAvailable is only a veto: other programs may have what nobody promised, but what guests have
 * not touched yet makes it look larger than what is free to promise. */
static enum placement_reason judge_room(const struct placement_node *node,
                                        const struct ppn_demand *demand,
                                        const struct placement_verdict *verdict)
{
    if (demand->vcpus > node->profile->cpus)
        return PLACEMENT_CPUS;
    if (demand->vcpus > verdict->vcpus_free)
        return PLACEMENT_VCPUS;
    if (verdict->memory_need_bytes > verdict->memory_free_bytes)
        return PLACEMENT_MEMORY;
    if (verdict->memory_need_bytes > node->load->memory_available_bytes)
        return PLACEMENT_MEMORY_AVAILABLE;
    return verdict->disk_need_bytes > verdict->disk_free_bytes ? PLACEMENT_DISK : PLACEMENT_FITS;
}

enum placement_reason placement_fit(const struct placement_node *node,
                                    const struct placement_request *request,
                                    struct placement_verdict *verdict)
{
    const struct ppn_demand *demand = request->demand;
    PPN_ASSERT(node->name != NULL && request->arch != NULL);
    PPN_ASSERT(demand->label_count <= PPN_LABELS_MAX);

    *verdict = (struct placement_verdict){.reason = PLACEMENT_UNKNOWN};
    if (node->profile != NULL && node->load != NULL)
        measure(node, demand, verdict);
    verdict->reason = judge_state(node, demand);
    if (verdict->reason == PLACEMENT_FITS)
        verdict->reason = judge_profile(node, request, verdict);
    if (verdict->reason == PLACEMENT_FITS)
        verdict->reason = judge_power(node->load, demand);
    if (verdict->reason == PLACEMENT_FITS)
        verdict->reason = judge_room(node, demand, verdict);
    return verdict->reason;
}
