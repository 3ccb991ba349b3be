// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "fleet/fleet_internal.h"

struct request *fleet_find_request(const struct fleet *fleet, const struct ppn_request_id *id)
{
    for (uint32_t i = 0; i < fleet->request_count; i++)
        if (!fleet->requests[i]->gone && ppn_request_id_equal(&fleet->requests[i]->id, id))
            return fleet->requests[i];
    return NULL;
}

bool fleet_settled(const struct request *request)
{
    return request->state >= FLEET_REQUEST_IN_SERVICE;
}

bool fleet_sure(const struct disk *disk)
{
    return !disk->dirty && disk->ticket == 0;
}

/* Some row of it is on the disk, or on the way there. */
static bool recorded(const struct request *request)
{
    return request->disk.stored || request->disk.ticket != 0;
}

void fleet_request_enter(struct fleet *fleet, struct request *request,
                         enum fleet_request_state state)
{
    struct request_work *work = request->work;
    PPN_ASSERT(work != NULL);
    request->state = state;
    request->announced = false;
    request->lost = false;
    request->changed_unix_ms = fleet->wall.unix_ms;
    request->due = fleet->now;
    work->due = work->since = work->heard = fleet->now;
    work->backoff = fleet->config.retry_first;
    work->asked = false;
    if (recorded(request) || state >= FLEET_REQUEST_PREPARING)
        request->disk.dirty = true;
}

void fleet_request_drop(struct fleet *fleet, struct request *request)
{
    PPN_ASSERT(!request->gone);
    if (recorded(request)) {
        struct fleet_key key = {.kind = FLEET_ROW_REQUEST, .request = request->id};
        fleet_forget(fleet, &key);
    }
    request->gone = true;
}

void fleet_request_free(struct fleet *fleet, struct request *request)
{
    if (request->work != NULL) {
        fleet_discard(fleet, &request->work->spec);
        fleet_claim_free(&request->work->claim);
        free(request->work);
    }
    free(request);
}

static enum fleet_news final_news(const struct request *request)
{
    if (request->state == FLEET_REQUEST_IN_SERVICE)
        return FLEET_NEWS_IN_SERVICE;
    return request->state == FLEET_REQUEST_FAILED ? FLEET_NEWS_FAILED : FLEET_NEWS_LOST;
}

static void tell_final(struct fleet *fleet, const struct request *request)
{
    fleet_news(fleet, request, final_news(request), &request->node, request->code, request->reason);
}

/* "There is no VM" must be durable before it is said: after a crash the request would go on. That
 * it is in service is the target's durable word and may be said at once. */
void fleet_request_settle(struct fleet *fleet, struct request *request,
                          enum fleet_request_state state, enum ppn_error code, const char *reason)
{
    PPN_ASSERT(state >= FLEET_REQUEST_IN_SERVICE);
    request->state = state;
    request->code = code;
    char text[PPN_REASON_MAX + 1] = "";
    if (code != PPN_OK)
        fleet_reason(text, code, reason);
    memcpy(request->reason, text, sizeof(text));
    if (state == FLEET_REQUEST_FAILED)
        request->node = (struct ppn_node_id){{0}};
    request->changed_unix_ms = fleet->wall.unix_ms;
    request->due = fleet->now;
    request->lost = false;
    request->announced = state == FLEET_REQUEST_IN_SERVICE;
    if (request->work != NULL) {
        fleet_discard(fleet, &request->work->spec);
        fleet_claim_free(&request->work->claim);
        request->work->due = PPN_NEVER;
    }
    bool keep = recorded(request);
    if (request->announced || !keep)
        tell_final(fleet, request);
    if (keep)
        request->disk.dirty = true;
    else
        fleet_request_drop(fleet, request);
}

static bool has_refused(const struct request_work *work, const struct ppn_node_id *node)
{
    for (uint32_t i = 0; i < work->refused_count; i++)
        if (ppn_node_id_equal(&work->refused[i], node))
            return true;
    return false;
}

void fleet_request_advance(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    request->node = (struct ppn_node_id){{0}};
    if (request->attempt >= FLEET_ATTEMPTS_MAX) {
        fleet_request_settle(fleet, request, FLEET_REQUEST_FAILED, PPN_ERROR_NO_CANDIDATE,
                             request->reason);
        return;
    }
    while (work->candidate_next < work->candidate_count) {
        const struct ppn_node_id *node = &work->candidates[work->candidate_next++];
        if (has_refused(work, node))
            continue;
        request->attempt++;
        request->node = *node;
        fleet_request_enter(fleet, request, FLEET_REQUEST_PREPARING);
        return;
    }
    fleet_request_enter(fleet, request, FLEET_REQUEST_PLACING);
}

