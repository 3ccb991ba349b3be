// SPDX-License-Identifier: ISC
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    EVENTS_MAX = 4096,
    ROWS_MAX = 64,
    MACHINES_MAX = 32,
    DEATH_MS = 5000, /* out of reach this long: others take it for dead */
    DEATH_CHECK_MS = 1000
};

enum due_kind { DUE_MESSAGE, DUE_SYNC, DUE_FIT, DUE_PREPARE, DUE_LAUNCH, DUE_RELEASE };

static const int64_t START_WALL_MS = 1790000000000;

/* Something that will happen at a node. */
struct due {
    int64_t at_ms;
    uint64_t order; /* among equals, and the identity in traces */
    enum due_kind kind;
    uint32_t node, from;
    uint32_t life; /* of the node's daemon; a dead one's events are void, but for messages */
    uint64_t ticket;
    bool forget;
    struct fleet_key key;
    struct fleet_row *row;
    struct fleet_msg *message;
    uint32_t attempt;
};

struct machine {
    struct ppn_request_id request;
    struct ppn_node_id origin;
    uint32_t attempt;
    bool running;
};

struct node {
    struct fleet *fleet; /* NULL: down */
    uint32_t life;
    bool revoked;
    int64_t sync_free_ms; /* rows reach the disk in order */
    int64_t down_since_ms;
    uint32_t row_count;
    struct fleet_row *rows[ROWS_MAX];
    uint32_t machine_count;
    struct machine machines[MACHINES_MAX];
    bool fit_fails, prepare_fails, launch_fails;
    int64_t heard_ms[WORLD_NODES_MAX];
    enum fleet_node_state told[WORLD_NODES_MAX];
};

struct wish {
    bool used;
    struct ppn_request_id id;
    uint32_t launches; /* that succeeded, ever */
    bool removed;
    uint32_t removed_at;
    bool banished; /* it ran on a node that was revoked, which is no part of the pool any more */
    bool said[WORLD_NODES_MAX][FLEET_NEWS_LOST + 1];
    bool denied[WORLD_NODES_MAX]; /* that origin said: there is no VM */
};

struct world {
    uint32_t count;
    struct ppn_random random;
    struct world_faults faults;
    int64_t now_ms;
    int64_t death_check_ms;
    uint64_t order, hash;
    FILE *trace;
    const int *ranking;
    bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX];
    struct node nodes[WORLD_NODES_MAX];
    struct wish wishes[WORLD_REQUESTS_MAX];
    uint32_t due_count;
    struct due dues[EVENTS_MAX];
    bool wrong;
    char problem[256];
};

static void __attribute__((format(printf, 2, 3)))
wrong(struct world *world, const char *format, ...)
{
    va_list list;
    if (world->wrong)
        return;
    world->wrong = true;
    va_start(list, format);
    vsnprintf(world->problem, sizeof(world->problem), format, list);
    va_end(list);
}

static void __attribute__((format(printf, 2, 3)))
trace(struct world *world, const char *format, ...)
{
    va_list list;
    if (world->trace == NULL)
        return;
    fprintf(world->trace, "%7.3f ", (double)world->now_ms / 1000);
    va_start(list, format);
    vfprintf(world->trace, format, list);
    va_end(list);
    fputc('\n', world->trace);
}

static struct ppn_node_id node_id(uint32_t node)
{
    struct ppn_node_id id = {{0}};
    id.bytes[0] = (uint8_t)(node + 1);
    return id;
}

static uint32_t node_number(const struct ppn_node_id *id)
{
    return id->bytes[0] - 1u;
}

static int wish_number(const struct world *world, const struct ppn_request_id *id)
{
    for (int r = 0; r < WORLD_REQUESTS_MAX; r++)
        if (world->wishes[r].used && ppn_request_id_equal(&world->wishes[r].id, id))
            return r;
    return -1;
}

static uint32_t draw(struct world *world, uint32_t max)
{
    return max ? (uint32_t)ppn_random_below(&world->random, max) : 0;
}

