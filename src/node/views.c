// SPDX-License-Identifier: ISC
#include "node/views.h"

#include <stdio.h>
#include <string.h>

#include "node/gossip.h"
#include "node/join_client.h"
#include "node/joins.h"
#include "node/labels.h"
#include "node/log.h"
#include "node/mesh.h"
#include "node/paths.h"
#include "node/relay.h"
#include "node/requests.h"
#include "os/os_address.h"
#include "placement/placement.h"

static enum api_node_state node_state(enum gossip_state state)
{
    switch (state) {
    case GOSSIP_ALIVE:
        return API_NODE_ALIVE;
    case GOSSIP_UNKNOWN:
    case GOSSIP_SUSPECT:
        return API_NODE_SUSPECT;
    case GOSSIP_UNREACHABLE:
    case GOSSIP_DEAD:
        return API_NODE_DEAD;
    case GOSSIP_LEFT:
        return API_NODE_LEFT;
    }
    return API_NODE_SUSPECT;
}

static const char *state_detail(const struct gossip_member *member)
{
    switch (member->state) {
    case GOSSIP_UNKNOWN:
        return "admitted, not heard of yet";
    case GOSSIP_UNREACHABLE:
        return "cannot be reached from here";
    case GOSSIP_SUSPECT:
    case GOSSIP_DEAD:
        return member->cause == GOSSIP_CAUSE_REFUSED ? "the machine answers, ppn-node does not run"
                                                     : "the machine does not answer";
    case GOSSIP_ALIVE:
        return member->path_degraded ? "reached badly from here" : NULL;
    case GOSSIP_LEFT:
        return NULL;
    }
    return NULL;
}

static const char *path_name(const struct node *node, const struct ppn_node_id *id)
{
    struct wg_peer_status status;
    if (node_mesh_backend(node->mesh) == WG_BACKEND_PLAIN)
        return "plain";
    if (node_mesh_status(node->mesh, id, &status) != PPN_OK)
        return NULL;
    const struct path_way *way = node_mesh_way(node->mesh, id);
    if (way != NULL)
        return node_paths_class_name(way->class);
    return status.has_handshake ? "direct" : NULL;
}

static uint64_t memory_free(const struct ppn_profile *profile, const struct ppn_load *load)
{
    uint64_t taken = load->memory_reserved_bytes + PLACEMENT_HOST_RESERVE_BYTES;
    uint64_t left = profile->memory_total_bytes > taken ? profile->memory_total_bytes - taken : 0;
    return left < load->memory_available_bytes ? left : load->memory_available_bytes;
}

/* What the log says of a machine is known before the machine was ever heard. */
static void show_labels(const struct node *node, struct node_view_buffer *buffer,
                        struct api_node_view *view)
{
    node_labels_given(node, &view->id, &buffer->given);
    if (view->profile == NULL && buffer->given.count > 0) {
        buffer->profile = (struct ppn_profile){0};
        view->profile = &buffer->profile;
    }
    if (view->profile != NULL)
        node_labels_lay(&buffer->profile, &buffer->given);
    view->given_label_count = buffer->given.count;
}

