// SPDX-License-Identifier: ISC
#pragma once

/* Many UDP sockets that hand packets on to each other, for a relay: read and sent in batches by one
 * system call each, and where the kernel can, several packets of one flow at once (UDP_GRO on the
 * way in, UDP_SEGMENT on the way out). One set of buffers serves all sockets. Nothing is queued:
 * what the kernel does not take at once is dropped and counted. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/slice.h"
#include "os/os_loop.h"

enum {
    OS_BATCH_PACKETS = 64,  /* read or sent by one call; each may hold many segments */
    OS_BATCH_BYTES = 65536, /* of one of them */
    OS_BATCH_SOCKETS_MAX = 1025,
    OS_BATCH_ROUNDS = 4 /* reads of one socket before others get their turn */
};

struct os_batch;

/* An address of this machine, IPv4 mapped. All zero: the kernel chooses by its routes. A machine
 * with several must answer from the one that was asked: routers and firewalls know no other. */
struct os_batch_own {
    uint8_t address[16];
};

/* One or more datagrams of one sender, back to back: each `segment` bytes long, the last one
 * perhaps shorter. A lone datagram is its own segment. */
struct os_batch_packet {
    uint32_t socket; /* as numbered by os_batch_listen */
    struct ppn_endpoint from;
    struct os_batch_own own; /* the address of this machine that it was sent to */
    struct ppn_slice bytes;  /* lives until the callback's batch was sent */
    uint16_t segment;
};

typedef void os_batch_fn(void *context, const struct os_batch_packet *packet);

struct os_batch_stats {
    uint64_t received_calls, sent_calls;
    uint64_t send_failed; /* datagrams that the system did not take */
};

enum ppn_error os_batch_open(struct os_loop *loop, os_batch_fn *on_packet, void *context,
                             struct os_batch **batch, struct ppn_failure *failure) PPN_CHECK;
void os_batch_close(struct os_batch *batch);

/* Sockets are numbered 0, 1, ... in the order of these calls. EXISTS: the port is taken. */
enum ppn_error os_batch_listen(struct os_batch *batch, uint16_t port,
                               struct ppn_failure *failure) PPN_CHECK;

/* Sends bytes that came with a packet on from another socket, at the end of this batch of reads.
 * `own` of the other family than `to`, or that is no address of this machine any more: not sent.
 * Only from inside on_packet, at most once a packet. */
void os_batch_forward(struct os_batch *batch, const struct os_batch_packet *packet, uint32_t socket,
                      const struct ppn_endpoint *to, const struct os_batch_own *own);

/* Sends one datagram now. False when the system did not take it. */
bool os_batch_answer(struct os_batch *batch, uint32_t socket, const struct ppn_endpoint *to,
                     const struct os_batch_own *own, struct ppn_slice datagram);

const struct os_batch_stats *os_batch_stats(const struct os_batch *batch);
