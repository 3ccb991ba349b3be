// SPDX-License-Identifier: ISC
#include "wire/gossip.h"

#include <string.h>

#include "base/assert.h"
#include "wire/pack.h"
#include "wire/reader.h"

enum { GOSSIP_MAJOR = 1, PACKET_FIELDS = 8, WANT_KINDS_MAX = 0x7f, HEADER_SIZE_MAX = 36 };

_Static_assert(1 + 1 + 1 + WIRE_SIZE_U32 + 2 * WIRE_SIZE_UINT + WIRE_SIZE_U8 + 1 + 2 * 3 <=
                   HEADER_SIZE_MAX,
               "fields of every packet, the array headers of items and of a part");
_Static_assert(HEADER_SIZE_MAX + 0 <= GOSSIP_ENCODED_HEADER_MAX, "the core's bound holds");
_Static_assert(1 + WIRE_SIZE_UINT + 2 * WIRE_SIZE_U32 + 1 <= GOSSIP_ENCODED_CHECK_MAX, "CHECK");
_Static_assert(WIRE_SIZE_U32 + 0 <= GOSSIP_ENCODED_BUCKET_MAX, "DIGEST");
_Static_assert(2 * WIRE_SIZE_UINT + 1 <= GOSSIP_ENCODED_RANGE_MAX, "RANGE");
_Static_assert(1 + WIRE_SIZE_UINT + 4 * WIRE_SIZE_U32 + 1 <= GOSSIP_ENCODED_ROW_MAX, "row");
_Static_assert(1 + WIRE_SIZE_UINT + 1 <= GOSSIP_ENCODED_WANT_MAX, "WANT");
_Static_assert(GOSSIP_ITEMS_MAX <= 15, "the items' array header is one byte");

static const struct wire_scan_limits limits = {
    .bytes_max = PPN_DATAGRAM_MAX, .items_max = 512, .depth_max = WIRE_DEPTH_MAX, .minimal = true};

static void pack_check(const struct gossip_packet *packet, struct ppn_writer *writer)
{
    wire_pack_array(writer, 4);
    wire_pack_uint(writer, packet->of.check.subject);
    wire_pack_uint(writer, packet->of.check.epoch);
    wire_pack_uint(writer, packet->of.check.incarnation);
    wire_pack_uint(writer, packet->of.check.outcome);
}

static void pack_range(const struct gossip_packet *packet, struct ppn_writer *writer)
{
    PPN_ASSERT(packet->of.range.count <= GOSSIP_ROWS_MAX);
    wire_pack_array(writer, 3);
    wire_pack_uint(writer, packet->of.range.first);
    wire_pack_uint(writer, packet->of.range.last);
    wire_pack_array(writer, packet->of.range.count);
    for (uint32_t i = 0; i < packet->of.range.count; i++) {
        const struct gossip_row *row = &packet->of.range.rows[i];
        PPN_ASSERT(row->standing < GOSSIP_ROW_STANDING_END);
        wire_pack_array(writer, 6);
        wire_pack_uint(writer, row->tag);
        wire_pack_uint(writer, row->epoch);
        wire_pack_uint(writer, row->incarnation);
        wire_pack_uint(writer, row->profile_sequence);
        wire_pack_uint(writer, row->load_sequence);
        wire_pack_uint(writer, row->standing);
    }
}

static void pack_want(const struct gossip_packet *packet, struct ppn_writer *writer)
{
    PPN_ASSERT(packet->of.want.count <= GOSSIP_WANTS_MAX);
    wire_pack_array(writer, packet->of.want.count);
    for (uint32_t i = 0; i < packet->of.want.count; i++) {
        PPN_ASSERT(packet->of.want.wants[i].kinds <= WANT_KINDS_MAX);
        wire_pack_array(writer, 2);
        wire_pack_uint(writer, packet->of.want.wants[i].tag);
        wire_pack_uint(writer, packet->of.want.wants[i].kinds);
    }
}

static void pack_part(const struct gossip_packet *packet, struct ppn_writer *writer)
{
    switch (packet->kind) {
    case GOSSIP_CHECK:
    case GOSSIP_CHECKED:
        pack_check(packet, writer);
        return;
    case GOSSIP_DIGEST:
        wire_pack_array(writer, GOSSIP_BUCKETS);
        for (uint32_t i = 0; i < GOSSIP_BUCKETS; i++)
            wire_pack_uint(writer, packet->of.digest.buckets[i]);
        return;
    case GOSSIP_RANGE:
        pack_range(packet, writer);
        return;
    case GOSSIP_WANT:
        pack_want(packet, writer);
        return;
    case GOSSIP_PING:
    case GOSSIP_ACK:
    case GOSSIP_NEWS:
        wire_pack_nil(writer);
        return;
    case GOSSIP_PACKET_KIND_END:
        break;
    }
    PPN_UNREACHABLE();
}

