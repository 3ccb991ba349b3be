// SPDX-License-Identifier: ISC
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "admission/sync.h"

Test(joining, an_admitted_node_is_a_member_with_its_own_address)
{
    struct fixture f = fixture_new();
    admit(&f, &f.founder, 10, "laptop");
    cr_assert_eq(f.update.items[0].kind, ADMISSION_PERSIST);
    cr_assert_eq(f.update.items[1].kind, ADMISSION_MEMBER_ADDED);
    cr_assert_eq(f.update.items[2].kind, ADMISSION_HEADS_CHANGED);
    const struct admission_member *member = admission_member_by_name(f.log, "laptop");
    uint8_t address[16];
    struct ppn_node_id id = node_id(10);
    struct ppn_hash network = admission_network(f.log);
    admission_mesh_address(&network, &id, address);
    cr_assert_eq(memcmp(member->address, address, 16), 0);
    address[15] = 77; /* a VM of the node */
    cr_assert_eq(admission_member_by_address(f.log, address), member);
    cr_assert_eq(admission_member_by_wg_key(f.log, member->wg_key), member);
    fixture_free(&f);
}

Test(joining, a_revoked_node_is_gone_and_never_returns)
{
    struct fixture f = fixture_new();
    struct admission_key key = pair(10).key;
    struct ppn_node_id id = node_id(10);
    struct admission_made made;
    struct admission_admit again = {.node = id, .name = "laptop"};
    struct admission_signer founder = admission_keypair_signer(&f.founder);
    admit(&f, &f.founder, 10, "laptop");
    revoke(&f, &f.founder, &key);
    cr_assert_eq(f.update.items[1].kind, ADMISSION_MEMBER_REMOVED);
    cr_assert_eq(f.update.items[1].member.wg_key[0], 10);
    cr_assert_not(is_member(&f, 10));
    cr_assert_eq(admission_standing(f.log, &id), ADMISSION_REVOKED);
    memset(again.wg_key, 9, sizeof again.wg_key);
    cr_assert_eq(admission_make_admit(f.log, &founder, f.now, &again, &made, &f.why),
                 PPN_ERROR_CONFLICT);
    struct admission_entry entry = {.kind = ADMISSION_ADMIT, .as.admit = again};
    struct admission_keypair *by = &f.founder;
    made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_REFUSED);
    fixture_free(&f);
}

Test(joining, an_admission_that_raced_the_revocation_stays_void)
{
    struct fixture f = fixture_new();
    struct admission_key key = pair(10).key;
    add_admin(&f, &f.founder, 2, ADMISSION_POWERS_ADMIN);
    struct fixture g = fixture_empty(&f);
    struct admission_keypair other = pair(2);
    copy_all(&f, &g);
    admit(&g, &other, 10, "laptop");
    revoke(&f, &f.founder, &key);
    copy_all(&g, &f);
    copy_all(&f, &g);
    cr_assert_not(is_member(&f, 10));
    expect_same(&f, &g);
    fixture_free(&f);
    fixture_free(&g);
}

Test(joining, a_concurrent_denial_beats_an_admission_and_a_later_admission_beats_a_denial)
{
    struct fixture f = fixture_new();
    struct admission_keypair other = pair(2);
    struct admission_made made;
    struct ppn_node_id id = node_id(10);
    add_admin(&f, &f.founder, 2, ADMISSION_POWERS_ADMIN);
    struct fixture g = fixture_empty(&f);
    copy_all(&f, &g);
    admit(&g, &other, 10, "laptop");
    struct admission_signer founder = admission_keypair_signer(&f.founder);
    cr_assert_eq(admission_make_deny(f.log, &founder, f.now, &id, "unknown", &made, &f.why),
                 PPN_OK);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert_eq(admission_standing(f.log, &id), ADMISSION_DENIED);
    copy_all(&g, &f);
    cr_assert_not(is_member(&f, 10));
    admit(&f, &f.founder, 10, "laptop");
    cr_assert(is_member(&f, 10));
    copy_all(&f, &g);
    expect_same(&f, &g);
    fixture_free(&f);
    fixture_free(&g);
}

