// SPDX-License-Identifier: ISC
#include "node/log.h"

#include <stdlib.h>
#include <string.h>

#include "admission/sync.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/random.h"
#include "node/events.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peers.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "wire/log.h"

enum {
    SYNC_PERIOD_S = 20,
    FORWARD_COUNT = 2, /* whom a receiver of news tells besides the author's own push */
    LOG_KEY_SIZE = 8
};

struct node_log {
    struct node *node;
    struct admission *core;
    struct admission_update update;
    struct os_timer timer; /* leases and the periodic comparison with somebody */
    struct ppn_random random;
    struct ppn_instant sync_at;
    uint64_t next_key;
    uint32_t stored; /* entries handed to the store so far */
    bool became_member;
};

/* What waits for one commit. */
struct commit {
    struct node_log *log;
    uint32_t first, end; /* entries that it makes durable */
    uint32_t source;
    uint32_t added_count, removed_count;
    struct ppn_node_id *added, *removed;
    node_log_done_fn *done;
    void *context;
    struct ppn_failure failure; /* of the submission itself */
};

const struct admission *node_log_core(const struct node_log *log)
{
    return log->core;
}

static bool encode_batch(const struct node_log *log, const uint32_t *indexes, uint32_t count,
                         bool more, struct ppn_writer *writer, uint32_t *taken)
{
    struct wire_log_batch batch;
    wire_log_batch_start(&batch, writer);
    for (*taken = 0; *taken < count; (*taken)++) {
        struct admission_record record = admission_record_at(log->core, indexes[*taken]);
        if (!wire_log_batch_add(&batch, record.envelope, ppn_slice(NULL, 0)))
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
static void push(struct node_log *log, uint32_t first, uint32_t end, uint32_t source)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX];
    uint32_t indexes[64];
    uint32_t count = 0, taken = 0, cursor = 0, alive = 0;
    struct node_member member;
    if (log->node->peers == NULL || first >= end || end - first > 64)
        return;
    for (uint32_t i = first; i < end; i++)
        indexes[count++] = i;
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

static void check_self(struct node_log *log)
{
    struct node *node = log->node;
    const struct admission_member *self = admission_member_by_id(log->core, &node->identity.id);
    if (self != NULL && !log->became_member) {
        log->became_member = true;
        (void)ppn_text_copy(node->name, sizeof(node->name), self->name);
        memcpy(node->mesh_address, self->address, sizeof(node->mesh_address));
        node->network = admission_network(log->core);
        (void)ppn_text_copy(node->network_name, sizeof(node->network_name),
                            admission_network_name(log->core));
        node_become_member(node);
    } else if (self == NULL && log->became_member && node->phase == NODE_MEMBER) {
        node_become_revoked(node);
    } else if (self != NULL) {
        (void)ppn_text_copy(node->name, sizeof(node->name), self->name);
    }
}

static void free_commit(struct commit *commit)
{
    free(commit->added);
    free(commit->removed);
    free(commit);
}

static void on_committed(void *context, enum ppn_error error)
{
    struct commit *commit = context;
    struct node_log *log = commit->log;
    struct ppn_failure failure = commit->failure;
    if (log->node->stopping) {
        free_commit(commit);
        return;
    }
    if (error != PPN_OK) {
        /* The core already counts on these entries; without the disk they must not be shown. */
        node_fatal(log->node, "log-write",
                   "cannot write the admission log; free space in the state directory, then start "
                   "again");
        (void)ppn_fail(&failure, error, "the entry could not be stored: %s", ppn_error_text(error));
    } else if (commit->end > commit->first || commit->added_count + commit->removed_count > 0) {
        node_notify_members(log->node, commit->added, commit->added_count, commit->removed,
                            commit->removed_count);
        check_self(log);
        push(log, commit->first, commit->end, commit->source);
        for (uint32_t i = commit->first; i < commit->end; i++)
            node_events_log_entry(log->node->events, i);
    }
    if (commit->done != NULL)
        commit->done(commit->context, failure.code != PPN_OK ? &failure : NULL);
    free_commit(commit);
}

static void keep_id(struct ppn_node_id **list, uint32_t *count, const struct ppn_node_id *id)
{
    struct ppn_node_id *grown = realloc(*list, (*count + 1) * sizeof(*grown));
    if (grown == NULL)
        return;
    grown[(*count)++] = *id;
    *list = grown;
}

static void note(struct node_log *log, const struct admission_update_item *item,
                 struct store_batch *batch, struct commit *commit)
{
    uint8_t bytes[LOG_KEY_SIZE];
    struct ppn_writer key = ppn_writer(bytes, sizeof(bytes));
    char name[PPN_FINGERPRINT_TEXT];
    switch (item->kind) {
    case ADMISSION_PERSIST:
        ppn_write_u64(&key, log->next_key++);
        store_batch_put(batch, STORE_LOG, ppn_written(&key), item->bytes);
        return;
    case ADMISSION_MEMBER_REMOVED:
        keep_id(&commit->removed, &commit->removed_count, &item->member.id);
        return;
    case ADMISSION_MEMBER_ADDED:
    case ADMISSION_MEMBER_CHANGED:
        keep_id(&commit->added, &commit->added_count, &item->member.id);
        return;
    case ADMISSION_HEADS_CHANGED:
        return;
    case ADMISSION_EQUIVOCATION: {
        struct ppn_node_id author = admission_key_node(&item->author);
        ppn_fingerprint(&author, name);
        ppn_log(PPN_LOG_ERROR, "log-equivocation",
                "author=%s text=\"this key signed two contradicting entries: remove it\"", name);
        return;
    }
    case ADMISSION_SEAL_CONFLICT:
        ppn_log(PPN_LOG_ERROR, "log-seal-conflict",
                "text=\"two seals carry one number: an authority runs twice\"");
        return;
    case ADMISSION_FROZEN:
        ppn_log(PPN_LOG_ERROR, "log-frozen",
                "text=\"the network moved to a newer log version: update ppn-node\"");
        return;
    }
    PPN_UNREACHABLE();
}

/* Makes what the core appended to the update durable, then obeys it. */
static void commit_update(struct node_log *log, uint32_t source, node_log_done_fn *done,
                          void *context, const struct ppn_failure *failure)
{
    struct commit *commit = calloc(1, sizeof(*commit));
    struct store_batch batch;
    if (commit == NULL) {
        node_fatal(log->node, "log", "out of memory");
        return;
    }
    *commit = (struct commit){.log = log, .source = source, .done = done, .context = context};
    if (failure != NULL)
        commit->failure = *failure;
    store_batch_init(&batch);
    for (uint32_t i = 0; i < log->update.count; i++)
        note(log, &log->update.items[i], &batch, commit);
    admission_update_reset(&log->update);
    commit->first = log->stored;
    commit->end = log->stored = admission_entry_count(log->core);
    store_commit(log->node->store, &batch, on_committed, commit);
}

void node_log_settled(struct node_log *log, node_log_done_fn *done, void *context)
{
    commit_update(log, 0, done, context, NULL);
}

void node_log_submit(struct node_log *log, struct ppn_slice envelope, node_log_done_fn *done,
                     void *context)
{
    struct ppn_failure failure = {0};
    enum admission_verdict verdict =
        admission_offer(log->core, os_clock_wall(), 0, envelope, &log->update, &failure);
    if (verdict == ADMISSION_PENDING)
        (void)ppn_fail(&failure, PPN_ERROR_CONFLICT,
                       "the entry follows others that this node has not seen yet; try again");
    bool fine = verdict == ADMISSION_ACCEPTED || verdict == ADMISSION_KNOWN;
    commit_update(log, 0, done, context, fine ? NULL : &failure);
}

enum ppn_error node_log_batch(struct node_log *log, uint32_t source, struct ppn_slice batch,
                              bool *more, struct ppn_failure *failure)
{
    struct wire_log_reader reader;
    struct ppn_slice envelope, signatures;
    enum ppn_error error = wire_log_read_start(&reader, batch);
    if (error != PPN_OK)
        return ppn_fail(failure, error, "a malformed batch of log entries");
    *more = reader.more;
    while (error == PPN_OK && wire_log_read_next(&reader, &envelope, &signatures)) {
        enum admission_verdict verdict =
            admission_offer(log->core, os_clock_wall(), source, envelope, &log->update, failure);
        if (verdict == ADMISSION_REFUSED)
            error = failure->code != PPN_OK ? failure->code : PPN_ERROR_REFUSED;
    }
    if (log->update.count > 0)
        commit_update(log, source, NULL, NULL, NULL);
    return error;
}

/* ---- anti-entropy ---- */

static void send_want(struct node_log *log, const struct ppn_node_id *to)
{
    static struct admission_sync_have have;
    struct wire_peer_frame frame = {.kind = WIRE_PEER_LOG_WANT};
    admission_sync_have(log->core, &have);
    frame.log_want.have.bytes = ppn_slice(have.ids, (size_t)have.id_count * PPN_HASH_SIZE);
    frame.log_want.want.bytes = ppn_slice(NULL, 0);
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
    uint32_t index;
    for (uint32_t i = 0; i < wire_hashes_count(hashes); i++) {
        struct ppn_hash hash = wire_hashes_at(hashes, i);
        if (!admission_record_find(log->core, &hash, &index))
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
    bool more = false;
    enum ppn_error error = node_log_batch(log, source_of(peer), frame->batch, &more, &failure);
    if (error != PPN_OK) {
        char scratch[PPN_FINGERPRINT_TEXT];
        ppn_log(PPN_LOG_WARN, "log-refused", "from=%s cause=\"%s\"",
                node_member_name(log->node, peer, scratch), failure.text);
        return;
    }
    if (more || admission_missing(log->core, &missing, 1) > 0)
        send_want(log, peer);
}

void node_log_frame(struct node_log *log, struct node_link *link,
                    const struct wire_peer_frame *frame)
{
    const struct ppn_node_id peer = *node_link_peer(link);
    if (frame->kind == WIRE_PEER_LOG_HEADS)
        answer_heads(log, &peer, frame->heads);
    else if (frame->kind == WIRE_PEER_LOG_WANT)
        answer_want(log, &peer, &frame->log_want);
    else
        take_entries(log, &peer, frame);
}

static void sync_with_somebody(struct node_log *log)
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

static void on_timer(void *context)
{
    struct node_log *log = context;
    struct ppn_instant now = os_now(log->node->loop);
    if (admission_deadline(log->core).unix_ms <= os_clock_wall().unix_ms) {
        admission_tick(log->core, os_clock_wall(), &log->update);
        if (log->update.count > 0)
            commit_update(log, 0, NULL, NULL, NULL);
    }
    if (ppn_due(log->sync_at, now)) {
        if (log->node->phase == NODE_MEMBER)
            sync_with_somebody(log);
        log->sync_at = ppn_after(now, ppn_seconds(SYNC_PERIOD_S));
    }
    os_timer_after(&log->timer, ppn_seconds(5));
}

/* ---- life ---- */

struct load {
    struct node_log *log;
    enum ppn_error error;
    struct ppn_failure *failure;
};

static bool load_entry(void *context, struct ppn_slice key, struct ppn_slice value,
                       enum ppn_error error)
{
    struct load *load = context;
    struct ppn_failure why = {0};
    if (error != PPN_OK || key.size != LOG_KEY_SIZE) {
        load->error = ppn_fail(load->failure, PPN_ERROR_CORRUPT,
                               "the stored admission log is damaged; restore the state directory "
                               "from a backup, or remove it and join anew");
        return false;
    }
    load->log->next_key = ppn_read_u64(key.data) + 1;
    if (admission_offer(load->log->core, os_clock_wall(), 0, value, &load->log->update, &why) ==
        ADMISSION_REFUSED) {
        load->error = ppn_fail(load->failure, PPN_ERROR_CORRUPT,
                               "a stored entry of the admission log does not verify: %s", why.text);
        return false;
    }
    return true;
}

enum ppn_error node_log_open(struct node *node, struct node_log **out, struct ppn_failure *failure)
{
    struct node_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct admission_config config = {.network = node->network, .seed = node->boot};
    struct load load = {.log = log, .failure = failure};
    log->node = node;
    log->core = admission_new(&config);
    ppn_random_init(&log->random, node->boot);
    os_timer_init(&log->timer, node->loop, on_timer, log);
    enum ppn_error error =
        log->core == NULL
            ? ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory")
            : store_scan(node->store, STORE_LOG, ppn_slice(NULL, 0), load_entry, &load);
    if (error == PPN_OK)
        error = load.error;
    if (error != PPN_OK) {
        node_log_close(log);
        return error;
    }
    admission_update_reset(&log->update);
    log->stored = admission_entry_count(log->core);
    os_timer_after(&log->timer, ppn_seconds(5));
    *out = log;
    return PPN_OK;
}

bool node_log_admin(const struct node_log *log, const struct ppn_node_id *id)
{
    struct admission_key key = admission_node_key(id);
    const struct admission_admin *admin = admission_admin_by_key(log->core, &key);
    return admin != NULL && admin->live;
}

void node_log_close(struct node_log *log)
{
    if (log == NULL)
        return;
    if (log->timer.loop != NULL)
        os_timer_stop(&log->timer);
    admission_update_free(&log->update);
    admission_free(log->core);
    free(log);
}

void node_log_start(struct node_log *log)
{
    check_self(log);
}

enum ppn_error node_log_pin(struct node_log *log, const struct ppn_hash *network,
                            struct ppn_failure *failure)
{
    struct admission_config config = {.network = *network, .seed = log->node->boot};
    if (admission_founded(log->core)) {
        struct ppn_hash own = admission_network(log->core);
        if (ppn_hash_equal(&own, network))
            return PPN_OK;
        return ppn_fail(failure, PPN_ERROR_CONFLICT, "this node belongs to another network");
    }
    struct admission *core = admission_new(&config);
    if (core == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    admission_free(log->core);
    log->core = core;
    log->node->network = *network;
    return PPN_OK;
}

static enum ppn_error offer_now(struct node_log *log, const struct admission_made *made,
                                struct store_batch *batch, struct ppn_failure *failure)
{
    struct commit unused = {.log = log};
    admission_update_reset(&log->update);
    if (admission_offer(log->core, os_clock_wall(), 0, admission_made_slice(made), &log->update,
                        failure) != ADMISSION_ACCEPTED)
        return failure->code != PPN_OK ? failure->code : PPN_ERROR_REFUSED;
    for (uint32_t i = 0; i < log->update.count; i++)
        note(log, &log->update.items[i], batch, &unused);
    free(unused.added);
    free(unused.removed);
    admission_update_reset(&log->update);
    return PPN_OK;
}

_Static_assert((int)NODE_RECOVERY_KEYS_MAX == (int)ADMISSION_RECOVERY_MAX &&
                   (int)NODE_RECOVERY_KEY_SIZE == (int)ADMISSION_KEY_SIZE,
               "what options take, the genesis holds");

enum ppn_error node_log_found(struct node_log *log, const char *network,
                              struct ppn_failure *failure)
{
    static struct admission_made made;
    struct node_identity *identity = &log->node->identity;
    struct admission_keypair pair;
    struct store_batch batch;
    struct admission_genesis genesis = {.root_count = 1};
    struct admission_admit admit = {.node = identity->id, .roles = ADMISSION_ROLE_RELAY};
    struct ppn_wall now = os_clock_wall();
    PPN_ASSERT(identity->has_admin);
    memcpy(pair.key.bytes, identity->admin_id.bytes, sizeof(pair.key.bytes));
    memcpy(pair.secret, identity->admin_secret, sizeof(pair.secret));
    struct admission_signer signer = admission_keypair_signer(&pair);
    (void)ppn_text_copy(genesis.network, sizeof(genesis.network), network);
    os_random_bytes(genesis.nonce, sizeof(genesis.nonce));
    genesis.roots[0] = pair.key;
    genesis.recovery_count = log->node->options.recovery_count;
    genesis.recovery_needed = genesis.recovery_count > 0;
    for (uint32_t i = 0; i < genesis.recovery_count; i++) {
        struct admission_key key;
        memcpy(key.bytes, log->node->options.recovery[i], sizeof(key.bytes));
        genesis.recovery[i] = admission_recovery_hash(admission_crypto_sodium(), &key);
    }
    memcpy(admit.wg_key, identity->wg_public, sizeof(admit.wg_key));
    (void)ppn_text_copy(admit.name, sizeof(admit.name), log->node->name);
    store_batch_init(&batch);
    enum ppn_error error = admission_make_genesis(NULL, (struct admission_authors){&signer, 1}, now,
                                                  &genesis, &made, failure);
    if (error == PPN_OK)
        error = offer_now(log, &made, &batch, failure);
    if (error == PPN_OK)
        error = admission_make_admit(log->core, &signer, now, &admit, &made, failure);
    if (error == PPN_OK)
        error = offer_now(log, &made, &batch, failure);
    admission_keypair_wipe(&pair);
    if (error != PPN_OK) {
        store_batch_free(&batch);
        return error;
    }
    error = store_commit_sync(log->node->store, &batch);
    if (error != PPN_OK)
        return ppn_fail(failure, error, "cannot write the new network's log: %s",
                        ppn_error_text(error));
    log->stored = admission_entry_count(log->core);
    return PPN_OK;
}
