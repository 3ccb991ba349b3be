// SPDX-License-Identifier: ISC
#include "api/api_json.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* jansson's *_new functions take NULL values and then fail, so an object that ran out of memory
 * while it grew is found by looking at the result of each addition. */
static void put(json_t *object, const char *key, json_t *value, bool *failed)
{
    if (json_object_set_new(object, key, value) != 0)
        *failed = true;
}

struct maker {
    json_t *object;
    bool failed;
};

static struct maker maker(void)
{
    json_t *object = json_object();
    return (struct maker){object, object == NULL};
}

static json_t *made(struct maker *m)
{
    if (!m->failed)
        return m->object;
    json_decref(m->object);
    return NULL;
}

static void add(struct maker *m, const char *key, json_t *value)
{
    put(m->object, key, value, &m->failed);
}

static void add_text(struct maker *m, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    json_t *value = json_string(text);
    add(m, key, value != NULL ? value : json_string("?"));
}

static void add_u64(struct maker *m, const char *key, uint64_t value)
{
    add(m, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

static void add_i64(struct maker *m, const char *key, int64_t value)
{
    add(m, key, json_integer(value));
}

static void add_bool(struct maker *m, const char *key, bool value)
{
    add(m, key, json_boolean(value));
}

static void add_hex(struct maker *m, const char *key, const uint8_t *bytes, size_t size)
{
    char text[PPN_HEX_MAX];
    ppn_hex(bytes, size, text);
    add_text(m, key, text);
}

static void add_node_id(struct maker *m, const char *key, const struct ppn_node_id *id)
{
    add_hex(m, key, id->bytes, sizeof(id->bytes));
}

static void add_address(struct maker *m, const char *key, const uint8_t *address)
{
    char text[INET6_ADDRSTRLEN];
    if (address != NULL && inet_ntop(AF_INET6, address, text, sizeof(text)) != NULL)
        add_text(m, key, text);
}

static void add_fingerprint(struct maker *m, const struct ppn_node_id *id)
{
    char text[PPN_FINGERPRINT_TEXT];
    ppn_fingerprint(id, text);
    add_text(m, "fingerprint", text);
}

static const char *power_name(enum ppn_power power)
{
    return power == PPN_POWER_MAINS ? "mains" : power == PPN_POWER_BATTERY ? "battery" : "unknown";
}

static const char *link_name(enum ppn_link link)
{
    return link == PPN_LINK_CABLE ? "cable" : link == PPN_LINK_WIFI ? "wifi" : "unknown";
}

static void add_labels(struct maker *m, const struct ppn_label *labels, uint32_t count)
{
    struct maker list = maker();
    for (uint32_t i = 0; i < count && i < PPN_LABELS_MAX && !list.failed; i++) {
        json_t *value = json_string(labels[i].value);
        add(&list, labels[i].key, value != NULL ? value : json_string("?"));
    }
    add(m, "labels", made(&list));
}

/* Keys of the labels that the machine cannot change. */
static void add_label_keys(struct maker *m, const struct ppn_label *labels, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count && i < PPN_LABELS_MAX; i++)
        m->failed |= json_array_append_new(list, json_string(labels[i].key)) != 0;
    add(m, "labels_by_admin", list);
}

static void add_profile(struct maker *m, const struct ppn_profile *profile)
{
    add_text(m, "arch", profile->arch);
    add_text(m, "version", profile->version);
    add_u64(m, "cpus", profile->cpus);
    add_u64(m, "memory_total_bytes", profile->memory_total_bytes);
    add_u64(m, "disk_total_bytes", profile->disk_total_bytes);
    add_text(m, "kvm", api_kvm_name(profile->kvm));
    add_text(m, "isolation_max", api_isolation_name(profile->isolation_max));
    add_text(m, "link", link_name(profile->link));
    add_bool(m, "cordoned", profile->cordoned);
}

static void add_load(struct maker *m, const struct ppn_load *load)
{
    add_u64(m, "memory_available_bytes", load->memory_available_bytes);
    add_u64(m, "memory_reserved_bytes", load->memory_reserved_bytes);
    add_u64(m, "disk_free_bytes", load->disk_free_bytes);
    add_u64(m, "vcpus_reserved", load->vcpus_reserved);
    add_u64(m, "load_per_mille", load->load_per_mille);
    add_u64(m, "vm_count", load->vm_count);
    add_text(m, "power", power_name(load->power));
    if (load->battery_percent <= 100)
        add_u64(m, "battery_percent", load->battery_percent);
    add_bool(m, "lid_closed", load->lid_closed);
    add_bool(m, "throttled", load->throttled);
}

/* The keys that other programs rely on are there even when nothing was heard of the node yet. */
json_t *api_json_node(const struct api_node_view *node)
{
    static const struct ppn_profile silent_profile;
    const struct ppn_profile *profile = node->profile != NULL ? node->profile : &silent_profile;
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_node_id(&m, "id", &node->id);
    add(&m, "name", json_string(node->name != NULL ? node->name : ""));
    add_fingerprint(&m, &node->id);
    add_address(&m, "address", node->mesh_address);
    add_text(&m, "state", api_node_state_name(node->state));
    add_text(&m, "state_detail", node->state_detail);
    add_u64(&m, "incarnation", node->incarnation);
    add_bool(&m, "self", node->self);
    add_bool(&m, "relay", node->relay);
    if (profile->relay_port != 0)
        add_u64(&m, "relay_port", profile->relay_port);
    if (profile->relay_tcp_port != 0)
        add_u64(&m, "relay_tcp_port", profile->relay_tcp_port);
    if (node->relays) {
        add_u64(&m, "relayed_bytes", node->relayed_bytes);
        add_u64(&m, "relayed_over_rate_packets", node->relayed_over_rate_packets);
    }
    add_profile(&m, profile);
    add_u64(&m, "memory_free_bytes", node->load != NULL ? node->memory_free_bytes : 0);
    if (node->load != NULL)
        add_load(&m, node->load);
    add_labels(&m, profile->labels, profile->label_count);
    if (node->lease_until_unix_ms != 0)
        add_i64(&m, "lease_until_unix_ms", node->lease_until_unix_ms);
    if (node->given_label_count > 0)
        add_label_keys(&m, profile->labels, node->given_label_count);
    if (node->seen_ms_ago >= 0)
        add_i64(&m, "seen_ms_ago", node->seen_ms_ago);
    if (node->round_trip_us >= 0)
        add_i64(&m, "round_trip_us", node->round_trip_us);
    add_text(&m, "path", node->path);
    return made(&m);
}

json_t *api_json_vm(const struct api_vm_view *vm)
{
    char id[PPN_UUID_TEXT];
    struct maker m = maker();
    if (m.failed)
        return NULL;
    ppn_request_id_text(&vm->info.id, id);
    add_text(&m, "id", id);
    add_text(&m, "name", vm->info.name);
    add(&m, "node", json_string(vm->node != NULL ? vm->node : ""));
    add_node_id(&m, "node_id", &vm->node_id);
    add_text(&m, "state",
             vm->node_down ? api_vm_state_name(PPN_VM_LOST) : api_vm_state_name(vm->info.state));
    if (vm->node_down)
        add_text(&m, "last_state", api_vm_state_name(vm->info.state));
    add_bool(&m, "ready", vm->info.ready);
    add_text(&m, "request_id", id);
    add_text(&m, "image", vm->info.image);
    add_u64(&m, "memory_bytes", vm->info.memory_bytes);
    add_u64(&m, "disk_bytes", vm->info.disk_bytes);
    add_u64(&m, "vcpus", vm->info.vcpus);
    add_text(&m, "isolation", api_isolation_name(vm->info.isolation));
    add_i64(&m, "created_unix_ms", vm->info.created_unix_ms);
    add_address(&m, "address", vm->address);
    add_text(&m, "reason", vm->info.reason);
    return made(&m);
}

static void add_gossip(struct maker *m, const struct api_gossip_view *gossip)
{
    struct maker inner = maker();
    if (inner.failed) {
        m->failed = true;
        return;
    }
    add_u64(&inner, "packets_sent", gossip->packets_sent);
    add_u64(&inner, "packets_received", gossip->packets_received);
    add_u64(&inner, "membership_bytes_sent", gossip->membership_bytes_sent);
    add_u64(&inner, "heartbeat_bytes_sent", gossip->heartbeat_bytes_sent);
    add_u64(&inner, "rejected", gossip->rejected);
    add_u64(&inner, "deferred", gossip->deferred);
    add_u64(&inner, "health", gossip->health);
    add(m, "gossip", made(&inner));
}

static void add_relay(struct maker *m, const struct api_relay_view *relay)
{
    struct maker inner = maker();
    if (inner.failed) {
        m->failed = true;
        return;
    }
    add_u64(&inner, "port", relay->port);
    add_u64(&inner, "members", relay->members);
    add_u64(&inner, "mailboxes", relay->mailboxes);
    add_u64(&inner, "binds", relay->binds);
    add_u64(&inner, "forwarded_packets", relay->forwarded_packets);
    add_u64(&inner, "forwarded_bytes", relay->forwarded_bytes);
    add_u64(&inner, "dropped_unbound", relay->unbound);
    add_u64(&inner, "dropped_one_sided", relay->one_sided);
    add_u64(&inner, "dropped_over_rate", relay->over_rate);
    add_u64(&inner, "dropped_forged", relay->forged);
    add_u64(&inner, "dropped_not_taken", relay->not_taken);
    if (relay->tcp_port != 0) {
        add_u64(&inner, "tcp_port", relay->tcp_port);
        add_u64(&inner, "tcp_connections", relay->tcp_connections);
        add_u64(&inner, "tcp_refused", relay->tcp_refused);
        add_u64(&inner, "tcp_bytes", relay->tcp_bytes);
        add_u64(&inner, "tcp_dropped_packets", relay->tcp_dropped_packets);
    }
    add(m, "relay", made(&inner));
}

static void add_endpoints(struct maker *m, const struct ppn_candidate *list, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        struct maker item = maker();
        add_address(&item, "address", list[i].endpoint.address);
        add_u64(&item, "port", list[i].endpoint.port);
        m->failed |= json_array_append_new(array, made(&item)) != 0;
    }
    add(m, "endpoints", array);
}

