// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/random.h"
#include "wg/relay.h"

static struct ppn_instant at_ms(int64_t ms)
{
    return (struct ppn_instant){ms * 1000000};
}

static struct ppn_endpoint source(uint8_t host, uint16_t port)
{
    struct ppn_endpoint endpoint = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, host}};
    endpoint.port = port;
    return endpoint;
}

static struct relay *make(uint32_t mailboxes, uint64_t rate)
{
    struct relay_config config = {.mailbox_count = mailboxes, .rate_bytes_s = rate};
    config.first_counter = 1000;
    struct relay *relay = relay_new(&config, at_ms(0), 7);
    cr_assert(relay != NULL);
    return relay;
}

/* Members with the tags 1..count. */
static enum ppn_error tell(struct relay *relay, uint64_t first, uint32_t count)
{
    static struct relay_member list[PPN_MEMBERS_MAX + 1];
    struct relay_event event = {.kind = RELAY_EVENT_MEMBERS};
    struct relay_answer answer;
    for (uint32_t i = 0; i < count; i++) {
        list[i].tag = first + i;
        memset(list[i].key, (int)(first + i), sizeof(list[i].key));
    }
    event.members.list = list;
    event.members.count = count;
    return relay_step(relay, at_ms(0), &event, &answer);
}

static uint64_t next_counter = 1000;
static uint8_t asked_at; /* the last byte of the relay's address that is asked */

static struct relay_answer ask(struct relay *relay, int64_t ms, enum relay_question_kind kind,
                               uint64_t tag, uint64_t node, uint32_t mailbox,
                               struct ppn_endpoint from)
{
    struct relay_event event = {.kind = RELAY_EVENT_QUESTION};
    struct relay_answer answer;
    event.question.kind = kind;
    event.question.member = relay_find(relay, tag);
    event.question.mailbox = mailbox;
    event.question.counter = ++next_counter;
    event.question.node = node;
    event.question.source = from;
    event.question.own[15] = asked_at;
    cr_assert(event.question.member != RELAY_NONE);
    cr_assert(relay_step(relay, at_ms(ms), &event, &answer) == PPN_OK);
    return answer;
}

static uint32_t mailbox(struct relay *relay, uint64_t asker, uint64_t tag)
{
    struct relay_answer answer =
        ask(relay, 0, RELAY_MAILBOX, asker, tag, RELAY_NONE, source(99, 9));
    cr_assert(answer.kind == RELAY_MAILBOX_IS);
    return answer.mailbox;
}

static bool bound(struct relay *relay, int64_t ms, uint64_t tag, uint64_t to,
                  struct ppn_endpoint from)
{
    uint32_t at = mailbox(relay, tag, to);
    struct relay_answer answer = ask(relay, ms, RELAY_BIND, tag, to, at, from);
    return answer.kind == RELAY_BOUND && answer.mailbox == at;
}

static enum relay_verdict send_from(struct relay *relay, int64_t ms, uint32_t to_mailbox,
                                    struct ppn_endpoint from, struct relay_route *route)
{
    return relay_forward(relay, at_ms(ms), to_mailbox, &from, 1, 100, route);
}

Test(relay, two_bound_members_reach_each_other_and_nobody_else_does)
{
    struct relay *relay = make(8, 0);
    struct relay_route route;
    cr_assert(tell(relay, 1, 3) == PPN_OK);
    uint32_t box1 = mailbox(relay, 2, 1), box2 = mailbox(relay, 1, 2);
    cr_assert(box1 != box2);
    cr_assert(bound(relay, 0, 1, 2, source(1, 1000)));
    cr_assert(send_from(relay, 0, box2, source(1, 1000), &route) == RELAY_DROP_PEER);
    cr_assert(bound(relay, 0, 2, 1, source(2, 2000)));
    cr_assert(send_from(relay, 0, box2, source(1, 1000), &route) == RELAY_FORWARD);
    struct ppn_endpoint to = source(2, 2000);
    cr_assert(route.mailbox == box1 && memcmp(&route.to, &to, sizeof(to)) == 0);
    cr_assert(send_from(relay, 0, box1, source(2, 2000), &route) == RELAY_FORWARD);
    cr_assert(route.mailbox == box2);
    /* Another port, another host, the wrong mailbox, a mailbox of nobody. */
    cr_assert(send_from(relay, 0, box2, source(1, 1001), &route) == RELAY_DROP_UNBOUND);
    cr_assert(send_from(relay, 0, box2, source(3, 1000), &route) == RELAY_DROP_UNBOUND);
    cr_assert(send_from(relay, 0, box1, source(1, 1000), &route) == RELAY_DROP_UNBOUND);
    cr_assert(send_from(relay, 0, (box1 + box2 + 1) % 8, source(1, 1000), &route) ==
              RELAY_DROP_UNBOUND);
    relay_free(relay);
}

