// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "api/api_request.h"
#include "api/api_views.h"

static const char *const node_states[] = {"alive", "suspect", "dead", "left"};
static const char *const vm_states[] = {"prepared", "starting", "running", "stopping",
                                        "stopped",  "failed",   "lost"};
static const char *const kvm_levels[] = {"none", "device", "runs", "fast", "boots"};
static const char *const isolations[] = {"tcg", "kvm", "kvm+sandbox", "sev-snp", "tdx"};
static const char *const meshes[] = {"starting", "kernel", "userspace", "plain"};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
static const char *const events[] = {
    "node-alive", "node-suspect", "node-dead",  "node-left",  "node-updated", "join-requested",
    "join-ended", "log-entry",    "vm-updated", "vm-removed", "alarm",        "synced",
};
_Static_assert(sizeof(events) / sizeof(events[0]) == API_EVENT_COUNT, "a word for each event");
_Static_assert(sizeof(methods) / sizeof(methods[0]) == API_METHOD_COUNT, "a word for each method");

#define WORD(table, value)                                                                         \
    ((size_t)(value) < sizeof(table) / sizeof((table)[0]) ? (table)[(size_t)(value)] : "unknown")

const char *api_node_state_name(enum api_node_state state)
{
    return WORD(node_states, state);
}

const char *api_vm_state_name(enum ppn_vm_state state)
{
    return WORD(vm_states, state);
}

const char *api_kvm_name(enum ppn_kvm_level level)
{
    return WORD(kvm_levels, level);
}

const char *api_isolation_name(enum ppn_isolation isolation)
{
    return WORD(isolations, isolation);
}

const char *api_event_name(enum api_event_type type)
{
    return WORD(events, type);
}

const char *api_mesh_name(enum api_mesh_mode mode)
{
    return WORD(meshes, mode);
}

const char *api_method_name(enum api_method method)
{
    return WORD(methods, method);
}

enum ppn_error api_isolation_parse(const char *name, enum ppn_isolation *isolation)
{
    for (size_t i = 0; i < sizeof(isolations) / sizeof(isolations[0]); i++) {
        if (strcmp(name, isolations[i]) == 0) {
            *isolation = (enum ppn_isolation)i;
            return PPN_OK;
        }
    }
    return PPN_ERROR_INVALID;
}

enum ppn_error api_method_parse(const char *name, enum api_method *method)
{
    for (size_t i = 0; i < API_METHOD_COUNT; i++) {
        if (strcmp(name, methods[i]) == 0) {
            *method = (enum api_method)i;
            return PPN_OK;
        }
    }
    return PPN_ERROR_INVALID;
}
