// SPDX-License-Identifier: ISC
#pragma once

/* What the files of the gossip core share. One struct gossip is one node's view; pool.h holds what
 * several views may share. Members are named by their index in the pool throughout. */

#include "base/random.h"
#include "gossip/gossip.h"
#include "gossip/item.h"
#include "gossip/pool.h"

enum {
    GOSSIP_TRIES = 5,        /* pings in one probe where few are lost */
    GOSSIP_TRIES_MAX = 20,   /* where most are */
    GOSSIP_PROBES_MAX = 96,  /* probes under way, for others' CHECKs included */
    GOSSIP_ASKERS_MAX = 8,   /* whom one probe's outcome is told */
    GOSSIP_TARGETS_MAX = 20, /* whom this node observes */
    GOSSIP_LOST_MAX = 256,   /* lost members that this node retries */
    GOSSIP_OPINIONS_MAX = 16,
    GOSSIP_QUEUE_MAX = 4096, /* entries in each class of the piggyback queue */
    GOSSIP_MUTED_MAX = 8,
    GOSSIP_CLONED_MAX = 8,           /* proofs of clones that are not reported again */
    GOSSIP_TOKENS_SECONDS = 8,       /* a full bucket of bandwidth */
    GOSSIP_LOAD_SHARE = 4,           /* loads have one part in so many of the cap */
    GOSSIP_LOAD_RECONCILE_MAX = 128, /* up to so many members digests cover loads too */
    GOSSIP_RANGE_DIRECT_MAX = 32     /* up to so many, ranges are sent without bucket digests */
};

_Static_assert(GOSSIP_TARGETS_MAX > GOSSIP_OBSERVERS_MAX + 1, "small networks observe everybody");

/* Times of the protocol. The reasons stand where each is used. */
enum {
    GOSSIP_RTO_MIN_MS = 25,
    GOSSIP_RTO_MAX_MS = 500,
    GOSSIP_RTO_FIRST_MS = 100,
    GOSSIP_RETRY_MAX_MS = 300,
    GOSSIP_PROBE_WINDOW_MS = 500,
    GOSSIP_LATE_MS = 150,
    GOSSIP_REFUTE_MS = 500,
    GOSSIP_REFUSED_WINDOW_MS = 150,
    GOSSIP_REFUSED_AGAIN_MS = 60,
    GOSSIP_LONE_MS = 2500,
    GOSSIP_SETTLE_MS = 400,
    GOSSIP_SETTLE_MAX_MS = 2500,
    GOSSIP_OPINION_TTL_MS = 20000,
    GOSSIP_DEGRADED_TTL_MS = 300000,
    GOSSIP_DEGRADED_AGAIN_MS = 120000,
    GOSSIP_MAJORITY_MS = 60000,
    GOSSIP_FLAP_MEMORY_MS = 300000,
    GOSSIP_FLAP_HOLD_MS = 40000,
    GOSSIP_CROWD_SPAN_MS = 10000,
    GOSSIP_CROWD_LATE_MS = 300000,
    GOSSIP_GRACE_NEW_MS = 15000,
    GOSSIP_GRACE_RESTORED_MS = 8000,
    GOSSIP_RETRY_LOST_MIN_MS = 1000,
    GOSSIP_RETRY_LOST_MAX_MS = 10000,
    GOSSIP_BURST_EVERY_MS = 2000,
    GOSSIP_PUSH_MS = 50,
    GOSSIP_PUSH_LOAD_MS = 200,
    GOSSIP_SYNC_EVERY_MS = 500,
    GOSSIP_SYNC_PATIENCE_MS = 1000,
    GOSSIP_CATCH_UP_MS = 1500,
    GOSSIP_ANSWER_TICKS = 4,
    GOSSIP_ISOLATED_MS = 2000,
    GOSSIP_RELEARN_MS = 30000,
    GOSSIP_MUTE_MS = 1000,
    GOSSIP_BUMP_EVERY_MS = 100
};

/* Bits of gossip_slot.flags. */
enum {
    SLOT_MEMBER = 1,
    SLOT_PATH_DEGRADED = 2,
    SLOT_DOUBTFUL = 4 /* never heard here, and a peer holds it for lost */
};

/* One member in one view. There are N*N of these in a simulation of N nodes: 32 bytes. `heard` and
 * `since` are coarse ticks (view.c); rtt counts units of 32 us. */
struct gossip_slot {
    uint32_t life, profile, load; /* records, 0: none */
    uint32_t heard, since;
    uint16_t rtt, rtt_deviation;
    uint16_t trial; /* open case, as index + 1 */
    uint8_t state, cause;
    uint8_t flags;
    uint8_t queued;    /* one bit for each item kind waiting in the piggyback queue */
    uint16_t answered; /* when its last ping was, low bits of a coarse tick */
};

