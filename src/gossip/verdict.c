// SPDX-License-Identifier: ISC
#include "base/assert.h"
#include "gossip/internal.h"

/* Opinions and what follows from them. Every observer signs what its own probes say of a subject,
 * one opinion at a time (a later one of the same observer replaces it). A member's state is
 * computed by each node for itself from the opinions it holds; there is no message that says
 * "dead".
 *
 * With `live` observers to be heard, SUSPECT takes about three eighths of them, at least two, who
 * hear nothing, or more than half who say that the link is bad: a few pairs that do not reach each
 * other are nobody's fault, and may stay like that for good. DEAD takes three quarters, and
 * GOSSIP_REFUTE_MS in which the subject could have answered. The quorums are Rapid's watermarks L
 * and H scaled to the observers that are there. Where the others say nothing at all for
 * GOSSIP_LONE_MS, only those who spoke count, but for bad links: with two nodes, or behind a broken
 * switch, nobody else ever will. A side that does not hold a majority says UNREACHABLE instead of
 * DEAD. */

enum { HEALTH_POOR = 6, JUDGE_AGAIN_MS = 1000, ACCUSE_AGAIN_MS = 10000, TELLERS = 8 };

struct tally {
    uint32_t live, failing, refused, degraded, oks;
    uint32_t observers; /* `live`, and those who say nothing for however long */
    struct ppn_instant next;
};

static uint32_t suspect_quorum(uint32_t live)
{
    uint32_t share = (3 * live + 7) / 8;
    return live <= 1 ? 1 : share < 2 ? 2 : share;
}

static uint32_t dead_quorum(uint32_t live)
{
    return live <= 1 ? 1 : (3 * live + 3) / 4;
}

static bool suspicious(const struct tally *tally)
{
    uint32_t failing = tally->failing + tally->refused, accusers = failing + tally->degraded;
    return accusers > 0 && accusers >= suspect_quorum(tally->live) &&
           (failing >= suspect_quorum(tally->live) || 2 * accusers > tally->observers);
}

static void publish(struct gossip *g, struct ppn_instant now, struct gossip_case *c)
{
    /* Alone with nobody answering, the fault is more likely here: judge, but do not shout. */
    if (c->published || gossip_isolated(g, now))
        return;
    c->published = true;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->opinions[i].record != 0)
            gossip_queue_add(g, now, c->subject, GOSSIP_ITEM_VERDICT, c->opinions[i].accuser);
}

/* Straight to the subject too: it has only a moment to object. Its observers may know better and
 * say nothing, while somebody who was away brings an accusation that was taken back meanwhile; so a
 * few of the others tell it, as many as make it probable that one does. */
static void tell_subject(struct gossip *g, const struct gossip_case *c)
{
    if (gossip_opinion_by(g, c->subject, g->self) == NULL &&
        ppn_random_below(&g->random, g->members) >= TELLERS)
        return;
    struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_NEWS);
    if (packet == NULL)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->opinions[i].record != 0 && c->opinions[i].opinion != GOSSIP_OPINION_OK)
            gossip_packet_item(g, packet, c->opinions[i].record);
    if (packet->item_count > 0)
        gossip_packet_send(g, c->subject, packet);
}

bool gossip_isolated(const struct gossip *g, struct ppn_instant now)
{
    return g->failed_since_ack >= 3 &&
           ppn_between(g->acked, now).ns > ppn_ms(GOSSIP_ISOLATED_MS).ns;
}

static bool accuser_counts(const struct gossip *g, const struct gossip_case *c,
                           const struct gossip_opinion_entry *entry, bool lone)
{
    if (entry->accuser == g->self)
        return true;
    if (!gossip_is_member(g, entry->accuser) || g->slots[entry->accuser].state != GOSSIP_ALIVE)
        return gossip_is_lost(&g->slots[c->subject]);
    return lone || entry->health < HEALTH_POOR;
}

