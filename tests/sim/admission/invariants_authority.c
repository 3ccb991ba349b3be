// SPDX-License-Identifier: ISC
#include <string.h>

#include "invariants.h"
#include "picture.h"

/* Where authority comes from (6), how many keys it takes (7), what seals settle (8), and what must
 * be unique (10), gapless (12) or told by the entry itself (14). */

/* ---- 6: chains ---- */

/* Something in force in the past of the entry gave the key the power, and chains itself. */
static bool chained(const struct picture *p, uint32_t i, int key, uint32_t power)
{
    for (uint32_t g = 0; g < i; g++) {
        const struct fact *f = &p->facts[g];
        if (!picture_has(p->facts[i].past, g) || !f->live || !picture_gives(p, g, key, power))
            continue;
        if (f->entry.kind != ADMISSION_ADMIN_ADD ||
            chained(p, g, f->author, picture_power_needed(&f->entry)))
            return true;
    }
    return false;
}

/* An admission of the node counts in the past of the entry. One that a revocation ended since
 * counts for what its node did before. */
static bool witnessed(const struct picture *p, uint32_t i, int node)
{
    bool revoked = false;
    for (uint32_t r = 0; r < p->count; r++)
        revoked = revoked || (picture_live(p, r, ADMISSION_REVOKE) && p->facts[r].subject == node);
    for (uint32_t g = 0; g < i; g++) {
        const struct fact *f = &p->facts[g];
        bool admits = f->entry.kind == ADMISSION_ADMIT || f->entry.kind == ADMISSION_REDEEM;
        if (admits && f->subject == node && picture_has(p->facts[i].past, g) &&
            (f->live || revoked))
            return true;
    }
    return false;
}

static void check_chain(const struct picture *p, uint32_t i, struct invariants *out)
{
    const struct fact *f = &p->facts[i];
    if (picture_is_grant(f->entry.kind) && !picture_by_node(f->entry.kind) && f->live &&
        !chained(p, i, f->author, picture_power_needed(&f->entry)))
        invariants_break(out, 6, "a grant in force by a key that has its power from nobody");
    bool retires = f->entry.kind == ADMISSION_ADMIN_REMOVE && f->subject == f->author;
    if (picture_is_removal(f->entry.kind) &&
        !picture_given(p, f->past, f->author, retires ? 0 : picture_power_needed(&f->entry)))
        invariants_break(out, 6, "a removal by a key that never had the power where it was made");
    if (!picture_by_node(f->entry.kind) || !f->live)
        return;
    if (!witnessed(p, i, f->author))
        invariants_break(out, 6, "an entry by a node that nobody admitted counts");
    if (f->entry.kind != ADMISSION_REDEEM)
        return;
    int invite = picture_fact(p, &f->entry.as.redeem.invite);
    if (invite < 0 || !picture_has(f->past, (uint32_t)invite) ||
        !picture_live(p, (uint32_t)invite, ADMISSION_INVITE))
        invariants_break(out, 6, "a redemption without an invite in force counts");
}

static void check_uses(const struct picture *p, uint32_t invite, struct invariants *out)
{
    const struct fact *f = &p->facts[invite];
    uint64_t nodes = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; f->entry.kind == ADMISSION_INVITE && i < p->count; i++) {
        const struct fact *use = &p->facts[i];
        if (!picture_live(p, i, ADMISSION_REDEEM) ||
            !ppn_hash_equal(&use->entry.as.redeem.invite, &f->id) ||
            picture_has(nodes, (uint32_t)use->subject))
            continue;
        nodes |= 1ull << use->subject;
        used++;
    }
    if (f->entry.kind == ADMISSION_INVITE && used > f->entry.as.invite.uses)
        invariants_break(out, 6, "an invite let in more nodes than it has uses");
}

