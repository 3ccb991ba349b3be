// SPDX-License-Identifier: ISC
#pragma once

/* The service manager's notification protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Does
 * nothing when there is none. Never blocks. */

/* For example "READY=1\nSTATUS=alone in network home". */
void os_notify(const char *state);
