// SPDX-License-Identifier: ISC
#include "node/paths.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/calls.h"
#include "node/fallback.h"
#include "node/gossip.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/paths_internal.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "os/os_raw_udp.h"
#include "wire/path.h"

/* Proofs lost for a moment (an address came, the machine slept) are sought anew before WireGuard is
 * left to try endpoints in turn: the way in use may still be the best. */
enum { GIVE_UP_S = 10, CALLED_MS = 1000, FALLBACK_NONCES = 16 /* of relays, lately */ };

_Static_assert((int)PATH_MTU_MAX == (int)WG_MTU && (int)PATH_MTU_MIN == (int)WG_MTU_MIN,
               "ways are searched for what the interface may send");

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

/* ---- out ---- */

static enum ppn_error send_packet(struct node_paths *paths, const struct member_path *to,
                                  const struct wire_path_key *key, struct wire_path_packet *packet,
                                  const struct ppn_endpoint *endpoint)
{
    uint8_t bytes[PATH_MTU_MAX + PATH_MTU_HEADER];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    uint64_t clock = wire_path_counter(os_clock_wall());
    paths->counter = paths->counter < clock ? clock : paths->counter + 1;
    packet->sender = paths->tag;
    packet->recipient = to->tag;
    packet->counter = paths->counter;
    if (packet->size == 0)
        packet->size = WIRE_PATH_SIZE_MIN;
    enum ppn_error error = wire_path_encode(packet, key, &writer);
    PPN_ASSERT(error == PPN_OK);
    error = os_raw_udp_send(paths->raw, endpoint, ppn_written(&writer));
    if (error != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "path-unsent", "cause=\"%s\"", ppn_error_text(error));
    return error;
}

/* TOO_BIG: the own link does not carry it. Anything else that was not sent is a loss. */
static enum ppn_error ask(struct node_paths *paths, const struct member_path *member,
                          const struct path_update *update)
{
    struct wire_path_packet packet = {.nonce = update->nonce};
    if (update->kind == PATH_SEND_PING) {
        packet.kind = WIRE_PATH_PING;
        packet.size = update->size;
        return send_packet(paths, member, &member->key, &packet, &update->to);
    }
    const struct member_path *relay = node_paths_relay_at(paths, &update->to);
    if (relay == NULL)
        return PPN_OK;
    packet.kind = update->kind == PATH_SEND_BIND ? WIRE_PATH_BIND : WIRE_PATH_MAILBOX;
    if (update->kind == PATH_SEND_BIND)
        packet.bind.node = member->tag;
    else
        packet.mailbox.node = member->tag;
    node_fallback_asked(paths->fallback, &update->to);
    return send_packet(paths, relay, &relay->relay_key, &packet, &update->to);
}

const char *node_paths_class_name(enum path_class class)
{
    static const char *const names[] = {"lan",     "public", "punched",
                                        "relayed", "tcp",    "relayed-tcp"};
    return names[class];
}

static bool changed(const struct member_path *member, const struct ppn_endpoint *endpoint)
{
    bool proven = endpoint->port != 0;
    if (!member->told)
        return proven;
    if (!proven)
        return member->chosen.port != 0;
    return !member->was_proven || !same(&member->chosen, endpoint);
}

static void log_way(const struct node_paths *paths, const struct member_path *member,
                    const struct path_way *way)
{
    char text[OS_ENDPOINT_TEXT] = "none", scratch[PPN_FINGERPRINT_TEXT];
    if (way != NULL)
        os_endpoint_text(&way->endpoint, text);
    ppn_log(PPN_LOG_INFO, "path", "node=%s way=%s endpoint=%s",
            node_member_name(paths->node, &member->id, scratch),
            way != NULL ? node_paths_class_name(way->class) : "none", text);
}

/* Tells the mesh of the proven way in use, or that there is none any more. */
static void tell(struct node_paths *paths, struct member_path *member)
{
    const struct path_way *way = path_current(&member->core);
    bool proven = way != NULL && way->proven && way->endpoint.port != 0;
    bool behind_nat = paths->node->options.advertise_count == 0;
    struct node_mesh_path path = {.keepalive_s = path_keepalive_s(&member->core, behind_nat),
                                  .mtu = path_mtu(&member->core)};
    struct ppn_instant now = os_now(paths->node->loop);
    member->unproven = proven ? PPN_NEVER : ppn_earlier(member->unproven, now);
    if (proven)
        path.endpoint = way->endpoint;
    else
        member->was_proven = false;
    if (!proven && !ppn_due(ppn_after(member->unproven, ppn_seconds(GIVE_UP_S)), now))
        return;
    bool moves = changed(member, &path.endpoint);
    if (!moves && (!proven || (member->keepalive_s == path.keepalive_s && member->mtu == path.mtu)))
        return;
    if (!member->told || !same(&member->chosen, &path.endpoint))
        log_way(paths, member, proven ? way : NULL);
    member->told = true;
    member->was_proven = proven;
    member->chosen = path.endpoint;
    member->keepalive_s = path.keepalive_s;
    member->mtu = path.mtu;
    node_mesh_path(paths->node->mesh, &member->id, &path);
}

