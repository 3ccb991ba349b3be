// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "wg/device_internal.h"

#define KEY_A                            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B                            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define DEVICE                           KEY_A "\t" KEY_B "\t51820\toff\n"
#define PEER(endpoint, allowed, numbers) KEY_B "\t(none)\t" endpoint "\t" allowed "\t" numbers "\n"

static enum ppn_error parse(const char *text, struct wg_observed **peers, size_t *count)
{
    struct ppn_wall now = {1700000100 * INT64_C(1000)};
    return wg_dump_parse(ppn_slice(text, strlen(text)), now, peers, count);
}

Test(wg_dump, reads_peers_as_the_tool_prints_them)
{
    struct wg_observed *peers;
    size_t count;
    const char *text =
        DEVICE PEER("192.0.2.7:40000", "fd12:3456::1:0:0/96", "1700000000\t12\t34\t25")
            PEER("[2001:db8::1]:51820", "(none)", "0\t0\t0\toff");
    cr_assert(parse(text, &peers, &count) == PPN_OK);
    cr_assert(count == 2);
    cr_assert(peers[0].key.bytes[0] == 1 && peers[0].has_endpoint);
    cr_assert(peers[0].endpoint.port == 40000 && peers[0].endpoint.address[15] == 7);
    cr_assert(peers[0].allowed_one && peers[0].allowed[0] == 0xfd);
    cr_assert(peers[0].has_handshake && ppn_to_ms(peers[0].handshake_age) == 100000);
    cr_assert(peers[0].rx_bytes == 12 && peers[0].tx_bytes == 34 && peers[0].keepalive_s == 25);
    cr_assert(peers[1].endpoint.address[0] == 0x20 && !peers[1].allowed_one);
    cr_assert(!peers[1].has_handshake && peers[1].keepalive_s == 0);
    free(peers);
}

Test(wg_dump, an_endpoint_may_be_missing_and_the_list_empty)
{
    struct wg_observed *peers;
    size_t count;
    cr_assert(parse(DEVICE, &peers, &count) == PPN_OK && count == 0);
    free(peers);
    cr_assert(parse(DEVICE PEER("(none)", "10.0.0.0/8,fd00::/96", "0\t0\t0\toff"), &peers,
                    &count) == PPN_OK);
    cr_assert(count == 1 && !peers[0].has_endpoint && !peers[0].allowed_one);
    free(peers);
}

Test(wg_dump, anything_else_is_corrupt)
{
    static const char *const bad[] = {
        "",
        "\n",
        "Unable to access interface: No such device\n",
        KEY_A "\t" KEY_B "\t51820\toff",
        DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t0\t0\n",
        DEVICE PEER("(none)", "(none)", "0\t0\t0\toff\textra"),
        DEVICE PEER("(none)", "(none)", "-1\t0\t0\toff"),
        DEVICE PEER("(none)", "(none)", "0\t99999999999999999999\t0\toff"),
        DEVICE PEER("(none)", "(none)", "0\t0\t0\t65536"),
        DEVICE PEER("host.example:1", "(none)", "0\t0\t0\toff"),
        DEVICE PEER("(none)", "fd00::1", "0\t0\t0\toff"),
        DEVICE "short\t(none)\t(none)\t(none)\t0\t0\t0\toff\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wg_observed *peers;
        size_t count;
        cr_assert(parse(bad[i], &peers, &count) == PPN_ERROR_CORRUPT, "case %zu", i);
        cr_assert(peers == NULL && count == 0);
    }
}

Test(wg_set, a_full_batch_fits_and_keeps_its_order)
{
    static struct wg_update update = {.kind = WG_UPDATE_APPLY, .count = WG_BATCH_MAX};
    static struct wg_set_command command;
    for (size_t i = 0; i < WG_BATCH_MAX; i++) {
        update.changes[i] = (struct wg_change){
            .kind = i == 0 ? WG_REMOVE : WG_ADD, .has_endpoint = true, .keepalive_s = 65535};
        memset(update.changes[i].allowed, 0xfe, 16);
        memset(update.changes[i].endpoint.address, 0xee, 16);
        update.changes[i].endpoint.port = 65535;
    }
    wg_set_command(&command, "ppn0", &update);
    static const char *const head[] = {"wg",     "set",  "ppn0", "peer",       KEY_A,
                                       "remove", "peer", KEY_A,  "allowed-ips"};
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        cr_assert_str_eq(command.argv[i], head[i]);
    cr_assert_str_eq(command.argv[9], "fefe:fefe:fefe:fefe:fefe:fefe::/96");
    cr_assert(command.count == 3 + 3 + (WG_BATCH_MAX - 1) * 8);
    cr_assert(command.argv[command.count] == NULL);
}

Test(wg_names, interface_names_are_what_the_kernel_takes)
{
    cr_assert(wg_interface_name_valid("ppn0") && wg_interface_name_valid("a.b_c-d"));
    cr_assert(!wg_interface_name_valid("") && !wg_interface_name_valid("-ppn"));
    cr_assert(!wg_interface_name_valid("a/b") && !wg_interface_name_valid("sixteen-letters-x"));
    cr_assert(!wg_interface_name_valid("a b") && !wg_interface_name_valid(".."));
}

Test(wg_keys, a_private_key_is_clamped_and_gives_its_public_one)
{
    uint8_t private_key[WG_KEY_SIZE];
    struct wg_key made, again;
    wg_key_pair(private_key, &made);
    wg_key_public(private_key, &again);
    cr_assert(memcmp(&made, &again, sizeof(made)) == 0);
    cr_assert((private_key[0] & 7) == 0 && (private_key[31] & 0xc0) == 0x40);
}

Test(wg_routes, are_lines_for_ip_batch)
{
    struct wg_update update = {.kind = WG_UPDATE_APPLY, .count = WG_BATCH_MAX};
    static char text[WG_ROUTES_TEXT_MAX];
    for (size_t i = 0; i < WG_BATCH_MAX; i++) {
        update.changes[i] = (struct wg_change){.kind = WG_ROUTE, .mtu = 1280};
        memset(update.changes[i].allowed, 0xfd, 12);
        update.changes[i].allowed[11] = (uint8_t)i;
    }
    size_t size = wg_routes_script(text, "abcdefghijklmno", &update);
    static const char first[] =
        "route replace fdfd:fdfd:fdfd:fdfd:fdfd:fd00::/96 dev abcdefghijklmno proto 201 mtu 1280\n";
    cr_assert(size < sizeof(text) && strncmp(text, first, strlen(first)) == 0, "%s", text);
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    cr_assert_eq(lines, WG_BATCH_MAX);
}
