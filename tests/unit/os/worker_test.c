// SPDX-License-Identifier: ISC
#include <poll.h>
#include <unistd.h>

#include "os/os_address.h"
#include "os/os_worker.h"
#include "os_test.h"

struct task {
    struct os_worker *worker;
    uint32_t *finished, *cancelled;
    int gate; /* >= 0: the work waits until it is readable */
    bool worked;
};

static void work(void *context)
{
    struct task *task = context;
    struct pollfd gate = {.fd = task->gate, .events = POLLIN};
    if (task->gate >= 0)
        poll(&gate, 1, -1);
    task->worked = true;
}

static void done(void *context, bool cancelled)
{
    struct task *task = context;
    cr_assert_eq(task->worked, !cancelled);
    if (cancelled)
        (*task->cancelled)++;
    else
        (*task->finished)++;
}

Test(worker, runs_all_and_says_busy_when_full)
{
    struct rig rig;
    struct task tasks[OS_WORKER_JOBS_MAX + 1];
    uint32_t finished = 0, cancelled = 0;
    int gate[2];
    struct os_worker *worker;
    rig_open(&rig);
    cr_assert_eq(pipe(gate), 0);
    cr_assert_eq(os_worker_open(rig.loop, 2, &worker, NULL), PPN_OK);
    for (int i = 0; i <= OS_WORKER_JOBS_MAX; i++) {
        tasks[i] = (struct task){worker, &finished, &cancelled, gate[0], false};
        cr_assert_eq(os_worker_submit(worker, work, done, &tasks[i]),
                     i < OS_WORKER_JOBS_MAX ? PPN_OK : PPN_ERROR_BUSY);
    }
    close(gate[1]); /* opens the gate */
    while (finished < OS_WORKER_JOBS_MAX)
        os_loop_turn(rig.loop);
    cr_assert_eq(os_worker_submit(worker, work, done, &tasks[OS_WORKER_JOBS_MAX]), PPN_OK);
    while (finished < OS_WORKER_JOBS_MAX + 1)
        os_loop_turn(rig.loop);
    cr_assert_eq(cancelled, 0);
    os_worker_close(worker);
    close(gate[0]);
    rig_close(&rig);
}

Test(worker, closing_cancels_what_has_not_started)
{
    struct rig rig;
    struct task tasks[10];
    uint32_t finished = 0, cancelled = 0;
    struct os_worker *worker;
    rig_open(&rig);
    cr_assert_eq(os_worker_open(rig.loop, 1, &worker, NULL), PPN_OK);
    for (int i = 0; i < 10; i++) {
        tasks[i] = (struct task){worker, &finished, &cancelled, -1, false};
        cr_assert_eq(os_worker_submit(worker, work, done, &tasks[i]), PPN_OK);
    }
    os_worker_close(worker);
    cr_assert_eq(finished + cancelled, 10);
    rig_close(&rig);
}

static void resolved(void *context, enum ppn_error error, const struct ppn_endpoint *endpoints,
                     uint32_t count)
{
    char text[OS_ENDPOINT_TEXT];
    cr_assert_eq(error, PPN_OK);
    cr_assert_geq(count, 1);
    os_endpoint_text(&endpoints[0], text);
    cr_assert_str_eq(text, "192.0.2.7:99");
    *(bool *)context = true;
}

Test(worker, resolves_numbers)
{
    struct rig rig;
    struct os_worker *worker;
    bool seen = false;
    rig_open(&rig);
    cr_assert_eq(os_worker_open(rig.loop, 1, &worker, NULL), PPN_OK);
    cr_assert_eq(os_resolve(worker, "192.0.2.7", 99, resolved, &seen), PPN_OK);
    rig_until(&rig, &seen);
    os_worker_close(worker);
    rig_close(&rig);
}
