// SPDX-License-Identifier: ISC
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os_child.h"
#include "os/os_clock.h"
#include "os_test.h"

struct seen {
    bool done;
    enum ppn_error error;
    int exit_code, signal;
    char out[256], err[256], text[160];
    size_t out_size;
    bool truncated;
};

static void on_exit_seen(void *context, const struct os_child_result *result)
{
    struct seen *seen = context;
    cr_assert(!seen->done, "told twice");
    seen->done = true;
    seen->error = result->error;
    seen->exit_code = result->exit_code;
    seen->signal = result->signal;
    seen->out_size = result->out.size;
    seen->truncated = result->truncated;
    snprintf(seen->out, sizeof seen->out, "%s", (const char *)result->out.data);
    snprintf(seen->err, sizeof seen->err, "%s", (const char *)result->err.data);
    snprintf(seen->text, sizeof seen->text, "%s", result->text);
}

static struct seen run(struct rig *rig, const struct os_child_config *config)
{
    struct seen seen = {0};
    struct ppn_failure failure;
    cr_assert_eq(os_child_spawn(rig->loop, config, on_exit_seen, &seen, NULL, &failure), PPN_OK,
                 "%s", failure.text);
    rig_until(rig, &seen.done);
    return seen;
}

#define ARGV(...)     ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

Test(child, gives_output_exit_code_and_input)
{
    struct rig rig;
    rig_open(&rig);
    struct seen seen =
        run(&rig, &(struct os_child_config){.argv = SHELL("cat; echo oops >&2; exit 3"),
                                            .input = ppn_slice("hello", 5)});
    cr_assert_eq(seen.error, PPN_OK);
    cr_assert_eq(seen.exit_code, 3);
    cr_assert_str_eq(seen.out, "hello");
    cr_assert_str_eq(seen.err, "oops\n");
    cr_assert_str_eq(seen.text, "sh failed with exit code 3");
    rig_close(&rig);
}

Test(child, has_a_clean_environment_directory_and_descriptors)
{
    struct rig rig;
    rig_open(&rig);
    int extra[2];
    cr_assert_eq(pipe2(extra, 0), 0); /* inheritable on purpose */
    setenv("PPN_SECRET", "x", 1);
    struct seen seen =
        run(&rig, &(struct os_child_config){
                      .argv = SHELL("pwd; env | grep -c SECRET; ls /proc/self/fd | tr '\\n' ' '"),
                      .fds = {{extra[1], 7}},
                      .fd_count = 1});
    /* 3 is the directory that ls itself reads. */
    cr_assert_str_eq(seen.out, "/\n0\n0 1 2 3 7 ", "%s", seen.out);
    close(extra[0]);
    close(extra[1]);
    rig_close(&rig);
}

