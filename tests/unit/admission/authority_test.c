// SPDX-License-Identifier: ISC
#include "fixture.h"

#include <string.h>

/* Two replicas of a network with the founder (root) and admins 2 and 3. */
struct two {
    struct fixture a, b;
    struct admission_keypair second, third;
};

static struct two two_new(void)
{
    struct two t = {.a = fixture_new(), .second = pair(2), .third = pair(3)};
    add_admin(&t.a, &t.a.founder, 2, ADMISSION_POWERS_ADMIN);
    add_admin(&t.a, &t.a.founder, 3, ADMISSION_POWERS_ADMIN);
    t.b = fixture_empty(&t.a);
    copy_all(&t.a, &t.b);
    return t;
}

static void heal(struct two *t)
{
    copy_all(&t->a, &t->b);
    copy_all(&t->b, &t->a);
    expect_same(&t->a, &t->b);
}

static void two_free(struct two *t)
{
    fixture_free(&t->a);
    fixture_free(&t->b);
}

static bool live(const struct fixture *f, uint8_t who)
{
    struct admission_key key = pair(who).key;
    const struct admission_admin *admin = admission_admin_by_key(f->log, &key);
    return admin != NULL && admin->live;
}

Test(authority, who_has_no_power_is_refused)
{
    struct fixture f = fixture_new();
    struct admission_keypair stranger = pair(9), approver = pair(2);
    struct admission_keypair *by = &stranger;
    struct admission_entry entry = {.kind = ADMISSION_REVOKE};
    entry.as.revoke.subject = pair(10).key;
    add_admin(&f, &f.founder, 2, ADMISSION_POWER_ADMIT);
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_UNAUTHORIZED);
    by = &approver;
    made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    admit(&f, &approver, 10, "laptop");
    cr_assert(is_member(&f, 10));
    fixture_free(&f);
}

Test(authority, a_removed_admins_unseen_grants_die_and_its_seen_ones_live)
{
    struct two t = two_new();
    admit(&t.a, &t.second, 10, "seen");
    copy_all(&t.a, &t.b);
    admit(&t.b, &t.second, 11, "unseen");
    admit(&t.b, &t.third, 12, "unrelated");
    remove_admin(&t.a, &t.a.founder, 2, -1);
    heal(&t);
    cr_assert(is_member(&t.a, 10));
    cr_assert_not(is_member(&t.a, 11));
    cr_assert(is_member(&t.a, 12), "an unrelated concurrent entry voids nothing");
    two_free(&t);
}

Test(authority, duelling_admins_both_fall_and_nobody_rescues_itself)
{
    struct two t = two_new();
    remove_admin(&t.a, &t.second, 3, -1);
    remove_admin(&t.b, &t.third, 2, -1);
    add_admin(&t.b, &t.third, 4, ADMISSION_POWERS_ADMIN);
    heal(&t);
    cr_assert_not(live(&t.a, 2));
    cr_assert_not(live(&t.a, 3));
    cr_assert_not(live(&t.a, 4), "granted by a key that was removed unseen");
    cr_assert(live(&t.a, 1), "root is immune");
    two_free(&t);
}

Test(authority, a_grant_needs_a_live_chain)
{
    struct two t = two_new();
    struct admission_keypair fourth = pair(4);
    add_admin(&t.b, &t.second, 4, ADMISSION_POWERS_ADMIN);
    admit(&t.b, &fourth, 10, "by-puppet");
    remove_admin(&t.a, &t.a.founder, 2, -1);
    heal(&t);
    cr_assert_not(is_member(&t.a, 10));
    two_free(&t);
}

Test(authority, a_cut_voids_what_a_stolen_key_did)
{
    struct two t = two_new();
    struct admission_key good = pair(10).key;
    admit(&t.a, &t.second, 10, "honest");
    admit(&t.a, &t.second, 11, "rogue");
    revoke(&t.a, &t.second, &good);
    cr_assert_not(is_member(&t.a, 10));
    remove_admin(&t.a, &t.a.founder, 2, 1);
    cr_assert_not(is_member(&t.a, 11));
    cr_assert(is_member(&t.a, 10), "a root cut undoes removals too");
    heal(&t);
    two_free(&t);
}

Test(authority, two_entries_with_one_number_are_proof_and_void_what_follows)
{
    struct two t = two_new();
    admit(&t.a, &t.second, 10, "before");
    copy_all(&t.a, &t.b);
    admit(&t.a, &t.second, 11, "left");
    admit(&t.b, &t.second, 12, "right");
    heal(&t);
    cr_assert(is_member(&t.a, 10));
    cr_assert_not(is_member(&t.a, 11));
    cr_assert_not(is_member(&t.a, 12));
    cr_assert_not(live(&t.a, 2));
    bool alarmed = false;
    for (uint32_t i = 0; i < t.a.update.count; i++)
        alarmed = alarmed || (t.a.update.items[i].kind == ADMISSION_EQUIVOCATION &&
                              admission_key_equal(&t.a.update.items[i].author, &t.second.key));
    cr_assert(alarmed);
    two_free(&t);
}

