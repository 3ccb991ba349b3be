// SPDX-License-Identifier: ISC
#include "node/bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "bridge/frame.h"
#include "node/node.h"
#include "os/os_address.h"
#include "os/os_child.h"
#include "os/os_process.h"
#include "os/os_stream.h"
#include "vm/vm_host.h"

enum {
    RESTART_FIRST_MS = 500,
    RESTART_MAX_MS = 60000, /* a port that somebody else has may be free one day */
    STEADY_S = 60,
    BRIDGE_UID = VM_UID_BASE - 2, /* nobody else's: not the relay's either */
    ARGV_MAX = 16
};

struct node_bridge {
    struct node *node;
    bool serves;
    struct node_bridge_target target;
    node_bridge_fn *changed;
    void *context;
    struct os_child *child;
    struct os_stream *stream;
    bool up;
    struct bridge_report report;
    struct os_timer restart;
    struct ppn_duration backoff;
    struct ppn_instant started;
    char said[PPN_FAILURE_TEXT_MAX]; /* why it does not run, so that it is logged once */
};

static void start(struct node_bridge *bridge);

static void set_up(struct node_bridge *bridge, bool up)
{
    char text[OS_ENDPOINT_TEXT];
    if (bridge->up == up)
        return;
    bridge->up = up;
    if (bridge->serves) {
        if (up)
            ppn_log(PPN_LOG_INFO, "relay-tcp", "port=%u", bridge->node->options.relay_tcp_port);
        node_self_touch(bridge->node);
        return;
    }
    os_endpoint_text(&bridge->target.to, text);
    ppn_log(PPN_LOG_INFO, "bridge", "to=%s state=%s cause=\"%s\"", text, up ? "up" : "down",
            bridge->report.text);
    bridge->changed(bridge->context);
}

static void stop(struct node_bridge *bridge)
{
    os_timer_stop(&bridge->restart);
    os_stream_close(bridge->stream);
    bridge->stream = NULL;
    os_child_kill(bridge->child);
    bridge->child = NULL;
}

static void again(struct node_bridge *bridge, const char *cause)
{
    struct ppn_instant now = os_now(bridge->node->loop);
    stop(bridge);
    if (ppn_to_ms(ppn_between(bridge->started, now)) > STEADY_S * 1000)
        bridge->backoff = ppn_ms(RESTART_FIRST_MS);
    (void)ppn_text_copy(bridge->report.text, sizeof(bridge->report.text), cause);
    if (strcmp(bridge->said, cause) != 0)
        ppn_log(PPN_LOG_WARN, bridge->serves ? "relay-tcp" : "bridge",
                "text=\"ppn-bridge ended: %s\"%s", cause,
                bridge->serves ? " effect=\"nodes in networks without UDP do not reach this relay\""
                               : "");
    (void)snprintf(bridge->said, sizeof(bridge->said), "%s", cause);
    os_timer_after(&bridge->restart, bridge->backoff);
    bridge->backoff.ns *= 2;
    if (ppn_to_ms(bridge->backoff) > RESTART_MAX_MS)
        bridge->backoff = ppn_ms(RESTART_MAX_MS);
    set_up(bridge, false);
}

static void on_exit_child(void *context, const struct os_child_result *result)
{
    struct node_bridge *bridge = context;
    char text[sizeof(bridge->said)];
    const char *said = result->err.size > 0 ? (const char *)result->err.data : result->text;
    (void)snprintf(text, sizeof(text), "%s", said);
    text[strcspn(text, "\r\n")] = '\0';
    bridge->child = NULL;
    again(bridge, text);
}

static void on_timer(void *context)
{
    start(context);
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct node_bridge *bridge = context;
    size_t used = 0;
    for (; bytes.size - used >= BRIDGE_REPORT; used += BRIDGE_REPORT)
        bridge_report_read(bytes.data + used, &bridge->report);
    if (used > 0)
        set_up(bridge, bridge->serves || bridge->report.open > 0);
    return used;
}

/* The child's end follows and says why. */
static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct node_bridge *bridge = context;
    (void)reason;
    (void)text;
    bridge->stream = NULL;
}

