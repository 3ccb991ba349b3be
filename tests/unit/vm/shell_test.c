// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "vm/vm_argv.h"
#include "vm/vm_fat.h"
#include "vm/vm_nic.h"
#include "vm/vm_qmp.h"
#include "vm/vm_seed.h"

#define UUID "01890000-0000-7000-8000-000000000001"

static struct vm_qemu qemu(void)
{
    struct vm_qemu config = {
        .program = "qemu-system-x86_64",
        .name = "web",
        .memory_bytes = (uint64_t)512 << 20,
        .vcpus = 2,
        .base_format = IMAGE_QCOW2,
        .network = true,
        .mac = {0x52, 0x54, 0, 0x50, 0, 3},
    };
    cr_assert_eq(ppn_request_id_parse(UUID, &config.id), PPN_OK);
    return config;
}

Test(argv, golden)
{
    static const char *const golden[] = {
        "qemu-system-x86_64",
        "-no-user-config",
        "-nodefaults",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-name",
        "guest=web",
        "-uuid",
        UUID,
        "-machine",
        "q35,usb=off,vmport=off,dump-guest-core=off",
        "-accel",
        "tcg,thread=multi,tb-size=128",
        "-m",
        "size=524288k",
        "-smp",
        "cpus=2",
        "-smbios",
        "type=1,serial=ds=nocloud;i=" UUID ";h=web",
        "-display",
        "none",
        "-boot",
        "strict=on",
        "-add-fd",
        "fd=6,set=1",
        "-blockdev",
        "{\"driver\":\"file\",\"node-name\":\"base-file\",\"filename\":\"/dev/fdset/1\","
        "\"read-only\":true,\"auto-read-only\":false}",
        "-blockdev",
        "{\"driver\":\"qcow2\",\"node-name\":\"base\",\"file\":\"base-file\",\"read-only\":true,"
        "\"backing\":null}",
        "-blockdev",
        "{\"driver\":\"file\",\"node-name\":\"disk-file\",\"filename\":\"disk.qcow2\","
        "\"discard\":\"unmap\"}",
        "-blockdev",
        "{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"file\":\"disk-file\",\"backing\":\"base\","
        "\"discard\":\"unmap\"}",
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1",
        "-blockdev",
        "{\"driver\":\"file\",\"node-name\":\"seed-file\",\"filename\":\"seed.img\","
        "\"read-only\":true}",
        "-blockdev",
        "{\"driver\":\"raw\",\"node-name\":\"seed\",\"file\":\"seed-file\",\"read-only\":true}",
        "-device",
        "virtio-blk-pci,drive=seed",
        "-device",
        "virtio-rng-pci",
        "-chardev",
        "socket,id=qmp,fd=4,server=on,wait=off",
        "-mon",
        "chardev=qmp,mode=control",
        "-chardev",
        "socket,id=console,fd=5,server=on,wait=off,logfile=console.log,logappend=on",
        "-serial",
        "chardev:console",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        "ringbuf,id=ready,size=4096",
        "-device",
        "virtserialport,id=ready,chardev=ready,name=org.ppn.ready.0",
        "-chardev",
        "socket,id=channel,fd=8,server=on,wait=off",
        "-device",
        "virtserialport,id=channel,chardev=channel,name=org.ppn.channel.0",
        "-netdev",
        "tap,id=net0,fd=7",
        "-device",
        "virtio-net-pci,netdev=net0,mac=52:54:00:50:00:03,romfile=",
        NULL,
    };
    struct vm_qemu config = qemu();
    struct vm_argv argv;
    cr_assert_eq(vm_argv_build(&argv, &config), PPN_OK);
    for (uint32_t i = 0; golden[i]; i++) {
        cr_assert_lt(i, argv.count);
        cr_expect_str_eq(argv.list[i], golden[i]);
    }
    cr_expect_eq(argv.count, sizeof(golden) / sizeof(golden[0]) - 1);
}

static bool has(const struct vm_argv *argv, const char *word)
{
    for (uint32_t i = 0; i < argv->count; i++)
        if (!strcmp(argv->list[i], word))
            return true;
    return false;
}

