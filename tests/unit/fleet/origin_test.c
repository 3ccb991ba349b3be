// SPDX-License-Identifier: ISC
#include <string.h>

#include "desk.h"

TestSuite(fleet_origin, .init = desk_started, .fini = desk_free);

Test(fleet_origin, the_good_road)
{
    struct ppn_request_id id = request_now(1);
    walk_to_committed(id, "23");
    give_message(2, MESSAGE(FLEET_MSG_IN_SERVICE, id, 1));
    cr_assert(news(FLEET_NEWS_IN_SERVICE) && persisted_state(FLEET_REQUEST_IN_SERVICE));
    cr_assert_eq(action(FLEET_DO_PERSIST)->row->spec.size, 0);
    give_persisted();
    give_submit(id, false);
    cr_assert(desk.error == PPN_OK && news(FLEET_NEWS_IN_SERVICE) && !action(FLEET_DO_SEND));
}

Test(fleet_origin, without_a_candidate_nothing_is_remembered)
{
    struct ppn_request_id id = request_now(1);
    give_submit(id, true);
    give_candidates(id, "");
    cr_assert(news(FLEET_NEWS_FAILED) && !action(FLEET_DO_PERSIST));
    cr_assert_eq(news(FLEET_NEWS_FAILED)->code, PPN_ERROR_NO_CANDIDATE);
    cr_assert_str_eq(news(FLEET_NEWS_FAILED)->reason, "all full");
    cr_assert_eq(request_state(id), 0);
}

Test(fleet_origin, refused_by_all_fails_with_the_last_reason)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_msg refusal = MESSAGE(FLEET_MSG_REFUSED, id, 1);
    refusal.code = PPN_ERROR_NO_SPACE;
    memcpy(refusal.reason, "too small", 10);
    walk_to_preparing(id, "2");
    give_message(2, refusal);
    cr_assert(news(FLEET_NEWS_REFUSED) && persisted_state(FLEET_REQUEST_PLACING));
    give_persisted();
    give_candidates(id, "2"); /* who refused is not asked again */
    cr_assert(persisted_state(FLEET_REQUEST_FAILED) && !news(FLEET_NEWS_FAILED));
    give_persisted();
    cr_assert_str_eq(news(FLEET_NEWS_FAILED)->reason, "too small");
    give_submit(id, true);
    cr_assert(news(FLEET_NEWS_FAILED) && !action(FLEET_DO_NEED_CANDIDATES));
}

Test(fleet_origin, silence_abandons_and_cancels_until_answered)
{
    struct ppn_request_id id = request_now(1);
    walk_to_preparing(id, "23");
    for (int i = 0; i < 8 && !news(FLEET_NEWS_NO_ANSWER); i++)
        give_tick_after(2000);
    cr_assert(news(FLEET_NEWS_NO_ANSWER) && persisted_state(FLEET_REQUEST_PREPARING));
    cr_assert_eq(action(FLEET_DO_PERSIST)->row->abandoned_count, 1);
    cr_assert(!sent(FLEET_MSG_CANCEL, 2) && !sent(FLEET_MSG_PREPARE, 3));
    give_persisted();
    cr_assert(sent(FLEET_MSG_CANCEL, 2) && sent(FLEET_MSG_PREPARE, 3));
    give_message(2, MESSAGE(FLEET_MSG_PREPARED, id, 1)); /* too late */
    cr_assert_eq(request_state(id), FLEET_REQUEST_PREPARING);
    give_tick_after(2000);
    cr_assert(sent(FLEET_MSG_CANCEL, 2));
    give_message(2, MESSAGE(FLEET_MSG_CANCELLED, id, 1));
    cr_assert_eq(action(FLEET_DO_PERSIST)->row->abandoned_count, 0);
    give_persisted();
    give_tick_after(30000);
    cr_assert(!sent(FLEET_MSG_CANCEL, 2));
}

