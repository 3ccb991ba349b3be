// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/query_alarms.h"
#include "fixture.h"

static struct fixture start(void)
{
    struct fixture f = fixture_new();
    add_admin(&f, &f.founder, 2, ADMISSION_POWERS_ADMIN);
    return f;
}

/* As a node that starts sees it: from the stored entries alone. */
static struct admission_alarms alarms_of(const struct fixture *f)
{
    struct admission_alarms running, restarted;
    struct fixture again = fixture_empty(f);
    copy_all(f, &again);
    admission_alarms(f->log, &running);
    admission_alarms(again.log, &restarted);
    cr_expect_eq(running.frozen_version, restarted.frozen_version);
    cr_expect_eq(running.seal_conflict, restarted.seal_conflict);
    cr_expect_eq(running.contradicted_count, restarted.contradicted_count);
    fixture_free(&again);
    return running;
}

static void recover(struct fixture *f, uint8_t root)
{
    struct admission_keypair recovery = pair(200), *by = &recovery;
    struct admission_entry entry = {.kind = ADMISSION_RECOVER};
    entry.as.recover.base = admission_network(f->log);
    entry.as.recover.root_needed = entry.as.recover.root_count = 1;
    entry.as.recover.roots[0] = pair(root).key;
    struct admission_made made = make_by(f, &by, 1, entry);
    cr_assert_eq(offer(f, &made), ADMISSION_ACCEPTED, "%s", f->why.text);
}

Test(alarms, none_where_nothing_is_wrong)
{
    struct fixture f = start();
    struct fixture empty = fixture_empty(&f);
    struct admission_alarms alarms;
    admission_alarms(empty.log, &alarms);
    cr_expect_eq(alarms.frozen_version + alarms.contradicted_count, 0);
    admit(&f, &f.founder, 10, "n10");
    seal(&f, &f.founder);
    remove_admin(&f, &f.founder, 2, -1);
    alarms = alarms_of(&f);
    cr_expect_eq(alarms.frozen_version + alarms.contradicted_count + alarms.more, 0);
    cr_expect_eq(alarms.seal_conflict, 0);
    fixture_free(&empty);
    fixture_free(&f);
}

Test(alarms, a_log_from_the_future)
{
    struct fixture f = start();
    struct admission_keypair *by = &f.founder;
    struct admission_entry entry = {.kind = ADMISSION_POLICY,
                                    .as.policy = {ADMISSION_VERSION + 3, 1, 1, 1, 1, 2, 0}};
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED);
    cr_expect_eq(alarms_of(&f).frozen_version, ADMISSION_VERSION + 3);
    fixture_free(&f);
}

Test(alarms, a_key_that_contradicts_itself_until_it_is_removed)
{
    struct fixture f = start();
    struct fixture other = fixture_empty(&f);
    struct admission_keypair second = pair(2);
    copy_all(&f, &other);
    admit(&f, &second, 10, "left");
    admit(&other, &second, 11, "right");
    copy_all(&other, &f);
    struct admission_alarms alarms = alarms_of(&f);
    cr_assert_eq(alarms.contradicted_count, 1);
    cr_expect(admission_key_equal(&alarms.contradicted[0].author, &second.key));
    cr_expect_eq(alarms.contradicted[0].seq, 1);
    remove_admin(&f, &f.founder, 2, -1);
    cr_expect_eq(alarms_of(&f).contradicted_count, 0, "a removal settles it");
    fixture_free(&other);
    fixture_free(&f);
}

Test(alarms, a_root_key_that_contradicts_itself_until_a_recovery)
{
    struct fixture f = start();
    struct fixture other = fixture_empty(&f);
    copy_all(&f, &other);
    admit(&f, &f.founder, 10, "left");
    admit(&other, &f.founder, 11, "right");
    copy_all(&other, &f);
    cr_assert_eq(alarms_of(&f).contradicted_count, 1);
    recover(&f, 50);
    cr_expect_eq(alarms_of(&f).contradicted_count, 0);
    fixture_free(&other);
    fixture_free(&f);
}

Test(alarms, a_node_that_contradicts_itself_until_it_is_out)
{
    struct fixture f = start();
    struct admission_keypair node = pair(10), *by = &node;
    admit(&f, &f.founder, 10, "n10");
    struct fixture other = fixture_empty(&f);
    copy_all(&f, &other);
    struct admission_entry entry = {.kind = ADMISSION_REKEY};
    memset(entry.as.rekey.wg_key, 0x77, sizeof(entry.as.rekey.wg_key));
    struct admission_made made = make_by(&f, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    memset(entry.as.rekey.wg_key, 0x78, sizeof(entry.as.rekey.wg_key));
    made = make_by(&other, &by, 1, entry);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    cr_assert_eq(alarms_of(&f).contradicted_count, 1);
    revoke(&f, &f.founder, &node.key);
    cr_expect_eq(alarms_of(&f).contradicted_count, 0);
    fixture_free(&other);
    fixture_free(&f);
}

Test(alarms, two_seals_with_one_number_until_a_recovery)
{
    struct fixture f = start();
    struct admission_keypair sealer = pair(5), fresh = pair(50);
    add_admin(&f, &f.founder, 5, ADMISSION_POWER_SEAL);
    struct fixture other = fixture_empty(&f);
    copy_all(&f, &other);
    seal(&f, &sealer);
    seal(&other, &other.founder);
    copy_all(&other, &f);
    cr_assert_eq(alarms_of(&f).seal_conflict, 1);
    cr_expect_eq(alarms_of(&f).contradicted_count, 0, "the two keys are different");
    recover(&f, 50);
    cr_expect_eq(alarms_of(&f).seal_conflict, 0, "a recovery settles it");
    seal(&f, &fresh);
    cr_expect_eq(alarms_of(&f).seal_conflict, 0);
    fixture_free(&other);
    fixture_free(&f);
}
