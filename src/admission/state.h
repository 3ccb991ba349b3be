// SPDX-License-Identifier: ISC
#pragma once

/* The inside of a log; private to the folder. Entries and keys are numbered in the order in which
 * this log came to know them; no rule may depend on that order beyond "ancestors come first". */

#include "admission/admission.h"
#include "admission/table.h"

/* A rule of the fold that a test may switch off to prove that it would notice (ADMISSION_MUTANTS,
 * never in the product). */
enum admission_rule {
    ADMISSION_RULE_NONE,
    ADMISSION_RULE_REMOVAL_NEEDS_PAST_ONLY, /* a removed author's concurrent removals stand */
    ADMISSION_RULE_GRANT_DIES,              /* a removed author's unseen grants are void */
    ADMISSION_RULE_ANCESTORS_SPARED,        /* ... but those the remover had seen are not */
    ADMISSION_RULE_LIVE_CHAIN,              /* a grant needs its granter's grant to be live */
    ADMISSION_RULE_EQUIVOCATION,            /* a forked author is out, grants from there void */
    ADMISSION_RULE_FORK_POINT,              /* ... but not those before the fork */
    ADMISSION_RULE_REMOVED_FOR_GOOD,        /* a removed identity never returns */
    ADMISSION_RULE_DENY_BEATS_ADMIT,
    ADMISSION_RULE_USES,
    ADMISSION_RULE_USES_ORDER, /* winners do not depend on arrival */
    ADMISSION_RULE_EXPIRY,
    ADMISSION_RULE_CUT,
    ADMISSION_RULE_ROOT_CUT_UNDOES, /* only a root cut undoes removals */
    ADMISSION_RULE_ROOT_IMMUNE,
    ADMISSION_RULE_QUORUM,
    ADMISSION_RULE_COSIGNER_LIVE, /* a quorum needs m keys that stand today */
    ADMISSION_RULE_CLASS,         /* each act needs its own power */
    ADMISSION_RULE_SEAL_SPARES,   /* a seal keeps a grant from a removal that it did not cover */
    ADMISSION_RULE_SEAL_ENDS_BACKDATING,
    ADMISSION_RULE_SEAL_CONFLICT,
    ADMISSION_RULE_SEAL_MEMBERS, /* a seal names the members at its place */
    ADMISSION_RULE_POLICY_DELAY, /* a policy rules after as many seals as the one before asks for */
    ADMISSION_RULE_GRACE,
    ADMISSION_RULE_RECOVER_DROPS, /* a recovery voids what old roots did unseen */
    ADMISSION_RULE_RECOVER_WINNER,
    ADMISSION_RULE_WITNESS, /* a redemption needs a witness that is a member */
    ADMISSION_RULE_UNIQUE_WG,
    ADMISSION_RULE_UNIQUE_ADDRESS,
    ADMISSION_RULE_UNIQUE_NAME,
    ADMISSION_RULE_LEASE,
    ADMISSION_RULE_GAPLESS,
    ADMISSION_RULE_PREV_ANCESTOR,
    ADMISSION_RULE_TELL_REMOVALS,      /* who listens to updates hears who is a member no more */
    ADMISSION_RULE_ANCESTRY_AUTHORITY, /* authority is judged at the entry's own past */
    ADMISSION_RULE_COUNT
};

#ifdef ADMISSION_MUTANTS
#define ADMISSION_RULE(log, rule) ((log)->mutant != ADMISSION_RULE_##rule)
#else
#define ADMISSION_RULE(log, rule) ((void)(log), true)
#endif

/* A set of entries closed under ancestors: all numbers below base, and the bits from there. */
struct admission_past {
    uint32_t base; /* a multiple of 64 */
    uint32_t words;
    uint64_t *bits;
};

