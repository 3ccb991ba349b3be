// SPDX-License-Identifier: ISC
#include "fixture.h"

#include <string.h>

#include "admission/explain.h"

Test(log, entries_in_reverse_order_wait_for_their_parents)
{
    struct fixture f = fixture_new();
    for (uint8_t i = 10; i < 40; i++)
        admit(&f, &f.founder, i, "node");
    struct fixture g = fixture_empty(&f);
    for (uint32_t i = admission_entry_count(f.log); i-- > 0;) {
        struct ppn_slice envelope = admission_record_at(f.log, i).envelope;
        admission_update_reset(&g.update);
        enum admission_verdict verdict =
            admission_offer(g.log, g.now, 5, envelope, &g.update, &g.why);
        cr_assert_eq(verdict, i == 0 ? ADMISSION_ACCEPTED : ADMISSION_PENDING);
        cr_assert_eq(admission_offer(g.log, g.now, 5, envelope, &g.update, &g.why),
                     ADMISSION_KNOWN);
        struct ppn_hash missing[4];
        cr_assert_eq(admission_missing(g.log, missing, 4), i == 0 ? 0 : 1);
    }
    cr_assert_eq(admission_pending_count(g.log), 0);
    expect_same(&f, &g);
    fixture_free(&f);
    fixture_free(&g);
}

Test(log, a_bad_entry_changes_nothing_and_says_why)
{
    struct fixture f = fixture_new(), other = fixture_new();
    struct admission_made made = admit(&other, &other.founder, 10, "x");
    struct ppn_hash before = admission_digest(f.log);
    made.bytes[made.size - 1] ^= 1;
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_SIGNATURE);
    made.bytes[made.size - 1] ^= 1;
    made.size--;
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_INVALID);
    struct ppn_hash after = admission_digest(f.log);
    cr_assert(ppn_hash_equal(&before, &after));
    cr_assert_eq(f.update.count, 0);
    fixture_free(&f);
    fixture_free(&other);
}

Test(log, another_network_is_refused)
{
    struct fixture f = fixture_new(), g = fixture_empty(&f);
    struct admission_genesis genesis = {.network = "other", .root_count = 1};
    struct admission_signer signer = admission_keypair_signer(&f.founder);
    struct admission_made made;
    genesis.roots[0] = f.founder.key;
    cr_assert_eq(admission_make_genesis(NULL, (struct admission_authors){&signer, 1}, f.now,
                                        &genesis, &made, &f.why),
                 PPN_OK);
    cr_assert_eq(offer(&g, &made), ADMISSION_REFUSED);
    cr_assert_eq(g.why.code, PPN_ERROR_CONFLICT);
    fixture_free(&f);
    fixture_free(&g);
}

Test(log, one_sender_cannot_fill_the_waiting_room)
{
    struct fixture f = fixture_new(), g = fixture_empty(&f);
    enum admission_verdict verdict = ADMISSION_PENDING;
    for (uint32_t i = 0; i < 300; i++)
        admit(&f, &f.founder, (uint8_t)(1 + i % 250), "n");
    for (uint32_t i = 1; i < 300; i++) {
        verdict = admission_offer(g.log, g.now, 9, admission_record_at(f.log, i).envelope,
                                  &g.update, &g.why);
        cr_assert_eq(verdict,
                     i <= ADMISSION_PENDING_PER_SOURCE ? ADMISSION_PENDING : ADMISSION_REFUSED);
    }
    cr_assert_eq(g.why.code, PPN_ERROR_BUSY);
    fixture_free(&f);
    fixture_free(&g);
}

Test(log, members_are_found_by_name_and_by_fingerprint)
{
    struct fixture f = fixture_new();
    const struct admission_member *member;
    char print[PPN_FINGERPRINT_TEXT];
    struct ppn_node_id id = node_id(10);
    admit(&f, &f.founder, 10, "laptop");
    ppn_fingerprint(&id, print);
    cr_assert_eq(admission_member_find(f.log, "laptop", &member), PPN_OK);
    cr_assert_eq(admission_member_find(f.log, print, &member), PPN_OK);
    cr_assert_eq(admission_member_find(f.log, "deadbeef", &member), PPN_ERROR_NOT_FOUND);
    cr_assert_eq(admission_member_find(f.log, "dead", &member), PPN_ERROR_NOT_FOUND);
    fixture_free(&f);
}

Test(log, an_audit_tells_who_admitted_a_node_on_whose_authority)
{
    struct fixture f = fixture_new();
    struct admission_keypair second = pair(2);
    static struct admission_audit audit;
    struct ppn_node_id id = node_id(10), stranger = node_id(11);
    add_admin(&f, &f.founder, 2, ADMISSION_POWER_ADMIT);
    admit(&f, &second, 10, "laptop");
    struct admission_key key = pair(10).key;
    revoke(&f, &f.founder, &key);
    cr_assert_eq(admission_audit_node(f.log, &id, &audit), PPN_OK);
    cr_assert_eq(audit.count, 4);
    cr_assert(strstr(audit.lines[0].text, "admits node laptop") != NULL);
    cr_assert(strstr(audit.lines[0].text, "by admin admin-2") != NULL);
    cr_assert(strstr(audit.lines[0].text, "ended: the node was revoked") != NULL);
    cr_assert(strstr(audit.lines[1].text, "makes admin-2") != NULL);
    cr_assert(strstr(audit.lines[2].text, "founds the network office") != NULL);
    cr_assert(strstr(audit.lines[3].text, "revokes") != NULL);
    cr_assert_eq(admission_audit_node(f.log, &stranger, &audit), PPN_ERROR_NOT_FOUND);
    fixture_free(&f);
}

Test(log, a_flood_of_contradictions_is_bounded_and_blocks_nobody)
{
    struct fixture a = fixture_new();
    struct admission_keypair rogue = pair(2), honest = pair(3);
    struct admission_keypair *by = &rogue;
    add_admin(&a, &a.founder, 2, ADMISSION_POWER_ADMIT);
    add_admin(&a, &a.founder, 3, ADMISSION_POWERS_ADMIN);
    struct fixture b = fixture_empty(&a), maker = fixture_empty(&a);
    copy_all(&a, &b);
    copy_all(&a, &maker);
    enum admission_verdict verdict = ADMISSION_REFUSED;
    for (uint32_t i = 0; i < 2 * (ADMISSION_FORKS_MAX + 8); i++) {
        struct admission_entry entry = {.kind = ADMISSION_DENY};
        entry.as.deny.node = node_id((uint8_t)(20 + i));
        struct admission_made made = make_by(&maker, &by, 1, entry);
        verdict = offer(i % 2 == 0 ? &a : &b, &made);
        cr_assert_eq(verdict,
                     i / 2 <= ADMISSION_FORKS_MAX ? ADMISSION_ACCEPTED : ADMISSION_REFUSED);
    }
    cr_assert_eq(b.why.code, PPN_ERROR_FULL);
    admit(&b, &honest, 10, "laptop");
    for (uint32_t i = admission_entry_count(b.log); i-- > 0;)
        verdict = admission_offer(a.log, a.now, 1, admission_record_at(b.log, i).envelope,
                                  &a.update, &a.why);
    cr_assert(is_member(&a, 10));
    cr_assert_leq(admission_entry_count(a.log), 3 + 1 + ADMISSION_FORKS_MAX + 1 + 16);
    fixture_free(&a);
    fixture_free(&b);
    fixture_free(&maker);
}
