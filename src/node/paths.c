// SPDX-License-Identifier: ISC
#include "node/paths.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/gossip.h"
#include "node/mesh.h"
#include "node/node.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "os/os_raw_udp.h"
#include "wire/path.h"

/* Proofs lost for a moment (an address came, the machine slept) are sought anew before WireGuard is
 * left to try endpoints in turn: the way in use may still be the best. */
enum { GIVE_UP_S = 10 };

struct member_path {
    struct ppn_node_id id;
    uint64_t tag;
    struct wire_path_key key, relay_key;
    uint64_t heard_counter; /* highest of its questions */
    bool has_profile, is_public, probed, told;
    struct ppn_profile profile;
    struct ppn_endpoint chosen;  /* as the mesh was told */
    struct ppn_instant unproven; /* since when nothing is proven; PPN_NEVER */
    struct path core;
};

struct node_paths {
    struct node *node;
    struct os_raw_udp *raw;
    struct os_timer timer;
    uint64_t tag, counter;
    struct ppn_endpoint seen_by_node, seen_by_relay; /* where our packets come from; port 0 */
    bool announced;
    uint32_t count;
    struct member_path *members[NODE_PATHS_MAX];
    struct path_updates updates;
};

static void step(struct node_paths *paths, struct member_path *member,
                 const struct path_event *event);

static struct member_path *find(const struct node_paths *paths, const struct ppn_node_id *id)
{
    for (uint32_t i = 0; i < paths->count; i++) {
        if (ppn_node_id_equal(&paths->members[i]->id, id))
            return paths->members[i];
    }
    return NULL;
}

static struct member_path *by_tag(const struct node_paths *paths, uint64_t tag)
{
    for (uint32_t i = 0; i < paths->count; i++) {
        if (paths->members[i]->tag == tag)
            return paths->members[i];
    }
    return NULL;
}

