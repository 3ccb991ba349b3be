// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "os/os_file.h"
#include "os/os_process.h"
#include "store/store.h"

static char directory[64];
static struct os_loop *loop;
static uint32_t files;
static char fatal_text[PPN_FAILURE_TEXT_MAX];

static void start(void)
{
    files = os_process_open_files();
    snprintf(directory, sizeof directory, "/tmp/ppn-store-test-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    cr_assert_eq(os_loop_open(&loop, NULL), PPN_OK);
}

static void stop(void)
{
    os_loop_close(loop);
    cr_assert_eq(os_directory_remove("/tmp", directory + 5, NULL), PPN_OK);
    cr_assert_eq(os_process_open_files(), files, "descriptors leaked");
}

TestSuite(store, .init = start, .fini = stop);

static void on_fatal(void *context, const char *text)
{
    (void)context;
    snprintf(fatal_text, sizeof fatal_text, "%s", text);
}

static enum ppn_error try_open(const char *path, uint64_t max, struct store **store,
                               struct ppn_failure *failure)
{
    struct store_config config = {
        .directory = path, .durable_max_bytes = max, .on_fatal = on_fatal};
    return store_open(loop, &config, store, failure);
}

static struct store *open_store(void)
{
    struct store *store;
    struct ppn_failure failure;
    cr_assert_eq(try_open(directory, 0, &store, &failure), PPN_OK, "%s", failure.text);
    return store;
}

static struct ppn_slice text(const char *string)
{
    return ppn_slice(string, strlen(string));
}

static enum ppn_error put(struct store *store, enum store_table table, const char *key,
                          struct ppn_slice value)
{
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, table, text(key), value);
    return store_commit_sync(store, &batch);
}

static void expect(struct store *store, enum store_table table, const char *key, const char *value)
{
    char buffer[256];
    size_t size;
    cr_assert_eq(store_get_copy(store, table, text(key), buffer, sizeof buffer, &size), PPN_OK,
                 "%s", key);
    cr_assert_eq(size, strlen(value));
    cr_assert_eq(memcmp(buffer, value, size), 0);
}

static enum ppn_error get(struct store *store, enum store_table table, const char *key)
{
    char buffer[256];
    size_t size;
    return store_get_copy(store, table, text(key), buffer, sizeof buffer, &size);
}

/* What a batch's callback saw: the order, and the error of each. */
struct calls {
    uint32_t count, next_id;
    enum ppn_error errors[64];
};

struct call {
    struct calls *calls;
    uint32_t id;
};

static void on_done(void *context, enum ppn_error error)
{
    struct call *call = context;
    cr_assert_eq(call->id, call->calls->next_id, "callbacks in the order of submission");
    call->calls->next_id++;
    call->calls->errors[call->calls->count++] = error;
}

Test(store, committed_values_survive_and_deleted_ones_do_not)
{
    struct store *store = open_store();
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, text("a"), text("1"));
    store_batch_put(&batch, STORE_META, text("b"), text(""));
    store_batch_put(&batch, STORE_LOG, text("a"), text("2"));
    store_batch_put(&batch, STORE_META, text("a"), text("3"));
    store_batch_delete(&batch, STORE_META, text("never"));
    cr_assert_eq(store_commit_sync(store, &batch), PPN_OK);
    cr_assert_eq(batch.count, 0);
    store_batch_put(&batch, STORE_VMS, text("v"), text("x"));
    store_batch_delete(&batch, STORE_VMS, text("v"));
    cr_assert_eq(store_commit_sync(store, &batch), PPN_OK);
    for (int i = 0; i < 2; i++) {
        expect(store, STORE_META, "a", "3");
        expect(store, STORE_META, "b", "");
        expect(store, STORE_LOG, "a", "2");
        cr_assert_eq(get(store, STORE_VMS, "v"), PPN_ERROR_NOT_FOUND);
        cr_assert_eq(get(store, STORE_META, ""), PPN_ERROR_NOT_FOUND);
        store_close(store);
        store = open_store();
    }
    store_close(store);
}

