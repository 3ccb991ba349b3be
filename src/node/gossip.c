// SPDX-License-Identifier: ISC
#include "node/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/events.h"
#include "node/node.h"
#include "node/notify.h"
#include "os/os_address.h"
#include "os/os_random.h"
#include "os/os_udp.h"
#include "wire/facts.h"
#include "wire/gossip.h"

enum { VIEW_KEY_SIZE = PPN_ID_SIZE + 1, RECEIVE_BUFFER_BYTES = 512 * 1024 };

static const char epoch_key[] = "gossip-epoch";

/* A change that the core reported, kept until the core's step is over: those who hear of it may
 * lead to further steps, which reuse the core's memory. */
struct change {
    struct ppn_node_id node;
    uint32_t what;
    enum gossip_state was, state;
    enum gossip_cause cause;
};

struct node_gossip {
    struct node *node;
    struct gossip *core;
    struct os_udp *udp;
    struct os_timer timer;
    struct os_closure tick;
    struct os_closure tell;
    uint32_t epoch, epochs_under_way;
    struct change *changes;
    uint32_t change_count, change_capacity;
    struct ppn_node_id clones[NODE_CLONES_MAX];
    uint32_t clone_count;
    bool clone_untold;
};

static struct ppn_slice view_key(uint8_t key[static VIEW_KEY_SIZE], const struct ppn_node_id *node,
                                 uint8_t kind)
{
    memcpy(key, node->bytes, PPN_ID_SIZE);
    key[PPN_ID_SIZE] = kind;
    return ppn_slice(key, VIEW_KEY_SIZE);
}

static void send_packet(struct node_gossip *gossip, const struct gossip_action *action)
{
    uint8_t bytes[PPN_DATAGRAM_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct ppn_endpoint to = {.port = PPN_PORT_GOSSIP};
    if (!node_member_address(gossip->node, &action->node, to.address))
        return;
    enum ppn_error error = wire_gossip_encode(action->packet, &writer);
    PPN_ASSERT(error == PPN_OK);
    (void)os_udp_send(gossip->udp, &to, ppn_written(&writer));
}

static void step(struct node_gossip *gossip, const struct gossip_event *event);

/* The node's own memory: the flow may be gone when the store closes. */
static void epoch_persisted(void *context, enum ppn_error error)
{
    struct node *node = context;
    struct node_gossip *gossip = node->gossip;
    if (node->stopping || gossip == NULL)
        return;
    if (error != PPN_OK) {
        node_fatal(node, "gossip-epoch",
                   "cannot write the epoch of this start; free space in the state directory");
        return;
    }
    /* An earlier one of two: the later is the one to go on under. */
    if (--gossip->epochs_under_way > 0)
        return;
    struct gossip_event event = {.kind = GOSSIP_EVENT_EPOCH_PERSISTED, .epoch = gossip->epoch};
    step(gossip, &event);
}

static void persist_epoch(struct node_gossip *gossip, uint32_t epoch)
{
    uint8_t value[4];
    struct ppn_writer writer = ppn_writer(value, sizeof(value));
    struct store_batch batch;
    gossip->epoch = epoch;
    gossip->epochs_under_way++;
    ppn_write_u32(&writer, epoch);
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, ppn_slice(epoch_key, sizeof(epoch_key) - 1),
                    ppn_written(&writer));
    store_commit(gossip->node->store, &batch, epoch_persisted, gossip->node);
}

static void keep_change(struct node_gossip *gossip, const struct gossip_action *action)
{
    if (gossip->change_count == gossip->change_capacity) {
        uint32_t capacity = gossip->change_capacity == 0 ? 16 : 2 * gossip->change_capacity;
        struct change *grown = realloc(gossip->changes, capacity * sizeof(*grown));
        if (grown == NULL) {
            node_fatal(gossip->node, "gossip", "out of memory");
            return;
        }
        gossip->changes = grown;
        gossip->change_capacity = capacity;
    }
    gossip->changes[gossip->change_count++] =
        (struct change){action->node, action->what, action->was, action->state, action->cause};
    os_defer(gossip->node->loop, &gossip->tell);
}

/* The alarm stands until the next start, or until the member is revoked. */
static void keep_clone(struct node_gossip *gossip, const struct ppn_node_id *node)
{
    for (uint32_t i = 0; i < gossip->clone_count; i++)
        if (ppn_node_id_equal(&gossip->clones[i], node))
            return;
    if (gossip->clone_count == NODE_CLONES_MAX)
        return;
    gossip->clones[gossip->clone_count++] = *node;
    gossip->clone_untold = true;
    os_defer(gossip->node->loop, &gossip->tell);
}

static void report(struct node_gossip *gossip, const struct gossip_action *action)
{
    char scratch[PPN_FINGERPRINT_TEXT];
    const char *name = node_member_name(gossip->node, &action->node, scratch);
    if (action->kind == GOSSIP_DO_CLONE) {
        ppn_log(PPN_LOG_ERROR, "key-cloned",
                "node=%s text=\"two machines speak with this node's key: revoke it\"", name);
        keep_clone(gossip, &action->node);
    } else {
        ppn_log(PPN_LOG_WARN, "gossip-forged", "from=%s", name);
    }
}