Test(child, passed_descriptors_reach_their_numbers_even_crosswise)
{
    struct rig rig;
    rig_open(&rig);
    int a[2], b[2];
    char byte;
    cr_assert_eq(pipe2(a, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(b, O_CLOEXEC), 0);
    struct os_child_config config = {.argv = SHELL("test -e /proc/self/fd/9 && exit 0; exit 1"),
                                     .fds = {{a[1], 9}, {b[1], a[1] >= 3 ? a[1] : 8}},
                                     .fd_count = 2};
    struct seen seen = run(&rig, &config);
    cr_assert_eq(seen.exit_code, 0);
    close(a[1]);
    close(b[1]);
    cr_assert_eq(read(a[0], &byte, 1), 0, "the child kept nothing");
    close(a[0]);
    close(b[0]);
    rig_close(&rig);
}

Test(child, a_missing_program_is_told_with_its_name)
{
    struct rig rig;
    struct ppn_failure failure;
    rig_open(&rig);
    cr_assert_eq(os_child_spawn(rig.loop, &(struct os_child_config){.argv = ARGV("no-such-tool")},
                                NULL, NULL, NULL, &failure),
                 PPN_ERROR_NOT_FOUND);
    cr_assert_str_eq(failure.text, "cannot find the program no-such-tool: is it installed?");
    rig_close(&rig);
}

Test(child, what_fails_between_fork_and_exec_is_told)
{
    struct rig rig;
    rig_open(&rig);
    struct seen seen = run(
        &rig, &(struct os_child_config){.argv = ARGV("true"), .directory = "/no/such/directory"});
    cr_assert_eq(seen.error, PPN_ERROR_NOT_FOUND);
    cr_assert_str_eq(seen.text,
                     "cannot start true: entering its directory: No such file or directory");
    rig_close(&rig);
}

Test(child, a_time_out_ends_the_whole_group)
{
    struct rig rig;
    rig_open(&rig);
    struct ppn_instant start = os_clock_monotonic();
    /* It ignores SIGTERM, and so does its grandchild, which holds the output open. */
    struct seen seen =
        run(&rig,
            &(struct os_child_config){.argv = SHELL("trap '' TERM; echo up; sleep 60 & wait; wait"),
                                      .timeout = ppn_ms(100),
                                      .grace = ppn_ms(50)});
    cr_assert_eq(seen.error, PPN_ERROR_TIMEOUT);
    cr_assert_eq(seen.signal, SIGKILL);
    cr_assert_str_eq(seen.out, "up\n");
    cr_assert_str_eq(seen.text, "sh took too long and was ended");
    cr_assert_lt(os_clock_monotonic().ns - start.ns, ppn_seconds(5).ns);
    rig_close(&rig);
}

Test(child, output_over_the_bound_is_cut_and_never_blocks_it)
{
    struct rig rig;
    rig_open(&rig);
    struct seen seen =
        run(&rig, &(struct os_child_config){.argv = SHELL("head -c 1000000 /dev/zero | tr '\\0' x"),
                                            .output_max = 100});
    cr_assert_eq(seen.exit_code, 0);
    cr_assert_eq(seen.out_size, 100);
    cr_assert(seen.truncated);
    rig_close(&rig);
}

Test(child, becomes_another_user_without_privileges)
{
    struct rig rig;
    if (!os_process_is_root())
        cr_skip_test("needs root to change the user");
    rig_open(&rig);
    struct seen seen =
        run(&rig, &(struct os_child_config){
                      .argv = SHELL("id -u; id -g; id -G; "
                                    "grep -E 'NoNewPrivs|CapBnd|CapEff|SigBlk' /proc/self/status"),
                      .set_user = true,
                      .uid = 65534,
                      .gid = 65534,
                      .groups = {12345},
                      .group_count = 1,
                      .no_new_privileges = true,
                      .drop_bounding_set = true,
                      .new_session = true});
    cr_assert_str_eq(seen.out,
                     "65534\n65534\n65534 12345\nSigBlk:\t0000000000000000\n"
                     "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
                     "NoNewPrivs:\t1\n",
                     "%s", seen.out);
    rig_close(&rig);
}

Test(child, killed_and_abandoned_ones_leave_nothing)
{
    struct rig rig;
    struct os_child *child;
    struct os_child_config config = {.argv = ARGV("sleep", "60")};
    rig_open(&rig);
    cr_assert_eq(os_child_spawn(rig.loop, &config, NULL, NULL, &child, NULL), PPN_OK);
    pid_t pid = os_child_pid(child);
    os_child_kill(child);
    os_timer_stop(&rig.guard);
    os_loop_run(rig.loop); /* ends once it is reaped */
    cr_assert_eq(kill(pid, 0), -1);
    cr_assert_eq(os_child_spawn(rig.loop, &config, NULL, NULL, &child, NULL), PPN_OK);
    pid = os_child_pid(child);
    os_child_abandon(child);
    rig_close(&rig);
    cr_assert_eq(kill(pid, 0), 0, "it lives on");
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(child, a_process_of_an_earlier_run_is_adopted)
{
    struct rig rig;
    struct os_child *child;
    struct seen seen = {0};
    uint64_t ticks;
    int pidfd;
    rig_open(&rig);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("sleep", "sleep", "60", (char *)NULL);
        _exit(127);
    }
    cr_assert_eq(os_process_start_ticks(pid, &ticks), PPN_OK);
    cr_assert_eq(os_process_open(pid, ticks + 1, &pidfd), PPN_ERROR_NOT_FOUND);
    cr_assert_eq(os_process_open(pid, ticks, &pidfd), PPN_OK);
    cr_assert_eq(os_child_adopt(rig.loop, pid, pidfd, on_exit_seen, &seen, &child, NULL), PPN_OK);
    os_child_terminate(child, ppn_seconds(1));
    rig_until(&rig, &seen.done);
    cr_assert_eq(seen.error, PPN_OK);
    cr_assert_eq(seen.exit_code, -1);
    cr_assert_eq(waitpid(pid, NULL, 0), pid, "reaping is its parent's business");
    rig_close(&rig);
}

Test(child, runs_synchronously)
{
    struct os_child_result result;
    uint32_t files = os_process_open_files();
    cr_assert_eq(os_child_run_sync(&(struct os_child_config){.argv = ARGV("echo", "a b", "$HOME")},
                                   &result, NULL),
                 PPN_OK);
    cr_assert(os_child_ok(&result));
    cr_assert_str_eq((const char *)result.out.data, "a b $HOME\n", "no shell in between");
    os_child_result_free(&result);
    cr_assert_eq(os_child_run_sync(
                     &(struct os_child_config){.argv = ARGV("sleep", "60"), .timeout = ppn_ms(30)},
                     &result, NULL),
                 PPN_OK);
    cr_assert_eq(result.error, PPN_ERROR_TIMEOUT);
    os_child_result_free(&result);
    cr_assert_eq(os_process_open_files(), files);
}

/* Many at once: nothing is lost, mixed up or leaked. */
Test(child, fifty_at_once)
{
    struct rig rig;
    struct seen seen[50] = {0};
    char text[50][12];
    rig_open(&rig);
    for (int i = 0; i < 50; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        cr_assert_eq(os_child_spawn(rig.loop,
                                    &(struct os_child_config){.argv = ARGV("echo", text[i])},
                                    on_exit_seen, &seen[i], NULL, NULL),
                     PPN_OK);
    }
    for (int i = 0; i < 50; i++) {
        rig_until(&rig, &seen[i].done);
        seen[i].out[strcspn(seen[i].out, "\n")] = 0;
        cr_assert_str_eq(seen[i].out, text[i]);
    }
    rig_close(&rig);
}
