// SPDX-License-Identifier: ISC
#include "node/join_server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admission/request.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "node/gossip.h"
#include "node/joins.h"
#include "node/log.h"
#include "node/mesh.h"
#include "node/node.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "os/os_stream.h"
#include "wire/channel.h"
#include "wire/join.h"
#include "wire/log.h"

enum session_state {
    SESSION_HANDSHAKE,
    SESSION_REQUEST,   /* the key is proven, the request is due */
    SESSION_REDEEMING, /* an invite's admission is being written */
    SESSION_PENDING,
    SESSION_SENDING, /* the log, then hints */
    SESSION_OVER
};

enum {
    SOURCES = 256, /* buckets of the per-source limit; sources that share one share the limit */
    COOKIE_LIFE_S = 60
};

struct session {
    struct node_join_server *server;
    struct os_stream *stream; /* NULL: the slot is free */
    struct ppn_endpoint from;
    struct wire_channel channel;
    enum session_state state;
    struct ppn_node_id peer;
    struct ppn_instant deadline;
    struct ppn_instant keepalive_at, told_at;
    uint32_t next_entry;
    uint64_t generation;
    struct admission_request request;
    size_t request_size;
    uint8_t request_bytes[ADMISSION_REQUEST_MAX];
    uint8_t buffer[WIRE_CHANNEL_SERVER_BUFFER];
};

struct node_join_server {
    struct node *node;
    struct os_listener *listener;
    struct os_timer timer;
    uint32_t session_count;
    uint64_t generation;
    struct ppn_instant cookie_until, minute_until;
    uint8_t cookie_secrets[2][32];
    struct ppn_hash_key source_key;
    uint16_t handshakes[SOURCES];
    struct session *sessions[NODE_JOIN_SESSIONS_MAX];
    uint8_t message[WIRE_JOIN_MESSAGE_MAX];
    uint8_t record[WIRE_CHANNEL_RECORD_MAX];
};

static void end_session(struct session *session, bool flush)
{
    struct node_join_server *server = session->server;
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++) {
        if (server->sessions[i] == session)
            server->sessions[i] = NULL;
    }
    if (session->stream != NULL) {
        if (flush)
            os_stream_close_after_write(session->stream);
        else
            os_stream_close(session->stream);
    }
    wire_channel_wipe(&session->channel);
    free(session);
    server->session_count--;
    os_listener_release(server->listener);
}

static bool send_message(struct session *session, const struct wire_join_message *message)
{
    struct node_join_server *server = session->server;
    struct ppn_writer encoded = ppn_writer(server->message, sizeof(server->message));
    struct ppn_writer record = ppn_writer(server->record, sizeof(server->record));
    bool final = message->kind == WIRE_JOIN_DONE;
    return wire_join_encode(message, &encoded) == PPN_OK &&
           wire_channel_send(&session->channel, ppn_written(&encoded), final, &record) == PPN_OK &&
           os_stream_write(session->stream, ppn_written(&record)) == PPN_OK;
}

static bool send_status(struct session *session, enum wire_join_state state, enum ppn_error error,
                        const char *reason)
{
    struct wire_join_message message = {.kind = WIRE_JOIN_STATUS};
    message.status.state = state;
    message.status.error = error;
    message.status.reason = ppn_slice(reason, strnlen(reason, WIRE_JOIN_REASON_MAX));
    (void)ppn_text_copy(message.status.network_name, sizeof(message.status.network_name),
                        session->server->node->network_name);
    return send_message(session, &message);
}

/* Tells why not and ends the session. */
static void deny(struct session *session, enum ppn_error error, const char *reason)
{
    struct wire_join_message done = {.kind = WIRE_JOIN_DONE};
    bool told =
        send_status(session, WIRE_JOIN_DENIED, error, reason) && send_message(session, &done);
    end_session(session, told);
}

static uint32_t add_endpoint(struct wire_join_hint *hint, const struct ppn_endpoint *endpoint)
{
    if (hint->endpoint_count < PPN_ENDPOINTS_MAX)
        hint->endpoints[hint->endpoint_count++] = *endpoint;
    return hint->endpoint_count;
}

