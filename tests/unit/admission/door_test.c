// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "admission/door.h"
#include "base/random.h"

/* Everybody who ever stood at a join port. */

static struct door door;
static struct door_update update;
static struct ppn_instant now;

static void start(void)
{
    now = (struct ppn_instant){ppn_seconds(100).ns};
    door_init(&door, now, 7);
}

TestSuite(door, .init = start);

static void step(struct door_event event)
{
    door_step(&door, now, &event, &update);
}

static void later(int64_t ms)
{
    now = ppn_after(now, ppn_ms(ms));
}

/* 0: busy. */
static uint64_t accept_from(uint32_t source)
{
    struct door_event event = {.kind = DOOR_EVENT_ACCEPT};
    memcpy(event.source, &source, sizeof source);
    step(event);
    cr_assert(update.act == DOOR_OPEN || update.act == DOOR_BUSY);
    return update.act == DOOR_OPEN ? update.session : 0;
}

static enum door_act tell(uint64_t session, enum door_event_kind kind)
{
    step((struct door_event){.kind = kind, .session = session});
    return update.act;
}

static enum door_act request(uint64_t session, enum admission_standing standing, bool invite)
{
    cr_assert_eq(tell(session, DOOR_EVENT_MESSAGE), DOOR_NOTHING);
    step((struct door_event){.kind = DOOR_EVENT_REQUEST,
                             .session = session,
                             .standing = standing,
                             .has_invite = invite});
    return update.act;
}

static uint64_t proven_from(uint32_t source)
{
    uint64_t session = accept_from(source);
    cr_assert_neq(session, 0);
    cr_assert_eq(tell(session, DOOR_EVENT_PROVEN), DOOR_NOTHING);
    return session;
}

static uint64_t waiting_from(uint32_t source)
{
    uint64_t session = proven_from(source);
    cr_assert_eq(request(session, ADMISSION_STRANGER, false), DOOR_WAIT);
    return session;
}

/* Ticks until nothing is to be done; how many were ended. */
static uint32_t ended(void)
{
    uint32_t count = 0;
    for (;;) {
        step((struct door_event){.kind = DOOR_EVENT_TICK});
        if (update.act == DOOR_NOTHING)
            return count;
        count += update.act == DOOR_END;
    }
}

static uint32_t taken(void)
{
    return DOOR_SESSIONS_MAX - door_count(&door, DOOR_FREE);
}

Test(door, who_never_speaks_is_out_after_ten_seconds)
{
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++)
        cr_assert_neq(accept_from(i), 0);
    cr_assert_eq(accept_from(999), 0, "the table is full: told at once, nothing kept");
    cr_assert(!ppn_before(ppn_after(now, ppn_seconds(DOOR_HANDSHAKE_S)), door_deadline(&door)));
    later(DOOR_HANDSHAKE_S * 1000 - 1);
    cr_assert_eq(ended(), 0);
    later(1);
    cr_assert_eq(ended(), DOOR_SESSIONS_MAX);
    cr_assert_neq(accept_from(999), 0, "an honest one gets in when they are gone");
}

/* A proven key is worth no more time; a byte a second is no message. */
Test(door, who_proves_a_key_and_asks_nothing_is_out_too)
{
    uint64_t session = accept_from(1);
    later(9000);
    cr_assert_eq(tell(session, DOOR_EVENT_PROVEN), DOOR_NOTHING);
    later(1000);
    cr_assert_eq(ended(), 1);
    cr_assert_eq(door_state(&door, session), DOOR_FREE);
}

Test(door, who_waits_and_falls_silent_is_out)
{
    uint64_t session = waiting_from(1);
    for (int i = 0; i < 10; i++) {
        later(15000);
        cr_assert_eq(tell(session, DOOR_EVENT_MESSAGE), DOOR_NOTHING);
        cr_assert_eq(ended(), 0);
    }
    later(DOOR_SILENCE_S * 1000);
    cr_assert_eq(ended(), 1);
}

