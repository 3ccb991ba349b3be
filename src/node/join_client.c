// SPDX-License-Identifier: ISC
#include "node/join_client.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "admission/request.h"
#include "admission/token.h"
#include "admission/words.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/random.h"
#include "node/log.h"
#include "node/mesh.h"
#include "node/node.h"
#include "node/settings.h"
#include "os/os_address.h"
#include "os/os_clock.h"
#include "os/os_notify.h"
#include "os/os_random.h"
#include "os/os_stream.h"
#include "wire/channel.h"
#include "wire/join.h"
#include "wire/stored.h"

enum { JOIN_SOURCE = 1, ANSWER_TIMEOUT_S = 20, CONNECT_TIMEOUT_S = 8 };

struct node_join_client {
    struct node *node;
    struct node_host seeds[PPN_SEEDS_MAX];
    uint32_t seed_count, seed;
    bool has_token;
    struct admission_keypair invite;
    struct os_timer timer;     /* the next attempt */
    struct os_timer keepalive; /* of the present connection */
    struct os_stream *stream;
    struct ppn_endpoint to;
    struct ppn_node_id server; /* that answers there */
    struct ppn_instant heard;
    uint32_t attempts;
    bool ready, shown, settled;
    struct ppn_random random;
    struct wire_channel channel;
    uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE];
    char phase[256];
    uint8_t buffer[WIRE_CHANNEL_RECORD_MAX];
};

const char *node_join_client_phase(const struct node_join_client *client)
{
    return client->phase;
}

static void show(struct node_join_client *client, const char *event, const char *text)
{
    char status[sizeof(client->phase) + 8];
    if (strcmp(client->phase, text) == 0)
        return;
    (void)ppn_text_copy(client->phase, sizeof(client->phase), text);
    ppn_log(PPN_LOG_INFO, event, "text=\"%s\"", text);
    (void)snprintf(status, sizeof(status), "STATUS=%s", text);
    os_notify(status);
}

static void retry(struct node_join_client *client)
{
    int64_t wait = NODE_JOIN_RETRY_FIRST_MS;
    if (client->stream != NULL)
        os_stream_close(client->stream);
    client->stream = NULL;
    client->ready = false;
    wire_channel_wipe(&client->channel);
    os_timer_stop(&client->keepalive);
    client->seed = (client->seed + 1) % client->seed_count;
    for (uint32_t i = client->seed_count; i < client->attempts && wait < NODE_JOIN_RETRY_MAX_MS;
         i++)
        wait *= 2;
    if (wait > NODE_JOIN_RETRY_MAX_MS)
        wait = NODE_JOIN_RETRY_MAX_MS;
    client->attempts++;
    wait += (int64_t)ppn_random_below(&client->random, (uint64_t)wait);
    os_timer_after(&client->timer, ppn_ms(wait));
}

static void fail(struct node_join_client *client, const char *cause)
{
    char text[sizeof(client->phase)];
    const struct node_host *seed = &client->seeds[client->seed];
    (void)snprintf(text, sizeof(text), "joining: %.100s port %u: %.100s; trying again", seed->host,
                   seed->port, cause);
    show(client, "join-retry", text);
    retry(client);
}

static bool send_message(struct node_join_client *client, const struct wire_join_message *message)
{
    static uint8_t encoded_bytes[WIRE_JOIN_MESSAGE_MAX];
    static uint8_t record_bytes[WIRE_CHANNEL_RECORD_MAX];
    struct ppn_writer encoded = ppn_writer(encoded_bytes, sizeof(encoded_bytes));
    struct ppn_writer record = ppn_writer(record_bytes, sizeof(record_bytes));
    return wire_join_encode(message, &encoded) == PPN_OK &&
           wire_channel_send(&client->channel, ppn_written(&encoded), false, &record) == PPN_OK &&
           os_stream_write(client->stream, ppn_written(&record)) == PPN_OK;
}

