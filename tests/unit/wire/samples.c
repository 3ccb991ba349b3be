// SPDX-License-Identifier: ISC
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wire/facts.h"
#include "wire/fleet.h"
#include "wire/gossip.h"
#include "wire/join.h"
#include "wire/log.h"
#include "wire/machine.h"
#include "wire/peer.h"
#include "wire/vm.h"

static uint8_t scratch[PPN_FRAME_MAX + 4096];
static uint8_t user_data[PPN_USER_DATA_MAX];
static uint8_t filler[PPN_FRAME_MAX];

static void fill_name(char *to, size_t size, char letter)
{
    memset(to, letter, size);
    to[size] = '\0';
}

static struct ppn_endpoint endpoint(bool maximal, uint8_t n)
{
    struct ppn_endpoint made = {.port = maximal ? 65535 : 51820};
    if (maximal) {
        memset(made.address, 0xfd, sizeof(made.address));
    } else {
        made.address[10] = made.address[11] = 0xff;
        made.address[12] = 192;
        made.address[14] = 2;
    }
    made.address[15] = n;
    return made;
}

static void fill_labels(struct ppn_label *labels, uint32_t *count, bool maximal)
{
    *count = maximal ? PPN_LABELS_MAX : 1;
    for (uint32_t i = 0; i < *count; i++) {
        fill_name(labels[i].key, maximal ? PPN_NAME_MAX : 4, (char)('a' + i));
        fill_name(labels[i].value, maximal ? PPN_LABEL_VALUE_MAX : 5, 'Z');
    }
}

struct ppn_profile sample_profile(bool maximal)
{
    struct ppn_profile profile = {.arch = "x86_64", .version = "0.1.0", .cpus = 4};
    profile.memory_total_bytes = maximal ? UINT64_MAX : 8ull << 30;
    profile.disk_total_bytes = maximal ? UINT64_MAX : 100ull << 30;
    profile.kvm = PPN_KVM_BOOTS;
    profile.isolation_max = PPN_ISOLATION_TDX;
    profile.link = PPN_LINK_WIFI;
    profile.relay_port = maximal ? UINT16_MAX : 0;
    profile.relay_tcp_port = maximal ? UINT16_MAX - 1 : 0;
    profile.candidate_count = maximal ? PPN_ENDPOINTS_MAX : 1;
    for (uint32_t i = 0; i < profile.candidate_count; i++) {
        profile.candidates[i].endpoint = endpoint(maximal, (uint8_t)i);
        profile.candidates[i].kind = PPN_ENDPOINT_OBSERVED;
    }
    profile.label_count = 1;
    memcpy(profile.labels[0].key, "room", 5);
    memcpy(profile.labels[0].value, "cellar", 7);
    if (maximal) {
        fill_name(profile.arch, PPN_ARCH_MAX, 'x');
        fill_name(profile.version, PPN_VERSION_MAX, '9');
        profile.cpus = UINT32_MAX;
        profile.cordoned = true;
        /* As large as the labels may be together. */
        profile.label_count = WIRE_LABELS_BYTES_MAX / (5 + 17);
        for (uint32_t i = 0; i < profile.label_count; i++) {
            fill_name(profile.labels[i].key, 8, (char)('a' + i));
            fill_name(profile.labels[i].value, 9, 'v');
        }
        profile.image_count = PPN_IMAGE_TAGS_MAX;
        memset(profile.images, 0xab, sizeof(profile.images));
    }
    return profile;
}

struct ppn_load sample_load(bool maximal)
{
    struct ppn_load load = {.memory_available_bytes = 4ull << 30,
                            .memory_reserved_bytes = 1ull << 30,
                            .disk_free_bytes = 50ull << 30,
                            .vcpus_reserved = 2,
                            .load_per_mille = 250,
                            .vm_count = 1,
                            .power = PPN_POWER_MAINS,
                            .battery_percent = 255,
                            .vm_digest = 0x0123456789abcdef};
    if (maximal)
        load = (struct ppn_load){UINT64_MAX, UINT64_MAX, UINT64_MAX,        UINT32_MAX,
                                 UINT32_MAX, UINT32_MAX, PPN_POWER_BATTERY, 255,
                                 true,       true,       UINT64_MAX};
    return load;
}

