// SPDX-License-Identifier: ISC
#include "node/machines.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "node/events.h"
#include "node/images.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peers.h"
#include "node/requests.h"
#include "node/self.h"
#include "wire/machine.h"
#include "wire/vm.h"

enum { LIST_PATIENCE_S = 10, TOLD_MAX = 64 };

/* What one member said of its VMs; kept in memory because every `ppn ps` reads it. */
struct others {
    struct node_machines *machines;
    struct others *next;
    struct ppn_node_id id;
    uint64_t digest;
    uint64_t wanted; /* the digest that was last said to be the present one */
    uint64_t asked;  /* the one that the open exchange is about */
    uint32_t count;
    struct ppn_vm_info *infos;
    struct node_exchange exchange; /* a list was asked for */
    struct node_machines_wait *waiting;
};

struct node_machines {
    struct node *node;
    struct vm_host *host;
    struct others *others;
    uint64_t digest;
    struct os_closure publish;
};

struct vm_host *node_machines_host(struct node_machines *machines)
{
    return machines->host;
}

struct vm_host_usage node_machines_usage(const struct node_machines *machines)
{
    return vm_host_usage(machines->host);
}

uint64_t node_machines_digest(const struct node_machines *machines)
{
    return machines->digest;
}

void node_machines_cpu(struct node_machines *machines, const char *cpu)
{
    vm_host_set_cpu(machines->host, cpu);
}

/* ---- own VMs ---- */

static bool find_image(void *context, const struct ppn_hash *hash, struct vm_image *out)
{
    struct node_machines *machines = context;
    struct image_store *store = node_images_store(machines->node->images);
    const struct image *image = image_store_by_hash(store, hash);
    if (image == NULL)
        return false;
    image_store_path(store, image, out->path);
    out->format = image->facts.format;
    out->virtual_bytes = image->facts.virtual_bytes;
    return true;
}

struct persist {
    struct node *node; /* the flow may be gone when the store closes */
    struct node_machines *machines;
    uint64_t ticket;
};

static void on_persisted(void *context, enum ppn_error error)
{
    struct persist *persist = context;
    if (!persist->node->stopping)
        vm_host_persisted(persist->machines->host, persist->ticket, error);
    free(persist);
}

static void commit(struct node_machines *machines, struct store_batch *batch, uint64_t ticket)
{
    struct persist *persist = calloc(1, sizeof(*persist));
    if (persist == NULL) {
        node_fatal(machines->node, "machines", "out of memory");
        return;
    }
    *persist = (struct persist){machines->node, machines, ticket};
    store_commit(machines->node->store, batch, on_persisted, persist);
}

static void persist_record(void *context, const struct vm_record *record, uint64_t ticket)
{
    uint8_t bytes[WIRE_VM_RECORD_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct store_batch batch;
    enum ppn_error error = wire_vm_record_encode(record, &writer);
    PPN_ASSERT(error == PPN_OK);
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_VMS, ppn_slice(record->id.bytes, sizeof(record->id.bytes)),
                    ppn_written(&writer));
    commit(context, &batch, ticket);
}

static void forget_record(void *context, const struct ppn_request_id *id, uint64_t ticket)
{
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_delete(&batch, STORE_VMS, ppn_slice(id->bytes, sizeof(id->bytes)));
    commit(context, &batch, ticket);
}

/* People look at the list right after they changed it: the members hear at once, the others by
 * gossip. */
static void tell_changed(struct node_machines *machines)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_VM_CHANGED, .known_digest = machines->digest};
    struct node *node = machines->node;
    struct node_member member;
    uint32_t cursor = 0, told = 0;
    while (node->peers != NULL && told < TOLD_MAX && node_member_next(node, &cursor, &member)) {
        if (!ppn_node_id_equal(&member.id, &node->identity.id) &&
            node_member_alive(node, &member.id))
            told += node_peers_send(node->peers, &member.id, &frame) == PPN_OK;
    }
}

static void refresh_digest(void *context)
{
    struct node_machines *machines = context;
    static struct ppn_vm_info infos[PPN_VMS_MAX];
    uint32_t count = vm_host_list(machines->host, infos, PPN_VMS_MAX);
    uint64_t digest = wire_vm_list_digest(infos, count);
    if (digest == machines->digest)
        return;
    machines->digest = digest;
    tell_changed(machines);
    node_notify_machines(machines->node);
}