static struct tally take(struct gossip *g, struct ppn_instant now, struct gossip_case *c)
{
    struct tally tally = {.next = PPN_NEVER};
    bool lone =
        c->first.ns != PPN_NEVER.ns && ppn_between(c->first, now).ns >= ppn_ms(GOSSIP_LONE_MS).ns;
    for (uint32_t i = 0; i < c->count;) {
        const struct gossip_opinion_entry *entry = &c->opinions[i];
        struct ppn_instant end = gossip_opinion_end(g, c, entry);
        if (ppn_due(end, now)) {
            (void)gossip_opinion_withdraw(g, now, c, i);
            continue;
        }
        tally.next = ppn_earlier(tally.next, end);
        i++;
        if (!accuser_counts(g, c, entry, lone))
            continue;
        tally.failing += entry->opinion == GOSSIP_OPINION_NO_ANSWER;
        tally.refused += entry->opinion == GOSSIP_OPINION_REFUSED;
        tally.degraded += entry->opinion == GOSSIP_OPINION_DEGRADED;
        tally.oks += entry->opinion == GOSSIP_OPINION_OK;
    }
    /* Observing it and having nothing to say against it is an opinion too. */
    const struct gossip_opinion_entry *mine = gossip_opinion_by(g, c->subject, g->self);
    if (mine == NULL && gossip_is_target(g, c->subject))
        tally.oks++;
    uint32_t accusers = tally.failing + tally.refused + tally.degraded;
    uint32_t said = accusers + tally.oks;
    /* One other's word with nothing from anybody else is hearsay: it may have been taken back in a
     * packet that never came. */
    bool enough = accusers >= 2 || (mine != NULL && mine->opinion != GOSSIP_OPINION_OK);
    uint32_t there = gossip_observers_live(g, c->subject);
    uint32_t awaited = lone && enough ? 0 : !enough && there < 2 ? 2 : there;
    tally.live = said > awaited ? said : awaited;
    tally.observers = tally.live > there ? tally.live : there;
    if (accusers == 0)
        c->first = PPN_NEVER;
    else if (c->first.ns == PPN_NEVER.ns)
        c->first = now;
    if (accusers > 0 && !lone)
        tally.next = ppn_earlier(tally.next, ppn_after(c->first, ppn_ms(GOSSIP_LONE_MS)));
    return tally;
}

/* While members keep falling it is not yet clear which side of what this is: wait for the dust. */
static struct ppn_instant settled(const struct gossip *g, const struct gossip_case *c)
{
    struct ppn_instant window = ppn_after(c->suspected, ppn_ms(GOSSIP_REFUTE_MS));
    window = ppn_before(window, g->caught_up) ? g->caught_up : window;
    if (g->states[GOSSIP_SUSPECT] < 2)
        return window;
    struct ppn_instant quiet = ppn_after(g->suspected_last, ppn_ms(GOSSIP_SETTLE_MS));
    struct ppn_instant most = ppn_after(c->suspected, ppn_ms(GOSSIP_SETTLE_MAX_MS));
    quiet = ppn_earlier(quiet, most);
    return ppn_before(window, quiet) ? quiet : window;
}

/* A few voices out of many never say DEAD, except of a host that answered for its agent. */
static bool enough_voices(const struct gossip *g, const struct gossip_case *c,
                          const struct tally *tally)
{
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, c->subject, observers);
    uint32_t voices = tally->failing + tally->refused;
    return voices >= 2 && 2 * voices >= count;
}

static void condemn(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                    const struct tally *tally, enum gossip_cause cause)
{
    bool whole = gossip_majority(g, now);
    bool certain = cause == GOSSIP_CAUSE_REFUSED || (enough_voices(g, c, tally) && whole);
    publish(g, now, c);
    /* Lost by too few voices on a side that is whole: the others did not come this way. */
    if (!certain && whole)
        gossip_ask_observers(g, c->subject, GOSSIP_WANT_VERDICT);
    gossip_state_set(g, now, c->subject, certain ? GOSSIP_DEAD : GOSSIP_UNREACHABLE, cause);
}

/* True when refusals alone decide it. */
static bool judge_refused(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                          struct tally *tally)
{
    uint32_t wanted = tally->live < 2 ? 1 : 2;
    bool mine = false;
    for (uint32_t i = 0; i < c->count; i++)
        mine = mine || (c->opinions[i].accuser == g->self &&
                        c->opinions[i].opinion == GOSSIP_OPINION_REFUSED);
    if (tally->refused < wanted && !mine) {
        c->refused = PPN_NEVER;
        return false;
    }
    publish(g, now, c);
    if (c->refused.ns == PPN_NEVER.ns) {
        c->refused = now;
        tell_subject(g, c);
    }
    struct ppn_instant end = ppn_after(c->refused, ppn_ms(GOSSIP_REFUSED_WINDOW_MS));
    end = ppn_before(end, g->caught_up) ? g->caught_up : end;
    if (!ppn_due(end, now)) {
        tally->next = ppn_earlier(tally->next, end);
        return false;
    }
    condemn(g, now, c, tally, GOSSIP_CAUSE_REFUSED);
    return true;
}