void sample_spec(struct ppn_machine_spec *spec, bool maximal)
{
    memset(spec, 0, sizeof(*spec));
    memset(spec->id.bytes, 0x17, sizeof(spec->id.bytes));
    fill_name(spec->name, maximal ? PPN_NAME_MAX : 3, 'w');
    fill_name(spec->demand.image, maximal ? PPN_NAME_MAX : 6, 'i');
    memset(spec->demand.image_hash.bytes, 0x5a, PPN_HASH_SIZE);
    spec->demand.image_bytes = maximal ? UINT64_MAX : 300 << 20;
    spec->demand.memory_bytes = maximal ? UINT64_MAX : 1 << 30;
    spec->demand.disk_bytes = maximal ? UINT64_MAX : 0;
    spec->demand.vcpus = maximal ? UINT32_MAX : 2;
    spec->demand.kvm_required = true;
    spec->demand.isolation_min = PPN_ISOLATION_KVM;
    fill_labels(spec->demand.labels, &spec->demand.label_count, maximal);
    if (maximal)
        fill_name(spec->demand.node, PPN_NAME_MAX, 'n');
    fill_name(spec->user, maximal ? PPN_USER_MAX : 4, 'u');
    spec->no_network = maximal;
    spec->ssh_key_count = maximal ? PPN_SSH_KEYS_MAX : 1;
    for (uint32_t i = 0; i < spec->ssh_key_count; i++)
        fill_name(spec->ssh_keys[i], maximal ? PPN_SSH_KEY_TEXT_MAX : 40, 's');
    if (maximal) {
        memset(user_data, 0xee, sizeof(user_data));
        spec->user_data = user_data;
        spec->user_data_size = sizeof(user_data);
    }
}

struct ppn_vm_info sample_vm(bool maximal)
{
    struct ppn_vm_info vm = {.state = PPN_VM_RUNNING, .ready = true, .vcpus = 2};
    memset(vm.id.bytes, 0x18, sizeof(vm.id.bytes));
    fill_name(vm.name, maximal ? PPN_NAME_MAX : 3, 'v');
    fill_name(vm.image, maximal ? PPN_NAME_MAX : 6, 'i');
    vm.memory_bytes = maximal ? UINT64_MAX : 1 << 30;
    vm.disk_bytes = maximal ? UINT64_MAX : 1 << 30;
    vm.isolation = PPN_ISOLATION_KVM_SANDBOX;
    vm.created_unix_ms = maximal ? INT64_MIN : 1790000000000;
    if (maximal) {
        vm.vcpus = UINT32_MAX;
        vm.state = PPN_VM_LOST;
        fill_name(vm.reason, PPN_REASON_MAX, 'r');
    }
    return vm;
}

struct wire_settings sample_settings(bool maximal)
{
    struct wire_settings settings = {.name = "n1", .network_name = "office", .cordoned = maximal};
    memset(settings.network.bytes, 0x77, PPN_HASH_SIZE);
    fill_labels(settings.labels, &settings.label_count, maximal);
    settings.seed_count = maximal ? PPN_SEEDS_MAX : 1;
    for (uint32_t i = 0; i < settings.seed_count; i++)
        settings.seeds[i] = endpoint(maximal, (uint8_t)i);
    if (maximal) {
        fill_name(settings.name, PPN_NAME_MAX, 'n');
        fill_name(settings.network_name, PPN_NAME_MAX, 'o');
    }
    return settings;
}

static enum ppn_error decode_profile(struct ppn_slice bytes)
{
    struct ppn_profile profile;
    return wire_profile_decode(bytes, &profile);
}

static enum ppn_error decode_load(struct ppn_slice bytes)
{
    struct ppn_load load;
    return wire_load_decode(bytes, &load);
}

static enum ppn_error decode_spec(struct ppn_slice bytes)
{
    static struct ppn_machine_spec spec;
    return wire_spec_decode(bytes, &spec);
}

