// SPDX-License-Identifier: ISC
#include "wire/peer.h"

#include <string.h>

#include "base/assert.h"
#include "wire/log.h"
#include "wire/machine.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum { FRAME_FIELDS = 4, IMAGE_LIST_MAJOR = 1, HTTP_STATUS_MIN = 100, HTTP_STATUS_MAX = 599 };

_Static_assert(WIRE_API_BODY_MAX + WIRE_API_PATH_MAX + WIRE_API_QUERY_MAX + 64 <= WIRE_OPAQUE_MAX,
               "a request fits a frame");
_Static_assert(WIRE_IMAGE_CHUNK_MAX + 64 <= WIRE_OPAQUE_MAX, "a chunk fits a frame");
_Static_assert(WIRE_VM_LIST_MAX + 0 <= WIRE_OPAQUE_MAX, "a VM list fits a frame");
_Static_assert(WIRE_LOG_BATCH_MAX + 0 <= WIRE_OPAQUE_MAX, "a batch fits a frame");
_Static_assert(16 + PPN_IMAGES_MAX * (1 + WIRE_SIZE_NAME + WIRE_SIZE_BIN32 + 2 * WIRE_SIZE_UINT) <=
                   WIRE_IMAGE_LIST_MAX,
               "a full image list fits");

static const struct wire_scan_limits limits = {
    .bytes_max = PPN_FRAME_MAX, .items_max = 256, .depth_max = WIRE_DEPTH_MAX, .minimal = true};
static const struct wire_scan_limits image_limits = {.bytes_max = WIRE_IMAGE_LIST_MAX,
                                                     .items_max = PPN_IMAGES_MAX * 16,
                                                     .depth_max = WIRE_DEPTH_MAX,
                                                     .minimal = true};

struct ppn_hash wire_hashes_at(struct wire_hashes hashes, uint32_t index)
{
    struct ppn_hash hash;
    PPN_ASSERT(index < wire_hashes_count(hashes));
    memcpy(hash.bytes, hashes.bytes.data + (size_t)index * PPN_HASH_SIZE, PPN_HASH_SIZE);
    return hash;
}

static bool kind_known(uint64_t number)
{
#define X(name, value, rule)                                                                       \
    if (number == (value))                                                                         \
        return true;
    WIRE_PEER_KINDS(X)
#undef X
    return false;
}

enum wire_peer_rule wire_peer_rule(enum wire_peer_kind kind)
{
    switch (kind) {
#define X(name, value, rule)                                                                       \
    case WIRE_PEER_##name:                                                                         \
        return WIRE_RULE_##rule;
        WIRE_PEER_KINDS(X)
#undef X
    }
    return WIRE_RULE_CONNECTION;
}

const char *wire_peer_kind_name(enum wire_peer_kind kind)
{
    switch (kind) {
#define X(name, value, rule)                                                                       \
    case WIRE_PEER_##name:                                                                         \
        return #name;
        WIRE_PEER_KINDS(X)
#undef X
    }
    return "unknown";
}

static void pack_hashes(struct ppn_writer *writer, struct wire_hashes hashes)
{
    PPN_ASSERT(hashes.bytes.size % PPN_HASH_SIZE == 0);
    PPN_ASSERT(wire_hashes_count(hashes) <= WIRE_LOG_HASHES_MAX);
    wire_pack_bin(writer, hashes.bytes);
}

static void pack_one(struct ppn_writer *writer, struct ppn_slice opaque, size_t max)
{
    PPN_ASSERT(opaque.size <= max);
    wire_pack_array(writer, 1);
    wire_pack_bin(writer, opaque);
}

static void pack_hello(struct ppn_writer *writer, const struct wire_hello *hello)
{
    wire_pack_array(writer, 5);
    wire_pack_uint(writer, hello->major_min);
    wire_pack_uint(writer, hello->major_max);
    wire_pack_text(writer, hello->name);
    wire_pack_printable(writer, hello->software, WIRE_SOFTWARE_MAX);
    wire_pack_uint(writer, hello->boot);
}

static void pack_api_request(struct ppn_writer *writer, const struct wire_api_request *request)
{
    PPN_ASSERT(request->path.size <= WIRE_API_PATH_MAX);
    PPN_ASSERT(request->query.size <= WIRE_API_QUERY_MAX);
    PPN_ASSERT(request->body.size <= WIRE_API_BODY_MAX && request->hops <= WIRE_API_HOPS_MAX);
    wire_pack_array(writer, 7);
    wire_pack_uint(writer, request->method);
    wire_pack_str(writer, request->path);
    wire_pack_str(writer, request->query);
    wire_pack_bin(writer, request->body);
    wire_pack_uint(writer, request->content_length);
    wire_pack_bool(writer, request->streaming);
    wire_pack_uint(writer, request->hops);
}