static void judge_living(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                         struct tally *tally)
{
    struct gossip_slot *slot = &g->slots[c->subject];
    uint32_t failing = tally->failing + tally->refused;
    bool held = ppn_before(now, c->held);
    if (held)
        tally->next = ppn_earlier(tally->next, c->held);
    if (judge_refused(g, now, c, tally))
        return;
    if (!suspicious(tally)) {
        c->suspected = PPN_NEVER;
        if (held && slot->state != GOSSIP_UNKNOWN)
            gossip_state_set(g, now, c->subject, GOSSIP_SUSPECT, GOSSIP_CAUSE_DEGRADED);
        else if (slot->state == GOSSIP_SUSPECT)
            gossip_state_set(g, now, c->subject, GOSSIP_ALIVE, GOSSIP_CAUSE_NONE);
        return;
    }
    if (c->suspected.ns == PPN_NEVER.ns) {
        c->suspected = now;
        tell_subject(g, c);
        if (ppn_before(now, g->caught_up))
            gossip_ask_observers(g, c->subject, GOSSIP_WANT_LIFE | GOSSIP_WANT_VERDICT);
    }
    publish(g, now, c);
    enum gossip_cause cause = tally->refused > 0   ? GOSSIP_CAUSE_REFUSED
                              : tally->failing > 0 ? GOSSIP_CAUSE_NO_ANSWER
                                                   : GOSSIP_CAUSE_DEGRADED;
    gossip_state_set(g, now, c->subject, GOSSIP_SUSPECT, cause);
    if (failing < dead_quorum(tally->live))
        return;
    struct ppn_instant end = settled(g, c);
    if (ppn_due(end, now))
        condemn(g, now, c, tally, GOSSIP_CAUSE_NO_ANSWER);
    else
        tally->next = ppn_earlier(tally->next, end);
}

/* A member that is lost already may still be seen more clearly. */
static void judge_lost(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                       struct tally *tally)
{
    const struct gossip_slot *slot = &g->slots[c->subject];
    if (slot->cause != GOSSIP_CAUSE_REFUSED && judge_refused(g, now, c, tally))
        return;
    if (ppn_before(now, g->caught_up)) {
        tally->next = ppn_earlier(tally->next, g->caught_up);
        return;
    }
    if (slot->state == GOSSIP_UNREACHABLE &&
        tally->failing + tally->refused >= dead_quorum(tally->live) && enough_voices(g, c, tally) &&
        gossip_majority(g, now))
        gossip_state_set(g, now, c->subject, GOSSIP_DEAD, (enum gossip_cause)slot->cause);
}

/* False when the case is closed and gone. */
static bool judge(struct gossip *g, struct ppn_instant now, struct gossip_case *c)
{
    struct gossip_slot *slot = &g->slots[c->subject];
    struct tally tally = take(g, now, c);
    if (slot->state == GOSSIP_LEFT) {
        gossip_case_drop(g, c->subject);
        return false;
    }
    bool lost = gossip_is_lost(slot);
    if (lost)
        judge_lost(g, now, c, &tally);
    else
        judge_living(g, now, c, &tally);
    struct ppn_instant remembered = ppn_after(c->flapped, ppn_ms(GOSSIP_FLAP_MEMORY_MS));
    bool flapping = c->flaps > 0 && ppn_before(now, remembered);
    if (flapping)
        tally.next = ppn_earlier(tally.next, remembered);
    if (c->count == 0 && !flapping && !gossip_is_lost(slot) && slot->state != GOSSIP_SUSPECT) {
        gossip_case_drop(g, c->subject);
        return false;
    }
    /* Who counts as alive changes meanwhile, so look again now and then; and whoever accuses owes
     * the subject another try soon. */
    if (!lost && c->first.ns != PPN_NEVER.ns) {
        tally.next = ppn_earlier(tally.next, ppn_after(now, ppn_ms(JUDGE_AGAIN_MS)));
        const struct gossip_opinion_entry *mine = gossip_opinion_by(g, c->subject, g->self);
        if (mine != NULL && mine->opinion == GOSSIP_OPINION_NO_ANSWER &&
            ppn_between(mine->heard, now).ns >= ppn_ms(JUDGE_AGAIN_MS / 2).ns)
            gossip_probe_start(g, now, c->subject, GOSSIP_PROBE_CHECK, NULL);
    }
    c->next = ppn_before(now, tally.next) ? tally.next : ppn_after(now, ppn_ms(1));
    g->case_next = ppn_earlier(g->case_next, c->next);
    return true;
}