json_t *api_json_status(const struct api_status *status)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add(&m, "schema", json_integer(API_SCHEMA));
    add_text(&m, "network", status->network);
    if (!ppn_hash_is_zero(&status->network_id))
        add_hex(&m, "network_id", status->network_id.bytes, PPN_HASH_SIZE);
    add_node_id(&m, "id", &status->id);
    add_fingerprint(&m, &status->id);
    add_text(&m, "name", status->name);
    add_text(&m, "version", status->version);
    add_address(&m, "address", status->mesh_address);
    add_text(&m, "phase", status->phase);
    add_text(&m, "mesh", api_mesh_name(status->mesh));
    add_text(&m, "interface", status->mesh_interface);
    add_u64(&m, "listen_port", status->listen_port);
    add_bool(&m, "admin", status->admin);
    add_text(&m, "admin_key_file", status->admin_key_file);
    add_bool(&m, "cordoned", status->cordoned);
    add_u64(&m, "nodes_alive", status->nodes_alive);
    add_u64(&m, "nodes_suspect", status->nodes_suspect);
    add_u64(&m, "nodes_dead", status->nodes_dead);
    add_u64(&m, "vms_here", status->vms_here);
    add_u64(&m, "vms_running_here", status->vms_running_here);
    add_u64(&m, "joins_waiting", status->joins_waiting);
    add_u64(&m, "log_entries", status->log_entries);
    if (!ppn_hash_is_zero(&status->log_head))
        add_hex(&m, "log_head", status->log_head.bytes, PPN_HASH_SIZE);
    add_i64(&m, "uptime_ms", status->uptime_ms);
    add_endpoints(&m, status->endpoints, status->endpoint_count);
    add_gossip(&m, &status->gossip);
    if (status->relay != NULL)
        add_relay(&m, status->relay);
    add_bool(&m, "udp_blocked", status->udp_blocked);
    if (status->alarm_count > 0)
        add(&m, "alarms", api_json_alarms(status->alarms, status->alarm_count));
    add_text(&m, "problem", status->problem);
    return made(&m);
}

