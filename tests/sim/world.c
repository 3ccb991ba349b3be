// SPDX-License-Identifier: ISC
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "gossip/item.h"
#include "world_heap.h"
#include "world_internal.h"

static const char *const state_names[] = {"unknown",     "alive", "suspect",
                                          "unreachable", "dead",  "left"};
static const char *const cause_names[] = {"", " (no answer)", " (agent gone)", " (degraded)"};

static void release(struct world_event *event)
{
    free(event->packet);
    free(event->payload);
}

static void stub_signature(const struct ppn_node_id *author, struct ppn_slice transcript,
                           uint8_t *signature)
{
    struct ppn_hash_key key = {ppn_read_u64(author->bytes), ppn_read_u64(author->bytes + 8)};
    uint64_t hash = ppn_hash64(key, transcript);
    for (uint32_t i = 0; i < GOSSIP_SIGNATURE_SIZE; i++)
        signature[i] = (uint8_t)(hash >> 8 * (i % 8));
}

static void stub_sign(void *context, struct ppn_slice transcript, uint8_t *signature)
{
    stub_signature(context, transcript, signature);
}

static bool stub_verify(void *context, const struct ppn_node_id *author,
                        struct ppn_slice transcript, const uint8_t *signature)
{
    (void)context;
    uint8_t wanted[GOSSIP_SIGNATURE_SIZE];
    stub_signature(author, transcript, wanted);
    return memcmp(wanted, signature, sizeof(wanted)) == 0;
}

void world_trace(struct world *w, uint64_t value)
{
    w->trace = (w->trace ^ value) * 0x9e3779b97f4a7c15u;
    w->trace ^= w->trace >> 29;
}

uint32_t world_find(const struct world *w, const struct ppn_node_id *id)
{
    uint32_t index = ppn_read_u32(id->bytes + 28);
    return index < w->options.nodes && ppn_node_id_equal(&w->nodes[index].id, id) ? index
                                                                                  : UINT32_MAX;
}

/* The last four bytes are the index, so that finding a node costs nothing. */
static void node_name(struct world *w, uint32_t index)
{
    struct world_node *node = &w->nodes[index];
    for (uint32_t i = 0; i < 28; i += 4) {
        struct ppn_writer writer = ppn_writer(node->id.bytes + i, 4);
        ppn_write_u32(&writer, (uint32_t)ppn_random_u64(&w->random));
    }
    struct ppn_writer writer = ppn_writer(node->id.bytes + 28, 4);
    ppn_write_u32(&writer, index);
    snprintf(node->name, sizeof(node->name), "n%u", index + 1);
}

struct world *world_new(const struct world_options *options)
{
    struct world *w = calloc(1, sizeof(*w));
    PPN_ASSERT(w != NULL);
    w->options = *options;
    ppn_random_init(&w->random, options->seed);
    w->now = (struct ppn_instant){1000000000};
    w->pool = gossip_pool_new();
    w->nodes = calloc(options->nodes, sizeof(*w->nodes));
    PPN_ASSERT(w->pool != NULL && w->nodes != NULL);
    w->refused_answers = true;
    for (uint32_t i = 0; i < options->nodes; i++) {
        node_name(w, i);
        w->nodes[i].host = true;
        w->nodes[i].healthy = true;
        w->nodes[i].timer = PPN_NEVER;
        w->nodes[i].paused_until = w->now;
    }
    return w;
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->heap_count; i++)
        release(&w->heap[i]);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        gossip_free(w->nodes[i].core);
        free(w->nodes[i].rows);
    }
    gossip_pool_free(w->pool);
    free(w->heap);
    free(w->cuts);
    free(w->nodes);
    free(w);
}

static void row_keep(struct world *w, struct world_node *node, const struct gossip_action *action)
{
    if (!w->options.keep_views)
        return;
    uint32_t at = 0;
    while (at < node->row_count && !(ppn_node_id_equal(&node->rows[at].node, &action->node) &&
                                     node->rows[at].kind == action->item_kind))
        at++;
    if (at == node->row_capacity) {
        node->row_capacity = node->row_capacity == 0 ? 16 : 2 * node->row_capacity;
        node->rows = realloc(node->rows, node->row_capacity * sizeof(*node->rows));
        PPN_ASSERT(node->rows != NULL);
    }
    if (at == node->row_count)
        node->row_count++;
    struct world_row *row = &node->rows[at];
    row->node = action->node;
    row->kind = action->item_kind;
    row->size = (uint32_t)action->bytes.size;
    memcpy(row->bytes, action->bytes.data, action->bytes.size);
}

