// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/name.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/time.h"

Test(base_error, every_code_has_text_and_name)
{
    for (int i = 0; i < PPN_ERROR_COUNT; i++)
        cr_assert(ppn_error_text((enum ppn_error)i)[0] != '\0');
    cr_assert_str_eq(ppn_error_name(PPN_ERROR_NO_SPACE), "no_space");
    cr_assert_str_eq(ppn_error_name((enum ppn_error)999), "unknown");
}

Test(base_error, failure_text_is_cut_not_overrun)
{
    struct ppn_failure failure;
    char longer[2 * PPN_FAILURE_TEXT_MAX];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    cr_assert(ppn_fail(&failure, PPN_ERROR_FULL, "%s", longer) == PPN_ERROR_FULL);
    cr_assert(strlen(failure.text) == PPN_FAILURE_TEXT_MAX - 1);
}

Test(base_time, never_stays_never)
{
    cr_assert(ppn_after(PPN_NEVER, ppn_seconds(1)).ns == INT64_MAX);
    cr_assert(ppn_after((struct ppn_instant){INT64_MAX - 1}, ppn_seconds(1)).ns == INT64_MAX);
    cr_assert(ppn_due((struct ppn_instant){5}, (struct ppn_instant){5}));
}

Test(base_hash, siphash_reference_vectors)
{
    /* Key 00..0f, messages of growing length; from the appendix of the SipHash paper. */
    struct ppn_hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t message[15];
    for (uint8_t i = 0; i < 15; i++)
        message[i] = i;
    cr_assert(ppn_hash64(key, ppn_slice(message, 15)) == 0xa129ca6149be45e5);
    cr_assert(ppn_hash64(key, ppn_slice(message, 0)) == 0x726fdb47dd0e0e31);
}

Test(base_random, same_seed_same_numbers_and_bounds_hold)
{
    struct ppn_random a, b;
    ppn_random_init(&a, 7);
    ppn_random_init(&b, 7);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = ppn_random_below(&a, 10);
        cr_assert(x < 10 && x == ppn_random_below(&b, 10));
    }
    ppn_random_init(&a, 1);
    cr_assert(ppn_random_u64(&a) == 0xb3f2af6d0fc710c5);
}

Test(base_id, request_id_round_trip_and_time)
{
    uint8_t noise[10] = {0xff, 1, 0xff, 3, 4, 5, 6, 7, 8, 9};
    struct ppn_request_id id = ppn_request_id_make(1790000000123, noise), back;
    char text[PPN_UUID_TEXT];
    int64_t ms;
    ppn_request_id_text(&id, text);
    cr_assert(ppn_request_id_parse(text, &back) == PPN_OK);
    cr_assert(ppn_request_id_equal(&id, &back));
    cr_assert(ppn_request_id_time(&id, &ms) && ms == 1790000000123);
    cr_assert(ppn_request_id_parse("not-an-id", &back) == PPN_ERROR_INVALID);
    text[8] = '0';
    cr_assert(ppn_request_id_parse(text, &back) == PPN_ERROR_INVALID);
}

Test(base_id, unhex_rejects_wrong_length_and_digits)
{
    uint8_t bytes[2];
    cr_assert(ppn_unhex("a0Ff", bytes, 2) == PPN_OK && bytes[0] == 0xa0 && bytes[1] == 0xff);
    cr_assert(ppn_unhex("a0F", bytes, 2) == PPN_ERROR_INVALID);
    cr_assert(ppn_unhex("a0Fg", bytes, 2) == PPN_ERROR_INVALID);
}

Test(base_name, strict_alphabet)
{
    static const char *const good[] = {"a", "web-1", "0", "a--b"};
    static const char *const bad[] = {"",    "-a",  "a-",    "A",   "a b", "a/b", "..",
                                      "a\n", "a.b", "a\xff", "--x", "a_b", "é"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        cr_assert(ppn_name_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert(!ppn_name_valid(bad[i]), "%s", bad[i]);
    cr_assert(ppn_image_name_valid("ubuntu-24.04"));
    cr_assert(!ppn_image_name_valid("a..b") && !ppn_image_name_valid(".a"));
}

Test(base_slice, writer_overflow_is_sticky_and_writes_nothing_more)
{
    uint8_t bytes[5] = {0};
    struct ppn_writer writer = ppn_writer(bytes, sizeof(bytes));
    ppn_write_u32(&writer, 0x01020304);
    ppn_write_u32(&writer, 5);
    ppn_write_u8(&writer, 9);
    cr_assert(writer.overflow && writer.size == 4 && bytes[4] == 0);
    cr_assert(ppn_read_u32(bytes) == 0x01020304);
}