json_t *api_json_join(const struct api_join_view *join)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_node_id(&m, "id", &join->id);
    add_fingerprint(&m, &join->id);
    add(&m, "name", json_string(join->name != NULL ? join->name : ""));
    add_text(&m, "address", join->address);
    add_i64(&m, "asked_unix_ms", join->asked_unix_ms);
    add_bool(&m, "invited", join->invited);
    if (join->lease_ended)
        add_bool(&m, "lease_ended", true);
    add_text(&m, "words", join->words);
    if (join->wg_key != NULL)
        add_hex(&m, "wg_key", join->wg_key, 32);
    if (join->offers != NULL) {
        add_profile(&m, join->offers);
        add_labels(&m, join->offers->labels, join->offers->label_count);
    }
    return made(&m);
}

json_t *api_json_entry(const struct api_log_entry_view *entry)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_hex(&m, "id", entry->id.bytes, PPN_HASH_SIZE);
    add_text(&m, "kind", entry->kind);
    add_node_id(&m, "author", &entry->author);
    add_text(&m, "author_name", entry->author_name);
    add_u64(&m, "sequence", entry->sequence);
    add_i64(&m, "time_unix_ms", entry->unix_ms);
    add_text(&m, "subject", entry->subject);
    if (!ppn_node_id_is_zero(&entry->subject_id))
        add_node_id(&m, "subject_id", &entry->subject_id);
    add_bool(&m, "effective", entry->effective);
    add_text(&m, "text", entry->text);
    json_t *parents = json_array();
    for (uint32_t i = 0; i < entry->parent_count && parents != NULL; i++) {
        char text[PPN_HEX_MAX];
        ppn_hex(entry->parents[i].bytes, PPN_HASH_SIZE, text);
        if (json_array_append_new(parents, json_string(text)) != 0)
            m.failed = true;
    }
    add(&m, "parents", parents);
    return made(&m);
}

