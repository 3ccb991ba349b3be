// SPDX-License-Identifier: ISC
#include "vm/vm.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/name.h"

enum { RESETS_TOLD = 3 }; /* a guest may well restart once in its first boot */

struct vm_config vm_config_default(void)
{
    return (struct vm_config){
        .start_timeout = ppn_seconds(30),
        .first_boot_timeout = ppn_seconds(600),
        .stop_timeout = ppn_seconds(60),
        .press_interval = ppn_seconds(5),
        .reconnect_interval = ppn_seconds(1),
    };
}

static void add(struct vm_update *update, enum vm_update_kind kind)
{
    PPN_ASSERT(update->count < VM_UPDATES_MAX);
    update->kinds[update->count++] = kind;
}

static void set_reason(struct vm *vm, const char *text)
{
    (void)ppn_text_copy(vm->record.reason, sizeof(vm->record.reason), text ? text : "");
}

static void no_deadlines(struct vm *vm)
{
    vm->start_deadline = PPN_NEVER;
    vm->first_boot_deadline = PPN_NEVER;
    vm->stop_deadline = PPN_NEVER;
    vm->press_at = PPN_NEVER;
    vm->reconnect_at = PPN_NEVER;
}

/* A change that both the store and people get to see. */
static void change(struct vm *vm, enum ppn_vm_state state, struct vm_update *update)
{
    vm->record.state = state;
    add(update, VM_UPDATE_PERSIST);
    add(update, VM_UPDATE_PUBLISH);
}

void vm_init(struct vm *vm, const struct vm_config *config, const struct vm_record *record,
             struct ppn_instant now)
{
    PPN_ASSERT(vm_record_check(record) == PPN_OK);
    (void)now;
    memset(vm, 0, sizeof(*vm));
    vm->config = *config;
    vm->record = *record;
    no_deadlines(vm);
}

/* Everything that belonged to the process that just ended. */
static void process_ended(struct vm *vm)
{
    vm->process = VM_PROCESS_NONE;
    vm->qmp_running = false;
    vm->killed = false;
    vm->guest_off = false;
    vm->resets = 0;
    no_deadlines(vm);
}

static void launch(struct vm *vm, struct vm_update *update)
{
    bool again = vm->record.disk == VM_DISK_FIRST_BOOT;
    vm->process = again ? VM_PROCESS_DISK : VM_PROCESS_LAUNCHING;
    if (!again && vm->record.disk == VM_DISK_FRESH)
        vm->record.disk = VM_DISK_FIRST_BOOT;
    set_reason(vm, NULL);
    change(vm, PPN_VM_STARTING, update);
    add(update, again ? VM_UPDATE_MAKE_DISK : VM_UPDATE_LAUNCH);
}

static void kill_now(struct vm *vm, struct vm_update *update)
{
    PPN_ASSERT(vm->process == VM_PROCESS_ALIVE);
    if (vm->killed)
        return;
    vm->killed = true;
    vm->stop_deadline = PPN_NEVER;
    vm->press_at = PPN_NEVER;
    add(update, VM_UPDATE_KILL);
}

static enum ppn_error on_start(struct vm *vm, struct vm_update *update)
{
    if (vm->record.removing)
        return PPN_ERROR_CONFLICT;
    if (vm->record.state == PPN_VM_STARTING || vm->record.state == PPN_VM_RUNNING)
        return PPN_OK; /* as asked already */
    if (vm->process != VM_PROCESS_NONE)
        return PPN_ERROR_CONFLICT; /* still stopping */
    vm->record.want_running = true;
    launch(vm, update);
    return PPN_OK;
}

static void press(struct vm *vm, struct ppn_instant now, struct vm_update *update)
{
    vm->press_at = ppn_after(now, vm->config.press_interval);
    add(update, VM_UPDATE_POWERDOWN);
}

