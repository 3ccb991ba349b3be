// SPDX-License-Identifier: ISC
#pragma once

/* The admission log in the scenario "control": on every node the real core with a disk of its own,
 * pushes and anti-entropy between members, two admins at home on nodes n1 (root) and n2, people who
 * admit, invite, redeem, revoke, rekey and seal while everything breaks. Who the members are, every
 * node learns from its own log alone. Signatures and hashes are stubs. */

#include "control.h"

struct control_log;

struct control_log *control_log_new(struct control *control);
void control_log_free(struct control_log *log);

/* Loads the node's log from its disk; writes its members and returns how many. */
uint32_t control_log_start(struct control *control, uint32_t node, struct ppn_node_id *members);
/* Anti-entropy begins, and fleet hears who is no member any more. */
void control_log_started(struct control *control, uint32_t node);
/* kill -9 */
void control_log_stop(struct control *control, uint32_t node);

/* As `observer` obeys its log. */
bool control_log_is_member(const struct control *control, uint32_t observer, uint32_t subject);
/* Somebody obeyed an entry that removes it; the news may still be on its way to others. */
bool control_log_thrown_out(const struct control *control, uint32_t node);
/* In everybody's eyes, once the views agree: revoked, or its admission is void. */
bool control_log_gone(const struct control *control, uint32_t node);

/* Two nodes that run hold one log. */
bool control_log_equal(const struct control *control, uint32_t a, uint32_t b);

/* Something that people decide now, if whom it takes is there. */
void control_log_people(struct control *control);

/* A CALL_LOG_* payload. */
void control_log_call(struct control *control, uint32_t node, void *payload);

/* All members hold one log with one fold, what was acknowledged is in it, gossip has its members.
 * False with `why` while that is not so. */
bool control_log_settled(struct control *control, char *why, size_t capacity);
