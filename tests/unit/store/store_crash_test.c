// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os_file.h"
#include "os/os_process.h"
#include "store/store.h"
#include "store_faults.h"

enum { KEYS = 7, WRITES = 24, VALUE_MAX = 7000 };

static char directory[64];
static struct os_loop *loop;
static char fatal_text[PPN_FAILURE_TEXT_MAX];

static void start(void)
{
    snprintf(directory, sizeof directory, "/tmp/ppn-crash-test-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    cr_assert_eq(os_loop_open(&loop, NULL), PPN_OK);
}

static void stop(void)
{
    fault.armed = false;
    os_loop_close(loop);
    cr_assert_eq(os_directory_remove("/tmp", directory + 5, NULL), PPN_OK);
}

TestSuite(crash, .init = start, .fini = stop);

static void on_fatal(void *context, const char *text)
{
    (void)context;
    snprintf(fatal_text, sizeof fatal_text, "%s", text);
}

static struct store *open_store(struct os_loop *on)
{
    struct store *store;
    struct ppn_failure failure;
    struct store_config config = {.directory = directory, .on_fatal = on_fatal};
    cr_assert_eq(store_open(on, &config, &store, &failure), PPN_OK, "%s", failure.text);
    return store;
}

/* Write number i: one key of KEYS gets a value that i alone determines, META "n" becomes i. */
static size_t value_of(uint32_t i, uint8_t *value)
{
    size_t size = (size_t)i * 977 % VALUE_MAX;
    memset(value, (int)i, size);
    return size;
}

static void make_write(struct store_batch *batch, uint32_t i)
{
    uint8_t value[VALUE_MAX], key = (uint8_t)('a' + i % KEYS);
    size_t size = value_of(i, value);
    store_batch_init(batch);
    store_batch_put(batch, STORE_LOG, ppn_slice(&key, 1), ppn_slice(value, size));
    store_batch_put(batch, STORE_META, ppn_slice("n", 1), ppn_slice(&i, sizeof i));
}

static int acknowledged_to;

static void on_acknowledged(void *context, enum ppn_error error)
{
    uint32_t i = (uint32_t)(uintptr_t)context;
    if (error == PPN_OK && write(acknowledged_to, &i, sizeof i) != sizeof i)
        _exit(2);
}

/* The life of a daemon that dies at its `at`-th write or sync: some writes one by one, some in a
 * crowd. Exits 0 when it was never struck. */
_Noreturn static void live(int64_t at)
{
    struct os_loop *own;
    struct store_batch batch;
    if (os_loop_open(&own, NULL) != PPN_OK)
        _exit(2);
    fault = (struct fault){.armed = true, .kind = FAULT_KILL, .at = at};
    struct store *store = open_store(own);
    for (uint32_t i = 1; i <= WRITES; i++) {
        make_write(&batch, i);
        if (i % 8 < 4)
            on_acknowledged((void *)(uintptr_t)i, store_commit_sync(store, &batch));
        else
            store_commit(store, &batch, on_acknowledged, (void *)(uintptr_t)i);
    }
    store_close(store);
    _exit(0);
}

struct outcome {
    bool struck;
    uint32_t acknowledged;
};

static struct outcome run_life(int64_t at)
{
    struct outcome outcome = {0};
    uint32_t i;
    int status, fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        acknowledged_to = fds[1];
        live(at);
    }
    close(fds[1]);
    while (read(fds[0], &i, sizeof i) == sizeof i)
        if (i > outcome.acknowledged)
            outcome.acknowledged = i;
    close(fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    outcome.struck = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    cr_assert(outcome.struck || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "status %x",
              (unsigned)status);
    return outcome;
}

static uint32_t last_write(struct store *store)
{
    uint32_t n = 0;
    size_t size;
    enum ppn_error error =
        store_get_copy(store, STORE_META, ppn_slice("n", 1), &n, sizeof n, &size);
    cr_assert(error == PPN_OK || error == PPN_ERROR_NOT_FOUND);
    return n;
}

/* The content is that of the writes 1..n, whole, for the n that it says. */
static void check_content(struct store *store, uint32_t n)
{
    uint8_t expected[VALUE_MAX], value[VALUE_MAX];
    for (uint32_t k = 0; k < KEYS; k++) {
        uint8_t key = (uint8_t)('a' + k);
        size_t size;
        uint32_t writer = n;
        while (writer > 0 && writer % KEYS != k)
            writer--;
        enum ppn_error error =
            store_get_copy(store, STORE_LOG, ppn_slice(&key, 1), value, sizeof value, &size);
        cr_assert_eq(error, writer == 0 ? PPN_ERROR_NOT_FOUND : PPN_OK);
        if (error != PPN_OK)
            continue;
        cr_assert_eq(size, value_of(writer, expected));
        cr_assert_eq(memcmp(value, expected, size), 0, "torn");
    }
}

Test(crash, killed_before_each_write_and_each_sync)
{
    struct outcome outcome = {.struck = true};
    int64_t at = 1;
    for (; outcome.struck; at++) {
        outcome = run_life(at);
        struct store *store = open_store(loop);
        uint32_t n = last_write(store);
        cr_assert_geq(n, outcome.acknowledged, "an acknowledged write is lost (call %d)", (int)at);
        check_content(store, n);
        store_close(store);
        cr_assert_eq(os_directory_remove(directory, "durable", NULL), PPN_OK);
        cr_assert_eq(os_directory_remove(directory, "view", NULL), PPN_OK);
    }
    cr_assert_eq(outcome.acknowledged, WRITES);
    cr_assert_gt(at, 40, "the sweep saw the calls of many commits");
}

/* One life after another on the same files, each killed somewhere. */
Test(crash, killed_again_and_again)
{
    for (int64_t at = 1; at < 40; at += 3) {
        struct outcome outcome = run_life(at);
        struct store *store = open_store(loop);
        uint32_t n = last_write(store);
        cr_assert(outcome.acknowledged <= n || outcome.acknowledged == 0);
        store_close(store);
    }
}

static enum ppn_error commit_number(struct store *store, uint32_t i)
{
    struct store_batch batch;
    make_write(&batch, i);
    return store_commit_sync(store, &batch);
}

static void on_error(void *context, enum ppn_error error)
{
    *(enum ppn_error *)context = error;
}

Test(crash, an_error_of_the_disk_is_fatal_and_said_once)
{
    struct store *store = open_store(loop);
    struct store_batch batch;
    enum ppn_error error = PPN_OK, later = PPN_OK;
    cr_assert_eq(commit_number(store, 1), PPN_OK);
    fault = (struct fault){
        .armed = true, .kind = FAULT_ERROR, .at = 1, .number = EIO, .only_sync = true};
    make_write(&batch, 2);
    store_commit(store, &batch, on_error, &error);
    while (error == PPN_OK)
        os_loop_turn(loop);
    fault.armed = false;
    cr_assert_eq(error, PPN_ERROR_IO);
    cr_assert(strstr(fatal_text, "the disk failed to write") != NULL);
    make_write(&batch, 3);
    store_commit(store, &batch, on_error, &later); /* the disk would take it again */
    cr_assert_eq(commit_number(store, 4), PPN_ERROR_IO);
    while (later == PPN_OK)
        os_loop_turn(loop);
    cr_assert_eq(later, PPN_ERROR_IO);
    store_close(store);
    store = open_store(loop);
    cr_assert_eq(last_write(store), 1);
    check_content(store, 1);
    store_close(store);
}

Test(crash, no_space_fails_the_batch_and_nothing_else)
{
    struct store *store = open_store(loop);
    cr_assert_eq(commit_number(store, 1), PPN_OK);
    fault = (struct fault){
        .armed = true, .kind = FAULT_ERROR, .at = 1, .number = ENOSPC, .for_ever = true};
    cr_assert_eq(commit_number(store, 2), PPN_ERROR_NO_SPACE);
    cr_assert_eq(commit_number(store, 3), PPN_ERROR_NO_SPACE);
    fault.armed = false;
    check_content(store, 1);
    cr_assert_eq(commit_number(store, 2), PPN_OK);
    check_content(store, 2);
    cr_assert_eq(store_stats(store).no_space, 2);
    store_close(store);
    store = open_store(loop);
    check_content(store, 2);
    store_close(store);
}

/* A full map: the limit given at opening. A large batch does not take small ones with it. */
Test(crash, a_full_map_is_no_space_too)
{
    struct store *store;
    struct ppn_failure failure;
    struct store_config config = {.directory = directory, .durable_max_bytes = 512 * 1024};
    static uint8_t big[400 * 1024];
    enum ppn_error errors[3] = {PPN_ERROR_COUNT, PPN_ERROR_COUNT, PPN_ERROR_COUNT};
    cr_assert_eq(store_open(loop, &config, &store, &failure), PPN_OK, "%s", failure.text);
    for (int i = 0; i < 3; i++) {
        struct store_batch batch;
        make_write(&batch, i == 0 ? 1 : 2);
        if (i == 1) {
            store_batch_free(&batch);
            store_batch_put(&batch, STORE_VMS, ppn_slice("x", 1), ppn_slice(big, sizeof big));
            store_batch_put(&batch, STORE_VMS, ppn_slice("y", 1), ppn_slice(big, sizeof big));
        }
        store_commit(store, &batch, on_error, &errors[i]);
    }
    while (errors[2] == PPN_ERROR_COUNT)
        os_loop_turn(loop);
    cr_assert_eq(errors[0], PPN_OK);
    cr_assert_eq(errors[1], PPN_ERROR_NO_SPACE);
    cr_assert_eq(errors[2], PPN_OK);
    check_content(store, 2);
    store_close(store);
}

static void fill_disk(const char *path, bool remove)
{
    static const uint8_t zeros[4096];
    char name[96];
    snprintf(name, sizeof name, "%s/filler", path);
    if (remove) {
        cr_assert_eq(unlink(name), 0);
        return;
    }
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        continue;
    close(fd);
}

Test(crash, a_disk_that_is_really_full)
{
    if (!os_process_is_root() || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=2m") != 0)
        cr_skip_test("needs root and mount namespaces for a small file system");
    struct store *store = open_store(loop);
    uint32_t n = 0;
    for (uint32_t i = 1; i <= 10; i++, n++)
        cr_assert_eq(commit_number(store, i), PPN_OK);
    fill_disk(directory, false);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 200; i++) {
        enum ppn_error error = commit_number(store, n + 1);
        cr_assert(error == PPN_OK || error == PPN_ERROR_NO_SPACE, "%s", ppn_error_name(error));
        n += error == PPN_OK;
        refused += error != PPN_OK;
        check_content(store, n);
        cr_assert_eq(last_write(store), n);
    }
    cr_assert_str_empty(fatal_text);
    fill_disk(directory, true);
    for (uint32_t i = 0; i < 10; i++, n++)
        cr_assert_eq(commit_number(store, n + 1), PPN_OK);
    store_close(store);
    store = open_store(loop);
    check_content(store, n);
    store_close(store);
    cr_assert_gt(refused, 0);
    cr_assert_eq(umount(directory), 0);
}
