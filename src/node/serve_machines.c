// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "api/api_request.h"
#include "node/machines.h"
#include "node/remote.h"
#include "node/serve_internal.h"
#include "node/views.h"
#include "vm/vm_host.h"

enum { LOG_CHUNK = 16 * 1024, LOG_POLL_MS = 200, KEYS_RETRY_MS = 50, TAIL_SCAN_MAX = 1024 * 1024 };

/* The VM meant, when it is one of this node. False after it was answered or forwarded. */
static bool find_here(struct node *node, struct api_request *request, const struct api_vm_ref *ref,
                      struct node_vm *vm)
{
    enum ppn_error error = PPN_ERROR_NOT_FOUND;
    struct gossip_member member;
    char scratch[PPN_FINGERPRINT_TEXT];
    if (ref->is_id)
        error = node_vm_by_id(node, &ref->id, vm);
    if (error == PPN_ERROR_NOT_FOUND)
        error = node_vm_by_name(node, ref->text, vm);
    if (error == PPN_ERROR_CONFLICT) {
        api_reply_error(request, error,
                        "several VMs are named %s; use the id that ppn ps --json "
                        "shows",
                        ref->text);
        return false;
    }
    if (error != PPN_OK) {
        api_reply_error(request, error, "no VM %s; see ppn ps", ref->text);
        return false;
    }
    if (ppn_node_id_equal(&vm->node, &node->identity.id))
        return true;
    if (node_gossip_member(node, &vm->node, &member) != PPN_OK || member.state == GOSSIP_DEAD ||
        member.state == GOSSIP_UNREACHABLE || member.state == GOSSIP_LEFT) {
        api_reply_error(request, PPN_ERROR_UNREACHABLE,
                        "VM %s is on %s, which cannot be reached; try again when it is back",
                        ref->text, node_member_name(node, &vm->node, scratch));
        return false;
    }
    node_remote_forward(node->remote, request, &vm->node);
    return false;
}

static void reply(struct node *node, struct api_request *request, struct node_vm *vm,
                  enum ppn_error error)
{
    static struct node_view_buffer buffer;
    struct api_vm_view view;
    if (error == PPN_ERROR_CONFLICT) {
        api_reply_error(request, error, "VM %s is %s: this cannot be done to it now", vm->info.name,
                        api_vm_state_name(vm->info.state));
        return;
    }
    if (error != PPN_OK) {
        api_reply_error(request, error, "VM %s: %s", vm->info.name, ppn_error_text(error));
        return;
    }
    (void)vm_host_find(node_machines_host(node->machines), &vm->info.id, &vm->info);
    node_view_vm(node, vm, &buffer, &view);
    api_reply_vm(request, &view);
}

void node_serve_vm_stop(void *context, struct api_request *request, const struct api_stop *stop)
{
    struct node *node = context;
    struct node_vm vm;
    if (find_here(node, request, &stop->vm, &vm))
        reply(node, request, &vm,
              vm_host_stop(node_machines_host(node->machines), &vm.info.id,
                           ppn_seconds(stop->grace_seconds)));
}

void node_serve_vm_kill(void *context, struct api_request *request, const struct api_vm_ref *ref)
{
    struct node *node = context;
    struct node_vm vm;
    if (find_here(node, request, ref, &vm))
        reply(node, request, &vm, vm_host_kill(node_machines_host(node->machines), &vm.info.id));
}

void node_serve_vm_start(void *context, struct api_request *request, const struct api_vm_ref *ref)
{
    struct node *node = context;
    struct node_vm vm;
    if (find_here(node, request, ref, &vm))
        reply(node, request, &vm, vm_host_start(node_machines_host(node->machines), &vm.info.id));
}

void node_serve_vm_remove(void *context, struct api_request *request, const struct api_vm_ref *ref)
{
    struct node *node = context;
    struct node_vm vm;
    if (!find_here(node, request, ref, &vm))
        return;
    enum ppn_error error = vm_host_remove(node_machines_host(node->machines), &vm.info.id);
    if (error == PPN_OK)
        api_reply_done(request, "removed");
    else
        reply(node, request, &vm, error);
}

/* ---- the serial log ---- */

struct reading {
    struct node *node;
    struct api_request *request;
    struct ppn_request_id id;
    uint64_t offset;
    bool follow;
    struct os_timer timer;
};

static void end_reading(struct reading *reading)
{
    os_timer_stop(&reading->timer);
    free(reading);
}

static void read_on(void *context)
{
    static uint8_t bytes[LOG_CHUNK];
    struct reading *reading = context;
    struct api_request *request = reading->request;
    for (;;) {
        size_t room = api_stream_room(request), size = 0;
        uint64_t next = reading->offset;
        if (room == 0)
            return;
        enum ppn_error error = vm_host_log_read(
            node_machines_host(reading->node->machines), &reading->id, reading->offset, bytes,
            room < sizeof(bytes) ? room : sizeof(bytes), &size, &next);
        reading->offset = next;
        if (error != PPN_OK || (size == 0 && !reading->follow)) {
            end_reading(reading);
            api_stream_end(request);
            return;
        }
        if (size == 0) {
            os_timer_after(&reading->timer, ppn_ms(LOG_POLL_MS));
            return;
        }
        if (api_stream_bytes(request, ppn_slice(bytes, size)) != PPN_OK)
            return;
    }
}

