// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admission/state.h"
#include "world.h"

/* ppn-admission-property [--dags N] [--seed S] [--mutants]
 *
 * Every history is delivered to several replicas, each in another order with repetitions; all must
 * accept what the model accepts, fold to what the model folds to, and fold to the same from
 * scratch. With --mutants each rule is switched off in turn and the test must notice. */

enum { REPLICAS = 4, MUTANT_DAGS = 20000 };

struct tally {
    uint64_t dags, entries, refused, members;
};

static const char *const rule_names[ADMISSION_RULE_COUNT] = {"none",
                                                             "removal-needs-past-only",
                                                             "grant-dies",
                                                             "ancestors-spared",

                                                             "live-chain",
                                                             "equivocation",
                                                             "fork-point",
                                                             "removed-for-good",
                                                             "deny-beats-admit",
                                                             "uses",
                                                             "uses-order",
                                                             "expiry",
                                                             "cut",
                                                             "root-cut-undoes",
                                                             "root-immune",
                                                             "quorum",
                                                             "cosigner-live",
                                                             "class",
                                                             "seal-spares",
                                                             "seal-ends-backdating",
                                                             "seal-conflict",
                                                             "seal-members",
                                                             "policy-delay",
                                                             "grace",
                                                             "recover-drops",
                                                             "recover-winner",
                                                             "witness",
                                                             "unique-wg",
                                                             "unique-address",
                                                             "unique-name",
                                                             "lease",
                                                             "gapless",
                                                             "prev-ancestor",
                                                             "ancestry-authority"};

static void shuffle(struct ppn_random *random, uint32_t *order, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)ppn_random_below(random, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swap;
    }
}

static const char *check_members(const struct admission *log, const struct model_fold *fold)
{
    if (admission_member_count(log) != fold->member_count)
        return "members: count";
    for (uint32_t i = 0; i < fold->member_count; i++) {
        const struct admission_member *want = &fold->members[i].member;
        const struct admission_member *have = admission_member_by_id(log, &want->id);
        if (have == NULL)
            return "members: who";
        if (memcmp(have->wg_key, want->wg_key, sizeof have->wg_key) != 0)
            return "members: WireGuard key";
        if (strcmp(have->name, want->name) != 0)
            return "members: name";
        if (have->lease_until_unix_ms != want->lease_until_unix_ms)
            return "members: lease";
        if (!ppn_hash_equal(&have->entry, &want->entry))
            return "members: admission";
        if (admission_member_by_name(log, want->name) != have ||
            admission_member_by_wg_key(log, want->wg_key) != have ||
            admission_member_by_address(log, have->address) != have)
            return "members: look-up";
    }
    return NULL;
}

static const char *check_records(const struct admission *log, const struct world *w,
                                 const struct model_fold *fold)
{
    if (admission_entry_count(log) != w->model.count)
        return "accepted entries";
    for (uint32_t i = 0; i < w->model.count; i++) {
        uint32_t index;
        if (!admission_record_find(log, &w->model.entries[i].id, &index))
            return "an accepted entry is missing";
        if (admission_record_at(log, index).live != fold->live[i])
            return "an entry in force";
    }
    for (uint32_t i = 0; i < w->model.key_count; i++) {
        const struct admission_admin *admin = admission_admin_by_key(log, &w->model.keys[i]);
        if ((admin != NULL && admin->live ? admin->powers : 0) != fold->powers[i])
            return "powers";
    }
    return NULL;
}

/* What a shell knows that only listens to updates. */
struct mirror {
    struct admission_member members[MODEL_KEYS];
    uint32_t count, persisted;
};

/* Entries before what follows from them, removals before the rest, nothing twice. */
static const char *listen(struct mirror *mirror, const struct admission_update *update)
{
    for (uint32_t i = 0; i < update->count; i++) {
        const struct admission_update_item *item = &update->items[i];
        mirror->persisted += item->kind == ADMISSION_PERSIST;
        bool added = item->kind == ADMISSION_MEMBER_ADDED;
        bool removed = item->kind == ADMISSION_MEMBER_REMOVED;
        if (!added && !removed && item->kind != ADMISSION_MEMBER_CHANGED)
            continue;
        uint32_t at = 0;
        while (at < mirror->count && !ppn_node_id_equal(&mirror->members[at].id, &item->member.id))
            at++;
        if (added != (at == mirror->count) || update->items[0].kind != ADMISSION_PERSIST)
            return "updates out of step";
        if (removed)
            mirror->members[at] = mirror->members[--mirror->count];
        else
            mirror->members[at] = item->member;
        mirror->count += added;
    }
    return NULL;
}

static const char *check_mirror(const struct mirror *mirror, const struct admission *log)
{
    if (mirror->persisted != admission_entry_count(log) ||
        mirror->count != admission_member_count(log))
        return "updates: count";
    for (uint32_t i = 0; i < mirror->count; i++) {
        const struct admission_member *want = &mirror->members[i];
        const struct admission_member *have = admission_member_by_id(log, &want->id);
        if (have == NULL || strcmp(have->name, want->name) != 0 ||
            memcmp(have->wg_key, want->wg_key, sizeof have->wg_key) != 0 ||
            have->lease_until_unix_ms != want->lease_until_unix_ms)
            return "updates: member";
    }
    return NULL;
}

