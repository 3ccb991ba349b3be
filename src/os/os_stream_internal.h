// SPDX-License-Identifier: ISC
#pragma once

/* A stream's inside, shared by the files that connect it and that move its bytes. */

#include "os/os_loop_internal.h"
#include "os/os_stream.h"

struct os_bytes {
    uint8_t *data;
    size_t start, size, capacity; /* content is data[start .. start + size) */
};

struct os_stream {
    struct os_loop *loop;
    int fd;
    bool unix_socket;
    const struct os_stream_handler *handler; /* NULL once nobody listens any more */
    void *context;
    struct os_io io;
    struct os_timer timer;   /* the connect, idle or farewell deadline */
    struct os_closure later; /* on_close, and bytes to be shown again */
    struct os_bytes in, out;
    size_t write_max;
    struct ppn_duration idle_timeout;
    struct ppn_instant active_at; /* last time that bytes moved */
    struct os_orphan orphan;      /* while closing after the last write */
    uint32_t depth;               /* callbacks running */
    bool connecting, connected;
    bool paused, show_again;
    bool ended;            /* the peer finished */
    bool finish, finished; /* we want to finish; we did */
    bool congested;
    bool farewell; /* os_stream_close_after_write */
    bool failed;   /* on_close is due */
    bool closed;   /* freed once no callback runs */
    enum ppn_error reason;
    char text[160];
};

/* A stream around a socket, which it takes over at failure too. */
enum ppn_error os_stream_make(struct os_loop *loop, int fd, bool unix_socket, bool connecting,
                              const struct os_stream_config *config, struct os_stream **stream,
                              struct ppn_failure *failure) PPN_CHECK;
/* os_stream_write of two parts as one. */
enum ppn_error os_stream_write_two(struct os_stream *stream, struct ppn_slice first,
                                   struct ppn_slice second) PPN_CHECK;
/* Ends it by itself: on_close follows before the loop sleeps. The first reason stays. */
void os_stream_fail(struct os_stream *stream, enum ppn_error reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
