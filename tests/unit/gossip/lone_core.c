// SPDX-License-Identifier: ISC
#include "lone_core.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/hash.h"

static void stub_signature(const struct ppn_node_id *author, struct ppn_slice transcript,
                           uint8_t *signature)
{
    struct ppn_hash_key key = {ppn_read_u64(author->bytes), 1};
    uint64_t hash = ppn_hash64(key, transcript);
    for (uint32_t i = 0; i < GOSSIP_SIGNATURE_SIZE; i++)
        signature[i] = (uint8_t)(hash >> 8 * (i % 8));
}

static void stub_sign(void *context, struct ppn_slice transcript, uint8_t *signature)
{
    stub_signature(context, transcript, signature);
}

static bool stub_verify(void *context, const struct ppn_node_id *author,
                        struct ppn_slice transcript, const uint8_t *signature)
{
    uint8_t wanted[GOSSIP_SIGNATURE_SIZE];
    (void)context;
    stub_signature(author, transcript, wanted);
    return memcmp(wanted, signature, sizeof(wanted)) == 0;
}

static void open_capped(struct lone_core *lone, uint32_t members, uint32_t rate_bytes_s)
{
    *lone =
        (struct lone_core){.members = members, .now = {5000000000}, .rate_bytes_s = rate_bytes_s};
    cr_assert(members <= LONE_MEMBERS_MAX);
    struct ppn_random random;
    ppn_random_init(&random, 99);
    for (uint32_t i = 0; i < members; i++)
        for (uint32_t j = 0; j < PPN_ID_SIZE; j++)
            lone->ids[i].bytes[j] = (uint8_t)ppn_random_u64(&random);
    struct gossip_config config = {.self = lone->ids[0],
                                   .crypto = {&lone->ids[0], stub_sign, stub_verify},
                                   .bandwidth_bytes_s = rate_bytes_s};
    lone->core = gossip_init(&config, lone->now, 42);
    cr_assert(lone->core != NULL);
    struct gossip_event event = {
        .kind = GOSSIP_EVENT_MEMBERS, .nodes = lone->ids, .count = members, .added = true};
    cr_assert(lone_step(lone, &event) == PPN_OK);
}

void lone_open(struct lone_core *lone, uint32_t members)
{
    open_capped(lone, members, 0);
}

void lone_start(struct lone_core *lone, uint32_t members)
{
    lone_start_capped(lone, members, 0);
}

void lone_start_capped(struct lone_core *lone, uint32_t members, uint32_t rate_bytes_s)
{
    open_capped(lone, members, rate_bytes_s);
    cr_assert(lone_step(lone, &(struct gossip_event){.kind = GOSSIP_EVENT_START}) == PPN_OK);
    struct gossip_event done = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = 1};
    cr_assert(lone_step(lone, &done) == PPN_OK);
}

void lone_meet(struct lone_core *lone, uint32_t members)
{
    lone_start(lone, members);
    for (uint32_t i = 1; i < members; i++)
        lone_item(lone, i, lone_life(lone, i, 1, 1, GOSSIP_STANDING_ALIVE));
    lone_clear(lone);
}

void lone_close(struct lone_core *lone)
{
    gossip_free(lone->core);
}

void lone_clear(struct lone_core *lone)
{
    lone->seen_count = 0;
}

static void account(struct lone_core *lone, const struct gossip_packet *packet)
{
    double leaked = (double)ppn_between(lone->sent_at, lone->now).ns / 1e9 * lone->rate_bytes_s;
    lone->sent_level = lone->sent_level > leaked ? lone->sent_level - leaked : 0;
    lone->sent_level += gossip_packet_size_max(packet);
    lone->sent_at = lone->now;
    if (lone->sent_level > lone->sent_most)
        lone->sent_most = lone->sent_level;
}

static void see(struct lone_core *lone, const struct gossip_action *action)
{
    if (action->kind == GOSSIP_DO_SEND)
        account(lone, action->packet);
    if (lone->seen_count == LONE_ACTIONS_MAX)
        return;
    struct lone_seen *seen = &lone->seen[lone->seen_count++];
    *seen = (struct lone_seen){.kind = action->kind,
                               .node = action->node,
                               .at = lone->now,
                               .epoch = action->epoch,
                               .what = action->what,
                               .state = action->state,
                               .cause = action->cause};
    if (action->packet == NULL)
        return;
    seen->packet = *action->packet;
    for (uint32_t i = 0; i < action->packet->item_count; i++)
        seen->items[i] = (enum gossip_item_kind)action->packet->items[i].data[0];
    cr_assert(gossip_packet_size_max(action->packet) <= PPN_DATAGRAM_MAX);
}

enum ppn_error lone_step(struct lone_core *lone, const struct gossip_event *event)
{
    struct gossip_update update;
    enum ppn_error error = gossip_step(lone->core, lone->now, event, &update);
    for (uint32_t i = 0; i < update.count; i++)
        see(lone, &update.actions[i]);
    return error;
}

void lone_wait(struct lone_core *lone, struct ppn_duration time)
{
    struct ppn_instant end = ppn_after(lone->now, time);
    while (ppn_due(gossip_deadline(lone->core), end)) {
        if (ppn_before(lone->now, gossip_deadline(lone->core)))
            lone->now = gossip_deadline(lone->core);
        cr_assert(lone_step(lone, &(struct gossip_event){.kind = GOSSIP_EVENT_TICK}) == PPN_OK);
    }
    lone->now = end;
}