bool node_view_node(const struct node *node, const struct ppn_node_id *id,
                    struct node_view_buffer *buffer, struct api_node_view *view)
{
    struct gossip_member member;
    if (!node_member_by_id(node, id, &buffer->member))
        return false;
    *view = (struct api_node_view){
        .id = *id,
        .name = buffer->member.name,
        .mesh_address = buffer->member.address,
        .state = API_NODE_SUSPECT,
        .relay = buffer->member.relay,
        .lease_until_unix_ms = buffer->member.lease_until_unix_ms,
        .self = ppn_node_id_equal(id, &node->identity.id),
        .seen_ms_ago = -1,
        .round_trip_us = -1,
    };
    struct relay_count forwarded, over_rate;
    view->relays = node_relay_use(node->relay, id, &forwarded, &over_rate);
    view->relayed_bytes = view->relays ? forwarded.bytes : 0;
    view->relayed_over_rate_packets = view->relays ? over_rate.packets : 0;
    if (view->self) {
        view->state = API_NODE_ALIVE;
        buffer->profile = *node_self_profile(node);
        buffer->load = *node_self_load(node);
        view->profile = &buffer->profile;
        view->load = &buffer->load;
    }
    if (node_gossip_member(node, id, &member) == PPN_OK) {
        view->incarnation = (uint64_t)member.epoch << 32 | member.incarnation;
        if (!view->self) {
            view->state = node_state(member.state);
            view->state_detail = state_detail(&member);
            view->profile =
                node_member_profile(&member, &buffer->profile) ? &buffer->profile : NULL;
            view->load = node_member_load(&member, &buffer->load) ? &buffer->load : NULL;
            if (member.heard.ns != INT64_MIN)
                view->seen_ms_ago = ppn_to_ms(ppn_between(member.heard, os_now(node->loop)));
            if (member.rtt_us > 0)
                view->round_trip_us = member.rtt_us;
            view->path = path_name(node, id);
        }
    }
    show_labels(node, buffer, view);
    if (view->profile != NULL && view->load != NULL)
        view->memory_free_bytes = memory_free(view->profile, view->load);
    return true;
}

void node_view_vm(const struct node *node, const struct node_vm *vm,
                  struct node_view_buffer *buffer, struct api_vm_view *view)
{
    struct gossip_member member;
    *view = (struct api_vm_view){.info = vm->info, .node_id = vm->node};
    view->node = node_member_name(node, &vm->node, buffer->fingerprint);
    if (!ppn_node_id_equal(&vm->node, &node->identity.id) &&
        node_gossip_member(node, &vm->node, &member) == PPN_OK)
        view->node_down = member.state == GOSSIP_DEAD || member.state == GOSSIP_UNREACHABLE;
    if (view->node_down)
        view->info.state = PPN_VM_LOST;
}

void node_view_join(const struct node *node, const struct node_join *join,
                    struct node_view_buffer *buffer, struct api_join_view *view)
{
    const struct admission_offer_facts *offers = &join->request.offers;
    struct ppn_profile *profile = &buffer->offers;
    *profile = (struct ppn_profile){
        .cpus = offers->cpus,
        .memory_total_bytes = offers->memory_bytes,
        .disk_total_bytes = offers->disk_bytes,
        .kvm = offers->kvm,
    };
    (void)ppn_text_copy(profile->arch, sizeof(profile->arch), offers->arch);
    os_address_text(join->from.address, buffer->address);
    admission_words(admission_crypto_sodium(), &node->network, &join->request.node,
                    join->request.wg_key, buffer->words);
    *view = (struct api_join_view){
        .id = join->request.node,
        .name = join->request.name,
        .address = buffer->address,
        .asked_unix_ms = join->asked_unix_ms,
        .offers = profile,
        .invited = join->request.has_invite,
        .lease_ended =
            admission_standing(node_log_core(node->log), &join->request.node) == ADMISSION_EXPIRED,
        .wg_key = join->request.wg_key,
        .words = buffer->words,
    };
}

/* Who an entry is about, where it is about somebody. */
static void entry_subject(const struct admission_entry *entry, struct ppn_node_id *id, char *name)
{
    switch (entry->kind) {
    case ADMISSION_ADMIT:
        *id = entry->as.admit.node;
        (void)ppn_text_copy(name, PPN_NAME_MAX + 1, entry->as.admit.name);
        return;
    case ADMISSION_REDEEM:
        *id = entry->as.redeem.node;
        (void)ppn_text_copy(name, PPN_NAME_MAX + 1, entry->as.redeem.name);
        return;
    case ADMISSION_DENY:
        *id = entry->as.deny.node;
        return;
    case ADMISSION_REVOKE:
        *id = admission_key_node(&entry->as.revoke.subject);
        return;
    case ADMISSION_REKEY:
        *id = admission_key_node(&entry->author);
        return;
    case ADMISSION_INVITE:
        *id = admission_key_node(&entry->as.invite.key);
        return;
    case ADMISSION_GENESIS:
    case ADMISSION_ADMIN_ADD:
    case ADMISSION_ADMIN_REMOVE:
    case ADMISSION_POLICY:
    case ADMISSION_SEAL:
    case ADMISSION_RECOVER:
    case ADMISSION_CHECKPOINT:
        return;
    }
}

