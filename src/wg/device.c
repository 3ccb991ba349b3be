// SPDX-License-Identifier: ISC
#include "wg/device.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"
#include "os/os_child.h"
#include "os/os_clock.h"
#include "os/os_file.h"
#include "os/os_loop.h"
#include "os/os_process.h"
#include "wg/device_internal.h"

enum {
    TOOL_TIMEOUT_S = 10,
    DUMP_BYTES_MAX = WG_DEVICE_PEERS_MAX * 256,
    SOCKET_POLL_MS = 20,
    SOCKET_WAIT_MS = 5000,
    LEFTOVER_POLL_MS = 100,
    LEFTOVER_WAIT_MS = 2 * WG_OUTLIVES_MS,
    RESTART_MIN_MS = 200,
    RESTART_MAX_MS = 10000,
    EARLY_ENDS_MAX = 4, /* of wireguard-go before it was ever up: then it never will be */
    STEADY_S = 60       /* having run so long, the next restart is a first one again */
};

/* Making the device, in order; each phase waits for one child or one timer. */
enum phase {
    PHASE_LINK_ADD,  /* `ip link add ... type wireguard` */
    PHASE_LINK_SHOW, /* it exists: what is it? */
    PHASE_LEFTOVER,  /* an earlier wireguard-go is still going away */
    PHASE_SOCKET,    /* wireguard-go started, its control socket awaited */
    PHASE_KEY,       /* `wg set` private key and port */
    PHASE_ADDRESS,   /* `ip -batch`: address, MTU, up, route */
    PHASE_UP,        /* carries out updates */
    PHASE_BACKOFF,   /* wireguard-go ended; its restart is awaited */
    PHASE_FAILED
};

struct wg_device {
    struct os_loop *loop;
    struct wg_device_config config;
    enum phase phase;
    enum wg_backend backend;
    struct ppn_failure failure;
    bool ready_said;
    bool busy;    /* an update is being carried out */
    bool key_due; /* the device has another private key than the configuration */
    bool keying;  /* the tool that runs gives it that key */
    struct wg_update update;
    struct wg_set_command command;
    struct os_child *tool;
    struct os_child *daemon;
    struct ppn_instant daemon_since;
    struct ppn_instant phase_until;
    struct ppn_duration restart;
    uint32_t early_ends;
    struct os_timer timer;
    struct os_closure start;   /* the first step, once open has returned */
    struct os_closure refusal; /* the answer to an update that cannot be carried out now */
    struct os_closure outcome; /* on_ready with a failure */
};

static void socket_path(const struct wg_device *device, char path[static WG_PATH_MAX])
{
    snprintf(path, WG_PATH_MAX, "/var/run/wireguard/%s.sock", device->config.interface);
}

/* A control socket that a killed wireguard-go left would be taken for the next one's. */
static void remove_socket(const struct wg_device *device)
{
    struct ppn_failure failure;
    char path[WG_PATH_MAX];
    socket_path(device, path);
    if (os_file_remove(path, &failure) != PPN_OK)
        ppn_log(PPN_LOG_WARN, "wireguard-socket-stale", "cause=\"%s\"", failure.text);
}

static void say_failed(void *context)
{
    struct wg_device *device = context;
    device->ready_said = true;
    device->config.on_ready(device->config.context, WG_BACKEND_NONE, &device->failure);
}

/* The device can never be made. */
static void fail(struct wg_device *device, enum ppn_error code, const char *what, const char *next)
{
    device->phase = PHASE_FAILED;
    os_child_kill(device->tool);
    device->tool = NULL;
    (void)ppn_fail(&device->failure, code, "cannot make the mesh interface %s: %s; %s",
                   device->config.interface, what, next);
    os_defer(device->loop, &device->outcome);
}

static void tool_ended(void *context, const struct os_child_result *result);
static void start_daemon(struct wg_device *device);

/* Starts a tool in the present phase. A failure to start is a result like any other, told later
 * where the caller is wg_device_run. */
