// SPDX-License-Identifier: ISC
#include "os/os_loop.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/os_clock.h"
#include "os/os_loop_internal.h"

/* libev's initialisers assign through casts inside macros. */
#pragma GCC diagnostic ignored "-Wstrict-aliasing"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
enum { SIGNAL_COUNT = sizeof signals / sizeof signals[0] };

struct hook {
    os_fn *fn;
    void *context;
};

struct os_loop {
    struct ev_loop *ev;
    ev_check wake_up;
    ev_prepare sleep;
    ev_idle busy; /* active while closures wait, so that the loop does not sleep on them */
    ev_signal signal_watchers[SIGNAL_COUNT];
    os_signal_fn *signal_fn;
    void *signal_context;
    struct ppn_instant now;
    int64_t asleep_ns; /* BOOTTIME - MONOTONIC when last looked at */
    struct hook hooks[OS_HOOKS_MAX];
    uint32_t hook_count;
    bool turning;               /* in os_loop_turn */
    struct os_closure closures; /* ring head */
    struct os_orphan orphans;   /* ring head */
    uint8_t *scratch;
};

_Static_assert(sizeof(ev_timer) <= sizeof((struct os_timer){0}.storage), "ev_timer fits");
_Static_assert(sizeof(ev_io) <= sizeof((struct os_io){0}.storage), "ev_io fits");

static ev_timer *timer_watcher(struct os_timer *timer)
{
    return (ev_timer *)(void *)timer->storage;
}

static ev_io *io_watcher(struct os_io *io)
{
    return (ev_io *)(void *)io->storage;
}

static int64_t asleep_ns(void)
{
    return os_clock_boottime().ns - os_clock_monotonic().ns;
}

static void on_wake_up(struct ev_loop *ev, ev_check *watcher, int events)
{
    (void)ev;
    (void)events;
    struct os_loop *loop = watcher->data;
    loop->now = os_clock_monotonic();
}

static void on_busy(struct ev_loop *ev, ev_idle *watcher, int events)
{
    (void)ev;
    (void)watcher;
    (void)events;
}

/* Runs what was posted before this call; what closures post themselves stays for the next round.
 * False when there was none. */
static bool run_closures(struct os_loop *loop)
{
    struct os_closure *head = &loop->closures;
    struct os_closure round = {.next = &round, .previous = &round};
    if (head->next == head)
        return false;
    round.next = head->next;
    round.previous = head->previous;
    round.next->previous = &round;
    round.previous->next = &round;
    head->next = head->previous = head;
    while (round.next != &round) {
        struct os_closure *closure = round.next;
        round.next = closure->next;
        closure->next->previous = &round;
        closure->next = closure->previous = NULL;
        closure->fn(closure->context);
    }
    return true;
}

static void on_sleep(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    (void)events;
    struct os_loop *loop = watcher->data;
    bool ran = run_closures(loop);
    for (uint32_t i = 0; i < loop->hook_count; i++)
        loop->hooks[i].fn(loop->hooks[i].context);
    /* A single turn in which closures ran does not sleep on top of them. */
    if (loop->closures.next == &loop->closures && !(ran && loop->turning))
        ev_idle_stop(ev, &loop->busy);
}

enum ppn_error os_loop_open(struct os_loop **out, struct ppn_failure *failure)
{
    *out = NULL;
    struct os_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the event loop");
    /* Not libev's default loop: that one reaps every child of the process. */
    loop->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (!loop->ev) {
        free(loop);
        return ppn_fail(failure, PPN_ERROR_IO,
                        "cannot make an epoll descriptor: is the limit of "
                        "open files reached?");
    }
    signal(SIGPIPE, SIG_IGN);
    loop->now = os_clock_monotonic();
    loop->asleep_ns = asleep_ns();
    loop->closures.next = loop->closures.previous = &loop->closures;
    loop->orphans.next = loop->orphans.previous = &loop->orphans;
    ev_check_init(&loop->wake_up, on_wake_up);
    ev_set_priority(&loop->wake_up, EV_MAXPRI);
    loop->wake_up.data = loop;
    ev_check_start(loop->ev, &loop->wake_up);
    ev_unref(loop->ev);
    ev_prepare_init(&loop->sleep, on_sleep);
    loop->sleep.data = loop;
    ev_prepare_start(loop->ev, &loop->sleep);
    ev_unref(loop->ev);
    ev_idle_init(&loop->busy, on_busy);
    *out = loop;
    return PPN_OK;
}