void node_paths_arm(struct node_paths *paths)
{
    struct ppn_instant at = PPN_NEVER;
    for (uint32_t i = 0; i < paths->count; i++)
        at = ppn_earlier(at, paths->members[i]->deadline);
    os_timer_at(&paths->timer, at);
}

/* A size that the own link refuses is an answer, too; each one narrows the search, so this ends. */
void node_paths_step(struct node_paths *paths, struct member_path *member,
                     const struct path_event *event)
{
    struct path_event refused = {.kind = PATH_TOO_BIG};
    const struct path_event *next = event;
    while (next != NULL) {
        enum ppn_error error =
            path_step(&member->core, os_now(paths->node->loop), next, &paths->updates);
        next = NULL;
        if (error != PPN_OK) {
            ppn_log(PPN_LOG_WARN, "path-step", "cause=\"%s\"", ppn_error_text(error));
            return;
        }
        for (size_t i = 0; i < paths->updates.count; i++) {
            const struct path_update *update = &paths->updates.list[i];
            if (update->kind == PATH_CALL)
                node_calls_send(paths->calls, &member->id, update->moved);
            else if (update->kind != PATH_ENDPOINT &&
                     ask(paths, member, update) == PPN_ERROR_TOO_BIG && update->size > 0) {
                refused.nonce = update->nonce;
                next = &refused;
            }
        }
    }
    member->deadline = path_deadline(&member->core);
    tell(paths, member);
}

static void on_timer(void *context)
{
    struct node_paths *paths = context;
    struct path_event event = {.kind = PATH_TICK};
    struct ppn_instant now = os_now(paths->node->loop);
    for (uint32_t i = 0; i < paths->count; i++) {
        if (ppn_due(paths->members[i]->deadline, now))
            node_paths_step(paths, paths->members[i], &event);
    }
    node_paths_arm(paths);
}

/* One call a second of each: a call makes us send a few packets to places that it names. */
static void on_call(void *context, const struct ppn_node_id *by, bool moved)
{
    struct node_paths *paths = context;
    struct member_path *member = node_paths_find(paths, by);
    struct path_event event = {.kind = PATH_CALLED, .moved = moved};
    struct ppn_instant now = os_now(paths->node->loop);
    if (member == NULL || ppn_before(now, ppn_after(member->called, ppn_ms(CALLED_MS))))
        return;
    member->called = now;
    node_paths_step(paths, member, &event);
    node_paths_arm(paths);
}

/* ---- in ---- */

/* A router that shows the same port at two places shows it at every one, so that others may try it
 * (RFC 4787: endpoint-independent mapping); one that does not cannot be met that way. IPv6 has no
 * such routers: its own addresses are named anyhow. */
static void seen_at(struct node_paths *paths, struct ppn_endpoint *by,
                    const struct ppn_endpoint *observed)
{
    struct ppn_endpoint before, after;
    if (!os_endpoint_is_ipv4(observed))
        return;
    bool was = node_paths_seen(paths, &before);
    *by = *observed;
    bool is = node_paths_seen(paths, &after);
    if (was != is || (is && !same(&before, &after)))
        node_self_touch(paths->node);
}

static void take_answer(struct node_paths *paths, struct member_path *from,
                        const struct wire_path_packet *packet, const struct ppn_endpoint *where)
{
    struct path_event event = {.from = *where, .nonce = packet->nonce};
    switch (packet->kind) {
    case WIRE_PATH_PONG:
        event.kind = PATH_PONG;
        event.observed = packet->pong.observed;
        event.missed = packet->pong.missed;
        if (from->is_public && node_paths_public_at(from, where))
            seen_at(paths, &paths->seen_by_node, &packet->pong.observed);
        node_paths_step(paths, from, &event);
        return;
    case WIRE_PATH_MAILBOX_IS:
        event.kind = PATH_MAILBOX_IS;
        event.port = packet->mailbox_is.port;
        break;
    case WIRE_PATH_BOUND:
        event.kind = PATH_BOUND;
        if (!node_fallback_local(where))
            seen_at(paths, &paths->seen_by_relay, &packet->bound.observed);
        break;
    case WIRE_PATH_STALE:
        event.kind = PATH_STALE;
        if (packet->stale.counter > paths->counter)
            paths->counter = packet->stale.counter;
        break;
    case WIRE_PATH_PING:
    case WIRE_PATH_BIND:
    case WIRE_PATH_MAILBOX:
        return;
    }
    /* A relay's answer may concern any member. */
    for (uint32_t i = 0; i < paths->count; i++) {
        if (path_waits_for(&paths->members[i]->core, packet->nonce))
            node_paths_step(paths, paths->members[i], &event);
    }
}