static void check_member(const struct picture *p, const struct admission_member *member,
                         struct invariants *out)
{
    int by = picture_fact(p, &member->entry);
    struct admission_key key = admission_node_key(&member->id);
    if (by < 0 || !p->facts[by].live || p->facts[by].subject < 0 ||
        !admission_key_equal(&p->keys[p->facts[by].subject], &key)) {
        invariants_break(out, 6, "a member without an admission in force");
        return;
    }
    const struct admission_entry *e = &p->facts[by].entry;
    bool keyed = memcmp(e->kind == ADMISSION_ADMIT ? e->as.admit.wg_key : e->as.redeem.wg_key,
                        member->wg_key, ADMISSION_WG_KEY_SIZE) == 0;
    for (uint32_t i = 0; i < p->count; i++)
        keyed =
            keyed ||
            (picture_live(p, i, ADMISSION_REKEY) && p->facts[i].subject == p->facts[by].subject &&
             memcmp(p->facts[i].entry.as.rekey.wg_key, member->wg_key, ADMISSION_WG_KEY_SIZE) == 0);
    if (!keyed)
        invariants_break(out, 6, "a member's WireGuard key that nothing in force gave it");
    int invite = e->kind == ADMISSION_REDEEM ? picture_fact(p, &e->as.redeem.invite) : by;
    uint64_t lease = e->kind == ADMISSION_ADMIT ? e->as.admit.lease_ms
                                                : p->facts[invite].entry.as.invite.lease_ms;
    if (lease != 0 &&
        member->lease_until_unix_ms < p->facts[by].entry.time_unix_ms + (int64_t)lease)
        invariants_break(out, 14, "a lease that ends before its time, or never");
}

static void check_admins(const struct picture *p, const struct admission *log,
                         struct invariants *out)
{
    for (uint32_t i = 0; i < admission_admin_count(log); i++) {
        const struct admission_admin *admin = admission_admin_at(log, i);
        bool from = false;
        for (uint32_t g = 0; g < p->count; g++) {
            for (uint32_t k = 0; k < p->key_count; k++)
                from = from || (p->facts[g].live && admission_key_equal(&p->keys[k], &admin->key) &&
                                picture_gives(p, g, (int)k, admin->powers));
            const struct admission_entry *e = &p->facts[g].entry;
            const struct admission_key *roots =
                e->kind == ADMISSION_GENESIS ? e->as.genesis.roots : e->as.recover.roots;
            uint32_t count = e->kind == ADMISSION_GENESIS   ? e->as.genesis.root_count
                             : e->kind == ADMISSION_RECOVER ? e->as.recover.root_count
                                                            : 0;
            for (uint32_t k = 0; k < count && p->facts[g].live; k++)
                from = from || admission_key_equal(&roots[k], &admin->key);
        }
        if (admin->live && !from)
            invariants_break(out, 6, "an admin by nothing in force");
    }
}

/* ---- 7: quorums ---- */

static uint32_t quorum_by(const struct admission_policy *policy, const struct admission_entry *e)
{
    uint32_t power = picture_power_needed(e);
    return e->kind == ADMISSION_SEAL         ? 1
           : power == ADMISSION_POWER_ADMIT  ? policy->admit
           : power == ADMISSION_POWER_REVOKE ? policy->revoke
           : power == ADMISSION_POWER_ROOT   ? policy->root
                                             : policy->admin;
}

/* No policy that the entry may have stood under asks for fewer. */
static uint32_t quorum_at_least(const struct picture *p, uint32_t i)
{
    const struct admission_entry *e = &p->facts[i].entry;
    uint32_t least = quorum_by(&p->facts[0].entry.as.genesis.policy, e);
    if (e->kind == ADMISSION_ADMIN_REMOVE && p->facts[i].author == p->facts[i].subject)
        return 1;
    for (uint32_t k = 0; k < i; k++) {
        const struct admission_entry *other = &p->facts[k].entry;
        uint32_t quorum = least;
        if (!picture_has(p->facts[i].past, k))
            continue;
        if (other->kind == ADMISSION_POLICY)
            quorum = quorum_by(&other->as.policy, e);
        else if (other->kind == ADMISSION_RECOVER &&
                 picture_power_needed(e) == ADMISSION_POWER_ROOT)
            quorum = other->as.recover.root_needed;
        least = quorum < least ? quorum : least;
    }
    return least;
}

