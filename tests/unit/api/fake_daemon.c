// SPDX-License-Identifier: ISC
#include "fake_daemon.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api_server.h"
#include "os/os_loop.h"

static struct os_loop *loop;
static uint32_t gone_count;

static const struct ppn_profile profile = {
    .arch = "x86_64",
    .version = "0.1.0",
    .cpus = 4,
    .memory_total_bytes = 8ULL << 30,
    .disk_total_bytes = 100ULL << 30,
    .kvm = PPN_KVM_BOOTS,
    .isolation_max = PPN_ISOLATION_KVM_SANDBOX,
    .link = PPN_LINK_CABLE,
    .label_count = 1,
    .labels = {{"room", "attic"}},
};

static const struct ppn_load load = {.memory_available_bytes = 6ULL << 30,
                                     .memory_reserved_bytes = 1ULL << 30,
                                     .disk_free_bytes = 50ULL << 30,
                                     .vcpus_reserved = 1,
                                     .load_per_mille = 250,
                                     .vm_count = 1,
                                     .power = PPN_POWER_MAINS,
                                     .battery_percent = 255};

static const uint8_t address[16] = {0xfd, 1, 2, 3, 4, 5, [15] = 1};

void fake_nodes(struct api_request *request)
{
    struct api_node_view n1 = {.id = {{1}},
                               .name = "n1",
                               .mesh_address = address,
                               .state = API_NODE_ALIVE,
                               .incarnation = 7,
                               .self = true,
                               .profile = &profile,
                               .load = &load,
                               .memory_free_bytes = 5ULL << 30,
                               .seen_ms_ago = -1,
                               .round_trip_us = -1};
    struct api_node_view n2 = {.id = {{2}},
                               .name = "n2",
                               .state = API_NODE_SUSPECT,
                               .state_detail = "daemon gone, machine reachable",
                               .incarnation = 3,
                               .seen_ms_ago = 2500,
                               .round_trip_us = 900,
                               .path = "direct"};
    api_list_begin(request, API_LIST_NODES);
    api_list_add_node(request, &n1);
    api_list_add_node(request, &n2);
    api_list_end(request);
}

const struct api_vm_view *fake_vm(void)
{
    static const struct api_vm_view vm = {
        .info = {.id = {{0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80, [15] = 9}},
                 .name = "web",
                 .state = PPN_VM_RUNNING,
                 .ready = true,
                 .image = "debian-12",
                 .memory_bytes = 1ULL << 30,
                 .disk_bytes = 2ULL << 30,
                 .vcpus = 1,
                 .isolation = PPN_ISOLATION_KVM_SANDBOX,
                 .created_unix_ms = 1700000000000},
        .node_id = {{1}},
        .node = "n1"};
    return &vm;
}

void fake_vms(struct api_request *request)
{
    api_list_begin(request, API_LIST_VMS);
    api_list_add_vm(request, fake_vm());
    api_list_end(request);
}

static void status(void *context, struct api_request *request)
{
    static const struct api_alarm_view alarm = {"seal-conflict", "two seals carry the number 7",
                                                "stop one of them"};
    (void)context;
    struct api_status view = {.network = "office",
                              .alarm_count = 1,
                              .alarms = &alarm,
                              .network_id = {{9}},
                              .id = {{1}},
                              .name = "n1",
                              .version = "0.1.0",
                              .mesh_address = address,
                              .phase = "member",
                              .mesh = API_MESH_KERNEL,
                              .mesh_interface = "ppn0",
                              .listen_port = 51820,
                              .nodes_alive = 1,
                              .nodes_suspect = 1,
                              .vms_here = gone_count,
                              .log_entries = 2,
                              .log_head = {{5}},
                              .uptime_ms = 61000};
    api_reply_status(request, &view);
}

static void nodes(void *context, struct api_request *request)
{
    (void)context;
    fake_nodes(request);
}

static void vms(void *context, struct api_request *request)
{
    (void)context;
    fake_vms(request);
}

static void on_gone(void *context, struct api_request *request)
{
    (void)context;
    (void)request;
    gone_count++;
}

static void events(void *context, struct api_request *request)
{
    (void)context;
    struct api_watch watch = {.gone = on_gone};
    struct api_event event = {
        .type = API_EVENT_VM_UPDATED, .time_monotonic_ns = 5, .time_unix_ms = 6, .vm = fake_vm()};
    struct api_event synced = {.type = API_EVENT_SYNCED, .time_monotonic_ns = 7, .time_unix_ms = 8};
    api_request_watch(request, &watch);
    cr_assert_eq(api_stream_event(request, &event), PPN_OK);
    cr_assert_eq(api_stream_event(request, &synced), PPN_OK);
}

