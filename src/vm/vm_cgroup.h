// SPDX-License-Identifier: ISC
#pragma once

/* A cgroup (version 2) for each VM beneath our own, where we may make one: so that people see what
 * a VM uses, and its processes can be told from the daemon's. Nothing depends on it. */

/* An open cgroup.procs for the child to enter, -1 when there is none. */
int vm_cgroup_make(const char *uuid);
/* After the VM's last process ended. */
void vm_cgroup_remove(const char *uuid);
