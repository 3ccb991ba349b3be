// SPDX-License-Identifier: ISC
#pragma once

/* Shared by the relay core's files only. */

#include "wg/relay.h"

enum {
    RELAY_BUCKETS = 2 * RELAY_BINDS_MAX,     /* of the two indices of binds */
    RELAY_TAG_BUCKETS = 2 * PPN_MEMBERS_MAX, /* of the index of members */
    RELAY_BURST_MS = 250
};

_Static_assert((RELAY_BUCKETS & (RELAY_BUCKETS - 1)) == 0, "hashes are cut by a mask");
_Static_assert((RELAY_TAG_BUCKETS & (RELAY_TAG_BUCKETS - 1)) == 0, "hashes are cut by a mask");

/* A member in its slot; `used` slots keep their index until the member goes. */
struct relay_slot {
    bool used, kept; /* kept: still on the list that is being taken over */
    uint32_t mailbox;
    uint32_t bind_count; /* of those that it made */
    uint32_t first_to;   /* binds of others at its mailbox */
    uint32_t next;       /* in its bucket, or in the free list */
    uint64_t tag, counter;
    uint8_t key[RELAY_KEY_SIZE];
    int64_t tokens; /* bytes that it may send now */
    struct ppn_instant refilled;
    struct relay_count forwarded, over_rate;
};

/* (member, to) is at source. */
struct relay_bind {
    bool used;
    uint32_t member, to;
    uint32_t reverse;                /* (to, member) */
    uint32_t next_pair, next_source; /* in their buckets; next_pair also in the free list */
    uint32_t next_to, previous_to;   /* at the same mailbox */
    uint32_t older, newer;           /* by the time of the last BIND */
    struct ppn_endpoint source;
    uint8_t own[16];
    struct ppn_instant expires;
};

struct relay {
    struct relay_config config;
    uint64_t seed;
    int64_t burst;
    uint32_t quota; /* binds of one member */
    struct relay_count count[RELAY_VERDICTS];

    uint32_t slot_limit, slot_free, member_count;
    struct relay_slot *slots; /* PPN_MEMBERS_MAX */
    uint32_t *by_tag;         /* RELAY_TAG_BUCKETS */

    uint32_t bind_limit, bind_free, bind_count, oldest, newest;
    struct relay_bind *binds;      /* RELAY_BINDS_MAX */
    uint32_t *by_pair, *by_source; /* RELAY_BUCKETS each */

    uint32_t mailbox_count;
    uint32_t owner[RELAY_MAILBOXES_MAX]; /* slot, or RELAY_NONE */
};

/* Finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t relay_mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* relay_bind.c */

void relay_bind_drop(struct relay *relay, uint32_t index);
/* Binds made before now - lifetime. */
void relay_bind_expire(struct relay *relay, struct ppn_instant now);
uint32_t relay_bind_by_pair(const struct relay *relay, uint32_t member, uint32_t to);
uint32_t relay_bind_by_source(const struct relay *relay, uint32_t to,
                              const struct ppn_endpoint *source);
/* Makes or moves (member, to); false when the member's share or the table is used up. */
bool relay_bind_put(struct relay *relay, struct ppn_instant now, uint32_t member, uint32_t to,
                    const struct ppn_endpoint *source, const uint8_t own[static 16]);
