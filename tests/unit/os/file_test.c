// SPDX-License-Identifier: ISC
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os_net.h"
#include "os/os_notify.h"
#include "os/os_random.h"
#include "os_test.h"

static char directory[64];

static void make_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/ppn-os-test-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
}

static void remove_directory(void)
{
    struct ppn_failure failure;
    cr_assert_eq(os_directory_remove("/tmp", directory + 5, &failure), PPN_OK, "%s", failure.text);
    cr_assert(!os_file_exists(directory));
}

TestSuite(file, .init = make_directory, .fini = remove_directory);

static const char *in_directory(const char *name)
{
    static char path[4][OS_PATH_MAX];
    static int next;
    char *to = path[next++ % 4];
    cr_assert_eq(os_path_join(to, OS_PATH_MAX, directory, name), PPN_OK);
    return to;
}

Test(file, replaces_whole_and_with_its_mode)
{
    struct ppn_failure failure;
    struct stat info;
    uint8_t *bytes;
    size_t size;
    const char *path = in_directory("secret");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(os_file_replace(path, ppn_slice("abc", (size_t)i), 0600, &failure), PPN_OK);
        cr_assert_eq(os_file_read(path, 100, &bytes, &size, &failure), PPN_OK);
        cr_assert_eq(size, (size_t)i);
        cr_assert_eq(bytes[size], 0);
        free(bytes);
    }
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0600);
    cr_assert_eq(os_file_replace(in_directory("no/such"), ppn_slice("a", 1), 0600, &failure),
                 PPN_ERROR_NOT_FOUND);
    DIR *list = opendir(directory);
    int count = 0;
    while (readdir(list))
        count++;
    closedir(list);
    cr_assert_eq(count, 3, "no temporary file stays");
}

Test(file, reads_up_to_its_bound)
{
    uint8_t *bytes, big[10000] = {0};
    size_t size;
    char text[5];
    struct ppn_failure failure;
    const char *path = in_directory("f");
    cr_assert_eq(os_file_replace(path, ppn_slice(big, sizeof big), 0644, &failure), PPN_OK);
    cr_assert_eq(os_file_read(path, sizeof big, &bytes, &size, &failure), PPN_OK);
    cr_assert_eq(size, sizeof big);
    free(bytes);
    cr_assert_eq(os_file_read(path, sizeof big - 1, &bytes, &size, &failure), PPN_ERROR_TOO_BIG);
    cr_assert_eq(os_file_read("/proc/self/status", 1 << 20, &bytes, &size, &failure), PPN_OK);
    cr_assert_gt(size, 100);
    free(bytes);
    cr_assert_eq(os_file_replace(path, ppn_slice("four\n", 5), 0644, &failure), PPN_OK);
    cr_assert_eq(os_file_read_text(path, text, sizeof text), PPN_ERROR_TOO_BIG);
    cr_assert_eq(os_file_replace(path, ppn_slice("abc\n", 4), 0644, &failure), PPN_OK);
    cr_assert_eq(os_file_read_text(path, text, sizeof text), PPN_OK);
    cr_assert_str_eq(text, "abc");
}

Test(file, removal_follows_no_symlink)
{
    struct ppn_failure failure;
    cr_assert_eq(os_directory_make_all(in_directory("a/b/c"), 0700, &failure), PPN_OK);
    cr_assert_eq(os_directory_make(in_directory("keep"), 0700, &failure), PPN_OK);
    cr_assert_eq(os_file_replace(in_directory("keep/f"), ppn_slice("x", 1), 0600, &failure),
                 PPN_OK);
    cr_assert_eq(symlink(in_directory("keep"), in_directory("a/b/link")), 0);
    cr_assert_eq(os_directory_remove(directory, "a", &failure), PPN_OK, "%s", failure.text);
    cr_assert_eq(os_directory_remove(directory, "a", &failure), PPN_OK, "gone already");
    cr_assert(!os_file_exists(in_directory("a")));
    cr_assert(os_file_exists(in_directory("keep/f")));
    cr_assert_eq(os_directory_remove(directory, "..", &failure), PPN_ERROR_INVALID);
    cr_assert_eq(os_directory_remove(directory, "keep/f", &failure), PPN_ERROR_INVALID);
}

Test(file, opens_nothing_outside)
{
    struct ppn_failure failure;
    int fd;
    cr_assert_eq(os_file_replace(in_directory("f"), ppn_slice("x", 1), 0600, &failure), PPN_OK);
    cr_assert_eq(symlink("f", in_directory("link")), 0);
    cr_assert_eq(os_file_open_beneath(directory, "f", O_RDONLY, 0, &fd, &failure), PPN_OK);
    close(fd);
    static const char *const bad[] = {"../etc/passwd", "/etc/passwd", "link", "no"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_neq(os_file_open_beneath(directory, bad[i], O_RDONLY, 0, &fd, &failure), PPN_OK,
                      "%s", bad[i]);
}

Test(file, a_directory_that_is_a_symlink_is_refused)
{
    struct ppn_failure failure;
    cr_assert_eq(symlink("/tmp", in_directory("state")), 0);
    cr_assert_neq(os_directory_make(in_directory("state"), 0700, &failure), PPN_OK);
}

Test(file, one_owner_holds_the_lock)
{
    struct ppn_failure failure;
    int first, second;
    char expected[64];
    cr_assert_eq(os_file_lock(in_directory("lock"), &first, &failure), PPN_OK);
    cr_assert_eq(os_file_lock(in_directory("lock"), &second, &failure), PPN_ERROR_BUSY);
    snprintf(expected, sizeof expected, "held by process %ld", (long)getpid());
    cr_assert(strstr(failure.text, expected) != NULL, "%s", failure.text);
    close(first);
    cr_assert_eq(os_file_lock(in_directory("lock"), &second, &failure), PPN_OK);
    close(second);
}

Test(file, space_is_known)
{
    struct os_space space;
    cr_assert_eq(os_file_space(directory, &space, NULL), PPN_OK);
    cr_assert_gt(space.total_bytes, 0);
    cr_assert_leq(space.free_bytes, space.total_bytes);
}

Test(file, notification_reaches_the_manager)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[32] = "";
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", directory);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    os_notify("NOBODY=1");
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    os_notify("READY=1");
    cr_assert_eq(recv(fd, text, sizeof text - 1, MSG_DONTWAIT), 7);
    cr_assert_str_eq(text, "READY=1");
    close(fd);
}

Test(net, loopback_is_listed)
{
    struct os_net_addresses addresses;
    char name[OS_INTERFACE_NAME_MAX + 1];
    bool found = false;
    cr_assert_eq(os_net_addresses(&addresses, NULL), PPN_OK);
    for (uint32_t i = 0; i < addresses.count; i++)
        found |= addresses.list[i].loopback && addresses.list[i].prefix_bits == 8;
    cr_assert(found);
    os_net_default_interface(name);
    cr_assert(name[0] == 0 || os_net_interface_exists(name));
    cr_assert_eq(os_net_link("lo"), PPN_LINK_UNKNOWN);
}

Test(net, interface_names_are_strict)
{
    static const char *const good[] = {"lo", "eth0", "wg-ppn_1.2", "abcdefghijklmno"};
    static const char *const bad[] = {"", ".", "..", "-x", "a/b", "a b", "abcdefghijklmnop"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(os_net_interface_name_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!os_net_interface_name_valid(bad[i]));
}

Test(net, random_bytes_differ)
{
    cr_assert_neq(os_random_u64(), os_random_u64());
}
