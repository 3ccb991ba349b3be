// SPDX-License-Identifier: ISC
#include <string.h>

#include "desk.h"

TestSuite(fleet_rows, .init = desk_new, .fini = desk_free);

static const uint8_t spec[] = "spec";

static struct fleet_row request_row(uint32_t state)
{
    return (struct fleet_row){.key = {.kind = FLEET_ROW_REQUEST, .request = request_now(1)},
                              .state = state,
                              .attempt = 2,
                              .node = node_n(2),
                              .created_unix_ms = DESK_WALL_MS,
                              .changed_unix_ms = DESK_WALL_MS,
                              .spec = ppn_slice(spec, state < FLEET_REQUEST_IN_SERVICE ? 5 : 0)};
}

static struct fleet_row hold_row(uint32_t state)
{
    bool work = state == FLEET_HOLD_PREPARING || state == FLEET_HOLD_LAUNCHING;
    return (struct fleet_row){
        .key = {.kind = FLEET_ROW_HOLD, .request = request_now(1), .origin = node_n(2)},
        .state = state,
        .attempt = 1,
        .created_unix_ms = DESK_WALL_MS,
        .changed_unix_ms = DESK_WALL_MS,
        .tomb = state >= FLEET_HOLD_RELEASING ? FLEET_TOMB_CANCELLED : 0,
        .reserve = {100, 10, 1},
        .spec = ppn_slice(spec, work ? 5 : 0)};
}

static enum ppn_error restore(struct fleet_row row)
{
    give((struct fleet_event){.kind = FLEET_EVENT_RESTORE, .row = &row});
    return desk.error;
}

static void start(void)
{
    give((struct fleet_event){.kind = FLEET_EVENT_START});
}

Test(fleet_rows, an_origin_goes_on_where_it_was)
{
    struct {
        uint32_t state;
        enum fleet_msg_kind kind;
    } const table[] = {{FLEET_REQUEST_PREPARING, FLEET_MSG_PREPARE},
                       {FLEET_REQUEST_COMMITTED, FLEET_MSG_COMMIT}};
    for (size_t i = 0; i < 2; i++) {
        desk_free();
        desk_new();
        cr_assert_eq(restore(request_row(table[i].state)), PPN_OK);
        cr_assert_eq(desk.update.count, 0);
        start();
        cr_assert_eq(sent(table[i].kind, 2)->attempt, 2);
        cr_assert(!news(FLEET_NEWS_ACCEPTED) && !action(FLEET_DO_PERSIST));
    }
}

Test(fleet_rows, an_accepted_request_waits_for_a_view_after_a_restart)
{
    struct fleet_row row = request_row(FLEET_REQUEST_PLACING);
    row.node = node_n(0);
    cr_assert_eq(restore(row), PPN_OK);
    start();
    cr_assert(action(FLEET_DO_NEED_CANDIDATES));
    give_candidates(row.key.request, "");
    cr_assert(news(FLEET_NEWS_WAITING) && !news(FLEET_NEWS_FAILED));
    give_tick_after(16000);
    cr_assert(action(FLEET_DO_NEED_CANDIDATES));
    give_tick_after(200000);
    give_candidates(row.key.request, "");
    cr_assert(persisted_state(FLEET_REQUEST_FAILED));
}

Test(fleet_rows, cancels_go_on_after_a_restart)
{
    struct fleet_row row = request_row(FLEET_REQUEST_FAILED);
    row.abandoned_count = 1;
    row.abandoned[0] = (struct fleet_abandoned){2, node_n(3)};
    cr_assert_eq(restore(row), PPN_OK);
    start();
    cr_assert(sent(FLEET_MSG_CANCEL, 3) && !news(FLEET_NEWS_FAILED));
}

Test(fleet_rows, a_target_goes_on_where_it_was)
{
    struct {
        uint32_t state;
        enum fleet_action_kind kind;
    } const table[] = {{FLEET_HOLD_PREPARING, FLEET_DO_PREPARE},
                       {FLEET_HOLD_LAUNCHING, FLEET_DO_LAUNCH},
                       {FLEET_HOLD_RELEASING, FLEET_DO_RELEASE}};
    for (size_t i = 0; i < 3; i++) {
        desk_free();
        desk_new();
        cr_assert_eq(restore(hold_row(table[i].state)), PPN_OK);
        start();
        cr_assert(action(table[i].kind));
        cr_assert_eq(fleet_reserved(desk.fleet).memory_bytes, 100);
    }
}

