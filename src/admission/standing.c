// SPDX-License-Identifier: ISC
#include "admission/state.h"

#include "base/assert.h"

/* Whether what one key signed counts. Grants need a signer that stands today; removals need only
 * that it had the power in their own past, and fall to a root cut or a recovery alone. */

uint32_t admission_power_needed(uint32_t kind)
{
    switch (kind) {
    case ADMISSION_ADMIT:
    case ADMISSION_DENY:
    case ADMISSION_INVITE:
        return ADMISSION_POWER_ADMIT;
    case ADMISSION_REVOKE:
        return ADMISSION_POWER_REVOKE;
    case ADMISSION_ADMIN_ADD:
    case ADMISSION_ADMIN_REMOVE:
        return ADMISSION_POWER_ADMIN;
    case ADMISSION_SEAL:
        return ADMISSION_POWER_SEAL;
    case ADMISSION_POLICY:
        return ADMISSION_POWER_ROOT;
    default:
        return 0;
    }
}

uint32_t admission_quorum(const struct admission_policy *policy, uint32_t kind)
{
    switch (kind) {
    case ADMISSION_ADMIT:
    case ADMISSION_DENY:
    case ADMISSION_INVITE:
        return policy->admit;
    case ADMISSION_REVOKE:
        return policy->revoke;
    case ADMISSION_ADMIN_ADD:
    case ADMISSION_ADMIN_REMOVE:
        return policy->admin;
    case ADMISSION_POLICY:
        return policy->root;
    default:
        return 1;
    }
}

static bool in_view(const struct admission_past *past, uint32_t index)
{
    return past == NULL || admission_past_has(past, index);
}

/* Whether an entry of `author` numbered `seq` had `index` among its ancestors. */
static bool acknowledged(const struct admission *log, const struct admission_past *view,
                         uint32_t author, uint64_t seq, uint32_t index)
{
    for (uint32_t at = log->persons[author].first_authored; seq > 0 && at != 0;) {
        const struct admission_item *item = &log->items[at - 1];
        if (item->seq == seq && in_view(view, at - 1) &&
            (at - 1 == index || admission_before(log, index, at - 1)))
            return true;
        at = item->next_of_author;
    }
    return false;
}

/* Whether what `signer` did up to `seq` of its own chain includes signing `index`. */
static bool within(const struct admission *log, const struct admission_past *view, uint32_t signer,
                   uint64_t seq, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    if (item->author == signer)
        return item->seq <= seq;
    return acknowledged(log, view, signer, seq, index);
}

/* What even a removal falls to. */
static enum admission_void outranked(const struct admission *log,
                                     const struct admission_authority *authority, uint32_t admin,
                                     uint32_t signer, uint32_t index, uint32_t *by)
{
    uint32_t recovery = authority->dropped_by[admin];
    if (recovery != 0 && ADMISSION_RULE(log, RECOVER_DROPS) &&
        !admission_before(log, index, recovery - 1)) {
        *by = recovery;
        return ADMISSION_VOID_RECOVERED;
    }
    uint32_t power = admission_power_needed(log->items[index].kind);
    bool adds_root = log->items[index].kind == ADMISSION_ADMIN_ADD &&
                     (log->control[log->items[index].control].powers & ADMISSION_POWER_ROOT) != 0;
    recovery = admission_late_power(log, authority, signer, index,
                                    adds_root ? ADMISSION_POWER_ROOT : power);
    if (recovery != 0 && ADMISSION_RULE(log, RECOVER_DROPS)) {
        *by = recovery;
        return ADMISSION_VOID_RECOVERED;
    }
    uint64_t cut = authority->cut_all[admin];
    if (cut != UINT64_MAX && ADMISSION_RULE(log, CUT) &&
        !within(log, authority->view, signer, cut, index)) {
        *by = authority->cut_all_by[admin];
        return ADMISSION_VOID_CUT;
    }
    return ADMISSION_VOID_NOT;
}

bool admission_sealed_against(const struct admission *log,
                              const struct admission_authority *authority, uint32_t grant,
                              uint32_t removal)
{
    for (uint32_t i = 0; i < authority->seal_count && ADMISSION_RULE(log, SEAL_SPARES); i++) {
        if (admission_before(log, grant, authority->seals[i]) &&
            !admission_before(log, removal, authority->seals[i]))
            return true;
    }
    return false;
}

