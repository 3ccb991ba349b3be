// SPDX-License-Identifier: ISC
#include "admission/kept.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* An invite that expired this long before the checkpoint's time is dropped: until then a redemption
 * made in time on the other side of a partition may still arrive. */
static const int64_t INVITE_GRACE_MS = 7 * 24 * 3600 * (int64_t)1000;

enum { CLASS_AUTHORITY, CLASS_OTHER, CLASS_ADMISSION };

struct choice {
    uint32_t index;
    bool kept;
    uint8_t class;
    uint8_t flags;
    uint32_t level; /* of authority: how many ruling recoveries it had seen, itself included */
};

struct choosing {
    const struct admission *log;
    int64_t time_unix_ms;
    struct choice *choices; /* by entry */
    uint32_t *recoveries;   /* that rule, by number of their entry */
    uint32_t recovery_count;
};

static const struct admission_item *item_of(const struct choosing *c, uint32_t index)
{
    return &c->log->items[index];
}

static void keep(struct choosing *c, uint32_t index)
{
    c->choices[index].kept = true;
}

static bool counts(const struct admission_item *item)
{
    return item->why == ADMISSION_VOID_NOT || item->why == ADMISSION_VOID_REVOKED;
}

/* Heights and ids are the same on every replica, numbers are not. */
static bool earlier(const struct admission_item *a, const struct admission_item *b)
{
    return a->height != b->height ? a->height < b->height : ppn_hash_compare(&a->id, &b->id) < 0;
}

/* ---- authority ---- */

static bool stands(const struct choosing *c, uint32_t control)
{
    return (c->log->now.state[control] & ADMISSION_STANDS) != 0;
}

static void keep_policies(struct choosing *c)
{
    const struct admission *log = c->log;
    uint32_t last = 0, newest = 0;
    for (uint32_t i = 1; i < log->control_count; i++) {
        const struct admission_item *item = item_of(c, log->control[i].index);
        if (item->kind != ADMISSION_POLICY || !stands(c, i))
            continue;
        if (!admission_policy_rules(log, &log->now, i)) {
            keep(c, log->control[i].index);
            continue;
        }
        c->choices[log->control[i].index].flags |= ADMISSION_KEPT_RULES;
        const struct admission_control *old = &log->control[newest];
        if (last == 0 || earlier(item_of(c, log->control[last].index), item))
            last = i;
        uint32_t version = log->control[i].policy.version;
        if (version > old->policy.version || (version == old->policy.version && newest != 0 &&
                                              earlier(item, item_of(c, old->index))))
            newest = i;
    }
    keep(c, log->control[last].index);
    keep(c, log->control[newest].index);
}

static void find_recoveries(struct choosing *c)
{
    c->recoveries = admission_take(c->log->control_count, sizeof *c->recoveries);
    for (uint32_t i = 1; i < c->log->control_count; i++) {
        uint32_t index = c->log->control[i].index;
        if (item_of(c, index)->kind == ADMISSION_RECOVER && stands(c, i))
            c->recoveries[c->recovery_count++] = index;
    }
}

static uint32_t generation_of(const struct choosing *c, uint32_t index)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->recovery_count; i++)
        count += c->recoveries[i] == index || admission_before(c->log, c->recoveries[i], index);
    return count;
}

/* Of seals that stand and do not count: those that show why. */
static void keep_conflict(struct choosing *c, uint32_t control)
{
    const struct admission *log = c->log;
    uint32_t index = log->control[control].index;
    for (uint32_t i = 1; i < log->control_count; i++) {
        uint32_t other = log->control[i].index;
        if (i != control && item_of(c, other)->kind == ADMISSION_SEAL && stands(c, i) &&
            log->control[i].number == log->control[control].number &&
            generation_of(c, other) == generation_of(c, index)) {
            keep(c, index);
            return;
        }
    }
}

