// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image_fetch.h"
#include "image/image_format.h"

enum { FILE_BYTES = 1 << 20, CLUSTER = 65536 };

static uint8_t header[IMAGE_HEADER_MAX];
static struct image_facts facts;
static struct ppn_failure failure;

static void put32(size_t at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        header[at + (size_t)i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put64(size_t at, uint64_t value)
{
    put32(at, (uint32_t)(value >> 32));
    put32(at + 4, (uint32_t)value);
}

/* What qemu-img makes of 64 MiB. */
static void good(void)
{
    memset(header, 0, sizeof(header));
    memcpy(header, "QFI\xfb", 4);
    put32(4, 3);
    put32(20, 16);
    put64(24, 64 << 20);
    put32(36, 1);
    put64(40, 3 * CLUSTER);
    put64(48, CLUSTER);
    put32(56, 1);
    put32(96, 4);
    put32(100, 112);
}

static enum ppn_error inspect(void)
{
    failure.text[0] = 0;
    return image_inspect(ppn_slice(header, sizeof(header)), FILE_BYTES, &facts, &failure);
}

Test(format, a_good_one)
{
    good();
    cr_assert_eq(inspect(), PPN_OK, "%s", failure.text);
    cr_expect_eq(facts.format, IMAGE_QCOW2);
    cr_expect_eq(facts.virtual_bytes, 64 << 20);
    cr_expect_eq(facts.file_bytes, FILE_BYTES);
}

Test(format, hostile_fields)
{
    static const struct {
        size_t at;
        uint64_t value;
        bool wide;
        const char *what;
    } table[] = {
        {8, 200, true, "backing file"},
        {16, 10, false, "backing file's name"},
        {32, 1, false, "encrypted"},
        {60, 1, false, "snapshots"},
        {4, 1, false, "version"},
        {4, 4, false, "version"},
        {20, 8, false, "clusters too small"},
        {20, 22, false, "clusters too big"},
        {20, UINT32_MAX, false, "clusters absurd"},
        {24, 0, true, "no disk"},
        {24, UINT64_MAX, true, "absurd disk"},
        {24, (uint64_t)1 << 43, true, "8 TiB"},
        {36, 0, false, "no table"},
        {40, 3 * CLUSTER + 1, true, "table not aligned"},
        {40, UINT64_MAX - 65535, true, "table outside"},
        {48, 16 * CLUSTER, true, "refcounts outside"},
        {72, 1, true, "dirty"},
        {72, 2, true, "corrupt"},
        {72, 4, true, "data file"},
        {72, (uint64_t)1 << 40, true, "unknown feature"},
        {100, 8, false, "header too short"},
        {100, UINT32_MAX, false, "header too long"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        good();
        if (i == 12)
            put64(24, (uint64_t)10 << 30); /* needs more than one entry */
        if (table[i].wide)
            put64(table[i].at, table[i].value);
        else
            put32(table[i].at, (uint32_t)table[i].value);
        cr_expect_neq(inspect(), PPN_OK, "%s", table[i].what);
        cr_expect_str_not_empty(failure.text, "%s", table[i].what);
    }
}

Test(format, data_file_extension_without_its_flag)
{
    good();
    put32(112, 0x44415441);
    put32(116, 5);
    cr_expect_eq(inspect(), PPN_ERROR_INVALID);
}

Test(format, truncated)
{
    good();
    for (size_t size = 0; size < 104; size++)
        cr_expect_neq(image_inspect(ppn_slice(header, size), size, &facts, &failure), PPN_OK);
}

Test(format, every_byte_of_the_header_changed)
{
    for (size_t at = 0; at < 120; at++)
        for (int value = 0; value < 256; value++) {
            good();
            header[at] = (uint8_t)value;
            if (inspect() == PPN_OK)
                cr_assert(facts.virtual_bytes > 0 && facts.virtual_bytes <= IMAGE_VIRTUAL_MAX);
        }
}

Test(format, raw_and_foreign)
{
    memset(header, 0, sizeof(header));
    cr_assert_eq(inspect(), PPN_OK);
    cr_expect_eq(facts.format, IMAGE_RAW);
    cr_expect_eq(facts.virtual_bytes, FILE_BYTES);
    cr_expect_eq(image_inspect(ppn_slice(header, 1000), 1000, &facts, &failure), PPN_ERROR_INVALID);
    memcpy(header, "KDMV", 4);
    cr_expect_eq(inspect(), PPN_ERROR_INVALID);
    memcpy(header, "\x1f\x8b\x08\x00", 4);
    cr_expect_eq(inspect(), PPN_ERROR_INVALID);
    cr_expect(strstr(failure.text, "gzip"));
}

/* A fetch against peers that are arrays. */

static struct image_fetch fetch;
static struct image_fetch_updates updates;
static struct ppn_instant now;

static struct ppn_node_id peer(uint8_t number)
{
    struct ppn_node_id id = {{number}};
    return id;
}

static void begin(uint64_t file_bytes, uint64_t have, uint32_t peers)
{
    struct image_fetch_config config = {
        .file_bytes = file_bytes, .have_bytes = have, .peer_count = peers};
    for (uint32_t i = 0; i < peers; i++)
        config.peers[i] = peer((uint8_t)(i + 1));
    now = (struct ppn_instant){0};
    image_fetch_init(&fetch, &config, now, &updates);
}

static enum ppn_error event(enum image_fetch_event_kind kind, uint8_t from, uint64_t offset,
                            uint32_t length, uint64_t size)
{
    struct image_fetch_event e = {kind, peer(from), offset, length, size};
    return image_fetch_step(&fetch, now, &e, &updates);
}

static uint32_t count(enum image_fetch_update_kind kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < updates.count; i++)
        n += updates.list[i].kind == kind;
    return n;
}

Test(fetch, whole_file_in_order)
{
    const uint64_t size = 40 * (uint64_t)IMAGE_CHUNK + 77;
    uint64_t asked[64], written = 0;
    uint32_t head = 0, tail = 0;
    begin(0, 0, 1);
    cr_assert_eq(count(IMAGE_FETCH_ASK), 1, "the size is not known yet");
    for (;;) {
        for (uint32_t i = 0; i < updates.count; i++) {
            if (updates.list[i].kind == IMAGE_FETCH_ASK)
                asked[tail++ % 64] = updates.list[i].offset;
            if (updates.list[i].kind == IMAGE_FETCH_WRITE)
                written += updates.list[i].length;
        }
        cr_assert_leq(tail - head, IMAGE_WINDOW);
        if (head == tail)
            break;
        uint64_t offset = asked[head++ % 64];
        uint64_t left = size - offset;
        cr_assert_eq(event(IMAGE_FETCH_DATA, 1, offset,
                           left < IMAGE_CHUNK ? (uint32_t)left : IMAGE_CHUNK, size),
                     PPN_OK);
    }
    cr_expect_eq(written, size);
    cr_assert_eq(count(IMAGE_FETCH_VERIFY), 1);
    cr_assert_eq(event(IMAGE_FETCH_VERIFIED, 0, 0, 0, 0), PPN_OK);
    cr_expect_eq(count(IMAGE_FETCH_DONE), 1);
    cr_expect_eq(image_fetch_deadline(&fetch).ns, PPN_NEVER.ns);
}

Test(fetch, chunks_in_any_order)
{
    const uint64_t size = 4 * (uint64_t)IMAGE_CHUNK;
    static const int order[] = {3, 1, 0, 2};
    begin(size, 0, 1);
    cr_assert_eq(count(IMAGE_FETCH_ASK), 4);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(
            event(IMAGE_FETCH_DATA, 1, (uint64_t)order[i] * IMAGE_CHUNK, IMAGE_CHUNK, size),
            PPN_OK);
    cr_expect_eq(count(IMAGE_FETCH_VERIFY), 1);
}

Test(fetch, resumes_where_the_partial_file_ends)
{
    begin(4 * (uint64_t)IMAGE_CHUNK, 3 * (uint64_t)IMAGE_CHUNK, 1);
    cr_assert_eq(count(IMAGE_FETCH_ASK), 1);
    cr_expect_eq(updates.list[0].offset, 3 * (uint64_t)IMAGE_CHUNK);
    begin(100, 100, 1);
    cr_expect_eq(count(IMAGE_FETCH_VERIFY), 1);
    begin(100, 101, 1);
    cr_expect_eq(count(IMAGE_FETCH_RESET), 1);
    cr_expect_eq(count(IMAGE_FETCH_ASK), 1);
    cr_expect_eq(event(IMAGE_FETCH_DATA, 1, 0, 100, 100), PPN_OK);
    cr_expect_eq(count(IMAGE_FETCH_VERIFY), 1);
}

Test(fetch, silent_peer_is_passed_over)
{
    begin(2 * (uint64_t)IMAGE_CHUNK, 0, 2);
    cr_assert_eq(event(IMAGE_FETCH_DATA, 1, 0, IMAGE_CHUNK, 2 * (uint64_t)IMAGE_CHUNK), PPN_OK);
    now = image_fetch_deadline(&fetch);
    cr_assert_eq(event(IMAGE_FETCH_TIME, 0, 0, 0, 0), PPN_OK);
    cr_assert_eq(count(IMAGE_FETCH_ASK), 1);
    cr_expect_eq(updates.list[0].offset, IMAGE_CHUNK, "what is written stays");
    cr_expect_eq(updates.list[0].peer.bytes[0], 2);
    cr_assert_eq(event(IMAGE_FETCH_DATA, 1, IMAGE_CHUNK, IMAGE_CHUNK, 2 * (uint64_t)IMAGE_CHUNK),
                 PPN_OK);
    cr_expect_eq(updates.count, 0, "a late answer of the first");
    now = image_fetch_deadline(&fetch);
    cr_assert_eq(event(IMAGE_FETCH_TIME, 0, 0, 0, 0), PPN_OK);
    cr_expect_eq(count(IMAGE_FETCH_FAILED), 1);
}

Test(fetch, corrupt_bytes_cost_only_time)
{
    const uint64_t size = IMAGE_CHUNK;
    uint32_t tries = 0;
    begin(size, 0, 3);
    while (count(IMAGE_FETCH_FAILED) == 0) {
        cr_assert_eq(count(IMAGE_FETCH_ASK), 1);
        uint8_t from = updates.list[updates.count - 1].peer.bytes[0];
        cr_assert_eq(event(IMAGE_FETCH_DATA, from, 0, IMAGE_CHUNK, size), PPN_OK);
        cr_assert_eq(count(IMAGE_FETCH_VERIFY), 1);
        cr_assert_eq(event(IMAGE_FETCH_CORRUPT, 0, 0, 0, 0), PPN_OK);
        cr_assert_eq(count(IMAGE_FETCH_RESET), 1);
        cr_assert_lt(++tries, 10);
    }
    cr_expect_geq(tries, 3);
}

Test(fetch, lies)
{
    const uint64_t size = 4 * (uint64_t)IMAGE_CHUNK;
    static const struct {
        uint64_t offset;
        uint32_t length;
        uint64_t size;
    } lies[] = {
        {0, IMAGE_CHUNK - 1, 4 * (uint64_t)IMAGE_CHUNK},
        {1, IMAGE_CHUNK, 4 * (uint64_t)IMAGE_CHUNK},
        {0, IMAGE_CHUNK, 5 * (uint64_t)IMAGE_CHUNK},
        {0, IMAGE_CHUNK, 0},
        {99 * (uint64_t)IMAGE_CHUNK, IMAGE_CHUNK, 4 * (uint64_t)IMAGE_CHUNK},
        {UINT64_MAX, IMAGE_CHUNK, 4 * (uint64_t)IMAGE_CHUNK},
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        begin(size, 0, 2);
        cr_expect_eq(event(IMAGE_FETCH_DATA, 1, lies[i].offset, lies[i].length, lies[i].size),
                     PPN_ERROR_INVALID, "%zu", i);
        cr_expect_eq(updates.list[0].peer.bytes[0], 2, "%zu", i);
    }
}

Test(fetch, nobody_has_it)
{
    begin(0, 0, 0);
    cr_assert_eq(count(IMAGE_FETCH_FAILED), 1);
    begin(0, 0, 1);
    cr_assert_eq(event(IMAGE_FETCH_REFUSED, 1, 0, 0, 0), PPN_OK);
    cr_assert_eq(count(IMAGE_FETCH_FAILED), 1);
    cr_expect_str_not_empty(updates.list[0].failure.text);
}
