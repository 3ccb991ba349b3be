// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "admission/admission.h"
#include "admission/author.h"

/* Every cap of the log, reached: the refusal says which, and changes nothing. Signatures are
 * stubbed, so that a log can be filled to the brim in a test. */

enum { ADMIN_KEYS_MAX = 256 };

static const int64_t T0_MS = 1700000000000;

struct flood {
    struct admission *log;
    struct admission_update update;
    struct ppn_failure why;
    uint32_t told; /* distinct subjects so far */
};

static bool fake_verify(void *ctx, const struct admission_key *key, struct ppn_slice message,
                        const struct admission_signature *signature)
{
    (void)ctx;
    (void)message;
    return memcmp(signature->bytes, key->bytes, sizeof key->bytes) == 0;
}

static bool fake_sign(void *ctx, struct ppn_slice message, struct admission_signature *signature)
{
    const struct admission_key *key = ctx;
    (void)message;
    memset(signature, 0, sizeof *signature);
    memcpy(signature->bytes, key->bytes, sizeof key->bytes);
    return true;
}

static const struct admission_crypto *fake_crypto(void)
{
    static struct admission_crypto crypto;
    crypto = *admission_crypto_sodium();
    crypto.verify = fake_verify;
    return &crypto;
}

static struct admission_key key_of(uint32_t number)
{
    struct admission_key key = {{0}};
    memcpy(key.bytes, &number, sizeof number);
    key.bytes[31] = 1;
    return key;
}

static struct ppn_wall now(void)
{
    return (struct ppn_wall){T0_MS};
}

static struct flood flood_empty(struct ppn_hash network)
{
    struct admission_config config = {.crypto = fake_crypto(), .network = network, .seed = 3};
    return (struct flood){.log = admission_new(&config)};
}

static void flood_free(struct flood *f)
{
    admission_free(f->log);
    admission_update_free(&f->update);
}

static enum admission_verdict offer_from(struct flood *f, uint32_t source,
                                         const struct admission_made *made)
{
    admission_update_reset(&f->update);
    return admission_offer(f->log, now(), source, admission_made_slice(made), &f->update, &f->why);
}

