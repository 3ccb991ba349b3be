// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "api/api_internal.h"
#include "base/assert.h"

enum { QUEUE_FIRST = 1024 };

bool api_queue_add(struct api_queue *queue, const void *bytes, size_t size)
{
    PPN_ASSERT(queue->head + queue->size <= queue->capacity);
    if (size > queue->capacity - queue->head - queue->size) {
        if (queue->head > 0) {
            memmove(queue->data, queue->data + queue->head, queue->size);
            queue->head = 0;
        }
        size_t wanted = queue->capacity > 0 ? queue->capacity : QUEUE_FIRST;
        while (wanted < queue->size + size)
            wanted *= 2;
        if (wanted != queue->capacity) {
            uint8_t *data = realloc(queue->data, wanted);
            if (data == NULL)
                return false;
            queue->data = data;
            queue->capacity = wanted;
        }
    }
    if (size > 0)
        memcpy(queue->data + queue->head + queue->size, bytes, size);
    queue->size += size;
    return true;
}

size_t api_queue_take(struct api_queue *queue, uint8_t *bytes, size_t capacity)
{
    size_t size = queue->size < capacity ? queue->size : capacity;
    if (size > 0)
        memcpy(bytes, queue->data + queue->head, size);
    queue->head += size;
    queue->size -= size;
    if (queue->size == 0)
        api_queue_free(queue); /* an idle stream holds no memory */
    return size;
}

void api_queue_free(struct api_queue *queue)
{
    free(queue->data);
    *queue = (struct api_queue){0};
}
