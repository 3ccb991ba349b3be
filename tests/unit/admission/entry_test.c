// SPDX-License-Identifier: ISC
#include "fixture.h"

#include <string.h>

#include "admission/entry.h"

static struct admission_entry sample(void)
{
    struct admission_entry entry = {.version = 1,
                                    .kind = ADMISSION_ADMIT,
                                    .seq = 300,
                                    .parent_count = 2,
                                    .seal = 70000,
                                    .time_unix_ms = 1700000000000};
    memset(entry.network.bytes, 1, PPN_HASH_SIZE);
    memset(entry.author.bytes, 2, ADMISSION_KEY_SIZE);
    memset(entry.prev.bytes, 3, PPN_HASH_SIZE);
    memset(entry.parents[0].bytes, 4, PPN_HASH_SIZE);
    memset(entry.parents[1].bytes, 5, PPN_HASH_SIZE);
    memset(entry.as.admit.node.bytes, 6, PPN_ID_SIZE);
    memset(entry.as.admit.wg_key, 7, ADMISSION_WG_KEY_SIZE);
    strcpy(entry.as.admit.name, "laptop");
    entry.as.admit.labels.count = 1;
    strcpy(entry.as.admit.labels.items[0].key, "room");
    strcpy(entry.as.admit.labels.items[0].value, "2.14");
    return entry;
}

Test(entry, bytes_round_trip_and_every_other_spelling_is_refused)
{
    struct admission_entry entry = sample(), back;
    uint8_t bytes[ADMISSION_BODY_MAX], copy[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes), again = ppn_writer(copy, sizeof copy);
    cr_assert_eq(admission_body_encode(&entry, &body), PPN_OK);
    cr_assert_eq(admission_body_decode(ppn_written(&body), &back), PPN_OK);
    cr_assert_eq(admission_body_encode(&back, &again), PPN_OK);
    cr_assert(ppn_slice_equal(ppn_written(&body), ppn_written(&again)));
    for (size_t cut = 0; cut < body.size; cut++)
        cr_assert_neq(admission_body_decode(ppn_slice(bytes, cut), &back), PPN_OK);
    for (size_t at = 0; at < body.size; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            again = ppn_writer(copy, sizeof copy);
            if (admission_body_decode(ppn_written(&body), &back) == PPN_OK) {
                cr_assert_eq(admission_body_encode(&back, &again), PPN_OK);
                cr_assert(ppn_slice_equal(ppn_written(&body), ppn_written(&again)),
                          "two spellings of one entry: byte %zu bit %u", at, bit);
            }
            bytes[at] ^= (uint8_t)(1u << bit);
        }
    }
}

Test(entry, shapes_out_of_range_are_refused)
{
    static const char *const why[] = {
        "name",  "parents out of order", "no parent", "zero node", "roles",
        "seq 0", "label order",          "time"};
    for (size_t i = 0; i < sizeof why / sizeof why[0]; i++) {
        struct admission_entry entry = sample();
        uint8_t bytes[ADMISSION_BODY_MAX];
        struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
        if (i == 0)
            strcpy(entry.as.admit.name, "Not-A-Name");
        if (i == 1)
            entry.parents[0] = entry.parents[1];
        if (i == 2)
            entry.parent_count = 0;
        if (i == 3)
            memset(&entry.as.admit.node, 0, sizeof entry.as.admit.node);
        if (i == 4)
            entry.as.admit.roles = 2;
        if (i == 5)
            entry.seq = 0;
        if (i == 6) {
            entry.as.admit.labels.count = 2;
            entry.as.admit.labels.items[1] = entry.as.admit.labels.items[0];
        }
        if (i == 7)
            entry.time_unix_ms = -1;
        cr_assert_neq(admission_body_encode(&entry, &body), PPN_OK, "%s", why[i]);
    }
}

Test(entry, an_unknown_kind_or_version_is_told_from_garbage)
{
    struct admission_entry entry = sample(), back;
    uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    cr_assert_eq(admission_body_encode(&entry, &body), PPN_OK);
    cr_assert_eq(bytes[0], 0x9b);
    cr_assert_eq(bytes[1], 1);
    bytes[1] = 2;
    cr_assert_eq(admission_body_decode(ppn_written(&body), &back), PPN_ERROR_VERSION);
    bytes[1] = 1;
    cr_assert_eq(bytes[36], ADMISSION_ADMIT);
    bytes[36] = 99;
    cr_assert_eq(admission_body_decode(ppn_written(&body), &back), PPN_ERROR_VERSION);
}
