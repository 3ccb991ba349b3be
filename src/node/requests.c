// SPDX-License-Identifier: ISC
#include "node/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_request.h"
#include "base/assert.h"
#include "base/log.h"
#include "node/machines.h"
#include "node/node.h"
#include "node/requests_internal.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "wire/fleet.h"
#include "wire/machine.h"

/* ---- events: queued, because the memory of an update ends with the core's next step ---- */

struct queued {
    struct queued *next;
    struct fleet_event event;
    struct fleet_msg message;
    char reason[PPN_REASON_MAX + 1];
    struct fleet_member *members;
    struct ppn_node_id *nodes;
    uint8_t spec[];
};

void node_requests_event(struct node_requests *requests, const struct fleet_event *event)
{
    struct ppn_slice spec = event->message != NULL ? event->message->spec : event->spec;
    struct queued *queued = calloc(1, sizeof(*queued) + spec.size);
    if (queued == NULL) {
        node_fatal(requests->node, "requests", "out of memory");
        return;
    }
    queued->event = *event;
    if (spec.size > 0)
        memcpy(queued->spec, spec.data, spec.size);
    queued->event.spec = ppn_slice(queued->spec, event->message != NULL ? 0 : spec.size);
    if (event->message != NULL) {
        queued->message = *event->message;
        queued->message.spec = ppn_slice(queued->spec, spec.size);
        queued->event.message = &queued->message;
    }
    if (event->reason != NULL) {
        (void)ppn_text_copy(queued->reason, sizeof(queued->reason), event->reason);
        queued->event.reason = queued->reason;
    }
    if (event->nodes != NULL && event->count > 0) {
        queued->nodes = calloc(event->count, sizeof(*queued->nodes));
        if (queued->nodes != NULL)
            memcpy(queued->nodes, event->nodes, event->count * sizeof(*queued->nodes));
        queued->event.nodes = queued->nodes;
    }
    if (event->members != NULL && event->count > 0) {
        queued->members = calloc(event->count, sizeof(*queued->members));
        if (queued->members != NULL)
            memcpy(queued->members, event->members, event->count * sizeof(*queued->members));
        queued->event.members = queued->members;
    }
    *requests->queue_end = queued;
    requests->queue_end = &queued->next;
    os_defer(requests->node->loop, &requests->drain);
}

static void free_queued(struct queued *queued)
{
    free(queued->nodes);
    free(queued->members);
    free(queued);
}

struct ticket {
    struct node *node; /* the flow may be gone when the store closes */
    struct node_requests *requests;
    uint64_t ticket;
};

static void on_stored(void *context, enum ppn_error error)
{
    struct ticket *ticket = context;
    struct fleet_event event = {.kind = error == PPN_OK ? FLEET_EVENT_PERSISTED
                                                        : FLEET_EVENT_PERSIST_FAILED,
                                .ticket = ticket->ticket,
                                .code = error};
    if (!ticket->node->stopping)
        node_requests_event(ticket->requests, &event);
    free(ticket);
}

static void commit_row(struct node_requests *requests, const struct fleet_action *action)
{
    static uint8_t bytes[WIRE_FLEET_ROW_MAX];
    uint8_t key_bytes[WIRE_FLEET_KEY_MAX];
    struct ppn_writer key = ppn_writer(key_bytes, sizeof(key_bytes));
    struct ppn_writer value = ppn_writer(bytes, sizeof(bytes));
    bool put = action->kind == FLEET_DO_PERSIST;
    const struct fleet_key *name = put ? &action->row->key : &action->key;
    enum store_table table = name->kind == FLEET_ROW_REQUEST ? STORE_REQUESTS : STORE_RESERVATIONS;
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    struct store_batch batch;
    if (ticket == NULL) {
        node_fatal(requests->node, "requests", "out of memory");
        return;
    }
    *ticket = (struct ticket){requests->node, requests, action->ticket};
    wire_fleet_key_encode(name, &key);
    store_batch_init(&batch);
    if (put) {
        enum ppn_error error = wire_fleet_row_encode(action->row, &value);
        PPN_ASSERT(error == PPN_OK);
        store_batch_put(&batch, table, ppn_written(&key), ppn_written(&value));
    } else {
        store_batch_delete(&batch, table, ppn_written(&key));
    }
    store_commit(requests->node->store, &batch, on_stored, ticket);
}