Test(joining, one_use_of_an_invite_raced_through_four_members_admits_one_everywhere)
{
    struct fixture f = fixture_new(), seeds[4];
    struct admission_made made;
    for (uint8_t i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "seed-%u", i);
        admit(&f, &f.founder, (uint8_t)(10 + i), name);
    }
    invite(&f, &f.founder, 100, 1, 0);
    for (uint8_t i = 0; i < 4; i++) {
        seeds[i] = fixture_empty(&f);
        copy_all(&f, &seeds[i]);
        struct admission_keypair seed = pair((uint8_t)(10 + i));
        struct admission_signer signer = admission_keypair_signer(&seed);
        struct admission_request joiner = request(&f, (uint8_t)(50 + i), "joiner", 100);
        cr_assert_eq(
            admission_make_redeem(seeds[i].log, &signer, f.now, &joiner, &made, &seeds[i].why),
            PPN_OK, "%s", seeds[i].why.text);
        cr_assert_eq(offer(&seeds[i], &made), ADMISSION_ACCEPTED, "%s", seeds[i].why.text);
        joiner = request(&f, 60, "late", 100);
        cr_assert_eq(
            admission_make_redeem(seeds[i].log, &signer, f.now, &joiner, &made, &seeds[i].why),
            PPN_ERROR_REFUSED);
    }
    for (uint32_t i = 0; i < 4; i++)
        copy_all(&seeds[3 - i], &f);
    uint32_t joined = 0;
    for (uint8_t i = 0; i < 4; i++)
        joined += is_member(&f, (uint8_t)(50 + i));
    cr_assert_eq(joined, 1);
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t k = 0; k < 4; k++)
            copy_all(&seeds[(i + k) % 4], &seeds[i]);
        expect_same(&f, &seeds[i]);
    }
    for (uint32_t i = 0; i < 4; i++)
        fixture_free(&seeds[i]);
    fixture_free(&f);
}

Test(joining, an_invite_ends_by_its_uses_its_time_and_its_withdrawal)
{
    struct fixture f = fixture_new();
    struct admission_keypair seed = pair(10);
    struct admission_signer signer = admission_keypair_signer(&seed);
    struct admission_made made;
    struct admission_key closed = pair(102).key;
    admit(&f, &f.founder, 10, "seed");
    invite(&f, &f.founder, 100, 2, 0);
    invite(&f, &f.founder, 101, 1, f.now.unix_ms + 1000);
    invite(&f, &f.founder, 102, 1, 0);
    revoke(&f, &f.founder, &closed);
    for (uint8_t i = 0; i < 3; i++) {
        struct admission_request joiner = request(&f, (uint8_t)(20 + i), "x", 100);
        enum ppn_error error = admission_make_redeem(f.log, &signer, f.now, &joiner, &made, &f.why);
        cr_assert_eq(error, i < 2 ? PPN_OK : PPN_ERROR_REFUSED);
        if (error == PPN_OK)
            cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    }
    struct admission_request late = request(&f, 30, "late", 101);
    struct ppn_wall after = {f.now.unix_ms + 1001};
    cr_assert_eq(admission_make_redeem(f.log, &signer, after, &late, &made, &f.why),
                 PPN_ERROR_REFUSED);
    late = request(&f, 31, "late", 102);
    cr_assert_eq(admission_make_redeem(f.log, &signer, f.now, &late, &made, &f.why),
                 PPN_ERROR_REFUSED);
    cr_assert_eq(admission_member_count(f.log), 3);
    fixture_free(&f);
}

Test(joining, names_are_unique_and_the_first_keeps_its_own)
{
    struct fixture f = fixture_new();
    char expected[PPN_NAME_MAX + 1], hex[PPN_HEX_MAX];
    struct ppn_node_id second = node_id(11);
    admit(&f, &f.founder, 10, "laptop");
    admit(&f, &f.founder, 11, "laptop");
    ppn_hex(second.bytes, sizeof second.bytes, hex);
    snprintf(expected, sizeof expected, "laptop-%.4s", hex);
    cr_assert_str_eq(admission_member_by_id(f.log, &second)->name, expected);
    struct admission_key first = pair(10).key;
    revoke(&f, &f.founder, &first);
    cr_assert_str_eq(admission_member_by_id(f.log, &second)->name, "laptop");
    fixture_free(&f);
}

