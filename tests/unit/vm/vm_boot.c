// SPDX-License-Identifier: ISC

/* vm_boot IMAGE DIRECTORY [USER_DATA LINE...]: one VM's life with nothing replaced: the image is
 * imported, a disk and a seed are made, QEMU boots it under emulation, the guest says that it is
 * ready, the "daemon" lets go of it and finds it again, the guest is switched off, started again,
 * killed and removed. With USER_DATA, a file, the first boot's log must hold each LINE too. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name.h"
#include "image/image_store.h"
#include "os/os_clock.h"
#include "os/os_file.h"
#include "os/os_loop.h"
#include "os/os_process.h"
#include "os/os_worker.h"
#include "vm/vm_host.h"

enum { STEP_SECONDS = 100, IMPORT_PIECE = 1 << 20 };

static struct {
    struct os_loop *loop;
    struct os_worker *worker;
    struct image_store *images;
    struct vm_host *host;
    struct os_timer deadline;
    struct ppn_hash image;
    struct vm_record record; /* the "store" */
    bool has_record, removed, imported, prepared;
    struct ppn_vm_info info;
    char console[4096];
    size_t console_size;
    const char *step;
    struct ppn_instant started;
} t;

static void fail(const char *what)
{
    fprintf(stderr, "vm_boot: %s: %s (state %d, ready %d, reason \"%s\")\n", t.step, what,
            (int)t.info.state, t.info.ready, t.info.reason);
    exit(1);
}

static void must(enum ppn_error error, const struct ppn_failure *failure)
{
    if (error)
        fail(failure && failure->text[0] ? failure->text : ppn_error_text(error));
}

static void too_late(void *context)
{
    (void)context;
    fail("nothing happened in time");
}

static void begin(const char *step)
{
    t.step = step;
    t.started = os_clock_monotonic();
    os_timer_after(&t.deadline, ppn_seconds(STEP_SECONDS));
}

static void end(void)
{
    printf("%-52s %6lld ms\n", t.step,
           (long long)ppn_to_ms(ppn_between(t.started, os_clock_monotonic())));
    fflush(stdout);
}

static bool image_hook(void *context, const struct ppn_hash *hash, struct vm_image *out)
{
    (void)context;
    const struct image *image = image_store_by_hash(t.images, hash);
    if (!image)
        return false;
    image_store_path(t.images, image, out->path);
    out->format = image->facts.format;
    out->virtual_bytes = image->facts.virtual_bytes;
    return true;
}

static void persist_hook(void *context, const struct vm_record *record, uint64_t ticket)
{
    (void)context;
    t.record = *record;
    t.has_record = true;
    vm_host_persisted(t.host, ticket, PPN_OK);
}

static void forget_hook(void *context, const struct ppn_request_id *id, uint64_t ticket)
{
    (void)context;
    (void)id;
    t.has_record = false;
    vm_host_persisted(t.host, ticket, PPN_OK);
}

static void changed_hook(void *context, const struct ppn_vm_info *info)
{
    (void)context;
    t.info = *info;
}

static void removed_hook(void *context, const struct ppn_request_id *id)
{
    (void)context;
    (void)id;
    t.removed = true;
}

static const struct vm_host_hooks hooks = {image_hook, persist_hook, forget_hook, changed_hook,
                                           removed_hook};

static void open_host(const char *directory)
{
    struct ppn_failure failure = {0};
    struct vm_host_config config = {
        .loop = t.loop,
        .worker = t.worker,
        .state_dir = directory,
        .network = true,
        .hooks = &hooks,
    };
    must(vm_host_open(&config, &t.host, &failure), &failure);
}

static void on_image(void *context, const struct image *image, const struct ppn_failure *failure)
{
    (void)context;
    must(failure ? failure->code : PPN_OK, failure);
    t.image = image->hash;
    t.imported = true;
}

static void import_image(const char *path)
{
    struct ppn_failure failure = {0};
    struct image_import *import = NULL;
    static uint8_t piece[IMPORT_PIECE];
    begin("import of the image");
    must(image_import_begin(t.images, "tiny", 0, &import, &failure), &failure);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    while ((got = read(fd, piece, sizeof(piece))) > 0)
        must(image_import_write(import, ppn_slice(piece, (size_t)got), &failure), &failure);
    close(fd);
    image_import_finish(import, on_image, NULL);
    while (!t.imported)
        os_loop_turn(t.loop);
    end();
}

