// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "fleet/fleet_internal.h"

/* Who owns a request that may have been given to two nodes. An origin that is not told "the id was
 * made for this very call" asks every member before it goes on, and everybody answers from what it
 * holds at that moment. Nothing of the round is stored: an origin that forgets it by restarting has
 * sent nothing that a target would act on.
 *
 * Two origins always see each other: each has its record before it asks, and a record that is on
 * its way to the disk keeps silent rather than saying "unknown". So either one finds the other past
 * its round (and follows it), or both find each other claiming (and the higher id yields). */

void fleet_claim_free(struct claim *claim)
{
    free(claim->members);
    *claim = (struct claim){0};
}

void fleet_claim_start(struct fleet *fleet, struct request *request)
{
    struct claim *claim = &request->work->claim;
    PPN_ASSERT(!request->disk.stored && request->disk.ticket == 0);
    fleet_claim_free(claim);
    request->node = (struct ppn_node_id){{0}};
    fleet_request_enter(fleet, request, FLEET_REQUEST_CLAIMING);
    claim->round = ppn_random_u64(&fleet->random);
    claim->deadline = ppn_after(fleet->now, fleet->config.claim_patience);
}

void fleet_follow(struct fleet *fleet, struct request *request, const struct ppn_node_id *winner)
{
    PPN_ASSERT(!ppn_node_id_equal(winner, &fleet->config.self));
    fleet_claim_free(&request->work->claim);
    request->node = *winner;
    fleet_request_enter(fleet, request, FLEET_REQUEST_FOLLOWING);
    fleet_news(fleet, request, FLEET_NEWS_FOLLOWING, winner, PPN_OK, "");
}

static void refuse(struct fleet *fleet, struct request *request, const char *name, const char *why)
{
    char reason[PPN_REASON_MAX + 1];
    snprintf(reason, sizeof(reason),
             "%.40s %s this request; repeat it when that node is back, or run it as a new request",
             name, why);
    fleet_request_settle(fleet, request, FLEET_REQUEST_FAILED, PPN_ERROR_UNREACHABLE, reason);
}

/* Another node's machine of this id on this very node counts like a member's answer. */
static bool settle_by_own_hold(struct fleet *fleet, struct request *request, bool *busy)
{
    const struct hold *hold = fleet_find_holder(fleet, &request->id);
    *busy = hold != NULL;
    if (hold == NULL || !fleet_sure(&hold->disk))
        return false;
    if (hold->state != FLEET_HOLD_IN_SERVICE && hold->tomb != FLEET_TOMB_REMOVED)
        return false;
    request->node = fleet->config.self;
    fleet_request_settle(fleet, request, FLEET_REQUEST_IN_SERVICE, PPN_OK, "");
    return true;
}

static const struct claim_member *first_pending(const struct claim *claim)
{
    for (uint32_t i = 0; i < claim->count; i++)
        if (claim->members[i].state == CLAIM_PENDING)
            return &claim->members[i];
    return NULL;
}

/* Sends to the next few pending members; true when the pass is complete. */
static bool ask_some(struct fleet *fleet, struct request *request)
{
    struct claim *claim = &request->work->claim;
    struct fleet_msg message = {
        .kind = FLEET_MSG_CLAIM, .request = request->id, .round = claim->round};
    uint32_t sent = 0;
    while (claim->cursor < claim->count && sent < FLEET_CLAIM_WINDOW) {
        const struct claim_member *member = &claim->members[claim->cursor++];
        if (member->state != CLAIM_PENDING)
            continue;
        fleet_send(fleet, &member->id, &message);
        sent++;
    }
    if (claim->cursor < claim->count)
        return false;
    claim->cursor = 0;
    return true;
}

