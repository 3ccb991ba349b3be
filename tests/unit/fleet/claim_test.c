// SPDX-License-Identifier: ISC
#include <string.h>

#include "desk.h"

TestSuite(fleet_claim, .init = desk_started, .fini = desk_free);

static uint64_t round_of_claim;

static void give_members(struct ppn_request_id id, const struct fleet_member *members, uint32_t n)
{
    give((struct fleet_event){
        .kind = FLEET_EVENT_MEMBERS, .request = id, .members = members, .count = n});
    if (action(FLEET_DO_SEND))
        round_of_claim = action(FLEET_DO_SEND)->message->round;
}

static void claim_among(struct ppn_request_id id, uint32_t n)
{
    static const struct fleet_member members[] = {{{{2}}, "n2", true, 0}, {{{3}}, "n3", true, 0}};
    give_submit(id, false);
    cr_assert(action(FLEET_DO_NEED_MEMBERS) && !action(FLEET_DO_NEED_CANDIDATES));
    give_members(id, members, n);
}

static void answer_claim(uint8_t from, struct ppn_request_id id, enum fleet_phase phase,
                         uint8_t node)
{
    struct fleet_msg message = {.kind = FLEET_MSG_CLAIM_ANSWER,
                                .request = id,
                                .round = round_of_claim,
                                .phase = phase,
                                .node = node_n(node)};
    give_message(from, message);
}

Test(fleet_claim, everybody_is_asked_before_anything_is_done)
{
    struct ppn_request_id id = request_now(1);
    claim_among(id, 2);
    cr_assert(sent(FLEET_MSG_CLAIM, 2) && sent(FLEET_MSG_CLAIM, 3));
    answer_claim(2, id, FLEET_PHASE_UNKNOWN, 0);
    cr_assert(!action(FLEET_DO_NEED_CANDIDATES));
    round_of_claim++;
    answer_claim(3, id, FLEET_PHASE_UNKNOWN, 0); /* of another round */
    cr_assert(!action(FLEET_DO_NEED_CANDIDATES));
    round_of_claim--;
    answer_claim(3, id, FLEET_PHASE_UNKNOWN, 0);
    cr_assert(action(FLEET_DO_NEED_CANDIDATES));
}

Test(fleet_claim, alone_in_the_network_it_goes_on)
{
    claim_among(request_now(1), 0);
    cr_assert(action(FLEET_DO_NEED_CANDIDATES));
}

Test(fleet_claim, the_owner_is_followed_to_its_result)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_msg status = {.kind = FLEET_MSG_STATUS, .request = id};
    claim_among(id, 2);
    answer_claim(3, id, FLEET_PHASE_WORKING, 2);
    cr_assert(news(FLEET_NEWS_FOLLOWING) && sent(FLEET_MSG_QUERY, 3));
    status.phase = FLEET_PHASE_COMMITTED;
    give_message(3, status);
    give_tick_after(600);
    cr_assert(sent(FLEET_MSG_QUERY, 3));
    status.phase = FLEET_PHASE_IN_SERVICE;
    status.node = node_n(2);
    give_message(3, status);
    cr_assert(news(FLEET_NEWS_IN_SERVICE)->node.bytes[0] == 2 && !action(FLEET_DO_PERSIST));
    cr_assert_eq(request_state(id), 0);
}

Test(fleet_claim, a_result_known_elsewhere_is_told)
{
    struct ppn_request_id first = request_now(1), second = request_now(2);
    claim_among(first, 2);
    answer_claim(2, first, FLEET_PHASE_IN_SERVICE, 0);
    cr_assert(news(FLEET_NEWS_IN_SERVICE)->node.bytes[0] == 2);
    claim_among(second, 2);
    answer_claim(2, second, FLEET_PHASE_FAILED, 0);
    cr_assert(news(FLEET_NEWS_FAILED) && !action(FLEET_DO_PERSIST));
}

Test(fleet_claim, of_two_that_ask_the_lower_id_goes_first)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_msg claim = {.kind = FLEET_MSG_CLAIM, .request = id, .round = 9};
    claim_among(id, 2);
    give_message(3, claim); /* we are 1 */
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->phase, FLEET_PHASE_CLAIMING);
    cr_assert_eq(request_state(id), FLEET_REQUEST_CLAIMING);
    struct ppn_node_id zero_one = {{0, 1}}; /* below us */
    give((struct fleet_event){.kind = FLEET_EVENT_MESSAGE, .node = zero_one, .message = &claim});
    cr_assert_eq(request_state(id), FLEET_REQUEST_FOLLOWING);
    bool answered = false;
    for (uint32_t i = 0; i < desk.update.count; i++)
        answered |= desk.update.actions[i].kind == FLEET_DO_SEND &&
                    desk.update.actions[i].message->kind == FLEET_MSG_CLAIM_ANSWER &&
                    desk.update.actions[i].message->phase == FLEET_PHASE_FOLLOWING;
    cr_assert(answered);
}

