// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/random.h"
#include "bridge/frame.h"
#include "bridge/gate.h"

static const struct gate_config config = {51820, 51821, 51830};

static struct ppn_endpoint v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct ppn_endpoint){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, port};
}

static struct ppn_endpoint home(uint16_t port)
{
    return v4(127, 0, 0, 1, port);
}

static struct ppn_instant at_s(int64_t s)
{
    return (struct ppn_instant){s * 1000000000};
}

static uint32_t enter(struct gate *gate, int64_t s, uint8_t host)
{
    struct ppn_endpoint source = v4(198, 51, 100, host, (uint16_t)(1000 + s));
    return gate_enter(gate, at_s(s), &source);
}

/* The relay answers it. */
static void answered(struct gate *gate, int64_t s, uint32_t seat)
{
    struct ppn_endpoint relay = home(51821);
    uint16_t port;
    cr_assert_eq(gate_down(gate, at_s(s), seat, &relay, 80, &port), GATE_PASS);
    cr_assert_eq(port, 51821);
}

Test(bridge_gate, only_the_relay_s_ports_and_wireguard_are_reached)
{
    static struct gate gate;
    uint16_t port;
    gate_init(&gate, &config);
    uint32_t seat = enter(&gate, 0, 1);
    for (uint32_t asked = 0; asked <= UINT16_MAX; asked++) {
        uint32_t probe = seat;
        enum gate_verdict verdict = gate_up(&gate, probe, (uint16_t)asked, 0, &port);
        bool relay = asked >= 51821 && asked <= 51830;
        cr_assert_eq(verdict, relay || asked == BRIDGE_PORT_WIREGUARD ? GATE_PASS : GATE_CLOSE);
        if (verdict == GATE_PASS)
            cr_assert_eq(port, relay ? asked : 51820);
    }
}

