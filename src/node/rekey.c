// SPDX-License-Identifier: ISC
#include "node/rekey.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_request.h"
#include "base/log.h"
#include "node/log.h"
#include "node/mesh.h"
#include "node/node.h"
#include "os/os_clock.h"
#include "wg/device.h"

enum {
    LOOK_MS = 1000,
    ROUNDING_MS = 500, /* of full seconds: between what two clocks say, less than one of them */
    ALIVE_AFTER_S = 15 /* who is alive by then is alive by the new key */
};

struct node_rekey {
    struct node *node;
    struct os_timer timer;
    bool next;                   /* the device has the next key */
    bool named;                  /* by the log, at the last look */
    bool working;                /* a key is being written, or handed in */
    struct ppn_instant since;    /* the device has that key */
    struct ppn_duration slack;   /* since the full second before that: handshakes have no more */
    struct ppn_instant until;    /* then it is the turn of the other one */
    struct api_request *request; /* who asked; NULL: nobody, or gone */
};

/* A file operation in a worker thread. */
struct job {
    struct node_rekey *rekey;
    bool settle;
    char directory[NODE_PATH_MAX + 1];
    uint8_t key[NODE_WG_KEY_SIZE];
    enum ppn_error error;
    struct ppn_failure failure;
};

static const struct admission_member *self_of(const struct node *node)
{
    return admission_member_by_id(node_log_core(node->log), &node->identity.id);
}

static bool named(const struct node_rekey *rekey)
{
    const struct node *node = rekey->node;
    const struct admission_member *self = self_of(node);
    return node->identity.has_next && self != NULL &&
           memcmp(self->wg_key, node->identity.next_public, NODE_WG_KEY_SIZE) == 0;
}

void node_rekey_keys(const struct node_rekey *rekey, uint8_t private_key[static 32],
                     uint8_t public_key[static 32])
{
    const struct node_identity *identity = &rekey->node->identity;
    bool next = rekey->next && identity->has_next;
    memcpy(private_key, next ? identity->next_private : identity->wg_private, NODE_WG_KEY_SIZE);
    memcpy(public_key, next ? identity->next_public : identity->wg_public, NODE_WG_KEY_SIZE);
}

static void use(struct node_rekey *rekey, bool next)
{
    uint8_t private_key[NODE_WG_KEY_SIZE], public_key[NODE_WG_KEY_SIZE];
    struct ppn_instant now = os_now(rekey->node->loop);
    rekey->next = next;
    rekey->since = now;
    rekey->slack = ppn_ms(os_clock_wall().unix_ms % 1000);
    rekey->until = ppn_after(now, ppn_seconds(NODE_REKEY_TURN_S));
    node_rekey_keys(rekey, private_key, public_key);
    node_mesh_key(rekey->node->mesh, private_key);
    sodium_memzero(private_key, sizeof(private_key));
    ppn_log(PPN_LOG_INFO, "wireguard-key", "use=%s", next ? "new" : "old");
}

/* Somebody shook hands by the new key, or there is nobody. The device tells full seconds: one just
 * before the change could be taken for one after it, so the change is made when a second begins. */
static bool confirmed(const struct node_rekey *rekey)
{
    const struct node *node = rekey->node;
    struct ppn_duration used = ppn_between(rekey->since, os_now(node->loop));
    struct node_member member;
    uint32_t cursor = 0, others = 0;
    while (node_member_next(node, &cursor, &member)) {
        struct wg_peer_status status;
        if (ppn_node_id_equal(&member.id, &node->identity.id))
            continue;
        others++;
        if (node_mesh_status(node->mesh, &member.id, &status) == PPN_OK && status.has_handshake &&
            status.handshake_age.ns < used.ns + rekey->slack.ns + ppn_ms(ROUNDING_MS).ns)
            return true;
        if (used.ns > ppn_seconds(ALIVE_AFTER_S).ns && node_member_alive(node, &member.id))
            return true;
    }
    return others == 0;
}

