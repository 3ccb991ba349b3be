// SPDX-License-Identifier: ISC
#pragma once

/* The event loop of a process: timers, descriptors, signals, deferred closures. One thread runs it,
 * and every function of src/os is called from that thread unless its header says otherwise.
 * libev sits behind it (environment ignored) and shows nowhere outside src/os.
 *
 * Timers, watchers and closures are embedded in whatever owns them: starting one allocates nothing
 * and cannot fail. Their memory must be zero or initialised, and stopped before it is freed. */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

struct os_loop;

typedef void os_fn(void *context);

/* Makes the loop, ignores SIGPIPE, and takes the first reading of the clocks. */
enum ppn_error os_loop_open(struct os_loop **loop, struct ppn_failure *failure) PPN_CHECK;
/* Everything that was started on it must have been stopped or closed before. NULL is allowed. */
void os_loop_close(struct os_loop *loop);

/* Runs until os_loop_stop, or until nothing is left that could ever happen. */
void os_loop_run(struct os_loop *loop);
/* Ends os_loop_run after the present callbacks; callable from any of them. */
void os_loop_stop(struct os_loop *loop);
/* One round: waits until something happens (a posted closure is something), handles all that is
 * ready, returns. For tests and start-up. */
void os_loop_turn(struct os_loop *loop);

/* CLOCK_MONOTONIC as read once at this wake-up; the same for all callbacks of the round. */
struct ppn_instant os_now(const struct os_loop *loop);

/* How long the machine slept (CLOCK_BOOTTIME against CLOCK_MONOTONIC) since the last call; zero
 * when it did not. Differences under 100 ms are noise and count as zero. */
struct ppn_duration os_suspend_gap(struct os_loop *loop);

/* One callback for SIGTERM, SIGINT and SIGHUP, called in the loop, not in a signal handler.
 * `number` is the signal. Without it those signals act as the system says. */
typedef void os_signal_fn(void *context, int number);
void os_loop_on_signal(struct os_loop *loop, os_signal_fn *fn, void *context);

/* Hooks called in the order of registration each time before the loop sleeps, so that a shell can
 * flush what the round produced and rearm one timer to its earliest deadline. At most
 * OS_HOOKS_MAX; they stay for the life of the loop. */
enum { OS_HOOKS_MAX = 8 };
void os_loop_before_sleep(struct os_loop *loop, os_fn *fn, void *context);

/* A one-shot timer. It never fires before its instant (by os_now). */
struct os_timer {
    struct os_loop *loop;
    os_fn *fn;
    void *context;
    struct ppn_instant at;
    uint64_t storage[6]; /* libev's watcher */
};

void os_timer_init(struct os_timer *timer, struct os_loop *loop, os_fn *fn, void *context);
/* Arms or rearms. An instant in the past fires in the next round; PPN_NEVER stops. */
void os_timer_at(struct os_timer *timer, struct ppn_instant at);
void os_timer_after(struct os_timer *timer, struct ppn_duration delay);
void os_timer_stop(struct os_timer *timer);
bool os_timer_armed(const struct os_timer *timer);

/* Readiness of any descriptor, an epoll descriptor included (libmicrohttpd's). Level-triggered.
 * The descriptor stays the caller's: stop first, then close it. */
enum { OS_READABLE = 1, OS_WRITABLE = 2 };
typedef void os_io_fn(void *context, unsigned ready);
struct os_io {
    struct os_loop *loop;
    os_io_fn *fn;
    void *context;
    uint64_t storage[7]; /* libev's watcher */
};

void os_io_init(struct os_io *io, struct os_loop *loop, int fd, os_io_fn *fn, void *context);
/* Starts, changes or (wanted == 0) stops the watcher. */
void os_io_want(struct os_io *io, unsigned wanted);
void os_io_stop(struct os_io *io);

/* A closure run once, before the loop sleeps next; posting a posted one changes nothing. One posted
 * from a closure runs in the next round, so that a chain cannot starve the sockets. */
struct os_closure {
    os_fn *fn;
    void *context;
    struct os_closure *next, *previous;
};

void os_closure_init(struct os_closure *closure, os_fn *fn, void *context);
void os_defer(struct os_loop *loop, struct os_closure *closure);
void os_defer_cancel(struct os_loop *loop, struct os_closure *closure);
