// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/admission.h"
#include "admission/author.h"
#include "fuzz.h"

/* A script of three-byte steps plays four keys that write to two replicas, deliver entries late, in
 * any order and damaged. In the end both get everything: they must agree with each other and with a
 * fold from scratch. Signatures are stubbed (a hash of key and message); the hash is the real one.
 */

enum { KEYS = 4, NODES = 6, ENTRIES_MAX = 64, STEPS_MAX = 96 };

struct game {
    struct admission *logs[2];
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

static struct admission_key key_of(uint8_t number)
{
    struct admission_key key;
    memset(key.bytes, 0x20 + number, sizeof(key.bytes));
    return key;
}

static bool sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    fake_sign(ctx, message, signature);
    return true;
}

static void offer(struct game *game, uint32_t replica, struct ppn_slice bytes)
{
    struct ppn_wall now = {game->now_ms};
    admission_update_reset(&game->update);
    (void)admission_offer(game->logs[replica], now, 1, bytes, &game->update, NULL);
}

static void keep(struct game *game, uint32_t replica, const struct admission_made *made)
{
    if (game->count == ENTRIES_MAX)
        return;
    game->entries[game->count++] = *made;
    offer(game, replica, admission_made_slice(made));
}

static bool make(struct game *game, uint32_t replica, uint8_t what, uint8_t by, uint8_t about,
                 struct admission_made *made)
{
    const struct admission *log = game->logs[replica];
    struct admission_key author = key_of(by % KEYS), other = key_of((uint8_t)(about % KEYS));
    struct admission_key node = key_of((uint8_t)(KEYS + about % NODES));
    struct admission_signer signer = {.key = author, .ctx = &author, .sign = sign};
    struct ppn_wall now = {++game->now_ms};
    struct ppn_node_id id = admission_key_node(&node);
    struct admission_admit admit = {.node = id, .name = "n0", .lease_ms = about & 128 ? 50 : 0};
    struct admission_admin_add add = {
        .key = other, .powers = (uint32_t)(about >> 3) & ADMISSION_POWERS_ALL, .name = "a"};
    struct admission_admin_remove drop = {
        .key = other, .has_cut = (about & 64) != 0, .cut = about >> 3 & 7};
    admit.name[1] = (char)('0' + about % NODES);
    memset(admit.wg_key, 1 + about % NODES, sizeof(admit.wg_key));
    switch (what % 6) {
    case 0:
        return !admission_make_admit(log, &signer, now, &admit, made, NULL);
    case 1:
        return !admission_make_revoke(log, &signer, now, &node, "", made, NULL);
    case 2:
        return !admission_make_admin_add(log, &signer, now, &add, made, NULL);
    case 3:
        return !admission_make_admin_remove(log, &signer, now, &drop, made, NULL);
    case 4:
        return !admission_make_seal(log, &signer, now, 0, made, NULL);
    default:
        return !admission_make_deny(log, &signer, now, &id, "", made, NULL);
    }
}

static void step(struct game *game, const uint8_t *s)
{
    struct admission_made made;
    uint32_t replica = s[0] >> 3 & 1;
    switch (s[0] & 7) {
    case 6:
        offer(game, replica, admission_made_slice(&game->entries[s[1] % game->count]));
        return;
    case 7:
        made = game->entries[s[1] % game->count];
        made.bytes[s[2] % made.size] ^= (uint8_t)(1 << (s[0] >> 5));
        offer(game, replica, admission_made_slice(&made));
        return;
    default:
        if (make(game, replica, s[0] & 7, s[1], s[2], &made))
            keep(game, replica, &made);
    }
}

static void expect_agreement(struct game *game)
{
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < game->count; i++)
            for (uint32_t replica = 0; replica < 2; replica++)
                offer(game, replica, admission_made_slice(&game->entries[i]));
    struct ppn_hash digests[2], folds[2];
    for (int i = 0; i < 2; i++) {
        admission_update_reset(&game->update);
        admission_tick(game->logs[i], (struct ppn_wall){game->now_ms}, &game->update);
        digests[i] = admission_digest(game->logs[i]);
        folds[i] = admission_members_digest(game->logs[i]);
        admission_refold(game->logs[i]);
        struct ppn_hash again = admission_members_digest(game->logs[i]);
        PPN_ASSERT(ppn_hash_equal(&folds[i], &again));
    }
    PPN_ASSERT(ppn_hash_equal(&digests[0], &digests[1]));
    PPN_ASSERT(ppn_hash_equal(&folds[0], &folds[1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct game game;
    struct admission_crypto crypto = *admission_crypto_sodium();
    crypto.verify = fake_verify;
    struct admission_key root = key_of(0);
    struct admission_signer signer = {.key = root, .ctx = &root, .sign = sign};
    struct admission_genesis genesis = {
        .network = "office", .root_count = 1, .roots = {root}, .recovery_needed = 1};
    struct admission_key recovery = key_of(90);
    genesis.recovery_count = 1;
    genesis.recovery[0] = admission_recovery_hash(&crypto, &recovery);
    memset(&game, 0, sizeof(game));
    game.now_ms = 1700000000000;
    struct admission_made made;
    struct ppn_wall now = {game.now_ms};
    enum ppn_error error = admission_make_genesis(&crypto, (struct admission_authors){&signer, 1},
                                                  now, &genesis, &made, NULL);
    PPN_ASSERT(error == PPN_OK);
    for (int i = 0; i < 2; i++) {
        struct admission_config config = {.crypto = &crypto, .network = made.id, .seed = 5};
        game.logs[i] = admission_new(&config);
        PPN_ASSERT(game.logs[i]);
    }
    keep(&game, 0, &made);
    offer(&game, 1, admission_made_slice(&made));
    for (size_t at = 0; at + 3 <= size && at < 3 * STEPS_MAX; at += 3)
        step(&game, data + at);
    expect_agreement(&game);
    for (int i = 0; i < 2; i++)
        admission_free(game.logs[i]);
    admission_update_free(&game.update);
    return 0;
}
