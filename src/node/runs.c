// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_request.h"
#include "base/assert.h"
#include "base/log.h"
#include "node/images.h"
#include "node/labels.h"
#include "node/machines.h"
#include "node/requests_internal.h"
#include "node/views.h"
#include "os/os_clock.h"
#include "wire/machine.h"

enum { READY_POLL_MS = 250, SHOWN_WAIT_MS = 3000 };

/* Somebody who waits for a request's outcome. The request itself does not need them. */
struct run {
    struct node_requests *requests;
    struct run *next;
    struct api_request *request;  /* NULL: went away */
    struct ppn_machine_spec spec; /* user_data owned */
    bool fresh, wait_ready, placement_only;
    bool resolving; /* the image, or a member's list of VMs, is being looked for */
    struct node_machines_wait list;
    bool in_service; /* its end is only shown yet, or the first boot is waited for */
    struct ppn_node_id target;
    struct ppn_instant shown_until;
};

static void free_run(struct run *run)
{
    struct run **at = &run->requests->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    free(run->spec.user_data);
    free(run);
}

static void on_gone(void *context, struct api_request *request)
{
    struct run *run = context;
    (void)request;
    run->request = NULL;
    if (!run->resolving)
        free_run(run);
}

static void fail_run(struct run *run, enum ppn_error code, const char *text)
{
    struct ppn_failure failure = {.code = code};
    struct api_request *request = run->request;
    (void)ppn_text_copy(failure.text, sizeof(failure.text), text);
    free_run(run);
    if (request != NULL)
        api_reply_failure(request, &failure);
}

/* ---- the view ---- */

static enum placement_state placement_state(enum gossip_state state)
{
    switch (state) {
    case GOSSIP_ALIVE:
        return PLACEMENT_STATE_ALIVE;
    case GOSSIP_SUSPECT:
        return PLACEMENT_STATE_SUSPECT;
    case GOSSIP_UNKNOWN:
    case GOSSIP_UNREACHABLE:
        return PLACEMENT_STATE_UNREACHABLE;
    case GOSSIP_DEAD:
        return PLACEMENT_STATE_DEAD;
    case GOSSIP_LEFT:
        return PLACEMENT_STATE_LEFT;
    }
    return PLACEMENT_STATE_UNREACHABLE;
}

struct facts {
    struct ppn_profile profile;
    struct ppn_load load;
};

struct placement_node *node_placement_view(const struct node *node, size_t *count)
{
    struct node_member member;
    uint32_t cursor = 0;
    size_t members = 0;
    *count = 0;
    while (node_member_next(node, &cursor, &member))
        members++;
    char *memory = calloc(members + 1, sizeof(struct placement_node) + sizeof(struct facts));
    if (memory == NULL)
        return NULL;
    struct placement_node *rows = (void *)memory;
    struct facts *facts = (void *)(memory + (members + 1) * sizeof(struct placement_node));
    cursor = 0;
    while (*count < members && node_member_next(node, &cursor, &member)) {
        struct placement_node *row = &rows[*count];
        struct facts *own = &facts[(*count)++];
        struct gossip_member seen;
        *row = (struct placement_node){.id = member.id, .name = member.name};
        /* Itself as the others see it, rounded the same way: one view gives one ranking everywhere.
         */
        if (ppn_node_id_equal(&member.id, &node->identity.id)) {
            bool said = node_gossip_member(node, &member.id, &seen) == PPN_OK &&
                        node_member_profile(&seen, &own->profile) &&
                        node_member_load(&seen, &own->load);
            if (!said) {
                own->profile = *node_self_profile(node);
                own->load = *node_self_load(node);
            }
            node_labels_of(node, &member.id, &own->profile);
            row->profile = &own->profile;
            row->load = &own->load;
            row->state = PLACEMENT_STATE_ALIVE;
            continue;
        }
        row->state = PLACEMENT_STATE_UNREACHABLE;
        if (node_gossip_member(node, &member.id, &seen) != PPN_OK)
            continue;
        row->state = placement_state(seen.state);
        row->path_degraded = seen.path_degraded;
        row->profile = node_member_profile(&seen, &own->profile) ? &own->profile : NULL;
        if (row->profile != NULL)
            node_labels_of(node, &member.id, &own->profile);
        row->load = node_member_load(&seen, &own->load) ? &own->load : NULL;
    }
    return rows;
}

