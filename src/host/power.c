// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "host/facts.h"
#include "host/host_read.h"

enum { BATTERY_UNKNOWN = 255, ENTRY_MAX = 192 };

static bool word_is(const char *root, const char *directory, const char *entry, const char *file,
                    const char *word)
{
    char path[ENTRY_MAX], text[HOST_TEXT_MAX];
    snprintf(path, sizeof(path), "%s/%s/%s", directory, entry, file);
    return host_read(root, path, text) && strcmp(text, word) == 0;
}

static bool number_of(const char *root, const char *directory, const char *entry, const char *file,
                      uint64_t *value)
{
    char path[ENTRY_MAX];
    snprintf(path, sizeof(path), "%s/%s/%s", directory, entry, file);
    return host_read_number(root, path, value);
}

/* Several batteries: the fullest counts, for the machine runs as long as one of them lasts. The
 * battery of a mouse (scope Device) is none of the machine's. */
void host_power(const char *root, struct host_power *power)
{
    static const char supplies[] = "/sys/class/power_supply";
    struct host_names names;
    bool mains = false, discharging = false, battery = false;
    *power = (struct host_power){PPN_POWER_UNKNOWN, BATTERY_UNKNOWN};
    host_list(root, supplies, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        uint64_t value;
        if (word_is(root, supplies, name, "scope", "Device"))
            continue;
        if (!word_is(root, supplies, name, "type", "Battery")) {
            if (number_of(root, supplies, name, "online", &value) && value == 1)
                mains = true;
            continue;
        }
        battery = true;
        if (word_is(root, supplies, name, "status", "Discharging"))
            discharging = true;
        if (number_of(root, supplies, name, "capacity", &value) && value <= 100 &&
            (power->battery_percent == BATTERY_UNKNOWN || value > power->battery_percent))
            power->battery_percent = (uint8_t)value;
    }
    if (mains || (battery && !discharging))
        power->power = PPN_POWER_MAINS;
    else if (discharging)
        power->power = PPN_POWER_BATTERY;
}

bool host_lid_closed(const char *root)
{
    static const char lids[] = "/proc/acpi/button/lid";
    struct host_names names;
    host_list(root, lids, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        char path[ENTRY_MAX], text[HOST_TEXT_MAX];
        snprintf(path, sizeof(path), "%s/%s/state", lids, names.names[i]);
        if (host_read(root, path, text) && strstr(text, "closed") != NULL)
            return true;
    }
    return false;
}

/* A fan that turns is no throttling; the cooling devices that slow a processor down are. */
bool host_throttled(const char *root)
{
    static const char thermal[] = "/sys/class/thermal";
    struct host_names names;
    host_list(root, thermal, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        uint64_t state;
        if (strncmp(name, "cooling_device", strlen("cooling_device")) != 0)
            continue;
        bool processor = word_is(root, thermal, name, "type", "Processor") ||
                         word_is(root, thermal, name, "type", "intel_powerclamp");
        if (processor && number_of(root, thermal, name, "cur_state", &state) && state > 0)
            return true;
    }
    return false;
}

/* /proc/net/route: the interface with destination and mask zero and the least metric; from
 * /proc/net/ipv6_route likewise when there is no IPv4 route. */
static bool default_interface(const char *root, char name[static 16])
{
    char text[HOST_TEXT_MAX], *state = NULL;
    uint64_t best = 0;
    name[0] = '\0';
    if (host_read(root, "/proc/net/route", text)) {
        for (char *line = strtok_r(text, "\n", &state); line != NULL;
             line = strtok_r(NULL, "\n", &state)) {
            char interface[16], destination[9], mask[9], digits[11];
            uint64_t metric;
            if (sscanf(line, "%15s %8s %*s %*s %*s %*s %10s %8s", interface, destination, digits,
                       mask) == 4 &&
                host_number(digits, &metric) && strcmp(destination, "00000000") == 0 &&
                strcmp(mask, "00000000") == 0 && (name[0] == '\0' || metric < best)) {
                best = metric;
                (void)ppn_text_copy(name, 16, interface);
            }
        }
    }
    if (name[0] != '\0' || !host_read(root, "/proc/net/ipv6_route", text))
        return name[0] != '\0';
    for (char *line = strtok_r(text, "\n", &state); line != NULL;
         line = strtok_r(NULL, "\n", &state)) {
        char destination[33], length[3], interface[16];
        if (sscanf(line, "%32s %2s %*s %*s %*s %*s %*s %*s %*s %15s", destination, length,
                   interface) == 3 &&
            strspn(destination, "0") == 32 && strcmp(length, "00") == 0 &&
            strcmp(interface, "lo") != 0)
            (void)ppn_text_copy(name, 16, interface);
    }
    return name[0] != '\0';
}

enum ppn_link host_link(const char *root)
{
    char name[16], path[ENTRY_MAX];
    struct host_names names;
    if (!default_interface(root, name) || strchr(name, '/') != NULL || name[0] == '.')
        return PPN_LINK_UNKNOWN;
    snprintf(path, sizeof(path), "/sys/class/net/%s", name);
    host_list(root, path, &names);
    bool device = false;
    for (uint32_t i = 0; i < names.count; i++) {
        if (strcmp(names.names[i], "wireless") == 0 || strcmp(names.names[i], "phy80211") == 0)
            return PPN_LINK_WIFI;
        device = device || strcmp(names.names[i], "device") == 0;
    }
    return device ? PPN_LINK_CABLE : PPN_LINK_UNKNOWN;
}
