// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

/* From accepted entries to members. Admissions are taken in an order that every replica shares
 * (epoch of the first seal that covers them, kind, height, id), so that of several that claim one
 * thing the same one wins everywhere; ancestors come before descendants in it. */

struct ranked {
    const struct admission_item *item;
    uint32_t index;
};

static int compare_ranked(const void *one, const void *two)
{
    const struct ranked *a = one, *b = two;
    return admission_rank(a->item, b->item);
}

#ifdef ADMISSION_MUTANTS
static int compare_arrived(const void *one, const void *two)
{
    const struct ranked *a = one, *b = two;
    return (a->item > b->item) - (a->item < b->item);
}
#endif

static struct admission_facts *facts_of(struct admission *log, uint32_t index)
{
    PPN_ASSERT(log->items[index].facts != 0);
    return &log->facts[log->items[index].facts - 1];
}

static bool before(const struct admission *log, uint32_t index, uint32_t of)
{
    return admission_before(log, index, of);
}

static void find_epochs(struct admission *log)
{
    for (uint32_t i = 0; i < log->count; i++)
        log->items[i].epoch = log->items[i].mark.kept ? 0 : UINT64_MAX;
    log->covered = 0;
    for (uint32_t s = 0; s < log->now.seal_count; s++) {
        uint32_t seal = log->now.seals[s];
        uint64_t number = log->control[log->items[seal].control].number;
        for (uint32_t i = log->covered; i < seal; i++) {
            if (log->items[i].epoch == UINT64_MAX && before(log, i, seal))
                log->items[i].epoch = number;
        }
        while (log->covered < seal && log->items[log->covered].epoch != UINT64_MAX)
            log->covered++;
    }
}

static bool seal_counts(const struct admission *log, uint32_t index)
{
    for (uint32_t i = log->now.seal_count; i-- > 0;) {
        if (log->now.seals[i] == index)
            return true;
    }
    return false;
}

/* What authority alone says of each entry. Entries by nodes wait for their own turn. */
static void judge_items(struct admission *log)
{
    const struct admission_authority *a = &log->now;
    for (uint32_t i = 0; i < log->count; i++) {
        struct admission_item *item = &log->items[i];
        uint32_t by = 0;
        enum admission_void why = ADMISSION_VOID_NOT;
        if (item->mark.inert) {
            why = ADMISSION_VOID_CLOSED;
        } else if (item->mark.kept && item->kind != ADMISSION_SEAL) {
            why = (enum admission_void)item->mark.why;
        } else if (item->kind == ADMISSION_CHECKPOINT) {
            why = ADMISSION_VOID_NOT;
        } else if (item->kind == ADMISSION_REDEEM || item->kind == ADMISSION_REKEY) {
            why = ADMISSION_VOID_WITNESS;
        } else if (item->kind == ADMISSION_RECOVER) {
            bool rules = (a->state[item->control] & ADMISSION_STANDS) != 0;
            why = rules ? ADMISSION_VOID_NOT : ADMISSION_VOID_CONFLICT;
        } else if (item->kind != ADMISSION_GENESIS) {
            why = admission_standing_of(log, a, i, &by);
            if (item->kind == ADMISSION_SEAL && why == ADMISSION_VOID_NOT && !seal_counts(log, i))
                why = ADMISSION_VOID_CONFLICT;
        }
        item->why = (uint8_t)why;
        item->by = by;
    }
}

static void reset_persons(struct admission *log)
{
    for (uint32_t i = 0; i < log->person_count; i++) {
        log->persons[i].force = log->persons[i].rekey = 0;
        log->persons[i].revoked = false;
    }
    for (uint32_t i = 0; i < log->facts_count; i++) {
        log->facts[i].used = log->facts[i].used_before;
        log->facts[i].last = 0;
    }
    admission_table_clear(&log->wg_claims);
    admission_table_clear(&log->address_claims);
    for (uint32_t i = 0; i < log->count; i++) {
        const struct admission_item *item = &log->items[i];
        if (item->kind == ADMISSION_REVOKE && item->why == ADMISSION_VOID_NOT)
            log->persons[item->subject].revoked = true;
    }
}