/* Founded by key 1. */
static struct flood flood_new(void)
{
    struct flood f = flood_empty((struct ppn_hash){{0}});
    struct admission_key founder = key_of(1);
    struct admission_signer signer = {founder, &founder, fake_sign};
    struct admission_genesis genesis = {.network = "office", .root_count = 1, .roots = {founder}};
    struct admission_made made;
    cr_assert_eq(admission_make_genesis(fake_crypto(), (struct admission_authors){&signer, 1},
                                        now(), &genesis, &made, &f.why),
                 PPN_OK, "%s", f.why.text);
    cr_assert_eq(offer_from(&f, 1, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    return f;
}

/* An entry of key `by` that follows what `f` holds; not offered. */
static void make(struct flood *f, uint32_t by, struct admission_entry *entry,
                 struct admission_made *made)
{
    struct admission_key key = key_of(by);
    struct admission_signer signer = {key, &key, fake_sign};
    cr_assert_eq(
        admission_make(f->log, (struct admission_authors){&signer, 1}, now(), entry, made, &f->why),
        PPN_OK, "%s", f->why.text);
}

/* A denial of a node that nobody spoke of: the cheapest thing that an admin can say. */
static void make_denial(struct flood *f, uint32_t by, struct admission_made *made)
{
    struct admission_entry entry = {.kind = ADMISSION_DENY};
    struct admission_key node = key_of(1000000 + f->told++);
    entry.as.deny.node = admission_key_node(&node);
    make(f, by, &entry, made);
}

static void make_admin(struct flood *f, uint32_t by, uint32_t who, struct admission_made *made)
{
    struct admission_entry entry = {
        .kind = ADMISSION_ADMIN_ADD,
        .as.admin_add = {.key = key_of(who), .powers = ADMISSION_POWERS_ADMIN, .name = "a"}};
    make(f, by, &entry, made);
}

static void make_rekey(struct flood *f, uint32_t by, uint32_t number, struct admission_made *made)
{
    struct admission_entry entry = {.kind = ADMISSION_REKEY};
    memcpy(entry.as.rekey.wg_key, &number, sizeof number);
    entry.as.rekey.wg_key[31] = 2;
    make(f, by, &entry, made);
}

static void accept(struct flood *f, const struct admission_made *made)
{
    enum admission_verdict verdict = offer_from(f, 1, made);
    cr_assert_eq(verdict, ADMISSION_ACCEPTED, "%s", f->why.text);
}

static void admit(struct flood *f, uint32_t node)
{
    struct admission_key key = key_of(node);
    struct admission_made made;
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    snprintf(entry.as.admit.name, sizeof entry.as.admit.name, "n%u", node);
    entry.as.admit.node = admission_key_node(&key);
    memcpy(entry.as.admit.wg_key, key.bytes, sizeof entry.as.admit.wg_key);
    make(f, 1, &entry, &made);
    accept(f, &made);
}

/* Refused with this code and these words, and the log is as it was. */
static void expect_refused(struct flood *f, uint32_t source, const struct admission_made *made,
                           enum ppn_error code, const char *text)
{
    struct ppn_hash digest = admission_digest(f->log);
    struct ppn_hash members = admission_members_digest(f->log);
    uint32_t count = admission_entry_count(f->log), waiting = admission_pending_count(f->log);
    for (int again = 0; again < 2; again++) {
        f->why = (struct ppn_failure){0};
        cr_assert_eq(offer_from(f, source, made), ADMISSION_REFUSED);
        cr_assert_eq(f->why.code, code, "%s", f->why.text);
        cr_assert_str_eq(f->why.text, text);
        cr_assert_eq(f->update.count, 0);
    }
    struct ppn_hash after = admission_digest(f->log);
    struct ppn_hash members_after = admission_members_digest(f->log);
    cr_assert(ppn_hash_equal(&digest, &after));
    cr_assert(ppn_hash_equal(&members, &members_after));
    cr_assert_eq(admission_entry_count(f->log), count);
    cr_assert_eq(admission_pending_count(f->log), waiting);
}

Test(caps, an_admin_key_makes_so_many_entries_and_a_log_holds_so_many)
{
    struct flood f = flood_new();
    struct admission_made made;
    _Static_assert((int)ADMISSION_ENTRIES_MAX == 2 * ADMISSION_ADMIN_SEQ_MAX, "two fill a log");
    make_admin(&f, 1, 2, &made);
    accept(&f, &made);
    admit(&f, 10);
    for (uint32_t i = 3; i < ADMISSION_ADMIN_SEQ_MAX; i++) {
        make_denial(&f, 1, &made);
        accept(&f, &made);
    }
    make_denial(&f, 1, &made);
    expect_refused(&f, 1, &made, PPN_ERROR_FULL,
                   "its author has made 32768 entries, the most allowed");
    for (uint32_t i = 0; i < ADMISSION_ADMIN_SEQ_MAX; i++) {
        make_denial(&f, 2, &made);
        accept(&f, &made);
    }
    cr_assert_eq(admission_entry_count(f.log), ADMISSION_ENTRIES_MAX);
    make_rekey(&f, 10, 1, &made); /* a member that never said anything */
    expect_refused(&f, 1, &made, PPN_ERROR_FULL, "the log holds 65536 entries, the most it can");
    flood_free(&f);
}

Test(caps, a_node_makes_so_many_entries)
{
    struct flood f = flood_new();
    struct admission_made made;
    admit(&f, 10);
    admit(&f, 11);
    for (uint32_t i = 0; i < ADMISSION_MEMBER_SEQ_MAX; i++) {
        make_rekey(&f, 10, i, &made);
        accept(&f, &made);
    }
    make_rekey(&f, 10, 999999, &made);
    expect_refused(&f, 1, &made, PPN_ERROR_FULL,
                   "its author has made 2048 entries, the most allowed");
    make_rekey(&f, 11, 999999, &made); /* the others go on */
    accept(&f, &made);
    flood_free(&f);
}

Test(caps, so_many_entries_wait_for_a_parent)
{
    static struct admission_made waiting[ADMISSION_PENDING_MAX + 2];
    struct flood maker = flood_new(), f = flood_empty(admission_network(maker.log));
    struct admission_made genesis = {.size = 0}, parent;
    struct ppn_slice first = admission_record_at(maker.log, 0).envelope;
    memcpy(genesis.bytes, first.data, first.size);
    genesis.size = (uint32_t)first.size;
    accept(&f, &genesis);
    make_denial(&maker, 1, &parent);
    accept(&maker, &parent);
    for (uint32_t i = 0; i < ADMISSION_PENDING_MAX + 2; i++) {
        make_denial(&maker, 1, &waiting[i]);
        accept(&maker, &waiting[i]);
    }
    const char *text = "too many entries wait for their parents";
    uint32_t extra = ADMISSION_PENDING_MAX;
    for (uint32_t i = 0; i < ADMISSION_PENDING_MAX; i++) {
        uint32_t source = 1 + i / ADMISSION_PENDING_PER_SOURCE;
        cr_assert_eq(offer_from(&f, source, &waiting[i]), ADMISSION_PENDING, "%s", f.why.text);
        if ((i + 1) % ADMISSION_PENDING_PER_SOURCE == 0)
            expect_refused(&f, source, &waiting[extra], PPN_ERROR_BUSY, text);
    }
    cr_assert_eq(admission_pending_count(f.log), ADMISSION_PENDING_MAX);
    expect_refused(&f, 77, &waiting[extra], PPN_ERROR_BUSY, text);
    expect_refused(&f, 0, &waiting[extra], PPN_ERROR_BUSY, text);
    accept(&f, &parent); /* and with it all that waited */
    cr_assert_eq(admission_pending_count(f.log), 0);
    cr_assert_eq(admission_entry_count(f.log), 2 + ADMISSION_PENDING_MAX);
    cr_assert_eq(offer_from(&f, 77, &waiting[extra]), ADMISSION_ACCEPTED);
    flood_free(&f);
    flood_free(&maker);
}

Test(caps, so_many_contradictions_of_one_author_are_kept)
{
    struct flood f = flood_new(), maker = flood_empty(admission_network(f.log));
    struct admission_made made;
    make_admin(&f, 1, 2, &made);
    accept(&f, &made);
    for (uint32_t i = 0; i < 2; i++) {
        struct ppn_slice envelope = admission_record_at(f.log, i).envelope;
        memcpy(made.bytes, envelope.data, envelope.size);
        made.size = (uint32_t)envelope.size;
        accept(&maker, &made);
    }
    /* Number 1 of key 2 again and again, each about another node. */
    for (uint32_t i = 0; i < 1 + ADMISSION_FORKS_MAX; i++) {
        make_denial(&maker, 2, &made);
        accept(&f, &made);
    }
    make_denial(&maker, 2, &made);
    expect_refused(&f, 1, &made, PPN_ERROR_FULL,
                   "its author has contradicted itself 64 times: no more is kept");
    make_denial(&f, 1, &made); /* the others go on */
    accept(&f, &made);
    flood_free(&f);
    flood_free(&maker);
}

Test(caps, so_many_keys_are_ever_made_admins)
{
    struct flood f = flood_new();
    struct admission_made made;
    for (uint32_t i = 0; i < ADMIN_KEYS_MAX; i++) {
        make_admin(&f, 1, 2 + i, &made);
        accept(&f, &made);
    }
    make_admin(&f, 1, 5000, &made);
    expect_refused(&f, 1, &made, PPN_ERROR_FULL, "256 admin keys were added, the most allowed");
    make_admin(&f, 2, 5000, &made); /* whoever asks */
    expect_refused(&f, 1, &made, PPN_ERROR_FULL, "256 admin keys were added, the most allowed");
    make_denial(&f, 1, &made);
    accept(&f, &made);
    flood_free(&f);
}
