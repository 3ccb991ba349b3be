// SPDX-License-Identifier: ISC
#include "control_log.h"

#include <stdlib.h>
#include <string.h>

#include "admission/sync.h"
#include "base/assert.h"
#include "control_internal.h"
#include "control_log_internal.h"

enum { BATCH_MAX = 64, FOUNDERS_PERCENT = 60, REVOKE_NODES_LEAST = 5, MISSING_MAX = 16 };

struct log_call {
    enum call_kind kind;
    uint32_t from, count;
    struct admission_sync_have have;
    struct entry *entries[BATCH_MAX];
};

/* ---- one node's log and disk ---- */

void control_log_disk_add(struct log_node *node, struct ppn_slice envelope)
{
    struct entry *entry = malloc(sizeof(*entry));
    PPN_ASSERT(entry != NULL && node->disk_count < ENTRIES_MAX);
    entry->size = (uint32_t)envelope.size;
    memcpy(entry->bytes, envelope.data, envelope.size);
    node->disk[node->disk_count++] = entry;
}

static void write_up_to(struct log_node *node, uint32_t count)
{
    for (; node->written < count; node->written++)
        control_log_disk_add(node, admission_record_at(node->log, node->written).envelope);
}

static uint32_t members_read(const struct log_node *node, struct ppn_node_id *members)
{
    uint32_t count = admission_member_count(node->log);
    PPN_ASSERT(count <= CONTROL_NODES_MAX);
    for (uint32_t i = 0; i < count; i++)
        members[i] = admission_member_at(node->log, i)->id;
    return count;
}

static bool listed(const struct ppn_node_id *ids, uint32_t count, const struct ppn_node_id *id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ppn_node_id_equal(&ids[i], id))
            return true;
    return false;
}

void control_log_offer(struct control *c, uint32_t index, uint32_t from, struct ppn_slice envelope)
{
    struct control_log *l = c->log;
    struct ppn_failure why;
    admission_update_reset(&l->update);
    enum admission_verdict verdict = admission_offer(l->nodes[index].log, control_wall(c, index),
                                                     from, envelope, &l->update, &why);
    if (verdict == ADMISSION_REFUSED)
        control_broken(c, "%s refuses an honest entry: %s", c->world->nodes[index].name, why.text);
    for (uint32_t i = 0; i < l->update.count; i++)
        if (l->update.items[i].kind == ADMISSION_EQUIVOCATION ||
            l->update.items[i].kind == ADMISSION_SEAL_CONFLICT)
            control_broken(c, "an honest author contradicts itself");
}

void control_log_schedule(struct control *c, uint32_t index)
{
    struct log_node *node = &c->log->nodes[index];
    uint32_t count = admission_entry_count(node->log);
    if (count == node->scheduled)
        return;
    node->scheduled = count;
    struct log_call *call = calloc(1, sizeof(*call));
    PPN_ASSERT(call != NULL);
    call->kind = CALL_LOG_WRITTEN;
    call->count = count;
    world_call(c->world, index, control_later(c, 1, 15), call);
}

/* ---- between nodes ---- */

static bool reaches(struct control *c, uint32_t from, uint32_t to)
{
    return to != from && control_connected(c, from, to) &&
           !ppn_random_chance(&c->log->random, 10000);
}

static void send_entries(struct control *c, uint32_t from, uint32_t to, const uint32_t *indexes,
                         uint32_t count)
{
    if (!reaches(c, from, to) || count == 0)
        return;
    struct log_call *call = calloc(1, sizeof(*call));
    PPN_ASSERT(call != NULL);
    call->kind = CALL_LOG_ENTRIES;
    call->from = from;
    for (uint32_t i = 0; i < count && i < BATCH_MAX; i++) {
        /* What the disk does not have yet is nobody's business. */
        if (indexes[i] >= c->log->nodes[from].written)
            break;
        call->entries[call->count++] = c->log->nodes[from].disk[indexes[i]];
    }
    world_call(c->world, to, control_later(c, 1, 40), call);
}

static void send_have(struct control *c, uint32_t from, uint32_t to)
{
    if (!reaches(c, from, to))
        return;
    struct log_call *call = calloc(1, sizeof(*call));
    PPN_ASSERT(call != NULL);
    call->kind = CALL_LOG_HAVE;
    call->from = from;
    admission_sync_have(c->log->nodes[from].log, &call->have);
    world_call(c->world, to, control_later(c, 1, 40), call);
}

