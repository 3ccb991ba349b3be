// SPDX-License-Identifier: ISC
#include <sched.h>
#include <string.h>

#include "os/os_address.h"
#include "os/os_child.h"
#include "os/os_net.h"
#include "os/os_udp.h"
#include "os_test.h"

/* In a network namespace of its own, where only the loopback interface is. */

struct outcome {
    bool done, failed;
    char text[PPN_FAILURE_TEXT_MAX];
};

static void on_done(void *context, const struct ppn_failure *failure)
{
    struct outcome *outcome = context;
    outcome->done = true;
    outcome->failed = failure != NULL;
    if (failure)
        snprintf(outcome->text, sizeof outcome->text, "%s", failure->text);
}

static struct outcome apply(struct rig *rig, const char *interface, const uint8_t *address,
                            uint8_t bits, bool remove)
{
    struct outcome outcome = {0};
    struct ppn_failure failure;
    struct os_net_change change = {interface, address, bits, remove};
    cr_assert_eq(os_net_apply(rig->loop, &change, on_done, &outcome, &failure), PPN_OK, "%s",
                 failure.text);
    rig_until(rig, &outcome.done);
    return outcome;
}

static bool listed(const uint8_t *address)
{
    struct os_net_addresses addresses;
    cr_assert_eq(os_net_addresses(&addresses, NULL), PPN_OK);
    for (uint32_t i = 0; i < addresses.count; i++)
        if (memcmp(addresses.list[i].address, address, 16) == 0)
            return addresses.list[i].prefix_bits == 96 && addresses.list[i].up;
    return false;
}

static void on_change(void *context)
{
    *(bool *)context = true;
}

struct child_end {
    bool done, fine;
};

static void on_child(void *context, const struct os_child_result *result)
{
    *(struct child_end *)context = (struct child_end){true, os_child_ok(result)};
}

static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    (void)context;
    (void)from;
    (void)datagram;
}

Test(net, addresses_come_and_go_and_are_noticed)
{
    struct rig rig;
    struct ppn_endpoint mesh;
    struct os_net_watch *watch;
    struct os_udp *udp;
    bool changed = false;
    struct ppn_failure failure;
    if (!os_process_is_root() || unshare(CLONE_NEWNET) != 0)
        cr_skip_test("needs root for a network namespace");
    rig_open(&rig);
    cr_assert_eq(os_endpoint_parse("[fd12::1]:7441", 0, &mesh), PPN_OK);
    cr_assert_eq(os_net_watch_open(rig.loop, on_change, &changed, &watch, NULL), PPN_OK);
    struct os_udp_config config = {.bind = mesh, .on_receive = on_receive};
    cr_assert_eq(os_udp_open(rig.loop, &config, &udp, &failure), PPN_ERROR_NOT_FOUND);
    config.freebind = true;
    cr_assert_eq(os_udp_open(rig.loop, &config, &udp, &failure), PPN_OK);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = apply(&rig, "lo", mesh.address, 96, false);
        cr_assert(!outcome.failed, "%s", outcome.text);
        cr_assert(listed(mesh.address));
    }
    rig_until(&rig, &changed);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = apply(&rig, "lo", mesh.address, 96, true);
        cr_assert(!outcome.failed, "%s", outcome.text);
        cr_assert(!listed(mesh.address));
    }
    struct outcome outcome = apply(&rig, "nothere", mesh.address, 96, false);
    cr_assert(outcome.failed);
    cr_assert(strstr(outcome.text, "cannot change the interface nothere: ") != NULL, "%s",
              outcome.text);
    cr_assert_eq(
        os_net_apply(rig.loop, &(struct os_net_change){.interface = "-x"}, on_done, NULL, &failure),
        PPN_ERROR_INVALID);
    os_udp_close(udp);
    os_net_watch_close(watch);
    rig_close(&rig);
}

