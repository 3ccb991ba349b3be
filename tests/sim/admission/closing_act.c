// SPDX-License-Identifier: ISC
#include "closing_act.h"

#include <stdio.h>
#include <string.h>

#include "admission/request.h"
#include "base/assert.h"
#include "world.h"

/* Keys by number. */
enum { ROOTS = 0, ADMINS = 2, RECOVERIES = 7, NODES = 9, INVITES = 17, STRANGER = 22, END = 23 };
_Static_assert((int)END <= (int)ACT_KEYS, "keys of the acts");

static uint32_t below(struct ppn_random *random, uint32_t bound)
{
    return (uint32_t)ppn_random_below(random, bound);
}

void act_found(struct act_keys *keys, struct ppn_random *random, bool recovery,
               struct admission_made *made)
{
    struct admission_genesis genesis = {.root_count = 2};
    struct ppn_failure why = {0};
    keys->count = END;
    for (uint32_t i = 0; i < END; i++) {
        uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15u;
        memset(keys->keys[i].bytes, 0, ADMISSION_KEY_SIZE);
        memcpy(keys->keys[i].bytes, &spread, sizeof spread);
        keys->keys[i].bytes[31] = (uint8_t)(i + 1);
    }
    (void)snprintf(genesis.network, sizeof genesis.network, "closing");
    uint64_t nonce = ppn_random_u64(random);
    memcpy(genesis.nonce, &nonce, sizeof nonce);
    genesis.roots[0] = keys->keys[ROOTS];
    genesis.roots[1] = keys->keys[ROOTS + 1];
    genesis.recovery_needed = genesis.recovery_count = recovery;
    genesis.recovery[0] = admission_recovery_hash(world_crypto(), &keys->keys[RECOVERIES]);
    genesis.policy = (struct admission_policy){ADMISSION_VERSION, 1, 1, 1, 1, below(random, 3),
                                               below(random, 3)};
    struct admission_signer signer = world_signer(&keys->keys[ROOTS]);
    enum ppn_error error =
        admission_make_genesis(world_crypto(), (struct admission_authors){&signer, 1},
                               (struct ppn_wall){WORLD_START_MS}, &genesis, made, &why);
    PPN_ASSERT(error == PPN_OK);
}

static uint32_t node_key(struct ppn_random *random)
{
    return NODES + below(random, INVITES - NODES);
}

static void wg_key(struct ppn_random *random, uint8_t key[static ADMISSION_WG_KEY_SIZE])
{
    memset(key, 0, ADMISSION_WG_KEY_SIZE);
    key[0] = (uint8_t)(1 + below(random, 20));
}

static void name(struct ppn_random *random, char text[static PPN_NAME_MAX + 1])
{
    static const char *const names[] = {"ant", "bee", "cat", "dog"};
    (void)snprintf(text, PPN_NAME_MAX + 1, "%s", names[below(random, 4)]);
}

static void draw_recover(struct act *act, const struct act_keys *keys, struct ppn_random *random)
{
    struct admission_recover *recover = &act->entry.as.recover;
    act->author = RECOVERIES + below(random, 2);
    act->base_is_first = below(random, 3) == 0;
    recover->root_needed = recover->root_count = 1;
    recover->roots[0] = keys->keys[ROOTS + below(random, ADMINS - ROOTS + 2)];
    recover->recovery_needed = recover->recovery_count = 1;
    recover->recovery[0] =
        admission_recovery_hash(world_crypto(), &keys->keys[RECOVERIES + below(random, 2)]);
}

static void draw_policy(struct act *act, struct ppn_random *random)
{
    act->entry.as.policy = (struct admission_policy){ADMISSION_VERSION,
                                                     1 + (below(random, 6) == 0),
                                                     1,
                                                     1 + (below(random, 8) == 0),
                                                     1,
                                                     below(random, 3),
                                                     below(random, 3)};
    act->author = ROOTS + below(random, 2);
}

static void draw_admission(struct act *act, const struct act_keys *keys, struct ppn_random *random)
{
    struct ppn_node_id node = admission_key_node(&keys->keys[node_key(random)]);
    if (act->entry.kind == ADMISSION_ADMIT) {
        struct admission_admit *admit = &act->entry.as.admit;
        admit->node = node;
        wg_key(random, admit->wg_key);
        name(random, admit->name);
        admit->roles = below(random, 2);
        admit->lease_ms = below(random, 3) == 0 ? 500 + below(random, 20000) : 0;
    } else {
        struct admission_redeem *redeem = &act->entry.as.redeem;
        act->author = node_key(random);
        act->invite = (int)(INVITES + below(random, STRANGER - INVITES));
        redeem->node = node;
        wg_key(random, redeem->wg_key);
        name(random, redeem->name);
    }
}