uint64_t admission_fork_in(const struct admission *log, const struct admission_past *past,
                           uint32_t person)
{
    uint64_t lowest = UINT64_MAX;
    if (log->persons[person].fork_seq == 0)
        return lowest;
    if (past == NULL)
        return log->persons[person].fork_seq;
    for (uint32_t i = 0; i < log->contradiction_count; i++) {
        const struct admission_contradiction *c = &log->contradictions[i];
        uint64_t seq = log->items[c->one].seq;
        if (c->author == person && seq < lowest && admission_past_has(past, c->one) &&
            admission_past_has(past, c->two))
            lowest = seq;
    }
    return lowest;
}

bool admission_sealed_unforked(const struct admission *log,
                               const struct admission_authority *authority, uint32_t signer,
                               uint32_t grant)
{
    const struct admission_item *item = &log->items[grant];
    for (uint32_t i = 0; i < authority->seal_count && ADMISSION_RULE(log, SEAL_SPARES); i++) {
        const struct admission_past *past = &log->items[authority->seals[i]].past;
        uint64_t fork = admission_fork_in(log, past, signer);
        if (admission_past_has(past, grant) &&
            (fork == UINT64_MAX || (item->author == signer && item->seq < fork)))
            return true;
    }
    return false;
}

/* A removal of the signer that stands and did not know the grant. */
static uint32_t killing_removal(const struct admission *log,
                                const struct admission_authority *authority, uint32_t signer,
                                uint32_t grant)
{
    for (uint32_t at = log->persons[signer].first_about; at != 0;
         at = log->items[at - 1].next_of_subject) {
        const struct admission_item *item = &log->items[at - 1];
        if (item->kind != ADMISSION_ADMIN_REMOVE || item->control >= authority->controls ||
            (authority->state[item->control] & ADMISSION_STANDS) == 0)
            continue;
        bool seen = admission_before(log, grant, at - 1) && ADMISSION_RULE(log, ANCESTORS_SPARED);
        bool sealed = item->root_tier && log->control[item->control].has_cut
                          ? false
                          : admission_sealed_against(log, authority, grant, at - 1);
        if (!seen && !sealed)
            return at;
    }
    return 0;
}

static bool root_in(const struct admission_control *control, uint32_t person)
{
    for (uint32_t i = 0; i < control->root_count; i++) {
        if (control->roots[i] == person)
            return true;
    }
    return false;
}

/* Whether a grant of `power` to `signer` stands among the ancestors of `index`. */
static bool chained(const struct admission *log, const struct admission_authority *authority,
                    uint32_t signer, uint32_t index, uint32_t power)
{
    for (uint32_t i = 0; i < authority->controls; i++) {
        const struct admission_control *control = &log->control[i];
        const struct admission_item *item = &log->items[control->index];
        if (control->index >= index)
            return false;
        if ((authority->state[i] & ADMISSION_STANDS) == 0 ||
            !admission_before(log, control->index, index))
            continue;
        bool root = root_in(control, signer);
        bool granted = item->kind == ADMISSION_ADMIN_ADD && item->subject == signer &&
                       (control->powers & (power | ADMISSION_POWER_ROOT)) != 0;
        if (root || granted)
            return true;
    }
    return false;
}

/* Whether the signature of one key on a grant counts. */
static enum admission_void grant_by(const struct admission *log,
                                    const struct admission_authority *authority, uint32_t signer,
                                    uint32_t index, uint32_t *by)
{
    uint32_t admin = log->persons[signer].admin;
    if (admin == 0 || admin > authority->admins)
        return ADMISSION_VOID_CHAIN;
    admin--;
    if (!authority->tainted[admin])
        return ADMISSION_VOID_NOT;
    enum admission_void why = outranked(log, authority, admin, signer, index, by);
    if (why != ADMISSION_VOID_NOT)
        return why;
    uint64_t cut = authority->cut_grants[admin];
    if (cut != UINT64_MAX && ADMISSION_RULE(log, CUT) &&
        !within(log, authority->view, signer, cut, index)) {
        *by = authority->cut_grants_by[admin];
        return ADMISSION_VOID_CUT;
    }
    uint64_t fork = authority->fork_seq[admin];
    if (fork != UINT64_MAX && ADMISSION_RULE(log, EQUIVOCATION) &&
        (!ADMISSION_RULE(log, FORK_POINT) ||
         !within(log, authority->view, signer, fork - 1, index)) &&
        !admission_sealed_unforked(log, authority, signer, index))
        return ADMISSION_VOID_FORKED;
    *by = killing_removal(log, authority, signer, index);
    if (*by != 0 && ADMISSION_RULE(log, GRANT_DIES))
        return ADMISSION_VOID_REMOVED;
    *by = 0;
    uint32_t power = admission_power_needed(log->items[index].kind);
    if (ADMISSION_RULE(log, LIVE_CHAIN) && !chained(log, authority, signer, index, power))
        return ADMISSION_VOID_CHAIN;
    return ADMISSION_VOID_NOT;
}

