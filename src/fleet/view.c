// SPDX-License-Identifier: ISC
#include "fleet/fleet.h"
#include "fleet/fleet_internal.h"

static const char *name_of(const char *const *names, size_t count, unsigned index)
{
    return index < count && names[index] != NULL ? names[index] : "unknown";
}

#define NAME_OF(names, value) name_of(names, sizeof(names) / sizeof(*(names)), (unsigned)(value))

const char *fleet_msg_kind_name(enum fleet_msg_kind kind)
{
    static const char *const names[] = {
#define X(name, number, word) [FLEET_MSG_##name] = (word),
        FLEET_MSG_KINDS(X)
#undef X
    };
    return NAME_OF(names, kind);
}

const char *fleet_step_name(enum fleet_step step)
{
    static const char *const names[] = {"reserve", "image", "disk", "seed", "launch"};
    return NAME_OF(names, step);
}

const char *fleet_phase_name(enum fleet_phase phase)
{
    static const char *const names[] = {"unknown", "claiming",  "following",
                                        "working", "committed", "in-service",
                                        "failed",  "lost",      "held"};
    return NAME_OF(names, phase);
}

const char *fleet_request_state_name(enum fleet_request_state state)
{
    static const char *const names[] = {NULL,         "claiming",  "following",
                                        "placing",    "preparing", "committed",
                                        "in-service", "failed",    "lost"};
    return NAME_OF(names, state);
}

const char *fleet_hold_state_name(enum fleet_hold_state state)
{
    static const char *const names[] = {NULL,        "fitting",    "preparing", "prepared",
                                        "launching", "in-service", "releasing", "tomb"};
    return NAME_OF(names, state);
}

const char *fleet_news_name(enum fleet_news news)
{
    static const char *const names[] = {
        "accepted",  "following",     "trying",  "working",    "prepared", "committed", "refused",
        "no-answer", "launch-failed", "waiting", "in-service", "failed",   "lost"};
    return NAME_OF(names, news);
}

static void view_request(const struct request *request, struct fleet_request_view *view)
{
    *view = (struct fleet_request_view){
        .id = request->id,
        .state = request->state,
        .attempt = request->attempt,
        .node = request->node,
        .durable = request->disk.stored,
        .lost = request->lost || request->state == FLEET_REQUEST_LOST,
        .created_unix_ms = request->created_unix_ms,
        .changed_unix_ms = request->changed_unix_ms,
        .code = request->code,
        .reason = request->reason,
        .spec = request->work ? fleet_blob_slice(request->work->spec) : ppn_slice(NULL, 0)};
}

enum ppn_error fleet_request(const struct fleet *fleet, const struct ppn_request_id *id,
                             struct fleet_request_view *view)
{
    const struct request *request = fleet_find_request(fleet, id);
    if (request == NULL)
        return PPN_ERROR_NOT_FOUND;
    view_request(request, view);
    return PPN_OK;
}

bool fleet_request_next(const struct fleet *fleet, uint32_t *cursor,
                        struct fleet_request_view *view)
{
    if (*cursor >= fleet->request_count)
        return false;
    view_request(fleet->requests[(*cursor)++], view);
    return true;
}

bool fleet_hold_next(const struct fleet *fleet, uint32_t *cursor, struct fleet_hold_view *view)
{
    if (*cursor >= fleet->hold_count)
        return false;
    const struct hold *hold = fleet->holds[(*cursor)++];
    *view = (struct fleet_hold_view){.id = hold->id,
                                     .origin = hold->origin,
                                     .state = hold->state,
                                     .attempt = hold->attempt,
                                     .reserve = hold->reserve,
                                     .spec = fleet_blob_slice(hold->spec)};
    return true;
}

struct fleet_reserve fleet_reserved(const struct fleet *fleet)
{
    struct fleet_reserve sum = {0};
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        const struct fleet_reserve *reserve = &fleet->holds[i]->reserve;
        sum.memory_bytes += reserve->memory_bytes;
        sum.disk_bytes += reserve->disk_bytes;
        sum.vcpus += reserve->vcpus;
    }
    return sum;
}
