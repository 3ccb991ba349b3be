// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission/checkpoint.h"
#include "admission/state.h"
#include "admission/sync.h"
#include "base/assert.h"
#include "closing_act.h"
#include "world.h"

/* ppn-admission-closing [--dags N] [--seed S]
 *
 * Checkpoints under random histories. Two claims:
 *   preserved    a log that is closed now and then and one that never is, given the same honest
 *                decisions, say the same of everybody after each of them;
 *   converged    whatever Byzantine authors wrote on several sides, before, beside and after
 *                several checkpoints, replicas that close themselves, that take the records of
 *                another, and that join later end with the same log and the same fold. */

enum { SIDES = 3, REPLICAS = 5, ITEMS = 1200, ROUNDS = 3 };

static char detail[400];
static struct ppn_failure refusal; /* the last */

/* ---- what both claims compare ---- */

static const char *differ(const struct admission *a, const struct admission *b,
                          const struct act_keys *keys, bool one_time)
{
    if (admission_member_count(a) != admission_member_count(b))
        return "the number of members";
    for (uint32_t i = 0; i < admission_member_count(a); i++) {
        const struct admission_member *x = admission_member_at(a, i),
                                      *y = admission_member_at(b, i);
        if (!ppn_node_id_equal(&x->id, &y->id) || strcmp(x->name, y->name) != 0 ||
            memcmp(x->wg_key, y->wg_key, sizeof x->wg_key) != 0 || x->roles != y->roles ||
            x->lease_until_unix_ms != y->lease_until_unix_ms)
            return "a member";
    }
    struct admission_policy p = admission_policy_now(a), q = admission_policy_now(b);
    struct admission_policy_waiting waiting[8];
    if (memcmp(&p, &q, sizeof p) != 0 ||
        admission_policy_waiting(a, waiting, 8) != admission_policy_waiting(b, waiting, 8))
        return "the policy";
    for (uint32_t i = 0; i < keys->count; i++) {
        struct ppn_node_id id = admission_key_node(&keys->keys[i]);
        enum admission_standing s = admission_standing(a, &id), t = admission_standing(b, &id);
        const struct admission_admin *x = admission_admin_by_key(a, &keys->keys[i]);
        const struct admission_admin *y = admission_admin_by_key(b, &keys->keys[i]);
        if ((x != NULL && x->live ? x->powers : 0) != (y != NULL && y->live ? y->powers : 0))
            return "the powers of a key";
        /* An admission that never counted may be forgotten, and so may an invite that was closed.
         */
        if (s != t &&
            !admission_invite_by_key(a, &keys->keys[i], &(struct admission_invite_state){0}) &&
            !(s == ADMISSION_VOID && t == ADMISSION_STRANGER)) {
            (void)snprintf(detail, sizeof detail, "the standing of key %u: %d, closed %d", i,
                           (int)s, (int)t);
            return detail;
        }
        struct admission_invite_state v, w;
        bool one = admission_invite_by_key(a, &keys->keys[i], &v) && v.open;
        bool two = admission_invite_by_key(b, &keys->keys[i], &w) && w.open;
        /* Of several open invites with one key either may be named. */
        bool same = one == two && (!one || !one_time || (v.used == w.used && v.uses == w.uses));
        if (!same) {
            (void)snprintf(detail, sizeof detail, "invite %u: open %d, closed log %d, used %u, %u",
                           i, one, two, v.used, w.used);
            return detail;
        }
    }
    return NULL;
}

static struct admission *new_log(struct ppn_random *random)
{
    struct admission_config config = {.crypto = world_crypto(), .seed = ppn_random_u64(random)};
    struct admission *log = admission_new(&config);
    PPN_ASSERT(log != NULL);
    return log;
}

static enum admission_verdict offer(struct admission *log, int64_t now, struct ppn_slice bytes)
{
    struct admission_update update = {0};
    enum admission_verdict verdict =
        admission_offer(log, (struct ppn_wall){now}, 0, bytes, &update, &refusal);
    admission_update_free(&update);
    return verdict;
}