Test(store, callbacks_come_in_order_and_never_inside_the_call)
{
    struct store *store = open_store();
    struct calls calls = {0};
    struct call call[64];
    static uint8_t big[STORE_VALUE_MAX + 1];
    for (uint32_t i = 0; i < 64; i++) {
        struct store_batch batch;
        char key[16];
        snprintf(key, sizeof key, "%02u", i);
        call[i] = (struct call){&calls, i};
        store_batch_init(&batch);
        if (i == 10)
            store_batch_put(&batch, STORE_LOG, text(key), ppn_slice(big, sizeof big));
        else if (i == 20)
            store_batch_put(&batch, STORE_LOG, text(""), text("no key"));
        else if (i != 30) /* an empty one */
            store_batch_put(&batch, STORE_LOG, text(key), text("v"));
        store_commit(store, &batch, on_done, &call[i]);
        cr_assert_eq(calls.count, 0);
    }
    while (calls.count < 64)
        os_loop_turn(loop);
    for (uint32_t i = 0; i < 64; i++)
        cr_assert_eq(calls.errors[i], i == 10   ? PPN_ERROR_TOO_BIG
                                      : i == 20 ? PPN_ERROR_INVALID
                                                : PPN_OK);
    cr_assert_lt(store_stats(store).syncs, 64, "waiting batches share a sync");
    expect(store, STORE_LOG, "63", "v");
    cr_assert_eq(get(store, STORE_LOG, "10"), PPN_ERROR_NOT_FOUND);
    store_close(store);
}

Test(store, closing_commits_what_waits_and_tells)
{
    struct store *store = open_store();
    struct calls calls = {0};
    struct call call = {&calls, 0};
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, text("k"), text("v"));
    store_commit(store, &batch, on_done, &call);
    store_view_put(store, STORE_VIEW_PATHS, text("p"), text("w"));
    store_close(store);
    cr_assert_eq(calls.count, 1);
    cr_assert_eq(calls.errors[0], PPN_OK);
    store = open_store();
    expect(store, STORE_META, "k", "v");
    expect(store, STORE_VIEW_PATHS, "p", "w");
    store_close(store);
}

Test(store, the_queue_has_a_bound)
{
    struct store *store = open_store();
    struct calls calls = {0};
    struct call call[64];
    static uint8_t big[STORE_VALUE_MAX];
    uint32_t busy = 0;
    for (uint32_t i = 0; i < 64; i++) {
        struct store_batch batch;
        store_batch_init(&batch);
        call[i] = (struct call){&calls, i};
        for (int j = 0; j < 3; j++)
            store_batch_put(&batch, STORE_LOG, text("k"), ppn_slice(big, sizeof big));
        cr_assert_eq(batch.error, PPN_OK);
        store_commit(store, &batch, on_done, &call[i]);
        cr_assert_leq(store_stats(store).queued_bytes, STORE_QUEUE_MAX);
    }
    while (calls.count < 64)
        os_loop_turn(loop);
    for (uint32_t i = 0; i < 64; i++) {
        cr_assert(calls.errors[i] == PPN_OK || calls.errors[i] == PPN_ERROR_BUSY);
        busy += calls.errors[i] == PPN_ERROR_BUSY;
    }
    cr_assert_eq(store_stats(store).queued_bytes, 0);
    cr_assert_lt(busy, 64);
    store_close(store);
}

struct scanned {
    struct store *store;
    char keys[256];
    uint32_t count, damaged, stop_after, depth;
};

static bool on_scan(void *context, struct ppn_slice key, struct ppn_slice value,
                    enum ppn_error error)
{
    struct scanned *scanned = context;
    strncat(scanned->keys, (const char *)key.data, key.size);
    strcat(scanned->keys, " ");
    scanned->damaged += error == PPN_ERROR_CORRUPT && value.size == 0;
    scanned->count++;
    return scanned->count != scanned->stop_after;
}

static struct scanned scan(struct store *store, enum store_table table, const char *prefix,
                           uint32_t stop_after)
{
    struct scanned scanned = {.stop_after = stop_after};
    cr_assert_eq(store_scan(store, table, text(prefix), on_scan, &scanned), PPN_OK);
    return scanned;
}