/* A removal in force of the signer did not know the grant, and no seal covers it without that. */
static bool fell(const struct picture *p, uint32_t g, int signer)
{
    for (uint32_t r = 0; r < p->count; r++) {
        const struct fact *f = &p->facts[r];
        if (picture_live(p, r, ADMISSION_ADMIN_REMOVE) && f->subject == signer &&
            !picture_has(f->past, g) && !picture_sealed_without(p, g, r))
            return true;
    }
    return false;
}

static void check_quorum(const struct picture *p, uint32_t i, struct invariants *out)
{
    const struct fact *f = &p->facts[i];
    uint32_t good = 0;
    bool grant = picture_is_grant(f->entry.kind);
    if (picture_by_node(f->entry.kind) || f->entry.kind == ADMISSION_GENESIS ||
        f->entry.kind == ADMISSION_RECOVER)
        return;
    uint32_t least = quorum_at_least(p, i);
    if (f->signer_count < least)
        invariants_break(out, 7, "an entry with fewer keys than any quorum was accepted");
    for (uint32_t k = 0; k < f->signer_count; k++)
        good += !grant || !fell(p, i, f->signers[k]);
    if (f->live && good < least)
        invariants_break(out, 7, "fewer keys than any quorum stand for an entry in force");
    if (f->entry.kind == ADMISSION_ADMIN_REMOVE && f->author != f->subject &&
        picture_gives(p, 0, f->subject, ADMISSION_POWER_ROOT)) {
        /* One that contradicted itself or has retired is no root any more. */
        bool ended = picture_fork(p, f->past, f->subject) != UINT64_MAX;
        for (uint32_t k = 0; k < i; k++) {
            bool retired = picture_kind(p, k) == ADMISSION_ADMIN_REMOVE &&
                           p->facts[k].subject == f->subject && p->facts[k].author == f->subject;
            ended = ended || (picture_has(f->past, k) &&
                              (retired || picture_kind(p, k) == ADMISSION_RECOVER));
        }
        if (!ended)
            invariants_break(out, 7, "others removed a root key");
    }
}

static bool same_policy(const struct admission_policy *a, const struct admission_policy *b)
{
    return a->admit == b->admit && a->revoke == b->revoke && a->admin == b->admin &&
           a->grace == b->grace && a->delay == b->delay;
}

/* The ruling policy is the founding one, or one in force that waited: under any policy that it may
 * have been made under it waited at least as long as the shortest delay asks. */
static void check_policy(const struct picture *p, const struct admission *log,
                         struct invariants *out)
{
    struct admission_policy now = admission_policy_now(log);
    bool may = same_policy(&now, &p->facts[0].entry.as.genesis.policy);
    for (uint32_t i = 0; i < p->count && !may; i++) {
        const struct fact *f = &p->facts[i];
        uint64_t delay = p->facts[0].entry.as.genesis.policy.delay;
        if (!picture_live(p, i, ADMISSION_POLICY) || !same_policy(&now, &f->entry.as.policy))
            continue;
        for (uint32_t k = 0; k < i; k++) {
            const struct admission_entry *e = &p->facts[k].entry;
            if (e->kind == ADMISSION_POLICY && picture_has(f->past, k) &&
                e->as.policy.delay < delay)
                delay = e->as.policy.delay;
        }
        may = delay == 0;
        for (uint32_t s = 0; s < p->count && !may; s++)
            may = picture_live(p, s, ADMISSION_SEAL) && picture_has(p->facts[s].past, i) &&
                  p->facts[s].entry.as.seal_of.number >= f->entry.seal + delay;
    }
    if (!may)
        invariants_break(out, 7, "a policy rules that did not wait");
}

