// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* Who observes whom. Each of K orders puts all nodes on a ring by a keyed hash; on each ring the
 * next live member after X observes X (Rapid's monitoring topology, Suresh et al., ATC 2018).
 * Everybody computes the same rings from the same members, so nobody has to be told.
 *
 * Lost members are stepped over: their observer moves on, and whoever stands after a run of lost
 * members observes them all, so that there is always somebody who retries them. Views differ for
 * moments, so an accuser is accepted when it is near the subject on a ring, not only when it is the
 * very next one. With so few members that K neighbours are nearly all, all observe all. */

enum { ACCEPT_DEPTH = 3, WALK_MAX = 512 };

static uint32_t ring_members(const struct gossip *g)
{
    return g->states[GOSSIP_UNKNOWN] + g->states[GOSSIP_ALIVE] + g->states[GOSSIP_SUSPECT];
}

static bool everybody(const struct gossip *g)
{
    return ring_members(g) <= g->config.observers + 1;
}

static bool add_distinct(uint16_t *list, uint32_t *count, uint16_t index)
{
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == index)
            return false;
    PPN_ASSERT(*count < GOSSIP_TARGETS_MAX);
    list[(*count)++] = index;
    return true;
}

static uint16_t ring_next(const struct gossip *g, uint32_t ring, uint32_t *position)
{
    *position = *position + 1 >= g->pool->live ? 0 : *position + 1;
    return g->pool->orders[ring].nodes[*position];
}

static uint16_t ring_previous(const struct gossip *g, uint32_t ring, uint32_t *position)
{
    *position = *position == 0 ? g->pool->live - 1 : *position - 1;
    return g->pool->orders[ring].nodes[*position];
}

uint32_t gossip_observers_of(const struct gossip *g, uint16_t subject,
                             uint16_t observers[static GOSSIP_TARGETS_MAX])
{
    uint32_t count = 0;
    if (everybody(g)) {
        for (uint32_t i = 0; i < g->pool->live; i++) {
            uint16_t index = g->pool->orders[POOL_BY_TAG].nodes[i];
            if (index != subject && gossip_in_ring(g, index))
                add_distinct(observers, &count, index);
        }
        return count;
    }
    for (uint32_t ring = 0; ring < g->config.observers; ring++) {
        uint32_t position = g->pool->orders[ring].positions[subject];
        for (uint32_t step = 0; step < WALK_MAX; step++) {
            uint16_t index = ring_next(g, ring, &position);
            if (index == subject)
                break;
            if (gossip_in_ring(g, index)) {
                add_distinct(observers, &count, index);
                break;
            }
        }
    }
    return count;
}

bool gossip_may_observe(const struct gossip *g, uint16_t observer, uint16_t subject)
{
    if (observer == subject)
        return false;
    if (ring_members(g) <= 2 * g->config.observers)
        return true;
    for (uint32_t ring = 0; ring < g->config.observers; ring++) {
        uint32_t position = g->pool->orders[ring].positions[subject], passed = 0;
        for (uint32_t step = 0; step < WALK_MAX && passed < ACCEPT_DEPTH; step++) {
            uint16_t index = ring_next(g, ring, &position);
            if (index == observer)
                return true;
            if (index == subject)
                break;
            passed += gossip_in_ring(g, index);
        }
    }
    return false;
}

static void target_keep(struct gossip *g, const struct gossip_target *old, uint32_t old_count,
                        uint16_t index)
{
    for (uint32_t i = 0; i < g->target_count; i++)
        if (g->targets[i].index == index)
            return;
    PPN_ASSERT(g->target_count < GOSSIP_TARGETS_MAX);
    struct gossip_target target = {.index = index};
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].index == index)
            target = old[i];
    g->targets[g->target_count++] = target;
}

