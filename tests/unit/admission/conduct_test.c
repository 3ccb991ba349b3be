// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "admission/conduct.h"

static struct admission_conduct conduct;

static struct ppn_node_id member(uint32_t number)
{
    struct ppn_node_id id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static struct ppn_instant at(int64_t s)
{
    return ppn_after((struct ppn_instant){5000000000}, ppn_seconds(s));
}

static bool refused(int64_t s, uint32_t number, enum ppn_error error)
{
    struct ppn_node_id id = member(number);
    return admission_conduct_refused(&conduct, at(s), &id, error);
}

static int64_t muted_ms(int64_t s, uint32_t number)
{
    struct ppn_node_id id = member(number);
    return ppn_to_ms(admission_conduct_muted(&conduct, at(s), &id));
}

Test(conduct, a_bad_entry_mutes_its_sender_and_nobody_else)
{
    admission_conduct_init(&conduct);
    cr_assert(refused(0, 1, PPN_ERROR_SIGNATURE));
    cr_assert_eq(muted_ms(0, 1), 10000);
    cr_assert_eq(muted_ms(4, 1), 6000);
    cr_assert_eq(muted_ms(10, 1), 0);
    cr_assert_eq(muted_ms(0, 2), 0);
}

Test(conduct, what_may_be_said_in_good_faith_costs_nothing)
{
    admission_conduct_init(&conduct);
    for (int error = 0; error < PPN_ERROR_COUNT; error++) {
        bool bad = error == PPN_ERROR_INVALID || error == PPN_ERROR_SIGNATURE ||
                   error == PPN_ERROR_UNAUTHORIZED || error == PPN_ERROR_NOT_FOUND;
        cr_assert_eq(refused(0, (uint32_t)error, (enum ppn_error)error), bad, "%s",
                     ppn_error_text((enum ppn_error)error));
        cr_assert_eq(muted_ms(0, (uint32_t)error) > 0, bad);
    }
}

Test(conduct, each_mute_is_reported_once)
{
    uint32_t reports = 0;
    admission_conduct_init(&conduct);
    for (int64_t s = 0; s < 10; s++) {
        for (int i = 0; i < 1000; i++)
            reports += refused(s, 1, PPN_ERROR_INVALID);
    }
    cr_assert_eq(reports, 1);
    cr_assert_eq(muted_ms(9, 1), 1000, "frames under way do not lengthen a mute");
    cr_assert(refused(10, 1, PPN_ERROR_INVALID));
}

Test(conduct, mutes_double_up_to_ten_minutes_for_one_that_does_not_learn)
{
    static const int64_t expected_s[] = {10, 20, 40, 80, 160, 320, 600, 600, 600};
    int64_t now = 0;
    admission_conduct_init(&conduct);
    for (size_t i = 0; i < sizeof expected_s / sizeof expected_s[0]; i++) {
        cr_assert(refused(now, 1, PPN_ERROR_UNAUTHORIZED));
        cr_assert_eq(muted_ms(now, 1), 1000 * expected_s[i]);
        now += expected_s[i];
        cr_assert_eq(muted_ms(now, 1), 0);
    }
}

Test(conduct, half_an_hour_of_good_conduct_is_forgiven)
{
    admission_conduct_init(&conduct);
    refused(0, 1, PPN_ERROR_INVALID);
    refused(10, 1, PPN_ERROR_INVALID);
    cr_assert_eq(muted_ms(10, 1), 20000);
    refused(30 + ADMISSION_FORGIVEN_S - 1, 1, PPN_ERROR_INVALID);
    cr_assert_eq(muted_ms(30 + ADMISSION_FORGIVEN_S - 1, 1), 40000, "a second too early");
    int64_t end = 30 + ADMISSION_FORGIVEN_S - 1 + 40;
    refused(end + ADMISSION_FORGIVEN_S, 1, PPN_ERROR_INVALID);
    cr_assert_eq(muted_ms(end + ADMISSION_FORGIVEN_S, 1), 10000);
}

Test(conduct, a_full_table_forgets_who_is_forgiven_first)
{
    admission_conduct_init(&conduct);
    refused(0, 0, PPN_ERROR_INVALID);
    refused(10, 0, PPN_ERROR_INVALID); /* until 30 */
    for (uint32_t i = 1; i < ADMISSION_CONDUCT_MAX; i++)
        cr_assert(refused(i == 77 ? 11 : 12, i, PPN_ERROR_INVALID));
    cr_assert_eq(conduct.count, ADMISSION_CONDUCT_MAX);
    cr_assert(refused(13, 5000, PPN_ERROR_INVALID));
    cr_assert_eq(conduct.count, ADMISSION_CONDUCT_MAX);
    cr_assert_eq(muted_ms(13, 5000), 10000);
    cr_assert_eq(muted_ms(13, 0), 17000);
    for (uint32_t i = 1; i < ADMISSION_CONDUCT_MAX; i++)
        cr_assert_eq(muted_ms(13, i) > 0, i != 77, "%u", i);
}
