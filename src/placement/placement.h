// SPDX-License-Identifier: ISC
#pragma once

/* Where a machine should run: a pure function of (what this node knows of the others, the request).
 * Filter, score, rank; integers only, so that every node and platform gets the same answer from the
 * same view. Advisory: the target calls placement_fit() again with what it really has, and may
 * refuse. Nothing here is stored, sent or remembered; all input is borrowed for the call.
 *
 * Ranking is weighted rendezvous hashing on the request id (Thaler, Ravishankar 1998; weights by
 * Schindelhauer, Schomaker 2005): each node draws -w / ln(u), u a hash of (request, node), and the
 * largest draw wins. A node is thus chosen with probability proportional to its weight, and many
 * requests on one stale view spread by themselves instead of all meeting on the same best node. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/facts.h"
#include "base/id.h"
#include "base/machine.h"

/* Constants of the rules. */
enum {
    PLACEMENT_VCPUS_PER_CPU = 4 /* promised vcpus per CPU; idle guests share well */
};

#define PLACEMENT_MIB (UINT64_C(1) << 20)

/* QEMU's own memory beside the guest's, an upper estimate: the program with its devices; stacks and
 * rings of a vcpu; page tables and caches that grow with the guest; TCG's translation cache. */
#define PLACEMENT_OVERHEAD_BASE_BYTES     (96 * PLACEMENT_MIB)
#define PLACEMENT_OVERHEAD_VCPU_BYTES     (4 * PLACEMENT_MIB)
#define PLACEMENT_OVERHEAD_MEMORY_DIVISOR 64
#define PLACEMENT_OVERHEAD_TCG_BYTES      (96 * PLACEMENT_MIB)
/* Never promised to guests: the host's own system and this daemon. */
#define PLACEMENT_HOST_RESERVE_BYTES (256 * PLACEMENT_MIB)
/* Left free on the file system that holds VMs. */
#define PLACEMENT_DISK_MARGIN_BYTES (512 * PLACEMENT_MIB)

/* As gossip sees the node; a core includes no other core, so the caller translates. */
enum placement_state {
    PLACEMENT_STATE_ALIVE,
    PLACEMENT_STATE_SUSPECT,
    PLACEMENT_STATE_UNREACHABLE, /* lost from here; nobody may call it dead */
    PLACEMENT_STATE_DEAD,
    PLACEMENT_STATE_LEFT
};

/* One node of the view, all pointers borrowed. The target describes itself the same way (state
 * ALIVE, its own facts as they are now). */
struct placement_node {
    struct ppn_node_id id;
    const char *name;                  /* valid name, never NULL */
    const struct ppn_profile *profile; /* NULL: nothing heard of it yet */
    const struct ppn_load *load;       /* NULL: nothing heard of it yet */
    enum placement_state state;
    bool path_degraded; /* reached through a relay, or lossy */
    uint64_t age_ms;    /* of the load record; shown, not judged */
};

struct placement_request {
    struct ppn_request_id id;
    const struct ppn_demand *demand;
    const char *arch; /* of the image, as `uname -m` says it; "" : any */
};

/* Why a node cannot take a machine, in the order in which the rules are tried: what a person can
 * change least comes first, so that the reason shown is the one that matters. */
#define PLACEMENT_REASONS(X)                                                                       \
    X(FITS, "fits")                                                                                \
    X(NOT_NAMED, "not_named")                                                                      \
    X(LEFT, "left")                                                                                \
    X(DEAD, "dead")                                                                                \
    X(UNREACHABLE, "unreachable")                                                                  \
    X(SUSPECT, "suspect")                                                                          \
    X(UNKNOWN, "unknown")                                                                          \
    X(ARCH, "arch")                                                                                \
    X(KVM, "kvm")                                                                                  \
    X(ISOLATION, "isolation")                                                                      \
    X(LABEL, "label")                                                                              \
    X(CORDONED, "cordoned")                                                                        \
    X(BATTERY, "battery")                                                                          \
    X(LID, "lid")                                                                                  \
    X(CPUS, "cpus")                                                                                \
    X(VCPUS, "vcpus")                                                                              \
    X(MEMORY, "memory")                                                                            \
    X(MEMORY_AVAILABLE, "memory_available")                                                        \
    X(DISK, "disk")

enum placement_reason {
#define X(name, word) PLACEMENT_##name,
    PLACEMENT_REASONS(X)
#undef X
        PLACEMENT_REASON_COUNT
};

/* The numbers a verdict rests on; filled as far as the rules got (zero where nothing was known). */
struct placement_verdict {
    enum placement_reason reason;
    bool emulated;              /* would run under TCG: no isolation */
    bool image_present;         /* its gossiped tag list names the image */
    uint64_t memory_need_bytes; /* with QEMU's overhead */
    uint64_t memory_free_bytes; /* what may still be promised */
    uint64_t disk_need_bytes;   /* with the image, where it must be fetched */
    uint64_t disk_free_bytes;   /* less the margin */
    uint32_t vcpus_free;        /* under the overcommit limit */
    uint32_t label;             /* index of the demand's label that did not match (LABEL) */
};

/* One row of the table. Factors are per mille of 1 (1000 = neutral); weight = slots * factors. */
struct placement_row {
    const struct placement_node *node; /* borrowed from the view */
    struct placement_verdict verdict;
    uint32_t tier;         /* 1: real KVM, 0: emulation; a higher tier always wins */
    uint32_t slots;        /* how many such machines the node could still take, capped */
    uint32_t factor_image; /* image already there */
    uint32_t factor_link;  /* cable or Wi-Fi */
    uint32_t factor_heat;  /* thermal throttling */
    uint32_t factor_path;  /* relayed or lossy */
    uint32_t factor_load;  /* busy CPUs */
    uint32_t factor_power; /* lid closed, battery accepted by name */
    uint64_t weight;       /* at least 1 where it fits */
    uint64_t draw;         /* the rendezvous draw, ranked descending within the tier */
};

/* The stable lower-case word for programs, never NULL. */
const char *placement_reason_name(enum placement_reason reason);

/* Memory to reserve for a machine: guest maximum plus overhead. Saturates, never wraps. The one
 * formula for placement, reservations and shown figures. */
uint64_t placement_memory_need_bytes(const struct ppn_demand *demand, bool emulated);

/* Whether a machine like this would run under TCG on that profile. */
bool placement_emulated(const struct ppn_profile *profile, const struct ppn_demand *demand);

/* The shared rule of chooser and target. Returns verdict->reason. */
enum placement_reason placement_fit(const struct placement_node *node,
                                    const struct placement_request *request,
                                    struct placement_verdict *verdict);

/* One sentence for people: the cause in numbers and, where there is one, the next step. Always
 * terminated; cut to capacity. */
void placement_verdict_text(const struct placement_node *node,
                            const struct placement_request *request,
                            const struct placement_verdict *verdict, char *text, size_t capacity);

/* Fills rows[0..count) : first the nodes that fit, best first, then the rejected ones by reason and
 * id. Returns how many fit. The order of `nodes` does not matter; ids must be distinct. count may
 * be 0. Cost O(count log count), no allocation beyond qsort's own. */
size_t placement_rank(const struct placement_node *nodes, size_t count,
                      const struct placement_request *request, struct placement_row *rows);

/* One sentence why nothing fits, naming the commonest reason and the next step. For rows of which
 * none fits. */
void placement_none_text(const struct placement_row *rows, size_t count,
                         const struct placement_request *request, char *text, size_t capacity);
