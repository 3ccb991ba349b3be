// SPDX-License-Identifier: ISC
#include "admission/checkpoint.h"
#include "admission/sync.h"
#include "base/log.h"
#include "node/log_internal.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peers.h"
#include "wire/log.h"

enum { FORWARD_COUNT = 2 /* whom a receiver of news tells besides the author's own push */ };

_Static_assert((int)ADMISSION_RECORD_MAX <= (int)WIRE_LOG_ENTRY_MAX,
               "whatever makes up a log fits a batch");

static bool encode_batch(const struct node_log *log, const uint32_t *indexes, uint32_t count,
                         bool more, struct ppn_writer *writer, uint32_t *taken)
{
    struct wire_log_batch batch;
    wire_log_batch_start(&batch, writer);
    for (*taken = 0; *taken < count; (*taken)++) {
        uint8_t buffer[ADMISSION_RECORD_MAX];
        struct ppn_slice bytes = admission_transfer_at(log->core, indexes[*taken], buffer);
        if (!wire_log_batch_add(&batch, bytes, ppn_slice(NULL, 0)))
            break;
    }
    return wire_log_batch_finish(&batch, more || *taken < count) == PPN_OK && *taken > 0;
}

static void send_log_frame(struct node_log *log, const struct ppn_node_id *to,
                           const struct wire_peer_frame *frame)
{
    enum ppn_error error = node_peers_send(log->node->peers, to, frame);
    if (error != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "log-unsent", "cause=\"%s\"", ppn_error_text(error));
}

/* New entries to everybody alive when they were made here, to a few others when they came from
 * elsewhere: their author told everybody it could reach. */
void node_log_push(struct node_log *log, uint32_t first, uint32_t end, uint32_t source)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX];
    uint32_t indexes[64];
    uint32_t count = 0, taken = 0, cursor = 0, alive = 0;
    struct node_member member;
    if (log->node->peers == NULL || first >= end || end - first > 64)
        return;
    for (uint32_t i = first; i < end; i++)
        indexes[count++] = admission_transfer_of(log->core, i);
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (!encode_batch(log, indexes, count, false, &writer, &taken))
        return;
    struct wire_peer_frame frame = {.kind = WIRE_PEER_LOG_PUSH, .batch = ppn_written(&writer)};
    while (node_member_next(log->node, &cursor, &member))
        alive += node_member_alive(log->node, &member.id);
    cursor = 0;
    while (node_member_next(log->node, &cursor, &member)) {
        if (ppn_node_id_equal(&member.id, &log->node->identity.id) ||
            !node_member_alive(log->node, &member.id))
            continue;
        if (source == 0 || alive <= FORWARD_COUNT + 1 ||
            ppn_random_below(&log->random, alive) < FORWARD_COUNT)
            send_log_frame(log, &member.id, &frame);
    }
}

static void send_want(struct node_log *log, const struct ppn_node_id *to)
{
    static struct admission_sync_have have;
    struct ppn_hash closed[2];
    struct wire_peer_frame frame = {.kind = WIRE_PEER_LOG_WANT};
    admission_sync_have(log->core, &have);
    frame.log_want.have.bytes = ppn_slice(have.ids, (size_t)have.id_count * PPN_HASH_SIZE);
    closed[0] = have.checkpoint;
    closed[1] = have.staged;
    frame.log_want.closed.bytes =
        ppn_slice(closed, (ppn_hash_is_zero(&have.staged) ? 1 : 2) * sizeof(closed[0]));
    frame.log_want.staged = have.staged_count;
    send_log_frame(log, to, &frame);
}

static void send_heads(struct node_log *log, const struct ppn_node_id *to)
{
    struct ppn_hash heads[ADMISSION_SYNC_HEADS_MAX];
    uint32_t count = admission_heads(log->core, heads, ADMISSION_SYNC_HEADS_MAX);
    if (count > ADMISSION_SYNC_HEADS_MAX)
        count = ADMISSION_SYNC_HEADS_MAX;
    struct wire_peer_frame frame = {.kind = WIRE_PEER_LOG_HEADS};
    frame.heads.bytes = ppn_slice(heads, (size_t)count * PPN_HASH_SIZE);
    send_log_frame(log, to, &frame);
}

void node_log_meet(struct node_log *log, const struct ppn_node_id *peer)
{
    if (!ppn_node_id_equal(peer, &log->node->identity.id))
        send_heads(log, peer);
}

static bool knows_all(const struct node_log *log, struct wire_hashes hashes)
{
    for (uint32_t i = 0; i < wire_hashes_count(hashes); i++) {
        struct ppn_hash hash = wire_hashes_at(hashes, i);
        if (!admission_knows(log->core, &hash))
            return false;
    }
    return true;
}

