// SPDX-License-Identifier: ISC
#pragma once

/* Who is in the pool, who seems dead, and what each node last said of itself: the gossip core. It
 * opens no socket, reads no clock and knows nothing of addresses: packets come from and go to node
 * ids, members come from the admission log, and the two bodies that a node publishes (profile,
 * load) are opaque bytes. The essay below is the protocol; docs/protocol-gossip.md has its bytes.
 *
 * Order of life: gossip_init; RESTORE events (what was persisted, if anything); MEMBERS; the first
 * SELF_BODY of each plane; START. START answers with PERSIST_EPOCH; once that is on disk the shell
 * says EPOCH_PERSISTED, and only then does the core send anything.
 *
 * The shell drains its socket into PACKET events before it gives the TICK that is due, so that an
 * answer which waits in the socket never counts as missing. Only TICK runs timers. */

/* In one paragraph. Members are given by the admission log; this core finds out which of them live,
 * and carries what each says of itself to all the others. Every member is observed by K others that
 * are fixed by hashing (rings.c). An observer pings its subjects in turn; a ping that stays
 * unanswered is repeated at the pace of the measured round trip, then the subject's other observers
 * are asked to look too (probe.c). Observers sign what they saw; each node counts such opinions for
 * itself and draws the conclusion (verdict.c). A member that hears itself accused by two signs a
 * higher incarnation, and all accusations of the lower one are void (record.c). News rides on every
 * packet and on a few of its own (spread.c); what news missed, digests find (sync.c).
 *
 * Where this departs from SWIM (Das, Gupta, Motivala, DSN 2002), and why.
 *
 * - Fixed observers in place of random probing. SWIM's random target gives a mean first probe
 *   of 1.6 periods but a tail that grows with N; K fixed observers bound it by K periods at any N,
 *   and keep the few WireGuard sessions between observers and subjects warm, where random probing
 * at large N meets a cold handshake each time. One probe in eight stays random: it crosses
 * partitions of the ring and notices members whose observers are all gone.
 * - Retries inside a probe. With 10 % loss a single ping and three relays suspect 77 healthy
 *   members of 10,000 every second; five tries at the measured round trip suspect none in ten
 *   seconds.
 * - Several observers instead of one. In SWIM anybody's suspicion runs a timer that only the
 *   suspect can stop, so one slow node can kill many. Here one observer is never enough while
 * others can be asked; three eighths of them make SUSPECT, three quarters DEAD (Rapid's L and H).
 * - Verdicts are signed, and "dead" is a conclusion, never a message. A member can lie about what
 *   it saw, but not about what others saw, and not about who speaks.
 * - Only the subject signs its life, its profile and its load. SWIM's incarnation is volatile and
 *   any member may announce a leave; here a number is (epoch, sequence) with the epoch on disk, so
 *   that nothing signed before a restart can outrank what is signed after it.
 * - DEAD and UNREACHABLE are different. Who holds no majority of what was there a minute ago says
 *   UNREACHABLE. A kernel that answers "nobody listens here" makes DEAD at once, with that cause.
 * - Lifeguard (Dadgar, Phillips, Currey 2018) is kept where it is about oneself: late ticks void
 *   one's own evidence, local health stretches one's own timeouts, relays send nacks, and the
 *   accused hears of it in the very ping that tests it.
 * - Two kinds of news with a rate each. Lives, verdicts and profiles go first; loads, which
 *   everybody must get from everybody, have a quarter of the cap and are sent as rarely as N of
 * them need to fit. While much news waits (all join at once, half is gone) each item is copied
 * three times only: what that misses, digests bring for a third of the bytes, and pushes always
 * leave them some of the cap.
 * - A member that is bad, not gone, is said to be so once. An observer that knows it as lossy does
 *   not alternate between "gone" and "there" with each ping, and a deaf member that accuses all
 * whom it no longer hears is not answered by each of them: without that, ten bad members of a
 * thousand cost everybody three times the traffic. A word that came through does not take it
 * back, and it keeps a member out of placement only when more than half of its observers say it:
 * two that do not reach each other are nobody's fault.
 * - Lost members are retried for ever, by whoever stands next to them on the rings, so every
 *   partition heals, and a pool that was switched off overnight finds itself again without a seed.
 *
 * Time is what the caller says. Only TICK runs timers, so that packets waiting in a socket are
 * heard before their absence is judged. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/slice.h"
#include "base/time.h"
#include "gossip/gossip_msg.h"

struct gossip;
struct gossip_pool;

/* How items are signed; gossip_ed25519 below is the real one, a simulator may stub it. A transcript
 * names the protocol, the network and the author, then repeats the item's bytes. */
