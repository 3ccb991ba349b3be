// SPDX-License-Identifier: ISC
#include "admission/door.h"

#include <string.h>

#include "base/assert.h"

void door_init(struct door *door, struct ppn_instant now, uint64_t seed)
{
    memset(door, 0, sizeof *door);
    door->key = (struct ppn_hash_key){seed, ~seed};
    door->minute = ppn_after(now, ppn_seconds(60));
}

static struct door_session *find(struct door *door, uint64_t id)
{
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        if (door->sessions[i].state != DOOR_FREE && door->sessions[i].id == id)
            return &door->sessions[i];
    }
    return NULL;
}

enum door_state door_state(const struct door *door, uint64_t id)
{
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        if (door->sessions[i].state != DOOR_FREE && door->sessions[i].id == id)
            return door->sessions[i].state;
    }
    return DOOR_FREE;
}

uint32_t door_count(const struct door *door, enum door_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++)
        count += door->sessions[i].state == state;
    return count;
}

static void say(struct door_update *update, enum door_act act, const struct door_session *session)
{
    PPN_ASSERT(update->act == DOOR_NOTHING);
    update->act = act;
    update->session = session->id;
}

static void end(struct door_session *session, struct door_update *update)
{
    say(update, DOOR_END, session);
    session->state = DOOR_FREE;
}

static void deny(struct door_session *session, enum door_denial why, struct door_update *update)
{
    say(update, DOOR_DENY, session);
    update->denial = why;
    session->state = DOOR_FREE;
}

/* Counters are by the minute, and by a keyed hash: an attacker cannot choose whom it shares with.
 */
static void turn_minute(struct door *door, struct ppn_instant now)
{
    if (!ppn_due(door->minute, now))
        return;
    memset(door->handshakes, 0, sizeof door->handshakes);
    door->news = 0;
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++)
        door->sessions[i].messages = 0;
    door->minute = ppn_after(now, ppn_seconds(60));
}

/* One machine can have every address of an IPv6 /64; IPv4 comes mapped and has no such networks. */
static bool one_network(const uint8_t a[static 16], const uint8_t b[static 16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    return memcmp(a, b, 8) == 0 && memcmp(a, mapped, sizeof mapped) != 0 &&
           memcmp(b, mapped, sizeof mapped) != 0;
}

/* No byte of the connection was read yet. */
static void accept(struct door *door, struct ppn_instant now, const uint8_t source[static 16],
                   struct door_update *update)
{
    struct door_session *free = NULL;
    uint32_t same = 0, network = 0;
    uint16_t *handshakes =
        &door->handshakes[ppn_hash64(door->key, ppn_slice(source, 16)) % DOOR_SOURCES];
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        struct door_session *session = &door->sessions[i];
        if (session->state == DOOR_FREE)
            free = free == NULL ? session : free;
        else
            same += memcmp(session->source, source, sizeof session->source) == 0;
        network += session->state != DOOR_FREE && one_network(session->source, source);
    }
    update->act = DOOR_BUSY;
    if (free == NULL || same >= DOOR_SESSIONS_PER_SOURCE || network >= DOOR_SESSIONS_PER_NETWORK ||
        *handshakes >= DOOR_HANDSHAKES_PER_MIN)
        return;
    (*handshakes)++;
    update->act = DOOR_NOTHING;
    update->cookie = door_count(door, DOOR_HANDSHAKE) >= DOOR_EASY;
    *free = (struct door_session){.state = DOOR_HANDSHAKE,
                                  .id = ++door->last_id,
                                  .deadline = ppn_after(now, ppn_seconds(DOOR_HANDSHAKE_S)),
                                  .silence = PPN_NEVER,
                                  .tell_at = PPN_NEVER,
                                  .until = PPN_NEVER};
    memcpy(free->source, source, sizeof free->source);
    say(update, DOOR_OPEN, free);
}

static void admit(struct door_session *session, struct ppn_instant now, struct door_update *update)
{
    session->state = DOOR_SENDING;
    session->silence = session->tell_at = PPN_NEVER;
    session->deadline = ppn_after(now, ppn_seconds(DOOR_PROGRESS_S));
    session->until = ppn_after(now, ppn_seconds(DOOR_SENDING_S));
    say(update, DOOR_ADMIT, session);
}

static void wait(struct door *door, struct door_session *session, struct ppn_instant now,
                 struct door_update *update)
{
    if (session->state == DOOR_PENDING)
        return;
    if (door_count(door, DOOR_PENDING) >= DOOR_PENDING_MAX) {
        deny(session, DOOR_DENIED_CROWD, update);
        return;
    }
    session->state = DOOR_PENDING;
    session->deadline = PPN_NEVER;
    session->silence = ppn_after(now, ppn_seconds(DOOR_SILENCE_S));
    session->tell_at = ppn_after(now, ppn_seconds(DOOR_REPEAT_S));
    say(update, DOOR_WAIT, session);
    update->tell = door->news < DOOR_NEWS_PER_MIN;
    door->news += update->tell;
}

/* What the log says of this machine now. */
static void decide(struct door *door, struct door_session *session, struct ppn_instant now,
                   enum admission_standing standing, struct door_update *update)
{
    switch (standing) {
    case ADMISSION_MEMBER:
        admit(session, now, update);
        return;
    case ADMISSION_REVOKED:
        deny(session, DOOR_DENIED_REVOKED, update);
        return;
    case ADMISSION_DENIED:
        deny(session, DOOR_DENIED_BY_ADMIN, update);
        return;
    case ADMISSION_VOID:
    case ADMISSION_STRANGER:
    case ADMISSION_EXPIRED:
        break;
    }
    if (session->state == DOOR_REDEEMING) {
        deny(session, DOOR_DENIED_INVITE, update);
    } else if (session->invited) {
        PPN_ASSERT(session->state == DOOR_REQUEST);
        session->state = DOOR_REDEEMING;
        session->deadline = PPN_NEVER;
        session->silence = ppn_after(now, ppn_seconds(DOOR_SILENCE_S));
        say(update, DOOR_REDEEM, session);
    } else {
        wait(door, session, now, update);
    }
}

