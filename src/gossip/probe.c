// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* Probing. One probe is five pings, or as many as the measured loss demands, whose spacing follows
 * the measured round trip and doubles; a lost packet is repaired inside the probe and never becomes
 * anybody's business. When the third ping goes out some of the subject's other observers are asked
 * to probe too, at the fourth all of them, so that their verdicts arrive together with one's own
 * and not one period later. */

enum {
    ASK_SOME_TRY = 3,
    ASK_ALL_TRY = 4,
    ASK_SOME = 3,
    LOST_TRIES = 2,
    RETRY_LOSSY_MS = 120,
    RANDOM_EVERY = 8, /* one probe in so many goes to a random member */
    COLD_WINDOW_MS = 1000,
    PERIOD_MS = 525, /* idle, no dearer than memberlist at the same size: tools/bench gossip */
    PERIOD_SMALL_MS = 1000,
    SMALL_MEMBERS = 8,
    HISTORY = 32,
    HISTORY_BAD = 24, /* of 32 pings lost: DEGRADED; 80 % loss shows, 40 % both ways does not */
    HISTORY_GOOD = 14,
    SILENT_PINGS = 25 /* in a row, until who loses most is missed altogether */
};

/* Lifeguard's local health: a node that has reason to doubt itself waits longer for others. */
static int64_t stretch(const struct gossip *g, int64_t ns)
{
    return ns / 4 * (4 + g->health);
}

static struct ppn_duration rto_of(const struct gossip *g, uint16_t index)
{
    const struct gossip_slot *slot = &g->slots[index];
    int64_t ns = (int64_t)GOSSIP_RTO_FIRST_MS * 1000000;
    if (slot->rtt != 0)
        ns = ((int64_t)slot->rtt + 4 * (int64_t)slot->rtt_deviation) * 32000;
    if (ns < (int64_t)GOSSIP_RTO_MIN_MS * 1000000)
        ns = (int64_t)GOSSIP_RTO_MIN_MS * 1000000;
    if (ns > (int64_t)GOSSIP_RTO_MAX_MS * 1000000)
        ns = (int64_t)GOSSIP_RTO_MAX_MS * 1000000;
    return ppn_ns(stretch(g, ns));
}

/* RFC 6298's estimator in units of 32 us. */
static void rtt_sample(struct gossip_slot *slot, struct ppn_duration rtt)
{
    int64_t sample = rtt.ns / 32000;
    sample = sample < 1 ? 1 : sample > 60000 ? 60000 : sample;
    if (slot->rtt == 0) {
        slot->rtt = (uint16_t)sample;
        slot->rtt_deviation = (uint16_t)(sample / 2);
        return;
    }
    int64_t error = sample - slot->rtt;
    int64_t smoothed = slot->rtt + error / 8;
    int64_t deviation =
        slot->rtt_deviation + ((error < 0 ? -error : error) - slot->rtt_deviation) / 4;
    slot->rtt = (uint16_t)(smoothed < 1 ? 1 : smoothed);
    slot->rtt_deviation = (uint16_t)(deviation > UINT16_MAX ? UINT16_MAX : deviation);
}

static struct gossip_probe *probe_to(struct gossip *g, uint16_t index)
{
    for (uint32_t i = 0; i < g->probe_count; i++)
        if (g->probes[i].index == index)
            return &g->probes[i];
    return NULL;
}

static void probe_remove(struct gossip *g, struct gossip_probe *probe)
{
    *probe = g->probes[--g->probe_count];
}

void gossip_probe_forget(struct gossip *g, uint16_t index)
{
    struct gossip_probe *probe = probe_to(g, index);
    if (probe != NULL)
        probe_remove(g, probe);
    for (uint32_t i = 0; i < g->probe_count; i++) {
        struct gossip_probe *other = &g->probes[i];
        uint32_t kept = 0;
        for (uint32_t j = 0; j < other->asker_count; j++)
            if (other->askers[j].index != index)
                other->askers[kept++] = other->askers[j];
        other->asker_count = kept;
    }
}

