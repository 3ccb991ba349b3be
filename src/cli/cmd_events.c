// SPDX-License-Identifier: ISC
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/cli_print.h"

static void tell(const struct cli *cli, const json_t *event)
{
    char when[16] = "", what[CLI_CELL_MAX + 1] = "";
    const char *type = cli_text(event, "type");
    const json_t *detail = json_object_get(event, "detail"), *vm = json_object_get(event, "vm");
    const json_t *entry = json_object_get(event, "entry"), *join = json_object_get(event, "join");
    const json_t *alarm = json_object_get(event, "alarm");
    time_t seconds = (time_t)(cli_number(event, "time_unix_ms", 0) / 1000);
    struct tm parts;
    if (localtime_r(&seconds, &parts) != NULL)
        (void)strftime(when, sizeof(when), "%H:%M:%S", &parts);
    if (vm != NULL)
        (void)snprintf(what, sizeof(what), "%s %s on %s", cli_text(vm, "name"),
                       cli_text(vm, "state"), cli_text(vm, "node"));
    else if (alarm != NULL)
        (void)snprintf(what, sizeof(what), "%s", cli_text(alarm, "text"));
    else if (entry != NULL)
        (void)snprintf(what, sizeof(what), "%s", cli_text(entry, "text"));
    else if (join != NULL)
        (void)snprintf(what, sizeof(what), "%s %s", cli_text(join, "name"),
                       cli_text(join, "fingerprint"));
    else
        (void)snprintf(what, sizeof(what), "%s %s", cli_text(event, "node"),
                       cli_text(detail, "state_detail"));
    cli_clean(what);
    enum cli_colour colour = strncmp(type, "node-", 5) == 0 ? cli_state_colour(type + 5)
                             : alarm != NULL                ? CLI_RED
                                                            : CLI_PLAIN;
    (void)printf("%s%s%s %s%-14s%s %s\n", cli_colour(cli, CLI_DIM), when,
                 cli_colour(cli, CLI_PLAIN), cli_colour(cli, colour), type,
                 cli_colour(cli, CLI_PLAIN), what);
}

struct events {
    struct cli *cli;
    bool overrun;
};

static bool on_line(void *context, json_t *event, struct ppn_slice text)
{
    struct events *events = context;
    if (strcmp(cli_text(event, "type"), "overrun") == 0)
        events->overrun = true;
    if (events->cli->json) {
        (void)fwrite(text.data, 1, text.size, stdout);
        (void)fputc('\n', stdout);
    } else if (!events->overrun) {
        tell(events->cli, event);
    }
    return fflush(stdout) == 0;
}

int cmd_events(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct api_client_failure failure;
    struct events events = {.cli = cli};
    struct api_client_call call = {
        .method = API_GET, .target = "/v1/events", .context = &events, .on_line = on_line};
    while (cli_getopt(cli, argc, argv, "h", options) != -1)
        ;
    if (!cli_arguments(cli, argc, 0, 0))
        return cli->exit;
    api_client_timeout(cli_api(cli), 0);
    if (api_client_do(cli_api(cli), &call, NULL, &failure) != PPN_OK)
        return cli_failed(cli, &failure);
    (void)fprintf(stderr, events.overrun
                              ? "ppn events: events came faster than they were read, and some are "
                                "missing; start again for the present state\n"
                              : "ppn events: ppn-node ended the stream; is it being restarted?\n");
    return CLI_FAILED;
}