static bool is_removal(const struct admission *log, const struct admission_item *item)
{
    if (!ADMISSION_RULE(log, REMOVAL_NEEDS_PAST_ONLY))
        return false;
    return item->kind == ADMISSION_ADMIN_REMOVE || item->kind == ADMISSION_REVOKE ||
           item->kind == ADMISSION_DENY;
}

static enum admission_void signed_by(const struct admission *log,
                                     const struct admission_authority *authority, uint32_t signer,
                                     uint32_t index, uint32_t *by)
{
    const struct admission_item *item = &log->items[index];
    uint32_t admin = log->persons[signer].admin;
    if (!is_removal(log, item))
        return grant_by(log, authority, signer, index, by);
    if (admin == 0 || admin > authority->admins)
        return ADMISSION_VOID_NOT;
    return outranked(log, authority, admin - 1, signer, index, by);
}

/* A seal that counts covers the entry and knew nothing against its author. */
static bool sealed_unsuspected(const struct admission *log,
                               const struct admission_authority *authority, uint32_t author,
                               uint32_t index)
{
    for (uint32_t i = 0; i < authority->seal_count && ADMISSION_RULE(log, SEAL_SPARES); i++) {
        const struct admission_past *past = &log->items[authority->seals[i]].past;
        bool known = admission_fork_in(log, past, author) != UINT64_MAX;
        for (uint32_t at = log->persons[author].first_about; at != 0 && !known;
             at = log->items[at - 1].next_of_subject)
            known = log->items[at - 1].kind == ADMISSION_ADMIN_REMOVE &&
                    admission_past_has(past, at - 1);
        if (!known && admission_past_has(past, index))
            return true;
    }
    return false;
}

/* Ends backdating: an author that was removed or contradicted itself has this many seals to show an
 * older entry, then it is void, whatever it does. */
static uint32_t omitting_seal(const struct admission *log,
                              const struct admission_authority *authority, uint32_t index)
{
    const struct admission_item *item = &log->items[index];
    uint32_t admin = log->persons[item->author].admin;
    if (admin == 0 || admin > authority->admins || !authority->suspect[admin - 1])
        return 0;
    uint64_t grace = ADMISSION_RULE(log, GRACE) ? authority->grace : 0;
    for (uint32_t i = authority->seal_count; i-- > 0;) {
        const struct admission_item *seal = &log->items[authority->seals[i]];
        if (log->control[seal->control].number <= item->seal + grace)
            return 0;
        if (authority->seals[i] != index && !admission_before(log, index, authority->seals[i]))
            return sealed_unsuspected(log, authority, item->author, index)
                       ? 0
                       : authority->seals[i] + 1;
    }
    return 0;
}

enum admission_void admission_standing_of(const struct admission *log,
                                          const struct admission_authority *authority,
                                          uint32_t index, uint32_t *by)
{
    const struct admission_item *item = &log->items[index];
    *by = 0;
    if (item->mark.kept) {
        bool conflict = item->kind == ADMISSION_SEAL && item->mark.why == ADMISSION_VOID_CONFLICT;
        return conflict ? ADMISSION_VOID_NOT : (enum admission_void)item->mark.why;
    }
    if (authority->clean)
        return ADMISSION_VOID_NOT;
    enum admission_void why = signed_by(log, authority, item->author, index, by);
    if (why != ADMISSION_VOID_NOT)
        return why;
    if (ADMISSION_RULE(log, SEAL_ENDS_BACKDATING) &&
        (*by = omitting_seal(log, authority, index)) != 0)
        return ADMISSION_VOID_BACKDATED;
    if (item->cosigners == 0)
        return ADMISSION_VOID_NOT;
    struct admission_entry entry;
    admission_decode(log, index, &entry);
    uint32_t good = 1;
    enum admission_void last = ADMISSION_VOID_NOT;
    for (uint32_t i = 0; i < entry.cosigner_count; i++) {
        uint32_t person;
        bool known = admission_person_find(log, &entry.cosigners[i], &person);
        PPN_ASSERT(known);
        enum admission_void cosigned = signed_by(log, authority, person, index, by);
        good += cosigned == ADMISSION_VOID_NOT;
        last = cosigned != ADMISSION_VOID_NOT ? cosigned : last;
    }
    return good >= item->quorum || !ADMISSION_RULE(log, COSIGNER_LIVE) ? ADMISSION_VOID_NOT : last;
}
