// SPDX-License-Identifier: ISC
#include "vm/vm_seed.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "vm/vm_argv.h"
#include "vm/vm_fat.h"

/* Backgrounded, so that it neither delays nor is delayed by the person's own commands; cloud-init's
 * last unit leaves such processes alone (KillMode=process). */
static const char ready_script[] =
    "#!/bin/sh\n"
    "(\n"
    "    until [ -e /run/cloud-init/result.json ]; do sleep 1; done\n"
    "    sync\n"
    "    result=errors\n"
    "    grep -q '\"errors\": *\\[\\]' /run/cloud-init/result.json && result=ok\n"
    "    echo \"ready %s $result\" >/dev/virtio-ports/" VM_READY_PORT "\n"
    ") </dev/null >/dev/null 2>&1 &\n";

static bool user_valid(const char *user)
{
    /* useradd's NAME_REGEX of Debian. */
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
    return strchr(first, user[0]) && strspn(user, rest) == strlen(user);
}

static bool key_valid(const char *key)
{
    if (!key[0] || key[0] == '#' || key[0] == ' ')
        return false;
    for (const char *at = key; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    json_t *text = json_string(key); /* NULL when it is no UTF-8 */
    json_decref(text);
    return text != NULL;
}

enum ppn_error vm_seed_check(const struct ppn_machine_spec *spec, struct ppn_failure *failure)
{
    if (!ppn_name_valid(spec->name))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "a VM's name is 1 to 63 of a-z, 0-9 and '-', with no '-' at either end");
    if (spec->user[0] && !user_valid(spec->user))
        return ppn_fail(failure, PPN_ERROR_INVALID,
                        "a user name starts with a-z or '_' and goes on with a-z, 0-9, '_', '-'");
    if (spec->ssh_key_count > PPN_SSH_KEYS_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "at most %d SSH keys", PPN_SSH_KEYS_MAX);
    for (uint32_t i = 0; i < spec->ssh_key_count; i++)
        if (!key_valid(spec->ssh_keys[i]))
            return ppn_fail(failure, PPN_ERROR_INVALID,
                            "SSH key %u is not one line of an authorized_keys file", i + 1);
    if (spec->user_data_size > PPN_USER_DATA_MAX)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "user-data is larger than %d KiB",
                        PPN_USER_DATA_MAX / 1024);
    return PPN_OK;
}

static json_t *meta_data(const struct ppn_machine_spec *spec, const char *uuid)
{
    json_t *keys = json_array();
    for (uint32_t i = 0; i < spec->ssh_key_count; i++)
        json_array_append_new(keys, json_string(spec->ssh_keys[i]));
    return json_pack("{s:s, s:s, s:o}", "instance-id", uuid, "local-hostname", spec->name,
                     "public-keys", keys);
}

static char *dump(json_t *json, const char *prefix)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return NULL;
    size_t size = strlen(prefix) + strlen(text) + 2;
    char *whole = malloc(size);
    if (whole)
        (void)snprintf(whole, size, "%s%s\n", prefix, text);
    free(text);
    return whole;
}

/* Two parts: what the default user is called, and the readiness script. */
static char *vendor_data(const struct ppn_machine_spec *spec, const char *uuid)
{
    char script[sizeof(ready_script) + PPN_UUID_TEXT];
    (void)snprintf(script, sizeof(script), ready_script, uuid);
    json_t *config = json_object();
    if (spec->user[0])
        json_object_set_new(config, "user", json_pack("{s:s}", "name", spec->user));
    char *config_text = dump(config, "#cloud-config\n");
    if (!config_text)
        return NULL;
    json_t *archive = json_pack("[{s:s, s:s}, {s:s, s:s}]", "type", "text/cloud-config", "content",
                                config_text, "type", "text/x-shellscript", "content", script);
    free(config_text);
    return dump(archive, "#cloud-config-archive\n");
}

/* Version 2, no top-level "network" key in NoCloud. gateway4 rather than a route "to: default":
 * networkd's renderer of older cloud-init turns the latter into no default route. */
static json_t *network_config(const struct vm_network *network)
{
    const uint8_t *m = network->mac, *a = network->address, *g = network->gateway;
    char mac[18], address[24], gateway[16];
    (void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
                   m[5]);
    (void)snprintf(address, sizeof(address), "%u.%u.%u.%u/%u", a[0], a[1], a[2], a[3],
                   network->prefix_bits);
    (void)snprintf(gateway, sizeof(gateway), "%u.%u.%u.%u", g[0], g[1], g[2], g[3]);
    return json_pack("{s:i, s:{s:{s:{s:s}, s:b, s:b, s:[s], s:s, s:{s:[s]}}}}", "version", 2,
                     "ethernets", "nic0", "match", "macaddress", mac, "dhcp4", 0, "dhcp6", 0,
                     "addresses", address, "gateway4", gateway, "nameservers", "addresses",
                     gateway);
}

char *vm_seed_text(const struct ppn_machine_spec *spec, const struct vm_network *network,
                   enum vm_seed_part part)
{
    char uuid[PPN_UUID_TEXT];
    ppn_request_id_text(&spec->id, uuid);
    switch (part) {
    case VM_SEED_META:
        return dump(meta_data(spec, uuid), "");
    case VM_SEED_VENDOR:
        return vendor_data(spec, uuid);
    case VM_SEED_NETWORK:
        if (!network->present)
            return dump(json_pack("{s:i, s:{}}", "version", 2, "ethernets"), "");
        return dump(network_config(network), "");
    }
    PPN_UNREACHABLE();
}

enum ppn_error vm_seed_build(const struct ppn_machine_spec *spec, const struct vm_network *network,
                             uint8_t *image)
{
    static const char empty[] = "#cloud-config\n{}\n";
    char *meta = vm_seed_text(spec, network, VM_SEED_META);
    char *vendor = vm_seed_text(spec, network, VM_SEED_VENDOR);
    char *net = vm_seed_text(spec, network, VM_SEED_NETWORK);
    enum ppn_error error = PPN_ERROR_NO_MEMORY;
    if (meta && vendor && net) {
        struct ppn_slice user = spec->user_data_size > 0
                                    ? ppn_slice(spec->user_data, spec->user_data_size)
                                    : ppn_slice(empty, sizeof(empty) - 1);
        struct vm_fat_file files[] = {
            {"meta-data", ppn_slice(meta, strlen(meta))},
            {"user-data", user},
            {"vendor-data", ppn_slice(vendor, strlen(vendor))},
            {"network-config", ppn_slice(net, strlen(net))},
        };
        error = vm_fat_build(image, "CIDATA", files, sizeof(files) / sizeof(files[0]));
    }
    free(meta);
    free(vendor);
    free(net);
    return error;
}
