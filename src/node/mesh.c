// SPDX-License-Identifier: ISC
#include "node/mesh.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admission/admission.h"
#include "base/assert.h"
#include "base/log.h"
#include "node/log.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/paths.h"
#include "node/rekey.h"
#include "os/os_address.h"
#include "os/os_net.h"
#include "os/os_random.h"

struct node_mesh {
    struct node *node;
    struct wg core;
    struct wg_device *device;
    enum wg_backend backend;
    bool ready;
    uint64_t version; /* counts the changes of the fold that the core was told */
    struct os_timer timer;
    struct os_net_watch *watch;
    struct node_paths *paths;                 /* NULL: plain, or no raw sockets */
    struct wg_prefix prefixes[WG_PREFIX_MAX]; /* of the machine itself, as last seen */
    struct os_net_routes routes;              /* the same */
    struct wg_update update;
};

_Static_assert((int)WG_KEY_SIZE == (int)ADMISSION_WG_KEY_SIZE, "one kind of key");
_Static_assert((int)WG_MODE_PLAIN == (int)NODE_MESH_PLAIN && (int)WG_MODE_AUTO == NODE_MESH_AUTO,
               "the option's choices are the device's modes");

static void step(struct node_mesh *mesh, const struct wg_event *event)
{
    enum ppn_error error = wg_step(&mesh->core, os_now(mesh->node->loop), event, &mesh->update);
    if (error != PPN_OK && error != PPN_ERROR_STALE)
        ppn_log(PPN_LOG_WARN, "mesh-step", "event=%d cause=\"%s\"", (int)event->kind,
                ppn_error_text(error));
    if (error == PPN_OK && mesh->update.kind != WG_UPDATE_NONE)
        wg_device_run(mesh->device, &mesh->update);
    os_timer_at(&mesh->timer, mesh->ready ? wg_deadline(&mesh->core) : PPN_NEVER);
}

static void on_timer(void *context)
{
    struct wg_event event = {.kind = WG_EVENT_TICK};
    step(context, &event);
}

/* Without raw sockets WireGuard is given endpoints in turn, as ever; only relays are out of reach.
 */
static void open_paths(struct node_mesh *mesh)
{
    struct ppn_failure failure = {0};
    if (mesh->backend == WG_BACKEND_PLAIN)
        return;
    if (node_paths_open(mesh->node, mesh->node->options.listen.port, &mesh->paths, &failure) !=
        PPN_OK)
        ppn_log(PPN_LOG_WARN, "paths", "text=\"%s\"", failure.text);
}

static void tell_paths(struct node_mesh *mesh, const struct wg_event *event)
{
    const struct admission *log = node_log_core(mesh->node->log);
    for (size_t i = 0; mesh->paths != NULL && i < event->observed.count; i++) {
        const struct wg_observed *seen = &event->observed.peers[i];
        const struct admission_member *member = admission_member_by_wg_key(log, seen->key.bytes);
        if (member != NULL)
            node_paths_observed(mesh->paths, &member->id, seen);
    }
}

/* Until the device is up nothing may be run on it, so the core first hears of anything then. */
static void on_ready(void *context, enum wg_backend backend, const struct ppn_failure *failure)
{
    struct node_mesh *mesh = context;
    if (failure != NULL) {
        node_notify_mesh(mesh->node, failure);
        return;
    }
    mesh->backend = backend;
    mesh->ready = true;
    open_paths(mesh);
    node_mesh_local(mesh);
    node_mesh_members(mesh);
    node_notify_mesh(mesh->node, NULL);
}

static void on_event(void *context, const struct wg_event *event)
{
    struct node_mesh *mesh = context;
    if (event->kind == WG_EVENT_RESET) {
        node_notify_mesh_reset(mesh->node);
        node_paths_rebind(mesh->paths);
    }
    if (event->kind == WG_EVENT_OBSERVED && event->observed.error == PPN_OK)
        tell_paths(mesh, event);
    step(mesh, event);
}

