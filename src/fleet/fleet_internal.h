// SPDX-License-Identifier: ISC
#pragma once

/* Shared by the files of this folder only. Both roles work alike: a handler changes a record and
 * marks it `dirty` (its row must reach the disk) and `due` (it wants to act); fleet_run() then
 * writes dirty records and lets the clean ones act. A record never acts while its row is on the
 * way. */

#include "base/assert.h"
#include "base/random.h"
#include "fleet/fleet.h"

/* Bytes whose freeing waits for the next step, because actions may still point at them. */
struct blob {
    struct blob *next;
    size_t size;
    uint8_t bytes[];
};

/* Where a record stands with the disk. */
struct disk {
    uint64_t ticket; /* of the row under way, 0: none */
    bool dirty;      /* changed since the last PERSIST */
    bool stored;     /* some row of it is on the disk */
};

enum claim_state { CLAIM_PENDING, CLAIM_ANSWERED, CLAIM_SKIPPED };

struct claim_member {
    struct ppn_node_id id;
    enum claim_state state;
    char name[PPN_NAME_MAX + 1];
};

struct claim {
    uint64_t round;
    struct ppn_instant deadline;
    bool listed;     /* the members are known */
    uint32_t cursor; /* next to be asked in this pass */
    uint32_t count;
    struct claim_member *members; /* by id, ascending */
};

struct abandoned {
    struct fleet_abandoned what;
    struct ppn_instant due;
    struct ppn_duration backoff;
};

/* The part of a request that only an open one needs. */
struct request_work {
    struct blob *spec; /* NULL once settled */
    struct claim claim;
    uint32_t candidate_count, candidate_next;
    struct ppn_node_id candidates[FLEET_CANDIDATES_MAX];
    uint32_t refused_count; /* nodes that said no in this life of the origin */
    struct ppn_node_id refused[FLEET_ATTEMPTS_MAX];
    uint32_t abandoned_count;
    struct abandoned abandoned[FLEET_ATTEMPTS_MAX];
    struct ppn_duration backoff;
    struct ppn_instant due;      /* of this state; a cancel may be due earlier */
    struct ppn_instant since;    /* of this state */
    struct ppn_instant heard;    /* last word from the node asked */
    struct ppn_instant patience; /* until then it may wait for candidates; NEVER: not waiting yet */
    bool asked;                  /* NEED_CANDIDATES is open */
    bool may_wait;               /* a node did not answer, or this origin restarted */
    bool restored;
};

struct request {
    struct ppn_request_id id;
    enum fleet_request_state state;
    uint32_t attempt;
    struct ppn_node_id node;
    int64_t created_unix_ms, changed_unix_ms;
    enum ppn_error code;
    char reason[PPN_REASON_MAX + 1];
    struct disk disk;
    struct ppn_instant due;
    bool announced; /* the entry actions of this state were done */
    bool lost;
    bool gone;                  /* to be freed */
    enum fleet_node_state fate; /* of `node`, to be looked at; REACHABLE: nothing new */
    struct request_work *work;  /* NULL: settled and nothing to cancel */
};

struct hold {
    struct ppn_request_id id;
    struct ppn_node_id origin;
    enum fleet_hold_state state;
    uint32_t attempt;
    int64_t created_unix_ms, changed_unix_ms;
    enum fleet_tomb tomb;
    enum ppn_error code;
    char reason[PPN_REASON_MAX + 1];
    struct fleet_reserve reserve;
    struct disk disk;
    struct ppn_instant due;
    struct ppn_instant heard; /* last word from the origin */
    bool announced;
    bool commit_waits; /* a commit came while it is prepared again */
    bool gone;
    enum fleet_step step;
    uint32_t percent;
    struct blob *spec; /* NULL once in service or dead */
};

struct fleet {
    struct fleet_config config;
    struct ppn_random random;
    struct ppn_instant now;
    struct ppn_wall wall;
    bool started;
    int64_t listening_unix_ms; /* without a break since then: no restart, no sleep */
    struct ppn_instant next;   /* deadline, as of the last step */
    uint64_t ticket;
    struct ppn_instant sweep; /* next look for what has expired */
    struct blob *garbage;
    uint32_t request_count, hold_count;
    struct request *requests[FLEET_REQUESTS_MAX];
    struct hold *holds[FLEET_HOLDS_MAX];
    uint32_t action_count;
    struct fleet_action actions[FLEET_ACTIONS_MAX];
    struct fleet_msg messages[FLEET_ACTIONS_MAX];
    struct fleet_row rows[FLEET_ACTIONS_MAX];
    char texts[FLEET_ACTIONS_MAX][PPN_REASON_MAX + 1];
};

enum {
    /* Room a single handler or act may use; fleet_run() stops before less is left. */
    FLEET_ACTIONS_SPARE = 24,
    FLEET_CLAIM_WINDOW = 16 /* claims sent by one act */
};

_Static_assert(FLEET_CLAIM_WINDOW < FLEET_ACTIONS_SPARE, "one act fits the spare room");
_Static_assert((int)FLEET_ACTIONS_SPARE * 2 < (int)FLEET_ACTIONS_MAX,
               "a handler and acts both fit");
_Static_assert((int)FLEET_ATTEMPTS_MAX < (int)FLEET_ACTIONS_SPARE,
               "every cancel of a request fits one act");

/* ---- out.c: actions ---- */

