// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "gossip/internal.h"
#include "lone_core.h"

/* Who observes whom, and how patiently. */

enum { MEMBERS = 40 };

static uint16_t index_of(const struct lone_core *lone, uint32_t member)
{
    return gossip_pool_node_find(lone->core->pool, gossip_tag_of(&lone->ids[member]));
}

static uint32_t member_of(const struct lone_core *lone, uint16_t index)
{
    for (uint32_t i = 0; i < lone->members; i++)
        if (ppn_node_id_equal(&lone->core->pool->nodes[index].id, &lone->ids[i]))
            return i;
    cr_assert_fail("no member has this index");
    return 0;
}

Test(gossip_rings, everybody_has_k_observers_and_all_compute_the_same)
{
    static struct lone_core lone;
    uint32_t all = 0;
    lone_meet(&lone, MEMBERS);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        uint16_t observers[GOSSIP_TARGETS_MAX];
        uint32_t count = gossip_observers_of(lone.core, index_of(&lone, i), observers);
        cr_assert(count >= 5 && count <= 8, "%u observers", count);
        for (uint32_t j = 0; j < count; j++)
            all += observers[j] == index_of(&lone, 0);
    }
    cr_assert(all == lone.core->target_count, "whom I observe are those that I am observer of");
    lone_close(&lone);
}

Test(gossip_rings, few_observe_all)
{
    static struct lone_core lone;
    lone_meet(&lone, 9);
    uint16_t observers[GOSSIP_TARGETS_MAX];
    for (uint32_t i = 0; i < 9; i++)
        cr_assert(gossip_observers_of(lone.core, index_of(&lone, i), observers) == 8);
    lone_close(&lone);
}

/* In the view of one who does not know some members yet, or holds them for lost, somebody else
 * observes: whoever stands within three members of the subject on a ring is believed. */