static void have_receive(struct control *c, uint32_t index, const struct log_call *call)
{
    static struct admission_sync_batch batch;
    struct admission *log = c->log->nodes[index].log;
    if (admission_sync_answer(log, &call->have, &batch) != PPN_OK) {
        control_broken(c, "anti-entropy of the log fails");
        return;
    }
    send_entries(c, index, call->from, batch.indexes, batch.count);
    if (admission_sync_wanted(log, &call->have))
        send_have(c, index, call->from);
}

static void timer(struct control *c, uint32_t index)
{
    struct log_node *node = &c->log->nodes[index];
    struct log_call *call = calloc(1, sizeof(*call));
    PPN_ASSERT(call != NULL);
    call->kind = CALL_LOG_TIMER;
    world_call(c->world, index, control_later(c, 1000, 3000), call);
    if (node->member_count < 2)
        return;
    uint32_t at = (uint32_t)ppn_random_below(&c->log->random, node->member_count);
    send_have(c, index, world_find(c->world, &node->members[at]));
}

/* ---- obeying ---- */

static void member_lost(struct control *c, uint32_t index, const struct ppn_node_id *id)
{
    struct fleet_event event = {
        .kind = FLEET_EVENT_NODE, .node = *id, .node_state = FLEET_NODE_REMOVED};
    if (!ppn_node_id_equal(id, &c->world->nodes[index].id))
        control_step(c, index, &event);
}

/* Whoever was a member here and is not among `now`. */
static void note_thrown_out(struct control *c, const struct log_node *node,
                            const struct ppn_node_id *now, uint32_t count)
{
    for (uint32_t i = 0; i < node->member_count; i++)
        if (!listed(now, count, &node->members[i]))
            c->log->thrown_out |= 1u << world_find(c->world, &node->members[i]);
}

static void obey(struct control *c, uint32_t index)
{
    struct log_node *node = &c->log->nodes[index];
    struct ppn_node_id now[CONTROL_NODES_MAX], was[CONTROL_NODES_MAX];
    uint32_t count = members_read(node, now), had = node->member_count;
    memcpy(was, node->members, sizeof(was));
    note_thrown_out(c, node, now, count);
    memcpy(node->members, now, sizeof(now));
    node->member_count = count;
    for (uint32_t i = 0; i < had; i++) {
        if (listed(now, count, &was[i]))
            continue;
        member_lost(c, index, &was[i]);
        world_event(
            c->world, index,
            &(struct gossip_event){.kind = GOSSIP_EVENT_MEMBERS, .nodes = &was[i], .count = 1});
    }
    for (uint32_t i = 0; i < count; i++)
        if (!listed(was, had, &now[i]))
            world_event(
                c->world, index,
                &(struct gossip_event){
                    .kind = GOSSIP_EVENT_MEMBERS, .nodes = &now[i], .count = 1, .added = true});
}

/* Whoever asked this node to be let in gets its log and starts. */
static void let_in(struct control *c, uint32_t seed)
{
    struct log_node *from = &c->log->nodes[seed];
    for (uint32_t i = 0; i < c->world->options.nodes; i++) {
        struct world_node *joiner = &c->world->nodes[i];
        if (!joiner->outside || c->log->nodes[i].disk_count > 0 ||
            !listed(from->members, from->member_count, &joiner->id))
            continue;
        for (uint32_t j = 0; j < from->disk_count; j++)
            control_log_disk_add(&c->log->nodes[i],
                                 ppn_slice(from->disk[j]->bytes, from->disk[j]->size));
        joiner->outside = false;
        joiner->healthy = false;
        world_start(c->world, i);
        c->joins++;
    }
}

static void promise(struct control_log *l, uint32_t index, const struct ppn_hash *id)
{
    uint32_t at = 0;
    while (at < l->promised_count && !ppn_hash_equal(&l->promised[at].id, id))
        at++;
    if (at == ENTRIES_MAX)
        return;
    if (at == l->promised_count)
        l->promised[l->promised_count++] = (struct promise){.id = *id};
    l->promised[at].nodes |= 1u << index;
}

/* What only those know who were thrown out is lost with them. */
static bool must_be_known(const struct control *c, const struct promise *promise)
{
    for (uint32_t i = 0; i < c->world->options.nodes; i++)
        if ((promise->nodes >> i & 1) != 0 && !control_log_gone(c, i))
            return true;
    return false;
}

