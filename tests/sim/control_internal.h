// SPDX-License-Identifier: ISC
#pragma once

#include "control.h"

/* One step of a node's fleet core with everything that follows from it; fills in the wall clock. */
void control_step(struct control *control, uint32_t node, struct fleet_event *event);

/* A node's wall clock, which is not everybody's. */
struct ppn_wall control_wall(const struct control *control, uint32_t node);