Test(bridge_gate, only_what_the_relay_and_wireguard_say_comes_back)
{
    static struct gate gate;
    const struct ppn_endpoint wrong[] = {
        home(51831), home(22), v4(10, 0, 0, 1, 51821), {{0xfd, 1}, 51821}};
    uint16_t port;
    gate_init(&gate, &config);
    uint32_t seat = enter(&gate, 0, 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(gate_down(&gate, at_s(0), seat, &wrong[i], 80, &port), GATE_DROP);
    cr_assert_eq(gate.stats.strangers, 1, "that was no answer");
    struct ppn_endpoint node = home(51820);
    cr_assert_eq(gate_down(&gate, at_s(0), seat, &node, 92, &port), GATE_PASS);
    cr_assert_eq(port, BRIDGE_PORT_WIREGUARD);
    cr_assert_eq(gate.stats.strangers, 0);
    cr_assert_eq(gate.stats.dropped.packets, 4);
}

Test(bridge_gate, a_stranger_has_little_time_and_few_bytes)
{
    static struct gate gate;
    bool resting;
    uint16_t port;
    size_t sent = 0;
    gate_init(&gate, &config);
    uint32_t seat = enter(&gate, 0, 1);
    while (gate_up(&gate, seat, 51821, 1452, &port) == GATE_PASS)
        sent += 1452;
    cr_assert(sent <= GATE_STRANGER_BYTES);
    cr_assert_eq(gate_deadline(&gate).ns, at_s(GATE_PROOF_S).ns);
    cr_assert_eq(gate_expired(&gate, at_s(GATE_PROOF_S - 1), &resting), GATE_NONE);
    cr_assert_eq(gate_expired(&gate, at_s(GATE_PROOF_S), &resting), seat);
    cr_assert_not(resting);
    cr_assert_not(gate_leave(&gate, at_s(GATE_PROOF_S), seat), "it bound nothing");
    cr_assert_eq(gate_deadline(&gate).ns, PPN_NEVER.ns);
}

Test(bridge_gate, the_port_of_a_member_is_kept_until_its_binds_are_dead)
{
    static struct gate gate;
    struct ppn_endpoint relay = home(51822);
    bool resting;
    uint16_t port;
    gate_init(&gate, &config);
    uint32_t seat = enter(&gate, 0, 1);
    answered(&gate, 1, seat);
    cr_assert_eq(gate_expired(&gate, at_s(60), &resting), GATE_NONE);
    cr_assert_eq(gate_expired(&gate, at_s(61), &resting), seat);
    cr_assert(gate_leave(&gate, at_s(61), seat));
    cr_assert_eq(gate.stats.open, 0);
    cr_assert_eq(gate_down(&gate, at_s(62), seat, &relay, 1452, &port), GATE_DROP, "it is deaf");
    cr_assert_neq(enter(&gate, 62, 2), seat);
    cr_assert_eq(gate_expired(&gate, at_s(61 + GATE_REST_S), &resting), seat);
    cr_assert(resting);
}

Test(bridge_gate, one_address_and_all_strangers_together_have_a_share)
{
    static struct gate gate;
    gate_init(&gate, &config);
    uint32_t seats[GATE_SOURCE_MAX];
    for (uint32_t i = 0; i < GATE_SOURCE_MAX; i++) {
        seats[i] = enter(&gate, 0, 1);
        cr_assert_neq(seats[i], GATE_NONE);
    }
    cr_assert_eq(enter(&gate, 0, 1), GATE_NONE);
    for (uint32_t i = 0; i < GATE_SOURCE_MAX; i++)
        answered(&gate, 1, seats[i]);
    cr_assert_eq(enter(&gate, 1, 1), GATE_NONE);
    for (uint32_t i = 0; i < GATE_STRANGERS_MAX; i++)
        cr_assert_neq(enter(&gate, 1, (uint8_t)(2 + i)), GATE_NONE);
    cr_assert_eq(enter(&gate, 1, 250), GATE_NONE);
    cr_assert_eq(gate.stats.refused, 3);
    struct ppn_endpoint one = {{0xfd, 0, 0, 0, 0, 0, 0, 1, 1}, 5}, other = {{0}, 6};
    gate_init(&gate, &config);
    other = one;
    other.address[15] = 9;
    for (uint32_t i = 0; i < GATE_SOURCE_MAX; i++)
        cr_assert_neq(gate_enter(&gate, at_s(0), i % 2 == 0 ? &one : &other), GATE_NONE);
    cr_assert_eq(gate_enter(&gate, at_s(0), &other), GATE_NONE, "one /64 is one household");
}

/* Whatever comes, the counts hold and members keep their seats. */
Test(bridge_gate, random_lives)
{
    static struct gate gate;
    enum { MEMBERS = 40, ROUNDS = 20000 };
    uint32_t member[MEMBERS], strangers[GATE_SEATS] = {0};
    struct ppn_random random;
    ppn_random_init(&random, 3);
    gate_init(&gate, &config);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        member[i] = enter(&gate, 0, (uint8_t)(i / 4));
        answered(&gate, 0, member[i]);
    }
    for (int round = 1; round < ROUNDS; round++) {
        int64_t s = round / 20;
        bool resting;
        uint32_t seat;
        uint16_t port;
        while ((seat = gate_expired(&gate, at_s(s), &resting)) != GATE_NONE) {
            if (!resting)
                (void)gate_leave(&gate, at_s(s), seat);
            strangers[seat] = 0;
        }
        if (round % 400 == 0)
            for (uint32_t i = 0; i < MEMBERS; i++)
                answered(&gate, s, member[i]);
        seat = enter(&gate, s, (uint8_t)(100 + ppn_random_u64(&random) % 100));
        if (seat != GATE_NONE)
            strangers[seat] = 1;
        seat = (uint32_t)(ppn_random_u64(&random) % GATE_SEATS);
        if (strangers[seat] == 1 &&
            gate_up(&gate, seat, (uint16_t)ppn_random_u64(&random), 1000, &port) == GATE_CLOSE) {
            (void)gate_leave(&gate, at_s(s), seat);
            strangers[seat] = 0;
        }
        cr_assert(gate.stats.open >= MEMBERS && gate.stats.open <= GATE_OPEN_MAX);
        cr_assert_eq(gate.stats.open, gate.stats.strangers + MEMBERS);
        cr_assert(gate.stats.strangers <= GATE_STRANGERS_MAX);
        cr_assert(!ppn_due(gate_deadline(&gate), at_s(s)));
    }
}
