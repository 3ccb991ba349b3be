// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/state.h"
#include "base/assert.h"

/* The short way of the fold: an entry that touches nothing else (nobody else's claim, nobody's
 * authority) is taken in at a cost that does not grow with the log. Whatever is not plainly simple
 * goes the long way, which gives the same by definition. */

static const struct admission_facts *facts_of(const struct admission *log, uint32_t index)
{
    return &log->facts[log->items[index].facts - 1];
}

static bool only_entry_about(const struct admission *log, uint32_t index)
{
    const struct admission_person *subject = &log->persons[log->items[index].subject];
    return subject->first_about == index + 1 && subject->last_about == index + 1;
}

/* Nobody claims its WireGuard key, address or name. */
static bool unclaimed(const struct admission *log, uint32_t index)
{
    const struct admission_facts *facts = facts_of(log, index);
    return admission_wg_owner(log, facts->wg_key) == UINT32_MAX &&
           admission_address_owner(log, facts->address) == UINT32_MAX &&
           !admission_name_taken(log, facts->name);
}

static void admit(struct admission *log, uint32_t index, struct admission_update *update)
{
    uint32_t person = log->items[index].subject;
    admission_claim(log, index);
    log->persons[person].force = index + 1;
    int64_t lease = admission_lease_end(log, person);
    if (lease != 0 && lease <= log->now_unix_ms)
        return;
    admission_member_put(log, person, facts_of(log, index)->name);
    admission_update_add(update, ADMISSION_MEMBER_ADDED)->member =
        log->members[log->persons[person].member - 1];
}

static bool quick_revoke(struct admission *log, uint32_t index, struct admission_update *update)
{
    uint32_t person = log->items[index].subject;
    struct admission_person *node = &log->persons[person];
    if (only_entry_about(log, index)) {
        node->revoked = true;
        return node->authored == 0;
    }
    bool once = node->force != 0 && node->first_about == node->force &&
                log->items[node->force - 1].next_of_subject == index + 1;
    if (!once || node->member == 0 || node->authored != 0 || log->renamed != 0)
        return false;
    node->revoked = true;
    log->items[node->force - 1].why = ADMISSION_VOID_REVOKED;
    log->items[node->force - 1].by = index + 1;
    node->force = 0;
    admission_update_add(update, ADMISSION_MEMBER_REMOVED)->member = log->members[node->member - 1];
    admission_member_drop(log, person);
    return true;
}

/* The author is a member by an admission that the entry knew. */
static bool by_plain_member(const struct admission *log, uint32_t index)
{
    const struct admission_person *author = &log->persons[log->items[index].author];
    return author->member != 0 && author->force != 0 &&
           admission_before(log, author->force - 1, index);
}

static bool quick_redeem(struct admission *log, uint32_t index, struct admission_update *update)
{
    uint32_t at = facts_of(log, index)->invite;
    const struct admission_item *invite = &log->items[at];
    struct admission_facts *state = &log->facts[invite->facts - 1];
    bool open =
        invite->why == ADMISSION_VOID_NOT && state->used < state->uses && only_entry_about(log, at);
    bool last =
        state->last == 0 || admission_order(&log->items[state->last - 1], &log->items[index]) < 0;
    if (!open || !last || !by_plain_member(log, index) || !only_entry_about(log, index) ||
        !unclaimed(log, index))
        return false;
    state->used++;
    state->last = index + 1;
    admit(log, index, update);
    return true;
}

static bool quick_rekey(struct admission *log, uint32_t index, struct admission_update *update)
{
    uint32_t person = log->items[index].subject;
    struct admission_person *node = &log->persons[person];
    char name[PPN_NAME_MAX + 1];
    bool later =
        node->rekey == 0 || admission_order(&log->items[node->rekey - 1], &log->items[index]) < 0;
    if (!by_plain_member(log, index) || !later || log->renamed != 0 ||
        admission_wg_owner(log, facts_of(log, index)->wg_key) != UINT32_MAX)
        return false;
    admission_claim(log, index);
    node->rekey = index + 1;
    memcpy(name, log->members[node->member - 1].name, sizeof name);
    admission_member_drop(log, person);
    admission_member_put(log, person, name);
    admission_update_add(update, ADMISSION_MEMBER_CHANGED)->member = log->members[node->member - 1];
    return true;
}

/* A seal over all that there is changes no order among what it covers. */
static bool quick_seal(struct admission *log, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    const struct admission_control *control = &log->control[item->control];
    if (!admission_authority_now(log)->clean || control->renew_unix_ms != 0)
        return false;
    for (uint32_t i = item->past.base; i < index; i++) {
        if (!admission_past_has(&item->past, i))
            return false;
    }
    for (; log->covered < index; log->covered++) {
        if (log->items[log->covered].epoch == UINT64_MAX)
            log->items[log->covered].epoch = control->number;
    }
    return true;
}

/* Nothing stands against what its author signs. */
static bool plain_author(const struct admission *log, const struct admission_item *item)
{
    uint32_t admin = log->persons[item->author].admin;
    if (log->now.clean)
        return true;
    if (item->kind == ADMISSION_REDEEM || item->kind == ADMISSION_REKEY)
        return admin == 0;
    return item->cosigners == 0 && admin != 0 && admin <= log->now.admins &&
           !log->now.tainted[admin - 1] && !log->now.suspect[admin - 1];
}

static bool fold_quick(struct admission *log, uint32_t index, struct admission_update *update)
{
    const struct admission_item *item = &log->items[index];
#ifdef ADMISSION_MUTANTS
    if (log->mutant != ADMISSION_RULE_NONE)
        return false;
#endif
    if (item->mark.late)
        return false;
    if (item->kind == ADMISSION_SEAL)
        return quick_seal(log, index);
    if (!log->now_valid || log->persons[item->author].fork_seq != 0 || !plain_author(log, item))
        return false;
    switch (item->kind) {
    case ADMISSION_ADMIT:
        if (!only_entry_about(log, index) || !unclaimed(log, index))
            return false;
        admit(log, index, update);
        return true;
    case ADMISSION_INVITE:
    case ADMISSION_DENY:
        return only_entry_about(log, index);
    case ADMISSION_REVOKE:
        return quick_revoke(log, index, update);
    case ADMISSION_REDEEM:
        return quick_redeem(log, index, update);
    case ADMISSION_REKEY:
        return quick_rekey(log, index, update);
    default:
        return false;
    }
}

void admission_fold_entry(struct admission *log, uint32_t index, struct admission_update *update)
{
    PPN_ASSERT(index + 1 == log->count);
    if (!fold_quick(log, index, update))
        admission_fold_all(log, update);
}
