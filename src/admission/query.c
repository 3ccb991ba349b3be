// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

bool admission_founded(const struct admission *log)
{
    return log->count > 0;
}

struct ppn_hash admission_network(const struct admission *log)
{
    return log->network;
}

const char *admission_network_name(const struct admission *log)
{
    return log->name;
}

enum { PREFIX_DIGITS_MIN = 8 };

/* Hexadecimal digits without dashes; false unless 8 to 64 of them and nothing else. */
static bool hex_prefix(const char *text, char prefix[static PPN_HEX_MAX])
{
    size_t digits = 0;
    for (; *text != '\0'; text++) {
        char c = *text;
        if (c == '-')
            continue;
        if (c >= 'A' && c <= 'F')
            c = (char)(c - 'A' + 'a');
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (!hex || digits == 2 * PPN_ID_SIZE)
            return false;
        prefix[digits++] = c;
    }
    prefix[digits] = '\0';
    return digits >= PREFIX_DIGITS_MIN;
}

static bool starts_with(const uint8_t bytes[static PPN_ID_SIZE], const char *prefix)
{
    char hex[PPN_HEX_MAX];
    ppn_hex(bytes, PPN_ID_SIZE, hex);
    return strncmp(hex, prefix, strlen(prefix)) == 0;
}

enum ppn_error admission_member_find(const struct admission *log, const char *text,
                                     const struct admission_member **member)
{
    char prefix[PPN_HEX_MAX];
    *member = admission_member_by_name(log, text);
    if (*member != NULL)
        return PPN_OK;
    if (!hex_prefix(text, prefix))
        return PPN_ERROR_NOT_FOUND;
    for (uint32_t i = 0; i < log->member_count; i++) {
        if (!starts_with(log->members[i].id.bytes, prefix))
            continue;
        if (*member != NULL)
            return PPN_ERROR_CONFLICT;
        *member = &log->members[i];
    }
    return *member != NULL ? PPN_OK : PPN_ERROR_NOT_FOUND;
}

void admission_member_labels(const struct admission *log, const struct admission_member *member,
                             struct admission_labels *labels)
{
    uint32_t index;
    struct admission_entry entry;
    bool known = admission_item_find(log, &member->entry, &index);
    PPN_ASSERT(known);
    if (log->items[index].kind == ADMISSION_REDEEM)
        index = log->facts[log->items[index].facts - 1].invite;
    admission_decode(log, index, &entry);
    *labels = entry.kind == ADMISSION_INVITE ? entry.as.invite.labels : entry.as.admit.labels;
}

enum admission_standing admission_standing(const struct admission *log,
                                           const struct ppn_node_id *node)
{
    struct admission_key key = admission_node_key(node);
    uint32_t person;
    if (!admission_person_find(log, &key, &person))
        return ADMISSION_STRANGER;
    const struct admission_person *who = &log->persons[person];
    if (who->member != 0)
        return ADMISSION_MEMBER;
    if (who->revoked)
        return ADMISSION_REVOKED;
    if (who->force != 0)
        return ADMISSION_EXPIRED;
    bool denied = false, admitted = false;
    for (uint32_t at = who->first_about; at != 0; at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        denied = denied || (item->kind == ADMISSION_DENY && item->why == ADMISSION_VOID_NOT);
        admitted = admitted || item->kind == ADMISSION_ADMIT || item->kind == ADMISSION_REDEEM;
    }
    return denied ? ADMISSION_DENIED : admitted ? ADMISSION_VOID : ADMISSION_STRANGER;
}

/* ---- authority ---- */

static bool roots_name(const struct admission_control *control, uint32_t person)
{
    for (uint32_t i = 0; i < control->root_count; i++) {
        if (control->roots[i] == person)
            return true;
    }
    return false;
}

static struct admission_admin make_admin(const struct admission *log, uint32_t admin)
{
    uint32_t person = log->admins[admin];
    struct admission_admin made = {.key = log->persons[person].key};
    made.live = admin < log->now.admins && log->now.powers[admin] != 0;
    made.powers = made.live ? log->now.powers[admin] : 0;
    for (uint32_t i = 0; i < log->control_count; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        bool named = item->kind == ADMISSION_ADMIN_ADD && item->subject == person;
        if (!named && !roots_name(control, person))
            continue;
        made.granted_by = item->id;
        if (!made.live)
            made.powers |= named ? control->powers : (uint32_t)ADMISSION_POWERS_ALL;
        if (named) {
            struct admission_entry entry;
            admission_decode(log, control->index, &entry);
            memcpy(made.name, entry.as.admin_add.name, sizeof made.name);
        }
    }
    return made;
}

