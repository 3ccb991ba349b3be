// SPDX-License-Identifier: ISC
#include "image/image_fetch.h"

#include <string.h>

#include "base/assert.h"

enum { CHUNK_WAIT_S = 10, CORRUPT_MAX = IMAGE_PEERS_MAX };

#define NO_OFFSET UINT64_MAX

static void add(struct image_fetch_updates *updates, struct image_fetch_update update)
{
    PPN_ASSERT(updates->count < IMAGE_FETCH_UPDATES_MAX);
    updates->list[updates->count++] = update;
}

static struct ppn_duration patience(const struct image_fetch *fetch)
{
    return fetch->config.chunk_wait.ns > 0 ? fetch->config.chunk_wait : ppn_seconds(CHUNK_WAIT_S);
}

static void fail(struct image_fetch *fetch, struct image_fetch_updates *updates)
{
    struct image_fetch_update update = {.kind = IMAGE_FETCH_FAILED};
    enum ppn_error code = fetch->last_error != PPN_OK ? fetch->last_error : PPN_ERROR_UNREACHABLE;
    (void)ppn_fail(
        &update.failure, code,
        code == PPN_ERROR_CORRUPT
            ? "every node that has the image sent damaged bytes; add it again: ppn image "
              "add"
            : "no node that has the image sends it now; try again when one can be "
              "reached");
    fetch->over = true;
    add(updates, update);
}

/* Asks the present peer for the next chunks, as many as the window allows. */
static void ask_on(struct image_fetch *fetch, struct ppn_instant now,
                   struct image_fetch_updates *updates)
{
    const struct ppn_node_id *peer = &fetch->config.peers[fetch->peer];
    uint64_t window_end = fetch->written + (uint64_t)IMAGE_WINDOW * IMAGE_CHUNK;
    while (updates->count < IMAGE_WINDOW && fetch->asked < window_end) {
        uint64_t left = fetch->file_bytes - fetch->asked;
        if (fetch->file_bytes > 0 && left == 0)
            break;
        uint32_t length =
            fetch->file_bytes > 0 && left < IMAGE_CHUNK ? (uint32_t)left : IMAGE_CHUNK;
        add(updates,
            (struct image_fetch_update){
                .kind = IMAGE_FETCH_ASK, .peer = *peer, .offset = fetch->asked, .length = length});
        fetch->asked += length;
        /* The size is not known yet: one answer first. */
        if (fetch->file_bytes == 0)
            break;
    }
    fetch->deadline = ppn_after(now, patience(fetch));
}

static void verify(struct image_fetch *fetch, struct image_fetch_updates *updates)
{
    fetch->verifying = true;
    fetch->deadline = PPN_NEVER;
    add(updates, (struct image_fetch_update){.kind = IMAGE_FETCH_VERIFY});
}

static void forget_window(struct image_fetch *fetch)
{
    for (int i = 0; i < IMAGE_WINDOW; i++)
        fetch->got[i] = NO_OFFSET;
    fetch->asked = fetch->written;
}

static void next_peer(struct image_fetch *fetch, struct ppn_instant now, enum ppn_error why,
                      struct image_fetch_updates *updates)
{
    fetch->last_error = why;
    fetch->peer++;
    forget_window(fetch);
    if (fetch->peer >= fetch->config.peer_count)
        fail(fetch, updates);
    else
        ask_on(fetch, now, updates);
}

void image_fetch_init(struct image_fetch *fetch, const struct image_fetch_config *config,
                      struct ppn_instant now, struct image_fetch_updates *updates)
{
    PPN_ASSERT(config->peer_count <= IMAGE_PEERS_MAX);
    *fetch = (struct image_fetch){.config = *config, .deadline = PPN_NEVER};
    updates->count = 0;
    fetch->file_bytes = config->file_bytes;
    fetch->written = config->have_bytes;
    if (fetch->file_bytes > 0 && fetch->written > fetch->file_bytes) {
        /* Of some other file: nothing of it can be trusted. */
        fetch->written = fetch->config.have_bytes = 0;
        add(updates, (struct image_fetch_update){.kind = IMAGE_FETCH_RESET});
    }
    forget_window(fetch);
    if (config->peer_count == 0)
        fail(fetch, updates);
    else if (fetch->file_bytes > 0 && fetch->written == fetch->file_bytes)
        verify(fetch, updates);
    else
        ask_on(fetch, now, updates);
}