Test(fleet_claim, a_record_on_its_way_to_the_disk_keeps_silent)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_msg claim = {.kind = FLEET_MSG_CLAIM, .request = id, .round = 9};
    give_submit(id, true);
    give_message(3, claim);
    cr_assert(!action(FLEET_DO_SEND));
    give_candidates(id, "2");
    give_message(3, claim);
    cr_assert(!action(FLEET_DO_SEND));
    give_persisted();
    give_message(3, claim);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->phase, FLEET_PHASE_WORKING);
}

Test(fleet_claim, a_target_answers_from_what_it_holds)
{
    struct ppn_request_id id = request_now(1), other = request_now(2);
    struct fleet_msg claim = {.kind = FLEET_MSG_CLAIM, .request = id, .round = 9};
    hold_to_prepared(id, 2, 1);
    give_message(3, claim);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->phase, FLEET_PHASE_HELD);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->node.bytes[0], 2);
    hold_to_in_service(other, 2, 1);
    claim.request = other;
    give_message(3, claim);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->phase, FLEET_PHASE_IN_SERVICE);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->node.bytes[0], 1);
    give((struct fleet_event){.kind = FLEET_EVENT_VM_REMOVED, .request = other});
    give_persisted();
    give_message(3, claim);
    cr_assert_eq(sent(FLEET_MSG_CLAIM_ANSWER, 3)->phase, FLEET_PHASE_IN_SERVICE);
    give_submit(other, false); /* asked for right here */
    cr_assert(news(FLEET_NEWS_IN_SERVICE));
}

Test(fleet_claim, a_silent_member_is_named)
{
    struct ppn_request_id id = request_now(1);
    claim_among(id, 2);
    answer_claim(2, id, FLEET_PHASE_UNKNOWN, 0);
    for (int i = 0; i < 20 && !news(FLEET_NEWS_FAILED); i++)
        give_tick_after(1000);
    cr_assert_eq(news(FLEET_NEWS_FAILED)->code, PPN_ERROR_UNREACHABLE);
    cr_assert(strstr(news(FLEET_NEWS_FAILED)->reason, "n3") != NULL);
    cr_assert_eq(request_state(id), 0);
}

/* Who is out of reach: may it know the id? The core has listened for an hour. */
Test(fleet_claim, members_out_of_reach)
{
    int64_t now = DESK_WALL_MS + desk.now_ms, minute = 60000;
    struct ppn_request_id random_id = {{0, 0, 0, 0, 0, 0, 0x4a, 0, 0x8a}};
    struct {
        struct ppn_request_id id;
        int64_t heard_ms;
        bool goes_on;
    } const table[] = {
        {request_n(1, now), now - 5 * minute, true},            /* off since before the id */
        {request_n(2, now), now - minute / 2, false},           /* within the skew of clocks */
        {request_n(3, now - 10 * minute), now - minute, false}, /* heard of since */
        {request_n(4, now + 60 * minute), now - 2000, false},   /* an id from the future */
        {request_n(5, now), 0, true},                           /* never heard of in this hour */
        {request_n(6, now - 90 * minute), 0, false},            /* we were not listening then */
        {random_id, 0, false},                                  /* no time in it */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct fleet_member member = {node_n(7), "n7", false, table[i].heard_ms};
        give_submit(table[i].id, false);
        give_members(table[i].id, &member, 1);
        cr_assert_eq(action(FLEET_DO_NEED_CANDIDATES) != NULL, table[i].goes_on, "case %zu", i);
        cr_assert_eq(news(FLEET_NEWS_FAILED) != NULL, !table[i].goes_on, "case %zu", i);
    }
}

Test(fleet_claim, who_slept_has_not_listened)
{
    int64_t now = DESK_WALL_MS + desk.now_ms + 600000;
    struct ppn_request_id id = request_n(1, now - 300000);
    struct fleet_member member = {node_n(7), "n7", false, now - 500000};
    struct fleet_event tick = {.kind = FLEET_EVENT_TICK, .wall = {now}};
    struct fleet_event submit = {.kind = FLEET_EVENT_SUBMIT,
                                 .wall = {now},
                                 .request = id,
                                 .spec = ppn_slice((const uint8_t *)"x", 1)};
    struct fleet_event members = {
        .kind = FLEET_EVENT_MEMBERS, .wall = {now}, .request = id, .members = &member, .count = 1};
    struct ppn_instant instant = {desk.now_ms * 1000000};
    cr_assert_eq(fleet_step(desk.fleet, instant, &tick, &desk.update), PPN_OK);
    cr_assert_eq(fleet_step(desk.fleet, instant, &submit, &desk.update), PPN_OK);
    cr_assert_eq(fleet_step(desk.fleet, instant, &members, &desk.update), PPN_OK);
    cr_assert(news(FLEET_NEWS_FAILED));
}