/* So many pings that a healthy subject misses them all once in some hundred probes at most. */
static uint8_t tries_for(const struct gossip *g, enum gossip_probe_kind kind)
{
    static const struct {
        uint32_t loss;
        uint8_t tries;
    } table[] = {{300000, GOSSIP_TRIES}, {400000, 7}, {500000, 9}, {600000, 12}, {700000, 16}};
    if (kind == GOSSIP_PROBE_LOST)
        return LOST_TRIES;
    for (uint32_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (g->loss < table[i].loss)
            return table[i].tries;
    return GOSSIP_TRIES_MAX;
}

/* Only probes that got an answer teach the loss: the dead lose everything and say nothing of it. */
static void loss_learn(struct gossip *g, uint32_t lost)
{
    for (uint32_t i = 0; i < lost; i++)
        g->loss += (1000000 - g->loss) / 32;
    g->loss -= g->loss / 32;
}

/* Lifeguard's buddy: whoever is accused hears it from the very ping that tests it. */
static void attach_accusations(struct gossip *g, struct gossip_packet *packet, uint16_t index)
{
    const struct gossip_case *c = gossip_case_of(g, index);
    if (c == NULL || (g->slots[index].state != GOSSIP_SUSPECT && !gossip_is_lost(&g->slots[index])))
        return;
    uint32_t attached = 0;
    for (uint32_t i = 0; i < c->count && attached < 2; i++)
        if (c->opinions[i].record != 0 && c->opinions[i].opinion != GOSSIP_OPINION_OK)
            attached += gossip_packet_item(g, packet, c->opinions[i].record);
}

static void send_try(struct gossip *g, struct ppn_instant now, struct gossip_probe *probe)
{
    PPN_ASSERT(probe->tries < probe->most);
    struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_PING);
    if (packet == NULL)
        return;
    packet->probe = probe->number + probe->tries;
    attach_accusations(g, packet, probe->index);
    gossip_packet_fill(g, packet, probe->index);
    gossip_packet_send(g, probe->index, packet);
    int64_t wait = probe->rto.ns << (probe->tries < GOSSIP_TRIES ? probe->tries : GOSSIP_TRIES);
    int64_t most = probe->most > GOSSIP_TRIES ? RETRY_LOSSY_MS : GOSSIP_RETRY_MAX_MS;
    most = stretch(g, most * 1000000);
    most = most < probe->rto.ns ? probe->rto.ns : most;
    wait = wait > most ? most : wait;
    probe->sent_us[probe->tries++] = (uint32_t)(ppn_between(probe->started, now).ns / 1000);
    probe->next = ppn_after(now, ppn_ns(wait));
    if (probe->tries < probe->most)
        return;
    probe->next = PPN_NEVER;
    bool cold = g->slots[probe->index].rtt == 0;
    int64_t window =
        stretch(g, (int64_t)(cold ? COLD_WINDOW_MS : GOSSIP_PROBE_WINDOW_MS) * 1000000);
    struct ppn_instant soonest = ppn_after(now, ppn_ns(wait / 2));
    probe->end = ppn_after(probe->started, ppn_ns(window));
    if (ppn_before(probe->end, soonest))
        probe->end = soonest;
}

static void asker_add(struct gossip_probe *probe, const struct gossip_asker *asker)
{
    if (asker == NULL)
        return;
    for (uint32_t i = 0; i < probe->asker_count; i++) {
        if (probe->askers[i].index == asker->index) {
            probe->askers[i] = *asker;
            return;
        }
    }
    if (probe->asker_count < GOSSIP_ASKERS_MAX)
        probe->askers[probe->asker_count++] = *asker;
}

void gossip_probe_start(struct gossip *g, struct ppn_instant now, uint16_t index,
                        enum gossip_probe_kind kind, const struct gossip_asker *asker)
{
    PPN_ASSERT(index != g->self && gossip_is_member(g, index));
    struct gossip_probe *probe = probe_to(g, index);
    if (probe != NULL) {
        asker_add(probe, asker);
        return;
    }
    if (g->probe_count == GOSSIP_PROBES_MAX || !g->may_send)
        return;
    probe = &g->probes[g->probe_count++];
    *probe = (struct gossip_probe){.kind = kind,
                                   .index = index,
                                   .most = tries_for(g, kind),
                                   .number = g->probe_number,
                                   .life = g->slots[index].life,
                                   .rto = rto_of(g, index),
                                   .started = now,
                                   .end = PPN_NEVER,
                                   .refused = PPN_NEVER};
    g->probe_number += GOSSIP_TRIES_MAX;
    g->counters.probes++;
    asker_add(probe, asker);
    send_try(g, now, probe);
}

