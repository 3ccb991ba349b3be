// SPDX-License-Identifier: ISC
#include "wg_rig.h"

TestSuite(wg, .init = start, .fini = stop);

Test(wg, nothing_before_the_log_is_known)
{
    cr_assert(tick() == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    cr_assert(wg_deadline(&wg).ns == INT64_MAX);
}

Test(wg, reads_the_device_first_and_adds_members_but_itself)
{
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_OBSERVE);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 2 && update.log_version == 1);
    for (size_t i = 0; i < 2; i++) {
        const struct wg_change *change = &update.changes[i];
        cr_assert(change->kind == WG_ADD && change->key.bytes[0] != 1);
        cr_assert(change->allowed[0] == 0xfd && change->allowed[11] == change->key.bytes[0]);
        cr_assert(change->allowed[15] == 0);
        cr_assert(!change->has_endpoint && change->keepalive_s == 0);
    }
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
}

Test(wg, strangers_on_the_device_go_before_members_come)
{
    struct wg_observed peers[2] = {seen(9, ipv4(10, 0, 0, 9)), seen(2, ipv4(10, 0, 0, 2))};
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(observed(peers, 2) == PPN_OK);
    cr_assert(update.count == 2);
    cr_assert(update.changes[0].kind == WG_REMOVE && update.changes[0].key.bytes[0] == 9);
    cr_assert(update.changes[1].kind == WG_ADD && update.changes[1].key.bytes[0] == 3);
}

Test(wg, allowed_ips_that_somebody_changed_are_put_right)
{
    struct wg_observed peer = seen(2, ipv4(10, 0, 0, 2));
    peer.allowed[11] = 77;
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(update.count == 1 && update.changes[0].kind == WG_ALLOWED);
    cr_assert(update.changes[0].allowed[11] == 2);
}

Test(wg, a_removal_waits_for_the_batch_in_flight_and_nothing_else)
{
    struct ppn_candidate candidate = {ipv4(10, 0, 0, 3), PPN_ENDPOINT_LAN};
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY);
    struct wg_update first = update;
    cr_assert(members(2, 3, 3) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    cr_assert(candidates(3, &candidate, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    update = first;
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.count == 1 && update.log_version == 2);
    cr_assert(update.changes[0].kind == WG_REMOVE && update.changes[0].key.bytes[0] == 3);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(candidates(3, &candidate, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE, "a removed peer's endpoint changes nothing");
}

Test(wg, an_older_log_is_stale_and_changes_nothing)
{
    cr_assert(members(5, 3, 0) == PPN_OK);
    cr_assert(members(4, 9, 0) == PPN_ERROR_STALE);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.count == 2);
}

Test(wg, two_members_with_one_key_or_address_are_invalid)
{
    struct wg_member list[2] = {member(2), member(3)};
    struct wg_event event = {.kind = WG_EVENT_MEMBERS,
                             .members = {.log_version = 1, .count = 2, .members = list}};
    list[1].key = key(2);
    cr_assert(step(&event) == PPN_ERROR_INVALID);
    list[1] = member(3);
    memcpy(list[1].address, list[0].address, 16);
    cr_assert(step(&event) == PPN_ERROR_INVALID);
    list[1] = member(3);
    list[1].node = node(2);
    cr_assert(step(&event) == PPN_ERROR_INVALID);
    cr_assert(update.kind == WG_UPDATE_NONE);
}

Test(wg, a_rotated_key_is_a_removal_and_an_addition_with_the_known_endpoint)
{
    struct ppn_candidate candidate = {ipv4(10, 0, 0, 2), PPN_ENDPOINT_LAN};
    struct wg_observed peer = seen(2, ipv4(10, 0, 0, 2));
    struct wg_member list[1] = {member(2)};
    struct wg_event event = {.kind = WG_EVENT_MEMBERS,
                             .members = {.log_version = 2, .count = 1, .members = list}};
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(candidates(2, &candidate, 1) == PPN_OK);
    list[0].key = key(42);
    cr_assert(step(&event) == PPN_OK);
    cr_assert(update.count == 2 && update.changes[0].kind == WG_REMOVE);
    cr_assert(update.changes[1].kind == WG_ADD && update.changes[1].key.bytes[0] == 42);
    cr_assert(update.changes[1].has_endpoint && update.changes[1].endpoint.address[15] == 2);
}

Test(wg, endpoints_known_before_the_member_are_used)
{
    struct ppn_candidate list[3] = {{ipv4(10, 0, 0, 2), PPN_ENDPOINT_LAN},
                                    {ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC},
                                    {ipv4(127, 0, 0, 1), PPN_ENDPOINT_PUBLIC}};
    struct wg_event hint = {.kind = WG_EVENT_HINT,
                            .hint = {.node = node(3), .endpoint = ipv4(192, 0, 2, 3)}};
    cr_assert(candidates(2, list, 3) == PPN_OK);
    cr_assert(step(&hint) == PPN_OK);
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.count == 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(update.changes[i].has_endpoint);
        uint8_t first = update.changes[i].endpoint.address[12];
        cr_assert(first == (update.changes[i].key.bytes[0] == 2 ? 203 : 192));
    }
}

