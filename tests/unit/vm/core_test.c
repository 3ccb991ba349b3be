// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/name.h"
#include "vm/vm.h"

/* The core is fed events; each test reads as the updates that came out. */

static struct vm vm;
static struct ppn_instant now;
static struct vm_update update;

static struct vm_record new_record(void)
{
    struct vm_record record = {
        .memory_bytes = 256 << 20,
        .disk_bytes = 1 << 30,
        .vcpus = 1,
        .state = PPN_VM_PREPARED,
    };
    record.image_hash.bytes[0] = 1;
    record.id.bytes[0] = 7;
    (void)ppn_text_copy(record.name, sizeof(record.name), "web");
    (void)ppn_text_copy(record.image, sizeof(record.image), "debian-12");
    return record;
}

static void make(void)
{
    struct vm_config config = vm_config_default();
    struct vm_record record = new_record();
    now = (struct ppn_instant){0};
    vm_init(&vm, &config, &record, now);
}

static void restore(enum ppn_vm_state state, bool want_running, enum vm_disk disk)
{
    struct vm_config config = vm_config_default();
    struct vm_record record = new_record();
    record.state = state;
    record.want_running = want_running;
    record.disk = disk;
    now = (struct ppn_instant){0};
    vm_init(&vm, &config, &record, now);
}

static enum ppn_error step_text(enum vm_event_kind kind, const char *text)
{
    struct vm_event event = {.kind = kind, .text = text};
    return vm_step(&vm, now, &event, &update);
}

static void step(enum vm_event_kind kind)
{
    cr_assert_eq(step_text(kind, NULL), PPN_OK);
}

/* "persist publish launch": the updates of the last step. */
static const char *updates(void)
{
    static const char *const names[] = {"persist", "publish", "disk",   "launch", "connect",
                                        "press",   "kill",    "remove", "forget"};
    static char text[128];
    text[0] = 0;
    for (uint32_t i = 0; i < update.count; i++) {
        strcat(text, i ? " " : "");
        strcat(text, names[update.kinds[i]]);
    }
    return text;
}

#define EXPECT(text)  cr_expect_str_eq(updates(), text)
#define STATE(wanted) cr_expect_eq(vm.record.state, wanted)

static void run(void)
{
    make();
    step(VM_EVENT_START);
    EXPECT("persist publish launch");
    step(VM_EVENT_LAUNCHED);
    EXPECT("connect");
    step(VM_EVENT_RUNNING);
    EXPECT("persist publish");
    STATE(PPN_VM_RUNNING);
}

static void pass(struct ppn_duration time)
{
    now = ppn_after(now, time);
    cr_assert(ppn_due(vm_deadline(&vm), now));
    step(VM_EVENT_TIME);
}

Test(vm, whole_life)
{
    run();
    cr_expect_eq(vm.record.disk, VM_DISK_FIRST_BOOT);
    step(VM_EVENT_READY);
    EXPECT("persist publish");
    cr_expect(vm_info(&vm).ready);
    cr_expect_eq(vm.record.disk, VM_DISK_KEPT);
    cr_expect_eq(vm_deadline(&vm).ns, PPN_NEVER.ns);
    step(VM_EVENT_STOP);
    EXPECT("persist publish press");
    STATE(PPN_VM_STOPPING);
    step(VM_EVENT_GUEST_OFF);
    EXPECT("");
    step(VM_EVENT_EXITED);
    EXPECT("persist publish");
    STATE(PPN_VM_STOPPED);
    cr_expect_str_eq(vm.record.reason, "");
    step(VM_EVENT_START);
    EXPECT("persist publish launch");
}

Test(vm, persists_before_it_launches)
{
    make();
    step(VM_EVENT_START);
    cr_assert_eq(update.kinds[0], VM_UPDATE_PERSIST);
    cr_expect(vm.record.want_running);
    cr_expect_eq(vm.record.disk, VM_DISK_FIRST_BOOT, "a crash from now on must be seen as one");
}

