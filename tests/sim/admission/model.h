// SPDX-License-Identifier: ISC
#pragma once

/* The rules of the log once more, the naive way: at most 64 entries, a past is a 64-bit mask, every
 * question is answered from scratch by the letter of docs/PROTOCOL.md. What the real log says after
 * any order of delivery must be what this says. Shares no code with src/admission but the encoder.
 */

#include <stdbool.h>
#include <stdint.h>

#include "admission/admission.h"

enum { MODEL_ENTRIES = 64, MODEL_KEYS = 32 };
#define MODEL_NEVER UINT64_MAX

struct model_entry {
    struct admission_entry entry;
    struct ppn_hash id;
    uint64_t past;
    uint32_t height;
    int author;
    int subject; /* key, or -1 */
    int signers[ADMISSION_SIGNATURES_MAX];
    uint32_t signer_count;
    uint32_t quorum;
    uint32_t delay; /* POLICY: of the policy that ruled at its past */
    bool root_tier;
};

struct model {
    const struct admission_crypto *crypto;
    struct admission_key keys[MODEL_KEYS];
    uint32_t key_count;
    struct ppn_hash network;
    struct model_entry entries[MODEL_ENTRIES];
    uint32_t count;
};

struct model_member {
    int node;
    struct admission_member member;
};

struct model_fold {
    uint32_t powers[MODEL_KEYS];
    bool live[MODEL_ENTRIES];
    struct model_member members[MODEL_KEYS];
    uint32_t member_count;
};

int model_key(const struct model *model, const struct admission_key *key);

/* Adds the entry if the rules accept it over what the model holds; its parents must be there. */
bool model_offer(struct model *model, const struct admission_entry *entry,
                 const struct ppn_hash *id);
void model_fold(const struct model *model, int64_t now_unix_ms, struct model_fold *fold);

/* What a seal with these ancestors must say. */
struct ppn_hash model_seal_members(const struct model *model, uint64_t past);
