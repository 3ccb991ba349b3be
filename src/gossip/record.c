// SPDX-License-Identifier: ISC
#include <string.h>

#include "base/assert.h"
#include "gossip/internal.h"

/* Signed items: taking in what members say of themselves, and saying it of oneself. Numbers are
 * (epoch, sequence): the epoch rises with every start and is on disk before anything is sent under
 * it, so a restart never reuses a number. Only the subject signs, so a forged record has a wrong
 * signature, a replayed one an old number, and two different ones under one number prove that two
 * machines hold one key. */

enum { LOAD_BURST = 3, LOAD_BURST_MEMBERS = 64, LOAD_EVERY_MS = 5000, LOAD_COPIES = 3 };

static bool newer(uint32_t epoch, uint32_t sequence, const struct pool_record *than)
{
    return epoch > than->epoch || (epoch == than->epoch && sequence > than->sequence);
}

uint32_t gossip_sign_item(struct gossip *g, struct ppn_writer *item)
{
    uint8_t bytes[GOSSIP_TRANSCRIPT_PREFIX + GOSSIP_ITEM_SIZE_MAX];
    uint8_t signature[GOSSIP_SIGNATURE_SIZE];
    struct ppn_writer transcript = ppn_writer(bytes, sizeof(bytes));
    gossip_transcript(&transcript, &g->config.network, &g->config.self, ppn_written(item));
    g->config.crypto.sign(g->config.crypto.context, ppn_written(&transcript), signature);
    ppn_write(item, ppn_slice(signature, sizeof(signature)));
    PPN_ASSERT(!item->overflow);
    uint32_t record = gossip_pool_record_add(g->pool, g->self, ppn_written(item));
    g->out_of_memory = g->out_of_memory || record == 0;
    return record;
}

static bool muted(const struct gossip *g, struct ppn_instant now, uint16_t index)
{
    for (uint32_t i = 0; i < GOSSIP_MUTED_MAX; i++)
        if (g->muted[i].index == index && ppn_before(now, g->muted[i].until))
            return true;
    return false;
}

/* Whoever passes on a bad signature did not check it, or made it; either way each one costs this
 * node a verification, so that sender is not listened to for a moment. */
static void mute(struct gossip *g, uint16_t index)
{
    struct gossip_muted *entry = &g->muted[0];
    for (uint32_t i = 1; i < GOSSIP_MUTED_MAX; i++)
        if (ppn_before(g->muted[i].until, entry->until))
            entry = &g->muted[i];
    *entry = (struct gossip_muted){index, ppn_after(g->tokens_at, ppn_ms(GOSSIP_MUTE_MS))};
}

bool gossip_item_verify(struct gossip *g, uint16_t from, const struct gossip_item *item,
                        uint16_t author, uint32_t *record)
{
    *record = gossip_pool_record_find(g->pool, author, item->bytes);
    if (*record != 0) {
        gossip_pool_record_hold(g->pool, *record);
        return true;
    }
    uint8_t bytes[GOSSIP_TRANSCRIPT_PREFIX + GOSSIP_ITEM_SIZE_MAX];
    size_t size = item->bytes.size - GOSSIP_SIGNATURE_SIZE;
    struct ppn_writer transcript = ppn_writer(bytes, sizeof(bytes));
    gossip_transcript(&transcript, &g->config.network, &g->pool->nodes[author].id,
                      ppn_slice(item->bytes.data, size));
    g->counters.verified++;
    if (!g->config.crypto.verify(g->config.crypto.context, &g->pool->nodes[author].id,
                                 ppn_written(&transcript), item->bytes.data + size)) {
        g->counters.rejected++;
        if (from != g->self) {
            mute(g, from);
            gossip_act(g, GOSSIP_DO_FORGED, from);
        }
        return false;
    }
    *record = gossip_pool_record_add(g->pool, author, item->bytes);
    g->out_of_memory = g->out_of_memory || *record == 0;
    return *record != 0;
}

static uint32_t *slot_record(struct gossip_slot *slot, enum gossip_item_kind kind)
{
    return kind == GOSSIP_ITEM_LIFE      ? &slot->life
           : kind == GOSSIP_ITEM_PROFILE ? &slot->profile
                                         : &slot->load;
}

static void persist(struct gossip *g, uint16_t index, enum gossip_item_kind kind, uint32_t record)
{
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_PERSIST_ITEM, index);
    if (action == NULL)
        return;
    action->item_kind = kind;
    action->bytes =
        ppn_slice(pool_record(g->pool, record)->bytes, pool_record(g->pool, record)->size);
}

static void record_set(struct gossip *g, uint16_t index, enum gossip_item_kind kind,
                       uint32_t record)
{
    uint32_t *at = slot_record(&g->slots[index], kind);
    gossip_digest_toggle(g, index);
    gossip_pool_record_release(g->pool, *at);
    *at = record;
    gossip_digest_toggle(g, index);
}

