// SPDX-License-Identifier: ISC
#include "node/relay.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/bridge.h"
#include "node/log.h"
#include "node/node.h"
#include "os/os_child.h"
#include "os/os_process.h"
#include "os/os_stream.h"
#include "relay/control.h"
#include "vm/vm_host.h"
#include "wire/path.h"

enum {
    KEYS_PER_TURN = 16, /* an X25519 each: under 2 ms of the loop */
    RESTART_FIRST_MS = 200,
    RESTART_MAX_MS = 10000,
    STEADY_S = 60,              /* a relay that ran so long starts again at once */
    RELAY_UID = VM_UID_BASE - 1 /* nobody else's; below those of the VMs */
};

struct entry {
    struct ppn_node_id id;
    uint64_t tag;
    bool has_key;
    struct wire_path_key key;
    struct relay_count forwarded, over_rate;
};

struct node_relay {
    struct node *node;
    uint32_t count;
    struct entry *entries; /* other members, ascending by tag */
    struct os_closure compute;
    struct os_child *child;
    struct os_stream *stream;
    bool stale_list; /* the child was not told the present list */
    bool running;    /* it said that its ports are open */
    struct relay_stats stats;
    struct os_timer restart;
    struct ppn_duration backoff;
    struct ppn_instant started;
    struct node_bridge *bridge; /* while it runs */
};

static void start(struct node_relay *relay);

static bool wanted(const struct node_relay *relay)
{
    struct node_member self;
    return relay->node->options.advertise_count > 0 &&
           node_member_by_id(relay->node, &relay->node->identity.id, &self) && self.relay;
}

/* ---- members and keys ---- */

static int compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return left->tag < right->tag ? -1 : left->tag > right->tag;
}

static struct entry *find(const struct node_relay *relay, uint64_t tag)
{
    struct entry wanted_entry = {.tag = tag};
    return relay->count == 0 ? NULL
                             : bsearch(&wanted_entry, relay->entries, relay->count,
                                       sizeof(*relay->entries), compare);
}

/* Only members whose key is known: the others follow within moments. */
static void tell(struct node_relay *relay)
{
    relay->stale_list = true;
    if (relay->stream == NULL || os_stream_congested(relay->stream))
        return;
    size_t size = RELAY_CONTROL_HEADER + (size_t)relay->count * RELAY_CONTROL_MEMBER;
    uint8_t *bytes = malloc(size);
    uint32_t count = 0;
    if (bytes == NULL) {
        node_fatal(relay->node, "relay", "out of memory");
        return;
    }
    struct ppn_writer items = ppn_writer(bytes + RELAY_CONTROL_HEADER, size - RELAY_CONTROL_HEADER);
    for (uint32_t i = 0; i < relay->count; i++) {
        const struct entry *entry = &relay->entries[i];
        struct relay_member member = {.tag = entry->tag};
        if (!entry->has_key)
            continue;
        memcpy(member.key, entry->key.bytes, sizeof(member.key));
        relay_control_member(&items, &member);
        count++;
    }
    struct ppn_writer head = ppn_writer(bytes, RELAY_CONTROL_HEADER);
    relay_control_header(&head, RELAY_CONTROL_KIND_MEMBERS, count);
    enum ppn_error error =
        os_stream_write(relay->stream, ppn_slice(bytes, RELAY_CONTROL_HEADER + items.size));
    relay->stale_list = error != PPN_OK;
    sodium_memzero(bytes, size);
    free(bytes);
}

static void compute(void *context)
{
    struct node_relay *relay = context;
    const struct node *node = relay->node;
    uint32_t made = 0;
    bool more = false;
    for (uint32_t i = 0; i < relay->count && !more; i++) {
        struct entry *entry = &relay->entries[i];
        struct wire_path_key pair;
        if (entry->has_key)
            continue;
        more = made == KEYS_PER_TURN;
        if (more)
            break;
        made++;
        if (wire_path_key(&node->network, node->identity.secret_key, &node->identity.id, &entry->id,
                          &pair) != PPN_OK)
            sodium_memzero(&pair, sizeof(pair)); /* an id that is no key is nobody's */
        wire_path_relay_key(&pair, &entry->key);
        sodium_memzero(&pair, sizeof(pair));
        entry->has_key = true;
    }
    if (more)
        os_defer(relay->node->loop, &relay->compute);
    else if (made > 0)
        tell(relay);
}

