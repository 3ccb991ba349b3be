// SPDX-License-Identifier: ISC
#include "fleet/fleet_internal.h"

/* A target's final word on an attempt that was given up before: it need not be cancelled again.
 * REFUSED is not final (nothing is durable behind it), so the cancel goes on until it is. */
static bool answers_cancel(struct fleet *fleet, struct request *request,
                           const struct ppn_node_id *from, const struct fleet_msg *message)
{
    struct request_work *work = request->work;
    if (message->kind != FLEET_MSG_CANCELLED && message->kind != FLEET_MSG_FAILED)
        return false;
    for (uint32_t i = 0; work != NULL && i < work->abandoned_count; i++) {
        const struct fleet_abandoned *what = &work->abandoned[i].what;
        if (what->attempt != message->attempt || !ppn_node_id_equal(&what->node, from))
            continue;
        work->abandoned[i] = work->abandoned[--work->abandoned_count];
        request->disk.dirty = true;
        request->due = fleet->now;
        return true;
    }
    return false;
}

static void refused(struct fleet *fleet, struct request *request, enum fleet_news news,
                    const struct fleet_msg *message)
{
    struct request_work *work = request->work;
    request->code = message->code == PPN_OK ? PPN_ERROR_REFUSED : message->code;
    fleet_reason(request->reason, request->code, message->reason);
    fleet_news(fleet, request, news, &request->node, request->code, request->reason);
    if (work->refused_count < FLEET_ATTEMPTS_MAX)
        work->refused[work->refused_count++] = request->node;
    fleet_request_advance(fleet, request);
}

static void while_preparing(struct fleet *fleet, struct request *request,
                            const struct fleet_msg *message)
{
    struct request_work *work = request->work;
    work->heard = fleet->now;
    switch (message->kind) {
    case FLEET_MSG_WORKING:
        fleet_news_step(fleet, request, message->step, message->percent);
        break;
    case FLEET_MSG_PREPARED:
        fleet_news(fleet, request, FLEET_NEWS_PREPARED, &request->node, PPN_OK, "");
        fleet_request_enter(fleet, request, FLEET_REQUEST_COMMITTED);
        break;
    case FLEET_MSG_REFUSED:
    case FLEET_MSG_CANCELLED:
    case FLEET_MSG_FAILED:
        refused(fleet, request, FLEET_NEWS_REFUSED, message);
        break;
    case FLEET_MSG_PREPARE:
    case FLEET_MSG_COMMIT:
    case FLEET_MSG_IN_SERVICE:
    case FLEET_MSG_CANCEL:
    case FLEET_MSG_QUERY:
    case FLEET_MSG_STATUS:
    case FLEET_MSG_CLAIM:
    case FLEET_MSG_CLAIM_ANSWER:
        break;
    }
}

/* A target that remembers nothing of an old commit may have forgotten a machine that ran and was
 * removed: redoing it could bring that back. */
static bool commit_too_old(const struct fleet *fleet, const struct request *request)
{
    int64_t age_ms = fleet->wall.unix_ms - request->changed_unix_ms;
    return age_ms > ppn_to_ms(fleet->config.commit_trust);
}

/* Only a durable "never" of the target ends a committed attempt. A late REFUSED does not: it may
 * answer an earlier copy of PREPARE than the one that was prepared. */
static void while_committed(struct fleet *fleet, struct request *request,
                            const struct fleet_msg *message)
{
    switch (message->kind) {
    case FLEET_MSG_WORKING:
        fleet_news_step(fleet, request, message->step, message->percent);
        break;
    case FLEET_MSG_IN_SERVICE:
        fleet_request_settle(fleet, request, FLEET_REQUEST_IN_SERVICE, PPN_OK, "");
        break;
    case FLEET_MSG_CANCELLED:
        if (commit_too_old(fleet, request))
            fleet_request_settle(fleet, request, FLEET_REQUEST_LOST, PPN_ERROR_STALE,
                                 "its node does not remember it any more");
        else
            refused(fleet, request, FLEET_NEWS_REFUSED, message);
        break;
    case FLEET_MSG_FAILED:
        refused(fleet, request, FLEET_NEWS_LAUNCH_FAILED, message);
        break;
    case FLEET_MSG_PREPARED:
    case FLEET_MSG_REFUSED:
    case FLEET_MSG_PREPARE:
    case FLEET_MSG_COMMIT:
    case FLEET_MSG_CANCEL:
    case FLEET_MSG_QUERY:
    case FLEET_MSG_STATUS:
    case FLEET_MSG_CLAIM:
    case FLEET_MSG_CLAIM_ANSWER:
        break;
    }
}

void fleet_request_on_message(struct fleet *fleet, const struct ppn_node_id *from,
                              const struct fleet_msg *message)
{
    struct request *request = fleet_find_request(fleet, &message->request);
    if (request == NULL)
        return;
    if (message->kind == FLEET_MSG_STATUS) {
        if (request->state == FLEET_REQUEST_FOLLOWING && message->attempt == 0)
            fleet_on_follow_status(fleet, request, from, message);
        return;
    }
    if (answers_cancel(fleet, request, from, message))
        return;
    if (message->attempt != request->attempt || !ppn_node_id_equal(&request->node, from))
        return;
    if (request->state == FLEET_REQUEST_PREPARING)
        while_preparing(fleet, request, message);
    else if (request->state == FLEET_REQUEST_COMMITTED)
        while_committed(fleet, request, message);
    else if (request->state == FLEET_REQUEST_LOST && message->kind == FLEET_MSG_IN_SERVICE)
        fleet_request_settle(fleet, request, FLEET_REQUEST_IN_SERVICE, PPN_OK, "");
}

static bool is_current(const struct request *request, const struct ppn_node_id *target,
                       uint32_t attempt)
{
    return request->attempt == attempt && ppn_node_id_equal(&request->node, target) &&
           (request->state == FLEET_REQUEST_PREPARING || request->state == FLEET_REQUEST_COMMITTED);
}

void fleet_on_query(struct fleet *fleet, const struct ppn_node_id *from,
                    const struct fleet_msg *message)
{
    const struct request *request = fleet_find_request(fleet, &message->request);
    struct fleet_msg answer = {.kind = FLEET_MSG_STATUS,
                               .request = message->request,
                               .attempt = message->attempt,
                               .phase = FLEET_PHASE_UNKNOWN};
    if (request != NULL && !fleet_sure(&request->disk))
        return;
    if (request != NULL && message->attempt == 0)
        fleet_describe(request, &answer);
    else if (request != NULL && is_current(request, from, message->attempt))
        answer.phase =
            request->state == FLEET_REQUEST_COMMITTED ? FLEET_PHASE_COMMITTED : FLEET_PHASE_WORKING;
    fleet_send(fleet, from, &answer);
}