Test(gossip_rings, observers_of_a_slightly_other_view_are_accepted_and_no_others)
{
    static struct lone_core lone;
    lone_meet(&lone, MEMBERS);
    uint32_t subject = 7, near = 0, far = 0;
    uint16_t observers[GOSSIP_TARGETS_MAX];
    uint32_t count = gossip_observers_of(lone.core, index_of(&lone, subject), observers);
    /* The view of one who has lost the subject's first observer. */
    struct gossip_event removed = {.kind = GOSSIP_EVENT_MEMBERS, .count = 1, .added = false};
    uint32_t gone = member_of(&lone, observers[0]);
    gone = gone == 0 ? member_of(&lone, observers[1]) : gone;
    removed.nodes = &lone.ids[gone];
    static struct lone_core other;
    lone_meet(&other, MEMBERS);
    cr_assert(lone_step(&other, &removed) == PPN_OK);
    uint16_t theirs[GOSSIP_TARGETS_MAX];
    uint32_t their_count = gossip_observers_of(other.core, index_of(&other, subject), theirs);
    for (uint32_t i = 0; i < their_count; i++) {
        uint32_t member = member_of(&other, theirs[i]);
        cr_assert(gossip_may_observe(lone.core, index_of(&lone, member), index_of(&lone, subject)),
                  "%u observes it in the other view", member);
    }
    for (uint32_t i = 0; i < count; i++)
        cr_assert(gossip_may_observe(lone.core, observers[i], index_of(&lone, subject)));
    for (uint32_t i = 1; i < MEMBERS; i++) {
        bool may = gossip_may_observe(lone.core, index_of(&lone, i), index_of(&lone, subject));
        near += may;
        far = !may && i != subject && far == 0 ? i : far;
    }
    cr_assert(near > count && near <= 24, "%u are believed", near);
    cr_assert(far != 0);
    lone_item(&lone, far, lone_verdict(&lone, far, subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(gossip_case_of(lone.core, index_of(&lone, subject)) == NULL, "a busybody");
    uint32_t believed =
        member_of(&lone, observers[0] == lone.core->self ? observers[1] : observers[0]);
    lone_item(&lone, believed,
              lone_verdict(&lone, believed, subject, 1, 1, GOSSIP_OPINION_NO_ANSWER));
    cr_assert(gossip_case_of(lone.core, index_of(&lone, subject)) != NULL);
    lone_close(&other);
    lone_close(&lone);
}

/* Answers every ping to member 1 `delay_ms` after it was sent, for a while. */
static void answer_late(struct lone_core *lone, int64_t delay_ms, int64_t seconds)
{
    for (int64_t ms = 0; ms < 1000 * seconds; ms += 5) {
        lone_wait(lone, ppn_ms(5));
        for (uint32_t i = 0; i < lone->seen_count; i++) {
            struct lone_seen *seen = &lone->seen[i];
            if (seen->kind != GOSSIP_DO_SEND || seen->packet.kind != GOSSIP_PING ||
                ppn_before(lone->now, ppn_after(seen->at, ppn_ms(delay_ms))))
                continue;
            struct gossip_packet ack = {.kind = GOSSIP_ACK, .probe = seen->packet.probe};
            seen->kind = GOSSIP_DO_FORGET; /* answered */
            lone_packet(lone, 1, &ack);
        }
        if (ms % 2000 == 0)
            lone_clear(lone);
    }
}

/* How long the core waits after the first ping of a probe before it sends the second. */
static int64_t patience_ms(struct lone_core *lone)
{
    struct ppn_instant first = PPN_NEVER;
    lone_clear(lone);
    for (uint32_t i = 0; i < 4000; i++) {
        lone_wait(lone, ppn_ms(1));
        for (uint32_t j = 0; j < lone->seen_count; j++) {
            if (lone->seen[j].kind != GOSSIP_DO_SEND || lone->seen[j].packet.kind != GOSSIP_PING)
                continue;
            if (first.ns != PPN_NEVER.ns)
                return ppn_to_ms(ppn_between(first, lone->seen[j].at));
            first = lone->seen[j].at;
        }
        lone_clear(lone);
    }
    cr_assert_fail("no second ping");
    return 0;
}

Test(gossip_rings, patience_follows_the_round_trip)
{
    static const struct {
        int64_t rtt_ms, least_ms, most_ms;
    } cases[] = {{5, 25, 40}, {120, 120, 260}, {300, 300, 500}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        static struct lone_core lone;
        lone_meet(&lone, 2);
        answer_late(&lone, cases[i].rtt_ms, 40);
        lone_wait(&lone, ppn_ns(0));
        while (lone.core->probe_count > 0)
            answer_late(&lone, cases[i].rtt_ms, 1);
        int64_t ms = patience_ms(&lone);
        cr_assert(ms >= cases[i].least_ms && ms <= cases[i].most_ms, "%lld ms at %lld ms",
                  (long long)ms, (long long)cases[i].rtt_ms);
        lone_close(&lone);
    }
}

/* Lifeguard: one that was late itself has reason to wait longer for others, up to three times. */
Test(gossip_rings, bad_health_stretches_patience)
{
    static struct lone_core lone;
    struct gossip_counters counters;
    lone_meet(&lone, 2);
    answer_late(&lone, 30, 20);
    while (lone.core->probe_count > 0)
        answer_late(&lone, 30, 1);
    int64_t well_ms = patience_ms(&lone);
    lone_close(&lone);
    lone_meet(&lone, 2);
    answer_late(&lone, 30, 20);
    for (uint32_t i = 0; i < GOSSIP_HEALTH_MAX; i++) {
        lone.now = ppn_after(gossip_deadline(lone.core), ppn_ms(200));
        cr_assert(lone_step(&lone, &(struct gossip_event){.kind = GOSSIP_EVENT_TICK}) == PPN_OK);
    }
    gossip_counters(lone.core, &counters);
    cr_assert(counters.health >= GOSSIP_HEALTH_MAX - 1, "health %u", counters.health);
    lone.core->probe_count = 0; /* what was under way has the old patience */
    int64_t ill_ms = patience_ms(&lone);
    cr_assert(ill_ms >= 2 * well_ms && ill_ms <= 4 * well_ms, "%lld and %lld ms",
              (long long)well_ms, (long long)ill_ms);
    lone_close(&lone);
}
