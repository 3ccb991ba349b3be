// SPDX-License-Identifier: ISC
#pragma once

/* Which counters of a peer's questions were seen. Questions that take different ways overtake each
 * other, so a counter may come after a higher one, if it is not much lower and comes once: a
 * window as in RFC 6479, of time instead of numbers, since counters are microseconds. */

#include <stdbool.h>
#include <stdint.h>

enum { PATH_WINDOW_SEEN = 32, PATH_WINDOW_US = 2000000 };

/* Zero at the start. */
struct path_window {
    uint64_t highest, floor; /* nothing at or below the floor is taken */
    uint64_t seen[PATH_WINDOW_SEEN];
    uint32_t next;
};

/* False: seen before, or too old to tell. */
bool path_window_take(struct path_window *window, uint64_t counter);
