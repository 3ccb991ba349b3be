// SPDX-License-Identifier: ISC
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/name.h"
#include "os/os_file.h"
#include "vm/vm_machine.h"

enum ppn_error vm_disk_create(struct vm_host *host, const char *directory,
                              const struct vm_image *image, uint64_t bytes,
                              os_child_exit_fn *on_exit, void *context, struct os_child **child,
                              struct ppn_failure *failure)
{
    char size[24];
    (void)snprintf(size, sizeof(size), "%" PRIu64, bytes);
    /* -u: the base is not opened, its facts are known; QEMU itself is given the base as an open
     * descriptor and never follows the name in the header. */
    const char *const argv[] = {"qemu-img", "create",    "-q", "-u",
                                "-f",       "qcow2",     "-F", image_format_name(image->format),
                                "-b",       image->path, "--", "disk.qcow2",
                                size,       NULL};
    struct os_child_config config = {
        .argv = argv,
        .directory = directory,
        .timeout = ppn_seconds(60),
    };
    return os_child_spawn(host->loop, &config, on_exit, context, child, failure);
}

void vm_disk_failure(const struct os_child_result *result, struct ppn_failure *failure)
{
    const char *words = (const char *)result->err.data;
    size_t line = words ? strcspn(words, "\n") : 0;
    if (line > 0)
        (void)ppn_fail(failure, strstr(words, "No space") ? PPN_ERROR_NO_SPACE : PPN_ERROR_IO,
                       "the disk cannot be made: %.*s", (int)(line > 180 ? 180 : line), words);
    else
        (void)ppn_fail(failure, result->error ? result->error : PPN_ERROR_IO,
                       "the disk cannot be made: qemu-img: %s", result->text);
}

static void free_making(struct vm_making *making)
{
    struct vm_host *host = making->host;
    uint32_t at = 0;
    while (at < host->making_count && host->makings[at] != making)
        at++;
    PPN_ASSERT(at < host->making_count && !making->disk && !making->seed_pending);
    host->makings[at] = host->makings[--host->making_count];
    free(making->spec.user_data);
    free(making);
}

/* The end of a making that came to nothing: no trace of it stays. */
static void give_up(struct vm_making *making)
{
    char uuid[PPN_UUID_TEXT];
    struct ppn_failure failure = making->failure;
    ppn_request_id_text(&making->record.id, uuid);
    (void)!os_directory_remove(making->host->root, uuid, NULL);
    vm_prepared_fn *done = making->done;
    void *context = making->context;
    struct ppn_request_id id = making->record.id;
    struct vm_host *host = making->host;
    bool removed = making->cancelled;
    free_making(making);
    done(context, &id, &failure);
    if (removed)
        host->hooks.removed(host->context, &id);
}

void vm_making_recorded(struct vm_making *making, enum ppn_error error)
{
    struct vm_host *host = making->host;
    struct ppn_request_id id = making->record.id;
    if (error) {
        (void)ppn_fail(&making->failure, error, "the VM cannot be recorded: %s",
                       ppn_error_text(error));
        vm_machine_drop(vm_machine_find(host, &id));
        give_up(making);
        return;
    }
    vm_prepared_fn *done = making->done;
    void *context = making->context;
    free_making(making);
    done(context, &id, NULL);
}

/* Disk or seed came to an end; both must. */
static void part_done(struct vm_making *making)
{
    if (making->disk || making->seed_pending)
        return;
    if (!making->failure.code && making->cancelled)
        (void)ppn_fail(&making->failure, PPN_ERROR_CANCELLED, "the preparation was cancelled");
    if (making->failure.code) {
        give_up(making);
        return;
    }
    struct vm_machine *machine = vm_machine_add(making->host, &making->record);
    if (!machine) {
        (void)ppn_fail(&making->failure, PPN_ERROR_NO_MEMORY, "out of memory");
        give_up(making);
        return;
    }
    making->recorded = true;
    machine->making = making;
    vm_machine_record(machine);
}

