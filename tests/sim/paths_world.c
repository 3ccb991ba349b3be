// SPDX-License-Identifier: ISC
#include "paths_world_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* What a packet says; words[0] of a net_packet. */
enum word {
    SAY_DATA = 1,
    SAY_CALL,
    SAY_PING,
    SAY_PONG,
    SAY_STALE,
    SAY_BIND,
    SAY_BOUND,
    SAY_MAILBOX,
    SAY_MAILBOX_IS
};
enum { W_WORD, W_FROM, W_TO, W_NONCE, W_COUNTER, W_ARGUMENT, W_RELAY };

static bool same(const struct ppn_endpoint *a, const struct ppn_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

void paths_broken(struct paths_world *w, const char *format, ...)
{
    va_list list;
    if (w->broken++ > 0)
        return;
    va_start(list, format);
    int size = snprintf(w->first_broken, sizeof(w->first_broken),
                        "%.3f s: ", (double)(w->net.now.ns - ppn_seconds(1000).ns) / 1e9);
    (void)vsnprintf(w->first_broken + size, sizeof(w->first_broken) - (size_t)size, format, list);
    va_end(list);
}

static void mix(struct paths_world *w, uint64_t value)
{
    w->trace = (w->trace ^ value) * UINT64_C(0x100000001b3);
}

static void say(struct paths_world *w, uint32_t a, uint32_t b, struct net_packet *packet,
                enum word word, const struct ppn_endpoint *to)
{
    uint64_t clock = (uint64_t)(w->net.now.ns / 1000);
    struct paths_node *node = &w->nodes[a];
    node->counter = node->counter < clock ? clock : node->counter + 1;
    packet->words[W_WORD] = word;
    packet->words[W_FROM] = a;
    packet->words[W_TO] = b;
    packet->words[W_COUNTER] = node->counter;
    packet->to = *to;
    packet->from.port = NET_HOME_PORT;
    if (packet->size == 0)
        packet->size = SMALL;
    net_send(&w->net, a, packet);
}

/* ---- the core's updates ---- */

static void check_switch(struct paths_world *w, uint32_t a, uint32_t b, const struct path *was)
{
    const struct path_way *now = path_current(&paths_link(w, a, b)->core), *old = path_current(was);
    if (now == NULL || !now->proven || now->misses > 0)
        paths_broken(w, "n%u goes to n%u over a way that is not proven", a, b);
    else if (old != NULL && old->proven && old->misses == 0 && path_way_mtu(old) != 1 &&
             old->class < now->class)
        paths_broken(w, "n%u leaves a proven way to n%u for a worse one", a, b);
}

static void count_question(struct paths_world *w, uint32_t a, uint32_t b)
{
    struct paths_link *link = paths_link(w, a, b);
    w->questions++;
    if (ppn_due(ppn_after(link->window_from, ppn_seconds(1)), w->net.now)) {
        link->window_from = w->net.now;
        link->asked = 0;
    }
    link->asked++;
    if (link->asked > link->asked_most)
        link->asked_most = link->asked;
    if (link->asked > PATHS_STORM_PER_S)
        paths_broken(w, "n%u asks n%u %u times within a second", a, b, link->asked);
}

/* The node whose relay a way goes through; UINT32_MAX: none. */
static uint32_t relay_of(const struct paths_world *w, const struct path_way *way)
{
    for (uint32_t i = 0; way != NULL && way->class == PATH_RELAY && i < w->count; i++) {
        if (memcmp(w->net.hosts[i].address.address, way->relay.address, 16) == 0)
            return i;
    }
    return UINT32_MAX;
}

static void tell(struct paths_world *w, uint32_t a, uint32_t b)
{
    static const char *const names[] = {"lan", "public", "punched", "relayed by n"};
    struct paths_link *link = paths_link(w, a, b);
    int class = paths_class(w, a, b);
    bool any = class >= 0;
    uint32_t relay = any ? relay_of(w, path_current(&link->core)) : UINT32_MAX;
    if (any == link->told_any && (!any || (class == (int)link->told && relay == link->told_relay)))
        return;
    link->told_any = any;
    link->told = any ? (enum path_class) class : PATH_LAN;
    link->told_relay = relay;
    mix(w, (uint64_t)(class + 1) << 16 | a << 8 | b);
    if (w->story == NULL)
        return;
    fprintf(w->story, "%7.1f n%u to n%u: %s", (double)(w->net.now.ns - ppn_seconds(1000).ns) / 1e9,
            a, b, any ? names[class] : "nothing proven");
    if (relay != UINT32_MAX)
        fprintf(w->story, "%u", relay);
    fprintf(w->story, "\n");
}

static void ask(struct paths_world *w, uint32_t a, uint32_t b, const struct path_update *update)
{
    struct net_packet packet = {.size = update->size};
    count_question(w, a, b);
    packet.words[W_NONCE] = update->nonce;
    if (update->kind == PATH_SEND_PING) {
        say(w, a, b, &packet, SAY_PING, &update->to);
        return;
    }
    packet.words[W_ARGUMENT] = b;
    packet.words[W_RELAY] = 1;
    say(w, a, b, &packet, update->kind == PATH_SEND_BIND ? SAY_BIND : SAY_MAILBOX, &update->to);
}

static void step(struct paths_world *w, uint32_t a, uint32_t b, const struct path_event *event)
{
    static struct path_updates updates;
    struct paths_link *link = paths_link(w, a, b);
    struct path was = link->core;
    w->steps++;
    enum ppn_error error = path_step(&link->core, w->net.now, event, &updates);
    PPN_ASSERT(error == PPN_OK);
    for (size_t i = 0; i < updates.count; i++) {
        const struct path_update *update = &updates.list[i];
        struct net_packet call = {.words[W_ARGUMENT] = update->moved};
        mix(w, update->nonce ^ (uint64_t)update->kind);
        if (update->kind == PATH_ENDPOINT) {
            check_switch(w, a, b, &was);
            w->moves++;
            net_push(&w->net, (struct net_event){.at = ppn_after(w->net.now, ppn_ms(WG_SET_MS)),
                                                 .kind = EVENT_SET,
                                                 .a = a,
                                                 .b = b,
                                                 .packet.to = update->to});
        } else if (update->kind == PATH_CALL) {
            if (link->has_endpoint)
                say(w, a, b, &call, SAY_CALL, &link->endpoint);
        } else {
            ask(w, a, b, update);
        }
    }
    link->deadline = path_deadline(&link->core);
    if (ppn_due(link->deadline, w->net.now))
        paths_broken(w, "n%u has a deadline for n%u that is over", a, b);
    tell(w, a, b);
}

/* ---- what nodes say of themselves ---- */

static bool punchable(const struct paths_node *node)
{
    return node->seen_by_node.port != 0 && same(&node->seen_by_node, &node->seen_by_relay);
}

static void offer(struct paths_world *w, uint32_t a, uint32_t b)
{
    struct path_candidate list[PATH_WAYS_MAX];
    struct path_event event = {.kind = PATH_CANDIDATES, .candidates.list = list};
    const struct paths_node *peer = &w->nodes[b];
    struct ppn_endpoint own = w->net.hosts[b].address;
    own.port = NET_HOME_PORT;
    list[event.candidates.count++] =
        (struct path_candidate){peer->is_public ? PATH_PUBLIC : PATH_LAN, own};
    if (!peer->is_public && punchable(peer))
        list[event.candidates.count++] = (struct path_candidate){PATH_PUNCHED, peer->seen_by_node};
    uint32_t relays = 0;
    for (uint32_t i = 0; i < w->count && relays < PATH_RELAYS_MAX; i++) {
        if (!w->nodes[i].relays || i == a || i == b)
            continue;
        struct ppn_endpoint relay = w->net.hosts[i].address;
        relay.port = RELAY_PORT;
        list[event.candidates.count++] = (struct path_candidate){PATH_RELAY, relay};
        relays++;
    }
    step(w, a, b, &event);
}

void paths_announce(struct paths_world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->count; i++) {
        int64_t ms = PROFILE_MS + (int64_t)ppn_random_below(&w->net.random, 400);
        net_push(&w->net, (struct net_event){.at = ppn_after(w->net.now, ppn_ms(ms)),
                                             .kind = EVENT_PROFILE,
                                             .a = i,
                                             .b = node});
    }
}

