// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "paths_world.h"

/* A few nodes with real path cores and a real relay core, and what happens to them, told as a
 * story: each test's story must be the one in stories/NAME, line by line. `PPN_STORIES=write`
 * writes them anew; then read them, for they are what people will see. */

struct telling {
    struct paths_world *world;
    char *text;
    size_t size;
    const char *name;
};

static void begin(struct telling *t, const char *name)
{
    *t = (struct telling){.name = name};
    FILE *story = open_memstream(&t->text, &t->size);
    cr_assert_not_null(story);
    t->world = paths_world_new(7, story);
}

static void narrate(struct telling *t, const char *line)
{
    fprintf(t->world->story, "-- %s\n", line);
}

static void all_talk(struct telling *t)
{
    for (uint32_t a = 0; a < t->world->count; a++) {
        for (uint32_t b = 0; b < a; b++)
            paths_talk(t->world, a, b, true);
    }
}

static void end(struct telling *t)
{
    char path[512], *wanted = NULL;
    size_t size = 0;
    cr_assert_eq(t->world->broken, 0, "%s", t->world->first_broken);
    fclose(t->world->story);
    paths_world_free(t->world);
    (void)snprintf(path, sizeof(path), "%s/%s", STORIES, t->name);
    const char *mode = getenv("PPN_STORIES");
    if (mode != NULL && strcmp(mode, "write") == 0) {
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        fwrite(t->text, 1, t->size, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s is missing", path);
    FILE *memory = open_memstream(&wanted, &size);
    for (int c = fgetc(file); c != EOF; c = fgetc(file))
        fputc(c, memory);
    fclose(memory);
    fclose(file);
    cr_assert_str_eq(t->text, wanted);
    free(t->text);
    free(wanted);
}

static double longest_gap(const struct telling *t, uint32_t a, uint32_t b)
{
    double there = (double)t->world->nodes[a].links[b].gap.ns / 1e6;
    double back = (double)t->world->nodes[b].links[a].gap.ns / 1e6;
    return there > back ? there : back;
}

/* n0 is public and a relay; n1 and n2 share a home, n3 has another, n4's router maps each
 * destination to another port. */
static void homes(struct telling *t)
{
    struct net *net = &t->world->net;
    uint32_t first = net_router(net, NET_CONE, NET_INTERNET, ppn_seconds(120));
    uint32_t second = net_router(net, NET_CONE, NET_INTERNET, ppn_seconds(120));
    uint32_t third = net_router(net, NET_SYMMETRIC, NET_INTERNET, ppn_seconds(120));
    (void)paths_node(t->world, NET_INTERNET, true, true);
    (void)paths_node(t->world, first, false, false);
    (void)paths_node(t->world, first, false, false);
    (void)paths_node(t->world, second, false, false);
    (void)paths_node(t->world, third, false, false);
    paths_start(t->world);
    all_talk(t);
}

Test(cluster_paths, homes_meet_each_as_well_as_its_router_allows)
{
    struct telling t;
    begin(&t, "meet");
    narrate(&t, "n0 is public, n1 and n2 share a home, n4's router is symmetric");
    homes(&t);
    paths_run_for(t.world, ppn_seconds(60));
    for (uint32_t a = 0; a < t.world->count; a++) {
        for (uint32_t b = 0; b < t.world->count; b++)
            cr_assert(a == b || paths_class(t.world, a, b) == paths_best(t.world, a, b));
    }
    end(&t);
}

Test(cluster_paths, a_laptop_takes_another_wifi)
{
    struct telling t;
    begin(&t, "moves");
    homes(&t);
    paths_run_for(t.world, ppn_seconds(60));
    narrate(&t, "n1 goes to the home of n3");
    paths_clear_gaps(t.world);
    paths_move(t.world, 1, t.world->net.hosts[3].segment);
    paths_run_for(t.world, ppn_seconds(60));
    for (uint32_t i = 0; i < t.world->count; i++)
        cr_assert(i == 1 || longest_gap(&t, 1, i) < 3000, "n1 and n%u: %.0f ms", i,
                  longest_gap(&t, 1, i));
    end(&t);
}

Test(cluster_paths, a_relay_dies_and_another_is_there)
{
    struct telling t;
    begin(&t, "relay-dies");
    struct net *net = &t.world->net;
    (void)paths_node(t.world, NET_INTERNET, true, true);
    (void)paths_node(t.world, NET_INTERNET, true, true);
    for (int i = 0; i < 2; i++)
        (void)paths_node(t.world, net_router(net, NET_SYMMETRIC, NET_INTERNET, ppn_seconds(120)),
                         false, false);
    paths_start(t.world);
    all_talk(&t);
    paths_run_for(t.world, ppn_seconds(60));
    for (uint32_t relay = 0; relay < 2; relay++) {
        narrate(&t, relay == 0 ? "the relay of n0 dies" : "n0's is back, that of n1 dies");
        paths_clear_gaps(t.world);
        paths_relay(t.world, relay, false);
        paths_run_for(t.world, ppn_seconds(20));
        cr_assert_lt(longest_gap(&t, 2, 3), 5000);
        paths_relay(t.world, relay, true);
        paths_run_for(t.world, ppn_seconds(40));
    }
    end(&t);
}

Test(cluster_paths, a_provider_gives_another_address)
{
    struct telling t;
    begin(&t, "rebind");
    homes(&t);
    paths_run_for(t.world, ppn_seconds(60));
    for (uint32_t router = 0; router < 3; router++) {
        narrate(&t, router == 0   ? "the router of n1 and n2 gets another address"
                    : router == 1 ? "n3's does"
                                  : "n4's does");
        paths_clear_gaps(t.world);
        net_rebind(&t.world->net, router);
        paths_run_for(t.world, ppn_seconds(40));
        for (uint32_t a = 0; a < t.world->count; a++) {
            for (uint32_t b = 0; b < a; b++)
                cr_assert_lt(longest_gap(&t, a, b), 5000, "n%u and n%u", a, b);
        }
    }
    end(&t);
}

Test(cluster_paths, a_better_way_loses_no_packet)
{
    struct telling t;
    begin(&t, "better");
    homes(&t);
    paths_run_for(t.world, ppn_seconds(60));
    narrate(&t, "n4's router is replaced by one that keeps ports");
    t.world->net.routers[2].kind = NET_CONE;
    t.world->net.routers[2].mapping_count = 0;
    paths_run_for(t.world, ppn_seconds(5));
    paths_clear_gaps(t.world);
    paths_run_for(t.world, ppn_seconds(80));
    cr_assert_eq(paths_class(t.world, 3, 4), PATH_PUNCHED);
    cr_assert_eq(paths_class(t.world, 4, 3), PATH_PUNCHED);
    cr_assert_lt(longest_gap(&t, 3, 4), 200, "no packet of ten a second is lost");
    end(&t);
}

Test(cluster_paths, a_laptop_wakes_after_a_night)
{
    struct telling t;
    begin(&t, "wakes");
    homes(&t);
    paths_run_for(t.world, ppn_seconds(60));
    narrate(&t, "n3 sleeps for ten minutes");
    paths_sleep(t.world, 3);
    paths_run_for(t.world, ppn_seconds(600));
    narrate(&t, "n3 wakes");
    paths_wake(t.world, 3);
    paths_run_for(t.world, ppn_seconds(3));
    for (uint32_t i = 0; i < t.world->count; i++)
        cr_assert(i == 3 || (paths_class(t.world, 3, i) >= 0 && paths_class(t.world, i, 3) >= 0),
                  "n3 and n%u", i);
    paths_run_for(t.world, ppn_seconds(60));
    end(&t);
}
