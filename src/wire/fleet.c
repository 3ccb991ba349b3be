// SPDX-License-Identifier: ISC
#include "wire/fleet.h"

#include <string.h>

#include "base/assert.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum {
    FLEET_MAJOR = 1,
    MESSAGE_FIELDS = 13,
    ROW_FIELDS = 15,
    MESSAGE_SIZE_MAX = 2 + 1 + WIRE_SIZE_BIN16 + WIRE_SIZE_U32 + WIRE_SIZE_UINT + 1 +
                       WIRE_SIZE_BIN32 + 1 + WIRE_SIZE_U8 + WIRE_SIZE_BOOL + WIRE_SIZE_U8 + 2 +
                       PPN_REASON_MAX + 5 + FLEET_SPEC_MAX,
    ROW_SIZE_MAX = 2 + 1 + WIRE_SIZE_BIN16 + 2 * WIRE_SIZE_BIN32 + 2 * WIRE_SIZE_U32 +
                   2 * WIRE_SIZE_UINT + 1 + WIRE_SIZE_U8 + 2 + PPN_REASON_MAX +
                   (1 + 2 * WIRE_SIZE_UINT + WIRE_SIZE_U32) + 3 +
                   FLEET_ATTEMPTS_MAX * (1 + WIRE_SIZE_U32 + WIRE_SIZE_BIN32) + 5 + FLEET_SPEC_MAX
};

_Static_assert(MESSAGE_SIZE_MAX + 0 <= WIRE_FLEET_MAX, "a message always fits");
_Static_assert(ROW_SIZE_MAX + 0 <= WIRE_FLEET_ROW_MAX, "a row always fits");

static const struct wire_scan_limits limits = {.bytes_max = WIRE_FLEET_ROW_MAX,
                                               .items_max = 256,
                                               .depth_max = WIRE_DEPTH_MAX,
                                               .minimal = true};

static void pack_node(struct ppn_writer *writer, const struct ppn_node_id *node)
{
    if (ppn_node_id_is_zero(node))
        wire_pack_nil(writer);
    else
        wire_pack_bytes(writer, node->bytes, PPN_ID_SIZE);
}

static void read_node(struct wire_reader *reader, struct ppn_node_id *node)
{
    if (wire_read_nil(reader))
        return;
    wire_read_bytes(reader, node->bytes, PPN_ID_SIZE);
}

static void pack_spec(struct ppn_writer *writer, struct ppn_slice spec)
{
    PPN_ASSERT(spec.size <= FLEET_SPEC_MAX);
    if (spec.size > 0)
        wire_pack_bin(writer, spec);
    else
        wire_pack_nil(writer);
}

static struct ppn_slice read_spec(struct wire_reader *reader)
{
    return wire_read_nil(reader) ? (struct ppn_slice){0} : wire_read_bin(reader, 1, FLEET_SPEC_MAX);
}

static enum ppn_error read_code(struct wire_reader *reader)
{
    uint64_t code = wire_read_uint(reader, UINT32_MAX);
    return code < PPN_ERROR_COUNT ? (enum ppn_error)code : PPN_ERROR_REFUSED;
}

static bool kind_known(uint64_t kind)
{
#define X(name, number, word)                                                                      \
    if (kind == (number))                                                                          \
        return true;
    FLEET_MSG_KINDS(X)
#undef X
    return false;
}

enum ppn_error wire_fleet_encode(const struct fleet_msg *message, struct ppn_writer *writer)
{
    PPN_ASSERT(kind_known(message->kind));
    PPN_ASSERT((message->kind == FLEET_MSG_PREPARE) == (message->spec.size > 0));
    wire_pack_array(writer, MESSAGE_FIELDS);
    wire_pack_uint(writer, FLEET_MAJOR);
    wire_pack_uint(writer, message->kind);
    wire_pack_bytes(writer, message->request.bytes, PPN_REQUEST_ID_SIZE);
    wire_pack_uint(writer, message->attempt);
    wire_pack_uint(writer, message->round);
    wire_pack_uint(writer, message->phase);
    pack_node(writer, &message->node);
    wire_pack_uint(writer, message->step);
    wire_pack_uint(writer, message->percent > 100 ? 100 : message->percent);
    wire_pack_bool(writer, message->removed);
    wire_pack_uint(writer, message->code);
    wire_pack_printable(writer, message->reason, PPN_REASON_MAX);
    pack_spec(writer, message->spec);
    return wire_pack_finish(writer);
}

