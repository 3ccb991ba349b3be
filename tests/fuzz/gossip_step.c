// SPDX-License-Identifier: ISC
#include <string.h>

#include "fuzz.h"
#include "gossip/gossip.h"
#include "gossip/item.h"

/* Plays any bytes as the life of one core: time, members coming and going, packets with any fields,
 * items signed by anybody. A signature is good when its first byte is even, so that the fuzzer can
 * make either. The core must never break an assertion, and what it sends must fit a datagram. */

enum { MEMBERS = 40, ROW_CAPACITY = 1024 };

struct input {
    const uint8_t *data;
    size_t size;
};

struct play {
    struct gossip *core;
    struct ppn_instant now;
    struct ppn_node_id ids[MEMBERS];
    uint32_t epoch;
    struct input in;
};

static uint8_t byte(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static uint32_t small(struct input *in)
{
    uint8_t b = byte(in);
    return b < 250 ? b % 8 : b < 253 ? UINT32_MAX : (uint32_t)b << 20;
}

static void stub_sign(void *context, struct ppn_slice transcript, uint8_t *signature)
{
    (void)context;
    (void)transcript;
    memset(signature, 0, GOSSIP_SIGNATURE_SIZE);
}

static bool stub_verify(void *context, const struct ppn_node_id *author,
                        struct ppn_slice transcript, const uint8_t *signature)
{
    (void)context;
    (void)author;
    (void)transcript;
    return signature[0] % 2 == 0;
}

static void carry_out(struct play *play, const struct gossip_update *update)
{
    for (uint32_t i = 0; i < update->count; i++) {
        const struct gossip_action *action = &update->actions[i];
        if (action->kind == GOSSIP_DO_SEND)
            PPN_ASSERT(gossip_packet_size_max(action->packet) <= PPN_DATAGRAM_MAX);
        if (action->kind == GOSSIP_DO_PERSIST_EPOCH)
            play->epoch = action->epoch;
    }
}

static void step(struct play *play, const struct gossip_event *event)
{
    struct gossip_update update;
    if (gossip_step(play->core, play->now, event, &update) == PPN_OK)
        carry_out(play, &update);
}

/* An item laid out as it should be with fields from the input, or any bytes at all. */
static struct ppn_slice item(struct play *play, uint8_t *memory)
{
    struct input *in = &play->in;
    uint8_t kind = byte(in);
    if (kind >= 200) {
        size_t size = in->size < 120 ? in->size : 120;
        memcpy(memory, in->data, size);
        in->data += size;
        in->size -= size;
        return ppn_slice(memory, size);
    }
    uint32_t epoch = small(in), sequence = small(in);
    struct gossip_item fields = {
        .kind = (enum gossip_item_kind)(kind % 4 + 1),
        .author = gossip_tag_of(&play->ids[byte(in) % MEMBERS]),
        .epoch = epoch == 0 ? 1 : epoch,
        .sequence = sequence == 0 ? 1 : sequence,
        .standing = byte(in) % 8 == 0 ? GOSSIP_STANDING_LEFT : GOSSIP_STANDING_ALIVE,
        .body = ppn_slice(play->in.data, play->in.size < 8 ? play->in.size : 8),
        .subject = gossip_tag_of(&play->ids[byte(in) % MEMBERS]),
        .subject_epoch = small(in),
        .subject_incarnation = small(in),
        .opinion = (enum gossip_opinion)(byte(in) % 4 + 1),
        .health = (uint8_t)(byte(in) % 9)};
    struct ppn_writer writer = ppn_writer(memory, GOSSIP_ITEM_SIZE_MAX);
    gossip_item_write(&writer, &fields);
    uint8_t signature[GOSSIP_SIGNATURE_SIZE] = {byte(in)};
    ppn_write(&writer, ppn_slice(signature, sizeof(signature)));
    return ppn_written(&writer);
}

static void fill_range(struct play *play, struct gossip_packet *packet)
{
    struct input *in = &play->in;
    packet->of.range.first = byte(in) < 128 ? 0 : (uint64_t)byte(in) << 56;
    packet->of.range.last = byte(in) < 128 ? UINT64_MAX : (uint64_t)byte(in) << 56;
    packet->of.range.count = byte(in) % (GOSSIP_ROWS_MAX + 2u);
    for (uint32_t i = 0; i < packet->of.range.count && i < GOSSIP_ROWS_MAX; i++)
        packet->of.range.rows[i] =
            (struct gossip_row){.tag = gossip_tag_of(&play->ids[i % MEMBERS]),
                                .epoch = small(in),
                                .incarnation = small(in),
                                .profile_sequence = small(in),
                                .load_sequence = small(in),
                                .standing = (uint8_t)(byte(in) % 9)};
}

static void packet_step(struct play *play)
{
    static struct gossip_packet packet;
    static uint8_t memory[GOSSIP_ITEMS_MAX][GOSSIP_ITEM_SIZE_MAX];
    struct input *in = &play->in;
    memset(&packet, 0, sizeof(packet));
    uint8_t from = byte(in) % MEMBERS;
    packet.kind = (enum gossip_packet_kind)(byte(in) % (GOSSIP_PACKET_KIND_END + 1));
    packet.probe = small(in);
    packet.view_digest = byte(in) % 2 == 0 ? gossip_view_digest(play->core) : byte(in);
    packet.health = (uint8_t)(byte(in) % 10);
    packet.item_count = byte(in) % 4;
    for (uint32_t i = 0; i < packet.item_count; i++)
        packet.items[i] = item(play, memory[i]);
    if (packet.kind == GOSSIP_CHECK || packet.kind == GOSSIP_CHECKED) {
        packet.of.check.subject = gossip_tag_of(&play->ids[byte(in) % MEMBERS]);
        packet.of.check.outcome = (enum gossip_outcome)(byte(in) % GOSSIP_OUTCOME_END);
    } else if (packet.kind == GOSSIP_RANGE) {
        fill_range(play, &packet);
    } else if (packet.kind == GOSSIP_WANT) {
        packet.of.want.count = byte(in) % (GOSSIP_WANTS_MAX + 2u);
        for (uint32_t i = 0; i < packet.of.want.count && i < GOSSIP_WANTS_MAX; i++)
            packet.of.want.wants[i] =
                (struct gossip_want){gossip_tag_of(&play->ids[byte(in) % MEMBERS]), byte(in)};
    }
    step(play, &(struct gossip_event){
                   .kind = GOSSIP_EVENT_PACKET, .node = play->ids[from], .packet = &packet});
}

static void tick_step(struct play *play)
{
    uint8_t how = byte(&play->in);
    if (how < 128 && gossip_deadline(play->core).ns != PPN_NEVER.ns &&
        ppn_before(play->now, gossip_deadline(play->core)))
        play->now = gossip_deadline(play->core);
    else
        play->now = ppn_after(play->now, ppn_ms((int64_t)how * how));
    step(play, &(struct gossip_event){.kind = GOSSIP_EVENT_TICK});
}

static void other_step(struct play *play, uint8_t op)
{
    struct input *in = &play->in;
    uint8_t which = byte(in) % MEMBERS;
    uint8_t memory[GOSSIP_ITEM_SIZE_MAX];
    struct gossip_event event = {.node = play->ids[which], .epoch = play->epoch};
    switch (op % 8) {
    case 0:
    case 1:
        event.kind = GOSSIP_EVENT_MEMBERS;
        event.nodes = &play->ids[which];
        event.count = 1;
        event.added = op % 8 == 0;
        break;
    case 2:
        event.kind = GOSSIP_EVENT_REFUSED;
        break;
    case 3:
        event.kind = GOSSIP_EVENT_SUSPENDED;
        break;
    case 4:
        event.kind = GOSSIP_EVENT_SELF_BODY;
        event.plane = which % 2 == 0 ? GOSSIP_PLANE_PROFILE : GOSSIP_PLANE_LOAD;
        event.bytes = ppn_slice(in->data, in->size < 100 ? in->size : 100);
        break;
    case 5:
        event.kind = GOSSIP_EVENT_EPOCH_PERSISTED;
        break;
    case 6:
        event.kind = GOSSIP_EVENT_RESTORE;
        event.bytes = item(play, memory);
        break;
    default:
        if (byte(in) == 77)
            event.kind = GOSSIP_EVENT_LEAVE;
        break;
    }
    step(play, &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play play = {.now = {1000000000}, .in = {data, size}};
    for (uint32_t i = 0; i < MEMBERS; i++)
        for (uint32_t j = 0; j < PPN_ID_SIZE; j++)
            play.ids[i].bytes[j] = (uint8_t)(i * 21 + j);
    uint32_t members = byte(&play.in) % (MEMBERS + 1u);
    uint8_t shape = byte(&play.in);
    bool restore_first = shape % 4 == 0;
    /* With three rings a dozen members are enough for each rule of who observes whom. */
    struct gossip_config config = {.self = play.ids[0],
                                   .observers = shape % 8 < 4 ? 3 : 0,
                                   .crypto = {NULL, stub_sign, stub_verify}};
    play.core = gossip_init(&config, play.now, 1);
    if (play.core == NULL)
        return 0;
    step(&play,
         &(struct gossip_event){
             .kind = GOSSIP_EVENT_MEMBERS, .nodes = play.ids, .count = members, .added = true});
    if (restore_first)
        other_step(&play, 6);
    step(&play, &(struct gossip_event){.kind = GOSSIP_EVENT_START, .epoch = small(&play.in)});
    step(&play, &(struct gossip_event){.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = play.epoch});
    while (play.in.size > 0) {
        uint8_t op = byte(&play.in);
        if (op < 100)
            tick_step(&play);
        else if (op < 200)
            packet_step(&play);
        else
            other_step(&play, op);
    }
    gossip_free(play.core);
    return 0;
}
