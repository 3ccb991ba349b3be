// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/kept.h"
#include "admission/pack.h"
#include "base/assert.h"

enum {
    HEAD_ENTRY = 0x97, /* msgpack: an array of seven */
    HEAD_IDS = 0x93,   /* of three; an envelope is one of two */
    NAME_AT = 3,       /* behind that and the head of 32 bytes of bin */
    BODY_AT = NAME_AT + PPN_HASH_SIZE
};

_Static_assert((int)ADMISSION_IDS_PER_RECORD *ADMISSION_SHORT_ID + 64 <= (int)ADMISSION_RECORD_MAX,
               "a record of ids is no longer than one of an entry");
_Static_assert((int)ADMISSION_ENTRIES_MAX + (int)ADMISSION_CLOSED_MAX / ADMISSION_IDS_PER_RECORD <=
                   (int)ADMISSION_BASE_RECORDS_MAX,
               "whatever a full log keeps can be counted");

bool admission_is_record(struct ppn_slice bytes)
{
    return bytes.size > BODY_AT && (bytes.data[0] == HEAD_ENTRY || bytes.data[0] == HEAD_IDS);
}

static void pack_record(struct admission_pack *pack, struct admission_base_record *record, bool ids)
{
    uint32_t flags = record->mark.flags, why = record->mark.why;
    admission_pack_array(pack, ids ? 3 : 7);
    admission_pack_fixed(pack, record->checkpoint.bytes, PPN_HASH_SIZE);
    admission_pack_u32(pack, &record->index, 0, ADMISSION_BASE_RECORDS_MAX - 1);
    if (ids) {
        admission_pack_bytes(pack, &record->ids, ADMISSION_IDS_PER_RECORD * ADMISSION_SHORT_ID);
        if (record->ids.size == 0 || record->ids.size % ADMISSION_SHORT_ID != 0)
            admission_pack_fail(pack, PPN_ERROR_INVALID);
        return;
    }
    admission_pack_u32(pack, &flags, 0, ADMISSION_KEPT_ALL);
    admission_pack_u32(pack, &why, 0, ADMISSION_VOID_CLOSED);
    admission_pack_u32(pack, &record->height, 0, UINT32_MAX - 1);
    admission_pack_u64(pack, &record->mark.value, 0, INT64_MAX);
    admission_pack_bytes(pack, &record->envelope, ADMISSION_ENVELOPE_MAX);
    record->mark.flags = (uint8_t)flags;
    record->mark.why = (uint8_t)why;
}

void admission_base_record_encode(const struct admission_base_record *record,
                                  struct ppn_writer *bytes)
{
    struct admission_base_record copy = *record;
    struct admission_pack pack = admission_pack_writer(bytes);
    pack_record(&pack, &copy, record->envelope.size == 0);
    enum ppn_error error = admission_pack_end(&pack);
    PPN_ASSERT(error == PPN_OK);
}

enum ppn_error admission_base_record_decode(struct ppn_slice bytes,
                                            struct admission_base_record *record)
{
    memset(record, 0, sizeof *record);
    if (bytes.size > ADMISSION_RECORD_MAX)
        return PPN_ERROR_TOO_BIG;
    if (!admission_is_record(bytes))
        return PPN_ERROR_INVALID;
    struct admission_pack pack = admission_pack_reader(bytes);
    pack_record(&pack, record, bytes.data[0] == HEAD_IDS);
    record->mark.kept = true;
    return admission_pack_end(&pack);
}

struct ppn_slice admission_base_at(const struct admission_base *base, uint32_t index)
{
    PPN_ASSERT(index < base->count);
    uint32_t at = index == 0 ? 0 : base->ends[index - 1];
    return ppn_slice(base->bytes + at, base->ends[index] - at);
}

enum ppn_error admission_base_add(struct admission_base *base,
                                  const struct admission_crypto *crypto, struct ppn_slice record)
{
    uint8_t chained[PPN_HASH_SIZE + ADMISSION_RECORD_MAX];
    PPN_ASSERT(record.size > BODY_AT && record.size <= ADMISSION_RECORD_MAX);
    if (base->count == ADMISSION_BASE_RECORDS_MAX ||
        base->size + record.size > ADMISSION_BASE_BYTES_MAX)
        return PPN_ERROR_TOO_BIG;
    if (base->size + record.size > base->capacity) {
        size_t capacity = 2 * base->capacity + ADMISSION_RECORD_MAX;
        uint8_t *grown = admission_take(capacity, 1);
        if (base->size > 0)
            memcpy(grown, base->bytes, base->size);
        free(base->bytes);
        base->bytes = grown;
        base->capacity = capacity;
    }
    void *ends = base->ends;
    admission_grow(&ends, &base->end_capacity, base->count + 1, sizeof *base->ends);
    base->ends = ends;
    memcpy(base->bytes + base->size, record.data, record.size);
    base->size += record.size;
    base->ends[base->count++] = (uint32_t)base->size;
    memcpy(chained, base->digest.bytes, PPN_HASH_SIZE);
    memcpy(chained + PPN_HASH_SIZE, record.data + BODY_AT, record.size - BODY_AT);
    base->digest = crypto->hash(crypto->ctx, ppn_slice("ppn-base-1", 10),
                                ppn_slice(chained, PPN_HASH_SIZE + record.size - BODY_AT));
    return PPN_OK;
}

void admission_base_name(struct admission_base *base, const struct ppn_hash *checkpoint)
{
    for (uint32_t i = 0; i < base->count; i++) {
        uint32_t at = i == 0 ? 0 : base->ends[i - 1];
        memcpy(base->bytes + at + NAME_AT, checkpoint->bytes, PPN_HASH_SIZE);
    }
}

void admission_base_free(struct admission_base *base)
{
    free(base->bytes);
    free(base->ends);
    *base = (struct admission_base){0};
}
