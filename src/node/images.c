// SPDX-License-Identifier: ISC
#include "node/images.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "image/image_fetch.h"
#include "node/node.h"
#include "node/peers.h"
#include "wire/peer.h"

_Static_assert((int)IMAGE_CHUNK == (int)WIRE_IMAGE_CHUNK_MAX, "a chunk is one frame");

enum { FETCH_CALLERS_MAX = 16, CHUNK_PATIENCE_S = 20, LIST_PATIENCE_S = 7, SURVEY_PEERS_MAX = 64 };

struct fetch;

/* A chunk that was asked for. */
struct chunk {
    struct fetch *fetch;
    struct ppn_node_id peer;
    uint64_t offset;
    struct node_exchange exchange;
};

struct fetch {
    struct node_images *images;
    struct ppn_hash hash;
    char name[PPN_NAME_MAX + 1];
    struct image_fetch core;
    struct image_part *part;
    struct os_timer timer;
    struct os_closure end;
    struct ppn_failure failure;
    bool over;
    uint32_t caller_count;
    struct node_fetch_caller callers[FETCH_CALLERS_MAX];
    struct chunk chunks[IMAGE_WINDOW];
    const struct wire_image_data *data; /* of the frame being handled */
};

/* A question to several members at once, and its answers. */
struct survey {
    struct node_images *images;
    struct survey *next;
    uint32_t open;
    bool asking;
    node_image_each_fn *each;
    void (*end)(void *context);
    void *context;
    uint32_t count;
    struct survey_peer {
        struct survey *survey;
        struct ppn_node_id id;
        struct node_exchange exchange;
    } peers[SURVEY_PEERS_MAX];
};

struct node_images {
    struct node *node;
    struct image_store *store;
    struct fetch *fetches[NODE_FETCHES_MAX];
    struct survey *surveys;
};

struct image_store *node_images_store(struct node_images *images)
{
    return images->store;
}

uint32_t node_images_tags(const struct node_images *images, struct ppn_image_tag *tags,
                          uint32_t capacity)
{
    uint32_t count;
    const struct image *list = image_store_list(images->store, &count);
    uint32_t taken = count < capacity ? count : capacity;
    for (uint32_t i = 0; i < taken; i++)
        memcpy(tags[i].bytes, list[i].hash.bytes, sizeof(tags[i].bytes));
    return taken;
}

/* ---- serving ---- */

