// SPDX-License-Identifier: ISC
#pragma once

/* The host's end of VMs' network cards: outbound only. Each slot has a tap in the node's own
 * network namespace and a private /30 out of 198.18.0.0/15 (RFC 2544's benchmark range, which is no
 * LAN's and no overlay's): .1 is the host's end and the guest's resolver, .2 the guest. No DHCP, no
 * bridge.
 *
 * One nftables table holds the rules of all slots, so starting a VM changes none: a guest may send
 * only from its own MAC and address, reaches neither the host nor any private, shared, link-local
 * or multicast range, nor another guest, and its DNS questions go to the node's own resolver.
 * Answers are masqueraded behind the node. IPv6 from a guest is dropped, and so is the mesh with
 * it.
 *
 * Forwarding is switched on for the taps and for the interface of the default route alone, never
 * globally.
 *
 * A tap lives as long as a process holds it, which after the start is QEMU alone: nothing is left
 * to clean up, whoever dies. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/os_loop.h"
#include "vm/vm_seed.h"

struct vm_nic;

enum { VM_NIC_TEXT_MAX = 48 * 1024, VM_NIC_RESOLV_MAX = 64 * 1024 };

/* The fixed numbers of a slot. Pure. */
struct vm_network vm_nic_network(uint32_t slot);

/* The whole table as `nft -f -` takes it; resolver: an IPv4 address, or NULL for no DNS. Pure.
 * Returns the length, 0 when it does not fit. */
size_t vm_nic_rules(const uint8_t *resolver, char *text, size_t capacity);

/* The first IPv4 name server of a resolv.conf that is not on the loopback; false: none. Pure. */
bool vm_nic_resolver(const char *resolv_conf, uint8_t address[static 4]);

/* Starts loading the rules, and again whenever the default route or the resolver changes;
 * on_settled comes from the loop each time. */
enum ppn_error vm_nic_open(struct os_loop *loop, os_fn *on_settled, void *context,
                           struct vm_nic **nic, struct ppn_failure *failure) PPN_CHECK;
/* Leaves taps and rules as they are: VMs go on. NULL is allowed. */
void vm_nic_close(struct vm_nic *nic);

/* Why VMs have no network here; "" when they have, or it is not known yet. */
const char *vm_nic_problem(const struct vm_nic *nic);

/* A tap of this slot, addressed and up; the descriptor is the caller's. BUSY: the rules are still
 * being loaded, wait for on_settled. Anything else: the VM starts without a network card. */
enum ppn_error vm_nic_attach(struct vm_nic *nic, uint32_t slot, int *tap_fd,
                             struct ppn_failure *failure) PPN_CHECK;
