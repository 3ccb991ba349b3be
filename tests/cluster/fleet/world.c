// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "world_internal.h"

static void free_due(struct due *due)
{
    free(due->row);
    free(due->message);
}

static void deliver(struct world *world, const struct due *due)
{
    if (due->from != due->node && !world_reachable(world, due->from, due->node))
        return;
    if (world->nodes[due->from].revoked)
        return;
    struct fleet_event event = world_event(world, FLEET_EVENT_MESSAGE);
    event.node = world_node_id(due->from);
    event.message = due->message;
    world_step(world, due->node, &event);
}

static void happen(struct world *world, struct due *due)
{
    const struct node *at = &world->nodes[due->node];
    bool alive = at->fleet != NULL && (at->life == due->life || due->kind == DUE_MESSAGE);
    if (alive && due->kind == DUE_MESSAGE)
        deliver(world, due);
    else if (alive && due->kind == DUE_SYNC)
        world_on_sync(world, due);
    else if (alive)
        world_on_work(world, due);
    free_due(due);
}

/* Failure detection, simplified: out of reach for DEATH_MS is dead, in reach again is reachable. */
static void check_deaths(struct world *world)
{
    for (uint32_t a = 0; a < world->count; a++) {
        struct node *node = &world->nodes[a];
        for (uint32_t b = 0; node->fleet != NULL && b < world->count; b++) {
            if (a == b || world->nodes[b].revoked)
                continue;
            bool here = world_reachable(world, a, b);
            if (here)
                node->heard_ms[b] = world->now_ms;
            bool dead = !here && world->now_ms - node->heard_ms[b] > DEATH_MS;
            enum fleet_node_state state = dead ? FLEET_NODE_DEAD : FLEET_NODE_REACHABLE;
            if ((!here && !dead) || state == node->told[b])
                continue;
            node->told[b] = state;
            struct fleet_event event = world_event(world, FLEET_EVENT_NODE);
            event.node = world_node_id(b);
            event.node_state = state;
            world_step(world, a, &event);
        }
    }
}

static int64_t next_deadline(const struct world *world, uint32_t *node)
{
    int64_t at_ms = INT64_MAX;
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->nodes[i].fleet == NULL)
            continue;
        int64_t ns = fleet_deadline(world->nodes[i].fleet).ns;
        int64_t ms = ns == INT64_MAX ? ns : (ns + 999999) / 1000000;
        if (ms < at_ms) {
            at_ms = ms;
            *node = i;
        }
    }
    return at_ms;
}

static uint32_t next_due(const struct world *world)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < world->due_count; i++) {
        const struct due *a = &world->dues[i], *b = &world->dues[best];
        if (a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order))
            best = i;
    }
    return best;
}

static void advance(struct world *world, int64_t to_ms)
{
    if (to_ms > world->now_ms)
        world->now_ms = to_ms;
}

bool world_run(struct world *world, int64_t until_ms)
{
    while (!world->wrong) {
        uint32_t node = 0, due = next_due(world);
        int64_t deadline = next_deadline(world, &node);
        int64_t event = world->due_count ? world->dues[due].at_ms : INT64_MAX;
        int64_t next = event <= deadline ? event : deadline;
        if (world->death_check_ms < next)
            next = world->death_check_ms;
        if (next > until_ms)
            break;
        advance(world, next);
        if (next == world->death_check_ms) {
            world->death_check_ms += DEATH_CHECK_MS;
            check_deaths(world);
        } else if (next == event) {
            struct due taken = world->dues[due];
            world->dues[due] = world->dues[--world->due_count];
            happen(world, &taken);
        } else {
            struct fleet_event tick = world_event(world, FLEET_EVENT_TICK);
            world_step(world, node, &tick);
        }
    }
    advance(world, until_ms);
    return !world->wrong;
}

/* ---- making and breaking ---- */

struct world *world_new(uint32_t nodes, uint64_t seed, const struct world_faults *faults)
{
    struct world *world = calloc(1, sizeof(*world));
    world->count = nodes;
    world->faults = *faults;
    ppn_random_init(&world->random, seed);
    for (uint32_t a = 0; a < nodes; a++)
        for (uint32_t b = 0; b < nodes; b++)
            world->nodes[a].heard_ms[b] = -1;
    return world;
}

void world_free(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++) {
        fleet_free(world->nodes[i].fleet);
        for (uint32_t r = 0; r < world->nodes[i].row_count; r++)
            free(world->nodes[i].rows[r]);
    }
    for (uint32_t i = 0; i < world->due_count; i++)
        free_due(&world->dues[i]);
    free(world);
}

void world_set_faults(struct world *world, const struct world_faults *faults)
{
    world->faults = *faults;
}

void world_trace(struct world *world, FILE *file)
{
    world->trace = file;
}

uint64_t world_hash(const struct world *world)
{
    return world->hash;
}

int64_t world_now_ms(const struct world *world)
{
    return world->now_ms;
}

const char *world_problem(const struct world *world)
{
    return world->wrong ? world->problem : NULL;
}

