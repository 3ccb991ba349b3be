// SPDX-License-Identifier: ISC
#pragma once

/* One core and nothing around it: the test is every other member, and may sign for them, or try to.
 */

#include "base/random.h"
#include "gossip/gossip.h"
#include "gossip/item.h"

enum { LONE_MEMBERS_MAX = 48, LONE_ACTIONS_MAX = 512 };

struct lone_seen {
    enum gossip_action_kind kind;
    struct ppn_node_id node;
    uint32_t epoch, what;
    enum gossip_state state;
    enum gossip_cause cause;
    struct ppn_instant at;
    struct gossip_packet packet; /* items are not kept */
    enum gossip_item_kind items[GOSSIP_ITEMS_MAX];
};

struct lone_core {
    struct gossip *core;
    struct ppn_instant now;
    struct ppn_node_id ids[LONE_MEMBERS_MAX]; /* 0: the core itself */
    uint32_t members;
    struct lone_seen seen[LONE_ACTIONS_MAX]; /* of the last step, or since lone_clear */
    uint32_t seen_count;
    uint32_t rate_bytes_s;        /* 0: the core's default */
    double sent_level, sent_most; /* bytes sent beyond that rate; the most that there were */
    struct ppn_instant sent_at;
};

/* Members admitted, nothing started. */
void lone_open(struct lone_core *lone, uint32_t members);
/* And started under epoch 1. */
void lone_start(struct lone_core *lone, uint32_t members);
/* The same with a bandwidth of its own. */
void lone_start_capped(struct lone_core *lone, uint32_t members, uint32_t rate_bytes_s);
/* And all the others alive under (1, 1), with what that led to forgotten. */
void lone_meet(struct lone_core *lone, uint32_t members);
void lone_close(struct lone_core *lone);
void lone_clear(struct lone_core *lone);
enum ppn_error lone_step(struct lone_core *lone, const struct gossip_event *event);

/* Ticks whenever the core asks, until `time` has passed. */
void lone_wait(struct lone_core *lone, struct ppn_duration time);

/* The same, and all but member `silent` answer every ping at once. */
void lone_answer(struct lone_core *lone, uint32_t silent, struct ppn_duration time);

/* The first packet of this kind to this member since lone_clear; NULL: none. */
const struct lone_seen *lone_sent(const struct lone_core *lone, enum gossip_packet_kind kind,
                                  uint32_t to);

/* Packets from member `from`. */
void lone_packet(struct lone_core *lone, uint32_t from, struct gossip_packet *packet);
void lone_item(struct lone_core *lone, uint32_t from, struct ppn_slice item);

/* Signed by member `signer`; returns the bytes in static memory that four more calls leave alone.
 */
struct ppn_slice lone_sign(struct lone_core *lone, uint32_t signer, const struct gossip_item *item);
struct ppn_slice lone_life(struct lone_core *lone, uint32_t of, uint32_t epoch,
                           uint32_t incarnation, enum gossip_standing standing);
struct ppn_slice lone_body(struct lone_core *lone, uint32_t of, enum gossip_item_kind kind,
                           uint32_t epoch, uint32_t sequence, const char *body);
struct ppn_slice lone_verdict(struct lone_core *lone, uint32_t by, uint32_t of, uint32_t epoch,
                              uint32_t incarnation, enum gossip_opinion opinion);

struct gossip_member lone_member(const struct lone_core *lone, uint32_t index);
uint32_t lone_count(const struct lone_core *lone, enum gossip_action_kind kind);