static void count_state(struct world_node *subject, enum gossip_state state, uint32_t by)
{
    subject->suspected_by += state == GOSSIP_SUSPECT ? by : 0;
    subject->lost_by += state == GOSSIP_DEAD || state == GOSSIP_UNREACHABLE ? by : 0;
    subject->dead_by += state == GOSSIP_DEAD ? by : 0;
}

void world_fault_clear(struct world_node *node)
{
    node->first_suspect = node->first_lost = (struct ppn_instant){0};
    node->everywhere = node->dead_everywhere = (struct ppn_instant){0};
}

static void note_times(struct world *w, struct world_node *subject, enum gossip_state state)
{
    bool suspect = state == GOSSIP_SUSPECT,
         gone = state == GOSSIP_DEAD || state == GOSSIP_UNREACHABLE;
    if ((suspect || gone) && subject->first_suspect.ns == 0)
        subject->first_suspect = w->now;
    if (gone && subject->first_lost.ns == 0)
        subject->first_lost = w->now;
    uint32_t others = w->running - (subject->running ? 1 : 0);
    if (gone && subject->everywhere.ns == 0 && subject->lost_by >= others)
        subject->everywhere = w->now;
    if (state == GOSSIP_DEAD && subject->dead_everywhere.ns == 0 && subject->dead_by >= others)
        subject->dead_everywhere = w->now;
}

static void member_changed(struct world *w, uint32_t observer, const struct gossip_action *action)
{
    uint32_t index = world_find(w, &action->node);
    PPN_ASSERT(index != UINT32_MAX);
    struct world_node *subject = &w->nodes[index];
    if ((action->what & GOSSIP_CHANGED_STATE) != 0) {
        count_state(subject, action->was, (uint32_t)-1);
        count_state(subject, action->state, 1);
        note_times(w, subject, action->state);
        world_trace(w, (uint64_t)observer << 32 | index);
        world_trace(w, action->state);
        bool to_blame =
            !subject->healthy || (!w->nodes[observer].healthy && !w->judge_subjects_only);
        if ((action->state == GOSSIP_DEAD || action->state == GOSSIP_UNREACHABLE) && !to_blame)
            w->false_dead++;
        if (action->state == GOSSIP_SUSPECT && !to_blame)
            w->false_suspect++;
    }
    if (w->options.story != NULL && action->what == GOSSIP_CHANGED_STATE)
        fprintf(w->options.story, "%9.3f %s: %s %s%s\n", (double)(w->now.ns - 1000000000) / 1e9,
                w->nodes[observer].name, subject->name, state_names[action->state],
                cause_names[action->cause]);
    if (w->on_member != NULL)
        w->on_member(w, observer, index, action);
}

struct ppn_instant world_clock(const struct world *w, uint32_t index)
{
    return (struct ppn_instant){w->now.ns - w->nodes[index].slept.ns};
}

struct ppn_instant world_when(const struct world *w, uint32_t index, struct ppn_instant clock)
{
    return ppn_after(clock, w->nodes[index].slept);
}

static void timer_set(struct world *w, uint32_t index)
{
    struct world_node *node = &w->nodes[index];
    struct ppn_instant deadline = world_when(w, index, gossip_deadline(node->core));
    if (deadline.ns == node->timer.ns || deadline.ns == PPN_NEVER.ns)
        return;
    /* A timer that stands earlier fires for nothing, once, and sets itself anew. */
    if (node->timer.ns != PPN_NEVER.ns && ppn_before(node->timer, deadline))
        return;
    node->timer = deadline;
    world_heap_push(w, (struct world_event){.at = ppn_before(deadline, w->now) ? w->now : deadline,
                                            .kind = EVENT_TIMER,
                                            .node = index,
                                            .value = node->starts});
}