void gossip_case_tick(struct gossip *g, struct ppn_instant now)
{
    if (!ppn_due(g->case_next, now))
        return;
    g->case_next = PPN_NEVER;
    for (uint32_t i = 0; i < g->case_count;) {
        struct gossip_case *c = &g->cases[i];
        if (ppn_due(c->next, now) && !judge(g, now, c))
            continue;
        g->case_next = ppn_earlier(g->case_next, g->cases[i].next);
        i++;
    }
}

/* Local evidence that a late tick or a sleep makes doubtful gets its time again. Whoever was away
 * for a whole window was sent no news meanwhile, objections among it: nobody is condemned before
 * the observers of those in question and anti-entropy had time to bring what was missed. */
void gossip_case_void(struct gossip *g, struct ppn_instant now, struct ppn_duration late)
{
    for (uint32_t i = 0; i < g->case_count; i++) {
        struct gossip_case *c = &g->cases[i];
        c->suspected = ppn_after(c->suspected, late);
        c->refused = ppn_after(c->refused, late);
        c->first = ppn_after(c->first, late);
    }
    if (late.ns < ppn_ms(GOSSIP_REFUTE_MS).ns)
        return;
    for (uint32_t i = 0; i < g->case_count; i++)
        if (g->cases[i].suspected.ns != PPN_NEVER.ns &&
            !gossip_is_lost(&g->slots[g->cases[i].subject]))
            gossip_ask_observers(g, g->cases[i].subject, GOSSIP_WANT_LIFE | GOSSIP_WANT_VERDICT);
    g->caught_up = ppn_after(now, ppn_ms(GOSSIP_CATCH_UP_MS));
    g->sync_next = now;
    g->differs_since = ppn_after(now, ppn_ms(-GOSSIP_SYNC_PATIENCE_MS));
}

/* The subject spoke under a higher incarnation, or answered: that it was silent is void. Under a
 * higher epoch it began anew, and so does what is said of it: verdicts bind an epoch. */
void gossip_case_refuted(struct gossip *g, struct ppn_instant now, uint16_t subject, bool was_lost,
                         bool anew)
{
    struct gossip_slot *slot = &g->slots[subject];
    bool died = was_lost && slot->state == GOSSIP_DEAD && slot->cause == GOSSIP_CAUSE_NO_ANSWER &&
                !gossip_lost_in_crowd(g, gossip_fine(g, slot->since));
    struct gossip_case *c = died ? gossip_case_open(g, subject) : gossip_case_of(g, subject);
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->count;) {
        if (anew)
            gossip_opinion_remove(g, c, i);
        else
            i += c->opinions[i].opinion == GOSSIP_OPINION_DEGRADED ||
                 gossip_opinion_withdraw(g, now, c, i);
    }
    c->first = PPN_NEVER;
    c->suspected = PPN_NEVER;
    c->refused = PPN_NEVER;
    c->published = false;
    /* A member that dies and returns again and again is kept out of placement for a while: one that
     * a broken link shows and hides must not be handed work each time it shows. */
    if (died) {
        bool again = ppn_before(now, ppn_after(c->flapped, ppn_ms(GOSSIP_FLAP_MEMORY_MS)));
        c->flaps = (uint8_t)(again && c->flaps < 5 ? c->flaps + 1 : again ? c->flaps : 1);
        c->flapped = now;
        if (c->flaps >= 2)
            c->held = ppn_after(now, ppn_ms((int64_t)GOSSIP_FLAP_HOLD_MS << (c->flaps - 2)));
    }
    c->next = now;
    g->case_next = ppn_earlier(g->case_next, now);
}