_Static_assert(sizeof(struct gossip_slot) == 32, "the simulator's memory depends on it");

struct gossip_asker {
    uint16_t index;
    uint32_t number;
};

enum gossip_probe_kind {
    GOSSIP_PROBE_RING,   /* my observed neighbour */
    GOSSIP_PROBE_RANDOM, /* anybody: finds what the rings miss, and crosses partitions */
    GOSSIP_PROBE_LOST,   /* a member held for lost */
    GOSSIP_PROBE_CHECK   /* because another observer asked, or accused */
};

struct gossip_probe {
    enum gossip_probe_kind kind;
    uint16_t index;
    uint8_t tries, most;
    uint8_t fellows_asked; /* 0, 1: some, 2: all */
    uint8_t nacks_due;
    bool reached_by_fellow;
    bool nacked;     /* the askers were told PENDING */
    uint32_t life;   /* the subject's, when the probe began */
    uint32_t number; /* of try 0; try i carries number + i */
    uint32_t former; /* the same before a late tick; 0: none */
    struct ppn_duration rto;
    uint32_t sent_us[GOSSIP_TRIES_MAX];             /* since started */
    struct ppn_instant started, next, end, refused; /* refused: first time; PPN_NEVER */
    uint32_t asker_count;
    struct gossip_asker askers[GOSSIP_ASKERS_MAX];
};

/* Whom I observe, and how my last 32 pings to it fared (a set bit is a lost one). */
struct gossip_target {
    uint16_t index;
    uint8_t seen;  /* so many of them there were */
    bool degraded; /* has lost most of them and not yet recovered */
    uint32_t lost;
};

struct gossip_lost {
    uint16_t index;
    struct ppn_instant next;
};

struct gossip_opinion_entry {
    uint16_t accuser;
    uint8_t opinion;
    uint8_t health;
    uint32_t record; /* 0: said to me alone, unsigned */
    struct ppn_instant heard;
    uint32_t degraded; /* the record that called the link bad before this said worse; 0: none */
    struct ppn_instant degraded_heard;
};

/* What the observers of one member say, while it matters. */
struct gossip_case {
    uint16_t subject;
    uint8_t count;
    uint8_t flaps;
    bool published;
    struct ppn_instant first;     /* of the accusations that still stand */
    struct ppn_instant suspected; /* since when they suffice for SUSPECT; PPN_NEVER */
    struct ppn_instant refused;   /* since when refusals suffice; PPN_NEVER */
    struct ppn_instant flapped, held;
    struct ppn_instant next;
    struct gossip_opinion_entry opinions[GOSSIP_OPINIONS_MAX];
};

enum gossip_class {
    GOSSIP_CLASS_VERDICTS,
    GOSSIP_CLASS_MEMBERSHIP,
    GOSSIP_CLASS_LOAD,
    GOSSIP_CLASSES
};

struct gossip_queued {
    uint16_t subject, accuser;
    uint8_t kind, sent;
};

struct gossip_queue {
    struct gossip_queued *entries;
    uint32_t count, capacity, cursor;
};

struct gossip_muted {
    uint16_t index;
    struct ppn_instant until;
};

struct gossip_cloned {
    uint16_t author;
    uint8_t kind; /* 0: none */
    uint32_t epoch, sequence;
};

struct gossip {
    struct gossip_config config;
    struct gossip_pool *pool;
    bool pool_owned;
    bool started, may_send, left;
    struct ppn_random random;
    struct ppn_instant origin;
    struct ppn_instant voided; /* when own evidence was last doubted: late before that is past */
    struct ppn_instant
        caught_up; /* until then what others said while this node was away may lack */

    struct gossip_slot *slots;
    uint32_t slot_capacity;
    uint32_t states[GOSSIP_LEFT + 1]; /* members in each state, self included */
    uint32_t members;
    uint64_t view_digest, load_digest;
    uint32_t buckets[GOSSIP_BUCKETS];

    /* self */
    uint16_t self;
    uint32_t epoch, incarnation, profile_sequence, load_sequence, verdict_sequence;
    uint8_t body_profile[GOSSIP_PROFILE_BODY_MAX], body_load[GOSSIP_LOAD_BODY_MAX];
    uint16_t body_profile_size, body_load_size;
    bool body_profile_set, body_load_set, load_pending;
    struct ppn_instant load_next, load_credit, started_at, bumped;
    uint16_t accuser; /* of this incarnation, the last one heard; POOL_INDEX_NONE */
    struct ppn_instant accused;
    bool relearned;

