// SPDX-License-Identifier: ISC
#include <stdlib.h>

#include "base/assert.h"
#include "paths_world_internal.h"

struct paths_world *paths_world_new(uint64_t seed, FILE *story)
{
    struct paths_world *w = calloc(1, sizeof(*w));
    PPN_ASSERT(w != NULL);
    net_init(&w->net, seed);
    w->story = story;
    w->trace = UINT64_C(0xcbf29ce484222325);
    return w;
}

void paths_world_free(struct paths_world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        relay_free(w->nodes[i].relay);
    net_free(&w->net);
    free(w);
}

uint32_t paths_node(struct paths_world *w, uint32_t segment, bool is_public, bool relays)
{
    uint32_t index = net_host(&w->net, segment);
    PPN_ASSERT(index == w->count && (segment == NET_INTERNET || !is_public));
    w->nodes[index] = (struct paths_node){.up = true, .is_public = is_public, .relays = relays};
    w->count++;
    return index;
}

void paths_relay(struct paths_world *w, uint32_t node, bool runs)
{
    struct relay_member members[PATHS_NODES_MAX] = {0};
    struct relay_event event = {.kind = RELAY_EVENT_MEMBERS};
    struct relay_config config = {.mailbox_count = MAILBOXES,
                                  .first_counter = (uint64_t)(w->net.now.ns / 1000)};
    struct relay_answer none;
    relay_free(w->nodes[node].relay);
    w->nodes[node].relay = NULL;
    if (!runs)
        return;
    w->nodes[node].relay = relay_new(&config, w->net.now, w->trace);
    PPN_ASSERT(w->nodes[node].relay != NULL);
    for (uint32_t i = 0; i < w->count; i++)
        members[i] = (struct relay_member){.tag = i + 1};
    event.members.count = w->count;
    event.members.list = members;
    enum ppn_error error = relay_step(w->nodes[node].relay, w->net.now, &event, &none);
    PPN_ASSERT(error == PPN_OK);
}

void paths_start(struct paths_world *w)
{
    for (uint32_t a = 0; a < w->count; a++) {
        if (w->nodes[a].relays)
            paths_relay(w, a, true);
        for (uint32_t b = 0; b < w->count; b++) {
            struct paths_link *link = paths_link(w, a, b);
            path_init(&link->core, w->net.now, ppn_random_u64(&w->net.random));
            link->deadline = PPN_NEVER;
            link->heard_at = w->net.now;
            if (a == b)
                continue;
            int64_t ms = (int64_t)ppn_random_below(&w->net.random, GOSSIP_MS);
            net_push(&w->net, (struct net_event){.at = ppn_after(w->net.now, ppn_ms(ms)),
                                                 .kind = EVENT_TALK,
                                                 .a = a,
                                                 .b = b});
        }
        int64_t ms = (int64_t)ppn_random_below(&w->net.random, READ_MS);
        net_push(&w->net, (struct net_event){
                              .at = ppn_after(w->net.now, ppn_ms(ms)), .kind = EVENT_READ, .a = a});
    }
    for (uint32_t a = 0; a < w->count; a++)
        paths_announce(w, a);
}

static void later(struct paths_world *w, uint32_t node, enum event kind, int64_t ms)
{
    net_push(&w->net,
             (struct net_event){.at = ppn_after(w->net.now, ppn_ms(ms)), .kind = kind, .a = node});
}

void paths_move(struct paths_world *w, uint32_t node, uint32_t segment)
{
    net_move(&w->net, node, segment);
    later(w, node, EVENT_VOID, NETLINK_MS);
}

void paths_sleep(struct paths_world *w, uint32_t node)
{
    w->nodes[node].up = false;
}

void paths_wake(struct paths_world *w, uint32_t node)
{
    w->nodes[node].up = true;
    later(w, node, EVENT_VOID, NETLINK_MS);
    for (uint32_t i = 0; i < w->count; i++) {
        net_push(&w->net, (struct net_event){.at = ppn_after(w->net.now, ppn_ms(PROFILE_MS)),
                                             .kind = EVENT_PROFILE,
                                             .a = node,
                                             .b = i});
    }
}

void paths_talk(struct paths_world *w, uint32_t a, uint32_t b, bool talks)
{
    uint32_t ends[2][2] = {{a, b}, {b, a}};
    for (int i = 0; i < 2; i++) {
        struct paths_link *link = paths_link(w, ends[i][0], ends[i][1]);
        link->talks = talks;
        link->heard_at = w->net.now;
        if (talks)
            paths_say_something(w, ends[i][0], ends[i][1]);
    }
}

void paths_clear_gaps(struct paths_world *w)
{
    for (uint32_t a = 0; a < w->count; a++) {
        for (uint32_t b = 0; b < w->count; b++) {
            paths_link(w, a, b)->gap = ppn_ns(0);
            paths_link(w, a, b)->heard_at = w->net.now;
        }
    }
}

int paths_class(const struct paths_world *w, uint32_t from, uint32_t to)
{
    const struct path_way *way = path_current(&w->nodes[from].links[to].core);
    return way != NULL && way->proven ? (int)way->class : -1;
}

int paths_best(const struct paths_world *w, uint32_t from, uint32_t to)
{
    const struct net_host *a = &w->net.hosts[from], *b = &w->net.hosts[to];
    if (w->nodes[to].is_public)
        return PATH_PUBLIC;
    if (a->segment == b->segment)
        return PATH_LAN;
    if (w->nodes[from].is_public || net_can_punch(&w->net, from, to))
        return PATH_PUNCHED;
    return PATH_RELAY;
}