Test(argv, kvm_raw_without_network)
{
    struct vm_qemu config = qemu();
    struct vm_argv argv;
    config.kvm = true;
    config.cpu = "host,-arch-capabilities";
    config.network = false;
    config.base_format = IMAGE_RAW;
    cr_assert_eq(vm_argv_build(&argv, &config), PPN_OK);
    cr_expect(has(&argv, "kvm"));
    cr_expect(has(&argv, "host,-arch-capabilities"));
    cr_expect(has(&argv, "{\"driver\":\"raw\",\"node-name\":\"base\",\"file\":\"base-file\","
                         "\"read-only\":true}"));
    cr_expect_not(has(&argv, "-netdev"));
}

Test(argv, hostile_words)
{
    static const char *const names[] = {"", "-web", "we,b", "we b", "Web", "we\nb", "../x"};
    struct vm_qemu config = qemu();
    struct vm_argv argv;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        config.name = names[i];
        cr_expect_eq(vm_argv_build(&argv, &config), PPN_ERROR_INVALID, "%s", names[i]);
    }
    config = qemu();
    config.cpu = "-host";
    cr_expect_eq(vm_argv_build(&argv, &config), PPN_ERROR_INVALID);
    config.cpu = "host;id";
    cr_expect_eq(vm_argv_build(&argv, &config), PPN_ERROR_INVALID);
}

static struct ppn_machine_spec *spec(void)
{
    static struct ppn_machine_spec value;
    memset(&value, 0, sizeof(value));
    cr_assert_eq(ppn_request_id_parse(UUID, &value.id), PPN_OK);
    (void)ppn_text_copy(value.name, sizeof(value.name), "web");
    (void)ppn_text_copy(value.user, sizeof(value.user), "ada");
    return &value;
}

static void add_key(struct ppn_machine_spec *value, const char *key)
{
    (void)ppn_text_copy(value->ssh_keys[value->ssh_key_count++], PPN_SSH_KEY_TEXT_MAX + 1, key);
}

static json_t *part(const struct ppn_machine_spec *value, enum vm_seed_part which)
{
    struct vm_network network = vm_nic_network(3);
    char *text = vm_seed_text(value, &network, which);
    cr_assert_not_null(text);
    const char *json = text[0] == '#' ? strchr(text, '\n') + 1 : text;
    json_error_t error;
    json_t *root = json_loads(json, 0, &error);
    cr_assert_not_null(root, "%s", text);
    free(text);
    return root;
}

static const char *string_at(json_t *root, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text ? text : "";
}

Test(seed, documents)
{
    struct ppn_machine_spec *value = spec();
    add_key(value, "ssh-ed25519 AAAA \"]}\\n: ada");
    json_t *meta = part(value, VM_SEED_META);
    cr_expect_str_eq(string_at(meta, "instance-id"), UUID);
    cr_expect_str_eq(string_at(meta, "local-hostname"), "web");
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(meta, "public-keys"), 0)),
                     "ssh-ed25519 AAAA \"]}\\n: ada");
    json_decref(meta);
    json_t *vendor = part(value, VM_SEED_VENDOR);
    cr_assert_eq(json_array_size(vendor), 2);
    const char *config = string_at(json_array_get(vendor, 0), "content");
    cr_expect_str_eq(config, "#cloud-config\n{\"user\":{\"name\":\"ada\"}}\n");
    const char *script = string_at(json_array_get(vendor, 1), "content");
    cr_expect(strstr(script, "#!/bin/sh\n") == script);
    cr_expect(strstr(script, "ready " UUID " $result"));
    json_decref(vendor);
    json_t *network = part(value, VM_SEED_NETWORK);
    json_t *nic = json_object_get(json_object_get(network, "ethernets"), "nic0");
    cr_expect_str_eq(string_at(json_object_get(nic, "match"), "macaddress"), "52:54:00:50:00:03");
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(nic, "addresses"), 0)),
                     "198.19.0.14/30");
    cr_expect_str_eq(string_at(nic, "gateway4"), "198.19.0.13");
    json_decref(network);
}

