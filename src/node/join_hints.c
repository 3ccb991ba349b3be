// SPDX-License-Identifier: ISC
#include "node/join_hints.h"

#include "node/gossip.h"
#include "node/mesh.h"
#include "node/node.h"
#include "wire/join.h"

static uint32_t add_endpoint(struct wire_join_hint *hint, const struct ppn_endpoint *endpoint)
{
    if (hint->endpoint_count < PPN_ENDPOINTS_MAX)
        hint->endpoints[hint->endpoint_count++] = *endpoint;
    return hint->endpoint_count;
}

enum ppn_error node_join_hints(struct node *node, const struct ppn_node_id *but,
                               struct ppn_writer *writer, uint32_t *out)
{
    static struct wire_join_hint hints[WIRE_JOIN_HINTS_MAX];
    struct node_member member;
    uint32_t cursor = 0, count = 0;
    while (count < WIRE_JOIN_HINTS_MAX && node_member_next(node, &cursor, &member)) {
        struct wire_join_hint *hint = &hints[count];
        struct gossip_member seen;
        struct ppn_profile profile;
        struct wg_peer_status status;
        *hint = (struct wire_join_hint){.node = member.id};
        if (ppn_node_id_equal(&member.id, but))
            continue;
        if (node_mesh_status(node->mesh, &member.id, &status) == PPN_OK && status.has_endpoint)
            (void)add_endpoint(hint, &status.endpoint);
        if (node_gossip_member(node, &member.id, &seen) == PPN_OK &&
            node_member_profile(&seen, &profile)) {
            for (uint32_t i = 0; i < profile.candidate_count; i++)
                (void)add_endpoint(hint, &profile.candidates[i].endpoint);
        }
        count += hint->endpoint_count > 0;
    }
    *out = count;
    return wire_join_hints_encode(hints, count, writer);
}