_Static_assert(sizeof(struct placement_node) % _Alignof(struct facts) == 0,
               "facts follow the rows in one allocation");

void node_requests_candidates(struct node_requests *requests, const struct fleet_action *action)
{
    static struct ppn_machine_spec spec;
    struct fleet_event event = {.kind = FLEET_EVENT_CANDIDATES, .request = action->request};
    char reason[PPN_REASON_MAX + 1] = "the stored request is damaged";
    struct ppn_node_id chosen[FLEET_CANDIDATES_MAX];
    size_t count = 0, fitting = 0;
    event.code = PPN_ERROR_NO_CANDIDATE;
    event.reason = reason;
    event.nodes = chosen;
    if (wire_spec_decode(action->spec, &spec) == PPN_OK) {
        struct placement_request request = {.id = spec.id, .demand = &spec.demand, .arch = ""};
        struct placement_node *nodes = node_placement_view(requests->node, &count);
        struct placement_row *rows = calloc(count + 1, sizeof(*rows));
        if (nodes != NULL && rows != NULL) {
            fitting = placement_rank(nodes, count, &request, rows);
            if (fitting == 0)
                placement_none_text(rows, count, &request, reason, sizeof(reason));
            for (size_t i = 0; i < fitting && event.count < FLEET_CANDIDATES_MAX; i++)
                chosen[event.count++] = rows[i].node->id;
        }
        free(rows);
        free(nodes);
    }
    node_requests_event(requests, &event);
}

void node_requests_members(struct node_requests *requests, const struct fleet_action *action)
{
    struct node *node = requests->node;
    struct fleet_event event = {.kind = FLEET_EVENT_MEMBERS, .request = action->request};
    struct node_member member;
    uint32_t cursor = 0, members = 0;
    int64_t wall = os_clock_wall().unix_ms;
    while (node_member_next(node, &cursor, &member))
        members++;
    struct fleet_member *list = calloc(members + 1, sizeof(*list));
    if (list == NULL) {
        node_fatal(node, "requests", "out of memory");
        return;
    }
    cursor = 0;
    while (event.count < members && node_member_next(node, &cursor, &member)) {
        struct fleet_member *row = &list[event.count];
        struct gossip_member seen;
        if (ppn_node_id_equal(&member.id, &node->identity.id))
            continue;
        *row = (struct fleet_member){.id = member.id, .name = member.name};
        if (node_gossip_member(node, &member.id, &seen) == PPN_OK) {
            row->reachable = seen.state == GOSSIP_ALIVE || seen.state == GOSSIP_SUSPECT;
            if (seen.heard.ns != INT64_MIN)
                row->last_heard_unix_ms =
                    wall - ppn_to_ms(ppn_between(seen.heard, os_now(node->loop)));
            if (seen.state == GOSSIP_LEFT)
                continue;
        }
        event.count++;
    }
    event.members = list;
    node_requests_event(requests, &event);
    free(list);
}

/* ---- a run ---- */

static void finish_run(struct run *run)
{
    struct node *node = run->requests->node;
    struct node_view_buffer *buffer = calloc(1, sizeof(*buffer));
    struct api_vm_view view;
    struct node_vm vm = {.node = run->target};
    struct api_request *request = run->request;
    if (node_vm_by_id(node, &run->spec.id, &vm) != PPN_OK) {
        vm.node = run->target;
        vm.info = (struct ppn_vm_info){.id = run->spec.id,
                                       .state = PPN_VM_RUNNING,
                                       .memory_bytes = run->spec.demand.memory_bytes,
                                       .disk_bytes = run->spec.demand.disk_bytes,
                                       .vcpus = run->spec.demand.vcpus,
                                       .created_unix_ms = os_clock_wall().unix_ms};
        (void)ppn_text_copy(vm.info.name, sizeof(vm.info.name), run->spec.name);
        (void)ppn_text_copy(vm.info.image, sizeof(vm.info.image), run->spec.demand.image);
    }
    free_run(run);
    if (request != NULL && buffer != NULL) {
        node_view_vm(node, &vm, buffer, &view);
        api_stream_vm(request, &view);
    }
    free(buffer);
}

/* Looks whether what is waited for has come: the VM in this node's own view, or its first boot's
 * end. */