Test(vm, guest_that_ignores_the_button_is_pressed_again_and_then_killed)
{
    run();
    step(VM_EVENT_STOP);
    pass(ppn_seconds(5));
    EXPECT("press");
    for (int i = 0; i < 10; i++)
        pass(ppn_seconds(5));
    pass(ppn_seconds(5));
    EXPECT("kill");
    cr_expect_eq(vm_deadline(&vm).ns > now.ns, true);
    step(VM_EVENT_EXITED);
    STATE(PPN_VM_STOPPED);
}

Test(vm, guest_that_switches_itself_off_is_stopped_with_a_reason)
{
    run();
    step(VM_EVENT_GUEST_OFF);
    step(VM_EVENT_EXITED);
    STATE(PPN_VM_STOPPED);
    cr_expect_str_eq(vm.record.reason, "the guest switched itself off");
    cr_expect_not(vm.record.want_running);
    cr_expect_eq(vm.record.disk, VM_DISK_KEPT);
}

Test(vm, qemu_that_ends_by_itself_is_failed_with_its_words)
{
    run();
    cr_assert_eq(step_text(VM_EVENT_EXITED, "QEMU ended: no"), PPN_OK);
    STATE(PPN_VM_FAILED);
    cr_expect_str_eq(vm.record.reason, "QEMU ended: no");
    step(VM_EVENT_START);
    cr_expect_str_eq(vm.record.reason, "");
}

Test(vm, killed_in_its_first_boot_gets_a_new_disk)
{
    run();
    step(VM_EVENT_KILL);
    EXPECT("persist publish kill");
    step(VM_EVENT_EXITED);
    cr_expect_eq(vm.record.disk, VM_DISK_FIRST_BOOT);
    step(VM_EVENT_START);
    EXPECT("persist publish disk");
    step(VM_EVENT_DISK_MADE);
    EXPECT("launch");
}

Test(vm, killed_once_ready_keeps_its_disk)
{
    run();
    step(VM_EVENT_READY);
    step(VM_EVENT_KILL);
    step(VM_EVENT_EXITED);
    step(VM_EVENT_START);
    EXPECT("persist publish launch");
}

Test(vm, an_image_that_never_says_ready_keeps_its_disk_after_a_while)
{
    run();
    pass(ppn_seconds(600));
    EXPECT("persist publish");
    STATE(PPN_VM_RUNNING);
    cr_expect(strstr(vm.record.reason, "still booting"));
    cr_expect_eq(vm.record.disk, VM_DISK_KEPT);
    step(VM_EVENT_READY);
    cr_expect_str_eq(vm.record.reason, "");
    cr_expect(vm.record.ready);
}

Test(vm, launch_that_fails_is_failed_and_may_be_tried_again_on_the_same_disk)
{
    make();
    step(VM_EVENT_START);
    cr_assert_eq(step_text(VM_EVENT_LAUNCH_FAILED, "no qemu"), PPN_OK);
    EXPECT("persist publish");
    STATE(PPN_VM_FAILED);
    cr_expect_str_eq(vm.record.reason, "no qemu");
    cr_expect_eq(vm.record.disk, VM_DISK_FRESH);
    step(VM_EVENT_START);
    EXPECT("persist publish launch");
}

Test(vm, qemu_that_does_not_answer_is_ended_and_failed)
{
    make();
    step(VM_EVENT_START);
    step(VM_EVENT_LAUNCHED);
    pass(ppn_seconds(30));
    EXPECT("kill");
    step(VM_EVENT_EXITED);
    STATE(PPN_VM_FAILED);
    cr_expect(strstr(vm.record.reason, "did not answer"));
}

Test(vm, stop_before_the_launch_is_known)
{
    make();
    step(VM_EVENT_START);
    step(VM_EVENT_STOP);
    EXPECT("persist publish");
    step(VM_EVENT_LAUNCHED);
    EXPECT("kill");
    step(VM_EVENT_EXITED);
    STATE(PPN_VM_STOPPED);
}

