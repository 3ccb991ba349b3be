// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* One packet from one member. The decoder kept counts and enums in range; which of it makes sense
 * is judged here and in what is called from here. */

/* Answers are given even when the bandwidth is used up, for who does not answer is taken for dead;
 * then, however, to each one only as often as an honest probe needs: whoever floods this node does
 * not make it flood. */
static void answer(struct gossip *g, struct ppn_instant now, uint16_t to, uint32_t probe)
{
    uint16_t tick = (uint16_t)gossip_coarse(g, now);
    if (g->tokens <= 0 && (uint16_t)(tick - g->slots[to].answered) < GOSSIP_ANSWER_TICKS)
        return;
    g->slots[to].answered = tick;
    struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_ACK);
    if (packet == NULL)
        return;
    packet->probe = probe;
    gossip_packet_fill(g, packet, to);
    gossip_packet_send(g, to, packet);
}

static void check_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet)
{
    uint16_t subject = gossip_pool_node_find(g->pool, packet->of.check.subject);
    if (subject == POOL_INDEX_NONE || !gossip_is_member(g, subject) || subject == g->self ||
        g->slots[subject].state == GOSSIP_LEFT)
        return;
    struct gossip_asker asker = {from, packet->probe};
    gossip_probe_start(g, now, subject, GOSSIP_PROBE_CHECK, &asker);
}

static bool well_formed(const struct gossip_packet *packet)
{
    if (packet->kind <= 0 || packet->kind >= GOSSIP_PACKET_KIND_END ||
        packet->item_count > GOSSIP_ITEMS_MAX || packet->health > GOSSIP_HEALTH_MAX)
        return false;
    if (packet->kind == GOSSIP_WANT)
        return packet->of.want.count <= GOSSIP_WANTS_MAX;
    if (packet->kind != GOSSIP_RANGE)
        return true;
    if (packet->of.range.count > GOSSIP_ROWS_MAX || packet->of.range.first > packet->of.range.last)
        return false;
    for (uint32_t i = 0; i < packet->of.range.count; i++) {
        const struct gossip_row *row = &packet->of.range.rows[i];
        if (row->tag < packet->of.range.first || row->tag > packet->of.range.last ||
            (i > 0 && row->tag <= row[-1].tag) || row->standing >= GOSSIP_ROW_STANDING_END)
            return false;
    }
    return true;
}

void gossip_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                    const struct gossip_packet *packet)
{
    if (!well_formed(packet) || !g->may_send || g->left) {
        g->counters.rejected++;
        return;
    }
    g->counters.packets_received++;
    gossip_heard(g, now, from);
    /* Items before the header's own business: an ACK's refutation counts before its answer. */
    for (uint32_t i = 0; i < packet->item_count && g->may_send; i++)
        gossip_item_receive(g, now, from, packet->items[i]);
    if (!g->may_send)
        return;
    bool lost = gossip_is_lost(&g->slots[from]);
    if (g->slots[from].life == 0 && (packet->kind == GOSSIP_PING || packet->kind == GOSSIP_ACK))
        gossip_sync_introduce(g, from);
    switch (packet->kind) {
    case GOSSIP_PING:
        answer(g, now, from, packet->probe);
        break;
    case GOSSIP_ACK:
        gossip_probe_acked(g, now, from, packet->probe);
        break;
    case GOSSIP_CHECK:
        check_receive(g, now, from, packet);
        break;
    case GOSSIP_CHECKED:
        gossip_probe_checked(g, now, from, packet);
        break;
    case GOSSIP_DIGEST:
    case GOSSIP_RANGE:
    case GOSSIP_WANT:
        gossip_sync_receive(g, now, from, packet);
        break;
    case GOSSIP_NEWS:
    case GOSSIP_PACKET_KIND_END:
    default:
        break;
    }
    /* It reaches me; whether I reach it, one ping tells. */
    if (lost && gossip_is_lost(&g->slots[from]))
        gossip_probe_start(g, now, from, GOSSIP_PROBE_LOST, NULL);
    gossip_sync_consider(g, now, from, packet);
}
