// SPDX-License-Identifier: ISC
/* The core's entrance: members coming and going, start, leave, one event at a time. The protocol
 * and its reasons are the essay that opens gossip.h. */
#include "gossip/gossip.h"

#include <stdlib.h>

#include "base/assert.h"
#include "gossip/internal.h"

enum { OBSERVERS_DEFAULT = 8, BANDWIDTH_DEFAULT = 16 * 1024, BANDWIDTH_LEAST = 2048 };

static bool pool_use(struct gossip *g)
{
    if (g->pool == NULL) {
        g->pool = gossip_pool_new();
        g->pool_owned = true;
    }
    if (g->pool == NULL)
        return false;
    if (!g->pool->keyed) {
        g->pool->keyed = true;
        g->pool->ring_key = ppn_read_u64(g->config.network.bytes);
        g->pool->rings = g->config.observers;
    }
    PPN_ASSERT(g->pool->rings == g->config.observers);
    return true;
}

static void start_empty(struct gossip *g, struct ppn_instant now)
{
    g->origin = now;
    g->tokens_at = now;
    g->tokens = (int64_t)g->config.bandwidth_bytes_s * GOSSIP_TOKENS_SECONDS;
    g->load_tokens = gossip_load_bytes_s(g) * GOSSIP_TOKENS_SECONDS;
    g->probe_next = g->lost_next = g->case_next = g->push_next = PPN_NEVER;
    g->load_next = g->burst_next = g->heal_next = g->sync_next = g->acked = now;
    g->load_credit = (struct ppn_instant){INT64_MIN / 2};
    g->suspected_last = g->bumped = g->voided = g->caught_up = (struct ppn_instant){INT64_MIN / 2};
    g->accuser = POOL_INDEX_NONE;
    g->losses_from = g->crowd_at = g->bumped;
    g->differs_since = PPN_NEVER;
    g->probe_number = (uint32_t)ppn_random_u64(&g->random) | 1;
    for (uint32_t i = 0; i < GOSSIP_MUTED_MAX; i++)
        g->muted[i] = (struct gossip_muted){POOL_INDEX_NONE, {INT64_MIN}};
}

struct gossip *gossip_init(const struct gossip_config *config, struct ppn_instant now,
                           uint64_t seed)
{
    struct gossip *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->config = *config;
    g->pool = config->pool;
    if (g->config.observers == 0)
        g->config.observers = OBSERVERS_DEFAULT;
    if (g->config.bandwidth_bytes_s == 0)
        g->config.bandwidth_bytes_s = BANDWIDTH_DEFAULT;
    if (g->config.bandwidth_bytes_s < BANDWIDTH_LEAST)
        g->config.bandwidth_bytes_s = BANDWIDTH_LEAST;
    PPN_ASSERT(g->config.observers <= GOSSIP_OBSERVERS_MAX);
    ppn_random_init(&g->random, seed);
    start_empty(g, now);
    bool clash = false;
    if (pool_use(g)) {
        g->self = gossip_pool_node_add(g->pool, &g->config.self, &clash);
        PPN_ASSERT(!clash);
        if (g->self != POOL_INDEX_NONE && gossip_slots_reserve(g)) {
            gossip_member_add(g, now, g->self);
            gossip_pool_step(g->pool);
            return g;
        }
    }
    gossip_free(g);
    return NULL;
}

void gossip_free(struct gossip *g)
{
    if (g == NULL)
        return;
    if (g->pool != NULL && !g->pool_owned) {
        for (uint32_t i = 0; i < g->slot_capacity; i++) {
            if (!gossip_is_member(g, (uint16_t)i))
                continue;
            gossip_member_remove(g, (uint16_t)i);
            gossip_pool_node_release(g->pool, (uint16_t)i);
        }
    }
    if (g->pool_owned)
        gossip_pool_free(g->pool);
    for (uint32_t i = 0; i < GOSSIP_CLASSES; i++)
        free(g->queues[i].entries);
    free(g->cases);
    free(g->slots);
    free(g);
}

