// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "lone_core.h"

Test(gossip_record, nothing_is_sent_before_the_epoch_is_on_disk)
{
    struct lone_core lone;
    lone_open(&lone, 3);
    cr_assert(lone_step(&lone, &(struct gossip_event){.kind = GOSSIP_EVENT_START, .epoch = 6}) ==
              PPN_OK);
    lone_wait(&lone, ppn_seconds(10));
    cr_assert(lone_count(&lone, GOSSIP_DO_PERSIST_EPOCH) == 1);
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) == 0);
    struct gossip_event wrong = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 6};
    cr_assert(lone_step(&lone, &wrong) == PPN_OK);
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) == 0);
    struct gossip_event right = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 7};
    cr_assert(lone_step(&lone, &right) == PPN_OK);
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) > 0);
    cr_assert(lone_member(&lone, 0).epoch == 7);
    lone_close(&lone);
}

Test(gossip_record, only_newer_numbers_count)
{
    static const struct {
        uint32_t epoch, incarnation, epoch_after, incarnation_after;
    } cases[] = {
        {2, 3, 2, 3},
        {2, 2, 2, 3},
        {1, 9, 2, 3},
        {2, 4, 2, 4},
        {UINT32_MAX, 1, UINT32_MAX, 1},
        {5, 1, UINT32_MAX, 1},
    };
    struct lone_core lone;
    lone_start(&lone, 3);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        lone_item(&lone, 2,
                  lone_life(&lone, 1, cases[i].epoch, cases[i].incarnation, GOSSIP_STANDING_ALIVE));
        cr_assert(lone_member(&lone, 1).epoch == cases[i].epoch_after, "case %zu", i);
        cr_assert(lone_member(&lone, 1).incarnation == cases[i].incarnation_after, "case %zu", i);
    }
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_close(&lone);
}

Test(gossip_record, who_speaks_for_another_is_named_and_muted)
{
    struct lone_core lone;
    lone_start(&lone, 4);
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 1, GOSSIP_STANDING_ALIVE));
    lone_clear(&lone);
    struct gossip_item leave = {.kind = GOSSIP_ITEM_LIFE,
                                .author = gossip_tag_of(&lone.ids[1]),
                                .epoch = 1,
                                .sequence = 2,
                                .standing = GOSSIP_STANDING_LEFT};
    lone_item(&lone, 2, lone_sign(&lone, 2, &leave));
    cr_assert(lone_count(&lone, GOSSIP_DO_FORGED) == 1);
    cr_assert(ppn_node_id_equal(&lone.seen[0].node, &lone.ids[2]));
    cr_assert(lone_member(&lone, 1).state == GOSSIP_ALIVE);
    lone_item(&lone, 2, lone_life(&lone, 3, 1, 1, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, 3).epoch == 0, "a forger is not listened to for a moment");
    lone_wait(&lone, ppn_seconds(2));
    lone_item(&lone, 2, lone_life(&lone, 3, 1, 1, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_member(&lone, 3).epoch == 1);
    lone_close(&lone);
}

Test(gossip_record, two_bodies_under_one_number_prove_a_clone)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 1, GOSSIP_STANDING_ALIVE));
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "here"));
    lone_clear(&lone);
    lone_item(&lone, 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "here"));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 0);
    lone_item(&lone, 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "there"));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 1);
    cr_assert(lone_member(&lone, 1).profile.size == 4);
    lone_close(&lone);
}

Test(gossip_record, a_proof_that_is_passed_about_alarms_once_and_costs_one_check)
{
    struct lone_core lone;
    struct gossip_counters before, after;
    lone_start(&lone, 4);
    lone_item(&lone, 1, lone_life(&lone, 1, 1, 1, GOSSIP_STANDING_ALIVE));
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "here"));
    lone_item(&lone, 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "there"));
    gossip_counters(lone.core, &before);
    for (uint32_t i = 0; i < 20; i++)
        lone_item(&lone, 2 + i % 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 1, "there"));
    gossip_counters(lone.core, &after);
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 1);
    cr_assert(after.verified == before.verified);
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 2, "here"));
    lone_item(&lone, 2, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 1, 2, "there"));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 2, "another number is another proof");
    lone_close(&lone);
}

Test(gossip_record, a_body_waits_for_the_life_of_its_epoch)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 4, 1, "x"));
    cr_assert(lone_member(&lone, 1).profile.size == 0);
    lone_item(&lone, 1, lone_life(&lone, 1, 4, 1, GOSSIP_STANDING_ALIVE));
    lone_item(&lone, 1, lone_body(&lone, 1, GOSSIP_ITEM_PROFILE, 4, 1, "x"));
    cr_assert(lone_member(&lone, 1).profile.size == 1);
    lone_close(&lone);
}

Test(gossip_record, a_lost_store_is_learnt_again_from_peers)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    lone_clear(&lone);
    lone_item(&lone, 1, lone_life(&lone, 0, 8, 5, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_count(&lone, GOSSIP_DO_PERSIST_EPOCH) == 1);
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 0);
    lone_clear(&lone);
    lone_wait(&lone, ppn_seconds(2));
    cr_assert(lone_count(&lone, GOSSIP_DO_SEND) == 0, "silent until the new epoch is on disk");
    struct gossip_event done = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 9};
    cr_assert(lone_step(&lone, &done) == PPN_OK);
    cr_assert(lone_member(&lone, 0).epoch == 9 && lone_count(&lone, GOSSIP_DO_SEND) > 0);
    lone_clear(&lone);
    lone_item(&lone, 1, lone_life(&lone, 0, 9, 50, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 1, "the second time it is somebody else");
    lone_close(&lone);
}

