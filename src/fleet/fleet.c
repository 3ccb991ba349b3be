// SPDX-License-Identifier: ISC
#include "fleet/fleet.h"

#include <stdlib.h>
#include <string.h>

#include "fleet/fleet_internal.h"

/* THE LIFE OF A REQUEST
 *
 * The origin is the node a person talked to; it owns the request. The target is the node that runs
 * the machine; it owns one hold per (request, origin). Both may be the same node.
 *
 *   origin                                       target
 *   ------                                       ------
 *   [CLAIMING] who else has this id?
 *   PLACING    rank, take the first
 *   PREPARING(n) =disk=  -- PREPARE(n) -------->  FITTING: does it fit what is really here?
 *      accepted                                   PREPARING(n) =disk=  reserved, image, disk, seed
 *                     <------- WORKING(n) ------
 *                     <------- PREPARED(n) -----  PREPARED(n)
 *   COMMITTED(n) =disk=  -- COMMIT(n) --------->  LAUNCHING(n) =disk=  QEMU
 *                     <------- IN_SERVICE(n) ---  IN_SERVICE =disk=
 *   IN_SERVICE
 *
 * `=disk=`: the row is durable before anything to its right or below happens. n is the attempt, one
 * number for each candidate tried.
 *
 * INVARIANTS
 *   1. The origin commits an attempt at most once decided, and never one that it abandoned. At any
 *      moment at most one of its attempts may still become a machine.
 *   2. After COMMITTED(n) is durable the origin leaves n only on the target's durable word that n
 * is dead: CANCELLED or FAILED. REFUSED is not durable and only ends an attempt that was not
 *      committed: it may answer an earlier copy of PREPARE than the one that was prepared.
 *   3. The target launches n only out of a live PREPARED(n) and a COMMIT(n), and only after that is
 *      durable. An attempt at or below a tombstone's number never launches, whatever arrives late.
 *   4. The target says CANCELLED or FAILED only when the tombstone is durable, even for an attempt
 *      of which it never heard before.
 *   5. "Accepted" is said when PREPARING(1) is durable, "there is no VM" when FAILED is.
 *   6. A reservation ends: in service, or by the origin's word, or by its own tombstone after a
 * long silence of the origin. So: of one request at one origin at most one machine, and exactly one
 * or a final "no" at the end.
 *
 * WHAT FAILS, AND WHAT HAPPENS
 *   a message is lost            every message is repeated until it is answered or makes no sense
 *   repeated, reordered          answered from what is remembered; attempts and tombstones tell old
 *   target refuses               REFUSED: the next candidate
 *   target silent at PREPARE     after prepare_silence the attempt is durably abandoned, CANCEL is
 *                                repeated until CANCELLED, and the next candidate is tried
 * meanwhile target dead at PREPARE       the same, at once target dead after COMMIT     shown as
 * lost with its node; COMMIT is repeated; settled when the node returns; final when the node is
 * removed from the network launch fails                 FAILED is durable at the target: the next
 * candidate origin dead before COMMIT    the target asks (hold_query), and releases after
 * hold_release; a COMMIT after that meets the tombstone, and the origin goes on origin restarts
 * rows bring the state back; PREPARE or COMMIT is repeated target restarts, PREPARING   prepared
 * again from scratch; a COMMIT that comes meanwhile waits target restarts, LAUNCHING   LAUNCH
 * again, which only reports a machine that runs already disk full at the origin      before
 * acceptance: FAILED(no_space), no trace; later: tried again disk full at the target
 * REFUSED(no_space) before the reservation is durable; later: tried again, the origin waits no
 * candidate                 before acceptance: FAILED at once, no trace. After it: FAILED, unless
 *                                a node did not answer or this origin restarted: then it waits up
 * to `patience` for a better view same id again, same origin   the state or the result is told
 * again; nothing is done twice same id at another origin    the claim round (claim.c); the loser
 * follows the winner
 *   ... and a node unreachable   if last heard of since the id was made: refused, with its name. If
 *                                not: it was off, or cut off, since before there was such an id. A
 *                                client that reaches both sides of such a cut and gives them the
 * same id gets two machines; it is the price of working with nodes off. machine removed the hold
 * turns into a tombstone REMOVED: a late COMMIT or a claim is told that it was in service; nothing
 * rises again row forgotten after days     ids older than history_keep are refused (STALE); a
 * commit older than commit_trust that the target forgot is LOST, never redone
 */