static void run_tool(struct wg_device *device, const char *const *argv, struct ppn_slice input)
{
    PPN_ASSERT(device->tool == NULL);
    struct os_child_config config = {.argv = argv,
                                     .input = input,
                                     .output = OS_CHILD_CAPTURE,
                                     .output_max = DUMP_BYTES_MAX,
                                     .timeout = ppn_seconds(TOOL_TIMEOUT_S)};
    struct ppn_failure failure = {0};
    enum ppn_error error =
        os_child_spawn(device->loop, &config, tool_ended, device, &device->tool, &failure);
    if (error == PPN_OK)
        return;
    if (device->phase == PHASE_UP) {
        ppn_log(PPN_LOG_WARN, "wg-tool-failed", "cause=\"%s\"", failure.text);
        device->key_due = device->key_due || device->keying;
        device->keying = false;
        os_defer(device->loop, &device->refusal);
        return;
    }
    struct os_child_result result = {.error = error, .exit_code = -1};
    (void)ppn_text_copy(result.text, sizeof(result.text), failure.text);
    tool_ended(device, &result);
}

static void link_add(struct wg_device *device)
{
    const char *argv[] = {"ip", "link", "add", device->config.interface, "type", "wireguard", NULL};
    device->phase = PHASE_LINK_ADD;
    run_tool(device, argv, ppn_slice(NULL, 0));
}

static void link_show(struct wg_device *device)
{
    const char *argv[] = {"ip", "-details", "link", "show", "dev", device->config.interface, NULL};
    device->phase = PHASE_LINK_SHOW;
    run_tool(device, argv, ppn_slice(NULL, 0));
}