static void report_body(struct gossip *g, uint16_t index, enum gossip_item_kind kind)
{
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_MEMBER, index);
    if (action != NULL)
        action->what = kind == GOSSIP_ITEM_PROFILE ? GOSSIP_CHANGED_PROFILE : GOSSIP_CHANGED_LOAD;
}

/* A newer life of another member: the one thing that takes back what was said of the former. */
static void life_took_effect(struct gossip *g, struct ppn_instant now, uint16_t index,
                             enum gossip_standing standing, bool anew)
{
    struct gossip_slot *slot = &g->slots[index];
    bool was_lost = gossip_is_lost(slot);
    gossip_case_refuted(g, now, index, was_lost, anew);
    if (standing == GOSSIP_STANDING_LEFT) {
        gossip_state_set(g, now, index, GOSSIP_LEFT, GOSSIP_CAUSE_NONE);
        return;
    }
    if (slot->state == GOSSIP_UNKNOWN && (slot->flags & SLOT_DOUBTFUL) != 0)
        return;
    gossip_case_returned(g, now, index);
    if (was_lost)
        gossip_probe_heal(g, now);
}

/* Whether two bodies of this number of this author were seen already. They go on being passed
 * about, and each copy would cost a signature check and an alarm. */
static bool clone_known(const struct gossip *g, const struct gossip_item *item, uint16_t author)
{
    for (uint32_t i = 0; i < GOSSIP_CLONED_MAX; i++) {
        const struct gossip_cloned *cloned = &g->cloned[i];
        if (cloned->author == author && cloned->kind == item->kind &&
            cloned->epoch == item->epoch && cloned->sequence == item->sequence)
            return true;
    }
    return false;
}

static void clone_found(struct gossip *g, uint16_t from, const struct gossip_item *item,
                        uint16_t author, uint32_t known)
{
    const struct pool_record *old = pool_record(g->pool, known);
    if (item->epoch != old->epoch || item->sequence != old->sequence)
        return;
    if (ppn_slice_equal(item->bytes, ppn_slice(old->bytes, old->size)) ||
        clone_known(g, item, author))
        return;
    uint32_t record;
    if (!gossip_item_verify(g, from, item, author, &record))
        return;
    gossip_pool_record_release(g->pool, record);
    g->cloned[g->cloned_next++ % GOSSIP_CLONED_MAX] =
        (struct gossip_cloned){author, (uint8_t)item->kind, item->epoch, item->sequence};
    gossip_act(g, GOSSIP_DO_CLONE, author);
}

/* Something that bears my own signature. Newer than what I remember: my store was lost, or somebody
 * else has my key; in both cases the way on is a higher epoch. */
static void self_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                         const struct gossip_item *item)
{
    uint32_t known = *slot_record(&g->slots[g->self], item->kind);
    if (known != 0 && !newer(item->epoch, item->sequence, pool_record(g->pool, known))) {
        clone_found(g, from, item, g->self, known);
        return;
    }
    if (item->epoch < g->epoch)
        return;
    uint32_t record;
    if (!gossip_item_verify(g, from, item, g->self, &record))
        return;
    gossip_pool_record_release(g->pool, record);
    /* Peers with views of different age may teach a lost store more than once. */
    bool within = ppn_between(g->started_at, now).ns < ppn_ms(GOSSIP_RELEARN_MS).ns;
    if (!within || (g->relearned && item->epoch == g->epoch))
        gossip_act(g, GOSSIP_DO_CLONE, g->self);
    g->relearned = true;
    g->epoch = item->epoch == UINT32_MAX ? UINT32_MAX : item->epoch + 1;
    g->may_send = false;
    struct gossip_action *action = gossip_act(g, GOSSIP_DO_PERSIST_EPOCH, g->self);
    if (action != NULL)
        action->epoch = g->epoch;
}

/* The subject itself sends what is older than what I hold: it lost its store, and only its peers
 * can tell it where it stood. */
static void teach(struct gossip *g, uint16_t from, uint16_t author)
{
    if (from != author)
        return;
    gossip_sync_give(g, author, author, GOSSIP_WANT_LIFE | GOSSIP_WANT_PROFILE | GOSSIP_WANT_LOAD);
    gossip_sync_give_end(g, author);
}

