// SPDX-License-Identifier: ISC
#include "wire/facts.h"

#include <string.h>

#include "base/assert.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    FACTS_MAJOR = 1,
    PROFILE_FIELDS = 13, /* that every version has; the relay's two ports follow */
    LOAD_FIELDS = 11,
    FLAG_LID_CLOSED = 1,
    FLAG_THROTTLED = 2,
    CANDIDATE_SIZE = 1 + WIRE_SIZE_ENDPOINT + 1,
    RELAY_PORTS_SIZE = 2 * 3,
    /* A label's own array header and its two string headers at their longest. */
    LABEL_OVERHEAD = 5,
    /* Everything but labels and image tags, at its largest. */
    PROFILE_FIXED_MAX = 1 + 1 + (1 + PPN_ARCH_MAX) + (1 + PPN_VERSION_MAX) + WIRE_SIZE_U32 +
                        2 * WIRE_SIZE_UINT + 3 + WIRE_SIZE_BOOL + 1 +
                        PPN_ENDPOINTS_MAX * CANDIDATE_SIZE + 3 + 3 + RELAY_PORTS_SIZE,
    LOAD_SIZE_MAX = 1 + 1 + 3 * WIRE_SIZE_UINT + 3 * WIRE_SIZE_U32 + 1 + WIRE_SIZE_U8 +
                    WIRE_SIZE_U32 + WIRE_SIZE_UINT
};

_Static_assert(PROFILE_FIXED_MAX + WIRE_LABELS_BYTES_MAX <= WIRE_PROFILE_MAX,
               "candidates and labels always fit");
_Static_assert(LOAD_SIZE_MAX + 0 <= WIRE_LOAD_MAX, "a load always fits");

static const struct wire_scan_limits profile_limits = {
    .bytes_max = WIRE_PROFILE_MAX, .items_max = 256, .depth_max = 4, .minimal = true};
static const struct wire_scan_limits load_limits = {
    .bytes_max = WIRE_LOAD_MAX, .items_max = 64, .depth_max = 4, .minimal = true};