Test(door, who_talks_too_much_is_out)
{
    uint64_t session = waiting_from(1);
    int said = 1;
    while (tell(session, DOOR_EVENT_MESSAGE) == DOOR_NOTHING)
        said++;
    cr_assert_eq(update.act, DOOR_END);
    cr_assert_eq(said, DOOR_MESSAGES_PER_MIN);
}

Test(door, one_source_has_its_share)
{
    uint64_t sessions[DOOR_SESSIONS_PER_SOURCE];
    for (uint32_t i = 0; i < DOOR_SESSIONS_PER_SOURCE; i++)
        sessions[i] = accept_from(1);
    cr_assert_eq(accept_from(1), 0);
    cr_assert_neq(accept_from(2), 0);
    uint32_t opened = DOOR_SESSIONS_PER_SOURCE;
    for (int i = 0; i < 100; i++) {
        (void)tell(sessions[0], DOOR_EVENT_CLOSED);
        sessions[0] = accept_from(1);
        opened += sessions[0] != 0;
    }
    cr_assert_eq(opened, DOOR_HANDSHAKES_PER_MIN, "however fast it hangs up");
    later(60000);
    cr_assert_neq(accept_from(1), 0, "the next minute");
}

Test(door, many_strangers_are_asked_for_cookies_first)
{
    for (uint32_t i = 0; i < DOOR_EASY; i++) {
        uint64_t session = accept_from(i);
        cr_assert_neq(session, 0);
        cr_assert_not(update.cookie);
    }
    cr_assert_neq(accept_from(100), 0);
    cr_assert(update.cookie);
    later(DOOR_HANDSHAKE_S * 1000);
    (void)ended();
    cr_assert_neq(accept_from(101), 0);
    cr_assert_not(update.cookie);
}

/* Each with a key of its own and a good request: cheap for whoever has many addresses. */
Test(door, those_who_wait_leave_places_to_newcomers)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < DOOR_PENDING_MAX; i++) {
        (void)waiting_from(i);
        told += update.tell;
    }
    uint64_t session = proven_from(500);
    cr_assert_eq(request(session, ADMISSION_STRANGER, false), DOOR_DENY);
    cr_assert_eq(update.denial, DOOR_DENIED_CROWD);
    session = proven_from(501);
    cr_assert_eq(request(session, ADMISSION_STRANGER, true), DOOR_REDEEM,
                 "an invite needs no person");
    session = proven_from(502);
    cr_assert_eq(request(session, ADMISSION_MEMBER, false), DOOR_ADMIT, "nor does a member");
    cr_assert_eq(told, DOOR_PENDING_MAX);
}

Test(door, members_are_told_of_so_many_a_minute)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < 3 * DOOR_NEWS_PER_MIN; i++) {
        uint64_t session = waiting_from(i);
        told += update.tell;
        (void)tell(session, DOOR_EVENT_CLOSED);
    }
    cr_assert_eq(told, DOOR_NEWS_PER_MIN);
    later(60000);
    (void)waiting_from(1);
    cr_assert(update.tell);
}

Test(door, who_waits_is_told_of_again)
{
    uint64_t session = waiting_from(1);
    later(DOOR_REPEAT_S * 1000);
    step((struct door_event){.kind = DOOR_EVENT_TICK});
    cr_assert_eq(update.act, DOOR_TELL);
    cr_assert_eq(update.session, session);
    step((struct door_event){.kind = DOOR_EVENT_TICK});
    cr_assert_eq(update.act, DOOR_NOTHING);
}

