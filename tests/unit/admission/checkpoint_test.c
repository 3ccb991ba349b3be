// SPDX-License-Identifier: ISC
#include "admission/checkpoint.h"
#include "admission/query_alarms.h"
#include "admission/sync.h"
#include "fixture.h"

/* What a checkpoint drops, who may make one, and what a log does that has to take it from others.
 */

static struct admission_made checkpoint(struct fixture *f, struct admission_keypair *by)
{
    struct admission_entry entry = {.kind = ADMISSION_CHECKPOINT};
    return make_by(f, &by, 1, entry);
}

static void close_it(struct fixture *f)
{
    struct admission_keypair drawer = pair(200);
    struct admission_made made = checkpoint(f, &drawer);
    cr_assert_eq(offer(f, &made), ADMISSION_ACCEPTED, "%s", f->why.text);
}

static enum admission_verdict offer_bytes(struct fixture *f, struct ppn_slice bytes)
{
    f->why = (struct ppn_failure){0};
    return admission_offer(f->log, f->now, 1, bytes, &f->update, &f->why);
}

static enum admission_verdict transfer(const struct fixture *from, uint32_t index,
                                       struct fixture *to)
{
    uint8_t buffer[ADMISSION_RECORD_MAX];
    return offer_bytes(to, admission_transfer_at(from->log, index, buffer));
}

/* Members 10 and 11, 12 revoked, an invite that was closed, eight seals. */
static struct fixture with_history(void)
{
    struct fixture f = fixture_new();
    struct ppn_node_id gone = node_id(12);
    struct admission_key key = admission_node_key(&gone);
    admit(&f, &f.founder, 10, "ant");
    admit(&f, &f.founder, 11, "bee");
    admit(&f, &f.founder, 12, "cat");
    revoke(&f, &f.founder, &key);
    invite(&f, &f.founder, 60, 2, 0);
    key = pair(60).key;
    revoke(&f, &f.founder, &key);
    for (int i = 0; i < 8; i++)
        seal(&f, &f.founder);
    return f;
}

Test(checkpoint, drops_what_nothing_depends_on_and_changes_nobody)
{
    struct fixture f = with_history();
    struct ppn_hash before = admission_members_digest(f.log);
    uint32_t kept, dropped, count = admission_entry_count(f.log);
    admission_checkpoint_preview(f.log, &kept, &dropped);
    cr_assert_eq(kept + dropped, count);
    close_it(&f);
    struct ppn_hash after = admission_members_digest(f.log);
    struct admission_checkpoint_state state = admission_checkpoint_now(f.log);
    cr_assert(ppn_hash_equal(&before, &after), "members, admins and policy are as they were");
    cr_assert_eq(state.number, 1);
    cr_assert_eq(state.kept, kept);
    cr_assert_eq(state.dropped, dropped);
    cr_assert_eq(admission_entry_count(f.log), kept + 1);
    /* Genesis, three admissions, a revocation, the last seal: neither the invite nor its closing.
     */
    cr_assert_eq(kept, 6, "%u", kept);
    cr_assert_eq(f.update.items[f.update.count - 1].kind, ADMISSION_HEADS_CHANGED);
    cr_assert(is_member(&f, 10) && is_member(&f, 11) && !is_member(&f, 12));
    fixture_free(&f);
}

Test(checkpoint, is_for_recovery_keys_and_for_what_follows_from_the_log)
{
    struct fixture f = with_history();
    struct admission_keypair drawer = pair(200);
    struct admission_made by_root = checkpoint(&f, &f.founder), right = checkpoint(&f, &drawer);
    uint32_t count = admission_entry_count(f.log);
    cr_assert_eq(offer(&f, &by_root), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_UNAUTHORIZED);
    /* Made before another admission, by a copy of the log that lacks it: fine at its own place. */
    admit(&f, &f.founder, 13, "dog");
    cr_assert_eq(offer(&f, &right), ADMISSION_ACCEPTED, "%s", f.why.text);
    cr_assert(is_member(&f, 13), "what lies beside the checkpoint enters again");
    cr_assert_lt(admission_entry_count(f.log), count);
    fixture_free(&f);
}

