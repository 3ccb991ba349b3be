// SPDX-License-Identifier: ISC
#pragma once

/* The admission log of one network and what it says: who is a member, who may change that.
 *
 * A hash-linked DAG of signed entries (admission/entry.h). Any subset that holds its own ancestors,
 * offered in any order with any repetition, gives the same members (fold). The log owns all bytes
 * that it accepted. It knows no clock: wall time comes in and touches leases only.
 *
 * Updates come out in the order in which the shell must carry them out: persist entries first, then
 * drop removed members' peers, then add or change the others, then tell people and push. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/crypto.h"
#include "admission/entry.h"
#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/slice.h"
#include "base/time.h"

enum {
    ADMISSION_ENTRIES_MAX = 65536,     /* in one log */
    ADMISSION_ADMIN_SEQ_MAX = 32768,   /* entries of one admin key */
    ADMISSION_MEMBER_SEQ_MAX = 2048,   /* REDEEM and REKEY entries of one node */
    ADMISSION_FORKS_MAX = 64,          /* contradicting entries kept of one author */
    ADMISSION_PENDING_MAX = 1024,      /* entries that wait for a parent */
    ADMISSION_PENDING_PER_SOURCE = 256 /* of which one sender may hold this many */
};

struct admission; /* opaque; admission_new, admission_free */

struct admission_config {
    const struct admission_crypto *crypto; /* NULL: admission_crypto_sodium() */
    /* Id of the network; zero: the first genesis offered founds it (founding, or a joiner that pins
     * what it first saw). */
    struct ppn_hash network;
    /* Any number; unpredictable in the product, so that nobody can aim at one bucket of a table. */
    uint64_t seed;
};

/* NULL when out of memory. */
struct admission *admission_new(const struct admission_config *config);
void admission_free(struct admission *log);

/* ---- what comes out ---- */

struct admission_member {
    struct ppn_node_id id;
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    uint8_t address[16];         /* admission_mesh_address: the node's ::1 in its /96 */
    char name[PPN_NAME_MAX + 1]; /* unique among members: see admission_member_name in PROTOCOL */
    uint32_t roles;
    int64_t admitted_unix_ms;
    int64_t lease_until_unix_ms; /* 0: for ever */
    struct ppn_hash entry;       /* the ADMIT or REDEEM that stands for it */
};

enum admission_update_kind {
    ADMISSION_PERSIST, /* write `id` -> `bytes` durably before anything that follows is shown */
    ADMISSION_MEMBER_REMOVED, /* `member` as it last was: drop its peer now */
    ADMISSION_MEMBER_ADDED,
    ADMISSION_MEMBER_CHANGED, /* name, WireGuard key, roles, labels or lease */
    ADMISSION_HEADS_CHANGED,
    ADMISSION_EQUIVOCATION,  /* `author` signed two entries with one number: alarm */
    ADMISSION_SEAL_CONFLICT, /* two seals with one number: an authority runs twice; alarm */
    ADMISSION_CLOSED, /* the log now begins with a checkpoint: store admission_transfer_at anew,
                         all of it, in place of all that was stored, in one step */
    ADMISSION_FROZEN  /* root raised the version above this program's: update it; alarm */
};

struct admission_update_item {
    enum admission_update_kind kind;
    struct ppn_hash id;             /* PERSIST: entry id */
    struct ppn_slice bytes;         /* PERSIST: envelope; owned by the log, lives as long as it */
    struct admission_member member; /* MEMBER_* */
    struct admission_key author;    /* EQUIVOCATION */
    uint32_t lost; /* CLOSED: entries of this log that have no place beyond the checkpoint */
};

/* A list that the caller owns; zero-initialise once, reset between steps, free at the end. Each
 * admission_offer or admission_tick appends to it. */
struct admission_update {
    struct admission_update_item *items;
    uint32_t count;
    uint32_t capacity;
};

void admission_update_reset(struct admission_update *update);
void admission_update_free(struct admission_update *update);

/* ---- what goes in ---- */

enum admission_verdict {
    ADMISSION_ACCEPTED, /* new, in the log now, with every pending entry that waited for it */
    ADMISSION_KNOWN,    /* already there, or already pending */
    ADMISSION_PENDING,  /* fine so far; a parent is missing: admission_missing names it */
    ADMISSION_STAGED,   /* part of a checkpoint; more of it must come: admission_staged_count */
    ADMISSION_REFUSED   /* changes nothing, now or later: the sender's fault, text in *why */
};

/* Offers one envelope. source is any number that tells senders apart (a table index, a hash); 0 is
 * this node itself and its disk. why may be NULL. Costs one hash for a known entry; one signature
 * check per signature for a new one; a refusal changes nothing. why->code: INVALID, TOO_BIG,
 * VERSION, SIGNATURE, UNAUTHORIZED, FULL (a cap, said in the text), BUSY (the pending table is
 * full: offer again after a sync), CONFLICT (another network), NO_MEMORY. */
enum admission_verdict admission_offer(struct admission *log, struct ppn_wall now, uint32_t source,
                                       struct ppn_slice envelope, struct admission_update *update,
                                       struct ppn_failure *why);

/* Time passed: leases may have ended. */
void admission_tick(struct admission *log, struct ppn_wall now, struct admission_update *update);

/* When the next lease ends, INT64_MAX if none does: call admission_tick then. */
struct ppn_wall admission_deadline(const struct admission *log);

/* Forgets the fold and makes it again from the accepted entries alone; for tests and --verify. The
 * result must equal what increments gave. */
void admission_refold(struct admission *log);

/* ---- the network ---- */

/* False before the genesis. */
bool admission_founded(const struct admission *log);
struct ppn_hash admission_network(const struct admission *log);
const char *admission_network_name(const struct admission *log);