/* By whichever recovery keys are in force. */
static bool close_log(struct admission *log, struct act_keys *keys, int64_t now,
                      struct admission_made *made)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        struct admission_signer signer = world_signer(&keys->keys[i]);
        struct ppn_failure why = {0};
        if (admission_make_checkpoint(log, (struct admission_authors){&signer, 1},
                                      (struct ppn_wall){now}, made, &why) != PPN_OK)
            return false;
        if (offer(log, now, admission_made_slice(made)) == ADMISSION_ACCEPTED)
            return true;
    }
    return false;
}

/* ---- preserved ---- */

/* A checkpoint orders what came before it as a seal does: with a seal in both, they compare. */
static bool seal_both(struct admission *whole, struct admission *closed, struct act_keys *keys,
                      int64_t now)
{
    static struct admission_made made;
    struct act act = {.entry.kind = ADMISSION_SEAL, .cosigner = -1};
    for (act.author = 0; act.author < keys->count; act.author++) {
        if (act_sign(&act, keys, whole, now, &made) &&
            offer(whole, now, admission_made_slice(&made)) == ADMISSION_ACCEPTED)
            return act_sign(&act, keys, closed, now, &made) &&
                   offer(closed, now, admission_made_slice(&made)) == ADMISSION_ACCEPTED;
    }
    return false;
}

static const char *preserved(uint64_t seed, uint32_t *closings)
{
    struct ppn_random random;
    struct act_keys keys;
    static struct admission_made made;
    const char *problem = NULL;
    ppn_random_init(&random, seed);
    struct admission *whole = new_log(&random), *closed = new_log(&random);
    act_found(&keys, &random, ppn_random_below(&random, 4) != 0, &made);
    offer(whole, WORLD_START_MS, admission_made_slice(&made));
    offer(closed, WORLD_START_MS, admission_made_slice(&made));
    int64_t now = WORLD_START_MS;
    uint32_t steps = 30 + (uint32_t)ppn_random_below(&random, 90);
    for (uint32_t i = 0; i < steps && problem == NULL; i++) {
        struct act act;
        now += (int64_t)ppn_random_below(&random, 500);
        act_draw(&act, &keys, &random, whole, now, true);
        bool one = act_sign(&act, &keys, whole, now, &made) &&
                   offer(whole, now, admission_made_slice(&made)) == ADMISSION_ACCEPTED;
        bool two = act_sign(&act, &keys, closed, now, &made) &&
                   offer(closed, now, admission_made_slice(&made)) == ADMISSION_ACCEPTED;
        struct admission_update update = {0};
        admission_tick(whole, (struct ppn_wall){now}, &update);
        admission_tick(closed, (struct ppn_wall){now}, &update);
        admission_update_free(&update);
        /* What has no effect may be refused where its ground was forgotten. */
        bool vain =
            one && !two && !admission_record_at(whole, admission_entry_count(whole) - 1).live;
        if (one != two && !vain) {
            (void)snprintf(detail, sizeof detail, "a %s that only the %s log takes: %s",
                           admission_kind_name(act.entry.kind), one ? "whole" : "closed",
                           refusal.text);
            problem = detail;
        }
        if (problem == NULL)
            problem = differ(whole, closed, &keys, true);
        if (problem == NULL && ppn_random_below(&random, 6) == 0 &&
            seal_both(whole, closed, &keys, now) && close_log(closed, &keys, now, &made)) {
            (*closings)++;
            problem = differ(whole, closed, &keys, true);
        }
        struct ppn_hash grown = admission_members_digest(closed);
        admission_refold(closed);
        struct ppn_hash scratch = admission_members_digest(closed);
        if (problem == NULL && !ppn_hash_equal(&grown, &scratch))
            problem = "increments and a fold from scratch differ";
    }
    admission_free(whole);
    admission_free(closed);
    return problem;
}

/* ---- converged ---- */

