// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin_key.h"
#include "admin/admin_log.h"
#include "admission/author.h"
#include "admission/checkpoint.h"
#include "admission/sync.h"
#include "base/assert.h"

/* ppn-admission-bench [ENTRIES]: how fast the log checks, folds, grows and syncs, against the bare
 * signature check of the same run. One line "name value unit" each.
 *
 * ppn-admission-bench --extend EXPORT KEY ENTRIES PREFIX: signs entries that go on from an exported
 * log, half denials, half invites that are opened and closed, and writes them to PREFIX00, PREFIX01
 * ... in bodies that POST /v1/log/entries takes. */

enum { WINDOW = 500, BODY = 250 * 1024 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds for `count` bare signature checks. */
static double bare_s(struct admission_keypair *pair, uint32_t count)
{
    uint8_t message[ADMISSION_SIGN_TRANSCRIPT] = {1};
    const struct admission_crypto *crypto = admission_crypto_sodium();
    struct admission_signer signer = admission_keypair_signer(pair);
    struct admission_signature signature;
    struct ppn_slice bytes = ppn_slice(message, sizeof message);
    bool good = signer.sign(signer.ctx, bytes, &signature);
    double start = now_s();
    for (uint32_t i = 0; i < count; i++)
        good = good && crypto->verify(NULL, &pair->key, bytes, &signature);
    PPN_ASSERT(good);
    return now_s() - start;
}

static void offer(struct admission *log, struct ppn_slice bytes)
{
    static struct admission_update update;
    struct ppn_failure why;
    admission_update_reset(&update);
    enum admission_verdict verdict =
        admission_offer(log, (struct ppn_wall){1}, 0, bytes, &update, &why);
    if (verdict != ADMISSION_ACCEPTED)
        fprintf(stderr, "refused: %s\n", why.text);
    PPN_ASSERT(verdict == ADMISSION_ACCEPTED);
}

static struct admission *make_log(struct admission_keypair *pair, uint32_t entries)
{
    struct admission_config config = {.seed = 1};
    struct admission *log = admission_new(&config);
    struct admission_genesis genesis = {.network = "bench", .root_count = 1};
    struct admission_signer signer = admission_keypair_signer(pair);
    struct ppn_failure why;
    static struct admission_made made;
    genesis.roots[0] = pair->key;
    enum ppn_error error = admission_make_genesis(NULL, (struct admission_authors){&signer, 1},
                                                  (struct ppn_wall){1}, &genesis, &made, &why);
    PPN_ASSERT(error == PPN_OK);
    offer(log, admission_made_slice(&made));
    for (uint32_t i = 1; i < entries; i++) {
        struct admission_admit admit = {.roles = 0};
        memcpy(admit.node.bytes, &i, sizeof i);
        memcpy(admit.wg_key, &i, sizeof i);
        admit.wg_key[31] = 1;
        snprintf(admit.name, sizeof admit.name, "node-%u", i);
        error = admission_make_admit(log, &signer, (struct ppn_wall){1}, &admit, &made, &why);
        PPN_ASSERT(error == PPN_OK);
        offer(log, admission_made_slice(&made));
    }
    return log;
}

/* Bare checks between the windows, so that both see the same machine. */
static void print_checks(const struct admission *from, struct admission_keypair *pair)
{
    struct admission_config config = {.network = admission_network(from), .seed = 2};
    struct admission *log = admission_new(&config);
    uint32_t count = admission_entry_count(from);
    double spent = 0, bare = 0, first = 0, last = 0;
    for (uint32_t i = 0; i < count;) {
        double start = now_s();
        uint32_t window = count - i < WINDOW ? count - i : WINDOW;
        for (uint32_t k = 0; k < window; k++, i++)
            offer(log, admission_record_at(from, i).envelope);
        last = now_s() - start;
        first = first == 0 ? last : first;
        spent += last;
        bare += bare_s(pair, window);
    }
    printf("bare_signature_checks_per_s %.0f 1/s\n", count / bare);
    printf("entries_checked_per_s %.0f 1/s\n", count / spent);
    printf("of_bare_limit %.2f ratio\n", bare / spent);
    printf("append_first_%d %.1f us\n", WINDOW, first / WINDOW * 1e6);
    printf("append_last_%d %.1f us\n", WINDOW, last / WINDOW * 1e6);
    double start = now_s();
    admission_refold(log);
    printf("fold_from_scratch %.2f ms\n", (now_s() - start) * 1e3);
    admission_free(log);
}

static void print_sync(const struct admission *from)
{
    static struct admission_sync_batch batch;
    struct admission_sync_have have;
    struct admission_config config = {.network = admission_network(from), .seed = 3};
    struct admission *log = admission_new(&config);
    uint32_t rounds = 0, bytes = 0;
    double start = now_s(), answering = 0;
    do {
        double asked = now_s();
        admission_sync_have(log, &have);
        enum ppn_error error = admission_sync_answer(from, &have, &batch);
        PPN_ASSERT(error == PPN_OK);
        answering += now_s() - asked;
        for (uint32_t i = 0; i < batch.count; i++)
            offer(log, admission_record_at(from, batch.indexes[i]).envelope);
        bytes += batch.bytes;
        rounds++;
    } while (batch.count > 0);
    PPN_ASSERT(admission_entry_count(log) == admission_entry_count(from));
    printf("sync_from_empty %.2f s\n", now_s() - start);
    printf("sync_answers %.2f ms\n", answering * 1e3);
    printf("sync_rounds %u rounds\n", rounds);
    printf("sync_bytes %u bytes\n", bytes);
    admission_free(log);
}

static void fill(uint32_t i, struct admission_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    if (i % 2 == 0) {
        entry->kind = ADMISSION_DENY;
        memcpy(entry->as.deny.node.bytes, &i, sizeof i);
        entry->as.deny.node.bytes[31] = 2;
    } else if (i % 4 == 1) {
        entry->kind = ADMISSION_INVITE;
        memcpy(entry->as.invite.key.bytes, &i, sizeof i);
        entry->as.invite.key.bytes[31] = 1;
        entry->as.invite.uses = 1;
    } else {
        uint32_t opened = i - 2;
        entry->kind = ADMISSION_REVOKE;
        memcpy(entry->as.revoke.subject.bytes, &opened, sizeof opened);
        entry->as.revoke.subject.bytes[31] = 1;
    }
}

static size_t transfer_bytes(const struct admission *log)
{
    uint8_t buffer[ADMISSION_RECORD_MAX];
    size_t bytes = 0;
    for (uint32_t i = 0; i < admission_transfer_count(log); i++)
        bytes += admission_transfer_at(log, i, buffer).size;
    return bytes;
}

/* A log of denials, and of invites that came and went, before and after a checkpoint. */
static void print_closing(struct admission_keypair *pair, uint32_t entries)
{
    static struct admission_made made;
    struct admission *log = make_log(pair, 10);
    struct admission_signer signer = admission_keypair_signer(pair);
    struct admission_authors by = {&signer, 1};
    struct ppn_failure why;
    for (uint32_t i = 0; i < entries; i++) {
        struct admission_entry entry;
        fill(i, &entry);
        enum ppn_error error = admission_make(log, by, (struct ppn_wall){1}, &entry, &made, &why);
        PPN_ASSERT(error == PPN_OK);
        offer(log, admission_made_slice(&made));
    }
    size_t before = transfer_bytes(log);
    uint32_t held = admission_entry_count(log);
    enum ppn_error error = admission_make_checkpoint(log, by, (struct ppn_wall){1}, &made, &why);
    PPN_ASSERT(error == PPN_OK);
    double start = now_s();
    offer(log, admission_made_slice(&made));
    printf("checkpoint_of %u entries\n", held);
    printf("checkpoint_keeps %u entries\n", admission_checkpoint_now(log).kept);
    printf("checkpoint_closes %.1f ms\n", (now_s() - start) * 1e3);
    printf("checkpoint_bytes_before %zu bytes\n", before);
    printf("checkpoint_bytes_after %zu bytes\n", transfer_bytes(log));
    admission_free(log);
}

/* ---- --extend ---- */

static struct ppn_slice read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    PPN_ASSERT(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size_t size = (size_t)ftell(file);
    uint8_t *bytes = malloc(size + 1);
    PPN_ASSERT(bytes != NULL && fseek(file, 0, SEEK_SET) == 0);
    bool whole = fread(bytes, 1, size, file) == size;
    PPN_ASSERT(whole && fclose(file) == 0);
    return ppn_slice(bytes, size);
}

static void write_body(const char *prefix, uint32_t number, const struct ppn_writer *body)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s%02u", prefix, number);
    FILE *file = fopen(path, "wb");
    bool whole = file != NULL && fwrite(body->data, 1, body->size, file) == body->size;
    PPN_ASSERT(whole && fclose(file) == 0);
}

