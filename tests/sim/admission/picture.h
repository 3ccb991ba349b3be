// SPDX-License-Identifier: ISC
#pragma once

/* What the accepted entries of a log say and whether each counts today, as its public face tells
 * it: what the invariants are read from. Pasts are 64-bit masks. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/admission.h"
#include "base/assert.h"

enum { PICTURE_FACTS = 64, PICTURE_KEYS = 64 };

struct fact {
    struct admission_entry entry;
    struct ppn_hash id;
    uint64_t past;
    bool live;
    int author, subject; /* subject: -1 if it is about no key */
    int signers[ADMISSION_SIGNATURES_MAX];
    uint32_t signer_count;
};

struct picture {
    struct fact facts[PICTURE_FACTS];
    uint32_t count;
    struct admission_key keys[PICTURE_KEYS];
    uint32_t key_count;
    uint64_t grace_min, grace_max; /* of all policies in the log */
};

/* False when the log holds more than fits: a mutant that accepts nearly everything. */
bool picture_take(struct picture *p, const struct admission *log);

static inline bool picture_has(uint64_t mask, uint32_t index)
{
    return (mask >> index & 1) != 0;
}

static inline enum admission_kind picture_kind(const struct picture *p, uint32_t i)
{
    return p->facts[i].entry.kind;
}

/* Of that kind and in force. */
static inline bool picture_live(const struct picture *p, uint32_t i, enum admission_kind kind)
{
    return p->facts[i].live && p->facts[i].entry.kind == kind;
}

/* By id; -1. */
int picture_fact(const struct picture *p, const struct ppn_hash *id);

/* The entry gives the key the power, as a root or otherwise. Power 0: any. */
bool picture_gives(const struct picture *p, uint32_t i, int key, uint32_t power);
/* Something in the view gives the key the power, in force or not. */
bool picture_given(const struct picture *p, uint64_t view, int key, uint32_t power);
uint32_t picture_power_needed(const struct admission_entry *e);
bool picture_by_node(enum admission_kind kind);
bool picture_is_removal(enum admission_kind kind);
bool picture_is_grant(enum admission_kind kind);
/* The lowest number that the key used twice in the view. */
uint64_t picture_fork(const struct picture *p, uint64_t view, int key);

/* The view holds a removal of the key, in force or not, or a contradiction of it. */
bool picture_suspected(const struct picture *p, uint64_t view, int key);

/* A seal in force covers the entry and knew nothing against its author. */
bool picture_sealed_unsuspected(const struct picture *p, uint32_t i);

/* A seal in force covers the one and not the other. */
bool picture_sealed_without(const struct picture *p, uint32_t grant, uint32_t removal);

/* A seal in force covers what the key wrote and no contradiction of it up to there. */
bool picture_sealed_unforked(const struct picture *p, uint32_t grant, int key);
/* A seal in force, not by `except`, of a number beyond the entry's by more than `grace` omits it.
 */
bool picture_omitted(const struct picture *p, uint32_t i, uint64_t grace, int except);
/* A cut in the entry that leaves out what `signer` did with fact i. */
bool picture_cuts(const struct picture *p, uint32_t c, int signer, uint32_t i);
