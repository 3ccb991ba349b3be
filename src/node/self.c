// SPDX-License-Identifier: ISC
#include "node/self.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "host/facts.h"
#include "host/kvm.h"
#include "node/gossip.h"
#include "node/images.h"
#include "node/labels.h"
#include "node/machines.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/relay.h"
#include "node/requests.h"
#include "node/settings.h"
#include "os/os_address.h"
#include "os/os_net.h"
#include "wire/facts.h"

enum { COLLECT_PERIOD_S = 10, MEMORY_STEP_MIB = 64, MEMORY_SHARE = 32, LOAD_STEP_PER_MILLE = 500 };

struct node_self {
    struct node *node;
    struct ppn_profile profile;
    struct ppn_load load, said; /* as measured; as the others know it */
    struct host_kvm_probe *probe;
    char cpu[HOST_CPU_MAX + 1];
    struct os_timer timer;
    struct os_closure collect;
    bool publishing;
    uint8_t said_profile[WIRE_PROFILE_MAX], said_load[WIRE_LOAD_MAX];
    size_t said_profile_size, said_load_size;
};

const struct ppn_profile *node_self_profile(const struct node *node)
{
    return &node->self->profile;
}

const struct ppn_load *node_self_load(const struct node *node)
{
    return &node->self->load;
}

const char *node_self_cpu(const struct node_self *self)
{
    return self->cpu;
}

static void add_candidate(struct ppn_profile *profile, const uint8_t address[static 16],
                          uint16_t port, enum ppn_endpoint_kind kind)
{
    if (profile->candidate_count == PPN_ENDPOINTS_MAX)
        return;
    struct ppn_candidate *candidate = &profile->candidates[profile->candidate_count];
    memcpy(candidate->endpoint.address, address, 16);
    candidate->endpoint.port = port;
    candidate->kind = kind;
    for (uint32_t i = 0; i < profile->candidate_count; i++) {
        if (os_endpoint_equal(&profile->candidates[i].endpoint, &candidate->endpoint))
            return;
    }
    profile->candidate_count++;
}

/* Public addresses first: they are the ones a person configured. */
static void collect_candidates(struct node_self *self)
{
    const struct node_options *options = &self->node->options;
    struct ppn_profile *profile = &self->profile;
    struct os_net_addresses addresses;
    struct ppn_failure failure = {0};
    profile->candidate_count = 0;
    for (uint32_t i = 0; i < options->advertise_count; i++) {
        struct ppn_endpoint endpoint;
        uint16_t port = options->advertise[i].port;
        if (os_endpoint_parse(options->advertise[i].host, port != 0 ? port : options->listen.port,
                              &endpoint) == PPN_OK)
            add_candidate(profile, endpoint.address, port != 0 ? port : options->listen.port,
                          PPN_ENDPOINT_PUBLIC);
    }
    if (os_net_addresses(&addresses, &failure) != PPN_OK)
        return;
    for (uint32_t i = 0; i < addresses.count; i++) {
        const struct os_net_address *address = &addresses.list[i];
        bool ours = strcmp(address->interface, options->interface) == 0 ||
                    strncmp(address->interface, NODE_TAP_PREFIX, sizeof(NODE_TAP_PREFIX) - 1) == 0;
        if (address->up && !address->loopback && !address->link_local && !address->temporary &&
            !ours)
            add_candidate(profile, address->address, options->listen.port, PPN_ENDPOINT_LAN);
    }
    struct ppn_endpoint seen;
    if (options->advertise_count == 0 && node_mesh_seen(self->node->mesh, &seen))
        add_candidate(profile, seen.address, seen.port, PPN_ENDPOINT_OBSERVED);
}

static void merge_labels(struct node_self *self)
{
    const struct node_options *options = &self->node->options;
    struct ppn_profile *profile = &self->profile;
    profile->label_count = self->node->settings.label_count;
    memcpy(profile->labels, self->node->settings.labels, sizeof(profile->labels));
    for (uint32_t i = 0; i < options->label_count; i++) {
        bool known = false;
        for (uint32_t k = 0; k < profile->label_count; k++)
            known |= strcmp(profile->labels[k].key, options->labels[i].key) == 0;
        if (!known && profile->label_count < PPN_LABELS_MAX)
            profile->labels[profile->label_count++] = options->labels[i];
    }
    while (profile->label_count > 0 && !wire_labels_fit(profile->labels, profile->label_count))
        profile->label_count--;
}

