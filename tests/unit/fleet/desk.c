// SPDX-License-Identifier: ISC
#include "desk.h"

#include <string.h>

struct desk desk;

static const uint8_t spec[] = "spec";

struct ppn_node_id node_n(uint8_t n)
{
    return (struct ppn_node_id){{n}};
}

struct ppn_request_id request_n(uint8_t r, int64_t unix_ms)
{
    uint8_t noise[10] = {0, 0, 0, 0, r};
    return ppn_request_id_make(unix_ms, noise);
}

struct ppn_request_id request_now(uint8_t r)
{
    return request_n(r, DESK_WALL_MS + desk.now_ms);
}

void desk_new(void)
{
    struct fleet_config config = {.self = node_n(1)};
    desk = (struct desk){0};
    desk.fleet = fleet_init(&config, (struct ppn_instant){0}, 1);
    cr_assert(desk.fleet != NULL);
}

void desk_started(void)
{
    desk_new();
    give((struct fleet_event){.kind = FLEET_EVENT_START});
    desk_pass(3600000);
}

void desk_free(void)
{
    fleet_free(desk.fleet);
}

void desk_pass(int64_t ms)
{
    give_tick_after(ms);
}

void give(struct fleet_event event)
{
    event.wall.unix_ms = DESK_WALL_MS + desk.now_ms;
    struct ppn_instant now = {desk.now_ms * 1000000};
    desk.error = fleet_step(desk.fleet, now, &event, &desk.update);
    for (uint32_t i = 0; i < desk.update.count; i++)
        if (desk.update.actions[i].kind == FLEET_DO_PERSIST)
            desk.ticket = desk.update.actions[i].ticket;
}

void give_tick_after(int64_t ms)
{
    desk.now_ms += ms;
    give((struct fleet_event){.kind = FLEET_EVENT_TICK});
}

void give_message(uint8_t from, struct fleet_msg message)
{
    give((struct fleet_event){
        .kind = FLEET_EVENT_MESSAGE, .node = node_n(from), .message = &message});
}

void give_submit(struct ppn_request_id id, bool fresh)
{
    give((struct fleet_event){.kind = FLEET_EVENT_SUBMIT,
                              .request = id,
                              .spec = ppn_slice(spec, sizeof(spec)),
                              .fresh = fresh});
}

void give_candidates(struct ppn_request_id id, const char *nodes)
{
    struct ppn_node_id ids[8];
    struct fleet_event event = {.kind = FLEET_EVENT_CANDIDATES, .request = id, .nodes = ids};
    for (; nodes[event.count] != '\0'; event.count++)
        ids[event.count] = node_n((uint8_t)(nodes[event.count] - '0'));
    event.code = event.count ? PPN_OK : PPN_ERROR_NO_CANDIDATE;
    event.reason = event.count ? NULL : "all full";
    give(event);
}

void give_persisted(void)
{
    give((struct fleet_event){.kind = FLEET_EVENT_PERSISTED, .ticket = desk.ticket});
}

void give_fit(struct ppn_request_id id, uint8_t origin, uint32_t attempt, enum ppn_error code)
{
    give((struct fleet_event){.kind = FLEET_EVENT_FIT,
                              .request = id,
                              .origin = node_n(origin),
                              .attempt = attempt,
                              .reserve = {.memory_bytes = 100, .disk_bytes = 10, .vcpus = 1},
                              .code = code});
}

void give_done(enum fleet_event_kind kind, struct ppn_request_id id, uint8_t origin,
               uint32_t attempt, enum ppn_error code)
{
    give((struct fleet_event){.kind = kind,
                              .request = id,
                              .origin = node_n(origin),
                              .attempt = attempt,
                              .code = code,
                              .reason = code == PPN_OK ? NULL : "broken"});
}

const struct fleet_action *action(enum fleet_action_kind kind)
{
    for (uint32_t i = 0; i < desk.update.count; i++)
        if (desk.update.actions[i].kind == kind)
            return &desk.update.actions[i];
    return NULL;
}

const struct fleet_msg *sent(enum fleet_msg_kind kind, uint8_t to)
{
    struct ppn_node_id id = node_n(to);
    for (uint32_t i = 0; i < desk.update.count; i++) {
        const struct fleet_action *one = &desk.update.actions[i];
        if (one->kind == FLEET_DO_SEND && one->message->kind == kind &&
            ppn_node_id_equal(&one->node, &id))
            return one->message;
    }
    return NULL;
}

