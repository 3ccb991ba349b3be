// SPDX-License-Identifier: ISC
#include <string.h>

#include "control.h"
#include "control_internal.h"
#include "control_log.h"

/* What people ask of the network, and whether at the end they got it. */

static void submit(struct control *c, struct control_request *request, uint32_t index, bool fresh)
{
    uint8_t spec[CONTROL_SPEC_SIZE] = {0};
    struct ppn_writer writer = ppn_writer(spec, sizeof(spec));
    ppn_write_u64(&writer, request->memory_bytes);
    struct fleet_event event = {.kind = FLEET_EVENT_SUBMIT,
                                .request = request->id,
                                .spec = ppn_slice(spec, sizeof(spec)),
                                .fresh = fresh};
    control_step(c, index, &event);
}

struct control_request *control_ask(struct control *c, uint32_t index, uint64_t memory_bytes)
{
    uint8_t noise[10];
    if (c->request_count == CONTROL_REQUESTS_MAX || !c->world->nodes[index].running)
        return NULL;
    struct control_request *request = &c->requests[c->request_count++];
    for (uint32_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)ppn_random_u64(&c->random);
    *request =
        (struct control_request){.id = ppn_request_id_make(control_wall(c, index).unix_ms, noise),
                                 .memory_bytes = memory_bytes,
                                 .origins = {index},
                                 .origin_count = 1};
    submit(c, request, index, true);
    return request;
}

void control_ask_again(struct control *c, struct control_request *request, uint32_t index)
{
    if (!c->world->nodes[index].running)
        return;
    if (index != request->origins[0] && request->origin_count == 1) {
        request->origins[1] = index;
        request->origin_count = 2;
    }
    if (index == request->origins[0] ||
        (request->origin_count == 2 && index == request->origins[1]))
        submit(c, request, index, false);
}

static uint32_t machines_of(const struct control *c, const struct ppn_request_id *id,
                            uint32_t *launched)
{
    uint32_t any = 0;
    *launched = 0;
    for (uint32_t i = 0; i < c->world->options.nodes; i++) {
        for (uint32_t j = 0; j < c->nodes[i].machine_count; j++) {
            const struct control_machine *machine = &c->nodes[i].machines[j];
            if (!ppn_request_id_equal(&machine->request, id))
                continue;
            any++;
            *launched += machine->launched;
        }
    }
    return any;
}

static bool request_settled(struct control *c, uint32_t r, char *why, size_t capacity)
{
    const struct control_request *request = &c->requests[r];
    uint32_t launched, in_service = 0, accepted = 0;
    uint32_t any = machines_of(c, &request->id, &launched);
    for (uint32_t i = 0; i < request->origin_count; i++) {
        struct fleet_request_view view;
        const struct fleet *fleet = c->nodes[request->origins[i]].fleet;
        /* What one who was thrown out still does with it alone is its own. */
        if (control_log_gone(c, request->origins[i]))
            return true;
        accepted += request->accepted[i];
        if (fleet_request(fleet, &request->id, &view) != PPN_OK) {
            if (!request->accepted[i])
                continue;
            snprintf(why, capacity, "request %u: accepted and forgotten", r);
            return false;
        }
        if (view.state == FLEET_REQUEST_FOLLOWING)
            continue;
        if (view.state == FLEET_REQUEST_LOST ||
            (!ppn_node_id_is_zero(&view.node) &&
             control_log_gone(c, world_find(c->world, &view.node))))
            return true;
        in_service += view.state == FLEET_REQUEST_IN_SERVICE;
        if (view.state != FLEET_REQUEST_IN_SERVICE && view.state != FLEET_REQUEST_FAILED) {
            snprintf(why, capacity, "request %u: still %s", r,
                     fleet_request_state_name(view.state));
            return false;
        }
    }
    if (launched != in_service || any != launched) {
        snprintf(why, capacity, "request %u: %u in service, %u run, %u disks, %u accepted", r,
                 in_service, launched, any, accepted);
        return false;
    }
    return true;
}

bool control_settled(struct control *c, char *why, size_t capacity)
{
    why[0] = '\0';
    if (!control_log_settled(c, why, capacity))
        return false;
    if (!world_converged(c->world)) {
        snprintf(why, capacity, "views differ");
        return false;
    }
    for (uint32_t r = 0; r < c->request_count; r++)
        if (!request_settled(c, r, why, capacity))
            return false;
    for (uint32_t i = 0; i < c->world->options.nodes; i++) {
        struct fleet_hold_view hold;
        if (c->world->nodes[i].outside)
            continue;
        for (uint32_t cursor = 0; fleet_hold_next(c->nodes[i].fleet, &cursor, &hold);) {
            if (hold.state == FLEET_HOLD_IN_SERVICE || hold.state == FLEET_HOLD_TOMB)
                continue;
            snprintf(why, capacity, "%s: a hold is still %s", c->world->nodes[i].name,
                     fleet_hold_state_name(hold.state));
            return false;
        }
    }
    return true;
}
