// SPDX-License-Identifier: ISC
#include "node/join_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admission/checkpoint.h"
#include "admission/door.h"
#include "admission/request.h"
#include "base/assert.h"
#include "base/log.h"
#include "node/admin_pipe.h"
#include "node/join_hints.h"
#include "node/joins.h"
#include "node/log.h"
#include "node/node.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_random.h"
#include "os/os_stream.h"
#include "wire/channel.h"
#include "wire/join.h"
#include "wire/log.h"

enum { COOKIE_LIFE_S = 60 };

_Static_assert(DOOR_SILENCE_S * 1000 == 3 * WIRE_JOIN_KEEPALIVE_MS, "as both ends promise");
_Static_assert((int)DOOR_REPEAT_S == (int)NODE_JOIN_REPEAT_S, "a waiting row never expires");

struct session {
    struct node_join_server *server;
    struct os_stream *stream;
    struct ppn_endpoint from;
    uint64_t id; /* of the door's */
    struct wire_channel channel;
    struct ppn_node_id peer;
    uint32_t next_entry;
    struct node_admin_pipe *pipe; /* of an admin */
    struct admission_request request;
    size_t request_size;
    uint8_t request_bytes[ADMISSION_REQUEST_MAX];
    uint8_t buffer[WIRE_CHANNEL_SERVER_BUFFER];
};

struct node_join_server {
    struct node *node;
    struct os_listener *listener;
    struct os_timer timer;
    struct door door;
    struct ppn_instant cookie_until;
    uint8_t cookie_secrets[2][32];
    struct session *sessions[DOOR_SESSIONS_MAX];
    uint8_t message[WIRE_JOIN_MESSAGE_MAX];
    uint8_t record[WIRE_CHANNEL_RECORD_MAX];
};

static struct session *find(struct node_join_server *server, uint64_t id)
{
    for (uint32_t i = 0; server != NULL && i < DOOR_SESSIONS_MAX; i++) {
        if (server->sessions[i] != NULL && server->sessions[i]->id == id)
            return server->sessions[i];
    }
    return NULL;
}

static void arm(struct node_join_server *server)
{
    os_timer_at(&server->timer, door_deadline(&server->door));
}

static void step(struct node_join_server *server, const struct door_event *event,
                 struct door_update *update)
{
    door_step(&server->door, os_now(server->node->loop), event, update);
    arm(server);
}