static void work(void *context)
{
    struct job *job = context;
    job->error = job->settle ? node_identity_settle_next(job->directory, job->key, &job->failure)
                             : node_identity_write_next(job->directory, job->key, &job->failure);
}

static void free_job(struct job *job)
{
    sodium_memzero(job, sizeof(*job));
    free(job);
}

static enum ppn_error submit_job(struct node_rekey *rekey, bool settle,
                                 const uint8_t key[static NODE_WG_KEY_SIZE], os_work_done_fn *done)
{
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return PPN_ERROR_NO_MEMORY;
    job->rekey = rekey;
    job->settle = settle;
    (void)ppn_text_copy(job->directory, sizeof(job->directory), rekey->node->options.state_dir);
    memcpy(job->key, key, NODE_WG_KEY_SIZE);
    enum ppn_error error = os_worker_submit(rekey->node->worker, work, done, job);
    if (error != PPN_OK)
        free_job(job);
    rekey->working = error == PPN_OK;
    return error;
}

static void on_settled(void *context, bool cancelled)
{
    struct job *job = context;
    struct node_rekey *rekey = job->rekey;
    struct node *node = rekey->node;
    rekey->working = false;
    if (!cancelled && !node->stopping && job->error == PPN_OK) {
        node_identity_use_next(&node->identity);
        rekey->next = rekey->named = false;
        ppn_log(PPN_LOG_INFO, "wireguard-key", "use=new text=\"the old one is gone\"");
    } else if (!cancelled && !node->stopping) {
        ppn_log(PPN_LOG_ERROR, "wireguard-key", "cause=\"%s\"", job->failure.text);
        os_timer_after(&rekey->timer, ppn_seconds(NODE_REKEY_TURN_S));
    }
    free_job(job);
}

static void look(void *context)
{
    struct node_rekey *rekey = context;
    struct node *node = rekey->node;
    if (!node->identity.has_next || rekey->working)
        return;
    if (node->mesh == NULL || !named(rekey)) {
        if (node->mesh != NULL && rekey->next)
            use(rekey, false);
        if (named(rekey))
            os_timer_after(&rekey->timer, ppn_ms(LOOK_MS));
        return;
    }
    bool late = ppn_due(rekey->until, os_now(node->loop));
    if (rekey->next && confirmed(rekey)) {
        if (submit_job(rekey, true, node->identity.next_private, on_settled) == PPN_OK)
            return;
    } else if (late) {
        use(rekey, !rekey->next);
    }
    os_timer_after(&rekey->timer, ppn_ms(LOOK_MS));
}

void node_rekey_check(struct node_rekey *rekey)
{
    if (rekey == NULL || !rekey->node->identity.has_next)
        return;
    bool names = named(rekey);
    if (names && !rekey->named && !rekey->next) {
        struct ppn_duration wait =
            ppn_ms(NODE_REKEY_SWAP_MS + 1000 - os_clock_wall().unix_ms % 1000);
        rekey->until = ppn_after(os_now(rekey->node->loop), wait);
        os_timer_after(&rekey->timer, wait);
    } else if (!os_timer_armed(&rekey->timer)) {
        os_timer_after(&rekey->timer, ppn_ms(LOOK_MS));
    }
    rekey->named = names;
}

/* ---- a person asks ---- */

static void answer(struct node_rekey *rekey, const struct ppn_failure *failure)
{
    struct api_request *request = rekey->request;
    rekey->request = NULL;
    rekey->working = false;
    if (failure == NULL)
        node_rekey_check(rekey);
    if (request == NULL)
        return;
    if (failure != NULL)
        api_reply_failure(request, failure);
    else
        api_reply_done(request, "this node has a new WireGuard key; its sessions begin anew");
}

static void on_committed(void *context, const struct ppn_failure *failure)
{
    answer(context, failure);
}