/* Asks the subject's other observers, the first few or the rest. */
static void ask_fellows(struct gossip *g, struct gossip_probe *probe, bool all)
{
    uint16_t fellows[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, probe->index, fellows);
    uint32_t first = probe->fellows_asked == 0 ? 0 : ASK_SOME, end = all ? count : ASK_SOME;
    if (probe->kind == GOSSIP_PROBE_LOST || probe->fellows_asked == 2)
        return;
    probe->fellows_asked = all ? 2 : 1;
    for (uint32_t i = first; i < end && i < count; i++) {
        if (fellows[i] == g->self || g->slots[fellows[i]].state == GOSSIP_UNKNOWN)
            continue;
        struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_CHECK);
        if (packet == NULL)
            return;
        packet->probe = probe->number;
        packet->of.check.subject = g->pool->nodes[probe->index].tag;
        packet->of.check.epoch = gossip_epoch_of(g, probe->index);
        packet->of.check.incarnation = gossip_incarnation_of(g, probe->index);
        gossip_packet_send(g, fellows[i], packet);
        probe->nacks_due++;
        g->counters.checks++;
    }
}

static void tell_askers(struct gossip *g, const struct gossip_probe *probe,
                        enum gossip_outcome outcome)
{
    const struct gossip_opinion_entry *mine = gossip_opinion_by(g, probe->index, g->self);
    for (uint32_t i = 0; i < probe->asker_count; i++) {
        struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_CHECKED);
        if (packet == NULL)
            return;
        packet->probe = probe->askers[i].number;
        packet->of.check.subject = g->pool->nodes[probe->index].tag;
        packet->of.check.epoch = gossip_epoch_of(g, probe->index);
        packet->of.check.incarnation = gossip_incarnation_of(g, probe->index);
        packet->of.check.outcome = outcome;
        if (outcome != GOSSIP_OUTCOME_PENDING && mine != NULL && mine->record != 0)
            gossip_packet_item(g, packet, mine->record);
        gossip_packet_send(g, probe->askers[i].index, packet);
    }
}

static struct gossip_target *target_of(struct gossip *g, uint16_t index)
{
    for (uint32_t i = 0; i < g->target_count; i++)
        if (g->targets[i].index == index)
            return &g->targets[i];
    return NULL;
}

static uint32_t bits(uint32_t word)
{
    return (uint32_t)__builtin_popcount(word);
}

/* Adds `lost` lost pings and then, if `answered`, one that came back. */
static void history_add(struct gossip *g, uint16_t index, uint32_t lost, bool answered)
{
    struct gossip_target *target = target_of(g, index);
    if (target == NULL)
        return;
    for (uint32_t i = 0; i < lost; i++)
        target->lost = target->lost << 1 | 1;
    if (answered)
        target->lost <<= 1;
    uint32_t seen = target->seen + lost + answered;
    target->seen = (uint8_t)(seen > HISTORY ? HISTORY : seen);
}

/* Where most of those I observe lose my pings, it is not they that are bad. */
static bool bad_everywhere(const struct gossip *g)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < g->target_count; i++)
        bad += bits(g->targets[i].lost) >= HISTORY_GOOD;
    return 2 * bad > g->target_count;
}

/* Whether it loses most of my pings, with some inertia both ways. A member that was lost meanwhile
 * has a fresh history here, which is no better than what this node said of it before: one answer
 * proves no link good. */
static bool degraded(struct gossip *g, uint16_t index)
{
    const struct gossip_opinion_entry *mine = gossip_opinion_by(g, index, g->self);
    bool said = mine != NULL && mine->opinion == GOSSIP_OPINION_DEGRADED;
    struct gossip_target *target = target_of(g, index);
    if (target == NULL)
        return said;
    if (bad_everywhere(g))
        target->degraded = false;
    else if (bits(target->lost) >= HISTORY_BAD)
        target->degraded = true;
    else if (bits(target->lost) < HISTORY_GOOD)
        target->degraded = said && target->seen < HISTORY;
    return target->degraded;
}

/* What an answer means for my opinion of the one who answered. */
static void answer_judge(struct gossip *g, struct ppn_instant now, uint16_t index)
{
    bool bad = degraded(g, index);
    gossip_path_set(g, index, bad);
    gossip_opine(g, now, index, bad ? GOSSIP_OPINION_DEGRADED : GOSSIP_OPINION_OK);
}

