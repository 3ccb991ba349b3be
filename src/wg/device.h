// SPDX-License-Identifier: ISC
#pragma once

/* The WireGuard device of this node: made, addressed, changed and read through the `ip` and `wg`
 * tools as children of the loop, one after the other, so that nothing blocks and no change
 * overtakes another. The device decides nothing: it carries out what the wg core emits.
 *
 * Backends, tried in this order for WG_MODE_AUTO: the kernel's module; `wireguard-go -f`, a
 * supervised child that is restarted with backoff (each restart is a WG_EVENT_RESET). WG_MODE_PLAIN
 * only puts the mesh address on an interface that exists, encrypts nothing, and is refused unless
 * PPN_LAB=1 is set.
 *
 * The address is ADDRESS/128 on the interface plus a route for the network's /48 through it, so
 * that WireGuard's AllowedIPs alone decide which peer a packet goes to. (Plain: ADDRESS/48
 * on-link.)
 *
 * A peer whose way carries less than the interface has a route of its own for its /96, with that
 * MTU; such routes have a protocol number of ours and are flushed at the start.
 *
 * A kernel interface outlives the daemon, and with it the sessions, so that a restart interrupts
 * nothing: open adopts it. wireguard-go ends WG_OUTLIVES_MS after a daemon that was killed.
 * wg_device_close(remove=true) takes away what open made. The private key goes to the tools through
 * a pipe, never in arguments. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wg/wg.h"

struct os_loop;
struct wg_device;

enum {
    WG_INTERFACE_MAX = 15,
    WG_PATH_MAX = 255,
    /* Long enough for every observer's next probe (gossip's period is half a second), and over
     * before the service manager starts the next daemon (dist/ppn-node.service.in: 2 s). */
    WG_OUTLIVES_MS = 1500
};

enum wg_mode { WG_MODE_AUTO, WG_MODE_KERNEL, WG_MODE_USERSPACE, WG_MODE_PLAIN };

enum wg_backend { WG_BACKEND_NONE, WG_BACKEND_KERNEL, WG_BACKEND_USERSPACE, WG_BACKEND_PLAIN };

/* "none", "kernel", "userspace", "plain". */
const char *wg_backend_name(enum wg_backend backend);

/* "auto|kernel|userspace|plain"; INVALID for any other word. */
enum ppn_error wg_mode_parse(const char *text, enum wg_mode *mode) PPN_CHECK;

struct wg_device_config {
    char interface[WG_INTERFACE_MAX + 1]; /* to make; for PLAIN: the existing one */
    enum wg_mode mode;
    uint8_t private_key[WG_KEY_SIZE]; /* copied, wiped at close */
    uint16_t listen_port;             /* UDP */
    uint8_t address[16];              /* this node's mesh address */
    /* Called on the loop, never from inside wg_device_open or wg_device_run. */
    void *context;
    /* The device is up (failure NULL), or could not be made and never will be (failure set). */
    void (*on_ready)(void *context, enum wg_backend backend, const struct ppn_failure *failure);
    /* APPLIED, OBSERVED or RESET, to be handed to wg_step. Arrays live for the call. */
    void (*on_event)(void *context, const struct wg_event *event);
};

/* Starts making the device; on_ready tells the outcome. INVALID for a bad interface name,
 * UNAUTHORIZED for PLAIN without PPN_LAB=1, NO_MEMORY. */
enum ppn_error wg_device_open(struct os_loop *loop, const struct wg_device_config *config,
                              struct wg_device **device, struct ppn_failure *failure) PPN_CHECK;

/* Starts carrying out APPLY or OBSERVE (copied); exactly one on_event answers it. Only after
 * on_ready, and only one at a time: both are asserted. */
void wg_device_run(struct wg_device *device, const struct wg_update *update);

/* From now on the device has this private key: set between two updates, or with the making that is
 * under way. Sessions end with the old key. A failure is tried again before the next update. */
void wg_device_key(struct wg_device *device, const uint8_t private_key[static WG_KEY_SIZE]);

enum wg_backend wg_device_backend(const struct wg_device *device);

/* Stops everything, frees the device, calls nothing back. Ends wireguard-go and waits for it at
 * most 2 s. remove: also delete a kernel interface, and take the address off a plain one. */
void wg_device_close(struct wg_device *device, bool remove);

/* A new X25519 key pair from the system's randomness (libsodium, clamped as RFC 7748 says). */
void wg_key_pair(uint8_t private_key[static WG_KEY_SIZE], struct wg_key *public_key);

/* The public key of a private one. */
void wg_key_public(const uint8_t private_key[static WG_KEY_SIZE], struct wg_key *public_key);