static struct due *later(struct world *world, enum due_kind kind, uint32_t node, int64_t delay_ms)
{
    static struct due overflow;
    if (world->due_count == EVENTS_MAX) {
        wrong(world, "more than %d events wait", EVENTS_MAX);
        return &overflow;
    }
    struct due *due = &world->dues[world->due_count++];
    *due = (struct due){.at_ms = world->now_ms + delay_ms,
                        .order = ++world->order,
                        .kind = kind,
                        .node = node,
                        .life = world->nodes[node].life};
    return due;
}

static struct fleet_row *copy_row(const struct fleet_row *row)
{
    struct fleet_row *copy = malloc(sizeof(*copy) + row->spec.size);
    *copy = *row;
    if (row->spec.size) {
        memcpy(copy + 1, row->spec.data, row->spec.size);
        copy->spec.data = (const uint8_t *)(copy + 1);
    }
    return copy;
}

static void send_copy(struct world *world, uint32_t from, uint32_t to, const struct fleet_msg *msg)
{
    uint32_t delay = from == to ? 0 : 1 + draw(world, world->faults.delay_max_ms);
    struct due *due = later(world, DUE_MESSAGE, to, delay);
    struct fleet_msg *copy = malloc(sizeof(*copy) + msg->spec.size);
    *copy = *msg;
    if (msg->spec.size) {
        memcpy(copy + 1, msg->spec.data, msg->spec.size);
        copy->spec.data = (const uint8_t *)(copy + 1);
    }
    due->message = copy;
    due->from = from;
}

static bool reachable(const struct world *world, uint32_t a, uint32_t b)
{
    return world->nodes[a].fleet != NULL && world->nodes[b].fleet != NULL && !world->cut[a][b];
}

static const char *msg_detail(const struct fleet_msg *msg, char *text, size_t size)
{
    text[0] = '\0';
    if (msg->attempt)
        snprintf(text, size, "(%u)", msg->attempt);
    size_t used = strlen(text);
    if (msg->kind == FLEET_MSG_STATUS || msg->kind == FLEET_MSG_CLAIM_ANSWER)
        snprintf(text + used, size - used, " %s", fleet_phase_name(msg->phase));
    else if (msg->kind == FLEET_MSG_WORKING)
        snprintf(text + used, size - used, " %s", fleet_step_name(msg->step));
    else if (msg->code != PPN_OK)
        snprintf(text + used, size - used, " %s", ppn_error_name(msg->code));
    return text;
}

static void do_send(struct world *world, uint32_t node, const struct fleet_action *action)
{
    uint32_t to = node_number(&action->node);
    char detail[64];
    bool self = to == node;
    bool lost = !self && ppn_random_chance(&world->random, world->faults.loss);
    trace(world, "n%u -> n%u  r%d %s%s%s", node + 1, to + 1, wish_number(world, &action->request),
          fleet_msg_kind_name(action->message->kind),
          msg_detail(action->message, detail, sizeof(detail)), lost ? "  (lost)" : "");
    if (lost)
        return;
    send_copy(world, node, to, action->message);
    if (!self && ppn_random_chance(&world->random, world->faults.repeat))
        send_copy(world, node, to, action->message);
}

/* Rows reach the disk in order, each some time after the one before. */
static void do_row(struct world *world, uint32_t node, const struct fleet_action *action)
{
    struct node *at = &world->nodes[node];
    int64_t done = world->now_ms + 1 + draw(world, world->faults.sync_max_ms);
    if (done < at->sync_free_ms)
        done = at->sync_free_ms;
    at->sync_free_ms = done;
    struct due *due = later(world, DUE_SYNC, node, done - world->now_ms);
    due->ticket = action->ticket;
    due->key = action->key;
    due->forget = action->kind == FLEET_DO_FORGET;
    due->row = due->forget ? NULL : copy_row(action->row);
}

