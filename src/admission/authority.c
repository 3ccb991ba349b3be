// SPDX-License-Identifier: ISC
#include "admission/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* Who has which power within a past. In layers, so that no rule leans on itself: recoveries, then
 * root cuts, then removals and forks; grants once without seals, which says which seals count; then
 * removals and grants again with them. */

static void authority_alloc(const struct admission *log, struct admission_authority *a)
{
    *a = (struct admission_authority){.admins = log->admin_count, .controls = log->control_count};
    a->powers = admission_take(a->admins, sizeof *a->powers);
    a->fork_seq = admission_take(a->admins, sizeof *a->fork_seq);
    a->cut_all = admission_take(a->admins, sizeof *a->cut_all);
    a->cut_all_by = admission_take(a->admins, sizeof *a->cut_all_by);
    a->cut_grants = admission_take(a->admins, sizeof *a->cut_grants);
    a->cut_grants_by = admission_take(a->admins, sizeof *a->cut_grants_by);
    a->dropped_by = admission_take(a->admins, sizeof *a->dropped_by);
    a->late_root = admission_take(a->admins, sizeof *a->late_root);
    a->tainted = admission_take(a->admins, sizeof *a->tainted);
    a->suspect = admission_take(a->admins, sizeof *a->suspect);
    a->state = admission_take(a->controls, sizeof *a->state);
    a->seals = admission_take(a->controls, sizeof *a->seals);
    for (uint32_t i = 0; i < a->admins; i++)
        a->fork_seq[i] = a->cut_all[i] = a->cut_grants[i] = UINT64_MAX;
}

void admission_authority_free(struct admission_authority *a)
{
    void *arrays[] = {a->powers,     a->fork_seq,      a->cut_all,    a->cut_all_by,
                      a->cut_grants, a->cut_grants_by, a->dropped_by, a->late_root,
                      a->tainted,    a->suspect,       a->state,      a->seals};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    *a = (struct admission_authority){0};
}

static bool in_past(const struct admission_authority *a, uint32_t control)
{
    return (a->state[control] & ADMISSION_IN_PAST) != 0;
}

static bool stands(const struct admission_authority *a, uint32_t control)
{
    return (a->state[control] & ADMISSION_STANDS) != 0;
}

static bool is_root_of(const struct admission_control *control, uint32_t person)
{
    for (uint32_t i = 0; i < control->root_count; i++) {
        if (control->roots[i] == person)
            return true;
    }
    return false;
}

static uint32_t admin_of(const struct admission *log, uint32_t person)
{
    PPN_ASSERT(log->persons[person].admin != 0);
    return log->persons[person].admin - 1;
}

/* The first recovery that drops a key decides what of it was seen. */
static void drop(const struct admission *log, struct admission_authority *a, uint32_t person,
                 uint32_t recovery)
{
    uint32_t *by = &a->dropped_by[admin_of(log, person)];
    *by = *by != 0 ? *by : recovery + 1;
}

/* A recovery drops every root key that it does not name again: those of the genesis or recovery
 * before it, and those that it knew to be added. One that somebody adds who has not seen it is no
 * root, but may be an admin by others: an old root must not take along whom it names. */
static void drop_roots(const struct admission *log, struct admission_authority *a,
                       uint32_t recovery)
{
    const struct admission_control *now = &log->control[recovery];
    struct admission_entry entry;
    admission_decode(log, now->index, &entry);
    for (uint32_t i = 0; i < a->controls; i++) {
        const struct admission_control *old = &log->control[i];
        const struct admission_item *item = &log->items[old->index];
        if (!in_past(a, i) || i == recovery || admission_before(log, now->index, old->index))
            continue;
        for (uint32_t k = 0; k < old->root_count; k++) {
            if (!is_root_of(now, old->roots[k]))
                drop(log, a, old->roots[k], now->index);
        }
        if (item->kind != ADMISSION_ADMIN_ADD || (old->powers & ADMISSION_POWER_ROOT) == 0 ||
            is_root_of(now, item->subject))
            continue;
        bool late = log->items[now->index].mark.kept && item->mark.kept
                        ? (item->mark.flags & ADMISSION_KEPT_LATE_ROOT) != 0
                        : !admission_before(log, old->index, now->index);
        if (!late)
            drop(log, a, item->subject, now->index);
        else
            a->late_root[admin_of(log, item->subject)] = true;
    }
    for (uint32_t i = 0; i < entry.as.recover.cut_count; i++) {
        uint32_t person;
        if (!admission_person_find(log, &entry.as.recover.cuts[i].key, &person) ||
            log->persons[person].admin == 0 || log->persons[person].admin > a->admins)
            continue;
        uint32_t admin = log->persons[person].admin - 1;
        if (entry.as.recover.cuts[i].cut < a->cut_all[admin]) {
            a->cut_all[admin] = entry.as.recover.cuts[i].cut;
            a->cut_all_by[admin] = now->index + 1;
        }
    }
}

