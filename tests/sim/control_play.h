// SPDX-License-Identifier: ISC
#pragma once

/* The scenario "control": people ask for machines while the seed breaks everything it can (phase
 * one: after every step at most one machine a request, and nobody given up who is well), then a
 * random part is healed and must be whole for itself, then all of it (phase two: whatever was
 * accepted is settled, with exactly its one machine, and nothing is left over). */

#include "scenario.h"

enum { CONTROL_PLAY_NODES_MAX = 32 };

void control_play(const struct scenario_options *options, struct scenario_result *result);
