// SPDX-License-Identifier: ISC
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "os/os_clock.h"
#include "os_test.h"

struct fired {
    struct os_loop *loop;
    struct os_timer timer;
    struct ppn_instant at;
    uint32_t count;
};

static void on_fired(void *context)
{
    struct fired *fired = context;
    fired->at = os_now(fired->loop);
    fired->count++;
}

Test(loop, ends_when_nothing_can_happen)
{
    struct rig rig;
    rig_open(&rig);
    os_timer_stop(&rig.guard);
    os_loop_run(rig.loop);
    rig_close(&rig);
}

Test(loop, timers_never_fire_early)
{
    struct rig rig;
    struct fired fired[20] = {0};
    rig_open(&rig);
    os_timer_stop(&rig.guard);
    struct ppn_instant start = os_now(rig.loop);
    for (int i = 0; i < 20; i++) {
        fired[i].loop = rig.loop;
        os_timer_init(&fired[i].timer, rig.loop, on_fired, &fired[i]);
        os_timer_after(&fired[i].timer, ppn_ms(i));
        cr_assert(os_timer_armed(&fired[i].timer));
    }
    os_timer_stop(&fired[7].timer);
    os_loop_run(rig.loop);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(fired[i].count, i == 7 ? 0 : 1);
        cr_assert(!os_timer_armed(&fired[i].timer));
        if (i != 7)
            cr_assert_geq(fired[i].at.ns, start.ns + i * 1000000);
    }
    rig_close(&rig);
}

Test(loop, a_timer_of_the_past_fires_and_never_stays_still)
{
    struct rig rig;
    struct fired past = {0}, never = {0};
    rig_open(&rig);
    os_timer_stop(&rig.guard);
    past.loop = never.loop = rig.loop;
    os_timer_init(&past.timer, rig.loop, on_fired, &past);
    os_timer_init(&never.timer, rig.loop, on_fired, &never);
    os_timer_at(&past.timer, (struct ppn_instant){1});
    os_timer_at(&never.timer, PPN_NEVER);
    os_loop_run(rig.loop);
    cr_assert_eq(past.count, 1);
    cr_assert_eq(never.count, 0);
    rig_close(&rig);
}

struct chain {
    struct os_loop *loop;
    struct os_closure closure;
    uint32_t count;
    int pipe[2];
    bool read;
};

static void on_chain(void *context)
{
    struct chain *chain = context;
    chain->count++;
    if (!chain->read)
        os_defer(chain->loop, &chain->closure);
}

static void on_chain_read(void *context, unsigned ready)
{
    struct chain *chain = context;
    char byte;
    cr_assert(ready & OS_READABLE);
    cr_assert_eq(read(chain->pipe[0], &byte, 1), 1);
    chain->read = true;
}

Test(loop, a_chain_of_closures_does_not_starve_descriptors)
{
    struct rig rig;
    struct chain chain = {0};
    struct os_io io;
    rig_open(&rig);
    chain.loop = rig.loop;
    cr_assert_eq(pipe2(chain.pipe, O_CLOEXEC), 0);
    os_io_init(&io, rig.loop, chain.pipe[0], on_chain_read, &chain);
    os_io_want(&io, OS_READABLE);
    os_closure_init(&chain.closure, on_chain, &chain);
    os_defer(rig.loop, &chain.closure);
    os_defer(rig.loop, &chain.closure);
    os_loop_turn(rig.loop);
    cr_assert_eq(chain.count, 1, "posting twice runs once");
    cr_assert_eq(write(chain.pipe[1], "x", 1), 1);
    rig_until(&rig, &chain.read);
    os_io_stop(&io);
    os_timer_stop(&rig.guard);
    os_loop_run(rig.loop); /* runs the last one, then has nothing to wait for */
    uint32_t before = chain.count;
    os_defer(rig.loop, &chain.closure);
    os_defer_cancel(rig.loop, &chain.closure);
    os_loop_run(rig.loop);
    cr_assert_eq(chain.count, before);
    close(chain.pipe[0]);
    close(chain.pipe[1]);
    rig_close(&rig);
}

Test(loop, an_epoll_descriptor_nests)
{
    struct rig rig;
    struct chain chain = {0};
    struct os_io io;
    struct epoll_event event = {.events = EPOLLIN};
    rig_open(&rig);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_eq(pipe2(chain.pipe, O_CLOEXEC), 0);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, chain.pipe[0], &event), 0);
    os_io_init(&io, rig.loop, epoll, on_chain_read, &chain);
    os_io_want(&io, OS_READABLE);
    cr_assert_eq(write(chain.pipe[1], "x", 1), 1);
    rig_until(&rig, &chain.read);
    os_io_stop(&io);
    close(epoll);
    close(chain.pipe[0]);
    close(chain.pipe[1]);
    rig_close(&rig);
}

static void on_hook(void *context)
{
    (*(uint32_t *)context)++;
}

static void on_signal(void *context, int number)
{
    *(int *)context = number;
}

Test(loop, signals_arrive_and_hooks_run_before_each_sleep)
{
    struct rig rig;
    uint32_t hooks = 0;
    volatile int number = 0;
    rig_open(&rig);
    os_loop_before_sleep(rig.loop, on_hook, &hooks);
    os_loop_on_signal(rig.loop, on_signal, (void *)&number);
    raise(SIGHUP);
    while (number == 0)
        os_loop_turn(rig.loop);
    cr_assert_eq(number, SIGHUP);
    cr_assert_geq(hooks, 1);
    rig_close(&rig);
}

Test(loop, clocks_go_on_and_no_suspend_is_seen)
{
    struct rig rig;
    rig_open(&rig);
    struct ppn_instant a = os_clock_monotonic(), b = os_clock_monotonic();
    cr_assert(!ppn_before(b, a));
    cr_assert_geq(os_clock_boottime().ns, a.ns);
    cr_assert_gt(os_clock_wall().unix_ms, INT64_C(1600000000000));
    cr_assert_eq(os_suspend_gap(rig.loop).ns, 0);
    rig_close(&rig);
}