    /* probing */
    struct gossip_target targets[GOSSIP_TARGETS_MAX];
    uint32_t target_count, target_next;
    struct gossip_lost lost[GOSSIP_LOST_MAX];
    uint32_t lost_count;
    bool rings_dirty;
    struct gossip_probe probes[GOSSIP_PROBES_MAX];
    uint32_t probe_count;
    uint32_t probe_number, probe_turn;
    struct ppn_instant probe_next, burst_next, lost_next, heal_next;
    struct ppn_instant acked; /* last ACK from anybody */
    uint32_t failed_since_ack;
    uint32_t loss; /* per million of my pings, smoothed */
    uint8_t health;

    /* verdicts */
    struct gossip_case *cases;
    uint32_t case_count, case_capacity;
    struct ppn_instant case_next, suspected_last;
    struct ppn_instant losses_from, crowd_at; /* a span of losses; when the last was a crowd */
    uint32_t losses;

    /* spreading */
    struct gossip_queue queues[GOSSIP_CLASSES];
    struct ppn_instant push_next;
    int64_t tokens, load_tokens; /* bytes */
    struct ppn_instant tokens_at;

    /* anti-entropy */
    struct ppn_instant sync_next, differs_since;
    uint32_t giving,
        given; /* this step: the packet being filled for a peer, as count; how many went */

    struct gossip_muted muted[GOSSIP_MUTED_MAX];
    struct gossip_cloned cloned[GOSSIP_CLONED_MAX];
    uint32_t cloned_next;
    struct gossip_counters counters;
    bool out_of_memory;
};

/* view.c: slots, states, digests. */
static inline bool gossip_is_member(const struct gossip *g, uint16_t index)
{
    return index < g->slot_capacity && (g->slots[index].flags & SLOT_MEMBER) != 0;
}

static inline bool gossip_is_lost(const struct gossip_slot *slot)
{
    return slot->state == GOSSIP_DEAD || slot->state == GOSSIP_UNREACHABLE;
}

/* Alive as far as the rings care: suspects stay in them, so that they keep being probed. */
static inline bool gossip_in_ring(const struct gossip *g, uint16_t index)
{
    return gossip_is_member(g, index) && g->slots[index].state <= GOSSIP_SUSPECT;
}

uint32_t gossip_coarse(const struct gossip *g, struct ppn_instant now);
struct ppn_instant gossip_fine(const struct gossip *g, uint32_t coarse);
bool gossip_lost_in_crowd(const struct gossip *g, struct ppn_instant at);
uint32_t gossip_epoch_of(const struct gossip *g, uint16_t index);
uint32_t gossip_incarnation_of(const struct gossip *g, uint16_t index);
enum gossip_standing gossip_standing_of(const struct gossip *g, uint16_t index);
uint32_t gossip_sequence_of(const struct gossip *g, uint16_t index, enum gossip_item_kind kind);
void gossip_row_of(const struct gossip *g, uint16_t index, struct gossip_row *row);
bool gossip_slots_reserve(struct gossip *g);
void gossip_member_add(struct gossip *g, struct ppn_instant now, uint16_t index);
void gossip_member_remove(struct gossip *g, uint16_t index);
void gossip_digest_toggle(struct gossip *g, uint16_t index);
void gossip_state_set(struct gossip *g, struct ppn_instant now, uint16_t index,
                      enum gossip_state state, enum gossip_cause cause);
void gossip_path_set(struct gossip *g, uint16_t index, bool degraded);
void gossip_heard(struct gossip *g, struct ppn_instant now, uint16_t index);

static inline int64_t gossip_load_bytes_s(const struct gossip *g)
{
    return g->config.bandwidth_bytes_s / GOSSIP_LOAD_SHARE;
}

/* rings.c: who observes whom. */
void gossip_rings_refresh(struct gossip *g, struct ppn_instant now);
uint32_t gossip_observers_of(const struct gossip *g, uint16_t subject,
                             uint16_t observers[static GOSSIP_TARGETS_MAX]);
bool gossip_may_observe(const struct gossip *g, uint16_t observer, uint16_t subject);
bool gossip_is_target(const struct gossip *g, uint16_t index);
uint16_t gossip_random_member(struct gossip *g, bool targets_too);

/* probe.c */
void gossip_probe_start(struct gossip *g, struct ppn_instant now, uint16_t index,
                        enum gossip_probe_kind kind, const struct gossip_asker *asker);
void gossip_probe_acked(struct gossip *g, struct ppn_instant now, uint16_t index, uint32_t number);
void gossip_probe_checked(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet);
void gossip_probe_refused(struct gossip *g, struct ppn_instant now, uint16_t index);
void gossip_probe_tick(struct gossip *g, struct ppn_instant now);
void gossip_probe_void(struct gossip *g, struct ppn_instant now);
void gossip_probe_heal(struct gossip *g, struct ppn_instant now);
void gossip_probe_forget(struct gossip *g, uint16_t index);
struct ppn_instant gossip_probe_deadline(const struct gossip *g);

