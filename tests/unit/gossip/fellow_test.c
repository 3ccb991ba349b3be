// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "gossip/internal.h"
#include "lone_core.h"

/* What a node that cannot reach a member makes of those who say that they can, and of a link that
 * was bad. All other members answer. */

static uint32_t subject = 1;

static const struct gossip_opinion_entry *own_word(const struct lone_core *lone)
{
    uint16_t index = gossip_pool_node_find(lone->core->pool, gossip_tag_of(&lone->ids[subject]));
    return gossip_opinion_by(lone->core, index, lone->core->self);
}

static bool said(const struct lone_core *lone, enum gossip_opinion opinion)
{
    const struct gossip_opinion_entry *mine = own_word(lone);
    return mine != NULL && mine->opinion == opinion;
}

/* Member `from` says that it reached the subject, in answer to `number`. */
static void reached(struct lone_core *lone, uint32_t from, uint32_t number)
{
    struct gossip_packet checked = {.kind = GOSSIP_CHECKED, .probe = number};
    checked.of.check.subject = gossip_tag_of(&lone->ids[subject]);
    checked.of.check.epoch = checked.of.check.incarnation = 1;
    checked.of.check.outcome = GOSSIP_OUTCOME_REACHED;
    lone_packet(lone, from, &checked);
}

Test(gossip_fellow, one_that_others_reach_is_not_gone)
{
    static struct lone_core lone;
    lone_meet(&lone, 4);
    for (uint32_t tenth = 0; tenth < 300; tenth++) {
        lone_clear(&lone);
        lone_answer(&lone, 1, ppn_ms(100));
        const struct lone_seen *check = lone_sent(&lone, GOSSIP_CHECK, 2);
        if (check != NULL)
            reached(&lone, 2, check->packet.probe);
        cr_assert(!said(&lone, GOSSIP_OPINION_NO_ANSWER));
    }
    cr_assert(lone_member(&lone, 1).path_degraded, "and its path is known to be bad");
    cr_assert(said(&lone, GOSSIP_OPINION_DEGRADED), "which is said after a while");
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_fellow, nobody_who_was_not_asked_hides_a_death)
{
    static struct lone_core lone;
    bool gone = false;
    lone_meet(&lone, 4);
    for (uint32_t tenth = 0; tenth < 100 && !gone; tenth++) {
        lone_clear(&lone);
        lone_answer(&lone, 1, ppn_ms(100));
        for (uint32_t number = 0; number < 3; number++)
            reached(&lone, 2, number);
        gone = said(&lone, GOSSIP_OPINION_NO_ANSWER);
    }
    cr_assert(gone);
    lone_close(&lone);
}

Test(gossip_fellow, nobody_who_does_not_observe_hides_a_death)
{
    static struct lone_core lone;
    bool gone = false;
    lone_meet(&lone, 40);
    uint16_t index = lone.core->targets[0].index;
    for (uint32_t i = 1; i < 40; i++)
        if (ppn_node_id_equal(&lone.core->pool->nodes[index].id, &lone.ids[i]))
            subject = i;
    for (uint32_t tenth = 0; tenth < 300 && !gone; tenth++) {
        lone_clear(&lone);
        lone_answer(&lone, subject, ppn_ms(100));
        for (uint32_t from = 1; from < 40; from++) {
            uint16_t liar = gossip_pool_node_find(lone.core->pool, gossip_tag_of(&lone.ids[from]));
            const struct gossip_probe *probe = NULL;
            for (uint32_t i = 0; i < lone.core->probe_count; i++)
                if (lone.core->probes[i].index == index)
                    probe = &lone.core->probes[i];
            if (probe != NULL && !gossip_may_observe(lone.core, liar, index))
                reached(&lone, from, probe->number);
        }
        gone = said(&lone, GOSSIP_OPINION_NO_ANSWER);
    }
    cr_assert(gone);
    lone_close(&lone);
}