static void defaults(struct fleet_config *config)
{
    struct {
        struct ppn_duration *field, value;
    } const table[] = {
        {&config->retry_first, ppn_ms(500)},
        {&config->retry_max, ppn_seconds(15)},
        {&config->prepare_silence, ppn_seconds(8)},
        {&config->prepare_max, ppn_seconds(3600)},
        {&config->patience, ppn_seconds(120)},
        {&config->claim_patience, ppn_seconds(10)},
        {&config->fit_silence, ppn_seconds(5)},
        {&config->hold_query, ppn_seconds(30)},
        {&config->hold_release, ppn_seconds(600)},
        {&config->clock_skew, ppn_seconds(60)},
        {&config->history_keep, ppn_seconds(3 * 24 * 3600)},
        {&config->commit_trust, ppn_seconds(24 * 3600)},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (table[i].field->ns == 0)
            *table[i].field = table[i].value;
    /* A tombstone must outlive every commit that could still be redone because of its absence. */
    PPN_ASSERT(config->commit_trust.ns + config->clock_skew.ns < config->history_keep.ns);
    PPN_ASSERT(config->hold_query.ns < config->hold_release.ns);
}

struct fleet *fleet_init(const struct fleet_config *config, struct ppn_instant now, uint64_t seed)
{
    PPN_ASSERT(!ppn_node_id_is_zero(&config->self));
    struct fleet *fleet = calloc(1, sizeof(*fleet));
    if (fleet == NULL)
        return NULL;
    fleet->config = *config;
    defaults(&fleet->config);
    fleet->now = now;
    fleet->next = PPN_NEVER;
    ppn_random_init(&fleet->random, seed);
    return fleet;
}

static void bury_garbage(struct fleet *fleet)
{
    while (fleet->garbage != NULL) {
        struct blob *blob = fleet->garbage;
        fleet->garbage = blob->next;
        free(blob);
    }
}

void fleet_free(struct fleet *fleet)
{
    if (fleet == NULL)
        return;
    for (uint32_t i = 0; i < fleet->request_count; i++)
        fleet_request_free(fleet, fleet->requests[i]);
    for (uint32_t i = 0; i < fleet->hold_count; i++)
        fleet_hold_free(fleet, fleet->holds[i]);
    bury_garbage(fleet);
    free(fleet);
}

enum {
    /* One record may act, be written and act again within a step; more waits for the next. */
    ROUNDS_MAX = 4,
    PERSIST_RETRY_MS = 1000,
    SWEEP_S = 600,
    SLEPT_MS = 5000
};

static void run_request(struct fleet *fleet, struct request *request)
{
    for (int round = 0; round < ROUNDS_MAX && !request->gone; round++) {
        if (request->fate != FLEET_NODE_REACHABLE)
            fleet_request_meet_fate(fleet, request);
        if (request->gone || !ppn_due(request->due, fleet->now))
            return;
        if (request->disk.dirty && request->disk.ticket == 0) {
            struct fleet_row row;
            fleet_request_row(request, &row);
            fleet_persist(fleet, &row, &request->disk);
        }
        if (request->disk.ticket != 0)
            request->due = PPN_NEVER; /* until PERSISTED */
        else
            fleet_request_act(fleet, request);
    }
}

static void run_hold(struct fleet *fleet, struct hold *hold)
{
    for (int round = 0; round < ROUNDS_MAX && !hold->gone; round++) {
        if (!ppn_due(hold->due, fleet->now))
            return;
        if (hold->disk.dirty && hold->disk.ticket == 0) {
            struct fleet_row row;
            fleet_hold_row(hold, &row);
            fleet_persist(fleet, &row, &hold->disk);
        }
        if (hold->disk.ticket != 0)
            hold->due = PPN_NEVER;
        else
            fleet_hold_act(fleet, hold);
    }
}

static void sweep(struct fleet *fleet)
{
    if (!ppn_due(fleet->sweep, fleet->now))
        return;
    if (fleet_expire(fleet))
        fleet->sweep = ppn_after(fleet->now, ppn_seconds(SWEEP_S));
}

/* Frees what is gone and finds the next deadline. */
static void settle_tables(struct fleet *fleet)
{
    struct ppn_instant next = fleet->sweep;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fleet->request_count; i++) {
        struct request *request = fleet->requests[i];
        if (request->gone) {
            fleet_request_free(fleet, request);
            continue;
        }
        next = ppn_earlier(next, request->due);
        if (request->fate != FLEET_NODE_REACHABLE)
            next = fleet->now;
        fleet->requests[kept++] = request;
    }
    fleet->request_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < fleet->hold_count; i++) {
        struct hold *hold = fleet->holds[i];
        if (hold->gone) {
            fleet_hold_free(fleet, hold);
            continue;
        }
        next = ppn_earlier(next, hold->due);
        fleet->holds[kept++] = hold;
    }
    fleet->hold_count = kept;
    fleet->next = fleet->request_count + fleet->hold_count ? next : PPN_NEVER;
}

