// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "fleet/fleet_internal.h"

void fleet_request_row(const struct request *request, struct fleet_row *row)
{
    const struct request_work *work = request->work;
    PPN_ASSERT(request->state >= FLEET_REQUEST_PLACING);
    *row = (struct fleet_row){.key = {.kind = FLEET_ROW_REQUEST, .request = request->id},
                              .state = request->state,
                              .attempt = request->attempt,
                              .node = request->node,
                              .created_unix_ms = request->created_unix_ms,
                              .changed_unix_ms = request->changed_unix_ms,
                              .code = request->code};
    memcpy(row->reason, request->reason, sizeof(row->reason));
    if (work == NULL)
        return;
    row->abandoned_count = work->abandoned_count;
    for (uint32_t i = 0; i < work->abandoned_count; i++)
        row->abandoned[i] = work->abandoned[i].what;
    row->spec = fleet_blob_slice(work->spec);
}

void fleet_hold_row(const struct hold *hold, struct fleet_row *row)
{
    PPN_ASSERT(hold->state != FLEET_HOLD_FITTING);
    *row = (struct fleet_row){
        .key = {.kind = FLEET_ROW_HOLD, .request = hold->id, .origin = hold->origin},
        .state = hold->state == FLEET_HOLD_PREPARED ? FLEET_HOLD_PREPARING : hold->state,
        .attempt = hold->attempt,
        .created_unix_ms = hold->created_unix_ms,
        .changed_unix_ms = hold->changed_unix_ms,
        .tomb = hold->tomb,
        .code = hold->code,
        .reserve = hold->reserve,
        .spec = fleet_blob_slice(hold->spec)};
    memcpy(row->reason, hold->reason, sizeof(row->reason));
}

static bool sound(const struct fleet_row *row)
{
    return row->attempt > 0 && (unsigned)row->code < PPN_ERROR_COUNT &&
           memchr(row->reason, '\0', sizeof(row->reason)) != NULL &&
           row->spec.size <= FLEET_SPEC_MAX;
}

static bool sound_request(const struct fleet_row *row)
{
    bool open = row->state < FLEET_REQUEST_IN_SERVICE;
    bool at_node = row->state == FLEET_REQUEST_PREPARING || row->state == FLEET_REQUEST_COMMITTED;
    if (row->state < FLEET_REQUEST_PLACING || row->state > FLEET_REQUEST_LOST)
        return false;
    if (row->attempt > FLEET_ATTEMPTS_MAX || open != (row->spec.size > 0))
        return false;
    if (at_node && ppn_node_id_is_zero(&row->node))
        return false;
    if (row->abandoned_count > row->attempt - (at_node ? 1 : 0))
        return false;
    for (uint32_t i = 0; i < row->abandoned_count; i++)
        if (row->abandoned[i].attempt == 0 || row->abandoned[i].attempt > row->attempt)
            return false;
    return true;
}

static bool sound_hold(const struct fleet_row *row)
{
    bool buried = row->state == FLEET_HOLD_RELEASING || row->state == FLEET_HOLD_TOMB;
    bool needs_spec = row->state == FLEET_HOLD_PREPARING || row->state == FLEET_HOLD_LAUNCHING;
    if (row->state < FLEET_HOLD_PREPARING || row->state > FLEET_HOLD_TOMB ||
        row->state == FLEET_HOLD_PREPARED)
        return false;
    if (buried != (row->tomb >= FLEET_TOMB_CANCELLED && row->tomb <= FLEET_TOMB_REMOVED))
        return false;
    return needs_spec == (row->spec.size > 0) && !ppn_node_id_is_zero(&row->key.origin);
}

static enum ppn_error restore_request(struct fleet *fleet, const struct fleet_row *row)
{
    if (!sound_request(row))
        return PPN_ERROR_CORRUPT;
    if (fleet_find_request(fleet, &row->key.request) != NULL)
        return PPN_ERROR_EXISTS;
    if (fleet->request_count >= FLEET_REQUESTS_MAX)
        return PPN_ERROR_FULL;
    bool open = row->state < FLEET_REQUEST_IN_SERVICE;
    bool busy = open || row->abandoned_count > 0;
    struct request *request = calloc(1, sizeof(*request));
    struct request_work *work = busy ? calloc(1, sizeof(*work)) : NULL;
    struct blob *spec = open ? fleet_blob(row->spec) : NULL;
    if (request == NULL || (busy && work == NULL) || (open && spec == NULL)) {
        free(request);
        free(work);
        free(spec);
        return PPN_ERROR_NO_MEMORY;
    }
    *request = (struct request){.id = row->key.request,
                                .state = (enum fleet_request_state)row->state,
                                .attempt = row->attempt,
                                .node = row->node,
                                .created_unix_ms = row->created_unix_ms,
                                .changed_unix_ms = row->changed_unix_ms,
                                .code = row->code,
                                .disk = {.stored = true},
                                .due = busy ? fleet->now : PPN_NEVER,
                                .announced = !open,
                                .work = work};
    memcpy(request->reason, row->reason, sizeof(request->reason));
    fleet->requests[fleet->request_count++] = request;
    if (!busy)
        return PPN_OK;
    work->spec = spec;
    work->backoff = fleet->config.retry_first;
    work->due = open ? fleet->now : PPN_NEVER;
    work->since = work->heard = fleet->now;
    work->patience = PPN_NEVER;
    work->may_wait = work->restored = true;
    work->abandoned_count = row->abandoned_count;
    for (uint32_t i = 0; i < row->abandoned_count; i++)
        work->abandoned[i] = (struct abandoned){
            .what = row->abandoned[i], .due = fleet->now, .backoff = fleet->config.retry_first};
    return PPN_OK;
}

