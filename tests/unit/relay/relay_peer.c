// SPDX-License-Identifier: ISC

/* The other ends of a relay, for tests and tools/bench: its daemon, members that talk through it,
 * people who should not, and a plain forwarder to compare with. Keys and tags are made of small
 * numbers: member N has the tag N and a key of 32 bytes N; the relay's tag is 1000000.
 *
 * - host PROGRAM PORT FIRST COUNT RATE MEMBERS: starts ppn-relay with members 1..MEMBERS, says
 * "ready".
 * - client ADDRESS PORT ME PEER [OPTION...]: binds for PEER, then sends and receives.
 * - flood ADDRESS PORT ME junk|data|forged|replay|answer [OPTION...]: what must come to nothing.
 * - bind KEYFILE NETWORK RELAY PEER ADDRESS PORT: as a real node, at a real relay, beside
 * WireGuard.
 * - forward PORT PORT: hands packets from one port to whom the other heard last.
 *
 * host reads "members N M ..." and "stats" from its standard input and ends with it.
 *
 * Options: --pps N (0: none; -1: all that goes), --size N, --seconds S, --segments N (UDP_SEGMENT),
 * --plain (no relay there but a forwarder), --asks (the packets are questions to the peer),
 * --counter N (of a replay), --mailbox PORT, --port N (our own). */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "relay/control.h"
#include "wire/path.h"

enum { RELAY_TAG = 1000000, BATCH = 64, DATAGRAM = 65536, BIND_EVERY_MS = 5000 };

static struct {
    long pps, size, seconds, segments, mailbox, port;
    unsigned long long counter;
    uint64_t me, peer;
    bool plain, asks;
} options = {.size = 1452, .seconds = 3, .segments = 1, .counter = 1};

static int64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "relay_peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct wire_path_key key_of(uint64_t member)
{
    struct wire_path_key key;
    memset(key.bytes, (int)member, sizeof(key.bytes));
    return key;
}

static uint64_t fresh_counter(void)
{
    static uint64_t last;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    uint64_t counter = (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
    last = counter > last ? counter : last + 1;
    return last;
}

/* ---- host ---- */

static void tell_members(int fd, const uint64_t *tags, uint32_t count)
{
    static uint8_t bytes[RELAY_CONTROL_MEMBERS_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    relay_control_header(&writer, RELAY_CONTROL_KIND_MEMBERS, count);
    for (uint32_t i = 0; i < count; i++) {
        struct relay_member member = {.tag = tags[i]};
        memset(member.key, (int)tags[i], sizeof(member.key));
        relay_control_member(&writer, &member);
    }
    if (write(fd, bytes, writer.size) != (ssize_t)writer.size)
        die("write members");
}

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t more = read(fd, bytes + got, size - got);
        if (more <= 0)
            return false;
        got += (size_t)more;
    }
    return true;
}

static bool read_stats(int fd, struct relay_stats *stats)
{
    static uint8_t items[PPN_MEMBERS_MAX * RELAY_CONTROL_USE];
    uint8_t header[RELAY_CONTROL_HEADER];
    enum relay_control_kind kind;
    uint32_t count;
    do {
        if (!read_all(fd, header, sizeof(header)))
            return false;
        size_t size = relay_control_frame(header, &kind, &count);
        if (size == 0 || !read_all(fd, items, size - sizeof(header)))
            return false;
    } while (kind != RELAY_CONTROL_KIND_STATS);
    relay_control_read_stats(items, stats);
    return true;
}

static void print_stats(const struct relay_stats *stats)
{
    static const char *const names[] = {"forwarded", "shape", "unbound", "peer",
                                        "rate",      "send",  "forged",  "stale"};
    printf("{");
    for (int i = 0; i < RELAY_VERDICTS; i++)
        printf("\"%s\":%llu,", names[i], (unsigned long long)stats->count[i].packets);
    printf("\"members\":%u,\"mailboxes\":%u,\"binds\":%u}\n", stats->members, stats->mailboxes,
           stats->binds);
    fflush(stdout);
}