static void pack_image_data(struct ppn_writer *writer, const struct wire_image_data *data)
{
    PPN_ASSERT(data->bytes.size <= WIRE_IMAGE_CHUNK_MAX);
    wire_pack_array(writer, 4);
    wire_pack_bytes(writer, data->hash.bytes, PPN_HASH_SIZE);
    wire_pack_uint(writer, data->offset);
    wire_pack_uint(writer, data->size_bytes);
    wire_pack_bin(writer, data->bytes);
}

static void pack_text_slice(struct ppn_writer *writer, struct ppn_slice text, size_t max)
{
    char copy[WIRE_CLOSE_TEXT_MAX + 1];
    size_t size = text.size < max ? text.size : max;
    PPN_ASSERT(max <= WIRE_CLOSE_TEXT_MAX);
    if (size > 0)
        memcpy(copy, text.data, size);
    copy[size] = '\0';
    wire_pack_printable(writer, copy, max);
}

/* The kinds of streams. */
static void pack_exchange(struct ppn_writer *writer, const struct wire_peer_frame *frame)
{
    switch ((int)frame->kind) {
    case WIRE_PEER_VM_LIST_WANT:
        wire_pack_array(writer, 1);
        wire_pack_uint(writer, frame->known_digest);
        return;
    case WIRE_PEER_VM_LIST:
        pack_one(writer, frame->vm_list, WIRE_VM_LIST_MAX);
        return;
    case WIRE_PEER_IMAGE_LIST:
        pack_one(writer, frame->images, WIRE_IMAGE_LIST_MAX);
        return;
    case WIRE_PEER_IMAGE_WANT:
        wire_pack_array(writer, 3);
        wire_pack_bytes(writer, frame->image_want.hash.bytes, PPN_HASH_SIZE);
        wire_pack_uint(writer, frame->image_want.offset);
        wire_pack_uint(writer, frame->image_want.length);
        return;
    case WIRE_PEER_IMAGE_DATA:
        pack_image_data(writer, &frame->image_data);
        return;
    case WIRE_PEER_IMAGE_NONE:
        wire_pack_array(writer, 2);
        wire_pack_bytes(writer, frame->image_none.hash.bytes, PPN_HASH_SIZE);
        wire_pack_uint(writer, frame->image_none.reason);
        return;
    case WIRE_PEER_API_REQUEST:
        pack_api_request(writer, &frame->api_request);
        return;
    case WIRE_PEER_API_HEAD:
        wire_pack_array(writer, 2);
        wire_pack_uint(writer, frame->api_head.status);
        pack_text_slice(writer, frame->api_head.content_type, WIRE_API_CONTENT_TYPE_MAX);
        return;
    case WIRE_PEER_API_DATA:
        pack_one(writer, frame->api_data, WIRE_API_DATA_MAX);
        return;
    case WIRE_PEER_API_WINDOW:
        PPN_ASSERT(frame->window >= 1 && frame->window <= WIRE_API_WINDOW);
        wire_pack_array(writer, 1);
        wire_pack_uint(writer, frame->window);
        return;
    case WIRE_PEER_CLOSE:
        wire_pack_array(writer, 2);
        wire_pack_uint(writer, frame->close.reason);
        pack_text_slice(writer, frame->close.text, WIRE_CLOSE_TEXT_MAX);
        return;
    default: /* IMAGE_LIST_WANT, API_END */
        wire_pack_array(writer, 0);
    }
}

