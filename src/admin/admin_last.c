// SPDX-License-Identifier: ISC
#include "admin/admin_last.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "admission/entry.h"
#include "base/assert.h"

enum { PATH_SIZE = 4096 };

static bool path_beside(const char *key_path, const char *suffix, char path[static PATH_SIZE])
{
    int length = snprintf(path, PATH_SIZE, "%s%s", key_path, suffix);
    return length > 0 && length < PATH_SIZE;
}

static bool write_whole(int fd, struct ppn_slice bytes)
{
    while (bytes.size > 0) {
        ssize_t wrote = write(fd, bytes.data, bytes.size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        bytes = ppn_slice(bytes.data + wrote, bytes.size - (size_t)wrote);
    }
    return fsync(fd) == 0;
}

static bool sync_directory(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path] = '\0';
    int fd = open(slash != NULL ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return done;
}

/* On the key's own file: it is never written again, and is there on a stick that is read-only. */
enum ppn_error admin_last_lock(const char *key_path, int *out, struct ppn_failure *failure)
{
    const struct timespec step = {.tv_nsec = 50 * 1000 * 1000};
    int fd = open(key_path, O_RDONLY | O_CLOEXEC);
    bool locked = false;
    if (fd < 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot open %s: %s", key_path, strerror(errno));
    for (int tries = ADMIN_LAST_WAIT_S * 20; !locked && tries > 0; tries--) {
        locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked)
            (void)nanosleep(&step, NULL);
    }
    if (!locked) {
        (void)close(fd);
        return ppn_fail(failure, PPN_ERROR_BUSY,
                        "another command signs with the key in %s; try again when it is done",
                        key_path);
    }
    *out = fd;
    return PPN_OK;
}

enum ppn_error admin_last_write(const char *key_path, struct ppn_slice envelope,
                                struct ppn_failure *failure)
{
    char path[PATH_SIZE], fresh[PATH_SIZE];
    PPN_ASSERT(envelope.size > 0 && envelope.size <= ADMISSION_ENVELOPE_MAX);
    if (!path_beside(key_path, ".last", path) || !path_beside(key_path, ".last.new", fresh))
        return ppn_fail(failure, PPN_ERROR_INVALID, "the name of the key's file is too long");
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool done = fd >= 0 && write_whole(fd, envelope);
    int cause = errno;
    if (fd >= 0)
        (void)close(fd);
    done = done && rename(fresh, path) == 0 && sync_directory(path);
    if (done)
        return PPN_OK;
    return ppn_fail(
        failure, PPN_ERROR_IO,
        "cannot write %s: %s; what a key signs is noted beside its file: copy the key to "
        "where that can be",
        fresh, strerror(fd >= 0 ? errno : cause));
}

enum ppn_error admin_last_read(const char *key_path, uint8_t bytes[static ADMISSION_ENVELOPE_MAX],
                               size_t *size, struct ppn_failure *failure)
{
    char path[PATH_SIZE];
    if (!path_beside(key_path, ".last", path))
        return PPN_ERROR_NOT_FOUND;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT
                   ? PPN_ERROR_NOT_FOUND
                   : ppn_fail(failure, PPN_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    ssize_t got = read(fd, bytes, ADMISSION_ENVELOPE_MAX);
    int cause = errno;
    (void)close(fd);
    if (got < 0)
        return ppn_fail(failure, PPN_ERROR_IO, "cannot read %s: %s", path, strerror(cause));
    *size = (size_t)got;
    return got == 0 ? PPN_ERROR_NOT_FOUND : PPN_OK;
}

bool admin_overtaken(const struct admission *log, const struct admission_entry *entry)
{
    for (uint32_t i = admission_entry_count(log); i-- > 0;) {
        struct admission_record record = admission_record_at(log, i);
        if (record.seq >= entry->seq && admission_key_equal(&record.author, &entry->author))
            return true;
    }
    return false;
}

enum admin_last admin_last_settle(struct admission *log, struct ppn_wall now,
                                  struct ppn_slice envelope)
{
    struct admission_envelope parts;
    struct admission_entry entry;
    struct admission_update update = {0};
    struct ppn_hash network = admission_network(log);
    if (admission_envelope_decode(envelope, &parts) != PPN_OK ||
        admission_body_decode(parts.body, &entry) != PPN_OK ||
        !ppn_hash_equal(&entry.network, &network) || admin_overtaken(log, &entry))
        return ADMIN_LAST_SETTLED;
    enum admission_verdict verdict = admission_offer(log, now, 0, envelope, &update, NULL);
    admission_update_free(&update);
    return verdict == ADMISSION_ACCEPTED  ? ADMIN_LAST_MISSING
           : verdict == ADMISSION_PENDING ? ADMIN_LAST_BEHIND
                                          : ADMIN_LAST_SETTLED;
}
