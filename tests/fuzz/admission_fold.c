// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/admission.h"
#include "admission/author.h"
#include "fuzz.h"

/* A script plays admins, recovery keys, nodes and invites that write entries of every kind, alone
 * or together, to three replicas of one log, and delivers them late, in any order, twice and
 * damaged. The first byte says how the network was founded; then each step has four:
 *
 *   what happens and where | who does it | about whom | details
 *
 * In the end every replica gets everything: nothing waits any more, all agree with each other and
 * with a fold from scratch, and who only listened to updates knows the members. Signatures are
 * stubbed (a hash of key and message); the hash is the real one. */

enum { REPLICAS = 3, ENTRIES_MAX = 48, STEPS_MAX = 64, STEP = 4 };

/* Keys by number. */
enum {
    ADMINS = 0,
    ADMIN_COUNT = 4,
    RECOVERIES = ADMINS + ADMIN_COUNT,
    RECOVERY_COUNT = 2,
    NODES = RECOVERIES + RECOVERY_COUNT,
    NODE_COUNT = 6,
    AUTHORS = NODES + NODE_COUNT,
    INVITES = AUTHORS,
    INVITE_COUNT = 3
};

/* What a step does beyond the kinds, whose numbers 2 .. 12 it takes as they are. */
enum { DELIVER = 0, DAMAGE = 1, WAIT = 13, MEET = 14, REFOLD = 15 };

struct game {
    struct admission_crypto crypto;
    struct admission *logs[REPLICAS];
    int32_t members[REPLICAS]; /* as told by updates */
    struct admission_update update;
    struct admission_made entries[ENTRIES_MAX];
    uint32_t count;
    int64_t now_ms;
};

static void fake_sign(const struct admission_key *key, struct ppn_slice message,
                      struct admission_signature *signature)
{
    uint64_t sum = ppn_read_u64(key->bytes);
    for (size_t i = 0; i < message.size; i++)
        sum = (sum ^ message.data[i]) * 0x100000001b3;
    memset(signature->bytes, 0, sizeof(signature->bytes));
    memcpy(signature->bytes, &sum, sizeof(sum));
}

static bool fake_verify(void *ctx, const struct admission_key *key, struct ppn_slice message,
                        const struct admission_signature *signature)
{
    struct admission_signature right;
    (void)ctx;
    fake_sign(key, message, &right);
    return memcmp(&right, signature, sizeof(right)) == 0;
}

static struct admission_key key_of(uint32_t number)
{
    struct admission_key key;
    memset(key.bytes, 0x20 + (int)number, sizeof(key.bytes));
    return key;
}

static struct ppn_node_id node_of(uint32_t number)
{
    struct admission_key key = key_of(NODES + number % NODE_COUNT);
    return admission_key_node(&key);
}

static bool sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    fake_sign(ctx, message, signature);
    return true;
}

static void listen(struct game *game, uint32_t replica)
{
    for (uint32_t i = 0; i < game->update.count; i++) {
        game->members[replica] += game->update.items[i].kind == ADMISSION_MEMBER_ADDED;
        game->members[replica] -= game->update.items[i].kind == ADMISSION_MEMBER_REMOVED;
    }
    admission_update_reset(&game->update);
}

static enum admission_verdict offer(struct game *game, uint32_t replica, struct ppn_slice bytes)
{
    enum admission_verdict verdict = admission_offer(
        game->logs[replica], (struct ppn_wall){game->now_ms}, 1, bytes, &game->update, NULL);
    listen(game, replica);
    return verdict;
}

static void tick(struct game *game, uint32_t replica)
{
    admission_tick(game->logs[replica], (struct ppn_wall){game->now_ms}, &game->update);
    listen(game, replica);
}

static void keep(struct game *game, uint32_t replica, const struct admission_made *made)
{
    if (game->count == ENTRIES_MAX)
        return;
    game->entries[game->count++] = *made;
    (void)offer(game, replica, admission_made_slice(made));
}

/* ---- what an entry says ---- */

static bool fill_redeem(const struct admission *log, const uint8_t *s,
                        struct admission_redeem *redeem)
{
    struct admission_invite_state invite;
    uint8_t buffer[ADMISSION_INVITE_TRANSCRIPT_MAX];
    uint32_t count = admission_invite_count(log);
    struct ppn_hash network = admission_network(log);
    if (count == 0 || !admission_invite_at(log, s[3] % count, &invite))
        return false;
    redeem->invite = invite.id;
    redeem->node = node_of(s[2]);
    memset(redeem->wg_key, 1 + (s[2] >> 3), sizeof(redeem->wg_key));
    memcpy(redeem->name, "n0", 3);
    redeem->name[1] = (char)('0' + (s[3] >> 6));
    struct ppn_slice transcript = admission_invite_transcript(&network, &invite.key, &redeem->node,
                                                              redeem->wg_key, redeem->name, buffer);
    fake_sign(&invite.key, transcript, &redeem->signature);
    return true;
}

