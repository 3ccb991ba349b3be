// SPDX-License-Identifier: ISC
#pragma once

/* One entry of the admission log: its typed form, its canonical bytes and its id. The bytes are
 * written out in docs/PROTOCOL.md. An entry's id is BLAKE2b-256("ppn-log-1" || body); signatures
 * sit outside the id, over "ppn-log-sign-1" || id. A sealed envelope is what travels and is stored:
 * [body, [signature of the author, signature of each cosigner]].
 *
 * Nothing here knows what an entry means; admission/admission.h does. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/crypto.h"
#include "base/error.h"
#include "base/facts.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/name.h"
#include "base/slice.h"
#include "base/time.h"

enum {
    ADMISSION_VERSION = 1,
    ADMISSION_BODY_MAX = 4096,
    ADMISSION_PARENTS_MAX = 16,
    ADMISSION_COSIGNERS_MAX = 7, /* besides the author: a quorum is at most eight keys */
    ADMISSION_ROOTS_MAX = 8,
    ADMISSION_RECOVERY_MAX = 8,
    ADMISSION_CUTS_MAX = 16,
    ADMISSION_REASON_MAX = 160,
    ADMISSION_USES_MAX = 1024,              /* of one invite */
    ADMISSION_BASE_RECORDS_MAX = 69 * 1024, /* what one checkpoint keeps; see kept.h */
    ADMISSION_SIGNATURES_MAX = 1 + ADMISSION_COSIGNERS_MAX,
    ADMISSION_ENVELOPE_MAX =
        ADMISSION_BODY_MAX + 16 + ADMISSION_SIGNATURES_MAX * (ADMISSION_SIGNATURE_SIZE + 2),
    ADMISSION_WG_KEY_SIZE = 32
};

/* The numbers are the bytes on the wire and never change. */
enum admission_kind {
    ADMISSION_GENESIS = 1,      /* root keys, recovery key hashes, first policy */
    ADMISSION_ADMIT = 2,        /* an admin admits a node */
    ADMISSION_DENY = 3,         /* an admin refuses a node; beats a concurrent ADMIT */
    ADMISSION_REVOKE = 4,       /* an admin removes a node for good, or closes an invite */
    ADMISSION_INVITE = 5,       /* an admin allows N admissions by a one-time key */
    ADMISSION_REDEEM = 6,       /* a member admits a node that showed an invite's signature */
    ADMISSION_ADMIN_ADD = 7,    /* admins give a key powers */
    ADMISSION_ADMIN_REMOVE = 8, /* admins remove a key; with a cut, what it did after the cut too */
    ADMISSION_REKEY = 9,        /* a node changes its own WireGuard key */
    ADMISSION_POLICY = 10,      /* root changes quorums or raises the version */
    ADMISSION_SEAL = 11,        /* root or a sealer closes an epoch, renews leases */
    ADMISSION_RECOVER = 12,     /* recovery keys replace the root keys */
    ADMISSION_CHECKPOINT = 13   /* closes what came before; see admission/checkpoint.h */
};

/* Roles of a node: bits of `roles`. */
enum { ADMISSION_ROLE_RELAY = 1u << 0, ADMISSION_ROLES_ALL = ADMISSION_ROLE_RELAY };

/* Powers of an admin key: bits. ROOT implies all others and cannot be removed by admins. */
enum {
    ADMISSION_POWER_ADMIT = 1u << 0,  /* admit, deny, invite */
    ADMISSION_POWER_REVOKE = 1u << 1, /* revoke nodes and invites */
    ADMISSION_POWER_ADMIN = 1u << 2,  /* add and remove admins */
    ADMISSION_POWER_SEAL = 1u << 3,
    ADMISSION_POWER_ROOT = 1u << 4,
    ADMISSION_POWERS_ALL = (1u << 5) - 1,
    /* What `ppn admin add` gives. */
    ADMISSION_POWERS_ADMIN = ADMISSION_POWER_ADMIT | ADMISSION_POWER_REVOKE | ADMISSION_POWER_ADMIN
};

/* How many distinct keys an act of each class needs, each 1 .. ADMISSION_SIGNATURES_MAX. */
struct admission_policy {
    uint32_t version; /* highest entry version that is legal; above ADMISSION_VERSION: frozen */
    uint32_t admit;   /* ADMIT, DENY, INVITE */
    uint32_t revoke;  /* REVOKE */
    uint32_t admin;   /* ADMIN_ADD, ADMIN_REMOVE */
    uint32_t root;    /* POLICY, and ADMIN_ADD of a root key */
    uint32_t grace;   /* seals that an entry of a removed author may miss before it is void */
    uint32_t delay;   /* seals after which another policy rules; 0: at once */
};

struct admission_genesis {
    char network[PPN_NAME_MAX + 1];
    uint8_t nonce[16]; /* two networks of one name and key differ */
    uint32_t root_count;
    struct admission_key roots[ADMISSION_ROOTS_MAX]; /* ascending */
    uint32_t recovery_needed;
    uint32_t recovery_count;
    struct ppn_hash recovery[ADMISSION_RECOVERY_MAX]; /* of admission_recovery_hash, ascending */
    struct admission_policy policy;
};

struct admission_labels {
    uint32_t count;
    struct ppn_label items[PPN_LABELS_MAX]; /* ascending, distinct keys */
};

struct admission_admit {
    struct ppn_node_id node;
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    char name[PPN_NAME_MAX + 1];
    uint32_t roles;
    uint64_t lease_ms; /* 0: for ever */
    struct admission_labels labels;
};

struct admission_deny {
    struct ppn_node_id node;
    char reason[ADMISSION_REASON_MAX + 1];
};

