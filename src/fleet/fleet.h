// SPDX-License-Identifier: ISC
#pragma once

/* One request's life: durable at its origin (the node the person talked to) and at its target (the
 * node that runs the machine), exactly one VM at the end. The core knows no facts, scores, disks or
 * QEMU: candidates, the fit check and the work are asked of the shell by updates and come back as
 * events. fleet.c opens with the protocol, its invariants and its failure table.
 *
 * Order of life: fleet_init; one RESTORE event per stored row; START; then anything. Actions must
 * be carried out in the order given. PERSIST and FORGET may complete later: the shell says
 * PERSISTED (or PERSIST_FAILED) with the action's ticket, and everything that has to wait for the
 * disk waits inside the core. Rows reach the disk in the order of their actions. A SEND to this
 * node itself is handed back by the shell as a MESSAGE event from itself. Right after START, and
 * whenever it changes, the shell says by NODE who is DEAD or REMOVED; nodes in restored rows that
 * are members no more are REMOVED.
 *
 * Work is asked for again after a restart, and repeated asking must be harmless: PREPARE starts
 * from scratch where half-made files lie around, LAUNCH of a machine that runs already only reports
 * it, LAUNCH of one that somebody removed is answered by VM_REMOVED, or by LAUNCHED with NOT_FOUND;
 * RELEASE also stops what is under way, and of nothing it succeeds. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/machine.h"
#include "base/slice.h"
#include "base/time.h"
#include "fleet/fleet_msg.h"

struct fleet;

enum {
    FLEET_REQUESTS_MAX = 4096,     /* remembered at the origin, settled ones included */
    FLEET_REQUESTS_OPEN_MAX = 128, /* of these, not settled */
    FLEET_HOLDS_MAX = 4096,        /* remembered at the target, tombstones included */
    FLEET_HOLDS_OPEN_MAX = 64,     /* of these, neither in service nor tombstones */
    FLEET_HOLDS_PER_ORIGIN_MAX = 1024,
    FLEET_ATTEMPTS_MAX = 16,   /* of one request, then it fails */
    FLEET_CANDIDATES_MAX = 32, /* taken over from one ranking */
    FLEET_ACTIONS_MAX = 96 /* of one step; what does not fit waits for the next (deadline: now) */
};

/* Zero means the default, everywhere but in `self`. */
struct fleet_config {
    struct ppn_node_id self;
    struct ppn_duration retry_first;     /* 500 ms: until a message is sent again, doubling */
    struct ppn_duration retry_max;       /* 15 s */
    struct ppn_duration prepare_silence; /* 8 s without a word: next candidate */
    struct ppn_duration prepare_max;     /* 1 h: a preparation that never ends is given up */
    struct ppn_duration patience;        /* 2 min: an accepted request waits for a candidate */
    struct ppn_duration claim_patience;  /* 10 s: then a silent member counts as not reachable */
    struct ppn_duration fit_silence;     /* 5 s: the shell owes an answer by then */
    struct ppn_duration hold_query;      /* 30 s: a prepared target asks its origin */
    struct ppn_duration hold_release;    /* 10 min without a word from the origin: released */
    struct ppn_duration clock_skew;      /* 60 s: between any two wall clocks */
    struct ppn_duration history_keep;    /* 3 days: settled requests and tombstones */
    struct ppn_duration commit_trust;    /* 1 day: an older commit the target lost is not redone */
};

/* What a prepared machine takes from the target, as the shell's fit check counted it. */
struct fleet_reserve {
    uint64_t memory_bytes; /* with QEMU's overhead */
    uint64_t disk_bytes;
    uint32_t vcpus;
};

/* ---- the origin's and the target's states; the numbers are stored ---- */

enum fleet_request_state {
    FLEET_REQUEST_CLAIMING = 1,  /* asking the members who else has this id; never stored */
    FLEET_REQUEST_FOLLOWING = 2, /* another origin has it; never stored */
    FLEET_REQUEST_PLACING = 3,   /* no attempt under way */
    FLEET_REQUEST_PREPARING = 4, /* attempt `attempt` at `node` */
    FLEET_REQUEST_COMMITTED = 5, /* the same, and it will not be taken back */
    FLEET_REQUEST_IN_SERVICE = 6,
    FLEET_REQUEST_FAILED = 7, /* no VM, code and reason say why */
    FLEET_REQUEST_LOST = 8    /* committed to a node that is no member any more, or too long ago */
};

enum fleet_hold_state {
    FLEET_HOLD_FITTING = 1,    /* the shell checks whether it fits; never stored */
    FLEET_HOLD_PREPARING = 2,  /* reserved; disk, seed, image under way */
    FLEET_HOLD_PREPARED = 3,   /* stored as PREPARING: a restart prepares again */
    FLEET_HOLD_LAUNCHING = 4,  /* the commit was taken */
    FLEET_HOLD_IN_SERVICE = 5, /* the VM's own life goes on in the vm core */
    FLEET_HOLD_RELEASING = 6,  /* tombstone whose files are still to be removed */
    FLEET_HOLD_TOMB = 7        /* every attempt up to `attempt` is dead */
};

