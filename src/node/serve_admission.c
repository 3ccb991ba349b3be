// SPDX-License-Identifier: ISC
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "admission/author.h"
#include "admission/checkpoint.h"
#include "admission/token.h"
#include "api/api_request.h"
#include "node/joins.h"
#include "node/log.h"
#include "node/serve_internal.h"
#include "node/views.h"
#include "os/os_address.h"
#include "os/os_clock.h"

/* An entry under way, for the person who asked for it. */
struct deciding {
    struct node *node;
    struct api_request *request; /* NULL: went away; the entry stands all the same */
    struct ppn_node_id id;       /* of the machine, or the key of the invite */
    char name[PPN_NAME_MAX + 1];
    bool invite;
    uint32_t uses;
    int64_t expires_unix_ms;
    char token[ADMISSION_TOKEN_TEXT_MAX];
};

static void on_gone(void *context, struct api_request *request)
{
    struct deciding *deciding = context;
    (void)request;
    deciding->request = NULL;
}

static void on_done(void *context, const struct ppn_failure *failure)
{
    struct deciding *deciding = context;
    struct api_request *request = deciding->request;
    if (request != NULL && failure != NULL) {
        api_reply_failure(request, failure);
    } else if (request != NULL && deciding->invite) {
        char id[PPN_FINGERPRINT_TEXT];
        struct api_invite_view view = {id, deciding->token, deciding->uses,
                                       deciding->expires_unix_ms};
        ppn_fingerprint(&deciding->id, id);
        api_reply_invite(request, &view);
    } else if (request != NULL) {
        api_reply_node(request, &deciding->id, deciding->name);
    }
    sodium_memzero(deciding, sizeof(*deciding));
    free(deciding);
}

/* False after it answered: only the machine with the admin key decides, and only for a person who
 * sits at it. */
static bool may_decide(struct node *node, struct api_request *request)
{
    if (!node->identity.has_admin) {
        api_reply_error(request, PPN_ERROR_UNAUTHORIZED,
                        "this node holds no admin key; run the command on the node that founded "
                        "the network");
        return false;
    }
    if (!api_request_asker(request).local) {
        api_reply_error(request, PPN_ERROR_UNAUTHORIZED,
                        "only a person on this machine may use its admin key");
        return false;
    }
    return true;
}

static struct admission_signer admin_signer(struct node *node, struct admission_keypair *pair)
{
    memcpy(pair->key.bytes, node->identity.admin_id.bytes, sizeof(pair->key.bytes));
    memcpy(pair->secret, node->identity.admin_secret, sizeof(pair->secret));
    return admission_keypair_signer(pair);
}

static struct deciding *new_deciding(struct node *node, struct api_request *request,
                                     const struct ppn_node_id *id, const char *name)
{
    struct deciding *deciding = calloc(1, sizeof(*deciding));
    struct api_watch watch = {.context = deciding, .gone = on_gone};
    if (deciding == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return NULL;
    }
    deciding->node = node;
    deciding->request = request;
    if (id != NULL)
        deciding->id = *id;
    (void)ppn_text_copy(deciding->name, sizeof(deciding->name), name);
    api_request_watch(request, &watch);
    return deciding;
}

void node_serve_joins(void *context, struct api_request *request)
{
    static struct node_view_buffer buffer;
    struct node *node = context;
    uint32_t count = node_joins_count(node->joins);
    api_list_begin(request, API_LIST_JOINS);
    for (uint32_t i = 0; i < count; i++) {
        struct api_join_view view;
        node_view_join(node, node_joins_at(node->joins, i), &buffer, &view);
        api_list_add_join(request, &view);
    }
    api_list_end(request);
}

static bool matches(const struct node_join *join, const struct api_who *who)
{
    char fingerprint[PPN_FINGERPRINT_TEXT];
    switch (who->kind) {
    case API_WHO_NAME:
        return strcmp(join->request.name, who->text) == 0;
    case API_WHO_FINGERPRINT:
        ppn_fingerprint(&join->request.node, fingerprint);
        return strcmp(fingerprint, who->text) == 0;
    case API_WHO_ID:
        return ppn_node_id_equal(&join->request.node, &who->id);
    }
    return false;
}