static void member_item(struct gossip *g, struct ppn_instant now, uint16_t from, uint16_t author,
                        const struct gossip_item *item)
{
    uint32_t known = *slot_record(&g->slots[author], item->kind);
    if (known != 0 && !newer(item->epoch, item->sequence, pool_record(g->pool, known))) {
        const struct pool_record *old = pool_record(g->pool, known);
        if (item->epoch == old->epoch && item->sequence == old->sequence)
            clone_found(g, from, item, author, known);
        else if (item->epoch < old->epoch || item->kind == GOSSIP_ITEM_LIFE)
            teach(g, from, author);
        return;
    }
    /* A body under an epoch whose life is not known yet waits for it: anti-entropy brings both. */
    if (item->kind != GOSSIP_ITEM_LIFE && item->epoch > gossip_epoch_of(g, author))
        return;
    uint32_t record;
    if (!gossip_item_verify(g, from, item, author, &record))
        return;
    bool anew = item->epoch > gossip_epoch_of(g, author);
    record_set(g, author, item->kind, record);
    gossip_queue_add(g, now, author, item->kind, POOL_INDEX_NONE);
    if (item->kind != GOSSIP_ITEM_LOAD)
        persist(g, author, item->kind, record);
    if (item->kind == GOSSIP_ITEM_LIFE)
        life_took_effect(g, now, author, item->standing, anew);
    else
        report_body(g, author, item->kind);
}

void gossip_item_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                         struct ppn_slice bytes)
{
    struct gossip_item item;
    if (gossip_item_read(bytes, &item) != PPN_OK) {
        g->counters.rejected++;
        return;
    }
    uint16_t author = gossip_pool_node_find(g->pool, item.author);
    if (author == POOL_INDEX_NONE || !gossip_is_member(g, author) || muted(g, now, from))
        return;
    if (item.kind == GOSSIP_ITEM_VERDICT)
        gossip_verdict_receive(g, now, from, &item);
    else if (author == g->self)
        self_receive(g, now, from, &item);
    else
        member_item(g, now, from, author, &item);
}

enum ppn_error gossip_item_restore(struct gossip *g, struct ppn_instant now, struct ppn_slice bytes)
{
    struct gossip_item item;
    enum ppn_error error = gossip_item_read(bytes, &item);
    if (error != PPN_OK)
        return error;
    if (item.kind != GOSSIP_ITEM_LIFE && item.kind != GOSSIP_ITEM_PROFILE)
        return PPN_ERROR_INVALID;
    uint16_t author = gossip_pool_node_find(g->pool, item.author);
    if (author == POOL_INDEX_NONE || !gossip_is_member(g, author))
        return PPN_OK; /* removed since it was persisted */
    uint32_t record, known = *slot_record(&g->slots[author], item.kind);
    if (known != 0 && !newer(item.epoch, item.sequence, pool_record(g->pool, known)))
        return PPN_OK;
    if (!gossip_item_verify(g, g->self, &item, author, &record))
        return PPN_ERROR_SIGNATURE;
    /* My own last word is not put back into force: it says only which epoch to exceed. */
    if (author == g->self) {
        g->epoch = item.epoch > g->epoch ? item.epoch : g->epoch;
        gossip_pool_record_release(g->pool, record);
        return PPN_OK;
    }
    record_set(g, author, item.kind, record);
    if (item.kind == GOSSIP_ITEM_LIFE && item.standing == GOSSIP_STANDING_LEFT)
        gossip_state_set(g, now, author, GOSSIP_LEFT, GOSSIP_CAUSE_NONE);
    return PPN_OK;
}

void gossip_self_life(struct gossip *g, struct ppn_instant now, enum gossip_standing standing)
{
    uint8_t bytes[GOSSIP_LIFE_SIZE];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (g->incarnation < UINT32_MAX)
        g->incarnation++;
    g->accuser = POOL_INDEX_NONE;
    gossip_item_write(&writer, &(struct gossip_item){.kind = GOSSIP_ITEM_LIFE,
                                                     .author = g->pool->nodes[g->self].tag,
                                                     .epoch = g->epoch,
                                                     .sequence = g->incarnation,
                                                     .standing = standing});
    uint32_t record = gossip_sign_item(g, &writer);
    if (record == 0)
        return;
    record_set(g, g->self, GOSSIP_ITEM_LIFE, record);
    persist(g, g->self, GOSSIP_ITEM_LIFE, record);
    gossip_queue_add(g, now, g->self, GOSSIP_ITEM_LIFE, POOL_INDEX_NONE);
}

