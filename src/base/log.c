// SPDX-License-Identifier: ISC
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_MAX_SIZE = 1024 };

static enum ppn_log_level level_min = PPN_LOG_INFO;

void ppn_log_level_set(enum ppn_log_level level)
{
    level_min = level;
}

bool ppn_log_enabled(enum ppn_log_level level)
{
    return level >= level_min;
}

void ppn_log(enum ppn_log_level level, const char *event, const char *format, ...)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    char text[LINE_MAX_SIZE];
    char line[4 * LINE_MAX_SIZE + 1];
    size_t size = 0;
    if (!ppn_log_enabled(level))
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            size += (size_t)snprintf(line + size, 5, "\\x%02x", (unsigned)(unsigned char)*c);
        else
            line[size++] = *c;
    }
    line[size] = '\0';
    (void)fprintf(stderr, "level=%s event=%s%s%s\n", levels[level], event, size > 0 ? " " : "",
                  line);
}