static void seen(struct paths_world *w, uint32_t node, struct ppn_endpoint *by,
                 const struct ppn_endpoint *observed)
{
    bool was = punchable(&w->nodes[node]), moved = !same(by, observed);
    *by = *observed;
    if (was != punchable(&w->nodes[node]) || (was && moved))
        paths_announce(w, node);
}

/* ---- packets that arrive ---- */

static void at_relay(struct paths_world *w, uint32_t host, struct net_packet *packet)
{
    static const enum relay_question_kind kinds[] = {
        [SAY_PING] = RELAY_PING, [SAY_BIND] = RELAY_BIND, [SAY_MAILBOX] = RELAY_MAILBOX};
    struct relay *relay = w->nodes[host].relay;
    struct relay_route route;
    bool own = packet->to.port == RELAY_PORT;
    uint32_t mailbox = own ? RELAY_NONE : (uint32_t)packet->to.port - MAILBOX_FIRST;
    if (relay == NULL)
        return;
    if (packet->words[W_RELAY] == 0) {
        if (own || relay_forward(relay, w->net.now, mailbox, &packet->from, 1, packet->size,
                                 &route) != RELAY_FORWARD)
            return;
        packet->to = route.to;
        packet->from.port = (uint16_t)(MAILBOX_FIRST + route.mailbox);
        net_send(&w->net, host, packet);
        return;
    }
    struct relay_event event = {.kind = RELAY_EVENT_QUESTION};
    struct relay_answer said;
    event.question = (struct relay_question){
        .kind = kinds[packet->words[W_WORD]],
        .member = relay_find(relay, packet->words[W_FROM] + 1),
        .mailbox = mailbox,
        .counter = packet->words[W_COUNTER],
        .node = packet->words[W_ARGUMENT] + 1,
        .source = packet->from,
    };
    if (event.question.member == RELAY_NONE ||
        relay_step(relay, w->net.now, &event, &said) != PPN_OK || said.kind == RELAY_SILENT)
        return;
    struct net_packet reply = {.size = SMALL, .to = packet->from, .endpoint = packet->from};
    memcpy(reply.words, packet->words, sizeof(reply.words));
    reply.words[W_WORD] = said.kind == RELAY_BOUND   ? SAY_BOUND
                          : said.kind == RELAY_STALE ? SAY_STALE
                                                     : SAY_MAILBOX_IS;
    reply.words[W_COUNTER] = said.counter;
    reply.words[W_ARGUMENT] = said.mailbox == RELAY_NONE ? 0 : MAILBOX_FIRST + said.mailbox;
    reply.from.port = packet->to.port;
    net_send(&w->net, host, &reply);
}

