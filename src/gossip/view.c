// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "base/hash.h"
#include "gossip/internal.h"

/* One node's view: slots, the states they pass through, the digests over them, and reading it all
 * from outside. */

/* About 17 ms: fine enough for people and anti-entropy, and 32 bits of it last two years. */
enum { COARSE_SHIFT = 24 };

uint32_t gossip_coarse(const struct gossip *g, struct ppn_instant now)
{
    int64_t since = now.ns - g->origin.ns;
    return since < 0 ? 1 : (uint32_t)(since >> COARSE_SHIFT) + 1;
}

struct ppn_instant gossip_fine(const struct gossip *g, uint32_t coarse)
{
    if (coarse == 0)
        return (struct ppn_instant){INT64_MIN};
    return (struct ppn_instant){g->origin.ns + ((int64_t)(coarse - 1) << COARSE_SHIFT)};
}

uint32_t gossip_epoch_of(const struct gossip *g, uint16_t index)
{
    uint32_t life = g->slots[index].life;
    return life == 0 ? 0 : pool_record(g->pool, life)->epoch;
}

uint32_t gossip_incarnation_of(const struct gossip *g, uint16_t index)
{
    uint32_t life = g->slots[index].life;
    return life == 0 ? 0 : pool_record(g->pool, life)->sequence;
}

enum gossip_standing gossip_standing_of(const struct gossip *g, uint16_t index)
{
    uint32_t life = g->slots[index].life;
    return life == 0 ? GOSSIP_STANDING_NONE
                     : (enum gossip_standing)pool_record(g->pool, life)->standing;
}

/* A body signed under an older epoch than the life counts as none yet. */
uint32_t gossip_sequence_of(const struct gossip *g, uint16_t index, enum gossip_item_kind kind)
{
    const struct gossip_slot *slot = &g->slots[index];
    uint32_t handle = kind == GOSSIP_ITEM_PROFILE ? slot->profile : slot->load;
    if (handle == 0 || slot->life == 0)
        return 0;
    const struct pool_record *record = pool_record(g->pool, handle);
    return record->epoch == gossip_epoch_of(g, index) ? record->sequence : 0;
}

void gossip_row_of(const struct gossip *g, uint16_t index, struct gossip_row *row)
{
    const struct gossip_slot *slot = &g->slots[index];
    bool lost = gossip_is_lost(slot);
    enum gossip_standing standing = gossip_standing_of(g, index);
    if (slot->state == GOSSIP_UNKNOWN && standing == GOSSIP_STANDING_ALIVE)
        standing = GOSSIP_STANDING_UNHEARD;
    *row =
        (struct gossip_row){.tag = g->pool->nodes[index].tag,
                            .epoch = gossip_epoch_of(g, index),
                            .incarnation = gossip_incarnation_of(g, index),
                            .profile_sequence = gossip_sequence_of(g, index, GOSSIP_ITEM_PROFILE),
                            .load_sequence = gossip_sequence_of(g, index, GOSSIP_ITEM_LOAD),
                            .standing = (uint8_t)(standing | (lost ? GOSSIP_ROW_LOST : 0))};
}

/* Takes a member's part out of the digests or puts it in: called before and after each change. */
void gossip_digest_toggle(struct gossip *g, uint16_t index)
{
    static const struct ppn_hash_key key = {0x70706e2d76696577, 0x2d6469676573742d};
    struct gossip_row row;
    uint8_t bytes[32];
    gossip_row_of(g, index, &row);
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    ppn_write_u64(&writer, row.tag);
    ppn_write_u32(&writer, row.epoch);
    ppn_write_u32(&writer, row.load_sequence);
    g->load_digest ^= ppn_hash64(key, ppn_written(&writer));
    writer.size = 12;
    ppn_write_u32(&writer, row.incarnation);
    ppn_write_u32(&writer, row.profile_sequence);
    ppn_write_u8(&writer,
                 (uint8_t)(gossip_standing_of(g, index) | (row.standing & GOSSIP_ROW_LOST)));
    uint64_t part = ppn_hash64(key, ppn_written(&writer));
    g->view_digest ^= part;
    g->buckets[row.tag >> 58] ^= (uint32_t)part;
}