static void on_writable(void *context, struct api_request *request)
{
    struct reading *reading = context;
    (void)request;
    os_timer_after(&reading->timer, ppn_ms(0));
}

static void on_gone(void *context, struct api_request *request)
{
    (void)request;
    end_reading(context);
}

/* Where the last `lines` lines start. */
static uint64_t tail_offset(struct vm_host *host, const struct ppn_request_id *id, uint32_t lines)
{
    uint64_t start = vm_host_log_tail(host, id, TAIL_SCAN_MAX), offset = start, found = start;
    uint64_t next = start;
    static uint8_t bytes[LOG_CHUNK];
    uint64_t total = 0, seen = 0;
    size_t size;
    for (int pass = 0; pass < 2; pass++) {
        offset = start;
        while (vm_host_log_read(host, id, offset, bytes, sizeof(bytes), &size, &next) == PPN_OK &&
               size > 0) {
            for (size_t i = 0; i < size; i++) {
                if (bytes[i] != '\n')
                    continue;
                total += pass == 0;
                seen += pass == 1;
                if (pass == 1 && total > lines && seen == total - lines)
                    found = next - size + i + 1;
            }
            offset = next;
        }
    }
    return found;
}

void node_serve_vm_logs(void *context, struct api_request *request, const struct api_logs *logs)
{
    struct node *node = context;
    struct vm_host *host = node_machines_host(node->machines);
    struct node_vm vm;
    if (!find_here(node, request, &logs->vm, &vm))
        return;
    struct reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    struct api_watch watch = {.context = reading, .writable = on_writable, .gone = on_gone};
    *reading = (struct reading){
        .node = node, .request = request, .id = vm.info.id, .follow = logs->follow};
    os_timer_init(&reading->timer, node->loop, read_on, reading);
    if (logs->tail_lines > 0)
        reading->offset = tail_offset(host, &vm.info.id, logs->tail_lines);
    api_request_watch(request, &watch);
    api_stream_begin(request, API_STREAM_BYTES);
    read_on(reading);
}

/* ---- the console ---- */

struct console {
    struct api_request *request;
    struct vm_viewer *viewer;
    struct os_timer retry; /* the guest did not read: offer the keys again */
};

static void end_console(struct console *console)
{
    os_timer_stop(&console->retry);
    free(console);
}

static void offer_again(void *context)
{
    struct console *console = context;
    api_request_resume(console->request);
}

static void on_output(void *context, struct ppn_slice bytes)
{
    struct console *console = context;
    /* A viewer that does not keep up misses output: the log has all of it. */
    (void)(api_stream_bytes(console->request, bytes) == PPN_OK);
}

static void on_console_end(void *context)
{
    struct console *console = context;
    struct api_request *request = console->request;
    end_console(console);
    api_stream_end(request);
}

static const struct vm_viewer_handler viewer_handler = {.on_output = on_output,
                                                        .on_end = on_console_end};

static size_t on_keys(void *context, struct api_request *request, struct ppn_slice bytes)
{
    struct console *console = context;
    (void)request;
    if (vm_viewer_write(console->viewer, bytes) == PPN_OK)
        return bytes.size;
    os_timer_after(&console->retry, ppn_ms(KEYS_RETRY_MS));
    return 0;
}

static void on_keys_end(void *context, struct api_request *request)
{
    struct console *console = context;
    vm_viewer_detach(console->viewer);
    end_console(console);
    api_stream_end(request);
}

static void on_console_gone(void *context, struct api_request *request)
{
    struct console *console = context;
    (void)request;
    vm_viewer_detach(console->viewer);
    end_console(console);
}

typedef enum ppn_error attach_fn(struct vm_host *host, const struct ppn_request_id *id,
                                 const struct vm_viewer_handler *handler, void *context,
                                 struct vm_viewer **viewer, struct ppn_failure *failure);

static void attach(struct node *node, struct api_request *request, const struct api_vm_ref *ref,
                   attach_fn *to)
{
    struct ppn_failure failure = {0};
    struct node_vm vm;
    if (!find_here(node, request, ref, &vm))
        return;
    struct console *console = calloc(1, sizeof(*console));
    if (console == NULL) {
        api_reply_error(request, PPN_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    console->request = request;
    os_timer_init(&console->retry, node->loop, offer_again, console);
    if (to(node_machines_host(node->machines), &vm.info.id, &viewer_handler, console,
           &console->viewer, &failure) != PPN_OK) {
        free(console);
        api_reply_failure(request, &failure);
        return;
    }
    struct api_watch watch = {
        .context = console, .body = on_keys, .body_end = on_keys_end, .gone = on_console_gone};
    api_request_watch(request, &watch);
    api_upgrade(request);
}

void node_serve_vm_console(void *context, struct api_request *request, const struct api_vm_ref *ref)
{
    attach(context, request, ref, vm_host_console_attach);
}

void node_serve_vm_channel(void *context, struct api_request *request, const struct api_vm_ref *ref)
{
    attach(context, request, ref, vm_host_channel_attach);
}
