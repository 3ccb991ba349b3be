// SPDX-License-Identifier: ISC
#include "gossip/item.h"

#include "base/assert.h"

static const char domain[] = "ppn-gossip-item-1\n";
_Static_assert(sizeof(domain) - 1 + PPN_HASH_SIZE + PPN_ID_SIZE == GOSSIP_TRANSCRIPT_PREFIX,
               "prefix size");

gossip_tag gossip_tag_of(const struct ppn_node_id *id)
{
    return ppn_read_u64(id->bytes);
}

static enum ppn_error read_life(const uint8_t *at, size_t size, struct gossip_item *item)
{
    if (size != 1)
        return PPN_ERROR_INVALID;
    if (at[0] != GOSSIP_STANDING_ALIVE && at[0] != GOSSIP_STANDING_LEFT)
        return PPN_ERROR_INVALID;
    item->standing = (enum gossip_standing)at[0];
    return PPN_OK;
}

static enum ppn_error read_verdict(const uint8_t *at, size_t size, struct gossip_item *item)
{
    if (size != 18 || at[16] == 0 || at[16] >= GOSSIP_OPINION_END || at[17] > 8)
        return PPN_ERROR_INVALID;
    item->subject = ppn_read_u64(at);
    item->subject_epoch = ppn_read_u32(at + 8);
    item->subject_incarnation = ppn_read_u32(at + 12);
    item->opinion = (enum gossip_opinion)at[16];
    item->health = at[17];
    return PPN_OK;
}

enum ppn_error gossip_item_read(struct ppn_slice bytes, struct gossip_item *item)
{
    const uint8_t *at = bytes.data;
    *item = (struct gossip_item){.bytes = bytes};
    if (bytes.size < GOSSIP_ITEM_HEADER_SIZE + GOSSIP_SIGNATURE_SIZE ||
        bytes.size > GOSSIP_ITEM_SIZE_MAX)
        return PPN_ERROR_INVALID;
    if (at[0] == 0 || at[0] >= GOSSIP_ITEM_KIND_END)
        return PPN_ERROR_INVALID;
    if (at[1] != GOSSIP_ITEM_VERSION)
        return PPN_ERROR_VERSION;
    item->kind = (enum gossip_item_kind)at[0];
    item->author = ppn_read_u64(at + 2);
    item->epoch = ppn_read_u32(at + 10);
    item->sequence = ppn_read_u32(at + 14);
    if (item->epoch == 0 || item->sequence == 0)
        return PPN_ERROR_INVALID;
    size_t size = bytes.size - GOSSIP_ITEM_HEADER_SIZE - GOSSIP_SIGNATURE_SIZE;
    at += GOSSIP_ITEM_HEADER_SIZE;
    if (item->kind == GOSSIP_ITEM_LIFE)
        return read_life(at, size, item);
    if (item->kind == GOSSIP_ITEM_VERDICT)
        return read_verdict(at, size, item);
    if (item->kind == GOSSIP_ITEM_LOAD && size > GOSSIP_LOAD_BODY_MAX)
        return PPN_ERROR_INVALID;
    item->body = ppn_slice(at, size);
    return PPN_OK;
}

void gossip_item_write(struct ppn_writer *writer, const struct gossip_item *item)
{
    PPN_ASSERT(item->epoch != 0 && item->sequence != 0);
    ppn_write_u8(writer, (uint8_t)item->kind);
    ppn_write_u8(writer, GOSSIP_ITEM_VERSION);
    ppn_write_u64(writer, item->author);
    ppn_write_u32(writer, item->epoch);
    ppn_write_u32(writer, item->sequence);
    if (item->kind == GOSSIP_ITEM_LIFE) {
        ppn_write_u8(writer, (uint8_t)item->standing);
    } else if (item->kind == GOSSIP_ITEM_VERDICT) {
        ppn_write_u64(writer, item->subject);
        ppn_write_u32(writer, item->subject_epoch);
        ppn_write_u32(writer, item->subject_incarnation);
        ppn_write_u8(writer, (uint8_t)item->opinion);
        ppn_write_u8(writer, item->health);
    } else {
        ppn_write(writer, item->body);
    }
    PPN_ASSERT(!writer->overflow);
}

void gossip_transcript(struct ppn_writer *writer, const struct ppn_hash *network,
                       const struct ppn_node_id *author, struct ppn_slice unsigned_item)
{
    ppn_write(writer, ppn_slice(domain, sizeof(domain) - 1));
    ppn_write(writer, ppn_slice(network->bytes, sizeof(network->bytes)));
    ppn_write(writer, ppn_slice(author->bytes, sizeof(author->bytes)));
    ppn_write(writer, unsigned_item);
    PPN_ASSERT(!writer->overflow);
}
