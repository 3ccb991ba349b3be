// SPDX-License-Identifier: ISC
#pragma once

/* A random history: a few honest and a few Byzantine keys, three groups that see each other now and
 * then, entries that extend what their author sees, or what it pretends to see. */

#include "base/random.h"
#include "model.h"

enum {
    WORLD_OFFERS = 72, /* entries made, accepted or not */
    WORLD_GROUPS = 3,
    WORLD_START_MS = 1000000
};

struct world_offer {
    uint8_t bytes[ADMISSION_ENVELOPE_MAX];
    uint32_t size;
    struct ppn_hash id;
    bool accepted; /* as the model says */
};

struct world {
    struct ppn_random random;
    struct model model;
    struct world_offer offers[WORLD_OFFERS];
    uint32_t offer_count;
    uint64_t seen[WORLD_GROUPS]; /* accepted entries by number in the model */
    int64_t now_unix_ms;
    uint32_t byzantine; /* percent of entries whose author pretends */
    uint32_t quarrel;   /* 0: peaceful */
};

/* Fast and worthless: equal inputs give equal outputs, that is all the rules need. */
const struct admission_crypto *world_crypto(void);
/* Borrows the key. */
struct admission_signer world_signer(struct admission_key *key);
void world_make(struct world *world, uint64_t seed);
