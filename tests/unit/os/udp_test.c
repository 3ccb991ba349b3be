// SPDX-License-Identifier: ISC
#include <string.h>

#include "os/os_address.h"
#include "os/os_udp.h"
#include "os_test.h"

struct inbox {
    uint32_t count, unreachable;
    bool host_answers, done;
    uint32_t wanted;
    size_t last_size;
    struct ppn_endpoint from;
    struct os_udp *close_on_receive;
};

static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct inbox *inbox = context;
    inbox->count++;
    inbox->from = *from;
    inbox->last_size = datagram.size;
    inbox->done = inbox->count >= inbox->wanted;
    if (inbox->close_on_receive)
        os_udp_close(inbox->close_on_receive);
    inbox->close_on_receive = NULL;
}

static void on_unreachable(void *context, const struct ppn_endpoint *to, bool host_answers)
{
    struct inbox *inbox = context;
    inbox->unreachable++;
    inbox->from = *to;
    inbox->host_answers = host_answers;
    inbox->done = true;
}

static struct os_udp *bound(struct rig *rig, const char *address, struct inbox *inbox)
{
    struct os_udp *udp;
    struct ppn_failure failure;
    struct os_udp_config config = {
        .on_receive = on_receive, .on_unreachable = on_unreachable, .context = inbox};
    cr_assert_eq(os_endpoint_parse(address, 0, &config.bind), PPN_OK);
    cr_assert_eq(os_udp_open(rig->loop, &config, &udp, &failure), PPN_OK, "%s", failure.text);
    cr_assert_neq(os_udp_local(udp).port, 0);
    return udp;
}

static void exchange(const char *a_text, const char *b_text)
{
    struct rig rig;
    struct inbox in_a = {0}, in_b = {.wanted = 50};
    uint8_t bytes[PPN_DATAGRAM_MAX] = {0};
    rig_open(&rig);
    struct os_udp *a = bound(&rig, a_text, &in_a), *b = bound(&rig, b_text, &in_b);
    struct ppn_endpoint to = os_udp_local(b);
    for (int i = 0; i < 50; i++)
        cr_assert(os_udp_send(a, &to, ppn_slice(bytes, sizeof bytes)));
    rig_until(&rig, &in_b.done);
    cr_assert_eq(in_b.last_size, PPN_DATAGRAM_MAX);
    cr_assert_eq(in_b.from.port, os_udp_local(a).port);
    cr_assert_eq(os_udp_stats(b)->received, 50);
    cr_assert_eq(os_udp_stats(a)->sent_bytes, 50 * PPN_DATAGRAM_MAX);
    os_udp_close(a);
    os_udp_close(b);
    rig_close(&rig);
}

Test(udp, exchanges_over_ipv4)
{
    exchange("127.0.0.1:0", "127.0.0.1:0");
}

Test(udp, exchanges_over_ipv6)
{
    exchange("[::1]:0", "[::1]:0");
}

/* A socket on any address speaks both families. */
Test(udp, any_address_takes_ipv4_and_says_so)
{
    struct rig rig;
    struct inbox in_a = {0}, in_b = {.wanted = 1};
    rig_open(&rig);
    struct os_udp *a = bound(&rig, "127.0.0.1:0", &in_a), *b = bound(&rig, "0", &in_b);
    struct ppn_endpoint to = os_udp_local(a);
    to.port = os_udp_local(b).port;
    cr_assert(os_udp_send(a, &to, ppn_slice("x", 1)));
    rig_until(&rig, &in_b.done);
    struct ppn_endpoint local = os_udp_local(a);
    cr_assert(os_endpoint_equal(&in_b.from, &local));
    os_udp_close(a);
    os_udp_close(b);
    rig_close(&rig);
}