/* ---- a run: an answer in three parts, over time ---- */

struct step {
    struct os_timer timer;
    struct api_request *request;
    unsigned count;
};

static void next_step(void *context)
{
    struct step *step = context;
    struct api_progress progress = {
        .stage = "preparing", .node = "n1", .text = "Preparing on n1", .percent = 50};
    if (step->count++ < 2) {
        api_stream_progress(step->request, &progress);
        os_timer_after(&step->timer, ppn_ms(1));
        return;
    }
    api_stream_vm(step->request, fake_vm());
    free(step);
}

static void run(void *context, struct api_request *request, const struct api_run *asked)
{
    (void)context;
    if (strcmp(asked->spec.name, "stuck") == 0) {
        struct api_progress progress = {
            .stage = "placing", .text = "Choosing a node", .percent = -1};
        api_stream_progress(request, &progress);
        api_reply_error(request, PPN_ERROR_NO_CANDIDATE, "no node has 1G free");
        return;
    }
    struct step *step = calloc(1, sizeof(*step));
    step->request = request;
    os_timer_init(&step->timer, loop, next_step, step);
    os_timer_after(&step->timer, ppn_ms(1));
}

static void placement(void *context, struct api_request *request, const struct api_run *asked)
{
    (void)context;
    struct api_placement_row good = {.id = {{1}},
                                     .node = "n1",
                                     .fits = true,
                                     .rank = 1,
                                     .score = 900,
                                     .reason = "KVM proven",
                                     .part_count = 1,
                                     .parts = {{"memory", 900}}};
    struct api_placement_row bad = {.id = {{2}}, .node = "n2", .reason = "suspect since 3s"};
    api_list_begin(request, API_LIST_PLACEMENT);
    if (strcmp(asked->spec.name, "stuck") != 0)
        api_list_add_row(request, &good);
    api_list_add_row(request, &bad);
    api_list_end(request);
}

static bool known(struct api_request *request, const struct api_vm_ref *vm)
{
    if (strcmp(vm->text, "none") != 0)
        return true;
    api_reply_error(request, PPN_ERROR_NOT_FOUND, "there is no VM \"none\"");
    return false;
}

static void stop(void *context, struct api_request *request, const struct api_stop *asked)
{
    (void)context;
    if (known(request, &asked->vm))
        api_reply_vm(request, fake_vm());
}

static void remove_vm(void *context, struct api_request *request, const struct api_vm_ref *vm)
{
    (void)context;
    if (known(request, vm))
        api_reply_done(request, NULL);
}

/* ---- logs: more than any queue holds ---- */

struct logs {
    size_t sent;
};

static void pour(void *context, struct api_request *request)
{
    struct logs *logs = context;
    char line[FAKE_LOG_LINE];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    while (logs->sent < FAKE_LOG_BYTES) {
        if (api_stream_bytes(request, ppn_slice(line, sizeof(line))) != PPN_OK)
            return;
        logs->sent += sizeof(line);
    }
    api_stream_end(request);
    free(logs);
}

static void logs_gone(void *context, struct api_request *request)
{
    (void)request;
    gone_count++;
    free(context);
}

static void logs(void *context, struct api_request *request, const struct api_logs *asked)
{
    (void)context;
    if (!known(request, &asked->vm))
        return;
    struct logs *state = calloc(1, sizeof(*state));
    struct api_watch watch = {.context = state, .writable = pour, .gone = logs_gone};
    api_request_watch(request, &watch);
    api_stream_begin(request, API_STREAM_BYTES);
    pour(state, request);
}

/* ---- console ---- */

static size_t echo(void *context, struct api_request *request, struct ppn_slice bytes)
{
    (void)context;
    for (size_t i = 0; i < bytes.size; i++) {
        char c = (char)toupper(bytes.data[i]);
        if (api_stream_bytes(request, ppn_slice(&c, 1)) != PPN_OK)
            return i;
        if (bytes.data[i] == 'q') {
            api_stream_end(request);
            return bytes.size;
        }
    }
    return bytes.size;
}

static void console(void *context, struct api_request *request, const struct api_vm_ref *vm)
{
    (void)context;
    struct api_watch watch = {.body = echo, .gone = on_gone};
    if (!known(request, vm))
        return;
    api_request_watch(request, &watch);
    api_upgrade(request);
}