static void choose_authority(struct choosing *c)
{
    const struct admission *log = c->log;
    const struct admission_authority *now = &log->now;
    for (uint32_t i = 0; i < log->control_count; i++) {
        uint32_t index = log->control[i].index;
        const struct admission_item *item = item_of(c, index);
        c->choices[index].class = CLASS_AUTHORITY;
        c->choices[index].level = generation_of(c, index);
        bool whole = item->kind == ADMISSION_GENESIS || item->kind == ADMISSION_RECOVER ||
                     item->kind == ADMISSION_ADMIN_ADD;
        if (whole || (item->kind == ADMISSION_ADMIN_REMOVE && stands(c, i)))
            keep(c, index);
        else if (item->kind == ADMISSION_SEAL && item->why == ADMISSION_VOID_CONFLICT)
            keep_conflict(c, i);
        if (item->kind == ADMISSION_ADMIN_ADD &&
            now->dropped_by[log->persons[item->subject].admin - 1] == 0 &&
            admission_late_root_grant(log, now, &log->control[i]) != 0)
            c->choices[index].flags |= ADMISSION_KEPT_LATE_ROOT;
    }
    keep_policies(c);
    if (now->seal_count > 0)
        keep(c, now->seals[now->seal_count - 1]);
}

/* ---- admissions ---- */

static void keep_claims(struct choosing *c, const struct admission_table *table, uint8_t flag)
{
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].value == 0)
            continue;
        uint32_t index = table->slots[i].value - 1;
        keep(c, index);
        c->choices[index].flags |= flag;
    }
}

static void choose_admissions(struct choosing *c)
{
    const struct admission *log = c->log;
    keep_claims(c, &log->wg_claims, ADMISSION_KEPT_WG);
    keep_claims(c, &log->address_claims, ADMISSION_KEPT_ADDRESS);
    for (uint32_t i = 0; i < log->person_count; i++) {
        const struct admission_person *person = &log->persons[i];
        if (person->force != 0) {
            keep(c, person->force - 1);
            c->choices[person->force - 1].flags |= ADMISSION_KEPT_FORCE;
        }
        if (person->rekey != 0) {
            keep(c, person->rekey - 1);
            c->choices[person->rekey - 1].flags |= ADMISSION_KEPT_REKEY;
        }
    }
}

/* ---- what was said about a key ---- */

static bool usable(const struct choosing *c, uint32_t index)
{
    const struct admission_item *item = item_of(c, index);
    const struct admission_facts *facts = &c->log->facts[item->facts - 1];
    for (uint32_t at = c->log->persons[item->subject].first_about; at != 0;
         at = item_of(c, at - 1)->next_of_subject) {
        const struct admission_item *other = item_of(c, at - 1);
        if (other->kind == ADMISSION_REVOKE && other->why == ADMISSION_VOID_NOT)
            return false;
    }
    bool over = facts->expires_unix_ms != 0 && c->time_unix_ms > INVITE_GRACE_MS &&
                facts->expires_unix_ms < c->time_unix_ms - INVITE_GRACE_MS;
    return item->why == ADMISSION_VOID_NOT && facts->used < facts->uses && !over;
}

/* The first entry of a kind about a key that stands; UINT32_MAX: none. */
static uint32_t first_about(const struct choosing *c, uint32_t person, enum admission_kind kind)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t at = c->log->persons[person].first_about; at != 0;
         at = item_of(c, at - 1)->next_of_subject) {
        const struct admission_item *item = item_of(c, at - 1);
        if (item->kind == kind && item->why == ADMISSION_VOID_NOT &&
            (best == UINT32_MAX || earlier(item, item_of(c, best))))
            best = at - 1;
    }
    return best;
}

static bool about_invite(const struct choosing *c, uint32_t person)
{
    bool invite = false, node = false;
    for (uint32_t at = c->log->persons[person].first_about; at != 0;
         at = item_of(c, at - 1)->next_of_subject) {
        uint8_t kind = item_of(c, at - 1)->kind;
        invite = invite || kind == ADMISSION_INVITE;
        node = node || kind == ADMISSION_ADMIT || kind == ADMISSION_REDEEM;
    }
    return invite && !node;
}