static void lost_keep(struct gossip *g, struct ppn_instant now, const struct gossip_lost *old,
                      uint32_t old_count, uint16_t index)
{
    for (uint32_t i = 0; i < g->lost_count; i++)
        if (g->lost[i].index == index)
            return;
    if (g->lost_count == GOSSIP_LOST_MAX)
        return;
    struct ppn_duration first =
        ppn_ms(GOSSIP_RETRY_LOST_MIN_MS / 2 + (int64_t)ppn_random_below(&g->random, 500));
    struct gossip_lost lost = {.index = index, .next = ppn_after(now, first)};
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].index == index)
            lost = old[i];
    g->lost[g->lost_count++] = lost;
}

static void refresh_walk(struct gossip *g, struct ppn_instant now, const struct gossip_target *old,
                         uint32_t old_count, const struct gossip_lost *old_lost,
                         uint32_t old_lost_count)
{
    for (uint32_t ring = 0; ring < g->config.observers; ring++) {
        uint32_t position = g->pool->orders[ring].positions[g->self];
        for (uint32_t step = 0; step < WALK_MAX; step++) {
            uint16_t index = ring_previous(g, ring, &position);
            if (index == g->self)
                break;
            if (gossip_in_ring(g, index)) {
                target_keep(g, old, old_count, index);
                break;
            }
            if (gossip_is_member(g, index) && gossip_is_lost(&g->slots[index]))
                lost_keep(g, now, old_lost, old_lost_count, index);
        }
    }
}

static void refresh_everybody(struct gossip *g, struct ppn_instant now,
                              const struct gossip_target *old, uint32_t old_count,
                              const struct gossip_lost *old_lost, uint32_t old_lost_count)
{
    for (uint32_t i = 0; i < g->pool->live; i++) {
        uint16_t index = g->pool->orders[POOL_BY_TAG].nodes[i];
        if (index == g->self || !gossip_is_member(g, index))
            continue;
        if (gossip_in_ring(g, index))
            target_keep(g, old, old_count, index);
        else if (gossip_is_lost(&g->slots[index]))
            lost_keep(g, now, old_lost, old_lost_count, index);
    }
}

void gossip_rings_refresh(struct gossip *g, struct ppn_instant now)
{
    if (!g->rings_dirty || !g->started)
        return;
    g->rings_dirty = false;
    struct gossip_target old[GOSSIP_TARGETS_MAX];
    struct gossip_lost old_lost[GOSSIP_LOST_MAX];
    uint32_t old_count = g->target_count, old_lost_count = g->lost_count;
    for (uint32_t i = 0; i < old_count; i++)
        old[i] = g->targets[i];
    for (uint32_t i = 0; i < old_lost_count; i++)
        old_lost[i] = g->lost[i];
    g->target_count = 0;
    g->lost_count = 0;
    if (everybody(g))
        refresh_everybody(g, now, old, old_count, old_lost, old_lost_count);
    else
        refresh_walk(g, now, old, old_count, old_lost, old_lost_count);
    /* A random turn, so that a node's observers do not all come to it at the same moment. */
    for (uint32_t i = g->target_count; i > 1; i--) {
        uint32_t j = (uint32_t)ppn_random_below(&g->random, i);
        struct gossip_target swap = g->targets[i - 1];
        g->targets[i - 1] = g->targets[j];
        g->targets[j] = swap;
    }
    g->target_next = 0;
    g->lost_next = PPN_NEVER;
    for (uint32_t i = 0; i < g->lost_count; i++)
        g->lost_next = ppn_earlier(g->lost_next, g->lost[i].next);
}

uint16_t gossip_random_member(struct gossip *g, bool targets_too)
{
    const struct pool_order *order = &g->pool->orders[POOL_BY_TAG];
    for (uint32_t attempt = 0; attempt < 16 && g->pool->live > 1; attempt++) {
        uint16_t index = order->nodes[ppn_random_below(&g->random, g->pool->live)];
        if (index == g->self || !gossip_in_ring(g, index))
            continue;
        bool target = false;
        for (uint32_t i = 0; i < g->target_count && !targets_too; i++)
            target = target || g->targets[i].index == index;
        if (!target)
            return index;
    }
    return POOL_INDEX_NONE;
}

bool gossip_is_target(const struct gossip *g, uint16_t index)
{
    for (uint32_t i = 0; i < g->target_count; i++)
        if (g->targets[i].index == index)
            return true;
    return false;
}
