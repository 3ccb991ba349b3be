// SPDX-License-Identifier: ISC
#include "invariants.h"

#include <string.h>

#include "picture.h"

/* ---- 2, 3: removals ---- */

/* Whether anything but `except` alone may have undone a removal. */
static bool may_be_undone(const struct picture *p, uint32_t r, int except)
{
    const struct fact *removal = &p->facts[r];
    for (uint32_t c = 0; c < p->count; c++) {
        const struct fact *by = &p->facts[c];
        bool recovers = picture_kind(p, c) == ADMISSION_RECOVER, root = !recovers;
        for (uint32_t i = 0; i < by->signer_count && root; i++)
            root = picture_given(p, by->past, by->signers[i], ADMISSION_POWER_ROOT);
        for (uint32_t i = 0; i < removal->signer_count; i++) {
            int signer = removal->signers[i];
            bool dropped = recovers && !picture_has(by->past, r) &&
                           picture_given(p, UINT64_MAX, signer, ADMISSION_POWER_ROOT);
            if (dropped || ((recovers || root) && picture_cuts(p, c, signer, r)))
                return true;
        }
    }
    return picture_suspected(p, UINT64_MAX, removal->author) &&
           picture_omitted(p, r, p->grace_min, except);
}

static void check_removals(const struct picture *p, struct invariants *out)
{
    for (uint32_t r = 0; r < p->count; r++) {
        const struct fact *f = &p->facts[r];
        if (!picture_is_removal(f->entry.kind) || f->live)
            continue;
        if (!may_be_undone(p, r, -1))
            invariants_break(out, 2, "a removal that nothing undid does not count");
        if (!may_be_undone(p, r, f->subject))
            invariants_break(out, 3, "a removal that only whom it removes undid does not count");
    }
}

static void check_effects(const struct picture *p, const struct admission *log,
                          struct invariants *out)
{
    for (uint32_t r = 0; r < p->count; r++) {
        const struct fact *f = &p->facts[r];
        if (!f->live || !picture_is_removal(f->entry.kind))
            continue;
        struct ppn_node_id node = admission_key_node(&p->keys[f->subject]);
        const struct admission_member *member = admission_member_by_id(log, &node);
        const struct admission_admin *admin = admission_admin_by_key(log, &p->keys[f->subject]);
        if (f->entry.kind == ADMISSION_ADMIN_REMOVE && admin != NULL && admin->live)
            invariants_break(out, 2, "a removed key is an admin");
        if (member == NULL || f->entry.kind == ADMISSION_ADMIN_REMOVE)
            continue;
        if (f->entry.kind == ADMISSION_REVOKE) {
            invariants_break(out, 2, "a revoked node is a member");
            continue;
        }
        int by = picture_fact(p, &member->entry);
        bool later =
            by >= 0 && picture_has(f->past, (uint32_t)by); /* the denial knew that it was in */
        bool overruled = by >= 0 && picture_has(p->facts[by].past, r) &&
                         picture_kind(p, (uint32_t)by) == ADMISSION_ADMIT;
        if (!later && !overruled)
            invariants_break(out, 2, "a denied node is a member");
    }
}

/* What a key did that is out counts if it was known when it went, or sealed before. */
static void check_own_entries(const struct picture *p, const struct admission *log, uint32_t g,
                              struct invariants *out)
{
    const struct fact *grant = &p->facts[g];
    enum admission_kind ends =
        picture_by_node(grant->entry.kind) ? ADMISSION_REVOKE : ADMISSION_ADMIN_REMOVE;
    for (uint32_t r = 0; r < p->count; r++) {
        const struct fact *f = &p->facts[r];
        if (picture_live(p, r, ends) && f->subject == grant->author && !picture_has(f->past, g) &&
            !picture_sealed_without(p, g, r))
            invariants_break(out, 3, "a removed author's entry that its remover did not know");
        if (picture_live(p, r, ADMISSION_ADMIN_REMOVE) && picture_cuts(p, r, grant->author, g))
            invariants_break(out, 3, "an entry beyond the cut counts");
        if (picture_live(p, r, ADMISSION_RECOVER) && !picture_has(f->past, g) && r != g &&
            ppn_hash_equal(&f->entry.as.recover.base, &p->facts[0].id) &&
            picture_gives(p, 0, grant->author, 0) && !picture_gives(p, r, grant->author, 0))
            invariants_break(out, 3, "a dropped root key's entry that the recovery did not know");
    }
    uint64_t fork = picture_fork(p, UINT64_MAX, grant->author);
    if (grant->entry.seq >= fork && !picture_sealed_unforked(p, g, grant->author))
        invariants_break(out, 3, "an entry beyond its author's contradiction counts");
    const struct admission_admin *admin = admission_admin_by_key(log, &grant->entry.author);
    if (fork != UINT64_MAX && admin != NULL && admin->live)
        invariants_break(out, 3, "a key that contradicted itself is an admin");
}

