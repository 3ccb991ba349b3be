// SPDX-License-Identifier: ISC
#pragma once

/* One TLS connection between two bridges: frames in, frames out. Frames of one round of the loop
 * share records. Either side of it; who is allowed what is the owner's business. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "bridge/frame.h"
#include "bridge/tls.h"
#include "os/os_loop.h"

struct link;

/* The owner may call link_close in any of them; after on_close the link is gone by itself. */
struct link_handler {
    void (*on_open)(void *context);
    void (*on_frame)(void *context, const struct bridge_frame *frame);
    void (*on_close)(void *context, const char *text);
};

/* Takes the socket over, at failure too. */
enum ppn_error link_accept(struct os_loop *loop, const struct tls_context *tls, int fd,
                           const struct link_handler *handler, void *context, struct link **link,
                           struct ppn_failure *failure) PPN_CHECK;
enum ppn_error link_connect(struct os_loop *loop, const struct tls_context *tls,
                            const struct ppn_endpoint *to, const struct link_handler *handler,
                            void *context, struct link **link,
                            struct ppn_failure *failure) PPN_CHECK;
/* No callback follows. NULL is allowed. */
void link_close(struct link *link);

/* False: dropped, because too much waits, the handshake is not done, or it is too long. */
bool link_send(struct link *link, uint16_t port, struct ppn_slice datagram);