Test(checkpoint, that_keeps_something_else_is_refused)
{
    struct fixture f = with_history();
    struct admission_keypair drawer = pair(200), *by = &drawer;
    struct admission_entry entry = {.kind = ADMISSION_CHECKPOINT};
    struct admission_made right = make_by(&f, &by, 1, entry);
    struct admission_envelope envelope;
    cr_assert_eq(admission_envelope_decode(admission_made_slice(&right), &envelope), PPN_OK);
    cr_assert_eq(admission_body_decode(envelope.body, &entry), PPN_OK);
    entry.as.checkpoint.digest.bytes[0] ^= 1;
    uint8_t bytes[ADMISSION_BODY_MAX], buffer[ADMISSION_SIGN_TRANSCRIPT];
    struct ppn_writer body = ppn_writer(bytes, sizeof(bytes));
    cr_assert_eq(admission_body_encode(&entry, &body), PPN_OK);
    struct ppn_hash id = admission_body_id(admission_crypto_sodium(), ppn_written(&body));
    struct admission_signer signer = admission_keypair_signer(&drawer);
    struct admission_made lie = {.id = id};
    envelope.body = ppn_written(&body);
    cr_assert(
        signer.sign(signer.ctx, admission_sign_transcript(&id, buffer), &envelope.signatures[0]));
    struct ppn_writer out = ppn_writer(lie.bytes, sizeof(lie.bytes));
    cr_assert_eq(admission_envelope_encode(&envelope, &out), PPN_OK);
    lie.size = (uint32_t)out.size;
    uint32_t count = admission_entry_count(f.log);
    cr_assert_eq(offer(&f, &lie), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_INVALID, "%s", f.why.text);
    cr_assert_eq(admission_entry_count(f.log), count);
    cr_assert_eq(offer(&f, &right), ADMISSION_ACCEPTED, "%s", f.why.text);
    fixture_free(&f);
}

Test(checkpoint, a_joiner_takes_nothing_before_all_of_it_is_there)
{
    struct fixture f = with_history();
    close_it(&f);
    struct fixture joiner = fixture_empty(&f);
    uint32_t count = admission_transfer_count(f.log);
    cr_assert_eq(transfer(&f, 1, &joiner), ADMISSION_REFUSED, "a record of nothing");
    for (uint32_t i = 0; i + 1 < count; i++) {
        cr_assert_eq(transfer(&f, i, &joiner), ADMISSION_STAGED, "%u: %s", i, joiner.why.text);
        cr_assert_eq(admission_member_count(joiner.log), 0);
        if (i > 0)
            cr_assert_eq(transfer(&f, i, &joiner), ADMISSION_KNOWN);
    }
    cr_assert_eq(transfer(&f, count - 1, &joiner), ADMISSION_ACCEPTED, "%s", joiner.why.text);
    expect_same(&f, &joiner);
    cr_assert_eq(transfer(&f, 1, &joiner), ADMISSION_KNOWN);
    fixture_free(&joiner);
    fixture_free(&f);
}

Test(checkpoint, records_that_it_did_not_sign_change_nothing)
{
    struct fixture f = with_history();
    struct fixture stale = fixture_empty(&f);
    uint8_t bytes[ADMISSION_RECORD_MAX], buffer[ADMISSION_RECORD_MAX];
    transfer(&f, 0, &stale);
    close_it(&f);
    uint32_t count = admission_transfer_count(f.log), had = admission_entry_count(stale.log);
    cr_assert_eq(transfer(&f, 0, &stale), ADMISSION_STAGED, "its past is not here");
    for (uint32_t i = 1; i < count; i++) {
        struct ppn_slice record = admission_transfer_at(f.log, i, buffer);
        memcpy(bytes, record.data, record.size);
        if (i + 1 == count)
            bytes[record.size - 1] ^= 1;
        enum admission_verdict verdict = offer_bytes(&stale, ppn_slice(bytes, record.size));
        cr_assert_eq(verdict, i + 1 < count ? ADMISSION_STAGED : ADMISSION_REFUSED);
    }
    cr_assert_eq(admission_entry_count(stale.log), had);
    for (uint32_t i = 0; i < count; i++)
        transfer(&f, i, &stale);
    expect_same(&f, &stale);
    fixture_free(&stale);
    fixture_free(&f);
}