Test(joining, a_wireguard_key_has_one_owner_and_a_node_may_change_its_own)
{
    struct fixture f = fixture_new();
    struct admission_keypair node = pair(10);
    struct admission_signer signer = admission_keypair_signer(&node);
    struct admission_made made;
    uint8_t taken[32], fresh[32];
    memset(taken, 11, sizeof taken);
    memset(fresh, 99, sizeof fresh);
    admit(&f, &f.founder, 10, "a");
    admit(&f, &f.founder, 11, "b");
    cr_assert_eq(admission_make_rekey(f.log, &signer, f.now, taken, &made, &f.why),
                 PPN_ERROR_CONFLICT);
    struct admission_keypair *by = &node;
    struct admission_entry entry = {.kind = ADMISSION_REKEY};
    memcpy(entry.as.rekey.wg_key, taken, sizeof taken);
    made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert_eq(admission_member_by_name(f.log, "a")->wg_key[0], 10);
    cr_assert_eq(admission_make_rekey(f.log, &signer, f.now, fresh, &made, &f.why), PPN_OK);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert_eq(f.update.items[1].kind, ADMISSION_MEMBER_CHANGED);
    cr_assert_eq(admission_member_by_name(f.log, "a")->wg_key[0], 99);
    fixture_free(&f);
}

Test(joining, a_lease_ends_by_the_clock_and_a_seal_renews_it)
{
    struct fixture f = fixture_new();
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    struct admission_keypair *by = &f.founder;
    entry.as.admit.node = node_id(10);
    entry.as.admit.wg_key[0] = 1;
    entry.as.admit.lease_ms = 1000;
    strcpy(entry.as.admit.name, "laptop");
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert_eq(admission_deadline(f.log).unix_ms, f.now.unix_ms + 1000);
    admission_update_reset(&f.update);
    admission_tick(f.log, (struct ppn_wall){f.now.unix_ms + 1000}, &f.update);
    cr_assert_eq(f.update.items[0].kind, ADMISSION_MEMBER_REMOVED);
    struct ppn_node_id id = node_id(10);
    cr_assert_eq(admission_standing(f.log, &id), ADMISSION_EXPIRED);
    f.now.unix_ms += 2000;
    struct admission_signer signer = admission_keypair_signer(&f.founder);
    cr_assert_eq(admission_make_seal(f.log, &signer, f.now, f.now.unix_ms + 5000, &made, &f.why),
                 PPN_OK);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_assert(is_member(&f, 10));
    cr_assert_eq(admission_deadline(f.log).unix_ms, f.now.unix_ms + 5000);
    fixture_free(&f);
}

Test(joining, sync_fills_an_empty_log_and_stops)
{
    struct fixture f = fixture_new(), g = fixture_empty(&f);
    static struct admission_sync_batch batch;
    struct admission_sync_have have;
    for (uint8_t i = 10; i < 90; i++)
        admit(&f, &f.founder, i, "node");
    for (uint32_t round = 0; round < 4; round++) {
        admission_sync_have(g.log, &have);
        cr_assert_eq(admission_sync_answer(f.log, &have, &batch), PPN_OK);
        cr_assert_eq(batch.count, round == 0 ? 81 : 0);
        for (uint32_t i = 0; i < batch.count; i++)
            cr_assert_eq(admission_offer(g.log, g.now, 3,
                                         admission_record_at(f.log, batch.indexes[i]).envelope,
                                         &g.update, &g.why),
                         ADMISSION_ACCEPTED);
        admission_sync_have(f.log, &have);
        cr_assert_eq(admission_sync_wanted(g.log, &have), false);
    }
    expect_same(&f, &g);
    fixture_free(&f);
    fixture_free(&g);
}
