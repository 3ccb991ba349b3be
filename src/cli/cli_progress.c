// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli_print.h"

enum { REDRAW_MS = 80, SLOW_MS = 3000 };

void cli_progress_clear(struct cli_progress *progress)
{
    if (progress->shown)
        (void)fputs("\r\033[K", stderr);
    progress->shown = false;
}

static void draw(struct cli_progress *progress)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    int64_t now = cli_now_ms();
    progress->drawn_ms = now;
    progress->turn = (progress->turn + 1) % (sizeof(spinner) / sizeof(spinner[0]));
    (void)fprintf(stderr, "\r\033[K%s %.90s", spinner[progress->turn], progress->last);
    if (progress->percent >= 0)
        (void)fprintf(stderr, " %d%%", progress->percent);
    else if (now - progress->changed_ms >= SLOW_MS)
        (void)fprintf(stderr, " (%llds)", (long long)((now - progress->changed_ms) / 1000));
    (void)fflush(stderr);
    progress->shown = true;
}

void cli_progress_tick(struct cli_progress *progress)
{
    if (progress->shown && cli_now_ms() - progress->drawn_ms >= REDRAW_MS)
        draw(progress);
}

void cli_progress_show(struct cli_progress *progress, int percent, const char *format, ...)
{
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
    progress->percent = percent;
    if (changed)
        progress->changed_ms = cli_now_ms();
    if (!progress->cli->progress) {
        if (changed)
            (void)fprintf(stderr, "%s\n", text);
        return;
    }
    if (changed || percent == 100 || cli_now_ms() - progress->drawn_ms >= REDRAW_MS)
        draw(progress);
}
