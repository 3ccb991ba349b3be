// SPDX-License-Identifier: ISC

/* ppn-relay: forwards other nodes' WireGuard packets without a key to them. ppn-node starts it
 * on a node that was admitted with the role relay; it becomes a user without rights as soon as its
 * ports are open, before it is told anything. It knows who the members are and the keys of their
 * path packets to this relay, and nothing else: no WireGuard key, no identity, no log. The
 * decisions are those of wg/relay.h. */

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_batch.h"
#include "os/os_clock.h"
#include "os/os_loop.h"
#include "os/os_process.h"
#include "os/os_random.h"
#include "relay/control.h"
#include "wire/path.h"

enum { EXIT_USAGE = 2, STATS_MS = 1000, USE_MAX = 512, FILES_WANTED = 2048 };

struct shell {
    struct os_loop *loop;
    struct os_batch *batch;
    struct relay *core;
    uint64_t tag;
    uint16_t port, first_mailbox;
    uint32_t mailboxes;
    uint64_t rate, user; /* 0: as started */
    uint64_t counter;
    struct os_timer sweep, report;
    uint64_t failed_before; /* sends, already counted as drops */
    struct os_io control;
    uint8_t *in; /* RELAY_CONTROL_MEMBERS_MAX */
    size_t in_size;
    uint8_t out[2 * RELAY_CONTROL_HEADER + RELAY_CONTROL_STATS + USE_MAX * RELAY_CONTROL_USE];
    size_t out_size, out_sent;
    uint32_t use_next; /* member index to report next */
    uint64_t *told;    /* packets of each member index that were reported, PPN_MEMBERS_MAX */
};

/* ---- packets ---- */

/* Types 1 to 4 and three reserved zero bytes: all that WireGuard ever sends. Cookie replies, the
 * shortest of the fixed ones, are 64 bytes; an empty data message has 32. */
static bool looks_like_wireguard(const uint8_t *bytes, size_t size)
{
    return size >= 32 && bytes[0] >= 1 && bytes[0] <= 4 && bytes[1] == 0 && bytes[2] == 0 &&
           bytes[3] == 0;
}

static void answer(struct shell *shell, const struct os_batch_packet *packet,
                   const struct wire_path_packet *question, const struct wire_path_key *key,
                   const struct relay_answer *said)
{
    uint8_t bytes[WIRE_PATH_SIZE_MIN];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_path_packet reply = {.sender = shell->tag, .recipient = question->sender};
    uint16_t port =
        (uint16_t)(said->mailbox == RELAY_NONE ? 0 : shell->first_mailbox + said->mailbox);
    reply.counter = ++shell->counter;
    reply.nonce = question->nonce;
    reply.size = WIRE_PATH_SIZE_MIN;
    switch (said->kind) {
    case RELAY_SILENT:
        return;
    case RELAY_PONG:
        reply.kind = WIRE_PATH_PONG;
        reply.pong.observed = packet->from;
        reply.pong.size = question->size;
        break;
    case RELAY_BOUND:
        reply.kind = WIRE_PATH_BOUND;
        reply.bound.port = port;
        reply.bound.lifetime_s = RELAY_LIFETIME_S;
        reply.bound.observed = packet->from;
        break;
    case RELAY_MAILBOX_IS:
        reply.kind = WIRE_PATH_MAILBOX_IS;
        reply.mailbox_is.port = port;
        break;
    case RELAY_STALE:
        reply.kind = WIRE_PATH_STALE;
        reply.stale.counter = said->counter;
        break;
    }
    enum ppn_error error = wire_path_encode(&reply, key, &writer);
    PPN_ASSERT(error == PPN_OK);
    (void)os_batch_answer(shell->batch, packet->socket, &packet->from, &packet->own,
                          ppn_written(&writer));
}

static struct os_batch_own own_of(const struct relay_route *route)
{
    struct os_batch_own own;
    _Static_assert(sizeof(own.address) == sizeof(route->own), "one kind of address");
    memcpy(own.address, route->own, sizeof(own.address));
    return own;
}

/* What two members ask each other through the relay goes the way of their WireGuard packets, and
 * so proves that way: bound at both ends, one packet for one, within the sender's rate. */