static void on_changed(void *context, const struct ppn_vm_info *info)
{
    struct node_machines *machines = context;
    struct node_vm vm = {*info, machines->node->identity.id};
    ppn_log(PPN_LOG_INFO, "vm", "name=%s state=%d ready=%d reason=\"%s\"", info->name,
            (int)info->state, info->ready, info->reason);
    os_defer(machines->node->loop, &machines->publish);
    node_events_vm(machines->node->events, &vm, false);
    if (machines->node->requests != NULL)
        node_requests_vm(machines->node->requests, &info->id, info);
}

static void on_removed(void *context, const struct ppn_request_id *id)
{
    struct node_machines *machines = context;
    struct node_vm vm = {.info.id = *id, .node = machines->node->identity.id};
    os_defer(machines->node->loop, &machines->publish);
    node_events_vm(machines->node->events, &vm, true);
    if (machines->node->requests != NULL)
        node_requests_vm(machines->node->requests, id, NULL);
}

static const struct vm_host_hooks hooks = {
    .image = find_image,
    .persist = persist_record,
    .forget = forget_record,
    .changed = on_changed,
    .removed = on_removed,
};

struct records {
    struct vm_record *list;
    uint32_t count;
};

static bool read_record(void *context, struct ppn_slice key, struct ppn_slice value,
                        enum ppn_error error)
{
    struct records *records = context;
    if (error == PPN_OK && records->count < PPN_VMS_MAX)
        error = wire_vm_record_decode(value, &records->list[records->count]);
    if (error == PPN_OK && records->count < PPN_VMS_MAX)
        records->count++;
    else
        ppn_log(PPN_LOG_ERROR, "vm-record", "key_size=%zu cause=\"%s\"", key.size,
                ppn_error_text(error));
    return true;
}

static enum ppn_error restore(struct node_machines *machines, struct ppn_failure *failure)
{
    struct records records = {.list = calloc(PPN_VMS_MAX, sizeof(struct vm_record))};
    if (records.list == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    enum ppn_error error =
        store_scan(machines->node->store, STORE_VMS, ppn_slice(NULL, 0), read_record, &records);
    if (error != PPN_OK)
        (void)ppn_fail(failure, error, "the stored VMs cannot be read: %s", ppn_error_text(error));
    else
        error = vm_host_restore(machines->host, records.list, records.count, failure);
    free(records.list);
    return error;
}

/* ---- the VMs of others ---- */

static struct others *find_others(const struct node_machines *machines,
                                  const struct ppn_node_id *id)
{
    for (struct others *others = machines->others; others != NULL; others = others->next) {
        if (ppn_node_id_equal(&others->id, id))
            return others;
    }
    return NULL;
}

static const struct ppn_vm_info *find_info(const struct ppn_vm_info *infos, uint32_t count,
                                           const struct ppn_request_id *id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ppn_request_id_equal(&infos[i].id, id))
            return &infos[i];
    }
    return NULL;
}

/* Replaces a member's list and tells what differs. infos is taken over. */
static void replace(struct others *others, uint64_t digest, struct ppn_vm_info *infos,
                    uint32_t count)
{
    struct node_events *events = others->machines->node->events;
    struct ppn_vm_info *before = others->infos;
    uint32_t before_count = others->count;
    others->infos = infos;
    others->count = count;
    others->digest = digest;
    for (uint32_t i = 0; i < count; i++) {
        const struct ppn_vm_info *old = find_info(before, before_count, &infos[i].id);
        struct node_vm vm = {infos[i], others->id};
        if (old == NULL || memcmp(old, &infos[i], sizeof(*old)) != 0)
            node_events_vm(events, &vm, false);
    }
    for (uint32_t i = 0; i < before_count; i++) {
        struct node_vm vm = {before[i], others->id};
        if (find_info(infos, count, &before[i].id) == NULL)
            node_events_vm(events, &vm, true);
    }
    free(before);
}

static bool take_list(struct others *others, struct ppn_slice bytes)
{
    struct ppn_vm_info *infos = calloc(PPN_VMS_MAX, sizeof(*infos));
    uint64_t digest;
    uint32_t count;
    if (infos == NULL)
        return false;
    if (wire_vm_list_decode(bytes, &digest, infos, PPN_VMS_MAX, &count) != PPN_OK) {
        free(infos);
        return false;
    }
    struct ppn_vm_info *fitted = realloc(infos, (count + 1) * sizeof(*infos));
    replace(others, digest, fitted != NULL ? fitted : infos, count);
    return true;
}

