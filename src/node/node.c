// SPDX-License-Identifier: ISC
#include "node/node.h"

#include <stdio.h>
#include <string.h>

#include "admission/admission.h"
#include "base/assert.h"
#include "base/log.h"
#include "node/events.h"
#include "node/gossip.h"
#include "node/images.h"
#include "node/join_client.h"
#include "node/join_server.h"
#include "node/joins.h"
#include "node/log.h"
#include "node/machines.h"
#include "node/mesh.h"
#include "node/notify.h"
#include "node/peers.h"
#include "node/rekey.h"
#include "node/relay.h"
#include "node/remote.h"
#include "node/requests.h"
#include "node/self.h"
#include "node/serve.h"
#include "node/settings.h"
#include "os/os_file.h"
#include "os/os_notify.h"
#include "os/os_random.h"

enum {
    WORKER_THREADS = 2,
    REJOIN_FIRST_S = 4,
    FRESH_LOG_MS = 2000, /* a start waits so long for the log of others */
    REJOIN_AFTER_S = 20  /* a member that sees nobody asks a seed what it missed */
};

void node_fatal(struct node *node, const char *event, const char *text)
{
    ppn_log(PPN_LOG_ERROR, event, "text=\"%s\"", text);
    node->exit_code = 1;
    os_loop_stop(node->loop);
}

static void on_store_fatal(void *context, const char *text)
{
    node_fatal(context, "store", text);
}

static enum ppn_error make_directories(struct node *node, struct ppn_failure *failure)
{
    char parent[NODE_PATH_MAX + 1];
    (void)ppn_text_copy(parent, sizeof(parent), node->options.socket);
    char *slash = strrchr(parent, '/');
    enum ppn_error error = os_directory_make_all(node->options.state_dir, 0711, failure);
    if (error == PPN_OK && slash != NULL && slash != parent) {
        *slash = '\0';
        if (!os_file_exists(parent))
            error = os_directory_make_all(parent, 0755, failure);
    }
    return error;
}

static void choose_name(struct node *node)
{
    char host[PPN_NAME_MAX + 1] = {0};
    size_t size = 0;
    if (node->options.name[0] != '\0') {
        (void)ppn_text_copy(node->name, sizeof(node->name), node->options.name);
    } else if (node->settings.name[0] != '\0') {
        (void)ppn_text_copy(node->name, sizeof(node->name), node->settings.name);
    } else {
        if (os_file_read_text("/proc/sys/kernel/hostname", host, sizeof(host)) != PPN_OK)
            host[0] = '\0';
        for (const char *c = host; *c != '\0' && *c != '.' && size < PPN_NAME_MAX; c++) {
            char lower = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
            bool fine = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                        (lower == '-' && size > 0);
            if (fine)
                node->name[size++] = lower;
        }
        while (size > 0 && node->name[size - 1] == '-')
            size--;
        node->name[size] = '\0';
        if (!ppn_name_valid(node->name))
            (void)ppn_text_copy(node->name, sizeof(node->name), "node");
    }
    if (strcmp(node->settings.name, node->name) != 0) {
        (void)ppn_text_copy(node->settings.name, sizeof(node->settings.name), node->name);
        node_settings_save(node);
    }
}

static enum ppn_error open_state(struct node *node, struct ppn_failure *failure)
{
    struct store_config store = {
        .directory = node->options.state_dir, .on_fatal = on_store_fatal, .context = node};
    enum ppn_error error = make_directories(node, failure);
    if (error == PPN_OK)
        error = store_open(node->loop, &store, &node->store, failure);
    if (error == PPN_OK)
        error = node_identity_open(node->options.state_dir, &node->identity, failure);
    if (error == PPN_OK)
        error = node_settings_load(node, failure);
    if (error == PPN_OK)
        error = os_worker_open(node->loop, WORKER_THREADS, &node->worker, failure);
    if (error != PPN_OK)
        return error;
    node->network = node->settings.network;
    (void)ppn_text_copy(node->network_name, sizeof(node->network_name),
                        node->settings.network_name);
    choose_name(node);
    return PPN_OK;
}

