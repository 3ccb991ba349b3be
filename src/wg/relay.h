// SPDX-License-Identifier: ISC
#pragma once

/* What a blind relay knows and decides: a pure core. It forwards WireGuard's packets between
 * members without a key to them and without looking into them. src/relay is its shell.
 *
 * A member Y has a mailbox: a UDP port P_Y of the relay. Who wants to reach Y sends to P_Y. Before
 * that it binds there: an authenticated packet says from which address X sends to Y, "(X, Y) is at
 * S". What arrives at P_Y from S leaves from P_X towards the address bound as (Y, X): so Y sees X
 * at the very endpoint that its own WireGuard has for X. Everything else is dropped and counted.
 * One packet in, at most one packet of the same size out.
 *
 * A relay may have several addresses. A router lets in only what comes from where its machine sent
 * to, so each bind remembers at which address of the relay it was made, and packets leave from it.
 *
 * The tables are made once and have fixed sizes. A mailbox whose owner is bound nowhere gives way
 * when another is needed; a member has a fixed share of the binds. So no member can take the relay
 * from the others by asking for much, and nobody else gets anything at all. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/limits.h"
#include "base/time.h"

enum {
    RELAY_MAILBOXES_MAX = 1024,
    RELAY_MAILBOXES_DEFAULT = 256, /* UDP ports to open in a firewall */
    RELAY_BINDS_MAX = 65536,       /* all pairs of the default's members */
    RELAY_LIFETIME_S = 45,         /* of a bind: three refreshes of a spare path */
    RELAY_KEY_SIZE = 32,
    RELAY_BURST_MIN = 256 * 1024 /* a whole batch of the kernel's passes a full bucket */
};

#define RELAY_NONE UINT32_MAX

_Static_assert(RELAY_BINDS_MAX / RELAY_MAILBOXES_MAX >= 64, "a member's share is worth having");
_Static_assert(RELAY_MAILBOXES_DEFAULT *RELAY_MAILBOXES_DEFAULT <= RELAY_BINDS_MAX,
               "with the default, every member can be bound to every other");

/* A member that may use the relay: its tag (wire/path.h) and the key that its packets to the relay
 * are authenticated with. The core keeps the key for its shell and computes nothing with it. */
struct relay_member {
    uint64_t tag;
    uint8_t key[RELAY_KEY_SIZE];
};

struct relay_config {
    uint32_t mailbox_count; /* 1..RELAY_MAILBOXES_MAX */
    uint64_t rate_bytes_s;  /* of what one member sends; 0: no limit */
    uint64_t first_counter; /* wire_path_counter at the start: what was recorded before is stale */
};

enum relay_question_kind { RELAY_PING, RELAY_BIND, RELAY_MAILBOX };

/* A path packet whose MAC fitted the member's key. */
struct relay_question {
    enum relay_question_kind kind;
    uint32_t member;  /* index: relay_find */
    uint32_t mailbox; /* at whose port it came; RELAY_NONE: the relay's own port */
    uint64_t counter;
    uint64_t node;              /* BIND, MAILBOX: tag */
    struct ppn_endpoint source; /* where it came from */
    uint8_t own[16];            /* which of the relay's addresses it was sent to; zeros: unknown */
};

enum relay_answer_kind {
    RELAY_SILENT, /* nothing to say: the question was wrong */
    RELAY_PONG,
    RELAY_BOUND,
    RELAY_MAILBOX_IS, /* mailbox RELAY_NONE: none to give */
    RELAY_STALE
};

struct relay_answer {
    enum relay_answer_kind kind;
    uint32_t mailbox; /* BOUND, MAILBOX_IS */
    uint64_t counter; /* STALE: the highest seen */
};

enum relay_event_kind {
    RELAY_EVENT_MEMBERS,  /* the complete list; who is not on it is gone with all that it bound */
    RELAY_EVENT_QUESTION, /* answered by the update */
    RELAY_EVENT_TICK
};

/* Arrays are borrowed for the call. */
struct relay_event {
    enum relay_event_kind kind;
    union {
        struct {
            uint32_t count;                  /* more than PPN_MEMBERS_MAX: TOO_BIG */
            const struct relay_member *list; /* in ascending order of tag */
        } members;
        struct relay_question question;
    };
};

/* Why a packet was forwarded or not. */
enum relay_verdict {
    RELAY_FORWARD,
    RELAY_DROP_SHAPE,   /* no WireGuard message; counted by relay_drop */
    RELAY_DROP_UNBOUND, /* nobody is bound at this mailbox from there */
    RELAY_DROP_PEER,    /* the other side is not bound */
    RELAY_DROP_RATE,    /* above the member's rate */
    RELAY_DROP_SEND,    /* the system did not take it; counted by relay_drop */
    RELAY_DROP_FORGED,  /* a path packet of no member, or not made with its key; by relay_drop */
    RELAY_DROP_STALE,   /* a question with an old counter */
    RELAY_VERDICTS
};

struct relay_route {
    uint32_t mailbox;       /* leave from its port */
    struct ppn_endpoint to; /* towards this address */
    uint8_t own[16];        /* from that one of the relay's, at which it was bound */
    uint32_t member;        /* who sent it */
};

struct relay_count {
    uint64_t packets, bytes;
};

struct relay_stats {
    struct relay_count count[RELAY_VERDICTS]; /* bytes are those of UDP payloads */
    uint32_t members, mailboxes, binds;       /* now */
};

struct relay;

/* NULL: out of memory. All that it will ever hold is reserved here (touched as it is used). `seed`
 * orders the tables; unpredictable in the product. */
struct relay *relay_new(const struct relay_config *config, struct ppn_instant now, uint64_t seed);
void relay_free(struct relay *relay);

/* *answer is written whole; SILENT for other events than QUESTION. TOO_BIG; INVALID (tags not
 * ascending, so perhaps two members with one tag): nothing changed. */
enum ppn_error relay_step(struct relay *relay, struct ppn_instant now,
                          const struct relay_event *event, struct relay_answer *answer) PPN_CHECK;

/* When a TICK is due: the end of the oldest bind. */
struct ppn_instant relay_deadline(const struct relay *relay);

/* `packets` packets of `bytes` bytes together that came from `source` at a mailbox's port. *route
 * is set when the verdict is FORWARD. */
enum relay_verdict relay_forward(struct relay *relay, struct ppn_instant now, uint32_t mailbox,
                                 const struct ppn_endpoint *source, uint32_t packets,
                                 uint64_t bytes, struct relay_route *route);

/* Counts what the shell dropped by itself. */
void relay_drop(struct relay *relay, enum relay_verdict why, uint32_t packets, uint64_t bytes);

/* The index of a member, RELAY_NONE for a tag that is none. Valid until the next MEMBERS. */
uint32_t relay_find(const struct relay *relay, uint64_t tag);
const uint8_t *relay_member_key(const struct relay *relay, uint32_t member);
uint64_t relay_member_tag(const struct relay *relay, uint32_t member);

/* What a member sent through, and what of it was too much. */
void relay_member_counts(const struct relay *relay, uint32_t member, struct relay_count *forwarded,
                         struct relay_count *over_rate);
/* Indices of members are below this; not every one below it is a member (tag 0 by _tag). */
uint32_t relay_member_limit(const struct relay *relay);

void relay_stats(const struct relay *relay, struct relay_stats *stats);
