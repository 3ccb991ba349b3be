// SPDX-License-Identifier: ISC
#include "desk.h"

TestSuite(fleet_target, .init = desk_started, .fini = desk_free);

static void nothing_is_reserved(void)
{
    struct fleet_reserve left = fleet_reserved(desk.fleet);
    cr_assert(left.memory_bytes == 0 && left.disk_bytes == 0 && left.vcpus == 0);
}

Test(fleet_target, the_good_road)
{
    struct ppn_request_id id = request_now(1);
    hold_to_preparing(id, 2, 1);
    cr_assert_eq(fleet_reserved(desk.fleet).memory_bytes, 100);
    give_done(FLEET_EVENT_WORK_DONE, id, 2, 1, PPN_OK);
    desk_free();
    desk_started();
    hold_to_in_service(id, 2, 1);
    nothing_is_reserved();
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_IN_SERVICE, 2) && !action(FLEET_DO_LAUNCH));
}

Test(fleet_target, what_does_not_fit_is_refused_and_forgotten)
{
    struct ppn_request_id id = request_now(1);
    give_message(2, prepare_message(id, 1));
    give_fit(id, 2, 1, PPN_ERROR_NO_SPACE);
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 2)->code, PPN_ERROR_NO_SPACE);
    cr_assert_eq(hold_state(id), 0);
    give_message(2, prepare_message(id, 1));
    cr_assert(action(FLEET_DO_CHECK_FIT));
    give_tick_after(6000); /* the shell owes the answer */
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 2)->code, PPN_ERROR_BUSY);
}

Test(fleet_target, one_fit_is_checked_at_a_time)
{
    struct ppn_request_id first = request_now(1), second = request_now(2), third = request_now(3);
    give_message(2, prepare_message(first, 1));
    give_message(2, prepare_message(second, 1));
    cr_assert(!action(FLEET_DO_CHECK_FIT));
    give_message(2, prepare_message(third, 1));
    give_fit(first, 2, 1, PPN_OK);
    cr_assert(ppn_request_id_equal(&action(FLEET_DO_CHECK_FIT)->request, &second));
    cr_assert_eq(fleet_reserved(desk.fleet).memory_bytes, 100);
    give_fit(second, 2, 1, PPN_ERROR_NO_SPACE);
    cr_assert(ppn_request_id_equal(&action(FLEET_DO_CHECK_FIT)->request, &third));
    give_message(2, MESSAGE(FLEET_MSG_CANCEL, third, 1));
    give_message(2, prepare_message(request_now(4), 1));
    cr_assert(action(FLEET_DO_CHECK_FIT));
}

Test(fleet_target, a_cancel_before_its_prepare_is_remembered)
{
    struct ppn_request_id id = request_now(1);
    give_message(2, MESSAGE(FLEET_MSG_CANCEL, id, 3));
    cr_assert(persisted_state(FLEET_HOLD_TOMB) && !action(FLEET_DO_SEND));
    give_persisted();
    cr_assert(sent(FLEET_MSG_CANCELLED, 2));
    give_message(2, prepare_message(id, 3));
    cr_assert(sent(FLEET_MSG_CANCELLED, 2) && !action(FLEET_DO_CHECK_FIT));
    give_message(2, prepare_message(id, 2));
    cr_assert(sent(FLEET_MSG_CANCELLED, 2)->attempt == 2 && !action(FLEET_DO_CHECK_FIT));
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 3));
    cr_assert(sent(FLEET_MSG_CANCELLED, 2));
    hold_to_prepared(id, 2, 4);
}

Test(fleet_target, an_unknown_commit_is_buried_before_it_is_answered)
{
    struct ppn_request_id id = request_now(1);
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(persisted_state(FLEET_HOLD_TOMB) && !action(FLEET_DO_SEND));
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(!action(FLEET_DO_SEND));
    give_persisted();
    cr_assert(sent(FLEET_MSG_CANCELLED, 2) && !action(FLEET_DO_LAUNCH));
}

Test(fleet_target, a_cancelled_preparation_is_released)
{
    struct ppn_request_id id = request_now(1);
    hold_to_prepared(id, 2, 1);
    give_message(2, MESSAGE(FLEET_MSG_CANCEL, id, 1));
    cr_assert(persisted_state(FLEET_HOLD_RELEASING) && !action(FLEET_DO_RELEASE));
    give_persisted();
    cr_assert(action(FLEET_DO_RELEASE) && sent(FLEET_MSG_CANCELLED, 2));
    cr_assert_eq(fleet_reserved(desk.fleet).memory_bytes, 100);
    give_done(FLEET_EVENT_RELEASED, id, 2, 1, PPN_OK);
    nothing_is_reserved();
    give_persisted();
    cr_assert_eq(hold_state(id), FLEET_HOLD_TOMB);
}

Test(fleet_target, a_cancel_after_the_commit_is_told_the_truth)
{
    struct ppn_request_id id = request_now(1);
    hold_to_in_service(id, 2, 1);
    give_message(2, MESSAGE(FLEET_MSG_CANCEL, id, 1));
    cr_assert(sent(FLEET_MSG_IN_SERVICE, 2));
    cr_assert_eq(hold_state(id), FLEET_HOLD_IN_SERVICE);
}

Test(fleet_target, a_failed_launch_is_final)
{
    struct ppn_request_id id = request_now(1);
    hold_to_prepared(id, 2, 1);
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    give_persisted();
    give_done(FLEET_EVENT_LAUNCHED, id, 2, 1, PPN_ERROR_IO);
    cr_assert(persisted_state(FLEET_HOLD_RELEASING) && !sent(FLEET_MSG_FAILED, 2));
    give_persisted();
    cr_assert_str_eq(sent(FLEET_MSG_FAILED, 2)->reason, "broken");
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_FAILED, 2) && !action(FLEET_DO_LAUNCH));
}

