// SPDX-License-Identifier: ISC
#pragma once

/* The scenario "control": people ask for machines while the seed breaks everything it can (phase
 * one: at most one machine a request, after every step), then all faults stop (phase two: whatever
 * was accepted is settled, with exactly its one machine, and nothing is left over). */

#include "scenario.h"

void control_play(const struct scenario_options *options, struct scenario_result *result);