static void on_prepared(void *context, const struct ppn_request_id *id,
                        const struct ppn_failure *failure)
{
    (void)context;
    (void)id;
    must(failure ? failure->code : PPN_OK, failure);
    t.prepared = true;
}

static void prepare(const struct ppn_machine_spec *spec)
{
    struct ppn_failure failure = {0};
    struct vm_prepare what = {
        .spec = spec,
        .kvm = false,
        .isolation = PPN_ISOLATION_TCG,
        .created_unix_ms = os_clock_wall().unix_ms,
        .done = on_prepared,
    };
    begin("prepare: disk, seed, record");
    must(vm_host_prepare(t.host, &what, &failure), &failure);
    while (!t.prepared)
        os_loop_turn(t.loop);
    end();
}

static void wait_state(enum ppn_vm_state state)
{
    while (t.info.state != state) {
        os_loop_turn(t.loop);
        if (t.info.state == PPN_VM_FAILED && state != PPN_VM_FAILED)
            fail("the VM failed");
    }
    end();
}

static void print_log(const struct ppn_request_id *id)
{
    static uint8_t log[64 * 1024];
    size_t size = 0;
    uint64_t next = 0;
    must(vm_host_log_read(t.host, id, 0, log, sizeof(log), &size, &next), NULL);
    (void)fwrite(log, 1, size, stderr);
}

static void on_tick(void *context)
{
    *(bool *)context = true;
}

/* The log is a file that QEMU writes, so it is looked at again and again. */
static void wait_a_little(void)
{
    bool over = false;
    struct os_timer tick;
    os_timer_init(&tick, t.loop, on_tick, &over);
    os_timer_after(&tick, ppn_ms(50));
    while (!over)
        os_loop_turn(t.loop);
}

static void on_output(void *context, struct ppn_slice bytes)
{
    (void)context;
    size_t room = sizeof(t.console) - 1 - t.console_size;
    size_t size = bytes.size < room ? bytes.size : room;
    memcpy(t.console + t.console_size, bytes.data, size);
    t.console_size += size;
}

static void on_end(void *context)
{
    (void)context;
}

/* A command typed at the guest's shell, seen twice: what was typed holds no result. */
static void use_console(const struct ppn_request_id *id)
{
    static const struct vm_viewer_handler handler = {on_output, on_end};
    static const char command[] = "\necho SUM-$((40+2))\n";
    struct ppn_failure failure = {0};
    struct vm_viewer *first = NULL, *second = NULL;
    struct ppn_instant again = os_now(t.loop);
    begin("two viewers on the console");
    must(vm_host_console_attach(t.host, id, &handler, NULL, &first, &failure), &failure);
    must(vm_host_console_attach(t.host, id, &handler, NULL, &second, &failure), &failure);
    const char *seen;
    do {
        /* Typed again and again: the guest's shell may not have been there the first time. */
        if (ppn_due(again, os_now(t.loop))) {
            must(vm_viewer_write(first, ppn_slice(command, sizeof(command) - 1)), NULL);
            again = ppn_after(os_now(t.loop), ppn_seconds(1));
        }
        wait_a_little();
        seen = strstr(t.console, "SUM-42");
    } while (!seen || !strstr(seen + 1, "SUM-42"));
    vm_viewer_detach(first);
    vm_viewer_detach(second);
    end();
}

static bool log_holds(const struct ppn_request_id *id, const char *wanted)
{
    static uint8_t log[256 * 1024];
    size_t size = 0;
    uint64_t next = 0;
    must(vm_host_log_read(t.host, id, 0, log, sizeof(log) - 1, &size, &next), NULL);
    log[size] = 0;
    return strstr((const char *)log, wanted) != NULL;
}