/* Two sessions show one single-use invite at one moment: the log decides, and each redeems once. */
Test(door, an_invite_is_redeemed_once_by_each_session)
{
    uint64_t one = proven_from(1), two = proven_from(2);
    cr_assert_eq(request(one, ADMISSION_STRANGER, true), DOOR_REDEEM);
    cr_assert_eq(request(two, ADMISSION_STRANGER, true), DOOR_REDEEM);
    step((struct door_event){.kind = DOOR_EVENT_REDEEMED,
                             .session = one,
                             .written = true,
                             .standing = ADMISSION_MEMBER});
    cr_assert_eq(update.act, DOOR_ADMIT);
    step((struct door_event){.kind = DOOR_EVENT_REDEEMED,
                             .session = two,
                             .written = true,
                             .standing = ADMISSION_STRANGER});
    cr_assert(update.act == DOOR_DENY && update.denial == DOOR_DENIED_INVITE);
    cr_assert_eq(tell(two, DOOR_EVENT_REDEEMED), DOOR_NOTHING, "it is over");
    uint64_t three = proven_from(3);
    cr_assert_eq(request(three, ADMISSION_STRANGER, true), DOOR_REDEEM);
    step((struct door_event){.kind = DOOR_EVENT_REQUEST, .session = three, .has_invite = true});
    cr_assert_eq(update.act, DOOR_END, "a second request while the first is being written");
}

Test(door, those_whom_the_log_names_are_told_so)
{
    cr_assert_eq(request(proven_from(1), ADMISSION_REVOKED, true), DOOR_DENY);
    cr_assert_eq(update.denial, DOOR_DENIED_REVOKED);
    cr_assert_eq(request(proven_from(2), ADMISSION_DENIED, false), DOOR_DENY);
    cr_assert_eq(update.denial, DOOR_DENIED_BY_ADMIN);
    uint64_t session = waiting_from(3);
    step((struct door_event){
        .kind = DOOR_EVENT_STANDING, .session = session, .standing = ADMISSION_EXPIRED});
    cr_assert_eq(update.act, DOOR_NOTHING);
    step((struct door_event){
        .kind = DOOR_EVENT_STANDING, .session = session, .standing = ADMISSION_MEMBER});
    cr_assert_eq(update.act, DOOR_ADMIT);
}

Test(door, the_log_goes_out_as_long_as_it_is_taken)
{
    uint64_t session = proven_from(1);
    cr_assert_eq(request(session, ADMISSION_MEMBER, false), DOOR_ADMIT);
    for (int64_t ms = 0; ms < 600000; ms += 50000) {
        later(50000);
        cr_assert_eq(ended(), 0);
        cr_assert_eq(tell(session, DOOR_EVENT_DRAINED), DOOR_NOTHING);
    }
    later(DOOR_PROGRESS_S * 1000);
    cr_assert_eq(ended(), 1, "nothing was taken for a minute");
    session = proven_from(1);
    cr_assert_eq(request(session, ADMISSION_MEMBER, false), DOOR_ADMIT);
    for (int64_t ms = 0; ms < DOOR_SENDING_S * 1000; ms += 30000) {
        later(30000);
        (void)tell(session, DOOR_EVENT_DRAINED);
    }
    cr_assert_eq(ended(), 1, "a byte now and then is not enough for ever");
}

/* A member's key that nobody proved opens nothing. */
Test(door, what_the_log_says_is_heeded_only_of_those_who_wait)
{
    uint64_t session = accept_from(1);
    struct door_event event = {
        .kind = DOOR_EVENT_STANDING, .session = session, .standing = ADMISSION_MEMBER};
    step(event);
    cr_assert_eq(update.act, DOOR_NOTHING);
    cr_assert_eq(tell(session, DOOR_EVENT_PROVEN), DOOR_NOTHING);
    step(event);
    cr_assert_eq(update.act, DOOR_NOTHING);
    cr_assert_eq(request(session, ADMISSION_STRANGER, true), DOOR_REDEEM);
    step(event);
    cr_assert_eq(update.act, DOOR_NOTHING);
}