json_t *api_json_verdict(const struct api_log_verdict *verdict)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_bool(&m, "valid", verdict->valid);
    add_u64(&m, "entries", verdict->entries);
    add_text(&m, "text", verdict->text);
    return made(&m);
}

json_t *api_json_image(const struct api_image_view *image)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_text(&m, "name", image->name);
    add_hex(&m, "sha256", image->sha256.bytes, PPN_HASH_SIZE);
    add_u64(&m, "size_bytes", image->size_bytes);
    if (image->virtual_bytes != 0)
        add_u64(&m, "virtual_bytes", image->virtual_bytes);
    add_text(&m, "format", image->format);
    add_bool(&m, "here", image->here);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < image->node_count && nodes != NULL; i++) {
        if (json_array_append_new(nodes, json_string(image->nodes[i])) != 0)
            m.failed = true;
    }
    add(&m, "nodes", nodes);
    add_u64(&m, "used_by", image->used_by);
    if (image->added_unix_ms != 0)
        add_i64(&m, "added_unix_ms", image->added_unix_ms);
    return made(&m);
}

json_t *api_json_row(const struct api_placement_row *row)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_node_id(&m, "id", &row->id);
    add(&m, "node", json_string(row->node != NULL ? row->node : ""));
    add_bool(&m, "fits", row->fits);
    if (row->fits) {
        add_u64(&m, "rank", row->rank);
        add_i64(&m, "score", row->score);
        struct maker parts = maker();
        for (uint32_t i = 0; i < row->part_count && i < API_SCORE_PARTS_MAX && !parts.failed; i++)
            add_i64(&parts, row->parts[i].name, row->parts[i].value);
        add(&m, "parts", made(&parts));
    }
    add_text(&m, "reason", row->reason);
    return made(&m);
}

static json_t *json_way(const struct api_way_view *way)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_text(&m, "path", way->path);
    add_text(&m, "endpoint", way->endpoint);
    add_text(&m, "relay", way->relay);
    add_text(&m, "state", way->state);
    add_text(&m, "reason", way->reason);
    if (way->round_trip_us >= 0)
        add_i64(&m, "round_trip_us", way->round_trip_us);
    if (way->loss_per_mille >= 0)
        add_i64(&m, "loss_per_mille", way->loss_per_mille);
    if (way->answered_ms_ago >= 0)
        add_i64(&m, "answered_ms_ago", way->answered_ms_ago);
    add_u64(&m, "asked", way->asked);
    add_u64(&m, "answered", way->answered);
    if (way->mtu != 0)
        add_u64(&m, "mtu", way->mtu);
    return made(&m);
}

