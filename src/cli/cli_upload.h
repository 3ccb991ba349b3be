// SPDX-License-Identifier: ISC
#pragma once

/* Lines of an upload, a fetch: progress until {"image":...} or {"error":...}. */

#include "cli/cli.h"
#include "cli/cli_print.h"

/* POST or PUT; with fd >= 0 its next `size` bytes are the body. Tells the end. Returns the exit
 * code. */
int cli_image_stream(struct cli *cli, enum api_method method, const char *target, int fd,
                     uint64_t size);

/* Adds an open file as image `name`. sha256 may be NULL. */
int cli_image_add(struct cli *cli, int fd, uint64_t size, const char *name, const char *sha256);

/* Downloads a known image to a temporary file, checks it against the publisher's checksums, and
 * adds it. */
int cli_image_pull(struct cli *cli, const char *name);
void cli_image_pull_names(FILE *out);