/* Follows the recoveries from the genesis; of several for one base the lowest id rules. */
static void find_generation(const struct admission *log, struct admission_authority *a)
{
    uint32_t current = 0;
    PPN_ASSERT(a->controls > 0 && log->items[log->control[0].index].kind == ADMISSION_GENESIS);
    a->state[0] |= ADMISSION_STANDS;
    for (;;) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = current + 1; i < a->controls; i++) {
            const struct admission_item *item = &log->items[log->control[i].index];
            if (!in_past(a, i) || item->kind != ADMISSION_RECOVER ||
                log->control[i].base != log->control[current].index)
                continue;
            bool lower = best == UINT32_MAX ||
                         ppn_hash_compare(&item->id, &log->items[log->control[best].index].id) < 0;
            if (lower || !ADMISSION_RULE(log, RECOVER_WINNER))
                best = i;
        }
        if (best == UINT32_MAX)
            break;
        drop_roots(log, a, best);
        a->state[best] |= ADMISSION_STANDS;
        a->clean = false;
        current = best;
    }
    a->generation = log->control[current].index;
}

/* A recovery in force beside the root grant, + 1, that does not name its subject. */
uint32_t admission_late_root_grant(const struct admission *log, const struct admission_authority *a,
                                   const struct admission_control *grant)
{
    uint32_t subject = log->items[grant->index].subject;
    if ((log->items[grant->index].mark.flags & ADMISSION_KEPT_LATE_ROOT) != 0)
        return a->generation + 1;
    if (log->items[grant->index].kind != ADMISSION_ADMIN_ADD ||
        (grant->powers & ADMISSION_POWER_ROOT) == 0 || !a->late_root[admin_of(log, subject)])
        return 0;
    for (uint32_t i = 1; i < a->controls; i++) {
        const struct admission_control *recovery = &log->control[i];
        if (log->items[recovery->index].kind == ADMISSION_RECOVER && stands(a, i) &&
            !admission_before(log, recovery->index, grant->index) &&
            !admission_before(log, grant->index, recovery->index) && !is_root_of(recovery, subject))
            return recovery->index + 1;
    }
    return 0;
}

uint32_t admission_late_power(const struct admission *log, const struct admission_authority *a,
                              uint32_t signer, uint32_t index, uint32_t power)
{
    uint32_t late = 0;
    for (uint32_t i = 1; i < a->controls && a->late_root[admin_of(log, signer)]; i++) {
        const struct admission_control *grant = &log->control[i];
        const struct admission_item *item = &log->items[grant->index];
        if (item->kind != ADMISSION_ADMIN_ADD || item->subject != signer || !in_past(a, i))
            continue;
        uint32_t recovery = admission_late_root_grant(log, a, grant);
        if (recovery == 0 && admission_before(log, grant->index, index) &&
            (grant->powers & (power | ADMISSION_POWER_ROOT)) != 0)
            return 0;
        if (recovery != 0 && !admission_before(log, index, recovery - 1) &&
            !admission_before(log, recovery - 1, index))
            late = recovery;
    }
    return late;
}

static void lower_cut(uint64_t *cut, uint32_t *by, uint64_t value, uint32_t index)
{
    if (value < *cut) {
        *cut = value;
        *by = index + 1;
    }
}

/* Root cuts outrank everything but a recovery, which has spoken already: what it cut of their
 * author cuts nobody. */