void os_loop_close(struct os_loop *loop)
{
    if (!loop)
        return;
    while (loop->orphans.next != &loop->orphans) {
        struct os_orphan *orphan = loop->orphans.next;
        os_loop_orphan_remove(loop, orphan);
        orphan->drop(orphan);
    }
    for (int i = 0; i < SIGNAL_COUNT && loop->signal_fn; i++) {
        ev_ref(loop->ev);
        ev_signal_stop(loop->ev, &loop->signal_watchers[i]);
    }
    ev_loop_destroy(loop->ev);
    free(loop->scratch);
    free(loop);
}

void os_loop_run(struct os_loop *loop)
{
    loop->now = os_clock_monotonic();
    ev_now_update(loop->ev);
    ev_run(loop->ev, 0);
}

void os_loop_stop(struct os_loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void os_loop_turn(struct os_loop *loop)
{
    loop->now = os_clock_monotonic();
    loop->turning = true;
    ev_run(loop->ev, EVRUN_ONCE);
    loop->turning = false;
}

struct ppn_instant os_now(const struct os_loop *loop)
{
    return loop->now;
}

struct ppn_duration os_suspend_gap(struct os_loop *loop)
{
    int64_t asleep = asleep_ns();
    int64_t gap = asleep - loop->asleep_ns;
    if (gap < ppn_ms(100).ns)
        return ppn_ns(0);
    loop->asleep_ns = asleep;
    return ppn_ns(gap);
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    struct os_loop *loop = watcher->data;
    loop->signal_fn(loop->signal_context, watcher->signum);
}

void os_loop_on_signal(struct os_loop *loop, os_signal_fn *fn, void *context)
{
    PPN_ASSERT(fn != NULL && loop->signal_fn == NULL);
    loop->signal_fn = fn;
    loop->signal_context = context;
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        ev_signal *watcher = &loop->signal_watchers[i];
        ev_signal_init(watcher, on_signal, signals[i]);
        watcher->data = loop;
        ev_signal_start(loop->ev, watcher);
        ev_unref(loop->ev);
    }
}

void os_loop_before_sleep(struct os_loop *loop, os_fn *fn, void *context)
{
    PPN_ASSERT(fn != NULL && loop->hook_count < OS_HOOKS_MAX);
    loop->hooks[loop->hook_count++] = (struct hook){fn, context};
}

static void timer_start(struct os_timer *timer)
{
    ev_timer *watcher = timer_watcher(timer);
    int64_t delay_ns = timer->at.ns - timer->loop->now.ns;
    ev_timer_set(watcher, delay_ns > 0 ? (ev_tstamp)delay_ns * 1e-9 : 0., 0.);
    ev_timer_start(timer->loop->ev, watcher);
}

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    struct os_timer *timer = watcher->data;
    /* libev reads the clock at another moment than we do; never tell a core too early. */
    if (!ppn_due(timer->at, timer->loop->now)) {
        timer_start(timer);
        return;
    }
    timer->at = PPN_NEVER;
    timer->fn(timer->context);
}

void os_timer_init(struct os_timer *timer, struct os_loop *loop, os_fn *fn, void *context)
{
    PPN_ASSERT(loop != NULL && fn != NULL);
    *timer = (struct os_timer){.loop = loop, .fn = fn, .context = context, .at = PPN_NEVER};
    ev_init(timer_watcher(timer), on_timer);
    timer_watcher(timer)->data = timer;
}