static void on_disk(void *context, const struct os_child_result *result)
{
    struct vm_making *making = context;
    making->disk = NULL;
    if (!os_child_ok(result) && !making->failure.code)
        vm_disk_failure(result, &making->failure);
    part_done(making);
}

static enum ppn_error write_seed(struct vm_making *making)
{
    struct ppn_failure *failure = &making->seed_failure;
    struct vm_network network = {0};
    if (making->network)
        network = vm_nic_network(making->record.slot);
    enum ppn_error error = vm_seed_build(&making->spec, &network, making->image);
    if (error)
        return ppn_fail(failure, error, "the first-boot data cannot be made: %s",
                        ppn_error_text(error));
    int fd = -1;
    error = os_file_open_beneath(making->directory, "seed.img", O_WRONLY | O_CREAT | O_EXCL, 0600,
                                 &fd, failure);
    if (error)
        return error;
    ssize_t written = write(fd, making->image, sizeof(making->image));
    bool ok = written == (ssize_t)sizeof(making->image) && fdatasync(fd) == 0;
    int number = written >= 0 && !ok && errno == 0 ? ENOSPC : errno;
    close(fd);
    if (!ok)
        return ppn_fail(failure, os_errno(number), "%s/seed.img: %s", making->directory,
                        strerror(number));
    return os_directory_sync(making->directory, failure);
}

/* In a worker thread; the loop touches neither seed_failure nor image until seed_done. */
static void seed_work(void *context)
{
    struct vm_making *making = context;
    (void)!write_seed(making);
}

static void seed_done(void *context, bool cancelled)
{
    struct vm_making *making = context;
    struct vm_host *host = making->host;
    making->seed_pending = false;
    if (host->closing) {
        free_making(making);
        vm_host_job_done(host);
        return;
    }
    vm_host_job_done(host);
    if (cancelled)
        (void)ppn_fail(&making->seed_failure, PPN_ERROR_CANCELLED, "ppn-node is stopping");
    if (!making->failure.code)
        making->failure = making->seed_failure;
    part_done(making);
}

static bool slot_taken(const struct vm_host *host, uint32_t slot)
{
    for (uint32_t i = 0; i < host->machine_count; i++)
        if (host->machines[i]->vm.record.slot == slot)
            return true;
    for (uint32_t i = 0; i < host->making_count; i++)
        if (host->makings[i]->record.slot == slot)
            return true;
    return false;
}

static enum ppn_error fill_record(struct vm_host *host, const struct vm_prepare *prepare,
                                  const struct vm_image *image, struct vm_record *record,
                                  struct ppn_failure *failure)
{
    const struct ppn_machine_spec *spec = prepare->spec;
    const struct ppn_demand *demand = &spec->demand;
    *record = (struct vm_record){
        .id = spec->id,
        .image_hash = demand->image_hash,
        .memory_bytes = demand->memory_bytes,
        .disk_bytes = demand->disk_bytes ? demand->disk_bytes : image->virtual_bytes,
        .vcpus = demand->vcpus,
        .kvm = prepare->kvm,
        .no_network = spec->no_network,
        .state = PPN_VM_PREPARED,
        .isolation = prepare->isolation,
        .created_unix_ms = prepare->created_unix_ms,
    };
    (void)ppn_text_copy(record->name, sizeof(record->name), spec->name);
    (void)ppn_text_copy(record->image, sizeof(record->image), demand->image);
    while (record->slot < PPN_VMS_MAX && slot_taken(host, record->slot))
        record->slot++;
    if (record->slot == PPN_VMS_MAX || host->making_count == PPN_VMS_MAX)
        return ppn_fail(failure, PPN_ERROR_FULL, "this node has %d VMs already", PPN_VMS_MAX);
    if (record->disk_bytes < image->virtual_bytes)
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "the image needs a disk of at least %" PRIu64 " MiB",
                        (image->virtual_bytes + (1 << 20) - 1) >> 20);
    if (vm_record_check(record))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "memory, CPUs or disk are out of range (memory at least 32 MiB, at most "
                        "%d CPUs)",
                        VM_VCPUS_MAX);
    return PPN_OK;
}

