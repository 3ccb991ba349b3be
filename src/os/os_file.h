// SPDX-License-Identifier: ISC
#pragma once

/* Files, plainly and safely. Callable from any thread; may block, so big or synced ones belong in a
 * worker. Failures name the path and the cause. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"

enum { OS_PATH_MAX = 4096 };

/* Joins directory and name into path (capacity bytes); TOO_BIG when it does not fit. */
enum ppn_error os_path_join(char *path, size_t capacity, const char *directory,
                            const char *name) PPN_CHECK;

/* The whole file, at most `max` bytes (more is TOO_BIG), NUL-terminated after *size. Free *bytes.
 * Also for /proc and /sys, whose sizes are not known before. */
enum ppn_error os_file_read(const char *path, size_t max, uint8_t **bytes, size_t *size,
                            struct ppn_failure *failure) PPN_CHECK;
/* Into a caller's buffer, NUL-terminated, one trailing newline removed; TOO_BIG when it does not
 * fit. */
enum ppn_error os_file_read_text(const char *path, char *text, size_t capacity) PPN_CHECK;

/* Atomic replace: a temporary file beside it, fsync, rename, fsync of the directory. mode 0600 for
 * secrets. The old content survives any failure. */
enum ppn_error os_file_replace(const char *path, struct ppn_slice bytes, mode_t mode,
                               struct ppn_failure *failure) PPN_CHECK;
/* A plain write(2) to an existing file, for /proc, /sys and cgroups. */
enum ppn_error os_file_write_control(const char *path, const char *text,
                                     struct ppn_failure *failure) PPN_CHECK;

bool os_file_exists(const char *path);
/* Removing what is not there succeeds. */
enum ppn_error os_file_remove(const char *path, struct ppn_failure *failure) PPN_CHECK;

/* Makes a directory (parents must exist) or sets the mode of ours; a symlink, another owner or
 * something that is no directory is an error. */
enum ppn_error os_directory_make(const char *path, mode_t mode,
                                 struct ppn_failure *failure) PPN_CHECK;
/* The same with missing parents made 0755. */
enum ppn_error os_directory_make_all(const char *path, mode_t mode,
                                     struct ppn_failure *failure) PPN_CHECK;
/* fsync of a directory, so that names made or removed in it survive a power cut. */
enum ppn_error os_directory_sync(const char *path, struct ppn_failure *failure) PPN_CHECK;
/* Each name but "." and ".."; return false to stop. Order is the file system's. */
typedef bool os_directory_fn(void *context, const char *name);
enum ppn_error os_directory_each(const char *path, os_directory_fn *fn, void *context,
                                 struct ppn_failure *failure) PPN_CHECK;
/* Removes directory/name and all beneath, never following a symlink nor leaving the directory or
 * its file system. `name` is one path component. What is not there counts as removed. */
enum ppn_error os_directory_remove(const char *directory, const char *name,
                                   struct ppn_failure *failure) PPN_CHECK;

/* Opens a relative path beneath a directory, through no symlink and over no "..": for names that
 * came from elsewhere (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). flags as open(2);
 * O_CLOEXEC is added. */
enum ppn_error os_file_open_beneath(const char *directory, const char *path, int flags, mode_t mode,
                                    int *fd, struct ppn_failure *failure) PPN_CHECK;

/* An exclusive flock on a file made 0600, so that one process owns a state directory. BUSY (with
 * the owner's pid in the text) when another holds it. Held until *fd is closed or the process ends.
 */
enum ppn_error os_file_lock(const char *path, int *fd, struct ppn_failure *failure) PPN_CHECK;

struct os_space {
    uint64_t total_bytes;
    uint64_t free_bytes; /* for an unprivileged process */
};
enum ppn_error os_file_space(const char *path, struct os_space *space,
                             struct ppn_failure *failure) PPN_CHECK;

/* The error for an errno: ENOSPC and EDQUOT NO_SPACE, EACCES and EPERM PERMISSION, ENOENT
 * NOT_FOUND, EEXIST EXISTS, ENOMEM NO_MEMORY, ECONNREFUSED REFUSED, ... else IO. */
enum ppn_error os_errno(int number);
