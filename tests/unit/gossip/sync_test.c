// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>

#include "gossip/internal.h"
#include "lone_core.h"

enum { SMALL = 8, LARGE = 40 };

static void rest(struct lone_core *lone, int64_t seconds)
{
    for (int64_t tenth = 0; tenth < 10 * seconds; tenth++) {
        lone_answer(lone, 0, ppn_ms(100));
        lone_clear(lone);
    }
}

/* A packet of member 1 that shows another view than the core's, or the same. */
static void show_view(struct lone_core *lone, bool other)
{
    struct gossip_packet news = {.kind = GOSSIP_NEWS};
    news.view_digest = gossip_view_digest(lone->core) ^ other;
    news.load_digest = lone->core->load_digest;
    lone_clear(lone);
    lone_packet(lone, 1, &news);
}

/* As whoever answers pings with the core's own digests does. */
static void agree(struct lone_core *lone, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        show_view(lone, false);
        lone_wait(lone, ppn_ms(100));
    }
}

static struct gossip_row row_of(const struct lone_core *lone, uint32_t member, uint32_t incarnation)
{
    return (struct gossip_row){.tag = gossip_tag_of(&lone->ids[member]),
                               .epoch = 1,
                               .incarnation = incarnation,
                               .standing = GOSSIP_STANDING_ALIVE};
}

/* A range of just one member. */
static void range_of(struct gossip_packet *packet, struct gossip_row row)
{
    *packet = (struct gossip_packet){.kind = GOSSIP_RANGE};
    packet->of.range.first = packet->of.range.last = row.tag;
    packet->of.range.count = 1;
    packet->of.range.rows[0] = row;
}

Test(gossip_sync, views_that_differ_for_a_moment_are_news_under_way)
{
    static struct lone_core lone;
    lone_meet(&lone, SMALL);
    rest(&lone, 3);
    agree(&lone, 500);
    show_view(&lone, true);
    lone.now = ppn_after(lone.now, ppn_ms(100));
    show_view(&lone, true);
    cr_assert(lone_sent(&lone, GOSSIP_RANGE, 1) == NULL, "not yet");
    agree(&lone, 100);
    for (uint32_t tenth = 0; tenth < 9; tenth++) {
        show_view(&lone, true);
        cr_assert(lone_sent(&lone, GOSSIP_RANGE, 1) == NULL, "the clock began anew");
        lone_wait(&lone, ppn_ms(100));
    }
    lone_wait(&lone, ppn_ms(200));
    show_view(&lone, true);
    const struct lone_seen *range = lone_sent(&lone, GOSSIP_RANGE, 1);
    cr_assert(range != NULL && range->packet.of.range.count == SMALL);
    lone_close(&lone);
}

Test(gossip_sync, a_large_view_sends_digests_first_and_rows_of_what_differs)
{
    static struct lone_core lone;
    lone_meet(&lone, LARGE);
    rest(&lone, 3);
    agree(&lone, 3000);
    show_view(&lone, true);
    for (uint32_t tenth = 0; tenth < 12 && lone_sent(&lone, GOSSIP_DIGEST, 1) == NULL; tenth++) {
        lone_wait(&lone, ppn_ms(100));
        show_view(&lone, true);
    }
    const struct lone_seen *digest = lone_sent(&lone, GOSSIP_DIGEST, 1);
    cr_assert(digest != NULL && lone_sent(&lone, GOSSIP_RANGE, 1) == NULL);
    struct gossip_packet same = digest->packet;
    same.view_digest = gossip_view_digest(lone.core);
    same.load_digest = lone.core->load_digest;
    lone_clear(&lone);
    lone_packet(&lone, 2, &same);
    cr_assert(lone_sent(&lone, GOSSIP_RANGE, 2) == NULL, "nothing differs");
    gossip_tag tag = gossip_tag_of(&lone.ids[5]);
    same.of.digest.buckets[tag >> 58] ^= 1;
    lone_clear(&lone);
    lone_packet(&lone, 2, &same);
    const struct lone_seen *range = lone_sent(&lone, GOSSIP_RANGE, 2);
    cr_assert(range != NULL && range->packet.of.range.count < LARGE / 4);
    cr_assert(range->packet.of.range.first <= tag && tag <= range->packet.of.range.last);
    lone_close(&lone);
}