enum ppn_error wire_gossip_encode(const struct gossip_packet *packet, struct ppn_writer *writer)
{
    PPN_ASSERT(packet->item_count <= GOSSIP_ITEMS_MAX);
    wire_pack_array(writer, PACKET_FIELDS);
    wire_pack_uint(writer, GOSSIP_MAJOR);
    wire_pack_uint(writer, packet->kind);
    wire_pack_uint(writer, packet->probe);
    wire_pack_uint(writer, packet->view_digest);
    wire_pack_uint(writer, packet->load_digest);
    wire_pack_uint(writer, packet->health);
    wire_pack_array(writer, packet->item_count);
    for (uint32_t i = 0; i < packet->item_count; i++)
        wire_pack_bin(writer, packet->items[i]);
    pack_part(packet, writer);
    return wire_pack_finish(writer);
}

static uint32_t read_u32(struct wire_reader *reader)
{
    return (uint32_t)wire_read_uint(reader, UINT32_MAX);
}

static void read_check(struct wire_reader *reader, struct gossip_packet *packet)
{
    struct wire_array array = wire_array_begin(reader, 4);
    packet->of.check.subject = wire_read_uint(reader, UINT64_MAX);
    packet->of.check.epoch = read_u32(reader);
    packet->of.check.incarnation = read_u32(reader);
    uint64_t outcome = wire_read_uint(reader, GOSSIP_OUTCOME_END - 1);
    packet->of.check.outcome = (enum gossip_outcome)outcome;
    if (outcome < GOSSIP_OUTCOME_REACHED)
        wire_read_fail(reader, PPN_ERROR_INVALID);
    wire_array_end(reader, array);
}

static void read_digest(struct wire_reader *reader, struct gossip_packet *packet)
{
    wire_read_tuple(reader, GOSSIP_BUCKETS);
    for (uint32_t i = 0; i < GOSSIP_BUCKETS; i++)
        packet->of.digest.buckets[i] = read_u32(reader);
}

static void read_range(struct wire_reader *reader, struct gossip_packet *packet)
{
    struct wire_array array = wire_array_begin(reader, 3);
    packet->of.range.first = wire_read_uint(reader, UINT64_MAX);
    packet->of.range.last = wire_read_uint(reader, UINT64_MAX);
    packet->of.range.count = wire_read_list(reader, GOSSIP_ROWS_MAX);
    for (uint32_t i = 0; i < packet->of.range.count; i++) {
        struct gossip_row *row = &packet->of.range.rows[i];
        struct wire_array fields = wire_array_begin(reader, 6);
        row->tag = wire_read_uint(reader, UINT64_MAX);
        row->epoch = read_u32(reader);
        row->incarnation = read_u32(reader);
        row->profile_sequence = read_u32(reader);
        row->load_sequence = read_u32(reader);
        row->standing = (uint8_t)wire_read_uint(reader, GOSSIP_ROW_STANDING_END - 1);
        wire_array_end(reader, fields);
    }
    wire_array_end(reader, array);
}

static void read_want(struct wire_reader *reader, struct gossip_packet *packet)
{
    packet->of.want.count = wire_read_list(reader, GOSSIP_WANTS_MAX);
    for (uint32_t i = 0; i < packet->of.want.count; i++) {
        struct wire_array fields = wire_array_begin(reader, 2);
        packet->of.want.wants[i].tag = wire_read_uint(reader, UINT64_MAX);
        packet->of.want.wants[i].kinds = (uint8_t)wire_read_uint(reader, WANT_KINDS_MAX);
        wire_array_end(reader, fields);
    }
}

static void read_part(struct wire_reader *reader, struct gossip_packet *packet)
{
    switch (packet->kind) {
    case GOSSIP_CHECK:
    case GOSSIP_CHECKED:
        read_check(reader, packet);
        return;
    case GOSSIP_DIGEST:
        read_digest(reader, packet);
        return;
    case GOSSIP_RANGE:
        read_range(reader, packet);
        return;
    case GOSSIP_WANT:
        read_want(reader, packet);
        return;
    case GOSSIP_PING:
    case GOSSIP_ACK:
    case GOSSIP_NEWS:
        if (!wire_read_nil(reader))
            wire_read_fail(reader, PPN_ERROR_INVALID);
        return;
    case GOSSIP_PACKET_KIND_END:
        break;
    }
    wire_read_fail(reader, PPN_ERROR_INVALID);
}

enum ppn_error wire_gossip_decode(struct ppn_slice bytes, struct gossip_packet *packet)
{
    struct wire_reader reader = wire_read_start(bytes, &limits);
    memset(packet, 0, sizeof(*packet));
    struct wire_array array = wire_message_begin(&reader, GOSSIP_MAJOR, PACKET_FIELDS);
    packet->kind = (enum gossip_packet_kind)wire_read_uint(&reader, GOSSIP_PACKET_KIND_END - 1);
    packet->probe = read_u32(&reader);
    packet->view_digest = wire_read_uint(&reader, UINT64_MAX);
    packet->load_digest = wire_read_uint(&reader, UINT64_MAX);
    packet->health = (uint8_t)wire_read_uint(&reader, UINT8_MAX);
    packet->item_count = wire_read_list(&reader, GOSSIP_ITEMS_MAX);
    for (uint32_t i = 0; i < packet->item_count; i++)
        packet->items[i] = wire_read_bin(&reader, 1, GOSSIP_ITEM_SIZE_MAX);
    if (reader.error == PPN_OK)
        read_part(&reader, packet);
    wire_array_end(&reader, array);
    return wire_read_finish(&reader);
}
