// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/checkpoint.h"
#include "admission/state.h"
#include "base/assert.h"

static uint32_t push(uint32_t **items, uint32_t *count, uint32_t *capacity, uint32_t value)
{
    void *grown = *items;
    admission_grow(&grown, capacity, *count + 1, sizeof **items);
    *items = grown;
    (*items)[*count] = value;
    return (*count)++;
}

static void add_admin(struct admission *log, uint32_t person)
{
    if (log->persons[person].admin == 0)
        log->persons[person].admin =
            push(&log->admins, &log->admin_count, &log->admin_capacity, person) + 1;
}

static void add_special(struct admission *log, uint32_t index)
{
    if (log->items[index].special)
        return;
    log->items[index].special = true;
    push(&log->special, &log->special_count, &log->special_capacity, index);
    log->special_end = index + 1 > log->special_end ? index + 1 : log->special_end;
}

static void note_contradictions(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    uint64_t key[2] = {item->author, item->seq};
    uint64_t hash = admission_hash_bytes(log, key, sizeof key);
    uint32_t other;
    for (uint32_t cursor = 0; admission_table_next(&log->by_seq, hash, &cursor, &other);) {
        if (log->items[other].author != item->author || log->items[other].seq != item->seq)
            continue;
        void *grown = log->contradictions;
        admission_grow(&grown, &log->contradiction_capacity, log->contradiction_count + 1,
                       sizeof *log->contradictions);
        log->contradictions = grown;
        log->contradictions[log->contradiction_count++] =
            (struct admission_contradiction){item->author, other, index};
    }
}

static void watch(struct admission *log, uint32_t person)
{
    log->persons[person].watched = true;
    for (uint32_t at = log->persons[person].first_authored; at != 0;
         at = log->items[at - 1].next_of_author)
        add_special(log, at - 1);
    log->now_valid = false;
}

static uint32_t subject_of(struct admission *log, const struct admission_entry *entry)
{
    struct admission_key key;
    switch (entry->kind) {
    case ADMISSION_ADMIT:
        key = admission_node_key(&entry->as.admit.node);
        break;
    case ADMISSION_DENY:
        key = admission_node_key(&entry->as.deny.node);
        break;
    case ADMISSION_REVOKE:
        key = entry->as.revoke.subject;
        break;
    case ADMISSION_INVITE:
        key = entry->as.invite.key;
        break;
    case ADMISSION_REDEEM:
        key = admission_node_key(&entry->as.redeem.node);
        break;
    case ADMISSION_ADMIN_ADD:
        key = entry->as.admin_add.key;
        break;
    case ADMISSION_ADMIN_REMOVE:
        key = entry->as.admin_remove.key;
        break;
    case ADMISSION_REKEY:
        key = entry->author;
        break;
    case ADMISSION_GENESIS:
    case ADMISSION_POLICY:
    case ADMISSION_SEAL:
    case ADMISSION_RECOVER:
    case ADMISSION_CHECKPOINT:
    default:
        return UINT32_MAX;
    }
    return admission_person(log, &key);
}

static void set_roots(struct admission *log, struct admission_control *control, uint32_t count,
                      const struct admission_key *roots)
{
    control->root_count = count;
    for (uint32_t i = 0; i < count; i++) {
        control->roots[i] = admission_person(log, &roots[i]);
        add_admin(log, control->roots[i]);
    }
}

static void add_control(struct admission *log, uint32_t index, const struct admission_entry *entry)
{
    struct admission_control control = {.index = index};
    switch (entry->kind) {
    case ADMISSION_GENESIS:
        control.policy = entry->as.genesis.policy;
        set_roots(log, &control, entry->as.genesis.root_count, entry->as.genesis.roots);
        break;
    case ADMISSION_RECOVER: {
        bool known = admission_item_find(log, &entry->as.recover.base, &control.base);
        PPN_ASSERT(known);
        control.policy.root = entry->as.recover.root_needed;
        set_roots(log, &control, entry->as.recover.root_count, entry->as.recover.roots);
        for (uint32_t i = 0; i < entry->as.recover.cut_count; i++)
            watch(log, admission_person(log, &entry->as.recover.cuts[i].key));
        break;
    }
    case ADMISSION_ADMIN_ADD:
        control.powers = entry->as.admin_add.powers;
        add_admin(log, log->items[index].subject);
        break;
    case ADMISSION_ADMIN_REMOVE:
        control.has_cut = entry->as.admin_remove.has_cut;
        control.cut = entry->as.admin_remove.cut;
        if (control.has_cut)
            watch(log, log->items[index].subject);
        break;
    case ADMISSION_POLICY:
        control.policy = entry->as.policy;
        break;
    case ADMISSION_SEAL:
        control.number = entry->as.seal_of.number;
        control.renew_unix_ms = entry->as.seal_of.renew_unix_ms;
        break;
    case ADMISSION_ADMIT:
    case ADMISSION_DENY:
    case ADMISSION_REVOKE:
    case ADMISSION_INVITE:
    case ADMISSION_REDEEM:
    case ADMISSION_REKEY:
    case ADMISSION_CHECKPOINT:
    default:
        return;
    }
    void *grown = log->control;
    admission_grow(&grown, &log->control_capacity, log->control_count + 1, sizeof *log->control);
    log->control = grown;
    log->control[log->control_count] = control;
    log->items[index].control = log->control_count++;
    add_special(log, index);
    log->now_valid = false;
}

