// SPDX-License-Identifier: ISC
#include "vm/vm_machine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"
#include "os/os_file.h"

struct vm_machine *vm_machine_find(const struct vm_host *host, const struct ppn_request_id *id)
{
    for (uint32_t i = 0; i < host->machine_count; i++)
        if (ppn_request_id_equal(&host->machines[i]->vm.record.id, id))
            return host->machines[i];
    return NULL;
}

static void forget_process(struct vm_machine *machine)
{
    vm_qmp_close(machine->qmp);
    machine->qmp = NULL;
    vm_console_close(machine->console);
    machine->console = NULL;
    vm_console_close(machine->channel);
    machine->channel = NULL;
    if (machine->directory_fd >= 0)
        close(machine->directory_fd);
    machine->directory_fd = -1;
    machine->exited = false;
    os_timer_stop(&machine->retry);
}

/* Everything QEMU had to say was heard, so the core may judge why it ended. */
static void process_over(struct vm_machine *machine)
{
    char words[PPN_REASON_MAX + 1];
    forget_process(machine);
    vm_launch_clean(&machine->vm.record.id);
    vm_last_words(machine->directory, words, sizeof(words));
    vm_machine_event(machine, VM_EVENT_EXITED, words);
}

static void on_process_end(void *context, const struct os_child_result *result)
{
    struct vm_machine *machine = context;
    (void)result;
    machine->process = NULL;
    if (!machine->qmp) {
        process_over(machine);
        return;
    }
    machine->exited = true;
    os_timer_after(&machine->retry, ppn_ms(VM_LAST_EVENTS_MS));
}

static void on_running(void *context)
{
    vm_machine_event(context, VM_EVENT_RUNNING, NULL);
}

static void on_ready(void *context, bool errors)
{
    struct vm_machine *machine = context;
    ppn_log(PPN_LOG_INFO, "vm-ready", "vm=%s result=%s", machine->vm.record.name,
            errors ? "errors" : "ok");
    vm_machine_event(machine, VM_EVENT_READY, NULL);
}

static void on_guest_off(void *context)
{
    vm_machine_event(context, VM_EVENT_GUEST_OFF, NULL);
}

static void on_guest_reset(void *context)
{
    vm_machine_event(context, VM_EVENT_GUEST_RESET, NULL);
}

static void on_lost(void *context)
{
    struct vm_machine *machine = context;
    machine->qmp = NULL;
    if (machine->exited)
        process_over(machine);
    else
        vm_machine_event(machine, VM_EVENT_QMP_LOST, NULL);
}