static void answer_heads(struct node_log *log, const struct ppn_node_id *peer,
                         struct wire_hashes theirs)
{
    struct ppn_hash heads[ADMISSION_SYNC_HEADS_MAX];
    uint32_t count = admission_heads(log->core, heads, ADMISSION_SYNC_HEADS_MAX);
    if (!knows_all(log, theirs))
        send_want(log, peer);
    bool same = count == wire_hashes_count(theirs);
    for (uint32_t i = 0; same && i < count && i < ADMISSION_SYNC_HEADS_MAX; i++) {
        struct ppn_hash hash = wire_hashes_at(theirs, i);
        same = ppn_hash_equal(&hash, &heads[i]);
    }
    /* They lack something of ours: our heads make them ask. */
    if (!same && knows_all(log, theirs))
        send_heads(log, peer);
}

static void answer_want(struct node_log *log, const struct ppn_node_id *peer,
                        const struct wire_log_want *want)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX];
    static struct admission_sync_have have;
    static struct admission_sync_batch batch;
    uint32_t taken = 0;
    have = (struct admission_sync_have){.network = log->node->network};
    have.id_count = wire_hashes_count(want->have);
    if (have.id_count > ADMISSION_SYNC_HAVE_MAX)
        have.id_count = ADMISSION_SYNC_HAVE_MAX;
    have.entry_count = have.id_count;
    for (uint32_t i = 0; i < have.id_count; i++)
        have.ids[i] = wire_hashes_at(want->have, i);
    if (wire_hashes_count(want->closed) > 0)
        have.checkpoint = wire_hashes_at(want->closed, 0);
    if (wire_hashes_count(want->closed) > 1) {
        have.staged = wire_hashes_at(want->closed, 1);
        have.staged_count = want->staged;
    }
    if (admission_sync_answer(log->core, &have, &batch) != PPN_OK || batch.count == 0)
        return;
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    if (!encode_batch(log, batch.indexes, batch.count, batch.more, &writer, &taken))
        return;
    struct wire_peer_frame frame = {.kind = WIRE_PEER_LOG_ENTRIES, .batch = ppn_written(&writer)};
    send_log_frame(log, peer, &frame);
}

static uint32_t source_of(const struct ppn_node_id *peer)
{
    uint32_t source = ppn_read_u32(peer->bytes);
    return source == 0 ? 1 : source;
}

static void take_entries(struct node_log *log, const struct ppn_node_id *peer,
                         const struct wire_peer_frame *frame)
{
    struct ppn_failure failure = {0};
    struct ppn_hash missing;
    uint32_t staged;
    bool more = false;
    enum ppn_error error = node_log_batch(log, source_of(peer), frame->batch, &more, &failure);
    if (error != PPN_OK) {
        struct ppn_instant now = os_now(log->node->loop);
        bool muted = admission_conduct_refused(&log->conduct, now, peer, error);
        char scratch[PPN_FINGERPRINT_TEXT];
        ppn_log(muted ? PPN_LOG_WARN : PPN_LOG_DEBUG, "log-refused",
                "from=%s muted_s=%lld cause=\"%s\"", node_member_name(log->node, peer, scratch),
                (long long)(admission_conduct_muted(&log->conduct, now, peer).ns / 1000000000),
                failure.text);
        return;
    }
    if (more || admission_missing(log->core, &missing, 1) > 0 ||
        admission_staged(log->core, &missing, &staged))
        send_want(log, peer);
}

void node_log_frame(struct node_log *log, struct node_link *link,
                    const struct wire_peer_frame *frame)
{
    const struct ppn_node_id peer = *node_link_peer(link);
    if (admission_conduct_muted(&log->conduct, os_now(log->node->loop), &peer).ns > 0)
        return;
    if (frame->kind == WIRE_PEER_LOG_HEADS)
        answer_heads(log, &peer, frame->heads);
    else if (frame->kind == WIRE_PEER_LOG_WANT)
        answer_want(log, &peer, &frame->log_want);
    else
        take_entries(log, &peer, frame);
}

void node_log_sync(struct node_log *log)
{
    struct node_member member, chosen;
    uint32_t cursor = 0, alive = 0;
    while (node_member_next(log->node, &cursor, &member)) {
        if (ppn_node_id_equal(&member.id, &log->node->identity.id) ||
            !node_member_alive(log->node, &member.id))
            continue;
        if (ppn_random_below(&log->random, ++alive) == 0)
            chosen = member;
    }
    if (alive > 0)
        send_heads(log, &chosen.id);
}
