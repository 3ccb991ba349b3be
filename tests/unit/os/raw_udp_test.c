// SPDX-License-Identifier: ISC
#include <string.h>

#include "os/os_address.h"
#include "os/os_raw_udp.h"
#include "os/os_udp.h"
#include "os_test.h"

enum { FIRST = 0xd5 };

struct heard {
    uint32_t count;
    size_t size;
    uint8_t last;
    struct ppn_endpoint from;
    bool done;
};

static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct heard *heard = context;
    heard->count++;
    heard->size = datagram.size;
    heard->last = datagram.data[datagram.size - 1];
    heard->from = *from;
    heard->done = true;
}

static struct os_udp *owner(struct rig *rig, const char *address, struct heard *heard)
{
    struct os_udp *udp;
    struct ppn_failure failure;
    struct os_udp_config config = {.on_receive = on_receive, .context = heard};
    cr_assert_eq(os_endpoint_parse(address, 0, &config.bind), PPN_OK);
    cr_assert_eq(os_udp_open(rig->loop, &config, &udp, &failure), PPN_OK, "%s", failure.text);
    return udp;
}

/* Two ports that ordinary sockets own; what the raw ones send comes from the first and is seen at
 * the second by its owner, too. */
static void beside_the_owner(const char *address)
{
    struct rig rig;
    struct heard owner_a = {0}, owner_b = {0}, raw_a = {0}, raw_b = {0};
    struct os_raw_udp *a, *b;
    struct ppn_failure failure;
    rig_open(&rig);
    struct os_udp *udp_a = owner(&rig, address, &owner_a), *udp_b = owner(&rig, address, &owner_b);
    struct ppn_endpoint at_a = os_udp_local(udp_a), at_b = os_udp_local(udp_b);
    struct os_raw_udp_config config = {at_a.port, FIRST, on_receive, &raw_a};
    enum ppn_error error = os_raw_udp_open(rig.loop, &config, &a, &failure);
    if (error == PPN_ERROR_PERMISSION) {
        os_udp_close(udp_a);
        os_udp_close(udp_b);
        rig_close(&rig);
        cr_skip_test("raw sockets need CAP_NET_RAW");
    }
    cr_assert_eq(error, PPN_OK, "%s", failure.text);
    config = (struct os_raw_udp_config){at_b.port, FIRST, on_receive, &raw_b};
    cr_assert_eq(os_raw_udp_open(rig.loop, &config, &b, &failure), PPN_OK, "%s", failure.text);

    uint8_t bytes[81] = {0x01};
    cr_assert(os_udp_send(udp_a, &at_b, ppn_slice(bytes, sizeof bytes)));
    rig_until(&rig, &owner_b.done);
    owner_b.done = false;
    bytes[0] = FIRST;
    bytes[80] = 0x77;
    cr_assert_eq(os_raw_udp_send(a, &at_b, ppn_slice(bytes, sizeof bytes)), PPN_OK);
    rig_until(&rig, &raw_b.done);
    rig_until(&rig, &owner_b.done);
    cr_assert_eq(raw_b.count, 1, "WireGuard's packets are not seen");
    cr_assert_eq(raw_b.size, sizeof bytes);
    cr_assert_eq(raw_b.last, 0x77);
    cr_assert(os_endpoint_equal(&raw_b.from, &at_a));
    cr_assert_eq(owner_b.count, 2, "the checksum is right");
    cr_assert_eq(raw_a.count, 0);
    os_raw_udp_close(a);
    os_raw_udp_close(b);
    os_udp_close(udp_a);
    os_udp_close(udp_b);
    rig_close(&rig);
}

Test(raw_udp, ipv4_beside_the_owner_of_the_port)
{
    beside_the_owner("127.0.0.1:0");
}

Test(raw_udp, ipv6_beside_the_owner_of_the_port)
{
    beside_the_owner("[::1]:0");
}