struct admission_revoke {
    struct admission_key subject; /* a node id, or an invite's key */
    char reason[ADMISSION_REASON_MAX + 1];
};

struct admission_invite {
    struct admission_key key; /* public half of the one-time key */
    uint32_t uses;
    int64_t expires_unix_ms; /* 0: never */
    uint32_t roles;
    uint64_t lease_ms;
    struct admission_labels labels;
};

struct admission_redeem {
    struct ppn_hash invite; /* entry id */
    struct ppn_node_id node;
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
    char name[PPN_NAME_MAX + 1];
    struct admission_signature signature; /* by the invite's key; see admission_invite_transcript */
};

struct admission_admin_add {
    struct admission_key key;
    uint32_t powers;
    char name[PPN_NAME_MAX + 1];
};

struct admission_admin_remove {
    struct admission_key key;
    bool has_cut;
    uint64_t cut; /* the last seq of key's chain that is still trusted; 0: none */
    char reason[ADMISSION_REASON_MAX + 1];
};

struct admission_rekey {
    uint8_t wg_key[ADMISSION_WG_KEY_SIZE];
};

struct admission_seal {
    uint64_t number;         /* 1 more than the highest seal before it */
    struct ppn_hash members; /* of those in force among its ancestors; see PROTOCOL */
    int64_t renew_unix_ms;   /* leases of members admitted before it last until then; 0: as is */
};

struct admission_cut {
    struct admission_key key;
    uint64_t cut;
};

struct admission_recover {
    struct ppn_hash base; /* the GENESIS or RECOVER whose roots it replaces */
    uint32_t root_needed;
    uint32_t root_count;
    struct admission_key roots[ADMISSION_ROOTS_MAX]; /* ascending */
    uint32_t recovery_needed;
    uint32_t recovery_count;
    struct ppn_hash recovery[ADMISSION_RECOVERY_MAX]; /* ascending */
    uint32_t cut_count;
    struct admission_cut cuts[ADMISSION_CUTS_MAX]; /* of old root keys, ascending */
};

/* What is kept of the entries before it, and nothing else, is what later rules see of them. */
struct admission_checkpoint {
    uint64_t number;        /* 1 more than the checkpoint among its ancestors */
    struct ppn_hash digest; /* of the records that are kept; see PROTOCOL */
    uint32_t records;       /* how many */
    uint32_t height;        /* its own: the longest way from the genesis, which ends to be seen */
};

struct admission_entry {
    uint32_t version;
    struct ppn_hash network; /* id of the genesis; zero in the genesis itself */
    enum admission_kind kind;
    struct admission_key author;
    uint64_t seq;         /* 1, 2, 3 ... per author, without gaps */
    struct ppn_hash prev; /* author's entry seq - 1; zero when seq is 1 */
    uint32_t parent_count;
    struct ppn_hash parents[ADMISSION_PARENTS_MAX]; /* ascending; none in the genesis alone */
    uint64_t seal;                                  /* highest seal among the ancestors */
    int64_t time_unix_ms; /* the author's wall clock, for people, leases and invites only */
    uint32_t cosigner_count;
    struct admission_key cosigners[ADMISSION_COSIGNERS_MAX]; /* ascending, author not among them */
    union {
        struct admission_genesis genesis;
        struct admission_admit admit;
        struct admission_deny deny;
        struct admission_revoke revoke;
        struct admission_invite invite;
        struct admission_redeem redeem;
        struct admission_admin_add admin_add;
        struct admission_admin_remove admin_remove;
        struct admission_rekey rekey;
        struct admission_policy policy;
        struct admission_seal seal_of;
        struct admission_recover recover;
        struct admission_checkpoint checkpoint;
    } as;
};

/* "admit", "admin-add", ...; "unknown" for a number out of range. */
const char *admission_kind_name(enum admission_kind kind);

/* Writes the canonical body. The entry must be valid by the shapes above (names, order, limits):
 * else PPN_ERROR_INVALID; larger than ADMISSION_BODY_MAX: PPN_ERROR_TOO_BIG. */
enum ppn_error admission_body_encode(const struct admission_entry *entry,
                                     struct ppn_writer *body) PPN_CHECK;

/* The strict walker: every byte must be the canonical one. PPN_ERROR_VERSION for a body of a higher
 * version or an unknown kind, PPN_ERROR_TOO_BIG, PPN_ERROR_INVALID. Never reads outside body. */
enum ppn_error admission_body_decode(struct ppn_slice body,
                                     struct admission_entry *entry) PPN_CHECK;

/* An envelope's parts, borrowed from its bytes. signatures[0] is the author's. */
struct admission_envelope {
    struct ppn_slice body;
    uint32_t signature_count;
    struct admission_signature signatures[ADMISSION_SIGNATURES_MAX];
};

enum ppn_error admission_envelope_encode(const struct admission_envelope *envelope,
                                         struct ppn_writer *bytes) PPN_CHECK;
enum ppn_error admission_envelope_decode(struct ppn_slice bytes,
                                         struct admission_envelope *envelope) PPN_CHECK;

/* The id of a body: over the bytes as received. */
struct ppn_hash admission_body_id(const struct admission_crypto *crypto, struct ppn_slice body);

enum { ADMISSION_SIGN_TRANSCRIPT = 14 + PPN_HASH_SIZE };

/* What the author and every cosigner sign. */
struct ppn_slice admission_sign_transcript(const struct ppn_hash *id,
                                           uint8_t buffer[static ADMISSION_SIGN_TRANSCRIPT]);

/* What a genesis keeps of a recovery key: it is unknown until it is used. */
struct ppn_hash admission_recovery_hash(const struct admission_crypto *crypto,
                                        const struct admission_key *key);