static bool send_hints(struct session *session)
{
    static struct wire_join_hint hints[WIRE_JOIN_HINTS_MAX];
    static uint8_t bytes[WIRE_JOIN_HINTS_BYTES_MAX];
    struct node *node = session->server->node;
    struct node_member member;
    uint32_t cursor = 0, count = 0;
    while (count < WIRE_JOIN_HINTS_MAX && node_member_next(node, &cursor, &member)) {
        struct wire_join_hint *hint = &hints[count];
        struct gossip_member seen;
        struct ppn_profile profile;
        struct wg_peer_status status;
        *hint = (struct wire_join_hint){.node = member.id};
        if (ppn_node_id_equal(&member.id, &session->peer))
            continue;
        if (node_mesh_status(node->mesh, &member.id, &status) == PPN_OK && status.has_endpoint)
            (void)add_endpoint(hint, &status.endpoint);
        if (node_gossip_member(node, &member.id, &seen) == PPN_OK &&
            node_member_profile(&seen, &profile)) {
            for (uint32_t i = 0; i < profile.candidate_count; i++)
                (void)add_endpoint(hint, &profile.candidates[i].endpoint);
        }
        count += hint->endpoint_count > 0;
    }
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_join_message message = {.kind = WIRE_JOIN_PEER_HINTS};
    if (wire_join_hints_encode(hints, count, &writer) != PPN_OK)
        return false;
    message.hints = ppn_written(&writer);
    return count == 0 || send_message(session, &message);
}

/* Sends as much of the log as the connection takes; goes on when it drained. */
static void send_log(struct session *session)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX];
    const struct admission *log = node_log_core(session->server->node->log);
    uint32_t count = admission_entry_count(log);
    struct wire_join_message done = {.kind = WIRE_JOIN_DONE};
    bool sent = true;
    while (sent && session->next_entry < count && !os_stream_congested(session->stream)) {
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        struct wire_log_batch batch;
        struct wire_join_message message = {.kind = WIRE_JOIN_LOG_BATCH};
        wire_log_batch_start(&batch, &writer);
        while (session->next_entry < count &&
               wire_log_batch_add(&batch, admission_record_at(log, session->next_entry).envelope,
                                  ppn_slice(NULL, 0)))
            session->next_entry++;
        sent = wire_log_batch_finish(&batch, session->next_entry < count) == PPN_OK;
        message.batch = ppn_written(&writer);
        sent = sent && send_message(session, &message);
    }
    if (sent && session->next_entry < count)
        return;
    sent = sent && send_hints(session) && send_message(session, &done);
    end_session(session, sent);
}

static void admit(struct session *session)
{
    session->state = SESSION_SENDING;
    session->deadline = ppn_after(os_now(session->server->node->loop), ppn_seconds(60));
    if (send_status(session, WIRE_JOIN_ADMITTED, PPN_OK, ""))
        send_log(session);
    else
        end_session(session, false);
}

static void tell_members(struct session *session)
{
    struct node_join_server *server = session->server;
    struct ppn_instant now = os_now(server->node->loop);
    session->told_at = ppn_after(now, ppn_seconds(NODE_JOIN_REPEAT_S));
    node_joins_knock(server->node->joins, &session->request,
                     ppn_slice(session->request_bytes, session->request_size), &session->from);
}

/* It may outlive the server that asked for it: the log answers after a revocation or at the end. */
struct redemption {
    struct node *node;
    uint64_t generation;
};

static void decide(struct session *session);

static void on_redeemed(void *context, const struct ppn_failure *failure)
{
    struct redemption *redemption = context;
    struct node_join_server *server = redemption->node->join_server;
    for (uint32_t i = 0; server != NULL && i < NODE_JOIN_SESSIONS_MAX; i++) {
        struct session *session = server->sessions[i];
        if (session == NULL || session->generation != redemption->generation ||
            session->state != SESSION_REDEEMING)
            continue;
        if (failure != NULL)
            deny(session, failure->code, failure->text);
        else
            decide(session);
        break;
    }
    free(redemption);
}