static void choose_others(struct choosing *c)
{
    const struct admission *log = c->log;
    for (uint32_t i = 0; i < log->person_count; i++) {
        uint32_t revoke = first_about(c, i, ADMISSION_REVOKE);
        uint32_t deny = first_about(c, i, ADMISSION_DENY);
        if (revoke != UINT32_MAX && !about_invite(c, i))
            keep(c, revoke);
        if (deny != UINT32_MAX)
            keep(c, deny);
    }
    for (uint32_t i = 0; i < log->invite_count; i++) {
        if (usable(c, log->invites[i]))
            keep(c, log->invites[i]);
    }
    for (uint32_t i = 0; i < log->count; i++) {
        const struct admission_item *item = item_of(c, i);
        if (item->kind != ADMISSION_REDEEM || item->mark.inert || !counts(item))
            continue;
        uint32_t invite = log->facts[item->facts - 1].invite;
        if (usable(c, invite))
            keep(c, i);
    }
}

/* ---- ends of chains, and what kept entries name ---- */

static void keep_chain_ends(struct choosing *c)
{
    const struct admission *log = c->log;
    for (uint32_t i = 0; i < log->person_count; i++) {
        const struct admission_person *person = &log->persons[i];
        uint64_t last = 0;
        for (uint32_t at = person->first_authored; at != 0; at = item_of(c, at - 1)->next_of_author)
            last = item_of(c, at - 1)->seq > last ? item_of(c, at - 1)->seq : last;
        for (uint32_t at = person->first_authored; at != 0;
             at = item_of(c, at - 1)->next_of_author) {
            uint64_t seq = item_of(c, at - 1)->seq;
            if (seq == last || (person->fork_seq != 0 && seq == person->fork_seq))
                keep(c, at - 1);
        }
    }
}

static void keep_named(struct choosing *c)
{
    const struct admission *log = c->log;
    for (uint32_t i = 0; i < log->count; i++) {
        const struct admission_item *item = item_of(c, i);
        if (c->choices[i].kept && item->kind == ADMISSION_REDEEM && !item->mark.inert &&
            counts(item))
            keep(c, log->facts[item->facts - 1].invite);
    }
    for (uint32_t i = 0; i < log->invite_count; i++) {
        const struct admission_item *item = item_of(c, log->invites[i]);
        uint32_t closing = first_about(c, item->subject, ADMISSION_REVOKE);
        if (c->choices[log->invites[i]].kept && closing != UINT32_MAX)
            keep(c, closing);
    }
}

/* ---- the records ---- */

struct ordered {
    struct choice choice;
    const struct admission_item *item;
};

static int compare_ordered(const void *one, const void *two)
{
    const struct ordered *a = one, *b = two;
    if (a->choice.class != b->choice.class)
        return a->choice.class < b->choice.class ? -1 : 1;
    if (a->choice.class == CLASS_ADMISSION)
        return admission_rank(a->item, b->item);
    if (a->choice.level != b->choice.level)
        return a->choice.level < b->choice.level ? -1 : 1;
    return earlier(a->item, b->item) ? -1 : 1;
}

static uint32_t sort_kept(const struct choosing *c, struct ordered *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->log->count; i++) {
        const struct admission_item *item = item_of(c, i);
        struct choice choice = c->choices[i];
        bool admission = item->kind == ADMISSION_ADMIT || item->kind == ADMISSION_REDEEM ||
                         item->kind == ADMISSION_REKEY;
        if (!choice.kept)
            continue;
        choice.index = i;
        if (choice.class != CLASS_AUTHORITY)
            choice.class = admission && !item->mark.inert ? CLASS_ADMISSION : CLASS_OTHER;
        list[count++] = (struct ordered){choice, item};
    }
    if (count > 1)
        qsort(list, count, sizeof *list, compare_ordered);
    return count;
}

static uint64_t value_of(const struct choosing *c, const struct ordered *kept)
{
    const struct admission_item *item = kept->item;
    if (item->mark.inert)
        return 0;
    if (item->kind == ADMISSION_INVITE)
        return c->log->facts[item->facts - 1].used;
    if (item->kind == ADMISSION_POLICY)
        return c->log->control[item->control].delay;
    if ((kept->choice.flags & ADMISSION_KEPT_FORCE) != 0)
        return (uint64_t)admission_lease_end(c->log, item->subject);
    return 0;
}

