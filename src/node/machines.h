// SPDX-License-Identifier: ISC
#pragma once

/* This node's VMs (vm_host <-> store), and what the others said of theirs. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/machine.h"
#include "vm/vm_host.h"

struct node;
struct node_link;
struct node_machines;
struct wire_peer_frame;

/* Tap devices of VMs start with this; their addresses are no candidates. */
#define NODE_TAP_PREFIX "ppnv"

enum ppn_error node_machines_open(struct node *node, struct node_machines **machines,
                                  struct ppn_failure *failure) PPN_CHECK;
/* Leaves the VMs running. */
void node_machines_close(struct node_machines *machines);

struct vm_host *node_machines_host(struct node_machines *machines);
struct vm_host_usage node_machines_usage(const struct node_machines *machines);
/* Of the present list, as published in the load. */
uint64_t node_machines_digest(const struct node_machines *machines);
void node_machines_cpu(struct node_machines *machines, const char *cpu);

/* A VM anywhere in the pool, as last heard. */
struct node_vm {
    struct ppn_vm_info info;
    struct ppn_node_id node;
};

/* By id, else by name: NOT_FOUND, or CONFLICT when several nodes have one of that name. */
enum ppn_error node_vm_by_id(const struct node *node, const struct ppn_request_id *id,
                             struct node_vm *vm) PPN_CHECK;
enum ppn_error node_vm_by_name(const struct node *node, const char *name,
                               struct node_vm *vm) PPN_CHECK;
/* Each VM known, own ones first; return false to stop. */
typedef bool node_vm_fn(void *context, const struct node_vm *vm);
void node_vm_each(const struct node *node, node_vm_fn *fn, void *context);

/* A member's load carries another digest than the list that we hold: ask for the new one. */
void node_machines_check(struct node_machines *machines, const struct ppn_node_id *id);
/* The same, on the member's own word (VM_CHANGED), which is quicker than gossip. */
void node_machines_changed(struct node_machines *machines, const struct ppn_node_id *id,
                           uint64_t digest);
/* Somebody who decides by a member's list and wants it as it is now; embedded by its owner. */
struct node_machines_wait {
    void *context;
    void (*done)(void *context);
    struct node_machines_wait *next;
};

/* Asks the member for its list; `done` is called once, when it came or cannot be had. CLOSED when
 * the member cannot be asked: `done` is not called. The wait lives until then. */
enum ppn_error node_machines_ask(struct node_machines *machines, const struct ppn_node_id *id,
                                 struct node_machines_wait *wait) PPN_CHECK;
/* The member is gone for good: so are its VMs. */
void node_machines_forget(struct node_machines *machines, const struct ppn_node_id *id);
/* VM_LIST_WANT of a member. */
void node_machines_frame(struct node_machines *machines, struct node_link *link,
                         const struct wire_peer_frame *frame);
