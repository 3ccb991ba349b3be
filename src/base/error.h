// SPDX-License-Identifier: ISC
#pragma once

/* What can go wrong because of a peer, a person or a machine. Bugs are assertions (base/assert.h).
 */

#define PPN_ERRORS(X)                                                                              \
    X(OK, "no error")                                                                              \
    X(INVALID, "malformed input")                                                                  \
    X(TOO_BIG, "larger than the limit")                                                            \
    X(VERSION, "version not supported")                                                            \
    X(SIGNATURE, "signature does not match")                                                       \
    X(UNAUTHORIZED, "not allowed")                                                                 \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "exists already")                                                                    \
    X(CONFLICT, "in conflict with the present state")                                              \
    X(FULL, "a table is full")                                                                     \
    X(NO_MEMORY, "out of memory")                                                                  \
    X(NO_SPACE, "no space left on the disk")                                                       \
    X(BUSY, "busy, try again")                                                                     \
    X(TIMEOUT, "no answer in time")                                                                \
    X(UNREACHABLE, "cannot be reached")                                                            \
    X(CLOSED, "connection closed")                                                                 \
    X(IO, "input or output failed")                                                                \
    X(CORRUPT, "stored data is damaged")                                                           \
    X(STALE, "older than what is known")                                                           \
    X(REFUSED, "refused")                                                                          \
    X(UNSUPPORTED, "not supported here")                                                           \
    X(CANCELLED, "cancelled")                                                                      \
    X(NO_CANDIDATE, "no node can take it")                                                         \
    X(PERMISSION, "permission denied by the operating system")

enum ppn_error {
#define X(name, text) PPN_ERROR_##name,
    PPN_ERRORS(X)
#undef X
        PPN_ERROR_COUNT
};

#define PPN_OK PPN_ERROR_OK

/* A function whose result must be looked at. */
#define PPN_CHECK __attribute__((warn_unused_result))

/* The plain sentence for an error, never NULL; "unknown error" for a number out of range. */
const char *ppn_error_text(enum ppn_error error);

/* The stable lower-case word for programs ("no_space"), never NULL. */
const char *ppn_error_name(enum ppn_error error);

enum { PPN_FAILURE_TEXT_MAX = 256 };

/* An error and its sentence for people: what happened, and what to do next. Caller owns it. */
struct ppn_failure {
    enum ppn_error code;
    char text[PPN_FAILURE_TEXT_MAX];
};

/* Sets *failure (may be NULL) and returns code, so that `return ppn_fail(f, ...)` reads well.
 * A text that does not fit is cut. */
enum ppn_error ppn_fail(struct ppn_failure *failure, enum ppn_error code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