static void draw_payload(struct act *act, const struct act_keys *keys, struct ppn_random *random,
                         int64_t now, bool honest)
{
    struct admission_entry *entry = &act->entry;
    switch (entry->kind) {
    case ADMISSION_ADMIT:
    case ADMISSION_REDEEM:
        draw_admission(act, keys, random);
        return;
    case ADMISSION_DENY:
        entry->as.deny.node = admission_key_node(&keys->keys[node_key(random)]);
        return;
    case ADMISSION_REVOKE:
        entry->as.revoke.subject = keys->keys[NODES + below(random, STRANGER - NODES)];
        return;
    case ADMISSION_INVITE:
        entry->as.invite.key = keys->keys[INVITES + below(random, STRANGER - INVITES)];
        entry->as.invite.uses = 1 + below(random, 3);
        entry->as.invite.expires_unix_ms = below(random, 2) == 0 ? 0 : now + below(random, 9000);
        entry->as.invite.lease_ms = below(random, 3) == 0 ? 500 + below(random, 20000) : 0;
        return;
    case ADMISSION_ADMIN_ADD:
        entry->as.admin_add.key = keys->keys[ADMINS + below(random, RECOVERIES - ADMINS)];
        entry->as.admin_add.powers =
            below(random, 6) == 0 ? (uint32_t)ADMISSION_POWERS_ALL : 1 + below(random, 15);
        name(random, entry->as.admin_add.name);
        return;
    case ADMISSION_ADMIN_REMOVE:
        entry->as.admin_remove.key = keys->keys[ROOTS + below(random, RECOVERIES)];
        entry->as.admin_remove.has_cut = !honest && below(random, 2) == 0;
        entry->as.admin_remove.cut = below(random, 6);
        return;
    case ADMISSION_REKEY:
        act->author = node_key(random);
        wg_key(random, entry->as.rekey.wg_key);
        return;
    case ADMISSION_POLICY:
        draw_policy(act, random);
        return;
    case ADMISSION_SEAL:
        entry->as.seal_of.renew_unix_ms = below(random, 2) == 0 ? 0 : now + below(random, 20000);
        return;
    case ADMISSION_RECOVER:
        draw_recover(act, keys, random);
        return;
    case ADMISSION_GENESIS:
    case ADMISSION_CHECKPOINT:
        break;
    }
    PPN_UNREACHABLE();
}

void act_draw(struct act *act, const struct act_keys *keys, struct ppn_random *random,
              const struct admission *log, int64_t now_unix_ms, bool honest)
{
    static const enum admission_kind kinds[] = {
        ADMISSION_ADMIT,  ADMISSION_ADMIT,     ADMISSION_ADMIT,     ADMISSION_REVOKE,
        ADMISSION_REVOKE, ADMISSION_DENY,      ADMISSION_INVITE,    ADMISSION_INVITE,
        ADMISSION_REDEEM, ADMISSION_REDEEM,    ADMISSION_REDEEM,    ADMISSION_REKEY,
        ADMISSION_REKEY,  ADMISSION_ADMIN_ADD, ADMISSION_ADMIN_ADD, ADMISSION_ADMIN_REMOVE,
        ADMISSION_POLICY, ADMISSION_SEAL,      ADMISSION_SEAL,      ADMISSION_RECOVER};
    memset(act, 0, sizeof *act);
    act->entry.kind = kinds[below(random, sizeof kinds / sizeof kinds[0])];
    if (act->entry.kind == ADMISSION_RECOVER && below(random, 4) != 0)
        act->entry.kind = ADMISSION_SEAL;
    act->author = ROOTS + below(random, RECOVERIES);
    act->cosigner = below(random, 5) == 0 ? (int)below(random, RECOVERIES) : -1;
    draw_payload(act, keys, random, now_unix_ms, honest);
    struct admission_invite_state state;
    if (honest && act->entry.kind == ADMISSION_INVITE &&
        admission_invite_by_key(log, &act->entry.as.invite.key, &state))
        act->entry.as.invite.key.bytes[30] = (uint8_t)(1 + below(random, 255)); /* one-time keys */
    if (act->cosigner == (int)act->author || act->entry.kind == ADMISSION_RECOVER)
        act->cosigner = -1;
}

static bool sign_invite(const struct act *act, struct act_keys *keys, const struct admission *log,
                        struct admission_redeem *redeem)
{
    struct admission_invite_state state;
    uint8_t buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    struct admission_key *key = &keys->keys[act->invite];
    if (!admission_invite_by_key(log, key, &state))
        return false;
    redeem->invite = state.id;
    struct ppn_hash network = admission_network(log);
    struct admission_signer signer = world_signer(key);
    struct ppn_slice transcript = admission_invite_transcript(&network, key, &redeem->node,
                                                              redeem->wg_key, redeem->name, buffer);
    return signer.sign(signer.ctx, transcript, &redeem->signature);
}

bool act_sign(const struct act *act, struct act_keys *keys, const struct admission *log,
              int64_t now_unix_ms, struct admission_made *made)
{
    struct admission_entry entry = act->entry;
    struct admission_signer signers[2] = {world_signer(&keys->keys[act->author])};
    struct admission_authors authors = {signers, 1};
    struct ppn_failure why = {0};
    if (act->cosigner >= 0)
        signers[authors.count++] = world_signer(&keys->keys[act->cosigner]);
    if (entry.kind == ADMISSION_REDEEM && !sign_invite(act, keys, log, &entry.as.redeem))
        return false;
    if (entry.kind == ADMISSION_RECOVER)
        entry.as.recover.base =
            act->base_is_first ? admission_network(log) : admission_roots_by(log);
    if (entry.kind == ADMISSION_ADMIN_REMOVE && !entry.as.admin_remove.has_cut)
        entry.as.admin_remove.cut = 0;
    return admission_make(log, authors, (struct ppn_wall){now_unix_ms}, &entry, made, &why) ==
           PPN_OK;
}
