// SPDX-License-Identifier: ISC

/* `ppn why`: which way packets to a member take, what else was tried and why that is not better,
 * and what a person can do. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/gossip.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/paths.h"
#include "node/serve_internal.h"
#include "os/os_address.h"
#include "wg/wg.h"

enum { SENTENCE_MAX = 240 };

/* The view and all that it points to. */
struct answer {
    const struct node *node;
    const struct node_member *member;
    const struct path *core; /* NULL: nothing is probed there */
    struct ppn_instant now;
    struct api_path_view view;
    char endpoint[OS_ENDPOINT_TEXT], reason[SENTENCE_MAX], advice[SENTENCE_MAX];
    char relay[PPN_NAME_MAX + 1];
    struct {
        char endpoint[OS_ENDPOINT_TEXT], relay[PPN_NAME_MAX + 1], reason[SENTENCE_MAX];
    } ways[API_WAYS_MAX];
};

_Static_assert((int)API_WAYS_MAX >= (int)PATH_WAYS_MAX, "every way is shown");

static bool through_relay(const struct path_way *way)
{
    return way->relay.port != 0;
}

static void name_relay(const struct answer *answer, const struct path_way *way,
                       char name[static PPN_NAME_MAX + 1])
{
    struct ppn_node_id id;
    char scratch[PPN_FINGERPRINT_TEXT];
    name[0] = '\0';
    if (through_relay(way) && node_mesh_whose_relay(answer->node->mesh, &way->relay, &id))
        (void)ppn_text_copy(name, PPN_NAME_MAX + 1, node_member_name(answer->node, &id, scratch));
}

/* ---- what was tried ---- */

static const char *state_name(enum path_standing standing)
{
    static const char *const names[] = {
        [PATH_USED] = "used",           [PATH_SPARE] = "spare",
        [PATH_NARROW] = "narrow",       [PATH_RESTING] = "resting",
        [PATH_LOST] = "lost",           [PATH_SILENT] = "silent",
        [PATH_NO_RELAY] = "no-relay",   [PATH_NO_MAILBOX] = "no-mailbox",
        [PATH_PEER_AWAY] = "peer-away",
    };
    return names[standing];
}

static const char *why_silent(enum path_class class)
{
    if (class == PATH_LAN)
        return "it is in another network, or a firewall there drops UDP";
    if (class == PATH_PUBLIC)
        return "a firewall there drops UDP, or none of it passes between";
    if (class == PATH_PUNCHED)
        return "a router between maps each destination to another port, or lets nothing in";
    return "nothing comes back";
}

/* Why a way that works is not the one in use. */
static void why_spare(const struct answer *answer, const struct path_way *way,
                      char text[static SENTENCE_MAX])
{
    const struct path_way *used = path_current(answer->core);
    if (used == NULL || !used->proven)
        (void)snprintf(text, SENTENCE_MAX, "works; it is about to be used");
    else if (way->class > used->class)
        (void)snprintf(text, SENTENCE_MAX, "works, but %s is better than %s",
                       node_paths_class_name(used->class), node_paths_class_name(way->class));
    else
        (void)snprintf(text, SENTENCE_MAX, "works, and is not clearly shorter");
}

static void why_not(const struct answer *answer, const struct path_way *way, const char *relay,
                    char text[static SENTENCE_MAX])
{
    const char *via = relay[0] != '\0' ? relay : "the relay";
    switch (path_way_standing(answer->core, way)) {
    case PATH_USED:
        (void)snprintf(text, SENTENCE_MAX, "in use");
        return;
    case PATH_SPARE:
        why_spare(answer, way, text);
        return;
    case PATH_NARROW:
        (void)snprintf(text, SENTENCE_MAX, "works, but drops packets of %d bytes", PATH_MTU_MIN);
        return;
    case PATH_RESTING:
        (void)snprintf(text, SENTENCE_MAX, "not asked now: nothing needs it");
        return;
    case PATH_LOST:
        (void)snprintf(text, SENTENCE_MAX, "answered before, and answers no more");
        return;
    case PATH_SILENT:
        (void)snprintf(text, SENTENCE_MAX, "%" PRIu64 " questions, no answer: %s", way->asked,
                       why_silent(way->class));
        return;
    case PATH_NO_RELAY:
        (void)snprintf(text, SENTENCE_MAX, "%s does not answer at its relay ports", via);
        return;
    case PATH_NO_MAILBOX:
        (void)snprintf(text, SENTENCE_MAX, "%s has no mailbox to give: it needs more relay-ports",
                       via);
        return;
    case PATH_PEER_AWAY:
        (void)snprintf(text, SENTENCE_MAX, "%s answers, %s does not answer through it", via,
                       answer->member->name);
        return;
    }
}