/* How a tombstone came to be: what a late commit is told. */
enum fleet_tomb { FLEET_TOMB_CANCELLED = 1, FLEET_TOMB_FAILED = 2, FLEET_TOMB_REMOVED = 3 };

/* An attempt the origin gave up, whose cancel was not answered yet. */
struct fleet_abandoned {
    uint32_t attempt;
    struct ppn_node_id node;
};

/* ---- rows ---- */

enum fleet_row_kind { FLEET_ROW_REQUEST = 1, FLEET_ROW_HOLD = 2 };

/* A row's name: table (kind) and key (request, for holds also the origin). */
struct fleet_key {
    enum fleet_row_kind kind;
    struct ppn_request_id request;
    struct ppn_node_id origin; /* of HOLD; zero for REQUEST */
};

struct fleet_row {
    struct fleet_key key;
    uint32_t state; /* enum fleet_request_state or enum fleet_hold_state */
    uint32_t attempt;
    struct ppn_node_id node; /* REQUEST: the target of `attempt`, zero when there is none */
    int64_t created_unix_ms, changed_unix_ms;
    enum fleet_tomb tomb; /* HOLD in RELEASING, TOMB; else 0 */
    enum ppn_error code;
    char reason[PPN_REASON_MAX + 1];
    struct fleet_reserve reserve; /* HOLD */
    uint32_t abandoned_count;     /* REQUEST */
    struct fleet_abandoned abandoned[FLEET_ATTEMPTS_MAX];
    struct ppn_slice spec; /* borrowed; empty once it is not needed any more */
};

/* ---- events ---- */

enum fleet_event_kind {
    FLEET_EVENT_TICK,    /* fleet_deadline has come */
    FLEET_EVENT_RESTORE, /* `row` as it was persisted; before START only */
    FLEET_EVENT_START,

    /* origin */
    FLEET_EVENT_SUBMIT,     /* a person asks: `request`, `spec`, `fresh` */
    FLEET_EVENT_GIVE_UP,    /* a person takes `request` back; CONFLICT once it is committed */
    FLEET_EVENT_CANDIDATES, /* answer to NEED_CANDIDATES: `nodes`, `count`; none: code, reason */
    FLEET_EVENT_MEMBERS,    /* answer to NEED_MEMBERS: `members`, `count`, without this node */

    /* target */
    FLEET_EVENT_FIT, /* answer to CHECK_FIT: `origin`, `attempt`; code OK and `reserve`, or why not
                      */
    FLEET_EVENT_WORKING,    /* news of PREPARE or LAUNCH: `request`, `step`, `percent` */
    FLEET_EVENT_WORK_DONE,  /* PREPARE ended: `origin`, `attempt`; code OK, or why not */
    FLEET_EVENT_LAUNCHED,   /* LAUNCH ended: `origin`, `attempt`; code OK, or why not */
    FLEET_EVENT_RELEASED,   /* RELEASE ended: `origin`, `attempt` */
    FLEET_EVENT_VM_REMOVED, /* somebody removed the machine `request` of this node */

    /* both */
    FLEET_EVENT_MESSAGE,       /* `message` from the member `node` */
    FLEET_EVENT_NODE,          /* what is known of `node` changed: `node_state` */
    FLEET_EVENT_PERSISTED,     /* `ticket` is on the disk */
    FLEET_EVENT_PERSIST_FAILED /* `ticket` is not, nothing changed there: `code` */
};

enum fleet_node_state { FLEET_NODE_REACHABLE, FLEET_NODE_DEAD, FLEET_NODE_REMOVED };

/* A member that the claim round must ask. */
struct fleet_member {
    struct ppn_node_id id;
    const char *name; /* for the reason people see; borrowed */
    bool reachable;
    int64_t last_heard_unix_ms; /* by this node's wall clock; 0: never */
};

/* What `kind` names is used, the rest ignored; `wall` always. All memory is borrowed for the call.
 */
struct fleet_event {
    enum fleet_event_kind kind;
    struct ppn_wall wall;
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    struct ppn_node_id node;
    enum fleet_node_state node_state;
    const struct fleet_row *row;
    struct ppn_slice spec; /* 1..FLEET_SPEC_MAX bytes */
    bool fresh;            /* the client made the id for this very call: nobody else can have it */
    const struct ppn_node_id *nodes; /* best first; more than FLEET_CANDIDATES_MAX are cut */
    const struct fleet_member *members;
    uint32_t count;
    struct fleet_reserve reserve;
    enum fleet_step step;
    uint32_t percent;
    const struct fleet_msg *message;
    uint64_t ticket;
    enum ppn_error code;
    const char *reason; /* printable; NULL: the text of code */
};

/* ---- updates ---- */