void gossip_probe_acked(struct gossip *g, struct ppn_instant now, uint16_t index, uint32_t number)
{
    struct gossip_probe *probe = probe_to(g, index);
    if (probe == NULL)
        return;
    uint32_t try = number - probe->number;
    bool former = probe->former != 0 && number - probe->former < GOSSIP_TRIES_MAX;
    if (try >= probe->tries && !former)
        return;
    struct gossip_probe done = *probe;
    probe_remove(g, probe);
    if (!former) {
        struct ppn_duration since = ppn_between(done.started, now);
        rtt_sample(&g->slots[index], ppn_ns(since.ns - (int64_t)done.sent_us[try] * 1000));
        loss_learn(g, try);
        history_add(g, index, try, true);
    }
    g->acked = now;
    g->failed_since_ack = 0;
    if (g->health > 0 && done.kind == GOSSIP_PROBE_RING)
        g->health--;
    struct gossip_slot *slot = &g->slots[index];
    if (gossip_is_lost(slot)) {
        gossip_case_refuted(g, now, index, true, false);
        gossip_case_returned(g, now, index);
        gossip_probe_heal(g, now);
    }
    answer_judge(g, now, index);
    tell_askers(g, &done, GOSSIP_OUTCOME_REACHED);
}

/* Failures come together (a switch, a partition): having seen one, look at all of mine at once. */
static void burst(struct gossip *g, struct ppn_instant now)
{
    if (!ppn_due(g->burst_next, now))
        return;
    g->burst_next = ppn_after(now, ppn_ms(GOSSIP_BURST_EVERY_MS));
    for (uint32_t i = 0; i < g->target_count; i++)
        gossip_probe_start(g, now, g->targets[i].index, GOSSIP_PROBE_RING, NULL);
}

/* One silent probe is no news of a member known to lose most pings; several in a row are. Saying
 * "gone" and taking it back each time would flood everybody for nothing. */
static bool merely_degraded(struct gossip *g, const struct gossip_probe *probe)
{
    const uint32_t silent = (1u << SILENT_PINGS) - 1;
    const struct gossip_opinion_entry *mine = gossip_opinion_by(g, probe->index, g->self);
    const struct gossip_target *target = target_of(g, probe->index);
    if (mine == NULL || mine->opinion != GOSSIP_OPINION_DEGRADED || target == NULL)
        return false;
    return (target->lost & silent) != silent;
}

static void probe_fail(struct gossip *g, struct ppn_instant now, struct gossip_probe *probe)
{
    struct gossip_probe done = *probe;
    probe_remove(g, probe);
    g->counters.probes_failed++;
    /* It spoke meanwhile, or others took it back: this silence is older than that. */
    if (done.life != g->slots[done.index].life ||
        (done.kind == GOSSIP_PROBE_LOST && !gossip_is_lost(&g->slots[done.index])))
        return;
    if (done.kind == GOSSIP_PROBE_LOST) {
        /* Whoever observes it now says so too: the proof must not die with those who gave it. */
        gossip_opine(g, now, done.index, GOSSIP_OPINION_NO_ANSWER);
        return;
    }
    history_add(g, done.index, done.tries, false);
    if (done.nacks_due > 0 && g->health < GOSSIP_HEALTH_MAX && done.kind == GOSSIP_PROBE_RING)
        g->health++;
    g->failed_since_ack++;
    if (done.kind == GOSSIP_PROBE_RANDOM) {
        ask_fellows(g, &done, true);
        return;
    }
    if (done.reached_by_fellow) {
        gossip_path_set(g, done.index, true);
        if (degraded(g, done.index))
            gossip_opine(g, now, done.index, GOSSIP_OPINION_DEGRADED);
        tell_askers(g, &done, GOSSIP_OUTCOME_FAILED);
        return;
    }
    /* Who was asked without being an observer only says what it saw: nobody would weigh its
     * opinion, and so nobody would answer it. */
    bool mine_to_say = done.kind == GOSSIP_PROBE_RING || gossip_is_target(g, done.index);
    bool merely = merely_degraded(g, &done);
    if (mine_to_say && !merely)
        gossip_opine(g, now, done.index, GOSSIP_OPINION_NO_ANSWER);
    tell_askers(g, &done, GOSSIP_OUTCOME_FAILED);
    if (merely)
        gossip_probe_start(g, now, done.index, GOSSIP_PROBE_CHECK, NULL);
    burst(g, now);
}