Test(seed, hostile_fields)
{
    struct ppn_failure failure = {0};
    static const char *const keys[] = {"", "a\nruncmd: [x]", "\x1b[2J", "\xff\xfe", "# x"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct ppn_machine_spec *value = spec();
        add_key(value, keys[i]);
        cr_expect_eq(vm_seed_check(value, &failure), PPN_ERROR_INVALID, "key %zu", i);
    }
    static const char *const users[] = {"Ada", "-ada", "ada:x", "ada\n", "a b"};
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        struct ppn_machine_spec *value = spec();
        (void)ppn_text_copy(value->user, sizeof(value->user), users[i]);
        cr_expect_eq(vm_seed_check(value, &failure), PPN_ERROR_INVALID, "%s", users[i]);
    }
    struct ppn_machine_spec *value = spec();
    value->user_data_size = PPN_USER_DATA_MAX + 1;
    cr_expect_eq(vm_seed_check(value, &failure), PPN_ERROR_TOO_BIG);
    cr_expect_eq(vm_seed_check(spec(), &failure), PPN_OK);
}

Test(seed, largest_one_fits)
{
    static uint8_t image[VM_FAT_BYTES];
    struct ppn_machine_spec *value = spec();
    struct vm_network network = vm_nic_network(255);
    char key[PPN_SSH_KEY_TEXT_MAX + 1];
    memset(key, '"', sizeof(key)); /* the worst for JSON */
    key[PPN_SSH_KEY_TEXT_MAX] = 0;
    for (int i = 0; i < PPN_SSH_KEYS_MAX; i++)
        add_key(value, key);
    value->user_data_size = PPN_USER_DATA_MAX;
    value->user_data = calloc(1, PPN_USER_DATA_MAX);
    cr_assert_eq(vm_seed_check(value, NULL), PPN_OK);
    cr_expect_eq(vm_seed_build(value, &network, image), PPN_OK);
    free(value->user_data);
}

Test(fat, layout)
{
    static uint8_t image[VM_FAT_BYTES], again[VM_FAT_BYTES];
    static uint8_t content[1500];
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7);
    struct vm_fat_file files[] = {
        {"meta-data", ppn_slice("m", 1)},
        {"network-config", ppn_slice(content, sizeof(content))},
        {"empty", ppn_slice("", 0)},
    };
    cr_assert_eq(vm_fat_build(image, "CIDATA", files, 3), PPN_OK);
    cr_assert_eq(vm_fat_build(again, "CIDATA", files, 3), PPN_OK);
    cr_expect_arr_eq(image, again, VM_FAT_BYTES);
    cr_expect_eq(image[510], 0x55);
    cr_expect_eq(image[511], 0xaa);
    cr_expect_arr_eq(image + 43, "CIDATA     ", 11);
    /* One sector of boot, two tables of two, four of root: data starts at sector 9. */
    cr_expect_eq(image[9 * 512], 'm');
    cr_expect_arr_eq(image + 10 * 512, content, sizeof(content));
    /* Cluster 2 ends; 3 goes on to 4, 4 to 5, 5 ends. */
    static const uint8_t table[] = {0xf8, 0xff, 0xff, 0xff, 0x4f, 0x00, 0x05, 0xf0, 0xff};
    cr_expect_arr_eq(image + 512, table, sizeof(table));
    files[1].bytes = ppn_slice(image, VM_FAT_BYTES);
    cr_expect_eq(vm_fat_build(again, "CIDATA", files, 3), PPN_ERROR_TOO_BIG);
}

static struct vm_qmp_message message;

static void parse(const char *line)
{
    vm_qmp_parse(ppn_slice(line, strlen(line)), &message);
}

Test(qmp, lines)
{
    parse("{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}");
    cr_expect_eq(message.kind, VM_QMP_GREETING);
    parse("{\"timestamp\": {}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
          "\"guest-shutdown\"}}\r");
    cr_expect_eq(message.kind, VM_QMP_EVENT);
    cr_expect_str_eq(message.word, "SHUTDOWN");
    cr_expect_str_eq(message.reason, "guest-shutdown");
    cr_expect(message.guest);
    parse("{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": 2}");
    cr_expect_eq(message.kind, VM_QMP_RETURN);
    cr_expect_eq(message.id, 2);
    cr_expect(message.running);
    parse("{\"return\": \"ready x ok\\n\", \"id\": 4}");
    cr_expect_str_eq(message.text, "ready x ok\n");
    parse("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 3}");
    cr_expect_eq(message.kind, VM_QMP_ERROR);
    cr_expect_str_eq(message.text, "no");
}