/* The mesh address of a node: fd, 5 bytes of the network id (so the /48 is the network's), 6 bytes
 * of BLAKE2b-256("ppn-address-1" || network || node), then ::1. Its /96 belongs to the node. */
void admission_mesh_address(const struct ppn_hash *network, const struct ppn_node_id *node,
                            uint8_t address[static 16]);
enum { ADMISSION_MESH_PREFIX_BITS = 96 };

/* ---- members ---- */

uint32_t admission_member_count(const struct admission *log);

/* In ascending order of node id; NULL beyond the end. Valid until the next offer or tick. */
const struct admission_member *admission_member_at(const struct admission *log, uint32_t index);

/* Each NULL when there is no such member. by_address takes any address of the node's /96. */
const struct admission_member *admission_member_by_id(const struct admission *log,
                                                      const struct ppn_node_id *id);
const struct admission_member *admission_member_by_name(const struct admission *log,
                                                        const char *name);
const struct admission_member *
admission_member_by_wg_key(const struct admission *log,
                           const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE]);
const struct admission_member *admission_member_by_address(const struct admission *log,
                                                           const uint8_t address[static 16]);

/* By name, else by a prefix (8 hexadecimal digits or more, dashes ignored) of the node id, as
 * ppn_fingerprint prints it. NOT_FOUND, or CONFLICT when the prefix fits several. */
enum ppn_error admission_member_find(const struct admission *log, const char *text,
                                     const struct admission_member **member) PPN_CHECK;

/* The labels of its admission. */
void admission_member_labels(const struct admission *log, const struct admission_member *member,
                             struct admission_labels *labels);

/* What the log says of a node id that is no member: a REVOKED one never comes back. */
enum admission_standing {
    ADMISSION_STRANGER, /* never heard of */
    ADMISSION_MEMBER,
    ADMISSION_EXPIRED, /* its lease ended; a seal or a new ADMIT renews it */
    ADMISSION_DENIED,  /* until a later ADMIT */
    ADMISSION_REVOKED,
    ADMISSION_VOID /* an admission exists but does not count; admission_explain says why */
};
enum admission_standing admission_standing(const struct admission *log,
                                           const struct ppn_node_id *node);

/* ---- authority ---- */

struct admission_admin {
    struct admission_key key;
    uint32_t powers; /* of a live admin; of a removed one what it had */
    bool live;
    char name[PPN_NAME_MAX + 1]; /* "" for a root key of the genesis */
    struct ppn_hash granted_by;  /* entry */
};

/* Every key that ever was an admin, in ascending order of key. */
uint32_t admission_admin_count(const struct admission *log);
const struct admission_admin *admission_admin_at(const struct admission *log, uint32_t index);

/* NULL when the key never was an admin. */
const struct admission_admin *admission_admin_by_key(const struct admission *log,
                                                     const struct admission_key *key);
/* The genesis or recovery whose roots rule: what another recovery must name as its base. */
struct ppn_hash admission_roots_by(const struct admission *log);
struct admission_policy admission_policy_now(const struct admission *log);

/* A policy that stands and does not rule yet: until then the recovery keys can undo it. */
struct admission_policy_waiting {
    struct ppn_hash entry;
    struct admission_policy policy;
    uint64_t seals; /* that are still to be made */
};

/* At most max are copied; returns how many. */
uint32_t admission_policy_waiting(const struct admission *log,
                                  struct admission_policy_waiting *list, uint32_t max);

/* An invite as it stands. */
struct admission_invite_state {
    struct ppn_hash id; /* its entry */
    struct admission_key key;
    uint32_t uses;
    uint32_t used; /* admissions that count */
    int64_t expires_unix_ms;
    bool open; /* live, not closed, uses left; expiry is for the caller's clock */
};
bool admission_invite_by_key(const struct admission *log, const struct admission_key *key,
                             struct admission_invite_state *state);
uint32_t admission_invite_count(const struct admission *log);
bool admission_invite_at(const struct admission *log, uint32_t index,
                         struct admission_invite_state *state);

/* ---- the log itself ---- */

uint32_t admission_entry_count(const struct admission *log);
uint32_t admission_pending_count(const struct admission *log);

/* An accepted entry. Indexes are in an order of this log's own in which parents come before their
 * children (so 0 .. count-1 is the export order); they never change while the log lives. */
struct admission_record {
    struct ppn_hash id;
    struct ppn_slice envelope; /* as received */
    enum admission_kind kind;
    struct admission_key author;
    uint64_t seq;
    int64_t time_unix_ms;
    bool live; /* it counts today: a grant in force, a removal that stands */
};
struct admission_record admission_record_at(const struct admission *log, uint32_t index);
bool admission_record_find(const struct admission *log, const struct ppn_hash *id, uint32_t *index);

/* By id prefix in hexadecimal (8 digits or more). NOT_FOUND, CONFLICT. */
enum ppn_error admission_record_find_text(const struct admission *log, const char *text,
                                          uint32_t *index) PPN_CHECK;

/* The typed entry; the record was accepted, so this cannot fail. */
void admission_record_entry(const struct admission *log, uint32_t index,
                            struct admission_entry *entry);

/* Entries without children, ascending; at most max are copied, the full count is returned. */
uint32_t admission_heads(const struct admission *log, struct ppn_hash *heads, uint32_t max);

/* BLAKE2b-256 over the sorted heads: equal digests mean equal logs. */
struct ppn_hash admission_digest(const struct admission *log);

/* BLAKE2b-256 over members, admins and policy: equal folds have equal digests. */
struct ppn_hash admission_members_digest(const struct admission *log);

/* Ids of missing parents of pending entries; at most max are copied, returns how many. */
uint32_t admission_missing(const struct admission *log, struct ppn_hash *ids, uint32_t max);