static enum ppn_error decode_vm_list(struct ppn_slice bytes)
{
    static struct ppn_vm_info vms[PPN_VMS_MAX];
    uint64_t digest;
    uint32_t count;
    return wire_vm_list_decode(bytes, &digest, vms, PPN_VMS_MAX, &count);
}

static enum ppn_error decode_gossip(struct ppn_slice bytes)
{
    struct gossip_packet packet;
    return wire_gossip_decode(bytes, &packet);
}

static enum ppn_error decode_fleet(struct ppn_slice bytes)
{
    struct fleet_msg message;
    return wire_fleet_decode(bytes, &message);
}

static enum ppn_error decode_row(struct ppn_slice bytes)
{
    struct fleet_row row;
    return wire_fleet_row_decode(bytes, &row);
}

/* A frame as it arrives: without its prefix. */
static enum ppn_error decode_peer(struct ppn_slice bytes)
{
    struct wire_peer_frame frame;
    return wire_peer_decode(bytes, &frame);
}

static enum ppn_error decode_images(struct ppn_slice bytes)
{
    static struct wire_image_item items[PPN_IMAGES_MAX];
    uint32_t count;
    return wire_image_list_decode(bytes, items, PPN_IMAGES_MAX, &count);
}

static enum ppn_error decode_join(struct ppn_slice bytes)
{
    struct wire_join_message message;
    return wire_join_decode(bytes, &message);
}

static enum ppn_error decode_hints(struct ppn_slice bytes)
{
    static struct wire_join_hint hints[WIRE_JOIN_HINTS_MAX];
    uint32_t count;
    return wire_join_hints_decode(bytes, hints, WIRE_JOIN_HINTS_MAX, &count);
}

static enum ppn_error decode_batch(struct ppn_slice bytes)
{
    struct wire_log_reader reader;
    struct ppn_slice entry, signatures;
    enum ppn_error error = wire_log_read_start(&reader, bytes);
    while (wire_log_read_next(&reader, &entry, &signatures))
        PPN_ASSERT(entry.size >= 1);
    return error;
}

static enum ppn_error decode_settings(struct ppn_slice bytes)
{
    struct wire_settings settings;
    return wire_settings_decode(bytes, &settings);
}

static enum ppn_error decode_reached(struct ppn_slice bytes)
{
    struct wire_reached reached;
    return wire_reached_decode(bytes, &reached);
}

static enum ppn_error decode_record(struct ppn_slice bytes)
{
    struct vm_record record;
    return wire_vm_record_decode(bytes, &record);
}

static struct ppn_writer start(void)
{
    return ppn_writer(scratch, sizeof(scratch));
}

static void add(struct samples *samples, const char *target, const char *name, bool maximal,
                sample_decode_fn *decode, enum ppn_error error, struct ppn_slice bytes)
{
    struct sample *sample = &samples->items[samples->count++];
    PPN_ASSERT(error == PPN_OK && samples->count <= SAMPLES_MAX);
    *sample = (struct sample){.target = target, .decode = decode, .size = bytes.size};
    snprintf(sample->name, sizeof(sample->name), "%s%s", name, maximal ? "-max" : "");
    sample->bytes = malloc(bytes.size);
    PPN_ASSERT(sample->bytes);
    memcpy(sample->bytes, bytes.data, bytes.size);
}

static void add_facts(struct samples *samples, bool maximal)
{
    struct ppn_writer writer = start();
    struct ppn_profile profile = sample_profile(maximal);
    struct ppn_load load = sample_load(maximal);
    struct wire_settings settings = sample_settings(maximal);
    struct wire_reached reached = {.count = maximal ? PPN_ENDPOINTS_MAX : 1, .unix_ms = -1};
    enum ppn_error error = wire_profile_encode(&profile, &writer);
    add(samples, "facts", "profile", maximal, decode_profile, error, ppn_written(&writer));
    writer = start();
    error = wire_load_encode(&load, &writer);
    add(samples, "facts", "load", maximal, decode_load, error, ppn_written(&writer));
    writer = start();
    error = wire_settings_encode(&settings, &writer);
    add(samples, "stored", "settings", maximal, decode_settings, error, ppn_written(&writer));
    for (uint32_t i = 0; i < reached.count; i++)
        reached.endpoints[i] = endpoint(maximal, (uint8_t)i);
    writer = start();
    error = wire_reached_encode(&reached, &writer);
    add(samples, "stored", "reached", maximal, decode_reached, error, ppn_written(&writer));
}

