// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/facts.h"
#include "os/os_file.h"

/* A tree of its own in place of / for each test. */
static char root[64];

static void plant(const char *path, const char *text)
{
    char full[512], directory[512];
    struct ppn_failure failure;
    snprintf(full, sizeof(full), "%s%s", root, path);
    snprintf(directory, sizeof(directory), "%s", full);
    *strrchr(directory, '/') = '\0';
    cr_assert(os_directory_make_all(directory, 0700, &failure) == PPN_OK);
    FILE *file = fopen(full, "w");
    cr_assert(file != NULL);
    fputs(text, file);
    fclose(file);
}

static void make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/ppn-host-XXXXXX");
    cr_assert(mkdtemp(root) != NULL);
}

static void remove_root(void)
{
    struct ppn_failure failure;
    cr_assert(os_directory_remove("/tmp", root + strlen("/tmp/"), &failure) == PPN_OK);
}

TestSuite(host, .init = make_root, .fini = remove_root);

static const char meminfo[] = "MemTotal:        8000000 kB\n"
                              "MemFree:          100000 kB\n"
                              "MemAvailable:    5000000 kB\n";

Test(host, memory_is_what_the_kernel_says)
{
    struct host_memory memory;
    plant("/proc/meminfo", meminfo);
    cr_assert(host_memory(root, &memory) == PPN_OK);
    cr_assert(memory.total_bytes == UINT64_C(8000000) * 1024);
    cr_assert(memory.available_bytes == UINT64_C(5000000) * 1024);
}