static enum ppn_error make_directory(struct vm_making *making, struct ppn_failure *failure)
{
    char uuid[PPN_UUID_TEXT];
    ppn_request_id_text(&making->record.id, uuid);
    /* A leftover of a preparation that was cut off. */
    enum ppn_error error = os_directory_remove(making->host->root, uuid, failure);
    if (!error)
        error = os_directory_make(making->directory, 0710, failure);
    if (error)
        return error;
    uid_t uid = vm_host_uid(making->host, making->record.slot);
    if (uid != 0 && chown(making->directory, 0, uid) < 0)
        return ppn_fail(failure, os_errno(errno), "%s: %s", making->directory, strerror(errno));
    return PPN_OK;
}

static enum ppn_error copy_spec(struct vm_making *making, const struct ppn_machine_spec *spec)
{
    making->spec = *spec;
    making->spec.user_data = NULL;
    if (spec->user_data_size == 0)
        return PPN_OK;
    making->spec.user_data = malloc(spec->user_data_size);
    if (!making->spec.user_data)
        return PPN_ERROR_NO_MEMORY;
    memcpy(making->spec.user_data, spec->user_data, spec->user_data_size);
    return PPN_OK;
}

/* Both parts are begun before either can end; a part that cannot begin ends the other. */
static enum ppn_error begin(struct vm_making *making, const struct vm_image *image,
                            struct ppn_failure *failure)
{
    struct vm_host *host = making->host;
    enum ppn_error error = make_directory(making, failure);
    if (!error)
        error = vm_disk_create(host, making->directory, image, making->record.disk_bytes, on_disk,
                               making, &making->disk, failure);
    if (error)
        return error;
    error = os_worker_submit(host->worker, seed_work, seed_done, making);
    if (error) {
        os_child_kill(making->disk);
        making->disk = NULL;
        return ppn_fail(failure, error, "too much is going on at once on this node; try again");
    }
    making->seed_pending = true;
    host->jobs++;
    return PPN_OK;
}

enum ppn_error vm_host_prepare(struct vm_host *host, const struct vm_prepare *prepare,
                               struct ppn_failure *failure)
{
    const struct ppn_machine_spec *spec = prepare->spec;
    struct vm_image image;
    struct vm_machine *old = vm_machine_find(host, &spec->id);
    if (vm_making_find(host, &spec->id))
        return ppn_fail(failure, PPN_ERROR_BUSY, "this VM is being prepared already");
    if (old && old->vm.record.removing)
        return ppn_fail(failure, PPN_ERROR_CONFLICT, "this VM is being removed");
    if (old) {
        prepare->done(prepare->context, &spec->id, NULL);
        return PPN_OK;
    }
    enum ppn_error error = vm_seed_check(spec, failure);
    if (error)
        return error;
    if (!host->hooks.image(host->context, &spec->demand.image_hash, &image))
        return ppn_fail(failure, PPN_ERROR_NOT_FOUND, "the image %s is not on this node",
                        spec->demand.image);
    struct vm_making *making = calloc(1, sizeof(*making));
    if (!making)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "out of memory");
    making->host = host;
    making->network = host->nic != NULL && !spec->no_network;
    making->done = prepare->done;
    making->context = prepare->context;
    error = fill_record(host, prepare, &image, &making->record, failure);
    vm_host_directory(host, &spec->id, making->directory);
    if (!error)
        error = copy_spec(making, spec);
    if (!error)
        error = begin(making, &image, failure);
    if (error) {
        free(making->spec.user_data);
        free(making);
        return error;
    }
    host->makings[host->making_count++] = making;
    return PPN_OK;
}

struct vm_making *vm_making_find(const struct vm_host *host, const struct ppn_request_id *id)
{
    for (uint32_t i = 0; i < host->making_count; i++)
        if (ppn_request_id_equal(&host->makings[i]->record.id, id))
            return host->makings[i];
    return NULL;
}

void vm_making_cancel(struct vm_making *making)
{
    making->cancelled = true;
}

void vm_making_close(struct vm_making *making)
{
    os_child_kill(making->disk);
    making->disk = NULL;
    if (!making->seed_pending)
        free_making(making);
}
