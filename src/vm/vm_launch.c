// SPDX-License-Identifier: ISC
#include "vm/vm_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"
#include "os/os_stream.h"
#include "vm/vm_argv.h"
#include "vm/vm_cgroup.h"
#include "vm/vm_nic.h"

/* Everything that is open only until QEMU has its own copies. */
struct handles {
    int directory, lock, qmp, console, channel, base, log, cgroup;
};

void vm_socket_path(int directory_fd, const char *name, char path[static VM_SOCKET_PATH])
{
    int length = snprintf(path, VM_SOCKET_PATH, "/proc/self/fd/%d/%s", directory_fd, name);
    PPN_ASSERT(length > 0 && length < VM_SOCKET_PATH);
}

static void close_all(struct handles *h)
{
    int *fds[] = {&h->directory, &h->lock, &h->qmp, &h->console,
                  &h->channel,   &h->base, &h->log, &h->cgroup};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
}

static int take_lock(int directory)
{
    int fd = openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

bool vm_process_alive(const char *directory)
{
    int at = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (at < 0)
        return false;
    int fd = take_lock(at);
    bool alive = fd < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    close(at);
    return alive;
}

/* What QEMU writes belongs to its user; the directory stays ours, so that it can replace nothing.
 */
static enum ppn_error give_files(const struct vm_launch *launch, int directory,
                                 struct ppn_failure *failure)
{
    int log = openat(directory, "console.log", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log < 0)
        return ppn_fail(failure, os_errno(errno), "%s/console.log: %s", launch->directory,
                        strerror(errno));
    close(log);
    if (launch->uid == 0)
        return PPN_OK;
    if (fchownat(directory, "seed.img", 0, launch->uid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(directory, "seed.img", 0640, 0) < 0)
        return ppn_fail(failure, os_errno(errno), "%s/seed.img: %s", launch->directory,
                        strerror(errno));
    static const char *const names[] = {"disk.qcow2", "console.log"};
    for (size_t i = 0; i < 2; i++)
        if (fchownat(directory, names[i], launch->uid, launch->uid, AT_SYMLINK_NOFOLLOW) < 0)
            return ppn_fail(failure, os_errno(errno), "%s/%s: %s", launch->directory, names[i],
                            strerror(errno));
    return PPN_OK;
}

static enum ppn_error listen_at(int directory, const char *name, int *fd,
                                struct ppn_failure *failure)
{
    char path[VM_SOCKET_PATH];
    vm_socket_path(directory, name, path);
    return os_listen_unix(path, 0600, (gid_t)-1, fd, failure);
}

static enum ppn_error open_all(const struct vm_launch *launch, struct handles *h,
                               struct ppn_failure *failure)
{
    h->directory = open(launch->directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (h->directory < 0)
        return ppn_fail(failure, os_errno(errno), "%s: %s", launch->directory, strerror(errno));
    h->lock = take_lock(h->directory);
    if (h->lock < 0 && errno == EWOULDBLOCK)
        return ppn_fail(failure, PPN_ERROR_BUSY, "another process of this VM still runs");
    if (h->lock < 0)
        return ppn_fail(failure, os_errno(errno), "%s/lock: %s", launch->directory,
                        strerror(errno));
    h->base = open(launch->image->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (h->base < 0)
        return ppn_fail(failure, os_errno(errno), "the image %s cannot be opened: %s",
                        launch->image->path, strerror(errno));
    h->log = openat(h->directory, "qemu.log",
                    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (h->log < 0)
        return ppn_fail(failure, os_errno(errno), "%s/qemu.log: %s", launch->directory,
                        strerror(errno));
    enum ppn_error error = give_files(launch, h->directory, failure);
    if (!error)
        error = listen_at(h->directory, "qmp.sock", &h->qmp, failure);
    if (!error)
        error = listen_at(h->directory, "console.sock", &h->console, failure);
    if (!error)
        error = listen_at(h->directory, "channel.sock", &h->channel, failure);
    return error;
}

static void pass(struct os_child_config *config, int fd, int child_fd)
{
    PPN_ASSERT(config->fd_count < OS_CHILD_FDS_MAX);
    config->fds[config->fd_count++] = (struct os_child_fd){fd, child_fd};
}

/* KVM's device belongs to a group; nothing else that QEMU opens does. */
static void join_kvm_group(struct os_child_config *config)
{
    struct stat device;
    if (stat("/dev/kvm", &device) == 0 && device.st_gid != 0)
        config->groups[config->group_count++] = device.st_gid;
}

static enum ppn_error spawn(const struct vm_launch *launch, const struct handles *h,
                            const struct vm_argv *argv, struct os_child **child,
                            struct ppn_failure *failure)
{
    struct os_child_config config = {
        .argv = argv->list,
        .directory = launch->directory,
        .output = OS_CHILD_FD,
        .output_fd = h->log,
        .no_new_privileges = true,
        .drop_bounding_set = launch->uid != 0,
        .new_session = true,
        .set_user = launch->uid != 0,
        .uid = launch->uid,
        .gid = (gid_t)launch->uid,
        .cgroup_fd = h->cgroup > 0 ? h->cgroup : 0,
    };
    if (launch->record->kvm && config.set_user)
        join_kvm_group(&config);
    pass(&config, h->lock, VM_FD_LOCK);
    pass(&config, h->qmp, VM_FD_QMP);
    pass(&config, h->console, VM_FD_CONSOLE);
    pass(&config, h->channel, VM_FD_CHANNEL);
    pass(&config, h->base, VM_FD_BASE);
    if (launch->tap_fd >= 0)
        pass(&config, launch->tap_fd, VM_FD_TAP);
    return os_child_spawn(launch->loop, &config, launch->on_exit, launch->context, child, failure);
}

enum ppn_error vm_launch(const struct vm_launch *launch, struct os_child **child,
                         struct ppn_failure *failure)
{
    const struct vm_record *record = launch->record;
    struct vm_network network = vm_nic_network(record->slot);
    struct vm_qemu qemu = {
        .program = launch->program,
        .id = record->id,
        .name = record->name,
        .memory_bytes = record->memory_bytes,
        .vcpus = record->vcpus,
        .kvm = record->kvm,
        .cpu = launch->cpu,
        .base_format = launch->image->format,
        .network = launch->tap_fd >= 0,
    };
    memcpy(qemu.mac, network.mac, sizeof(qemu.mac));
    struct vm_argv argv;
    if (vm_argv_build(&argv, &qemu))
        return ppn_fail(failure, PPN_ERROR_INVALID, "the VM's name or CPU model is not valid");
    struct handles h = {-1, -1, -1, -1, -1, -1, -1, -1};
    enum ppn_error error = open_all(launch, &h, failure);
    if (!error) {
        h.cgroup = vm_cgroup_make(argv.uuid);
        error = spawn(launch, &h, &argv, child, failure);
        if (error)
            vm_cgroup_remove(argv.uuid);
    }
    close_all(&h);
    return error;
}

void vm_launch_clean(const struct ppn_request_id *id)
{
    char uuid[PPN_UUID_TEXT];
    ppn_request_id_text(id, uuid);
    vm_cgroup_remove(uuid);
}