/* Why an accepted entry does not count. */
enum admission_void {
    ADMISSION_VOID_NOT,
    ADMISSION_VOID_REMOVED,   /* by: the removal of its author that it was not known to */
    ADMISSION_VOID_FORKED,    /* its author contradicted itself */
    ADMISSION_VOID_CUT,       /* by: the cut */
    ADMISSION_VOID_RECOVERED, /* by: the recovery that dropped its author */
    ADMISSION_VOID_BACKDATED, /* by: the seal that omits it */
    ADMISSION_VOID_CHAIN,     /* who gave its author the power has lost it */
    ADMISSION_VOID_DENIED,    /* by: a concurrent denial */
    ADMISSION_VOID_REVOKED,   /* by: the node's removal */
    ADMISSION_VOID_ADDRESS,
    ADMISSION_VOID_WG_KEY,
    ADMISSION_VOID_INVITE,   /* closed, or not in force */
    ADMISSION_VOID_USED_UP,  /* by: the redemption that won */
    ADMISSION_VOID_WITNESS,  /* its witness is no member */
    ADMISSION_VOID_CONFLICT, /* two seals of one number; a recovery that lost */
    ADMISSION_VOID_CLOSED    /* a checkpoint came first that leaves no room for it */
};

/* What a checkpoint decided of an entry that it kept, or that came too late for it. */
enum {
    ADMISSION_KEPT_FORCE = 1u << 0,     /* the admission that speaks for its node */
    ADMISSION_KEPT_REKEY = 1u << 1,     /* gives its node's WireGuard key */
    ADMISSION_KEPT_WG = 1u << 2,        /* claims its WireGuard key */
    ADMISSION_KEPT_ADDRESS = 1u << 3,   /* claims its mesh address */
    ADMISSION_KEPT_ROOT_TIER = 1u << 4, /* signed by a root quorum */
    ADMISSION_KEPT_RULES = 1u << 5,     /* a policy that waited long enough */
    ADMISSION_KEPT_LATE_ROOT = 1u << 6, /* a root grant beside a recovery: gives nothing */
    ADMISSION_KEPT_ALL = (1u << 7) - 1
};

struct admission_mark {
    bool kept;      /* by the checkpoint in force: what it decided is final */
    bool late;      /* beyond the checkpoint, and made without knowing it */
    bool inert;     /* holds a place in a chain and means nothing */
    uint8_t flags;  /* ADMISSION_KEPT_* */
    uint8_t why;    /* kept: enum admission_void */
    uint64_t value; /* kept: lease end of an admission, uses of an invite, delay of a policy;
                       inert: number of a seal */
};

struct admission_item {
    struct ppn_hash id;
    uint8_t *bytes; /* the envelope, or the record of a checkpoint around it */
    uint16_t size;
    uint16_t envelope_at, envelope_size;
    uint16_t body_at, body_size;
    uint8_t kind;
    struct admission_mark mark;
    bool root_tier; /* signed by a root quorum, judged at its own past */
    bool has_child;
    bool special;
    uint8_t cosigners; /* how many */
    uint8_t quorum;    /* distinct keys that its class needed at its own past */
    uint8_t why;       /* enum admission_void */
    uint32_t by;       /* the entry that made it void, + 1 */
    uint32_t author;
    uint32_t facts;   /* + 1 */
    uint32_t control; /* its place among control entries, UINT32_MAX: none */
    uint32_t subject; /* key number; of REKEY and REDEEM the node; UINT32_MAX: none */
    uint32_t height;
    uint64_t seq;
    uint64_t seal;  /* highest among its ancestors */
    uint64_t epoch; /* the first valid seal that covers it, UINT64_MAX: none */
    int64_t time_unix_ms;
    struct admission_past past;
    uint32_t next_of_author, next_of_subject; /* + 1 */
};

