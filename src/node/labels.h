// SPDX-License-Identifier: ISC
#pragma once

/* Labels that an admin gave a machine when it was admitted, over those that the machine gives
 * itself. The log's win: a machine can neither take off nor fake what an admin said of it, because
 * every node lays the log's labels over what it hears. */

#include "admission/entry.h"
#include "base/facts.h"

struct node;

/* Lays `given` over the profile's labels: a given key replaces the machine's own; where all do not
 * fit (PPN_LABELS_MAX) the machine's last own ones go. */
void node_labels_lay(struct ppn_profile *profile, const struct admission_labels *given);

/* Those of this member's admission; none for a stranger. */
void node_labels_given(const struct node *node, const struct ppn_node_id *id,
                       struct admission_labels *given);

/* Both of the above: what a member counts as. */
void node_labels_of(const struct node *node, const struct ppn_node_id *id,
                    struct ppn_profile *profile);