/* ---- 8: seals ---- */

static bool one_generation(const struct picture *p, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (picture_kind(p, i) == ADMISSION_RECOVER &&
            picture_has(p->facts[a].past, i) != picture_has(p->facts[b].past, i))
            return false;
    }
    return true;
}

static void check_seals(const struct picture *p, uint32_t i, struct invariants *out)
{
    const struct fact *f = &p->facts[i];
    for (uint32_t k = 0; k < i; k++) {
        if (picture_live(p, i, ADMISSION_SEAL) && picture_live(p, k, ADMISSION_SEAL) &&
            f->entry.as.seal_of.number == p->facts[k].entry.as.seal_of.number &&
            one_generation(p, i, k))
            invariants_break(out, 8, "two seals of one number count");
    }
    bool by_admin = !picture_by_node(f->entry.kind) && f->entry.kind != ADMISSION_GENESIS &&
                    f->entry.kind != ADMISSION_RECOVER;
    bool out_for_sure = picture_fork(p, UINT64_MAX, f->author) != UINT64_MAX;
    for (uint32_t r = 0; r < p->count; r++)
        out_for_sure = out_for_sure || (picture_live(p, r, ADMISSION_ADMIN_REMOVE) &&
                                        p->facts[r].subject == f->author);
    if (f->live && by_admin && out_for_sure && picture_omitted(p, i, p->grace_max, -1) &&
        !picture_sealed_unsuspected(p, i))
        invariants_break(out, 8, "a removed author's entry that seals left out counts");
}

/* ---- 10, 12, 14 ---- */

static void check_unique(const struct admission *log, struct invariants *out)
{
    for (uint32_t i = 0; i < admission_member_count(log); i++) {
        for (uint32_t k = 0; k < i; k++) {
            const struct admission_member *a = admission_member_at(log, i);
            const struct admission_member *b = admission_member_at(log, k);
            if (memcmp(a->address, b->address, ADMISSION_MESH_PREFIX_BITS / 8) == 0)
                invariants_break(out, 10, "two members have one address");
            if (memcmp(a->wg_key, b->wg_key, sizeof a->wg_key) == 0)
                invariants_break(out, 10, "two members have one WireGuard key");
            if (strcmp(a->name, b->name) == 0 || ppn_node_id_equal(&a->id, &b->id))
                invariants_break(out, 10, "two members have one name");
        }
    }
}

static void check_form(const struct picture *p, uint32_t i, struct invariants *out)
{
    const struct fact *f = &p->facts[i];
    int prev = picture_fact(p, &f->entry.prev);
    if (f->entry.seq > 1 &&
        (prev < 0 || !picture_has(f->past, (uint32_t)prev) || p->facts[prev].author != f->author ||
         p->facts[prev].entry.seq + 1 != f->entry.seq))
        invariants_break(out, 12, "an author's chain has a gap");
    if (f->entry.kind != ADMISSION_REDEEM)
        return;
    int invite = picture_fact(p, &f->entry.as.redeem.invite);
    int64_t expires = invite >= 0 ? p->facts[invite].entry.as.invite.expires_unix_ms : 0;
    if (expires != 0 && f->entry.time_unix_ms > expires)
        invariants_break(out, 14, "an expired invite let somebody in");
}

void invariants_of_authority(const struct picture *p, const struct admission *log,
                             struct invariants *out)
{
    for (uint32_t i = 0; i < p->count; i++) {
        check_chain(p, i, out);
        check_uses(p, i, out);
        check_quorum(p, i, out);
        check_seals(p, i, out);
        check_form(p, i, out);
    }
    for (uint32_t i = 0; i < admission_member_count(log); i++)
        check_member(p, admission_member_at(log, i), out);
    check_admins(p, log, out);
    check_policy(p, log, out);
    check_unique(log, out);
}
