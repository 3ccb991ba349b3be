// SPDX-License-Identifier: ISC
#include "wg_rig.h"

TestSuite(wg_way, .init = start, .fini = stop);

/* After an addition with an endpoint: the keepalive that made it shake hands is put off again. */
static void calm_down(void)
{
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count > 0);
    for (size_t i = 0; i < update.count; i++) {
        cr_assert(update.changes[i].kind == WG_ENDPOINT);
        cr_assert(!update.changes[i].has_endpoint && update.changes[i].keepalive_s == 0);
    }
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
}

Test(wg_way, a_new_peer_shakes_hands_at_once)
{
    struct ppn_candidate candidate = {ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC};
    cr_assert(candidates(2, &candidate, 1) == PPN_OK);
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.changes[0].kind == WG_ADD && update.changes[0].has_endpoint);
    cr_assert(update.changes[0].keepalive_s == WG_KEEPALIVE_S);
    cr_assert(applied(PPN_OK) == PPN_OK);
    calm_down();
}

Test(wg_way, a_first_endpoint_makes_the_peer_anew)
{
    struct ppn_candidate candidate = {ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC};
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.changes[0].kind == WG_ADD && !update.changes[0].has_endpoint);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(candidates(2, &candidate, 1) == PPN_OK);
    cr_assert(update.count == 1 && update.changes[0].kind == WG_REMOVE);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.count == 1 && update.changes[0].kind == WG_ADD);
    cr_assert(update.changes[0].has_endpoint && update.changes[0].keepalive_s == WG_KEEPALIVE_S);
    cr_assert(applied(PPN_OK) == PPN_OK);
    calm_down();
}

/* Adds member 2 with two candidates; leaves the batch applied. */
static void two_candidates(void)
{
    struct ppn_candidate list[2] = {{ipv4(203, 0, 113, 2), PPN_ENDPOINT_PUBLIC},
                                    {ipv4(198, 51, 100, 2), PPN_ENDPOINT_OBSERVED}};
    cr_assert(candidates(2, list, 2) == PPN_OK);
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(update.changes[0].endpoint.address[12] == 203);
    cr_assert(applied(PPN_OK) == PPN_OK);
    calm_down();
}

Test(wg_way, rotates_through_candidates_only_while_handshakes_fail)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    int64_t added = now.ns;
    /* Nothing sent: nothing is known, so nothing changes, however long it lasts. */
    for (int i = 0; i < 40; i++) {
        until_observe();
        cr_assert(observed(&peer, 1) == PPN_OK);
        cr_assert(update.kind == WG_UPDATE_NONE);
    }
    cr_assert(now.ns - added > ppn_seconds(40).ns);
    /* A handshake attempt went out and nothing came back. */
    peer.tx_bytes = 148;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 1);
    cr_assert(update.changes[0].kind == WG_ENDPOINT);
    cr_assert(update.changes[0].endpoint.address[12] == 198);
    cr_assert(applied(PPN_OK) == PPN_OK);
    /* The other one answers, and stays, whatever the list says later. */
    peer.endpoint = ipv4(198, 51, 100, 2);
    peer.has_handshake = true;
    for (int i = 0; i < 50; i++) {
        until_observe();
        peer.tx_bytes += 1000;
        peer.rx_bytes += 1000;
        cr_assert(observed(&peer, 1) == PPN_OK);
        cr_assert(update.kind == WG_UPDATE_NONE);
    }
    struct ppn_candidate other = {ipv4(203, 0, 113, 99), PPN_ENDPOINT_LAN};
    cr_assert(candidates(2, &other, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    struct wg_peer_status status;
    struct ppn_node_id two = node(2);
    cr_assert(wg_peer_status(&wg, now, &two, &status) == PPN_OK);
    cr_assert(status.state == WG_PEER_CONNECTED && status.rotations == 0);
}

static enum ppn_error proven(uint8_t n, struct ppn_endpoint endpoint)
{
    struct wg_event event = {.kind = WG_EVENT_PATH,
                             .path = {.node = node(n), .endpoint = endpoint, .mtu = WG_MTU}};
    return step(&event);
}

Test(wg_way, a_proven_way_is_taken_at_once_and_nothing_else_is_tried)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    struct ppn_endpoint relay = ipv4(192, 0, 2, 7), none = {{0}, 0};
    peer.has_handshake = true;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(proven(2, relay) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 1);
    cr_assert(update.changes[0].kind == WG_ENDPOINT &&
              update.changes[0].endpoint.address[12] == 192);
    cr_assert(applied(PPN_OK) == PPN_OK);
    /* No handshake comes, whatever is sent: the path core knows better. */
    peer.endpoint = relay;
    peer.has_handshake = false;
    for (int i = 0; i < 40; i++) {
        until_observe();
        peer.tx_bytes += 148;
        cr_assert(observed(&peer, 1) == PPN_OK);
        while (update.kind == WG_UPDATE_APPLY) {
            const struct wg_change *change = &update.changes[0];
            if (change->kind == WG_REMOVE)
                peer.tx_bytes = 0;
            cr_assert(!change->has_endpoint || change->endpoint.address[12] == 192);
            cr_assert(applied(PPN_OK) == PPN_OK);
        }
    }
    /* Nothing is proven any more: endpoints are tried in turn again. */
    cr_assert(proven(2, none) == PPN_OK);
    for (int i = 0; i < 40 && update.kind != WG_UPDATE_APPLY; i++) {
        until_observe();
        peer.tx_bytes += 148;
        cr_assert(observed(&peer, 1) == PPN_OK);
    }
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ENDPOINT);
    cr_assert(update.changes[0].endpoint.address[12] != 192);
}