/* From here on the attempt will never be committed; the target hears it once that is durable. */
static void abandon(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    PPN_ASSERT(request->state == FLEET_REQUEST_PREPARING);
    PPN_ASSERT(work->abandoned_count < FLEET_ATTEMPTS_MAX);
    work->abandoned[work->abandoned_count++] =
        (struct abandoned){.what = {request->attempt, request->node},
                           .due = fleet->now,
                           .backoff = fleet->config.retry_first};
}

static void give_up_attempt(struct fleet *fleet, struct request *request)
{
    fleet_news(fleet, request, FLEET_NEWS_NO_ANSWER, &request->node, PPN_OK, "");
    abandon(fleet, request);
    request->work->may_wait = true;
    request->code = PPN_ERROR_TIMEOUT;
    fleet_reason(request->reason, PPN_ERROR_TIMEOUT, "the last node asked did not answer in time");
    fleet_request_advance(fleet, request);
}

static struct ppn_duration quarter(struct ppn_duration duration)
{
    return ppn_ns(duration.ns / 4);
}

static void act_preparing(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    const struct fleet_config *config = &fleet->config;
    if (!request->announced) {
        request->announced = true;
        work->since = work->heard = fleet->now;
        if (request->attempt == 1 && !work->restored)
            fleet_news(fleet, request, FLEET_NEWS_ACCEPTED, NULL, PPN_OK, "");
        fleet_news(fleet, request, FLEET_NEWS_TRYING, &request->node, PPN_OK, "");
    }
    struct ppn_instant silent = ppn_after(work->heard, config->prepare_silence);
    struct ppn_instant endless = ppn_after(work->since, config->prepare_max);
    if (ppn_due(ppn_earlier(silent, endless), fleet->now)) {
        give_up_attempt(fleet, request);
        return;
    }
    struct fleet_msg message = {.kind = FLEET_MSG_PREPARE,
                                .request = request->id,
                                .attempt = request->attempt,
                                .spec = fleet_blob_slice(work->spec)};
    fleet_send(fleet, &request->node, &message);
    work->due = fleet_retry(fleet, &work->backoff, quarter(config->prepare_silence));
    work->due = ppn_earlier(work->due, silent);
}

static void act_committed(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    if (!request->announced) {
        request->announced = true;
        fleet_news(fleet, request, FLEET_NEWS_COMMITTED, &request->node, PPN_OK, "");
    }
    struct fleet_msg message = {
        .kind = FLEET_MSG_COMMIT, .request = request->id, .attempt = request->attempt};
    fleet_send(fleet, &request->node, &message);
    work->due = fleet_retry(fleet, &work->backoff, fleet->config.retry_max);
}

static void act_placing(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    fleet_ask_candidates(fleet, request);
    work->asked = true;
    work->due = ppn_after(fleet->now, fleet->config.fit_silence);
}

static struct ppn_instant act_cancels(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    struct ppn_instant due = PPN_NEVER;
    for (uint32_t i = 0; i < work->abandoned_count; i++) {
        struct abandoned *abandoned = &work->abandoned[i];
        if (ppn_due(abandoned->due, fleet->now)) {
            struct fleet_msg message = {.kind = FLEET_MSG_CANCEL,
                                        .request = request->id,
                                        .attempt = abandoned->what.attempt};
            fleet_send(fleet, &abandoned->what.node, &message);
            abandoned->due = fleet_retry(fleet, &abandoned->backoff, fleet->config.retry_max);
        }
        due = ppn_earlier(due, abandoned->due);
    }
    return due;
}

static void act_by_state(struct fleet *fleet, struct request *request)
{
    switch (request->state) {
    case FLEET_REQUEST_CLAIMING:
        fleet_claim_act(fleet, request);
        break;
    case FLEET_REQUEST_FOLLOWING:
        fleet_follow_act(fleet, request);
        break;
    case FLEET_REQUEST_PLACING:
        act_placing(fleet, request);
        break;
    case FLEET_REQUEST_PREPARING:
        act_preparing(fleet, request);
        break;
    case FLEET_REQUEST_COMMITTED:
        act_committed(fleet, request);
        break;
    case FLEET_REQUEST_IN_SERVICE:
    case FLEET_REQUEST_FAILED:
    case FLEET_REQUEST_LOST:
        break;
    }
}

/* Only ever for a record whose row is where it should be. */
void fleet_request_act(struct fleet *fleet, struct request *request)
{
    PPN_ASSERT(fleet_sure(&request->disk) && !request->gone);
    struct request_work *work = request->work;
    request->due = PPN_NEVER;
    if (fleet_settled(request) && !request->announced) {
        request->announced = true;
        tell_final(fleet, request);
    }
    if (work == NULL)
        return;
    if (fleet_settled(request) && work->abandoned_count == 0) {
        fleet_discard(fleet, &work->spec);
        free(work);
        request->work = NULL;
        return;
    }
    struct ppn_instant cancels = act_cancels(fleet, request);
    if (!fleet_settled(request) && ppn_due(work->due, fleet->now))
        act_by_state(fleet, request);
    if (!request->gone && !request->disk.dirty)
        request->due = ppn_earlier(cancels, work->due);
}