static bool same(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static bool is_public(const struct member_path *member)
{
    for (uint32_t i = 0; i < member->profile.candidate_count; i++) {
        if (member->profile.candidates[i].kind == PPN_ENDPOINT_PUBLIC)
            return true;
    }
    return false;
}

static bool public_at(const struct member_path *member, const uint8_t address[static 16])
{
    for (uint32_t i = 0; i < member->profile.candidate_count; i++) {
        const struct ppn_candidate *candidate = &member->profile.candidates[i];
        if (candidate->kind == PPN_ENDPOINT_PUBLIC &&
            memcmp(candidate->endpoint.address, address, 16) == 0)
            return true;
    }
    return false;
}

/* Whose relay listens at `to`; its key, not the peer's, opens and closes those packets. */
static const struct member_path *relay_at(const struct node_paths *paths,
                                          const struct ppn_endpoint *to)
{
    for (uint32_t i = 0; i < paths->count; i++) {
        if (paths->members[i]->profile.relay_port != 0 && public_at(paths->members[i], to->address))
            return paths->members[i];
    }
    return NULL;
}

/* ---- out ---- */

static void send_packet(struct node_paths *paths, const struct member_path *to,
                        const struct wire_path_key *key, struct wire_path_packet *packet,
                        const struct ppn_endpoint *endpoint)
{
    uint8_t bytes[WIRE_PATH_SIZE_MIN];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    uint64_t clock = wire_path_counter(os_clock_wall());
    paths->counter = paths->counter < clock ? clock : paths->counter + 1;
    packet->sender = paths->tag;
    packet->recipient = to->tag;
    packet->counter = paths->counter;
    packet->size = WIRE_PATH_SIZE_MIN;
    enum ppn_error error = wire_path_encode(packet, key, &writer);
    PPN_ASSERT(error == PPN_OK);
    error = os_raw_udp_send(paths->raw, endpoint, ppn_written(&writer));
    if (error != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "path-unsent", "cause=\"%s\"", ppn_error_text(error));
}

static void ask(struct node_paths *paths, const struct member_path *member,
                const struct path_update *update)
{
    struct wire_path_packet packet = {.nonce = update->nonce};
    if (update->kind == PATH_SEND_PING) {
        packet.kind = WIRE_PATH_PING;
        send_packet(paths, member, &member->key, &packet, &update->to);
        return;
    }
    const struct member_path *relay = relay_at(paths, &update->to);
    if (relay == NULL)
        return;
    packet.kind = update->kind == PATH_SEND_BIND ? WIRE_PATH_BIND : WIRE_PATH_MAILBOX;
    if (update->kind == PATH_SEND_BIND)
        packet.bind.node = member->tag;
    else
        packet.mailbox.node = member->tag;
    send_packet(paths, relay, &relay->relay_key, &packet, &update->to);
}

const char *node_paths_class_name(enum path_class class)
{
    static const char *const names[] = {"lan", "public", "punched", "relayed"};
    return names[class];
}

/* Tells the mesh of the proven way in use, or that there is none any more. */
static void tell(struct node_paths *paths, struct member_path *member)
{
    const struct path_way *way = path_current(&member->core);
    bool proven = way != NULL && way->proven && way->endpoint.port != 0;
    struct ppn_endpoint none = {{0}, 0};
    struct ppn_instant now = os_now(paths->node->loop);
    member->unproven = proven ? PPN_NEVER : ppn_earlier(member->unproven, now);
    if (!proven && !ppn_due(ppn_after(member->unproven, ppn_seconds(GIVE_UP_S)), now))
        return;
    const struct ppn_endpoint *endpoint = proven ? &way->endpoint : &none;
    if (member->told ? same(&member->chosen, endpoint) : !proven)
        return;
    member->told = true;
    member->chosen = *endpoint;
    char text[OS_ENDPOINT_TEXT] = "none", scratch[PPN_FINGERPRINT_TEXT];
    if (proven)
        os_endpoint_text(endpoint, text);
    ppn_log(PPN_LOG_INFO, "path", "node=%s way=%s endpoint=%s",
            node_member_name(paths->node, &member->id, scratch),
            proven ? node_paths_class_name(way->class) : "none", text);
    node_mesh_path(paths->node->mesh, &member->id, endpoint);
}

static void arm(struct node_paths *paths)
{
    struct ppn_instant at = PPN_NEVER;
    for (uint32_t i = 0; i < paths->count; i++) {
        if (paths->members[i]->probed)
            at = ppn_earlier(at, path_deadline(&paths->members[i]->core));
    }
    os_timer_at(&paths->timer, at);
}

static void step(struct node_paths *paths, struct member_path *member,
                 const struct path_event *event)
{
    if (!member->probed)
        return;
    enum ppn_error error =
        path_step(&member->core, os_now(paths->node->loop), event, &paths->updates);
    if (error != PPN_OK) {
        ppn_log(PPN_LOG_WARN, "path-step", "cause=\"%s\"", ppn_error_text(error));
        return;
    }
    for (size_t i = 0; i < paths->updates.count; i++) {
        const struct path_update *update = &paths->updates.list[i];
        if (update->kind == PATH_SEND_PING || update->kind == PATH_SEND_MAILBOX ||
            update->kind == PATH_SEND_BIND)
            ask(paths, member, update);
    }
    tell(paths, member);
}

static void on_timer(void *context)
{
    struct node_paths *paths = context;
    struct path_event event = {.kind = PATH_TICK};
    struct ppn_instant now = os_now(paths->node->loop);
    for (uint32_t i = 0; i < paths->count; i++) {
        if (ppn_due(path_deadline(&paths->members[i]->core), now))
            step(paths, paths->members[i], &event);
    }
    arm(paths);
}

/* ---- in ---- */

/* A router that shows the same port at two places shows it at every one, so that others may try it
 * (RFC 4787: endpoint-independent mapping); one that does not cannot be met that way. */
static void seen_at(struct node_paths *paths, struct ppn_endpoint *by,
                    const struct ppn_endpoint *observed)
{
    *by = *observed;
    struct ppn_endpoint endpoint;
    bool was = paths->announced;
    paths->announced = node_paths_seen(paths, &endpoint);
    if (paths->announced != was)
        node_self_touch(paths->node);
}

/* Answers go to whoever asked with that nonce: a relay's may concern any member. */
static void answered(struct node_paths *paths, struct member_path *from,
                     const struct wire_path_packet *packet, const struct ppn_endpoint *where)
{
    struct path_event event = {.from = *where, .nonce = packet->nonce};
    switch (packet->kind) {
    case WIRE_PATH_PONG:
        event.kind = PATH_PONG;
        if (from->is_public)
            seen_at(paths, &paths->seen_by_node, &packet->pong.observed);
        step(paths, from, &event);
        return;
    case WIRE_PATH_MAILBOX_IS:
        event.kind = PATH_MAILBOX_IS;
        event.port = packet->mailbox_is.port;
        break;
    case WIRE_PATH_BOUND:
        event.kind = PATH_BOUND;
        seen_at(paths, &paths->seen_by_relay, &packet->bound.observed);
        break;
    case WIRE_PATH_STALE:
        if (packet->stale.counter > paths->counter)
            paths->counter = packet->stale.counter;
        return;
    case WIRE_PATH_PING:
    case WIRE_PATH_BIND:
    case WIRE_PATH_MAILBOX:
        return;
    }
    for (uint32_t i = 0; i < paths->count; i++)
        step(paths, paths->members[i], &event);
}

static void pinged(struct node_paths *paths, struct member_path *from,
                   const struct wire_path_packet *packet, const struct ppn_endpoint *where)
{
    struct wire_path_packet answer = {.nonce = packet->nonce};
    struct path_event event = {.kind = PATH_HEARD, .from = *where};
    if (packet->counter <= from->heard_counter) {
        answer.kind = WIRE_PATH_STALE;
        answer.stale.counter = from->heard_counter;
        send_packet(paths, from, &from->key, &answer, where);
        return;
    }
    from->heard_counter = packet->counter;
    answer.kind = WIRE_PATH_PONG;
    answer.pong.observed = *where;
    answer.pong.size = packet->size;
    send_packet(paths, from, &from->key, &answer, where);
    step(paths, from, &event);
}

static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct node_paths *paths = context;
    struct wire_path_packet packet;
    uint64_t sender, recipient;
    if (!wire_path_peek(datagram, &sender, &recipient) || recipient != paths->tag)
        return;
    struct member_path *member = by_tag(paths, sender);
    if (member == NULL)
        return;
    enum ppn_error error = wire_path_decode(datagram, &member->key, &packet);
    bool relayed = error == PPN_ERROR_SIGNATURE;
    if (relayed)
        error = wire_path_decode(datagram, &member->relay_key, &packet);
    if (error != PPN_OK)
        return;
    if (packet.kind == WIRE_PATH_PING && !relayed)
        pinged(paths, member, &packet, from);
    else if (!wire_path_is_question(packet.kind) && (packet.kind == WIRE_PATH_PONG) != relayed)
        answered(paths, member, &packet, from);
    arm(paths);
}

