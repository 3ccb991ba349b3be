// SPDX-License-Identifier: ISC
#include "gossip/internal.h"

/* Whose word could be had: of the observers of one member, and of all members. */

enum { ASK_OBSERVERS = 2 };

/* Observers that could be heard: alive here, and not themselves missing my probes. */
uint32_t gossip_observers_live(const struct gossip *g, uint16_t subject)
{
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, subject, observers), live = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (observers[i] == g->self) {
            live++;
            continue;
        }
        const struct gossip_opinion_entry *mine = gossip_opinion_by(g, observers[i], g->self);
        bool missing = mine != NULL && (mine->opinion == GOSSIP_OPINION_NO_ANSWER ||
                                        mine->opinion == GOSSIP_OPINION_REFUSED);
        live += g->slots[observers[i]].state == GOSSIP_ALIVE && !missing;
    }
    return live;
}

/* Of the members that were there a minute ago, does more than half still answer this side? */
bool gossip_majority(const struct gossip *g, struct ppn_instant now)
{
    uint32_t total =
        g->states[GOSSIP_ALIVE] + g->states[GOSSIP_SUSPECT] + g->states[GOSSIP_UNREACHABLE];
    for (uint32_t i = 0; i < g->slot_capacity && g->states[GOSSIP_DEAD] > 0; i++) {
        const struct gossip_slot *slot = &g->slots[i];
        if ((slot->flags & SLOT_MEMBER) != 0 && slot->state == GOSSIP_DEAD &&
            slot->cause == GOSSIP_CAUSE_NO_ANSWER)
            total +=
                ppn_between(gossip_fine(g, slot->since), now).ns < ppn_ms(GOSSIP_MAJORITY_MS).ns;
    }
    return 2 * g->states[GOSSIP_ALIVE] > total;
}

/* What this node has not heard of the subject, whoever observes it has. */
void gossip_ask_observers(struct gossip *g, uint16_t subject, uint8_t kinds)
{
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, subject, observers), asked = 0;
    uint32_t first = count == 0 ? 0 : (uint32_t)ppn_random_below(&g->random, count);
    for (uint32_t i = 0; i < count && asked < ASK_OBSERVERS; i++) {
        uint16_t to = observers[(first + i) % count];
        if (to == g->self || g->slots[to].state != GOSSIP_ALIVE)
            continue;
        struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_WANT);
        if (packet == NULL)
            return;
        packet->of.want.wants[packet->of.want.count++] =
            (struct gossip_want){g->pool->nodes[subject].tag, kinds};
        gossip_packet_send(g, to, packet);
        asked++;
    }
}
