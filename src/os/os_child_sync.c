// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/os_child.h"
#include "os/os_file.h"

enum { SYNC_TIMEOUT_S = 30 };

struct sync_run {
    struct os_loop *loop;
    struct os_child_result *result;
    bool no_memory;
};

static bool copy(struct ppn_slice from, struct ppn_slice *to)
{
    uint8_t *bytes = calloc(1, from.size + 1);
    *to = ppn_slice(bytes, 0);
    if (!bytes)
        return false;
    memcpy(bytes, from.data, from.size);
    to->size = from.size;
    return true;
}

static void on_exit_sync(void *context, const struct os_child_result *result)
{
    struct sync_run *run = context;
    *run->result = *result;
    run->result->out = run->result->err = ppn_slice(NULL, 0);
    run->no_memory = !copy(result->out, &run->result->out) || !copy(result->err, &run->result->err);
    os_loop_stop(run->loop);
}

enum ppn_error os_child_run_sync(const struct os_child_config *config,
                                 struct os_child_result *result, struct ppn_failure *failure)
{
    struct sync_run run = {.result = result};
    struct os_child_config bounded = *config;
    *result = (struct os_child_result){.error = PPN_ERROR_IO, .exit_code = -1};
    if (bounded.timeout.ns <= 0)
        bounded.timeout = ppn_seconds(SYNC_TIMEOUT_S);
    enum ppn_error error = os_loop_open(&run.loop, failure);
    if (error != PPN_OK)
        return error;
    error = os_child_spawn(run.loop, &bounded, on_exit_sync, &run, NULL, failure);
    if (error == PPN_OK)
        os_loop_run(run.loop);
    os_loop_close(run.loop);
    if (error == PPN_OK && run.no_memory)
        error = ppn_fail(failure, PPN_ERROR_NO_MEMORY, "no memory for the output of %s",
                         config->argv[0]);
    if (error != PPN_OK)
        os_child_result_free(result);
    return error;
}

void os_child_result_free(struct os_child_result *result)
{
    free((void *)(uintptr_t)result->out.data);
    free((void *)(uintptr_t)result->err.data);
    result->out = result->err = ppn_slice(NULL, 0);
}

enum ppn_error os_process_start_ticks(pid_t pid, uint64_t *start_ticks)
{
    char path[64], text[1024];
    unsigned long long ticks;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    enum ppn_error error = os_file_read_text(path, text, sizeof text);
    if (error != PPN_OK)
        return error;
    /* The second field is the program's name in brackets and may hold anything. */
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1,
                        " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                        "%*s %llu",
                        &ticks) != 1)
        return PPN_ERROR_INVALID;
    *start_ticks = ticks;
    return PPN_OK;
}

enum ppn_error os_process_open(pid_t pid, uint64_t start_ticks, int *pidfd)
{
    uint64_t ticks;
    *pidfd = pidfd_open(pid, 0);
    if (*pidfd < 0)
        return os_errno(errno);
    /* Looked at after the open: the descriptor now holds this very process. */
    enum ppn_error error = os_process_start_ticks(pid, &ticks);
    if (error == PPN_OK && ticks != start_ticks)
        error = PPN_ERROR_NOT_FOUND;
    if (error != PPN_OK) {
        close(*pidfd);
        *pidfd = -1;
    }
    return error;
}