struct item {
    uint8_t bytes[ADMISSION_RECORD_MAX];
    uint32_t size;
};

struct history {
    struct ppn_random random;
    struct act_keys keys;
    int64_t now;
    struct admission *replicas[REPLICAS];
    struct item items[ITEMS];
    uint32_t count;
    uint32_t closings;
};

static void remember(struct history *h, struct ppn_slice bytes)
{
    PPN_ASSERT(h->count < ITEMS);
    memcpy(h->items[h->count].bytes, bytes.data, bytes.size);
    h->items[h->count++].size = (uint32_t)bytes.size;
}

/* One side writes for a while, with keys that other sides use too. */
static void write_side(struct history *h, struct admission *log, uint32_t steps)
{
    static struct admission_made made;
    for (uint32_t i = 0; i < steps && h->count < ITEMS - 8; i++) {
        struct act act;
        act_draw(&act, &h->keys, &h->random, log, h->now, false);
        h->now += (int64_t)ppn_random_below(&h->random, 100);
        if (act_sign(&act, &h->keys, log, h->now, &made) &&
            offer(log, h->now, admission_made_slice(&made)) == ADMISSION_ACCEPTED)
            remember(h, admission_made_slice(&made));
    }
}

/* Anti-entropy as the shells do it, until it has nothing more to say. */
static void sync_pair(struct history *h, struct admission *from, struct admission *to)
{
    static struct admission_sync_batch batch;
    struct admission_sync_have have;
    uint8_t buffer[ADMISSION_RECORD_MAX];
    bool more = true;
    for (uint32_t round = 0; more && round < 64; round++) {
        admission_sync_have(to, &have);
        enum ppn_error error = admission_sync_answer(from, &have, &batch);
        PPN_ASSERT(error == PPN_OK);
        more = batch.more;
        for (uint32_t i = 0; i < batch.count; i++) {
            if (offer(to, h->now, admission_transfer_at(from, batch.indexes[i], buffer)) ==
                ADMISSION_REFUSED)
                more = false;
        }
        more = more || admission_staged(to, &(struct ppn_hash){{0}}, &(uint32_t){0});
    }
}

static void offer_some(struct history *h, struct admission *log, uint32_t percent)
{
    uint32_t order[ITEMS];
    for (uint32_t i = 0; i < h->count; i++)
        order[i] = i;
    for (uint32_t i = h->count; i > 1; i--) {
        uint32_t k = (uint32_t)ppn_random_below(&h->random, i), swap = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swap;
    }
    for (uint32_t i = 0; i < h->count; i++) {
        const struct item *item = &h->items[order[i]];
        if (ppn_random_below(&h->random, 100) < percent)
            offer(log, h->now, ppn_slice(item->bytes, item->size));
    }
}

static void settle(struct history *h)
{
    struct admission_update update = {0};
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < REPLICAS; i++)
            offer_some(h, h->replicas[i], 100);
        for (uint32_t i = 0; i < REPLICAS; i++)
            for (uint32_t k = 0; k < REPLICAS; k++)
                if (i != k)
                    sync_pair(h, h->replicas[i], h->replicas[k]);
    }
    for (uint32_t i = 0; i < REPLICAS; i++)
        admission_tick(h->replicas[i], (struct ppn_wall){h->now}, &update);
    admission_update_free(&update);
}

static const char *equal(const struct history *h)
{
    struct ppn_hash log = admission_digest(h->replicas[0]);
    struct ppn_hash members = admission_members_digest(h->replicas[0]);
    for (uint32_t i = 1; i < REPLICAS; i++) {
        struct ppn_hash a = admission_digest(h->replicas[i]);
        struct ppn_hash b = admission_members_digest(h->replicas[i]);
        if (!ppn_hash_equal(&a, &log))
            return "replicas differ in their log";
        if (!ppn_hash_equal(&b, &members))
            return "replicas differ in their fold";
        admission_refold(h->replicas[i]);
        b = admission_members_digest(h->replicas[i]);
        if (!ppn_hash_equal(&b, &members))
            return "a fold from scratch differs";
    }
    return NULL;
}