Test(relay, packets_leave_from_the_address_that_was_bound_at)
{
    struct relay *relay = make(8, 0);
    struct relay_route route;
    cr_assert(tell(relay, 1, 2) == PPN_OK);
    uint32_t box1 = mailbox(relay, 2, 1), box2 = mailbox(relay, 1, 2);
    asked_at = 11;
    cr_assert(bound(relay, 0, 1, 2, source(1, 1000)));
    asked_at = 22;
    cr_assert(bound(relay, 0, 2, 1, source(2, 2000)));
    cr_assert(send_from(relay, 0, box2, source(1, 1000), &route) == RELAY_FORWARD);
    cr_assert_eq(route.own[15], 22, "towards 2, which bound there");
    cr_assert(send_from(relay, 0, box1, source(2, 2000), &route) == RELAY_FORWARD);
    cr_assert_eq(route.own[15], 11);
    asked_at = 33;
    cr_assert(bound(relay, 10, 1, 2, source(1, 1000)));
    cr_assert(send_from(relay, 10, box1, source(2, 2000), &route) == RELAY_FORWARD);
    cr_assert_eq(route.own[15], 33, "the newest counts");
    relay_free(relay);
}

Test(relay, a_bind_ends_after_its_lifetime_and_moves_with_the_source)
{
    struct relay *relay = make(8, 0);
    struct relay_route route;
    cr_assert(tell(relay, 1, 2) == PPN_OK);
    cr_assert(bound(relay, 0, 1, 2, source(1, 1000)) && bound(relay, 0, 2, 1, source(2, 2000)));
    uint32_t box2 = mailbox(relay, 1, 2);
    cr_assert(bound(relay, 10000, 1, 2, source(1, 1111)));
    cr_assert(send_from(relay, 10000, box2, source(1, 1000), &route) == RELAY_DROP_UNBOUND);
    cr_assert(send_from(relay, 10000, box2, source(1, 1111), &route) == RELAY_FORWARD);
    cr_assert(relay_deadline(relay).ns == at_ms(RELAY_LIFETIME_S * 1000).ns);
    cr_assert(send_from(relay, RELAY_LIFETIME_S * 1000, box2, source(1, 1111), &route) ==
              RELAY_DROP_PEER);
    struct relay_event tick = {.kind = RELAY_EVENT_TICK};
    struct relay_answer answer;
    struct relay_stats stats;
    cr_assert(relay_step(relay, at_ms(60000), &tick, &answer) == PPN_OK);
    relay_stats(relay, &stats);
    cr_assert(stats.binds == 0 && relay_deadline(relay).ns == PPN_NEVER.ns);
    relay_free(relay);
}

Test(relay, what_was_said_before_is_stale)
{
    struct relay *relay = make(8, 0);
    cr_assert(tell(relay, 1, 2) == PPN_OK);
    cr_assert(bound(relay, 0, 1, 2, source(1, 1000)));
    struct relay_event event = {.kind = RELAY_EVENT_QUESTION};
    struct relay_answer answer;
    struct relay_route route;
    uint32_t box2 = mailbox(relay, 1, 2);
    event.question.kind = RELAY_BIND;
    event.question.member = relay_find(relay, 1);
    event.question.mailbox = box2;
    event.question.node = 2;
    event.question.source = source(66, 6);
    const uint64_t counters[] = {0, 1000, next_counter - 1, next_counter};
    for (size_t i = 0; i < 4; i++) {
        event.question.counter = counters[i];
        cr_assert(relay_step(relay, at_ms(0), &event, &answer) == PPN_OK);
        cr_assert(answer.kind == RELAY_STALE && answer.counter == next_counter);
    }
    cr_assert(send_from(relay, 0, box2, source(66, 6), &route) == RELAY_DROP_UNBOUND);
    relay_free(relay);
}

