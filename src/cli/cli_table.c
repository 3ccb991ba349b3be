// SPDX-License-Identifier: ISC
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/cli_print.h"

const char *cli_colour(const struct cli *cli, enum cli_colour colour)
{
    static const char *const codes[] = {"\033[0m",  "\033[1m",  "\033[2m", "\033[32m",
                                        "\033[33m", "\033[31m", "\033[36m"};
    return cli->colour ? codes[colour] : "";
}

enum cli_colour cli_state_colour(const char *state)
{
    static const struct {
        const char *state;
        enum cli_colour colour;
    } colours[] = {{"alive", CLI_GREEN},    {"running", CLI_GREEN}, {"suspect", CLI_YELLOW},
                   {"dead", CLI_RED},       {"failed", CLI_RED},    {"lost", CLI_RED},
                   {"prepared", CLI_CYAN},  {"starting", CLI_CYAN}, {"stopping", CLI_YELLOW},
                   {"booting", CLI_CYAN},   {"left", CLI_DIM},      {"stopped", CLI_DIM},
                   {"cordoned", CLI_YELLOW}};
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
        if (strcmp(state, colours[i].state) == 0)
            return colours[i].colour;
    }
    return CLI_PLAIN;
}

void cli_table_init(struct cli_table *table, const char *const *heads, size_t column_count)
{
    PPN_ASSERT(column_count > 0 && column_count <= CLI_COLUMNS_MAX);
    *table = (struct cli_table){.heads = heads, .column_count = column_count};
}

void cli_cell(struct cli_table *table, enum cli_colour colour, const char *format, ...)
{
    if (table->cell_count == table->cell_capacity) {
        size_t capacity = table->cell_capacity > 0 ? 2 * table->cell_capacity : 64;
        struct cli_cell *cells = realloc(table->cells, capacity * sizeof(*cells));
        if (cells == NULL) {
            (void)fputs("ppn: out of memory\n", stderr);
            exit(CLI_FAILED);
        }
        table->cells = cells;
        table->cell_capacity = capacity;
    }
    struct cli_cell *cell = &table->cells[table->cell_count++];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cell->text, sizeof(cell->text), format, arguments);
    va_end(arguments);
    if (cell->text[0] == '\0')
        (void)strcpy(cell->text, "-");
    cli_clean(cell->text);
    cell->colour = colour;
}

static void print_cell(const struct cli *cli, FILE *out, const struct cli_cell *cell, size_t width,
                       bool right, bool last)
{
    size_t have = cli_width(cell->text);
    int padding = width > have ? (int)(width - have) : 0;
    bool coloured = cli->colour && cell->colour != CLI_PLAIN;
    if (right)
        (void)fprintf(out, "%*s", padding, "");
    (void)fprintf(out, "%s%s%s", coloured ? cli_colour(cli, cell->colour) : "", cell->text,
                  coloured ? cli_colour(cli, CLI_PLAIN) : "");
    if (!right && !last)
        (void)fprintf(out, "%*s", padding, "");
    (void)fputs(last ? "\n" : "  ", out);
}

void cli_table_print(const struct cli *cli, struct cli_table *table, FILE *out)
{
    size_t widths[CLI_COLUMNS_MAX], columns = table->column_count;
    PPN_ASSERT(table->cell_count % columns == 0);
    for (size_t i = 0; i < columns; i++)
        widths[i] = cli_width(table->heads[i] + (table->heads[i][0] == '>'));
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = cli_width(table->cells[i].text);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t i = 0; i < columns; i++) {
        struct cli_cell head = {.colour = CLI_BOLD};
        bool right = table->heads[i][0] == '>';
        (void)snprintf(head.text, sizeof(head.text), "%s", table->heads[i] + right);
        print_cell(cli, out, &head, widths[i], right, i + 1 == columns);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % columns;
        print_cell(cli, out, &table->cells[i], widths[column], table->heads[column][0] == '>',
                   column + 1 == columns);
    }
    (void)fflush(out); /* hints on standard error follow it, not overtake it */
    free(table->cells);
    *table = (struct cli_table){0};
}
