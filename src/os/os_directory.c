// SPDX-License-Identifier: ISC
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_file.h"

/* Directories nested deeper than this are not ours, and are refused rather than followed. */
enum { REMOVE_DEPTH_MAX = 32 };

static enum ppn_error fail_path(struct ppn_failure *failure, const char *verb, const char *path)
{
    int number = errno;
    return ppn_fail(failure, os_errno(number), "cannot %s %s: %s", verb, path, strerror(number));
}

enum ppn_error os_directory_make(const char *path, mode_t mode, struct ppn_failure *failure)
{
    struct stat info;
    bool made = mkdir(path, mode) == 0;
    if (!made && errno != EEXIST)
        return fail_path(failure, "make the directory", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_path(failure, "open the directory", path);
    enum ppn_error error = PPN_OK;
    if (fstat(fd, &info) != 0)
        error = fail_path(failure, "look at", path);
    else if (info.st_uid != geteuid())
        error = ppn_fail(failure, PPN_ERROR_PERMISSION, "%s belongs to user %u, not to us (%u)",
                         path, (unsigned)info.st_uid, (unsigned)geteuid());
    else if ((info.st_mode & 07777) != mode && fchmod(fd, mode) != 0)
        error = fail_path(failure, "set the mode of", path);
    close(fd);
    return error;
}

enum ppn_error os_directory_make_all(const char *path, mode_t mode, struct ppn_failure *failure)
{
    char parent[OS_PATH_MAX];
    if (snprintf(parent, sizeof parent, "%s", path) >= (int)sizeof parent)
        return ppn_fail(failure, PPN_ERROR_TOO_BIG, "the path %.100s... is too long", path);
    for (char *slash = strchr(parent + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(parent, 0755) != 0 && errno != EEXIST)
            return fail_path(failure, "make the directory", parent);
        *slash = '/';
    }
    return os_directory_make(path, mode, failure);
}

enum ppn_error os_directory_sync(const char *path, struct ppn_failure *failure)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(failure, "open the directory", path);
    enum ppn_error error = fsync(fd) == 0 ? PPN_OK : fail_path(failure, "sync", path);
    close(fd);
    return error;
}

enum ppn_error os_directory_each(const char *path, os_directory_fn *fn, void *context,
                                 struct ppn_failure *failure)
{
    DIR *directory = opendir(path);
    if (!directory)
        return fail_path(failure, "open the directory", path);
    bool more = true;
    while (more) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            more = fn(context, entry->d_name);
    }
    enum ppn_error error = more && errno ? fail_path(failure, "read", path) : PPN_OK;
    closedir(directory);
    return error;
}

static bool remove_entry(int parent, const char *name, dev_t device, int depth);

/* Empties the directory behind fd (taken over). Recursion is bounded by REMOVE_DEPTH_MAX. */
static bool empty(int fd, dev_t device, int depth)
{
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return false;
    }
    bool ok = true;
    while (ok) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry) {
            ok = errno == 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = remove_entry(dirfd(directory), entry->d_name, device, depth);
    }
    int number = errno;
    closedir(directory);
    errno = number;
    return ok;
}

static bool remove_entry(int parent, const char *name, dev_t device, int depth)
{
    struct stat info;
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &info) != 0 || info.st_dev != device || depth == REMOVE_DEPTH_MAX) {
        close(fd);
        errno = depth == REMOVE_DEPTH_MAX ? ELOOP : EXDEV;
        return false;
    }
    return empty(fd, device, depth + 1) && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

enum ppn_error os_directory_remove(const char *directory, const char *name,
                                   struct ppn_failure *failure)
{
    struct stat info;
    if (name[0] == 0 || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return ppn_fail(failure, PPN_ERROR_INVALID, "\"%.64s\" is not a name of a file", name);
    int parent = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT ? PPN_OK : fail_path(failure, "open the directory", directory);
    enum ppn_error error = PPN_OK;
    if (fstat(parent, &info) != 0)
        error = fail_path(failure, "look at", directory);
    else if (!remove_entry(parent, name, info.st_dev, 0))
        error = ppn_fail(failure, os_errno(errno), "cannot remove %s in %s: %s", name, directory,
                         strerror(errno));
    close(parent);
    return error;
}