enum ppn_error wire_fleet_decode(struct ppn_slice bytes, struct fleet_msg *message)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(message, 0, sizeof(*message));
    struct wire_array array = wire_message_begin(&reader, FLEET_MAJOR, MESSAGE_FIELDS);
    uint64_t kind = wire_read_uint(&reader, UINT32_MAX);
    if (!kind_known(kind))
        wire_read_fail(&reader, PPN_ERROR_UNSUPPORTED);
    message->kind = (enum fleet_msg_kind)kind;
    wire_read_bytes(&reader, message->request.bytes, PPN_REQUEST_ID_SIZE);
    message->attempt = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    message->round = wire_read_uint(&reader, UINT64_MAX);
    message->phase = (enum fleet_phase)wire_read_uint(&reader, FLEET_PHASE_COUNT - 1);
    read_node(&reader, &message->node);
    message->step = (enum fleet_step)wire_read_uint(&reader, FLEET_STEP_COUNT - 1);
    message->percent = (uint32_t)wire_read_uint(&reader, 100);
    message->removed = wire_read_bool(&reader);
    message->code = read_code(&reader);
    wire_read_text(&reader, message->reason, PPN_REASON_MAX);
    message->spec = read_spec(&reader);
    if ((message->kind == FLEET_MSG_PREPARE) != (message->spec.size > 0))
        wire_read_fail(&reader, PPN_ERROR_INVALID);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

void wire_fleet_key_encode(const struct fleet_key *key, struct ppn_writer *writer)
{
    ppn_write(writer, ppn_slice(key->request.bytes, PPN_REQUEST_ID_SIZE));
    if (key->kind == FLEET_ROW_HOLD)
        ppn_write(writer, ppn_slice(key->origin.bytes, PPN_ID_SIZE));
}

enum ppn_error wire_fleet_row_encode(const struct fleet_row *row, struct ppn_writer *writer)
{
    PPN_ASSERT(row->abandoned_count <= FLEET_ATTEMPTS_MAX);
    wire_pack_array(writer, ROW_FIELDS);
    wire_pack_uint(writer, FLEET_MAJOR);
    wire_pack_uint(writer, row->key.kind);
    wire_pack_bytes(writer, row->key.request.bytes, PPN_REQUEST_ID_SIZE);
    pack_node(writer, &row->key.origin);
    wire_pack_uint(writer, row->state);
    wire_pack_uint(writer, row->attempt);
    pack_node(writer, &row->node);
    wire_pack_int(writer, row->created_unix_ms);
    wire_pack_int(writer, row->changed_unix_ms);
    wire_pack_uint(writer, row->tomb);
    wire_pack_uint(writer, row->code);
    wire_pack_printable(writer, row->reason, PPN_REASON_MAX);
    wire_pack_array(writer, 3);
    wire_pack_uint(writer, row->reserve.memory_bytes);
    wire_pack_uint(writer, row->reserve.disk_bytes);
    wire_pack_uint(writer, row->reserve.vcpus);
    wire_pack_array(writer, row->abandoned_count);
    for (uint32_t i = 0; i < row->abandoned_count; i++) {
        wire_pack_array(writer, 2);
        wire_pack_uint(writer, row->abandoned[i].attempt);
        wire_pack_bytes(writer, row->abandoned[i].node.bytes, PPN_ID_SIZE);
    }
    pack_spec(writer, row->spec);
    return wire_pack_finish(writer);
}

enum ppn_error wire_fleet_row_decode(struct ppn_slice bytes, struct fleet_row *row)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(row, 0, sizeof(*row));
    struct wire_array array = wire_message_begin(&reader, FLEET_MAJOR, ROW_FIELDS);
    row->key.kind = (enum fleet_row_kind)wire_read_uint(&reader, FLEET_ROW_HOLD);
    wire_read_bytes(&reader, row->key.request.bytes, PPN_REQUEST_ID_SIZE);
    read_node(&reader, &row->key.origin);
    row->state = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    row->attempt = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    read_node(&reader, &row->node);
    row->created_unix_ms = wire_read_int(&reader);
    row->changed_unix_ms = wire_read_int(&reader);
    row->tomb = (enum fleet_tomb)wire_read_uint(&reader, FLEET_TOMB_REMOVED);
    row->code = read_code(&reader);
    wire_read_text(&reader, row->reason, PPN_REASON_MAX);
    wire_read_tuple(&reader, 3);
    row->reserve.memory_bytes = wire_read_uint(&reader, UINT64_MAX);
    row->reserve.disk_bytes = wire_read_uint(&reader, UINT64_MAX);
    row->reserve.vcpus = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    row->abandoned_count = wire_read_list(&reader, FLEET_ATTEMPTS_MAX);
    for (uint32_t i = 0; i < row->abandoned_count; i++) {
        wire_read_tuple(&reader, 2);
        row->abandoned[i].attempt = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
        wire_read_bytes(&reader, row->abandoned[i].node.bytes, PPN_ID_SIZE);
    }
    row->spec = read_spec(&reader);
    wire_array_end(&reader, array);
    enum ppn_error error = wire_read_finish(&reader);
    bool hold = row->key.kind == FLEET_ROW_HOLD;
    if (error == PPN_OK &&
        (row->key.kind < FLEET_ROW_REQUEST || hold == ppn_node_id_is_zero(&row->key.origin)))
        return PPN_ERROR_INVALID;
    return error;
}
