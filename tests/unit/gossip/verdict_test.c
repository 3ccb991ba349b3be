// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "gossip/internal.h"
#include "lone_core.h"

/* Everybody but `silent` answers the core's pings for `ms`. */
static void answer_for(struct lone_core *lone, uint32_t silent, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        lone_answer(lone, silent, ppn_ms(ms < 100 ? ms : 100));
        lone_clear(lone);
    }
}

/* The observers of some member whom eight others observe, the core not among them. */
static uint32_t with_eight_observers(struct lone_core *lone, uint32_t observers[8])
{
    for (uint32_t subject = 1; subject < lone->members; subject++) {
        uint16_t indices[GOSSIP_TARGETS_MAX];
        uint16_t index =
            gossip_pool_node_find(lone->core->pool, gossip_tag_of(&lone->ids[subject]));
        uint32_t count = gossip_observers_of(lone->core, index, indices), others = 0;
        for (uint32_t i = 0; i < count && i < 8; i++)
            for (uint32_t k = 1; k < lone->members; k++)
                if (ppn_node_id_equal(&lone->core->pool->nodes[indices[i]].id, &lone->ids[k]))
                    observers[others++] = k;
        if (count == 8 && others == 8)
            return subject;
    }
    cr_assert_fail("no member has eight observers");
    return 0;
}

