// SPDX-License-Identifier: ISC
#include "control.h"
#include "control_internal.h"
#include "control_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "placement/placement.h"

static const struct ppn_profile every_profile = {.arch = "x86_64",
                                                 .version = "1",
                                                 .cpus = 8,
                                                 .memory_total_bytes = 8192 * PLACEMENT_MIB,
                                                 .disk_total_bytes = 100000 * PLACEMENT_MIB,
                                                 .kvm = PPN_KVM_BOOTS,
                                                 .isolation_max = PPN_ISOLATION_KVM};

struct ppn_wall control_wall(const struct control *c, uint32_t index)
{
    return (struct ppn_wall){1790000000000 + c->world->now.ns / 1000000 +
                             c->nodes[index].wall_skew_ms};
}

/* ---- the hypervisor ---- */

static struct control_machine *machine_of(struct control *c, uint32_t index,
                                          const struct ppn_request_id *request,
                                          const struct ppn_node_id *origin)
{
    struct control_node *node = &c->nodes[index];
    for (uint32_t i = 0; i < node->machine_count; i++)
        if (ppn_request_id_equal(&node->machines[i].request, request) &&
            ppn_node_id_equal(&node->machines[i].origin, origin))
            return &node->machines[i];
    return NULL;
}

static uint64_t memory_of(struct ppn_slice spec)
{
    return spec.size == CONTROL_SPEC_SIZE ? ppn_read_u64(spec.data) : 0;
}

static struct ppn_load load_now(const struct control *c, uint32_t index)
{
    const struct control_node *node = &c->nodes[index];
    struct ppn_load load = {.memory_available_bytes = 8192 * PLACEMENT_MIB,
                            .disk_free_bytes = 90000 * PLACEMENT_MIB,
                            .power = PPN_POWER_MAINS,
                            .battery_percent = 255};
    if (node->fleet != NULL)
        load.memory_reserved_bytes = fleet_reserved(node->fleet).memory_bytes;
    for (uint32_t i = 0; i < node->machine_count; i++) {
        load.memory_reserved_bytes +=
            node->machines[i].launched ? node->machines[i].memory_bytes : 0;
        load.vm_count += node->machines[i].launched;
    }
    return load;
}

/* Published as the bytes of what the placement needs; the real codec is wire's. */
static void load_publish(struct control *c, uint32_t index)
{
    struct ppn_load load = load_now(c, index);
    uint8_t bytes[16];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    ppn_write_u64(&writer, load.memory_reserved_bytes);
    ppn_write_u32(&writer, load.vm_count);
    if (c->world->nodes[index].running)
        world_body(c->world, index, GOSSIP_PLANE_LOAD, ppn_written(&writer));
}

static void machine_prepare(struct control *c, uint32_t index, const struct control_call *call)
{
    struct control_node *node = &c->nodes[index];
    struct control_machine *machine = machine_of(c, index, &call->request, &call->origin);
    if (machine == NULL) {
        PPN_ASSERT(node->machine_count < CONTROL_MACHINES_MAX);
        machine = &node->machines[node->machine_count++];
        *machine = (struct control_machine){.request = call->request, .origin = call->origin};
    }
    if (machine->launched) {
        control_broken(c, "%s prepares over a machine that runs", c->world->nodes[index].name);
        return;
    }
    machine->attempt = call->attempt;
    machine->memory_bytes = call->reserve.memory_bytes;
    machine->prepared = true;
}

/* What one who was thrown out was asked for itself and runs on itself, nobody else can know of. */
static bool counts(const struct control *c, uint32_t index, const struct control_machine *machine)
{
    bool own = world_find(c->world, &machine->origin) == index;
    return machine->launched && !(own && control_log_thrown_out(c, index));
}

void control_check(struct control *c)
{
    for (uint32_t r = 0; r < c->request_count; r++) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < c->world->options.nodes; i++)
            for (uint32_t j = 0; j < c->nodes[i].machine_count; j++)
                found += counts(c, i, &c->nodes[i].machines[j]) &&
                         ppn_request_id_equal(&c->nodes[i].machines[j].request, &c->requests[r].id);
        if (found > 1)
            control_broken(c, "request %u has %u machines at %.3f s", r, found,
                           (double)c->world->now.ns / 1e9);
    }
}

static void machine_launch(struct control *c, uint32_t index, const struct ppn_request_id *request,
                           const struct ppn_node_id *origin)
{
    struct control_machine *machine = machine_of(c, index, request, origin);
    if (machine == NULL || !machine->prepared) {
        control_broken(c, "%s launches what it did not prepare", c->world->nodes[index].name);
        return;
    }
    c->launches += !machine->launched;
    machine->launched = true;
    control_check(c);
}