Test(gossip_sync, what_is_newer_there_is_wanted_and_what_is_newer_here_is_given)
{
    static struct lone_core lone;
    struct gossip_packet packet;
    lone_meet(&lone, SMALL);
    lone_item(&lone, 3, lone_life(&lone, 3, 1, 5, GOSSIP_STANDING_ALIVE));
    rest(&lone, 8);
    range_of(&packet, row_of(&lone, 2, 4));
    lone_packet(&lone, 1, &packet);
    const struct lone_seen *want = lone_sent(&lone, GOSSIP_WANT, 1);
    cr_assert(want != NULL && want->packet.of.want.count == 1);
    cr_assert(want->packet.of.want.wants[0].tag == gossip_tag_of(&lone.ids[2]));
    cr_assert(want->packet.of.want.wants[0].kinds == GOSSIP_WANT_LIFE);
    cr_assert(lone_sent(&lone, GOSSIP_NEWS, 1) == NULL);
    lone_clear(&lone);
    range_of(&packet, row_of(&lone, 3, 4));
    lone_packet(&lone, 1, &packet);
    const struct lone_seen *news = lone_sent(&lone, GOSSIP_NEWS, 1);
    cr_assert(lone_sent(&lone, GOSSIP_WANT, 1) == NULL);
    cr_assert(news != NULL && news->packet.item_count == 1 && news->items[0] == GOSSIP_ITEM_LIFE);
    lone_clear(&lone);
    range_of(&packet, row_of(&lone, 3, 5));
    lone_packet(&lone, 1, &packet);
    cr_assert(lone_sent(&lone, GOSSIP_WANT, 1) == NULL && lone_sent(&lone, GOSSIP_NEWS, 1) == NULL);
    lone_close(&lone);
}

Test(gossip_sync, what_is_wanted_is_given_to_members_only_and_never_more)
{
    static struct lone_core lone;
    lone_meet(&lone, SMALL);
    lone_item(&lone, 3, lone_body(&lone, 3, GOSSIP_ITEM_PROFILE, 1, 1, "profile"));
    rest(&lone, 8);
    struct gossip_packet want = {.kind = GOSSIP_WANT};
    want.of.want.count = 2;
    want.of.want.wants[0] = (struct gossip_want){gossip_tag_of(&lone.ids[3]), GOSSIP_WANT_PROFILE};
    want.of.want.wants[1] = (struct gossip_want){12345, GOSSIP_WANT_LIFE};
    lone_packet(&lone, 1, &want);
    const struct lone_seen *news = lone_sent(&lone, GOSSIP_NEWS, 1);
    cr_assert(news != NULL && news->packet.item_count == 1);
    cr_assert(news->items[0] == GOSSIP_ITEM_PROFILE);
    lone_close(&lone);
}

Test(gossip_sync, who_lost_a_member_alone_pings_it_and_who_did_not_asks_why)
{
    static struct lone_core lone;
    struct gossip_packet packet;
    lone_meet(&lone, SMALL);
    rest(&lone, 8);
    struct gossip_row row = row_of(&lone, 4, 1);
    row.standing |= GOSSIP_ROW_LOST;
    range_of(&packet, row);
    lone_packet(&lone, 1, &packet);
    const struct lone_seen *want = lone_sent(&lone, GOSSIP_WANT, 1);
    cr_assert(want != NULL && want->packet.of.want.wants[0].kinds == GOSSIP_WANT_VERDICT);
    cr_assert(lone_member(&lone, 4).state == GOSSIP_ALIVE, "a row is no verdict");
    lone_close(&lone);
}

Test(gossip_sync, who_was_away_asks_at_once)
{
    static struct lone_core lone;
    lone_meet(&lone, SMALL);
    rest(&lone, 3);
    agree(&lone, 1000);
    lone.now = ppn_after(lone.now, ppn_seconds(3));
    show_view(&lone, true);
    cr_assert(lone_sent(&lone, GOSSIP_RANGE, 1) != NULL);
    lone_close(&lone);
}
