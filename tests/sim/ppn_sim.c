// SPDX-License-Identifier: ISC
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario.h"
#include "sim_commit.h"

/* ppn-sim: whole networks of the real cores on virtual time.
 *
 *   ppn-sim --nodes N --seed S [--loss PERCENT] [--minutes M] [--scenario NAME]
 *   ppn-sim --seeds N|A..B [--nodes N] ...
 *   ppn-sim --pinned FILE [--write]
 *
 * First line: seed (or what is run) and commit. Last line of a single run: one JSON object. Exit 1
 * when an invariant broke. The same seed gives the same trace hash everywhere. */

static const char usage[] =
    "usage: ppn-sim [--nodes N] [--seed S | --seeds N|A..B] [--loss PERCENT] [--minutes M]\n"
    "               [--scenario NAME] [--story]\n"
    "       ppn-sim --pinned FILE [--write]\n"
    "\n"
    "Whole networks of the real cores on virtual time. Everything random comes from the seed.\n"
    "  --nodes N         2 to 16384; without it, as the scenario likes\n"
    "  --seed S          one run; ends with one line of JSON (-1: not measured)\n"
    "  --seeds N|A..B    many runs, seeds 1 to N or A to B; names the seeds that failed\n"
    "  --loss PERCENT    of every packet, each way\n"
    "  --minutes M       of virtual time, after the network has settled\n"
    "  --story           prints every change of state that any node sees\n"
    "  --pinned FILE     runs what FILE lists, a line each: SCENARIO NODES LOSS SEED [TRACE-HASH]\n"
    "                    (# comments); a trace of another hash is a failure\n"
    "  --write           with --pinned: puts the hashes as they are now into FILE\n"
    "SIGTERM or SIGINT ends idle and loss early, with what was measured and \"stopped\":true.\n"
    "Exit code: 0 fine, 1 an invariant broke, 2 usage. Scenarios:\n";

static bool number(const char *text, uint64_t most, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *value = strtoull(text, &end, 10);
    return *end == '\0' && *value <= most;
}

static bool range(const char *text, uint64_t *first, uint64_t *last)
{
    char copy[64];
    const char *dots = strstr(text, "..");
    *first = 1;
    if (dots == NULL)
        return number(text, UINT64_MAX, last) && *last > 0;
    if (strlen(text) >= sizeof(copy))
        return false;
    snprintf(copy, sizeof(copy), "%.*s", (int)(dots - text), text);
    return number(copy, UINT64_MAX, first) && number(dots + 2, UINT64_MAX, last) && *first <= *last;
}

static bool fixed_point(const char *text, uint32_t *per_million)
{
    char *end;
    double percent = strtod(text, &end);
    if (*end != '\0' || percent < 0 || percent > 100)
        return false;
    *per_million = (uint32_t)(percent * 10000 + 0.5);
    return true;
}

static volatile sig_atomic_t stop_asked;

static void on_signal(int signal)
{
    (void)signal;
    stop_asked = 1;
}

struct command {
    struct scenario_options options;
    const char *pinned;
    bool write, help;
    uint64_t first, last;
    bool many;
};

static bool option_read(struct command *command, int option, const char *text)
{
    uint64_t value = 0;
    switch (option) {
    case 'n':
        if (!number(text, PPN_MEMBERS_MAX, &value) || value < 2)
            return false;
        command->options.nodes = (uint32_t)value;
        return true;
    case 's':
        command->many = false;
        return number(text, UINT64_MAX, &command->options.seed);
    case 'S':
        command->many = true;
        return range(text, &command->first, &command->last);
    case 'l':
        return fixed_point(text, &command->options.loss_per_million);
    case 'm':
        if (!number(text, 100000, &value))
            return false;
        command->options.minutes = (uint32_t)value;
        return true;
    case 'c':
        command->options.scenario = text;
        return scenario_known(text);
    case 't':
        command->options.story = stdout;
        return true;
    case 'p':
        command->pinned = text;
        return true;
    case 'w':
        command->write = true;
        return true;
    case 'h':
        command->help = true;
        return true;
    default:
        return false;
    }
}

static int run_many(struct command *command)
{
    uint64_t failed = 0, runs = 0;
    for (uint64_t seed = command->first;; seed++, runs++) {
        struct scenario_result result;
        command->options.seed = seed;
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\rseed %llu of %llu..%llu, %llu failed ", (unsigned long long)seed,
                    (unsigned long long)command->first, (unsigned long long)command->last,
                    (unsigned long long)failed);
        scenario_run(&command->options, &result);
        if (result.invariants_broken > 0) {
            printf("seed %llu: %s\n", (unsigned long long)seed, result.first_broken);
            failed++;
        }
        if (seed == command->last)
            break;
    }
    if (isatty(STDERR_FILENO))
        fputs("\r", stderr);
    printf("{\"schema\":1,\"first\":%llu,\"last\":%llu,\"failed\":%llu}\n",
           (unsigned long long)command->first, (unsigned long long)command->last,
           (unsigned long long)failed);
    return failed > 0;
}

/* One line of a file of pinned runs. */
struct pin {
    char scenario[32];
    unsigned nodes, loss;
    unsigned long long seed, hash;
    bool hashed;
};