static enum ppn_error on_stop(struct vm *vm, struct ppn_instant now, struct ppn_duration timeout,
                              struct vm_update *update)
{
    if (vm->record.removing)
        return PPN_ERROR_CONFLICT;
    if (vm->process == VM_PROCESS_NONE)
        return vm->record.state == PPN_VM_STOPPED ? PPN_OK : PPN_ERROR_CONFLICT;
    if (!vm->record.want_running)
        return PPN_OK; /* stopping already */
    if (timeout.ns <= 0)
        timeout = vm->config.stop_timeout;
    vm->record.want_running = false;
    change(vm, PPN_VM_STOPPING, update);
    if (vm->process != VM_PROCESS_ALIVE)
        return PPN_OK; /* ends as soon as the outcome of the launch is known */
    vm->stop_deadline = ppn_after(now, timeout);
    if (vm->qmp_running)
        press(vm, now, update);
    return PPN_OK;
}

static enum ppn_error on_kill(struct vm *vm, struct vm_update *update)
{
    if (vm->process == VM_PROCESS_NONE)
        return vm->record.state == PPN_VM_STOPPED && !vm->record.removing ? PPN_OK
                                                                          : PPN_ERROR_CONFLICT;
    if (vm->record.want_running) {
        vm->record.want_running = false;
        change(vm, PPN_VM_STOPPING, update);
    }
    if (vm->process == VM_PROCESS_ALIVE)
        kill_now(vm, update);
    return PPN_OK;
}

static void on_remove(struct vm *vm, struct vm_update *update)
{
    if (vm->record.removing)
        return;
    vm->record.removing = true;
    vm->record.want_running = false;
    change(vm, vm->process == VM_PROCESS_NONE ? vm->record.state : PPN_VM_STOPPING, update);
    if (vm->process == VM_PROCESS_ALIVE)
        kill_now(vm, update);
    else if (vm->process == VM_PROCESS_NONE)
        add(update, VM_UPDATE_REMOVE_FILES);
}

/* The process is gone, or never came to be, because somebody wanted it so. */
static void stopped(struct vm *vm, const char *reason, struct vm_update *update)
{
    process_ended(vm);
    vm->record.want_running = false;
    set_reason(vm, reason);
    change(vm, PPN_VM_STOPPED, update);
    if (vm->record.removing)
        add(update, VM_UPDATE_REMOVE_FILES);
}

static void failed(struct vm *vm, const char *reason, struct vm_update *update)
{
    process_ended(vm);
    vm->record.want_running = false;
    set_reason(vm, reason);
    change(vm, PPN_VM_FAILED, update);
    if (vm->record.removing)
        add(update, VM_UPDATE_REMOVE_FILES);
}

static void on_disk(struct vm *vm, const struct vm_event *event, struct vm_update *update)
{
    if (vm->process != VM_PROCESS_DISK)
        return;
    if (event->kind == VM_EVENT_DISK_FAILED) {
        failed(vm, event->text, update);
    } else if (!vm->record.want_running) {
        vm->record.disk = VM_DISK_FRESH;
        stopped(vm, NULL, update);
    } else {
        vm->process = VM_PROCESS_LAUNCHING;
        add(update, VM_UPDATE_LAUNCH);
    }
}

static void on_launch(struct vm *vm, struct ppn_instant now, const struct vm_event *event,
                      struct vm_update *update)
{
    if (vm->process != VM_PROCESS_LAUNCHING)
        return;
    if (event->kind == VM_EVENT_LAUNCH_FAILED) {
        /* Nothing of the guest ran, so its disk is as new as before. */
        if (vm->record.disk == VM_DISK_FIRST_BOOT)
            vm->record.disk = VM_DISK_FRESH;
        if (vm->record.want_running)
            failed(vm, event->text, update);
        else
            stopped(vm, NULL, update);
        return;
    }
    vm->process = VM_PROCESS_ALIVE;
    if (!vm->record.want_running) {
        kill_now(vm, update);
        return;
    }
    vm->start_deadline = ppn_after(now, vm->config.start_timeout);
    add(update, VM_UPDATE_CONNECT);
}