Test(relay, a_revoked_member_is_gone_at_once)
{
    struct relay *relay = make(8, 0);
    struct relay_route route;
    struct relay_stats stats;
    cr_assert(tell(relay, 1, 3) == PPN_OK);
    for (uint64_t a = 1; a <= 3; a++)
        for (uint64_t b = 1; b <= 3; b++)
            cr_assert(a == b || bound(relay, 0, a, b, source((uint8_t)a, 1000)));
    uint32_t box2 = mailbox(relay, 1, 2), box3 = mailbox(relay, 2, 3);
    cr_assert(tell(relay, 2, 2) == PPN_OK); /* 1 is revoked */
    relay_stats(relay, &stats);
    cr_assert(stats.binds == 2 && stats.members == 2 && stats.mailboxes == 2);
    cr_assert(relay_find(relay, 1) == RELAY_NONE);
    cr_assert(send_from(relay, 0, box2, source(1, 1000), &route) == RELAY_DROP_UNBOUND);
    cr_assert(send_from(relay, 0, box3, source(2, 1000), &route) == RELAY_FORWARD);
    relay_free(relay);
}

Test(relay, a_member_has_its_rate_and_no_more)
{
    struct relay *relay = make(8, 1000000);
    struct relay_route route;
    struct relay_count forwarded, over;
    cr_assert(tell(relay, 1, 2) == PPN_OK);
    cr_assert(bound(relay, 0, 1, 2, source(1, 1000)) && bound(relay, 0, 2, 1, source(2, 2000)));
    uint32_t box1 = mailbox(relay, 2, 1), box2 = mailbox(relay, 1, 2);
    struct ppn_endpoint one = source(1, 1000);
    /* Ten seconds at ten times the rate. */
    for (int64_t us = 0; us < 10000000; us += 100)
        (void)relay_forward(relay, (struct ppn_instant){us * 1000}, box2, &one, 1, 1000, &route);
    relay_member_counts(relay, relay_find(relay, 1), &forwarded, &over);
    cr_assert(forwarded.bytes >= 10000000 && forwarded.bytes <= 10000000 + 2 * RELAY_BURST_MIN,
              "%llu", (unsigned long long)forwarded.bytes);
    cr_assert(over.packets + forwarded.packets == 100000);
    cr_assert(send_from(relay, 10000, box1, source(2, 2000), &route) == RELAY_FORWARD);
    relay_free(relay);
}

Test(relay, the_tables_are_bounded_and_shared)
{
    struct relay *relay = make(RELAY_MAILBOXES_MAX, 0);
    struct relay_stats stats;
    cr_assert(tell(relay, 1, PPN_MEMBERS_MAX) == PPN_OK);
    cr_assert(tell(relay, 1, PPN_MEMBERS_MAX + 1) == PPN_ERROR_TOO_BIG);
    /* One asks for everybody's mailbox and binds at all of them: it has its share and no more. */
    uint32_t count = 0;
    for (uint64_t to = 2; to <= PPN_MEMBERS_MAX; to++)
        count += bound(relay, 0, 1, to, source(1, 1000));
    cr_assert(count >= RELAY_BINDS_MAX / RELAY_MAILBOXES_MAX);
    relay_stats(relay, &stats);
    cr_assert(stats.binds <= RELAY_BINDS_MAX / RELAY_MAILBOXES_MAX);
    cr_assert(stats.mailboxes == RELAY_MAILBOXES_MAX);
    /* Others still get theirs: mailboxes of those who are bound nowhere give way. */
    cr_assert(bound(relay, 0, 9000, 9001, source(9, 1)));
    cr_assert(bound(relay, 0, 9001, 9000, source(8, 1)));
    relay_free(relay);
}

