// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/images.h"
#include "node/labels.h"
#include "node/machines.h"
#include "node/requests_internal.h"
#include "node/self.h"
#include "os/os_clock.h"
#include "wire/machine.h"

/* What the core asked of this node as a target, until it is answered. */
enum work_kind { WORK_IMAGE, WORK_DISK, WORK_LAUNCH, WORK_RELEASE };

struct work {
    struct node_requests *requests;
    struct work *next;
    enum work_kind kind;
    struct ppn_request_id id;
    struct ppn_node_id origin;
    uint32_t attempt;
    struct ppn_machine_spec spec; /* IMAGE, DISK: user_data owned */
    bool emulated;
    uint32_t percent;
};

static void free_work(struct work *work)
{
    struct work **at = &work->requests->works;
    while (*at != work)
        at = &(*at)->next;
    *at = work->next;
    free(work->spec.user_data);
    free(work);
}

static struct work *new_work(struct node_requests *requests, enum work_kind kind,
                             const struct fleet_action *action)
{
    struct work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        node_fatal(requests->node, "requests", "out of memory");
        return NULL;
    }
    work->requests = requests;
    work->kind = kind;
    work->id = action->request;
    work->origin = action->origin;
    work->attempt = action->attempt;
    work->next = requests->works;
    requests->works = work;
    return work;
}

static struct work *find_work(struct node_requests *requests, const struct ppn_request_id *id,
                              enum work_kind kind)
{
    for (struct work *work = requests->works; work != NULL; work = work->next) {
        if (work->kind == kind && ppn_request_id_equal(&work->id, id))
            return work;
    }
    return NULL;
}

static void answer(struct node_requests *requests, enum fleet_event_kind kind,
                   const struct ppn_request_id *id, const struct ppn_node_id *origin,
                   uint32_t attempt, enum ppn_error code, const char *reason)
{
    struct fleet_event event = {.kind = kind,
                                .request = *id,
                                .origin = *origin,
                                .attempt = attempt,
                                .code = code,
                                .reason = reason};
    node_requests_event(requests, &event);
}

static void working(struct work *work, enum fleet_step step, uint32_t percent)
{
    struct fleet_event event = {.kind = FLEET_EVENT_WORKING,
                                .request = work->id,
                                .origin = work->origin,
                                .attempt = work->attempt,
                                .step = step,
                                .percent = percent};
    node_requests_event(work->requests, &event);
}

/* This node as placement sees it, with the reservations as they are this very moment. */
static void describe_self(struct node_requests *requests, struct placement_node *self,
                          struct ppn_profile *profile, struct ppn_load *load)
{
    struct node *node = requests->node;
    struct vm_host_usage usage = node_machines_usage(node->machines);
    struct fleet_reserve promised = fleet_reserved(requests->core);
    *load = *node_self_load(node);
    load->memory_reserved_bytes =
        usage.memory_bytes + promised.memory_bytes + node->options.memory_reserve_bytes;
    load->vcpus_reserved = usage.vcpus + promised.vcpus;
    *profile = *node_self_profile(node);
    node_labels_of(node, &node->identity.id, profile);
    *self = (struct placement_node){
        .id = node->identity.id,
        .name = node->name,
        .profile = profile,
        .load = load,
        .state = PLACEMENT_STATE_ALIVE,
    };
}

void node_work_fit(struct node_requests *requests, const struct fleet_action *action)
{
    static struct ppn_machine_spec spec;
    static struct ppn_profile profile;
    struct placement_node self;
    struct ppn_load load;
    struct placement_verdict verdict;
    char text[PPN_REASON_MAX + 1];
    struct fleet_event event = {.kind = FLEET_EVENT_FIT,
                                .request = action->request,
                                .origin = action->origin,
                                .attempt = action->attempt};
    if (wire_spec_decode(action->spec, &spec) != PPN_OK ||
        !ppn_request_id_equal(&spec.id, &action->request)) {
        event.code = PPN_ERROR_INVALID;
        event.reason = "the request is malformed";
        node_requests_event(requests, &event);
        return;
    }
    struct placement_request request = {.id = spec.id, .demand = &spec.demand, .arch = ""};
    describe_self(requests, &self, &profile, &load);
    if (placement_fit(&self, &request, &verdict) != PLACEMENT_FITS) {
        placement_verdict_text(&self, &request, &verdict, text, sizeof(text));
        event.code = PPN_ERROR_REFUSED;
        event.reason = text;
    } else {
        event.reserve = (struct fleet_reserve){verdict.memory_need_bytes, verdict.disk_need_bytes,
                                               spec.demand.vcpus};
    }
    node_requests_event(requests, &event);
}

