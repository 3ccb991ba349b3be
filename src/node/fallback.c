// SPDX-License-Identifier: ISC
#include "node/fallback.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "bridge/fallback.h"
#include "node/bridge.h"
#include "node/mesh.h"
#include "node/node.h"
#include "os/os_address.h"

/* WireGuard's endpoints still lead to a bridge for the moment that the better way takes. A relay
 * that does not answer by TCP either gives way to another, if there is one. */
enum { LINGER_S = 20, GIVE_WAY_S = 8 };

struct relay {
    struct ppn_node_id id;
    bool said; /* its profile is known: address and ports are its own words */
    struct ppn_endpoint hint, public[2]; /* IPv4, IPv6; port 0: none */
    uint16_t port, tcp_port;             /* 0: none */
    struct node_bridge *bridge;
    struct node_bridge_target target; /* of that */
    struct ppn_instant alive_at;      /* when it was last up, or began */
    bool gave_way;                    /* others go first */
};

struct node_fallback {
    struct node *node;
    struct node_fallback_config config;
    struct fallback core;
    struct os_timer timer, linger;
    uint32_t count;
    struct relay relays[NODE_FALLBACK_RELAYS_MAX];
};

static struct relay *find(struct node_fallback *fallback, const struct ppn_node_id *id)
{
    for (uint32_t i = 0; i < fallback->count; i++) {
        if (ppn_node_id_equal(&fallback->relays[i].id, id))
            return &fallback->relays[i];
    }
    return NULL;
}

bool node_fallback_local(const struct ppn_endpoint *endpoint)
{
    return os_endpoint_is_ipv4(endpoint) && endpoint->address[12] == 127;
}

/* IPv4 where we have it; port 0: nowhere. */
static const struct ppn_endpoint *place_of(const struct node_fallback *fallback,
                                           const struct relay *relay)
{
    bool ipv6 = !node_mesh_has_ipv4(fallback->node->mesh);
    if (!relay->said)
        return &relay->hint;
    return &relay->public[relay->public[ipv6].port != 0 ? ipv6 : !ipv6];
}

/* Where its bridge should be; false: nowhere. */
static bool target_of(const struct node_fallback *fallback, const struct relay *relay,
                      struct node_bridge_target *target)
{
    const struct ppn_endpoint *place = place_of(fallback, relay);
    target->to = *place;
    target->to.port = relay->said ? relay->tcp_port : PPN_PORT_RELAY_TCP;
    target->relay_port = relay->said ? relay->port : PPN_PORT_RELAY;
    return place->port != 0 && target->to.port != 0 && target->relay_port != 0;
}

/* ---- bridges ---- */

static void on_bridge(void *context)
{
    struct node_fallback *fallback = context;
    fallback->config.changed(fallback->config.context, false);
}

static void drop(struct relay *relay)
{
    node_bridge_close(relay->bridge);
    relay->bridge = NULL;
}

static bool same_target(const struct node_bridge_target *a, const struct node_bridge_target *b)
{
    return os_endpoint_equal(&a->to, &b->to) && a->relay_port == b->relay_port;
}

static void connect_one(struct node_fallback *fallback, struct relay *relay,
                        const struct node_bridge_target *target)
{
    relay->target = *target;
    relay->alive_at = os_now(fallback->node->loop);
    relay->gave_way = false;
    relay->bridge = node_bridge_connect(fallback->node, target, on_bridge, fallback);
}

/* One for each of the first relays that offer it; one that is there stays. */
static void connect_all(struct node_fallback *fallback)
{
    bool taken[NODE_FALLBACK_BRIDGES_MAX] = {false};
    struct node_bridge_target target = {.index = 0};
    for (uint32_t i = 0; i < fallback->count; i++) {
        struct relay *relay = &fallback->relays[i];
        if (relay->bridge == NULL)
            continue;
        if (!target_of(fallback, relay, &target) || !same_target(&relay->target, &target))
            drop(relay);
        else
            taken[relay->target.index] = true;
    }
    for (uint32_t i = 0; i < 2 * fallback->count; i++) {
        struct relay *relay = &fallback->relays[i % fallback->count];
        bool turn = relay->gave_way == (i >= fallback->count);
        target.index = 0;
        while (target.index < NODE_FALLBACK_BRIDGES_MAX && taken[target.index])
            target.index++;
        if (!turn || relay->bridge != NULL || target.index == NODE_FALLBACK_BRIDGES_MAX ||
            !target_of(fallback, relay, &target))
            continue;
        taken[target.index] = true;
        connect_one(fallback, relay, &target);
    }
}