void gossip_probe_checked(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet)
{
    uint16_t subject = gossip_pool_node_find(g->pool, packet->of.check.subject);
    if (subject == POOL_INDEX_NONE || !gossip_is_member(g, subject))
        return;
    if (packet->of.check.outcome == GOSSIP_OUTCOME_REACHED)
        gossip_opinion_heard(g, now, from, subject);
    struct gossip_probe *probe = probe_to(g, subject);
    bool former = probe != NULL && probe->former != 0 && packet->probe == probe->former;
    if (probe == NULL || (packet->probe != probe->number && !former) ||
        !gossip_may_observe(g, from, subject))
        return;
    if (probe->nacks_due > 0)
        probe->nacks_due--;
    if (packet->of.check.outcome != GOSSIP_OUTCOME_REACHED)
        return;
    probe->reached_by_fellow = true;
}

/* A refusal comes from the subject's own kernel through the mesh, so it is as good as an answer:
 * the machine lives and nobody listens. Asked twice, because a restart takes a moment. */
void gossip_probe_refused(struct gossip *g, struct ppn_instant now, uint16_t index)
{
    struct gossip_probe *probe = probe_to(g, index);
    if (g->slots[index].state == GOSSIP_DEAD && g->slots[index].cause == GOSSIP_CAUSE_REFUSED)
        return;
    if (probe == NULL) {
        gossip_probe_start(g, now, index, GOSSIP_PROBE_CHECK, NULL);
        probe = probe_to(g, index);
        if (probe == NULL)
            return;
    }
    if (probe->refused.ns == PPN_NEVER.ns) {
        struct ppn_instant again = ppn_after(now, ppn_ms(GOSSIP_REFUSED_AGAIN_MS));
        probe->refused = now;
        if (probe->tries < probe->most)
            probe->next = again;
        ask_fellows(g, probe, true);
        return;
    }
    if (ppn_between(probe->refused, now).ns < ppn_ms(GOSSIP_REFUSED_AGAIN_MS / 2).ns)
        return;
    struct gossip_probe done = *probe;
    probe_remove(g, probe);
    gossip_opine(g, now, index, GOSSIP_OPINION_REFUSED);
    tell_askers(g, &done, GOSSIP_OUTCOME_REFUSED);
}

/* An answer to a ping of before still counts. */
static void start_afresh(struct gossip *g, struct ppn_instant now, struct gossip_probe *probe)
{
    probe->former = probe->number;
    probe->number = g->probe_number;
    g->probe_number += GOSSIP_TRIES_MAX;
    probe->tries = 0;
    probe->started = now;
    probe->next = now;
    probe->end = PPN_NEVER;
    probe->nacks_due = 0;
}

void gossip_probe_void(struct gossip *g, struct ppn_instant now)
{
    for (uint32_t i = 0; i < g->probe_count; i++)
        start_afresh(g, now, &g->probes[i]);
    if (g->health < GOSSIP_HEALTH_MAX)
        g->health++;
}

void gossip_probe_heal(struct gossip *g, struct ppn_instant now)
{
    if (!ppn_due(g->heal_next, now))
        return;
    g->heal_next = ppn_after(now, ppn_ms(GOSSIP_SYNC_EVERY_MS));
    for (uint32_t i = 0; i < g->lost_count; i++)
        g->lost[i].next = now;
    g->lost_next = g->lost_count > 0 ? now : PPN_NEVER;
    for (uint32_t i = 0; i < g->probe_count; i++)
        if (g->probes[i].kind == GOSSIP_PROBE_LOST)
            start_afresh(g, now, &g->probes[i]);
    g->sync_next = now;
    g->differs_since = ppn_after(now, ppn_ms(-GOSSIP_SYNC_PATIENCE_MS));
}

static struct ppn_instant nack_at(const struct gossip_probe *probe)
{
    if (probe->asker_count == 0 || probe->nacked)
        return PPN_NEVER;
    return ppn_after(probe->started, ppn_ms(GOSSIP_PROBE_WINDOW_MS * 3 / 5));
}