static void on_prepared(void *context, const struct ppn_request_id *id,
                        const struct ppn_failure *failure)
{
    struct node_requests *requests = context;
    struct work *work = find_work(requests, id, WORK_DISK);
    if (work == NULL)
        return;
    answer(requests, FLEET_EVENT_WORK_DONE, &work->id, &work->origin, work->attempt,
           failure != NULL ? failure->code : PPN_OK, failure != NULL ? failure->text : NULL);
    free_work(work);
}

static void make_disk(struct work *work)
{
    struct node_requests *requests = work->requests;
    struct node *node = requests->node;
    struct ppn_failure failure = {0};
    struct vm_prepare prepare = {
        .spec = &work->spec,
        .kvm = !work->emulated,
        .isolation = work->emulated ? PPN_ISOLATION_TCG : node_self_profile(node)->isolation_max,
        .created_unix_ms = os_clock_wall().unix_ms,
        .done = on_prepared,
        .context = requests,
    };
    work->kind = WORK_DISK;
    working(work, FLEET_STEP_DISK, 0);
    if (vm_host_prepare(node_machines_host(node->machines), &prepare, &failure) == PPN_OK)
        return;
    answer(requests, FLEET_EVENT_WORK_DONE, &work->id, &work->origin, work->attempt, failure.code,
           failure.text);
    free_work(work);
}

static void on_image_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    struct work *work = context;
    uint32_t percent = total_bytes > 0 ? (uint32_t)(done_bytes * 100 / total_bytes) : 0;
    if (percent == work->percent)
        return;
    work->percent = percent;
    working(work, FLEET_STEP_IMAGE, percent);
}

static void on_image(void *context, const struct ppn_failure *failure)
{
    struct work *work = context;
    if (failure == NULL) {
        make_disk(work);
        return;
    }
    answer(work->requests, FLEET_EVENT_WORK_DONE, &work->id, &work->origin, work->attempt,
           failure->code, failure->text);
    free_work(work);
}

static bool take_spec(struct work *work, struct ppn_slice bytes)
{
    if (wire_spec_decode(bytes, &work->spec) != PPN_OK)
        return false;
    const uint8_t *borrowed = work->spec.user_data;
    work->spec.user_data = NULL;
    if (work->spec.user_data_size == 0)
        return true;
    work->spec.user_data = malloc(work->spec.user_data_size);
    if (work->spec.user_data != NULL)
        memcpy(work->spec.user_data, borrowed, work->spec.user_data_size);
    return work->spec.user_data != NULL;
}

void node_work_prepare(struct node_requests *requests, const struct fleet_action *action)
{
    struct node *node = requests->node;
    struct work *work = find_work(requests, &action->request, WORK_IMAGE);
    if (work != NULL || find_work(requests, &action->request, WORK_DISK) != NULL)
        return;
    work = new_work(requests, WORK_IMAGE, action);
    if (work == NULL)
        return;
    if (!take_spec(work, action->spec)) {
        answer(requests, FLEET_EVENT_WORK_DONE, &work->id, &work->origin, work->attempt,
               PPN_ERROR_INVALID, "the request is malformed");
        free_work(work);
        return;
    }
    const struct ppn_demand *demand = &work->spec.demand;
    work->emulated = placement_emulated(node_self_profile(node), demand);
    if (image_store_by_hash(node_images_store(node->images), &demand->image_hash) != NULL) {
        make_disk(work);
        return;
    }
    struct node_fetch_caller caller = {
        .context = work, .progress = on_image_progress, .done = on_image};
    working(work, FLEET_STEP_IMAGE, 0);
    node_images_fetch(node->images, &demand->image_hash, demand->image_bytes, demand->image,
                      &work->origin, &caller);
}

