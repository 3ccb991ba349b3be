// SPDX-License-Identifier: ISC
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli_tunnel.h"
#include "wire/channel.h"
#include "wire/join.h"

/* One connection at a time: the command asks one thing after another. Everything blocks, with
 * deadlines; poll() waits. */

enum { CONNECT_MS = 8000, ANSWER_MS = 20000, REQUEST_MS = 1000, TEXT_MAX = 512 };

struct far {
    const struct cli_tunnel_target *target;
    struct cli_tunnel_seen *seen;
    struct wire_channel channel;
    int fd, near;
    bool ready, admitted, ended;
    uint8_t cookie[WIRE_CHANNEL_COOKIE_SIZE];
    enum ppn_error error;
    char text[TEXT_MAX];
};

static uint8_t channel_buffer[WIRE_CHANNEL_RECORD_MAX];

static void fail(struct far *far, enum ppn_error error, const char *text)
{
    if (far->error == PPN_OK) {
        far->error = error;
        (void)snprintf(far->text, sizeof(far->text), "%s port %s: %s", far->target->host,
                       far->target->port, text);
    }
    far->ended = true;
}

static bool send_all(int fd, struct ppn_slice bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes = ppn_slice(bytes.data + sent, bytes.size - (size_t)sent);
    }
    return true;
}

static void say(struct far *far, const struct wire_join_message *message)
{
    static uint8_t encoded_bytes[WIRE_JOIN_DATA_MAX + 64];
    static uint8_t record_bytes[sizeof encoded_bytes + WIRE_CHANNEL_OVERHEAD];
    struct ppn_writer encoded = ppn_writer(encoded_bytes, sizeof(encoded_bytes));
    struct ppn_writer record = ppn_writer(record_bytes, sizeof(record_bytes));
    if (wire_join_encode(message, &encoded) != PPN_OK ||
        wire_channel_send(&far->channel, ppn_written(&encoded), message->kind == WIRE_JOIN_DONE,
                          &record) != PPN_OK ||
        !send_all(far->fd, ppn_written(&record)))
        fail(far, PPN_ERROR_CLOSED, "the connection ended");
}

static int dial(struct far *far)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval wait = {CONNECT_MS / 1000, 0};
    int code = getaddrinfo(far->target->host, far->target->port, &hints, &found), fd = -1;
    if (code != 0) {
        fail(far, PPN_ERROR_NOT_FOUND, gai_strerror(code));
        return -1;
    }
    for (struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        /* Linux takes the send time-out for connect(2) too. */
        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
                        connect(fd, at->ai_addr, at->ai_addrlen) != 0)) {
            code = errno;
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        fail(far, PPN_ERROR_UNREACHABLE,
             code == EINPROGRESS || code == EAGAIN ? "no answer in 8 s" : strerror(code));
    return fd;
}

static bool start_channel(struct far *far)
{
    uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
    struct ppn_writer out = ppn_writer(handshake, sizeof(handshake));
    struct wire_channel_config config = {.role = WIRE_CHANNEL_CLIENT,
                                         .secret_key = far->target->pair->secret,
                                         .network = far->target->network,
                                         .buffer = channel_buffer,
                                         .buffer_size = sizeof(channel_buffer)};
    memcpy(config.self.bytes, far->target->pair->key.bytes, sizeof(config.self.bytes));
    memcpy(config.cookie, far->cookie, sizeof(config.cookie));
    randombytes_buf(config.randomness, sizeof(config.randomness));
    if (wire_channel_init(&far->channel, &config, &out) != PPN_OK ||
        !send_all(far->fd, ppn_written(&out))) {
        fail(far, PPN_ERROR_CLOSED, "the connection ended");
        return false;
    }
    return true;
}

static const char *channel_text(enum ppn_error error)
{
    switch ((int)error) {
    case PPN_ERROR_BUSY:
        return "it is too busy to answer; try again later";
    case PPN_ERROR_VERSION:
        return "it speaks another version of the protocol";
    case PPN_ERROR_CONFLICT:
        return "another network answers than the one this key signed for last";
    case PPN_ERROR_SIGNATURE:
        return "who answers does not hold the key that it names";
    default:
        return "no PPN node answers there";
    }
}

static void take_message(struct far *far, struct ppn_slice bytes)
{
    struct wire_join_message message;
    char reason[WIRE_JOIN_REASON_MAX + 1];
    if (wire_join_decode(bytes, &message) != PPN_OK) {
        fail(far, PPN_ERROR_VERSION, "it says something that this version does not know");
    } else if (message.kind == WIRE_JOIN_STATUS && message.status.state == WIRE_JOIN_ADMITTED) {
        far->admitted = true;
    } else if (message.kind == WIRE_JOIN_STATUS) {
        (void)snprintf(reason, sizeof(reason), "%.*s", (int)message.status.reason.size,
                       (const char *)message.status.reason.data);
        fail(far, message.status.error != PPN_OK ? message.status.error : PPN_ERROR_REFUSED,
             reason);
    } else if (message.kind == WIRE_JOIN_DATA && far->admitted) {
        if (!send_all(far->near, message.data))
            far->ended = true;
    } else if (message.kind == WIRE_JOIN_DONE) {
        far->ended = true;
    }
}