static void redeem(struct session *session)
{
    static struct admission_made made;
    struct node *node = session->server->node;
    struct ppn_failure why = {0};
    struct admission_keypair pair;
    struct redemption *redemption = calloc(1, sizeof(*redemption));
    if (redemption == NULL) {
        end_session(session, false);
        return;
    }
    memcpy(pair.key.bytes, node->identity.id.bytes, sizeof(pair.key.bytes));
    memcpy(pair.secret, node->identity.secret_key, sizeof(pair.secret));
    struct admission_signer signer = admission_keypair_signer(&pair);
    enum ppn_error error = admission_make_redeem(node_log_core(node->log), &signer, os_clock_wall(),
                                                 &session->request, &made, &why);
    admission_keypair_wipe(&pair);
    if (error != PPN_OK) {
        free(redemption);
        deny(session, error, why.text);
        return;
    }
    session->state = SESSION_REDEEMING;
    *redemption = (struct redemption){node, session->generation};
    node_log_submit(node->log, admission_made_slice(&made), on_redeemed, redemption);
}

/* What the log says of this machine now. */
static void decide(struct session *session)
{
    const struct admission *log = node_log_core(session->server->node->log);
    bool waiting = session->state == SESSION_PENDING;
    switch (admission_standing(log, &session->peer)) {
    case ADMISSION_MEMBER:
        admit(session);
        return;
    case ADMISSION_REVOKED:
        deny(session, PPN_ERROR_REFUSED,
             "this machine's identity was revoked; to come back it needs a new one: remove its "
             "state directory and join again");
        return;
    case ADMISSION_DENIED:
        deny(session, PPN_ERROR_REFUSED, "an admin denied this machine");
        return;
    case ADMISSION_VOID:
    case ADMISSION_STRANGER:
    case ADMISSION_EXPIRED:
        break;
    }
    if (session->request.has_invite && session->state == SESSION_REQUEST) {
        redeem(session);
        return;
    }
    if (session->request.has_invite && session->state == SESSION_REDEEMING) {
        deny(session, PPN_ERROR_REFUSED,
             "the invite does not admit this machine: it was used up or closed elsewhere");
        return;
    }
    session->state = SESSION_PENDING;
    if (waiting)
        return;
    tell_members(session);
    if (!send_status(session, WIRE_JOIN_PENDING, PPN_OK, ""))
        end_session(session, false);
}

static void take_request(struct session *session, const struct wire_join_message *message)
{
    struct node *node = session->server->node;
    struct ppn_slice bytes = message->request.request;
    if (bytes.size > sizeof(session->request_bytes) ||
        admission_request_decode(admission_crypto_sodium(), bytes, &session->request) != PPN_OK ||
        !ppn_node_id_equal(&session->request.node, &session->peer)) {
        deny(session, PPN_ERROR_INVALID, "the join request is malformed");
        return;
    }
    if (!ppn_hash_equal(&session->request.network, &node->network)) {
        deny(session, PPN_ERROR_CONFLICT, "this machine asks for another network");
        return;
    }
    memcpy(session->request_bytes, bytes.data, bytes.size);
    session->request_size = bytes.size;
    session->deadline = PPN_NEVER;
    decide(session);
}