/* Records that find no room for their actions stay due, so the deadline is at once. */
static void run(struct fleet *fleet)
{
    sweep(fleet);
    for (uint32_t i = 0; i < fleet->request_count && fleet_has_room(fleet); i++)
        run_request(fleet, fleet->requests[i]);
    for (uint32_t i = 0; i < fleet->hold_count && fleet_has_room(fleet); i++)
        run_hold(fleet, fleet->holds[i]);
    settle_tables(fleet);
}

static void request_persisted(struct fleet *fleet, struct request *request, enum ppn_error code)
{
    request->disk.ticket = 0;
    request->due = fleet->now;
    if (code == PPN_OK) {
        request->disk.stored = true;
        return;
    }
    if (request->disk.stored) {
        request->disk.dirty = true;
        request->due = ppn_after(fleet->now, ppn_ms(PERSIST_RETRY_MS));
        return;
    }
    request->disk.dirty = false;
    fleet_request_settle(fleet, request, FLEET_REQUEST_FAILED,
                         fleet_settled(request) ? request->code : code,
                         fleet_settled(request) ? request->reason : NULL);
}

static void hold_persisted(struct fleet *fleet, struct hold *hold, enum ppn_error code)
{
    hold->disk.ticket = 0;
    hold->due = fleet->now;
    if (code == PPN_OK) {
        hold->disk.stored = true;
    } else if (!hold->disk.stored && hold->state == FLEET_HOLD_PREPARING) {
        fleet_hold_refused_by_disk(fleet, hold, code);
    } else {
        hold->disk.dirty = true;
        hold->due = ppn_after(fleet->now, ppn_ms(PERSIST_RETRY_MS));
    }
}

static enum ppn_error on_persisted(struct fleet *fleet, const struct fleet_event *event)
{
    enum ppn_error code = event->kind == FLEET_EVENT_PERSISTED ? PPN_OK
                          : event->code == PPN_OK              ? PPN_ERROR_IO
                                                               : event->code;
    for (uint32_t i = 0; event->ticket != 0 && i < fleet->request_count; i++) {
        if (fleet->requests[i]->disk.ticket == event->ticket) {
            request_persisted(fleet, fleet->requests[i], code);
            return PPN_OK;
        }
    }
    for (uint32_t i = 0; event->ticket != 0 && i < fleet->hold_count; i++) {
        if (fleet->holds[i]->disk.ticket == event->ticket) {
            hold_persisted(fleet, fleet->holds[i], code);
            return PPN_OK;
        }
    }
    return PPN_OK; /* of a forgotten one */
}

static bool well_formed(const struct fleet_msg *message)
{
    bool per_request = message->kind == FLEET_MSG_QUERY || message->kind == FLEET_MSG_STATUS ||
                       message->kind == FLEET_MSG_CLAIM || message->kind == FLEET_MSG_CLAIM_ANSWER;
    return (message->attempt > 0 || per_request) && (unsigned)message->step < FLEET_STEP_COUNT &&
           message->percent <= 100 && (unsigned)message->phase < FLEET_PHASE_COUNT &&
           (unsigned)message->code < PPN_ERROR_COUNT &&
           memchr(message->reason, '\0', sizeof(message->reason)) != NULL;
}