static void describe(struct ppn_machine_spec *spec, const char *user_data_path)
{
    static const char user_data[] = "#cloud-config\nwrite_files:\n  - path: /run/hello\n"
                                    "    content: hello from user-data\nruncmd:\n"
                                    "  - echo RUNCMD-$((6*7))\n";
    uint8_t random[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, (uint8_t)getpid()};
    spec->id = ppn_request_id_make(os_clock_wall().unix_ms, random);
    (void)ppn_text_copy(spec->name, sizeof(spec->name), "web");
    (void)ppn_text_copy(spec->user, sizeof(spec->user), "ada");
    (void)ppn_text_copy(spec->demand.image, sizeof(spec->demand.image), "tiny");
    spec->demand.image_hash = t.image;
    spec->demand.memory_bytes = (uint64_t)192 << 20;
    spec->demand.vcpus = 1;
    spec->ssh_key_count = 1;
    (void)ppn_text_copy(spec->ssh_keys[0], sizeof(spec->ssh_keys[0]),
                        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 \"quoted\" ada@example");
    if (user_data_path) {
        size_t size = 0;
        struct ppn_failure failure = {0};
        must(os_file_read(user_data_path, PPN_USER_DATA_MAX, &spec->user_data, &size, &failure),
             &failure);
        spec->user_data_size = (uint32_t)size;
        return;
    }
    spec->user_data = (uint8_t *)strdup(user_data);
    spec->user_data_size = sizeof(user_data) - 1;
}

static void first_life(const char *directory, const struct ppn_machine_spec *spec, char **lines)
{
    static const char *const wanted[] = {"hostname web",
                                         "user ada",
                                         "\"quoted\" ada@example",
                                         "wrote /run/hello: hello from user-data",
                                         "RUNCMD-42",
                                         "PPN-TINY ready",
                                         NULL};
    struct ppn_failure failure = {0};
    prepare(spec);
    begin("start to QMP running");
    must(vm_host_start(t.host, &spec->id), NULL);
    wait_state(PPN_VM_RUNNING);
    begin("running to ready");
    while (!t.info.ready)
        os_loop_turn(t.loop);
    end();
    for (uint32_t i = 0; wanted[i]; i++)
        if (!log_holds(&spec->id, wanted[i]))
            fail(wanted[i]);
    for (; *lines; lines++)
        if (!log_holds(&spec->id, *lines)) {
            print_log(&spec->id);
            fail(*lines);
        }
    use_console(&spec->id);

    begin("found again by another daemon");
    vm_host_close(t.host);
    memset(&t.info, 0, sizeof(t.info));
    open_host(directory);
    must(vm_host_restore(t.host, &t.record, 1, &failure), &failure);
    must(vm_host_stop(t.host, &spec->id, ppn_seconds(0)), NULL);
    end();
    begin("stop by ACPI");
    wait_state(PPN_VM_STOPPED);
    if (t.info.reason[0] || !t.info.ready)
        fail("a stop that was asked for has no reason, and ready stays");
}

static void second_life(const struct ppn_machine_spec *spec)
{
    begin("second start to QMP running");
    must(vm_host_start(t.host, &spec->id), NULL);
    wait_state(PPN_VM_RUNNING);
    begin("second boot on the same disk");
    while (!log_holds(&spec->id, "PPN-TINY boot 2"))
        wait_a_little();
    end();
    begin("kill");
    must(vm_host_kill(t.host, &spec->id), NULL);
    wait_state(PPN_VM_STOPPED);
    begin("remove");
    must(vm_host_remove(t.host, &spec->id), NULL);
    while (!t.removed)
        os_loop_turn(t.loop);
    end();
}

int main(int argc, char **argv)
{
    struct ppn_failure failure = {0};
    static struct ppn_machine_spec spec;
    if (argc < 3)
        return 2;
    t.step = "opening";
    os_process_harden();
    must(os_loop_open(&t.loop, &failure), &failure);
    must(os_worker_open(t.loop, 2, &t.worker, &failure), &failure);
    must(image_store_open(t.loop, t.worker, argv[2], &t.images, &failure), &failure);
    os_timer_init(&t.deadline, t.loop, too_late, NULL);
    open_host(argv[2]);
    must(vm_host_restore(t.host, NULL, 0, &failure), &failure);
    import_image(argv[1]);
    describe(&spec, argc > 3 ? argv[3] : NULL);
    first_life(argv[2], &spec, argc > 4 ? argv + 4 : argv + argc);
    second_life(&spec);
    char path[4096];
    char uuid[PPN_UUID_TEXT];
    ppn_request_id_text(&spec.id, uuid);
    (void)snprintf(path, sizeof(path), "%s/vms/%s", argv[2], uuid);
    if (access(path, F_OK) == 0 || t.has_record)
        fail("something is left over");
    free(spec.user_data);
    os_timer_stop(&t.deadline);
    os_worker_close(t.worker);
    vm_host_close(t.host);
    image_store_close(t.images);
    os_loop_close(t.loop);
    puts("vm_boot: ok");
    return 0;
}