/* The state of one that showed itself: what was said of its link stands. */
void gossip_case_returned(struct gossip *g, struct ppn_instant now, uint16_t subject)
{
    struct gossip_case *c = gossip_case_of(g, subject);
    bool bad = false;
    if (c != NULL) {
        struct tally tally = take(g, now, c);
        bad = ppn_before(now, c->held) || suspicious(&tally);
    }
    gossip_state_set(g, now, subject, bad ? GOSSIP_SUSPECT : GOSSIP_ALIVE,
                     bad ? GOSSIP_CAUSE_DEGRADED : GOSSIP_CAUSE_NONE);
}

static bool too_early(const struct gossip *g, struct ppn_instant now, uint16_t subject)
{
    const struct gossip_slot *slot = &g->slots[subject];
    if (slot->state != GOSSIP_UNKNOWN)
        return false;
    int64_t grace = slot->life == 0 ? GOSSIP_GRACE_NEW_MS : GOSSIP_GRACE_RESTORED_MS;
    struct ppn_instant since = gossip_fine(g, slot->since);
    since = ppn_before(since, g->started_at) ? g->started_at : since;
    return ppn_between(since, now).ns < ppn_ms(grace).ns;
}

/* Whether saying `opinion` (again) would tell anybody anything. */
static bool worth_saying(struct gossip *g, struct ppn_instant now, uint16_t subject,
                         enum gossip_opinion opinion)
{
    const struct gossip_opinion_entry *mine = gossip_opinion_by(g, subject, g->self);
    const struct gossip_case *c = gossip_case_of(g, subject);
    if (g->slots[subject].state == GOSSIP_LEFT || subject == g->self)
        return false;
    if (opinion == GOSSIP_OPINION_OK)
        return (mine != NULL && mine->opinion != GOSSIP_OPINION_OK) ||
               (mine == NULL && c != NULL && c->published && c->first.ns != PPN_NEVER.ns);
    if (too_early(g, now, subject))
        return false;
    if (mine == NULL || mine->opinion != opinion)
        return !(mine != NULL && mine->opinion == GOSSIP_OPINION_REFUSED &&
                 opinion == GOSSIP_OPINION_NO_ANSWER && gossip_is_lost(&g->slots[subject]));
    if (gossip_is_lost(&g->slots[subject]))
        return false;
    int64_t again = opinion == GOSSIP_OPINION_DEGRADED ? GOSSIP_DEGRADED_AGAIN_MS : ACCUSE_AGAIN_MS;
    return ppn_between(mine->heard, now).ns >= ppn_ms(again).ns;
}

static uint32_t verdict_make(struct gossip *g, uint16_t subject, enum gossip_opinion opinion)
{
    uint8_t bytes[GOSSIP_VERDICT_SIZE];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    gossip_item_write(
        &writer, &(struct gossip_item){.kind = GOSSIP_ITEM_VERDICT,
                                       .author = g->pool->nodes[g->self].tag,
                                       .epoch = g->epoch,
                                       .sequence = ++g->verdict_sequence,
                                       .subject = g->pool->nodes[subject].tag,
                                       .subject_epoch = gossip_epoch_of(g, subject),
                                       .subject_incarnation = gossip_incarnation_of(g, subject),
                                       .opinion = opinion,
                                       .health = g->health});
    return gossip_sign_item(g, &writer);
}

void gossip_opine(struct gossip *g, struct ppn_instant now, uint16_t subject,
                  enum gossip_opinion opinion)
{
    if (!g->may_send || !worth_saying(g, now, subject, opinion))
        return;
    struct gossip_case *c = gossip_case_open(g, subject);
    uint32_t record = c == NULL ? 0 : verdict_make(g, subject, opinion);
    if (record == 0)
        return;
    struct gossip_opinion_entry entry = {
        .accuser = g->self, .opinion = (uint8_t)opinion, .record = record, .heard = now};
    gossip_opinion_place(g, c, &entry);
    if (c->published || opinion == GOSSIP_OPINION_REFUSED || gossip_is_lost(&g->slots[subject]))
        gossip_queue_add(g, now, subject, GOSSIP_ITEM_VERDICT, g->self);
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, subject, observers);
    for (uint32_t i = 0; i < count; i++) {
        if (observers[i] == g->self || gossip_is_lost(&g->slots[subject]))
            continue;
        struct gossip_packet *packet = gossip_packet_begin(g, GOSSIP_NEWS);
        if (packet == NULL || !gossip_packet_item(g, packet, record))
            break;
        gossip_packet_send(g, observers[i], packet);
    }
    judge(g, now, c);
}