void node_work_launch(struct node_requests *requests, const struct fleet_action *action)
{
    struct vm_host *host = node_machines_host(requests->node->machines);
    struct ppn_vm_info info;
    if (!vm_host_find(host, &action->request, &info)) {
        answer(requests, FLEET_EVENT_LAUNCHED, &action->request, &action->origin, action->attempt,
               PPN_ERROR_NOT_FOUND, "the prepared machine is gone");
        return;
    }
    if (info.state == PPN_VM_RUNNING || info.state == PPN_VM_STOPPING ||
        info.state == PPN_VM_STOPPED) {
        answer(requests, FLEET_EVENT_LAUNCHED, &action->request, &action->origin, action->attempt,
               PPN_OK, NULL);
        return;
    }
    if (find_work(requests, &action->request, WORK_LAUNCH) != NULL ||
        new_work(requests, WORK_LAUNCH, action) == NULL || info.state == PPN_VM_STARTING)
        return;
    enum ppn_error error = vm_host_start(host, &action->request);
    if (error == PPN_OK)
        return;
    struct work *work = find_work(requests, &action->request, WORK_LAUNCH);
    if (work == NULL)
        return;
    free_work(work);
    answer(requests, FLEET_EVENT_LAUNCHED, &action->request, &action->origin, action->attempt,
           error, NULL);
}

void node_work_release(struct node_requests *requests, const struct fleet_action *action)
{
    struct node *node = requests->node;
    struct work *image = find_work(requests, &action->request, WORK_IMAGE);
    struct work *launch = find_work(requests, &action->request, WORK_LAUNCH);
    if (image != NULL) {
        node_images_fetch_cancel(node->images, image);
        free_work(image);
    }
    if (launch != NULL)
        free_work(launch);
    if (find_work(requests, &action->request, WORK_RELEASE) == NULL &&
        new_work(requests, WORK_RELEASE, action) == NULL)
        return;
    enum ppn_error error = vm_host_remove(node_machines_host(node->machines), &action->request);
    struct work *work = find_work(requests, &action->request, WORK_RELEASE);
    if (error == PPN_OK || work == NULL)
        return;
    free_work(work);
    answer(requests, FLEET_EVENT_RELEASED, &action->request, &action->origin, action->attempt,
           PPN_OK, NULL);
}

static void vm_gone(struct node_requests *requests, const struct ppn_request_id *id)
{
    struct work *release = find_work(requests, id, WORK_RELEASE);
    struct work *launch = find_work(requests, id, WORK_LAUNCH);
    if (launch != NULL)
        free_work(launch);
    if (release != NULL) {
        answer(requests, FLEET_EVENT_RELEASED, id, &release->origin, release->attempt, PPN_OK,
               NULL);
        free_work(release);
        return;
    }
    struct fleet_event event = {.kind = FLEET_EVENT_VM_REMOVED, .request = *id};
    node_requests_event(requests, &event);
}

void node_requests_vm(struct node_requests *requests, const struct ppn_request_id *id,
                      const struct ppn_vm_info *info)
{
    if (info == NULL) {
        vm_gone(requests, id);
        return;
    }
    struct work *work = find_work(requests, id, WORK_LAUNCH);
    if (work == NULL)
        return;
    if (info->state == PPN_VM_RUNNING)
        answer(requests, FLEET_EVENT_LAUNCHED, id, &work->origin, work->attempt, PPN_OK, NULL);
    else if (info->state == PPN_VM_FAILED || info->state == PPN_VM_STOPPED)
        answer(requests, FLEET_EVENT_LAUNCHED, id, &work->origin, work->attempt, PPN_ERROR_REFUSED,
               info->reason[0] != '\0' ? info->reason : "it did not start");
    else
        return;
    free_work(work);
}

void node_work_close(struct node_requests *requests)
{
    while (requests->works != NULL) {
        if (requests->works->kind == WORK_IMAGE)
            node_images_fetch_cancel(requests->node->images, requests->works);
        free_work(requests->works);
    }
}