static void fill_way(struct answer *answer, const struct path_way *way)
{
    uint32_t index = answer->view.way_count++;
    struct api_way_view *view = &answer->view.ways[index];
    char *endpoint = answer->ways[index].endpoint, *relay = answer->ways[index].relay;
    os_endpoint_text(way->endpoint.port != 0 ? &way->endpoint : &way->relay, endpoint);
    name_relay(answer, way, relay);
    why_not(answer, way, relay, answer->ways[index].reason);
    *view = (struct api_way_view){
        .path = node_paths_class_name(way->class),
        .endpoint = endpoint,
        .relay = relay[0] != '\0' ? relay : NULL,
        .state = state_name(path_way_standing(answer->core, way)),
        .reason = answer->ways[index].reason,
        .round_trip_us = way->answered > 0 ? way->rtt.ns / 1000 : -1,
        .loss_per_mille = path_loss_per_mille(way),
        .answered_ms_ago =
            way->answered > 0 ? ppn_to_ms(ppn_between(way->proven_at, answer->now)) : -1,
        .asked = way->asked,
        .answered = way->answered,
        .mtu = path_way_mtu(way) >= PATH_MTU_MIN ? path_way_mtu(way) : 0,
    };
}

/* The one in use first, then best first, as they are named within a class. */
static void fill_ways(struct answer *answer)
{
    const struct path_way *used = path_current(answer->core);
    if (used != NULL)
        fill_way(answer, used);
    for (int class = PATH_LAN; answer->view.way_count < answer->core->way_count; class ++) {
        for (size_t i = 0; i < answer->core->way_count; i++) {
            const struct path_way *way = &answer->core->ways[i];
            if (way != used && way->class == (enum path_class) class)
                fill_way(answer, way);
        }
    }
}

/* ---- the way in use ---- */

static void over_tcp(struct answer *answer, const struct path_way *way)
{
    const struct node *node = answer->node;
    struct ppn_endpoint over;
    if (node_mesh_over(node->mesh, &way->endpoint, &over))
        (void)snprintf(answer->reason, sizeof(answer->reason),
                       "no UDP passes between: a connection to TCP %u of %s carries it", over.port,
                       through_relay(way) ? answer->relay : answer->member->name);
    else
        (void)snprintf(answer->reason, sizeof(answer->reason),
                       "no UDP passes between: it is connected to TCP %u of this node",
                       node->options.relay_tcp_port);
}

static void describe_used(struct answer *answer, const struct path_way *way)
{
    struct api_path_view *view = &answer->view;
    static const char *const reasons[] = {
        [PATH_LAN] = "both are in one local network",
        [PATH_PUBLIC] = "one of the two has a public address",
        [PATH_PUNCHED] = "packets pass the routers between, which keep the port open",
    };
    name_relay(answer, way, answer->relay);
    view->path = node_paths_class_name(way->class);
    view->relay = answer->relay[0] != '\0' ? answer->relay : NULL;
    view->round_trip_us = way->rtt.ns / 1000;
    view->loss_per_mille = path_loss_per_mille(way);
    view->since_ms_ago = ppn_to_ms(ppn_between(answer->core->since, answer->now));
    view->mtu = path_mtu(answer->core);
    if (way->class <= PATH_PUNCHED)
        (void)snprintf(answer->reason, sizeof(answer->reason), "%s", reasons[way->class]);
    else if (way->class == PATH_RELAY)
        (void)snprintf(answer->reason, sizeof(answer->reason),
                       "the routers between let no packet through that is not expected: %s passes "
                       "on what it cannot read",
                       answer->relay[0] != '\0' ? answer->relay : "a relay");
    else
        over_tcp(answer, way);
    view->reason = answer->reason;
}

static const char *path_reason(const struct node *node, const struct wg_peer_status *status)
{
    if (node_mesh_backend(node->mesh) == WG_BACKEND_PLAIN)
        return "the mesh runs without encryption (--mesh plain)";
    switch (status->state) {
    case WG_PEER_CONNECTED:
        return "packets go straight to the node's endpoint";
    case WG_PEER_IDLE:
        return "nothing was sent lately";
    case WG_PEER_CONNECTING:
        return "no handshake on any endpoint tried so far";
    case WG_PEER_NO_CANDIDATE:
        return "this node knows no endpoint of it: it must call us";
    }
    return "";
}