static void take_request(struct door *door, struct door_session *session, struct ppn_instant now,
                         const struct door_event *event, struct door_update *update)
{
    if (session->state != DOOR_REQUEST) {
        end(session, update);
        return;
    }
    session->invited = event->has_invite;
    decide(door, session, now, event->standing, update);
}

static void take_redeemed(struct door *door, struct door_session *session, struct ppn_instant now,
                          const struct door_event *event, struct door_update *update)
{
    if (session->state != DOOR_REDEEMING)
        return;
    if (event->written)
        decide(door, session, now, event->standing, update);
    else
        deny(session, DOOR_DENIED_INVITE, update);
}

static void take_admin(struct door *door, struct door_session *session, struct ppn_instant now,
                       bool admin, struct door_update *update)
{
    if (session->state != DOOR_REQUEST) {
        end(session, update);
    } else if (!admin) {
        deny(session, DOOR_DENIED_NO_ADMIN, update);
    } else if (door_count(door, DOOR_ADMIN) >= DOOR_ADMINS_MAX) {
        deny(session, DOOR_DENIED_ADMINS, update);
    } else {
        session->state = DOOR_ADMIN;
        session->deadline = PPN_NEVER;
        session->silence = ppn_after(now, ppn_seconds(DOOR_ADMIN_SILENCE_S));
        session->until = ppn_after(now, ppn_seconds(DOOR_ADMIN_S));
        say(update, DOOR_SERVE, session);
    }
}

/* Before the handshake is over no message can come; who talks too much is no joiner. An admin that
 * was removed a moment ago is heard no more. */
static void take_message(struct door_session *session, struct ppn_instant now, bool admin,
                         struct door_update *update)
{
    bool serving = session->state == DOOR_ADMIN;
    uint32_t most = serving ? DOOR_ADMIN_MESSAGES_PER_MIN : DOOR_MESSAGES_PER_MIN;
    PPN_ASSERT(session->state != DOOR_HANDSHAKE);
    if (++session->messages > most || (serving && !admin))
        end(session, update);
    else if (session->silence.ns != PPN_NEVER.ns)
        session->silence =
            ppn_after(now, ppn_seconds(serving ? DOOR_ADMIN_SILENCE_S : DOOR_SILENCE_S));
}

static void tick(struct door *door, struct ppn_instant now, struct door_update *update)
{
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        struct door_session *session = &door->sessions[i];
        if (session->state == DOOR_FREE)
            continue;
        if (ppn_due(session->deadline, now) || ppn_due(session->silence, now) ||
            ppn_due(session->until, now)) {
            end(session, update);
            return;
        }
        if (ppn_due(session->tell_at, now)) {
            session->tell_at = ppn_after(now, ppn_seconds(DOOR_REPEAT_S));
            say(update, DOOR_TELL, session);
            return;
        }
    }
}

void door_step(struct door *door, struct ppn_instant now, const struct door_event *event,
               struct door_update *update)
{
    *update = (struct door_update){.act = DOOR_NOTHING};
    turn_minute(door, now);
    if (event->kind == DOOR_EVENT_ACCEPT) {
        accept(door, now, event->source, update);
        return;
    }
    if (event->kind == DOOR_EVENT_TICK) {
        tick(door, now, update);
        return;
    }
    struct door_session *session = find(door, event->session);
    if (session == NULL)
        return;
    switch (event->kind) {
    case DOOR_EVENT_PROVEN:
        PPN_ASSERT(session->state == DOOR_HANDSHAKE);
        session->state = DOOR_REQUEST;
        return;
    case DOOR_EVENT_MESSAGE:
        take_message(session, now, event->admin, update);
        return;
    case DOOR_EVENT_REQUEST:
        take_request(door, session, now, event, update);
        return;
    case DOOR_EVENT_ADMIN:
        take_admin(door, session, now, event->admin, update);
        return;
    case DOOR_EVENT_REDEEMED:
        take_redeemed(door, session, now, event, update);
        return;
    case DOOR_EVENT_STANDING:
        if (session->state == DOOR_PENDING)
            decide(door, session, now, event->standing, update);
        else if (session->state == DOOR_ADMIN && !event->admin)
            end(session, update);
        return;
    case DOOR_EVENT_DRAINED:
        if (session->state == DOOR_SENDING)
            session->deadline = ppn_after(now, ppn_seconds(DOOR_PROGRESS_S));
        else if (session->state == DOOR_ADMIN)
            session->silence = ppn_after(now, ppn_seconds(DOOR_ADMIN_SILENCE_S));
        return;
    case DOOR_EVENT_CLOSED:
        session->state = DOOR_FREE;
        return;
    case DOOR_EVENT_ACCEPT:
    case DOOR_EVENT_TICK:
        break;
    }
    PPN_UNREACHABLE();
}

struct ppn_instant door_deadline(const struct door *door)
{
    struct ppn_instant at = PPN_NEVER;
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        const struct door_session *session = &door->sessions[i];
        if (session->state == DOOR_FREE)
            continue;
        at = ppn_earlier(at, ppn_earlier(session->deadline, session->silence));
        at = ppn_earlier(at, ppn_earlier(session->tell_at, session->until));
    }
    return at;
}