void node_view_entry(const struct node *node, uint32_t index, struct node_view_buffer *buffer,
                     struct api_log_entry_view *view)
{
    static struct admission_entry entry;
    char why[ADMISSION_TEXT_MAX];
    const struct admission *log = node_log_core(node->log);
    struct admission_record record = admission_record_at(log, index);
    admission_record_entry(log, index, &entry);
    admission_describe(log, index, buffer->text);
    if (!record.live) {
        size_t size = strlen(buffer->text);
        admission_explain(log, index, why);
        (void)snprintf(buffer->text + size, sizeof(buffer->text) - size, " [%s]", why);
    }
    *view = (struct api_log_entry_view){
        .id = record.id,
        .kind = admission_kind_name(record.kind),
        .author = admission_key_node(&record.author),
        .sequence = record.seq,
        .unix_ms = record.time_unix_ms,
        .effective = record.live,
        .text = buffer->text,
        .parents = buffer->parents,
        .parent_count = entry.parent_count,
    };
    memcpy(buffer->parents, entry.parents, sizeof(buffer->parents));
    buffer->subject[0] = '\0';
    entry_subject(&entry, &view->subject_id, buffer->subject);
    if (!ppn_node_id_is_zero(&view->subject_id) && buffer->subject[0] == '\0')
        (void)ppn_text_copy(buffer->subject, sizeof(buffer->subject),
                            node_member_name(node, &view->subject_id, buffer->author));
    view->subject = buffer->subject[0] != '\0' ? buffer->subject : NULL;
    const struct admission_member *author = admission_member_by_id(log, &view->author);
    view->author_name = author != NULL ? author->name : NULL;
}

static const char *phase_text(const struct node *node)
{
    switch (node->phase) {
    case NODE_STARTING:
        return "starting";
    case NODE_JOINING:
    case NODE_DENIED:
        return node->join_client != NULL ? node_join_client_phase(node->join_client) : "joining";
    case NODE_MEMBER:
        return "member";
    case NODE_REVOKED:
        return "revoked";
    }
    return "starting";
}

static enum api_mesh_mode mesh_mode(const struct node *node)
{
    switch (node_mesh_backend(node->mesh)) {
    case WG_BACKEND_KERNEL:
        return API_MESH_KERNEL;
    case WG_BACKEND_USERSPACE:
        return API_MESH_USERSPACE;
    case WG_BACKEND_PLAIN:
        return API_MESH_PLAIN;
    case WG_BACKEND_NONE:
        return API_MESH_STARTING;
    }
    return API_MESH_STARTING;
}

static bool count_vm(void *context, const struct node_vm *vm)
{
    struct api_status *view = context;
    if (ppn_node_id_equal(&vm->node, &view->id)) {
        view->vms_here++;
        view->vms_running_here += vm->info.state == PPN_VM_RUNNING;
    }
    return true;
}

static struct api_gossip_view gossip_view(const struct node *node)
{
    struct gossip_counters counters;
    const struct gossip *gossip = node->gossip != NULL ? node_gossip_core(node->gossip) : NULL;
    if (gossip == NULL)
        return (struct api_gossip_view){0};
    gossip_counters(gossip, &counters);
    return (struct api_gossip_view){.packets_sent = counters.packets_sent,
                                    .packets_received = counters.packets_received,
                                    .membership_bytes_sent = counters.bytes_membership,
                                    .heartbeat_bytes_sent = counters.bytes_load,
                                    .rejected = counters.rejected,
                                    .deferred = counters.deferred,
                                    .health = counters.health};
}