Test(relay, after_a_restart_the_old_port_is_taken_over)
{
    struct relay *relay = make(8, 0);
    cr_assert(tell(relay, 1, 3) == PPN_OK);
    struct relay_answer answer = ask(relay, 0, RELAY_BIND, 1, 2, 5, source(1, 1000));
    cr_assert(answer.kind == RELAY_BOUND && answer.mailbox == 5);
    answer = ask(relay, 0, RELAY_BIND, 1, 3, 5, source(1, 1000));
    cr_assert(answer.kind == RELAY_MAILBOX_IS && answer.mailbox != 5);
    answer = ask(relay, 0, RELAY_BIND, 1, 1, 5, source(1, 1000));
    cr_assert(answer.kind == RELAY_SILENT);
    answer = ask(relay, 0, RELAY_BIND, 1, 77, 5, source(1, 1000));
    cr_assert(answer.kind == RELAY_MAILBOX_IS && answer.mailbox == RELAY_NONE);
    relay_free(relay);
}

Test(relay, a_list_with_one_tag_twice_changes_nothing)
{
    struct relay *relay = make(8, 0);
    struct relay_member list[] = {{.tag = 5}, {.tag = 5}};
    struct relay_event event = {.kind = RELAY_EVENT_MEMBERS};
    struct relay_answer answer;
    event.members.list = list;
    event.members.count = 2;
    cr_assert(relay_step(relay, at_ms(0), &event, &answer) == PPN_ERROR_INVALID);
    cr_assert(relay_find(relay, 5) == RELAY_NONE);
    relay_free(relay);
}

/* A naive model beside the core: who is bound where, looked up by walking. */
enum { MODEL_NODES = 12, MODEL_BOXES = 6, MODEL_SOURCES = 5 };

struct model {
    bool member[MODEL_NODES + 1];
    struct {
        bool used;
        struct ppn_endpoint from;
        int64_t until;
        uint32_t box;
    } bind[MODEL_NODES + 1][MODEL_NODES + 1];
    uint32_t box[MODEL_NODES + 1];
};

static bool same(struct ppn_endpoint a, struct ppn_endpoint b)
{
    return memcmp(a.address, b.address, 16) == 0 && a.port == b.port;
}

static bool model_forwards(const struct model *model, int64_t ms, uint32_t box,
                           struct ppn_endpoint from, struct ppn_endpoint *to)
{
    for (int x = 1; x <= MODEL_NODES; x++)
        for (int y = 1; y <= MODEL_NODES; y++) {
            if (!model->bind[x][y].used || model->bind[x][y].until <= ms ||
                model->bind[x][y].box != box || !same(model->bind[x][y].from, from))
                continue;
            if (!model->bind[y][x].used || model->bind[y][x].until <= ms)
                return false;
            *to = model->bind[y][x].from;
            return true;
        }
    return false;
}

/* The mailbox of `y` was given to somebody else: what was bound there is void. */
static void model_follow_boxes(struct model *model, uint32_t box, uint64_t owner)
{
    for (int y = 1; y <= MODEL_NODES; y++)
        for (int x = 1; x <= MODEL_NODES; x++)
            if ((uint64_t)y != owner && model->bind[x][y].used && model->bind[x][y].box == box)
                model->bind[x][y].used = false;
}

static void model_bind(struct model *model, int64_t ms, uint64_t x, uint64_t y, uint32_t box,
                       struct ppn_endpoint from)
{
    model_follow_boxes(model, box, y);
    for (int other = 1; other <= MODEL_NODES; other++)
        if (model->bind[other][y].used && same(model->bind[other][y].from, from))
            model->bind[other][y].used = false;
    model->bind[x][y].used = true;
    model->bind[x][y].from = from;
    model->bind[x][y].until = ms + RELAY_LIFETIME_S * 1000;
    model->bind[x][y].box = box;
}

