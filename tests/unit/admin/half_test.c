// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin_half.h"
#include "admin/admin_log.h"

/* Three keys of which two must sign, in two places. */

static struct admission_keypair keys[3];
static struct admission *log_copy;
static struct ppn_failure why;
static struct ppn_wall now = {1000};

static void begin(void)
{
    cr_assert(sodium_init() >= 0);
    for (uint8_t i = 0; i < 3; i++) {
        uint8_t seed[ADMISSION_SEED_SIZE] = {(uint8_t)(i + 1)};
        admission_keypair_from_seed(seed, &keys[i]);
    }
    struct admission_signer signer = admission_keypair_signer(&keys[0]);
    struct admission_genesis genesis = {.network = "office", .root_count = 1};
    struct admission_config config = {.seed = 1};
    struct admission_made made;
    genesis.roots[0] = keys[0].key;
    cr_assert(admission_make_genesis(NULL, (struct admission_authors){&signer, 1}, now, &genesis,
                                     &made, &why) == PPN_OK);
    log_copy = admission_new(&config);
    cr_assert(admin_log_add(log_copy, now, admission_made_slice(&made), &why) == PPN_OK);
    for (int i = 1; i < 3; i++) {
        struct admission_entry entry = {.kind = ADMISSION_ADMIN_ADD};
        entry.as.admin_add.key = keys[i].key;
        entry.as.admin_add.powers = ADMISSION_POWERS_ADMIN;
        snprintf(entry.as.admin_add.name, sizeof entry.as.admin_add.name, "admin-%d", i);
        cr_assert(admission_make(log_copy, (struct admission_authors){&signer, 1}, now, &entry,
                                 &made, &why) == PPN_OK);
        cr_assert(admin_log_add(log_copy, now, admission_made_slice(&made), &why) == PPN_OK);
    }
    struct admission_entry policy = {.kind = ADMISSION_POLICY,
                                     .as.policy = {ADMISSION_VERSION, 1, 2, 1, 1, 2, 0}};
    cr_assert(admission_make(log_copy, (struct admission_authors){&signer, 1}, now, &policy, &made,
                             &why) == PPN_OK);
    cr_assert(admin_log_add(log_copy, now, admission_made_slice(&made), &why) == PPN_OK);
}

static void end(void)
{
    admission_free(log_copy);
}

TestSuite(half, .init = begin, .fini = end);

/* A revocation by 1, with 2 as its cosigner. */
static void prepare(struct admin_half *half)
{
    uint8_t bytes[ADMISSION_BODY_MAX];
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    struct admission_entry entry = {.kind = ADMISSION_REVOKE};
    memset(entry.as.revoke.subject.bytes, 9, sizeof entry.as.revoke.subject.bytes);
    cr_assert(admission_make_body(log_copy, &keys[1].key, &keys[2].key, 1, now, &entry, &body,
                                  &why) == PPN_OK);
    cr_assert(admin_half_begin(half, ppn_written(&body)) == PPN_OK);
}

static void through_text(struct admin_half *half)
{
    static char text[ADMIN_HALF_TEXT_MAX];
    size_t size = admin_half_write(half, text);
    struct admin_half back;
    cr_assert(admin_half_read(ppn_slice(text, size), &back, &why) == PPN_OK, "%s", why.text);
    cr_assert_eq(back.count, half->count);
    *half = back;
}

Test(half, two_places_sign_one_entry)
{
    struct admin_half half;
    struct admission_made made;
    struct admission_key next;
    prepare(&half);
    through_text(&half);
    cr_assert(admin_half_next(&half, &next) && admission_key_equal(&next, &keys[2].key));
    cr_assert(admin_half_sign(&half, &keys[1], &why) == PPN_ERROR_CONFLICT);
    cr_assert(strstr(why.text, "last") != NULL);
    cr_assert(admin_half_sign(&half, &keys[0], &why) == PPN_ERROR_UNAUTHORIZED);
    cr_assert(admin_half_sign(&half, &keys[2], &why) == PPN_OK);
    cr_assert(admin_half_sign(&half, &keys[2], &why) == PPN_ERROR_CONFLICT);
    through_text(&half);
    cr_assert(admin_half_next(&half, &next) && admission_key_equal(&next, &keys[1].key));
    cr_assert(admin_half_sign(&half, &keys[1], &why) == PPN_OK);
    through_text(&half);
    cr_assert_not(admin_half_next(&half, &next));
    admin_half_made(&half, &made);
    cr_assert(admin_log_add(log_copy, now, admission_made_slice(&made), &why) == PPN_OK, "%s",
              why.text);
}

/* Every byte of the file that is changed is noticed, or changes nothing. */
Test(half, a_changed_file_is_refused)
{
    static char text[ADMIN_HALF_TEXT_MAX];
    struct admin_half half, back;
    prepare(&half);
    cr_assert(admin_half_sign(&half, &keys[2], &why) == PPN_OK);
    size_t size = admin_half_write(&half, text);
    for (size_t i = 0; i < size; i++) {
        char kept = text[i];
        text[i] = kept == '0' ? '1' : '0';
        bool same = admin_half_read(ppn_slice(text, size), &back, &why) == PPN_OK &&
                    back.body_size == half.body_size &&
                    memcmp(back.body, half.body, half.body_size) == 0 && back.count == half.count;
        cr_assert_not(same, "byte %zu", i);
        text[i] = kept;
    }
    for (size_t cut = 0; cut < size; cut++) {
        if (admin_half_read(ppn_slice(text, cut), &back, &why) == PPN_OK)
            cr_assert(back.count == 0 || cut + 1 == size, "cut at %zu", cut);
    }
    cr_assert(admin_half_read(ppn_slice(NULL, 0), &back, &why) == PPN_ERROR_INVALID);
}