static void send_list(struct node_images *images, struct node_link *link, uint32_t stream)
{
    static struct wire_image_item items[PPN_IMAGES_MAX];
    static uint8_t bytes[WIRE_IMAGE_LIST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_peer_frame frame = {.kind = WIRE_PEER_IMAGE_LIST, .stream = stream};
    uint32_t count, used = 0;
    const struct image *list = image_store_list(images->store, &count);
    for (uint32_t i = 0; i < count && used < PPN_IMAGES_MAX; i++) {
        if (list[i].name[0] == '\0')
            continue;
        struct wire_image_item *item = &items[used++];
        (void)ppn_text_copy(item->name, sizeof(item->name), list[i].name);
        item->hash = list[i].hash;
        item->size_bytes = list[i].facts.file_bytes;
        item->virtual_bytes = list[i].facts.virtual_bytes;
    }
    if (wire_image_list_encode(items, used, &writer) != PPN_OK)
        return;
    frame.images = ppn_written(&writer);
    if (node_link_send(link, &frame) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "image-list-unsent", "count=%u", used);
}

static void send_chunk(struct node_images *images, struct node_link *link,
                       const struct wire_peer_frame *asked)
{
    static uint8_t bytes[IMAGE_CHUNK];
    const struct wire_image_want *want = &asked->image_want;
    const struct image *image = image_store_by_hash(images->store, &want->hash);
    struct wire_peer_frame frame = {.stream = asked->stream};
    size_t size = 0;
    if (image == NULL || image_store_read(images->store, &want->hash, want->offset, bytes,
                                          want->length, &size) != PPN_OK) {
        frame.kind = WIRE_PEER_IMAGE_NONE;
        frame.image_none.hash = want->hash;
        frame.image_none.reason = PPN_ERROR_NOT_FOUND;
    } else {
        frame.kind = WIRE_PEER_IMAGE_DATA;
        frame.image_data = (struct wire_image_data){
            want->hash, want->offset, image->facts.file_bytes, ppn_slice(bytes, size)};
    }
    if (node_link_send(link, &frame) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "image-chunk-unsent", "offset=%llu",
                (unsigned long long)want->offset);
}

void node_images_frame(struct node_images *images, struct node_link *link,
                       const struct wire_peer_frame *frame)
{
    if (frame->kind == WIRE_PEER_IMAGE_LIST_WANT)
        send_list(images, link, frame->stream);
    else
        send_chunk(images, link, frame);
}

/* ---- fetching ---- */

static void carry_out(struct fetch *fetch, const struct image_fetch_updates *updates);

static void finish(struct fetch *fetch)
{
    if (fetch->over)
        return;
    fetch->over = true;
    os_defer(fetch->images->node->loop, &fetch->end);
}

static void on_end(void *context)
{
    struct fetch *fetch = context;
    struct node_images *images = fetch->images;
    os_timer_stop(&fetch->timer);
    for (uint32_t i = 0; i < IMAGE_WINDOW; i++)
        node_exchange_close(&fetch->chunks[i].exchange, true, PPN_ERROR_CANCELLED, "done");
    if (fetch->part != NULL)
        image_part_close(fetch->part);
    for (uint32_t i = 0; i < NODE_FETCHES_MAX; i++) {
        if (images->fetches[i] == fetch)
            images->fetches[i] = NULL;
    }
    node_self_touch(images->node);
    for (uint32_t i = 0; i < fetch->caller_count; i++)
        fetch->callers[i].done(fetch->callers[i].context,
                               fetch->failure.code != PPN_OK ? &fetch->failure : NULL);
    free(fetch);
}

static void feed(struct fetch *fetch, const struct image_fetch_event *event)
{
    struct image_fetch_updates updates;
    if (fetch->over)
        return;
    if (image_fetch_step(&fetch->core, os_now(fetch->images->node->loop), event, &updates) !=
        PPN_OK)
        ppn_log(PPN_LOG_WARN, "image-fetch", "text=\"a member sent a chunk nobody asked for\"");
    carry_out(fetch, &updates);
    os_timer_at(&fetch->timer, image_fetch_deadline(&fetch->core));
}

static void refuse_chunk(struct chunk *chunk)
{
    struct image_fetch_event event = {.kind = IMAGE_FETCH_REFUSED, .peer = chunk->peer};
    feed(chunk->fetch, &event);
}

static void chunk_frame(void *context, const struct wire_peer_frame *frame)
{
    struct chunk *chunk = context;
    struct fetch *fetch = chunk->fetch;
    struct image_fetch_progress progress;
    node_exchange_close(&chunk->exchange, false, PPN_OK, NULL);
    if (frame->kind != WIRE_PEER_IMAGE_DATA ||
        !ppn_hash_equal(&frame->image_data.hash, &fetch->hash)) {
        refuse_chunk(chunk);
        return;
    }
    struct image_fetch_event event = {
        .kind = IMAGE_FETCH_DATA,
        .peer = chunk->peer,
        .offset = frame->image_data.offset,
        .length = (uint32_t)frame->image_data.bytes.size,
        .file_bytes = frame->image_data.size_bytes,
    };
    fetch->data = &frame->image_data;
    feed(fetch, &event);
    fetch->data = NULL;
    progress = image_fetch_progress(&fetch->core);
    for (uint32_t i = 0; i < fetch->caller_count; i++) {
        if (fetch->callers[i].progress != NULL)
            fetch->callers[i].progress(fetch->callers[i].context, progress.done_bytes,
                                       progress.total_bytes);
    }
}

static void chunk_end(void *context, enum ppn_error reason, const char *text)
{
    (void)reason;
    (void)text;
    refuse_chunk(context);
}

static void ask(struct fetch *fetch, const struct image_fetch_update *update)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_IMAGE_WANT};
    for (uint32_t i = 0; i < IMAGE_WINDOW; i++) {
        struct chunk *chunk = &fetch->chunks[i];
        bool passed_over = node_exchange_is_open(&chunk->exchange) &&
                           !ppn_node_id_equal(&chunk->peer, &update->peer);
        if (passed_over)
            node_exchange_close(&chunk->exchange, true, PPN_ERROR_CANCELLED, "asked elsewhere");
        if (node_exchange_is_open(&chunk->exchange))
            continue;
        chunk->fetch = fetch;
        chunk->peer = update->peer;
        chunk->offset = update->offset;
        chunk->exchange =
            (struct node_exchange){.context = chunk, .on_frame = chunk_frame, .on_end = chunk_end};
        frame.image_want = (struct wire_image_want){fetch->hash, update->offset, update->length};
        if (node_exchange_open(fetch->images->node->peers, &update->peer, &chunk->exchange,
                               ppn_seconds(CHUNK_PATIENCE_S), &frame) == PPN_OK)
            return;
        break;
    }
    /* Not asked: the core's own deadline passes the peer over. */
}