static void hear(struct world *world, uint32_t a, uint32_t b)
{
    if (world_reachable(world, a, b))
        world->nodes[a].heard_ms[b] = world->nodes[b].heard_ms[a] = world->now_ms;
}

/* What was not synced is lost; of the work under way, a launch may have happened all the same. */
void world_kill(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    if (at->fleet == NULL)
        return;
    world_say(world, "n%u is killed", node + 1);
    for (uint32_t i = 0; i < world->count; i++)
        hear(world, node, i);
    fleet_free(at->fleet);
    at->fleet = NULL;
    for (uint32_t i = 0; i < world->due_count; i++) {
        struct due *due = &world->dues[i];
        bool own = due->node == node && due->life == at->life;
        if (own && due->kind == DUE_LAUNCH && world_find_machine(at, &due->key) &&
            world_draw(world, 2))
            world_launch(world, node, &due->key);
    }
    at->life++;
    at->sync_free_ms = 0;
}

static void tell_removed(struct world *world, uint32_t node, uint32_t removed)
{
    struct fleet_event event = world_event(world, FLEET_EVENT_NODE);
    event.node = world_node_id(removed);
    event.node_state = FLEET_NODE_REMOVED;
    world_step(world, node, &event);
}

void world_start(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    if (at->fleet != NULL || at->revoked)
        return;
    world_say(world, "n%u starts", node + 1);
    struct fleet_config config = {.self = world_node_id(node),
                                  .clock_skew = ppn_seconds(1),
                                  .retry_max = ppn_seconds(4),
                                  .prepare_silence = ppn_seconds(4),
                                  .patience = ppn_seconds(20),
                                  .claim_patience = ppn_seconds(5),
                                  .hold_query = ppn_seconds(5),
                                  .hold_release = ppn_seconds(60)};
    struct ppn_instant now = {world->now_ms * 1000000};
    at->fleet = fleet_init(&config, now, ppn_random_u64(&world->random));
    for (uint32_t i = 0; i < at->row_count; i++) {
        struct fleet_event event = world_event(world, FLEET_EVENT_RESTORE);
        event.row = at->rows[i];
        world_step(world, node, &event);
    }
    struct fleet_event event = world_event(world, FLEET_EVENT_START);
    world_step(world, node, &event);
    for (uint32_t i = 0; i < world->count; i++) {
        at->told[i] = FLEET_NODE_REACHABLE;
        hear(world, node, i);
        if (world->nodes[i].revoked)
            tell_removed(world, node, i);
    }
}

bool world_up(const struct world *world, uint32_t node)
{
    return world->nodes[node].fleet != NULL;
}

void world_cut(struct world *world, uint32_t a, uint32_t b, bool cut)
{
    hear(world, a, b);
    if (world->cut[a][b] != cut)
        world_say(world, "n%u and n%u are %s", a + 1, b + 1, cut ? "cut" : "joined");
    world->cut[a][b] = world->cut[b][a] = cut;
    hear(world, a, b);
}

bool world_heard(const struct world *world, uint32_t node, uint32_t of, int64_t since_ms)
{
    return node == of || world_reachable(world, node, of) ||
           world->nodes[node].heard_ms[of] >= since_ms;
}

static void banish_machines(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    for (uint32_t m = 0; m < at->machine_count; m++) {
        struct wish *wish = &world->wishes[world_wish_number(world, &at->machines[m].request)];
        if (at->machines[m].running) {
            wish->launches--;
            wish->banished = true;
        }
    }
    at->machine_count = 0;
    for (uint32_t r = 0; r < WORLD_REQUESTS_MAX; r++) {
        struct wish *wish = &world->wishes[r];
        if (wish->removed && wish->removed_at == node) {
            wish->launches--;
            wish->removed = false;
            wish->banished = true;
        }
    }
}

void world_revoke(struct world *world, uint32_t node)
{
    world_kill(world, node);
    world_say(world, "n%u is revoked", node + 1);
    world->nodes[node].revoked = true;
    banish_machines(world, node);
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->nodes[i].fleet != NULL)
            tell_removed(world, i, node);
    }
}

void world_rank(struct world *world, const int *order)
{
    world->ranking = order;
}

void world_fail_next(struct world *world, uint32_t node, bool fit, bool prepares, bool launches)
{
    world->nodes[node].fit_fails = fit;
    world->nodes[node].prepare_fails = prepares;
    world->nodes[node].launch_fails = launches;
}

/* ---- people ---- */

enum ppn_error world_submit(struct world *world, uint32_t node, uint32_t r, bool fresh)
{
    static const uint8_t spec[] = "a machine";
    struct wish *wish = &world->wishes[r];
    if (!wish->used) {
        uint8_t noise[10] = {(uint8_t)r};
        wish->used = true;
        wish->id = ppn_request_id_make(START_WALL_MS + world->now_ms, noise);
    }
    world_say(world, "n%u is asked  r%u%s", node + 1, r, fresh ? "" : " (a repetition, perhaps)");
    struct fleet_event event = world_event(world, FLEET_EVENT_SUBMIT);
    event.request = wish->id;
    event.spec = ppn_slice(spec, sizeof(spec));
    event.fresh = fresh;
    return world_try_step(world, node, &event);
}