/* What authority needs of a control entry, decoded once. */
struct admission_control {
    uint32_t index;
    uint32_t powers;                     /* ADMIN_ADD */
    bool has_cut;                        /* ADMIN_REMOVE */
    uint64_t cut;                        /* ADMIN_REMOVE */
    uint64_t number;                     /* SEAL */
    int64_t renew_unix_ms;               /* SEAL */
    struct admission_policy policy;      /* GENESIS, POLICY; RECOVER: root only */
    uint32_t delay;                      /* POLICY: seals that it waits, by the one at its past */
    uint32_t base;                       /* RECOVER: entry */
    uint32_t root_count;                 /* GENESIS, RECOVER */
    uint32_t roots[ADMISSION_ROOTS_MAX]; /* persons */
};

/* What the fold needs of ADMIT, INVITE, REDEEM and REKEY, decoded once. */
struct admission_facts {
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    uint8_t address[16];
    char name[PPN_NAME_MAX + 1];
    uint32_t roles;
    uint64_t lease_ms;
    uint32_t invite; /* REDEEM: entry */
    uint32_t uses;   /* INVITE */
    int64_t expires_unix_ms;
    uint32_t used_before; /* INVITE: before the checkpoint */
    uint32_t used;        /* INVITE, by the fold: admissions that count */
    uint32_t last;        /* INVITE, by the fold: the last of them, + 1 */
};

struct admission_person { /* any key: admin, node, invite */
    struct admission_key key;
    uint32_t admin;                                   /* + 1, into admins */
    uint32_t first_authored, last_authored, authored; /* + 1; count */
    uint32_t first_about, last_about;                 /* + 1: entries whose subject it is */
    uint64_t kept_seq; /* the last of its entries that the checkpoint kept; 0: none */
    uint64_t fork_seq; /* 0: none */
    uint32_t forks;
    bool watched; /* cut or forked: what its own entries had seen decides what it cosigned */
    /* the fold */
    uint32_t force;  /* + 1: the admission in force */
    uint32_t rekey;  /* + 1: the REKEY in force */
    uint32_t member; /* + 1, into members */
    bool revoked;
};

/* What is known of authority within a past. Arrays run over log->admins (count as of the making) or
 * over log->control. */
struct admission_authority {
    const struct admission_past *view; /* NULL: everything; only during the making */
    uint32_t admins, controls;
    uint32_t *powers;     /* today's, by admin; 0: none */
    uint64_t *fork_seq;   /* by admin; UINT64_MAX: none */
    uint64_t *cut_all;    /* root cuts: grants and removals above are void; UINT64_MAX: none */
    uint32_t *cut_all_by; /* entry + 1 */
    uint64_t *cut_grants; /* admins' cuts: grants above are void */
    uint32_t *cut_grants_by;
    uint32_t *dropped_by; /* RECOVER + 1 that dropped this root key */
    bool *late_root;      /* by admin: made a root by somebody who had not seen a recovery */
    uint8_t *state;       /* by control entry: ADMISSION_IN_PAST, ADMISSION_STANDS */
    uint32_t *seals;      /* valid SEAL entries, ascending by number */
    uint32_t seal_count;
    uint64_t grace;    /* of the policy, before seals are looked at */
    bool *suspect;     /* by admin: a removal or a fork, true or not */
    uint64_t conflict; /* lowest seal number in conflict in this generation, 0: none */
    struct admission_policy policy;
    uint32_t generation; /* entry: the GENESIS or RECOVER whose roots rule */
    bool *tainted;       /* by admin: something may void what it granted */
    bool clean;          /* no removal, fork, cut or recovery: whoever has power has it all */
};

enum { ADMISSION_IN_PAST = 1, ADMISSION_STANDS = 2 };

enum { ADMISSION_MEMO = 8 };

/* An authority remembered for a past, named by the special entries in it. */
struct admission_memo {
    uint64_t *bits;
    uint32_t words;
    uint64_t used; /* for least recently used */
    struct admission_authority authority;
};

/* Two entries of one author with one number. */
struct admission_contradiction {
    uint32_t author;
    uint32_t one, two;
};

struct admission_waiting {
    struct ppn_hash id, missing;
    uint8_t *bytes;
    uint16_t size;
    uint32_t source;
};

