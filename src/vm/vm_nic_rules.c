// SPDX-License-Identifier: ISC
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "vm/vm_nic.h"

/* 198.19.0.0/22: four addresses for each of 256 slots. */
enum { NET_A = 198, NET_B = 19 };
#define GUESTS "198.19.0.0/22"
_Static_assert(PPN_VMS_MAX * 4 == 1024, "GUESTS has four addresses a slot");

struct vm_network vm_nic_network(uint32_t slot)
{
    PPN_ASSERT(slot < PPN_VMS_MAX);
    uint8_t high = (uint8_t)(slot * 4 >> 8), low = (uint8_t)(slot * 4);
    return (struct vm_network){
        .present = true,
        /* QEMU's own prefix, then "P" and the slot. */
        .mac = {0x52, 0x54, 0x00, 0x50, (uint8_t)(slot >> 8), (uint8_t)slot},
        .address = {NET_A, NET_B, high, (uint8_t)(low + 2)},
        .gateway = {NET_A, NET_B, high, (uint8_t)(low + 1)},
        .prefix_bits = 30,
    };
}

struct text {
    char *at;
    size_t size, capacity;
    bool overflow;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = text->capacity - text->size;
    int length = vsnprintf(text->at + text->size, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= room)
        text->overflow = true;
    else
        text->size += (size_t)length;
}

static void add_guests(struct text *text)
{
    add(text, "  set guests {\n    type ifname . ether_addr . ipv4_addr\n    elements = {\n");
    for (uint32_t slot = 0; slot < PPN_VMS_MAX; slot++) {
        struct vm_network n = vm_nic_network(slot);
        add(text, "      \"ppnvm%u\" . %02x:%02x:%02x:%02x:%02x:%02x . %u.%u.%u.%u,\n", slot,
            n.mac[0], n.mac[1], n.mac[2], n.mac[3], n.mac[4], n.mac[5], n.address[0], n.address[1],
            n.address[2], n.address[3]);
    }
    add(text, "    }\n  }\n");
}

size_t vm_nic_rules(const uint8_t *resolver, char *buffer, size_t capacity)
{
    struct text text = {buffer, 0, capacity, false};
    /* Declared, deleted, declared: replaced in one transaction whether it was there or not. */
    add(&text, "table inet ppn_vm {\n}\ndelete table inet ppn_vm\ntable inet ppn_vm {\n");
    add_guests(&text);
    /* IANA's special-purpose registry: what no public network uses; the guests' range within. */
    add(&text, "  set private {\n    type ipv4_addr\n    flags interval\n    elements = {\n"
               "      0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16,\n"
               "      172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3\n"
               "    }\n  }\n");
    add(&text, "  chain spoof {\n"
               "    type filter hook prerouting priority raw; policy accept;\n"
               "    iifname != \"ppnvm*\" accept\n"
               "    meta protocol != ip drop\n"
               "    iifname . ether saddr . ip saddr != @guests drop\n  }\n");
    add(&text, "  chain dns {\n    type nat hook prerouting priority dstnat; policy accept;\n");
    if (resolver) {
        static const char *const protocols[] = {"udp", "tcp"};
        for (uint32_t i = 0; i < 2; i++)
            add(&text,
                "    iifname \"ppnvm*\" ip daddr " GUESTS " %s dport 53 dnat ip to %u.%u.%u.%u\n",
                protocols[i], resolver[0], resolver[1], resolver[2], resolver[3]);
    }
    add(&text, "  }\n");
    add(&text, "  chain hide {\n    type nat hook postrouting priority srcnat; policy accept;\n"
               "    ip saddr " GUESTS " oifname != \"ppnvm*\" masquerade\n  }\n");
    add(&text, "  chain host {\n    type filter hook input priority filter - 5; policy accept;\n"
               "    iifname \"ppnvm*\" drop\n  }\n");
    add(&text, "  chain through {\n"
               "    type filter hook forward priority filter - 5; policy accept;\n"
               "    oifname \"ppnvm*\" ct state established,related accept\n"
               "    oifname \"ppnvm*\" drop\n"
               "    iifname != \"ppnvm*\" accept\n"
               "    ct status dnat accept\n"
               "    ip daddr @private drop\n  }\n}\n");
    return text.overflow ? 0 : text.size;
}

bool vm_nic_resolver(const char *resolv_conf, uint8_t address[static 4])
{
    for (const char *line = resolv_conf; *line; line += strcspn(line, "\n"), line += *line != 0) {
        char word[64];
        struct in_addr parsed;
        if (sscanf(line, "nameserver %63s", word) != 1 || inet_pton(AF_INET, word, &parsed) != 1)
            continue;
        memcpy(address, &parsed, 4);
        if (address[0] != 127 && address[0] != 0)
            return true;
    }
    return false;
}