static void add_facts(struct admission *log, uint32_t index, const struct admission_entry *entry)
{
    struct admission_facts facts = {0};
    const struct ppn_node_id *node = NULL;
    const char *name = "";
    const uint8_t *wg_key = facts.wg_key;
    if (entry->kind == ADMISSION_ADMIT) {
        node = &entry->as.admit.node;
        name = entry->as.admit.name;
        wg_key = entry->as.admit.wg_key;
        facts.roles = entry->as.admit.roles;
        facts.lease_ms = entry->as.admit.lease_ms;
    } else if (entry->kind == ADMISSION_REDEEM) {
        bool known = admission_item_find(log, &entry->as.redeem.invite, &facts.invite);
        PPN_ASSERT(known);
        node = &entry->as.redeem.node;
        name = entry->as.redeem.name;
        wg_key = entry->as.redeem.wg_key;
        const struct admission_facts *invite = &log->facts[log->items[facts.invite].facts - 1];
        facts.roles = invite->roles;
        facts.lease_ms = invite->lease_ms;
    } else if (entry->kind == ADMISSION_INVITE) {
        facts.roles = entry->as.invite.roles;
        facts.lease_ms = entry->as.invite.lease_ms;
        facts.uses = entry->as.invite.uses;
        if (log->items[index].mark.kept)
            facts.used = facts.used_before = (uint32_t)log->items[index].mark.value;
        facts.expires_unix_ms = entry->as.invite.expires_unix_ms;
    } else if (entry->kind == ADMISSION_REKEY) {
        wg_key = entry->as.rekey.wg_key;
    } else {
        return;
    }
    memmove(facts.wg_key, wg_key, sizeof facts.wg_key);
    memcpy(facts.name, name, strlen(name) + 1);
    if (node != NULL)
        admission_address(log, node, facts.address);
    void *grown = log->facts;
    admission_grow(&grown, &log->facts_capacity, log->facts_count + 1, sizeof *log->facts);
    log->facts = grown;
    log->facts[log->facts_count++] = facts;
    log->items[index].facts = log->facts_count;
}

/* Threads the item into its author's and its subject's lists; notices a contradiction. */
static void link_item(struct admission *log, uint32_t index)
{
    struct admission_item *item = &log->items[index];
    struct admission_person *author = &log->persons[item->author];
    uint32_t other;
    bool forks = admission_by_seq(log, item->author, item->seq, &other);
    if (forks) {
        note_contradictions(log, index);
        author->forks++;
        if (author->fork_seq == 0 || item->seq < author->fork_seq)
            author->fork_seq = item->seq;
    }
    if (author->last_authored != 0)
        log->items[author->last_authored - 1].next_of_author = index + 1;
    else
        author->first_authored = index + 1;
    author->last_authored = index + 1;
    author->authored++;
    if (item->mark.kept && item->seq > author->kept_seq)
        author->kept_seq = item->seq;
    if (forks && !author->watched) {
        watch(log, item->author);
    } else if (author->watched) {
        add_special(log, index);
        log->now_valid = false;
    }
    if (item->subject != UINT32_MAX) {
        struct admission_person *subject = &log->persons[item->subject];
        if (subject->last_about != 0)
            log->items[subject->last_about - 1].next_of_subject = index + 1;
        else
            subject->first_about = index + 1;
        subject->last_about = index + 1;
    }
    uint64_t key[2] = {item->author, item->seq};
    admission_table_add(&log->by_seq, admission_hash_bytes(log, key, sizeof key), index);
    admission_table_add(&log->by_id, admission_hash_bytes(log, item->id.bytes, PPN_HASH_SIZE),
                        index);
}