static void take_ping(struct node_paths *paths, struct member_path *from,
                      const struct wire_path_packet *packet, const struct ppn_endpoint *where)
{
    struct wire_path_packet answer = {.nonce = packet->nonce};
    struct path_event event = {.kind = PATH_HEARD, .from = *where};
    if (!path_window_take(&from->window, packet->counter)) {
        answer.kind = WIRE_PATH_STALE;
        answer.stale.counter = from->window.highest;
        (void)send_packet(paths, from, &from->key, &answer, where);
        return;
    }
    answer.kind = WIRE_PATH_PONG;
    answer.pong.observed = *where;
    answer.pong.size = packet->size;
    answer.pong.missed = path_missed(&from->core);
    (void)send_packet(paths, from, &from->key, &answer, where);
    node_paths_step(paths, from, &event);
}

/* Who may say what with which key: a relay's process has the relay key only, and cannot speak for
 * its node. */
static bool fits(const struct wire_path_packet *packet, bool relay_key)
{
    switch (packet->kind) {
    case WIRE_PATH_PING:
    case WIRE_PATH_PONG:
        return !relay_key || packet->kind == WIRE_PATH_PONG;
    case WIRE_PATH_BOUND:
    case WIRE_PATH_MAILBOX_IS:
        return relay_key;
    case WIRE_PATH_STALE:
        return true;
    case WIRE_PATH_BIND:
    case WIRE_PATH_MAILBOX:
        return false;
    }
    return false;
}

/* Only what was asked for now says that UDP works: not what somebody recorded. */
static bool was_asked(const struct node_paths *paths, uint64_t nonce)
{
    if (paths->fallback_nonce - nonce < FALLBACK_NONCES)
        return true;
    for (uint32_t i = 0; i < paths->count; i++) {
        if (path_waits_for(&paths->members[i]->core, nonce))
            return true;
    }
    return false;
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
    bool relay_key = error == PPN_ERROR_SIGNATURE;
    if (relay_key)
        error = wire_path_decode(datagram, &member->relay_key, &packet);
    if (error != PPN_OK || !fits(&packet, relay_key))
        return;
    if (!wire_path_is_question(packet.kind) && was_asked(paths, packet.nonce))
        node_fallback_answered(paths->fallback, from);
    if (packet.kind == WIRE_PATH_PING)
        take_ping(paths, member, &packet, from);
    else if (packet.kind != WIRE_PATH_PONG || !relay_key)
        take_answer(paths, member, &packet, from);
    node_paths_arm(paths);
}

/* ---- open and close ---- */

bool node_paths_seen(const struct node_paths *paths, struct ppn_endpoint *endpoint)
{
    if (paths == NULL || paths->seen_by_node.port == 0 ||
        !same(&paths->seen_by_node, &paths->seen_by_relay))
        return false;
    *endpoint = paths->seen_by_node;
    return true;
}

/* A relay says where it sees us, too; what is asked for here is that it says anything. */
static void ask_relay(void *context, const struct ppn_node_id *id, const struct ppn_endpoint *to,
                      bool relay_port)
{
    struct node_paths *paths = context;
    const struct member_path *relay = node_paths_find(paths, id);
    struct wire_path_packet packet = {.kind = WIRE_PATH_PING, .nonce = ++paths->fallback_nonce};
    if (relay != NULL)
        (void)send_packet(paths, relay, relay_port ? &relay->relay_key : &relay->key, &packet, to);
}

static void on_fallback(void *context, bool over)
{
    node_paths_fallback(context, over);
}

static void open_calls(struct node_paths *paths)
{
    struct ppn_failure failure = {0};
    const struct node_calls_config config = {.context = paths, .called = on_call};
    if (node_calls_open(paths->node, &config, &paths->calls, &failure) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "paths", "text=\"%s\"", failure.text);
}

void node_paths_rebind(struct node_paths *paths)
{
    if (paths == NULL)
        return;
    node_calls_close(paths->calls);
    paths->calls = NULL;
    open_calls(paths);
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
    open_calls(paths);
    const struct node_fallback_config fallback = {paths, ask_relay, on_fallback};
    paths->fallback_nonce = os_random_u64();
    if (node->options.advertise_count == 0)
        paths->fallback = node_fallback_open(node, &fallback);
    *out = paths;
    return PPN_OK;
}

void node_paths_close(struct node_paths *paths)
{
    if (paths == NULL)
        return;
    os_timer_stop(&paths->timer);
    node_calls_close(paths->calls);
    node_fallback_close(paths->fallback);
    os_raw_udp_close(paths->raw);
    for (uint32_t i = 0; i < paths->count; i++)
        free(paths->members[i]);
    free(paths);
}