static void apply_root_cuts(const struct admission *log, struct admission_authority *a)
{
    uint64_t *recovered = admission_take(a->admins, sizeof *recovered);
    memcpy(recovered, a->cut_all, a->admins * sizeof *recovered);
    for (uint32_t i = 0; i < a->controls; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (!in_past(a, i) || item->kind != ADMISSION_ADMIN_REMOVE || !control->has_cut)
            continue;
        if (!item->root_tier && ADMISSION_RULE(log, ROOT_CUT_UNDOES))
            continue;
        uint32_t author = log->persons[item->author].admin;
        uint32_t recovery = author != 0 ? a->dropped_by[author - 1] : 0;
        if (recovery != 0 && !admission_before(log, control->index, recovery - 1))
            continue;
        if (author != 0 &&
            (item->seq > recovered[author - 1] ||
             admission_late_power(log, a, item->author, control->index, ADMISSION_POWER_ROOT) != 0))
            continue;
        uint32_t subject = admin_of(log, item->subject);
        lower_cut(&a->cut_all[subject], &a->cut_all_by[subject], control->cut, control->index);
    }
    free(recovered);
}

static void find_forks(const struct admission *log, struct admission_authority *a)
{
    for (uint32_t i = 0; i < a->admins; i++) {
        a->fork_seq[i] = admission_fork_in(log, a->view, log->admins[i]);
        if (a->fork_seq[i] != UINT64_MAX) {
            a->suspect[i] = true;
            a->clean = false;
        }
    }
}

/* Roots that a recovery named which did not win had their power from nobody. */
static void taint_losers(const struct admission *log, struct admission_authority *a)
{
    for (uint32_t i = 0; i < a->controls; i++) {
        const struct admission_control *control = &log->control[i];
        bool recovery = log->items[control->index].kind == ADMISSION_RECOVER;
        for (uint32_t k = 0; recovery && in_past(a, i) && !stands(a, i) && k < control->root_count;
             k++)
            a->tainted[admin_of(log, control->roots[k])] = true;
    }
}

/* Which removals stand; and what they cut of grants. */
static void judge_removals(const struct admission *log, struct admission_authority *a)
{
    for (uint32_t i = 0; i < a->admins; i++) {
        a->cut_grants[i] = UINT64_MAX;
        a->tainted[i] = a->late_root[i] || a->dropped_by[i] != 0 || a->cut_all[i] != UINT64_MAX ||
                        a->fork_seq[i] != UINT64_MAX;
    }
    taint_losers(log, a);
    for (uint32_t i = 0; i < a->controls; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (!in_past(a, i) || item->kind != ADMISSION_ADMIN_REMOVE)
            continue;
        uint32_t by;
        a->clean = false;
        a->state[i] &= (uint8_t)~ADMISSION_STANDS;
        if (admission_standing_of(log, a, control->index, &by) != ADMISSION_VOID_NOT)
            continue;
        uint32_t subject = admin_of(log, item->subject);
        a->state[i] |= ADMISSION_STANDS;
        a->tainted[subject] = true;
        a->suspect[subject] = true;
        if (control->has_cut)
            lower_cut(&a->cut_grants[subject], &a->cut_grants_by[subject], control->cut,
                      control->index);
    }
}

/* Which grants stand, ancestors first. */
static void judge_grants(const struct admission *log, struct admission_authority *a)
{
    for (uint32_t i = 1; i < a->controls; i++) {
        uint32_t index = log->control[i].index;
        const struct admission_item *item = &log->items[index];
        if (!in_past(a, i) || item->kind == ADMISSION_ADMIN_REMOVE ||
            item->kind == ADMISSION_RECOVER)
            continue;
        uint32_t by;
        bool good = admission_standing_of(log, a, index, &by) == ADMISSION_VOID_NOT;
        a->state[i] = (uint8_t)(ADMISSION_IN_PAST | (good ? ADMISSION_STANDS : 0));
        if (!good && item->kind == ADMISSION_ADMIN_ADD)
            a->tainted[admin_of(log, item->subject)] = true;
    }
}

/* The last recovery of the ruling line that a seal knew, or the genesis. */
static uint32_t seal_generation(const struct admission *log, const struct admission_authority *a,
                                uint32_t index)
{
    uint32_t generation = 0;
    for (uint32_t i = 1; i < a->controls; i++) {
        if (log->items[log->control[i].index].kind == ADMISSION_RECOVER && stands(a, i) &&
            admission_before(log, log->control[i].index, index))
            generation = i;
    }
    return generation;
}

static uint64_t seal_number(const struct admission *log, uint32_t index)
{
    return log->control[log->items[index].control].number;
}

