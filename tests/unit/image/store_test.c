// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image_store.h"
#include "os/os_file.h"
#include "os/os_loop.h"
#include "os/os_worker.h"

/* A real store in a temporary directory, with the real qemu-img. */

static struct os_loop *loop;
static struct os_worker *worker;
static struct image_store *store;
static char state[64];
static struct ppn_failure failure;
static struct image result;
static bool done;
static enum ppn_error outcome;

static void reopen(void)
{
    if (store) {
        image_store_close(store);
        store = NULL;
    }
    cr_assert_eq(image_store_open(loop, worker, state, &store, &failure), PPN_OK, "%s",
                 failure.text);
}

static void open_all(void)
{
    strcpy(state, "/tmp/ppn-image-test.XXXXXX");
    cr_assert_not_null(mkdtemp(state));
    cr_assert_eq(os_loop_open(&loop, &failure), PPN_OK);
    cr_assert_eq(os_worker_open(loop, 1, &worker, &failure), PPN_OK);
    reopen();
}

static void close_all(void)
{
    os_worker_close(worker);
    image_store_close(store);
    os_loop_close(loop);
    (void)!os_directory_remove("/tmp", state + 5, NULL);
}

TestSuite(store, .init = open_all, .fini = close_all);

static void on_done(void *context, const struct image *image, const struct ppn_failure *why)
{
    (void)context;
    done = true;
    outcome = image ? PPN_OK : why->code;
    if (image)
        result = *image;
    else
        failure = *why;
}

static enum ppn_error wait_done(void)
{
    while (!done)
        os_loop_turn(loop);
    done = false;
    return outcome;
}

static enum ppn_error import(const char *name, const void *bytes, size_t size)
{
    struct image_import *handle = NULL;
    cr_assert_eq(image_import_begin(store, name, size, &handle, &failure), PPN_OK, "%s",
                 failure.text);
    cr_assert_eq(image_import_write(handle, ppn_slice(bytes, size), &failure), PPN_OK);
    image_import_finish(handle, on_done, NULL);
    return wait_done();
}

/* The bytes of a file that a command made. */
static uint8_t *made_by(const char *command, size_t *size)
{
    char path[128];
    uint8_t *bytes = NULL;
    (void)snprintf(path, sizeof(path), "%s/made", state);
    setenv("MADE", path, 1);
    /* qemu-img's key stretching gives up on a busy machine; then it is asked again. */
    int status = 1;
    for (int attempt = 0; status != 0 && attempt < 100; attempt++)
        status = system(command);
    cr_assert_eq(status, 0, "%s", command);
    cr_assert_eq(os_file_read(path, 1 << 24, &bytes, size, &failure), PPN_OK);
    unlink(path);
    return bytes;
}

static uint32_t files(void)
{
    char path[128];
    uint32_t count = 0;
    (void)snprintf(path, sizeof(path), "%s/images", state);
    DIR *directory = opendir(path);
    for (struct dirent *e; (e = readdir(directory));)
        count += e->d_name[0] != '.';
    closedir(directory);
    return count;
}

Test(store, qcow2_is_named_by_its_hash_and_survives)
{
    size_t size = 0;
    uint8_t *bytes = made_by("qemu-img create -q -f qcow2 $MADE 64M", &size);
    cr_assert_eq(import("debian-12", bytes, size), PPN_OK, "%s", failure.text);
    cr_expect_eq(result.facts.format, IMAGE_QCOW2);
    cr_expect_eq(result.facts.virtual_bytes, 64 << 20);
    reopen();
    const struct image *image = image_store_find(store, "debian-12");
    cr_assert_not_null(image);
    cr_expect(ppn_hash_equal(&image->hash, &result.hash));
    char path[IMAGE_PATH_MAX + 1], line[IMAGE_PATH_MAX + 128], hex[65];
    image_store_path(store, image, path);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0440);
    ppn_hex(image->hash.bytes, 32, hex);
    (void)snprintf(line, sizeof(line), "sha256sum %s | grep -q ^%s", path, hex);
    cr_expect_eq(system(line), 0);
    hex[10] = 0;
    cr_expect_eq(image_store_find(store, hex), image);
    uint8_t chunk[100];
    size_t got = 0;
    cr_expect_eq(image_store_read(store, &image->hash, 0, chunk, sizeof(chunk), &got), PPN_OK);
    cr_expect_eq(got, 100);
    cr_expect_arr_eq(chunk, bytes, 100);
    cr_expect_eq(image_store_read(store, &image->hash, size, chunk, 100, &got), PPN_ERROR_INVALID);
    free(bytes);
}