/* NULL after it answered. */
static const struct node_join *find_join(struct node *node, struct api_request *request,
                                         const struct api_who *who)
{
    const struct node_join *found = NULL;
    uint32_t count = node_joins_count(node->joins);
    for (uint32_t i = 0; i < count; i++) {
        const struct node_join *join = node_joins_at(node->joins, i);
        if (!matches(join, who))
            continue;
        if (found != NULL) {
            api_reply_error(request, PPN_ERROR_CONFLICT,
                            "several machines ask as %s; name one by its fingerprint: ppn joins",
                            who->text);
            return NULL;
        }
        found = join;
    }
    if (found == NULL)
        api_reply_error(request, PPN_ERROR_NOT_FOUND, "nobody asks to join as %s; see ppn joins",
                        who->text);
    return found;
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct ppn_label *)a)->key, ((const struct ppn_label *)b)->key);
}

static void take_labels(struct admission_labels *to, const struct ppn_label *labels, uint32_t count)
{
    to->count = count;
    memcpy(to->items, labels, count * sizeof(*labels));
    qsort(to->items, count, sizeof(to->items[0]), compare_labels);
}

void node_serve_join_admit(void *context, struct api_request *request,
                           const struct api_admit *asked)
{
    static struct admission_made made;
    struct node *node = context;
    struct ppn_failure why = {0};
    struct admission_keypair pair;
    if (!may_decide(node, request))
        return;
    const struct node_join *join = find_join(node, request, &asked->who);
    if (join == NULL)
        return;
    struct admission_admit admit = {.node = join->request.node,
                                    .lease_ms = (uint64_t)asked->lease_seconds * 1000,
                                    .roles = asked->relay ? ADMISSION_ROLE_RELAY : 0};
    memcpy(admit.wg_key, join->request.wg_key, sizeof(admit.wg_key));
    (void)ppn_text_copy(admit.name, sizeof(admit.name), join->request.name);
    take_labels(&admit.labels, asked->labels, asked->label_count);
    struct admission_signer signer = admin_signer(node, &pair);
    enum ppn_error error = admission_make_admit(node_log_core(node->log), &signer, os_clock_wall(),
                                                &admit, &made, &why);
    admission_keypair_wipe(&pair);
    struct deciding *deciding =
        error == PPN_OK ? new_deciding(node, request, &admit.node, admit.name) : NULL;
    if (error != PPN_OK)
        api_reply_failure(request, &why);
    else if (deciding != NULL)
        node_log_submit(node->log, admission_made_slice(&made), on_done, deciding);
}

void node_serve_join_deny(void *context, struct api_request *request, const struct api_who *who)
{
    static struct admission_made made;
    struct node *node = context;
    struct ppn_failure why = {0};
    struct admission_keypair pair;
    if (!may_decide(node, request))
        return;
    const struct node_join *join = find_join(node, request, who);
    if (join == NULL)
        return;
    struct ppn_node_id id = join->request.node;
    char name[PPN_NAME_MAX + 1];
    (void)ppn_text_copy(name, sizeof(name), join->request.name);
    struct admission_signer signer = admin_signer(node, &pair);
    enum ppn_error error = admission_make_deny(node_log_core(node->log), &signer, os_clock_wall(),
                                               &id, "", &made, &why);
    admission_keypair_wipe(&pair);
    struct deciding *deciding = error == PPN_OK ? new_deciding(node, request, &id, name) : NULL;
    if (error != PPN_OK)
        api_reply_failure(request, &why);
    else if (deciding != NULL)
        node_log_submit(node->log, admission_made_slice(&made), on_done, deciding);
}

void node_serve_node_revoke(void *context, struct api_request *request,
                            const struct api_revoke *revoke)
{
    static struct admission_made made;
    struct node *node = context;
    struct node_member member;
    struct ppn_failure why = {0};
    struct admission_keypair pair;
    if (!may_decide(node, request) || !node_serve_member(node, request, &revoke->who, &member))
        return;
    struct admission_key subject = admission_node_key(&member.id);
    struct admission_signer signer = admin_signer(node, &pair);
    enum ppn_error error = admission_make_revoke(node_log_core(node->log), &signer, os_clock_wall(),
                                                 &subject, revoke->reason, &made, &why);
    admission_keypair_wipe(&pair);
    struct deciding *deciding =
        error == PPN_OK ? new_deciding(node, request, &member.id, member.name) : NULL;
    if (error != PPN_OK)
        api_reply_failure(request, &why);
    else if (deciding != NULL)
        node_log_submit(node->log, admission_made_slice(&made), on_done, deciding);
}

