// SPDX-License-Identifier: ISC
#include "placement/placement.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

enum {
    SLOTS_MAX = 64, /* beyond that, more room makes no node a better choice */
    NEUTRAL = 1000,
    IMAGE_FACTOR = 3000, /* saves the fetch, which takes longer than everything else */
    WIFI_FACTOR = 500,   /* slower, and the first to drop out */
    HEAT_FACTOR = 250,   /* throttled: already above what it can cool */
    PATH_FACTOR = 500,   /* relayed or lossy from here */
    POWER_FACTOR = 500,  /* lid closed or on battery: less likely to stay */
    LOAD_FREE = 500,     /* per mille of the CPUs that may be busy without a loss */
    LOAD_FACTOR_MIN = 100,
    LOG_BITS = 24, /* fraction bits of the logarithm */
    DRAW_SHIFT = 44
};

/* The largest weight, shifted, fits 64 bits. */
_Static_assert((UINT64_C(1) * SLOTS_MAX * NEUTRAL * (IMAGE_FACTOR / NEUTRAL)) <
                   (UINT64_C(1) << (64 - DRAW_SHIFT)),
               "the draw must not overflow");

/* -log2(u / 2^64) with LOG_BITS fraction bits, at least 1, for u > 0. The fraction comes bit by bit
 * from squaring the mantissa: integers only, so the same everywhere. */
static uint64_t minus_log2(uint64_t u)
{
    unsigned leading = (unsigned)__builtin_clzll(u);
    uint64_t mantissa = (u << leading) >> 32; /* 1.31 bits, in [1, 2) */
    uint64_t fraction = 0;
    for (int bit = 0; bit < LOG_BITS; bit++) {
        mantissa = (mantissa * mantissa) >> 31;
        fraction <<= 1;
        if (mantissa >> 32) {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    uint64_t log = (((uint64_t)leading + 1) << LOG_BITS) - fraction;
    return log ? log : 1;
}

/* The hash key is part of the rule: another one would rank differently. */
static uint64_t rendezvous(const struct ppn_request_id *request, const struct ppn_node_id *node)
{
    static const struct ppn_hash_key key = {0x70706e2d706c6163, 0x656d656e742d3031};
    uint8_t bytes[PPN_REQUEST_ID_SIZE + PPN_ID_SIZE];
    memcpy(bytes, request->bytes, PPN_REQUEST_ID_SIZE);
    memcpy(bytes + PPN_REQUEST_ID_SIZE, node->bytes, PPN_ID_SIZE);
    uint64_t u = ppn_hash64(key, ppn_slice(bytes, sizeof(bytes)));
    return u ? u : 1;
}

static uint32_t slots(const struct placement_verdict *verdict, const struct ppn_demand *demand)
{
    uint64_t fits = SLOTS_MAX;
    uint64_t by_memory = verdict->memory_free_bytes / verdict->memory_need_bytes;
    if (by_memory < fits)
        fits = by_memory;
    if (demand->vcpus && verdict->vcpus_free / demand->vcpus < fits)
        fits = verdict->vcpus_free / demand->vcpus;
    if (verdict->disk_need_bytes && verdict->disk_free_bytes / verdict->disk_need_bytes < fits)
        fits = verdict->disk_free_bytes / verdict->disk_need_bytes;
    return fits ? (uint32_t)fits : 1;
}

static uint32_t load_factor(uint32_t load_per_mille)
{
    if (load_per_mille <= LOAD_FREE)
        return NEUTRAL;
    uint32_t factor = (uint32_t)LOAD_FREE * NEUTRAL / load_per_mille;
    return factor > LOAD_FACTOR_MIN ? factor : LOAD_FACTOR_MIN;
}

static void score(struct placement_row *row, const struct placement_request *request)
{
    const struct placement_node *node = row->node;
    bool unsteady = node->load->power == PPN_POWER_BATTERY || node->load->lid_closed;
    row->tier = row->verdict.emulated ? 0 : 1;
    row->slots = slots(&row->verdict, request->demand);
    row->factor_image = row->verdict.image_present ? IMAGE_FACTOR : NEUTRAL;
    row->factor_link = node->profile->link == PPN_LINK_WIFI ? WIFI_FACTOR : NEUTRAL;
    row->factor_heat = node->load->throttled ? HEAT_FACTOR : NEUTRAL;
    row->factor_path = node->path_degraded ? PATH_FACTOR : NEUTRAL;
    row->factor_load = load_factor(node->load->load_per_mille);
    row->factor_power = unsteady ? POWER_FACTOR : NEUTRAL;

    uint32_t factors[] = {row->factor_image, row->factor_link, row->factor_heat,
                          row->factor_path,  row->factor_load, row->factor_power};
    uint64_t weight = (uint64_t)row->slots * NEUTRAL;
    for (size_t i = 0; i < sizeof(factors) / sizeof(*factors); i++)
        weight = weight * factors[i] / NEUTRAL;
    row->weight = weight ? weight : 1;
    row->draw = (row->weight << DRAW_SHIFT) / minus_log2(rendezvous(&request->id, &node->id));
}

static int compare_rows(const void *left, const void *right)
{
    const struct placement_row *a = left, *b = right;
    bool a_fits = a->verdict.reason == PLACEMENT_FITS, b_fits = b->verdict.reason == PLACEMENT_FITS;
    if (a_fits != b_fits)
        return a_fits ? -1 : 1;
    if (a_fits && a->tier != b->tier)
        return a->tier > b->tier ? -1 : 1;
    if (a_fits && a->draw != b->draw)
        return a->draw > b->draw ? -1 : 1;
    if (a->verdict.reason != b->verdict.reason)
        return a->verdict.reason > b->verdict.reason ? -1 : 1; /* nearest to fitting first */
    return ppn_node_id_compare(&a->node->id, &b->node->id);
}

size_t placement_rank(const struct placement_node *nodes, size_t count,
                      const struct placement_request *request, struct placement_row *rows)
{
    size_t fitting = 0;
    PPN_ASSERT(count <= PPN_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct placement_row){.node = &nodes[i]};
        if (placement_fit(&nodes[i], request, &rows[i].verdict) == PLACEMENT_FITS) {
            score(&rows[i], request);
            fitting++;
        }
    }
    if (count > 1)
        qsort(rows, count, sizeof(*rows), compare_rows);
    PPN_ASSERT(fitting == 0 || rows[0].verdict.reason == PLACEMENT_FITS);
    return fitting;
}