static enum ppn_error spawn(struct node_bridge *bridge, int child_fd, struct ppn_failure *failure)
{
    const struct node_options *options = &bridge->node->options;
    char program[OS_PROGRAM_MAX], port[8], wireguard[8], first[8], last[8], user[16];
    char to[OS_ENDPOINT_TEXT], local[16];
    bool root = os_process_is_root();
    os_process_program("ppn-bridge", program);
    (void)snprintf(port, sizeof(port), "%u", options->relay_tcp_port);
    (void)snprintf(wireguard, sizeof(wireguard), "%u", options->listen.port);
    (void)snprintf(first, sizeof(first), "%u",
                   bridge->serves ? options->relay_port : bridge->target.relay_port);
    (void)snprintf(last, sizeof(last), "%u", options->relay_port_last);
    (void)snprintf(user, sizeof(user), "%d", root ? BRIDGE_UID : 0);
    (void)snprintf(local, sizeof(local), "127.83.0.%u", bridge->target.index + 1u);
    os_endpoint_text(&bridge->target.to, to);
    const char *serve[] = {
        program, "serve",        "--port", port,     "--wireguard", wireguard, "--relay-first",
        first,   "--relay-last", last,     "--user", user,          NULL};
    const char *connect[] = {program,       "connect", "--to",          to,    "--local", local,
                             "--wireguard", wireguard, "--relay-first", first, NULL};
    struct os_child_config config = {.argv = bridge->serves ? serve : connect,
                                     .output = OS_CHILD_CAPTURE,
                                     .output_max = 4096,
                                     .fds = {{child_fd, BRIDGE_CONTROL_FD}},
                                     .fd_count = 1,
                                     .no_new_privileges = true};
    if (root && !bridge->serves) {
        config.set_user = true;
        config.uid = BRIDGE_UID;
        config.gid = BRIDGE_UID;
    }
    return os_child_spawn(bridge->node->loop, &config, on_exit_child, bridge, &bridge->child,
                          failure);
}

static void start(struct node_bridge *bridge)
{
    static const struct os_stream_handler handler = {.on_read = on_read, .on_close = on_close};
    struct os_stream_config config = {.handler = &handler, .context = bridge};
    struct ppn_failure failure = {0};
    int fds[2];
    PPN_ASSERT(bridge->child == NULL && bridge->stream == NULL);
    bridge->started = os_now(bridge->node->loop);
    enum ppn_error error = os_stream_pair(fds, &failure);
    if (error == PPN_OK) {
        error = os_stream_adopt(bridge->node->loop, fds[0], &config, &bridge->stream, &failure);
        if (error == PPN_OK)
            error = spawn(bridge, fds[1], &failure);
        close(fds[1]);
    }
    if (error != PPN_OK)
        again(bridge, failure.text);
}

static struct node_bridge *make(struct node *node)
{
    struct node_bridge *bridge = calloc(1, sizeof(*bridge));
    if (bridge == NULL)
        return NULL;
    bridge->node = node;
    bridge->backoff = ppn_ms(RESTART_FIRST_MS);
    os_timer_init(&bridge->restart, node->loop, on_timer, bridge);
    return bridge;
}

struct node_bridge *node_bridge_serve(struct node *node)
{
    struct node_bridge *bridge = node->options.relay_tcp_port != 0 ? make(node) : NULL;
    if (bridge == NULL)
        return NULL;
    bridge->serves = true;
    if (node->options.relay_port < BRIDGE_PORT_MIN)
        ppn_log(PPN_LOG_WARN, "relay-tcp", "text=\"relay-ports below %d do without it\"",
                (int)BRIDGE_PORT_MIN);
    else
        start(bridge);
    return bridge;
}

struct node_bridge *node_bridge_connect(struct node *node, const struct node_bridge_target *target,
                                        node_bridge_fn *changed, void *context)
{
    struct node_bridge *bridge = make(node);
    if (bridge == NULL)
        return NULL;
    bridge->target = *target;
    bridge->changed = changed;
    bridge->context = context;
    start(bridge);
    return bridge;
}

void node_bridge_close(struct node_bridge *bridge)
{
    if (bridge == NULL)
        return;
    stop(bridge);
    if (bridge->serves && bridge->up)
        node_self_touch(bridge->node);
    free(bridge);
}

bool node_bridge_up(const struct node_bridge *bridge)
{
    return bridge != NULL && bridge->up;
}

uint16_t node_bridge_port(const struct node_bridge *bridge)
{
    return node_bridge_up(bridge) ? bridge->node->options.relay_tcp_port : 0;
}

const struct bridge_report *node_bridge_report(const struct node_bridge *bridge)
{
    return &bridge->report;
}

struct ppn_endpoint node_bridge_local(const struct node_bridge *bridge, bool wireguard)
{
    PPN_ASSERT(!bridge->serves);
    uint16_t port = wireguard ? (uint16_t)bridge->report.wireguard_port : bridge->target.relay_port;
    return (struct ppn_endpoint){
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 83, 0, (uint8_t)(bridge->target.index + 1)},
        port};
}
