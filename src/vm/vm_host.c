// SPDX-License-Identifier: ISC
#include "vm/vm_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/name.h"
#include "os/os_file.h"
#include "os/os_process.h"
#include "vm/vm_log.h"
#include "vm/vm_machine.h"

enum { SWEEP_MAX = 2 * PPN_VMS_MAX };

void vm_host_directory(const struct vm_host *host, const struct ppn_request_id *id, char *path)
{
    char uuid[PPN_UUID_TEXT];
    ppn_request_id_text(id, uuid);
    int length = snprintf(path, VM_PATH_MAX + 1, "%s/%s", host->root, uuid);
    PPN_ASSERT(length > 0 && length <= VM_PATH_MAX);
}

uid_t vm_host_uid(const struct vm_host *host, uint32_t slot)
{
    return host->uid_base ? host->uid_base + slot : 0;
}

/* The rules are there, or will not be: launches that waited go on. */
static void on_network(void *context)
{
    struct vm_host *host = context;
    for (uint32_t i = 0; i < host->machine_count; i++)
        if (host->machines[i]->wants_tap)
            vm_machine_continue(host->machines[i]);
}

static bool lives(const struct vm_machine *machine)
{
    return machine->vm.process == VM_PROCESS_ALIVE;
}

static void on_trim(void *context)
{
    struct vm_host *host = context;
    for (uint32_t i = 0; i < host->machine_count; i++) {
        struct vm_machine *machine = host->machines[i];
        if (lives(machine))
            vm_log_trim(machine->directory, VM_CONSOLE_LOG_MAX, &machine->log_base);
    }
    os_timer_after(&host->trim, ppn_ms(VM_LOG_TRIM_MS));
}

static enum ppn_error set_paths(struct vm_host *host, const struct vm_host_config *config,
                                struct ppn_failure *failure)
{
    int length = snprintf(host->root, sizeof(host->root), "%s/vms", config->state_dir);
    /* A VM's id and the names beneath must fit too. */
    if (length < 0 || (size_t)length + PPN_UUID_TEXT + 16 > sizeof(host->root))
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path of the state directory is too long");
    if (!ppn_text_copy(host->program, sizeof(host->program),
                       config->qemu_path ? config->qemu_path : "qemu-system-x86_64"))
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path of QEMU is too long");
    return os_directory_make(host->root, 0700, failure);
}

enum ppn_error vm_host_open(const struct vm_host_config *config, struct vm_host **out,
                            struct ppn_failure *failure)
{
    struct vm_host *host = calloc(1, sizeof(*host));
    if (!host)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    host->loop = config->loop;
    host->worker = config->worker;
    host->hooks = *config->hooks;
    host->context = config->context;
    vm_host_set_cpu(host, config->cpu);
    if (os_process_is_root())
        host->uid_base = config->uid_base ? config->uid_base : VM_UID_BASE;
    enum ppn_error error = set_paths(host, config, failure);
    if (!error && config->network)
        error = vm_nic_open(host->loop, on_network, host, &host->nic, failure);
    if (error) {
        free(host);
        return error;
    }
    os_timer_init(&host->trim, host->loop, on_trim, host);
    os_timer_after(&host->trim, ppn_ms(VM_LOG_TRIM_MS));
    *out = host;
    return PPN_OK;
}

void vm_host_job_done(struct vm_host *host)
{
    PPN_ASSERT(host->jobs > 0);
    host->jobs--;
    if (host->closing && host->jobs == 0)
        free(host);
}

void vm_host_close(struct vm_host *host)
{
    if (!host)
        return;
    host->closing = true;
    while (host->machine_count > 0)
        vm_machine_drop(host->machines[host->machine_count - 1]);
    for (uint32_t i = host->making_count; i-- > 0;)
        vm_making_close(host->makings[i]);
    os_timer_stop(&host->trim);
    vm_nic_close(host->nic);
    host->nic = NULL;
    if (host->jobs == 0)
        free(host);
}

/* Directories without a record: VMs that were never finished, or whose record is gone. */
struct sweep {
    struct vm_host *host;
    const struct vm_record *records;
    uint32_t record_count;
    uint32_t count;
    char names[SWEEP_MAX][PPN_UUID_TEXT];
};

