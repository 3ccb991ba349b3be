// SPDX-License-Identifier: ISC
#pragma once

/* The scenario "paths": homes, routers and relays drawn from the seed; first everything breaks, one
 * thing after another; then it is healed, and within bounds every pair has a way, and soon the
 * best that its routers allow. */

#include "scenario.h"

enum { PATHS_PLAY_NODES_LEAST = 4, PATHS_PLAY_NODES_MAX = 16 };

void paths_play(const struct scenario_options *options, struct scenario_result *result);