static void probe_run(struct gossip *g, struct ppn_instant now, struct gossip_probe *probe)
{
    if (ppn_due(nack_at(probe), now)) {
        probe->nacked = true;
        tell_askers(g, probe, GOSSIP_OUTCOME_PENDING);
    }
    if (ppn_due(probe->next, now)) {
        /* Who is asked does not ask on, or each death would be asked about by all of all. But one
         * that others reach and this node does not would be called gone by those who were asked. */
        bool cut = probe->kind == GOSSIP_PROBE_CHECK &&
                   (g->slots[probe->index].flags & SLOT_PATH_DEGRADED) != 0;
        send_try(g, now, probe);
        if ((probe->kind != GOSSIP_PROBE_CHECK || cut) && probe->tries == ASK_SOME_TRY)
            ask_fellows(g, probe, false);
        if ((probe->kind == GOSSIP_PROBE_RING || cut) && probe->tries == ASK_ALL_TRY)
            ask_fellows(g, probe, true);
    }
}

static void probe_choose(struct gossip *g, struct ppn_instant now)
{
    uint32_t others =
        g->states[GOSSIP_UNKNOWN] + g->states[GOSSIP_ALIVE] + g->states[GOSSIP_SUSPECT];
    int64_t period = g->config.probe_period.ns;
    if (period == 0)
        period = ppn_ms(others <= SMALL_MEMBERS ? PERIOD_SMALL_MS : PERIOD_MS).ns;
    period = stretch(g, period);
    period += (int64_t)ppn_random_below(&g->random, (uint64_t)(period / 5)) - period / 10;
    g->probe_next = ppn_after(now, ppn_ns(period));
    if (++g->probe_turn % RANDOM_EVERY == 0 && others > g->target_count + 1) {
        uint16_t index = gossip_random_member(g, false);
        if (index != POOL_INDEX_NONE) {
            gossip_probe_start(g, now, index, GOSSIP_PROBE_RANDOM, NULL);
            return;
        }
    }
    for (uint32_t i = 0; i < g->target_count; i++) {
        uint16_t index = g->targets[g->target_next++ % g->target_count].index;
        if (probe_to(g, index) != NULL)
            continue;
        gossip_probe_start(g, now, index, GOSSIP_PROBE_RING, NULL);
        return;
    }
}

/* Lost members are retried for ever: often at first, because most partitions are short, then every
 * ten seconds. */
static void lost_tick(struct gossip *g, struct ppn_instant now)
{
    g->lost_next = PPN_NEVER;
    for (uint32_t i = 0; i < g->lost_count; i++) {
        struct gossip_lost *lost = &g->lost[i];
        if (ppn_due(lost->next, now)) {
            struct ppn_instant since = gossip_fine(g, g->slots[lost->index].since);
            int64_t wait = ppn_between(since, now).ns / 32;
            int64_t least = ppn_ms(GOSSIP_RETRY_LOST_MIN_MS).ns;
            int64_t most = ppn_ms(GOSSIP_RETRY_LOST_MAX_MS).ns;
            wait = wait < least ? least : wait > most ? most : wait;
            wait += (int64_t)ppn_random_below(&g->random, (uint64_t)(wait / 4)) - wait / 8;
            lost->next = ppn_after(now, ppn_ns(wait));
            gossip_probe_start(g, now, lost->index, GOSSIP_PROBE_LOST, NULL);
        }
        g->lost_next = ppn_earlier(g->lost_next, lost->next);
    }
}

void gossip_probe_tick(struct gossip *g, struct ppn_instant now)
{
    for (uint32_t i = 0; i < g->probe_count;) {
        struct gossip_probe *probe = &g->probes[i];
        uint16_t index = probe->index;
        if (ppn_due(probe->end, now))
            probe_fail(g, now, probe);
        else
            probe_run(g, now, probe);
        i += i < g->probe_count && g->probes[i].index == index;
    }
    if (ppn_due(g->probe_next, now))
        probe_choose(g, now);
    if (ppn_due(g->lost_next, now))
        lost_tick(g, now);
}

struct ppn_instant gossip_probe_deadline(const struct gossip *g)
{
    struct ppn_instant deadline = ppn_earlier(g->probe_next, g->lost_next);
    for (uint32_t i = 0; i < g->probe_count; i++) {
        const struct gossip_probe *probe = &g->probes[i];
        deadline = ppn_earlier(deadline, ppn_earlier(probe->next, probe->end));
        deadline = ppn_earlier(deadline, nack_at(probe));
    }
    return deadline;
}
