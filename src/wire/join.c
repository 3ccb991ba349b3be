// SPDX-License-Identifier: ISC
#include "wire/join.h"

#include <string.h>

#include "base/assert.h"
#include "wire/log.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum { HINTS_MAJOR = 1 };

_Static_assert(WIRE_LOG_BATCH_MAX + 16 <= WIRE_JOIN_MESSAGE_MAX, "a batch fits a message");
_Static_assert(16 + WIRE_JOIN_HINTS_MAX *
                           (2 + WIRE_SIZE_BIN32 + PPN_ENDPOINTS_MAX * WIRE_SIZE_ENDPOINT) <=
                   WIRE_JOIN_HINTS_BYTES_MAX,
               "full hints fit");

static const struct wire_scan_limits limits = {.bytes_max = WIRE_JOIN_MESSAGE_MAX,
                                               .items_max = 64,
                                               .depth_max = WIRE_DEPTH_MAX,
                                               .minimal = true};
static const struct wire_scan_limits hint_limits = {.bytes_max = WIRE_JOIN_HINTS_BYTES_MAX,
                                                    .items_max = 4096,
                                                    .depth_max = WIRE_DEPTH_MAX,
                                                    .minimal = true};

/* Fields after [major, kind]. */
static uint32_t field_count(enum wire_join_kind kind)
{
    switch (kind) {
    case WIRE_JOIN_REQUEST:
        return 3;
    case WIRE_JOIN_STATUS:
        return 5;
    case WIRE_JOIN_LOG_BATCH:
    case WIRE_JOIN_PEER_HINTS:
    case WIRE_JOIN_DATA:
        return 1;
    case WIRE_JOIN_KEEPALIVE:
    case WIRE_JOIN_DONE:
    case WIRE_JOIN_ADMIN:
        return 0;
    }
    PPN_UNREACHABLE();
}

static void pack_request(const struct wire_join_request *request, struct ppn_writer *writer)
{
    PPN_ASSERT(request->request.size <= WIRE_JOIN_REQUEST_BYTES_MAX);
    PPN_ASSERT(request->redemption.size <= WIRE_JOIN_REDEMPTION_MAX);
    PPN_ASSERT(request->have.bytes.size % PPN_HASH_SIZE == 0 &&
               wire_hashes_count(request->have) <= WIRE_JOIN_HAVE_MAX);
    wire_pack_bin(writer, request->request);
    wire_pack_bin(writer, request->redemption);
    wire_pack_bin(writer, request->have.bytes);
}

static void pack_status(const struct wire_join_status *status, struct ppn_writer *writer)
{
    char reason[WIRE_JOIN_REASON_MAX + 1];
    size_t size = status->reason.size < WIRE_JOIN_REASON_MAX ? status->reason.size
                                                             : (size_t)WIRE_JOIN_REASON_MAX;
    if (size > 0)
        memcpy(reason, status->reason.data, size);
    reason[size] = '\0';
    wire_pack_uint(writer, status->state);
    wire_pack_text(writer, status->network_name);
    wire_pack_uint(writer, status->position);
    wire_pack_uint(writer, status->error);
    wire_pack_printable(writer, reason, WIRE_JOIN_REASON_MAX);
}

enum ppn_error wire_join_encode(const struct wire_join_message *message, struct ppn_writer *writer)
{
    wire_pack_array(writer, 2 + field_count(message->kind));
    wire_pack_uint(writer, WIRE_JOIN_MAJOR);
    wire_pack_uint(writer, message->kind);
    switch (message->kind) {
    case WIRE_JOIN_REQUEST:
        pack_request(&message->request, writer);
        break;
    case WIRE_JOIN_STATUS:
        pack_status(&message->status, writer);
        break;
    case WIRE_JOIN_LOG_BATCH:
        PPN_ASSERT(message->batch.size <= WIRE_LOG_BATCH_MAX);
        wire_pack_bin(writer, message->batch);
        break;
    case WIRE_JOIN_PEER_HINTS:
        PPN_ASSERT(message->hints.size <= WIRE_JOIN_HINTS_BYTES_MAX);
        wire_pack_bin(writer, message->hints);
        break;
    case WIRE_JOIN_DATA:
        PPN_ASSERT(message->data.size <= WIRE_JOIN_DATA_MAX);
        wire_pack_bin(writer, message->data);
        break;
    case WIRE_JOIN_KEEPALIVE:
    case WIRE_JOIN_DONE:
    case WIRE_JOIN_ADMIN:
        break;
    }
    return wire_pack_finish(writer);
}