static void set_void(struct admission *log, uint32_t index, enum admission_void why, uint32_t by)
{
    log->items[index].why = (uint8_t)why;
    log->items[index].by = by;
}

/* A standing REVOKE of `person` that did not know `index`, or any at all; entry + 1. */
static uint32_t revocation(const struct admission *log, uint32_t person, uint32_t index, bool any)
{
    for (uint32_t at = log->persons[person].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        if (item->kind == ADMISSION_REVOKE && item->why == ADMISSION_VOID_NOT &&
            (any || (!before(log, index, at - 1) &&
                     !admission_sealed_against(log, &log->now, index, at - 1))))
            return at;
    }
    return 0;
}

/* Whether the node that wrote the entry was admitted in the entry's past, by what counts. */
static bool author_admitted(const struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    for (uint32_t at = log->persons[item->author].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *grant = &log->items[at - 1];
        bool counts = grant->why == ADMISSION_VOID_NOT || grant->why == ADMISSION_VOID_REVOKED;
        if ((grant->kind == ADMISSION_ADMIT || grant->kind == ADMISSION_REDEEM) && counts &&
            before(log, at - 1, index))
            return true;
    }
    return !ADMISSION_RULE(log, WITNESS);
}

static void judge_by_node(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    const struct admission_person *author = &log->persons[item->author];
    uint32_t by = revocation(log, item->author, index, false);
    if (by != 0 && ADMISSION_RULE(log, GRANT_DIES))
        set_void(log, index, ADMISSION_VOID_REMOVED, by);
    else if (author->fork_seq != 0 && item->seq >= author->fork_seq &&
             ADMISSION_RULE(log, EQUIVOCATION) &&
             !admission_sealed_unforked(log, &log->now, item->author, index))
        set_void(log, index, ADMISSION_VOID_FORKED, 0);
    else if (author_admitted(log, index))
        set_void(log, index, ADMISSION_VOID_NOT, 0);
}

/* One node counts once, however many members let it in. */
static bool redeemed_already(const struct admission *log, uint32_t index, uint32_t invite)
{
    for (uint32_t at = log->persons[log->items[index].subject].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        bool counts = item->why == ADMISSION_VOID_NOT || item->why == ADMISSION_VOID_REVOKED;
        if (item->kind == ADMISSION_REDEEM && at - 1 != index && counts &&
            log->facts[item->facts - 1].invite == invite)
            return true;
    }
    return false;
}

static bool invite_stands(struct admission *log, uint32_t index)
{
    uint32_t invite = facts_of(log, index)->invite;
    uint32_t closed = revocation(log, log->items[invite].subject, index, false);
    if (log->items[invite].why == ADMISSION_VOID_NOT && closed == 0)
        return true;
    set_void(log, index, ADMISSION_VOID_INVITE, closed != 0 ? closed : invite + 1);
    return false;
}

static bool use_invite(struct admission *log, uint32_t index)
{
    uint32_t invite = facts_of(log, index)->invite;
    struct admission_facts *state = facts_of(log, invite);
    if (redeemed_already(log, index, invite))
        return true;
    if (state->used >= state->uses && ADMISSION_RULE(log, USES)) {
        set_void(log, index, ADMISSION_VOID_USED_UP, state->last);
        return false;
    }
    state->used++;
    state->last = index + 1;
    return true;
}

/* A DENY beats an admission that did not know it; and one by invite even if it did: the token's
 * holder cannot overrule an admin. A denial after the admission changes nothing. */
