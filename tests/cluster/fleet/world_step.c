// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "world_internal.h"

void __attribute__((format(printf, 2, 3))) world_wrong(struct world *world, const char *format, ...)
{
    va_list list;
    if (world->wrong)
        return;
    world->wrong = true;
    va_start(list, format);
    vsnprintf(world->problem, sizeof(world->problem), format, list);
    va_end(list);
}

void __attribute__((format(printf, 2, 3))) world_say(struct world *world, const char *format, ...)
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

struct ppn_node_id world_node_id(uint32_t node)
{
    struct ppn_node_id id = {{0}};
    id.bytes[0] = (uint8_t)(node + 1);
    return id;
}

uint32_t world_node_number(const struct ppn_node_id *id)
{
    return id->bytes[0] - 1u;
}

int world_wish_number(const struct world *world, const struct ppn_request_id *id)
{
    for (int r = 0; r < WORLD_REQUESTS_MAX; r++)
        if (world->wishes[r].used && ppn_request_id_equal(&world->wishes[r].id, id))
            return r;
    return -1;
}

uint32_t world_draw(struct world *world, uint32_t max)
{
    return max ? (uint32_t)ppn_random_below(&world->random, max) : 0;
}

static struct due *later(struct world *world, enum due_kind kind, uint32_t node, int64_t delay_ms)
{
    static struct due overflow;
    if (world->due_count == EVENTS_MAX) {
        world_wrong(world, "more than %d events wait", EVENTS_MAX);
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
    uint32_t delay = from == to ? 0 : 1 + world_draw(world, world->faults.delay_max_ms);
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

bool world_reachable(const struct world *world, uint32_t a, uint32_t b)
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
    uint32_t to = world_node_number(&action->node);
    char detail[64];
    bool self = to == node;
    bool lost = !self && ppn_random_chance(&world->random, world->faults.loss);
    world_say(world, "n%u -> n%u  r%d %s%s%s", node + 1, to + 1,
              world_wish_number(world, &action->request),
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
    int64_t done = world->now_ms + 1 + world_draw(world, world->faults.sync_max_ms);
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
    int r = world_wish_number(world, &action->request);
    char at[8] = "";
    if (!ppn_node_id_is_zero(&action->node))
        snprintf(at, sizeof(at), " n%u", world_node_number(&action->node) + 1);
    world_say(world, "n%u says     r%d %s%s%s%s", node + 1, r, fleet_news_name(action->news), at,
              action->reason[0] ? ": " : "", action->reason);
    if (r < 0)
        return;
    struct wish *wish = &world->wishes[r];
    wish->said[node][action->news] = true;
    if (action->news == FLEET_NEWS_IN_SERVICE && wish->launches == 0 && !wish->banished)
        world_wrong(world, "r%d: in service is said, but nothing ever ran", r);
    /* Of a request that was not accepted nothing is remembered: it may be tried again. */
    if (action->news == FLEET_NEWS_FAILED && wish->said[node][FLEET_NEWS_ACCEPTED]) {
        wish->denied[node] = true;
        if (wish->launches > 0)
            world_wrong(world, "r%d: said to have failed, but it ran", r);
    }
}

struct fleet_event world_event(const struct world *world, enum fleet_event_kind kind)
{
    return (struct fleet_event){.kind = kind, .wall = {START_WALL_MS + world->now_ms}};
}

static void answer_candidates(struct world *world, uint32_t node, const struct fleet_action *action)
{
    struct ppn_node_id ids[WORLD_NODES_MAX];
    struct fleet_event event = world_event(world, FLEET_EVENT_CANDIDATES);
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        uint32_t candidate = i;
        if (world->ranking != NULL && world->ranking[i] < 0)
            break;
        if (world->ranking != NULL)
            candidate = (uint32_t)world->ranking[i];
        bool seen = candidate == node || world_reachable(world, node, candidate);
        if (world->nodes[candidate].revoked)
            continue;
        if (seen || ppn_random_chance(&world->random, world->faults.ranks_dead))
            ids[count++] = world_node_id(candidate);
    }
    for (uint32_t i = count; world->ranking == NULL && i > 1; i--) {
        uint32_t j = world_draw(world, i);
        struct ppn_node_id swap = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = swap;
    }
    event.request = action->request;
    event.nodes = ids;
    event.count = count;
    event.code = count ? PPN_OK : PPN_ERROR_NO_CANDIDATE;
    world_step(world, node, &event);
}

static void answer_members(struct world *world, uint32_t node, const struct fleet_action *action)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};
    struct fleet_member members[WORLD_NODES_MAX];
    struct fleet_event event = world_event(world, FLEET_EVENT_MEMBERS);
    for (uint32_t i = 0; i < world->count; i++) {
        if (i == node || world->nodes[i].revoked)
            continue;
        bool here = world_reachable(world, node, i);
        int64_t heard = here ? world->now_ms : world->nodes[node].heard_ms[i];
        members[event.count++] = (struct fleet_member){world_node_id(i), names[i], here,
                                                       heard < 0 ? 0 : START_WALL_MS + heard};
    }
    event.request = action->request;
    event.members = members;
    world_step(world, node, &event);
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
        world_say(world, "n%u %-9sr%d", node + 1, words[kind],
                  world_wish_number(world, &action->request));
    struct fleet_key key = {FLEET_ROW_HOLD, action->request, action->origin};
    if (kind == DUE_RELEASE)
        stop_work(world, node, &key);
    uint32_t delay = kind == DUE_FIT ? 0 : 1 + world_draw(world, world->faults.work_max_ms);
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