json_t *api_json_path(const struct api_path_view *path)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add(&m, "schema", json_integer(API_SCHEMA));
    add_node_id(&m, "id", &path->id);
    add(&m, "node", json_string(path->node != NULL ? path->node : ""));
    add_text(&m, "path", path->path);
    add_text(&m, "endpoint", path->endpoint);
    if (path->handshake_ms_ago >= 0)
        add_i64(&m, "handshake_ms_ago", path->handshake_ms_ago);
    if (path->round_trip_us >= 0)
        add_i64(&m, "round_trip_us", path->round_trip_us);
    if (path->loss_per_mille >= 0)
        add_i64(&m, "loss_per_mille", path->loss_per_mille);
    add_u64(&m, "received_bytes", path->received_bytes);
    add_u64(&m, "sent_bytes", path->sent_bytes);
    add_text(&m, "reason", path->reason);
    add_text(&m, "advice", path->advice);
    if (path->since_ms_ago >= 0)
        add_i64(&m, "since_ms_ago", path->since_ms_ago);
    if (path->mtu != 0)
        add_u64(&m, "mtu", path->mtu);
    add_text(&m, "relay", path->relay);
    json_t *ways = json_array();
    for (uint32_t i = 0; i < path->way_count && ways != NULL; i++) {
        if (json_array_append_new(ways, json_way(&path->ways[i])) != 0)
            m.failed = true;
    }
    add(&m, "ways", ways);
    return made(&m);
}

json_t *api_json_invite(const struct api_invite_view *invite)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add(&m, "schema", json_integer(API_SCHEMA));
    add_text(&m, "id", invite->id);
    add_text(&m, "token", invite->token);
    add_u64(&m, "uses", invite->uses);
    add_i64(&m, "expires_unix_ms", invite->expires_unix_ms);
    return made(&m);
}

json_t *api_json_progress(const struct api_progress *progress)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_text(&m, "stage", progress->stage);
    add_text(&m, "node", progress->node);
    if (progress->percent >= 0)
        add_i64(&m, "percent", progress->percent);
    add_text(&m, "text", progress->text);
    return made(&m);
}

json_t *api_json_event(const struct api_event *event)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_text(&m, "type", api_event_name(event->type));
    add_i64(&m, "time_monotonic_ns", event->time_monotonic_ns);
    add_i64(&m, "time_unix_ms", event->time_unix_ms);
    if (event->node != NULL) {
        add(&m, "node", json_string(event->node->name != NULL ? event->node->name : ""));
        add_node_id(&m, "node_id", &event->node->id);
        add(&m, "detail", api_json_node(event->node));
    }
    if (event->vm != NULL) {
        add(&m, "node", json_string(event->vm->node != NULL ? event->vm->node : ""));
        add_node_id(&m, "node_id", &event->vm->node_id);
        add(&m, "vm", api_json_vm(event->vm));
    }
    if (event->join != NULL) {
        add(&m, "node", json_string(event->join->name != NULL ? event->join->name : ""));
        add_node_id(&m, "node_id", &event->join->id);
        add(&m, "join", api_json_join(event->join));
    }
    if (event->alarm != NULL)
        add(&m, "alarm", api_json_alarm(event->alarm));
    if (event->entry != NULL) {
        add_text(&m, "node", event->entry->subject);
        if (!ppn_node_id_is_zero(&event->entry->subject_id))
            add_node_id(&m, "node_id", &event->entry->subject_id);
        add(&m, "entry", api_json_entry(event->entry));
    }
    return made(&m);
}

json_t *api_json_failure(enum ppn_error code, const char *text)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_text(&m, "code", ppn_error_name(code));
    add_text(&m, "message", text != NULL && text[0] != '\0' ? text : ppn_error_text(code));
    return made(&m);
}

json_t *api_json_member(const struct ppn_node_id *id, const char *name)
{
    struct maker m = maker();
    if (m.failed)
        return NULL;
    add_node_id(&m, "id", id);
    add_fingerprint(&m, id);
    add(&m, "name", json_string(name != NULL ? name : ""));
    return made(&m);
}