static void add_machines(struct samples *samples, bool maximal)
{
    static struct ppn_machine_spec spec;
    static struct ppn_vm_info vms[PPN_VMS_MAX];
    struct ppn_writer writer = start();
    sample_spec(&spec, maximal);
    enum ppn_error error = wire_spec_encode(&spec, &writer);
    add(samples, "machine", "spec", maximal, decode_spec, error, ppn_written(&writer));
    uint32_t count = maximal ? PPN_VMS_MAX : 2;
    for (uint32_t i = 0; i < count; i++)
        vms[i] = sample_vm(maximal);
    writer = start();
    error = wire_vm_list_encode(7, vms, count, &writer);
    add(samples, "machine", "vms", maximal, decode_vm_list, error, ppn_written(&writer));
}

static void add_record(struct samples *samples, bool maximal)
{
    struct vm_record record = {.want_running = true, .disk = VM_DISK_KEPT, .state = PPN_VM_FAILED};
    fill_name(record.name, maximal ? PPN_NAME_MAX : 3, 'w');
    fill_name(record.image, maximal ? PPN_NAME_MAX : 3, 'i');
    record.memory_bytes = record.disk_bytes = maximal ? UINT64_MAX : 1 << 30;
    record.vcpus = maximal ? UINT32_MAX : 1;
    record.slot = maximal ? PPN_VMS_MAX - 1 : 0;
    record.isolation = PPN_ISOLATION_TDX;
    record.created_unix_ms = INT64_MIN;
    fill_name(record.reason, maximal ? PPN_REASON_MAX : 0, 'r');
    record.no_network = maximal;
    struct ppn_writer writer = start();
    enum ppn_error error = wire_vm_record_encode(&record, &writer);
    add(samples, "stored", "vm-record", maximal, decode_record, error, ppn_written(&writer));
}

static void add_gossip(struct samples *samples, bool maximal)
{
    for (int kind = GOSSIP_PING; kind < GOSSIP_PACKET_KIND_END; kind++) {
        struct gossip_packet packet = {.kind = (enum gossip_packet_kind)kind,
                                       .probe = UINT32_MAX,
                                       .view_digest = UINT64_MAX,
                                       .load_digest = UINT64_MAX,
                                       .health = UINT8_MAX};
        if (kind == GOSSIP_CHECK || kind == GOSSIP_CHECKED) {
            packet.of.check.subject = UINT64_MAX;
            packet.of.check.epoch = packet.of.check.incarnation = UINT32_MAX;
            packet.of.check.outcome = GOSSIP_OUTCOME_REFUSED;
        } else if (kind == GOSSIP_DIGEST) {
            memset(&packet.of.digest, 0xff, sizeof(packet.of.digest));
        } else if (kind == GOSSIP_RANGE) {
            packet.of.range.first = packet.of.range.last = UINT64_MAX;
            packet.of.range.count = maximal ? GOSSIP_ROWS_MAX : 2;
            for (uint32_t i = 0; i < packet.of.range.count; i++)
                packet.of.range.rows[i] =
                    (struct gossip_row){UINT64_MAX, UINT32_MAX, UINT32_MAX,
                                        UINT32_MAX, UINT32_MAX, GOSSIP_ROW_STANDING_END - 1};
        } else if (kind == GOSSIP_WANT) {
            packet.of.want.count = maximal ? GOSSIP_WANTS_MAX : 1;
            for (uint32_t i = 0; i < packet.of.want.count; i++)
                packet.of.want.wants[i] = (struct gossip_want){UINT64_MAX, 0x1e};
        } else {
            packet.item_count = maximal ? 12 : 1;
            for (uint32_t i = 0; i < packet.item_count; i++)
                packet.items[i] = ppn_slice(filler, GOSSIP_LIFE_SIZE);
        }
        struct ppn_writer writer = ppn_writer(scratch, PPN_DATAGRAM_MAX);
        char name[24];
        snprintf(name, sizeof(name), "packet-%d", kind);
        enum ppn_error error = wire_gossip_encode(&packet, &writer);
        add(samples, "gossip", name, maximal, decode_gossip, error, ppn_written(&writer));
    }
}

