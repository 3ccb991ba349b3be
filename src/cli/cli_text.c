// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "cli/cli_print.h"

void cli_size_text(uint64_t bytes, char text[static CLI_TEXT_MAX])
{
    static const char units[] = "BKMGTPE";
    size_t unit = 0;
    uint64_t tenths = bytes, rest = 0;
    while (tenths >= 1024 && units[unit + 1] != '\0') {
        rest = tenths % 1024;
        tenths /= 1024;
        unit++;
    }
    uint64_t fraction = rest * 10 / 1024;
    if (unit > 0 && tenths < 10 && fraction > 0)
        (void)snprintf(text, CLI_TEXT_MAX, "%llu.%llu%c", (unsigned long long)tenths,
                       (unsigned long long)fraction, units[unit]);
    else
        (void)snprintf(text, CLI_TEXT_MAX, "%llu%c", (unsigned long long)tenths, units[unit]);
}

void cli_age_text(int64_t ms, char text[static CLI_TEXT_MAX])
{
    static const struct {
        int64_t seconds;
        char unit;
    } steps[] = {{365 * 86400, 'y'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t seconds = ms / 1000;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (seconds >= steps[i].seconds) {
            (void)snprintf(text, CLI_TEXT_MAX, "%lld%c", (long long)(seconds / steps[i].seconds),
                           steps[i].unit);
            return;
        }
    }
    (void)snprintf(text, CLI_TEXT_MAX, "now");
}

size_t cli_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void cli_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < ' ' || *c == 0x7f) {
            *c = '?';
        } else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
            c[0] = '?';
            c[1] = '?';
        }
    }
}

const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t cli_number(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool cli_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

int64_t cli_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ECMA-48: ESC [ parameters final, ESC ] text BEL or ESC \, and two-byte sequences. */
size_t cli_filter(struct cli_filter *filter, const uint8_t *from, size_t size, uint8_t *to)
{
    enum { TEXT, ESCAPE, CSI, STRING, STRING_ESCAPE };
    size_t made = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = from[i];
        switch (filter->state) {
        case ESCAPE:
            if (c == '[')
                filter->state = CSI;
            else if (c == ']' || c == 'P' || c == '^' || c == '_' || c == 'X')
                filter->state = STRING;
            else
                filter->state = c >= 0x20 && c < 0x30 ? ESCAPE : TEXT;
            break;
        case CSI:
            if (c >= 0x40 && c <= 0x7e)
                filter->state = TEXT;
            break;
        case STRING:
            filter->state = c == 7 || c == '\n' ? TEXT : c == 27 ? STRING_ESCAPE : STRING;
            break;
        case STRING_ESCAPE:
            filter->state = TEXT;
            break;
        default:
            if (c == 27)
                filter->state = ESCAPE;
            else if ((c >= ' ' && c != 0x7f) || c == '\n' || c == '\t' || c == '\r')
                to[made++] = c;
            break;
        }
    }
    return made;
}
