// SPDX-License-Identifier: ISC
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name.h"
#include "cli/cli.h"
#include "cli/cli_print.h"
#include "cli/cli_upload.h"

enum { TARGET_MAX = 512, OPTION_NAME = CLI_LONG, OPTION_SHA256 };

struct upload {
    struct cli *cli;
    struct cli_progress progress;
    uint64_t size;
    json_t *image;
    struct ppn_failure failure;
};

static void on_upload(void *context, uint64_t sent)
{
    struct upload *upload = context;
    if (upload->cli->progress && upload->size > 0)
        cli_progress_show(&upload->progress, (int)(sent * 100 / upload->size), "Handing it over");
}

static bool on_line(void *context, json_t *line, struct ppn_slice text)
{
    struct upload *upload = context;
    const json_t *progress = json_object_get(line, "progress");
    const json_t *error = json_object_get(line, "error");
    json_t *image = json_object_get(line, "image");
    if (upload->cli->json) {
        (void)fwrite(text.data, 1, text.size, stdout);
        (void)fputc('\n', stdout);
        (void)fflush(stdout);
    }
    if (progress != NULL)
        cli_progress_show(&upload->progress, (int)cli_number(progress, "percent", -1), "%s",
                          cli_text(progress, "text")[0] != '\0' ? cli_text(progress, "text")
                                                                : cli_text(progress, "stage"));
    if (image != NULL && upload->image == NULL)
        upload->image = json_incref(image);
    if (error != NULL) {
        enum ppn_error code = api_error_parse(cli_text(error, "code"));
        (void)ppn_fail(&upload->failure, code != PPN_OK ? code : PPN_ERROR_IO, "%s",
                       cli_text(error, "message"));
    }
    return true;
}

int cli_image_stream(struct cli *cli, enum api_method method, const char *target, int fd,
                     uint64_t size)
{
    struct upload upload = {.cli = cli, .progress = {.cli = cli}, .size = size};
    struct api_client_failure failure;
    struct api_client_call call = {.method = method,
                                   .target = target,
                                   .upload = fd >= 0,
                                   .upload_fd = fd,
                                   .upload_bytes = size,
                                   .context = &upload,
                                   .on_upload = on_upload,
                                   .on_line = on_line};
    api_client_timeout(cli_api(cli), 0);
    enum ppn_error error = api_client_do(cli_api(cli), &call, NULL, &failure);
    cli_progress_clear(&upload.progress);
    if (error == PPN_OK && upload.image == NULL) {
        error = upload.failure.code != PPN_OK ? upload.failure.code : PPN_ERROR_CLOSED;
        if (upload.failure.code == PPN_OK)
            (void)ppn_fail(&upload.failure, error,
                           "the connection to ppn-node ended before the image was stored; it is "
                           "safe to repeat the command");
        failure.failure = upload.failure;
    }
    if (error != PPN_OK) {
        json_decref(upload.image);
        return cli_failed(cli, &failure);
    }
    if (!cli->json) {
        char text[CLI_TEXT_MAX];
        cli_size_text((uint64_t)cli_number(upload.image, "size_bytes", 0), text);
        (void)printf("%s is here, %s, sha256 %.16s...\n", cli_text(upload.image, "name"), text,
                     cli_text(upload.image, "sha256"));
    }
    json_decref(upload.image);
    return cli_finish(CLI_OK);
}

int cli_image_add(struct cli *cli, int fd, uint64_t size, const char *name, const char *sha256)
{
    char target[TARGET_MAX], rest[PPN_HEX_MAX + 16] = "";
    if (sha256 != NULL)
        (void)snprintf(rest, sizeof(rest), "?sha256=%.64s", sha256);
    if (!cli_target(target, sizeof(target), "images", name, rest))
        return cli_usage(cli, "the name is too long");
    return cli_image_stream(cli, API_PUT, target, fd, size);
}

static int add(struct cli *cli, const char *path, const char *name, const char *sha256)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        (void)fprintf(stderr, "ppn image: cannot read %s: %s\n", path,
                      fd < 0 ? strerror(errno) : "it is no regular file");
        if (fd >= 0)
            (void)close(fd);
        return CLI_FAILED;
    }
    int code = cli_image_add(cli, fd, (uint64_t)about.st_size, name, sha256);
    (void)close(fd);
    return code;
}

static void join_nodes(const json_t *image, char text[static CLI_CELL_MAX + 1])
{
    size_t index, size = 0;
    json_t *node;
    text[0] = '\0';
    json_array_foreach(json_object_get(image, "nodes"), index, node)
    {
        size += (size_t)snprintf(text + size, CLI_CELL_MAX + 1 - size, "%s%s", size > 0 ? " " : "",
                                 json_string_value(node) != NULL ? json_string_value(node) : "?");
        if (size > CLI_CELL_MAX)
            break;
    }
}