static void tell_waiting(struct others *others)
{
    struct node_machines_wait *waiting = others->waiting;
    others->waiting = NULL;
    while (waiting != NULL) {
        struct node_machines_wait *wait = waiting;
        waiting = wait->next;
        wait->done(wait->context);
    }
}

static void list_frame(void *context, const struct wire_peer_frame *frame)
{
    struct others *others = context;
    struct node *node = others->machines->node;
    uint64_t asked = others->asked;
    if (frame->kind == WIRE_PEER_VM_LIST && frame->vm_list.size > 0 &&
        take_list(others, frame->vm_list))
        store_view_put(node->store, STORE_VIEW_VMS,
                       ppn_slice(others->id.bytes, sizeof(others->id.bytes)), frame->vm_list);
    node_exchange_close(&others->exchange, false, PPN_OK, NULL);
    /* It may have changed again since it was asked for. */
    if (others->wanted != asked)
        node_machines_changed(others->machines, &others->id, others->wanted);
    tell_waiting(others);
}

static void list_end(void *context, enum ppn_error reason, const char *text)
{
    struct others *others = context;
    char scratch[PPN_FINGERPRINT_TEXT];
    ppn_log(PPN_LOG_DEBUG, "vm-list", "from=%s reason=\"%s\" text=\"%s\"",
            node_member_name(others->machines->node, &others->id, scratch), ppn_error_text(reason),
            text);
    tell_waiting(others);
}

static struct others *get_others(struct node_machines *machines, const struct ppn_node_id *id)
{
    struct others *others = find_others(machines, id);
    if (others != NULL)
        return others;
    others = calloc(1, sizeof(*others));
    if (others == NULL)
        return NULL;
    others->machines = machines;
    others->id = *id;
    others->exchange =
        (struct node_exchange){.context = others, .on_frame = list_frame, .on_end = list_end};
    others->next = machines->others;
    machines->others = others;
    return others;
}

static enum ppn_error ask(struct others *others, uint64_t digest)
{
    struct wire_peer_frame frame = {.kind = WIRE_PEER_VM_LIST_WANT, .known_digest = others->digest};
    others->asked = digest;
    return node_exchange_open(others->machines->node->peers, &others->id, &others->exchange,
                              ppn_seconds(LIST_PATIENCE_S), &frame);
}

enum ppn_error node_machines_ask(struct node_machines *machines, const struct ppn_node_id *id,
                                 struct node_machines_wait *wait)
{
    struct others *others = get_others(machines, id);
    if (others == NULL)
        return PPN_ERROR_NO_MEMORY;
    if (!node_exchange_is_open(&others->exchange)) {
        enum ppn_error error = ask(others, others->wanted);
        if (error != PPN_OK)
            return error;
    }
    wait->next = others->waiting;
    others->waiting = wait;
    return PPN_OK;
}

void node_machines_changed(struct node_machines *machines, const struct ppn_node_id *id,
                           uint64_t digest)
{
    struct others *others = find_others(machines, id);
    uint64_t known = others != NULL ? others->digest : 0;
    if (known == digest)
        return;
    others = get_others(machines, id);
    if (others == NULL)
        return;
    others->wanted = digest;
    if (node_exchange_is_open(&others->exchange))
        return;
    if (ask(others, digest) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "vm-list-unasked", "digest=%llu", (unsigned long long)known);
}

void node_machines_check(struct node_machines *machines, const struct ppn_node_id *id)
{
    struct gossip_member member;
    struct ppn_load load;
    if (node_gossip_member(machines->node, id, &member) == PPN_OK && member.state == GOSSIP_ALIVE &&
        node_member_load(&member, &load))
        node_machines_changed(machines, id, load.vm_digest);
}

void node_machines_forget(struct node_machines *machines, const struct ppn_node_id *id)
{
    struct others **at = &machines->others;
    while (*at != NULL && !ppn_node_id_equal(&(*at)->id, id))
        at = &(*at)->next;
    if (*at == NULL)
        return;
    struct others *gone = *at;
    *at = gone->next;
    node_exchange_close(&gone->exchange, false, PPN_OK, NULL);
    replace(gone, 0, NULL, 0);
    tell_waiting(gone);
    free(gone);
    store_view_delete(machines->node->store, STORE_VIEW_VMS,
                      ppn_slice(id->bytes, sizeof(id->bytes)));
}

