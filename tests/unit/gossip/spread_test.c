// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "lone_core.h"

enum { MEMBERS = 40 };

static uint32_t class_of(enum gossip_item_kind kind)
{
    return kind == GOSSIP_ITEM_PROFILE ? 1 : kind == GOSSIP_ITEM_LOAD ? 2 : 0;
}

/* The packet that answers a ping of `from`: it takes along what there is to tell. */
static const struct lone_seen *answer_to(struct lone_core *lone, uint32_t from)
{
    struct gossip_packet ping = {.kind = GOSSIP_PING, .probe = 5};
    lone_clear(lone);
    lone_packet(lone, from, &ping);
    const struct lone_seen *ack = lone_sent(lone, GOSSIP_ACK, from);
    cr_assert(ack != NULL);
    return ack;
}

static uint32_t count_class(const struct lone_seen *seen, uint32_t class)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < seen->packet.item_count; i++)
        count += class_of(seen->items[i]) == class;
    return count;
}

static void rest(struct lone_core *lone, int64_t seconds)
{
    for (int64_t tenth = 0; tenth < 10 * seconds; tenth++) {
        lone_answer(lone, 0, ppn_ms(100));
        lone_clear(lone);
    }
}

Test(gossip_spread, verdicts_then_membership_then_loads)
{
    static struct lone_core lone;
    lone_meet(&lone, 8);
    rest(&lone, 8);
    lone_item(&lone, 2, lone_body(&lone, 2, GOSSIP_ITEM_PROFILE, 1, 2, "profile"));
    for (uint32_t i = 3; i < 6; i++)
        lone_item(&lone, 2, lone_verdict(&lone, i, i + 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 2, GOSSIP_STANDING_ALIVE));
    lone_item(&lone, 2, lone_verdict(&lone, 6, 3, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_LOAD, 1, 2, "load"));
    const struct lone_seen *ack = answer_to(&lone, 7);
    cr_assert(ack->packet.item_count == 7, "%u", ack->packet.item_count);
    cr_assert(ack->items[0] == GOSSIP_ITEM_LIFE, "an objection before what it may make void");
    for (uint32_t i = 1; i < 5; i++)
        cr_assert(ack->items[i] == GOSSIP_ITEM_VERDICT);
    cr_assert(ack->items[5] == GOSSIP_ITEM_PROFILE && ack->items[6] == GOSSIP_ITEM_LOAD);
    lone_close(&lone);
}

/* However many lives wait, a profile and a load find room; what room they do not need, lives take.
 */
Test(gossip_spread, no_storm_of_one_kind_starves_the_next)
{
    static struct lone_core lone;
    char body[301];
    memset(body, 'p', 300);
    body[300] = '\0';
    lone_meet(&lone, MEMBERS);
    rest(&lone, 12);
    for (uint32_t i = 1; i < MEMBERS; i++)
        lone_item(&lone, i, lone_life(&lone, i, 1, 2, GOSSIP_STANDING_ALIVE));
    uint32_t lives = count_class(answer_to(&lone, 3), 0);
    cr_assert(lives == 13, "a datagram full of them: %u", lives);
    for (uint32_t i = 1; i < MEMBERS; i++) {
        lone_item(&lone, i, lone_body(&lone, i, GOSSIP_ITEM_PROFILE, 1, 2, body));
        lone_item(&lone, i, lone_body(&lone, i, GOSSIP_ITEM_LOAD, 1, 2, "load"));
    }
    const struct lone_seen *ack = answer_to(&lone, 3);
    cr_assert(count_class(ack, 0) >= 5, "lives %u", count_class(ack, 0));
    cr_assert(count_class(ack, 1) >= 1, "profiles %u", count_class(ack, 1));
    cr_assert(count_class(ack, 2) >= 1, "loads %u", count_class(ack, 2));
    for (uint32_t i = 1; i < ack->packet.item_count; i++)
        if (class_of(ack->items[i]) == 2)
            cr_assert(class_of(ack->items[i - 1]) > 0, "loads go after profiles");
    lone_close(&lone);
}

Test(gossip_spread, an_item_is_passed_on_so_many_times)
{
    static struct lone_core lone;
    static const struct {
        enum gossip_item_kind kind;
        uint32_t copies; /* in a network of 40 */
    } cases[] = {{GOSSIP_ITEM_LIFE, 9}, {GOSSIP_ITEM_PROFILE, 7}, {GOSSIP_ITEM_LOAD, 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint32_t copies = 0;
        lone_meet(&lone, MEMBERS);
        rest(&lone, 12);
        lone_item(&lone, 1,
                  cases[i].kind == GOSSIP_ITEM_LIFE
                      ? lone_life(&lone, 1, 1, 2, GOSSIP_STANDING_ALIVE)
                      : lone_body(&lone, 1, cases[i].kind, 1, 2, "news"));
        for (uint32_t tenth = 0; tenth < 30; tenth++) {
            for (uint32_t j = 0; j < lone.seen_count; j++)
                for (uint32_t k = 0; k < lone.seen[j].packet.item_count; k++)
                    copies += lone.seen[j].kind == GOSSIP_DO_SEND &&
                              lone.seen[j].items[k] == cases[i].kind;
            lone_clear(&lone);
            lone_answer(&lone, 0, ppn_ms(100));
        }
        cr_assert(copies == cases[i].copies, "kind %d: %u", (int)cases[i].kind, copies);
        lone_close(&lone);
    }
}

Test(gossip_spread, nobody_is_told_of_itself_and_no_suspect_of_news)
{
    static struct lone_core lone;
    lone_meet(&lone, 8);
    rest(&lone, 8);
    lone_item(&lone, 2, lone_body(&lone, 2, GOSSIP_ITEM_PROFILE, 1, 2, "profile"));
    cr_assert(count_class(answer_to(&lone, 2), 1) == 0);
    cr_assert(count_class(answer_to(&lone, 4), 1) == 1);
    for (uint32_t i = 3; i < 7; i++)
        lone_item(&lone, i, lone_verdict(&lone, i, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_SUSPECT);
    cr_assert(answer_to(&lone, 1)->packet.item_count == 0, "copies are few: none for the deaf");
    lone_close(&lone);
}