void fleet_claim_act(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    struct claim *claim = &work->claim;
    bool late = ppn_due(claim->deadline, fleet->now), busy;
    if (settle_by_own_hold(fleet, request, &busy))
        return;
    if (!claim->listed && !late) {
        fleet_ask_members(fleet, request);
        work->due = ppn_after(fleet->now, fleet->config.fit_silence);
        return;
    }
    const struct claim_member *pending = first_pending(claim);
    if (claim->listed && pending == NULL && !busy) {
        fleet_claim_free(claim);
        fleet_request_enter(fleet, request, FLEET_REQUEST_PLACING);
        return;
    }
    if (late) {
        refuse(fleet, request, pending ? pending->name : "this node",
               pending ? "does not answer and may have" : "still works for another node on");
        return;
    }
    work->due = fleet->now;
    if (ask_some(fleet, request))
        work->due = fleet_retry(fleet, &work->backoff, fleet->config.retry_max);
    work->due = ppn_earlier(work->due, claim->deadline);
}

/* A member last heard of before the id was made cannot have got it while it was up, provided that
 * this node was listening all that time: who just started has heard of nobody. The id's time is the
 * client's word, so it counts only as far as it lies in the past. */
static bool may_know(const struct fleet *fleet, const struct ppn_request_id *id,
                     const struct fleet_member *member)
{
    int64_t made_ms;
    if (!ppn_request_id_time(id, &made_ms))
        return true;
    if (made_ms > fleet->wall.unix_ms)
        made_ms = fleet->wall.unix_ms;
    int64_t since_ms = made_ms - ppn_to_ms(fleet->config.clock_skew);
    return since_ms < fleet->listening_unix_ms || member->last_heard_unix_ms >= since_ms;
}

static int compare_members(const void *left, const void *right)
{
    const struct claim_member *a = left, *b = right;
    return ppn_node_id_compare(&a->id, &b->id);
}

static struct claim_member *find_member(struct claim *claim, const struct ppn_node_id *id)
{
    struct claim_member key = {.id = *id};
    if (claim->count == 0)
        return NULL;
    return bsearch(&key, claim->members, claim->count, sizeof(key), compare_members);
}

enum ppn_error fleet_on_members(struct fleet *fleet, const struct fleet_event *event)
{
    struct request *request = fleet_find_request(fleet, &event->request);
    if (request == NULL || request->state != FLEET_REQUEST_CLAIMING)
        return PPN_ERROR_STALE;
    struct claim *claim = &request->work->claim;
    if (claim->listed)
        return PPN_ERROR_STALE;
    if (event->count > PPN_MEMBERS_MAX)
        return PPN_ERROR_TOO_BIG;
    if (event->count > 0) {
        claim->members = calloc(event->count, sizeof(*claim->members));
        if (claim->members == NULL)
            return PPN_ERROR_NO_MEMORY;
    }
    const struct fleet_member *blocking = NULL;
    for (uint32_t i = 0; i < event->count; i++) {
        const struct fleet_member *member = &event->members[i];
        struct claim_member *entry = &claim->members[claim->count++];
        entry->id = member->id;
        entry->state = member->reachable ? CLAIM_PENDING : CLAIM_SKIPPED;
        (void)ppn_text_copy(entry->name, sizeof(entry->name), member->name);
        if (!member->reachable && may_know(fleet, &request->id, member))
            blocking = member;
    }
    if (claim->count > 1)
        qsort(claim->members, claim->count, sizeof(*claim->members), compare_members);
    claim->listed = true;
    if (blocking != NULL) {
        refuse(fleet, request, blocking->name, "cannot be reached and may have");
        return PPN_OK;
    }
    request->due = request->work->due = fleet->now;
    request->work->backoff = fleet->config.retry_first;
    return PPN_OK;
}

/* The member let another one go first: that one's own answer decides, unless it was not asked. */
static void on_third_party(struct fleet *fleet, struct request *request,
                           struct claim_member *member, const struct ppn_node_id *third)
{
    const struct claim_member *entry = find_member(&request->work->claim, third);
    if (entry != NULL && entry->state == CLAIM_SKIPPED)
        refuse(fleet, request, entry->name, "cannot be reached and has");
    else
        member->state = CLAIM_ANSWERED;
}