Test(authority, a_quorum_counts_distinct_keys_that_stand)
{
    struct two t = two_new();
    struct admission_keypair founder = t.a.founder;
    struct admission_keypair *both[] = {&t.second, &t.third};
    struct admission_entry entry = {.kind = ADMISSION_POLICY,
                                    .as.policy = {ADMISSION_VERSION, 1, 1, 2, 1, 2, 0}};
    struct admission_keypair *by = &founder;
    struct admission_made made = make_by(&t.a, &by, 1, entry);
    cr_assert_eq(offer(&t.a, &made), ADMISSION_ACCEPTED);
    entry = (struct admission_entry){.kind = ADMISSION_ADMIN_ADD};
    entry.as.admin_add.key = pair(4).key;
    entry.as.admin_add.powers = ADMISSION_POWERS_ADMIN;
    strcpy(entry.as.admin_add.name, "fourth");
    made = make_by(&t.a, both, 1, entry);
    cr_assert_eq(offer(&t.a, &made), ADMISSION_REFUSED);
    copy_all(&t.a, &t.b);
    made = make_by(&t.a, both, 2, entry);
    cr_assert_eq(offer(&t.a, &made), ADMISSION_ACCEPTED, "%s", t.a.why.text);
    cr_assert(live(&t.a, 4));
    struct admission_keypair *root_and_third[] = {&founder, &t.third};
    struct admission_entry removal = {.kind = ADMISSION_ADMIN_REMOVE,
                                      .as.admin_remove.key = t.second.key};
    made = make_by(&t.b, root_and_third, 2, removal);
    cr_assert_eq(offer(&t.b, &made), ADMISSION_ACCEPTED, "%s", t.b.why.text);
    heal(&t);
    cr_assert_not(live(&t.a, 4), "one of the two that added it was removed unseen");
    two_free(&t);
}

Test(authority, a_root_key_retires_only_when_another_rules)
{
    struct fixture f = fixture_new();
    struct admission_keypair *by = &f.founder;
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_REMOVE,
                                    .as.admin_remove.key = f.founder.key};
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    admit(&f, &f.founder, 10, "by-founder");
    add_admin(&f, &f.founder, 2, ADMISSION_POWERS_ALL);
    remove_admin(&f, &f.founder, 1, -1);
    cr_assert_not(live(&f, 1));
    cr_assert(live(&f, 2));
    cr_assert(is_member(&f, 10));
    struct admission_keypair second = pair(2);
    admit(&f, &second, 11, "by-second");
    cr_assert(is_member(&f, 11));
    fixture_free(&f);
}

Test(authority, seals_keep_what_they_cover_and_end_backdating)
{
    struct two t = two_new();
    admit(&t.b, &t.second, 10, "sealed");
    seal(&t.b, &t.b.founder);
    remove_admin(&t.a, &t.third, 2, -1);
    struct fixture late = fixture_empty(&t.a);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(admission_offer(late.log, late.now, 0,
                                     admission_record_at(t.a.log, i).envelope, &late.update,
                                     &late.why),
                     ADMISSION_ACCEPTED);
    heal(&t);
    cr_assert(is_member(&t.a, 10), "sealed before the removal was seen");
    for (uint32_t i = 0; i < 4; i++)
        seal(&t.a, &t.a.founder);
    struct admission_key victim = pair(10).key;
    struct admission_keypair *by = &t.second;
    struct admission_entry backdated = {.kind = ADMISSION_REVOKE, .as.revoke.subject = victim};
    struct admission_made made = make_by(&late, &by, 1, backdated);
    cr_assert_eq(offer(&t.a, &made), ADMISSION_ACCEPTED);
    cr_assert(is_member(&t.a, 10), "four seals without it: void, even a removal");
    fixture_free(&late);
    two_free(&t);
}

Test(authority, what_was_sealed_late_outlives_its_author)
{
    struct two t = two_new();
    admit(&t.b, &t.second, 10, "apart"); /* while three seals are made elsewhere */
    for (uint32_t i = 0; i < 3; i++)
        seal(&t.a, &t.a.founder);
    heal(&t);
    cr_assert(is_member(&t.a, 10));
    seal(&t.a, &t.a.founder);
    remove_admin(&t.a, &t.second, 2, -1);
    cr_assert(is_member(&t.a, 10), "a seal covered it before anything was said against its admin");
    heal(&t);
    two_free(&t);
}