static uint32_t denial(const struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    for (uint32_t at = log->persons[item->subject].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *deny = &log->items[at - 1];
        if (deny->kind != ADMISSION_DENY || deny->why != ADMISSION_VOID_NOT)
            continue;
        bool knew = before(log, at - 1, index) && item->kind == ADMISSION_ADMIT &&
                    !(item->mark.late && deny->mark.kept);
        if (!knew && !before(log, index, at - 1) && ADMISSION_RULE(log, DENY_BEATS_ADMIT))
            return at;
    }
    return 0;
}

static bool claims_free(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    const struct admission_facts *facts = facts_of(log, index);
    uint32_t wg = admission_wg_owner(log, facts->wg_key);
    if (wg != UINT32_MAX && wg != item->subject && ADMISSION_RULE(log, UNIQUE_WG)) {
        set_void(log, index, ADMISSION_VOID_WG_KEY, 0);
        return false;
    }
    if (item->kind == ADMISSION_REKEY)
        return true;
    uint32_t address = admission_address_owner(log, facts->address);
    if (address != UINT32_MAX && address != item->subject && ADMISSION_RULE(log, UNIQUE_ADDRESS)) {
        set_void(log, index, ADMISSION_VOID_ADDRESS, 0);
        return false;
    }
    return true;
}

/* An admission that knew of a REKEY names the key that it means. */
static void take_force(const struct admission *log, struct admission_person *node, uint32_t index)
{
    node->force = index + 1;
    if (node->rekey != 0 && before(log, node->rekey - 1, index))
        node->rekey = 0;
}

/* What a checkpoint kept was judged for good; only a revocation made since can end it. */
static void take_kept(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    struct admission_person *node = &log->persons[item->subject];
    admission_claim_kept(log, index);
    if (item->why != ADMISSION_VOID_NOT)
        return;
    if (node->revoked && item->kind != ADMISSION_REKEY)
        set_void(log, index, ADMISSION_VOID_REVOKED, revocation(log, item->subject, index, true));
    else if ((item->mark.flags & ADMISSION_KEPT_FORCE) != 0)
        node->force = index + 1;
    else if ((item->mark.flags & ADMISSION_KEPT_REKEY) != 0 && node->force != 0)
        node->rekey = index + 1;
}

static void take_admission(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    struct admission_person *node = &log->persons[item->subject];
    if (item->kind == ADMISSION_REDEEM) {
        judge_by_node(log, index);
        if (item->why == ADMISSION_VOID_NOT && !invite_stands(log, index))
            return;
    }
    if (item->why != ADMISSION_VOID_NOT)
        return;
    uint32_t denied = denial(log, index);
    if (denied != 0) {
        set_void(log, index, ADMISSION_VOID_DENIED, denied);
        return;
    }
    if (!claims_free(log, index) || (item->kind == ADMISSION_REDEEM && !use_invite(log, index)))
        return;
    admission_claim(log, index);
    if (node->revoked && ADMISSION_RULE(log, REMOVED_FOR_GOOD)) {
        set_void(log, index, ADMISSION_VOID_REVOKED, revocation(log, item->subject, index, true));
        return;
    }
    bool by_admin = item->kind == ADMISSION_ADMIT;
    if (by_admin || node->force == 0 || log->items[node->force - 1].kind == ADMISSION_REDEEM)
        take_force(log, node, index);
}

static void take_rekey(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    struct admission_person *node = &log->persons[item->subject];
    judge_by_node(log, index);
    if (item->why != ADMISSION_VOID_NOT || !claims_free(log, index))
        return;
    admission_claim(log, index);
    if (node->force != 0 && !before(log, index, node->force - 1))
        node->rekey = index + 1;
}

static uint32_t rank_admissions(const struct admission *log, struct ranked *ranked)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < log->count; i++) {
        const struct admission_item *item = &log->items[i];
        bool admission = item->kind == ADMISSION_ADMIT || item->kind == ADMISSION_REDEEM ||
                         item->kind == ADMISSION_REKEY;
        if (admission && !item->mark.inert)
            ranked[count++] = (struct ranked){item, i};
    }
#ifdef ADMISSION_MUTANTS
    if (!ADMISSION_RULE(log, USES_ORDER)) {
        qsort(ranked, count, sizeof *ranked, compare_arrived);
        return count;
    }