void fleet_request_tell(struct fleet *fleet, const struct request *request)
{
    bool sure = request->disk.stored && fleet_sure(&request->disk);
    if (sure)
        fleet_news(fleet, request, FLEET_NEWS_ACCEPTED, NULL, PPN_OK, "");
    switch (request->state) {
    case FLEET_REQUEST_CLAIMING:
    case FLEET_REQUEST_PLACING:
        break;
    case FLEET_REQUEST_FOLLOWING:
        fleet_news(fleet, request, FLEET_NEWS_FOLLOWING, &request->node, PPN_OK, "");
        break;
    case FLEET_REQUEST_PREPARING:
        if (sure)
            fleet_news(fleet, request, FLEET_NEWS_TRYING, &request->node, PPN_OK, "");
        break;
    case FLEET_REQUEST_COMMITTED:
        if (sure)
            fleet_news(fleet, request, FLEET_NEWS_COMMITTED, &request->node, PPN_OK, "");
        if (request->lost)
            fleet_news(fleet, request, FLEET_NEWS_LOST, &request->node, PPN_ERROR_UNREACHABLE, "");
        break;
    case FLEET_REQUEST_IN_SERVICE:
        tell_final(fleet, request);
        break;
    case FLEET_REQUEST_FAILED:
    case FLEET_REQUEST_LOST:
        if (sure)
            tell_final(fleet, request);
        break;
    }
}

static uint32_t open_requests(const struct fleet *fleet)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fleet->request_count; i++)
        count += !fleet_settled(fleet->requests[i]);
    return count;
}

/* An id from before what is remembered could be a repeated one whose result is forgotten. */
static bool too_old(const struct fleet *fleet, const struct ppn_request_id *id)
{
    int64_t made_ms;
    if (!ppn_request_id_time(id, &made_ms))
        return false;
    int64_t known_ms = ppn_to_ms(fleet->config.history_keep) - ppn_to_ms(fleet->config.clock_skew);
    return made_ms < fleet->wall.unix_ms - known_ms;
}

static struct request *new_request(struct fleet *fleet, const struct fleet_event *event)
{
    struct request *request = calloc(1, sizeof(*request));
    struct request_work *work = calloc(1, sizeof(*work));
    struct blob *spec = fleet_blob(event->spec);
    if (request == NULL || work == NULL || spec == NULL) {
        free(request);
        free(work);
        free(spec);
        return NULL;
    }
    request->id = event->request;
    request->created_unix_ms = fleet->wall.unix_ms;
    request->work = work;
    work->spec = spec;
    work->patience = PPN_NEVER;
    fleet->requests[fleet->request_count++] = request;
    return request;
}

enum ppn_error fleet_on_submit(struct fleet *fleet, const struct fleet_event *event)
{
    const struct request *known = fleet_find_request(fleet, &event->request);
    if (known != NULL) {
        fleet_request_tell(fleet, known);
        return PPN_OK;
    }
    if (event->spec.size == 0)
        return PPN_ERROR_INVALID;
    if (event->spec.size > FLEET_SPEC_MAX)
        return PPN_ERROR_TOO_BIG;
    if (too_old(fleet, &event->request))
        return PPN_ERROR_STALE;
    if (open_requests(fleet) >= FLEET_REQUESTS_OPEN_MAX)
        return PPN_ERROR_FULL;
    if (fleet->request_count >= FLEET_REQUESTS_MAX)
        return PPN_ERROR_FULL;
    struct request *request = new_request(fleet, event);
    if (request == NULL)
        return PPN_ERROR_NO_MEMORY;
    if (event->fresh)
        fleet_request_enter(fleet, request, FLEET_REQUEST_PLACING);
    else
        fleet_claim_start(fleet, request);
    return PPN_OK;
}

enum ppn_error fleet_on_give_up(struct fleet *fleet, const struct fleet_event *event)
{
    struct request *request = fleet_find_request(fleet, &event->request);
    if (request == NULL)
        return PPN_ERROR_NOT_FOUND;
    if (request->state >= FLEET_REQUEST_COMMITTED)
        return PPN_ERROR_CONFLICT;
    if (request->state == FLEET_REQUEST_PREPARING)
        abandon(fleet, request);
    fleet_request_settle(fleet, request, FLEET_REQUEST_FAILED, PPN_ERROR_CANCELLED,
                         "taken back before any node was committed");
    return PPN_OK;
}

