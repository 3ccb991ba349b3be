// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/fallback.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/paths_internal.h"
#include "os/os_address.h"
#include "os/os_random.h"

struct member_path *node_paths_find(const struct node_paths *paths, const struct ppn_node_id *id)
{
    for (uint32_t i = 0; paths != NULL && i < paths->count; i++) {
        if (ppn_node_id_equal(&paths->members[i]->id, id))
            return paths->members[i];
    }
    return NULL;
}

bool node_paths_public_at(const struct member_path *member, const struct ppn_endpoint *endpoint)
{
    for (uint32_t i = 0; i < member->profile.candidate_count; i++) {
        const struct ppn_candidate *candidate = &member->profile.candidates[i];
        if (candidate->kind == PPN_ENDPOINT_PUBLIC &&
            memcmp(candidate->endpoint.address, endpoint->address, 16) == 0)
            return true;
    }
    return false;
}

const struct member_path *node_paths_relay_at(const struct node_paths *paths,
                                              const struct ppn_endpoint *to)
{
    struct node_fallback_way over[NODE_FALLBACK_BRIDGES_MAX];
    uint32_t count = node_fallback_local(to) ? node_fallback_ways(paths->fallback, over) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(over[i].port.address, to->address, sizeof(to->address)) == 0)
            return node_paths_find(paths, &over[i].relay);
    }
    for (uint32_t i = 0; i < paths->count; i++) {
        if (paths->members[i]->profile.relay_port != 0 &&
            node_paths_public_at(paths->members[i], to))
            return paths->members[i];
    }
    return NULL;
}

/* ---- what they offer ---- */

/* One way to each relay: its binds name us at one address only. IPv4 where we have it. */
static bool relay_endpoint(const struct node_paths *paths, const struct member_path *relay,
                           struct ppn_endpoint *endpoint)
{
    bool found = false, wanted_ipv4 = node_mesh_has_ipv4(paths->node->mesh);
    for (uint32_t i = 0; i < relay->profile.candidate_count; i++) {
        const struct ppn_candidate *candidate = &relay->profile.candidates[i];
        bool fits = os_endpoint_is_ipv4(&candidate->endpoint) == wanted_ipv4;
        if (candidate->kind != PPN_ENDPOINT_PUBLIC || (found && !fits))
            continue;
        *endpoint = candidate->endpoint;
        endpoint->port = relay->profile.relay_port;
        found = true;
        if (fits)
            break;
    }
    return found;
}

/* Relays over TCP, to the node of one straight: a node that is reached so may not even have said
 * yet what else there is. */
static void add_bridges(const struct node_paths *paths, const struct member_path *member,
                        struct path_candidate *list, size_t *count)
{
    struct node_fallback_way over[NODE_FALLBACK_BRIDGES_MAX];
    uint32_t bridges = node_fallback_ways(paths->fallback, over);
    for (uint32_t i = 0; i < bridges; i++) {
        bool direct = ppn_node_id_equal(&over[i].relay, &member->id);
        list[(*count)++] = direct ? (struct path_candidate){PATH_TCP, over[i].wireguard}
                                  : (struct path_candidate){PATH_RELAY_TCP, over[i].port};
    }
}

static void offer(struct node_paths *paths, struct member_path *member)
{
    struct path_candidate list[PATH_WAYS_MAX];
    struct path_event event = {.kind = PATH_CANDIDATES, .candidates.list = list};
    uint32_t relays = 0;
    for (uint32_t i = 0; i < member->profile.candidate_count; i++) {
        const struct ppn_candidate *candidate = &member->profile.candidates[i];
        if (node_fallback_local(&candidate->endpoint))
            continue;
        bool on_link = node_mesh_on_link(paths->node->mesh, candidate->endpoint.address);
        list[event.candidates.count++] = path_candidate_of(candidate, on_link);
    }
    for (uint32_t i = 0; member->has_profile && i < paths->count && relays < PATH_RELAYS_MAX; i++) {
        const struct member_path *relay = paths->members[i];
        struct ppn_endpoint endpoint;
        if (relay == member || relay->profile.relay_port == 0 ||
            !relay_endpoint(paths, relay, &endpoint))
            continue;
        list[event.candidates.count++] = (struct path_candidate){PATH_RELAY, endpoint};
        relays++;
    }
    add_bridges(paths, member, list, &event.candidates.count);
    node_paths_step(paths, member, &event);
}

static void offer_all(struct node_paths *paths)
{
    for (uint32_t i = 0; i < paths->count; i++) {
        if (paths->members[i]->has_profile)
            offer(paths, paths->members[i]);
    }
    node_paths_arm(paths);
}

/* ---- who ---- */

static struct member_path *add(struct node_paths *paths, const struct ppn_node_id *id)
{
    struct node *node = paths->node;
    struct member_path *member = calloc(1, sizeof(*member));
    if (member == NULL || wire_path_key(&node->network, node->identity.secret_key,
                                        &node->identity.id, id, &member->key) != PPN_OK) {
        free(member);
        return NULL;
    }
    wire_path_relay_key(&member->key, &member->relay_key);
    member->id = *id;
    member->tag = wire_path_tag(&node->network, id);
    member->unproven = member->deadline = PPN_NEVER;
    path_init(&member->core, os_now(node->loop), os_random_u64());
    return member;
}

