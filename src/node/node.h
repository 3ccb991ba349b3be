// SPDX-License-Identifier: ISC
#pragma once

/* ppn-node put together: what every flow shares, and what flows ask of each other. A flow is one
 * file that translates between one or two cores and their shells; it owns its struct, and nobody
 * looks inside. The flows decide nothing: who is a member says admission, who is alive gossip,
 * where a VM goes placement and fleet, what happens to a VM vm.
 *
 *   log.c       admission core <-> store and peers        gossip.c    gossip core <-> UDP and store
 *   mesh.c      wg core <-> device                         self.c      host facts -> gossip bodies
 *   relay.c     members -> ppn-relay, its counters back
 *   join_*.c    the join channel, both ends                peers.c     TCP between members
 *   requests.c  fleet + placement <-> peers and store      machines.c  vm core <-> QEMU and store
 *   images.c    image store and fetching                   remote.c    API requests over peers
 *   serve*.c    the API's backend                          events.c    what people watch
 *   alarms.c    what the log proves to be wrong            rekey.c     a new WireGuard key
 *   labels.c    an admin's labels over a machine's own */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "base/machine.h"
#include "base/name.h"
#include "base/time.h"
#include "gossip/gossip.h"
#include "node/identity.h"
#include "node/options.h"
#include "os/os_loop.h"
#include "os/os_worker.h"
#include "store/store.h"
#include "wire/peer.h"
#include "wire/stored.h"

struct node_link;
struct node_log;
struct node_gossip;
struct node_mesh;
struct node_self;
struct node_peers;
struct node_joins;
struct node_join_server;
struct node_join_client;
struct node_requests;
struct node_machines;
struct node_images;
struct node_remote;
struct node_events;
struct node_serve;
struct node_relay;
struct node_rekey;

enum node_phase {
    NODE_STARTING,
    NODE_JOINING, /* looking for a seed, or waiting for approval */
    NODE_MEMBER,
    NODE_DENIED, /* an admin said no */
    NODE_REVOKED /* no member any more */
};

/* Where a member was reached, learnt before there is a mesh to tell it to. */
enum { NODE_HINTS_MAX = 64 };
struct node_hint {
    struct ppn_node_id id;
    struct ppn_endpoint endpoint;
};

struct node {
    struct node_options options;
    struct node_identity identity;
    struct wire_settings settings; /* settings.h */
    struct os_loop *loop;
    struct os_worker *worker;
    struct store *store;
    uint64_t boot; /* a random number of this start */
    struct ppn_instant started;

    enum node_phase phase;
    bool lease_ended;            /* while it ran; it is a member again when that is renewed */
    char name[PPN_NAME_MAX + 1]; /* as admitted; before that as asked for */
    char network_name[PPN_NAME_MAX + 1]; /* "" before the first join */
    struct ppn_hash network;             /* zero before the first join */
    uint8_t mesh_address[16];            /* zero before membership */
    char problem[PPN_FAILURE_TEXT_MAX];  /* what a person should look at, or "" */

    struct node_log *log;
    struct node_gossip *gossip;
    struct node_mesh *mesh;
    struct node_self *self;
    struct node_peers *peers;
    struct node_joins *joins;
    struct node_join_server *join_server;
    struct node_join_client *join_client;
    struct node_requests *requests;
    struct node_machines *machines;
    struct node_images *images;
    struct node_remote *remote;
    struct node_events *events;
    struct node_serve *serve;
    struct node_relay *relay;
    struct node_rekey *rekey;

    uint32_t hint_count;
    struct node_hint hints[NODE_HINTS_MAX];

    int exit_code;
    bool stopping;
    struct os_timer leave_timer;
};

/* ---- node.c ---- */

/* Starts everything that can start; the rest follows by events. */
enum ppn_error node_start(struct node *node, struct ppn_failure *failure) PPN_CHECK;
void node_stop(struct node *node);
/* The log's fold says that this node is a member: bring up mesh, gossip and all that follows; at a
 * start once somebody was asked for a newer log, or FRESH_LOG_MS later. Called once, by log.c, and
 * again when a lease that had ended is renewed. */
void node_become_member(struct node *node);
/* Members came in: whether this node is among them again after its lease had ended. */
void node_check_lease(struct node *node, const struct ppn_node_id *added, uint32_t count);
/* The log is as new as it will get before the mesh: bring the mesh up unless it is. */
void node_open_mesh(struct node *node);
/* The fold says that it is no member any more: revoked, or its lease ended. Then it asks at the
 * port for joiners until the lease is renewed. */
void node_become_revoked(struct node *node);
/* Ends the daemon with this exit code once the present callbacks returned. */
void node_fatal(struct node *node, const char *event, const char *text);
/* Frames that open something or belong to the connection, to the flow that owns their kind. False:
 * nobody knows the kind. */
bool node_dispatch(struct node *node, struct node_link *link, const struct wire_peer_frame *frame);

/* Where a member can be reached, best first: remembered over restarts and told to the mesh. */
void node_learn_path(struct node *node, const struct ppn_node_id *id,
                     const struct ppn_endpoint *endpoints, uint32_t count);

/* ---- members.c: who is a member, as the log says ---- */

struct node_member {
    struct ppn_node_id id;
    const char *name; /* lives until the next change of the log */
    uint8_t address[16];
    bool relay;
    int64_t lease_until_unix_ms; /* 0: for ever */
};

bool node_member_address(const struct node *node, const struct ppn_node_id *id,
                         uint8_t address[static 16]);
bool node_member_by_address(const struct node *node, const uint8_t address[static 16],
                            struct ppn_node_id *id);
bool node_member_by_id(const struct node *node, const struct ppn_node_id *id,
                       struct node_member *member);
bool node_member_by_name(const struct node *node, const char *name, struct node_member *member);
/* The admitted name, or the short fingerprint of an id that is none. */
const char *node_member_name(const struct node *node, const struct ppn_node_id *id,
                             char scratch[static PPN_FINGERPRINT_TEXT]);
/* All members: start with *cursor = 0; false at the end. */
bool node_member_next(const struct node *node, uint32_t *cursor, struct node_member *member);

/* ---- gossip.c: who is alive, what each says ---- */

/* NOT_FOUND: no member, or gossip is not up. */
enum ppn_error node_gossip_member(const struct node *node, const struct ppn_node_id *id,
                                  struct gossip_member *member) PPN_CHECK;
/* Decoded bodies of a member; false where it never said one. */
bool node_member_profile(const struct gossip_member *member, struct ppn_profile *profile);
bool node_member_load(const struct gossip_member *member, struct ppn_load *load);
/* True when work may be sent there now. */
bool node_member_alive(const struct node *node, const struct ppn_node_id *id);

/* ---- self.c: what this node says ---- */

/* The present profile and load, own view included what gossip was last told. */
const struct ppn_profile *node_self_profile(const struct node *node);
const struct ppn_load *node_self_load(const struct node *node);
/* Something that the load or profile is made of changed: collect anew before the loop sleeps. */
void node_self_touch(struct node *node);
