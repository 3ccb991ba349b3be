// SPDX-License-Identifier: ISC
#pragma once

/* One core on the desk: every event is given by hand, every action is looked at. */

#include <criterion/criterion.h>

#include "fleet/fleet.h"

enum { DESK_WALL_MS = 1000000000 };

struct desk {
    struct fleet *fleet;
    int64_t now_ms;
    uint64_t ticket; /* of the last PERSIST seen */
    struct fleet_update update;
    enum ppn_error error;
};

extern struct desk desk;

/* Node 1 is the core itself. */
struct ppn_node_id node_n(uint8_t n);
/* A UUIDv7 made at that wall time, the r-th of it. */
struct ppn_request_id request_n(uint8_t r, int64_t unix_ms);
struct ppn_request_id request_now(uint8_t r);

void desk_new(void);     /* initialised, not started */
void desk_started(void); /* and started */
void desk_free(void);
void desk_pass(int64_t ms);

/* Each fills wall and steps; desk.update and desk.error hold what came of it. */
void give(struct fleet_event event);
void give_tick_after(int64_t ms);
void give_message(uint8_t from, struct fleet_msg message);
void give_submit(struct ppn_request_id id, bool fresh);
void give_candidates(struct ppn_request_id id, const char *nodes); /* "23": node 2, then node 3 */
void give_persisted(void);                                         /* the last ticket seen */
void give_fit(struct ppn_request_id id, uint8_t origin, uint32_t attempt, enum ppn_error code);
void give_done(enum fleet_event_kind kind, struct ppn_request_id id, uint8_t origin,
               uint32_t attempt, enum ppn_error code);

/* The only action of that kind (and message kind, news) in the last update; NULL: none. */
const struct fleet_action *action(enum fleet_action_kind kind);
const struct fleet_msg *sent(enum fleet_msg_kind kind, uint8_t to);
const struct fleet_action *news(enum fleet_news news);
bool persisted_state(uint32_t state);

enum fleet_request_state request_state(struct ppn_request_id id);
enum fleet_hold_state hold_state(struct ppn_request_id id); /* 0: none */

/* Down the good road. */
void walk_to_preparing(struct ppn_request_id id, const char *candidates);
void walk_to_committed(struct ppn_request_id id, const char *candidates);
void hold_to_preparing(struct ppn_request_id id, uint8_t origin, uint32_t attempt);
void hold_to_prepared(struct ppn_request_id id, uint8_t origin, uint32_t attempt);
void hold_to_in_service(struct ppn_request_id id, uint8_t origin, uint32_t attempt);

#define MESSAGE(kind_, id_, attempt_)                                                              \
    ((struct fleet_msg){.kind = (kind_), .request = (id_), .attempt = (attempt_)})
struct fleet_msg prepare_message(struct ppn_request_id id, uint32_t attempt);