static void pass_on(struct shell *shell, const struct os_batch_packet *packet,
                    struct ppn_slice bytes)
{
    struct relay_route route;
    if (relay_forward(shell->core, os_now(shell->loop), packet->socket - 1, &packet->from, 1,
                      bytes.size, &route) != RELAY_FORWARD)
        return;
    struct os_batch_own own = own_of(&route);
    (void)os_batch_answer(shell->batch, route.mailbox + 1, &route.to, &own, bytes);
}

static void path_packet(struct shell *shell, const struct os_batch_packet *packet,
                        struct ppn_slice bytes)
{
    uint64_t sender, recipient;
    struct wire_path_key key;
    struct wire_path_packet read;
    uint32_t member = RELAY_NONE;
    bool shaped = wire_path_peek(bytes, &sender, &recipient);
    if (shaped && recipient != shell->tag && packet->socket != 0) {
        pass_on(shell, packet, bytes);
        return;
    }
    if (shaped && recipient == shell->tag)
        member = relay_find(shell->core, sender);
    if (member != RELAY_NONE)
        memcpy(key.bytes, relay_member_key(shell->core, member), sizeof(key.bytes));
    if (member == RELAY_NONE || wire_path_decode(bytes, &key, &read) != PPN_OK ||
        !wire_path_is_question(read.kind)) {
        relay_drop(shell->core, RELAY_DROP_FORGED, 1, bytes.size);
        return;
    }
    struct relay_event event = {.kind = RELAY_EVENT_QUESTION};
    struct relay_answer said;
    event.question.kind = read.kind == WIRE_PATH_PING   ? RELAY_PING
                          : read.kind == WIRE_PATH_BIND ? RELAY_BIND
                                                        : RELAY_MAILBOX;
    event.question.member = member;
    event.question.mailbox = packet->socket == 0 ? RELAY_NONE : packet->socket - 1;
    event.question.counter = read.counter;
    event.question.node = read.kind == WIRE_PATH_PING ? 0 : read.bind.node;
    event.question.source = packet->from;
    memcpy(event.question.own, packet->own.address, sizeof(event.question.own));
    enum ppn_error error = relay_step(shell->core, os_now(shell->loop), &event, &said);
    PPN_ASSERT(error == PPN_OK);
    answer(shell, packet, &read, &key, &said);
    os_timer_at(&shell->sweep, relay_deadline(shell->core));
}

static struct ppn_slice segment(const struct os_batch_packet *packet, size_t at)
{
    size_t left = packet->bytes.size - at;
    return ppn_slice(packet->bytes.data + at, left < packet->segment ? left : packet->segment);
}

/* Segments of one sender came together; they are forwarded together, unless one of them is nothing
 * to forward. */
static void on_packet(void *context, const struct os_batch_packet *packet)
{
    struct shell *shell = context;
    size_t size = packet->bytes.size;
    uint32_t packets = 0, ours = 0;
    bool fine = packet->socket != 0;
    for (size_t at = 0; at < size; at += packet->segment, packets++) {
        struct ppn_slice one = segment(packet, at);
        if (one.data[0] == WIRE_PATH_MAGIC) {
            path_packet(shell, packet, one);
            ours++;
        } else {
            fine = fine && looks_like_wireguard(one.data, one.size);
        }
    }
    if (ours == packets)
        return;
    if (!fine || ours > 0) {
        relay_drop(shell->core, RELAY_DROP_SHAPE, packets - ours, size);
        return;
    }
    struct relay_route route;
    if (relay_forward(shell->core, os_now(shell->loop), packet->socket - 1, &packet->from, packets,
                      size, &route) != RELAY_FORWARD)
        return;
    struct os_batch_own own = own_of(&route);
    os_batch_forward(shell->batch, packet, route.mailbox + 1, &route.to, &own);
}

/* ---- the daemon's end ---- */

