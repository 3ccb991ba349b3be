// SPDX-License-Identifier: ISC
#pragma once

/* How things look to people: tables, human sizes and ages, colours, progress. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GREEN, CLI_YELLOW, CLI_RED, CLI_CYAN };

enum { CLI_COLUMNS_MAX = 12, CLI_CELL_MAX = 200 };

/* A table is gathered whole, then printed with columns as wide as their widest cell. */
struct cli_table {
    const char *const *heads; /* column_count; a leading '>' aligns right */
    size_t column_count;
    struct cli_cell *cells;
    size_t cell_count, cell_capacity;
    size_t rows;
};

struct cli_cell {
    char text[CLI_CELL_MAX + 1];
    enum cli_colour colour;
};

void cli_table_init(struct cli_table *table, const char *const *heads, size_t column_count);
/* Appends the next cell, row by row. Control characters become '?'; empty becomes "-". */
void cli_cell(struct cli_table *table, enum cli_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints and frees. */
void cli_table_print(const struct cli *cli, struct cli_table *table, FILE *out);

/* The start of a colour, or "" where colours are off. */
const char *cli_colour(const struct cli *cli, enum cli_colour colour);

enum cli_colour cli_state_colour(const char *state);

enum { CLI_TEXT_MAX = 32 };

/* "512M", "1.5G", "20T"; three digits at most. */
void cli_size_text(uint64_t bytes, char text[static CLI_TEXT_MAX]);
/* "3s", "12m", "5h", "4d", "2y"; "now" under a second. */
void cli_age_text(int64_t ms, char text[static CLI_TEXT_MAX]);
/* Columns on a terminal: code points; good enough for the Latin, Greek and Cyrillic that comments
 * and reasons are written in. */
size_t cli_width(const char *text);
/* Replaces control characters, C1 included, in place. */
void cli_clean(char *text);

/* Shorthands for members of answers; "" and fallback where absent or of another type. */
const char *cli_text(const json_t *object, const char *key);
int64_t cli_number(const json_t *object, const char *key, int64_t fallback);
bool cli_flag(const json_t *object, const char *key);

int64_t cli_now_ms(void);

/* Progress on standard error: one line rewritten in place on a terminal, else a line a change. */
struct cli_progress {
    const struct cli *cli;
    char last[256];
    int percent;
    unsigned turn;
    bool shown;
    int64_t drawn_ms, changed_ms;
};

void cli_progress_show(struct cli_progress *progress, int percent, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Shows on a terminal that it still goes on, and since when. */
void cli_progress_tick(struct cli_progress *progress);
/* Wipes the line on a terminal. */
void cli_progress_clear(struct cli_progress *progress);

/* Guest output made safe for a terminal: escape sequences and control characters but newline, tab
 * and return are left out. State lives between calls. */
struct cli_filter {
    unsigned state;
};

size_t cli_filter(struct cli_filter *filter, const uint8_t *from, size_t size, uint8_t *to);