static void pack_payload(struct ppn_writer *writer, const struct wire_peer_frame *frame)
{
    switch ((int)frame->kind) {
    case WIRE_PEER_HELLO:
        pack_hello(writer, &frame->hello);
        return;
    case WIRE_PEER_PING:
    case WIRE_PEER_PONG:
        wire_pack_array(writer, 1);
        wire_pack_uint(writer, frame->token);
        return;
    case WIRE_PEER_LOG_HEADS:
        wire_pack_array(writer, 1);
        pack_hashes(writer, frame->heads);
        return;
    case WIRE_PEER_LOG_WANT:
        wire_pack_array(writer, 3);
        pack_hashes(writer, frame->log_want.have);
        pack_hashes(writer, frame->log_want.closed);
        wire_pack_uint(writer, frame->log_want.staged);
        return;
    case WIRE_PEER_LOG_ENTRIES:
    case WIRE_PEER_LOG_PUSH:
        pack_one(writer, frame->batch, WIRE_LOG_BATCH_MAX);
        return;
    case WIRE_PEER_FLEET:
        pack_one(writer, frame->fleet, WIRE_OPAQUE_MAX);
        return;
    case WIRE_PEER_VM_CHANGED:
        wire_pack_array(writer, 1);
        wire_pack_uint(writer, frame->known_digest);
        return;
    case WIRE_PEER_JOIN:
        PPN_ASSERT(frame->join.request.size <= WIRE_JOIN_NOTE_MAX);
        wire_pack_array(writer, 2);
        wire_pack_bin(writer, frame->join.request);
        wire_pack_endpoint(writer, &frame->join.from);
        return;
    default:
        pack_exchange(writer, frame);
    }
}

enum ppn_error wire_peer_encode(const struct wire_peer_frame *frame, struct ppn_writer *writer)
{
    PPN_ASSERT(kind_known((uint64_t)frame->kind));
    size_t start = writer->size;
    ppn_write_u32(writer, 0);
    wire_pack_array(writer, FRAME_FIELDS);
    wire_pack_uint(writer, WIRE_PEER_MAJOR);
    wire_pack_uint(writer, (uint64_t)frame->kind);
    wire_pack_uint(writer, frame->stream);
    pack_payload(writer, frame);
    enum ppn_error error = wire_pack_finish(writer);
    if (error)
        return error;
    size_t size = writer->size - start - WIRE_FRAME_PREFIX;
    if (size > PPN_FRAME_MAX)
        return PPN_ERROR_TOO_BIG;
    struct ppn_writer prefix = ppn_writer(writer->data + start, WIRE_FRAME_PREFIX);
    ppn_write_u32(&prefix, (uint32_t)size);
    return PPN_OK;
}

static struct wire_hashes read_hashes(struct wire_reader *reader)
{
    struct ppn_slice bytes = wire_read_bin(reader, 0, WIRE_LOG_HASHES_MAX * PPN_HASH_SIZE);
    if (bytes.size % PPN_HASH_SIZE != 0)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    return (struct wire_hashes){reader->error ? (struct ppn_slice){0} : bytes};
}

static struct ppn_slice read_printable(struct wire_reader *reader, size_t max)
{
    struct ppn_slice text = wire_read_str(reader, max);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            wire_read_fail(reader, PPN_ERROR_INVALID);
    return text;
}

static enum ppn_error read_reason(struct wire_reader *reader)
{
    uint64_t code = wire_read_uint(reader, UINT32_MAX);
    return code < PPN_ERROR_COUNT ? (enum ppn_error)code : PPN_ERROR_REFUSED;
}