/* Nobody left to ask in this ranking. A request that was never accepted fails at once and leaves no
 * trace; an accepted one waits a while when somebody did not answer, who may come back. */
static void no_candidate(struct fleet *fleet, struct request *request, enum ppn_error code,
                         const char *reason)
{
    struct request_work *work = request->work;
    if (work->refused_count > 0 || code == PPN_OK) {
        code = PPN_ERROR_NO_CANDIDATE;
        reason = request->reason;
    }
    if (work->patience.ns == PPN_NEVER.ns)
        work->patience = ppn_after(fleet->now, fleet->config.patience);
    if (recorded(request) && work->may_wait && !ppn_due(work->patience, fleet->now)) {
        fleet_news(fleet, request, FLEET_NEWS_WAITING, NULL, code, reason);
        work->due = fleet_retry(fleet, &work->backoff, fleet->config.retry_max);
        request->due = ppn_earlier(request->due, work->due);
        return;
    }
    fleet_request_settle(fleet, request, FLEET_REQUEST_FAILED, code, reason);
}

enum ppn_error fleet_on_candidates(struct fleet *fleet, const struct fleet_event *event)
{
    struct request *request = fleet_find_request(fleet, &event->request);
    if (request == NULL || request->state != FLEET_REQUEST_PLACING || !request->work->asked)
        return PPN_ERROR_STALE;
    struct request_work *work = request->work;
    work->asked = false;
    work->candidate_next = work->candidate_count = 0;
    for (uint32_t i = 0; i < event->count && work->candidate_count < FLEET_CANDIDATES_MAX; i++)
        if (!has_refused(work, &event->nodes[i]))
            work->candidates[work->candidate_count++] = event->nodes[i];
    if (work->candidate_count > 0)
        fleet_request_advance(fleet, request);
    else
        no_candidate(fleet, request, event->code, event->reason);
    return PPN_OK;
}

static void drop_cancels(struct fleet *fleet, struct request *request,
                         const struct ppn_node_id *node)
{
    struct request_work *work = request->work;
    for (uint32_t i = 0; i < work->abandoned_count;) {
        if (!ppn_node_id_equal(&work->abandoned[i].what.node, node)) {
            i++;
            continue;
        }
        work->abandoned[i] = work->abandoned[--work->abandoned_count];
        request->disk.dirty = true;
        request->due = fleet->now;
    }
}

static void wake(struct fleet *fleet, struct request *request, const struct ppn_node_id *node)
{
    struct request_work *work = request->work;
    for (uint32_t i = 0; i < work->abandoned_count; i++)
        if (ppn_node_id_equal(&work->abandoned[i].what.node, node))
            work->abandoned[i].due = request->due = fleet->now;
    if (fleet_settled(request) || !ppn_node_id_equal(&request->node, node))
        return;
    request->lost = false;
    work->backoff = fleet->config.retry_first;
    work->due = request->due = fleet->now;
}

void fleet_request_meet_fate(struct fleet *fleet, struct request *request)
{
    bool removed = request->fate == FLEET_NODE_REMOVED;
    request->fate = FLEET_NODE_REACHABLE;
    if (request->state == FLEET_REQUEST_FOLLOWING) {
        fleet_request_settle(fleet, request, FLEET_REQUEST_LOST, PPN_ERROR_UNREACHABLE,
                             removed ? "the node that had this request is no member any more"
                                     : "the node that has this request is dead");
    } else if (request->state == FLEET_REQUEST_PREPARING) {
        give_up_attempt(fleet, request);
    } else if (request->state == FLEET_REQUEST_COMMITTED && removed) {
        fleet_request_settle(fleet, request, FLEET_REQUEST_LOST, PPN_ERROR_UNREACHABLE,
                             "its node is no member of the network any more");
    } else if (request->state == FLEET_REQUEST_COMMITTED && !request->lost) {
        request->lost = true;
        fleet_news(fleet, request, FLEET_NEWS_LOST, &request->node, PPN_ERROR_UNREACHABLE,
                   "its node is dead or cut off; it is settled when that node returns");
    }
}

void fleet_request_on_node(struct fleet *fleet, const struct fleet_event *event)
{
    const struct ppn_node_id *node = &event->node;
    for (uint32_t i = 0; i < fleet->request_count; i++) {
        struct request *request = fleet->requests[i];
        if (request->gone || request->work == NULL)
            continue;
        if (!fleet_settled(request) && ppn_node_id_equal(&request->node, node))
            request->fate = event->node_state;
        if (event->node_state == FLEET_NODE_REACHABLE) {
            wake(fleet, request, node);
        } else if (event->node_state == FLEET_NODE_REMOVED) {
            drop_cancels(fleet, request, node);
            fleet_claim_on_removed(fleet, request, node);
        }
    }
}
