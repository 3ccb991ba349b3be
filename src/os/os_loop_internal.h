// SPDX-License-Identifier: ISC
#pragma once

/* What other files of src/os need of the loop beyond its public header. */

#include "os/os_loop.h"

enum { OS_SCRATCH_SIZE = 32 * 1024 };

/* A buffer for bytes that are used before the next callback. Made at first use; NULL: no memory. */
uint8_t *os_loop_scratch(struct os_loop *loop);

/* Something that nobody owns any more but that still waits for an event: an ended child not yet
 * reaped, a connection that still sends its last bytes. `drop` frees it when the loop closes. */
struct os_orphan {
    void (*drop)(struct os_orphan *orphan);
    struct os_orphan *next, *previous;
};
void os_loop_orphan_add(struct os_loop *loop, struct os_orphan *orphan);
void os_loop_orphan_remove(struct os_loop *loop, struct os_orphan *orphan);
