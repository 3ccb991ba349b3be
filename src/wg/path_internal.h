// SPDX-License-Identifier: ISC
#pragma once

/* Shared by the path core's files only. */

#include "wg/path.h"

static inline bool path_same(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && __builtin_memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

void path_emit(struct path_updates *updates, const struct path_update *update);
struct path_way *path_used(struct path *path);

/* Packets were sent within the last minute, or no way is proven. */
bool path_needed(const struct path *path, struct ppn_instant now);

/* How long to wait for an answer on this way. */
struct ppn_duration path_timeout(const struct path_way *way);

/* Marks a question as sent, with a new nonce. */
void path_question_sent(struct path *path, struct path_question *question,
                        const struct path_way *way, struct ppn_instant now);

/* A question that waits and whose time is over. One that is looked at late waits a little more:
 * the answer may lie in the socket. */
bool path_question_missed(struct path_question *question, struct ppn_instant now);

static inline struct ppn_duration path_shorter(struct ppn_duration a, struct ppn_duration b)
{
    return a.ns < b.ns ? a : b;
}

/* path_answer.c */

/* Until a way that is proven is asked again. */
struct ppn_duration path_pace(const struct path *path, const struct path_way *way,
                              struct ppn_instant now);
void path_outcome(struct path_way *way, bool answered);
void path_take_answer(struct path *path, struct ppn_instant now, const struct path_event *event);
/* A relay or peer whose clock is ahead; the shell counts from its counter on. */
void path_take_stale(struct path *path, struct ppn_instant now, uint64_t nonce);
void path_take_too_big(struct path *path, struct ppn_instant now, uint64_t nonce);

/* path_ways.c */

enum ppn_error path_take_candidates(struct path *path, struct ppn_instant now,
                                    const struct path_event *event);
/* A place that the peer was heard at. NULL: no room but for the one in use. */
struct path_way *path_heard_way(struct path *path, const struct ppn_endpoint *from,
                                struct ppn_instant now);
/* The mailbox of a relay's way is known now. */
void path_mailbox(struct path *path, struct path_way *way, uint16_t port, struct ppn_instant now);

/* path_carry.c */

void path_carry_init(struct path_carry *carry);
/* Sends what is due; the way is proven. */
void path_carry_run(struct path *path, struct path_way *way, struct ppn_instant now,
                    struct path_updates *updates);
void path_carry_answered(struct path_carry *carry, struct ppn_instant now);
void path_carry_failed(struct path_carry *carry, struct ppn_instant now, bool certain);
struct ppn_instant path_carry_deadline(const struct path *path, const struct path_way *way);
