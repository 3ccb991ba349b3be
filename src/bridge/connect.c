// SPDX-License-Identifier: ISC

/* The node's end: UDP ports on the loopback, one for each port of the relay that is in use, with
 * the relay's own numbers <-> one connection to the relay's bridge. WireGuard and the node's path
 * packets use them as they use the relay's ports elsewhere. The relay's WireGuard has a port whose
 * number the system chooses, since the node's own WireGuard has most likely taken that number. */

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bridge/bridge.h"
#include "bridge/link.h"
#include "os/os_udp.h"
#include "wire/path.h"

enum {
    LOCAL_MAX = 288, /* ports in use at once: the peers of a pool that is entirely relayed */
    TICK_MS = 1000,
    AGAIN_FIRST_MS = 500,
    AGAIN_MAX_MS = 8000,
    UDP_BUFFER = 512 * 1024
};

struct connect;

struct local {
    struct connect *connect;
    struct os_udp *udp; /* NULL: free */
    uint16_t port;      /* of the relay's machine, as frames have it */
    struct ppn_instant used_at;
};

struct connect {
    struct os_loop *loop;
    struct bridge_pipe *pipe;
    struct bridge_connect_config config;
    struct tls_context *tls;
    struct link *link; /* NULL: waiting for the next attempt */
    bool spoken;       /* the other end said that it is a bridge */
    struct bridge_alive alive;
    struct os_timer tick, again;
    struct ppn_duration backoff;
    struct bridge_report report;
    struct local ports[LOCAL_MAX]; /* the first two stay */
};

static void count(uint64_t *packets, uint64_t *bytes, size_t size)
{
    (*packets)++;
    *bytes += size;
}

static void dropped(struct connect *connect, size_t size)
{
    count(&connect->report.dropped_packets, &connect->report.dropped_bytes, size);
}

/* ---- the loopback ---- */

static void on_datagram(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct local *local = context;
    struct connect *connect = local->connect;
    if (from->port != connect->config.wireguard)
        return;
    local->used_at = os_now(connect->loop);
    if (connect->link == NULL || !link_send(connect->link, local->port, datagram)) {
        dropped(connect, datagram.size);
        return;
    }
    bridge_alive_sent(&connect->alive, os_now(connect->loop));
    count(&connect->report.up_packets, &connect->report.up_bytes, datagram.size);
}

static struct local *find(struct connect *connect, uint16_t port)
{
    for (size_t i = 0; i < LOCAL_MAX; i++) {
        if (connect->ports[i].udp != NULL && connect->ports[i].port == port)
            return &connect->ports[i];
    }
    return NULL;
}

/* The one that was used longest ago gives way, but the first two. */
static struct local *room(struct connect *connect)
{
    struct local *oldest = &connect->ports[2];
    for (size_t i = 0; i < LOCAL_MAX; i++) {
        struct local *local = &connect->ports[i];
        if (local->udp == NULL)
            return local;
        if (i >= 2 && ppn_before(local->used_at, oldest->used_at))
            oldest = local;
    }
    os_udp_close(oldest->udp);
    oldest->udp = NULL;
    return oldest;
}

static enum ppn_error listen_for(struct connect *connect, uint16_t port,
                                 struct ppn_failure *failure)
{
    if (find(connect, port) != NULL)
        return PPN_OK;
    struct local *local = room(connect);
    struct os_udp_config config = {.bind = connect->config.local,
                                   .receive_buffer_bytes = UDP_BUFFER,
                                   .on_receive = on_datagram,
                                   .context = local};
    config.bind.port = port == BRIDGE_PORT_WIREGUARD ? 0 : port;
    local->connect = connect;
    local->port = port;
    local->used_at = os_now(connect->loop);
    return os_udp_open(connect->loop, &config, &local->udp, failure);
}

/* The relay names a mailbox: the node will bind there next. Whether it is the relay that says it,
 * the node finds out; until then it is a port of the loopback where nobody but WireGuard is heard.
 */
static void note_mailbox(struct connect *connect, struct ppn_slice datagram)
{
    struct ppn_failure failure;
    const uint8_t *bytes = datagram.data;
    if (datagram.size < WIRE_PATH_SIZE_MIN || bytes[0] != WIRE_PATH_MAGIC ||
        bytes[2] != WIRE_PATH_MAILBOX_IS)
        return;
    uint16_t port =
        (uint16_t)(bytes[WIRE_PATH_HEADER_SIZE] << 8 | bytes[WIRE_PATH_HEADER_SIZE + 1]);
    if (port >= BRIDGE_PORT_MIN && listen_for(connect, port, &failure) != PPN_OK)
        connect->report.dropped_packets++;
}