/* WireGuard: whatever is authentic moves the endpoint. */
static void at_wireguard(struct paths_world *w, uint32_t a, uint32_t b,
                         const struct net_packet *packet)
{
    struct paths_link *link = paths_link(w, a, b);
    struct ppn_duration gap = ppn_between(link->heard_at, w->net.now);
    link->rx_bytes += packet->size;
    link->has_endpoint = true;
    link->endpoint = packet->from;
    if (link->talks && gap.ns > link->gap.ns)
        link->gap = gap;
    link->heard_at = w->net.now;
    if (packet->words[W_WORD] != SAY_CALL ||
        ppn_before(w->net.now, ppn_after(link->called_at, ppn_seconds(1))))
        return;
    struct path_event event = {.kind = PATH_CALLED, .moved = packet->words[W_ARGUMENT] != 0};
    link->called_at = w->net.now;
    step(w, a, b, &event);
}

static void at_ping(struct paths_world *w, uint32_t a, uint32_t b, const struct net_packet *packet)
{
    struct paths_link *link = paths_link(w, a, b);
    struct net_packet reply = {.endpoint = packet->from};
    struct path_event event = {.kind = PATH_HEARD, .from = packet->from};
    bool fresh = path_window_take(&link->window, packet->words[W_COUNTER]);
    reply.words[W_NONCE] = packet->words[W_NONCE];
    reply.words[W_ARGUMENT] = fresh ? path_missed(&link->core) : link->window.highest;
    say(w, a, b, &reply, fresh ? SAY_PONG : SAY_STALE, &packet->from);
    if (fresh)
        step(w, a, b, &event);
}

static void at_answer(struct paths_world *w, uint32_t a, uint32_t b,
                      const struct net_packet *packet)
{
    struct paths_node *node = &w->nodes[a];
    struct path_event event = {.from = packet->from, .nonce = packet->words[W_NONCE]};
    switch ((enum word)packet->words[W_WORD]) {
    case SAY_PONG:
        event.kind = PATH_PONG;
        event.observed = packet->endpoint;
        event.missed = (uint8_t)packet->words[W_ARGUMENT];
        if (w->nodes[b].is_public &&
            memcmp(packet->from.address, w->net.hosts[b].address.address, 16) == 0)
            seen(w, a, &node->seen_by_node, &packet->endpoint);
        break;
    case SAY_BOUND:
        event.kind = PATH_BOUND;
        seen(w, a, &node->seen_by_relay, &packet->endpoint);
        break;
    case SAY_MAILBOX_IS:
        event.kind = PATH_MAILBOX_IS;
        event.port = (uint16_t)packet->words[W_ARGUMENT];
        break;
    case SAY_STALE:
        event.kind = PATH_STALE;
        if (packet->words[W_COUNTER] > node->counter)
            node->counter = packet->words[W_COUNTER];
        break;
    case SAY_DATA:
    case SAY_CALL:
    case SAY_PING:
    case SAY_BIND:
    case SAY_MAILBOX:
        return;
    }
    step(w, a, b, &event);
}