static bool sweep_one(void *context, const char *name)
{
    struct sweep *sweep = context;
    struct ppn_request_id id;
    char path[VM_PATH_MAX + 1];
    if (sweep->count == SWEEP_MAX || strlen(name) >= PPN_UUID_TEXT ||
        ppn_request_id_parse(name, &id))
        return sweep->count < SWEEP_MAX; /* not ours */
    for (uint32_t i = 0; i < sweep->record_count; i++)
        if (ppn_request_id_equal(&sweep->records[i].id, &id))
            return true;
    vm_host_directory(sweep->host, &id, path);
    if (vm_process_alive(path)) {
        ppn_log(PPN_LOG_ERROR, "vm-unknown", "directory=%s a process runs that no record names",
                path);
        return true;
    }
    (void)ppn_text_copy(sweep->names[sweep->count++], PPN_UUID_TEXT, name);
    return true;
}

static enum ppn_error sweep_all(struct vm_host *host, const struct vm_record *records,
                                uint32_t count, struct ppn_failure *failure)
{
    struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (!sweep)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    sweep->host = host;
    sweep->records = records;
    sweep->record_count = count;
    enum ppn_error error = os_directory_each(host->root, sweep_one, sweep, failure);
    for (uint32_t i = 0; i < sweep->count && !error; i++) {
        ppn_log(PPN_LOG_INFO, "vm-swept", "id=%s left over from an unfinished preparation",
                sweep->names[i]);
        error = os_directory_remove(host->root, sweep->names[i], failure);
    }
    free(sweep);
    return error;
}

enum ppn_error vm_host_restore(struct vm_host *host, const struct vm_record *records,
                               uint32_t count, struct ppn_failure *failure)
{
    PPN_ASSERT(host->machine_count == 0 && host->making_count == 0);
    enum ppn_error error = sweep_all(host, records, count, failure);
    for (uint32_t i = 0; i < count && !error; i++) {
        const struct vm_record *record = &records[i];
        if (vm_record_check(record) || vm_machine_find(host, &record->id) ||
            host->machine_count == PPN_VMS_MAX) {
            ppn_log(PPN_LOG_ERROR, "vm-record", "a stored VM is damaged and was left alone");
            continue;
        }
        if (!vm_machine_add(host, record))
            return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < host->machine_count && !error; i++)
        vm_machine_adopt(host->machines[i]);
    return error;
}

void vm_host_set_cpu(struct vm_host *host, const char *cpu)
{
    if (!ppn_text_copy(host->cpu, sizeof(host->cpu), cpu ? cpu : ""))
        host->cpu[0] = 0;
}

const char *vm_host_warning(const struct vm_host *host)
{
    if (!host->uid_base)
        return "ppn-node does not run as root: VMs run as its own user and have no network";
    return host->nic ? vm_nic_problem(host->nic) : "";
}

static enum ppn_error ask(struct vm_host *host, const struct ppn_request_id *id,
                          const struct vm_event *event)
{
    struct vm_machine *machine = vm_machine_find(host, id);
    if (!machine)
        return vm_making_find(host, id) ? PPN_ERROR_BUSY : PPN_ERROR_NOT_FOUND;
    if (machine->making)
        return PPN_ERROR_BUSY; /* not on record yet */
    if (machine->find_tries > 0)
        return PPN_ERROR_BUSY; /* not known yet whether it runs */
    return vm_machine_step(machine, event);
}

enum ppn_error vm_host_start(struct vm_host *host, const struct ppn_request_id *id)
{
    return ask(host, id, &(struct vm_event){.kind = VM_EVENT_START});
}

enum ppn_error vm_host_stop(struct vm_host *host, const struct ppn_request_id *id,
                            struct ppn_duration timeout)
{
    return ask(host, id, &(struct vm_event){.kind = VM_EVENT_STOP, .stop_timeout = timeout});
}

enum ppn_error vm_host_kill(struct vm_host *host, const struct ppn_request_id *id)
{
    return ask(host, id, &(struct vm_event){.kind = VM_EVENT_KILL});
}

enum ppn_error vm_host_remove(struct vm_host *host, const struct ppn_request_id *id)
{
    struct vm_making *making = vm_making_find(host, id);
    if (making && !making->recorded) {
        vm_making_cancel(making);
        return PPN_OK;
    }
    struct vm_machine *machine = vm_machine_find(host, id);
    if (!machine)
        return PPN_ERROR_NOT_FOUND;
    if (machine->find_tries > 0) {
        machine->remove_asked = true;
        return PPN_OK;
    }
    return vm_machine_step(machine, &(struct vm_event){.kind = VM_EVENT_REMOVE});
}

void vm_host_persisted(struct vm_host *host, uint64_t ticket, enum ppn_error error)
{
    for (uint32_t i = 0; i < host->machine_count; i++) {
        struct vm_machine *machine = host->machines[i];
        if (machine->persisting && machine->ticket == ticket) {
            vm_machine_persisted(machine, error);
            return;
        }
    }
}

