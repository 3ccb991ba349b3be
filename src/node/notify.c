// SPDX-License-Identifier: ISC
#include "node/notify.h"

#include "base/log.h"
#include "node/events.h"
#include "node/fallback.h"
#include "node/gossip.h"
#include "node/images.h"
#include "node/join_server.h"
#include "node/joins.h"
#include "node/log.h"
#include "node/machines.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/peers.h"
#include "node/rekey.h"
#include "node/relay.h"
#include "node/remote.h"
#include "node/requests.h"
#include "os/os_clock.h"

static const char *state_name(enum gossip_state state)
{
    static const char *const names[] = {"unknown",     "alive", "suspect",
                                        "unreachable", "dead",  "left"};
    return names[state];
}

/* Where a member was reached is worth remembering: a cold start may find it there again. */
static void remember_path(struct node *node, const struct ppn_node_id *id)
{
    struct wg_peer_status status;
    struct wire_reached reached = {.count = 1};
    uint8_t bytes[WIRE_REACHED_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (node_mesh_status(node->mesh, id, &status) != PPN_OK || !status.has_endpoint ||
        !status.has_handshake || node_fallback_local(&status.endpoint))
        return;
    reached.endpoints[0] = status.endpoint;
    reached.unix_ms = os_clock_wall().unix_ms;
    if (wire_reached_encode(&reached, &writer) == PPN_OK)
        store_view_put(node->store, STORE_VIEW_PATHS, ppn_slice(id->bytes, sizeof(id->bytes)),
                       ppn_written(&writer));
}

static enum fleet_node_state fleet_state(enum gossip_state state)
{
    return state == GOSSIP_ALIVE || state == GOSSIP_SUSPECT || state == GOSSIP_UNKNOWN
               ? FLEET_NODE_REACHABLE
               : FLEET_NODE_DEAD;
}

static void state_changed(struct node *node, const struct node_change *change)
{
    char scratch[PPN_FINGERPRINT_TEXT];
    ppn_log(PPN_LOG_INFO, "node-state", "node=%s was=%s now=%s%s",
            node_member_name(node, &change->node, scratch), state_name(change->was),
            state_name(change->state),
            change->cause == GOSSIP_CAUSE_REFUSED ? " text=\"its machine answers\"" : "");
    if (change->state == GOSSIP_ALIVE) {
        node_log_meet(node->log, &change->node);
        remember_path(node, &change->node);
    }
    node_requests_member(node->requests, &change->node, fleet_state(change->state));
}

void node_notify_gossip(struct node *node, const struct node_change *change)
{
    struct gossip_member member;
    struct ppn_profile profile;
    bool self = ppn_node_id_equal(&change->node, &node->identity.id);
    if (node_gossip_member(node, &change->node, &member) != PPN_OK)
        return;
    if (!self && node->peers != NULL)
        node_peers_epoch(node->peers, &change->node, member.epoch);
    if (!self && (change->what & GOSSIP_CHANGED_PROFILE) != 0 &&
        node_member_profile(&member, &profile))
        node_mesh_candidates(node->mesh, &change->node, &profile);
    if (!self && (change->what & GOSSIP_CHANGED_STATE) != 0)
        state_changed(node, change);
    if (!self && (change->what & (GOSSIP_CHANGED_LOAD | GOSSIP_CHANGED_STATE)) != 0)
        node_machines_check(node->machines, &change->node);
    node_events_gossip(node->events, change);
}

void node_notify_resumed(struct node *node)
{
    if (node->mesh != NULL)
        node_mesh_local(node->mesh);
    node_mesh_void(node->mesh);
    node_self_touch(node);
}

void node_notify_members(struct node *node, const struct ppn_node_id *added, uint32_t added_count,
                         const struct ppn_node_id *removed, uint32_t removed_count)
{
    /* Removals first: their sessions end before anybody new comes in. */
    if (node->mesh != NULL)
        node_mesh_members(node->mesh);
    if (node->relay != NULL)
        node_relay_members(node->relay);
    for (uint32_t i = 0; i < removed_count; i++) {
        if (node->peers != NULL)
            node_peers_drop(node->peers, &removed[i]);
        node_requests_member(node->requests, &removed[i], FLEET_NODE_REMOVED);
        node_machines_forget(node->machines, &removed[i]);
    }
    if (node->gossip != NULL) {
        if (removed_count > 0)
            node_gossip_members(node->gossip, removed, removed_count, false);
        for (uint32_t i = 0; i < added_count; i++) {
            if (!ppn_node_id_equal(&added[i], &node->identity.id))
                node_gossip_members(node->gossip, &added[i], 1, true);
        }
    }
    if (node->join_server != NULL)
        node_join_server_members(node->join_server);
    if (node->joins != NULL)
        (void)node_joins_count(node->joins);
    node_check_lease(node, added, added_count);
    node_rekey_check(node->rekey);
}

void node_notify_machines(struct node *node)
{
    node_self_touch(node);
}

bool node_dispatch(struct node *node, struct node_link *link, const struct wire_peer_frame *frame)
{
    switch (frame->kind) {
    case WIRE_PEER_LOG_HEADS:
    case WIRE_PEER_LOG_WANT:
    case WIRE_PEER_LOG_ENTRIES:
    case WIRE_PEER_LOG_PUSH:
        node_log_frame(node->log, link, frame);
        return true;
    case WIRE_PEER_JOIN:
        node_joins_told(node->joins, node_link_peer(link), frame);
        return true;
    case WIRE_PEER_FLEET:
        node_requests_frame(node->requests, node_link_peer(link), frame);
        return true;
    case WIRE_PEER_VM_CHANGED:
        node_machines_changed(node->machines, node_link_peer(link), frame->known_digest);
        return true;
    case WIRE_PEER_VM_LIST_WANT:
        node_machines_frame(node->machines, link, frame);
        return true;
    case WIRE_PEER_IMAGE_LIST_WANT:
    case WIRE_PEER_IMAGE_WANT:
        node_images_frame(node->images, link, frame);
        return true;
    case WIRE_PEER_API_REQUEST:
        node_remote_frame(node->remote, link, frame);
        return true;
    case WIRE_PEER_HELLO:
    case WIRE_PEER_PING:
    case WIRE_PEER_PONG:
    case WIRE_PEER_VM_LIST:
    case WIRE_PEER_IMAGE_LIST:
    case WIRE_PEER_IMAGE_DATA:
    case WIRE_PEER_IMAGE_NONE:
    case WIRE_PEER_API_HEAD:
    case WIRE_PEER_API_DATA:
    case WIRE_PEER_API_END:
    case WIRE_PEER_API_WINDOW:
    case WIRE_PEER_CLOSE:
        return false;
    }
    return false;
}