static void adopt(struct fleet *fleet, struct request *request, const struct ppn_node_id *from,
                  const struct fleet_msg *message)
{
    request->node = ppn_node_id_is_zero(&message->node) ? *from : message->node;
    if (message->phase == FLEET_PHASE_IN_SERVICE)
        fleet_request_settle(fleet, request, FLEET_REQUEST_IN_SERVICE, PPN_OK, "");
    else
        fleet_request_settle(
            fleet, request,
            message->phase == FLEET_PHASE_FAILED ? FLEET_REQUEST_FAILED : FLEET_REQUEST_LOST,
            message->code == PPN_OK ? PPN_ERROR_REFUSED : message->code, message->reason);
}

void fleet_on_claim_answer(struct fleet *fleet, const struct ppn_node_id *from,
                           const struct fleet_msg *message)
{
    struct request *request = fleet_find_request(fleet, &message->request);
    if (request == NULL || request->state != FLEET_REQUEST_CLAIMING)
        return;
    struct claim *claim = &request->work->claim;
    struct claim_member *member = find_member(claim, from);
    if (!claim->listed || message->round != claim->round || member == NULL)
        return;
    switch (message->phase) {
    case FLEET_PHASE_UNKNOWN:
        member->state = CLAIM_ANSWERED;
        break;
    case FLEET_PHASE_CLAIMING:
        if (ppn_node_id_compare(from, &fleet->config.self) < 0)
            fleet_follow(fleet, request, from);
        break; /* a higher one yields and then says FOLLOWING */
    case FLEET_PHASE_FOLLOWING:
        on_third_party(fleet, request, member, &message->node);
        break;
    case FLEET_PHASE_WORKING:
    case FLEET_PHASE_COMMITTED:
        fleet_follow(fleet, request, from);
        break;
    case FLEET_PHASE_IN_SERVICE:
    case FLEET_PHASE_FAILED:
    case FLEET_PHASE_LOST:
        adopt(fleet, request, from, message);
        break;
    case FLEET_PHASE_HELD: /* it will be settled or released; asked again */
    case FLEET_PHASE_COUNT:
        break;
    }
    if (!request->gone && request->state == FLEET_REQUEST_CLAIMING && !first_pending(claim))
        request->due = request->work->due = fleet->now;
}

/* Whom the removed member had asked to work may have answered before that: everybody is asked anew.
 */
void fleet_claim_on_removed(struct fleet *fleet, struct request *request,
                            const struct ppn_node_id *node)
{
    if (request->state == FLEET_REQUEST_CLAIMING && find_member(&request->work->claim, node))
        fleet_claim_start(fleet, request);
}

void fleet_describe(const struct request *request, struct fleet_msg *message)
{
    static const enum fleet_phase phases[] = {
        [FLEET_REQUEST_CLAIMING] = FLEET_PHASE_CLAIMING,
        [FLEET_REQUEST_FOLLOWING] = FLEET_PHASE_FOLLOWING,
        [FLEET_REQUEST_PLACING] = FLEET_PHASE_WORKING,
        [FLEET_REQUEST_PREPARING] = FLEET_PHASE_WORKING,
        [FLEET_REQUEST_COMMITTED] = FLEET_PHASE_COMMITTED,
        [FLEET_REQUEST_IN_SERVICE] = FLEET_PHASE_IN_SERVICE,
        [FLEET_REQUEST_FAILED] = FLEET_PHASE_FAILED,
        [FLEET_REQUEST_LOST] = FLEET_PHASE_LOST,
    };
    message->phase = phases[request->state];
    message->node = request->node;
    if (request->lost) { /* who follows shall not wait for a node that is dead */
        message->phase = FLEET_PHASE_LOST;
        message->code = PPN_ERROR_UNREACHABLE;
        fleet_reason(message->reason, PPN_ERROR_UNREACHABLE, "its node is dead or cut off");
    } else if (request->state >= FLEET_REQUEST_FAILED) {
        message->code = request->code;
        memcpy(message->reason, request->reason, sizeof(message->reason));
    }
}

