// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "invariants.h"

/* ppn-admission-property [--dags N] [--seed S] [--mutants] [--invariants-only]
 *
 * Every history is delivered to several replicas, each in another order with repetitions; all must
 * accept what the model accepts, fold to what the model folds to, and hold the invariants. With
 * --mutants each rule is switched off in turn: the model must notice, and it is told which of the
 * invariants notice by themselves; each must for one rule or another. --invariants-only does
 * without the model. */

enum { REPLICAS = 4, MUTANT_DAGS = 20000, INVARIANT_DAGS = 40 };

/* How a history is looked at, and what was seen. */
struct look {
    enum admission_rule mutant;
    bool model, direct; /* what the model says; the invariants by themselves */
    struct invariants invariants;
};

struct tally {
    uint64_t dags, entries, refused, members;
};

static const char *const rule_names[ADMISSION_RULE_COUNT] = {
    "none",
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
    "tell-removals",
    "ancestry-authority",
};

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

static void check_refolded(struct admission *log, const char *how, struct invariants *out)
{
    struct ppn_hash grown = admission_members_digest(log);
    admission_refold(log);
    struct ppn_hash scratch = admission_members_digest(log);
    if (!ppn_hash_equal(&grown, &scratch))
        invariants_break(out, 1, how);
}

static const char *deliver(struct admission *log, const struct world *w, struct ppn_random *random,
                           uint32_t replica, struct look *look)
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
        uint32_t held = admission_entry_count(log);
        admission_update_reset(&update);
        enum admission_verdict verdict =
            admission_offer(log, (struct ppn_wall){w->now_unix_ms}, 0,
                            ppn_slice(offer->bytes, offer->size), &update, NULL);
        if (look->model && verdict == ADMISSION_ACCEPTED && !offer->accepted)
            problem = "accepted what the rules refuse";
        if (look->model && verdict == ADMISSION_REFUSED && offer->accepted)
            problem = "refused what the rules accept";
        if (verdict == ADMISSION_REFUSED &&
            (update.count != 0 || admission_entry_count(log) != held))
            invariants_break(&look->invariants, 5, "a refused entry changed something");
        const char *unheard = listen(&mirror, &update);
        if (unheard != NULL)
            invariants_break(&look->invariants, 11, unheard);
        if (i == count / 2) {
            check_refolded(log, "half way increments and scratch differ", &look->invariants);
            if (look->direct)
                invariants_of_log(log, &look->invariants);
        }
    }
    admission_update_free(&update);
    const char *unheard = check_mirror(&mirror, log);
    if (unheard != NULL)
        invariants_break(&look->invariants, 11, unheard);
    return problem;
}

/* An entry that the rules accept is in. */
static const char *check_arrived(const struct admission *log, const struct world *w)
{
    for (uint32_t i = 0; i < w->offer_count; i++) {
        if (w->offers[i].accepted && !admission_record_find(log, &w->offers[i].id, &(uint32_t){0}))
            return "an entry still waits";
    }
    return NULL;
}

static const char *first_broken(const struct invariants *invariants)
{
    static char text[160];
    for (int i = 1; i <= INVARIANTS; i++) {
        if ((invariants->broken >> i & 1) == 0)
            continue;
        snprintf(text, sizeof text, "invariant %d: %s", i, invariants->how[i]);
        return text;
    }
    return NULL;
}

static const char *check_world(const struct world *w, struct look *look, struct tally *tally)
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
        log->mutant = look->mutant;
        problem = deliver(log, w, &random, replica, look);
        if (problem == NULL && look->model)
            problem = check_records(log, w, &fold);
        if (problem == NULL && look->model)
            problem = check_members(log, &fold);
        if (problem == NULL && look->model)
            problem = check_arrived(log, w);
        struct ppn_hash digest = admission_digest(log), members = admission_members_digest(log);
        first = replica == 0 ? digest : first;
        first_members = replica == 0 ? members : first_members;
        if (!ppn_hash_equal(&digest, &first))
            invariants_break(&look->invariants, 1, "replicas differ in their log");
        if (!ppn_hash_equal(&members, &first_members))
            invariants_break(&look->invariants, 1, "replicas differ in their fold");
        check_refolded(log, "increments and scratch differ", &look->invariants);
        if (look->direct)
            invariants_of_log(log, &look->invariants);
        if (look->direct && replica == REPLICAS - 1)
            invariants_of_history(log, w, &look->invariants);
        admission_free(log);
    }
    tally->dags++;
    tally->entries += w->offer_count;
    tally->refused += w->offer_count - w->model.count;
    tally->members += fold.member_count;
    return problem != NULL ? problem : first_broken(&look->invariants);
}

