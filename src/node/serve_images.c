// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "api/api_request.h"
#include "node/images.h"
#include "node/machines.h"
#include "node/serve_internal.h"

enum { HOLDERS_MAX = 32, ROWS_MAX = 512 };

/* `ppn image ls`: own images, and what the others' lists say. */
struct row {
    struct node_image_found image;
    const char *format;
    bool here;
    uint32_t used_by;
    uint32_t holder_count;
    const char *holders[HOLDERS_MAX];
};

struct listing {
    struct node *node;
    struct api_request *request;
    uint32_t count;
    struct row rows[ROWS_MAX];
};

static void listing_gone(void *context, struct api_request *request)
{
    struct listing *listing = context;
    (void)request;
    listing->request = NULL;
}

static void add_holder(struct listing *listing, const struct node_image_found *image,
                       const char *holder)
{
    struct row *row = NULL;
    for (uint32_t i = 0; i < listing->count; i++) {
        if (ppn_hash_equal(&listing->rows[i].image.hash, &image->hash) &&
            strcmp(listing->rows[i].image.name, image->name) == 0)
            row = &listing->rows[i];
    }
    if (row == NULL && listing->count == ROWS_MAX)
        return;
    if (row == NULL) {
        row = &listing->rows[listing->count++];
        row->image = *image;
    }
    if (row->holder_count < HOLDERS_MAX)
        row->holders[row->holder_count++] = holder;
}

static void each(void *context, const struct node_image_found *image)
{
    struct listing *listing = context;
    struct node_member member;
    if (node_member_by_id(listing->node, &image->holder, &member))
        add_holder(listing, image, member.name);
}

static void end(void *context)
{
    struct listing *listing = context;
    if (listing->request != NULL) {
        api_list_begin(listing->request, API_LIST_IMAGES);
        for (uint32_t i = 0; i < listing->count; i++) {
            const struct row *row = &listing->rows[i];
            struct api_image_view view = {
                .name = row->image.name,
                .sha256 = row->image.hash,
                .size_bytes = row->image.file_bytes,
                .virtual_bytes = row->image.virtual_bytes,
                .format = row->format,
                .here = row->here,
                .nodes = row->holders,
                .node_count = row->holder_count,
                .used_by = row->used_by,
            };
            api_list_add_image(listing->request, &view);
        }
        api_list_end(listing->request);
    }
    free(listing);
}