static void drop_head(struct admission *log, const struct ppn_hash *id)
{
    for (uint32_t i = 0; i < log->head_count; i++) {
        if (ppn_hash_equal(&log->heads[i], id)) {
            memmove(&log->heads[i], &log->heads[i + 1],
                    (log->head_count - i - 1) * sizeof *log->heads);
            log->head_count--;
            return;
        }
    }
}

static void update_heads(struct admission *log, const struct admission_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->entry.parent_count; i++) {
        uint32_t parent;
        if (!admission_item_find(log, &attempt->entry.parents[i], &parent))
            continue;
        if (!log->items[parent].has_child)
            drop_head(log, &attempt->entry.parents[i]);
        log->items[parent].has_child = true;
    }
    void *grown = log->heads;
    admission_grow(&grown, &log->head_capacity, log->head_count + 1, sizeof *log->heads);
    log->heads = grown;
    uint32_t at = log->head_count++;
    while (at > 0 && ppn_hash_compare(&log->heads[at - 1], &attempt->id) > 0) {
        log->heads[at] = log->heads[at - 1];
        at--;
    }
    log->heads[at] = attempt->id;
}

static void copy_bytes(struct admission_item *item, const struct admission_attempt *attempt)
{
    _Static_assert(ADMISSION_RECORD_MAX <= UINT16_MAX, "sizes fit 16 bits");
    item->size = (uint16_t)attempt->bytes.size;
    item->bytes = admission_take(item->size, 1);
    memcpy(item->bytes, attempt->bytes.data, item->size);
    item->envelope_at = (uint16_t)attempt->envelope_at;
    item->envelope_size = (uint16_t)attempt->envelope_size;
    item->body_at = (uint16_t)(attempt->envelope.body.data - attempt->bytes.data);
    item->body_size = (uint16_t)attempt->envelope.body.size;
}

static void set_meaning(struct admission *log, uint32_t index, struct admission_attempt *attempt)
{
    const struct admission_entry *entry = &attempt->entry;
    struct admission_item *item = &log->items[index];
    if (item->mark.inert) {
        item->why = ADMISSION_VOID_CLOSED;
        if (entry->kind == ADMISSION_SEAL)
            item->mark.value = entry->as.seal_of.number;
        return;
    }
    add_control(log, index, entry);
    if (entry->kind == ADMISSION_POLICY)
        log->control[log->items[index].control].delay =
            attempt->mark.kept ? (uint32_t)attempt->mark.value : attempt->delay;
    add_facts(log, index, entry);
    if (entry->kind == ADMISSION_INVITE)
        push(&log->invites, &log->invite_count, &log->invite_capacity, index);
    if (entry->kind == ADMISSION_GENESIS) {
        log->network = attempt->id;
        bool fits = ppn_text_copy(log->name, sizeof log->name, entry->as.genesis.network);
        PPN_ASSERT(fits);
    }
}

uint32_t admission_insert(struct admission *log, struct admission_attempt *attempt)
{
    const struct admission_entry *entry = &attempt->entry;
    void *grown = log->items;
    admission_grow(&grown, &log->capacity, log->count + 1, sizeof *log->items);
    log->items = grown;
    uint32_t author = admission_person(log, &entry->author);
    for (uint32_t i = 0; i < entry->cosigner_count; i++)
        admission_person(log, &entry->cosigners[i]);
    uint32_t subject = attempt->mark.inert ? UINT32_MAX : subject_of(log, entry);
    uint32_t index = log->count++;
    log->items[index] = (struct admission_item){
        .id = attempt->id,
        .kind = (uint8_t)entry->kind,
        .mark = attempt->mark,
        .root_tier = attempt->root_tier,
        .has_child = attempt->mark.kept,
        .cosigners = (uint8_t)entry->cosigner_count,
        .quorum = (uint8_t)attempt->quorum,
        .author = author,
        .control = UINT32_MAX,
        .subject = subject,
        .height = attempt->height,
        .seq = entry->seq,
        .seal = entry->seal,
        .epoch = attempt->mark.kept ? 0 : UINT64_MAX,
        .time_unix_ms = entry->time_unix_ms,
        .past = attempt->past,
    };
    attempt->past = (struct admission_past){0};
    copy_bytes(&log->items[index], attempt);
    link_item(log, index);
    set_meaning(log, index, attempt);
    if (!attempt->mark.kept)
        update_heads(log, attempt);
    return index;
}