#endif
    qsort(ranked, count, sizeof *ranked, compare_ranked);
    return count;
}

/* Names go to members in the order of their admissions. */
static void make_members(struct admission *log, const struct ranked *ranked, uint32_t count)
{
    char name[PPN_NAME_MAX + 1];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = ranked[i].index;
        if (log->items[index].kind == ADMISSION_REKEY)
            continue;
        uint32_t person = log->items[index].subject;
        if (log->persons[person].force != index + 1)
            continue;
        int64_t lease = admission_lease_end(log, person);
        if (lease != 0 && lease <= log->now_unix_ms)
            continue;
        admission_member_name(log, person, name);
        admission_member_put(log, person, name);
    }
}

static void fold(struct admission *log)
{
    if (log->count == 0)
        return;
    admission_authority_now(log);
    find_epochs(log);
    judge_items(log);
    reset_persons(log);
    admission_members_clear(log);
    struct ranked *ranked = admission_take(log->count, sizeof *ranked);
    uint32_t count = rank_admissions(log, ranked);
    for (uint32_t i = 0; i < count; i++) {
        if (log->items[ranked[i].index].mark.kept)
            take_kept(log, ranked[i].index);
        else if (log->items[ranked[i].index].kind == ADMISSION_REKEY)
            take_rekey(log, ranked[i].index);
        else
            take_admission(log, ranked[i].index);
    }
    make_members(log, ranked, count);
    free(ranked);
}

static bool same_member(const struct admission_member *a, const struct admission_member *b)
{
    return memcmp(a->wg_key, b->wg_key, sizeof a->wg_key) == 0 && strcmp(a->name, b->name) == 0 &&
           a->roles == b->roles && a->lease_until_unix_ms == b->lease_until_unix_ms &&
           ppn_hash_equal(&a->entry, &b->entry);
}

struct admission_member *admission_members_copy(const struct admission *log, uint32_t *count)
{
    *count = log->member_count;
    struct admission_member *copy = admission_take(*count, sizeof *copy);
    for (uint32_t i = 0; i < *count; i++)
        copy[i] = *admission_member_at(log, i);
    return copy;
}

void admission_members_report(const struct admission *log, const struct admission_member *old,
                              uint32_t old_count, struct admission_update *update)
{
    for (uint32_t i = 0; i < old_count; i++) {
        if (admission_member_by_id(log, &old[i].id) == NULL && ADMISSION_RULE(log, TELL_REMOVALS))
            admission_update_add(update, ADMISSION_MEMBER_REMOVED)->member = old[i];
    }
    for (uint32_t i = 0, k = 0; i < log->member_count; i++) {
        const struct admission_member *new = admission_member_at(log, i);
        while (k < old_count && ppn_node_id_compare(&old[k].id, &new->id) < 0)
            k++;
        bool known = k < old_count && ppn_node_id_equal(&old[k].id, &new->id);
        if (!known)
            admission_update_add(update, ADMISSION_MEMBER_ADDED)->member = *new;
        else if (!same_member(&old[k], new))
            admission_update_add(update, ADMISSION_MEMBER_CHANGED)->member = *new;
    }
}

void admission_fold_all(struct admission *log, struct admission_update *update)
{
    uint32_t count;
    struct admission_member *old = admission_members_copy(log, &count);
    fold(log);
    admission_members_report(log, old, count, update);
    free(old);
}

void admission_refold(struct admission *log)
{
    log->now_valid = false;
    fold(log);
}

void admission_tick(struct admission *log, struct ppn_wall now, struct admission_update *update)
{
    log->now_unix_ms = now.unix_ms;
    if (now.unix_ms >= log->next_lease_unix_ms)
        admission_fold_all(log, update);
}

struct ppn_wall admission_deadline(const struct admission *log)
{
    return (struct ppn_wall){log->next_lease_unix_ms};
}
