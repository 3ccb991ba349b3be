// SPDX-License-Identifier: ISC
#pragma once

/* Admission core <-> store and members: what was accepted is made durable, then obeyed, then pushed
 * to everybody alive; what datagrams and restarts lost is asked for again. */

#include "admission/admission.h"
#include "admission/author.h"
#include "base/error.h"
#include "os/os_loop.h"
#include "wire/peer.h"

struct node;
struct node_link;
struct node_log;

/* Reads the stored entries. CORRUPT when one is damaged or refused: nothing is guessed. */
enum ppn_error node_log_open(struct node *node, struct node_log **log,
                             struct ppn_failure *failure) PPN_CHECK;
/* The loop is about to run: obey what the fold says of this node. */
void node_log_start(struct node_log *log);
void node_log_close(struct node_log *log);

/* Whether this key is an admin's by the log as it is now. */
bool node_log_admin(const struct node_log *log, const struct ppn_node_id *id);

const struct admission *node_log_core(const struct node_log *log);

/* Founds a network: genesis and this node's own admission, durable when it returns. Start-up only.
 */
enum ppn_error node_log_found(struct node_log *log, const char *network,
                              struct ppn_failure *failure) PPN_CHECK;

/* A joiner learnt which network it talks to: from now on only that one's genesis is accepted. Only
 * before the first entry. */
enum ppn_error node_log_pin(struct node_log *log, const struct ppn_hash *network,
                            struct ppn_failure *failure) PPN_CHECK;

/* Offers an entry made here. done comes once it is durable and obeyed, or with the failure; never
 * from inside the call. */
typedef void node_log_done_fn(void *context, const struct ppn_failure *failure);
void node_log_submit(struct node_log *log, struct ppn_slice envelope, node_log_done_fn *done,
                     void *context);

/* A batch (wire/log.h) from a member or a seed. source: a small number that tells senders apart.
 * The first refusal is the sender's fault and is returned; what came before it stays. */
enum ppn_error node_log_batch(struct node_log *log, uint32_t source, struct ppn_slice batch,
                              bool *more, struct ppn_failure *failure) PPN_CHECK;

/* LOG_* frames of a member. */
void node_log_frame(struct node_log *log, struct node_link *link,
                    const struct wire_peer_frame *frame);
/* A member came into reach: compare logs with it. */
void node_log_meet(struct node_log *log, const struct ppn_node_id *peer);

/* Calls fn once everything accepted so far is durable and obeyed. */
void node_log_settled(struct node_log *log, node_log_done_fn *done, void *context);