/* ---- the connection ---- */

static void report(struct connect *connect)
{
    connect->report.open = connect->spoken;
    connect->report.wireguard_port = os_udp_local(connect->ports[0].udp).port;
    bridge_pipe_report(connect->pipe, &connect->report);
}

static void later(struct connect *connect, const char *text)
{
    link_close(connect->link);
    connect->link = NULL;
    connect->spoken = false;
    (void)strncpy(connect->report.text, text, BRIDGE_TEXT - 1);
    report(connect);
    os_timer_after(&connect->again, connect->backoff);
    connect->backoff.ns *= 2;
    if (connect->backoff.ns > ppn_ms(AGAIN_MAX_MS).ns)
        connect->backoff = ppn_ms(AGAIN_MAX_MS);
}

static void ask(struct connect *connect)
{
    static const uint8_t version[] = {BRIDGE_VERSION};
    (void)link_send(connect->link, BRIDGE_PORT_LINK, ppn_slice(version, sizeof(version)));
}

static void on_open(void *context)
{
    ask(context);
}

static void on_frame(void *context, const struct bridge_frame *frame)
{
    struct connect *connect = context;
    struct ppn_endpoint to = {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1},
                              .port = connect->config.wireguard};
    bridge_alive_heard(&connect->alive, os_now(connect->loop));
    if (frame->port == BRIDGE_PORT_LINK) {
        if (frame->datagram.size != 1 || frame->datagram.data[0] != BRIDGE_VERSION) {
            later(connect, "the bridge there is of another version");
        } else if (!connect->spoken) {
            connect->spoken = true;
            connect->backoff = ppn_ms(AGAIN_FIRST_MS);
            connect->report.text[0] = '\0';
            report(connect);
        }
        return;
    }
    note_mailbox(connect, frame->datagram);
    struct local *local = find(connect, frame->port);
    if (local == NULL || !os_udp_send(local->udp, &to, frame->datagram)) {
        dropped(connect, frame->datagram.size);
        return;
    }
    local->used_at = os_now(connect->loop);
    count(&connect->report.down_packets, &connect->report.down_bytes, frame->datagram.size);
}

static void on_close(void *context, const char *text)
{
    later(context, text);
}

static void on_again(void *context)
{
    static const struct link_handler handler = {on_open, on_frame, on_close};
    struct connect *connect = context;
    struct ppn_failure failure = {0};
    PPN_ASSERT(connect->link == NULL);
    connect->alive = (struct bridge_alive){.heard_at = os_now(connect->loop)};
    if (link_connect(connect->loop, connect->tls, &connect->config.to, &handler, connect,
                     &connect->link, &failure) != PPN_OK)
        later(connect, failure.text);
}

static void on_tick(void *context)
{
    struct connect *connect = context;
    os_timer_after(&connect->tick, ppn_ms(TICK_MS));
    if (connect->link != NULL) {
        enum bridge_alive_verdict verdict =
            bridge_alive_tick(&connect->alive, os_now(connect->loop));
        if (verdict == BRIDGE_ASK)
            ask(connect);
        if (verdict == BRIDGE_DEAD)
            later(connect, "no answer over the connection");
    }
    report(connect);
}

enum ppn_error bridge_connect(struct os_loop *loop, struct bridge_pipe *pipe,
                              const struct bridge_connect_config *config,
                              struct ppn_failure *failure)
{
    static struct connect connect;
    connect.loop = loop;
    connect.pipe = pipe;
    connect.config = *config;
    connect.backoff = ppn_ms(AGAIN_FIRST_MS);
    os_timer_init(&connect.tick, loop, on_tick, &connect);
    os_timer_init(&connect.again, loop, on_again, &connect);
    enum ppn_error error = tls_context_new(false, &connect.tls, failure);
    if (error == PPN_OK)
        error = listen_for(&connect, BRIDGE_PORT_WIREGUARD, failure);
    if (error == PPN_OK)
        error = listen_for(&connect, config->relay_port, failure);
    if (error != PPN_OK)
        return error;
    on_again(&connect);
    os_timer_after(&connect.tick, ppn_ms(TICK_MS));
    return PPN_OK;
}