Test(store, hostile_images_change_nothing)
{
    static const char *const commands[] = {
        "qemu-img create -q -f qcow2 -b /etc/passwd -F raw $MADE 1M",
        "qemu-img create -q -f qcow2 -o data_file=/tmp/ppn-image-test.data $MADE 1M",
        "qemu-img create -q -f qcow2 --object secret,id=k,data=x -o encrypt.format=luks,"
        "encrypt.key-secret=k,encrypt.iter-time=10 $MADE 1M",
        "qemu-img create -q -f vmdk $MADE 1M",
        "head -c 1000 /dev/zero > $MADE",
        "qemu-img create -q -f qcow2 $MADE 1M && qemu-img snapshot -c x $MADE",
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        size_t size = 0;
        uint8_t *bytes = made_by(commands[i], &size);
        cr_expect_eq(import("bad", bytes, size), PPN_ERROR_INVALID, "%s", commands[i]);
        cr_expect_eq(files(), 0, "%s", commands[i]);
        free(bytes);
    }
    unlink("/tmp/ppn-image-test.data");
}

Test(store, header_that_only_qemu_img_sees_through)
{
    size_t size = 0;
    uint8_t *bytes = made_by("qemu-img create -q -f qcow2 $MADE 64M", &size);
    bytes[99] = 60; /* refcount order */
    cr_expect_eq(import("bad", bytes, size), PPN_ERROR_INVALID);
    cr_expect_eq(files(), 0);
    free(bytes);
}

Test(store, raw_twice_and_names)
{
    static uint8_t disk[4096];
    static uint8_t other[8192];
    cr_assert_eq(import("one", disk, sizeof(disk)), PPN_OK);
    cr_assert_eq(import("two", disk, sizeof(disk)), PPN_OK);
    uint32_t count = 0;
    (void)image_store_list(store, &count);
    cr_expect_eq(count, 2);
    cr_expect_eq(files(), 2, "one image and names.json");
    cr_assert_eq(import("two", other, sizeof(other)), PPN_OK);
    cr_expect_eq(image_store_find(store, "two")->facts.file_bytes, sizeof(other));
    cr_expect_eq(image_store_find(store, "one")->facts.file_bytes, sizeof(disk));
    struct ppn_hash hash = image_store_find(store, "one")->hash;
    cr_expect_eq(image_store_remove(store, &hash, true, &failure), PPN_ERROR_BUSY);
    cr_expect_eq(image_store_remove(store, &hash, false, &failure), PPN_OK);
    cr_expect_null(image_store_find(store, "one"));
    reopen();
    cr_expect_null(image_store_find(store, "one"));
    cr_expect_not_null(image_store_find(store, "two"));
}

Test(store, damaged_names_are_set_aside)
{
    static uint8_t disk[4096];
    char path[128];
    cr_assert_eq(import("one", disk, sizeof(disk)), PPN_OK);
    (void)snprintf(path, sizeof(path), "%s/images/names.json", state);
    cr_assert_eq(os_file_replace(path, ppn_slice("{", 1), 0640, &failure), PPN_OK);
    reopen();
    uint32_t count = 0;
    const struct image *list = image_store_list(store, &count);
    cr_assert_eq(count, 1);
    cr_expect_str_empty(list[0].name);
    cr_expect_eq(image_store_name(store, &list[0].hash, "again", &failure), PPN_OK);
    cr_expect_not_null(image_store_find(store, "again"));
}

Test(store, leftovers_are_swept)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/images/incoming-7", state);
    cr_assert_eq(os_file_replace(path, ppn_slice("x", 1), 0640, &failure), PPN_OK);
    reopen();
    cr_expect_eq(files(), 0);
    struct image_import *handle = NULL;
    cr_expect_eq(image_import_begin(store, "Bad Name", 1, &handle, &failure), PPN_ERROR_INVALID);
    cr_expect_eq(image_import_begin(store, "big", (uint64_t)1 << 39, &handle, &failure),
                 PPN_ERROR_NO_SPACE);
}

Test(store, part_with_the_wrong_hash_and_then_the_right_one)
{
    static uint8_t disk[4096];
    struct image_part *part = NULL, *second = NULL;
    uint64_t have = 1;
    cr_assert_eq(import("one", disk, sizeof(disk)), PPN_OK);
    struct ppn_hash hash = result.hash;
    cr_assert_eq(image_store_remove(store, &hash, false, &failure), PPN_OK);
    cr_assert_eq(image_part_open(store, &hash, sizeof(disk), &have, &part, &failure), PPN_OK);
    cr_expect_eq(have, 0);
    cr_expect_eq(image_part_open(store, &hash, sizeof(disk), &have, &second, &failure),
                 PPN_ERROR_BUSY);
    disk[7] = 1;
    cr_assert_eq(image_part_write(part, 0, ppn_slice(disk, sizeof(disk)), &failure), PPN_OK);
    image_part_finish(part, "one", on_done, NULL);
    cr_expect_eq(wait_done(), PPN_ERROR_CORRUPT);
    cr_expect_null(image_store_by_hash(store, &hash));
    disk[7] = 0;
    cr_assert_eq(image_part_reset(part, &failure), PPN_OK);
    cr_assert_eq(image_part_write(part, 0, ppn_slice(disk, sizeof(disk)), &failure), PPN_OK);
    image_part_finish(part, "one", on_done, NULL);
    cr_expect_eq(wait_done(), PPN_OK);
    cr_expect_not_null(image_store_find(store, "one"));
}