static void give_key(struct wg_device *device)
{
    char port[8], key[WG_KEY_TEXT + 1];
    device->key_due = false;
    snprintf(port, sizeof(port), "%u", (unsigned)device->config.listen_port);
    const char *argv[] = {"wg",          "set", device->config.interface,
                          "listen-port", port,  "private-key",
                          "/dev/stdin",  NULL};
    sodium_bin2base64(key, WG_KEY_TEXT, device->config.private_key, WG_KEY_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
    key[WG_KEY_TEXT - 1] = '\n';
    run_tool(device, argv, ppn_slice(key, WG_KEY_TEXT));
    sodium_memzero(key, sizeof(key));
}

static void set_key(struct wg_device *device)
{
    device->phase = PHASE_KEY;
    device->keying = false;
    give_key(device);
}

/* Of a device that is up. */
static void change_key(struct wg_device *device)
{
    device->keying = true;
    give_key(device);
}

/* No duplicate address detection: the address is derived from a key, and WireGuard carries no
 * multicast that could find another holder. */
static void set_address(struct wg_device *device)
{
    char own[WG_CIDR_TEXT], network[WG_CIDR_TEXT], script[512];
    const char *name = device->config.interface;
    const char *argv[] = {"ip", "-6", "-batch", "-", NULL};
    int size;
    device->phase = PHASE_ADDRESS;
    if (device->backend == WG_BACKEND_PLAIN) {
        wg_cidr_text(device->config.address, 128, own);
        *strchr(own, '/') = '\0';
        size = snprintf(script, sizeof(script), "addr replace %s/48 dev %s nodad\n", own, name);
    } else {
        wg_cidr_text(device->config.address, 128, own);
        wg_cidr_text(device->config.address, 48, network);
        size = snprintf(script, sizeof(script),
                        "addr replace %s dev %s nodad\nlink set dev %s mtu %d up\n"
                        "route replace %s dev %s\nroute flush dev %s proto %d\n",
                        own, name, name, WG_MTU, network, name, name, WG_ROUTE_PROTOCOL);
    }
    PPN_ASSERT(size > 0 && (size_t)size < sizeof(script));
    run_tool(device, argv, ppn_slice(script, (size_t)size));
}

static void daemon_ended(void *context, const struct os_child_result *result)
{
    struct wg_device *device = context;
    device->daemon = NULL;
    ppn_log(PPN_LOG_ERROR, "wireguard-go-ended", "interface=%s cause=\"%s\" restart_ms=%lld",
            device->config.interface, result->text[0] != '\0' ? result->text : "exit 0",
            (long long)ppn_to_ms(device->restart));
    if (!device->ready_said && ++device->early_ends == EARLY_ENDS_MAX) {
        fail(device, PPN_ERROR_UNSUPPORTED,
             "the kernel has no WireGuard, and wireguard-go does not stay up",
             "install the package wireguard-go and see that /dev/net/tun is there");
        return;
    }
    os_child_kill(device->tool);
    device->tool = NULL;
    if (ppn_between(device->daemon_since, os_now(device->loop)).ns > ppn_seconds(STEADY_S).ns)
        device->restart = ppn_ms(RESTART_MIN_MS);
    device->phase = PHASE_BACKOFF;
    os_timer_after(&device->timer, device->restart);
    int64_t next = 2 * ppn_to_ms(device->restart);
    device->restart = ppn_ms(next < RESTART_MAX_MS ? next : RESTART_MAX_MS);
}

/* In the foreground, and ended when this process dies, however that happens: a wireguard-go without
 * its daemon would keep peers that the log may have revoked. Not in the same moment, though, see
 * hold_main.c. The variable silences its advice to use the kernel's module. */
static void start_daemon(struct wg_device *device)
{
    static const char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "WG_PROCESS_FOREGROUND=1", NULL};
    char hold[OS_PROGRAM_MAX], self[16], grace_ms[16];
    os_process_program("ppn-hold", hold);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    snprintf(grace_ms, sizeof(grace_ms), "%d", WG_OUTLIVES_MS);
    const char *argv[] = {hold, self, grace_ms, "wireguard-go", "-f", device->config.interface,
                          NULL};
    struct os_child_config config = {
        .argv = argv, .environment = environment, .output = OS_CHILD_INHERIT};
    struct ppn_failure failure = {0};
    remove_socket(device);
    device->backend = WG_BACKEND_USERSPACE;
    device->daemon_since = os_now(device->loop);
    enum ppn_error error =
        os_child_spawn(device->loop, &config, daemon_ended, device, &device->daemon, &failure);
    if (error != PPN_OK) {
        struct os_child_result result = {.error = error, .exit_code = -1};
        (void)ppn_text_copy(result.text, sizeof(result.text), failure.text);
        daemon_ended(device, &result);
        return;
    }
    device->phase = PHASE_SOCKET;
    device->phase_until = ppn_after(os_now(device->loop), ppn_ms(SOCKET_WAIT_MS));
    os_timer_after(&device->timer, ppn_ms(SOCKET_POLL_MS));
}

static void timer_fired(void *context)
{
    struct wg_device *device = context;
    bool late = ppn_due(device->phase_until, os_now(device->loop));
    char path[WG_PATH_MAX];
    switch (device->phase) {
    case PHASE_SOCKET:
        socket_path(device, path);
        if (os_file_exists(path)) {
            set_key(device);
        } else if (late) {
            ppn_log(PPN_LOG_ERROR, "wireguard-go-silent", "interface=%s wait_ms=%d",
                    device->config.interface, SOCKET_WAIT_MS);
            os_child_terminate(device->daemon, ppn_seconds(1));
        } else {
            os_timer_after(&device->timer, ppn_ms(SOCKET_POLL_MS));
        }
        return;
    case PHASE_LEFTOVER:
        link_show(device);
        return;
    case PHASE_BACKOFF:
        start_daemon(device);
        return;
    case PHASE_LINK_ADD:
    case PHASE_LINK_SHOW:
    case PHASE_KEY:
    case PHASE_ADDRESS:
    case PHASE_UP:
    case PHASE_FAILED:
        return;
    }
    PPN_UNREACHABLE();
}

