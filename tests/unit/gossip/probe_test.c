// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "lone_core.h"

Test(gossip_probe, who_was_asked_says_that_it_still_looks)
{
    struct lone_core lone;
    lone_meet(&lone, 4);
    lone_wait(&lone, ppn_seconds(1)); /* the pings of the start are over */
    struct gossip_packet check = {.kind = GOSSIP_CHECK, .probe = 77};
    check.of.check.subject = gossip_tag_of(&lone.ids[1]);
    check.of.check.epoch = check.of.check.incarnation = 1;
    lone_clear(&lone);
    lone_packet(&lone, 2, &check);
    lone_wait(&lone, ppn_ms(400));
    const struct lone_seen *answer = lone_sent(&lone, GOSSIP_CHECKED, 2);
    cr_assert(lone_sent(&lone, GOSSIP_PING, 1) != NULL);
    cr_assert(answer != NULL && answer->packet.probe == 77);
    cr_assert(answer->packet.of.check.outcome == GOSSIP_OUTCOME_PENDING);
    lone_close(&lone);
}

Test(gossip_probe, an_accusation_is_looked_into_at_once)
{
    struct lone_core lone;
    lone_meet(&lone, 4);
    struct gossip_packet ack = {.kind = GOSSIP_ACK};
    const struct lone_seen *ping = NULL;
    for (uint32_t i = 0; i < 100 && ping == NULL; i++) {
        lone_wait(&lone, ppn_ms(50));
        ping = lone_sent(&lone, GOSSIP_PING, 1);
    }
    cr_assert(ping != NULL);
    ack.probe = ping->packet.probe;
    lone_packet(&lone, 1, &ack);
    lone_clear(&lone);
    lone_item(&lone, 2, lone_verdict(&lone, 2, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    ping = lone_sent(&lone, GOSSIP_PING, 1);
    cr_assert(ping != NULL, "in the same step");
    ack.probe = ping->packet.probe;
    lone_packet(&lone, 1, &ack);
    const struct lone_seen *answer = lone_sent(&lone, GOSSIP_CHECKED, 2);
    cr_assert(answer != NULL && answer->packet.of.check.outcome == GOSSIP_OUTCOME_REACHED,
              "whoever accused hears what was found");
    lone_close(&lone);
}

Test(gossip_probe, the_accused_hears_it_in_the_ping_that_tests_it)
{
    struct lone_core lone;
    lone_meet(&lone, 5);
    for (uint32_t i = 2; i < 5; i++)
        lone_item(&lone, i, lone_verdict(&lone, i, 1, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_SUSPECT);
    lone_clear(&lone);
    const struct lone_seen *ping = NULL;
    for (uint32_t i = 0; i < 30 && ping == NULL; i++) {
        lone_wait(&lone, ppn_ms(20));
        ping = lone_sent(&lone, GOSSIP_PING, 1);
    }
    cr_assert(ping != NULL && ping->packet.item_count > 0);
    cr_assert(ping->items[0] == GOSSIP_ITEM_VERDICT);
    lone_close(&lone);
}

Test(gossip_probe, who_is_heard_for_the_first_time_is_asked_for_its_own_items)
{
    struct lone_core lone;
    lone_start(&lone, 4);
    lone_clear(&lone);
    struct gossip_packet ping = {.kind = GOSSIP_PING, .probe = 5};
    lone_packet(&lone, 3, &ping);
    const struct lone_seen *want = lone_sent(&lone, GOSSIP_WANT, 3);
    cr_assert(want != NULL && want->packet.of.want.count == 1);
    cr_assert(want->packet.of.want.wants[0].tag == gossip_tag_of(&lone.ids[3]));
    lone_close(&lone);
}
