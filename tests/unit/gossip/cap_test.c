// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "lone_core.h"

/* The bandwidth cap. lone_core counts every packet in a bucket of its own that leaks at the rate,
 * so what it holds is what was sent beyond the rate over the worst span of time. */

enum { RATE = 2048, BURST_S = 8, ANSWERS_S = 2, PINGS_S = 2000 };

static void assert_capped(const struct lone_core *lone)
{
    cr_assert(lone->sent_most <= (double)RATE * (BURST_S + ANSWERS_S), "%.0f bytes beyond the rate",
              lone->sent_most);
}

static void answer_and_forget(struct lone_core *lone, int64_t ms)
{
    for (; ms > 0; ms -= 50) {
        lone_answer(lone, 0, ppn_ms(50));
        lone_clear(lone);
    }
}

Test(gossip_cap, a_crowd_that_joins_at_once)
{
    static struct lone_core lone;
    char body[GOSSIP_PROFILE_BODY_MAX + 1];
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    lone_start_capped(&lone, LONE_MEMBERS_MAX, RATE);
    for (uint32_t round = 1; round <= 10; round++) {
        for (uint32_t i = 1; i < LONE_MEMBERS_MAX; i++) {
            lone_item(&lone, i, lone_life(&lone, i, 1, round, GOSSIP_STANDING_ALIVE));
            lone_item(&lone, i, lone_body(&lone, i, GOSSIP_ITEM_PROFILE, 1, round, body));
            lone_item(&lone, i, lone_body(&lone, i, GOSSIP_ITEM_LOAD, 1, round, "load"));
        }
        answer_and_forget(&lone, 6000);
    }
    struct gossip_counters counters;
    gossip_counters(lone.core, &counters);
    cr_assert(counters.deferred > 0, "there was too much to tell");
    cr_assert(lone.sent_most > RATE * BURST_S / 2, "and the burst was used");
    assert_capped(&lone);
    lone_close(&lone);
}

Test(gossip_cap, a_flood_of_pings)
{
    static struct lone_core lone;
    lone_start_capped(&lone, 4, RATE);
    for (uint32_t i = 1; i < 4; i++)
        lone_item(&lone, i, lone_life(&lone, i, 1, 1, GOSSIP_STANDING_ALIVE));
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 5 * PINGS_S; i++) {
        struct gossip_packet ping = {.kind = GOSSIP_PING, .probe = i + 1};
        lone_clear(&lone);
        lone_packet(&lone, 2, &ping);
        answered += lone_sent(&lone, GOSSIP_ACK, 2) != NULL;
        lone.now = ppn_after(lone.now, ppn_ns(1000000000 / PINGS_S));
        if (i % 100 == 0)
            lone_wait(&lone, ppn_ns(0));
    }
    cr_assert(answered < 5 * PINGS_S / 4, "%u", answered);
    assert_capped(&lone);
    struct gossip_packet honest = {.kind = GOSSIP_PING, .probe = 7};
    lone_clear(&lone);
    lone_packet(&lone, 3, &honest);
    cr_assert(lone_sent(&lone, GOSSIP_ACK, 3) != NULL, "others are answered all the same");
    lone_close(&lone);
}

Test(gossip_cap, loads_have_a_quarter)
{
    static struct lone_core lone;
    struct gossip_counters before, after;
    lone_start_capped(&lone, 32, RATE);
    for (uint32_t i = 1; i < 32; i++)
        lone_item(&lone, i, lone_life(&lone, i, 1, 1, GOSSIP_STANDING_ALIVE));
    answer_and_forget(&lone, 30000);
    gossip_counters(lone.core, &before);
    for (uint32_t second = 1; second <= 60; second++) {
        for (uint32_t i = 1; i < 32; i++)
            lone_item(&lone, i,
                      lone_body(&lone, i, GOSSIP_ITEM_LOAD, 1, second, "so much is free"));
        answer_and_forget(&lone, 1000);
    }
    gossip_counters(lone.core, &after);
    uint64_t bytes = after.bytes_load - before.bytes_load;
    cr_assert(bytes <= (60 + BURST_S) * RATE / 4 + 2 * PPN_DATAGRAM_MAX, "%llu",
              (unsigned long long)bytes);
    cr_assert(bytes > 30 * RATE / 4, "and uses it: %llu", (unsigned long long)bytes);
    assert_capped(&lone);
    lone_close(&lone);
}