Test(host, memory_is_bounded_by_the_cgroup_and_those_above_it)
{
    struct host_memory memory;
    plant("/proc/meminfo", meminfo);
    plant("/proc/self/cgroup", "0::/system.slice/ppn.service\n");
    plant("/sys/fs/cgroup/system.slice/ppn.service/memory.max", "max\n");
    plant("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
    plant("/sys/fs/cgroup/system.slice/memory.current", "1000000000\n");
    cr_assert(host_memory(root, &memory) == PPN_OK);
    cr_assert(memory.total_bytes == 1073741824);
    cr_assert(memory.available_bytes == 73741824);
}

Test(host, memory_is_bounded_by_a_version_1_cgroup)
{
    struct host_memory memory;
    plant("/proc/meminfo", meminfo);
    plant("/proc/self/cgroup", "5:cpu:/x\n4:memory:/box/inner\n0::/\n");
    plant("/sys/fs/cgroup/memory/box/inner/memory.limit_in_bytes", "9223372036854771712\n");
    plant("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "500000000\n");
    plant("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "600000000\n");
    cr_assert(host_memory(root, &memory) == PPN_OK);
    cr_assert(memory.total_bytes == 500000000);
    cr_assert(memory.available_bytes <= 500000000);
}

Test(host, memory_without_sense_is_corrupt)
{
    static const char *const bad[] = {"", "MemTotal: lots\n", "NotMemTotal: 12 kB\n", "\n\n",
                                      "MemTotal: 99999999999999999999999 kB\n"};
    struct host_memory memory;
    cr_assert(host_memory(root, &memory) == PPN_ERROR_CORRUPT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        plant("/proc/meminfo", bad[i]);
        cr_assert(host_memory(root, &memory) == PPN_ERROR_CORRUPT, "case %zu", i);
        cr_assert(memory.total_bytes == 0 && memory.available_bytes == 0);
    }
}

Test(host, cpus_are_at_least_one_and_at_most_the_quota)
{
    uint32_t all = host_cpus(root);
    cr_assert(all >= 1);
    plant("/proc/self/cgroup", "0::/a\n");
    plant("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    cr_assert(host_cpus(root) == 1);
    plant("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    cr_assert(host_cpus(root) == all);
    plant("/sys/fs/cgroup/a/cpu.max", "10 0\n");
    cr_assert(host_cpus(root) == all);
}

Test(host, load_is_per_cpu_and_garbage_is_none)
{
    plant("/proc/loadavg", "3.50 1.00 0.50 2/300 4242\n");
    cr_assert(host_load_per_mille(root, 2) == 1750);
    plant("/proc/loadavg", "load\n");
    cr_assert(host_load_per_mille(root, 2) == 0);
    plant("/proc/loadavg", "99999999999.5 0 0\n");
    cr_assert(host_load_per_mille(root, 2) == 0);
}

Test(host, a_laptop_on_battery_is_told_from_one_on_mains)
{
    struct host_power power;
    plant("/sys/class/power_supply/BAT0/type", "Battery\n");
    plant("/sys/class/power_supply/BAT0/status", "Discharging\n");
    plant("/sys/class/power_supply/BAT0/capacity", "57\n");
    plant("/sys/class/power_supply/hidpp_battery_0/type", "Battery\n");
    plant("/sys/class/power_supply/hidpp_battery_0/scope", "Device\n");
    plant("/sys/class/power_supply/hidpp_battery_0/capacity", "99\n");
    host_power(root, &power);
    cr_assert(power.power == PPN_POWER_BATTERY && power.battery_percent == 57);
    plant("/sys/class/power_supply/AC/type", "Mains\n");
    plant("/sys/class/power_supply/AC/online", "1\n");
    host_power(root, &power);
    cr_assert(power.power == PPN_POWER_MAINS && power.battery_percent == 57);
}

Test(host, power_is_unknown_without_supplies_or_sense)
{
    struct host_power power;
    host_power(root, &power);
    cr_assert(power.power == PPN_POWER_UNKNOWN && power.battery_percent == 255);
    plant("/sys/class/power_supply/BAT0/type", "Battery\n");
    plant("/sys/class/power_supply/BAT0/capacity", "250\n");
    host_power(root, &power);
    cr_assert(power.battery_percent == 255);
}

Test(host, lid_and_heat)
{
    cr_assert(!host_lid_closed(root) && !host_throttled(root));
    plant("/proc/acpi/button/lid/LID0/state", "state:      open\n");
    cr_assert(!host_lid_closed(root));
    plant("/proc/acpi/button/lid/LID0/state", "state:      closed\n");
    cr_assert(host_lid_closed(root));
    plant("/sys/class/thermal/cooling_device0/type", "Fan\n");
    plant("/sys/class/thermal/cooling_device0/cur_state", "3\n");
    cr_assert(!host_throttled(root));
    plant("/sys/class/thermal/cooling_device1/type", "Processor\n");
    plant("/sys/class/thermal/cooling_device1/cur_state", "0\n");
    cr_assert(!host_throttled(root));
    plant("/sys/class/thermal/cooling_device1/cur_state", "2\n");
    cr_assert(host_throttled(root));
}

Test(host, the_link_of_the_default_route_counts)
{
    static const char head[] =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    char routes[512];
    cr_assert(host_link(root) == PPN_LINK_UNKNOWN);
    snprintf(routes, sizeof(routes),
             "%seth0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
             "eth0\t00000000\t0100630A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n"
             "wlan0\t00000000\t0100630A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
             head);
    plant("/proc/net/route", routes);
    plant("/sys/class/net/eth0/device/vendor", "x\n");
    cr_assert(host_link(root) == PPN_LINK_UNKNOWN, "wlan0 has the better metric");
    plant("/sys/class/net/wlan0/wireless/status", "x\n");
    cr_assert(host_link(root) == PPN_LINK_WIFI);
    snprintf(routes, sizeof(routes),
             "%seth0\t00000000\t0100630A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", head);
    plant("/proc/net/route", routes);
    cr_assert(host_link(root) == PPN_LINK_CABLE);
    plant("/proc/net/route", "../../etc 00000000\n");
    cr_assert(host_link(root) == PPN_LINK_UNKNOWN);
}

Test(host, the_real_machine_fills_a_profile)
{
    struct ppn_profile profile = {.cpus = 0};
    struct ppn_load load = {.vm_count = 7};
    host_fill_profile("", "/", &profile);
    host_fill_load("", "/", &load);
    cr_assert(profile.cpus > 0 && profile.memory_total_bytes > 0 && profile.disk_total_bytes > 0);
    cr_assert(profile.arch[0] != '\0' && profile.version[0] != '\0');
    cr_assert(load.memory_available_bytes <= profile.memory_total_bytes && load.vm_count == 7);
}
