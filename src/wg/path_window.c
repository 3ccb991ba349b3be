// SPDX-License-Identifier: ISC
#include "wg/path_window.h"

#include <stddef.h>

bool path_window_take(struct path_window *window, uint64_t counter)
{
    if (counter <= window->floor ||
        (counter < window->highest && window->highest - counter > PATH_WINDOW_US))
        return false;
    for (size_t i = 0; i < PATH_WINDOW_SEEN; i++) {
        if (window->seen[i] == counter)
            return false;
    }
    /* Whoever is forgotten must not come again. */
    uint64_t *oldest = &window->seen[window->next];
    window->next = (window->next + 1) % PATH_WINDOW_SEEN;
    if (*oldest > window->floor)
        window->floor = *oldest;
    *oldest = counter;
    if (counter > window->highest)
        window->highest = counter;
    return true;
}