static enum door_act ask_as_admin(uint64_t session, bool admin)
{
    cr_assert_eq(tell(session, DOOR_EVENT_MESSAGE), DOOR_NOTHING);
    step((struct door_event){.kind = DOOR_EVENT_ADMIN, .session = session, .admin = admin});
    return update.act;
}

static enum door_act says(uint64_t session, enum door_event_kind kind, bool admin)
{
    step((struct door_event){.kind = kind, .session = session, .admin = admin});
    return update.act;
}

Test(door, a_few_admins_are_served_and_no_one_else)
{
    cr_assert_eq(ask_as_admin(proven_from(50), false), DOOR_DENY);
    cr_assert_eq(update.denial, DOOR_DENIED_NO_ADMIN);
    for (uint32_t i = 0; i < DOOR_ADMINS_MAX; i++)
        cr_assert_eq(ask_as_admin(proven_from(i), true), DOOR_SERVE);
    cr_assert_eq(ask_as_admin(proven_from(60), true), DOOR_DENY);
    cr_assert_eq(update.denial, DOOR_DENIED_ADMINS);
    for (uint32_t i = 0; i < DOOR_PENDING_MAX; i++)
        (void)waiting_from(100 + i);
    cr_assert_neq(accept_from(999), 0, "newcomers find a place");
}

Test(door, who_waits_cannot_become_an_admin)
{
    uint64_t waits = waiting_from(1), serves = proven_from(2);
    cr_assert_eq(ask_as_admin(waits, true), DOOR_END);
    cr_assert_eq(ask_as_admin(serves, true), DOOR_SERVE);
    cr_assert_eq(says(serves, DOOR_EVENT_ADMIN, true), DOOR_END, "asked twice");
}

Test(door, an_admin_that_is_none_any_more_is_out_at_once)
{
    uint64_t by_word = proven_from(1), by_log = proven_from(2);
    cr_assert_eq(ask_as_admin(by_word, true), DOOR_SERVE);
    cr_assert_eq(ask_as_admin(by_log, true), DOOR_SERVE);
    cr_assert_eq(says(by_word, DOOR_EVENT_MESSAGE, true), DOOR_NOTHING);
    cr_assert_eq(says(by_word, DOOR_EVENT_MESSAGE, false), DOOR_END);
    cr_assert_eq(says(by_log, DOOR_EVENT_STANDING, true), DOOR_NOTHING);
    cr_assert_eq(says(by_log, DOOR_EVENT_STANDING, false), DOOR_END);
}

Test(door, an_admin_is_served_for_so_long)
{
    uint64_t silent = proven_from(1), busy = proven_from(2);
    cr_assert_eq(ask_as_admin(silent, true), DOOR_SERVE);
    cr_assert_eq(ask_as_admin(busy, true), DOOR_SERVE);
    for (int s = 0; s < DOOR_ADMIN_S - 1; s++) {
        later(1000);
        cr_assert_eq(says(busy, DOOR_EVENT_MESSAGE, true), DOOR_NOTHING);
        cr_assert_eq(ended(), s + 1 == DOOR_ADMIN_SILENCE_S ? 1 : 0);
    }
    later(1000);
    cr_assert_eq(ended(), 1, "however much it says");
    uint64_t slow = proven_from(4);
    cr_assert_eq(ask_as_admin(slow, true), DOOR_SERVE);
    for (int i = 0; i < 3; i++) {
        later(DOOR_ADMIN_SILENCE_S * 1000 - 1);
        cr_assert_eq(ended(), 0, "a person reads");
        cr_assert_eq(says(slow, DOOR_EVENT_MESSAGE, true), DOOR_NOTHING);
    }
    cr_assert_eq(says(slow, DOOR_EVENT_CLOSED, true), DOOR_NOTHING);
    uint64_t chatty = proven_from(3);
    cr_assert_eq(ask_as_admin(chatty, true), DOOR_SERVE);
    for (int i = 1; i < DOOR_ADMIN_MESSAGES_PER_MIN; i++)
        cr_assert_eq(says(chatty, DOOR_EVENT_MESSAGE, true), DOOR_NOTHING);
    cr_assert_eq(says(chatty, DOOR_EVENT_MESSAGE, true), DOOR_END);
}