void node_runs_ready(void *context)
{
    struct node_requests *requests = context;
    struct run *next;
    bool waiting = false;
    for (struct run *run = requests->runs; run != NULL; run = next) {
        struct node_vm vm;
        next = run->next;
        if (!run->in_service)
            continue;
        bool shown = node_vm_by_id(requests->node, &run->spec.id, &vm) == PPN_OK &&
                     vm.info.state != PPN_VM_PREPARED && vm.info.state != PPN_VM_STARTING;
        bool over = shown && (vm.info.state == PPN_VM_FAILED || vm.info.state == PPN_VM_STOPPED);
        bool late = ppn_due(run->shown_until, os_now(requests->node->loop));
        if (run->wait_ready ? (shown && vm.info.ready) : (shown || late))
            finish_run(run);
        else if (run->wait_ready && over)
            fail_run(run, PPN_ERROR_CONFLICT,
                     vm.info.reason[0] != '\0' ? vm.info.reason
                                               : "the VM ended before its first boot did");
        else
            waiting = true;
    }
    if (waiting)
        os_timer_after(&requests->ready_timer, ppn_ms(READY_POLL_MS));
}

static void progress(struct run *run, const struct fleet_action *action, const char *name)
{
    char text[PPN_REASON_MAX + 128];
    struct api_progress line = {
        .stage = fleet_news_name(action->news), .node = name, .text = text, .percent = -1};
    const char *where = name != NULL ? name : "?";
    switch (action->news) {
    case FLEET_NEWS_ACCEPTED:
        (void)snprintf(text, sizeof(text), "accepted: it will be settled, whatever happens here");
        break;
    case FLEET_NEWS_FOLLOWING:
        (void)snprintf(text, sizeof(text), "%s has the same request; waiting for its result",
                       where);
        break;
    case FLEET_NEWS_TRYING:
        (void)snprintf(text, sizeof(text), "asking %s", where);
        break;
    case FLEET_NEWS_WORKING:
        (void)snprintf(text, sizeof(text), "%s: %s", where, fleet_step_name(action->step));
        line.percent = action->step == FLEET_STEP_IMAGE ? (int)action->percent : -1;
        break;
    case FLEET_NEWS_PREPARED:
        (void)snprintf(text, sizeof(text), "%s is prepared", where);
        break;
    case FLEET_NEWS_COMMITTED:
        (void)snprintf(text, sizeof(text), "%s starts it", where);
        break;
    case FLEET_NEWS_REFUSED:
    case FLEET_NEWS_LAUNCH_FAILED:
        (void)snprintf(text, sizeof(text), "%s cannot: %s", where, action->reason);
        break;
    case FLEET_NEWS_NO_ANSWER:
        (void)snprintf(text, sizeof(text), "%s does not answer; trying the next", where);
        break;
    case FLEET_NEWS_WAITING:
        (void)snprintf(text, sizeof(text), "no node can take it now: %s", action->reason);
        break;
    case FLEET_NEWS_IN_SERVICE:
        (void)snprintf(text, sizeof(text), "in service on %s", where);
        break;
    case FLEET_NEWS_FAILED:
    case FLEET_NEWS_LOST:
        (void)snprintf(text, sizeof(text), "%s", action->reason);
        break;
    }
    api_stream_progress(run->request, &line);
}

void node_runs_news(struct node_requests *requests, const struct fleet_action *action)
{
    struct run *next;
    char scratch[PPN_FINGERPRINT_TEXT], id[PPN_UUID_TEXT];
    const char *name = ppn_node_id_is_zero(&action->node)
                           ? NULL
                           : node_member_name(requests->node, &action->node, scratch);
    ppn_request_id_text(&action->request, id);
    ppn_log(action->news == FLEET_NEWS_WORKING ? PPN_LOG_DEBUG : PPN_LOG_INFO, "request",
            "id=%s news=%s node=%s reason=\"%s\"", id, fleet_news_name(action->news),
            name != NULL ? name : "-", action->reason);
    for (struct run *run = requests->runs; run != NULL; run = next) {
        next = run->next;
        if (run->request == NULL || run->resolving || run->placement_only ||
            !ppn_request_id_equal(&run->spec.id, &action->request) || run->in_service)
            continue;
        if (action->news == FLEET_NEWS_FAILED) {
            fail_run(run, action->code, action->reason);
            continue;
        }
        if (action->news == FLEET_NEWS_LOST) {
            char text[PPN_FAILURE_TEXT_MAX];
            (void)snprintf(text, sizeof(text),
                           "committed to %s, which cannot be reached: the VM is lost with it, or "
                           "runs there; it shows in ppn ps when %s is back",
                           name != NULL ? name : "?", name != NULL ? name : "it");
            fail_run(run, PPN_ERROR_UNREACHABLE, text);
            continue;
        }
        progress(run, action, name);
        if (action->news == FLEET_NEWS_IN_SERVICE) {
            run->in_service = true;
            run->target = action->node;
            run->shown_until = ppn_after(os_now(requests->node->loop), ppn_ms(SHOWN_WAIT_MS));
            os_timer_after(&requests->ready_timer, ppn_ms(0));
        }
    }
}