static void do_news(struct world *world, uint32_t node, const struct fleet_action *action)
{
    int r = wish_number(world, &action->request);
    char at[8] = "";
    if (!ppn_node_id_is_zero(&action->node))
        snprintf(at, sizeof(at), " n%u", node_number(&action->node) + 1);
    trace(world, "n%u says     r%d %s%s%s%s", node + 1, r, fleet_news_name(action->news), at,
          action->reason[0] ? ": " : "", action->reason);
    if (r < 0)
        return;
    struct wish *wish = &world->wishes[r];
    wish->said[node][action->news] = true;
    if (action->news == FLEET_NEWS_IN_SERVICE && wish->launches == 0 && !wish->banished)
        wrong(world, "r%d: in service is said, but nothing ever ran", r);
    /* Of a request that was not accepted nothing is remembered: it may be tried again. */
    if (action->news == FLEET_NEWS_FAILED && wish->said[node][FLEET_NEWS_ACCEPTED]) {
        wish->denied[node] = true;
        if (wish->launches > 0)
            wrong(world, "r%d: said to have failed, but it ran", r);
    }
}

static struct fleet_event event_of(const struct world *world, enum fleet_event_kind kind)
{
    return (struct fleet_event){.kind = kind, .wall = {START_WALL_MS + world->now_ms}};
}

static void step(struct world *world, uint32_t node, const struct fleet_event *event);

static void answer_candidates(struct world *world, uint32_t node, const struct fleet_action *action)
{
    struct ppn_node_id ids[WORLD_NODES_MAX];
    struct fleet_event event = event_of(world, FLEET_EVENT_CANDIDATES);
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        uint32_t candidate = i;
        if (world->ranking != NULL && world->ranking[i] < 0)
            break;
        if (world->ranking != NULL)
            candidate = (uint32_t)world->ranking[i];
        bool seen = candidate == node || reachable(world, node, candidate);
        if (world->nodes[candidate].revoked)
            continue;
        if (seen || ppn_random_chance(&world->random, world->faults.ranks_dead))
            ids[count++] = node_id(candidate);
    }
    for (uint32_t i = count; world->ranking == NULL && i > 1; i--) {
        uint32_t j = draw(world, i);
        struct ppn_node_id swap = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = swap;
    }
    event.request = action->request;
    event.nodes = ids;
    event.count = count;
    event.code = count ? PPN_OK : PPN_ERROR_NO_CANDIDATE;
    step(world, node, &event);
}

static void answer_members(struct world *world, uint32_t node, const struct fleet_action *action)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};
    struct fleet_member members[WORLD_NODES_MAX];
    struct fleet_event event = event_of(world, FLEET_EVENT_MEMBERS);
    for (uint32_t i = 0; i < world->count; i++) {
        if (i == node || world->nodes[i].revoked)
            continue;
        bool here = reachable(world, node, i);
        int64_t heard = here ? world->now_ms : world->nodes[node].heard_ms[i];
        members[event.count++] = (struct fleet_member){node_id(i), names[i], here,
                                                       heard < 0 ? 0 : START_WALL_MS + heard};
    }
    event.request = action->request;
    event.members = members;
    step(world, node, &event);
}

static void stop_work(struct world *world, uint32_t node, const struct fleet_key *key)
{
    for (uint32_t i = 0; i < world->due_count; i++) {
        struct due *due = &world->dues[i];
        bool work = due->kind == DUE_PREPARE || due->kind == DUE_LAUNCH;
        if (work && due->node == node && memcmp(&due->key, key, sizeof(*key)) == 0)
            due->life = UINT32_MAX; /* void */
    }
}

static void do_work(struct world *world, uint32_t node, const struct fleet_action *action)
{
    enum due_kind kind = action->kind == FLEET_DO_CHECK_FIT ? DUE_FIT
                         : action->kind == FLEET_DO_PREPARE ? DUE_PREPARE
                         : action->kind == FLEET_DO_LAUNCH  ? DUE_LAUNCH
                                                            : DUE_RELEASE;
    static const char *const words[] = {
        [DUE_PREPARE] = "prepares", [DUE_LAUNCH] = "launches", [DUE_RELEASE] = "releases"};
    if (kind != DUE_FIT)
        trace(world, "n%u %-9sr%d", node + 1, words[kind], wish_number(world, &action->request));
    struct fleet_key key = {FLEET_ROW_HOLD, action->request, action->origin};
    if (kind == DUE_RELEASE)
        stop_work(world, node, &key);
    uint32_t delay = kind == DUE_FIT ? 0 : 1 + draw(world, world->faults.work_max_ms);
    struct due *due = later(world, kind, node, delay);
    due->key = key;
    due->attempt = action->attempt;
}