/* Public addresses first; a token carries a few. */
static void token_endpoints(const struct node *node, struct admission_token *token)
{
    const struct ppn_profile *profile = node_self_profile(node);
    for (uint32_t i = 0;
         i < profile->candidate_count && token->endpoint_count < ADMISSION_TOKEN_ENDPOINTS_MAX; i++)
        token->endpoints[token->endpoint_count++] = profile->candidates[i].endpoint;
}

void node_serve_invite(void *context, struct api_request *request, const struct api_invite *asked)
{
    static struct admission_made made;
    struct node *node = context;
    struct ppn_failure why = {0};
    struct admission_keypair pair, once;
    struct admission_token token = {.network = node->network};
    if (!may_decide(node, request))
        return;
    struct deciding *deciding = new_deciding(node, request, NULL, "");
    if (deciding == NULL)
        return;
    randombytes_buf(token.seed, sizeof(token.seed));
    admission_keypair_from_seed(token.seed, &once);
    token_endpoints(node, &token);
    struct admission_invite invite = {
        .key = once.key,
        .uses = asked->uses,
        .expires_unix_ms = os_clock_wall().unix_ms + (int64_t)asked->ttl_seconds * 1000,
        .roles = asked->relay ? ADMISSION_ROLE_RELAY : 0,
        .lease_ms = (uint64_t)asked->lease_seconds * 1000,
    };
    take_labels(&invite.labels, asked->labels, asked->label_count);
    admission_keypair_wipe(&once);
    struct admission_signer signer = admin_signer(node, &pair);
    enum ppn_error error = admission_make_invite(node_log_core(node->log), &signer, os_clock_wall(),
                                                 &invite, &made, &why);
    admission_keypair_wipe(&pair);
    if (error == PPN_OK)
        error = admission_token_text(&token, deciding->token);
    if (error != PPN_OK && why.code == PPN_OK)
        (void)ppn_fail(
            &why, error,
            "this node has no address that a joiner could try; start it with --advertise");
    sodium_memzero(token.seed, sizeof(token.seed));
    if (error != PPN_OK) {
        free(deciding);
        api_reply_failure(request, &why);
        return;
    }
    deciding->invite = true;
    deciding->id = admission_key_node(&invite.key);
    deciding->uses = asked->uses;
    deciding->expires_unix_ms = invite.expires_unix_ms;
    node_log_submit(node->log, admission_made_slice(&made), on_done, deciding);
}

/* ---- the log ---- */

/* Everything once more from the stored bytes: a fresh log that takes each entry must come to the
 * same members. */
static void verify(const struct node *node, struct api_log_verdict *verdict)
{
    const struct admission *log = node_log_core(node->log);
    struct admission_config config = {.network = node->network, .seed = node->boot};
    struct admission_update update = {0};
    struct admission *fresh = admission_new(&config);
    struct ppn_failure why = {0};
    verdict->entries = admission_entry_count(log);
    verdict->valid = fresh != NULL;
    verdict->text = "every signature and every link was checked; the members follow from the log";
    for (uint32_t i = 0; verdict->valid && i < admission_transfer_count(log); i++) {
        uint8_t buffer[ADMISSION_RECORD_MAX];
        enum admission_verdict taken = admission_offer(
            fresh, os_clock_wall(), 0, admission_transfer_at(log, i, buffer), &update, &why);
        verdict->valid = taken == ADMISSION_ACCEPTED || taken == ADMISSION_STAGED;
        admission_update_reset(&update);
    }
    if (verdict->valid) {
        struct ppn_hash a = admission_members_digest(log), b = admission_members_digest(fresh);
        verdict->valid = ppn_hash_equal(&a, &b);
    }
    if (!verdict->valid)
        verdict->text = "an entry does not verify: this node's log must not be trusted";
    admission_update_free(&update);
    admission_free(fresh);
}

