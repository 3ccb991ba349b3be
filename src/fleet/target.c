// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "fleet/fleet_internal.h"

static struct hold *find_hold(const struct fleet *fleet, const struct ppn_request_id *id,
                              const struct ppn_node_id *origin)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        struct hold *hold = fleet->holds[i];
        if (!hold->gone && ppn_request_id_equal(&hold->id, id) &&
            ppn_node_id_equal(&hold->origin, origin))
            return hold;
    }
    return NULL;
}

/* Dead for every purpose but that it must not rise again. */
static bool is_buried(const struct hold *hold)
{
    return hold->state == FLEET_HOLD_RELEASING || hold->state == FLEET_HOLD_TOMB;
}

static bool is_uncommitted(const struct hold *hold)
{
    return hold->state == FLEET_HOLD_FITTING || hold->state == FLEET_HOLD_PREPARING ||
           hold->state == FLEET_HOLD_PREPARED;
}

const struct hold *fleet_find_holder(const struct fleet *fleet, const struct ppn_request_id *id)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        const struct hold *hold = fleet->holds[i];
        if (hold->gone || !ppn_request_id_equal(&hold->id, id))
            continue;
        if (hold->state != FLEET_HOLD_TOMB || hold->tomb == FLEET_TOMB_REMOVED)
            return hold;
    }
    return NULL;
}

void fleet_hold_free(struct fleet *fleet, struct hold *hold)
{
    fleet_discard(fleet, &hold->spec);
    free(hold);
}

static bool another_is_fitted(const struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        if (fleet->holds[i]->state == FLEET_HOLD_FITTING && fleet->holds[i]->announced &&
            !fleet->holds[i]->gone)
            return true;
    return false;
}

/* The next in the queue may ask: its check will see what the one before reserved. */
static void wake_fitting(struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        if (fleet->holds[i]->state == FLEET_HOLD_FITTING && !fleet->holds[i]->announced)
            fleet->holds[i]->due = fleet->now;
}

/* FITTING is nothing yet, and PREPARED is what the files on the disk say: neither is written. */
static void enter(struct fleet *fleet, struct hold *hold, enum fleet_hold_state state)
{
    if (hold->state == FLEET_HOLD_FITTING)
        wake_fitting(fleet);
    hold->state = state;
    hold->announced = false;
    hold->changed_unix_ms = fleet->wall.unix_ms;
    hold->due = fleet->now;
    hold->step = state == FLEET_HOLD_LAUNCHING ? FLEET_STEP_LAUNCH : FLEET_STEP_RESERVE;
    hold->percent = 0;
    if (state >= FLEET_HOLD_IN_SERVICE)
        fleet_discard(fleet, &hold->spec);
    if (state == FLEET_HOLD_IN_SERVICE || state == FLEET_HOLD_TOMB)
        hold->reserve = (struct fleet_reserve){0};
    if (state != FLEET_HOLD_FITTING && state != FLEET_HOLD_PREPARED)
        hold->disk.dirty = true;
}

static void bury(struct fleet *fleet, struct hold *hold, enum fleet_tomb tomb, enum ppn_error code,
                 const char *reason)
{
    PPN_ASSERT(!is_buried(hold));
    bool worked = hold->state != FLEET_HOLD_FITTING && tomb != FLEET_TOMB_REMOVED;
    hold->tomb = tomb;
    hold->code = code;
    hold->commit_waits = false;
    fleet_reason(hold->reason, code, reason);
    enter(fleet, hold, worked ? FLEET_HOLD_RELEASING : FLEET_HOLD_TOMB);
}

static void cancel(struct fleet *fleet, struct hold *hold)
{
    bury(fleet, hold, FLEET_TOMB_CANCELLED, PPN_ERROR_CANCELLED, "cancelled by its origin");
}

static void send_about(struct fleet *fleet, const struct hold *hold, enum fleet_msg_kind kind)
{
    struct fleet_msg message = {.kind = kind, .request = hold->id, .attempt = hold->attempt};
    if (kind == FLEET_MSG_WORKING) {
        message.step = hold->step;
        message.percent = hold->percent;
    } else if (kind == FLEET_MSG_IN_SERVICE) {
        message.removed = hold->tomb == FLEET_TOMB_REMOVED;
    } else if (kind == FLEET_MSG_CANCELLED || kind == FLEET_MSG_FAILED) {
        message.code = hold->code;
        memcpy(message.reason, hold->reason, sizeof(message.reason));
    }
    fleet_send(fleet, &hold->origin, &message);
}