/* ---- 4: no collateral ---- */

/* Whether anything about this signer may have made the grant void. */
static bool signer_fell(const struct picture *p, uint32_t g, int signer)
{
    const struct fact *grant = &p->facts[g];
    uint64_t fork = picture_fork(p, UINT64_MAX, signer);
    if (fork != UINT64_MAX && (grant->author != signer || grant->entry.seq >= fork))
        return true;
    for (uint32_t c = 0; c < p->count; c++) {
        const struct fact *f = &p->facts[c];
        bool removes = picture_live(p, c, ADMISSION_ADMIN_REMOVE) && f->subject == signer;
        bool recovers = f->entry.kind == ADMISSION_RECOVER;
        bool chain = picture_has(grant->past, c) && !f->live && picture_gives(p, c, signer, 0);
        if (chain || picture_cuts(p, c, signer, g) ||
            ((removes || recovers) && !picture_has(f->past, g)))
            return true;
    }
    return false;
}

static const uint8_t *wg_of(const struct admission_entry *e)
{
    return e->kind == ADMISSION_ADMIT    ? e->as.admit.wg_key
           : e->kind == ADMISSION_REDEEM ? e->as.redeem.wg_key
           : e->kind == ADMISSION_REKEY  ? e->as.rekey.wg_key
                                         : NULL;
}

/* Another node names its WireGuard key or has its address. */
static bool claimed(const struct picture *p, const struct admission *log, uint32_t g)
{
    const struct fact *mine = &p->facts[g];
    uint8_t here[16], there[16];
    struct ppn_node_id node = admission_key_node(&p->keys[mine->subject]);
    admission_address(log, &node, here);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fact *f = &p->facts[i];
        if (wg_of(&f->entry) != NULL && f->subject != mine->subject &&
            memcmp(wg_of(&f->entry), wg_of(&mine->entry), ADMISSION_WG_KEY_SIZE) == 0)
            return true;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fact *f = &p->facts[i];
        if (wg_of(&f->entry) == NULL || f->subject == mine->subject)
            continue;
        node = admission_key_node(&p->keys[f->subject]);
        admission_address(log, &node, there);
        if (memcmp(here, there, sizeof here) == 0)
            return true;
    }
    return false;
}

static bool node_fell(const struct picture *p, uint32_t g)
{
    const struct fact *grant = &p->facts[g];
    if (grant->entry.seq >= picture_fork(p, UINT64_MAX, grant->author))
        return true;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fact *f = &p->facts[i];
        bool revoked = picture_live(p, i, ADMISSION_REVOKE) && !picture_has(f->past, g);
        bool void_admission =
            !f->live && picture_has(grant->past, i) &&
            (f->entry.kind == ADMISSION_ADMIT || f->entry.kind == ADMISSION_REDEEM);
        if (f->subject == grant->author && (revoked || void_admission))
            return true;
    }
    return false;
}

