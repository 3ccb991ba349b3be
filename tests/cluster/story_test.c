// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* A handful of cores, and what happens to them, told as a story: each test's story must be the one
 * in stories/NAME, line by line. `PPN_STORIES=write` writes them anew; then read them, for they are
 * the protocol. */

struct telling {
    struct world *world;
    char *text;
    size_t size;
    const char *name;
};

static void begin(struct telling *t, const char *name, uint32_t nodes)
{
    *t = (struct telling){.name = name};
    FILE *story = open_memstream(&t->text, &t->size);
    struct world_options options = {.seed = 7,
                                    .nodes = nodes,
                                    .delay_us = 300,
                                    .jitter_us = 200,
                                    .keep_views = true,
                                    .story = story};
    cr_assert(story != NULL);
    t->world = world_new(&options);
}

static void narrate(struct telling *t, const char *line)
{
    fprintf(t->world->options.story, "-- %s\n", line);
}

static void end(struct telling *t)
{
    char path[512], *wanted = NULL;
    size_t size = 0;
    cr_assert(world_converged(t->world));
    cr_assert(t->world->false_dead == 0);
    fclose(t->world->options.story);
    snprintf(path, sizeof(path), "%s/%s", STORIES, t->name);
    const char *mode = getenv("PPN_STORIES");
    if (mode != NULL && strcmp(mode, "write") == 0) {
        FILE *file = fopen(path, "w");
        cr_assert(file != NULL);
        fwrite(t->text, 1, t->size, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s is missing", path);
    FILE *memory = open_memstream(&wanted, &size);
    for (int c = fgetc(file); c != EOF; c = fgetc(file))
        fputc(c, memory);
    fclose(memory);
    fclose(file);
    cr_assert_str_eq(t->text, wanted);
    free(wanted);
    free(t->text);
    world_free(t->world);
}

static void cut(struct telling *t, uint32_t node, uint32_t group)
{
    t->world->nodes[node].group = group;
    t->world->nodes[node].healthy = group == 0;
}

Test(cluster, three_nodes_and_one_is_cut_off)
{
    struct telling t;
    begin(&t, "cut-off", 3);
    narrate(&t, "three nodes start within a second");
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    cr_assert(world_converged(t.world));
    narrate(&t, "n3's cable is pulled");
    cut(&t, 2, 1);
    world_run_for(t.world, ppn_seconds(20));
    cr_assert(world_state(t.world, 0, 2) == GOSSIP_DEAD);
    cr_assert(world_state(t.world, 2, 0) == GOSSIP_UNREACHABLE, "alone, nobody is called dead");
    narrate(&t, "and put back");
    cut(&t, 2, 0);
    world_run_for(t.world, ppn_seconds(10));
    end(&t);
}

Test(cluster, an_agent_dies_and_comes_back)
{
    struct telling t;
    begin(&t, "agent-dies", 3);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "n2's agent is killed, its machine lives");
    t.world->nodes[1].healthy = false;
    world_stop(t.world, 1);
    world_run_for(t.world, ppn_seconds(10));
    struct gossip_member member;
    cr_assert(gossip_member(t.world->nodes[0].core, &t.world->nodes[1].id, &member) == PPN_OK);
    cr_assert(member.state == GOSSIP_DEAD && member.cause == GOSSIP_CAUSE_REFUSED);
    narrate(&t, "and started again");
    t.world->nodes[1].healthy = true;
    world_start(t.world, 1);
    world_run_for(t.world, ppn_seconds(10));
    end(&t);
}

Test(cluster, two_nodes_part_and_meet)
{
    struct telling t;
    begin(&t, "two-part", 2);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "the cable between the two is pulled");
    cut(&t, 1, 1);
    world_run_for(t.world, ppn_seconds(60));
    cr_assert(world_state(t.world, 0, 1) == GOSSIP_UNREACHABLE);
    narrate(&t, "and put back");
    cut(&t, 1, 0);
    world_run_for(t.world, ppn_seconds(4));
    end(&t);
}

Test(cluster, five_nodes_split_and_heal)
{
    struct telling t;
    begin(&t, "split", 5);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "n4 and n5 are cut off together");
    cut(&t, 3, 1);
    cut(&t, 4, 1);
    world_run_for(t.world, ppn_seconds(60));
    cr_assert(world_state(t.world, 0, 4) == GOSSIP_DEAD);
    cr_assert(world_state(t.world, 4, 0) == GOSSIP_UNREACHABLE, "the minority does not say dead");
    cr_assert(world_state(t.world, 4, 3) == GOSSIP_ALIVE);
    narrate(&t, "the cable is back");
    cut(&t, 3, 0);
    cut(&t, 4, 0);
    world_run_for(t.world, ppn_seconds(4));
    end(&t);
}