static void obey(int fd, char *line, const struct relay_stats *stats)
{
    uint64_t tags[256];
    uint32_t count = 0;
    char *save = NULL, *word = strtok_r(line, " \n", &save);
    if (word != NULL && strcmp(word, "stats") == 0)
        print_stats(stats);
    if (word == NULL || strcmp(word, "members") != 0)
        return;
    while ((word = strtok_r(NULL, " \n", &save)) != NULL && count < 256)
        tags[count++] = strtoull(word, NULL, 10);
    tell_members(fd, tags, count);
}

static int host(char **argv)
{
    int pair[2];
    uint64_t tags[256];
    uint32_t members = (uint32_t)strtoul(argv[5], NULL, 10);
    struct relay_stats stats = {0};
    if (members > 256 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        die("host");
    pid_t child = fork();
    if (child == 0) {
        if (pair[1] != RELAY_CONTROL_FD)
            dup2(pair[1], RELAY_CONTROL_FD);
        close(pair[0] == RELAY_CONTROL_FD ? 99 : pair[0]);
        execl(argv[0], argv[0], "--port", argv[1], "--first-mailbox", argv[2], "--mailboxes",
              argv[3], "--rate", argv[4], "--tag", "f4240", (char *)NULL);
        die(argv[0]);
    }
    close(pair[1]);
    for (uint32_t i = 0; i < members; i++)
        tags[i] = i + 1;
    tell_members(pair[0], tags, members);
    if (!read_stats(pair[0], &stats))
        die("ppn-relay ended");
    printf("ready %d\n", (int)child);
    fflush(stdout);
    for (;;) {
        struct pollfd polls[] = {{0, POLLIN, 0}, {pair[0], POLLIN, 0}};
        char line[4096];
        if (poll(polls, 2, -1) < 0)
            die("poll");
        if (polls[1].revents != 0 && !read_stats(pair[0], &stats))
            die("ppn-relay ended");
        if (polls[0].revents != 0) {
            ssize_t got = read(0, line, sizeof(line) - 1);
            if (got <= 0)
                return 0;
            line[got] = '\0';
            obey(pair[0], line, &stats);
        }
    }
}

/* ---- members ---- */

static struct sockaddr_in6 address_of(const char *text, long port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    char mapped[64];
    snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
    if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1)
        die(text);
    return address;
}

static int udp_socket(uint16_t port)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), off = 0, size = 8 << 20;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0)
        die("bind");
    return fd;
}

static size_t question(uint8_t *bytes, size_t capacity, enum wire_path_kind kind, uint64_t me,
                       uint64_t node, uint64_t counter, const struct wire_path_key *key)
{
    struct wire_path_packet packet = {.kind = kind, .sender = me, .recipient = RELAY_TAG};
    struct ppn_writer writer = ppn_writer(bytes, capacity);
    packet.counter = counter;
    packet.nonce = counter;
    packet.size = WIRE_PATH_SIZE_MIN;
    packet.bind.node = node;
    if (wire_path_encode(&packet, key, &writer) != PPN_OK)
        die("encode");
    return writer.size;
}

/* Asks until an answer of that kind came, at most 3 s. */
static bool ask(int fd, const struct sockaddr_in6 *to, enum wire_path_kind kind, uint64_t me,
                uint64_t node, struct wire_path_packet *answer)
{
    struct wire_path_key key = key_of(me);
    uint8_t bytes[DATAGRAM];
    for (int attempt = 0; attempt < 15; attempt++) {
        size_t size = question(bytes, sizeof(bytes), kind, me, node, fresh_counter(), &key);
        /* As a router does, it lets in only what comes from where it sent to. */
        if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
            die("connect");
        sendto(fd, bytes, size, 0, (const struct sockaddr *)to, sizeof(*to));
        struct pollfd waits = {fd, POLLIN, 0};
        while (poll(&waits, 1, 200) > 0) {
            ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (got > 0 &&
                wire_path_decode(ppn_slice(bytes, (size_t)got), &key, answer) == PPN_OK &&
                answer->recipient == me && answer->sender == RELAY_TAG)
                return true;
        }
    }
    return false;
}