static bool knows_relay(const struct answer *answer)
{
    for (size_t i = 0; answer->core != NULL && i < answer->core->way_count; i++) {
        if (through_relay(&answer->core->ways[i]))
            return true;
    }
    return false;
}

/* What a person can do for a better way, or for any. */
static void advise(struct answer *answer, const struct wg_peer_status *status)
{
    const struct node *node = answer->node;
    const struct path_way *way = answer->core != NULL ? path_current(answer->core) : NULL;
    unsigned port = node->options.listen.port;
    bool proven = way != NULL && way->proven;
    char *text = answer->advice;
    bool stuck = answer->core != NULL || status->state == WG_PEER_CONNECTING ||
                 status->state == WG_PEER_NO_CANDIDATE;
    if (proven && path_way_mtu(way) == 1)
        (void)snprintf(text, SENTENCE_MAX,
                       "large packets get lost: raise the MTU of the line to %d, or let another "
                       "way work",
                       PATH_MTU_MIN + PATH_MTU_HEADER + 48);
    else if (proven && way->class >= PATH_TCP && node_mesh_udp_blocked(node->mesh))
        (void)snprintf(text, SENTENCE_MAX,
                       "let UDP out of this network to the relays: ports %u and those of their "
                       "relay-ports, %u and above",
                       PPN_PORT_PUBLIC, PPN_PORT_RELAY);
    else if (proven && way->class >= PATH_RELAY)
        (void)snprintf(text, SENTENCE_MAX,
                       "for a straight way: open UDP %u towards %s or %s, and start that one with "
                       "--advertise",
                       port, node->name, answer->member->name);
    else if (!proven && stuck && knows_relay(answer))
        (void)snprintf(text, SENTENCE_MAX,
                       "see that %s is on and that a relay's UDP ports are open; or open UDP %u "
                       "towards one of the two, and start it with --advertise",
                       answer->member->name, port);
    else if (!proven && stuck)
        (void)snprintf(text, SENTENCE_MAX,
                       "open UDP %u towards one of the two nodes, and start it with --advertise; "
                       "or admit a machine with a public address as relay",
                       port);
    if (text[0] != '\0')
        answer->view.advice = text;
}

static void describe_member(struct answer *answer)
{
    const struct node *node = answer->node;
    const struct node_member *member = answer->member;
    struct api_path_view *view = &answer->view;
    struct wg_peer_status status = {0};
    struct gossip_member seen;
    if (node_mesh_status(node->mesh, &member->id, &status) == PPN_OK) {
        view->received_bytes = status.rx_bytes;
        view->sent_bytes = status.tx_bytes;
        if (status.has_handshake)
            view->handshake_ms_ago = ppn_to_ms(status.handshake_age);
        if (status.state == WG_PEER_CONNECTED || status.state == WG_PEER_IDLE)
            view->path = "direct";
        if (status.has_endpoint) {
            os_endpoint_text(&status.endpoint, answer->endpoint);
            view->endpoint = answer->endpoint;
        }
        view->reason = path_reason(node, &status);
    }
    if (node_mesh_backend(node->mesh) == WG_BACKEND_PLAIN) {
        view->path = "plain";
        return;
    }
    const struct path_way *way = node_mesh_way(node->mesh, &member->id);
    if (way != NULL)
        describe_used(answer, way);
    else if (node_gossip_member(node, &member->id, &seen) == PPN_OK && seen.rtt_us > 0)
        view->round_trip_us = seen.rtt_us;
    if (answer->core != NULL) {
        fill_ways(answer);
        if (way == NULL) {
            view->path = "none";
            view->reason = "nothing answers on any way that is known";
        }
    }
    advise(answer, &status);
}

void node_serve_path(void *context, struct api_request *request, const struct api_who *who)
{
    struct node *node = context;
    struct node_member member;
    if (!node_serve_member(node, request, who, &member))
        return;
    struct answer answer = {
        .node = node,
        .member = &member,
        .core = node_mesh_core(node->mesh, &member.id),
        .now = os_now(node->loop),
        .view = {.id = member.id,
                 .node = member.name,
                 .path = "none",
                 .handshake_ms_ago = -1,
                 .round_trip_us = -1,
                 .loss_per_mille = -1,
                 .since_ms_ago = -1},
    };
    if (ppn_node_id_equal(&member.id, &node->identity.id)) {
        answer.view.path = "self";
        answer.view.reason = "this is the node itself";
    } else {
        describe_member(&answer);
    }
    api_reply_path(request, &answer.view);
}