Test(store, scans_by_prefix_in_order)
{
    struct store *store = open_store();
    static const char *const keys[] = {"b", "a1", "a", "a2", "ab", "B", "c"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        cr_assert_eq(put(store, STORE_EVENTS, keys[i], text("v")), PPN_OK);
    cr_assert_str_eq(scan(store, STORE_EVENTS, "", 0).keys, "B a a1 a2 ab b c ");
    cr_assert_str_eq(scan(store, STORE_EVENTS, "a", 0).keys, "a a1 a2 ab ");
    cr_assert_str_eq(scan(store, STORE_EVENTS, "a", 2).keys, "a a1 ");
    cr_assert_str_eq(scan(store, STORE_EVENTS, "x", 0).keys, "");
    cr_assert_str_eq(scan(store, STORE_LOG, "", 0).keys, "");
    store_close(store);
}

static bool scan_deeper(void *context, struct ppn_slice key, struct ppn_slice value,
                        enum ppn_error error)
{
    struct scanned *scanned = context;
    (void)key;
    (void)value;
    (void)error;
    scanned->depth++;
    enum ppn_error result = store_scan(scanned->store, STORE_META, text(""), scan_deeper, scanned);
    cr_assert(result == PPN_OK || result == PPN_ERROR_BUSY);
    return true;
}

Test(store, reads_nest_up_to_their_bound)
{
    struct store *store = open_store();
    struct scanned scanned = {.store = store};
    cr_assert_eq(put(store, STORE_META, "k", text("v")), PPN_OK);
    cr_assert_eq(store_scan(store, STORE_META, text(""), scan_deeper, &scanned), PPN_OK);
    cr_assert_eq(scanned.depth, STORE_READS_MAX);
    store_close(store);
}

Test(store, one_process_owns_the_directory)
{
    struct store *store = open_store(), *second;
    struct ppn_failure failure;
    cr_assert_eq(try_open(directory, 0, &second, &failure), PPN_ERROR_BUSY);
    cr_assert(strstr(failure.text, "another daemon runs") != NULL);
    store_close(store);
}

/* Changes bytes of a file where they follow a marker; returns how many places. */
static int damage(const char *name, const char *marker, off_t cut_to)
{
    char path[128];
    struct stat info;
    int places = 0;
    snprintf(path, sizeof path, "%s/%s/data.mdb", directory, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &info), 0);
    uint8_t *bytes = malloc((size_t)info.st_size);
    cr_assert_eq(pread(fd, bytes, (size_t)info.st_size, 0), info.st_size);
    for (size_t i = 0; marker && i + strlen(marker) < (size_t)info.st_size; i++)
        if (memcmp(bytes + i, marker, strlen(marker)) == 0) {
            bytes[i] ^= 1;
            places++;
        }
    cr_assert_eq(pwrite(fd, bytes, (size_t)info.st_size, 0), info.st_size);
    if (cut_to >= 0)
        cr_assert_eq(ftruncate(fd, cut_to), 0);
    free(bytes);
    close(fd);
    return places;
}

Test(store, a_damaged_value_is_reported_and_the_rest_is_shown)
{
    struct store *store = open_store();
    cr_assert_eq(put(store, STORE_LOG, "a", text("good")), PPN_OK);
    cr_assert_eq(put(store, STORE_LOG, "b", text("MARKED-VALUE")), PPN_OK);
    cr_assert_eq(put(store, STORE_LOG, "c", text("good")), PPN_OK);
    store_close(store);
    cr_assert_geq(damage("durable", "MARKED-VALUE", -1), 1);
    store = open_store();
    cr_assert_eq(get(store, STORE_LOG, "b"), PPN_ERROR_CORRUPT);
    expect(store, STORE_LOG, "a", "good");
    struct scanned scanned = scan(store, STORE_LOG, "", 0);
    cr_assert_str_eq(scanned.keys, "a b c ");
    cr_assert_eq(scanned.damaged, 1);
    cr_assert_eq(store_stats(store).corrupt, 2);
    cr_assert_eq(put(store, STORE_LOG, "b", text("new")), PPN_OK);
    expect(store, STORE_LOG, "b", "new");
    store_close(store);
}

static void fill(struct store *store, int count)
{
    static uint8_t value[1500];
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%04d", i);
        cr_assert_eq(put(store, STORE_LOG, key, ppn_slice(value, sizeof value)), PPN_OK);
        store_view_put(store, STORE_VIEW_VMS, text(key), ppn_slice(value, sizeof value));
    }
}