/* False when the session is gone. */
static bool take_message(struct session *session, struct ppn_slice bytes)
{
    struct wire_join_message message;
    struct ppn_instant now = os_now(session->server->node->loop);
    uint64_t generation = session->generation;
    struct node_join_server *server = session->server;
    if (wire_join_decode(bytes, &message) != PPN_OK) {
        end_session(session, false);
        return false;
    }
    session->keepalive_at = ppn_after(now, ppn_ms(3 * (int64_t)WIRE_JOIN_KEEPALIVE_MS));
    if (message.kind == WIRE_JOIN_REQUEST && session->state == SESSION_REQUEST) {
        take_request(session, &message);
    } else if (message.kind == WIRE_JOIN_KEEPALIVE && session->state == SESSION_PENDING) {
        struct wire_join_message answer = {.kind = WIRE_JOIN_KEEPALIVE};
        if (!send_message(session, &answer))
            end_session(session, false);
    } else if (message.kind == WIRE_JOIN_DONE || message.kind == WIRE_JOIN_REQUEST) {
        end_session(session, false);
    }
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++) {
        if (server->sessions[i] != NULL && server->sessions[i]->generation == generation)
            return true;
    }
    return false;
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct session *session = context;
    size_t all = bytes.size;
    while (bytes.size > 0) {
        uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
        struct ppn_writer out = ppn_writer(handshake, sizeof(handshake));
        struct wire_channel_event event;
        enum ppn_error error = wire_channel_receive(&session->channel, &bytes, &out, &event);
        if (out.size > 0 && os_stream_write(session->stream, ppn_written(&out)) != PPN_OK)
            error = PPN_ERROR_FULL;
        if (error != PPN_OK) {
            ppn_log(PPN_LOG_DEBUG, "join-channel", "cause=\"%s\"", ppn_error_text(error));
            end_session(session, true);
            return all;
        }
        if (event.kind == WIRE_CHANNEL_READY) {
            session->peer = event.peer;
            session->state = SESSION_REQUEST;
        } else if (event.kind == WIRE_CHANNEL_ENDED) {
            end_session(session, true);
            return all;
        } else if (event.kind == WIRE_CHANNEL_MESSAGE && !take_message(session, event.message)) {
            return all;
        }
    }
    return all;
}

static void on_drain(void *context)
{
    struct session *session = context;
    if (session->state == SESSION_SENDING)
        send_log(session);
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct session *session = context;
    (void)reason;
    (void)text;
    session->stream = NULL;
    end_session(session, false);
}

static const struct os_stream_handler stream_handler = {
    .on_read = on_read, .on_drain = on_drain, .on_close = on_close};

static bool source_allowed(struct node_join_server *server, const struct ppn_endpoint *from)
{
    uint32_t same = 0;
    uint64_t hash = ppn_hash64(server->source_key, ppn_slice(from->address, sizeof(from->address)));
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++)
        same += server->sessions[i] != NULL &&
                memcmp(server->sessions[i]->from.address, from->address, 16) == 0;
    if (same >= NODE_JOIN_SESSIONS_PER_SOURCE ||
        server->handshakes[hash % SOURCES] >= NODE_JOIN_HANDSHAKES_PER_MIN)
        return false;
    server->handshakes[hash % SOURCES]++;
    return true;
}

static uint32_t unproven(const struct node_join_server *server)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++)
        count += server->sessions[i] != NULL && server->sessions[i]->state == SESSION_HANDSHAKE;
    return count;
}

static enum ppn_error start_channel(struct session *session)
{
    struct node_join_server *server = session->server;
    struct ppn_writer nothing = ppn_writer(NULL, 0);
    uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
    nothing = ppn_writer(handshake, sizeof(handshake));
    struct wire_channel_config config = {
        .role = WIRE_CHANNEL_SERVER,
        .self = server->node->identity.id,
        .secret_key = server->node->identity.secret_key,
        .network = server->node->network,
        .cookie_required = unproven(server) > NODE_JOIN_SESSIONS_EASY,
        .buffer = session->buffer,
        .buffer_size = sizeof(session->buffer),
    };
    os_random_bytes(config.randomness, sizeof(config.randomness));
    memcpy(config.cookie_secrets, server->cookie_secrets, sizeof(config.cookie_secrets));
    memcpy(config.source, session->from.address, sizeof(config.source));
    return wire_channel_init(&session->channel, &config, &nothing);
}

