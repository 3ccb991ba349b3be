// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "wg/wg.h"

/* One core, a clock, and its last update; and short ways to say what happens to it. */
static struct wg wg;
static struct wg_update update;
static struct ppn_instant now;

static struct wg_key key(uint8_t n)
{
    struct wg_key k = {{0}};
    memset(k.bytes, n, sizeof(k.bytes));
    return k;
}

static struct ppn_node_id node(uint8_t n)
{
    struct ppn_node_id id = {{0}};
    memset(id.bytes, (uint8_t)(200 - n), sizeof(id.bytes));
    return id;
}

static struct wg_member member(uint8_t n)
{
    struct wg_member m = {.node = node(n), .key = key(n)};
    m.address[0] = 0xfd;
    m.address[11] = n;
    m.address[15] = 1;
    return m;
}

static struct ppn_endpoint ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct ppn_endpoint){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 51820};
}

static enum ppn_error step(const struct wg_event *event)
{
    return wg_step(&wg, now, event, &update);
}

static void start(void)
{
    struct wg_config config = {.self = key(1)};
    memset(&update, 0, sizeof(update));
    now = (struct ppn_instant){ppn_seconds(1000).ns};
    wg_init(&wg, &config, now, 7);
}

static void stop(void)
{
    wg_free(&wg);
}

TestSuite(wg, .init = start, .fini = stop);

/* Members 1..last (1 is this node itself) less `absent`. */
static enum ppn_error members(uint64_t version, uint8_t last, uint8_t absent)
{
    struct wg_member list[100];
    struct wg_event event = {.kind = WG_EVENT_MEMBERS};
    for (uint8_t n = 1; n <= last; n++) {
        if (n != absent)
            list[event.members.count++] = member(n);
    }
    event.members.log_version = version;
    event.members.members = list;
    return step(&event);
}

static enum ppn_error candidates(uint8_t n, const struct ppn_candidate *list, size_t count)
{
    struct wg_event event = {.kind = WG_EVENT_CANDIDATES,
                             .candidates = {.node = node(n), .count = count, .list = list}};
    return step(&event);
}

static enum ppn_error applied(enum ppn_error error)
{
    struct wg_event event = {.kind = WG_EVENT_APPLIED,
                             .applied = {.batch = update.batch, .error = error}};
    return step(&event);
}

static enum ppn_error observed(const struct wg_observed *peers, size_t count)
{
    struct wg_event event = {.kind = WG_EVENT_OBSERVED,
                             .observed = {.error = PPN_OK, .count = count, .peers = peers}};
    return step(&event);
}

static enum ppn_error tick(void)
{
    struct wg_event event = {.kind = WG_EVENT_TICK};
    return step(&event);
}

static struct wg_observed seen(uint8_t n, struct ppn_endpoint endpoint)
{
    struct wg_observed peer = {
        .key = key(n), .has_endpoint = true, .endpoint = endpoint, .allowed_one = true};
    peer.allowed[0] = 0xfd;
    peer.allowed[11] = n;
    return peer;
}

/* Lets the next deadline come and expects that the device is read. */
static void until_observe(void)
{
    cr_assert(wg_deadline(&wg).ns != INT64_MAX);
    now = wg_deadline(&wg).ns > now.ns ? wg_deadline(&wg) : now;
    cr_assert(tick() == PPN_OK);
    cr_assert(update.kind == WG_UPDATE_OBSERVE);
}

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

Test(wg, a_new_peer_shakes_hands_at_once)
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

Test(wg, a_first_endpoint_makes_the_peer_anew)
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

Test(wg, rotates_through_candidates_only_while_handshakes_fail)
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

Test(wg, a_proven_way_is_taken_at_once_and_nothing_else_is_tried)
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
        cr_assert(update.kind == WG_UPDATE_NONE);
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

Test(wg, a_proven_way_says_what_keepalive_and_size_it_takes)
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

Test(wg, routes_are_made_anew_with_the_device)
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
Test(wg, without_a_session_a_proven_way_begins_anew)
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

/* A laptop behind a router began a session; the device was read before that. Its own LAN's address
 * is no reason to end it. */
Test(wg, an_address_in_another_lan_alone_spoils_no_session)
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

Test(wg, a_path_into_silence_is_left_though_its_handshake_is_young)
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

Test(wg, keepalives_alone_are_no_silence)
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

Test(wg, a_machine_that_is_off_is_dialled_ever_more_slowly)
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
