// SPDX-License-Identifier: ISC
#include <string.h>

#include "node/log.h"
#include "node/node.h"

static void fill(struct node_member *out, const struct admission_member *member)
{
    out->id = member->id;
    out->name = member->name;
    memcpy(out->address, member->address, sizeof(out->address));
    out->lease_until_unix_ms = member->lease_until_unix_ms;
    out->relay = (member->roles & ADMISSION_ROLE_RELAY) != 0;
}

bool node_member_by_id(const struct node *node, const struct ppn_node_id *id,
                       struct node_member *out)
{
    const struct admission_member *member = admission_member_by_id(node_log_core(node->log), id);
    if (member != NULL)
        fill(out, member);
    return member != NULL;
}

bool node_member_by_name(const struct node *node, const char *name, struct node_member *out)
{
    const struct admission_member *member =
        admission_member_by_name(node_log_core(node->log), name);
    if (member != NULL)
        fill(out, member);
    return member != NULL;
}

bool node_member_address(const struct node *node, const struct ppn_node_id *id,
                         uint8_t address[static 16])
{
    const struct admission_member *member = admission_member_by_id(node_log_core(node->log), id);
    if (member != NULL)
        memcpy(address, member->address, sizeof(member->address));
    return member != NULL;
}

bool node_member_by_address(const struct node *node, const uint8_t address[static 16],
                            struct ppn_node_id *id)
{
    const struct admission_member *member =
        admission_member_by_address(node_log_core(node->log), address);
    /* Only the node itself speaks for the node: the rest of its /96 are its VMs. */
    if (member == NULL || memcmp(member->address, address, sizeof(member->address)) != 0)
        return false;
    *id = member->id;
    return true;
}

const char *node_member_name(const struct node *node, const struct ppn_node_id *id,
                             char scratch[static PPN_FINGERPRINT_TEXT])
{
    const struct admission_member *member = admission_member_by_id(node_log_core(node->log), id);
    if (member != NULL)
        return member->name;
    ppn_fingerprint(id, scratch);
    return scratch;
}

bool node_member_next(const struct node *node, uint32_t *cursor, struct node_member *out)
{
    const struct admission_member *member = admission_member_at(node_log_core(node->log), *cursor);
    if (member == NULL)
        return false;
    (*cursor)++;
    fill(out, member);
    return true;
}
