// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "lone_core.h"

/* What a member with a key of its own, and the keys of nobody else, cannot do: each attempt changes
 * nothing and is reported with the name of whoever made it. Member 2 attacks, member 1 is its
 * victim, member 0 is the core that is told. */

static void meet(struct lone_core *lone)
{
    lone_start(lone, 4);
    for (uint32_t i = 1; i < 4; i++)
        lone_item(lone, i, lone_life(lone, i, 3, 1, GOSSIP_STANDING_ALIVE));
    lone_item(lone, 1, lone_body(lone, 1, GOSSIP_ITEM_PROFILE, 3, 1, "at [2001:db8::1]:51820"));
    lone_clear(lone);
}

static void assert_refused(struct lone_core *lone)
{
    struct gossip_member victim = lone_member(lone, 1);
    cr_assert(victim.state == GOSSIP_ALIVE);
    cr_assert(victim.epoch == 3 && victim.incarnation == 1 && victim.profile_sequence == 1);
    cr_assert(victim.profile.size == 22 &&
              memcmp(victim.profile.data, "at [2001:db8::1]", 16) == 0);
}

static void assert_named(struct lone_core *lone, uint32_t times)
{
    cr_assert(lone_count(lone, GOSSIP_DO_FORGED) == times);
    for (uint32_t i = 0; i < lone->seen_count; i++)
        if (lone->seen[i].kind == GOSSIP_DO_FORGED)
            cr_assert(ppn_node_id_equal(&lone->seen[i].node, &lone->ids[2]));
}

/* As the victim's, with the attacker's signature. */
static void forge(struct lone_core *lone, struct gossip_item item)
{
    item.author = gossip_tag_of(&lone->ids[1]);
    lone_item(lone, 2, lone_sign(lone, 2, &item));
    lone_wait(lone, ppn_seconds(2)); /* its mute is over */
}

Test(gossip_forgery, another_members_record_is_refused_and_reported)
{
    struct lone_core lone;
    meet(&lone);
    forge(&lone, (struct gossip_item){.kind = GOSSIP_ITEM_LOAD,
                                      .epoch = 3,
                                      .sequence = 1,
                                      .body = ppn_slice("64 GiB free", 11)});
    assert_named(&lone, 1);
    cr_assert(lone_member(&lone, 1).load.size == 0);
    assert_refused(&lone);
    lone_close(&lone);
}

Test(gossip_forgery, another_members_address_is_refused_and_reported)
{
    struct lone_core lone;
    meet(&lone);
    forge(&lone, (struct gossip_item){.kind = GOSSIP_ITEM_PROFILE,
                                      .epoch = 3,
                                      .sequence = 2,
                                      .body = ppn_slice("at [2001:db8::bad]:51820", 24)});
    forge(&lone, (struct gossip_item){.kind = GOSSIP_ITEM_PROFILE,
                                      .epoch = 4,
                                      .sequence = 1,
                                      .body = ppn_slice("at [2001:db8::bad]:51820", 24)});
    assert_refused(&lone);
    assert_named(&lone, 1); /* of an epoch whose life is unknown nothing is looked at */
    lone_close(&lone);
}

Test(gossip_forgery, another_members_leave_is_refused_and_reported)
{
    struct lone_core lone;
    meet(&lone);
    forge(&lone, (struct gossip_item){.kind = GOSSIP_ITEM_LIFE,
                                      .epoch = 3,
                                      .sequence = 2,
                                      .standing = GOSSIP_STANDING_LEFT});
    forge(&lone, (struct gossip_item){.kind = GOSSIP_ITEM_LIFE,
                                      .epoch = UINT32_MAX,
                                      .sequence = 1,
                                      .standing = GOSSIP_STANDING_LEFT});
    assert_named(&lone, 2);
    assert_refused(&lone);
    lone_close(&lone);
}

Test(gossip_forgery, a_death_in_another_observers_name_is_refused_and_reported)
{
    struct lone_core lone;
    meet(&lone);
    struct gossip_item item = {.kind = GOSSIP_ITEM_VERDICT,
                               .author = gossip_tag_of(&lone.ids[3]),
                               .epoch = 3,
                               .sequence = 1,
                               .subject = gossip_tag_of(&lone.ids[1]),
                               .subject_epoch = 3,
                               .subject_incarnation = 1,
                               .opinion = GOSSIP_OPINION_NO_ANSWER};
    lone_item(&lone, 2, lone_sign(&lone, 2, &item));
    assert_named(&lone, 1);
    assert_refused(&lone);
    lone_close(&lone);
}