/* ---- who, and what they offer ---- */

static void offer(struct node_paths *paths, struct member_path *member)
{
    struct path_candidate list[PATH_WAYS_MAX];
    struct path_event event = {.kind = PATH_CANDIDATES, .candidates.list = list};
    uint32_t relays = 0;
    for (uint32_t i = 0; i < member->profile.candidate_count; i++) {
        const struct ppn_candidate *candidate = &member->profile.candidates[i];
        list[event.candidates.count++] =
            (struct path_candidate){candidate->kind == PPN_ENDPOINT_LAN      ? PATH_LAN
                                    : candidate->kind == PPN_ENDPOINT_PUBLIC ? PATH_PUBLIC
                                                                             : PATH_PUNCHED,
                                    candidate->endpoint};
    }
    for (uint32_t i = 0; i < paths->count && relays < PATH_RELAYS_MAX; i++) {
        const struct member_path *relay = paths->members[i];
        bool relays_here = relay != member && relay->profile.relay_port != 0;
        for (uint32_t k = 0; relays_here && k < relay->profile.candidate_count; k++) {
            struct ppn_endpoint endpoint = relay->profile.candidates[k].endpoint;
            if (relay->profile.candidates[k].kind != PPN_ENDPOINT_PUBLIC ||
                relays == PATH_RELAYS_MAX)
                continue;
            endpoint.port = relay->profile.relay_port;
            list[event.candidates.count++] = (struct path_candidate){PATH_RELAY, endpoint};
            relays++;
        }
    }
    step(paths, member, &event);
}

/* Two public nodes find each other as WireGuard does; nothing is in the way that probing could
 * change. */