/* The first of several seals with one number in one generation, or UINT32_MAX. */
static uint32_t find_conflict(const struct admission *log, const struct admission_authority *a)
{
    for (uint32_t i = 1; i < a->seal_count; i++) {
        uint64_t number = seal_number(log, a->seals[i]);
        for (uint32_t k = i; k-- > 0 && seal_number(log, a->seals[k]) == number;) {
            if (seal_generation(log, a, a->seals[i]) == seal_generation(log, a, a->seals[k]))
                return a->seals[i];
        }
    }
    return UINT32_MAX;
}

/* Two seals with one number in one generation: an authority runs twice. From that number on no seal
 * of the generation counts. */
static void drop_conflicting_seals(const struct admission *log, struct admission_authority *a)
{
    if (!ADMISSION_RULE(log, SEAL_CONFLICT))
        return;
    for (;;) {
        uint32_t conflict = find_conflict(log, a);
        if (conflict == UINT32_MAX)
            return;
        uint64_t number = seal_number(log, conflict);
        uint32_t generation = seal_generation(log, a, conflict);
        uint32_t kept = 0;
        for (uint32_t k = 0; k < a->seal_count; k++) {
            if (seal_number(log, a->seals[k]) < number ||
                seal_generation(log, a, a->seals[k]) != generation)
                a->seals[kept++] = a->seals[k];
        }
        PPN_ASSERT(kept < a->seal_count);
        a->seal_count = kept;
        a->conflict = number;
        a->clean = false;
    }
}

/* The seals that count, ascending by number. */
static void find_seals(const struct admission *log, struct admission_authority *a)
{
    a->seal_count = 0;
    for (uint32_t i = 1; i < a->controls; i++) {
        const struct admission_control *control = &log->control[i];
        if (log->items[control->index].kind != ADMISSION_SEAL || !stands(a, i))
            continue;
        uint32_t at = a->seal_count++;
        /* Of one number by id, so that the order never tells who came first. */
        while (at > 0 && (seal_number(log, a->seals[at - 1]) > control->number ||
                          (seal_number(log, a->seals[at - 1]) == control->number &&
                           ppn_hash_compare(&log->items[a->seals[at - 1]].id,
                                            &log->items[control->index].id) > 0))) {
            a->seals[at] = a->seals[at - 1];
            at--;
        }
        a->seals[at] = control->index;
    }
    drop_conflicting_seals(log, a);
}

bool admission_policy_rules(const struct admission *log, const struct admission_authority *a,
                            uint32_t control)
{
    const struct admission_control *policy = &log->control[control];
    const struct admission_item *item = &log->items[policy->index];
    uint64_t due = item->seal + policy->delay;
    if (policy->delay == 0 || (item->mark.flags & ADMISSION_KEPT_RULES) != 0 ||
        !ADMISSION_RULE(log, POLICY_DELAY))
        return true;
    for (uint32_t i = a->seal_count; i-- > 0;) {
        bool counted = item->mark.kept && log->items[a->seals[i]].mark.kept;
        if (seal_number(log, a->seals[i]) >= due && !counted &&
            admission_before(log, policy->index, a->seals[i]))
            return true;
    }
    return false;
}

/* The last policy that stands and waited long enough, by an order that all replicas share. The
 * first time seals are not known yet, and one that waits for them does not rule. */
static void find_policy(const struct admission *log, struct admission_authority *a)
{
    uint32_t last = 0;
    uint32_t version = log->control[0].policy.version;
    for (uint32_t i = 1; i < a->controls; i++) {
        const struct admission_item *item = &log->items[log->control[i].index];
        if (item->kind != ADMISSION_POLICY || !stands(a, i) || !admission_policy_rules(log, a, i))
            continue;
        const struct admission_item *best = &log->items[log->control[last].index];
        if (item->height > best->height ||
            (item->height == best->height && ppn_hash_compare(&item->id, &best->id) > 0))
            last = i;
        version =
            log->control[i].policy.version > version ? log->control[i].policy.version : version;
    }
    a->policy = log->control[last].policy;
    a->policy.version = version;
    uint32_t ruling = log->items[a->generation].control;
    if (ruling != 0 && !admission_before(log, a->generation, log->control[last].index))
        a->policy.root = log->control[ruling].policy.root;
}