/* The prefix grows over chunks that came before it. */
static void advance(struct image_fetch *fetch, uint64_t offset, uint32_t length)
{
    bool moved = true;
    if (offset != fetch->written) {
        for (int i = 0; i < IMAGE_WINDOW; i++) {
            if (fetch->got[i] == NO_OFFSET) {
                fetch->got[i] = offset;
                return;
            }
        }
        PPN_UNREACHABLE();
    }
    fetch->written += length;
    while (moved) {
        moved = false;
        for (int i = 0; i < IMAGE_WINDOW; i++) {
            if (fetch->got[i] != fetch->written)
                continue;
            uint64_t left = fetch->file_bytes - fetch->written;
            fetch->got[i] = NO_OFFSET;
            fetch->written += left < IMAGE_CHUNK ? left : IMAGE_CHUNK;
            moved = true;
        }
    }
}

static bool expected(const struct image_fetch *fetch, const struct image_fetch_event *event)
{
    uint64_t size = fetch->file_bytes;
    uint64_t left = size - event->offset;
    if (event->offset < fetch->written || event->offset >= fetch->asked || event->offset >= size ||
        (event->offset - fetch->config.have_bytes) % IMAGE_CHUNK != 0)
        return false;
    for (int i = 0; i < IMAGE_WINDOW; i++) {
        if (fetch->got[i] == event->offset)
            return false;
    }
    return event->length == (left < IMAGE_CHUNK ? left : IMAGE_CHUNK);
}

static enum ppn_error take(struct image_fetch *fetch, struct ppn_instant now,
                           const struct image_fetch_event *event,
                           struct image_fetch_updates *updates)
{
    bool present = fetch->peer < fetch->config.peer_count &&
                   ppn_node_id_equal(&event->peer, &fetch->config.peers[fetch->peer]);
    if (fetch->verifying || !present)
        return PPN_OK;
    if (fetch->file_bytes == 0 && event->file_bytes > 0)
        fetch->file_bytes = event->file_bytes;
    if (event->file_bytes != fetch->file_bytes || !expected(fetch, event)) {
        next_peer(fetch, now, PPN_ERROR_CORRUPT, updates);
        return PPN_ERROR_INVALID;
    }
    add(updates, (struct image_fetch_update){.kind = IMAGE_FETCH_WRITE,
                                             .peer = event->peer,
                                             .offset = event->offset,
                                             .length = event->length});
    advance(fetch, event->offset, event->length);
    if (fetch->written == fetch->file_bytes)
        verify(fetch, updates);
    else
        ask_on(fetch, now, updates);
    return PPN_OK;
}

static void start_anew(struct image_fetch *fetch, struct ppn_instant now,
                       struct image_fetch_updates *updates)
{
    fetch->verifying = false;
    fetch->written = 0;
    fetch->config.have_bytes = 0;
    fetch->corrupt_count++;
    add(updates, (struct image_fetch_update){.kind = IMAGE_FETCH_RESET});
    /* What was resumed may have been damaged before: the same peer is tried once more. */
    if (fetch->corrupt_count == 1) {
        forget_window(fetch);
        fetch->last_error = PPN_ERROR_CORRUPT;
        ask_on(fetch, now, updates);
        return;
    }
    next_peer(fetch, now, PPN_ERROR_CORRUPT, updates);
}

enum ppn_error image_fetch_step(struct image_fetch *fetch, struct ppn_instant now,
                                const struct image_fetch_event *event,
                                struct image_fetch_updates *updates)
{
    updates->count = 0;
    if (fetch->over)
        return PPN_OK;
    switch (event->kind) {
    case IMAGE_FETCH_TIME:
        if (ppn_due(fetch->deadline, now))
            next_peer(fetch, now, PPN_ERROR_TIMEOUT, updates);
        return PPN_OK;
    case IMAGE_FETCH_DATA:
        return take(fetch, now, event, updates);
    case IMAGE_FETCH_REFUSED:
        if (!fetch->verifying && fetch->peer < fetch->config.peer_count &&
            ppn_node_id_equal(&event->peer, &fetch->config.peers[fetch->peer]))
            next_peer(fetch, now, PPN_ERROR_UNREACHABLE, updates);
        return PPN_OK;
    case IMAGE_FETCH_VERIFIED:
        fetch->over = true;
        add(updates, (struct image_fetch_update){.kind = IMAGE_FETCH_DONE});
        return PPN_OK;
    case IMAGE_FETCH_CORRUPT:
        start_anew(fetch, now, updates);
        return PPN_OK;
    }
    PPN_UNREACHABLE();
}

struct ppn_instant image_fetch_deadline(const struct image_fetch *fetch)
{
    return fetch->over ? PPN_NEVER : fetch->deadline;
}

struct image_fetch_progress image_fetch_progress(const struct image_fetch *fetch)
{
    return (struct image_fetch_progress){fetch->written, fetch->file_bytes};
}
