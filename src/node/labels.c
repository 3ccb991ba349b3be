// SPDX-License-Identifier: ISC
#include "node/labels.h"

#include <string.h>

#include "node/log.h"
#include "node/node.h"

static bool has(const struct admission_labels *given, const char *key)
{
    for (uint32_t i = 0; i < given->count; i++) {
        if (strcmp(given->items[i].key, key) == 0)
            return true;
    }
    return false;
}

void node_labels_lay(struct ppn_profile *profile, const struct admission_labels *given)
{
    struct ppn_label own[PPN_LABELS_MAX];
    uint32_t own_count = profile->label_count, count = given->count;
    memcpy(own, profile->labels, sizeof(own));
    memcpy(profile->labels, given->items, count * sizeof(*own));
    for (uint32_t i = 0; i < own_count && count < PPN_LABELS_MAX; i++) {
        if (!has(given, own[i].key))
            profile->labels[count++] = own[i];
    }
    profile->label_count = count;
}

void node_labels_given(const struct node *node, const struct ppn_node_id *id,
                       struct admission_labels *given)
{
    const struct admission *log = node_log_core(node->log);
    const struct admission_member *member = admission_member_by_id(log, id);
    given->count = 0;
    if (member != NULL)
        admission_member_labels(log, member, given);
}

void node_labels_of(const struct node *node, const struct ppn_node_id *id,
                    struct ppn_profile *profile)
{
    struct admission_labels given;
    node_labels_given(node, id, &given);
    node_labels_lay(profile, &given);
}