/* Says "busy" where the socket takes it at once: nothing is kept or waited for here. */
static void turn_away(struct node_join_server *server, int fd)
{
    uint8_t bytes[WIRE_CHANNEL_HANDSHAKE_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    wire_channel_busy(&writer);
    if (write(fd, writer.data, writer.size) < 0)
        ppn_log(PPN_LOG_DEBUG, "join-busy-unsent", "sessions=%u", server->session_count);
    (void)close(fd);
    os_listener_release(server->listener);
}

static void on_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct node_join_server *server = context;
    struct ppn_failure failure = {0};
    uint32_t slot = 0;
    while (slot < NODE_JOIN_SESSIONS_MAX && server->sessions[slot] != NULL)
        slot++;
    struct session *session = slot < NODE_JOIN_SESSIONS_MAX && source_allowed(server, from)
                                  ? calloc(1, sizeof(*session))
                                  : NULL;
    if (session == NULL) {
        turn_away(server, fd);
        return;
    }
    *session = (struct session){.server = server, .from = *from};
    struct ppn_instant now = os_now(server->node->loop);
    session->generation = ++server->generation;
    session->deadline = ppn_after(now, ppn_seconds(NODE_JOIN_HANDSHAKE_S));
    session->keepalive_at = ppn_after(now, ppn_ms(3 * (int64_t)WIRE_JOIN_KEEPALIVE_MS));
    session->told_at = PPN_NEVER;
    struct os_stream_config config = {.handler = &stream_handler, .context = session};
    server->sessions[slot] = session;
    server->session_count++;
    if (os_stream_adopt(server->node->loop, fd, &config, &session->stream, &failure) != PPN_OK) {
        session->stream = NULL;
        end_session(session, false);
    } else if (start_channel(session) != PPN_OK) {
        end_session(session, false);
    }
}

static void rotate_secrets(struct node_join_server *server, struct ppn_instant now)
{
    if (ppn_due(server->minute_until, now)) {
        memset(server->handshakes, 0, sizeof(server->handshakes));
        server->minute_until = ppn_after(now, ppn_seconds(60));
    }
    if (!ppn_due(server->cookie_until, now))
        return;
    memcpy(server->cookie_secrets[1], server->cookie_secrets[0], 32);
    os_random_bytes(server->cookie_secrets[0], 32);
    server->cookie_until = ppn_after(now, ppn_seconds(COOKIE_LIFE_S));
}

static void on_timer(void *context)
{
    struct node_join_server *server = context;
    struct ppn_instant now = os_now(server->node->loop);
    rotate_secrets(server, now);
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++) {
        struct session *session = server->sessions[i];
        if (session == NULL)
            continue;
        if (ppn_due(session->deadline, now) || ppn_due(session->keepalive_at, now))
            end_session(session, false);
        else if (session->state == SESSION_PENDING && ppn_due(session->told_at, now))
            tell_members(session);
    }
    os_timer_after(&server->timer, ppn_seconds(server->session_count > 0 ? 2 : 10));
}

void node_join_server_members(struct node_join_server *server)
{
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++) {
        if (server->sessions[i] != NULL && server->sessions[i]->state == SESSION_PENDING)
            decide(server->sessions[i]);
    }
}

enum ppn_error node_join_server_open(struct node *node, struct node_join_server **out,
                                     struct ppn_failure *failure)
{
    struct node_join_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct os_listener_config config = {
        .bind.port = node->options.listen.port,
        .connections_max = NODE_JOIN_SESSIONS_MAX + 1, /* the last one is told that it is busy */
        .on_accept = on_accept,
        .context = server,
    };
    enum ppn_error error = PPN_OK;
    server->node = node;
    os_random_bytes(server->cookie_secrets, sizeof(server->cookie_secrets));
    os_random_bytes(&server->source_key, sizeof(server->source_key));
    if (node->options.listen.host[0] != '\0')
        error =
            os_endpoint_parse(node->options.listen.host, node->options.listen.port, &config.bind);
    if (error != PPN_OK)
        (void)ppn_fail(failure, error, "listen: '%s' is no numeric address",
                       node->options.listen.host);
    else
        error = os_listener_open(node->loop, &config, &server->listener, failure);
    if (error != PPN_OK) {
        free(server);
        return error;
    }
    os_timer_init(&server->timer, node->loop, on_timer, server);
    on_timer(server);
    *out = server;
    return PPN_OK;
}

void node_join_server_close(struct node_join_server *server)
{
    if (server == NULL)
        return;
    os_timer_stop(&server->timer);
    for (uint32_t i = 0; i < NODE_JOIN_SESSIONS_MAX; i++) {
        if (server->sessions[i] != NULL)
            end_session(server->sessions[i], false);
    }
    os_listener_close(server->listener);
    server->node->join_server = NULL;
    free(server);
}