static bool invite_ended(const struct picture *p, uint32_t g)
{
    int invite = picture_fact(p, &p->facts[g].entry.as.redeem.invite);
    uint32_t others = 0;
    uint64_t seen = 0;
    if (invite < 0 || !p->facts[invite].live)
        return true;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fact *f = &p->facts[i];
        if (picture_live(p, i, ADMISSION_REVOKE) && f->subject == p->facts[invite].subject &&
            !picture_has(f->past, g))
            return true;
        if (f->entry.kind == ADMISSION_REDEEM && f->subject != p->facts[g].subject &&
            !picture_has(seen, (uint32_t)f->subject) &&
            ppn_hash_equal(&f->entry.as.redeem.invite, &p->facts[invite].id)) {
            seen |= 1ull << f->subject;
            others++;
        }
    }
    return others >= p->facts[invite].entry.as.invite.uses;
}

static bool refused_by_others(const struct picture *p, uint32_t g)
{
    const struct fact *grant = &p->facts[g];
    for (uint32_t i = 0; i < p->count; i++) {
        const struct fact *f = &p->facts[i];
        if (f->subject != grant->subject || !f->live)
            continue;
        if (f->entry.kind == ADMISSION_REVOKE)
            return true;
        bool overruled = picture_has(grant->past, i) && grant->entry.kind == ADMISSION_ADMIT;
        if (f->entry.kind == ADMISSION_DENY && !picture_has(f->past, g) && !overruled)
            return true;
    }
    return false;
}

static bool seals_conflict(const struct picture *p, uint64_t number)
{
    for (uint32_t i = 0; i < p->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (picture_kind(p, i) == ADMISSION_SEAL && picture_kind(p, k) == ADMISSION_SEAL &&
                p->facts[i].entry.as.seal_of.number == p->facts[k].entry.as.seal_of.number &&
                p->facts[i].entry.as.seal_of.number <= number)
                return true;
        }
    }
    return false;
}

/* Anything is said against the key, or those whom it has its power from. Which seals count is found
 * before what they spare and what they end, so such a seal may not count that would afterwards. */
static bool line_suspected(const struct picture *p, uint32_t i, int key)
{
    if (picture_suspected(p, UINT64_MAX, key))
        return true;
    for (uint32_t g = 0; g < i; g++) {
        const struct fact *f = &p->facts[g];
        if (!picture_has(p->facts[i].past, g) || f->entry.kind != ADMISSION_ADMIN_ADD ||
            f->subject != key)
            continue;
        for (uint32_t k = 0; k < f->signer_count; k++) {
            if (line_suspected(p, g, f->signers[k]))
                return true;
        }
    }
    return false;
}

static void check_void(const struct picture *p, const struct admission *log, uint32_t g,
                       struct invariants *out)
{
    const struct fact *grant = &p->facts[g];
    enum admission_kind kind = grant->entry.kind;
    bool reason = false;
    if (picture_by_node(kind)) {
        reason = node_fell(p, g);
    } else {
        for (uint32_t i = 0; i < grant->signer_count && !reason; i++)
            reason = signer_fell(p, g, grant->signers[i]);
        reason = reason || (picture_suspected(p, UINT64_MAX, grant->author) &&
                            picture_omitted(p, g, p->grace_min, -1));
    }
    if (kind == ADMISSION_ADMIT || kind == ADMISSION_REDEEM)
        reason = reason || refused_by_others(p, g);
    if (kind == ADMISSION_REDEEM)
        reason = reason || invite_ended(p, g);
    if (kind == ADMISSION_ADMIT || picture_by_node(kind))
        reason = reason || claimed(p, log, g);
    if (kind == ADMISSION_SEAL)
        reason = reason || line_suspected(p, g, grant->author) ||
                 seals_conflict(p, grant->entry.as.seal_of.number);
    if (!reason)
        invariants_break(out, 4, "a grant is void and nothing concerns it");
}

/* ---- the whole ---- */

void invariants_of_log(const struct admission *log, struct invariants *out)
{
    static struct picture p;
    if (!admission_founded(log) || !picture_take(&p, log))
        return;
    check_removals(&p, out);
    check_effects(&p, log, out);
    for (uint32_t i = 0; i < p.count; i++) {
        if (picture_is_grant(picture_kind(&p, i)) && p.facts[i].live)
            check_own_entries(&p, log, i, out);
        else if (picture_is_grant(picture_kind(&p, i)))
            check_void(&p, log, i, out);
    }
    invariants_of_authority(&p, log, out);
}