static void send_message(struct node_requests *requests, const struct fleet_action *action)
{
    static uint8_t bytes[WIRE_FLEET_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_peer_frame frame = {.kind = WIRE_PEER_FLEET};
    if (ppn_node_id_equal(&action->node, &requests->node->identity.id)) {
        struct fleet_event event = {
            .kind = FLEET_EVENT_MESSAGE, .node = action->node, .message = action->message};
        node_requests_event(requests, &event);
        return;
    }
    if (requests->node->peers == NULL)
        return;
    enum ppn_error error = wire_fleet_encode(action->message, &writer);
    PPN_ASSERT(error == PPN_OK);
    frame.fleet = ppn_written(&writer);
    error = node_peers_send(requests->node->peers, &action->node, &frame);
    if (error != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "fleet-unsent", "kind=%s cause=\"%s\"",
                fleet_msg_kind_name(action->message->kind), ppn_error_text(error));
}

static void carry_out(struct node_requests *requests, const struct fleet_action *action)
{
    switch (action->kind) {
    case FLEET_DO_PERSIST:
    case FLEET_DO_FORGET:
        commit_row(requests, action);
        return;
    case FLEET_DO_SEND:
        send_message(requests, action);
        return;
    case FLEET_DO_NEWS:
        node_runs_news(requests, action);
        return;
    case FLEET_DO_NEED_CANDIDATES:
        node_requests_candidates(requests, action);
        return;
    case FLEET_DO_NEED_MEMBERS:
        node_requests_members(requests, action);
        return;
    case FLEET_DO_CHECK_FIT:
        node_work_fit(requests, action);
        return;
    case FLEET_DO_PREPARE:
        node_work_prepare(requests, action);
        return;
    case FLEET_DO_LAUNCH:
        node_work_launch(requests, action);
        return;
    case FLEET_DO_RELEASE:
        node_work_release(requests, action);
        return;
    }
    PPN_UNREACHABLE();
}

enum ppn_error node_requests_step(struct node_requests *requests, struct fleet_event *event)
{
    struct fleet_update update = {0};
    event->wall = os_clock_wall();
    enum ppn_error error = fleet_step(requests->core, os_now(requests->node->loop), event, &update);
    for (uint32_t i = 0; i < update.count; i++)
        carry_out(requests, &update.actions[i]);
    os_timer_at(&requests->timer, fleet_deadline(requests->core));
    return error;
}

static void drain(void *context)
{
    struct node_requests *requests = context;
    struct queued *queued = requests->queue;
    requests->queue = NULL;
    requests->queue_end = &requests->queue;
    while (queued != NULL) {
        struct queued *next = queued->next;
        enum ppn_error error = node_requests_step(requests, &queued->event);
        if (error != PPN_OK && error != PPN_ERROR_STALE)
            ppn_log(PPN_LOG_WARN, "fleet-step", "event=%d cause=\"%s\"", (int)queued->event.kind,
                    ppn_error_text(error));
        free_queued(queued);
        queued = next;
    }
}

static void on_timer(void *context)
{
    struct fleet_event event = {.kind = FLEET_EVENT_TICK};
    (void)(node_requests_step(context, &event) == PPN_OK);
}

void node_requests_frame(struct node_requests *requests, const struct ppn_node_id *from,
                         const struct wire_peer_frame *frame)
{
    struct fleet_msg message;
    struct fleet_event event = {.kind = FLEET_EVENT_MESSAGE, .node = *from, .message = &message};
    enum ppn_error error = wire_fleet_decode(frame->fleet, &message);
    if (error != PPN_OK) {
        ppn_log(PPN_LOG_WARN, "fleet-malformed", "cause=\"%s\"", ppn_error_text(error));
        return;
    }
    node_requests_event(requests, &event);
}

void node_requests_member(struct node_requests *requests, const struct ppn_node_id *id,
                          enum fleet_node_state state)
{
    struct fleet_event event = {.kind = FLEET_EVENT_NODE, .node = *id, .node_state = state};
    node_requests_event(requests, &event);
}

struct fleet_reserve node_requests_reserved(const struct node_requests *requests)
{
    return requests == NULL ? (struct fleet_reserve){0} : fleet_reserved(requests->core);
}

/* ---- life ---- */

static bool restore_row(void *context, struct ppn_slice key, struct ppn_slice value,
                        enum ppn_error error)
{
    struct node_requests *requests = context;
    struct fleet_row row;
    uint8_t key_bytes[WIRE_FLEET_KEY_MAX];
    struct ppn_writer own = ppn_writer(key_bytes, sizeof(key_bytes));
    struct fleet_event event = {.kind = FLEET_EVENT_RESTORE, .row = &row};
    if (error == PPN_OK)
        error = wire_fleet_row_decode(value, &row);
    if (error == PPN_OK) {
        wire_fleet_key_encode(&row.key, &own);
        error = ppn_slice_equal(ppn_written(&own), key) ? node_requests_step(requests, &event)
                                                        : PPN_ERROR_CORRUPT;
    }
    if (error != PPN_OK)
        ppn_log(PPN_LOG_ERROR, "request-row", "key_size=%zu cause=\"%s\"", key.size,
                ppn_error_text(error));
    return true;
}

/* What changed while this node did not run: members that are none any more, machines that are gone.
 */
static void tell_missed(struct node_requests *requests)
{
    struct node *node = requests->node;
    struct fleet_request_view request;
    struct fleet_hold_view hold;
    struct node_member member;
    struct ppn_vm_info info;
    uint32_t cursor = 0;
    while (fleet_request_next(requests->core, &cursor, &request)) {
        if (!ppn_node_id_is_zero(&request.node) && !node_member_by_id(node, &request.node, &member))
            node_requests_member(requests, &request.node, FLEET_NODE_REMOVED);
    }
    cursor = 0;
    while (fleet_hold_next(requests->core, &cursor, &hold)) {
        struct fleet_event removed = {.kind = FLEET_EVENT_VM_REMOVED, .request = hold.id};
        if (hold.state == FLEET_HOLD_IN_SERVICE &&
            !vm_host_find(node_machines_host(node->machines), &hold.id, &info))
            node_requests_event(requests, &removed);
        if (!node_member_by_id(node, &hold.origin, &member))
            node_requests_member(requests, &hold.origin, FLEET_NODE_REMOVED);
    }
}

enum ppn_error node_requests_open(struct node *node, struct node_requests **out,
                                  struct ppn_failure *failure)
{
    struct node_requests *requests = calloc(1, sizeof(*requests));
    struct fleet_config config = {.self = node->identity.id};
    if (requests == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    requests->node = node;
    requests->queue_end = &requests->queue;
    requests->core = fleet_init(&config, os_now(node->loop), os_random_u64());
    os_timer_init(&requests->timer, node->loop, on_timer, requests);
    os_timer_init(&requests->ready_timer, node->loop, node_runs_ready, requests);
    os_closure_init(&requests->drain, drain, requests);
    *out = requests;
    if (requests->core == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    enum ppn_error error =
        store_scan(node->store, STORE_REQUESTS, ppn_slice(NULL, 0), restore_row, requests);
    if (error == PPN_OK)
        error =
            store_scan(node->store, STORE_RESERVATIONS, ppn_slice(NULL, 0), restore_row, requests);
    if (error != PPN_OK)
        return ppn_fail(failure, error, "the stored requests cannot be read: %s",
                        ppn_error_text(error));
    struct fleet_event start = {.kind = FLEET_EVENT_START};
    node_requests_event(requests, &start);
    tell_missed(requests);
    return PPN_OK;
}

void node_requests_close(struct node_requests *requests)
{
    if (requests == NULL)
        return;
    os_timer_stop(&requests->timer);
    os_timer_stop(&requests->ready_timer);
    os_defer_cancel(requests->node->loop, &requests->drain);
    while (requests->queue != NULL) {
        struct queued *queued = requests->queue;
        requests->queue = queued->next;
        free_queued(queued);
    }
    node_runs_close(requests);
    node_work_close(requests);
    fleet_free(requests->core);
    free(requests);
}