void node_machines_frame(struct node_machines *machines, struct node_link *link,
                         const struct wire_peer_frame *frame)
{
    static struct ppn_vm_info infos[PPN_VMS_MAX];
    static uint8_t bytes[WIRE_VM_LIST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    struct wire_peer_frame answer = {.kind = WIRE_PEER_VM_LIST, .stream = frame->stream};
    refresh_digest(machines);
    uint32_t count = vm_host_list(machines->host, infos, PPN_VMS_MAX);
    if (frame->known_digest != machines->digest || count == 0) {
        if (wire_vm_list_encode(machines->digest, infos, count, &writer) != PPN_OK)
            return;
        answer.vm_list = ppn_written(&writer);
    }
    if (node_link_send(link, &answer) != PPN_OK)
        ppn_log(PPN_LOG_DEBUG, "vm-list-unsent", "count=%u", count);
}

void node_vm_each(const struct node *node, node_vm_fn *fn, void *context)
{
    struct ppn_vm_info *own = calloc(PPN_VMS_MAX, sizeof(*own));
    bool go_on = own != NULL;
    uint32_t count = own != NULL ? vm_host_list(node->machines->host, own, PPN_VMS_MAX) : 0;
    for (uint32_t i = 0; go_on && i < count; i++) {
        struct node_vm vm = {own[i], node->identity.id};
        go_on = fn(context, &vm);
    }
    free(own);
    for (struct others *others = node->machines->others; go_on && others != NULL;
         others = others->next) {
        for (uint32_t i = 0; go_on && i < others->count; i++) {
            struct node_vm vm = {others->infos[i], others->id};
            go_on = fn(context, &vm);
        }
    }
}

struct search {
    const struct ppn_request_id *id;
    const char *name;
    struct node_vm *found;
    uint32_t count;
};

static bool look(void *context, const struct node_vm *vm)
{
    struct search *search = context;
    bool hit = search->id != NULL ? ppn_request_id_equal(search->id, &vm->info.id)
                                  : strcmp(search->name, vm->info.name) == 0;
    if (hit) {
        *search->found = *vm;
        search->count++;
    }
    return true;
}

enum ppn_error node_vm_by_id(const struct node *node, const struct ppn_request_id *id,
                             struct node_vm *vm)
{
    struct search search = {.id = id, .found = vm};
    node_vm_each(node, look, &search);
    return search.count > 0 ? PPN_OK : PPN_ERROR_NOT_FOUND;
}

enum ppn_error node_vm_by_name(const struct node *node, const char *name, struct node_vm *vm)
{
    struct search search = {.name = name, .found = vm};
    node_vm_each(node, look, &search);
    if (search.count == 0)
        return PPN_ERROR_NOT_FOUND;
    return search.count == 1 ? PPN_OK : PPN_ERROR_CONFLICT;
}

/* ---- life ---- */

static bool restore_others(void *context, struct ppn_slice key, struct ppn_slice value,
                           enum ppn_error error)
{
    struct node_machines *machines = context;
    struct ppn_node_id id;
    if (error != PPN_OK || key.size != sizeof(id.bytes))
        return true;
    memcpy(id.bytes, key.data, sizeof(id.bytes));
    struct others *others = get_others(machines, &id);
    return others == NULL || take_list(others, value) || true;
}

enum ppn_error node_machines_open(struct node *node, struct node_machines **out,
                                  struct ppn_failure *failure)
{
    struct node_machines *machines = calloc(1, sizeof(*machines));
    if (machines == NULL)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    struct vm_host_config config = {
        .loop = node->loop,
        .worker = node->worker,
        .state_dir = node->options.state_dir,
        .network = true,
        .hooks = &hooks,
        .context = machines,
    };
    machines->node = node;
    os_closure_init(&machines->publish, refresh_digest, machines);
    *out = machines;
    enum ppn_error error = vm_host_open(&config, &machines->host, failure);
    if (error == PPN_OK)
        error = restore(machines, failure);
    if (error != PPN_OK)
        return error;
    os_defer(node->loop, &machines->publish);
    if (store_scan(node->store, STORE_VIEW_VMS, ppn_slice(NULL, 0), restore_others, machines) !=
        PPN_OK)
        ppn_log(PPN_LOG_WARN, "vm-view", "text=\"stored VM lists could not be read\"");
    return PPN_OK;
}

void node_machines_close(struct node_machines *machines)
{
    if (machines == NULL)
        return;
    while (machines->others != NULL) {
        struct others *others = machines->others;
        machines->others = others->next;
        node_exchange_close(&others->exchange, false, PPN_OK, NULL);
        free(others->infos);
        free(others);
    }
    os_defer_cancel(machines->node->loop, &machines->publish);
    vm_host_close(machines->host);
    free(machines);
}