static void submit(struct node_rekey *rekey)
{
    static struct admission_made made;
    struct node *node = rekey->node;
    struct admission_keypair pair;
    struct ppn_failure why = {0};
    memcpy(pair.key.bytes, node->identity.id.bytes, sizeof(pair.key.bytes));
    memcpy(pair.secret, node->identity.secret_key, sizeof(pair.secret));
    struct admission_signer signer = admission_keypair_signer(&pair);
    enum ppn_error error = admission_make_rekey(node_log_core(node->log), &signer, os_clock_wall(),
                                                node->identity.next_public, &made, &why);
    admission_keypair_wipe(&pair);
    if (error != PPN_OK)
        answer(rekey, &why);
    else
        node_log_submit(node->log, admission_made_slice(&made), on_committed, rekey);
}

static void on_written(void *context, bool cancelled)
{
    struct job *job = context;
    struct node_rekey *rekey = job->rekey;
    if (cancelled || rekey->node->stopping) {
        free_job(job);
        return;
    }
    struct ppn_failure failure = job->failure;
    enum ppn_error error = job->error;
    if (error == PPN_OK)
        node_identity_set_next(&rekey->node->identity, job->key);
    free_job(job);
    if (error == PPN_OK)
        submit(rekey);
    else
        answer(rekey, &failure);
}

static void on_gone(void *context, struct api_request *request)
{
    struct node_rekey *rekey = context;
    (void)request;
    rekey->request = NULL;
}

/* The entry reaches the others by the old key, so somebody must be there. */
static bool heard(const struct node *node)
{
    struct node_member member;
    uint32_t cursor = 0, others = 0, alive = 0;
    while (node_member_next(node, &cursor, &member)) {
        if (ppn_node_id_equal(&member.id, &node->identity.id))
            continue;
        others++;
        alive += node_member_alive(node, &member.id);
    }
    return others == 0 || alive > 0;
}

void node_serve_rekey(void *context, struct api_request *request)
{
    struct node *node = context;
    struct node_rekey *rekey = node->rekey;
    struct api_watch watch = {.context = rekey, .gone = on_gone};
    uint8_t private_key[NODE_WG_KEY_SIZE];
    struct wg_key public_key;
    if (node->phase != NODE_MEMBER || node->mesh == NULL) {
        api_reply_error(request, PPN_ERROR_CONFLICT, "this node is no member of a network now");
        return;
    }
    if (rekey->working || named(rekey)) {
        api_reply_error(request, PPN_ERROR_BUSY,
                        "a change of the key is under way; try again in a minute");
        return;
    }
    if (!heard(node)) {
        api_reply_error(request, PPN_ERROR_CONFLICT,
                        "no other member is alive to hear of the new key; try again when one is");
        return;
    }
    rekey->request = request;
    api_request_watch(request, &watch);
    rekey->working = true;
    if (node->identity.has_next) { /* of an attempt that was cut off */
        submit(rekey);
        return;
    }
    wg_key_pair(private_key, &public_key);
    enum ppn_error error = submit_job(rekey, false, private_key, on_written);
    sodium_memzero(private_key, sizeof(private_key));
    if (error != PPN_OK) {
        struct ppn_failure failure = {0};
        (void)ppn_fail(&failure, error, "the new key could not be written: %s",
                       ppn_error_text(error));
        answer(rekey, &failure);
    }
}

/* ---- life ---- */

enum ppn_error node_rekey_open(struct node *node, struct node_rekey **out,
                               struct ppn_failure *failure)
{
    struct node_rekey *rekey = calloc(1, sizeof(*rekey));
    if (rekey == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    rekey->node = node;
    os_timer_init(&rekey->timer, node->loop, look, rekey);
    rekey->next = rekey->named = named(rekey);
    rekey->since = os_now(node->loop);
    rekey->slack = ppn_ms(os_clock_wall().unix_ms % 1000);
    rekey->until = ppn_after(rekey->since, ppn_seconds(NODE_REKEY_TURN_S));
    if (rekey->next)
        os_timer_after(&rekey->timer, ppn_ms(LOOK_MS));
    *out = rekey;
    return PPN_OK;
}

void node_rekey_close(struct node_rekey *rekey)
{
    if (rekey == NULL)
        return;
    os_timer_stop(&rekey->timer);
    free(rekey);
}