static bool open_directory(struct vm_machine *machine)
{
    if (machine->directory_fd < 0)
        machine->directory_fd =
            open(machine->directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return machine->directory_fd >= 0;
}

static void connect_qmp(struct vm_machine *machine)
{
    static const struct vm_qmp_handler handler = {on_running, on_ready, on_guest_off,
                                                  on_guest_reset, on_lost};
    struct ppn_failure failure = {0};
    char path[VM_SOCKET_PATH];
    if (machine->qmp || !machine->process)
        return;
    if (!open_directory(machine)) {
        vm_machine_event(machine, VM_EVENT_QMP_LOST, NULL);
        return;
    }
    vm_socket_path(machine->directory_fd, "qmp.sock", path);
    if (vm_qmp_open(machine->host->loop, path, machine->uuid, &handler, machine, &machine->qmp,
                    &failure)) {
        ppn_log(PPN_LOG_WARN, "vm-qmp", "vm=%s %s", machine->vm.record.name, failure.text);
        vm_machine_event(machine, VM_EVENT_QMP_LOST, NULL);
    }
}

static bool image_of(struct vm_machine *machine, struct vm_image *image)
{
    struct vm_host *host = machine->host;
    return host->hooks.image(host->context, &machine->vm.record.image_hash, image);
}

static const char no_image[] = "its base image is not on this node any more; add the image again";

static void launch(struct vm_machine *machine)
{
    struct vm_host *host = machine->host;
    struct ppn_failure failure = {0};
    struct vm_image image;
    if (!image_of(machine, &image)) {
        vm_machine_event(machine, VM_EVENT_LAUNCH_FAILED, no_image);
        return;
    }
    int tap = -1;
    enum ppn_error error = host->nic && !machine->vm.record.no_network
                               ? vm_nic_attach(host->nic, machine->vm.record.slot, &tap, &failure)
                               : PPN_OK;
    if (error == PPN_ERROR_BUSY && !failure.text[0]) {
        machine->wants_tap = true;
        return;
    }
    if (error)
        ppn_log(PPN_LOG_WARN, "vm-no-network", "vm=%s %s", machine->vm.record.name, failure.text);
    struct vm_launch what = {
        .loop = host->loop,
        .directory = machine->directory,
        .record = &machine->vm.record,
        .image = &image,
        .program = host->program,
        .cpu = host->cpu,
        .tap_fd = tap,
        .uid = vm_host_uid(host, machine->vm.record.slot),
        .on_exit = on_process_end,
        .context = machine,
    };
    error = vm_launch(&what, &machine->process, &failure);
    if (tap >= 0)
        close(tap);
    if (error)
        vm_machine_event(machine, VM_EVENT_LAUNCH_FAILED, failure.text);
    else
        vm_machine_event(machine, VM_EVENT_LAUNCHED, NULL);
}

static void on_disk(void *context, const struct os_child_result *result)
{
    struct vm_machine *machine = context;
    struct ppn_failure failure = {0};
    machine->disk = NULL;
    if (os_child_ok(result)) {
        vm_machine_event(machine, VM_EVENT_DISK_MADE, NULL);
        return;
    }
    vm_disk_failure(result, &failure);
    vm_machine_event(machine, VM_EVENT_DISK_FAILED, failure.text);
}

static void make_disk(struct vm_machine *machine)
{
    struct ppn_failure failure = {0};
    struct vm_image image;
    if (!image_of(machine, &image)) {
        vm_machine_event(machine, VM_EVENT_DISK_FAILED, no_image);
        return;
    }
    if (vm_disk_create(machine->host, machine->directory, &image, machine->vm.record.disk_bytes,
                       on_disk, machine, &machine->disk, &failure))
        vm_machine_event(machine, VM_EVENT_DISK_FAILED, failure.text);
}

/* The removal of a directory: a copy, since it runs in another thread. */
struct vm_removal {
    struct vm_host *host;
    struct vm_machine *machine; /* NULL: dropped meanwhile */
    char root[VM_PATH_MAX + 1];
    char name[PPN_UUID_TEXT];
    struct ppn_failure failure;
    enum ppn_error error;
};

static void remove_work(void *context)
{
    struct vm_removal *removal = context;
    removal->error = os_directory_remove(removal->root, removal->name, &removal->failure);
}

static void remove_done(void *context, bool cancelled)
{
    struct vm_removal *removal = context;
    struct vm_machine *machine = removal->machine;
    enum ppn_error error = cancelled ? PPN_ERROR_CANCELLED : removal->error;
    if (error && !cancelled)
        ppn_log(PPN_LOG_ERROR, "vm-remove", "vm=%s %s", removal->name, removal->failure.text);
    vm_host_job_done(removal->host);
    free(removal);
    if (!machine)
        return;
    machine->removal = NULL;
    if (error)
        os_timer_after(&machine->retry, ppn_ms(VM_PERSIST_RETRY_MS));
    else
        vm_machine_event(machine, VM_EVENT_FILES_REMOVED, NULL);
}

static void remove_files(struct vm_machine *machine)
{
    struct vm_removal *removal = calloc(1, sizeof(*removal));
    if (removal) {
        removal->host = machine->host;
        removal->machine = machine;
        memcpy(removal->root, machine->host->root, sizeof(removal->root));
        memcpy(removal->name, machine->uuid, sizeof(removal->name));
        if (!os_worker_submit(machine->host->worker, remove_work, remove_done, removal)) {
            machine->removal = removal;
            machine->host->jobs++;
            return;
        }
        free(removal);
    }
    os_timer_after(&machine->retry, ppn_ms(VM_PERSIST_RETRY_MS));
}

static void persist(struct vm_machine *machine, bool forget)
{
    struct vm_host *host = machine->host;
    machine->persisting = true;
    machine->forgetting = forget;
    machine->ticket = ++host->next_ticket;
    if (forget)
        host->hooks.forget(host->context, &machine->vm.record.id, machine->ticket);
    else
        host->hooks.persist(host->context, &machine->vm.record, machine->ticket);
}

static void publish(struct vm_machine *machine)
{
    struct ppn_vm_info info = vm_info(&machine->vm);
    machine->host->hooks.changed(machine->host->context, &info);
}

static void carry(struct vm_machine *machine, enum vm_update_kind kind)
{
    switch (kind) {
    case VM_UPDATE_PERSIST:
        persist(machine, false);
        return;
    case VM_UPDATE_PUBLISH:
        publish(machine);
        return;
    case VM_UPDATE_MAKE_DISK:
        make_disk(machine);
        return;
    case VM_UPDATE_LAUNCH:
        launch(machine);
        return;
    case VM_UPDATE_CONNECT:
        connect_qmp(machine);
        return;
    case VM_UPDATE_POWERDOWN:
        if (machine->qmp)
            vm_qmp_powerdown(machine->qmp);
        return;
    case VM_UPDATE_KILL:
        if (machine->process)
            os_child_signal(machine->process, SIGKILL);
        return;
    case VM_UPDATE_REMOVE_FILES:
        remove_files(machine);
        return;
    case VM_UPDATE_FORGET:
        persist(machine, true);
        return;
    }
}

void vm_machine_continue(struct vm_machine *machine)
{
    if (machine->carrying)
        return;
    if (machine->wants_tap) {
        machine->wants_tap = false;
        launch(machine);
    }
    machine->carrying = true;
    while (machine->queued > 0 && !machine->persisting) {
        enum vm_update_kind kind = machine->queue[0];
        machine->queued--;
        memmove(machine->queue, machine->queue + 1, machine->queued * sizeof(machine->queue[0]));
        carry(machine, kind);
    }
    machine->carrying = false;
}

/* What is repeated while an earlier persistence is under way needs doing once. */
static bool repeats(const struct vm_machine *machine, enum vm_update_kind kind)
{
    return machine->queued >= 2 && (machine->queue[machine->queued - 1] == kind ||
                                    machine->queue[machine->queued - 2] == kind);
}

enum ppn_error vm_machine_step(struct vm_machine *machine, const struct vm_event *event)
{
    struct vm_update update;
    enum ppn_error error = vm_step(&machine->vm, os_now(machine->host->loop), event, &update);
    for (uint32_t i = 0; i < update.count; i++) {
        if (repeats(machine, update.kinds[i]))
            continue;
        PPN_ASSERT(machine->queued < VM_QUEUE_MAX);
        machine->queue[machine->queued++] = update.kinds[i];
    }
    os_timer_at(&machine->timer, vm_deadline(&machine->vm));
    if (!machine->wants_tap)
        vm_machine_continue(machine);
    return error;
}

void vm_machine_event(struct vm_machine *machine, enum vm_event_kind kind, const char *text)
{
    struct vm_event event = {.kind = kind, .text = text};
    enum ppn_error error = vm_machine_step(machine, &event);
    PPN_ASSERT(error == PPN_OK);
}

void vm_machine_record(struct vm_machine *machine)
{
    PPN_ASSERT(machine->queued == 0);
    machine->queue[machine->queued++] = VM_UPDATE_PERSIST;
    machine->queue[machine->queued++] = VM_UPDATE_PUBLISH;
    vm_machine_continue(machine);
}

static void on_deadline(void *context)
{
    vm_machine_event(context, VM_EVENT_TIME, NULL);
}

static void on_persist_again(void *context)
{
    struct vm_machine *machine = context;
    persist(machine, machine->forgetting);
}

/* One timer for the few things that are tried again; at most one of them is under way. */
static void on_retry(void *context)
{
    struct vm_machine *machine = context;
    if (machine->exited) {
        process_over(machine);
    } else if (machine->find_tries > 0) {
        vm_machine_adopt(machine);
    } else if (machine->vm.record.removing && !machine->removal && !machine->process) {
        remove_files(machine);
    }
}

static void restored(struct vm_machine *machine, enum vm_event_kind how)
{
    vm_machine_event(machine, how, NULL);
    if (machine->remove_asked)
        vm_machine_event(machine, VM_EVENT_REMOVE, NULL);
}

void vm_machine_adopt(struct vm_machine *machine)
{
    pid_t pid = 0;
    int pidfd = -1;
    struct ppn_failure failure = {0};
    if (!vm_process_alive(machine->directory)) {
        machine->find_tries = 0;
        restored(machine, VM_EVENT_RESTORED_DEAD);
        return;
    }
    /* A launch that was cut off may not have reached its exec yet. */
    enum ppn_error error = vm_process_find(&machine->vm.record.id, &pid, &pidfd);
    if (!error)
        error = os_child_adopt(machine->host->loop, pid, pidfd, on_process_end, machine,
                               &machine->process, &failure);
    if (!error) {
        machine->find_tries = 0;
        ppn_log(PPN_LOG_INFO, "vm-adopted", "vm=%s pid=%d", machine->vm.record.name, (int)pid);
        restored(machine, VM_EVENT_RESTORED_ALIVE);
    } else if (++machine->find_tries <= VM_FIND_TRIES) {
        os_timer_after(&machine->retry, ppn_ms(VM_FIND_MS));
    } else {
        ppn_log(PPN_LOG_ERROR, "vm-adopt", "vm=%s its lock is held by an unknown process",
                machine->vm.record.name);
        machine->find_tries = 0;
        restored(machine, VM_EVENT_RESTORED_DEAD);
    }
}

static void drop_later(void *context)
{
    struct vm_machine *machine = context;
    struct vm_host *host = machine->host;
    struct ppn_request_id id = machine->vm.record.id;
    vm_machine_drop(machine);
    host->hooks.removed(host->context, &id);
}

void vm_machine_persisted(struct vm_machine *machine, enum ppn_error error)
{
    PPN_ASSERT(machine->persisting);
    struct vm_making *making = machine->making;
    machine->making = NULL;
    if (error) {
        ppn_log(PPN_LOG_ERROR, "vm-persist", "vm=%s %s", machine->vm.record.name,
                ppn_error_text(error));
        if (making)
            vm_making_recorded(making, error);
        else
            os_timer_after(&machine->persist_again, ppn_ms(VM_PERSIST_RETRY_MS));
        return;
    }
    machine->persisting = false;
    if (machine->forgetting) {
        os_defer(machine->host->loop, &machine->drop);
        return;
    }
    vm_machine_continue(machine);
    if (making)
        vm_making_recorded(making, PPN_OK);
}

struct vm_machine *vm_machine_add(struct vm_host *host, const struct vm_record *record)
{
    PPN_ASSERT(host->machine_count < PPN_VMS_MAX);
    struct vm_machine *machine = calloc(1, sizeof(*machine));
    if (!machine)
        return NULL;
    struct vm_config config = vm_config_default();
    machine->host = host;
    machine->directory_fd = -1;
    vm_init(&machine->vm, &config, record, os_now(host->loop));
    ppn_request_id_text(&record->id, machine->uuid);
    vm_host_directory(host, &record->id, machine->directory);
    os_timer_init(&machine->timer, host->loop, on_deadline, machine);
    os_timer_init(&machine->retry, host->loop, on_retry, machine);
    os_timer_init(&machine->persist_again, host->loop, on_persist_again, machine);
    os_closure_init(&machine->drop, drop_later, machine);
    host->machines[host->machine_count++] = machine;
    return machine;
}

void vm_machine_drop(struct vm_machine *machine)
{
    struct vm_host *host = machine->host;
    uint32_t at = 0;
    while (at < host->machine_count && host->machines[at] != machine)
        at++;
    PPN_ASSERT(at < host->machine_count);
    if (machine->removal)
        machine->removal->machine = NULL;
    host->machine_count--;
    memmove(host->machines + at, host->machines + at + 1,
            (host->machine_count - at) * sizeof(host->machines[0]));
    forget_process(machine);
    os_timer_stop(&machine->timer);
    os_timer_stop(&machine->persist_again);
    os_defer_cancel(host->loop, &machine->drop);
    if (machine->process)
        os_child_abandon(machine->process);
    os_child_kill(machine->disk);
    free(machine);
}