/* Says where the hold stands; nothing while its row is on the way, the answer follows then. */
static void answer(struct fleet *fleet, const struct hold *hold)
{
    static const enum fleet_msg_kind finals[] = {[FLEET_TOMB_CANCELLED] = FLEET_MSG_CANCELLED,
                                                 [FLEET_TOMB_FAILED] = FLEET_MSG_FAILED,
                                                 [FLEET_TOMB_REMOVED] = FLEET_MSG_IN_SERVICE};
    if (!fleet_sure(&hold->disk))
        return;
    switch (hold->state) {
    case FLEET_HOLD_FITTING:
        break;
    case FLEET_HOLD_PREPARING:
    case FLEET_HOLD_LAUNCHING:
        send_about(fleet, hold, FLEET_MSG_WORKING);
        break;
    case FLEET_HOLD_PREPARED:
        send_about(fleet, hold, FLEET_MSG_PREPARED);
        break;
    case FLEET_HOLD_IN_SERVICE:
        send_about(fleet, hold, FLEET_MSG_IN_SERVICE);
        break;
    case FLEET_HOLD_RELEASING:
    case FLEET_HOLD_TOMB:
        send_about(fleet, hold, finals[hold->tomb]);
        break;
    }
}

static void refuse(struct fleet *fleet, const struct ppn_node_id *origin,
                   const struct ppn_request_id *request, uint32_t attempt, enum ppn_error code,
                   const char *reason)
{
    struct fleet_msg message = {
        .kind = FLEET_MSG_REFUSED, .request = *request, .attempt = attempt, .code = code};
    fleet_reason(message.reason, code, reason);
    fleet_send(fleet, origin, &message);
}

/* Never prepared: forgotten, unless a tombstone of an earlier attempt is on the disk, which then
 * covers this attempt too. */
static void turn_away(struct fleet *fleet, struct hold *hold, enum ppn_error code,
                      const char *reason)
{
    refuse(fleet, &hold->origin, &hold->id, hold->attempt, code, reason);
    wake_fitting(fleet);
    if (!hold->disk.stored) {
        hold->gone = true;
        return;
    }
    hold->tomb = FLEET_TOMB_CANCELLED;
    hold->code = code;
    fleet_reason(hold->reason, code, reason);
    enter(fleet, hold, FLEET_HOLD_TOMB);
    hold->announced = true;
}

void fleet_hold_refused_by_disk(struct fleet *fleet, struct hold *hold, enum ppn_error code)
{
    PPN_ASSERT(hold->state == FLEET_HOLD_PREPARING && !hold->disk.stored);
    turn_away(fleet, hold, code, NULL);
}

/* The origin's silence: asked at first, then taken for an answer. */
static void wait_for_origin(struct fleet *fleet, struct hold *hold)
{
    struct ppn_instant release = ppn_after(hold->heard, fleet->config.hold_release);
    struct ppn_instant query = ppn_after(hold->heard, fleet->config.hold_query);
    if (ppn_due(release, fleet->now)) {
        bury(fleet, hold, FLEET_TOMB_CANCELLED, PPN_ERROR_TIMEOUT,
             "released: its origin was silent too long");
        return;
    }
    if (ppn_due(query, fleet->now)) {
        send_about(fleet, hold, FLEET_MSG_QUERY);
        query = ppn_after(fleet->now, fleet->config.hold_query);
    }
    hold->due = ppn_earlier(query, release);
}

static void announce(struct fleet *fleet, struct hold *hold)
{
    switch (hold->state) {
    case FLEET_HOLD_FITTING:
        fleet_ask_hold(fleet, FLEET_DO_CHECK_FIT, hold);
        hold->due = ppn_after(fleet->now, fleet->config.fit_silence);
        break;
    case FLEET_HOLD_PREPARING:
        fleet_ask_hold(fleet, FLEET_DO_PREPARE, hold);
        break;
    case FLEET_HOLD_LAUNCHING:
        fleet_ask_hold(fleet, FLEET_DO_LAUNCH, hold);
        break;
    case FLEET_HOLD_RELEASING:
        fleet_ask_hold(fleet, FLEET_DO_RELEASE, hold);
        break;
    case FLEET_HOLD_PREPARED:
    case FLEET_HOLD_IN_SERVICE:
    case FLEET_HOLD_TOMB:
        break;
    }
    answer(fleet, hold);
}