void os_timer_at(struct os_timer *timer, struct ppn_instant at)
{
    PPN_ASSERT(timer->loop != NULL);
    ev_timer_stop(timer->loop->ev, timer_watcher(timer));
    timer->at = at;
    if (at.ns != PPN_NEVER.ns)
        timer_start(timer);
}

void os_timer_after(struct os_timer *timer, struct ppn_duration delay)
{
    os_timer_at(timer, ppn_after(timer->loop->now, delay));
}

void os_timer_stop(struct os_timer *timer)
{
    if (timer->loop)
        os_timer_at(timer, PPN_NEVER);
}

bool os_timer_armed(const struct os_timer *timer)
{
    return timer->loop && timer->at.ns != PPN_NEVER.ns;
}

static void on_io(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)ev;
    struct os_io *io = watcher->data;
    unsigned ready = 0;
    if (events & EV_READ)
        ready |= OS_READABLE;
    if (events & EV_WRITE)
        ready |= OS_WRITABLE;
    io->fn(io->context, ready);
}

void os_io_init(struct os_io *io, struct os_loop *loop, int fd, os_io_fn *fn, void *context)
{
    PPN_ASSERT(loop != NULL && fn != NULL && fd >= 0);
    *io = (struct os_io){.loop = loop, .fn = fn, .context = context};
    ev_io_init(io_watcher(io), on_io, fd, 0);
    io_watcher(io)->data = io;
}

void os_io_want(struct os_io *io, unsigned wanted)
{
    PPN_ASSERT(io->loop != NULL);
    ev_io *watcher = io_watcher(io);
    int events = ((wanted & OS_READABLE) ? EV_READ : 0) | ((wanted & OS_WRITABLE) ? EV_WRITE : 0);
    if (ev_is_active(watcher) && (watcher->events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(io->loop->ev, watcher);
    if (events == 0)
        return;
    ev_io_set(watcher, watcher->fd, events);
    ev_io_start(io->loop->ev, watcher);
}

void os_io_stop(struct os_io *io)
{
    if (io->loop)
        os_io_want(io, 0);
}

void os_closure_init(struct os_closure *closure, os_fn *fn, void *context)
{
    PPN_ASSERT(fn != NULL);
    *closure = (struct os_closure){.fn = fn, .context = context};
}

void os_defer(struct os_loop *loop, struct os_closure *closure)
{
    PPN_ASSERT(closure->fn != NULL);
    if (closure->next)
        return;
    struct os_closure *head = &loop->closures;
    closure->next = head;
    closure->previous = head->previous;
    closure->previous->next = closure;
    head->previous = closure;
    ev_idle_start(loop->ev, &loop->busy);
}

void os_defer_cancel(struct os_loop *loop, struct os_closure *closure)
{
    (void)loop;
    if (!closure->next)
        return;
    closure->next->previous = closure->previous;
    closure->previous->next = closure->next;
    closure->next = closure->previous = NULL;
}

uint8_t *os_loop_scratch(struct os_loop *loop)
{
    if (!loop->scratch)
        loop->scratch = malloc(OS_SCRATCH_SIZE);
    return loop->scratch;
}

void os_loop_orphan_add(struct os_loop *loop, struct os_orphan *orphan)
{
    struct os_orphan *head = &loop->orphans;
    orphan->next = head;
    orphan->previous = head->previous;
    orphan->previous->next = orphan;
    head->previous = orphan;
}

void os_loop_orphan_remove(struct os_loop *loop, struct os_orphan *orphan)
{
    (void)loop;
    PPN_ASSERT(orphan->next != NULL);
    orphan->next->previous = orphan->previous;
    orphan->previous->next = orphan->next;
    orphan->next = orphan->previous = NULL;
}
