// SPDX-License-Identifier: ISC
#include <string.h>

#include "fleet/fleet.h"
#include "fuzz.h"
#include "wire/fleet.h"

/* One fleet core between three members that say anything, and a shell whose work succeeds, fails or
 * is slow as the script says. Rows must always be storable and come back the same. */

enum { PEERS = 3, STEPS_MAX = 200, QUEUE = 64 };

struct task {
    enum fleet_action_kind kind;
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    uint64_t ticket;
};

static struct task tasks[QUEUE];
static uint32_t task_count;
static struct fleet *core;
static struct ppn_instant now;
static struct ppn_wall wall;

static struct ppn_node_id peer(uint32_t number)
{
    struct ppn_node_id id;
    memset(id.bytes, (int)(1 + number), PPN_ID_SIZE);
    return id;
}

static void check_row(const struct fleet_row *row)
{
    static uint8_t bytes[WIRE_FLEET_ROW_MAX];
    static struct fleet_row back;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    PPN_ASSERT(wire_fleet_row_encode(row, &writer) == PPN_OK);
    PPN_ASSERT(wire_fleet_row_decode(ppn_written(&writer), &back) == PPN_OK);
    PPN_ASSERT(back.state == row->state && back.attempt == row->attempt);
}

static void check_message(const struct fleet_msg *message)
{
    static uint8_t bytes[WIRE_FLEET_MAX];
    struct fleet_msg back;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    PPN_ASSERT(wire_fleet_encode(message, &writer) == PPN_OK);
    PPN_ASSERT(wire_fleet_decode(ppn_written(&writer), &back) == PPN_OK);
    PPN_ASSERT(back.kind == message->kind && back.phase == message->phase);
}

static void give(struct fleet_event *event)
{
    struct fleet_update update;
    event->wall = wall;
    if (fleet_step(core, now, event, &update) != PPN_OK)
        return;
    for (uint32_t i = 0; i < update.count; i++) {
        const struct fleet_action *action = &update.actions[i];
        if (action->kind == FLEET_DO_SEND)
            check_message(action->message);
        if (action->kind == FLEET_DO_PERSIST)
            check_row(action->row);
        if (action->kind == FLEET_DO_SEND || action->kind == FLEET_DO_NEWS || task_count == QUEUE)
            continue;
        tasks[task_count++] = (struct task){action->kind, action->request, action->origin,
                                            action->attempt, action->ticket};
    }
}

/* The oldest piece of work ends, well or badly. */
static void finish_task(bool well)
{
    if (task_count == 0)
        return;
    struct task task = tasks[0];
    struct ppn_node_id nodes[2] = {peer(1), peer(0)};
    struct fleet_member members[1] = {{.id = peer(1), .name = "n1", .reachable = well}};
    struct fleet_event event = {.request = task.request,
                                .origin = task.origin,
                                .attempt = task.attempt,
                                .ticket = task.ticket,
                                .code = well ? PPN_OK : PPN_ERROR_NO_SPACE};
    memmove(tasks, tasks + 1, --task_count * sizeof(tasks[0]));
    switch (task.kind) {
    case FLEET_DO_PERSIST:
    case FLEET_DO_FORGET:
        event.kind = well ? FLEET_EVENT_PERSISTED : FLEET_EVENT_PERSIST_FAILED;
        break;
    case FLEET_DO_NEED_CANDIDATES:
        event.kind = FLEET_EVENT_CANDIDATES;
        event.nodes = nodes;
        event.count = well ? 2 : 0;
        break;
    case FLEET_DO_NEED_MEMBERS:
        event.kind = FLEET_EVENT_MEMBERS;
        event.members = members;
        event.count = 1;
        break;
    case FLEET_DO_CHECK_FIT:
        event.kind = FLEET_EVENT_FIT;
        break;
    case FLEET_DO_PREPARE:
        event.kind = FLEET_EVENT_WORK_DONE;
        break;
    case FLEET_DO_LAUNCH:
        event.kind = FLEET_EVENT_LAUNCHED;
        break;
    case FLEET_DO_RELEASE:
        event.kind = FLEET_EVENT_RELEASED;
        break;
    case FLEET_DO_SEND:
    case FLEET_DO_NEWS:
        return;
    }
    give(&event);
}

/* Four bytes a step: what, who, which request and attempt, a detail. */
static void step(const uint8_t *s)
{
    struct fleet_event event = {.node = peer(1 + s[1] % PEERS)};
    struct fleet_msg message = {.attempt = s[2] >> 4,
                                .round = s[3],
                                .phase = (enum fleet_phase)(s[3] % FLEET_PHASE_COUNT),
                                .node = peer(s[1] >> 4 & 3),
                                .code = (enum ppn_error)(s[3] % PPN_ERROR_COUNT),
                                .removed = s[3] & 1};
    memset(message.request.bytes, 0x70 + (s[2] & 3), PPN_REQUEST_ID_SIZE);
    event.request = message.request;
    event.spec = ppn_slice("spec", 4);
    switch (s[0] % 8) {
    case 0:
        event.kind = FLEET_EVENT_SUBMIT;
        event.fresh = s[3] & 1;
        break;
    case 1:
        event.kind = s[3] & 1 ? FLEET_EVENT_GIVE_UP : FLEET_EVENT_VM_REMOVED;
        break;
    case 2:
    case 3:
        finish_task(s[3] & 7);
        return;
    case 4:
        now = ppn_after(now, ppn_ms(100 * (int64_t)s[3] * (1 + s[1] % 8)));
        wall.unix_ms += 100 * (int64_t)s[3] * (1 + s[1] % 8);
        event.kind = FLEET_EVENT_TICK;
        break;
    case 5:
        event.kind = FLEET_EVENT_NODE;
        event.node_state = (enum fleet_node_state)(s[3] % 3);
        break;
    default:
        event.kind = FLEET_EVENT_MESSAGE;
        message.kind = (enum fleet_msg_kind)(1 + s[3] % 13);
        if (message.kind == FLEET_MSG_PREPARE)
            message.spec = event.spec;
        event.message = &message;
    }
    give(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fleet_config config = {.self = peer(0)};
    now = (struct ppn_instant){1000000000};
    wall = (struct ppn_wall){1700000000000};
    task_count = 0;
    core = fleet_init(&config, now, 1);
    PPN_ASSERT(core);
    give(&(struct fleet_event){.kind = FLEET_EVENT_START});
    for (size_t at = 0; at + 4 <= size && at < 4 * STEPS_MAX; at += 4)
        step(data + at);
    fleet_free(core);
    return 0;
}