/* An observer that I asked says it reaches the subject. Unsigned, so it counts only here. */
void gossip_opinion_heard(struct gossip *g, struct ppn_instant now, uint16_t from, uint16_t subject)
{
    struct gossip_case *c = gossip_case_of(g, subject);
    const struct gossip_opinion_entry *said = gossip_opinion_by(g, subject, from);
    if (c == NULL || (said != NULL && said->record != 0) || !gossip_may_observe(g, from, subject))
        return;
    struct gossip_opinion_entry entry = {
        .accuser = from, .opinion = GOSSIP_OPINION_OK, .record = 0, .heard = now};
    gossip_opinion_place(g, c, &entry);
}

/* An accusation binds an incarnation: older ones are void, and nobody may accuse one that its
 * subject has not signed yet. */
static bool verdict_binds(const struct gossip *g, uint16_t subject, const struct gossip_item *item)
{
    if (item->subject_epoch != gossip_epoch_of(g, subject))
        return false;
    if (item->opinion == GOSSIP_OPINION_DEGRADED || item->opinion == GOSSIP_OPINION_OK)
        return item->subject_incarnation <= gossip_incarnation_of(g, subject);
    return item->subject_incarnation == gossip_incarnation_of(g, subject);
}

void gossip_verdict_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                            const struct gossip_item *item)
{
    uint16_t accuser = gossip_pool_node_find(g->pool, item->author);
    uint16_t subject = gossip_pool_node_find(g->pool, item->subject);
    if (accuser == POOL_INDEX_NONE || subject == POOL_INDEX_NONE || accuser == g->self ||
        !gossip_is_member(g, accuser) || !gossip_is_member(g, subject) ||
        g->slots[subject].state == GOSSIP_LEFT || !verdict_binds(g, subject, item) ||
        !gossip_may_observe(g, accuser, subject))
        return;
    const struct gossip_opinion_entry *said = gossip_opinion_by(g, subject, accuser);
    if (said != NULL && said->record != 0) {
        const struct pool_record *old = pool_record(g->pool, said->record);
        if (item->epoch < old->epoch ||
            (item->epoch == old->epoch && item->sequence <= old->sequence))
            return;
    }
    uint32_t record;
    if (!gossip_item_verify(g, from, item, accuser, &record))
        return;
    if (subject == g->self) {
        if (item->opinion != GOSSIP_OPINION_OK && item->opinion != GOSSIP_OPINION_DEGRADED)
            gossip_self_accused(g, now, accuser);
        gossip_pool_record_release(g->pool, record);
        return;
    }
    struct gossip_case *c = gossip_case_open(g, subject);
    if (c == NULL) {
        gossip_pool_record_release(g->pool, record);
        return;
    }
    struct gossip_opinion_entry entry = {.accuser = accuser,
                                         .opinion = (uint8_t)item->opinion,
                                         .health = item->health,
                                         .record = record,
                                         .heard = now};
    gossip_opinion_place(g, c, &entry);
    /* Coming from a third, it is out in the open, and so must be what speaks against it. */
    if (from != accuser && item->opinion != GOSSIP_OPINION_OK)
        c->published = true;
    if (c->published)
        gossip_queue_add(g, now, subject, GOSSIP_ITEM_VERDICT, accuser);
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(g, subject, observers);
    bool lost = gossip_is_lost(&g->slots[subject]);
    /* Whoever accuses hears from the others what they find; number 0 is of no probe. */
    struct gossip_asker asker = {accuser, 0};
    for (uint32_t i = 0; i < count && !lost && item->opinion != GOSSIP_OPINION_OK; i++)
        if (observers[i] == g->self && gossip_opinion_by(g, subject, g->self) == NULL)
            gossip_probe_start(g, now, subject, GOSSIP_PROBE_CHECK, &asker);
    c = gossip_case_of(g, subject);
    if (c != NULL)
        judge(g, now, c);
}
