// SPDX-License-Identifier: ISC
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/id.h"
#include "cli/cli.h"
#include "cli/cli_print.h"

static void print_help(const struct cli_command *command, FILE *out)
{
    (void)fprintf(out, "Usage: ppn %s %s\n\n%s.\n", command->name, command->synopsis,
                  command->summary);
    if (command->options[0] != '\0')
        (void)fprintf(out, "\n%s", command->options);
    (void)fprintf(out, "\n  --json           for programs\n"
                       "  --socket PATH    of ppn-node (or PPN_SOCKET; " CLI_DEFAULT_SOCKET ")\n"
                       "  -h, --help       this text; more in \"man ppn\"\n");
}

int cli_getopt(struct cli *cli, int argc, char **argv, const char *letters,
               const struct option *options)
{
    for (;;) {
        int letter = getopt_long(argc, argv, letters, options, NULL);
        switch (letter) {
        case 'S':
            cli->socket = optarg;
            break;
        case 'J':
            cli->json = true;
            break;
        case 'h':
            print_help(cli->command, stdout);
            cli->exit = cli_finish(CLI_OK);
            return -1;
        case '?':
            (void)fprintf(stderr, "Try \"ppn %s --help\".\n", cli->command->name);
            cli->exit = CLI_USAGE;
            return -1;
        default:
            return letter;
        }
    }
}

int cli_usage(struct cli *cli, const char *format, ...)
{
    va_list arguments;
    (void)fprintf(stderr, "ppn %s: ", cli->command->name);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nUsage: ppn %s %s\n", cli->command->name, cli->command->synopsis);
    cli->exit = CLI_USAGE;
    return CLI_USAGE;
}

bool cli_arguments(struct cli *cli, int argc, int min, int max)
{
    int count = argc - optind;
    if (cli->exit >= 0)
        return false;
    if (count < min)
        (void)cli_usage(cli, "an argument is missing");
    else if (count > max)
        (void)cli_usage(cli, "too many arguments");
    return cli->exit < 0;
}

bool cli_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGTP";
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long whole = strtoull(text, &end, 10);
    uint64_t hundredths = 0, scale = 1;
    if (errno != 0)
        return false;
    if (*end == '.') {
        uint64_t weight = 10;
        for (end++; *end >= '0' && *end <= '9'; end++) {
            hundredths += (uint64_t)(*end - '0') * weight;
            weight /= 10;
        }
    }
    char letter = *end >= 'a' && *end <= 'z' ? (char)(*end - 'a' + 'A') : *end;
    const char *unit = letter != '\0' ? strchr(units, letter) : NULL;
    if (unit != NULL) {
        scale = 1ULL << (10 * (unit - units + 1));
        end++;
        if (*end == 'i')
            end++;
    }
    if (*end == 'B' || *end == 'b')
        end++;
    uint64_t product;
    if (*end != '\0' || (hundredths != 0 && unit == NULL) ||
        __builtin_mul_overflow((uint64_t)whole, scale, &product) ||
        __builtin_add_overflow(product, scale / 100 * hundredths + scale % 100 * hundredths / 100,
                               bytes))
        return false;
    return true;
}

bool cli_parse_seconds(const char *text, uint32_t *seconds)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    unsigned long scale = 1;
    if (*end != '\0') {
        scale = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        end++;
    }
    if (errno != 0 || scale == 0 || *end != '\0' || value > UINT32_MAX / scale)
        return false;
    *seconds = (uint32_t)(value * scale);
    return true;
}

bool cli_parse_count(const char *text, uint32_t min, uint32_t max, uint32_t *count)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || errno != 0 || *end != '\0' || value < min || value > max)
        return false;
    *count = (uint32_t)value;
    return true;
}

bool cli_split_pair(char *text, char **key, char **value)
{
    char *equal = strchr(text, '=');
    if (equal == NULL || equal == text)
        return false;
    *equal = '\0';
    *key = text;
    *value = equal + 1;
    return true;
}

bool cli_read_file(const char *path, size_t max, char **bytes, size_t *size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)fprintf(stderr, "ppn: cannot read %s: %s\n", path, strerror(errno));
        return false;
    }
    char *data = malloc(max + 2);
    size_t got = data != NULL ? fread(data, 1, max + 1, file) : 0;
    bool failed = data == NULL || ferror(file) != 0;
    (void)fclose(file);
    if (failed || got > max) {
        (void)fprintf(stderr, "ppn: cannot read %s: %s\n", path,
                      failed ? "it is no readable file" : "it is too big");
        free(data);
        return false;
    }
    data[got] = '\0';
    *bytes = data;
    *size = got;
    return true;
}

void cli_new_request_id(struct ppn_request_id *id)
{
    if (getrandom(id->bytes, sizeof(id->bytes), 0) != (ssize_t)sizeof(id->bytes)) {
        (void)fputs("ppn: the system gives no random numbers\n", stderr);
        exit(CLI_FAILED);
    }
    uint64_t ms = (uint64_t)cli_now_ms();
    for (int i = 0; i < 6; i++)
        id->bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    id->bytes[6] = (uint8_t)(0x70 | (id->bytes[6] & 0x0f));
    id->bytes[8] = (uint8_t)(0x80 | (id->bytes[8] & 0x3f));
}
