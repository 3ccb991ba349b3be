// SPDX-License-Identifier: ISC
#pragma once

/* What answers show, typed: a backend fills these and the api writes the JSON, so that every node
 * says the same thing in the same words. Text pointers are borrowed for the call only; a NULL or
 * empty text is left out of the JSON, and so is a number whose comment says so. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "base/machine.h"
#include "base/name.h"

enum { API_SCHEMA = 1, API_SCORE_PARTS_MAX = 16 };

enum api_node_state { API_NODE_ALIVE, API_NODE_SUSPECT, API_NODE_DEAD, API_NODE_LEFT };

struct api_node_view {
    struct ppn_node_id id;
    const char *name;
    const uint8_t *mesh_address; /* 16 bytes, or NULL */
    enum api_node_state state;
    const char *state_detail; /* "daemon gone, machine reachable", in words; or NULL */
    uint64_t incarnation;
    bool self;
    bool relay;                        /* role by admission */
    const struct ppn_profile *profile; /* NULL: nothing heard of it yet */
    int64_t lease_until_unix_ms;       /* 0: it is a member for ever; left out */
    uint32_t given_label_count;        /* of the profile's labels the first are an admin's */
    const struct ppn_load *load;       /* NULL likewise */
    uint64_t memory_free_bytes;        /* what placement would count on; shown when load is there */
    bool relays;                       /* it forwards through the relay of the node that answers */
    uint64_t relayed_bytes, relayed_over_rate_packets; /* of its packets; shown if relays */
    int64_t seen_ms_ago;                               /* -1: never, or itself */
    int64_t round_trip_us;                             /* -1: unknown */
    const char *path; /* "lan", "public", "punched", "relayed", "tcp", "relayed-tcp", "direct" (not
                         probed), "plain" */
};

struct api_vm_view {
    struct ppn_vm_info info;
    struct ppn_node_id node_id;
    const char *node;
    const uint8_t *address; /* 16 bytes; NULL: the VM has no address of its own */
    bool node_down;         /* its node is dead: info is the last that was heard */
};

enum api_mesh_mode { API_MESH_STARTING, API_MESH_KERNEL, API_MESH_USERSPACE, API_MESH_PLAIN };

/* What membership costs this node, since it started. Bytes are encoded payloads. */
struct api_gossip_view {
    uint64_t packets_sent, packets_received;
    uint64_t membership_bytes_sent; /* all but the signed heartbeats */
    uint64_t heartbeat_bytes_sent;
    uint64_t rejected; /* items thrown away as forged or malformed */
    uint64_t deferred; /* packets held back by the bandwidth cap */
    uint32_t health;   /* Lifeguard's multiplier of this node: 0 is well */
};

/* The relay of this node, since it started. */
struct api_relay_view {
    uint16_t port;
    uint32_t members, mailboxes, binds; /* now */
    uint64_t forwarded_packets, forwarded_bytes;
    /* Dropped packets, by reason. */
    uint64_t unbound;   /* from an address that nobody bound, or no WireGuard packet */
    uint64_t one_sided; /* the other end is not bound */
    uint64_t over_rate; /* a node's share used up */
    uint64_t forged;    /* path packets that no member made, or repeated ones */
    uint64_t not_taken; /* by this machine's network */
    /* For nodes without UDP. */
    uint16_t tcp_port; /* 0: none, and the others are zero */
    uint64_t tcp_connections, tcp_refused, tcp_bytes, tcp_dropped_packets;
};

/* What the admission log proves to be wrong. */
struct api_alarm_view {
    const char *code; /* "frozen", "contradiction", "seal-conflict", "clone" */
    const char *text; /* what is wrong */
    const char *fix;  /* what to do */
};

struct api_status {
    const char *network; /* name; NULL before the first join */
    struct ppn_hash network_id;
    struct ppn_node_id id;
    const char *name;
    const char *version;
    const uint8_t *mesh_address; /* 16 bytes, or NULL */
    const char *phase;           /* "starting", "joining", "waiting for approval", "member", ... */
    enum api_mesh_mode mesh;
    const char *mesh_interface;
    uint16_t listen_port;
    bool admin;                 /* an admin key is on this node */
    const char *admin_key_file; /* where, for a person on this machine; NULL: none */
    bool cordoned;
    uint32_t nodes_alive, nodes_suspect, nodes_dead;
    uint32_t vms_here, vms_running_here;
    uint32_t joins_waiting;
    uint64_t log_entries;
    struct ppn_hash log_head; /* digest of the log; equal on nodes that agree. Zero: left out */
    int64_t uptime_ms;
    uint32_t endpoint_count; /* where a joiner may try this node */
    const struct ppn_candidate *endpoints;
    struct api_gossip_view gossip;
    const struct api_relay_view *relay; /* NULL: nothing is relayed here */
    bool udp_blocked;                   /* no relay answers by UDP */
    uint32_t alarm_count;
    const struct api_alarm_view *alarms;
    const char *problem; /* what a person should look at, with the next step; NULL: all is well */
};

struct api_join_view {
    struct ppn_node_id id;
    const char *name;
    const char *address; /* from where it asked, as text */
    int64_t asked_unix_ms;
    const struct ppn_profile *offers; /* may be NULL */
    bool invited;
    bool lease_ended;      /* it was a member, and is one again when its lease is renewed */
    const uint8_t *wg_key; /* 32 bytes, public; NULL: left out */
    const char *words;     /* that people compare; NULL: left out */
};