Test(gossip_forgery, one_liar_alone_kills_nobody)
{
    struct lone_core lone;
    meet(&lone);
    for (uint32_t i = 0; i < 40; i++) {
        lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 3, 1, GOSSIP_OPINION_NO_ANSWER));
        lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 3, 1, GOSSIP_OPINION_REFUSED));
    }
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_forgery, what_is_replayed_changes_nothing)
{
    struct lone_core lone;
    meet(&lone);
    uint8_t life[GOSSIP_LIFE_SIZE], accusation[GOSSIP_VERDICT_SIZE];
    struct ppn_slice old = lone_life(&lone, 1, 3, 1, GOSSIP_STANDING_ALIVE);
    memcpy(life, old.data, old.size);
    old = lone_verdict(&lone, 3, 1, 3, 1, GOSSIP_OPINION_NO_ANSWER);
    memcpy(accusation, old.data, old.size);
    lone_item(&lone, 1, lone_life(&lone, 1, 3, 2, GOSSIP_STANDING_LEFT));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_LEFT);
    lone_item(&lone, 2, ppn_slice(life, sizeof(life)));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_LEFT, "an old life wakes nobody");
    lone_item(&lone, 1, lone_life(&lone, 1, 4, 1, GOSSIP_STANDING_ALIVE));
    lone_item(&lone, 2, ppn_slice(accusation, sizeof(accusation)));
    lone_item(&lone, 2, ppn_slice(life, sizeof(life)));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    cr_assert(lone_member(&lone, 1).epoch == 4, "an old number takes nothing back");
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 0, "passing on old news is no crime");
    lone_close(&lone);
}

Test(gossip_forgery, a_cloned_key_is_proven_and_reported)
{
    struct lone_core lone;
    meet(&lone);
    lone_item(&lone, 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 3, 1, "from the copied disk"));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 1);
    for (uint32_t i = 0; i < lone.seen_count; i++)
        if (lone.seen[i].kind == GOSSIP_DO_CLONE)
            cr_assert(ppn_node_id_equal(&lone.seen[i].node, &lone.ids[1]));
    assert_refused(&lone);
    lone_close(&lone);
}

Test(gossip_forgery, a_clone_of_oneself_is_reported_and_outnumbered)
{
    struct lone_core lone;
    meet(&lone);
    lone_wait(&lone, ppn_seconds(31)); /* too late for a store that was lost */
    lone_clear(&lone);
    lone_item(&lone, 2, lone_life(&lone, 0, 9, 1, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 1);
    cr_assert(lone_count(&lone, GOSSIP_DO_PERSIST_EPOCH) == 1);
    struct gossip_event done = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 10};
    cr_assert(lone_step(&lone, &done) == PPN_OK);
    cr_assert(lone_member(&lone, 0).epoch == 10);
    lone_close(&lone);
}

Test(gossip_forgery, a_stranger_is_not_listened_to)
{
    struct lone_core lone;
    meet(&lone);
    struct gossip_event removed = {
        .kind = GOSSIP_EVENT_MEMBERS, .nodes = &lone.ids[2], .count = 1, .added = false};
    cr_assert(lone_step(&lone, &removed) == PPN_OK);
    lone_clear(&lone);
    lone_item(&lone, 2, lone_life(&lone, 1, 3, 2, GOSSIP_STANDING_LEFT));
    lone_item(&lone, 3, lone_verdict(&lone, 2, 1, 3, 1, GOSSIP_OPINION_NO_ANSWER));
    assert_refused(&lone);
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) == 0);
    lone_close(&lone);
}

Test(gossip_forgery, one_accuser_among_many_makes_nobody_shout)
{
    struct lone_core lone;
    meet(&lone);
    uint32_t before = lone_member(&lone, 0).incarnation;
    lone_item(&lone, 2, lone_verdict(&lone, 2, 0, 1, before, GOSSIP_OPINION_NO_ANSWER));
    lone_item(&lone, 2, lone_verdict(&lone, 2, 0, 1, before, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 0).incarnation == before);
    lone_item(&lone, 3, lone_verdict(&lone, 3, 0, 1, before, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 0).incarnation == before + 1, "two are no accident");
    lone_close(&lone);
}