static void link_added(struct wg_device *device, const struct os_child_result *result)
{
    if (os_child_ok(result)) {
        device->backend = WG_BACKEND_KERNEL;
        set_key(device);
    } else if (wg_tool_mentions(result, "File exists")) {
        device->phase_until = ppn_after(os_now(device->loop), ppn_ms(LEFTOVER_WAIT_MS));
        link_show(device);
    } else if (wg_tool_mentions(result, "not permitted")) {
        fail(device, PPN_ERROR_PERMISSION, "not permitted", "start ppn-node as root");
    } else if (result->error == PPN_ERROR_NOT_FOUND) {
        fail(device, PPN_ERROR_NOT_FOUND, "there is no `ip`", "install the package iproute2");
    } else if (device->config.mode == WG_MODE_KERNEL) {
        fail(device, PPN_ERROR_UNSUPPORTED, wg_tool_cause(result),
             "load the kernel's wireguard module, or use --mesh auto");
    } else {
        start_daemon(device);
    }
}

/* An interface with our name is there. The kernel's is adopted with its sessions; a TUN one belongs
 * to a wireguard-go that is about to end with the daemon that had it. */
static void link_shown(struct wg_device *device, const struct os_child_result *result)
{
    bool userspace = device->config.mode == WG_MODE_USERSPACE;
    if (!os_child_ok(result)) {
        if (userspace)
            start_daemon(device);
        else
            link_add(device);
    } else if (wg_tool_mentions(result, " wireguard ") && !userspace) {
        device->backend = WG_BACKEND_KERNEL;
        set_key(device);
    } else if (wg_tool_mentions(result, " tun ") &&
               !ppn_due(device->phase_until, os_now(device->loop))) {
        device->phase = PHASE_LEFTOVER;
        os_timer_after(&device->timer, ppn_ms(LEFTOVER_POLL_MS));
    } else {
        fail(device, PPN_ERROR_EXISTS, "an interface of that name exists and is not ours",
             "remove it (ip link del) or give another name with --interface");
    }
}

static void key_set(struct wg_device *device, const struct os_child_result *result)
{
    if (os_child_ok(result)) {
        set_address(device);
        return;
    }
    if (device->backend == WG_BACKEND_USERSPACE && result->error != PPN_ERROR_NOT_FOUND) {
        /* It may be dying; its end is reported, and then it is started again. */
        ppn_log(PPN_LOG_ERROR, "wg-set-failed", "interface=%s cause=\"%s\"",
                device->config.interface, wg_tool_cause(result));
        os_child_terminate(device->daemon, ppn_seconds(1));
        return;
    }
    fail(device, PPN_ERROR_IO, wg_tool_cause(result),
         "is the package wireguard-tools installed and the UDP port free?");
}

static void address_set(struct wg_device *device, const struct os_child_result *result)
{
    if (!os_child_ok(result)) {
        fail(device, PPN_ERROR_IO, wg_tool_cause(result),
             device->backend == WG_BACKEND_PLAIN
                 ? "--mesh plain needs an interface that exists, given with --interface"
                 : "is IPv6 switched off (sysctl net.ipv6.conf.all.disable_ipv6)?");
        return;
    }
    device->phase = PHASE_UP;
    ppn_log(device->backend == WG_BACKEND_PLAIN ? PPN_LOG_WARN : PPN_LOG_INFO, "mesh-up",
            "interface=%s backend=%s%s", device->config.interface, wg_backend_name(device->backend),
            device->backend == WG_BACKEND_PLAIN ? " warning=\"NOTHING IS ENCRYPTED\"" : "");
    if (!device->ready_said) {
        device->ready_said = true;
        device->config.on_ready(device->config.context, device->backend, NULL);
        return;
    }
    struct wg_event event = {.kind = WG_EVENT_RESET};
    device->busy = false;
    os_defer_cancel(device->loop, &device->refusal);
    device->config.on_event(device->config.context, &event);
}