static void carry_out(struct world *w, uint32_t index, const struct gossip_update *update)
{
    for (uint32_t i = 0; i < update->count; i++) {
        const struct gossip_action *action = &update->actions[i];
        world_trace(w, (uint64_t)action->kind << 56 ^ (uint64_t)w->now.ns ^
                           ppn_read_u64(action->node.bytes));
        switch (action->kind) {
        case GOSSIP_DO_SEND:
            world_transmit(w, index, world_find(w, &action->node), action->packet);
            break;
        case GOSSIP_DO_PERSIST_EPOCH:
            world_heap_push(w, (struct world_event){.at = ppn_after(w->now, ppn_ms(3)),
                                                    .kind = EVENT_PERSISTED,
                                                    .node = index,
                                                    .from = w->nodes[index].starts,
                                                    .value = action->epoch});
            break;
        case GOSSIP_DO_PERSIST_ITEM:
            row_keep(w, &w->nodes[index], action);
            break;
        case GOSSIP_DO_MEMBER:
            member_changed(w, index, action);
            break;
        case GOSSIP_DO_CLONE:
            w->clones++;
            break;
        case GOSSIP_DO_FORGED:
            w->forged++;
            break;
        case GOSSIP_DO_FORGET:
        default:
            break;
        }
    }
}

void world_event(struct world *w, uint32_t index, const struct gossip_event *event)
{
    struct gossip_update update;
    struct world_node *node = &w->nodes[index];
    PPN_ASSERT(node->core != NULL);
    enum ppn_error error = gossip_step(node->core, world_clock(w, index), event, &update);
    PPN_ASSERT(error == PPN_OK);
    w->steps++;
    carry_out(w, index, &update);
    timer_set(w, index);
}

enum { PROFILE_SIZE = 160 };

static void first_profile(const struct world_node *node, uint8_t profile[static PROFILE_SIZE])
{
    memcpy(profile, node->name, sizeof(node->name));
}

/* Gives one node the first item that another will sign, to the byte. */
static void restore_first(struct world *w, uint32_t index, uint32_t of, enum gossip_item_kind kind)
{
    static const struct ppn_hash network;
    const struct world_node *author = &w->nodes[of];
    uint8_t profile[PROFILE_SIZE] = {0}, bytes[GOSSIP_ITEM_SIZE_MAX];
    uint8_t signed_bytes[GOSSIP_TRANSCRIPT_PREFIX + GOSSIP_ITEM_SIZE_MAX];
    uint8_t signature[GOSSIP_SIGNATURE_SIZE];
    struct ppn_writer item = ppn_writer(bytes, sizeof(bytes));
    struct ppn_writer transcript = ppn_writer(signed_bytes, sizeof(signed_bytes));
    if (of == index)
        return;
    first_profile(author, profile);
    gossip_item_write(&item, &(struct gossip_item){.kind = kind,
                                                   .author = gossip_tag_of(&author->id),
                                                   .epoch = 1,
                                                   .sequence = 1,
                                                   .standing = GOSSIP_STANDING_ALIVE,
                                                   .body = ppn_slice(profile, sizeof(profile))});
    gossip_transcript(&transcript, &network, &author->id, ppn_written(&item));
    stub_signature(&author->id, ppn_written(&transcript), signature);
    ppn_write(&item, ppn_slice(signature, sizeof(signature)));
    world_event(w, index,
                &(struct gossip_event){.kind = GOSSIP_EVENT_RESTORE, .bytes = ppn_written(&item)});
}

void world_start(struct world *w, uint32_t index)
{
    struct world_node *node = &w->nodes[index];
    PPN_ASSERT(!node->running);
    struct gossip_config config = {.self = node->id,
                                   .crypto = {&node->id, stub_sign, stub_verify},
                                   .bandwidth_bytes_s = WORLD_BANDWIDTH_BYTES_S,
                                   .pool = w->pool};
    node->running = true;
    node->starts++;
    node->timer = PPN_NEVER;
    node->sent_level = 0; /* a new agent has a full bucket */
    w->running++;
    node->core = gossip_init(&config, world_clock(w, index), ppn_random_u64(&w->random));
    PPN_ASSERT(node->core != NULL);
    struct ppn_node_id *all = malloc(w->options.nodes * sizeof(*all));
    PPN_ASSERT(all != NULL);
    uint32_t count = w->options.nodes;
    for (uint32_t i = 0; i < count; i++)
        all[i] = w->nodes[i].id;
    if (w->members_of != NULL)
        count = w->members_of(w, index, all);
    world_event(w, index,
                &(struct gossip_event){
                    .kind = GOSSIP_EVENT_MEMBERS, .nodes = all, .count = count, .added = true});
    free(all);
    for (uint32_t i = 0; i < node->row_count; i++)
        world_event(
            w, index,
            &(struct gossip_event){.kind = GOSSIP_EVENT_RESTORE,
                                   .bytes = ppn_slice(node->rows[i].bytes, node->rows[i].size)});
    for (uint32_t i = 0; i < w->options.nodes && w->options.warm && node->starts == 1; i++) {
        restore_first(w, index, i, GOSSIP_ITEM_LIFE);
        restore_first(w, index, i, GOSSIP_ITEM_PROFILE);
    }
    uint8_t profile[PROFILE_SIZE] = {0}, load[40] = {0};
    first_profile(node, profile);
    world_body(w, index, GOSSIP_PLANE_PROFILE, ppn_slice(profile, sizeof(profile)));
    world_body(w, index, GOSSIP_PLANE_LOAD, ppn_slice(load, sizeof(load)));
    world_event(w, index, &(struct gossip_event){.kind = GOSSIP_EVENT_START, .epoch = node->epoch});
    if (w->on_start != NULL)
        w->on_start(w, index);
}