enum ppn_error world_give_up(struct world *world, uint32_t node, uint32_t r)
{
    struct fleet_event event = world_event(world, FLEET_EVENT_GIVE_UP);
    event.request = world->wishes[r].id;
    world_say(world, "n%u takes back r%u", node + 1, r);
    return world_try_step(world, node, &event);
}

bool world_remove(struct world *world, uint32_t r)
{
    for (uint32_t i = 0; i < world->count; i++) {
        struct node *at = &world->nodes[i];
        for (uint32_t m = 0; at->fleet != NULL && m < at->machine_count; m++) {
            struct machine *machine = &at->machines[m];
            if (!machine->running || !ppn_request_id_equal(&machine->request, &world->wishes[r].id))
                continue;
            world_say(world, "n%u removes  r%u", i + 1, r);
            world_drop_machine(at, machine);
            world->wishes[r].removed = true;
            world->wishes[r].removed_at = i;
            struct fleet_event event = world_event(world, FLEET_EVENT_VM_REMOVED);
            event.request = world->wishes[r].id;
            world_step(world, i, &event);
            return true;
        }
    }
    return false;
}

bool world_said(const struct world *world, uint32_t node, uint32_t r, enum fleet_news news)
{
    return world->wishes[r].said[node][news];
}

int world_machine_node(const struct world *world, uint32_t r)
{
    for (uint32_t i = 0; i < world->count; i++)
        for (uint32_t m = 0; m < world->nodes[i].machine_count; m++)
            if (world->nodes[i].machines[m].running &&
                ppn_request_id_equal(&world->nodes[i].machines[m].request, &world->wishes[r].id))
                return (int)i;
    return -1;
}

static void check_node(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    struct fleet_request_view request;
    struct fleet_hold_view hold;
    uint32_t cursor = 0;
    while (fleet_request_next(at->fleet, &cursor, &request)) {
        int r = world_wish_number(world, &request.id);
        bool waits_for_dead = request.state == FLEET_REQUEST_COMMITTED && request.lost;
        if (request.state < FLEET_REQUEST_IN_SERVICE && !waits_for_dead)
            world_wrong(world, "n%u: r%d is still %s", node + 1, r,
                        fleet_request_state_name(request.state));
        if (request.state == FLEET_REQUEST_IN_SERVICE && world->wishes[r].launches != 1 &&
            !world->wishes[r].banished)
            world_wrong(world, "n%u: r%d is in service without a machine", node + 1, r);
        if (request.state == FLEET_REQUEST_FAILED && world->wishes[r].launches != 0)
            world_wrong(world, "n%u: r%d has failed and has a machine", node + 1, r);
    }
    cursor = 0;
    while (fleet_hold_next(at->fleet, &cursor, &hold))
        if (hold.state != FLEET_HOLD_IN_SERVICE && hold.state != FLEET_HOLD_TOMB)
            world_wrong(world, "n%u: a hold is left %s", node + 1,
                        fleet_hold_state_name(hold.state));
    struct fleet_reserve left = fleet_reserved(at->fleet);
    if (left.memory_bytes || left.vcpus || left.disk_bytes)
        world_wrong(world, "n%u: a reservation is left", node + 1);
    for (uint32_t m = 0; m < at->machine_count; m++)
        if (!at->machines[m].running)
            world_wrong(world, "n%u: a half-made machine is left of r%d", node + 1,
                        world_wish_number(world, &at->machines[m].request));
    for (uint32_t i = 0; i < at->row_count; i++)
        for (uint32_t a = 0; a < at->rows[i]->abandoned_count; a++)
            if (world->nodes[world_node_number(&at->rows[i]->abandoned[a].node)].fleet != NULL)
                world_wrong(world, "n%u: a cancel was never answered", node + 1);
}

static void check_wish(struct world *world, uint32_t r)
{
    const struct wish *wish = &world->wishes[r];
    bool here = world_machine_node(world, r) >= 0;
    if (wish->launches == 1 && !here && !wish->removed)
        world_wrong(world, "r%u ran and is gone", r);
    for (uint32_t i = 0; i < world->count; i++) {
        struct fleet_request_view view;
        bool accepted = wish->said[i][FLEET_NEWS_ACCEPTED];
        if (!accepted || world->nodes[i].fleet == NULL)
            continue;
        if (fleet_request(world->nodes[i].fleet, &wish->id, &view) != PPN_OK)
            world_wrong(world, "n%u: r%u was accepted and is forgotten", i + 1, r);
    }
}

bool world_check_end(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++)
        if (world->nodes[i].fleet != NULL)
            check_node(world, i);
    for (uint32_t r = 0; r < WORLD_REQUESTS_MAX; r++)
        if (world->wishes[r].used)
            check_wish(world, r);
    return !world->wrong;
}
