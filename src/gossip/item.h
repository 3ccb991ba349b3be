// SPDX-License-Identifier: ISC
#pragma once

/* The bytes of a signed item: reading them and laying them out. The layout is in gossip_msg.h; only
 * this file knows the offsets. */

#include "base/error.h"
#include "base/slice.h"
#include "gossip/gossip_msg.h"

/* What an observer says of a subject. */
enum gossip_opinion {
    GOSSIP_OPINION_OK = 1,    /* it answers me (again) */
    GOSSIP_OPINION_NO_ANSWER, /* a whole probe went unanswered */
    GOSSIP_OPINION_REFUSED,   /* its host answers that nobody listens */
    GOSSIP_OPINION_DEGRADED, /* it answers, but most of my pings are lost, and have been for long */
    GOSSIP_OPINION_END
};

enum { GOSSIP_ITEM_VERSION = 1, GOSSIP_TRANSCRIPT_PREFIX = 18 + PPN_HASH_SIZE + PPN_ID_SIZE };

struct gossip_item {
    enum gossip_item_kind kind;
    gossip_tag author;
    uint32_t epoch;
    uint32_t sequence;             /* of LIFE: the incarnation */
    enum gossip_standing standing; /* LIFE */
    struct ppn_slice body;         /* PROFILE, LOAD */
    gossip_tag subject;            /* VERDICT, and what it speaks of: */
    uint32_t subject_epoch, subject_incarnation;
    enum gossip_opinion opinion;
    uint8_t health; /* of the observer when it said so */
    struct ppn_slice bytes;
};

/* PPN_ERROR_INVALID on any byte out of place. The slices point into `bytes`. */
enum ppn_error gossip_item_read(struct ppn_slice bytes, struct gossip_item *item) PPN_CHECK;

/* Lays out everything but the signature. */
void gossip_item_write(struct ppn_writer *writer, const struct gossip_item *item);

/* What is signed: a fixed prefix, network, author, and the item without its signature. */
void gossip_transcript(struct ppn_writer *writer, const struct ppn_hash *network,
                       const struct ppn_node_id *author, struct ppn_slice unsigned_item);

gossip_tag gossip_tag_of(const struct ppn_node_id *id);