enum ppn_error world_try_step(struct world *world, uint32_t node, const struct fleet_event *event)
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

void world_step(struct world *world, uint32_t node, const struct fleet_event *event)
{
    enum ppn_error error = world_try_step(world, node, event);
    if (error != PPN_OK && error != PPN_ERROR_STALE)
        world_wrong(world, "n%u: a step failed: %s", node + 1, ppn_error_text(error));
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
        world_wrong(world, "n%u: too many rows", node + 1);
        return;
    } else
        at->row_count++;
    if (due->forget)
        at->rows[i] = at->rows[--at->row_count];
    else
        at->rows[i] = copy_row(due->row);
}

void world_on_sync(struct world *world, const struct due *due)
{
    bool fails = ppn_random_chance(&world->random, world->faults.sync_fails);
    struct fleet_event event =
        world_event(world, fails ? FLEET_EVENT_PERSIST_FAILED : FLEET_EVENT_PERSISTED);
    event.ticket = due->ticket;
    event.code = fails ? PPN_ERROR_NO_SPACE : PPN_OK;
    if (!fails)
        write_row(world, due->node, due);
    world_say(world, "n%u %s r%d %s", due->node + 1, fails ? "disk full" : "synced  ",
              world_wish_number(world, &due->key.request),
              due->forget ? "forgotten"
              : due->key.kind == FLEET_ROW_REQUEST
                  ? fleet_request_state_name((enum fleet_request_state)due->row->state)
                  : fleet_hold_state_name((enum fleet_hold_state)due->row->state));
    world_step(world, due->node, &event);
}

/* ---- hypervisor ---- */

struct machine *world_find_machine(struct node *node, const struct fleet_key *key)
{
    for (uint32_t i = 0; i < node->machine_count; i++)
        if (ppn_request_id_equal(&node->machines[i].request, &key->request) &&
            ppn_node_id_equal(&node->machines[i].origin, &key->origin))
            return &node->machines[i];
    return NULL;
}

void world_drop_machine(struct node *node, struct machine *machine)
{
    *machine = node->machines[--node->machine_count];
}

static void prepare(struct world *world, uint32_t node, const struct fleet_key *key,
                    uint32_t attempt)
{
    struct node *at = &world->nodes[node];
    struct machine *machine = world_find_machine(at, key);
    if (machine == NULL && at->machine_count == MACHINES_MAX) {
        world_wrong(world, "n%u: too many machines", node + 1);
        return;
    }
    if (machine == NULL)
        machine = &at->machines[at->machine_count++];
    else if (machine->running)
        world_wrong(world, "n%u: a running machine is prepared again", node + 1);
    *machine = (struct machine){key->request, key->origin, attempt, false};
}

void world_launch(struct world *world, uint32_t node, const struct fleet_key *key)
{
    struct machine *machine = world_find_machine(&world->nodes[node], key);
    int r = world_wish_number(world, &key->request);
    if (machine == NULL) {
        world_wrong(world, "n%u: r%d is launched but was not prepared", node + 1, r);
        return;
    }
    if (machine->running)
        return;
    machine->running = true;
    if (++world->wishes[r].launches > 1)
        world_wrong(world, "r%d has a second machine, on n%u", r, node + 1);
    for (uint32_t i = 0; i < world->count; i++)
        if (world->wishes[r].denied[i] && !world->nodes[i].revoked)
            world_wrong(world, "r%d runs on n%u though it was said to have failed", r, node + 1);
}

static bool once(bool *flag)
{
    bool set = *flag;
    *flag = false;
    return set;
}

void world_on_work(struct world *world, const struct due *due)
{
    struct node *at = &world->nodes[due->node];
    struct machine *machine = world_find_machine(at, &due->key);
    struct fleet_event event = world_event(world, FLEET_EVENT_FIT);
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
            world_launch(world, due->node, &due->key);
    } else {
        event.kind = FLEET_EVENT_RELEASED;
        if (machine != NULL && machine->running)
            world_wrong(world, "n%u: a running machine is released", due->node + 1);
        if (machine != NULL)
            world_drop_machine(at, machine);
    }
    event.request = due->key.request;
    event.origin = due->key.origin;
    event.attempt = due->attempt;
    event.code = !fails ? PPN_OK : due->kind == DUE_FIT ? PPN_ERROR_REFUSED : PPN_ERROR_IO;
    event.reason = !fails ? NULL : due->kind == DUE_FIT ? "does not fit" : "broken";
    world_step(world, due->node, &event);
}