Test(fleet_target, a_removed_machine_does_not_rise_again)
{
    struct ppn_request_id id = request_now(1);
    hold_to_in_service(id, 2, 1);
    give((struct fleet_event){.kind = FLEET_EVENT_VM_REMOVED, .request = id});
    cr_assert(persisted_state(FLEET_HOLD_TOMB));
    give_persisted();
    cr_assert(sent(FLEET_MSG_IN_SERVICE, 2)->removed);
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_IN_SERVICE, 2)->removed && !action(FLEET_DO_LAUNCH));
    give_message(2, prepare_message(id, 2));
    cr_assert(!action(FLEET_DO_CHECK_FIT));
    give_message(3, prepare_message(id, 1));
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 3)->code, PPN_ERROR_CONFLICT);
}

Test(fleet_target, a_silent_origin_is_asked_and_then_done_without)
{
    struct ppn_request_id id = request_now(1);
    hold_to_prepared(id, 2, 1);
    give_tick_after(31000);
    cr_assert(sent(FLEET_MSG_QUERY, 2));
    struct fleet_msg status = MESSAGE(FLEET_MSG_STATUS, id, 1);
    status.phase = FLEET_PHASE_WORKING;
    give_message(2, status);
    give_tick_after(599000);
    cr_assert_eq(hold_state(id), FLEET_HOLD_PREPARED);
    give_tick_after(2000);
    cr_assert(persisted_state(FLEET_HOLD_RELEASING));
    give_persisted();
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_CANCELLED, 2) && !action(FLEET_DO_LAUNCH));
}

Test(fleet_target, the_origin_s_answer_decides)
{
    struct ppn_request_id first = request_now(1), second = request_now(2);
    struct fleet_msg status = MESSAGE(FLEET_MSG_STATUS, first, 1);
    hold_to_prepared(first, 2, 1);
    status.phase = FLEET_PHASE_COMMITTED;
    give_message(2, status);
    cr_assert(persisted_state(FLEET_HOLD_LAUNCHING));
    hold_to_prepared(second, 2, 1);
    status = MESSAGE(FLEET_MSG_STATUS, second, 1);
    give_message(3, status); /* not its origin */
    cr_assert_eq(hold_state(second), FLEET_HOLD_PREPARED);
    give_message(2, status);
    cr_assert(persisted_state(FLEET_HOLD_RELEASING));
}

Test(fleet_target, a_later_attempt_replaces_an_earlier_one)
{
    struct ppn_request_id id = request_now(1);
    hold_to_prepared(id, 2, 1);
    give_message(2, prepare_message(id, 2));
    give_persisted();
    give_done(FLEET_EVENT_RELEASED, id, 2, 1, PPN_OK);
    give_persisted();
    hold_to_prepared(id, 2, 2);
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_CANCELLED, 2)->attempt == 1 && !action(FLEET_DO_PERSIST));
}

Test(fleet_target, a_full_disk_refuses_what_is_not_durable)
{
    struct ppn_request_id id = request_now(1);
    give_message(2, prepare_message(id, 1));
    give_fit(id, 2, 1, PPN_OK);
    give((struct fleet_event){
        .kind = FLEET_EVENT_PERSIST_FAILED, .ticket = desk.ticket, .code = PPN_ERROR_NO_SPACE});
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 2)->code, PPN_ERROR_NO_SPACE);
    nothing_is_reserved();
}

Test(fleet_target, one_machine_is_held_for_one_origin)
{
    struct ppn_request_id id = request_now(1);
    hold_to_prepared(id, 2, 1);
    give_message(3, prepare_message(id, 1));
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 3)->code, PPN_ERROR_CONFLICT);
}

Test(fleet_target, a_removed_origin_s_preparations_go)
{
    struct ppn_request_id first = request_now(1), second = request_now(2);
    hold_to_prepared(first, 2, 1);
    hold_to_in_service(second, 2, 1);
    give((struct fleet_event){
        .kind = FLEET_EVENT_NODE, .node = node_n(2), .node_state = FLEET_NODE_REMOVED});
    cr_assert_eq(hold_state(first), FLEET_HOLD_RELEASING);
    cr_assert_eq(hold_state(second), FLEET_HOLD_IN_SERVICE);
}

Test(fleet_target, preparations_are_bounded)
{
    for (uint8_t r = 0; r < FLEET_HOLDS_OPEN_MAX; r++)
        hold_to_preparing(request_now(r), 2, 1);
    give_message(2, prepare_message(request_now(200), 1));
    cr_assert_eq(sent(FLEET_MSG_REFUSED, 2)->code, PPN_ERROR_BUSY);
}

Test(fleet_target, tombstones_of_one_origin_are_bounded)
{
    for (uint32_t r = 0; r < FLEET_HOLDS_PER_ORIGIN_MAX + 10; r++) {
        struct ppn_request_id id = request_n((uint8_t)r, DESK_WALL_MS + r / 256);
        give_message(2, MESSAGE(FLEET_MSG_CANCEL, id, 1));
        give_persisted();
    }
    cr_assert(!sent(FLEET_MSG_CANCELLED, 2));
    give_message(3, MESSAGE(FLEET_MSG_CANCEL, request_now(1), 1));
    cr_assert(persisted_state(FLEET_HOLD_TOMB));
}