static int list(struct cli *cli)
{
    static const char *const heads[] = {"NAME", ">SIZE", ">DISK", "FORMAT", "SHA256", "NODES"};
    struct cli_table table;
    json_t *answer, *image;
    size_t index;
    int code = cli_simple(cli, API_GET, "/v1/images", NULL, &answer);
    if (answer == NULL)
        return code;
    const json_t *images = json_object_get(answer, "images");
    cli_table_init(&table, heads, sizeof(heads) / sizeof(heads[0]));
    json_array_foreach(images, index, image)
    {
        char size[CLI_TEXT_MAX], disk[CLI_TEXT_MAX] = "", nodes[CLI_CELL_MAX + 1];
        cli_size_text((uint64_t)cli_number(image, "size_bytes", 0), size);
        if (cli_number(image, "virtual_bytes", 0) > 0)
            cli_size_text((uint64_t)cli_number(image, "virtual_bytes", 0), disk);
        join_nodes(image, nodes);
        cli_cell(&table, CLI_BOLD, "%s", cli_text(image, "name"));
        cli_cell(&table, CLI_PLAIN, "%s", size);
        cli_cell(&table, CLI_PLAIN, "%s", disk);
        cli_cell(&table, CLI_PLAIN, "%s", cli_text(image, "format"));
        cli_cell(&table, CLI_DIM, "%.12s", cli_text(image, "sha256"));
        cli_cell(&table, CLI_PLAIN, "%s", nodes);
    }
    if (!cli->json && json_array_size(images) > 0)
        cli_table_print(cli, &table, stdout);
    else
        free(table.cells);
    if (!cli->json && json_array_size(images) == 0)
        (void)fprintf(stderr, "No images yet. \"ppn image pull debian-12\" downloads one; \"ppn "
                              "image add FILE --name NAME\" takes a qcow2 or raw file.\n");
    json_decref(answer);
    return cli_finish(CLI_OK);
}

static int with_image(struct cli *cli, const char *verb, const char *name)
{
    char target[TARGET_MAX];
    json_t *answer;
    bool fetch = strcmp(verb, "fetch") == 0;
    if (!cli_target(target, sizeof(target), "images", name, fetch ? "/fetch" : ""))
        return cli_usage(cli, "the name is too long");
    if (fetch)
        return cli_image_stream(cli, API_POST, target, -1, 0);
    int code = cli_simple(cli, API_DELETE, target, NULL, &answer);
    if (answer != NULL && !cli->json)
        (void)printf("%s removed from this node\n", name);
    json_decref(answer);
    return cli_finish(code);
}

int cmd_image(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"name", required_argument, NULL, OPTION_NAME},
                                            {"sha256", required_argument, NULL, OPTION_SHA256},
                                            CLI_COMMON_OPTIONS};
    const char *name = NULL, *sha256 = NULL;
    int letter;
    while ((letter = cli_getopt(cli, argc, argv, "h", options)) != -1) {
        name = letter == OPTION_NAME ? optarg : name;
        sha256 = letter == OPTION_SHA256 ? optarg : sha256;
    }
    if (!cli_arguments(cli, argc, 1, 2))
        return cli->exit;
    const char *verb = argv[optind], *argument = argv[optind + 1];
    if (strcmp(verb, "ls") == 0)
        return argument == NULL ? list(cli) : cli_usage(cli, "ls takes no argument");
    bool known = strcmp(verb, "add") == 0 || strcmp(verb, "rm") == 0 ||
                 strcmp(verb, "fetch") == 0 || strcmp(verb, "pull") == 0;
    if (!known)
        return cli_usage(cli, "\"%s\" is none of add, ls, rm, fetch, pull", verb);
    if (argument == NULL)
        return cli_usage(cli, "%s needs an argument", verb);
    if (strcmp(verb, "pull") == 0)
        return cli_image_pull(cli, argument);
    if (strcmp(verb, "add") != 0)
        return with_image(cli, verb, argument);
    if (name == NULL)
        return cli_usage(cli, "add needs --name NAME");
    if (!ppn_image_name_valid(name))
        return cli_usage(cli, "--name: 1 to 63 of a-z, 0-9, '-' and '.'");
    if (sha256 != NULL && strlen(sha256) != 64)
        return cli_usage(cli, "--sha256: 64 hexadecimal digits");
    return add(cli, argument, name, sha256);
}
