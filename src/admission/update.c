// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "admission/state.h"

struct admission_update_item *admission_update_add(struct admission_update *update,
                                                   enum admission_update_kind kind)
{
    void *items = update->items;
    admission_grow(&items, &update->capacity, update->count + 1, sizeof *update->items);
    update->items = items;
    struct admission_update_item *item = &update->items[update->count++];
    memset(item, 0, sizeof *item);
    item->kind = kind;
    return item;
}

void admission_update_reset(struct admission_update *update)
{
    update->count = 0;
}

void admission_update_free(struct admission_update *update)
{
    free(update->items);
    *update = (struct admission_update){0};
}