static int compare_admins(const void *a, const void *b)
{
    return admission_key_compare(&((const struct admission_admin *)a)->key,
                                 &((const struct admission_admin *)b)->key);
}

void admission_admins_refresh(struct admission *log)
{
    void *grown = log->admin_view;
    admission_grow(&grown, &log->admin_view_capacity, log->admin_count, sizeof *log->admin_view);
    log->admin_view = grown;
    for (uint32_t i = 0; i < log->admin_count; i++)
        log->admin_view[i] = make_admin(log, i);
    qsort(log->admin_view, log->admin_count, sizeof *log->admin_view, compare_admins);
}

uint32_t admission_admin_count(const struct admission *log)
{
    return log->admin_count;
}

const struct admission_admin *admission_admin_at(const struct admission *log, uint32_t index)
{
    return index < log->admin_count ? &log->admin_view[index] : NULL;
}

const struct admission_admin *admission_admin_by_key(const struct admission *log,
                                                     const struct admission_key *key)
{
    for (uint32_t i = 0; i < log->admin_count; i++) {
        if (admission_key_equal(&log->admin_view[i].key, key))
            return &log->admin_view[i];
    }
    return NULL;
}

struct ppn_hash admission_roots_by(const struct admission *log)
{
    PPN_ASSERT(log->count > 0);
    return log->items[log->now.generation].id;
}

struct admission_policy admission_policy_now(const struct admission *log)
{
    return log->now.policy;
}

uint32_t admission_policy_waiting(const struct admission *log,
                                  struct admission_policy_waiting *list, uint32_t max)
{
    const struct admission_authority *now = &log->now;
    uint64_t last = now->seal_count == 0
                        ? 0
                        : log->control[log->items[now->seals[now->seal_count - 1]].control].number;
    uint32_t count = 0;
    for (uint32_t i = 1; i < log->control_count && count < max; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (item->kind != ADMISSION_POLICY || item->why != ADMISSION_VOID_NOT ||
            admission_policy_rules(log, now, i))
            continue;
        uint64_t due = item->seal + control->delay;
        list[count++] = (struct admission_policy_waiting){
            .entry = item->id, .policy = control->policy, .seals = due > last ? due - last : 1};
    }
    return count;
}

bool admission_invite_at(const struct admission *log, uint32_t index,
                         struct admission_invite_state *state)
{
    if (index >= log->invite_count)
        return false;
    const struct admission_item *item = &log->items[log->invites[index]];
    const struct admission_facts *facts = &log->facts[item->facts - 1];
    bool closed = false;
    for (uint32_t at = log->persons[item->subject].first_about; at != 0;
         at = log->items[at - 1].next_of_subject)
        closed = closed || (log->items[at - 1].kind == ADMISSION_REVOKE &&
                            log->items[at - 1].why == ADMISSION_VOID_NOT);
    *state = (struct admission_invite_state){
        .id = item->id,
        .key = log->persons[item->subject].key,
        .uses = facts->uses,
        .used = facts->used,
        .expires_unix_ms = facts->expires_unix_ms,
        .open = item->why == ADMISSION_VOID_NOT && !closed && facts->used < facts->uses,
    };
    return true;
}

uint32_t admission_invite_count(const struct admission *log)
{
    return log->invite_count;
}

/* Of several invites for one key the open one. */
bool admission_invite_by_key(const struct admission *log, const struct admission_key *key,
                             struct admission_invite_state *state)
{
    uint32_t person;
    bool found = false;
    if (!admission_person_find(log, key, &person))
        return false;
    for (uint32_t i = 0; i < log->invite_count; i++) {
        struct admission_invite_state one;
        if (log->items[log->invites[i]].subject != person)
            continue;
        admission_invite_at(log, i, &one);
        if (!found || one.open)
            *state = one;
        found = true;
    }
    return found;
}

/* ---- the log ---- */

uint32_t admission_entry_count(const struct admission *log)
{
    return log->count;
}

uint32_t admission_pending_count(const struct admission *log)
{
    return log->waiting_count;
}

struct admission_record admission_record_at(const struct admission *log, uint32_t index)
{
    PPN_ASSERT(index < log->count);
    const struct admission_item *item = &log->items[index];
    return (struct admission_record){
        .id = item->id,
        .envelope = ppn_slice(item->bytes + item->envelope_at, item->envelope_size),
        .kind = (enum admission_kind)item->kind,
        .author = log->persons[item->author].key,
        .seq = item->seq,
        .time_unix_ms = item->time_unix_ms,
        .live = item->why == ADMISSION_VOID_NOT,
    };
}