static void carry_out(struct world *world, uint32_t node, const struct fleet_action *action)
{
    switch (action->kind) {
    case FLEET_DO_PERSIST:
    case FLEET_DO_FORGET:
        do_row(world, node, action);
        break;
    case FLEET_DO_SEND:
        do_send(world, node, action);
        break;
    case FLEET_DO_NEWS:
        do_news(world, node, action);
        break;
    case FLEET_DO_NEED_CANDIDATES:
        answer_candidates(world, node, action);
        break;
    case FLEET_DO_NEED_MEMBERS:
        answer_members(world, node, action);
        break;
    case FLEET_DO_CHECK_FIT:
    case FLEET_DO_PREPARE:
    case FLEET_DO_LAUNCH:
    case FLEET_DO_RELEASE:
        do_work(world, node, action);
        break;
    }
}

static void mix(struct world *world, uint32_t node, const struct fleet_action *action)
{
    uint64_t numbers[] = {node,
                          (uint64_t)world->now_ms,
                          action->kind,
                          action->ticket,
                          action->attempt,
                          action->news,
                          action->code,
                          action->message ? (uint64_t)action->message->kind : 0,
                          action->row ? action->row->state : 0,
                          action->node.bytes[0]};
    struct ppn_hash_key key = {world->hash, 0};
    world->hash = ppn_hash64(key, ppn_slice(numbers, sizeof(numbers)));
}

static enum ppn_error step_checked(struct world *world, uint32_t node,
                                   const struct fleet_event *event)
{
    struct fleet_update update;
    struct fleet_action actions[FLEET_ACTIONS_MAX];
    struct ppn_instant now = {world->now_ms * 1000000};
    enum ppn_error error = fleet_step(world->nodes[node].fleet, now, event, &update);
    /* Questions are answered from inside, by a nested step that reuses the core's memory: so the
     * order is kept by answering them after the rest. */
    uint32_t questions = 0;
    for (uint32_t i = 0; i < update.count; i++) {
        const struct fleet_action *action = &update.actions[i];
        mix(world, node, action);
        if (action->kind == FLEET_DO_NEED_CANDIDATES || action->kind == FLEET_DO_NEED_MEMBERS)
            actions[questions++] = *action;
        else
            carry_out(world, node, action);
    }
    for (uint32_t i = 0; i < questions; i++)
        carry_out(world, node, &actions[i]);
    return error;
}

static void step(struct world *world, uint32_t node, const struct fleet_event *event)
{
    enum ppn_error error = step_checked(world, node, event);
    if (error != PPN_OK && error != PPN_ERROR_STALE)
        wrong(world, "n%u: a step failed: %s", node + 1, ppn_error_text(error));
}

/* ---- disk ---- */

static void write_row(struct world *world, uint32_t node, const struct due *due)
{
    struct node *at = &world->nodes[node];
    uint32_t i = 0;
    while (i < at->row_count && memcmp(&at->rows[i]->key, &due->key, sizeof(due->key)) != 0)
        i++;
    if (i < at->row_count)
        free(at->rows[i]);
    else if (due->forget)
        return;
    else if (at->row_count == ROWS_MAX) {
        wrong(world, "n%u: too many rows", node + 1);
        return;
    } else
        at->row_count++;
    if (due->forget)
        at->rows[i] = at->rows[--at->row_count];
    else
        at->rows[i] = copy_row(due->row);
}