static const char *deliver(struct admission *log, const struct world *w, struct ppn_random *random,
                           uint32_t replica)
{
    uint32_t order[2 * WORLD_OFFERS], count = 0;
    struct admission_update update = {0};
    struct mirror mirror = {.count = 0};
    const char *problem = NULL;
    for (uint32_t i = 0; i < w->offer_count; i++)
        order[count++] = replica == 1 ? w->offer_count - 1 - i : i;
    if (replica >= 2) {
        for (uint32_t i = 0; i < w->offer_count / 3; i++)
            order[count++] = (uint32_t)ppn_random_below(random, w->offer_count);
        shuffle(random, order, count);
    }
    for (uint32_t i = 0; i < count && problem == NULL; i++) {
        const struct world_offer *offer = &w->offers[order[i]];
        admission_update_reset(&update);
        enum admission_verdict verdict =
            admission_offer(log, (struct ppn_wall){w->now_unix_ms}, 0,
                            ppn_slice(offer->bytes, offer->size), &update, NULL);
        if (verdict == ADMISSION_ACCEPTED && !offer->accepted)
            problem = "accepted what the rules refuse";
        if (verdict == ADMISSION_REFUSED && offer->accepted)
            problem = "refused what the rules accept";
        if (problem == NULL)
            problem = listen(&mirror, &update);
        if (i == count / 2) {
            struct ppn_hash grown = admission_members_digest(log);
            admission_refold(log);
            struct ppn_hash scratch = admission_members_digest(log);
            if (!ppn_hash_equal(&grown, &scratch))
                problem = "half way: the increments and a fold from scratch differ";
        }
    }
    admission_update_free(&update);
    return problem != NULL ? problem : check_mirror(&mirror, log);
}

static const char *check_world(const struct world *w, enum admission_rule mutant,
                               struct tally *tally)
{
    struct model_fold fold;
    struct ppn_random random;
    struct ppn_hash first = {{0}}, first_members = {{0}};
    const char *problem = NULL;
    ppn_random_init(&random, w->random.state[0]);
    model_fold(&w->model, w->now_unix_ms, &fold);
    for (uint32_t replica = 0; replica < REPLICAS && problem == NULL; replica++) {
        struct admission_config config = {
            .crypto = world_crypto(), .network = w->model.network, .seed = ppn_random_u64(&random)};
        struct admission *log = admission_new(&config);
        log->mutant = mutant;
        problem = deliver(log, w, &random, replica);
        if (problem == NULL)
            problem = check_records(log, w, &fold);
        if (problem == NULL)
            problem = check_members(log, &fold);
        struct ppn_hash digest = admission_digest(log), members = admission_members_digest(log);
        if (replica == 0) {
            first = digest;
            first_members = members;
        }
        if (problem == NULL && !ppn_hash_equal(&digest, &first))
            problem = "replicas differ in their log";
        if (problem == NULL && !ppn_hash_equal(&members, &first_members))
            problem = "replicas differ in their fold";
        admission_refold(log);
        members = admission_members_digest(log);
        if (problem == NULL && !ppn_hash_equal(&members, &first_members))
            problem = "a fold from scratch differs";
        if (problem == NULL && admission_pending_count(log) != 0 && mutant == ADMISSION_RULE_NONE)
            for (uint32_t i = 0; i < w->offer_count; i++)
                if (w->offers[i].accepted &&
                    !admission_record_find(log, &w->offers[i].id, &(uint32_t){0}))
                    problem = "an entry still waits";
        admission_free(log);
    }
    tally->dags++;
    tally->entries += w->offer_count;
    tally->refused += w->offer_count - w->model.count;
    tally->members += fold.member_count;
    return problem;
}

/* The first seed at which the world disagrees, or UINT64_MAX. */
static uint64_t run(struct world *w, uint64_t seed, uint64_t dags, enum admission_rule mutant,
                    struct tally *tally, const char **problem)
{
    for (uint64_t i = 0; i < dags; i++) {
        world_make(w, seed + i);
        *problem = check_world(w, mutant, tally);
        if (*problem != NULL)
            return seed + i;
    }
    return UINT64_MAX;
}

static int run_mutants(struct world *w, uint64_t seed)
{
    int survivors = 0;
    for (int rule = ADMISSION_RULE_NONE + 1; rule < ADMISSION_RULE_COUNT; rule++) {
        struct tally tally = {0};
        const char *problem = NULL;
        uint64_t found = run(w, seed, MUTANT_DAGS, (enum admission_rule)rule, &tally, &problem);
        bool killed = found != UINT64_MAX;
        survivors += !killed;
        printf("mutant %-24s %s after %llu DAGs%s%s\n", rule_names[rule],
               killed ? "killed" : "SURVIVED", (unsigned long long)tally.dags, killed ? ": " : "",
               killed ? problem : "");
        fflush(stdout);
    }
    return survivors;
}

int main(int argc, char **argv)
{
    uint64_t dags = 2000, seed = 1;
    bool mutants = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutants") == 0)
            mutants = true;
        else if (strcmp(argv[i], "--dags") == 0 && i + 1 < argc)
            dags = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: %s [--dags N] [--seed S] [--mutants]\n", argv[0]), 64;
    }
    static struct world world;
    struct tally tally = {0};
    const char *problem = NULL;
    uint64_t found = run(&world, seed, dags, ADMISSION_RULE_NONE, &tally, &problem);
    printf("%llu DAGs from seed %llu, %llu entries, %llu of them refused, %llu members, "
           "%d replicas each\n",
           (unsigned long long)tally.dags, (unsigned long long)seed,
           (unsigned long long)tally.entries, (unsigned long long)tally.refused,
           (unsigned long long)tally.members, REPLICAS);
    if (found != UINT64_MAX) {
        printf("FAILED at --dags 1 --seed %llu: %s\n", (unsigned long long)found, problem);
        return 1;
    }
    return mutants && run_mutants(&world, seed) > 0 ? 1 : 0;
}