/* News of a request for whoever waits for it, at its origin. The last three end the waiting. */
enum fleet_news {
    FLEET_NEWS_ACCEPTED,      /* durable here; it will be settled even if this node restarts */
    FLEET_NEWS_FOLLOWING,     /* the node `node` has the same request; its result counts */
    FLEET_NEWS_TRYING,        /* `node`, `attempt` */
    FLEET_NEWS_WORKING,       /* `node`, `step`, `percent` */
    FLEET_NEWS_PREPARED,      /* `node` */
    FLEET_NEWS_COMMITTED,     /* `node` */
    FLEET_NEWS_REFUSED,       /* `node` will not: `code`, `reason` */
    FLEET_NEWS_NO_ANSWER,     /* `node` */
    FLEET_NEWS_LAUNCH_FAILED, /* `node`: `code`, `reason` */
    FLEET_NEWS_WAITING,       /* nobody can take it now, asking again: `reason` */
    FLEET_NEWS_IN_SERVICE,    /* at `node` */
    FLEET_NEWS_FAILED, /* `code`, `reason`. Accepted before: there is no VM and never will be. Not
                          accepted: nothing was done here, the same id may be tried again */
    FLEET_NEWS_LOST    /* committed to `node`, which is dead or gone; settled if it returns */
};

enum fleet_action_kind {
    FLEET_DO_PERSIST, /* `row` under `ticket` */
    FLEET_DO_FORGET,  /* the row `key` under `ticket` */
    FLEET_DO_SEND,    /* `message` to `node` */
    FLEET_DO_NEWS,    /* `news` of `request`: see enum fleet_news */

    /* Questions and work for the shell. Each is answered by its event, at once or later. */
    FLEET_DO_NEED_CANDIDATES, /* rank for `request`, `spec` */
    FLEET_DO_NEED_MEMBERS,    /* for `request` */
    FLEET_DO_CHECK_FIT, /* one at a time: `request`, `origin`, `attempt`, `spec` (from a peer: may
                           be malformed) */
    FLEET_DO_PREPARE,   /* disk, seed, image: the same fields */
    FLEET_DO_LAUNCH,    /* the same fields */
    FLEET_DO_RELEASE    /* stop work, remove what it made: `request`, `origin`, `attempt` */
};

struct fleet_action {
    enum fleet_action_kind kind;
    uint64_t ticket;
    const struct fleet_row *row;
    struct fleet_key key;
    struct ppn_node_id node;
    const struct fleet_msg *message;
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    struct ppn_slice spec;
    enum fleet_news news;
    enum fleet_step step;
    uint32_t percent;
    enum ppn_error code;
    const char *reason; /* never NULL for NEWS */
};

/* Memory belongs to the core, until its next step. */
struct fleet_update {
    const struct fleet_action *actions;
    uint32_t count;
};

/* ---- verbs ---- */

/* NULL: out of memory. The seed must differ between nodes and starts. */
struct fleet *fleet_init(const struct fleet_config *config, struct ppn_instant now, uint64_t seed);
void fleet_free(struct fleet *fleet);

/* What others send never is an error: it changes nothing or it is answered. Errors are for the
 * shell, with nothing changed:
 *   SUBMIT   TOO_BIG or INVALID spec; FULL; STALE an id older than history_keep; NO_MEMORY.
 *            A known id is PPN_OK and repeats where it stands as news.
 *   GIVE_UP  NOT_FOUND; CONFLICT once it is committed or settled.
 *   RESTORE  CORRUPT a row no core would have written; EXISTS; FULL; NO_MEMORY.
 *   others   STALE an answer to a question that is not open any more (harmless). */
enum ppn_error fleet_step(struct fleet *fleet, struct ppn_instant now,
                          const struct fleet_event *event, struct fleet_update *update) PPN_CHECK;

/* When to TICK next. */
struct ppn_instant fleet_deadline(const struct fleet *fleet);

/* ---- what `ppn ps`, the API and the reservations read; views live until the next step ---- */

struct fleet_request_view {
    struct ppn_request_id id;
    enum fleet_request_state state;
    uint32_t attempt;
    struct ppn_node_id node; /* target, or whom it follows; zero: none */
    bool durable;            /* accepted */
    bool lost;               /* committed, and the target is dead just now */
    int64_t created_unix_ms, changed_unix_ms;
    enum ppn_error code;
    const char *reason;
    struct ppn_slice spec;
};

struct fleet_hold_view {
    struct ppn_request_id id;
    struct ppn_node_id origin;
    enum fleet_hold_state state;
    uint32_t attempt;
    struct fleet_reserve reserve;
    struct ppn_slice spec;
};

/* PPN_ERROR_NOT_FOUND: no such request here. */
enum ppn_error fleet_request(const struct fleet *fleet, const struct ppn_request_id *id,
                             struct fleet_request_view *view) PPN_CHECK;

/* In no order that means anything: start with *cursor = 0; false at the end. */
bool fleet_request_next(const struct fleet *fleet, uint32_t *cursor,
                        struct fleet_request_view *view);
bool fleet_hold_next(const struct fleet *fleet, uint32_t *cursor, struct fleet_hold_view *view);

/* The sum of what is promised to requests that are not in service yet (PREPARING to RELEASING).
 * Machines in service are counted by whoever keeps the VMs, so that a stopped one can be judged
 * there. */
struct fleet_reserve fleet_reserved(const struct fleet *fleet);

const char *fleet_request_state_name(enum fleet_request_state state);
const char *fleet_hold_state_name(enum fleet_hold_state state);
const char *fleet_news_name(enum fleet_news news);
