// SPDX-License-Identifier: ISC
#include <string.h>

#include "fuzz.h"
#include "gossip/gossip.h"
#include "wire/gossip.h"

/* One core among seven members that say whatever the input says, under signatures that all pass (so
 * each rule behind the signature is reached). The core may believe nonsense; it may not break. */

enum { MEMBERS = 8, STEPS_MAX = 64 };

static void fake_sign(void *context, struct ppn_slice transcript, uint8_t *signature)
{
    (void)context;
    (void)transcript;
    memset(signature, 0, GOSSIP_SIGNATURE_SIZE);
}

static bool fake_verify(void *context, const struct ppn_node_id *author,
                        struct ppn_slice transcript, const uint8_t *signature)
{
    (void)context;
    (void)author;
    (void)transcript;
    return signature[GOSSIP_SIGNATURE_SIZE - 1] < 0xf0;
}

/* What the core sends must fit a datagram and come back as it is. */
static void check_update(const struct gossip_update *update)
{
    uint8_t bytes[PPN_DATAGRAM_MAX];
    struct gossip_packet back;
    for (uint32_t i = 0; i < update->count; i++) {
        if (update->actions[i].kind != GOSSIP_DO_SEND)
            continue;
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        PPN_ASSERT(wire_gossip_encode(update->actions[i].packet, &writer) == PPN_OK);
        PPN_ASSERT(writer.size <= gossip_packet_size_max(update->actions[i].packet));
        PPN_ASSERT(wire_gossip_decode(ppn_written(&writer), &back) == PPN_OK);
    }
}

static void event(struct gossip *core, struct ppn_instant now, const struct gossip_event *event)
{
    struct gossip_update update;
    (void)!gossip_step(core, now, event, &update);
    check_update(&update);
}

static struct gossip *start(struct ppn_node_id ids[static MEMBERS], struct ppn_instant now)
{
    for (uint8_t i = 0; i < MEMBERS; i++)
        memset(ids[i].bytes, i + 1, PPN_ID_SIZE);
    struct gossip_config config = {.self = ids[0], .crypto = {NULL, fake_sign, fake_verify}};
    struct gossip *core = gossip_init(&config, now, 1);
    PPN_ASSERT(core);
    event(core, now,
          &(struct gossip_event){
              .kind = GOSSIP_EVENT_MEMBERS, .nodes = ids, .count = MEMBERS, .added = true});
    event(core, now,
          &(struct gossip_event){.kind = GOSSIP_EVENT_SELF_BODY,
                                 .plane = GOSSIP_PLANE_PROFILE,
                                 .bytes = ppn_slice("p", 1)});
    event(core, now,
          &(struct gossip_event){.kind = GOSSIP_EVENT_SELF_BODY,
                                 .plane = GOSSIP_PLANE_LOAD,
                                 .bytes = ppn_slice("l", 1)});
    event(core, now, &(struct gossip_event){.kind = GOSSIP_EVENT_START});
    event(core, now, &(struct gossip_event){.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 1});
    return core;
}

/* [operation, argument, (a datagram of 5 * argument bytes)]... */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gossip_packet packet;
    struct ppn_node_id ids[MEMBERS];
    struct ppn_instant now = {1000000000};
    struct gossip *core = start(ids, now);
    size_t at = 0;
    for (int steps = 0; at + 2 <= size && steps < STEPS_MAX; steps++) {
        uint8_t operation = data[at], argument = data[at + 1];
        at += 2;
        struct gossip_event given = {.kind = GOSSIP_EVENT_TICK, .node = ids[operation % MEMBERS]};
        if (operation < 0x40) {
            now = ppn_after(now, ppn_ms(20 * (int64_t)argument));
        } else if (operation < 0x48) {
            given.kind = GOSSIP_EVENT_REFUSED;
        } else if (operation < 0x4a) {
            given.kind = GOSSIP_EVENT_SUSPENDED;
        } else {
            size_t length = 5 * (size_t)argument;
            length = length < size - at ? length : size - at;
            struct ppn_slice datagram = ppn_slice(data + at, length);
            at += length;
            if (wire_gossip_decode(datagram, &packet) != PPN_OK)
                continue;
            given.kind = GOSSIP_EVENT_PACKET;
            given.packet = &packet;
        }
        event(core, now, &given);
    }
    gossip_free(core);
    return 0;
}
