// SPDX-License-Identifier: ISC
#pragma once

#include "control.h"

enum call_kind {
    CALL_TIMER,
    CALL_WRITTEN,
    CALL_MESSAGE,
    CALL_PREPARED,
    CALL_LAUNCHED,
    CALL_RELEASED,
    CALL_LOG_WRITTEN, /* from here on: control_log.c */
    CALL_LOG_ENTRIES,
    CALL_LOG_HAVE,
    CALL_LOG_TIMER
};

struct control_call {
    enum call_kind kind;
    uint32_t from;
    bool failed;
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    struct fleet_reserve reserve;
    struct fleet_msg message;
    uint8_t spec[CONTROL_SPEC_SIZE];
};

/* One step of a node's fleet core with everything that follows from it; fills in the wall clock. */
void control_step(struct control *control, uint32_t node, struct fleet_event *event);

/* A node's wall clock, which is not everybody's. */
struct ppn_wall control_wall(const struct control *control, uint32_t node);

/* A stream needs both directions. */
bool control_connected(const struct control *control, uint32_t a, uint32_t b);

/* An invariant broke; the first one is kept. */
void control_broken(struct control *control, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct ppn_instant control_later(struct control *control, int64_t least_ms, int64_t most_ms);
struct control_call *control_call_new(enum call_kind kind, const struct fleet_action *action);

/* A disk with a queue: PERSIST and FORGET go in, and later are there, or failed. */
void control_disk_write(struct control *control, uint32_t node, const struct fleet_action *action);
void control_disk_written(struct control *control, uint32_t node, bool failed);
void control_disk_apply(struct control_node *node, const struct control_write *write);