/* ---- upload: takes at most 5000 bytes at a time, then waits a moment ---- */

struct put {
    struct os_timer timer;
    struct api_request *request;
    uint64_t size;
    char name[PPN_NAME_MAX + 1];
};

static void put_more(void *context)
{
    struct put *put = context;
    api_request_resume(put->request);
}

static size_t put_body(void *context, struct api_request *request, struct ppn_slice bytes)
{
    struct put *put = context;
    (void)request;
    size_t taken = bytes.size < 5000 ? bytes.size : 5000;
    put->size += taken;
    if (taken < bytes.size)
        os_timer_after(&put->timer, ppn_ms(0));
    return taken;
}

static void put_end(void *context, struct api_request *request)
{
    struct put *put = context;
    struct api_image_view image = {
        .name = put->name, .sha256 = {{3}}, .size_bytes = put->size, .format = "raw", .here = true};
    os_timer_stop(&put->timer);
    if (put->size == 3)
        api_reply_error(request, PPN_ERROR_INVALID, "three bytes are no image");
    else
        api_stream_image(request, &image);
    free(put);
}

static void put_gone(void *context, struct api_request *request)
{
    struct put *put = context;
    (void)request;
    gone_count++;
    os_timer_stop(&put->timer);
    free(put);
}

static void image_put(void *context, struct api_request *request, const struct api_image_put *asked)
{
    (void)context;
    if (strcmp(asked->name, "taken") == 0) {
        api_reply_error(request, PPN_ERROR_EXISTS, "there is an image \"taken\" already");
        return;
    }
    struct put *put = calloc(1, sizeof(*put));
    struct api_watch watch = {put, put_body, put_end, NULL, put_gone};
    put->request = request;
    (void)strcpy(put->name, asked->name);
    os_timer_init(&put->timer, loop, put_more, put);
    api_request_watch(request, &watch);
}

static void images(void *context, struct api_request *request)
{
    (void)context;
    api_list_begin(request, API_LIST_IMAGES);
    api_list_end(request);
}

static void admit(void *context, struct api_request *request, const struct api_admit *asked)
{
    (void)context;
    api_reply_node(request, &asked->who.id, asked->who.text);
}

static const struct api_backend backend = {.status = status,
                                           .nodes = nodes,
                                           .vms = vms,
                                           .events = events,
                                           .run = run,
                                           .placement = placement,
                                           .vm_stop = stop,
                                           .vm_remove = remove_vm,
                                           .vm_logs = logs,
                                           .vm_console = console,
                                           .images = images,
                                           .image_put = image_put,
                                           .join_admit = admit};

static void on_signal(void *context, int number)
{
    (void)context;
    (void)number;
    os_loop_stop(loop);
}

static void serve(const char *path, int ready)
{
    struct api_server *server;
    struct api_server_config config = {.path = path, .backend = &backend};
    struct ppn_failure failure = {0};
    if (os_loop_open(&loop, &failure) != PPN_OK)
        _exit(3);
    os_loop_on_signal(loop, on_signal, NULL);
    if (api_server_open(loop, &config, &server, &failure) != PPN_OK) {
        (void)fprintf(stderr, "%s\n", failure.text);
        _exit(4);
    }
    if (write(ready, "r", 1) != 1)
        _exit(5);
    os_loop_run(loop);
    api_server_close(server);
    os_loop_close(loop);
}

void fake_daemon_start(struct fake_daemon *daemon)
{
    int ready[2];
    char byte;
    (void)strcpy(daemon->directory, "/tmp/ppn-fake-XXXXXX");
    cr_assert_not_null(mkdtemp(daemon->directory));
    (void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/ppn.sock", daemon->directory);
    cr_assert_eq(pipe(ready), 0);
    daemon->pid = fork();
    cr_assert_geq(daemon->pid, 0);
    if (daemon->pid == 0) {
        (void)close(ready[0]);
        serve(daemon->socket, ready[1]);
        exit(0);
    }
    (void)close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1, "the fake daemon did not start");
    (void)close(ready[0]);
}

int fake_daemon_stop(struct fake_daemon *daemon)
{
    int result = -1;
    (void)kill(daemon->pid, SIGTERM);
    cr_assert_eq(waitpid(daemon->pid, &result, 0), daemon->pid);
    (void)unlink(daemon->socket);
    (void)rmdir(daemon->directory);
    return result;
}