Test(vm, remove_of_a_running_one)
{
    run();
    step(VM_EVENT_REMOVE);
    EXPECT("persist publish kill");
    step(VM_EVENT_REMOVE);
    EXPECT("");
    cr_expect_eq(step_text(VM_EVENT_START, NULL), PPN_ERROR_CONFLICT);
    step(VM_EVENT_EXITED);
    EXPECT("persist publish remove");
    step(VM_EVENT_FILES_REMOVED);
    EXPECT("forget");
}

Test(vm, remove_of_a_prepared_one)
{
    make();
    step(VM_EVENT_REMOVE);
    EXPECT("persist publish remove");
    step(VM_EVENT_FILES_REMOVED);
    EXPECT("forget");
}

Test(vm, remove_while_its_disk_is_made)
{
    restore(PPN_VM_STOPPED, false, VM_DISK_FIRST_BOOT);
    step(VM_EVENT_RESTORED_DEAD);
    step(VM_EVENT_START);
    EXPECT("persist publish disk");
    step(VM_EVENT_REMOVE);
    EXPECT("persist publish");
    step(VM_EVENT_DISK_MADE);
    EXPECT("persist publish remove");
}

Test(vm, lost_qmp_is_connected_again_while_the_process_lives)
{
    run();
    step(VM_EVENT_QMP_LOST);
    EXPECT("");
    pass(ppn_seconds(1));
    EXPECT("connect");
    step(VM_EVENT_RUNNING);
    EXPECT("");
    STATE(PPN_VM_RUNNING);
}

Test(vm, stop_while_qmp_is_away_presses_when_it_is_back)
{
    run();
    step(VM_EVENT_QMP_LOST);
    step(VM_EVENT_STOP);
    EXPECT("persist publish");
    pass(ppn_seconds(1));
    step(VM_EVENT_RUNNING);
    EXPECT("press");
}

Test(vm, restored)
{
    static const struct {
        enum ppn_vm_state state;
        bool want_running;
        enum vm_event_kind event;
        const char *updates;
        enum ppn_vm_state after;
    } table[] = {
        {PPN_VM_RUNNING, true, VM_EVENT_RESTORED_ALIVE, "connect", PPN_VM_RUNNING},
        {PPN_VM_STARTING, true, VM_EVENT_RESTORED_ALIVE, "connect", PPN_VM_STARTING},
        {PPN_VM_STOPPING, false, VM_EVENT_RESTORED_ALIVE, "connect", PPN_VM_STOPPING},
        {PPN_VM_RUNNING, true, VM_EVENT_RESTORED_DEAD, "persist publish", PPN_VM_FAILED},
        {PPN_VM_STARTING, true, VM_EVENT_RESTORED_DEAD, "persist publish launch", PPN_VM_STARTING},
        {PPN_VM_STOPPING, false, VM_EVENT_RESTORED_DEAD, "persist publish", PPN_VM_STOPPED},
        {PPN_VM_STOPPED, false, VM_EVENT_RESTORED_DEAD, "publish", PPN_VM_STOPPED},
        {PPN_VM_PREPARED, false, VM_EVENT_RESTORED_DEAD, "publish", PPN_VM_PREPARED},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        restore(table[i].state, table[i].want_running, VM_DISK_KEPT);
        step(table[i].event);
        EXPECT(table[i].updates);
        STATE(table[i].after);
    }
}

Test(vm, restored_stopping_goes_on_stopping)
{
    restore(PPN_VM_STOPPING, false, VM_DISK_KEPT);
    step(VM_EVENT_RESTORED_ALIVE);
    step(VM_EVENT_RUNNING);
    EXPECT("press");
    step(VM_EVENT_GUEST_OFF);
    step(VM_EVENT_EXITED);
    STATE(PPN_VM_STOPPED);
}

