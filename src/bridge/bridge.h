// SPDX-License-Identifier: ISC
#pragma once

/* The two halves of ppn-bridge, and what they share: the loop, and the pipe to the daemon. */

#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "bridge/control.h"
#include "os/os_loop.h"

struct bridge_pipe;

/* Ends the loop when the daemon is gone. */
enum ppn_error bridge_pipe_open(struct os_loop *loop, struct bridge_pipe **pipe,
                                struct ppn_failure *failure) PPN_CHECK;
/* Left out while the last one was not read. */
void bridge_pipe_report(struct bridge_pipe *pipe, const struct bridge_report *report);

struct bridge_serve_config {
    uint16_t port;      /* TCP, every address */
    uint16_t wireguard; /* UDP port of this machine's node */
    uint16_t relay_first, relay_last;
    uint32_t user; /* become this one once the port is open; 0: stay */
};
/* Until the process ends. EXISTS: somebody listens there. */
enum ppn_error bridge_serve(struct os_loop *loop, struct bridge_pipe *pipe,
                            const struct bridge_serve_config *config,
                            struct ppn_failure *failure) PPN_CHECK;

struct bridge_connect_config {
    struct ppn_endpoint to;
    struct ppn_endpoint local; /* address on the loopback, one for each relay; the port is unused */
    uint16_t wireguard;        /* UDP port of this machine's node: all else local is not heard */
    uint16_t relay_port;
};
enum ppn_error bridge_connect(struct os_loop *loop, struct bridge_pipe *pipe,
                              const struct bridge_connect_config *config,
                              struct ppn_failure *failure) PPN_CHECK;