static void carry_out(struct node_gossip *gossip, const struct gossip_action *action)
{
    struct store *store = gossip->node->store;
    uint8_t key[VIEW_KEY_SIZE];
    switch (action->kind) {
    case GOSSIP_DO_SEND:
        send_packet(gossip, action);
        return;
    case GOSSIP_DO_PERSIST_EPOCH:
        persist_epoch(gossip, action->epoch);
        return;
    case GOSSIP_DO_PERSIST_ITEM:
        store_view_put(store, STORE_VIEW_MEMBERS,
                       view_key(key, &action->node, (uint8_t)action->item_kind), action->bytes);
        return;
    case GOSSIP_DO_FORGET:
        for (uint8_t kind = GOSSIP_ITEM_LIFE; kind < GOSSIP_ITEM_KIND_END; kind++)
            store_view_delete(store, STORE_VIEW_MEMBERS, view_key(key, &action->node, kind));
        return;
    case GOSSIP_DO_MEMBER:
        keep_change(gossip, action);
        return;
    case GOSSIP_DO_CLONE:
    case GOSSIP_DO_FORGED:
        report(gossip, action);
        return;
    }
    PPN_UNREACHABLE();
}

static void step(struct node_gossip *gossip, const struct gossip_event *event)
{
    struct gossip_update update = {0};
    enum ppn_error error = gossip_step(gossip->core, os_now(gossip->node->loop), event, &update);
    if (error != PPN_OK)
        ppn_log(PPN_LOG_WARN, "gossip-step", "event=%d cause=\"%s\"", (int)event->kind,
                ppn_error_text(error));
    for (uint32_t i = 0; i < update.count; i++)
        carry_out(gossip, &update.actions[i]);
    os_timer_at(&gossip->timer, gossip_deadline(gossip->core));
}

static void tell_changes(void *context)
{
    struct node_gossip *gossip = context;
    for (uint32_t i = 0; i < gossip->change_count; i++) {
        struct change change = gossip->changes[i];
        struct node_change told = {change.node, change.what, change.was, change.state,
                                   change.cause};
        node_notify_gossip(gossip->node, &told);
    }
    gossip->change_count = 0;
    if (gossip->clone_untold)
        node_events_alarms(gossip->node->events);
    gossip->clone_untold = false;
}

/* The timer only posts the tick: what waits in the socket is read first. */
static void on_timer(void *context)
{
    struct node_gossip *gossip = context;
    os_defer(gossip->node->loop, &gossip->tick);
}

static void on_tick(void *context)
{
    struct node_gossip *gossip = context;
    struct ppn_duration gap = os_suspend_gap(gossip->node->loop);
    if (gap.ns > 0) {
        ppn_log(PPN_LOG_INFO, "resumed", "slept_ms=%lld", (long long)ppn_to_ms(gap));
        struct gossip_event slept = {.kind = GOSSIP_EVENT_SUSPENDED};
        step(gossip, &slept);
        node_notify_resumed(gossip->node);
    }
    struct gossip_event event = {.kind = GOSSIP_EVENT_TICK};
    step(gossip, &event);
}

static void on_receive(void *context, const struct ppn_endpoint *from, struct ppn_slice datagram)
{
    struct node_gossip *gossip = context;
    struct gossip_packet packet;
    struct gossip_event event = {.kind = GOSSIP_EVENT_PACKET, .packet = &packet};
    if (!node_member_by_address(gossip->node, from->address, &event.node) ||
        from->port != PPN_PORT_GOSSIP)
        return;
    if (wire_gossip_decode(datagram, &packet) != PPN_OK) {
        ppn_log(PPN_LOG_DEBUG, "gossip-malformed", "size=%zu", datagram.size);
        return;
    }
    step(gossip, &event);
}

static void on_unreachable(void *context, const struct ppn_endpoint *to, bool host_answers)
{
    struct node_gossip *gossip = context;
    struct gossip_event event = {.kind = GOSSIP_EVENT_REFUSED};
    if (host_answers && node_member_by_address(gossip->node, to->address, &event.node))
        step(gossip, &event);
}

static bool restore_row(void *context, struct ppn_slice key, struct ppn_slice value,
                        enum ppn_error error)
{
    struct node_gossip *gossip = context;
    struct gossip_event event = {.kind = GOSSIP_EVENT_RESTORE, .bytes = value};
    if (error != PPN_OK || key.size != VIEW_KEY_SIZE)
        return true;
    memcpy(event.node.bytes, key.data, PPN_ID_SIZE);
    step(gossip, &event);
    return true;
}

static void add_members(struct node_gossip *gossip)
{
    struct node_member member;
    uint32_t cursor = 0;
    while (node_member_next(gossip->node, &cursor, &member)) {
        struct gossip_event event = {
            .kind = GOSSIP_EVENT_MEMBERS, .nodes = &member.id, .count = 1, .added = true};
        if (!ppn_node_id_equal(&member.id, &gossip->node->identity.id))
            step(gossip, &event);
    }
}