/* The door may have ended it by itself. */
static void end_session(struct session *session, bool flush)
{
    struct node_join_server *server = session->server;
    struct door_event event = {.kind = DOOR_EVENT_CLOSED, .session = session->id};
    struct door_update update;
    step(server, &event, &update);
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
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
    node_admin_pipe_close(session->pipe);
    free(session);
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

static bool send_hints(struct session *session)
{
    static uint8_t bytes[WIRE_JOIN_HINTS_BYTES_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_join_message message = {.kind = WIRE_JOIN_PEER_HINTS};
    uint32_t count = 0;
    if (node_join_hints(session->server->node, &session->peer, &writer, &count) != PPN_OK)
        return false;
    message.hints = ppn_written(&writer);
    return count == 0 || send_message(session, &message);
}

/* Sends as much of the log as the connection takes; goes on when it drained. */
static void send_log(struct session *session)
{
    static uint8_t bytes[WIRE_LOG_BATCH_MAX];
    const struct admission *log = node_log_core(session->server->node->log);
    uint32_t count = admission_transfer_count(log);
    struct wire_join_message done = {.kind = WIRE_JOIN_DONE};
    bool sent = true;
    while (sent && session->next_entry < count && !os_stream_congested(session->stream)) {
        struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
        struct wire_log_batch batch;
        struct wire_join_message message = {.kind = WIRE_JOIN_LOG_BATCH};
        uint8_t buffer[ADMISSION_RECORD_MAX];
        wire_log_batch_start(&batch, &writer);
        while (session->next_entry < count &&
               wire_log_batch_add(&batch, admission_transfer_at(log, session->next_entry, buffer),
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
    if (send_status(session, WIRE_JOIN_ADMITTED, PPN_OK, ""))
        send_log(session);
    else
        end_session(session, false);
}

static void tell_members(struct session *session)
{
    node_joins_knock(session->server->node->joins, &session->request,
                     ppn_slice(session->request_bytes, session->request_size), &session->from);
}

/* It may outlive the server that asked for it: the log answers after a revocation or at the end. */
struct redemption {
    struct node *node;
    uint64_t session;
};

static void tell_door(struct session *session, struct door_event *event);

static bool on_api_data(void *context, struct ppn_slice bytes)
{
    struct session *session = context;
    struct wire_join_message message = {.kind = WIRE_JOIN_DATA, .data = bytes};
    if (!send_message(session, &message)) {
        end_session(session, false);
        return false;
    }
    return !os_stream_congested(session->stream);
}

static void on_api_end(void *context)
{
    struct session *session = context;
    struct wire_join_message done = {.kind = WIRE_JOIN_DONE};
    session->pipe = NULL;
    end_session(session, send_message(session, &done));
}

static void serve_admin(struct session *session)
{
    static const struct node_admin_pipe_handler handler = {.on_data = on_api_data,
                                                           .on_end = on_api_end};
    struct node *node = session->server->node;
    struct ppn_failure why = {0};
    enum ppn_error error = node_admin_pipe_open(node, &handler, session, &session->pipe, &why);
    if (error != PPN_OK)
        deny(session, error, why.text);
    else if (!send_status(session, WIRE_JOIN_ADMITTED, PPN_OK, ""))
        end_session(session, false);
}

static enum admission_standing standing_of(const struct session *session)
{
    return admission_standing(node_log_core(session->server->node->log), &session->peer);
}

static void on_redeemed(void *context, const struct ppn_failure *failure)
{
    struct redemption *redemption = context;
    struct session *session = find(redemption->node->join_server, redemption->session);
    free(redemption);
    if (session == NULL)
        return;
    if (failure != NULL) {
        deny(session, failure->code, failure->text);
        return;
    }
    struct door_event event = {
        .kind = DOOR_EVENT_REDEEMED, .written = true, .standing = standing_of(session)};
    tell_door(session, &event);
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
    *redemption = (struct redemption){node, session->id};
    node_log_submit(node->log, admission_made_slice(&made), on_redeemed, redemption);
}

static void say_denied(struct session *session, enum door_denial why)
{
    static const struct {
        enum ppn_error error;
        const char *text;
    } words[] = {
        [DOOR_DENIED_REVOKED] = {PPN_ERROR_REFUSED,
                                 "this machine's identity was revoked; to come back it needs a new "
                                 "one: remove its state directory and join again"},
        [DOOR_DENIED_BY_ADMIN] = {PPN_ERROR_REFUSED, "an admin denied this machine"},
        [DOOR_DENIED_INVITE] = {PPN_ERROR_REFUSED, "the invite does not admit this machine: it was "
                                                   "used up or closed elsewhere"},
        [DOOR_DENIED_CROWD] = {PPN_ERROR_BUSY,
                               "too many machines wait here for an admin's word; it tries again"},
        [DOOR_DENIED_NO_ADMIN] = {PPN_ERROR_UNAUTHORIZED,
                                  "this key is no admin of the network; ppn admins on a member "
                                  "lists those that are"},
        [DOOR_DENIED_ADMINS] = {PPN_ERROR_BUSY, "too many admins ask here at once; try again"},
    };
    deny(session, words[why].error, words[why].text);
}

/* Carries out what the door says of this session, which may be gone after that. */
static void tell_door(struct session *session, struct door_event *event)
{
    struct door_update update;
    event->session = session->id;
    step(session->server, event, &update);
    switch (update.act) {
    case DOOR_NOTHING:
    case DOOR_BUSY:
    case DOOR_OPEN:
        return;
    case DOOR_END:
        end_session(session, false);
        return;
    case DOOR_ADMIT:
        admit(session);
        return;
    case DOOR_REDEEM:
        redeem(session);
        return;
    case DOOR_DENY:
        say_denied(session, update.denial);
        return;
    case DOOR_WAIT:
        if (update.tell)
            tell_members(session);
        if (!send_status(session, WIRE_JOIN_PENDING, PPN_OK, ""))
            end_session(session, false);
        return;
    case DOOR_TELL:
        tell_members(session);
        return;
    case DOOR_SERVE:
        serve_admin(session);
        return;
    }
    PPN_UNREACHABLE();
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
    struct door_event event = {.kind = DOOR_EVENT_REQUEST,
                               .standing = standing_of(session),
                               .has_invite = session->request.has_invite};
    tell_door(session, &event);
}

/* False when the session is gone. Whether it may speak is asked before what it says. */
static bool take_message(struct session *session, struct ppn_slice bytes)
{
    struct wire_join_message message;
    struct node_join_server *server = session->server;
    struct door_event event = {.kind = DOOR_EVENT_MESSAGE,
                               .admin = node_log_admin(session->server->node->log, &session->peer)};
    uint64_t id = session->id;
    tell_door(session, &event);
    if (find(server, id) == NULL)
        return false;
    enum door_state state = door_state(&server->door, id);
    if (wire_join_decode(bytes, &message) != PPN_OK) {
        end_session(session, false);
    } else if (message.kind == WIRE_JOIN_REQUEST && state == DOOR_REQUEST) {
        take_request(session, &message);
    } else if (message.kind == WIRE_JOIN_ADMIN) {
        event.kind = DOOR_EVENT_ADMIN;
        tell_door(session, &event);
    } else if (message.kind == WIRE_JOIN_DATA) {
        if (state != DOOR_ADMIN || node_admin_pipe_write(session->pipe, message.data) != PPN_OK)
            end_session(session, false);
    } else if (message.kind == WIRE_JOIN_KEEPALIVE && state == DOOR_PENDING) {
        struct wire_join_message answer = {.kind = WIRE_JOIN_KEEPALIVE};
        if (!send_message(session, &answer))
            end_session(session, false);
    } else if (message.kind == WIRE_JOIN_DONE || message.kind == WIRE_JOIN_REQUEST) {
        end_session(session, false);
    }
    return find(server, id) != NULL;
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
            struct door_event proven = {.kind = DOOR_EVENT_PROVEN};
            session->peer = event.peer;
            tell_door(session, &proven);
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
    struct door_event event = {.kind = DOOR_EVENT_DRAINED};
    enum door_state state = door_state(&session->server->door, session->id);
    if (state != DOOR_SENDING && state != DOOR_ADMIN)
        return;
    tell_door(session, &event);
    if (state == DOOR_SENDING)
        send_log(session);
    else
        node_admin_pipe_resume(session->pipe);
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

/* Made anew when somebody comes; a cookie is good for one life or two. */
static void rotate_secrets(struct node_join_server *server)
{
    struct ppn_instant now = os_now(server->node->loop);
    struct ppn_instant long_ago = ppn_after(server->cookie_until, ppn_seconds(COOKIE_LIFE_S));
    if (!ppn_due(server->cookie_until, now))
        return;
    if (ppn_due(long_ago, now))
        os_random_bytes(server->cookie_secrets[0], 32);
    memcpy(server->cookie_secrets[1], server->cookie_secrets[0], 32);
    os_random_bytes(server->cookie_secrets[0], 32);
    server->cookie_until = ppn_after(now, ppn_seconds(COOKIE_LIFE_S));
}

static enum ppn_error start_channel(struct session *session, bool cookie)
{
    struct node_join_server *server = session->server;
    uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
    struct ppn_writer nothing = ppn_writer(handshake, sizeof(handshake));
    rotate_secrets(server);
    struct wire_channel_config config = {
        .role = WIRE_CHANNEL_SERVER,
        .self = server->node->identity.id,
        .secret_key = server->node->identity.secret_key,
        .network = server->node->network,
        .cookie_required = cookie,
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
        ppn_log(PPN_LOG_DEBUG, "join-busy-unsent", "cause=\"%s\"", strerror(errno));
    (void)close(fd);
    os_listener_release(server->listener);
}

static void on_accept(void *context, int fd, const struct ppn_endpoint *from)
{
    struct node_join_server *server = context;
    struct ppn_failure failure = {0};
    struct door_event event = {.kind = DOOR_EVENT_ACCEPT};
    struct door_update update;
    uint32_t slot = 0;
    memcpy(event.source, from->address, sizeof(event.source));
    step(server, &event, &update);
    struct session *session = update.act == DOOR_OPEN ? calloc(1, sizeof(*session)) : NULL;
    if (session == NULL) {
        event = (struct door_event){.kind = DOOR_EVENT_CLOSED, .session = update.session};
        step(server, &event, &update);
        turn_away(server, fd);
        return;
    }
    while (server->sessions[slot] != NULL)
        slot++;
    PPN_ASSERT(slot < DOOR_SESSIONS_MAX);
    *session = (struct session){.server = server, .from = *from, .id = update.session};
    struct os_stream_config config = {.handler = &stream_handler, .context = session};
    server->sessions[slot] = session;
    if (os_stream_adopt(server->node->loop, fd, &config, &session->stream, &failure) != PPN_OK) {
        session->stream = NULL;
        end_session(session, false);
    } else if (start_channel(session, update.cookie) != PPN_OK) {
        end_session(session, false);
    }
}

static void on_timer(void *context)
{
    struct node_join_server *server = context;
    struct door_event event = {.kind = DOOR_EVENT_TICK};
    struct door_update update;
    for (step(server, &event, &update); update.act != DOOR_NOTHING; step(server, &event, &update)) {
        struct session *session = find(server, update.session);
        PPN_ASSERT(session != NULL);
        if (update.act == DOOR_TELL)
            tell_members(session);
        else
            end_session(session, false);
    }
}

void node_join_server_members(struct node_join_server *server)
{
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        struct session *session = server->sessions[i];
        enum door_state state =
            session != NULL ? door_state(&server->door, session->id) : DOOR_FREE;
        if (state != DOOR_PENDING && state != DOOR_ADMIN)
            continue;
        struct door_event event = {.kind = DOOR_EVENT_STANDING,
                                   .standing = standing_of(session),
                                   .admin =
                                       node_log_admin(session->server->node->log, &session->peer)};
        tell_door(session, &event);
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
        .connections_max = DOOR_SESSIONS_MAX + 1, /* the last one is told that it is busy */
        .on_accept = on_accept,
        .context = server,
    };
    enum ppn_error error = PPN_OK;
    server->node = node;
    os_random_bytes(server->cookie_secrets, sizeof(server->cookie_secrets));
    door_init(&server->door, os_now(node->loop), os_random_u64());
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
    *out = server;
    return PPN_OK;
}

void node_join_server_close(struct node_join_server *server)
{
    if (server == NULL)
        return;
    for (uint32_t i = 0; i < DOOR_SESSIONS_MAX; i++) {
        if (server->sessions[i] != NULL)
            end_session(server->sessions[i], false);
    }
    os_timer_stop(&server->timer);
    os_listener_close(server->listener);
    server->node->join_server = NULL;
    free(server);
}