static void update_done(struct wg_device *device, const struct os_child_result *result)
{
    struct wg_event event = {0};
    struct wg_observed *peers = NULL;
    enum ppn_error error = os_child_ok(result) ? PPN_OK : PPN_ERROR_IO;
    if (error != PPN_OK)
        ppn_log(PPN_LOG_WARN, "wg-tool-failed", "interface=%s cause=\"%s\"",
                device->config.interface, wg_tool_cause(result));
    device->busy = false;
    if (device->update.kind == WG_UPDATE_APPLY) {
        event.kind = WG_EVENT_APPLIED;
        event.applied.batch = device->update.batch;
        event.applied.error = error;
    } else {
        event.kind = WG_EVENT_OBSERVED;
        if (error == PPN_OK && result->truncated)
            error = PPN_ERROR_TOO_BIG;
        if (error == PPN_OK)
            error = wg_dump_parse(result->out, os_clock_wall(), &peers, &event.observed.count);
        event.observed.error = error;
        event.observed.peers = peers;
    }
    device->config.on_event(device->config.context, &event);
    free(peers);
}

static void carry_out(struct wg_device *device)
{
    if (device->update.kind == WG_UPDATE_OBSERVE) {
        const char *argv[] = {"wg", "show", device->config.interface, "dump", NULL};
        run_tool(device, argv, ppn_slice(NULL, 0));
        return;
    }
    if (device->update.count > 0 && device->update.changes[0].kind == WG_ROUTE) {
        const char *argv[] = {"ip", "-6", "-batch", "-", NULL};
        char script[WG_ROUTES_TEXT_MAX];
        size_t size = wg_routes_script(script, device->config.interface, &device->update);
        run_tool(device, argv, ppn_slice(script, size));
        return;
    }
    wg_set_command(&device->command, device->config.interface, &device->update);
    run_tool(device, device->command.argv, ppn_slice(NULL, 0));
}

static void key_changed(struct wg_device *device, const struct os_child_result *result)
{
    device->keying = false;
    if (!os_child_ok(result)) {
        device->key_due = true;
        ppn_log(PPN_LOG_WARN, "wg-set-failed", "interface=%s cause=\"%s\"",
                device->config.interface, wg_tool_cause(result));
    }
    if (device->busy)
        carry_out(device);
}

static void tool_ended(void *context, const struct os_child_result *result)
{
    struct wg_device *device = context;
    device->tool = NULL;
    switch (device->phase) {
    case PHASE_LINK_ADD:
        link_added(device, result);
        return;
    case PHASE_LINK_SHOW:
        link_shown(device, result);
        return;
    case PHASE_KEY:
        key_set(device, result);
        return;
    case PHASE_ADDRESS:
        address_set(device, result);
        return;
    case PHASE_UP:
        if (device->keying) {
            key_changed(device, result);
            return;
        }
        update_done(device, result);
        if (device->key_due && device->phase == PHASE_UP && device->tool == NULL && !device->busy)
            change_key(device);
        return;
    case PHASE_LEFTOVER:
    case PHASE_SOCKET:
    case PHASE_BACKOFF:
    case PHASE_FAILED:
        break;
    }
    PPN_UNREACHABLE();
}

static void first_step(void *context)
{
    struct wg_device *device = context;
    switch (device->config.mode) {
    case WG_MODE_AUTO:
    case WG_MODE_KERNEL:
        link_add(device);
        return;
    case WG_MODE_USERSPACE:
        device->phase_until = ppn_after(os_now(device->loop), ppn_ms(LEFTOVER_WAIT_MS));
        link_show(device);
        return;
    case WG_MODE_PLAIN:
        device->backend = WG_BACKEND_PLAIN;
        set_address(device);
        return;
    }
    PPN_UNREACHABLE();
}

static void refuse(void *context)
{
    struct wg_device *device = context;
    struct wg_event event = {.kind = WG_EVENT_APPLIED};
    if (!device->busy)
        return;
    device->busy = false;
    if (device->update.kind == WG_UPDATE_APPLY) {
        event.applied.batch = device->update.batch;
        event.applied.error = PPN_ERROR_IO;
    } else {
        event.kind = WG_EVENT_OBSERVED;
        event.observed.error = PPN_ERROR_IO;
    }
    device->config.on_event(device->config.context, &event);
}