static void machine_release(struct control *c, uint32_t index, const struct control_call *call)
{
    struct control_machine *machine = machine_of(c, index, &call->request, &call->origin);
    if (machine != NULL)
        *machine = c->nodes[index].machines[--c->nodes[index].machine_count];
}

/* ---- questions ---- */

static void placement_view(struct control *c, uint32_t index, struct placement_node *nodes,
                           struct ppn_load *loads, uint32_t *count)
{
    struct gossip_member member;
    for (uint32_t cursor = 0; gossip_next(c->world->nodes[index].core, &cursor, &member);) {
        static const enum placement_state states[] = {
            PLACEMENT_STATE_UNREACHABLE, PLACEMENT_STATE_ALIVE, PLACEMENT_STATE_SUSPECT,
            PLACEMENT_STATE_UNREACHABLE, PLACEMENT_STATE_DEAD,  PLACEMENT_STATE_LEFT};
        uint32_t subject = world_find(c->world, &member.id);
        loads[*count] = load_now(c, subject);
        loads[*count].memory_reserved_bytes =
            member.load.size >= 12 ? ppn_read_u64(member.load.data) : 0;
        nodes[*count] = (struct placement_node){.id = member.id,
                                                .name = c->world->nodes[subject].name,
                                                .profile = &every_profile,
                                                .load = &loads[*count],
                                                .state = states[member.state],
                                                .path_degraded = member.path_degraded};
        ++*count;
    }
}

static struct ppn_demand demand_of(struct ppn_slice spec)
{
    return (struct ppn_demand){.memory_bytes = memory_of(spec),
                               .disk_bytes = 1024 * PLACEMENT_MIB,
                               .vcpus = 1,
                               .kvm_required = true};
}

static void answer_candidates(struct control *c, uint32_t index, const struct fleet_action *action)
{
    static struct placement_node nodes[CONTROL_NODES_MAX];
    static struct ppn_load loads[CONTROL_NODES_MAX];
    static struct placement_row rows[CONTROL_NODES_MAX];
    struct ppn_node_id ids[CONTROL_NODES_MAX];
    struct ppn_demand demand = demand_of(action->spec);
    struct placement_request request = {.id = action->request, .demand = &demand, .arch = ""};
    uint32_t count = 0;
    placement_view(c, index, nodes, loads, &count);
    size_t fit = placement_rank(nodes, count, &request, rows);
    for (size_t i = 0; i < fit; i++) {
        ids[i] = rows[i].node->id;
        if (!control_log_is_member(c, index, world_find(c->world, &ids[i])))
            control_broken(c, "%s places on one who is no member", c->world->nodes[index].name);
    }
    struct fleet_event event = {.kind = FLEET_EVENT_CANDIDATES,
                                .request = action->request,
                                .nodes = ids,
                                .count = (uint32_t)fit,
                                .code = fit == 0 ? PPN_ERROR_NO_CANDIDATE : PPN_OK};
    control_step(c, index, &event);
}

static void answer_members(struct control *c, uint32_t index, const struct fleet_action *action)
{
    struct fleet_member members[CONTROL_NODES_MAX];
    struct gossip_member member;
    uint32_t count = 0;
    for (uint32_t cursor = 0; gossip_next(c->world->nodes[index].core, &cursor, &member);) {
        if (member.self)
            continue;
        bool heard = member.heard.ns != INT64_MIN;
        members[count++] = (struct fleet_member){
            .id = member.id,
            .name = c->world->nodes[world_find(c->world, &member.id)].name,
            .reachable = member.state == GOSSIP_ALIVE || member.state == GOSSIP_SUSPECT ||
                         member.state == GOSSIP_UNKNOWN,
            .last_heard_unix_ms =
                heard ? control_wall(c, index).unix_ms -
                            (world_clock(c->world, index).ns - member.heard.ns) / 1000000
                      : 0};
    }
    struct fleet_event event = {.kind = FLEET_EVENT_MEMBERS,
                                .request = action->request,
                                .members = members,
                                .count = count};
    control_step(c, index, &event);
}