/* Only ever for a hold whose row is where it should be. */
void fleet_hold_act(struct fleet *fleet, struct hold *hold)
{
    PPN_ASSERT(fleet_sure(&hold->disk) && !hold->gone);
    hold->due = PPN_NEVER;
    if (hold->state == FLEET_HOLD_FITTING && !hold->announced && another_is_fitted(fleet))
        return;
    if (!hold->announced) {
        hold->announced = true;
        announce(fleet, hold);
    } else if (hold->state == FLEET_HOLD_FITTING) {
        turn_away(fleet, hold, PPN_ERROR_BUSY, NULL);
        return;
    }
    if (hold->state == FLEET_HOLD_PREPARING || hold->state == FLEET_HOLD_PREPARED)
        wait_for_origin(fleet, hold);
}

static struct hold *new_hold(struct fleet *fleet, const struct ppn_node_id *origin,
                             const struct fleet_msg *message)
{
    uint32_t of_origin = 0;
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        of_origin += ppn_node_id_equal(&fleet->holds[i]->origin, origin);
    if (of_origin >= FLEET_HOLDS_PER_ORIGIN_MAX || fleet->hold_count >= FLEET_HOLDS_MAX)
        return NULL;
    struct hold *hold = calloc(1, sizeof(*hold));
    if (hold == NULL)
        return NULL;
    hold->id = message->request;
    hold->origin = *origin;
    hold->attempt = message->attempt;
    hold->created_unix_ms = fleet->wall.unix_ms;
    hold->heard = fleet->now;
    fleet->holds[fleet->hold_count++] = hold;
    return hold;
}

static uint32_t open_holds(const struct fleet *fleet)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        count += fleet->holds[i]->state < FLEET_HOLD_IN_SERVICE;
    return count;
}

/* A new reservation, or a new life after an earlier attempt's tombstone. */
static void begin(struct fleet *fleet, struct hold *hold, const struct ppn_node_id *origin,
                  const struct fleet_msg *message)
{
    const struct hold *other = fleet_find_holder(fleet, &message->request);
    if (other != NULL) {
        refuse(fleet, origin, &message->request, message->attempt, PPN_ERROR_CONFLICT,
               "this node holds that machine for another origin");
        return;
    }
    struct blob *spec = NULL;
    if (open_holds(fleet) < FLEET_HOLDS_OPEN_MAX)
        spec = fleet_blob(message->spec);
    if (spec != NULL && hold == NULL)
        hold = new_hold(fleet, origin, message);
    if (spec == NULL || hold == NULL) {
        free(spec);
        refuse(fleet, origin, &message->request, message->attempt, PPN_ERROR_BUSY,
               "too many requests are being prepared here");
        return;
    }
    hold->attempt = message->attempt;
    hold->tomb = 0;
    hold->code = PPN_OK;
    hold->reason[0] = '\0';
    hold->heard = fleet->now;
    hold->spec = spec;
    enter(fleet, hold, FLEET_HOLD_FITTING);
}

/* Attempts below the present one are dead, and the row says so. */
static void answer_old(struct fleet *fleet, const struct hold *hold, uint32_t attempt)
{
    if (!fleet_sure(&hold->disk) || !hold->disk.stored)
        return;
    struct fleet_msg message = {.kind = FLEET_MSG_CANCELLED,
                                .request = hold->id,
                                .attempt = attempt,
                                .code = PPN_ERROR_CANCELLED};
    fleet_reason(message.reason, PPN_ERROR_CANCELLED, "a later attempt replaced it");
    fleet_send(fleet, &hold->origin, &message);
}

static void on_prepare(struct fleet *fleet, struct hold *hold, const struct ppn_node_id *from,
                       const struct fleet_msg *message)
{
    if (message->spec.size == 0 || message->spec.size > FLEET_SPEC_MAX)
        return;
    if (hold == NULL) {
        begin(fleet, NULL, from, message);
    } else if (message->attempt < hold->attempt) {
        answer_old(fleet, hold, message->attempt);
    } else if (message->attempt == hold->attempt) {
        hold->heard = fleet->now;
        answer(fleet, hold);
    } else if (hold->state == FLEET_HOLD_TOMB && hold->tomb != FLEET_TOMB_REMOVED) {
        if (fleet_sure(&hold->disk))
            begin(fleet, hold, from, message);
    } else if (is_uncommitted(hold)) {
        cancel(fleet, hold); /* and the new attempt is taken when it is repeated */
    }
}