static void ip(struct rig *rig, const char *words)
{
    struct ppn_failure failure;
    char copy[160], *save = NULL;
    const char *argv[24] = {"ip"};
    size_t count = 1;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[count++] = word;
    struct os_child_config config = {.argv = argv, .timeout = ppn_seconds(10)};
    struct child_end end = {0};
    cr_assert_eq(os_child_spawn(rig->loop, &config, on_child, &end, NULL, &failure), PPN_OK, "%s",
                 failure.text);
    rig_until(rig, &end.done);
    cr_assert(end.fine, "ip %s", words);
}

static bool route_is(const struct os_net_route *route, const char *interface, const char *gateway,
                     const char *source)
{
    char text[OS_ENDPOINT_TEXT];
    os_address_text(route->gateway, text);
    if (strcmp(route->interface, interface) != 0 || strcmp(text, gateway) != 0)
        return false;
    os_address_text(route->source, text);
    return strcmp(text, source) == 0;
}

/* What the mesh compares: each of these is another network, and an address that only came is none.
 */
Test(net, default_routes_tell_one_network_from_another)
{
    struct rig rig;
    struct os_net_routes before, now;
    struct os_net_watch *watch;
    bool changed = false;
    if (!os_process_is_root() || unshare(CLONE_NEWNET) != 0)
        cr_skip_test("needs root for a network namespace");
    rig_open(&rig);
    os_net_default_routes(&before);
    cr_assert(before.ipv4.interface[0] == 0 && before.ipv6.interface[0] == 0);
    ip(&rig, "link add w0 type veth peer name w1");
    ip(&rig, "link set w1 up");
    ip(&rig, "link set w0 up");
    ip(&rig, "address add 192.168.7.2/24 dev w0");
    ip(&rig, "address add 2001:db8:7::2/64 dev w0 nodad");
    ip(&rig, "route add default via 192.168.7.1");
    ip(&rig, "route add default via 2001:db8:7::1");
    os_net_default_routes(&before);
    cr_assert(route_is(&before.ipv4, "w0", "192.168.7.1", "192.168.7.2"));
    cr_assert(route_is(&before.ipv6, "w0", "2001:db8:7::1", "2001:db8:7::2"));

    ip(&rig, "address add 192.168.7.3/24 dev w0");
    os_net_default_routes(&now);
    cr_assert_eq(memcmp(&now, &before, sizeof now), 0, "an address came, and nothing moved");

    cr_assert_eq(os_net_watch_open(rig.loop, on_change, &changed, &watch, NULL), PPN_OK);
    ip(&rig, "route replace default via 192.168.7.254");
    rig_until(&rig, &changed);
    os_net_default_routes(&now);
    cr_assert(route_is(&now.ipv4, "w0", "192.168.7.254", "192.168.7.2"), "another gateway");
    ip(&rig, "route replace default via 192.168.7.254 src 192.168.7.3");
    os_net_default_routes(&now);
    cr_assert(route_is(&now.ipv4, "w0", "192.168.7.254", "192.168.7.3"), "another source");
    cr_assert_eq(memcmp(&now.ipv6, &before.ipv6, sizeof now.ipv6), 0);

    /* The cable is pulled and put back; all else stays. */
    before = now;
    ip(&rig, "link set w1 down");
    ip(&rig, "link set w1 up");
    os_net_default_routes(&now);
    cr_assert(route_is(&now.ipv4, "w0", "192.168.7.254", "192.168.7.3"));
    cr_assert_gt(now.ipv4.carrier_changes, before.ipv4.carrier_changes,
                 "the carrier went and came");

    ip(&rig, "route add default dev w1 metric 1");
    ip(&rig, "route del default via 192.168.7.254");
    os_net_default_routes(&now);
    cr_assert_str_eq(now.ipv4.interface, "w1");
    cr_assert_eq(memcmp(now.ipv4.gateway, (uint8_t[16]){0}, 16), 0, "a default route on the link");
    os_net_watch_close(watch);
    rig_close(&rig);
}
