// SPDX-License-Identifier: ISC
#pragma once

/* A bound UDP socket. Datagrams are read in batches and handed out one by one; sending never blocks
 * and never queues: what the kernel does not take is dropped and counted, as a network would. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/slice.h"
#include "os/os_loop.h"

enum {
    OS_UDP_DATAGRAM_MAX = 2048, /* longer ones are dropped and counted */
    OS_UDP_BATCH = 32,          /* datagrams read per system call */
    OS_UDP_ROUND_MAX = 256      /* datagrams handled before other watchers get their turn */
};

struct os_udp;

/* The slice lives until the callback returns. Closing the socket inside is allowed. */
typedef void os_udp_receive_fn(void *context, const struct ppn_endpoint *from,
                               struct ppn_slice datagram);

/* An ICMP error for a datagram that this socket sent to `to`. host_answers: the machine itself said
 * "port unreachable", so it lives and the agent there does not; otherwise a router or the local
 * stack said that it cannot be reached. */
typedef void os_udp_unreachable_fn(void *context, const struct ppn_endpoint *to, bool host_answers);

struct os_udp_config {
    struct ppn_endpoint bind; /* address zero: any, both families; port 0: the system chooses */
    const char *interface;    /* SO_BINDTODEVICE and scope of link-local addresses; may be NULL */
    bool freebind;            /* bind although the address is not there yet */
    int receive_buffer_bytes; /* 0: the system's default */
    os_udp_receive_fn *on_receive;
    os_udp_unreachable_fn *on_unreachable; /* may be NULL */
    void *context;
};

struct os_udp_stats {
    uint64_t received, received_bytes, sent, sent_bytes;
    uint64_t dropped_full;    /* the socket buffer was full */
    uint64_t dropped_error;   /* no route, not permitted, ... */
    uint64_t dropped_too_big; /* received, over OS_UDP_DATAGRAM_MAX */
    uint64_t unreachable;     /* ICMP errors seen */
};

enum ppn_error os_udp_open(struct os_loop *loop, const struct os_udp_config *config,
                           struct os_udp **udp, struct ppn_failure *failure) PPN_CHECK;
void os_udp_close(struct os_udp *udp);

/* False when it was dropped (see the counters); callers usually need not care. */
bool os_udp_send(struct os_udp *udp, const struct ppn_endpoint *to, struct ppn_slice datagram);

/* The bound address, with the port the system chose. */
struct ppn_endpoint os_udp_local(const struct os_udp *udp);
const struct os_udp_stats *os_udp_stats(const struct os_udp *udp);