static void take_members(struct shell *shell, const uint8_t *items, uint32_t count)
{
    struct relay_event event = {.kind = RELAY_EVENT_MEMBERS};
    struct relay_answer none;
    struct relay_member *list = calloc(count > 0 ? count : 1, sizeof(*list));
    if (list == NULL) {
        os_loop_stop(shell->loop); /* rather no relay than one with revoked members */
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        relay_control_read_member(items + (size_t)i * RELAY_CONTROL_MEMBER, &list[i]);
    event.members.list = list;
    event.members.count = count;
    if (relay_step(shell->core, os_now(shell->loop), &event, &none) != PPN_OK)
        os_loop_stop(shell->loop);
    sodium_memzero(list, count * sizeof(*list));
    free(list);
}

/* True while more may be in the buffer. */
static bool take_frame(struct shell *shell)
{
    enum relay_control_kind kind;
    uint32_t count;
    if (shell->in_size < RELAY_CONTROL_HEADER)
        return false;
    size_t size = relay_control_frame(shell->in, &kind, &count);
    if (size == 0 || size > RELAY_CONTROL_MEMBERS_MAX || kind != RELAY_CONTROL_KIND_MEMBERS) {
        os_loop_stop(shell->loop);
        return false;
    }
    if (shell->in_size < size)
        return false;
    take_members(shell, shell->in + RELAY_CONTROL_HEADER, count);
    memmove(shell->in, shell->in + size, shell->in_size - size);
    sodium_memzero(shell->in + shell->in_size - size, size);
    shell->in_size -= size;
    return true;
}

static void flush_report(struct shell *shell)
{
    while (shell->out_sent < shell->out_size) {
        ssize_t sent = send(RELAY_CONTROL_FD, shell->out + shell->out_sent,
                            shell->out_size - shell->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        shell->out_sent += (size_t)sent;
    }
    bool more = shell->out_sent < shell->out_size;
    os_io_want(&shell->control, OS_READABLE | (more ? OS_WRITABLE : 0u));
}

static void on_control(void *context, unsigned ready)
{
    struct shell *shell = context;
    if ((ready & OS_WRITABLE) != 0)
        flush_report(shell);
    if ((ready & OS_READABLE) == 0)
        return;
    ssize_t got = recv(RELAY_CONTROL_FD, shell->in + shell->in_size,
                       RELAY_CONTROL_MEMBERS_MAX - shell->in_size, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        os_loop_stop(shell->loop);
        return;
    }
    shell->in_size += got > 0 ? (size_t)got : 0;
    while (take_frame(shell))
        continue;
}

/* Members whose counters moved, a bounded number of them a second, going round. */
static uint32_t report_use(struct shell *shell, struct ppn_writer *writer)
{
    uint32_t limit = relay_member_limit(shell->core), count = 0;
    for (uint32_t i = 0; i < limit && count < USE_MAX; i++) {
        uint32_t member = (shell->use_next + i) % limit;
        struct relay_use use = {.tag = relay_member_tag(shell->core, member)};
        relay_member_counts(shell->core, member, &use.forwarded, &use.over_rate);
        uint64_t packets = use.forwarded.packets + use.over_rate.packets;
        if (packets == shell->told[member])
            continue;
        shell->told[member] = packets;
        if (use.tag == 0)
            continue;
        relay_control_use(writer, &use);
        count++;
        if (count == USE_MAX)
            shell->use_next = member + 1;
    }
    return count;
}

static void report(void *context)
{
    struct shell *shell = context;
    struct relay_stats stats;
    uint64_t failed = os_batch_stats(shell->batch)->send_failed;
    os_timer_after(&shell->report, ppn_ms(STATS_MS));
    relay_drop(shell->core, RELAY_DROP_SEND, (uint32_t)(failed - shell->failed_before), 0);
    shell->failed_before = failed;
    if (shell->out_sent < shell->out_size)
        return;
    struct ppn_writer items =
        ppn_writer(shell->out + RELAY_CONTROL_HEADER, sizeof(shell->out) - RELAY_CONTROL_HEADER);
    uint32_t count = report_use(shell, &items);
    struct ppn_writer head = ppn_writer(shell->out, RELAY_CONTROL_HEADER);
    relay_control_header(&head, RELAY_CONTROL_KIND_USE, count);
    relay_stats(shell->core, &stats);
    relay_control_header(&items, RELAY_CONTROL_KIND_STATS, 1);
    relay_control_stats(&items, &stats);
    PPN_ASSERT(!items.overflow);
    shell->out_size = RELAY_CONTROL_HEADER + items.size;
    shell->out_sent = 0;
    flush_report(shell);
}

static void on_sweep(void *context)
{
    struct shell *shell = context;
    struct relay_event event = {.kind = RELAY_EVENT_TICK};
    struct relay_answer none;
    enum ppn_error error = relay_step(shell->core, os_now(shell->loop), &event, &none);
    PPN_ASSERT(error == PPN_OK);
    os_timer_at(&shell->sweep, relay_deadline(shell->core));
}

/* ---- start ---- */

static bool parse_number(const char *text, int base, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base);
    *number = value;
    return errno == 0 && end != text && *end == '\0' && value <= most;
}

static bool parse(int argc, char **argv, struct shell *shell)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"first-mailbox", required_argument, NULL, 'f'},
                                            {"mailboxes", required_argument, NULL, 'm'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"tag", required_argument, NULL, 't'},
                                            {"user", required_argument, NULL, 'u'},
                                            {NULL, 0, NULL, 0}};
    uint64_t port = 0, first = 0, mailboxes = 0;
    int option;
    bool fine = true;
    while (fine && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        fine = (option == 'p' && parse_number(optarg, 10, UINT16_MAX, &port)) ||
               (option == 'f' && parse_number(optarg, 10, UINT16_MAX, &first)) ||
               (option == 'm' && parse_number(optarg, 10, RELAY_MAILBOXES_MAX, &mailboxes)) ||
               (option == 'r' && parse_number(optarg, 10, UINT64_MAX / 2, &shell->rate)) ||
               (option == 'u' && parse_number(optarg, 10, UINT32_MAX - 1, &shell->user)) ||
               (option == 't' && parse_number(optarg, 16, UINT64_MAX, &shell->tag));
    }
    shell->port = (uint16_t)port;
    shell->first_mailbox = (uint16_t)first;
    shell->mailboxes = (uint32_t)mailboxes;
    return fine && optind == argc && port > 0 && first > 0 && mailboxes > 0 &&
           first + mailboxes - 1 <= UINT16_MAX && (port < first || port >= first + mailboxes);
}