/* The second heal is as quick as the first: a network that breaks is no flapping member. */
Test(cluster, five_nodes_split_and_heal_twice)
{
    struct telling t;
    begin(&t, "split-again", 5);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    for (uint32_t round = 0; round < 3; round++) {
        narrate(&t, "n4 and n5 are cut off together");
        cut(&t, 3, 1);
        cut(&t, 4, 1);
        world_run_for(t.world, ppn_seconds(60));
        cr_assert(world_state(t.world, 0, 4) == GOSSIP_DEAD);
        narrate(&t, "the cable is back");
        cut(&t, 3, 0);
        cut(&t, 4, 0);
        world_run_for(t.world, ppn_seconds(2));
        for (uint32_t i = 0; i < 5; i++)
            for (uint32_t k = 0; k < 5; k++)
                cr_assert(world_state(t.world, i, k) == GOSSIP_ALIVE, "n%u of n%u", i + 1, k + 1);
    }
    end(&t);
}

Test(cluster, a_node_says_goodbye)
{
    struct telling t;
    begin(&t, "goodbye", 4);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "n1 leaves");
    world_leave(t.world, 0);
    world_run_for(t.world, ppn_seconds(10));
    for (uint32_t i = 1; i < 4; i++)
        cr_assert(world_state(t.world, i, 0) == GOSSIP_LEFT);
    narrate(&t, "n1 is back under a new epoch");
    world_start(t.world, 0);
    world_run_for(t.world, ppn_seconds(5));
    end(&t);
}

Test(cluster, all_were_switched_off_over_night)
{
    struct telling t;
    begin(&t, "night", 4);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "power off");
    for (uint32_t i = 0; i < 4; i++)
        world_stop(t.world, i);
    world_run_for(t.world, ppn_seconds(3600));
    narrate(&t, "power on: no seed, only what was on disk");
    world_start_all(t.world, ppn_seconds(2));
    world_run_for(t.world, ppn_seconds(10));
    end(&t);
}

Test(cluster, a_paused_agent_blames_nobody)
{
    struct telling t;
    begin(&t, "paused", 5);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "n1 is stopped for six seconds");
    t.world->nodes[0].healthy = false;
    world_pause(t.world, 0, ppn_seconds(6));
    world_run_for(t.world, ppn_seconds(6));
    narrate(&t, "n1 runs again");
    world_run_for(t.world, ppn_seconds(10));
    t.world->nodes[0].healthy = true;
    end(&t);
}

Test(cluster, a_disk_is_lost_and_peers_remember)
{
    struct telling t;
    begin(&t, "lost-disk", 4);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    for (uint32_t i = 0; i < 5; i++) {
        world_leave(t.world, 0);
        world_run_for(t.world, ppn_seconds(1));
        world_start(t.world, 0);
        world_run_for(t.world, ppn_seconds(2));
    }
    narrate(&t, "n1, in its sixth epoch, loses its disk and starts with the same key");
    world_leave(t.world, 0);
    t.world->nodes[0].epoch = 0;
    t.world->nodes[0].row_count = 0;
    world_run_for(t.world, ppn_seconds(1));
    world_start(t.world, 0);
    world_run_for(t.world, ppn_seconds(5));
    struct gossip_member member;
    cr_assert(gossip_member(t.world->nodes[1].core, &t.world->nodes[0].id, &member) == PPN_OK);
    cr_assert(member.epoch == 7, "epoch %u", member.epoch);
    cr_assert(t.world->clones == 0, "a lost disk is no clone");
    end(&t);
}

Test(cluster, a_machine_that_slept_comes_back_by_itself)
{
    struct telling t;
    begin(&t, "slept", 3);
    world_start_all(t.world, ppn_seconds(1));
    world_run_for(t.world, ppn_seconds(10));
    narrate(&t, "n3's lid is closed for an hour, for which its clock stands");
    t.world->nodes[2].healthy = false;
    world_sleep(t.world, 2, ppn_seconds(3600));
    world_run_for(t.world, ppn_ms(3600 * 1000 - 1));
    narrate(&t, "and opened");
    world_run_for(t.world, ppn_seconds(2));
    t.world->nodes[2].healthy = true;
    end(&t);
}