static void on_sync(struct world *world, const struct due *due)
{
    bool fails = ppn_random_chance(&world->random, world->faults.sync_fails);
    struct fleet_event event =
        event_of(world, fails ? FLEET_EVENT_PERSIST_FAILED : FLEET_EVENT_PERSISTED);
    event.ticket = due->ticket;
    event.code = fails ? PPN_ERROR_NO_SPACE : PPN_OK;
    if (!fails)
        write_row(world, due->node, due);
    trace(world, "n%u %s r%d %s", due->node + 1, fails ? "disk full" : "synced  ",
          wish_number(world, &due->key.request),
          due->forget ? "forgotten"
          : due->key.kind == FLEET_ROW_REQUEST
              ? fleet_request_state_name((enum fleet_request_state)due->row->state)
              : fleet_hold_state_name((enum fleet_hold_state)due->row->state));
    step(world, due->node, &event);
}

/* ---- hypervisor ---- */

static struct machine *find_machine(struct node *node, const struct fleet_key *key)
{
    for (uint32_t i = 0; i < node->machine_count; i++)
        if (ppn_request_id_equal(&node->machines[i].request, &key->request) &&
            ppn_node_id_equal(&node->machines[i].origin, &key->origin))
            return &node->machines[i];
    return NULL;
}

static void drop_machine(struct node *node, struct machine *machine)
{
    *machine = node->machines[--node->machine_count];
}

static void prepare(struct world *world, uint32_t node, const struct fleet_key *key,
                    uint32_t attempt)
{
    struct node *at = &world->nodes[node];
    struct machine *machine = find_machine(at, key);
    if (machine == NULL && at->machine_count == MACHINES_MAX) {
        wrong(world, "n%u: too many machines", node + 1);
        return;
    }
    if (machine == NULL)
        machine = &at->machines[at->machine_count++];
    else if (machine->running)
        wrong(world, "n%u: a running machine is prepared again", node + 1);
    *machine = (struct machine){key->request, key->origin, attempt, false};
}

static void launch(struct world *world, uint32_t node, const struct fleet_key *key)
{
    struct machine *machine = find_machine(&world->nodes[node], key);
    int r = wish_number(world, &key->request);
    if (machine == NULL) {
        wrong(world, "n%u: r%d is launched but was not prepared", node + 1, r);
        return;
    }
    if (machine->running)
        return;
    machine->running = true;
    if (++world->wishes[r].launches > 1)
        wrong(world, "r%d has a second machine, on n%u", r, node + 1);
    for (uint32_t i = 0; i < world->count; i++)
        if (world->wishes[r].denied[i] && !world->nodes[i].revoked)
            wrong(world, "r%d runs on n%u though it was said to have failed", r, node + 1);
}

static bool once(bool *flag)
{
    bool set = *flag;
    *flag = false;
    return set;
}

static void on_work(struct world *world, const struct due *due)
{
    struct node *at = &world->nodes[due->node];
    struct machine *machine = find_machine(at, &due->key);
    struct fleet_event event = event_of(world, FLEET_EVENT_FIT);
    bool fails = false;
    if (due->kind == DUE_FIT) {
        fails =
            ppn_random_chance(&world->random, world->faults.fit_refuses) || once(&at->fit_fails);
        event.reserve = (struct fleet_reserve){1 << 20, 1, 1};
    } else if (due->kind == DUE_PREPARE) {
        event.kind = FLEET_EVENT_WORK_DONE;
        fails = ppn_random_chance(&world->random, world->faults.prepare_fails) ||
                once(&at->prepare_fails);
        prepare(world, due->node, &due->key, due->attempt);
    } else if (due->kind == DUE_LAUNCH) {
        bool runs = machine != NULL && machine->running;
        event.kind = FLEET_EVENT_LAUNCHED;
        fails = !runs && (ppn_random_chance(&world->random, world->faults.launch_fails) ||
                          once(&at->launch_fails));
        if (machine == NULL)
            event.kind = FLEET_EVENT_VM_REMOVED;
        else if (!fails)
            launch(world, due->node, &due->key);
    } else {
        event.kind = FLEET_EVENT_RELEASED;
        if (machine != NULL && machine->running)
            wrong(world, "n%u: a running machine is released", due->node + 1);
        if (machine != NULL)
            drop_machine(at, machine);
    }
    event.request = due->key.request;
    event.origin = due->key.origin;
    event.attempt = due->attempt;
    event.code = !fails ? PPN_OK : due->kind == DUE_FIT ? PPN_ERROR_REFUSED : PPN_ERROR_IO;
    event.reason = !fails ? NULL : due->kind == DUE_FIT ? "does not fit" : "broken";
    step(world, due->node, &event);
}