void world_call(struct world *w, uint32_t index, struct ppn_instant at, void *payload)
{
    world_heap_push(w, (struct world_event){.at = at,
                                            .kind = EVENT_CALL,
                                            .node = index,
                                            .value = w->nodes[index].starts,
                                            .payload = payload});
}

void world_body(struct world *w, uint32_t index, enum gossip_plane plane, struct ppn_slice body)
{
    world_event(
        w, index,
        &(struct gossip_event){.kind = GOSSIP_EVENT_SELF_BODY, .plane = plane, .bytes = body});
}

void world_start_all(struct world *w, struct ppn_duration spread)
{
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct ppn_instant at = w->now;
        if (w->nodes[i].outside)
            continue;
        if (spread.ns > 0)
            at = ppn_after(at, ppn_ns((int64_t)ppn_random_below(&w->random, (uint64_t)spread.ns)));
        world_heap_push(w, (struct world_event){.at = at, .kind = EVENT_START, .node = i});
    }
}

void world_acquaint(struct world *w)
{
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        for (uint32_t j = 0; j < w->options.nodes; j++) {
            if (i == j || !w->nodes[i].running || !w->nodes[j].running)
                continue;
            static struct gossip_packet packet = {.kind = GOSSIP_NEWS};
            packet.view_digest = gossip_view_digest(w->nodes[i].core);
            world_event(w, i,
                        &(struct gossip_event){.kind = GOSSIP_EVENT_PACKET,
                                               .node = w->nodes[j].id,
                                               .packet = &packet});
        }
    }
}

/* The states that a vanished view held no longer count. */
static void forget_opinions(struct world *w, const struct world_node *node)
{
    struct gossip_member member;
    for (uint32_t cursor = 0; gossip_next(node->core, &cursor, &member);) {
        uint32_t subject = world_find(w, &member.id);
        if (subject != UINT32_MAX)
            count_state(&w->nodes[subject], member.state, (uint32_t)-1);
    }
}

void world_stop(struct world *w, uint32_t index)
{
    struct world_node *node = &w->nodes[index];
    if (!node->running)
        return;
    if (w->on_stop != NULL)
        w->on_stop(w, index);
    struct gossip_counters counters;
    gossip_counters(node->core, &counters);
    w->bytes_membership += counters.bytes_membership;
    w->bytes_load += counters.bytes_load;
    forget_opinions(w, node);
    gossip_free(node->core);
    node->core = NULL;
    node->running = false;
    w->running--;
    node->fault_at = w->now;
    world_fault_clear(node);
}

void world_leave(struct world *w, uint32_t index)
{
    world_event(w, index, &(struct gossip_event){.kind = GOSSIP_EVENT_LEAVE});
    world_stop(w, index);
}

void world_pause(struct world *w, uint32_t index, struct ppn_duration time)
{
    w->nodes[index].paused_until = ppn_after(w->now, time);
}

void world_sleep(struct world *w, uint32_t index, struct ppn_duration time)
{
    struct world_node *node = &w->nodes[index];
    PPN_ASSERT(!node->asleep);
    world_pause(w, index, time);
    node->asleep = true;
    world_heap_push(
        w, (struct world_event){
               .at = node->paused_until, .kind = EVENT_WAKE, .node = index, .slept_ns = time.ns});
}