bool admission_removed(const struct admission *log, const struct admission_authority *a,
                       uint32_t person)
{
    for (uint32_t at = log->persons[person].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        if (item->kind == ADMISSION_ADMIN_REMOVE && item->control < a->controls &&
            stands(a, item->control))
            return true;
    }
    return false;
}

static void find_powers(const struct admission *log, struct admission_authority *a)
{
    uint32_t ruling = log->items[a->generation].control;
    for (uint32_t k = 0; k < log->control[ruling].root_count; k++)
        a->powers[admin_of(log, log->control[ruling].roots[k])] = ADMISSION_POWERS_ALL;
    for (uint32_t i = 1; i < a->controls; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (item->kind != ADMISSION_ADMIN_ADD || !stands(a, i) ||
            admission_late_root_grant(log, a, control) != 0)
            continue;
        bool root = (control->powers & ADMISSION_POWER_ROOT) != 0;
        a->powers[admin_of(log, item->subject)] |= root ? ADMISSION_POWERS_ALL : control->powers;
    }
    for (uint32_t i = 0; i < a->admins; i++) {
        bool forked = a->fork_seq[i] != UINT64_MAX && ADMISSION_RULE(log, EQUIVOCATION);
        bool gone =
            ADMISSION_RULE(log, REMOVED_FOR_GOOD) && admission_removed(log, a, log->admins[i]);
        if (forked || gone || a->dropped_by[i] != 0)
            a->powers[i] = 0;
    }
}

void admission_authority_make(const struct admission *log, const struct admission_past *past,
                              struct admission_authority *a)
{
    authority_alloc(log, a);
    a->view = past;
    a->clean = true;
    for (uint32_t i = 0; i < a->controls; i++) {
        if (past == NULL || admission_past_has(past, log->control[i].index))
            a->state[i] = ADMISSION_IN_PAST;
    }
    find_generation(log, a);
    find_forks(log, a);
    apply_root_cuts(log, a);
    judge_removals(log, a);
    judge_grants(log, a);
    find_policy(log, a);
    a->grace = a->policy.grace;
    find_seals(log, a);
    if (!a->clean) {
        judge_removals(log, a);
        judge_grants(log, a);
    }
    find_policy(log, a);
    find_powers(log, a);
    a->view = NULL;
}

const struct admission_authority *admission_authority_now(struct admission *log)
{
    if (!log->now_valid) {
        admission_authority_free(&log->now);
        admission_authority_make(log, NULL, &log->now);
        log->now_valid = true;
        admission_admins_refresh(log);
    }
    return &log->now;
}

static bool has_all_special(const struct admission *log, const struct admission_past *past)
{
    if (log->special_end <= past->base)
        return true;
    for (uint32_t i = log->special_count; i-- > 0;) {
        if (!admission_past_has(past, log->special[i]))
            return false;
    }
    return true;
}

/* What names a past in the cache: which special entries it holds, without trailing zeros. */
static uint64_t *special_bits(const struct admission *log, const struct admission_past *past,
                              uint32_t *words)
{
    uint64_t *bits = admission_take(log->special_count / 64 + 1, sizeof *bits);
    *words = 0;
    for (uint32_t i = 0; i < log->special_count; i++) {
        if (admission_past_has(past, log->special[i])) {
            bits[i / 64] |= 1ull << (i % 64);
            *words = i / 64 + 1;
        }
    }
    return bits;
}

const struct admission_authority *admission_authority_at(struct admission *log,
                                                         const struct admission_past *past)
{
    if (has_all_special(log, past) || !ADMISSION_RULE(log, ANCESTRY_AUTHORITY))
        return admission_authority_now(log);
    uint32_t words;
    uint64_t *bits = special_bits(log, past, &words);
    struct admission_memo *oldest = &log->memo[0];
    for (uint32_t i = 0; i < ADMISSION_MEMO; i++) {
        struct admission_memo *memo = &log->memo[i];
        if (memo->bits != NULL && memo->words == words &&
            memcmp(memo->bits, bits, words * sizeof *bits) == 0) {
            free(bits);
            memo->used = ++log->memo_clock;
            return &memo->authority;
        }
        oldest = memo->used < oldest->used ? memo : oldest;
    }
    free(oldest->bits);
    admission_authority_free(&oldest->authority);
    oldest->bits = bits;
    oldest->words = words;
    oldest->used = ++log->memo_clock;
    admission_authority_make(log, past, &oldest->authority);
    return &oldest->authority;
}