static int extend(const char *path, const char *key, uint32_t entries, const char *prefix)
{
    static uint8_t bytes[BODY];
    static struct admission_made made;
    struct ppn_hash any = {{0}};
    struct ppn_failure why = {0};
    struct ppn_slice exported = read_file(path);
    struct ppn_writer body = ppn_writer(bytes, sizeof bytes);
    struct ppn_wall now = {(int64_t)time(NULL) * 1000};
    struct admission *log = NULL;
    struct admission_keypair pair;
    uint32_t number = 0;
    enum ppn_error error = admin_key_read(key, NULL, NULL, &pair, &why);
    if (error == PPN_OK)
        error = admin_log_read(exported, &any, now, &log, &why);
    struct admission_signer signer = admission_keypair_signer(&pair);
    for (uint32_t i = 0; error == PPN_OK && i < entries; i++) {
        struct admission_entry entry;
        fill(i, &entry);
        error =
            admission_make(log, (struct admission_authors){&signer, 1}, now, &entry, &made, &why);
        if (error == PPN_OK)
            error = admin_log_add(log, now, admission_made_slice(&made), &why);
        if (error == PPN_OK && body.size + 4 + made.size > sizeof bytes) {
            write_body(prefix, number++, &body);
            body = ppn_writer(bytes, sizeof bytes);
        }
        ppn_write_u32(&body, made.size);
        ppn_write(&body, admission_made_slice(&made));
    }
    if (error == PPN_OK)
        write_body(prefix, number, &body);
    else
        fprintf(stderr, "ppn-admission-bench: %s\n", why.text);
    admission_keypair_wipe(&pair);
    admission_free(log);
    free((void *)(uintptr_t)exported.data);
    return error == PPN_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--extend") == 0)
        return extend(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10), argv[5]);
    uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000;
    uint8_t seed[ADMISSION_SEED_SIZE] = {1};
    struct admission_keypair pair;
    if (entries < 2 * WINDOW || entries > 16000)
        return fprintf(stderr, "usage: %s [%d .. 16000]\n", argv[0], 2 * WINDOW), 64;
    admission_keypair_from_seed(seed, &pair);
    entries -= entries % WINDOW;
    printf("entries %u entries\n", entries);
    struct admission *log = make_log(&pair, entries);
    print_checks(log, &pair);
    print_sync(log);
    admission_free(log);
    print_closing(&pair, entries);
    return 0;
}
