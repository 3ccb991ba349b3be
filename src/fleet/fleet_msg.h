// SPDX-License-Identifier: ISC
#pragma once

/* What the fleet cores of two nodes say to each other about one request. docs/protocol-fleet.md
 * tells the stories; wire/fleet.h has the bytes. The sender is whoever the mesh says it is and is
 * not part of a message. Delivery may fail, repeat and reorder: every message may be sent again and
 * every receiver answers a repeated one from what it remembers. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/machine.h"
#include "base/slice.h"

/* The encoded struct ppn_machine_spec, opaque here. Fits one peer frame with room. */
enum { FLEET_SPEC_MAX = 96 * 1024 };

/*  X(KIND, number, word)        from -> to; fields used beside `request` */
#define FLEET_MSG_KINDS(X)                                                                         \
    X(PREPARE, 1, "prepare")       /* origin -> target: attempt, spec */                           \
    X(WORKING, 2, "working")       /* target -> origin: attempt, step, percent */                  \
    X(PREPARED, 3, "prepared")     /* target -> origin: attempt */                                 \
    X(REFUSED, 4, "refused")       /* target -> origin, to PREPARE only: attempt, code, reason */  \
    X(COMMIT, 5, "commit")         /* origin -> target: attempt */                                 \
    X(IN_SERVICE, 6, "in-service") /* target -> origin: attempt, removed */                        \
    X(FAILED, 7, "failed")         /* target -> origin, final: attempt, code, reason */            \
    X(CANCEL, 8, "cancel")         /* origin -> target: attempt */                                 \
    X(CANCELLED, 9, "cancelled")   /* target -> origin, final: attempt, code, reason */            \
    X(QUERY, 10, "query")          /* target or follower -> origin: attempt (0: the request) */    \
    X(STATUS, 11, "status")        /* the answer: attempt, phase, node, code, reason */            \
    X(CLAIM, 12, "claim")          /* origin -> member: round */                                   \
    X(CLAIM_ANSWER, 13, "claim-answer") /* the answer: round, phase, node, code, reason */

enum fleet_msg_kind {
#define X(name, number, word) FLEET_MSG_##name = (number),
    FLEET_MSG_KINDS(X)
#undef X
};

/* How far the target is. Percent is of the step, 0..100. */
enum fleet_step {
    FLEET_STEP_RESERVE,
    FLEET_STEP_IMAGE,
    FLEET_STEP_DISK,
    FLEET_STEP_SEED,
    FLEET_STEP_LAUNCH,
    FLEET_STEP_COUNT
};

/* What a node knows of a request or of one attempt, in STATUS and CLAIM_ANSWER. `node` is zero
 * where a phase names none. */
enum fleet_phase {
    FLEET_PHASE_UNKNOWN,    /* nothing here; for an attempt: it will never be committed */
    FLEET_PHASE_CLAIMING,   /* asked for here too, nobody owns it yet */
    FLEET_PHASE_FOLLOWING,  /* asked for here, left to `node` */
    FLEET_PHASE_WORKING,    /* owned here, not settled; for an attempt: wait */
    FLEET_PHASE_COMMITTED,  /* owned here, committed to `node`; for an attempt: launch it */
    FLEET_PHASE_IN_SERVICE, /* settled: runs (or ran) on `node` */
    FLEET_PHASE_FAILED,     /* settled: no VM; code and reason say why */
    FLEET_PHASE_LOST,       /* committed to `node`, which is dead or no member any more */
    FLEET_PHASE_HELD,       /* held here as target for origin `node`, not settled */
    FLEET_PHASE_COUNT
};

/* Fields that a kind does not use are zero. */
struct fleet_msg {
    enum fleet_msg_kind kind;
    struct ppn_request_id request;
    uint32_t attempt; /* 1 up, per request and origin */
    uint64_t round;   /* of CLAIM, repeated in its answer */
    enum fleet_phase phase;
    struct ppn_node_id node;
    enum fleet_step step;
    uint32_t percent;
    bool removed; /* it was in service and somebody removed it */
    enum ppn_error code;
    char reason[PPN_REASON_MAX + 1]; /* printable, for people */
    struct ppn_slice spec;           /* borrowed; PREPARE only, 1..FLEET_SPEC_MAX bytes */
};

const char *fleet_msg_kind_name(enum fleet_msg_kind kind);
const char *fleet_step_name(enum fleet_step step);
const char *fleet_phase_name(enum fleet_phase phase);