static void on_running(struct vm *vm, struct ppn_instant now, struct vm_update *update)
{
    if (vm->process != VM_PROCESS_ALIVE || vm->killed)
        return;
    vm->qmp_running = true;
    vm->start_deadline = PPN_NEVER;
    vm->reconnect_at = PPN_NEVER;
    if (!vm->record.ready && vm->first_boot_deadline.ns == PPN_NEVER.ns)
        vm->first_boot_deadline = ppn_after(now, vm->config.first_boot_timeout);
    if (vm->record.want_running && vm->record.state != PPN_VM_RUNNING)
        change(vm, PPN_VM_RUNNING, update);
    else if (!vm->record.want_running)
        press(vm, now, update);
}

static void on_ready(struct vm *vm, struct vm_update *update)
{
    if (vm->process != VM_PROCESS_ALIVE || vm->record.ready)
        return;
    vm->record.ready = true;
    vm->record.disk = VM_DISK_KEPT;
    vm->first_boot_deadline = PPN_NEVER;
    set_reason(vm, NULL);
    change(vm, vm->record.state, update);
}

static void on_reset(struct vm *vm, struct vm_update *update)
{
    if (vm->process != VM_PROCESS_ALIVE || vm->record.ready)
        return;
    if (vm->resets < UINT32_MAX)
        vm->resets++;
    if (vm->resets == RESETS_TOLD) {
        set_reason(vm, "the guest keeps restarting in its first boot; look at its logs");
        change(vm, vm->record.state, update);
    }
}

static void on_exited(struct vm *vm, const struct vm_event *event, struct vm_update *update)
{
    if (vm->process != VM_PROCESS_ALIVE)
        return;
    bool asked = !vm->record.want_running;
    bool guest_off = vm->guest_off;
    /* Switched off in order: whatever is on the disk now is the guest's own. */
    if (guest_off && !vm->killed)
        vm->record.disk = VM_DISK_KEPT;
    if (asked) {
        stopped(vm, NULL, update);
    } else if (guest_off) {
        stopped(vm, "the guest switched itself off", update);
    } else if (vm->killed) {
        failed(vm, "QEMU ran but did not answer, so it was ended; start the VM again", update);
    } else {
        const char *text = event->text;
        failed(vm, text && text[0] ? text : "QEMU ended unexpectedly; start the VM again", update);
    }
}

static void restored_alive(struct vm *vm, struct ppn_instant now, struct vm_update *update)
{
    vm->process = VM_PROCESS_ALIVE;
    if (vm->record.removing) {
        kill_now(vm, update);
        return;
    }
    if (vm->record.want_running)
        vm->start_deadline = ppn_after(now, vm->config.start_timeout);
    else
        vm->stop_deadline = ppn_after(now, vm->config.stop_timeout);
    add(update, VM_UPDATE_CONNECT);
}

static void restored_dead(struct vm *vm, struct vm_update *update)
{
    if (vm->record.removing) {
        add(update, VM_UPDATE_REMOVE_FILES);
        return;
    }
    switch (vm->record.state) {
    case PPN_VM_STARTING:
        /* The start was acknowledged and its outcome is unknown: nothing runs, so do it (again). */
        launch(vm, update);
        return;
    case PPN_VM_RUNNING:
        failed(vm, "its process ended while ppn-node was not running; start the VM again", update);
        return;
    case PPN_VM_STOPPING:
        stopped(vm, NULL, update);
        return;
    case PPN_VM_PREPARED:
    case PPN_VM_STOPPED:
    case PPN_VM_FAILED:
        add(update, VM_UPDATE_PUBLISH);
        return;
    case PPN_VM_LOST:
        PPN_UNREACHABLE();
    }
}

