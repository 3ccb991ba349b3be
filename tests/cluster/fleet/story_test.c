// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* fleet_stories DIRECTORY [--write]: the main stories, each traced and compared with
 * DIRECTORY/NAME.txt. The files are meant to be read; --write makes them anew. */

enum { TRACE_MAX = 64 * 1024 };

static const struct world_faults calm = {.delay_max_ms = 0, .sync_max_ms = 0, .work_max_ms = 0};

/* Nodes are numbered from 0 here and from n1 in the trace. */
static const int second_first[] = {1, 2, 0}, third_first[] = {2, 1, 0};

static void settle(struct world *world, int64_t ms)
{
    (void)world_run(world, world_now_ms(world) + ms);
}

static void good_road(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 100);
    (void)world_submit(world, 0, 0, false);
}

static void refused_then_next(struct world *world)
{
    world_fail_next(world, 1, true, false, false);
    (void)world_submit(world, 0, 0, true);
    settle(world, 100);
}

static void launch_fails(struct world *world)
{
    world_fail_next(world, 1, false, false, true);
    (void)world_submit(world, 0, 0, true);
    settle(world, 100);
}

static void target_cut_at_commit(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 5); /* the answer has just arrived */
    world_cut(world, 0, 1, true);
    settle(world, 9000);
    world_cut(world, 0, 1, false);
    settle(world, 5000);
}

static void target_cut_while_preparing(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 3);
    world_cut(world, 0, 1, true);
    settle(world, 9000);
    world_cut(world, 0, 1, false);
    settle(world, 5000);
}

static void target_dies_after_commit(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 6);
    world_kill(world, 1);
    settle(world, 7000);
    world_start(world, 1);
    settle(world, 3000);
}

static void origin_dies_before_commit(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 5);
    world_kill(world, 0);
    settle(world, 12000);
    world_start(world, 0);
    settle(world, 1000);
}

static void origin_never_returns(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 5);
    world_kill(world, 0);
    settle(world, 70000);
    world_start(world, 0);
    settle(world, 1000);
}

static void asked_at_two_nodes(struct world *world)
{
    (void)world_submit(world, 2, 0, false);
    (void)world_submit(world, 1, 0, false);
    settle(world, 2000);
}

static void removed_does_not_rise(struct world *world)
{
    (void)world_submit(world, 0, 0, true);
    settle(world, 100);
    (void)world_remove(world, 0);
    settle(world, 100);
    (void)world_submit(world, 2, 0, false);
    settle(world, 1000);
}

static const struct story {
    const char *name;
    const int *ranking;
    void (*tell)(struct world *world);
} stories[] = {
    {"good-road", second_first, good_road},
    {"refused-then-next", second_first, refused_then_next},
    {"launch-fails", second_first, launch_fails},
    {"target-cut-while-preparing", second_first, target_cut_while_preparing},
    {"target-cut-at-commit", second_first, target_cut_at_commit},
    {"target-dies-after-commit", second_first, target_dies_after_commit},
    {"origin-dies-before-commit", second_first, origin_dies_before_commit},
    {"origin-never-returns", second_first, origin_never_returns},
    {"asked-at-two-nodes", third_first, asked_at_two_nodes},
    {"removed-does-not-rise", second_first, removed_does_not_rise},
};

static bool same(const char *path, const char *text)
{
    static char known[TRACE_MAX];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    size_t size = fread(known, 1, sizeof(known) - 1, file);
    known[size] = '\0';
    fclose(file);
    if (strcmp(known, text) == 0)
        return true;
    fprintf(stderr, "%s tells another story; it is now:\n%s", path, text);
    return false;
}

static bool tell(const struct story *story, const char *directory, bool write)
{
    char path[4096], *text = NULL;
    size_t size = 0;
    FILE *trace = open_memstream(&text, &size);
    struct world *world = world_new(3, 1, &calm);
    for (uint32_t i = 0; i < 3; i++)
        world_start(world, i);
    settle(world, 2000);
    world_rank(world, story->ranking);
    world_trace(world, trace);
    story->tell(world);
    world_trace(world, NULL);
    settle(world, 100000);
    bool good = world_check_end(world);
    if (!good)
        fprintf(stderr, "%s: %s\n", story->name, world_problem(world));
    world_free(world);
    fclose(trace);
    snprintf(path, sizeof(path), "%s/%s.txt", directory, story->name);
    if (write) {
        FILE *file = fopen(path, "w");
        good = file != NULL && fputs(text, file) >= 0 && fclose(file) == 0 && good;
    } else {
        good = same(path, text) && good;
    }
    free(text);
    return good;
}

int main(int argc, char **argv)
{
    bool good = argc > 1, write = argc > 2 && strcmp(argv[2], "--write") == 0;
    for (size_t i = 0; good && i < sizeof(stories) / sizeof(*stories); i++)
        good = tell(&stories[i], argv[1], write);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