static enum ppn_error open_flows(struct node *node, struct ppn_failure *failure)
{
    enum ppn_error error = node_log_open(node, &node->log, failure);
    if (error == PPN_OK)
        error = node_rekey_open(node, &node->rekey, failure);
    if (error == PPN_OK)
        error = node_images_open(node, &node->images, failure);
    if (error == PPN_OK)
        error = node_machines_open(node, &node->machines, failure);
    if (error == PPN_OK)
        error = node_requests_open(node, &node->requests, failure);
    if (error == PPN_OK)
        error = node_self_open(node, &node->self, failure);
    if (error != PPN_OK)
        return error;
    node->events = node_events_open(node);
    node->joins = node_joins_open(node);
    node->remote = node_remote_open(node);
    if (node->events == NULL || node->joins == NULL || node->remote == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    return node_serve_open(node, &node->serve, failure);
}

static bool lease_over(const struct node *node)
{
    return admission_standing(node_log_core(node->log), &node->identity.id) == ADMISSION_EXPIRED;
}

/* Others were reached in this network before, so where is known; the token that it came in by is
 * used, and a request without it waits for a person's word. */
static enum ppn_error ask_for_renewal(struct node *node, struct ppn_failure *failure)
{
    node_join_client_close(node->join_client);
    node->join_client = NULL;
    node->options.token[0] = '\0';
    (void)ppn_text_copy(node->problem, sizeof(node->problem),
                        "the lease of this machine ended; an admin renews it (ppn seal --renew "
                        "TIME) or admits it anew (ppn admit)");
    node->phase = NODE_MEMBER; /* so that it may try where it met members */
    enum ppn_error error = node_join_client_open(node, &node->join_client, failure);
    node->phase = NODE_JOINING;
    return error;
}

/* Founding twice is refused, unless it is the same name again: then it was done already. */
static enum ppn_error found_or_join(struct node *node, struct ppn_failure *failure)
{
    const char *network = node->options.found;
    bool founded = admission_founded(node_log_core(node->log));
    if (network[0] != '\0' && founded &&
        strcmp(admission_network_name(node_log_core(node->log)), network) != 0)
        return ppn_fail(failure, PPN_ERROR_CONFLICT,
                        "this state directory belongs to the network %s; use another --state-dir "
                        "to found %s",
                        admission_network_name(node_log_core(node->log)), network);
    if (network[0] != '\0' && !founded) {
        enum ppn_error error =
            node_identity_found(node->options.state_dir, &node->identity, failure);
        if (error == PPN_ERROR_EXISTS)
            error = PPN_OK;
        if (error == PPN_OK)
            error = node_log_found(node->log, network, failure);
        if (error != PPN_OK)
            return error;
    }
    node_log_start(node->log);
    if (node->phase == NODE_MEMBER)
        return PPN_OK;
    if (lease_over(node))
        return ask_for_renewal(node, failure);
    node->phase = NODE_JOINING;
    return node_join_client_open(node, &node->join_client, failure);
}

enum ppn_error node_start(struct node *node, struct ppn_failure *failure)
{
    node->boot = os_random_u64();
    node->started = os_now(node->loop);
    enum ppn_error error = open_state(node, failure);
    if (error == PPN_OK)
        error = open_flows(node, failure);
    if (error == PPN_OK)
        error = found_or_join(node, failure);
    if (error == PPN_OK)
        os_notify("READY=1");
    return error;
}

void node_learn_path(struct node *node, const struct ppn_node_id *id,
                     const struct ppn_endpoint *endpoints, uint32_t count)
{
    uint8_t row[WIRE_REACHED_MAX];
    struct ppn_writer writer = ppn_writer(row, sizeof(row));
    struct wire_reached reached = {.count = count};
    PPN_ASSERT(count > 0 && count <= PPN_ENDPOINTS_MAX);
    memcpy(reached.endpoints, endpoints, count * sizeof(*endpoints));
    if (wire_reached_encode(&reached, &writer) == PPN_OK)
        store_view_put(node->store, STORE_VIEW_PATHS, ppn_slice(id->bytes, sizeof(id->bytes)),
                       ppn_written(&writer));
    if (node->mesh != NULL) {
        node_mesh_hint(node->mesh, id, &endpoints[0]);
    } else if (node->hint_count < NODE_HINTS_MAX) {
        node->hints[node->hint_count++] = (struct node_hint){*id, endpoints[0]};
    }
}

static bool hint_path(void *context, struct ppn_slice key, struct ppn_slice value,
                      enum ppn_error error)
{
    struct node *node = context;
    struct wire_reached reached;
    struct ppn_node_id id;
    if (error != PPN_OK || key.size != sizeof(id.bytes) ||
        wire_reached_decode(value, &reached) != PPN_OK)
        return true;
    memcpy(id.bytes, key.data, sizeof(id.bytes));
    if (reached.count > 0)
        node_mesh_hint(node->mesh, &id, &reached.endpoints[0]);
    return true;
}

static void look_around(void *context)
{
    struct node *node = context;
    struct node_member member;
    struct ppn_failure failure = {0};
    uint32_t cursor = 0, others = 0, alive = 0;
    while (node_member_next(node, &cursor, &member)) {
        bool self = ppn_node_id_equal(&member.id, &node->identity.id);
        others += !self;
        alive += !self && node_member_alive(node, &member.id);
    }
    if (others > 0 && alive == 0 && node->join_client == NULL && node->phase == NODE_MEMBER) {
        if (node_join_client_open(node, &node->join_client, &failure) != PPN_OK)
            node->join_client = NULL;
    } else if (alive > 0 && node->join_client != NULL) {
        node_join_client_close(node->join_client);
        node->join_client = NULL;
    }
    os_timer_after(&node->leave_timer, ppn_seconds(REJOIN_AFTER_S));
}

static void remember_network(struct node *node)
{
    struct wire_settings *settings = &node->settings;
    settings->network = node->network;
    (void)ppn_text_copy(settings->network_name, sizeof(settings->network_name), node->network_name);
    node_settings_save(node);
}

void node_open_mesh(struct node *node)
{
    struct ppn_failure failure = {0};
    if (node->mesh != NULL || node->phase != NODE_MEMBER)
        return;
    if (node->leave_timer.loop != NULL)
        os_timer_stop(&node->leave_timer);
    if (node_mesh_open(node, &node->mesh, &failure) != PPN_OK) {
        node_fatal(node, "start", failure.text);
        return;
    }
    os_timer_init(&node->leave_timer, node->loop, look_around, node);
    os_timer_after(&node->leave_timer, ppn_seconds(REJOIN_FIRST_S));
}

static void waited_for_log(void *context)
{
    node_open_mesh(context);
}

void node_become_member(struct node *node)
{
    struct ppn_failure failure = {0};
    char fingerprint[PPN_FINGERPRINT_TEXT];
    bool joined = node->phase == NODE_JOINING;
    node->phase = NODE_MEMBER;
    node->problem[0] = '\0';
    remember_network(node);
    ppn_fingerprint(&node->identity.id, fingerprint);
    ppn_log(PPN_LOG_INFO, "member", "network=%s name=%s fingerprint=%s", node->network_name,
            node->name, fingerprint);
    enum ppn_error error = node_join_server_open(node, &node->join_server, &failure);
    if (error != PPN_OK) {
        node_fatal(node, "start", failure.text);
        return;
    }
    /* Somebody may have been revoked while this node was off. Before it talks to any peer it asks a
     * seed for the log, outside the mesh; a joiner has just done that. */
    if (joined || admission_member_count(node_log_core(node->log)) < 2 ||
        node_join_client_open(node, &node->join_client, &failure) != PPN_OK) {
        node_open_mesh(node);
        return;
    }
    os_timer_init(&node->leave_timer, node->loop, waited_for_log, node);
    os_timer_after(&node->leave_timer, ppn_ms(FRESH_LOG_MS));
}

/* What members said of their endpoints before this start. */
static void hint_restored(struct node *node)
{
    struct node_member member;
    struct gossip_member seen;
    struct ppn_profile profile;
    uint32_t cursor = 0;
    while (node_member_next(node, &cursor, &member)) {
        if (!ppn_node_id_equal(&member.id, &node->identity.id) &&
            node_gossip_member(node, &member.id, &seen) == PPN_OK &&
            node_member_profile(&seen, &profile))
            node_mesh_candidates(node->mesh, &member.id, &profile);
    }
}

/* The interface is there: its address can be used. */
void node_notify_mesh(struct node *node, const struct ppn_failure *failure)
{
    struct ppn_failure why = {0};
    char text[PPN_FAILURE_TEXT_MAX];
    if (failure != NULL) {
        node_fatal(node, "mesh", failure->text);
        return;
    }
    if (store_scan(node->store, STORE_VIEW_PATHS, ppn_slice(NULL, 0), hint_path, node) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "paths", "text=\"stored endpoints could not be read\"");
    for (uint32_t i = 0; i < node->hint_count; i++)
        node_mesh_hint(node->mesh, &node->hints[i].id, &node->hints[i].endpoint);
    node->hint_count = 0;
    enum ppn_error error = node_peers_open(node, &node->peers, &why);
    if (error == PPN_OK)
        error = node_gossip_open(node, &node->gossip, &why);
    if (error != PPN_OK) {
        node_fatal(node, "start", why.text);
        return;
    }
    hint_restored(node);
    if (node->relay == NULL)
        node->relay = node_relay_open(node);
    node_self_publish(node->self);
    node_gossip_start(node->gossip);
    (void)snprintf(text, sizeof(text), "STATUS=member of %s as %s", node->network_name, node->name);
    os_notify(text);
}

/* wireguard-go was started anew: what is bound to its old interface hears nothing. */
void node_notify_mesh_reset(struct node *node)
{
    struct ppn_failure failure = {0};
    enum ppn_error error = PPN_OK;
    if (node->peers == NULL || node->gossip == NULL)
        return;
    node_peers_close(node->peers);
    node->peers = NULL;
    error = node_peers_open(node, &node->peers, &failure);
    if (error == PPN_OK)
        error = node_gossip_rebind(node->gossip, &failure);
    if (error != PPN_OK)
        node_fatal(node, "mesh", failure.text);
}

static void take_no_part(struct node *node)
{
    node_gossip_close(node->gossip);
    node_peers_close(node->peers);
    node_join_server_close(node->join_server);
    node_mesh_close(node->mesh, true);
    node_relay_close(node->relay);
    node->relay = NULL;
    node->gossip = NULL;
    node->peers = NULL;
    node->join_server = NULL;
    node->mesh = NULL;
}

void node_become_revoked(struct node *node)
{
    struct ppn_failure failure = {0};
    take_no_part(node);
    if (lease_over(node)) {
        ppn_log(PPN_LOG_ERROR, "lease-ended",
                "text=\"the lease of this machine ended; its VMs go on, and it asks to be let in "
                "again\"");
        node->lease_ended = true;
        if (ask_for_renewal(node, &failure) != PPN_OK)
            ppn_log(PPN_LOG_ERROR, "lease-ended", "cause=\"%s\"", failure.text);
        return;
    }
    ppn_log(PPN_LOG_ERROR, "revoked",
            "text=\"an admin revoked this machine; its VMs go on until they are stopped here\"");
    node->phase = NODE_REVOKED;
    (void)ppn_text_copy(node->problem, sizeof(node->problem),
                        "this machine was revoked; to join again remove its state directory");
}

void node_check_lease(struct node *node, const struct ppn_node_id *added, uint32_t count)
{
    for (uint32_t i = 0; i < count && node->lease_ended; i++) {
        if (!ppn_node_id_equal(&added[i], &node->identity.id))
            continue;
        node->lease_ended = false;
        ppn_log(PPN_LOG_INFO, "lease-renewed", "text=\"this machine is a member again\"");
        node_become_member(node);
    }
}

void node_stop(struct node *node)
{
    node->stopping = true;
    os_notify("STOPPING=1");
    if (node->leave_timer.loop != NULL)
        os_timer_stop(&node->leave_timer);
    node_serve_close(node->serve);
    node_remote_close(node->remote);
    node_join_client_close(node->join_client);
    node->join_client = NULL;
    node_join_server_close(node->join_server);
    node_peers_close(node->peers);
    node->peers = NULL;
    node_joins_close(node->joins);
    node_requests_close(node->requests);
    node_machines_close(node->machines);
    node_images_close(node->images);
    node_self_close(node->self);
    node_gossip_close(node->gossip);
    node_mesh_close(node->mesh, false);
    node_relay_close(node->relay);
    node->relay = NULL;
    node_events_close(node->events);
    if (node->worker != NULL)
        os_worker_close(node->worker);
    if (node->store != NULL)
        store_close(node->store);
    node_rekey_close(node->rekey);
    node_log_close(node->log);
    node_identity_wipe(&node->identity);
}