static void on_message(struct fleet *fleet, const struct ppn_node_id *from,
                       const struct fleet_msg *message)
{
    if (!well_formed(message) || ppn_node_id_is_zero(from))
        return;
    switch (message->kind) {
    case FLEET_MSG_PREPARE:
    case FLEET_MSG_COMMIT:
    case FLEET_MSG_CANCEL:
        fleet_hold_on_message(fleet, from, message);
        break;
    case FLEET_MSG_STATUS:
        if (message->attempt > 0) {
            fleet_hold_on_message(fleet, from, message);
            break;
        }
        fleet_request_on_message(fleet, from, message);
        break;
    case FLEET_MSG_WORKING:
    case FLEET_MSG_PREPARED:
    case FLEET_MSG_REFUSED:
    case FLEET_MSG_IN_SERVICE:
    case FLEET_MSG_FAILED:
    case FLEET_MSG_CANCELLED:
        fleet_request_on_message(fleet, from, message);
        break;
    case FLEET_MSG_QUERY:
        fleet_on_query(fleet, from, message);
        break;
    case FLEET_MSG_CLAIM:
        fleet_on_claim(fleet, from, message);
        break;
    case FLEET_MSG_CLAIM_ANSWER:
        fleet_on_claim_answer(fleet, from, message);
        break;
    }
}

static enum ppn_error handle(struct fleet *fleet, const struct fleet_event *event)
{
    switch (event->kind) {
    case FLEET_EVENT_TICK:
    case FLEET_EVENT_START:
        return PPN_OK;
    case FLEET_EVENT_RESTORE:
        return PPN_ERROR_CONFLICT; /* too late */
    case FLEET_EVENT_SUBMIT:
        return fleet_on_submit(fleet, event);
    case FLEET_EVENT_GIVE_UP:
        return fleet_on_give_up(fleet, event);
    case FLEET_EVENT_CANDIDATES:
        return fleet_on_candidates(fleet, event);
    case FLEET_EVENT_MEMBERS:
        return fleet_on_members(fleet, event);
    case FLEET_EVENT_FIT:
    case FLEET_EVENT_WORKING:
    case FLEET_EVENT_WORK_DONE:
    case FLEET_EVENT_LAUNCHED:
    case FLEET_EVENT_RELEASED:
    case FLEET_EVENT_VM_REMOVED:
        return fleet_on_work(fleet, event);
    case FLEET_EVENT_MESSAGE:
        on_message(fleet, &event->node, event->message);
        return PPN_OK;
    case FLEET_EVENT_NODE:
        fleet_request_on_node(fleet, event);
        fleet_hold_on_node(fleet, event);
        return PPN_OK;
    case FLEET_EVENT_PERSISTED:
    case FLEET_EVENT_PERSIST_FAILED:
        return on_persisted(fleet, event);
    }
    return PPN_ERROR_INVALID;
}

/* Where the two clocks part, the machine slept or its clock was set: nothing was heard meanwhile,
 * or nobody knows when. */
static void keep_time(struct fleet *fleet, struct ppn_instant now, struct ppn_wall wall)
{
    int64_t parted_ms =
        wall.unix_ms - fleet->wall.unix_ms - ppn_to_ms(ppn_between(fleet->now, now));
    if (!fleet->started || parted_ms > SLEPT_MS || parted_ms < -SLEPT_MS)
        fleet->listening_unix_ms = wall.unix_ms;
    fleet->now = now;
    fleet->wall = wall;
}

enum ppn_error fleet_step(struct fleet *fleet, struct ppn_instant now,
                          const struct fleet_event *event, struct fleet_update *update)
{
    enum ppn_error error;
    PPN_ASSERT(!ppn_before(now, fleet->now));
    keep_time(fleet, now, event->wall);
    fleet->action_count = 0;
    bury_garbage(fleet);
    if (!fleet->started && event->kind == FLEET_EVENT_RESTORE) {
        error = fleet_on_restore(fleet, event->row);
    } else if (!fleet->started && event->kind != FLEET_EVENT_START) {
        error = event->kind == FLEET_EVENT_MESSAGE || event->kind == FLEET_EVENT_NODE ||
                        event->kind == FLEET_EVENT_TICK
                    ? PPN_OK
                    : PPN_ERROR_BUSY;
    } else {
        fleet->started = true;
        error = handle(fleet, event);
        run(fleet);
    }
    *update = (struct fleet_update){fleet->actions, fleet->action_count};
    return error;
}

struct ppn_instant fleet_deadline(const struct fleet *fleet)
{
    return fleet->next;
}