/* The new table keeps what the old one knew. */
static bool rebuild(struct node_relay *relay)
{
    const struct node *node = relay->node;
    struct node_member member;
    uint32_t cursor = 0, count = 0;
    uint32_t most = admission_member_count(node_log_core(node->log));
    struct entry *entries = calloc(most > 0 ? most : 1, sizeof(*entries));
    if (entries == NULL)
        return false;
    while (count < most && node_member_next(node, &cursor, &member)) {
        struct entry *entry = &entries[count];
        if (ppn_node_id_equal(&member.id, &node->identity.id))
            continue;
        uint64_t tag = wire_path_tag(&node->network, &member.id);
        const struct entry *known = find(relay, tag);
        if (known != NULL && ppn_node_id_equal(&known->id, &member.id))
            *entry = *known;
        entry->id = member.id;
        entry->tag = tag;
        count++;
    }
    qsort(entries, count, sizeof(*entries), compare);
    /* Of two members with one tag the relay can serve neither. */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool twin = (i > 0 && entries[i - 1].tag == entries[i].tag) ||
                    (i + 1 < count && entries[i + 1].tag == entries[i].tag);
        if (!twin)
            entries[kept++] = entries[i];
    }
    if (relay->entries != NULL)
        sodium_memzero(relay->entries, relay->count * sizeof(*relay->entries));
    free(relay->entries);
    relay->entries = entries;
    relay->count = kept;
    return true;
}

/* ---- the child ---- */

static void stop(struct node_relay *relay)
{
    os_timer_stop(&relay->restart);
    os_stream_close(relay->stream);
    relay->stream = NULL;
    os_child_kill(relay->child);
    relay->child = NULL;
    node_bridge_close(relay->bridge);
    relay->bridge = NULL;
    if (relay->running) {
        relay->running = false;
        node_self_touch(relay->node);
    }
}

static void again(struct node_relay *relay, const char *cause)
{
    struct ppn_instant now = os_now(relay->node->loop);
    stop(relay);
    if (ppn_to_ms(ppn_between(relay->started, now)) > STEADY_S * 1000)
        relay->backoff = ppn_ms(RESTART_FIRST_MS);
    ppn_log(PPN_LOG_WARN, "relay-ended", "again_ms=%d cause=\"%s\"", (int)ppn_to_ms(relay->backoff),
            cause);
    os_timer_after(&relay->restart, relay->backoff);
    relay->backoff.ns *= 2;
    if (ppn_to_ms(relay->backoff) > RESTART_MAX_MS)
        relay->backoff = ppn_ms(RESTART_MAX_MS);
}

static void on_exit_child(void *context, const struct os_child_result *result)
{
    struct node_relay *relay = context;
    char text[256];
    const char *said = result->err.size > 0 ? (const char *)result->err.data : result->text;
    (void)snprintf(text, sizeof(text), "%s", said);
    text[strcspn(text, "\r\n")] = '\0';
    relay->child = NULL;
    again(relay, text);
}

static void on_timer(void *context)
{
    start(context);
}

static void take(struct node_relay *relay, enum relay_control_kind kind, const uint8_t *items,
                 uint32_t count)
{
    if (kind == RELAY_CONTROL_KIND_STATS && count == 1) {
        relay_control_read_stats(items, &relay->stats);
        if (!relay->running) {
            relay->running = true;
            ppn_log(PPN_LOG_INFO, "relay", "port=%u mailboxes=%u-%u",
                    relay->node->options.relay_port, relay->node->options.relay_port + 1u,
                    relay->node->options.relay_port_last);
            if (relay->bridge == NULL)
                relay->bridge = node_bridge_serve(relay->node);
            node_self_touch(relay->node);
        }
    }
    for (uint32_t i = 0; kind == RELAY_CONTROL_KIND_USE && i < count; i++) {
        struct relay_use use;
        relay_control_read_use(items + (size_t)i * RELAY_CONTROL_USE, &use);
        struct entry *entry = find(relay, use.tag);
        if (entry == NULL)
            continue;
        entry->forwarded = use.forwarded;
        entry->over_rate = use.over_rate;
    }
}

static size_t on_read(void *context, struct ppn_slice bytes)
{
    struct node_relay *relay = context;
    size_t used = 0;
    while (bytes.size - used >= RELAY_CONTROL_HEADER) {
        enum relay_control_kind kind;
        uint32_t count;
        size_t size = relay_control_frame(bytes.data + used, &kind, &count);
        if (size == 0 || size > OS_STREAM_READ_MAX) {
            again(relay, "ppn-relay says what no ppn-relay says");
            return bytes.size;
        }
        if (bytes.size - used < size)
            break;
        take(relay, kind, bytes.data + used + RELAY_CONTROL_HEADER, count);
        used += size;
    }
    return used;
}

static void on_drain(void *context)
{
    struct node_relay *relay = context;
    if (relay->stale_list)
        tell(relay);
}

/* The child's end follows and says why. */
static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct node_relay *relay = context;
    (void)reason;
    (void)text;
    relay->stream = NULL;
}