static void at_host(struct paths_world *w, uint32_t host, struct net_packet *packet)
{
    uint32_t from = (uint32_t)packet->words[W_FROM], to = (uint32_t)packet->words[W_TO];
    if (!w->nodes[host].up)
        return;
    if (packet->to.port != NET_HOME_PORT) {
        at_relay(w, host, packet);
        return;
    }
    /* A relay's answers carry the words of the question. */
    if (packet->words[W_RELAY] != 0) {
        if (from == host)
            at_answer(w, host, to, packet);
        return;
    }
    if (to != host)
        return; /* somebody else's 192.168.1.N */
    if (packet->words[W_WORD] == SAY_DATA || packet->words[W_WORD] == SAY_CALL)
        at_wireguard(w, host, from, packet);
    else if (packet->words[W_WORD] == SAY_PING)
        at_ping(w, host, from, packet);
    else
        at_answer(w, host, from, packet);
}

/* ---- what happens by itself ---- */

static void read_device(struct paths_world *w, uint32_t a)
{
    for (uint32_t b = 0; b < w->count; b++) {
        struct paths_link *link = paths_link(w, a, b);
        struct path_event event = {.kind = PATH_WIREGUARD,
                                   .wireguard.has_endpoint = link->has_endpoint,
                                   .wireguard.endpoint = link->endpoint,
                                   .wireguard.tx_bytes = link->tx_bytes,
                                   .wireguard.rx_bytes = link->rx_bytes};
        if (a != b)
            step(w, a, b, &event);
    }
}

void paths_say_something(struct paths_world *w, uint32_t a, uint32_t b)
{
    struct paths_link *link = paths_link(w, a, b);
    struct net_packet packet = {.size = 160};
    if (!link->has_endpoint || (!link->talks && link->turn++ % (GOSSIP_MS / TALK_MS) != 0))
        return;
    link->tx_bytes += packet.size;
    say(w, a, b, &packet, SAY_DATA, &link->endpoint);
}

static void again(struct paths_world *w, const struct net_event *event, int64_t ms)
{
    struct net_event next = *event;
    next.at = ppn_after(w->net.now, ppn_ms(ms));
    net_push(&w->net, next);
}

static void happen(struct paths_world *w, struct net_event *event)
{
    uint32_t a = event->a, b = event->b;
    struct path_event moved = {.kind = PATH_VOID};
    if (event->kind == EVENT_READ)
        again(w, event, READ_MS);
    if (event->kind == EVENT_TALK)
        again(w, event, TALK_MS);
    if (!w->nodes[a].up)
        return;
    switch ((enum event)event->kind) {
    case EVENT_PROFILE:
        for (uint32_t i = 0; i < w->count; i++) {
            if (i != a && (i == b || w->nodes[b].relays))
                offer(w, a, i);
        }
        break;
    case EVENT_VOID:
        w->nodes[a].seen_by_node.port = w->nodes[a].seen_by_relay.port = 0;
        for (uint32_t i = 0; i < w->count; i++) {
            if (i != a)
                step(w, a, i, &moved);
        }
        paths_announce(w, a);
        break;
    case EVENT_SET:
        paths_link(w, a, b)->has_endpoint = true;
        paths_link(w, a, b)->endpoint = event->packet.to;
        break;
    case EVENT_READ:
        read_device(w, a);
        break;
    case EVENT_TALK:
        paths_say_something(w, a, b);
        break;
    case EVENT_PACKET:
        break;
    }
}

static void ticks(struct paths_world *w)
{
    const struct path_event tick = {.kind = PATH_TICK};
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; w->nodes[a].up && b < w->count; b++) {
            if (a != b && ppn_due(paths_link(w, a, b)->deadline, w->net.now))
                step(w, a, b, &tick);
        }
    }
}

static struct ppn_instant next_tick(const struct paths_world *w)
{
    struct ppn_instant next = PPN_NEVER;
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; w->nodes[a].up && b < w->count; b++) {
            if (a != b)
                next = ppn_earlier(next, w->nodes[a].links[b].deadline);
        }
    }
    return next;
}

void paths_run_for(struct paths_world *w, struct ppn_duration time)
{
    struct ppn_instant end = ppn_after(w->net.now, time);
    while (w->broken == 0) {
        struct ppn_instant next = ppn_earlier(net_next(&w->net), next_tick(w));
        struct net_event event;
        uint32_t host;
        if (ppn_before(end, next))
            break;
        if (ppn_before(w->net.now, next))
            w->net.now = next;
        while (net_pop(&w->net, &event, &host)) {
            if (event.kind != EVENT_PACKET)
                happen(w, &event);
            else if (host != UINT32_MAX)
                at_host(w, host, &event.packet);
        }
        ticks(w);
    }
    w->net.now = end;
}