static void random_members(struct relay *relay, struct model *model, struct ppn_random *random,
                           int64_t ms)
{
    struct relay_member list[MODEL_NODES];
    struct relay_event event = {.kind = RELAY_EVENT_MEMBERS};
    struct relay_answer answer;
    event.members.list = list;
    for (uint64_t tag = 1; tag <= MODEL_NODES; tag++) {
        model->member[tag] = ppn_random_below(random, 8) != 0;
        if (model->member[tag])
            list[event.members.count++] = (struct relay_member){.tag = tag};
        for (uint64_t other = 1; !model->member[tag] && other <= MODEL_NODES; other++)
            model->bind[tag][other].used = model->bind[other][tag].used = false;
    }
    cr_assert(relay_step(relay, at_ms(ms), &event, &answer) == PPN_OK);
}

static void random_question(struct relay *relay, struct model *model, struct ppn_random *random,
                            int64_t ms, uint64_t *counter)
{
    struct relay_event event = {.kind = RELAY_EVENT_QUESTION};
    struct relay_answer answer;
    uint64_t x = 1 + ppn_random_below(random, MODEL_NODES);
    uint64_t y = 1 + ppn_random_below(random, MODEL_NODES);
    if (!model->member[x])
        return;
    bool replay = ppn_random_below(random, 6) == 0;
    event.question.kind = ppn_random_below(random, 4) == 0 ? RELAY_MAILBOX : RELAY_BIND;
    event.question.member = relay_find(relay, x);
    event.question.mailbox = ppn_random_below(random, 4) == 0
                                 ? (uint32_t)ppn_random_below(random, MODEL_BOXES)
                                 : model->box[y];
    event.question.counter = replay ? ppn_random_below(random, 1001) : ++*counter;
    event.question.node = y;
    event.question.source = source((uint8_t)x, (uint16_t)(1 + ppn_random_below(random, 2)));
    if (ppn_random_below(random, 8) == 0)
        event.question.source = source(200, 1); /* one address that several claim */
    cr_assert(relay_step(relay, at_ms(ms), &event, &answer) == PPN_OK);
    if (replay)
        cr_assert(answer.kind == RELAY_STALE);
    if (answer.kind == RELAY_MAILBOX_IS && answer.mailbox != RELAY_NONE) {
        model_follow_boxes(model, answer.mailbox, y);
        model->box[y] = answer.mailbox;
    }
    if (answer.kind == RELAY_BOUND) {
        cr_assert(x != y && model->member[y] && answer.mailbox == event.question.mailbox);
        model_bind(model, ms, x, y, answer.mailbox, event.question.source);
    }
}

Test(relay, agrees_with_a_model_under_random_use)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct relay *relay = make(MODEL_BOXES, 0);
        struct model model = {0};
        struct ppn_random random;
        uint64_t counter = 1000, forwarded = 0;
        ppn_random_init(&random, seed);
        random_members(relay, &model, &random, 0);
        for (int64_t step = 0, ms = 0; step < 4000; step++) {
            ms += (int64_t)ppn_random_below(&random, 400);
            if (ppn_random_below(&random, 200) == 0)
                random_members(relay, &model, &random, ms);
            random_question(relay, &model, &random, ms, &counter);
            for (uint32_t box = 0; box < MODEL_BOXES; box++) {
                struct ppn_endpoint from = source((uint8_t)(1 + ppn_random_below(&random, 12)),
                                                  (uint16_t)(1 + ppn_random_below(&random, 2)));
                struct ppn_endpoint to = {0};
                struct relay_route route;
                bool wanted = model_forwards(&model, ms, box, from, &to);
                enum relay_verdict verdict = send_from(relay, ms, box, from, &route);
                cr_assert((verdict == RELAY_FORWARD) == wanted, "seed %d step %d", (int)seed,
                          (int)step);
                cr_assert(!wanted || same(route.to, to));
                forwarded += wanted;
            }
        }
        cr_assert(forwarded > 50, "seed %d: only %d", (int)seed, (int)forwarded);
        relay_free(relay);
    }
}
