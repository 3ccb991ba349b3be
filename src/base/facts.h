// SPDX-License-Identifier: ISC
#pragma once

/* What a node says of itself, typed. Two parts because they change at different speeds and travel
 * on different planes of the gossip: the profile rarely (membership plane), the load often
 * (heartbeat plane). Plain data: wire encodes it, host fills it, placement and the API read it. */

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/name.h"

/* How far virtualisation was proven on a machine, in rising order; see host/kvm.h. */
enum ppn_kvm_level {
    PPN_KVM_NONE,   /* no /dev/kvm, or not permitted */
    PPN_KVM_DEVICE, /* it opens */
    PPN_KVM_RUNS,   /* guest instructions run, but far too slowly to be real */
    PPN_KVM_FAST,   /* a guest loop ran at hardware speed */
    PPN_KVM_BOOTS   /* QEMU itself reached guest output with the CPU string in use */
};

/* Isolation of a VM from its host, in rising order. A request may ask for a minimum. */
enum ppn_isolation {
    PPN_ISOLATION_TCG,
    PPN_ISOLATION_KVM,
    PPN_ISOLATION_KVM_SANDBOX,
    PPN_ISOLATION_SEV_SNP,
    PPN_ISOLATION_TDX
};

enum ppn_power { PPN_POWER_UNKNOWN, PPN_POWER_MAINS, PPN_POWER_BATTERY };
enum ppn_link { PPN_LINK_UNKNOWN, PPN_LINK_CABLE, PPN_LINK_WIFI };

/* An IP address and UDP port; IPv4 is stored IPv4-mapped (::ffff:a.b.c.d). */
struct ppn_endpoint {
    uint8_t address[16];
    uint16_t port;
};

enum ppn_endpoint_kind { PPN_ENDPOINT_LAN, PPN_ENDPOINT_PUBLIC, PPN_ENDPOINT_OBSERVED };

struct ppn_candidate {
    struct ppn_endpoint endpoint;
    enum ppn_endpoint_kind kind;
};

struct ppn_label {
    char key[PPN_NAME_MAX + 1];
    char value[PPN_LABEL_VALUE_MAX + 1];
};

enum { PPN_ARCH_MAX = 15, PPN_VERSION_MAX = 15, PPN_IMAGE_TAG_SIZE = 8, PPN_IMAGE_TAGS_MAX = 32 };

/* The first bytes of an image's SHA-256: enough to prefer a node that has it, no proof. */
struct ppn_image_tag {
    uint8_t bytes[PPN_IMAGE_TAG_SIZE];
};

struct ppn_profile {
    char arch[PPN_ARCH_MAX + 1];       /* uname -m */
    char version[PPN_VERSION_MAX + 1]; /* of ppn-node */
    uint32_t cpus;
    uint64_t memory_total_bytes;
    uint64_t disk_total_bytes; /* of the file system that holds VMs */
    enum ppn_kvm_level kvm;
    enum ppn_isolation isolation_max;
    enum ppn_link link;
    bool cordoned; /* takes no new VMs */
    uint32_t candidate_count;
    struct ppn_candidate candidates[PPN_ENDPOINTS_MAX];
    uint32_t label_count;
    struct ppn_label labels[PPN_LABELS_MAX];
    uint32_t image_count;
    struct ppn_image_tag images[PPN_IMAGE_TAGS_MAX];
    uint16_t relay_port; /* UDP, at its public addresses, for path packets to its relay; 0: none */
    uint16_t relay_tcp_port; /* TCP, there, for nodes whose network lets no UDP out; 0: none */
};

struct ppn_load {
    uint64_t memory_available_bytes; /* MemAvailable, a veto only */
    uint64_t memory_reserved_bytes;  /* promised to VMs and to prepared requests, with overhead */
    uint64_t disk_free_bytes;        /* less what overlays may still grow to */
    uint32_t vcpus_reserved;
    uint32_t load_per_mille; /* 1 minute load average per CPU, in thousandths */
    uint32_t vm_count;
    enum ppn_power power;
    uint8_t battery_percent; /* 255: no battery or unknown */
    bool lid_closed;
    bool throttled;
    uint64_t vm_digest; /* changes whenever the node's VM list changes in any way people see */
};