void lone_answer(struct lone_core *lone, uint32_t silent, struct ppn_duration time)
{
    static struct lone_seen pings[LONE_ACTIONS_MAX];
    uint32_t done = lone->seen_count;
    for (int64_t ns = 0; ns < time.ns; ns += ppn_ms(10).ns) {
        lone_wait(lone, ppn_ms(10));
        uint32_t count = lone->seen_count - done;
        memcpy(pings, lone->seen + done, count * sizeof(*pings));
        done = lone->seen_count;
        for (uint32_t i = 0; i < count; i++) {
            if (pings[i].kind != GOSSIP_DO_SEND || pings[i].packet.kind != GOSSIP_PING)
                continue;
            struct gossip_packet ack = {.kind = GOSSIP_ACK, .probe = pings[i].packet.probe};
            for (uint32_t k = 1; k < lone->members; k++)
                if (k != silent && ppn_node_id_equal(&pings[i].node, &lone->ids[k]))
                    lone_packet(lone, k, &ack);
        }
        cr_assert(lone->seen_count < LONE_ACTIONS_MAX, "more was sent than is kept");
    }
}

const struct lone_seen *lone_sent(const struct lone_core *lone, enum gossip_packet_kind kind,
                                  uint32_t to)
{
    for (uint32_t i = 0; i < lone->seen_count; i++)
        if (lone->seen[i].kind == GOSSIP_DO_SEND && lone->seen[i].packet.kind == kind &&
            ppn_node_id_equal(&lone->seen[i].node, &lone->ids[to]))
            return &lone->seen[i];
    return NULL;
}

void lone_packet(struct lone_core *lone, uint32_t from, struct gossip_packet *packet)
{
    struct gossip_event event = {
        .kind = GOSSIP_EVENT_PACKET, .node = lone->ids[from], .packet = packet};
    cr_assert(lone_step(lone, &event) == PPN_OK);
}

void lone_item(struct lone_core *lone, uint32_t from, struct ppn_slice item)
{
    struct gossip_packet packet = {.kind = GOSSIP_NEWS, .item_count = 1};
    packet.items[0] = item;
    lone_packet(lone, from, &packet);
}

struct ppn_slice lone_sign(struct lone_core *lone, uint32_t signer, const struct gossip_item *item)
{
    static uint8_t memory[5][GOSSIP_ITEM_SIZE_MAX];
    static uint32_t turn;
    uint8_t bytes[GOSSIP_TRANSCRIPT_PREFIX + GOSSIP_ITEM_SIZE_MAX];
    uint8_t signature[GOSSIP_SIGNATURE_SIZE];
    static const struct ppn_hash network;
    struct ppn_writer writer = ppn_writer(memory[turn++ % 5], GOSSIP_ITEM_SIZE_MAX);
    gossip_item_write(&writer, item);
    struct ppn_writer transcript = ppn_writer(bytes, sizeof(bytes));
    gossip_transcript(&transcript, &network, &lone->ids[signer], ppn_written(&writer));
    stub_signature(&lone->ids[signer], ppn_written(&transcript), signature);
    ppn_write(&writer, ppn_slice(signature, sizeof(signature)));
    return ppn_written(&writer);
}

struct ppn_slice lone_life(struct lone_core *lone, uint32_t of, uint32_t epoch,
                           uint32_t incarnation, enum gossip_standing standing)
{
    struct gossip_item item = {.kind = GOSSIP_ITEM_LIFE,
                               .author = gossip_tag_of(&lone->ids[of]),
                               .epoch = epoch,
                               .sequence = incarnation,
                               .standing = standing};
    return lone_sign(lone, of, &item);
}

struct ppn_slice lone_body(struct lone_core *lone, uint32_t of, enum gossip_item_kind kind,
                           uint32_t epoch, uint32_t sequence, const char *body)
{
    struct gossip_item item = {.kind = kind,
                               .author = gossip_tag_of(&lone->ids[of]),
                               .epoch = epoch,
                               .sequence = sequence,
                               .body = ppn_slice(body, strlen(body))};
    return lone_sign(lone, of, &item);
}

struct ppn_slice lone_verdict(struct lone_core *lone, uint32_t by, uint32_t of, uint32_t epoch,
                              uint32_t incarnation, enum gossip_opinion opinion)
{
    static uint32_t sequence;
    struct gossip_item item = {.kind = GOSSIP_ITEM_VERDICT,
                               .author = gossip_tag_of(&lone->ids[by]),
                               .epoch = 1,
                               .sequence = ++sequence,
                               .subject = gossip_tag_of(&lone->ids[of]),
                               .subject_epoch = epoch,
                               .subject_incarnation = incarnation,
                               .opinion = opinion};
    return lone_sign(lone, by, &item);
}

struct gossip_member lone_member(const struct lone_core *lone, uint32_t index)
{
    struct gossip_member member;
    cr_assert(gossip_member(lone->core, &lone->ids[index], &member) == PPN_OK);
    return member;
}

uint32_t lone_count(const struct lone_core *lone, enum gossip_action_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lone->seen_count; i++)
        count += lone->seen[i].kind == kind;
    return count;
}