/* Those that may relay, or the others, as far as there is room. False: there was not. */
static bool take(struct node_paths *paths, bool relays, struct member_path **kept, uint32_t *count)
{
    struct node_member row;
    uint32_t cursor = 0;
    while (node_member_next(paths->node, &cursor, &row)) {
        if (row.relay != relays || ppn_node_id_equal(&row.id, &paths->node->identity.id))
            continue;
        if (*count == NODE_PATHS_MAX)
            return false;
        struct member_path *member = node_paths_find(paths, &row.id);
        kept[*count] = member != NULL ? member : add(paths, &row.id);
        *count += kept[*count] != NULL;
    }
    return true;
}

/* Relays first: all others may need them. */
void node_paths_members(struct node_paths *paths)
{
    struct member_path *kept[NODE_PATHS_MAX];
    uint32_t count = 0;
    if (paths == NULL)
        return;
    bool all = take(paths, true, kept, &count) && take(paths, false, kept, &count);
    if (!all && !paths->crowded)
        ppn_log(PPN_LOG_WARN, "paths-full",
                "text=\"ways to %d members are looked for; WireGuard tries the addresses of the "
                "others in turn\"",
                NODE_PATHS_MAX);
    paths->crowded = !all;
    for (uint32_t i = 0; i < paths->count; i++) {
        bool stays = false;
        for (uint32_t k = 0; k < count; k++)
            stays = stays || kept[k] == paths->members[i];
        if (!stays)
            free(paths->members[i]);
    }
    memcpy(paths->members, kept, count * sizeof(kept[0]));
    paths->count = count;
    node_fallback_members(paths->fallback);
    offer_all(paths);
}

/* A relay's profile concerns the ways to all others, anybody else's only those to itself. */
void node_paths_profile(struct node_paths *paths, const struct ppn_node_id *id,
                        const struct ppn_profile *profile)
{
    struct member_path *member = node_paths_find(paths, id);
    if (member == NULL)
        return;
    node_fallback_profile(paths->fallback, id, profile);
    bool relays = member->profile.relay_port != 0 || profile->relay_port != 0;
    member->profile = *profile;
    member->has_profile = true;
    member->is_public = false;
    for (uint32_t i = 0; i < profile->candidate_count; i++)
        member->is_public |= profile->candidates[i].kind == PPN_ENDPOINT_PUBLIC;
    if (relays) {
        offer_all(paths);
        return;
    }
    offer(paths, member);
    node_paths_arm(paths);
}

void node_paths_observed(struct node_paths *paths, const struct ppn_node_id *id,
                         const struct wg_observed *seen)
{
    struct path_event event = {.kind = PATH_WIREGUARD,
                               .wireguard.has_endpoint = seen->has_endpoint,
                               .wireguard.endpoint = seen->endpoint,
                               .wireguard.tx_bytes = seen->tx_bytes,
                               .wireguard.rx_bytes = seen->rx_bytes};
    struct member_path *member = node_paths_find(paths, id);
    if (member == NULL)
        return;
    node_paths_step(paths, member, &event);
    node_paths_arm(paths);
}

void node_paths_void(struct node_paths *paths)
{
    struct path_event event = {.kind = PATH_VOID};
    if (paths == NULL)
        return;
    paths->seen_by_node = paths->seen_by_relay = (struct ppn_endpoint){{0}, 0};
    for (uint32_t i = 0; i < paths->count; i++)
        node_paths_step(paths, paths->members[i], &event);
    node_fallback_void(paths->fallback);
    offer_all(paths);
}

/* UDP that works again is asked for everywhere at once. */
void node_paths_fallback(struct node_paths *paths, bool over)
{
    struct path_event event = {.kind = PATH_CALLED};
    for (uint32_t i = 0; i < paths->count; i++) {
        offer(paths, paths->members[i]);
        if (over)
            node_paths_step(paths, paths->members[i], &event);
    }
    node_paths_arm(paths);
}

void node_paths_hint(struct node_paths *paths, const struct ppn_node_id *id,
                     const struct ppn_endpoint *endpoint)
{
    if (paths != NULL)
        node_fallback_hint(paths->fallback, id, endpoint);
}

bool node_paths_over(const struct node_paths *paths, const struct ppn_endpoint *endpoint,
                     struct ppn_endpoint *over)
{
    struct node_fallback_way ways[NODE_FALLBACK_BRIDGES_MAX];
    uint32_t count = paths != NULL ? node_fallback_ways(paths->fallback, ways) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(ways[i].port.address, endpoint->address, sizeof(endpoint->address)) != 0)
            continue;
        *over = ways[i].over;
        return true;
    }
    return false;
}

bool node_paths_blocked(const struct node_paths *paths)
{
    return paths != NULL && node_fallback_on(paths->fallback);
}

const struct path *node_paths_core(const struct node_paths *paths, const struct ppn_node_id *id)
{
    const struct member_path *member = node_paths_find(paths, id);
    return member != NULL && member->has_profile ? &member->core : NULL;
}

bool node_paths_whose_relay(const struct node_paths *paths, const struct ppn_endpoint *endpoint,
                            struct ppn_node_id *id)
{
    const struct member_path *relay = paths != NULL ? node_paths_relay_at(paths, endpoint) : NULL;
    if (relay != NULL)
        *id = relay->id;
    return relay != NULL;
}