struct admission {
    const struct admission_crypto *crypto;
    struct ppn_hash network;
    struct ppn_hash_key table_key;
    char name[PPN_NAME_MAX + 1];
    bool alarmed_frozen;

    struct admission_item *items;
    uint32_t count, capacity;
    struct admission_table by_id, by_seq;
    struct admission_person *persons;
    uint32_t person_count, person_capacity;
    struct admission_table by_key;
    struct admission_waiting *waiting;
    uint32_t waiting_count, waiting_capacity;
    struct ppn_hash *heads; /* ascending */
    uint32_t head_count, head_capacity;

    uint32_t *admins; /* person numbers of every key that a grant names */
    uint32_t admin_count, admin_capacity;
    struct admission_control *control; /* what decides authority, in order of acceptance */
    uint32_t control_count, control_capacity;
    uint32_t *special; /* control entries, and all by watched keys: what an authority depends on */
    uint32_t special_count, special_capacity;
    struct admission_contradiction *contradictions;
    uint32_t contradiction_count, contradiction_capacity;
    uint32_t covered;     /* every entry below has its epoch */
    uint32_t special_end; /* above the highest of them */
    struct admission_facts *facts;
    uint32_t facts_count, facts_capacity;
    uint32_t *invites; /* INVITE entries */
    uint32_t invite_count, invite_capacity;
    struct admission_authority now; /* over everything */
    bool now_valid;
    struct admission_memo memo[ADMISSION_MEMO];
    uint64_t memo_clock;

    struct admission_member *members;
    uint32_t *member_person; /* beside members */
    uint32_t *member_order;  /* indexes of members by ascending node id */
    uint32_t member_count, member_capacity, person_side_capacity, order_capacity;
    uint32_t renamed; /* members that do not have the name they asked for */
    struct admission_table by_name, by_member_wg, by_member_address; /* -> members */
    struct admission_table wg_claims, address_claims;                /* -> person */
    struct admission_admin *admin_view;                              /* for admission_admin_at */
    uint32_t admin_view_capacity;
    int64_t now_unix_ms;
    int64_t next_lease_unix_ms;
    uint64_t conflict_alarmed;
    uint32_t checkpoint;  /* + 1: the entry; what it kept is below it, nothing else is */
    uint64_t *closed_ids; /* admission_short_id of what it did not keep, ascending */
    uint32_t closed_count;
    struct admission_staging *staging; /* a checkpoint whose records are arriving, or NULL */
#ifdef ADMISSION_MUTANTS
    enum admission_rule mutant;
#endif
};

/* ---- state.c ---- */

uint64_t admission_hash_bytes(const struct admission *log, const void *bytes, size_t size);
uint32_t admission_person(struct admission *log, const struct admission_key *key);
bool admission_person_find(const struct admission *log, const struct admission_key *key,
                           uint32_t *person);
bool admission_item_find(const struct admission *log, const struct ppn_hash *id, uint32_t *index);

/* An accepted entry of this author and number; the first that came. */
bool admission_by_seq(const struct admission *log, uint32_t author, uint64_t seq, uint32_t *index);
void admission_decode(const struct admission *log, uint32_t index, struct admission_entry *entry);
struct ppn_slice admission_body(const struct admission *log, uint32_t index);

/* Orders by (epoch, height, id): the same on every replica, ancestors first. */
int admission_order(const struct admission_item *a, const struct admission_item *b);

/* The order in which admissions are taken: those that a checkpoint kept in its order, then by
 * (epoch, kind, height, id). The items are of one log. */
int admission_rank(const struct admission_item *a, const struct admission_item *b);

/* ---- past.c ---- */

static inline bool admission_past_has(const struct admission_past *past, uint32_t index)
{
    if (index < past->base)
        return true;
    uint32_t at = index - past->base;
    return at / 64 < past->words && (past->bits[at / 64] >> (at % 64) & 1) != 0;
}

/* All below `end`. */
void admission_past_prefix(uint32_t end, struct admission_past *past);