Test(fleet_origin, a_long_preparation_that_reports_is_not_given_up)
{
    struct ppn_request_id id = request_now(1);
    walk_to_preparing(id, "23");
    for (int i = 0; i < 100; i++) {
        struct fleet_msg message = MESSAGE(FLEET_MSG_WORKING, id, 1);
        message.step = FLEET_STEP_IMAGE;
        message.percent = (uint32_t)i;
        give_tick_after(5000);
        give_message(2, message);
        cr_assert(news(FLEET_NEWS_WORKING) && news(FLEET_NEWS_WORKING)->percent == (uint32_t)i);
    }
    cr_assert_eq(request_state(id), FLEET_REQUEST_PREPARING);
}

Test(fleet_origin, a_committed_attempt_only_ends_by_a_durable_word)
{
    struct ppn_request_id id = request_now(1);
    walk_to_committed(id, "23");
    give_message(2, MESSAGE(FLEET_MSG_REFUSED, id, 1));
    give_message(3, MESSAGE(FLEET_MSG_CANCELLED, id, 1));
    give_message(2, MESSAGE(FLEET_MSG_CANCELLED, id, 2));
    cr_assert_eq(request_state(id), FLEET_REQUEST_COMMITTED);
    give_tick_after(600000);
    cr_assert(sent(FLEET_MSG_COMMIT, 2));
    give_message(2, MESSAGE(FLEET_MSG_FAILED, id, 1));
    cr_assert(news(FLEET_NEWS_LAUNCH_FAILED) && persisted_state(FLEET_REQUEST_PREPARING));
    give_persisted();
    cr_assert(sent(FLEET_MSG_PREPARE, 3)->attempt == 2);
}

Test(fleet_origin, a_dead_target_is_lost_and_found_again)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_event node = {.kind = FLEET_EVENT_NODE, .node = node_n(2)};
    walk_to_committed(id, "23");
    node.node_state = FLEET_NODE_DEAD;
    give(node);
    cr_assert(news(FLEET_NEWS_LOST));
    cr_assert_eq(request_state(id), FLEET_REQUEST_COMMITTED);
    node.node_state = FLEET_NODE_REACHABLE;
    give(node);
    cr_assert(sent(FLEET_MSG_COMMIT, 2));
    give_message(2, MESSAGE(FLEET_MSG_IN_SERVICE, id, 1));
    cr_assert(news(FLEET_NEWS_IN_SERVICE));
}

Test(fleet_origin, a_removed_target_is_lost_for_good)
{
    struct ppn_request_id id = request_now(1);
    walk_to_committed(id, "23");
    give((struct fleet_event){
        .kind = FLEET_EVENT_NODE, .node = node_n(2), .node_state = FLEET_NODE_REMOVED});
    cr_assert(persisted_state(FLEET_REQUEST_LOST) && !news(FLEET_NEWS_LOST));
    give_persisted();
    cr_assert(news(FLEET_NEWS_LOST));
}

Test(fleet_origin, an_old_commit_that_was_forgotten_is_not_redone)
{
    struct ppn_request_id id = request_now(1);
    walk_to_committed(id, "23");
    give_tick_after(INT64_C(25) * 3600 * 1000);
    give_message(2, MESSAGE(FLEET_MSG_CANCELLED, id, 1));
    cr_assert(persisted_state(FLEET_REQUEST_LOST) && !action(FLEET_DO_SEND));
}

Test(fleet_origin, a_full_disk_before_acceptance_leaves_no_trace)
{
    struct ppn_request_id id = request_now(1);
    give_submit(id, true);
    give_candidates(id, "2");
    give((struct fleet_event){
        .kind = FLEET_EVENT_PERSIST_FAILED, .ticket = desk.ticket, .code = PPN_ERROR_NO_SPACE});
    cr_assert_eq(news(FLEET_NEWS_FAILED)->code, PPN_ERROR_NO_SPACE);
    cr_assert_eq(request_state(id), 0);
}

Test(fleet_origin, a_full_disk_later_is_tried_again)
{
    struct ppn_request_id id = request_now(1);
    walk_to_preparing(id, "2");
    give_message(2, MESSAGE(FLEET_MSG_PREPARED, id, 1));
    give((struct fleet_event){
        .kind = FLEET_EVENT_PERSIST_FAILED, .ticket = desk.ticket, .code = PPN_ERROR_NO_SPACE});
    cr_assert(!action(FLEET_DO_SEND) && !action(FLEET_DO_PERSIST));
    give_tick_after(2000);
    cr_assert(persisted_state(FLEET_REQUEST_COMMITTED) && !action(FLEET_DO_SEND));
    give_persisted();
    cr_assert(sent(FLEET_MSG_COMMIT, 2));
}