struct api_log_entry_view {
    struct ppn_hash id;
    const char *kind; /* "genesis", "admit", ... */
    struct ppn_node_id author;
    const char *author_name;        /* NULL: not a member (an admin key of its own) */
    uint64_t sequence;              /* of its author */
    int64_t unix_ms;                /* as the author claims */
    const char *subject;            /* name of who it is about (of an invite its id), or NULL */
    struct ppn_node_id subject_id;  /* zero: none */
    bool effective;                 /* false: overruled by the fold */
    const char *text;               /* the entry in words */
    const struct ppn_hash *parents; /* parent_count of them */
    uint32_t parent_count;
};

/* Ends a log listing when it was asked for. */
struct api_log_verdict {
    bool valid;
    uint64_t entries;
    const char *text;
};

struct api_image_view {
    const char *name;
    struct ppn_hash sha256;   /* of the file as stored */
    uint64_t size_bytes;      /* on disk */
    uint64_t virtual_bytes;   /* as the guest sees it; 0: left out */
    const char *format;       /* "qcow2", "raw" */
    bool here;                /* on the node that answers */
    const char *const *nodes; /* names of alive nodes that have it */
    uint32_t node_count;
    uint32_t used_by;      /* VMs here on top of it */
    int64_t added_unix_ms; /* 0: left out */
};

/* One node in the answer to "where would this go". */
struct api_score_part {
    const char *name;
    int64_t value;
};

struct api_placement_row {
    struct ppn_node_id id;
    const char *node;
    bool fits;
    uint32_t rank;      /* 1 is the first choice; 0 when it does not fit */
    int64_t score;      /* shown when it fits */
    const char *reason; /* why not, with numbers; or what speaks for it */
    uint32_t part_count;
    struct api_score_part parts[API_SCORE_PARTS_MAX];
};

enum { API_WAYS_MAX = 16 };

/* A way that was tried. */
struct api_way_view {
    const char *path;         /* as of a node */
    const char *endpoint;     /* the node's, or its mailbox at the relay */
    const char *relay;        /* name; or NULL */
    const char *state;        /* "used", "spare", "narrow", "resting", "lost", "silent", "no-relay",
                                 "no-mailbox", "peer-away" */
    const char *reason;       /* why it is not the one in use, in words */
    int64_t round_trip_us;    /* -1: unknown */
    int64_t loss_per_mille;   /* -1: unknown */
    int64_t answered_ms_ago;  /* -1: never */
    uint64_t asked, answered; /* questions */
    uint32_t mtu;             /* of packets inside the mesh; 0: unknown */
};

struct api_path_view {
    struct ppn_node_id id;
    const char *node;
    const char *path;         /* as of a node; "none", "self" */
    const char *endpoint;     /* where packets go now, as text; or NULL */
    int64_t handshake_ms_ago; /* -1: never */
    int64_t round_trip_us;    /* -1: unknown */
    int64_t loss_per_mille;   /* -1: unknown */
    uint64_t received_bytes, sent_bytes;
    const char *reason;   /* why this path, in words */
    const char *advice;   /* what the person can do; or NULL */
    int64_t since_ms_ago; /* that way is used; -1: nothing is probed there, or nothing is proven */
    uint32_t mtu;         /* of packets inside the mesh to that node; 0: as the interface has */
    const char *relay;    /* name; or NULL */
    uint32_t way_count;
    struct api_way_view ways[API_WAYS_MAX]; /* the one in use first, then the best first */
};

struct api_invite_view {
    const char *id;    /* fingerprint of its key, as the log and ppn invites call it */
    const char *token; /* the whole token, shown once */
    uint32_t uses;
    int64_t expires_unix_ms;
};

/* A step of a run, a fetch or an upload, for people and for --json. */
struct api_progress {
    const char *stage; /* one word: "placing", "preparing", "fetching", "starting", ... */
    const char *node;  /* where; or NULL */
    const char *text;  /* for people */
    int percent;       /* 0..100; -1: unknown, left out */
};

enum api_event_type {
    API_EVENT_NODE_ALIVE,
    API_EVENT_NODE_SUSPECT,
    API_EVENT_NODE_DEAD,
    API_EVENT_NODE_LEFT,
    API_EVENT_NODE_UPDATED,
    API_EVENT_JOIN_REQUESTED,
    API_EVENT_JOIN_ENDED, /* admitted, denied, or went away */
    API_EVENT_LOG_ENTRY,
    API_EVENT_VM_UPDATED, /* a new VM, or any change people see */
    API_EVENT_VM_REMOVED,
    API_EVENT_ALARM,
    API_EVENT_SYNCED, /* the present state is told; changes follow */
    API_EVENT_COUNT
};

/* Exactly the view that belongs to the type is set, the others NULL. VM_REMOVED needs vm.info.id,
 * vm.info.name and vm.node only. */
struct api_event {
    enum api_event_type type;
    int64_t time_monotonic_ns; /* CLOCK_MONOTONIC of the node that answers */
    int64_t time_unix_ms;
    const struct api_node_view *node;
    const struct api_vm_view *vm;
    const struct api_join_view *join;
    const struct api_log_entry_view *entry;
    const struct api_alarm_view *alarm;
};

/* "alive", "node-suspect", ...: the words used in JSON. Never NULL. */
const char *api_node_state_name(enum api_node_state state);
const char *api_vm_state_name(enum ppn_vm_state state);
const char *api_kvm_name(enum ppn_kvm_level level);
const char *api_isolation_name(enum ppn_isolation isolation);
const char *api_event_name(enum api_event_type type);
const char *api_mesh_name(enum api_mesh_mode mode);

/* PPN_ERROR_INVALID for a word that api_isolation_name never says. */
enum ppn_error api_isolation_parse(const char *name, enum ppn_isolation *isolation) PPN_CHECK;