bool gossip_slots_reserve(struct gossip *g)
{
    return gossip_pool_grow((void **)&g->slots, &g->slot_capacity, g->pool->node_count,
                            sizeof(*g->slots));
}

void gossip_member_add(struct gossip *g, struct ppn_instant now, uint16_t index)
{
    PPN_ASSERT(index < g->slot_capacity && !gossip_is_member(g, index));
    g->slots[index] = (struct gossip_slot){
        .flags = SLOT_MEMBER, .state = GOSSIP_UNKNOWN, .since = gossip_coarse(g, now)};
    g->states[GOSSIP_UNKNOWN]++;
    g->members++;
    gossip_digest_toggle(g, index);
    g->rings_dirty = true;
}

void gossip_member_remove(struct gossip *g, uint16_t index)
{
    struct gossip_slot *slot = &g->slots[index];
    gossip_probe_forget(g, index);
    gossip_case_drop(g, index);
    gossip_digest_toggle(g, index);
    gossip_pool_record_release(g->pool, slot->life);
    gossip_pool_record_release(g->pool, slot->profile);
    gossip_pool_record_release(g->pool, slot->load);
    g->states[slot->state]--;
    g->members--;
    *slot = (struct gossip_slot){0};
    g->rings_dirty = true;
}

struct gossip_action *gossip_act(struct gossip *g, enum gossip_action_kind kind, uint16_t index)
{
    struct gossip_action *action = gossip_pool_action(g->pool);
    if (action == NULL) {
        g->out_of_memory = true;
        return NULL;
    }
    action->kind = kind;
    action->node = g->pool->nodes[index].id;
    if (kind == GOSSIP_DO_MEMBER) {
        const struct gossip_slot *slot = &g->slots[index];
        action->was = (enum gossip_state)slot->state;
        action->state = (enum gossip_state)slot->state;
        action->cause = (enum gossip_cause)slot->cause;
    }
    return action;
}

/* Many members lost within seconds are a network that broke, not as many members that fail: none of
 * them is called flapping for it when they return. */
static void loss_noted(struct gossip *g, struct ppn_instant now)
{
    uint32_t crowd = g->members / 4 > 2 ? g->members / 4 : 2;
    if (ppn_between(g->losses_from, now).ns > ppn_ms(GOSSIP_CROWD_SPAN_MS).ns) {
        g->losses_from = now;
        g->losses = 0;
    }
    if (++g->losses >= crowd)
        g->crowd_at = now;
}

/* Whether a loss at `at` was one of a crowd. DEAD may be said minutes after UNREACHABLE: halves of
 * one size say it when the other has been away for GOSSIP_MAJORITY_MS. */
bool gossip_lost_in_crowd(const struct gossip *g, struct ppn_instant at)
{
    int64_t after_ns = ppn_between(g->crowd_at, at).ns;
    return after_ns >= -ppn_ms(GOSSIP_CROWD_SPAN_MS).ns &&
           after_ns <= ppn_ms(GOSSIP_CROWD_LATE_MS).ns;
}

void gossip_state_set(struct gossip *g, struct ppn_instant now, uint16_t index,
                      enum gossip_state state, enum gossip_cause cause)
{
    struct gossip_slot *slot = &g->slots[index];
    enum gossip_state was = (enum gossip_state)slot->state;
    if (was == state && slot->cause == cause)
        return;
    bool was_in_ring = gossip_in_ring(g, index);
    gossip_digest_toggle(g, index);
    g->states[was]--;
    g->states[state]++;
    slot->state = (uint8_t)state;
    slot->cause = (uint8_t)cause;
    slot->flags &= (uint8_t)~SLOT_DOUBTFUL;
    slot->since = gossip_coarse(g, now);
    gossip_digest_toggle(g, index);
    g->rings_dirty = g->rings_dirty || was_in_ring != gossip_in_ring(g, index);
    if (state == GOSSIP_SUSPECT && was != GOSSIP_SUSPECT)
        g->suspected_last = now;
    bool was_lost = was == GOSSIP_DEAD || was == GOSSIP_UNREACHABLE;
    if (!was_lost && (state == GOSSIP_DEAD || state == GOSSIP_UNREACHABLE))
        loss_noted(g, now);
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_MEMBER, index);
    if (action == NULL)
        return;
    action->what = GOSSIP_CHANGED_STATE;
    action->was = was;
}

