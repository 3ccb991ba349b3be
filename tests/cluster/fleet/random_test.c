// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* fleet_random [--seeds N] [--from SEED] [--seed SEED]: one short life of a small network per seed,
 * with every fault drawn from it. --seed runs one and prints its trace. */

enum {
    QUIET_MS = 3000,
    TROUBLE_MS = 40000,
    HEALED_MS = 400000,
    MOVES_MAX = 24,
    REPLAY_EVERY = 500
};

static uint32_t up_to(struct ppn_random *random, uint32_t max)
{
    return (uint32_t)ppn_random_below(random, max + 1u);
}

static struct world_faults draw_faults(struct ppn_random *random)
{
    bool rough = up_to(random, 1), bad_disk = up_to(random, 3) == 0;
    return (struct world_faults){.loss = rough ? up_to(random, 400000) : 0,
                                 .repeat = rough ? up_to(random, 400000) : 0,
                                 .delay_max_ms = rough ? up_to(random, 3000) : 5,
                                 .sync_max_ms = bad_disk ? 2000 : 20,
                                 .sync_fails = bad_disk ? up_to(random, 200000) : 0,
                                 .fit_refuses = up_to(random, 300000),
                                 .prepare_fails = up_to(random, 200000),
                                 .launch_fails = up_to(random, 300000),
                                 .work_max_ms = up_to(random, 1) ? 50 : 6000,
                                 .ranks_dead = up_to(random, 500000)};
}

static uint32_t some_up(struct world *world, struct ppn_random *random, uint32_t nodes)
{
    uint32_t node = up_to(random, nodes - 1);
    for (uint32_t i = 0; i < nodes && !world_up(world, node); i++)
        node = (node + 1) % nodes;
    return node;
}

struct people {
    bool cuts;
    int64_t asked_ms[WORLD_REQUESTS_MAX][WORLD_NODES_MAX]; /* 0: never */
};

static bool asked(const struct people *people, uint32_t r)
{
    for (uint32_t i = 0; i < WORLD_NODES_MAX; i++)
        if (people->asked_ms[r][i])
            return true;
    return false;
}

/* People are on one side of a cut: who reaches both sides and asks twice may get two machines, see
 * fleet.c. */
static bool beyond_a_cut(const struct world *world, const struct people *people, uint32_t r,
                         uint32_t node)
{
    for (uint32_t i = 0; people->cuts && i < WORLD_NODES_MAX; i++)
        if (people->asked_ms[r][i] && !world_heard(world, node, i, people->asked_ms[r][i]))
            return true;
    return false;
}

/* "fresh" is said the first time an id is used at all, by the client that made it. */
static void ask(struct world *world, struct ppn_random *random, uint32_t nodes,
                struct people *people)
{
    uint32_t r = up_to(random, WORLD_REQUESTS_MAX - 1);
    bool fresh = !asked(people, r) && up_to(random, 2) > 0;
    uint32_t times = !fresh && up_to(random, 2) == 0 ? 2 : 1;
    for (uint32_t i = 0; i < times; i++) {
        uint32_t node = some_up(world, random, nodes);
        if (!world_up(world, node) || beyond_a_cut(world, people, r, node))
            continue;
        people->asked_ms[r][node] = world_now_ms(world);
        (void)world_submit(world, node, r, fresh);
    }
}

static void move(struct world *world, struct ppn_random *random, uint32_t nodes,
                 struct people *people)
{
    uint32_t a = up_to(random, nodes - 1), b = up_to(random, nodes - 1);
    switch (up_to(random, 9)) {
    case 0:
    case 1:
    case 2:
        ask(world, random, nodes, people);
        break;
    case 3:
    case 4:
        world_kill(world, a);
        break;
    case 5:
    case 6:
        world_start(world, a);
        break;
    case 7:
        if (a != b && people->cuts)
            world_cut(world, a, b, up_to(random, 1));
        break;
    case 8:
        b = up_to(random, WORLD_REQUESTS_MAX - 1);
        if (asked(people, b) && world_up(world, a) && up_to(random, 3) == 0)
            (void)world_give_up(world, a, b);
        break;
    default:
        b = up_to(random, WORLD_REQUESTS_MAX - 1);
        if (asked(people, b) && up_to(random, 1))
            (void)world_remove(world, b);
    }
}

static void heal(struct world *world, uint32_t nodes, int dead)
{
    static const struct world_faults none = {
        .delay_max_ms = 5, .sync_max_ms = 5, .work_max_ms = 50};
    world_set_faults(world, &none);
    for (uint32_t a = 0; a < nodes; a++)
        for (uint32_t b = 0; b < nodes; b++)
            if (a != b)
                world_cut(world, a, b, false);
    for (uint32_t a = 0; a < nodes; a++)
        if ((int)a != dead)
            world_start(world, a);
}

static bool live(uint64_t seed, FILE *trace, uint64_t *hash)
{
    struct ppn_random random;
    ppn_random_init(&random, seed);
    uint32_t nodes = 2 + up_to(&random, WORLD_NODES_MAX - 2);
    struct world_faults faults = draw_faults(&random);
    struct world *world = world_new(nodes, ppn_random_u64(&random), &faults);
    struct people people = {0};
    uint32_t moves = 4 + up_to(&random, MOVES_MAX - 4);
    int fate = (int)up_to(&random, 9), dead = fate == 0 ? (int)up_to(&random, nodes - 1) : -1;
    bool quick = up_to(&random, 1);
    uint32_t revocation = up_to(&random, moves - 1);
    /* A revoked origin takes the knowledge of its target with it, and who was cut from that target
     * all the time would not ask it. */
    people.cuts = fate != 1 && up_to(&random, 1);

    world_trace(world, trace);
    for (uint32_t i = 0; i < nodes; i++)
        if (up_to(&random, 9) > 0)
            world_start(world, i);
    (void)world_run(world, QUIET_MS);
    ask(world, &random, nodes, &people);
    for (uint32_t i = 0; i < moves && !world_problem(world); i++) {
        uint32_t pause = up_to(&random, quick ? 60 : TROUBLE_MS / MOVES_MAX);
        (void)world_run(world, world_now_ms(world) + pause);
        move(world, &random, nodes, &people);
        if (fate == 1 && i == revocation) {
            dead = (int)up_to(&random, nodes - 1);
            world_revoke(world, (uint32_t)dead);
            for (uint32_t again = 0; again < WORLD_REQUESTS_MAX; again++)
                ask(world, &random, nodes, &people);
        }
    }
    if (fate == 0)
        world_kill(world, (uint32_t)dead);
    heal(world, nodes, dead);
    if (world_run(world, world_now_ms(world) + HEALED_MS))
        (void)world_check_end(world);
    const char *problem = world_problem(world);
    if (problem != NULL)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, problem);
    *hash = world_hash(world);
    world_free(world);
    return problem == NULL;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 20000, from = 1, bad = 0, hash, again;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seeds") == 0)
            seeds = value;
        else if (strcmp(argv[i], "--from") == 0)
            from = value;
        else if (strcmp(argv[i], "--seed") == 0)
            return live(value, stdout, &hash) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    for (uint64_t seed = from; seed < from + seeds && bad < 5; seed++) {
        bool good = live(seed, NULL, &hash);
        if (good && seed % REPLAY_EVERY == 0) {
            good = live(seed, NULL, &again) && hash == again;
            if (!good)
                fprintf(stderr, "seed %llu: not the same twice\n", (unsigned long long)seed);
        }
        bad += !good;
    }
    printf("%llu lives, %llu bad\n", (unsigned long long)seeds, (unsigned long long)bad);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
