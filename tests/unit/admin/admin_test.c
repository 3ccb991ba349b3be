// SPDX-License-Identifier: ISC
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/admin_key.h"
#include "admin/admin_last.h"
#include "admin/admin_log.h"
#include "admission/author.h"

static char directory[64];

static void begin(void)
{
    cr_assert(sodium_init() >= 0);
    strcpy(directory, "/tmp/ppn-admin-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert(system(command) == 0);
}

TestSuite(admin, .init = begin, .fini = end);

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static bool answer(void *context, const char *path, char text[static ADMISSION_PASSPHRASE_MAX + 1])
{
    (void)path;
    strcpy(text, context);
    return true;
}

Test(admin, a_key_without_a_passphrase_comes_back)
{
    struct admission_key made, shown;
    struct admission_keypair pair;
    struct ppn_failure why = {0};
    struct stat status;
    bool locked = true;
    const char *path = path_of("a.key");
    cr_assert(admin_key_create(path, NULL, &made, &why) == PPN_OK, "%s", why.text);
    cr_assert(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
    cr_assert(admin_key_public(path, &shown, &locked, &why) == PPN_OK && !locked);
    cr_assert(admission_key_equal(&made, &shown));
    cr_assert(admin_key_read(path, NULL, NULL, &pair, &why) == PPN_OK);
    cr_assert(admission_key_equal(&made, &pair.key));
    cr_assert(admin_key_create(path, NULL, &shown, &why) == PPN_ERROR_EXISTS);
    cr_assert(admin_key_public(path, &shown, &locked, &why) == PPN_OK);
    cr_assert(admission_key_equal(&made, &shown), "a key is never overwritten");
}

Test(admin, a_passphrase_opens_and_a_wrong_one_does_not)
{
    struct admission_key made, shown;
    struct admission_keypair pair;
    struct ppn_failure why = {0};
    bool locked = false;
    const char *path = path_of("b.key");
    cr_assert(admin_key_create(path, "correct horse", &made, &why) == PPN_OK, "%s", why.text);
    cr_assert(admin_key_public(path, &shown, &locked, &why) == PPN_OK && locked);
    cr_assert(admission_key_equal(&made, &shown));
    cr_assert(admin_key_read(path, answer, "wrong", &pair, &why) == PPN_ERROR_UNAUTHORIZED);
    cr_assert(admin_key_read(path, NULL, NULL, &pair, &why) == PPN_ERROR_UNAUTHORIZED);
    cr_assert(admin_key_read(path, answer, "correct horse", &pair, &why) == PPN_OK);
    cr_assert(admission_key_equal(&made, &pair.key));
}

Test(admin, what_others_can_read_is_refused)
{
    struct admission_key made;
    struct admission_keypair pair;
    struct ppn_failure why = {0};
    const char *path = path_of("c.key");
    cr_assert(admin_key_create(path, NULL, &made, &why) == PPN_OK);
    cr_assert(chmod(path, 0640) == 0);
    cr_assert(admin_key_read(path, NULL, NULL, &pair, &why) == PPN_ERROR_PERMISSION);
    cr_assert(strstr(why.text, "chmod 600") != NULL);
    cr_assert(admin_key_read(path_of("none"), NULL, NULL, &pair, &why) == PPN_ERROR_NOT_FOUND);
    cr_assert(admin_key_read(directory, NULL, NULL, &pair, &why) != PPN_OK);
}

Test(admin, garbage_is_no_key)
{
    struct admission_keypair pair;
    struct ppn_failure why = {0};
    char bytes[ADMISSION_KEYFILE_TEXT_MAX + 2];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t size = 0; size <= sizeof(bytes); size += 31) {
        const char *path = path_of("garbage");
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        cr_assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
        cr_assert(admin_key_read(path, NULL, NULL, &pair, &why) != PPN_OK, "%zu bytes", size);
    }
}

struct exported {
    uint8_t bytes[16384];
    size_t size;
    struct ppn_hash network;
};

static void append(struct exported *to, struct ppn_slice envelope)
{
    struct ppn_writer writer = ppn_writer(to->bytes + to->size, sizeof(to->bytes) - to->size);
    ppn_write_u32(&writer, (uint32_t)envelope.size);
    ppn_write(&writer, envelope);
    to->size += writer.size;
}

/* A network of one founder that then made `key` an admin. */
static void found(struct exported *to, struct admission_keypair *founder,
                  const struct admission_key *key)
{
    struct admission_made genesis, made;
    struct ppn_failure why = {0};
    struct admission *log = NULL;
    uint8_t seed[ADMISSION_SEED_SIZE] = {7};
    admission_keypair_from_seed(seed, founder);
    struct admission_signer signer = admission_keypair_signer(founder);
    struct admission_authors authors = {&signer, 1};
    struct admission_genesis content = {
        .network = "office", .root_count = 1, .roots = {founder->key}};
    struct ppn_wall now = {1000};
    cr_assert(admission_make_genesis(NULL, authors, now, &content, &made, &why) == PPN_OK, "%s",
              why.text);
    genesis = made;
    to->size = 0;
    to->network = genesis.id;
    append(to, admission_made_slice(&genesis));
    cr_assert(admin_log_read(ppn_slice(to->bytes, to->size), &to->network, now, &log, &why) ==
                  PPN_OK,
              "%s", why.text);
    struct admission_entry entry = {
        .kind = ADMISSION_ADMIN_ADD,
        .as.admin_add = {.key = *key, .powers = ADMISSION_POWERS_ADMIN, .name = "desk"}};
    cr_assert(admission_make(log, authors, now, &entry, &made, &why) == PPN_OK, "%s", why.text);
    cr_assert(admin_log_add(log, now, admission_made_slice(&made), &why) == PPN_OK);
    cr_assert(admission_admin_count(log) == 2);
    append(to, admission_made_slice(&made));
    admission_free(log);
}

Test(admin, the_log_is_checked_from_its_genesis)
{
    static struct exported exported;
    struct admission_keypair founder;
    struct admission_key key = {{9}};
    struct ppn_failure why = {0};
    struct admission *log = NULL;
    struct ppn_hash other = {{1}}, none = {{0}};
    struct ppn_wall now = {2000};
    found(&exported, &founder, &key);
    struct ppn_slice all = ppn_slice(exported.bytes, exported.size);
    cr_assert(admin_log_read(all, &exported.network, now, &log, &why) == PPN_OK, "%s", why.text);
    cr_assert(admission_admin_by_key(log, &key) != NULL);
    admission_free(log);
    cr_assert(admin_log_read(all, &other, now, &log, &why) != PPN_OK, "another network");
    cr_assert(admin_log_read(ppn_slice(NULL, 0), &none, now, &log, &why) == PPN_ERROR_NOT_FOUND);
    for (size_t cut = 1; cut < exported.size; cut += 7) {
        uint32_t first = ppn_read_u32(exported.bytes);
        if (cut != first + 4)
            cr_assert(admin_log_read(ppn_slice(exported.bytes, cut), &none, now, &log, &why) ==
                          PPN_ERROR_CORRUPT,
                      "cut at %zu", cut);
    }
    for (size_t at = 4; at < exported.size; at += 5) {
        exported.bytes[at] ^= 1;
        cr_assert(admin_log_read(all, &exported.network, now, &log, &why) != PPN_OK,
                  "byte %zu changed", at);
        exported.bytes[at] ^= 1;
    }
}

static struct admission_made sign_next(struct admission *log, struct admission_keypair *by,
                                       uint8_t node)
{
    struct admission_signer signer = admission_keypair_signer(by);
    struct admission_entry entry = {.kind = ADMISSION_DENY};
    struct admission_made made;
    struct ppn_failure why = {0};
    struct ppn_wall now = {2000};
    memset(entry.as.deny.node.bytes, node, sizeof(entry.as.deny.node.bytes));
    cr_assert(admission_make(log, (struct admission_authors){&signer, 1}, now, &entry, &made,
                             &why) == PPN_OK,
              "%s", why.text);
    cr_assert(admin_log_add(log, now, admission_made_slice(&made), &why) == PPN_OK);
    return made;
}

/* Signed through one node; the next command asks another that may not have heard of it. */
Test(admin, what_was_signed_last_is_handed_in_first)
{
    struct exported base;
    struct admission_keypair founder, desk;
    struct admission_key key;
    struct ppn_failure why = {0};
    struct ppn_wall now = {3000};
    uint8_t note[ADMISSION_ENVELOPE_MAX];
    size_t size = 0;
    const char *path = path_of("desk.key");
    cr_assert(admin_key_create(path, NULL, &key, &why) == PPN_OK);
    cr_assert(admin_key_read(path, NULL, NULL, &desk, &why) == PPN_OK);
    found(&base, &founder, &key);
    struct admission *logs[3];
    for (int i = 0; i < 3; i++)
        cr_assert(admin_log_read(ppn_slice(base.bytes, base.size), &base.network, now, &logs[i],
                                 &why) == PPN_OK);
    cr_assert(admin_last_read(path, note, &size, &why) == PPN_ERROR_NOT_FOUND);
    struct admission_made first = sign_next(logs[0], &desk, 1);
    cr_assert(admin_last_write(path, admission_made_slice(&first), &why) == PPN_OK, "%s", why.text);
    cr_assert(admin_last_read(path, note, &size, &why) == PPN_OK && size == first.size);
    cr_assert(admin_last_settle(logs[0], now, ppn_slice(note, size)) == ADMIN_LAST_SETTLED);
    cr_assert(admin_last_settle(logs[1], now, ppn_slice(note, size)) == ADMIN_LAST_MISSING);
    uint32_t index;
    cr_assert(admission_record_find(logs[1], &first.id, &index), "it is in the copy now");
    struct admission_made second = sign_next(logs[1], &desk, 2);
    cr_assert(admin_last_write(path, admission_made_slice(&second), &why) == PPN_OK);
    cr_assert(admin_last_read(path, note, &size, &why) == PPN_OK);
    cr_assert(admin_last_settle(logs[2], now, ppn_slice(note, size)) == ADMIN_LAST_BEHIND);
    cr_assert(admin_last_settle(logs[0], now, ppn_slice(note, size)) == ADMIN_LAST_MISSING);
    for (int i = 0; i < 3; i++)
        admission_free(logs[i]);
}

Test(admin, one_command_at_a_time_signs_with_a_key)
{
    struct admission_key key;
    struct ppn_failure why = {0};
    const char *path = path_of("shared.key");
    int first, second;
    cr_assert(admin_key_create(path, NULL, &key, &why) == PPN_OK);
    cr_assert(chmod(path, 0400) == 0, "a stick that is read-only");
    cr_assert(admin_last_lock(path, &first, &why) == PPN_OK);
    pid_t child = fork();
    if (child == 0) {
        struct ppn_failure unused = {0};
        int fd;
        _exit(admin_last_lock(path, &fd, &unused) == PPN_ERROR_BUSY ? 0 : 1);
    }
    int status = -1;
    cr_assert(waitpid(child, &status, 0) == child && status == 0, "it waited, and was told");
    cr_assert(close(first) == 0);
    cr_assert(admin_last_lock(path, &second, &why) == PPN_OK, "%s", why.text);
    (void)close(second);
    cr_assert(admin_last_lock("/nowhere/at/all", &second, &why) == PPN_ERROR_IO);
}

Test(admin, a_note_of_no_use_stands_in_nobodys_way)
{
    struct exported base;
    struct admission_keypair founder, desk;
    struct admission_key key;
    struct ppn_failure why = {0};
    struct ppn_wall now = {3000};
    struct admission *log, *other;
    const char *path = path_of("desk.key");
    cr_assert(admin_key_create(path, NULL, &key, &why) == PPN_OK);
    cr_assert(admin_key_read(path, NULL, NULL, &desk, &why) == PPN_OK);
    found(&base, &founder, &key);
    for (int i = 0; i < 2; i++)
        cr_assert(admin_log_read(ppn_slice(base.bytes, base.size), &base.network, now,
                                 i == 0 ? &log : &other, &why) == PPN_OK);
    struct admission_made lost = sign_next(log, &desk, 1), instead = sign_next(other, &desk, 2);
    cr_assert(admin_last_settle(other, now, admission_made_slice(&lost)) == ADMIN_LAST_SETTLED,
              "another entry has its number");
    cr_assert(admin_last_settle(other, now, admission_made_slice(&instead)) == ADMIN_LAST_SETTLED);
    uint8_t garbage[100] = {1, 2, 3};
    cr_assert(admin_last_settle(log, now, ppn_slice(garbage, 100)) == ADMIN_LAST_SETTLED);
    cr_assert(admin_last_write("/nowhere/at/all", ppn_slice(garbage, 100), &why) == PPN_ERROR_IO);
    cr_assert(strstr(why.text, "copy the key") != NULL, "%s", why.text);
    admission_free(log);
    admission_free(other);
}