static void give_way(struct node_fallback *fallback)
{
    struct ppn_instant now = os_now(fallback->node->loop);
    struct node_bridge_target target;
    uint32_t others = 0;
    for (uint32_t i = 0; i < fallback->count; i++)
        others += fallback->relays[i].bridge == NULL &&
                  target_of(fallback, &fallback->relays[i], &target);
    for (uint32_t i = 0; i < fallback->count; i++) {
        struct relay *relay = &fallback->relays[i];
        if (node_bridge_up(relay->bridge))
            relay->alive_at = now;
        if (others == 0 || relay->bridge == NULL ||
            !ppn_due(ppn_after(relay->alive_at, ppn_seconds(GIVE_WAY_S)), now))
            continue;
        drop(relay);
        relay->gave_way = true;
        others--;
    }
    connect_all(fallback);
}

static void on_linger(void *context)
{
    struct node_fallback *fallback = context;
    for (uint32_t i = 0; i < fallback->count; i++)
        drop(&fallback->relays[i]);
}

/* ---- the core ---- */

static void step(struct node_fallback *fallback, enum fallback_event event)
{
    struct fallback_update update;
    fallback_step(&fallback->core, os_now(fallback->node->loop), event, &update);
    os_timer_at(&fallback->timer, fallback_deadline(&fallback->core));
    for (uint32_t i = 0; update.ask && i < fallback->count; i++) {
        const struct relay *relay = &fallback->relays[i];
        struct ppn_endpoint to = *place_of(fallback, relay);
        if (to.port == 0 || (relay->said && relay->port == 0))
            continue;
        if (relay->said)
            to.port = relay->port;
        fallback->config.ask(fallback->config.context, &relay->id, &to, relay->said);
    }
    if (update.ask && fallback->core.on && !update.changed)
        give_way(fallback);
    if (!update.changed)
        return;
    ppn_log(PPN_LOG_INFO, "udp", "state=%s", fallback->core.on ? "blocked" : "works");
    if (fallback->core.on) {
        os_timer_stop(&fallback->linger);
        connect_all(fallback);
    } else {
        os_timer_after(&fallback->linger, ppn_seconds(LINGER_S));
    }
    fallback->config.changed(fallback->config.context, !fallback->core.on);
}

static void on_timer(void *context)
{
    step(context, FALLBACK_TICK);
}

/* Something about the relays changed. */
static void refresh(struct node_fallback *fallback)
{
    bool any = false;
    for (uint32_t i = 0; i < fallback->count; i++) {
        struct node_bridge_target target;
        any = any || target_of(fallback, &fallback->relays[i], &target);
    }
    if (fallback->core.on)
        connect_all(fallback);
    if (any != fallback->core.relays)
        step(fallback, any ? FALLBACK_RELAYS : FALLBACK_NO_RELAYS);
}

/* ---- for paths.c ---- */

void node_fallback_members(struct node_fallback *fallback)
{
    struct relay kept[NODE_FALLBACK_RELAYS_MAX];
    struct node_member row;
    uint32_t cursor = 0, count = 0;
    if (fallback == NULL)
        return;
    memset(kept, 0, sizeof(kept));
    while (count < NODE_FALLBACK_RELAYS_MAX && node_member_next(fallback->node, &cursor, &row)) {
        struct relay *known = find(fallback, &row.id);
        if (!row.relay || ppn_node_id_equal(&row.id, &fallback->node->identity.id))
            continue;
        kept[count].id = row.id;
        if (known != NULL) {
            kept[count] = *known;
            known->bridge = NULL;
        }
        count++;
    }
    for (uint32_t i = 0; i < fallback->count; i++)
        drop(&fallback->relays[i]);
    memcpy(fallback->relays, kept, sizeof(kept));
    fallback->count = count;
    refresh(fallback);
}