static enum ppn_error open_socket(struct node_gossip *gossip, struct ppn_failure *failure)
{
    struct os_udp_config config = {
        .bind.port = PPN_PORT_GOSSIP,
        .interface = gossip->node->options.interface,
        .freebind = true,
        .receive_buffer_bytes = RECEIVE_BUFFER_BYTES,
        .on_receive = on_receive,
        .on_unreachable = on_unreachable,
        .context = gossip,
    };
    memcpy(config.bind.address, gossip->node->mesh_address, sizeof(config.bind.address));
    return os_udp_open(gossip->node->loop, &config, &gossip->udp, failure);
}

static uint32_t stored_epoch(struct node *node)
{
    uint8_t value[4];
    size_t size;
    enum ppn_error error =
        store_get_copy(node->store, STORE_META, ppn_slice(epoch_key, sizeof(epoch_key) - 1), value,
                       sizeof(value), &size);
    return error == PPN_OK && size == sizeof(value) ? ppn_read_u32(value) : 0;
}

enum ppn_error node_gossip_open(struct node *node, struct node_gossip **out,
                                struct ppn_failure *failure)
{
    struct node_gossip *gossip = calloc(1, sizeof(*gossip));
    if (gossip == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    gossip->node = node;
    struct gossip_config config = {
        .self = node->identity.id,
        .network = node->network,
        .crypto = gossip_ed25519(node->identity.secret_key),
    };
    os_timer_init(&gossip->timer, node->loop, on_timer, gossip);
    os_closure_init(&gossip->tick, on_tick, gossip);
    os_closure_init(&gossip->tell, tell_changes, gossip);
    gossip->core = gossip_init(&config, os_now(node->loop), os_random_u64());
    enum ppn_error error = gossip->core != NULL
                               ? open_socket(gossip, failure)
                               : ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    if (error != PPN_OK) {
        gossip_free(gossip->core);
        free(gossip);
        return error;
    }
    *out = gossip;
    add_members(gossip);
    if (store_scan(node->store, STORE_VIEW_MEMBERS, ppn_slice(NULL, 0), restore_row, gossip) !=
        PPN_OK)
        ppn_log(PPN_LOG_WARN, "gossip-restore", "text=\"the stored view could not be read\"");
    return PPN_OK;
}

enum ppn_error node_gossip_rebind(struct node_gossip *gossip, struct ppn_failure *failure)
{
    os_udp_close(gossip->udp);
    gossip->udp = NULL;
    return open_socket(gossip, failure);
}

void node_gossip_start(struct node_gossip *gossip)
{
    struct gossip_event event = {.kind = GOSSIP_EVENT_START, .epoch = stored_epoch(gossip->node)};
    step(gossip, &event);
}

void node_gossip_close(struct node_gossip *gossip)
{
    if (gossip == NULL)
        return;
    os_timer_stop(&gossip->timer);
    os_defer_cancel(gossip->node->loop, &gossip->tick);
    os_defer_cancel(gossip->node->loop, &gossip->tell);
    if (gossip->udp != NULL)
        os_udp_close(gossip->udp);
    gossip_free(gossip->core);
    free(gossip->changes);
    free(gossip);
}

void node_gossip_publish(struct node_gossip *gossip, enum gossip_plane plane, struct ppn_slice body)
{
    struct gossip_event event = {.kind = GOSSIP_EVENT_SELF_BODY, .plane = plane, .bytes = body};
    step(gossip, &event);
}

void node_gossip_members(struct node_gossip *gossip, const struct ppn_node_id *nodes,
                         uint32_t count, bool added)
{
    struct gossip_event event = {
        .kind = GOSSIP_EVENT_MEMBERS, .nodes = nodes, .count = count, .added = added};
    step(gossip, &event);
}

void node_gossip_leave(struct node_gossip *gossip)
{
    struct gossip_event event = {.kind = GOSSIP_EVENT_LEAVE};
    step(gossip, &event);
}

uint32_t node_gossip_clones(const struct node_gossip *gossip,
                            struct ppn_node_id nodes[static NODE_CLONES_MAX])
{
    memcpy(nodes, gossip->clones, sizeof(gossip->clones));
    return gossip->clone_count;
}

const struct gossip *node_gossip_core(const struct node_gossip *gossip)
{
    return gossip->core;
}

enum ppn_error node_gossip_member(const struct node *node, const struct ppn_node_id *id,
                                  struct gossip_member *member)
{
    return node->gossip == NULL ? PPN_ERROR_NOT_FOUND
                                : gossip_member(node->gossip->core, id, member);
}

bool node_member_profile(const struct gossip_member *member, struct ppn_profile *profile)
{
    return member->profile.size > 0 && wire_profile_decode(member->profile, profile) == PPN_OK;
}

bool node_member_load(const struct gossip_member *member, struct ppn_load *load)
{
    return member->load.size > 0 && wire_load_decode(member->load, load) == PPN_OK;
}

bool node_member_alive(const struct node *node, const struct ppn_node_id *id)
{
    struct gossip_member member;
    return node_gossip_member(node, id, &member) == PPN_OK && member.state == GOSSIP_ALIVE;
}