static void add_fleet(struct samples *samples, bool maximal)
{
    struct ppn_writer writer = start();
    struct fleet_msg message = {.kind = FLEET_MSG_PREPARE,
                                .attempt = UINT32_MAX,
                                .round = UINT64_MAX,
                                .phase = FLEET_PHASE_HELD,
                                .step = FLEET_STEP_LAUNCH,
                                .percent = 100,
                                .code = PPN_ERROR_PERMISSION,
                                .spec = ppn_slice(filler, maximal ? FLEET_SPEC_MAX : 20)};
    memset(message.node.bytes, 1, PPN_ID_SIZE);
    fill_name(message.reason, maximal ? PPN_REASON_MAX : 4, 'x');
    enum ppn_error error = wire_fleet_encode(&message, &writer);
    add(samples, "fleet", "prepare", maximal, decode_fleet, error, ppn_written(&writer));

    struct fleet_row row = {.key.kind = FLEET_ROW_HOLD,
                            .state = FLEET_HOLD_TOMB,
                            .attempt = UINT32_MAX,
                            .created_unix_ms = INT64_MIN,
                            .changed_unix_ms = INT64_MIN,
                            .tomb = FLEET_TOMB_REMOVED,
                            .code = PPN_ERROR_NO_SPACE};
    row.key.origin = row.node = message.node;
    row.reserve = (struct fleet_reserve){UINT64_MAX, UINT64_MAX, UINT32_MAX};
    fill_name(row.reason, maximal ? PPN_REASON_MAX : 4, 'y');
    row.abandoned_count = maximal ? FLEET_ATTEMPTS_MAX : 1;
    for (uint32_t i = 0; i < row.abandoned_count; i++)
        row.abandoned[i] = (struct fleet_abandoned){UINT32_MAX, message.node};
    row.spec = message.spec;
    writer = start();
    error = wire_fleet_row_encode(&row, &writer);
    add(samples, "fleet", "row", maximal, decode_row, error, ppn_written(&writer));
}

static void add_frame(struct samples *samples, const struct wire_peer_frame *frame, bool maximal)
{
    struct ppn_writer writer = start();
    enum ppn_error error = wire_peer_encode(frame, &writer);
    add(samples, "peer", wire_peer_kind_name(frame->kind), maximal, decode_peer, error,
        ppn_slice(writer.data + WIRE_FRAME_PREFIX, writer.size - WIRE_FRAME_PREFIX));
}