static void fill_recover(const struct game *game, const struct admission *log, const uint8_t *s,
                         struct admission_recover *recover)
{
    struct admission_key next = key_of(RECOVERIES + (s[3] >> 1) % RECOVERY_COUNT);
    recover->base = admission_network(log);
    for (uint32_t i = 0; i < admission_entry_count(log) && (s[3] & 1) != 0; i++) {
        struct admission_record record = admission_record_at(log, i);
        if (record.kind == ADMISSION_RECOVER)
            recover->base = record.id;
    }
    recover->root_needed = recover->root_count = 1;
    recover->roots[0] = key_of(ADMINS + s[2] % ADMIN_COUNT);
    recover->recovery_needed = recover->recovery_count = 1;
    recover->recovery[0] = admission_recovery_hash(&game->crypto, &next);
    recover->cut_count = s[3] >> 2 & 1;
    recover->cuts[0].key = key_of(ADMINS + (s[3] >> 3) % ADMIN_COUNT);
    recover->cuts[0].cut = s[3] >> 5;
}

static void fill_invite(const struct game *game, const uint8_t *s, struct admission_invite *invite)
{
    invite->key = key_of(INVITES + s[2] % INVITE_COUNT);
    invite->uses = 1 + s[3] % 3u;
    invite->expires_unix_ms = (s[3] & 128) != 0 ? game->now_ms + (s[3] >> 2 & 15) : 0;
    invite->lease_ms = (s[3] & 64) != 0 ? 40 : 0;
}

/* By admins. */
static void fill_act(struct game *game, const uint8_t *s, struct admission_entry *entry)
{
    struct admission_key admin = key_of(ADMINS + s[2] % ADMIN_COUNT);
    switch ((unsigned)entry->kind) {
    case ADMISSION_ADMIT:
        entry->as.admit = (struct admission_admit){
            .node = node_of(s[2]), .roles = s[3] & 1, .lease_ms = (s[3] & 128) != 0 ? 50 : 0};
        memset(entry->as.admit.wg_key, 1 + (s[2] >> 3), sizeof(entry->as.admit.wg_key));
        memcpy(entry->as.admit.name, "n0", 3);
        entry->as.admit.name[1] = (char)('0' + (s[3] >> 1) % 4);
        return;
    case ADMISSION_DENY:
        entry->as.deny.node = node_of(s[2]);
        return;
    case ADMISSION_REVOKE:
        entry->as.revoke.subject = key_of(NODES + s[2] % (NODE_COUNT + INVITE_COUNT));
        return;
    case ADMISSION_INVITE:
        fill_invite(game, s, &entry->as.invite);
        return;
    case ADMISSION_ADMIN_ADD:
        entry->as.admin_add = (struct admission_admin_add){
            .key = admin, .powers = s[3] & ADMISSION_POWERS_ALL, .name = "a"};
        return;
    case ADMISSION_ADMIN_REMOVE:
        entry->as.admin_remove.key = admin;
        entry->as.admin_remove.has_cut = (s[3] & 1) != 0;
        entry->as.admin_remove.cut = (s[3] & 1) != 0 ? s[3] >> 1 & 7 : 0;
        return;
    case ADMISSION_POLICY:
        entry->as.policy = (struct admission_policy){ADMISSION_VERSION + (s[3] == 255),
                                                     1 + (s[3] & 1u),
                                                     1 + (s[3] >> 1 & 1u),
                                                     1 + (s[3] >> 2 & 1u),
                                                     1 + (s[3] >> 3 & 1u),
                                                     s[3] >> 4 & 3u,
                                                     s[3] >> 6 & 1u};
        return;
    default:
        entry->as.seal_of.renew_unix_ms = (s[3] & 1) != 0 ? game->now_ms + s[3] : 0;
    }
}

static bool fill(struct game *game, const struct admission *log, const uint8_t *s,
                 struct admission_entry *entry)
{
    entry->kind = (enum admission_kind)(s[0] & 15);
    if (entry->kind == ADMISSION_REDEEM)
        return fill_redeem(log, s, &entry->as.redeem);
    if (entry->kind == ADMISSION_RECOVER)
        fill_recover(game, log, s, &entry->as.recover);
    else if (entry->kind == ADMISSION_REKEY)
        memset(entry->as.rekey.wg_key, 1 + (s[2] >> 3), sizeof(entry->as.rekey.wg_key));
    else
        fill_act(game, s, entry);
    return true;
}

