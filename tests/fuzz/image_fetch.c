// SPDX-License-Identifier: ISC
#include "image/image_fetch.h"
#include "fuzz.h"
#include "image/image_format.h"

enum { EVENT_BYTES = 8 };

/* Peers that answer whatever they like, in eight bytes an event: bounded asks, writes within the
 * file, and an end. */
static void check(const struct image_fetch *fetch, const struct image_fetch_updates *updates)
{
    PPN_ASSERT(updates->count <= IMAGE_FETCH_UPDATES_MAX);
    for (uint32_t i = 0; i < updates->count; i++) {
        const struct image_fetch_update *u = &updates->list[i];
        if (u->kind == IMAGE_FETCH_ASK)
            PPN_ASSERT(u->length >= 1 && u->length <= IMAGE_CHUNK);
        if (u->kind == IMAGE_FETCH_WRITE)
            PPN_ASSERT(u->offset + u->length <= fetch->file_bytes);
        if (u->kind == IMAGE_FETCH_DONE || u->kind == IMAGE_FETCH_FAILED)
            PPN_ASSERT(fetch->over && i + 1 == updates->count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image_fetch fetch;
    static struct image_fetch_updates updates;
    struct ppn_instant now = {0};
    if (size < EVENT_BYTES)
        return 0;
    struct image_fetch_config config = {
        .file_bytes = (uint64_t)data[0] * 50000,
        .have_bytes = (uint64_t)data[1] * 50000,
        .peer_count = data[2] % 5,
    };
    for (uint8_t i = 0; i < config.peer_count; i++)
        config.peers[i].bytes[0] = i;
    image_fetch_init(&fetch, &config, now, &updates);
    check(&fetch, &updates);
    for (size_t at = EVENT_BYTES; at + EVENT_BYTES <= size; at += EVENT_BYTES) {
        const uint8_t *b = data + at;
        struct image_fetch_event event = {.kind = (enum image_fetch_event_kind)(b[0] % 5)};
        bool outcome = event.kind == IMAGE_FETCH_VERIFIED || event.kind == IMAGE_FETCH_CORRUPT;
        if (outcome && !fetch.verifying)
            event.kind = IMAGE_FETCH_DATA;
        event.peer.bytes[0] = b[1];
        /* Mostly what was asked for, so that the fetch gets somewhere. */
        event.offset = b[2] < 240 ? fetch.written + (uint64_t)(b[2] % 4) * IMAGE_CHUNK : b[3] * 7u;
        event.file_bytes = b[4] < 240 && fetch.file_bytes ? fetch.file_bytes : b[5] * 50000u;
        uint64_t left = event.file_bytes - event.offset;
        event.length = left < IMAGE_CHUNK ? (uint32_t)left : IMAGE_CHUNK;
        if (b[6] > 250)
            event.length = b[7];
        now = ppn_after(now, ppn_ms(b[7] * 100));
        (void)(image_fetch_step(&fetch, now, &event, &updates) == PPN_OK);
        check(&fetch, &updates);
    }
    return 0;
}