/* The parents and all their ancestors. */
void admission_past_of(const struct admission *log, const uint32_t *parents, uint32_t count,
                       struct admission_past *past);
void admission_past_free(struct admission_past *past);

/* Whether `index` is an ancestor of `of`. */
static inline bool admission_before(const struct admission *log, uint32_t index, uint32_t of)
{
    return admission_past_has(&log->items[of].past, index);
}

/* ---- authority.c, standing.c ---- */

/* Everything below log->count when past is NULL. */
void admission_authority_make(const struct admission *log, const struct admission_past *past,
                              struct admission_authority *authority);
void admission_authority_free(struct admission_authority *authority);

/* The authority at a past, from the cache where it can be. Borrowed until the next call. */
const struct admission_authority *admission_authority_at(struct admission *log,
                                                         const struct admission_past *past);

/* Whether a POLICY that stands rules by now: a seal that counts covers it, late enough. */
bool admission_policy_rules(const struct admission *log,
                            const struct admission_authority *authority, uint32_t control);

/* Whether a removal of this key stands. */
bool admission_removed(const struct admission *log, const struct admission_authority *authority,
                       uint32_t person);

/* Today's authority. */
const struct admission_authority *admission_authority_now(struct admission *log);

/* The power that an act needs, and the quorum of its class. 0 power: none by this table. */
uint32_t admission_power_needed(uint32_t kind);
uint32_t admission_quorum(const struct admission_policy *policy, uint32_t kind);

uint32_t admission_late_root_grant(const struct admission *log,
                                   const struct admission_authority *authority,
                                   const struct admission_control *grant);

/* The recovery in force, + 1, next to which `signer` wrote the entry with a power that it has from
 * a root grant that neither knew that recovery nor was known to it; 0: none. */
uint32_t admission_late_power(const struct admission *log,
                              const struct admission_authority *authority, uint32_t signer,
                              uint32_t index, uint32_t power);

/* A seal that counts covers the grant and not the removal. */
bool admission_sealed_against(const struct admission *log,
                              const struct admission_authority *authority, uint32_t grant,
                              uint32_t removal);

/* The lowest number that a key used twice within a past (NULL: everything); UINT64_MAX: none. */
uint64_t admission_fork_in(const struct admission *log, const struct admission_past *past,
                           uint32_t person);

/* A seal that counts covers the grant and no contradiction of the signer, or a later one of its
 * author. */
bool admission_sealed_unforked(const struct admission *log,
                               const struct admission_authority *authority, uint32_t signer,
                               uint32_t grant);

/* Whether an entry by admins counts under this authority. *by: entry + 1 that made it void. */
enum admission_void admission_standing_of(const struct admission *log,
                                          const struct admission_authority *authority,
                                          uint32_t index, uint32_t *by);

/* ---- judge.c ---- */

/* An envelope on its way in. */
struct admission_attempt {
    struct ppn_hash id;
    struct ppn_slice bytes; /* the envelope, or a record around it */
    size_t envelope_at, envelope_size;
    struct admission_envelope envelope;
    struct admission_entry entry;
    /* Those that are still there, and the checkpoint, which every entry beyond it is held to know.
     */
    uint32_t parents[ADMISSION_PARENTS_MAX + 1];
    uint32_t parent_count;
    struct admission_mark mark;
    struct admission_past past;
    uint32_t height;
    uint32_t quorum;
    uint32_t delay; /* POLICY */
    bool root_tier;
};

/* Whether the attempt, all of whose parents are there, may enter the log: a function of its bytes
 * and its ancestors alone. Fills past, height, quorum and root_tier. */
enum ppn_error admission_judge(struct admission *log, struct admission_attempt *attempt,
                               struct ppn_failure *why) PPN_CHECK;

/* Whether enough of those whom nobody outranks signed the attempt: the recovery keys of the roots
 * that rule; for a checkpoint, where there are none, the roots. */
