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
#include "node/rekey.h"
#include "node/remote.h"
#include "node/requests.h"
#include "node/self.h"
#include "node/serve_internal.h"
#include "node/views.h"
#include "os/os_address.h"
#include "os/os_stream.h"

struct node_serve {
    struct node *node;
    struct api_backend backend, admin_backend;
    struct api_server *server, *admin_server;
    char admin_socket[OS_UNIX_PATH_MAX + 1];
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
        .node_path = node_serve_path,
        .labels = serve_labels,
        .rekey = node_serve_rekey,
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

/* What a person with an admin's key may use from afar: to read, and to hand in what was signed. It
 * is a list of what is there, so that nothing new is open to it by oversight. */
static void fill_admin_backend(struct api_backend *backend, struct node *node)
{
    *backend = (struct api_backend){
        .context = node,
        .closed = "an admin from outside can read and hand in what was signed, no more; do this on "
                  "a member",
        .status = serve_status,
        .nodes = serve_nodes,
        .vms = serve_vms,
        .joins = node_serve_joins,
        .log = node_serve_log,
        .log_export = node_serve_log_export,
        .log_submit = node_serve_log_submit,
    };
}

const char *node_serve_admin_socket(const struct node_serve *serve)
{
    return serve->admin_socket;
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
    fill_admin_backend(&serve->admin_backend, node);
    *out = serve;
    enum ppn_error error = api_server_open(node->loop, &config, &serve->server, failure);
    if (error != PPN_OK)
        return error;
    int size = snprintf(serve->admin_socket, sizeof(serve->admin_socket), "%s%s",
                        node->options.socket, ".admin");
    if (size < 0 || (size_t)size >= sizeof(serve->admin_socket))
        return ppn_fail(failure, PPN_ERROR_TOO_BIG,
                        "the path of the socket is too long: %s.admin does not fit",
                        node->options.socket);
    config =
        (struct api_server_config){.path = serve->admin_socket, .backend = &serve->admin_backend};
    return api_server_open(node->loop, &config, &serve->admin_server, failure);
}

void node_serve_close(struct node_serve *serve)
{
    if (serve == NULL)
        return;
    api_server_close(serve->server);
    api_server_close(serve->admin_server);
    free(serve);
}
