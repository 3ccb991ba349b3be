// SPDX-License-Identifier: ISC
#include <string.h>

#include "admission/door.h"
#include "fuzz.h"

/* Whatever comes to a join port in whatever order: shares and deadlines hold, and it empties. */

enum { KNOWN = 64 };

static void check(const struct door *door, struct ppn_instant now)
{
    PPN_ASSERT(door_count(door, DOOR_PENDING) <= DOOR_PENDING_MAX);
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        const struct door_session *session = &door->sessions[i];
        uint32_t same = 0;
        if (session->state == DOOR_FREE)
            continue;
        for (uint32_t k = 0; k < DOOR_SESSIONS_MAX; k++)
            same += door->sessions[k].state != DOOR_FREE &&
                    memcmp(door->sessions[k].source, session->source, 16) == 0;
        PPN_ASSERT(same <= DOOR_SESSIONS_PER_SOURCE);
        bool young = session->state == DOOR_HANDSHAKE || session->state == DOOR_REQUEST;
        PPN_ASSERT(!young || session->deadline.ns - now.ns <= ppn_seconds(DOOR_HANDSHAKE_S).ns);
        PPN_ASSERT(door_deadline(door).ns != PPN_NEVER.ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct door door;
    struct door_update update;
    struct ppn_instant now = {0};
    uint64_t known[KNOWN] = {0};
    door_init(&door, now, size);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        struct door_event event = {
            .kind = (enum door_event_kind)(data[i] % (DOOR_EVENT_TICK + 1)),
            .session = known[data[i + 1] % KNOWN],
            .standing = (enum admission_standing)(data[i + 2] % (ADMISSION_VOID + 1)),
            .has_invite = (data[i + 2] & 64) != 0,
            .written = (data[i + 2] & 128) != 0,
            .admin = (data[i + 2] & 32) != 0};
        enum door_state state = door_state(&door, event.session);
        event.source[15] = data[i + 2];
        now = ppn_after(now, ppn_ms((int64_t)data[i + 3] * data[i + 3]));
        /* The channel says these in order. */
        if ((event.kind == DOOR_EVENT_PROVEN && state != DOOR_HANDSHAKE) ||
            (event.kind == DOOR_EVENT_MESSAGE && state == DOOR_HANDSHAKE))
            continue;
        door_step(&door, now, &event, &update);
        if (update.act == DOOR_OPEN)
            known[data[i + 1] % KNOWN] = update.session;
        if (update.act == DOOR_END || update.act == DOOR_DENY)
            PPN_ASSERT(door_state(&door, update.session) == DOOR_FREE);
        check(&door, now);
    }
    for (int round = 0; round < 4; round++) {
        struct door_event tick = {.kind = DOOR_EVENT_TICK};
        now = ppn_after(now, ppn_seconds(DOOR_SENDING_S));
        do
            door_step(&door, now, &tick, &update);
        while (update.act != DOOR_NOTHING);
    }
    PPN_ASSERT(door_count(&door, DOOR_FREE) == DOOR_SESSIONS_MAX);
    return 0;
}
