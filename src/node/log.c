// SPDX-License-Identifier: ISC
#include "node/log.h"

#include <stdlib.h>
#include <string.h>

#include "admission/checkpoint.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/random.h"
#include "node/events.h"
#include "node/log_internal.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peers.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "wire/log.h"

enum { SYNC_PERIOD_S = 20, LOG_KEY_SIZE = 8 };

/* What waits for one commit. */
struct commit {
    struct node_log *log;
    uint32_t first, end; /* entries that it makes durable */
    uint32_t source;
    bool rewrite; /* a checkpoint came into force: all is stored anew */
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
        node_log_push(log, commit->first, commit->end, commit->source);
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

static void put_next(struct node_log *log, struct store_batch *batch, struct ppn_slice bytes)
{
    uint8_t buffer[LOG_KEY_SIZE];
    struct ppn_writer key = ppn_writer(buffer, sizeof(buffer));
    ppn_write_u64(&key, log->next_key++);
    store_batch_put(batch, STORE_LOG, ppn_written(&key), bytes);
}

static void note(struct node_log *log, const struct admission_update_item *item,
                 struct store_batch *batch, struct commit *commit)
{
    char name[PPN_FINGERPRINT_TEXT];
    switch (item->kind) {
    case ADMISSION_PERSIST:
        put_next(log, batch, item->bytes);
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
    case ADMISSION_CLOSED:
        commit->rewrite = true;
        if (item->lost > 0)
            ppn_log(PPN_LOG_WARN, "log-closed",
                    "lost=%u text=\"decisions from before the checkpoint have no place behind it; "
                    "see ppn log, and make them again\"",
                    item->lost);
        return;
    case ADMISSION_FROZEN:
        ppn_log(PPN_LOG_ERROR, "log-frozen",
                "text=\"the network moved to a newer log version: update ppn-node\"");
        return;
    }
    PPN_UNREACHABLE();
}

static void on_part(void *context, enum ppn_error error)
{
    struct node_log *log = context;
    if (error != PPN_OK && !log->node->stopping)
        node_fatal(log->node, "log-write",
                   "cannot write the admission log; free space in the state directory, then start "
                   "again");
}

_Static_assert((size_t)ADMISSION_BASE_BYTES_MAX <= STORE_QUEUE_MAX - STORE_BATCH_MAX,
               "what a checkpoint keeps can wait for the writer");

/* The log as it is now, behind what is stored, which then goes, the last first. Whatever of this a
 * kill leaves undone, a start reads the old entries or the new ones, or both, and finds the same
 * log. The last batch is the caller's to commit. */
static void rewrite(struct node_log *log, struct store_batch *batch)
{
    uint64_t first = log->next_key;
    for (uint32_t i = 0; i < admission_transfer_count(log->core); i++) {
        uint8_t buffer[ADMISSION_RECORD_MAX];
        put_next(log, batch, admission_transfer_at(log->core, i, buffer));
        if (batch->size > STORE_BATCH_MAX / 2)
            store_commit(log->node->store, batch, on_part, log);
    }
    if (batch->count > 0)
        store_commit(log->node->store, batch, on_part, log);
    for (uint64_t old = first; old-- > log->first_key;) {
        uint8_t buffer[LOG_KEY_SIZE];
        struct ppn_writer key = ppn_writer(buffer, sizeof(buffer));
        ppn_write_u64(&key, old);
        store_batch_delete(batch, STORE_LOG, ppn_written(&key));
        if (batch->size > STORE_BATCH_MAX / 2)
            store_commit(log->node->store, batch, on_part, log);
    }
    log->first_key = first;
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
    if (commit->rewrite) {
        /* Others make the records from what they have: the checkpoint is all the news. */
        commit->first = admission_checkpoint_now(log->core).kept;
        store_batch_free(&batch);
        store_batch_init(&batch);
        rewrite(log, &batch);
    }
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
            node_log_sync(log);
        log->sync_at = ppn_after(now, ppn_seconds(SYNC_PERIOD_S));
    }
    os_timer_after(&log->timer, ppn_seconds(5));
}

/* ---- life ---- */

struct load {
    struct node_log *log;
    uint32_t count; /* values read */
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
    if (load->count++ == 0)
        load->log->first_key = ppn_read_u64(key.data);
    load->log->next_key = ppn_read_u64(key.data) + 1;
    if (admission_offer(load->log->core, os_clock_wall(), 0, value, &load->log->update, &why) ==
        ADMISSION_REFUSED) {
        load->error = ppn_fail(load->failure, PPN_ERROR_CORRUPT,
                               "a stored entry of the admission log does not verify: %s", why.text);
        return false;
    }
    return true;
}

/* A kill came between the new entries and the end of the old, or before the last record. */
static enum ppn_error tidy(struct node_log *log, struct ppn_failure *failure)
{
    struct store_batch batch;
    store_batch_init(&batch);
    rewrite(log, &batch);
    enum ppn_error error = store_commit_sync(log->node->store, &batch);
    return error == PPN_OK ? error
                           : ppn_fail(failure, error, "cannot write the admission log: %s",
                                      ppn_error_text(error));
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
    admission_conduct_init(&log->conduct);
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
    if (load.count != admission_transfer_count(log->core))
        error = tidy(log, failure);
    if (error != PPN_OK) {
        node_log_close(log);
        return error;
    }
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