/* The port to send to, bound. */
static long bind_for(int fd, struct sockaddr_in6 *to, uint64_t me, uint64_t peer)
{
    struct wire_path_packet answer;
    if (!ask(fd, to, WIRE_PATH_MAILBOX, me, peer, &answer) || answer.kind != WIRE_PATH_MAILBOX_IS ||
        answer.mailbox_is.port == 0)
        return 0;
    long port = answer.mailbox_is.port;
    to->sin6_port = htons((uint16_t)port);
    if (!ask(fd, to, WIRE_PATH_BIND, me, peer, &answer) || answer.kind != WIRE_PATH_BOUND)
        return 0;
    return port;
}

static struct {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    uint8_t bytes[BATCH][DATAGRAM];
    uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
} io;

/* As many packets as the rate allows, at most one batch. */
static uint64_t send_some(int fd, const struct sockaddr_in6 *to, uint64_t sent, int64_t elapsed_us)
{
    static uint8_t packet[DATAGRAM];
    long most = BATCH * options.segments;
    if (options.pps >= 0) {
        int64_t due = elapsed_us * options.pps / 1000000 - (int64_t)sent;
        most = due < 0 ? 0 : due < most ? due : most;
    }
    long calls = most / options.segments;
    for (long i = 0; i < options.segments; i++) {
        uint8_t *one = packet + i * options.size;
        struct ppn_writer writer = ppn_writer(one, WIRE_PATH_HEADER_SIZE);
        one[0] = 4;
        if (!options.asks)
            continue;
        ppn_write_u8(&writer, WIRE_PATH_MAGIC);
        ppn_write_u8(&writer, WIRE_PATH_VERSION);
        ppn_write_u8(&writer, WIRE_PATH_PING);
        ppn_write_u8(&writer, 0);
        ppn_write_u64(&writer, options.me);
        ppn_write_u64(&writer, options.peer);
    }
    for (long i = 0; i < calls; i++) {
        struct msghdr *header = &io.messages[i].msg_hdr;
        io.vectors[i] = (struct iovec){packet, (size_t)(options.size * options.segments)};
        *header = (struct msghdr){.msg_name = (void *)(uintptr_t)to,
                                  .msg_namelen = sizeof(*to),
                                  .msg_iov = &io.vectors[i],
                                  .msg_iovlen = 1};
        if (options.segments > 1) {
            header->msg_control = io.control;
            header->msg_controllen = sizeof(io.control);
            struct cmsghdr *control = CMSG_FIRSTHDR(header);
            uint16_t segment = (uint16_t)options.size;
            control->cmsg_level = SOL_UDP;
            control->cmsg_type = UDP_SEGMENT;
            control->cmsg_len = CMSG_LEN(sizeof(segment));
            memcpy(CMSG_DATA(control), &segment, sizeof(segment));
        }
    }
    int done = calls > 0 ? sendmmsg(fd, io.messages, (unsigned)calls, MSG_DONTWAIT) : 0;
    return done > 0 ? (uint64_t)(done * options.segments) : 0;
}