/* The first seed at which the world disagrees, or UINT64_MAX. */
static uint64_t run(struct world *w, uint64_t seed, uint64_t dags, struct look *look,
                    struct tally *tally, const char **problem)
{
    for (uint64_t i = 0; i < dags; i++) {
        world_make(w, seed + i);
        *problem = check_world(w, look, tally);
        if (*problem != NULL)
            return seed + i;
    }
    return UINT64_MAX;
}

/* Which invariants break without the rule, by themselves. */
static uint32_t run_invariants(struct world *w, uint64_t seed, enum admission_rule rule)
{
    struct look look = {.mutant = rule, .direct = true};
    struct tally tally = {0};
    for (uint64_t i = 0; i < MUTANT_DAGS; i++) {
        world_make(w, seed + i);
        (void)check_world(w, &look, &tally);
        if (look.invariants.broken != 0 && i >= INVARIANT_DAGS)
            break;
    }
    printf("       invariants %-24s", rule_names[rule]);
    for (int i = 1; i <= INVARIANTS; i++) {
        if ((look.invariants.broken >> i & 1) != 0)
            printf(" %d", i);
    }
    printf(look.invariants.broken != 0 ? "\n" : " none\n");
    return look.invariants.broken;
}

static int run_mutants(struct world *w, uint64_t seed, bool model)
{
    int survivors = 0;
    uint32_t broken = 0;
    for (int rule = ADMISSION_RULE_NONE + 1; rule < ADMISSION_RULE_COUNT; rule++) {
        struct look look = {.mutant = (enum admission_rule)rule, .model = true};
        struct tally tally = {0};
        const char *problem = NULL;
        bool killed = !model || run(w, seed, MUTANT_DAGS, &look, &tally, &problem) != UINT64_MAX;
        survivors += !killed;
        if (model)
            printf("mutant %-24s %s after %llu DAGs%s%s\n", rule_names[rule],
                   killed ? "killed" : "SURVIVED", (unsigned long long)tally.dags,
                   killed ? ": " : "", killed ? problem : "");
        uint32_t by_themselves = run_invariants(w, seed, (enum admission_rule)rule);
        survivors += by_themselves == 0;
        broken |= by_themselves;
        fflush(stdout);
    }
    for (int i = 1; i <= INVARIANTS; i++) {
        if (i == 9 || (broken >> i & 1) != 0)
            continue;
        printf("invariant %d NEVER BROKEN by any mutant\n", i);
        survivors++;
    }
    return survivors;
}

int main(int argc, char **argv)
{
    uint64_t dags = 2000, seed = 1;
    bool mutants = false;
    struct look look = {.model = true, .direct = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutants") == 0)
            mutants = true;
        else if (strcmp(argv[i], "--invariants-only") == 0)
            look.model = false;
        else if (strcmp(argv[i], "--dags") == 0 && i + 1 < argc)
            dags = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr,
                           "usage: %s [--dags N] [--seed S] [--mutants] [--invariants-only]\n",
                           argv[0]),
                   64;
    }
    static struct world world;
    struct tally tally = {0};
    const char *problem = NULL;
    uint64_t found = run(&world, seed, dags, &look, &tally, &problem);
    printf("%llu DAGs from seed %llu, %llu entries, %llu of them refused, %llu members, "
           "%d replicas each\n",
           (unsigned long long)tally.dags, (unsigned long long)seed,
           (unsigned long long)tally.entries, (unsigned long long)tally.refused,
           (unsigned long long)tally.members, REPLICAS);
    if (found != UINT64_MAX) {
        printf("FAILED at --dags 1 --seed %llu: %s\n", (unsigned long long)found, problem);
        return 1;
    }
    return mutants && run_mutants(&world, seed, look.model) > 0 ? 1 : 0;
}