enum ppn_error admission_judge_recovery_keys(const struct admission *log,
                                             const struct admission_authority *a,
                                             struct admission_attempt *attempt,
                                             struct ppn_failure *why) PPN_CHECK;

/* The highest seal number up to and with this entry. */
uint64_t admission_seal_after(const struct admission *log, uint32_t index);

/* Whether the author of an entry that came late is anybody who may have had a say. */
bool admission_author_known(const struct admission *log, const struct admission_entry *entry);

/* ---- offer.c ---- */

/* An entry that was accepted before, by a log that another one takes the place of. */
enum ppn_error admission_reenter(struct admission *log, struct ppn_slice envelope) PPN_CHECK;

/* Decodes an envelope and finds its id; checks no signature. */
enum ppn_error admission_read_attempt(const struct admission *log, struct ppn_slice bytes,
                                      struct admission_attempt *attempt,
                                      struct ppn_failure *why) PPN_CHECK;
enum ppn_error admission_check_signatures(const struct admission *log,
                                          const struct admission_attempt *attempt,
                                          struct ppn_failure *why) PPN_CHECK;

/* Numbers the parents that are there; false and *missing when one is not known at all. */
bool admission_find_parents(const struct admission *log, struct admission_attempt *attempt,
                            struct ppn_hash *missing);

/* ---- replay.c ---- */

/* The entries of a past in a log of their own. */
struct admission *admission_replay(const struct admission *log, const struct admission_past *past);

/* What a seal at this past must say of the members there. */
struct ppn_hash admission_seal_members(const struct admission *log,
                                       const struct admission_past *past);

/* ---- insert.c ---- */

/* Takes a judged attempt in; returns its number. The past moves to the item. */
uint32_t admission_insert(struct admission *log, struct admission_attempt *attempt);

/* ---- fold.c ---- */

/* Takes a new entry into the fold: by a short way where nothing else can be touched, else from
 * scratch. Appends member updates. */
void admission_fold_entry(struct admission *log, uint32_t index, struct admission_update *update);
void admission_fold_all(struct admission *log, struct admission_update *update);

/* A copy of the members as they are; count of them. The caller frees. */
struct admission_member *admission_members_copy(const struct admission *log, uint32_t *count);

/* Tells what changed since: removals of all, then the rest, by ascending node id. */
void admission_members_report(const struct admission *log, const struct admission_member *old,
                              uint32_t old_count, struct admission_update *update);

/* ---- members.c ---- */

/* Where a node's lease ends, by its admission in force and the seals that renew it; 0: never. */
int64_t admission_lease_end(const struct admission *log, uint32_t person);

/* Makes the member of a person whose admission is in force. */
void admission_member_put(struct admission *log, uint32_t person, const char *name);
void admission_member_drop(struct admission *log, uint32_t person);

/* Forgets all members, without a word. */
void admission_members_clear(struct admission *log);

/* The first free name for a person whose admission is in force: the one it asked for, else with the
 * start of its node id behind it. */
void admission_member_name(const struct admission *log, uint32_t person,
                           char name[static PPN_NAME_MAX + 1]);
bool admission_name_taken(const struct admission *log, const char *name);

/* admission_mesh_address by the log's own hash. */
void admission_address(const struct admission *log, const struct ppn_node_id *node,
                       uint8_t address[static 16]);

/* Who claimed a WireGuard key or an address first; UINT32_MAX: nobody. */
uint32_t admission_wg_owner(const struct admission *log, const uint8_t *wg_key);
uint32_t admission_address_owner(const struct admission *log, const uint8_t *address);
void admission_claim(struct admission *log, uint32_t index);

/* What a checkpoint says that the entry claims. */
void admission_claim_kept(struct admission *log, uint32_t index);

/* ---- query.c ---- */

/* After every new authority. */
void admission_admins_refresh(struct admission *log);

/* ---- update.c ---- */

struct admission_update_item *admission_update_add(struct admission_update *update,
                                                   enum admission_update_kind kind);
