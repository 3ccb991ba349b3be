// SPDX-License-Identifier: ISC
#pragma once

/* Small files of /proc and /sys below a root directory; shared by this folder's readers only. */

#include <stdbool.h>
#include <stdint.h>

enum { HOST_TEXT_MAX = 16384, HOST_ENTRIES_MAX = 64 };

/* The file's text, its last newline removed; false when it cannot be read whole. */
bool host_read(const char *root, const char *path, char text[static HOST_TEXT_MAX]);

/* The first bytes of a file that may be longer. */
bool host_read_start(const char *root, const char *path, char text[static HOST_TEXT_MAX]);

/* The decimal number after leading blanks; what follows it is not looked at. */
bool host_number(const char *text, uint64_t *value);

bool host_read_number(const char *root, const char *path, uint64_t *value);

/* The names in a directory, at most HOST_ENTRIES_MAX, shorter than 64 bytes. */
struct host_names {
    uint32_t count;
    char names[HOST_ENTRIES_MAX][64];
};
void host_list(const char *root, const char *path, struct host_names *names);