void node_mesh_members(struct node_mesh *mesh)
{
    const struct admission *log = node_log_core(mesh->node->log);
    uint32_t count = admission_member_count(log);
    if (!mesh->ready || count == 0)
        return;
    struct wg_member *members = calloc(count, sizeof(*members));
    if (members == NULL) {
        node_fatal(mesh->node, "mesh", "out of memory");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct admission_member *member = admission_member_at(log, i);
        members[i].node = member->id;
        /* The core knows this node by the key that it began with. */
        bool self = ppn_node_id_equal(&member->id, &mesh->node->identity.id);
        memcpy(members[i].key.bytes, self ? mesh->core.config.self.bytes : member->wg_key,
               WG_KEY_SIZE);
        memcpy(members[i].address, member->address, sizeof(member->address));
    }
    struct wg_event event = {.kind = WG_EVENT_MEMBERS};
    event.members.log_version = ++mesh->version;
    event.members.count = count;
    event.members.members = members;
    step(mesh, &event);
    free(members);
    node_paths_members(mesh->paths);
}

void node_mesh_candidates(struct node_mesh *mesh, const struct ppn_node_id *id,
                          const struct ppn_profile *profile)
{
    struct wg_event event = {.kind = WG_EVENT_CANDIDATES};
    event.candidates.node = *id;
    event.candidates.count = profile->candidate_count;
    event.candidates.list = profile->candidates;
    step(mesh, &event);
    node_paths_profile(mesh->paths, id, profile);
}

void node_mesh_path(struct node_mesh *mesh, const struct ppn_node_id *id,
                    const struct node_mesh_path *path)
{
    struct wg_event event = {.kind = WG_EVENT_PATH};
    event.path.node = *id;
    event.path.endpoint = path->endpoint;
    event.path.keepalive_s = path->keepalive_s;
    event.path.mtu = path->mtu;
    step(mesh, &event);
}

bool node_mesh_on_link(const struct node_mesh *mesh, const uint8_t address[static 16])
{
    for (size_t i = 0; i < WG_PREFIX_MAX && mesh->prefixes[i].length > 0; i++) {
        if (wg_prefix_has(&mesh->prefixes[i], address))
            return true;
    }
    return false;
}

bool node_mesh_has_ipv4(const struct node_mesh *mesh)
{
    for (size_t i = 0; i < WG_PREFIX_MAX && mesh->prefixes[i].length > 0; i++) {
        struct ppn_endpoint endpoint = {.port = 1};
        memcpy(endpoint.address, mesh->prefixes[i].address, sizeof(endpoint.address));
        if (os_endpoint_is_ipv4(&endpoint))
            return true;
    }
    return false;
}

const struct path *node_mesh_core(const struct node_mesh *mesh, const struct ppn_node_id *id)
{
    return mesh != NULL ? node_paths_core(mesh->paths, id) : NULL;
}

bool node_mesh_whose_relay(const struct node_mesh *mesh, const struct ppn_endpoint *endpoint,
                           struct ppn_node_id *id)
{
    return mesh != NULL && node_paths_whose_relay(mesh->paths, endpoint, id);
}

const struct path_way *node_mesh_way(const struct node_mesh *mesh, const struct ppn_node_id *id)
{
    const struct path *core = node_mesh_core(mesh, id);
    const struct path_way *way = core != NULL ? path_current(core) : NULL;
    return way != NULL && way->proven ? way : NULL;
}

bool node_mesh_seen(const struct node_mesh *mesh, struct ppn_endpoint *endpoint)
{
    return mesh != NULL && node_paths_seen(mesh->paths, endpoint);
}

void node_mesh_void(struct node_mesh *mesh)
{
    if (mesh != NULL)
        node_paths_void(mesh->paths);
}

bool node_mesh_over(const struct node_mesh *mesh, const struct ppn_endpoint *endpoint,
                    struct ppn_endpoint *over)
{
    return mesh != NULL && node_paths_over(mesh->paths, endpoint, over);
}

bool node_mesh_udp_blocked(const struct node_mesh *mesh)
{
    return mesh != NULL && node_paths_blocked(mesh->paths);
}

void node_mesh_hint(struct node_mesh *mesh, const struct ppn_node_id *id,
                    const struct ppn_endpoint *endpoint)
{
    struct wg_event event = {.kind = WG_EVENT_HINT};
    event.hint.node = *id;
    event.hint.endpoint = *endpoint;
    step(mesh, &event);
    node_paths_hint(mesh->paths, id, endpoint);
}