static uint64_t receive_some(int fd, uint64_t *bytes, uint64_t *path_bytes)
{
    uint64_t received = 0;
    for (int i = 0; i < BATCH; i++) {
        io.vectors[i] = (struct iovec){io.bytes[i], DATAGRAM};
        io.messages[i].msg_hdr = (struct msghdr){.msg_iov = &io.vectors[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(fd, io.messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        uint64_t from = 0, to = 0;
        struct ppn_slice got = ppn_slice(io.bytes[i], io.messages[i].msg_len);
        bool asked = options.asks && wire_path_peek(got, &from, &to) && from == options.peer &&
                     to == options.me;
        if (io.bytes[i][0] == WIRE_PATH_MAGIC && !asked) {
            *path_bytes += io.messages[i].msg_len;
            continue;
        }
        received++;
        *bytes += io.messages[i].msg_len;
    }
    return received;
}

static void play(int fd, const struct sockaddr_in6 *to, uint64_t me, uint64_t peer)
{
    struct wire_path_key key = key_of(me);
    uint64_t sent = 0, received = 0, bytes = 0, path_bytes = 0;
    int64_t start = now_us(), bound_at = start;
    for (;;) {
        int64_t elapsed = now_us() - start;
        if (elapsed >= options.seconds * 1000000)
            break;
        if (!options.plain && start + elapsed - bound_at > BIND_EVERY_MS * 1000) {
            uint8_t packet[WIRE_PATH_SIZE_MIN];
            size_t size =
                question(packet, sizeof(packet), WIRE_PATH_BIND, me, peer, fresh_counter(), &key);
            sendto(fd, packet, size, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof(*to));
            bound_at = start + elapsed;
        }
        uint64_t now_sent = options.pps != 0 ? send_some(fd, to, sent, elapsed) : 0;
        uint64_t got = receive_some(fd, &bytes, &path_bytes);
        sent += now_sent;
        received += got;
        if (now_sent + got == 0) {
            struct pollfd waits = {fd, POLLIN, 0};
            poll(&waits, 1, 1);
        }
    }
    printf("{\"sent\":%llu,\"received\":%llu,\"bytes\":%llu}\n", (unsigned long long)sent,
           (unsigned long long)received, (unsigned long long)bytes);
}

static int client(char **argv)
{
    struct sockaddr_in6 to = address_of(argv[0], strtol(argv[1], NULL, 10));
    uint64_t me = strtoull(argv[2], NULL, 10), peer = strtoull(argv[3], NULL, 10);
    int fd = udp_socket((uint16_t)options.port);
    options.me = me;
    options.peer = peer;
    if (options.plain) {
        uint8_t hello[32] = {1};
        sendto(fd, hello, sizeof(hello), 0, (struct sockaddr *)&to, sizeof(to));
    } else if (bind_for(fd, &to, me, peer) == 0) {
        printf("{\"error\":\"not bound\"}\n");
        return 1;
    }
    fprintf(stderr, "bound\n");
    play(fd, &to, me, peer);
    return 0;
}

/* ---- others ---- */

static int flood(char **argv)
{
    struct sockaddr_in6 to = address_of(argv[0], strtol(argv[1], NULL, 10));
    uint64_t me = strtoull(argv[2], NULL, 10), sent = 0, received = 0, bytes = 0, path_bytes = 0;
    const char *what = argv[3];
    uint8_t packet[DATAGRAM] = {4};
    struct wire_path_key key = key_of(strcmp(what, "forged") == 0 ? me + 1 : me);
    size_t size = (size_t)options.size;
    int fd = udp_socket(0);
    if (options.mailbox != 0)
        to.sin6_port = htons((uint16_t)options.mailbox);
    if (strcmp(what, "junk") == 0)
        randombytes_buf(packet, size);
    else if (strcmp(what, "forged") == 0)
        size = question(packet, sizeof(packet), WIRE_PATH_BIND, me, me == 1 ? 2 : 1,
                        fresh_counter(), &key);
    else if (strcmp(what, "replay") == 0)
        size = question(packet, sizeof(packet), WIRE_PATH_BIND, me, me == 1 ? 2 : 1,
                        options.counter, &key);
    else if (strcmp(what, "answer") == 0)
        size = question(packet, sizeof(packet), WIRE_PATH_STALE, me, 0, fresh_counter(), &key);
    int64_t start = now_us();
    for (int64_t elapsed = 0; elapsed < options.seconds * 1000000; elapsed = now_us() - start) {
        int64_t due = options.pps < 0 ? BATCH : elapsed * options.pps / 1000000 - (int64_t)sent;
        for (int64_t i = 0; i < due && i < BATCH; i++)
            sent += sendto(fd, packet, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) > 0;
        received += receive_some(fd, &bytes, &path_bytes);
        if (due <= 0)
            usleep(500);
    }
    printf("{\"sent\":%llu,\"sent_bytes\":%llu,\"received\":%llu,\"answer_bytes\":%llu}\n",
           (unsigned long long)sent, (unsigned long long)(sent * size),
           (unsigned long long)received, (unsigned long long)path_bytes);
    return 0;
}

/* ---- a real node's bind, from its WireGuard's port: raw sockets, IPv4 ---- */

struct hand {
    int fd;
    uint64_t me, relay, peer;
    struct wire_path_key key;
    struct sockaddr_in to;
};

static void hand_send(struct hand *hand, enum wire_path_kind kind, uint16_t port)
{
    uint8_t bytes[8 + WIRE_PATH_SIZE_MIN] = {(uint8_t)(options.port >> 8),
                                             (uint8_t)options.port,
                                             (uint8_t)(port >> 8),
                                             (uint8_t)port,
                                             0,
                                             sizeof(bytes)};
    struct ppn_writer writer = ppn_writer(bytes + 8, WIRE_PATH_SIZE_MIN);
    struct wire_path_packet packet = {.kind = kind, .sender = hand->me, .recipient = hand->relay};
    packet.counter = packet.nonce = fresh_counter();
    packet.size = WIRE_PATH_SIZE_MIN;
    packet.bind.node = hand->peer;
    if (wire_path_encode(&packet, &hand->key, &writer) != PPN_OK ||
        sendto(hand->fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&hand->to, sizeof(hand->to)) <
            0)
        die("raw send");
}

/* Waits for an answer; a raw socket hears a copy of everything. */
static bool hand_hear(struct hand *hand, int64_t until_us, struct wire_path_packet *answer)
{
    for (int64_t left = until_us - now_us(); left > 0; left = until_us - now_us()) {
        uint8_t bytes[2048];
        struct pollfd waits = {hand->fd, POLLIN, 0};
        if (poll(&waits, 1, (int)(left / 1000) + 1) <= 0)
            continue;
        ssize_t got = recv(hand->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        size_t skip = got > 0 ? (size_t)(bytes[0] & 15) * 4 + 8 : 0;
        if (got > (ssize_t)skip &&
            wire_path_decode(ppn_slice(bytes + skip, (size_t)got - skip), &hand->key, answer) ==
                PPN_OK &&
            answer->recipient == hand->me)
            return true;
    }
    return false;
}

static void hand_keys(struct hand *hand, char **argv)
{
    struct ppn_hash network;
    struct ppn_node_id self, relay, peer;
    uint8_t seed[32], secret[64];
    struct wire_path_key pair;
    FILE *file = fopen(argv[0], "rb");
    if (file == NULL || fread(seed, 1, sizeof(seed), file) != sizeof(seed) ||
        ppn_unhex(argv[1], network.bytes, sizeof(network.bytes)) != PPN_OK ||
        ppn_unhex(argv[2], relay.bytes, sizeof(relay.bytes)) != PPN_OK ||
        ppn_unhex(argv[3], peer.bytes, sizeof(peer.bytes)) != PPN_OK)
        die("key, network or nodes");
    fclose(file);
    crypto_sign_seed_keypair(self.bytes, secret, seed);
    hand->me = wire_path_tag(&network, &self);
    hand->relay = wire_path_tag(&network, &relay);
    hand->peer = wire_path_tag(&network, &peer);
    if (wire_path_key(&network, secret, &self, &relay, &pair) != PPN_OK)
        die("key");
    wire_path_relay_key(&pair, &hand->key);
}

/* Says the mailbox each time that it is bound there. */
static int bind_by_hand(char **argv)
{
    struct hand hand = {.fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP)};
    struct wire_path_packet answer;
    uint16_t port = (uint16_t)strtol(argv[5], NULL, 10), mailbox = 0;
    hand.to = (struct sockaddr_in){.sin_family = AF_INET};
    if (hand.fd < 0 || inet_pton(AF_INET, argv[4], &hand.to.sin_addr) != 1)
        die("raw socket");
    hand_keys(&hand, argv);
    for (int64_t end = now_us() + options.seconds * 1000000; now_us() < end;) {
        hand_send(&hand, mailbox == 0 ? WIRE_PATH_MAILBOX : WIRE_PATH_BIND,
                  mailbox == 0 ? port : mailbox);
        int64_t again = now_us() + (mailbox == 0 ? 200000 : BIND_EVERY_MS * 1000);
        while (hand_hear(&hand, again, &answer)) {
            if (answer.kind == WIRE_PATH_MAILBOX_IS && answer.mailbox_is.port != mailbox) {
                mailbox = answer.mailbox_is.port;
                break;
            }
            if (answer.kind == WIRE_PATH_BOUND && printf("%d\n", mailbox) > 0)
                fflush(stdout);
        }
    }
    return 0;
}

/* The plain thing: what one port hears goes out of the other to whom that heard last. Batches of
 * reads and sends as the relay has them; no check, no table, no count. */
static int forward(char **argv)
{
    struct sockaddr_in6 heard[2], from[BATCH];
    bool known[2] = {false, false};
    struct pollfd polls[2];
    for (int i = 0; i < 2; i++)
        polls[i] = (struct pollfd){udp_socket((uint16_t)strtol(argv[i], NULL, 10)), POLLIN, 0};
    for (;;) {
        if (poll(polls, 2, -1) < 0)
            die("poll");
        for (int side = 0; side < 2; side++) {
            if (polls[side].revents == 0)
                continue;
            for (int i = 0; i < BATCH; i++) {
                io.vectors[i] = (struct iovec){io.bytes[i], DATAGRAM};
                io.messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                                         .msg_namelen = sizeof(from[i]),
                                                         .msg_iov = &io.vectors[i],
                                                         .msg_iovlen = 1};
            }
            int count = recvmmsg(polls[side].fd, io.messages, BATCH, MSG_DONTWAIT, NULL);
            if (count <= 0)
                continue;
            heard[side] = from[count - 1];
            known[side] = true;
            for (int i = 0; i < count; i++) {
                io.vectors[i].iov_len = io.messages[i].msg_len;
                io.messages[i].msg_hdr.msg_name = &heard[1 - side];
                io.messages[i].msg_hdr.msg_namelen = sizeof(heard[0]);
            }
            for (int done = 0; known[1 - side] && done < count;) {
                int more = sendmmsg(polls[1 - side].fd, io.messages + done,
                                    (unsigned)(count - done), MSG_DONTWAIT);
                done += more > 0 ? more : 1;
            }
        }
    }
}

static bool option(const char *name, const char *value)
{
    if (strcmp(name, "--pps") == 0)
        options.pps = strtol(value, NULL, 10);
    else if (strcmp(name, "--size") == 0)
        options.size = strtol(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        options.seconds = strtol(value, NULL, 10);
    else if (strcmp(name, "--segments") == 0)
        options.segments = strtol(value, NULL, 10);
    else if (strcmp(name, "--mailbox") == 0)
        options.mailbox = strtol(value, NULL, 10);
    else if (strcmp(name, "--port") == 0)
        options.port = strtol(value, NULL, 10);
    else if (strcmp(name, "--counter") == 0)
        options.counter = strtoull(value, NULL, 10);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int arguments;
        int (*run)(char **argv);
    } commands[] = {{"host", 6, host},
                    {"client", 4, client},
                    {"flood", 4, flood},
                    {"bind", 6, bind_by_hand},
                    {"forward", 2, forward}};
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        return 1;
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) != 0 || argc < 2 + commands[i].arguments)
            continue;
        for (int at = 2 + commands[i].arguments; at < argc; at++) {
            if (strcmp(argv[at], "--plain") == 0)
                options.plain = true;
            else if (strcmp(argv[at], "--asks") == 0)
                options.asks = true;
            else if (at + 1 >= argc || !option(argv[at], argv[at + 1]))
                return 2;
            else
                at++;
        }
        if (options.size < 32 || options.segments < 1 || options.size * options.segments > 65000)
            return 2;
        return commands[i].run(argv + 2);
    }
    return 2;
}