/* Everything that is one opaque field, and the small ones. */
static void add_plain_frames(struct samples *samples, bool maximal)
{
    struct wire_hashes hashes = {
        ppn_slice(filler, (maximal ? WIRE_LOG_HASHES_MAX : 2) * PPN_HASH_SIZE)};
    size_t small = 40;
    struct wire_peer_frame frames[] = {
        {.kind = WIRE_PEER_PING, .token = UINT64_MAX},
        {.kind = WIRE_PEER_LOG_HEADS, .heads = hashes},
        {.kind = WIRE_PEER_LOG_WANT, .log_want = {hashes, hashes, maximal ? UINT32_MAX : 7}},
        {.kind = WIRE_PEER_LOG_PUSH,
         .batch = ppn_slice(filler, maximal ? WIRE_LOG_BATCH_MAX : small)},
        {.kind = WIRE_PEER_FLEET, .fleet = ppn_slice(filler, maximal ? WIRE_OPAQUE_MAX : small)},
        {.kind = WIRE_PEER_VM_CHANGED, .known_digest = UINT64_MAX},
        {.kind = WIRE_PEER_JOIN,
         .join = {ppn_slice(filler, maximal ? WIRE_JOIN_NOTE_MAX : small), endpoint(maximal, 1)}},
        {.kind = WIRE_PEER_VM_LIST_WANT, .stream = UINT32_MAX, .known_digest = UINT64_MAX},
        {.kind = WIRE_PEER_VM_LIST,
         .stream = 1,
         .vm_list = ppn_slice(filler, maximal ? WIRE_VM_LIST_MAX : small)},
        {.kind = WIRE_PEER_IMAGE_LIST_WANT, .stream = 3},
        {.kind = WIRE_PEER_IMAGE_LIST,
         .stream = 3,
         .images = ppn_slice(filler, maximal ? WIRE_IMAGE_LIST_MAX : small)},
        {.kind = WIRE_PEER_API_DATA,
         .stream = 5,
         .api_data = ppn_slice(filler, maximal ? WIRE_API_DATA_MAX : small)},
        {.kind = WIRE_PEER_API_END, .stream = 5},
        {.kind = WIRE_PEER_API_WINDOW, .stream = 5, .window = WIRE_API_WINDOW},
    };
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
        add_frame(samples, &frames[i], maximal);
}

static void add_frames(struct samples *samples, bool maximal)
{
    static char text[WIRE_API_QUERY_MAX + 1];
    struct wire_peer_frame frame = {.kind = WIRE_PEER_HELLO};
    memset(text, '/', sizeof(text) - 1);
    frame.hello = (struct wire_hello){1, 1, "n1", "0.1.0", 9};
    if (maximal) {
        frame.hello.major_max = UINT32_MAX;
        frame.hello.boot = UINT64_MAX;
        fill_name(frame.hello.name, PPN_NAME_MAX, 'n');
        fill_name(frame.hello.software, WIRE_SOFTWARE_MAX, '9');
    }
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_IMAGE_WANT, .stream = 3};
    frame.image_want = (struct wire_image_want){.offset = 1, .length = WIRE_IMAGE_CHUNK_MAX};
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_IMAGE_DATA, .stream = 3};
    frame.image_data.size_bytes = UINT64_MAX;
    frame.image_data.offset = maximal ? UINT64_MAX - WIRE_IMAGE_CHUNK_MAX : 0;
    frame.image_data.bytes = ppn_slice(filler, maximal ? WIRE_IMAGE_CHUNK_MAX : 30);
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_IMAGE_NONE, .stream = 3};
    frame.image_none.reason = PPN_ERROR_NOT_FOUND;
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_API_REQUEST, .stream = 5};
    frame.api_request =
        (struct wire_api_request){.method = WIRE_API_DELETE,
                                  .path = ppn_slice(text, maximal ? WIRE_API_PATH_MAX : 3),
                                  .query = ppn_slice(text, maximal ? WIRE_API_QUERY_MAX : 0),
                                  .body = ppn_slice(filler, maximal ? WIRE_API_BODY_MAX : 2),
                                  .content_length = maximal ? UINT64_MAX : 2,
                                  .streaming = maximal,
                                  .hops = WIRE_API_HOPS_MAX};
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_API_HEAD, .stream = 5};
    frame.api_head.status = 599;
    frame.api_head.content_type = ppn_slice(text, maximal ? WIRE_API_CONTENT_TYPE_MAX : 4);
    add_frame(samples, &frame, maximal);
    frame = (struct wire_peer_frame){.kind = WIRE_PEER_CLOSE, .stream = 5};
    frame.close.reason = PPN_ERROR_BUSY;
    frame.close.text = ppn_slice(text, maximal ? WIRE_CLOSE_TEXT_MAX : 0);
    add_frame(samples, &frame, maximal);
    add_plain_frames(samples, maximal);
}

