// SPDX-License-Identifier: ISC
#pragma once

/* What this node must know to start again without any option: node->settings, one row in the store.
 */

#include "base/error.h"

struct node;

/* Start-up: reads the row into node->settings, zero when there is none yet. */
enum ppn_error node_settings_load(struct node *node, struct ppn_failure *failure) PPN_CHECK;

/* Writes node->settings; a failure is logged, the daemon goes on with what it has in memory. */
void node_settings_save(struct node *node);