/* Of the pings to the subject every sixth is answered, or each. */
static void answer_some(struct lone_core *lone, uint32_t of, int64_t ms)
{
    static uint32_t count;
    for (; ms > 0; ms -= 50) {
        lone_clear(lone);
        lone_answer(lone, 1, ppn_ms(50));
        struct gossip_packet ack = {.kind = GOSSIP_ACK};
        for (uint32_t i = 0; i < lone->seen_count && ack.probe == 0; i++)
            if (lone->seen[i].kind == GOSSIP_DO_SEND && lone->seen[i].packet.kind == GOSSIP_PING &&
                ppn_node_id_equal(&lone->seen[i].node, &lone->ids[subject]) && ++count % of == 0)
                ack.probe = lone->seen[i].packet.probe;
        if (ack.probe != 0)
            lone_packet(lone, 1, &ack);
    }
}

Test(gossip_fellow, one_answer_proves_no_link_good)
{
    static struct lone_core lone;
    lone_meet(&lone, 4);
    for (uint32_t i = 0; i < 300 && !said(&lone, GOSSIP_OPINION_DEGRADED); i++)
        answer_some(&lone, 6, 1000);
    cr_assert(said(&lone, GOSSIP_OPINION_DEGRADED));
    uint32_t incarnation = lone_member(&lone, 1).incarnation;
    for (uint32_t by = 2; by < 4; by++)
        lone_item(&lone, by, lone_verdict(&lone, by, 1, 1, incarnation, GOSSIP_OPINION_NO_ANSWER));
    answer_some(&lone, UINT32_MAX, 30000);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_DEAD);
    lone_item(&lone, 2, lone_life(&lone, 1, 1, incarnation + 1, GOSSIP_STANDING_ALIVE));
    answer_some(&lone, 1, 5000);
    cr_assert(said(&lone, GOSSIP_OPINION_DEGRADED), "five good seconds are no proof");
    answer_some(&lone, 1, 200000);
    cr_assert(!said(&lone, GOSSIP_OPINION_DEGRADED));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_fellow, where_all_are_bad_none_is)
{
    static struct lone_core lone;
    uint32_t count = 0;
    lone_meet(&lone, 4);
    for (uint32_t step = 0; step < 6000; step++) {
        lone_clear(&lone);
        lone_wait(&lone, ppn_ms(50));
        for (uint32_t of = 1; of < 4; of++) {
            const struct lone_seen *ping = lone_sent(&lone, GOSSIP_PING, of);
            struct gossip_packet ack = {.kind = GOSSIP_ACK};
            if (ping == NULL || ++count % 6 != 0)
                continue;
            ack.probe = ping->packet.probe;
            lone_packet(&lone, of, &ack);
        }
        for (subject = 1; subject < 4; subject++)
            cr_assert(!said(&lone, GOSSIP_OPINION_DEGRADED));
    }
    lone_close(&lone);
}

Test(gossip_fellow, who_is_asked_about_one_that_others_reach_asks_on)
{
    static struct lone_core lone;
    lone_meet(&lone, 4);
    for (uint32_t tenth = 0; tenth < 100 || lone.core->probe_count > 0; tenth++) {
        lone_clear(&lone);
        lone_answer(&lone, 1, ppn_ms(50));
        const struct lone_seen *check = lone_sent(&lone, GOSSIP_CHECK, 2);
        if (check != NULL)
            reached(&lone, 2, check->packet.probe);
    }
    cr_assert(lone_member(&lone, 1).path_degraded);
    struct gossip_packet asked = {.kind = GOSSIP_CHECK, .probe = 77};
    asked.of.check.subject = gossip_tag_of(&lone.ids[1]);
    asked.of.check.epoch = asked.of.check.incarnation = 1;
    lone_packet(&lone, 3, &asked);
    lone_clear(&lone);
    const struct lone_seen *check = NULL;
    for (uint32_t i = 0; i < 50 && check == NULL; i++) {
        lone_answer(&lone, 1, ppn_ms(10));
        check = lone_sent(&lone, GOSSIP_CHECK, 2);
    }
    cr_assert(check != NULL);
    reached(&lone, 2, check->packet.probe);
    lone_answer(&lone, 1, ppn_ms(600));
    cr_assert(!said(&lone, GOSSIP_OPINION_NO_ANSWER));
    lone_close(&lone);
}