static void read_request(struct wire_reader *reader, struct wire_join_request *request)
{
    request->request = wire_read_bin(reader, 1, WIRE_JOIN_REQUEST_BYTES_MAX);
    request->redemption = wire_read_bin(reader, 0, WIRE_JOIN_REDEMPTION_MAX);
    request->have.bytes = wire_read_bin(reader, 0, WIRE_JOIN_HAVE_MAX * PPN_HASH_SIZE);
    if (request->have.bytes.size % PPN_HASH_SIZE != 0)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

static void read_status(struct wire_reader *reader, struct wire_join_status *status)
{
    status->state = (enum wire_join_state)wire_read_uint(reader, WIRE_JOIN_ADMITTED);
    wire_read_name(reader, status->network_name, true);
    status->position = (uint32_t)wire_read_uint(reader, UINT32_MAX);
    uint64_t code = wire_read_uint(reader, UINT32_MAX);
    status->error = code < PPN_ERROR_COUNT ? (enum ppn_error)code : PPN_ERROR_REFUSED;
    status->reason = wire_read_str(reader, WIRE_JOIN_REASON_MAX);
    for (size_t i = 0; i < status->reason.size; i++)
        if (status->reason.data[i] < 0x20 || status->reason.data[i] > 0x7e)
            wire_read_fail(reader, PPN_ERROR_INVALID);
}

enum ppn_error wire_join_decode(struct ppn_slice bytes, struct wire_join_message *message)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(message, 0, sizeof(*message));
    struct wire_array array = wire_message_begin(&reader, WIRE_JOIN_MAJOR, 2);
    uint64_t kind = wire_read_uint(&reader, UINT32_MAX);
    if (reader.error)
        return reader.error;
    if (kind < WIRE_JOIN_REQUEST || kind > WIRE_JOIN_DATA)
        return PPN_ERROR_UNSUPPORTED;
    message->kind = (enum wire_join_kind)kind;
    wire_array_need(&reader, &array, field_count(message->kind));
    switch (message->kind) {
    case WIRE_JOIN_REQUEST:
        read_request(&reader, &message->request);
        break;
    case WIRE_JOIN_STATUS:
        read_status(&reader, &message->status);
        break;
    case WIRE_JOIN_LOG_BATCH:
        message->batch = wire_read_bin(&reader, 1, WIRE_LOG_BATCH_MAX);
        break;
    case WIRE_JOIN_PEER_HINTS:
        message->hints = wire_read_bin(&reader, 1, WIRE_JOIN_HINTS_BYTES_MAX);
        break;
    case WIRE_JOIN_DATA:
        message->data = wire_read_bin(&reader, 1, WIRE_JOIN_DATA_MAX);
        break;
    case WIRE_JOIN_KEEPALIVE:
    case WIRE_JOIN_DONE:
    case WIRE_JOIN_ADMIN:
        break;
    }
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

enum ppn_error wire_join_hints_encode(const struct wire_join_hint *hints, uint32_t count,
                                      struct ppn_writer *writer)
{
    PPN_ASSERT(count <= WIRE_JOIN_HINTS_MAX);
    wire_pack_array(writer, 2);
    wire_pack_uint(writer, HINTS_MAJOR);
    wire_pack_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        PPN_ASSERT(hints[i].endpoint_count <= PPN_ENDPOINTS_MAX);
        wire_pack_array(writer, 2);
        wire_pack_bytes(writer, hints[i].node.bytes, PPN_ID_SIZE);
        wire_pack_array(writer, hints[i].endpoint_count);
        for (uint32_t j = 0; j < hints[i].endpoint_count; j++)
            wire_pack_endpoint(writer, &hints[i].endpoints[j]);
    }
    return wire_pack_finish(writer);
}

enum ppn_error wire_join_hints_decode(struct ppn_slice bytes, struct wire_join_hint *hints,
                                      uint32_t capacity, uint32_t *count)
{
    struct wire_reader reader = wire_read_start(bytes, &hint_limits);
    struct wire_array array = wire_message_begin(&reader, HINTS_MAJOR, 2);
    *count = wire_read_list(&reader, capacity);
    for (uint32_t i = 0; i < *count; i++) {
        struct wire_array fields = wire_array_begin(&reader, 2);
        hints[i] = (struct wire_join_hint){0};
        wire_read_bytes(&reader, hints[i].node.bytes, PPN_ID_SIZE);
        hints[i].endpoint_count = wire_read_list(&reader, PPN_ENDPOINTS_MAX);
        for (uint32_t j = 0; j < hints[i].endpoint_count; j++)
            wire_read_endpoint(&reader, &hints[i].endpoints[j]);
        wire_array_end(&reader, fields);
    }
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}