static void written(struct control *c, uint32_t index, uint32_t count)
{
    struct control_log *l = c->log;
    struct log_node *node = &l->nodes[index];
    uint32_t indexes[BATCH_MAX], fresh = 0;
    for (uint32_t i = node->written; i < count && fresh < BATCH_MAX; i++) {
        indexes[fresh++] = i;
        struct ppn_hash id = admission_record_at(node->log, i).id;
        world_trace(c->world, ppn_read_u64(id.bytes));
        promise(l, index, &id);
    }
    write_up_to(node, count);
    obey(c, index);
    for (uint32_t i = 0; i < node->member_count; i++)
        send_entries(c, index, world_find(c->world, &node->members[i]), indexes, fresh);
    let_in(c, index);
}

void control_log_call(struct control *c, uint32_t index, void *payload)
{
    struct log_call *call = payload;
    /* WireGuard delivers from members only. */
    bool stranger = !control_log_is_member(c, index, call->from);
    if (call->kind == CALL_LOG_WRITTEN) {
        written(c, index, call->count);
        return;
    }
    if (call->kind == CALL_LOG_TIMER) {
        timer(c, index);
        return;
    }
    if (stranger)
        return;
    if (call->kind == CALL_LOG_HAVE) {
        have_receive(c, index, call);
        return;
    }
    for (uint32_t i = 0; i < call->count; i++)
        control_log_offer(c, index, call->from + 1,
                          ppn_slice(call->entries[i]->bytes, call->entries[i]->size));
    control_log_schedule(c, index);
}

/* ---- a node's life ---- */

uint32_t control_log_start(struct control *c, uint32_t index, struct ppn_node_id *members)
{
    struct log_node *node = &c->log->nodes[index];
    struct admission_config config = {
        .crypto = &control_log_crypto, .network = c->log->network, .seed = index + 1};
    node->log = admission_new(&config);
    PPN_ASSERT(node->log != NULL);
    for (uint32_t i = 0; i < node->disk_count; i++)
        control_log_offer(c, index, 0, ppn_slice(node->disk[i]->bytes, node->disk[i]->size));
    node->written = node->scheduled = admission_entry_count(node->log);
    if (node->written != node->disk_count)
        control_broken(c, "%s has %u entries on disk and %u in its log",
                       c->world->nodes[index].name, node->disk_count, node->written);
    uint32_t count = members_read(node, members);
    note_thrown_out(c, node, members, count);
    memcpy(node->members, members, count * sizeof(*members));
    node->member_count = count;
    return count;
}

void control_log_started(struct control *c, uint32_t index)
{
    const struct fleet *fleet = c->nodes[index].fleet;
    struct fleet_request_view request;
    struct fleet_hold_view hold;
    uint32_t cursor = 0;
    while (fleet_request_next(fleet, &cursor, &request))
        if (!ppn_node_id_is_zero(&request.node) &&
            !control_log_is_member(c, index, world_find(c->world, &request.node)))
            member_lost(c, index, &request.node);
    cursor = 0;
    while (fleet_hold_next(fleet, &cursor, &hold))
        if (!control_log_is_member(c, index, world_find(c->world, &hold.origin)))
            member_lost(c, index, &hold.origin);
    timer(c, index);
}

void control_log_stop(struct control *c, uint32_t index)
{
    struct log_node *node = &c->log->nodes[index];
    while (node->written < node->scheduled && ppn_random_chance(&c->log->random, 500000))
        write_up_to(node, node->written + 1);
    admission_free(node->log);
    node->log = NULL;
}

bool control_log_is_member(const struct control *c, uint32_t observer, uint32_t subject)
{
    const struct log_node *node = &c->log->nodes[observer];
    return listed(node->members, node->member_count, &c->world->nodes[subject].id);
}

bool control_log_thrown_out(const struct control *c, uint32_t index)
{
    return (c->log->thrown_out >> index & 1) != 0;
}

bool control_log_gone(const struct control *c, uint32_t index)
{
    return !control_log_is_member(c, ROOT_HOME, index);
}

bool control_log_equal(const struct control *c, uint32_t a, uint32_t b)
{
    struct ppn_hash first = admission_digest(c->log->nodes[a].log),
                    second = admission_digest(c->log->nodes[b].log);
    return ppn_hash_equal(&first, &second);
}

/* ---- the end ---- */