struct gossip_crypto {
    void *context;
    void (*sign)(void *context, struct ppn_slice transcript,
                 uint8_t signature[static GOSSIP_SIGNATURE_SIZE]);
    bool (*verify)(void *context, const struct ppn_node_id *author, struct ppn_slice transcript,
                   const uint8_t signature[static GOSSIP_SIGNATURE_SIZE]);
};

/* libsodium's Ed25519. `secret_key` (64 bytes, libsodium's form) is borrowed as long as it is used.
 */
struct gossip_crypto gossip_ed25519(const uint8_t *secret_key);

/* Zero means the default everywhere but in the first three fields. */
struct gossip_config {
    struct ppn_node_id self;
    struct ppn_hash network;
    struct gossip_crypto crypto;
    struct ppn_duration probe_period; /* default: 1 s up to 8 members, then 525 ms */
    uint32_t bandwidth_bytes_s;       /* cap of what this node sends; default 16 KiB */
    uint32_t observers;       /* K ring neighbours; default 8, at most GOSSIP_OBSERVERS_MAX */
    struct gossip_pool *pool; /* shared by cores of one process; NULL: a pool of its own */
};

enum { GOSSIP_OBSERVERS_MAX = 16, GOSSIP_HEALTH_MAX = 8 };

/* NULL: out of memory. The seed must differ between nodes and starts. */
struct gossip *gossip_init(const struct gossip_config *config, struct ppn_instant now,
                           uint64_t seed);
void gossip_free(struct gossip *gossip);

/* Node ids, ring positions and signed items, stored once for all the cores that share the pool: a
 * simulator of N nodes then needs N*N small entries but only N items. NULL: out of memory. */
struct gossip_pool *gossip_pool_new(void);
void gossip_pool_free(struct gossip_pool *pool); /* after all its cores */

enum gossip_plane { GOSSIP_PLANE_PROFILE, GOSSIP_PLANE_LOAD };

enum gossip_state {
    GOSSIP_UNKNOWN, /* admitted, but nothing heard of it in this run yet */
    GOSSIP_ALIVE,
    GOSSIP_SUSPECT,     /* several observers miss it; takes no new work */
    GOSSIP_UNREACHABLE, /* lost from here, and this side may not call it dead (it may be us) */
    GOSSIP_DEAD,        /* a quorum of its observers says so; see enum gossip_cause */
    GOSSIP_LEFT         /* said goodbye */
};

enum gossip_cause {
    GOSSIP_CAUSE_NONE,
    GOSSIP_CAUSE_NO_ANSWER, /* the machine cannot be reached */
    GOSSIP_CAUSE_REFUSED,   /* the machine answers, the agent on it does not run */
    GOSSIP_CAUSE_DEGRADED   /* it answers too seldom (SUSPECT only) */
};

enum gossip_event_kind {
    GOSSIP_EVENT_TICK,            /* gossip_deadline has come */
    GOSSIP_EVENT_PACKET,          /* `packet` came from `node` */
    GOSSIP_EVENT_SELF_BODY,       /* this node's `plane` is now `bytes` */
    GOSSIP_EVENT_MEMBERS,         /* the log's members changed: `nodes`, `count`, `added` */
    GOSSIP_EVENT_RESTORE,         /* `bytes` of an earlier PERSIST_ITEM */
    GOSSIP_EVENT_START,           /* `epoch` last persisted, 0 if none */
    GOSSIP_EVENT_EPOCH_PERSISTED, /* `epoch` of PERSIST_EPOCH is on disk */
    GOSSIP_EVENT_REFUSED,         /* the kernel of `node` answered: nobody listens (ICMP) */
    GOSSIP_EVENT_SUSPENDED,       /* the clocks show that this machine slept, or the time jumped */
    GOSSIP_EVENT_LEAVE            /* say goodbye; carry out the updates, then stop */
};

/* What `kind` names is used, the rest ignored. All memory is borrowed for the call. */
struct gossip_event {
    enum gossip_event_kind kind;
    struct ppn_node_id node;
    const struct gossip_packet *packet;
    enum gossip_plane plane;
    struct ppn_slice bytes;
    const struct ppn_node_id *nodes;
    uint32_t count;
    bool added; /* of MEMBERS: added or removed */
    uint32_t epoch;
};