Test(qmp, garbage)
{
    static const char *const lines[] = {"",
                                        "x",
                                        "{",
                                        "[]",
                                        "null",
                                        "{}",
                                        "{\"event\": 7}",
                                        "{\"return\": null, \"id\": \"x\"}",
                                        "{\"event\": {\"event\": []}, \"data\": \"x\"}",
                                        "\xff\xfe\x01",
                                        "{\"a\":\"\\u0000\"}"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        parse(lines[i]);
        cr_expect(message.kind == VM_QMP_OTHER || message.kind == VM_QMP_EVENT ||
                  message.kind == VM_QMP_RETURN);
        cr_expect_str_empty(message.reason);
    }
    static char deep[40000];
    memset(deep, '[', sizeof(deep) - 1);
    parse(deep);
    cr_expect_eq(message.kind, VM_QMP_OTHER);
    static char longer[VM_QMP_LINE_MAX + 2];
    memset(longer, ' ', sizeof(longer) - 1);
    parse(longer);
    cr_expect_eq(message.kind, VM_QMP_OTHER);
}

Test(ready, lines)
{
    static const struct {
        const char *text;
        bool found, errors;
    } table[] = {
        {"ready " UUID " ok\n", true, false},
        {"ready " UUID " errors\n", true, true},
        {"ready " UUID " ok\r\n", true, false},
        {"noise\nready " UUID " ok\n", true, false},
        {"ready " UUID " ok", false, false},
        {"ready other ok\n", false, false},
        {"unready " UUID " ok\n", false, false},
        {"ready " UUID " maybe\n", false, false},
        {"ready " UUID " bad\nready " UUID " ok\n", true, false},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        bool errors = false;
        cr_expect_eq(vm_ready_parse(table[i].text, UUID, &errors), table[i].found, "%zu", i);
        cr_expect_eq(errors, table[i].errors, "%zu", i);
    }
}

Test(nic, slots_are_apart)
{
    struct vm_network a = vm_nic_network(0), b = vm_nic_network(255);
    static const uint8_t first[4] = {198, 19, 0, 2}, last[4] = {198, 19, 3, 254};
    cr_expect_arr_eq(a.address, first, 4);
    cr_expect_arr_eq(b.address, last, 4);
    cr_expect_neq(memcmp(a.mac, b.mac, 6), 0);
}

Test(nic, rules)
{
    static char text[VM_NIC_TEXT_MAX];
    static const uint8_t resolver[4] = {192, 168, 1, 1};
    cr_assert_gt(vm_nic_rules(resolver, text, sizeof(text)), 0);
    cr_expect(strstr(text, "udp dport 53 dnat ip to 192.168.1.1\n"));
    cr_expect(strstr(text, "\"ppnvm255\" . 52:54:00:50:00:ff . 198.19.3.254"));
    cr_expect(strstr(text, "iifname \"ppnvm*\" drop"));
    cr_assert_gt(vm_nic_rules(NULL, text, sizeof(text)), 0);
    cr_expect_null(strstr(text, "dnat ip to"));
    cr_expect_eq(vm_nic_rules(NULL, text, 1000), 0);
}

Test(nic, resolver)
{
    uint8_t address[4] = {0};
    cr_expect(vm_nic_resolver("# x\nsearch home\nnameserver 127.0.0.53\nnameserver fe80::1\n"
                              "nameserver 10.1.2.3\n",
                              address));
    static const uint8_t wanted[4] = {10, 1, 2, 3};
    cr_expect_arr_eq(address, wanted, 4);
    cr_expect_not(vm_nic_resolver("nameserver 127.0.0.1", address));
    cr_expect_not(vm_nic_resolver("nameserver", address));
    cr_expect_not(vm_nic_resolver("", address));
}