void node_mesh_local(struct node_mesh *mesh)
{
    struct os_net_addresses addresses;
    struct wg_prefix prefixes[WG_PREFIX_MAX] = {0};
    struct ppn_failure failure = {0};
    struct wg_event event = {.kind = WG_EVENT_LOCAL};
    if (!mesh->ready || os_net_addresses(&addresses, &failure) != PPN_OK)
        return;
    for (uint32_t i = 0; i < addresses.count && event.local.count < WG_PREFIX_MAX; i++) {
        const struct os_net_address *address = &addresses.list[i];
        if (address->loopback || address->link_local || !address->up ||
            strcmp(address->interface, mesh->node->options.interface) == 0)
            continue;
        struct wg_prefix *prefix = &prefixes[event.local.count++];
        memcpy(prefix->address, address->address, sizeof(prefix->address));
        prefix->length = address->prefix_bits;
    }
    /* Another network may give the same address, and a second uplink changes none. */
    struct os_net_routes routes;
    os_net_default_routes(&routes);
    bool moved = memcmp(prefixes, mesh->prefixes, sizeof(prefixes)) != 0 ||
                 memcmp(&routes, &mesh->routes, sizeof(routes)) != 0;
    memcpy(mesh->prefixes, prefixes, sizeof(prefixes));
    mesh->routes = routes;
    if (moved)
        node_paths_void(mesh->paths);
    event.local.prefixes = prefixes;
    event.local.behind_nat = mesh->node->options.advertise_count == 0;
    step(mesh, &event);
}

static void on_network_change(void *context)
{
    struct node_mesh *mesh = context;
    node_mesh_local(mesh);
    node_self_touch(mesh->node);
}

enum ppn_error node_mesh_open(struct node *node, struct node_mesh **out,
                              struct ppn_failure *failure)
{
    struct node_mesh *mesh = calloc(1, sizeof(*mesh));
    if (mesh == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct wg_config config = {.plain = node->options.mesh == NODE_MESH_PLAIN};
    struct wg_device_config device = {
        .mode = (enum wg_mode)node->options.mesh,
        .listen_port = node->options.listen.port,
        .context = mesh,
        .on_ready = on_ready,
        .on_event = on_event,
    };
    mesh->node = node;
    node_rekey_keys(node->rekey, device.private_key, config.self.bytes);
    memcpy(device.address, node->mesh_address, sizeof(device.address));
    (void)ppn_text_copy(device.interface, sizeof(device.interface), node->options.interface);
    wg_init(&mesh->core, &config, os_now(node->loop), os_random_u64());
    os_timer_init(&mesh->timer, node->loop, on_timer, mesh);
    enum ppn_error error = wg_device_open(node->loop, &device, &mesh->device, failure);
    sodium_memzero(device.private_key, sizeof(device.private_key));
    if (error == PPN_OK)
        error = os_net_watch_open(node->loop, on_network_change, mesh, &mesh->watch, failure);
    if (error != PPN_OK) {
        node_mesh_close(mesh, false);
        return error;
    }
    *out = mesh;
    return PPN_OK;
}

void node_mesh_key(struct node_mesh *mesh, const uint8_t private_key[static 32])
{
    wg_device_key(mesh->device, private_key);
}

void node_mesh_close(struct node_mesh *mesh, bool remove)
{
    if (mesh == NULL)
        return;
    os_timer_stop(&mesh->timer);
    node_paths_close(mesh->paths);
    if (mesh->watch != NULL)
        os_net_watch_close(mesh->watch);
    if (mesh->device != NULL)
        wg_device_close(mesh->device, remove);
    wg_free(&mesh->core);
    free(mesh);
}

enum wg_backend node_mesh_backend(const struct node_mesh *mesh)
{
    return mesh == NULL ? WG_BACKEND_NONE : mesh->backend;
}

enum ppn_error node_mesh_status(const struct node_mesh *mesh, const struct ppn_node_id *id,
                                struct wg_peer_status *status)
{
    return mesh == NULL ? PPN_ERROR_NOT_FOUND
                        : wg_peer_status(&mesh->core, os_now(mesh->node->loop), id, status);
}