static void launch(struct fleet *fleet, struct hold *hold)
{
    PPN_ASSERT(hold->state == FLEET_HOLD_PREPARED);
    hold->commit_waits = false;
    enter(fleet, hold, FLEET_HOLD_LAUNCHING);
}

static void take_commit(struct fleet *fleet, struct hold *hold)
{
    hold->heard = fleet->now;
    if (hold->state == FLEET_HOLD_PREPARED) {
        launch(fleet, hold);
        return;
    }
    if (hold->state == FLEET_HOLD_PREPARING)
        hold->commit_waits = true; /* prepared before this node restarted, and now again */
    else if (hold->state == FLEET_HOLD_FITTING)
        cancel(fleet, hold);
    answer(fleet, hold);
}

/* COMMIT or CANCEL of an attempt that is not here and must never come: the tombstone covers it. */
static void entomb(struct fleet *fleet, struct hold *hold, const struct ppn_node_id *from,
                   const struct fleet_msg *message)
{
    if (hold == NULL) {
        hold = new_hold(fleet, from, message);
        if (hold == NULL)
            return;
        hold->state = FLEET_HOLD_FITTING;
        cancel(fleet, hold);
        return;
    }
    PPN_ASSERT(message->attempt > hold->attempt);
    if (is_uncommitted(hold)) {
        hold->attempt = message->attempt;
        cancel(fleet, hold);
    } else if (is_buried(hold) && hold->tomb != FLEET_TOMB_REMOVED) {
        hold->attempt = message->attempt;
        hold->tomb = FLEET_TOMB_CANCELLED;
        hold->announced = hold->state == FLEET_HOLD_RELEASING && hold->announced;
        hold->disk.dirty = true;
        hold->due = fleet->now;
    }
}

static void on_commit(struct fleet *fleet, struct hold *hold, const struct ppn_node_id *from,
                      const struct fleet_msg *message)
{
    if (hold == NULL || message->attempt > hold->attempt)
        entomb(fleet, hold, from, message);
    else if (message->attempt < hold->attempt)
        answer_old(fleet, hold, message->attempt);
    else
        take_commit(fleet, hold);
}

static void on_cancel(struct fleet *fleet, struct hold *hold, const struct ppn_node_id *from,
                      const struct fleet_msg *message)
{
    if (hold == NULL || message->attempt > hold->attempt)
        entomb(fleet, hold, from, message);
    else if (message->attempt < hold->attempt)
        answer_old(fleet, hold, message->attempt);
    else if (is_uncommitted(hold))
        cancel(fleet, hold);
    else
        answer(fleet, hold);
}

static void on_status(struct fleet *fleet, struct hold *hold, const struct fleet_msg *message)
{
    if (hold == NULL || message->attempt != hold->attempt || !is_uncommitted(hold))
        return;
    if (message->phase == FLEET_PHASE_WORKING)
        hold->heard = fleet->now;
    else if (message->phase == FLEET_PHASE_COMMITTED)
        take_commit(fleet, hold);
    else
        cancel(fleet, hold);
}

void fleet_hold_on_message(struct fleet *fleet, const struct ppn_node_id *from,
                           const struct fleet_msg *message)
{
    struct hold *hold = find_hold(fleet, &message->request, from);
    PPN_ASSERT(message->attempt > 0);
    if (message->kind == FLEET_MSG_PREPARE)
        on_prepare(fleet, hold, from, message);
    else if (message->kind == FLEET_MSG_COMMIT)
        on_commit(fleet, hold, from, message);
    else if (message->kind == FLEET_MSG_CANCEL)
        on_cancel(fleet, hold, from, message);
    else
        on_status(fleet, hold, message);
}