Test(fleet_rows, a_commit_waits_while_it_is_prepared_again)
{
    struct ppn_request_id id = request_now(1);
    cr_assert_eq(restore(hold_row(FLEET_HOLD_PREPARING)), PPN_OK);
    start();
    give_message(2, MESSAGE(FLEET_MSG_COMMIT, id, 1));
    cr_assert(sent(FLEET_MSG_WORKING, 2) && !action(FLEET_DO_PERSIST));
    give_done(FLEET_EVENT_WORK_DONE, id, 2, 1, PPN_OK);
    cr_assert(persisted_state(FLEET_HOLD_LAUNCHING));
}

Test(fleet_rows, damaged_rows_are_refused)
{
    struct fleet_row bad[] = {request_row(FLEET_REQUEST_CLAIMING),
                              request_row(FLEET_REQUEST_LOST + 1),
                              request_row(FLEET_REQUEST_PREPARING),
                              request_row(FLEET_REQUEST_PREPARING),
                              request_row(FLEET_REQUEST_COMMITTED),
                              request_row(FLEET_REQUEST_IN_SERVICE),
                              request_row(FLEET_REQUEST_FAILED),
                              hold_row(FLEET_HOLD_FITTING),
                              hold_row(FLEET_HOLD_PREPARED),
                              hold_row(FLEET_HOLD_TOMB),
                              hold_row(FLEET_HOLD_IN_SERVICE),
                              hold_row(FLEET_HOLD_LAUNCHING),
                              hold_row(FLEET_HOLD_TOMB),
                              hold_row(FLEET_HOLD_TOMB)};
    bad[2].attempt = 0;
    bad[3].abandoned_count = 2;
    bad[4].node = node_n(0);
    bad[5].spec = ppn_slice(spec, 5);
    memset(bad[6].reason, 'x', sizeof(bad[6].reason));
    bad[9].tomb = 0;
    bad[10].tomb = FLEET_TOMB_FAILED;
    bad[11].spec.size = 0;
    bad[12].key.origin = node_n(0);
    bad[13].key.kind = 3;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_eq(restore(bad[i]), PPN_ERROR_CORRUPT, "row %zu", i);
    cr_assert_eq(restore(hold_row(FLEET_HOLD_TOMB)), PPN_OK);
    cr_assert_eq(restore(hold_row(FLEET_HOLD_TOMB)), PPN_ERROR_EXISTS);
    start();
    cr_assert_eq(restore(request_row(FLEET_REQUEST_FAILED)), PPN_ERROR_CONFLICT);
}

Test(fleet_rows, nothing_happens_before_the_start)
{
    struct ppn_request_id id = request_now(1);
    give_submit(id, true);
    cr_assert_eq(desk.error, PPN_ERROR_BUSY);
    give_message(2, prepare_message(id, 1));
    cr_assert_eq(desk.update.count, 0);
}

Test(fleet_rows, every_enum_has_its_word)
{
    for (int i = 1; i <= FLEET_REQUEST_LOST; i++)
        cr_assert_str_neq(fleet_request_state_name((enum fleet_request_state)i), "unknown");
    for (int i = 1; i <= FLEET_HOLD_TOMB; i++)
        cr_assert_str_neq(fleet_hold_state_name((enum fleet_hold_state)i), "unknown");
    for (int i = 0; i <= FLEET_NEWS_LOST; i++)
        cr_assert_str_neq(fleet_news_name((enum fleet_news)i), "unknown");
    cr_assert_str_eq(fleet_news_name(FLEET_NEWS_LOST), "lost");
    cr_assert_str_eq(fleet_phase_name(FLEET_PHASE_HELD), "held");
    cr_assert_str_eq(fleet_msg_kind_name(FLEET_MSG_IN_SERVICE), "in-service");
    cr_assert_str_eq(fleet_msg_kind_name((enum fleet_msg_kind)99), "unknown");
}