static void add_lists(struct samples *samples, bool maximal)
{
    static struct wire_image_item images[PPN_IMAGES_MAX];
    static struct wire_join_hint hints[WIRE_JOIN_HINTS_MAX];
    uint32_t image_count = maximal ? PPN_IMAGES_MAX : 1;
    for (uint32_t i = 0; i < image_count; i++) {
        images[i].size_bytes = images[i].virtual_bytes = UINT64_MAX;
        fill_name(images[i].name, maximal ? PPN_NAME_MAX : 5, 'i');
    }
    struct ppn_writer writer = start();
    enum ppn_error error = wire_image_list_encode(images, image_count, &writer);
    add(samples, "peer", "images", maximal, decode_images, error, ppn_written(&writer));
    uint32_t hint_count = maximal ? WIRE_JOIN_HINTS_MAX : 1;
    for (uint32_t i = 0; i < hint_count; i++) {
        hints[i].endpoint_count = maximal ? PPN_ENDPOINTS_MAX : 1;
        for (uint32_t j = 0; j < hints[i].endpoint_count; j++)
            hints[i].endpoints[j] = endpoint(maximal, (uint8_t)j);
    }
    writer = start();
    error = wire_join_hints_encode(hints, hint_count, &writer);
    add(samples, "join", "hints", maximal, decode_hints, error, ppn_written(&writer));
    writer = start();
    struct wire_log_batch batch;
    wire_log_batch_start(&batch, &writer);
    struct ppn_slice entry = ppn_slice(filler, maximal ? WIRE_LOG_ENTRY_MAX : 60);
    while (wire_log_batch_add(&batch, entry, ppn_slice(filler, 64)) && (maximal || batch.count < 2))
        continue;
    error = wire_log_batch_finish(&batch, maximal);
    add(samples, "join", "batch", maximal, decode_batch, error, ppn_written(&writer));
}

static void add_joins(struct samples *samples, bool maximal)
{
    struct wire_join_message messages[] = {
        {.kind = WIRE_JOIN_REQUEST,
         .request = {ppn_slice(filler, maximal ? WIRE_JOIN_REQUEST_BYTES_MAX : 9),
                     ppn_slice(filler, maximal ? WIRE_JOIN_REDEMPTION_MAX : 0),
                     {ppn_slice(filler, maximal ? WIRE_JOIN_HAVE_MAX * PPN_HASH_SIZE : 0)}}},
        {.kind = WIRE_JOIN_STATUS,
         .status = {WIRE_JOIN_DENIED, "office", UINT32_MAX, PPN_ERROR_REFUSED,
                    ppn_slice("nobody knows it", maximal ? 15 : 0)}},
        {.kind = WIRE_JOIN_LOG_BATCH, .batch = ppn_slice(filler, maximal ? WIRE_LOG_BATCH_MAX : 8)},
        {.kind = WIRE_JOIN_PEER_HINTS,
         .hints = ppn_slice(filler, maximal ? WIRE_JOIN_HINTS_BYTES_MAX : 8)},
        {.kind = WIRE_JOIN_KEEPALIVE},
        {.kind = WIRE_JOIN_ADMIN},
        {.kind = WIRE_JOIN_DATA, .data = ppn_slice(filler, maximal ? WIRE_JOIN_DATA_MAX : 8)},
        {.kind = WIRE_JOIN_DONE},
    };
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct ppn_writer writer = start();
        enum ppn_error error = wire_join_encode(&messages[i], &writer);
        char name[24];
        snprintf(name, sizeof(name), "join-%d", (int)messages[i].kind);
        add(samples, "join", name, maximal, decode_join, error, ppn_written(&writer));
    }
}

void samples_make(struct samples *samples)
{
    samples->count = 0;
    for (int maximal = 0; maximal < 2; maximal++) {
        add_facts(samples, maximal);
        add_machines(samples, maximal);
        add_record(samples, maximal);
        add_gossip(samples, maximal);
        add_fleet(samples, maximal);
        add_frames(samples, maximal);
        add_lists(samples, maximal);
        add_joins(samples, maximal);
    }
}

void samples_free(struct samples *samples)
{
    for (uint32_t i = 0; i < samples->count; i++)
        free(samples->items[i].bytes);
    samples->count = 0;
}
