// SPDX-License-Identifier: ISC
#include "wire/stored.h"

#include "base/assert.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    STORED_MAJOR = 1,
    SETTINGS_FIELDS = 7,
    REACHED_FIELDS = 3,
    SETTINGS_SIZE_MAX = 2 + 2 * WIRE_SIZE_NAME + WIRE_SIZE_BIN32 + WIRE_SIZE_BOOL +
                        WIRE_SIZE_LABELS + 3 + PPN_SEEDS_MAX * WIRE_SIZE_ENDPOINT,
    REACHED_SIZE_MAX = 2 + 1 + PPN_ENDPOINTS_MAX * WIRE_SIZE_ENDPOINT + WIRE_SIZE_UINT
};

_Static_assert(SETTINGS_SIZE_MAX + 0 <= WIRE_SETTINGS_MAX, "settings always fit");
_Static_assert(REACHED_SIZE_MAX + 0 <= WIRE_REACHED_MAX, "endpoints always fit");

static const struct wire_scan_limits limits = {
    .bytes_max = WIRE_SETTINGS_MAX, .items_max = 256, .depth_max = WIRE_DEPTH_MAX, .minimal = true};

static void pack_endpoints(struct ppn_writer *writer, const struct ppn_endpoint *endpoints,
                           uint32_t count, uint32_t max)
{
    PPN_ASSERT(count <= max);
    wire_pack_array(writer, count);
    for (uint32_t i = 0; i < count; i++)
        wire_pack_endpoint(writer, &endpoints[i]);
}

static void read_endpoints(struct wire_reader *reader, struct ppn_endpoint *endpoints,
                           uint32_t *count, uint32_t max)
{
    *count = wire_read_list(reader, max);
    for (uint32_t i = 0; i < *count; i++)
        wire_read_endpoint(reader, &endpoints[i]);
}

/* Our own disk wrote it: whatever is wrong is damage, but for a newer program's major version. */
static enum ppn_error stored_error(const struct wire_reader *reader)
{
    enum ppn_error error = wire_read_finish(reader);
    return error == PPN_OK || error == PPN_ERROR_VERSION ? error : PPN_ERROR_CORRUPT;
}

enum ppn_error wire_settings_encode(const struct wire_settings *settings, struct ppn_writer *writer)
{
    wire_pack_array(writer, SETTINGS_FIELDS);
    wire_pack_uint(writer, STORED_MAJOR);
    wire_pack_text(writer, settings->name);
    wire_pack_text(writer, settings->network_name);
    wire_pack_bytes(writer, settings->network.bytes, PPN_HASH_SIZE);
    wire_pack_bool(writer, settings->cordoned);
    if (!wire_pack_labels(writer, settings->labels, settings->label_count))
        return PPN_ERROR_INVALID;
    pack_endpoints(writer, settings->seeds, settings->seed_count, PPN_SEEDS_MAX);
    return wire_pack_finish(writer);
}

enum ppn_error wire_settings_decode(struct ppn_slice bytes, struct wire_settings *settings)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    *settings = (struct wire_settings){0};
    struct wire_array array = wire_message_begin(&reader, STORED_MAJOR, SETTINGS_FIELDS);
    wire_read_name(&reader, settings->name, true);
    wire_read_name(&reader, settings->network_name, true);
    wire_read_bytes(&reader, settings->network.bytes, PPN_HASH_SIZE);
    settings->cordoned = wire_read_bool(&reader);
    wire_read_labels(&reader, settings->labels, &settings->label_count);
    read_endpoints(&reader, settings->seeds, &settings->seed_count, PPN_SEEDS_MAX);
    wire_array_end(&reader, array);
    return stored_error(&reader);
}

enum ppn_error wire_reached_encode(const struct wire_reached *reached, struct ppn_writer *writer)
{
    wire_pack_array(writer, REACHED_FIELDS);
    wire_pack_uint(writer, STORED_MAJOR);
    pack_endpoints(writer, reached->endpoints, reached->count, PPN_ENDPOINTS_MAX);
    wire_pack_int(writer, reached->unix_ms);
    return wire_pack_finish(writer);
}

enum ppn_error wire_reached_decode(struct ppn_slice bytes, struct wire_reached *reached)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    *reached = (struct wire_reached){0};
    struct wire_array array = wire_message_begin(&reader, STORED_MAJOR, REACHED_FIELDS);
    read_endpoints(&reader, reached->endpoints, &reached->count, PPN_ENDPOINTS_MAX);
    reached->unix_ms = wire_read_int(&reader);
    wire_array_end(&reader, array);
    return stored_error(&reader);
}