/* At every page a file may be cut: an error or the whole content, never a signal. */
Test(store, a_cut_file_is_an_error_and_never_a_crash)
{
    char path[128];
    uint8_t *good;
    size_t size;
    uint32_t refused = 0;
    struct store *store = open_store();
    fill(store, 20);
    store_close(store);
    snprintf(path, sizeof path, "%s/durable/data.mdb", directory);
    cr_assert_eq(os_file_read(path, 1 << 24, &good, &size, NULL), PPN_OK);
    for (size_t cut = 100; cut < size; cut += 4096) {
        struct ppn_failure failure;
        cr_assert_eq(os_file_replace(path, ppn_slice(good, cut), 0600, NULL), PPN_OK);
        enum ppn_error error = try_open(directory, 0, &store, &failure);
        cr_assert(error == PPN_OK || error == PPN_ERROR_CORRUPT, "%s", failure.text);
        refused += error != PPN_OK;
        if (error != PPN_OK)
            continue;
        cr_assert_eq(scan(store, STORE_LOG, "", 0).count, 20);
        cr_assert_eq(put(store, STORE_LOG, "0000", text("again")), PPN_OK);
        store_close(store);
    }
    cr_assert_gt(refused, 0);
    free(good);
}

/* Random damage anywhere in the file: an error, or a store that works. Values that were hit may be
 * reported as such; none is ever returned wrong. */
static bool expect_zeros(void *context, struct ppn_slice key, struct ppn_slice value,
                         enum ppn_error error)
{
    (void)context;
    (void)key;
    for (size_t i = 0; error == PPN_OK && i < value.size; i++)
        cr_assert_eq(value.data[i], 0);
    return true;
}

Test(store, random_damage_never_crashes_nor_lies)
{
    char path[128];
    uint8_t *good, *bad;
    size_t size;
    struct ppn_random random;
    uint32_t refused = 0, rounds = 150;
    struct store *store = open_store();
    fill(store, 40);
    store_close(store);
    snprintf(path, sizeof path, "%s/durable/data.mdb", directory);
    cr_assert_eq(os_file_read(path, 1 << 24, &good, &size, NULL), PPN_OK);
    bad = malloc(size);
    ppn_random_init(&random, 7);
    for (uint32_t round = 0; round < rounds; round++) {
        struct ppn_failure failure;
        memcpy(bad, good, size);
        /* Mostly in the page headers, where it hurts. */
        for (int i = 0; i < 4; i++) {
            size_t page = ppn_random_below(&random, size / 4096) * 4096;
            size_t at =
                page + ppn_random_below(&random, ppn_random_chance(&random, 700000) ? 64 : 4096);
            bad[at] ^= (uint8_t)(1 + ppn_random_below(&random, 255));
        }
        cr_assert_eq(os_file_replace(path, ppn_slice(bad, size), 0600, NULL), PPN_OK);
        enum ppn_error error = try_open(directory, 0, &store, &failure);
        cr_assert(error == PPN_OK || error == PPN_ERROR_CORRUPT, "%s", failure.text);
        refused += error != PPN_OK;
        if (error != PPN_OK)
            continue;
        error = store_scan(store, STORE_LOG, text(""), expect_zeros, NULL);
        cr_assert(error == PPN_OK || error == PPN_ERROR_CORRUPT);
        store_close(store);
    }
    cr_assert_gt(refused, rounds / 10);
    free(good);
    free(bad);
}

Test(store, garbage_is_an_error_for_promises_and_a_new_start_for_the_view)
{
    struct store *store = open_store();
    struct ppn_failure failure;
    fill(store, 20);
    store_close(store);
    char path[128];
    uint8_t *good;
    size_t size;
    snprintf(path, sizeof path, "%s/durable/data.mdb", directory);
    cr_assert_eq(os_file_read(path, 1 << 24, &good, &size, NULL), PPN_OK);
    static const uint8_t garbage[20000] = {1, 2, 3};
    cr_assert_eq(os_file_replace(path, ppn_slice(garbage, sizeof garbage), 0600, NULL), PPN_OK);
    cr_assert_eq(try_open(directory, 0, &store, &failure), PPN_ERROR_CORRUPT);
    cr_assert(strstr(failure.text, path) != NULL, "%s", failure.text);
    cr_assert_eq(os_file_replace(path, ppn_slice(good, size), 0600, NULL), PPN_OK);
    free(good);
    damage("view", NULL, 5000);
    store = open_store();
    cr_assert_eq(scan(store, STORE_VIEW_VMS, "", 0).count, 0);
    cr_assert_eq(store_stats(store).corrupt, 0);
    cr_assert_eq(scan(store, STORE_LOG, "", 0).count, 20);
    store_close(store);
}