void node_fallback_profile(struct node_fallback *fallback, const struct ppn_node_id *id,
                           const struct ppn_profile *profile)
{
    struct relay *relay = fallback != NULL ? find(fallback, id) : NULL;
    if (relay == NULL)
        return;
    relay->said = true;
    relay->public[0].port = relay->public[1].port = 0;
    for (uint32_t i = 0; i < profile->candidate_count; i++) {
        const struct ppn_candidate *candidate = &profile->candidates[i];
        struct ppn_endpoint *place = &relay->public[!os_endpoint_is_ipv4(&candidate->endpoint)];
        if (candidate->kind == PPN_ENDPOINT_PUBLIC && place->port == 0)
            *place = candidate->endpoint;
    }
    relay->port = profile->relay_port;
    relay->tcp_port = profile->relay_tcp_port;
    refresh(fallback);
}

void node_fallback_hint(struct node_fallback *fallback, const struct ppn_node_id *id,
                        const struct ppn_endpoint *endpoint)
{
    struct relay *relay = fallback != NULL ? find(fallback, id) : NULL;
    if (relay == NULL || node_fallback_local(endpoint))
        return;
    relay->hint = *endpoint;
    refresh(fallback);
}

static bool at_a_relay(const struct node_fallback *fallback, const struct ppn_endpoint *place)
{
    for (uint32_t i = 0; i < fallback->count; i++) {
        const struct relay *relay = &fallback->relays[i];
        const struct ppn_endpoint *at[] = {&relay->hint, &relay->public[0], &relay -> public[1]};
        for (int k = relay->said ? 1 : 0; k < (relay->said ? 3 : 1); k++) {
            if (at[k]->port != 0 && memcmp(at[k]->address, place->address, 16) == 0)
                return true;
        }
    }
    return false;
}

void node_fallback_asked(struct node_fallback *fallback, const struct ppn_endpoint *to)
{
    if (fallback != NULL && at_a_relay(fallback, to))
        step(fallback, FALLBACK_ASKED);
}

void node_fallback_answered(struct node_fallback *fallback, const struct ppn_endpoint *from)
{
    if (fallback != NULL && at_a_relay(fallback, from))
        step(fallback, FALLBACK_ANSWERED);
}

void node_fallback_void(struct node_fallback *fallback)
{
    if (fallback == NULL)
        return;
    step(fallback, FALLBACK_VOID);
    if (!fallback->core.on)
        return;
    /* What was connected from another address, or slept, is most likely dead and does not know. */
    for (uint32_t i = 0; i < fallback->count; i++)
        drop(&fallback->relays[i]);
    connect_all(fallback);
}

bool node_fallback_on(const struct node_fallback *fallback)
{
    return fallback != NULL && fallback->core.on;
}

uint32_t node_fallback_ways(const struct node_fallback *fallback,
                            struct node_fallback_way ways[static NODE_FALLBACK_BRIDGES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; node_fallback_on(fallback) && i < fallback->count; i++) {
        const struct relay *relay = &fallback->relays[i];
        if (!node_bridge_up(relay->bridge))
            continue;
        PPN_ASSERT(count < NODE_FALLBACK_BRIDGES_MAX);
        ways[count].relay = relay->id;
        ways[count].port = node_bridge_local(relay->bridge, false);
        ways[count].wireguard = node_bridge_local(relay->bridge, true);
        ways[count++].over = relay->target.to;
    }
    return count;
}

const char *node_fallback_problem(const struct node_fallback *fallback)
{
    for (uint32_t i = 0; node_fallback_on(fallback) && i < fallback->count; i++) {
        if (fallback->relays[i].bridge != NULL && !node_bridge_up(fallback->relays[i].bridge))
            return node_bridge_report(fallback->relays[i].bridge)->text;
    }
    return "";
}

struct node_fallback *node_fallback_open(struct node *node,
                                         const struct node_fallback_config *config)
{
    struct node_fallback *fallback = calloc(1, sizeof(*fallback));
    if (fallback == NULL)
        return NULL;
    fallback->node = node;
    fallback->config = *config;
    fallback_init(&fallback->core, os_now(node->loop));
    os_timer_init(&fallback->timer, node->loop, on_timer, fallback);
    os_timer_init(&fallback->linger, node->loop, on_linger, fallback);
    return fallback;
}

void node_fallback_close(struct node_fallback *fallback)
{
    if (fallback == NULL)
        return;
    os_timer_stop(&fallback->timer);
    os_timer_stop(&fallback->linger);
    on_linger(fallback);
    free(fallback);
}
