// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli_print.h"

enum { REDRAW_MS = 80 };

void cli_progress_clear(struct cli_progress *progress)
{
    if (progress->shown)
        (void)fputs("\r\033[K", stderr);
    progress->shown = false;
}

void cli_progress_show(struct cli_progress *progress, int percent, const char *format, ...)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    char text[256];
    va_list arguments;
    if (progress->cli->json)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cli_clean(text);
    bool changed = strcmp(text, progress->last) != 0;
    (void)ppn_text_copy(progress->last, sizeof(progress->last), text);
    if (!progress->cli->progress) {
        if (changed)
            (void)fprintf(stderr, "%s\n", text);
        return;
    }
    int64_t now = cli_now_ms();
    if (!changed && percent != 100 && now - progress->drawn_ms < REDRAW_MS)
        return;
    progress->drawn_ms = now;
    progress->turn = (progress->turn + 1) % (sizeof(spinner) / sizeof(spinner[0]));
    (void)fprintf(stderr, "\r\033[K%s %.90s", spinner[progress->turn], text);
    if (percent >= 0)
        (void)fprintf(stderr, " %d%%", percent);
    (void)fflush(stderr);
    progress->shown = true;
}
