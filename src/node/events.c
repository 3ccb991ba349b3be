// SPDX-License-Identifier: ISC
#include "node/events.h"

#include <stdlib.h>

#include "node/joins.h"
#include "node/log.h"
#include "node/machines.h"
#include "node/notify.h"
#include "node/views.h"
#include "os/os_clock.h"

enum { WATCHERS_MAX = 32 };

struct node_events {
    struct node *node;
    uint32_t count;
    struct api_request *watchers[WATCHERS_MAX];
    struct node_view_buffer buffer;
    struct node_alarms alarms; /* that watchers know of; nothing while nobody watches */
};

static void drop(struct node_events *events, struct api_request *request)
{
    for (uint32_t i = 0; i < events->count; i++) {
        if (events->watchers[i] == request) {
            events->watchers[i] = events->watchers[--events->count];
            return;
        }
    }
}

static void on_gone(void *context, struct api_request *request)
{
    drop(context, request);
}

static void stamp(struct api_event *event)
{
    event->time_monotonic_ns = os_clock_monotonic().ns;
    event->time_unix_ms = os_clock_wall().unix_ms;
}

static void tell_all(struct node_events *events, struct api_event *event)
{
    stamp(event);
    for (uint32_t i = events->count; i-- > 0;) {
        struct api_request *request = events->watchers[i];
        if (api_stream_event(request, event) != PPN_OK)
            drop(events, request);
    }
}

static enum api_event_type state_event(enum api_node_state state)
{
    switch (state) {
    case API_NODE_ALIVE:
        return API_EVENT_NODE_ALIVE;
    case API_NODE_SUSPECT:
        return API_EVENT_NODE_SUSPECT;
    case API_NODE_DEAD:
        return API_EVENT_NODE_DEAD;
    case API_NODE_LEFT:
        return API_EVENT_NODE_LEFT;
    }
    return API_EVENT_NODE_UPDATED;
}

void node_events_gossip(struct node_events *events, const struct node_change *change)
{
    struct api_node_view view;
    struct api_event event = {.node = &view};
    if (events->count == 0 || !node_view_node(events->node, &change->node, &events->buffer, &view))
        return;
    bool state = (change->what & GOSSIP_CHANGED_STATE) != 0;
    event.type = state ? state_event(view.state) : API_EVENT_NODE_UPDATED;
    tell_all(events, &event);
}

void node_events_vm(struct node_events *events, const struct node_vm *vm, bool removed)
{
    struct api_vm_view view;
    struct api_event event = {.vm = &view};
    if (events == NULL || events->count == 0)
        return;
    event.type = removed ? API_EVENT_VM_REMOVED : API_EVENT_VM_UPDATED;
    node_view_vm(events->node, vm, &events->buffer, &view);
    tell_all(events, &event);
}

void node_events_join(struct node_events *events, const struct node_join *join, bool ended)
{
    struct api_join_view view;
    struct api_event event = {.join = &view};
    if (events->count == 0)
        return;
    event.type = ended ? API_EVENT_JOIN_ENDED : API_EVENT_JOIN_REQUESTED;
    node_view_join(events->node, join, &events->buffer, &view);
    tell_all(events, &event);
}

void node_events_alarms(struct node_events *events)
{
    static struct node_alarms now;
    if (events == NULL || events->count == 0)
        return;
    node_alarms_read(events->node, &now);
    for (uint32_t i = 0; i < now.count; i++) {
        struct api_event event = {.type = API_EVENT_ALARM, .alarm = &now.list[i]};
        if (!node_alarms_has(&events->alarms, &now.list[i]))
            tell_all(events, &event);
    }
    node_alarms_read(events->node, &events->alarms);
}

void node_events_log_entry(struct node_events *events, uint32_t index)
{
    struct api_log_entry_view view;
    struct api_event event = {.type = API_EVENT_LOG_ENTRY, .entry = &view};
    if (events == NULL || events->count == 0)
        return;
    node_view_entry(events->node, index, &events->buffer, &view);
    tell_all(events, &event);
    node_events_alarms(events);
}

/* The present state for one new watcher; false when it could not keep up. */
struct telling {
    struct node_events *events;
    struct api_request *request;
    bool lost;
};

static void tell_one(struct telling *telling, struct api_event *event)
{
    if (telling->lost)
        return;
    stamp(event);
    telling->lost = api_stream_event(telling->request, event) != PPN_OK;
}

static bool tell_vm(void *context, const struct node_vm *vm)
{
    struct telling *telling = context;
    struct api_vm_view view;
    struct api_event event = {.type = API_EVENT_VM_UPDATED, .vm = &view};
    node_view_vm(telling->events->node, vm, &telling->events->buffer, &view);
    tell_one(telling, &event);
    return !telling->lost;
}

void node_events_subscribe(struct node_events *events, struct api_request *request)
{
    struct node *node = events->node;
    struct telling telling = {.events = events, .request = request};
    struct api_watch watch = {.context = events, .gone = on_gone};
    struct api_event synced = {.type = API_EVENT_SYNCED};
    struct node_member member;
    const struct node_join *join;
    uint32_t cursor = 0;
    if (events->count == WATCHERS_MAX) {
        api_reply_error(request, PPN_ERROR_FULL,
                        "%d programs watch events already; end one of them", WATCHERS_MAX);
        return;
    }
    while (node_member_next(node, &cursor, &member)) {
        struct api_node_view view;
        struct api_event event = {.node = &view};
        if (node_view_node(node, &member.id, &events->buffer, &view)) {
            event.type = state_event(view.state);
            tell_one(&telling, &event);
        }
    }
    for (uint32_t i = 0; (join = node_joins_at(node->joins, i)) != NULL; i++) {
        struct api_join_view view;
        struct api_event event = {.type = API_EVENT_JOIN_REQUESTED, .join = &view};
        node_view_join(events->node, join, &events->buffer, &view);
        tell_one(&telling, &event);
    }
    node_vm_each(node, tell_vm, &telling);
    node_alarms_read(node, &events->buffer.alarms);
    for (uint32_t i = 0; i < events->buffer.alarms.count; i++) {
        struct api_event event = {.type = API_EVENT_ALARM, .alarm = &events->buffer.alarms.list[i]};
        tell_one(&telling, &event);
    }
    tell_one(&telling, &synced);
    if (telling.lost)
        return;
    api_request_watch(request, &watch);
    if (events->count == 0)
        node_alarms_read(node, &events->alarms);
    events->watchers[events->count++] = request;
}

struct node_events *node_events_open(struct node *node)
{
    struct node_events *events = calloc(1, sizeof(*events));
    if (events != NULL)
        events->node = node;
    return events;
}

void node_events_close(struct node_events *events)
{
    free(events);
}
