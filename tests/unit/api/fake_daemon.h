// SPDX-License-Identifier: ISC
#pragma once

/* A daemon that only answers: the real server on a real socket, in a child process, over a backend
 * whose world never changes. Two nodes (n1 alive, n2 suspect), one VM (web on n1).
 *
 * "web": everything works. "none": not found. "stuck": its run is refused. Logs of "web" are
 * FAKE_LOG_BYTES of 'x' lines. Its console echoes in upper case and ends after 'q'. The status
 * counts in vms_here how many askers went away. */

#include <sys/types.h>

#include "api/api_backend.h"

enum { FAKE_LOG_BYTES = 3 * 1024 * 1024, FAKE_LOG_LINE = 64 };

struct fake_daemon {
    char directory[64];
    char socket[96];
    pid_t pid;
};

void fake_daemon_start(struct fake_daemon *daemon);
/* The exit status of the child, 0 when it ended cleanly. */
int fake_daemon_stop(struct fake_daemon *daemon);

/* The views of that world, for golden texts. */
void fake_nodes(struct api_request *request);
void fake_vms(struct api_request *request);
const struct api_vm_view *fake_vm(void);