Test(vm, asked_at_the_wrong_time)
{
    make();
    cr_expect_eq(step_text(VM_EVENT_STOP, NULL), PPN_ERROR_CONFLICT);
    run();
    cr_expect_eq(step_text(VM_EVENT_START, NULL), PPN_OK);
    EXPECT("");
    step(VM_EVENT_STOP);
    cr_expect_eq(step_text(VM_EVENT_START, NULL), PPN_ERROR_CONFLICT);
    cr_expect_eq(step_text(VM_EVENT_STOP, NULL), PPN_OK);
    EXPECT("");
}

Test(vm, reboot_loop_is_told_once)
{
    run();
    step(VM_EVENT_GUEST_RESET);
    step(VM_EVENT_GUEST_RESET);
    EXPECT("");
    step(VM_EVENT_GUEST_RESET);
    EXPECT("persist publish");
    cr_expect(strstr(vm.record.reason, "keeps restarting"));
    step(VM_EVENT_GUEST_RESET);
    EXPECT("");
}

/* Any order of events whatsoever: nothing trips, and what must never happen does not. */
Test(vm, any_order)
{
    uint64_t random = 1;
    for (int life = 0; life < 2000; life++) {
        bool process = false, over = false;
        make();
        for (int i = 0; i < 60 && !over; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            enum vm_event_kind kind = (enum vm_event_kind)((random >> 33) % 19);
            if (kind == VM_EVENT_RESTORED_ALIVE || kind == VM_EVENT_RESTORED_DEAD)
                continue;
            if ((kind == VM_EVENT_LAUNCHED || kind == VM_EVENT_LAUNCH_FAILED) &&
                vm.process != VM_PROCESS_LAUNCHING)
                continue;
            if (kind == VM_EVENT_EXITED && !process)
                continue;
            now = ppn_after(now, ppn_seconds((int64_t)((random >> 50) % 40)));
            enum ppn_error error = step_text(kind, "x");
            cr_assert(error == PPN_OK || error == PPN_ERROR_CONFLICT);
            if (kind == VM_EVENT_LAUNCHED)
                process = true;
            if (kind == VM_EVENT_EXITED)
                process = false;
            for (uint32_t k = 0; k < update.count; k++) {
                cr_assert(update.kinds[k] != VM_UPDATE_LAUNCH || !process, "two processes");
                cr_assert(update.kinds[k] != VM_UPDATE_REMOVE_FILES || !process, "in use");
                over = over || update.kinds[k] == VM_UPDATE_FORGET;
            }
            cr_assert_eq(vm_record_check(&vm.record), PPN_OK);
        }
    }
}

Test(vm, memory)
{
    cr_expect_eq(vm_tb_mib((uint64_t)64 << 20), 32);
    cr_expect_eq(vm_tb_mib((uint64_t)1 << 30), 256);
    cr_expect_eq(vm_tb_mib((uint64_t)64 << 30), 512);
    cr_expect_gt(vm_host_memory_bytes((uint64_t)1 << 30, false),
                 vm_host_memory_bytes((uint64_t)1 << 30, true));
}

Test(vm, record_check)
{
    struct vm_record record = new_record();
    cr_expect_eq(vm_record_check(&record), PPN_OK);
    record.slot = PPN_VMS_MAX;
    cr_expect_eq(vm_record_check(&record), PPN_ERROR_INVALID);
    record = new_record();
    memset(record.name, 'a', sizeof(record.name));
    cr_expect_eq(vm_record_check(&record), PPN_ERROR_INVALID);
    record = new_record();
    record.state = PPN_VM_LOST;
    cr_expect_eq(vm_record_check(&record), PPN_ERROR_INVALID);
    record = new_record();
    record.image_hash = (struct ppn_hash){0};
    cr_expect_eq(vm_record_check(&record), PPN_ERROR_INVALID);
}
