// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "world_heap.h"
#include "world_internal.h"

/* What lies between the nodes of a world: delay, loss, duplication, groups and cuts. */

static struct gossip_packet *packet_copy(const struct gossip_packet *packet)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < packet->item_count; i++)
        bytes += packet->items[i].size;
    struct gossip_packet *copy = malloc(sizeof(*copy) + bytes);
    PPN_ASSERT(copy != NULL);
    memcpy(copy, packet, sizeof(*copy));
    uint8_t *at = (uint8_t *)(copy + 1);
    for (uint32_t i = 0; i < packet->item_count; i++) {
        memcpy(at, packet->items[i].data, packet->items[i].size);
        copy->items[i].data = at;
        at += packet->items[i].size;
    }
    return copy;
}

static struct ppn_instant arrival(struct world *w)
{
    int64_t us = w->options.delay_us;
    if (w->options.jitter_us > 0)
        us += (int64_t)ppn_random_below(&w->random, (uint64_t)w->options.jitter_us);
    return ppn_after(w->now, ppn_ns(us * 1000));
}

static bool lost(struct world *w, uint32_t per_million)
{
    return per_million > 0 && ppn_random_chance(&w->random, per_million);
}

static bool passes(const struct world *w, uint32_t from, uint32_t to)
{
    const struct world_node *sender = &w->nodes[from], *receiver = &w->nodes[to];
    bool cut = w->cuts != NULL && w->cuts[from * w->options.nodes + to];
    return sender->group == receiver->group && sender->host && receiver->host &&
           !receiver->asleep && !cut;
}

bool world_connected(const struct world *w, uint32_t a, uint32_t b)
{
    return passes(w, a, b) && w->nodes[b].running;
}

void world_cut(struct world *w, uint32_t from, uint32_t to, bool cut)
{
    if (w->cuts == NULL)
        w->cuts = calloc((size_t)w->options.nodes * w->options.nodes, sizeof(*w->cuts));
    PPN_ASSERT(w->cuts != NULL);
    w->cuts[from * w->options.nodes + to] = cut;
}

void world_mend(struct world *w)
{
    free(w->cuts);
    w->cuts = NULL;
    for (uint32_t i = 0; i < w->options.nodes; i++)
        w->nodes[i].group = 0;
}

/* A bucket that leaks at the rate never holds more than one burst exactly if no span of time, of
 * any length, saw more than its rate and one burst. */
static void account(struct world *w, struct world_node *sender, const struct gossip_packet *packet)
{
    const int64_t unit = 1000000000;
    int64_t since_ns = ppn_between(sender->sent_at, w->now).ns;
    if (since_ns > ppn_seconds(WORLD_BURST_BYTES).ns)
        since_ns = ppn_seconds(WORLD_BURST_BYTES).ns;
    int64_t leaked = since_ns * WORLD_BANDWIDTH_BYTES_S;
    sender->sent_level = sender->sent_level > leaked ? sender->sent_level - leaked : 0;
    sender->sent_level += gossip_packet_size_max(packet) * unit;
    sender->sent_at = w->now;
    uint64_t bytes = (uint64_t)(sender->sent_level / unit);
    w->burst_bytes_most = bytes > w->burst_bytes_most ? bytes : w->burst_bytes_most;
}

void world_transmit(struct world *w, uint32_t from, uint32_t to, const struct gossip_packet *packet)
{
    struct world_node *sender = &w->nodes[from], *receiver = &w->nodes[to];
    w->packets++;
    account(w, sender, packet);
    if (!passes(w, from, to) || lost(w, w->options.loss_per_million) || lost(w, sender->drop_out) ||
        lost(w, receiver->drop_in))
        return;
    if (!receiver->running) {
        if (w->refused_answers && !lost(w, w->options.loss_per_million)) {
            struct ppn_instant at = ppn_after(arrival(w), ppn_ns(w->options.delay_us * 1000));
            world_heap_push(w, (struct world_event){.at = at,
                                                    .kind = EVENT_REFUSED,
                                                    .node = from,
                                                    .from = to,
                                                    .value = sender->starts});
        }
        return;
    }
    bool twice = lost(w, w->options.duplicate_per_million);
    for (uint32_t i = 0; i < 1u + twice; i++)
        world_heap_push(w, (struct world_event){.at = arrival(w),
                                                .kind = EVENT_PACKET,
                                                .node = to,
                                                .from = from,
                                                .value = receiver->starts,
                                                .packet = packet_copy(packet)});
}