Test(fleet_origin, taken_back_before_the_commit_only)
{
    struct ppn_request_id first = request_now(1), second = request_now(2);
    struct fleet_event event = {.kind = FLEET_EVENT_GIVE_UP, .request = first};
    give(event);
    cr_assert_eq(desk.error, PPN_ERROR_NOT_FOUND);
    walk_to_preparing(first, "2");
    give(event);
    cr_assert(desk.error == PPN_OK && persisted_state(FLEET_REQUEST_FAILED));
    give_persisted();
    cr_assert(news(FLEET_NEWS_FAILED) && sent(FLEET_MSG_CANCEL, 2));
    walk_to_committed(second, "2");
    event.request = second;
    give(event);
    cr_assert_eq(desk.error, PPN_ERROR_CONFLICT);
}

Test(fleet_origin, submit_says_what_is_wrong)
{
    static const uint8_t big[FLEET_SPEC_MAX + 1];
    struct fleet_event event = {.kind = FLEET_EVENT_SUBMIT, .request = request_now(1)};
    event.fresh = true;
    give(event);
    cr_assert_eq(desk.error, PPN_ERROR_INVALID);
    event.spec = ppn_slice(big, sizeof(big));
    give(event);
    cr_assert_eq(desk.error, PPN_ERROR_TOO_BIG);
    give_tick_after(INT64_C(4) * 24 * 3600 * 1000);
    give_submit(event.request, true);
    cr_assert_eq(desk.error, PPN_ERROR_STALE);
    for (uint8_t r = 0; r < FLEET_REQUESTS_OPEN_MAX; r++) {
        give_submit(request_now(r), true);
        cr_assert_eq(desk.error, PPN_OK);
    }
    give_submit(request_now(255), true);
    cr_assert_eq(desk.error, PPN_ERROR_FULL);
}

Test(fleet_origin, attempts_end)
{
    struct ppn_request_id id = request_now(1);
    walk_to_preparing(id, "2");
    for (uint32_t attempt = 1; attempt <= FLEET_ATTEMPTS_MAX; attempt++) {
        cr_assert_eq(request_state(id), FLEET_REQUEST_PREPARING);
        give((struct fleet_event){
            .kind = FLEET_EVENT_NODE, .node = node_n(2), .node_state = FLEET_NODE_DEAD});
        give_persisted();
        if (action(FLEET_DO_NEED_CANDIDATES)) {
            give_candidates(id, "2");
            give_persisted();
        }
    }
    cr_assert_eq(request_state(id), FLEET_REQUEST_FAILED);
}

Test(fleet_origin, settled_requests_are_forgotten_in_the_end)
{
    struct ppn_request_id id = request_now(1);
    walk_to_committed(id, "2");
    give_message(2, MESSAGE(FLEET_MSG_IN_SERVICE, id, 1));
    give_persisted();
    give_tick_after(INT64_C(4) * 24 * 3600 * 1000);
    cr_assert(action(FLEET_DO_FORGET));
    cr_assert_eq(request_state(id), 0);
    give_submit(id, false);
    cr_assert_eq(desk.error, PPN_ERROR_STALE);
}

Test(fleet_origin, malformed_words_change_nothing)
{
    struct ppn_request_id id = request_now(1);
    struct fleet_msg bad[] = {
        MESSAGE(FLEET_MSG_PREPARED, id, 0), MESSAGE(FLEET_MSG_PREPARED, id, 1),
        MESSAGE(FLEET_MSG_PREPARED, id, 1), MESSAGE(FLEET_MSG_PREPARED, id, 1), MESSAGE(99, id, 1)};
    walk_to_preparing(id, "2");
    bad[1].percent = 101;
    bad[2].step = FLEET_STEP_COUNT;
    memset(bad[3].reason, 'x', sizeof(bad[3].reason));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        give_message(2, bad[i]);
        cr_assert_eq(desk.update.count, 0);
    }
}
