// SPDX-License-Identifier: ISC
#include "world_heap.h"

#include <stdlib.h>

#include "base/assert.h"

static bool event_before(const struct world_event *a, const struct world_event *b)
{
    return a->at.ns != b->at.ns ? a->at.ns < b->at.ns : a->order < b->order;
}

void world_heap_push(struct world *w, struct world_event event)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity == 0 ? 1024 : 2 * w->heap_capacity;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof(*w->heap));
        PPN_ASSERT(w->heap != NULL);
    }
    event.order = w->order++;
    uint32_t at = w->heap_count++;
    while (at > 0 && event_before(&event, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = event;
}

struct world_event world_heap_pop(struct world *w)
{
    struct world_event top = w->heap[0], last = w->heap[--w->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && event_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!event_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}
