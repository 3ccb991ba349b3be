// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "bridge/fallback.h"

/* A network in virtual time: it answers each question after 50 ms, or lets nothing out. */
struct network {
    struct fallback fallback;
    int64_t now_ms;
    bool blocked;
    int64_t answer_ms;  /* due; 0: none */
    int64_t traffic_ms; /* the path core asks a relay so often; 0: never */
    int questions;
};

static struct ppn_instant at(int64_t ms)
{
    return (struct ppn_instant){ms * 1000000};
}

static void tell(struct network *network, enum fallback_event event)
{
    struct fallback_update update;
    bool was = network->fallback.on;
    fallback_step(&network->fallback, at(network->now_ms), event, &update);
    cr_assert_eq(update.changed, was != network->fallback.on);
    if (!update.ask)
        return;
    network->questions++;
    if (!network->blocked && network->answer_ms == 0)
        network->answer_ms = network->now_ms + 50;
}

/* Until `ms`, or until it is on or off as wanted. */
static void run(struct network *network, int64_t ms, int until)
{
    int64_t asked_ms = network->now_ms;
    while (network->now_ms < ms && (until < 0 || network->fallback.on != (until == 1))) {
        network->now_ms += 10;
        if (network->answer_ms != 0 && network->now_ms >= network->answer_ms) {
            network->answer_ms = 0;
            tell(network, FALLBACK_ANSWERED);
        }
        if (network->traffic_ms != 0 && network->now_ms - asked_ms >= network->traffic_ms) {
            asked_ms = network->now_ms;
            tell(network, FALLBACK_ASKED);
            if (!network->blocked && network->answer_ms == 0)
                network->answer_ms = network->now_ms + 50;
        }
        if (ppn_due(fallback_deadline(&network->fallback), at(network->now_ms)))
            tell(network, FALLBACK_TICK);
    }
}

static struct network started(bool blocked)
{
    struct network network = {.now_ms = 1000, .blocked = blocked};
    fallback_init(&network.fallback, at(1000));
    cr_assert_eq(fallback_deadline(&network.fallback).ns, PPN_NEVER.ns);
    tell(&network, FALLBACK_RELAYS);
    return network;
}

Test(fallback, a_blocked_network_is_known_after_three_seconds)
{
    struct network network = started(true);
    run(&network, 60000, 1);
    cr_assert(network.fallback.on);
    cr_assert_eq(network.now_ms, 1000 + FALLBACK_ASKS * FALLBACK_ASK_MS);
    network.questions = 0;
    run(&network, network.now_ms + 60000, 0);
    cr_assert(network.fallback.on);
    cr_assert(network.questions >= 19 && network.questions <= 21);
}

Test(fallback, it_ends_with_the_first_answer)
{
    struct network network = started(true);
    run(&network, 30000, -1);
    network.blocked = false;
    int64_t opened = network.now_ms;
    run(&network, 60000, 0);
    cr_assert_not(network.fallback.on);
    cr_assert(network.now_ms - opened <= FALLBACK_RETRY_MS + 60);
}

Test(fallback, an_open_network_with_traffic_is_never_asked_again)
{
    struct network network = started(false);
    run(&network, 2000, -1);
    cr_assert_eq(network.questions, 1);
    network.traffic_ms = 15000;
    run(&network, 3600000, -1);
    cr_assert_eq(network.questions, 1);
    cr_assert_not(network.fallback.on);
}

Test(fallback, a_quiet_pool_asks_one_question_in_twenty_seconds)
{
    struct network network = started(false);
    run(&network, 3601000, -1);
    cr_assert(network.questions >= 178 && network.questions <= 181, "%d", network.questions);
}

Test(fallback, a_network_that_is_blocked_later_is_left_within_five_seconds)
{
    struct network network = started(false);
    network.traffic_ms = 1000;
    run(&network, 100000, -1);
    network.blocked = true;
    network.answer_ms = 0;
    run(&network, 200000, 1);
    cr_assert(network.fallback.on);
    cr_assert(network.now_ms - 100000 <= 5100, "%lld ms", (long long)network.now_ms - 100000);
}

Test(fallback, a_lost_answer_is_no_blocked_network)
{
    struct network network = started(false);
    network.traffic_ms = 5000;
    for (int64_t s = 10; s < 600; s += 10) {
        run(&network, s * 1000, -1);
        network.answer_ms = 0;
        cr_assert_not(network.fallback.on);
    }
}

Test(fallback, another_network_is_judged_anew)
{
    struct network network = started(false);
    network.traffic_ms = 1000;
    run(&network, 50500, -1);
    network.blocked = true;
    network.answer_ms = network.traffic_ms = 0;
    tell(&network, FALLBACK_VOID);
    run(&network, 100000, 1);
    cr_assert_eq(network.now_ms, 50500 + FALLBACK_ASKS * FALLBACK_ASK_MS);
    tell(&network, FALLBACK_VOID);
    cr_assert(network.fallback.on, "a path is not given up for a guess");
}

Test(fallback, without_relays_there_is_nothing_to_ask)
{
    struct network network = started(true);
    run(&network, 30000, 1);
    tell(&network, FALLBACK_NO_RELAYS);
    cr_assert_not(network.fallback.on);
    cr_assert_eq(fallback_deadline(&network.fallback).ns, PPN_NEVER.ns);
    tell(&network, FALLBACK_ASKED);
    cr_assert_eq(fallback_deadline(&network.fallback).ns, PPN_NEVER.ns);
}

/* Its timer comes late, and with it all the answers: they are there before the next question. */
Test(fallback, a_machine_that_was_too_busy_to_listen_is_no_blocked_network)
{
    struct network network = started(false);
    run(&network, 30000, -1);
    for (int stall = 0; stall < 20; stall++) {
        network.now_ms += 25000;
        tell(&network, FALLBACK_TICK);
        cr_assert_not(network.fallback.on);
        run(&network, network.now_ms + 100, -1);
        cr_assert_not(network.fallback.asking);
    }
}