Test(wg, a_neighbour_is_dialled_on_the_lan_first)
{
    struct ppn_candidate list[2] = {{ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC},
                                    {ipv4(10, 99, 0, 2), PPN_ENDPOINT_LAN}};
    struct wg_prefix prefix = {.length = 24};
    struct wg_event local = {.kind = WG_EVENT_LOCAL,
                             .local = {.behind_nat = true, .count = 1, .prefixes = &prefix}};
    memcpy(prefix.address, ipv4(10, 99, 0, 1).address, 16);
    cr_assert(candidates(2, list, 2) == PPN_OK);
    cr_assert(step(&local) == PPN_OK);
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.changes[0].endpoint.address[12] == 10);
    cr_assert(update.changes[0].keepalive_s == WG_KEEPALIVE_S);
}

/* What the batch that is under way does to member 2's place on the device. */
static bool carry_out(bool on_device)
{
    for (size_t c = 0; update.kind == WG_UPDATE_APPLY && c < update.count; c++)
        on_device = update.changes[c].kind != WG_REMOVE;
    return on_device;
}

/* Its first endpoint and its removal come at any two moments between the device's answers. A batch
 * emitted after the removal never makes the peer, and at the end it is not there. */
Test(wg, a_first_endpoint_and_a_removal_cross_in_every_order)
{
    struct ppn_candidate candidate = {ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC};
    for (int order = 0; order < 72; order++) {
        bool on_device = false, removed = false, old_batch = false;
        wg_free(&wg);
        start();
        cr_assert(members(1, 2, 0) == PPN_OK);
        cr_assert(observed(NULL, 0) == PPN_OK);
        for (int i = 0; i < 12; i++) {
            struct wg_update batch = update;
            for (int turn = 0; turn < 2; turn++) {
                bool removal = turn == order % 2;
                if (removal && i == order / 2 / 6) {
                    cr_assert(members(2, 2, 2) == PPN_OK);
                    removed = true;
                    old_batch = batch.kind == WG_UPDATE_APPLY;
                } else if (!removal && i == order / 2 % 6) {
                    cr_assert(candidates(2, &candidate, 1) == PPN_OK);
                } else {
                    continue;
                }
                /* One operation at a time: nothing new while a batch is under way. */
                cr_assert(batch.kind != WG_UPDATE_APPLY || update.kind == WG_UPDATE_NONE);
                batch = batch.kind == WG_UPDATE_APPLY ? batch : update;
            }
            update = batch;
            bool before = on_device;
            on_device = carry_out(on_device);
            cr_assert(!removed || old_batch || !on_device || before, "a removed peer came back");
            old_batch = false;
            if (update.kind == WG_UPDATE_APPLY)
                cr_assert(applied(PPN_OK) == PPN_OK);
        }
        cr_assert(removed && !on_device);
    }
}

Test(wg, a_failed_batch_means_reading_the_device_again_later)
{
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY);
    cr_assert(applied(PPN_ERROR_IO) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    cr_assert(wg_deadline(&wg).ns > now.ns);
    until_observe();
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ADD);
}

Test(wg, a_device_made_anew_gets_all_peers_again)
{
    struct wg_event reset = {.kind = WG_EVENT_RESET};
    cr_assert(members(1, 4, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    struct wg_update lost = update;
    cr_assert(step(&reset) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 3);
    cr_assert(update.batch != lost.batch);
    struct wg_update second = update;
    update = lost;
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE, "the answer to the lost batch counts for nothing");
    cr_assert(wg_deadline(&wg).ns == INT64_MAX);
    update = second;
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
}

Test(wg, more_removals_than_a_batch_hold_everything_else_back)
{
    struct wg_observed peers[100];
    for (uint8_t i = 0; i < 100; i++)
        peers[i] = seen((uint8_t)(100 + i), ipv4(10, 0, 0, 1));
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(observed(peers, 100) == PPN_OK);
    cr_assert(update.count == WG_BATCH_MAX);
    for (size_t i = 0; i < update.count; i++)
        cr_assert(update.changes[i].kind == WG_REMOVE);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.count == 100 - WG_BATCH_MAX + 2);
    cr_assert(update.changes[update.count - 1].kind == WG_ADD);
}

Test(wg, plain_never_asks_for_anything)
{
    struct wg_config config = {.self = key(1), .plain = true};
    wg_init(&wg, &config, now, 7);
    cr_assert(members(1, 3, 0) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE && wg_deadline(&wg).ns == INT64_MAX);
}