void gossip_path_set(struct gossip *g, uint16_t index, bool degraded)
{
    struct gossip_slot *slot = &g->slots[index];
    if (((slot->flags & SLOT_PATH_DEGRADED) != 0) == degraded)
        return;
    slot->flags ^= SLOT_PATH_DEGRADED;
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_MEMBER, index);
    if (action != NULL)
        action->what = GOSSIP_CHANGED_PATH;
}

/* Any packet shows that its sender lives; only its answer to a ping shows that it hears us too,
 * which is why a lost member is not taken back here (probe.c does). */
void gossip_heard(struct gossip *g, struct ppn_instant now, uint16_t index)
{
    struct gossip_slot *slot = &g->slots[index];
    slot->heard = gossip_coarse(g, now);
    if (slot->state == GOSSIP_UNKNOWN && slot->life != 0 &&
        gossip_standing_of(g, index) == GOSSIP_STANDING_ALIVE)
        gossip_state_set(g, now, index, GOSSIP_ALIVE, GOSSIP_CAUSE_NONE);
}

static struct ppn_slice body_of(const struct gossip *g, uint32_t handle)
{
    if (handle == 0)
        return ppn_slice(NULL, 0);
    const struct pool_record *record = pool_record(g->pool, handle);
    return ppn_slice(record->bytes + GOSSIP_ITEM_HEADER_SIZE,
                     record->size - (size_t)GOSSIP_ITEM_HEADER_SIZE - GOSSIP_SIGNATURE_SIZE);
}

static void member_read(const struct gossip *g, uint16_t index, struct gossip_member *member)
{
    const struct gossip_slot *slot = &g->slots[index];
    *member = (struct gossip_member){
        .id = g->pool->nodes[index].id,
        .state = (enum gossip_state)slot->state,
        .cause = (enum gossip_cause)slot->cause,
        .self = index == g->self,
        .path_degraded = (slot->flags & SLOT_PATH_DEGRADED) != 0,
        .epoch = gossip_epoch_of(g, index),
        .incarnation = gossip_incarnation_of(g, index),
        .profile_sequence = gossip_sequence_of(g, index, GOSSIP_ITEM_PROFILE),
        .load_sequence = gossip_sequence_of(g, index, GOSSIP_ITEM_LOAD),
        .profile = body_of(g, slot->profile),
        .load = body_of(g, slot->load),
        .rtt_us = (uint32_t)slot->rtt * 32,
        .heard = gossip_fine(g, slot->heard),
        .since = gossip_fine(g, slot->since)};
}

enum ppn_error gossip_member(const struct gossip *gossip, const struct ppn_node_id *id,
                             struct gossip_member *member)
{
    uint16_t index = gossip_pool_node_find(gossip->pool, gossip_tag_of(id));
    if (index == POOL_INDEX_NONE || !gossip_is_member(gossip, index) ||
        !ppn_node_id_equal(&gossip->pool->nodes[index].id, id))
        return PPN_ERROR_NOT_FOUND;
    member_read(gossip, index, member);
    return PPN_OK;
}

bool gossip_next(const struct gossip *gossip, uint32_t *cursor, struct gossip_member *member)
{
    while (*cursor < gossip->slot_capacity) {
        uint16_t index = (uint16_t)(*cursor)++;
        if (!gossip_is_member(gossip, index))
            continue;
        member_read(gossip, index, member);
        return true;
    }
    return false;
}

uint32_t gossip_member_count(const struct gossip *gossip)
{
    return gossip->members;
}

uint64_t gossip_view_digest(const struct gossip *gossip)
{
    return gossip->view_digest;
}

void gossip_counters(const struct gossip *gossip, struct gossip_counters *counters)
{
    *counters = gossip->counters;
    counters->health = gossip->health;
}
