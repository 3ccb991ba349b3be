// SPDX-License-Identifier: ISC
#include "node/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission/admission.h"
#include "api/api_server.h"
#include "base/log.h"
#include "node/events.h"
#include "node/gossip.h"
#include "node/log.h"
#include "node/machines.h"
#include "node/mesh.h"
#include "node/paths.h"
#include "node/remote.h"
#include "node/requests.h"
#include "node/self.h"
#include "node/serve_internal.h"
#include "node/views.h"
#include "os/os_address.h"

struct node_serve {
    struct node *node;
    struct api_backend backend;
    struct api_server *server;
    struct node_view_buffer buffer;
};

const struct api_backend *node_serve_backend(const struct node_serve *serve)
{
    return &serve->backend;
}

bool node_serve_member(struct node *node, struct api_request *request, const struct api_who *who,
                       struct node_member *out)
{
    const struct admission *log = node_log_core(node->log);
    const struct admission_member *member = NULL;
    enum ppn_error error = PPN_OK;
    if (who->kind == API_WHO_ID)
        member = admission_member_by_id(log, &who->id);
    else
        error = admission_member_find(log, who->text, &member);
    if (error == PPN_ERROR_CONFLICT) {
        api_reply_error(request, error, "several nodes match %s; write more of the fingerprint",
                        who->text);
        return false;
    }
    if (member == NULL || !node_member_by_id(node, &member->id, out)) {
        api_reply_error(request, PPN_ERROR_NOT_FOUND, "no node %s; see ppn nodes", who->text);
        return false;
    }
    return true;
}

static void serve_status(void *context, struct api_request *request)
{
    struct node *node = context;
    struct api_status status;
    node_view_status(node, &node->serve->buffer, &status);
    api_reply_status(request, &status);
}

static void serve_nodes(void *context, struct api_request *request)
{
    struct node *node = context;
    struct node_member member;
    uint32_t cursor = 0;
    api_list_begin(request, API_LIST_NODES);
    while (node_member_next(node, &cursor, &member)) {
        struct api_node_view view;
        if (node_view_node(node, &member.id, &node->serve->buffer, &view))
            api_list_add_node(request, &view);
    }
    api_list_end(request);
}

struct listing {
    struct node *node;
    struct api_request *request;
};

static bool add_vm(void *context, const struct node_vm *vm)
{
    struct listing *listing = context;
    struct api_vm_view view;
    node_view_vm(listing->node, vm, &listing->node->serve->buffer, &view);
    api_list_add_vm(listing->request, &view);
    return true;
}

static void serve_vms(void *context, struct api_request *request)
{
    struct listing listing = {context, request};
    api_list_begin(request, API_LIST_VMS);
    node_vm_each(listing.node, add_vm, &listing);
    api_list_end(request);
}

static void serve_events(void *context, struct api_request *request)
{
    struct node *node = context;
    node_events_subscribe(node->events, request);
}

static void serve_run(void *context, struct api_request *request, const struct api_run *run)
{
    struct node *node = context;
    node_requests_run(node->requests, request, run);
}

static void serve_placement(void *context, struct api_request *request, const struct api_run *run)
{
    struct node *node = context;
    node_requests_placement(node->requests, request, run);
}

static void set_cordon(struct node *node, struct api_request *request, const struct api_who *who,
                       bool cordoned)
{
    struct node_member member;
    if (!node_serve_member(node, request, who, &member))
        return;
    if (!ppn_node_id_equal(&member.id, &node->identity.id)) {
        node_remote_forward(node->remote, request, &member.id);
        return;
    }
    node_self_cordon(node->self, cordoned);
    api_reply_node(request, &member.id, member.name);
}

static void serve_cordon(void *context, struct api_request *request, const struct api_who *who)
{
    set_cordon(context, request, who, true);
}

static void serve_uncordon(void *context, struct api_request *request, const struct api_who *who)
{
    set_cordon(context, request, who, false);
}

static const char *path_reason(const struct node *node, const struct wg_peer_status *status)
{
    if (node_mesh_backend(node->mesh) == WG_BACKEND_PLAIN)
        return "the mesh runs without encryption (--mesh plain)";
    switch (status->state) {
    case WG_PEER_CONNECTED:
        return "packets go straight to the node's endpoint";
    case WG_PEER_IDLE:
        return "nothing was sent lately";
    case WG_PEER_CONNECTING:
        return "no handshake on any endpoint tried so far";
    case WG_PEER_NO_CANDIDATE:
        return "this node knows no endpoint of it: it must call us";
    }
    return "";
}

/* The way that was proven, in words, and what a person can do for a better one. */
static void describe_way(const struct node *node, const struct path_way *way,
                         struct api_path_view *view, char *advice, size_t capacity)
{
    static const char *const reasons[] = {
        [PATH_LAN] = "both are in one local network",
        [PATH_PUBLIC] = "one of the two has a public address",
        [PATH_PUNCHED] = "packets pass the routers between, which keep the port open",
        [PATH_RELAY] = "the routers between let no packet through that is not expected: a relay "
                       "passes on what it cannot read",
        [PATH_TCP] = "no UDP passes between the two: packets go over TCP to the relay that runs "
                     "beside the node",
        [PATH_RELAY_TCP] = "this network lets no UDP out: a relay over TCP passes on what it "
                           "cannot read",
    };
    view->path = node_paths_class_name(way->class);
    view->reason = reasons[way->class];
    view->round_trip_us = way->rtt.ns / 1000;
    if (way->asked > 0)
        view->loss_per_mille = (int32_t)(1000 - 1000 * way->answered / way->asked);
    if (way->class >= PATH_TCP && node_mesh_udp_blocked(node->mesh)) {
        (void)snprintf(advice, capacity,
                       "relays are reached over TCP %u: let UDP out of this network to their ports "
                       "%u and above",
                       PPN_PORT_RELAY_TCP, PPN_PORT_PUBLIC);
        view->advice = advice;
    }
    if (way->class != PATH_RELAY)
        return;
    (void)snprintf(advice, capacity,
                   "for a straight way: open UDP %u towards one of the two, and start it with "
                   "--advertise",
                   node->options.listen.port);
    view->advice = advice;
}