enum ppn_error wg_device_open(struct os_loop *loop, const struct wg_device_config *config,
                              struct wg_device **device, struct ppn_failure *failure)
{
    const char *lab = getenv("PPN_LAB");
    *device = NULL;
    if (!wg_interface_name_valid(config->interface))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "'%s' is no interface name; use up to %d letters, digits, '-', '_', '.'",
                        config->interface, WG_INTERFACE_MAX);
    if (config->mode == WG_MODE_PLAIN && (lab == NULL || strcmp(lab, "1") != 0))
        return ppn_fail(failure, PPN_ERROR_UNAUTHORIZED,
                        "--mesh plain encrypts nothing and is for labs; set PPN_LAB=1 to use it");
    struct wg_device *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    made->loop = loop;
    made->config = *config;
    made->restart = ppn_ms(RESTART_MIN_MS);
    os_timer_init(&made->timer, loop, timer_fired, made);
    os_closure_init(&made->start, first_step, made);
    os_closure_init(&made->refusal, refuse, made);
    os_closure_init(&made->outcome, say_failed, made);
    os_defer(loop, &made->start);
    *device = made;
    return PPN_OK;
}

void wg_device_run(struct wg_device *device, const struct wg_update *update)
{
    PPN_ASSERT(device->ready_said && !device->busy && device->backend != WG_BACKEND_PLAIN);
    PPN_ASSERT(update->kind != WG_UPDATE_NONE);
    device->update = *update;
    device->busy = true;
    if (device->phase != PHASE_UP) {
        os_defer(device->loop, &device->refusal);
        return;
    }
    /* The key first; a key that could not be set does not hold up the peers. */
    if (device->keying)
        return;
    if (device->key_due)
        change_key(device);
    else
        carry_out(device);
}

void wg_device_key(struct wg_device *device, const uint8_t private_key[static WG_KEY_SIZE])
{
    memcpy(device->config.private_key, private_key, WG_KEY_SIZE);
    device->key_due = device->backend != WG_BACKEND_PLAIN;
    if (device->key_due && device->phase == PHASE_UP && device->tool == NULL && !device->busy)
        change_key(device);
}

enum wg_backend wg_device_backend(const struct wg_device *device)
{
    return device->ready_said ? device->backend : WG_BACKEND_NONE;
}

static void take_away(const struct wg_device *device)
{
    char own[WG_CIDR_TEXT];
    const char *name = device->config.interface;
    wg_cidr_text(device->config.address, 128, own);
    *strchr(own, '/') = '\0';
    strncat(own, "/48", sizeof(own) - strlen(own) - 1);
    const char *delete_link[] = {"ip", "link", "del", "dev", name, NULL};
    const char *delete_address[] = {"ip", "-6", "addr", "del", own, "dev", name, NULL};
    struct os_child_config config = {.timeout = ppn_seconds(2)};
    struct os_child_result result;
    config.argv = device->backend == WG_BACKEND_KERNEL ? delete_link : delete_address;
    if (os_child_run_sync(&config, &result, NULL) == PPN_OK)
        os_child_result_free(&result);
}

void wg_device_close(struct wg_device *device, bool remove)
{
    if (device == NULL)
        return;
    os_timer_stop(&device->timer);
    os_defer_cancel(device->loop, &device->start);
    os_defer_cancel(device->loop, &device->refusal);
    os_defer_cancel(device->loop, &device->outcome);
    os_child_kill(device->tool);
    if (device->daemon != NULL) {
        os_child_kill(device->daemon);
        remove_socket(device);
    }
    if (remove && device->phase != PHASE_FAILED &&
        (device->backend == WG_BACKEND_KERNEL || device->backend == WG_BACKEND_PLAIN))
        take_away(device);
    sodium_memzero(device->config.private_key, WG_KEY_SIZE);
    free(device);
}