Test(wg_way, a_proven_way_says_what_keepalive_and_size_it_takes)
{
    struct wg_event local = {.kind = WG_EVENT_LOCAL, .local.behind_nat = true};
    two_candidates();
    cr_assert(step(&local) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].keepalive_s == WG_KEEPALIVE_S);
    cr_assert(applied(PPN_OK) == PPN_OK);
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    peer.has_handshake = true;
    peer.keepalive_s = WG_KEEPALIVE_S;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    struct wg_event event = {.kind = WG_EVENT_PATH,
                             .path = {.node = node(2), .endpoint = peer.endpoint, .mtu = 1328}};
    cr_assert(step(&event) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 1);
    cr_assert(update.changes[0].kind == WG_ENDPOINT && update.changes[0].keepalive_s == 0);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 1, "then the route, by itself");
    cr_assert(update.changes[0].kind == WG_ROUTE && update.changes[0].mtu == 1328);
    cr_assert(update.changes[0].allowed[11] == 2);
    cr_assert(applied(PPN_OK) == PPN_OK && update.kind == WG_UPDATE_NONE);
    /* Members change, the way stays; then it carries all again. */
    cr_assert(members(2, 2, 0) == PPN_OK && update.kind == WG_UPDATE_NONE);
    event.path.mtu = WG_MTU;
    cr_assert(step(&event) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ROUTE);
    cr_assert(update.changes[0].mtu == WG_MTU);
    cr_assert(applied(PPN_OK) == PPN_OK && update.kind == WG_UPDATE_NONE);
    event.path.mtu = WG_MTU_MIN - 1;
    cr_assert(step(&event) == PPN_ERROR_INVALID);
}

Test(wg_way, routes_are_made_anew_with_the_device)
{
    two_candidates();
    struct wg_event event = {
        .kind = WG_EVENT_PATH,
        .path = {.node = node(2), .endpoint = ipv4(203, 0, 113, 2), .mtu = 1280}};
    cr_assert(step(&event) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ROUTE);
    cr_assert(applied(PPN_OK) == PPN_OK);
    struct wg_event reset = {.kind = WG_EVENT_RESET};
    cr_assert(step(&reset) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ADD);
    cr_assert(applied(PPN_OK) == PPN_OK);
    while (update.kind == WG_UPDATE_APPLY && update.changes[0].kind != WG_ROUTE)
        cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].mtu == 1280);
}

/* WireGuard tried a wrong endpoint a moment ago and would wait 5 s. A live session is left alone.
 */
Test(wg_way, without_a_session_a_proven_way_begins_anew)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    struct ppn_endpoint relay = ipv4(192, 0, 2, 7);
    peer.tx_bytes = 148;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    if (update.kind == WG_UPDATE_APPLY) {
        peer.endpoint = update.changes[0].endpoint;
        cr_assert(applied(PPN_OK) == PPN_OK);
    }
    cr_assert(proven(2, relay) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.count == 1);
    cr_assert(update.changes[0].kind == WG_REMOVE);
    cr_assert(applied(PPN_OK) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ADD);
    cr_assert(update.changes[0].endpoint.address[12] == 192);
    cr_assert(applied(PPN_OK) == PPN_OK);
    while (update.kind == WG_UPDATE_APPLY) {
        cr_assert(update.changes[0].kind == WG_ENDPOINT, "once");
        cr_assert(applied(PPN_OK) == PPN_OK);
    }
    peer = seen(2, relay);
    peer.has_handshake = true;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(proven(2, ipv4(203, 0, 113, 2)) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_APPLY && update.changes[0].kind == WG_ENDPOINT);
}

