// SPDX-License-Identifier: ISC

/* The relay's end: TCP connections <-> UDP ports of their own on the loopback. Who may do what is
 * decided by gate.h. */

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "bridge/bridge.h"
#include "bridge/gate.h"
#include "bridge/link.h"
#include "os/os_process.h"
#include "os/os_stream.h"
#include "os/os_udp.h"

enum { REPORT_MS = 1000, ACCEPTED_MAX = GATE_OPEN_MAX + 16, UDP_BUFFER = 512 * 1024 };

struct serve;

/* One for each seat of the gate. Resting: udp alone. */
struct seat {
    struct serve *serve;
    uint32_t index;
    struct link *link;
    struct os_udp *udp;
};

struct serve {
    struct os_loop *loop;
    struct bridge_pipe *pipe;
    struct tls_context *tls;
    struct os_listener *listener;
    struct os_timer sweep, report;
    struct gate gate;
    struct seat seats[GATE_SEATS];
};

static const uint8_t loopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};

static struct ppn_endpoint local(uint16_t port)
{
    struct ppn_endpoint endpoint = {.port = port};
    for (size_t i = 0; i < sizeof(loopback); i++)
        endpoint.address[i] = loopback[i];
    return endpoint;
}

static void rearm(struct serve *serve)
{
    os_timer_at(&serve->sweep, gate_deadline(&serve->gate));
}

static void free_port(struct seat *seat)
{
    if (seat->udp != NULL)
        os_udp_close(seat->udp);
    seat->udp = NULL;
}

/* The connection's end, from whichever side. */
static void leave(struct seat *seat)
{
    struct serve *serve = seat->serve;
    link_close(seat->link);
    seat->link = NULL;
    if (!gate_leave(&serve->gate, os_now(serve->loop), seat->index))
        free_port(seat);
    os_listener_release(serve->listener);
    rearm(serve);
}

static void on_open(void *context)
{
    (void)context;
}

static void on_frame(void *context, const struct bridge_frame *frame)
{
    struct seat *seat = context;
    struct serve *serve = seat->serve;
    uint16_t port;
    if (frame->port == BRIDGE_PORT_LINK) {
        if (frame->datagram.size == 1 && frame->datagram.data[0] == BRIDGE_VERSION)
            (void)link_send(seat->link, BRIDGE_PORT_LINK, frame->datagram);
        else
            leave(seat);
        return;
    }
    if (gate_up(&serve->gate, seat->index, frame->port, frame->datagram.size, &port) ==
        GATE_CLOSE) {
        leave(seat);
        return;
    }
    struct ppn_endpoint to = local(port);
    if (!os_udp_send(seat->udp, &to, frame->datagram))
        gate_dropped(&serve->gate, frame->datagram.size);
}

static void on_close(void *context, const char *text)
{
    struct seat *seat = context;
    (void)text;
    leave(seat);
}

static void on_datagram(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct seat *seat = context;
    struct serve *serve = seat->serve;
    uint16_t port;
    if (gate_down(&serve->gate, os_now(serve->loop), seat->index, from, datagram.size, &port) !=
        GATE_PASS)
        return;
    if (!link_send(seat->link, port, datagram))
        gate_dropped(&serve->gate, datagram.size);
}

static enum ppn_error fill(struct seat *seat, int fd, struct ppn_failure *failure)
{
    static const struct link_handler handler = {on_open, on_frame, on_close};
    struct serve *serve = seat->serve;
    struct os_udp_config config = {.bind = local(0),
                                   .receive_buffer_bytes = UDP_BUFFER,
                                   .on_receive = on_datagram,
                                   .context = seat};
    enum ppn_error error = os_udp_open(serve->loop, &config, &seat->udp, failure);
    if (error != PPN_OK) {
        close(fd);
        return error;
    }
    return link_accept(serve->loop, serve->tls, fd, &handler, seat, &seat->link, failure);
}

static void on_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct serve *serve = context;
    struct ppn_failure failure;
    struct ppn_instant now = os_now(serve->loop);
    uint32_t index = gate_enter(&serve->gate, now, from);
    if (index == GATE_NONE) {
        close(fd);
        os_listener_release(serve->listener);
        return;
    }
    struct seat *seat = &serve->seats[index];
    PPN_ASSERT(seat->link == NULL && seat->udp == NULL);
    if (fill(seat, fd, &failure) != PPN_OK) {
        seat->link = NULL;
        leave(seat);
    }
    rearm(serve);
}

static void on_sweep(void *context)
{
    struct serve *serve = context;
    bool resting;
    uint32_t index;
    while ((index = gate_expired(&serve->gate, os_now(serve->loop), &resting)) != GATE_NONE) {
        if (resting)
            free_port(&serve->seats[index]);
        else
            leave(&serve->seats[index]);
    }
    rearm(serve);
}

static void on_report(void *context)
{
    struct serve *serve = context;
    const struct gate_stats *stats = &serve->gate.stats;
    struct bridge_report report = {
        .open = stats->open,
        .strangers = stats->strangers,
        .refused = stats->refused,
        .up_packets = stats->up.packets,
        .up_bytes = stats->up.bytes,
        .down_packets = stats->down.packets,
        .down_bytes = stats->down.bytes,
        .dropped_packets = stats->dropped.packets,
        .dropped_bytes = stats->dropped.bytes,
    };
    bridge_pipe_report(serve->pipe, &report);
    os_timer_after(&serve->report, ppn_ms(REPORT_MS));
}

enum ppn_error bridge_serve(struct os_loop *loop, struct bridge_pipe *pipe,
                            const struct bridge_serve_config *config, struct ppn_failure *failure)
{
    static struct serve serve;
    struct gate_config gate = {config->wireguard, config->relay_first, config->relay_last};
    struct os_listener_config listener = {.bind.port = config->port,
                                          .connections_max = ACCEPTED_MAX,
                                          .on_accept = on_accept,
                                          .context = &serve};
    serve.loop = loop;
    serve.pipe = pipe;
    gate_init(&serve.gate, &gate);
    for (uint32_t i = 0; i < GATE_SEATS; i++)
        serve.seats[i] = (struct seat){.serve = &serve, .index = i};
    enum ppn_error error = os_listener_open(loop, &listener, &serve.listener, failure);
    if (error == PPN_OK && config->user != 0)
        error = os_process_become((uid_t)config->user, failure);
    if (error == PPN_OK)
        error = tls_context_new(true, &serve.tls, failure);
    if (error != PPN_OK)
        return error;
    os_timer_init(&serve.sweep, loop, on_sweep, &serve);
    os_timer_init(&serve.report, loop, on_report, &serve);
    on_report(&serve);
    return PPN_OK;
}