/* ---- time ---- */

static void free_due(struct due *due)
{
    free(due->row);
    free(due->message);
}

static void deliver(struct world *world, const struct due *due)
{
    if (due->from != due->node && !reachable(world, due->from, due->node))
        return;
    if (world->nodes[due->from].revoked)
        return;
    struct fleet_event event = event_of(world, FLEET_EVENT_MESSAGE);
    event.node = node_id(due->from);
    event.message = due->message;
    step(world, due->node, &event);
}

static void happen(struct world *world, struct due *due)
{
    const struct node *at = &world->nodes[due->node];
    bool alive = at->fleet != NULL && (at->life == due->life || due->kind == DUE_MESSAGE);
    if (alive && due->kind == DUE_MESSAGE)
        deliver(world, due);
    else if (alive && due->kind == DUE_SYNC)
        on_sync(world, due);
    else if (alive)
        on_work(world, due);
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
            bool here = reachable(world, a, b);
            if (here)
                node->heard_ms[b] = world->now_ms;
            bool dead = !here && world->now_ms - node->heard_ms[b] > DEATH_MS;
            enum fleet_node_state state = dead ? FLEET_NODE_DEAD : FLEET_NODE_REACHABLE;
            if ((!here && !dead) || state == node->told[b])
                continue;
            node->told[b] = state;
            struct fleet_event event = event_of(world, FLEET_EVENT_NODE);
            event.node = node_id(b);
            event.node_state = state;
            step(world, a, &event);
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
            struct fleet_event tick = event_of(world, FLEET_EVENT_TICK);
            step(world, node, &tick);
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
    if (reachable(world, a, b))
        world->nodes[a].heard_ms[b] = world->nodes[b].heard_ms[a] = world->now_ms;
}

/* What was not synced is lost; of the work under way, a launch may have happened all the same. */
void world_kill(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    if (at->fleet == NULL)
        return;
    trace(world, "n%u is killed", node + 1);
    for (uint32_t i = 0; i < world->count; i++)
        hear(world, node, i);
    fleet_free(at->fleet);
    at->fleet = NULL;
    for (uint32_t i = 0; i < world->due_count; i++) {
        struct due *due = &world->dues[i];
        bool own = due->node == node && due->life == at->life;
        if (own && due->kind == DUE_LAUNCH && find_machine(at, &due->key) && draw(world, 2))
            launch(world, node, &due->key);
    }
    at->life++;
    at->sync_free_ms = 0;
}

static void tell_removed(struct world *world, uint32_t node, uint32_t removed)
{
    struct fleet_event event = event_of(world, FLEET_EVENT_NODE);
    event.node = node_id(removed);
    event.node_state = FLEET_NODE_REMOVED;
    step(world, node, &event);
}

void world_start(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    if (at->fleet != NULL || at->revoked)
        return;
    trace(world, "n%u starts", node + 1);
    struct fleet_config config = {.self = node_id(node),
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
        struct fleet_event event = event_of(world, FLEET_EVENT_RESTORE);
        event.row = at->rows[i];
        step(world, node, &event);
    }
    struct fleet_event event = event_of(world, FLEET_EVENT_START);
    step(world, node, &event);
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
        trace(world, "n%u and n%u are %s", a + 1, b + 1, cut ? "cut" : "joined");
    world->cut[a][b] = world->cut[b][a] = cut;
    hear(world, a, b);
}

bool world_heard(const struct world *world, uint32_t node, uint32_t of, int64_t since_ms)
{
    return node == of || reachable(world, node, of) || world->nodes[node].heard_ms[of] >= since_ms;
}

