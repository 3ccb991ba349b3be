// SPDX-License-Identifier: ISC
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "cli/cli.h"
#include "cli/cli_print.h"

struct api_client *cli_api(struct cli *cli)
{
    if (cli->api == NULL)
        cli->api = api_client_open(cli->socket);
    if (cli->api == NULL) {
        (void)fputs("ppn: out of memory\n", stderr);
        exit(CLI_FAILED);
    }
    return cli->api;
}

int cli_exit_code(enum ppn_error error)
{
    switch ((int)error) {
    case PPN_ERROR_OK:
        return CLI_OK;
    case PPN_ERROR_REFUSED:
    case PPN_ERROR_NO_CANDIDATE:
    case PPN_ERROR_UNAUTHORIZED:
        return CLI_REFUSED;
    case PPN_ERROR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case PPN_ERROR_TIMEOUT:
        return CLI_TIMEOUT;
    case PPN_ERROR_UNSUPPORTED:
    case PPN_ERROR_VERSION:
        return CLI_UNSUPPORTED;
    default:
        return CLI_FAILED;
    }
}

int cli_failed(struct cli *cli, const struct api_client_failure *failure)
{
    char text[PPN_FAILURE_TEXT_MAX];
    (void)ppn_text_copy(text, sizeof(text), failure->failure.text);
    cli_clean(text);
    (void)fflush(stdout);
    (void)fprintf(stderr, "ppn %s: %s\n", cli->command->name, text);
    return failure->no_daemon ? CLI_NO_DAEMON : cli_exit_code(failure->failure.code);
}

json_t *cli_call(struct cli *cli, enum api_method method, const char *target, json_t *body,
                 char **text, int *code)
{
    struct api_client_failure failure;
    struct api_client_call call = {.method = method, .target = target, .body = body};
    char *answer = NULL;
    json_t *json = NULL;
    json_error_t why;
    enum ppn_error error = api_client_do(cli_api(cli), &call, &answer, &failure);
    json_decref(body);
    if (error != PPN_OK) {
        *code = cli_failed(cli, &failure);
        return NULL;
    }
    json = json_loads(answer, 0, &why);
    if (json == NULL) {
        (void)fprintf(stderr,
                      "ppn %s: ppn-node's answer is no JSON: do ppn and ppn-node have the "
                      "same version?\n",
                      cli->command->name);
        *code = CLI_FAILED;
    } else if (text != NULL) {
        *text = answer;
        answer = NULL;
    }
    free(answer);
    return json;
}

bool cli_target(char *target, size_t capacity, const char *folder, const char *name,
                const char *rest)
{
    static const char hex[] = "0123456789ABCDEF";
    int size = snprintf(target, capacity, "/v1/%s/", folder);
    size_t used = size > 0 ? (size_t)size : capacity;
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '-' || *c == '.' || *c == '_';
        if (used + 4 >= capacity)
            return false;
        if (plain) {
            target[used++] = (char)*c;
        } else {
            target[used++] = '%';
            target[used++] = hex[*c >> 4];
            target[used++] = hex[*c & 15];
        }
    }
    size = snprintf(target + used, capacity - used, "%s", rest);
    return size >= 0 && used + (size_t)size < capacity;
}

int cli_simple(struct cli *cli, enum api_method method, const char *target, json_t *body,
               json_t **answer)
{
    int code = CLI_OK;
    char *text = NULL;
    json_t *json = cli_call(cli, method, target, body, &text, &code);
    if (json != NULL && cli->json)
        (void)fputs(text, stdout);
    free(text);
    if (answer != NULL)
        *answer = json;
    else
        json_decref(json);
    return code;
}

void cli_print_json(json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(answer);
}

int cli_finish(int code)
{
    bool failed = fflush(stdout) != 0 || ferror(stdout) != 0;
    return code == CLI_OK && failed ? CLI_FAILED : code;
}
