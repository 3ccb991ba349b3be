// SPDX-License-Identifier: ISC
#pragma once

/* The API's client over the UNIX socket (libcurl), for command-line programs. It blocks, one call
 * at a time; the daemon never links it. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api_request.h"
#include "base/error.h"
#include "base/slice.h"

struct api_client;

/* What went wrong. no_daemon: nobody answered on the socket at all. */
struct api_client_failure {
    bool no_daemon;
    unsigned status; /* of HTTP; 0: none came */
    struct ppn_failure failure;
};

/* Does not connect yet. NULL: out of memory. */
struct api_client *api_client_open(const char *socket_path);
void api_client_close(struct api_client *client);

/* How long a whole answer may take; 0: for ever (streams). Default: 30 s. */
void api_client_timeout(struct api_client *client, unsigned seconds);

struct api_client_call {
    enum api_method method;
    const char *target; /* "/v1/..." */
    json_t *body;       /* borrowed; NULL: none */
    int upload_fd;      /* with upload: the body is this file's next upload_bytes */
    bool upload;
    uint64_t upload_bytes;
    void *context;
    /* Bytes sent so far; may be NULL. */
    void (*on_upload)(void *context, uint64_t sent);
    /* About once a second while it goes on; may be NULL. */
    void (*on_tick)(void *context);
    /* Each line of a stream, parsed; false ends the call (CANCELLED). NULL with on_bytes NULL: the
     * answer is one whole text. */
    bool (*on_line)(void *context, json_t *line, struct ppn_slice text);
    bool (*on_bytes)(void *context, struct ppn_slice bytes);
};

/* Carries it out. *text: the whole answer (NUL-terminated, caller frees) when neither callback is
 * set; may be NULL. An answer of a status over 299 is an error made of its "error" object. */
enum ppn_error api_client_do(struct api_client *client, const struct api_client_call *call,
                             char **text, struct api_client_failure *failure) PPN_CHECK;

/* An upgraded connection: *fd is a socket owned by the caller. */
enum ppn_error api_client_upgrade(struct api_client *client, const char *target, int *fd,
                                  struct api_client_failure *failure) PPN_CHECK;

/* The error for a word of ppn_error_name(), IO for others. */
enum ppn_error api_error_parse(const char *name);
