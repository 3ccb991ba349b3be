// SPDX-License-Identifier: ISC
#pragma once

/* The only reader of clocks. Callable from any thread. In the loop prefer os_now. */

#include "base/time.h"

struct ppn_instant os_clock_monotonic(void);
/* Like monotonic, but goes on while the machine sleeps. */
struct ppn_instant os_clock_boottime(void);
/* For people, leases and invites only: it jumps. */
struct ppn_wall os_clock_wall(void);