static void on_time(struct vm *vm, struct ppn_instant now, struct vm_update *update)
{
    if (ppn_due(vm->start_deadline, now)) {
        vm->start_deadline = PPN_NEVER;
        if (vm->process == VM_PROCESS_ALIVE && !vm->qmp_running)
            kill_now(vm, update);
    }
    if (ppn_due(vm->stop_deadline, now) && vm->process == VM_PROCESS_ALIVE)
        kill_now(vm, update);
    if (ppn_due(vm->press_at, now)) {
        vm->press_at = PPN_NEVER;
        if (vm->qmp_running)
            press(vm, now, update);
    }
    if (ppn_due(vm->reconnect_at, now)) {
        vm->reconnect_at = PPN_NEVER;
        add(update, VM_UPDATE_CONNECT);
    }
    if (ppn_due(vm->first_boot_deadline, now)) {
        vm->first_boot_deadline = PPN_NEVER;
        vm->record.disk = VM_DISK_KEPT;
        set_reason(vm, "still booting: the guest has not said that its first boot is finished");
        change(vm, vm->record.state, update);
    }
}

static void on_qmp_lost(struct vm *vm, struct ppn_instant now)
{
    if (vm->process != VM_PROCESS_ALIVE)
        return;
    vm->qmp_running = false;
    vm->press_at = PPN_NEVER;
    vm->reconnect_at = vm->killed ? PPN_NEVER : ppn_after(now, vm->config.reconnect_interval);
}

enum ppn_error vm_step(struct vm *vm, struct ppn_instant now, const struct vm_event *event,
                       struct vm_update *update)
{
    *update = (struct vm_update){0};
    enum ppn_error error = PPN_OK;
    switch (event->kind) {
    case VM_EVENT_TIME:
        on_time(vm, now, update);
        break;
    case VM_EVENT_START:
        error = on_start(vm, update);
        break;
    case VM_EVENT_STOP:
        error = on_stop(vm, now, event->stop_timeout, update);
        break;
    case VM_EVENT_KILL:
        error = on_kill(vm, update);
        break;
    case VM_EVENT_REMOVE:
        on_remove(vm, update);
        break;
    case VM_EVENT_RESTORED_ALIVE:
        restored_alive(vm, now, update);
        break;
    case VM_EVENT_RESTORED_DEAD:
        restored_dead(vm, update);
        break;
    case VM_EVENT_DISK_MADE:
    case VM_EVENT_DISK_FAILED:
        on_disk(vm, event, update);
        break;
    case VM_EVENT_LAUNCHED:
    case VM_EVENT_LAUNCH_FAILED:
        on_launch(vm, now, event, update);
        break;
    case VM_EVENT_RUNNING:
        on_running(vm, now, update);
        break;
    case VM_EVENT_READY:
        on_ready(vm, update);
        break;
    case VM_EVENT_GUEST_OFF:
        vm->guest_off = vm->process == VM_PROCESS_ALIVE;
        break;
    case VM_EVENT_GUEST_RESET:
        on_reset(vm, update);
        break;
    case VM_EVENT_QMP_LOST:
        on_qmp_lost(vm, now);
        break;
    case VM_EVENT_EXITED:
        on_exited(vm, event, update);
        break;
    case VM_EVENT_FILES_REMOVED:
        if (vm->record.removing && vm->process == VM_PROCESS_NONE)
            add(update, VM_UPDATE_FORGET);
        break;
    }
    PPN_ASSERT(error == PPN_OK || update->count == 0);
    PPN_ASSERT(!vm->record.removing || !vm->record.want_running);
    return error;
}

struct ppn_instant vm_deadline(const struct vm *vm)
{
    struct ppn_instant at = ppn_earlier(vm->start_deadline, vm->stop_deadline);
    at = ppn_earlier(at, ppn_earlier(vm->press_at, vm->reconnect_at));
    return ppn_earlier(at, vm->first_boot_deadline);
}