static void write_entry(struct game *game, uint32_t replica, const uint8_t *s)
{
    const struct admission *log = game->logs[replica];
    struct admission_entry entry = {.version = ADMISSION_VERSION};
    struct admission_key keys[3];
    struct admission_signer signers[3];
    struct admission_made made;
    uint32_t count = 1 + (s[1] >> 4) % 3u;
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = key_of(i == 0 ? s[1] % AUTHORS : ADMINS + (s[1] % AUTHORS + i) % AUTHORS);
        signers[i] = (struct admission_signer){keys[i], &keys[i], sign};
    }
    if (fill(game, log, s, &entry) &&
        admission_make(log, (struct admission_authors){signers, count},
                       (struct ppn_wall){++game->now_ms}, &entry, &made, NULL) == PPN_OK)
        keep(game, replica, &made);
}

/* ---- the game ---- */

static void refold(struct admission *log)
{
    struct ppn_hash grown = admission_members_digest(log);
    admission_refold(log);
    struct ppn_hash scratch = admission_members_digest(log);
    PPN_ASSERT(ppn_hash_equal(&grown, &scratch));
}

static void step(struct game *game, const uint8_t *s)
{
    struct admission_made made = game->entries[s[2] % game->count];
    uint32_t replica = (s[0] >> 4) % REPLICAS, other = s[1] % REPLICAS;
    switch (s[0] & 15) {
    case DAMAGE:
        made.bytes[((uint32_t)s[1] << 8 | s[3]) % made.size] ^= (uint8_t)(1 << (s[3] & 7));
        PPN_ASSERT(offer(game, replica, admission_made_slice(&made)) != ADMISSION_ACCEPTED);
        return;
    case DELIVER:
        (void)offer(game, replica, admission_made_slice(&made));
        return;
    case WAIT:
        game->now_ms += s[3];
        tick(game, replica);
        return;
    case MEET:
        for (uint32_t i = 0; i < admission_entry_count(game->logs[other]); i++)
            (void)offer(game, replica, admission_record_at(game->logs[other], i).envelope);
        return;
    case REFOLD:
        tick(game, replica);
        refold(game->logs[replica]);
        return;
    default:
        write_entry(game, replica, s);
    }
}

static void expect_agreement(struct game *game)
{
    struct ppn_hash digests[REPLICAS], folds[REPLICAS];
    for (uint32_t i = 0; i < game->count; i++)
        for (uint32_t replica = 0; replica < REPLICAS; replica++)
            (void)offer(game, replica, admission_made_slice(&game->entries[i]));
    for (uint32_t i = 0; i < REPLICAS; i++) {
        tick(game, i);
        PPN_ASSERT(admission_pending_count(game->logs[i]) == 0);
        PPN_ASSERT(game->members[i] == (int32_t)admission_member_count(game->logs[i]));
        digests[i] = admission_digest(game->logs[i]);
        folds[i] = admission_members_digest(game->logs[i]);
        refold(game->logs[i]);
        PPN_ASSERT(ppn_hash_equal(&digests[i], &digests[0]));
        PPN_ASSERT(ppn_hash_equal(&folds[i], &folds[0]));
    }
}

static void found(struct game *game, uint8_t how)
{
    struct admission_key roots[2] = {key_of(ADMINS), key_of(ADMINS + 1)};
    struct admission_signer signers[2] = {{roots[0], &roots[0], sign}, {roots[1], &roots[1], sign}};
    struct admission_key recovery = key_of(RECOVERIES);
    struct admission_made made;
    struct admission_genesis genesis = {.network = "office",
                                        .root_count = 1 + (how & 1u),
                                        .roots = {roots[0], roots[1]},
                                        .recovery_needed = 1,
                                        .recovery_count = 1};
    uint32_t quorum = (how & 3) == 3 ? 2 : 1;
    genesis.policy = (struct admission_policy){
        ADMISSION_VERSION, 1, 1, 1 + (how >> 2 & 1u), quorum, how >> 3 & 3u, how >> 5 & 1u};
    genesis.recovery[0] = admission_recovery_hash(&game->crypto, &recovery);
    enum ppn_error error =
        admission_make_genesis(&game->crypto, (struct admission_authors){signers, quorum},
                               (struct ppn_wall){game->now_ms}, &genesis, &made, NULL);
    PPN_ASSERT(error == PPN_OK);
    for (uint32_t i = 0; i < REPLICAS; i++) {
        struct admission_config config = {.crypto = &game->crypto, .network = made.id, .seed = i};
        game->logs[i] = admission_new(&config);
        PPN_ASSERT(game->logs[i] != NULL);
        (void)offer(game, i, admission_made_slice(&made));
    }
    keep(game, 0, &made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct game game;
    game.count = 0;
    game.now_ms = 1700000000000;
    game.crypto = *admission_crypto_sodium();
    game.crypto.verify = fake_verify;
    memset(game.members, 0, sizeof(game.members));
    found(&game, size > 0 ? data[0] : 0);
    for (size_t at = 1; at + STEP <= size && at < STEP * STEPS_MAX; at += STEP)
        step(&game, data + at);
    expect_agreement(&game);
    for (int i = 0; i < REPLICAS; i++)
        admission_free(game.logs[i]);
    return 0;
}