Test(authority, a_contradiction_endangers_nothing_that_a_seal_keeps)
{
    struct two t = two_new();
    struct fixture old = fixture_empty(&t.a);
    copy_all(&t.a, &old);
    admit(&t.a, &t.second, 10, "first");
    copy_all(&t.a, &t.b);
    admit(&t.a, &t.second, 11, "left");
    admit(&t.b, &t.second, 12, "right");
    heal(&t);
    seal(&t.a, &t.a.founder); /* knows that its second entry is contradicted, not its first */
    admit(&old, &t.second, 13, "older");
    copy_all(&old, &t.a);
    cr_assert(is_member(&t.a, 10));
    cr_assert_not(is_member(&t.a, 13));
    heal(&t);
    fixture_free(&old);
    two_free(&t);
}

Test(authority, two_seals_with_one_number_stop_seals_until_a_recovery)
{
    struct two t = two_new();
    struct admission_keypair recovery = pair(200), fresh = pair(50);
    struct admission_keypair sealer = pair(5);
    add_admin(&t.a, &t.a.founder, 5, ADMISSION_POWER_SEAL);
    copy_all(&t.a, &t.b);
    seal(&t.a, &sealer);
    seal(&t.b, &t.b.founder);
    copy_all(&t.b, &t.a);
    bool alarmed = false;
    for (uint32_t i = 0; i < t.a.update.count; i++)
        alarmed = alarmed || t.a.update.items[i].kind == ADMISSION_SEAL_CONFLICT;
    cr_assert(alarmed);
    heal(&t);
    struct admission_entry entry = {.kind = ADMISSION_RECOVER};
    entry.as.recover.base = admission_network(t.a.log);
    entry.as.recover.root_needed = entry.as.recover.root_count = 1;
    entry.as.recover.roots[0] = fresh.key;
    struct admission_keypair *by = &recovery;
    struct admission_made made = make_by(&t.a, &by, 1, entry);
    admit(&t.b, &t.b.founder, 11, "by-old-root");
    cr_assert_eq(offer(&t.a, &made), ADMISSION_ACCEPTED, "%s", t.a.why.text);
    heal(&t);
    cr_assert(live(&t.a, 50));
    cr_assert_not(live(&t.a, 1));
    cr_assert_not(is_member(&t.a, 11), "the old root's unseen grants are void");
    admit(&t.a, &fresh, 12, "by-new-root");
    cr_assert(is_member(&t.a, 12));
    two_free(&t);
}

Test(authority, a_recovery_undoes_what_a_stolen_root_cut)
{
    struct fixture f = fixture_new();
    struct admission_keypair honest = pair(2), recovery = pair(200), fresh = pair(50);
    struct admission_keypair *by = &recovery;
    struct admission_entry entry = {.kind = ADMISSION_RECOVER};
    add_admin(&f, &f.founder, 2, ADMISSION_POWERS_ADMIN);
    admit(&f, &honest, 10, "laptop");
    remove_admin(&f, &f.founder, 2, 0); /* by the thief: the founder's entry 3 */
    cr_assert_not(is_member(&f, 10));
    entry.as.recover.base = admission_network(f.log);
    entry.as.recover.root_needed = entry.as.recover.root_count = 1;
    entry.as.recover.roots[0] = fresh.key;
    entry.as.recover.cut_count = 1;
    entry.as.recover.cuts[0] = (struct admission_cut){f.founder.key, 2};
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    cr_assert(live(&f, 2));
    cr_assert(is_member(&f, 10));
    admit(&f, &honest, 11, "desktop");
    cr_assert(is_member(&f, 11));
    fixture_free(&f);
}

Test(authority, a_raised_version_freezes_this_program)
{
    struct fixture f = fixture_new();
    struct admission_keypair *by = &f.founder;
    struct admission_entry entry = {.kind = ADMISSION_POLICY,
                                    .as.policy = {ADMISSION_VERSION + 1, 1, 1, 1, 1, 2, 0}};
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert_eq(f.update.items[1].kind, ADMISSION_FROZEN);
    entry = (struct admission_entry){.kind = ADMISSION_SEAL};
    made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_VERSION);
    fixture_free(&f);
}

Test(authority, a_dropped_root_cannot_take_later_admins_along)
{
    struct two t = two_new();
    struct admission_keypair recovery = pair(200), fresh = pair(50), hired = pair(51);
    struct admission_keypair *by = &recovery;
    struct admission_entry entry = {.kind = ADMISSION_RECOVER};
    entry.as.recover.base = admission_network(t.a.log);
    entry.as.recover.root_needed = entry.as.recover.root_count = 1;
    entry.as.recover.roots[0] = fresh.key;
    struct admission_made made = make_by(&t.a, &by, 1, entry);
    cr_assert_eq(offer(&t.a, &made), ADMISSION_ACCEPTED, "%s", t.a.why.text);
    add_admin(&t.a, &fresh, 51, ADMISSION_POWERS_ADMIN);
    admit(&t.a, &hired, 10, "laptop");
    add_admin(&t.b, &t.b.founder, 51, ADMISSION_POWERS_ALL); /* the thief, who has not seen it */
    heal(&t);
    cr_assert(live(&t.a, 51));
    cr_assert(is_member(&t.a, 10));
    two_free(&t);
}