static void read_hello(struct wire_reader *reader, struct wire_hello *hello)
{
    hello->major_min = (uint32_t)wire_read_uint(reader, UINT32_MAX);
    hello->major_max = (uint32_t)wire_read_uint(reader, UINT32_MAX);
    wire_read_name(reader, hello->name, true);
    wire_read_text(reader, hello->software, WIRE_SOFTWARE_MAX);
    hello->boot = wire_read_uint(reader, UINT64_MAX);
    if (hello->major_min > hello->major_max)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

static void read_api_request(struct wire_reader *reader, struct wire_api_request *request)
{
    request->method = (enum wire_api_method)wire_read_uint(reader, WIRE_API_DELETE);
    request->path = read_printable(reader, WIRE_API_PATH_MAX);
    request->query = read_printable(reader, WIRE_API_QUERY_MAX);
    request->body = wire_read_bin(reader, 0, WIRE_API_BODY_MAX);
    request->content_length = wire_read_uint(reader, UINT64_MAX);
    request->streaming = wire_read_bool(reader);
    request->hops = (uint32_t)wire_read_uint(reader, WIRE_API_HOPS_MAX);
    if (request->path.size == 0 || request->path.data[0] != '/')
        wire_read_fail(reader, PPN_ERROR_INVALID);
    for (size_t i = 0; i < request->path.size; i++)
        if (memchr(" ?#", request->path.data[i], 3))
            wire_read_fail(reader, PPN_ERROR_INVALID);
    if (!request->streaming && request->content_length != request->body.size)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

static void read_image_data(struct wire_reader *reader, struct wire_image_data *data)
{
    wire_read_bytes(reader, data->hash.bytes, PPN_HASH_SIZE);
    data->offset = wire_read_uint(reader, UINT64_MAX);
    data->size_bytes = wire_read_uint(reader, UINT64_MAX);
    data->bytes = wire_read_bin(reader, 0, WIRE_IMAGE_CHUNK_MAX);
    if (data->offset > data->size_bytes || data->bytes.size > data->size_bytes - data->offset)
        wire_read_fail(reader, PPN_ERROR_INVALID);
}

/* Fields of a kind's payload that every version has. */
static uint32_t payload_fields(enum wire_peer_kind kind)
{
    switch ((int)kind) {
    case WIRE_PEER_HELLO:
        return 5;
    case WIRE_PEER_LOG_WANT:
    case WIRE_PEER_JOIN:
    case WIRE_PEER_IMAGE_NONE:
    case WIRE_PEER_API_HEAD:
    case WIRE_PEER_CLOSE:
        return 2;
    case WIRE_PEER_IMAGE_WANT:
        return 3;
    case WIRE_PEER_IMAGE_DATA:
        return 4;
    case WIRE_PEER_API_REQUEST:
        return 7;
    case WIRE_PEER_IMAGE_LIST_WANT:
    case WIRE_PEER_API_END:
        return 0;
    default:
        return 1;
    }
}

static void read_exchange(struct wire_reader *reader, struct wire_peer_frame *frame)
{
    switch ((int)frame->kind) {
    case WIRE_PEER_VM_LIST_WANT:
        frame->known_digest = wire_read_uint(reader, UINT64_MAX);
        return;
    case WIRE_PEER_VM_LIST:
        frame->vm_list = wire_read_bin(reader, 0, WIRE_VM_LIST_MAX);
        return;
    case WIRE_PEER_IMAGE_LIST:
        frame->images = wire_read_bin(reader, 1, WIRE_IMAGE_LIST_MAX);
        return;
    case WIRE_PEER_IMAGE_WANT:
        wire_read_bytes(reader, frame->image_want.hash.bytes, PPN_HASH_SIZE);
        frame->image_want.offset = wire_read_uint(reader, UINT64_MAX);
        frame->image_want.length = (uint32_t)wire_read_uint(reader, WIRE_IMAGE_CHUNK_MAX);
        if (frame->image_want.length == 0)
            wire_read_fail(reader, PPN_ERROR_INVALID);
        return;
    case WIRE_PEER_IMAGE_DATA:
        read_image_data(reader, &frame->image_data);
        return;
    case WIRE_PEER_IMAGE_NONE:
        wire_read_bytes(reader, frame->image_none.hash.bytes, PPN_HASH_SIZE);
        frame->image_none.reason = read_reason(reader);
        return;
    case WIRE_PEER_API_REQUEST:
        read_api_request(reader, &frame->api_request);
        return;
    case WIRE_PEER_API_HEAD:
        frame->api_head.status = (uint32_t)wire_read_uint(reader, HTTP_STATUS_MAX);
        frame->api_head.content_type = read_printable(reader, WIRE_API_CONTENT_TYPE_MAX);
        if (frame->api_head.status < HTTP_STATUS_MIN)
            wire_read_fail(reader, PPN_ERROR_INVALID);
        return;
    case WIRE_PEER_API_DATA:
        frame->api_data = wire_read_bin(reader, 1, WIRE_API_DATA_MAX);
        return;
    case WIRE_PEER_API_WINDOW:
        frame->window = (uint32_t)wire_read_uint(reader, WIRE_API_WINDOW);
        if (frame->window == 0)
            wire_read_fail(reader, PPN_ERROR_INVALID);
        return;
    case WIRE_PEER_CLOSE:
        frame->close.reason = read_reason(reader);
        frame->close.text = read_printable(reader, WIRE_CLOSE_TEXT_MAX);
        return;
    default:
        PPN_ASSERT(payload_fields(frame->kind) == 0);
    }
}

static void read_payload(struct wire_reader *reader, struct wire_array *payload,
                         struct wire_peer_frame *frame)
{
    switch ((int)frame->kind) {
    case WIRE_PEER_HELLO:
        read_hello(reader, &frame->hello);
        return;
    case WIRE_PEER_PING:
    case WIRE_PEER_PONG:
        frame->token = wire_read_uint(reader, UINT64_MAX);
        return;
    case WIRE_PEER_LOG_HEADS:
        frame->heads = read_hashes(reader);
        return;
    case WIRE_PEER_LOG_WANT:
        frame->log_want.have = read_hashes(reader);
        frame->log_want.closed = read_hashes(reader);
        if (wire_array_more(reader, payload))
            frame->log_want.staged = (uint32_t)wire_read_uint(reader, UINT32_MAX);
        return;
    case WIRE_PEER_LOG_ENTRIES:
    case WIRE_PEER_LOG_PUSH:
        frame->batch = wire_read_bin(reader, 1, WIRE_LOG_BATCH_MAX);
        return;
    case WIRE_PEER_FLEET:
        frame->fleet = wire_read_bin(reader, 1, WIRE_OPAQUE_MAX);
        return;
    case WIRE_PEER_VM_CHANGED:
        frame->known_digest = wire_read_uint(reader, UINT64_MAX);
        return;
    case WIRE_PEER_JOIN:
        frame->join.request = wire_read_bin(reader, 1, WIRE_JOIN_NOTE_MAX);
        wire_read_endpoint(reader, &frame->join.from);
        return;
    default:
        read_exchange(reader, frame);
    }
}

enum ppn_error wire_peer_decode(struct ppn_slice bytes, struct wire_peer_frame *frame)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(frame, 0, sizeof(*frame));
    struct wire_array array = wire_message_begin(&reader, WIRE_PEER_MAJOR, FRAME_FIELDS);
    /* 255: a newer program's number still fits the enum's type. */
    uint64_t kind = wire_read_uint(&reader, UINT8_MAX);
    frame->stream = (uint32_t)wire_read_uint(&reader, UINT32_MAX);
    if (reader.error)
        return reader.error;
    if (!kind_known(kind)) {
        memcpy(&frame->kind, &(int){(int)kind}, sizeof(frame->kind));
        return PPN_ERROR_UNSUPPORTED;
    }
    frame->kind = (enum wire_peer_kind)kind;
    struct wire_array payload = wire_array_begin(&reader, payload_fields(frame->kind));
    if (reader.error == PPN_OK)
        read_payload(&reader, &payload, frame);
    wire_array_end(&reader, payload);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}

enum ppn_error wire_peer_check(const struct wire_peer_frame *frame, bool peer_dialled,
                               bool stream_open)
{
    bool connection = frame->stream == 0;
    bool peers_stream = (frame->stream % 2 == 1) == peer_dialled;
    bool allowed = false;
    switch (wire_peer_rule(frame->kind)) {
    case WIRE_RULE_CONNECTION:
        allowed = connection;
        break;
    case WIRE_RULE_OPENER:
        allowed = !connection && peers_stream && !stream_open;
        break;
    case WIRE_RULE_ANSWERER:
        allowed = !connection && !peers_stream && stream_open;
        break;
    case WIRE_RULE_EITHER:
        allowed = connection ? frame->kind == WIRE_PEER_CLOSE : stream_open;
        break;
    }
    return allowed ? PPN_OK : PPN_ERROR_INVALID;
}

enum ppn_error wire_image_list_encode(const struct wire_image_item *items, uint32_t count,
                                      struct ppn_writer *writer)
{
    PPN_ASSERT(count <= PPN_IMAGES_MAX);
    wire_pack_array(writer, 2);
    wire_pack_uint(writer, IMAGE_LIST_MAJOR);
    wire_pack_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!ppn_image_name_valid(items[i].name))
            return PPN_ERROR_INVALID;
        wire_pack_array(writer, 4);
        wire_pack_text(writer, items[i].name);
        wire_pack_bytes(writer, items[i].hash.bytes, PPN_HASH_SIZE);
        wire_pack_uint(writer, items[i].size_bytes);
        wire_pack_uint(writer, items[i].virtual_bytes);
    }
    return wire_pack_finish(writer);
}

enum ppn_error wire_image_list_decode(struct ppn_slice bytes, struct wire_image_item *items,
                                      uint32_t capacity, uint32_t *count)
{
    struct wire_reader reader = wire_read_start(bytes, &image_limits);
    struct wire_array array = wire_message_begin(&reader, IMAGE_LIST_MAJOR, 2);
    *count = wire_read_list(&reader, capacity);
    for (uint32_t i = 0; i < *count; i++) {
        struct wire_array fields = wire_array_begin(&reader, 4);
        wire_read_image_name(&reader, items[i].name, false);
        wire_read_bytes(&reader, items[i].hash.bytes, PPN_HASH_SIZE);
        items[i].size_bytes = wire_read_uint(&reader, UINT64_MAX);
        items[i].virtual_bytes = wire_read_uint(&reader, UINT64_MAX);
        wire_array_end(&reader, fields);
    }
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}
