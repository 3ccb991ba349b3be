// SPDX-License-Identifier: ISC
#pragma once

/* UDP datagrams from and to a port that another socket of this machine owns (WireGuard's), by raw
 * sockets: IPv4 and IPv6. Received is only what is for that port and begins with one chosen byte; a
 * classic BPF filter in the kernel sees to it, so WireGuard's own packets cost nothing here. The
 * owner of the port gets those datagrams, too, and has to ignore them. Needs CAP_NET_RAW. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/slice.h"
#include "os/os_loop.h"
#include "os/os_udp.h"

enum { OS_RAW_UDP_DATAGRAM_MAX = 9000 };

struct os_raw_udp;

struct os_raw_udp_config {
    uint16_t port;
    uint8_t first_byte;
    os_udp_receive_fn *on_receive; /* closing the socket inside is not allowed */
    void *context;
};

/* One family may be missing on the machine. PERMISSION: no CAP_NET_RAW. */
enum ppn_error os_raw_udp_open(struct os_loop *loop, const struct os_raw_udp_config *config,
                               struct os_raw_udp **raw, struct ppn_failure *failure) PPN_CHECK;
void os_raw_udp_close(struct os_raw_udp *raw);

/* Never fragmented (RFC 8899 section 3): TOO_BIG when the own link cannot carry it; otherwise a
 * datagram that was not taken is PPN_ERROR_IO and lost, as in a network. */
enum ppn_error os_raw_udp_send(struct os_raw_udp *raw, const struct ppn_endpoint *to,
                               struct ppn_slice datagram) PPN_CHECK;