/* opinions.c: what was said of whom. */
struct gossip_case *gossip_case_of(struct gossip *g, uint16_t subject);
struct gossip_case *gossip_case_open(struct gossip *g, uint16_t subject);
void gossip_case_drop(struct gossip *g, uint16_t subject);
const struct gossip_opinion_entry *gossip_opinion_by(const struct gossip *g, uint16_t subject,
                                                     uint16_t accuser);
void gossip_opinion_place(struct gossip *g, struct gossip_case *c,
                          const struct gossip_opinion_entry *entry);
void gossip_opinion_remove(struct gossip *g, struct gossip_case *c, uint32_t at);
bool gossip_opinion_withdraw(struct gossip *g, struct ppn_instant now, struct gossip_case *c,
                             uint32_t at);
struct ppn_instant gossip_opinion_end(const struct gossip *g, const struct gossip_case *c,
                                      const struct gossip_opinion_entry *entry);

/* verdict.c: what follows. */
void gossip_opine(struct gossip *g, struct ppn_instant now, uint16_t subject,
                  enum gossip_opinion opinion);
void gossip_opinion_heard(struct gossip *g, struct ppn_instant now, uint16_t from,
                          uint16_t subject);
void gossip_verdict_receive(struct gossip *g, struct ppn_instant now, uint16_t accuser,
                            const struct gossip_item *item);
void gossip_case_refuted(struct gossip *g, struct ppn_instant now, uint16_t subject, bool was_lost,
                         bool anew);
void gossip_case_returned(struct gossip *g, struct ppn_instant now, uint16_t subject);
void gossip_case_void(struct gossip *g, struct ppn_instant now, struct ppn_duration late);
void gossip_case_tick(struct gossip *g, struct ppn_instant now);
bool gossip_isolated(const struct gossip *g, struct ppn_instant now);

/* voices.c: whose word could be had. */
uint32_t gossip_observers_live(const struct gossip *g, uint16_t subject);
bool gossip_majority(const struct gossip *g, struct ppn_instant now);
void gossip_ask_observers(struct gossip *g, uint16_t subject, uint8_t kinds);

/* record.c: signed items of members and of self. */
void gossip_item_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                         struct ppn_slice bytes);
enum ppn_error gossip_item_restore(struct gossip *g, struct ppn_instant now,
                                   struct ppn_slice bytes);
void gossip_self_life(struct gossip *g, struct ppn_instant now, enum gossip_standing standing);
void gossip_self_resign(struct gossip *g, struct ppn_instant now);
enum ppn_error gossip_self_body(struct gossip *g, struct ppn_instant now, enum gossip_plane plane,
                                struct ppn_slice body);
void gossip_self_tick(struct gossip *g, struct ppn_instant now);
void gossip_self_accused(struct gossip *g, struct ppn_instant now, uint16_t accuser);
uint32_t gossip_sign_item(struct gossip *g, struct ppn_writer *item);
bool gossip_item_verify(struct gossip *g, uint16_t from, const struct gossip_item *item,
                        uint16_t author, uint32_t *record);

/* spread.c: queues, packets, the cap. */
void gossip_queue_add(struct gossip *g, struct ppn_instant now, uint16_t subject,
                      enum gossip_item_kind kind, uint16_t accuser);
struct gossip_packet *gossip_packet_begin(struct gossip *g, enum gossip_packet_kind kind);
bool gossip_packet_item(struct gossip *g, struct gossip_packet *packet, uint32_t record);
void gossip_packet_fill(struct gossip *g, struct gossip_packet *packet, uint16_t to);
void gossip_packet_send(struct gossip *g, uint16_t to, struct gossip_packet *packet);
void gossip_tokens_refill(struct gossip *g, struct ppn_instant now);
void gossip_push_tick(struct gossip *g, struct ppn_instant now);
void gossip_goodbye(struct gossip *g);

/* sync.c: anti-entropy. */
void gossip_sync_consider(struct gossip *g, struct ppn_instant now, uint16_t from,
                          const struct gossip_packet *packet);
void gossip_sync_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                         const struct gossip_packet *packet);
void gossip_sync_introduce(struct gossip *g, uint16_t from);
void gossip_sync_give(struct gossip *g, uint16_t to, uint16_t subject, uint8_t kinds);
void gossip_sync_give_end(struct gossip *g, uint16_t to);

/* receive.c */
void gossip_receive(struct gossip *g, struct ppn_instant now, uint16_t from,
                    const struct gossip_packet *packet);

/* A fresh action at the end of this step's update; NULL out of memory. */
struct gossip_action *gossip_act(struct gossip *g, enum gossip_action_kind kind, uint16_t index);