bool fleet_has_room(const struct fleet *fleet);
/* The message is copied; `to` may be this node. */
void fleet_send(struct fleet *fleet, const struct ppn_node_id *to, const struct fleet_msg *message);
void fleet_persist(struct fleet *fleet, const struct fleet_row *row, struct disk *disk);
void fleet_forget(struct fleet *fleet, const struct fleet_key *key);
void fleet_news(struct fleet *fleet, const struct request *request, enum fleet_news news,
                const struct ppn_node_id *node, enum ppn_error code, const char *reason);
void fleet_news_step(struct fleet *fleet, const struct request *request, enum fleet_step step,
                     uint32_t percent);
void fleet_ask_candidates(struct fleet *fleet, const struct request *request);
void fleet_ask_members(struct fleet *fleet, const struct request *request);
void fleet_ask_hold(struct fleet *fleet, enum fleet_action_kind kind, const struct hold *hold);

struct blob *fleet_blob(struct ppn_slice bytes); /* NULL: out of memory */
void fleet_discard(struct fleet *fleet, struct blob **blob);
struct ppn_slice fleet_blob_slice(const struct blob *blob);

/* Doubles *backoff up to `limit` and returns now + its old value. */
struct ppn_instant fleet_retry(const struct fleet *fleet, struct ppn_duration *backoff,
                               struct ppn_duration limit);

/* Both never NULL-terminate beyond the field; NULL reason: the text of code. */
void fleet_reason(char *to, enum ppn_error code, const char *reason);

/* ---- origin.c ---- */

struct request *fleet_find_request(const struct fleet *fleet, const struct ppn_request_id *id);
bool fleet_settled(const struct request *request);
/* May others be told of it? Not while its row is on the way. */
bool fleet_sure(const struct disk *disk);
void fleet_request_enter(struct fleet *fleet, struct request *request,
                         enum fleet_request_state state);
void fleet_request_drop(struct fleet *fleet, struct request *request);
void fleet_request_settle(struct fleet *fleet, struct request *request,
                          enum fleet_request_state state, enum ppn_error code, const char *reason);
/* The node said no, or nothing: on to the next candidate. */
void fleet_request_advance(struct fleet *fleet, struct request *request);
void fleet_request_act(struct fleet *fleet, struct request *request);
void fleet_request_tell(struct fleet *fleet, const struct request *request);
void fleet_request_free(struct fleet *fleet, struct request *request);
enum ppn_error fleet_on_submit(struct fleet *fleet, const struct fleet_event *event);
enum ppn_error fleet_on_give_up(struct fleet *fleet, const struct fleet_event *event);
enum ppn_error fleet_on_candidates(struct fleet *fleet, const struct fleet_event *event);
void fleet_request_on_node(struct fleet *fleet, const struct fleet_event *event);
/* Carries out `fate`. */
void fleet_request_meet_fate(struct fleet *fleet, struct request *request);

/* ---- answer.c: what the origin makes of the target's words ---- */

void fleet_request_on_message(struct fleet *fleet, const struct ppn_node_id *from,
                              const struct fleet_msg *message);
void fleet_on_query(struct fleet *fleet, const struct ppn_node_id *from,
                    const struct fleet_msg *message);

/* ---- claim.c ---- */

void fleet_claim_start(struct fleet *fleet, struct request *request);
void fleet_claim_act(struct fleet *fleet, struct request *request);
void fleet_claim_free(struct claim *claim);
enum ppn_error fleet_on_members(struct fleet *fleet, const struct fleet_event *event);
void fleet_on_claim(struct fleet *fleet, const struct ppn_node_id *from,
                    const struct fleet_msg *message);
void fleet_on_claim_answer(struct fleet *fleet, const struct ppn_node_id *from,
                           const struct fleet_msg *message);
void fleet_claim_on_removed(struct fleet *fleet, struct request *request,
                            const struct ppn_node_id *node);
void fleet_follow(struct fleet *fleet, struct request *request, const struct ppn_node_id *winner);
void fleet_follow_act(struct fleet *fleet, struct request *request);
void fleet_on_follow_status(struct fleet *fleet, struct request *request,
                            const struct ppn_node_id *from, const struct fleet_msg *message);
/* What this node says of the whole request, from its own record. */
void fleet_describe(const struct request *request, struct fleet_msg *message);

/* ---- target.c ---- */

void fleet_hold_act(struct fleet *fleet, struct hold *hold);
void fleet_hold_free(struct fleet *fleet, struct hold *hold);
/* Any hold of the request that is more than a tombstone, REMOVED ones included; NULL: none. */
const struct hold *fleet_find_holder(const struct fleet *fleet, const struct ppn_request_id *id);
void fleet_hold_refused_by_disk(struct fleet *fleet, struct hold *hold, enum ppn_error code);
enum ppn_error fleet_on_work(struct fleet *fleet, const struct fleet_event *event);
void fleet_hold_on_message(struct fleet *fleet, const struct ppn_node_id *from,
                           const struct fleet_msg *message);
void fleet_hold_on_node(struct fleet *fleet, const struct fleet_event *event);

/* ---- rows.c ---- */

void fleet_request_row(const struct request *request, struct fleet_row *row);
void fleet_hold_row(const struct hold *hold, struct fleet_row *row);
enum ppn_error fleet_on_restore(struct fleet *fleet, const struct fleet_row *row);
/* Forgets what has expired; false when the actions ran out before the end. */
bool fleet_expire(struct fleet *fleet);