static uint64_t round_down(uint64_t value, uint64_t step)
{
    return value / step * step;
}

static void collect_load(struct node_self *self)
{
    struct ppn_load *load = &self->load;
    struct vm_host_usage usage = node_machines_usage(self->node->machines);
    struct fleet_reserve promised = node_requests_reserved(self->node->requests);
    host_fill_load("", self->node->options.state_dir, load);
    load->memory_reserved_bytes =
        usage.memory_bytes + promised.memory_bytes + self->node->options.memory_reserve_bytes;
    load->vcpus_reserved = usage.vcpus + promised.vcpus;
    load->vm_count = usage.vm_count;
    load->vm_digest = node_machines_digest(self->node->machines);
    uint64_t growth = usage.disk_bytes + promised.disk_bytes;
    load->disk_free_bytes = load->disk_free_bytes > growth ? load->disk_free_bytes - growth : 0;
}

/* The figure said stands until the measured one is a step away from it. Rounding alone would
 * flutter where the figure lies near an edge, and every flutter goes to every node. */
static uint64_t steadied(uint64_t said, uint64_t measured, uint64_t step)
{
    PPN_ASSERT(step > 0);
    uint64_t apart = said > measured ? said - measured : measured - said;
    return apart < step ? said : round_down(measured, step);
}

/* A machine doing nothing has nothing new to say. Free memory that nearly ran out is said at once,
 * whatever the step: others would send work here. */
static void steady_load(struct node_self *self, struct ppn_load *said)
{
    const struct ppn_load *load = &self->load, *before = &self->said;
    uint64_t step = self->profile.memory_total_bytes / MEMORY_SHARE;
    if (step < (uint64_t)MEMORY_STEP_MIB << 20 || load->memory_available_bytes < step)
        step = (uint64_t)MEMORY_STEP_MIB << 20;
    *said = *load;
    said->memory_available_bytes =
        steadied(before->memory_available_bytes, load->memory_available_bytes, step);
    said->disk_free_bytes =
        steadied(before->disk_free_bytes, load->disk_free_bytes, UINT64_C(1) << 30);
    said->load_per_mille =
        (uint32_t)steadied(before->load_per_mille, load->load_per_mille, LOAD_STEP_PER_MILLE);
}

static void publish(struct node_self *self)
{
    uint8_t bytes[WIRE_PROFILE_MAX];
    struct ppn_load said;
    if (!self->publishing || self->node->gossip == NULL)
        return;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    enum ppn_error error = wire_profile_encode(&self->profile, &writer);
    PPN_ASSERT(error == PPN_OK);
    if (writer.size != self->said_profile_size ||
        memcmp(bytes, self->said_profile, writer.size) != 0) {
        memcpy(self->said_profile, bytes, writer.size);
        self->said_profile_size = writer.size;
        node_gossip_publish(self->node->gossip, GOSSIP_PLANE_PROFILE, ppn_written(&writer));
    }
    steady_load(self, &said);
    self->said = said;
    writer = ppn_writer(bytes, WIRE_LOAD_MAX);
    error = wire_load_encode(&said, &writer);
    PPN_ASSERT(error == PPN_OK);
    if (writer.size != self->said_load_size || memcmp(bytes, self->said_load, writer.size) != 0) {
        memcpy(self->said_load, bytes, writer.size);
        self->said_load_size = writer.size;
        node_gossip_publish(self->node->gossip, GOSSIP_PLANE_LOAD, ppn_written(&writer));
    }
}

static void collect(void *context)
{
    struct node_self *self = context;
    collect_candidates(self);
    merge_labels(self);
    self->profile.cordoned = self->node->settings.cordoned;
    self->profile.link = host_link("");
    self->profile.relay_port = node_relay_port(self->node->relay);
    self->profile.relay_tcp_port = node_relay_tcp_port(self->node->relay);
    self->profile.image_count =
        node_images_tags(self->node->images, self->profile.images, PPN_IMAGE_TAGS_MAX);
    collect_load(self);
    publish(self);
}

static void on_timer(void *context)
{
    struct node_self *self = context;
    collect(self);
    os_timer_after(&self->timer, ppn_seconds(COLLECT_PERIOD_S));
}

