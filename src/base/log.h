// SPDX-License-Identifier: ISC
#pragma once

/* One line per event to standard error, key=value (logfmt), so that journald and grep both read it.
 * Cores never log: they emit updates, and the shells log those. Never log a secret. */

#include <stdbool.h>

enum ppn_log_level { PPN_LOG_DEBUG, PPN_LOG_INFO, PPN_LOG_WARN, PPN_LOG_ERROR };

/* Lines below this level are dropped. Default: INFO. */
void ppn_log_level_set(enum ppn_log_level level);
bool ppn_log_enabled(enum ppn_log_level level);

/* ppn_log(PPN_LOG_INFO, "peer-added", "node=%s endpoint=%s", ...). Control characters in the
 * formatted text are written as \xNN; a line over 1 KiB is cut. */
void ppn_log(enum ppn_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