static enum ppn_error add_record(const struct admission *log, struct admission_base *base,
                                 const struct admission_base_record *record)
{
    uint8_t bytes[ADMISSION_RECORD_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
    admission_base_record_encode(record, &writer);
    return admission_base_add(base, log->crypto, ppn_written(&writer));
}

static enum ppn_error add_entries(const struct choosing *c, const struct ordered *list,
                                  uint32_t count, struct admission_base *base)
{
    enum ppn_error error = PPN_OK;
    for (uint32_t i = 0; i < count && error == PPN_OK; i++) {
        const struct admission_item *item = list[i].item;
        uint8_t tier = item->root_tier ? ADMISSION_KEPT_ROOT_TIER : 0;
        struct admission_base_record record = {
            .index = base->count,
            .mark = {.flags = (uint8_t)(list[i].choice.flags | tier),
                     .why = item->why,
                     .value = value_of(c, &list[i])},
            .height = item->height,
            .envelope = ppn_slice(item->bytes + item->envelope_at, item->envelope_size),
        };
        error = add_record(c->log, base, &record);
    }
    return error;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return one < two ? -1 : one > two;
}

static enum ppn_error add_ids(const struct choosing *c, uint32_t kept, struct admission_base *base)
{
    const struct admission *log = c->log;
    uint32_t count = log->closed_count;
    if (log->closed_count + (log->count - kept) > ADMISSION_CLOSED_MAX)
        return PPN_ERROR_FULL;
    uint64_t *ids = admission_take((size_t)log->closed_count + log->count, sizeof *ids);
    if (log->closed_count > 0)
        memcpy(ids, log->closed_ids, log->closed_count * sizeof *ids);
    for (uint32_t i = 0; i < log->count; i++) {
        if (!c->choices[i].kept)
            ids[count++] = admission_short_id(&log->items[i].id);
    }
    qsort(ids, count, sizeof *ids, compare_ids);
    enum ppn_error error = PPN_OK;
    for (uint32_t i = 0; i < count && error == PPN_OK;) {
        uint8_t bytes[ADMISSION_IDS_PER_RECORD * ADMISSION_SHORT_ID];
        struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
        for (uint32_t k = 0; k < ADMISSION_IDS_PER_RECORD && i < count; k++)
            ppn_write_u64(&writer, ids[i++]);
        struct admission_base_record record = {.index = base->count, .ids = ppn_written(&writer)};
        error = add_record(log, base, &record);
    }
    free(ids);
    return error;
}

enum ppn_error admission_base_make(const struct admission *log, int64_t time_unix_ms,
                                   struct admission_base *base, struct ppn_failure *why)
{
    struct choosing c = {.log = log,
                         .time_unix_ms = time_unix_ms,
                         .choices = admission_take(log->count, sizeof(struct choice))};
    struct ordered *list = admission_take(log->count, sizeof *list);
    PPN_ASSERT(log->now_valid && log->count > 0);
    for (uint32_t i = 0; i < log->count; i++)
        c.choices[i].class = CLASS_OTHER;
    find_recoveries(&c);
    choose_authority(&c);
    choose_admissions(&c);
    choose_others(&c);
    keep_chain_ends(&c);
    keep_named(&c);
    uint32_t kept = sort_kept(&c, list);
    *base = (struct admission_base){0};
    enum ppn_error error = add_entries(&c, list, kept, base);
    if (error == PPN_OK)
        error = add_ids(&c, kept, base);
    free(list);
    free(c.choices);
    free(c.recoveries);
    if (error == PPN_OK)
        return PPN_OK;
    admission_base_free(base);
    return ppn_fail(why, error,
                    "what a checkpoint would keep of this log is more than one may hold (%d MiB, "
                    "%d dropped entries)",
                    ADMISSION_BASE_BYTES_MAX >> 20, ADMISSION_CLOSED_MAX);
}