static void check_shares(void)
{
    uint32_t sources[DOOR_SESSIONS_MAX] = {0};
    cr_assert_leq(door_count(&door, DOOR_PENDING), DOOR_PENDING_MAX);
    cr_assert_leq(door_count(&door, DOOR_ADMIN), DOOR_ADMINS_MAX);
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        uint32_t source;
        if (door.sessions[i].state == DOOR_FREE)
            continue;
        memcpy(&source, door.sessions[i].source, sizeof source);
        cr_assert_leq(++sources[source % DOOR_SESSIONS_MAX], DOOR_SESSIONS_PER_SOURCE);
        bool young =
            door.sessions[i].state == DOOR_HANDSHAKE || door.sessions[i].state == DOOR_REQUEST;
        cr_assert(!young || !ppn_before(ppn_after(now, ppn_seconds(DOOR_HANDSHAKE_S)),
                                        door.sessions[i].deadline));
    }
}

/* Whatever happens in whatever order, the shares hold, and in the end the door is empty. */
Test(door, random_lives)
{
    struct ppn_random random;
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t known[32] = {0};
        start();
        ppn_random_init(&random, seed);
        for (int i = 0; i < 2000; i++) {
            uint32_t at = (uint32_t)ppn_random_below(&random, 32);
            struct door_event event = {.kind = (enum door_event_kind)ppn_random_below(&random, 10),
                                       .session = known[at],
                                       .standing =
                                           (enum admission_standing)ppn_random_below(&random, 6),
                                       .has_invite = ppn_random_below(&random, 2) == 0,
                                       .written = ppn_random_below(&random, 2) == 0,
                                       .admin = ppn_random_below(&random, 2) == 0};
            enum door_state state = door_state(&door, known[at]);
            event.source[0] = (uint8_t)ppn_random_below(&random, 20);
            if ((event.kind == DOOR_EVENT_PROVEN && state != DOOR_HANDSHAKE) ||
                (event.kind == DOOR_EVENT_MESSAGE && state == DOOR_HANDSHAKE))
                continue;
            step(event);
            if (update.act == DOOR_OPEN)
                known[at] = update.session;
            if (update.act == DOOR_END || update.act == DOOR_DENY)
                cr_assert_eq(door_state(&door, update.session), DOOR_FREE);
            check_shares();
            later((int64_t)ppn_random_below(&random, 3000));
        }
        for (int i = 0; i < 20 && taken() > 0; i++) {
            later(DOOR_SENDING_S * 100);
            (void)ended();
        }
        cr_assert_eq(taken(), 0);
    }
}

/* A machine has as many IPv6 addresses as it likes; IPv4 addresses are what they are. */
Test(door, one_ipv6_network_has_half_of_the_places)
{
    struct door_event event = {.kind = DOOR_EVENT_ACCEPT};
    uint32_t open = 0;
    memcpy(event.source, (const uint8_t[]){0x20, 0x01, 0x0d, 0xb8}, 4);
    for (uint32_t i = 0; i < 2 * DOOR_SESSIONS_MAX; i++) {
        memcpy(event.source + 12, &i, sizeof i);
        step(event);
        open += update.act == DOOR_OPEN;
    }
    cr_assert_eq(open, DOOR_SESSIONS_PER_NETWORK);
    memset(event.source, 0, sizeof event.source);
    event.source[10] = event.source[11] = 0xff;
    for (uint32_t i = 0; i < 2 * DOOR_SESSIONS_MAX; i++) {
        memcpy(event.source + 12, &i, sizeof i);
        step(event);
        open += update.act == DOOR_OPEN;
    }
    cr_assert_eq(open, DOOR_SESSIONS_MAX);
}