static void answer_fit(struct control *c, uint32_t index, const struct fleet_action *action)
{
    struct ppn_demand demand = demand_of(action->spec);
    struct ppn_load load = load_now(c, index);
    struct placement_node node = {.id = c->world->nodes[index].id,
                                  .name = c->world->nodes[index].name,
                                  .profile = &every_profile,
                                  .load = &load,
                                  .state = PLACEMENT_STATE_ALIVE};
    struct placement_request request = {.id = action->request, .demand = &demand, .arch = ""};
    struct placement_verdict verdict;
    bool fits = placement_fit(&node, &request, &verdict) == PLACEMENT_FITS;
    struct fleet_event event = {
        .kind = FLEET_EVENT_FIT,
        .request = action->request,
        .origin = action->origin,
        .attempt = action->attempt,
        .code = fits ? PPN_OK : PPN_ERROR_FULL,
        .reserve = {.memory_bytes = placement_memory_need_bytes(&demand, false), .vcpus = 1}};
    control_step(c, index, &event);
}

/* ---- actions ---- */

bool control_connected(const struct control *c, uint32_t a, uint32_t b)
{
    return world_connected(c->world, a, b) && world_connected(c->world, b, a);
}

static void send_message(struct control *c, uint32_t index, const struct fleet_action *action)
{
    uint32_t to = world_find(c->world, &action->node);
    bool self = to == index;
    if (!control_log_is_member(c, index, to))
        return;
    if (!self && (!control_connected(c, index, to) || ppn_random_chance(&c->random, 10000)))
        return;
    for (uint32_t copies = !self && ppn_random_chance(&c->random, 10000) ? 2 : 1; copies > 0;
         copies--) {
        struct control_call *call = control_call_new(CALL_MESSAGE, NULL);
        call->from = index;
        call->message = *action->message;
        if (action->message->spec.size > 0)
            memcpy(call->spec, action->message->spec.data, action->message->spec.size);
        world_call(c->world, to, self ? c->world->now : control_later(c, 1, 40), call);
    }
}

static void start_work(struct control *c, uint32_t index, const struct fleet_action *action)
{
    bool prepare = action->kind == FLEET_DO_PREPARE;
    struct control_call *call = control_call_new(prepare ? CALL_PREPARED : CALL_LAUNCHED, action);
    struct ppn_demand demand = demand_of(action->spec);
    call->reserve.memory_bytes = placement_memory_need_bytes(&demand, false);
    call->failed = ppn_random_chance(&c->random, c->fail_per_million);
    struct control_machine *machine = machine_of(c, index, &action->request, &action->origin);
    bool runs = machine != NULL && machine->launched;
    call->failed = call->failed && !runs;
    /* The program may run already while its agent does not know that yet, and never will. */
    if (!prepare && !runs && !call->failed && ppn_random_chance(&c->random, 500000))
        machine_launch(c, index, &action->request, &action->origin);
    world_call(c->world, index, control_later(c, 20, prepare ? 3000 : 800), call);
}

static void note_news(struct control *c, uint32_t index, const struct fleet_action *action)
{
    for (uint32_t r = 0; r < c->request_count; r++) {
        struct control_request *request = &c->requests[r];
        if (!ppn_request_id_equal(&request->id, &action->request))
            continue;
        for (uint32_t i = 0; i < request->origin_count; i++)
            if (request->origins[i] == index && action->news == FLEET_NEWS_ACCEPTED)
                request->accepted[i] = true;
    }
}

static void carry_out(struct control *c, uint32_t index, const struct fleet_action *action)
{
    world_trace(c->world, (uint64_t)action->kind << 32 ^ index);
    switch (action->kind) {
    case FLEET_DO_PERSIST:
    case FLEET_DO_FORGET:
        control_disk_write(c, index, action);
        break;
    case FLEET_DO_SEND:
        send_message(c, index, action);
        break;
    case FLEET_DO_NEWS:
        note_news(c, index, action);
        break;
    case FLEET_DO_NEED_CANDIDATES:
        answer_candidates(c, index, action);
        break;
    case FLEET_DO_NEED_MEMBERS:
        answer_members(c, index, action);
        break;
    case FLEET_DO_CHECK_FIT:
        answer_fit(c, index, action);
        break;
    case FLEET_DO_PREPARE:
    case FLEET_DO_LAUNCH:
        start_work(c, index, action);
        break;
    case FLEET_DO_RELEASE:
    default:
        world_call(c->world, index, control_later(c, 5, 200),
                   control_call_new(CALL_RELEASED, action));
        break;
    }
}

static void timer_set(struct control *c, uint32_t index)
{
    struct control_node *node = &c->nodes[index];
    struct ppn_instant deadline = world_when(c->world, index, fleet_deadline(node->fleet));
    if (deadline.ns == PPN_NEVER.ns || !ppn_before(deadline, node->timer))
        return;
    node->timer = ppn_before(deadline, c->world->now) ? c->world->now : deadline;
    world_call(c->world, index, node->timer, control_call_new(CALL_TIMER, NULL));
}