/* Carries out all batches; how often a peer was removed in them. */
static uint32_t settle(void)
{
    uint32_t removed = 0;
    while (update.kind == WG_UPDATE_APPLY) {
        removed += update.changes[0].kind == WG_REMOVE;
        cr_assert(applied(PPN_OK) == PPN_OK);
    }
    return removed;
}

/* Two machines wake to one another's old handshakes, and each drops the other's new one. */
Test(wg_way, a_handshake_gone_astray_over_a_proven_way_is_begun_again)
{
    two_candidates();
    struct ppn_endpoint way = ipv4(203, 0, 113, 2);
    struct wg_observed peer = seen(2, way);
    peer.tx_bytes = 1000;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    (void)settle();
    peer.tx_bytes = 2000;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    (void)settle();
    cr_assert(proven(2, way) == PPN_OK);
    cr_assert_eq(settle(), 0, "its own attempt comes first");
    struct ppn_instant from = now;
    uint32_t removed = 0;
    for (int reads = 0; reads < 60; reads++) {
        until_observe();
        cr_assert(observed(&peer, 1) == PPN_OK);
        uint32_t now_removed = settle();
        if (now_removed > 0 && removed == 0)
            cr_assert(ppn_to_ms(ppn_between(from, now)) <= 1200);
        if (now_removed > 0)
            peer.tx_bytes = 0;
        peer.tx_bytes += 148;
        removed += now_removed;
    }
    cr_assert_eq(removed, 3, "then it is WireGuard's own rhythm");
}

Test(wg_way, a_handshake_over_a_proven_way_is_left_alone)
{
    two_candidates();
    struct ppn_endpoint way = ipv4(203, 0, 113, 2);
    struct wg_observed peer = seen(2, way);
    peer.tx_bytes = 1000;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    (void)settle();
    cr_assert(proven(2, way) == PPN_OK);
    (void)settle();
    peer.has_handshake = true;
    peer.tx_bytes += 148;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert_eq(settle(), 0);
}

/* A laptop behind a router began a session; the device was read before that. Its own LAN's address
 * is no reason to end it. */
Test(wg_way, an_address_in_another_lan_alone_spoils_no_session)
{
    struct ppn_candidate lan = {ipv4(192, 168, 7, 2), PPN_ENDPOINT_LAN};
    cr_assert(members(1, 2, 0) == PPN_OK);
    cr_assert(observed(NULL, 0) == PPN_OK);
    cr_assert(applied(PPN_OK) == PPN_OK);
    now.ns += ppn_ms(200).ns;
    cr_assert(candidates(2, &lan, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE);
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 9));
    peer.has_handshake = true;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_NONE || update.changes[0].kind != WG_REMOVE);
    cr_assert(update.kind == WG_UPDATE_NONE || !update.changes[0].has_endpoint);
}

Test(wg_way, a_path_into_silence_is_left_though_its_handshake_is_young)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    peer.has_handshake = true;
    peer.rx_bytes = peer.tx_bytes = 1000;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    struct ppn_instant heard = now;
    bool moved = false;
    for (int i = 0; i < 20 && !moved; i++) {
        until_observe();
        peer.tx_bytes += 500;
        peer.handshake_age = ppn_between(heard, now);
        cr_assert(observed(&peer, 1) == PPN_OK);
        moved = update.kind == WG_UPDATE_APPLY;
    }
    cr_assert(moved && update.changes[0].endpoint.address[12] == 198);
    cr_assert(ppn_between(heard, now).ns >= ppn_seconds(20).ns);
    cr_assert(ppn_between(heard, now).ns <= ppn_seconds(60).ns);
}

Test(wg_way, keepalives_alone_are_no_silence)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    peer.has_handshake = true;
    peer.rx_bytes = 1000;
    until_observe();
    cr_assert(observed(&peer, 1) == PPN_OK);
    for (int i = 0; i < 4; i++) {
        until_observe();
        peer.tx_bytes += 16;
        cr_assert(observed(&peer, 1) == PPN_OK);
        cr_assert(update.kind == WG_UPDATE_NONE);
    }
}

Test(wg_way, a_machine_that_is_off_is_dialled_ever_more_slowly)
{
    two_candidates();
    struct wg_observed peer = seen(2, ipv4(203, 0, 113, 2));
    int64_t start_ns = now.ns;
    int changes = 0;
    while (now.ns - start_ns < ppn_seconds(3600).ns) {
        until_observe();
        peer.tx_bytes += 148;
        cr_assert(observed(&peer, 1) == PPN_OK);
        if (update.kind == WG_UPDATE_APPLY) {
            changes++;
            peer.endpoint = update.changes[0].endpoint;
            cr_assert(applied(PPN_OK) == PPN_OK);
        }
    }
    cr_assert(changes > 40 && changes < 100, "%d changes in an hour", changes);
}