void node_serve_log(void *context, struct api_request *request, const struct api_log_query *query)
{
    static struct node_view_buffer buffer;
    struct node *node = context;
    struct api_log_verdict verdict;
    uint32_t count = admission_entry_count(node_log_core(node->log));
    api_list_begin(request, API_LIST_LOG);
    for (uint32_t i = 0; i < count; i++) {
        struct api_log_entry_view view;
        node_view_entry(node, i, &buffer, &view);
        api_list_add_entry(request, &view);
    }
    if (query->verify) {
        verify(node, &verdict);
        api_list_set_verdict(request, &verdict);
    }
    api_list_end(request);
}

/* Each envelope or record behind its length, 4 bytes big-endian. A checkpoint that comes into force
 * meanwhile leaves the reader with a part that does not verify: it asks again. */
struct exporting {
    struct node *node;
    uint32_t next;
};

static void export_on(void *context, struct api_request *request)
{
    struct exporting *exporting = context;
    const struct admission *log = node_log_core(exporting->node->log);
    while (exporting->next < admission_transfer_count(log)) {
        uint8_t buffer[ADMISSION_RECORD_MAX], bytes[4 + ADMISSION_RECORD_MAX];
        struct ppn_slice envelope = admission_transfer_at(log, exporting->next, buffer);
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        ppn_write_u32(&writer, (uint32_t)envelope.size);
        ppn_write(&writer, envelope);
        if (api_stream_bytes(request, ppn_written(&writer)) != PPN_OK)
            return;
        exporting->next++;
    }
    free(exporting);
    api_stream_end(request);
}

static void export_gone(void *context, struct api_request *request)
{
    (void)request;
    free(context);
}

void node_serve_log_export(void *context, struct api_request *request)
{
    struct exporting *exporting = calloc(1, sizeof(*exporting));
    struct api_watch watch = {.context = exporting, .writable = export_on, .gone = export_gone};
    if (exporting == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    exporting->node = context;
    api_request_watch(request, &watch);
    api_stream_begin(request, API_STREAM_BYTES);
    export_on(exporting, request);
}

/* Whether the log has another entry of this author with this number. Taken, the two would prove
 * that the author contradicts itself, and put it out; but a person who signs here from a copy of
 * the log a second old, or holds one key on two machines, is no traitor. */
static bool overtaken(const struct admission *log, struct ppn_slice envelope)
{
    struct admission_envelope parts;
    struct admission_entry entry;
    if (admission_envelope_decode(envelope, &parts) != PPN_OK ||
        admission_body_decode(parts.body, &entry) != PPN_OK)
        return false;
    struct ppn_hash id = admission_body_id(admission_crypto_sodium(), parts.body);
    for (uint32_t i = admission_entry_count(log); i-- > 0;) {
        struct admission_record record = admission_record_at(log, i);
        if (record.seq == entry.seq && admission_key_equal(&record.author, &entry.author))
            return !ppn_hash_equal(&record.id, &id);
    }
    return false;
}

void node_serve_log_submit(void *context, struct api_request *request,
                           const struct api_entries *entries)
{
    struct node *node = context;
    struct ppn_slice left = entries->bytes;
    uint32_t count = 0;
    while (left.size >= 4) {
        uint32_t size = ppn_read_u32(left.data);
        if (size > left.size - 4 || size > ADMISSION_ENVELOPE_MAX)
            break;
        struct deciding *deciding = NULL;
        bool last = left.size - 4 == size;
        if (last && count == 0 &&
            overtaken(node_log_core(node->log), ppn_slice(left.data + 4, size))) {
            api_reply_error(
                request, PPN_ERROR_CONFLICT,
                "another entry was signed with this key meanwhile; run the command again");
            return;
        }
        if (last) {
            deciding = new_deciding(node, request, &node->identity.id, node->name);
            if (deciding == NULL)
                return;
        }
        node_log_submit(node->log, ppn_slice(left.data + 4, size), last ? on_done : NULL, deciding);
        left = ppn_slice(left.data + 4 + size, left.size - 4 - size);
        count++;
        if (last)
            return;
    }
    api_reply_error(request, PPN_ERROR_INVALID,
                    "entry %u is cut short or malformed; send what ppn log --export wrote",
                    count + 1);
}