static void wake(struct world *w, uint32_t index, int64_t slept_ns)
{
    struct world_node *node = &w->nodes[index];
    node->asleep = false;
    node->slept.ns += slept_ns;
    if (node->running)
        world_event(w, index, &(struct gossip_event){.kind = GOSSIP_EVENT_SUSPENDED});
}

static void deliver(struct world *w, const struct world_event *event)
{
    struct world_node *node = &w->nodes[event->node];
    uint32_t meant_for = event->kind == EVENT_PERSISTED ? event->from : event->value;
    if (event->kind == EVENT_START) {
        if (!node->running)
            world_start(w, event->node);
        return;
    }
    if (event->kind == EVENT_WAKE) {
        wake(w, event->node, event->slept_ns);
        return;
    }
    if (!node->running || meant_for != node->starts)
        return;
    struct gossip_event step = {.kind = GOSSIP_EVENT_TICK};
    if (event->kind == EVENT_CALL) {
        w->on_call(w, event->node, event->payload);
        return;
    }
    if (event->kind == EVENT_TIMER) {
        if (event->at.ns < node->timer.ns && node->timer.ns != PPN_NEVER.ns)
            return;
        node->timer = PPN_NEVER;
        if (!ppn_due(gossip_deadline(node->core), world_clock(w, event->node))) {
            timer_set(w, event->node);
            return;
        }
    } else if (event->kind == EVENT_PACKET) {
        step.kind = GOSSIP_EVENT_PACKET;
        step.node = w->nodes[event->from].id;
        step.packet = event->packet;
    } else if (event->kind == EVENT_REFUSED) {
        step.kind = GOSSIP_EVENT_REFUSED;
        step.node = w->nodes[event->from].id;
    } else {
        node->epoch = event->value;
        step.kind = GOSSIP_EVENT_EPOCH_PERSISTED;
        step.epoch = event->value;
    }
    world_event(w, event->node, &step);
}

void world_run(struct world *w, struct ppn_instant until)
{
    while (w->heap_count > 0 && !ppn_before(until, w->heap[0].at)) {
        struct world_event event = world_heap_pop(w);
        struct world_node *node = &w->nodes[event.node];
        w->now = event.at;
        if (ppn_before(w->now, node->paused_until)) {
            /* A stopped process finds its packets waiting, and its timers after them; a machine
             * that sleeps hears none of them. */
            if (node->asleep && (event.kind == EVENT_PACKET || event.kind == EVENT_REFUSED)) {
                release(&event);
                continue;
            }
            event.at = node->paused_until;
            if (event.kind == EVENT_TIMER)
                event.at = ppn_after(event.at, ppn_ns(1000));
            if (event.kind == EVENT_TIMER)
                node->timer = event.at;
            world_heap_push(w, event);
            continue;
        }
        deliver(w, &event);
        release(&event);
    }
    w->now = until;
}

void world_run_for(struct world *w, struct ppn_duration time)
{
    world_run(w, ppn_after(w->now, time));
}

enum gossip_state world_state(const struct world *w, uint32_t observer, uint32_t subject)
{
    struct gossip_member member;
    if (w->nodes[observer].core == NULL ||
        gossip_member(w->nodes[observer].core, &w->nodes[subject].id, &member) != PPN_OK)
        return GOSSIP_UNKNOWN;
    return member.state;
}

bool world_converged(const struct world *w)
{
    uint64_t digest = 0;
    bool first = true;
    /* Digests first: they are quick to differ. */
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (!w->nodes[i].running || w->nodes[i].outside)
            continue;
        uint64_t mine = gossip_view_digest(w->nodes[i].core);
        if (!first && mine != digest)
            return false;
        digest = mine;
        first = false;
    }
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (!w->nodes[i].running || w->nodes[i].outside)
            continue;
        struct gossip_member member;
        for (uint32_t cursor = 0; gossip_next(w->nodes[i].core, &cursor, &member);) {
            uint32_t subject = world_find(w, &member.id);
            if (w->nodes[subject].running && member.state != GOSSIP_ALIVE)
                return false;
        }
    }
    return true;
}

void world_bytes(const struct world *w, uint64_t *membership, uint64_t *load)
{
    *membership = w->bytes_membership;
    *load = w->bytes_load;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct gossip_counters counters;
        if (w->nodes[i].core == NULL)
            continue;
        gossip_counters(w->nodes[i].core, &counters);
        *membership += counters.bytes_membership;
        *load += counters.bytes_load;
    }
}
