// SPDX-License-Identifier: ISC
#include "admission/explain.h"
#include "fixture.h"

/* Quorums that change, and what seals say. */

static struct admission_made policy(struct fixture *f, struct admission_keypair *by,
                                    uint32_t revoke, uint32_t delay)
{
    struct admission_entry entry = {.kind = ADMISSION_POLICY,
                                    .as.policy = {ADMISSION_VERSION, 1, revoke, 1, 1, 2, delay}};
    struct admission_made made = make_by(f, &by, 1, entry);
    cr_assert_eq(offer(f, &made), ADMISSION_ACCEPTED, "%s", f->why.text);
    return made;
}

static uint32_t revokers(const struct fixture *f)
{
    return admission_policy_now(f->log).revoke;
}

Test(policy, rules_after_as_many_seals_as_the_one_before_it_asks)
{
    struct fixture f = fixture_new();
    struct admission_policy_waiting waiting[4];
    policy(&f, &f.founder, 2, 2);
    cr_assert_eq(revokers(&f), 2, "the first policy asks for no delay");
    seal(&f, &f.founder);
    policy(&f, &f.founder, 3, 0);
    cr_assert_eq(revokers(&f), 2, "it waits");
    cr_assert_eq(admission_policy_waiting(f.log, waiting, 4), 1);
    cr_assert_eq(waiting[0].seals, 2);
    cr_assert_eq(waiting[0].policy.revoke, 3);
    seal(&f, &f.founder);
    cr_assert_eq(revokers(&f), 2);
    cr_assert_eq(admission_policy_waiting(f.log, waiting, 4), 1);
    cr_assert_eq(waiting[0].seals, 1);
    struct fixture other = fixture_empty(&f);
    seal(&f, &f.founder);
    cr_assert_eq(revokers(&f), 3);
    cr_assert_eq(admission_policy_waiting(f.log, waiting, 4), 0);
    copy_all(&f, &other);
    expect_same(&f, &other);
    policy(&f, &f.founder, 1, 0);
    cr_assert_eq(revokers(&f), 1, "the delay that ruled meanwhile is none");
    fixture_free(&other);
    fixture_free(&f);
}

/* A thief of the root key weakens the policy; the drawer's key undoes it before it rules. */
Test(policy, recovery_keys_undo_one_that_waits)
{
    struct fixture f = fixture_new();
    struct admission_keypair recovery = pair(200), *by = &recovery;
    policy(&f, &f.founder, 2, 2);
    uint64_t trusted = admission_record_at(f.log, admission_entry_count(f.log) - 1).seq;
    policy(&f, &f.founder, 1, 0);
    struct admission_entry entry = {.kind = ADMISSION_RECOVER};
    entry.as.recover.base = admission_network(f.log);
    entry.as.recover.root_needed = entry.as.recover.root_count = 1;
    entry.as.recover.roots[0] = pair(50).key;
    entry.as.recover.recovery_needed = entry.as.recover.recovery_count = 1;
    entry.as.recover.recovery[0] =
        admission_recovery_hash(admission_crypto_sodium(), &recovery.key);
    entry.as.recover.cut_count = 1;
    entry.as.recover.cuts[0] = (struct admission_cut){f.founder.key, trusted};
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    struct admission_keypair fresh = pair(50);
    struct admission_policy_waiting waiting[4];
    cr_assert_eq(admission_policy_waiting(f.log, waiting, 4), 0);
    for (int i = 0; i < 4; i++)
        seal(&f, &fresh);
    cr_assert_eq(revokers(&f), 2, "it never rules");
    fixture_free(&f);
}

Test(policy, a_seal_that_names_other_members_is_refused)
{
    struct fixture f = fixture_new(), other;
    struct admission_keypair *by = &f.founder;
    admit(&f, &f.founder, 10, "one");
    other = fixture_empty(&f);
    copy_all(&f, &other);
    struct admission_entry entry = {.kind = ADMISSION_SEAL};
    struct admission_made good = make_by(&f, &by, 1, entry);
    struct admission_envelope envelope;
    struct admission_entry wrong;
    cr_assert_eq(admission_envelope_decode(admission_made_slice(&good), &envelope), PPN_OK);
    cr_assert_eq(admission_body_decode(envelope.body, &wrong), PPN_OK);
    wrong.as.seal_of.members.bytes[0] ^= 1;
    uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    cr_assert_eq(admission_body_encode(&wrong, &body), PPN_OK);
    uint8_t transcript[ADMISSION_SIGN_TRANSCRIPT];
    struct admission_signer signer = admission_keypair_signer(by);
    struct admission_made bad = {
        .id = admission_body_id(admission_crypto_sodium(), ppn_written(&body))};
    envelope.body = ppn_written(&body);
    cr_assert(signer.sign(signer.ctx, admission_sign_transcript(&bad.id, transcript),
                          &envelope.signatures[0]));
    struct ppn_writer writer = ppn_writer(bad.bytes, sizeof bad.bytes);
    cr_assert_eq(admission_envelope_encode(&envelope, &writer), PPN_OK);
    bad.size = (uint32_t)writer.size;
    cr_assert_eq(offer(&f, &bad), ADMISSION_REFUSED);
    cr_assert(strstr(f.why.text, "other members") != NULL, "%s", f.why.text);
    cr_assert_eq(offer(&f, &good), ADMISSION_ACCEPTED);
    fixture_free(&other);
    fixture_free(&f);
}

/* Made before others' entries were known, it is checked against what it knew. */
Test(policy, a_seal_is_checked_at_its_own_place)
{
    struct fixture f = fixture_new();
    admit(&f, &f.founder, 10, "one");
    add_admin(&f, &f.founder, 5, ADMISSION_POWER_SEAL);
    struct fixture other = fixture_empty(&f);
    copy_all(&f, &other);
    struct admission_keypair sealer = pair(5);
    seal(&other, &sealer);
    admit(&f, &f.founder, 11, "two");
    struct admission_key gone = pair(10).key;
    revoke(&f, &f.founder, &gone);
    copy_all(&other, &f);
    copy_all(&f, &other);
    expect_same(&f, &other);
    fixture_free(&other);
    fixture_free(&f);
}