static enum ppn_error restore_hold(struct fleet *fleet, const struct fleet_row *row)
{
    if (!sound_hold(row))
        return PPN_ERROR_CORRUPT;
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        if (ppn_request_id_equal(&fleet->holds[i]->id, &row->key.request) &&
            ppn_node_id_equal(&fleet->holds[i]->origin, &row->key.origin))
            return PPN_ERROR_EXISTS;
    if (fleet->hold_count >= FLEET_HOLDS_MAX)
        return PPN_ERROR_FULL;
    struct hold *hold = calloc(1, sizeof(*hold));
    struct blob *spec = row->spec.size ? fleet_blob(row->spec) : NULL;
    if (hold == NULL || (row->spec.size && spec == NULL)) {
        free(hold);
        free(spec);
        return PPN_ERROR_NO_MEMORY;
    }
    bool dead = row->state == FLEET_HOLD_TOMB;
    *hold = (struct hold){.id = row->key.request,
                          .origin = row->key.origin,
                          .state = (enum fleet_hold_state)row->state,
                          .attempt = row->attempt,
                          .created_unix_ms = row->created_unix_ms,
                          .changed_unix_ms = row->changed_unix_ms,
                          .tomb = row->tomb,
                          .code = row->code,
                          .reserve = row->reserve,
                          .disk = {.stored = true},
                          .due = dead ? PPN_NEVER : fleet->now,
                          .heard = fleet->now,
                          .announced = dead,
                          .step = row->state == FLEET_HOLD_LAUNCHING ? FLEET_STEP_LAUNCH
                                                                     : FLEET_STEP_RESERVE,
                          .spec = spec};
    memcpy(hold->reason, row->reason, sizeof(hold->reason));
    fleet->holds[fleet->hold_count++] = hold;
    return PPN_OK;
}

enum ppn_error fleet_on_restore(struct fleet *fleet, const struct fleet_row *row)
{
    if (!sound(row))
        return PPN_ERROR_CORRUPT;
    if (row->key.kind == FLEET_ROW_REQUEST)
        return restore_request(fleet, row);
    return row->key.kind == FLEET_ROW_HOLD ? restore_hold(fleet, row) : PPN_ERROR_CORRUPT;
}

/* A commit that stayed unanswered this long is settled as lost, so that dead nodes cannot fill the
 * table; everything settled is forgotten. */
static void expire_request(struct fleet *fleet, struct request *request, int64_t before_ms)
{
    if (request->gone || request->changed_unix_ms >= before_ms || !fleet_sure(&request->disk))
        return;
    if (request->state == FLEET_REQUEST_COMMITTED)
        fleet_request_settle(fleet, request, FLEET_REQUEST_LOST, PPN_ERROR_TIMEOUT,
                             "its node did not come back");
    else if (fleet_settled(request))
        fleet_request_drop(fleet, request);
}

bool fleet_expire(struct fleet *fleet)
{
    int64_t before_ms = fleet->wall.unix_ms - ppn_to_ms(fleet->config.history_keep);
    for (uint32_t i = 0; i < fleet->request_count; i++) {
        if (!fleet_has_room(fleet))
            return false;
        expire_request(fleet, fleet->requests[i], before_ms);
    }
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        struct hold *hold = fleet->holds[i];
        if (!fleet_has_room(fleet))
            return false;
        if (hold->gone || hold->state != FLEET_HOLD_TOMB || hold->changed_unix_ms >= before_ms ||
            !fleet_sure(&hold->disk))
            continue;
        struct fleet_key key = {FLEET_ROW_HOLD, hold->id, hold->origin};
        fleet_forget(fleet, &key);
        hold->gone = true;
    }
    return true;
}
