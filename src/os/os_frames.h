// SPDX-License-Identifier: ISC
#pragma once

/* Frames over a stream: a 4-byte big-endian length (of what follows), then 1..PPN_FRAME_MAX bytes.
 * A length of zero or over the limit ends the connection (PPN_ERROR_INVALID, PPN_ERROR_TOO_BIG).
 * Life and callback rules are those of os_stream. */

#include "os/os_stream.h"

enum { OS_FRAME_HEADER = 4 };

struct os_frames;

struct os_frames_handler {
    void (*on_connect)(void *context);                         /* outgoing only; may be NULL */
    void (*on_frame)(void *context, struct ppn_slice payload); /* payload lives in the call */
    void (*on_drain)(void *context);                           /* may be NULL */
    void (*on_close)(void *context, enum ppn_error reason, const char *text);
};

struct os_frames_config {
    const struct os_frames_handler *handler;
    void *context;
    struct ppn_duration connect_timeout;
    struct ppn_duration idle_timeout;
    size_t write_max; /* 0: OS_STREAM_WRITE_MAX */
    uint32_t
        frame_max; /* of received frames, before the peer has proven who it is; 0: PPN_FRAME_MAX */
};

enum ppn_error os_frames_connect(struct os_loop *loop, const struct os_stream_target *target,
                                 const struct os_frames_config *config, struct os_frames **frames,
                                 struct ppn_failure *failure) PPN_CHECK;
/* Takes a connected socket over, at failure too. */
enum ppn_error os_frames_adopt(struct os_loop *loop, int fd, const struct os_frames_config *config,
                               struct os_frames **frames, struct ppn_failure *failure) PPN_CHECK;

void os_frames_close(struct os_frames *frames);
void os_frames_close_after_write(struct os_frames *frames);

/* All or nothing, as os_stream_write; PPN_ERROR_TOO_BIG over PPN_FRAME_MAX. */
enum ppn_error os_frames_send(struct os_frames *frames, struct ppn_slice payload) PPN_CHECK;
bool os_frames_congested(const struct os_frames *frames);
/* No on_frame until resumed. */
void os_frames_pause(struct os_frames *frames);
void os_frames_resume(struct os_frames *frames);
void os_frames_limit(struct os_frames *frames, uint32_t frame_max);
void os_frames_idle_timeout(struct os_frames *frames, struct ppn_duration timeout);
struct ppn_endpoint os_frames_peer(const struct os_frames *frames);
struct ppn_endpoint os_frames_local(const struct os_frames *frames);