bool wire_labels_fit(const struct ppn_label *labels, uint32_t count)
{
    size_t size = 0;
    if (count > PPN_LABELS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        size += LABEL_OVERHEAD + strnlen(labels[i].key, PPN_NAME_MAX) +
                strnlen(labels[i].value, PPN_LABEL_VALUE_MAX);
    return size <= WIRE_LABELS_BYTES_MAX;
}

/* As many tags as the record still takes after what was written. */
static void pack_images(const struct ppn_profile *profile, struct ppn_writer *writer, size_t start)
{
    size_t used = writer->size - start + 3 + RELAY_PORTS_SIZE;
    size_t room = used < WIRE_PROFILE_MAX ? WIRE_PROFILE_MAX - used : 0;
    size_t count = profile->image_count;
    if (count > room / PPN_IMAGE_TAG_SIZE)
        count = room / PPN_IMAGE_TAG_SIZE;
    wire_pack_bytes(writer, profile->images[0].bytes, count * PPN_IMAGE_TAG_SIZE);
}

enum ppn_error wire_profile_encode(const struct ppn_profile *profile, struct ppn_writer *writer)
{
    PPN_ASSERT(profile->candidate_count <= PPN_ENDPOINTS_MAX);
    PPN_ASSERT(profile->image_count <= PPN_IMAGE_TAGS_MAX);
    if (!wire_labels_fit(profile->labels, profile->label_count))
        return PPN_ERROR_TOO_BIG;

    size_t start = writer->size;
    wire_pack_array(writer, PROFILE_FIELDS + 2);
    wire_pack_uint(writer, FACTS_MAJOR);
    wire_pack_printable(writer, profile->arch, PPN_ARCH_MAX);
    wire_pack_printable(writer, profile->version, PPN_VERSION_MAX);
    wire_pack_uint(writer, profile->cpus);
    wire_pack_uint(writer, profile->memory_total_bytes);
    wire_pack_uint(writer, profile->disk_total_bytes);
    wire_pack_uint(writer, profile->kvm);
    wire_pack_uint(writer, profile->isolation_max);
    wire_pack_uint(writer, profile->link);
    wire_pack_bool(writer, profile->cordoned);
    wire_pack_array(writer, profile->candidate_count);
    for (uint32_t i = 0; i < profile->candidate_count; i++) {
        wire_pack_array(writer, 2);
        wire_pack_endpoint(writer, &profile->candidates[i].endpoint);
        wire_pack_uint(writer, profile->candidates[i].kind);
    }
    if (!wire_pack_labels(writer, profile->labels, profile->label_count))
        return PPN_ERROR_INVALID;
    pack_images(profile, writer, start);
    wire_pack_uint(writer, profile->relay_port);
    wire_pack_uint(writer, profile->relay_tcp_port);
    return wire_pack_finish(writer);
}

static void read_candidates(struct wire_reader *reader, struct ppn_profile *profile)
{
    profile->candidate_count = wire_read_list(reader, PPN_ENDPOINTS_MAX);
    for (uint32_t i = 0; i < profile->candidate_count; i++) {
        wire_read_tuple(reader, 2);
        wire_read_endpoint(reader, &profile->candidates[i].endpoint);
        profile->candidates[i].kind =
            (enum ppn_endpoint_kind)wire_read_uint(reader, PPN_ENDPOINT_OBSERVED);
    }
}

static void read_images(struct wire_reader *reader, struct ppn_profile *profile)
{
    struct ppn_slice tags = wire_read_bin(reader, 0, PPN_IMAGE_TAGS_MAX * PPN_IMAGE_TAG_SIZE);
    if (tags.size % PPN_IMAGE_TAG_SIZE != 0)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    if (reader->error || tags.size == 0)
        return;
    profile->image_count = (uint32_t)(tags.size / PPN_IMAGE_TAG_SIZE);
    memcpy(profile->images, tags.data, tags.size);
}

enum ppn_error wire_profile_decode(struct ppn_slice bytes, struct ppn_profile *profile)
{
    struct wire_reader reader = wire_read_start(bytes, &profile_limits);
    *profile = (struct ppn_profile){0};
    struct wire_array array = wire_message_begin(&reader, FACTS_MAJOR, PROFILE_FIELDS);
    wire_read_text(&reader, profile->arch, PPN_ARCH_MAX);
    wire_read_text(&reader, profile->version, PPN_VERSION_MAX);
    profile->cpus = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    profile->memory_total_bytes = wire_read_uint(&reader, UINT64_MAX);
    profile->disk_total_bytes = wire_read_uint(&reader, UINT64_MAX);
    profile->kvm = (enum ppn_kvm_level)wire_read_uint(&reader, PPN_KVM_BOOTS);
    profile->isolation_max = (enum ppn_isolation)wire_read_uint(&reader, PPN_ISOLATION_TDX);
    profile->link = (enum ppn_link)wire_read_uint(&reader, PPN_LINK_WIFI);
    profile->cordoned = wire_read_bool(&reader);
    read_candidates(&reader, profile);
    wire_read_labels(&reader, profile->labels, &profile->label_count);
    read_images(&reader, profile);
    if (array.count > array.taken) {
        wire_array_need(&reader, &array, 1);
        profile->relay_port = (uint16_t)wire_read_uint(&reader, UINT16_MAX);
    }
    if (array.count > array.taken) {
        wire_array_need(&reader, &array, 1);
        profile->relay_tcp_port = (uint16_t)wire_read_uint(&reader, UINT16_MAX);
    }
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

enum ppn_error wire_load_encode(const struct ppn_load *load, struct ppn_writer *writer)
{
    wire_pack_array(writer, LOAD_FIELDS);
    wire_pack_uint(writer, FACTS_MAJOR);
    wire_pack_uint(writer, load->memory_available_bytes);
    wire_pack_uint(writer, load->memory_reserved_bytes);
    wire_pack_uint(writer, load->disk_free_bytes);
    wire_pack_uint(writer, load->vcpus_reserved);
    wire_pack_uint(writer, load->load_per_mille);
    wire_pack_uint(writer, load->vm_count);
    wire_pack_uint(writer, load->power);
    wire_pack_uint(writer, load->battery_percent);
    wire_pack_uint(writer, (load->lid_closed ? FLAG_LID_CLOSED : 0u) |
                               (load->throttled ? FLAG_THROTTLED : 0u));
    wire_pack_uint(writer, load->vm_digest);
    return wire_pack_finish(writer);
}

enum ppn_error wire_load_decode(struct ppn_slice bytes, struct ppn_load *load)
{
    struct wire_reader reader = wire_read_start(bytes, &load_limits);
    *load = (struct ppn_load){0};
    struct wire_array array = wire_message_begin(&reader, FACTS_MAJOR, LOAD_FIELDS);
    load->memory_available_bytes = wire_read_uint(&reader, UINT64_MAX);
    load->memory_reserved_bytes = wire_read_uint(&reader, UINT64_MAX);
    load->disk_free_bytes = wire_read_uint(&reader, UINT64_MAX);
    load->vcpus_reserved = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    load->load_per_mille = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    load->vm_count = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    load->power = (enum ppn_power)wire_read_uint(&reader, PPN_POWER_BATTERY);
    load->battery_percent = (uint8_t)wire_read_uint(&reader, UINT8_MAX);
    /* Flags that a newer minor version added mean nothing here. */
    uint64_t flags = wire_read_uint(&reader, UINT32_MAX);
    load->lid_closed = (flags & FLAG_LID_CLOSED) != 0;
    load->throttled = (flags & FLAG_THROTTLED) != 0;
    load->vm_digest = wire_read_uint(&reader, UINT64_MAX);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}
