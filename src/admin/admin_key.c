// SPDX-License-Identifier: ISC
#include "admin/admin_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

/* The bytes of the file; text[size] is NUL. */
static enum ppn_error load(const char *path, char text[static ADMISSION_KEYFILE_TEXT_MAX + 1],
                           size_t *size, struct ppn_failure *failure)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ppn_fail(failure, errno == ENOENT ? PPN_ERROR_NOT_FOUND : PPN_ERROR_IO,
                        "cannot read the admin key %s: %s", path, strerror(errno));
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        (void)close(fd);
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s is no file", path);
    }
    if ((status.st_mode & 077) != 0) {
        (void)close(fd);
        return ppn_fail(failure, PPN_ERROR_PERMISSION,
                        "%s can be read by others; if nobody else saw it: chmod 600 it", path);
    }
    ssize_t got = read(fd, text, ADMISSION_KEYFILE_TEXT_MAX + 1);
    int cause = errno;
    (void)close(fd);
    if (got < 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot read %s: %s", path, strerror(cause));
    if (got > ADMISSION_KEYFILE_TEXT_MAX)
        return ppn_fail(failure, PPN_ERROR_INVALID, "%s is no admin key: it is too long", path);
    *size = (size_t)got;
    text[got] = '\0';
    return PPN_OK;
}

static enum ppn_error peek(const char *path, const char *text, bool *locked,
                           struct admission_key *key, struct ppn_failure *failure)
{
    enum ppn_error error = admission_keyfile_peek(text, locked, key);
    if (error == PPN_ERROR_VERSION)
        return ppn_fail(failure, error, "%s was written by a newer ppn; use that one", path);
    if (error != PPN_OK)
        return ppn_fail(failure, error, "%s is no admin key; make one: ppn key new FILE", path);
    return PPN_OK;
}

static enum ppn_error open_text(const char *path, const char *text, admin_ask_fn *ask,
                                void *context, uint8_t seed[static ADMISSION_SEED_SIZE],
                                struct ppn_failure *failure)
{
    char passphrase[ADMISSION_PASSPHRASE_MAX + 1] = "";
    struct admission_key key;
    bool locked;
    enum ppn_error error = peek(path, text, &locked, &key, failure);
    if (error != PPN_OK)
        return error;
    if (locked && (ask == NULL || !ask(context, path, passphrase)))
        return ppn_fail(failure, PPN_ERROR_UNAUTHORIZED,
                        "%s needs its passphrase, and there is no terminal to ask for it", path);
    error = admission_keyfile_open(text, ppn_slice(passphrase, strlen(passphrase)), seed);
    sodium_memzero(passphrase, sizeof(passphrase));
    if (error == PPN_ERROR_UNAUTHORIZED)
        return ppn_fail(failure, error, "that is not the passphrase of %s", path);
    if (error != PPN_OK)
        return ppn_fail(failure, error, "%s is damaged; use a copy of it", path);
    return PPN_OK;
}

enum ppn_error admin_key_read(const char *path, admin_ask_fn *ask, void *context,
                              struct admission_keypair *pair, struct ppn_failure *failure)
{
    char text[ADMISSION_KEYFILE_TEXT_MAX + 1];
    uint8_t seed[ADMISSION_SEED_SIZE];
    size_t size;
    PPN_ASSERT(path != NULL && pair != NULL);
    enum ppn_error error = load(path, text, &size, failure);
    if (error == PPN_OK && size == ADMISSION_SEED_SIZE)
        memcpy(seed, text, sizeof(seed));
    else if (error == PPN_OK)
        error = open_text(path, text, ask, context, seed, failure);
    if (error == PPN_OK)
        admission_keypair_from_seed(seed, pair);
    sodium_memzero(text, sizeof(text));
    sodium_memzero(seed, sizeof(seed));
    return error;
}

enum ppn_error admin_key_public(const char *path, struct admission_key *key, bool *locked,
                                struct ppn_failure *failure)
{
    char text[ADMISSION_KEYFILE_TEXT_MAX + 1];
    struct admission_keypair pair;
    size_t size;
    enum ppn_error error = load(path, text, &size, failure);
    if (error == PPN_OK && size != ADMISSION_SEED_SIZE)
        error = peek(path, text, locked, key, failure);
    else if (error == PPN_OK) {
        *locked = false;
        admission_keypair_from_seed((const uint8_t *)text, &pair);
        *key = pair.key;
        admission_keypair_wipe(&pair);
    }
    sodium_memzero(text, sizeof(text));
    return error;
}

static enum ppn_error write_new(const char *path, const char *text, struct ppn_failure *failure)
{
    size_t size = strlen(text), done = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ppn_fail(failure, errno == EEXIST ? PPN_ERROR_EXISTS : PPN_ERROR_IO,
                        "cannot make %s: %s", path, strerror(errno));
    while (done < size) {
        ssize_t wrote = write(fd, text + done, size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    bool kept = done == size && fsync(fd) == 0;
    int cause = errno;
    kept = close(fd) == 0 && kept;
    if (kept)
        return PPN_OK;
    (void)unlink(path);
    return ppn_fail(failure, PPN_ERROR_IO, "cannot write %s: %s", path, strerror(cause));
}

enum ppn_error admin_key_create(const char *path, const char *passphrase, struct admission_key *key,
                                struct ppn_failure *failure)
{
    char text[ADMISSION_KEYFILE_TEXT_MAX];
    uint8_t seed[ADMISSION_SEED_SIZE], salt[ADMISSION_KEYFILE_SALT];
    uint8_t nonce[ADMISSION_KEYFILE_NONCE];
    struct admission_keypair pair;
    PPN_ASSERT(path != NULL && key != NULL);
    if (access(path, F_OK) == 0)
        return ppn_fail(failure, PPN_ERROR_EXISTS, "%s exists; a key is never overwritten", path);
    randombytes_buf(seed, sizeof(seed));
    randombytes_buf(salt, sizeof(salt));
    randombytes_buf(nonce, sizeof(nonce));
    admission_keypair_from_seed(seed, &pair);
    *key = pair.key;
    enum ppn_error error =
        passphrase == NULL
            ? admission_keyfile_plain(seed, text)
            : admission_keyfile_locked(seed, ppn_slice(passphrase, strlen(passphrase)),
                                       admission_keyfile_default_cost(), salt, nonce, text);
    if (error != PPN_OK)
        error = ppn_fail(failure, error, "not enough memory for Argon2id (it needs 64 MiB)");
    else
        error = write_new(path, text, failure);
    admission_keypair_wipe(&pair);
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(text, sizeof(text));
    return error;
}