const struct fleet_action *news(enum fleet_news news)
{
    for (uint32_t i = 0; i < desk.update.count; i++)
        if (desk.update.actions[i].kind == FLEET_DO_NEWS && desk.update.actions[i].news == news)
            return &desk.update.actions[i];
    return NULL;
}

bool persisted_state(uint32_t state)
{
    const struct fleet_action *row = action(FLEET_DO_PERSIST);
    return row != NULL && row->row->state == state;
}

enum fleet_request_state request_state(struct ppn_request_id id)
{
    struct fleet_request_view view;
    return fleet_request(desk.fleet, &id, &view) == PPN_OK ? view.state : 0;
}

enum fleet_hold_state hold_state(struct ppn_request_id id)
{
    struct fleet_hold_view view;
    uint32_t cursor = 0;
    while (fleet_hold_next(desk.fleet, &cursor, &view))
        if (ppn_request_id_equal(&view.id, &id))
            return view.state;
    return 0;
}

void walk_to_preparing(struct ppn_request_id id, const char *candidates)
{
    give_submit(id, true);
    cr_assert(action(FLEET_DO_NEED_CANDIDATES) && !action(FLEET_DO_PERSIST));
    give_candidates(id, candidates);
    cr_assert(persisted_state(FLEET_REQUEST_PREPARING) && !action(FLEET_DO_SEND));
    cr_assert(!news(FLEET_NEWS_ACCEPTED));
    give_persisted();
    cr_assert(news(FLEET_NEWS_ACCEPTED) && news(FLEET_NEWS_TRYING));
    cr_assert(sent(FLEET_MSG_PREPARE, (uint8_t)(candidates[0] - '0')));
}

void walk_to_committed(struct ppn_request_id id, const char *candidates)
{
    uint8_t target = (uint8_t)(candidates[0] - '0');
    walk_to_preparing(id, candidates);
    give_message(target, MESSAGE(FLEET_MSG_PREPARED, id, 1));
    cr_assert(persisted_state(FLEET_REQUEST_COMMITTED) && !action(FLEET_DO_SEND));
    give_persisted();
    cr_assert(sent(FLEET_MSG_COMMIT, target) && news(FLEET_NEWS_COMMITTED));
}

struct fleet_msg prepare_message(struct ppn_request_id id, uint32_t attempt)
{
    struct fleet_msg message = MESSAGE(FLEET_MSG_PREPARE, id, attempt);
    message.spec = ppn_slice(spec, sizeof(spec));
    return message;
}

void hold_to_preparing(struct ppn_request_id id, uint8_t origin, uint32_t attempt)
{
    give_message(origin, prepare_message(id, attempt));
    cr_assert(action(FLEET_DO_CHECK_FIT) && !action(FLEET_DO_PERSIST));
    give_fit(id, origin, attempt, PPN_OK);
    cr_assert(persisted_state(FLEET_HOLD_PREPARING) && !action(FLEET_DO_PREPARE));
    give_persisted();
    cr_assert(action(FLEET_DO_PREPARE) && sent(FLEET_MSG_WORKING, origin));
}

void hold_to_prepared(struct ppn_request_id id, uint8_t origin, uint32_t attempt)
{
    hold_to_preparing(id, origin, attempt);
    give_done(FLEET_EVENT_WORK_DONE, id, origin, attempt, PPN_OK);
    cr_assert(sent(FLEET_MSG_PREPARED, origin));
}

void hold_to_in_service(struct ppn_request_id id, uint8_t origin, uint32_t attempt)
{
    hold_to_prepared(id, origin, attempt);
    give_message(origin, MESSAGE(FLEET_MSG_COMMIT, id, attempt));
    cr_assert(persisted_state(FLEET_HOLD_LAUNCHING) && !action(FLEET_DO_LAUNCH));
    give_persisted();
    cr_assert(action(FLEET_DO_LAUNCH));
    give_done(FLEET_EVENT_LAUNCHED, id, origin, attempt, PPN_OK);
    cr_assert(persisted_state(FLEET_HOLD_IN_SERVICE) && !sent(FLEET_MSG_IN_SERVICE, origin));
    give_persisted();
    cr_assert(sent(FLEET_MSG_IN_SERVICE, origin));
}
