// SPDX-License-Identifier: ISC
#pragma once

/* What the tests of src/os share: a loop that ends a test that hangs, and a directory of its own.
 */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/os_file.h"
#include "os/os_loop.h"
#include "os/os_process.h"

struct rig {
    struct os_loop *loop;
    struct os_timer guard;
    uint32_t files; /* open before */
};

static inline void rig_hang(void *context)
{
    (void)context;
    cr_assert_fail("the test hangs");
}

static inline void rig_nothing(void *context)
{
    (void)context;
}

/* One round that does not wait. */
static inline void rig_poll(struct rig *rig)
{
    struct os_timer now;
    os_timer_init(&now, rig->loop, rig_nothing, NULL);
    os_timer_after(&now, ppn_ns(0));
    os_loop_turn(rig->loop);
    os_timer_stop(&now);
}

static inline void rig_open(struct rig *rig)
{
    struct ppn_failure failure;
    rig->files = os_process_open_files();
    cr_assert_eq(os_loop_open(&rig->loop, &failure), PPN_OK);
    os_timer_init(&rig->guard, rig->loop, rig_hang, NULL);
    os_timer_after(&rig->guard, ppn_seconds(20));
}

static inline void rig_close(struct rig *rig)
{
    os_timer_stop(&rig->guard);
    os_loop_close(rig->loop);
    cr_assert_eq(os_process_open_files(), rig->files, "descriptors leaked");
}

/* Runs the loop until *flag, which a callback sets. */
static inline void rig_until(struct rig *rig, const bool *flag)
{
    while (!*flag)
        os_loop_turn(rig->loop);
}