static void serve_path(void *context, struct api_request *request, const struct api_who *who)
{
    struct node *node = context;
    struct node_member member;
    struct gossip_member seen;
    struct wg_peer_status status = {0};
    char endpoint[OS_ENDPOINT_TEXT], advice[160];
    if (!node_serve_member(node, request, who, &member))
        return;
    struct api_path_view view = {
        .id = member.id,
        .node = member.name,
        .path = "none",
        .handshake_ms_ago = -1,
        .round_trip_us = -1,
        .loss_per_mille = -1,
    };
    if (ppn_node_id_equal(&member.id, &node->identity.id)) {
        view.path = "self";
        view.reason = "this is the node itself";
        api_reply_path(request, &view);
        return;
    }
    if (node_mesh_status(node->mesh, &member.id, &status) == PPN_OK) {
        view.received_bytes = status.rx_bytes;
        view.sent_bytes = status.tx_bytes;
        if (status.has_handshake)
            view.handshake_ms_ago = ppn_to_ms(status.handshake_age);
        if (status.state == WG_PEER_CONNECTED || status.state == WG_PEER_IDLE)
            view.path = "direct";
        if (status.has_endpoint) {
            os_endpoint_text(&status.endpoint, endpoint);
            view.endpoint = endpoint;
        }
        view.reason = path_reason(node, &status);
        if (status.state == WG_PEER_CONNECTING || status.state == WG_PEER_NO_CANDIDATE) {
            (void)snprintf(advice, sizeof(advice),
                           "open UDP %u towards one of the two nodes, or start it with --advertise",
                           node->options.listen.port);
            view.advice = advice;
        }
    }
    if (node_mesh_backend(node->mesh) == WG_BACKEND_PLAIN)
        view.path = "plain";
    const struct path_way *way = node_mesh_way(node->mesh, &member.id);
    if (way != NULL)
        describe_way(node, way, &view, advice, sizeof(advice));
    else if (node_gossip_member(node, &member.id, &seen) == PPN_OK && seen.rtt_us > 0)
        view.round_trip_us = seen.rtt_us;
    api_reply_path(request, &view);
}

static void serve_labels(void *context, struct api_request *request,
                         const struct api_labels *labels)
{
    struct node *node = context;
    struct ppn_failure failure = {0};
    for (uint32_t i = 0; i < labels->change_count; i++) {
        const struct api_label_change *change = &labels->changes[i];
        if (node_self_label(node->self, change->label.key,
                            change->remove ? NULL : change->label.value, &failure) != PPN_OK) {
            api_reply_failure(request, &failure);
            return;
        }
    }
    api_reply_node(request, &node->identity.id, node->name);
}

static void stop_soon(void *context)
{
    struct node *node = context;
    os_loop_stop(node->loop);
}

static void serve_leave(void *context, struct api_request *request)
{
    struct node *node = context;
    if (node->gossip == NULL) {
        api_reply_error(request, PPN_ERROR_CONFLICT, "this node takes no part in a network");
        return;
    }
    node_gossip_leave(node->gossip);
    api_reply_done(request, "this node said goodbye and stops; start ppn-node to come back");
    os_timer_stop(&node->leave_timer);
    os_timer_init(&node->leave_timer, node->loop, stop_soon, node);
    os_timer_after(&node->leave_timer, ppn_ms(300));
}

static void fill_backend(struct api_backend *backend, struct node *node)
{
    *backend = (struct api_backend){
        .context = node,
        .status = serve_status,
        .nodes = serve_nodes,
        .vms = serve_vms,
        .events = serve_events,
        .run = serve_run,
        .placement = serve_placement,
        .vm_stop = node_serve_vm_stop,
        .vm_kill = node_serve_vm_kill,
        .vm_start = node_serve_vm_start,
        .vm_remove = node_serve_vm_remove,
        .vm_logs = node_serve_vm_logs,
        .vm_console = node_serve_vm_console,
        .vm_channel = node_serve_vm_channel,
        .joins = node_serve_joins,
        .join_admit = node_serve_join_admit,
        .join_deny = node_serve_join_deny,
        .node_revoke = node_serve_node_revoke,
        .invite = node_serve_invite,
        .node_cordon = serve_cordon,
        .node_uncordon = serve_uncordon,
        .node_path = serve_path,
        .labels = serve_labels,
        .leave = serve_leave,
        .log = node_serve_log,
        .log_export = node_serve_log_export,
        .log_submit = node_serve_log_submit,
        .images = node_serve_images,
        .image_put = node_serve_image_put,
        .image_remove = node_serve_image_remove,
        .image_fetch = node_serve_image_fetch,
    };
}

enum ppn_error node_serve_open(struct node *node, struct node_serve **out,
                               struct ppn_failure *failure)
{
    struct node_serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct api_server_config config = {
        .path = node->options.socket, .group = "ppn", .backend = &serve->backend};
    serve->node = node;
    fill_backend(&serve->backend, node);
    *out = serve;
    return api_server_open(node->loop, &config, &serve->server, failure);
}

void node_serve_close(struct node_serve *serve)
{
    if (serve == NULL)
        return;
    api_server_close(serve->server);
    free(serve);
}
