// SPDX-License-Identifier: ISC
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "node/gossip.h"
#include "node/node.h"
#include "os/os_process.h"

enum { BIG_BLOCK = 128 * 1024 };

enum { EXIT_USAGE = 2, FILES_WANTED = 4096 };

/* SIGHUP only says that the daemon should go on; the log goes to standard error. */
static void on_signal(void *context, int number)
{
    struct node *node = context;
    if (number != SIGHUP)
        os_loop_stop(node->loop);
}

static int run(struct node *node)
{
    struct ppn_failure failure = {0};
    enum ppn_error error = os_loop_open(&node->loop, &failure);
    if (error == PPN_OK) {
        os_loop_on_signal(node->loop, on_signal, node);
        error = node_start(node, &failure);
    }
    if (error == PPN_OK)
        os_loop_run(node->loop);
    else
        (void)fprintf(stderr, "ppn-node: %s\n", failure.text);
    if (node->loop != NULL) {
        node_stop(node);
        os_loop_close(node->loop);
    }
    return error != PPN_OK ? 1 : node->exit_code;
}

int main(int argc, char **argv)
{
    static struct node node;
    struct ppn_failure failure = {0};
    if (node_options_parse(argc, argv, &node.options, &failure) != PPN_OK) {
        (void)fprintf(stderr, "ppn-node: %s\n", failure.text);
        return EXIT_USAGE;
    }
    if (node.options.help || node.options.version) {
        (void)fputs(node.options.help ? node_options_usage() : "ppn-node " PPN_VERSION "\n",
                    stdout);
        return 0;
    }
    if (node.options.check_config) {
        (void)puts("the configuration is right");
        return 0;
    }
    ppn_log_level_set(node.options.log_level);
    /* LMDB asks for megabytes of which it touches little. glibc raises its threshold for such
     * blocks once one was freed; from then on they come from the heap and are cleared, that is,
     * used. */
    (void)mallopt(M_MMAP_THRESHOLD, BIG_BLOCK);
    if (sodium_init() < 0) {
        (void)fputs("ppn-node: libsodium cannot start\n", stderr);
        return 1;
    }
    os_process_harden();
    (void)os_process_file_limit(FILES_WANTED);
    return run(&node);
}