static void describe(struct node_join_client *client, struct admission_request *request)
{
    struct node *node = client->node;
    const struct ppn_profile *profile = node_self_profile(node);
    request->network = node->network;
    request->node = node->identity.id;
    memcpy(request->wg_key, node->identity.wg_public, sizeof(request->wg_key));
    (void)ppn_text_copy(request->name, sizeof(request->name), node->name);
    request->time_unix_ms = os_clock_wall().unix_ms;
    (void)ppn_text_copy(request->offers.arch, sizeof(request->offers.arch), profile->arch);
    struct utsname system;
    if (uname(&system) == 0)
        (void)snprintf(request->offers.os, sizeof(request->offers.os), "%.20s %.40s",
                       system.sysname, system.release);
    request->offers.cpus = profile->cpus;
    request->offers.memory_bytes = profile->memory_total_bytes;
    request->offers.disk_bytes = profile->disk_total_bytes;
    request->offers.kvm = profile->kvm;
}

static bool send_request(struct node_join_client *client)
{
    uint8_t bytes[ADMISSION_REQUEST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct admission_request request = {0};
    struct admission_keypair pair;
    struct node_identity *identity = &client->node->identity;
    struct wire_join_message message = {.kind = WIRE_JOIN_REQUEST};
    memcpy(pair.key.bytes, identity->id.bytes, sizeof(pair.key.bytes));
    memcpy(pair.secret, identity->secret_key, sizeof(pair.secret));
    struct admission_signer node_signer = admission_keypair_signer(&pair);
    struct admission_signer invite_signer = admission_keypair_signer(&client->invite);
    describe(client, &request);
    enum ppn_error error = admission_request_make(
        &request, &node_signer, client->has_token ? &invite_signer : NULL, &writer);
    admission_keypair_wipe(&pair);
    PPN_ASSERT(error == PPN_OK);
    message.request.request = ppn_written(&writer);
    message.request.redemption = ppn_slice(NULL, 0);
    message.request.have.bytes = ppn_slice(NULL, 0);
    return send_message(client, &message);
}

/* Who asks whom: what two people compare before one of them types `ppn admit`. */
static void show_identities(struct node_join_client *client, const struct ppn_node_id *seed)
{
    struct node *node = client->node;
    char words[ADMISSION_WORDS_TEXT], network[ADMISSION_WORDS_TEXT];
    char own[PPN_FINGERPRINT_TEXT], their[PPN_FINGERPRINT_TEXT];
    if (client->shown)
        return;
    client->shown = true;
    admission_words(admission_crypto_sodium(), &node->network, &node->identity.id,
                    node->identity.wg_public, words);
    admission_network_words(admission_crypto_sodium(), &node->network, network);
    ppn_fingerprint(&node->identity.id, own);
    ppn_fingerprint(seed, their);
    ppn_log(PPN_LOG_INFO, "join-identity", "name=%s fingerprint=%s words=\"%s\"", node->name, own,
            words);
    ppn_log(PPN_LOG_INFO, "join-network", "words=\"%s\" seed=%s", network, their);
}

/* For a start that finds nobody where they were: kept durably, newest first. */
static void remember_seed(struct node *node, const struct ppn_endpoint *seed)
{
    struct wire_settings *settings = &node->settings;
    for (uint32_t i = 0; i < settings->seed_count; i++) {
        if (os_endpoint_equal(&settings->seeds[i], seed))
            return;
    }
    if (settings->seed_count < PPN_SEEDS_MAX)
        settings->seed_count++;
    memmove(&settings->seeds[1], &settings->seeds[0],
            (settings->seed_count - 1) * sizeof(settings->seeds[0]));
    settings->seeds[0] = *seed;
    node_settings_save(node);
}

static void on_ready(struct node_join_client *client, const struct wire_channel_event *event)
{
    struct node *node = client->node;
    struct ppn_failure failure = {0};
    if (node_log_pin(node->log, &event->network, &failure) != PPN_OK) {
        fail(client, failure.text);
        return;
    }
    if (!ppn_hash_equal(&node->settings.network, &event->network)) {
        node->settings.network = event->network;
        node_settings_save(node);
    }
    client->ready = true;
    client->server = event->peer;
    remember_seed(node, &client->to);
    node_learn_path(node, &event->peer, &client->to, 1);
    show_identities(client, &event->peer);
    if (!send_request(client))
        fail(client, "the connection is stuck");
}

static void take_hints(struct node_join_client *client, struct ppn_slice bytes)
{
    static struct wire_join_hint hints[WIRE_JOIN_HINTS_MAX];
    uint32_t count;
    if (wire_join_hints_decode(bytes, hints, WIRE_JOIN_HINTS_MAX, &count) != PPN_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        /* How the seed was reached is known better than it knows itself. */
        if (hints[i].endpoint_count > 0 && !ppn_node_id_equal(&hints[i].node, &client->server))
            node_learn_path(client->node, &hints[i].node, hints[i].endpoints,
                            hints[i].endpoint_count);
    }
}

static void on_settled(void *context, const struct ppn_failure *failure)
{
    struct node *node = context;
    struct node_join_client *client = node->join_client;
    const struct admission *log = node_log_core(node->log);
    if (client == NULL || !client->settled)
        return;
    client->settled = false;
    if (failure == NULL &&
        admission_standing(log, &client->node->identity.id) == ADMISSION_MEMBER) {
        show(client, "joined", "member");
        os_timer_stop(&client->timer);
        node_open_mesh(node);
        return;
    }
    retry(client);
}

static void take_status(struct node_join_client *client, const struct wire_join_status *status)
{
    struct node *node = client->node;
    char text[sizeof(client->phase)];
    if (status->network_name[0] != '\0')
        (void)ppn_text_copy(node->network_name, sizeof(node->network_name), status->network_name);
    if (status->state == WIRE_JOIN_ADMITTED) {
        show(client, "join-admitted", "admitted: fetching the network's log");
        return;
    }
    if (status->state == WIRE_JOIN_PENDING) {
        client->attempts = 0;
        (void)snprintf(text, sizeof(text),
                       "waiting for approval in network %s: an admin runs `ppn admit %s` there",
                       node->network_name, node->name);
        show(client, "join-waiting", text);
        return;
    }
    /* Whoever sits at a seed's address does not decide about a member; the log does. */
    if (node->phase == NODE_MEMBER)
        return;
    node->phase = NODE_DENIED;
    (void)snprintf(text, sizeof(text), "refused: %.*s", (int)status->reason.size,
                   (const char *)status->reason.data);
    show(client, "join-refused", text);
}

static void take_message(struct node_join_client *client, struct ppn_slice bytes, bool last)
{
    struct wire_join_message message;
    struct ppn_failure failure = {0};
    bool more;
    if (wire_join_decode(bytes, &message) != PPN_OK) {
        fail(client, "it answers in a language this version does not know");
        return;
    }
    switch (message.kind) {
    case WIRE_JOIN_STATUS:
        take_status(client, &message.status);
        break;
    case WIRE_JOIN_LOG_BATCH:
        if (node_log_batch(client->node->log, JOIN_SOURCE, message.batch, &more, &failure) !=
            PPN_OK) {
            fail(client, failure.text);
            return;
        }
        break;
    case WIRE_JOIN_PEER_HINTS:
        take_hints(client, message.hints);
        break;
    case WIRE_JOIN_DONE:
    case WIRE_JOIN_KEEPALIVE:
    case WIRE_JOIN_REQUEST:
    case WIRE_JOIN_ADMIN:
    case WIRE_JOIN_DATA:
        break;
    }
    if (last && client->node->phase != NODE_DENIED) {
        client->settled = true;
        os_stream_close(client->stream);
        client->stream = NULL;
        os_timer_stop(&client->keepalive);
        node_log_settled(client->node->log, on_settled, client->node);
    } else if (last) {
        client->node->phase = NODE_JOINING;
        client->attempts = 8;
        retry(client);
    }
}

static void take_event(struct node_join_client *client, const struct wire_channel_event *event)
{
    switch (event->kind) {
    case WIRE_CHANNEL_NOTHING:
        return;
    case WIRE_CHANNEL_READY:
        on_ready(client, event);
        return;
    case WIRE_CHANNEL_MESSAGE:
    case WIRE_CHANNEL_ENDED:
        take_message(client, event->message, event->kind == WIRE_CHANNEL_ENDED);
        return;
    }
    PPN_UNREACHABLE();
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct node_join_client *client = context;
    size_t all = bytes.size;
    client->heard = os_now(client->node->loop);
    while (bytes.size > 0 && client->stream != NULL) {
        uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
        struct ppn_writer out = ppn_writer(handshake, sizeof(handshake));
        struct wire_channel_event event;
        enum ppn_error error = wire_channel_receive(&client->channel, &bytes, &out, &event);
        wire_channel_cookie(&client->channel, client->cookie);
        if (out.size > 0 && os_stream_write(client->stream, ppn_written(&out)) != PPN_OK)
            error = PPN_ERROR_FULL;
        if (error != PPN_OK) {
            fail(client, error == PPN_ERROR_CONFLICT ? "another machine or network answers there"
                                                     : ppn_error_text(error));
            return all;
        }
        take_event(client, &event);
    }
    return all;
}

static void on_connect(void *context)
{
    struct node_join_client *client = context;
    struct node *node = client->node;
    uint8_t hello[WIRE_CHANNEL_HANDSHAKE_MAX];
    struct ppn_writer out = ppn_writer(hello, sizeof(hello));
    struct wire_channel_config config = {
        .role = WIRE_CHANNEL_CLIENT,
        .self = node->identity.id,
        .secret_key = node->identity.secret_key,
        .network = node->network,
        .buffer = client->buffer,
        .buffer_size = sizeof(client->buffer),
    };
    os_random_bytes(config.randomness, sizeof(config.randomness));
    memcpy(config.cookie, client->cookie, sizeof(config.cookie));
    if (wire_channel_init(&client->channel, &config, &out) != PPN_OK ||
        os_stream_write(client->stream, ppn_written(&out)) != PPN_OK) {
        fail(client, "the connection is stuck");
        return;
    }
    client->heard = os_now(node->loop);
    os_timer_after(&client->keepalive, ppn_ms(WIRE_JOIN_KEEPALIVE_MS));
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct node_join_client *client = context;
    client->stream = NULL;
    fail(client, text != NULL ? text : ppn_error_text(reason));
}

static const struct os_stream_handler stream_handler = {
    .on_connect = on_connect, .on_read = on_read, .on_close = on_close};

static void on_keepalive(void *context)
{
    struct node_join_client *client = context;
    struct wire_join_message message = {.kind = WIRE_JOIN_KEEPALIVE};
    struct ppn_instant late = ppn_after(client->heard, ppn_seconds(3 * ANSWER_TIMEOUT_S));
    if (ppn_due(late, os_now(client->node->loop)) ||
        (client->ready && !send_message(client, &message))) {
        fail(client, "no answer in time");
        return;
    }
    os_timer_after(&client->keepalive, ppn_ms(WIRE_JOIN_KEEPALIVE_MS));
}

static void on_resolved(void *context, enum ppn_error error, const struct ppn_endpoint *endpoints,
                        uint32_t count)
{
    struct node_join_client *client = context;
    struct ppn_failure failure = {0};
    struct os_stream_target target = {0};
    struct os_stream_config config = {
        .handler = &stream_handler,
        .context = client,
        .connect_timeout = ppn_seconds(CONNECT_TIMEOUT_S),
    };
    if (error != PPN_OK || count == 0) {
        fail(client, "the name cannot be resolved");
        return;
    }
    client->to = target.to = endpoints[ppn_random_below(&client->random, count)];
    if (os_stream_connect(client->node->loop, &target, &config, &client->stream, &failure) !=
        PPN_OK) {
        client->stream = NULL;
        fail(client, failure.text);
    }
}

static void attempt(void *context)
{
    struct node_join_client *client = context;
    const struct node_host *seed = &client->seeds[client->seed];
    if (os_resolve(client->node->worker, seed->host, seed->port, on_resolved, client) != PPN_OK)
        retry(client);
}

static void add_seed(struct node_join_client *client, const char *host, uint16_t port)
{
    if (client->seed_count == PPN_SEEDS_MAX)
        return;
    struct node_host *seed = &client->seeds[client->seed_count++];
    (void)ppn_text_copy(seed->host, sizeof(seed->host), host);
    seed->port = port != 0 ? port : PPN_PORT_PUBLIC;
}

/* A member that was never a joiner knows where others were reached. */
static bool add_path(void *context, struct ppn_slice key, struct ppn_slice value,
                     enum ppn_error error)
{
    struct node_join_client *client = context;
    struct wire_reached reached;
    char host[OS_ENDPOINT_TEXT];
    (void)key;
    if (error != PPN_OK || wire_reached_decode(value, &reached) != PPN_OK || reached.count == 0)
        return true;
    os_address_text(reached.endpoints[0].address, host);
    add_seed(client, host, reached.endpoints[0].port);
    return client->seed_count < PPN_SEEDS_MAX;
}

static enum ppn_error take_token(struct node_join_client *client, struct ppn_failure *failure)
{
    struct admission_token token;
    enum ppn_error error = admission_token_parse(client->node->options.token, &token, failure);
    if (error != PPN_OK)
        return error;
    admission_keypair_from_seed(token.seed, &client->invite);
    sodium_memzero(token.seed, sizeof(token.seed));
    client->has_token = true;
    for (uint32_t i = 0; i < token.endpoint_count; i++) {
        char host[OS_ENDPOINT_TEXT];
        os_address_text(token.endpoints[i].address, host);
        add_seed(client, host, token.endpoints[i].port);
    }
    return node_log_pin(client->node->log, &token.network, failure);
}

enum ppn_error node_join_client_open(struct node *node, struct node_join_client **out,
                                     struct ppn_failure *failure)
{
    struct node_join_client *client = calloc(1, sizeof(*client));
    enum ppn_error error = PPN_OK;
    if (client == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    client->node = node;
    ppn_random_init(&client->random, os_random_u64());
    for (uint32_t i = 0; i < node->options.seed_count; i++)
        add_seed(client, node->options.seeds[i].host, node->options.seeds[i].port);
    if (node->options.token[0] != '\0')
        error = take_token(client, failure);
    for (uint32_t i = 0; client->seed_count == 0 && i < node->settings.seed_count; i++) {
        char host[OS_ENDPOINT_TEXT];
        os_address_text(node->settings.seeds[i].address, host);
        add_seed(client, host, node->settings.seeds[i].port);
    }
    if (error == PPN_OK && client->seed_count == 0 && node->phase == NODE_MEMBER)
        error = store_scan(node->store, STORE_VIEW_PATHS, ppn_slice(NULL, 0), add_path, client);
    if (error == PPN_OK && client->seed_count == 0)
        error = ppn_fail(failure, PPN_ERROR_NOT_FOUND,
                         "this node belongs to no network yet: start it once with --found NETWORK "
                         "to make one, or with --seed HOST (or --token) to join one");
    if (error != PPN_OK) {
        free(client);
        return error;
    }
    os_timer_init(&client->timer, node->loop, attempt, client);
    os_timer_init(&client->keepalive, node->loop, on_keepalive, client);
    os_timer_after(&client->timer, ppn_ms((int64_t)ppn_random_below(&client->random, 100)));
    *out = client;
    return PPN_OK;
}

void node_join_client_close(struct node_join_client *client)
{
    if (client == NULL)
        return;
    os_timer_stop(&client->timer);
    os_timer_stop(&client->keepalive);
    os_stream_close(client->stream);
    wire_channel_wipe(&client->channel);
    admission_keypair_wipe(&client->invite);
    free(client);
}
