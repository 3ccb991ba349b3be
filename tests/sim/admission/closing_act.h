// SPDX-License-Identifier: ISC
#pragma once

/* Random decisions for histories with checkpoints: drawn once, so that several logs can be given
 * the same one, and signed over each of them. */

#include "admission/author.h"
#include "base/random.h"

enum { ACT_KEYS = 24 };

struct act_keys {
    struct admission_key keys[ACT_KEYS];
    uint32_t count;
};

struct act {
    struct admission_entry entry; /* kind and payload */
    uint32_t author;
    int cosigner;       /* key, or -1 */
    int invite;         /* REDEEM: key of the invite */
    bool base_is_first; /* RECOVER: names the genesis, else whoever rules */
};

/* Fills the keys and founds a network over two roots, with a recovery key or without. */
void act_found(struct act_keys *keys, struct ppn_random *random, bool recovery,
               struct admission_made *made);

/* honest: nothing that reaches back behind what its author sees. */
void act_draw(struct act *act, const struct act_keys *keys, struct ppn_random *random,
              const struct admission *log, int64_t now_unix_ms, bool honest);

/* False where the log cannot carry it. */
bool act_sign(const struct act *act, struct act_keys *keys, const struct admission *log,
              int64_t now_unix_ms, struct admission_made *made);