static void dead_port(const char *address)
{
    struct rig rig;
    struct inbox in_a = {0}, in_b = {.wanted = 1};
    rig_open(&rig);
    struct os_udp *a = bound(&rig, address, &in_a), *b = bound(&rig, address, &in_b);
    struct ppn_endpoint to = os_udp_local(b);
    os_udp_close(b);
    cr_assert(os_udp_send(a, &to, ppn_slice("x", 1)));
    rig_until(&rig, &in_a.done);
    cr_assert_eq(in_a.unreachable, 1);
    cr_assert(in_a.host_answers);
    cr_assert(os_endpoint_equal(&in_a.from, &to));
    /* The error of one datagram does not cost the next one to somebody else. */
    b = bound(&rig, address, &in_b);
    struct ppn_endpoint alive = os_udp_local(b);
    os_udp_send(a, &to, ppn_slice("x", 1));
    cr_assert(os_udp_send(a, &alive, ppn_slice("x", 1)));
    rig_until(&rig, &in_b.done);
    os_udp_close(a);
    os_udp_close(b);
    rig_close(&rig);
}

Test(udp, a_dead_port_is_told_with_its_address)
{
    dead_port("127.0.0.1:0");
    dead_port("[::1]:0");
}

Test(udp, too_large_and_no_route_are_counted)
{
    struct rig rig;
    struct inbox in_a = {0}, in_b = {.wanted = 1};
    static const uint8_t bytes[OS_UDP_DATAGRAM_MAX + 1];
    rig_open(&rig);
    struct os_udp *a = bound(&rig, "127.0.0.1:0", &in_a), *b = bound(&rig, "127.0.0.1:0", &in_b);
    struct ppn_endpoint to = os_udp_local(b), ipv6;
    cr_assert_eq(os_endpoint_parse("[::1]:9", 0, &ipv6), PPN_OK);
    cr_assert(os_udp_send(a, &to, ppn_slice(bytes, sizeof bytes)));
    cr_assert(os_udp_send(a, &to, ppn_slice("x", 1)));
    cr_assert(!os_udp_send(a, &ipv6, ppn_slice("x", 1)));
    rig_until(&rig, &in_b.done);
    cr_assert_eq(os_udp_stats(b)->dropped_too_big, 1);
    cr_assert_eq(os_udp_stats(a)->dropped_error, 1);
    os_udp_close(a);
    os_udp_close(b);
    rig_close(&rig);
}

Test(udp, closing_inside_a_batch)
{
    struct rig rig;
    struct inbox in_a = {0}, in_b = {.wanted = 1};
    rig_open(&rig);
    struct os_udp *a = bound(&rig, "127.0.0.1:0", &in_a), *b = bound(&rig, "127.0.0.1:0", &in_b);
    struct ppn_endpoint to = os_udp_local(b);
    in_b.close_on_receive = b;
    for (int i = 0; i < 10; i++)
        os_udp_send(a, &to, ppn_slice("x", 1));
    rig_until(&rig, &in_b.done);
    cr_assert_eq(in_b.count, 1);
    os_udp_close(a);
    rig_close(&rig);
}

Test(udp, a_taken_port_is_told_plainly)
{
    struct rig rig;
    struct inbox inbox = {0};
    struct os_udp *second;
    struct ppn_failure failure;
    rig_open(&rig);
    struct os_udp *first = bound(&rig, "127.0.0.1:0", &inbox);
    struct os_udp_config config = {.bind = os_udp_local(first), .on_receive = on_receive};
    cr_assert_eq(os_udp_open(rig.loop, &config, &second, &failure), PPN_ERROR_EXISTS);
    cr_assert(strstr(failure.text, "another program uses this port") != NULL);
    os_udp_close(first);
    rig_close(&rig);
}

Test(address, texts_round_trip)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"192.0.2.1:7441", "192.0.2.1:7441"},
        {"192.0.2.1", "192.0.2.1:51"},
        {"[fd00::1]:9", "[fd00::1]:9"},
        {"fd00::1", "[fd00::1]:51"},
        {"[fd00::1]", "[fd00::1]:51"},
        {":7", "[::]:7"},
        {"7", "[::]:7"},
        {"host", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:", NULL},
        {"[fd00::1", NULL},
        {"[fd00::1]x", NULL},
        {"", NULL},
        {"1.2.3.4:-1", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ppn_endpoint endpoint;
        char text[OS_ENDPOINT_TEXT];
        enum ppn_error error = os_endpoint_parse(rows[i].in, 51, &endpoint);
        cr_assert_eq(error, rows[i].out ? PPN_OK : PPN_ERROR_INVALID, "%s", rows[i].in);
        if (error != PPN_OK)
            continue;
        os_endpoint_text(&endpoint, text);
        cr_assert_str_eq(text, rows[i].out);
    }
}