static const char *close_some(struct history *h)
{
    static struct admission_made made;
    struct admission *log = h->replicas[ppn_random_below(&h->random, SIDES)];
    struct admission *before = new_log(&h->random);
    uint8_t buffer[ADMISSION_RECORD_MAX];
    for (uint32_t i = 0; i < admission_transfer_count(log); i++)
        offer(before, h->now, admission_transfer_at(log, i, buffer));
    const char *problem = NULL;
    if (close_log(log, &h->keys, h->now, &made)) {
        remember(h, admission_made_slice(&made));
        h->closings++;
        problem = differ(before, log, &h->keys, false);
    }
    admission_free(before);
    return problem;
}

static const char *converged(uint64_t seed, struct history *h)
{
    static struct admission_made made;
    const char *problem = NULL;
    ppn_random_init(&h->random, seed);
    h->count = 0;
    h->now = WORLD_START_MS;
    bool recovery = ppn_random_below(&h->random, 4) != 0;
    act_found(&h->keys, &h->random, recovery, &made);
    remember(h, admission_made_slice(&made));
    for (uint32_t i = 0; i < REPLICAS; i++) {
        h->replicas[i] = new_log(&h->random);
        offer(h->replicas[i], h->now, admission_made_slice(&made));
    }
    for (uint32_t round = 0; round < ROUNDS && problem == NULL; round++) {
        for (uint32_t i = 0; i < SIDES; i++)
            write_side(h, h->replicas[i], (uint32_t)ppn_random_below(&h->random, 30));
        if (ppn_random_below(&h->random, 2) == 0)
            sync_pair(h, h->replicas[0], h->replicas[1]);
        for (uint32_t i = 0; i < REPLICAS; i++)
            offer_some(h, h->replicas[i], (uint32_t)ppn_random_below(&h->random, 60));
        /* Two at once is an operator who closes both sides of a partition. Roots may only close
         * one: whoever saw one of them retire believes its checkpoint no more. */
        for (uint32_t closings = (uint32_t)ppn_random_below(&h->random, recovery ? 3 : 2);
             closings > 0 && problem == NULL; closings--)
            problem = close_some(h);
        for (uint32_t i = 0; i < SIDES; i++)
            write_side(h, h->replicas[i], (uint32_t)ppn_random_below(&h->random, 16));
        if (ppn_random_below(&h->random, 2) == 0) {
            /* Somebody joins. */
            admission_free(h->replicas[REPLICAS - 1]);
            h->replicas[REPLICAS - 1] = new_log(&h->random);
            sync_pair(h, h->replicas[ppn_random_below(&h->random, REPLICAS - 1)],
                      h->replicas[REPLICAS - 1]);
        }
        settle(h);
        problem = problem != NULL ? problem : equal(h);
    }
    for (uint32_t i = 0; i < REPLICAS; i++)
        admission_free(h->replicas[i]);
    return problem;
}

int main(int argc, char **argv)
{
    static struct history history;
    uint64_t dags = 500, seed = 1;
    uint32_t closings = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dags") == 0 && i + 1 < argc)
            dags = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: %s [--dags N] [--seed S]\n", argv[0]), 64;
    }
    for (uint64_t i = 0; i < dags; i++) {
        const char *problem = preserved(seed + i, &closings);
        const char *claim = "preserved";
        if (problem == NULL) {
            claim = "converged";
            problem = converged(seed + i, &history);
        }
        if (problem != NULL) {
            printf("FAILED at --dags 1 --seed %llu: %s: %s\n", (unsigned long long)(seed + i),
                   claim, problem);
            return 1;
        }
    }
    printf("%llu histories from seed %llu: %u checkpoints changed nothing, %u more on one of "
           "several sides, %d replicas each\n",
           (unsigned long long)dags, (unsigned long long)seed, closings, history.closings,
           REPLICAS);
    return 0;
}