bool admission_record_find(const struct admission *log, const struct ppn_hash *id, uint32_t *index)
{
    return admission_item_find(log, id, index);
}

enum ppn_error admission_record_find_text(const struct admission *log, const char *text,
                                          uint32_t *index)
{
    char prefix[PPN_HEX_MAX];
    bool found = false;
    if (!hex_prefix(text, prefix))
        return PPN_ERROR_NOT_FOUND;
    for (uint32_t i = 0; i < log->count; i++) {
        if (!starts_with(log->items[i].id.bytes, prefix))
            continue;
        if (found)
            return PPN_ERROR_CONFLICT;
        found = true;
        *index = i;
    }
    return found ? PPN_OK : PPN_ERROR_NOT_FOUND;
}

void admission_record_entry(const struct admission *log, uint32_t index,
                            struct admission_entry *entry)
{
    admission_decode(log, index, entry);
}

uint32_t admission_heads(const struct admission *log, struct ppn_hash *heads, uint32_t max)
{
    uint32_t count = log->head_count < max ? log->head_count : max;
    if (count > 0)
        memcpy(heads, log->heads, count * sizeof *heads);
    return log->head_count;
}

struct ppn_hash admission_digest(const struct admission *log)
{
    return log->crypto->hash(log->crypto->ctx, ppn_slice("ppn-log-digest-1", 16),
                             ppn_slice(log->heads, log->head_count * sizeof *log->heads));
}

static void digest_policy(struct ppn_writer *writer, const struct admission_policy *policy)
{
    ppn_write_u32(writer, policy->version);
    ppn_write_u32(writer, policy->admit);
    ppn_write_u32(writer, policy->revoke);
    ppn_write_u32(writer, policy->admin);
    ppn_write_u32(writer, policy->root);
    ppn_write_u32(writer, policy->grace);
    ppn_write_u32(writer, policy->delay);
}

struct ppn_hash admission_members_digest(const struct admission *log)
{
    enum { ROW = 32 + 32 + 16 + PPN_NAME_MAX + 1 + 4 + 8 + 32, ADMIN_ROW = 36, POLICY_ROW = 28 };
    size_t size =
        POLICY_ROW + (size_t)log->member_count * ROW + (size_t)log->admin_count * ADMIN_ROW;
    uint8_t *bytes = admission_take(size, 1);
    struct ppn_writer writer = ppn_writer(bytes, size);
    digest_policy(&writer, &log->now.policy);
    for (uint32_t i = 0; i < log->member_count; i++) {
        const struct admission_member *member = admission_member_at(log, i);
        char name[PPN_NAME_MAX + 1] = {0};
        memcpy(name, member->name, strlen(member->name));
        ppn_write(&writer, ppn_slice(member->id.bytes, PPN_ID_SIZE));
        ppn_write(&writer, ppn_slice(member->wg_key, sizeof member->wg_key));
        ppn_write(&writer, ppn_slice(member->address, sizeof member->address));
        ppn_write(&writer, ppn_slice(name, sizeof name));
        ppn_write_u32(&writer, member->roles);
        ppn_write_u64(&writer, (uint64_t)member->lease_until_unix_ms);
        ppn_write(&writer, ppn_slice(member->entry.bytes, PPN_HASH_SIZE));
    }
    for (uint32_t i = 0; i < log->admin_count; i++) {
        const struct admission_admin *admin = admission_admin_at(log, i);
        ppn_write(&writer, ppn_slice(admin->key.bytes, ADMISSION_KEY_SIZE));
        ppn_write_u32(&writer, admin->live ? admin->powers : 0);
    }
    PPN_ASSERT(!writer.overflow);
    struct ppn_hash digest = log->crypto->hash(
        log->crypto->ctx, ppn_slice("ppn-members-digest-1", 20), ppn_written(&writer));
    free(bytes);
    return digest;
}

uint32_t admission_missing(const struct admission *log, struct ppn_hash *ids, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < log->waiting_count && count < max; i++) {
        bool known = false;
        for (uint32_t k = 0; k < count; k++)
            known = known || ppn_hash_equal(&ids[k], &log->waiting[i].missing);
        for (uint32_t k = 0; k < log->waiting_count && !known; k++)
            known = ppn_hash_equal(&log->waiting[k].id, &log->waiting[i].missing);
        if (!known)
            ids[count++] = log->waiting[i].missing;
    }
    return count;
}