static void on_verified(void *context, const struct image *image, const struct ppn_failure *failure)
{
    struct fetch *fetch = context;
    struct image_fetch_event event = {.kind = IMAGE_FETCH_VERIFIED};
    if (image != NULL) {
        fetch->part = NULL;
    } else if (failure->code == PPN_ERROR_CORRUPT) {
        event.kind = IMAGE_FETCH_CORRUPT;
    } else {
        fetch->failure = *failure;
        finish(fetch);
        return;
    }
    feed(fetch, &event);
}

static void carry_out(struct fetch *fetch, const struct image_fetch_updates *updates)
{
    for (uint32_t i = 0; i < updates->count && !fetch->over; i++) {
        const struct image_fetch_update *update = &updates->list[i];
        enum ppn_error error = PPN_OK;
        switch (update->kind) {
        case IMAGE_FETCH_ASK:
            ask(fetch, update);
            break;
        case IMAGE_FETCH_WRITE:
            PPN_ASSERT(fetch->data != NULL);
            error =
                image_part_write(fetch->part, update->offset, fetch->data->bytes, &fetch->failure);
            break;
        case IMAGE_FETCH_VERIFY:
            image_part_finish(fetch->part, fetch->name, on_verified, fetch);
            break;
        case IMAGE_FETCH_RESET:
            error = image_part_reset(fetch->part, &fetch->failure);
            break;
        case IMAGE_FETCH_DONE:
            finish(fetch);
            break;
        case IMAGE_FETCH_FAILED:
            fetch->failure = update->failure;
            finish(fetch);
            break;
        }
        if (error != PPN_OK)
            finish(fetch);
    }
}

static void on_timer(void *context)
{
    struct image_fetch_event event = {.kind = IMAGE_FETCH_TIME};
    feed(context, &event);
}

static bool has_tag(const struct ppn_profile *profile, const struct ppn_hash *hash)
{
    for (uint32_t i = 0; i < profile->image_count; i++) {
        if (memcmp(profile->images[i].bytes, hash->bytes, PPN_IMAGE_TAG_SIZE) == 0)
            return true;
    }
    return false;
}

/* Those that say they have it first; then the one who asked for the VM, who may have got it only
 * now. */
static void choose_peers(struct node_images *images, const struct ppn_hash *hash,
                         const struct ppn_node_id *from, struct image_fetch_config *config)
{
    struct node_member member;
    struct gossip_member seen;
    struct ppn_profile profile;
    uint32_t cursor = 0;
    bool has_from = false;
    while (config->peer_count < IMAGE_PEERS_MAX - 1 &&
           node_member_next(images->node, &cursor, &member)) {
        if (ppn_node_id_equal(&member.id, &images->node->identity.id) ||
            node_gossip_member(images->node, &member.id, &seen) != PPN_OK ||
            seen.state != GOSSIP_ALIVE || !node_member_profile(&seen, &profile) ||
            !has_tag(&profile, hash))
            continue;
        config->peers[config->peer_count++] = member.id;
        has_from |= from != NULL && ppn_node_id_equal(&member.id, from);
    }
    if (from != NULL && !has_from && !ppn_node_id_is_zero(from) &&
        !ppn_node_id_equal(from, &images->node->identity.id))
        config->peers[config->peer_count++] = *from;
}

static void add_caller(struct fetch *fetch, const struct node_fetch_caller *caller)
{
    if (fetch->caller_count < FETCH_CALLERS_MAX)
        fetch->callers[fetch->caller_count++] = *caller;
}