static enum ppn_error open_ports(struct shell *shell, struct ppn_failure *failure)
{
    enum ppn_error error = os_batch_listen(shell->batch, shell->port, failure);
    for (uint32_t i = 0; error == PPN_OK && i < shell->mailboxes; i++)
        error = os_batch_listen(shell->batch, (uint16_t)(shell->first_mailbox + i), failure);
    return error;
}

static enum ppn_error start(struct shell *shell, struct ppn_failure *failure)
{
    struct relay_config config = {.mailbox_count = shell->mailboxes, .rate_bytes_s = shell->rate};
    config.first_counter = shell->counter = wire_path_counter(os_clock_wall());
    enum ppn_error error = os_loop_open(&shell->loop, failure);
    if (error != PPN_OK)
        return error;
    shell->core = relay_new(&config, os_now(shell->loop), os_random_u64());
    shell->in = calloc(1, RELAY_CONTROL_MEMBERS_MAX);
    shell->told = calloc(PPN_MEMBERS_MAX, sizeof(*shell->told));
    if (shell->core == NULL || shell->in == NULL || shell->told == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    error = os_batch_open(shell->loop, on_packet, shell, &shell->batch, failure);
    if (error == PPN_OK)
        error = open_ports(shell, failure);
    /* Root was needed for buffers over the system's limit, and the daemon sent nothing yet. */
    if (error == PPN_OK && shell->user != 0)
        error = os_process_become((uid_t)shell->user, failure);
    if (error != PPN_OK)
        return error;
    os_timer_init(&shell->sweep, shell->loop, on_sweep, shell);
    os_timer_init(&shell->report, shell->loop, report, shell);
    os_timer_after(&shell->report, ppn_ms(1));
    os_io_init(&shell->control, shell->loop, RELAY_CONTROL_FD, on_control, shell);
    os_io_want(&shell->control, OS_READABLE);
    return PPN_OK;
}

int main(int argc, char **argv)
{
    static struct shell shell;
    struct ppn_failure failure = {0};
    if (!parse(argc, argv, &shell)) {
        (void)fputs("usage: ppn-relay --port P --first-mailbox Q --mailboxes N --rate BYTES/S "
                    "--tag HEX [--user UID]; ppn-node starts it\n",
                    stderr);
        return EXIT_USAGE;
    }
    if (sodium_init() < 0)
        return 1;
    os_process_harden();
    (void)os_process_file_limit(FILES_WANTED);
    if (start(&shell, &failure) != PPN_OK) {
        (void)fprintf(stderr, "%s\n", failure.text);
        return 1;
    }
    os_loop_run(shell.loop);
    return 0;
}
