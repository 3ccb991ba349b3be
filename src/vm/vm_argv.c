// SPDX-License-Identifier: ISC
#include "vm/vm_argv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "vm/vm.h"

static void add(struct vm_argv *argv, const char *argument)
{
    PPN_ASSERT(argv->count < VM_ARGV_MAX);
    argv->list[argv->count++] = argument;
    argv->list[argv->count] = NULL;
}

static void addf(struct vm_argv *argv, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void addf(struct vm_argv *argv, const char *format, ...)
{
    char *at = argv->text + argv->text_size;
    size_t room = sizeof(argv->text) - argv->text_size;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(at, room, format, arguments);
    va_end(arguments);
    PPN_ASSERT(length >= 0 && (size_t)length < room);
    argv->text_size += (size_t)length + 1;
    add(argv, at);
}

static void option(struct vm_argv *argv, const char *name, const char *value)
{
    add(argv, name);
    add(argv, value);
}

/* Model, features and their signs, as `-cpu` takes them; no word that could start an option. */
static bool cpu_valid(const char *cpu)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_+.,=";
    return cpu[0] != '-' && strspn(cpu, allowed) == strlen(cpu);
}

static void add_machine(struct vm_argv *argv, const struct vm_qemu *qemu)
{
    add(argv, "-no-user-config");
    add(argv, "-nodefaults");
    option(argv, "-sandbox",
           "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(argv, "-name");
    addf(argv, "guest=%s", qemu->name);
    option(argv, "-uuid", argv->uuid);
    option(argv, "-machine", "q35,usb=off,vmport=off,dump-guest-core=off");
    add(argv, "-accel");
    if (qemu->kvm) {
        add(argv, "kvm");
        if (qemu->cpu && qemu->cpu[0])
            option(argv, "-cpu", qemu->cpu);
    } else {
        addf(argv, "tcg,thread=multi,tb-size=%" PRIu32, vm_tb_mib(qemu->memory_bytes));
    }
    add(argv, "-m");
    addf(argv, "size=%" PRIu64 "k", qemu->memory_bytes / 1024);
    add(argv, "-smp");
    addf(argv, "cpus=%" PRIu32, qemu->vcpus);
    /* ds-identify then knows NoCloud even before it sees the seed's disk. */
    add(argv, "-smbios");
    addf(argv, "type=1,serial=ds=nocloud;i=%s;h=%s", argv->uuid, qemu->name);
    option(argv, "-display", "none");
    option(argv, "-boot", "strict=on");
}

/* Every node has an explicit driver, and the base an explicit empty backing, so that no header can
 * make QEMU open anything. */
static void add_disks(struct vm_argv *argv, const struct vm_qemu *qemu)
{
    add(argv, "-add-fd");
    addf(argv, "fd=%d,set=1", VM_FD_BASE);
    option(argv, "-blockdev",
           "{\"driver\":\"file\",\"node-name\":\"base-file\",\"filename\":\"/dev/fdset/1\","
           "\"read-only\":true,\"auto-read-only\":false}");
    if (qemu->base_format == IMAGE_QCOW2)
        option(argv, "-blockdev",
               "{\"driver\":\"qcow2\",\"node-name\":\"base\",\"file\":\"base-file\","
               "\"read-only\":true,\"backing\":null}");
    else
        option(argv, "-blockdev",
               "{\"driver\":\"raw\",\"node-name\":\"base\",\"file\":\"base-file\","
               "\"read-only\":true}");
    option(argv, "-blockdev",
           "{\"driver\":\"file\",\"node-name\":\"disk-file\",\"filename\":\"disk.qcow2\","
           "\"discard\":\"unmap\"}");
    option(argv, "-blockdev",
           "{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"file\":\"disk-file\","
           "\"backing\":\"base\",\"discard\":\"unmap\"}");
    option(argv, "-device", "virtio-blk-pci,drive=disk,bootindex=1");
    option(argv, "-blockdev",
           "{\"driver\":\"file\",\"node-name\":\"seed-file\",\"filename\":\"seed.img\","
           "\"read-only\":true}");
    option(argv, "-blockdev",
           "{\"driver\":\"raw\",\"node-name\":\"seed\",\"file\":\"seed-file\","
           "\"read-only\":true}");
    option(argv, "-device", "virtio-blk-pci,drive=seed");
}

static void add_ports(struct vm_argv *argv, const struct vm_qemu *qemu)
{
    option(argv, "-device", "virtio-rng-pci");
    add(argv, "-chardev");
    addf(argv, "socket,id=qmp,fd=%d,server=on,wait=off", VM_FD_QMP);
    option(argv, "-mon", "chardev=qmp,mode=control");
    add(argv, "-chardev");
    addf(argv, "socket,id=console,fd=%d,server=on,wait=off,logfile=console.log,logappend=on",
         VM_FD_CONSOLE);
    option(argv, "-serial", "chardev:console");
    option(argv, "-device", "virtio-serial-pci");
    add(argv, "-chardev");
    addf(argv, "ringbuf,id=" VM_READY_CHARDEV ",size=%d", VM_READY_BUFFER);
    option(argv, "-device",
           "virtserialport,id=ready,chardev=" VM_READY_CHARDEV ",name=" VM_READY_PORT);
    add(argv, "-chardev");
    addf(argv, "socket,id=channel,fd=%d,server=on,wait=off", VM_FD_CHANNEL);
    option(argv, "-device", "virtserialport,id=channel,chardev=channel,name=" VM_CHANNEL_PORT);
    if (!qemu->network)
        return;
    add(argv, "-netdev");
    addf(argv, "tap,id=net0,fd=%d", VM_FD_TAP);
    const uint8_t *m = qemu->mac;
    add(argv, "-device");
    addf(argv, "virtio-net-pci,netdev=net0,mac=%02x:%02x:%02x:%02x:%02x:%02x,romfile=", m[0], m[1],
         m[2], m[3], m[4], m[5]);
}

enum ppn_error vm_argv_build(struct vm_argv *argv, const struct vm_qemu *qemu)
{
    if (!ppn_name_valid(qemu->name) || (qemu->cpu && !cpu_valid(qemu->cpu)))
        return PPN_ERROR_INVALID;
    argv->count = 0;
    argv->text_size = 0;
    add(argv, qemu->program);
    ppn_request_id_text(&qemu->id, argv->uuid);
    add_machine(argv, qemu);
    add_disks(argv, qemu);
    add_ports(argv, qemu);
    PPN_ASSERT(argv->list[argv->count] == NULL);
    return PPN_OK;
}