static enum ppn_error member_admit(struct gossip *g, struct ppn_instant now,
                                   const struct ppn_node_id *id)
{
    bool clash;
    uint16_t known = gossip_pool_node_find(g->pool, gossip_tag_of(id));
    if (known != POOL_INDEX_NONE && gossip_is_member(g, known))
        return ppn_node_id_equal(&g->pool->nodes[known].id, id) ? PPN_OK : PPN_ERROR_EXISTS;
    if (g->members >= PPN_MEMBERS_MAX)
        return PPN_ERROR_FULL;
    uint16_t index = gossip_pool_node_add(g->pool, id, &clash);
    if (index == POOL_INDEX_NONE)
        return clash ? PPN_ERROR_EXISTS : PPN_ERROR_NO_MEMORY;
    if (!gossip_slots_reserve(g)) {
        gossip_pool_node_release(g->pool, index);
        return PPN_ERROR_NO_MEMORY;
    }
    gossip_member_add(g, now, index);
    return PPN_OK;
}

static void member_expel(struct gossip *g, const struct ppn_node_id *id)
{
    uint16_t index = gossip_pool_node_find(g->pool, gossip_tag_of(id));
    if (index == POOL_INDEX_NONE || !gossip_is_member(g, index) || index == g->self ||
        !ppn_node_id_equal(&g->pool->nodes[index].id, id))
        return;
    gossip_act(g, GOSSIP_DO_FORGET, index);
    gossip_member_remove(g, index);
    /* What it said of others goes with it. */
    for (uint32_t i = 0; i < g->case_count; i++) {
        struct gossip_case *c = &g->cases[i];
        for (uint32_t j = 0; j < c->count; j++) {
            if (c->opinions[j].accuser == index)
                gossip_opinion_remove(g, c, j--);
        }
    }
    for (uint32_t i = 0; i < GOSSIP_CLASSES; i++)
        for (uint32_t j = 0; j < g->queues[i].count; j++)
            if (g->queues[i].entries[j].subject == index ||
                g->queues[i].entries[j].accuser == index)
                g->queues[i].entries[j--] = g->queues[i].entries[--g->queues[i].count];
    gossip_pool_node_release(g->pool, index);
}

static enum ppn_error members_changed(struct gossip *g, struct ppn_instant now,
                                      const struct gossip_event *event)
{
    enum ppn_error first = PPN_OK;
    for (uint32_t i = 0; i < event->count; i++) {
        enum ppn_error error = PPN_OK;
        if (event->added)
            error = member_admit(g, now, &event->nodes[i]);
        else
            member_expel(g, &event->nodes[i]);
        first = first == PPN_OK ? error : first;
    }
    if (g->may_send)
        g->probe_next = ppn_earlier(g->probe_next, ppn_after(now, ppn_ms(20)));
    return first;
}

static void start(struct gossip *g, struct ppn_instant now, uint32_t persisted)
{
    PPN_ASSERT(!g->started);
    g->started = true;
    g->started_at = now;
    g->epoch = persisted > g->epoch ? persisted : g->epoch;
    g->epoch += g->epoch < UINT32_MAX;
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_PERSIST_EPOCH, g->self);
    if (action != NULL)
        action->epoch = g->epoch;
}

/* The first packets: life to whom I observe, who are also the first to be pinged. */
static void epoch_persisted(struct gossip *g, struct ppn_instant now, uint32_t epoch)
{
    if (!g->started || epoch != g->epoch || g->may_send || g->left)
        return;
    g->may_send = true;
    g->probe_count = 0; /* of an epoch given up */
    g->acked = now;
    gossip_self_resign(g, now);
    gossip_state_set(g, now, g->self, GOSSIP_ALIVE, GOSSIP_CAUSE_NONE);
    gossip_rings_refresh(g, now);
    for (uint32_t i = 0; i < g->target_count; i++)
        gossip_probe_start(g, now, g->targets[i].index, GOSSIP_PROBE_RING, NULL);
    g->probe_next = ppn_after(now, ppn_ms((int64_t)ppn_random_below(&g->random, 500) + 1));
}

static void void_own(struct gossip *g, struct ppn_instant now, struct ppn_duration late)
{
    g->counters.late_ticks++;
    g->voided = now;
    gossip_probe_void(g, now);
    gossip_case_void(g, now, late);
}

/* Before anything else, whatever woke this node: packets that waited in the socket come before the
 * tick, and the first of them may complete a case whose subject objected in the next. */
static void lateness(struct gossip *g, struct ppn_instant now)
{
    struct ppn_instant due = gossip_deadline(g);
    due = ppn_before(due, g->voided) ? g->voided : due;
    if (ppn_between(due, now).ns >= ppn_ms(GOSSIP_LATE_MS).ns)
        void_own(g, now, ppn_between(due, now));
}