void node_self_touch(struct node *node)
{
    if (node->self != NULL)
        os_defer(node->loop, &node->self->collect);
}

static void on_kvm(void *context, const struct host_kvm_report *report)
{
    struct node_self *self = context;
    self->profile.kvm = report->level;
    self->profile.isolation_max =
        report->level >= PPN_KVM_FAST ? PPN_ISOLATION_KVM_SANDBOX : PPN_ISOLATION_TCG;
    (void)ppn_text_copy(self->cpu, sizeof(self->cpu), report->cpu);
    ppn_log(PPN_LOG_INFO, "kvm", "level=%s cpu=\"%s\" cached=%d claimed=%d reason=\"%s\"",
            host_kvm_level_name(report->level), report->cpu, report->cached, report->claimed,
            report->reason);
    node_machines_cpu(self->node->machines, report->cpu);
    node_self_touch(self->node);
}

static void start_probe(struct node_self *self)
{
    char cache[NODE_PATH_MAX + 16];
    struct ppn_failure failure = {0};
    (void)snprintf(cache, sizeof(cache), "%s/kvm-probe", self->node->options.state_dir);
    struct host_kvm_config config = {.cache_path = cache, .context = self, .on_done = on_kvm};
    if (host_kvm_start(self->node->loop, &config, &self->probe, &failure) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "kvm-probe", "cause=\"%s\"", failure.text);
}

enum ppn_error node_self_open(struct node *node, struct node_self **out,
                              struct ppn_failure *failure)
{
    struct node_self *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    self->node = node;
    host_fill_profile("", node->options.state_dir, &self->profile);
    os_timer_init(&self->timer, node->loop, on_timer, self);
    os_closure_init(&self->collect, collect, self);
    os_timer_after(&self->timer, ppn_seconds(COLLECT_PERIOD_S));
    collect_candidates(self); /* an invite made at once already carries them */
    start_probe(self);
    *out = self;
    return PPN_OK;
}

void node_self_publish(struct node_self *self)
{
    self->publishing = true;
    self->said_profile_size = self->said_load_size = 0; /* a new gossip core knows nothing yet */
    collect(self);
}

void node_self_close(struct node_self *self)
{
    if (self == NULL)
        return;
    if (self->probe != NULL)
        host_kvm_free(self->probe);
    os_timer_stop(&self->timer);
    os_defer_cancel(self->node->loop, &self->collect);
    free(self);
}

enum ppn_error node_self_label(struct node_self *self, const char *key, const char *value,
                               struct ppn_failure *failure)
{
    struct wire_settings next = self->node->settings;
    struct admission_labels given;
    uint32_t at = 0;
    node_labels_given(self->node, &self->node->identity.id, &given);
    for (uint32_t i = 0; i < given.count; i++) {
        if (strcmp(given.items[i].key, key) == 0)
            return ppn_fail(failure, PPN_ERROR_REFUSED,
                            "an admin gave this node %s=%s when it was admitted; that stands "
                            "whatever the machine says",
                            key, given.items[i].value);
    }
    while (at < next.label_count && strcmp(next.labels[at].key, key) != 0)
        at++;
    if (value == NULL) {
        if (at < next.label_count)
            next.labels[at] = next.labels[--next.label_count];
    } else if (at == PPN_LABELS_MAX) {
        return ppn_fail(failure, PPN_ERROR_FULL, "a node has at most %d labels", PPN_LABELS_MAX);
    } else {
        (void)ppn_text_copy(next.labels[at].key, sizeof(next.labels[at].key), key);
        (void)ppn_text_copy(next.labels[at].value, sizeof(next.labels[at].value), value);
        next.label_count += at == next.label_count;
    }
    if (!wire_labels_fit(next.labels, next.label_count))
        return ppn_fail(failure, PPN_ERROR_TOO_BIG,
                        "the labels together are too long (%d bytes fit); use shorter ones",
                        WIRE_LABELS_BYTES_MAX);
    self->node->settings = next;
    node_settings_save(self->node);
    node_self_touch(self->node);
    return PPN_OK;
}

void node_self_cordon(struct node_self *self, bool cordoned)
{
    self->node->settings.cordoned = cordoned;
    node_settings_save(self->node);
    node_self_touch(self->node);
}