static void take_bytes(struct far *far, struct ppn_slice bytes)
{
    while (bytes.size > 0 && !far->ended) {
        uint8_t handshake[WIRE_CHANNEL_HANDSHAKE_MAX];
        struct ppn_writer out = ppn_writer(handshake, sizeof(handshake));
        struct wire_channel_event event;
        enum ppn_error error = wire_channel_receive(&far->channel, &bytes, &out, &event);
        if (out.size > 0 && !send_all(far->fd, ppn_written(&out)))
            error = PPN_ERROR_CLOSED;
        if (error != PPN_OK) {
            fail(far, error, channel_text(error));
            return;
        }
        if (event.kind == WIRE_CHANNEL_READY) {
            struct wire_join_message ask = {.kind = WIRE_JOIN_ADMIN};
            *far->seen = (struct cli_tunnel_seen){event.peer, event.network};
            far->ready = true;
            say(far, &ask);
        } else if (event.kind == WIRE_CHANNEL_MESSAGE || event.kind == WIRE_CHANNEL_ENDED) {
            take_message(far, event.message);
            far->ended = far->ended || event.kind == WIRE_CHANNEL_ENDED;
        }
    }
}

/* The command's bytes wait until the node has said that it takes them. */
static void carry(struct far *far, int alive)
{
    static uint8_t bytes[WIRE_JOIN_DATA_MAX];
    while (!far->ended) {
        struct pollfd fds[] = {{.fd = far->fd, .events = POLLIN},
                               {.fd = alive, .events = POLLIN},
                               {.fd = far->admitted ? far->near : -1, .events = POLLIN}};
        int ready = poll(fds, 3, far->admitted ? -1 : ANSWER_MS);
        if (ready == 0)
            fail(far, PPN_ERROR_TIMEOUT, "no answer in 20 s");
        if (ready < 0 && errno != EINTR)
            fail(far, PPN_ERROR_IO, strerror(errno));
        if (ready <= 0)
            continue;
        if (fds[1].revents != 0)
            return;
        if (fds[0].revents != 0) {
            ssize_t got = recv(far->fd, bytes, sizeof(bytes), 0);
            if (got > 0)
                take_bytes(far, ppn_slice(bytes, (size_t)got));
            else if (far->admitted)
                far->ended = true;
            else
                fail(far, PPN_ERROR_CLOSED,
                     "it closed the connection: it may be full, or of an older version");
        } else if (fds[2].revents != 0) {
            ssize_t got = recv(far->near, bytes, sizeof(bytes), 0);
            struct wire_join_message data = {.kind = WIRE_JOIN_DATA,
                                             .data = ppn_slice(bytes, got > 0 ? (size_t)got : 0)};
            if (got <= 0)
                return;
            say(far, &data);
        }
    }
}

/* As the API would answer, so that the command tells it like any other error. */
static void answer_failure(const struct far *far)
{
    char head[256], body[TEXT_MAX * 2 + 64], question[4096];
    struct pollfd fd = {.fd = far->near, .events = POLLIN};
    json_t *error = json_pack("{s:{s:s,s:s}}", "error", "code", ppn_error_name(far->error),
                              "message", far->text);
    size_t size = error != NULL ? json_dumpb(error, body, sizeof(body), JSON_COMPACT) : 0;
    json_decref(error);
    if (size > sizeof(body))
        size = 0;
    int told = snprintf(head, sizeof(head),
                        "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                        size);
    /* A socket closed with unread bytes loses what was sent. */
    if (poll(&fd, 1, REQUEST_MS) > 0 && recv(far->near, question, sizeof(question), 0) > 0 &&
        send_all(far->near, ppn_slice(head, (size_t)told)) &&
        send_all(far->near, ppn_slice(body, size)))
        (void)shutdown(far->near, SHUT_WR);
    while (poll(&fd, 1, REQUEST_MS) > 0 && recv(far->near, question, sizeof(question), 0) > 0)
        continue;
}

void cli_tunnel_run(const struct cli_tunnel_target *target, int listener, int alive,
                    struct cli_tunnel_seen *seen)
{
    static struct far far;
    struct pollfd fds[] = {{.fd = alive, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    far = (struct far){.target = target, .seen = seen};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents != 0)
            return;
        far.near = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (far.near < 0)
            continue;
        far.ready = far.admitted = far.ended = false;
        far.error = PPN_OK;
        far.fd = dial(&far);
        if (far.fd >= 0 && start_channel(&far))
            carry(&far, alive);
        if (far.ready)
            wire_channel_cookie(&far.channel, far.cookie);
        if (far.error != PPN_OK && !far.admitted)
            answer_failure(&far);
        if (far.fd >= 0) {
            wire_channel_wipe(&far.channel);
            (void)close(far.fd);
        }
        (void)close(far.near);
    }
}