static struct fetch *start_fetch(struct node_images *images, const struct ppn_hash *hash,
                                 uint64_t file_bytes, const char *name,
                                 const struct ppn_node_id *from)
{
    struct image_fetch_config config = {.hash = *hash, .file_bytes = file_bytes};
    struct image_fetch_updates updates;
    uint32_t slot = 0;
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (fetch == NULL)
        return NULL;
    while (slot < NODE_FETCHES_MAX && images->fetches[slot] != NULL)
        slot++;
    fetch->images = images;
    fetch->hash = *hash;
    (void)ppn_text_copy(fetch->name, sizeof(fetch->name), name);
    os_timer_init(&fetch->timer, images->node->loop, on_timer, fetch);
    os_closure_init(&fetch->end, on_end, fetch);
    if (slot == NODE_FETCHES_MAX) {
        (void)ppn_fail(&fetch->failure, PPN_ERROR_BUSY,
                       "%d images are being fetched already; try again when one is here",
                       NODE_FETCHES_MAX);
        finish(fetch);
        return fetch;
    }
    images->fetches[slot] = fetch;
    if (image_store_by_hash(images->store, hash) != NULL) {
        finish(fetch);
        return fetch;
    }
    choose_peers(images, hash, from, &config);
    if (config.peer_count == 0)
        (void)ppn_fail(&fetch->failure, PPN_ERROR_NOT_FOUND,
                       "no node that can be reached has this image; add it with: ppn image add");
    else if (image_part_open(images->store, hash, file_bytes, &config.have_bytes, &fetch->part,
                             &fetch->failure) == PPN_OK)
        fetch->failure.code = PPN_OK;
    if (fetch->failure.code != PPN_OK) {
        finish(fetch);
        return fetch;
    }
    image_fetch_init(&fetch->core, &config, os_now(images->node->loop), &updates);
    carry_out(fetch, &updates);
    os_timer_at(&fetch->timer, image_fetch_deadline(&fetch->core));
    return fetch;
}

void node_images_fetch(struct node_images *images, const struct ppn_hash *hash, uint64_t file_bytes,
                       const char *name, const struct ppn_node_id *from,
                       const struct node_fetch_caller *caller)
{
    struct fetch *fetch = NULL;
    for (uint32_t i = 0; i < NODE_FETCHES_MAX; i++) {
        struct fetch *running = images->fetches[i];
        if (running != NULL && ppn_hash_equal(&running->hash, hash))
            fetch = running;
    }
    if (fetch == NULL)
        fetch = start_fetch(images, hash, file_bytes, name, from);
    if (fetch == NULL)
        node_fatal(images->node, "image-fetch", "out of memory");
    else
        add_caller(fetch, caller);
}

void node_images_fetch_cancel(struct node_images *images, void *context)
{
    for (uint32_t i = 0; i < NODE_FETCHES_MAX; i++) {
        struct fetch *fetch = images->fetches[i];
        for (uint32_t k = 0; fetch != NULL && k < fetch->caller_count; k++) {
            if (fetch->callers[k].context == context)
                fetch->callers[k--] = fetch->callers[--fetch->caller_count];
        }
        if (fetch != NULL && fetch->caller_count == 0) {
            (void)ppn_fail(&fetch->failure, PPN_ERROR_CANCELLED, "nobody waits for it any more");
            finish(fetch);
        }
    }
}

/* ---- who has what ---- */

static void end_survey(struct survey *survey)
{
    if (survey->open > 0 || survey->asking)
        return;
    struct survey **at = &survey->images->surveys;
    while (*at != survey)
        at = &(*at)->next;
    *at = survey->next;
    survey->end(survey->context);
    free(survey);
}

static void survey_frame(void *context, const struct wire_peer_frame *frame)
{
    static struct wire_image_item items[PPN_IMAGES_MAX];
    struct survey_peer *peer = context;
    struct survey *survey = peer->survey;
    uint32_t count = 0;
    node_exchange_close(&peer->exchange, false, PPN_OK, NULL);
    if (frame->kind == WIRE_PEER_IMAGE_LIST &&
        wire_image_list_decode(frame->images, items, PPN_IMAGES_MAX, &count) == PPN_OK) {
        for (uint32_t i = 0; i < count; i++) {
            struct node_image_found found = {.hash = items[i].hash,
                                             .file_bytes = items[i].size_bytes,
                                             .virtual_bytes = items[i].virtual_bytes,
                                             .holder = peer->id};
            (void)ppn_text_copy(found.name, sizeof(found.name), items[i].name);
            survey->each(survey->context, &found);
        }
    }
    survey->open--;
    end_survey(survey);
}

static void survey_end(void *context, enum ppn_error reason, const char *text)
{
    struct survey_peer *peer = context;
    (void)reason;
    (void)text;
    peer->survey->open--;
    end_survey(peer->survey);
}