static const struct api_relay_view *relay_view(const struct node *node, struct api_relay_view *view)
{
    struct relay_stats stats;
    if (!node_relay_stats(node->relay, &stats))
        return NULL;
    const struct relay_count *count = stats.count;
    *view = (struct api_relay_view){
        .port = node_relay_port(node->relay),
        .members = stats.members,
        .mailboxes = stats.mailboxes,
        .binds = stats.binds,
        .forwarded_packets = count[RELAY_FORWARD].packets,
        .forwarded_bytes = count[RELAY_FORWARD].bytes,
        .unbound = count[RELAY_DROP_UNBOUND].packets + count[RELAY_DROP_SHAPE].packets,
        .one_sided = count[RELAY_DROP_PEER].packets,
        .over_rate = count[RELAY_DROP_RATE].packets,
        .forged = count[RELAY_DROP_FORGED].packets + count[RELAY_DROP_STALE].packets,
        .not_taken = count[RELAY_DROP_SEND].packets,
        .tcp_port = node_relay_tcp_port(node->relay),
    };
    const struct bridge_report *tcp = node_relay_tcp(node->relay);
    if (tcp != NULL) {
        view->tcp_connections = tcp->open;
        view->tcp_refused = tcp->refused;
        view->tcp_bytes = tcp->up_bytes + tcp->down_bytes;
        view->tcp_dropped_packets = tcp->dropped_packets;
    }
    return view;
}

void node_view_status(const struct node *node, struct node_view_buffer *buffer,
                      struct api_status *view)
{
    static const uint8_t none[16];
    const struct admission *log = node_log_core(node->log);
    struct node_member member;
    uint32_t cursor = 0;
    (void)snprintf(buffer->path, sizeof(buffer->path), "%s/keys/admin.key",
                   node->options.state_dir);
    *view = (struct api_status){
        .network = node->network_name[0] != '\0' ? node->network_name : NULL,
        .network_id = node->network,
        .id = node->identity.id,
        .name = node->name,
        .version = PPN_VERSION,
        .phase = phase_text(node),
        .mesh = mesh_mode(node),
        .mesh_interface = node->options.interface,
        .listen_port = node->options.listen.port,
        .admin = node->identity.has_admin,
        .admin_key_file = node->identity.has_admin ? buffer->path : NULL,
        .cordoned = node->settings.cordoned,
        .joins_waiting = node_joins_count(node->joins),
        .log_entries = admission_entry_count(log),
        .relay = relay_view(node, &buffer->relay),
        .udp_blocked = node_mesh_udp_blocked(node->mesh),
        .uptime_ms = ppn_to_ms(ppn_between(node->started, os_now(node->loop))),
        .gossip = gossip_view(node),
    };
    view->endpoint_count = node_self_profile(node)->candidate_count;
    view->endpoints = node_self_profile(node)->candidates;
    if (memcmp(node->mesh_address, none, sizeof(none)) != 0)
        view->mesh_address = node->mesh_address;
    if (view->log_entries > 0)
        view->log_head = admission_digest(log);
    while (node_member_next(node, &cursor, &member)) {
        struct api_node_view row;
        if (!node_view_node(node, &member.id, buffer, &row))
            continue;
        view->nodes_alive += row.state == API_NODE_ALIVE;
        view->nodes_suspect += row.state == API_NODE_SUSPECT;
        view->nodes_dead += row.state == API_NODE_DEAD;
    }
    node_vm_each(node, count_vm, view);
    node_alarms_read(node, &buffer->alarms);
    view->alarm_count = buffer->alarms.count;
    view->alarms = buffer->alarms.list;
    const char *warning = vm_host_warning(node_machines_host(node->machines));
    view->problem = node->problem[0] != '\0' ? node->problem : warning[0] != '\0' ? warning : NULL;
}