static enum ppn_error on_fit(struct fleet *fleet, struct hold *hold,
                             const struct fleet_event *event)
{
    if (hold->state != FLEET_HOLD_FITTING)
        return PPN_ERROR_STALE;
    if (event->code != PPN_OK) {
        turn_away(fleet, hold, event->code, event->reason);
        return PPN_OK;
    }
    hold->reserve = event->reserve;
    enter(fleet, hold, FLEET_HOLD_PREPARING);
    return PPN_OK;
}

static enum ppn_error on_work_done(struct fleet *fleet, struct hold *hold,
                                   const struct fleet_event *event)
{
    if (hold->state != FLEET_HOLD_PREPARING)
        return PPN_ERROR_STALE;
    if (event->code != PPN_OK) {
        bury(fleet, hold, FLEET_TOMB_FAILED, event->code, event->reason);
        return PPN_OK;
    }
    enter(fleet, hold, FLEET_HOLD_PREPARED);
    if (hold->commit_waits)
        launch(fleet, hold);
    return PPN_OK;
}

static enum ppn_error on_launched(struct fleet *fleet, struct hold *hold,
                                  const struct fleet_event *event)
{
    if (hold->state != FLEET_HOLD_LAUNCHING)
        return PPN_ERROR_STALE;
    if (event->code ==
        PPN_ERROR_NOT_FOUND) /* removed, and this node restarted before it was said */
        bury(fleet, hold, FLEET_TOMB_REMOVED, PPN_OK, NULL);
    else if (event->code != PPN_OK)
        bury(fleet, hold, FLEET_TOMB_FAILED, event->code, event->reason);
    else
        enter(fleet, hold, FLEET_HOLD_IN_SERVICE);
    return PPN_OK;
}

static enum ppn_error on_vm_event(struct fleet *fleet, const struct fleet_event *event)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        struct hold *hold = fleet->holds[i];
        if (hold->gone || !ppn_request_id_equal(&hold->id, &event->request))
            continue;
        bool launched = hold->state == FLEET_HOLD_LAUNCHING || hold->state == FLEET_HOLD_IN_SERVICE;
        if (event->kind == FLEET_EVENT_VM_REMOVED && launched) {
            bury(fleet, hold, FLEET_TOMB_REMOVED, PPN_OK, NULL);
            return PPN_OK;
        }
        if (event->kind == FLEET_EVENT_WORKING &&
            (hold->state == FLEET_HOLD_PREPARING || hold->state == FLEET_HOLD_LAUNCHING)) {
            hold->step = event->step;
            hold->percent = event->percent;
            answer(fleet, hold);
            return PPN_OK;
        }
    }
    return PPN_ERROR_STALE;
}

enum ppn_error fleet_on_work(struct fleet *fleet, const struct fleet_event *event)
{
    if (event->kind == FLEET_EVENT_VM_REMOVED || event->kind == FLEET_EVENT_WORKING)
        return on_vm_event(fleet, event);
    struct hold *hold = find_hold(fleet, &event->request, &event->origin);
    if (hold == NULL)
        return PPN_ERROR_STALE;
    if (event->kind == FLEET_EVENT_RELEASED) {
        if (hold->state != FLEET_HOLD_RELEASING)
            return PPN_ERROR_STALE;
        bool told = hold->announced;
        enter(fleet, hold, FLEET_HOLD_TOMB);
        hold->announced = told;
        return PPN_OK;
    }
    if (hold->attempt != event->attempt)
        return PPN_ERROR_STALE;
    if (event->kind == FLEET_EVENT_FIT)
        return on_fit(fleet, hold, event);
    if (event->kind == FLEET_EVENT_WORK_DONE)
        return on_work_done(fleet, hold, event);
    PPN_ASSERT(event->kind == FLEET_EVENT_LAUNCHED);
    return on_launched(fleet, hold, event);
}

void fleet_hold_on_node(struct fleet *fleet, const struct fleet_event *event)
{
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        struct hold *hold = fleet->holds[i];
        if (hold->gone || !ppn_node_id_equal(&hold->origin, &event->node) || !is_uncommitted(hold))
            continue;
        if (event->node_state == FLEET_NODE_REMOVED)
            bury(fleet, hold, FLEET_TOMB_CANCELLED, PPN_ERROR_UNAUTHORIZED,
                 "its origin is no member of the network any more");
        else if (event->node_state == FLEET_NODE_REACHABLE && hold->state != FLEET_HOLD_FITTING)
            hold->due = fleet->now;
    }
}