static void self_sign_body(struct gossip *g, struct ppn_instant now, enum gossip_item_kind kind)
{
    bool profile = kind == GOSSIP_ITEM_PROFILE;
    uint32_t *sequence = profile ? &g->profile_sequence : &g->load_sequence;
    uint8_t bytes[GOSSIP_ITEM_SIZE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (*sequence < UINT32_MAX)
        ++*sequence;
    gossip_item_write(
        &writer,
        &(struct gossip_item){.kind = kind,
                              .author = g->pool->nodes[g->self].tag,
                              .epoch = g->epoch,
                              .sequence = *sequence,
                              .body = profile ? ppn_slice(g->body_profile, g->body_profile_size)
                                              : ppn_slice(g->body_load, g->body_load_size)});
    uint32_t record = gossip_sign_item(g, &writer);
    if (record == 0)
        return;
    record_set(g, g->self, kind, record);
    gossip_queue_add(g, now, g->self, kind, POOL_INDEX_NONE);
    report_body(g, g->self, kind);
}

/* Everything anew under the present epoch. */
void gossip_self_resign(struct gossip *g, struct ppn_instant now)
{
    g->incarnation = 0;
    g->profile_sequence = 0;
    g->load_sequence = 0;
    g->verdict_sequence = 0;
    gossip_self_life(g, now, GOSSIP_STANDING_ALIVE);
    if (g->body_profile_set)
        self_sign_body(g, now, GOSSIP_ITEM_PROFILE);
    if (g->body_load_set)
        self_sign_body(g, now, GOSSIP_ITEM_LOAD);
    g->load_pending = false;
}

/* How long one node may take between two of its load items so that N nodes' items, copied about,
 * fit their share of everybody's bandwidth. */
static struct ppn_duration load_interval(const struct gossip *g)
{
    int64_t size = GOSSIP_ENCODED_ITEM_OVERHEAD + GOSSIP_ITEM_HEADER_SIZE + g->body_load_size +
                   GOSSIP_SIGNATURE_SIZE;
    int64_t ms = (int64_t)g->members * size * LOAD_COPIES * 1000 / gossip_load_bytes_s(g);
    return ppn_ms(ms < LOAD_EVERY_MS ? LOAD_EVERY_MS : ms);
}

/* A few changes go out at once, so that a new VM shows at once; a steady stream is thinned. Not
 * where many would do so at the same time. */
void gossip_self_tick(struct gossip *g, struct ppn_instant now)
{
    if (!g->load_pending || !g->may_send || !ppn_due(g->load_next, now))
        return;
    int64_t interval = load_interval(g).ns;
    int64_t burst = g->members <= LOAD_BURST_MEMBERS ? LOAD_BURST : 1;
    struct ppn_instant oldest = ppn_after(now, ppn_ns(-interval * burst));
    if (ppn_before(g->load_credit, oldest))
        g->load_credit = oldest;
    g->load_credit = ppn_after(g->load_credit, ppn_ns(interval));
    g->load_next = ppn_before(now, g->load_credit) ? g->load_credit : now;
    g->load_pending = false;
    self_sign_body(g, now, GOSSIP_ITEM_LOAD);
}

enum ppn_error gossip_self_body(struct gossip *g, struct ppn_instant now, enum gossip_plane plane,
                                struct ppn_slice body)
{
    bool profile = plane == GOSSIP_PLANE_PROFILE;
    if (body.size > (profile ? (size_t)GOSSIP_PROFILE_BODY_MAX : (size_t)GOSSIP_LOAD_BODY_MAX))
        return PPN_ERROR_TOO_BIG;
    uint8_t *at = profile ? g->body_profile : g->body_load;
    uint16_t *size = profile ? &g->body_profile_size : &g->body_load_size;
    bool *set = profile ? &g->body_profile_set : &g->body_load_set;
    if (*set && ppn_slice_equal(body, ppn_slice(at, *size)))
        return PPN_OK;
    if (body.size > 0)
        memcpy(at, body.data, body.size);
    *size = (uint16_t)body.size;
    *set = true;
    if (!g->may_send)
        return PPN_OK;
    if (profile) {
        self_sign_body(g, now, GOSSIP_ITEM_PROFILE);
    } else {
        g->load_pending = true;
        gossip_self_tick(g, now);
    }
    return PPN_OK;
}

/* Somebody holds me for gone. One new incarnation answers all who do. A single accuser among many
 * observers has no consequence that an answered ping does not undo, so nothing is flooded for it:
 * else one deaf member, which misses everybody, would make everybody shout. */
void gossip_self_accused(struct gossip *g, struct ppn_instant now, uint16_t accuser)
{
    bool second = g->accuser != POOL_INDEX_NONE && g->accuser != accuser &&
                  ppn_between(g->accused, now).ns < ppn_ms(GOSSIP_OPINION_TTL_MS).ns;
    g->accuser = accuser;
    g->accused = now;
    if (!second && gossip_observers_live(g, g->self) > 2)
        return;
    if (!g->may_send || g->left ||
        !ppn_due(ppn_after(g->bumped, ppn_ms(GOSSIP_BUMP_EVERY_MS)), now))
        return;
    g->bumped = now;
    if (g->health < GOSSIP_HEALTH_MAX)
        g->health++;
    gossip_self_life(g, now, GOSSIP_STANDING_ALIVE);
}