void node_images_survey(struct node_images *images, node_image_each_fn *each,
                        void (*end)(void *context), void *context)
{
    struct survey *survey = calloc(1, sizeof(*survey));
    struct node_member member;
    uint32_t cursor = 0;
    if (survey == NULL) {
        end(context);
        return;
    }
    *survey = (struct survey){.images = images, .each = each, .end = end, .context = context};
    survey->asking = true;
    survey->next = images->surveys;
    images->surveys = survey;
    while (survey->count < SURVEY_PEERS_MAX && node_member_next(images->node, &cursor, &member)) {
        struct wire_peer_frame frame = {.kind = WIRE_PEER_IMAGE_LIST_WANT};
        struct survey_peer *peer = &survey->peers[survey->count];
        if (ppn_node_id_equal(&member.id, &images->node->identity.id) ||
            !node_member_alive(images->node, &member.id))
            continue;
        *peer = (struct survey_peer){.survey = survey, .id = member.id};
        peer->exchange =
            (struct node_exchange){.context = peer, .on_frame = survey_frame, .on_end = survey_end};
        if (node_exchange_open(images->node->peers, &member.id, &peer->exchange,
                               ppn_seconds(LIST_PATIENCE_S), &frame) == PPN_OK) {
            survey->open++;
            survey->count++;
        }
    }
    survey->asking = false;
    end_survey(survey);
}

struct resolving {
    struct node_images *images;
    char name[PPN_NAME_MAX + 1];
    node_image_found_fn *found;
    void *context;
    bool hit, ambiguous;
    struct node_image_found image;
};

static void resolve_each(void *context, const struct node_image_found *image)
{
    struct resolving *resolving = context;
    if (strcmp(image->name, resolving->name) != 0)
        return;
    if (resolving->hit && !ppn_hash_equal(&image->hash, &resolving->image.hash))
        resolving->ambiguous = true;
    resolving->hit = true;
    resolving->image = *image;
}

static void resolve_end(void *context)
{
    struct resolving *resolving = context;
    struct ppn_failure failure = {0};
    if (!resolving->hit)
        (void)ppn_fail(&failure, PPN_ERROR_NOT_FOUND,
                       "no image %s on any node that can be reached; see ppn image ls, or add it: "
                       "ppn image add FILE --name %s",
                       resolving->name, resolving->name);
    else if (resolving->ambiguous)
        (void)ppn_fail(&failure, PPN_ERROR_CONFLICT,
                       "several nodes have different images named %s; give this node one of that "
                       "name, or rename: see ppn image ls",
                       resolving->name);
    bool fine = failure.code == PPN_OK;
    resolving->found(resolving->context, fine ? &resolving->image : NULL, fine ? NULL : &failure);
    free(resolving);
}

void node_images_resolve(struct node_images *images, const char *name, node_image_found_fn *found,
                         void *context)
{
    const struct image *own = image_store_find(images->store, name);
    if (own != NULL) {
        struct node_image_found image = {.hash = own->hash,
                                         .file_bytes = own->facts.file_bytes,
                                         .virtual_bytes = own->facts.virtual_bytes};
        (void)ppn_text_copy(image.name, sizeof(image.name), name);
        found(context, &image, NULL);
        return;
    }
    struct resolving *resolving = calloc(1, sizeof(*resolving));
    if (resolving == NULL) {
        struct ppn_failure failure = {PPN_ERROR_NO_MEMORY, "out of memory"};
        found(context, NULL, &failure);
        return;
    }
    *resolving = (struct resolving){.images = images, .found = found, .context = context};
    (void)ppn_text_copy(resolving->name, sizeof(resolving->name), name);
    node_images_survey(images, resolve_each, resolve_end, resolving);
}

enum ppn_error node_images_open(struct node *node, struct node_images **out,
                                struct ppn_failure *failure)
{
    struct node_images *images = calloc(1, sizeof(*images));
    if (images == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    images->node = node;
    *out = images;
    return image_store_open(node->loop, node->worker, node->options.state_dir, &images->store,
                            failure);
}

void node_images_close(struct node_images *images)
{
    if (images == NULL)
        return;
    for (uint32_t i = 0; i < NODE_FETCHES_MAX; i++) {
        struct fetch *fetch = images->fetches[i];
        if (fetch == NULL)
            continue;
        os_defer_cancel(images->node->loop, &fetch->end);
        (void)ppn_fail(&fetch->failure, PPN_ERROR_CLOSED, "this node stops");
        on_end(fetch);
    }
    image_store_close(images->store);
    free(images);
}
