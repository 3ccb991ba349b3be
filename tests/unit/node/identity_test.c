// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/identity.h"
#include "os/os_file.h"

static char directory[64];
static struct ppn_failure failure;

static void make_directory(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/ppn-identity-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
    static const char *const names[] = {"keys/node.key", "keys/wireguard.key",
                                        "keys/wireguard.next.key", "keys/admin.key"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/keys", directory);
    cr_expect_eq(rmdir(path), 0, "something else is left");
    cr_expect_eq(rmdir(directory), 0);
}

TestSuite(identity, .init = make_directory, .fini = remove_directory);

static struct node_identity opened(void)
{
    struct node_identity identity;
    cr_assert_eq(node_identity_open(directory, &identity, &failure), PPN_OK, "%s", failure.text);
    return identity;
}

Test(identity, a_next_key_lies_beside_the_present_one_until_it_is_settled)
{
    uint8_t key[NODE_WG_KEY_SIZE];
    struct node_identity first = opened();
    cr_expect_not(first.has_next);
    memset(key, 0x42, sizeof(key));
    cr_assert_eq(node_identity_write_next(directory, key, &failure), PPN_OK);
    struct node_identity both = opened();
    cr_assert(both.has_next);
    cr_expect_arr_eq(both.wg_public, first.wg_public, NODE_WG_KEY_SIZE);
    cr_expect_arr_eq(both.next_private, key, NODE_WG_KEY_SIZE);
    cr_expect_arr_neq(both.next_public, first.wg_public, NODE_WG_KEY_SIZE);
    cr_assert_eq(node_identity_settle_next(directory, key, &failure), PPN_OK);
    struct node_identity settled = opened();
    cr_expect_not(settled.has_next);
    cr_expect_arr_eq(settled.wg_public, both.next_public, NODE_WG_KEY_SIZE);
    cr_expect(ppn_node_id_equal(&settled.id, &first.id));
    node_identity_use_next(&both);
    cr_expect_arr_eq(both.wg_private, settled.wg_private, NODE_WG_KEY_SIZE);
    cr_expect_not(both.has_next);
}

/* Cut off between the two files: the key is in place, and its own file still there. */
Test(identity, a_settled_key_is_not_next_as_well)
{
    char path[128];
    uint8_t key[NODE_WG_KEY_SIZE];
    (void)opened();
    memset(key, 0x43, sizeof(key));
    cr_assert_eq(node_identity_write_next(directory, key, &failure), PPN_OK);
    (void)snprintf(path, sizeof(path), "%s/keys/wireguard.key", directory);
    cr_assert_eq(os_file_replace(path, ppn_slice(key, sizeof(key)), 0600, &failure), PPN_OK);
    struct node_identity identity = opened();
    cr_expect_not(identity.has_next);
    cr_expect_arr_eq(identity.wg_private, key, NODE_WG_KEY_SIZE);
}

Test(identity, a_damaged_next_key_is_refused)
{
    char path[128];
    struct node_identity identity;
    (void)opened();
    (void)snprintf(path, sizeof(path), "%s/keys/wireguard.next.key", directory);
    cr_assert_eq(os_file_replace(path, ppn_slice("short", 5), 0600, &failure), PPN_OK);
    cr_expect_eq(node_identity_open(directory, &identity, &failure), PPN_ERROR_CORRUPT);
}