static void tick(struct gossip *g, struct ppn_instant now)
{
    if (!g->may_send || g->left)
        return;
    gossip_rings_refresh(g, now);
    gossip_probe_tick(g, now);
    gossip_case_tick(g, now);
    gossip_self_tick(g, now);
    gossip_push_tick(g, now);
}

/* This machine slept. Others have had time to call it dead, so it speaks up by itself. */
static void suspended(struct gossip *g, struct ppn_instant now)
{
    if (!g->may_send || g->left)
        return;
    void_own(g, now, ppn_seconds(1));
    gossip_self_life(g, now, GOSSIP_STANDING_ALIVE);
    for (uint32_t i = 0; i < g->target_count; i++)
        gossip_probe_start(g, now, g->targets[i].index, GOSSIP_PROBE_RING, NULL);
    g->heal_next = now;
    gossip_probe_heal(g, now);
}

static void leave(struct gossip *g, struct ppn_instant now)
{
    if (!g->may_send || g->left)
        return;
    gossip_self_life(g, now, GOSSIP_STANDING_LEFT);
    gossip_state_set(g, now, g->self, GOSSIP_LEFT, GOSSIP_CAUSE_NONE);
    gossip_goodbye(g);
    g->left = true;
}

static uint16_t member_named(const struct gossip *g, const struct ppn_node_id *id)
{
    uint16_t index = gossip_pool_node_find(g->pool, gossip_tag_of(id));
    bool known = index != POOL_INDEX_NONE && gossip_is_member(g, index) && index != g->self &&
                 ppn_node_id_equal(&g->pool->nodes[index].id, id);
    return known ? index : POOL_INDEX_NONE;
}

static enum ppn_error dispatch(struct gossip *g, struct ppn_instant now,
                               const struct gossip_event *event)
{
    uint16_t node;
    switch (event->kind) {
    case GOSSIP_EVENT_TICK:
        tick(g, now);
        return PPN_OK;
    case GOSSIP_EVENT_PACKET:
        node = member_named(g, &event->node);
        if (node != POOL_INDEX_NONE)
            gossip_receive(g, now, node, event->packet);
        return PPN_OK;
    case GOSSIP_EVENT_REFUSED:
        node = member_named(g, &event->node);
        if (node != POOL_INDEX_NONE && g->may_send && !g->left)
            gossip_probe_refused(g, now, node);
        return PPN_OK;
    case GOSSIP_EVENT_SELF_BODY:
        return gossip_self_body(g, now, event->plane, event->bytes);
    case GOSSIP_EVENT_MEMBERS:
        return members_changed(g, now, event);
    case GOSSIP_EVENT_RESTORE:
        return g->started ? PPN_ERROR_INVALID : gossip_item_restore(g, now, event->bytes);
    case GOSSIP_EVENT_START:
        start(g, now, event->epoch);
        return PPN_OK;
    case GOSSIP_EVENT_EPOCH_PERSISTED:
        epoch_persisted(g, now, event->epoch);
        return PPN_OK;
    case GOSSIP_EVENT_SUSPENDED:
        suspended(g, now);
        return PPN_OK;
    case GOSSIP_EVENT_LEAVE:
        leave(g, now);
        return PPN_OK;
    }
    return PPN_ERROR_INVALID;
}

enum ppn_error gossip_step(struct gossip *g, struct ppn_instant now,
                           const struct gossip_event *event, struct gossip_update *update)
{
    gossip_pool_step(g->pool);
    g->giving = 0;
    g->given = 0;
    g->out_of_memory = false;
    gossip_tokens_refill(g, now);
    lateness(g, now);
    enum ppn_error error = dispatch(g, now, event);
    if (g->rings_dirty && g->may_send && !g->left)
        gossip_rings_refresh(g, now);
    *update = (struct gossip_update){g->pool->actions, g->pool->action_count};
    return error == PPN_OK && g->out_of_memory ? PPN_ERROR_NO_MEMORY : error;
}

struct ppn_instant gossip_deadline(const struct gossip *g)
{
    if (!g->may_send || g->left)
        return PPN_NEVER;
    struct ppn_instant deadline = gossip_probe_deadline(g);
    deadline = ppn_earlier(deadline, ppn_earlier(g->case_next, g->push_next));
    return g->load_pending ? ppn_earlier(deadline, g->load_next) : deadline;
}