static void offer_all(struct node_paths *paths)
{
    bool here = paths->node->options.advertise_count > 0;
    for (uint32_t i = 0; i < paths->count; i++) {
        struct member_path *member = paths->members[i];
        member->probed = member->has_profile && !(here && member->is_public);
        if (member->probed)
            offer(paths, member);
    }
    arm(paths);
}

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
    member->unproven = PPN_NEVER;
    path_init(&member->core, os_now(node->loop), os_random_u64());
    return member;
}

void node_paths_members(struct node_paths *paths)
{
    struct member_path *kept[NODE_PATHS_MAX];
    struct node_member row;
    uint32_t cursor = 0, count = 0;
    if (paths == NULL)
        return;
    while (count < NODE_PATHS_MAX && node_member_next(paths->node, &cursor, &row)) {
        if (ppn_node_id_equal(&row.id, &paths->node->identity.id))
            continue;
        struct member_path *member = find(paths, &row.id);
        kept[count] = member != NULL ? member : add(paths, &row.id);
        count += kept[count] != NULL;
    }
    for (uint32_t i = 0; i < paths->count; i++) {
        bool stays = false;
        for (uint32_t k = 0; k < count; k++)
            stays = stays || kept[k] == paths->members[i];
        if (!stays)
            free(paths->members[i]);
    }
    memcpy(paths->members, kept, count * sizeof(kept[0]));
    paths->count = count;
    offer_all(paths);
}

void node_paths_profile(struct node_paths *paths, const struct ppn_node_id *id,
                        const struct ppn_profile *profile)
{
    struct member_path *member = paths != NULL ? find(paths, id) : NULL;
    if (member == NULL)
        return;
    member->profile = *profile;
    member->has_profile = true;
    member->is_public = is_public(member);
    offer_all(paths);
}

void node_paths_observed(struct node_paths *paths, const struct ppn_node_id *id,
                         const struct wg_observed *seen)
{
    struct path_event event = {.kind = PATH_WIREGUARD,
                               .wireguard.has_endpoint = seen->has_endpoint,
                               .wireguard.endpoint = seen->endpoint,
                               .wireguard.tx_bytes = seen->tx_bytes};
    struct member_path *member = paths != NULL ? find(paths, id) : NULL;
    if (member == NULL)
        return;
    step(paths, member, &event);
    arm(paths);
}

void node_paths_void(struct node_paths *paths)
{
    struct path_event event = {.kind = PATH_VOID};
    if (paths == NULL)
        return;
    paths->seen_by_node = paths->seen_by_relay = (struct ppn_endpoint){{0}, 0};
    for (uint32_t i = 0; i < paths->count; i++)
        step(paths, paths->members[i], &event);
    arm(paths);
}

bool node_paths_seen(const struct node_paths *paths, struct ppn_endpoint *endpoint)
{
    if (paths == NULL || paths->seen_by_node.port == 0 ||
        !same(&paths->seen_by_node, &paths->seen_by_relay))
        return false;
    *endpoint = paths->seen_by_node;
    return true;
}

const struct path_way *node_paths_current(const struct node_paths *paths,
                                          const struct ppn_node_id *id)
{
    const struct member_path *member = paths != NULL ? find(paths, id) : NULL;
    const struct path_way *way =
        member != NULL && member->probed ? path_current(&member->core) : NULL;
    return way != NULL && way->proven ? way : NULL;
}

enum ppn_error node_paths_open(struct node *node, uint16_t port, struct node_paths **out,
                               struct ppn_failure *failure)
{
    struct node_paths *paths = calloc(1, sizeof(*paths));
    if (paths == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct os_raw_udp_config config = {
        .port = port, .first_byte = WIRE_PATH_MAGIC, .on_receive = on_receive, .context = paths};
    paths->node = node;
    paths->tag = wire_path_tag(&node->network, &node->identity.id);
    os_timer_init(&paths->timer, node->loop, on_timer, paths);
    enum ppn_error error = os_raw_udp_open(node->loop, &config, &paths->raw, failure);
    if (error != PPN_OK) {
        free(paths);
        return error;
    }
    *out = paths;
    return PPN_OK;
}

void node_paths_close(struct node_paths *paths)
{
    if (paths == NULL)
        return;
    os_timer_stop(&paths->timer);
    os_raw_udp_close(paths->raw);
    for (uint32_t i = 0; i < paths->count; i++)
        free(paths->members[i]);
    free(paths);
}