void node_serve_images(void *context, struct api_request *request)
{
    struct node *node = context;
    struct image_store *store = node_images_store(node->images);
    struct listing *listing = calloc(1, sizeof(*listing));
    struct api_watch watch = {.context = listing, .gone = listing_gone};
    uint32_t count;
    if (listing == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    listing->node = node;
    listing->request = request;
    api_request_watch(request, &watch);
    const struct image *images = image_store_list(store, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct node_image_found found = {.hash = images[i].hash,
                                         .file_bytes = images[i].facts.file_bytes,
                                         .virtual_bytes = images[i].facts.virtual_bytes};
        (void)ppn_text_copy(found.name, sizeof(found.name), images[i].name);
        add_holder(listing, &found, node->name);
        if (listing->count == 0)
            continue;
        struct row *row = &listing->rows[listing->count - 1];
        row->here = true;
        row->format = image_format_name(images[i].facts.format);
        row->used_by = vm_host_uses_image(node_machines_host(node->machines), &images[i].hash);
    }
    node_images_survey(node->images, each, end, listing);
}

/* ---- adding ---- */

struct adding {
    struct node *node;
    struct api_request *request;
    struct image_import *import;
    bool finishing;
    bool has_sha256;
    struct ppn_hash sha256;
    uint64_t size_bytes, taken;
};

static void added(void *context, const struct image *image, const struct ppn_failure *failure)
{
    struct adding *adding = context;
    struct api_request *request = adding->request;
    const char *holder = adding->node->name;
    if (image != NULL)
        node_self_touch(adding->node);
    if (request != NULL && image != NULL) {
        struct api_image_view view = {
            .name = image->name,
            .sha256 = image->hash,
            .size_bytes = image->facts.file_bytes,
            .virtual_bytes = image->facts.virtual_bytes,
            .format = image_format_name(image->facts.format),
            .here = true,
            .nodes = &holder,
            .node_count = 1,
        };
        if (adding->has_sha256 && !ppn_hash_equal(&adding->sha256, &image->hash))
            api_reply_error(request, PPN_ERROR_CORRUPT,
                            "the image arrived with another SHA-256 than announced; it is kept as "
                            "%s, remove it if it is not wanted",
                            image->name);
        else
            api_stream_image(request, &view);
    } else if (request != NULL) {
        api_reply_failure(request, failure);
    }
    free(adding);
}

static size_t take_body(void *context, struct api_request *request, struct ppn_slice bytes)
{
    struct adding *adding = context;
    struct ppn_failure failure = {0};
    adding->taken += bytes.size;
    if (image_import_write(adding->import, bytes, &failure) == PPN_OK)
        return bytes.size;
    image_import_cancel(adding->import);
    free(adding);
    api_reply_failure(request, &failure);
    return bytes.size;
}

static void take_end(void *context, struct api_request *request)
{
    struct adding *adding = context;
    if (adding->size_bytes != 0 && adding->taken != adding->size_bytes) {
        image_import_cancel(adding->import);
        free(adding);
        api_reply_error(request, PPN_ERROR_CLOSED, "the upload was cut short; try again");
        return;
    }
    adding->finishing = true;
    image_import_finish(adding->import, added, adding);
}

static void adding_gone(void *context, struct api_request *request)
{
    struct adding *adding = context;
    (void)request;
    adding->request = NULL;
    if (adding->finishing)
        return;
    image_import_cancel(adding->import);
    free(adding);
}

void node_serve_image_put(void *context, struct api_request *request,
                          const struct api_image_put *put)
{
    struct node *node = context;
    struct ppn_failure failure = {0};
    struct adding *adding = calloc(1, sizeof(*adding));
    struct api_watch watch = {
        .context = adding, .body = take_body, .body_end = take_end, .gone = adding_gone};
    if (adding == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    *adding = (struct adding){.node = node,
                              .request = request,
                              .has_sha256 = put->has_sha256,
                              .size_bytes = put->size_bytes};
    memcpy(adding->sha256.bytes, put->sha256, sizeof(adding->sha256.bytes));
    if (image_import_begin(node_images_store(node->images), put->name, put->size_bytes,
                           &adding->import, &failure) != PPN_OK) {
        free(adding);
        api_reply_failure(request, &failure);
        return;
    }
    api_request_watch(request, &watch);
}

void node_serve_image_remove(void *context, struct api_request *request,
                             const struct api_image_ref *ref)
{
    struct node *node = context;
    struct image_store *store = node_images_store(node->images);
    const struct image *image = image_store_find(store, ref->name);
    struct ppn_failure failure = {0};
    if (image == NULL) {
        api_reply_error(request, PPN_ERROR_NOT_FOUND, "no image %s on this node; see ppn image ls",
                        ref->name);
        return;
    }
    struct ppn_hash hash = image->hash;
    bool used = vm_host_uses_image(node_machines_host(node->machines), &hash);
    if (image_store_remove(store, &hash, used, &failure) != PPN_OK) {
        api_reply_failure(request, &failure);
        return;
    }
    node_self_touch(node);
    api_reply_done(request, "removed from this node");
}

/* ---- fetching ---- */

struct fetching {
    struct node *node;
    struct api_request *request; /* NULL: went away */
    struct node_image_found image;
    int percent;
};

static void fetching_gone(void *context, struct api_request *request)
{
    struct fetching *fetching = context;
    (void)request;
    fetching->request = NULL;
}

static void fetch_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    struct fetching *fetching = context;
    int percent = total_bytes > 0 ? (int)(done_bytes * 100 / total_bytes) : -1;
    struct api_progress line = {
        .stage = "fetching", .text = fetching->image.name, .percent = percent};
    if (fetching->request != NULL && percent != fetching->percent)
        api_stream_progress(fetching->request, &line);
    fetching->percent = percent;
}

static void fetched(void *context, const struct ppn_failure *failure)
{
    struct fetching *fetching = context;
    struct image_store *store = node_images_store(fetching->node->images);
    const struct image *image = image_store_by_hash(store, &fetching->image.hash);
    const char *holder = fetching->node->name;
    if (fetching->request != NULL && failure != NULL) {
        api_reply_failure(fetching->request, failure);
    } else if (fetching->request != NULL && image != NULL) {
        struct api_image_view view = {
            .name = fetching->image.name,
            .sha256 = image->hash,
            .size_bytes = image->facts.file_bytes,
            .virtual_bytes = image->facts.virtual_bytes,
            .format = image_format_name(image->facts.format),
            .here = true,
            .nodes = &holder,
            .node_count = 1,
        };
        api_stream_image(fetching->request, &view);
    } else if (fetching->request != NULL) {
        api_reply_error(fetching->request, PPN_ERROR_NOT_FOUND, "the image vanished again");
    }
    free(fetching);
}

static void found(void *context, const struct node_image_found *image,
                  const struct ppn_failure *failure)
{
    struct fetching *fetching = context;
    if (image == NULL || fetching->request == NULL) {
        if (fetching->request != NULL)
            api_reply_failure(fetching->request, failure);
        free(fetching);
        return;
    }
    fetching->image = *image;
    struct node_fetch_caller caller = {
        .context = fetching, .progress = fetch_progress, .done = fetched};
    node_images_fetch(fetching->node->images, &image->hash, image->file_bytes, image->name,
                      &image->holder, &caller);
}

void node_serve_image_fetch(void *context, struct api_request *request,
                            const struct api_image_ref *ref)
{
    struct node *node = context;
    struct fetching *fetching = calloc(1, sizeof(*fetching));
    struct api_watch watch = {.context = fetching, .gone = fetching_gone};
    if (fetching == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    *fetching = (struct fetching){.node = node, .request = request, .percent = -1};
    api_request_watch(request, &watch);
    node_images_resolve(node->images, ref->name, found, fetching);
}
