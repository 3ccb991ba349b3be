// SPDX-License-Identifier: ISC
#include "node/settings.h"

#include "base/assert.h"
#include "base/log.h"
#include "node/node.h"

static const char settings_key[] = "settings";

static struct ppn_slice key(void)
{
    return ppn_slice(settings_key, sizeof(settings_key) - 1);
}

enum ppn_error node_settings_load(struct node *node, struct ppn_failure *failure)
{
    static uint8_t bytes[WIRE_SETTINGS_MAX];
    size_t size;
    node->settings = (struct wire_settings){0};
    enum ppn_error error =
        store_get_copy(node->store, STORE_META, key(), bytes, sizeof(bytes), &size);
    if (error == PPN_ERROR_NOT_FOUND)
        return PPN_OK;
    if (error == PPN_OK)
        error = wire_settings_decode(ppn_slice(bytes, size), &node->settings);
    if (error != PPN_OK)
        return ppn_fail(failure, error,
                        "the stored settings cannot be read (%s); was this state "
                        "directory written by a newer ppn-node?",
                        ppn_error_text(error));
    return PPN_OK;
}

static void on_saved(void *context, enum ppn_error error)
{
    (void)context;
    if (error != PPN_OK)
        ppn_log(PPN_LOG_ERROR, "settings-unsaved", "cause=\"%s\"", ppn_error_text(error));
}

void node_settings_save(struct node *node)
{
    static uint8_t bytes[WIRE_SETTINGS_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct store_batch batch;
    enum ppn_error error = wire_settings_encode(&node->settings, &writer);
    PPN_ASSERT(error == PPN_OK);
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, key(), ppn_written(&writer));
    store_commit(node->store, &batch, on_saved, NULL);
}
