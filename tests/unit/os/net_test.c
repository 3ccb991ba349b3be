// SPDX-License-Identifier: ISC
#include <sched.h>
#include <string.h>

#include "os/os_address.h"
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