bool vm_host_find(const struct vm_host *host, const struct ppn_request_id *id,
                  struct ppn_vm_info *info)
{
    const struct vm_machine *machine = vm_machine_find(host, id);
    if (!machine)
        return false;
    *info = vm_info(&machine->vm);
    return true;
}

uint32_t vm_host_list(const struct vm_host *host, struct ppn_vm_info *infos, uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < host->machine_count; i++) {
        if (count < capacity)
            infos[count] = vm_info(&host->machines[i]->vm);
        count++;
    }
    return count;
}

bool vm_host_uses_image(const struct vm_host *host, const struct ppn_hash *hash)
{
    for (uint32_t i = 0; i < host->machine_count; i++)
        if (ppn_hash_equal(&host->machines[i]->vm.record.image_hash, hash))
            return true;
    for (uint32_t i = 0; i < host->making_count; i++)
        if (ppn_hash_equal(&host->makings[i]->record.image_hash, hash))
            return true;
    return false;
}

struct vm_host_usage vm_host_usage(const struct vm_host *host)
{
    struct vm_host_usage usage = {.vm_count = host->machine_count};
    for (uint32_t i = 0; i < host->machine_count; i++) {
        const struct vm_record *record = &host->machines[i]->vm.record;
        usage.disk_bytes += record->disk_bytes;
        bool runs = host->machines[i]->vm.process != VM_PROCESS_NONE;
        if (!runs && record->state != PPN_VM_PREPARED)
            continue;
        usage.memory_bytes += vm_host_memory_bytes(record->memory_bytes, record->kvm);
        usage.vcpus += record->vcpus;
    }
    return usage;
}

enum ppn_error vm_host_log_read(struct vm_host *host, const struct ppn_request_id *id,
                                uint64_t offset, uint8_t *bytes, size_t capacity, size_t *size,
                                uint64_t *next_offset)
{
    const struct vm_machine *machine = vm_machine_find(host, id);
    if (!machine)
        return PPN_ERROR_NOT_FOUND;
    return vm_log_read(machine->directory, machine->log_base, offset, bytes, capacity, size,
                       next_offset);
}

uint64_t vm_host_log_tail(struct vm_host *host, const struct ppn_request_id *id, uint64_t tail)
{
    const struct vm_machine *machine = vm_machine_find(host, id);
    if (!machine)
        return 0;
    uint64_t end = vm_log_end(machine->directory, machine->log_base);
    return end > tail ? end - tail : 0;
}

static enum ppn_error reach(struct vm_host *host, const struct ppn_request_id *id,
                            struct vm_machine **machine, struct ppn_failure *failure)
{
    *machine = vm_machine_find(host, id);
    if (!*machine)
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "no such VM on this node");
    if (!lives(*machine) || (*machine)->directory_fd < 0)
        return ppn_fail(failure, PPN_ERROR_CONFLICT, "%s does not run; start it first",
                        (*machine)->vm.record.name);
    return PPN_OK;
}

static enum ppn_error open_socket(struct vm_machine *machine, const char *name,
                                  struct vm_console **console, struct ppn_failure *failure)
{
    char path[VM_SOCKET_PATH];
    if (*console)
        return PPN_OK;
    vm_socket_path(machine->directory_fd, name, path);
    return vm_console_open(machine->host->loop, path, console, failure);
}

enum ppn_error vm_host_console_attach(struct vm_host *host, const struct ppn_request_id *id,
                                      const struct vm_viewer_handler *handler, void *context,
                                      struct vm_viewer **viewer, struct ppn_failure *failure)
{
    struct vm_machine *machine;
    enum ppn_error error = reach(host, id, &machine, failure);
    if (!error)
        error = open_socket(machine, "console.sock", &machine->console, failure);
    if (error)
        return error;
    return vm_console_attach(machine->console, handler, context, viewer, failure);
}

enum ppn_error vm_host_channel_attach(struct vm_host *host, const struct ppn_request_id *id,
                                      const struct vm_viewer_handler *handler, void *context,
                                      struct vm_viewer **viewer, struct ppn_failure *failure)
{
    struct vm_machine *machine;
    enum ppn_error error = reach(host, id, &machine, failure);
    if (!error)
        error = open_socket(machine, "channel.sock", &machine->channel, failure);
    if (error)
        return error;
    if (vm_console_used(machine->channel))
        return ppn_fail(failure, PPN_ERROR_BUSY, "somebody else talks to %s at the moment",
                        machine->vm.record.name);
    return vm_console_attach(machine->channel, handler, context, viewer, failure);
}