/* Actions live until the core's next step, and carrying one out may be that step: copied first. */
void control_step(struct control *c, uint32_t index, struct fleet_event *event)
{
    struct control_node *node = &c->nodes[index];
    struct fleet_update update;
    struct fleet_action actions[FLEET_ACTIONS_MAX];
    static struct fleet_row rows[8][FLEET_ACTIONS_MAX];
    static struct fleet_msg messages[8][FLEET_ACTIONS_MAX];
    static uint8_t specs[8][FLEET_ACTIONS_MAX][CONTROL_SPEC_SIZE];
    static uint32_t depth;
    event->wall = control_wall(c, index);
    enum ppn_error error = fleet_step(node->fleet, world_clock(c->world, index), event, &update);
    if (error != PPN_OK && error != PPN_ERROR_STALE && event->kind != FLEET_EVENT_SUBMIT)
        control_broken(c, "fleet_step: %s on event %d", ppn_error_text(error), (int)event->kind);
    if (error != PPN_OK)
        return;
    PPN_ASSERT(depth < 8 && update.count <= FLEET_ACTIONS_MAX);
    for (uint32_t i = 0; i < update.count; i++) {
        actions[i] = update.actions[i];
        struct ppn_slice *spec = &actions[i].spec;
        if (actions[i].row != NULL) {
            rows[depth][i] = *actions[i].row;
            actions[i].row = &rows[depth][i];
            spec = &rows[depth][i].spec;
        } else if (actions[i].message != NULL) {
            messages[depth][i] = *actions[i].message;
            actions[i].message = &messages[depth][i];
            spec = &messages[depth][i].spec;
        }
        PPN_ASSERT(spec->size <= CONTROL_SPEC_SIZE);
        if (spec->size > 0)
            memcpy(specs[depth][i], spec->data, spec->size);
        spec->data = specs[depth][i];
    }
    uint32_t count = update.count;
    depth++;
    for (uint32_t i = 0; i < count; i++)
        carry_out(c, index, &actions[i]);
    depth--;
    timer_set(c, index);
}

/* ---- hooks of the world ---- */

static void work_done(struct control *c, uint32_t index, const struct control_call *call)
{
    struct fleet_event event = {.request = call->request,
                                .origin = call->origin,
                                .attempt = call->attempt,
                                .code = call->failed ? PPN_ERROR_IO : PPN_OK};
    event.kind = call->kind == CALL_PREPARED   ? FLEET_EVENT_WORK_DONE
                 : call->kind == CALL_LAUNCHED ? FLEET_EVENT_LAUNCHED
                                               : FLEET_EVENT_RELEASED;
    struct fleet_hold_view hold;
    bool wanted = call->kind == CALL_RELEASED;
    for (uint32_t cursor = 0; fleet_hold_next(c->nodes[index].fleet, &cursor, &hold);)
        if (ppn_request_id_equal(&hold.id, &call->request) &&
            ppn_node_id_equal(&hold.origin, &call->origin) && hold.attempt == call->attempt)
            wanted = wanted || hold.state == (call->kind == CALL_PREPARED ? FLEET_HOLD_PREPARING
                                                                          : FLEET_HOLD_LAUNCHING);
    /* RELEASE stops what is under way, so work of a hold that moved on has no effect. */
    if (!wanted)
        return;
    if (call->kind == CALL_PREPARED && !call->failed)
        machine_prepare(c, index, call);
    else if (call->kind == CALL_LAUNCHED && !call->failed)
        machine_launch(c, index, &call->request, &call->origin);
    else if (call->kind == CALL_RELEASED)
        machine_release(c, index, call);
    control_step(c, index, &event);
    load_publish(c, index);
}