static bool pin_read(const char *line, struct pin *pin)
{
    int fields = sscanf(line, "%31s %u %u %llu %llx", pin->scenario, &pin->nodes, &pin->loss,
                        &pin->seed, &pin->hash);
    struct scenario_options options = {.nodes = pin->nodes, .scenario = pin->scenario};
    pin->hashed = fields == 5;
    return fields >= 4 && scenario_known(pin->scenario) && pin->loss <= 100 &&
           scenario_refuses(&options) == NULL;
}

/* Runs one; its line as it should be goes to `out`, if there is one. False: it failed. */
static bool pin_run(const struct pin *pin, FILE *out)
{
    struct scenario_options options = {.seed = pin->seed,
                                       .nodes = pin->nodes,
                                       .loss_per_million = pin->loss * 10000,
                                       .scenario = pin->scenario};
    struct scenario_result result;
    scenario_run(&options, &result);
    unsigned long long hash = result.trace_hash;
    if (out != NULL && pin->hashed)
        fprintf(out, "%s %u %u %llu %016llx\n", pin->scenario, pin->nodes, pin->loss, pin->seed,
                hash);
    else if (out != NULL)
        fprintf(out, "%s %u %u %llu\n", pin->scenario, pin->nodes, pin->loss, pin->seed);
    bool other = pin->hashed && hash != pin->hash && out == NULL;
    if (result.invariants_broken > 0)
        printf("%s %u %u %llu: %s\n", pin->scenario, pin->nodes, pin->loss, pin->seed,
               result.first_broken);
    if (other)
        printf(
            "%s %u %u %llu: the trace is %016llx and was %016llx. If what is sent when was meant "
            "to change: ppn-sim --pinned FILE --write\n",
            pin->scenario, pin->nodes, pin->loss, pin->seed, hash, pin->hash);
    return result.invariants_broken == 0 && !other;
}

static int write_back(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(text, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "ppn-sim: %s cannot be written\n", path);
        return 2;
    }
    return 0;
}

/* Seeds that once found something, and runs whose trace must not differ between builds. */
static int run_pinned(const char *path, bool write)
{
    char line[128], *text = NULL;
    size_t size = 0;
    unsigned runs = 0, failed = 0;
    FILE *file = fopen(path, "r"), *out = write ? open_memstream(&text, &size) : NULL;
    if (file == NULL || (write && out == NULL)) {
        fprintf(stderr, "ppn-sim: %s cannot be read\n", path);
        return 2;
    }
    int code = 0;
    while (code == 0 && fgets(line, sizeof(line), file) != NULL) {
        struct pin pin;
        bool comment = line[0] == '#' || line[0] == '\n';
        if (comment && out != NULL)
            fputs(line, out);
        if (comment)
            continue;
        if (!pin_read(line, &pin)) {
            fprintf(stderr, "ppn-sim: %s: not understood: %s", path, line);
            code = 2;
            continue;
        }
        runs++;
        failed += !pin_run(&pin, out);
    }
    fclose(file);
    if (out != NULL)
        fclose(out);
    if (code == 0 && write)
        code = write_back(path, text, size);
    free(text);
    printf("{\"schema\":1,\"pinned\":%u,\"failed\":%u}\n", runs, failed);
    return code != 0 ? code : failed > 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"nodes", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'S'},
                                            {"loss", required_argument, NULL, 'l'},
                                            {"minutes", required_argument, NULL, 'm'},
                                            {"scenario", required_argument, NULL, 'c'},
                                            {"story", no_argument, NULL, 't'},
                                            {"pinned", required_argument, NULL, 'p'},
                                            {"write", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct command command = {
        .options = {.nodes = 0, .seed = 1, .scenario = "crash", .minutes = 0}};
    int at = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, &at)) != -1;) {
        if (!option_read(&command, option, optarg)) {
            if (option != '?')
                fprintf(stderr, "ppn-sim: --%s cannot be '%s'; see ppn-sim --help\n",
                        options[at].name, optarg);
            return 2;
        }
    }
    if (command.help || optind != argc) {
        fputs(usage, command.help ? stdout : stderr);
        scenario_list(command.help ? stdout : stderr);
        return command.help ? 0 : 2;
    }
    const char *refused = scenario_refuses(&command.options);
    if (refused != NULL) {
        fprintf(stderr, "ppn-sim: scenario %s %s\n", command.options.scenario, refused);
        return 2;
    }
    if (command.pinned != NULL)
        printf("pinned %s commit %s\n", command.pinned, PPN_COMMIT);
    else if (command.many)
        printf("seeds %llu..%llu commit %s\n", (unsigned long long)command.first,
               (unsigned long long)command.last, PPN_COMMIT);
    else
        printf("seed %llu commit %s\n", (unsigned long long)command.options.seed, PPN_COMMIT);
    fflush(stdout);
    if (command.pinned != NULL)
        return run_pinned(command.pinned, command.write);
    if (command.many)
        return run_many(&command);
    struct scenario_result result;
    command.options.stop = &stop_asked;
    command.options.progress = isatty(STDERR_FILENO) ? stderr : NULL;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    scenario_run(&command.options, &result);
    if (result.invariants_broken > 0)
        fprintf(stderr, "broken: %s\n", result.first_broken);
    scenario_print(&command.options, &result, stdout);
    return result.invariants_broken > 0;
}
