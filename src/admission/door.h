// SPDX-License-Identifier: ISC
#pragma once

/* Who may stand at the join port, for how long, and what is done with them: a pure core. The port
 * is open to anybody, so cheap checks come before expensive ones, every table is fixed and every
 * state has an end. It reads no packet and holds no key; node/join_server.c carries out what it
 * says.
 *
 *     accept --> HANDSHAKE --proven--> REQUEST --request--> SENDING (a member)
 *       |                                 |---------------> REDEEMING --> SENDING or denied
 *     busy                                |---------------> PENDING  --> SENDING or denied
 *                                         '---------------> denied
 *
 * Invariants: at most DOOR_SESSIONS_MAX sessions, DOOR_SESSIONS_PER_SOURCE of one address,
 * DOOR_SESSIONS_PER_NETWORK of one IPv6 /64, and DOOR_PENDING_MAX that wait for a person, so that
 * the rest of the places turns over. Nobody holds a place for more than DOOR_HANDSHAKE_S without
 * having proven a key and asked. A session is asked to redeem once at most. */

#include <stdbool.h>
#include <stdint.h>

#include "admission/admission.h"
#include "base/hash.h"
#include "base/time.h"

enum {
    DOOR_SESSIONS_MAX = 64,
    DOOR_SESSIONS_PER_SOURCE = 8,
    DOOR_SESSIONS_PER_NETWORK = 32,    /* of one IPv6 /64 */
    DOOR_EASY = 16,                    /* more than these unproven: cookies first */
    DOOR_PENDING_MAX = 40,             /* wait for a person */
    DOOR_HANDSHAKE_S = 10,             /* to prove a key and to send the request */
    DOOR_HANDSHAKES_PER_MIN = 30,      /* of one source */
    DOOR_NEWS_PER_MIN = 60,            /* requests that members are told of, all sources together */
    DOOR_MESSAGES_PER_MIN = 30,        /* of one session; honest ones say four */
    DOOR_SILENCE_S = 45,               /* without a message */
    DOOR_REPEAT_S = 15,                /* members are told again of who still waits */
    DOOR_PROGRESS_S = 60,              /* the log is being sent, and something was taken */
    DOOR_SENDING_S = 900,              /* the whole log */
    DOOR_SOURCES = 256,                /* counters of handshakes; sources that share one share it */
    DOOR_ADMINS_MAX = 4,               /* sessions of admins at once */
    DOOR_ADMIN_MESSAGES_PER_MIN = 600, /* of one of them: a command says about ten */
    DOOR_ADMIN_SILENCE_S = 120,        /* a person reads and answers */
    DOOR_ADMIN_S = 900                 /* in all */
};

_Static_assert(DOOR_PENDING_MAX + DOOR_ADMINS_MAX + DOOR_EASY <= DOOR_SESSIONS_MAX,
               "newcomers find a place");

enum door_state {
    DOOR_FREE,
    DOOR_HANDSHAKE,
    DOOR_REQUEST,
    DOOR_REDEEMING,
    DOOR_PENDING,
    DOOR_SENDING,
    DOOR_ADMIN
};

enum door_event_kind {
    DOOR_EVENT_ACCEPT,   /* source */
    DOOR_EVENT_PROVEN,   /* the key of its node */
    DOOR_EVENT_MESSAGE,  /* a whole one, before it is looked into */
    DOOR_EVENT_REQUEST,  /* well-formed, signed, for this network */
    DOOR_EVENT_ADMIN,    /* it asks to speak as an admin */
    DOOR_EVENT_REDEEMED, /* the invite's admission was written, or not */
    DOOR_EVENT_STANDING, /* what the log says may have changed */
    DOOR_EVENT_DRAINED,  /* of SENDING: the other side took something */
    DOOR_EVENT_CLOSED,   /* the shell closed it, or the other side did */
    DOOR_EVENT_TICK      /* again until nothing is to be done */
};

struct door_event {
    enum door_event_kind kind;
    uint64_t session;   /* of all but ACCEPT and TICK; one that is over does nothing */
    uint8_t source[16]; /* ACCEPT */
    enum admission_standing standing; /* REQUEST, REDEEMED, STANDING */
    bool has_invite;                  /* REQUEST */
    bool written;                     /* REDEEMED */
    bool admin;                       /* ADMIN, MESSAGE, STANDING: its key is an admin's now */
};

enum door_act {
    DOOR_NOTHING,
    DOOR_BUSY,   /* say so if the socket takes it at once, and forget it */
    DOOR_OPEN,   /* a new session; with cookies first where `cookie` says so */
    DOOR_END,    /* close it without a word; it is over */
    DOOR_ADMIT,  /* say so and send the log */
    DOOR_REDEEM, /* write the admission that its invite allows; then REDEEMED */
    DOOR_DENY,   /* say `denial` and close; it is over */
    DOOR_WAIT,   /* say that it waits; tell the members where `tell` says so */
    DOOR_TELL,   /* tell the members again that it waits */
    DOOR_SERVE   /* carry what this admin asks to the part of the API that is for admins */
};

enum door_denial {
    DOOR_DENIED_REVOKED,
    DOOR_DENIED_BY_ADMIN,
    DOOR_DENIED_INVITE, /* used up or closed elsewhere, or the shell knows better why */
    DOOR_DENIED_CROWD,  /* too many wait already */
    DOOR_DENIED_NO_ADMIN,
    DOOR_DENIED_ADMINS /* too many admins at once */
};

struct door_update {
    enum door_act act;
    uint64_t session;
    bool cookie, tell;
    enum door_denial denial;
};

struct door_session {
    enum door_state state;
    uint64_t id;
    uint8_t source[16];
    bool invited;
    uint32_t messages;
    struct ppn_instant deadline, silence, tell_at, until;
};

/* Fields belong to the core. */
struct door {
    struct ppn_hash_key key;
    uint64_t last_id;
    struct ppn_instant minute;
    uint32_t news;
    uint16_t handshakes[DOOR_SOURCES];
    struct door_session sessions[DOOR_SESSIONS_MAX];
};

/* seed: unpredictable in the product, so that nobody can aim at another's counter. */
void door_init(struct door *door, struct ppn_instant now, uint64_t seed);

/* Never fails: what does not fit its state ends the session. */
void door_step(struct door *door, struct ppn_instant now, const struct door_event *event,
               struct door_update *update);

/* When a TICK is due. */
struct ppn_instant door_deadline(const struct door *door);

/* FREE for a session that is over. */
enum door_state door_state(const struct door *door, uint64_t session);
uint32_t door_count(const struct door *door, enum door_state state);