static enum ppn_error spawn(struct node_relay *relay, int child_fd, struct ppn_failure *failure)
{
    const struct node_options *options = &relay->node->options;
    char program[OS_PROGRAM_MAX], port[8], first[8], mailboxes[8], rate[24], tag[24], user[16];
    os_process_program("ppn-relay", program);
    (void)snprintf(port, sizeof(port), "%u", options->relay_port);
    (void)snprintf(first, sizeof(first), "%u", options->relay_port + 1u);
    (void)snprintf(mailboxes, sizeof(mailboxes), "%u",
                   (unsigned)(options->relay_port_last - options->relay_port) & 0xffffu);
    (void)snprintf(rate, sizeof(rate), "%llu", (unsigned long long)options->relay_rate_bytes);
    (void)snprintf(
        tag, sizeof(tag), "%016llx",
        (unsigned long long)wire_path_tag(&relay->node->network, &relay->node->identity.id));
    (void)snprintf(user, sizeof(user), "%d", os_process_is_root() ? RELAY_UID : 0);
    const char *argv[] = {program,   "--port", port, "--first-mailbox", first, "--mailboxes",
                          mailboxes, "--rate", rate, "--tag",           tag,   "--user",
                          user,      NULL};
    struct os_child_config config = {.argv = argv,
                                     .output = OS_CHILD_CAPTURE,
                                     .output_max = 4096,
                                     .fds = {{child_fd, RELAY_CONTROL_FD}},
                                     .fd_count = 1,
                                     .no_new_privileges = true};
    return os_child_spawn(relay->node->loop, &config, on_exit_child, relay, &relay->child, failure);
}

static void start(struct node_relay *relay)
{
    static const struct os_stream_handler handler = {
        .on_read = on_read, .on_drain = on_drain, .on_close = on_close};
    struct os_stream_config config = {
        .handler = &handler, .context = relay, .write_max = (size_t)2 * RELAY_CONTROL_MEMBERS_MAX};
    struct ppn_failure failure = {0};
    int fds[2];
    PPN_ASSERT(relay->child == NULL && relay->stream == NULL);
    relay->started = os_now(relay->node->loop);
    enum ppn_error error = os_stream_pair(fds, &failure);
    if (error == PPN_OK) {
        error = os_stream_adopt(relay->node->loop, fds[0], &config, &relay->stream, &failure);
        if (error == PPN_OK)
            error = spawn(relay, fds[1], &failure);
        close(fds[1]);
    }
    if (error != PPN_OK) {
        again(relay, failure.text);
        return;
    }
    tell(relay);
}

/* ---- for the others ---- */

void node_relay_members(struct node_relay *relay)
{
    bool want = wanted(relay), has = relay->child != NULL || os_timer_armed(&relay->restart);
    if (!want) {
        if (has)
            stop(relay);
        return;
    }
    if (!rebuild(relay)) {
        node_fatal(relay->node, "relay", "out of memory");
        return;
    }
    if (has)
        tell(relay);
    else
        start(relay);
    os_defer(relay->node->loop, &relay->compute);
}

struct node_relay *node_relay_open(struct node *node)
{
    struct node_relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL)
        return NULL;
    relay->node = node;
    relay->backoff = ppn_ms(RESTART_FIRST_MS);
    os_timer_init(&relay->restart, node->loop, on_timer, relay);
    os_closure_init(&relay->compute, compute, relay);
    node_relay_members(relay);
    return relay;
}

void node_relay_close(struct node_relay *relay)
{
    if (relay == NULL)
        return;
    relay->running = false;
    stop(relay);
    os_defer_cancel(relay->node->loop, &relay->compute);
    if (relay->entries != NULL)
        sodium_memzero(relay->entries, relay->count * sizeof(*relay->entries));
    free(relay->entries);
    free(relay);
}

uint16_t node_relay_port(const struct node_relay *relay)
{
    return relay != NULL && relay->running ? relay->node->options.relay_port : 0;
}

uint16_t node_relay_tcp_port(const struct node_relay *relay)
{
    return relay != NULL ? node_bridge_port(relay->bridge) : 0;
}

const struct bridge_report *node_relay_tcp(const struct node_relay *relay)
{
    return node_relay_tcp_port(relay) != 0 ? node_bridge_report(relay->bridge) : NULL;
}

bool node_relay_stats(const struct node_relay *relay, struct relay_stats *stats)
{
    if (relay == NULL || !relay->running)
        return false;
    *stats = relay->stats;
    return true;
}

bool node_relay_use(const struct node_relay *relay, const struct ppn_node_id *id,
                    struct relay_count *forwarded, struct relay_count *over_rate)
{
    if (relay == NULL || !relay->running)
        return false;
    const struct entry *entry = find(relay, wire_path_tag(&relay->node->network, id));
    if (entry == NULL || !ppn_node_id_equal(&entry->id, id))
        return false;
    *forwarded = entry->forwarded;
    *over_rate = entry->over_rate;
    return true;
}
