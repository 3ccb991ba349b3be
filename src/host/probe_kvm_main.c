// SPDX-License-Identifier: ISC

/* ppn-probe-kvm [DEVICE]: how far KVM gets, one line for each step reached ("device", "runs",
 * "rate N", "fast"), so that whoever kills a hanging probe still knows how far it came. Why it went
 * no further is said on standard error. Its own process because an ioctl of a broken nested KVM may
 * never return. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "host/kvm.h"

static int give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

#ifdef __x86_64__
#include <linux/kvm.h>

/* Guest-physical layout: page tables that map the first 2 MiB onto itself, then the code. */
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000, GUEST_BYTES = 2 * 1024 * 1024 };
enum { ALIVE_PORT = 0x10, PAGE_PRESENT = 1, PAGE_WRITE = 2, PAGE_HUGE = 0x80 };

struct machine {
    int vcpu;
    struct kvm_run *run;
    uint8_t *memory;
};

/* SIGALRM arrives before or inside KVM_RUN: immediate_exit covers the one, EINTR the other. */
static struct kvm_run *volatile running;

static void alarm_rang(int number)
{
    (void)number;
    if (running != NULL)
        running->immediate_exit = 1;
}

static void load_guest(uint8_t *memory)
{
    static const uint8_t code[] = {
        0xe6,
        ALIVE_PORT, /* out ALIVE_PORT, al */
        0xb9,
        HOST_KVM_LOOP & 0xff,
        HOST_KVM_LOOP >> 8 & 0xff, /* mov ecx, HOST_KVM_LOOP */
        HOST_KVM_LOOP >> 16 & 0xff,
        HOST_KVM_LOOP >> 24 & 0xff,
        0xff,
        0xc9, /* dec ecx */
        0x75,
        0xfc, /* jnz to the dec */
        0xf4  /* hlt */
    };
    uint64_t entry = PDPT | PAGE_PRESENT | PAGE_WRITE;
    memcpy(memory + PML4, &entry, sizeof(entry));
    entry = PD | PAGE_PRESENT | PAGE_WRITE;
    memcpy(memory + PDPT, &entry, sizeof(entry));
    entry = PAGE_PRESENT | PAGE_WRITE | PAGE_HUGE;
    memcpy(memory + PD, &entry, sizeof(entry));
    memcpy(memory + CODE, code, sizeof(code));
}

/* 64-bit mode at once: CR0.PE|PG, CR4.PAE, EFER.LME|LMA (Intel SDM volume 3, 9.8.5). */
static int enter_long_mode(int vcpu)
{
    struct kvm_sregs system;
    struct kvm_regs registers = {.rip = CODE, .rflags = 2};
    if (ioctl(vcpu, KVM_GET_SREGS, &system) != 0)
        return -1;
    struct kvm_segment segment = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    system.cs = segment;
    segment.type = 3;
    segment.selector = 16;
    segment.l = 0;
    segment.db = 1;
    system.ds = system.es = system.fs = system.gs = system.ss = segment;
    system.cr3 = PML4;
    system.cr4 = 1 << 5;
    system.cr0 = 0x80000001;
    system.efer = 1 << 8 | 1 << 10;
    if (ioctl(vcpu, KVM_SET_SREGS, &system) != 0)
        return -1;
    return ioctl(vcpu, KVM_SET_REGS, &registers);
}

static int make_machine(int kvm, struct machine *machine)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        return give_up("KVM_CREATE_VM");
    machine->memory =
        mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (machine->memory == MAP_FAILED)
        return give_up("mmap");
    load_guest(machine->memory);
    struct kvm_userspace_memory_region region = {.memory_size = GUEST_BYTES,
                                                 .userspace_addr = (uintptr_t)machine->memory};
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return give_up("KVM_SET_USER_MEMORY_REGION");
    machine->vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (machine->vcpu < 0 || size < (int)sizeof(*machine->run))
        return give_up("KVM_CREATE_VCPU");
    machine->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu, 0);
    if (machine->run == MAP_FAILED)
        return give_up("mmap of the vCPU");
    return enter_long_mode(machine->vcpu) == 0 ? 0 : give_up("setting the vCPU's registers");
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Runs the loop until it halts or the time is up; says the rate, and "fast" when it halted. */
static int measure(struct machine *machine)
{
    struct kvm_regs registers;
    struct itimerval limit = {.it_value = {.tv_usec = (suseconds_t)HOST_KVM_LOOP_MS * 1000}};
    uint64_t start = now_ns();
    setitimer(ITIMER_REAL, &limit, NULL);
    int result = ioctl(machine->vcpu, KVM_RUN, 0);
    uint64_t spent = now_ns() - start;
    bool halted = result == 0 && machine->run->exit_reason == KVM_EXIT_HLT;
    if (result != 0 && errno != EINTR)
        return give_up("KVM_RUN");
    if (ioctl(machine->vcpu, KVM_GET_REGS, &registers) != 0)
        return give_up("KVM_GET_REGS");
    uint64_t done = HOST_KVM_LOOP - (registers.rcx & 0xffffffff);
    printf("rate %llu\n", (unsigned long long)(done * 1000000000u / (spent > 0 ? spent : 1)));
    if (!halted) {
        fprintf(stderr, "a guest loop ran only %llu of %d steps in %d ms\n",
                (unsigned long long)done, HOST_KVM_LOOP, HOST_KVM_LOOP_MS);
        return 1;
    }
    puts("fast");
    return 0;
}

static int probe(int kvm)
{
    struct machine machine = {.vcpu = -1};
    struct sigaction action = {.sa_handler = alarm_rang};
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return give_up("not KVM's API");
    if (make_machine(kvm, &machine) != 0)
        return 1;
    running = machine.run;
    sigaction(SIGALRM, &action, NULL);
    if (ioctl(machine.vcpu, KVM_RUN, 0) != 0)
        return give_up("KVM_RUN");
    if (machine.run->exit_reason != KVM_EXIT_IO || machine.run->io.port != ALIVE_PORT) {
        fprintf(stderr, "the first guest instruction ended with exit %u\n",
                machine.run->exit_reason);
        return 1;
    }
    puts("runs");
    return measure(&machine);
}
#else
static int probe(int kvm)
{
    (void)kvm;
    fputs("the speed of KVM is not measured on this architecture\n", stderr);
    return 1;
}
#endif

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "/dev/kvm";
    setvbuf(stdout, NULL, _IONBF, 0);
    int kvm = open(device, O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return give_up(device);
    puts("device");
    return probe(kvm);
}
