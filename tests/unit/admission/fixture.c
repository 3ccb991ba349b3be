// SPDX-License-Identifier: ISC
#include "fixture.h"

#include <stdio.h>

#include <string.h>

struct admission_keypair pair(uint8_t number)
{
    uint8_t seed[ADMISSION_SEED_SIZE] = {number, 1, 2, 3};
    struct admission_keypair made;
    admission_keypair_from_seed(seed, &made);
    return made;
}

struct ppn_node_id node_id(uint8_t number)
{
    struct admission_keypair made = pair(number);
    return admission_key_node(&made.key);
}

struct fixture fixture_new(void)
{
    struct fixture f = {.now = {(int64_t)T0 * 1000}};
    struct admission_config config = {.seed = 42};
    struct admission_genesis genesis = {
        .network = "office", .root_count = 1, .recovery_needed = 1, .recovery_count = 1};
    struct admission_made made;
    struct admission_keypair recovery = pair(200);
    f.founder = pair(1);
    genesis.roots[0] = f.founder.key;
    genesis.recovery[0] = admission_recovery_hash(admission_crypto_sodium(), &recovery.key);
    struct admission_signer signer = admission_keypair_signer(&f.founder);
    f.log = admission_new(&config);
    cr_assert_eq(admission_make_genesis(NULL, (struct admission_authors){&signer, 1}, f.now,
                                        &genesis, &made, &f.why),
                 PPN_OK, "%s", f.why.text);
    cr_assert_eq(offer(&f, &made), ADMISSION_ACCEPTED, "%s", f.why.text);
    return f;
}

struct fixture fixture_empty(const struct fixture *like)
{
    struct fixture f = {.now = like->now, .founder = like->founder};
    struct admission_config config = {.network = admission_network(like->log), .seed = 7};
    f.log = admission_new(&config);
    return f;
}

void fixture_free(struct fixture *f)
{
    admission_free(f->log);
    admission_update_free(&f->update);
}

enum admission_verdict offer(struct fixture *f, const struct admission_made *made)
{
    admission_update_reset(&f->update);
    return admission_offer(f->log, f->now, 1, admission_made_slice(made), &f->update, &f->why);
}

struct admission_made make_by(struct fixture *f, struct admission_keypair *const *by,
                              uint32_t count, struct admission_entry entry)
{
    struct admission_signer signers[ADMISSION_SIGNATURES_MAX];
    struct admission_made made;
    for (uint32_t i = 0; i < count; i++)
        signers[i] = admission_keypair_signer(by[i]);
    cr_assert_eq(admission_make(f->log, (struct admission_authors){signers, count}, f->now, &entry,
                                &made, &f->why),
                 PPN_OK, "%s", f->why.text);
    return made;
}

static struct admission_made put(struct fixture *f, struct admission_keypair *by,
                                 struct admission_entry entry)
{
    struct admission_made made = make_by(f, &by, 1, entry);
    cr_assert_eq(offer(f, &made), ADMISSION_ACCEPTED, "%s", f->why.text);
    return made;
}

struct admission_made admit(struct fixture *f, struct admission_keypair *by, uint8_t node,
                            const char *name)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIT};
    entry.as.admit.node = node_id(node);
    memset(entry.as.admit.wg_key, node, ADMISSION_WG_KEY_SIZE);
    ppn_text_copy(entry.as.admit.name, sizeof entry.as.admit.name, name);
    return put(f, by, entry);
}

struct admission_made revoke(struct fixture *f, struct admission_keypair *by,
                             const struct admission_key *subject)
{
    return put(f, by,
               (struct admission_entry){.kind = ADMISSION_REVOKE, .as.revoke.subject = *subject});
}

struct admission_made add_admin(struct fixture *f, struct admission_keypair *by, uint8_t who,
                                uint32_t powers)
{
    struct admission_entry entry = {.kind = ADMISSION_ADMIN_ADD,
                                    .as.admin_add = {.key = pair(who).key, .powers = powers}};
    snprintf(entry.as.admin_add.name, sizeof entry.as.admin_add.name, "admin-%u", who);
    return put(f, by, entry);
}

struct admission_made remove_admin(struct fixture *f, struct admission_keypair *by, uint8_t who,
                                   int64_t cut)
{
    return put(f, by,
               (struct admission_entry){.kind = ADMISSION_ADMIN_REMOVE,
                                        .as.admin_remove = {.key = pair(who).key,
                                                            .has_cut = cut >= 0,
                                                            .cut = cut >= 0 ? (uint64_t)cut : 0}});
}

struct admission_made invite(struct fixture *f, struct admission_keypair *by, uint8_t key,
                             uint32_t uses, int64_t expires)
{
    return put(f, by,
               (struct admission_entry){
                   .kind = ADMISSION_INVITE,
                   .as.invite = {.key = pair(key).key, .uses = uses, .expires_unix_ms = expires}});
}

struct admission_made seal(struct fixture *f, struct admission_keypair *by)
{
    return put(f, by, (struct admission_entry){.kind = ADMISSION_SEAL});
}

struct admission_request request(struct fixture *f, uint8_t node, const char *name, uint8_t key)
{
    struct admission_request made = {.network = admission_network(f->log),
                                     .time_unix_ms = f->now.unix_ms};
    struct admission_keypair node_pair = pair(node), invite_pair = pair(key);
    struct admission_signer signer = admission_keypair_signer(&node_pair);
    struct admission_signer invite_signer = admission_keypair_signer(&invite_pair);
    uint8_t bytes[ADMISSION_REQUEST_MAX];
    struct ppn_writer writer = ppn_writer(bytes, sizeof bytes);
    memset(made.wg_key, node, sizeof made.wg_key);
    ppn_text_copy(made.name, sizeof made.name, name);
    ppn_text_copy(made.offers.os, sizeof made.offers.os, "Debian GNU/Linux 12");
    cr_assert_eq(admission_request_make(&made, &signer, key != 0 ? &invite_signer : NULL, &writer),
                 PPN_OK);
    struct admission_request decoded;
    cr_assert_eq(
        admission_request_decode(admission_crypto_sodium(), ppn_written(&writer), &decoded),
        PPN_OK);
    return decoded;
}

void copy_all(const struct fixture *from, struct fixture *to)
{
    admission_update_reset(&to->update);
    for (uint32_t i = 0; i < admission_entry_count(from->log); i++) {
        enum admission_verdict verdict = admission_offer(
            to->log, to->now, 1, admission_record_at(from->log, i).envelope, &to->update, &to->why);
        cr_assert(verdict == ADMISSION_ACCEPTED || verdict == ADMISSION_KNOWN, "%s", to->why.text);
    }
}

bool is_member(const struct fixture *f, uint8_t node)
{
    struct ppn_node_id id = node_id(node);
    return admission_member_by_id(f->log, &id) != NULL;
}

void expect_same(struct fixture *a, struct fixture *b)
{
    struct ppn_hash one = admission_members_digest(a->log), two = admission_members_digest(b->log);
    cr_assert(ppn_hash_equal(&one, &two), "the folds differ");
    one = admission_digest(a->log);
    two = admission_digest(b->log);
    cr_assert(ppn_hash_equal(&one, &two), "the logs differ");
    admission_refold(b->log);
    one = admission_members_digest(a->log);
    two = admission_members_digest(b->log);
    cr_assert(ppn_hash_equal(&one, &two), "a fold from scratch differs");
}