enum gossip_action_kind {
    GOSSIP_DO_SEND,          /* `packet` to `node` */
    GOSSIP_DO_PERSIST_EPOCH, /* `epoch`, durably, then say EPOCH_PERSISTED */
    GOSSIP_DO_PERSIST_ITEM,  /* view row: key (`node`, `item_kind`), value `bytes` */
    GOSSIP_DO_FORGET,        /* view rows of `node`: delete */
    GOSSIP_DO_MEMBER,        /* `node` changed: `what`, `was`, `state`, `cause` */
    GOSSIP_DO_CLONE,         /* proof: two different items of `node` under one number */
    GOSSIP_DO_FORGED /* `node` sent an item whose signature is wrong, or spoke for another */
};

/* Bits of gossip_action.what: which part of the member changed. */
enum {
    GOSSIP_CHANGED_STATE = 1,
    GOSSIP_CHANGED_PROFILE = 2,
    GOSSIP_CHANGED_LOAD = 4,
    GOSSIP_CHANGED_PATH = 8 /* this node reaches it badly or not at all, or again; others do */
};

struct gossip_action {
    enum gossip_action_kind kind;
    struct ppn_node_id node;
    const struct gossip_packet *packet;
    uint32_t epoch;
    enum gossip_item_kind item_kind;
    struct ppn_slice bytes;
    uint32_t what;
    enum gossip_state was, state;
    enum gossip_cause cause;
};

/* In the order in which the shell carries them out. Memory belongs to the core, until the next step
 * of any core of the same pool. */
struct gossip_update {
    const struct gossip_action *actions;
    uint32_t count;
};

/* Bad input from others changes nothing and is PPN_OK (it is counted, see gossip_counters). Errors
 * are the caller's: PPN_ERROR_TOO_BIG a body over its limit, PPN_ERROR_FULL more than
 * PPN_MEMBERS_MAX members, PPN_ERROR_EXISTS a member whose tag another one has (the rest is added),
 * PPN_ERROR_INVALID or PPN_ERROR_SIGNATURE a RESTORE row that is damaged, PPN_ERROR_NO_MEMORY. */
enum ppn_error gossip_step(struct gossip *gossip, struct ppn_instant now,
                           const struct gossip_event *event,
                           struct gossip_update *update) PPN_CHECK;

/* When to TICK next. */
struct ppn_instant gossip_deadline(const struct gossip *gossip);

/* One member as this node sees it, itself included. Slices live until the next step. */
struct gossip_member {
    struct ppn_node_id id;
    enum gossip_state state;
    enum gossip_cause cause;
    bool self;
    bool path_degraded;          /* others reach it, this node does not or badly */
    uint32_t epoch, incarnation; /* 0, 0: never heard of */
    uint32_t profile_sequence, load_sequence;
    struct ppn_slice profile, load; /* size 0: none yet */
    uint32_t rtt_us;                /* smoothed; 0: not measured */
    struct ppn_instant heard;       /* last packet straight from it; ns INT64_MIN: never */
    struct ppn_instant since;       /* of the present state */
};

/* PPN_ERROR_NOT_FOUND: not a member. */
enum ppn_error gossip_member(const struct gossip *gossip, const struct ppn_node_id *id,
                             struct gossip_member *member) PPN_CHECK;

/* All members, in no order that means anything: start with *cursor = 0; false at the end. */
bool gossip_next(const struct gossip *gossip, uint32_t *cursor, struct gossip_member *member);

uint32_t gossip_member_count(const struct gossip *gossip); /* itself included */

/* Equal at two nodes that hold the same membership plane. */
uint64_t gossip_view_digest(const struct gossip *gossip);

/* For `ppn status`, benchmarks and the simulator; all since gossip_init. */
struct gossip_counters {
    uint64_t packets_sent, packets_received;
    uint64_t bytes_membership; /* sent, encoded upper bound, without what LOAD items take */
    uint64_t bytes_load;
    uint64_t verified, rejected; /* signatures checked; items thrown away as bad */
    uint64_t probes, probes_failed, checks;
    uint64_t deferred; /* packets held back by the bandwidth cap */
    uint64_t late_ticks;
    uint32_t health;
};

void gossip_counters(const struct gossip *gossip, struct gossip_counters *counters);