static void answer_from_holds(const struct fleet *fleet, const struct hold *hold,
                              struct fleet_msg *answer)
{
    bool served = hold->state == FLEET_HOLD_IN_SERVICE || hold->tomb == FLEET_TOMB_REMOVED;
    answer->phase = served ? FLEET_PHASE_IN_SERVICE : FLEET_PHASE_HELD;
    answer->node = served ? fleet->config.self : hold->origin;
}

void fleet_on_claim(struct fleet *fleet, const struct ppn_node_id *from,
                    const struct fleet_msg *message)
{
    struct request *request = fleet_find_request(fleet, &message->request);
    const struct hold *hold = fleet_find_holder(fleet, &message->request);
    struct fleet_msg answer = {.kind = FLEET_MSG_CLAIM_ANSWER,
                               .request = message->request,
                               .round = message->round,
                               .phase = FLEET_PHASE_UNKNOWN};
    bool unowned = request == NULL || request->state <= FLEET_REQUEST_FOLLOWING;
    if (request != NULL) {
        bool unstored = request->state >= FLEET_REQUEST_PLACING && !request->disk.stored;
        if (unstored || !fleet_sure(&request->disk))
            return; /* it is asked again */
        if (request->state == FLEET_REQUEST_CLAIMING &&
            ppn_node_id_compare(from, &fleet->config.self) < 0)
            fleet_follow(fleet, request, from);
        fleet_describe(request, &answer);
    }
    /* A machine that is here says more than whom this node would follow. */
    if (hold != NULL && unowned) {
        if (!fleet_sure(&hold->disk))
            return;
        answer_from_holds(fleet, hold, &answer);
    }
    fleet_send(fleet, from, &answer);
}

void fleet_follow_act(struct fleet *fleet, struct request *request)
{
    struct request_work *work = request->work;
    if (ppn_due(ppn_after(work->heard, fleet->config.patience), fleet->now)) {
        fleet_request_settle(fleet, request, FLEET_REQUEST_LOST, PPN_ERROR_TIMEOUT,
                             "the node that has this request does not answer");
        return;
    }
    struct fleet_msg message = {.kind = FLEET_MSG_QUERY, .request = request->id};
    fleet_send(fleet, &request->node, &message);
    work->due = ppn_after(fleet->now, fleet->config.retry_first);
}

void fleet_on_follow_status(struct fleet *fleet, struct request *request,
                            const struct ppn_node_id *from, const struct fleet_msg *message)
{
    PPN_ASSERT(request->state == FLEET_REQUEST_FOLLOWING);
    if (!ppn_node_id_equal(from, &request->node))
        return;
    request->work->heard = fleet->now;
    switch (message->phase) {
    case FLEET_PHASE_UNKNOWN:
    case FLEET_PHASE_HELD:
        fleet_claim_start(fleet, request);
        break;
    case FLEET_PHASE_FOLLOWING:
        if (ppn_node_id_equal(&message->node, &fleet->config.self))
            fleet_claim_start(fleet, request);
        else if (!ppn_node_id_is_zero(&message->node))
            fleet_follow(fleet, request, &message->node);
        break;
    case FLEET_PHASE_IN_SERVICE:
    case FLEET_PHASE_FAILED:
    case FLEET_PHASE_LOST:
        adopt(fleet, request, from, message);
        break;
    case FLEET_PHASE_CLAIMING:
    case FLEET_PHASE_WORKING:
    case FLEET_PHASE_COMMITTED:
    case FLEET_PHASE_COUNT:
        break;
    }
}