static void submit(struct run *run)
{
    static uint8_t bytes[WIRE_SPEC_MAX];
    struct node_requests *requests = run->requests;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    enum ppn_error error = wire_spec_encode(&run->spec, &writer);
    struct fleet_event event = {
        .kind = FLEET_EVENT_SUBMIT, .request = run->spec.id, .fresh = run->fresh};
    event.spec = ppn_written(&writer);
    struct ppn_request_id id = run->spec.id;
    if (error == PPN_OK)
        error = node_requests_step(requests, &event);
    if (error == PPN_OK)
        return;
    for (struct run *left = requests->runs; left != NULL; left = left->next) {
        if (left == run && ppn_request_id_equal(&run->spec.id, &id)) {
            fail_run(run, error,
                     error == PPN_ERROR_FULL
                         ? "too many requests are under way here; try again in a while"
                     : error == PPN_ERROR_STALE
                         ? "this request id is too old to be looked up; make a new one"
                         : ppn_error_text(error));
            return;
        }
    }
}

static void reply_table(struct run *run)
{
    struct node_requests *requests = run->requests;
    struct placement_request asked = {.id = run->spec.id, .demand = &run->spec.demand, .arch = ""};
    size_t count = 0;
    struct placement_node *nodes = node_placement_view(requests->node, &count);
    struct placement_row *rows = calloc(count + 1, sizeof(*rows));
    struct api_request *request = run->request;
    if (nodes == NULL || rows == NULL || request == NULL) {
        free(nodes);
        free(rows);
        fail_run(run, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    size_t fitting = placement_rank(nodes, count, &asked, rows);
    api_list_begin(request, API_LIST_PLACEMENT);
    for (size_t i = 0; i < count; i++) {
        const struct placement_row *row = &rows[i];
        char text[PPN_FAILURE_TEXT_MAX];
        placement_verdict_text(row->node, &asked, &row->verdict, text, sizeof(text));
        struct api_placement_row view = {
            .id = row->node->id,
            .node = row->node->name,
            .fits = i < fitting,
            .rank = i < fitting ? (uint32_t)i + 1 : 0,
            .score = (int64_t)row->weight,
            .reason = text,
            .part_count = 7,
            .parts = {{"slots", row->slots},
                      {"image", row->factor_image},
                      {"link", row->factor_link},
                      {"heat", row->factor_heat},
                      {"path", row->factor_path},
                      {"load", row->factor_load},
                      {"power", row->factor_power}},
        };
        api_list_add_row(request, &view);
    }
    free_run(run);
    free(rows);
    free(nodes);
    api_list_end(request);
}

static void on_image(void *context, const struct node_image_found *image,
                     const struct ppn_failure *failure)
{
    struct run *run = context;
    run->resolving = false;
    if (run->request == NULL) {
        free_run(run);
        return;
    }
    if (image == NULL && !run->placement_only) {
        fail_run(run, failure->code, failure->text);
        return;
    }
    if (image != NULL) {
        run->spec.demand.image_hash = image->hash;
        run->spec.demand.image_bytes = image->file_bytes;
        if (run->spec.demand.disk_bytes < image->virtual_bytes)
            run->spec.demand.disk_bytes = image->virtual_bytes;
    }
    if (run->placement_only)
        reply_table(run);
    else
        submit(run);
}

static struct run *new_run(struct node_requests *requests, struct api_request *request,
                           const struct api_run *asked)
{
    struct run *run = calloc(1, sizeof(*run));
    struct api_watch watch = {.context = run, .gone = on_gone};
    if (run == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return NULL;
    }
    run->requests = requests;
    run->request = request;
    run->spec = asked->spec;
    run->fresh = asked->fresh;
    run->wait_ready = asked->wait_ready;
    run->next = requests->runs;
    requests->runs = run;
    run->spec.user_data = NULL;
    if (asked->spec.user_data_size > 0) {
        run->spec.user_data = malloc(asked->spec.user_data_size);
        if (run->spec.user_data == NULL) {
            fail_run(run, PPN_ERROR_NO_MEMORY, "out of memory");
            return NULL;
        }
        memcpy(run->spec.user_data, asked->spec.user_data, asked->spec.user_data_size);
    }
    if (run->spec.name[0] == '\0')
        (void)snprintf(run->spec.name, sizeof(run->spec.name), "vm-%02x%02x%02x%02x",
                       run->spec.id.bytes[12], run->spec.id.bytes[13], run->spec.id.bytes[14],
                       run->spec.id.bytes[15]);
    api_request_watch(request, &watch);
    return run;
}

static void resolve(struct run *run)
{
    run->resolving = true;
    node_images_resolve(run->requests->node->images, run->spec.demand.image, on_image, run);
}

/* NULL when no VM but this request's own has the name. */
static const struct node_vm *namesake(const struct run *run, const char *name, struct node_vm *vm)
{
    bool found = node_vm_by_name(run->requests->node, name, vm) != PPN_ERROR_NOT_FOUND;
    return found && !ppn_request_id_equal(&vm->info.id, &run->spec.id) ? vm : NULL;
}

static void refuse_name(struct run *run, const struct node_vm *vm)
{
    char scratch[PPN_FINGERPRINT_TEXT], text[PPN_FAILURE_TEXT_MAX];
    (void)snprintf(text, sizeof(text),
                   "a VM named %s exists on %s; choose another --name, or remove it: ppn rm %s",
                   run->spec.name, node_member_name(run->requests->node, &vm->node, scratch),
                   run->spec.name);
    fail_run(run, PPN_ERROR_EXISTS, text);
}

static void on_list(void *context)
{
    struct run *run = context;
    struct node_vm vm;
    run->resolving = false;
    if (run->request == NULL)
        free_run(run);
    else if (run->requests->node->stopping)
        return; /* node_runs_close answers it */
    else if (namesake(run, run->spec.name, &vm) != NULL)
        refuse_name(run, &vm);
    else
        resolve(run);
}

void node_requests_run(struct node_requests *requests, struct api_request *request,
                       const struct api_run *asked)
{
    struct fleet_request_view known;
    struct node_vm vm;
    if (requests->node->phase != NODE_MEMBER) {
        api_reply_error(request, PPN_ERROR_CONFLICT,
                        "this node is no member of a network yet; see ppn status");
        return;
    }
    struct run *run = new_run(requests, request, asked);
    if (run == NULL)
        return;
    if (fleet_request(requests->core, &run->spec.id, &known) == PPN_OK) {
        submit(run);
        return;
    }
    if (asked->spec.name[0] == '\0' || namesake(run, run->spec.name, &vm) == NULL) {
        resolve(run);
        return;
    }
    /* The list may be older than its owner's last word, above all right after a restart. */
    run->list = (struct node_machines_wait){.context = run, .done = on_list};
    run->resolving = true;
    if (ppn_node_id_equal(&vm.node, &requests->node->identity.id) ||
        !node_member_alive(requests->node, &vm.node) ||
        node_machines_ask(requests->node->machines, &vm.node, &run->list) != PPN_OK) {
        run->resolving = false;
        refuse_name(run, &vm);
    }
}

void node_requests_placement(struct node_requests *requests, struct api_request *request,
                             const struct api_run *asked)
{
    struct run *run = new_run(requests, request, asked);
    if (run == NULL)
        return;
    run->placement_only = true;
    resolve(run);
}

void node_runs_close(struct node_requests *requests)
{
    while (requests->runs != NULL) {
        struct run *run = requests->runs;
        if (run->request != NULL)
            fail_run(run, PPN_ERROR_CLOSED,
                     "this node stops; the request is settled when it is back");
        else
            free_run(run);
    }
}