Test(gossip_verdict, voices_needed_of_eight)
{
    for (uint32_t accusers = 1; accusers <= 8; accusers++) {
        static struct lone_core lone;
        uint32_t observers[8];
        lone_meet(&lone, 40);
        uint32_t subject = with_eight_observers(&lone, observers);
        for (uint32_t i = 0; i < accusers; i++)
            lone_item(&lone, observers[i],
                      lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
        enum gossip_state at_once = accusers < 3 ? GOSSIP_ALIVE : GOSSIP_SUSPECT;
        cr_assert(lone_member(&lone, subject).state == at_once, "%u at once", accusers);
        answer_for(&lone, subject, 400);
        cr_assert(lone_member(&lone, subject).state == at_once, "%u may be objected to", accusers);
        answer_for(&lone, subject, 300);
        enum gossip_state then = accusers < 6 ? at_once : GOSSIP_DEAD;
        cr_assert(lone_member(&lone, subject).state == then, "%u after the window", accusers);
        lone_close(&lone);
    }
}

/* What kinds of items were wanted of any of the observers. */
static uint8_t asked(const struct lone_core *lone, const uint32_t observers[8])
{
    uint8_t kinds = 0;
    for (uint32_t i = 0; i < 8; i++) {
        const struct lone_seen *want = lone_sent(lone, GOSSIP_WANT, observers[i]);
        if (want != NULL)
            kinds |= want->packet.of.want.wants[0].kinds;
    }
    return kinds;
}

Test(gossip_verdict, few_voices_make_unreachable_and_the_others_are_asked_for)
{
    static struct lone_core lone;
    uint32_t observers[8];
    uint8_t kinds = 0;
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    answer_for(&lone, subject, 2000);
    for (uint32_t i = 0; i < 2; i++)
        lone_item(&lone, observers[i],
                  lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    for (uint32_t tenth = 0; tenth < 40; tenth++) {
        lone_clear(&lone);
        lone_answer(&lone, subject, ppn_ms(100));
        kinds |= asked(&lone, observers);
    }
    cr_assert(lone_member(&lone, subject).state == GOSSIP_UNREACHABLE);
    cr_assert(kinds == GOSSIP_WANT_VERDICT);
    for (uint32_t i = 2; i < 6; i++)
        lone_item(&lone, observers[i],
                  lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_DEAD);
    lone_close(&lone);
}

/* What was said while this node was away, objections excepted, condemns nobody at its return. */
Test(gossip_verdict, who_was_away_hears_first_what_it_missed)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    answer_for(&lone, subject, 2000);
    for (uint32_t i = 0; i < 5; i++)
        lone_item(&lone, observers[i],
                  lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    lone.now = ppn_after(lone.now, ppn_seconds(4));
    for (uint32_t i = 5; i < 8; i++)
        lone_item(&lone, observers[i],
                  lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT, "packets before the tick");
    cr_assert(asked(&lone, observers) == (GOSSIP_WANT_LIFE | GOSSIP_WANT_VERDICT));
    answer_for(&lone, subject, 1300);
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT);
    lone_item(&lone, observers[0], lone_life(&lone, subject, 1, 2, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, who_was_away_asks_about_whom_it_finds_accused)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    answer_for(&lone, subject, 2000);
    lone.now = ppn_after(lone.now, ppn_seconds(4));
    for (uint32_t i = 0; i < 3; i++)
        lone_item(&lone, observers[i],
                  lone_verdict(&lone, observers[i], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT);
    cr_assert(asked(&lone, observers) == (GOSSIP_WANT_LIFE | GOSSIP_WANT_VERDICT));
    lone_close(&lone);
}

Test(gossip_verdict, who_suspects_on_others_words_tells_the_suspect)
{
    uint32_t told = 0;
    for (uint32_t round = 0; round < 8; round++) {
        static struct lone_core lone;
        lone_meet(&lone, 8);
        uint32_t subject = 1 + round % 7;
        for (uint32_t i = 1; i < 8; i++)
            if (i != subject)
                lone_item(&lone, i,
                          lone_verdict(&lone, i, subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
        const struct lone_seen *news = lone_sent(&lone, GOSSIP_NEWS, subject);
        told += news != NULL && news->items[0] == GOSSIP_ITEM_VERDICT;
        lone_close(&lone);
    }
    cr_assert(told == 8, "up to eight members, each of them does");
}

Test(gossip_verdict, opinions_needed_by_number_of_observers)
{
    /* In a network where all observe all, one accuser more at a time. */
    static const struct {
        uint32_t members, suspect_at;
    } cases[] = {{4, 2}, {6, 2}, {8, 3}, {9, 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct lone_core lone;
        lone_meet(&lone, cases[i].members);
        for (uint32_t accuser = 2; accuser < cases[i].members; accuser++) {
            uint32_t accusers = accuser - 1;
            lone_item(&lone, accuser,
                      lone_verdict(&lone, accuser, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
            enum gossip_state wanted =
                accusers >= cases[i].suspect_at ? GOSSIP_SUSPECT : GOSSIP_ALIVE;
            cr_assert(lone_member(&lone, 1).state == wanted, "%u members, %u accusers",
                      cases[i].members, accusers);
        }
        lone_close(&lone);
    }
}

Test(gossip_verdict, a_refutation_voids_what_was_said)
{
    struct lone_core lone;
    lone_meet(&lone, 5);
    for (uint32_t accuser = 2; accuser < 5; accuser++)
        lone_item(&lone, accuser, lone_verdict(&lone, accuser, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_SUSPECT);
    lone_item(&lone, 2, lone_life(&lone, 1, 1, 2, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_item(&lone, 3, lone_verdict(&lone, 3, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    lone_item(&lone, 4, lone_verdict(&lone, 4, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE, "replays accuse a void incarnation");
    lone_close(&lone);
}

/* Signed by each of the first `count` of the observers. */
static void all_say(struct lone_core *lone, const uint32_t observers[8], uint32_t count,
                    uint32_t subject, uint32_t incarnation, enum gossip_opinion opinion)
{
    for (uint32_t i = 0; i < count; i++)
        lone_item(lone, observers[i],
                  lone_verdict(lone, observers[i], subject, 1, incarnation, opinion));
}

static uint32_t seen_alive(const struct lone_core *lone, uint32_t subject)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < lone->seen_count; i++)
        times += lone->seen[i].kind == GOSSIP_DO_MEMBER &&
                 ppn_node_id_equal(&lone->seen[i].node, &lone->ids[subject]) &&
                 lone->seen[i].state == GOSSIP_ALIVE;
    return times;
}

/* A few pairs that do not reach each other are no reason to keep a member out. */
Test(gossip_verdict, a_bad_link_takes_more_than_half)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    all_say(&lone, observers, 4, subject, 1, GOSSIP_OPINION_DEGRADED);
    answer_for(&lone, 0, 4000);
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE);
    lone_item(&lone, observers[4],
              lone_verdict(&lone, observers[4], subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT, "five of eight, one deaf");
    lone_item(&lone, observers[4],
              lone_verdict(&lone, observers[4], subject, 1, 1, GOSSIP_OPINION_OK));
    answer_for(&lone, 0, 100);
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, a_refutation_leaves_a_bad_link_bad)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    all_say(&lone, observers, 5, subject, 1, GOSSIP_OPINION_DEGRADED);
    cr_assert(lone_member(&lone, subject).cause == GOSSIP_CAUSE_DEGRADED);
    for (uint32_t incarnation = 1; incarnation < 4; incarnation++) {
        all_say(&lone, observers, 7, subject, incarnation, GOSSIP_OPINION_NO_ANSWER);
        answer_for(&lone, subject, 700);
        cr_assert(lone_member(&lone, subject).state == GOSSIP_DEAD);
        lone_clear(&lone);
        lone_item(&lone, subject,
                  lone_life(&lone, subject, 1, incarnation + 1, GOSSIP_STANDING_ALIVE));
        cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT);
        cr_assert(lone_member(&lone, subject).cause == GOSSIP_CAUSE_DEGRADED);
        cr_assert(seen_alive(&lone, subject) == 0, "not for a moment");
    }
    lone_close(&lone);
}

Test(gossip_verdict, a_bad_link_is_bad_until_its_accusers_say_otherwise)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    all_say(&lone, observers, 5, subject, 1, GOSSIP_OPINION_DEGRADED);
    all_say(&lone, observers, 5, subject, 1, GOSSIP_OPINION_NO_ANSWER);
    lone_item(&lone, subject, lone_life(&lone, subject, 1, 2, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT);
    all_say(&lone, observers, 5, subject, 2, GOSSIP_OPINION_OK);
    answer_for(&lone, 0, 100);
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE);
    all_say(&lone, observers, 5, subject, 2, GOSSIP_OPINION_NO_ANSWER);
    cr_assert(lone_member(&lone, subject).state == GOSSIP_SUSPECT);
    lone_item(&lone, subject, lone_life(&lone, subject, 1, 3, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE, "what was taken back is gone");
    lone_close(&lone);
}

Test(gossip_verdict, a_new_epoch_is_judged_anew)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    all_say(&lone, observers, 5, subject, 1, GOSSIP_OPINION_DEGRADED);
    all_say(&lone, observers, 5, subject, 1, GOSSIP_OPINION_NO_ANSWER);
    lone_item(&lone, subject, lone_life(&lone, subject, 2, 1, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, subject).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, a_case_that_nobody_renews_is_closed)
{
    static struct lone_core lone;
    uint32_t observers[8];
    lone_meet(&lone, 40);
    uint32_t subject = with_eight_observers(&lone, observers);
    uint16_t index = gossip_pool_node_find(lone.core->pool, gossip_tag_of(&lone.ids[subject]));
    all_say(&lone, observers, 1, subject, 1, GOSSIP_OPINION_DEGRADED);
    all_say(&lone, observers, 1, subject, 1, GOSSIP_OPINION_NO_ANSWER);
    cr_assert(gossip_case_of(lone.core, index) != NULL);
    answer_for(&lone, 0, 320000);
    cr_assert(gossip_case_of(lone.core, index) == NULL);
    lone_close(&lone);
}

Test(gossip_verdict, who_is_refused_hears_it_before_it_is_condemned)
{
    static struct lone_core lone;
    lone_meet(&lone, 9);
    lone_wait(&lone, ppn_ms(50));
    lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 1, 1, GOSSIP_OPINION_REFUSED));
    lone_clear(&lone);
    lone_item(&lone, 3, lone_verdict(&lone, 3, 1, 1, 1, GOSSIP_OPINION_REFUSED));
    const struct lone_seen *news = lone_sent(&lone, GOSSIP_NEWS, 1);
    cr_assert(news != NULL && news->packet.item_count == 2);
    cr_assert(news->items[0] == GOSSIP_ITEM_VERDICT);
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 2, GOSSIP_STANDING_ALIVE));
    lone_wait(&lone, ppn_ms(300));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, nobody_accuses_what_was_never_signed)
{
    struct lone_core lone;
    lone_meet(&lone, 5);
    for (uint32_t accuser = 2; accuser < 5; accuser++) {
        lone_item(&lone, accuser, lone_verdict(&lone, accuser, 1, 1, 7, GOSSIP_OPINION_NO_ANSWER));
        lone_item(&lone, accuser,
                  lone_verdict(&lone, accuser, 1, UINT32_MAX, 1, GOSSIP_OPINION_NO_ANSWER));
    }
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, an_accused_core_answers_with_one_new_incarnation)
{
    struct lone_core lone;
    lone_meet(&lone, 4);
    uint32_t before = lone_member(&lone, 0).incarnation;
    lone_item(&lone, 1, lone_verdict(&lone, 1, 0, 1, before, GOSSIP_OPINION_NO_ANSWER));
    lone_item(&lone, 2, lone_verdict(&lone, 2, 0, 1, before, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 0).incarnation == before + 1);
    lone_item(&lone, 3, lone_verdict(&lone, 3, 0, 1, before + 40, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 0).incarnation == before + 1, "no exhaustion from outside");
    lone_close(&lone);
}

Test(gossip_verdict, one_silent_member_of_three_is_suspected_only_when_the_other_agrees)
{
    struct lone_core lone;
    lone_meet(&lone, 3);
    answer_for(&lone, 1, 1500);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    answer_for(&lone, 1, 3000);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_DEAD);
    cr_assert(lone_member(&lone, 1).cause == GOSSIP_CAUSE_NO_ANSWER);
    lone_close(&lone);
}

Test(gossip_verdict, alone_the_others_are_unreachable_and_never_dead)
{
    for (uint32_t members = 2; members < 6; members++) {
        struct lone_core lone;
        lone_meet(&lone, members);
        lone_wait(&lone, ppn_seconds(60));
        for (uint32_t i = 1; i < members; i++)
            cr_assert(lone_member(&lone, i).state == GOSSIP_UNREACHABLE, "%u of %u is %d", i,
                      members, (int)lone_member(&lone, i).state);
        lone_close(&lone);
    }
}

Test(gossip_verdict, a_refusing_host_is_an_agent_that_died)
{
    struct lone_core lone;
    lone_meet(&lone, 2);
    struct gossip_event refused = {.kind = GOSSIP_EVENT_REFUSED, .node = lone.ids[1]};
    cr_assert(lone_step(&lone, &refused) == PPN_OK);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE, "once may be a restart");
    lone_wait(&lone, ppn_ms(70));
    cr_assert(lone_step(&lone, &refused) == PPN_OK);
    lone_wait(&lone, ppn_ms(300));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_DEAD);
    cr_assert(lone_member(&lone, 1).cause == GOSSIP_CAUSE_REFUSED);
    lone_close(&lone);
}

Test(gossip_verdict, a_late_tick_condemns_nobody)
{
    struct lone_core lone;
    lone_meet(&lone, 4);
    answer_for(&lone, 9, 3000);
    lone.now = ppn_after(lone.now, ppn_seconds(8));
    cr_assert(lone_step(&lone, &(struct gossip_event){.kind = GOSSIP_EVENT_TICK}) == PPN_OK);
    answer_for(&lone, 9, 3000);
    for (uint32_t i = 1; i < 4; i++)
        cr_assert(lone_member(&lone, i).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_verdict, lost_members_are_retried_and_taken_back)
{
    struct lone_core lone;
    lone_meet(&lone, 2);
    lone_wait(&lone, ppn_seconds(3600));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_UNREACHABLE);
    lone_clear(&lone);
    answer_for(&lone, 9, 12000);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE, "an hour later still");
    lone_close(&lone);
}

Test(gossip_verdict, who_leaves_is_not_missed)
{
    struct lone_core lone;
    lone_meet(&lone, 3);
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 2, GOSSIP_STANDING_LEFT));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_LEFT);
    lone_clear(&lone);
    answer_for(&lone, 1, 5000);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_LEFT);
    lone_item(&lone, 1, lone_life(&lone, 1, 2, 1, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE, "and may come back");
    lone_close(&lone);
}

Test(gossip_verdict, a_removed_member_leaves_nothing_behind)
{
    struct lone_core lone;
    lone_meet(&lone, 4);
    lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    struct gossip_event removed = {
        .kind = GOSSIP_EVENT_MEMBERS, .nodes = &lone.ids[1], .count = 1, .added = false};
    cr_assert(lone_step(&lone, &removed) == PPN_OK);
    struct gossip_member member;
    cr_assert(gossip_member(lone.core, &lone.ids[1], &member) == PPN_ERROR_NOT_FOUND);
    cr_assert(gossip_member_count(lone.core) == 3);
    cr_assert(lone_count(&lone, GOSSIP_DO_FORGET) == 1);
    struct gossip_packet ping = {.kind = GOSSIP_PING, .probe = 3};
    lone_clear(&lone);
    lone_packet(&lone, 1, &ping);
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) == 0, "strangers get no answer");
    lone_wait(&lone, ppn_seconds(5));
    lone_close(&lone);
}