Test(gossip_record, one_packet_asks_for_one_epoch)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    lone_clear(&lone);
    struct gossip_packet packet = {.kind = GOSSIP_NEWS, .item_count = 2};
    packet.items[0] = lone_life(&lone, 0, 8, 5, GOSSIP_STANDING_ALIVE);
    packet.items[1] = lone_life(&lone, 0, 20, 1, GOSSIP_STANDING_ALIVE);
    lone_packet(&lone, 1, &packet);
    cr_assert(lone_count(&lone, GOSSIP_DO_PERSIST_EPOCH) == 1);
    lone_close(&lone);
}

Test(gossip_record, peers_may_teach_a_lost_store_twice)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    lone_item(&lone, 1, lone_life(&lone, 0, 8, 5, GOSSIP_STANDING_ALIVE));
    struct gossip_event done = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 9};
    cr_assert(lone_step(&lone, &done) == PPN_OK);
    lone_clear(&lone);
    lone_item(&lone, 2, lone_life(&lone, 0, 11, 2, GOSSIP_STANDING_ALIVE));
    cr_assert(lone_count(&lone, GOSSIP_DO_CLONE) == 0);
    cr_assert(lone_count(&lone, GOSSIP_DO_PERSIST_EPOCH) == 1);
    lone_close(&lone);
}

Test(gossip_record, own_far_future_epoch_does_not_wrap)
{
    struct lone_core lone;
    lone_start(&lone, 2);
    lone_item(&lone, 1, lone_life(&lone, 0, UINT32_MAX, 1, GOSSIP_STANDING_ALIVE));
    struct gossip_event done = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = UINT32_MAX};
    cr_assert(lone_step(&lone, &done) == PPN_OK);
    cr_assert(lone_member(&lone, 0).epoch == UINT32_MAX);
    lone_close(&lone);
}

Test(gossip_record, restored_rows_count_and_damaged_ones_do_not)
{
    struct lone_core lone;
    lone_open(&lone, 3);
    struct gossip_event event = {.kind = GOSSIP_EVENT_RESTORE};
    event.bytes = lone_life(&lone, 1, 3, 2, GOSSIP_STANDING_ALIVE);
    cr_assert(lone_step(&lone, &event) == PPN_OK);
    cr_assert(lone_member(&lone, 1).epoch == 3);
    cr_assert(lone_member(&lone, 1).state == GOSSIP_UNKNOWN, "known of, not heard of");
    uint8_t damaged[GOSSIP_LIFE_SIZE];
    struct ppn_slice good = lone_life(&lone, 2, 3, 2, GOSSIP_STANDING_ALIVE);
    memcpy(damaged, good.data, good.size);
    damaged[15] ^= 1;
    event.bytes = ppn_slice(damaged, good.size);
    cr_assert(lone_step(&lone, &event) == PPN_ERROR_SIGNATURE);
    event.bytes = lone_life(&lone, 0, 12, 2, GOSSIP_STANDING_ALIVE);
    cr_assert(lone_step(&lone, &event) == PPN_OK);
    lone_clear(&lone);
    cr_assert(lone_step(&lone, &(struct gossip_event){.kind = GOSSIP_EVENT_START, .epoch = 4}) ==
              PPN_OK);
    cr_assert(lone.seen[0].kind == GOSSIP_DO_PERSIST_EPOCH && lone.seen[0].epoch == 13,
              "own last word, found in the view, outranks an older epoch on disk");
    lone_close(&lone);
}

Test(gossip_record, a_steady_stream_of_loads_is_thinned)
{
    struct lone_core lone;
    lone_start(&lone, 3);
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t body[4] = {(uint8_t)i};
        struct gossip_event event = {.kind = GOSSIP_EVENT_SELF_BODY,
                                     .plane = GOSSIP_PLANE_LOAD,
                                     .bytes = ppn_slice(body, sizeof(body))};
        cr_assert(lone_step(&lone, &event) == PPN_OK);
        lone_wait(&lone, ppn_ms(100));
    }
    uint32_t sequence = lone_member(&lone, 0).load_sequence;
    cr_assert(sequence >= 3 && sequence <= 7, "%u loads in ten seconds", sequence);
    lone_wait(&lone, ppn_seconds(10));
    cr_assert(lone_member(&lone, 0).load.data[0] == 99, "the last one always goes out");
    lone_close(&lone);
}

Test(gossip_record, bodies_over_their_limit_are_the_callers_error)
{
    static const uint8_t big[GOSSIP_PROFILE_BODY_MAX + 1];
    struct lone_core lone;
    lone_start(&lone, 2);
    struct gossip_event event = {.kind = GOSSIP_EVENT_SELF_BODY,
                                 .plane = GOSSIP_PLANE_PROFILE,
                                 .bytes = ppn_slice(big, sizeof(big))};
    cr_assert(lone_step(&lone, &event) == PPN_ERROR_TOO_BIG);
    event.plane = GOSSIP_PLANE_LOAD;
    event.bytes.size = GOSSIP_LOAD_BODY_MAX + 1;
    cr_assert(lone_step(&lone, &event) == PPN_ERROR_TOO_BIG);
    lone_close(&lone);
}