static void on_call(struct world *w, uint32_t index, void *payload)
{
    struct control *c = w->context;
    struct control_call *call = payload;
    struct fleet_event event = {.kind = FLEET_EVENT_TICK};
    if (call->kind >= CALL_LOG_WRITTEN) {
        control_log_call(c, index, payload);
        return;
    }
    switch (call->kind) {
    case CALL_TIMER:
        c->nodes[index].timer = PPN_NEVER;
        if (ppn_due(fleet_deadline(c->nodes[index].fleet), world_clock(w, index)))
            control_step(c, index, &event);
        else
            timer_set(c, index);
        break;
    case CALL_WRITTEN:
        control_disk_written(c, index, call->failed);
        break;
    case CALL_MESSAGE:
        if (!control_log_is_member(c, index, call->from))
            break;
        call->message.spec.data = call->spec;
        event.kind = FLEET_EVENT_MESSAGE;
        event.node = w->nodes[call->from].id;
        event.message = &call->message;
        control_step(c, index, &event);
        break;
    case CALL_PREPARED:
    case CALL_LAUNCHED:
    case CALL_RELEASED:
    case CALL_LOG_WRITTEN:
    case CALL_LOG_ENTRIES:
    case CALL_LOG_HAVE:
    case CALL_LOG_TIMER:
    default:
        work_done(c, index, call);
        break;
    }
}

/* Both have been left in peace for long enough, and nobody has thrown either out. */
static void judge_death(struct control *c, uint32_t observer, uint32_t subject)
{
    const struct world *w = c->world;
    if (!w->nodes[observer].healthy || !w->nodes[subject].healthy ||
        control_log_thrown_out(c, observer) || control_log_thrown_out(c, subject))
        return;
    c->false_dead++;
    control_broken(c, "%s gives up %s, which lives, at %.3f s", w->nodes[observer].name,
                   w->nodes[subject].name, (double)w->now.ns / 1e9);
}

static void on_member(struct world *w, uint32_t observer, uint32_t subject,
                      const struct gossip_action *action)
{
    struct control *c = w->context;
    if ((action->what & GOSSIP_CHANGED_STATE) == 0 || observer == subject)
        return;
    if (action->state == GOSSIP_DEAD || action->state == GOSSIP_UNREACHABLE)
        judge_death(c, observer, subject);
    if (c->nodes[observer].fleet == NULL)
        return;
    bool gone = action->state == GOSSIP_UNREACHABLE || action->state == GOSSIP_DEAD ||
                action->state == GOSSIP_LEFT;
    struct fleet_event event = {.kind = FLEET_EVENT_NODE,
                                .node = w->nodes[subject].id,
                                .node_state = gone ? FLEET_NODE_DEAD : FLEET_NODE_REACHABLE};
    control_step(c, observer, &event);
}

static void on_start(struct world *w, uint32_t index)
{
    struct control *c = w->context;
    struct control_node *node = &c->nodes[index];
    struct fleet_config config = {.self = w->nodes[index].id};
    node->fleet = fleet_init(&config, world_clock(w, index), ppn_random_u64(&c->random));
    PPN_ASSERT(node->fleet != NULL);
    node->timer = PPN_NEVER;
    node->disk_free = w->now;
    for (uint32_t i = 0; i < node->row_count; i++) {
        struct fleet_row row = node->rows[i].row;
        row.spec.data = node->rows[i].spec;
        struct fleet_event event = {.kind = FLEET_EVENT_RESTORE, .row = &row};
        control_step(c, index, &event);
    }
    struct fleet_event event = {.kind = FLEET_EVENT_START};
    control_step(c, index, &event);
    control_log_started(c, index);
}

static uint32_t members_of(struct world *w, uint32_t index, struct ppn_node_id *members)
{
    return control_log_start(w->context, index, members);
}

/* kill -9: of the writes under way any first part may have reached the disk. */
static void on_stop(struct world *w, uint32_t index)
{
    struct control *c = w->context;
    struct control_node *node = &c->nodes[index];
    for (uint32_t i = 0; i < node->write_count && ppn_random_chance(&c->random, 500000); i++)
        control_disk_apply(node, &node->writes[i]);
    node->write_count = 0;
    fleet_free(node->fleet);
    node->fleet = NULL;
    control_log_stop(c, index);
}

struct control *control_new(struct world *world)
{
    struct control *c = calloc(1, sizeof(*c));
    PPN_ASSERT(c != NULL && world->options.nodes <= CONTROL_NODES_MAX);
    c->world = world;
    ppn_random_init(&c->random, world->options.seed ^ 0x666c656574);
    for (uint32_t i = 0; i < world->options.nodes; i++)
        c->nodes[i].wall_skew_ms = (int64_t)ppn_random_below(&c->random, 10000) - 5000;
    world->context = c;
    world->on_call = on_call;
    world->on_member = on_member;
    world->on_start = on_start;
    world->on_stop = on_stop;
    world->members_of = members_of;
    c->log = control_log_new(c);
    return c;
}

void control_free(struct control *c)
{
    for (uint32_t i = 0; i < c->world->options.nodes; i++)
        fleet_free(c->nodes[i].fleet);
    control_log_free(c->log);
    free(c);
}