static bool gossip_agrees(const struct control *c, uint32_t index)
{
    struct gossip_member member;
    uint32_t count = 0;
    for (uint32_t cursor = 0; gossip_next(c->world->nodes[index].core, &cursor, &member);) {
        if (!control_log_is_member(c, index, world_find(c->world, &member.id)))
            return false;
        count++;
    }
    return count == c->log->nodes[index].member_count;
}

/* Whether it waits for an entry that some member has. What only a node had that was revoked, or
 * that never returned, is waited for in vain, and rightly so. */
static bool lags(const struct control *c, uint32_t index)
{
    struct ppn_hash missing[MISSING_MAX];
    const struct control_log *l = c->log;
    uint32_t count = admission_missing(l->nodes[index].log, missing, MISSING_MAX), at;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t node = 0; node < c->world->options.nodes; node++)
            if (control_log_is_member(c, ROOT_HOME, node) && l->nodes[node].log != NULL &&
                admission_record_find(l->nodes[node].log, &missing[i], &at))
                return true;
    return false;
}

static bool node_agrees(struct control *c, uint32_t index, char *why, size_t capacity)
{
    struct control_log *l = c->log;
    struct admission *first = l->nodes[ROOT_HOME].log, *log = l->nodes[index].log;
    const char *name = c->world->nodes[index].name;
    struct ppn_hash a = admission_digest(first), b = admission_digest(log);
    if (!ppn_hash_equal(&a, &b) || lags(c, index)) {
        snprintf(why, capacity, "%s has another log; %u of %u entries pending", name,
                 admission_pending_count(log), admission_entry_count(log));
        return false;
    }
    a = admission_members_digest(first);
    b = admission_members_digest(log);
    if (!ppn_hash_equal(&a, &b)) {
        snprintf(why, capacity, "%s folds one log to other members", name);
        return false;
    }
    admission_refold(log);
    a = admission_members_digest(log);
    if (!ppn_hash_equal(&a, &b)) {
        snprintf(why, capacity, "%s folds its log anew to other members", name);
        return false;
    }
    if (!gossip_agrees(c, index)) {
        snprintf(why, capacity, "gossip on %s has other members than the log", name);
        return false;
    }
    for (uint32_t i = 0; i < l->promised_count; i++) {
        uint32_t at;
        if (must_be_known(c, &l->promised[i]) &&
            !admission_record_find(log, &l->promised[i].id, &at)) {
            snprintf(why, capacity, "%s lacks an entry that was done", name);
            return false;
        }
    }
    return true;
}

bool control_log_settled(struct control *c, char *why, size_t capacity)
{
    if (!c->world->nodes[ROOT_HOME].running)
        return false;
    for (uint32_t i = 0; i < c->world->options.nodes; i++) {
        struct world_node *node = &c->world->nodes[i];
        bool joined = c->log->nodes[i].disk_count > 0;
        node->outside = !joined || control_log_gone(c, i);
        if (!node->outside && !node->running) {
            snprintf(why, capacity, "%s does not run", node->name);
            return false;
        }
        if (!node->outside && !node_agrees(c, i, why, capacity))
            return false;
    }
    return true;
}

struct control_log *control_log_new(struct control *c)
{
    struct control_log *l = calloc(1, sizeof(*l));
    uint32_t nodes = c->world->options.nodes;
    PPN_ASSERT(l != NULL);
    c->log = l;
    ppn_random_init(&l->random, c->world->options.seed ^ 0x61646d69);
    for (uint32_t i = 0; i < ADMISSION_KEY_SIZE; i++) {
        l->root.bytes[i] = (uint8_t)ppn_random_u64(&l->random);
        l->admin.bytes[i] = (uint8_t)ppn_random_u64(&l->random);
        l->invite.bytes[i] = (uint8_t)ppn_random_u64(&l->random);
    }
    uint32_t founders = nodes * FOUNDERS_PERCENT / 100 + 2;
    founders = founders > nodes ? nodes : founders;
    l->revoke_most = nodes < REVOKE_NODES_LEAST ? 0 : 1 + nodes / 8;
    control_log_found(c, founders);
    for (uint32_t i = founders; i < nodes; i++)
        c->world->nodes[i].outside = true;
    return l;
}

void control_log_free(struct control_log *l)
{
    for (uint32_t i = 0; i < CONTROL_NODES_MAX; i++) {
        admission_free(l->nodes[i].log);
        for (uint32_t j = 0; j < l->nodes[i].disk_count; j++)
            free(l->nodes[i].disk[j]);
    }
    admission_update_free(&l->update);
    free(l);
}
