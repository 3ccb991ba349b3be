// SPDX-License-Identifier: ISC
#pragma once

/* Byte streams: TCP and UNIX connections, with bounded buffers both ways, and listeners for both.
 *
 * Life: a stream lives until its on_close callback has returned (the stream ended by itself: peer,
 * error, time-out) or until os_stream_close (the owner ended it; no callback follows). Both may
 * happen inside any callback of the stream. on_close comes exactly once, never after
 * os_stream_close, and never from inside os_stream_connect, _write or _finish. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/facts.h"
#include "base/limits.h"
#include "base/slice.h"
#include "base/time.h"
#include "os/os_loop.h"

enum {
    OS_STREAM_READ_MAX = PPN_FRAME_MAX + 4096, /* bytes kept that nobody consumed */
    OS_STREAM_WRITE_MAX = 4 * PPN_FRAME_MAX,   /* default limit of the write queue */
    OS_UNIX_PATH_MAX = 107                     /* sun_path less its NUL */
};

struct os_stream;

/* Why a stream ended, for on_close: CLOSED the peer closed (or reset) it, TIMEOUT the connect or
 * idle deadline passed, REFUSED/UNREACHABLE/PERMISSION/NOT_FOUND connecting failed, TOO_BIG the
 * consumer left more than OS_STREAM_READ_MAX unread, IO anything else. `text` lives in the call. */
struct os_stream_handler {
    void (*on_connect)(void *context); /* outgoing only; may be NULL */
    /* Everything unconsumed so far. Returns how much was consumed (<= bytes.size); the rest is
     * shown again together with what follows. */
    size_t (*on_read)(void *context, struct ppn_slice bytes);
    /* The write queue fell below a quarter of its limit after it had been over half. May be NULL.
     */
    void (*on_drain)(void *context);
    /* The peer finished sending; we may still write. NULL: the stream ends (CLOSED). */
    void (*on_finish)(void *context);
    void (*on_close)(void *context, enum ppn_error reason, const char *text);
};

struct os_stream_config {
    const struct os_stream_handler *handler; /* must outlive the stream */
    void *context;
    struct ppn_duration connect_timeout; /* 0: 10 s */
    struct ppn_duration idle_timeout;    /* nothing read and nothing written; 0: none */
    size_t write_max;                    /* 0: OS_STREAM_WRITE_MAX */
    size_t kernel_queue_max;             /* TCP_NOTSENT_LOWAT; 0: as much as the kernel likes */
};

struct os_stream_target {
    struct ppn_endpoint to;
    struct ppn_endpoint from; /* address zero: the system chooses */
    const char *interface;    /* SO_BINDTODEVICE; may be NULL */
};

/* Starts connecting; the outcome comes as on_connect or on_close. Writing at once is allowed. */
enum ppn_error os_stream_connect(struct os_loop *loop, const struct os_stream_target *target,
                                 const struct os_stream_config *config, struct os_stream **stream,
                                 struct ppn_failure *failure) PPN_CHECK;
enum ppn_error os_stream_connect_unix(struct os_loop *loop, const char *path,
                                      const struct os_stream_config *config,
                                      struct os_stream **stream,
                                      struct ppn_failure *failure) PPN_CHECK;
/* Takes a connected socket over, at failure too. */
enum ppn_error os_stream_adopt(struct os_loop *loop, int fd, const struct os_stream_config *config,
                               struct os_stream **stream, struct ppn_failure *failure) PPN_CHECK;

/* Two connected UNIX sockets, close-on-exec and non-blocking: one to adopt, one for a child. */
enum ppn_error os_stream_pair(int fds[static 2], struct ppn_failure *failure) PPN_CHECK;

/* Ends it now; unsent bytes are lost. NULL is allowed. */
void os_stream_close(struct os_stream *stream);
/* Ends it as soon as the queue is sent: no more reads and no callbacks at all from now on. Gives up
 * after five seconds. The handle is no longer the caller's. */
void os_stream_close_after_write(struct os_stream *stream);
/* Half-close: no more writing; what is queued is sent first. */
void os_stream_finish(struct os_stream *stream);

/* Copies the bytes and sends them as the socket takes them. All or nothing: PPN_ERROR_FULL when the
 * queue would grow over its limit, PPN_ERROR_CLOSED once finished or failed. */
enum ppn_error os_stream_write(struct os_stream *stream, struct ppn_slice bytes) PPN_CHECK;
size_t os_stream_queued(const struct os_stream *stream);
/* True while the queue is over half its limit: stop producing until on_drain. */
bool os_stream_congested(const struct os_stream *stream);

/* Stops and starts reading (back-pressure to the peer). Starting shows unconsumed bytes again. */
void os_stream_read_pause(struct os_stream *stream);
void os_stream_read_resume(struct os_stream *stream);

/* TCP only; zero for UNIX sockets. */
struct ppn_endpoint os_stream_peer(const struct os_stream *stream);
struct ppn_endpoint os_stream_local(const struct os_stream *stream);
/* UNIX sockets only (SO_PEERCRED); false otherwise. */
bool os_stream_peer_uid(const struct os_stream *stream, uid_t *uid, gid_t *gid);
void os_stream_idle_timeout(struct os_stream *stream, struct ppn_duration timeout);
void os_stream_handler(struct os_stream *stream, const struct os_stream_handler *handler,
                       void *context);

struct os_listener;

/* A connection to take over with os_stream_adopt, or to close(2). */
typedef void os_accept_fn(void *context, int fd, const struct ppn_endpoint *from);

struct os_listener_config {
    struct ppn_endpoint bind; /* TCP; address zero: any, both families */
    const char *interface;
    bool freebind;
    const char *unix_path; /* not NULL: a UNIX socket instead; a stale one is replaced */
    mode_t unix_mode;
    gid_t unix_group;         /* (gid_t)-1: unchanged */
    uint32_t connections_max; /* of this listener at once; more wait in the kernel's queue */
    os_accept_fn *on_accept;
    void *context;
};

enum ppn_error os_listener_open(struct os_loop *loop, const struct os_listener_config *config,
                                struct os_listener **listener,
                                struct ppn_failure *failure) PPN_CHECK;
/* Connections taken from it live on. NULL is allowed. */
void os_listener_close(struct os_listener *listener);
/* The owner says that one of the accepted connections ended, so that the next may come in. */
void os_listener_release(struct os_listener *listener);
struct ppn_endpoint os_listener_local(const struct os_listener *listener);

/* A bound, listening, non-blocking UNIX socket for a library that accepts by itself
 * (libmicrohttpd). Replaces a stale socket file; PPN_ERROR_EXISTS when somebody answers on it. */
enum ppn_error os_listen_unix(const char *path, mode_t mode, gid_t group, int *fd,
                              struct ppn_failure *failure) PPN_CHECK;
/* The same for TCP. */
enum ppn_error os_listen_tcp(const struct ppn_endpoint *bind, const char *interface, bool freebind,
                             int *fd, struct ppn_failure *failure) PPN_CHECK;