/* Two sides, each with its own admin; one closes the log. */
Test(checkpoint, loses_nothing_that_the_other_side_decided)
{
    struct fixture f = with_history();
    struct admission_keypair office = pair(50);
    struct ppn_node_id victim = node_id(10);
    struct admission_key key = admission_node_key(&victim);
    add_admin(&f, &f.founder, 50, ADMISSION_POWERS_ADMIN);
    struct fixture away = fixture_empty(&f);
    copy_all(&f, &away);
    admit(&away, &office, 20, "elk");
    revoke(&away, &office, &key);
    admit(&away, &office, 21, "fox");
    admit(&f, &f.founder, 22, "gnu");
    close_it(&f);
    struct fixture *sides[2] = {&f, &away};
    for (int i = 0; i < 4; i++) {
        struct admission_sync_have have;
        static struct admission_sync_batch batch;
        uint8_t buffer[ADMISSION_RECORD_MAX];
        struct fixture *from = sides[i % 2 == 0 ? 0 : 1], *to = sides[i % 2 == 0 ? 1 : 0];
        for (batch.more = true; batch.more;) {
            admission_sync_have(to->log, &have);
            cr_assert_eq(admission_sync_answer(from->log, &have, &batch), PPN_OK);
            for (uint32_t k = 0; k < batch.count; k++)
                offer_bytes(to, admission_transfer_at(from->log, batch.indexes[k], buffer));
            batch.more = batch.more && batch.count > 0 &&
                         admission_staged(to->log, &(struct ppn_hash){{0}}, &(uint32_t){0});
        }
    }
    expect_same(&f, &away);
    cr_assert_eq(admission_pending_count(f.log) + admission_pending_count(away.log), 0);
    cr_assert(is_member(&f, 20) && is_member(&f, 21) && is_member(&f, 22));
    cr_assert(!is_member(&f, 10), "a revocation that the checkpoint had not seen stands");
    fixture_free(&away);
    fixture_free(&f);
}

Test(checkpoint, whoever_was_out_stays_out_and_alarms_stay)
{
    struct fixture f = with_history();
    struct admission_keypair office = pair(50);
    struct admission_alarms alarms;
    add_admin(&f, &f.founder, 50, ADMISSION_POWERS_ADMIN);
    struct fixture copy = fixture_empty(&f);
    copy_all(&f, &copy);
    admit(&f, &office, 30, "hen");
    struct admission_made other = admit(&copy, &office, 31, "ibis");
    cr_assert_eq(offer(&f, &other), ADMISSION_ACCEPTED);
    admission_alarms(f.log, &alarms);
    cr_assert_eq(alarms.contradicted_count, 1);
    close_it(&f);
    admission_alarms(f.log, &alarms);
    cr_assert_eq(alarms.contradicted_count, 1, "two entries with one number are kept");
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    struct admission_keypair *by = &f.founder;
    entry.as.admit.node = node_id(12);
    memset(entry.as.admit.wg_key, 99, sizeof(entry.as.admit.wg_key));
    memcpy(entry.as.admit.name, "cat", 4);
    struct admission_made again = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &again), ADMISSION_REFUSED);
    cr_assert_eq(f.why.code, PPN_ERROR_UNAUTHORIZED);
    by = &office;
    entry.as.admit.node = node_id(32);
    again = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &again), ADMISSION_REFUSED, "a key that contradicted itself");
    fixture_free(&copy);
    fixture_free(&f);
}