static void banish_machines(struct world *world, uint32_t node)
{
    struct node *at = &world->nodes[node];
    for (uint32_t m = 0; m < at->machine_count; m++) {
        struct wish *wish = &world->wishes[wish_number(world, &at->machines[m].request)];
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
    trace(world, "n%u is revoked", node + 1);
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
    trace(world, "n%u is asked  r%u%s", node + 1, r, fresh ? "" : " (a repetition, perhaps)");
    struct fleet_event event = event_of(world, FLEET_EVENT_SUBMIT);
    event.request = wish->id;
    event.spec = ppn_slice(spec, sizeof(spec));
    event.fresh = fresh;
    return step_checked(world, node, &event);
}

enum ppn_error world_give_up(struct world *world, uint32_t node, uint32_t r)
{
    struct fleet_event event = event_of(world, FLEET_EVENT_GIVE_UP);
    event.request = world->wishes[r].id;
    trace(world, "n%u takes back r%u", node + 1, r);
    return step_checked(world, node, &event);
}

bool world_remove(struct world *world, uint32_t r)
{
    for (uint32_t i = 0; i < world->count; i++) {
        struct node *at = &world->nodes[i];
        for (uint32_t m = 0; at->fleet != NULL && m < at->machine_count; m++) {
            struct machine *machine = &at->machines[m];
            if (!machine->running || !ppn_request_id_equal(&machine->request, &world->wishes[r].id))
                continue;
            trace(world, "n%u removes  r%u", i + 1, r);
            drop_machine(at, machine);
            world->wishes[r].removed = true;
            world->wishes[r].removed_at = i;
            struct fleet_event event = event_of(world, FLEET_EVENT_VM_REMOVED);
            event.request = world->wishes[r].id;
            step(world, i, &event);
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
        int r = wish_number(world, &request.id);
        bool waits_for_dead = request.state == FLEET_REQUEST_COMMITTED && request.lost;
        if (request.state < FLEET_REQUEST_IN_SERVICE && !waits_for_dead)
            wrong(world, "n%u: r%d is still %s", node + 1, r,
                  fleet_request_state_name(request.state));
        if (request.state == FLEET_REQUEST_IN_SERVICE && world->wishes[r].launches != 1 &&
            !world->wishes[r].banished)
            wrong(world, "n%u: r%d is in service without a machine", node + 1, r);
        if (request.state == FLEET_REQUEST_FAILED && world->wishes[r].launches != 0)
            wrong(world, "n%u: r%d has failed and has a machine", node + 1, r);
    }
    cursor = 0;
    while (fleet_hold_next(at->fleet, &cursor, &hold))
        if (hold.state != FLEET_HOLD_IN_SERVICE && hold.state != FLEET_HOLD_TOMB)
            wrong(world, "n%u: a hold is left %s", node + 1, fleet_hold_state_name(hold.state));
    struct fleet_reserve left = fleet_reserved(at->fleet);
    if (left.memory_bytes || left.vcpus || left.disk_bytes)
        wrong(world, "n%u: a reservation is left", node + 1);
    for (uint32_t m = 0; m < at->machine_count; m++)
        if (!at->machines[m].running)
            wrong(world, "n%u: a half-made machine is left of r%d", node + 1,
                  wish_number(world, &at->machines[m].request));
    for (uint32_t i = 0; i < at->row_count; i++)
        for (uint32_t a = 0; a < at->rows[i]->abandoned_count; a++)
            if (world->nodes[node_number(&at->rows[i]->abandoned[a].node)].fleet != NULL)
                wrong(world, "n%u: a cancel was never answered", node + 1);
}

static void check_wish(struct world *world, uint32_t r)
{
    const struct wish *wish = &world->wishes[r];
    bool here = world_machine_node(world, r) >= 0;
    if (wish->launches == 1 && !here && !wish->removed)
        wrong(world, "r%u ran and is gone", r);
    for (uint32_t i = 0; i < world->count; i++) {
        struct fleet_request_view view;
        bool accepted = wish->said[i][FLEET_NEWS_ACCEPTED];
        if (!accepted || world->nodes[i].fleet == NULL)
            continue;
        if (fleet_request(world->nodes[i].fleet, &wish->id, &view) != PPN_OK)
            wrong(world, "n%u: r%u was accepted and is forgotten", i + 1, r);
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
